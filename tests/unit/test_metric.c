/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters: sums over running and ended threads, and the text that a scraper reads. */
#include <pthread.h>
#include <string.h>

#include "base/metric.h"
#include "unit.h"

static pthread_barrier_t counted, end;

static void *count(void *arg)
{
	for (int i = 0; i < 1000; i++)
		metric_inc(METRIC_timer_fired);
	pthread_barrier_wait(&counted);
	pthread_barrier_wait(&end);
	return NULL;
}

static void test_threads(void **state)
{
	uint64_t before = metric_read(METRIC_timer_fired);
	pthread_t t[4];

	pthread_barrier_init(&counted, NULL, 5);
	pthread_barrier_init(&end, NULL, 5);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
	metric_add(METRIC_timer_fired, 5);
	pthread_barrier_wait(&counted);
	assert_int_equal(metric_read(METRIC_timer_fired) - before, 4005);
	pthread_barrier_wait(&end);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(metric_read(METRIC_timer_fired) - before, 4005);
	pthread_barrier_destroy(&counted);
	pthread_barrier_destroy(&end);
}

static void test_text(void **state)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	assert_string_equal(metric_name(METRIC_log_lines), "log_lines");
	assert_string_equal(metric_unit(METRIC_log_lines), "lines");
	for (unsigned m = 0; m < METRIC_NR; m++)
		assert_true(strlen(metric_help((enum metric)m)) > 5);
	metric_prometheus(&out);
	assert_non_null(strstr(strbuf_cstr(&out), "# TYPE atoll_log_lines_total counter\n"));
	assert_non_null(strstr(strbuf_cstr(&out), "\natoll_timer_late_us_total "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
