/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VDI images, dynamic and static: header, an array that says for each block of the disk which block of the file it
 * is, the blocks.
 *
 * Everybody takes the header's count of allocated blocks for the number of the next one. So a block that was
 * allocated once stays with its place: given up, it would be a hole in the numbering that other programs run
 * into. Zeros are written into it, as holes of the file where that is possible.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/format_priv.h"
#include "disk/tables_priv.h"
#include "disk/vdi/vdi_priv.h"

enum {
	PAGE = 512,
	ENTRIES_IN_PAGE = PAGE / 4,
	MERGE_MAX = 256,
	BLOCK_DEFAULT = 1 << 20,
	DATA_ALIGN = 1 << 20,
};

struct vdi {
	struct image *img;
	struct vdi_header header;
	struct tables map;
	struct places given_back; /* of writes that failed: the next blocks to give out */
	uint32_t next;		  /* number of the next block */
	bool is_counted;	  /* next is known from the map */
	bool is_header_old;
};

static struct vdi *vdi_of(struct image *img)
{
	return img->priv;
}

static int map_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	struct vdi *v = arg;

	*ret_off = v->header.map_off + page * PAGE;
	return 0;
}

static void vdi_close(struct image *img)
{
	struct vdi *v = vdi_of(img);

	tables_done(&v->map);
	mem_freep(&v->given_back.v);
	free(v);
	img->priv = NULL;
}

static int vdi_open(struct image *img, struct err *err)
{
	struct vdi *v = mem_new(sizeof(*v));
	uint8_t p[VDI_HEADER_SIZE];
	int r;

	img->priv = v;
	v->img = img;
	r = disk_file_read(img->file, 0, p, sizeof(p));
	if (r < 0)
		return err_set(err, r, "VDI header: %s", strerror(-r));
	r = vdi_header_parse(p, &v->header, err);
	if (r < 0)
		return r;
	v->map = (struct tables){
		.file = img->file,
		.page_bytes = PAGE,
		.nr_pages = ((uint64_t)v->header.nr_blocks + ENTRIES_IN_PAGE - 1) / ENTRIES_IN_PAGE,
		.locate = map_locate,
		.arg = v,
	};
	r = tables_init(&v->map, img->cache_bytes);
	if (r < 0)
		return err_set(err, r, "VDI block map: out of memory");
	/* VirtualBox makes disks of any size; half a sector at the end is nobody's. */
	img->size = align_up(v->header.size, 512);
	img->cluster = v->header.block_size;
	img->zero_unit = 512;
	if (img->size > (uint64_t)v->header.nr_blocks * v->header.block_size)
		return err_set(err, -EILSEQ, "VDI disk is larger than its blocks");
	return 0;
}

static uint64_t place_of(const struct vdi *v, uint32_t nr)
{
	return v->header.data_off + (uint64_t)nr * v->header.block_size;
}

/* VDI_FREE, VDI_ZERO or a block of the file. */
static int entry_get(struct vdi *v, uint64_t block, bool is_cached, uint32_t *ret)
{
	uint8_t *page;
	int r = tables_get(&v->map, block / ENTRIES_IN_PAGE, is_cached, &page);

	if (r < 0)
		return r;
	*ret = get_le32(page + block % ENTRIES_IN_PAGE * 4);
	if (*ret < VDI_ZERO && place_of(v, *ret) >= disk_file_size(v->img->file) && *ret >= v->next)
		return -EILSEQ;
	return 0;
}

static int entry_set(struct vdi *v, uint64_t block, uint32_t entry)
{
	uint8_t *page;
	int r = tables_get(&v->map, block / ENTRIES_IN_PAGE, false, &page);

	if (r < 0)
		return r;
	put_le32(page + block % ENTRIES_IN_PAGE * 4, entry);
	tables_dirty(&v->map, block / ENTRIES_IN_PAGE);
	return 0;
}

static int map_block(struct vdi *v, uint64_t off, uint64_t len, bool is_cached,
		     struct where_at *ret)
{
	uint32_t bs = v->header.block_size, in_block = (uint32_t)(off % bs), entry;
	int r = entry_get(v, off / bs, is_cached, &entry);

	if (r < 0)
		return r;
	*ret = (struct where_at){
		.where = WHERE_ZERO,
		.off = off,
		.len = MIN(len, bs - in_block),
	};
	if (entry >= VDI_ZERO)
		return 0;
	ret->where = WHERE_DATA;
	ret->in_place = true;
	ret->file = v->img->file;
	ret->host_off = place_of(v, entry) + in_block;
	/* A file that was cut off has no zeros behind its end, but bytes that are lost. Who writes has blocks in use that come to be
	 * in the file when they are flushed. */
	return v->img->flags & DISK_RDWR ||
			       range_ok(ret->host_off, ret->len, disk_file_size(v->img->file))
		       ? 0
		       : -EILSEQ;
}

static int vdi_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		   struct where_at *ret)
{
	struct vdi *v = vdi_of(img);
	int r = map_block(v, off, len, flags & MAP_CACHED, ret);

	for (unsigned int n = 0; !r && ret->len < len && n < MERGE_MAX; n++) {
		struct where_at next;

		if (map_block(v, off + ret->len, len - ret->len, true, &next) < 0 ||
		    next.where != ret->where ||
		    (next.where == WHERE_DATA && next.host_off != ret->host_off + ret->len))
			break;
		ret->len += next.len;
	}
	return r;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The header's count may be behind, when a writer was cut short. */
static int vdi_first_write(struct image *img)
{
	struct vdi *v = vdi_of(img);
	uint32_t next = 0;

	for (uint64_t block = 0; !v->is_counted && block < v->header.nr_blocks; block++) {
		uint32_t entry;
		int r = entry_get(v, block, false, &entry);

		if (r < 0)
			return r;
		if (entry < VDI_ZERO)
			next = MAX(next, entry + 1);
	}
	if (!v->is_counted) {
		v->next = MAX(next, v->header.nr_allocated);
		/* Behind them, what such a writer left. */
		if (disk_file_size(img->file) > place_of(v, v->next)) {
			int r = disk_file_truncate(img->file, place_of(v, v->next));

			if (r < 0)
				return r;
		}
	}
	v->is_counted = true;
	return 0;
}

/* What changed in the header; the rest of it stays as others wrote it. */
static int write_counts(struct vdi *v)
{
	struct vdi_header now = v->header;
	uint8_t p[VDI_HEADER_SIZE];

	now.nr_allocated = v->next;
	vdi_header_put(&now, p);
	return disk_file_write(v->img->file, VDI_COUNTS_OFF, p + VDI_COUNTS_OFF, VDI_COUNTS_SIZE);
}

/* Data and the count, sync, then the map: a crash leaves places that nobody uses, at worst. */
static int vdi_flush(struct image *img)
{
	struct vdi *v = vdi_of(img);
	struct disk_file *f = img->file;
	int r = 0;

	if (v->is_counted && disk_file_size(f) < place_of(v, v->next))
		r = disk_file_truncate(f, place_of(v, v->next));
	if (!r && v->is_header_old)
		r = write_counts(v);
	if (!r)
		r = disk_file_sync(f);
	if (r < 0)
		return r;
	v->is_header_old = false;
	if (!v->map.nr_dirty)
		return 0;
	r = tables_write(&v->map);
	return r ? r : disk_file_sync(f);
}

static int vdi_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret)
{
	struct vdi *v = vdi_of(img);
	uint32_t bs = v->header.block_size, nr;

	if (v->given_back.n) {
		nr = (uint32_t)v->given_back.v[--v->given_back.n];
	} else {
		if (v->next >= v->header.nr_blocks)
			return -EILSEQ; /* more places than blocks: some are nobody's */
		nr = v->next++;
	}
	v->is_header_old = true;
	*ret = (struct alloc){
		.off = off,
		.len = MIN(len, bs - off % bs),
		.file = img->file,
		.host_off = place_of(v, nr) + off % bs,
		.is_zeroed = true,
		.priv = { nr },
	};
	return 0;
}

static void vdi_unalloc(struct image *img, struct alloc *a)
{
	struct vdi *v = vdi_of(img);
	struct places *p = &v->given_back;

	if (disk_file_zero(img->file, place_of(v, (uint32_t)a->priv[0]), v->header.block_size,
			   true) < 0)
		return; /* not to be used again */
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 16;
		p->v = mem_renew(p->v, p->cap, sizeof(*p->v));
	}
	p->v[p->n++] = a->priv[0];
}

static int vdi_link(struct image *img, struct alloc *a)
{
	struct vdi *v = vdi_of(img);
	int r = entry_set(v, a->off / v->header.block_size, (uint32_t)a->priv[0]);

	if (r < 0) {
		vdi_unalloc(img, a);
		return r;
	}
	return tables_is_full(&v->map) ? vdi_flush(img) : 0;
}

static int vdi_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	while (len) {
		struct where_at at;
		int r = vdi_map(img, off, len, 0, &at);

		if (!r && at.where == WHERE_DATA)
			r = disk_file_zero(img->file, at.host_off, at.len, unmap);
		if (r < 0)
			return r;
		off += at.len;
		len -= at.len;
	}
	return 0;
}

static int vdi_discard(struct image *img, uint64_t off, uint64_t len)
{
	return vdi_zero(img, off, len, true);
}

static int vdi_resize(struct image *img, uint64_t size, struct err *err)
{
	struct vdi *v = vdi_of(img);
	uint32_t bs = v->header.block_size, entry;
	uint64_t nr = (size + bs - 1) / bs, room = (v->header.data_off - v->header.map_off) / 4;
	int r = 0;

	if (!size)
		return err_set(err, -EINVAL, "a VDI disk has 512 bytes or more");
	if (nr > MIN(room, (uint64_t)VDI_MAX_BLOCKS))
		return err_set(err, -EOPNOTSUPP,
			       "the block map of this image has room for %" PRIu64
			       " blocks of %u bytes; convert it to a larger one",
			       room, bs);
	if (v->header.type == VDI_STATIC && nr != v->header.nr_blocks)
		return err_set(err, -EOPNOTSUPP, "a static VDI image keeps its size; convert it");
	for (uint64_t block = nr; block < v->header.nr_blocks && !r; block++) {
		r = entry_get(v, block, false, &entry);
		if (!r && entry < VDI_ZERO)
			return err_set(err, -EOPNOTSUPP,
				       "block %" PRIu64
				       " behind the new end has a place in the file, and "
				       "VDI cannot give it up; convert the image",
				       block);
	}
	/* The rest of a last block may hold anything. */
	if (!r && size > img->size)
		r = vdi_zero(img, img->size,
			     MIN(size, (uint64_t)v->header.nr_blocks * bs) - img->size, true);
	if (!r)
		r = tables_grow(&v->map, (nr + ENTRIES_IN_PAGE - 1) / ENTRIES_IN_PAGE);
	for (uint64_t block = v->header.nr_blocks; block < nr && !r; block++)
		r = entry_set(v, block, VDI_FREE);
	if (r < 0)
		return err_set(err, r, "resize: %s", strerror(-r));
	v->header.nr_blocks = (uint32_t)nr;
	v->header.size = img->size = size;
	v->is_header_old = true;
	return 0;
}

/* --- check, create, the rest ------------------------------------------------------------------ */

static int check_blocks(struct vdi *v, struct disk_check *c, uint8_t *used, uint32_t nr_places,
			uint32_t *ret_next)
{
	uint32_t last = 0, entry;

	*ret_next = 0;
	for (uint64_t block = 0; block < v->header.nr_blocks; block++) {
		const char *fault = NULL;
		int r = entry_get(v, block, false, &entry);

		if (r < 0 && r != -EILSEQ)
			return r;
		if (r == 0 && entry >= VDI_ZERO)
			continue;
		if (r < 0 || entry >= nr_places)
			fault = "lies behind the end of the file";
		else if (used[entry / 8] >> (entry % 8) & 1)
			fault = "shares its place with another one";
		if (fault) {
			r = c->fix_errors ? entry_set(v, block, VDI_FREE) : 0;
			check_error(c, c->fix_errors && !r, "block %" PRIu64 " (entry %u) %s",
				    block, entry, fault);
			if (r < 0)
				return r;
			continue;
		}
		if (place_of(v, entry + 1) > disk_file_size(v->img->file) && entry >= v->next)
			check_error(c, c->fix_errors,
				    "block %" PRIu64
				    " (entry %u) is cut off by the end of the file%s",
				    block, entry, c->fix_errors ? ": the rest is zero now" : "");
		used[entry / 8] |= (uint8_t)(1 << (entry % 8));
		*ret_next = MAX(*ret_next, entry + 1);
		c->fragmented += c->allocated && entry != last + 1;
		c->allocated++;
		last = entry;
	}
	return 0;
}

static int vdi_check(struct image *img, struct disk_check *c, struct err *err)
{
	struct vdi *v = vdi_of(img);
	_cleanup_(mem_freep) uint8_t *used = NULL;
	uint64_t size = disk_file_size(img->file);
	uint64_t bytes = size > v->header.data_off ? size - v->header.data_off : 0;
	uint32_t nr_places, next = 0, count = v->is_counted ? v->next : v->header.nr_allocated;
	bool fix = c->fix_errors || c->fix_leaks;
	int r;

	bytes = (bytes + v->header.block_size - 1) / v->header.block_size;
	nr_places = (uint32_t)MIN(MAX(bytes, (uint64_t)v->next), (uint64_t)VDI_MAX_BLOCKS);
	c->clusters = v->header.nr_blocks;
	r = mem_try(&used, nr_places / 8 + 1, VDI_MAX_BLOCKS);
	if (!r)
		r = check_blocks(v, c, used, nr_places, &next);
	if (r < 0)
		return err_set(err, r, "check: %s", strerror(-r));
	if (next > count)
		check_error(c, c->fix_errors, "the header counts %u blocks, the map has %u", count,
			    next);
	if (next < count && v->header.type == VDI_DYNAMIC)
		check_leak(c, fix, count - next, "%u places of the file are no block's",
			   count - next);
	c->file_end = place_of(v, next);
	if (!fix)
		return 0;
	v->next = v->header.nr_allocated = next;
	v->is_counted = true;
	v->is_header_old = true;
	if (v->header.type == VDI_DYNAMIC)
		r = disk_file_truncate(img->file, place_of(v, next));
	if (!r)
		r = vdi_flush(img);
	return r < 0 ? err_set(err, r, "repair: %s", strerror(-r)) : 0;
}

static const struct disk_option_info vdi_options[] = {
	{ "subformat", "dynamic (default), static (all blocks allocated)" },
	{ "block_size", "bytes, a power of two from 4K to 64M (default: 1M, what others expect)" },
	{ 0 },
};

static int take_options(const struct disk_create_opts *o, struct vdi_header *h, struct err *err)
{
	const char *subformat = create_option(o, "subformat"),
		   *text = create_option(o, "block_size");
	uint64_t block = BLOCK_DEFAULT, nr;
	int r = 0;

	h->type = VDI_DYNAMIC;
	if (subformat && !strcmp(subformat, "static"))
		h->type = VDI_STATIC;
	else if (subformat && strcmp(subformat, "dynamic"))
		return err_set(err, -EINVAL, "subformat '%.40s' is neither dynamic nor static",
			       subformat);
	if (text)
		r = str_parse_size(str_of(text), VDI_BLOCK_MIN, VDI_BLOCK_MAX, &block, err);
	if (!r && !is_pow2(block))
		r = err_set(err, -EINVAL, "%s is not a power of two", text);
	if (r < 0)
		return err_wrap(err, -EINVAL, "option block_size");
	nr = o->size / block + (o->size % block != 0);
	if (!nr || nr > VDI_MAX_BLOCKS)
		return err_set(err, -EINVAL, "a VDI disk has 1 to %u blocks of %u bytes",
			       VDI_MAX_BLOCKS, (unsigned int)block);
	h->size = o->size;
	h->block_size = (uint32_t)block;
	h->nr_blocks = (uint32_t)nr;
	h->nr_allocated = h->type == VDI_STATIC ? h->nr_blocks : 0;
	h->map_off = 512;
	h->data_off = (uint32_t)align_up(h->map_off + nr * 4, DATA_ALIGN);
	return 0;
}

static int vdi_create(struct disk_file *file, const struct disk_create_opts *o, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *p = NULL;
	struct vdi_header h = { 0 };
	uint64_t end;
	int r;

	if (o->backing)
		return err_set(err, -EOPNOTSUPP, "a VDI image cannot have a backing file here");
	r = take_options(o, &h, err);
	if (!r)
		r = guid_new(&h.uuid, err);
	if (!r)
		r = guid_new(&h.snapshot_uuid, err);
	if (!r)
		r = mem_try(&p, h.data_off, SIZE_MAX);
	if (r < 0)
		return r;
	vdi_header_put(&h, p);
	memset(p + h.map_off, 0xff, h.nr_blocks * 4);
	for (uint32_t i = 0; i < h.nr_allocated; i++)
		put_le32(p + h.map_off + i * 4, i);
	end = h.data_off + (uint64_t)h.nr_allocated * h.block_size;
	r = disk_file_truncate(file, end);
	if (!r)
		r = disk_file_write(file, 0, p, h.data_off);
	return r < 0 ? err_set(err, r, "write a new image: %s", strerror(-r)) : 0;
}

static bool vdi_probe(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail)
{
	return vdi_is(head, n);
}

static int vdi_info(struct image *img, struct disk_info *info, struct err *err)
{
	struct vdi *v = vdi_of(img);
	char text[GUID_TEXT_LEN + 1];

	detail_str(info, "subformat", "%s", v->header.type == VDI_STATIC ? "static" : "dynamic");
	detail_u64(info, "block-size", v->header.block_size);
	detail_u64(info, "allocated-blocks", v->is_counted ? v->next : v->header.nr_allocated);
	guid_text(&v->header.uuid, true, text);
	detail_str(info, "uuid", "%s", text);
	if (v->header.description[0])
		detail_str(info, "description", "%s", v->header.description);
	return 0;
}

const struct format format_vdi = {
	.name = "vdi",
	.long_name = "Oracle VirtualBox",
	.options = vdi_options,
	.probe = vdi_probe,
	.open = vdi_open,
	.close = vdi_close,
	.map = vdi_map,
	.first_write = vdi_first_write,
	.alloc = vdi_alloc,
	.link = vdi_link,
	.unalloc = vdi_unalloc,
	.zero = vdi_zero,
	.discard = vdi_discard,
	.flush = vdi_flush,
	.resize = vdi_resize,
	.create = vdi_create,
	.info = vdi_info,
	.check = vdi_check,
};
