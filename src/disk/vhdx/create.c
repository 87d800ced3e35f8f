/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New VHDX images.
 *
 *	0 header section | 1 MiB log | metadata | block table | blocks of a fixed image
 *
 * The table gets whole MiB, so that an image of 32 MiB blocks can later grow to 4 TiB where it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/vhdx/image_priv.h"

const struct disk_option_info vhdx_options[] = {
	{ "subformat", "dynamic (default), fixed (all blocks allocated)" },
	{ "block_size",
	  "bytes, a power of two from 1M to 256M (default: by the size of the disk)" },
	{ "log_size", "bytes, a multiple of 1M (default: 1M)" },
	{ "logical_sector_size", "512 (default) or 4096" },
	{ 0 },
};

static int take_size(const struct disk_create_opts *o, const char *name, uint64_t min, uint64_t max,
		     uint64_t unit, uint64_t *value, struct err *err)
{
	const char *text = create_option(o, name);
	int r;

	if (!text)
		return 0;
	r = str_parse_size(str_of(text), min, max, value, err);
	if (r < 0)
		return err_wrap(err, -EINVAL, "option %s", name);
	if (*value % unit)
		return err_set(err, -EINVAL, "option %s: %s is not a multiple of %llu", name, text,
			       (unsigned long long)unit);
	return 0;
}

static int take_options(const struct disk_create_opts *o, struct vhdx_metadata *m,
			uint64_t *log_size, struct err *err)
{
	const char *subformat = create_option(o, "subformat");
	uint64_t block = 8 * VHDX_MIB, sector = 512;
	int r;

	if (o->size > VHDX_GIB)
		block = 16 * VHDX_MIB;
	if (o->size > 100 * VHDX_GIB)
		block = 32 * VHDX_MIB;
	if (o->size > 32 * VHDX_TIB)
		block = 64 * VHDX_MIB;
	r = take_size(o, "block_size", VHDX_MIB, 256 * VHDX_MIB, VHDX_MIB, &block, err);
	if (!r)
		r = take_size(o, "log_size", VHDX_MIB, VHDX_LOG_MAX, VHDX_MIB, log_size, err);
	if (!r)
		r = take_size(o, "logical_sector_size", 512, 4096, 512, &sector, err);
	if (r < 0)
		return r;
	if (!is_pow2(block))
		return err_set(err, -EINVAL, "option block_size: %llu is not a power of two",
			       (unsigned long long)block);
	if (sector != 512 && sector != 4096)
		return err_set(err, -EINVAL, "option logical_sector_size is neither 512 nor 4096");
	if (subformat && strcmp(subformat, "dynamic") && strcmp(subformat, "fixed"))
		return err_set(err, -EINVAL, "subformat '%.40s' is neither dynamic nor fixed",
			       subformat);
	*m = (struct vhdx_metadata){
		.block_size = (uint32_t)block,
		.is_fixed = subformat && !strcmp(subformat, "fixed"),
		.has_parent = o->backing != NULL,
		.size = o->size,
		.logical_sector = (uint32_t)sector,
		.physical_sector = 4096,
	};
	if (!m->size || m->size > VHDX_MAX_SIZE || m->size % sector)
		return err_set(err, -EINVAL,
			       "a VHDX disk has a multiple of %llu bytes, from there to 64 TiB",
			       (unsigned long long)sector);
	if (m->is_fixed && m->has_parent)
		return err_set(err, -EINVAL, "a fixed VHDX image has no backing file");
	return guid_new(&m->disk_id, err);
}

/* What a differencing image says about its parent, which is read for that. */
static int make_locator(const struct disk_file *file, const struct disk_create_opts *o,
			struct strbuf *ret, struct err *err)
{
	struct vhdx_locator l = { .has_linkage = true };
	char id[DISK_DETAIL_MAX];
	int r;

	if (strcmp(o->backing_format, "vhdx"))
		return err_set(err, -EINVAL, "the parent of a VHDX image must be one, too");
	r = create_ask_parent(file, o, "vhdx", "data-write-id", id, NULL, err);
	if (r < 0)
		return r;
	r = id[0] ? guid_parse(str_of(id), true, &l.linkage) : -EINVAL;
	if (!r) {
		l.relative_path = mem_strdup(o->backing);
		for (char *s = l.relative_path; *s; s++)
			if (*s == '/')
				*s = '\\';
		vhdx_locator_put(&l, ret);
		vhdx_locator_done(&l);
	}
	return r;
}

static int put_tables(struct disk_file *f, const struct vhdx_regions *regions,
		      struct vhdx_metadata *m, const struct strbuf *locator)
{
	_cleanup_(mem_freep) uint8_t *metadata = mem_new(regions->metadata_length);
	struct vhdx_shape shape = vhdx_shape_of(m);
	uint64_t place = regions->bat_off + regions->bat_length;
	uint64_t end = place + (m->is_fixed ? shape.nr_blocks * m->block_size : 0);
	int r;

	vhdx_metadata_put(m, metadata, regions->metadata_length,
			  (const uint8_t *)strbuf_cstr(locator), locator->n);
	/* The block table of a dynamic image is all zeros. */
	r = disk_file_truncate(f, end);
	if (!r)
		r = disk_file_write(f, regions->metadata_off, metadata, regions->metadata_length);
	for (uint64_t block = 0; m->is_fixed && block < shape.nr_blocks && !r;) {
		enum { N = 8192 };
		_cleanup_(mem_freep) uint8_t *part = mem_new(8 * (N + 1));
		uint64_t index = vhdx_bat_index(&shape, block), n = 0;

		/* Up to the next entry of a bitmap, which stays zero. */
		do {
			put_le64(part + 8 * n++, (place + block * m->block_size) | VHDX_PRESENT);
			block++;
		} while (n < N && block < shape.nr_blocks && block % shape.chunk_ratio);
		r = disk_file_write(f, regions->bat_off + 8 * index, part, 8 * n);
	}
	return r;
}

static int put_header_section(struct disk_file *f, const struct vhdx_regions *regions,
			      uint64_t log_size)
{
	_cleanup_(mem_freep) uint8_t *p = mem_new(VHDX_MIB);
	struct vhdx_header h = {
		.version = 1,
		.log_length = (uint32_t)log_size,
		.log_off = VHDX_MIB,
	};
	int r = guid_new(&h.file_write, NULL);

	if (!r)
		r = guid_new(&h.data_write, NULL);
	if (r < 0)
		return r;
	vhdx_identifier_put(p, "Atoll");
	vhdx_header_put(&h, p + VHDX_HEADER1_OFF);
	h.seq++;
	vhdx_header_put(&h, p + VHDX_HEADER2_OFF);
	vhdx_regions_put(regions, p + VHDX_REGIONS1_OFF);
	vhdx_regions_put(regions, p + VHDX_REGIONS2_OFF);
	return disk_file_write(f, 0, p, VHDX_MIB);
}

int vhdx_create(struct disk_file *file, const struct disk_create_opts *o, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf locator = { 0 };
	struct vhdx_regions regions = { .metadata_length = VHDX_MIB };
	uint64_t log_size = VHDX_MIB;
	struct vhdx_metadata m;
	struct vhdx_shape shape;
	int r;

	r = take_options(o, &m, &log_size, err);
	if (!r && m.has_parent)
		r = make_locator(file, o, &locator, err);
	if (r < 0)
		return r;
	shape = vhdx_shape_of(&m);
	regions.metadata_off = VHDX_MIB + log_size;
	regions.bat_off = regions.metadata_off + regions.metadata_length;
	regions.bat_length = (uint32_t)align_up(shape.nr_entries * 8, VHDX_MIB);
	r = put_tables(file, &regions, &m, &locator);
	if (!r)
		r = put_header_section(file, &regions, log_size);
	return r < 0 ? err_set(err, r, "write a new image: %s", strerror(-r)) : 0;
}
