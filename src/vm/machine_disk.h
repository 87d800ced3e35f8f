/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_DISK_H
#define VM_MACHINE_DISK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "json/json.h"
#include "sys/ipc.h"
#include "vm/disk_bus.h"

struct machine;

/* What the disks of a running machine can be asked. */
enum disk_ask {
	DISK_ASK_SNAPSHOT, /* file, name, files */
	DISK_ASK_COMMIT,   /* top, base, bps, name, files */
	DISK_ASK_STREAM,   /* base, bps, name, files */
	DISK_ASK_BACKUP,   /* file, format, bitmap, increment, bps, files */
	DISK_ASK_CANCEL,
	DISK_ASK_SPEED,	 /* bps */
	DISK_ASK_LIMIT,	 /* limits */
	DISK_ASK_RESIZE, /* size, shrink */
	DISK_ASK_RETRY,
};

/* A request; texts belong to whoever parsed it. */
struct disk_request_spec {
	enum disk_ask ask;
	enum disk_bus bus;
	unsigned int
		disk; /* of its bus: in the order of the machine's options; SATA, IDE: the place */
	const char *file, *top, *base, *limits, *name, *format, *bitmap; /* NULL: not given */
	const int *fds; /* files that came with the request, as struct disk_handed wants them */
	unsigned int nr_fds;
	uint64_t bps, size;
	bool shrink, increment;
};

/* disk_request_parse - a request of the control socket (vm/control.h) and what came with it, which stays the caller's.
 * Sans I/O. Returns 0; -EINVAL. Thread: any. */
_nodiscard_ int disk_request_parse(const struct json *j, const struct ipc_fds *fds,
				   struct disk_request_spec *ret, struct err *err);

/*
 * machine_disk_ask - do it, or begin it (commit, stream, backup).
 *
 * Returns 0; -ENODEV (no such disk); as disk_snapshot_external(), disk_job_start() and so on. Thread: the control
 * socket's.
 */
_nodiscard_ int machine_disk_ask(struct machine *m, const struct disk_request_spec *s,
				 struct err *err);

/* machine_disks - append a JSON array: each disk's chain of images, limits, job and state. Thread: any. */
void machine_disks(struct machine *m, struct strbuf *out);

#endif
