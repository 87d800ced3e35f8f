/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_PROGRAM_PRIV_H
#define ATOLL_CONTAINER_PROGRAM_PRIV_H

#include "container/container_priv.h"

/* The program that a process of a container becomes. */
struct program {
	char *path;
	char **env;
	int fd;
};

/* terminal_make - a terminal of the container's own devpts: its other end goes to the engine; init's stands at /dev/console.
 * Thread: the only one. */
_nodiscard_ int terminal_make(struct ct_init *in, struct err *err);

/* terminal_send - hand the other end of a terminal over a Unix socket. Thread: the only one. */
_nodiscard_ int terminal_send(int socket_fd, int fd, const char *name, struct err *err);

/* terminal_receive - the other side of it. Returns a descriptor or negative errno. Thread: the only one. */
_nodiscard_ int terminal_receive(int socket_fd, struct err *err);

/*
 * program_prepare - working folder, environment, and which file it is: in the container's root, before rights are dropped.
 *
 * @terminal_fd:  becomes standard input and output; negative: they stay
 * @makes_cwd:    the working folder is made when it is missing
 * Returns 0; -ENOENT, -EACCES (no such program). Thread: the only one.
 */
_nodiscard_ int program_prepare(const struct ct_process *p, int terminal_fd, bool makes_cwd,
				struct program *ret, struct err *err);

/* program_start - become it. Returns only a negative errno. Thread: the only one. */
_nodiscard_ int program_start(const struct ct_process *p, struct program *program,
			      const struct ct_filter *filter, unsigned int preserve_fds,
			      struct err *err);

#endif
