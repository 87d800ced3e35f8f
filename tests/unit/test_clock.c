/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake clock moves only by hand; the TSC's frequency is the same for every caller. */
#include <pthread.h>

#include "base/clock.h"
#include "unit.h"

static void test_fake(void **state)
{
	struct clock_fake fake;
	struct clock *c = &fake.clock;

	clock_fake_init(&fake, 100, 5 * NS_PER_S);
	assert_int_equal(clock_now(c), 100);
	assert_int_equal(clock_now(c), 100);
	clock_fake_advance(&fake, 11);
	assert_int_equal(clock_now(c), 111);
	assert_int_equal(clock_wall(c), 5 * NS_PER_S + 11);
}

static void test_real(void **state)
{
	struct clock *c = clock_real();
	uint64_t a = clock_now(c), b = clock_now(c);

	assert_true(b >= a);
	/* After 2020 and before 2100. */
	assert_in_range(clock_wall(c) / NS_PER_S, 1577836800, 4102444800);
}

static void test_shifted(void **state)
{
	struct clock_shifted c;
	uint64_t before, now;

	clock_shifted_init(&c);
	before = clock_now(clock_real());
	now = clock_now(&c.clock);
	assert_in_range(now, before, clock_now(clock_real()));
	clock_shifted_set(&c, 5);
	now = clock_now(&c.clock);
	assert_in_range(now, 5, 5 + clock_now(clock_real()) - before);
	clock_shifted_set(&c, UINT64_C(1) << 62);
	assert_true(clock_now(&c.clock) >= UINT64_C(1) << 62);
	assert_true(clock_wall(&c.clock) >= UINT64_C(1600000000) * NS_PER_S);
}

static void *get_khz(void *ret)
{
	*(uint64_t *)ret = clock_tsc_khz();
	return NULL;
}

static void test_tsc(void **state)
{
	pthread_t t[4];
	uint64_t khz[4], tsc, ns, rate;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, get_khz, &khz[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int i = 1; i < 4; i++)
		assert_true(khz[i] == khz[0]);

	/* Over a longer time the two clocks must agree; a percent allows for a loaded host. */
	tsc = clock_tsc();
	ns = clock_now(clock_real());
	do {
		rate = clock_now(clock_real()) - ns;
	} while (rate < 20 * NS_PER_MS);
	rate = (clock_tsc() - tsc) * NS_PER_MS / rate;
	assert_in_range(rate, khz[0] - khz[0] / 100, khz[0] + khz[0] / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fake),
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_shifted),
		cmocka_unit_test(test_tsc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
