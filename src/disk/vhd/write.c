/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD images: making room, dropping blocks, changing the size, checking.
 *
 * New blocks go where the footer at the end of the file is; a flush writes it behind them. In between only the copy at
 * the beginning is there, which everybody falls back to. The format has no log, so order is all that
 * there is: data, sync, bitmaps, sync, table and footer, sync. A crash leaves at worst room that nothing
 * points to, and the next writer takes it back, since it begins behind the last block of the table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhd/image_priv.h"

/* What vhd_link() needs to know: alloc.priv[] */
enum { A_PLACE, A_IS_NEW };

/* A block has to begin at a sector with a number of 32 bits. */
#define PLACE_LIMIT ((uint64_t)UINT32_MAX * VHD_SECTOR)

/* The first byte behind everything that the image has. */
static int find_end(struct vhd *v, uint64_t *ret)
{
	uint64_t end =
		v->header.table_off + align_up((uint64_t)v->header.nr_entries * 4, VHD_SECTOR);

	end = MAX(end, v->header.table_off + VHD_TABLE_ROOM);
	end = MAX(end, v->footer.data_off + VHD_HEADER_SIZE);
	for (unsigned int i = 0; i < VHD_NR_LOCATORS; i++)
		if (v->header.locators[i].code)
			end = MAX(end, v->header.locators[i].off + v->header.locators[i].length);
	for (uint64_t block = 0; block < vhd_nr_blocks(v); block++) {
		uint64_t place;
		int r = vhd_bat_get(v, block, false, &place);

		if (r < 0)
			return r;
		if (place)
			end = MAX(end, place + v->space.unit);
	}
	*ret = align_up(end, VHD_SECTOR);
	return 0;
}

int vhd_first_write(struct image *img)
{
	struct vhd *v = vhd_of(img);
	int r;

	if (v->footer.type == VHD_FIXED || v->is_space_known)
		return 0;
	r = find_end(v, &v->space.end);
	v->is_space_known = !r;
	return r;
}

static int write_footers(struct vhd *v)
{
	struct disk_file *f = v->img->file;
	uint8_t p[VHD_FOOTER_SIZE];
	int r = 0;

	vhd_footer_put(&v->footer, p);
	if (v->footer.type == VHD_FIXED)
		return disk_file_write(f, v->img->size, p, sizeof(p));
	r = disk_file_write(f, v->space.end, p, sizeof(p));
	if (!r)
		v->need_footer = false;
	return r;
}

int vhd_flush(struct image *img)
{
	struct vhd *v = vhd_of(img);
	struct disk_file *f = img->file;
	int r = 0;

	/* Blocks that are in the table are in the file. */
	if (disk_file_size(f) < v->space.end)
		r = disk_file_truncate(f, v->space.end);
	if (!r)
		r = disk_file_sync(f);
	if (r < 0 || v->footer.type == VHD_FIXED)
		return r;
	if (v->bitmap.nr_dirty) {
		r = tables_write(&v->bitmap);
		if (!r)
			r = disk_file_sync(f);
	}
	if (!r && (v->bat.nr_dirty || v->need_footer)) {
		r = tables_write(&v->bat);
		if (!r && v->need_footer)
			r = write_footers(v);
		if (!r)
			r = disk_file_sync(f);
	}
	if (!r)
		space_flushed(&v->space);
	return r;
}

/* Blocks that were dropped at the end are no part of the file any more. */
int vhd_finish(struct image *img)
{
	struct vhd *v = vhd_of(img);
	uint64_t end;
	int r;

	if (v->footer.type == VHD_FIXED || !v->space.ready.n)
		return 0;
	r = find_end(v, &end);
	if (r < 0 || end >= v->space.end)
		return r;
	v->space.end = end;
	v->space.ready.n = 0;
	r = disk_file_truncate(img->file, end);
	if (!r)
		r = write_footers(v);
	return r ? r : disk_file_sync(img->file);
}

/* --- room ------------------------------------------------------------------------------------- */

static int take_place(struct vhd *v, uint64_t *ret)
{
	int r;

	if (!v->space.ready.n) {
		/* Data at a multiple of the host's blocks. */
		uint64_t place =
			align_up(v->space.end + v->bitmap_bytes, VHD_ALIGN) - v->bitmap_bytes;

		if (place > PLACE_LIMIT)
			return -EFBIG;
		/* The footer, and what a crash left behind it, must not be found in a new block. */
		if (!v->need_footer || disk_file_size(v->img->file) > place) {
			r = disk_file_truncate(v->img->file, v->space.end);
			if (r < 0)
				return r;
			v->need_footer = true;
		}
		v->space.end = place;
	}
	*ret = space_take(&v->space);
	return 0;
}

int vhd_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret)
{
	struct vhd *v = vhd_of(img);
	uint32_t bs = v->header.block_size;
	uint64_t place, end = MIN(off + len, (off / bs + 1) * bs);
	bool is_new;
	int r = vhd_bat_get(v, off / bs, false, &place);

	if (r < 0)
		return r;
	is_new = !place;
	if (is_new)
		r = take_place(v, &place);
	if (r < 0)
		return r;
	if (vhd_is_diff(v)) {
		/* Whole sectors: one bit for each. */
		off = align_down(off, VHD_SECTOR);
		end = align_up(end, VHD_SECTOR);
	}
	*ret = (struct alloc){ .off = off, .len = end - off, .file = img->file };
	ret->priv[A_PLACE] = place;
	ret->priv[A_IS_NEW] = is_new;
	ret->host_off = place + v->bitmap_bytes + off % bs;
	ret->is_zeroed = is_new;
	return 0;
}

/* The bits of what was written; all of them where the rest is zero. */
static int set_bits(struct vhd *v, uint64_t block, const struct alloc *a)
{
	uint32_t bs = v->header.block_size;
	uint32_t first = (uint32_t)(a->off % bs / VHD_SECTOR);
	uint32_t end = first + (uint32_t)(a->len / VHD_SECTOR);
	uint8_t *page;
	int r = tables_get(&v->bitmap, block, false, &page);

	if (r < 0)
		return r;
	if (!vhd_is_diff(v)) {
		memset(page, 0xff, v->bitmap_bytes);
	} else {
		if (a->priv[A_IS_NEW])
			memset(page, 0, v->bitmap_bytes);
		for (uint32_t i = first; i < end; i++)
			page[i / 8] |= (uint8_t)(0x80 >> (i % 8));
	}
	tables_dirty(&v->bitmap, block);
	return 0;
}

int vhd_link(struct image *img, struct alloc *a)
{
	struct vhd *v = vhd_of(img);
	uint64_t block = a->off / v->header.block_size;
	int r = 0;

	if (a->priv[A_IS_NEW])
		r = vhd_bat_set(v, block, a->priv[A_PLACE]);
	if (!r) {
		r = set_bits(v, block, a);
		if (r < 0 && a->priv[A_IS_NEW])
			ignore_result(vhd_bat_set(v, block, 0)); /* its page is in memory */
	}
	if (r < 0) {
		vhd_unalloc(img, a);
		return r;
	}
	if (tables_is_full(&v->bat) || tables_is_full(&v->bitmap))
		return vhd_flush(img);
	return 0;
}

void vhd_unalloc(struct image *img, struct alloc *a)
{
	if (a->priv[A_IS_NEW])
		space_give(&vhd_of(img)->space, a->priv[A_PLACE]);
}

static int drop_block(struct vhd *v, uint64_t block)
{
	uint64_t place;
	int r = vhd_bat_get(v, block, false, &place);

	if (r < 0 || !place)
		return r;
	r = vhd_bat_set(v, block, 0);
	if (!r)
		space_give(&v->space, place);
	return r;
}

int vhd_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	struct vhd *v = vhd_of(img);
	int r = 0;

	if (v->footer.type == VHD_FIXED)
		return disk_file_zero(img->file, off, len, unmap);
	if (vhd_is_diff(v))
		return -EOPNOTSUPP; /* what is not here is the parent's */
	for (uint64_t block = off / v->header.block_size;
	     block * v->header.block_size < off + len && !r; block++)
		r = drop_block(v, block);
	if (!r && tables_is_full(&v->bat))
		r = vhd_flush(img);
	return r;
}

int vhd_discard(struct image *img, uint64_t off, uint64_t len)
{
	int r = vhd_zero(img, off, len, true);

	return r == -EOPNOTSUPP ? 0 : r;
}

/* --- size ------------------------------------------------------------------------------------- */

static void set_size(struct vhd *v, uint64_t size)
{
	v->footer.current_size = size;
	v->footer.chs = vhd_chs_of(size / VHD_SECTOR);
	/* Who made it by geometry alone would not see the new size. */
	memcpy(v->footer.creator, "win ", 4);
	v->img->size = size;
}

static int resize_fixed(struct vhd *v, uint64_t size)
{
	struct disk_file *f = v->img->file;
	uint64_t old = v->img->size;
	int r;

	set_size(v, size);
	if (size < old) {
		r = write_footers(v);
		return r ? r : disk_file_truncate(f, size + VHD_FOOTER_SIZE);
	}
	/* The old footer is in the way, and goes when the new one is there. */
	r = write_footers(v);
	if (!r)
		r = disk_file_sync(f);
	return r ? r : disk_file_zero(f, old, MIN(size - old, (uint64_t)VHD_FOOTER_SIZE), false);
}

/* How many entries the table could have where it is. */
static int table_room(struct vhd *v, uint64_t *ret)
{
	uint64_t end = UINT64_MAX;

	for (unsigned int i = 0; i < VHD_NR_LOCATORS; i++)
		if (v->header.locators[i].code && v->header.locators[i].off > v->header.table_off)
			end = MIN(end, v->header.locators[i].off);
	for (uint64_t block = 0; block < vhd_nr_blocks(v); block++) {
		uint64_t place;
		int r = vhd_bat_get(v, block, false, &place);

		if (r < 0)
			return r;
		if (place > v->header.table_off)
			end = MIN(end, place);
	}
	*ret = (end - v->header.table_off) / 4;
	return 0;
}

/* Without blocks behind the new end, with nothing left in the last one. */
static int clear_tail(struct vhd *v, uint64_t size)
{
	uint32_t bs = v->header.block_size, in_block = (uint32_t)(size % bs);
	uint64_t place;
	int r;

	if (!in_block)
		return 0;
	r = vhd_bat_get(v, size / bs, false, &place);
	if (r < 0 || !place)
		return r;
	return disk_file_zero(v->img->file, place + v->bitmap_bytes + in_block, bs - in_block,
			      true);
}

static int write_header(struct vhd *v)
{
	uint8_t p[VHD_HEADER_SIZE], foot[VHD_FOOTER_SIZE];
	int r;

	vhd_header_put(&v->header, p);
	vhd_footer_put(&v->footer, foot);
	r = disk_file_write(v->img->file, v->footer.data_off, p, sizeof(p));
	if (!r)
		r = disk_file_write(v->img->file, 0, foot, sizeof(foot));
	return r;
}

static int grow_blocks(struct vhd *v, uint64_t size)
{
	uint64_t from = vhd_nr_blocks(v);
	uint64_t to = (size + v->header.block_size - 1) / v->header.block_size;
	int r = clear_tail(v, v->img->size);

	if (!r)
		r = tables_grow(&v->bat, (to + VHD_ENTRIES_IN_PAGE - 1) / VHD_ENTRIES_IN_PAGE);
	if (!r)
		r = tables_grow(&v->bitmap, to);
	if (r < 0)
		return r;
	/* The footer must not be where the table grows to. */
	v->space.end = MAX(v->space.end, align_up(v->header.table_off + to * 4, VHD_SECTOR));
	v->header.nr_entries = (uint32_t)MAX(to, (uint64_t)v->header.nr_entries);
	v->need_footer = true;
	for (uint64_t block = from; block < to && !r; block++)
		r = vhd_bat_set(v, block, 0);
	return r ? r : vhd_flush(v->img);
}

int vhd_resize(struct image *img, uint64_t size, struct err *err)
{
	struct vhd *v = vhd_of(img);
	uint64_t room, blocks;
	int r = 0;

	if (!size || size > VHD_MAX_SIZE)
		return err_set(err, -EINVAL, "a VHD disk has 512 bytes to 2040 GiB");
	if (v->footer.type == VHD_FIXED) {
		r = resize_fixed(v, size);
		return r < 0 ? err_set(err, r, "resize: %s", strerror(-r)) : 0;
	}
	if (vhd_is_diff(v))
		return err_set(err, -EOPNOTSUPP, "a differencing VHD image has its parent's size");
	blocks = (size + v->header.block_size - 1) / v->header.block_size;
	r = table_room(v, &room);
	if (!r && blocks > room)
		return err_set(err, -EOPNOTSUPP,
			       "the table of this image has room for %" PRIu64
			       " blocks of %u bytes; convert it to a larger one",
			       room, v->header.block_size);
	if (!r && size > img->size)
		r = grow_blocks(v, size);
	for (uint64_t block = blocks; block < vhd_nr_blocks(v) && !r; block++)
		r = drop_block(v, block);
	if (r < 0)
		return err_set(err, r, "resize: %s", strerror(-r));
	set_size(v, size);
	v->need_footer = true;
	r = write_header(v);
	return r < 0 ? err_set(err, r, "resize: %s", strerror(-r)) : 0;
}

/* --- check ------------------------------------------------------------------------------------ */

struct use {
	uint64_t place, block;
};

static int by_place(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

/* Entries that make sense, in the order of their places. */
static int collect(struct vhd *v, struct disk_check *c, struct use *uses, size_t *ret_n)
{
	uint64_t size = disk_file_size(v->img->file), last = 0;
	uint64_t data_end = v->header.table_off + (uint64_t)v->header.nr_entries * 4;
	size_t n = 0;

	for (uint64_t block = 0; block < c->clusters; block++) {
		uint64_t place = 0;
		int r = vhd_bat_get(v, block, false, &place);

		if (r == -EILSEQ ||
		    (!r && place && (place < data_end || place + v->space.unit > size))) {
			if (c->fix_errors)
				r = vhd_bat_set(v, block, 0);
			check_error(c, c->fix_errors && !r,
				    "block %" PRIu64 " lies at 0x%" PRIx64
				    ", where no block can be",
				    block, place);
			if (r < 0 && r != -EILSEQ)
				return r;
			continue;
		}
		if (r < 0)
			return r;
		if (!place)
			continue;
		c->allocated++;
		c->fragmented += last && place < last;
		last = place;
		uses[n++] = (struct use){ place, block };
	}
	qsort(uses, n, sizeof(*uses), by_place);
	*ret_n = n;
	return 0;
}

static int check_overlaps(struct vhd *v, struct disk_check *c, const struct use *uses, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		int r = 0;

		if (uses[i].place - uses[i - 1].place >= v->space.unit)
			continue;
		if (c->fix_errors)
			r = vhd_bat_set(v, uses[i].block, 0);
		check_error(c, c->fix_errors && !r, "block %" PRIu64 " lies in block %" PRIu64,
			    uses[i].block, uses[i - 1].block);
		if (r < 0)
			return r;
	}
	return 0;
}

int vhd_check(struct image *img, struct disk_check *c, struct err *err)
{
	struct vhd *v = vhd_of(img);
	_cleanup_(mem_freep) struct use *uses = NULL;
	uint64_t end;
	size_t n = 0;
	int r;

	if (v->footer.type == VHD_FIXED)
		return 0; /* its footer is all that it has, and was read */
	c->clusters = vhd_nr_blocks(v);
	r = mem_try(&uses, c->clusters * sizeof(*uses), VHD_MAX_ENTRIES * sizeof(*uses));
	if (!r)
		r = collect(v, c, uses, &n);
	if (!r)
		r = check_overlaps(v, c, uses, n);
	if (!r)
		r = find_end(v, &end);
	if (r < 0)
		return err_set(err, r, "check: %s", strerror(-r));
	c->file_end = end + VHD_FOOTER_SIZE;
	if (v->need_footer && !v->is_space_known)
		check_leak(c, c->fix_errors || c->fix_leaks, 1,
			   "the end of the file has no footer; its copy is used");
	if (disk_file_size(img->file) > c->file_end && !v->need_footer && !v->is_space_known)
		check_leak(c, c->fix_leaks, disk_file_size(img->file) - c->file_end,
			   "%" PRIu64 " bytes before the footer belong to no block",
			   disk_file_size(img->file) - c->file_end);
	if (!c->fix_errors && !c->fix_leaks)
		return 0;
	if (!v->is_space_known)
		v->space.end = end;
	v->is_space_known = true;
	v->need_footer = true;
	if (c->fix_leaks)
		r = disk_file_truncate(img->file, v->space.end);
	if (!r)
		r = vhd_flush(img);
	return r < 0 ? err_set(err, r, "repair: %s", strerror(-r)) : 0;
}
