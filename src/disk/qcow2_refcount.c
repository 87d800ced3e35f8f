/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which clusters of the file are in use, and how often: a two-level table of counts of 1 to 64 bits.
 *
 * A block of counts that is missing is placed at the very cluster that was asked for, so that it counts
 * itself: nothing has to be allocated to be able to allocate. A table of blocks that is full is copied to the
 * first place it does not cover, and the header then changes to it in one write.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

#define FREED_RUNS_MAX 4096

uint64_t q2_rb_get(const uint8_t *block, uint32_t order, uint64_t i)
{
	switch (order) {
	case 0:
	case 1:
	case 2: {
		uint32_t bits = 1U << order, per_byte = 8 / bits;

		return block[i / per_byte] >> (i % per_byte * bits) & ((1U << bits) - 1);
	}
	case 3:
		return block[i];
	case 4:
		return get_be16(block + i * 2);
	case 5:
		return get_be32(block + i * 4);
	default:
		return get_be64(block + i * 8);
	}
}

void q2_rb_set(uint8_t *block, uint32_t order, uint64_t i, uint64_t v)
{
	switch (order) {
	case 0:
	case 1:
	case 2: {
		uint32_t bits = 1U << order, per_byte = 8 / bits,
			 shift = (uint32_t)(i % per_byte) * bits;
		uint8_t *b = &block[i / per_byte];

		*b = (uint8_t)((*b & ~(((1U << bits) - 1) << shift)) | (uint32_t)v << shift);
		break;
	}
	case 3:
		block[i] = (uint8_t)v;
		break;
	case 4:
		put_be16(block + i * 2, (uint16_t)v);
		break;
	case 5:
		put_be32(block + i * 4, (uint32_t)v);
		break;
	default:
		put_be64(block + i * 8, v);
	}
}

/* The block with the count of a cluster; *ret NULL: there is none, all of its counts are 0. */
static int get_block(struct qcow2 *q, uint64_t cluster, struct q2_table **ret)
{
	uint64_t i = cluster >> q->rb_bits, off;

	*ret = NULL;
	if (i >= q->rt_size)
		return 0;
	off = q->rt[i] & Q2_RT_OFFSET;
	if (!off)
		return 0;
	if (q2_l2_offset_ok(q, off) < 0)
		return q2_corrupt(q);
	return q2_cache_get(q, &q->rb, off, 0, ret);
}

static uint64_t in_block(const struct qcow2 *q, uint64_t cluster)
{
	return cluster & ((UINT64_C(1) << q->rb_bits) - 1);
}

int q2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret)
{
	struct q2_table *t;
	int r = get_block(q, cluster, &t);

	if (r == 0)
		*ret = t ? q2_rb_get(t->p, q->h.refcount_order, in_block(q, cluster)) : 0;
	return r;
}

static void set_in(struct qcow2 *q, struct q2_table *t, uint64_t cluster, uint64_t value)
{
	uint64_t i = in_block(q, cluster);

	q2_rb_set(t->p, q->h.refcount_order, i, value);
	q2_table_dirty(&q->rb, t, (uint32_t)((i << q->h.refcount_order) / 8),
		       1U << (q->h.refcount_order > 3 ? q->h.refcount_order - 3 : 0));
}

/* A block for the counts around @cluster, at @place, which is free: it counts itself, or is counted. */
static int place_block(struct qcow2 *q, uint64_t cluster, uint64_t place)
{
	uint32_t i = (uint32_t)(cluster >> q->rb_bits);
	struct q2_table *t;
	int r;

	if (cluster >> q->rb_bits != place >> q->rb_bits) {
		r = get_block(q, place, &t);
		if (r < 0)
			return r;
		set_in(q, t, place, 1);
	}
	r = q2_cache_new(q, &q->rb, place << q->cluster_bits, &t);
	if (r < 0)
		return r;
	if (cluster >> q->rb_bits == place >> q->rb_bits)
		set_in(q, t, place, 1);
	q->rt[i] = place << q->cluster_bits;
	q->rt_dirty_from = MIN(q->rt_dirty_from, i);
	q->rt_dirty_to = MAX(q->rt_dirty_to, i + 1);
	return 0;
}

static int grow_table(struct qcow2 *q, uint64_t need);

int q2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
	struct q2_table *t;
	int r;

	if (value > q->refcount_max)
		return -ERANGE;
	if (cluster >> q->rb_bits >= q->rt_size) {
		r = grow_table(q, (cluster >> q->rb_bits) + 1);
		if (r < 0)
			return r;
	}
	r = get_block(q, cluster, &t);
	if (r < 0)
		return r;
	if (!t) {
		uint64_t end = q2_clusters(q, disk_file_size(q->file));

		if (!value)
			return 0;
		/* A cluster in use without a count: only repair sees one. The block goes behind
		 * everything; there it counts itself, or is counted by another. */
		end = MAX(end, cluster + 1);
		r = q2_cache_new(q, &q->rb, end << q->cluster_bits, &t);
		if (r < 0)
			return r;
		q->rt[cluster >> q->rb_bits] = end << q->cluster_bits;
		q->rt_dirty_from = MIN(q->rt_dirty_from, (uint32_t)(cluster >> q->rb_bits));
		q->rt_dirty_to = MAX(q->rt_dirty_to, (uint32_t)(cluster >> q->rb_bits) + 1);
		set_in(q, t, cluster, value);
		/* The file has this length now, so the next one goes elsewhere. */
		r = disk_file_zero(q->file, end << q->cluster_bits, q->cluster_bytes, false);
		return r < 0 ? r : q2_refcount_set(q, end, 1);
	}
	set_in(q, t, cluster, value);
	return 0;
}

int q2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta)
{
	for (uint64_t i = 0; i < n; i++) {
		struct q2_table *t;
		uint64_t v;
		int r = get_block(q, cluster + i, &t);

		if (r < 0)
			return r;
		v = t ? q2_rb_get(t->p, q->h.refcount_order, in_block(q, cluster + i)) : 0;
		/* A count for something that is in use cannot be 0. */
		if (!v)
			return q2_corrupt(q);
		if (delta > 0 && v == q->refcount_max)
			return -ERANGE;
		set_in(q, t, cluster + i, v + (uint64_t)(int64_t)delta);
		if (delta < 0 && v == 1) {
			q->free_hint = MIN(q->free_hint, cluster + i);
			q2_cache_drop(&q->l2, (cluster + i) << q->cluster_bits);
			if (q->pack_off >> q->cluster_bits == cluster + i)
				q->pack_off = 0; /* the bytes before it are gone */
		}
	}
	return 0;
}

/* --- allocation ------------------------------------------------------------------------------- */

static bool hits(uint64_t off, uint64_t bytes, uint64_t table, uint64_t table_bytes)
{
	return table && range_overlap(off, bytes, table, table_bytes);
}

/* A place that is counted as free, but is not: the image lies. */
static bool is_metadata(const struct qcow2 *q, uint64_t off, uint64_t bytes)
{
	if (off < q->cluster_bytes || hits(off, bytes, q->h.l1_off, (uint64_t)q->h.l1_size * 8) ||
	    hits(off, bytes, q->h.rt_off, (uint64_t)q->rt_size * 8) ||
	    hits(off, bytes, q->h.snapshots_off, q->snapshots_bytes) ||
	    hits(off, bytes, q->h.bitmap_dir_off, q->h.bitmap_dir_bytes))
		return true;
	/* Runs are long or images small, so this is cheap for each cluster. */
	for (uint32_t i = 0; i < q->rt_size && i < 65536; i++)
		if (q->rt[i] &&
		    range_overlap(off, bytes, q->rt[i] & Q2_RT_OFFSET, q->cluster_bytes))
			return true;
	for (uint32_t i = 0; i < q->h.l1_size && i < 65536; i++)
		if (q->l1[i] && range_overlap(off, bytes, q->l1[i] & Q2_OFFSET, q->cluster_bytes))
			return true;
	return false;
}

/* The first free cluster from @at on, and how many in a row, up to @want. Blocks are made on the way. */
static int find_free(struct qcow2 *q, uint64_t at, uint64_t want, uint64_t *ret, uint64_t *ret_n)
{
	uint64_t start = 0, n = 0;

	while (n < want) {
		struct q2_table *t;
		uint64_t end;
		int r;

		if (at >> q->rb_bits >= q->rt_size) {
			if (n)
				break;
			r = grow_table(q, (at >> q->rb_bits) + 1);
			if (r < 0)
				return r;
		}
		r = get_block(q, at, &t);
		if (r < 0)
			return r;
		if (!t) {
			uint64_t place = n ? start : at;

			if (is_metadata(q, place << q->cluster_bits, q->cluster_bytes))
				return q2_corrupt(q);
			r = place_block(q, at, place);
			if (r < 0)
				return r;
			/* At the beginning of the run, so that the run goes on. */
			if (n) {
				start++;
				n--;
			} else {
				at++;
			}
			continue;
		}
		end = (at | ((UINT64_C(1) << q->rb_bits) - 1)) + 1;
		for (; at < end && n < want; at++) {
			if (q2_rb_get(t->p, q->h.refcount_order, in_block(q, at)) == 0) {
				start = n++ ? start : at;
			} else if (n) {
				want = n; /* the run ends here */
				break;
			}
		}
	}
	*ret = start;
	*ret_n = n;
	return 0;
}

static int claim(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct q2_table *t;
		int r = get_block(q, cluster + i, &t);

		if (r < 0)
			return r;
		set_in(q, t, cluster + i, 1);
	}
	q->needs_barrier = true;
	return 0;
}

int q2_alloc(struct qcow2 *q, uint64_t want, bool exact, uint64_t *ret_off, uint64_t *ret_n)
{
	uint64_t at = q->free_hint, cluster = 0, n = 0;
	int r;

	for (;;) {
		r = find_free(q, at, want, &cluster, &n);
		if (r < 0)
			return r;
		/* What is skipped here stays free: the hint must not pass it. */
		if (!exact || n == want)
			break;
		at = cluster + n;
	}
	if (at == q->free_hint)
		q->free_hint = cluster + n;
	if (cluster + n > UINT64_C(1) << (56 - q->cluster_bits))
		return -EFBIG;
	if (is_metadata(q, cluster << q->cluster_bits, n << q->cluster_bits))
		return q2_corrupt(q);
	r = claim(q, cluster, n);
	if (r < 0)
		return r;
	*ret_off = cluster << q->cluster_bits;
	*ret_n = n;
	return 0;
}

/*
 * More room for pointers to blocks: a larger table at the first clusters that the present one does not
 * cover, counted by blocks that it is the first to know.
 */
static int grow_table(struct qcow2 *q, uint64_t need)
{
	uint64_t old_off = q->h.rt_off, old_n = q->h.rt_clusters, per = q->cluster_bytes / 8;
	uint64_t old_size = q->rt_size, size, n, off, got;
	uint64_t *rt;
	int r;

	size = MAX(need + 1, old_size + old_size / 2);
	n = (size + per - 1) / per;
	/* The table's own clusters are counted behind what it covered so far, too. */
	n += ((n + 2) >> q->rb_bits) / per + 1;
	size = n * per;
	if (n << q->cluster_bits > Q2_RT_BYTES_MAX)
		return -EFBIG;
	rt = mem_new_n(size, sizeof(*rt));
	memcpy(rt, q->rt, old_size * sizeof(*rt));
	free(q->rt);
	q->rt = rt;
	q->rt_size = (uint32_t)size;
	{
		uint64_t hint = q->free_hint;

		q->free_hint = old_size << q->rb_bits;
		r = q2_alloc(q, n, true, &off, &got);
		q->free_hint = hint;
	}
	if (r == 0)
		r = q2_words_write(q->file, off, q->rt, size);
	/* The blocks of its clusters must be there before the header says where it is. */
	if (r == 0) {
		q->rt_dirty_from = UINT32_MAX;
		q->rt_dirty_to = 0;
		q->h.rt_off = off;
		q->h.rt_clusters = (uint32_t)n;
		r = q2_flush(q, true);
	}
	if (r == 0)
		r = q2_header_write(q, Q2_H_RT_OFF, Q2_H_NR_SNAPSHOTS);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r < 0) {
		/* The larger table in memory is harmless; the header keeps the old one, which has all
		 * that is on the medium. */
		q->h.rt_off = old_off;
		q->h.rt_clusters = (uint32_t)old_n;
		q->is_corrupt = true; /* for this run: nothing more is written */
		return r;
	}
	return q2_refcount_add(q, old_off >> q->cluster_bits, old_n, -1);
}

/* --- giving back ------------------------------------------------------------------------------ */

void q2_free_later(struct qcow2 *q, uint64_t off, uint64_t n)
{
	uint64_t cluster = off >> q->cluster_bits;
	struct q2_freed *last = q->nr_freed ? &q->freed[q->nr_freed - 1] : NULL;

	if (last && last->cluster + last->n == cluster) {
		last->n += n;
		return;
	}
	if (q->nr_freed == q->cap_freed) {
		q->cap_freed = q->cap_freed ? q->cap_freed * 2 : 64;
		q->freed = mem_renew(q->freed, q->cap_freed, sizeof(*q->freed));
	}
	q->freed[q->nr_freed++] = (struct q2_freed){ cluster, n };
}

/* Give the space of a run back to the host where nobody uses it any more. */
static int punch(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
	uint64_t from = cluster, v;

	if (!(q->img->flags & DISK_UNMAP))
		return 0;
	for (uint64_t at = cluster; at <= cluster + n; at++) {
		int r = at < cluster + n ? q2_refcount_get(q, at, &v) : 0;

		if (r < 0)
			return r;
		if (at < cluster + n && v == 0)
			continue;
		if (at > from) /* what the host cannot do is not an error */
			ignore_result(disk_file_punch(q->file, from << q->cluster_bits,
						      (at - from) << q->cluster_bits));
		from = at + 1;
	}
	return 0;
}

int q2_apply_freed(struct qcow2 *q)
{
	size_t n = q->nr_freed;
	int r = 0;

	/* A flush on the way, to make room for a block, finds nothing to give back. */
	q->nr_freed = 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct q2_freed f = q->freed[i];

		r = q2_refcount_add(q, f.cluster, f.n, -1);
		if (r == 0)
			r = punch(q, f.cluster, f.n);
	}
	return r;
}
