// SPDX-License-Identifier: GPL-2.0-or-later
/* The I/O memory management unit: registers, DMA translation, interrupt remapping, queue, faults. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "base/bytes.h"
#include "cpu/physmem.h"
#include "vm/bus.h"
#include "vm/dev/vtd.h"

/* clang-format off */
enum {
	MEM_SIZE = 1 << 20,
	CAP = 0x08, ECAP = 0x10, GCMD = 0x18, GSTS = 0x1c, RTADDR = 0x20, CCMD = 0x28, FSTS = 0x34,
	FECTL = 0x38, FEDATA = 0x3c, FEADDR = 0x40, IQH = 0x80, IQT = 0x88, IQA = 0x90, IRTA = 0xb8,
	IOTLB = 0x208, FRCD = 0x220,
	ROOT = 0x1000, CONTEXT = 0x2000, TABLE3 = 0x3000, TABLE2 = 0x4000, TABLE1 = 0x5000,
	REMAP = 0x6000, QUEUE = 0x7000, PAGE = 0x10000,
	DEVICE = 0x18, /* bus 0, slot 3 */
};
/* clang-format on */

struct fixture {
	uint8_t *ram;
	_Atomic uint8_t flags[MEM_SIZE / GUEST_PAGE_SIZE];
	struct physmem mem;
	struct bus *mmio;
	struct vtd vtd;
	unsigned int nr_messages;
	uint64_t addr;
	uint32_t data;
};

static void take_message(void *arg, uint64_t addr, uint32_t data)
{
	struct fixture *f = arg;

	f->nr_messages++;
	f->addr = addr;
	f->data = data;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct board board;

	assert_non_null(f);
	f->ram = calloc(1, MEM_SIZE);
	assert_non_null(f->ram);
	f->mem.nr = 1;
	f->mem.region[0] =
		(struct physmem_region){ .size = MEM_SIZE, .hva = f->ram, .page_flags = f->flags };
	f->mmio = bus_new("mmio");
	board = (struct board){ .mmio = f->mmio, .mem = &f->mem, .msi = take_message, .msi_arg = f };
	assert_int_equal(vtd_init(&f->vtd, &board, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vtd_done(&f->vtd);
	vtd_done(&f->vtd);
	bus_free(f->mmio);
	free(f->ram);
	free(f);
	return 0;
}

static void out32(struct fixture *f, unsigned int reg, uint32_t v)
{
	bus_write(f->mmio, VTD_BASE + reg, 4, v);
}

static void out64(struct fixture *f, unsigned int reg, uint64_t v)
{
	bus_write(f->mmio, VTD_BASE + reg, 8, v);
}

static uint32_t in32(struct fixture *f, unsigned int reg)
{
	return (uint32_t)bus_read(f->mmio, VTD_BASE + reg, 4);
}

static uint64_t in64(struct fixture *f, unsigned int reg)
{
	return bus_read(f->mmio, VTD_BASE + reg, 8);
}

/* Root, context and tables for DEVICE: address 0 is PAGE, read and write. */
static void enable_translation(struct fixture *f)
{
	put_le64(f->ram + ROOT, CONTEXT | 1);
	put_le64(f->ram + CONTEXT + DEVICE * 16, TABLE3 | 1);
	put_le64(f->ram + CONTEXT + DEVICE * 16 + 8, 1); /* 39 bits */
	put_le64(f->ram + TABLE3, TABLE2 | 3);
	put_le64(f->ram + TABLE2, TABLE1 | 3);
	put_le64(f->ram + TABLE1, PAGE | 3);
	out64(f, RTADDR, ROOT);
	out32(f, GCMD, 1u << 30);
	assert_int_equal(in32(f, GSTS), 1u << 30);
	out32(f, GCMD, 1u << 31);
	assert_int_equal(in32(f, GSTS), 3u << 30);
}

static void enable_remapping(struct fixture *f)
{
	out64(f, IRTA, REMAP | 3); /* 16 entries */
	out32(f, GCMD, 1u << 24);
	out32(f, GCMD, 1u << 25);
	assert_int_equal(in32(f, GSTS), 3u << 24);
}

static void test_registers(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in32(f, 0), 0x10);
	assert_true(in64(f, CAP) & 2ull << 8);
	assert_true(in64(f, ECAP) & 2);
	out64(f, CAP, 0);
	assert_true(in64(f, CAP) != 0);
	/* Invalidations are complete when they can be seen. */
	out64(f, CCMD, 1ull << 63 | 1ull << 61);
	assert_int_equal(in64(f, CCMD) >> 59, 1 << 2 | 1);
	out64(f, IOTLB, 1ull << 63 | 1ull << 60);
	assert_int_equal(in64(f, IOTLB) >> 57, 1 << 3 | 1);
	/* Odd sizes and the space behind the registers do nothing. */
	bus_write(f->mmio, VTD_BASE + RTADDR + 1, 1, 0xff);
	bus_write(f->mmio, VTD_BASE + 0xff8, 8, UINT64_MAX);
	assert_int_equal(in64(f, RTADDR), 0);
	assert_int_equal(bus_read(f->mmio, VTD_BASE + 0xff8, 8), 0);
}

static void test_dma(void **state)
{
	struct fixture *f = *state;
	uint8_t b[8];

	/* Off: addresses are physical. */
	assert_int_equal(vtd_dma_write(&f->vtd, DEVICE, PAGE, "identity", 8), 0);
	assert_memory_equal(f->ram + PAGE, "identity", 8);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, MEM_SIZE - 4, b, 8), -EFAULT);

	enable_translation(f);
	assert_int_equal(vtd_dma_write(&f->vtd, DEVICE, 0x10, "mapped", 6), 0);
	assert_memory_equal(f->ram + PAGE + 0x10, "mapped", 6);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0x10, b, 6), 0);
	assert_memory_equal(b, "mapped", 6);

	/* Across two pages that are not neighbours. */
	put_le64(f->ram + TABLE1 + 8, (PAGE + 0x5000) | 3);
	assert_int_equal(vtd_dma_write(&f->vtd, DEVICE, 0xffe, "abcd", 4), 0);
	assert_memory_equal(f->ram + PAGE + 0xffe, "ab", 2);
	assert_memory_equal(f->ram + PAGE + 0x5000, "cd", 2);

	/* A large page, and pass-through. */
	put_le64(f->ram + TABLE2 + 8, 0x80 | 3);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0x200000 + PAGE + 0x10, b, 6), 0);
	assert_memory_equal(b, "mapped", 6);
	put_le64(f->ram + CONTEXT + DEVICE * 16, TABLE3 | 2 << 2 | 1);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, PAGE + 0x10, b, 6), 0);
	assert_memory_equal(b, "mapped", 6);
	assert_int_equal(in32(f, FSTS), 0);
}

static void expect_fault(struct fixture *f, unsigned int reason, bool is_read)
{
	uint64_t high = in64(f, FRCD + 8);

	assert_int_equal(in32(f, FSTS) & 2, 2);
	assert_int_equal(high >> 32 & 0xff, reason);
	assert_int_equal(high >> 62, 2 | is_read);
	out64(f, FRCD + 8, 1ull << 63);
	assert_int_equal(in32(f, FSTS) & 2, 0);
	out32(f, FSTS, 0x7d);
	assert_int_equal(in32(f, FSTS), 0);
}

static void test_dma_faults(void **state)
{
	struct fixture *f = *state;
	uint8_t b[4] = { 0 };

	enable_translation(f);
	assert_int_equal(vtd_dma_read(&f->vtd, 0x100, 0, b, 4), -EFAULT);
	expect_fault(f, 1, true);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE + 1, 0, b, 4), -EFAULT);
	expect_fault(f, 2, true);
	assert_int_equal(vtd_dma_write(&f->vtd, DEVICE, 0x3000, b, 4), -EFAULT);
	expect_fault(f, 5, false);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0x3000, b, 4), -EFAULT);
	assert_int_equal(in64(f, FRCD), 0x3000);
	/* The second fault only says that there were more. */
	assert_int_equal(vtd_dma_write(&f->vtd, DEVICE, 0x4000, b, 4), -EFAULT);
	assert_int_equal(in64(f, FRCD), 0x3000);
	assert_int_equal(in32(f, FSTS), 3);
	expect_fault(f, 6, true);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 1ull << 39, b, 4), -EFAULT);
	expect_fault(f, 4, true);
	put_le64(f->ram + TABLE2, 0xfffff000000ull | 3);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0, b, 4), -EFAULT);
	expect_fault(f, 7, true);
	put_le64(f->ram + CONTEXT + DEVICE * 16 + 8, 5);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0, b, 4), -EFAULT);
	expect_fault(f, 3, true);
	/* Asked to be quiet. */
	put_le64(f->ram + CONTEXT + DEVICE * 16, TABLE3 | 3);
	assert_int_equal(vtd_dma_read(&f->vtd, DEVICE, 0, b, 4), -EFAULT);
	assert_int_equal(in32(f, FSTS), 0);
	assert_int_equal(f->nr_messages, 0);
}

static void test_fault_event(void **state)
{
	struct fixture *f = *state;
	uint8_t b[4];

	enable_translation(f);
	out32(f, FEDATA, 0x41);
	out64(f, FEADDR, 0xfee00000);
	assert_int_equal(vtd_dma_read(&f->vtd, 0, 0, b, 4), -EFAULT);
	assert_int_equal(f->nr_messages, 0);
	assert_int_equal(in32(f, FECTL), 3u << 30);
	out32(f, FECTL, 0);
	assert_int_equal(f->nr_messages, 1);
	assert_int_equal(f->addr, 0xfee00000);
	assert_int_equal(f->data, 0x41);
	assert_int_equal(in32(f, FECTL), 0);
}

static void test_remapping(void **state)
{
	struct fixture *f = *state;
	uint8_t *entry = f->ram + REMAP + 2 * 16;

	/* Off: messages pass as they are. */
	vtd_msi(&f->vtd, DEVICE, 0xfee01000, 0x30);
	assert_int_equal(f->nr_messages, 1);
	assert_int_equal(f->data, 0x30);

	enable_remapping(f);
	put_le64(entry, 1 | 4 | 0x51ull << 16 | 0x03ull << 40);
	put_le64(entry + 8, DEVICE | 1ull << 18);
	vtd_msi(&f->vtd, DEVICE, 0xfee00010 | 2 << 5, 0);
	assert_int_equal(f->nr_messages, 2);
	assert_int_equal(f->addr, 0xfee03004);
	assert_int_equal(f->data, 0x51);
	/* By handle and subhandle; from the I/O APIC, whose source is not checked. */
	vtd_msi(&f->vtd, DEVICE, 0xfee00018 | 1 << 5, 1);
	assert_int_equal(f->nr_messages, 3);
	vtd_ioapic_msi(&f->vtd, 0xfee00010 | 2 << 5, 0);
	assert_int_equal(f->nr_messages, 4);

	vtd_msi(&f->vtd, DEVICE + 1, 0xfee00010 | 2 << 5, 0);
	expect_fault(f, 0x26, true);
	vtd_msi(&f->vtd, DEVICE, 0xfee00010 | 3 << 5, 0);
	expect_fault(f, 0x22, true);
	vtd_msi(&f->vtd, DEVICE, 0xfee00010 | 16 << 5, 0);
	assert_int_equal(in64(f, FRCD) >> 48, 16);
	expect_fault(f, 0x21, true);
	vtd_msi(&f->vtd, DEVICE, 0xfee00000, 0x30);
	expect_fault(f, 0x25, true);
	assert_int_equal(f->nr_messages, 4);
	/* Compatibility format, when it is allowed. */
	out32(f, GCMD, 1u << 25 | 1u << 23);
	vtd_msi(&f->vtd, DEVICE, 0xfee00000, 0x31);
	assert_int_equal(f->nr_messages, 5);
	assert_int_equal(f->data, 0x31);
}

static void test_queue(void **state)
{
	struct fixture *f = *state;

	out64(f, IQA, QUEUE);
	out32(f, GCMD, 1u << 26);
	put_le64(f->ram + QUEUE, 2); /* IOTLB */
	put_le64(f->ram + QUEUE + 16, 5 | 1 << 5 | 0x1234ull << 32);
	put_le64(f->ram + QUEUE + 24, PAGE);
	out64(f, IQT, 32);
	assert_int_equal(in64(f, IQH), 32);
	assert_int_equal(get_le32(f->ram + PAGE), 0x1234);
	assert_int_equal(in32(f, FSTS), 0);

	/* The tail may wrap, but not lie behind the end; unknown descriptors stop the queue. */
	for (unsigned int i = 0; i < 4096; i += 16)
		put_le64(f->ram + QUEUE + i, 1);
	out64(f, IQT, 16);
	assert_int_equal(in64(f, IQH), 16);
	put_le64(f->ram + QUEUE + 16, 0xf);
	out64(f, IQT, 64);
	assert_int_equal(in64(f, IQH), 16);
	assert_int_equal(in32(f, FSTS), 16);
	put_le64(f->ram + QUEUE + 16, 1);
	out32(f, FSTS, 16);
	out64(f, IQT, 64);
	assert_int_equal(in64(f, IQH), 64);
	out64(f, IQT, 4096);
	assert_int_equal(in64(f, IQH), 64);
	assert_int_equal(in32(f, FSTS), 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fault_event, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remapping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
