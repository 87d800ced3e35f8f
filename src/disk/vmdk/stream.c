/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed grains, which are put one behind the other.
 *
 * A stream is written in one go: grains as they come, and when the image is given up the tables, the
 * directory, and a footer. Whoever adds to a finished one takes all tables into memory and cuts them off first; until
 * the image is given up again it cannot be read, so this is for images that are being made. What QEMU calls a stream
 * has its tables in front and is kept like any sparse extent.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/pack_priv.h"
#include "disk/vmdk/image_priv.h"

int vmdk_pack(struct image *img, const void *buf, void *out, size_t *ret_bytes)
{
	if (!img->must_pack)
		return -EOPNOTSUPP;
	return pack_squeeze(PACK_ZLIB, buf, img->cluster, out, img->pack_max, ret_bytes);
}

/* The first byte behind all grains; their tables come into memory and stay. */
static int find_end(struct vmdk_part *p, uint64_t *ret)
{
	uint64_t end = p->header.overhead * VMDK_SECTOR;
	uint32_t last = 0;

	for (uint64_t i = 0; i < p->gt.nr_pages; i++) {
		uint8_t *page;
		int r;

		if (!p->gd[i])
			continue;
		r = tables_get(&p->gt, i, false, &page);
		if (r < 0)
			return r;
		tables_dirty(&p->gt, i);
		for (uint32_t k = 0; k < p->header.nr_gtes; k++)
			last = MAX(last, get_le32(page + 4 * k));
	}
	if (last > VMDK_GTE_ZERO) {
		uint8_t head[VMDK_MARKER_SIZE];
		struct vmdk_marker m;
		int r = disk_file_read(p->file, (uint64_t)last * VMDK_SECTOR, head, sizeof(head));

		if (!r)
			r = vmdk_marker_parse(head, vmdk_grain_bytes(p), &m, NULL);
		if (r < 0)
			return r;
		end = MAX(end, (uint64_t)last * VMDK_SECTOR + VMDK_GRAIN_HEADER + m.size);
	}
	*ret = align_up(end, VMDK_SECTOR);
	return 0;
}

static int stream_begin(struct vmdk_part *p)
{
	uint64_t end;
	int r;

	if (p->is_stream_open)
		return 0;
	if (p->is_stream) {
		r = find_end(p, &end);
		if (!r)
			r = disk_file_truncate(p->file, end);
		if (r < 0)
			return r;
		/* They are nowhere now. */
		memset(p->gd, 0, p->gt.nr_pages * sizeof(*p->gd));
		p->space.end = end;
		p->is_stream_open = true;
	} else if (p->space.end != disk_file_size(p->file)) {
		p->space.end = align_up(disk_file_size(p->file), VMDK_SECTOR);
	}
	return 0;
}

int vmdk_write_packed(struct image *img, uint64_t off, const void *packed, size_t bytes)
{
	struct vmdk_part *p = vmdk_part_at(vmdk_of(img), off);
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	uint64_t grain, place, size = align_up(VMDK_GRAIN_HEADER + bytes, VMDK_SECTOR);
	struct vmdk_marker m;
	uint32_t gte;
	int r;

	if (!p->gd || !(p->header.flags & VMDK_F_COMPRESSED))
		return -EOPNOTSUPP;
	grain = (off - p->start) / vmdk_grain_bytes(p);
	r = vmdk_gte_get(p, grain, false, &gte);
	if (!r && gte > VMDK_GTE_ZERO)
		r = -EEXIST;
	if (!r)
		r = stream_begin(p);
	place = p->space.end;
	if (!r && place / VMDK_SECTOR > UINT32_MAX)
		r = -EFBIG;
	if (!r)
		r = mem_try(&buf, size, 4 * VMDK_GRAIN_MAX * (size_t)VMDK_SECTOR);
	if (r < 0)
		return r;
	m = (struct vmdk_marker){ .value = grain * p->header.grain, .size = (uint32_t)bytes };
	vmdk_marker_put(&m, buf);
	memcpy(buf + VMDK_GRAIN_HEADER, packed, bytes);
	r = disk_file_write(p->file, place, buf, size);
	if (r < 0)
		return r;
	p->space.end += size;
	r = vmdk_gte_set(p, grain, (uint32_t)(place / VMDK_SECTOR));
	if (!r && !p->is_stream && tables_is_full(&p->gt))
		r = vmdk_flush(img);
	return r;
}

/* A marker, and what it announces. */
static int put(struct vmdk_part *p, enum vmdk_marker_type type, const void *data, uint64_t bytes)
{
	uint64_t size = VMDK_SECTOR + align_up(bytes, VMDK_SECTOR);
	struct vmdk_marker m = { .value = size / VMDK_SECTOR - 1, .type = type };
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	int r = mem_try(&buf, size, VMDK_MAX_TABLES * 4 + 2 * VMDK_SECTOR);

	if (r < 0)
		return r;
	vmdk_marker_put(&m, buf);
	if (bytes)
		memcpy(buf + VMDK_SECTOR, data, bytes);
	r = disk_file_write(p->file, p->space.end, buf, size);
	p->space.end += size;
	return r;
}

int vmdk_stream_end(struct vmdk_part *p)
{
	_cleanup_(mem_freep) uint8_t *gd = NULL;
	struct vmdk_header footer = p->header;
	uint8_t raw[VMDK_HEADER_SIZE];
	int r = mem_try(&gd, p->gt.nr_pages * 4, VMDK_MAX_TABLES * 4);

	tables_sort(&p->gt);
	for (uint32_t i = 0; i < p->gt.nr_dirty && !r; i++) {
		uint64_t page = p->gt.dirty[i];

		p->gd[page] = (uint32_t)(p->space.end / VMDK_SECTOR) + 1;
		put_le32(gd + 4 * page, p->gd[page]);
		r = put(p, VMDK_MARK_GT, p->gt.page[page], p->gt.page_bytes);
	}
	footer.gd_off = p->space.end / VMDK_SECTOR + 1;
	if (!r)
		r = put(p, VMDK_MARK_GD, gd, p->gt.nr_pages * 4);
	vmdk_header_put(&footer, raw);
	if (!r)
		r = put(p, VMDK_MARK_FOOTER, raw, sizeof(raw));
	if (!r)
		r = put(p, VMDK_MARK_EOS, NULL, 0);
	if (!r)
		r = disk_file_sync(p->file);
	if (r < 0)
		return r;
	tables_clean(&p->gt, p->gt.nr_dirty);
	p->header = footer;
	p->is_stream_open = false;
	return 0;
}
