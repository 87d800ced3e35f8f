/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests and answers are packets on a pair of sockets, one request at a time:
 *
 *	REMOVABLE path, DIALABLE path, SEAL	before: no answer
 *	REMOVE index				-> errno
 *	DIAL port				-> errno, and the connection
 *
 * It is forked before anything is opened, so it has nothing of the machine; it ends when its socket does. Removing the
 * names by whoever meets a dead socket (sys/ipc) was not enough: other programs see those of serial ports and vsock.
 */
#include "sys/sandbox/outside.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
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

enum op { OP_REMOVABLE = 1, OP_DIALABLE, OP_SEAL, OP_REMOVE, OP_DIAL };
enum { PACKET_MAX = 1 + PATH_MAX, DIAL_PATH_MAX = 90 };

/* What may be reached; each side has its own. */
struct paths {
	char *removable[OUTSIDE_PATHS_MAX];
	unsigned int nr;
	char dialable[DIAL_PATH_MAX + 1]; /* empty: nothing */
};

static struct {
	pthread_mutex_t lock; /* one request at a time */
	int fd;		      /* negative: there is no such process */
	pid_t pid;
	struct paths paths;
} out = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -EBADF };

static int dial(const char *path, uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, n = snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", path, port), r = 0;

	if (!*path || n >= (int)sizeof(a.sun_path))
		return -ECONNREFUSED;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* At once, or not: nobody waits for a program that does not accept. */
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* --- in the other process ------------------------------------------------------------------------ */

static int answer(int fd, int r, const int *handed)
{
	uint8_t packet[4];

	put_le32(packet, (uint32_t)-r);
	return ipc_send(fd, packet, sizeof(packet), handed, handed ? 1 : 0);
}

static int on_dial(int fd, const struct paths *paths, uint32_t port)
{
	_cleanup_(fd_closep) int conn = dial(paths->dialable, port);

	return conn < 0 ? answer(fd, conn, NULL) : answer(fd, 0, &conn);
}

static int on_remove(int fd, const struct paths *paths, uint32_t index)
{
	if (index >= paths->nr)
		return -EINVAL;
	return answer(fd, unlink(paths->removable[index]) < 0 ? -errno : 0, NULL);
}

/* Names may be in folders of anybody whom root serves. */
static int confine(void)
{
	const struct sandbox_keep keep = { .folder_fd = -EBADF,
					   .files = true,
					   .network = true,
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
	case OP_SEAL:
		*is_sealed = true;
		return confine();
	case OP_REMOVE:
		return n == 5 ? on_remove(fd, paths, get_le32(p + 1)) : -EINVAL;
	case OP_DIAL:
		return n == 5 ? on_dial(fd, paths, get_le32(p + 1)) : -EINVAL;
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

static int tell(enum op op, const char *text)
{
	_cleanup_(mem_freep) uint8_t *packet = NULL;
	size_t n = strlen(text) + 1;
	ssize_t sent;

	if (n >= PACKET_MAX)
		return -ENAMETOOLONG;
	packet = mem_new(n + 1);
	packet[0] = (uint8_t)op;
	memcpy(packet + 1, text, n);
	do
		sent = send(out.fd, packet, n + 1, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

void outside_seal(void)
{
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
