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

/* confine_needs_server - whether a disk, or an image below it, is at a server. Thread: any. */
bool confine_needs_server(struct disk *disk);

struct confine_opts {
	const char *program; /* static; named by messages */
	const char *kind;    /* of the main thread (sys/sandbox/kinds.def) */
	const char *event;   /* for the log: what is missing */
	bool needs_server;   /* of one of the disks: the host's files and network stay in reach */
	bool must_hold; /* refuse where the host does not let all be given up; else that is logged */
};

/*
 * confine - everything is open: give the rights up, and let the threads begin.
 *
 * Returns 0; -EPERM (must_hold); as sandbox_enter() and thread_start(). Thread: the only one.
 */
_nodiscard_ int confine(const struct confine_opts *o, struct err *err);

#endif
