/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening what a serial port can be connected to.
 *
 * Standard output is shared with other processes, so it must not be switched to non-blocking: a terminal or
 * pipe is opened a second time through /proc instead, which gives a description of our own. Regular files
 * are not opened again, because the second description would have a position of its own and overwrite what
 * others append.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/sandbox/outside.h"
#include "vm/chardev_priv.h"

int stream_open_stdio(struct stream *s, struct err *err)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) < 0)
		return err_set_errno(err, "standard output");
	s->out_fd = -EBADF;
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
		s->out_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->out_fd < 0)
		s->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (s->out_fd < 0)
		return err_set_errno(err, "standard output");
	s->has_peer = true;
	/* Standard input may be closed: then there is none. */
	s->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	s->is_terminal = s->in_fd >= 0 && isatty(s->in_fd);
	return 0;
}

int stream_open_file(struct stream *s, const char *path, struct err *err)
{
	int r = fd_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY, &s->out_fd,
			err);

	if (r < 0)
		return r;
	s->has_peer = true;
	snprintf(s->where, sizeof(s->where), "%s", path);
	return 0;
}

int stream_open_pty(struct stream *s, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF, peer = -EBADF;
	struct termios t;

	fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 ||
	    ptsname_r(fd, s->where, sizeof(s->where)) != 0)
		return err_set_errno(err, "pty");
	/* Until somebody opens it and says otherwise, it is a line, not a place to edit text. */
	peer = open(s->where, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0 || tcgetattr(peer, &t) < 0)
		return err_set_errno(err, "pty '%s'", s->where);
	cfmakeraw(&t);
	if (tcsetattr(peer, TCSANOW, &t) < 0)
		return err_set_errno(err, "pty '%s'", s->where);
	s->in_fd = s->out_fd = fd_take(&fd);
	return 0;
}

/* A socket file that nobody listens on any more is left over by a process that was killed. */
static int remove_stale_socket(const struct sockaddr_un *addr, struct err *err)
{
	_cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return err_set_errno(err, "socket");
	if (lstat(addr->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "'%s' exists and is not a socket", addr->sun_path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return err_set(err, -EADDRINUSE, "somebody listens on '%s' already",
			       addr->sun_path);
	if (errno == ECONNREFUSED)
		unlink(addr->sun_path);
	return 0;
}

int stream_open_unix(struct stream *s, const char *path, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "socket path '%s' is longer than %zu bytes",
			       path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	r = remove_stale_socket(&addr, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return err_set_errno(err, "socket '%s'", path);
	s->listen_fd = fd_take(&fd);
	snprintf(s->where, sizeof(s->where), "%s", path);
	return outside_will_remove(path, err);
}

void stream_close_fds(struct stream *s)
{
	if (s->kind == STREAM_UNIX && s->listen_fd >= 0)
		outside_remove(s->where);
	if (s->out_fd != s->in_fd)
		fd_closep(&s->out_fd);
	s->out_fd = -EBADF;
	fd_closep(&s->in_fd);
	fd_closep(&s->listen_fd);
}
