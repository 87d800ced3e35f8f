/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/thread.h"
#include "vm/memory.h"

#define MIB (UINT64_C(1) << 20)

static void test_layout(void **state)
{
	struct memory m;
	uint8_t buf[16] = { 1, 2, 3 }, back[16];

	assert_int_equal(memory_init(&m, 4096 * MIB, NULL), 0);
	assert_true(m.low_end == MEMORY_LOW_LIMIT);
	assert_true(m.high_end == MEMORY_HIGH_BASE + 4096 * MIB - MEMORY_LOW_LIMIT);
	assert_null(physmem_find(&m.phys, 0xa0000));
	assert_null(physmem_find(&m.phys, 0xbffff));
	assert_null(physmem_find(&m.phys, MEMORY_LOW_LIMIT));
	assert_null(physmem_find(&m.phys, m.high_end));
	assert_non_null(physmem_find(&m.phys, 0x9ffff));
	assert_non_null(physmem_find(&m.phys, m.high_end - 1));

	assert_int_equal(physmem_write(&m.phys, 0x1000 - 8, buf, 16), 0);
	assert_int_equal(physmem_read(&m.phys, 0x1000 - 8, back, 16), 0);
	assert_memory_equal(buf, back, 16);
	assert_int_equal(physmem_write(&m.phys, 0xa0000 - 8, buf, 16), -EFAULT);
	assert_int_equal(physmem_read(&m.phys, MEMORY_LOW_LIMIT - 8, back, 16), -EFAULT);
	assert_int_equal(physmem_read(&m.phys, UINT64_MAX - 4, back, 16), -EFAULT);
	assert_int_equal(physmem_read(&m.phys, 0, back, 0), 0);

	assert_non_null(memory_ptr(&m, 0x100000, MIB));
	assert_null(memory_ptr(&m, 0x9f000, 0x2000));
	assert_null(memory_ptr(&m, 0xa0000, 1));
	assert_null(memory_ptr(&m, 0x100000, UINT64_MAX));
	memory_done(&m);
	memory_done(&m);
}

static void test_sizes(void **state)
{
	struct memory m;
	struct err err = ERR_INIT;

	assert_int_equal(memory_init(&m, MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "2 MiB"));
	assert_int_equal(memory_init(&m, 16 * MIB + 1, NULL), -EINVAL);
	assert_int_equal(memory_init(&m, MEMORY_MAX * 2, NULL), -EINVAL);
	assert_int_equal(memory_init(&m, MEMORY_MIN, NULL), 0);
	assert_int_equal(m.phys.nr, 2);
	assert_true(m.high_end == MEMORY_HIGH_BASE);
	memory_done(&m);
}

static void test_rom(void **state)
{
	struct memory m;
	uint8_t data[5000], byte = 7;

	memset(data, 0x5a, sizeof(data));
	assert_int_equal(memory_init(&m, 4 * MIB, NULL), 0);
	assert_int_equal(memory_add_rom(&m, 0xfffe0000, data, sizeof(data), NULL), 0);
	assert_int_equal(memory_add_rom(&m, 0xfffe1000, data, sizeof(data), NULL), -EEXIST);
	assert_int_equal(memory_add_rom(&m, 0x100000, data, sizeof(data), NULL), -EEXIST);
	assert_int_equal(memory_add_rom(&m, 0xffff0001, data, 1, NULL), -EINVAL);
	assert_int_equal(memory_add_rom(&m, 0xffff0000, data, 0, NULL), -EINVAL);
	assert_int_equal(memory_add_rom(&m, ~UINT64_C(0xfff), data, 0x1001, NULL), -EINVAL);

	assert_int_equal(physmem_read(&m.phys, 0xfffe0000 + 4999, &byte, 1), 0);
	assert_int_equal(byte, 0x5a);
	assert_int_equal(physmem_read(&m.phys, 0xfffe0000 + 5000, &byte, 1), 0);
	assert_int_equal(byte, 0); /* the rest of its last page */
	assert_int_equal(physmem_write(&m.phys, 0xfffe0000, &byte, 1), -EFAULT);
	assert_null(memory_ptr(&m, 0xfffe0000, 1));
	for (unsigned int k = m.phys.nr; k < PHYSMEM_MAX_REGIONS; k++)
		assert_int_equal(memory_add_rom(&m, 0xe0000000 + k * 0x1000, data, 1, NULL), 0);
	assert_int_equal(memory_add_rom(&m, 0xf0000000, data, 1, NULL), -ENOSPC);
	for (unsigned int k = 1; k < m.phys.nr; k++)
		assert_true(m.phys.region[k - 1].gpa < m.phys.region[k].gpa);
	memory_done(&m);
}

struct engine {
	unsigned int calls;
	uint8_t flags;
};

static void engine_written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
			   uint8_t flags)
{
	struct engine *e = arg;

	e->calls++;
	e->flags = flags;
}

static bool is_dirty(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> (page & 63) & 1;
}

/* Whether the mapping with this address has a flag, by its letters in /proc/self/smaps. */
static bool has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool is_ours = false, found = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_ours = from <= (uintptr_t)p && (uintptr_t)p < to;
		else if (is_ours && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag) != NULL;
	}
	fclose(f);
	return found;
}

/* Mergeable memory is memory, and stays mergeable where pages went back and where a file's contents came. */
static void test_merge(void **state)
{
	struct memory m;
	struct err err;
	uint32_t v = 0x12345678, w = 0;
	int fd, r;

	assert_int_equal(memory_init(&m, 4 * MIB, NULL), 0);
	assert_false(has_flag(m.map, " mg"));
	r = memory_merge(&m, &err);
	if (r == -EOPNOTSUPP) {
		memory_done(&m);
		skip();
	}
	assert_int_equal(r, 0);
	assert_true(has_flag(m.map, " mg"));
	assert_int_equal(physmem_write(&m.phys, 0x200000, &v, 4), 0);
	assert_int_equal(physmem_read(&m.phys, 0x200000, &w, 4), 0);
	assert_int_equal(w, v);
	assert_int_equal(memory_release(&m.phys, 0x200000, 0x3000), 0x3000);
	assert_int_equal(physmem_read(&m.phys, 0x200000, &w, 4), 0);
	assert_int_equal(w, 0);
	assert_true(has_flag(m.map + 0x200000, " mg"));

	fd = memfd_create("contents", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)memory_bytes(&m)), 0);
	assert_int_equal(pwrite(fd, &v, 4, 0x300000), 4);
	assert_int_equal(memory_map_file(&m, fd, 0, NULL), 0);
	close(fd);
	assert_int_equal(physmem_read(&m.phys, 0x300000, &w, 4), 0);
	assert_int_equal(w, v);
	assert_true(has_flag(m.map, " mg"));
	assert_int_equal(memory_release(&m.phys, 0x300000, 0x1000), 0x1000);
	assert_int_equal(physmem_read(&m.phys, 0x300000, &w, 4), 0);
	assert_int_equal(w, 0);
	assert_true(has_flag(m.map + 0x300000, " mg"));
	memory_done(&m);
}

static void test_dirty_log(void **state)
{
	struct memory m;
	struct engine e = { 0 };
	uint64_t *bits;
	uint32_t v = 1;

	assert_int_equal(memory_init(&m, 8 * MIB, NULL), 0);
	m.phys.written = engine_written;
	m.phys.written_arg = &e;
	memory_attach_engine(&m);
	memory_attach_engine(&m); /* once is enough */

	assert_int_equal(memory_log_start(&m), 0);
	assert_int_equal(memory_log_start(&m), -EBUSY);
	bits = calloc(m.dirty_words, 8);
	assert_non_null(bits);
	assert_int_equal(physmem_write(&m.phys, 0x5ffe, &v, 4), 0); /* two pages */
	assert_int_equal(physmem_write(&m.phys, 0x5000, &v, 4), 0);
	assert_int_equal(physmem_write(&m.phys, 0x200000, &v, 4), 0);
	assert_int_equal(e.calls, 0); /* no code there */
	assert_int_equal(memory_log_fetch(&m, bits), 3);
	assert_true(is_dirty(bits, 5) && is_dirty(bits, 6) && is_dirty(bits, 0x200));
	assert_int_equal(memory_log_fetch(&m, bits), 0);
	assert_int_equal(physmem_write(&m.phys, 0x200000, &v, 4), 0);
	assert_int_equal(memory_log_fetch(&m, bits), 1);

	/* The engine hears of its pages, with or without the log. */
	atomic_fetch_or(&m.phys.region[1].page_flags[0], PAGE_F_CODE);
	assert_int_equal(physmem_write(&m.phys, m.phys.region[1].gpa, &v, 4), 0);
	assert_int_equal(e.calls, 1);
	assert_true(e.flags & PAGE_F_CODE);
	memory_log_stop(&m);
	memory_log_stop(&m);
	assert_int_equal(physmem_write(&m.phys, m.phys.region[1].gpa, &v, 4), 0);
	assert_int_equal(e.calls, 2);
	memory_detach_engine(&m);
	assert_int_equal(physmem_write(&m.phys, m.phys.region[1].gpa, &v, 4), 0);
	assert_int_equal(e.calls, 2);
	free(bits);
	memory_done(&m);
}

enum { RACE_PAGES = 64, RACE_WRITES = 200000 };
struct race {
	struct memory *m;
	_Atomic bool done;
};

static void race_writer(void *arg)
{
	struct race *r = arg;

	for (uint32_t k = 1; k <= RACE_WRITES; k++) {
		uint64_t gpa = (k * UINT32_C(2654435761) >> 8) % RACE_PAGES * 4096;

		ignore_result(physmem_write(&r->m->phys, gpa, &k, 4)); /* RAM: cannot fail */
	}
	atomic_store(&r->done, true);
}

/* Copying what the log names, while a writer runs, ends with an exact copy. */
static void test_dirty_race(void **state)
{
	struct memory m;
	struct race race = { .m = &m };
	struct thread thread = { 0 };
	static uint8_t copy[RACE_PAGES * 4096];
	uint64_t *bits;
	bool last = false;

	assert_int_equal(memory_init(&m, 4 * MIB, NULL), 0);
	assert_int_equal(memory_log_start(&m), 0);
	bits = calloc(m.dirty_words, 8);
	assert_non_null(bits);
	assert_int_equal(thread_start(&thread, "writer", race_writer, &race, NULL), 0);
	for (;;) {
		bool done = atomic_load(&race.done);

		(void)memory_log_fetch(&m, bits);
		for (uint64_t p = 0; p < RACE_PAGES; p++)
			if (is_dirty(bits, p))
				for (unsigned int k = 0; k < 4; k++)
					copy[p * 4096 + k] = __atomic_load_n(&m.map[p * 4096 + k],
									     __ATOMIC_RELAXED);
		if (last)
			break;
		last = done;
	}
	thread_join(&thread);
	for (uint64_t p = 0; p < RACE_PAGES; p++)
		assert_memory_equal(&copy[p * 4096], &m.map[p * 4096], 4);
	free(bits);
	memory_done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),	  cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_rom),	  cmocka_unit_test(test_merge),
		cmocka_unit_test(test_dirty_log), cmocka_unit_test(test_dirty_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
