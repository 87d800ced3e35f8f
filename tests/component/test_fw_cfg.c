/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "bench.h"
#include "vm/dev/fw_cfg.h"

struct fixture {
	struct bench b;
	struct fw_cfg fw;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 4 << 20);

	*state = &f;
	return r ? r : fw_cfg_init(&f.fw, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fw_cfg_done(&f->fw);
	fw_cfg_done(&f->fw);
	bench_done(&f->b);
	return 0;
}

static void choose(struct bench *b, uint16_t key)
{
	bus_write(b->pio, 0x510, 2, key);
}

static void test_items(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	choose(b, FW_CFG_SIGNATURE);
	assert_int_equal(inb(b, 0x511), 'Q');
	assert_int_equal(inb(b, 0x511), 'E');
	assert_int_equal(inb(b, 0x511), 'M');
	assert_int_equal(inb(b, 0x511), 'U');
	assert_int_equal(inb(b, 0x511), 0); /* past the end */
	choose(b, FW_CFG_ID);
	assert_int_equal(inl(b, 0x511), 3);
	assert_int_equal(fw_cfg_add_u16(&f->fw, FW_CFG_NB_CPUS, 0x1234), 0);
	assert_int_equal(fw_cfg_add_u16(&f->fw, FW_CFG_NB_CPUS, 4), 0); /* replaces */
	assert_int_equal(fw_cfg_add_u64(&f->fw, FW_CFG_RAM_SIZE, UINT64_C(0x123456789a)), 0);
	assert_int_equal(fw_cfg_add_u32(&f->fw, FW_CFG_IRQ0_OVERRIDE, 1), 0);
	choose(b, FW_CFG_NB_CPUS);
	assert_int_equal(bus_read(b->pio, 0x511, 2), 4);
	choose(b, FW_CFG_RAM_SIZE | 0x4000); /* the old write bit */
	assert_int_equal(inb(b, 0x511), 0x9a);
	choose(b, FW_CFG_IRQ0_OVERRIDE);
	assert_int_equal(inb(b, 0x511), 1);
	choose(b, 0x8000 | 0x3fff);
	assert_int_equal(inb(b, 0x511), 0);
	choose(b, 0xffff);
	assert_int_equal(inb(b, 0x511), 0);
	choose(b, 0x1fff);
	assert_int_equal(inb(b, 0x511), 0);
	assert_int_equal(fw_cfg_add_u16(&f->fw, FW_CFG_FILE_FIRST, 1), -EINVAL);
	assert_int_equal(fw_cfg_add_u16(&f->fw, 0xffff, 1), -EINVAL);
	assert_int_equal(fw_cfg_add(&f->fw, 3, "", FW_CFG_MAX_BYTES + 1), -E2BIG);
	outb(b, 0x510, 5); /* not 16 bits: ignored */
	outb(b, 0x511, 5); /* nothing is writable */
	fw_cfg_reset(&f->fw);
	assert_int_equal(inb(b, 0x511), 'Q');
}

static void test_files(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	char name[64];
	uint8_t dir[4 + 3 * 64];

	assert_int_equal(fw_cfg_add_file(&f->fw, "etc/m", "mmm", 3), 0);
	assert_int_equal(fw_cfg_add_file(&f->fw, "etc/z", "zz", 2), 0);
	assert_int_equal(fw_cfg_add_file(&f->fw, "etc/a", "a", 1), 0);
	assert_int_equal(fw_cfg_add_file(&f->fw, "etc/m", "x", 1), -EEXIST);
	assert_int_equal(fw_cfg_add_file(&f->fw, "", "x", 1), -EINVAL);
	memset(name, 'n', 56);
	name[56] = 0;
	assert_int_equal(fw_cfg_add_file(&f->fw, name, "x", 1), -EINVAL);
	choose(b, FW_CFG_FILE_DIR);
	for (size_t k = 0; k < sizeof(dir); k++)
		dir[k] = inb(b, 0x511);
	assert_int_equal(get_be32(dir), 3);
	assert_string_equal((char *)dir + 4 + 8, "etc/a");
	assert_int_equal(get_be16(dir + 4 + 4), FW_CFG_FILE_FIRST);
	assert_string_equal((char *)dir + 4 + 64 + 8, "etc/m");
	assert_int_equal(get_be32(dir + 4 + 64), 3);
	choose(b, get_be16(dir + 4 + 64 + 4));
	assert_int_equal(inb(b, 0x511), 'm');
	for (int k = 3; k < FW_CFG_MAX_FILES; k++) {
		snprintf(name, sizeof(name), "f%d", k);
		assert_int_equal(fw_cfg_add_file(&f->fw, name, NULL, 0), 0);
	}
	assert_int_equal(fw_cfg_add_file(&f->fw, "one more", "x", 1), -ENOSPC);
}

static uint32_t dma(struct fixture *f, uint32_t control, uint32_t len, uint64_t addr)
{
	struct physmem *mem = &f->b.memory.phys;
	uint8_t block[16];

	put_be32(block, control);
	put_be32(block + 4, len);
	put_be64(block + 8, addr);
	assert_int_equal(physmem_write(mem, 0x1000, block, 16), 0);
	outl(&f->b, 0x514, 0);
	outl(&f->b, 0x518, __builtin_bswap32(0x1000));
	assert_int_equal(physmem_read(mem, 0x1000, block, 16), 0);
	return get_be32(block);
}

static void test_dma(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	uint8_t data[32];

	assert_int_equal(inl(b, 0x514), 0x554d4551); /* "QEMU", big endian */
	assert_int_equal(inl(b, 0x518), 0x47464320);
	assert_int_equal(fw_cfg_add_file(&f->fw, "file", "0123456789", 10), 0);
	memset(data, 0xee, sizeof(data));
	assert_int_equal(physmem_write(&b->memory.phys, 0x2000, data, 32), 0);
	assert_int_equal(dma(f, FW_CFG_FILE_FIRST << 16 | 8 | 2, 4, 0x2000), 0);
	assert_int_equal(dma(f, 4, 3, 0), 0);	   /* skip */
	assert_int_equal(dma(f, 2, 8, 0x2004), 0); /* three bytes are left, then zeros */
	assert_int_equal(physmem_read(&b->memory.phys, 0x2000, data, 32), 0);
	assert_memory_equal(data, "0123789\0\0\0\0\0\xee", 13);
	assert_int_equal(dma(f, 4, UINT32_MAX, 0), 0);
	assert_int_equal(dma(f, 16, 4, 0x2000), 1); /* no writing */
	assert_int_equal(dma(f, 8 | 2, 4, 0xa0000), 1);
	assert_int_equal(dma(f, 8 | 2, 4, UINT64_MAX - 1), 1);
	assert_int_equal(dma(f, 2, UINT32_MAX, 0x3ff000), 1); /* runs out of memory */
	assert_int_equal(dma(f, 2, 0, 0xa0000), 0);
	/* A block that is nowhere. */
	outl(b, 0x514, UINT32_MAX);
	outl(b, 0x518, UINT32_MAX);
	outl(b, 0x514, 0);
	outl(b, 0x518, __builtin_bswap32(0x3ffffc));
	bus_write(b->pio, 0x518, 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_items, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
