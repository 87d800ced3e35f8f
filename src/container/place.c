/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths in a container. Its files belong to somebody else: any part of a path may be a link to the host, or become one between
 * two looks. So every path is resolved by the kernel below a descriptor of the root (openat2, RESOLVE_IN_ROOT), and what was
 * found is used by its descriptor, never by its name again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "sys/fd.h"

int place_open(int root_fd, const char *path, int *ret)
{
	return path_open_in(root_fd, path[0] ? path : ".", O_PATH, 0, ret, NULL);
}

int place_open_plain(int root_fd, const char *path, int *ret)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	if (fd < 0)
		return -errno;
	*ret = (int)fd;
	return 0;
}

/* The last part of a path is missing: made in the folder that has it. */
static int make_last(int root_fd, const char *path, bool is_folder)
{
	_cleanup_(mem_freep) char *folder = mem_strdup(path);
	_cleanup_(fd_closep) int fd = -EBADF;
	char *name = strrchr(folder, '/');
	int r;

	if (name)
		*name++ = 0;
	r = name ? place_open(root_fd, folder, &fd) : place_open(root_fd, ".", &fd);
	if (!name)
		name = folder;
	if (r < 0)
		return r;
	/* A link that leads nowhere is there already, and is not followed by these. */
	if (is_folder)
		r = mkdirat(fd, name, 0755);
	else
		r = mknodat(fd, name, S_IFREG | 0644, 0);
	return r < 0 && errno != EEXIST ? -errno : 0;
}

/* Its folders, and itself, one after the other. */
static int make_parts(int root_fd, const char *path, bool is_folder)
{
	_cleanup_(mem_freep) char *copy = mem_strdup(path);
	size_t n = strlen(copy);
	int r = 0;

	for (size_t i = 1; r == 0 && i <= n; i++) {
		char was = copy[i];
		int fd = -EBADF;

		if ((was != '/' && was) || copy[i - 1] == '/')
			continue;
		copy[i] = 0;
		r = place_open(root_fd, copy, &fd);
		fd_closep(&fd);
		if (r == -ENOENT)
			r = make_last(root_fd, copy, i < n || is_folder);
		copy[i] = was;
	}
	return r;
}

int place_make(int root_fd, const char *path, bool is_folder, int *ret, struct err *err)
{
	_cleanup_(mem_freep) char *plain = mem_strdup(path);
	size_t n = strlen(plain);
	int r = place_open(root_fd, path, ret);

	if (r != -ENOENT)
		return r < 0 ? err_set(err, r, "'%.160s' in the container: %s", path,
				       strerrordesc_np(-r))
			     : 0;
	while (n > 1 && plain[n - 1] == '/')
		plain[--n] = 0;
	/* Mostly only the last part is missing. */
	r = make_last(root_fd, plain, is_folder);
	if (r == -ENOENT)
		r = make_parts(root_fd, plain, is_folder);
	if (r == 0)
		r = place_open(root_fd, path, ret);
	if (r < 0)
		return err_set(err, r, "make '%.160s' in the container: %s", path,
			       strerrordesc_np(-r));
	return 0;
}

struct proc_fd proc_fd(int fd)
{
	struct proc_fd p;

	snprintf(p.path, sizeof(p.path), "/proc/self/fd/%d", fd);
	return p;
}

int write_text(const char *path, const char *text)
{
	_cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(text);

	if (fd < 0)
		return -errno;
	return write(fd, text, n) == (ssize_t)n ? 0 : errno ? -errno : -EIO;
}
