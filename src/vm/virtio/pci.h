/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_PCI_H
#define VM_VIRTIO_PCI_H

#include <pthread.h>

#include "vm/board.h"
#include "vm/dev/msix.h"
#include "vm/dev/pci.h"
#include "vm/virtio/virtio.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A virtio device as a PCI function (virtio 1.2, 4.1): modern only. BAR 0 holds the common, interrupt status,
 * device and notification structures, BAR 1 the MSI-X tables; the configuration space has the capabilities that
 * say so, and the window by which firmware without mapped BARs reaches them. One MSI-X vector a queue, and one
 * for the configuration.
 */
struct virtio_pci {
	struct virtio_dev *dev;
	struct virtio_transport transport;
	struct pci_dev pci;
	struct msix msix;
	uint8_t window_cap; /* offset of the window's capability */

	pthread_mutex_t lock; /* guards those below; after dev->lock, before the bus's */
	uint8_t isr;
	uint16_t config_vector, queue_sel;
};

/*
 * virtio_pci_init - put an initialized device at @devfn.
 *
 * @class_code: base class, subclass, interface (24 bits)
 * Uses of @board: msi. Returns 0, or what pci_dev_plug() says.
 */
_nodiscard_ int virtio_pci_init(struct virtio_pci *v, struct virtio_dev *d,
				const struct board *board, struct pci_bus *bus, uint8_t devfn,
				uint32_t class_code, struct err *err);
/* virtio_pci_done - take it off the bus; the device stays the caller's. Harmless when it was not made. */
void virtio_pci_done(struct virtio_pci *v);
/* virtio_pci_reset - the reset pin: waits until nothing is in flight. No vCPU runs. */
void virtio_pci_reset(struct virtio_pci *v);

/* virtio_pci_state - what a snapshot keeps of it. */
extern const struct state_desc virtio_pci_state;

#endif
