/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done to an image as a whole: making one, asking it, checking, resizing, snapshots. Each is a
 * question to the format with the disk held still around it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"
#include "sys/thread.h"

#define SIZE_MAX_BYTES (UINT64_C(1) << 62)

/* The size of the backing file that an image is going to have. */
static int backing_size(const char *path, const struct disk_create_opts *o, uint64_t *ret,
			struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf at = { 0 };
	_cleanup_(disk_closep) struct disk *disk = NULL;
	const struct disk_open_opts open = { .format = o->backing_format };
	int r;

	path_from_image(path, o->backing, &at);
	r = disk_open(strbuf_cstr(&at), &open, &disk, err);
	if (r < 0)
		return err_wrap(err, r, "backing file");
	*ret = disk_size(disk);
	return 0;
}

int disk_create(const char *path, const char *format, const struct disk_create_opts *opts,
		struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf names = { 0 };
	_cleanup_(disk_file_closep) struct disk_file *f = NULL;
	const struct format *fmt = format_find(format);
	struct disk_create_opts o = *opts;
	int r;

	format_names(&names);
	if (!fmt)
		return err_set(err, -EINVAL, "format '%.40s' is none of %s", format,
			       strbuf_cstr(&names));
	if (!fmt->create)
		return err_set(err, -EOPNOTSUPP, "images of format %s can only be read", fmt->name);
	if (o.backing && !o.backing_format)
		return err_set(err, -EINVAL, "the format of the backing file is not given");
	if (o.backing && !format_find(o.backing_format))
		return err_set(err, -EINVAL, "format '%.40s' of the backing file is none of %s",
			       o.backing_format, strbuf_cstr(&names));
	/* The name that other programs know. */
	if (o.backing && format_find(o.backing_format)->alias)
		o.backing_format = format_find(o.backing_format)->alias;
	r = create_check_options(&o, fmt->options, err);
	if (r == 0 && o.backing && !o.size)
		r = backing_size(path, &o, &o.size, err);
	if (r < 0)
		return r;
	if (o.size > SIZE_MAX_BYTES)
		return err_set(err, -EFBIG, "%" PRIu64 " bytes are too many for a disk", o.size);
	o.size = align_up(o.size, 512);
	r = disk_file_create(path, o.observer, &f, err);
	if (r == 0) {
		r = fmt->create(f, &o, err);
		if (r < 0)
			err_wrap(err, r, "'%s'", path);
	}
	return r;
}

int disk_info(struct disk *disk, unsigned depth, struct disk_info *ret, struct err *err)
{
	struct image *img = disk->top;
	uint64_t host_bytes;
	int r;

	while (img && depth--)
		img = img->below;
	if (!img)
		return -ENOENT;
	r = disk_file_host_bytes(img->file, &host_bytes);
	if (r < 0)
		return err_set(err, r, "'%s': %s", img->path, strerror(-r));
	*ret = (struct disk_info){
		.path = img->path,
		.format = img->fmt->name,
		.file_bytes = disk_file_size(img->file),
		.host_bytes = host_bytes,
		.backing = img->backing,
		.backing_format = img->backing_format,
		.backing_path = img->below ? img->below->path : NULL,
	};
	mutex_guard(&img->lock);
	ret->size = img->size;
	if (img->fmt->alloc)
		ret->cluster = img->cluster;
	if (img->fmt->info)
		r = img->fmt->info(img, ret, err);
	if (r < 0)
		disk_info_done(ret);
	return r;
}

void disk_info_done(struct disk_info *info)
{
	free(info->snapshots);
	info->snapshots = NULL;
	info->nr_snapshots = 0;
}

/* The whole disk, with nothing in flight. */
static void stop(struct disk *disk, struct disk_hold *hold)
{
	range_take(&disk->ranges, hold, 0, UINT64_MAX, true);
	mutex_lock(&disk->top->lock);
}

static void go_on(struct disk *disk, struct disk_hold *hold)
{
	mutex_unlock(&disk->top->lock);
	range_release(&disk->ranges, hold);
}

int disk_check(struct disk *disk, struct disk_check *check, struct err *err)
{
	struct image *top = disk->top;
	struct disk_hold hold;
	int r;

	if (!top->fmt->check)
		return err_set(err, -EOPNOTSUPP, "format %s has nothing to check", top->fmt->name);
	if ((check->fix_leaks || check->fix_errors) && !(top->flags & DISK_RDWR))
		return err_set(err, -EROFS, "'%s' is open for reading", top->path);
	stop(disk, &hold);
	r = top->fmt->check(top, check, err);
	go_on(disk, &hold);
	return r;
}

static int change(struct disk *disk, struct disk_hold *hold, bool has_it, const char *what,
		  struct err *err)
{
	struct image *top = disk->top;
	int r;

	if (!has_it)
		return err_set(err, -EOPNOTSUPP, "format %s has no %s", top->fmt->name, what);
	r = image_touch(top);
	if (r < 0)
		return err_wrap(err, r, "'%s'", top->path);
	stop(disk, hold);
	return 0;
}

static int end_change(struct disk *disk, struct disk_hold *hold, int r, struct err *err)
{
	if (r == 0) {
		r = disk->top->fmt->flush(disk->top);
		if (r < 0)
			err_wrap(err, r, "write to '%s'", disk->top->path);
	}
	go_on(disk, hold);
	return r;
}

int disk_resize(struct disk *disk, uint64_t size, bool shrink, struct err *err)
{
	struct image *top = disk->top;
	uint64_t old = disk_size(disk), behind, end;
	struct disk_hold hold;
	int r = 0;

	if (size > SIZE_MAX_BYTES)
		return err_set(err, -EFBIG, "%" PRIu64 " bytes are too many for a disk", size);
	size = align_up(size, 512);
	/* The rest of the last cluster, so that it is zero should the disk grow again. */
	if (size < old && shrink)
		r = disk_zero(disk, size, MIN(old, align_up(size, top->cluster)) - size, false);
	if (r < 0)
		return err_set(err, r, "write zeros: %s", strerror(-r));
	r = change(disk, &hold, top->fmt->resize, "way to resize an image", err);
	if (r < 0)
		return r;
	if (size < top->size && !shrink)
		r = err_set(err, -EINVAL,
			    "%" PRIu64 " bytes are less than the present %" PRIu64
			    ", and what is behind them would be lost",
			    size, top->size);
	else if (size != top->size)
		r = top->fmt->resize(top, size, err);
	r = end_change(disk, &hold, r, err);
	if (r < 0 || size <= old)
		return r;
	/* A larger backing file must not show in what is new, nor what somebody else left behind the
	 * end of the last cluster. */
	behind = top->below ? top->below->size : 0;
	end = MIN(size, MAX(behind, align_up(old, top->cluster)));
	r = end > old ? disk_zero(disk, old, end - old, true) : 0;
	return r < 0 ? err_set(err, r, "write zeros: %s", strerror(-r)) : 0;
}

int disk_snapshot_create(struct disk *disk, const char *name, uint64_t wall_ns, struct err *err)
{
	struct image *top = disk->top;
	struct disk_hold hold;
	int r = change(disk, &hold, top->fmt->snapshot_create, "internal snapshots", err);

	if (r < 0)
		return r;
	return end_change(disk, &hold, top->fmt->snapshot_create(top, name, wall_ns, err), err);
}

int disk_snapshot_apply(struct disk *disk, const char *name, struct err *err)
{
	struct image *top = disk->top;
	struct disk_hold hold;
	int r = change(disk, &hold, top->fmt->snapshot_apply, "internal snapshots", err);

	return r < 0 ? r : end_change(disk, &hold, top->fmt->snapshot_apply(top, name, err), err);
}

int disk_snapshot_delete(struct disk *disk, const char *name, struct err *err)
{
	struct image *top = disk->top;
	struct disk_hold hold;
	int r = change(disk, &hold, top->fmt->snapshot_delete, "internal snapshots", err);

	return r < 0 ? r : end_change(disk, &hold, top->fmt->snapshot_delete(top, name, err), err);
}
