/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's memory is written while the guest runs, because writing takes long, and nobody wants to wait for it. What the guest
 * changes behind the writer's back is known from the dirty log, and written again; when that has become little, or does not become
 * less, the guest stands still while the last pages are copied to a buffer, and goes on while the buffer is written. So it
 * is still for about as long as copying some thousand pages takes, and the snapshot is of that moment.
 *
 * A page that changes while it is being read comes out torn, and its checksum of something else; it is in the log then, and
 * is read again.
 *
 * Of a file with a base, pages between two that were written are taken along when their runs would be too many, because a machine
 * that is restored has a mapping for each. They have to be taken in the same moment as the others, and so become part of the set
 * before a round is written.
 *
 * Rejected: write-protection by userfaultfd, which keeps the moment of the request, but has to be allowed on the host, and fails
 * system calls that read into protected pages; a fork of the process, which does not copy shared memory.
 */
#include "vm/snapshot/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "sys/thread.h"

enum {
	ROUNDS = 6,		     /* at most, while the guest runs */
	FEW = 512,		     /* pages that are worth no further round */
	RUNS = SNAPSHOT_EXTENTS - 1, /* of RAM; windows are one more */
	LATE_MAX = 4096, /* pages that the buffer holds; others are written while the guest waits */
};

static int add(void *arg, uint64_t off, const uint8_t *p, uint64_t len, struct err *err)
{
	struct snapshot_copy *c = arg;

	return snapshot_add_memory(c->w, off, p, len, err);
}

/* Into the buffer while there is room. */
static int add_late(void *arg, uint64_t off, const uint8_t *p, uint64_t len, struct err *err)
{
	struct snapshot_copy *c = arg;
	uint64_t pages = len / GUEST_PAGE_SIZE;
	uint64_t fit = MIN(pages, LATE_MAX - c->nr_late);

	memcpy(c->late + c->nr_late * GUEST_PAGE_SIZE, p, fit * GUEST_PAGE_SIZE);
	for (uint64_t k = 0; k < fit; k++)
		c->late_page[c->nr_late++] = off / GUEST_PAGE_SIZE + k;
	if (fit == pages)
		return 0;
	off += fit * GUEST_PAGE_SIZE;
	return add(c, off, p + fit * GUEST_PAGE_SIZE, len - fit * GUEST_PAGE_SIZE, err);
}

static bool is_dirty(const struct snapshot_copy *c, uint64_t page)
{
	return c->dirty[page / 64] >> (page % 64) & 1;
}

/* Runs of pages in the set. */
static int each_dirty(struct snapshot_copy *c,
		      int (*fn)(void *arg, uint64_t off, const uint8_t *p, uint64_t len,
				struct err *err),
		      struct err *err)
{
	uint64_t pages = c->m->ram_bytes / GUEST_PAGE_SIZE;
	int r = 0;

	for (uint64_t first = 0; r == 0 && first < pages; first++) {
		uint64_t end = first, off = first * GUEST_PAGE_SIZE;

		if (!c->dirty[first / 64]) {
			first |= 63;
			continue;
		}
		while (end < pages && is_dirty(c, end))
			end++;
		if (end > first) {
			r = fn(c, off, c->m->map + off, (end - first) * GUEST_PAGE_SIZE, err);
			first = end;
		}
	}
	return r;
}

/* --- few runs ---------------------------------------------------------------------------------------- */

static bool has(const uint64_t *set, uint64_t page)
{
	return set[page / 64] >> (page % 64) & 1;
}

/* Walk over the gaps between runs of @set: how many are longer than @max pages; shorter ones are filled when @fill. */
static uint64_t gaps(uint64_t *set, uint64_t pages, uint64_t max, bool fill)
{
	uint64_t nr = 0, last = UINT64_MAX; /* page of the set */

	for (uint64_t page = 0; page < pages; page++) {
		if (!set[page / 64]) {
			page |= 63;
			continue;
		}
		if (!has(set, page))
			continue;
		if (last != UINT64_MAX && page - last - 1 > max)
			nr++;
		else if (fill && last != UINT64_MAX)
			for (uint64_t p = last + 1; p < page; p++)
				set[p / 64] |= UINT64_C(1) << (p % 64);
		last = page;
	}
	return nr;
}

/* Take pages in, until there are few runs. */
static void close_gaps(uint64_t *set, uint64_t pages)
{
	uint64_t max = 0;

	while (gaps(set, pages, max, false) >= RUNS)
		max = 2 * max + 1;
	if (max)
		gaps(set, pages, max, true);
}

/* --- rounds ------------------------------------------------------------------------------------------- */

/* Pages that are dirty, and those that go with them so that the file has few runs. */
static void widen(struct snapshot_copy *c)
{
	uint64_t words = c->m->dirty_words;

	if (!c->w->here)
		return;
	for (uint64_t k = 0; k < words; k++)
		c->all[k] = c->ours[k] | c->dirty[k];
	close_gaps(c->all, c->m->ram_bytes / GUEST_PAGE_SIZE);
	for (uint64_t k = 0; k < words; k++) {
		c->dirty[k] |= c->all[k] & ~c->ours[k];
		c->ours[k] = c->all[k];
	}
}

static int prepare(struct snapshot_copy *c, struct err *err)
{
	void *late = mmap(NULL, LATE_MAX * GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	size_t bytes = c->m->dirty_words * sizeof(*c->dirty);
	int r;

	if (late == MAP_FAILED)
		return err_set_errno(err, "memory for pages of a snapshot");
	c->late = late;
	c->late_page = mem_new_n(LATE_MAX, sizeof(*c->late_page));
	r = mem_try(&c->dirty, bytes, SIZE_MAX);
	if (r == 0)
		r = mem_try(&c->ours, bytes, SIZE_MAX);
	if (r == 0)
		r = mem_try(&c->all, bytes, SIZE_MAX);
	return r < 0 ? err_set(err, r, "no memory for a log of what the guest writes") : 0;
}

static uint64_t fetch(struct snapshot_copy *c, pthread_mutex_t *resets)
{
	uint64_t n;

	mutex_lock(resets);
	n = snapshot_track_fetch(c->track, c->dirty);
	mutex_unlock(resets);
	return n;
}

/* The first round: everything, or what the base has not. */
static int add_first(struct snapshot_copy *c, pthread_mutex_t *resets, struct err *err)
{
	const uint64_t *since;

	if (!c->w->here)
		return memory_each_used(c->m, 0, c->m->ram_bytes, add, c, err);
	fetch(c, resets);
	since = snapshot_track_since(c->track, &c->w->base);
	if (!since)
		return err_set(err, -ESTALE,
			       "the machine does not know what it has written since '%s' was saved: it keeps that "
			       "of its last %d saves since it was started; save it without --base",
			       c->w->base_name, SNAPSHOT_KEPT);
	memcpy(c->dirty, since, c->m->dirty_words * sizeof(*since));
	widen(c);
	return each_dirty(c, add, err);
}

int snapshot_copy_running(struct snapshot_copy *c, struct snapshot_writer *w,
			  struct snapshot_track *track, pthread_mutex_t *resets, struct err *err)
{
	int r;

	*c = (struct snapshot_copy){ .m = track->m, .w = w, .track = track };
	r = prepare(c, err);
	if (r == 0)
		r = add_first(c, resets, err);
	for (unsigned int round = 0; r == 0 && round < ROUNDS; round++) {
		uint64_t n = fetch(c, resets);

		widen(c);
		r = each_dirty(c, add, err);
		if (n <= FEW)
			break;
	}
	return r;
}

int snapshot_copy_rest(struct snapshot_copy *c, struct err *err)
{
	uint64_t ram = c->m->ram_bytes;
	int r;

	snapshot_track_fetch(c->track, c->dirty);
	widen(c);
	r = each_dirty(c, add_late, err);
	/* Windows are not in the log. */
	if (c->w->here)
		snapshot_mark(c->w, ram, memory_bytes(c->m) - ram);
	return r < 0 ? r : memory_each_used(c->m, ram, memory_bytes(c->m), add_late, c, err);
}

int snapshot_copy_end(struct snapshot_copy *c, struct err *err)
{
	int r = 0;

	for (uint64_t first = 0, end; r == 0 && first < c->nr_late; first = end) {
		end = first + 1;
		while (end < c->nr_late && c->late_page[end] == c->late_page[end - 1] + 1)
			end++;
		r = add(c, c->late_page[first] * GUEST_PAGE_SIZE, c->late + first * GUEST_PAGE_SIZE,
			(end - first) * GUEST_PAGE_SIZE, err);
	}
	return r;
}

void snapshot_copy_done(struct snapshot_copy *c)
{
	if (c->late)
		munmap(c->late, LATE_MAX * GUEST_PAGE_SIZE);
	c->late = NULL;
	free(take_ptr(&c->late_page));
	free(take_ptr(&c->dirty));
	free(take_ptr(&c->ours));
	free(take_ptr(&c->all));
}
