/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_LIVE_FILES_H
#define ATOLL_CMD_LIVE_FILES_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "json/json.h"
#include "sys/ipc.h"

/* Open files that go with a request. */
struct live_files {
	int fd[IPC_FDS_MAX];
	unsigned int nr;
};

/* live_files_close - our copies of them. Thread: owner. */
void live_files_close(struct live_files *f);

/*
 * live_open_overlay - make the new image of a snapshot, and open what the machine needs for it.
 *
 * @disk:     as the machine tells it ("disks"); NULL: it has none, and will say so
 * @path:     nothing may be there; made only on success
 * @request:  members are appended
 * Returns 0; -EEXIST and others of open(2). Thread: the first.
 */
_nodiscard_ int live_open_overlay(const struct json *disk, const char *path,
				  struct live_files *files, struct strbuf *request,
				  struct err *err);

/*
 * live_open_images - open what the machine needs for a commit or stream.
 *
 * @top, @base:  paths, or NULL as in struct disk_job_opts; else as live_open_overlay()
 * Returns 0; -ENOENT (no image of this disk), others of open(2). Thread: the first.
 */
_nodiscard_ int live_open_images(const struct json *disk, bool is_commit, const char *top,
				 const char *base, struct live_files *files, struct strbuf *request,
				 struct err *err);

/*
 * live_open_target - make what a backup goes to, as the options want it, and open it.
 *
 * @ret_made:  as of backup_target_make(); else as live_open_overlay()
 * Thread: the first.
 */
_nodiscard_ int live_open_target(const struct json *disk, const struct backup_opts *o,
				 const char *path, struct live_files *files, bool *ret_made,
				 struct strbuf *request, struct err *err);

#endif
