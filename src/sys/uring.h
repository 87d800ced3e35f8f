/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_URING_H
#define ATOLL_SYS_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Reads and writes of files that the kernel carries out beside us (io_uring), one thread that is told of
 * their end. Any thread starts them.
 */
struct uring;

struct uring_op {
	/*
	 * @res:  bytes moved, which may be fewer than asked for, or a negative errno
	 * Thread: the ring's own, one call at a time.
	 */
	void (*done)(struct uring_op *op, int res);
};

/*
 * uring_new - a ring for up to @entries operations at a time.
 *
 * @entries:  a power of two, 8 to 4096
 * Returns 0; -ENOSYS, -EPERM (the kernel or the sandbox does not have it), -ENOMEM, -EAGAIN. Thread: any.
 */
_nodiscard_ int uring_new(unsigned entries, struct uring **ret, struct err *err);

/* uring_free - end the ring, in which nothing is in flight; NULL is accepted. Thread: the last user. */
void uring_free(struct uring *u);

/*
 * uring_readv, uring_writev - start one operation.
 *
 * @iov:  and the memory it names stay in place until op->done() is called; @nr_iov <= IOV_MAX
 * Returns 0, and op->done() will be called once; -EBUSY (as many as fit are in flight). Thread: any; does
 * not wait for the file.
 */
_nodiscard_ int uring_readv(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov,
			    unsigned nr_iov, uint64_t off);
_nodiscard_ int uring_writev(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov,
			     unsigned nr_iov, uint64_t off);

#endif
