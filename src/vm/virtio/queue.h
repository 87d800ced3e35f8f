/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_QUEUE_H
#define VM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "cpu/physmem.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A virtqueue as a device sees it: split or packed ring, indirect tables, event index. Source: OASIS virtio 1.2,
 * 2.6 to 2.8.
 *
 * Everything a guest wrote is read once, into memory of ours, and checked there; what a device gets is a chain of
 * pieces of guest RAM, readable ones first. Each chain that virtq_pop() gave goes back by virtq_push(),
 * virtq_abandon() or virtq_unpop(), exactly once. A ring that makes no sense stops its queue for good (until
 * reset): virtq_pop() says so once, and tells why in @broken.
 *
 * Registers are set while the queue is not enabled, and taken over by virtq_enable(); a queue that is enabled
 * knows only what it took. Thread: one at a time, under the device's lock.
 */
enum {
	VIRTQ_MAX_SIZE = 256, /* descriptors; a power of two */
	VIRTQ_MAX_IOV = VIRTQ_MAX_SIZE + 4,
	VIRTQ_NO_VECTOR = 0xffff,
};

struct virtq;

struct virtq_chain {
	struct virtq *q; /* NULL: not in flight */
	uint16_t id;	 /* split: head; packed: buffer id */
	uint16_t nr_slots;
	uint16_t nr_out, nr_in; /* pieces the device reads, and writes */
	uint32_t out_bytes, in_bytes;
	struct iovec *in;		 /* = iov + nr_out */
	struct iovec iov[VIRTQ_MAX_IOV]; /* into guest RAM */
};

/* Host memory of a ring's part. */
struct virtq_area {
	uint8_t *p;
	const struct physmem_region *r;
	uint64_t off; /* of p in the region */
};

struct virtq {
	const struct physmem *mem;
	uint16_t index;

	/* Registers. */
	uint16_t max_size, size; /* descriptors */
	uint16_t vector;
	uint64_t desc, driver, device; /* guest-physical addresses of the three areas */
	bool is_enabled;

	/* Taken over by virtq_enable(). */
	bool is_packed, has_event_idx, has_indirect;
	struct virtq_area d, drv, dev;

	/* Where we are. */
	uint16_t last_avail, used; /* split: free-running; packed: slots */
	bool avail_wrap, used_wrap;
	uint16_t signalled; /* at the last look whether to interrupt, split: used; packed: slots used since */
	bool is_signalled;  /* there was one */
	const char *broken; /* why; static */

	uint64_t nr_popped, nr_pushed; /* pushed, abandoned and taken back */
	uint64_t nr_slots_in_flight;
	uint8_t table[VIRTQ_MAX_SIZE * 16]; /* the indirect table that is being looked at */
};

enum virtq_feature {
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_RING_PACKED = 34,
};

/* virtq_init - queue @index with at most @max_size descriptors (a power of two up to VIRTQ_MAX_SIZE). */
void virtq_init(struct virtq *q, const struct physmem *mem, uint16_t index, uint16_t max_size);
/* virtq_reset - as after virtq_init(); nothing is in flight. */
void virtq_reset(struct virtq *q);

/*
 * virtq_enable - begin to use the ring that the registers describe.
 *
 * @features: what the driver accepted
 * Returns 0; -EINVAL (size, alignment), -EFAULT (an area is not in RAM): the queue is broken then.
 */
_nodiscard_ int virtq_enable(struct virtq *q, uint64_t features);

/*
 * virtq_pop - take the next chain that the driver made available.
 *
 * @c: caller's; not in flight
 * Returns 1; 0 (none now); -EPROTO (the ring makes no sense: q->broken says why; told once, 0 afterwards).
 */
_nodiscard_ int virtq_pop(struct virtq *q, struct virtq_chain *c);

/*
 * virtq_push - give chains back as used; the driver sees all of them at once, in their order.
 *
 * @c:       @nr of them, at least one and at most the queue's size
 * @written: of each, bytes written from the start of its writable part, as the driver is told
 * Tells engines and the dirty log about the whole writable parts.
 */
void virtq_push(struct virtq *q, struct virtq_chain *c, const uint32_t *written, unsigned int nr);
/* virtq_abandon - forget a chain without telling the driver: the device is being reset. */
void virtq_abandon(struct virtq *q, struct virtq_chain *c);
/* virtq_unpop - put back the chain that was popped last, unused: it will be popped again. */
void virtq_unpop(struct virtq *q, struct virtq_chain *c);

/* virtq_wants_interrupt - whether the driver asked to be told about what was pushed since the last call. */
_nodiscard_ bool virtq_wants_interrupt(struct virtq *q);

/* virtq_kicks_off - the driver need not notify us; a hint. virtq_kicks_on - it shall. Returns whether there is
 * something already, which it may not notify us of: look again. */
void virtq_kicks_off(struct virtq *q);
_nodiscard_ bool virtq_kicks_on(struct virtq *q);

/*
 * chain_read - copy from the readable part, chain_write - to the writable part, @off bytes after its start.
 *
 * Return bytes copied: less than @n at the end of the part.
 */
uint32_t chain_read(const struct virtq_chain *c, uint32_t off, void *buf, uint32_t n);
uint32_t chain_write(const struct virtq_chain *c, uint32_t off, const void *buf, uint32_t n);

/*
 * chain_slice - the pieces of [off, off + n) of a list of pieces.
 *
 * @ret: room for @nr; may be @iov itself
 * Returns how many; fewer bytes than @n when the list is shorter.
 */
unsigned int chain_slice(const struct iovec *iov, unsigned int nr, uint64_t off, uint64_t n,
			 struct iovec *ret);

/* virtq_state - what a snapshot keeps of it. */
extern const struct state_desc virtq_state;

#endif
