/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "vm/dev/pflash.h"

enum { SIZE = 8 * PFLASH_BLOCK };
#define BASE UINT64_C(0xffc00000)

struct fixture {
	struct bench b;
	struct pflash flash;
	uint8_t data[SIZE];
	int fd;
};

static int setup(void **state)
{
	static struct fixture f;
	char path[] = "/tmp/pflash-XXXXXX";
	int r = bench_init(&f.b, 0);

	*state = &f;
	memset(f.data, 0xff, SIZE);
	f.data[1] = 0x5a;
	f.fd = mkstemp(path);
	unlink(path);
	assert_int_equal(write(f.fd, f.data, SIZE), SIZE);
	return r ? r : pflash_init(&f.flash, &f.b.board, BASE, f.data, SIZE, f.fd, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pflash_done(&f->flash);
	pflash_done(&f->flash);
	close(f->fd);
	bench_done(&f->b);
	return 0;
}

static uint64_t rd(struct fixture *f, uint64_t off, unsigned int size)
{
	return bus_read(f->b.mmio, BASE + off, size);
}

static void wr(struct fixture *f, uint64_t off, uint8_t value)
{
	bus_write(f->b.mmio, BASE + off, 1, value);
}

static uint8_t in_file(struct fixture *f, uint64_t off)
{
	uint8_t byte = 0;

	assert_int_equal(pread(f->fd, &byte, 1, (off_t)off), 1);
	return byte;
}

/* What OVMF does to find out whether this is flash. */
static void test_probe(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, 1, 1), 0x5a);
	wr(f, 1, 0x50);
	assert_int_equal(rd(f, 1, 1), 0x5a); /* not RAM */
	wr(f, 1, 0x70);
	assert_int_equal(rd(f, 1, 1), 0); /* not ROM */
	wr(f, 1, 0xff);
	assert_int_equal(rd(f, 1, 1), 0x5a);
	assert_int_equal(rd(f, 0, 8), UINT64_C(0xffffffffffff5aff));
}

static void test_program(void **state)
{
	struct fixture *f = *state;

	wr(f, 0x1000, 0x10);
	wr(f, 0x1000, 0xf0);
	assert_int_equal(rd(f, 0, 1), 0x80); /* status, ready */
	wr(f, 0x1001, 0x40);
	wr(f, 0x1001, 0x12);
	wr(f, 0x1000, 0x10);
	wr(f, 0x1000, 0x3c);
	assert_int_equal(in_file(f, 0x1000), 0xff); /* not yet */
	wr(f, 0x1000, 0xff);
	assert_int_equal(rd(f, 0x1000, 2), 0x1230); /* bits are only cleared */
	assert_int_equal(in_file(f, 0x1000), 0x30);
	assert_int_equal(in_file(f, 0x1001), 0x12);
	wr(f, 0x1fff, 0x20);
	wr(f, 0x1fff, 0xd0);
	wr(f, 0, 0xff);
	assert_int_equal(rd(f, 0x1000, 2), 0xffff);
	assert_int_equal(rd(f, 1, 1), 0x5a); /* another block */
	assert_int_equal(in_file(f, 0x1001), 0xff);
	wr(f, 0, 0x20);
	wr(f, 0, 0xff); /* not confirmed */
	assert_int_equal(rd(f, 0, 1), 0xb0);
	wr(f, 0, 0x50);
	assert_int_equal(rd(f, 1, 1), 0x5a);
}

static void test_buffer(void **state)
{
	struct fixture *f = *state;

	wr(f, 0x2000, 0xe8);
	assert_int_equal(rd(f, 0x2000, 1) & 0x80, 0x80); /* there is room */
	wr(f, 0x2000, 2);
	wr(f, 0x2000, 'a');
	wr(f, 0x2001, 'b');
	wr(f, 0x2002, 'c');
	wr(f, 0x2000, 0xd0);
	assert_int_equal(rd(f, 0, 1), 0x80);
	wr(f, 0, 0xff);
	assert_int_equal(rd(f, 0x2000, 4), 0xff636261);
	wr(f, 0x2000, 0xe8);
	wr(f, 0x2000, 200); /* more than the buffer takes */
	assert_int_equal(rd(f, 0, 1), 0x90);
	pflash_reset(&f->flash);
	assert_int_equal(rd(f, 1, 1), 0x5a);
}

static void test_identification(void **state)
{
	struct fixture *f = *state;

	wr(f, 0, 0x90);
	assert_int_equal(rd(f, 0, 2), 0x1889);
	wr(f, 0x55, 0x98);
	assert_int_equal(rd(f, 0x10, 4) & 0xffffff, 0x595251); /* "QRY" */
	assert_int_equal(rd(f, 0x27, 1), 15);
	assert_int_equal(rd(f, 0x2d, 4), 0x00100007); /* 8 blocks of 4 KiB */
	wr(f, 0, 0x60);
	wr(f, 0, 0x01);
	assert_int_equal(rd(f, 0, 1), 0x80);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	struct pflash other;

	assert_int_equal(pflash_init(&other, &f->b.board, 0, f->data, SIZE + 1, -1, NULL), -EINVAL);
	assert_int_equal(pflash_init(&other, &f->b.board, 0, f->data, 0, -1, NULL), -EINVAL);
	assert_int_equal(pflash_init(&other, &f->b.board, BASE, f->data, SIZE, -1, NULL), -EEXIST);
	pflash_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_probe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identification, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
