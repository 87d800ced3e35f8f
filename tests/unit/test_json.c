/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading JSON: values by type, what is refused. */
#include <errno.h>
#include <string.h>

#include "json/json.h"
#include "unit.h"

static struct json *good(const char *text)
{
	struct err err = ERR_INIT;
	struct json *j = NULL;

	if (json_parse(str_of(text), &j, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	return j;
}

static void test_values(void **state)
{
	struct json *j = good("{\"n\": 7, \"s\": \"a\\u00e9\", \"t\": true, \"a\": [1, \"x\"], "
			      "\"neg\": -1, \"r\": 1.5, \"o\": {\"k\": null}}");
	uint64_t v = 99;
	bool b = false;

	assert_true(json_u64(json_get(j, "n"), &v) && v == 7);
	assert_string_equal(json_str(json_get(j, "s")), "a\xc3\xa9");
	assert_true(json_bool(json_get(j, "t"), &b) && b);
	assert_string_equal(json_str(json_at(json_get(j, "a"), 1)), "x");
	assert_null(json_at(json_get(j, "a"), 2));
	assert_non_null(json_get(json_get(j, "o"), "k"));
	/* The wrong type is as good as missing, and changes nothing. */
	assert_false(json_u64(json_get(j, "neg"), &v));
	assert_false(json_u64(json_get(j, "r"), &v));
	assert_false(json_u64(json_get(j, "s"), &v));
	assert_false(json_bool(json_get(j, "n"), &b));
	assert_null(json_str(json_get(j, "n")));
	assert_null(json_get(json_get(j, "a"), "k"));
	assert_null(json_get(json_get(j, "none"), "k"));
	assert_null(json_at(NULL, 0));
	assert_false(json_bool(NULL, &b));
	assert_true(v == 7 && b);
	json_free(j);
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "",
					   "{",
					   "{} x",
					   "7",
					   "nul",
					   "[1,]",
					   "{\"a\":1,\"a\":2}",
					   "[\"\\u0000\"]",
					   "[99999999999999999999]",
					   "[\"\xff\"]" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		struct json *j = NULL;

		assert_int_equal(json_parse(str_of(bad[i]), &j, &err), -EINVAL);
		assert_null(j);
		assert_non_null(strstr(err_text(&err), "JSON: byte "));
	}
	json_free(NULL);
}

/* Texts of Go programs: unsigned numbers, and which of them are not known exactly. */
static void test_wide(void **state)
{
	static const char text[] = "{\"a\": 18446744073709551615, \"b\": 5, \"c\": -7, "
				   "\"d\": 9007199254740993, \"e\": 1.5, \"f\": 2e3}";
	struct err err = ERR_INIT;
	struct json *j = NULL;
	uint64_t u = 99;
	int64_t i = 99;

	assert_int_equal(json_parse(str_of(text), &j, &err), -EINVAL);
	assert_int_equal(json_parse_wide(str_of(text), &j, &err), 0);
	assert_true(json_u64_wide(json_get(j, "a"), &u) && u == UINT64_MAX);
	assert_false(json_i64_wide(json_get(j, "a"), &i));
	assert_true(json_u64_wide(json_get(j, "b"), &u) && u == 5);
	assert_true(json_i64_wide(json_get(j, "c"), &i) && i == -7);
	assert_true(json_u64_wide(json_get(j, "f"), &u) && u == 2000);
	assert_false(json_u64_wide(json_get(j, "c"), &u));
	assert_false(json_u64_wide(json_get(j, "d"), &u));
	assert_false(json_i64_wide(json_get(j, "e"), &i));
	assert_true(u == 2000 && i == -7);
	json_free(j);
	/* Without a number beyond 63 bits all are exact. */
	assert_int_equal(json_parse_wide(STR("[9007199254740993, 1e300]"), &j, &err), 0);
	assert_true(json_u64_wide(json_at(j, 0), &u) && u == 9007199254740993);
	assert_false(json_u64_wide(json_at(j, 1), &u));
	json_free(j);
}

static void test_walk(void **state)
{
	struct json *j = good("{\"b\": [1, 2], \"a\": \"x\", \"n\": null}");
	const struct json *v = NULL;
	const char *key = json_next(j, NULL, &v);

	assert_string_equal(key, "b");
	assert_true(json_kind(v) == JSON_IS_ARRAY && json_count(v) == 2);
	key = json_next(j, key, &v);
	assert_string_equal(key, "a");
	assert_int_equal(json_kind(v), JSON_IS_STRING);
	key = json_next(j, key, &v);
	assert_int_equal(json_kind(v), JSON_IS_NONE);
	assert_null(json_next(j, key, &v));
	assert_true(json_kind(j) == JSON_IS_OBJECT && json_count(j) == 3);
	assert_null(json_next(json_get(j, "b"), NULL, &v));
	assert_int_equal(json_count(NULL), 0);
	json_free(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
