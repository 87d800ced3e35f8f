/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The name of a snapshot's file. Until it is whole it has none (O_TMPFILE), so a process that is killed leaves nothing behind,
 * and a snapshot that was there before stays; where the file system cannot do that, it has a hidden one meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "vm/snapshot/file.h"

/* The hidden name beside its own. */
static void part_name(const struct snapshot_file *f, struct strbuf *out)
{
	strbuf_addf(out, ".%s.part", f->name);
}

static int open_unnamed(struct snapshot_file *f, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf part = { 0 };

	f->fd = openat(f->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		return 0;
	part_name(f, &part);
	f->fd = openat(f->dir_fd, strbuf_cstr(&part),
		       O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	return f->fd < 0 ? err_set_errno(err, "create '%s'", f->path) : 0;
}

int snapshot_file_open(struct snapshot_file *f, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_(mem_freep) char *dir = NULL;
	int r;

	*f = (struct snapshot_file){ .dir_fd = -EBADF, .fd = -EBADF };
	f->path = mem_strdup(path);
	f->name = mem_strdup(slash ? slash + 1 : path);
	if (!*f->name || strlen(f->name) > 240)
		return err_set(err, -EINVAL, "'%.60s' is not the name of a file", path);
	dir = mem_strdup(slash ? path : ".");
	if (slash)
		dir[slash == path ? 1 : slash - path] = 0;
	r = fd_open(dir, O_RDONLY | O_DIRECTORY, &f->dir_fd, err);
	return r < 0 ? r : open_unnamed(f, err);
}

int snapshot_file_name(struct snapshot_file *f, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf part = { 0 };
	char self[32];
	struct stat st;

	part_name(f, &part);
	if (fstat(f->fd, &st) == 0 && !st.st_nlink) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
		unlinkat(f->dir_fd, strbuf_cstr(&part), 0);
		if (linkat(AT_FDCWD, self, f->dir_fd, strbuf_cstr(&part), AT_SYMLINK_FOLLOW) < 0)
			return err_set_errno(err, "name '%s'", f->path);
	}
	if (renameat(f->dir_fd, strbuf_cstr(&part), f->dir_fd, f->name) < 0)
		return err_set_errno(err, "rename to '%s'", f->path);
	fd_closep(&f->fd); /* it stays from now on */
	return fsync(f->dir_fd) < 0 ? err_set_errno(err, "sync the folder of '%s'", f->path) : 0;
}

void snapshot_file_done(struct snapshot_file *f)
{
	_cleanup_(strbuf_done) struct strbuf part = { 0 };

	if (f->fd >= 0) {
		part_name(f, &part);
		unlinkat(f->dir_fd, strbuf_cstr(&part), 0);
	}
	fd_closep(&f->fd);
	fd_closep(&f->dir_fd);
	free(take_ptr(&f->path));
	free(take_ptr(&f->name));
}
