/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening a disk: the image, then the file that it names as its backing file, and so on.
 *
 * Everything that an image says is hostile. A backing file is opened for reading only, with the format
 * that the image states: a format that is guessed from the content is chosen by whoever wrote the
 * content, and for a raw disk that is a guest, who would only need to write a header that names
 * /etc/shadow as its backing file. Where no format is stored, the user has to say one. Names with a
 * protocol ("nbd:", "json:") are refused, they are not files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/graph_priv.h"
#include "disk/nbd/client.h"
#include "sys/fd.h"
#include "sys/thread.h"

#define CHAIN_MAX     100
#define CACHE_DEFAULT (32U << 20)

void image_close(struct image *img)
{
	if (!img)
		return;
	if (img->priv)
		img->fmt->close(img);
	disk_file_close(img->file);
	free(img->backing);
	free(img->backing_format);
	free(img->path);
	pthread_mutex_destroy(&img->lock);
	free(img);
}

static const struct format *guess(struct disk_file *f)
{
	uint8_t head[2048] = { 0 }, tail[512] = { 0 };
	uint64_t size = disk_file_size(f);
	size_t n = MIN(size, (uint64_t)sizeof(head)), t = MIN(size, (uint64_t)sizeof(tail));

	if (disk_file_read(f, 0, head, n) < 0 || disk_file_read(f, size - t, tail, t) < 0)
		return NULL;
	for (size_t i = 0; disk_formats[i]; i++)
		if (disk_formats[i]->probe && disk_formats[i]->probe(head, n, tail, t))
			return disk_formats[i];
	return &format_raw;
}

/* The image of one file, without what is below it. */
int image_open(struct disk_file *file, const struct disk_open_opts *o, const char *format,
	       unsigned flags, struct image **ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf names = { 0 };
	struct image *img = mem_new(sizeof(*img));
	int r = 0;

	mutex_init(&img->lock);
	img->file = file;
	img->path = mem_strdup(file->path);
	img->flags = flags;
	img->cache_bytes = o->cache_bytes ? o->cache_bytes : CACHE_DEFAULT;
	img->snapshot = o->snapshot;
	if (format) {
		img->fmt = format_find(format);
		format_names(&names);
		if (!img->fmt)
			r = err_set(err, -EINVAL, "format '%.40s' is none of %s", format,
				    strbuf_cstr(&names));
	} else if (flags & DISK_PROBE) {
		img->fmt = guess(file);
		if (!img->fmt)
			r = err_set(err, -EIO, "cannot be read");
	} else {
		r = err_set(err, -EINVAL, "the format is not given");
	}
	file->files = o->files;
	if (r == 0)
		r = img->fmt->open(img, err);
	file->files = NULL;
	if (r == 0 && o->snapshot && !img->fmt->snapshot_create)
		r = err_set(err, -EOPNOTSUPP, "format %s has no snapshots", img->fmt->name);
	img->snapshot = NULL;
	if (r < 0) {
		r = err_wrap(err, r, "disk '%s'", img->path);
		image_close(img);
		return r;
	}
	if (!img->zero_unit)
		img->zero_unit = img->cluster;
	*ret = img;
	return 0;
}

static bool is_in_chain(const struct image *top, dev_t dev, ino_t ino)
{
	for (; top; top = top->below)
		if (top->file->dev == dev && top->file->ino == ino)
			return true;
	return false;
}

/* Of a file that cannot be opened: the lock that is in the way may be the chain's own. */
static bool leads_back(const struct image *top, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && is_in_chain(top, st.st_dev, st.st_ino);
}

static int open_below(struct image *top, struct image *img, const struct disk_open_opts *o,
		      struct err *err)
{
	const char *format = img->backing_format;
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	struct disk_open_opts below = *o;
	struct disk_file *f = NULL;
	int r;

	below.flags = (o->flags & ~(unsigned)(DISK_RDWR | DISK_PROBE | DISK_REPAIR | DISK_UNMAP));
	below.snapshot = NULL;
	if (!format && img == top)
		format = o->backing_format;
	if (!format)
		return err_set(err, -EINVAL,
			       "'%s' does not say which format its backing file '%.60s' has; name it "
			       "(--backing-format)",
			       img->path, img->backing);
	r = path_from_image(img->path, img->backing, &path, err);
	if (r == 0)
		r = disk_file_open_any(strbuf_cstr(&path), &below, below.flags, true, &f, err);
	if (r == 0 ? is_in_chain(top, f->dev, f->ino)
		   : r == -EBUSY && leads_back(top, strbuf_cstr(&path))) {
		disk_file_closep(&f);
		r = err_set(err, -ELOOP, "'%s' is its own backing file", strbuf_cstr(&path));
	}
	if (r == 0)
		r = image_open(f, &below, format, below.flags, &img->below, err);
	if (r == 0 && img->fmt->check_below)
		r = img->fmt->check_below(img, img->below, err);
	return r < 0 ? err_wrap(err, r, "backing file of '%s'", img->path) : 0;
}

static int open_chain(struct image *top, const struct disk_open_opts *o, struct err *err)
{
	unsigned depth = 0;
	int r = 0;

	for (struct image *img = top; r == 0 && img->backing; img = img->below) {
		if (o->flags & DISK_NO_BACKING)
			return err_set(err, -EPERM,
				       "'%s' names a backing file, which is not allowed here",
				       img->path);
		if (++depth > CHAIN_MAX)
			return err_set(err, -ELOOP, "more than %d backing files", CHAIN_MAX);
		r = open_below(top, img, o, err);
	}
	return r;
}

static void disk_free(struct disk *disk)
{
	struct image *img = disk->top;

	while (img) {
		struct image *below = img->below;

		image_close(img);
		img = below;
	}
	ranges_done(&disk->ranges);
	pthread_rwlock_destroy(&disk->graph);
	pthread_mutex_destroy(&disk->admin);
	free(disk);
}

static int open_file(struct disk_file *f, const struct disk_open_opts *o, struct disk **ret,
		     struct err *err)
{
	struct disk *disk = mem_new(sizeof(*disk));
	pthread_rwlockattr_t fair;
	int r;

	disk->flags = o->flags;
	disk->observer = o->observer;
	disk->cache_bytes = o->cache_bytes;
	list_init(&disk->trackers);
	mutex_init(&disk->admin);
	pthread_rwlockattr_init(&fair);
	/* A guest that flushes all the time must not keep the graph from changing. */
	pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&disk->graph, &fair);
	pthread_rwlockattr_destroy(&fair);
	disk->clock = o->clock ? o->clock : clock_real();
	ranges_init(&disk->ranges);
	r = image_open(f, o, o->format, o->flags, &disk->top, err);
	if (r == 0 && !(o->flags & DISK_TOP_ONLY))
		r = open_chain(disk->top, o, err);
	if (r == 0 && o->flags & DISK_RDWR && !(o->flags & DISK_REPAIR) && disk->top->fmt->track)
		r = disk->top->fmt->track(disk->top, &disk->trackers, err);
	if (r < 0) {
		disk_free(disk);
		return r;
	}
	disk->size = disk->top->size;
	disk->cluster = disk->top->cluster;
	*ret = disk;
	return 0;
}

static int check_flags(const struct disk_open_opts *o, struct err *err)
{
	if (o->flags & DISK_RDWR && o->flags & DISK_NO_LOCK)
		return err_set(err, -EINVAL, "an image cannot be written without its lock");
	if (o->flags & DISK_RDWR && o->snapshot)
		return err_set(err, -EINVAL, "a snapshot can only be read");
	return 0;
}

int disk_open(const char *path, const struct disk_open_opts *o, struct disk **ret, struct err *err)
{
	struct disk_file *f = NULL;
	int r = check_flags(o, err);

	if (r == 0)
		r = disk_file_open_any(path, o, o->flags, false, &f, err);
	return r < 0 ? r : open_file(f, o, ret, err);
}

int disk_open_fd(int fd, const char *path, const struct disk_open_opts *o, struct disk **ret,
		 struct err *err)
{
	struct disk_file *f = NULL;
	int r = check_flags(o, err);

	if (r < 0) {
		fd_closep(&fd);
		return r;
	}
	r = disk_file_new(fd, path, o->flags, o->observer, &f, err);
	return r < 0 ? r : open_file(f, o, ret, err);
}

int disk_close(struct disk *disk, struct err *err)
{
	int r;

	if (!disk)
		return 0;
	job_stop(disk->job);
	async_stop(disk->async);
	r = image_leave(disk->top, err);
	disk_free(disk);
	return r;
}

void disk_closep(struct disk **disk)
{
	disk_close(*disk, NULL);
	*disk = NULL;
}

unsigned disk_flags(struct disk *disk)
{
	return disk->flags;
}

uint32_t disk_cluster(struct disk *disk)
{
	return atomic_load(&disk->cluster);
}

uint64_t disk_size(struct disk *disk)
{
	return atomic_load(&disk->size);
}

int disk_probe(const char *path, const char **ret_format, struct err *err)
{
	_cleanup_(disk_file_closep) struct disk_file *f = NULL;
	const struct format *fmt;
	int r = disk_file_open_any(path, &(struct disk_open_opts){ 0 }, DISK_NO_LOCK, false, &f,
				   err);

	if (r < 0)
		return r;
	fmt = guess(f);
	if (!fmt)
		return err_set(err, -EIO, "'%s' cannot be read", path);
	*ret_format = fmt->name;
	return 0;
}
