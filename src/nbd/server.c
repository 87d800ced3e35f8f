/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accepting clients, and one thread for each: it moves bytes between socket and session and sleeps in poll() until
 * either has something. A thread a client is enough, because the disk's own threads do what takes time, and it
 * lets two clients use two CPUs.
 *
 * A client beyond the limit is not accepted until another one goes; half-open ones go after the handshake's time.
 */
#include "nbd/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "nbd/link_priv.h"
#include "nbd/session_priv.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "sys/sandbox/outside.h"
#include "sys/thread.h"

#define IOV_MAX_SENT 64
#define BACKLOG	     64
#define LINGER_S     10 /* for a client that does not take its last replies */

struct client {
	struct list link;
	struct nbd_server *server;
	struct nbd_link *socket;
	struct nbd_session *session;
	int fd, wake_fd; /* fd belongs to `socket` */
	struct thread thread;
	uint64_t linger_until_ns; /* 0: not ending */
	bool may_recv, may_send;  /* as far as we know, it would not wait */
	_Atomic bool is_over;	  /* the thread is about to end */
};

struct nbd_server {
	struct nbd_server_opts o;
	struct nbd_keys *keys;
	int listen_fd, over_fd; /* over_fd: a client's thread ends */
	char *unix_path;	/* to be removed */
	struct strbuf uri;
	struct list clients;
	unsigned nr_clients;
	_Atomic bool is_ending;
};

/* --- one client ------------------------------------------------------------------------------- */

static void poke(int fd)
{
	uint64_t one = 1;

	ignore_result(write(fd, &one, sizeof(one))); /* it is readable already */
}

static void unpoke(int fd)
{
	uint64_t n;

	ignore_result(read(fd, &n, sizeof(n))); /* nothing: somebody else did */
}

static void wake(void *arg)
{
	struct client *c = arg;

	poke(c->wake_fd);
}

/* Returns whether something moved. */
static bool receive(struct client *c)
{
	size_t room;
	uint8_t *p = nbd_session_room(c->session, &room);
	ssize_t n;

	if (!room || !c->may_recv)
		return false;
	n = nbd_link_recv(c->socket, p, room);
	if (n == -EAGAIN) {
		c->may_recv = false;
		return false;
	}
	if (n <= 0)
		nbd_session_end(c->session, n == 0 ? NULL : "connection lost");
	else
		nbd_session_received(c->session, (size_t)n);
	return true;
}

/* The same; *ret_waiting: there is more to send than the socket takes. */
static bool transmit(struct client *c, bool *ret_waiting)
{
	struct iovec iov[IOV_MAX_SENT];
	unsigned nr = nbd_session_output(c->session, iov, ARRAY_SIZE(iov));
	ssize_t n;

	*ret_waiting = nr > 0;
	if (!nr || !c->may_send)
		return false;
	n = nbd_link_send(c->socket, iov, nr);
	if (n == -EAGAIN) {
		c->may_send = false;
		return false;
	}
	if (n < 0) {
		nbd_session_end(c->session, "connection lost");
		c->linger_until_ns = 1; /* nobody takes anything any more */
		return false;
	}
	nbd_session_sent(c->session, (size_t)n);
	return true;
}

/* Milliseconds for poll(). */
static int time_left(struct client *c, uint64_t now)
{
	uint64_t until = c->linger_until_ns;

	if (!until && c->session->phase < NBD_REQUESTS)
		until = c->session->deadline_ns;
	if (!until)
		return -1;
	return until <= now ? 0 : (int)((until - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void wait_for(struct client *c, short events)
{
	struct pollfd p[2] = { { .fd = c->fd, .events = events },
			       { .fd = c->wake_fd, .events = POLLIN } };

	/* A socket whose other end is gone is always ready: ask only when we want to know. */
	if (!events)
		p[0].fd = -1;
	if (poll(p, ARRAY_SIZE(p), time_left(c, clock_now(c->server->o.clock))) < 0)
		return; /* EINTR */
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		c->may_recv = true;
	if (p[0].revents & (POLLOUT | POLLHUP | POLLERR))
		c->may_send = true;
	if (p[1].revents & POLLIN)
		unpoke(c->wake_fd);
}

/* The handshake of TLS. *ret_events: what to poll for. Returns whether something moved. */
static bool secure(struct client *c, short *ret_events)
{
	struct err err = ERR_INIT;
	int r = nbd_link_handshake(c->socket, c->server->keys, ret_events, &err);

	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		log_info("nbd.tls", kv_err("error", &err));
		nbd_session_end(c->session, "no TLS");
	} else {
		c->may_recv = c->may_send = true;
		nbd_session_secured(c->session);
	}
	return true;
}

static void end_when_due(struct client *c)
{
	uint64_t now = clock_now(c->server->o.clock);

	if (nbd_session_expired(c->session, now))
		nbd_session_end(c->session, "handshake took too long");
	if (atomic_load(&c->server->is_ending))
		nbd_session_end(c->session, NULL);
	if (c->session->phase == NBD_ENDED && !c->linger_until_ns)
		c->linger_until_ns = now + LINGER_S * NS_PER_S;
}

static bool is_done(struct client *c, bool waiting)
{
	return nbd_session_idle(c->session) &&
	       (!waiting || clock_now(c->server->o.clock) >= c->linger_until_ns);
}

static void serve(void *arg)
{
	struct client *c = arg;

	for (;;) {
		bool moved, waiting;
		short events = 0;

		end_when_due(c);
		moved = receive(c);
		moved |= transmit(c, &waiting);
		if (c->session->phase == NBD_TLS && !waiting)
			moved |= secure(c, &events);
		if (moved)
			continue;
		end_when_due(c);
		if (is_done(c, waiting))
			break;
		if (!c->may_recv && c->session->phase < NBD_ENDED && c->session->phase != NBD_TLS)
			events |= POLLIN;
		if (waiting && !c->may_send)
			events |= POLLOUT;
		wait_for(c, events);
	}
	if (c->session->why)
		log_info("nbd.client-refused", kv_str("why", c->session->why));
	atomic_store(&c->is_over, true);
	poke(c->server->over_fd);
}

static void client_free(struct client *c)
{
	thread_join(&c->thread);
	nbd_session_free(c->session);
	nbd_link_free(c->socket);
	fd_closep(&c->wake_fd);
	free(c);
}

static void client_new(struct nbd_server *s, int fd)
{
	struct err err = ERR_INIT;
	struct client *c = mem_new(sizeof(*c));
	int on = 1, r = 0;

	/* Replies wait for nothing; a peer that has silently gone is noticed some time. A unix socket has neither. */
	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	ignore_result(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
	c->server = s;
	c->fd = fd;
	c->may_recv = c->may_send = true;
	c->socket = nbd_link_new(fd);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		r = err_set_errno(&err, "eventfd");
	c->session = nbd_session_new(&s->o.export, s->keys, clock_now(s->o.clock), wake, c);
	if (r == 0)
		r = thread_start(&c->thread, "nbd-client", serve, c, &err);
	if (r < 0) {
		log_warn("nbd.client", kv_err("error", &err));
		client_free(c);
		return;
	}
	list_push(&s->clients, &c->link);
	s->nr_clients++;
}

/* --- the server ------------------------------------------------------------------------------- */

static void reap(struct nbd_server *s, bool all)
{
	struct client *c, *tmp;

	list_for_each_safe(c, tmp, &s->clients, link) {
		if (!all && !atomic_load(&c->is_over))
			continue;
		if (all)
			poke(c->wake_fd);
		list_del(&c->link);
		s->nr_clients--;
		client_free(c);
	}
}

static void accept_one(struct nbd_server *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		client_new(s, fd);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_warn("nbd.accept", kv_str("error", strerror(errno)));
}

int nbd_server_run(struct nbd_server *s, int stop_fd, struct err *err)
{
	struct client *c;
	int r = 0;

	for (;;) {
		struct pollfd p[3] = { { .fd = stop_fd, .events = POLLIN },
				       { .fd = s->over_fd, .events = POLLIN },
				       { .fd = s->listen_fd, .events = POLLIN } };

		if (s->nr_clients >= s->o.max_clients)
			p[2].fd = -1;
		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR) {
			r = err_set_errno(err, "poll");
			break;
		}
		if (p[0].revents)
			break;
		if (p[1].revents) {
			unpoke(s->over_fd);
			reap(s, false);
		}
		if (p[2].revents)
			accept_one(s);
	}
	atomic_store(&s->is_ending, true);
	list_for_each(c, &s->clients, link)
		poke(c->wake_fd);
	reap(s, true);
	return r;
}

/* What means something in a URI is written in hexadecimal (RFC 3986, section 2.1). */
static void add_escaped(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c | 32) >= 'a' && (c | 32) <= 'z')
			strbuf_addc(out, *text);
		else if (strchr("0123456789-._~/", c))
			strbuf_addc(out, *text);
		else
			strbuf_addf(out, "%%%02X", c);
	}
}

static int listen_unix(struct nbd_server *s, const char *path, struct err *err)
{
	_cleanup_(fd_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int r;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -EINVAL, "a socket's path has 1 to %zu bytes",
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	if (fd < 0)
		return err_set_errno(err, "socket");
	r = outside_will_remove(path, err);
	if (r < 0)
		return r;
	ipc_unlink_abandoned(&addr);
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set_errno(err, "listen at '%s'", path);
	s->unix_path = mem_strdup(path);
	s->listen_fd = fd_take(&fd);
	strbuf_addf(&s->uri, "nbd%s+unix:///", s->keys ? "s" : "");
	add_escaped(&s->uri, s->o.export.name);
	strbuf_adds(&s->uri, "?socket=");
	add_escaped(&s->uri, path);
	return 0;
}

/* "ADDRESS:PORT"; numbers only: a name may mean several addresses, and whoever serves means one. */
static int parse_tcp(const char *text, struct addrinfo **ret, struct err *err)
{
	static const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM
	};
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (!colon || !n || n >= sizeof(host))
		return err_set(err, -EINVAL, "a TCP address is ADDRESS:PORT");
	memcpy(host, text, n);
	host[n] = 0;
	if (!colon[1] || getaddrinfo(host, colon + 1, &hints, ret) != 0)
		return err_set(err, -EINVAL, "'%s' is not an IP address with a port", text);
	return 0;
}

static int listen_tcp(struct nbd_server *s, const char *text, struct err *err)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t n = sizeof(addr);
	char host[64], port[16];
	struct addrinfo *to;
	int on = 1, r = parse_tcp(text, &to, err);

	if (r < 0)
		return r;
	s->listen_fd =
		socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (s->listen_fd < 0 ||
	    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(s->listen_fd, to->ai_addr, to->ai_addrlen) < 0 ||
	    listen(s->listen_fd, BACKLOG) < 0 ||
	    getsockname(s->listen_fd, (struct sockaddr *)&addr, &n) < 0)
		r = err_set_errno(err, "listen at '%s'", text);
	else if (getnameinfo((struct sockaddr *)&addr, n, host, sizeof(host), port, sizeof(port),
			     NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		r = err_set(err, -EINVAL, "'%s' has no name", text);
	freeaddrinfo(to);
	if (r < 0)
		return r;
	strbuf_addf(&s->uri, addr.ss_family == AF_INET6 ? "nbd%s://[%s]:%s/" : "nbd%s://%s:%s/",
		    s->keys ? "s" : "", host, port);
	add_escaped(&s->uri, s->o.export.name);
	return 0;
}

int nbd_server_new(const struct nbd_server_opts *o, struct nbd_server **ret, struct err *err)
{
	struct nbd_server *s = mem_new(sizeof(*s));
	int r = 0;

	s->o = *o;
	s->listen_fd = -EBADF;
	list_init(&s->clients);
	s->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->over_fd < 0)
		r = err_set_errno(err, "eventfd");
	if (r == 0 && strlen(o->export.name) > NBD_NAME_MAX)
		r = err_set(err, -EINVAL, "an export's name has up to %d bytes", NBD_NAME_MAX);
	if (r == 0)
		r = nbd_keys_new(&o->tls, &s->keys, err);
	if (r == 0 && str_starts(str_of(o->listen), STR("unix:")))
		r = listen_unix(s, o->listen + 5, err);
	else if (r == 0 && str_starts(str_of(o->listen), STR("tcp:")))
		r = listen_tcp(s, o->listen + 4, err);
	else if (r == 0)
		r = err_set(err, -EINVAL, "'%s' is neither tcp:ADDRESS:PORT nor unix:PATH",
			    o->listen);
	if (r < 0) {
		nbd_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

const char *nbd_server_uri(const struct nbd_server *s)
{
	return strbuf_cstr(&s->uri);
}

void nbd_server_free(struct nbd_server *s)
{
	if (!s)
		return;
	if (s->unix_path)
		outside_remove(s->unix_path);
	free(s->unix_path);
	fd_closep(&s->listen_fd);
	fd_closep(&s->over_fd);
	nbd_keys_free(s->keys);
	strbuf_done(&s->uri);
	free(s);
}
