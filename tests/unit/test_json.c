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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
