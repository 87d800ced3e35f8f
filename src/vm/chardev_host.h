/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CHARDEV_HOST_H
#define VM_CHARDEV_HOST_H

#include "base/attr.h"
#include "base/err.h"
#include "vm/chardev.h"

/*
 * The host's ends of serial ports: terminal, file, pty, unix socket, nothing. One thread serves them all:
 * it drains each one's output buffer and offers input to the port, so a vCPU never waits for a reader.
 */
struct chardev_host;

/*
 * chardev_host_new - no back ends yet, thread not running.
 *
 * @leave: the user typed the escape sequence on a terminal (Ctrl-A x); called on the host's thread. May be
 * NULL.
 * Returns 0; -EMFILE and the like. @ret: chardev_host_free(). Thread: owner.
 */
_nodiscard_ int chardev_host_new(void (*leave)(void *arg), void *arg, struct chardev_host **ret,
				 struct err *err);

/* chardev_host_free - chardev_host_stop(), and close every back end. NULL is fine. Thread: owner. */
void chardev_host_free(struct chardev_host *host);

/*
 * chardev_host_open - make a back end.
 *
 * @spec: "stdio" (once; a terminal becomes raw when the host starts), "file:PATH" (created, emptied; output
 * only), "pty", "unix:PATH" (a server; its clients are watchers: see chardev_host_watch()), "null".
 * @ret: owned by the host; valid until chardev_host_free() or chardev_close(). Before chardev_host_start().
 * Returns 0; -EINVAL (unknown spec), -EEXIST (second stdio), or what opening says.
 */
_nodiscard_ int chardev_host_open(struct chardev_host *host, const char *spec, struct chardev **ret,
				  struct err *err);

/* chardev_host_where - how to reach a back end of the host: "/dev/pts/3", a path; "" when there is nothing
 * to tell. Valid as long as the back end. Thread: any. */
const char *chardev_host_where(const struct chardev *cd);

/*
 * chardev_host_watch - let one more see what the port says, from the last 64 KiB on, and type.
 *
 * A watcher that does not read for a second loses what it has not read; the port does not wait for it.
 *
 * @fd: a connected stream socket, taken over on success
 * Returns 0; -EBUSY (8 watch already), -ENOTTY (no back end of a host). Thread: any, as long as the host runs.
 */
_nodiscard_ int chardev_host_watch(struct chardev *cd, int fd);

/* chardev_host_start - let bytes flow; a terminal becomes raw. After the ports are attached. Returns 0;
 * -EAGAIN; what the terminal says. Thread: owner. */
_nodiscard_ int chardev_host_start(struct chardev_host *host, struct err *err);

/* chardev_host_stop - the thread ends, nothing is received any more, what is buffered is written to those
 * who still read (for up to two seconds without progress), and the terminal is given back. Harmless when it
 * does not run. To be called before the ports go away. Thread: owner. */
void chardev_host_stop(struct chardev_host *host);

#endif
