/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps of a qcow2 image in memory and in the file: which parts of the disk have changed since a backup.
 *
 *	load		the directory as it is; the bits of what is valid. Those that follow writes are marked (dirty.c)
 *	first write	all that follow writes are marked "in use" in the file: a crash leaves them out of date
 *	store		1. bits, tables and the directory go to new clusters	2. counts, barrier
 *			3. the header names the new directory, barrier		4. the old clusters are given back
 *
 * What was changed by a user (qcow2_bitmap_ops.c) is stored at once, so that a crash does not bring back a bitmap that was
 * removed; at the end of the work what followed writes is stored, and no longer "in use". The header changes by one
 * write inside a sector, so a store is done or it is not; what a crash leaves are leaks. Entries that we cannot keep, and
 * what they say that we do not know, stay as they are.
 *
 * Source: qcow2 specification, "Bitmaps" (QEMU, docs/interop/qcow2).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"
#include "disk/qcow2_priv.h"

enum { E_TABLE = 0, E_TABLE_SIZE = 8, E_FLAGS = 12, ALL_ONES = 1 };
#define KEPT_BYTES_MAX (UINT64_C(256) << 20) /* of all bitmaps of an image */

/* Clusters that the bits of a bitmap take. */
static uint64_t table_entries(const struct qcow2 *q, const struct dirty *d)
{
	return q2_clusters(q, (d->nr_bits + 7) / 8);
}

/* --- from the file ---------------------------------------------------------------------------- */

/* Bits [first, first + 8 * bytes) from where they stand in the file; bytes are in its order. */
static void put_bits(struct dirty *d, uint64_t first, const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes && first + 8 * i < d->nr_bits; i += 8) {
		uint8_t word[8] = { 0 };

		memcpy(word, p + i, MIN(bytes - i, sizeof(word)));
		atomic_store(&d->words[first / 64 + i / 8], get_le64(word));
	}
}

static int read_bits(struct qcow2 *q, const struct q2_bitmap *b, struct dirty *d)
{
	_cleanup_(mem_freep) uint64_t *table = NULL;
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	uint64_t n = table_entries(q, d), per = (uint64_t)q->cluster_bytes * 8;
	int r;

	if (b->table_size != n)
		return -EILSEQ;
	r = mem_try(&table, n * 8, Q2_L1_BYTES_MAX);
	if (r == 0)
		r = mem_try(&buf, q->cluster_bytes, 2U << 20);
	if (r == 0)
		r = q2_words_read(q->file, b->table_off, table, n);
	for (uint64_t i = 0; i < n && r == 0; i++) {
		uint64_t off = table[i] & Q2_OFFSET;

		if (!off && !(table[i] & ALL_ONES))
			continue;
		if (off && q2_l2_offset_ok(q, off) < 0)
			return -EILSEQ;
		memset(buf, 0xff, q->cluster_bytes);
		if (off)
			r = disk_file_read(q->file, off, buf, q->cluster_bytes);
		if (r == 0)
			put_bits(d, i * per, buf, q->cluster_bytes);
	}
	/* Bits behind the end are nobody's. */
	if (r == 0 && d->nr_bits % 64)
		atomic_fetch_and(&d->words[d->nr_bits / 64], (UINT64_C(1) << d->nr_bits % 64) - 1);
	return r;
}

/* Whether its bits are right and we know what they mean. */
static bool is_valid(const struct q2_bitmap *b)
{
	return !(b->flags & ~(uint32_t)Q2_BITMAP_AUTO) && b->type == Q2_BITMAP_DIRTY &&
	       b->granularity_bits >= Q2_GRANULARITY_MIN &&
	       b->granularity_bits <= Q2_GRANULARITY_MAX;
}

/* An image is not refused for a damaged or huge bitmap: that one is not kept, and "in use" from the first write on. */
static void load_bits(struct image *img, struct q2_kept *k, uint64_t *left)
{
	struct qcow2 *q = img->priv;
	struct dirty *d;

	if (!is_valid(&k->b) || (img->size >> k->b.granularity_bits) / 8 > *left ||
	    dirty_new(img->size, k->b.granularity_bits, &d) < 0)
		return;
	if (read_bits(q, &k->b, d) < 0) {
		dirty_free(d);
		return;
	}
	*left -= d->nr_bits / 8;
	k->bits = d;
}

struct q2_kept *q2_kept_add(struct qcow2 *q, const uint8_t *entry, size_t bytes)
{
	struct q2_kept *k;

	q->kept = mem_renew(q->kept, q->nr_kept + 1, sizeof(*q->kept));
	k = &q->kept[q->nr_kept++];
	*k = (struct q2_kept){ .entry = mem_new(bytes), .bytes = bytes };
	memcpy(k->entry, entry, bytes);
	return k;
}

static void kept_done(struct q2_kept *k)
{
	dirty_free(k->bits);
	free(k->entry);
}

int q2_bitmaps_load(struct image *img, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	size_t n = (size_t)q->h.bitmap_dir_bytes, at = 0, used;
	uint64_t left = KEPT_BYTES_MAX;
	int r = 0;

	if (q->are_bitmaps_loaded)
		return 0;
	if (n)
		r = mem_try(&dir, n, Q2_BITMAP_DIR_MAX);
	if (n && r == 0)
		r = disk_file_read(q->file, q->h.bitmap_dir_off, dir, n);
	for (uint32_t i = 0; r == 0 && i < q->h.nr_bitmaps; i++, at += used) {
		struct q2_bitmap b;
		struct q2_kept *k;

		r = q2_bitmap_parse(dir, n, at, &b, &used, err);
		if (r < 0)
			break;
		k = q2_kept_add(q, dir + at, used);
		k->b = b;
		k->b.name.p = (char *)k->entry + (b.name.p - (char *)dir - at);
		load_bits(img, k, &left);
	}
	if (r < 0) {
		q2_untrack(q);
		return err_set(err, r, "bitmaps of '%s'", img->path);
	}
	q->are_bitmaps_loaded = true;
	return 0;
}

int q2_track(struct image *img, struct list *trackers, struct err *err)
{
	struct qcow2 *q = img->priv;
	int r = q->is_corrupt ? 0 : q2_bitmaps_load(img, err);

	if (r < 0)
		return r;
	q->trackers = trackers;
	for (uint32_t i = 0; i < q->nr_kept; i++)
		if (q->kept[i].bits && q->kept[i].b.flags & Q2_BITMAP_AUTO)
			list_push(trackers, &q->kept[i].bits->link);
	return 0;
}

void q2_untrack(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->nr_kept; i++)
		kept_done(&q->kept[i]);
	free(q->kept);
	q->kept = NULL;
	q->nr_kept = 0;
	q->trackers = NULL;
	q->are_bitmaps_loaded = false;
}

/* --- to the file ------------------------------------------------------------------------------ */

/* What the directory is to say; free(). */
static uint8_t *compose(const struct qcow2 *q, size_t *ret_bytes, uint32_t *ret_nr)
{
	size_t n = 0;
	uint8_t *dir;

	*ret_nr = 0;
	for (uint32_t i = 0; i < q->nr_kept; i++)
		n += q->kept[i].is_gone ? 0 : q->kept[i].bytes;
	dir = mem_new(MAX(n, (size_t)1));
	*ret_bytes = n;
	n = 0;
	for (uint32_t i = 0; i < q->nr_kept; i++) {
		const struct q2_kept *k = &q->kept[i];

		if (k->is_gone)
			continue;
		memcpy(dir + n, k->entry, k->bytes);
		put_be64(dir + n + E_TABLE, k->new_table ? k->new_table : k->b.table_off);
		put_be32(dir + n + E_TABLE_SIZE, k->new_table ? k->new_size : k->b.table_size);
		put_be32(dir + n + E_FLAGS, k->b.flags);
		n += k->bytes;
		++*ret_nr;
	}
	return dir;
}

int q2_bitmaps_in_use(struct qcow2 *q)
{
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	uint32_t nr;
	size_t n;
	int r = q2_bitmaps_load(q->img, NULL);

	if (r < 0 || !q->nr_kept)
		return r;
	for (uint32_t i = 0; i < q->nr_kept; i++)
		if (q->kept[i].b.flags & Q2_BITMAP_AUTO)
			q->kept[i].b.flags |= Q2_BITMAP_IN_USE;
	dir = compose(q, &n, &nr);
	r = disk_file_write(q->file, q->h.bitmap_dir_off, dir, n);
	return r < 0 ? r : disk_file_sync(q->file);
}

/* One cluster of bits. *ret: its table entry. */
static int write_bits(struct qcow2 *q, const struct dirty *d, uint64_t i, uint8_t *buf,
		      uint64_t *ret)
{
	uint64_t words = q->cluster_bytes / 8, first = i * words, host, n;
	uint64_t end = (d->nr_bits + 63) / 64;
	int r;

	memset(buf, 0, q->cluster_bytes);
	for (uint64_t k = 0; k < words && first + k < end; k++)
		put_le64(buf + k * 8, d->words[first + k]);
	*ret = 0;
	if (bytes_are(buf, q->cluster_bytes, 0))
		return 0;
	*ret = ALL_ONES;
	if (bytes_are(buf, q->cluster_bytes, 0xff))
		return 0;
	r = q2_alloc(q, 1, true, &host, &n);
	*ret = host;
	return r < 0 ? r : disk_file_write(q->file, host, buf, q->cluster_bytes);
}

/* Bits and their table to new clusters. */
static int write_table(struct qcow2 *q, struct q2_kept *k, uint8_t *buf)
{
	uint64_t n = table_entries(q, k->bits), clusters = q2_clusters(q, n * 8), got, off = 0;
	_cleanup_(mem_freep) uint64_t *table = mem_new_n(clusters << (q->cluster_bits - 3), 8);
	int r = 0;

	for (uint64_t i = 0; i < n && r == 0; i++)
		r = write_bits(q, k->bits, i, buf, &table[i]);
	if (r == 0)
		r = q2_alloc(q, clusters, true, &off, &got);
	if (r == 0)
		r = q2_words_write(q->file, off, table, clusters << (q->cluster_bits - 3));
	if (r == 0) {
		k->new_table = off;
		k->new_size = (uint32_t)n;
	}
	return r;
}

/* The clusters of a table that nothing names any more. */
static int give_back(struct qcow2 *q, uint64_t off, uint32_t size)
{
	_cleanup_(mem_freep) uint64_t *table = NULL;
	int r;

	if (!size || q2_l2_offset_ok(q, off) < 0)
		return 0; /* a damaged one, which is leaked */
	r = mem_try(&table, (size_t)size * 8, Q2_L1_BYTES_MAX);
	if (r == 0)
		r = q2_words_read(q->file, off, table, size);
	for (uint32_t i = 0; r == 0 && i < size; i++)
		if (table[i] & Q2_OFFSET && q2_l2_offset_ok(q, table[i] & Q2_OFFSET) == 0)
			q2_free_later(q, table[i] & Q2_OFFSET, 1);
	if (r == 0)
		q2_free_later(q, off, q2_clusters(q, (uint64_t)size * 8));
	return r;
}

/* The new directory is in force: memory and free space follow. What cannot be read any more is leaked. */
static void settle(struct qcow2 *q)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < q->nr_kept; i++) {
		struct q2_kept *k = &q->kept[i];

		if (k->new_table || k->is_gone)
			ignore_result(give_back(q, k->b.table_off, k->b.table_size));
		if (k->is_gone) {
			kept_done(k);
			continue;
		}
		if (k->new_table) {
			k->b.table_off = k->new_table;
			k->b.table_size = k->new_size;
			k->is_changed = false;
		}
		q->kept[n++] = *k;
	}
	q->nr_kept = n;
}

static int write_directory(struct qcow2 *q)
{
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	uint64_t old_off = q->h.bitmap_dir_off, old_bytes = q->h.bitmap_dir_bytes, off = 0, got;
	uint32_t nr;
	size_t n;
	int r = 0;

	dir = compose(q, &n, &nr);
	if (nr)
		r = q2_alloc(q, q2_clusters(q, n), true, &off, &got);
	if (nr && r == 0)
		r = disk_file_write(q->file, off, dir, n);
	if (r == 0)
		r = q2_flush(q, true);
	if (r == 0)
		r = q2_set_bitmaps(q, nr, n, off);
	if (r == 0 && old_bytes)
		q2_free_later(q, old_off, q2_clusters(q, old_bytes));
	return r;
}

/* Whether a bitmap differs from what the file says. */
static bool is_new(const struct q2_kept *k, bool final)
{
	return k->bits && (k->is_changed || (final && k->b.flags & Q2_BITMAP_AUTO));
}

int q2_bitmaps_store(struct qcow2 *q, bool final)
{
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	bool in_use = !final && q->img->is_written, any = !final;
	int r;

	/* Who was not told of changes stays out of date. */
	if (!q->trackers)
		return 0;
	r = mem_try(&buf, q->cluster_bytes, 2U << 20);
	for (uint32_t i = 0; r == 0 && i < q->nr_kept; i++) {
		struct q2_kept *k = &q->kept[i];

		if (!k->bits || k->is_gone)
			continue;
		any |= is_new(k, final);
		if (is_new(k, final))
			r = write_table(q, k, buf);
		k->b.flags &= ~(uint32_t)Q2_BITMAP_IN_USE;
		if (in_use && k->b.flags & Q2_BITMAP_AUTO)
			k->b.flags |= Q2_BITMAP_IN_USE;
	}
	if (r == 0 && any)
		r = write_directory(q);
	if (r == 0 && any)
		settle(q);
	for (uint32_t i = 0; i < q->nr_kept; i++)
		q->kept[i].new_table = 0;
	return r;
}
