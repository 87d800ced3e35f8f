/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps against a plain array as the oracle, over random operations; the seed is printed. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/map.h"
#include "unit.h"

#define KEYS 512

static int values[KEYS];

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static uint64_t new_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = 1;
	printf("# seed %#llx\n", (unsigned long long)seed);
	return seed | 1;
}

static void test_numbers(void **state)
{
	uint64_t x = new_seed();
	void *oracle[KEYS] = { 0 };
	struct map m = { 0 };
	size_t n = 0, seen = 0, pos = 0;
	const struct map_slot *s;

	assert_null(map_get(&m, 0));
	assert_null(map_del(&m, 0));
	for (int i = 0; i < 20000; i++) {
		size_t k = next_random(&x) % KEYS;
		/* Keys that share their low bits, and 0. */
		uint64_t key = (uint64_t)k << 32;

		if (next_random(&x) % 3) {
			void *v = &values[next_random(&x) % KEYS];

			n += !oracle[k];
			assert_ptr_equal(map_put(&m, key, v), oracle[k]);
			oracle[k] = v;
		} else {
			n -= !!oracle[k];
			assert_ptr_equal(map_del(&m, key), oracle[k]);
			oracle[k] = NULL;
		}
		assert_int_equal(m.n, n);
		k = next_random(&x) % KEYS;
		assert_ptr_equal(map_get(&m, (uint64_t)k << 32), oracle[k]);
	}
	while ((s = map_next(&m, &pos))) {
		assert_ptr_equal(s->value, oracle[s->key >> 32]);
		seen++;
	}
	assert_int_equal(seen, n);
	map_done(&m);
	map_done(&m);
	assert_null(map_get(&m, 1));
}

static struct str key_of(size_t k, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%zu/%.*s", k, (int)(k % 20), "abcdefghijklmnopqrst");

	return (struct str){ buf, (size_t)n };
}

static void test_strings(void **state)
{
	uint64_t x = new_seed();
	void *oracle[KEYS] = { 0 };
	struct smap m = { 0 };
	size_t n = 0, seen = 0, pos = 0;
	const struct smap_entry *e;
	char buf[64];

	assert_null(smap_get(&m, STR("")));
	for (int i = 0; i < 20000; i++) {
		size_t k = next_random(&x) % KEYS;
		struct str key = key_of(k, buf, sizeof(buf));

		if (next_random(&x) % 3) {
			void *v = &values[next_random(&x) % KEYS];

			n += !oracle[k];
			assert_ptr_equal(smap_put(&m, key, v), oracle[k]);
			oracle[k] = v;
		} else {
			n -= !!oracle[k];
			assert_ptr_equal(smap_del(&m, key), oracle[k]);
			oracle[k] = NULL;
		}
		assert_int_equal(m.n, n);
		k = next_random(&x) % KEYS;
		assert_ptr_equal(smap_get(&m, key_of(k, buf, sizeof(buf))), oracle[k]);
	}
	while ((e = smap_next(&m, &pos))) {
		assert_int_equal(strlen(e->key), e->key_len);
		seen++;
	}
	assert_int_equal(seen, n);
	smap_done(&m);
	smap_done(&m);
}

static void test_odd_keys(void **state)
{
	struct smap m = { 0 };

	assert_null(smap_put(&m, STR(""), &values[0]));
	assert_null(smap_put(&m, STR("a\0b"), &values[1]));
	assert_null(smap_put(&m, STR("a\0c"), &values[2]));
	assert_ptr_equal(smap_get(&m, STR("")), &values[0]);
	assert_ptr_equal(smap_get(&m, STR("a\0b")), &values[1]);
	assert_null(smap_get(&m, STR("a")));
	assert_ptr_equal(smap_del(&m, STR("a\0c")), &values[2]);
	smap_done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_odd_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
