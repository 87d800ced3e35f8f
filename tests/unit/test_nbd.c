/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One client's session without a socket: frames whole and in pieces, limits, and time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/str.h"
#include "nbd/session_priv.h"
#include "unit.h"

#define SIZE (1 << 20)

struct fixture {
	struct nbd_export export;
	struct nbd_session *s;
	struct clock_fake clock;
	struct strbuf got; /* all that was sent */
	size_t piece;	   /* so much is received or sent at a time */
};

static void wake(void *arg)
{
}

static void start(struct fixture *f, bool needs_tls)
{
	f->s = nbd_session_new(&f->export, needs_tls, clock_now(&f->clock.clock), wake, f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct disk_open_opts o = { .flags = DISK_RDWR | DISK_UNMAP, .format = "raw" };
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_non_null(f);
	assert_return_code(ftruncate(fd, SIZE), 0);
	assert_return_code(disk_open_fd(fd, "test", &o, &f->export.disk, NULL), 0);
	assert_return_code(disk_async_start(f->export.disk, 2, NULL), 0);
	f->export.name = "x";
	f->piece = SIZE_MAX;
	clock_fake_init(&f->clock, 1000, 0);
	start(f, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	disk_drain(f->export.disk);
	nbd_session_end(f->s, NULL);
	assert_in_range(nbd_session_output(f->s, (struct iovec[64]){ 0 }, 64), 0, 64);
	nbd_session_free(f->s);
	disk_close(f->export.disk, NULL);
	strbuf_done(&f->got);
	free(f);
	return 0;
}

/* Take what is to be sent; false: nothing. */
static bool send_some(struct fixture *f)
{
	struct iovec iov[8];
	unsigned nr = nbd_session_output(f->s, iov, 8);
	size_t n;

	if (!nr)
		return false;
	n = MIN(iov[0].iov_len, f->piece);
	strbuf_add(&f->got, iov[0].iov_base, n);
	nbd_session_sent(f->s, n);
	return true;
}

static void drain(struct fixture *f)
{
	do
		disk_drain(f->export.disk);
	while (send_some(f));
}

/* Bytes from the client; those that it may not send yet wait until answers were read. */
static void feed(struct fixture *f, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		size_t room;
		uint8_t *to = nbd_session_room(f->s, &room);
		size_t k = MIN(MIN(n, room), f->piece);

		if (!k) {
			disk_drain(f->export.disk);
			if (!send_some(f))
				return;
			continue;
		}
		memcpy(to, p, k);
		nbd_session_received(f->s, k);
		p += k;
		n -= k;
	}
	drain(f);
}

static void flags(struct fixture *f, uint32_t v)
{
	uint8_t b[4];

	put_be32(b, v);
	feed(f, b, 4);
}

static void option(struct fixture *f, uint32_t nr, const void *data, uint32_t n)
{
	uint8_t head[16];

	put_be64(head, NBD_OPTION_MAGIC);
	put_be32(head + 8, nr);
	put_be32(head + 12, n);
	feed(f, head, 16);
	feed(f, data, n);
}

static void go(struct fixture *f, bool structured)
{
	drain(f);
	flags(f, 3);
	if (structured)
		option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	option(f, NBD_OPT_GO, "\0\0\0\1x\0\0", 7);
	assert_int_equal(f->s->phase, NBD_REQUESTS);
	strbuf_reset(&f->got);
}

static void request(struct fixture *f, unsigned how, unsigned cmd, uint64_t cookie, uint64_t off,
		    uint32_t n)
{
	uint8_t b[28];

	put_be32(b, NBD_REQUEST_MAGIC);
	put_be16(b + 4, (uint16_t)how);
	put_be16(b + 6, (uint16_t)cmd);
	put_be64(b + 8, cookie);
	put_be64(b + 16, off);
	put_be32(b + 24, n);
	feed(f, b, 28);
}

/* The next simple reply in what was sent. */
static void expect_simple(struct fixture *f, size_t *at, uint64_t cookie, uint32_t error)
{
	const uint8_t *p = (const uint8_t *)f->got.p + *at;

	assert_true(f->got.n >= *at + 16);
	assert_int_equal(get_be32(p), NBD_SIMPLE_MAGIC);
	assert_int_equal(get_be32(p + 4), error);
	assert_int_equal(get_be64(p + 8), cookie);
	*at += 16;
}

/* The next answer to an option. Returns its type. */
static uint32_t next_answer(struct fixture *f, size_t *at, uint32_t opt)
{
	const uint8_t *p = (const uint8_t *)f->got.p + *at;

	assert_true(f->got.n >= *at + 20);
	assert_int_equal(get_be64(p), NBD_REPLY_MAGIC);
	assert_int_equal(get_be32(p + 8), opt);
	*at += 20 + get_be32(p + 16);
	return get_be32(p + 12);
}

static void test_greeting(void **state)
{
	struct fixture *f = *state;

	drain(f);
	assert_int_equal(f->got.n, 18);
	assert_memory_equal(f->got.p, "NBDMAGICIHAVEOPT\0\3", 18);
	flags(f, 1 << 5);
	assert_int_equal(f->s->phase, NBD_ENDED);
	assert_string_equal(f->s->why, "unknown flags");
}

static void test_export_name(void **state)
{
	struct fixture *f = *state;

	drain(f);
	strbuf_reset(&f->got);
	flags(f, 1);
	option(f, NBD_OPT_EXPORT_NAME, "x", 1);
	assert_int_equal(f->got.n, 8 + 2 + 124);
	assert_int_equal(get_be64(f->got.p), SIZE);
	assert_int_equal(f->s->phase, NBD_REQUESTS);
}

static void test_unknown_export(void **state)
{
	struct fixture *f = *state;
	size_t at = 0;

	drain(f);
	flags(f, 3);
	strbuf_reset(&f->got);
	option(f, NBD_OPT_GO, "\0\0\0\1y\0\0", 7);
	assert_int_equal(next_answer(f, &at, NBD_OPT_GO), NBD_REP_ERR_UNKNOWN);
	option(f, NBD_OPT_EXPORT_NAME, "", 0);
	assert_int_equal(f->s->phase, NBD_ENDED);
}

static void test_bad_options(void **state)
{
	static const struct {
		uint32_t opt, want;
		struct str data;
	} cases[] = {
		{ 99, NBD_REP_ERR_UNSUP, STR("abc") },
		{ NBD_OPT_LIST, NBD_REP_ERR_INVALID, STR("a") },
		{ NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID, STR("a") },
		{ NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, STR("") },
		{ NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, STR("x") },
		{ NBD_OPT_INFO, NBD_REP_ERR_INVALID, STR("") },
		{ NBD_OPT_INFO, NBD_REP_ERR_INVALID, STR("\0\0\0\2x\0\0") },
		{ NBD_OPT_INFO, NBD_REP_ERR_INVALID, STR("\xff\xff\xff\xffx\0\0") },
		{ NBD_OPT_INFO, NBD_REP_ERR_INVALID, STR("\0\0\0\1x\0\1") },
		{ NBD_OPT_INFO, NBD_REP_ERR_INVALID, STR("\0\0\0\1x\xff\xff\0\1") },
		{ NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID, STR("\0\0\0\1x\0\0\0\0") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID, STR("\0\0\0\1x\0\0\0\1") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID,
		  STR("\0\0\0\1x\xff\xff\xff\xff\0\0\0\1a") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_UNKNOWN, STR("\0\0\0\1y\0\0\0\0") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT, STR("\0\0\0\1x\0\0\0\0") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT,
		  STR("\0\0\0\1x\0\0\0\1\0\0\0\5base:") },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_REP_ACK, STR("\0\0\0\1x\0\0\0\1\0\0\0\5qemu:") },
	};
	struct fixture *f = *state;

	drain(f);
	flags(f, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t at = 0;

		strbuf_reset(&f->got);
		option(f, cases[i].opt, cases[i].data.p, (uint32_t)cases[i].data.n);
		assert_int_equal(next_answer(f, &at, cases[i].opt), cases[i].want);
		assert_int_equal(f->s->phase, NBD_OPTIONS);
	}
}

static void test_large_option(void **state)
{
	struct fixture *f = *state;
	char *data = calloc(1, 100000);
	size_t at = 0;

	drain(f);
	flags(f, 3);
	strbuf_reset(&f->got);
	option(f, NBD_OPT_GO, data, 100000);
	assert_int_equal(next_answer(f, &at, NBD_OPT_GO), NBD_REP_ERR_TOO_BIG);
	option(f, NBD_OPT_LIST, NULL, 0);
	assert_int_equal(next_answer(f, &at, NBD_OPT_LIST), NBD_REP_SERVER);
	free(data);
	option(f, NBD_OPT_GO, NULL, NBD_PAYLOAD_MAX + 1);
	assert_int_equal(f->s->phase, NBD_ENDED);
}

static void test_options_end(void **state)
{
	struct fixture *f = *state;

	drain(f);
	flags(f, 3);
	for (int i = 0; i < NBD_OPTIONS_MAX; i++)
		option(f, 77, NULL, 0);
	assert_int_equal(f->s->phase, NBD_OPTIONS);
	option(f, 77, NULL, 0);
	assert_string_equal(f->s->why, "too many options");
}

static void test_read_and_write(void **state)
{
	struct fixture *f = *state;
	static char data[70000];
	size_t at = 0;

	memset(data, 'q', sizeof(data));
	go(f, false);
	request(f, NBD_CMD_FUA, NBD_CMD_WRITE, 1, 100, sizeof(data));
	feed(f, data, sizeof(data));
	expect_simple(f, &at, 1, 0);
	request(f, 0, NBD_CMD_READ, 2, 99, 4096);
	expect_simple(f, &at, 2, 0);
	assert_int_equal(f->got.p[at], 0);
	assert_memory_equal(f->got.p + at + 1, data, 4095);
	at += 4096;
	request(f, 0, NBD_CMD_WRITE_ZEROES, 3, 0, 200);
	expect_simple(f, &at, 3, 0);
	request(f, 0, NBD_CMD_READ, 4, 199, 2);
	expect_simple(f, &at, 4, 0);
	assert_memory_equal(f->got.p + at, "\0q", 2);
	at += 2;
	request(f, 0, NBD_CMD_FLUSH, 5, 0, 0);
	expect_simple(f, &at, 5, 0);
	request(f, 0, NBD_CMD_READ, 6, 0, 0);
	expect_simple(f, &at, 6, 0);
	request(f, 0, NBD_CMD_DISC, 7, 0, 0);
	assert_int_equal(f->got.n, at);
	assert_true(nbd_session_idle(f->s));
	assert_null(f->s->why);
}

/* Each byte comes alone and goes alone. */
static void test_in_pieces(void **state)
{
	struct fixture *f = *state;

	f->piece = 1;
	test_read_and_write(state);
}

static void test_bad_requests(void **state)
{
	struct fixture *f = *state;
	char data[600] = { 0 };
	size_t at = 0;

	go(f, false);
	request(f, 0, NBD_CMD_READ, 1, SIZE - 1, 2);
	expect_simple(f, &at, 1, NBD_EINVAL);
	request(f, 0, NBD_CMD_READ, 2, UINT64_MAX, 2);
	expect_simple(f, &at, 2, NBD_EINVAL);
	request(f, 0, NBD_CMD_READ, 3, 0, NBD_PAYLOAD_MAX + 1);
	expect_simple(f, &at, 3, NBD_EINVAL);
	/* The payload of a refused write is no request. */
	request(f, 0, NBD_CMD_WRITE, 4, SIZE - 599, 600);
	feed(f, data, 600);
	expect_simple(f, &at, 4, NBD_ENOSPC);
	request(f, 0, 99, 5, 0, 0);
	expect_simple(f, &at, 5, NBD_EINVAL);
	request(f, NBD_CMD_DF, NBD_CMD_READ, 6, 0, 1);
	expect_simple(f, &at, 6, NBD_EINVAL);
	request(f, 0, NBD_CMD_BLOCK_STATUS, 7, 0, 512);
	expect_simple(f, &at, 7, NBD_EINVAL);
	request(f, 0, NBD_CMD_FLUSH, 8, 1, 0);
	expect_simple(f, &at, 8, NBD_EINVAL);
	/* A memory file writes zeros: no fast ones are offered. */
	request(f, NBD_CMD_FAST_ZERO, NBD_CMD_WRITE_ZEROES, 9, 0, 4096);
	expect_simple(f, &at, 9, NBD_EINVAL);
	assert_int_equal(f->got.n, at);
	request(f, 0, NBD_CMD_WRITE, 10, 0, NBD_PAYLOAD_MAX + 1);
	assert_string_equal(f->s->why, "payload too long");
	assert_int_equal(f->got.n, at);
}

static void test_bad_magic(void **state)
{
	struct fixture *f = *state;
	char data[28] = { 0 };

	go(f, false);
	feed(f, data, sizeof(data));
	assert_string_equal(f->s->why, "not a request");
}

static void test_structured(void **state)
{
	struct fixture *f = *state;
	const uint8_t *p;

	drain(f);
	flags(f, 3);
	option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\1x\0\0\0\1\0\0\0\17base:allocation", 28);
	option(f, NBD_OPT_GO, "\0\0\0\1x\0\0", 7);
	strbuf_reset(&f->got);
	assert_return_code(disk_write(f->export.disk, 65536, "data", 4), 0);
	request(f, NBD_CMD_DF, NBD_CMD_READ, 1, 65536, 4);
	p = (const uint8_t *)f->got.p;
	assert_int_equal(f->got.n, 32);
	assert_int_equal(get_be32(p), NBD_STRUCTURED_MAGIC);
	assert_int_equal(get_be16(p + 4), NBD_CHUNK_DONE);
	assert_int_equal(get_be16(p + 6), NBD_CHUNK_DATA);
	assert_int_equal(get_be32(p + 16), 12);
	assert_int_equal(get_be64(p + 20), 65536);
	assert_memory_equal(p + 28, "data", 4);
	strbuf_reset(&f->got);
	request(f, 0, NBD_CMD_BLOCK_STATUS, 2, 0, SIZE);
	p = (const uint8_t *)f->got.p;
	assert_int_equal(get_be16(p + 6), NBD_CHUNK_BLOCK_STATUS);
	assert_int_equal(f->got.n, 20 + 4 + 3 * 8);
	assert_int_equal(get_be32(p + 24), 65536);
	assert_int_equal(get_be32(p + 28), NBD_STATE_HOLE | NBD_STATE_ZERO);
	assert_int_equal(get_be32(p + 32), 4096);
	assert_int_equal(get_be32(p + 36), 0);
	assert_int_equal(get_be32(p + 40), SIZE - 65536 - 4096);
	strbuf_reset(&f->got);
	request(f, NBD_CMD_REQ_ONE, NBD_CMD_BLOCK_STATUS, 3, 65537, SIZE - 65537);
	assert_int_equal(f->got.n, 20 + 4 + 8);
	strbuf_reset(&f->got);
	request(f, 0, NBD_CMD_READ, 4, SIZE, 1);
	p = (const uint8_t *)f->got.p;
	assert_int_equal(get_be16(p + 6), NBD_CHUNK_ERROR);
	assert_int_equal(get_be32(p + 20), NBD_EINVAL);
	assert_int_equal(f->got.n, 26);
}

/* A second context, with an answer that fails. */
static int odd_even(void *arg, uint64_t off, uint64_t len, uint32_t *ret_flags, uint64_t *ret_len)
{
	*ret_flags = off >> 16 & 1;
	*ret_len = MIN(len, 65536 - (off & 65535));
	return off >= SIZE / 2 ? -EIO : 0;
}

static void test_contexts(void **state)
{
	static const struct nbd_context more = { "test:odd", odd_even, NULL };
	struct fixture *f = *state;
	const uint8_t *p;

	nbd_session_end(f->s, NULL);
	nbd_session_free(f->s);
	f->export.contexts = &more;
	f->export.nr_contexts = 1;
	start(f, false);
	drain(f);
	flags(f, 3);
	option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	option(f, NBD_OPT_SET_META_CONTEXT,
	       "\0\0\0\1x\0\0\0\2\0\0\0\10test:odd\0\0\0\17base:allocation", 40);
	option(f, NBD_OPT_GO, "\0\0\0\1x\0\0", 7);
	strbuf_reset(&f->got);
	request(f, 0, NBD_CMD_BLOCK_STATUS, 1, 0, 131072);
	p = (const uint8_t *)f->got.p;
	assert_int_equal(f->got.n, 32 + 40);
	assert_int_equal(get_be16(p + 4), 0);
	assert_int_equal(get_be32(p + 20), 1);
	assert_int_equal(get_be16(p + 36), NBD_CHUNK_DONE);
	assert_int_equal(get_be32(p + 52), 2);
	assert_int_equal(get_be32(p + 32 + 24 + 8 + 4), 1);
	strbuf_reset(&f->got);
	request(f, 0, NBD_CMD_BLOCK_STATUS, 1, 0, SIZE);
	p = (const uint8_t *)f->got.p;
	assert_int_equal(get_be16(p + 6), NBD_CHUNK_ERROR);
	assert_int_equal(get_be32(p + 20), NBD_EIO);
}

/* Nobody takes replies: slots and memory end, the rest waits, and all is answered in the end. */
static void test_limits(void **state)
{
	struct fixture *f = *state;
	uint8_t b[28] = { 0 };
	unsigned nr = 0, answered = 0;
	size_t room;

	go(f, false);
	put_be32(b, NBD_REQUEST_MAGIC);
	put_be32(b + 24, SIZE);
	for (;; nr++) {
		uint8_t *to = nbd_session_room(f->s, &room);

		if (room < sizeof(b))
			break;
		memcpy(to, b, sizeof(b));
		nbd_session_received(f->s, sizeof(b));
		assert_true(f->s->buffers <= NBD_BUFFERS_MAX);
	}
	assert_in_range(nr, NBD_SLOTS, NBD_SLOTS + NBD_IN_SIZE / sizeof(b));
	do {
		disk_drain(f->export.disk);
		strbuf_reset(&f->got);
		if (send_some(f))
			answered += f->got.n == 16;
	} while (f->got.n);
	assert_int_equal(answered, nr);
}

/* Two of the largest fit, the third waits. */
static void test_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t b[28] = { 0 };

	assert_return_code(disk_resize(f->export.disk, NBD_PAYLOAD_MAX, false, NULL), 0);
	go(f, false);
	put_be32(b, NBD_REQUEST_MAGIC);
	put_be32(b + 24, NBD_PAYLOAD_MAX);
	for (int i = 0; i < 5; i++) {
		size_t room;
		uint8_t *to = nbd_session_room(f->s, &room);

		memcpy(to, b, sizeof(b));
		nbd_session_received(f->s, sizeof(b));
		assert_true(f->s->buffers <= NBD_BUFFERS_MAX);
	}
	assert_int_equal(f->s->in_to - f->s->in_from, 3 * sizeof(b));
	drain(f);
	assert_int_equal(f->got.n, 5 * (16 + (size_t)NBD_PAYLOAD_MAX));
}

static void test_handshake_time(void **state)
{
	struct fixture *f = *state;

	clock_fake_advance(&f->clock, NBD_HANDSHAKE_S * NS_PER_S - 1);
	assert_false(nbd_session_expired(f->s, clock_now(&f->clock.clock)));
	clock_fake_advance(&f->clock, 1);
	assert_true(nbd_session_expired(f->s, clock_now(&f->clock.clock)));
	go(f, false);
	assert_false(nbd_session_expired(f->s, clock_now(&f->clock.clock)));
}

static void test_tls_first(void **state)
{
	struct fixture *f = *state;
	size_t at = 0;

	nbd_session_end(f->s, NULL);
	nbd_session_free(f->s);
	start(f, true);
	drain(f);
	flags(f, 3);
	strbuf_reset(&f->got);
	option(f, NBD_OPT_LIST, NULL, 0);
	assert_int_equal(next_answer(f, &at, NBD_OPT_LIST), NBD_REP_ERR_TLS_REQD);
	option(f, NBD_OPT_GO, "\0\0\0\1x\0\0", 7);
	assert_int_equal(next_answer(f, &at, NBD_OPT_GO), NBD_REP_ERR_TLS_REQD);
	option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	assert_int_equal(next_answer(f, &at, NBD_OPT_STRUCTURED_REPLY), NBD_REP_ERR_TLS_REQD);
	option(f, NBD_OPT_STARTTLS, NULL, 0);
	assert_int_equal(next_answer(f, &at, NBD_OPT_STARTTLS), NBD_REP_ACK);
	assert_int_equal(f->s->phase, NBD_TLS);
	assert_true(nbd_session_expired(f->s, UINT64_MAX));
	nbd_session_secured(f->s);
	assert_false(f->s->structured);
	option(f, NBD_OPT_STARTTLS, NULL, 0);
	assert_int_equal(next_answer(f, &at, NBD_OPT_STARTTLS), NBD_REP_ERR_INVALID);
	option(f, NBD_OPT_GO, "\0\0\0\1x\0\0", 7);
	assert_int_equal(f->s->phase, NBD_REQUESTS);
}

/* An option in the same packet as STARTTLS was not protected. */
static void test_ahead_of_tls(void **state)
{
	static const char both[] = "IHAVEOPT\0\0\0\5\0\0\0\0IHAVEOPT\0\0\0\3\0\0\0\0";
	struct fixture *f = *state;
	size_t room;

	nbd_session_end(f->s, NULL);
	nbd_session_free(f->s);
	start(f, true);
	drain(f);
	flags(f, 3);
	memcpy(nbd_session_room(f->s, &room), both, 32);
	nbd_session_received(f->s, 32);
	assert_string_equal(f->s->why, "data before TLS");
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;
	size_t at = 0;

	f->export.read_only = true;
	go(f, false);
	assert_true(f->s->export_flags & NBD_READ_ONLY);
	assert_false(f->s->export_flags & (NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES | NBD_SEND_FUA));
	request(f, 0, NBD_CMD_WRITE, 1, 0, 3);
	feed(f, "abc", 3);
	expect_simple(f, &at, 1, NBD_EPERM);
	request(f, 0, NBD_CMD_TRIM, 2, 0, 3);
	expect_simple(f, &at, 2, NBD_EPERM);
	request(f, 0, NBD_CMD_WRITE_ZEROES, 3, 0, 3);
	expect_simple(f, &at, 3, NBD_EPERM);
	request(f, NBD_CMD_FUA, NBD_CMD_FLUSH, 4, 0, 0);
	expect_simple(f, &at, 4, NBD_EINVAL);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_greeting),	T(test_export_name),  T(test_unknown_export),
		T(test_bad_options),	T(test_large_option), T(test_options_end),
		T(test_read_and_write), T(test_in_pieces),    T(test_bad_requests),
		T(test_bad_magic),	T(test_structured),   T(test_contexts),
		T(test_limits),		T(test_memory),	      T(test_handshake_time),
		T(test_tls_first),	T(test_ahead_of_tls), T(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
