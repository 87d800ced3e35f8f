/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_SNAPSHOT_BASES_H
#define ATOLL_CMD_SNAPSHOT_BASES_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/snapshot/file.h"

/* The snapshot on which one that is being saved is based. */
struct saved_base {
	struct snapshot snap; /* fd negative: none */
	const char *name;     /* in its folder */
};

/*
 * saved_base_open - look whether a snapshot that will be at @file can be based on that at @path.
 *
 * Returns 0; -EXDEV (they are in different folders), -ELOOP (its chain is as long as one may be), those of
 * snapshot_open_bases(). snapshot_close() in any case, unless fd is negative. Thread: the first.
 */
_nodiscard_ int saved_base_open(struct saved_base *b, const char *path, const char *file,
				struct err *err);

/* saved_base_stays - is it still there, the same? Returns 0; -ESTALE, those of snapshot_open(). Thread: the same. */
_nodiscard_ int saved_base_stays(const struct saved_base *b, struct err *err);

/* snapshot_unused - is no snapshot of its folder based on this one, which is to go? Returns 0; -EBUSY, with which is; what
 * opendir(3) says. Thread: any. */
_nodiscard_ int snapshot_unused(const struct snapshot *s, struct err *err);

#endif
