/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images: opening and finding bytes. The block allocation table is read page by page as it is
 * needed; a payload block is there, or zero, or (differencing images) the parent's, or partly the parent's as
 * a bitmap of sectors tells.
 *
 *	0      64K     128K    192K   256K        1M
 *	| id | header | header | regions | regions |   log, metadata, BAT, blocks: each at a multiple of 1 MiB
 *
 * An image that was not closed has changes in its log. Opened for writing they are made; opened for
 * reading they are kept in memory and laid over what is read of the tables (journal.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhdx/image_priv.h"

enum { ENTRIES_IN_PAGE = VHDX_SECTOR / 8, MERGE_MAX = 256 };

/* --- opening ---------------------------------------------------------------------------------- */

static int read_header(struct vhdx *v, struct err *err)
{
	static const uint64_t place[] = { VHDX_HEADER1_OFF, VHDX_HEADER2_OFF };
	_cleanup_(mem_freep) uint8_t *p = mem_new(VHDX_HEADER_SIZE);
	struct disk_file *f = v->img->file;
	struct vhdx_header h;
	bool have = false;
	int r = 0, first = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(place); i++) {
		r = disk_file_read(f, place[i], p, VHDX_HEADER_SIZE);
		if (r < 0)
			return err_set(err, r, "VHDX header: %s", strerror(-r));
		r = vhdx_header_parse(p, &h, first ? NULL : err);
		if (r < 0) {
			first = r;
			continue;
		}
		if (!have || h.seq > v->head.seq) {
			v->head = h;
			v->current = i;
		}
		have = true;
	}
	return have ? vhdx_header_check(&v->head, err) : first;
}

static void patch_read(void *arg, uint64_t off, uint8_t *data, uint32_t n)
{
	struct vhdx *v = arg;

	for (size_t i = 0; i < v->nr_patches; i++) {
		const struct vhdx_patch *p = &v->patches[i];
		uint64_t from = MAX(off, p->off), to = MIN(off + n, p->off + p->len);

		if (from >= to)
			continue;
		if (p->data)
			memcpy(data + (from - off), p->data + (from - p->off), to - from);
		else
			memset(data + (from - off), 0, to - from);
	}
}

static int read_regions(struct vhdx *v, struct err *err)
{
	static const uint64_t place[] = { VHDX_REGIONS1_OFF, VHDX_REGIONS2_OFF };
	_cleanup_(mem_freep) uint8_t *p = mem_new(VHDX_REGIONS_SIZE);
	struct err *e = err;
	int r = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(place); i++) {
		r = disk_file_read(v->img->file, place[i], p, VHDX_REGIONS_SIZE);
		if (r < 0)
			return err_set(err, r, "VHDX region table: %s", strerror(-r));
		patch_read(v, place[i], p, VHDX_REGIONS_SIZE);
		r = vhdx_regions_parse(p, &v->regions, e);
		/* The first copy's story is the better one, unless the second says why. */
		if (r != -EILSEQ)
			break;
		e = NULL;
	}
	return r;
}

static int read_metadata(struct vhdx *v, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *p = NULL;
	uint32_t n = v->regions.metadata_length;
	int r;

	r = mem_try(&p, n, VHDX_METADATA_MAX);
	if (!r)
		r = disk_file_read(v->img->file, v->regions.metadata_off, p, n);
	if (r < 0)
		return err_set(err, r, "VHDX metadata region of %u bytes: %s", n, strerror(-r));
	patch_read(v, v->regions.metadata_off, p, n);
	r = vhdx_metadata_parse(p, n, &v->meta, err);
	if (!r && v->meta.has_parent)
		r = vhdx_locator_parse(p + v->meta.locator_off, v->meta.locator_length, &v->locator,
				       err);
	return r;
}

/*
 * The parent's name: the relative path as it stands, or else the last part of another one, since paths of
 * another system lead nowhere here. That it is the right file is seen by its identifier.
 */
static char *parent_name(const struct vhdx_locator *l)
{
	const char *from = l->relative_path;
	char *name, *s;

	if (!from || !from[0])
		from = l->absolute_path ? l->absolute_path : l->volume_path;
	name = mem_strdup(from ? from : "");
	for (s = name; *s; s++)
		if (*s == '\\')
			*s = '/';
	if (from != l->relative_path && strrchr(name, '/')) {
		s = mem_strdup(strrchr(name, '/') + 1);
		free(name);
		name = s;
	}
	return name;
}

static int bat_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	struct vhdx *v = arg;

	*ret_off = v->regions.bat_off + page * VHDX_SECTOR;
	return 0;
}

static int bitmap_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	enum { PAGES = VHDX_BITMAP_BLOCK / VHDX_SECTOR };
	struct vhdx *v = arg;
	uint64_t entry;
	int r;

	r = vhdx_bat_get(v, vhdx_bat_bitmap_index(&v->shape, page / PAGES), false, &entry);
	if (r < 0)
		return r;
	*ret_off = UINT64_MAX;
	if ((entry & VHDX_BAT_STATE) == VHDX_PRESENT)
		*ret_off = (entry & VHDX_BAT_OFFSET) + page % PAGES * VHDX_SECTOR;
	return 0;
}

static int init_tables(struct vhdx *v, struct err *err)
{
	int r;

	v->shape = vhdx_shape_of(&v->meta);
	if (v->shape.nr_entries > v->regions.bat_length / 8)
		return err_set(err, -EILSEQ,
			       "VHDX block table has %u entries, the disk needs %" PRIu64,
			       v->regions.bat_length / 8, v->shape.nr_entries);
	v->bat = (struct tables){
		.file = v->img->file,
		.page_bytes = VHDX_SECTOR,
		.nr_pages = (v->shape.nr_entries + ENTRIES_IN_PAGE - 1) / ENTRIES_IN_PAGE,
		.locate = bat_locate,
		.loaded = patch_read,
		.arg = v,
	};
	v->bitmap = v->bat;
	v->bitmap.nr_pages =
		v->meta.has_parent ? v->shape.nr_bitmaps * (VHDX_BITMAP_BLOCK / VHDX_SECTOR) : 0;
	v->bitmap.locate = bitmap_locate;
	r = tables_init(&v->bat, v->img->cache_bytes);
	if (!r)
		r = tables_init(&v->bitmap, v->img->cache_bytes);
	return r < 0 ? err_set(err, r, "VHDX block table: out of memory") : 0;
}

/*
 * Changes in memory are laid over tables only: one that hits blocks of the disk would have to be laid over data
 * that others move. Nobody logs such changes; sector bitmaps can be anywhere, though.
 */
static int check_patches(const struct vhdx *v, struct err *err)
{
	const struct vhdx_regions *r = &v->regions;

	for (size_t i = 0; i < v->nr_patches; i++) {
		const struct vhdx_patch *p = &v->patches[i];

		if (p->off >= VHDX_REGIONS1_OFF &&
		    (range_ok(p->off, p->len, VHDX_REGIONS2_OFF + VHDX_REGIONS_SIZE) ||
		     range_ok(p->off - r->bat_off, p->len, r->bat_length) ||
		     range_ok(p->off - r->metadata_off, p->len, r->metadata_length) ||
		     (v->meta.has_parent && p->data)))
			continue;
		return err_set(err, -EOPNOTSUPP,
			       "the image was not closed, and its log holds a change at 0x%llx that can "
			       "only be made in the file: open it for writing once",
			       (unsigned long long)p->off);
	}
	return 0;
}

static void vhdx_close(struct image *img)
{
	struct vhdx *v = vhdx_of(img);

	tables_done(&v->bat);
	tables_done(&v->bitmap);
	space_done(&v->space);
	vhdx_locator_done(&v->locator);
	for (size_t i = 0; i < v->nr_patches; i++)
		free(v->patches[i].data);
	free(v->patches);
	free(v->log_buf);
	free(v);
	img->priv = NULL;
}

static int vhdx_open(struct image *img, struct err *err)
{
	struct vhdx *v = mem_new(sizeof(*v));
	uint8_t id[8];
	int r;

	img->priv = v;
	v->img = img;
	r = disk_file_read(img->file, 0, id, sizeof(id));
	if (r < 0)
		return err_set(err, r, "VHDX identifier: %s", strerror(-r));
	if (!vhdx_is(id, sizeof(id)))
		return err_set(err, -EILSEQ, "not a VHDX image");
	r = read_header(v, err);
	if (!r)
		r = vhdx_recover(v, err);
	if (!r)
		r = read_regions(v, err);
	if (!r)
		r = read_metadata(v, err);
	if (!r)
		r = check_patches(v, err);
	if (!r)
		r = init_tables(v, err);
	if (r < 0)
		return r;
	v->space = (struct space){
		.file = img->file,
		.unit = v->meta.block_size,
		.end = align_up(disk_file_size(img->file), VHDX_MIB),
	};
	v->space.end = MAX(v->space.end, v->regions.bat_off + v->regions.bat_length);
	v->space.end = MAX(v->space.end, v->regions.metadata_off + v->regions.metadata_length);
	v->space.end = MAX(v->space.end, v->head.log_off + v->head.log_length);
	img->size = v->meta.size;
	img->cluster = v->meta.block_size;
	if (v->meta.has_parent) {
		img->backing = parent_name(&v->locator);
		img->backing_format = mem_strdup("vhdx");
	}
	return 0;
}

static int vhdx_check_below(struct image *img, struct image *below, struct err *err)
{
	struct vhdx *v = vhdx_of(img), *p;
	char want[GUID_TEXT_LEN + 1], have[GUID_TEXT_LEN + 1];

	if (below->fmt != &format_vhdx)
		return err_set(err, -EINVAL, "the parent of a VHDX image must be one, too");
	p = vhdx_of(below);
	if (guid_eq(&v->locator.linkage, &p->head.data_write) ||
	    (v->locator.has_linkage2 && guid_eq(&v->locator.linkage2, &p->head.data_write)))
		return 0;
	guid_text(&v->locator.linkage, true, want);
	guid_text(&p->head.data_write, true, have);
	return err_set(err, -EILSEQ,
		       "the parent was written to since this image was made: it is %s, not %s",
		       have, want);
}

/* --- finding bytes ---------------------------------------------------------------------------- */

int vhdx_bat_get(struct vhdx *v, uint64_t index, bool is_cached, uint64_t *ret)
{
	uint8_t *page;
	int r = tables_get(&v->bat, index / ENTRIES_IN_PAGE, is_cached, &page);

	if (r < 0)
		return r;
	*ret = get_le64(page + index % ENTRIES_IN_PAGE * 8);
	return 0;
}

int vhdx_bat_set(struct vhdx *v, uint64_t index, uint64_t entry)
{
	uint8_t *page;
	int r = tables_get(&v->bat, index / ENTRIES_IN_PAGE, false, &page);

	if (r < 0)
		return r;
	put_le64(page + index % ENTRIES_IN_PAGE * 8, entry);
	tables_dirty(&v->bat, index / ENTRIES_IN_PAGE);
	return 0;
}

/* The place of a block is where blocks can be, and its first @len bytes are there: a file that was cut off has no zeros behind its
 * end, but bytes that are lost. Who writes has blocks in use that come to be in the file when they are flushed. */
static bool place_ok(const struct vhdx *v, uint64_t place, uint64_t len)
{
	uint64_t limit = disk_file_size(v->img->file);

	if (v->img->flags & DISK_RDWR)
		limit = MAX(limit, v->space.end);
	return place >= VHDX_MIB && place <= (uint64_t)INT64_MAX - v->meta.block_size &&
	       range_ok(place, len, limit);
}

/* One block of a differencing image whose sectors are partly the parent's. */
static int map_partial(struct vhdx *v, uint64_t block, uint64_t place, uint32_t in_block,
		       uint32_t len, bool is_cached, struct where_at *ret)
{
	uint32_t sector = v->meta.logical_sector;
	uint64_t bits = (uint64_t)VHDX_SECTOR * 8; /* in a page */
	uint64_t first = block * (v->meta.block_size / sector) + in_block / sector, bit = first;
	uint64_t end = first + (in_block % sector + len + sector - 1) / sector;
	bool here = false;

	while (bit < end) {
		uint8_t *page;
		int r = tables_get(&v->bitmap, bit / bits, is_cached, &page);

		if (r < 0)
			return r;
		for (; bit < end; bit++) {
			bool one = page[bit % bits / 8] >> (bit % 8) & 1;

			if (bit == first)
				here = one;
			else if (one != here)
				goto out;
			if (bit % bits == bits - 1) {
				bit++;
				break;
			}
		}
	}
out:
	ret->len = MIN((uint64_t)len, (bit - first) * sector - in_block % sector);
	ret->where = here ? WHERE_DATA : WHERE_BELOW;
	ret->in_place = here;
	ret->file = v->img->file;
	ret->host_off = place + in_block;
	return 0;
}

/* The part of a range that lies in one block. */
static int map_block(struct vhdx *v, uint64_t off, uint64_t len, bool is_cached,
		     struct where_at *ret)
{
	uint64_t block = off / v->meta.block_size, entry, place;
	uint32_t in_block = (uint32_t)(off % v->meta.block_size);
	int r;

	*ret = (struct where_at){ .off = off, .len = MIN(len, v->meta.block_size - in_block) };
	r = vhdx_bat_get(v, vhdx_bat_index(&v->shape, block), is_cached, &entry);
	if (r < 0)
		return r;
	place = entry & VHDX_BAT_OFFSET;
	switch ((enum vhdx_state)(entry & VHDX_BAT_STATE)) {
	case VHDX_NOT_PRESENT:
		ret->where = v->meta.has_parent ? WHERE_BELOW : WHERE_ZERO;
		return 0;
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		ret->where = WHERE_ZERO;
		return 0;
	case VHDX_PRESENT:
		if (!place_ok(v, place, in_block + ret->len))
			return -EILSEQ;
		ret->where = WHERE_DATA;
		ret->in_place = true;
		ret->file = v->img->file;
		ret->host_off = place + in_block;
		return 0;
	case VHDX_PARTIAL:
		if (!place_ok(v, place, in_block + ret->len) || !v->meta.has_parent)
			return -EILSEQ;
		return map_partial(v, block, place, in_block, (uint32_t)ret->len, is_cached, ret);
	}
	return -EILSEQ;
}

static int vhdx_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		    struct where_at *ret)
{
	struct vhdx *v = vhdx_of(img);
	int r = map_block(v, off, len, flags & MAP_CACHED, ret);

	/* Blocks that follow each other in the file are one extent. */
	for (unsigned int n = 0; !r && ret->len < len && n < MERGE_MAX; n++) {
		struct where_at next;

		if (map_block(v, off + ret->len, len - ret->len, true, &next) < 0)
			break;
		if (next.where != ret->where || next.in_place != ret->in_place ||
		    (next.where == WHERE_DATA && next.host_off != ret->host_off + ret->len))
			break;
		ret->len += next.len;
	}
	return r;
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool vhdx_probe(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail)
{
	return vhdx_is(head, n);
}

static int vhdx_info(struct image *img, struct disk_info *info, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf creator = { 0 };
	struct vhdx *v = vhdx_of(img);
	uint8_t id[520];
	char text[GUID_TEXT_LEN + 1];
	int r = disk_file_read(img->file, 0, id, sizeof(id));

	if (r < 0)
		return err_set(err, r, "VHDX identifier: %s", strerror(-r));
	vhdx_identifier_creator(id, &creator);
	detail_str(info, "subformat", "%s",
		   v->meta.has_parent ? "differencing"
		   : v->meta.is_fixed ? "fixed"
				      : "dynamic");
	detail_str(info, "creator", "%s", strbuf_cstr(&creator));
	detail_u64(info, "block-size", v->meta.block_size);
	detail_u64(info, "logical-sector-size", v->meta.logical_sector);
	detail_u64(info, "physical-sector-size", v->meta.physical_sector);
	detail_u64(info, "log-size", v->head.log_length);
	guid_text(&v->meta.disk_id, true, text);
	detail_str(info, "disk-id", "%s", text);
	guid_text(&v->head.data_write, true, text);
	detail_str(info, "data-write-id", "%s", text);
	if (v->meta.has_parent) {
		guid_text(&v->locator.linkage, true, text);
		detail_str(info, "parent-data-write-id", "%s", text);
	}
	info->is_dirty = v->nr_patches || v->is_log_open;
	return 0;
}

const struct format format_vhdx = {
	.name = "vhdx",
	.long_name = "Microsoft Hyper-V, version 2",
	.options = vhdx_options,
	.probe = vhdx_probe,
	.open = vhdx_open,
	.close = vhdx_close,
	.check_below = vhdx_check_below,
	.map = vhdx_map,
	.first_write = vhdx_first_write,
	.alloc = vhdx_alloc,
	.link = vhdx_link,
	.unalloc = vhdx_unalloc,
	.zero = vhdx_zero,
	.discard = vhdx_discard,
	.flush = vhdx_flush,
	.finish = vhdx_finish,
	.resize = vhdx_resize,
	.create = vhdx_create,
	.info = vhdx_info,
	.check = vhdx_check,
};
