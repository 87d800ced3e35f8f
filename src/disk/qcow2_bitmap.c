/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps of a qcow2 image, kept up to date: which parts of the disk have changed since a backup.
 *
 *	open		those that follow writes and are valid are read into memory, and marked there (dirty.c)
 *	first write	all that follow writes are marked "in use" in the file: a crash leaves them out of date
 *	finish		1. bits and tables go to new clusters	2. counts, barrier	3. the directory names the tables
 *			4. barrier	5. "in use" is taken away	6. the old clusters are given back
 *
 * An entry that is in use is not looked at by anybody, so step 3 may be interrupted anywhere, and 5 changes one word
 * an entry. What a crash leaves are leaks, and bitmaps that say that they are out of date. The directory stays where it
 * is: its entries keep their length.
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

enum { E_TABLE = 0, E_TABLE_SIZE = 8, E_FLAGS = 12, TYPE_DIRTY = 1, ALL_ONES = 1 };
#define KEPT_BYTES_MAX (UINT64_C(256) << 20) /* of all bitmaps of an image */

/* One that is kept up to date. */
struct q2_kept {
	struct dirty *bits;
	size_t entry; /* in the directory */
	uint64_t old_table;
	uint32_t old_size;
};

static int read_directory(struct qcow2 *q, uint8_t **ret)
{
	size_t n = (size_t)q->h.bitmap_dir_bytes;
	int r = mem_try(ret, n, Q2_BITMAP_DIR_MAX);

	return r < 0 ? r : disk_file_read(q->file, q->h.bitmap_dir_off, *ret, n);
}

int q2_bitmaps_in_use(struct qcow2 *q)
{
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	size_t n = (size_t)q->h.bitmap_dir_bytes, at = 0, used;
	int r;

	if (!q->h.nr_bitmaps)
		return 0;
	r = read_directory(q, &dir);
	for (uint32_t i = 0; r == 0 && i < q->h.nr_bitmaps; i++, at += used) {
		struct q2_bitmap b;

		r = q2_bitmap_parse(dir, n, at, &b, &used, NULL);
		if (r == 0 && b.flags & Q2_BITMAP_AUTO)
			put_be32(dir + at + E_FLAGS, b.flags | Q2_BITMAP_IN_USE);
	}
	if (r == 0)
		r = disk_file_write(q->file, q->h.bitmap_dir_off, dir, n);
	return r < 0 ? r : disk_file_sync(q->file);
}

/* Clusters that the bits of a bitmap take. */
static uint64_t table_entries(const struct qcow2 *q, const struct dirty *d)
{
	return q2_clusters(q, (d->nr_bits + 7) / 8);
}

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

/* One that cannot be kept stays "in use" from the first write on, and is none of ours. */
static bool can_keep(const struct q2_bitmap *b)
{
	return b->flags & Q2_BITMAP_AUTO && !(b->flags & ~(uint32_t)Q2_BITMAP_AUTO) &&
	       b->type == TYPE_DIRTY && b->granularity_bits >= 9 && b->granularity_bits <= 31;
}

int q2_track(struct image *img, struct list *trackers, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	size_t n = (size_t)q->h.bitmap_dir_bytes, at = 0, used;
	uint64_t left = KEPT_BYTES_MAX;
	int r;

	if (!q->h.nr_bitmaps || q->is_corrupt)
		return 0;
	r = read_directory(q, &dir);
	q->kept = mem_new_n(q->h.nr_bitmaps, sizeof(*q->kept));
	for (uint32_t i = 0; r == 0 && i < q->h.nr_bitmaps; i++, at += used) {
		struct q2_bitmap b;
		struct dirty *d = NULL;

		r = q2_bitmap_parse(dir, n, at, &b, &used, err);
		if (r < 0 || !can_keep(&b))
			continue;
		/* A disk is not refused for a damaged or huge bitmap: that one is not kept. */
		if ((img->size >> b.granularity_bits) / 8 > left ||
		    dirty_new(img->size, b.granularity_bits, &d) < 0)
			continue;
		if (read_bits(q, &b, d) < 0) {
			dirty_free(d);
			continue;
		}
		left -= d->nr_bits / 8;
		list_push(trackers, &d->link);
		q->kept[q->nr_kept++] = (struct q2_kept){ d, at, b.table_off, b.table_size };
	}
	return r < 0 ? err_set(err, r, "bitmaps of '%s'", img->path) : 0;
}

void q2_untrack(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->nr_kept; i++)
		dirty_free(q->kept[i].bits);
	free(q->kept);
	q->kept = NULL;
	q->nr_kept = 0;
}

/* --- to the file ------------------------------------------------------------------------------ */

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

static int write_table(struct qcow2 *q, const struct dirty *d, uint8_t *buf, uint64_t *ret_off)
{
	uint64_t n = table_entries(q, d), clusters = q2_clusters(q, n * 8), got;
	uint64_t *table = mem_new_n(clusters << (q->cluster_bits - 3), 8);
	int r = 0;

	for (uint64_t i = 0; i < n && r == 0; i++)
		r = write_bits(q, d, i, buf, &table[i]);
	if (r == 0)
		r = q2_alloc(q, clusters, true, ret_off, &got);
	if (r == 0)
		r = q2_words_write(q->file, *ret_off, table, clusters << (q->cluster_bits - 3));
	free(table);
	return r;
}

static int give_back(struct qcow2 *q, const struct q2_kept *k)
{
	_cleanup_(mem_freep) uint64_t *table = NULL;
	int r = mem_try(&table, (size_t)k->old_size * 8, Q2_L1_BYTES_MAX);

	if (r == 0)
		r = q2_words_read(q->file, k->old_table, table, k->old_size);
	for (uint32_t i = 0; r == 0 && i < k->old_size; i++)
		if (table[i] & Q2_OFFSET)
			q2_free_later(q, table[i] & Q2_OFFSET, 1);
	if (r == 0)
		q2_free_later(q, k->old_table, q2_clusters(q, (uint64_t)k->old_size * 8));
	return r;
}

static int write_directory(struct qcow2 *q, const uint8_t *dir)
{
	int r = disk_file_write(q->file, q->h.bitmap_dir_off, dir, (size_t)q->h.bitmap_dir_bytes);

	return r < 0 ? r : disk_file_sync(q->file);
}

int q2_bitmaps_store(struct qcow2 *q)
{
	_cleanup_(mem_freep) uint8_t *dir = NULL;
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	int r;

	if (!q->nr_kept)
		return 0;
	r = read_directory(q, &dir);
	if (r == 0)
		r = mem_try(&buf, q->cluster_bytes, 2U << 20);
	for (uint32_t i = 0; r == 0 && i < q->nr_kept; i++) {
		uint8_t *entry = dir + q->kept[i].entry;
		uint64_t off = 0;

		r = write_table(q, q->kept[i].bits, buf, &off);
		put_be64(entry + E_TABLE, off);
		put_be32(entry + E_TABLE_SIZE, (uint32_t)table_entries(q, q->kept[i].bits));
	}
	if (r == 0)
		r = q2_flush(q, true);
	if (r == 0)
		r = write_directory(q, dir);
	for (uint32_t i = 0; r == 0 && i < q->nr_kept; i++) {
		uint8_t *flags = dir + q->kept[i].entry + E_FLAGS;

		put_be32(flags, get_be32(flags) & ~(uint32_t)Q2_BITMAP_IN_USE);
	}
	if (r == 0)
		r = write_directory(q, dir);
	for (uint32_t i = 0; r == 0 && i < q->nr_kept; i++)
		r = give_back(q, &q->kept[i]);
	return r;
}
