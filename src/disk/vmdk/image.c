/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK images: opening and finding bytes.
 *
 * A descriptor says which extents make up the disk: flat files, or sparse ones with a directory of tables of
 * grains. It is a file of its own, or stands in the only extent, a sparse one:
 *
 *	header | descriptor | directory, tables (a copy) | directory, tables | grains
 *
 * and streams, whose grains are compressed and whose tables come last, since they are written in one go:
 *
 *	header | descriptor | (size, grain) ... | tables | directory | footer: header again | end
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/pack_priv.h"
#include "disk/vmdk/image_priv.h"

enum { MERGE_MAX = 4096, CLUSTER_FLAT = 64 << 10 };

#define GD_LIMIT (VMDK_MAX_TABLES * 4)

/* --- sparse extents --------------------------------------------------------------------------- */

static int gt_locate(void *arg, uint64_t page, uint64_t *ret_off)
{
	struct vmdk_part *p = arg;

	*ret_off = p->gd[page] ? (uint64_t)p->gd[page] * VMDK_SECTOR : UINT64_MAX;
	return 0;
}

static int read_directory(struct vmdk_part *p, uint64_t sector, uint32_t **ret, struct err *err)
{
	uint64_t n = vmdk_nr_tables(&p->header), size = disk_file_size(p->file);
	uint32_t *gd = NULL;
	int r;

	if (!range_ok(sector * VMDK_SECTOR, n * 4, size))
		return err_set(err, -EILSEQ,
			       "VMDK grain directory at sector %" PRIu64
			       " lies behind the end of the file",
			       sector);
	r = mem_try(&gd, n * 4, GD_LIMIT);
	if (!r)
		r = disk_file_read(p->file, sector * VMDK_SECTOR, gd, n * 4);
	if (r < 0) {
		free(gd);
		return err_set(err, r, "VMDK grain directory: %s", strerror(-r));
	}
	for (uint64_t i = 0; i < n; i++)
		gd[i] = get_le32(&gd[i]);
	*ret = gd;
	return 0;
}

/* The header at the end of a stream. */
static int read_footer(struct vmdk_part *p, struct err *err)
{
	uint64_t size = align_down(disk_file_size(p->file), VMDK_SECTOR);
	uint8_t raw[VMDK_HEADER_SIZE];
	int r;

	if (size < 3 * VMDK_SECTOR)
		return err_set(err, -EILSEQ, "VMDK stream is cut off");
	r = disk_file_read(p->file, size - 2 * VMDK_SECTOR, raw, sizeof(raw));
	if (r < 0)
		return err_set(err, r, "VMDK footer: %s", strerror(-r));
	if (!vmdk_is_sparse(raw, sizeof(raw)))
		return err_set(err, -EILSEQ,
			       "VMDK stream has no footer: it was not written to its end");
	r = vmdk_header_parse(raw, &p->header, err);
	if (!r && p->header.gd_off == VMDK_GD_AT_END)
		r = err_set(err, -EILSEQ, "VMDK footer does not say where the grain directory is");
	return r;
}

static int open_sparse(struct vmdk_part *p, uint64_t cache_bytes, struct err *err)
{
	uint8_t raw[VMDK_HEADER_SIZE];
	int r = disk_file_read(p->file, 0, raw, sizeof(raw));

	if (r < 0)
		return err_set(err, r, "VMDK header: %s", strerror(-r));
	r = vmdk_header_parse(raw, &p->header, err);
	if (!r && p->header.gd_off == VMDK_GD_AT_END) {
		p->is_stream = true;
		r = read_footer(p, err);
	}
	if (r < 0)
		return r;
	if (p->header.flags & VMDK_F_COMPRESSED && !(p->header.flags & VMDK_F_MARKERS))
		return err_set(err, -EOPNOTSUPP,
			       "VMDK extent has compressed grains without markers");
	if (p->header.capacity < p->bytes / VMDK_SECTOR)
		return err_set(err, -EILSEQ, "VMDK extent has %" PRIu64 " sectors, not %" PRIu64,
			       p->header.capacity, p->bytes / VMDK_SECTOR);
	r = read_directory(p, p->header.gd_off, &p->gd, err);
	if (!r && p->header.flags & VMDK_F_REDUNDANT && p->header.rgd_off)
		r = read_directory(p, p->header.rgd_off, &p->rgd, err);
	if (r < 0)
		return r;
	p->gt = (struct tables){
		.file = p->file,
		.page_bytes = p->header.nr_gtes * 4,
		.nr_pages = vmdk_nr_tables(&p->header),
		.locate = gt_locate,
		.arg = p,
	};
	p->space = (struct space){
		.file = p->file,
		.unit = vmdk_grain_bytes(p),
		.end = align_up(disk_file_size(p->file), vmdk_grain_bytes(p)),
	};
	r = tables_init(&p->gt, cache_bytes);
	return r < 0 ? err_set(err, r, "VMDK grain tables: out of memory") : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_text(struct vmdk *v, char **ret, size_t *ret_n, struct err *err)
{
	struct disk_file *f = v->img->file;
	uint64_t n = disk_file_size(f);
	uint8_t head[VMDK_HEADER_SIZE] = { 0 };
	struct vmdk_header h;
	int r = disk_file_read(f, 0, head, sizeof(head));

	if (r < 0)
		return err_set(err, r, "VMDK header: %s", strerror(-r));
	if (vmdk_is_sparse(head, sizeof(head))) {
		r = vmdk_header_parse(head, &h, err);
		if (!r && (!h.descriptor_off || !h.descriptor_sectors))
			r = err_set(
				err, -EINVAL,
				"this is one extent of a VMDK image: open the file with the descriptor");
		if (r < 0)
			return r;
		v->text_off = h.descriptor_off * VMDK_SECTOR;
		n = h.descriptor_sectors * VMDK_SECTOR;
		v->text_room = (uint32_t)n;
	} else if (!vmdk_is_descriptor(head, MIN(n, (uint64_t)sizeof(head)))) {
		return err_set(err, -EILSEQ, "not a VMDK image");
	}
	r = mem_try(ret, n + 1, VMDK_DESCRIPTOR_MAX + 1);
	if (!r)
		r = disk_file_read(f, v->text_off, *ret, n);
	if (r < 0)
		return err_set(err, r, "VMDK descriptor of %" PRIu64 " bytes: %s", n, strerror(-r));
	*ret_n = n;
	return 0;
}

static int open_part(struct vmdk *v, const struct vmdk_extent *e, struct vmdk_part *p,
		     struct err *err)
{
	struct image *img = v->img;
	unsigned int flags = img->flags;
	int r = 0;

	p->kind = e->kind;
	p->bytes = e->sectors * VMDK_SECTOR;
	p->flat_off = e->off * VMDK_SECTOR;
	if (e->kind == VMDK_EXTENT_ZERO || e->no_access)
		return 0;
	if (v->text_room) {
		/* The extent is the file itself, by whatever name it is known by now. */
		p->file = img->file;
		p->kind = VMDK_EXTENT_SPARSE;
	} else {
		if (!e->is_writable)
			flags &= ~(unsigned int)DISK_RDWR;
		r = disk_file_open_beside(img->file, e->name, flags, BESIDE_OPEN, &p->file, err);
		p->is_own = !r;
	}
	if (!r && p->kind == VMDK_EXTENT_SPARSE)
		r = open_sparse(p, img->cache_bytes / v->desc.nr_extents, err);
	if (!r && p->kind == VMDK_EXTENT_FLAT && p->is_own &&
	    !range_ok(p->flat_off, p->bytes, align_up(disk_file_size(p->file), VMDK_SECTOR)))
		r = err_set(err, -EILSEQ, "the file is too short for %" PRIu64 " bytes at %" PRIu64,
			    p->bytes, p->flat_off);
	return r < 0 ? err_wrap(err, r, "extent '%s'", e->name) : 0;
}

static int open_parts(struct vmdk *v, struct err *err)
{
	struct image *img = v->img;
	uint64_t start = 0;

	if (v->text_room && v->desc.nr_extents != 1)
		return err_set(err, -EILSEQ, "VMDK file describes %zu extents and is one itself",
			       v->desc.nr_extents);
	v->parts = mem_new_n(v->desc.nr_extents, sizeof(*v->parts));
	img->cluster = CLUSTER_FLAT;
	for (size_t i = 0; i < v->desc.nr_extents; i++) {
		struct vmdk_part *p = &v->parts[v->nr_parts++];
		int r;

		p->start = start;
		r = open_part(v, &v->desc.extents[i], p, err);
		if (r < 0)
			return r;
		if (p->kind == VMDK_EXTENT_SPARSE && p->file)
			img->cluster = (uint32_t)MAX((uint64_t)img->cluster, vmdk_grain_bytes(p));
		start += p->bytes;
	}
	for (size_t i = 0; i < v->nr_parts; i++)
		v->is_misaligned |= v->parts[i].start % img->cluster != 0;
	img->size = start;
	/* Smaller grains than a cluster: more of them are held, no harm done. */
	if (v->nr_parts == 1 && v->parts[0].gd)
		img->cluster = (uint32_t)vmdk_grain_bytes(&v->parts[0]);
	if (v->nr_parts == 1 && v->parts[0].header.flags & VMDK_F_COMPRESSED) {
		img->must_pack = true;
		img->pack_max = img->cluster + img->cluster / 1000 + 64;
	}
	return 0;
}

static void vmdk_close(struct image *img)
{
	struct vmdk *v = vmdk_of(img);

	for (size_t i = 0; i < v->nr_parts; i++) {
		struct vmdk_part *p = &v->parts[i];

		tables_done(&p->gt);
		space_done(&p->space);
		free(p->gd);
		free(p->rgd);
		if (p->is_own)
			disk_file_close(p->file);
	}
	free(v->parts);
	vmdk_descriptor_done(&v->desc);
	free(v);
	img->priv = NULL;
}

static int vmdk_open(struct image *img, struct err *err)
{
	_cleanup_(mem_freep) char *text = NULL;
	struct vmdk *v = mem_new(sizeof(*v));
	size_t n = 0;
	int r;

	img->priv = v;
	v->img = img;
	r = read_text(v, &text, &n, err);
	if (!r)
		r = vmdk_descriptor_parse((struct str){ text, n }, &v->desc, err);
	if (!r)
		r = open_parts(v, err);
	if (!r && v->desc.parent_cid != VMDK_NO_PARENT) {
		img->backing = mem_strdup(v->desc.parent_hint);
		img->backing_format = mem_strdup("vmdk");
	}
	return r;
}

static int vmdk_check_below(struct image *img, struct image *below, struct err *err)
{
	struct vmdk *v = vmdk_of(img);

	if (below->fmt != &format_vmdk)
		return err_set(err, -EINVAL, "the parent of a VMDK image must be one, too");
	if (v->desc.parent_cid != vmdk_of(below)->desc.cid)
		return err_set(err, -EILSEQ,
			       "the parent was written to since this image was made: its CID is %08x, not "
			       "%08x",
			       vmdk_of(below)->desc.cid, v->desc.parent_cid);
	return 0;
}

/* --- finding bytes ---------------------------------------------------------------------------- */

struct vmdk_part *vmdk_part_at(struct vmdk *v, uint64_t off)
{
	size_t low = 0, high = v->nr_parts - 1;

	while (low < high) {
		size_t mid = (low + high + 1) / 2;

		if (v->parts[mid].start <= off)
			low = mid;
		else
			high = mid - 1;
	}
	return &v->parts[low];
}

int vmdk_gte_get(struct vmdk_part *p, uint64_t grain, bool is_cached, uint32_t *ret)
{
	uint64_t limit = MAX(disk_file_size(p->file), p->space.end);
	uint8_t *page;
	int r = tables_get(&p->gt, grain / p->header.nr_gtes, is_cached, &page);

	if (r < 0)
		return r;
	*ret = get_le32(page + grain % p->header.nr_gtes * 4);
	if (*ret == VMDK_GTE_ZERO && p->header.flags & VMDK_F_ZERO_GRAINS)
		return 0;
	return *ret && (uint64_t)*ret * VMDK_SECTOR >= limit ? -EILSEQ : 0;
}

static int map_grain(struct vmdk *v, struct vmdk_part *p, uint64_t off, uint64_t len,
		     bool is_cached, struct where_at *ret)
{
	uint64_t bytes = vmdk_grain_bytes(p), in_part = off - p->start, grain = in_part / bytes;
	uint32_t gte;
	int r = vmdk_gte_get(p, grain, is_cached, &gte);

	if (r < 0)
		return r;
	*ret = (struct where_at){
		.where = v->desc.parent_cid == VMDK_NO_PARENT ? WHERE_ZERO : WHERE_BELOW,
		.off = off,
		.len = MIN(len, bytes - in_part % bytes),
	};
	if (!gte)
		return 0;
	if (gte == VMDK_GTE_ZERO && p->header.flags & VMDK_F_ZERO_GRAINS) {
		ret->where = WHERE_ZERO;
		return 0;
	}
	ret->file = p->file;
	if (p->header.flags & VMDK_F_COMPRESSED) {
		ret->where = WHERE_PACKED;
		ret->packed = gte;
		ret->unit_off = p->start + grain * bytes;
		ret->unit_len = (uint32_t)bytes;
		return 0;
	}
	ret->where = WHERE_DATA;
	ret->in_place = true;
	ret->host_off = (uint64_t)gte * VMDK_SECTOR + in_part % bytes;
	return 0;
}

static int map_part(struct vmdk *v, struct vmdk_part *p, uint64_t off, uint64_t len, unsigned flags,
		    struct where_at *ret)
{
	len = MIN(len, p->start + p->bytes - off);
	if (p->kind == VMDK_EXTENT_SPARSE && p->file)
		return map_grain(v, p, off, len, flags & MAP_CACHED, ret);
	*ret = (struct where_at){ .where = WHERE_ZERO, .off = off, .len = len };
	if (!p->file)
		return 0;
	ret->where = WHERE_DATA;
	ret->in_place = true;
	ret->is_flat = true;
	ret->file = p->file;
	ret->host_off = p->flat_off + (off - p->start);
	return 0;
}

static int vmdk_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		    struct where_at *ret)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_part *p = vmdk_part_at(v, off);
	int r = map_part(v, p, off, len, flags, ret);

	/* Grains that follow each other in the file are one extent. */
	for (unsigned int n = 0; !r && p->gd && ret->where != WHERE_PACKED && ret->len < len &&
				 off + ret->len < p->start + p->bytes && n < MERGE_MAX;
	     n++) {
		struct where_at next;

		if (map_part(v, p, off + ret->len, len - ret->len, MAP_CACHED, &next) < 0 ||
		    next.where != ret->where ||
		    (next.where == WHERE_DATA && next.host_off != ret->host_off + ret->len))
			break;
		ret->len += next.len;
	}
	return r;
}

int vmdk_unpack(struct image *img, const struct where_at *at, void *buf)
{
	_cleanup_(mem_freep) uint8_t *packed = NULL;
	struct vmdk *v = vmdk_of(img);
	uint64_t place = at->packed * VMDK_SECTOR, sector;
	uint8_t head[VMDK_MARKER_SIZE];
	const struct vmdk_part *p;
	struct vmdk_marker m;
	size_t need;
	int r = disk_file_read(at->file, place, head, sizeof(head));

	if (!r)
		r = vmdk_marker_parse(head, at->unit_len, &m, NULL);
	if (r < 0)
		return r;
	p = vmdk_part_at(v, at->unit_off);
	sector = (at->unit_off - p->start) / VMDK_SECTOR;
	/* The last grain may end with the disk. */
	need = (size_t)MIN((uint64_t)at->unit_len, p->start + p->bytes - at->unit_off);
	if (!m.size || m.value != sector)
		return -EILSEQ;
	r = mem_try(&packed, m.size, 2 * VMDK_GRAIN_MAX * (size_t)VMDK_SECTOR);
	if (!r)
		r = disk_file_read(at->file, place + VMDK_GRAIN_HEADER, packed, m.size);
	if (!r)
		r = pack_expand(PACK_ZLIB, packed, m.size, buf, need);
	if (!r)
		memset((uint8_t *)buf + need, 0, at->unit_len - need);
	return r;
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool vmdk_probe(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail)
{
	return vmdk_is_sparse(head, n) || vmdk_is_descriptor(head, n);
}

static int vmdk_info(struct image *img, struct disk_info *info, struct err *err)
{
	struct vmdk *v = vmdk_of(img);
	uint64_t host_bytes;
	int r;

	detail_str(info, "subformat", "%s", v->desc.create_type);
	detail_str(info, "cid", "%08x", v->desc.cid);
	if (v->desc.parent_cid != VMDK_NO_PARENT)
		detail_str(info, "parent-cid", "%08x", v->desc.parent_cid);
	if (v->desc.adapter)
		detail_str(info, "adapter", "%s", v->desc.adapter);
	detail_u64(info, "extents", v->nr_parts);
	if (v->parts[0].gd)
		detail_u64(info, "grain-size", vmdk_grain_bytes(&v->parts[0]));
	for (size_t i = 0; i < v->nr_parts; i++) {
		struct vmdk_part *p = &v->parts[i];

		info->is_dirty |= p->gd && p->header.is_unclean;
		if (!p->is_own)
			continue;
		r = disk_file_host_bytes(p->file, &host_bytes);
		if (r < 0)
			return err_set(err, r, "'%s': %s", p->file->path, strerror(-r));
		info->file_bytes += disk_file_size(p->file);
		info->host_bytes += host_bytes;
	}
	return 0;
}

const struct format format_vmdk = {
	.name = "vmdk",
	.long_name = "VMware",
	.options = vmdk_options,
	.probe = vmdk_probe,
	.open = vmdk_open,
	.close = vmdk_close,
	.check_below = vmdk_check_below,
	.map = vmdk_map,
	.unpack = vmdk_unpack,
	.first_write = vmdk_first_write,
	.alloc = vmdk_alloc,
	.link = vmdk_link,
	.unalloc = vmdk_unalloc,
	.zero = vmdk_zero,
	.discard = vmdk_discard,
	.flush = vmdk_flush,
	.finish = vmdk_finish,
	.resize = vmdk_resize,
	.pack = vmdk_pack,
	.write_packed = vmdk_write_packed,
	.create = vmdk_create,
	.info = vmdk_info,
	.check = vmdk_check,
};
