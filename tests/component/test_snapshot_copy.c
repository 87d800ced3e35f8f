/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is copied to a snapshot while it is being written to: what comes out is exactly what was there when the writers
 * stood still, whatever they did before and do afterwards. And a file that has only what was written since another: together they
 * have all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/thread.h"
#include "unit.h"
#include "vm/snapshot/copy.h"

#define MIB   (UINT64_C(1) << 20)
#define RAM   (48 * MIB)
#define PAGES (RAM / GUEST_PAGE_SIZE)

struct bench {
	struct memory m;
	struct memory_window *window;
	pthread_mutex_t resets;
	struct snapshot_file file;
	struct snapshot_writer w;
	struct snapshot_copy copy;
	struct snapshot_track track;
	bool is_quiet; /* nobody writes after rest() */
	char folder[40], path[64];
	_Atomic bool stop;
	uint8_t *truth; /* what the snapshot is to have */
};

static void new_file(struct bench *b, const char *name)
{
	struct err err = ERR_INIT;

	snprintf(b->path, sizeof(b->path), "%s/%s", b->folder, name);
	assert_int_equal(snapshot_file_open(&b->file, b->path, &err), 0);
	assert_int_equal(snapshot_begin(&b->w, b->file.fd, memory_bytes(&b->m), &err), 0);
}

static int setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));
	struct err err = ERR_INIT;

	mutex_init(&b->resets);
	assert_int_equal(memory_init(&b->m, RAM, &err), 0);
	assert_int_equal(memory_add_window(&b->m, MIB, &b->window, &err), 0);
	snprintf(b->folder, sizeof(b->folder), "/tmp/copy-XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	new_file(b, "s");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	snapshot_track_done(&b->track);
	memory_log_stop(&b->m);
	snapshot_copy_done(&b->copy);
	snapshot_writer_done(&b->w);
	snapshot_file_done(&b->file);
	memory_done(&b->m);
	pthread_mutex_destroy(&b->resets);
	for (char c = 'a'; c <= 's'; c++) {
		snprintf(b->path, sizeof(b->path), "%s/%c", b->folder, c);
		unlink(b->path);
	}
	assert_int_equal(rmdir(b->folder), 0);
	free(b->truth);
	free(b);
	return 0;
}

static void poke(struct bench *b, uint64_t page, uint64_t value)
{
	uint64_t gpa = page * GUEST_PAGE_SIZE;

	/* Some pages are in the hole for video memory, and not there. */
	ignore_result(physmem_write(&b->m.phys, gpa + value % 500 * 8, &value, sizeof(value)));
}

static void begin(struct bench *b)
{
	struct err err = ERR_INIT;

	assert_int_equal(snapshot_track_begin(&b->track, &b->m, &err), 0);
	assert_int_equal(snapshot_copy_running(&b->copy, &b->w, &b->track, &b->resets, &err), 0);
}

/* The guest stands still for a moment, and goes on. */
static void rest(struct bench *b)
{
	struct err err = ERR_INIT;

	free(b->truth);
	b->truth = malloc(memory_bytes(&b->m));
	assert_non_null(b->truth);
	memcpy(b->truth, b->m.map, memory_bytes(&b->m));
	assert_int_equal(snapshot_copy_rest(&b->copy, &err), 0);
	for (uint64_t page = 0; !b->is_quiet && page < PAGES; page++)
		poke(b, page, page + 77);
	if (!b->is_quiet)
		memset(b->window->hva, 9, MIB);
}

/* What the file and its bases have together. */
static void read_chain(const struct snapshot *s, uint8_t *got)
{
	if (!s->has_base) {
		assert_int_equal(pread(s->fd, got, s->memory_bytes, SNAPSHOT_HEADER),
				 s->memory_bytes);
		return;
	}
	read_chain(s->base, got);
	for (unsigned int i = 0; i < s->nr_extents; i++) {
		uint64_t at = (uint64_t)s->extent[i].page * GUEST_PAGE_SIZE;
		uint64_t len = (uint64_t)s->extent[i].nr * GUEST_PAGE_SIZE;

		assert_int_equal(pread(s->fd, got + at, len, (off_t)(SNAPSHOT_HEADER + at)), len);
	}
}

/* The save is done; its file is as it should be. Returns how many runs of pages it has, if it has a base. */
static unsigned int expect_truth(struct bench *b)
{
	uint64_t bytes = memory_bytes(&b->m), pages = 0;
	_cleanup_(mem_freep) uint8_t *got = malloc(bytes);
	static const uint8_t zeros[GUEST_PAGE_SIZE];
	struct err err = ERR_INIT;
	struct snapshot s;
	unsigned int nr;

	assert_non_null(got);
	assert_int_equal(snapshot_copy_end(&b->copy, &err), 0);
	for (uint64_t off = 0; off < bytes; off += GUEST_PAGE_SIZE)
		pages += memcmp(b->truth + off, zeros, GUEST_PAGE_SIZE) != 0;
	if (b->w.here)
		assert_true(snapshot_pages(&b->w) <= pages);
	else
		assert_int_equal(snapshot_pages(&b->w), pages);
	assert_int_equal(snapshot_end(&b->w, &err), 0);
	snapshot_track_end(&b->track, &b->w.self);
	assert_int_equal(snapshot_file_name(&b->file, &err), 0);
	assert_int_equal(snapshot_open(b->path, &s, &err), 0);
	assert_true(snapshot_ref_same(&s.self, &b->w.self));
	assert_int_equal(snapshot_open_bases(&s, &err), 0);
	read_chain(&s, got);
	for (uint64_t off = 0; off < bytes; off += GUEST_PAGE_SIZE)
		if (memcmp(got + off, b->truth + off, GUEST_PAGE_SIZE) != 0)
			fail_msg("page %llu", (unsigned long long)(off / GUEST_PAGE_SIZE));
	assert_int_equal(snapshot_check_memory(&s, NULL, &err), 0);
	nr = s.nr_extents;
	snapshot_close(&s);
	snapshot_copy_done(&b->copy);
	return nr;
}

/* The next save, on that one. */
static void based(struct bench *b, const char *name, const struct snapshot_ref *ref, const char *on)
{
	struct err err = ERR_INIT;

	snapshot_writer_done(&b->w);
	snapshot_file_done(&b->file);
	new_file(b, name);
	assert_int_equal(snapshot_begin_on(&b->w, ref, on, &err), 0);
}

static void writer(void *arg)
{
	struct bench *b = arg;

	for (uint64_t k = 1; !atomic_load(&b->stop); k++) {
		poke(b, k * UINT64_C(2654435761) % PAGES, k);
		if (k % 1024 == 0)
			memory_release(&b->m.phys, k * 4096 % RAM, 3 * GUEST_PAGE_SIZE);
	}
}

static void test_while_written(void **state)
{
	struct bench *b = *state;
	struct thread thread = { 0 };

	for (uint64_t page = 0; page < PAGES; page += 3)
		poke(b, page, page + 1);
	assert_int_equal(thread_start(&thread, "writer", writer, b, NULL), 0);
	begin(b);
	atomic_store(&b->stop, true);
	thread_join(&thread);
	rest(b);
	expect_truth(b);
}

/* Pages that become zeros, that were zeros, and that nobody touches; device memory. */
static void test_zeros(void **state)
{
	struct bench *b = *state;

	for (uint64_t page = 16; page < 24; page++)
		poke(b, page, 5);
	memset(b->window->hva + 4096, 1, 4096);
	begin(b);
	memory_release(&b->m.phys, 18 * GUEST_PAGE_SIZE, 2 * GUEST_PAGE_SIZE);
	poke(b, 30, 1);
	memset(b->window->hva + 4096, 2, 4096);
	rest(b);
	assert_int_equal(b->truth[18 * GUEST_PAGE_SIZE + 40], 0);
	assert_int_equal(b->truth[17 * GUEST_PAGE_SIZE + 40], 5);
	expect_truth(b);
}

/* More than the buffer takes: all of the memory. */
static void test_much(void **state)
{
	struct bench *b = *state;

	begin(b);
	for (uint64_t page = 0; page < PAGES; page++)
		poke(b, page, page + 9);
	rest(b);
	expect_truth(b);
}

/* A machine that is reset meanwhile. */
static void test_cleared(void **state)
{
	struct bench *b = *state;
	struct err err = ERR_INIT;

	for (uint64_t page = 0; page < PAGES; page += 2)
		poke(b, page, page + 1);
	begin(b);
	assert_int_equal(memory_clear(&b->m, &err), 0);
	poke(b, 7, 7);
	rest(b);
	expect_truth(b);
}

/* Saves on saves: on the last one, on the one before it, while somebody writes; what becomes zeros; a machine that is reset. */
static void test_based(void **state)
{
	struct bench *b = *state;
	struct thread thread = { 0 };
	struct snapshot_ref first, second;
	struct err err = ERR_INIT;

	for (uint64_t page = 0; page < PAGES; page += 3)
		poke(b, page, page + 1);
	begin(b);
	rest(b);
	expect_truth(b);
	first = b->w.self;

	based(b, "a", &first, "s");
	for (uint64_t page = 1000; page < 1200; page += 2)
		poke(b, page, page + 5);
	memory_release(&b->m.phys, 3000 * GUEST_PAGE_SIZE, 5 * GUEST_PAGE_SIZE);
	begin(b);
	poke(b, 4000, 1);
	rest(b);
	assert_int_equal(b->truth[3000 * GUEST_PAGE_SIZE + 40], 0);
	assert_true(expect_truth(b) >= 2);
	second = b->w.self;

	based(b, "b", &second, "a");
	assert_int_equal(thread_start(&thread, "writer", writer, b, NULL), 0);
	begin(b);
	atomic_store(&b->stop, true);
	thread_join(&thread);
	rest(b);
	expect_truth(b);

	based(b, "c", &first, "s");
	begin(b);
	assert_int_equal(memory_clear(&b->m, &err), 0);
	poke(b, 7, 7);
	rest(b);
	expect_truth(b);

	/* Five saves ago: forgotten. */
	based(b, "d", &second, "a");
	begin(b);
	rest(b);
	expect_truth(b);
	based(b, "e", &first, "s");
	assert_int_equal(snapshot_track_begin(&b->track, &b->m, &err), 0);
	assert_int_equal(snapshot_track_begin(&b->track, &b->m, &err), -EBUSY);
	assert_int_equal(snapshot_copy_running(&b->copy, &b->w, &b->track, &b->resets, &err),
			 -ESTALE);
	assert_non_null(strstr(err_text(&err), "save it without --base"));
	snapshot_track_stop(&b->track);
	snapshot_track_end(&b->track, NULL);
	assert_non_null(b->m.dirty); /* the others want it */
}

/* Nothing but what was written, and device memory. */
static void test_little(void **state)
{
	struct bench *b = *state;
	struct snapshot_ref first;

	b->is_quiet = true;
	for (uint64_t page = 0; page < PAGES; page++)
		poke(b, page, page + 1);
	begin(b);
	rest(b);
	expect_truth(b);
	first = b->w.self;
	based(b, "a", &first, "s");
	poke(b, 100, 3);
	begin(b);
	poke(b, 5000, 4);
	rest(b);
	assert_int_equal(expect_truth(b), 3);
	assert_int_equal(snapshot_pages(&b->w), 2);
}

/* Every other page: more runs than a file may have, so pages between them are taken along, also when they are written to
 * meanwhile. */
static void test_many_runs(void **state)
{
	struct bench *b = *state;
	struct snapshot_ref first;

	b->is_quiet = true;
	for (uint64_t page = 0; page < PAGES; page++)
		poke(b, page, page + 1);
	begin(b);
	rest(b);
	expect_truth(b);
	first = b->w.self;
	based(b, "a", &first, "s");
	for (uint64_t page = 0; page < PAGES / 2; page += 2)
		poke(b, page, page + 5);
	begin(b);
	assert_int_equal(b->copy.ours[8], UINT64_C(0x5555555555555555)); /* few enough still */
	for (uint64_t page = PAGES / 2; page < PAGES; page += 2)
		poke(b, page, page + 5);
	b->is_quiet = false;
	rest(b);
	assert_in_range(expect_truth(b), 2, 4);
}

/* A file that cannot be written to: the reason, and a log that can be stopped. */
static void test_unwritable(void **state)
{
	struct bench *b = *state;
	struct err err = ERR_INIT;
	int fd = b->w.fd;

	poke(b, 3, 3);
	b->w.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(b->w.fd >= 0);
	assert_int_equal(snapshot_track_begin(&b->track, &b->m, &err), 0);
	assert_true(snapshot_copy_running(&b->copy, &b->w, &b->track, &b->resets, &err) < 0);
	assert_non_null(strstr(err_text(&err), "write the snapshot"));
	close(b->w.fd);
	b->w.fd = fd;
	snapshot_track_stop(&b->track);
	snapshot_track_end(&b->track, NULL);
	assert_null(b->m.dirty);
	snapshot_copy_done(&b->copy);
	assert_int_equal(memory_log_start(&b->m), 0); /* somebody else's */
	assert_int_equal(snapshot_track_begin(&b->track, &b->m, &err), -EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_while_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(test_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cleared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_based, setup, teardown),
		cmocka_unit_test_setup_teardown(test_little, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwritable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
