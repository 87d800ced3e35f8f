/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_AHCI_DRIVER_H
#define ATOLL_TESTS_COMPONENT_AHCI_DRIVER_H

/* A small driver for the SATA controller: what tests and the fuzz target put into guest memory. */
#include "ata_disk.h"
#include "bench.h"
#include "vm/dev/ahci.h"

enum {
	ABAR = 0xd0000000,
	LIST = 0x10000,
	RX_FIS = 0x11000,
	TABLE = 0x12000,
	DATA = 0x20000,
	P0 = ABAR + 0x100,
	P1 = ABAR + 0x180,
};

struct ahci_world {
	struct bench b;
	struct pci_bus pci;
	struct ahci a;
	struct disk *disk, *cd;
};

/* A disk of 4096 sectors at port 0, a CD of 64 sectors (of 2048 bytes) at port 1. Returns 0 or what failed. */
static inline int ahci_world_init(struct ahci_world *w)
{
	int r = bench_init(&w->b, 2 << 20);

	w->disk = ata_make_disk(4096, DISK_RDWR);
	w->cd = ata_make_disk(256, 0);
	if (r == 0 && (!w->disk || !w->cd))
		r = -1;
	if (r == 0)
		r = pci_init(&w->pci, &w->b.board, NULL);
	if (r == 0)
		r = ahci_init(&w->a, &w->b.board, &w->pci, NULL);
	if (r == 0)
		r = ahci_plug(&w->a, 0, w->disk, false, false, "SN1", NULL);
	if (r == 0)
		r = ahci_plug(&w->a, 1, w->cd, true, true, "SN2", NULL);
	pci_config_write(&w->pci, AHCI_DEVFN, 0x24, 4, ABAR);
	pci_config_write(&w->pci, AHCI_DEVFN, 4, 2, 6);
	return r;
}

static inline void ahci_world_done(struct ahci_world *w)
{
	ahci_done(&w->a);
	pci_done(&w->pci);
	bench_done(&w->b);
	ata_end_disk(&w->disk);
	ata_end_disk(&w->cd);
}

static inline uint32_t reg(struct ahci_world *w, uint64_t at)
{
	return (uint32_t)bus_read(w->b.mmio, at, 4);
}

static inline void set(struct ahci_world *w, uint64_t at, uint32_t value)
{
	bus_write(w->b.mmio, at, 4, value);
}

/* Lists, interrupts, command processing. */
static inline void ahci_enable(struct ahci_world *w, uint64_t port)
{
	set(w, port + 0x00, LIST);
	set(w, port + 0x04, 0);
	set(w, port + 0x08, RX_FIS);
	set(w, port + 0x0c, 0);
	set(w, port + 0x30, UINT32_MAX);
	set(w, port + 0x18, 0x10);
	set(w, port + 0x10, UINT32_MAX);
	set(w, port + 0x14, UINT32_MAX);
	set(w, port + 0x18, 0x11);
	set(w, ABAR + 8, UINT32_MAX);
	set(w, ABAR + 4, 2);
}

/* A command in slot 0 with data in two pieces, the first of @first bytes. */
static inline void ahci_build(struct ahci_world *w, const uint8_t *fis, const uint8_t *packet,
			      uint32_t first, uint32_t bytes)
{
	struct physmem *m = &w->b.memory.phys;
	uint8_t header[32] = { 5 }, table[0xa0] = { 0 };

	if (packet) {
		header[0] |= 0x20;
		memcpy(table + 0x40, packet, 12);
	}
	memcpy(table, fis, 20);
	if (bytes) {
		put_le16(header + 2, first < bytes ? 2 : 1);
		put_le32(table + 0x80, DATA);
		put_le32(table + 0x8c, MIN(first, bytes) - 1);
		put_le32(table + 0x90, DATA + MIN(first, bytes));
		put_le32(table + 0x9c, bytes - MIN(first, bytes) - 1);
	}
	put_le32(header + 8, TABLE);
	ignore_result(physmem_write(m, LIST, header, sizeof(header)));
	ignore_result(physmem_write(m, TABLE, table, sizeof(table)));
}

/* An ATA command's FIS. */
static inline void ahci_fis(uint8_t *fis, uint8_t command, uint64_t lba, uint16_t count)
{
	memset(fis, 0, 20);
	fis[0] = 0x27;
	fis[1] = 0x80;
	fis[2] = command;
	put_le(fis + 4, lba, 3);
	fis[7] = 0x40;
	put_le(fis + 8, lba >> 24, 3);
	put_le16(fis + 12, count);
}

#endif
