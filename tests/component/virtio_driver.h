/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_VIRTIO_DRIVER_H
#define ATOLL_TESTS_COMPONENT_VIRTIO_DRIVER_H

/*
 * A virtio driver without a guest: it finds a device by its PCI capabilities, as the specification says a driver
 * does, and works its queues in the memory of a bench. Written against the specification, not against the device's
 * headers, so that both sides cannot share a mistake.
 *
 * Each queue has its rings at VD_RINGS + n * VD_RING_STEP, split or packed, and buffers are where the test puts
 * them. The I/O thread does not run: vd_kick() runs what is ready.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench.h"
#include "vm/dev/pci.h"
#include "vm/iothread.h"

/* clang-format off */
enum {
	VD_RAM = 16 << 20,
	VD_DEVFN = 8 << 3,
	VD_RINGS = 0x100000, VD_RING_STEP = 0x8000, VD_MAX_QUEUES = 16,
	VD_TABLES = 0x200000, /* indirect tables, 4 KiB for each head */
	VD_DATA = 0x400000,
	VD_PICTURE = VD_DATA + 0x200000 - VD_RINGS,

	VD_MSI_ADDR = 0xfee00000, VD_MSI_DATA = 0x80,

	VD_NEXT = 1, VD_WRITE = 2, VD_INDIRECT = 4,

	VD_S_ACK = 1, VD_S_DRIVER = 2, VD_S_DRIVER_OK = 4, VD_S_FEATURES_OK = 8, VD_S_NEEDS_RESET = 64,
};
/* clang-format on */

#define VD_F_INDIRECT  (UINT64_C(1) << 28)
#define VD_F_EVENT_IDX (UINT64_C(1) << 29)
#define VD_F_VERSION_1 (UINT64_C(1) << 32)
#define VD_F_PACKED    (UINT64_C(1) << 34)

struct vd_piece {
	uint64_t gpa;
	uint32_t len;
	bool is_write;
};

struct vd_queue {
	uint16_t size;
	uint64_t desc, avail, used, notify;
	uint16_t next_free; /* split: the next head, round robin; packed: next buffer id */
	uint16_t avail_idx, used_idx; /* split: free-running; packed: slot */
	bool avail_wrap, used_wrap;
	uint16_t slots[256]; /* packed: how many slots a buffer took */
};

struct vd {
	struct bench b;
	struct pci_bus pci;
	struct iothread io;
	uint64_t common, isr, config, notify;
	uint32_t notify_step;
	uint64_t msix; /* table */
	uint8_t msix_cap;
	uint64_t features; /* accepted */
	struct vd_queue q[VD_MAX_QUEUES];
	unsigned int nr_queue_msi[VD_MAX_QUEUES + 1]; /* interrupts by vector */
};

static inline void vd_msi(void *arg, uint64_t addr, uint32_t data)
{
	struct vd *v = arg;

	if (addr == VD_MSI_ADDR && data >= VD_MSI_DATA && data - VD_MSI_DATA <= VD_MAX_QUEUES)
		v->nr_queue_msi[data - VD_MSI_DATA]++;
}

/* Before the device is made and plugged at VD_DEVFN. */
static inline int vd_bench_init(struct vd *v)
{
	int r;

	memset(v, 0, sizeof(*v));
	r = bench_init(&v->b, VD_RAM);
	v->b.board.msi = vd_msi;
	v->b.board.msi_arg = v;
	if (r == 0)
		r = pci_init(&v->pci, &v->b.board, NULL);
	return r ? r : iothread_init(&v->io, NULL);
}

static inline void vd_bench_done(struct vd *v)
{
	iothread_done(&v->io);
	pci_done(&v->pci);
	bench_done(&v->b);
}

static inline uint32_t vd_cfg(struct vd *v, unsigned int off, unsigned int size)
{
	return pci_config_read(&v->pci, VD_DEVFN, (uint16_t)off, size);
}

static inline uint64_t vd_bar(struct vd *v, unsigned int nr)
{
	return vd_cfg(v, 0x10 + 4 * nr, 4) & ~UINT32_C(15);
}

/* The bus master bit: whether the device may access memory. */
static inline void vd_set_master(struct vd *v, bool on)
{
	uint32_t command = vd_cfg(v, 4, 2) & ~UINT32_C(4);

	pci_config_write(&v->pci, VD_DEVFN, 4, 2, command | (on ? 4 : 0));
}

static inline uint64_t vd_in(struct vd *v, uint64_t addr, unsigned int size)
{
	return bus_read(v->b.mmio, addr, size) &
	       (size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1);
}

static inline void vd_out(struct vd *v, uint64_t addr, unsigned int size, uint64_t value)
{
	bus_write(v->b.mmio, addr, size, value);
}

static inline void vd_run(struct vd *v)
{
	while (iothread_run(&v->io))
		;
}

/* Finds the structures. Returns whether all are there. */
static inline bool vd_probe(struct vd *v)
{
	unsigned int at = vd_cfg(v, 0x34, 1);

	if (pci_assign_bars(&v->pci, NULL) < 0)
		return false;
	for (unsigned int n = 0; at && n < 20; n++, at = vd_cfg(v, at + 1, 1)) {
		uint64_t where = vd_bar(v, vd_cfg(v, at + 4, 1)) + vd_cfg(v, at + 8, 4);

		if (vd_cfg(v, at, 1) == 0x11) {
			v->msix_cap = (uint8_t)at;
			v->msix = vd_bar(v, vd_cfg(v, at + 4, 4) & 7) +
				  (vd_cfg(v, at + 4, 4) & ~UINT32_C(7));
		}
		if (vd_cfg(v, at, 1) != 9)
			continue;
		switch (vd_cfg(v, at + 3, 1)) {
		case 1:
			v->common = where;
			break;
		case 2:
			v->notify = where;
			v->notify_step = vd_cfg(v, at + 16, 4);
			break;
		case 3:
			v->isr = where;
			break;
		case 4:
			v->config = where;
			break;
		}
	}
	return v->common && v->notify && v->isr && v->config && v->msix;
}

static inline uint8_t vd_status(struct vd *v)
{
	return (uint8_t)vd_in(v, v->common + 20, 1);
}

static inline void vd_set_status(struct vd *v, unsigned int bits)
{
	vd_out(v, v->common + 20, 1, bits ? vd_status(v) | bits : 0);
}

static inline uint64_t vd_offered(struct vd *v)
{
	uint64_t f;

	vd_out(v, v->common, 4, 0);
	f = vd_in(v, v->common + 4, 4);
	vd_out(v, v->common, 4, 1);
	return f | vd_in(v, v->common + 4, 4) << 32;
}

/* Lets it access memory, resets, and goes as far as FEATURES_OK with the features of @want that are offered. Returns whether the device
 * took them. */
static inline bool vd_negotiate(struct vd *v, uint64_t want)
{
	vd_set_master(v, true);
	vd_set_status(v, 0);
	vd_run(v);
	if (vd_status(v))
		return false;
	vd_set_status(v, VD_S_ACK);
	vd_set_status(v, VD_S_DRIVER);
	v->features = (want | VD_F_VERSION_1) & vd_offered(v);
	vd_out(v, v->common + 8, 4, 0);
	vd_out(v, v->common + 12, 4, (uint32_t)v->features);
	vd_out(v, v->common + 8, 4, 1);
	vd_out(v, v->common + 12, 4, v->features >> 32);
	vd_set_status(v, VD_S_FEATURES_OK);
	return vd_status(v) & VD_S_FEATURES_OK;
}

/* Vector n goes to queue n, the one after the last queue's to the configuration. */
static inline void vd_use_msix(struct vd *v, unsigned int nr_queues)
{
	for (unsigned int n = 0; n <= nr_queues; n++) {
		vd_out(v, v->msix + 16 * n, 8, VD_MSI_ADDR);
		vd_out(v, v->msix + 16 * n + 8, 4, VD_MSI_DATA + n);
		vd_out(v, v->msix + 16 * n + 12, 4, 0);
	}
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0x8000);
	vd_out(v, v->common + 16, 2, nr_queues);
}

static inline void *vd_ram(struct vd *v, uint64_t gpa)
{
	return v->b.memory.map + gpa;
}

/* What the rings and the buffers look like now: vd_is_as_in() says whether they still do. The caller frees it. */
static inline void *vd_picture(struct vd *v)
{
	void *p = malloc(VD_PICTURE);

	return p ? memcpy(p, vd_ram(v, VD_RINGS), VD_PICTURE) : NULL;
}

static inline bool vd_is_as_in(struct vd *v, const void *picture)
{
	return !memcmp(vd_ram(v, VD_RINGS), picture, VD_PICTURE);
}

static inline void vd_queue(struct vd *v, unsigned int n, uint16_t size)
{
	struct vd_queue *q = &v->q[n];

	memset(q, 0, sizeof(*q));
	q->size = size;
	q->desc = VD_RINGS + (uint64_t)n * VD_RING_STEP;
	q->avail = q->desc + 0x4000;
	q->used = q->desc + 0x6000;
	q->avail_wrap = q->used_wrap = true;
	memset(vd_ram(v, q->desc), 0, VD_RING_STEP);
	vd_out(v, v->common + 22, 2, n);
	q->notify = v->notify + vd_in(v, v->common + 30, 2) * v->notify_step;
	vd_out(v, v->common + 24, 2, size);
	vd_out(v, v->common + 26, 2, n);
	vd_out(v, v->common + 32, 8, q->desc);
	vd_out(v, v->common + 40, 4, q->avail);
	vd_out(v, v->common + 44, 4, 0);
	vd_out(v, v->common + 48, 8, q->used);
	vd_out(v, v->common + 28, 2, 1);
}

/* The whole way to DRIVER_OK with @nr queues of @size. */
static inline bool vd_start(struct vd *v, uint64_t want, unsigned int nr, uint16_t size)
{
	if (!vd_negotiate(v, want))
		return false;
	vd_use_msix(v, nr);
	for (unsigned int n = 0; n < nr; n++)
		vd_queue(v, n, size);
	vd_set_status(v, VD_S_DRIVER_OK);
	vd_run(v);
	return vd_status(v) & VD_S_DRIVER_OK;
}

static inline void vd_desc(struct vd *v, uint64_t at, uint64_t gpa, uint32_t len, uint16_t a,
			   uint16_t b)
{
	uint8_t *p = vd_ram(v, at);

	put_le64(p, gpa);
	put_le32(p + 8, len);
	put_le16(p + 12, a);
	put_le16(p + 14, b);
}

static inline uint16_t vd_packed_flags(const struct vd_queue *q)
{
	return q->avail_wrap ? 1 << 7 : 1 << 15;
}

static inline void vd_packed_advance(const struct vd_queue *q, uint16_t *at, bool *wrap,
				     unsigned int n)
{
	*at = (uint16_t)(*at + n);
	if (*at >= q->size) {
		*at = (uint16_t)(*at - q->size);
		*wrap = !*wrap;
	}
}

static inline uint16_t vd_add_packed(struct vd *v, struct vd_queue *q, const struct vd_piece *p,
				     unsigned int nr, bool indirect)
{
	uint16_t id = q->next_free++ % q->size, first = q->avail_idx, first_flags = 0;
	uint64_t table = VD_TABLES + (uint64_t)id * 4096;
	unsigned int slots = indirect ? 1 : nr;

	for (unsigned int k = 0; indirect && k < nr; k++)
		vd_desc(v, table + 16 * k, p[k].gpa, p[k].len, 0, p[k].is_write ? VD_WRITE : 0);
	for (unsigned int k = 0; k < slots; k++) {
		uint16_t flags = vd_packed_flags(q);

		flags |= indirect ? VD_INDIRECT
				  : (p[k].is_write ? VD_WRITE : 0) | (k + 1 < nr ? VD_NEXT : 0);
		if (!k)
			first_flags = flags;
		vd_desc(v, q->desc + 16 * (uint64_t)q->avail_idx, indirect ? table : p[k].gpa,
			indirect ? 16 * nr : p[k].len, id,
			k ? flags : (uint16_t)(flags ^ (1 << 7 | 1 << 15)));
		vd_packed_advance(q, &q->avail_idx, &q->avail_wrap, 1);
	}
	put_le16((uint8_t *)vd_ram(v, q->desc + 16 * (uint64_t)first + 14), first_flags);
	q->slots[id] = (uint16_t)slots;
	return id;
}

/* Makes a chain available, without telling. Returns its id, by which it comes back. */
static inline uint16_t vd_add(struct vd *v, unsigned int n, const struct vd_piece *p,
			      unsigned int nr, bool indirect)
{
	struct vd_queue *q = &v->q[n];
	uint16_t head = (uint16_t)(q->next_free % q->size);
	uint64_t table = VD_TABLES + (uint64_t)head * 4096;

	if (v->features & VD_F_PACKED)
		return vd_add_packed(v, q, p, nr, indirect);
	for (unsigned int k = 0; k < nr; k++) {
		uint16_t i = (uint16_t)(indirect ? k : (q->next_free + k) % q->size);
		uint16_t next = (uint16_t)(indirect ? k + 1 : (q->next_free + k + 1) % q->size);

		vd_desc(v, (indirect ? table : q->desc) + 16 * (uint64_t)i, p[k].gpa, p[k].len,
			(uint16_t)((p[k].is_write ? VD_WRITE : 0) | (k + 1 < nr ? VD_NEXT : 0)),
			next);
	}
	if (indirect)
		vd_desc(v, q->desc + 16 * (uint64_t)head, table, 16 * nr, VD_INDIRECT, 0);
	q->next_free = (uint16_t)(q->next_free + (indirect ? 1 : nr));
	put_le16((uint8_t *)vd_ram(v, q->avail + 4 + 2 * (uint64_t)(q->avail_idx % q->size)), head);
	q->avail_idx++;
	put_le16((uint8_t *)vd_ram(v, q->avail + 2), q->avail_idx);
	return head;
}

static inline void vd_notify(struct vd *v, unsigned int n)
{
	vd_out(v, v->q[n].notify, 2, n);
}

static inline void vd_kick(struct vd *v, unsigned int n)
{
	vd_notify(v, n);
	vd_run(v);
}

/* Takes back a used chain. Returns whether there is one. */
static inline bool vd_used(struct vd *v, unsigned int n, uint16_t *ret_id, uint32_t *ret_len)
{
	struct vd_queue *q = &v->q[n];
	const uint8_t *e;

	if (v->features & VD_F_PACKED) {
		uint16_t flags;

		e = vd_ram(v, q->desc + 16 * (uint64_t)q->used_idx);
		flags = get_le16(e + 14);
		if (!!(flags & 1 << 7) != q->used_wrap || !!(flags & 1 << 15) != q->used_wrap)
			return false;
		*ret_len = get_le32(e + 8);
		*ret_id = get_le16(e + 12);
		vd_packed_advance(q, &q->used_idx, &q->used_wrap, q->slots[*ret_id & 255]);
		return true;
	}
	if (get_le16((uint8_t *)vd_ram(v, q->used + 2)) == q->used_idx)
		return false;
	e = vd_ram(v, q->used + 4 + 8 * (uint64_t)(q->used_idx % q->size));
	*ret_id = (uint16_t)get_le32(e);
	*ret_len = get_le32(e + 4);
	q->used_idx++;
	return true;
}

/* Adds one chain, notifies, and takes it back. Returns the length that the device tells, -1 without an answer. */
static inline int64_t vd_do(struct vd *v, unsigned int n, const struct vd_piece *p, unsigned int nr)
{
	uint16_t id = vd_add(v, n, p, nr, false), got;
	uint32_t len;

	vd_kick(v, n);
	if (!vd_used(v, n, &got, &len) || got != id)
		return -1;
	return len;
}

#endif
