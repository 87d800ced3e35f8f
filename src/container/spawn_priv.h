/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_SPAWN_PRIV_H
#define ATOLL_CONTAINER_SPAWN_PRIV_H

#include "container/container_priv.h"

/* A process of a container while it is made, as its parent sees it. */
struct making {
	struct ct_init init;
	int sync_fd;	 /* our end of the packets' socket */
	int terminal_fd; /* socket on which we get the terminal ourselves; negative: none */
	pid_t pid;	 /* 0: not made yet */
};

/* making_begin - @m is empty: no descriptors. Thread: the only one. */
void making_begin(struct making *m);

/*
 * making_prepare - what is open before the process is there: the socket to it, its terminal's, its filter, its cgroups.
 *
 * init.config, process, wiring and cgroups are set. Returns 0 or negative errno; making_end() after both. Thread: the only one.
 */
_nodiscard_ int making_prepare(struct making *m, struct err *err);

/*
 * spawn - make the first process of a container, in its namespaces and its cgroup of version 2.
 *
 * The process itself enters the cgroups of version 1, and calls init_main(). Returns 0 or negative errno; m->pid tells whether
 * it is there. Thread: the only one.
 */
_nodiscard_ int spawn(struct making *m, struct err *err);

/*
 * spawn_beside - make a process in the namespaces and cgroups of another one.
 *
 * @pidfd:  the other one's
 * @ns:     CLONE_NEW* of those that are not ours
 * Otherwise as spawn(). -ESRCH: it has ended. Thread: the only one.
 */
_nodiscard_ int spawn_beside(struct making *m, int pidfd, int ns, struct err *err);

/*
 * making_follow - let the process go on, and hear it until all but its program's start is done.
 *
 * @placed:    what is done when its mounts are made; NULL: nothing
 * @warnings:  lines
 * Returns 0 or negative errno. Thread: the only one.
 */
_nodiscard_ int making_follow(struct making *m,
			      int (*placed)(struct making *m, void *arg, struct err *err),
			      void *arg, struct strbuf *warnings, struct err *err);

/* making_start - start its program. Returns 0; what kept it from starting. Thread: the only one. */
_nodiscard_ int making_start(struct making *m, struct err *err);

/* making_console - the other end of its terminal. Returns 0 and a descriptor in @ret, negative when there is none, or negative
 * errno. Thread: the only one. */
_nodiscard_ int making_console(struct making *m, int *ret, struct err *err);

/* making_kill - it is not to be. Thread: the only one. */
void making_kill(const struct making *m);

/* making_end - close what is ours. Thread: the only one. */
void making_end(struct making *m);

/* pid_file_write - returns 0 or negative errno; nothing is done without a path. Thread: any. */
_nodiscard_ int pid_file_write(const char *path, pid_t pid, struct err *err);

#endif
