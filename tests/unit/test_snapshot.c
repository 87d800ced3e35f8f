/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots without a machine: tables of state (every kind of field, every kind of wrong value, versions), and the file (what
 * was written comes back; every bit of it that is flipped and every length that it is cut to is found out).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "sys/thread.h"
#include "unit.h"
#include "vm/snapshot/cpu.h"
#include "vm/snapshot/file_priv.h"
#include "vm/snapshot/state.h"

/* --- tables --- */

struct inner {
	uint8_t a;
	uint32_t b;
};

struct thing {
	pthread_mutex_t lock;
	bool flag;
	uint16_t words[3];
	int32_t degrees;
	uint64_t since_ns;
	uint8_t bytes[2][2];
	struct inner in[2];
	uint64_t late; /* since version 2 */
	unsigned int nr_loaded;
};

static const struct state_field inner_fields[] = {
	STATE_MAX(struct inner, a, 9),
	STATE_ANY(struct inner, b),
};

static const struct state_desc inner_state = {
	.name = "inner",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct inner, inner_fields),
};

static const struct state_field fields[] = {
	STATE_BOOL(struct thing, flag),
	STATE_ARRAY(struct thing, words, 1000),
	STATE_SIGNED(struct thing, degrees, -40, 60),
	STATE_TIME_PAST(struct thing, since_ns),
	STATE_BYTES(struct thing, bytes),
	STATE_STRUCT(struct thing, in, &inner_state),
	{
		.name = "late",
		.kind = STATE_UINT,
		.since = 2,
		.off = offsetof(struct thing, late),
		.size = 8,
		.nr = 1,
		.min = 1,
		.max = UINT64_MAX,
	},
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct thing *n = next, *p = present;

	assert_int_equal(p->words[0], 1);
	return n->words[0] > n->words[1] ? err_set(err, -EINVAL, "words are not sorted") : 0;
}

static const struct state_desc thing_state = {
	.name = "thing",
	.version = 2,
	STATE_LOCK(struct thing, lock),
	STATE_TABLE(struct thing, fields),
	.check = check,
};

enum {
	OFF_FLAG = 0,
	OFF_WORDS = 1,
	OFF_DEGREES = 7,
	OFF_SINCE = 11,
	OFF_BYTES = 19,
	OFF_IN = 23,
	OFF_LATE = 33,
	LEN_2 = 41
};

static void thing_init(struct thing *t)
{
	*t = (struct thing){ .flag = true,
			     .words = { 1, 2, 1000 },
			     .degrees = -3,
			     .since_ns = 100,
			     .bytes = { { 1, 2 }, { 3, 0xff } },
			     .in = { { 9, UINT32_MAX }, { 0, 7 } },
			     .late = 5 };
	mutex_init(&t->lock);
}

static void expect_wrong(uint16_t version, const struct strbuf *b, int code, const char *why)
{
	struct err err = ERR_INIT;
	struct thing t;

	thing_init(&t);
	assert_int_equal(state_check(&thing_state, &t, version, strbuf_str(b), 100, &err), code);
	if (!strstr(err_text(&err), why))
		fail_msg("'%s' does not say '%s'", err_text(&err), why);
}

static void test_tables(void **state)
{
	struct strbuf b = { 0 };
	struct err err = ERR_INIT;
	struct thing t, u;

	thing_init(&t);
	thing_init(&u);
	state_save(&thing_state, &t, &b);
	assert_int_equal(b.n, LEN_2);
	assert_int_equal(state_bytes(&thing_state, 2), LEN_2);
	assert_int_equal(state_bytes(&thing_state, 1), OFF_LATE);
	assert_int_equal(state_bytes(&thing_state, 0), 0);
	assert_int_equal(state_bytes(&thing_state, 3), 0);
	assert_int_equal(get_le32(b.p + OFF_DEGREES), (uint32_t)-3);
	u.flag = false;
	u.words[2] = 7;
	u.degrees = 60;
	u.in[1].a = 5;
	u.late = 8;
	assert_int_equal(state_check(&thing_state, &u, 2, strbuf_str(&b), 100, &err), 0);
	assert_false(u.flag); /* only looked at */
	state_load(&thing_state, &u, 2, strbuf_str(&b));
	assert_true(u.flag && u.words[2] == 1000 && u.degrees == -3 && u.in[1].a == 0);
	assert_int_equal(u.late, 5);

	/* An older version: what it did not have stays. */
	u.late = 8;
	b.n = OFF_LATE;
	assert_int_equal(state_check(&thing_state, &u, 1, strbuf_str(&b), 100, &err), 0);
	state_load(&thing_state, &u, 1, strbuf_str(&b));
	assert_int_equal(u.late, 8);
	expect_wrong(2, &b, -EINVAL, "41 would be right");
	b.n = LEN_2;
	expect_wrong(1, &b, -EINVAL, "33 would be right");
	expect_wrong(3, &b, -EOPNOTSUPP, "this program knows 1 to 2");
	expect_wrong(0, &b, -EOPNOTSUPP, "version 0");

	static const struct {
		unsigned int off;
		uint8_t value;
		const char *why;
	} wrong[] = {
		{ OFF_FLAG, 2, "flag has the impossible value 0x2" },
		{ OFF_WORDS + 5, 4, "words has the impossible value 0x4e8" },
		{ OFF_WORDS + 1, 1, "words are not sorted" },
		{ OFF_DEGREES, 61, "degrees" },
		{ OFF_SINCE, 101, "since_ns has the impossible value 0x65" },
		{ OFF_IN + 5, 10, "in 1: a has the impossible value 0xa" },
		{ OFF_LATE, 0, "late has the impossible value 0x0" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char was = b.p[wrong[i].off];

		b.p[wrong[i].off] = (char)wrong[i].value;
		if (wrong[i].off == OFF_DEGREES)
			memset(b.p + OFF_DEGREES + 1, 0, 3);
		expect_wrong(2, &b, -EINVAL, wrong[i].why);
		b.p[wrong[i].off] = was;
		if (wrong[i].off == OFF_DEGREES)
			memset(b.p + OFF_DEGREES + 1, 0xff, 3);
	}
	/* Below the range, by the sign. */
	put_le32(b.p + OFF_DEGREES, (uint32_t)-41);
	expect_wrong(2, &b, -EINVAL, "degrees");
	strbuf_done(&b);
	pthread_mutex_destroy(&t.lock);
	pthread_mutex_destroy(&u.lock);
}

/* Every byte of a vCPU's state is in the table, but for padding and what is derived: by the length alone. */
static void test_cpu_table(void **state)
{
	assert_in_range(state_bytes(&cpu_state_desc, 1), 1400, 2200);
}

/* --- files --- */

enum { MEMORY = 6 * 4096 };

static void temp_path(char *path, size_t n)
{
	char dir[] = "/tmp/atoll-snapshot-XXXXXX";

	assert_non_null(mkdtemp(dir));
	snprintf(path, n, "%s/s", dir);
}

static void write_one(const char *path, struct err *err)
{
	static uint8_t memory[MEMORY] __attribute__((aligned(4096)));
	struct snapshot_writer w;
	struct snapshot_file f;

	memset(memory, 0, sizeof(memory));
	memory[4096] = 1;
	memset(memory + 2 * 4096, 0xaa, 4096);
	memory[6 * 4096 - 1] = 3;
	assert_int_equal(snapshot_file_open(&f, path, err), 0);
	assert_int_equal(snapshot_begin(&w, f.fd, MEMORY, err), 0);
	strbuf_adds(snapshot_add(&w, "first", 3), "hello");
	snapshot_add(&w, "empty", 1);
	assert_int_equal(snapshot_add_memory(&w, 0, memory, 4 * 4096, err), 0);
	assert_int_equal(snapshot_add_memory(&w, 5 * 4096, memory + 5 * 4096, 4096, err), 0);
	assert_int_equal(snapshot_pages(&w), 3);
	assert_int_equal(access(path, F_OK), -1); /* not before it is whole */
	assert_int_equal(snapshot_end(&w, err), 0);
	snapshot_writer_done(&w);
	assert_int_equal(snapshot_file_name(&f, err), 0);
	assert_int_equal(snapshot_begin(&w, f.dir_fd, MEMORY, err),
			 -EINVAL); /* not an empty file */
	snapshot_writer_done(&w);
	snapshot_file_done(&f);
}

static void remove_all(char *path)
{
	unlink(path);
	*strrchr(path, '/') = 0;
	assert_int_equal(rmdir(path), 0); /* nothing else was left */
}

/* Pages 1 and 5 are other ones than those of the file of write_one(). */
static void write_based(const char *path, const struct snapshot_ref *ref, const char *on)
{
	static uint8_t memory[MEMORY] __attribute__((aligned(4096)));
	struct err err = ERR_INIT;
	struct snapshot_writer w;
	struct snapshot_file f;

	memory[5 * 4096 + 1] = 4;
	assert_int_equal(snapshot_file_open(&f, path, &err), 0);
	assert_int_equal(snapshot_begin(&w, f.fd, MEMORY, &err), 0);
	assert_int_equal(snapshot_begin_on(&w, ref, on, &err), 0);
	assert_int_equal(snapshot_add_memory(&w, 5 * 4096, memory + 5 * 4096, 4096, &err), 0);
	snapshot_mark(&w, 4096, 4096);
	strbuf_adds(snapshot_add(&w, "first", 3), "hello");
	assert_int_equal(snapshot_end(&w, &err), 0);
	assert_int_equal(snapshot_file_name(&f, &err), 0);
	snapshot_writer_done(&w);
	snapshot_file_done(&f);
}

static void expect_no_base(const char *path, int code, const char *why)
{
	struct err err = ERR_INIT;
	struct snapshot s;

	assert_int_equal(snapshot_open(path, &s, &err), 0);
	assert_int_equal(snapshot_open_bases(&s, &err), code);
	if (!strstr(err_text(&err), why))
		fail_msg("'%s' does not say '%s'", err_text(&err), why);
	snapshot_close(&s);
}

static void test_base(void **state)
{
	char path[64], next[80], text[SNAPSHOT_REF_TEXT];
	struct err err = ERR_INIT;
	struct snapshot_ref ref, again;
	struct snapshot s;

	temp_path(path, sizeof(path));
	snprintf(next, sizeof(next), "%s-1", path);
	write_one(path, &err);
	assert_int_equal(snapshot_open(path, &s, &err), 0);
	ref = s.self;
	assert_false(s.has_base);
	assert_int_equal(snapshot_open_bases(&s, &err), 0);
	snapshot_close(&s);
	snapshot_ref_text(&ref, text);
	assert_int_equal(snapshot_ref_parse(text, &again), 0);
	assert_true(snapshot_ref_same(&ref, &again));
	again.sum++;
	assert_false(snapshot_ref_same(&ref, &again));
	text[3] = 'g';
	assert_int_equal(snapshot_ref_parse(text, &again), -EINVAL);
	assert_int_equal(snapshot_ref_parse("12", &again), -EINVAL);

	write_based(next, &ref, "s");
	assert_int_equal(snapshot_open(next, &s, &err), 0);
	assert_int_equal(snapshot_open_bases(&s, &err), 0);
	assert_true(s.has_base && snapshot_ref_same(&s.base_ref, &ref));
	assert_string_equal(s.base_name, "s");
	assert_int_equal(s.nr_extents, 2);
	assert_true(s.extent[0].page == 1 && s.extent[0].nr == 1 && s.extent[1].page == 5);
	assert_int_equal(snapshot_check_memory(&s, NULL, &err), 0);
	assert_int_equal(snapshot_check_memory(s.base, NULL, &err), 0);
	snapshot_close(&s);

	/* As many as there may be, and one more. */
	for (unsigned int n = 1; n < SNAPSHOT_CHAIN + 1; n++) {
		char name[80], on[16];

		assert_int_equal(snapshot_open(next, &s, &err), 0);
		ref = s.self;
		snapshot_close(&s);
		snprintf(on, sizeof(on), "%s", strrchr(next, '/') + 1);
		snprintf(name, sizeof(name), "%s-%u", path, n + 1);
		write_based(name, &ref, on);
		assert_int_equal(snapshot_open(name, &s, &err), 0);
		assert_int_equal(snapshot_open_bases(&s, &err),
				 n + 2 > SNAPSHOT_CHAIN ? -ELOOP : 0);
		snapshot_close(&s);
		snprintf(next, sizeof(next), "%s", name);
	}
	for (unsigned int n = 2; n <= SNAPSHOT_CHAIN + 1; n++) {
		snprintf(next, sizeof(next), "%s-%u", path, n);
		assert_int_equal(unlink(next), 0);
	}

	/* The same contents, written anew, are another file; and none at all. */
	snprintf(next, sizeof(next), "%s-1", path);
	assert_int_equal(unlink(path), 0);
	write_one(path, &err);
	expect_no_base(next, -ESTALE, "there is another one now");
	assert_int_equal(unlink(path), 0);
	expect_no_base(next, -ENOENT, "has only what has changed since 's'");
	assert_int_equal(unlink(next), 0);
	*strrchr(path, '/') = 0;
	assert_int_equal(rmdir(path), 0);
}

static void expect_bad_base(const char *name, size_t n, const uint32_t *runs, size_t nr)
{
	uint8_t text[512] = { 0 };
	struct snapshot s = { .fd = -EBADF, .memory_bytes = MEMORY, .has_base = true };
	struct err err = ERR_INIT;
	size_t at = SNAPSHOT_NAME + 8;

	memcpy(text, "base", 4);
	put_le16(text + SNAPSHOT_NAME, 1);
	put_le32(text + SNAPSHOT_NAME + 4, (uint32_t)n);
	memcpy(text + at, name, n);
	at += (n + 7) / 8 * 8;
	memcpy(text + at, "pages", 5);
	put_le16(text + at + SNAPSHOT_NAME, 1);
	put_le32(text + at + SNAPSHOT_NAME + 4, (uint32_t)(4 * nr));
	at += SNAPSHOT_NAME + 8;
	for (size_t i = 0; i < nr; i++, at += 4)
		put_le32(text + at, runs[i]);
	at = (at + 7) / 8 * 8;
	s.sections_sum = crc32c(0, text, at);
	assert_int_equal(snapshot_parse_sections(text, at, &s, &err), 0);
	assert_int_equal(snapshot_parse_base(&s, &err), -EILSEQ);
	snapshot_close(&s);
}

/* Names that are none, and runs of pages that are not there, twice there, or nothing. */
static void test_bad_base(void **state)
{
	static const uint32_t good[] = { 1, 2 }, outside[] = { 5, 2 }, none[] = { 1, 0 },
			      twice[] = { 1, 2, 2, 1 }, back[] = { 3, 1, 1, 1 },
			      far[] = { UINT32_MAX, UINT32_MAX }, half[] = { 1, 1, 3 };

	expect_bad_base("", 0, good, 2);
	expect_bad_base("a/b", 3, good, 2);
	expect_bad_base("a\0b", 3, good, 2);
	expect_bad_base("a", 1, outside, 2);
	expect_bad_base("a", 1, none, 2);
	expect_bad_base("a", 1, twice, 4);
	expect_bad_base("a", 1, back, 4);
	expect_bad_base("a", 1, far, 2);
	expect_bad_base("a", 1, half, 3);
}

static void test_file(void **state)
{
	char path[64];
	struct snapshot s;
	const struct snapshot_section *e;
	struct err err = ERR_INIT;
	struct snapshot_writer w;
	struct snapshot_file f;

	temp_path(path, sizeof(path));
	write_one(path, &err);
	assert_int_equal(snapshot_open(path, &s, &err), 0);
	assert_int_equal(s.memory_bytes, MEMORY);
	assert_int_equal(s.nr, 2);
	e = snapshot_find(&s, "first");
	assert_non_null(e);
	assert_true(e->version == 3 && str_eq(e->data, STR("hello")));
	assert_null(snapshot_find(&s, "first")); /* used */
	assert_non_null(snapshot_find(&s, "empty"));
	assert_null(snapshot_find(&s, "third"));
	assert_int_equal(snapshot_check_memory(&s, NULL, &err), 0);
	snapshot_close(&s);

	/* One that is given up leaves the one that is there. */
	assert_int_equal(snapshot_file_open(&f, path, &err), 0);
	assert_int_equal(snapshot_begin(&w, f.fd, MEMORY, &err), 0);
	strbuf_adds(snapshot_add(&w, "other", 1), "x");
	snapshot_writer_done(&w);
	snapshot_file_done(&f);
	assert_int_equal(snapshot_open(path, &s, &err), 0);
	assert_int_equal(s.nr, 2);
	snapshot_close(&s);

	assert_int_equal(snapshot_file_open(&f, "/nowhere/at/all", &err), -ENOENT);
	snapshot_file_done(&f);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(snapshot_open(path, &s, &err), -EACCES);
	assert_int_equal(chmod(path, 0600), 0);
	remove_all(path);
}

/* Whether it is refused, with a reason. */
static bool is_refused(const char *path)
{
	struct snapshot s = { .fd = -EBADF };
	struct err err = ERR_INIT;
	int r = snapshot_open(path, &s, &err);

	if (r == 0)
		r = snapshot_check_memory(&s, NULL, &err);
	snapshot_close(&s);
	if (r < 0)
		assert_true(err_text(&err)[0] != 0);
	return r < 0;
}

static void damage(const char *path)
{
	_cleanup_(mem_freep) uint8_t *all = NULL;
	struct stat st;
	int fd;

	assert_false(is_refused(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	all = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
	/* Each bit, but in the middle of pages of one value only some. */
	for (off_t off = 0; off<st.st_size; off += off> 100 && off < MEMORY ? 37 : 1)
		for (int bit = 0; bit < 8; bit += off < 100 || off > MEMORY ? 1 : 5) {
			uint8_t b = all[off] ^ (uint8_t)(1 << bit);

			assert_int_equal(pwrite(fd, &b, 1, off), 1);
			if (!is_refused(path))
				fail_msg("bit %d of byte %lld", bit, (long long)off);
			assert_int_equal(pwrite(fd, &all[off], 1, off), 1);
		}
	assert_false(is_refused(path));
	for (off_t n = st.st_size - 1; n > 0; n -= n > MEMORY ? 1 : 1009) {
		assert_int_equal(ftruncate(fd, n), 0);
		assert_true(is_refused(path));
	}
	/* And something behind the end. */
	assert_int_equal(pwrite(fd, all, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
	assert_true(is_refused(path));
	close(fd);
}

static void test_damage(void **state)
{
	const struct snapshot_ref nobody = { .sum = 7 };
	struct err err = ERR_INIT;
	char path[64];

	temp_path(path, sizeof(path));
	write_one(path, &err);
	damage(path);
	assert_int_equal(unlink(path), 0);
	write_based(path, &nobody, "nobody");
	damage(path);
	remove_all(path);
}

/* Another version is told as such, also where the rest of it cannot be understood. */
static void test_version(void **state)
{
	uint8_t h[SNAPSHOT_HEADER] = { 0 };
	struct snapshot s = { .fd = -EBADF };
	struct err err = ERR_INIT;

	memcpy(h, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC));
	put_le32(h + H_VERSION, SNAPSHOT_VERSION_BASE + 1);
	assert_int_equal(snapshot_parse_header(h, 1 << 20, &s, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err_text(&err), "version 3"));
	put_le32(h + H_VERSION, SNAPSHOT_VERSION);
	put_le32(h + H_SUM, crc32c(0, h, H_SUM));
	assert_int_equal(snapshot_parse_header(h, 1 << 20, &s, &err), -EILSEQ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),	 cmocka_unit_test(test_cpu_table),
		cmocka_unit_test(test_file),	 cmocka_unit_test(test_damage),
		cmocka_unit_test(test_version),	 cmocka_unit_test(test_base),
		cmocka_unit_test(test_bad_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
