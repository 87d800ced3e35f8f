/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images: making room, dropping blocks, changing the size. Tables change in memory; journal.c brings them
 * to the medium.
 *
 * A write needs only room for itself: a new block reads zero, and so does what the write leaves of
 * it. In a differencing image the rest of a new block is the parent's, so that it is a partial one with a
 * bitmap, unless its content was recorded as zero. Partial blocks stay partial when all their bits are set: what
 * reads them comes to the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhdx/image_priv.h"

enum { BITS_IN_PAGE = VHDX_SECTOR * 8 };

/* What vhdx_link() needs to know: alloc.priv[] */
enum { A_PLACE, A_STATE, A_IS_NEW };

int vhdx_first_write(struct image *img)
{
	return vhdx_begin(vhdx_of(img));
}

int vhdx_flush(struct image *img)
{
	return vhdx_commit(vhdx_of(img), NULL);
}

/* The bits of sectors [first, end) of the disk become @value. */
static int set_bits(struct vhdx *v, uint64_t first, uint64_t end, bool value)
{
	for (uint64_t bit = first; bit < end;) {
		uint64_t page_end = MIN(end, align_down(bit, BITS_IN_PAGE) + BITS_IN_PAGE);
		uint64_t nr = bit / BITS_IN_PAGE;
		uint8_t *page;
		int r = tables_get(&v->bitmap, nr, false, &page);

		if (r < 0)
			return r;
		for (; bit < page_end; bit++) {
			uint8_t mask = (uint8_t)(1 << (bit % 8));

			page[bit % BITS_IN_PAGE / 8] &= (uint8_t)~mask;
			page[bit % BITS_IN_PAGE / 8] |= value ? mask : 0;
		}
		tables_dirty(&v->bitmap, nr);
	}
	return 0;
}

/* A sector bitmap block for the chunk of a block, if there is none. */
static int need_bitmap(struct vhdx *v, uint64_t block)
{
	uint64_t index = vhdx_bat_bitmap_index(&v->shape, block / v->shape.chunk_ratio);
	uint64_t entry;
	int r = vhdx_bat_get(v, index, false, &entry);

	if (r < 0 || (entry & VHDX_BAT_STATE) == VHDX_PRESENT)
		return r;
	/* At the end, which reads zero; its size is not that of other blocks. */
	entry = v->space.end | VHDX_PRESENT;
	r = vhdx_bat_set(v, index, entry);
	if (!r)
		v->space.end += VHDX_BITMAP_BLOCK;
	return r;
}

int vhdx_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret)
{
	struct vhdx *v = vhdx_of(img);
	uint32_t bs = v->meta.block_size, sector = v->meta.logical_sector;
	uint64_t block = off / bs, entry, end;
	bool is_new, is_partial;
	int r;

	r = vhdx_bat_get(v, vhdx_bat_index(&v->shape, block), false, &entry);
	if (r < 0)
		return r;
	is_new = (entry & VHDX_BAT_STATE) != VHDX_PARTIAL;
	is_partial = v->meta.has_parent &&
		     (!is_new || (entry & VHDX_BAT_STATE) == VHDX_NOT_PRESENT);
	end = MIN(off + len, (block + 1) * bs);
	if (is_partial) {
		/* Whole sectors: one bit for each. */
		off = align_down(off, sector);
		end = align_up(end, sector);
	}
	*ret = (struct alloc){ .off = off, .len = end - off, .file = img->file };
	ret->priv[A_PLACE] = is_new ? space_take(&v->space) : entry & VHDX_BAT_OFFSET;
	ret->priv[A_STATE] = is_partial ? VHDX_PARTIAL : VHDX_PRESENT;
	ret->priv[A_IS_NEW] = is_new;
	ret->host_off = ret->priv[A_PLACE] + off % bs;
	ret->is_zeroed = is_new;
	return 0;
}

static int link_partial(struct vhdx *v, uint64_t block, const struct alloc *a)
{
	uint32_t sector = v->meta.logical_sector;
	uint64_t in_block = v->meta.block_size / sector;
	int r = need_bitmap(v, block);

	/* Bits of a block that was not there mean nothing, and may be anything. */
	if (!r && a->priv[A_IS_NEW])
		r = set_bits(v, block * in_block, (block + 1) * in_block, false);
	if (!r)
		r = set_bits(v, a->off / sector, (a->off + a->len) / sector, true);
	return r;
}

int vhdx_link(struct image *img, struct alloc *a)
{
	struct vhdx *v = vhdx_of(img);
	uint64_t block = a->off / v->meta.block_size;
	int r = 0;

	if (a->priv[A_STATE] == VHDX_PARTIAL)
		r = link_partial(v, block, a);
	if (!r && a->priv[A_IS_NEW])
		r = vhdx_bat_set(v, vhdx_bat_index(&v->shape, block),
				 a->priv[A_PLACE] | a->priv[A_STATE]);
	if (r < 0) {
		vhdx_unalloc(img, a);
		return r;
	}
	if (tables_is_full(&v->bat) || tables_is_full(&v->bitmap))
		return vhdx_commit(v, NULL);
	return 0;
}

void vhdx_unalloc(struct image *img, struct alloc *a)
{
	struct vhdx *v = vhdx_of(img);

	if (a->priv[A_IS_NEW])
		space_give(&v->space, a->priv[A_PLACE]);
}

/* --- dropping --------------------------------------------------------------------------------- */

static int drop_block(struct vhdx *v, uint64_t block, enum vhdx_state state)
{
	uint64_t index = vhdx_bat_index(&v->shape, block), entry, old;
	int r = vhdx_bat_get(v, index, false, &entry);

	if (r < 0)
		return r;
	old = entry & VHDX_BAT_STATE;
	if (old == state || (!v->meta.has_parent && old < VHDX_PRESENT))
		return 0;
	r = vhdx_bat_set(v, index, state);
	if (!r && old >= VHDX_PRESENT)
		space_give(&v->space, entry & VHDX_BAT_OFFSET);
	return r;
}

int vhdx_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	struct vhdx *v = vhdx_of(img);
	uint32_t bs = v->meta.block_size;
	int r = 0;

	if (v->meta.is_fixed)
		return -EOPNOTSUPP; /* its blocks stay */
	for (uint64_t block = off / bs; block * bs < off + len && !r; block++) {
		r = drop_block(v, block, VHDX_ZERO);
		if (!r && tables_is_full(&v->bat))
			r = vhdx_commit(v, NULL);
	}
	return r;
}

int vhdx_discard(struct image *img, uint64_t off, uint64_t len)
{
	int r = vhdx_zero(img, off, len, true);

	return r == -EOPNOTSUPP ? 0 : r;
}

/* --- size ------------------------------------------------------------------------------------- */

/* The end of a last block that was behind the end of the disk may hold anything. */
static int clear_tail(struct vhdx *v, uint64_t size)
{
	uint32_t bs = v->meta.block_size, in_block = (uint32_t)(size % bs);
	uint64_t entry;
	int r;

	if (!in_block)
		return 0;
	r = vhdx_bat_get(v, vhdx_bat_index(&v->shape, size / bs), false, &entry);
	if (r < 0 || (entry & VHDX_BAT_STATE) != VHDX_PRESENT)
		return r;
	return disk_file_zero(v->img->file, (entry & VHDX_BAT_OFFSET) + in_block, bs - in_block,
			      true);
}

/* The table for @to, which has more blocks; what was behind its end may be anything. */
static int grow_table(struct vhdx *v, const struct vhdx_shape *to)
{
	int r = tables_grow(&v->bat, (to->nr_entries * 8 + VHDX_SECTOR - 1) / VHDX_SECTOR);

	for (uint64_t i = v->shape.nr_entries; i < to->nr_entries && !r; i++)
		r = vhdx_bat_set(v, i, VHDX_NOT_PRESENT);
	for (uint64_t block = v->shape.nr_blocks; v->meta.is_fixed && block < to->nr_blocks && !r;
	     block++)
		r = vhdx_bat_set(v, vhdx_bat_index(to, block),
				 space_take(&v->space) | VHDX_PRESENT);
	return r ? r : vhdx_commit(v, NULL);
}

/* The size stands in one page of the metadata region. */
static int write_size(struct vhdx *v, uint64_t size)
{
	_cleanup_(mem_freep) uint8_t *page = mem_new(VHDX_SECTOR);
	struct vhdx_log_page change = {
		.off = v->regions.metadata_off + align_down(v->meta.size_off, VHDX_SECTOR),
		.data = page,
	};
	int r = disk_file_read(v->img->file, change.off, page, VHDX_SECTOR);

	if (r < 0)
		return r;
	put_le64(page + v->meta.size_off % VHDX_SECTOR, size);
	return vhdx_commit(v, &change);
}

int vhdx_resize(struct image *img, uint64_t size, struct err *err)
{
	struct vhdx *v = vhdx_of(img);
	struct vhdx_metadata meta = v->meta;
	struct vhdx_shape shape;
	int r = 0;

	meta.size = size;
	if (meta.has_parent)
		return err_set(err, -EOPNOTSUPP, "a differencing VHDX image has its parent's size");
	if (!size || size > VHDX_MAX_SIZE || size % meta.logical_sector)
		return err_set(err, -EINVAL,
			       "%" PRIu64 " bytes are not a multiple of %u from there to 64 TiB",
			       size, meta.logical_sector);
	shape = vhdx_shape_of(&meta);
	if (shape.nr_entries > v->regions.bat_length / 8)
		return err_set(err, -EOPNOTSUPP,
			       "the block table of this image has room for %u blocks of %u bytes; convert "
			       "it to a larger one",
			       v->regions.bat_length / 8, meta.block_size);
	if (size > v->meta.size) {
		r = clear_tail(v, v->meta.size);
		if (!r)
			r = grow_table(v, &shape);
	}
	for (uint64_t block = shape.nr_blocks; block < v->shape.nr_blocks && !r; block++)
		r = drop_block(v, block, VHDX_NOT_PRESENT);
	if (!r)
		r = write_size(v, size);
	if (r < 0)
		return err_set(err, r, "resize: %s", strerror(-r));
	v->meta = meta;
	v->shape = shape;
	img->size = size;
	return 0;
}
