/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_RESTORE_H
#define ATOLL_CMD_VM_RESTORE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/table.h"
#include "vm/snapshot/file.h"

/*
 * How a machine was made is part of its snapshot: the options of its command line, without those that belong to one run of
 * it (its name, engine, log). With --restore they come back, and what stands on the new command line replaces them, an
 * option that can be repeated as a whole. A disk that was written to is beside the snapshot, and is not changed: what the new
 * machine writes goes to a file without a name, which ends with it.
 */
struct vm_restore {
	struct snapshot snap;	     /* fd negative: none */
	const struct cmd_call *call; /* the options that count */
	struct cmd_call parsed;
	struct strbuf options; /* the same as text, for the next snapshot */
	struct json *saved;
	char **words; /* a command line */
	size_t nr_words;
	char *model; /* its --cpu, with each feature; NULL: as on its command line */
	struct vm_overlay *overlays; /* see vm_restore.c */
};

/*
 * vm_restore_open - the options of a machine that is to be started by @call, with or without --restore.
 *
 * Returns 0; those of snapshot_open(); -EILSEQ: its options make no sense. vm_restore_done() in any case. Thread: the first.
 */
_nodiscard_ int vm_restore_open(struct vm_restore *r, const struct cmd_call *call, struct err *err);
void vm_restore_done(struct vm_restore *r);

#endif
