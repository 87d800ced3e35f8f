/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_SNAPSHOT_DISKS_H
#define ATOLL_CMD_SNAPSHOT_DISKS_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/control_client.h"
#include "json/json.h"
#include "sys/ipc.h"
#include "vm/snapshot/file.h"

/*
 * Disks beside a snapshot: FILE.XXXXXXXX.diskN.qcow2 (SATA: sataN, IDE: ideN), with digits that are another save's each time, so that a save to the same
 * name touches nothing of the one before until it is whole. The snapshot names those that are its own.
 */
struct saved_disks {
	unsigned int nr;
	struct {
		struct snapshot_file file; /* without a name until all are whole */
		enum disk_bus bus;
		uint64_t n; /* its number there */
	} disk[IPC_FDS_MAX - 1];
};

/*
 * saved_disks_open - an image for each disk that is written to, of those that the machine tells ("disks").
 *
 * @path:  of the snapshot
 * Returns 0; -E2BIG (too many disks), others of disk_create(). saved_disks_done() in any case. Thread: the first.
 */
_nodiscard_ int saved_disks_open(struct saved_disks *d, const struct json *disks, const char *path,
				 struct err *err);

/* saved_disks_ask - append their names to a request, and put their descriptors at @fds. */
void saved_disks_ask(const struct saved_disks *d, struct strbuf *request, int *fds);

/* saved_disks_wait - until the machine has copied them. Returns 0; -EIO, -ECANCELED and no image is of use. Thread: the first. */
_nodiscard_ int saved_disks_wait(const struct saved_disks *d, struct control_client *c,
				 struct err *err);

/* saved_disks_name - give them their names, on the medium. Returns as snapshot_file_name(). Thread: the first. */
_nodiscard_ int saved_disks_name(struct saved_disks *d, struct err *err);
void saved_disks_done(struct saved_disks *d);

/*
 * snapshot_tidy - remove what belongs to nothing: disks of @gone, and files with such names as saves to @path make, unless a
 * snapshot in that folder names them. Saves that were killed have left them, or those that were replaced.
 *
 * @gone:  a snapshot that is not there any more; its fd is negative: none
 * Not while another save to that name is going on. Thread: the first.
 */
void snapshot_tidy(const char *path, struct snapshot *gone);

#endif
