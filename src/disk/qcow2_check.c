/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking a qcow2 image: count who uses each cluster by walking all tables, and compare with what the
 * image says. A count that is too low is an error (the cluster would be given out twice), one too high a
 * leak. Repair drops pointers that cannot be right, and writes the counts found.
 *
 * The counts are 4 bytes a cluster of the file, as the file is long, so a sparse file that pretends to be
 * huge is refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

#define CLUSTERS_MAX (UINT64_C(1) << 28)

struct checker {
	struct qcow2 *q;
	struct disk_check *c;
	uint32_t *used; /* references found */
	uint64_t n;	/* clusters of the file */
	uint64_t last_host;
	bool is_active;
	int r; /* first failure of reading or writing */
};

/* Whether [off, off + bytes) can be a place in the file; else one error. */
static bool refer(struct checker *k, uint64_t off, uint64_t bytes, const char *what)
{
	uint64_t first = off >> k->q->cluster_bits, end;

	if (!bytes)
		return true;
	if (!range_ok(off, bytes, UINT64_C(1) << 56) ||
	    (end = q2_clusters(k->q, off + bytes)) > k->n) {
		check_error(k->c, false, "%s at 0x%" PRIx64 " lies behind the end of the file",
			    what, off);
		return false;
	}
	for (; first < end; first++)
		k->used[first] += k->used[first] < UINT32_MAX;
	return true;
}

/* A pointer that cannot be followed. True: it was dropped. */
static bool bad_pointer(struct checker *k, const char *what, uint64_t value)
{
	bool fix = k->c->fix_errors;

	check_error(k->c, fix, "%s points to 0x%" PRIx64 ", which is no cluster of the file", what,
		    value);
	return fix;
}

static bool is_place(const struct checker *k, uint64_t off)
{
	return !(off & (k->q->cluster_bytes - 1)) && off >> k->q->cluster_bits < k->n;
}

static void check_data(struct checker *k, struct q2_table *t, uint64_t i)
{
	struct qcow2 *q = k->q;
	uint64_t entry = q2_entry(q, t->p, i), bitmap = q2_bitmap_of(q, t->p, i), off;
	uint32_t bytes;

	if (entry & Q2_COMPRESSED && q->data == q->file) {
		q2_packed_range(q, entry, &off, &bytes);
		if (off >> q->cluster_bits >= k->n)
			goto drop;
		/* The last sectors of the last cluster need not be there. */
		refer(k, off, MIN((uint64_t)bytes, (k->n << q->cluster_bits) - off),
		      "compressed cluster");
		k->c->packed += k->is_active;
		k->c->allocated += k->is_active;
		return;
	}
	off = entry & Q2_OFFSET;
	if (!off || q->data != q->file) {
		k->c->allocated += k->is_active && off;
		return;
	}
	if (!is_place(k, off))
		goto drop;
	if (q->ext_l2 && bitmap & bitmap >> 32 & UINT32_MAX) {
		check_error(k->c, false,
			    "a subcluster is both data and zero (entry at 0x%" PRIx64 ")",
			    t->off + i * q->l2_entry);
	}
	refer(k, off, q->cluster_bytes, "data");
	if (k->is_active) {
		k->c->allocated++;
		k->c->fragmented += k->last_host && off != k->last_host + q->cluster_bytes;
		k->last_host = off;
	}
	return;
drop:
	if (bad_pointer(k, "an L2 entry", entry & Q2_OFFSET)) {
		put_be64(t->p + i * q->l2_entry, 0);
		if (q->ext_l2)
			put_be64(t->p + i * 16 + 8, 0);
		q2_table_dirty(&q->l2, t, (uint32_t)i * q->l2_entry, q->l2_entry);
	}
}

/* All that an L1 table reaches. Entries that cannot be right are set to 0 in it; *ret_fixed says so. */
static void check_l1(struct checker *k, uint64_t *l1, uint32_t n, bool *ret_fixed)
{
	struct qcow2 *q = k->q;

	*ret_fixed = false;
	for (uint32_t i = 0; i < n && k->r == 0; i++) {
		uint64_t off = l1[i] & Q2_OFFSET;
		struct q2_table *t;

		if (!off)
			continue;
		if (!is_place(k, off)) {
			if (bad_pointer(k, "an L1 entry", off)) {
				l1[i] = 0;
				*ret_fixed = true;
			}
			continue;
		}
		refer(k, off, q->cluster_bytes, "L2 table");
		k->r = q2_cache_get(q, &q->l2, off, 0, &t);
		for (uint64_t e = 0; k->r == 0 && e < UINT64_C(1) << q->l2_bits; e++)
			if (q2_entry(q, t->p, e) || q->ext_l2)
				check_data(k, t, e);
	}
}

static void check_active(struct checker *k)
{
	struct qcow2 *q = k->q;
	bool fixed;

	k->is_active = true;
	refer(k, q->h.l1_off, (uint64_t)q->h.l1_size * 8, "L1 table");
	check_l1(k, q->l1, q->h.l1_size, &fixed);
	if (fixed) {
		q->l1_dirty_from = 0;
		q->l1_dirty_to = q->h.l1_size;
	}
	k->is_active = false;
}

static void check_snapshots(struct checker *k)
{
	struct qcow2 *q = k->q;

	refer(k, q->h.snapshots_off, q->snapshots_bytes, "snapshot table");
	for (uint32_t i = 0; i < q->h.nr_snapshots && k->r == 0; i++) {
		const struct q2_snapshot *s = &q->snapshots[i];
		_cleanup_(mem_freep) uint64_t *l1 = NULL;
		bool fixed;

		if (!refer(k, s->l1_off, (uint64_t)s->l1_size * 8, "L1 table of a snapshot"))
			continue;
		k->r = mem_try(&l1, MAX((size_t)s->l1_size * 8, (size_t)8), Q2_L1_BYTES_MAX);
		if (k->r == 0)
			k->r = q2_words_read(q->file, s->l1_off, l1, s->l1_size);
		if (k->r == 0)
			check_l1(k, l1, s->l1_size, &fixed);
		if (k->r == 0 && fixed)
			k->r = q2_words_write(q->file, s->l1_off, l1, s->l1_size);
	}
}

static void check_bitmaps(struct checker *k)
{
	struct qcow2 *q = k->q;
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	size_t n = (size_t)q->h.bitmap_dir_bytes, at = 0, used;

	if (!q->h.nr_bitmaps || !refer(k, q->h.bitmap_dir_off, n, "bitmap directory"))
		return;
	k->r = mem_try(&dir, n, Q2_BITMAP_DIR_MAX);
	if (k->r == 0)
		k->r = disk_file_read(q->file, q->h.bitmap_dir_off, dir, n);
	for (uint32_t i = 0; k->r == 0 && i < q->h.nr_bitmaps; i++, at += used) {
		_cleanup_(mem_freep) uint64_t *table = NULL;
		struct q2_bitmap b;

		if (q2_bitmap_parse(dir, n, at, &b, &used, NULL) < 0) {
			check_error(k->c, false, "the bitmap directory is damaged");
			return;
		}
		if (!refer(k, b.table_off, (uint64_t)b.table_size * 8, "table of a bitmap"))
			continue;
		k->r = mem_try(&table, MAX((size_t)b.table_size * 8, (size_t)8), 1U << 30);
		if (k->r == 0)
			k->r = q2_words_read(q->file, b.table_off, table, b.table_size);
		for (uint32_t e = 0; k->r == 0 && e < b.table_size; e++)
			if (table[e] & Q2_OFFSET)
				refer(k, table[e] & Q2_OFFSET, q->cluster_bytes, "bitmap");
	}
}

static void check_count_tables(struct checker *k)
{
	struct qcow2 *q = k->q;

	refer(k, q->h.rt_off, (uint64_t)q->rt_size * 8, "reference count table");
	for (uint32_t i = 0; i < q->rt_size; i++) {
		uint64_t off = q->rt[i] & Q2_RT_OFFSET;

		if (!off)
			continue;
		if (is_place(k, off) && !k->used[off >> q->cluster_bits]) {
			refer(k, off, q->cluster_bytes, "reference count block");
		} else if (bad_pointer(k, "the reference count table", off)) {
			/* Outside the file, or where something else is. */
			q->rt[i] = 0;
			q->rt_dirty_from = MIN(q->rt_dirty_from, i);
			q->rt_dirty_to = MAX(q->rt_dirty_to, i + 1);
		}
	}
}

/* Runs of one finding make one line. */
struct run {
	uint64_t first, n;
	bool is_leak;
};

static void report_run(struct checker *k, const struct run *run, bool is_fixed)
{
	if (!run->n)
		return;
	if (run->is_leak) {
		check_leak(k->c, is_fixed, run->n,
			   "clusters %" PRIu64 " to %" PRIu64 " are not used", run->first,
			   run->first + run->n - 1);
		return;
	}
	check_error(k->c, is_fixed,
		    "clusters %" PRIu64 " to %" PRIu64 " are used more than counted", run->first,
		    run->first + run->n - 1);
	k->c->errors += run->n - 1;
	k->c->errors_fixed += is_fixed ? run->n - 1 : 0;
}

static void compare_counts(struct checker *k)
{
	struct qcow2 *q = k->q;
	struct run run = { 0 };

	for (uint64_t i = 0; i < k->n && k->r == 0; i++) {
		bool is_leak, fix;
		uint64_t v;

		k->r = q2_refcount_get(q, i, &v);
		if (k->r < 0)
			return;
		if (k->used[i])
			k->c->file_end = (i + 1) << q->cluster_bits;
		if (v == k->used[i])
			continue;
		is_leak = v > k->used[i];
		fix = is_leak ? k->c->fix_leaks : k->c->fix_errors;
		if (!run.n || run.is_leak != is_leak || run.first + run.n != i) {
			report_run(k, &run, run.is_leak ? k->c->fix_leaks : k->c->fix_errors);
			run = (struct run){ i, 0, is_leak };
		}
		run.n++;
		if (fix)
			k->r = q2_refcount_set(q, i, MIN((uint64_t)k->used[i], q->refcount_max));
	}
	report_run(k, &run, run.is_leak ? k->c->fix_leaks : k->c->fix_errors);
}

static void check_mark(struct checker *k, uint64_t *entry, bool *ret_changed)
{
	struct qcow2 *q = k->q;
	uint64_t off = *entry & Q2_OFFSET, v;

	*ret_changed = false;
	if (*entry & Q2_COMPRESSED || !off || !is_place(k, off))
		return;
	k->r = q2_refcount_get(q, off >> q->cluster_bits, &v);
	if (k->r < 0 || (v == 1) == !!(*entry & Q2_COPIED))
		return;
	check_error(k->c, k->c->fix_errors,
		    "the mark of cluster 0x%" PRIx64 " does not fit its count", off);
	*entry ^= Q2_COPIED;
	*ret_changed = k->c->fix_errors;
}

static void check_marks(struct checker *k)
{
	struct qcow2 *q = k->q;
	bool changed;

	if (q->data != q->file)
		return;
	for (uint32_t i = 0; i < q->h.l1_size && k->r == 0; i++) {
		uint64_t l1 = q->l1[i];
		struct q2_table *t;

		if (!is_place(k, l1 & Q2_OFFSET) || !(l1 & Q2_OFFSET))
			continue;
		check_mark(k, &l1, &changed);
		if (changed) {
			q->l1[i] = l1;
			q->l1_dirty_from = MIN(q->l1_dirty_from, i);
			q->l1_dirty_to = MAX(q->l1_dirty_to, i + 1);
		}
		if (k->r == 0)
			k->r = q2_cache_get(q, &q->l2, l1 & Q2_OFFSET, 0, &t);
		for (uint64_t e = 0; k->r == 0 && e < UINT64_C(1) << q->l2_bits; e++) {
			uint64_t entry = q2_entry(q, t->p, e);

			check_mark(k, &entry, &changed);
			if (!changed)
				continue;
			put_be64(t->p + e * q->l2_entry, entry);
			q2_table_dirty(&q->l2, t, (uint32_t)e * q->l2_entry, 8);
		}
	}
}

/* What was repaired goes to the file, and then the marks of a bad image away. */
static int settle(struct checker *k)
{
	struct qcow2 *q = k->q;
	int r;

	q->free_hint = 0;
	r = q2_flush(q, true);
	if (r < 0 || k->c->errors > k->c->errors_fixed || q->h.version < 3 ||
	    !(q->h.incompatible & (Q2_I_DIRTY | Q2_I_CORRUPT)))
		return r;
	q->h.incompatible &= ~(uint64_t)(Q2_I_DIRTY | Q2_I_CORRUPT);
	r = q2_header_write(q, Q2_H_INCOMPATIBLE, Q2_H_COMPATIBLE);
	return r < 0 ? r : disk_file_sync(q->file);
}

int q2_check(struct image *img, struct disk_check *c, struct err *err)
{
	struct qcow2 *q = img->priv;
	struct checker k = { .q = q, .c = c };
	int r = 0;

	if (c->fix_errors)
		q->is_corrupt = false;
	if (img->flags & DISK_RDWR && !q->is_corrupt)
		r = q2_flush(q, true);
	/* And what that gave back. */
	if (r == 0 && img->flags & DISK_RDWR && !q->is_corrupt)
		r = q2_flush(q, true);
	if (r < 0)
		return err_set(err, r, "write tables: %s", strerror(-r));
	k.n = q2_clusters(q, disk_file_size(q->file));
	if (k.n > CLUSTERS_MAX)
		return err_set(err, -E2BIG,
			       "the file has %" PRIu64 " clusters, which is too many to check",
			       k.n);
	r = mem_try(&k.used, k.n * 4, CLUSTERS_MAX * 4);
	if (r < 0)
		return err_set(err, r, "no memory for counts of %" PRIu64 " clusters", k.n);
	c->clusters = q2_clusters(q, img->size ? img->size : q->h.size);
	refer(&k, 0, q->cluster_bytes, "header");
	check_active(&k);
	if (k.r == 0)
		check_snapshots(&k);
	if (k.r == 0)
		check_bitmaps(&k);
	if (k.r == 0)
		check_count_tables(&k);
	if (k.r == 0)
		compare_counts(&k);
	if (k.r == 0)
		check_marks(&k);
	if (k.r == 0 && (c->fix_errors || c->fix_leaks))
		k.r = settle(&k);
	free(k.used);
	return k.r < 0 ? err_set(err, k.r, "check: %s", strerror(-k.r)) : 0;
}
