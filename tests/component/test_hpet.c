/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "bench.h"
#include "vm/dev/hpet.h"
#include "vm/dev/i8254.h"
#include "vm/dev/rtc.h"

enum {
	CAP = 0,
	CONFIG = 0x10,
	STATUS = 0x20,
	COUNTER = 0xf0,
	T0 = 0x100,
	T1 = 0x120,
	T2 = 0x140,
	CMP = 8,
	FSB = 16
};

struct fixture {
	struct bench b;
	struct i8254 pit;
	struct rtc rtc;
	struct hpet hpet;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	if (r == 0)
		r = i8254_init(&f.pit, &f.b.board, NULL);
	if (r == 0)
		r = rtc_init(&f.rtc, &f.b.board, NULL);
	return r ? r : hpet_init(&f.hpet, &f.b.board, &f.pit, &f.rtc, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hpet_done(&f->hpet);
	hpet_done(&f->hpet);
	rtc_done(&f->rtc);
	i8254_done(&f->pit);
	bench_done(&f->b);
	return 0;
}

static uint64_t rd(struct bench *b, uint32_t off)
{
	return bus_read(b->mmio, HPET_BASE + off, 8);
}

static void wr(struct bench *b, uint32_t off, uint64_t value)
{
	bus_write(b->mmio, HPET_BASE + off, 8, value);
}

static void wr32(struct bench *b, uint32_t off, uint32_t value)
{
	bus_write(b->mmio, HPET_BASE + off, 4, value);
}

static void test_counter(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_true(rd(b, CAP) == (HPET_PERIOD_FS << 32 | 0x8086a201));
	assert_int_equal(bus_read(b->mmio, HPET_BASE + 4, 4), HPET_PERIOD_FS);
	assert_true(rd(b, T0) == UINT64_C(0x00f0000000008030));
	wr(b, COUNTER, UINT64_C(0x1fffffff0));
	bench_pass(b, NS_PER_S);
	assert_true(rd(b, COUNTER) == UINT64_C(0x1fffffff0)); /* halted */
	wr(b, CONFIG, 1);
	bench_pass(b, 1000);
	assert_true(rd(b, COUNTER) == UINT64_C(0x1fffffff0) + 100);
	assert_int_equal(bus_read(b->mmio, HPET_BASE + COUNTER + 4, 4), 2);
	wr(b, COUNTER, 0); /* not while it runs */
	assert_true(rd(b, COUNTER) == UINT64_C(0x1fffffff0) + 100);
	wr(b, CONFIG, 0);
	bench_pass(b, 1000);
	assert_true(rd(b, COUNTER) == UINT64_C(0x1fffffff0) + 100);
	wr32(b, COUNTER + 4, 7);
	assert_true(rd(b, COUNTER) >> 32 == 7);
	assert_true(rd(b, 0x3f8) == 0);
	wr(b, 0x3f8, 1);
	wr(b, T0 + 0x18, 1);
	assert_true(rd(b, T0 + 0x18) == 0);
}

static void test_one_shot(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	wr(b, T0, 20 << 9 | 4);
	wr(b, T0 + CMP, 1000);
	wr(b, CONFIG, 1);
	bench_pass(b, 9990);
	assert_int_equal(b->edges[20], 0);
	bench_pass(b, 10);
	assert_int_equal(b->edges[20], 1);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[20], 1);
	/* A value just passed fires at once. */
	wr(b, T0 + CMP, rd(b, COUNTER) - 1);
	bench_pass(b, 0);
	assert_int_equal(b->edges[20], 2);
	/* 32 bits come round. */
	wr(b, T0, 1 << 8 | 20 << 9 | 4);
	wr32(b, T0 + CMP, (uint32_t)rd(b, COUNTER) + 100);
	bench_pass(b, 1000);
	assert_int_equal(b->edges[20], 3);
	bench_pass(b, (UINT64_C(1) << 32) * 10);
	assert_int_equal(b->edges[20], 4);
	/* Disabled: no match, no interrupt. */
	wr32(b, T0 + CMP, (uint32_t)rd(b, COUNTER) + 100);
	wr(b, CONFIG, 0);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[20], 4);
	/* A pin that the timer cannot drive. */
	wr(b, CONFIG, 1);
	wr(b, T0, 5 << 9 | 4);
	wr(b, T0 + CMP, rd(b, COUNTER) + 100);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[5], 0);
}

static void test_level(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	wr(b, CONFIG, 1);
	wr(b, T1, 21 << 9 | 4 | 2);
	wr(b, T2, 21 << 9 | 4 | 2);
	wr(b, T1 + CMP, 100);
	wr(b, T2 + CMP, 200);
	bench_pass(b, 5000);
	assert_true(bench_line(b, 21));
	assert_true(rd(b, STATUS) == 6);
	wr(b, STATUS, 2);
	assert_true(bench_line(b, 21)); /* the other one still holds it */
	wr(b, STATUS, 4);
	assert_false(bench_line(b, 21));
	/* Moving the route takes the level along. */
	wr(b, T1 + CMP, rd(b, COUNTER) + 1);
	bench_pass(b, 100);
	assert_true(bench_line(b, 21));
	wr(b, T1, 22 << 9 | 4 | 2);
	assert_false(bench_line(b, 21));
	assert_true(bench_line(b, 22));
	wr(b, T1, 22 << 9 | 2);
	assert_false(bench_line(b, 22));
	hpet_reset(&f->hpet);
	assert_true(rd(b, STATUS) == 0);
}

static void test_periodic(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	/* As Linux does it. */
	wr(b, CONFIG, 3);
	wr32(b, T0, 1 << 8 | 1 << 6 | 8 | 4);
	wr32(b, T0 + CMP, (uint32_t)rd(b, COUNTER) + 100000);
	wr32(b, T0 + CMP, 100000);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 1000); /* legacy: in the PIT's place */
	clock_fake_advance(&b->clock, NS_PER_S);
	timerq_run_due(&b->timers);
	assert_int_equal(b->edges[2], 1001);
	bench_pass(b, NS_PER_MS);
	assert_int_equal(b->edges[2], 1002);
	/* The PIT is silent meanwhile. */
	outb(b, 0x43, 0x34);
	outb(b, 0x40, 0x9c);
	outb(b, 0x40, 0x2e);
	wr32(b, T0, 1 << 8 | 8);
	b->edges[2] = 0;
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[2], 0);
	wr(b, CONFIG, 1);
	bench_pass(b, NS_PER_S);
	assert_in_range(b->edges[2], 99, 101);
	/* Timer 1 is the clock's interrupt. */
	wr(b, CONFIG, 3);
	wr32(b, T1, 1 << 8 | 4);
	wr32(b, T1 + CMP, (uint32_t)rd(b, COUNTER) + 10);
	bench_pass(b, NS_PER_MS);
	assert_int_equal(b->edges[8], 1);
	/* A period of one tick is slowed down. */
	wr32(b, T0, 1 << 6 | 8 | 4);
	wr(b, T0 + CMP, 1);
	b->edges[2] = 0;
	bench_pass(b, NS_PER_MS);
	assert_in_range(b->edges[2], 1, 60);
	/* Halves of a 64-bit period. */
	wr32(b, T2, 1 << 6 | 8 | 20 << 9 | 4);
	wr32(b, T2 + CMP, 1000);
	wr32(b, T2 + CMP + 4, 1);
	assert_true(f->hpet.t[2].period == (UINT64_C(1) << 32) + 1000);
	assert_int_equal(f->hpet.t[2].config & 1 << 6, 0);
	wr32(b, T2, 8 | 4);
	wr(b, T2 + CMP, UINT64_MAX);
	bench_pass(b, NS_PER_S);
}

static void test_messages(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	wr(b, CONFIG, 1);
	wr(b, T2 + FSB, UINT64_C(0xfee03000) << 32 | 0x99);
	assert_true(rd(b, T2 + FSB) == (UINT64_C(0xfee03000) << 32 | 0x99));
	wr(b, T2, 1 << 14 | 4);
	wr(b, T2 + CMP, rd(b, COUNTER) + 10);
	bench_pass(b, 1000);
	assert_int_equal(b->nr_msi, 1);
	assert_true(b->msi_addr == 0xfee03000);
	assert_int_equal(b->msi_data, 0x99);
	hpet_set_msi(&f->hpet, NULL, NULL);
	wr(b, T2 + CMP, rd(b, COUNTER) + 10);
	bench_pass(b, 1000);
	assert_int_equal(b->nr_msi, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_shot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_periodic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
