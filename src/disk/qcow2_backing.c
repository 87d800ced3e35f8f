/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a qcow2 image's header says about other things, changed: another backing file, another directory of bitmaps. And
 * an image without anything of its own.
 *
 * The name of a backing file stands somewhere in the header's cluster, and the place is in the header. So a change is
 * the new name at a place that nobody uses, a barrier, and then one write of the first sector, which has place,
 * length and (in images of everybody we know) the format. A header that has no room for that is left alone; writing a
 * cluster as a whole would leave half a header behind, should it be interrupted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

enum { SECTOR = 512, BITMAPS_BYTES = 24 };

/* Where things are in the header's cluster. */
struct places {
	size_t format;	/* of the extension's beginning; 0: there is none */
	size_t bitmaps; /* the same */
	bool are_bitmaps_last;
	size_t end; /* behind the mark of the last extension; 0: there is no mark */
};

static struct places find_places(const struct qcow2 *q, const uint8_t *p)
{
	size_t at = q->h.header_len, end = q->cluster_bytes;
	struct places ret = { 0 };

	if (q->h.backing_off)
		end = MIN(end, (size_t)q->h.backing_off);
	while (at + 8 <= end) {
		uint32_t type = get_be32(p + at), len = get_be32(p + at + 4);

		if (!type) {
			ret.end = at + 8;
			break;
		}
		if (type == (uint32_t)Q2_E_BACKING_FORMAT)
			ret.format = at;
		ret.are_bitmaps_last = type == Q2_E_BITMAPS;
		if (type == Q2_E_BITMAPS)
			ret.bitmaps = len == BITMAPS_BYTES ? at : 0;
		if (len > end - at - 8)
			break;
		at += 8 + align_up(len, 8);
	}
	return ret;
}

/* The format in the first sector. */
static int put_format(const struct qcow2 *q, uint8_t *p, const struct places *where,
		      const char *format, struct err *err)
{
	size_t n = strlen(format), old;

	if (!strcmp(q->h.backing_format, format))
		return 0;
	old = where->format ? get_be32(p + where->format + 4) : 0;
	if (!where->format || align_up(n, 8) != align_up(old, 8) ||
	    where->format + 8 + align_up(n, 8) > SECTOR)
		return err_set(err, -EOPNOTSUPP,
			       "the header of '%s' has no place for the format of another backing "
			       "file",
			       q->img->path);
	memset(p + where->format + 8, 0, align_up(n, 8));
	memcpy(p + where->format + 8, format, n);
	put_be32(p + where->format + 4, (uint32_t)n);
	return 0;
}

/* Where the name goes: into the first sector, or to where nothing is. 0: nowhere. */
static size_t find_room(const struct qcow2 *q, const struct places *where, size_t n)
{
	size_t behind = q->h.backing_off ? q->h.backing_off + q->h.backing_len : where->end;

	if (where->end + n <= MIN((size_t)SECTOR, (size_t)q->cluster_bytes))
		return where->end;
	behind = align_up(MAX(behind, where->end), 8);
	/* What is in the first sector is replaced together with what points to it, the rest is not. */
	if (behind + n <= q->cluster_bytes)
		return behind;
	if (q->h.backing_off && where->end + n <= q->h.backing_off)
		return where->end;
	return 0;
}

static int put_name(struct qcow2 *q, uint8_t *p, const char *name, const char *format,
		    struct err *err)
{
	struct places where = find_places(q, p);
	size_t n = strlen(name), at;
	int r = 0;

	if (n > Q2_BACKING_MAX)
		return err_set(err, -ENAMETOOLONG,
			       "the name of the backing file is longer than %d bytes: '%.60s...'",
			       Q2_BACKING_MAX, name);
	at = where.end ? find_room(q, &where, n) : 0;
	if (!at)
		return err_set(err, -EOPNOTSUPP,
			       "the header of '%s' has no room for the name '%.100s'", q->img->path,
			       name);
	r = put_format(q, p, &where, format, err);
	if (r < 0)
		return r;
	memcpy(p + at, name, n);
	put_be64(p + Q2_H_BACKING_OFF, at);
	put_be32(p + Q2_H_BACKING_LEN, (uint32_t)n);
	if (at + n > SECTOR) {
		/* The first sector comes later, all of it. */
		size_t from = MAX(at, (size_t)SECTOR);

		r = disk_file_write(q->file, from, p + from, at + n - from);
		if (r == 0)
			r = disk_file_sync(q->file);
	}
	return r < 0 ? err_set(err, r, "write the header: %s", strerror(-r)) : 0;
}

int q2_set_backing(struct image *img, const char *name, const char *format, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) uint8_t *p = mem_new(q->cluster_bytes);
	int r;

	if (q->is_corrupt)
		return err_set(err, -EIO, "'%s' is corrupt", img->path);
	r = disk_file_read(q->file, 0, p, q->cluster_bytes);
	if (r < 0)
		return err_set(err, r, "read the header: %s", strerror(-r));
	if (name) {
		r = put_name(q, p, name, format, err);
	} else {
		if (!find_places(q, p).end)
			r = err_set(err, -EOPNOTSUPP, "the header of '%s' has no end", img->path);
		put_be64(p + Q2_H_BACKING_OFF, 0);
		put_be32(p + Q2_H_BACKING_LEN, 0);
	}
	if (r < 0)
		return r;
	r = disk_file_write(q->file, 0, p, SECTOR);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r < 0)
		return err_set(err, r, "write the header: %s", strerror(-r));
	q->h.backing_off = get_be64(p + Q2_H_BACKING_OFF);
	q->h.backing_len = get_be32(p + Q2_H_BACKING_LEN);
	snprintf(q->h.backing, sizeof(q->h.backing), "%s", name ? name : "");
	snprintf(q->h.backing_format, sizeof(q->h.backing_format), "%s", name ? format : "");
	free(img->backing);
	free(img->backing_format);
	img->backing = name ? mem_strdup(name) : NULL;
	img->backing_format = name ? mem_strdup(format) : NULL;
	return 0;
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

/* The name of the backing file to a place behind @end and behind where it is. */
static int move_name(struct qcow2 *q, uint8_t *p, size_t end)
{
	size_t n = q->h.backing_len, to = align_up(MAX(q->h.backing_off + n, end), 8);
	int r;

	if (to + n > q->cluster_bytes)
		return -EOPNOTSUPP;
	r = disk_file_write(q->file, to, q->h.backing, n);
	if (r == 0)
		r = disk_file_sync(q->file);
	put_be64(p + Q2_H_BACKING_OFF, to);
	if (r == 0)
		r = disk_file_write(q->file, Q2_H_BACKING_OFF, p + Q2_H_BACKING_OFF, 8);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r == 0)
		q->h.backing_off = to;
	return r;
}

/*
 * The mark of the last extension becomes one for bitmaps, with another mark behind it. What is behind the mark is read by
 * nobody, so it comes first; the mark's 8 bytes are in one sector.
 */
static int add_extension(struct qcow2 *q, uint8_t *p, struct places *where)
{
	size_t at = where->end - 8, end = at + 8 + BITMAPS_BYTES + 8;
	int r;

	if (!where->end || at % 8 || end > q->cluster_bytes)
		return -EOPNOTSUPP;
	if (q->h.backing_off && q->h.backing_off < end) {
		r = move_name(q, p, end);
		if (r < 0)
			return r;
	}
	memset(p + at, 0, end - at);
	r = disk_file_write(q->file, at + 8, p + at + 8, end - at - 8);
	if (r == 0)
		r = disk_file_sync(q->file);
	put_be32(p + at, (uint32_t)Q2_E_BITMAPS);
	put_be32(p + at + 4, BITMAPS_BYTES);
	if (r == 0)
		r = disk_file_write(q->file, at, p + at, 8);
	where->bitmaps = at;
	return r < 0 ? r : disk_file_sync(q->file);
}

static int set_autoclear(struct qcow2 *q, bool on)
{
	int r;

	q->h.autoclear = (q->h.autoclear & ~(uint64_t)Q2_A_BITMAPS) | (on ? Q2_A_BITMAPS : 0);
	r = q2_header_write(q, Q2_H_AUTOCLEAR, Q2_H_REFCOUNT_ORDER);
	return r < 0 ? r : disk_file_sync(q->file);
}

/* No bitmaps: the bit says so first, then the extension goes, when it can go without moving others. */
static int forget_bitmaps(struct qcow2 *q, uint8_t *p, const struct places *where)
{
	int r = set_autoclear(q, false);

	if (r < 0 || !where->bitmaps || !where->are_bitmaps_last)
		return r;
	put_be64(p + where->bitmaps, 0);
	return disk_file_write(q->file, where->bitmaps, p + where->bitmaps, 8);
}

int q2_set_bitmaps(struct qcow2 *q, uint32_t nr, uint64_t dir_bytes, uint64_t dir_off)
{
	_cleanup_(mem_freep) uint8_t *p = mem_new(q->cluster_bytes);
	struct places where;
	size_t at;
	int r = q->h.version < 3 ? -EOPNOTSUPP : 0;

	if (r == 0)
		r = disk_file_read(q->file, 0, p, q->cluster_bytes);
	if (r < 0)
		return r;
	where = find_places(q, p);
	if (!nr)
		r = forget_bitmaps(q, p, &where);
	else if (!where.bitmaps)
		r = add_extension(q, p, &where);
	if (r == 0 && nr) {
		at = where.bitmaps + 8;
		/* One write inside a sector, which is done or not. */
		if (at / SECTOR != (at + BITMAPS_BYTES - 1) / SECTOR)
			return -EOPNOTSUPP;
		put_be32(p + at, nr);
		put_be32(p + at + 4, 0);
		put_be64(p + at + 8, dir_bytes);
		put_be64(p + at + 16, dir_off);
		r = disk_file_write(q->file, at, p + at, BITMAPS_BYTES);
		if (r == 0)
			r = disk_file_sync(q->file);
		if (r == 0 && !(q->h.autoclear & Q2_A_BITMAPS))
			r = set_autoclear(q, true);
	}
	if (r == 0) {
		q->h.nr_bitmaps = nr;
		q->h.bitmap_dir_bytes = nr ? dir_bytes : 0;
		q->h.bitmap_dir_off = nr ? dir_off : 0;
	}
	return r;
}

/* --- empty ------------------------------------------------------------------------------------ */

int q2_empty(struct image *img)
{
	struct qcow2 *q = img->priv;
	uint64_t per = UINT64_C(1) << q->l2_bits;

	if (q->is_corrupt)
		return -EIO;
	for (uint32_t i = 0; i < q->h.l1_size; i++) {
		uint64_t l2 = q->l1[i] & Q2_OFFSET;
		struct q2_table *t;
		int r;

		if (!l2)
			continue;
		if (q2_l2_offset_ok(q, l2) < 0)
			return q2_corrupt(q);
		r = q2_cache_get(q, &q->l2, l2, 0, &t);
		if (r < 0)
			return r;
		for (uint64_t k = 0; k < per; k++)
			q2_drop(q, q2_entry(q, t->p, k));
		q2_free_later(q, l2, 1);
		q2_l1_set(q, i, 0);
		/* What is given back is remembered until a flush; not without end. */
		if (q->nr_freed > 65536) {
			r = q2_flush(q, false);
			if (r < 0)
				return r;
		}
	}
	return q2_flush(q, true);
}
