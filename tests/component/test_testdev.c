/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "bench.h"
#include "vm/dev/debug_exit.h"
#include "vm/dev/testdev.h"

struct fixture {
	struct bench b;
	struct testdev dev;
	struct debug_exit exit;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	if (r == 0)
		r = testdev_init(&f.dev, &f.b.board, NULL);
	return r ? r : debug_exit_init(&f.exit, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	debug_exit_done(&f->exit);
	testdev_done(&f->dev);
	testdev_done(&f->dev);
	bench_done(&f->b);
	return 0;
}

static void test_echo(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outl(b, 0xe0, 0x12345678);
	assert_int_equal(inl(b, 0xe0), 0x12345678);
	assert_int_equal(bus_read(b->pio, 0xe2, 2), 0x1234);
	outb(b, 0xe1, 0xff);
	assert_int_equal(inl(b, 0xe0), 0x1234ff78);
	outb(b, 0xe8, 0x42);
	assert_int_equal(inb(b, 0xe8), 0x42);
	outl(b, 0xe4, 0x1000); /* flush */
	bus_write(b->mmio, TESTDEV_MMIO_BASE + 3, 4, 0xaabbccdd);
	assert_int_equal(bus_read(b->mmio, TESTDEV_MMIO_BASE + 4, 2), 0xbbcc);
	assert_int_equal(bus_read(b->mmio, TESTDEV_MMIO_BASE + 0xffff, 1), 0);
	testdev_reset(&f->dev);
	assert_int_equal(inl(b, 0xe0), 0);
	assert_int_equal(bus_read(b->mmio, TESTDEV_MMIO_BASE + 4, 2), 0);
}

static void test_lines(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, 0x200e, 1);
	assert_true(bench_line(b, 14));
	outl(b, 0x200e, 0);
	assert_false(bench_line(b, 14));
	outl(b, 0x2017, 1);
	assert_true(bench_line(b, 23));
	assert_int_equal(b->nr_msi, 2);
	outb(b, 0x2018, 1); /* there are 24 */
	assert_int_equal(b->nr_msi, 2);
}

static void test_exit(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_int_equal(inl(b, 0xf4), 0);
	outl(b, 0xf4, 0x12345);
	assert_int_equal(b->nr_requests, 1);
	assert_int_equal(b->request, MACHINE_DEBUG_EXIT);
	assert_int_equal(b->request_value, 0x12345);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_echo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
