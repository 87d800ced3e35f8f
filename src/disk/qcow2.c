/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 as a format: opening, closing, and what concerns the header.
 *
 * The header is changed by writing the words that change, never as a whole: so extensions of others
 * stay as they are, and a change is one sector, which a disk writes or does not.
 *
 * Persistent bitmaps: qcow2_bitmap.c, qcow2_bitmap_ops.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

int q2_words_read(struct disk_file *f, uint64_t off, uint64_t *ret, size_t n)
{
	int r = disk_file_read(f, off, ret, n * 8);

	for (size_t i = 0; i < n && r == 0; i++)
		ret[i] = be64toh(ret[i]);
	return r;
}

int q2_words_write(struct disk_file *f, uint64_t off, const uint64_t *words, size_t n)
{
	_cleanup_(mem_freep) uint64_t *p = NULL;

	if (!n)
		return 0;
	p = mem_new_n(n, 8);
	for (size_t i = 0; i < n; i++)
		p[i] = htobe64(words[i]);
	return disk_file_write(f, off, p, n * 8);
}

int q2_header_write(struct qcow2 *q, uint32_t from, uint32_t to)
{
	uint8_t p[Q2_V3_HEADER];
	int r = disk_file_read(q->file, 0, p, sizeof(p));

	if (r < 0)
		return r;
	put_be64(p + Q2_H_SIZE, q->h.size);
	put_be32(p + Q2_H_L1_SIZE, q->h.l1_size);
	put_be64(p + Q2_H_L1_OFF, q->h.l1_off);
	put_be64(p + Q2_H_RT_OFF, q->h.rt_off);
	put_be32(p + Q2_H_RT_CLUSTERS, q->h.rt_clusters);
	put_be32(p + Q2_H_NR_SNAPSHOTS, q->h.nr_snapshots);
	put_be64(p + Q2_H_SNAPSHOTS_OFF, q->h.snapshots_off);
	if (q->h.version > 2) {
		put_be64(p + Q2_H_INCOMPATIBLE, q->h.incompatible);
		put_be64(p + Q2_H_COMPATIBLE, q->h.compatible);
		put_be64(p + Q2_H_AUTOCLEAR, q->h.autoclear);
	}
	return disk_file_write(q->file, from, p + from, to - from);
}

static bool q2_probe(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail)
{
	return n >= 8 && get_be32(head) == Q2_MAGIC &&
	       (get_be32(head + 4) == 2 || get_be32(head + 4) == 3);
}

/* --- open ------------------------------------------------------------------------------------- */

static int read_header(struct qcow2 *q, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *p = NULL;
	uint64_t size = disk_file_size(q->file), n;
	uint8_t first[Q2_V2_HEADER];
	uint32_t bits;
	int r;

	if (size < sizeof(first))
		return err_set(err, -EILSEQ, "not a qcow2 image: only %" PRIu64 " bytes long",
			       size);
	r = disk_file_read(q->file, 0, first, sizeof(first));
	if (r < 0)
		return err_set(err, r, "read the header: %s", strerror(-r));
	bits = get_be32(first + Q2_H_CLUSTER_BITS);
	n = MIN(size, UINT64_C(1) << (bits >= 9 && bits <= 21 ? bits : 9));
	p = mem_new(n);
	r = disk_file_read(q->file, 0, p, n);
	if (r < 0)
		return err_set(err, r, "read the header: %s", strerror(-r));
	return q2_header_parse(p, n, size, &q->h, err);
}

static int read_tables(struct qcow2 *q, struct err *err)
{
	size_t rt = ((size_t)q->h.rt_clusters << q->cluster_bits) / 8;
	uint64_t size = disk_file_size(q->file);
	int r;

	/* A table mostly behind the end of the file is no table: nothing to take memory for. */
	if (q->h.l1_off > size || q->h.rt_off > size)
		return err_set(err, -EILSEQ, "tables lie behind the end of the file");
	r = mem_try(&q->l1, MAX((size_t)q->h.l1_size * 8, (size_t)8), Q2_L1_BYTES_MAX);
	if (r == 0)
		r = mem_try(&q->rt, rt * 8, Q2_RT_BYTES_MAX);
	if (r == 0)
		r = q2_words_read(q->file, q->h.l1_off, q->l1, q->h.l1_size);
	if (r == 0)
		r = q2_words_read(q->file, q->h.rt_off, q->rt, rt);
	if (r < 0)
		return err_set(err, r, "read tables: %s", strerror(-r));
	q->rt_size = (uint32_t)rt;
	q->l1_dirty_from = q->rt_dirty_from = UINT32_MAX;
	return 0;
}

static int open_data_file(struct qcow2 *q, struct err *err)
{
	q->data = q->file;
	if (!(q->h.incompatible & Q2_I_DATA_FILE))
		return 0;
	if (!q->h.data_file[0])
		return err_set(err, -EILSEQ, "the image does not name its data file");
	if (q->h.nr_snapshots)
		return err_set(err, -EILSEQ, "an image with a data file cannot have snapshots");
	q->is_raw_data = q->h.autoclear & Q2_A_RAW_DATA;
	return disk_file_open_beside(q->file, q->h.data_file, q->img->flags & ~(unsigned)DISK_PROBE,
				     BESIDE_OPEN, &q->data, err);
}

static void set_geometry(struct qcow2 *q)
{
	q->cluster_bits = q->h.cluster_bits;
	q->cluster_bytes = 1U << q->cluster_bits;
	q->ext_l2 = q->h.incompatible & Q2_I_EXT_L2;
	q->l2_entry = q->ext_l2 ? 16 : 8;
	q->l2_bits = q->cluster_bits - (q->ext_l2 ? 4 : 3);
	q->sub_bits = q->cluster_bits - (q->ext_l2 ? 5 : 0);
	q->rb_bits = q->cluster_bits + 3 - q->h.refcount_order;
	q->refcount_max = q->h.refcount_order == 6
				  ? UINT64_MAX
				  : (UINT64_C(1) << (1U << q->h.refcount_order)) - 1;
}

/* A snapshot to look at: its L1 table in the place of the active one. */
static int look_at_snapshot(struct qcow2 *q, const char *name, struct err *err)
{
	const struct q2_snapshot *s = q2_snapshot_find(q, name);
	uint64_t *l1;
	int r;

	if (!s)
		return err_set(err, -ENOENT, "there is no snapshot '%.60s'", name);
	if (s->disk_bytes)
		q->h.size = align_up(s->disk_bytes, 512);
	if (s->l1_size < q2_l1_entries(q, q->h.size))
		return err_set(err, -EILSEQ, "the L1 table of the snapshot is too small");
	r = mem_try(&l1, MAX((size_t)s->l1_size * 8, (size_t)8), Q2_L1_BYTES_MAX);
	if (r == 0) {
		free(q->l1);
		q->l1 = l1;
		q->h.l1_size = s->l1_size;
		q->h.l1_off = s->l1_off;
		r = q2_words_read(q->file, s->l1_off, l1, s->l1_size);
	}
	return r < 0 ? err_set(err, r, "read the L1 table of the snapshot") : 0;
}

/* Reference counts that may be wrong are made anew before anything relies on them. */
static int clean_up(struct qcow2 *q, struct err *err)
{
	struct disk_check check = { .fix_leaks = true, .fix_errors = true };
	int r = q2_check(q->img, &check, err);

	return r < 0 ? err_wrap(err, r, "repair after a crash") : 0;
}

static int q2_open(struct image *img, struct err *err)
{
	struct qcow2 *q = mem_new(sizeof(*q));
	bool write = img->flags & DISK_RDWR;
	int r;

	img->priv = q;
	q->img = img;
	q->file = q->data = img->file;
	r = read_header(q, err);
	if (r < 0)
		return r;
	set_geometry(q);
	q2_cache_init(&q->l2, q->cluster_bytes, img->cache_bytes / 4 * 3);
	q2_cache_init(&q->rb, q->cluster_bytes, img->cache_bytes / 4);
	r = read_tables(q, err);
	if (r == 0)
		r = open_data_file(q, err);
	if (r == 0)
		r = q2_snapshots_read(q, err);
	if (r == 0 && img->snapshot)
		r = look_at_snapshot(q, img->snapshot, err);
	if (r < 0)
		return r;
	if (q->h.incompatible & Q2_I_CORRUPT && write && !(img->flags & DISK_REPAIR))
		return err_set(err, -EIO,
			       "the image is marked corrupt; repair it first (atoll disk "
			       "check --repair)");
	img->size = align_up(q->h.size, 512);
	img->cluster = img->zero_unit = q->cluster_bytes;
	if (q->h.backing[0])
		img->backing = mem_strdup(q->h.backing);
	if (q->h.backing_format[0])
		img->backing_format = mem_strdup(q->h.backing_format);
	img->has_slow_zero = (q->h.version < 3 && img->backing) || q->is_raw_data; /* q2_zero() */
	if (q->h.incompatible & Q2_I_DIRTY && write && !(img->flags & DISK_REPAIR))
		return clean_up(q, err);
	return 0;
}

static void q2_close(struct image *img)
{
	struct qcow2 *q = img->priv;

	q2_untrack(q);
	q2_snapshots_done(q);
	q2_cache_done(&q->l2);
	q2_cache_done(&q->rb);
	if (q->data != q->file)
		disk_file_close(q->data);
	free(q->l1);
	free(q->rt);
	free(q->freed);
	free(q);
	img->priv = NULL;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int q2_first_write(struct image *img)
{
	struct qcow2 *q = img->priv;
	uint64_t known = Q2_A_BITMAPS | (q->data != q->file ? Q2_A_RAW_DATA : 0);
	int r = q2_bitmaps_in_use(q);

	if (r < 0 || q->h.version < 3 || !(q->h.autoclear & ~known))
		return r;
	/* Somebody keeps something beside the data that we cannot keep up to date. */
	q->h.autoclear &= known;
	r = q2_header_write(q, Q2_H_AUTOCLEAR, Q2_H_REFCOUNT_ORDER);
	return r < 0 ? r : disk_file_sync(q->file);
}

static int q2_do_flush(struct image *img)
{
	struct qcow2 *q = img->priv;

	return q->is_corrupt ? -EIO : q2_flush(q, true);
}

/* What the last flush gave back is still only in memory; and readers like whole sectors. */
static int q2_finish(struct image *img)
{
	struct qcow2 *q = img->priv;
	uint64_t size;
	int r = 0;

	if (!q->is_corrupt)
		r = q2_bitmaps_store(q, true);
	q2_untrack(q);
	if (r == 0 && !q->is_corrupt)
		r = q2_flush(q, false);
	/* What was given back by it is still only in memory. */
	if (r == 0 && !q->is_corrupt)
		r = q2_flush(q, false);
	size = disk_file_size(q->file);
	if (r == 0 && size & (q->cluster_bytes - 1) && !q->file->is_block)
		r = disk_file_truncate(q->file, align_up(size, q->cluster_bytes));
	return r;
}

/* --- resize ----------------------------------------------------------------------------------- */

static int grow_l1(struct qcow2 *q, uint64_t need, struct err *err)
{
	uint64_t old_off = q->h.l1_off, old_n = q2_clusters(q, (uint64_t)q->h.l1_size * 8), off, n;
	uint64_t entries = q2_clusters(q, need * 8) * (q->cluster_bytes / 8);
	uint64_t *l1;
	int r;

	if (need * 8 > Q2_L1_BYTES_MAX)
		return err_set(err, -EFBIG, "clusters of %u bytes are too small for that size",
			       q->cluster_bytes);
	entries = MIN(entries, (uint64_t)Q2_L1_BYTES_MAX / 8);
	r = q2_flush(q, true);
	if (r == 0)
		r = q2_alloc(q, q2_clusters(q, entries * 8), true, &off, &n);
	if (r < 0)
		return err_set(err, r, "room for a larger L1 table: %s", strerror(-r));
	l1 = mem_new_n(n << (q->cluster_bits - 3), 8);
	memcpy(l1, q->l1, (size_t)q->h.l1_size * 8);
	r = q2_words_write(q->file, off, l1, n << (q->cluster_bits - 3));
	if (r == 0)
		r = q2_flush(q, true);
	if (r < 0) {
		free(l1);
		return err_set(err, r, "write a larger L1 table: %s", strerror(-r));
	}
	free(q->l1);
	q->l1 = l1;
	q->h.l1_off = off;
	q->h.l1_size = (uint32_t)entries;
	r = q2_header_write(q, Q2_H_L1_SIZE, Q2_H_RT_OFF);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r < 0) {
		q->is_corrupt = true; /* which table is in force is not known */
		return err_set(err, r, "write the header: %s", strerror(-r));
	}
	if (old_n)
		q2_free_later(q, old_off, old_n);
	return 0;
}

static int q2_resize(struct image *img, uint64_t size, struct err *err)
{
	struct qcow2 *q = img->priv;
	uint64_t need = q2_l1_entries(q, size), old = img->size, from;
	int r = 0;

	if (q->h.nr_bitmaps)
		return err_set(err, -EOPNOTSUPP, "an image with bitmaps cannot be resized");
	if (q->h.nr_snapshots && q->h.version < 3)
		return err_set(err, -EOPNOTSUPP,
			       "an image of version 2 with snapshots cannot be resized");
	if (q->is_corrupt)
		return err_set(err, -EIO, "the image is corrupt");
	if (size < old) {
		/* Whole clusters behind the new end; in the last one, the rest has to read zero should
		 * the disk grow again. Clusters are dropped even when snapshots share them. */
		from = align_up(size, q->cluster_bytes);
		if (from < old)
			r = q2_discard(img, from, old - from);
	} else {
		/* Nothing old may show in what is new: it never does, because the part of the last cluster
		 * behind the end is filled with zeros when the cluster is written. */
		if (need > q->h.l1_size)
			r = grow_l1(q, need, err);
		if (r == 0 && q->is_raw_data)
			r = disk_file_truncate(q->data, size);
	}
	if (r == 0)
		r = q2_flush(q, true);
	if (r == 0) {
		q->h.size = size;
		r = q2_header_write(q, Q2_H_SIZE, Q2_H_CRYPT);
	}
	if (r < 0)
		return err_set(err, r, "resize: %s", strerror(-r));
	if (size < old && q->is_raw_data)
		r = disk_file_truncate(q->data, size);
	img->size = size;
	return r;
}

/* --- info ------------------------------------------------------------------------------------- */

static void bitmap_details(struct qcow2 *q, struct disk_info *info)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };

	/* What is damaged is nothing that information has to fail for. */
	if (!q->h.nr_bitmaps || q2_bitmaps_load(q->img, NULL) < 0)
		return;
	for (uint32_t i = 0; i < q->nr_kept && text.n < 100; i++)
		strbuf_addf(&text, "%s%.*s%s", i ? ", " : "", STR_ARG(q->kept[i].b.name),
			    q->kept[i].bits ? "" : " (out of date)");
	detail_str(info, "bitmaps", "%s", strbuf_cstr(&text));
}

static int q2_info(struct image *img, struct disk_info *info, struct err *err)
{
	struct qcow2 *q = img->priv;

	info->is_dirty = q->h.incompatible & Q2_I_DIRTY;
	info->is_corrupt = q->h.incompatible & Q2_I_CORRUPT;
	detail_str(info, "compat", "%s", q->h.version == 2 ? "0.10" : "1.1");
	detail_str(info, "compression-type", "%s", q->h.compression ? "zstd" : "zlib");
	detail_bool(info, "lazy-refcounts", q->h.compatible & Q2_C_LAZY);
	detail_u64(info, "refcount-bits", UINT64_C(1) << q->h.refcount_order);
	detail_bool(info, "extended-l2", q->ext_l2);
	if (q->data != q->file) {
		detail_str(info, "data-file", "%.100s", q->h.data_file);
		detail_bool(info, "data-file-raw", q->is_raw_data);
	}
	bitmap_details(q, info);
	if (!q->h.nr_snapshots)
		return 0;
	info->snapshots = mem_new_n(q->h.nr_snapshots, sizeof(*info->snapshots));
	info->nr_snapshots = q->h.nr_snapshots;
	for (uint32_t i = 0; i < q->h.nr_snapshots; i++) {
		const struct q2_snapshot *s = &q->snapshots[i];
		struct disk_snapshot *to = &info->snapshots[i];

		snprintf(to->id, sizeof(to->id), "%.*s", (int)sizeof(to->id) - 1, s->id);
		snprintf(to->name, sizeof(to->name), "%.*s", (int)sizeof(to->name) - 1, s->name);
		to->wall_ns = s->sec * NS_PER_S + s->nsec;
		to->vm_clock_ns = s->vm_clock_ns;
		to->vm_state_bytes = s->vm_state_bytes;
		to->disk_bytes = s->disk_bytes ? s->disk_bytes : img->size;
	}
	return 0;
}

const struct format format_qcow2 = {
	.name = "qcow2",
	.long_name = "QEMU copy-on-write, version 2 or 3",
	.options = q2_options,
	.probe = q2_probe,
	.open = q2_open,
	.close = q2_close,
	.map = q2_map,
	.unpack = q2_unpack,
	.track = q2_track,
	.bitmap_list = q2_bitmap_list,
	.bitmap_change = q2_bitmap_change,
	.bitmap_bits = q2_bitmap_bits,
	.first_write = q2_first_write,
	.alloc = q2_write_alloc,
	.link = q2_write_link,
	.unalloc = q2_write_unalloc,
	.zero = q2_zero,
	.discard = q2_discard,
	.flush = q2_do_flush,
	.finish = q2_finish,
	.resize = q2_resize,
	.set_backing = q2_set_backing,
	.empty = q2_empty,
	.pack = q2_pack,
	.write_packed = q2_write_packed,
	.create = q2_create,
	.info = q2_info,
	.check = q2_check,
	.snapshot_create = q2_snapshot_create,
	.snapshot_apply = q2_snapshot_apply,
	.snapshot_delete = q2_snapshot_delete,
};
