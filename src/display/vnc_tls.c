/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The relay between viewers with TLS and libvncserver without (docs/decisions/0013).
 *
 *	viewer == VeNCrypt, TLS == relay -- socket pair -- libvncserver
 *
 * One thread, sockets that do not block, two buffers a connection: a side that does not read stops the other one's reading
 * and nothing else. Who is not through with its handshake in time loses its place. GnuTLS is opened when it is needed;
 * libvncserver has brought it into the process anyway.
 */
#include "display/vnc_tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "display/vencrypt.h"
#include "sys/fd.h"
#include "sys/library.h"
#include "sys/thread.h"

enum { CONNECTIONS = 16, BUFFER = 16384, FIRST_PORT = 5900, LAST_PORT = 5999 };
#define LIBRARY	    "libgnutls.so.30"
#define PATIENCE_NS (20 * NS_PER_S)

#define FUNCTIONS(X)                                                                               \
	X(init)                                                                                    \
	X(deinit)                                                                                  \
	X(priority_set_direct)                                                                     \
	X(credentials_set)                                                                         \
	X(transport_set_int2)                                                                      \
	X(handshake)                                                                               \
	X(record_recv)                                                                             \
	X(record_send)                                                                             \
	X(record_check_pending)                                                                    \
	X(record_get_direction)                                                                    \
	X(bye)                                                                                     \
	X(strerror)                                                                                \
	X(error_is_fatal)                                                                          \
	X(certificate_allocate_credentials)                                                        \
	X(certificate_free_credentials)                                                            \
	X(certificate_set_x509_key_file)                                                           \
	X(anon_allocate_server_credentials)                                                        \
	X(anon_free_server_credentials)

/* The library's functions that we use. */
#define DECLARE(name) __typeof__(&gnutls_##name) name;
struct tls_library {
	FUNCTIONS(DECLARE)
};

struct buffer {
	uint8_t p[BUFFER];
	size_t at, n;
};

struct conn {
	int fd, inner; /* negative: free; not connected yet */
	gnutls_session_t tls;
	struct vencrypt v;
	enum { PLAIN, SHAKING, SECURED } tls_state;
	uint64_t deadline_ns; /* of what comes before the open connection */
	struct buffer to_viewer, to_server;
};

struct vnc_tls {
	struct vnc_tls_config cfg;
	struct tls_library lib;
	gnutls_certificate_credentials_t cert;
	gnutls_anon_server_credentials_t anon;
	const char *priority;
	int listen_fd, wake_fd;
	unsigned int port;
	struct conn *conn; /* CONNECTIONS */
	struct thread thread;
	_Atomic bool stop;
};

static int load(struct vnc_tls *t, struct err *err)
{
#define SYMBOL(name) { "gnutls_" #name, &t->lib.name },
	const struct library_symbol symbols[] = { FUNCTIONS(SYMBOL) };

	return library_load(LIBRARY, "VNC with TLS", "libgnutls30", symbols, ARRAY_SIZE(symbols),
			    err);
}

static int load_keys(struct vnc_tls *t, const char *folder, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf cert = { 0 }, key = { 0 };
	int r;

	if (!folder) {
		/* TLS 1.3 has no anonymous key exchange. */
		t->priority = "NORMAL:-VERS-TLS1.3:-KX-ALL:+ANON-ECDH:+ANON-DH";
		r = t->lib.anon_allocate_server_credentials(&t->anon);
		return r < 0 ? err_set(err, -ENOMEM, "VNC: %s", t->lib.strerror(r)) : 0;
	}
	t->priority = "NORMAL";
	strbuf_addf(&cert, "%s/server-cert.pem", folder);
	strbuf_addf(&key, "%s/server-key.pem", folder);
	r = t->lib.certificate_allocate_credentials(&t->cert);
	if (r == 0)
		r = t->lib.certificate_set_x509_key_file(t->cert, strbuf_cstr(&cert),
							 strbuf_cstr(&key), GNUTLS_X509_FMT_PEM);
	return r < 0 ? err_set(err, -EINVAL, "VNC: certificate '%s' with key '%s': %s",
			       strbuf_cstr(&cert), strbuf_cstr(&key), t->lib.strerror(r))
		     : 0;
}

/* --- a connection ---------------------------------------------------------------------------- */

static void drop(struct vnc_tls *t, struct conn *c)
{
	if (c->tls) {
		if (c->tls_state == SECURED)
			t->lib.bye(c->tls, GNUTLS_SHUT_WR); /* as far as it goes without waiting */
		t->lib.deinit(c->tls);
		c->tls = NULL;
	}
	fd_closep(&c->fd);
	fd_closep(&c->inner);
}

/* Each of these returns false when the connection is over. */

static bool start_tls(struct vnc_tls *t, struct conn *c)
{
	int r = t->lib.init(&c->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (r < 0) {
		c->tls = NULL;
		return false;
	}
	c->tls_state = SHAKING;
	t->lib.transport_set_int2(c->tls, c->fd, c->fd);
	return t->lib.priority_set_direct(c->tls, t->priority, NULL) == 0 &&
	       t->lib.credentials_set(c->tls, t->cert ? GNUTLS_CRD_CERTIFICATE : GNUTLS_CRD_ANON,
				      t->cert ? (void *)t->cert : (void *)t->anon) == 0;
}

/* The server's end is made only for who speaks TLS. */
static bool reach_server(struct vnc_tls *t, struct conn *c)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return false;
	c->inner = pair[0];
	vencrypt_secured(&c->v);
	t->cfg.viewer(t->cfg.arg, pair[1]);
	return true;
}

static bool shake(struct vnc_tls *t, struct conn *c)
{
	int r = t->lib.handshake(c->tls);

	if (r == 0) {
		c->tls_state = SECURED;
		return reach_server(t, c);
	}
	return !t->lib.error_is_fatal(r);
}

/* What was said goes out before anything more is heard. */
static bool flush_words(struct vencrypt *v, int fd)
{
	ssize_t n = v->out_n ? send(fd, v->out, v->out_n, MSG_NOSIGNAL) : 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	memmove(v->out, v->out + n, v->out_n - (size_t)n);
	v->out_n -= (size_t)n;
	return v->out_n || v->state != VENCRYPT_FAILED;
}

static bool hear_words(struct vencrypt *v, int fd)
{
	uint8_t p[VENCRYPT_IN_MAX];
	ssize_t n;

	if (v->out_n || !vencrypt_wants(v))
		return true;
	n = recv(fd, p, vencrypt_wants(v), 0);
	if (n > 0)
		vencrypt_feed(v, p, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool before_tls(struct vnc_tls *t, struct conn *c)
{
	if (!hear_words(&c->v, c->fd) || !flush_words(&c->v, c->fd))
		return false;
	return c->v.out_n || c->v.state != VENCRYPT_TLS || start_tls(t, c);
}

/* Out of TLS towards the server. */
static bool pass_in(struct vnc_tls *t, struct conn *c)
{
	struct buffer *b = &c->to_server;
	ssize_t n;

	if (!b->n) {
		n = t->lib.record_recv(c->tls, b->p, sizeof(b->p));
		if (n == 0 || (n < 0 && t->lib.error_is_fatal((int)n)))
			return false;
		b->at = 0;
		b->n = n > 0 ? (size_t)n : 0;
	}
	n = b->n ? send(c->inner, b->p + b->at, b->n, MSG_NOSIGNAL) : 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	b->at += (size_t)n;
	b->n -= (size_t)n;
	return true;
}

static bool pass_out(struct vnc_tls *t, struct conn *c)
{
	struct buffer *b = &c->to_viewer;
	ssize_t n;

	if (!b->n) {
		n = recv(c->inner, b->p, sizeof(b->p), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		b->at = 0;
		b->n = n > 0 ? (size_t)n : 0;
	}
	n = b->n ? t->lib.record_send(c->tls, b->p + b->at, b->n) : 0;
	if (n < 0)
		return !t->lib.error_is_fatal((int)n);
	b->at += (size_t)n;
	b->n -= (size_t)n;
	return true;
}

static bool is_open(const struct conn *c)
{
	return c->v.state == VENCRYPT_OPEN && !c->v.out_n;
}

static bool advance(struct vnc_tls *t, struct conn *c)
{
	if (c->tls_state == PLAIN)
		return before_tls(t, c);
	if (c->tls_state == SHAKING)
		return shake(t, c);
	if (!is_open(c))
		return hear_words(&c->v, c->inner) && flush_words(&c->v, c->inner);
	return pass_in(t, c) && pass_out(t, c);
}

/* What a connection waits for on each of its sockets. Returns whether it can go on at once. */
static bool wants(struct vnc_tls *t, const struct conn *c, struct pollfd *outer,
		  struct pollfd *inner)
{
	*outer = (struct pollfd){ .fd = c->fd };
	*inner = (struct pollfd){ .fd = -1 };
	if (c->fd < 0)
		return false;
	if (c->tls_state == PLAIN) {
		outer->events = c->v.out_n ? POLLOUT : POLLIN;
		return false;
	}
	if (c->tls_state == SHAKING) {
		outer->events = t->lib.record_get_direction(c->tls) ? POLLOUT : POLLIN;
		return false;
	}
	inner->fd = c->inner;
	if (!is_open(c)) {
		inner->events = c->v.out_n ? POLLOUT : POLLIN;
		return false;
	}
	inner->events = (short)((c->to_server.n ? POLLOUT : 0) | (c->to_viewer.n ? 0 : POLLIN));
	outer->events = (short)((c->to_server.n ? 0 : POLLIN) | (c->to_viewer.n ? POLLOUT : 0));
	/* What TLS has read already wakes no poll(). */
	return !c->to_server.n && t->lib.record_check_pending(c->tls) > 0;
}

/* --- the thread ------------------------------------------------------------------------------ */

static struct conn *free_conn(struct vnc_tls *t)
{
	for (unsigned int k = 0; k < CONNECTIONS; k++)
		if (t->conn[k].fd < 0)
			return &t->conn[k];
	return NULL;
}

static void accept_viewer(struct vnc_tls *t)
{
	struct conn *c = free_conn(t);
	int fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->inner = -EBADF;
	c->tls_state = PLAIN;
	c->to_viewer.n = c->to_server.n = 0;
	c->deadline_ns = clock_now(clock_real()) + PATIENCE_NS;
	vencrypt_init(&c->v, t->cert != NULL, t->cfg.has_password);
	if (!flush_words(&c->v, c->fd))
		drop(t, c);
}

static void serve(void *arg)
{
	struct vnc_tls *t = arg;

	while (!atomic_load(&t->stop)) {
		struct pollfd p[2 + 2 * CONNECTIONS] = {
			{ .fd = t->wake_fd, .events = POLLIN },
			{ .fd = t->listen_fd, .events = POLLIN },
		};
		bool now[CONNECTIONS], any = false, waits = false;
		uint64_t time;

		for (unsigned int k = 0; k < CONNECTIONS; k++) {
			now[k] = wants(t, &t->conn[k], &p[2 + 2 * k], &p[3 + 2 * k]);
			any = any || now[k];
			waits = waits || (t->conn[k].fd >= 0 && !is_open(&t->conn[k]));
		}
		if (poll(p, ARRAY_SIZE(p), any ? 0 : waits ? 1000 : -1) < 0)
			continue; /* EINTR; other failures are impossible for these arguments */
		time = clock_now(clock_real());
		for (unsigned int k = 0; k < CONNECTIONS; k++) {
			struct conn *c = &t->conn[k];
			bool has_event = now[k] || p[2 + 2 * k].revents || p[3 + 2 * k].revents;

			if (c->fd >= 0 && ((has_event && !advance(t, c)) ||
					   (!is_open(c) && time > c->deadline_ns)))
				drop(t, c);
		}
		if (p[1].revents)
			accept_viewer(t);
	}
}

static int listen_at(struct vnc_tls *t, struct err *err)
{
	unsigned int first = t->cfg.port ? t->cfg.port : FIRST_PORT;
	unsigned int last = t->cfg.port ? t->cfg.port : LAST_PORT;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = t->cfg.address };
	const int one = 1;

	t->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->listen_fd < 0)
		return err_set_errno(err, "VNC: socket");
	setsockopt(t->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	for (unsigned int port = first; port <= last; port++) {
		to.sin_port = htons((uint16_t)port);
		if (bind(t->listen_fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			continue;
		t->port = port;
		/* Another socket of the same port may be ahead of us until here. */
		if (listen(t->listen_fd, CONNECTIONS) == 0)
			return 0;
		break;
	}
	return err_set(err, -EADDRINUSE, "VNC: cannot listen at port %u", first);
}

static int start(struct vnc_tls *t, struct err *err)
{
	int r = load(t, err);

	if (r == 0)
		r = load_keys(t, t->cfg.certificates, err);
	t->cfg.certificates = NULL; /* the caller's */
	if (r == 0)
		r = listen_at(t, err);
	if (r < 0)
		return r;
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0)
		return err_set_errno(err, "eventfd");
	return thread_start(&t->thread, "vnc-tls", serve, t, err);
}

int vnc_tls_new(const struct vnc_tls_config *cfg, struct vnc_tls **ret, struct err *err)
{
	struct vnc_tls *t = mem_new(sizeof(*t));
	int r;

	t->cfg = *cfg;
	t->listen_fd = t->wake_fd = -EBADF;
	t->conn = mem_new_n(CONNECTIONS, sizeof(*t->conn));
	for (unsigned int k = 0; k < CONNECTIONS; k++)
		t->conn[k].fd = t->conn[k].inner = -EBADF;
	r = start(t, err);
	if (r < 0) {
		vnc_tls_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void vnc_tls_free(struct vnc_tls *t)
{
	const uint64_t one = 1;

	if (!t)
		return;
	atomic_store(&t->stop, true);
	if (t->wake_fd >= 0)
		ignore_result(
			write(t->wake_fd, &one, sizeof(one))); /* a full counter wakes as well */
	thread_join(&t->thread);
	for (unsigned int k = 0; k < CONNECTIONS; k++)
		drop(t, &t->conn[k]);
	if (t->cert)
		t->lib.certificate_free_credentials(t->cert);
	if (t->anon)
		t->lib.anon_free_server_credentials(t->anon);
	fd_closep(&t->listen_fd);
	fd_closep(&t->wake_fd);
	free(t->conn);
	free(t);
}

unsigned int vnc_tls_port(const struct vnc_tls *t)
{
	return t->port;
}
