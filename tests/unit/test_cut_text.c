/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The forms of a clipboard's text. */
#include "unit.h"

#include "base/utf8.h"
#include "display/cut_text.h"

typedef void (*convert)(struct str text, struct strbuf *ret);

static void check(convert fn, struct str in, struct str want)
{
	struct strbuf out = { 0 };

	fn(in, &out);
	assert_int_equal(out.n, want.n);
	assert_memory_equal(strbuf_cstr(&out), want.p, want.n);
	strbuf_done(&out);
}

static void test_plain(void **state)
{
	check(cut_text_plain, STR(""), STR(""));
	check(cut_text_plain, STR("a\r\nb\nc\rd\r"), STR("a\nb\nc\rd\r"));
	check(cut_text_plain, STR("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\0x"),
	      STR("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"));
	/* Cut off, too long, a surrogate, past the last one, alone. */
	check(cut_text_plain, STR("\xc3"), STR("\xef\xbf\xbd"));
	check(cut_text_plain, STR("\xc0\x80z"), STR("\xef\xbf\xbd\xef\xbf\xbdz"));
	check(cut_text_plain, STR("\xed\xa0\x80"), STR("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
	check(cut_text_plain, STR("\xf4\x90\x80\x80"),
	      STR("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
	check(cut_text_plain, STR("\xff\r\n"), STR("\xef\xbf\xbd\n"));
}

static void test_latin1(void **state)
{
	check(cut_text_from_latin1, STR("a\xfc\r\n\xff\0b"), STR("a\xc3\xbc\n\xc3\xbf"));
	check(cut_text_to_latin1, STR("a\xc3\xbc\n\xc3\xbf\xe2\x82\xac!"), STR("a\xfc\n\xff?!"));
	check(cut_text_to_latin1, STR(""), STR(""));
	check(cut_text_crlf, STR("\na\n\nb"), STR("\r\na\r\n\r\nb"));
}

/* Every character there and back. */
static void test_all(void **state)
{
	struct strbuf b = { 0 };

	for (uint32_t c = 0; c < 0x110000; c++) {
		size_t n;

		if (c >= 0xd800 && c < 0xe000)
			continue;
		strbuf_reset(&b);
		utf8_add(&b, c);
		assert_int_equal(utf8_next(strbuf_str(&b), &n), c);
		assert_int_equal(n, b.n);
	}
	strbuf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_latin1),
		cmocka_unit_test(test_all),
	};

	return cmocka_run_group_tests_name("cut_text", tests, NULL, NULL);
}
