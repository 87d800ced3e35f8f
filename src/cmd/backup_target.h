/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_BACKUP_TARGET_H
#define ATOLL_CMD_BACKUP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "cmd/commands.h"

/*
 * new_file_reserve - a file of no bytes where none was.
 *
 * @what:  "a snapshot", for the error text
 * Returns 0; -EEXIST and others of open(2). Thread: the first.
 */
_nodiscard_ int new_file_reserve(const char *path, const char *what, struct err *err);

/* new_file_sync - it and its name are on the medium. Returns 0, negative errno of fsync(2). Thread: the first. */
_nodiscard_ int new_file_sync(int fd, const char *path, struct err *err);

/*
 * backup_target_make - see to it that there is a target as the options want it: a new image, or with `update` the one there.
 *
 * @size:      of the disk, bytes
 * @ret_made:  the file is new, and to be removed when the backup fails; also set on failure
 * Returns 0; -EINVAL (options that exclude each other), -EEXIST, others of disk_create(). Thread: the first.
 */
_nodiscard_ int backup_target_make(const struct backup_opts *o, const char *path, uint64_t size,
				   bool *ret_made, struct err *err);

#endif
