/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packed rings (2.8): one ring of descriptors that both sides write. A descriptor is the device's when its "avail"
 * bit is that of the driver's present lap and its "used" bit is not; it is given back by writing the chain's
 * number, the length, and both bits of our present lap, over the chain's first slot, and the others are skipped.
 *
 * A chain lies in slots that follow each other, so it can be no loop; what can go wrong is that it is longer than
 * the ring, or that more slots are in flight than there are.
 */
#include <errno.h>
#include <string.h>

#include "base/attr.h"
#include "vm/virtio/queue_priv.h"

/* clang-format off */
enum {
	/* A descriptor: address, length, buffer id, flags. */
	SLOT_LEN = 8, SLOT_ID = 12, SLOT_FLAGS = 14,
	/* Event suppression (2.8.10): offset and wrap counter, flags. */
	EVENT_OFF_WRAP = 0, EVENT_FLAGS = 2,
	EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, EVENT_MASK = 3,
};
/* clang-format on */

static bool is_avail(uint16_t flags, bool wrap)
{
	return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

static void advance(const struct virtq *q, uint16_t *at, bool *wrap, uint16_t n)
{
	uint32_t next = (uint32_t)*at + n;

	if (next >= q->size) {
		next -= q->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)next;
}

static void retreat(const struct virtq *q, uint16_t *at, bool *wrap, uint16_t n)
{
	if (*at < n) {
		*at = (uint16_t)(*at + q->size);
		*wrap = !*wrap;
	}
	*at = (uint16_t)(*at - n);
}

static uint16_t slot_flags(const struct virtq *q, uint16_t slot)
{
	return area_get16(&q->d, (uint64_t)slot * DESC_SIZE + SLOT_FLAGS, memory_order_acquire);
}

static int packed_table(struct virtq *q, struct virtq_chain *c, const struct desc *from)
{
	int n = virtq_read_table(q, from);

	for (int i = 0; i < n; i++) {
		struct desc d = desc_at(q->table + (size_t)i * DESC_SIZE);

		/* Only this flag counts here, and the descriptors are used in order (2.8.7). */
		d.flags = d.last & DESC_WRITE;
		if (virtq_add_piece(q, c, &d) < 0)
			return -EPROTO;
	}
	return n < 0 ? n : 0;
}

int packed_pop(struct virtq *q, struct virtq_chain *c)
{
	uint16_t slot = q->last_avail, flags = slot_flags(q, slot);
	bool wrap = q->avail_wrap;
	unsigned int count = 0;

	if (!is_avail(flags, wrap))
		return 0;
	for (;;) {
		uint8_t copy[DESC_SIZE];
		struct desc d;
		int r;

		if (++count + q->nr_slots_in_flight > q->size)
			return virtq_break(q, "a chain is longer than what is free of its queue");
		memcpy(copy, q->d.p + (size_t)slot * DESC_SIZE, sizeof(copy));
		atomic_signal_fence(memory_order_seq_cst);
		d = desc_at(copy);
		c->id = d.flags; /* id and flags are the other way round than in a split ring */
		flags = d.flags = d.last;
		if (flags & DESC_INDIRECT) {
			if ((flags & DESC_NEXT) || count > 1)
				return virtq_break(q, "an indirect descriptor is part of a chain");
			r = packed_table(q, c, &d);
		} else {
			r = virtq_add_piece(q, c, &d);
		}
		if (r < 0)
			return r;
		advance(q, &slot, &wrap, 1);
		if (!(flags & DESC_NEXT))
			break;
	}
	c->nr_slots = (uint16_t)count;
	q->last_avail = slot;
	q->avail_wrap = wrap;
	return 1;
}

void packed_unpop(struct virtq *q, const struct virtq_chain *c)
{
	retreat(q, &q->last_avail, &q->avail_wrap, c->nr_slots);
}

void packed_push(struct virtq *q, const struct virtq_chain *c, const uint32_t *written,
		 unsigned int nr)
{
	uint64_t first = (uint64_t)q->used * DESC_SIZE;
	uint16_t first_flags = 0, slots = 0;

	for (unsigned int k = 0; k < nr; k++) {
		uint64_t off = (uint64_t)q->used * DESC_SIZE;
		uint16_t flags = q->used_wrap ? DESC_AVAIL | DESC_USED : 0;

		if (written[k])
			flags |= DESC_WRITE;
		put_le32(q->d.p + off + SLOT_LEN, written[k]);
		put_le16(q->d.p + off + SLOT_ID, c[k].id);
		physmem_wrote(q->mem, q->d.r, q->d.off + off, DESC_SIZE);
		if (k)
			area_put16(q, &q->d, off + SLOT_FLAGS, flags, memory_order_relaxed);
		else
			first_flags = flags;
		advance(q, &q->used, &q->used_wrap, c[k].nr_slots);
		slots = (uint16_t)(slots + c[k].nr_slots);
	}
	/* Whoever sees the first sees all. */
	area_put16(q, &q->d, first + SLOT_FLAGS, first_flags, memory_order_release);
	q->signalled = (uint16_t)MIN(q->signalled + (uint32_t)slots, (uint32_t)q->size);
}

bool packed_wants_interrupt(struct virtq *q)
{
	uint16_t since = q->signalled, off_wrap, flags, event;
	bool was_signalled = q->is_signalled;

	atomic_thread_fence(memory_order_seq_cst);
	q->signalled = 0;
	q->is_signalled = true;
	flags = area_get16(&q->drv, EVENT_FLAGS, memory_order_acquire) & EVENT_MASK;
	if (flags != EVENT_DESC || !q->has_event_idx)
		return flags != EVENT_DISABLE;
	off_wrap = area_get16(&q->drv, EVENT_OFF_WRAP, memory_order_relaxed);
	event = off_wrap & 0x7fff;
	/* Seen from our lap: a place of the other one is a ring's length behind. */
	if (!!(off_wrap >> 15) != q->used_wrap)
		event = (uint16_t)(event - q->size);
	return !was_signalled || since >= q->size ||
	       virtq_need_event(event, q->used, (uint16_t)(q->used - since));
}

void packed_kicks_off(struct virtq *q)
{
	area_put16(q, &q->dev, EVENT_FLAGS, EVENT_DISABLE, memory_order_relaxed);
}

bool packed_kicks_on(struct virtq *q)
{
	if (q->has_event_idx) {
		area_put16(q, &q->dev, EVENT_OFF_WRAP,
			   (uint16_t)(q->last_avail | (q->avail_wrap ? 1 << 15 : 0)),
			   memory_order_relaxed);
		/* The place before the flag that makes it count. */
		area_put16(q, &q->dev, EVENT_FLAGS, EVENT_DESC, memory_order_release);
	} else {
		area_put16(q, &q->dev, EVENT_FLAGS, EVENT_ENABLE, memory_order_relaxed);
	}
	atomic_thread_fence(memory_order_seq_cst);
	return is_avail(slot_flags(q, q->last_avail), q->avail_wrap);
}
