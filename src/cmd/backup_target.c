/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that a command makes for work at a disk: a backup's target, a snapshot's image. A file that is there is never
 * replaced, since it may be the only other copy of something.
 */
#include "cmd/backup_target.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "sys/fd.h"

int new_file_reserve(const char *path, const char *what, struct err *err)
{
	_cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST, "'%s' is there already; %s needs a new file", path,
			       what);
	return fd < 0 ? err_set_errno(err, "make '%s'", path) : 0;
}

int new_file_sync(int fd, const char *path, struct err *err)
{
	_cleanup_(mem_freep) char *copy = mem_strdup(path);
	_cleanup_(fd_closep) int dir = -EBADF;
	int r = fd_open(dirname(copy), O_RDONLY | O_DIRECTORY, &dir, err);

	if (r == 0 && (fsync(fd) < 0 || fsync(dir) < 0))
		r = err_set_errno(err, "sync '%s'", path);
	return r;
}

static int check(const struct backup_opts *o, struct err *err)
{
	if (o->update && o->onto)
		return err_set(err, -EINVAL, "--update and --onto exclude each other");
	if ((o->update || o->onto) && !o->bitmap)
		return err_set(err, -EINVAL,
			       "an increment needs to know what has changed: --bitmap NAME, of the "
			       "backup before");
	if (o->onto && strcmp(o->format, "qcow2") != 0)
		return err_set(err, -EINVAL, "only a qcow2 image can lie on top of another backup");
	return 0;
}

static int make(const struct backup_opts *o, const char *path, uint64_t size, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf below = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	struct disk_create_opts c = { .size = size };
	int r = 0;

	if (o->onto) {
		r = disk_name_below(path, o->onto, &below, err);
		c.backing = strbuf_cstr(&below);
		c.backing_format = o->onto_format;
	}
	if (r == 0)
		r = disk_create(path, o->format, &c, err);
	if (r == 0)
		r = fd_open(path, O_RDONLY, &fd, err);
	return r < 0 ? r : new_file_sync(fd, path, err);
}

int backup_target_make(const struct backup_opts *o, const char *path, uint64_t size, bool *ret_made,
		       struct err *err)
{
	int r = check(o, err);

	*ret_made = false;
	if (r < 0 || o->update)
		return r;
	r = new_file_reserve(path, "a backup", err);
	if (r < 0)
		return r;
	*ret_made = true;
	return make(o, path, size, err);
}
