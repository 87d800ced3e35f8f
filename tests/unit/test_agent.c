/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPICE's agent protocol, spoken by a guest's agent that the test plays. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vm/agent.h"

/* clang-format off */
enum {
	CLIPBOARD = 4, ANNOUNCE = 6, GRAB = 7, REQUEST = 8, RELEASE = 9, MAX_CLIPBOARD = 14,
	BY_DEMAND = 1 << 5, SELECTION = 1 << 6, CRLF = 1 << 9, MAX_CAP = 1 << 10,
	NONE = 0, UTF8 = 1, PNG = 2,
	HEARD_MAX = 4 << 20,
};
/* clang-format on */

struct fixture {
	struct agent a;
	uint32_t step; /* so many bytes at a time, in both directions */
	/* What the agent has heard: the last message. */
	uint8_t *heard;
	uint32_t type, n;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->heard = malloc(HEARD_MAX);
	f->step = 1 << 20;
	agent_opened(&f->a, true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_done(&f->a);
	free(f->heard);
	free(f);
	return 0;
}

static void put(struct fixture *f, const void *p, size_t n)
{
	for (size_t at = 0; at < n; at += f->step)
		agent_heard(&f->a, (const uint8_t *)p + at, MIN((size_t)f->step, n - at));
}

static void chunk(struct fixture *f, uint32_t port, const void *p, uint32_t n)
{
	uint8_t head[8];

	put_le32(head, port);
	put_le32(head + 4, n);
	put(f, head, 8);
	put(f, p, n);
}

/* A message of the guest's, in chunks of @size. */
static void say_in(struct fixture *f, uint32_t size, uint32_t type, const void *body, uint32_t n)
{
	uint8_t *m = calloc(1, 20 + (size_t)n);

	put_le32(m, 1);
	put_le32(m + 4, type);
	put_le32(m + 16, n);
	memcpy(m + 20, body, n);
	for (uint32_t at = 0; at < n + 20; at += size)
		chunk(f, 1, m + at, MIN(size, n + 20 - at));
	free(m);
}

static void say(struct fixture *f, uint32_t type, const void *body, uint32_t n)
{
	say_in(f, UINT32_MAX - 1, type, body, n);
}

static void announce(struct fixture *f, bool asks, uint32_t caps)
{
	uint8_t body[8];

	put_le32(body, asks);
	put_le32(body + 4, caps);
	say(f, ANNOUNCE, body, 8);
}

/* Words of the guest's about its clipboard, with a selection. */
static void words(struct fixture *f, uint32_t type, uint32_t selection, uint32_t word)
{
	uint8_t body[8];

	put_le32(body, selection);
	put_le32(body + 4, word);
	say(f, type, body, 8);
}

static void text(struct fixture *f, uint32_t size, const char *p, uint32_t n)
{
	uint8_t *body = malloc(8 + (size_t)n);

	put_le32(body, 0);
	put_le32(body + 4, UTF8);
	memcpy(body + 8, p, n);
	say_in(f, size, CLIPBOARD, body, 8 + n);
	free(body);
}

static bool get(struct fixture *f, uint8_t *p, uint32_t n)
{
	uint32_t got = 0, part;

	while (got < n) {
		bool has = agent_has_say(&f->a);

		part = (uint32_t)agent_say(&f->a, p + got, MIN(f->step, n - got));
		assert_int_equal(has, part > 0);
		if (!part)
			break;
		got += part;
	}
	assert_true(got == 0 || got == n);
	return got > 0;
}

/* The next message for the guest: chunks, and what is in them, must be right. */
static bool hear(struct fixture *f)
{
	uint32_t have = 0, want = 20;

	while (have < want) {
		uint8_t head[8];
		uint32_t n;

		if (!get(f, head, 8)) {
			assert_int_equal(have, 0);
			return false;
		}
		n = get_le32(head + 4);
		assert_int_equal(get_le32(head), 1);
		assert_in_range(n, 1, 2048);
		assert_true(have + n <= HEARD_MAX);
		assert_true(get(f, f->heard + have, n));
		have += n;
		if (want == 20 && have >= 20)
			want = 20 + get_le32(f->heard + 16);
		assert_true(have <= want || have < 20);
	}
	assert_int_equal(get_le32(f->heard), 1);
	f->type = get_le32(f->heard + 4);
	f->n = want - 20;
	memmove(f->heard, f->heard + 20, f->n);
	return true;
}

static void expect(struct fixture *f, uint32_t type, uint32_t n)
{
	assert_true(hear(f));
	assert_int_equal(f->type, type);
	assert_int_equal(f->n, n);
}

static void expect_silence(struct fixture *f)
{
	assert_false(hear(f));
	assert_false(agent_has_say(&f->a));
}

/* Up to where both know each other. */
static void greet(struct fixture *f, uint32_t caps)
{
	expect(f, ANNOUNCE, 8);
	assert_int_equal(get_le32(f->heard), 1);
	assert_int_equal(get_le32(f->heard + 4), BY_DEMAND | SELECTION | MAX_CAP);
	announce(f, false, caps);
	if (caps & MAX_CAP) {
		expect(f, MAX_CLIPBOARD, 4);
		assert_int_equal(get_le32(f->heard), AGENT_TEXT_MAX);
	}
}

static void expect_copied(struct fixture *f, const char *want)
{
	size_t n;
	char *got = agent_take(&f->a, &n);

	if (!want) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, n);
	free(got);
	assert_null(agent_take(&f->a, &n));
}

static void test_copy(void **state)
{
	struct fixture *f = *state;

	for (f->step = 1; f->step < 2000; f->step = f->step * 3 + 1) {
		agent_opened(&f->a, true);
		greet(f, BY_DEMAND | SELECTION | MAX_CAP);
		words(f, GRAB, 0, UTF8);
		expect(f, REQUEST, 8);
		assert_int_equal(get_le32(f->heard), 0);
		assert_int_equal(get_le32(f->heard + 4), UTF8);
		expect_silence(f);
		text(f, 7, "Gr\xc3\xbc\xc3\x9f\x65\r\n\xff", 11);
		expect_copied(f, "Gr\xc3\xbc\xc3\x9f\x65\n\xef\xbf\xbd");
		/* It was not asked again. */
		text(f, 100, "unasked", 7);
		expect_copied(f, NULL);
		words(f, RELEASE, 0, 0);
		expect_silence(f);
	}
}

/* Pictures, the other selections, a body that is too short, somebody else's chunks. */
static void test_no_text(void **state)
{
	struct fixture *f = *state;

	greet(f, BY_DEMAND | SELECTION);
	words(f, GRAB, 0, PNG);
	words(f, GRAB, 1, UTF8);
	say(f, GRAB, "", 0);
	say(f, GRAB, "\0\0\0", 3);
	say(f, REQUEST, "", 0);
	say(f, ANNOUNCE, "1234", 4);
	say(f, 99, "anything", 8);
	chunk(f, 2, "not for us, whatever it is", 26);
	chunk(f, 1, "", 0);
	expect_silence(f);
	/* Asked for it, it has another type, or nothing. */
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	words(f, CLIPBOARD, 0, PNG);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	say(f, CLIPBOARD, "\0\0\0\0\1", 5);
	expect_copied(f, NULL);
	/* One answer for each request. */
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	text(f, 2048, "one", 3);
	expect_copied(f, "one");
	text(f, 2048, "two", 3);
	expect_copied(f, "two");
	text(f, 2048, "three", 5);
	expect_copied(f, NULL);
}

static void test_without_selection(void **state)
{
	struct fixture *f = *state;

	greet(f, BY_DEMAND);
	say(f, GRAB, "\1\0\0\0", 4);
	expect(f, REQUEST, 4);
	say(f, CLIPBOARD, "\1\0\0\0text", 8);
	expect_copied(f, "text");
	assert_int_equal(agent_offer(&f->a, STR("x")), 0);
	expect(f, GRAB, 4);
	say(f, REQUEST, "\1\0\0\0", 4);
	expect(f, CLIPBOARD, 5);
	assert_memory_equal(f->heard, "\1\0\0\0x", 5);
}

static void test_paste(void **state)
{
	struct fixture *f = *state;

	/* What there was before the agent came is offered when it says what it can. */
	assert_int_equal(agent_offer(&f->a, STR("a\nb")), 0);
	greet(f, BY_DEMAND | SELECTION | CRLF);
	expect(f, GRAB, 8);
	assert_int_equal(get_le32(f->heard + 4), UTF8);
	expect_silence(f);
	words(f, REQUEST, 0, UTF8);
	expect(f, CLIPBOARD, 8 + 4);
	assert_memory_equal(f->heard, "\0\0\0\0\1\0\0\0a\r\nb", 12);
	/* As often as it asks, within reason. */
	for (int k = 0; k < 1000; k++)
		words(f, REQUEST, 0, UTF8);
	for (int k = 0; k < 16; k++)
		expect(f, CLIPBOARD, 12);
	expect_silence(f);
	/* The guest copies something itself: ours is gone. */
	words(f, GRAB, 0, PNG);
	words(f, REQUEST, 0, UTF8);
	expect(f, CLIPBOARD, 8);
	assert_int_equal(get_le32(f->heard + 4), NONE);
	/* An empty text is one, too. */
	assert_int_equal(agent_offer(&f->a, STR("")), 0);
	expect(f, GRAB, 8);
	words(f, REQUEST, 0, UTF8);
	expect(f, CLIPBOARD, 8);
	assert_int_equal(get_le32(f->heard + 4), UTF8);
	/* An agent that cannot be asked is told nothing. */
	announce(f, true, SELECTION);
	expect(f, ANNOUNCE, 8);
	assert_int_equal(get_le32(f->heard), 0);
	expect_silence(f);
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	const uint32_t max = AGENT_TEXT_MAX;
	char *p = malloc(max + 1);

	memset(p, 'x', max + 1);
	greet(f, BY_DEMAND | SELECTION);
	for (uint32_t n = max; n <= max + 1; n++) {
		words(f, GRAB, 0, UTF8);
		expect(f, REQUEST, 8);
		text(f, 65536, p, n);
		if (n == max) {
			size_t got;
			char *copied = agent_take(&f->a, &got);

			assert_int_equal(got, max);
			free(copied);
		}
	}
	expect_copied(f, NULL);
	assert_int_equal(f->a.nr_too_long, 1);
	/* It was read over as a whole: the next message is one. It would also grow too long when it is made valid. */
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	memset(p, 0xff, max / 2);
	text(f, 65536, p, max / 2);
	expect_copied(f, NULL);
	assert_int_equal(f->a.nr_too_long, 2);
	/* An answer that is too long is one for all that. */
	memset(p, 'x', max);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	text(f, 65536, p, max + 1);
	text(f, 65536, "second", 6);
	expect_copied(f, "second");
	/* The other way, in chunks of their largest size; what changes meanwhile does not change what is on its way. */
	memset(p, 'y', max + 1);
	assert_int_equal(agent_offer(&f->a, (struct str){ p, max + 1 }), -E2BIG);
	assert_int_equal(agent_offer(&f->a, (struct str){ p, max }), 0);
	expect(f, GRAB, 8);
	words(f, REQUEST, 0, UTF8);
	f->step = 1;
	assert_int_equal(agent_say(&f->a, f->heard, 0), 0);
	f->step = 1000;
	assert_int_equal(agent_offer(&f->a, STR("z")), 0);
	expect(f, GRAB, 8);
	expect(f, CLIPBOARD, 9);
	assert_int_equal(agent_offer(&f->a, (struct str){ p, max }), 0);
	expect(f, GRAB, 8);
	words(f, REQUEST, 0, UTF8);
	assert_int_equal(agent_say(&f->a, f->heard, 36), 36); /* up to the text */
	assert_int_equal(agent_offer(&f->a, STR("z")), 0);
	words(f, GRAB, 0, PNG);
	for (size_t n = 0, part; n < max; n += part) {
		uint8_t head[8];

		if (n) {
			assert_true(get(f, head, 8));
			part = get_le32(head + 4);
		} else {
			part = 2048 - 28;
		}
		assert_true(get(f, f->heard, (uint32_t)part));
		assert_int_equal(f->heard[0], 'y');
	}
	expect_silence(f);
	free(p);
}

/* A guest that closes in the middle of anything begins anew. */
static void test_reopen(void **state)
{
	struct fixture *f = *state;
	uint8_t part[20];

	greet(f, BY_DEMAND | SELECTION);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
	put(f, "\1\0\0\0\x40\0\0\0\1\0\0\0\4\0\0\0", 16);
	agent_opened(&f->a, false);
	assert_int_equal(agent_say(&f->a, part, 20), 0);
	announce(f, true, 0);
	expect_silence(f);
	agent_opened(&f->a, true);
	assert_int_equal(agent_say(&f->a, part, 20), 20);
	agent_opened(&f->a, true);
	greet(f, BY_DEMAND | SELECTION | MAX_CAP);
	expect_silence(f);
	/* What is no message: nothing is heard until then. */
	chunk(f, 1, "\2\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(f->a.nr_lost, 1);
	words(f, GRAB, 0, UTF8);
	expect_silence(f);
	agent_opened(&f->a, true);
	greet(f, BY_DEMAND | SELECTION);
	words(f, GRAB, 0, UTF8);
	expect(f, REQUEST, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_selection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paste, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
	};

	return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
