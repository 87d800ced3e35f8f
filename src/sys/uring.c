/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring behind three functions. One ring with one thread that waits for completions: starting an operation
 * costs the starter one system call and no switch, and a completion wakes nobody but that thread. A ring for each
 * submitting thread was rejected: the threads that submit are vCPUs, who have no time to look for completions.
 */
#include "sys/uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/thread.h"

struct uring {
	struct io_uring ring;
	pthread_mutex_t lock; /* the submission side */
	unsigned entries, in_flight;
	struct thread reaper;
};

static void reap(void *arg)
{
	struct uring *u = arg;

	for (;;) {
		struct io_uring_cqe *cqe;
		struct uring_op *op;
		int res;

		if (io_uring_wait_cqe(&u->ring, &cqe) < 0)
			continue; /* a signal */
		op = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (!op)
			return;
		mutex_lock(&u->lock);
		u->in_flight--;
		mutex_unlock(&u->lock);
		op->done(op, res);
	}
}

/*
 * Nothing but what we use: a ring's operations are not seen by system call filters, and among them are opening files and
 * sockets. By the system call: Debian's liburing declares functions for it and does not have them.
 */
static int restrict_ops(struct io_uring *ring)
{
	static const uint8_t ops[] = { IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV };
	struct io_uring_restriction allowed[ARRAY_SIZE(ops)] = { 0 };

	for (size_t k = 0; k < ARRAY_SIZE(ops); k++) {
		allowed[k].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[k].sqe_op = ops[k];
	}
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
		    ARRAY_SIZE(allowed)) < 0 ||
	    syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) <
		    0)
		return -errno;
	return 0;
}

int uring_new(unsigned entries, struct uring **ret, struct err *err)
{
	struct uring *u = mem_new(sizeof(*u));
	int r = io_uring_queue_init(entries, &u->ring, IORING_SETUP_R_DISABLED);

	if (r == 0) {
		r = restrict_ops(&u->ring);
		if (r < 0)
			io_uring_queue_exit(&u->ring);
	}
	if (r < 0) {
		free(u);
		return err_set(err, r, "io_uring: %s", strerror(-r));
	}
	mutex_init(&u->lock);
	u->entries = entries;
	r = thread_start(&u->reaper, "uring", reap, u, err);
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		pthread_mutex_destroy(&u->lock);
		free(u);
		return r;
	}
	*ret = u;
	return 0;
}

/* Under the lock. The entry that was prepared goes to the kernel, which takes it or is asked again. */
static void submit(struct uring *u)
{
	int r;

	do
		r = io_uring_submit(&u->ring);
	while (r == -EINTR || r == -EAGAIN || r == -EBUSY);
}

void uring_free(struct uring *u)
{
	struct io_uring_sqe *sqe;

	if (!u)
		return;
	mutex_lock(&u->lock);
	sqe = io_uring_get_sqe(&u->ring);
	assert(sqe);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	submit(u);
	mutex_unlock(&u->lock);
	thread_join(&u->reaper);
	io_uring_queue_exit(&u->ring);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static int start(struct uring *u, struct uring_op *op, bool write, int fd, const struct iovec *iov,
		 unsigned nr_iov, uint64_t off)
{
	struct io_uring_sqe *sqe;
	mutex_guard(&u->lock);

	if (u->in_flight >= u->entries)
		return -EBUSY;
	/* Each entry is submitted at once, so there is room. */
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe)
		return -EBUSY;
	if (write)
		io_uring_prep_writev(sqe, fd, iov, nr_iov, off);
	else
		io_uring_prep_readv(sqe, fd, iov, nr_iov, off);
	io_uring_sqe_set_data(sqe, op);
	u->in_flight++;
	submit(u);
	return 0;
}

int uring_readv(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov,
		unsigned nr_iov, uint64_t off)
{
	return start(u, op, false, fd, iov, nr_iov, off);
}

int uring_writev(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov,
		 unsigned nr_iov, uint64_t off)
{
	return start(u, op, true, fd, iov, nr_iov, off);
}
