/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clipboards of viewers: those that know Latin-1 only, and those with the extended clipboard. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/mem.h"
#include "display/cut_text.h"
#include "vnc_viewer.h"

/* clang-format off */
enum {
	RAW = 0, EXTENDED = (int32_t)0xc0a1e5ce,
	TEXT = 1, CAPS = 1 << 24, REQUEST = 1 << 25, PEEK = 1 << 26, NOTIFY = 1 << 27, PROVIDE = 1 << 28,
};
/* clang-format on */

static const int32_t plain[] = { RAW }, extended[] = { RAW, EXTENDED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char *cut_text; /* the last one; owned */
static size_t cut_n;
static unsigned int nr_keys;

static void draw(void *arg, struct surface *s)
{
	if (!s->pixels)
		*s = (struct surface){ 32, 16, mem_new_n(32 * 16, 4) };
}

static void key(void *arg, uint32_t keysym, bool is_down)
{
	pthread_mutex_lock(&lock);
	nr_keys++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void pointer(void *arg, int x, int y, uint8_t mask, unsigned int w, unsigned int h)
{
}

static void cut(void *arg, struct str text)
{
	pthread_mutex_lock(&lock);
	free(cut_text);
	cut_text = malloc(text.n + 1);
	memcpy(cut_text, text.p, text.n);
	cut_n = text.n;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static const struct vnc_ops ops = { .draw = draw, .key = key, .pointer = pointer, .cut = cut };

static struct vnc *start(const struct vnc_ops *o)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .ops = o };
	struct vnc *v;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	return v;
}

/* What a viewer has copied arrives as @want. */
static void expect_cut(struct str want)
{
	pthread_mutex_lock(&lock);
	while (!cut_text)
		pthread_cond_wait(&changed, &lock);
	assert_int_equal(cut_n, want.n);
	assert_memory_equal(cut_text, want.p, want.n);
	free(cut_text);
	cut_text = NULL;
	pthread_mutex_unlock(&lock);
}

static void put_cut(int fd, struct str text)
{
	uint8_t head[8] = { 6 };

	put_be32(head + 4, (uint32_t)text.n);
	put(fd, head, 8);
	put(fd, text.p, text.n);
}

static void put_extended(int fd, uint32_t flags, const void *p, size_t n)
{
	uint8_t head[12] = { 6 };

	put_be32(head + 4, -(uint32_t)(4 + n));
	put_be32(head + 8, flags);
	put(fd, head, 12);
	put(fd, p, n);
}

static void expect_latin1(int fd, struct str want)
{
	char *got = malloc(want.n + 1);
	uint8_t head[8];

	get(fd, head, 8);
	assert_int_equal(head[0], 3);
	assert_int_equal(get_be32(head + 4), want.n);
	get(fd, got, want.n);
	assert_memory_equal(got, want.p, want.n);
	free(got);
}

/* Returns how many bytes follow. */
static uint32_t expect_extended(int fd, uint32_t flags)
{
	uint8_t head[12];

	get(fd, head, 12);
	assert_int_equal(head[0], 3);
	assert_true(get_be32(head + 4) > INT32_MAX);
	assert_int_equal(get_be32(head + 8), flags);
	return -get_be32(head + 4) - 4;
}

static void expect_provide(int fd, struct str want)
{
	uint32_t n = expect_extended(fd, PROVIDE | TEXT);
	uint8_t *packed = malloc(n), *got = malloc(want.n + 5);
	uLongf got_n = want.n + 5;

	get(fd, packed, n);
	assert_int_equal(uncompress(got, &got_n, packed, n), Z_OK);
	assert_int_equal(got_n, want.n + 5);
	assert_int_equal(get_be32(got), want.n + 1);
	assert_memory_equal(got + 4, want.p, want.n);
	assert_int_equal(got[4 + want.n], 0);
	free(packed);
	free(got);
}

/* A viewer with the extended clipboard, to which texts of up to @max bytes may be sent unasked. */
static int join_extended(const struct vnc *v, uint32_t max)
{
	int fd = join(v, extended, ARRAY_SIZE(extended), NULL);
	uint8_t size[4];

	assert_int_equal(expect_extended(fd, CAPS | REQUEST | PEEK | PROVIDE | TEXT), 4);
	get(fd, size, 4);
	put_be32(size, max);
	put_extended(fd, CAPS | REQUEST | PEEK | NOTIFY | PROVIDE | TEXT, size, 4);
	return fd;
}

/* What it said before was heard. */
static void settle(int fd)
{
	const uint8_t press[8] = { 4, 1, 0, 0, 0, 0, 0, 'a' };
	unsigned int before;

	pthread_mutex_lock(&lock);
	before = nr_keys;
	put(fd, press, sizeof(press));
	while (nr_keys == before)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void test_latin1(void **state)
{
	struct vnc *v = start(&ops);
	int one, two;

	/* It is for those who are there. */
	vnc_cut(v, STR("before"));
	one = join(v, plain, 1, NULL);
	settle(one);
	vnc_cut(v, STR("a\n\xc3\xbc\xe2\x82\xac"));
	expect_latin1(one, STR("a\n\xfc?"));
	two = join(v, plain, 1, NULL);
	settle(two);
	vnc_cut(v, STR(""));
	expect_latin1(one, STR(""));
	expect_latin1(two, STR(""));
	put_cut(two, STR("x\xfc\r\n\xff"));
	expect_cut(STR("x\xc3\xbc\n\xc3\xbf"));
	/* Not the other viewers'. */
	vnc_cut(v, STR("z"));
	expect_latin1(one, STR("z"));
	close(one);
	put_cut(two, STR(""));
	expect_cut(STR(""));
	vnc_cut(v, STR("never sent"));
	vnc_free(v);
	close(two);
}

static void test_extended(void **state)
{
	struct vnc *v = start(&ops);
	int one = join_extended(v, 1 << 20), asks = join_extended(v, 0),
	    old = join(v, plain, 1, NULL);
	const uint8_t text[] = "\0\0\0\x08\xe2\x82\xac\r\n\xc3\xbc"; /* with its own zero */
	uint8_t packed[64];
	z_stream z = { .next_in = (uint8_t *)text,
		       .avail_in = sizeof(text),
		       .next_out = packed,
		       .avail_out = sizeof(packed) };

	settle(one);
	settle(asks);
	settle(old);
	vnc_cut(v, STR("\xe2\x82\xac\n\xc3\xbc"));
	expect_provide(one, STR("\xe2\x82\xac\r\n\xc3\xbc"));
	expect_latin1(old, STR("?\n\xfc"));
	assert_int_equal(expect_extended(asks, NOTIFY | TEXT), 0);
	put_extended(asks, REQUEST | TEXT, "", 0);
	expect_provide(asks, STR("\xe2\x82\xac\r\n\xc3\xbc"));
	assert_int_equal(deflateInit(&z, 9), Z_OK);
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	put_extended(one, PROVIDE | TEXT, packed, sizeof(packed) - z.avail_out);
	assert_int_equal(deflateEnd(&z), Z_DATA_ERROR);
	expect_cut(STR("\xe2\x82\xac\n\xc3\xbc"));
	/* Without more ado, it may say the old form, too. */
	put_cut(one, STR("\xfc"));
	expect_cut(STR("\xc3\xbc"));
	close(one);
	close(asks);
	close(old);
	vnc_free(v);
}

static void test_long(void **state)
{
	struct vnc *v = start(&ops);
	int one = join(v, plain, 1, NULL), two = join_extended(v, CUT_TEXT_MAX + 1);
	struct str text = { malloc(CUT_TEXT_MAX + 1), CUT_TEXT_MAX };

	memset((char *)text.p, 'x', CUT_TEXT_MAX + 1);
	settle(one);
	settle(two);
	vnc_cut(v, text);
	expect_latin1(one, text);
	expect_provide(two, text);
	put_cut(one, text);
	expect_cut(text);
	text.n++;
	vnc_cut(v, text);
	vnc_cut(v, STR("short"));
	expect_latin1(one, STR("short"));
	expect_provide(two, STR("short"));
	free((char *)text.p);
	close(one);
	close(two);
	vnc_free(v);
}

/* Where nobody asked for it, what viewers copy is not looked at. */
static void test_unwanted(void **state)
{
	static const struct vnc_ops without = { .draw = draw, .key = key, .pointer = pointer };
	struct vnc *v = start(&without);
	int fd = join(v, plain, 1, NULL);

	put_cut(fd, STR("secret"));
	settle(fd);
	assert_null(cut_text);
	close(fd);
	vnc_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_latin1),
		cmocka_unit_test(test_extended),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_unwanted),
	};

	return cmocka_run_group_tests_name("vnc-cut", tests, NULL, NULL);
}
