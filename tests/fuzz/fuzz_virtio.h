/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_FUZZ_VIRTIO_H
#define ATOLL_TESTS_FUZZ_VIRTIO_H

/*
 * A virtio device driven by bytes, through its registers, its rings and the memory that they point at. The first two
 * bytes choose features and the number of queues; then come steps, whose first byte's low four bits say which:
 *
 *	0 register write   1 register read   2 configuration space write   3 bytes into the rings
 *	4 bytes into the data  5, 6 a chain that makes sense, direct or indirect  7 one with any address
 *	8 notify  9 run  10 start anew  11 an event of the device's  12 status  13 reset pin
 *	14 a request that makes sense for the device  15 what follows happens while it is no bus master, or not any more
 *
 * While it is none, nothing of the driver's memory changes but by the driver.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../component/virtio_driver.h"
#include "base/log.h"
#include "fuzz_dev.h"
#include "vm/virtio/pci.h"

enum { FUZZ_RINGS_LEN = 2 * VD_RING_STEP, FUZZ_DATA_LEN = 0x20000 };

struct fuzz_virtio {
	struct vd v;
	struct virtio_pci pci;
	struct virtio_dev *dev;
	unsigned int nr_queues;
	uint64_t features;
	void (*event)(void *arg, unsigned int what);
	void (*request)(struct fuzz_virtio *w, struct fuzz_input *in);
	void (*settle)(void *arg); /* wait for what is in flight; may be NULL */
	void *arg;
};

static inline void fuzz_virtio_chain(struct fuzz_virtio *w, struct fuzz_input *in,
				     unsigned int step, unsigned int n)
{
	struct vd_piece p[8];
	unsigned int nr = 1 + (unsigned int)fuzz_take(in, 1) % 8,
		     writable = (unsigned int)fuzz_take(in, 1) % (nr + 1);

	for (unsigned int k = 0; k < nr; k++) {
		p[k].len = (uint32_t)fuzz_take(in, 2);
		p[k].gpa = VD_DATA + fuzz_take(in, 2);
		if (step == 7)
			p[k].gpa = fuzz_take(in, 8);
		p[k].is_write = k >= nr - writable;
	}
	if (w->v.q[n].size)
		vd_add(&w->v, n, p, nr, step == 6);
}

/* The reset pin waits for what is in flight, on the I/O thread, which does not run here: let it be done before. */
static inline void fuzz_virtio_reset(struct fuzz_virtio *w)
{
	virtio_set_status(w->dev, 0);
	for (unsigned int k = 0; k < 4; k++) {
		if (w->settle)
			w->settle(w->arg);
		while (iothread_run(&w->v.io))
			;
	}
	virtio_set_status(w->dev, 0);
	fuzz_must(virtio_status(w->dev) == 0);
	virtio_pci_reset(&w->pci);
}

/* Takes the bit away and lets the device do what it likes, and gives it back for odd @how. */
static inline void fuzz_virtio_master(struct fuzz_virtio *w, unsigned int how)
{
	static uint8_t rings[FUZZ_RINGS_LEN], data[FUZZ_DATA_LEN];
	struct vd *v = &w->v;

	vd_set_master(v, false);
	if (w->settle)
		w->settle(w->arg);
	memcpy(rings, vd_ram(v, VD_RINGS), sizeof(rings));
	memcpy(data, vd_ram(v, VD_DATA), sizeof(data));
	for (unsigned int k = 0; k < w->nr_queues; k++)
		if (v->q[k].size)
			vd_notify(v, k);
	for (unsigned int k = 0; k < 4; k++)
		iothread_run(&v->io);
	fuzz_must(!memcmp(rings, vd_ram(v, VD_RINGS), sizeof(rings)));
	fuzz_must(!memcmp(data, vd_ram(v, VD_DATA), sizeof(data)));
	vd_set_master(v, how & 1);
}

static inline void fuzz_virtio_step(struct fuzz_virtio *w, struct fuzz_input *in)
{
	uint8_t op = (uint8_t)fuzz_take(in, 1);
	unsigned int step = op & 15, n = (op >> 4) % w->nr_queues, size = 1u << (op >> 4 & 3);
	struct vd *v = &w->v;
	uint64_t off = step < 5 ? fuzz_take(in, 2) : 0;

	switch (step) {
	case 0:
		vd_out(v, (off & 0x8000 ? v->msix : v->common) + (off & 0x3fff), size,
		       fuzz_take(in, size));
		break;
	case 1:
		(void)vd_in(v, (off & 0x8000 ? v->msix : v->common) + (off & 0x3fff), size);
		break;
	case 2:
		size = MIN(size, 4u);
		pci_config_write(&v->pci, VD_DEVFN, (uint16_t)(off & 0xff & ~(size - 1)), size,
				 (uint32_t)fuzz_take(in, size));
		(void)pci_config_read(&v->pci, VD_DEVFN, (uint16_t)(off >> 8 & ~(size - 1)), size);
		break;
	case 3:
	case 4:
		for (unsigned int k = 0; k < 1u << (op >> 4 & 3); k++)
			put_le16((uint8_t *)vd_ram(v, (step == 3 ? VD_RINGS : VD_DATA) +
							      (off & ~UINT64_C(1)) + 2 * k),
				 (uint16_t)fuzz_take(in, 2));
		break;
	case 5:
	case 6:
	case 7:
		fuzz_virtio_chain(w, in, step, n);
		break;
	case 8:
		vd_notify(v, n);
		break;
	case 9:
		for (unsigned int k = 0; k < 8; k++)
			iothread_run(&v->io);
		break;
	case 10:
		vd_set_status(v, 0);
		iothread_run(&v->io);
		if (vd_negotiate(v, w->features)) {
			vd_use_msix(v, w->nr_queues);
			for (unsigned int k = 0; k < w->nr_queues; k++)
				vd_queue(v, k, 16);
			vd_set_status(v, VD_S_DRIVER_OK);
		}
		break;
	case 11:
		if (w->event)
			w->event(w->arg, (unsigned int)fuzz_take(in, 2));
		break;
	case 12:
		vd_out(v, v->common + 20, 1, fuzz_take(in, 1));
		break;
	case 13:
		fuzz_virtio_reset(w);
		break;
	case 15:
		fuzz_virtio_master(w, n);
		break;
	default:
		if (w->request)
			w->request(w, in);
		break;
	}
}

/* The bench; then the device is made in w->dev, and fuzz_virtio_run() does the rest. */
static inline void fuzz_virtio_init(struct fuzz_virtio *w)
{
	static bool is_quiet;

	if (!is_quiet)
		log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	is_quiet = true;
	memset(w, 0, sizeof(*w));
	fuzz_must(vd_bench_init(&w->v) == 0);
}

static inline void fuzz_virtio_run(struct fuzz_virtio *w, struct fuzz_input *in)
{
	uint8_t choice = (uint8_t)fuzz_take(in, 1);

	w->features = (choice & 1 ? VD_F_PACKED : 0) | (choice & 2 ? VD_F_EVENT_IDX : 0) |
		      (choice & 4 ? 0 : VD_F_INDIRECT) | (choice & 8 ? 0 : 0xffffff) |
		      (choice & 16 ? UINT64_C(0xffffff) << 40 : 0);
	w->nr_queues = MIN(1u + (choice >> 5), MIN(w->dev->nr_queues, (unsigned int)VD_MAX_QUEUES));
	w->dev->features |= VD_F_PACKED;
	fuzz_must(virtio_pci_init(&w->pci, w->dev, &w->v.b.board, &w->v.pci, VD_DEVFN, 0x00ff00,
				  NULL) == 0);
	fuzz_must(vd_probe(&w->v));
	for (unsigned int steps = 0; in->n && steps < 500; steps++)
		fuzz_virtio_step(w, in);
	/* Whatever happened, a reset helps. */
	fuzz_virtio_reset(w);
	virtio_pci_done(&w->pci);
}

static inline void fuzz_virtio_done(struct fuzz_virtio *w)
{
	vd_bench_done(&w->v);
}

#endif
