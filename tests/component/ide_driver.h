/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_IDE_DRIVER_H
#define ATOLL_TESTS_COMPONENT_IDE_DRIVER_H

/* A small driver for the IDE controller: what tests and the fuzz target do to its registers. */
#include "ata_disk.h"
#include "bench.h"
#include "vm/dev/ide.h"

enum {
	BM_PORTS = 0xc000,
	PRD_TABLE_AT = 0x10000,
	DATA = 0x40000,

	DISK_AT = 0, /* places of the drives */
	CD_AT = 1,
	READONLY_AT = 2,
	NOTHING_AT = 3,
};

struct ide_world {
	struct bench b;
	struct pci_bus pci;
	struct ide i;
	struct disk *disk, *cd, *readonly;
};

/* Two disks of 4096 sectors, one of which cannot be written, and a CD of 64 sectors (of 2048 bytes). Returns 0 or what failed. */
static inline int ide_world_init(struct ide_world *w)
{
	int r = bench_init(&w->b, 2 << 20);

	w->disk = ata_make_disk(4096, DISK_RDWR);
	w->readonly = ata_make_disk(4096, 0);
	w->cd = ata_make_disk(256, 0);
	if (r == 0 && (!w->disk || !w->cd || !w->readonly))
		r = -1;
	if (r == 0)
		r = pci_init(&w->pci, &w->b.board, NULL);
	if (r == 0)
		r = ide_init(&w->i, &w->b.board, &w->pci, NULL);
	if (r == 0)
		r = ide_plug(&w->i, DISK_AT, w->disk, false, false, "SN1", NULL);
	if (r == 0)
		r = ide_plug(&w->i, CD_AT, w->cd, true, true, "SN2", NULL);
	if (r == 0)
		r = ide_plug(&w->i, READONLY_AT, w->readonly, false, true, "SN3", NULL);
	pci_config_write(&w->pci, IDE_DEVFN, 0x20, 4, BM_PORTS);
	pci_config_write(&w->pci, IDE_DEVFN, 4, 2, 5);
	return r;
}

static inline void ide_world_done(struct ide_world *w)
{
	ide_done(&w->i);
	pci_done(&w->pci);
	bench_done(&w->b);
	ata_end_disk(&w->disk);
	ata_end_disk(&w->cd);
	ata_end_disk(&w->readonly);
}

/* The first of the command ports of the drive's channel; its control port; its bus master. */
static inline uint16_t ports(unsigned int place)
{
	return place < 2 ? 0x1f0 : 0x170;
}

static inline uint16_t control_port(unsigned int place)
{
	return place < 2 ? 0x3f6 : 0x376;
}

static inline uint16_t bm_ports(unsigned int place)
{
	return place < 2 ? BM_PORTS : BM_PORTS + 8;
}

static inline uint8_t status_of(struct ide_world *w, unsigned int place)
{
	return inb(&w->b, control_port(place));
}

static inline void ide_select(struct ide_world *w, unsigned int place, uint8_t device)
{
	outb(&w->b, (uint16_t)(ports(place) + 6),
	     (uint8_t)(0xa0 | device | (place & 1 ? 0x10 : 0)));
}

/* A command with 28 bits of address, or 48; nothing is waited for. */
static inline void ide_issue(struct ide_world *w, unsigned int place, uint8_t command, uint64_t lba,
			     uint16_t count, bool is_ext)
{
	uint16_t p = ports(place);

	ide_select(w, place, (uint8_t)(0x40 | (is_ext ? 0 : lba >> 24 & 15)));
	for (unsigned int k = 2; k-- > 0;) {
		if (k && !is_ext)
			continue;
		outb(&w->b, (uint16_t)(p + 2), (uint8_t)(count >> 8 * k));
		outb(&w->b, (uint16_t)(p + 3), (uint8_t)(lba >> 24 * k));
		outb(&w->b, (uint16_t)(p + 4), (uint8_t)(lba >> (24 * k + 8)));
		outb(&w->b, (uint16_t)(p + 5), (uint8_t)(lba >> (24 * k + 16)));
	}
	outb(&w->b, (uint16_t)(p + 7), command);
}

/* Data of the port, by words. */
static inline void ide_in(struct ide_world *w, unsigned int place, uint8_t *to, size_t n)
{
	for (size_t k = 0; k + 2 <= n; k += 2)
		put_le16(to + k, (uint16_t)bus_read(w->b.pio, ports(place), 2));
}

static inline void ide_out(struct ide_world *w, unsigned int place, const uint8_t *from, size_t n)
{
	for (size_t k = 0; k + 2 <= n; k += 2)
		bus_write(w->b.pio, ports(place), 2, get_le16(from + k));
}

/* A packet command: @limit bytes at a time through the port, or by DMA. */
static inline void ide_packet(struct ide_world *w, unsigned int place, const uint8_t *packet,
			      uint16_t limit, bool is_dma)
{
	uint16_t p = ports(place);

	ide_select(w, place, 0);
	outb(&w->b, (uint16_t)(p + 1), is_dma);
	outb(&w->b, (uint16_t)(p + 4), (uint8_t)limit);
	outb(&w->b, (uint16_t)(p + 5), (uint8_t)(limit >> 8));
	outb(&w->b, (uint16_t)(p + 7), 0xa0);
	ide_out(w, place, packet, IDE_PACKET);
}

/* A table that describes @n bytes at DATA, the first @first of which have an entry of their own. Bytes of an entry are even. */
static inline void ide_table(struct ide_world *w, uint32_t first, uint32_t n)
{
	uint8_t e[8] = { 0 };
	uint64_t at = PRD_TABLE_AT;

	for (uint32_t done = 0, part; done < n; done += part, at += sizeof(e)) {
		part = done ? MIN(n - done, 65536u) : MIN(first, n);
		put_le32(e, DATA + done);
		put_le16(e + 4, (uint16_t)part);
		e[7] = done + part == n ? 0x80 : 0;
		ignore_result(physmem_write(&w->b.memory.phys, at, e, sizeof(e)));
	}
}

static inline void bm_start(struct ide_world *w, unsigned int place, bool to_memory)
{
	outl(&w->b, (uint16_t)(bm_ports(place) + 4), PRD_TABLE_AT);
	outb(&w->b, (uint16_t)(bm_ports(place) + 2), 6);
	outb(&w->b, bm_ports(place), (uint8_t)(1 | (to_memory ? 8 : 0)));
}

#endif
