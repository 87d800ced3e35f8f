/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_MMIO_H
#define VM_VIRTIO_MMIO_H

#include <pthread.h>

#include "vm/board.h"
#include "vm/virtio/virtio.h"

/*
 * A virtio device as a window of registers and an interrupt (virtio 1.2, 4.2), for boards without PCI: version 2 only. One
 * level-triggered interrupt stands for queues and configuration. The guest is told of windows by ACPI (LNRO0005).
 */
#define VIRTIO_MMIO_BASE UINT64_C(0xc0000000)
enum { VIRTIO_MMIO_STEP = 0x1000, VIRTIO_MMIO_LEN = 0x200, VIRTIO_MMIO_MAX = 16 };

struct virtio_mmio {
	struct virtio_dev *dev;
	struct virtio_transport transport;
	struct bus *bus;
	struct bus_range range;
	struct irq_line irq;

	pthread_mutex_t lock; /* guards those below; after dev->lock, before interrupt controllers' */
	uint32_t isr, queue_sel;
};

/* virtio_mmio_gsi - the interrupt of window @n (below VIRTIO_MMIO_MAX): first those that no ISA device could have. Thread:
 * any. */
unsigned int virtio_mmio_gsi(unsigned int n);

/*
 * virtio_mmio_init - put an initialized device at window @n (below VIRTIO_MMIO_MAX).
 *
 * Uses of @board: mmio, irqs. Returns 0, or what bus_add() says.
 */
_nodiscard_ int virtio_mmio_init(struct virtio_mmio *v, struct virtio_dev *d,
				 const struct board *board, unsigned int n, struct err *err);
/* virtio_mmio_done - take it off the bus; the device stays the caller's. Harmless when it was not made. */
void virtio_mmio_done(struct virtio_mmio *v);
/* virtio_mmio_reset - the reset pin: waits until nothing is in flight. No vCPU runs. */
void virtio_mmio_reset(struct virtio_mmio *v);

#endif
