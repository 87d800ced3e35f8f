/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the tables of a qcow2 image: which cluster of the file holds which cluster of the disk, and what
 * state it or its parts (subclusters of extended L2 entries) are in.
 *
 * Source: qcow2 specification, "Cluster mapping", "Standard Cluster Descriptor", "Compressed Clusters
 * Descriptor", "Extended L2 Entries".
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/pack_priv.h"
#include "disk/qcow2_priv.h"

int q2_corrupt(struct qcow2 *q)
{
	if (!q->is_corrupt && q->img->flags & DISK_RDWR && q->h.version > 2) {
		q->h.incompatible |= Q2_I_CORRUPT;
		/* It is damaged anyway; this only tells others. */
		ignore_result(q2_header_write(q, Q2_H_INCOMPATIBLE, Q2_H_COMPATIBLE));
	}
	q->is_corrupt = true;
	return -EILSEQ;
}

int q2_l2_offset_ok(const struct qcow2 *q, uint64_t off)
{
	return off & (q->cluster_bytes - 1) || off >= UINT64_C(1) << 56 ? -EILSEQ : 0;
}

void q2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *ret_off, uint32_t *ret_bytes)
{
	uint32_t x = 62 - (q->cluster_bits - 8);
	uint64_t off = entry & ((UINT64_C(1) << x) - 1);
	uint32_t sectors =
		(uint32_t)(entry >> x & ((UINT64_C(1) << (q->cluster_bits - 8)) - 1)) + 1;

	*ret_off = off;
	*ret_bytes = sectors * 512 - (uint32_t)(off & 511);
}

void q2_packed_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *ret_first, uint64_t *ret_n)
{
	uint64_t off;
	uint32_t bytes;

	q2_packed_range(q, entry, &off, &bytes);
	*ret_first = off >> q->cluster_bits;
	*ret_n = ((off + bytes - 1) >> q->cluster_bits) - *ret_first + 1;
}

/* What an entry says about one subcluster (the whole cluster without extended L2). */
struct said {
	enum where where;
	bool in_place;
	uint64_t host; /* of the cluster; 0: none */
};

static struct said entry_says(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, uint32_t sub)
{
	struct said s = { WHERE_BELOW, false, entry & Q2_OFFSET };
	bool has_host = s.host || (q->data != q->file && entry & Q2_COPIED);

	if (entry & Q2_COMPRESSED && q->data == q->file) {
		s.where = WHERE_PACKED;
		return s;
	}
	if (q->ext_l2) {
		if (bitmap >> (32 + sub) & 1)
			s.where = WHERE_ZERO;
		else if (bitmap >> sub & 1)
			s.where = WHERE_DATA;
	} else if (q->h.version > 2 && entry & Q2_ZERO) {
		s.where = WHERE_ZERO;
	} else if (has_host) {
		s.where = WHERE_DATA;
	}
	s.in_place = s.where == WHERE_DATA && entry & Q2_COPIED;
	return s;
}

/* Whether the entry can be right at all. */
static bool entry_ok(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, struct said s)
{
	if (s.where == WHERE_PACKED)
		return !q->ext_l2 || !bitmap;
	if (s.host & (q->cluster_bytes - 1))
		return false;
	if (q->ext_l2 && (bitmap & bitmap >> 32 & UINT32_MAX))
		return false;
	if (q->ext_l2 && bitmap & UINT32_MAX && !s.host && q->data == q->file)
		return false;
	/* Guest data over the header: a write there would choose what is opened next time. */
	if (s.where == WHERE_DATA && q->data == q->file && s.host < q->cluster_bytes)
		return false;
	return true;
}

int q2_map(struct image *img, uint64_t off, uint64_t len, unsigned flags, struct where_at *ret)
{
	struct qcow2 *q = img->priv;
	uint32_t in_l2 = q->cluster_bits + q->l2_bits;
	uint64_t i = off >> in_l2, sub_bytes = UINT64_C(1) << q->sub_bits;
	uint64_t end = MIN(off + len, (i + 1) << in_l2), at = off;
	uint32_t sub_mask = (1U << (q->cluster_bits - q->sub_bits)) - 1;
	uint64_t mask = (UINT64_C(1) << q->l2_bits) - 1, entry, bitmap, host;
	struct q2_table *t;
	struct said first;
	int r;

	*ret = (struct where_at){ .where = WHERE_BELOW, .off = off, .len = end - off };
	if (i >= q->h.l1_size)
		return -EILSEQ;
	if (!(q->l1[i] & Q2_OFFSET))
		return 0;
	if (q2_l2_offset_ok(q, q->l1[i] & Q2_OFFSET) < 0)
		return q2_corrupt(q);
	r = q2_cache_get(q, &q->l2, q->l1[i] & Q2_OFFSET, flags, &t);
	if (r < 0)
		return r;
	i = off >> q->cluster_bits & mask;
	entry = q2_entry(q, t->p, i);
	bitmap = q2_bitmap_of(q, t->p, i);
	first = entry_says(q, entry, bitmap, (uint32_t)(off >> q->sub_bits) & sub_mask);
	if (!entry_ok(q, entry, bitmap, first))
		return q2_corrupt(q);
	ret->where = first.where;
	ret->in_place = first.in_place;
	if (first.where == WHERE_PACKED) {
		ret->packed = entry;
		ret->unit_off = align_down(off, q->cluster_bytes);
		ret->unit_len = q->cluster_bytes;
		ret->len = MIN(end, ret->unit_off + q->cluster_bytes) - off;
		return 0;
	}
	host = first.host + (off & (q->cluster_bytes - 1));
	if (first.where == WHERE_DATA) {
		ret->file = q->data;
		ret->host_off = host;
	}
	/* As far as it goes on like this. */
	for (at = align_down(off, sub_bytes) + sub_bytes; at < end; at += sub_bytes) {
		struct said s;

		i = at >> q->cluster_bits & mask;
		entry = q2_entry(q, t->p, i);
		bitmap = q2_bitmap_of(q, t->p, i);
		s = entry_says(q, entry, bitmap, (uint32_t)(at >> q->sub_bits) & sub_mask);
		if (s.where != first.where || s.in_place != first.in_place ||
		    !entry_ok(q, entry, bitmap, s))
			break;
		if (s.where == WHERE_DATA &&
		    s.host + (at & (q->cluster_bytes - 1)) != host + (at - off))
			break;
	}
	ret->len = MIN(at, end) - off;
	return 0;
}

int q2_unpack(struct image *img, const struct where_at *at, void *buf)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) void *packed = NULL;
	uint64_t off;
	uint32_t bytes;
	int r;

	q2_packed_range(q, at->packed, &off, &bytes);
	if (off >= disk_file_size(q->file))
		return -EILSEQ;
	packed = malloc(bytes); /* at most twice a cluster */
	if (!packed)
		return -ENOMEM;
	r = disk_file_read(q->file, off, packed, bytes);
	if (r < 0)
		return r;
	return pack_expand(q->h.compression == Q2_COMPRESSION_ZSTD ? PACK_ZSTD : PACK_DEFLATE,
			   packed, bytes, buf, at->unit_len);
}
