/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IDE controller: registers in any order, commands, packets, data and tables made of the input. */
#include "fuzz_dev.h"

#include "../component/ide_driver.h"

static const struct fuzz_window windows[] = {
	{ 0x1f0, 8, false },	   { 0x3f6, 1, false }, { 0x170, 8, false },
	{ BM_PORTS, 0x10, false }, { 0x376, 1, false },
};

static struct ide_world w;
static struct fuzz_input *input;

/* Registers out of a snapshot that somebody has made: all zero but for what the input says. */
static void restore(void)
{
	static uint8_t bytes[32 << 10];
	uint64_t n = state_bytes(&ide_state, ide_state.version), half = n / 2;
	struct str in = { (char *)bytes, n };
	uint8_t how = (uint8_t)fuzz_take(input, 1);
	bool is_wild = how & 1;

	fuzz_must(n <= sizeof(bytes));
	memset(bytes, 0, n);
	/* What is not data: before the buffer of each channel, and after it. */
	for (unsigned int k = 0; k < 2; k++) {
		for (uint64_t at = 0; at < half; at++)
			if (at < 96 || at > half - 16)
				bytes[k * half + at] = (uint8_t)fuzz_take(input, 1);
	}
	/* Most inputs are about what comes after the first check. */
	for (unsigned int k = 0; k < IDE_DRIVES && !is_wild; k++) {
		const struct ide_drive *d = &w.i.channel[k / 2].drive[k % 2];
		uint8_t *p = bytes + k / 2 * half + k % 2 * 22;

		p[0] = d->ata.has_drive ^ (how >> 1 & 1);
		p[1] = d->ata.is_cd;
		p[17] = p[17] & 1;
		p[18] = (p[18] & 15) + 1;
		p[19] |= 1;
		p[20] &= 15;
	}
	for (unsigned int k = 0; k < IDE_CHANNELS && !is_wild; k++) {
		uint8_t *p = bytes + k * half + 44; /* device, control, phase, command, packet */

		p[2] %= IDE_NR_PHASES;
		p[16] &= 1;
		p[17] &= 1;
		p[18] &= 1;
		memset(p + 19, 0, 16); /* first, at, block, len */
		put_le16(p + 19, (uint16_t)fuzz_take(input, 1));
		put_le16(p + 23, (uint16_t)fuzz_take(input, 1));
		put_le16(p + 27, 0xc0);
		put_le16(p + 31, 0xb0 + (uint16_t)fuzz_take(input, 1));
		bytes[(k + 1) * half - 1] &= 1;
	}
	ata_pause(&w.i.worker);
	ata_settle(&w.i.worker);
	if (state_check(&ide_state, &w.i, ide_state.version, in, 0, NULL) == 0) {
		state_load(&ide_state, &w.i, ide_state.version, in);
		ide_state.loaded(&w.i);
	}
	ata_resume(&w.i.worker);
	ata_work(&w.i.worker);
}

/* Whatever data the drive wants, or has, a bit of it. */
static void drain(unsigned int place, unsigned int words)
{
	uint8_t data[512];

	for (unsigned int k = 0; k < words; k++) {
		ide_in(&w, place, data, sizeof(data));
		ide_out(&w, place, data, sizeof(data));
		ata_work(&w.i.worker);
	}
}

static void write_table(const uint8_t *bytes, unsigned int at)
{
	ignore_result(physmem_write(&w.b.memory.phys, PRD_TABLE_AT + (at & 0x1ff8), bytes, 16));
}

/*
 * A command as the input has it, mostly whole, and its start; or memory or configuration that changes. Of @what: bits 0 and 1 the
 * drive, 2 to 4 what it is about, 5 that a table is made for DMA, 6 the direction, 8 to 15 how much of its data is moved.
 */
static void event(void *arg, unsigned int what)
{
	unsigned int place = what & 3;
	uint8_t bytes[16];

	if ((what >> 2 & 7) == 7) {
		restore();
		return;
	}
	for (size_t k = 0; k < sizeof(bytes); k++)
		bytes[k] = (uint8_t)fuzz_take(input, 1);
	if (what & 0x20) {
		ide_table(&w, get_le16(bytes + 12) | 2u, get_le16(bytes + 14) | 2u);
		bm_start(&w, place, what & 0x40);
	}
	switch (what >> 2 & 7) {
	case 0:
		write_table(bytes, what >> 4);
		return;
	case 1:
		pci_config_write(&w.pci, IDE_DEVFN, 4, 2, bytes[0] & 7);
		pci_config_write(&w.pci, IDE_DEVFN, 0x40, 4, get_le32(bytes + 1) | 0x80000000);
		return;
	case 2:
	case 3:
		outb(&w.b, (uint16_t)(ports(place) + 1), bytes[10]);
		ide_issue(&w, place, bytes[0], get_le(bytes + 1, 6), get_le16(bytes + 7),
			  what & 0x80);
		break;
	default:
		ide_packet(&w, place, bytes, get_le16(bytes + 12), what & 0x20);
		break;
	}
	ata_work(&w.i.worker);
	drain(place, what >> 8 & 31);
	if (what & 0x8000)
		outb(&w.b, bm_ports(place), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input in = { data, n };
	static bool is_ready;

	if (!is_ready) { /* also its end, and its thread's */
		fuzz_must(ide_world_init(&w) == 0);
		ide_world_done(&w);
		fuzz_must(ide_world_init(&w) == 0);
		fuzz_must(ata_start(&w.i.worker, NULL) == 0);
		ata_stop(&w.i.worker);
	}
	is_ready = true;
	input = &in;
	pci_config_write(&w.pci, IDE_DEVFN, 4, 2, 5);
	ide_reset(&w.i);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, NULL);
	ata_work(&w.i.worker);
	return 0;
}
