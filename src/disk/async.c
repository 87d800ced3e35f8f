/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests without waiting. A device submits on a vCPU's thread, where waiting for the disk would stop the
 * guest.
 *
 *	disk_submit()
 *	    ├─ over its limit                          ──> waits for its time (throttle.c), then one of the following
 *	    ├─ reads zero                              ──> done, at once
 *	    ├─ small, and moves without waiting        ──> done, at once
 *	    ├─ one extent that can be read, or written in place, and
 *	    │  its table is in memory, and nobody has the range ──> io_uring ──> done, on the ring's thread
 *	    └─ anything else, and what io_uring did in part     ──> worker: the plain code of io.c ──> done
 *
 * The first three hold their range shared until the bytes have moved. A request that a ring did in part is
 * done again in whole: it was not completed, so nobody can tell. Where there is no io_uring (an old kernel, a
 * sandbox), workers do all of it.
 *
 * A write that finds no space on the host may wait for it (DISK_WAIT_SPACE): it is tried again each second, and when
 * somebody says that there is space; all else goes on. A file system that said no has not taken the bytes, so that
 * trying again is safe; for what is said about bytes that were taken (a sync) it is not, and that is an I/O error.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"
#include "disk/throttle_priv.h"
#include "sys/thread.h"

#define WORKERS_MAX  64
#define RING_ENTRIES 256
#define RETRY_NS     NS_PER_S
#define INLINE_MAX   65536 /* longer copies would keep a vCPU too long */

struct async {
	struct disk *disk;
	struct uring *ring; /* NULL: there is none */
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct list queue;
	unsigned nr_in_flight; /* submitted and not done */
	bool is_ending;
	unsigned nr_workers;
	struct thread workers[WORKERS_MAX];
	struct list stalled; /* requests that wait for space on the host */
	unsigned nr_stalled;
	bool is_full, is_hurried; /* hurried: until nothing is in flight, nobody waits */
	void (*on_full)(void *arg, bool is_full);
	void *on_full_arg;
	struct timerq_timer retry;
	struct timerq timers; /* runs by itself unless the disk's clock is a test's */
	struct throttle throttle;
};

/* No space: does the request wait for it? Tells whether it is the first. */
static bool stall(struct async *a, struct disk_request *req, int status, bool *ret_first)
{
	*ret_first = false;
	if ((status != -ENOSPC && status != -EDQUOT) || !(a->disk->flags & DISK_WAIT_SPACE))
		return false;
	mutex_guard(&a->lock);
	if (a->is_hurried)
		return false;
	req->priv.has_stalled = true;
	list_push(&a->stalled, &req->priv.link);
	if (!a->nr_stalled++)
		timerq_arm(&a->timers, &a->retry, clock_now(a->disk->clock) + RETRY_NS);
	*ret_first = !a->is_full;
	a->is_full = true;
	return true;
}

static void tell(struct async *a, bool is_full)
{
	if (a->on_full)
		a->on_full(a->on_full_arg, is_full);
}

/* A request that had waited for space has ended: when it was the last one, there is room again. */
static void note_room(struct async *a, int status)
{
	bool has_room = false;

	mutex_lock(&a->lock);
	if (!a->nr_stalled && a->is_full && status != -ENOSPC) {
		a->is_full = false;
		has_room = true;
	}
	mutex_unlock(&a->lock);
	if (has_room)
		tell(a, false);
}

static void finish(struct async *a, struct disk_request *req, int status)
{
	bool first, has_stalled = req->priv.has_stalled;

	if (stall(a, req, status, &first)) {
		if (first)
			tell(a, true);
		return;
	}
	req->done(req, status);
	if (has_stalled)
		note_room(a, status);
	mutex_lock(&a->lock);
	if (!--a->nr_in_flight) {
		a->is_hurried = false;
		pthread_cond_broadcast(&a->idle);
	}
	mutex_unlock(&a->lock);
}

/* Holds the lock. */
static void retry_all(struct async *a)
{
	struct list *l;

	while ((l = list_pop(&a->stalled)))
		list_push(&a->queue, l);
	a->nr_stalled = 0;
	pthread_cond_broadcast(&a->work);
}

static void on_retry(void *arg)
{
	struct async *a = arg;
	mutex_guard(&a->lock);

	retry_all(a);
}

static void worker(void *arg)
{
	struct async *a = arg;

	mutex_lock(&a->lock);
	for (;;) {
		struct list *l = list_pop(&a->queue);
		struct disk_request *req;

		if (!l && a->is_ending)
			break;
		if (!l) {
			cond_wait(&a->work, &a->lock);
			continue;
		}
		mutex_unlock(&a->lock);
		req = list_entry(l, struct disk_request, priv.link);
		finish(a, req, request_run(a->disk, req));
		mutex_lock(&a->lock);
	}
	mutex_unlock(&a->lock);
}

void async_stop(struct async *a)
{
	if (!a)
		return;
	mutex_lock(&a->lock);
	assert(!a->nr_in_flight);
	a->is_ending = true;
	pthread_cond_broadcast(&a->work);
	mutex_unlock(&a->lock);
	for (unsigned i = 0; i < a->nr_workers; i++)
		thread_join(&a->workers[i]);
	throttle_done(&a->throttle);
	timerq_timer_done(&a->timers, &a->retry);
	timerq_done(&a->timers);
	uring_free(a->ring);
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static void start(void *arg, struct disk_request *req);

int disk_async_start(struct disk *disk, unsigned nr_workers, struct err *err)
{
	struct async *a;
	int r = 0;

	if (disk->async)
		return err_set(err, -EALREADY, "the disk takes requests already");
	a = mem_new(sizeof(*a));
	a->disk = disk;
	mutex_init(&a->lock);
	cond_init(&a->work);
	cond_init(&a->idle);
	list_init(&a->queue);
	timerq_init(&a->timers, disk->clock);
	throttle_init(&a->throttle, &a->timers, start, a);
	list_init(&a->stalled);
	timerq_timer_init(&a->timers, &a->retry, on_retry, a);
	if (disk->clock == clock_real())
		r = timerq_start(&a->timers, err);
	nr_workers = MIN(MAX(nr_workers, 1U), (unsigned)WORKERS_MAX);
	while (r == 0 && a->nr_workers < nr_workers) {
		r = thread_start(&a->workers[a->nr_workers], "disk", worker, a, err);
		a->nr_workers += r == 0;
	}
	if (r == 0 && uring_new(RING_ENTRIES, &a->ring, NULL) < 0)
		a->ring = NULL;
	if (r < 0) {
		async_stop(a);
		return r;
	}
	disk->async = a;
	return 0;
}

static void to_worker(struct async *a, struct disk_request *req)
{
	mutex_guard(&a->lock);

	list_push(&a->queue, &req->priv.link);
	pthread_cond_signal(&a->work);
}

static void release_and_finish(struct disk_request *req, int status)
{
	struct disk *disk = req->priv.disk;

	range_release(&disk->ranges, &req->priv.hold);
	finish(disk->async, req, status);
}

static void ring_done(struct uring_op *op, int res)
{
	struct disk_request *req = container_of(op, struct disk_request, priv.op);
	struct disk *disk = req->priv.disk;
	bool write = req->op == DISK_OP_WRITE;

	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		release_and_finish(req, res);
		return;
	}
	if (write && res > 0)
		disk_file_grew(req->priv.file, req->priv.host_off + (uint64_t)res);
	if ((uint64_t)MAX(res, 0) == req->priv.bytes) {
		release_and_finish(req, 0);
		return;
	}
	range_release(&disk->ranges, &req->priv.hold);
	to_worker(disk->async, req);
}

/*
 * What is in memory is copied sooner than a thread is woken. Most file systems can say that a read would wait, few
 * that a write would.
 */
static bool move_at_once(const struct disk_request *req)
{
	const struct disk_file *f = req->priv.file;
	bool write = req->op == DISK_OP_WRITE;
	off_t off = (off_t)req->priv.host_off;
	int flags = f->is_memory ? 0 : RWF_NOWAIT;
	ssize_t n;

	if (req->priv.bytes > INLINE_MAX || f->align > 1)
		return false;
	do
		n = write ? pwritev2(f->fd, req->iov, (int)req->nr_iov, off, flags)
			  : preadv2(f->fd, req->iov, (int)req->nr_iov, off, flags);
	while (n < 0 && errno == EINTR);
	if (write && n > 0)
		disk_file_grew(req->priv.file, req->priv.host_off + (uint64_t)n);
	return n == (ssize_t)req->priv.bytes;
}

/* Where the bytes of a request are, when that is one place; the range is held. -EAGAIN: a worker's work. */
static int find_place(struct disk *disk, struct disk_request *req, struct where_at *at)
{
	struct merged m;
	bool in_place;
	int r;

	if (req->op == DISK_OP_READ) {
		r = graph_map(disk->top, req->off, req->priv.bytes, MAP_CACHED, &m);
		*at = m.at;
	} else {
		r = graph_is_in_place(disk->top, req->off, req->priv.bytes, MAP_CACHED, at,
				      &in_place);
		if (r == 0 && !in_place)
			r = -EAGAIN;
	}
	if (r == 0 && (at->len < req->priv.bytes || at->where == WHERE_PACKED))
		r = -EAGAIN;
	return r;
}

/* The ways that need no worker. False: it needs one. */
static bool start_fast(struct async *a, struct disk_request *req)
{
	struct iov_iter it = iov_iter(req->iov, req->nr_iov);
	struct disk *disk = a->disk;
	struct where_at at;
	int r;

	if (!a->ring || (req->op != DISK_OP_READ && req->op != DISK_OP_WRITE) ||
	    req->flags & DISK_FUA || req->nr_iov > IOV_MAX)
		return false;
	/* An observer sees plain writes only. */
	if (req->op == DISK_OP_WRITE && disk->observer)
		return false;
	req->priv.bytes = iov_bytes(&it);
	if (!req->priv.bytes || !range_ok(req->off, req->priv.bytes, disk_size(disk)) ||
	    !range_try(&disk->ranges, &req->priv.hold, req->off, req->priv.bytes, false))
		return false;
	r = -EAGAIN;
	/* The first write of an image changes more than data. */
	if (req->op == DISK_OP_READ || atomic_load(&disk->top->is_written))
		r = find_place(disk, req, &at);
	if (r == 0 && req->op == DISK_OP_WRITE)
		graph_changing(disk, req->off, req->priv.bytes);
	if (r == 0 && at.where != WHERE_DATA) {
		iov_fill_zero(&it, req->priv.bytes);
		release_and_finish(req, 0);
		return true;
	}
	if (r == 0 && !at.file->nbd &&
	    disk_file_is_aligned(at.file, at.host_off, &it, req->priv.bytes)) {
		req->priv.file = at.file;
		req->priv.host_off = at.host_off;
		req->priv.op.done = ring_done;
		if (move_at_once(req)) {
			release_and_finish(req, 0);
			return true;
		}
		if (req->op == DISK_OP_READ)
			r = uring_readv(a->ring, &req->priv.op, at.file->fd, req->iov, req->nr_iov,
					at.host_off);
		else
			r = uring_writev(a->ring, &req->priv.op, at.file->fd, req->iov, req->nr_iov,
					 at.host_off);
		if (r == 0)
			return true;
	}
	range_release(&disk->ranges, &req->priv.hold);
	return false;
}

static void start(void *arg, struct disk_request *req)
{
	struct async *a = arg;

	if (!start_fast(a, req))
		to_worker(a, req);
}

void disk_submit(struct disk *disk, struct disk_request *req)
{
	struct async *a = disk->async;

	req->priv.disk = disk;
	req->priv.has_stalled = false;
	mutex_lock(&a->lock);
	a->nr_in_flight++;
	mutex_unlock(&a->lock);
	if (throttle_admit(&a->throttle, req))
		start(a, req);
}

void disk_hurry(struct disk *disk)
{
	struct async *a = disk->async;
	struct list given_up, *l;

	if (!a)
		return;
	list_init(&given_up);
	mutex_lock(&a->lock);
	a->is_hurried = a->nr_in_flight;
	while ((l = list_pop(&a->stalled)))
		list_push(&given_up, l);
	a->nr_stalled = 0;
	mutex_unlock(&a->lock);
	throttle_release(&a->throttle);
	while ((l = list_pop(&given_up)))
		finish(a, list_entry(l, struct disk_request, priv.link), -ENOSPC);
}

void disk_retry(struct disk *disk)
{
	if (disk->async)
		on_retry(disk->async);
}

unsigned disk_nr_stalled(struct disk *disk)
{
	struct async *a = disk->async;

	if (!a)
		return 0;
	mutex_guard(&a->lock);
	return a->nr_stalled;
}

void disk_on_full(struct disk *disk, void (*fn)(void *arg, bool is_full), void *arg)
{
	disk->async->on_full = fn;
	disk->async->on_full_arg = arg;
}

void disk_drain(struct disk *disk)
{
	struct async *a = disk->async;

	if (!a)
		return;
	disk_hurry(disk);
	mutex_guard(&a->lock);
	while (a->nr_in_flight)
		cond_wait(&a->idle, &a->lock);
}

int disk_set_limits(struct disk *disk, const struct disk_limits *limits, struct err *err)
{
	if (!disk->async)
		return err_set(err, -EINVAL, "the disk takes no requests that could be limited");
	throttle_set(&disk->async->throttle, limits);
	return 0;
}

void disk_get_limits(struct disk *disk, struct disk_limits *ret, unsigned *ret_waiting)
{
	*ret = (struct disk_limits){ 0 };
	*ret_waiting = 0;
	if (disk->async)
		throttle_get(&disk->async->throttle, ret, ret_waiting);
}

struct timerq *async_timers(struct disk *disk)
{
	return &disk->async->timers;
}
