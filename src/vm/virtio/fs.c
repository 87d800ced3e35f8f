/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file system device. What a message means is the other process's matter; here it is counted, copied and carried:
 *
 *	guest --chain--> slot, copy in tx --socket--> server
 *	guest <--chain-- slot's writable part <--readv-- socket
 *
 * A message is copied as a whole before any of it is sent, so that what was checked is what goes, and so that a reset never
 * leaves half a message behind. An answer goes from the socket into the guest's memory without a copy, on the I/O thread like
 * all writes there. Messages are told apart by a number of ours, put in the place of the guest's, which may be
 * anything. So a reset need not wait for the server: the chains are given up at once, and answers that come
 * later find no slot and are thrown away.
 *
 * A server that is gone, or talks nonsense, makes every message fail from then on (ENOTCONN), and nothing else.
 */
#include "vm/virtio/fs.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/thread.h"

/* clang-format off */
enum {
	ID_FS = 26, QUEUE_SIZE = VIRTQ_MAX_SIZE,
	Q_HIPRIO = 0, Q_REQUEST = 1, NR_QUEUES = 2,

	/* Configuration space (5.11.4). */
	C_QUEUES = 36, C_LEN = 40,

	/* Headers of messages and answers. */
	IN_LEN = 0, IN_OPCODE = 4, IN_UNIQUE = 8, IN_HEADER = 40,
	OUT_LEN = 0, OUT_ERROR = 4, OUT_UNIQUE = 8, OUT_HEADER = 16,

	ANSWERS_AT_ONCE = 64,
	SLOT_BITS = 8,
};
/* clang-format on */

static struct virtio_fs *fs_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_fs, dev);
}

static bool is_dead(const struct virtio_fs *f)
{
	return f->watch.fd < 0;
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

static void push(struct virtio_fs *f, struct virtio_fs_slot *s, uint32_t len)
{
	struct virtq *q = s->chain.q;

	virtio_push(&f->dev, &s->chain, len);
	virtio_signal(&f->dev, q);
}

/* @len: of the answer with its header, whose rest is in its place; @error: 0 or negative */
static void answer(struct virtio_fs *f, struct virtio_fs_slot *s, uint32_t len, int32_t error)
{
	uint8_t h[OUT_HEADER];

	put_le32(h + OUT_LEN, len);
	put_le32(h + OUT_ERROR, (uint32_t)error);
	memcpy(h + OUT_UNIQUE, s->guest_unique, sizeof(s->guest_unique));
	push(f, s, chain_write(&s->chain, 0, h, OUT_HEADER) < OUT_HEADER ? 0 : len);
}

static void fail(struct virtio_fs *f, struct virtio_fs_slot *s, int32_t error)
{
	answer(f, s, OUT_HEADER, error);
}

static void set_events(struct virtio_fs *f)
{
	io_watch_set(f->dev.io, &f->watch, EPOLLIN | (f->tx_sent < f->tx_n ? EPOLLOUT : 0));
}

static void die(struct virtio_fs *f, const char *why)
{
	log_warn("virtio-fs.server", kv_str("device", f->dev.name), kv_str("why", why));
	io_watch_del(f->dev.io, &f->watch);
	f->tx_n = f->tx_sent = 0;
	f->rx_slot = NULL;
	virtio_again(&f->dev, Q_HIPRIO);
	virtio_again(&f->dev, Q_REQUEST);
}

/* What the server took with it is answered when the device runs the next time, which may be later. */
static void fail_all(struct virtio_fs *f)
{
	for (unsigned int k = 0; k < VIRTIO_FS_SLOTS; k++)
		if (f->slot[k].chain.q)
			fail(f, &f->slot[k], -ENOTCONN);
}

/* --- to the server --------------------------------------------------------------------------------------------------- */

/* Returns whether nothing is left to be sent. */
static bool flush(struct virtio_fs *f)
{
	while (f->tx_sent < f->tx_n) {
		ssize_t n = send(f->watch.fd, f->tx + f->tx_sent, f->tx_n - f->tx_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			die(f, "cannot be written to");
			return false;
		}
		if (n < 0)
			return false;
		f->tx_sent += (size_t)n;
	}
	return true;
}

static struct virtio_fs_slot *free_slot(struct virtio_fs *f)
{
	for (unsigned int k = 0; k < VIRTIO_FS_SLOTS; k++)
		if (!f->slot[k].chain.q)
			return &f->slot[k];
	return NULL;
}

static bool has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* Takes the slot's message as far as it goes: into tx, or to its end. */
static void take(struct virtio_fs *f, struct virtio_fs_slot *s)
{
	const struct virtq_chain *c = &s->chain;
	uint32_t n = c->out_bytes, opcode;
	uint8_t h[IN_HEADER] = { 0 };

	chain_read(c, 0, h, sizeof(h));
	opcode = get_le32(h + IN_OPCODE);
	memcpy(s->guest_unique, h + IN_UNIQUE, sizeof(s->guest_unique));
	if (n < IN_HEADER || n > VIRTIO_FS_MESSAGE || get_le32(h + IN_LEN) != n) {
		fail(f, s, -EINVAL);
		return;
	}
	if (is_dead(f)) {
		fail(f, s, -ENOTCONN);
		return;
	}
	/* Nothing waits long enough to be interrupted. What has no room for an answer gets none, and is not done. */
	if (opcode == FUSE_INTERRUPT || (has_answer(opcode) && c->in_bytes < OUT_HEADER)) {
		push(f, s, 0);
		return;
	}
	s->unique = f->epoch << SLOT_BITS | (uint64_t)(s - f->slot);
	memcpy(f->tx, h, IN_HEADER);
	put_le64(f->tx + IN_UNIQUE, s->unique);
	chain_read(c, IN_HEADER, f->tx + IN_HEADER, n - IN_HEADER);
	f->tx_n = n;
	f->tx_sent = 0;
	if (!has_answer(opcode))
		push(f, s, 0);
}

static void run_queue(struct virtio_fs *f, unsigned int index)
{
	struct virtio_dev *d = &f->dev;
	unsigned int n = 0;

	for (;;) {
		struct virtio_fs_slot *s;

		if (!is_dead(f) && !flush(f))
			break;
		s = free_slot(f);
		if (!s || !virtio_pop(d, &d->q[index], &s->chain, &n))
			break;
		take(f, s);
	}
}

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_fs *f = fs_of(d);

	if (!virtio_is_running(d))
		return;
	if (is_dead(f))
		fail_all(f);
	for (unsigned int k = 0; k < NR_QUEUES; k++)
		if (kicked >> k & 1)
			run_queue(f, k);
	set_events(f);
}

/* --- from the server -------------------------------------------------------------------------------------------------- */

/* A header is there: whose answer is it? Returns false when it makes no sense. */
static bool begin_answer(struct virtio_fs *f)
{
	uint32_t len = get_le32(f->head + OUT_LEN);
	uint64_t unique = get_le64(f->head + OUT_UNIQUE);
	struct virtio_fs_slot *s = &f->slot[(unique & ((1 << SLOT_BITS) - 1)) % VIRTIO_FS_SLOTS];

	if (len < OUT_HEADER || len > VIRTIO_FS_MESSAGE)
		return false;
	f->rx_slot = s->chain.q && s->unique == unique ? s : NULL;
	f->rx_too_long = f->rx_slot && len > s->chain.in_bytes;
	f->rx_off = OUT_HEADER;
	f->rx_left = len - OUT_HEADER;
	return true;
}

static void end_answer(struct virtio_fs *f)
{
	struct virtio_fs_slot *s = f->rx_slot;

	f->rx_slot = NULL;
	f->head_n = 0;
	if (!s)
		return;
	if (f->rx_too_long)
		fail(f, s, -EIO);
	else
		answer(f, s, get_le32(f->head + OUT_LEN), (int32_t)get_le32(f->head + OUT_ERROR));
}

/* Returns bytes; 0 at the end; negative errno. */
static ssize_t receive(struct virtio_fs *f)
{
	struct iovec *iov = f->iov;
	uint8_t nowhere[1024];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1 };
	ssize_t n;

	if (f->head_n < OUT_HEADER) {
		iov[0] = (struct iovec){ f->head + f->head_n, OUT_HEADER - f->head_n };
	} else if (f->rx_slot && !f->rx_too_long) {
		const struct virtq_chain *c = &f->rx_slot->chain;

		m.msg_iovlen = chain_slice(c->in, c->nr_in, f->rx_off, f->rx_left, iov);
	} else {
		iov[0] = (struct iovec){ nowhere, MIN(f->rx_left, (uint32_t)sizeof(nowhere)) };
	}
	n = recvmsg(f->watch.fd, &m, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

static void receive_answers(struct virtio_fs *f)
{
	for (unsigned int n = 0; n < ANSWERS_AT_ONCE;) {
		ssize_t got = receive(f);

		if (got == -EAGAIN || got == -EINTR)
			return;
		if (got <= 0) {
			die(f, got ? "cannot be read from" : "has ended");
			return;
		}
		if (f->head_n < OUT_HEADER) {
			f->head_n += (size_t)got;
			if (f->head_n == OUT_HEADER && !begin_answer(f)) {
				die(f, "talks nonsense");
				return;
			}
		} else {
			f->rx_off += (uint32_t)got;
			f->rx_left -= (uint32_t)got;
		}
		if (f->head_n == OUT_HEADER && !f->rx_left) {
			end_answer(f);
			n++;
		}
	}
}

static void ready(void *arg, uint32_t events)
{
	struct virtio_fs *f = arg;

	mutex_guard(&f->dev.lock);
	if (!virtio_may_access(&f->dev)) {
		if (events & (EPOLLHUP | EPOLLERR)) /* told whether one asks or not */
			die(f, "has ended");
		else
			io_watch_set(f->dev.io, &f->watch, 0);
		return;
	}
	if ((events & EPOLLOUT) && flush(f))
		set_events(f);
	if (!is_dead(f) && (events & ~(uint32_t)EPOLLOUT))
		receive_answers(f);
	/* There may be room for more now, in tx or in the slots. */
	if (!is_dead(f) && f->tx_sent == f->tx_n) {
		virtio_again(&f->dev, Q_HIPRIO);
		virtio_again(&f->dev, Q_REQUEST);
	}
}

/* --- the device ----------------------------------------------------------------------------------------------------- */

static void reset(struct virtio_dev *d)
{
	struct virtio_fs *f = fs_of(d);

	f->epoch++;
	f->rx_slot = NULL;
	for (unsigned int k = 0; k < VIRTIO_FS_SLOTS; k++)
		if (f->slot[k].chain.q)
			virtio_abandon(d, &f->slot[k].chain);
}

static const struct virtio_ops fs_ops = {
	.name = "virtio-fs",
	.id = ID_FS,
	.run = run,
	.reset = reset,
	.unsaved = "what the guest has open in a shared folder (--share) cannot be saved",
};

int virtio_fs_init(struct virtio_fs *f, const struct virtio_fs_config *cfg,
		   const struct physmem *mem, struct iothread *io, struct err *err)
{
	size_t n = strlen(cfg->tag);
	int r;

	memset(f, 0, sizeof(*f));
	if (!n || n > VIRTIO_FS_TAG)
		return err_set(err, -EINVAL, "a shared folder's tag has 1 to %d bytes",
			       VIRTIO_FS_TAG);
	virtio_init(&f->dev, &fs_ops, mem, io, NR_QUEUES, QUEUE_SIZE, 0);
	memcpy(f->dev.config, cfg->tag, n);
	put_le32(f->dev.config + C_QUEUES, NR_QUEUES - 1);
	f->dev.config_len = C_LEN;
	f->tx = mem_new(VIRTIO_FS_MESSAGE);
	f->watch = (struct io_watch){ .fd = cfg->fd, .fn = ready, .arg = f };
	r = io_watch_add(io, &f->watch, EPOLLIN, err);
	if (r < 0) {
		f->watch.fd = -EBADF;
		virtio_fs_done(f);
	}
	return r;
}

void virtio_fs_done(struct virtio_fs *f)
{
	io_watch_del(f->dev.io, &f->watch);
	virtio_done(&f->dev);
	free(take_ptr(&f->tx));
}
