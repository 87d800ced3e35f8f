/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread between the ports and the outside.
 *
 *	port --chardev_write()--> ring --thread--> descriptor, watchers
 *	port <----receive()------ in[] <-thread--- descriptor, watchers
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

	n = stream_put(s, buf, n);
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
	atomic_store(&s->has_peer, false);
	stream_skip(s);
}

/* As much as the reader takes. Returns the last result. */
static ssize_t drain_all(struct stream *s, struct watcher *w)
{
	ssize_t r = 1, all = 0;

	/* A guest that never stops printing must not keep us from its input. */
	for (unsigned int i = 0; i < DRAIN_ROUNDS && r > 0; i++) {
		r = stream_take(s, w);
		all += MAX(r, 0);
	}
	return r < 0 ? r : all;
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

static void take_input(struct stream *s, size_t n)
{
	s->in_off = 0;
	s->in_n = n;
	offer_input(s);
}

static void read_input(struct stream *s)
{
	ssize_t n = read(s->in_fd, s->in, sizeof(s->in));
	unsigned int actions = 0;
	size_t left;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (s->kind == STREAM_PTY)
			drop_output(s); /* EIO: the other end was closed; it may come again */
		else
			fd_closep(&s->in_fd); /* the end of standard input is not our end */
		return;
	}
	left = (size_t)n;
	if (s->is_terminal)
		actions = escape_filter(&s->escape, s->in, left, &left);
	if (actions & ESCAPE_HELP)
		show_help(s);
	if (actions & ESCAPE_LEAVE && s->host->leave)
		s->host->leave(s->host->leave_arg);
	take_input(s, left);
}

static void read_watcher(struct stream *s, struct watcher *w)
{
	ssize_t n = recv(w->fd, s->in, sizeof(s->in), MSG_DONTWAIT);

	if (n > 0)
		take_input(s, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		watcher_drop(s, w);
}

static void accept_client(struct stream *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && watcher_add(s, fd) < 0)
		close(fd);
}

/* Whether the other end of a pty is open; poll() answers at once. */
static bool pty_is_open(const struct stream *s)
{
	struct pollfd p = { .fd = s->in_fd };

	return poll(&p, 1, 0) == 0 || !(p.revents & POLLHUP);
}

struct poll_set {
	struct pollfd fd[1 + (3 + STREAM_WATCHERS) * HOST_MAX_STREAMS];
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

static void poll_soon(struct poll_set *set, int ms)
{
	if (ms >= 0 && (set->timeout_ms < 0 || ms < set->timeout_ms))
		set->timeout_ms = ms;
}

static void poll_watchers(struct poll_set *set, struct stream *s)
{
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++) {
		struct watcher *w = &s->watcher[k];
		short events = s->in_n ? 0 : POLLIN;

		if (w->fd < 0)
			continue;
		if (stream_has_output(s, w))
			events |= POLLOUT;
		poll_add(set, w->fd, events);
		poll_soon(set, watcher_be_patient(s, w, 0));
	}
}

static void poll_stream(struct poll_set *set, struct stream *s)
{
	poll_watchers(set, s);
	if (s->listen_fd >= 0)
		poll_add(set, s->listen_fd, POLLIN);
	if (s->kind == STREAM_PTY) {
		bool is_open = pty_is_open(s);

		poll_soon(set, PTY_RECHECK_MS); /* opening the other end wakes nobody */
		if (!is_open || !s->has_peer)
			drop_output(s);
		atomic_store(&s->has_peer, is_open);
		if (!is_open)
			return;
	}
	if (s->in_fd >= 0 && !s->in_n)
		poll_add(set, s->in_fd, POLLIN);
	if (s->out_fd >= 0 && s->has_peer && stream_has_output(s, NULL))
		poll_add(set, s->out_fd, POLLOUT);
}

static void serve_watchers(const struct poll_set *set, struct stream *s)
{
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++) {
		struct watcher *w = &s->watcher[k];
		int fd = w->fd;
		short events = poll_result(set, fd, POLLIN | POLLOUT);

		if (events & (POLLIN | POLLHUP | POLLERR) && !s->in_n)
			read_watcher(s, w);
		if (w->fd == fd && events & POLLOUT) {
			ssize_t r = drain_all(s, w);

			if (r < 0)
				watcher_drop(s, w);
			else
				watcher_be_patient(s, w, r);
		}
	}
}

static void serve_stream(const struct poll_set *set, struct stream *s)
{
	if (poll_result(set, s->listen_fd, POLLIN))
		accept_client(s);
	if (poll_result(set, s->in_fd, POLLIN))
		read_input(s);
	else
		offer_input(s);
	serve_watchers(set, s);
	if (poll_result(set, s->out_fd, POLLOUT) && drain_all(s, NULL) < 0)
		drop_output(s);
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

/* At the end: wait for a reader as long as it reads. */
static void flush_reader(struct stream *s, struct watcher *w)
{
	int fd = w ? w->fd : s->out_fd;

	while (fd >= 0 && stream_has_output(s, w)) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		int r = poll(&p, 1, FLUSH_PATIENCE_MS);

		if (r == 0 || (r < 0 && errno != EINTR))
			break;
		if (stream_take(s, w) < 0)
			break;
	}
}

static void stream_flush(struct stream *s)
{
	if (s->has_peer)
		flush_reader(s, NULL);
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++)
		flush_reader(s, &s->watcher[k]);
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
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++)
		watcher_drop(s, &s->watcher[k]);
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
	for (unsigned int k = 0; k < STREAM_WATCHERS; k++)
		s->watcher[k].fd = -EBADF;
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

int chardev_host_watch(struct chardev *cd, int fd)
{
	struct stream *s = container_of(cd, struct stream, cd);
	int r;

	if (cd->ops != &stream_ops)
		return -ENOTTY;
	r = fd_nonblock(fd, 1);
	if (r == 0)
		r = watcher_add(s, fd);
	if (r == 0)
		host_wake(s->host);
	return r;
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
