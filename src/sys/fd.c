/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few things that every use of read(2), write(2) and open(2) must not forget: short transfers,
 * EINTR, close-on-exec, non-blocking descriptors that somebody else set up (a terminal shared with
 * the shell), and paths from outside that climb out of their folder.
 */
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

void fd_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
	errno = saved;
}

int fd_take(int *fd)
{
	int n = *fd;

	*fd = -EBADF;
	return n;
}

int fd_open(const char *path, int flags, int *ret_fd, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	if (fd < 0)
		return err_set_errno(err, "open '%s'", path);
	*ret_fd = fd;
	return 0;
}

int path_open_in(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
		 struct err *err)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	if (fd < 0)
		return err_set_errno(err, "open '%s' inside its folder", path);
	*ret_fd = (int)fd;
	return 0;
}

/* After a failed transfer: 0 to try again, else negative errno. */
static int retry(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

/* Reads at *off when off is given, else at the file's position. */
static ssize_t read_loop(int fd, char *buf, size_t n, const uint64_t *off)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = off ? pread(fd, buf + done, n - done, (off_t)(*off + done))
				  : read(fd, buf + done, n - done);
		int r;

		if (got == 0)
			break;
		if (got > 0) {
			done += (size_t)got;
			continue;
		}
		r = retry(fd, POLLIN);
		if (r < 0)
			return r;
	}
	return (ssize_t)done;
}

static int write_loop(int fd, const char *buf, size_t n, const uint64_t *off)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = off ? pwrite(fd, buf + done, n - done, (off_t)(*off + done))
				  : write(fd, buf + done, n - done);
		int r;

		if (put >= 0) {
			done += (size_t)put;
			continue;
		}
		r = retry(fd, POLLOUT);
		if (r < 0)
			return r;
	}
	return 0;
}

ssize_t fd_read_full(int fd, void *buf, size_t n)
{
	return read_loop(fd, buf, n, NULL);
}

ssize_t fd_pread_full(int fd, void *buf, size_t n, uint64_t off)
{
	return read_loop(fd, buf, n, &off);
}

int fd_write_full(int fd, const void *buf, size_t n)
{
	return write_loop(fd, buf, n, NULL);
}

int fd_pwrite_full(int fd, const void *buf, size_t n, uint64_t off)
{
	return write_loop(fd, buf, n, &off);
}

int fd_size(int fd, uint64_t *ret_bytes, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set_errno(err, "stat");
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
			return err_set_errno(err, "size of a block device");
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "neither a regular file nor a block device");
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int fd_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int file_read(const char *path, size_t limit, void **ret, size_t *ret_bytes, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = fd_open(path, O_RDONLY, &fd, err);

	return r < 0 ? r : file_read_fd(fd, path, limit, ret, ret_bytes, err);
}

int file_read_fd(int fd, const char *path, size_t limit, void **ret, size_t *ret_bytes,
		 struct err *err)
{
	_cleanup_(mem_freep) char *buf = NULL;
	size_t cap = 0, n = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set_errno(err, "stat '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "'%s' is a folder", path);
	/* The size is a hint: a pipe or a file in /proc has none, and a file may grow. */
	cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 65536;
	if (cap > limit)
		cap = limit;
	for (;;) {
		char *bigger = realloc(buf, cap + 2);
		ssize_t got;

		if (!bigger)
			return err_set(err, -ENOMEM, "read '%s': not enough memory", path);
		buf = bigger;
		/* One byte more than fits, to see whether the file ends. */
		got = fd_read_full(fd, buf + n, cap + 1 - n);
		if (got < 0)
			return err_wrap(err, (int)got, "read '%s'", path);
		n += (size_t)got;
		if (n <= cap)
			break;
		if (cap >= limit)
			return err_set(err, -EFBIG, "'%s' is larger than %zu bytes", path, limit);
		cap = cap > limit / 2 ? limit : cap * 2;
	}
	buf[n] = '\0';
	*ret = take_ptr(&buf);
	*ret_bytes = n;
	return 0;
}
