/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image has in a folder, copied into a new tmpfs that hides it ("tmpcopyup"). The files are the image's: links are made
 * anew and never followed, nothing but folders, files and links is copied, and all goes by descriptors of folders.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "sys/fd.h"

enum { DEPTH_MAX = 64 };

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_(fd_closep) int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC),
				 out = -EBADF;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777);
	if (out < 0)
		return -errno;
	do
		n = sendfile(out, in, NULL, 1 << 20);
	while (n > 0);
	if (n < 0)
		return -errno;
	/* In this order: a change of the owner takes set-user-ID away. */
	if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_(mem_freep) char *target = mem_new(PATH_MAX + 1);
	ssize_t n = readlinkat(from, name, target, PATH_MAX);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_all(int from, int to, unsigned int depth);

static int copy_folder(int from, int to, const char *name, const struct stat *st,
		       unsigned int depth)
{
	_cleanup_(fd_closep) int in = -EBADF, out = -EBADF;
	int r;

	if (depth == DEPTH_MAX)
		return -ELOOP;
	in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return -errno;
	r = copy_all(in, out, depth + 1);
	if (r == 0 &&
	    (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0))
		r = -errno;
	return r;
}

static int copy_one(int from, int to, const char *name, unsigned int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_folder(from, to, name, &st, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st);
	return S_ISLNK(st.st_mode) ? copy_link(from, to, name, &st) : 0;
}

static int copy_all(int from, int to, unsigned int depth)
{
	_cleanup_(fd_closep) int list = fcntl(from, F_DUPFD_CLOEXEC, 3);
	DIR *dir = list < 0 ? NULL : fdopendir(list);
	struct dirent *e;
	int r = 0;

	if (!dir)
		return -errno;
	list = -EBADF; /* the DIR's */
	while (r == 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = copy_one(from, to, e->d_name, depth);
	closedir(dir);
	return r;
}

int copy_up(int from_fd, int to_fd, struct err *err)
{
	_cleanup_(fd_closep) int from = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(fd_closep) int to = openat(to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = from < 0 || to < 0 ? -errno : copy_all(from, to, 0);

	return r < 0 ? err_set(err, r, "tmpcopyup: %s", strerrordesc_np(-r)) : 0;
}
