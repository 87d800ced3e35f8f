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
#include "disk/nbd/client.h"
#include "sys/thread.h"

#define SIZE_MAX_BYTES (UINT64_C(1) << 62)

/* The backing file of an image that is going to be: it can be found again, and without a size the disk is as large. */
static int look_at_backing(const char *path, struct disk_create_opts *o, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf at = { 0 };
	_cleanup_(disk_closep) struct disk *disk = NULL;
	const struct disk_open_opts open = { .format = o->backing_format };
	int r = path_from_image(path, o->backing, &at, err);

	if (r < 0 || o->size)
		return r;
	r = disk_open(strbuf_cstr(&at), &open, &disk, err);
	if (r < 0)
		return err_wrap(err, r, "backing file");
	o->size = disk_size(disk);
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
	if (r == 0 && o.backing)
		r = look_at_backing(path, &o, err);
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

static char *copy(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

static int image_info(struct image *img, struct disk_info *ret, struct err *err)
{
	uint64_t host_bytes;
	int r = disk_file_host_bytes(img->file, &host_bytes);

	if (r < 0)
		return err_set(err, r, "'%s': %s", img->path, strerror(-r));
	*ret = (struct disk_info){
		.path = copy(img->path),
		.format = img->fmt->name,
		.file_bytes = disk_file_size(img->file),
		.host_bytes = host_bytes,
		.backing = copy(img->backing),
		.backing_format = copy(img->backing ? img->backing_format : NULL),
		.backing_path = img->below ? copy(img->below->path) : NULL,
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

int disk_info(struct disk *disk, unsigned depth, struct disk_info *ret, struct err *err)
{
	struct image *img;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&disk->graph);
	img = disk->top;
	while (img && depth--)
		img = img->below;
	if (img)
		r = image_info(img, ret, err);
	pthread_rwlock_unlock(&disk->graph);
	return r;
}

enum disk_servers disk_servers(struct disk *disk)
{
	enum disk_servers most = DISK_NO_SERVERS;

	pthread_rwlock_rdlock(&disk->graph);
	for (const struct image *img = disk->top; img; img = img->below)
		if (img->file->nbd)
			most = MAX(most, nbd_client_servers(img->file->nbd));
	pthread_rwlock_unlock(&disk->graph);
	return most;
}

void disk_info_done(struct disk_info *info)
{
	free(info->path);
	free(info->backing);
	free(info->backing_format);
	free(info->backing_path);
	free(info->snapshots);
	*info = (struct disk_info){ 0 };
}

/* --- the disk held still ---------------------------------------------------------------------- */

int disk_check(struct disk *disk, struct disk_check *check, struct err *err)
{
	struct image *top;
	struct disk_hold hold;
	int r = admin_begin(disk, err);

	if (r < 0)
		return r;
	top = disk->top;
	if (!top->fmt->check) {
		r = err_set(err, -EOPNOTSUPP, "format %s has nothing to check", top->fmt->name);
	} else if ((check->fix_leaks || check->fix_errors) && !(top->flags & DISK_RDWR)) {
		r = err_set(err, -EROFS, "'%s' is open for reading", top->path);
	} else {
		graph_stop(disk, &hold);
		mutex_lock(&top->lock);
		r = top->fmt->check(top, check, err);
		mutex_unlock(&top->lock);
		graph_go_on(disk, &hold);
	}
	admin_end(disk);
	return r;
}

enum change { RESIZE, SNAPSHOT_CREATE, SNAPSHOT_APPLY, SNAPSHOT_DELETE };

static bool can(const struct format *fmt, enum change what)
{
	switch (what) {
	case RESIZE:
		return fmt->resize;
	case SNAPSHOT_CREATE:
		return fmt->snapshot_create;
	case SNAPSHOT_APPLY:
		return fmt->snapshot_apply;
	case SNAPSHOT_DELETE:
		return fmt->snapshot_delete;
	}
	return false;
}

/* Everything stands still, and the top image may be changed; until end_change(). */
static int change(struct disk *disk, struct disk_hold *hold, enum change what, struct image **ret,
		  struct err *err)
{
	int r = admin_begin(disk, err);

	if (r < 0)
		return r;
	if (!can(disk->top->fmt, what)) {
		r = err_set(err, -EOPNOTSUPP, "format %s has no %s", disk->top->fmt->name,
			    what == RESIZE ? "way to resize an image" : "internal snapshots");
		admin_end(disk);
		return r;
	}
	graph_stop(disk, hold);
	*ret = disk->top;
	r = image_touch(disk->top);
	if (r < 0) {
		err_set(err, r, "'%s': %s", disk->top->path, strerror(-r));
		graph_go_on(disk, hold);
		admin_end(disk);
	}
	return r;
}

/* What was done is on the medium. */
static int end_change(struct disk *disk, struct disk_hold *hold, int r, struct err *err)
{
	struct image *top = disk->top;

	if (r == 0)
		r = image_flush(top, err);
	graph_set_top(disk, top);
	graph_go_on(disk, hold);
	admin_end(disk);
	return r;
}

int image_resize(struct image *top, uint64_t size, bool shrink, struct err *err)
{
	uint64_t old = top->size, behind = top->below ? top->below->size : 0, end;
	int r = 0;

	if (!top->fmt->resize)
		return err_set(err, -EOPNOTSUPP, "'%s' has format %s, which cannot be resized",
			       top->path, top->fmt->name);
	if (size < old && !shrink)
		return err_set(err, -EINVAL,
			       "%" PRIu64 " bytes are less than the present %" PRIu64
			       ", and what is behind them would be lost",
			       size, old);
	/* The rest of the last cluster, so that it is zero should the disk grow again. */
	if (size < old)
		r = graph_zero(top, size, MIN(old, align_up(size, top->cluster)) - size, false);
	if (r < 0)
		return err_set(err, r, "write zeros: %s", strerror(-r));
	mutex_lock(&top->lock);
	if (size != old)
		r = top->fmt->resize(top, size, err);
	mutex_unlock(&top->lock);
	if (r < 0 || size <= old)
		return r;
	/* A larger backing file must not show in what is new, nor what somebody else left behind the
	 * end of the last cluster. */
	end = MIN(size, MAX(behind, align_up(old, top->cluster)));
	r = end > old ? graph_zero(top, old, end - old, true) : 0;
	return r < 0 ? err_set(err, r, "write zeros: %s", strerror(-r)) : 0;
}

int disk_resize(struct disk *disk, uint64_t size, bool shrink, struct err *err)
{
	struct disk_hold hold;
	struct image *top;
	int r;

	if (size > SIZE_MAX_BYTES)
		return err_set(err, -EFBIG, "%" PRIu64 " bytes are too many for a disk", size);
	r = change(disk, &hold, RESIZE, &top, err);
	if (r < 0)
		return r;
	return end_change(disk, &hold, image_resize(top, align_up(size, 512), shrink, err), err);
}

int disk_snapshot_create(struct disk *disk, const char *name, uint64_t wall_ns, struct err *err)
{
	struct disk_hold hold;
	struct image *top;
	int r = change(disk, &hold, SNAPSHOT_CREATE, &top, err);

	if (r < 0)
		return r;
	mutex_lock(&top->lock);
	r = top->fmt->snapshot_create(top, name, wall_ns, err);
	mutex_unlock(&top->lock);
	return end_change(disk, &hold, r, err);
}

int disk_snapshot_apply(struct disk *disk, const char *name, struct err *err)
{
	struct disk_hold hold;
	struct image *top;
	int r = change(disk, &hold, SNAPSHOT_APPLY, &top, err);

	if (r < 0)
		return r;
	graph_changing(disk, 0, top->size);
	mutex_lock(&top->lock);
	r = top->fmt->snapshot_apply(top, name, err);
	mutex_unlock(&top->lock);
	return end_change(disk, &hold, r, err);
}

int disk_snapshot_delete(struct disk *disk, const char *name, struct err *err)
{
	struct disk_hold hold;
	struct image *top;
	int r = change(disk, &hold, SNAPSHOT_DELETE, &top, err);

	if (r < 0)
		return r;
	mutex_lock(&top->lock);
	r = top->fmt->snapshot_delete(top, name, err);
	mutex_unlock(&top->lock);
	return end_change(disk, &hold, r, err);
}
