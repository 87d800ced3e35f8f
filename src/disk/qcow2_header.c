/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a qcow2 image that are parsed: header with extensions, snapshot table, bitmap directory.
 * Bytes in, structs out, no I/O, so that a fuzzer can be let loose on them. What is checked here is what can
 * be known from the bytes and the length of the file: after that, no number is larger than its limit, and
 * no table's place overflows.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

static int bad(struct err *err, const char *what, uint64_t v)
{
	return err_set(err, -EILSEQ, "qcow2 header: %s (%" PRIu64 ")", what, v);
}

/* A table: aligned, in the range of file offsets, not over the header. */
static bool table_ok(uint64_t off, uint64_t bytes, uint32_t cluster_bits)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;

	if (!bytes)
		return true;
	return !(off & (cluster - 1)) && off && off < UINT64_C(1) << 56 &&
	       bytes < UINT64_C(1) << 40;
}

static bool copy_text(char *to, size_t cap, const uint8_t *p, size_t n)
{
	if (n >= cap || memchr(p, 0, n))
		return false;
	memcpy(to, p, n);
	to[n] = '\0';
	return true;
}

static int parse_extension(uint32_t type, const uint8_t *p, uint32_t n, struct q2_header *h,
			   struct err *err)
{
	switch (type) {
	case (uint32_t)Q2_E_BACKING_FORMAT:
		if (!copy_text(h->backing_format, sizeof(h->backing_format), p, n))
			return bad(err, "name of the backing format too long", n);
		break;
	case Q2_E_DATA_FILE:
		if (!copy_text(h->data_file, sizeof(h->data_file), p, n))
			return bad(err, "name of the data file too long", n);
		break;
	case Q2_E_BITMAPS:
		if (!(h->autoclear & Q2_A_BITMAPS))
			break; /* somebody who does not know them has written to the image */
		if (n != 24)
			return bad(err, "bitmaps extension of a wrong length", n);
		h->nr_bitmaps = get_be32(p);
		h->bitmap_dir_bytes = get_be64(p + 8);
		h->bitmap_dir_off = get_be64(p + 16);
		if (!h->nr_bitmaps || h->nr_bitmaps > Q2_BITMAPS_MAX ||
		    h->bitmap_dir_bytes > Q2_BITMAP_DIR_MAX ||
		    !table_ok(h->bitmap_dir_off, h->bitmap_dir_bytes, h->cluster_bits))
			return bad(err, "bitmap directory out of range", h->bitmap_dir_off);
		break;
	default:
		break; /* stays where it is */
	}
	return 0;
}

static int parse_extensions(const uint8_t *p, size_t n, struct q2_header *h, struct err *err)
{
	size_t end = (size_t)1 << h->cluster_bits, at = h->header_len;

	if (h->backing_off)
		end = MIN(end, (size_t)h->backing_off);
	end = MIN(end, n);
	while (at + 8 <= end) {
		uint32_t type = get_be32(p + at), len = get_be32(p + at + 4);
		int r;

		at += 8;
		if (!type)
			break;
		if (len > end - at)
			return bad(err, "an extension is longer than its cluster", len);
		r = parse_extension(type, p + at, len, h, err);
		if (r < 0)
			return r;
		at += MIN((len + 7) & ~(size_t)7, end - at);
	}
	return 0;
}

static int parse_v3(const uint8_t *p, size_t n, struct q2_header *h, struct err *err)
{
	if (h->version == 2) {
		h->refcount_order = 4;
		h->header_len = Q2_V2_HEADER;
		return 0;
	}
	if (n < Q2_V3_HEADER)
		return bad(err, "cut off", n);
	h->incompatible = get_be64(p + Q2_H_INCOMPATIBLE);
	h->compatible = get_be64(p + Q2_H_COMPATIBLE);
	h->autoclear = get_be64(p + Q2_H_AUTOCLEAR);
	h->refcount_order = get_be32(p + Q2_H_REFCOUNT_ORDER);
	h->header_len = get_be32(p + Q2_H_HEADER_LEN);
	if (h->header_len < Q2_V3_HEADER || h->header_len > n ||
	    h->header_len > 1U << h->cluster_bits)
		return bad(err, "length of the header out of range", h->header_len);
	if (h->refcount_order > 6)
		return bad(err, "reference counts wider than 64 bits", h->refcount_order);
	if (h->incompatible & ~(uint64_t)Q2_I_KNOWN)
		return err_set(err, -EOPNOTSUPP,
			       "the image uses features we do not have (incompatible bits 0x%" PRIx64
			       ")",
			       h->incompatible & ~(uint64_t)Q2_I_KNOWN);
	if (h->header_len > Q2_H_COMPRESSION)
		h->compression = p[Q2_H_COMPRESSION];
	if (h->compression > Q2_COMPRESSION_ZSTD)
		return err_set(err, -EOPNOTSUPP, "compression type %u is unknown", h->compression);
	if (!!h->compression != !!(h->incompatible & Q2_I_COMPRESSION))
		return bad(err, "compression type and its feature bit disagree", h->compression);
	if (h->incompatible & Q2_I_EXT_L2 && h->cluster_bits < 14)
		return bad(err, "extended L2 entries need clusters of 16 KiB", h->cluster_bits);
	return 0;
}

static int check_tables(const struct q2_header *h, struct err *err)
{
	uint32_t l2_bits = h->cluster_bits - (h->incompatible & Q2_I_EXT_L2 ? 4 : 3);
	uint32_t shift = h->cluster_bits + l2_bits;
	uint64_t need = (h->size >> shift) + !!(h->size & ((UINT64_C(1) << shift) - 1));

	if (h->size > UINT64_C(1) << 62)
		return bad(err, "size of the disk out of range", h->size);
	if ((uint64_t)h->l1_size * 8 > Q2_L1_BYTES_MAX)
		return bad(err, "L1 table too large", h->l1_size);
	if (h->l1_size < need)
		return bad(err, "L1 table too small for the disk", h->l1_size);
	if (!table_ok(h->l1_off, (uint64_t)h->l1_size * 8, h->cluster_bits))
		return bad(err, "L1 table out of range", h->l1_off);
	if ((uint64_t)h->rt_clusters << h->cluster_bits > Q2_RT_BYTES_MAX || !h->rt_clusters)
		return bad(err, "reference count table too large, or empty", h->rt_clusters);
	if (!table_ok(h->rt_off, (uint64_t)h->rt_clusters << h->cluster_bits, h->cluster_bits))
		return bad(err, "reference count table out of range", h->rt_off);
	if (h->nr_snapshots > Q2_SNAPSHOTS_MAX)
		return bad(err, "too many snapshots", h->nr_snapshots);
	if (!table_ok(h->snapshots_off, (uint64_t)h->nr_snapshots * 40, h->cluster_bits))
		return bad(err, "snapshot table out of range", h->snapshots_off);
	return 0;
}

int q2_header_parse(const uint8_t *p, size_t n, uint64_t file_bytes, struct q2_header *h,
		    struct err *err)
{
	int r;

	*h = (struct q2_header){ 0 };
	if (n < Q2_V2_HEADER || get_be32(p) != Q2_MAGIC)
		return err_set(err, -EILSEQ, "not a qcow2 image");
	h->version = get_be32(p + Q2_H_VERSION);
	if (h->version != 2 && h->version != 3)
		return err_set(err, -EOPNOTSUPP, "qcow2 version %u is neither 2 nor 3", h->version);
	h->backing_off = get_be64(p + Q2_H_BACKING_OFF);
	h->backing_len = get_be32(p + Q2_H_BACKING_LEN);
	h->cluster_bits = get_be32(p + Q2_H_CLUSTER_BITS);
	h->size = get_be64(p + Q2_H_SIZE);
	h->crypt = get_be32(p + Q2_H_CRYPT);
	h->l1_size = get_be32(p + Q2_H_L1_SIZE);
	h->l1_off = get_be64(p + Q2_H_L1_OFF);
	h->rt_off = get_be64(p + Q2_H_RT_OFF);
	h->rt_clusters = get_be32(p + Q2_H_RT_CLUSTERS);
	h->nr_snapshots = get_be32(p + Q2_H_NR_SNAPSHOTS);
	h->snapshots_off = get_be64(p + Q2_H_SNAPSHOTS_OFF);
	if (h->cluster_bits < 9 || h->cluster_bits > 21)
		return bad(err, "cluster bits are not between 9 and 21", h->cluster_bits);
	if (h->crypt)
		return err_set(err, -EOPNOTSUPP, "the image is encrypted (%s), which we cannot do",
			       h->crypt == 1   ? "AES"
			       : h->crypt == 2 ? "LUKS"
					       : "unknown method");
	r = parse_v3(p, n, h, err);
	if (r == 0)
		r = check_tables(h, err);
	if (r < 0)
		return r;
	if (h->backing_off) {
		if (h->backing_len > Q2_BACKING_MAX ||
		    !range_ok(h->backing_off, h->backing_len,
			      MIN((uint64_t)n, UINT64_C(1) << h->cluster_bits)))
			return bad(err, "name of the backing file out of range", h->backing_off);
		if (!copy_text(h->backing, sizeof(h->backing), p + h->backing_off, h->backing_len))
			return bad(err, "name of the backing file has a zero byte", h->backing_off);
	}
	return parse_extensions(p, n, h, err);
}

/* --- snapshots -------------------------------------------------------------------------------- */

static char *text_of(const uint8_t *p, size_t n)
{
	char *s = mem_new(n + 1);

	memcpy(s, p, n); /* a zero byte inside ends it for us */
	return s;
}

int q2_snapshot_parse(const uint8_t *p, size_t n, struct q2_snapshot *s, size_t *ret_used,
		      struct err *err)
{
	uint32_t extra, id_len, name_len;
	size_t used;

	*s = (struct q2_snapshot){ 0 };
	*ret_used = 40;
	if (n < 40)
		return -EAGAIN;
	s->l1_off = get_be64(p);
	s->l1_size = get_be32(p + 8);
	id_len = get_be16(p + 12);
	name_len = get_be16(p + 14);
	s->sec = get_be32(p + 16);
	s->nsec = get_be32(p + 20);
	s->vm_clock_ns = get_be64(p + 24);
	s->vm_state_bytes = get_be32(p + 32);
	extra = get_be32(p + 36);
	if (extra > 1024)
		return err_set(err, -EILSEQ, "snapshot with %u bytes of extra data", extra);
	if ((uint64_t)s->l1_size * 8 > Q2_L1_BYTES_MAX)
		return err_set(err, -EILSEQ, "snapshot with an L1 table of %u entries", s->l1_size);
	used = 40 + (size_t)extra + id_len + name_len;
	*ret_used = (used + 7) & ~(size_t)7;
	if (n < used)
		return -EAGAIN;
	s->extra_len = extra;
	if (extra >= 8)
		s->vm_state_bytes = get_be64(p + 40);
	if (extra >= 16)
		s->disk_bytes = get_be64(p + 48);
	if (extra >= 24)
		s->icount = get_be64(p + 56);
	if (extra > 24) {
		s->extra = mem_new(extra - 24);
		memcpy(s->extra, p + 64, extra - 24);
	}
	s->id = text_of(p + 40 + extra, id_len);
	s->name = text_of(p + 40 + extra + id_len, name_len);
	return 0;
}

void q2_snapshot_done(struct q2_snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
	*s = (struct q2_snapshot){ 0 };
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

int q2_bitmap_parse(const uint8_t *p, size_t n, size_t off, struct q2_bitmap *b, size_t *ret_used,
		    struct err *err)
{
	uint32_t name_len, extra;
	size_t used;

	if (n < off || n - off < 24)
		return err_set(err, -EILSEQ, "bitmap directory is cut off");
	p += off;
	*b = (struct q2_bitmap){
		.table_off = get_be64(p),
		.table_size = get_be32(p + 8),
		.flags = get_be32(p + 12),
		.type = p[16],
		.granularity_bits = p[17],
	};
	name_len = get_be16(p + 18);
	extra = get_be32(p + 20);
	if (!name_len || name_len > 1023 || extra > n - off || b->granularity_bits > 63)
		return err_set(err, -EILSEQ, "entry of the bitmap directory out of range");
	used = 24 + (size_t)name_len + extra;
	used = (used + 7) & ~(size_t)7;
	if (used > n - off)
		return err_set(err, -EILSEQ, "bitmap directory is cut off");
	b->name = (struct str){ (const char *)p + 24 + extra, name_len };
	*ret_used = used;
	return 0;
}
