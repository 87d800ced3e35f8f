/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests and answers are packets on a pair of sockets, one request at a time:
 *
 *	REMOVABLE path, DIALABLE path, SERVER address, SEAL	before: no answer
 *	REMOVE index				-> errno
 *	DIAL port				-> errno, and the connection
 *	REACH index				-> errno, and the connection, which may still be on its way
 *
 * It is forked before anything is opened, so it has nothing of the machine; it ends when its socket does. Removing the
 * names by whoever meets a dead socket (sys/ipc) was not enough: other programs see those of serial ports and vsock.
 */
#include "sys/sandbox/outside.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "sys/sandbox/sandbox.h"
#include "sys/thread.h"

enum op { OP_REMOVABLE = 1, OP_DIALABLE, OP_SERVER, OP_SEAL, OP_REMOVE, OP_DIAL, OP_REACH };
enum { PACKET_MAX = 1 + PATH_MAX, DIAL_PATH_MAX = 90 };

struct server {
	struct sockaddr_storage addr;
	socklen_t n;
};

/* What may be reached; each side has its own. */
struct paths {
	char *removable[OUTSIDE_PATHS_MAX];
	unsigned int nr;
	char dialable[DIAL_PATH_MAX + 1]; /* empty: nothing */
	struct server server[OUTSIDE_SERVERS_MAX];
	unsigned int nr_servers;
};

static struct {
	pthread_mutex_t lock; /* one request at a time */
	int fd;		      /* negative: there is no such process */
	pid_t pid;
	bool is_sealed;
	struct paths paths;
} out = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -EBADF };

/* At once, or not, or later: nobody waits for a program that does not accept, or for a host that is switched off. */
static int reach(const void *addr, socklen_t n)
{
	const struct sockaddr *a = addr;
	_cleanup_(fd_closep) int fd =
		socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, a, n) < 0 && errno != EINPROGRESS))
		return -errno;
	return fd_take(&fd);
}

static int dial(const char *path, uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", path, port);

	return *path && n < (int)sizeof(a.sun_path) ? reach(&a, sizeof(a)) : -ECONNREFUSED;
}

/* Returns 0; -E2BIG, -EAFNOSUPPORT. */
static int add_server(struct paths *paths, const void *addr, size_t n)
{
	sa_family_t family;

	if (n < sizeof(family) || n > sizeof(struct sockaddr_storage))
		return -EAFNOSUPPORT;
	memcpy(&family, addr, sizeof(family));
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
		return -EAFNOSUPPORT;
	if (paths->nr_servers == OUTSIDE_SERVERS_MAX)
		return -E2BIG;
	memcpy(&paths->server[paths->nr_servers].addr, addr, n);
	paths->server[paths->nr_servers++].n = (socklen_t)n;
	return 0;
}

/* --- in the other process ------------------------------------------------------------------------ */

static int answer(int fd, int r, const int *handed)
{
	uint8_t packet[4];

	put_le32(packet, (uint32_t)-r);
	return ipc_send(fd, packet, sizeof(packet), handed, handed ? 1 : 0);
}

/* @conn: closed here; negative errno: there is none. */
static int hand_over(int fd, int conn)
{
	_cleanup_(fd_closep) int owned = conn;

	return owned < 0 ? answer(fd, owned, NULL) : answer(fd, 0, &owned);
}

static int on_remove(int fd, const struct paths *paths, uint32_t index)
{
	if (index >= paths->nr)
		return -EINVAL;
	return answer(fd, unlink(paths->removable[index]) < 0 ? -errno : 0, NULL);
}

static int on_reach(int fd, const struct paths *paths, uint32_t index)
{
	if (index >= paths->nr_servers)
		return -EINVAL;
	return hand_over(fd, reach(&paths->server[index].addr, paths->server[index].n));
}

/* Names may be in folders of anybody whom root serves. */
static int confine(const struct paths *paths)
{
	const struct sandbox_keep keep = { .folder_fd = -EBADF,
					   .files = true,
					   .network = true,
					   .servers = paths->nr_servers > 0,
					   .capabilities = 1u << CAP_DAC_OVERRIDE };
	struct err err = ERR_INIT;

	return sandbox_helper("atoll-outside", "outside", &keep, false, &err);
}

/* Returns negative to end: whoever speaks otherwise is not the machine that we were started for. */
static int serve_one(int fd, struct paths *paths, bool *is_sealed, const uint8_t *p, size_t n)
{
	const char *text = (const char *)p + 1;

	switch ((enum op)p[0]) {
	case OP_REMOVABLE:
		if (*is_sealed || paths->nr == OUTSIDE_PATHS_MAX || p[n - 1])
			return -EINVAL;
		paths->removable[paths->nr++] = mem_strdup(text);
		return 0;
	case OP_DIALABLE:
		if (*is_sealed || p[n - 1] || n - 1 > sizeof(paths->dialable))
			return -EINVAL;
		memcpy(paths->dialable, text, n - 1);
		return 0;
	case OP_SERVER:
		return *is_sealed ? -EINVAL : add_server(paths, p + 1, n - 1);
	case OP_SEAL:
		*is_sealed = true;
		return confine(paths);
	case OP_REMOVE:
		return n == 5 ? on_remove(fd, paths, get_le32(p + 1)) : -EINVAL;
	case OP_DIAL:
		return n == 5 ? hand_over(fd, dial(paths->dialable, get_le32(p + 1))) : -EINVAL;
	case OP_REACH:
		return n == 5 ? on_reach(fd, paths, get_le32(p + 1)) : -EINVAL;
	}
	return -EINVAL;
}

static _noreturn_ void serve(int fd)
{
	static struct paths paths;
	static uint8_t packet[PACKET_MAX];
	bool is_sealed = false;
	ssize_t n;

	/* Ctrl-C is for the machine, which then says what is to be done. */
	setsid();
	prctl(PR_SET_NAME, "atoll-outside");
	close(1);
	if (dup2(fd, 0) < 0 || syscall(SYS_close_range, 3, ~0u, 0) < 0)
		_exit(1);
	for (;;) {
		n = recv(0, packet, sizeof(packet), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 1 || serve_one(0, &paths, &is_sealed, packet, (size_t)n) < 0)
			_exit(0);
	}
}

/* --- in ours ------------------------------------------------------------------------------------- */

int outside_start(struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set_errno(err, "a pair of sockets");
	out.pid = fork();
	if (out.pid == 0)
		serve(pair[1]);
	close(pair[1]);
	if (out.pid < 0) {
		int r = err_set_errno(err, "fork");

		close(pair[0]);
		return r;
	}
	out.fd = pair[0];
	out.is_sealed = false;
	return 0;
}

void outside_stop(void)
{
	if (out.fd < 0)
		return;
	fd_closep(&out.fd);
	while (waitpid(out.pid, NULL, 0) < 0 && errno == EINTR)
		;
	for (unsigned int k = 0; k < out.paths.nr; k++)
		free(out.paths.removable[k]);
	out.paths = (struct paths){ .nr = 0 };
}

static int tell_bytes(enum op op, const void *p, size_t n)
{
	_cleanup_(mem_freep) uint8_t *packet = NULL;
	ssize_t sent;

	if (n >= PACKET_MAX)
		return -ENAMETOOLONG;
	packet = mem_new(n + 1);
	packet[0] = (uint8_t)op;
	memcpy(packet + 1, p, n);
	do
		sent = send(out.fd, packet, n + 1, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static int tell(enum op op, const char *text)
{
	return tell_bytes(op, text, strlen(text) + 1);
}

void outside_seal(void)
{
	out.is_sealed = true;
	if (out.fd >= 0)
		ignore_result(tell(OP_SEAL, "")); /* it is not there any more: as good */
}

int outside_will_remove(const char *path, struct err *err)
{
	int r;

	if (out.fd < 0)
		return 0;
	if (out.paths.nr == OUTSIDE_PATHS_MAX)
		return err_set(err, -E2BIG, "more than %d sockets", OUTSIDE_PATHS_MAX);
	r = tell(OP_REMOVABLE, path);
	if (r < 0)
		return err_set(err, r, "'%s': the process that is to remove it", path);
	out.paths.removable[out.paths.nr++] = mem_strdup(path);
	return 0;
}

int outside_will_dial(const char *path, struct err *err)
{
	int r = strlen(path) <= DIAL_PATH_MAX ? 0 : -ENAMETOOLONG;

	if (r == 0 && out.fd >= 0)
		r = tell(OP_DIALABLE, path);
	if (r < 0)
		return err_set(err, r, "'%s': the process that is to connect to it", path);
	snprintf(out.paths.dialable, sizeof(out.paths.dialable), "%s", path);
	return 0;
}

/* A request with a number. Returns what the answer says; the descriptor, when there is one. */
static int ask(enum op op, uint32_t value)
{
	_cleanup_(ipc_fds_done) struct ipc_fds fds = { .nr = 0 };
	uint8_t packet[5] = { (uint8_t)op };
	ssize_t n;

	put_le32(packet + 1, value);
	mutex_guard(&out.lock);
	if (send(out.fd, packet, sizeof(packet), MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = ipc_recv(out.fd, packet, 4, &fds);
	while (n == -EINTR);
	if (n != 4)
		return n < 0 ? (int)n : -EPIPE;
	return fds.nr ? ipc_fds_take(&fds, 0) : -(int)get_le32(packet);
}

void outside_remove(const char *path)
{
	unsigned int k = 0;

	while (k < out.paths.nr && strcmp(path, out.paths.removable[k]) != 0)
		k++;
	if (out.fd < 0)
		unlink(path);
	else if (k < out.paths.nr)
		ignore_result(ask(OP_REMOVE, k)); /* a name that stays is removed by who meets it */
}

int outside_dial(const char *path, uint32_t port)
{
	int fd = out.fd < 0				 ? dial(path, port)
		 : strcmp(path, out.paths.dialable) != 0 ? -ECONNREFUSED
							 : ask(OP_DIAL, port);

	return fd ? fd : -EPIPE; /* an answer without what it says */
}

int outside_will_reach(const struct sockaddr *addr, socklen_t n)
{
	int r;

	if (out.fd < 0 || out.is_sealed)
		return -ENOSYS;
	r = add_server(&out.paths, addr, n);
	if (r == 0)
		r = tell_bytes(OP_SERVER, addr, n);
	return r < 0 ? r : (int)out.paths.nr_servers - 1;
}

int outside_reach(unsigned int server)
{
	int fd = server < out.paths.nr_servers ? ask(OP_REACH, server) : -EINVAL;

	return fd ? fd : -EPIPE;
}
