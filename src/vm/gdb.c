/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debugger's socket and thread. The thread sleeps in poll() on the connection and on an eventfd by which
 * vCPU threads report that they stopped; it alone touches the protocol's state. Blocking on a slow debugger
 * is bounded by the socket's send time-out.
 */
#include "vm/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "vm/gdb_priv.h"

enum { SEND_TIMEOUT_S = 5, EVENT_NONE = -1 };

struct gdb {
	struct gdb_target target;
	struct gdb_server server;
	int listen_fd, client_fd, wake_fd;
	uint16_t port;
	struct thread thread;
	_Atomic uint64_t stopped; /* bit n: vCPU n stopped */
	_Atomic int ended;	  /* exit status, or EVENT_NONE */
	_Atomic bool stop;
};

static void wake(struct gdb *gdb)
{
	const uint64_t one = 1;

	ignore_result(write(gdb->wake_fd, &one, sizeof(one))); /* a full counter wakes as well */
}

void gdb_stopped(struct gdb *gdb, unsigned int cpu)
{
	atomic_fetch_or(&gdb->stopped, UINT64_C(1) << cpu);
	wake(gdb);
}

void gdb_ended(struct gdb *gdb, int status)
{
	atomic_store(&gdb->ended, status & 0xff);
	wake(gdb);
}

uint16_t gdb_port(const struct gdb *gdb)
{
	return gdb->port;
}

static void drop_client(struct gdb *gdb)
{
	fd_closep(&gdb->client_fd);
	gdb_server_done(&gdb->server);
}

static void send_output(struct gdb *gdb)
{
	struct strbuf *out = &gdb->server.out;
	size_t off = 0;

	while (off < out->n) {
		ssize_t r = send(gdb->client_fd, out->p + off, out->n - off, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			gdb->server.is_closing = true;
			break;
		}
		off += (size_t)r;
	}
	strbuf_reset(out);
}

static void accept_client(struct gdb *gdb)
{
	const struct timeval patience = { .tv_sec = SEND_TIMEOUT_S };
	int fd = accept4(gdb->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	gdb->client_fd = fd;
	gdb_server_init(&gdb->server, &gdb->target);
	/* Stops from before the debugger came are not its business. */
	atomic_store(&gdb->stopped, 0);
}

static void read_client(struct gdb *gdb)
{
	char buf[2048];
	ssize_t n = recv(gdb->client_fd, buf, sizeof(buf), 0);

	if (n < 0 && errno == EINTR)
		return;
	/* While all stand, a stop that was not reported yet is stale: its vCPU will stop again. */
	if (!gdb->server.is_running)
		atomic_store(&gdb->stopped, 0);
	if (n <= 0 || gdb_server_feed(&gdb->server, buf, (size_t)n) < 0)
		gdb->server.is_closing = true;
}

static void take_events(struct gdb *gdb)
{
	uint64_t stopped = atomic_exchange(&gdb->stopped, 0);
	int ended = atomic_exchange(&gdb->ended, EVENT_NONE);

	if (gdb->client_fd < 0)
		return;
	if (stopped)
		gdb_server_stopped(&gdb->server, (unsigned int)__builtin_ctzll(stopped));
	if (ended != EVENT_NONE)
		gdb_server_ended(&gdb->server, ended);
}

static void gdb_loop(void *arg)
{
	struct gdb *gdb = arg;
	uint64_t count;

	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = gdb->wake_fd, .events = POLLIN },
			{ .fd = gdb->client_fd < 0 ? gdb->listen_fd : gdb->client_fd,
			  .events = POLLIN },
		};
		bool stop;

		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR */
		if (fds[0].revents)
			ignore_result(read(gdb->wake_fd, &count, sizeof(count)));
		stop = atomic_load(&gdb->stop);
		take_events(gdb);
		if (stop)
			break;
		if (fds[1].revents && gdb->client_fd < 0)
			accept_client(gdb);
		else if (fds[1].revents)
			read_client(gdb);
		if (gdb->client_fd < 0)
			continue;
		send_output(gdb);
		if (gdb->server.is_closing)
			drop_client(gdb);
	}
	if (gdb->client_fd >= 0) {
		send_output(gdb);
		drop_client(gdb);
	}
}

static int listen_on(struct gdb *gdb, uint16_t port, struct err *err)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	const int one = 1;

	gdb->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (gdb->listen_fd < 0 ||
	    setsockopt(gdb->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(gdb->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(gdb->listen_fd, 1) < 0 ||
	    getsockname(gdb->listen_fd, (struct sockaddr *)&addr, &len) < 0)
		return err_set_errno(err, "gdb: listen on 127.0.0.1:%u", port);
	gdb->port = ntohs(addr.sin_port);
	return 0;
}

int gdb_new(uint16_t port, const struct gdb_target *target, struct gdb **ret, struct err *err)
{
	struct gdb *gdb = mem_new(sizeof(*gdb));
	int r;

	gdb->target = *target;
	gdb->listen_fd = gdb->client_fd = -EBADF;
	gdb->ended = EVENT_NONE;
	gdb->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (gdb->wake_fd < 0)
		r = err_set_errno(err, "eventfd");
	else
		r = listen_on(gdb, port, err);
	if (r == 0)
		r = thread_start(&gdb->thread, "gdb", gdb_loop, gdb, err);
	if (r < 0) {
		fd_closep(&gdb->listen_fd);
		fd_closep(&gdb->wake_fd);
		free(gdb);
		return r;
	}
	*ret = gdb;
	return 0;
}

void gdb_free(struct gdb *gdb)
{
	if (!gdb)
		return;
	atomic_store(&gdb->stop, true);
	wake(gdb);
	thread_join(&gdb->thread);
	fd_closep(&gdb->listen_fd);
	fd_closep(&gdb->wake_fd);
	free(gdb);
}
