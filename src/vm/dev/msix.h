/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_MSIX_H
#define VM_DEV_MSIX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"
#include "vm/dev/pci.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * MSI-X of one PCI function: a table of messages in a BAR of its own, the bits of those that wait because they
 * are masked, and the capability that switches it on. Source: PCI Local Bus 3.0, 6.8.2.
 *
 * A device keeps one, forwards its config_written() to msix_config_written(), and raises a vector with
 * msix_notify(). Locks: its own, below the bus lock, and the device's; messages are sent with it held.
 */
enum { MSIX_MAX_VECTORS = 128, MSIX_ENTRY = 16 };

struct msix {
	pthread_mutex_t lock;
	struct pci_dev *dev;
	uint8_t cap; /* offset of the capability */
	unsigned int nr;
	void (*send)(void *arg, uint64_t addr, uint32_t data);
	void *send_arg;
	bool is_enabled, is_masked; /* the capability's bits */
	uint8_t table[MSIX_MAX_VECTORS * MSIX_ENTRY];
	uint64_t pending[MSIX_MAX_VECTORS / 64];
};

/*
 * msix_init - give a device @nr vectors (1 to MSIX_MAX_VECTORS) with the tables in BAR @bar, which is made.
 *
 * Uses of @board: msi. After pci_dev_setup(), before pci_dev_plug(). Returns 0, or -EINVAL, -ENOSPC.
 */
_nodiscard_ int msix_init(struct msix *x, struct pci_dev *d, const struct board *board,
			  unsigned int bar, unsigned int nr, struct err *err);
void msix_done(struct msix *x);
/* msix_reset - off, all vectors masked. No vCPU runs. */
void msix_reset(struct msix *x);

/* msix_config_written - for pci_dev.config_written(): under the bus lock. */
void msix_config_written(struct msix *x, uint16_t off, unsigned int size);

/* msix_is_enabled - whether the device signals by messages instead of its pin. Thread: any. */
bool msix_is_enabled(struct msix *x);

/* msix_notify - send a vector's message, now or when it is unmasked; others than the device's are ignored, and
 * all while it is switched off. Thread: any. */
void msix_notify(struct msix *x, unsigned int vector);

/* msix_state - what a snapshot keeps of it. */
extern const struct state_desc msix_state;

#endif
