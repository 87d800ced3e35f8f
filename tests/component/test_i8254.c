/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "bench.h"
#include "vm/dev/i8254.h"

struct fixture {
	struct bench b;
	struct i8254 pit;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	return r ? r : i8254_init(&f.pit, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	i8254_done(&f->pit);
	i8254_done(&f->pit);
	bench_done(&f->b);
	return 0;
}

static void program(struct bench *b, unsigned int n, unsigned int mode, uint16_t count)
{
	outb(b, 0x43, (uint8_t)(n << 6 | 0x30 | mode << 1));
	outb(b, (uint16_t)(0x40 + n), (uint8_t)count);
	outb(b, (uint16_t)(0x40 + n), (uint8_t)(count >> 8));
}

static uint16_t latched(struct bench *b, unsigned int n)
{
	uint16_t v;

	outb(b, 0x43, (uint8_t)(n << 6));
	v = inb(b, (uint16_t)(0x40 + n));
	return (uint16_t)(v | inb(b, (uint16_t)(0x40 + n)) << 8);
}

static uint64_t ticks_ns(uint64_t n)
{
	return n * NS_PER_S / I8254_HZ + 1;
}

static void test_periodic(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 0); /* quiet until it is programmed */
	program(b, 0, 2, 11932);	  /* 100 Hz */
	bench_pass(b, 10 * NS_PER_S);
	assert_in_range(b->edges[2], 999, 1001);
	/* The same in mode 3, and after a sleep of the host: one for all that was missed. */
	program(b, 0, 3, 11932);
	b->edges[2] = 0;
	bench_pass(b, NS_PER_S);
	assert_in_range(b->edges[2], 99, 101);
	b->edges[2] = 0;
	clock_fake_advance(&b->clock, NS_PER_S);
	timerq_run_due(&b->timers);
	assert_int_equal(b->edges[2], 1);
	/* A new count without a control word, both bytes at once. */
	outb(b, 0x40, 0xa9);
	outb(b, 0x40, 0x04); /* 1000 Hz */
	b->edges[2] = 0;
	bench_pass(b, NS_PER_S);
	assert_in_range(b->edges[2], 995, 1005);
	/* The HPET takes the line. */
	i8254_disable_irq(&f->pit, true);
	b->edges[2] = 0;
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 0);
	i8254_disable_irq(&f->pit, false);
	bench_pass(b, NS_PER_S);
	assert_in_range(b->edges[2], 995, 1005);
	/* As fast as it goes, the interrupts stay bounded. */
	program(b, 0, 2, 1);
	b->edges[2] = 0;
	bench_pass(b, 10 * NS_PER_MS);
	assert_in_range(b->edges[2], 1, 501);
}

static void test_one_shot(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	program(b, 0, 0, 1000);
	bench_pass(b, ticks_ns(999));
	assert_int_equal(b->edges[2], 0);
	bench_pass(b, ticks_ns(1));
	assert_int_equal(b->edges[2], 1);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 1);
	/* Mode 4, as Linux uses it: each count is a new shot. */
	program(b, 0, 4, 500);
	for (int k = 0; k < 3; k++) {
		bench_pass(b, ticks_ns(502));
		assert_int_equal(b->edges[2], 2 + k);
		outb(b, 0x40, 0xf4);
		outb(b, 0x40, 0x01);
	}
	/* The first byte of a mode 0 count stops it. */
	program(b, 0, 0, 1000);
	b->edges[2] = 0;
	outb(b, 0x40, 1);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 0);
	outb(b, 0x40, 1);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 1);
	/* Modes 1 and 5 wait for a gate that counter 0 does not have. */
	program(b, 0, 1, 10);
	program(b, 0, 5, 10);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 1);
}

static void test_counting(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	program(b, 0, 2, 1000);
	assert_int_equal(latched(b, 0), 1000);
	bench_pass(b, ticks_ns(300));
	assert_int_equal(latched(b, 0), 700);
	bench_pass(b, ticks_ns(800));
	assert_in_range(latched(b, 0), 898, 900);
	program(b, 0, 3, 1000);
	bench_pass(b, ticks_ns(100));
	assert_int_equal(latched(b, 0), 800); /* by twos */
	program(b, 0, 0, 100);
	bench_pass(b, ticks_ns(101));
	assert_int_equal(latched(b, 0), 0xffff); /* goes on below zero */
	/* A latch holds until it is read. */
	program(b, 0, 2, 1000);
	outb(b, 0x43, 0x00);
	bench_pass(b, ticks_ns(300));
	outb(b, 0x43, 0x00);
	assert_int_equal(inb(b, 0x40), 0xe8);
	assert_int_equal(inb(b, 0x40), 0x03);
	/* BCD, low byte only, high byte only. */
	outb(b, 0x43, 0x35);
	outb(b, 0x40, 0x00);
	outb(b, 0x40, 0x10);
	bench_pass(b, ticks_ns(1));
	assert_int_equal(latched(b, 0), 0x0999);
	outb(b, 0x43, 0x14);
	outb(b, 0x40, 0x80);
	assert_int_equal(inb(b, 0x40), 0x80);
	assert_int_equal(inb(b, 0x40), 0x80);
	outb(b, 0x43, 0x24);
	outb(b, 0x40, 0x02);
	assert_int_equal(inb(b, 0x40), 0x02);
	assert_int_equal(inb(b, 0x43), 0xff);
	/* Count 0 is 65536. */
	program(b, 0, 2, 0);
	bench_pass(b, ticks_ns(1));
	assert_int_equal(latched(b, 0), 0xffff);
}

static void test_read_back(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, 0x43, 0x34);
	outb(b, 0x43, 0xe2);				    /* status of counter 0 */
	assert_int_equal(inb(b, 0x40), 0x80 | 0x40 | 0x34); /* no count yet */
	outb(b, 0x40, 0x10);
	outb(b, 0x40, 0x27);
	outb(b, 0x43, 0xc2); /* status and count */
	assert_int_equal(inb(b, 0x40), 0x80 | 0x34);
	assert_int_equal(inb(b, 0x40), 0x10);
	assert_int_equal(inb(b, 0x40), 0x27);
	program(b, 1, 0, 5);
	outb(b, 0x43, 0xe4);
	assert_int_equal(inb(b, 0x41), 0x30);
	bench_pass(b, NS_PER_MS);
	outb(b, 0x43, 0xe4);
	assert_int_equal(inb(b, 0x41), 0xb0);
}

static void test_speaker(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_int_equal(inb(b, 0x61) & 3, 0);
	/* What Linux does to calibrate the TSC. */
	outb(b, 0x61, 0x01);
	program(b, 2, 0, 0xe90b); /* 50 ms */
	assert_int_equal(inb(b, 0x61) & 0x21, 0x01);
	bench_pass(b, 49 * NS_PER_MS);
	assert_int_equal(inb(b, 0x61) & 0x20, 0);
	bench_pass(b, 2 * NS_PER_MS);
	assert_int_equal(inb(b, 0x61) & 0x20, 0x20);
	/* The gate stops counting. */
	program(b, 2, 0, 1000);
	bench_pass(b, ticks_ns(400));
	outb(b, 0x61, 0x02);
	bench_pass(b, NS_PER_S);
	assert_int_equal(latched(b, 2), 600);
	assert_int_equal(inb(b, 0x61) & 0x22, 0x02);
	outb(b, 0x61, 0x03);
	bench_pass(b, ticks_ns(599));
	assert_int_equal(inb(b, 0x61) & 0x20, 0);
	bench_pass(b, ticks_ns(1));
	assert_int_equal(inb(b, 0x61) & 0x20, 0x20);
	/* Mode 1 begins at the gate's edge. */
	program(b, 2, 1, 100);
	assert_int_equal(inb(b, 0x61) & 0x20, 0x20);
	outb(b, 0x61, 0);
	outb(b, 0x61, 1);
	assert_int_equal(inb(b, 0x61) & 0x20, 0);
	bench_pass(b, ticks_ns(100));
	assert_int_equal(inb(b, 0x61) & 0x20, 0x20);
	/* The refresh bit toggles. */
	{
		unsigned int changes = 0;
		uint8_t last = inb(b, 0x61) & 0x10;

		for (int k = 0; k < 100; k++) {
			bench_pass(b, 5000);
			changes += (inb(b, 0x61) & 0x10) != last;
			last = inb(b, 0x61) & 0x10;
		}
		assert_in_range(changes, 25, 40);
	}
	i8254_reset(&f->pit);
	assert_int_equal(inb(b, 0x61) & 3, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_periodic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_shot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_speaker, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
