/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The story of an error: set, wrapped, cut, and absent. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "unit.h"

static void test_set(void **state)
{
	struct err err = ERR_INIT;

	assert_string_equal(err_text(&err), "no error");
	errno = EBUSY;
	assert_int_equal(err_set(&err, -EINVAL, "field %d", 7), -EINVAL);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err_text(&err), "field 7");
	assert_int_equal(err_reason(&err, "BadField"), -EINVAL);
	assert_string_equal(err.reason, "BadField");
	assert_int_equal(err_set(&err, -EIO, "other"), -EIO);
	assert_null(err.reason);
}

static void test_errno(void **state)
{
	struct err err = ERR_INIT;

	errno = ENOENT;
	assert_int_equal(err_set_errno(&err, "open '%s'", "x"), -ENOENT);
	assert_string_equal(err_text(&err), "open 'x': No such file or directory");
	errno = 0;
	assert_int_equal(err_set_errno(&err, "nothing"), -EIO);
}

static void test_wrap(void **state)
{
	struct err err = ERR_INIT;

	assert_int_equal(err_wrap(&err, -EPERM, "disk '%s'", "a"), -EPERM);
	assert_string_equal(err_text(&err), "disk 'a': Operation not permitted");
	err_set(&err, -EINVAL, "bad magic");
	err_reason(&err, "BadImage");
	assert_int_equal(err_wrap(&err, -EINVAL, "disk '%s'", "b"), -EINVAL);
	assert_string_equal(err_text(&err), "disk 'b': bad magic");
	assert_string_equal(err.reason, "BadImage");
}

static void test_cut(void **state)
{
	struct err err = ERR_INIT;
	char text[400];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	assert_string_equal(err.text + ERR_TEXT_MAX - 4, "...");
	/* What the user asked for stays in front. */
	err_wrap(&err, -EIO, "reading the disk");
	assert_memory_equal(err.text, "reading the disk: xxx", 21);
	assert_string_equal(err.text + ERR_TEXT_MAX - 4, "...");
}

static void test_null(void **state)
{
	errno = EACCES;
	assert_int_equal(err_set(NULL, -EINVAL, "x"), -EINVAL);
	assert_int_equal(err_set_errno(NULL, "x"), -EACCES);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_reason(NULL, "X"), 0);
	assert_string_equal(err_text(NULL), "no error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),  cmocka_unit_test(test_errno),
		cmocka_unit_test(test_wrap), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
