/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "base/base64.h"

/* RFC 4648, section 10, and what is none. */
static void test_both_ways(void **state)
{
	static const char *const v[][2] = { { "", "" },
					    { "f", "Zg==" },
					    { "fo", "Zm8=" },
					    { "foo", "Zm9v" },
					    { "foob", "Zm9vYg==" },
					    { "fooba", "Zm9vYmE=" },
					    { "foobar", "Zm9vYmFy" },
					    { "\xff\xfe\xfb", "//77" } };
	static const char *const bad[] = { "Z",	   "Zg",   "Zg=",  "Zg==Zg==", "=g==",
					   "Z===", "Z=g=", "Zm9-", "Zm9 ",     "Zg=a" };
	struct strbuf out = { 0 };

	for (size_t k = 0; k < ARRAY_SIZE(v); k++) {
		strbuf_reset(&out);
		base64_encode(&out, v[k][0], strlen(v[k][0]));
		assert_string_equal(strbuf_cstr(&out), v[k][1]);
		strbuf_reset(&out);
		assert_int_equal(base64_decode(&out, str_of(v[k][1])), 0);
		assert_string_equal(strbuf_cstr(&out), v[k][0]);
	}
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++)
		assert_int_equal(base64_decode(&out, str_of(bad[k])), -EINVAL);
	assert_int_equal(base64_decode(&out, (struct str){ "Zm\0v", 4 }), -EINVAL);
	strbuf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_both_ways) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
