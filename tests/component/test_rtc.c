/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "vm/dev/rtc.h"

struct fixture {
	struct bench b;
	struct rtc rtc;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	return r ? r : rtc_init(&f.rtc, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rtc_done(&f->rtc);
	rtc_done(&f->rtc);
	bench_done(&f->b);
	return 0;
}

static uint8_t get(struct bench *b, uint8_t reg)
{
	outb(b, 0x70, reg);
	return inb(b, 0x71);
}

static void put(struct bench *b, uint8_t reg, uint8_t value)
{
	outb(b, 0x70, reg);
	outb(b, 0x71, value);
}

static unsigned int bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15);
}

static time_t clock_says(struct bench *b)
{
	struct tm tm = {
		.tm_sec = (int)bcd(get(b, 0)),
		.tm_min = (int)bcd(get(b, 2)),
		.tm_hour = (int)bcd(get(b, 4)),
		.tm_mday = (int)bcd(get(b, 7)),
		.tm_mon = (int)bcd(get(b, 8)) - 1,
		.tm_year = (int)(bcd(get(b, 0x32)) * 100 + bcd(get(b, 9))) - 1900,
	};

	return timegm(&tm);
}

static void test_time(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_int_equal(inb(b, 0x70), 0xff);
	assert_int_equal(get(b, 13), 0x80);
	assert_int_equal(clock_says(b), BENCH_WALL_S);
	assert_int_equal(get(b, 6), 3); /* 2023-11-14 was a Tuesday */
	bench_pass(b, 90000 * NS_PER_S);
	assert_int_equal(clock_says(b), BENCH_WALL_S + 90000);
	/* The calendar against the C library's, over many days. */
	for (unsigned int k = 0; k < 500; k++) {
		time_t t = clock_says(b);
		struct tm tm;

		assert_int_equal(t, (time_t)(clock_wall(&b->clock.clock) / NS_PER_S));
		gmtime_r(&t, &tm);
		assert_int_equal(get(b, 6), tm.tm_wday + 1);
		clock_fake_advance(&b->clock, (40 * 86400 + 4321) * NS_PER_S);
	}
}

static void test_set(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	put(b, 11, 0x82); /* SET */
	put(b, 0, 0x59);
	put(b, 2, 0x59);
	put(b, 4, 0x23);
	put(b, 7, 0x29);
	put(b, 8, 0x02);
	put(b, 9, 0x24);
	put(b, 0x32, 0x20);
	bench_pass(b, 5 * NS_PER_S);
	assert_int_equal(get(b, 0), 0x59); /* stands still */
	put(b, 11, 0x02);
	assert_int_equal(get(b, 0), 0x59);
	bench_pass(b, NS_PER_S);
	assert_int_equal(get(b, 0), 0);
	assert_int_equal(get(b, 4), 0);
	assert_int_equal(get(b, 7), 1);
	assert_int_equal(get(b, 8), 3);
	assert_int_equal(get(b, 6), 6); /* Friday, 2024-03-01 */
	/* One register at a time, running. */
	put(b, 9, 0x00);
	assert_int_equal(get(b, 9), 0);
	assert_int_equal(get(b, 6), 4); /* Wednesday, 2000-03-01 */
	/* Binary, twelve hours. */
	put(b, 4, 0x15);
	put(b, 11, 0x04);
	assert_int_equal(get(b, 4), 0x83); /* 3 p.m. */
	put(b, 4, 12);
	assert_int_equal(get(b, 4), 12); /* midnight */
	put(b, 4, 0x8c);
	put(b, 11, 0x06);
	assert_int_equal(get(b, 4), 12); /* noon */
	/* Nonsense is no crash. */
	for (unsigned int reg = 0; reg < 10; reg++)
		put(b, (uint8_t)reg, 0xff);
	put(b, 0x32, 0xff);
	put(b, 11, 0x82);
	for (unsigned int reg = 0; reg < 10; reg++)
		put(b, (uint8_t)reg, 0xff);
	put(b, 11, 0x02);
	(void)get(b, 0);
}

static void test_interrupts(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	put(b, 11, 0x12); /* update-ended */
	bench_pass(b, 999 * NS_PER_MS);
	assert_int_equal(get(b, 12) & 0x80, 0);
	bench_pass(b, 2 * NS_PER_MS);
	assert_true(bench_line(b, 8));
	assert_int_equal(get(b, 12) & 0xb0, 0x90);
	assert_false(bench_line(b, 8));
	assert_int_equal(get(b, 12), 0);
	bench_pass(b, NS_PER_S);
	assert_int_equal(b->edges[8], 2);
	put(b, 11, 0x02);
	(void)get(b, 12);
	/* Without an interrupt the flag comes, too. */
	bench_pass(b, NS_PER_S);
	assert_int_equal(get(b, 12) & 0xb0, 0x10);

	/* Alarm at every minute's second 30. */
	put(b, 1, 0x30);
	put(b, 3, 0xff);
	put(b, 5, 0xff);
	put(b, 11, 0x22);
	b->edges[8] = 0;
	bench_pass(b, 60 * NS_PER_S);
	assert_int_equal(b->edges[8], 1);
	assert_int_equal(get(b, 12) & 0xa0, 0xa0);
	bench_pass(b, 60 * NS_PER_S);
	assert_int_equal(b->edges[8], 2);
	/* The host slept for a week. */
	(void)get(b, 12);
	clock_fake_advance(&b->clock, 7 * 86400 * NS_PER_S);
	assert_int_equal(get(b, 12) & 0xa0, 0xa0);
	put(b, 11, 0x02);

	/* Periodic at 1024 Hz. */
	put(b, 10, 0x26);
	(void)get(b, 12);
	put(b, 11, 0x42);
	b->edges[8] = 0;
	for (unsigned int k = 0; k < 100; k++) {
		bench_pass(b, NS_PER_S / 1024);
		(void)get(b, 12);
	}
	assert_in_range(b->edges[8], 99, 100);
	rtc_disable_irq(&f->rtc, true);
	bench_pass(b, NS_PER_MS);
	assert_false(bench_line(b, 8));
	put(b, 10, 0x20); /* rate 0: off */
	(void)get(b, 12);
	bench_pass(b, NS_PER_S);
	assert_int_equal(get(b, 12) & 0x40, 0);
	put(b, 10, 0x21);
	bench_pass(b, 4 * NS_PER_MS);
	assert_int_equal(get(b, 12) & 0x40, 0x40);
	put(b, 11, 0x72);
	rtc_reset(&f->rtc);
	assert_int_equal(get(b, 11), 0x02);
	/* The update is announced. */
	clock_fake_advance(&b->clock, NS_PER_S - clock_wall(&b->clock.clock) % NS_PER_S - 100000);
	assert_int_equal(get(b, 10) & 0x80, 0x80);
	clock_fake_advance(&b->clock, 100000);
	assert_int_equal(get(b, 10) & 0x80, 0);
}

static void test_cmos(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	rtc_set_memory(&f->rtc, UINT64_C(0xb0000000), UINT64_C(5) << 30);
	assert_int_equal(get(b, 0x15) | get(b, 0x16) << 8, 640);
	assert_int_equal(get(b, 0x30) | get(b, 0x31) << 8, 0xffff);
	assert_int_equal((get(b, 0x34) | get(b, 0x35) << 8) * 64, (0xb0000000u >> 10) - 16384);
	assert_int_equal(get(b, 0x5b) | get(b, 0x5c) << 8 | get(b, 0x5d) << 16, 5 << 14);
	rtc_set_memory(&f->rtc, 4 << 20, 0);
	assert_int_equal(get(b, 0x17) | get(b, 0x18) << 8, 3072);
	assert_int_equal(get(b, 0x34), 0);
	put(b, 0x40, 0x5a);
	assert_int_equal(get(b, 0x40 | 0x80), 0x5a); /* with the NMI mask bit */
	rtc_set_cmos(&f->rtc, 0x3d, 7);
	rtc_set_cmos(&f->rtc, 0x0b, 0xff); /* not a RAM byte */
	rtc_set_cmos(&f->rtc, 0xff, 7);
	assert_int_equal(get(b, 0x3d), 7);
	assert_int_equal(get(b, 0x0b), 2);
	put(b, 12, 0xff);
	put(b, 13, 0);
	assert_int_equal(get(b, 12), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cmos, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
