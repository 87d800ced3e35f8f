/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_VTD_H
#define VM_DEV_VTD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

/*
 * An I/O memory management unit like Intel's: it translates the addresses of devices' DMA by second-level
 * page tables of 3 or 4 levels, and their interrupt messages by the interrupt remapping table. It keeps no
 * cache, so every invalidation is done the moment it is asked for.
 * Source: Intel Virtualization Technology for Directed I/O, revision 3.x (chapters 3, 5, 6, 7 and 11).
 */
#define VTD_BASE UINT64_C(0xfed90000)

enum {
	VTD_REGS_SIZE = 0x240,
	/* A requester without a bus number of its own (the I/O APIC): its entries are not checked against
	 * a source id. */
	VTD_SOURCE_ANY = 0x10000,
};

struct vtd {
	pthread_mutex_t lock;
	struct bus *mmio;
	struct bus_range range;
	struct physmem *mem;
	void (*msi)(void *arg, uint64_t addr, uint32_t data);
	void *msi_arg;
	uint8_t reg[VTD_REGS_SIZE]; /* little endian, as the guest reads them */
	uint64_t root, remap_table; /* latched from RTADDR and IRTA by the global command */
};

/*
 * vtd_init - the unit at VTD_BASE, with translation off. Uses of @board: mmio, mem, msi.
 *
 * Messages that pass go to board->msi, with no lock held. Returns 0, or what bus_add() says.
 */
_nodiscard_ int vtd_init(struct vtd *v, const struct board *board, struct err *err);
void vtd_done(struct vtd *v);
void vtd_reset(struct vtd *v);

/*
 * vtd_msi - an interrupt message on its way from a device to the CPUs.
 *
 * @source:  bus << 8 | devfn, or VTD_SOURCE_ANY
 * A message that may not pass is dropped and recorded as a fault. Thread: any.
 */
void vtd_msi(struct vtd *v, uint32_t source, uint64_t addr, uint32_t data);

/* vtd_ioapic_msi - vtd_msi() of the I/O APIC, in the shape of struct board's msi; @arg is the vtd. */
void vtd_ioapic_msi(void *arg, uint64_t addr, uint32_t data);

/*
 * vtd_dma_read, vtd_dma_write - a device's access to memory at the address that it uses.
 *
 * Returns 0, or -EFAULT when it is not mapped, not permitted, or not RAM; then a part may be done, and
 * the fault is recorded. Thread: any.
 */
int vtd_dma_read(struct vtd *v, uint16_t source, uint64_t iova, void *buf, uint64_t len);
int vtd_dma_write(struct vtd *v, uint16_t source, uint64_t iova, const void *buf, uint64_t len);

#endif
