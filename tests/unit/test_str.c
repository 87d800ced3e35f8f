/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Views, parsers of numbers, and the builder. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "unit.h"

static void test_views(void **state)
{
	assert_true(str_eq(str_of(NULL), STR("")));
	assert_true(str_eq(STR("a\0b"), (struct str){ "a\0b", 3 }));
	assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
	assert_true(str_cmp(STR("b"), STR("abc")) > 0);
	assert_int_equal(str_cmp(STR(""), STR("")), 0);
	assert_true(str_starts(STR("abc"), STR("ab")));
	assert_false(str_starts(STR("ab"), STR("abc")));
	assert_true(str_ends(STR("abc"), STR("bc")));
	assert_false(str_ends(STR("c"), STR("bc")));
	assert_true(str_eq(str_skip(STR("abc"), 5), STR("")));
	assert_true(str_eq(str_trim(STR(" \ta b\r\n")), STR("a b")));
	assert_true(str_eq(str_trim(STR("  ")), STR("")));
}

static void test_cut(void **state)
{
	struct str rest = STR("a,,b,"), part;
	const char *expected[] = { "a", "", "b", "" };
	size_t n = 0;

	while (str_cut(&rest, ',', &part)) {
		assert_true(n < ARRAY_SIZE(expected));
		assert_true(str_eq(part, str_of(expected[n])));
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(expected));
	rest = STR("");
	assert_true(str_cut(&rest, ',', &part));
	assert_false(str_cut(&rest, ',', &part));
}

static int u64(const char *s, uint64_t *v)
{
	return str_parse_u64(str_of(s), 0, UINT64_MAX, v, NULL);
}

static void test_numbers(void **state)
{
	struct err err = ERR_INIT;
	uint64_t u = 77;
	int64_t i = 77;
	bool b = false;

	assert_int_equal(u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(u64("0xFfffFfffFfffFfff", &u), 0);
	assert_int_equal(u64("0x10000000000000000", &u), -ERANGE);
	u = 77;
	assert_int_equal(u64("", &u), -EINVAL);
	assert_int_equal(u64("0x", &u), -EINVAL);
	assert_int_equal(u64(" 1", &u), -EINVAL);
	assert_int_equal(u64("1 ", &u), -EINVAL);
	assert_int_equal(u64("-1", &u), -EINVAL);
	assert_int_equal(u64("12a", &u), -EINVAL);
	assert_int_equal(u, 77);
	assert_int_equal(str_parse_u64(STR("65"), 1, 64, &u, &err), -ERANGE);
	assert_string_equal(err_text(&err), "65 is not between 1 and 64");

	assert_int_equal(str_parse_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &i, NULL),
			 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(str_parse_i64(STR("-9223372036854775809"), INT64_MIN, INT64_MAX, &i, NULL),
			 -ERANGE);
	assert_int_equal(str_parse_i64(STR("+5"), 0, 9, &i, NULL), 0);
	assert_int_equal(i, 5);
	assert_int_equal(str_parse_i64(STR("-"), 0, 9, &i, &err), -EINVAL);

	assert_int_equal(str_hex_digit('0') + str_hex_digit('9'), 9);
	assert_int_equal(str_hex_digit('a') + str_hex_digit('F'), 25);
	for (const char *no = "/:@Gg`\x10\x19 "; *no; no++)
		assert_int_equal(str_hex_digit(*no), -1);
	assert_int_equal(str_hex_digit('\0'), -1);
	assert_int_equal(str_parse_bool(STR("yes"), &b, NULL), 0);
	assert_true(b);
	assert_int_equal(str_parse_bool(STR("0"), &b, NULL), 0);
	assert_false(b);
	assert_int_equal(str_parse_bool(STR("maybe"), &b, &err), -EINVAL);
}

static void test_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "1k", 1024 },
		{ "512M", 512u << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "1T", UINT64_C(1) << 40 },
		{ "3KiB", 3072 },
		{ "3KB", 3072 },
		{ "7B", 7 },
		{ "0x10M", 16u << 20 },
	};
	static const char *const bad_sizes[] = { "",	"M", "1X",  "1MM", "1iB",
						 "1 M", "B", "-1M", "1.5G" };
	struct err err = ERR_INIT;
	uint64_t v = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(str_parse_size(str_of(sizes[i].text), 0, UINT64_MAX, &v, &err), 0);
		assert_true(v == sizes[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_sizes); i++)
		assert_int_equal(str_parse_size(str_of(bad_sizes[i]), 0, UINT64_MAX, &v, &err),
				 -EINVAL);
	assert_int_equal(str_parse_size(STR("16384P"), 0, UINT64_MAX, &v, &err), -ERANGE);
	assert_int_equal(str_parse_size(STR("1M"), 2u << 20, UINT64_MAX, &v, &err), -ERANGE);

	assert_int_equal(str_parse_ns(STR("5"), 0, UINT64_MAX, &v, NULL), 0);
	assert_true(v == UINT64_C(5000000000));
	assert_int_equal(str_parse_ns(STR("10ms"), 0, UINT64_MAX, &v, NULL), 0);
	assert_int_equal(v, 10000000);
	assert_int_equal(str_parse_ns(STR("2h"), 0, UINT64_MAX, &v, NULL), 0);
	assert_true(v == UINT64_C(7200000000000));
	assert_int_equal(str_parse_ns(STR("5 ms"), 0, UINT64_MAX, &v, NULL), -EINVAL);
	assert_int_equal(str_parse_ns(STR("99999999999999h"), 0, UINT64_MAX, &v, NULL), -ERANGE);
}

static void test_distance(void **state)
{
	char longer[100];

	assert_int_equal(str_distance(STR("memory"), STR("memory")), 0);
	assert_int_equal(str_distance(STR("memroy"), STR("memory")), 2);
	assert_int_equal(str_distance(STR(""), STR("abc")), 3);
	assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(str_distance((struct str){ longer, 100 }, STR("x")), 100);
}

static void test_builder(void **state)
{
	struct strbuf b = { 0 };
	char *taken;

	assert_string_equal(strbuf_cstr(&b), "");
	strbuf_reset(&b);
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%03d", i);
	assert_int_equal(b.n, 3000);
	assert_memory_equal(b.p + 2997, "999", 4);
	strbuf_reset(&b);
	strbuf_adds(&b, "ab");
	strbuf_pad(&b, 0, 4);
	strbuf_addc(&b, 'c');
	strbuf_pad(&b, 0, 2);
	assert_string_equal(strbuf_cstr(&b), "ab  c");
	assert_true(str_eq(strbuf_str(&b), STR("ab  c")));
	taken = strbuf_take(&b);
	assert_string_equal(taken, "ab  c");
	free(taken);
	taken = strbuf_take(&b);
	assert_string_equal(taken, "");
	free(taken);
	strbuf_done(&b);
}

static void test_json(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{ { "", 0 }, "\"\"" },
		{ { "a\"\\\n\t\x7f", 6 }, "\"a\\\"\\\\\\n\\u0009\\u007f\"" },
		{ { "\0", 1 }, "\"\\u0000\"" },
		{ { "gr\xc3\xbc\xc3\x9f", 6 }, "\"gr\xc3\xbc\xc3\x9f\"" },
		{ { "\xf0\x9f\x8f\x9d", 4 }, "\"\xf0\x9f\x8f\x9d\"" },
		{ { "\xff", 1 }, "\"\\ufffd\"" },			/* no such byte */
		{ { "\xc3", 1 }, "\"\\ufffd\"" },			/* cut short */
		{ { "\xc0\x80", 2 }, "\"\\ufffd\\ufffd\"" },		/* too long */
		{ { "\xed\xa0\x80", 3 }, "\"\\ufffd\\ufffd\\ufffd\"" }, /* surrogate */
		{ { "\xf4\x90\x80\x80", 4 }, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" }, /* too large */
	};
	struct strbuf b = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strbuf_reset(&b);
		strbuf_add_json(&b, cases[i].in);
		assert_string_equal(strbuf_cstr(&b), cases[i].out);
	}
	strbuf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views),	 cmocka_unit_test(test_cut),
		cmocka_unit_test(test_numbers),	 cmocka_unit_test(test_units),
		cmocka_unit_test(test_distance), cmocka_unit_test(test_builder),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
