/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_CHILD_H
#define ATOLL_SYS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Programs that we run: fork and exec, known by a pidfd, so that no signal ever meets a process that
 * took the number over. A child that nobody waited for is killed by child_done().
 */
struct child {
	pid_t pid; /* 0: none, or reaped already */
	int fd;	   /* pidfd, readable (poll) when it has ended; -EBADF: none */
};

#define CHILD_INIT                                                                                 \
	(struct child)                                                                             \
	{                                                                                          \
		.fd = -EBADF                                                                       \
	}

enum child_flag {
	CHILD_DIES_WITH_US =
		1 << 0, /* killed when the thread that started it ends, however that happens */
	CHILD_OWN_GROUP =
		1 << 1, /* a process group of its own: Ctrl-C at the terminal does not reach it */
};

struct child_opts {
	const char *const *argv; /* ends with NULL; argv[0] is looked for in PATH */
	const char *const *env;	 /* NAME=VALUE each, ends with NULL, added to ours; NULL: nothing */
	int in, out, err;	 /* its 0, 1 and 2; negative: /dev/null */
	const int *keep;	 /* its 3, 4 ...; every other descriptor is closed */
	size_t nr_keep;		 /* at most 16 */
	unsigned int flags;	 /* of enum child_flag */
};

/*
 * child_start - run a program.
 *
 * @opts:  not kept; descriptors stay the caller's
 * @ret:   child_done(); written only on success
 * Returns 0; -ENOENT (no such program), others of fork(2), dup2(2), execve(2). Thread: any; signals are unblocked in the child.
 */
_nodiscard_ int child_start(const struct child_opts *opts, struct child *ret, struct err *err);

/*
 * child_wait - wait until it has ended, and reap it.
 *
 * @ret_status:  its exit status, or 128 + the signal that killed it
 * Returns 0; -ECHILD (there is none any more). Thread: one at a time.
 */
_nodiscard_ int child_wait(struct child *child, int *ret_status);

/* child_kill - send a signal to it; harmless when it has ended. Thread: any. */
void child_kill(const struct child *child, int sig);

/* child_done - for _cleanup_: kills what still runs, reaps it,
 * keeps errno. Thread: owner. */
void child_done(struct child *child);

/*
 * child_beside_us - the path of a program that is installed in the folder of the running one.
 *
 * Returns 0; -ENAMETOOLONG (ret has @size bytes), those of readlink(2). It is not looked whether it exists. Thread: any.
 */
_nodiscard_ int child_beside_us(const char *name, char *ret, size_t size, struct err *err);

#endif
