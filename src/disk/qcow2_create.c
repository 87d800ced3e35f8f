/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A new qcow2 image: header, table of reference blocks, the blocks, L1 table, one behind the other, all of
 * them counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

const struct disk_option_info q2_options[] = {
	{ "compat", "version of the format: 1.1 (3, default) or 0.10 (2)" },
	{ "cluster_size", "bytes, a power of two from 512 to 2M (64K)" },
	{ "refcount_bits", "width of a reference count: 1, 2, 4, 8, 16 (default), 32 or 64" },
	{ "compression_type", "of compressed clusters: zlib (default) or zstd" },
	{ "extended_l2",
	  "subclusters, 32 of them in a cluster of at least 16K: on or off (default)" },
	{ "lazy_refcounts", "allow programs to postpone reference counts: on or off (default)" },
	{ "data_file", "keep data in this file, in the folder of the image" },
	{ "data_file_raw", "keep that file readable as a raw image: on or off (default)" },
	{ "preallocation", "off (default), metadata (tables), falloc (space, too), full (zeros)" },
	{ 0 },
};

struct wish {
	struct q2_header h;
	bool data_file_raw;
	enum { PRE_OFF, PRE_METADATA, PRE_FALLOC, PRE_FULL } pre;
};

static int one_of(const struct disk_create_opts *o, const char *name, const char *const *words,
		  unsigned *ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf all = { 0 };
	const char *v = create_option(o, name);

	if (!v)
		return 0;
	for (unsigned i = 0; words[i]; i++) {
		if (strcmp(words[i], v) == 0) {
			*ret = i;
			return 0;
		}
		strbuf_addf(&all, "%s%s", i ? ", " : "", words[i]);
	}
	return err_set(err, -EINVAL, "%s '%.40s' is none of %s", name, v, strbuf_cstr(&all));
}

static int boolean(const struct disk_create_opts *o, const char *name, bool *ret, struct err *err)
{
	const char *v = create_option(o, name);
	int r = v ? str_parse_bool(str_of(v), ret, err) : 0;

	return r < 0 ? err_wrap(err, r, "%s", name) : 0;
}

static int number(const struct disk_create_opts *o, const char *name, uint64_t min, uint64_t max,
		  uint64_t *ret, struct err *err)
{
	const char *v = create_option(o, name);
	int r = v ? str_parse_size(str_of(v), min, max, ret, err) : 0;

	if (r == 0 && !is_pow2(*ret))
		r = err_set(err, -EINVAL, "%" PRIu64 " is not a power of two", *ret);
	return r < 0 ? err_wrap(err, r, "%s", name) : 0;
}

static int read_numbers(const struct disk_create_opts *o, struct wish *w, struct err *err)
{
	static const char *const compat[] = { "0.10", "v2", "1.1", "v3", NULL };
	static const char *const compression[] = { "zlib", "zstd", NULL };
	static const char *const pre[] = { "off", "metadata", "falloc", "full", NULL };
	uint64_t cluster = 65536, bits = 16;
	unsigned version = 2, prealloc = 0;
	int r = one_of(o, "compat", compat, &version, err);

	if (r == 0)
		r = one_of(o, "compression_type", compression, &w->h.compression, err);
	if (r == 0)
		r = one_of(o, "preallocation", pre, &prealloc, err);
	if (r == 0)
		r = number(o, "cluster_size", 512, 2U << 20, &cluster, err);
	if (r == 0)
		r = number(o, "refcount_bits", 1, 64, &bits, err);
	w->h.version = version < 2 ? 2 : 3;
	w->h.cluster_bits = (uint32_t)__builtin_ctzll(cluster);
	w->h.refcount_order = (uint32_t)__builtin_ctzll(bits);
	w->pre = prealloc;
	return r;
}

static int read_wishes(const struct disk_create_opts *o, struct wish *w, struct err *err)
{
	const char *data_file = create_option(o, "data_file");
	bool lazy = false, ext_l2 = false;
	int r = read_numbers(o, w, err);

	if (r == 0)
		r = boolean(o, "extended_l2", &ext_l2, err);
	if (r == 0)
		r = boolean(o, "lazy_refcounts", &lazy, err);
	if (r == 0)
		r = boolean(o, "data_file_raw", &w->data_file_raw, err);
	if (r < 0)
		return r;
	if (w->h.version == 2 &&
	    (lazy || ext_l2 || data_file || w->h.compression || w->h.refcount_order != 4))
		return err_set(err, -EINVAL,
			       "compat=0.10 has neither lazy_refcounts, extended_l2, data_file, zstd, nor "
			       "reference counts of another width than 16 bits");
	if (ext_l2 && w->h.cluster_bits < 14)
		return err_set(err, -EINVAL, "extended_l2 needs a cluster_size of at least 16K");
	if (w->data_file_raw && !data_file)
		return err_set(err, -EINVAL, "data_file_raw without data_file");
	if (w->data_file_raw && o->backing)
		return err_set(err, -EINVAL,
			       "a raw data file and a backing file exclude each other");
	if (o->backing && w->pre != PRE_OFF)
		return err_set(err, -EINVAL, "preallocation and a backing file exclude each other");
	if (o->backing && strlen(o->backing) > Q2_BACKING_MAX)
		return err_set(err, -ENAMETOOLONG, "the name of the backing file is too long");
	if (data_file && (strchr(data_file, '/') || strlen(data_file) > 255))
		return err_set(err, -EINVAL,
			       "the data file stands in the folder of the image: a plain name");
	w->h.compatible = lazy ? Q2_C_LAZY : 0;
	w->h.incompatible = (ext_l2 ? Q2_I_EXT_L2 : 0) | (data_file ? Q2_I_DATA_FILE : 0) |
			    (w->h.compression ? Q2_I_COMPRESSION : 0);
	w->h.autoclear = w->data_file_raw ? Q2_A_RAW_DATA : 0;
	w->h.header_len = 112;
	snprintf(w->h.backing, sizeof(w->h.backing), "%s", o->backing ? o->backing : "");
	snprintf(w->h.backing_format, sizeof(w->h.backing_format), "%s",
		 o->backing ? o->backing_format : "");
	snprintf(w->h.data_file, sizeof(w->h.data_file), "%s", data_file ? data_file : "");
	return 0;
}

/* --- header ---------------------------------------------------------------------------------- */

static size_t put_extension(uint8_t *p, size_t n, size_t at, uint32_t type, const void *data,
			    size_t len)
{
	size_t end = at + 8 + ((len + 7) & ~(size_t)7);

	if (end <= n) {
		put_be32(p + at, type);
		put_be32(p + at + 4, (uint32_t)len);
		if (len)
			memcpy(p + at + 8, data, len);
	}
	return end;
}

static int build_header(const struct q2_header *h, uint8_t *p, size_t n, struct err *err)
{
	size_t at = h->version == 2 ? Q2_V2_HEADER : h->header_len, len = strlen(h->backing);

	if (at > n)
		return err_set(err, -E2BIG, "the header does not fit a cluster");
	put_be32(p, Q2_MAGIC);
	put_be32(p + Q2_H_VERSION, h->version);
	put_be32(p + Q2_H_CLUSTER_BITS, h->cluster_bits);
	put_be64(p + Q2_H_SIZE, h->size);
	put_be32(p + Q2_H_L1_SIZE, h->l1_size);
	put_be64(p + Q2_H_L1_OFF, h->l1_off);
	put_be64(p + Q2_H_RT_OFF, h->rt_off);
	put_be32(p + Q2_H_RT_CLUSTERS, h->rt_clusters);
	if (h->version > 2) {
		put_be64(p + Q2_H_INCOMPATIBLE, h->incompatible);
		put_be64(p + Q2_H_COMPATIBLE, h->compatible);
		put_be64(p + Q2_H_AUTOCLEAR, h->autoclear);
		put_be32(p + Q2_H_REFCOUNT_ORDER, h->refcount_order);
		put_be32(p + Q2_H_HEADER_LEN, h->header_len);
		if (h->header_len > Q2_H_COMPRESSION)
			p[Q2_H_COMPRESSION] = (uint8_t)h->compression;
	}
	if (h->backing_format[0])
		at = put_extension(p, n, at, (uint32_t)Q2_E_BACKING_FORMAT, h->backing_format,
				   strlen(h->backing_format));
	if (h->data_file[0])
		at = put_extension(p, n, at, Q2_E_DATA_FILE, h->data_file, strlen(h->data_file));
	at = put_extension(p, n, at, 0, NULL, 0);
	if (at + len > n)
		return err_set(err, -E2BIG,
			       "the name of the backing file does not fit a cluster of %zu bytes",
			       n);
	if (len) {
		put_be64(p + Q2_H_BACKING_OFF, at);
		put_be32(p + Q2_H_BACKING_LEN, (uint32_t)len);
		memcpy(p + at, h->backing, len);
	}
	return 0;
}

/* --- layout ---------------------------------------------------------------------------------- */

static uint64_t up(uint64_t n, uint64_t per)
{
	return n / per + !!(n % per);
}

/* Where everything goes; *ret_blocks: number of reference blocks. */
static int lay_out(struct q2_header *h, uint64_t *ret_blocks, uint64_t *ret_total, struct err *err)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	uint64_t per_block = cluster * 8 >> h->refcount_order, blocks = 1, table = 1, l1, total;
	uint32_t l2_bits = h->cluster_bits - (h->incompatible & Q2_I_EXT_L2 ? 4 : 3);

	h->l1_size = 0;
	l1 = up(h->size, cluster << l2_bits);
	if (l1 * 8 > Q2_L1_BYTES_MAX)
		return err_set(err, -EFBIG,
			       "clusters of %" PRIu64 " bytes are too small for a disk of %" PRIu64
			       " bytes",
			       cluster, h->size);
	h->l1_size = (uint32_t)l1;
	for (;;) {
		uint64_t b, t;

		total = 1 + table + blocks + up(l1 * 8, cluster);
		b = up(total, per_block);
		t = up(b * 8, cluster);
		if (b <= blocks && t <= table)
			break;
		blocks = MAX(b, blocks);
		table = MAX(t, table);
	}
	h->rt_off = cluster;
	h->rt_clusters = (uint32_t)table;
	h->l1_off = (1 + table + blocks) * cluster;
	*ret_blocks = blocks;
	*ret_total = total;
	return 0;
}

static int write_counts(struct disk_file *f, const struct q2_header *h, uint64_t blocks,
			uint64_t total)
{
	size_t cluster = (size_t)1 << h->cluster_bits;
	uint64_t first = 1 + h->rt_clusters, per_block = (uint64_t)cluster * 8 >> h->refcount_order;
	_cleanup_(mem_freep) uint64_t *table = mem_new_n(blocks, 8);
	_cleanup_(mem_freep) uint8_t *block = mem_new(cluster);
	int r = 0;

	for (uint64_t b = 0; b < blocks && r == 0; b++) {
		memset(block, 0, cluster);
		for (uint64_t i = 0; i < per_block && b * per_block + i < total; i++)
			q2_rb_set(block, h->refcount_order, i, 1);
		table[b] = (first + b) * cluster;
		r = disk_file_write(f, table[b], block, cluster);
	}
	return r < 0 ? r : q2_words_write(f, h->rt_off, table, blocks);
}

static int create_data_file(struct disk_file *f, const struct wish *w, struct err *err)
{
	_cleanup_(disk_file_closep) struct disk_file *data = NULL;
	int r = disk_file_open_beside(f, w->h.data_file, DISK_RDWR, BESIDE_NEW, &data, err);

	if (r < 0)
		return r;
	r = disk_file_truncate(data, w->h.size);
	return r < 0 ? err_set(err, r, "data file: %s", strerror(-r)) : 0;
}

/* Link all clusters; their content is whatever the file holds there: zeros. */
static int link_all(struct image *img, const struct wish *w)
{
	struct qcow2 *q = img->priv;
	int r = 0;

	for (uint64_t off = 0; off < img->size && r == 0;) {
		struct alloc a;

		r = q2_write_alloc(img, off, MIN(img->size - off, UINT64_C(1) << 30), &a);
		if (r == 0 && w->pre == PRE_FALLOC)
			r = disk_file_reserve(a.file, a.host_off, a.len);
		else if (r == 0 && w->pre == PRE_FULL)
			r = disk_file_fill_zero(a.file, a.host_off, a.len);
		else if (r == 0 && disk_file_size(a.file) < a.host_off + a.len)
			r = disk_file_truncate(a.file, a.host_off + a.len);
		if (r == 0)
			r = q2_write_link(img, &a);
		off = a.off + a.len;
	}
	if (r == 0)
		r = q2_flush(q, true);
	return r;
}

static int preallocate(struct disk_file *f, const struct wish *w, struct err *err)
{
	struct image img = { .fmt = &format_qcow2, .file = f, .flags = DISK_RDWR | DISK_NO_LOCK };
	int r;

	img.cache_bytes = 32U << 20;
	r = format_qcow2.open(&img, err);
	if (r == 0) {
		r = link_all(&img, w);
		if (r < 0)
			err_set(err, r, "preallocate: %s", strerror(-r));
	}
	if (img.priv)
		format_qcow2.close(&img);
	return r;
}

int q2_create(struct disk_file *f, const struct disk_create_opts *o, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *head = NULL;
	_cleanup_(mem_freep) struct wish *w = mem_new(sizeof(*w));
	uint64_t blocks = 0, total = 0;
	int r = read_wishes(o, w, err);

	w->h.size = o->size;
	if (r == 0)
		r = lay_out(&w->h, &blocks, &total, err);
	if (r < 0)
		return r;
	head = mem_new((size_t)1 << w->h.cluster_bits);
	r = build_header(&w->h, head, (size_t)1 << w->h.cluster_bits, err);
	if (r == 0 && w->h.data_file[0])
		r = create_data_file(f, w, err);
	if (r < 0)
		return r;
	/* Zeros for the tables; the header last, so that half an image is none. */
	r = disk_file_zero(f, 0, total << w->h.cluster_bits, false);
	if (r == 0)
		r = write_counts(f, &w->h, blocks, total);
	if (r == 0)
		r = disk_file_write(f, 0, head, (size_t)1 << w->h.cluster_bits);
	if (r < 0)
		return err_set(err, r, "write: %s", strerror(-r));
	return w->pre == PRE_OFF ? 0 : preallocate(f, w, err);
}
