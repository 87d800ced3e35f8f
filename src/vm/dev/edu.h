/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_EDU_H
#define VM_DEV_EDU_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/dev/pci.h"

/*
 * The "edu" PCI device, 1234:11e8: a register that inverts, factorials, interrupts by pin or message, and
 * DMA between guest memory and a buffer of 4 KiB. Test suites use it as the simplest device that does
 * all of that. Source: QEMU documentation, "EDU device".
 */
enum {
	EDU_BUFFER_SIZE = 4096,
	EDU_BAR_SIZE = 1 << 20,
};

struct vtd;

struct edu {
	pthread_mutex_t lock;
	struct pci_dev pci;
	struct vtd *iommu; /* what its DMA and messages pass through */
	uint8_t msi_cap;   /* offset in configuration space */
	uint32_t alive, factorial, status, irq_status;
	uint64_t dma_src, dma_dst, dma_count, dma_cmd;
	uint8_t buffer[EDU_BUFFER_SIZE];
};

/*
 * edu_init - plug the device into @bus at @devfn.
 *
 * @iommu: outlives the device. Returns 0, or what pci_dev_add_bar(), pci_dev_add_cap() and
 * pci_dev_plug() say.
 */
_nodiscard_ int edu_init(struct edu *e, struct pci_bus *bus, uint8_t devfn, struct vtd *iommu,
			 struct err *err);
void edu_done(struct edu *e);

/* edu_reset - registers and buffer as after power-on; the configuration space is pci_reset()'s. */
void edu_reset(struct edu *e);

#endif
