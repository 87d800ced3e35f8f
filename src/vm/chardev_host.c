/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread between the ports and the outside.
 *
 *	port --chardev_write()--> ring --thread--> descriptor
 *	port <----receive()------ in[] <-thread--- descriptor
 *
 * A port's write only copies into a ring and wakes the thread when it may be asleep, so a guest that prints
 * costs a copy a byte and one wake-up a burst, and a reader that does not read costs the vCPU nothing: the
 * ring fills, the port is told -EAGAIN and shows its guest a busy transmitter. Writing from the vCPU thread
 * itself was rejected: it either blocks or needs a second path for what did not fit.
 */
#include "vm/chardev_host.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "sys/fd.h"
#include "vm/chardev_priv.h"

enum { PTY_RECHECK_MS = 200, FLUSH_PATIENCE_MS = 2000, DRAIN_ROUNDS = 32 };

static void host_wake(struct chardev_host *host)
{
	const uint64_t one = 1;

	/* A full counter wakes the thread as well: the result does not matter. */
	if (!atomic_exchange(&host->is_woken, true))
		ignore_result(write(host->wake_fd, &one, sizeof(one)));
}

static ssize_t stream_write(struct chardev *cd, const void *buf, size_t n)
{
	struct stream *s = container_of(cd, struct stream, cd);
	size_t room, tail, part;

	if (!atomic_load(&s->has_peer))
		return (ssize_t)n;
	mutex_lock(&s->lock);
	room = STREAM_OUT - s->out_n;
	n = MIN(n, room);
	tail = (s->out_head + s->out_n) % STREAM_OUT;
	part = MIN(n, STREAM_OUT - tail);
	memcpy(s->out + tail, buf, part);
	memcpy(s->out, (const uint8_t *)buf + part, n - part);
	s->out_n += n;
	if (!n)
		s->port_waits = true;
	mutex_unlock(&s->lock);
	if (!n)
		return -EAGAIN;
	host_wake(s->host);
	return (ssize_t)n;
}

static void stream_can_receive_again(struct chardev *cd)
{
	struct stream *s = container_of(cd, struct stream, cd);

	atomic_store(&s->in_refused, false);
	host_wake(s->host);
}

/* Nobody reads any more: forget what waits, so that the port is never stuck. */
static void drop_output(struct stream *s)
{
	bool tell;

	atomic_store(&s->has_peer, false);
	mutex_lock(&s->lock);
	s->out_n = 0;
	tell = s->port_waits;
	s->port_waits = false;
	mutex_unlock(&s->lock);
	if (tell && s->cd.writable)
		s->cd.writable(s->cd.port_arg);
}

static void peer_gone(struct stream *s)
{
	drop_output(s);
	if (s->kind == STREAM_UNIX) {
		fd_closep(&s->in_fd);
		s->out_fd = -EBADF;
		s->in_off = s->in_n = 0;
		atomic_store(&s->in_refused, false);
	}
}

/* Write what fits. Returns bytes written, 0 when the descriptor is full, negative when it is dead. */
static ssize_t stream_drain(struct stream *s)
{
	size_t n;
	ssize_t r;
	bool tell;

	mutex_lock(&s->lock);
	n = MIN(s->out_n, STREAM_OUT - s->out_head);
	n = MIN(n, (size_t)STREAM_CHUNK);
	mutex_unlock(&s->lock);
	if (!n)
		return 0;
	/* Only this thread takes from the ring, so its bytes stay while the lock is not held. */
	if (s->kind == STREAM_UNIX)
		r = send(s->out_fd, s->out + s->out_head, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		r = write(s->out_fd, s->out + s->out_head, n);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;

	mutex_lock(&s->lock);
	s->out_head = (s->out_head + (size_t)r) % STREAM_OUT;
	s->out_n -= (size_t)r;
	tell = s->port_waits;
	s->port_waits = false;
	mutex_unlock(&s->lock);
	if (tell && s->cd.writable)
		s->cd.writable(s->cd.port_arg);
	return r;
}

static void drain_all(struct stream *s)
{
	ssize_t r = 1;

	/* A guest that never stops printing must not keep us from its input. */
	for (unsigned int i = 0; i < DRAIN_ROUNDS && r > 0; i++)
		r = stream_drain(s);
	if (r < 0)
		peer_gone(s);
}

static void show_help(struct stream *s)
{
	static const char text[] = "\r\nCtrl-A x  switch the machine off and leave\r\n"
				   "Ctrl-A a  send a Ctrl-A\r\n"
				   "Ctrl-A h  this help\r\n";

	/* Through the ring, so that it does not cut into what the guest prints. */
	ignore_result(stream_write(&s->cd, text, sizeof(text) - 1));
}

/* Offer what was read to the port; it may take less. */
static void offer_input(struct stream *s)
{
	size_t taken;

	if (!s->in_n || atomic_load(&s->in_refused))
		return;
	if (!s->cd.receive) {
		s->in_n = 0;
		return;
	}
	/* Before the call: the port may find room and say so before it returns. */
	atomic_store(&s->in_refused, true);
	taken = s->cd.receive(s->cd.port_arg, s->in + s->in_off, s->in_n);
	assert(taken <= s->in_n);
	s->in_off += taken;
	s->in_n -= taken;
	if (!s->in_n)
		atomic_store(&s->in_refused, false);
}

static void read_input(struct stream *s)
{
	ssize_t n = read(s->in_fd, s->in, sizeof(s->in));
	unsigned int actions = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (s->kind == STREAM_PTY)
			drop_output(s); /* EIO: the other end was closed; it may come again */
		else if (s->kind == STREAM_UNIX)
			peer_gone(s);
		else
			fd_closep(&s->in_fd); /* the end of standard input is not our end */
		return;
	}
	s->in_off = 0;
	s->in_n = (size_t)n;
	if (s->is_terminal)
		actions = escape_filter(&s->escape, s->in, s->in_n, &s->in_n);
	if (actions & ESCAPE_HELP)
		show_help(s);
	if (actions & ESCAPE_LEAVE && s->host->leave)
		s->host->leave(s->host->leave_arg);
	offer_input(s);
}

static void accept_client(struct stream *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	s->in_fd = s->out_fd = fd;
	atomic_store(&s->has_peer, true);
}

/* Whether the other end of a pty is open; poll() answers at once. */
static bool pty_is_open(const struct stream *s)
{
	struct pollfd p = { .fd = s->in_fd };

	return poll(&p, 1, 0) == 0 || !(p.revents & POLLHUP);
}

struct poll_set {
	struct pollfd fd[1 + 2 * HOST_MAX_STREAMS];
	unsigned int n;
	int timeout_ms;
};

static void poll_add(struct poll_set *set, int fd, short events)
{
	set->fd[set->n++] = (struct pollfd){ .fd = fd, .events = events };
}

static short poll_result(const struct poll_set *set, int fd, short events)
{
	for (unsigned int i = 1; i < set->n; i++)
		if (fd >= 0 && set->fd[i].fd == fd && set->fd[i].events & events)
			return set->fd[i].revents;
	return 0;
}

static void poll_stream(struct poll_set *set, struct stream *s)
{
	bool has_output;

	if (s->kind == STREAM_PTY) {
		atomic_store(&s->has_peer, pty_is_open(s));
		set->timeout_ms = PTY_RECHECK_MS; /* opening the other end wakes nobody */
		if (!s->has_peer) {
			drop_output(s);
			return;
		}
	}
	mutex_lock(&s->lock);
	has_output = s->out_n > 0;
	mutex_unlock(&s->lock);
	if (s->in_fd >= 0 && !s->in_n)
		poll_add(set, s->in_fd, POLLIN);
	else if (s->listen_fd >= 0 && s->in_fd < 0)
		poll_add(set, s->listen_fd, POLLIN);
	if (s->out_fd >= 0 && has_output)
		poll_add(set, s->out_fd, POLLOUT);
}

static void serve_stream(const struct poll_set *set, struct stream *s)
{
	int out_fd = s->out_fd;

	if (poll_result(set, s->listen_fd, POLLIN) && s->in_fd < 0)
		accept_client(s);
	else if (poll_result(set, s->in_fd, POLLIN))
		read_input(s);
	else
		offer_input(s);
	if (s->out_fd == out_fd && poll_result(set, out_fd, POLLOUT))
		drain_all(s);
}

static void host_loop(void *arg)
{
	struct chardev_host *host = arg;
	uint64_t count;

	while (!atomic_load(&host->stop)) {
		struct poll_set set = { .timeout_ms = -1 };

		poll_add(&set, host->wake_fd, POLLIN);
		for (struct stream *s = host->streams; s; s = s->next)
			poll_stream(&set, s);
		if (poll(set.fd, set.n, set.timeout_ms) < 0)
			continue; /* EINTR; other failures are impossible for these arguments */
		if (set.fd[0].revents)
			ignore_result(read(host->wake_fd, &count, sizeof(count)));
		/* Before looking at the rings: a port that writes from here on wakes us again. */
		atomic_store(&host->is_woken, false);
		for (struct stream *s = host->streams; s; s = s->next)
			serve_stream(&set, s);
	}
}

/* At the end: wait for readers as long as they read. */
static void stream_flush(struct stream *s)
{
	while (s->out_fd >= 0 && s->has_peer && s->out_n) {
		struct pollfd p = { .fd = s->out_fd, .events = POLLOUT };
		int r = poll(&p, 1, FLUSH_PATIENCE_MS);

		if (r == 0 || (r < 0 && errno != EINTR))
			break;
		if (stream_drain(s) < 0)
			break;
	}
}

static void stream_close(struct chardev *cd)
{
	struct stream *s = container_of(cd, struct stream, cd);

	assert(!s->host->is_running);
	for (struct stream **p = &s->host->streams; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	s->cd.writable = NULL;
	stream_flush(s);
	stream_close_fds(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct chardev_ops stream_ops = {
	.write = stream_write,
	.can_receive_again = stream_can_receive_again,
	.close = stream_close,
};

int chardev_host_new(void (*leave)(void *arg), void *arg, struct chardev_host **ret,
		     struct err *err)
{
	struct chardev_host *host = mem_new(sizeof(*host));

	host->leave = leave;
	host->leave_arg = arg;
	host->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (host->wake_fd < 0) {
		free(host);
		return err_set_errno(err, "eventfd");
	}
	*ret = host;
	return 0;
}

void chardev_host_free(struct chardev_host *host)
{
	if (!host)
		return;
	chardev_host_stop(host);
	while (host->streams)
		stream_close(&host->streams->cd);
	fd_closep(&host->wake_fd);
	free(host);
}

static int open_by_spec(struct stream *s, const char *spec, struct err *err)
{
	struct str rest = str_of(spec), kind;

	str_cut(&rest, ':', &kind);
	if (str_eq(kind, STR("stdio")) && !rest.p) {
		s->kind = STREAM_STDIO;
		for (struct stream *o = s->host->streams; o; o = o->next)
			if (o->kind == STREAM_STDIO)
				return err_set(
					err, -EEXIST,
					"only one serial port can have standard input and output");
		return stream_open_stdio(s, err);
	}
	if (str_eq(kind, STR("pty")) && !rest.p) {
		s->kind = STREAM_PTY;
		return stream_open_pty(s, err);
	}
	if (str_eq(kind, STR("file")) && rest.n) {
		s->kind = STREAM_FILE;
		return stream_open_file(s, rest.p, err);
	}
	if (str_eq(kind, STR("unix")) && rest.n) {
		s->kind = STREAM_UNIX;
		return stream_open_unix(s, rest.p, err);
	}
	if (str_eq(kind, STR("null")) && !rest.p) {
		s->kind = STREAM_FILE; /* that has no peer: output is dropped */
		return 0;
	}
	return err_set(err, -EINVAL,
		       "'%s' is no serial back end; give stdio, file:PATH, pty, unix:PATH or null",
		       spec);
}

int chardev_host_open(struct chardev_host *host, const char *spec, struct chardev **ret,
		      struct err *err)
{
	unsigned int nr = 0;
	struct stream *s;
	int r;

	assert(!host->is_running);
	for (s = host->streams; s; s = s->next)
		nr++;
	if (nr == HOST_MAX_STREAMS)
		return err_set(err, -ENOSPC, "more than %d serial back ends", HOST_MAX_STREAMS);
	s = mem_new(sizeof(*s));
	s->host = host;
	s->in_fd = s->out_fd = s->listen_fd = -EBADF;
	r = open_by_spec(s, spec, err);
	if (r < 0) {
		stream_close_fds(s);
		free(s);
		return r;
	}
	s->cd.ops = &stream_ops;
	mutex_init(&s->lock);
	s->next = host->streams;
	host->streams = s;
	*ret = &s->cd;
	return 0;
}

const char *chardev_host_where(const struct chardev *cd)
{
	return cd->ops == &stream_ops ? ((const struct stream *)(const void *)cd)->where : "";
}

int chardev_host_start(struct chardev_host *host, struct err *err)
{
	int r;

	for (struct stream *s = host->streams; s; s = s->next) {
		if (!s->is_terminal)
			continue;
		r = term_raw(s->in_fd, err);
		if (r < 0)
			return r;
	}
	atomic_store(&host->stop, false);
	r = thread_start(&host->thread, "serial", host_loop, host, err);
	if (r < 0) {
		term_restore();
		return r;
	}
	host->is_running = true;
	return 0;
}

void chardev_host_stop(struct chardev_host *host)
{
	if (!host->is_running)
		return;
	atomic_store(&host->stop, true);
	atomic_store(&host->is_woken, false);
	host_wake(host);
	thread_join(&host->thread);
	host->is_running = false;
	for (struct stream *s = host->streams; s; s = s->next)
		stream_flush(s);
	term_restore();
}
