/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues: what both kinds of rings share, and the split ring.
 *
 * The ring lies in memory that the guest changes at any time, with other CPUs and on purpose. So a descriptor is
 * copied before anything is decided about it, and only the copy is used; an indirect table is copied as a whole.
 * The alternative, to look at guest memory in place and check each use, has been the source of most holes in such
 * code. What remains in guest memory is data, whose content nobody checks, and which devices copy before they
 * interpret it.
 *
 *	register writes --virtq_enable()--> running --bad ring--> broken
 *	        ^------------------- virtq_reset() ------------------'
 *
 * Chains may point anywhere into RAM, also at the ring itself: nothing of ours is there. What is not RAM is
 * refused, so that no device can be made to write into another one's registers, or its own.
 */
#include "vm/virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "vm/virtio/queue_priv.h"
#include "vm/snapshot/state.h"

/* clang-format off */
enum {
	/* Driver area (2.7.6) and device area (2.7.8): flags, index, ring, event. */
	RING_FLAGS = 0, RING_IDX = 2, RING_FIRST = 4,
	AVAIL_ENTRY = 2, USED_ENTRY = 8,
	NO_INTERRUPT = 1, /* driver area's flags */
	NO_NOTIFY = 1,	  /* device area's flags */
	/* Event suppression structures of packed rings (2.8.14). */
	PACKED_EVENT_SIZE = 4,
};
/* clang-format on */

int virtq_break(struct virtq *q, const char *why)
{
	q->broken = why;
	return -EPROTO;
}

void virtq_init(struct virtq *q, const struct physmem *mem, uint16_t index, uint16_t max_size)
{
	assert(max_size <= VIRTQ_MAX_SIZE && is_pow2(max_size));
	*q = (struct virtq){ .mem = mem, .index = index, .max_size = max_size };
	virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
	assert(q->nr_popped == q->nr_pushed);
	q->size = q->max_size;
	q->vector = VIRTQ_NO_VECTOR;
	q->desc = q->driver = q->device = 0;
	q->is_enabled = false;
	q->d = q->drv = q->dev = (struct virtq_area){ 0 };
	q->broken = NULL;
	q->nr_slots_in_flight = 0;
}

/* --- taking over the ring -------------------------------------------------------------------------------- */

static int map_area(struct virtq *q, uint64_t gpa, uint64_t len, uint64_t align, bool is_written,
		    struct virtq_area *ret)
{
	const struct physmem_region *r = physmem_find(q->mem, gpa);

	if (gpa & (align - 1)) {
		q->broken = "a part of the ring is not aligned";
		return -EINVAL;
	}
	if (!r || (r->is_rom && is_written) || !range_ok(gpa - r->gpa, len, r->size)) {
		q->broken = "a part of the ring is not in RAM";
		return -EFAULT;
	}
	*ret = (struct virtq_area){ r->hva + (gpa - r->gpa), r, gpa - r->gpa };
	return 0;
}

/* Where its parts are in our memory. Returns 0, or negative, and it is broken then. */
static int map_ring(struct virtq *q)
{
	uint64_t n = q->size;
	int r;

	if (!n || n > q->max_size || (!q->is_packed && !is_pow2(n))) {
		q->broken = "the ring's size is not possible";
		return -EINVAL;
	}
	r = map_area(q, q->desc, n * DESC_SIZE, 16, q->is_packed, &q->d);
	if (r == 0)
		r = map_area(q, q->driver,
			     q->is_packed ? PACKED_EVENT_SIZE : RING_FIRST + n * AVAIL_ENTRY + 2,
			     q->is_packed ? 4 : 2, false, &q->drv);
	if (r == 0)
		r = map_area(q, q->device,
			     q->is_packed ? PACKED_EVENT_SIZE : RING_FIRST + n * USED_ENTRY + 2, 4,
			     true, &q->dev);
	return r;
}

int virtq_enable(struct virtq *q, uint64_t features)
{
	q->is_packed = features >> VIRTIO_F_RING_PACKED & 1;
	q->has_event_idx = features >> VIRTIO_F_EVENT_IDX & 1;
	q->has_indirect = features >> VIRTIO_F_INDIRECT_DESC & 1;
	q->last_avail = q->used = q->signalled = 0;
	q->is_signalled = false;
	q->avail_wrap = q->used_wrap = true;
	q->is_enabled = true;
	return map_ring(q);
}

/* --- chains ------------------------------------------------------------------------------------------------ */

int virtq_add_piece(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool is_write = d->flags & DESC_WRITE;
	uint32_t *total = is_write ? &c->in_bytes : &c->out_bytes;
	uint64_t gpa = d->addr, left = d->len, end;
	uint32_t both;

	if (!is_write && c->nr_in)
		return virtq_break(q, "a readable descriptor follows a writable one");
	if (!add_ok(*total, d->len, total) || !add_ok(c->in_bytes, c->out_bytes, &both))
		return virtq_break(q, "a chain is longer than 4 GiB");
	if (!add_ok(gpa, left, &end))
		return virtq_break(q, "a descriptor wraps around the end of memory");
	/* A piece is one region's; RAM regions may follow each other. */
	while (left) {
		const struct physmem_region *r = physmem_find(q->mem, gpa);
		unsigned int at = c->nr_out + c->nr_in;
		uint64_t n;

		if (!r || (r->is_rom && is_write))
			return virtq_break(q, "a descriptor points at what is not RAM");
		if (at == VIRTQ_MAX_IOV)
			return virtq_break(q, "a chain has too many pieces");
		n = MIN(left, r->size - (gpa - r->gpa));
		c->iov[at] = (struct iovec){ r->hva + (gpa - r->gpa), n };
		if (is_write)
			c->nr_in++;
		else
			c->nr_out++;
		gpa += n;
		left -= n;
	}
	return 0;
}

int virtq_read_table(struct virtq *q, const struct desc *d)
{
	if (!q->has_indirect)
		return virtq_break(q, "an indirect descriptor was not negotiated");
	if (!d->len || d->len % DESC_SIZE || d->len > (uint32_t)q->size * DESC_SIZE)
		return virtq_break(q, "an indirect table has an impossible size");
	if (physmem_read(q->mem, d->addr, q->table, d->len) < 0)
		return virtq_break(q, "an indirect table is not in RAM");
	/* From now on it is the copy that counts. */
	atomic_signal_fence(memory_order_seq_cst);
	return (int)(d->len / DESC_SIZE);
}

static struct desc ring_desc(const struct virtq *q, uint16_t i)
{
	uint8_t copy[DESC_SIZE];

	memcpy(copy, q->d.p + (size_t)i * DESC_SIZE, sizeof(copy));
	atomic_signal_fence(memory_order_seq_cst);
	return desc_at(copy);
}

/* The descriptors of an indirect table, which ends the chain. */
static int split_table(struct virtq *q, struct virtq_chain *c, const struct desc *from,
		       unsigned int count)
{
	int n = virtq_read_table(q, from);
	unsigned int i = 0;

	if (n < 0)
		return n;
	for (;;) {
		struct desc d;
		int r;

		if (i >= (unsigned int)n)
			return virtq_break(q, "a descriptor points out of its indirect table");
		/* A chain that is longer than its table goes round in it. */
		if (++count > q->size + 1u)
			return virtq_break(q, "a chain is longer than its queue");
		d = desc_at(q->table + (size_t)i * DESC_SIZE);
		if (d.flags & DESC_INDIRECT)
			return virtq_break(q, "an indirect table points at another");
		r = virtq_add_piece(q, c, &d);
		if (r < 0)
			return r;
		if (!(d.flags & DESC_NEXT))
			return 0;
		i = d.last;
	}
}

static int split_chain(struct virtq *q, struct virtq_chain *c, uint16_t head)
{
	uint16_t i = head;

	for (unsigned int count = 1;; count++) {
		struct desc d;
		int r;

		if (i >= q->size)
			return virtq_break(q, "a descriptor's number is not in the ring");
		if (count > q->size)
			return virtq_break(q, "a chain is longer than its queue");
		d = ring_desc(q, i);
		if (d.flags & DESC_INDIRECT) {
			if (d.flags & DESC_NEXT)
				return virtq_break(q, "an indirect descriptor has a next one");
			return split_table(q, c, &d, count);
		}
		r = virtq_add_piece(q, c, &d);
		if (r < 0)
			return r;
		if (!(d.flags & DESC_NEXT))
			return 0;
		i = d.last;
	}
}

static int split_pop(struct virtq *q, struct virtq_chain *c)
{
	uint16_t idx = area_get16(&q->drv, RING_IDX, memory_order_acquire);
	uint16_t n = (uint16_t)(idx - q->last_avail), head;

	if (!n)
		return 0;
	if (n > q->size)
		return virtq_break(q, "the driver's index jumped");
	if (q->nr_slots_in_flight >= q->size)
		return virtq_break(q, "more chains are in flight than the ring has room for");
	head = area_get16(&q->drv, RING_FIRST + AVAIL_ENTRY * (q->last_avail % (uint64_t)q->size),
			  memory_order_relaxed);
	if (head >= q->size)
		return virtq_break(q, "the head of a chain is not in the ring");
	c->id = head;
	c->nr_slots = 1;
	if (split_chain(q, c, head) < 0)
		return -EPROTO;
	q->last_avail++;
	return 1;
}

static void split_push(struct virtq *q, const struct virtq_chain *c, const uint32_t *written,
		       unsigned int nr)
{
	for (unsigned int k = 0; k < nr; k++) {
		uint64_t off = RING_FIRST + USED_ENTRY * (uint64_t)(q->used % q->size);

		put_le32(q->dev.p + off, c[k].id);
		put_le32(q->dev.p + off + 4, written[k]);
		physmem_wrote(q->mem, q->dev.r, q->dev.off + off, USED_ENTRY);
		q->used++;
	}
	area_put16(q, &q->dev, RING_IDX, q->used, memory_order_release);
}

static bool split_wants_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled, event;
	bool was_signalled = q->is_signalled;

	atomic_thread_fence(memory_order_seq_cst); /* our index before the driver's wish */
	if (!q->has_event_idx)
		return !(area_get16(&q->drv, RING_FLAGS, memory_order_relaxed) & NO_INTERRUPT);
	event = area_get16(&q->drv, RING_FIRST + AVAIL_ENTRY * (uint64_t)q->size,
			   memory_order_relaxed);
	q->signalled = q->used;
	q->is_signalled = true;
	return !was_signalled || virtq_need_event(event, q->used, old);
}

static void split_kicks_off(struct virtq *q)
{
	/* With an event index, the one that is there is in the past, and that is enough. */
	if (!q->has_event_idx)
		area_put16(q, &q->dev, RING_FLAGS, NO_NOTIFY, memory_order_relaxed);
}

static bool split_kicks_on(struct virtq *q)
{
	if (q->has_event_idx)
		area_put16(q, &q->dev, RING_FIRST + USED_ENTRY * (uint64_t)q->size, q->last_avail,
			   memory_order_relaxed);
	else
		area_put16(q, &q->dev, RING_FLAGS, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* our wish before the driver's index */
	return area_get16(&q->drv, RING_IDX, memory_order_acquire) != q->last_avail;
}

/* --- both kinds of rings ------------------------------------------------------------------------------------- */

static bool is_usable(const struct virtq *q)
{
	return q->is_enabled && !q->broken;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	int r;

	assert(!c->q);
	if (!is_usable(q))
		return 0;
	c->nr_out = c->nr_in = 0;
	c->out_bytes = c->in_bytes = 0;
	r = q->is_packed ? packed_pop(q, c) : split_pop(q, c);
	if (r <= 0)
		return r;
	c->in = c->iov + c->nr_out;
	c->q = q;
	q->nr_popped++;
	q->nr_slots_in_flight += c->nr_slots;
	return 1;
}

static void take_back(struct virtq *q, struct virtq_chain *c)
{
	assert(c->q == q);
	c->q = NULL;
	q->nr_pushed++;
	q->nr_slots_in_flight -= c->nr_slots;
}

/* A region is looked for by host address: few, and the chain's pieces need no more room. */
static void tell_written(const struct physmem *mem, const struct iovec *v)
{
	uint8_t *p = v->iov_base;

	for (unsigned int k = 0; k < mem->nr; k++) {
		const struct physmem_region *r = &mem->region[k];

		if ((uint64_t)(p - r->hva) < r->size) {
			physmem_wrote(mem, r, (uint64_t)(p - r->hva), v->iov_len);
			return;
		}
	}
}

static void take_back_written(struct virtq *q, struct virtq_chain *c)
{
	for (unsigned int k = 0; k < c->nr_in; k++)
		tell_written(q->mem, &c->in[k]);
	take_back(q, c);
}

void virtq_push(struct virtq *q, struct virtq_chain *c, const uint32_t *written, unsigned int nr)
{
	for (unsigned int k = 0; k < nr; k++)
		take_back_written(q, &c[k]);
	if (!is_usable(q))
		return;
	if (q->is_packed)
		packed_push(q, c, written, nr);
	else
		split_push(q, c, written, nr);
}

void virtq_abandon(struct virtq *q, struct virtq_chain *c)
{
	take_back_written(q, c);
	/* Its place in the ring is never given back; only a reset comes after this. */
}

void virtq_unpop(struct virtq *q, struct virtq_chain *c)
{
	take_back(q, c);
	if (q->is_packed)
		packed_unpop(q, c);
	else
		q->last_avail--;
}

bool virtq_wants_interrupt(struct virtq *q)
{
	if (!is_usable(q))
		return false;
	return q->is_packed ? packed_wants_interrupt(q) : split_wants_interrupt(q);
}

void virtq_kicks_off(struct virtq *q)
{
	if (!is_usable(q))
		return;
	if (q->is_packed)
		packed_kicks_off(q);
	else
		split_kicks_off(q);
}

bool virtq_kicks_on(struct virtq *q)
{
	if (!is_usable(q))
		return false;
	return q->is_packed ? packed_kicks_on(q) : split_kicks_on(q);
}

/* --- data ---------------------------------------------------------------------------------------------------- */

uint32_t chain_read(const struct virtq_chain *c, uint32_t off, void *buf, uint32_t n)
{
	uint32_t done = 0;

	for (unsigned int k = 0; k < c->nr_out && done < n; k++) {
		const struct iovec *v = &c->iov[k];
		uint32_t m;

		if (off >= v->iov_len) {
			off -= (uint32_t)v->iov_len;
			continue;
		}
		m = (uint32_t)MIN((size_t)(n - done), v->iov_len - off);
		memcpy((uint8_t *)buf + done, (const uint8_t *)v->iov_base + off, m);
		done += m;
		off = 0;
	}
	/* What was copied is what counts, however often the guest changes it. */
	atomic_signal_fence(memory_order_seq_cst);
	return done;
}

uint32_t chain_write(const struct virtq_chain *c, uint32_t off, const void *buf, uint32_t n)
{
	uint32_t done = 0;

	for (unsigned int k = 0; k < c->nr_in && done < n; k++) {
		const struct iovec *v = &c->in[k];
		uint32_t m;

		if (off >= v->iov_len) {
			off -= (uint32_t)v->iov_len;
			continue;
		}
		m = (uint32_t)MIN((size_t)(n - done), v->iov_len - off);
		memcpy((uint8_t *)v->iov_base + off, (const uint8_t *)buf + done, m);
		done += m;
		off = 0;
	}
	return done;
}

unsigned int chain_slice(const struct iovec *iov, unsigned int nr, uint64_t off, uint64_t n,
			 struct iovec *ret)
{
	unsigned int at = 0;

	for (unsigned int k = 0; k < nr && n; k++) {
		struct iovec v = iov[k];

		if (off >= v.iov_len) {
			off -= v.iov_len;
			continue;
		}
		v.iov_base = (uint8_t *)v.iov_base + off;
		v.iov_len = MIN((uint64_t)v.iov_len - off, n);
		n -= v.iov_len;
		off = 0;
		ret[at++] = v;
	}
	return at;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_MAX(struct virtq, size, UINT16_MAX),
	STATE_ANY(struct virtq, vector),
	STATE_ANY(struct virtq, desc),
	STATE_ANY(struct virtq, driver),
	STATE_ANY(struct virtq, device),
	STATE_BOOL(struct virtq, is_enabled),
	STATE_BOOL(struct virtq, is_packed),
	STATE_BOOL(struct virtq, has_event_idx),
	STATE_BOOL(struct virtq, has_indirect),
	STATE_ANY(struct virtq, last_avail),
	STATE_ANY(struct virtq, used),
	STATE_BOOL(struct virtq, avail_wrap),
	STATE_BOOL(struct virtq, used_wrap),
	STATE_ANY(struct virtq, signalled),
	STATE_BOOL(struct virtq, is_signalled),
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct virtq *q = next;

	if (q->is_enabled && q->is_packed && (q->last_avail >= q->size || q->used >= q->size))
		return err_set(err, -EINVAL, "a packed ring of %u is at slots %u and %u", q->size,
			       q->last_avail, q->used);
	return 0;
}

/* A ring that was broken is found to be so again. */
static void loaded(void *obj)
{
	struct virtq *q = obj;

	q->d = q->drv = q->dev = (struct virtq_area){ 0 };
	q->broken = NULL;
	if (q->is_enabled)
		ignore_result(map_ring(q)); /* it says so itself */
}

/* Nothing is in flight: the device was settled. */
const struct state_desc virtq_state = {
	.name = "queue",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct virtq, fields),
	.check = check,
	.loaded = loaded,
};
