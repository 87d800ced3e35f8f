/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server, seen by a viewer that speaks RFB 3.8 byte by byte; and the keys it leads to. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "display/keys.h"
#include "display/pointer.h"
#include "vnc_viewer.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t typed = PTHREAD_COND_INITIALIZER;
static unsigned int width = 32, height = 16, nr_keys;
static uint32_t color = 0x123456, last_key;
static bool last_down;
static struct pointer last_pointer;
static unsigned int nr_pointers;

static void draw(void *arg, struct surface *s)
{
	pthread_mutex_lock(&lock);
	if (s->width != width || s->height != height) {
		surface_done(s);
		*s = (struct surface){ width, height, mem_new_n(width * height, 4) };
	}
	for (unsigned int k = 0; k < width * height; k++)
		s->pixels[k] = color;
	pthread_mutex_unlock(&lock);
}

static void key(void *arg, uint32_t keysym, bool is_down)
{
	pthread_mutex_lock(&lock);
	last_key = keysym;
	last_down = is_down;
	nr_keys++;
	pthread_cond_signal(&typed);
	pthread_mutex_unlock(&lock);
}

static void pointer(void *arg, int x, int y, uint8_t mask, unsigned int w, unsigned int h)
{
	pthread_mutex_lock(&lock);
	last_pointer = (struct pointer){ true, x, y, mask };
	nr_pointers++;
	pthread_cond_signal(&typed);
	pthread_mutex_unlock(&lock);
}

static const struct vnc_ops ops = { .draw = draw, .key = key, .pointer = pointer };

/* One whole picture in raw encoding; returns its size and first pixel. */
static uint32_t look(int fd, uint16_t w, uint16_t h)
{
	uint8_t ask[10] = { 3 }, head[4], rect[12], pixel[4];
	uint32_t first = 0;

	put_be16(ask + 6, w);
	put_be16(ask + 8, h);
	put(fd, ask, sizeof(ask));
	get(fd, head, 4);
	assert_int_equal(head[0], 0);
	for (unsigned int n = get_be16(head + 2); n; n--) {
		get(fd, rect, 12);
		assert_int_equal(get_be32(rect + 8), 0);
		for (unsigned int k = 0; k < (unsigned int)get_be16(rect + 4) * get_be16(rect + 6);
		     k++) {
			get(fd, pixel, 4);
			first = get_le32(pixel);
		}
	}
	return first & 0xffffff;
}

static void test_viewer(void **state)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .ops = &ops };
	uint8_t type, init[24], result[4], share = 1, name[1];
	const uint8_t press[8] = { 4, 1, 0, 0, 0, 0, 0, 'a' }, point[6] = { 5, 0x11, 0, 7, 0, 9 };
	struct vnc *v;
	uint32_t seen = 0;
	int fd;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	fd = greet(v, &type);
	assert_int_equal(type, 1); /* none */
	put(fd, &type, 1);
	get(fd, result, 4);
	assert_int_equal(get_be32(result), 0);
	put(fd, &share, 1);
	get(fd, init, 24);
	assert_int_equal(get_be32(init + 20), 1);
	get(fd, name, 1);
	assert_int_equal(name[0], 'm');
	/* The first pictures may still be of the size from before the first drawing. */
	for (int k = 0; k < 100 && seen != 0x123456; k++)
		seen = look(fd, 8, 8);
	assert_int_equal(seen, 0x123456);
	pthread_mutex_lock(&lock);
	color = 0xabcdef;
	pthread_mutex_unlock(&lock);
	for (int k = 0; k < 100000 && seen != 0xabcdef; k++)
		seen = look(fd, 8, 8);
	assert_int_equal(seen, 0xabcdef);
	put(fd, press, sizeof(press));
	pthread_mutex_lock(&lock);
	while (!nr_keys)
		pthread_cond_wait(&typed, &lock);
	assert_int_equal(last_key, 'a');
	assert_true(last_down);
	pthread_mutex_unlock(&lock);
	put(fd, point, sizeof(point));
	pthread_mutex_lock(&lock);
	while (!nr_pointers)
		pthread_cond_wait(&typed, &lock);
	assert_int_equal(last_pointer.x, 7);
	assert_int_equal(last_pointer.y, 9);
	assert_int_equal(last_pointer.mask, 0x11);
	pthread_mutex_unlock(&lock);
	vnc_free(v); /* with a viewer there */
	close(fd);
}

/* What an update that was asked for had in it. */
struct update {
	unsigned int nr_sizes, nr_cursors; /* rectangles that say a size, or a pointer's picture */
	uint16_t width, height;		   /* the last size, */
	uint16_t reason, status;	   /* and why it was told, as of ExtendedDesktopSize */
	uint16_t cursor_width, cursor_height;
};

enum { RAW = 0, DESKTOP_SIZE = -223, POINTER_POS = -232, RICH_CURSOR = -239, EXTENDED_SIZE = -308 };

static void skip_bytes(int fd, size_t n)
{
	uint8_t rest[256];

	for (size_t part; n; n -= part) {
		part = MIN(n, sizeof(rest));
		get(fd, rest, part);
	}
}

static void read_rect(int fd, struct update *u)
{
	uint8_t rect[12], screens[4];
	uint16_t x, y, w, h;

	get(fd, rect, 12);
	x = get_be16(rect);
	y = get_be16(rect + 2);
	w = get_be16(rect + 4);
	h = get_be16(rect + 6);
	switch ((int32_t)get_be32(rect + 8)) {
	case RAW:
		skip_bytes(fd, (size_t)w * h * 4);
		break;
	case EXTENDED_SIZE:
		get(fd, screens, 4);
		skip_bytes(fd, screens[0] * 16u);
		u->reason = x;
		u->status = y;
		_fallthrough_;
	case DESKTOP_SIZE:
		u->nr_sizes++;
		u->width = w;
		u->height = h;
		break;
	case RICH_CURSOR:
		skip_bytes(fd, (size_t)w * h * 4 + (size_t)(w + 7) / 8 * h);
		u->nr_cursors++;
		u->cursor_width = w;
		u->cursor_height = h;
		break;
	case POINTER_POS:
		break;
	default:
		fail();
	}
}

static void read_update(int fd, struct update *u)
{
	uint8_t ask[10] = { 3, 0, 0, 0, 0, 0, 0, 64, 0, 64 }, head[4];

	put(fd, ask, sizeof(ask));
	get(fd, head, 4);
	assert_int_equal(head[0], 0);
	for (unsigned int n = get_be16(head + 2); n; n--)
		read_rect(fd, u);
}

/* The guest changes its mode: every viewer that can resize is told the new size, by the way that it knows. */
static void test_resize(void **state)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .ops = &ops };
	static const int32_t old[] = { RAW, DESKTOP_SIZE }, extended[] = { RAW, EXTENDED_SIZE };
	struct update u[2] = { 0 };
	struct vnc *v;
	int fd[2];

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	fd[0] = join(v, old, ARRAY_SIZE(old), NULL);
	fd[1] = join(v, extended, ARRAY_SIZE(extended), NULL);
	pthread_mutex_lock(&lock);
	width = 48;
	height = 24;
	pthread_mutex_unlock(&lock);
	for (int k = 0; k < 2; k++) {
		while (u[k].width != 48)
			read_update(fd[k], &u[k]);
		assert_int_equal(u[k].height, 24);
		close(fd[k]);
	}
	vnc_free(v);
	width = 32;
	height = 16;
}

/* A viewer that wants another size is told that it cannot have it, and by whom it was asked. */
static void test_wanted_size(void **state)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .ops = &ops };
	static const int32_t known[] = { RAW, EXTENDED_SIZE };
	uint8_t want[8 + 16] = { 251, 0, 0, 100, 0, 100, 1, 0,	 0, 0,
				 0,   1, 0, 0,	 0, 0,	 0, 100, 0, 100 };
	struct update u = { 0 };
	struct vnc *v;
	int fd;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	fd = join(v, known, ARRAY_SIZE(known), NULL);
	while (u.width != 32)
		read_update(fd, &u);
	put(fd, want, sizeof(want));
	while (!u.reason)
		read_update(fd, &u);
	assert_int_equal(u.reason, 1); /* this viewer's request */
	assert_int_equal(u.status, 1); /* prohibited */
	assert_int_equal(u.width, 32);
	close(fd);
	vnc_free(v);
}

/* The guest draws its pointer into the screen: viewers that would draw one are given an empty one, so that there are not two. */
static void test_cursor(void **state)
{
	struct vnc_config cfg = { .address = "127.0.0.1:0", .name = "m", .ops = &ops };
	static const int32_t known[] = { RAW, RICH_CURSOR, POINTER_POS };
	struct update u = { .cursor_width = 1 };
	struct vnc *v;
	int fd;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	fd = join(v, known, ARRAY_SIZE(known), NULL);
	while (!u.nr_cursors)
		read_update(fd, &u);
	assert_int_equal(u.cursor_width, 0);
	assert_int_equal(u.cursor_height, 0);
	close(fd);
	vnc_free(v);
}

static void test_password(void **state)
{
	struct vnc_config cfg = {
		.address = "127.0.0.1:0", .name = "m", .password = "secret", .ops = &ops
	};
	uint8_t type, challenge[16] = { 0 }, result[4];
	struct vnc *v;
	int fd;

	assert_int_equal(vnc_new(&cfg, &v, NULL), 0);
	fd = greet(v, &type);
	assert_int_equal(type, 2);
	put(fd, &type, 1);
	get(fd, challenge, 16);
	put(fd, challenge, 16); /* not encrypted with the password */
	get(fd, result, 4);
	assert_int_equal(get_be32(result), 1);
	close(fd);
	vnc_free(v);
}

static void test_refusals(void **state)
{
	static const char *const bad[] = {
		"", "5901", "localhost", "127.0.0.1:", "127.0.0.1:99999", "1.2.3:5", "::1:5901"
	};
	struct vnc_config cfg = { .name = "m", .ops = &ops };
	struct vnc *v;

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		cfg.address = bad[k];
		assert_int_equal(vnc_new(&cfg, &v, NULL), -EINVAL);
	}
	cfg.address = "192.0.2.1:5901"; /* not ours */
	assert_int_equal(vnc_new(&cfg, &v, NULL), -EADDRINUSE);
	vnc_free(NULL);
}

static void test_keys(void **state)
{
	static const struct {
		uint32_t keysym;
		uint8_t code;
		bool extended;
	} keys[] = { { 'a', 0x1e, false },    { 'A', 0x1e, false },    { '1', 0x02, false },
		     { '!', 0x02, false },    { '?', 0x35, false },    { '\\', 0x2b, false },
		     { '|', 0x2b, false },    { '`', 0x29, false },    { ' ', 0x39, false },
		     { 0xff0d, 0x1c, false }, { 0xff1b, 0x01, false }, { 0xff52, 0x48, true },
		     { 0xffe4, 0x1d, true },  { 0xffc9, 0x58, false }, { 0xffff, 0x53, true },
		     { 0, 0, false },	      { 0x7f, 0, false },      { 0x20ac, 0, false },
		     { 0x10000, 0, false },   { 0x1ff0d, 0, false } };
	bool extended;

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		assert_int_equal(keys_scancode(keys[k].keysym, &extended), keys[k].code);
		assert_int_equal(extended, keys[k].extended);
	}
}

static void test_pointer(void **state)
{
	struct pointer p = { 0 };
	struct pointer_move m = pointer_follow(&p, 50, 60, 0, 100, 200);

	assert_true(m.dx == 0 && m.dy == 0 && m.dz == 0);
	m = pointer_follow(&p, 47, 65, POINTER_LEFT | POINTER_BACK, 100, 200);
	assert_true(m.dx == -3 && m.dy == 5 && m.left && m.back && !m.middle && !m.right);
	/* A wheel's step is a press; holding it is none. */
	m = pointer_follow(&p, 47, 65, POINTER_WHEEL_UP, 100, 200);
	assert_true(m.dx == 0 && m.dy == 0 && m.dz == -1 && !m.left);
	m = pointer_follow(&p, 47, 65, POINTER_WHEEL_UP | POINTER_WHEEL_DOWN, 100, 200);
	assert_true(m.dz == 1);
	m = pointer_follow(&p, 47, 65, POINTER_WHEEL_DOWN | POINTER_RIGHT | POINTER_MIDDLE, 100,
			   200);
	assert_true(m.dz == 0 && m.right && m.middle);
	/* At an edge it is pushed against it; outside is at the edge. */
	m = pointer_follow(&p, 0, 65, 0, 100, 200);
	assert_true(m.dx == -47 - 99 && m.dy == 0);
	m = pointer_follow(&p, 1000, -5, 0, 100, 200);
	assert_true(m.dx == 99 + 99 && m.dy == -65 - 199);
	m = pointer_follow(&p, 0, 0, 0, 1, 1); /* the screen became small */
	assert_true(m.dx == -99 && m.dy == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_viewer),	    cmocka_unit_test(test_resize),
		cmocka_unit_test(test_wanted_size), cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_password),    cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_keys),	    cmocka_unit_test(test_pointer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
