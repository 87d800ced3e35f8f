/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression of clusters: what is recognized as noise, and that a window of 4 KiB is kept to. */
#include <stdlib.h>
#include <string.h>

#include "disk/pack_priv.h"
#include "unit.h"

#define CLUSTER 65536

static uint8_t in[CLUSTER], out[CLUSTER], back[CLUSTER];

static void fill_noise(uint8_t *p, size_t n)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 32);
	}
}

static size_t squeeze(enum pack how, size_t cap)
{
	size_t n;

	assert_return_code(pack_squeeze(how, in, CLUSTER, out, cap, &n), 0);
	if (n) {
		assert_return_code(pack_expand(how, out, n, back, CLUSTER), 0);
		assert_memory_equal(in, back, CLUSTER);
	}
	return n;
}

static void test_round_trip(void **state)
{
	for (size_t i = 0; i < CLUSTER; i++)
		in[i] = (uint8_t)(i / 7 % 100);
	for (int how = PACK_DEFLATE; how <= PACK_ZSTD; how++)
		assert_in_range(squeeze((enum pack)how, CLUSTER - 1), 1, CLUSTER / 2);
}

static void test_noise(void **state)
{
	fill_noise(in, CLUSTER);
	for (int how = PACK_DEFLATE; how <= PACK_ZSTD; how++)
		assert_int_equal(squeeze((enum pack)how, CLUSTER - 1), 0);
}

/* Noise for itself, but each 3000 bytes of it are the same. */
static void test_noise_that_repeats(void **state)
{
	fill_noise(in, 3000);
	for (size_t i = 3000; i < CLUSTER; i++)
		in[i] = in[i - 3000];
	assert_in_range(squeeze(PACK_DEFLATE, CLUSTER - 1), 1, 8000);
}

/* One tenth of it is text. */
static void test_noise_with_text(void **state)
{
	fill_noise(in, CLUSTER);
	for (size_t i = 0; i < CLUSTER / 10; i++)
		in[20000 + i] = (uint8_t) "text and text "[i % 14];
	assert_in_range(squeeze(PACK_DEFLATE, CLUSTER - 1), 1, CLUSTER * 92 / 100);
	/* One that uses few letters has no matches, and still gets smaller. */
	fill_noise(in, CLUSTER);
	for (size_t i = 0; i < CLUSTER; i++)
		in[i] &= 0x7f;
	assert_in_range(squeeze(PACK_DEFLATE, CLUSTER - 1), 1, CLUSTER * 89 / 100);
}

/* Nothing is found farther away than a reader of qcow2 keeps. */
static void test_window(void **state)
{
	fill_noise(in, 5000);
	memset(in + 5000, 0, CLUSTER - 5000);
	memcpy(in + 5000, in, 5000);
	assert_in_range(squeeze(PACK_DEFLATE, CLUSTER - 1), 10000, CLUSTER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_noise_that_repeats),
		cmocka_unit_test(test_noise_with_text),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
