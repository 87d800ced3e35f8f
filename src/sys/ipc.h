/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_IPC_H
#define ATOLL_SYS_IPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * Sockets by which our processes of one user are reached: files NAME.sock in the user's runtime folder, which
 * nobody else may enter. A socket whose process died without removing it refuses connections; it is removed by
 * whoever meets it, under a lock of the folder, so that one that is just being made is not taken for dead.
 */
enum { IPC_NAME_MAX = 64 };

/*
 * runtime_dir_open - the user's runtime folder.
 *
 * $ATOLL_RUNTIME_DIR; else "atoll" in $XDG_RUNTIME_DIR when that is the user's; else /run/atoll for root and
 * /tmp/atoll-UID for others. Made, with mode 0700, when it is missing. A folder that is a symbolic link, somebody
 * else's or open to others is refused.
 *
 * @ret_fd:  owned by the caller
 * Returns 0 or negative errno. Thread: any, while nobody changes the environment.
 */
_nodiscard_ int runtime_dir_open(int *ret_fd, struct err *err);

/* ipc_name_ok - may a socket have this name? Letters, digits, '.', '_' and '-', none of these signs first; at
 * most IPC_NAME_MAX bytes. Thread: any. */
_pure_ bool ipc_name_ok(const char *name);

/*
 * ipc_listen - make the socket NAME.sock and listen on it.
 *
 * @ret_fd:  stream socket, non-blocking; ipc_remove() and close end it
 * Returns 0; -EINVAL (name); -EADDRINUSE (somebody alive has it); negative errno. Thread: any.
 */
_nodiscard_ int ipc_listen(int dir_fd, const char *name, int *ret_fd, struct err *err);

/* ipc_path - the path of the socket NAME.sock, appended; for a process that cannot keep the folder open. Returns 0; those of
 * readlink(2). Thread: any. */
_nodiscard_ int ipc_path(int dir_fd, const char *name, struct strbuf *out, struct err *err);

/* ipc_remove - remove our own socket's name. Thread: any. */
void ipc_remove(int dir_fd, const char *name);

/*
 * ipc_connect - reach the process behind NAME.sock.
 *
 * Removes the socket of a dead process. @ret_fd: stream socket, blocking, with send and receive time-outs of 10 s.
 * Returns 0; -EINVAL (name); -ENOENT (nobody, or dead); negative errno. Thread: any.
 */
_nodiscard_ int ipc_connect(int dir_fd, const char *name, int *ret_fd, struct err *err);

/*
 * ipc_each - call fn(arg, name) for the name of each socket of the folder, in no order; dead ones may be among them.
 *
 * @fn:  returns false to end
 * Returns 0 or negative errno. Thread: any.
 */
_nodiscard_ int ipc_each(int dir_fd, bool (*fn)(void *arg, const char *name), void *arg,
			 struct err *err);

/*
 * ipc_unlink_abandoned - remove a Unix socket's name behind which nobody is any more: its owner was killed.
 *
 * What is no socket, or somebody's, stays; who listens there does not notice. Thread: any.
 */
struct sockaddr_un;
void ipc_unlink_abandoned(const struct sockaddr_un *addr);

/* ipc_peer_allowed - is the process at the other end one of our user, or root's? Thread: any. */
bool ipc_peer_allowed(int fd);

/* ipc_peer_pid - the process at the other end, 0 when it has no number here. Thread: any. */
int ipc_peer_pid(int fd);

/* Descriptors that came with bytes: whoever receives them owns them. */
enum { IPC_FDS_MAX = 16 };
struct ipc_fds {
	int fd[IPC_FDS_MAX]; /* negative: taken */
	unsigned int nr;
};

/*
 * ipc_send - send bytes on a connected stream socket, and open descriptors with them.
 *
 * @fds, @nr_fds:  stay the caller's; the peer has them when it receives the first of the bytes
 * Returns 0: all was sent; negative errno of sendmsg(2): it is not known how much; -E2BIG (too many descriptors). Thread: any.
 */
_nodiscard_ int ipc_send(int fd, const void *p, size_t n, const int *fds, unsigned int nr_fds);

/*
 * ipc_recv - receive some bytes, and the descriptors that came with them, close-on-exec.
 *
 * @fds:  added to what it has
 * Returns the number of bytes, 0 at the end, negative errno of recvmsg(2); -E2BIG (more descriptors than fit; the
 * connection should be given up). Thread: any; waits when the socket does.
 */
_nodiscard_ ssize_t ipc_recv(int fd, void *p, size_t size, struct ipc_fds *fds);

/* ipc_fds_take - one of them, by its place: from then on the caller's. Returns -ENOENT when it is not there. Thread: owner. */
_nodiscard_ int ipc_fds_take(struct ipc_fds *fds, uint64_t index);

/* ipc_fds_done - close what was not taken; none are left. Thread: owner. */
void ipc_fds_done(struct ipc_fds *fds);

#endif
