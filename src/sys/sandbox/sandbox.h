/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_SANDBOX_H
#define ATOLL_SYS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Giving rights up: what a process needs is open, and from here on nothing else can be opened (README.md).
 */
enum sandbox_part {
	SANDBOX_NAMESPACES,
	SANDBOX_ROOT,
	SANDBOX_LANDLOCK,
	SANDBOX_CAPABILITIES,
	SANDBOX_NR_PARTS,
};

/* What became of each part. */
struct sandbox_report {
	struct err part[SANDBOX_NR_PARTS]; /* code 0: it holds */
};

struct sandbox_opts {
	const char *keeps_files; /* why files and the network must stay in reach; NULL: they do not */
};

/*
 * sandbox_enter - give up what the host lets us give up.
 *
 * A part that the host does not offer is left out and reported; the others hold. Open descriptors stay, but those that
 * sandbox_prepare() saw.
 *
 * @ret:  what holds
 * Returns 0; negative: what every host can do went wrong, and the process should end. Thread: the only one.
 */
_nodiscard_ int sandbox_enter(const struct sandbox_opts *o, struct sandbox_report *ret,
			      struct err *err);

/* What a helper of a machine keeps. */
struct sandbox_keep {
	int folder_fd;	/* what is below it may be read; negative: nothing */
	bool may_write; /* and changed, too, but not executed */
	bool files;	/* all files, as without a sandbox */
	bool network;
	bool servers;	       /* it connects to NBD servers (SECCOMP_SERVERS_BESIDE) */
	uint64_t capabilities; /* of those that it has: 1 << CAP_CHOWN ... */
};

/*
 * sandbox_helper - sandbox_enter() for a helper, which needs a folder or the network: no namespaces, and Landlock with
 * a rule. Then the filter of a kind of kinds.def.
 *
 * @program:    as seccomp_begin()
 * @kind:       the thread's
 * @must_hold:  what the host does not offer is an error; else it is left out, and not reported: the machine does that
 * Returns 0; -EPERM (must_hold); as sandbox_enter(). Thread: the only one.
 */
_nodiscard_ int sandbox_helper(const char *program, const char *kind,
			       const struct sandbox_keep *keep, bool must_hold, struct err *err);

/* What tells a helper that it must hold: the first word of its arguments. */
#define SANDBOX_MUST_HOLD "sandbox=require"

/*
 * sandbox_prepare - at the beginning of a process that will call sandbox_enter().
 *
 * What is open now, besides 0, 1 and 2, came from whoever started us, and is closed by sandbox_enter(). Files that the C
 * library would read at some time are read now. Thread: the only one.
 */
void sandbox_prepare(void);

/* sandbox_try - what sandbox_enter() would report: asked of a child, which it does not outlive. Returns 0; those of
 * fork(2). Thread: the only one. */
_nodiscard_ int sandbox_try(struct sandbox_report *ret, struct err *err);

/* sandbox_part_name - a word for people. Thread: any. */
const char *sandbox_part_name(enum sandbox_part part);

/* sandbox_landlock_version - of the host's kernel; negative errno when it has none. Thread: any. */
int sandbox_landlock_version(void);

#endif
