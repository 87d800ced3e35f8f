/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a client: checked against the export, given to the disk, answered.
 *
 * Reads and block status are answered with structured replies where the client asked for them, everything else
 * with simple ones, which are shorter. A read is one chunk: what the disk could not read whole is an error, and a
 * client that wants to know where holes are asks for the block status.
 *
 * Source: proto.md, "Transmission phase", "Request types", "Structured reply types".
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "nbd/session_priv.h"
#include "sys/thread.h"

/* --- checking --------------------------------------------------------------------------------- */

static uint32_t allowed_flags(const struct nbd_session *s, uint16_t cmd)
{
	uint32_t flags = s->export->read_only ? 0 : NBD_CMD_FUA;

	switch (cmd) {
	case NBD_CMD_READ:
		return flags | (s->structured ? NBD_CMD_DF : 0);
	case NBD_CMD_WRITE_ZEROES:
		return flags | NBD_CMD_NO_HOLE | (s->zero_unit ? NBD_CMD_FAST_ZERO : 0);
	case NBD_CMD_BLOCK_STATUS:
		return flags | NBD_CMD_REQ_ONE;
	default:
		return flags;
	}
}

static bool is_change(uint16_t cmd)
{
	return cmd == NBD_CMD_WRITE || cmd == NBD_CMD_TRIM || cmd == NBD_CMD_WRITE_ZEROES;
}

/* Whether zeros can be had without writing them. */
static bool is_fast(const struct nbd_session *s, const struct nbd_slot *slot)
{
	uint64_t end = slot->off + slot->len, unit = s->zero_unit;

	return !(slot->off & (unit - 1)) &&
	       (!(end & (unit - 1)) || end == disk_size(s->export->disk));
}

void nbd_request_check(struct nbd_session *s, struct nbd_slot *slot)
{
	bool in_disk = range_ok(slot->off, slot->len, disk_size(s->export->disk));

	switch (slot->cmd) {
	case NBD_CMD_READ:
		if (!in_disk || slot->len > NBD_PAYLOAD_MAX)
			slot->error = NBD_EINVAL;
		break;
	case NBD_CMD_WRITE:
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		if (!in_disk)
			slot->error = slot->cmd == NBD_CMD_TRIM ? NBD_EINVAL : NBD_ENOSPC;
		break;
	case NBD_CMD_FLUSH:
		if (slot->off || slot->len)
			slot->error = NBD_EINVAL;
		break;
	case NBD_CMD_BLOCK_STATUS:
		if (!in_disk || !slot->len || !s->structured || !s->selected)
			slot->error = NBD_EINVAL;
		break;
	default:
		slot->error = NBD_EINVAL;
		break;
	}
	if (slot->flags & ~allowed_flags(s, slot->cmd))
		slot->error = NBD_EINVAL;
	else if (is_change(slot->cmd) && s->export->read_only)
		slot->error = NBD_EPERM;
	else if (!slot->error && slot->flags & NBD_CMD_FAST_ZERO &&
		 slot->cmd == NBD_CMD_WRITE_ZEROES && !is_fast(s, slot))
		slot->error = NBD_ENOTSUP;
}

/* Chunks of a block status: header, context, 8 bytes an extent. */
static uint32_t status_bytes(const struct nbd_session *s, const struct nbd_slot *slot)
{
	uint32_t extents = slot->flags & NBD_CMD_REQ_ONE ? 1 : NBD_EXTENTS_MAX, chunks = 0;

	for (uint32_t bits = s->selected; bits; bits &= bits - 1)
		chunks++;
	return chunks * (NBD_CHUNK_SIZE + 4 + extents * 8);
}

uint32_t nbd_request_bytes(const struct nbd_session *s, const struct nbd_slot *slot)
{
	switch (slot->cmd) {
	case NBD_CMD_READ:
	case NBD_CMD_WRITE:
		return slot->len;
	case NBD_CMD_BLOCK_STATUS:
		return status_bytes(s, slot);
	default:
		return 0;
	}
}

/* --- replies ---------------------------------------------------------------------------------- */

static uint32_t error_of(int r)
{
	switch (r) {
	case 0:
		return 0;
	case -EPERM:
	case -EROFS:
		return NBD_EPERM;
	case -ENOMEM:
		return NBD_ENOMEM;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return NBD_ENOSPC;
	case -EINVAL:
	case -ERANGE:
		return NBD_EINVAL;
	case -EOPNOTSUPP:
		return NBD_ENOTSUP;
	default:
		return NBD_EIO;
	}
}

static void put_chunk(uint8_t *p, const struct nbd_slot *slot, unsigned flags, unsigned type,
		      uint32_t n)
{
	put_be32(p, NBD_STRUCTURED_MAGIC);
	put_be16(p + 4, (uint16_t)flags);
	put_be16(p + 6, (uint16_t)type);
	put_be64(p + 8, slot->cookie);
	put_be32(p + 16, n);
}

static void reply_error(struct nbd_slot *slot, bool structured)
{
	slot->body_bytes = 0;
	if (structured) {
		put_chunk(slot->head, slot, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, 6);
		put_be32(slot->head + NBD_CHUNK_SIZE, slot->error);
		put_be16(slot->head + NBD_CHUNK_SIZE + 4, 0); /* no text */
		slot->head_bytes = NBD_CHUNK_SIZE + 6;
		return;
	}
	put_be32(slot->head, NBD_SIMPLE_MAGIC);
	put_be32(slot->head + 4, slot->error);
	put_be64(slot->head + 8, slot->cookie);
	slot->head_bytes = NBD_SIMPLE_SIZE;
}

static void reply_data(struct nbd_slot *slot)
{
	if (!slot->len) {
		put_chunk(slot->head, slot, NBD_CHUNK_DONE, NBD_CHUNK_NONE, 0);
		slot->head_bytes = NBD_CHUNK_SIZE;
		return;
	}
	put_chunk(slot->head, slot, NBD_CHUNK_DONE, NBD_CHUNK_DATA, 8 + slot->len);
	put_be64(slot->head + NBD_CHUNK_SIZE, slot->off);
	slot->head_bytes = NBD_CHUNK_SIZE + 8;
	slot->body_bytes = slot->len;
}

void nbd_request_reply(struct nbd_session *s, struct nbd_slot *slot)
{
	bool structured = s->structured &&
			  (slot->cmd == NBD_CMD_READ || slot->cmd == NBD_CMD_BLOCK_STATUS);

	if (!slot->error)
		slot->error = error_of(slot->status);
	if (slot->error) {
		reply_error(slot, structured);
	} else if (slot->cmd == NBD_CMD_BLOCK_STATUS) {
		slot->head_bytes = 0; /* its chunks are in the body */
	} else if (structured) {
		reply_data(slot);
	} else {
		reply_error(slot, false);
		slot->body_bytes = slot->cmd == NBD_CMD_READ ? slot->len : 0;
	}
}

/* --- block status ----------------------------------------------------------------------------- */

static int allocation(void *arg, uint64_t off, uint64_t len, uint32_t *ret_flags, uint64_t *ret_len)
{
	struct disk_extent e;
	int r = disk_map(arg, off, len, &e);

	if (r < 0)
		return r;
	*ret_flags = e.kind == DISK_HOLE || e.kind == DISK_ZERO ? NBD_STATE_HOLE | NBD_STATE_ZERO
								: 0;
	*ret_len = e.len;
	return 0;
}

void nbd_allocation_init(struct nbd_context *context, struct disk *disk)
{
	*context = (struct nbd_context){ "base:allocation", allocation, disk };
}

/* Extents of one context into @p. Returns their number or negative errno. */
static int add_extents(const struct nbd_context *c, const struct nbd_slot *slot, uint8_t *p)
{
	int max = slot->flags & NBD_CMD_REQ_ONE ? 1 : NBD_EXTENTS_MAX, nr = 0;
	uint64_t off = slot->off, end = slot->off + slot->len;

	while (off < end) {
		uint32_t flags;
		uint64_t n;
		int r = c->status(c->arg, off, end - off, &flags, &n);

		if (r < 0)
			return r;
		assert(n && n <= end - off);
		off += n;
		if (nr && get_be32(p + (nr - 1) * 8 + 4) == flags) {
			put_be32(p + (nr - 1) * 8,
				 (uint32_t)(get_be32(p + (nr - 1) * 8) + n)); /* <= slot->len */
			continue;
		}
		if (nr == max)
			break;
		put_be32(p + nr * 8, (uint32_t)n);
		put_be32(p + nr * 8 + 4, flags);
		nr++;
	}
	return nr;
}

static int block_status(const struct nbd_session *s, struct nbd_slot *slot)
{
	uint32_t last = 31 - (uint32_t)__builtin_clz(s->selected);
	uint8_t *p = slot->buf;

	for (uint32_t i = 0; i < s->nr_contexts; i++) {
		uint32_t n;
		int nr;

		if (!(s->selected & UINT32_C(1) << i))
			continue;
		nr = add_extents(s->contexts[i], slot, p + NBD_CHUNK_SIZE + 4);
		if (nr < 0)
			return nr;
		n = 4 + (uint32_t)nr * 8;
		put_chunk(p, slot, i == last ? NBD_CHUNK_DONE : 0, NBD_CHUNK_BLOCK_STATUS, n);
		put_be32(p + NBD_CHUNK_SIZE, i + 1);
		p += NBD_CHUNK_SIZE + n;
	}
	slot->body_bytes = (size_t)(p - slot->buf);
	return 0;
}

/* --- the disk --------------------------------------------------------------------------------- */

static void done(struct disk_request *req, int status)
{
	struct nbd_slot *slot = req->arg;
	struct nbd_session *s = slot->session;

	slot->status = status;
	mutex_lock(&s->lock);
	/* Under the lock: afterwards the session may be gone. */
	if (list_empty(&s->finished) && !pthread_equal(pthread_self(), s->owner))
		s->wake(s->arg);
	list_push(&s->finished, &slot->link);
	mutex_unlock(&s->lock);
}

void nbd_request_start(struct nbd_session *s, struct nbd_slot *slot)
{
	static const enum disk_op ops[] = {
		[NBD_CMD_READ] = DISK_OP_READ,	       [NBD_CMD_WRITE] = DISK_OP_WRITE,
		[NBD_CMD_FLUSH] = DISK_OP_FLUSH,       [NBD_CMD_TRIM] = DISK_OP_DISCARD,
		[NBD_CMD_WRITE_ZEROES] = DISK_OP_ZERO,
	};

	if (slot->cmd == NBD_CMD_BLOCK_STATUS || (slot->cmd != NBD_CMD_FLUSH && !slot->len)) {
		if (slot->cmd == NBD_CMD_BLOCK_STATUS)
			slot->status = block_status(s, slot);
		nbd_request_reply(s, slot);
		list_push(&s->replies, &slot->link);
		return;
	}
	slot->iov = (struct iovec){ slot->buf, slot->len };
	slot->req = (struct disk_request){
		.op = ops[slot->cmd],
		.flags = (slot->flags & NBD_CMD_FUA && is_change(slot->cmd) ? DISK_FUA : 0) |
			 (slot->flags & NBD_CMD_NO_HOLE ? 0 : DISK_MAY_UNMAP),
		.off = slot->off,
		.len = slot->len,
		.iov = &slot->iov,
		.nr_iov = 1,
		.done = done,
		.arg = slot,
	};
	mutex_lock(&s->lock);
	s->in_flight++;
	mutex_unlock(&s->lock);
	disk_submit(s->export->disk, &slot->req);
}
