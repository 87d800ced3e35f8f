/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block device. A chain becomes one request of the disk, whose memory is the guest's own; the header and what
 * else is interpreted is copied out first, and a request that makes no sense is answered with an error status, not
 * with a stop of the device: its ring is in order.
 *
 *	chain popped --bad--> status IOERR or UNSUPP, pushed
 *	      |
 *	      '--> disk_submit() --> done(), on any thread: on the list --task--> status, pushed
 *
 * The driver sees a write cache that it must flush (the host's page cache, and what the image's format keeps), as long
 * as it accepted FLUSH and did not switch the cache off; otherwise each write is on the medium before it is
 * answered.
 *
 * More chains may wait in the rings than there are requests: then a queue is remembered as starved, and looked at
 * when a request is free.
 */
#include "vm/virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "sys/thread.h"

/* clang-format off */
enum {
	ID_BLOCK = 2,
	QUEUE_SIZE = 256,
	SECTOR = 512,

	/* Features (5.2.3). */
	F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_CONFIG_WCE = 11,
	F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14,

	/* Configuration space (5.2.4). */
	C_CAPACITY = 0, C_SEG_MAX = 12, C_BLK_SIZE = 20, C_PHYSICAL_EXP = 24, C_OPT_IO_SIZE = 28,
	C_WRITEBACK = 32, C_NUM_QUEUES = 34, C_MAX_DISCARD = 36, C_MAX_DISCARD_SEG = 40,
	C_DISCARD_ALIGN = 44, C_MAX_ZEROES = 48, C_MAX_ZEROES_SEG = 52, C_ZEROES_UNMAP = 56,
	C_LEN = 60,

	/* A request (5.2.6). */
	HEADER = 16, H_TYPE = 0, H_SECTOR = 8,
	T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13,
	SEGMENT = 16, SEGMENT_UNMAP = 1,
	S_OK = 0, S_IOERR = 1, S_UNSUPP = 2,

	/* Data pieces of a chain, beside its header and its status. */
	SEG_MAX = QUEUE_SIZE - 2,
	/* One discard or zeroing is at most so much, so that it comes to an end. */
	MAX_DISCARD_SECTORS = 1 << 21,
};
/* clang-format on */

struct virtio_blk_request {
	struct list link; /* in free, or done */
	struct virtio_blk *b;
	struct virtq_chain chain;
	struct disk_request req;
	struct iovec iov[VIRTQ_MAX_IOV];
	int status; /* of the disk */
};

static void signal_all(struct virtio_blk *b, uint64_t queues)
{
	for (; queues; queues &= queues - 1)
		virtio_signal(&b->dev, &b->dev.q[__builtin_ctzll(queues)]);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

/* The status is the last byte of the chain, wherever that is. Returns the queue as a mask. */
static uint64_t answer(struct virtio_blk *b, struct virtio_blk_request *rq, uint8_t status,
		       uint32_t data_bytes)
{
	struct virtq_chain *c = &rq->chain;
	uint64_t queue = UINT64_C(1) << c->q->index;

	if (status == S_IOERR)
		atomic_fetch_add_explicit(&b->nr_errors, 1, memory_order_relaxed);
	if (c->in_bytes && virtio_is_running(&b->dev)) /* else nobody is told */
		chain_write(c, c->in_bytes - 1, &status, 1);
	/* Bytes from the start: data that was not written ends what can be promised. */
	virtio_push(&b->dev, c, data_bytes + 1 == c->in_bytes ? c->in_bytes : data_bytes);
	list_push_front(&b->free, &rq->link);
	return queue;
}

static uint8_t status_of(int r)
{
	return r == 0 ? S_OK : r == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
}

static struct virtio_blk_request *next_done(struct virtio_blk *b)
{
	struct list *l;

	mutex_guard(&b->done_lock);
	l = list_pop(&b->done);
	return l ? list_entry(l, struct virtio_blk_request, link) : NULL;
}

static uint64_t answer_done(struct virtio_blk *b)
{
	struct virtio_blk_request *rq;
	uint64_t queues = 0;

	while ((rq = next_done(b))) {
		bool has_read = rq->req.op == DISK_OP_READ && rq->status == 0;

		queues |=
			answer(b, rq, status_of(rq->status), has_read ? rq->chain.in_bytes - 1 : 0);
	}
	return queues;
}

/* The device that is below us on the stack, with its lock: it looks by itself at what is done. */
static _Thread_local const struct virtio_blk *running;

static void on_done(struct disk_request *req, int status)
{
	struct virtio_blk_request *rq = container_of(req, struct virtio_blk_request, req);
	struct virtio_blk *b = rq->b;
	bool was_empty;

	mutex_lock(&b->done_lock);
	rq->status = status;
	was_empty = list_empty(&b->done);
	list_push(&b->done, &rq->link);
	mutex_unlock(&b->done_lock);
	if (was_empty && running != b)
		virtio_soon(&b->dev);
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static bool is_write_through(const struct virtio_blk *b)
{
	if (virtio_has(&b->dev, F_CONFIG_WCE))
		return !b->dev.config[C_WRITEBACK];
	return !virtio_has(&b->dev, F_FLUSH);
}

/* Whether [sector, sector + bytes) is on the disk, and where. */
static bool place(struct virtio_blk *b, uint64_t sector, uint64_t bytes, uint64_t *ret_off)
{
	return mul_ok(sector, (uint64_t)SECTOR, ret_off) && bytes % SECTOR == 0 &&
	       range_ok(*ret_off, bytes, disk_size(b->disk));
}

static uint8_t fill_rw(struct virtio_blk *b, struct virtio_blk_request *rq, uint64_t sector,
		       bool is_write)
{
	struct virtq_chain *c = &rq->chain;
	struct disk_request *req = &rq->req;

	req->op = is_write ? DISK_OP_WRITE : DISK_OP_READ;
	req->len = is_write ? c->out_bytes - HEADER : c->in_bytes - 1;
	if (!place(b, sector, req->len, &req->off))
		return S_IOERR;
	if (is_write && b->is_readonly)
		return S_IOERR;
	if (is_write)
		req->nr_iov = chain_slice(c->iov, c->nr_out, HEADER, req->len, rq->iov);
	else
		req->nr_iov = chain_slice(c->in, c->nr_in, 0, req->len, rq->iov);
	req->iov = rq->iov;
	if (is_write && is_write_through(b))
		req->flags = DISK_FUA;
	return S_OK;
}

static uint8_t fill_range(struct virtio_blk *b, struct virtio_blk_request *rq, bool is_zeroes)
{
	struct disk_request *req = &rq->req;
	uint8_t s[SEGMENT];
	uint32_t flags, sectors;

	if (!virtio_has(&b->dev, is_zeroes ? F_WRITE_ZEROES : F_DISCARD) || b->is_readonly)
		return S_UNSUPP;
	/* We told that one segment is the limit. */
	if (rq->chain.out_bytes != HEADER + SEGMENT ||
	    chain_read(&rq->chain, HEADER, s, SEGMENT) != SEGMENT)
		return S_UNSUPP;
	sectors = get_le32(s + 8);
	flags = get_le32(s + 12);
	if (flags & ~(uint32_t)(is_zeroes ? SEGMENT_UNMAP : 0))
		return S_UNSUPP;
	if (sectors > MAX_DISCARD_SECTORS)
		return S_IOERR;
	req->op = is_zeroes ? DISK_OP_ZERO : DISK_OP_DISCARD;
	req->len = (uint64_t)sectors * SECTOR;
	if (!place(b, get_le64(s), req->len, &req->off))
		return S_IOERR;
	if (flags & SEGMENT_UNMAP)
		req->flags |= DISK_MAY_UNMAP;
	if (is_write_through(b))
		req->flags |= DISK_FUA;
	return S_OK;
}

/* Returns a mask of the queue if the request was answered, 0 if it is under way. */
static uint64_t begin(struct virtio_blk *b, struct virtio_blk_request *rq)
{
	struct virtq_chain *c = &rq->chain;
	uint8_t header[HEADER], status;
	uint32_t n;

	if (chain_read(c, 0, header, HEADER) != HEADER || !c->in_bytes)
		return answer(b, rq, S_IOERR, 0);
	rq->req = (struct disk_request){ .done = on_done };
	switch (get_le32(header + H_TYPE)) {
	case T_IN:
		status = fill_rw(b, rq, get_le64(header + H_SECTOR), false);
		break;
	case T_OUT:
		status = fill_rw(b, rq, get_le64(header + H_SECTOR), true);
		break;
	case T_FLUSH:
		rq->req.op = DISK_OP_FLUSH;
		status = S_OK;
		break;
	case T_DISCARD:
		status = fill_range(b, rq, false);
		break;
	case T_ZEROES:
		status = fill_range(b, rq, true);
		break;
	case T_GET_ID:
		n = MIN(c->in_bytes - 1, (uint32_t)VIRTIO_BLK_SERIAL);
		n = chain_write(c, 0, b->serial, n);
		return answer(b, rq, S_OK, n);
	default:
		status = S_UNSUPP;
		break;
	}
	if (status != S_OK)
		return answer(b, rq, status, 0);
	/* Nothing to move: some drivers ask for it. */
	if (rq->req.op != DISK_OP_FLUSH && !rq->req.len)
		return answer(b, rq, S_OK, 0);
	disk_submit(b->disk, &rq->req);
	return 0;
}

/* A free request, which stays on the list; NULL: all are in flight. */
static struct virtio_blk_request *free_request(struct virtio_blk *b)
{
	struct virtio_blk_request *rq;

	if (!list_empty(&b->free))
		return list_entry(b->free.next, struct virtio_blk_request, link);
	if (b->nr_used == VIRTIO_BLK_REQUESTS)
		return NULL;
	rq = &b->requests[b->nr_used++];
	rq->b = b;
	list_push(&b->free, &rq->link);
	return rq;
}

static uint64_t run_queue(struct virtio_blk *b, struct virtq *q)
{
	uint64_t answered = 0, bit = UINT64_C(1) << q->index;
	unsigned int n = 0;

	b->starved &= ~bit;
	for (;;) {
		struct virtio_blk_request *rq = free_request(b);

		if (!rq) {
			b->starved |= bit;
			break;
		}
		if (!virtio_pop(&b->dev, q, &rq->chain, &n))
			break;
		list_del(&rq->link);
		answered |= begin(b, rq);
	}
	return answered;
}

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_blk *b = container_of(d, struct virtio_blk, dev);
	uint64_t answered = answer_done(b);

	running = b;
	if (virtio_is_running(d))
		for (uint64_t k = kicked | b->starved; k; k &= k - 1)
			answered |= run_queue(b, &d->q[__builtin_ctzll(k)]);
	running = NULL;
	/* What the disk could do at once. */
	answered |= answer_done(b);
	if (b->starved && free_request(b))
		io_task_queue(d->io, &d->task);
	signal_all(b, answered);
}

static void reset(struct virtio_dev *d)
{
	struct virtio_blk *b = container_of(d, struct virtio_blk, dev);

	/* What is in flight is the disk's, until it says that it is done; the reset waits for that. */
	running = b;
	disk_hurry(b->disk);
	running = NULL;
	b->starved = 0;
	d->config[C_WRITEBACK] = 1;
}

static void settle(struct virtio_dev *d)
{
	struct virtio_blk *b = container_of(d, struct virtio_blk, dev);

	disk_drain(b->disk);
	if (virtio_may_access(d) || d->is_resetting)
		signal_all(b, answer_done(b));
}

static void fill_config(struct virtio_blk *b)
{
	uint8_t *c = b->dev.config;
	uint32_t cluster = disk_cluster(b->disk);

	put_le64(c + C_CAPACITY, disk_size(b->disk) / SECTOR);
	put_le32(c + C_SEG_MAX, SEG_MAX);
	put_le32(c + C_BLK_SIZE, SECTOR);
	c[C_PHYSICAL_EXP] = 3; /* 4 KiB: what the host's page cache and most media write at once */
	put_le32(c + C_OPT_IO_SIZE, cluster > 4096 ? cluster / SECTOR : 0);
	c[C_WRITEBACK] = 1;
	b->dev.config_wmask[C_WRITEBACK] = 1;
	put_le16(c + C_NUM_QUEUES, (uint16_t)b->dev.nr_queues);
	put_le32(c + C_MAX_DISCARD, MAX_DISCARD_SECTORS);
	put_le32(c + C_MAX_DISCARD_SEG, 1);
	put_le32(c + C_DISCARD_ALIGN, MAX(cluster, 4096u) / SECTOR);
	put_le32(c + C_MAX_ZEROES, MAX_DISCARD_SECTORS);
	put_le32(c + C_MAX_ZEROES_SEG, 1);
	c[C_ZEROES_UNMAP] = 1;
	b->dev.config_len = C_LEN;
}

/* The disk says how large it is, also when it is another one with the same content. */
static void restored(struct virtio_dev *d)
{
	struct virtio_blk *b = container_of(d, struct virtio_blk, dev);
	uint8_t writeback = d->config[C_WRITEBACK] & 1;

	fill_config(b);
	d->config[C_WRITEBACK] = writeback;
}

static const struct virtio_ops blk_ops = { .name = "virtio-blk",
					   .id = ID_BLOCK,
					   .is_quick = true,
					   .run = run,
					   .reset = reset,
					   .settle = settle,
					   .restored = restored };

void virtio_blk_init(struct virtio_blk *b, const struct virtio_blk_config *cfg,
		     const struct physmem *mem, struct iothread *io)
{
	uint64_t features = UINT64_C(1) << F_SEG_MAX | UINT64_C(1) << F_BLK_SIZE |
			    UINT64_C(1) << F_FLUSH | UINT64_C(1) << F_TOPOLOGY |
			    UINT64_C(1) << F_CONFIG_WCE;

	*b = (struct virtio_blk){ .disk = cfg->disk,
				  .is_readonly = !(disk_flags(cfg->disk) & DISK_RDWR) };
	if (b->is_readonly)
		features |= UINT64_C(1) << F_RO;
	else
		features |= UINT64_C(1) << F_DISCARD | UINT64_C(1) << F_WRITE_ZEROES;
	if (cfg->nr_queues > 1)
		features |= UINT64_C(1) << F_MQ;
	if (cfg->packed)
		features |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	virtio_init(&b->dev, &blk_ops, mem, io, cfg->nr_queues, QUEUE_SIZE, features);
	if (cfg->serial)
		memcpy(b->serial, cfg->serial, MIN(strlen(cfg->serial), sizeof(b->serial)));
	fill_config(b);
	mutex_init(&b->done_lock);
	list_init(&b->done);
	list_init(&b->free);
	b->requests = mem_new_n(VIRTIO_BLK_REQUESTS, sizeof(*b->requests));
}

void virtio_blk_done(struct virtio_blk *b)
{
	if (!b->requests)
		return;
	disk_drain(b->disk);
	virtio_done(&b->dev);
	free(take_ptr(&b->requests));
	pthread_mutex_destroy(&b->done_lock);
}

void virtio_blk_resized(struct virtio_blk *b)
{
	mutex_guard(&b->dev.lock);
	put_le64(b->dev.config + C_CAPACITY, disk_size(b->disk) / SECTOR);
	virtio_config_changed(&b->dev);
}
