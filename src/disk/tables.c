/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of block-mapped formats in memory, and the room for their blocks. One piece of code for four
 * formats, which differ in how an entry looks and in how changed pages get to the medium (VHDX: through its log).
 *
 * Pages are dropped by the clock algorithm: a hand goes round, and takes what was not used since it
 * passed. An LRU list would cost two pointers a page and a write to memory for each lookup of a guest.
 */
#include "disk/tables_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { IS_DIRTY = 1, IS_USED = 2 };

/* The arrays that have an element a page. The largest are those of 64 TiB in 1 MiB blocks. */
#define INDEX_LIMIT (UINT64_C(1) << 28)
#define PAGE_LIMIT  (UINT64_C(1) << 20)

int tables_init(struct tables *t, uint64_t cache_bytes)
{
	int r = mem_try(&t->page, t->nr_pages * sizeof(*t->page), INDEX_LIMIT);

	if (!r)
		r = mem_try(&t->state, t->nr_pages, INDEX_LIMIT);
	t->max_in = MAX(cache_bytes / t->page_bytes, UINT64_C(16));
	return r;
}

void tables_done(struct tables *t)
{
	for (uint64_t i = 0; t->page && t->nr_in && i < t->nr_pages; i++)
		if (t->page[i]) {
			free(t->page[i]);
			t->nr_in--;
		}
	mem_freep(&t->page);
	mem_freep(&t->state);
	mem_freep(&t->dirty);
	t->nr_dirty = t->cap_dirty = 0;
}

static void drop_one(struct tables *t)
{
	/* Twice around: once to take away the marks, once to find one without. */
	for (uint64_t n = 0; n < 2 * t->nr_pages; n++) {
		uint64_t i = t->hand;

		t->hand = t->hand + 1 == t->nr_pages ? 0 : t->hand + 1;
		if (!t->page[i] || t->state[i] & IS_DIRTY)
			continue;
		if (t->state[i] & IS_USED) {
			t->state[i] &= (uint8_t)~IS_USED;
			continue;
		}
		free(t->page[i]);
		t->page[i] = NULL;
		t->nr_in--;
		return;
	}
}

int tables_get(struct tables *t, uint64_t page, bool is_cached, uint8_t **ret)
{
	_cleanup_(mem_freep) uint8_t *data = NULL;
	uint64_t off;
	int r;

	if (page >= t->nr_pages)
		return -EILSEQ;
	t->state[page] |= IS_USED;
	if (t->page[page]) {
		*ret = t->page[page];
		return 0;
	}
	if (is_cached)
		return -EAGAIN;
	r = t->locate(t->arg, page, &off);
	if (r < 0)
		return r;
	if (t->nr_in >= t->max_in)
		drop_one(t);
	r = mem_try(&data, t->page_bytes, PAGE_LIMIT);
	if (!r && off != UINT64_MAX) {
		r = disk_file_read(t->file, off, data, t->page_bytes);
		if (!r && t->loaded)
			t->loaded(t->arg, off, data, t->page_bytes);
	}
	if (r < 0)
		return r;
	t->nr_in++;
	t->page[page] = take_ptr(&data);
	*ret = t->page[page];
	return 0;
}

void tables_dirty(struct tables *t, uint64_t page)
{
	if (t->state[page] & IS_DIRTY)
		return;
	t->state[page] |= IS_DIRTY;
	if (t->nr_dirty == t->cap_dirty) {
		t->cap_dirty = t->cap_dirty ? 2 * t->cap_dirty : 16;
		t->dirty = mem_renew(t->dirty, t->cap_dirty, sizeof(*t->dirty));
	}
	t->dirty[t->nr_dirty++] = page;
}

bool tables_is_full(const struct tables *t)
{
	return t->nr_dirty >= t->max_in / 2;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void tables_sort(struct tables *t)
{
	if (t->nr_dirty)
		qsort(t->dirty, t->nr_dirty, sizeof(*t->dirty), ascending);
}

void tables_clean(struct tables *t, uint32_t n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n; i++)
		t->state[t->dirty[i]] &= (uint8_t)~IS_DIRTY;
	t->nr_dirty -= n;
	memmove(t->dirty, t->dirty + n, t->nr_dirty * sizeof(*t->dirty));
}

int tables_write(struct tables *t)
{
	uint32_t n = 0;
	int r = 0;

	tables_sort(t);
	for (; n < t->nr_dirty && !r; n++) {
		uint64_t off;

		r = t->locate(t->arg, t->dirty[n], &off);
		/* A place that was given up meanwhile needs nothing. */
		if (!r && off != UINT64_MAX)
			r = disk_file_write(t->file, off, t->page[t->dirty[n]], t->page_bytes);
	}
	if (r < 0)
		return r; /* all stay marked: what was written is written again */
	tables_clean(t, n);
	return 0;
}

int tables_grow(struct tables *t, uint64_t nr_pages)
{
	uint8_t **page = NULL;
	uint8_t *state = NULL;
	int r;

	if (nr_pages <= t->nr_pages)
		return 0;
	r = mem_try(&page, nr_pages * sizeof(*page), INDEX_LIMIT);
	if (!r)
		r = mem_try(&state, nr_pages, INDEX_LIMIT);
	if (r < 0) {
		free(page);
		return r;
	}
	memcpy(page, t->page, t->nr_pages * sizeof(*page));
	memcpy(state, t->state, t->nr_pages);
	free(t->page);
	free(t->state);
	t->page = page;
	t->state = state;
	t->nr_pages = nr_pages;
	return 0;
}

/* --- room ------------------------------------------------------------------------------------- */

static void places_add(struct places *p, uint64_t off)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 16;
		p->v = mem_renew(p->v, p->cap, sizeof(*p->v));
	}
	p->v[p->n++] = off;
}

void space_done(struct space *s)
{
	mem_freep(&s->freed.v);
	mem_freep(&s->ready.v);
	s->freed = s->ready = (struct places){ 0 };
}

uint64_t space_take(struct space *s)
{
	uint64_t off = s->end;

	if (s->ready.n)
		return s->ready.v[--s->ready.n];
	s->end += s->unit;
	return off;
}

void space_give(struct space *s, uint64_t off)
{
	places_add(&s->freed, off);
}

void space_flushed(struct space *s)
{
	for (size_t i = 0; i < s->freed.n; i++)
		/* What cannot be made zero is lost until a check finds it. */
		if (disk_file_zero(s->file, s->freed.v[i], s->unit, true) == 0)
			places_add(&s->ready, s->freed.v[i]);
	s->freed.n = 0;
}

bool space_trim(struct space *s)
{
	struct places *p = &s->ready;
	uint64_t was = s->end;

	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), ascending);
	while (p->n && p->v[p->n - 1] + s->unit == s->end)
		s->end = p->v[--p->n];
	return s->end != was;
}
