/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_PCI_PRIV_H
#define VM_DEV_PCI_PRIV_H

#include "vm/dev/pci.h"

/* Registers of a type 0 header (PCI Local Bus 3.0, 6.1), and of Intel's two bridges. */
enum pci_reg {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09,
	PCI_CACHE_LINE = 0x0c,
	PCI_LATENCY = 0x0d,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_CAP_POINTER = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
	PCI_CAP_FIRST = 0x40,
	PCI_CAP_LIMIT = 0x100,

	PCI_COMMAND_IO = 1 << 0,
	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_INTX_OFF = 1 << 10,
	PCI_COMMAND_WRITABLE = 0x0547,
	PCI_STATUS_INTERRUPT = 1 << 3,
	PCI_STATUS_CAPS = 1 << 4,
	PCI_STATUS_ERRORS = 0xf900,
	PCI_HEADER_MULTI = 0x80,

	PCI_PIRQ_OFF = 0x80,
};

/* pci_pirq_reg - the ISA bridge's route register of PIRQA (0) to PIRQD (3). */
static inline unsigned int pci_pirq_reg(unsigned int pirq)
{
	return 0x60 + pirq;
}

/* pci_host_reset - the bridges' own registers. Under the bus lock. */
void pci_host_reset(struct pci_bus *p);

#endif
