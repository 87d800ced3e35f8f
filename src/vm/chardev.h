/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CHARDEV_H
#define VM_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"

/*
 * Where the bytes of a port go: one interface between a device (a serial port) and a
 * back end (terminal, file, pty, socket, memory in tests). A back end embeds struct chardev as its
 * first member and fills @ops; the port fills the callbacks with chardev_set_receiver() before the
 * machine runs, and clears them with NULL before it goes away.
 *
 * Locks: the port calls chardev_write() and chardev_can_receive_again() with its own mutex held. A
 * back end calls @receive and @writable without any lock of its own held, from any one thread.
 */
struct chardev;

struct chardev_ops {
	/*
	 * Take up to @n bytes. Never blocks, never calls back into the port.
	 * Returns the number taken (1 to @n), -EAGAIN when there is no room now (@writable follows
	 * once there is), another negative errno when bytes are lost for good.
	 */
	ssize_t (*write)(struct chardev *cd, const void *buf, size_t n);
	/* The port took fewer bytes than offered before, and has room again: offer the rest. May be
	 * NULL. Never calls back into the port on this thread. */
	void (*can_receive_again)(struct chardev *cd);
	/* End of use: flush what can be flushed without blocking, free everything. */
	void (*close)(struct chardev *cd);
	/* The guest opened the port (it may have been open before), or closed it; what was accepted and the guest has not read
	 * is forgotten. Never calls back into the port on this thread. NULL, and then bytes wait for who opens it: the back
	 * end does not care. */
	void (*opened)(struct chardev *cd, bool is_open);
};

struct chardev {
	const struct chardev_ops *ops;

	/* The port's: takes bytes from outside; returns how many it accepted (0 to @n). NULL: none. */
	size_t (*receive)(void *arg, const uint8_t *buf, size_t n);
	/* The port's: writing may succeed again after -EAGAIN. NULL: it does not want to know. */
	void (*writable)(void *arg);
	void *port_arg;
};

/*
 * chardev_write - hand bytes of the guest to the outside, without waiting.
 *
 * Returns bytes taken, -EAGAIN, or another negative errno (bytes are lost; the caller goes on).
 * Thread: any, under the port's mutex.
 */
_nodiscard_ static inline ssize_t chardev_write(struct chardev *cd, const void *buf, size_t n)
{
	return cd->ops->write(cd, buf, n);
}

/* chardev_set_receiver - let a port take what comes from outside; NULL detaches. Before the back end's
 * thread runs, or when it is stopped. */
static inline void chardev_set_receiver(struct chardev *cd,
					size_t (*fn)(void *arg, const uint8_t *buf, size_t n),
					void *arg)
{
	cd->receive = fn;
	cd->port_arg = arg;
}

/* chardev_set_writable - be told after -EAGAIN that there is room again; @arg is the receiver's. */
static inline void chardev_set_writable(struct chardev *cd, void (*fn)(void *arg))
{
	cd->writable = fn;
}

/* chardev_can_receive_again - the port has room after it refused bytes. Thread: any. */
static inline void chardev_can_receive_again(struct chardev *cd)
{
	if (cd->ops->can_receive_again)
		cd->ops->can_receive_again(cd);
}

/* chardev_opened - tell who cares that the guest opened or closed the port. Thread: any, under the port's mutex. */
static inline void chardev_opened(struct chardev *cd, bool is_open)
{
	if (cd->ops->opened)
		cd->ops->opened(cd, is_open);
}

/* chardev_close - end of use; NULL is accepted. The port was detached before. */
static inline void chardev_close(struct chardev *cd)
{
	if (cd)
		cd->ops->close(cd);
}

#endif
