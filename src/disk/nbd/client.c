/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that an NBD server has, by libnbd.
 *
 * Threads issue commands and wait. One of the waiting moves the bytes of all (the leader: it polls the socket and lets
 * libnbd read and write); when it has its own answer, another one takes over. A thread of its own for that was
 * rejected: each answer would take a change of threads.
 *
 *	CONNECTED ──(the server is gone: commands fail with ENOTCONN)──> BROKEN
 *	    ^                                                              │ nobody uses the handle any more
 *	    └────────────(one thread connects, the others wait) <──────────┤
 *	                                                                   v time is over
 *	                                                                 every request fails; one a second tries again
 *
 * A confined process cannot connect: the one outside does (sys/sandbox/outside.h), and hands the socket over; what is said on
 * it, the handshake included, is ours. TLS is not for that: libnbd reads its keys from files, each time.
 *
 * A request that the lost connection did not answer is done again, whole: all of them may be repeated. Only a flush
 * cannot be: whether the server still knows what it said it had taken, nobody can tell, so the first flush after a
 * loss with unflushed writes fails.
 */
#include "disk/nbd/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/nbd/library_priv.h"
#include "disk/nbd/place_priv.h"
#include "sys/fd.h"
#include "sys/thread.h"

#define CONNECT_NS  (10 * NS_PER_S)
#define PAUSE_MS    100 /* between two attempts */
#define RETRY_NS    NS_PER_S
#define TRANSFER    (2U << 20)
#define ZERO_MAX    (UINT64_C(1) << 30)
#define STATUS_MAX  (UINT64_C(1) << 30)
#define EXTENTS_MAX 1024
#define ALIGN_MAX   65536

struct extent {
	uint64_t end;
	bool is_hole;
};

/* What a server offers. */
struct offer {
	uint64_t size;
	uint32_t align, transfer;
	bool can_flush, can_zero, can_status;
};

struct nbd_client {
	char *uri;
	struct nbd_client_opts o;
	struct offer offer;
	struct nbd_place place; /* where it is for the process outside */
	int wake_fd;		/* the leader should look at the handle again */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* an answer, the end of the leader, the connection */
	struct nbd_handle *h;	/* NULL: not connected */
	bool has_leader, is_connecting, is_broken;
	unsigned active;      /* threads that use h */
	uint64_t lost_ns;     /* when it broke */
	bool is_given_up;     /* ... and stayed so for too long */
	uint64_t tried_ns;    /* the last attempt since then */
	bool has_lost_writes; /* it broke before a flush covered them */

	/* The last answer about holes, valid while nothing was written since. */
	uint64_t known_from;
	unsigned nr_known;
	uint64_t writes, known_writes; /* writes that were answered: all, before that answer */
	uint64_t flushed_writes;       /* ... before the last flush began */
	struct extent known[EXTENTS_MAX];
};

enum what { READ, WRITE, ZERO, FLUSH, STATUS };

/* One command. */
struct call {
	enum what what;
	uint64_t off, len;
	void *buf;
	bool no_hole;
	_Atomic bool is_done;
	int error; /* errno, valid once it is done */
	/* of a status */
	struct extent *extents;
	unsigned nr;
	uint64_t at;
};

bool nbd_is_uri(const char *name)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (str_starts(str_of(name), str_of(schemes[i])))
			return true;
	return false;
}

/* --- connecting ------------------------------------------------------------------------------- */

/* libnbd's words for what went wrong on this thread. */
static int complain(const struct nbd_client *c, struct err *err)
{
	int e = nbd_lib.get_errno();
	const char *text = nbd_lib.get_error();

	return err_set(err, e ? -e : -EPROTO, "'%.100s': %s", c->uri, text ? text : "failed");
}

/* A host that is switched off does not say so. */
static void watch_peer(int fd)
{
	/* Requests wait for nothing; libnbd says so only for what it connects itself. */
	static const int on = 1, idle_s = 10, every_s = 5, times = 3, limit_ms = 30000;

	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	ignore_result(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s)));
	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s)));
	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times)));
	ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms)));
}

static int by_uri(const struct nbd_client *c, struct nbd_handle *h)
{
	if (nbd_lib.set_uri_allow_transports(h, LIBNBD_ALLOW_TRANSPORT_TCP |
							LIBNBD_ALLOW_TRANSPORT_UNIX) < 0 ||
	    nbd_lib.set_uri_allow_local_file(h, !c->o.from_image) < 0 ||
	    nbd_lib.add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0)
		return -1;
	return nbd_lib.aio_connect_uri(h, c->uri);
}

static int from_outside(const struct nbd_client *c, struct nbd_handle *h, uint64_t deadline_ns,
			struct err *err)
{
	_cleanup_(fd_closep) int fd = nbd_place_connect(&c->place, deadline_ns, err);

	if (fd < 0)
		return err_wrap(err, fd, "'%.100s'", c->uri);
	if (nbd_lib.set_export_name(h, c->place.export) < 0 ||
	    nbd_lib.add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_lib.aio_connect_socket(h, fd_take(&fd)) < 0)
		return complain(c, err);
	return 0;
}

static int connect_handle(const struct nbd_client *c, uint64_t deadline_ns, struct nbd_handle **ret,
			  struct err *err)
{
	struct nbd_handle *h = nbd_lib.create();
	int r = 0;

	if (!h)
		return complain(c, err);
	if (c->place.server >= 0)
		r = from_outside(c, h, deadline_ns, err);
	else if (by_uri(c, h) < 0)
		r = complain(c, err);
	while (r == 0 && nbd_lib.aio_is_connecting(h)) {
		uint64_t now = clock_now(clock_real());

		if (now >= deadline_ns)
			r = err_set(err, -ETIMEDOUT, "'%.100s' does not answer", c->uri);
		else if (nbd_lib.poll(h, (int)((deadline_ns - now) / NS_PER_MS) + 1) < 0)
			r = complain(c, err);
	}
	if (r == 0 && !nbd_lib.aio_is_ready(h))
		r = err_set(err, -ECONNRESET, "'%.100s' ended the connection", c->uri);
	if (r < 0) {
		nbd_lib.close(h);
		return r;
	}
	watch_peer(nbd_lib.aio_get_fd(h));
	*ret = h;
	return 0;
}

static int learn(const struct nbd_client *c, struct nbd_handle *h, struct offer *ret,
		 struct err *err)
{
	int64_t size = nbd_lib.get_size(h);
	int64_t min = nbd_lib.get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t max = nbd_lib.get_block_size(h, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return complain(c, err);
	if (c->o.write && nbd_lib.is_read_only(h) != 0)
		return err_set(err, -EROFS, "'%.100s' is served for reading only", c->uri);
	if (min > ALIGN_MAX || !is_pow2((uint64_t)MAX(min, (int64_t)1)))
		return err_set(err, -EPROTO, "'%.100s' has blocks of %lld bytes", c->uri,
			       (long long)min);
	*ret = (struct offer){
		.size = (uint64_t)size,
		.align = (uint32_t)MAX(min, (int64_t)1),
		.can_flush = nbd_lib.can_flush(h) > 0,
		.can_zero = nbd_lib.can_zero(h) > 0,
		.can_status = nbd_lib.can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
	};
	ret->transfer = max > 0 ? (uint32_t)MIN(max, (int64_t)TRANSFER) : TRANSFER;
	ret->transfer = (uint32_t)align_down(ret->transfer, ret->align);
	if (!ret->transfer)
		return err_set(err, -EPROTO, "'%.100s' takes no requests of one block", c->uri);
	return 0;
}

enum disk_servers nbd_client_servers(const struct nbd_client *c)
{
	return c->place.server >= 0 || !c->o.reconnect_ns ? DISK_SERVERS_BESIDE
							  : DISK_SERVERS_SOUGHT;
}

int nbd_client_open(const char *uri, const struct nbd_client_opts *o, struct nbd_client **ret,
		    uint64_t *ret_size, uint32_t *ret_align, struct err *err)
{
	struct nbd_client *c;
	int r = nbd_library_load(err);

	if (r < 0)
		return r;
	c = mem_new(sizeof(*c));
	mutex_init(&c->lock);
	cond_init(&c->changed);
	c->uri = mem_strdup(uri);
	c->o = *o;
	c->place.server = -1;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		r = err_set_errno(err, "eventfd");
	if (r == 0)
		r = connect_handle(c, clock_now(clock_real()) + CONNECT_NS, &c->h, err);
	if (r == 0)
		r = learn(c, c->h, &c->offer, err);
	if (r < 0) {
		nbd_client_close(c);
		return r;
	}
	if (o->reconnect_ns)
		nbd_place_note(c->h, uri, &c->place);
	*ret = c;
	*ret_size = c->offer.size;
	*ret_align = c->offer.align;
	return 0;
}

void nbd_client_close(struct nbd_client *c)
{
	if (!c)
		return;
	if (c->h) {
		ignore_result(nbd_lib.aio_disconnect(c->h, 0)); /* out of courtesy */
		nbd_lib.close(c->h);
	}
	fd_closep(&c->wake_fd);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c->place.export);
	free(c->uri);
	free(c);
}

/* --- a lost connection ------------------------------------------------------------------------ */

/* The same disk as before? */
static int connect_again(struct nbd_client *c, uint64_t deadline_ns)
{
	struct nbd_handle *h = NULL;
	struct offer now;
	int r = connect_handle(c, deadline_ns, &h, NULL);

	if (r == 0)
		r = learn(c, h, &now, NULL);
	if (r == 0 && (now.size != c->offer.size || now.align > c->offer.align ||
		       now.transfer < c->offer.transfer))
		r = -ESTALE;
	if (r < 0) {
		if (h)
			nbd_lib.close(h);
		return r;
	}
	c->h = h;
	return 0;
}

/* Returns as connect_again(). */
static int reconnect(struct nbd_client *c)
{
	uint64_t until = c->lost_ns + c->o.reconnect_ns;

	for (;;) {
		uint64_t now = clock_now(clock_real());
		int r = connect_again(c, c->is_given_up ? now + RETRY_NS
							: MIN(until, now + CONNECT_NS));

		if (r == 0 || r == -ESTALE || c->is_given_up || clock_now(clock_real()) >= until)
			return r;
		poll(NULL, 0, PAUSE_MS);
	}
}

/* Holds the lock. A handle to use; the caller is counted in `active`. */
static int take_handle(struct nbd_client *c)
{
	while (c->is_broken) {
		int r;

		if (!c->o.reconnect_ns)
			return -ENOTCONN;
		if (c->is_connecting || c->active) {
			cond_wait(&c->changed, &c->lock);
			continue;
		}
		if (c->is_given_up && clock_now(clock_real()) < c->tried_ns + RETRY_NS)
			return -ENOTCONN;
		c->is_connecting = true;
		if (c->h)
			nbd_lib.close(c->h);
		c->h = NULL;
		mutex_unlock(&c->lock);
		r = reconnect(c);
		mutex_lock(&c->lock);
		c->is_connecting = false;
		c->is_broken = c->is_given_up = r < 0;
		c->tried_ns = clock_now(clock_real());
		pthread_cond_broadcast(&c->changed);
	}
	c->active++;
	return 0;
}

static bool is_lost(struct nbd_handle *h)
{
	return nbd_lib.aio_is_dead(h) || nbd_lib.aio_is_closed(h);
}

static void note_loss(struct nbd_client *c)
{
	if (c->is_broken)
		return;
	c->is_broken = true;
	c->lost_ns = clock_now(clock_real());
	c->has_lost_writes |= c->writes != c->flushed_writes;
	c->flushed_writes = c->writes;
	c->nr_known = 0;
}

/* --- commands --------------------------------------------------------------------------------- */

static int completed(void *arg, int *error)
{
	struct call *call = arg;

	call->error = *error;
	atomic_store_explicit(&call->is_done, true, memory_order_release);
	return 1;
}

static int on_extents(void *arg, const char *context, uint64_t off, uint32_t *entries, size_t nr,
		      int *error)
{
	struct call *call = arg;

	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || off != call->off)
		return 0;
	for (size_t i = 0; i + 1 < nr && call->nr < EXTENTS_MAX; i += 2) {
		bool is_hole = entries[i + 1] & LIBNBD_STATE_ZERO;

		call->at += entries[i];
		if (call->nr && call->extents[call->nr - 1].is_hole == is_hole)
			call->extents[call->nr - 1].end = call->at;
		else
			call->extents[call->nr++] =
				(struct extent){ .end = call->at, .is_hole = is_hole };
	}
	return 0;
}

static int64_t issue(struct nbd_handle *h, struct call *call)
{
	nbd_completion_callback done = { .callback = completed, .user_data = call };

	switch (call->what) {
	case READ:
		return nbd_lib.aio_pread(h, call->buf, call->len, call->off, done, 0);
	case WRITE:
		return nbd_lib.aio_pwrite(h, call->buf, call->len, call->off, done, 0);
	case ZERO:
		return nbd_lib.aio_zero(h, call->len, call->off, done,
					call->no_hole ? LIBNBD_CMD_FLAG_NO_HOLE : 0);
	case FLUSH:
		return nbd_lib.aio_flush(h, done, 0);
	case STATUS:
		break;
	}
	return nbd_lib.aio_block_status(h, call->len, call->off,
					(nbd_extent_callback){ .callback = on_extents,
							       .user_data = call },
					done, 0);
}

static void wake_leader(struct nbd_client *c)
{
	uint64_t one = 1;

	ignore_result(write(c->wake_fd, &one, sizeof(one))); /* it is readable already */
}

/* The leader's turn: wait for the socket, let libnbd move bytes. */
static void lead(struct nbd_client *c, struct nbd_handle *h)
{
	unsigned direction = nbd_lib.aio_get_direction(h);
	struct pollfd p[2] = { { .fd = nbd_lib.aio_get_fd(h) },
			       { .fd = c->wake_fd, .events = POLLIN } };
	uint64_t n;

	if (is_lost(h))
		return;
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		p[0].events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		p[0].events |= POLLOUT;
	if (poll(p, ARRAY_SIZE(p), -1) < 0)
		return; /* EINTR */
	if (p[1].revents)
		ignore_result(read(c->wake_fd, &n, sizeof(n))); /* empty: somebody else did */
	/* What goes wrong is told by the commands that fail of it. */
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
		ignore_result(nbd_lib.aio_notify_read(h));
	else if (p[0].revents & (POLLOUT | POLLHUP | POLLERR))
		ignore_result(nbd_lib.aio_notify_write(h));
}

/* Holds the lock. */
static void await(struct nbd_client *c, struct call *call)
{
	struct nbd_handle *h = c->h;

	while (!atomic_load_explicit(&call->is_done, memory_order_acquire)) {
		if (c->has_leader) {
			cond_wait(&c->changed, &c->lock);
			continue;
		}
		c->has_leader = true;
		mutex_unlock(&c->lock);
		lead(c, h);
		mutex_lock(&c->lock);
		c->has_leader = false;
		pthread_cond_broadcast(&c->changed);
	}
}

/* One attempt. *ret_lost: the connection broke, the answer is unknown. */
static int attempt(struct nbd_client *c, struct call *call, bool *ret_lost)
{
	int r = 0;

	atomic_store(&call->is_done, false);
	call->error = 0;
	call->nr = 0;
	call->at = call->off;
	if (issue(c->h, call) < 0) {
		r = -nbd_lib.get_errno();
	} else {
		/* Sending it may have met answers of others. */
		if (c->has_leader)
			wake_leader(c);
		pthread_cond_broadcast(&c->changed);
		await(c, call);
		r = -call->error;
	}
	*ret_lost = r < 0 && is_lost(c->h);
	return r;
}

static int run(struct nbd_client *c, struct call *call)
{
	bool lost;
	int r;

	mutex_guard(&c->lock);
	do {
		r = take_handle(c);
		if (r < 0)
			return r;
		r = attempt(c, call, &lost);
		if (lost)
			note_loss(c);
		c->active--;
		if (lost)
			pthread_cond_broadcast(&c->changed);
	} while (lost);
	c->writes += call->what == WRITE || call->what == ZERO;
	return r;
}

/* A command in pieces that are no longer than @max. */
static int run_pieces(struct nbd_client *c, struct call call, uint64_t len, uint64_t max)
{
	int r = 0;

	while (len && r == 0) {
		call.len = MIN(len, max);
		r = run(c, &call);
		call.off += call.len;
		if (call.buf)
			call.buf = (char *)call.buf + call.len;
		len -= call.len;
	}
	return r;
}

int nbd_client_read(struct nbd_client *c, uint64_t off, void *buf, size_t n)
{
	return run_pieces(c, (struct call){ .what = READ, .off = off, .buf = buf }, n,
			  c->offer.transfer);
}

int nbd_client_write(struct nbd_client *c, uint64_t off, const void *buf, size_t n)
{
	return run_pieces(c, (struct call){ .what = WRITE, .off = off, .buf = (void *)buf }, n,
			  c->offer.transfer);
}

int nbd_client_zero(struct nbd_client *c, uint64_t off, uint64_t len, bool unmap)
{
	int r;

	if (!c->offer.can_zero || (off | len) & (c->offer.align - 1))
		return -EOPNOTSUPP;
	r = run_pieces(c, (struct call){ .what = ZERO, .off = off, .no_hole = !unmap }, len,
		       ZERO_MAX);
	return r == -ENOTSUP ? -EOPNOTSUPP : r;
}

int nbd_client_flush(struct nbd_client *c)
{
	struct call call = { .what = FLUSH };
	uint64_t writes;
	bool lost;
	int r = 0;

	mutex_lock(&c->lock);
	writes = c->writes;
	mutex_unlock(&c->lock);
	if (c->offer.can_flush)
		r = run(c, &call);
	mutex_guard(&c->lock);
	if (r < 0)
		return r;
	lost = c->has_lost_writes;
	c->has_lost_writes = false;
	c->flushed_writes = MAX(c->flushed_writes, writes);
	return lost ? -EIO : 0;
}

/* Holds the lock. */
static bool look_up(struct nbd_client *c, uint64_t off, uint64_t len, bool *ret_hole,
		    uint64_t *ret_len)
{
	if (c->known_writes != c->writes || !c->nr_known || off < c->known_from)
		return false;
	for (unsigned lo = 0, hi = c->nr_known; lo < hi;) {
		unsigned mid = (lo + hi) / 2;

		if (off >= c->known[mid].end) {
			lo = mid + 1;
		} else if (mid > lo && off < c->known[mid - 1].end) {
			hi = mid;
		} else {
			*ret_hole = c->known[mid].is_hole;
			*ret_len = MIN(len, c->known[mid].end - off);
			return true;
		}
	}
	return false;
}

int nbd_client_hole(struct nbd_client *c, uint64_t off, uint64_t len, bool *ret_hole,
		    uint64_t *ret_len)
{
	_cleanup_(mem_freep) struct extent *extents = NULL;
	struct call call = { .what = STATUS, .off = align_down(off, c->offer.align) };
	uint64_t writes;
	bool found;
	int r;

	*ret_hole = false;
	*ret_len = len;
	mutex_lock(&c->lock);
	found = look_up(c, off, len, ret_hole, ret_len);
	writes = c->writes;
	mutex_unlock(&c->lock);
	if (found || !c->offer.can_status)
		return 0;
	extents = mem_new_n(EXTENTS_MAX, sizeof(*extents));
	call.extents = extents;
	call.len =
		MIN(MIN(align_up(off + len, c->offer.align), c->offer.size) - call.off, STATUS_MAX);
	r = run(c, &call);
	if (r < 0)
		return r;
	mutex_guard(&c->lock);
	c->known_from = call.off;
	c->nr_known = call.nr;
	c->known_writes = writes;
	memcpy(c->known, extents, call.nr * sizeof(*extents));
	/* Written to meanwhile, or no answer: data is always true. */
	if (!look_up(c, off, len, ret_hole, ret_len))
		*ret_hole = false;
	return 0;
}
