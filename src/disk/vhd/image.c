/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD images: opening and finding bytes.
 *
 *	fixed:    data | footer
 *	others:   footer | header | table | bitmap, block | bitmap, block | ... | footer
 *
 * The table says for each block at which sector its bitmap stands; the data follows it. In a differencing
 * image a bit says that a sector is here and not in the parent. In a dynamic image the bits say which sectors
 * were written; the others hold zeros, so that nobody needs to look when reading. But who writes has to
 * set them, so a block whose bitmap is not full is not written in place at first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhd/image_priv.h"

enum { MERGE_MAX = 256 };

uint64_t vhd_nr_blocks(const struct vhd *v)
{
	return (v->img->size + v->header.block_size - 1) / v->header.block_size;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int bat_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	struct vhd *v = arg;

	*ret_off = v->header.table_off + page * VHD_SECTOR;
	return 0;
}

static int bitmap_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	uint64_t place;
	int r = vhd_bat_get(arg, page, false, &place);

	if (!r)
		*ret_off = place ? place : UINT64_MAX;
	return r;
}

/* The footer at the end, or, of images that were not closed, the copy at the beginning. */
static int read_footer(struct vhd *v, struct err *err)
{
	struct disk_file *f = v->img->file;
	uint64_t size = disk_file_size(f);
	uint8_t p[VHD_FOOTER_SIZE + 1] = { 0 };
	int r;

	if (size < VHD_OLD_FOOTER_SIZE)
		return err_set(err, -EILSEQ, "not a VHD image: it has %" PRIu64 " bytes", size);
	if (size >= VHD_FOOTER_SIZE) {
		r = disk_file_read(f, size - VHD_FOOTER_SIZE, p, VHD_FOOTER_SIZE);
		if (r < 0)
			return err_set(err, r, "VHD footer: %s", strerror(-r));
		r = vhd_footer_parse(p, VHD_FOOTER_SIZE, &v->footer, err);
		if (r != -EILSEQ)
			return r;
		/* One byte shorter in old images, which then are at no multiple of a sector. */
		if (size % VHD_SECTOR == VHD_OLD_FOOTER_SIZE &&
		    !vhd_footer_parse(p + 1, VHD_OLD_FOOTER_SIZE, &v->footer, NULL))
			return 0;
	}
	v->need_footer = true;
	r = disk_file_read(f, 0, p, VHD_FOOTER_SIZE);
	if (r < 0)
		return err_set(err, r, "VHD footer: %s", strerror(-r));
	/* What the end says is the better story. */
	r = vhd_footer_parse(p, VHD_FOOTER_SIZE, &v->footer,
			     vhd_is(p, VHD_FOOTER_SIZE) ? err : NULL);
	if (!r && v->footer.type == VHD_FIXED)
		return err_set(err, -EILSEQ, "VHD image is cut off: a fixed disk without its end");
	return r;
}

static int read_header(struct vhd *v, struct err *err)
{
	uint8_t p[VHD_HEADER_SIZE];
	int r;

	if (v->footer.data_off > INT64_MAX)
		return err_set(err, -EILSEQ, "VHD header at 0x%" PRIx64, v->footer.data_off);
	r = disk_file_read(v->img->file, v->footer.data_off, p, sizeof(p));
	if (r < 0)
		return err_set(err, r, "VHD header: %s", strerror(-r));
	return vhd_header_parse(p, v->img->size, &v->header, err);
}

static int read_locator(struct vhd *v, const struct vhd_locator *l, struct strbuf *ret)
{
	_cleanup_(mem_freep) uint8_t *p = NULL;
	int r = mem_try(&p, l->length, VHD_LOCATOR_MAX);

	if (!r)
		r = disk_file_read(v->img->file, l->off, p, l->length);
	if (!r)
		vhd_locator_text(l->code, p, l->length, ret);
	return r;
}

/*
 * The parent's name: the relative path as it stands, or else the last part of another one, since paths of
 * another system lead nowhere here. That it is the right file is seen by its identifier.
 */
static int find_parent(struct vhd *v, struct err *err)
{
	static const uint32_t codes[] = { VHD_LOCATOR_W2RU, VHD_LOCATOR_W2KU, VHD_LOCATOR_MACX };
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	const char *from;

	for (size_t i = 0; i < ARRAY_SIZE(codes) && !name.n; i++)
		for (unsigned int k = 0; k < VHD_NR_LOCATORS && !name.n; k++) {
			int r = 0;

			if (v->header.locators[k].code == codes[i])
				r = read_locator(v, &v->header.locators[k], &name);
			if (r < 0)
				return err_set(err, r, "VHD parent locator: %s", strerror(-r));
			if (i && name.n && strrchr(name.p, '/')) {
				from = strrchr(name.p, '/') + 1;
				v->img->backing = mem_strdup(from);
				return 0;
			}
		}
	from = name.n ? strbuf_cstr(&name) : v->header.parent_name;
	if (!from[0])
		return err_set(err, -EILSEQ, "VHD image has a parent and does not say which");
	if (!name.n && strrchr(from, '\\'))
		from = strrchr(from, '\\') + 1;
	v->img->backing = mem_strdup(from);
	return 0;
}

static int open_blocks(struct vhd *v, struct err *err)
{
	struct image *img = v->img;
	int r = read_header(v, err);

	if (r < 0)
		return r;
	v->bitmap_bytes = vhd_bitmap_size(v->header.block_size);
	v->bat = (struct tables){
		.file = img->file,
		.page_bytes = VHD_SECTOR,
		.nr_pages = (vhd_nr_blocks(v) + VHD_ENTRIES_IN_PAGE - 1) / VHD_ENTRIES_IN_PAGE,
		.locate = bat_locate,
		.arg = v,
	};
	v->bitmap = (struct tables){
		.file = img->file,
		.page_bytes = v->bitmap_bytes,
		.nr_pages = vhd_nr_blocks(v),
		.locate = bitmap_locate,
		.arg = v,
	};
	v->space = (struct space){
		.file = img->file,
		.unit = (uint64_t)v->bitmap_bytes + v->header.block_size,
	};
	r = tables_init(&v->bat, img->cache_bytes);
	if (!r)
		r = tables_init(&v->bitmap, img->cache_bytes);
	if (r < 0)
		return err_set(err, r, "VHD table: out of memory");
	img->cluster = v->header.block_size;
	if (!vhd_is_diff(v))
		return 0;
	img->backing_format = mem_strdup("vhd");
	return find_parent(v, err);
}

static void vhd_close(struct image *img)
{
	struct vhd *v = vhd_of(img);

	tables_done(&v->bat);
	tables_done(&v->bitmap);
	space_done(&v->space);
	free(v);
	img->priv = NULL;
}

static int vhd_open(struct image *img, struct err *err)
{
	struct vhd *v = mem_new(sizeof(*v));
	uint64_t data;
	int r;

	img->priv = v;
	v->img = img;
	r = read_footer(v, err);
	if (r < 0)
		return r;
	img->size = vhd_size(&v->footer);
	if (v->footer.type != VHD_FIXED)
		return open_blocks(v, err);
	img->cluster = VHD_ALIGN;
	img->zero_unit = 1;
	data = align_down(disk_file_size(img->file), VHD_SECTOR);
	/* What the geometry adds, and a size that was changed by hand. */
	if (img->size > data)
		return err_set(err, -EILSEQ,
			       "VHD image is cut off: a fixed disk of %" PRIu64
			       " bytes in a file of %" PRIu64,
			       img->size, disk_file_size(img->file));
	return 0;
}

static int vhd_check_below(struct image *img, struct image *below, struct err *err)
{
	struct vhd *v = vhd_of(img);
	char want[GUID_TEXT_LEN + 1], have[GUID_TEXT_LEN + 1];

	if (below->fmt != &format_vhd)
		return err_set(err, -EINVAL, "the parent of a VHD image must be one, too");
	if (guid_eq(&v->header.parent_uuid, &vhd_of(below)->footer.uuid))
		return 0;
	guid_text(&v->header.parent_uuid, false, want);
	guid_text(&vhd_of(below)->footer.uuid, false, have);
	return err_set(err, -EILSEQ, "it is image %s, and the parent was %s", have, want);
}

/* --- finding bytes ---------------------------------------------------------------------------- */

/* Of the file, or what it will be when blocks that are in use already are flushed. */
static uint64_t file_end(const struct vhd *v)
{
	return MAX(disk_file_size(v->img->file), v->space.end);
}

int vhd_bat_get(struct vhd *v, uint64_t block, bool is_cached, uint64_t *ret_place)
{
	uint32_t sector;
	uint8_t *page;
	int r = tables_get(&v->bat, block / VHD_ENTRIES_IN_PAGE, is_cached, &page);

	if (r < 0)
		return r;
	sector = get_be32(page + block % VHD_ENTRIES_IN_PAGE * 4);
	*ret_place = sector == VHD_UNUSED ? 0 : (uint64_t)sector * VHD_SECTOR;
	if (sector != VHD_UNUSED && (!sector || *ret_place >= file_end(v)))
		return -EILSEQ;
	return 0;
}

int vhd_bat_set(struct vhd *v, uint64_t block, uint64_t place)
{
	uint8_t *page;
	int r = tables_get(&v->bat, block / VHD_ENTRIES_IN_PAGE, false, &page);

	if (r < 0)
		return r;
	put_be32(page + block % VHD_ENTRIES_IN_PAGE * 4,
		 place ? (uint32_t)(place / VHD_SECTOR) : VHD_UNUSED);
	tables_dirty(&v->bat, block / VHD_ENTRIES_IN_PAGE);
	return 0;
}

static bool is_full(const uint8_t *p, uint32_t block_size)
{
	return bytes_are(p, block_size / VHD_SECTOR / 8, 0xff);
}

/* How many sectors from one on have the same bit. */
static uint32_t bit_run(const uint8_t *p, uint32_t first, uint32_t end, bool *ret_bit)
{
	uint32_t i = first;

	*ret_bit = p[first / 8] >> (7 - first % 8) & 1;
	while (i < end && (p[i / 8] >> (7 - i % 8) & 1) == *ret_bit)
		i++;
	return i - first;
}

/* The part of a range that lies in one block. */
static int map_block(struct vhd *v, uint64_t off, uint64_t len, bool is_cached,
		     struct where_at *ret)
{
	uint32_t bs = v->header.block_size, in_block = (uint32_t)(off % bs), sectors;
	uint64_t block = off / bs, place;
	uint8_t *bits;
	bool here = true;
	int r;

	*ret = (struct where_at){ .off = off, .len = MIN(len, bs - in_block) };
	r = vhd_bat_get(v, block, is_cached, &place);
	if (r < 0)
		return r;
	if (!place) {
		ret->where = vhd_is_diff(v) ? WHERE_BELOW : WHERE_ZERO;
		return 0;
	}
	ret->in_place = true;
	if (vhd_is_diff(v) || v->img->flags & DISK_RDWR) {
		r = tables_get(&v->bitmap, block, is_cached, &bits);
		if (r < 0)
			return r;
		ret->in_place = is_full(bits, bs);
		if (!ret->in_place && vhd_is_diff(v)) {
			sectors = bit_run(bits, in_block / VHD_SECTOR,
					  (uint32_t)((in_block + ret->len + VHD_SECTOR - 1) /
						     VHD_SECTOR),
					  &here);
			ret->in_place = here;
			ret->len = MIN(ret->len,
				       (uint64_t)sectors * VHD_SECTOR - in_block % VHD_SECTOR);
		}
	}
	ret->where = here ? WHERE_DATA : WHERE_BELOW;
	ret->file = v->img->file;
	ret->host_off = place + v->bitmap_bytes + in_block;
	/* A file that was cut off has no zeros there, but bytes that are lost. */
	return !here || range_ok(ret->host_off, ret->len, file_end(v)) ? 0 : -EILSEQ;
}

static int vhd_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		   struct where_at *ret)
{
	struct vhd *v = vhd_of(img);
	int r;

	if (v->footer.type == VHD_FIXED) {
		*ret = (struct where_at){
			.where = WHERE_DATA,
			.in_place = true,
			.is_flat = true,
			.off = off,
			.len = len,
			.file = img->file,
			.host_off = off,
		};
		return 0;
	}
	r = map_block(v, off, len, flags & MAP_CACHED, ret);
	/* Blocks have a bitmap between them, so only what is not there is longer than a block. */
	for (unsigned int n = 0; !r && ret->where != WHERE_DATA && ret->len < len && n < MERGE_MAX;
	     n++) {
		struct where_at next;

		if (map_block(v, off + ret->len, len - ret->len, true, &next) < 0 ||
		    next.where != ret->where)
			break;
		ret->len += next.len;
	}
	return r;
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool vhd_probe(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail)
{
	return vhd_is(head, n) || vhd_is(tail, n_tail) ||
	       (n_tail == VHD_FOOTER_SIZE && vhd_is(tail + 1, n_tail - 1));
}

static int vhd_info(struct image *img, struct disk_info *info, struct err *err)
{
	static const char *const types[] = {
		[VHD_FIXED] = "fixed",
		[VHD_DYNAMIC] = "dynamic",
		[VHD_DIFFERENCING] = "differencing",
	};
	struct vhd *v = vhd_of(img);
	const struct vhd_footer *f = &v->footer;
	char text[GUID_TEXT_LEN + 1];

	detail_str(info, "subformat", "%s", types[f->type]);
	detail_str(info, "creator", "%s", f->creator);
	detail_str(info, "geometry", "%u/%u/%u", f->chs.cylinders, f->chs.heads, f->chs.sectors);
	guid_text(&f->uuid, false, text);
	detail_str(info, "uuid", "%s", text);
	if (f->type != VHD_FIXED)
		detail_u64(info, "block-size", v->header.block_size);
	if (vhd_is_diff(v)) {
		guid_text(&v->header.parent_uuid, false, text);
		detail_str(info, "parent-uuid", "%s", text);
	}
	info->is_dirty = v->need_footer;
	return 0;
}

const struct format format_vhd = {
	.name = "vhd",
	.alias = "vpc",
	.long_name = "Microsoft Virtual PC and Hyper-V, version 1",
	.options = vhd_options,
	.probe = vhd_probe,
	.open = vhd_open,
	.close = vhd_close,
	.check_below = vhd_check_below,
	.map = vhd_map,
	.first_write = vhd_first_write,
	.alloc = vhd_alloc,
	.link = vhd_link,
	.unalloc = vhd_unalloc,
	.zero = vhd_zero,
	.discard = vhd_discard,
	.flush = vhd_flush,
	.finish = vhd_finish,
	.resize = vhd_resize,
	.create = vhd_create,
	.info = vhd_info,
	.check = vhd_check,
};
