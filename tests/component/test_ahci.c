/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SATA controller with a disk and a CD-ROM drive, driven as drivers do it, and as hostile guests do. */
#include "unit.h"

#include <errno.h>
#include <sched.h>

#include "ahci_driver.h"

static int setup(void **state)
{
	static struct ahci_world w;

	*state = &w;
	return ahci_world_init(&w);
}

static int teardown(void **state)
{
	struct ahci_world *w = *state;

	ahci_world_done(w);
	return 0;
}

static void get(struct ahci_world *w, uint64_t gpa, void *buf, size_t n)
{
	assert_int_equal(physmem_read(&w->b.memory.phys, gpa, buf, n), 0);
}

/* Returns PxTFD. */
static uint32_t run(struct ahci_world *w, uint64_t port, const uint8_t *fis, const uint8_t *packet,
		    uint32_t bytes)
{
	ahci_build(w, fis, packet, 514, bytes);
	set(w, port + 0x10, UINT32_MAX);
	set(w, port + 0x38, 1);
	assert_true(reg(w, port + 0x20) & 0x80); /* busy */
	assert_int_equal(ata_work(&w->a.worker), 1);
	return reg(w, port + 0x20);
}

static uint32_t command(struct ahci_world *w, uint8_t cmd, uint64_t lba, uint16_t count,
			uint32_t bytes)
{
	uint8_t fis[20];

	ahci_fis(fis, cmd, lba, count);
	return run(w, P0, fis, NULL, bytes);
}

static uint32_t send_packet(struct ahci_world *w, const uint8_t *packet, uint32_t bytes)
{
	uint8_t fis[20];
	uint32_t tfd;

	ahci_fis(fis, 0xa0, 0, 0);
	fis[3] = 1;
	tfd = run(w, P1, fis, packet, bytes);
	if (tfd & 1) { /* after an error the port stands still until it is started again */
		set(w, P1 + 0x18, 0x10);
		set(w, P1 + 0x18, 0x11);
	}
	return tfd;
}

static void test_identity(void **state)
{
	struct ahci_world *w = *state;
	uint8_t id[512];

	assert_int_equal(pci_config_read(&w->pci, AHCI_DEVFN, 0, 4), 0x29228086);
	assert_int_equal(reg(w, ABAR) & 31, AHCI_PORTS - 1);
	assert_int_equal(reg(w, P0 + 0x28), 0x123);
	assert_int_equal(reg(w, P0 + 0x24), 0x00000101);
	assert_int_equal(reg(w, P1 + 0x24), 0xeb140101);
	assert_int_equal(reg(w, ABAR + 0x200 + 0x28), 0);
	ahci_enable(w, P0);
	assert_int_equal(reg(w, P0 + 0x20), 0x150);
	assert_int_equal(command(w, 0xec, 0, 0, 512), 0x50);
	get(w, DATA, id, 512);
	assert_memory_equal(id + 20, "NS 1", 4); /* swapped in words */
	assert_int_equal(get_le64(id + 200), 4096);
	assert_int_equal(reg(w, P0 + 0x10), 3); /* PIO setup, then registers */
	assert_int_equal(reg(w, ABAR + 8), 1);
	assert_true(bench_line(&w->b, 16)); /* INTA of a chipset slot */
	set(w, P0 + 0x10, 3);
	set(w, ABAR + 8, 1);
	assert_false(bench_line(&w->b, 16));
	get(w, LIST + 4, id, 4);
	assert_int_equal(get_le32(id), 512); /* bytes moved */
	get(w, RX_FIS + 0x20, id, 20);
	assert_int_equal(id[0], 0x5f);
	assert_int_equal(id[15], 0x50);
}

static void test_disk(void **state)
{
	struct ahci_world *w = *state;
	uint8_t data[1024];

	ahci_enable(w, P0);
	assert_int_equal(command(w, 0x25, 77, 2, 1024), 0x50);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 77);
	assert_int_equal(get_le32(data + 512), 78);
	memset(data, 0x5a, sizeof(data));
	assert_int_equal(physmem_write(&w->b.memory.phys, DATA, data, sizeof(data)), 0);
	assert_int_equal(command(w, 0xca, 4094, 2, 1024), 0x50);
	assert_int_equal(command(w, 0xea, 0, 0, 0), 0x50);
	assert_int_equal(command(w, 0xc8, 4093, 2, 1024), 0x50);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 4093);
	assert_int_equal(get_le32(data + 512), 0x5a5a5a5a);
	/* Many sectors: more than the buffer. */
	assert_int_equal(command(w, 0x25, 0, 1000, 512000), 0x50);
	get(w, DATA + 999 * 512, data, 512);
	assert_int_equal(get_le32(data), 999);
	assert_int_equal(command(w, 0xf8, 0, 0, 0), 0x50);
	get(w, RX_FIS + 0x40, data, 20);
	assert_int_equal(get_le(data + 4, 3), 4095);
	/* Past the end; then nothing goes on until the port is restarted. */
	assert_int_equal(command(w, 0x25, 4095, 2, 1024), 0x1051);
	assert_int_equal(reg(w, P0 + 0x38), 1);
	assert_true(reg(w, P0 + 0x10) & 1 << 30);
	assert_int_equal(ata_work(&w->a.worker), 0);
	set(w, P0 + 0x18, 0x10);
	assert_int_equal(reg(w, P0 + 0x38), 0);
	set(w, P0 + 0x18, 0x11);
	assert_int_equal(command(w, 0xb0, 0, 0, 0), 0x451);
}

static void test_cd(void **state)
{
	struct ahci_world *w = *state;
	const uint8_t ready[12] = { 0 }, sense[12] = { 0x03, 0, 0, 0, 18 },
		      inquiry[12] = { 0x12, 0, 0, 0, 36 }, capacity[12] = { 0x25 },
		      toc[12] = { 0x43, 0, 0, 0, 0, 0, 0, 0, 255 },
		      config[12] = { 0x46, 0, 0, 0, 0, 0, 0, 0, 255 },
		      mode[12] = { 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255 }, bad[12] = { 0xee };
	uint8_t read[12] = { 0x28 }, data[4096], fis[20];

	ahci_enable(w, P1);
	assert_int_equal(send_packet(w, ready, 0), 0x6451); /* the medium is new */
	assert_int_equal(send_packet(w, sense, 18), 0x50);
	get(w, DATA, data, 18);
	assert_int_equal(data[2], 6);
	assert_int_equal(data[12], 0x28);
	assert_int_equal(send_packet(w, ready, 0), 0x50);
	assert_int_equal(send_packet(w, inquiry, 36), 0x50);
	get(w, DATA, data, 36);
	assert_int_equal(data[0], 5);
	assert_memory_equal(data + 8, "ATOLL   CD-ROM  ", 16);
	assert_int_equal(send_packet(w, capacity, 8), 0x50);
	get(w, DATA, data, 8);
	assert_int_equal(get_be32(data), 63);
	assert_int_equal(get_be32(data + 4), 2048);
	put_be32(read + 2, 5);
	put_be16(read + 7, 2);
	assert_int_equal(send_packet(w, read, 4096), 0x50);
	get(w, DATA, data, 4096);
	assert_int_equal(get_le32(data), 20);
	assert_int_equal(get_le32(data + 2048), 24);
	put_be32(read + 2, 63);
	assert_int_equal(send_packet(w, read, 4096), 0x5451);
	assert_int_equal(send_packet(w, toc, 20), 0x50);
	get(w, DATA, data, 20);
	assert_int_equal(get_be16(data), 18);
	assert_int_equal(get_be32(data + 16), 64);
	assert_int_equal(send_packet(w, config, 64), 0x50);
	get(w, DATA, data, 8);
	assert_int_equal(get_be16(data + 6), 8);
	assert_int_equal(send_packet(w, mode, 64), 0x50);
	assert_int_equal(send_packet(w, bad, 0), 0x5451);
	ahci_fis(fis, 0xa1, 0, 0);
	assert_int_equal(run(w, P1, fis, NULL, 512), 0x50);
	get(w, DATA, data, 512);
	assert_int_equal(get_le16(data), 0x85c0);
}

/* Descriptors that name no memory, too little of it, devices; lists nowhere. */
static void test_hostile(void **state)
{
	struct ahci_world *w = *state;
	struct physmem *m = &w->b.memory.phys;
	uint8_t fis[20], prd[16] = { 0 };

	ahci_enable(w, P0);
	assert_int_equal(command(w, 0x25, 0, 8, 1024), 0x451); /* 4096 bytes into 1024 */
	assert_true(reg(w, P0 + 0x10) & 1 << 27);
	ahci_enable(w, P0);
	ahci_fis(fis, 0x25, 0, 1);
	ahci_build(w, fis, NULL, 512, 512);
	put_le32(prd, ABAR);
	put_le32(prd + 12, 511);
	assert_int_equal(physmem_write(m, TABLE + 0x80, prd, 16), 0);
	set(w, P0 + 0x38, 1);
	assert_int_equal(ata_work(&w->a.worker), 1);
	assert_int_equal(reg(w, P0 + 0x20), 0x451);
	assert_int_equal(reg(w, P0 + 0x14), 0xfdc000ff); /* nothing was written there */
	ahci_enable(w, P0);
	set(w, P0 + 0x18, 0x10);
	set(w, P0, 0xfffffc00);
	set(w, P0 + 4, UINT32_MAX);
	set(w, P0 + 8, 0xffffff00);
	set(w, P0 + 12, UINT32_MAX);
	set(w, P0 + 0x18, 0x11);
	set(w, P0 + 0x38, UINT32_MAX);
	assert_int_equal(ata_work(&w->a.worker), 1);
	assert_int_equal(reg(w, P0 + 0x20), 0x451);
	set(w, ABAR + 4, 1); /* and all is well after a reset */
	assert_int_equal(reg(w, P0 + 0x38), 0);
	ahci_enable(w, P0);
	assert_int_equal(command(w, 0x25, 3, 1, 512), 0x50);
}

static void test_resets(void **state)
{
	struct ahci_world *w = *state;
	uint8_t fis[20] = { 0x27 };

	ahci_enable(w, P0);
	/* COMRESET. */
	set(w, P0 + 0x2c, 1);
	assert_int_equal(reg(w, P0 + 0x28), 0);
	set(w, P0 + 0x2c, 0);
	assert_int_equal(reg(w, P0 + 0x28), 0x123);
	assert_int_equal(reg(w, P0 + 0x20), 0x150);
	assert_true(reg(w, P0 + 0x30) & 1 << 26);
	/* A software reset by two FISes without the command bit. */
	fis[15] = 4;
	ahci_build(w, fis, NULL, 0, 0);
	set(w, P0 + 0x38, 1);
	assert_int_equal(ata_work(&w->a.worker), 1);
	fis[15] = 0;
	ahci_build(w, fis, NULL, 0, 0);
	set(w, P0 + 0x38, 1);
	assert_int_equal(ata_work(&w->a.worker), 1);
	assert_int_equal(reg(w, P0 + 0x38), 0);
	assert_int_equal(reg(w, P0 + 0x24), 0x101);
	assert_int_equal(reg(w, P0 + 0x20), 0x150);
	set(w, P0 + 0x38, 1);
	ahci_reset(&w->a);
	assert_int_equal(reg(w, P0 + 0x18), 6);
	assert_int_equal(ata_work(&w->a.worker), 0);
}

/* The same on the controller's own thread. */
static void test_thread(void **state)
{
	struct ahci_world *w = *state;
	uint8_t fis[20], data[4];

	assert_int_equal(ata_start(&w->a.worker, NULL), 0);
	ahci_enable(w, P0);
	for (unsigned int k = 0; k < 50; k++) {
		ahci_fis(fis, 0x25, k, 1);
		ahci_build(w, fis, NULL, 512, 512);
		set(w, P0 + 0x38, 1);
		while (reg(w, P0 + 0x38))
			;
		get(w, DATA, data, 4);
		assert_int_equal(get_le32(data), k);
	}
	set(w, P0 + 0x38, 1);
	ahci_reset(&w->a); /* with a command under way, perhaps */
	ata_stop(&w->a.worker);
	ata_stop(&w->a.worker);
}

/* Fills slot @slot of the list with a queued command of tag @slot, as a driver that has several under way. */
static void queue(struct ahci_world *w, unsigned int slot, uint8_t cmd, uint64_t lba, uint16_t n)
{
	struct physmem *m = &w->b.memory.phys;
	uint64_t table = TABLE + slot * 0x100;
	uint8_t fis[20], header[32] = { 5, 0, 1, 0 }, prd[16] = { 0 };

	ahci_fis(fis, cmd, lba, (uint16_t)(slot << 3));
	fis[3] = (uint8_t)n;
	fis[11] = (uint8_t)(n >> 8);
	put_le32(header + 8, (uint32_t)table);
	put_le32(prd, DATA + slot * 0x10000);
	put_le32(prd + 12, n * 512u - 1);
	assert_int_equal(physmem_write(m, LIST + slot * 32, header, 32), 0);
	assert_int_equal(physmem_write(m, table, fis, 20), 0);
	assert_int_equal(physmem_write(m, table + 0x80, prd, 16), 0);
}

static void test_queue(void **state)
{
	struct ahci_world *w = *state;
	uint8_t data[512], fis[8];

	ahci_enable(w, P0);
	assert_true(reg(w, ABAR) & 1 << 30);
	assert_int_equal(command(w, 0xec, 0, 0, 512), 0x50);
	get(w, DATA, data, 512);
	assert_int_equal(get_le16(data + 150) & 31, 31);
	assert_true(get_le16(data + 152) & 0x100);
	/* Three at once; the device is not busy meanwhile. */
	queue(w, 1, 0x60, 7, 1);
	queue(w, 2, 0x60, 9, 2);
	assert_int_equal(physmem_write(&w->b.memory.phys, DATA + 0x30000, "AB", 2), 0);
	queue(w, 3, 0x61, 5, 1);
	set(w, P0 + 0x10, UINT32_MAX);
	set(w, P0 + 0x34, 0xe);
	set(w, P0 + 0x38, 0xe);
	assert_int_equal(reg(w, P0 + 0x20), 0x50);
	assert_int_equal(reg(w, P0 + 0x34), 0xe);
	assert_int_equal(ata_work(&w->a.worker), 3);
	assert_int_equal(reg(w, P0 + 0x34), 0);
	assert_int_equal(reg(w, P0 + 0x38), 0);
	assert_int_equal(reg(w, P0 + 0x10), 1 << 3);
	get(w, RX_FIS + 0x58, fis, 8);
	assert_int_equal(fis[0], 0xa1);
	assert_int_equal(get_le32(fis + 4), 8);
	get(w, DATA + 0x10000, data, 4);
	assert_int_equal(get_le32(data), 7);
	get(w, DATA + 0x20200, data, 4);
	assert_int_equal(get_le32(data), 10);
	assert_int_equal(disk_read(w->disk, 5 * 512, data, 512), 0);
	assert_memory_equal(data, "AB", 2);
	/* One that fails stops the others, and the log has its tag. */
	queue(w, 4, 0x60, 4096, 1);
	queue(w, 5, 0x60, 0, 1);
	set(w, P0 + 0x34, 0x30);
	set(w, P0 + 0x38, 0x30);
	assert_int_equal(ata_work(&w->a.worker), 1);
	assert_int_equal(reg(w, P0 + 0x34), 0x30);
	assert_true(reg(w, P0 + 0x10) & 1 << 30);
	assert_int_equal(reg(w, P0 + 0x20), 0x1051);
	set(w, P0 + 0x18, 0x10);
	assert_int_equal(reg(w, P0 + 0x34), 0);
	set(w, P0 + 0x18, 0x11);
	assert_int_equal(command(w, 0x2f, 0x10, 1, 512), 0x50);
	get(w, DATA, data, 512);
	assert_int_equal(data[0], 4);
	assert_int_equal(data[3], 0x10);
	assert_int_equal(data[4] | data[5] << 8, 4096);
	assert_int_equal(command(w, 0x2f, 0, 1, 512), 0x50);
	get(w, DATA, data, 512);
	assert_int_equal(get_le16(data + 0x20), 1);
	assert_int_equal(command(w, 0x2f, 0x30, 1, 512), 0x451);
}

/* A read on the controller's thread, when it waits for the disk's limit. */
static void read_and_wait(struct ahci_world *w, uint64_t lba)
{
	struct disk_limits limits;
	unsigned int waiting = 0;
	uint8_t fis[20];

	ahci_enable(w, P0);
	ahci_fis(fis, 0x25, lba, 1);
	ahci_build(w, fis, NULL, 512, 512);
	set(w, P0 + 0x38, 1);
	while (!waiting) {
		disk_get_limits(w->disk, &limits, &waiting);
		sched_yield();
	}
}

/* Neither a pause, nor a reset, nor the end waits for a disk that makes a command wait for its limit, and memory is not
 * touched any more. */
static void test_limits(void **state)
{
	const struct disk_limits limits = { .bps = 1 };
	struct ahci_world *w = *state;
	uint8_t data[4];

	assert_int_equal(disk_set_limits(w->disk, &limits, NULL), 0);
	ahci_enable(w, P0);
	/* It is paid for by those that come after it. */
	assert_int_equal(command(w, 0x25, 77, 1, 512), 0x50);
	assert_int_equal(ata_start(&w->a.worker, NULL), 0);
	read_and_wait(w, 78);
	ata_pause(&w->a.worker);
	assert_true(reg(w, P0 + 0x20) & 0x80);
	ata_resume(&w->a.worker);
	ahci_reset(&w->a);
	assert_int_equal(reg(w, P0 + 0x38), 0);
	read_and_wait(w, 79);
	ata_stop(&w->a.worker);
	get(w, DATA, data, sizeof(data));
	assert_int_equal(get_le32(data), 77);
}

/* Ranges of a trim are checked before any is given up. */
static void test_trim(void **state)
{
	struct ahci_world *w = *state;
	struct physmem *m = &w->b.memory.phys;
	uint8_t ranges[512] = { 0 }, fis[20];

	put_le64(ranges, 8 | UINT64_C(8) << 48);
	put_le64(ranges + 8, 4095 | UINT64_C(2) << 48);
	ahci_enable(w, P0);
	assert_int_equal(physmem_write(m, DATA, ranges, 512), 0);
	ahci_fis(fis, 0x06, 0, 1);
	fis[3] = 1;
	assert_int_equal(run(w, P0, fis, NULL, 512), 0x1051);
	ahci_enable(w, P0);
	put_le64(ranges + 8, 4095 | UINT64_C(1) << 48);
	assert_int_equal(physmem_write(m, DATA, ranges, 512), 0);
	assert_int_equal(run(w, P0, fis, NULL, 512), 0x50);
	fis[3] = 0;
	assert_int_equal(run(w, P0, fis, NULL, 512), 0x451);
}

/* A guest that has not switched bus mastering on, and a machine that must hold still. */
static void test_master(void **state)
{
	struct ahci_world *w = *state;
	uint8_t before[64], after[64];

	ahci_enable(w, P0);
	pci_config_write(&w->pci, AHCI_DEVFN, 4, 2, 2);
	get(w, RX_FIS + 0x40, before, 64);
	assert_int_equal(command(w, 0x25, 3, 1, 512), 0x451);
	assert_true(reg(w, P0 + 0x10) & 1 << 27);
	get(w, RX_FIS + 0x40, after, 64);
	assert_memory_equal(before, after, 64);
	pci_config_write(&w->pci, AHCI_DEVFN, 4, 2, 6);
	ahci_enable(w, P0);
	assert_int_equal(command(w, 0x25, 3, 1, 512), 0x50);
	ata_pause(&w->a.worker);
	set(w, P0 + 0x38, 1);
	assert_int_equal(ata_work(&w->a.worker), 0);
	ata_resume(&w->a.worker);
	assert_int_equal(ata_work(&w->a.worker), 1);
}

static void test_plug(void **state)
{
	struct ahci_world *w = *state;

	assert_int_equal(ahci_plug(&w->a, 0, w->disk, false, false, "", NULL), -EEXIST);
	assert_int_equal(ahci_plug(&w->a, 6, w->disk, false, false, "", NULL), -EINVAL);
}

/* Between two commands: the one that waits is carried out by whoever has the registers then. */
static void test_saved(void **state)
{
	struct ahci_world *w = *state;
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	uint8_t fis[20], data[4];
	struct err err = ERR_INIT;
	struct str cut;

	ahci_enable(w, P0);
	assert_int_equal(command(w, 0x25, 4096, 1, 512), 0x1051); /* it is to know of its errors */
	set(w, P0 + 0x18, 0x10);
	set(w, P0 + 0x18, 0x11);
	ahci_fis(fis, 0x25, 78, 1);
	ahci_build(w, fis, NULL, 512, 512);
	ata_pause(&w->a.worker);
	set(w, P0 + 0x38, 1);
	ata_settle(&w->a.worker);
	state_save(&ahci_state, &w->a, &out);
	ahci_reset(&w->a);
	assert_int_equal(reg(w, P0 + 0x38), 0);
	assert_int_equal(reg(w, P0), 0);
	assert_int_equal(state_check(&ahci_state, &w->a, 1, strbuf_str(&out), 0, NULL), 0);
	state_load(&ahci_state, &w->a, 1, strbuf_str(&out));
	ahci_state.loaded(&w->a);
	assert_int_equal(reg(w, P0 + 0x38), 1);
	assert_int_equal(ata_work(&w->a.worker), 0); /* not while it is paused */
	ata_resume(&w->a.worker);
	assert_int_equal(ata_work(&w->a.worker), 1);
	assert_int_equal(reg(w, P0 + 0x20), 0x50);
	get(w, DATA, data, 4);
	assert_int_equal(get_le32(data), 78);

	cut = strbuf_str(&out);
	cut.n--;
	assert_int_equal(state_check(&ahci_state, &w->a, 1, cut, 0, NULL), -EINVAL);
	out.p[8] = 0; /* port 0 has no drive */
	assert_int_equal(state_check(&ahci_state, &w->a, 1, strbuf_str(&out), 0, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "SATA port 0 had nothing"));
}

/* The command that is under way ends, its data are in memory, and no other one begins. */
static void test_settled(void **state)
{
	struct ahci_world *w = *state;
	uint8_t fis[20], data[4];

	assert_int_equal(ata_start(&w->a.worker, NULL), 0);
	ahci_enable(w, P0);
	for (unsigned int k = 0; k < 200; k++) {
		ahci_fis(fis, 0x25, k, 1000);
		ahci_build(w, fis, NULL, 512, 512000);
		set(w, P0 + 0x38, 1);
		ata_pause(&w->a.worker);
		ata_settle(&w->a.worker);
		assert_int_equal(w->a.port[0].running, -1);
		if (!reg(w, P0 + 0x38)) {
			get(w, DATA, data, 4);
			assert_int_equal(get_le32(data), k);
		}
		ata_resume(&w->a.worker);
		while (reg(w, P0 + 0x38))
			;
	}
	ata_stop(&w->a.worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trim, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plug, setup, teardown),
		cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
