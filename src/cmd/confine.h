/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_CONFINE_H
#define ATOLL_CMD_CONFINE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "disk/disk.h"

/* confine_prepare - first of all: what is open now is not ours (sandbox_prepare()). Thread: the only one. */
void confine_prepare(void);

/* confine_begin - before anything is opened: threads that are started wait for confine(). outside_stop() at the end. Returns
 * 0; -EAGAIN and others of fork(2). Thread: the only one. */
_nodiscard_ int confine_begin(struct err *err);

struct confine_opts {
	const char *program; /* static; named by messages */
	const char *kind;    /* of the main thread (sys/sandbox/kinds.def) */
	const char *event;   /* for the log: what is missing */
	enum disk_servers
		servers; /* of all disks, the most; when they are sought, files and network stay in reach */
	bool must_hold; /* refuse where the host does not let all be given up; else that is logged */
};

/*
 * confine - everything is open: give the rights up, and let the threads begin.
 *
 * Returns 0; -EPERM (must_hold); as sandbox_enter() and thread_start(). Thread: the only one.
 */
_nodiscard_ int confine(const struct confine_opts *o, struct err *err);

#endif
