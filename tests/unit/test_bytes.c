/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte access and checked arithmetic at the edges of their types. */
#include "base/bytes.h"
#include "base/checked.h"
#include "unit.h"

static void test_orders(void **state)
{
	static const uint8_t b[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t out[9] = { 0 };

	/* Odd addresses on purpose. */
	assert_int_equal(get_le16(b + 1), 0x0201);
	assert_int_equal(get_be16(b + 1), 0x0102);
	assert_int_equal(get_le32(b + 1), 0x04030201);
	assert_int_equal(get_be32(b + 1), 0x01020304);
	assert_true(get_le64(b + 1) == UINT64_C(0x0807060504030201));
	assert_true(get_be64(b + 1) == UINT64_C(0x0102030405060708));
	put_le16(out + 1, 0x0201);
	put_le16(out + 3, 0x0403);
	put_le32(out + 5, 0x08070605);
	assert_memory_equal(out, b, sizeof(b));
	put_be64(out + 1, UINT64_C(0x0102030405060708));
	assert_memory_equal(out, b, sizeof(b));
}

static void test_any_width(void **state)
{
	static const uint8_t b[] = { 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8 };
	uint8_t out[8] = { 0 };

	assert_int_equal(get_le(b, 0), 0);
	assert_int_equal(get_le(b, 3), 0xf3f2f1);
	assert_true(get_le(b, 8) == get_le64(b));
	put_le(out, get_le64(b), 5);
	assert_memory_equal(out, b, 5);
	assert_int_equal(out[5], 0);
}

static void test_ranges(void **state)
{
	assert_true(range_ok(0, 0, 0));
	assert_true(range_ok(10, 0, 10));
	assert_false(range_ok(11, 0, 10));
	assert_true(range_ok(3, 7, 10));
	assert_false(range_ok(4, 7, 10));
	assert_false(range_ok(1, UINT64_MAX, UINT64_MAX));
	assert_false(range_ok(UINT64_MAX, 2, UINT64_MAX));

	assert_true(range_overlap(0, 10, 9, 1));
	assert_false(range_overlap(0, 10, 10, 1));
	assert_true(range_overlap(5, 1, 0, 10));
	assert_false(range_overlap(5, 0, 0, 10));
	assert_true(range_overlap(UINT64_MAX, 1, UINT64_MAX - 1, 2));
}

static void test_alignment(void **state)
{
	uint64_t v = 7;

	assert_false(is_pow2(0));
	assert_true(is_pow2(1));
	assert_false(is_pow2(3));
	assert_true(is_pow2(UINT64_C(1) << 63));
	assert_int_equal(align_down(4097, 4096), 4096);
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(align_up(4096, 4096), 4096);
	assert_false(align_up_ok(UINT64_MAX - 4094, 4096, &v));
	assert_int_equal(v, 7);
	assert_true(align_up_ok(1, 4096, &v));
	assert_int_equal(v, 4096);
}

static void test_arithmetic(void **state)
{
	uint32_t u = 0;
	int64_t i = 0;

	assert_true(add_ok(UINT32_MAX - 1, 1, &u));
	assert_false(add_ok(UINT64_C(0xffffffff), 1, &u));
	assert_false(sub_ok(1, 2, &u));
	assert_true(mul_ok(INT64_C(1) << 31, INT64_C(1) << 31, &i));
	assert_false(mul_ok(INT64_C(1) << 32, INT64_C(1) << 31, &i));
	assert_true(mul_div_u64(UINT64_MAX, 1000, 1000) == UINT64_MAX);
	assert_true(mul_div_u64(UINT64_C(3000000000), UINT64_C(10000000000), 3) ==
		    UINT64_C(10000000000000000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),	   cmocka_unit_test(test_any_width),
		cmocka_unit_test(test_ranges),	   cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_arithmetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
