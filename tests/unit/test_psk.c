/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Key files: users, keys, and lines that are neither. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "nbd/psk_priv.h"
#include "unit.h"

static struct nbd_psk *parse(const char *text)
{
	struct nbd_psk *psk = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(nbd_psk_parse(text, strlen(text), "keys", &psk, &err), 0);
	return psk;
}

static void has(const struct nbd_psk *psk, struct str user, struct str key)
{
	struct str got;

	assert_true(nbd_psk_find(psk, user, &got));
	assert_true(str_eq(got, key));
}

static void test_users(void **state)
{
	struct nbd_psk *psk = parse("alice:0011aAFf\r\n\n bob:7f \n#ff00:01\nalice:99");
	struct str key;

	has(psk, STR("alice"), STR("\x00\x11\xaa\xff")); /* the first line counts */
	has(psk, STR("bob"), STR("\x7f"));
	has(psk, STR("\xff\x00"), STR("\x01"));
	assert_false(nbd_psk_find(psk, STR("carol"), &key));
	assert_false(nbd_psk_find(psk, STR("alic"), &key));
	assert_false(nbd_psk_find(psk, STR(""), &key));
	nbd_psk_free(psk);
}

static void test_wrong_lines(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "", "key file 'keys': no key in it" },
		{ "\n \n", "no key in it" },
		{ "alice", "line 1: not USER:HEXKEY" },
		{ "a:00\nb:", "line 2" },
		{ ":00", "line 1" },
		{ "a:0", "line 1" },
		{ "a:0g", "line 1" },
		{ "a:00:00", "line 1" },
		{ "#:00", "line 1" },
		{ "#f:00", "line 1" },
		{ "#fx:00", "line 1" },
		{ "a: 00", "line 1" },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct nbd_psk *psk = NULL;
		struct err err = ERR_INIT;

		assert_int_equal(nbd_psk_parse(cases[k].text, strlen(cases[k].text), "keys", &psk,
					       &err),
				 -EINVAL);
		assert_non_null(strstr(err_text(&err), cases[k].said));
		assert_null(psk);
	}
}

static void test_limits(void **state)
{
	_cleanup_(mem_freep) char *text = mem_new(NBD_PSK_FILE_MAX + 2);
	struct nbd_psk *psk = NULL;
	struct err err = ERR_INIT;
	struct str key;

	memset(text, '\n', NBD_PSK_FILE_MAX + 1);
	assert_int_equal(nbd_psk_parse(text, NBD_PSK_FILE_MAX + 1, "keys", &psk, &err), -E2BIG);
	text[0] = 'u';
	text[1] = ':';
	memset(text + 2, '1', 2 * NBD_PSK_KEY_MAX + 2);
	assert_int_equal(nbd_psk_parse(text, NBD_PSK_FILE_MAX, "keys", &psk, &err), -EINVAL);
	memset(text + 2 + 2 * NBD_PSK_KEY_MAX, '\n', 2);
	assert_int_equal(nbd_psk_parse(text, NBD_PSK_FILE_MAX, "keys", &psk, &err), 0);
	assert_true(nbd_psk_find(psk, STR("u"), &key));
	assert_int_equal(key.n, NBD_PSK_KEY_MAX);
	nbd_psk_free(psk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_wrong_lines),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
