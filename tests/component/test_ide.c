/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IDE controller with disks and a CD-ROM drive, driven as drivers do it, and as hostile guests do. */
#include "unit.h"

#include <errno.h>
#include <sched.h>

#include "ide_driver.h"

enum { BSY = 0x80, READY = 0x50, DRQ = 0x58, FAILED = 0x51 };

static int setup(void **state)
{
	static struct ide_world w;

	*state = &w;
	return ide_world_init(&w);
}

static int teardown(void **state)
{
	ide_world_done(*state);
	return 0;
}

static void get(struct ide_world *w, uint64_t gpa, void *buf, size_t n)
{
	assert_int_equal(physmem_read(&w->b.memory.phys, gpa, buf, n), 0);
}

static void put(struct ide_world *w, uint64_t gpa, const void *buf, size_t n)
{
	assert_int_equal(physmem_write(&w->b.memory.phys, gpa, buf, n), 0);
}

static uint8_t in(struct ide_world *w, unsigned int place, unsigned int reg)
{
	return inb(&w->b, (uint16_t)(ports(place) + reg));
}

static void out(struct ide_world *w, unsigned int place, unsigned int reg, uint8_t value)
{
	outb(&w->b, (uint16_t)(ports(place) + reg), value);
}

/* Carries the command out. Returns its status, and takes the interrupt. */
static uint8_t work(struct ide_world *w, unsigned int place)
{
	assert_int_equal(status_of(w, place), BSY | READY);
	assert_int_equal(ata_work(&w->i.worker), 1);
	assert_true(bench_line(&w->b, place < 2 ? 14 : 15));
	return in(w, place, 7);
}

static uint8_t command(struct ide_world *w, unsigned int place, uint8_t cmd, uint64_t lba,
		       uint16_t count)
{
	ide_issue(w, place, cmd, lba, count, false);
	return work(w, place);
}

/* A command by DMA with its data at DATA. */
static uint8_t dma(struct ide_world *w, uint8_t cmd, uint64_t lba, uint16_t count, bool to_memory,
		   bool is_ext)
{
	ide_issue(w, DISK_AT, cmd, lba, count, is_ext);
	assert_int_equal(ata_work(&w->i.worker), 0); /* it waits for its bus master */
	bm_start(w, DISK_AT, to_memory);
	return work(w, DISK_AT);
}

static uint8_t send_packet(struct ide_world *w, const uint8_t *packet)
{
	ide_packet(w, CD_AT, packet, 0xfffe, false);
	return work(w, CD_AT);
}

static void take_attention(struct ide_world *w)
{
	const uint8_t ready[12] = { 0 };

	assert_int_equal(send_packet(w, ready), FAILED);
	assert_int_equal(in(w, CD_AT, 1), 0x64);
}

static void test_identity(void **state)
{
	struct ide_world *w = *state;
	uint8_t id[512];

	assert_int_equal(pci_config_read(&w->pci, IDE_DEVFN, 0, 4), 0x70108086);
	assert_int_equal(pci_config_read(&w->pci, IDE_DEVFN, 8, 4) >> 8, 0x010180);
	/* Signatures. */
	ide_select(w, DISK_AT, 0);
	assert_int_equal(in(w, DISK_AT, 7), READY);
	assert_int_equal(in(w, DISK_AT, 1), 1);
	assert_int_equal(in(w, DISK_AT, 4) | in(w, DISK_AT, 5) << 8, 0);
	ide_select(w, CD_AT, 0);
	assert_int_equal(in(w, CD_AT, 6), 0xb0);
	assert_int_equal(in(w, CD_AT, 7), 0);
	assert_int_equal(in(w, CD_AT, 4) | in(w, CD_AT, 5) << 8, 0xeb14);
	/* Nobody: a driver's test by writing fails, commands are not taken. */
	ide_select(w, NOTHING_AT, 0);
	out(w, NOTHING_AT, 2, 0x55);
	assert_int_equal(in(w, NOTHING_AT, 2), 0);
	out(w, NOTHING_AT, 7, 0xec);
	assert_int_equal(status_of(w, NOTHING_AT), 0);
	ide_select(w, READONLY_AT, 0);
	assert_int_equal(in(w, READONLY_AT, 2), 0x55);

	assert_int_equal(command(w, DISK_AT, 0xec, 0, 0), DRQ);
	assert_false(bench_line(&w->b, 14)); /* the status was read */
	ide_in(w, DISK_AT, id, sizeof(id));
	assert_int_equal(status_of(w, DISK_AT), READY);
	assert_false(bench_line(&w->b, 14)); /* none after the data */
	assert_memory_equal(id + 20, "NS 1", 4);
	assert_int_equal(get_le64(id + 200), 4096);
	assert_int_equal(get_le16(id + 2) * get_le16(id + 6) * get_le16(id + 12), 4032);
	assert_int_equal(get_le16(id + 126), 0x0407); /* multiword 2 of 0 to 2 */
	assert_int_equal(get_le16(id + 176), 0x003f);
	assert_int_equal(get_le16(id + 152), 0); /* no serial ATA */
	assert_int_equal(get_le16(id + 186), 0x6001);
	assert_int_equal(command(w, READONLY_AT, 0xec, 0, 0), DRQ);
	assert_true(w->b.edges[15]);
}

/* Without I/O decoding nothing answers; the same for a channel that is switched off; nor while there is no interrupt. */
static void test_off(void **state)
{
	struct ide_world *w = *state;

	pci_config_write(&w->pci, IDE_DEVFN, 4, 2, 4);
	assert_int_equal(in(w, DISK_AT, 7), 0xff);
	assert_int_equal(status_of(w, READONLY_AT), 0xff);
	out(w, DISK_AT, 7, 0xec);
	outb(&w->b, 0x3f6, 4);
	pci_config_write(&w->pci, IDE_DEVFN, 4, 2, 5);
	assert_int_equal(in(w, DISK_AT, 7), READY);
	pci_config_write(&w->pci, IDE_DEVFN, 0x42, 2, 0);
	assert_int_equal(status_of(w, READONLY_AT), 0xff);
	assert_int_equal(status_of(w, DISK_AT), READY);
	pci_config_write(&w->pci, IDE_DEVFN, 0x40, 4, 0x80000000);
	assert_int_equal(status_of(w, READONLY_AT), READY);
	assert_int_equal(status_of(w, DISK_AT), 0xff);
	ide_reset(&w->i);
	assert_int_equal(status_of(w, DISK_AT), READY);

	outb(&w->b, 0x3f6, 2);
	ide_issue(w, DISK_AT, 0xe5, 0, 0, false);
	assert_int_equal(ata_work(&w->i.worker), 1);
	assert_false(bench_line(&w->b, 14));
	outb(&w->b, 0x3f6, 0);
	assert_true(bench_line(&w->b, 14)); /* it is still wanted */
	assert_int_equal(in(w, DISK_AT, 2), 0xff);
	assert_int_equal(in(w, DISK_AT, 7), READY);
	assert_false(bench_line(&w->b, 14));
}

/* Reads @n sectors through the port, @block at a time, and looks whether they are those from @lba on. */
static void read_all(struct ide_world *w, uint8_t cmd, uint64_t lba, unsigned int n,
		     unsigned int block, bool is_ext)
{
	uint8_t sector[512];

	ide_issue(w, DISK_AT, cmd, lba, (uint16_t)n, is_ext);
	for (unsigned int k = 0; k < n; k++) {
		unsigned int edges;

		if (status_of(w, DISK_AT) & BSY)
			assert_int_equal(ata_work(&w->i.worker), 1);
		edges = w->b.edges[14];
		if (k % block == 0)
			assert_int_equal(in(w, DISK_AT, 7), DRQ);
		ide_in(w, DISK_AT, sector, sizeof(sector));
		assert_int_equal(get_le32(sector), lba + k);
		ata_work(&w->i.worker);
		/* An interrupt for each block but the first, whose came before. */
		assert_int_equal(w->b.edges[14] - edges, (k + 1) % block == 0 && k + 1 < n);
	}
	assert_int_equal(in(w, DISK_AT, 7), READY);
}

static void write_all(struct ide_world *w, uint8_t cmd, uint64_t lba, unsigned int n, bool is_ext)
{
	uint8_t sector[512] = { 0 };

	ide_issue(w, DISK_AT, cmd, lba, (uint16_t)n, is_ext);
	for (unsigned int k = 0; k < n; k++) {
		if (status_of(w, DISK_AT) & BSY)
			assert_int_equal(ata_work(&w->i.worker), 1);
		assert_int_equal(status_of(w, DISK_AT), DRQ);
		put_le32(sector, (uint32_t)(0x10000 + lba + k));
		ide_out(w, DISK_AT, sector, sizeof(sector));
	}
	assert_int_equal(work(w, DISK_AT), READY);
	for (unsigned int k = 0; k < n; k++) {
		assert_int_equal(disk_read(w->disk, (lba + k) * 512, sector, 512), 0);
		assert_int_equal(get_le32(sector), 0x10000 + lba + k);
	}
}

static void test_port(void **state)
{
	struct ide_world *w = *state;
	uint8_t sector[512];

	read_all(w, 0x20, 77, 1, 1, false);
	read_all(w, 0x20, 77, 40, 1, false);
	read_all(w, 0x24, 4000, 96, 1, true);
	read_all(w, 0xc4, 100, 40, 16, false);
	assert_int_equal(command(w, DISK_AT, 0xc6, 0, 4), READY);
	read_all(w, 0x29, 10, 35, 4, true);
	read_all(w, 0x21, 0, 256, 1, false);
	write_all(w, 0x30, 5, 1, false);
	write_all(w, 0x30, 1000, 50, false);
	write_all(w, 0xc5, 2000, 35, false);
	write_all(w, 0x39, 3000, 300, true);
	write_all(w, 0x34, 4095, 1, true);
	assert_int_equal(command(w, DISK_AT, 0xe7, 0, 0), READY);

	/* By 32 bits, by one byte; what is not asked for is nothing. */
	assert_int_equal(command(w, DISK_AT, 0x20, 300, 1), DRQ);
	assert_int_equal(inl(&w->b, 0x1f0), 300);
	assert_int_equal(inb(&w->b, 0x1f0), 0);
	outl(&w->b, 0x1f0, 1);
	for (unsigned int k = 5; k < 512; k += 4)
		(void)inl(&w->b, 0x1f0);
	assert_int_equal(status_of(w, DISK_AT), READY);
	assert_int_equal(inl(&w->b, 0x1f0), 0);
	/* Registers do not change while data is moved, nor does another command begin. */
	assert_int_equal(command(w, DISK_AT, 0x20, 300, 2), DRQ);
	ide_issue(w, DISK_AT, 0x30, 7, 3, false);
	ide_in(w, DISK_AT, sector, sizeof(sector));
	ide_in(w, DISK_AT, sector, sizeof(sector));
	assert_int_equal(get_le32(sector), 301);
	assert_int_equal(in(w, DISK_AT, 7), READY);
}

static void test_errors(void **state)
{
	struct ide_world *w = *state;
	uint8_t sector[512] = { 0 };

	assert_int_equal(command(w, DISK_AT, 0x20, 4095, 2), FAILED);
	assert_int_equal(in(w, DISK_AT, 1), 0x10);
	assert_int_equal(command(w, DISK_AT, 0xb0, 0, 0), FAILED); /* what there is not */
	assert_int_equal(in(w, DISK_AT, 1), 4);
	assert_int_equal(command(w, DISK_AT, 0x60, 0, 1), FAILED);
	assert_int_equal(command(w, DISK_AT, 0x2f, 0, 1), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xa0, 0, 1), FAILED); /* a disk takes no packets */
	/* Writes past the end, and on what is not to be written. */
	ide_issue(w, DISK_AT, 0x30, 4096, 1, false);
	ide_out(w, DISK_AT, sector, sizeof(sector));
	assert_int_equal(work(w, DISK_AT), FAILED);
	ide_issue(w, READONLY_AT, 0x30, 0, 1, false);
	ide_out(w, READONLY_AT, sector, sizeof(sector));
	assert_int_equal(work(w, READONLY_AT), FAILED);
	assert_int_equal(in(w, READONLY_AT, 1), 4);
	/* Blocks that there are not; then commands that need some. */
	assert_int_equal(command(w, DISK_AT, 0xc6, 0, 3), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xc6, 0, 32), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xc6, 0, 0), READY);
	assert_int_equal(command(w, DISK_AT, 0xc4, 0, 1), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xc5, 0, 1), FAILED);
	assert_int_equal(command(w, DISK_AT, 0x39, 0, 1), FAILED);
	assert_int_equal(disk_read(w->disk, 0, sector, 512), 0);
	assert_int_equal(get_le32(sector), 0);
}

/* What systems of the time before LBA do. */
static void test_old(void **state)
{
	struct ide_world *w = *state;
	uint8_t id[512];

	assert_int_equal(command(w, DISK_AT, 0x10, 0, 0), READY);
	assert_int_equal(command(w, DISK_AT, 0x41, 0, 16), READY);
	assert_int_equal(command(w, DISK_AT, 0x70, 4095, 16), READY);
	assert_int_equal(command(w, DISK_AT, 0x70, 4096, 16), FAILED);
	/* Cylinder 2, head 3, sector 4 of 16 heads and 63 sectors. */
	for (unsigned int k = 0; k < 2; k++) {
		ide_select(w, DISK_AT, 3);
		out(w, DISK_AT, 2, 1);
		out(w, DISK_AT, 3, 4);
		out(w, DISK_AT, 4, 2);
		out(w, DISK_AT, 5, 0);
		out(w, DISK_AT, 7, 0x20);
		assert_int_equal(work(w, DISK_AT), DRQ);
		ide_in(w, DISK_AT, id, sizeof(id));
		assert_int_equal(get_le32(id), k ? (2 * 5 + 3) * 32 + 3 : (2 * 16 + 3) * 63 + 3);
		ide_select(w, DISK_AT, 4);
		out(w, DISK_AT, 2, 32);
		out(w, DISK_AT, 7, 0x91);
		assert_int_equal(work(w, DISK_AT), READY);
	}
	/* Now there are 5 heads and 32 sectors. */
	ide_select(w, DISK_AT, 5);
	out(w, DISK_AT, 2, 1);
	out(w, DISK_AT, 3, 4);
	out(w, DISK_AT, 7, 0x20);
	assert_int_equal(work(w, DISK_AT), FAILED);
	ide_select(w, DISK_AT, 0);
	out(w, DISK_AT, 3, 0);
	out(w, DISK_AT, 7, 0x40);
	assert_int_equal(work(w, DISK_AT), FAILED);
	assert_int_equal(command(w, DISK_AT, 0x91, 0, 0), FAILED);
	/* A transfer mode. */
	out(w, DISK_AT, 1, 3);
	assert_int_equal(command(w, DISK_AT, 0xef, 0, 0x44), READY);
	assert_int_equal(command(w, DISK_AT, 0xef, 0, 0x0c),
			 READY); /* PIO: not another one of DMA */
	assert_int_equal(command(w, DISK_AT, 0xef, 0, 0x23), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xef, 0, 0x10), FAILED);
	assert_int_equal(command(w, DISK_AT, 0xec, 0, 0), DRQ);
	ide_in(w, DISK_AT, id, sizeof(id));
	assert_int_equal(get_le16(id + 126), 0x0007);
	assert_int_equal(get_le16(id + 176), 0x103f);
	assert_int_equal(get_le16(id + 110), 5);
	assert_int_equal(get_le16(id + 112), 32);
	assert_int_equal(get_le16(id + 108), 4096 / 5 / 32);
	/* How large it is, in 28 and 48 bits. */
	assert_int_equal(command(w, DISK_AT, 0xf8, 0, 0), READY);
	assert_int_equal(in(w, DISK_AT, 3) | in(w, DISK_AT, 4) << 8, 4095);
	assert_int_equal(in(w, DISK_AT, 6), 0xe0);
	ide_issue(w, DISK_AT, 0x27, UINT64_C(0x112233445566), 0, true);
	assert_int_equal(work(w, DISK_AT), READY);
	assert_int_equal(in(w, DISK_AT, 4), 0xf);
	outb(&w->b, 0x3f6, 0x80);
	assert_int_equal(in(w, DISK_AT, 3), 0);
}

static void test_dma(void **state)
{
	struct ide_world *w = *state;
	uint8_t data[1024];

	ide_table(w, 514, 1024);
	assert_int_equal(dma(w, 0xc8, 77, 2, true, false), READY);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 77);
	assert_int_equal(get_le32(data + 512), 78);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 4); /* interrupt, not active, no error */
	outb(&w->b, BM_PORTS + 2, 0x64);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 0x60);
	outb(&w->b, BM_PORTS, 0);
	assert_int_equal(inl(&w->b, BM_PORTS + 4), PRD_TABLE_AT);

	memset(data, 0x5a, sizeof(data));
	put(w, DATA, data, sizeof(data));
	assert_int_equal(dma(w, 0x35, 4094, 2, false, true), READY);
	outb(&w->b, BM_PORTS, 0);
	assert_int_equal(disk_read(w->disk, 4095 * 512, data, 4), 0);
	assert_int_equal(get_le32(data), 0x5a5a5a5a);
	/* More than the buffer of the worker, in entries of 64 KiB; memory that is left keeps it active. */
	ide_table(w, 65536, 600 * 512);
	assert_int_equal(dma(w, 0x25, 100, 599, true, true), READY);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 5);
	outb(&w->b, BM_PORTS, 0);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 4);
	get(w, DATA + 598 * 512, data, 4);
	assert_int_equal(get_le32(data), 698);
	/* Errors of the drive move nothing. */
	assert_int_equal(dma(w, 0xca, 4095, 2, false, false), FAILED);
	assert_int_equal(in(w, DISK_AT, 1), 0x10);
	outb(&w->b, BM_PORTS, 0);
	/* A trim, of one sector. */
	memset(data, 0, 512);
	put_le64(data, 9 | UINT64_C(1) << 48);
	put(w, DATA, data, 512);
	out(w, DISK_AT, 1, 1);
	ide_table(w, 512, 512);
	assert_int_equal(dma(w, 0x06, 0, 1, false, true), READY);
}

/* A table that names no memory, or too little, the wrong direction, a guest that has not switched bus mastering on. */
static void test_hostile(void **state)
{
	struct ide_world *w = *state;
	uint8_t before[512], after[512], e[8] = { 0 };

	get(w, DATA, before, sizeof(before));
	ide_table(w, 256, 512);
	for (unsigned int k = 0; k < 6; k++) {
		uint32_t table = PRD_TABLE_AT;

		ide_issue(w, DISK_AT, 0xc8, 77, 2, false);
		pci_config_write(&w->pci, IDE_DEVFN, 4, 2, k == 1 ? 1 : 5);
		if (k == 3) { /* an entry that names what is not RAM */
			put_le32(e, 0xfee00000);
			e[4] = e[5] = 0;
			put(w, PRD_TABLE_AT, e, sizeof(e));
		}
		if (k == 4)
			table = 0xfffffff8;
		if (k == 5) { /* a table goes on to the next 64 KiB */
			memset(e, 0, sizeof(e));
			put_le32(e, DATA);
			e[4] = 2;
			table = PRD_TABLE_AT + 0xfff8;
			put(w, table, e, sizeof(e));
			e[5] = 2;
			put(w, table + 8, e, sizeof(e));
		}
		outl(&w->b, BM_PORTS + 4, table);
		outb(&w->b, BM_PORTS, k == 2 ? 1 : 9);
		assert_int_equal(work(w, DISK_AT), FAILED);
		assert_int_equal(in(w, DISK_AT, 1), 4);
		assert_int_equal(inb(&w->b, BM_PORTS + 2), 6);
		outb(&w->b, BM_PORTS, 0);
		outb(&w->b, BM_PORTS + 2, 6);
		get(w, DATA, after, sizeof(after));
		if (k == 0) /* the sector that there is a place for has come */
			put(w, DATA, before, sizeof(before));
		else if (k < 5)
			assert_memory_equal(before, after, sizeof(after));
	}
	get(w, DATA + 2, after, 2);
	assert_memory_equal(before + 2, after, 2);
	ide_table(w, 256, 512);
	assert_int_equal(dma(w, 0xc8, 3, 1, true, false), READY);
}

/* A bus master that is stopped moves nothing more, and the drive waits for it. */
static void test_stopped(void **state)
{
	const uint8_t sense[12] = { 0x03, 0, 0, 0, 18 };
	struct ide_world *w = *state;
	uint8_t data[512];

	ide_table(w, 512, 512);
	ide_issue(w, DISK_AT, 0xc8, 77, 1, false);
	bm_start(w, DISK_AT, true);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 1);
	outb(&w->b, BM_PORTS, 8);
	assert_int_equal(inb(&w->b, BM_PORTS + 2), 0);
	assert_int_equal(ata_work(&w->i.worker), 0);
	bm_start(w, DISK_AT, true);
	assert_int_equal(work(w, DISK_AT), READY);
	get(w, DATA, data, 4);
	assert_int_equal(get_le32(data), 77);
	outb(&w->b, BM_PORTS, 0);

	/* A packet command is begun without it, and comes back when it has data. */
	take_attention(w);
	ide_table(w, 18, 18);
	ide_packet(w, CD_AT, sense, 0, true);
	assert_int_equal(ata_work(&w->i.worker), 1);
	assert_int_equal(status_of(w, CD_AT), BSY | READY);
	assert_int_equal(ata_work(&w->i.worker), 0);
	bm_start(w, CD_AT, true);
	assert_int_equal(work(w, CD_AT), READY);
	assert_int_equal(in(w, CD_AT, 2), 3);
	get(w, DATA, data, 18);
	assert_int_equal(data[2], 6); /* the sense is still there */
	assert_int_equal(data[12], 0x28);
	/* And by DMA to nowhere. */
	outb(&w->b, BM_PORTS, 0);
	ide_packet(w, CD_AT, sense, 0, true);
	bm_start(w, CD_AT, false);
	assert_int_equal(work(w, CD_AT), FAILED);
	assert_int_equal(in(w, CD_AT, 1), 0xb4);
}

static void test_cd(void **state)
{
	const uint8_t ready[12] = { 0 }, capacity[12] = { 0x25 }, bad[12] = { 0xee },
		      toc[12] = { 0x43, 0, 0, 0, 0, 0, 0, 0, 12 };
	struct ide_world *w = *state;
	uint8_t read[12] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 9 }, data[9 * 2048];
	const unsigned int limits[] = { 2048, 3000, 8192, 0xfffe, 0xffff, 0, 1 };
	unsigned int block;

	take_attention(w);
	assert_int_equal(send_packet(w, ready), READY);
	assert_int_equal(in(w, CD_AT, 2), 3);
	assert_int_equal(send_packet(w, capacity), DRQ);
	assert_int_equal(in(w, CD_AT, 2), 2);
	assert_int_equal(in(w, CD_AT, 4), 8);
	ide_in(w, CD_AT, data, 8);
	assert_int_equal(get_be32(data), 63);
	assert_true(bench_line(&w->b, 14)); /* there is one for the end, too */
	assert_int_equal(in(w, CD_AT, 2), 3);
	assert_int_equal(in(w, CD_AT, 7), READY);
	/* Sectors, in blocks of what the guest takes at a time. */
	for (unsigned int k = 0; k < ARRAY_SIZE(limits); k++) {
		memset(data, 0, sizeof(data));
		ide_packet(w, CD_AT, read, (uint16_t)limits[k], false);
		for (size_t n = 0; n < sizeof(data); n += block) {
			ata_work(&w->i.worker);
			assert_int_equal(in(w, CD_AT, 7), DRQ);
			block = in(w, CD_AT, 4) | (unsigned int)in(w, CD_AT, 5) << 8;
			assert_true(block && n + block <= sizeof(data));
			assert_true(!limits[k] || block <= MAX(limits[k], 2u));
			ide_in(w, CD_AT, data + n, block);
		}
		assert_int_equal(in(w, CD_AT, 7), READY);
		for (unsigned int n = 0; n < 9; n++)
			assert_int_equal(get_le32(data + n * 2048), (5 + n) * 4);
	}
	/* By DMA. */
	ide_table(w, 2048, sizeof(data));
	ide_packet(w, CD_AT, read, 0, true);
	bm_start(w, CD_AT, true);
	assert_int_equal(work(w, CD_AT), READY);
	outb(&w->b, BM_PORTS, 0);
	get(w, DATA + 8 * 2048, data, 4);
	assert_int_equal(get_le32(data), 13 * 4);

	read[5] = 60;
	assert_int_equal(send_packet(w, read), FAILED);
	assert_int_equal(in(w, CD_AT, 1), 0x54);
	assert_int_equal(send_packet(w, bad), FAILED);
	assert_int_equal(send_packet(w, toc), DRQ);
	/* Away with it: a drive may be reset at any time. */
	out(w, CD_AT, 7, 0x08);
	assert_int_equal(in(w, CD_AT, 7), 0);
	assert_int_equal(in(w, CD_AT, 5), 0xeb);
	ide_packet(w, CD_AT, toc, 0xfffe, false);
	out(w, CD_AT, 7, 0x08);
	assert_int_equal(ata_work(&w->i.worker), 0);
	/* What is no packet. */
	assert_int_equal(command(w, CD_AT, 0xec, 0, 0), FAILED);
	assert_int_equal(in(w, CD_AT, 4) | in(w, CD_AT, 5) << 8, 0xeb14);
	assert_int_equal(command(w, CD_AT, 0xa1, 0, 0), DRQ);
	ide_in(w, CD_AT, data, 512);
	assert_int_equal(get_le16(data), 0x85c0);
	assert_int_equal(in(w, CD_AT, 7), READY);
	assert_int_equal(command(w, CD_AT, 0xe5, 0, 0), READY);
	assert_int_equal(in(w, CD_AT, 2), 0xff);
	assert_int_equal(command(w, CD_AT, 0xc8, 0, 1), FAILED);
	assert_int_equal(command(w, CD_AT, 0x30, 0, 1), FAILED);
}

static void test_resets(void **state)
{
	struct ide_world *w = *state;
	uint8_t data[512];

	/* In the middle of a read, of a write, of a command. */
	assert_int_equal(command(w, DISK_AT, 0x20, 0, 100), DRQ);
	ide_in(w, DISK_AT, data, 100);
	outb(&w->b, 0x3f6, 4);
	assert_int_equal(status_of(w, DISK_AT), BSY);
	out(w, DISK_AT, 7, 0xec); /* not meanwhile */
	outb(&w->b, 0x3f6, 0);
	assert_int_equal(in(w, DISK_AT, 7), READY);
	assert_int_equal(in(w, DISK_AT, 1), 1);
	assert_int_equal(in(w, DISK_AT, 6), 0xa0);
	ide_issue(w, DISK_AT, 0x30, 0, 1, false);
	ide_out(w, DISK_AT, data, 100);
	outb(&w->b, 0x3f6, 4);
	outb(&w->b, 0x3f6, 0);
	assert_int_equal(command(w, DISK_AT, 0x20, 9, 1), DRQ);
	ide_in(w, DISK_AT, data, sizeof(data));
	assert_int_equal(get_le32(data), 9);
	ide_issue(w, DISK_AT, 0x20, 0, 1, false);
	outb(&w->b, 0x3f6, 4);
	outb(&w->b, 0x3f6, 0);
	assert_int_equal(ata_work(&w->i.worker), 0);
	/* The other channel has nothing to do with it. */
	ide_issue(w, READONLY_AT, 0x20, 5, 1, false);
	outb(&w->b, 0x3f6, 4);
	assert_int_equal(work(w, READONLY_AT), DRQ);
	outb(&w->b, 0x3f6, 0);
	/* Both drives of a channel are asked how they are. */
	ide_select(w, CD_AT, 0);
	out(w, CD_AT, 7, 0x90);
	assert_true(bench_line(&w->b, 14));
	assert_int_equal(in(w, DISK_AT, 6), 0xa0);
	assert_int_equal(in(w, DISK_AT, 1), 1);
	assert_int_equal(in(w, DISK_AT, 7), READY);
	/* The pin. */
	ide_issue(w, DISK_AT, 0x20, 0, 1, false);
	outb(&w->b, BM_PORTS, 9);
	ide_reset(&w->i);
	assert_int_equal(ata_work(&w->i.worker), 0);
	assert_int_equal(inb(&w->b, BM_PORTS), 0);
	assert_int_equal(in(w, DISK_AT, 7), READY);
}

/* The same on the controller's own thread. */
static void test_thread(void **state)
{
	struct ide_world *w = *state;
	uint8_t data[512];

	assert_int_equal(ata_start(&w->i.worker, NULL), 0);
	for (unsigned int k = 0; k < 50; k++) {
		ide_issue(w, DISK_AT, 0x20, k, 20, false);
		for (unsigned int n = 0; n < 20; n++) {
			while (status_of(w, DISK_AT) & BSY)
				;
			ide_in(w, DISK_AT, data, sizeof(data));
			assert_int_equal(get_le32(data), k + n);
		}
	}
	ide_issue(w, DISK_AT, 0x20, 0, 1, false);
	ide_reset(&w->i); /* with a command under way, perhaps */
	ata_stop(&w->i.worker);
	ata_stop(&w->i.worker);
}

/* A read on the controller's thread, when it waits for the disk's limit. */
static void read_and_wait(struct ide_world *w, uint64_t lba)
{
	struct disk_limits limits;
	unsigned int waiting = 0;

	ide_issue(w, DISK_AT, 0xc8, lba, 1, false);
	bm_start(w, DISK_AT, true);
	while (!waiting) {
		disk_get_limits(w->disk, &limits, &waiting);
		sched_yield();
	}
}

/* Neither a pause, nor a reset, nor the end waits for a disk that makes a command wait for its limit, and memory is not
 * touched any more. A bus master that is stopped and started while the disk has the command begins with its new table. */
static void test_limits(void **state)
{
	const struct disk_limits limits = { .bps = 1 }, none = { 0 };
	struct ide_world *w = *state;
	uint8_t data[4];

	ide_table(w, 512, 512);
	assert_int_equal(disk_set_limits(w->disk, &limits, NULL), 0);
	/* It is paid for by those that come after it. */
	assert_int_equal(dma(w, 0xc8, 77, 1, true, false), READY);
	assert_int_equal(ata_start(&w->i.worker, NULL), 0);
	read_and_wait(w, 78);
	ata_pause(&w->i.worker);
	assert_true(status_of(w, DISK_AT) & BSY);
	ata_resume(&w->i.worker);
	ide_reset(&w->i);
	assert_int_equal(status_of(w, DISK_AT), READY);
	read_and_wait(w, 79);
	outb(&w->b, 0x3f6, 4);
	outb(&w->b, 0x3f6, 0);
	read_and_wait(w, 80);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 77);
	outb(&w->b, BM_PORTS, 0);
	outl(&w->b, BM_PORTS + 4, PRD_TABLE_AT);
	outb(&w->b, BM_PORTS, 9);
	assert_int_equal(disk_set_limits(w->disk, &none, NULL), 0);
	while (status_of(w, DISK_AT) & BSY)
		sched_yield();
	assert_int_equal(in(w, DISK_AT, 7), READY);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 80);
	assert_int_equal(disk_set_limits(w->disk, &limits, NULL), 0);
	outb(&w->b, BM_PORTS, 0);
	ide_issue(w, DISK_AT, 0xc8, 81, 1, false);
	bm_start(w, DISK_AT, true);
	while (status_of(w, DISK_AT) & BSY)
		sched_yield();
	read_and_wait(w, 82);
	ata_stop(&w->i.worker);
}

static void test_plug(void **state)
{
	struct ide_world *w = *state;

	assert_int_equal(ide_plug(&w->i, 0, w->disk, false, false, "", NULL), -EEXIST);
	assert_int_equal(ide_plug(&w->i, 4, w->disk, false, false, "", NULL), -EINVAL);
}

/* In the middle of data, and with a command that waits: who has the registers then goes on. */
static void test_saved(void **state)
{
	struct ide_world *w = *state;
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	uint8_t data[512];
	struct err err = ERR_INIT;
	struct str cut;

	assert_int_equal(command(w, DISK_AT, 0x20, 300, 40), DRQ);
	ide_in(w, DISK_AT, data, 100);
	ide_issue(w, READONLY_AT, 0xc8, 11, 1, false);
	ide_table(w, 512, 512);
	ata_pause(&w->i.worker);
	bm_start(w, READONLY_AT, true);
	assert_int_equal(status_of(w, READONLY_AT), BSY | READY); /* of a block that is over */
	ata_settle(&w->i.worker);
	state_save(&ide_state, &w->i, &out);
	ata_resume(&w->i.worker);
	ide_reset(&w->i);
	ata_pause(&w->i.worker);
	assert_int_equal(state_check(&ide_state, &w->i, 1, strbuf_str(&out), 0, NULL), 0);
	state_load(&ide_state, &w->i, 1, strbuf_str(&out));
	ide_state.loaded(&w->i);
	assert_int_equal(ata_work(&w->i.worker), 0); /* not while it is paused */
	ata_resume(&w->i.worker);
	ide_in(w, DISK_AT, data + 100, 412);
	assert_int_equal(status_of(w, DISK_AT), DRQ);
	for (unsigned int k = 1; k < 40; k++) {
		ata_work(&w->i.worker);
		ide_in(w, DISK_AT, data, sizeof(data));
		assert_int_equal(get_le32(data), 300 + k);
	}
	assert_int_equal(in(w, DISK_AT, 7), READY);
	assert_int_equal(in(w, READONLY_AT, 7), READY);
	get(w, DATA, data, 4);
	assert_int_equal(get_le32(data), 11);

	cut = strbuf_str(&out);
	cut.n--;
	assert_int_equal(state_check(&ide_state, &w->i, 1, cut, 0, NULL), -EINVAL);
	out.p[0] = 0; /* there is no first drive */
	assert_int_equal(state_check(&ide_state, &w->i, 1, strbuf_str(&out), 0, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "IDE drive 0 was none"));
	out.p[0] = 1;
	out.p[1] = 1;
	assert_int_equal(state_check(&ide_state, &w->i, 1, strbuf_str(&out), 0, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "a CD-ROM drive"));
}

/* A block that ends before it begins, or after the data. */
static void test_forged(void **state)
{
	struct ide_world *w = *state;
	struct ide_channel *ch = &w->i.channel[0];
	static const uint32_t forged[][3] = { { 600, 512, 512 },
					      { 0, 1024, 512 },
					      { 512, 512, 512 } };

	assert_int_equal(command(w, DISK_AT, 0x20, 300, 1), DRQ);
	for (unsigned int k = 0; k < ARRAY_SIZE(forged); k++) {
		_cleanup_(strbuf_done) struct strbuf out = { 0 };
		struct err err = ERR_INIT;

		ch->at = forged[k][0];
		ch->block = forged[k][1];
		ch->len = forged[k][2];
		state_save(&ide_state, &w->i, &out);
		ch->at = 0;
		ch->block = ch->len = 512;
		assert_int_equal(state_check(&ide_state, &w->i, 1, strbuf_str(&out), 0, &err),
				 -EINVAL);
		assert_non_null(strstr(err_text(&err), "IDE channel 0"));
	}
}

/* The command that is under way ends, its data are in memory, and no other one begins. */
static void test_settled(void **state)
{
	struct ide_world *w = *state;
	uint8_t data[4];

	ide_table(w, 65536, 128000);
	assert_int_equal(ata_start(&w->i.worker, NULL), 0);
	for (unsigned int k = 0; k < 200; k++) {
		ide_issue(w, DISK_AT, 0xc8, k, 250, false);
		bm_start(w, DISK_AT, true);
		ata_pause(&w->i.worker);
		ata_settle(&w->i.worker);
		assert_false(w->i.channel[0].is_running);
		if (!(status_of(w, DISK_AT) & BSY)) {
			get(w, DATA, data, 4);
			assert_int_equal(get_le32(data), k);
		}
		ata_resume(&w->i.worker);
		while (status_of(w, DISK_AT) & BSY)
			;
		outb(&w->b, BM_PORTS, 0);
	}
	ata_stop(&w->i.worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plug, setup, teardown),
		cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
