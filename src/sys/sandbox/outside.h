/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_OUTSIDE_H
#define ATOLL_SYS_OUTSIDE_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A process of our own that stays outside of the sandbox, for the few things that must reach a path while a guest
 * runs or at its end: names of sockets are removed, a guest's connections go to sockets of the host, a server that was lost
 * is connected to again. Which paths and addresses these are is said before the sandbox is entered and cannot be changed afterwards, so it does nothing for a guest that took
 * us over which the guest could not have had before. One a process; without it, the calls do their work here.
 */
enum { OUTSIDE_PATHS_MAX = 32, OUTSIDE_SERVERS_MAX = 32 };

/* outside_start - start it. Returns 0; negative errno of fork(2). Thread: the only one. */
_nodiscard_ int outside_start(struct err *err);

/* outside_seal - from now on it learns nothing any more. Thread: the only one. */
void outside_seal(void);

/* outside_stop - end it, and wait for that. Nothing when there is none. Thread: the last one. */
void outside_stop(void);

/*
 * outside_will_remove - a path that outside_remove() will name.
 *
 * @path:  absolute, or from the present folder
 * Returns 0; -E2BIG (too many), -ENAMETOOLONG, -EPIPE. Thread: the only one, before outside_seal().
 */
_nodiscard_ int outside_will_remove(const char *path, struct err *err);

/* outside_remove - remove that file now; a failure has no consequence. Thread: any. */
void outside_remove(const char *path);

/* outside_will_dial - the path that outside_dial() completes; at most 90 bytes. As outside_will_remove(). */
_nodiscard_ int outside_will_dial(const char *path, struct err *err);

/*
 * outside_dial - connect to the stream socket PATH_PORT.
 *
 * @path: of outside_will_dial()
 *
 * Returns a non-blocking descriptor, the caller's; negative errno of connect(2). Does not wait for who listens there.
 * Thread: any.
 */
_nodiscard_ int outside_dial(const char *path, uint32_t port);

/*
 * outside_will_reach - a server that outside_reach() will name.
 *
 * @addr, @n:  IPv4, IPv6, or a unix socket's path, absolute or from the present folder
 * Returns its number; -ENOSYS (there is no such process, or it is sealed: the caller connects by itself); -E2BIG (too many),
 * -EAFNOSUPPORT, -EPIPE. Thread: the only one, before outside_seal(); after it, any.
 */
_nodiscard_ int outside_will_reach(const struct sockaddr *addr, socklen_t n);

/*
 * outside_reach - begin to connect to a server.
 *
 * Returns a non-blocking stream socket, the caller's, which is connected when it can be written to and has no error
 * (SO_ERROR); negative errno of connect(2). Does not wait. Thread: any.
 */
_nodiscard_ int outside_reach(unsigned int server);

#endif
