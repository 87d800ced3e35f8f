/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of a qcow2 image in memory: L2 tables and reference count blocks, a bounded number of each, and the
 * order in which changes of them reach the file.
 *
 * The order is what makes a crash harmless. A flush goes
 *
 *	1. reference count blocks, and L2 tables that nothing points to yet
 *	   (first the blocks, a barrier, and the table of them, when that changed)
 *	2. barrier: data and counts are on the medium
 *	3. L2 tables in use, L1 entries
 *	4. barrier
 *	5. now what these no longer use is given back: counts go down, in memory
 *
 * so that whatever a table on the medium points to is there and counted, and a cluster is reused only when
 * nothing on the medium points to it. What a crash leaves behind is counted too much, never too little. A
 * table that must make room is written by the same flush: rare, as long as the limit is not tiny. Rejected:
 * dependencies between single tables, which save a barrier now and then and cost a proof at every use.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "disk/qcow2_priv.h"

#define TABLES_MIN 8

void q2_cache_init(struct q2_cache *c, uint32_t table_bytes, uint64_t limit_bytes)
{
	*c = (struct q2_cache){ .table_bytes = table_bytes };
	c->max = (unsigned)MIN(MAX(limit_bytes / table_bytes, (uint64_t)TABLES_MIN),
			       (uint64_t)65536);
	c->nr_buckets = 64;
	while (c->nr_buckets < c->max)
		c->nr_buckets *= 2;
	c->buckets = mem_new_n(c->nr_buckets, sizeof(struct q2_table *));
	list_init(&c->lru);
}

static void table_free(struct q2_table *t)
{
	free(t->p);
	free(t);
}

void q2_cache_done(struct q2_cache *c)
{
	struct q2_table *t, *tmp;

	if (!c->buckets)
		return;
	list_for_each_safe(t, tmp, &c->lru, lru) {
		list_del(&t->lru);
		table_free(t);
	}
	free(c->buckets);
	*c = (struct q2_cache){ 0 };
}

static struct q2_table **bucket(struct q2_cache *c, uint64_t off)
{
	/* Clusters are numbered densely; the multiplier spreads them whatever their size. */
	return &c->buckets[(off * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (c->nr_buckets - 1)];
}

static struct q2_table *find(struct q2_cache *c, uint64_t off)
{
	struct q2_table *t = *bucket(c, off);

	while (t && t->off != off)
		t = t->next;
	return t;
}

static bool is_dirty(const struct q2_table *t)
{
	return t->dirty_from < t->dirty_to;
}

static void clean(struct q2_cache *c, struct q2_table *t)
{
	if (is_dirty(t))
		c->nr_dirty--;
	t->dirty_from = UINT32_MAX;
	t->dirty_to = 0;
	t->is_new = false;
}

static void take_out(struct q2_cache *c, struct q2_table *t)
{
	struct q2_table **at = bucket(c, t->off);

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	list_del(&t->lru);
	clean(c, t);
	c->nr--;
}

void q2_cache_drop(struct q2_cache *c, uint64_t off)
{
	struct q2_table *t = find(c, off);

	if (t) {
		take_out(c, t);
		table_free(t);
	}
}

void q2_table_dirty(struct q2_cache *c, struct q2_table *t, uint32_t at, uint32_t n)
{
	if (!is_dirty(t))
		c->nr_dirty++;
	t->dirty_from = MIN(t->dirty_from, at);
	t->dirty_to = MAX(t->dirty_to, at + n);
}

/* A table to fill, not in a bucket yet: new memory, or that of the one not used for longest. */
static int make_room(struct qcow2 *q, struct q2_cache *c, struct q2_table **ret)
{
	struct q2_table *t;
	int r;

	if (c->nr >= c->max) {
		t = list_entry(c->lru.next, struct q2_table, lru);
		/* What a flush gives back changes counts: it may take two. */
		while (is_dirty(t)) {
			r = q2_flush(q, false);
			if (r < 0)
				return r;
			t = list_entry(c->lru.next, struct q2_table, lru);
		}
		take_out(c, t);
	} else {
		t = mem_new(sizeof(*t));
		r = mem_try(&t->p, c->table_bytes, 2U << 20);
		if (r < 0) {
			free(t);
			return r;
		}
		t->dirty_from = UINT32_MAX;
		list_init(&t->lru);
	}
	*ret = t;
	return 0;
}

static void put_in(struct q2_cache *c, struct q2_table *t, uint64_t off)
{
	struct q2_table **at = bucket(c, off);

	t->off = off;
	t->next = *at;
	*at = t;
	list_push(&c->lru, &t->lru);
	c->nr++;
}

int q2_cache_get(struct qcow2 *q, struct q2_cache *c, uint64_t off, unsigned flags,
		 struct q2_table **ret)
{
	struct q2_table *t = find(c, off);
	int r;

	if (t) {
		list_del(&t->lru);
		list_push(&c->lru, &t->lru);
		*ret = t;
		return 0;
	}
	if (flags & MAP_CACHED)
		return -EAGAIN;
	r = make_room(q, c, &t);
	if (r < 0)
		return r;
	/* Making room may flush, and a flush may have needed this very table. */
	*ret = find(c, off);
	if (*ret) {
		table_free(t);
		return 0;
	}
	r = disk_file_read(q->file, off, t->p, c->table_bytes);
	if (r < 0) {
		table_free(t);
		return r;
	}
	put_in(c, t, off);
	*ret = t;
	return 0;
}

int q2_cache_new(struct qcow2 *q, struct q2_cache *c, uint64_t off, struct q2_table **ret)
{
	struct q2_table *t;
	int r;

	r = make_room(q, c, &t);
	if (r < 0)
		return r;
	q2_cache_drop(c, off);
	memset(t->p, 0, c->table_bytes);
	put_in(c, t, off);
	t->is_new = true;
	q2_table_dirty(c, t, 0, c->table_bytes);
	*ret = t;
	return 0;
}

/* --- to the file ------------------------------------------------------------------------------ */

static int by_offset(const void *a, const void *b)
{
	const struct q2_table *x = *(struct q2_table *const *)a, *y = *(struct q2_table *const *)b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* Dirty tables, in the order of the file; only new ones, or all. */
static int write_tables(struct qcow2 *q, struct q2_cache *c, bool only_new)
{
	_cleanup_(mem_freep) struct q2_table **all = NULL;
	struct q2_table *t;
	size_t n = 0;
	int r = 0;

	if (!c->nr_dirty)
		return 0;
	all = mem_new_n(c->nr_dirty, sizeof(struct q2_table *));
	list_for_each(t, &c->lru, lru)
		if (is_dirty(t) && (t->is_new || !only_new))
			all[n++] = t;
	qsort(all, n, sizeof(all[0]), by_offset);
	for (size_t i = 0; i < n && r == 0; i++) {
		t = all[i];
		/* Whole sectors, so that nothing has to be read first. */
		t->dirty_from &= ~511U;
		t->dirty_to = (t->dirty_to + 511) & ~511U;
		r = disk_file_write(q->file, t->off + t->dirty_from, t->p + t->dirty_from,
				    t->dirty_to - t->dirty_from);
		if (r == 0)
			clean(c, t);
	}
	return r;
}

static int write_words(struct qcow2 *q, uint64_t off, const uint64_t *words, uint32_t size,
		       uint32_t *from, uint32_t *to)
{
	uint32_t first = *from & ~63U, end = MIN((*to + 63) & ~63U, size);
	int r;

	if (*from >= *to)
		return 0;
	r = q2_words_write(q->file, off + (uint64_t)first * 8, words + first, end - first);
	if (r == 0) {
		*from = UINT32_MAX;
		*to = 0;
	}
	return r;
}

static int barrier(struct qcow2 *q)
{
	int r = q->data == q->file ? 0 : disk_file_sync(q->data);

	return r < 0 ? r : disk_file_sync(q->file);
}

static int write_counts(struct qcow2 *q)
{
	int r = write_tables(q, &q->rb, false);

	if (r < 0 || q->rt_dirty_from >= q->rt_dirty_to)
		return r;
	r = barrier(q);
	return r < 0 ? r
		     : write_words(q, q->h.rt_off, q->rt, q->rt_size, &q->rt_dirty_from,
				   &q->rt_dirty_to);
}

int q2_flush(struct qcow2 *q, bool final)
{
	bool pointers = q->l2.nr_dirty || q->l1_dirty_from < q->l1_dirty_to;
	int r = write_counts(q);

	if (r == 0)
		r = write_tables(q, &q->l2, true);
	if (r == 0 && pointers && q->needs_barrier)
		r = barrier(q);
	if (r == 0)
		r = write_tables(q, &q->l2, false);
	if (r == 0)
		r = write_words(q, q->h.l1_off, q->l1, q->h.l1_size, &q->l1_dirty_from,
				&q->l1_dirty_to);
	if (r == 0 && (final || q->nr_freed))
		r = barrier(q);
	if (r < 0)
		return r;
	q->needs_barrier = false;
	return q2_apply_freed(q);
}
