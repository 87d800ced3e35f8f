/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding each other. The folder is held open and checked once; sockets are then named through
 * /proc/self/fd/FOLDER/NAME, so that neither a long path (a socket's address has 107 bytes) nor somebody who
 * exchanges a folder on the way leads elsewhere. An abstract address was rejected: every user of the host could
 * take the name first.
 */
#include "sys/ipc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "sys/fd.h"

enum { BACKLOG = 16, CLIENT_TIMEOUT_S = 10 };

static const char suffix[] = ".sock";

/* --- the folder ---------------------------------------------------------------------------------- */

static bool is_mine(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static void choose_dir(struct strbuf *path)
{
	const char *own = getenv("ATOLL_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (own && own[0])
		strbuf_adds(path, own);
	else if (xdg && xdg[0] == '/' && is_mine(xdg))
		strbuf_addf(path, "%s/atoll", xdg);
	else if (geteuid() == 0)
		strbuf_adds(path, "/run/atoll");
	else
		strbuf_addf(path, "/tmp/atoll-%u", (unsigned int)geteuid());
}

int runtime_dir_open(int *ret_fd, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf buf = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	struct stat st;
	const char *path;

	choose_dir(&buf);
	path = strbuf_cstr(&buf);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set_errno(err, "make the folder '%s'", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(err, "open the folder '%s'", path);
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM, "the folder '%s' belongs to another user", path);
	if (st.st_mode & 077)
		return err_set(err, -EPERM,
			       "the folder '%s' is open to other users: it should have mode 0700",
			       path);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* --- names --------------------------------------------------------------------------------------- */

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool ipc_name_ok(const char *name)
{
	size_t n = strnlen(name, IPC_NAME_MAX + 1);

	if (n < 1 || n > IPC_NAME_MAX || !is_word(name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_word(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

static int check_name(const char *name, struct err *err)
{
	if (ipc_name_ok(name))
		return 0;
	return err_set(err, -EINVAL,
		       "the name '%.70s' is not made of up to %d letters, digits, '.', '_', '-'",
		       name, IPC_NAME_MAX);
}

struct ipc_file {
	char name[IPC_NAME_MAX + sizeof(suffix)];
};

static struct ipc_file file_of(const char *name)
{
	struct ipc_file f;

	snprintf(f.name, sizeof(f.name), "%.*s%s", IPC_NAME_MAX, name, suffix);
	return f;
}

static struct sockaddr_un addr_of(int dir_fd, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ipc_file f = file_of(name);

	_Static_assert(sizeof("/proc/self/fd/2147483647/") + sizeof(f.name) <=
			       sizeof(addr.sun_path),
		       "every name fits an address");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%.*s", dir_fd,
		 (int)sizeof(f.name) - 1, f.name);
	return addr;
}

/* --- sockets ------------------------------------------------------------------------------------- */

static int try_connect(int fd, int dir_fd, const char *name)
{
	struct sockaddr_un addr = addr_of(dir_fd, name);

	return connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

/* Under the folder's lock: remove a name behind which nobody listens. Returns 0, or -EADDRINUSE. */
static int remove_dead(int dir_fd, const char *name, struct err *err)
{
	_cleanup_(fd_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return err_set_errno(err, "socket");
	r = try_connect(fd, dir_fd, name);
	if (r == -ENOENT)
		return 0;
	if (r != -ECONNREFUSED) /* -EAGAIN: alive, with a full queue */
		return err_set(err, -EADDRINUSE, "'%s' is running already", name);
	ipc_remove(dir_fd, name);
	return 0;
}

static int lock_dir(int dir_fd, struct err *err)
{
	while (flock(dir_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_set_errno(err, "lock the runtime folder");
	return 0;
}

static int listen_locked(int fd, int dir_fd, const char *name, struct err *err)
{
	struct sockaddr_un addr = addr_of(dir_fd, name);
	int r = remove_dead(dir_fd, name, err);

	if (r < 0)
		return r;
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set_errno(err, "socket of '%s'", name);
	return 0;
}

int ipc_listen(int dir_fd, const char *name, int *ret_fd, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, "socket");
	r = lock_dir(dir_fd, err);
	if (r < 0)
		return r;
	r = listen_locked(fd, dir_fd, name, err);
	flock(dir_fd, LOCK_UN);
	if (r < 0)
		return r;
	*ret_fd = fd_take(&fd);
	return 0;
}

int ipc_path(int dir_fd, const char *name, struct strbuf *out, struct err *err)
{
	struct ipc_file f = file_of(name);
	char self[32], dir[2048];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir_fd);
	n = readlink(self, dir, sizeof(dir));
	if (n < 0)
		return err_set_errno(err, "path of the runtime folder");
	if ((size_t)n == sizeof(dir)) /* cut, perhaps */
		return err_set(err, -ENAMETOOLONG, "path of the runtime folder");
	strbuf_add(out, dir, (size_t)n);
	strbuf_addf(out, "/%.*s", (int)sizeof(f.name) - 1, f.name);
	return 0;
}

void ipc_remove(int dir_fd, const char *name)
{
	struct ipc_file f = file_of(name);

	unlinkat(dir_fd, f.name, 0);
}

int ipc_connect(int dir_fd, const char *name, int *ret_fd, struct err *err)
{
	const struct timeval patience = { .tv_sec = CLIENT_TIMEOUT_S };
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, "socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	r = try_connect(fd, dir_fd, name);
	if (r == -ECONNREFUSED && lock_dir(dir_fd, err) == 0) {
		ignore_result(remove_dead(dir_fd, name, NULL)); /* alive after all: as good */
		flock(dir_fd, LOCK_UN);
		r = -ENOENT;
	}
	if (r == -ENOENT)
		return err_set(err, r, "nothing called '%s' is running", name);
	if (r < 0)
		return err_wrap(err, r, "connect to '%s'", name);
	*ret_fd = fd_take(&fd);
	return 0;
}

int ipc_each(int dir_fd, bool (*fn)(void *arg, const char *name), void *arg, struct err *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!dir) {
		fd_closep(&fd);
		return err_set_errno(err, "read the runtime folder");
	}
	while ((e = readdir(dir))) {
		struct str file = str_of(e->d_name);
		char name[sizeof(e->d_name)];

		if (!str_ends(file, STR(".sock")))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(file.n - (sizeof(suffix) - 1)), file.p);
		if (ipc_name_ok(name) && !fn(arg, name))
			break;
	}
	closedir(dir);
	return 0;
}

/* --- descriptors --------------------------------------------------------------------------------- */

union control_space {
	struct cmsghdr head; /* for its alignment */
	char bytes[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
};

int ipc_send(int fd, const void *p, size_t n, const int *fds, unsigned int nr_fds)
{
	union control_space space = { 0 };
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (nr_fds > IPC_FDS_MAX)
		return -E2BIG;
	if (nr_fds) {
		msg.msg_control = space.bytes;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		space.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					       .cmsg_type = SCM_RIGHTS,
					       .cmsg_len = CMSG_LEN(nr_fds * sizeof(int)) };
		memcpy(CMSG_DATA(&space.head), fds, nr_fds * sizeof(int));
	}
	while (iov.iov_len) {
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
		msg.msg_control = NULL; /* they went with the first byte */
		msg.msg_controllen = 0;
	}
	return 0;
}

/* Whether all had room. What had none is closed. */
static bool add_fds(struct ipc_fds *fds, const struct cmsghdr *c)
{
	size_t nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fit = true;

	for (size_t k = 0; k < nr; k++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + k * sizeof(fd), sizeof(fd));
		if (fds->nr < IPC_FDS_MAX) {
			fds->fd[fds->nr++] = fd;
		} else {
			fit = false;
			close(fd);
		}
	}
	return fit;
}

ssize_t ipc_recv(int fd, void *p, size_t size, struct ipc_fds *fds)
{
	union control_space space;
	struct iovec iov = { p, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = space.bytes,
			      .msg_controllen = sizeof(space.bytes) };
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	bool fit = !(msg.msg_flags & MSG_CTRUNC);

	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fit = add_fds(fds, c) && fit;
	return fit ? n : -E2BIG;
}

int ipc_fds_take(struct ipc_fds *fds, uint64_t index)
{
	if (index >= fds->nr || fds->fd[index] < 0)
		return -ENOENT;
	return fd_take(&fds->fd[index]);
}

void ipc_fds_done(struct ipc_fds *fds)
{
	for (unsigned int k = 0; k < fds->nr; k++)
		fd_closep(&fds->fd[k]);
	fds->nr = 0;
}

bool ipc_peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

int ipc_peer_pid(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
}

void ipc_unlink_abandoned(const struct sockaddr_un *addr)
{
	/* A datagram socket: the others refuse it (EPROTOTYPE), so nobody takes it for a client. */
	_cleanup_(fd_closep) int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (probe >= 0 && lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(addr->sun_path);
}
