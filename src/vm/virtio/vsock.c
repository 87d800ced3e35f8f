/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets between guest and host.
 *
 *	host: connect --CONNECT P--> says --> asked --REQUEST--> guest --RESPONSE--> open
 *	guest --REQUEST--> connect(PATH_P) --> open --RESPONSE--> guest
 *	open --SHUTDOWN of both directions, or the host's end--> free, RST to the guest
 *
 * Nothing grows: bytes of the guest wait in a buffer of fixed size for each connection, and the guest was told how large it
 * is (credit); who sends more is reset. Bytes of the host wait in the host's socket until the guest has room. What has
 * to be said to the guest besides data is a bit for each kind and connection; refusals of what is no connection wait in an
 * array, and while that is full no packet of the guest is looked at.
 *
 * A packet of the guest is its header and its data, both copied in before anything is believed.
 */
#include "vm/virtio/vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/sandbox/outside.h"
#include "sys/thread.h"

/* clang-format off */
enum {
	ID_VSOCK = 19, QUEUE_SIZE = 128,
	Q_RX = 0, Q_TX = 1, Q_EVENT = 2, NR_QUEUES = 3,
	HOST_CID = 2,

	/* Packet header (5.10.6). */
	H_SRC_CID = 0, H_DST_CID = 8, H_SRC_PORT = 16, H_DST_PORT = 20, H_LEN = 24, H_TYPE = 28,
	H_OP = 30, H_FLAGS = 32, H_BUF_ALLOC = 36, H_FWD_CNT = 40, HEADER = 44,
	TYPE_STREAM = 1,
	OP_REQUEST = 1, OP_RESPONSE = 2, OP_RST = 3, OP_SHUTDOWN = 4, OP_RW = 5,
	OP_CREDIT_UPDATE = 6, OP_CREDIT_REQUEST = 7,
	SHUT_RECEIVE = 1, SHUT_SEND = 2,

	/* vsock_conn.wants */
	WANT_REQUEST = 1, WANT_RESPONSE = 2, WANT_CREDIT = 4, WANT_SHUTDOWN = 8,

	FIRST_PORT = 1 << 30,
};
/* clang-format on */

static struct virtio_vsock *vsock_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_vsock, dev);
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t used = c->sent - c->peer_fwd;

	return used < c->peer_alloc ? c->peer_alloc - used : 0;
}

static bool may_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !c->has_ended && !c->guest_deaf && credit(c);
}

static void set_events(struct vsock_conn *c)
{
	bool in = c->state == VSOCK_SAYS || (may_read(c) && !c->is_readable);

	io_watch_set(c->v->dev.io, &c->watch, (in ? EPOLLIN : 0) | (c->n ? EPOLLOUT : 0));
}

static void listen_again(struct virtio_vsock *v, bool on)
{
	io_watch_set(v->dev.io, &v->listener, on ? EPOLLIN : 0);
}

static void end(struct vsock_conn *c)
{
	io_watch_del(c->v->dev.io, &c->watch);
	fd_closep(&c->fd);
	free(take_ptr(&c->buffer));
	c->state = VSOCK_FREE;
	c->wants = 0;
	listen_again(c->v, true);
}

static void refuse(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port)
{
	/* run_tx() sees to it that there is room for what the guest causes, and the host causes one a connection. */
	if (v->nr_resets == VSOCK_RESETS)
		return;
	v->reset[v->nr_resets].guest_port = guest_port;
	v->reset[v->nr_resets++].host_port = host_port;
	virtio_again(&v->dev, Q_RX);
}

/* The guest knows of it, and shall not any more. */
static void reset_conn(struct vsock_conn *c)
{
	refuse(c->v, c->guest_port, c->host_port);
	end(c);
}

static void want(struct vsock_conn *c, unsigned int what)
{
	c->wants |= what;
	virtio_again(&c->v->dev, Q_RX);
}

static void on_ready(void *arg, uint32_t events);

/* Takes over @fd. Returns NULL, with it closed, when there is no room. */
static struct vsock_conn *add(struct virtio_vsock *v, int fd, enum vsock_state state)
{
	struct vsock_conn *c = NULL;

	for (unsigned int k = 0; k < VSOCK_CONNS && !c; k++)
		if (v->conn[k].state == VSOCK_FREE)
			c = &v->conn[k];
	if (c) {
		*c = (struct vsock_conn){ .v = v,
					  .fd = fd,
					  .watch = { .fd = fd, .fn = on_ready, .arg = c } };
		if (mem_try(&c->buffer, VSOCK_BUFFER, VSOCK_BUFFER) == 0 &&
		    io_watch_add(v->dev.io, &c->watch, EPOLLIN, NULL) == 0) {
			c->state = state;
			return c;
		}
		free(take_ptr(&c->buffer));
		c->watch.fd = c->fd = -EBADF;
	}
	close(fd);
	return NULL;
}

static struct vsock_conn *find(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port)
{
	for (unsigned int k = 0; k < VSOCK_CONNS; k++) {
		struct vsock_conn *c = &v->conn[k];

		if (c->state > VSOCK_SAYS && c->guest_port == guest_port &&
		    c->host_port == host_port)
			return c;
	}
	return NULL;
}

/* --- bytes of the guest --------------------------------------------------------------------------------------------- */

/* Gives the host's program what it takes. Returns false when the connection has ended. */
static bool flush(struct vsock_conn *c)
{
	while (c->n) {
		uint32_t part = MIN(c->n, (uint32_t)VSOCK_BUFFER - c->first);
		ssize_t n = send(c->fd, c->buffer + c->first, part, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && (c->has_ended || c->guest_deaf)) {
			reset_conn(c);
			return false;
		}
		/* Nobody will take it; but the guest may hear the rest. */
		if (n < 0)
			n = part;
		c->first = (c->first + (uint32_t)n) % VSOCK_BUFFER;
		c->n -= (uint32_t)n;
		c->fwd_cnt += (uint32_t)n;
	}
	/* Before the guest believes that there is no room. */
	if (c->fwd_cnt - c->told_fwd_cnt >= VSOCK_BUFFER / 2)
		want(c, WANT_CREDIT);
	if (!c->n && c->guest_mute) {
		/* All that it said is there; and if it takes nothing either, that was all. */
		if (c->guest_deaf) {
			reset_conn(c);
			return false;
		}
		shutdown(c->fd, SHUT_WR);
	}
	return true;
}

static void put_bytes(struct vsock_conn *c, const uint8_t *p, uint32_t n)
{
	for (uint32_t done = 0; done < n;) {
		uint32_t at = (c->first + c->n) % VSOCK_BUFFER;
		uint32_t part = MIN(n - done, (uint32_t)VSOCK_BUFFER - at);

		memcpy(c->buffer + at, p + done, part);
		c->n += part;
		done += part;
	}
}

/* --- packets of the guest ---------------------------------------------------------------------------------------------- */

static void set_credit(struct vsock_conn *c, const uint8_t *h)
{
	c->peer_alloc = get_le32(h + H_BUF_ALLOC);
	c->peer_fwd = get_le32(h + H_FWD_CNT);
}

static void on_request(struct virtio_vsock *v, const uint8_t *h)
{
	uint32_t guest_port = get_le32(h + H_SRC_PORT), host_port = get_le32(h + H_DST_PORT);
	struct vsock_conn *c = NULL;
	int fd = v->path[0] ? outside_dial(v->path, host_port) : -ECONNREFUSED;

	if (fd >= 0)
		c = add(v, fd, VSOCK_OPEN);
	if (!c) {
		refuse(v, guest_port, host_port);
		return;
	}
	c->guest_port = guest_port;
	c->host_port = host_port;
	set_credit(c, h);
	want(c, WANT_RESPONSE);
	set_events(c);
}

/* The guest has accepted. The host's program hears so before anything else. */
static void on_response(struct vsock_conn *c)
{
	char text[16];
	int n;

	if (c->state != VSOCK_ASKED) {
		reset_conn(c);
		return;
	}
	n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);
	c->state = VSOCK_OPEN;
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		reset_conn(c);
}

static void on_shutdown(struct vsock_conn *c, uint32_t flags)
{
	c->guest_deaf = c->guest_deaf || (flags & SHUT_RECEIVE);
	c->guest_mute = c->guest_mute || (flags & SHUT_SEND);
	(void)flush(c);
}

static void on_data(struct vsock_conn *c, const uint8_t *data, uint32_t n)
{
	if (c->state != VSOCK_OPEN || c->guest_mute || n > VSOCK_BUFFER - c->n) {
		reset_conn(c);
		return;
	}
	put_bytes(c, data, n);
	(void)flush(c);
}

static void on_packet(struct virtio_vsock *v, const uint8_t *h, const uint8_t *data, uint32_t n)
{
	uint32_t guest_port = get_le32(h + H_SRC_PORT), host_port = get_le32(h + H_DST_PORT);
	uint16_t op = get_le16(h + H_OP);
	struct vsock_conn *c;

	/* In somebody else's name, or to somebody else: there is nobody to answer. */
	if (get_le64(h + H_SRC_CID) != v->cid)
		return;
	c = find(v, guest_port, host_port);
	if (get_le64(h + H_DST_CID) != HOST_CID || get_le16(h + H_TYPE) != TYPE_STREAM) {
		if (op != OP_RST)
			refuse(v, guest_port, host_port);
		return;
	}
	if (op == OP_REQUEST && !c) {
		on_request(v, h);
		return;
	}
	if (!c) {
		if (op != OP_RST)
			refuse(v, guest_port, host_port);
		return;
	}
	set_credit(c, h);
	switch (op) {
	case OP_RESPONSE:
		on_response(c);
		break;
	case OP_RST:
		end(c);
		break;
	case OP_SHUTDOWN:
		on_shutdown(c, get_le32(h + H_FLAGS));
		break;
	case OP_RW:
		on_data(c, data, n);
		break;
	case OP_CREDIT_REQUEST:
		want(c, WANT_CREDIT);
		break;
	case OP_CREDIT_UPDATE:
		break;
	default:
		reset_conn(c);
		break;
	}
	if (c->state != VSOCK_FREE)
		set_events(c);
}

static void run_tx(struct virtio_vsock *v)
{
	struct virtio_dev *d = &v->dev;
	unsigned int n = 0;

	/* Each packet causes two refusals at most. */
	while (v->nr_resets + 2 <= VSOCK_RESETS && virtio_pop(d, &d->q[Q_TX], &v->chain, &n)) {
		uint8_t h[HEADER];
		uint32_t len = 0;
		bool is_whole = chain_read(&v->chain, 0, h, HEADER) == HEADER;

		if (is_whole)
			len = get_le32(h + H_LEN);
		is_whole = is_whole && len <= sizeof(v->packet) &&
			   chain_read(&v->chain, HEADER, v->packet, len) == len;
		virtio_push(d, &v->chain, 0);
		if (is_whole)
			on_packet(v, h, v->packet, len);
	}
	virtio_signal(d, &d->q[Q_TX]);
}

/* --- packets to the guest -------------------------------------------------------------------------------------------- */

/* The chain gets a packet whose data, @len bytes, is in its place. */
static void send_packet(struct virtio_vsock *v, const struct vsock_conn *c, uint32_t guest_port,
			uint32_t host_port, uint16_t op, uint32_t flags, uint32_t len)
{
	uint8_t h[HEADER] = { 0 };

	put_le64(h + H_SRC_CID, HOST_CID);
	put_le64(h + H_DST_CID, v->cid);
	put_le32(h + H_SRC_PORT, host_port);
	put_le32(h + H_DST_PORT, guest_port);
	put_le32(h + H_LEN, len);
	put_le16(h + H_TYPE, TYPE_STREAM);
	put_le16(h + H_OP, op);
	put_le32(h + H_FLAGS, flags);
	put_le32(h + H_BUF_ALLOC, c ? VSOCK_BUFFER : 0);
	put_le32(h + H_FWD_CNT, c ? c->fwd_cnt : 0);
	chain_write(&v->chain, 0, h, HEADER);
	virtio_push(&v->dev, &v->chain, HEADER + len);
}

/* One of the packets that @c wants to be sent. */
static void send_wanted(struct vsock_conn *c)
{
	static const struct {
		unsigned int want;
		uint16_t op;
		uint32_t flags;
	} kinds[] = {
		{ WANT_REQUEST, OP_REQUEST, 0 },
		{ WANT_RESPONSE, OP_RESPONSE, 0 },
		{ WANT_CREDIT, OP_CREDIT_UPDATE, 0 },
		{ WANT_SHUTDOWN, OP_SHUTDOWN, SHUT_SEND },
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (!(c->wants & kinds[k].want))
			continue;
		c->wants &= ~kinds[k].want;
		c->told_fwd_cnt = c->fwd_cnt;
		send_packet(c->v, c, c->guest_port, c->host_port, kinds[k].op, kinds[k].flags, 0);
		if (kinds[k].want == WANT_SHUTDOWN && c->is_hung)
			reset_conn(c);
		return;
	}
}

/* Bytes of the host into the chain. Returns false when there are none. */
static bool send_data(struct vsock_conn *c)
{
	struct virtio_vsock *v = c->v;
	const struct virtq_chain *chain = &v->chain;
	uint32_t room = MIN(MIN(chain->in_bytes - HEADER, credit(c)), (uint32_t)VSOCK_BUFFER);
	struct msghdr m = { .msg_iov = v->iov };
	ssize_t n;

	m.msg_iovlen = chain_slice(chain->in, chain->nr_in, HEADER, room, v->iov);
	n = recvmsg(c->fd, &m, MSG_DONTWAIT);
	if (n > 0) {
		c->sent += (uint32_t)n;
		c->told_fwd_cnt = c->fwd_cnt;
		send_packet(v, c, c->guest_port, c->host_port, OP_RW, 0, (uint32_t)n);
		return true;
	}
	c->is_readable = c->is_hung;
	if (n == 0) {
		c->has_ended = true;
		c->wants |= WANT_SHUTDOWN;
	} else if (c->is_hung || (errno != EAGAIN && errno != EINTR)) {
		reset_conn(c);
	}
	return false;
}

static bool has_work(const struct vsock_conn *c)
{
	return c->state != VSOCK_FREE && (c->wants || (c->is_readable && may_read(c)));
}

/* In turns, so that one that always has something does not keep the others waiting. */
static struct vsock_conn *next_conn(struct virtio_vsock *v)
{
	for (unsigned int k = 0; k < VSOCK_CONNS; k++) {
		struct vsock_conn *c = &v->conn[v->next_conn];

		v->next_conn = (v->next_conn + 1) % VSOCK_CONNS;
		if (has_work(c))
			return c;
	}
	return NULL;
}

static void run_rx(struct virtio_vsock *v)
{
	struct virtio_dev *d = &v->dev;
	struct virtq *q = &d->q[Q_RX];
	bool was_full = v->nr_resets + 2 > VSOCK_RESETS;
	struct vsock_conn *c = NULL;
	unsigned int n = 0;

	while ((v->nr_resets || (c = next_conn(v))) && virtio_pop(d, q, &v->chain, &n)) {
		if (v->chain.in_bytes < HEADER + 1) {
			virtio_push(d, &v->chain, 0);
			continue;
		}
		if (v->nr_resets) {
			v->nr_resets--;
			send_packet(v, NULL, v->reset[v->nr_resets].guest_port,
				    v->reset[v->nr_resets].host_port, OP_RST, 0, 0);
			continue;
		}
		if (c->wants)
			send_wanted(c);
		else if (!send_data(c))
			virtq_unpop(q, &v->chain);
		if (c->state != VSOCK_FREE)
			set_events(c);
	}
	virtio_signal(d, q);
	if (was_full && v->nr_resets + 2 <= VSOCK_RESETS)
		virtio_again(d, Q_TX);
}

/* The one event that there is (5.10.6.7). */
static void tell_end(struct virtio_vsock *v)
{
	static const uint8_t transport_reset[4] = { 0 };
	struct virtq *q = &v->dev.q[Q_EVENT];
	unsigned int n = 0;

	if (!virtio_pop(&v->dev, q, &v->chain, &n))
		return;
	v->tells_end = false;
	virtio_push(&v->dev, &v->chain, chain_write(&v->chain, 0, transport_reset, 4));
	virtio_signal(&v->dev, q);
}

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_vsock *v = vsock_of(d);

	if (!virtio_is_running(d))
		return;
	if (v->tells_end)
		tell_end(v);
	if (kicked >> Q_TX & 1)
		run_tx(v);
	if (kicked & (1 << Q_RX | 1 << Q_TX))
		run_rx(v);
}

/* --- the host's side ------------------------------------------------------------------------------------------------- */

static uint32_t new_port(struct virtio_vsock *v)
{
	bool is_used;

	do {
		v->next_port = v->next_port == UINT32_MAX - 1 ? FIRST_PORT : v->next_port + 1;
		is_used = false;
		for (unsigned int k = 0; k < VSOCK_CONNS; k++)
			is_used = is_used || (v->conn[k].state > VSOCK_SAYS &&
					      v->conn[k].host_port == v->next_port);
	} while (is_used);
	return v->next_port;
}

/* "CONNECT PORT\n", byte by byte: what follows is the guest's. */
static void hear_line(struct vsock_conn *c)
{
	struct str line, word;
	uint64_t port;

	for (;;) {
		ssize_t n = recv(c->fd, c->line + c->line_n, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || c->line_n + 1 == VSOCK_LINE) {
			end(c);
			return;
		}
		if (c->line[c->line_n++] == '\n')
			break;
	}
	line = (struct str){ c->line, c->line_n - 1 };
	str_cut(&line, ' ', &word);
	if (!str_eq(word, STR("CONNECT")) || str_parse_u64(line, 0, UINT32_MAX, &port, NULL) < 0 ||
	    !virtio_is_running(&c->v->dev)) {
		end(c);
		return;
	}
	c->guest_port = (uint32_t)port;
	c->host_port = new_port(c->v);
	c->state = VSOCK_ASKED;
	want(c, WANT_REQUEST);
	set_events(c);
}

static void on_ready(void *arg, uint32_t events)
{
	struct vsock_conn *c = arg;
	struct virtio_vsock *v = c->v;

	mutex_guard(&v->dev.lock);
	if (c->state == VSOCK_FREE)
		return;
	if (c->state == VSOCK_SAYS) {
		hear_line(c);
		return;
	}
	if ((events & EPOLLOUT) && !flush(c))
		return;
	/* Its program has gone altogether: what it said before is read first, unless nobody wants it. */
	if ((events & (EPOLLHUP | EPOLLERR)) &&
	    (c->state != VSOCK_OPEN || c->has_ended || c->guest_deaf)) {
		reset_conn(c);
		return;
	}
	/* The kernel goes on telling so whether one asks or not; but reading tells the rest, when the guest has room. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		c->is_hung = true;
		io_watch_del(v->dev.io, &c->watch);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		c->is_readable = true;
		virtio_again(&v->dev, Q_RX);
	}
	set_events(c);
}

bool vsock_adopt(struct virtio_vsock *v, int fd)
{
	return add(v, fd, VSOCK_SAYS) != NULL;
}

static void on_caller(void *arg, uint32_t events)
{
	struct virtio_vsock *v = arg;
	int fd = accept4(v->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	mutex_guard(&v->dev.lock);
	/* With too many, the next ones wait in the socket's queue. */
	if (fd >= 0 && !vsock_adopt(v, fd))
		listen_again(v, false);
}

/* --- the device ------------------------------------------------------------------------------------------------------- */

static void reset(struct virtio_dev *d)
{
	struct virtio_vsock *v = vsock_of(d);

	for (unsigned int k = 0; k < VSOCK_CONNS; k++)
		if (v->conn[k].state != VSOCK_FREE)
			end(&v->conn[k]);
	v->nr_resets = 0;
	v->tells_end = false;
	/* A chain is pushed as soon as it was popped. */
}

/* Connections have an end in a program of the host's, which no snapshot has. */
static void restored(struct virtio_dev *d)
{
	struct virtio_vsock *v = vsock_of(d);

	reset(d);
	v->tells_end = true;
	put_le64(d->config, v->cid);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock", .id = ID_VSOCK, .run = run, .reset = reset, .restored = restored
};

int virtio_vsock_init(struct virtio_vsock *v, const struct virtio_vsock_config *cfg,
		      const struct physmem *mem, struct iothread *io, struct err *err)
{
	int r = 0;

	memset(v, 0, sizeof(*v));
	v->listener = (struct io_watch){ .fd = -EBADF, .fn = on_caller, .arg = v };
	if (cfg->cid < 3 || cfg->cid > UINT32_MAX - 1)
		return err_set(err, -EINVAL, "a guest's CID is from 3 to %u", UINT32_MAX - 1);
	if (cfg->path && strlen(cfg->path) >= sizeof(v->path))
		return err_set(err, -ENAMETOOLONG, "'%.40s...' is longer than %zu bytes", cfg->path,
			       sizeof(v->path) - 1);
	snprintf(v->path, sizeof(v->path), "%s", cfg->path ? cfg->path : "");
	v->cid = cfg->cid;
	v->next_port = FIRST_PORT;
	for (unsigned int k = 0; k < VSOCK_CONNS; k++)
		v->conn[k].watch.fd = v->conn[k].fd = -EBADF;
	virtio_init(&v->dev, &vsock_ops, mem, io, NR_QUEUES, QUEUE_SIZE, 0);
	put_le64(v->dev.config, v->cid);
	v->dev.config_len = 8;
	if (cfg->listen_fd >= 0) {
		v->listener.fd = cfg->listen_fd;
		r = io_watch_add(io, &v->listener, EPOLLIN, err);
		if (r < 0)
			v->listener.fd = -EBADF;
	}
	if (r < 0)
		virtio_vsock_done(v);
	return r;
}

void virtio_vsock_done(struct virtio_vsock *v)
{
	reset(&v->dev);
	io_watch_del(v->dev.io, &v->listener);
	virtio_done(&v->dev);
}
