/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images: changing tables so that a crash leaves them old or new.
 *
 *	closed (header names no log) --first write--> open --flush--> open --close--> closed
 *	                                                \--crash--> found with a log: its changes are made
 *
 * While an image is open its header names a log that always holds one valid entry. A flush syncs data (and with
 * it the tables that earlier flushes wrote in place), puts all changed pages into the next entry, syncs,
 * and writes them in place without waiting: a crash from here on finds them in the log. So a flush costs two
 * syncs, however much was allocated, and an entry needs none before itself: the log's tail is always the
 * entry itself. Writing an entry for each allocated block, as others do, costs two syncs a block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhdx/image_priv.h"

enum { PATCH_MAX = 1 << 15 };

static uint64_t header_place(unsigned int i)
{
	return i ? VHDX_HEADER2_OFF : VHDX_HEADER1_OFF;
}

int vhdx_header_write(struct vhdx *v)
{
	_cleanup_(mem_freep) uint8_t *p = mem_new(VHDX_HEADER_SIZE);
	struct disk_file *f = v->img->file;
	int r = 0;

	for (unsigned int i = 0; i < 2 && !r; i++) {
		v->head.seq++;
		v->current ^= 1;
		vhdx_header_put(&v->head, p);
		r = disk_file_write(f, header_place(v->current), p, VHDX_HEADER_SIZE);
		if (!r)
			r = disk_file_sync(f);
	}
	return r;
}

/* --- what a crash left ------------------------------------------------------------------------ */

static int apply_to_file(void *arg, uint64_t off, uint64_t len, const uint8_t *data)
{
	struct vhdx *v = arg;

	if (data)
		return disk_file_write(v->img->file, off, data, len);
	return disk_file_zero(v->img->file, off, len, false);
}

static int apply_to_memory(void *arg, uint64_t off, uint64_t len, const uint8_t *data)
{
	struct vhdx *v = arg;
	struct vhdx_patch *p;

	if (v->nr_patches == PATCH_MAX)
		return -E2BIG;
	if (!(v->nr_patches & (v->nr_patches - 1)))
		v->patches = mem_renew(v->patches, v->nr_patches ? 2 * v->nr_patches : 1,
				       sizeof(*v->patches));
	p = &v->patches[v->nr_patches];
	*p = (struct vhdx_patch){ .off = off, .len = len };
	if (data) {
		int r = mem_try(&p->data, len, VHDX_SECTOR);

		if (r < 0)
			return r;
		memcpy(p->data, data, len);
	}
	v->nr_patches++;
	return 0;
}

static int replay(struct vhdx *v, const uint8_t *log, const struct vhdx_log_active *active,
		  struct err *err)
{
	struct disk_file *f = v->img->file;
	uint32_t n = v->head.log_length;
	int r;

	if (!(v->img->flags & DISK_RDWR))
		return vhdx_log_replay(log, n, &v->head.log, active, apply_to_memory, v, err);
	/* Before the first change of anything the file gets a new name for its state. */
	r = guid_new(&v->head.file_write, err);
	if (r < 0)
		return r;
	r = vhdx_header_write(v);
	if (r < 0)
		return err_set(err, r, "VHDX header: %s", strerror(-r));
	r = vhdx_log_replay(log, n, &v->head.log, active, apply_to_file, v, err);
	if (r < 0)
		return r;
	if (disk_file_size(f) < active->last_size)
		r = disk_file_truncate(f, active->last_size);
	if (!r)
		r = disk_file_sync(f);
	return r < 0 ? err_set(err, r, "replay of the VHDX log: %s", strerror(-r)) : 0;
}

int vhdx_recover(struct vhdx *v, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *log = NULL;
	struct vhdx_log_active active;
	uint32_t n = v->head.log_length;
	int r;

	if (guid_is_zero(&v->head.log))
		return 0;
	r = mem_try(&log, n, VHDX_LOG_MAX);
	if (!r)
		r = disk_file_read(v->img->file, v->head.log_off, log, n);
	if (r < 0)
		return err_set(err, r, "VHDX log of %u bytes: %s", n, strerror(-r));
	r = vhdx_log_find(log, n, &v->head.log, &active, err);
	if (!r && disk_file_size(v->img->file) < active.flushed_size)
		r = err_set(err, -EILSEQ,
			    "the file was cut off: it had %llu bytes when its log was written, now %llu",
			    (unsigned long long)active.flushed_size,
			    (unsigned long long)disk_file_size(v->img->file));
	if (!r)
		r = replay(v, log, &active, err);
	else if (r == -EILSEQ && v->img->flags & DISK_REPAIR && v->img->flags & DISK_RDWR)
		r = 0; /* the tables as they are */
	if (r < 0 || !(v->img->flags & DISK_RDWR))
		return r;
	v->head.log = (struct guid){ 0 };
	r = vhdx_header_write(v);
	return r < 0 ? err_set(err, r, "VHDX header: %s", strerror(-r)) : 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* One entry at v->log_pos, which moves on. */
static int entry_write(struct vhdx *v, const struct vhdx_log_page *pages, uint32_t nr_pages)
{
	struct disk_file *f = v->img->file;
	uint64_t size = disk_file_size(f);
	struct vhdx_log_entry e = {
		.pos = v->log_pos,
		.tail = v->log_pos,
		.seq = v->log_seq + 1,
		.flushed_size = size,
		.last_size = size,
	};
	uint32_t n = v->head.log_length, first;
	int r;

	memset(v->log_buf, 0, vhdx_log_entry_size(nr_pages));
	vhdx_log_entry_put(&e, &v->head.log, pages, nr_pages, v->log_buf);
	first = MIN(e.length, n - v->log_pos);
	r = disk_file_write(f, v->head.log_off + v->log_pos, v->log_buf, first);
	if (!r && first < e.length)
		r = disk_file_write(f, v->head.log_off, v->log_buf + first, e.length - first);
	if (!r)
		r = disk_file_sync(f);
	if (r < 0)
		return r; /* the entry before it is valid as before */
	v->log_pos = (uint32_t)(((uint64_t)v->log_pos + e.length) % n);
	v->log_seq++;
	return 0;
}

int vhdx_begin(struct vhdx *v)
{
	struct guid closed = { 0 };
	int r;

	if (v->is_log_open)
		return 0;
	if (v->head.log_length < VHDX_MIB)
		return -EOPNOTSUPP; /* no log, no way to change a table */
	if (!v->log_buf)
		v->log_buf = mem_new(vhdx_log_entry_size(VHDX_PAGES_MAX));
	r = guid_new(&v->head.log, NULL);
	if (!r)
		r = guid_new(&v->head.file_write, NULL);
	if (!r)
		r = guid_new(&v->head.data_write, NULL);
	/* What a crash or another program left free. */
	if (!r && !v->space.freed.n && !v->space.ready.n)
		r = vhdx_find_free(v);
	/* The header may only name a log that holds something. */
	v->log_pos = 0;
	if (!r)
		r = entry_write(v, NULL, 0);
	if (!r)
		r = vhdx_header_write(v);
	if (r < 0) {
		v->head.log = closed;
		return r;
	}
	v->is_log_open = true;
	return 0;
}

/* Up to VHDX_PAGES_MAX changed pages of a table behind those that are there. */
static int collect(struct tables *t, struct vhdx_log_page *pages, uint32_t *nr, uint32_t *ret_taken)
{
	uint32_t n = MIN(t->nr_dirty, VHDX_PAGES_MAX - *nr);

	for (uint32_t i = 0; i < n; i++) {
		int r = t->locate(t->arg, t->dirty[i], &pages[*nr].off);

		if (r < 0)
			return r;
		pages[(*nr)++].data = t->page[t->dirty[i]];
	}
	*ret_taken = n;
	return 0;
}

int vhdx_commit(struct vhdx *v, const struct vhdx_log_page *extra)
{
	_cleanup_(mem_freep) struct vhdx_log_page *pages =
		mem_new_n(VHDX_PAGES_MAX, sizeof(*pages));
	struct disk_file *f = v->img->file;
	int r = 0;

	/* Blocks that are in the table are in the file. */
	if (disk_file_size(f) < v->space.end)
		r = disk_file_truncate(f, v->space.end);
	tables_sort(&v->bat);
	tables_sort(&v->bitmap);
	while (!r) {
		uint32_t nr = 0, from_bitmap = 0, from_bat = 0;

		/* Data before what points to it; the places of the last entry before its end. */
		r = disk_file_sync(f);
		if (r < 0 || (!extra && !v->bat.nr_dirty && !v->bitmap.nr_dirty))
			break;
		if (extra)
			pages[nr++] = *extra;
		/* Bitmaps first: a block whose entry is in must not show an old bitmap. */
		r = collect(&v->bitmap, pages, &nr, &from_bitmap);
		if (!r)
			r = collect(&v->bat, pages, &nr, &from_bat);
		if (!r)
			r = entry_write(v, pages, nr);
		for (uint32_t i = 0; i < nr && !r; i++)
			r = disk_file_write(f, pages[i].off, pages[i].data, VHDX_SECTOR);
		if (r < 0)
			break;
		tables_clean(&v->bitmap, from_bitmap);
		tables_clean(&v->bat, from_bat);
		extra = NULL;
		if (!v->bat.nr_dirty && !v->bitmap.nr_dirty)
			break;
	}
	if (!r)
		space_flushed(&v->space);
	return r;
}

int vhdx_log_close(struct vhdx *v)
{
	int r;

	if (!v->is_log_open)
		return 0;
	r = vhdx_commit(v, NULL);
	/* What the log held is in its place. */
	if (!r)
		r = disk_file_sync(v->img->file);
	if (r < 0)
		return r;
	v->head.log = (struct guid){ 0 };
	r = vhdx_header_write(v);
	if (!r)
		v->is_log_open = false;
	return r;
}

int vhdx_finish(struct image *img)
{
	struct vhdx *v = vhdx_of(img);
	int r = vhdx_log_close(v);

	/* Only now: an entry says how long the file is that it belongs to. */
	if (!r && space_trim(&v->space))
		r = disk_file_truncate(img->file, v->space.end);
	return r;
}
