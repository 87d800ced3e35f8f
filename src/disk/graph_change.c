/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A graph that changes while the disk is in use: all of the disk is held for the moment of the change, so that no
 * request is between looking something up and using it.
 *
 * An image is written by one role at a time. The top is written, what is below it is only read; who becomes a
 * backing file is demoted: its tables go to the medium, it is left as one that is not in use, and its lock is
 * shared with other readers from then on. Who is to be written (the target of a commit) is promoted: opened a second
 * time, as any image is opened for writing, with journals replayed and marks set, and put in the place of the first.
 * Rejected: a switch inside each format between reading and writing, which is code that hardly ever runs.
 *
 * A live snapshot, and where a crash may come:
 *
 *	new image made, named file of the present top inside, on the medium	a stray file; the top is what it was
 *	all held; the top's tables on the medium, demoted
 *	the new one is the top; let go						from here the new name is the disk
 *
 * Nothing that the guest was told to be written is anywhere but in a file that the chain of the new name reaches. The
 * old name goes on to be the disk of the moment of the snapshot; writing to it would destroy what lies on top.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/graph_priv.h"
#include "sys/fd.h"
#include "sys/thread.h"

void graph_stop(struct disk *disk, struct disk_hold *hold)
{
	range_take(&disk->ranges, hold, 0, UINT64_MAX, true);
	pthread_rwlock_wrlock(&disk->graph);
}

void graph_go_on(struct disk *disk, struct disk_hold *hold)
{
	pthread_rwlock_unlock(&disk->graph);
	range_release(&disk->ranges, hold);
}

void graph_set_top(struct disk *disk, struct image *top)
{
	disk->top = top;
	atomic_store(&disk->size, top->size);
	atomic_store(&disk->cluster, top->cluster);
}

int graph_promote(struct disk *disk, struct image **at, const struct disk_handed *handed,
		  struct err *err)
{
	struct image *old = *at, *img = NULL;
	struct disk_open_opts o = { .cache_bytes = disk->cache_bytes };
	unsigned flags = (disk->flags & (unsigned)(DISK_DIRECT | DISK_NO_FLUSH | DISK_UNMAP)) |
			 DISK_RDWR;
	struct disk_file *f = NULL;
	int r;

	/* By the open file: its name may lead elsewhere by now. Our own lock would be in the way. */
	disk_file_unlock(old->file);
	r = disk_file_reopen(old->file, flags, handed, disk->observer, &f, err);
	if (r == 0)
		r = image_open(f, &o, old->fmt->name, flags, &img, err);
	if (r == 0 && img->size != old->size) {
		image_close(img);
		r = err_set(err, -ESTALE, "'%s' has changed meanwhile", old->path);
	}
	if (r < 0) {
		disk_file_lock_shared(old->file);
		return r;
	}
	img->below = old->below;
	*at = img;
	if (disk->top == old)
		graph_set_top(disk, img);
	image_close(old);
	return 0;
}

int image_leave(struct image *img, struct err *err)
{
	int r = image_flush(img, err);

	if (r < 0 || !img->is_written)
		return r;
	mutex_lock(&img->lock);
	r = img->fmt->finish ? img->fmt->finish(img) : 0;
	img->is_written = false; /* should it fail: begin again */
	mutex_unlock(&img->lock);
	return r < 0 ? err_set(err, r, "write to '%s': %s", img->path, strerror(-r)) : 0;
}

int graph_demote(struct disk *disk, struct image *img, struct err *err)
{
	int r = 0;

	if (!(img->flags & DISK_RDWR))
		return 0;
	r = image_leave(img, err);
	if (r < 0)
		return r;
	mutex_lock(&img->lock);
	img->flags &= ~(unsigned)(DISK_RDWR | DISK_UNMAP);
	img->file->is_writable = false;
	disk_file_lock_shared(img->file);
	mutex_unlock(&img->lock);
	return 0;
}

/* The folder of a path, as it really is; free(). */
static int folder_of(const char *path, char **ret, struct err *err)
{
	_cleanup_(mem_freep) char *copy = mem_strdup(path);
	char *slash = strrchr(copy, '/');

	if (slash)
		slash[slash == copy ? 1 : 0] = 0;
	*ret = realpath(slash ? copy : ".", NULL);
	return *ret ? 0 : err_set_errno(err, "folder of '%s'", path);
}

int disk_name_below(const char *img_path, const char *below, struct strbuf *out, struct err *err)
{
	_cleanup_(mem_freep) char *real = realpath(below, NULL);
	_cleanup_(mem_freep) char *here = NULL;
	char *slash;
	size_t n;
	int r;

	if (!real)
		return err_set_errno(err, "'%s'", below);
	r = folder_of(img_path, &here, err);
	if (r < 0)
		return r;
	slash = strrchr(real, '/');
	n = MAX((size_t)(slash - real), (size_t)1);
	/* In the same folder, the two can be moved together. A colon would look like a protocol. */
	if (strlen(here) == n && !memcmp(here, real, n) && !strchr(slash, ':'))
		strbuf_adds(out, slash + 1);
	else
		strbuf_adds(out, real);
	return 0;
}

int graph_name_of(const char *img_path, struct image *to, const struct disk_handed *handed,
		  struct strbuf *out, struct err *err)
{
	struct stat st;

	if (to->file->nbd)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' is served: nothing can be put on top of it while it is in use",
			       to->path);
	if (handed) {
		if (!handed->name || disk_file_find(to->file, handed->fd, handed->nr) < 0)
			return err_set(err, -ESTALE, "'%s' was not handed over", to->path);
		strbuf_adds(out, handed->name);
		return 0;
	}
	if (stat(to->path, &st) < 0)
		return err_set_errno(err, "'%s'", to->path);
	if (st.st_dev != to->file->dev || st.st_ino != to->file->ino)
		return err_set(err, -ESTALE, "'%s' is another file by now", to->path);
	return disk_name_below(img_path, to->path, out, err);
}

/* --- a snapshot beside the disk --------------------------------------------------------------- */

static int sync_folder(const char *path, struct err *err)
{
	_cleanup_(mem_freep) char *dir = NULL;
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = folder_of(path, &dir, err);

	if (r == 0)
		r = fd_open(dir, O_RDONLY | O_DIRECTORY, &fd, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_set_errno(err, "sync '%s'", dir);
	return r;
}

/* The flags of a new top image. */
static unsigned overlay_flags(const struct disk *disk)
{
	return disk->flags & ~(unsigned)(DISK_PROBE | DISK_REPAIR | DISK_NO_BACKING);
}

/* The one that somebody else has made. */
static int open_handed(struct disk *disk, const char *path, const struct disk_handed *handed,
		       const char *below, struct image **ret, struct err *err)
{
	struct disk_open_opts o = { .cache_bytes = disk->cache_bytes, .observer = disk->observer };
	unsigned flags = overlay_flags(disk);
	struct disk_file *f = NULL;
	struct image *img;
	int fd, r;

	fd = handed->nr ? fcntl(handed->fd[0], F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		return err_set(err, -EBADF, "no file was handed over for '%s'", path);
	r = disk_file_new(fd, path, flags, disk->observer, &f, err);
	if (r == 0)
		r = image_open(f, &o, "qcow2", flags, &img, err);
	if (r < 0)
		return r;
	if (img->size != disk_size(disk) || !img->backing || strcmp(img->backing, below) != 0) {
		image_close(img);
		return err_set(err, -ESTALE, "'%s' is not made for this disk as it is now", path);
	}
	*ret = img;
	return 0;
}

/* An empty image on top of the present one, on the medium. */
static int make_overlay(struct disk *disk, const char *path, const struct disk_create_opts *c,
			struct image **ret, struct err *err)
{
	struct disk_open_opts o = { .cache_bytes = disk->cache_bytes, .observer = disk->observer };
	unsigned flags = overlay_flags(disk);
	struct disk_file *f = NULL;
	int r = disk_create(path, "qcow2", c, err);

	if (r == 0)
		r = disk_file_open(path, flags, disk->observer, &f, err);
	if (r == 0 && !f->no_flush) {
		r = disk_file_sync(f);
		r = r < 0 ? err_set(err, r, "sync '%s'", path) : sync_folder(path, err);
		if (r < 0)
			disk_file_close(f);
	}
	return r < 0 ? r : image_open(f, &o, "qcow2", flags, ret, err);
}

static int push_overlay(struct disk *disk, struct image *overlay, struct err *err)
{
	struct disk_hold hold;
	int r;

	graph_stop(disk, &hold);
	/* Nobody resizes: we hold admin. */
	r = graph_demote(disk, disk->top, err);
	if (r == 0) {
		overlay->below = disk->top;
		graph_set_top(disk, overlay);
	}
	graph_go_on(disk, &hold);
	return r;
}

/* By path: what goes wrong leaves no file behind. */
static int make_and_push(struct disk *disk, const char *path, const struct disk_option *options,
			 size_t nr_options, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct image *top = disk->top, *overlay = NULL;
	struct disk_create_opts c = {
		.size = disk_size(disk),
		.backing_format = top->fmt->name,
		.options = options,
		.nr_options = nr_options,
		.observer = disk->observer,
	};
	struct stat st;
	int r;

	if (lstat(path, &st) == 0)
		return err_set(err, -EEXIST, "'%s' is there already; a snapshot needs a new file",
			       path);
	r = graph_name_of(path, top, NULL, &name, err);
	if (r < 0)
		return r;
	c.backing = strbuf_cstr(&name);
	r = make_overlay(disk, path, &c, &overlay, err);
	if (r == 0)
		r = push_overlay(disk, overlay, err);
	if (r < 0) {
		image_close(overlay);
		ignore_result(unlink(path)); /* it was ours; perhaps it was not even made */
	}
	return r;
}

static int push_handed(struct disk *disk, const char *path, const struct disk_handed *handed,
		       struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct image *overlay = NULL;
	int r = graph_name_of(path, disk->top, handed, &name, err);

	if (r == 0)
		r = open_handed(disk, path, handed, strbuf_cstr(&name), &overlay, err);
	if (r < 0)
		return r;
	r = push_overlay(disk, overlay, err);
	if (r < 0)
		image_close(overlay);
	return r;
}

int disk_snapshot_external(struct disk *disk, const char *path, const struct disk_option *options,
			   size_t nr_options, const struct disk_handed *handed, struct err *err)
{
	int r = admin_begin(disk, err);

	if (r < 0)
		return r;
	if (!(disk->flags & DISK_RDWR))
		r = err_set(err, -EROFS, "the disk is open for reading");
	else if (disk->top->must_pack)
		r = err_set(err, -EOPNOTSUPP, "'%s' can only be filled", disk->top->path);
	else if (handed)
		r = push_handed(disk, path, handed, err);
	else
		r = make_and_push(disk, path, options, nr_options, err);
	admin_end(disk);
	return r;
}
