/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O memory management unit, and the PCI device whose DMA and messages pass through it. The tables are
 * valid at first; the device's own event flips bits in them, sends messages, or resets.
 */
#include "fuzz_dev.h"
#include "vm/dev/edu.h"
#include "vm/dev/pci.h"
#include "vm/dev/vtd.h"

enum {
	DEVFN = 4 << 3,
	MEM = 4 << 20,
	ROOT = 0x1000,
	CONTEXT = 0x2000,
	TABLE = 0x3000, /* three levels, a page each */
	REMAP = 0x6000,
	QUEUE = 0x7000,
	NR_TABLES = 7,
};

static const struct fuzz_window windows[] = {
	{ VTD_BASE, 0xc0, true },	 { VTD_BASE + 0x200, 0x40, true },
	{ PCI_MMIO32_BASE, 0xa8, true }, { PCI_ECAM_BASE + (DEVFN << 12), 0x80, true },
	{ VTD_BASE, 0x1008, true },	 { PCI_MMIO32_BASE, 0x10000, true },
};

struct world {
	struct bench b;
	struct pci_bus pci;
	struct vtd vtd;
	struct edu edu;
};

static void put64(struct world *w, uint64_t gpa, uint64_t value)
{
	uint8_t bytes[8];

	put_le64(bytes, value);
	fuzz_must(physmem_write(&w->b.memory.phys, gpa, bytes, sizeof(bytes)) == 0);
}

static void make_tables(struct world *w)
{
	put64(w, ROOT, CONTEXT | 1);
	put64(w, CONTEXT + DEVFN * 16, TABLE | 1);
	put64(w, CONTEXT + DEVFN * 16 + 8, 1); /* three levels */
	put64(w, TABLE, (TABLE + 0x1000) | 3);
	put64(w, TABLE + 0x1000, (TABLE + 0x2000) | 3);
	put64(w, TABLE + 0x1008, 0x200000 | 0x83);
	for (uint64_t k = 0; k < 8; k++)
		put64(w, TABLE + 0x2000 + k * 8, (0x10000 + k * 0x1000) | 3);
	put64(w, REMAP, 0x00400001 | UINT64_C(1) << 40);
	put64(w, REMAP + 16, 0x00410011);
	put64(w, REMAP + 24, DEVFN | 1 << 18);
	for (uint64_t k = 1; k < 5; k++)
		put64(w, QUEUE + (k - 1) * 16, k);
	put64(w, QUEUE + 64, 5 | 3 << 4 | UINT64_C(0xabcd) << 32);
	put64(w, QUEUE + 72, 0x20000);
}

/* @what: 00ppp iiiii xxx flips bit x of byte i of a table; else see below. */
static void event(void *arg, unsigned int what)
{
	struct world *w = arg;
	uint64_t gpa = ROOT + (what >> 8 & 7) % NR_TABLES * UINT64_C(0x1000) + (what >> 3 & 31);
	uint8_t byte;

	switch (what >> 14) {
	case 0:
		/* The context entry that counts is not the first of its page. */
		if (gpa >> 12 == CONTEXT >> 12)
			gpa += DEVFN * 16;
		fuzz_must(physmem_read(&w->b.memory.phys, gpa, &byte, 1) == 0);
		byte ^= (uint8_t)(1 << (what & 7));
		fuzz_must(physmem_write(&w->b.memory.phys, gpa, &byte, 1) == 0);
		break;
	case 1: /* a message, remappable when bit 4 is set */
		vtd_msi(&w->vtd, what & 0x2000 ? VTD_SOURCE_ANY : what >> 8 & 0x1f,
			UINT64_C(0xfee00000) | (what & 0xff) << 2, what >> 8 & 3);
		break;
	case 2:
		vtd_ioapic_msi(&w->vtd, UINT64_C(0xfee00000) | (what & 0x3fff) << 2, what & 0xff);
		break;
	default:
		pci_reset(&w->pci);
		edu_reset(&w->edu);
		vtd_reset(&w->vtd);
		fuzz_must(pci_assign_bars(&w->pci, NULL) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, MEM) == 0);
	fuzz_must(pci_init(&w.pci, &w.b.board, NULL) == 0);
	fuzz_must(vtd_init(&w.vtd, &w.b.board, NULL) == 0);
	fuzz_must(edu_init(&w.edu, &w.pci, DEVFN, &w.vtd, NULL) == 0);
	fuzz_must(pci_assign_bars(&w.pci, NULL) == 0);
	make_tables(&w);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	edu_done(&w.edu);
	vtd_done(&w.vtd);
	pci_done(&w.pci);
	bench_done(&w.b);
	return 0;
}
