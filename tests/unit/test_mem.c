/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation: limits are kept, arenas align and free as one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "unit.h"

static void test_limits(void **state)
{
	_cleanup_(mem_freep) uint64_t *p = NULL;
	char *q = NULL;

	assert_int_equal(mem_try(&p, 65, 64), -E2BIG);
	assert_null(p);
	assert_int_equal(mem_try(&p, 64, 64), 0);
	assert_int_equal(p[7], 0);
	assert_int_equal(mem_try(&q, 0, 0), 0);
	assert_non_null(q);
	free(q);
}

static void test_new(void **state)
{
	_cleanup_(mem_freep) int *a = mem_new_n(10, sizeof(*a));
	_cleanup_(mem_freep) char *s = mem_strdup("hello");

	assert_int_equal(a[9], 0);
	a[9] = 5;
	a = mem_renew(a, 20, sizeof(*a));
	assert_int_equal(a[9], 5);
	assert_string_equal(s, "hello");
}

static void test_arena(void **state)
{
	struct arena a = { .limit_bytes = 100000 };
	char *big, *s = arena_strndup(&a, "hello world", 5);
	void *p = NULL;

	assert_string_equal(s, "hello");
	for (size_t n = 0; n < 500; n++) {
		unsigned char *c = arena_new(&a, n);

		assert_int_equal((uintptr_t)c % _Alignof(max_align_t), 0);
		if (n) {
			assert_int_equal(c[0], 0);
			assert_int_equal(c[n - 1], 0);
			memset(c, 0xff, n);
		}
	}
	assert_string_equal(s, "hello");
	arena_done(&a);
	assert_int_equal(a.used_bytes, 0);

	big = arena_new(&a, 50000);
	big[49999] = 1;
	assert_int_equal(arena_try(&a, &p, 60000), -E2BIG);
	assert_int_equal(arena_try(&a, &p, SIZE_MAX), -E2BIG);
	assert_null(p);
	assert_int_equal(arena_try(&a, &p, 1000), 0);
	assert_non_null(p);
	arena_done(&a);
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
