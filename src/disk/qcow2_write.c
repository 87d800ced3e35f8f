/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the tables of a qcow2 image: room for writes, links to it, zeros, discards, compressed clusters.
 *
 * A cluster of the disk that is written is in one of three states, which say how much old content has to
 * move with it:
 *
 *	FRESH	nothing stored: a new cluster, filled from the subcluster of the first byte to that of the last
 *	COPY	shared with a snapshot, or compressed: a new cluster, filled as a whole
 *	REUSE	a cluster of its own that is marked zero, or has subclusters not filled yet: that cluster
 *
 * Without extended L2 a cluster has one subcluster, and the first two are the same.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/pack_priv.h"
#include "disk/qcow2_priv.h"

enum { FRESH, COPY, REUSE };
enum { P_KIND, P_HOST, P_CLUSTERS, P_FIRST };

void q2_l1_set(struct qcow2 *q, uint64_t i, uint64_t entry)
{
	q->l1[i] = entry;
	q->l1_dirty_from = MIN(q->l1_dirty_from, (uint32_t)i);
	q->l1_dirty_to = MAX(q->l1_dirty_to, (uint32_t)i + 1);
}

/* The L2 table of a guest offset, ours alone. Valid until the next one is asked for. */
static int l2_for_write(struct qcow2 *q, uint64_t off, struct q2_table **ret)
{
	uint64_t i = off >> (q->cluster_bits + q->l2_bits), old, host, n;
	struct q2_table *t, *from = NULL;
	int r;

	if (q->is_corrupt)
		return -EIO;
	if (i >= q->h.l1_size)
		return q2_corrupt(q);
	old = q->l1[i] & Q2_OFFSET;
	if (old && q2_l2_offset_ok(q, old) < 0)
		return q2_corrupt(q);
	if (old && q->l1[i] & Q2_COPIED)
		return q2_cache_get(q, &q->l2, old, 0, ret);
	r = q2_alloc(q, 1, true, &host, &n);
	if (r == 0 && old)
		r = q2_cache_get(q, &q->l2, old, 0, &from);
	if (r < 0)
		return r;
	/* The one just used is not the one that makes room. */
	r = q2_cache_new(q, &q->l2, host, &t);
	if (r < 0) {
		ignore_result(q2_refcount_add(q, host >> q->cluster_bits, 1, -1)); /* leaks then */
		return r;
	}
	if (from) {
		memcpy(t->p, from->p, q->cluster_bytes);
		q2_free_later(q, old, 1);
	}
	q2_l1_set(q, i, host | Q2_COPIED);
	*ret = t;
	return 0;
}

static void put_entry(struct qcow2 *q, struct q2_table *t, uint64_t i, uint64_t entry,
		      uint64_t bitmap)
{
	put_be64(t->p + i * q->l2_entry, entry);
	if (q->ext_l2)
		put_be64(t->p + i * 16 + 8, bitmap);
	q2_table_dirty(&q->l2, t, (uint32_t)i * q->l2_entry, q->l2_entry);
}

/* What an entry that is replaced used. */
void q2_drop(struct qcow2 *q, uint64_t entry)
{
	uint64_t first, n;

	if (q->data != q->file)
		return;
	if (entry & Q2_COMPRESSED) {
		q2_packed_clusters(q, entry, &first, &n);
		q2_free_later(q, first << q->cluster_bits, n);
	} else if (entry & Q2_OFFSET) {
		q2_free_later(q, entry & Q2_OFFSET, 1);
	}
}

static int kind_of(const struct qcow2 *q, uint64_t entry)
{
	if (entry & Q2_COMPRESSED && q->data == q->file)
		return COPY;
	if (!(entry & Q2_OFFSET) && !(q->data != q->file && entry & Q2_COPIED))
		return FRESH;
	return entry & Q2_COPIED ? REUSE : COPY;
}

/* Whether a subcluster of a REUSE cluster is data already. */
static bool is_filled(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, uint32_t sub)
{
	return q->ext_l2 ? bitmap >> sub & 1 : !(q->h.version > 2 && entry & Q2_ZERO);
}

/* The part of a cluster of our own that is to be filled: subclusters up to the next filled one. */
static int alloc_reuse(struct qcow2 *q, const struct q2_table *t, uint64_t i, uint64_t off,
		       uint64_t len, struct alloc *a)
{
	uint64_t entry = q2_entry(q, t->p, i), bitmap = q2_bitmap_of(q, t->p, i);
	uint64_t cluster = align_down(off, q->cluster_bytes), sub = UINT64_C(1) << q->sub_bits;
	uint64_t from = align_down(off, sub);
	uint64_t end = MIN(align_up(off + len, sub), cluster + q->cluster_bytes), at = from;

	while (at < end && !is_filled(q, entry, bitmap, (uint32_t)((at - cluster) >> q->sub_bits)))
		at += sub;
	if (at == from)
		return -EAGAIN;
	*a = (struct alloc){
		.off = from,
		.len = at - from,
		.file = q->data,
		.host_off = (entry & Q2_OFFSET) + (from - cluster),
		.priv = { REUSE, entry & Q2_OFFSET, 1, cluster },
	};
	return 0;
}

int q2_write_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *a)
{
	struct qcow2 *q = img->priv;
	uint64_t first = align_down(off, q->cluster_bytes), sub = UINT64_C(1) << q->sub_bits;
	uint64_t mask = (UINT64_C(1) << q->l2_bits) - 1, i = off >> q->cluster_bits & mask;
	uint64_t want, n = 1, host = first;
	struct q2_table *t;
	int r = l2_for_write(q, off, &t), kind;

	if (r < 0)
		return r;
	kind = kind_of(q, q2_entry(q, t->p, i));
	if (kind == REUSE)
		return alloc_reuse(q, t, i, off, len, a);
	want = MIN(((off + len - 1) >> q->cluster_bits) - (off >> q->cluster_bits) + 1,
		   mask + 1 - i);
	while (n < want) {
		int next = kind_of(q, q2_entry(q, t->p, i + n));

		if (next == REUSE || (next != kind && q->ext_l2))
			break;
		n++;
	}
	if (q->data == q->file) {
		r = q2_alloc(q, n, false, &host, &n);
		if (r < 0)
			return r;
	}
	*a = (struct alloc){
		.off = kind == COPY ? first : align_down(off, sub),
		.file = q->data,
		.is_zeroed = host >= disk_file_size(q->data) && !q->data->is_block,
		.priv = { (uint64_t)kind, host, n, first },
	};
	a->len = MIN(kind == COPY ? UINT64_MAX : align_up(off + len, sub),
		     first + (n << q->cluster_bits)) -
		 a->off;
	a->host_off = host + (a->off - first);
	return 0;
}

/* Bits of the subclusters of the cluster at @cluster that lie in [from, to). */
static uint64_t sub_bits_of(const struct qcow2 *q, uint64_t cluster, uint64_t from, uint64_t to)
{
	uint64_t a = (MAX(from, cluster) - cluster) >> q->sub_bits;
	uint64_t b = (MIN(to, cluster + q->cluster_bytes) - cluster) >> q->sub_bits;

	return ((UINT64_C(1) << (b - a)) - 1) << a;
}

int q2_write_link(struct image *img, struct alloc *a)
{
	struct qcow2 *q = img->priv;
	uint64_t end = a->off + a->len, at = a->priv[P_FIRST], host = a->priv[P_HOST];
	uint64_t mask = (UINT64_C(1) << q->l2_bits) - 1;
	struct q2_table *t;
	int r = l2_for_write(q, at, &t);

	if (r < 0) {
		q2_write_unalloc(img, a);
		return r;
	}
	/* New data, and old data that moved, before the entries that point to it. */
	q->needs_barrier = true;
	for (; at < end; at += q->cluster_bytes, host += q->cluster_bytes) {
		uint64_t i = at >> q->cluster_bits & mask;
		uint64_t entry = q2_entry(q, t->p, i), bitmap = q2_bitmap_of(q, t->p, i);
		uint64_t subs = q->ext_l2 ? sub_bits_of(q, at, a->off, end) : 0;

		if (a->priv[P_KIND] != REUSE)
			q2_drop(q, entry);
		if (a->priv[P_KIND] == COPY)
			bitmap = 0;
		put_entry(q, t, i, host | Q2_COPIED, (bitmap & ~(subs << 32)) | subs);
	}
	return 0;
}

void q2_write_unalloc(struct image *img, struct alloc *a)
{
	struct qcow2 *q = img->priv;

	if (a->priv[P_KIND] != REUSE && q->data == q->file) /* else a leak, which check finds */
		ignore_result(q2_refcount_add(q, a->priv[P_HOST] >> q->cluster_bits,
					      a->priv[P_CLUSTERS], -1));
}

/* --- zero, discard ---------------------------------------------------------------------------- */

enum zero_how { KEEP_ROOM, GIVE_BACK, DISCARD };

/* What an entry becomes when its cluster is to read zero. False: it stays. */
static bool zero_entry(struct qcow2 *q, enum zero_how how, uint64_t *entry, uint64_t *bitmap)
{
	const uint64_t all_zero = UINT64_C(0xffffffff) << 32;
	bool has_below = q->img->backing, v2 = q->h.version < 3;
	int kind = kind_of(q, *entry);

	if (kind == FRESH) {
		bool is_zero = q->ext_l2 ? *bitmap == all_zero : !v2 && *entry & Q2_ZERO;

		/* Nothing is stored: zero already, or what is below shows through. */
		if (is_zero || !has_below || how == DISCARD)
			return false;
		*entry = q->ext_l2 ? 0 : Q2_ZERO;
		*bitmap = all_zero;
		return true;
	}
	if (kind == REUSE && (how == KEEP_ROOM || q->data != q->file) && !v2) {
		bool was = q->ext_l2 ? *bitmap == all_zero : *entry & Q2_ZERO;

		if (!q->ext_l2)
			*entry |= Q2_ZERO;
		*bitmap = all_zero;
		return !was;
	}
	q2_drop(q, *entry);
	*entry = v2 || q->ext_l2 ? 0 : Q2_ZERO;
	*bitmap = all_zero;
	if (how == DISCARD && !has_below)
		*entry = *bitmap = 0;
	return true;
}

static int zero_range(struct qcow2 *q, uint64_t off, uint64_t len, enum zero_how how)
{
	uint64_t mask = (UINT64_C(1) << q->l2_bits) - 1, end = off + len;
	uint32_t shift = q->cluster_bits + q->l2_bits;

	while (off < end) {
		uint64_t stop = MIN(end, ((off >> shift) + 1) << shift);
		struct q2_table *t;
		int r;

		if (!(q->l1[off >> shift] & Q2_OFFSET) && (!q->img->backing || how == DISCARD)) {
			off = stop;
			continue;
		}
		r = l2_for_write(q, off, &t);
		if (r < 0)
			return r;
		for (; off < stop; off += q->cluster_bytes) {
			uint64_t i = off >> q->cluster_bits & mask;
			uint64_t entry = q2_entry(q, t->p, i), bitmap = q2_bitmap_of(q, t->p, i);

			if (zero_entry(q, how, &entry, &bitmap))
				put_entry(q, t, i, entry, bitmap);
		}
		/* What is given back is remembered until a flush; not without end. */
		if (q->nr_freed > 65536) {
			r = q2_flush(q, false);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int q2_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	struct qcow2 *q = img->priv;

	/* Version 2 has no way to say zero where something is below; a raw data file has to hold the
	 * zeros, because others read it. */
	if ((q->h.version < 3 && img->backing) || q->is_raw_data)
		return -EOPNOTSUPP;
	return zero_range(q, off, len, unmap ? GIVE_BACK : KEEP_ROOM);
}

int q2_discard(struct image *img, uint64_t off, uint64_t len)
{
	struct qcow2 *q = img->priv;

	if ((q->h.version < 3 && img->backing) || q->is_raw_data)
		return 0;
	return zero_range(q, off, len, DISCARD);
}

/* --- compressed ------------------------------------------------------------------------------- */

int q2_pack(struct image *img, const void *buf, void *out, size_t *ret_bytes)
{
	const struct qcow2 *q = img->priv;

	if (q->data != q->file)
		return -EOPNOTSUPP;
	return pack_squeeze(q->h.compression == Q2_COMPRESSION_ZSTD ? PACK_ZSTD : PACK_DEFLATE, buf,
			    q->cluster_bytes, out, q->cluster_bytes - 1, ret_bytes);
}

/*
 * Room for bytes of a compressed cluster, behind the last ones when that is possible: they need neither
 * alignment nor a cluster of their own.
 */
static int alloc_bytes(struct qcow2 *q, size_t bytes, uint64_t *ret_off)
{
	uint64_t left = q->pack_off ? q->cluster_bytes - (q->pack_off & (q->cluster_bytes - 1)) : 0;
	uint64_t v, host, n;
	int r;

	if (left && left >= bytes) {
		/* As full as it can be shared: then it is not. */
		r = q2_refcount_get(q, q->pack_off >> q->cluster_bits, &v);
		if (r == 0 && v < q->refcount_max) {
			r = q2_refcount_add(q, q->pack_off >> q->cluster_bits, 1, 1);
			*ret_off = q->pack_off;
			goto out;
		}
		left = 0;
	}
	r = q2_alloc(q, 1, true, &host, &n);
	if (r < 0)
		return r;
	*ret_off = host;
	if (left && host == align_down(q->pack_off, q->cluster_bytes) + q->cluster_bytes) {
		r = q2_refcount_get(q, q->pack_off >> q->cluster_bits, &v);
		if (r == 0 && v < q->refcount_max) {
			r = q2_refcount_add(q, q->pack_off >> q->cluster_bits, 1, 1);
			*ret_off = q->pack_off;
		}
	}
out:
	if (r == 0) {
		q->pack_off = *ret_off + bytes;
		if (!(q->pack_off & (q->cluster_bytes - 1)))
			q->pack_off = 0;
	}
	return r;
}

int q2_write_packed(struct image *img, uint64_t off, const void *packed, size_t bytes)
{
	struct qcow2 *q = img->priv;
	uint64_t i = off >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1), host, sectors;
	uint32_t x = 62 - (q->cluster_bits - 8);
	struct q2_table *t;
	int r;

	if (q->data != q->file)
		return -EOPNOTSUPP;
	if (!bytes || bytes >= q->cluster_bytes)
		return -EINVAL;
	r = l2_for_write(q, off, &t);
	if (r < 0)
		return r;
	if (q2_entry(q, t->p, i) || q2_bitmap_of(q, t->p, i))
		return -EEXIST;
	r = alloc_bytes(q, bytes, &host);
	if (r < 0)
		return r;
	if (host + bytes >= UINT64_C(1) << x)
		return -EFBIG;
	r = disk_file_write(q->file, host, packed, bytes);
	if (r < 0)
		return r; /* a leak */
	sectors = ((host + bytes - 1) >> 9) - (host >> 9);
	put_entry(q, t, i, Q2_COMPRESSED | sectors << x | host, 0);
	return 0;
}
