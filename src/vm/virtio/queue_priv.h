/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_QUEUE_PRIV_H
#define VM_VIRTIO_QUEUE_PRIV_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "vm/virtio/queue.h"

/* Descriptor flags, for both kinds of rings (2.7.5, 2.8.1). */
enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	DESC_AVAIL = 1 << 7,
	DESC_USED = 1 << 15,
	DESC_SIZE = 16,
};

/* One descriptor, copied out. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags,
		last; /* last: split: next; packed: the two halves are swapped, see the reader */
};

/* Memory that the guest's other CPUs write: each access is one, and in order. */
static inline uint16_t area_get16(const struct virtq_area *a, uint64_t off, memory_order order)
{
	return le16toh(atomic_load_explicit((_Atomic uint16_t *)(void *)(a->p + off), order));
}

static inline void area_put16(const struct virtq *q, const struct virtq_area *a, uint64_t off,
			      uint16_t v, memory_order order)
{
	atomic_store_explicit((_Atomic uint16_t *)(void *)(a->p + off), htole16(v), order);
	physmem_wrote(q->mem, a->r, a->off + off, 2);
}

/* virtq_break - stop the queue. Returns -EPROTO. */
_nodiscard_ int virtq_break(struct virtq *q, const char *why);
/* virtq_add_piece - one descriptor's memory into the chain. Returns 0, or virtq_break(). */
_nodiscard_ int virtq_add_piece(struct virtq *q, struct virtq_chain *c, const struct desc *d);
/* virtq_read_table - copy an indirect table into q->table. Returns its number of descriptors, or virtq_break(). */
_nodiscard_ int virtq_read_table(struct virtq *q, const struct desc *d);
/* desc_at - the descriptor at @p of memory of ours. */
static inline struct desc desc_at(const uint8_t *p)
{
	return (struct desc){ get_le64(p), get_le32(p + 8), get_le16(p + 12), get_le16(p + 14) };
}

/* The packed ring's half of the public functions. */
_nodiscard_ int packed_pop(struct virtq *q, struct virtq_chain *c);
void packed_push(struct virtq *q, const struct virtq_chain *c, const uint32_t *written,
		 unsigned int nr);
void packed_unpop(struct virtq *q, const struct virtq_chain *c);
_nodiscard_ bool packed_wants_interrupt(struct virtq *q);
void packed_kicks_off(struct virtq *q);
_nodiscard_ bool packed_kicks_on(struct virtq *q);

/* virtq_need_event - whether the step from @old to @now passed @event (2.7.10). */
static inline bool virtq_need_event(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
