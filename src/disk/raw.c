/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The format without a format: byte n of the disk is byte n of the file. It has the whole interface, so
 * that nothing else needs to know that it is special.
 *
 * Raw is never recognized, only told or left over: anything a guest writes at its beginning is data.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "disk/format_priv.h"

#define RAW_CLUSTER 4096 /* for the range lock: a block of the host */

static int raw_open(struct image *img, struct err *err)
{
	/* A part of a sector at the end reads zero behind the end of the file. */
	img->size = align_up(disk_file_size(img->file), 512);
	img->cluster = RAW_CLUSTER;
	img->zero_unit = 1;
	img->priv = img;
	return 0;
}

static void raw_close(struct image *img)
{
}

static int raw_finish(struct image *img)
{
	/* O_DIRECT writes whole blocks: there are zeros behind the end. */
	return disk_file_size(img->file) > img->size ? disk_file_truncate(img->file, img->size) : 0;
}

static int raw_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		   struct where_at *ret)
{
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

static int raw_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	return disk_file_zero(img->file, off, len, unmap);
}

static int raw_discard(struct image *img, uint64_t off, uint64_t len)
{
	int r = disk_file_punch(img->file, off, len);

	return r == -EOPNOTSUPP ? 0 : r;
}

static int raw_flush(struct image *img)
{
	return disk_file_sync(img->file);
}

static int raw_resize(struct image *img, uint64_t size, struct err *err)
{
	int r = disk_file_truncate(img->file, size);

	if (r < 0)
		return err_set(err, r, "make the file %llu bytes long: %s",
			       (unsigned long long)size, strerror(-r));
	img->size = size;
	return 0;
}

static const struct disk_option_info raw_options[] = {
	{ "preallocation", "off (a sparse file), falloc (space reserved), full (zeros written)" },
	{ 0 },
};

static int raw_create(struct disk_file *file, const struct disk_create_opts *o, struct err *err)
{
	const char *pre = create_option(o, "preallocation");
	int r;

	if (o->backing)
		return err_set(err, -EINVAL, "a raw image cannot have a backing file");
	r = disk_file_truncate(file, o->size);
	if (r == 0 && pre && strcmp(pre, "falloc") == 0)
		r = disk_file_reserve(file, 0, o->size);
	else if (r == 0 && pre && strcmp(pre, "full") == 0)
		r = disk_file_fill_zero(file, 0, o->size);
	else if (r == 0 && pre && strcmp(pre, "off") != 0)
		return err_set(err, -EINVAL, "preallocation '%.40s' is none of off, falloc, full",
			       pre);
	return r < 0 ? err_set(err, r, "make room: %s", strerror(-r)) : 0;
}

const struct format format_raw = {
	.name = "raw",
	.long_name = "raw bytes",
	.options = raw_options,
	.open = raw_open,
	.close = raw_close,
	.map = raw_map,
	.zero = raw_zero,
	.discard = raw_discard,
	.flush = raw_flush,
	.finish = raw_finish,
	.resize = raw_resize,
	.create = raw_create,
};
