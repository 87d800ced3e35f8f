/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `atoll-usernet` program: a network without privileges for one machine. Descriptor 3 is a net_end (vm/net/net.h)
 * whose other side is the machine's network device; libslirp turns the guest's connections into sockets of ours. A
 * process of its own, because it parses what a guest sends with somebody else's code, and needs the host's network,
 * which the machine does not.
 *
 * Packets of the guest come with checksums that nobody computed and may be 64 KiB long: we finish the checksum, and
 * libslirp takes the packet as one segment. Ours to the guest are marked as checked: they do not leave the host.
 *
 * What libslirp has for the guest in one turn of the loop goes to it as one message: waking the machine for each packet
 * took more time than all the rest.
 *
 * Once it listens, it gives up what it does not need (sys/sandbox). libslirp reads /etc/resolv.conf again when that changes, so
 * the folder where that file really is stays readable.
 *
 * A guest that does not take packets stops us, and so its own connections only. When the machine ends, the socket
 * does, and we with it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"
#include "vm/net/net.h"

enum {
	SOCKET = 3,
	POLL_MAX = 4096,
	TIMERS_MAX = 16,
	FORWARDS_MAX = 32,
	PACKETS_AT_ONCE = 64,
	ADDRESS = 64
};

struct timer {
	bool is_used;
	SlirpTimerId id;
	void *cb_opaque;
	int64_t expire_ms; /* -1: not set */
};

struct forward {
	bool is_udp;
	struct in_addr host, guest;
	uint16_t host_port, guest_port;
};

struct usernet {
	Slirp *slirp;
	struct timer timer[TIMERS_MAX];
	struct pollfd poll[POLL_MAX];
	int nr_poll;
	bool is_over;
	uint8_t packet[NET_PACKET_MAX];
	uint8_t message[NET_PACKET_MAX]; /* packets for the guest that wait for company */
	uint32_t message_len;
	uint8_t *last; /* header of the last one in it */

	/* Options. */
	struct in_addr net, mask;
	char hostname[ADDRESS];
	bool is_restricted;
	struct forward forward[FORWARDS_MAX];
	unsigned int nr_forwards;
};

/* --- what libslirp asks of us ---------------------------------------------------------------------------------- */

static void send_message(struct usernet *u)
{
	struct pollfd p = { .fd = SOCKET, .events = POLLOUT };

	while (u->message_len && send(SOCKET, u->message, u->message_len, MSG_NOSIGNAL) < 0) {
		if (errno == EAGAIN && poll(&p, 1, -1) > 0 && !(p.revents & (POLLHUP | POLLERR)))
			continue;
		if (errno == EINTR)
			continue;
		u->is_over = u->is_over || errno != EMSGSIZE;
		break;
	}
	u->message_len = 0;
	u->last = NULL;
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct usernet *u = opaque;
	uint8_t *hdr;

	if (len > NET_PACKET_MAX - NET_HDR)
		return (ssize_t)len;
	if (u->message_len + NET_HDR + len > sizeof(u->message))
		send_message(u);
	hdr = u->message + u->message_len;
	if (u->last)
		put_le16(u->last + NET_H_NEXT, (uint16_t)(hdr - u->last));
	memset(hdr, 0, NET_HDR);
	hdr[NET_H_FLAGS] = NET_DATA_VALID;
	memcpy(hdr + NET_HDR, buf, len);
	u->message_len += NET_HDR + (uint32_t)len;
	u->last = hdr;
	return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
	/* The guest's mistake is the guest's, and its messages would fill the log. */
}

static int64_t clock_ns(void *opaque)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct usernet *u = opaque;

	for (size_t k = 0; k < ARRAY_SIZE(u->timer); k++) {
		if (u->timer[k].is_used)
			continue;
		u->timer[k] = (struct timer){ true, id, cb_opaque, -1 };
		return &u->timer[k];
	}
	return NULL;
}

static void timer_free(void *timer, void *opaque)
{
	struct timer *t = timer;

	if (t)
		t->is_used = false;
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct timer *t = timer;

	if (t)
		t->expire_ms = expire_ms;
}

static void register_fd(int fd, void *opaque)
{
	/* They are asked for anew for each poll. */
}

static void notify(void *opaque)
{
	/* There is one thread: it looks again before it sleeps. */
}

static int add_poll(int fd, int events, void *opaque)
{
	struct usernet *u = opaque;
	short want = 0;

	if (u->nr_poll == POLL_MAX)
		return -1;
	want |= events & SLIRP_POLL_IN ? POLLIN : 0;
	want |= events & SLIRP_POLL_OUT ? POLLOUT : 0;
	want |= events & SLIRP_POLL_PRI ? POLLPRI : 0;
	u->poll[u->nr_poll] = (struct pollfd){ .fd = fd, .events = want };
	return u->nr_poll++;
}

static int get_revents(int index, void *opaque)
{
	struct usernet *u = opaque;
	short got = index >= 0 && index < u->nr_poll ? u->poll[index].revents : 0;

	return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* --- the loop -------------------------------------------------------------------------------------------------- */

/* Packets of the guest. */
static void take_packets(struct usernet *u)
{
	for (unsigned int k = 0; k < PACKETS_AT_ONCE; k++) {
		ssize_t n = recv(SOCKET, u->packet, sizeof(u->packet), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			u->is_over = true;
		if (n <= 0)
			return;
		if (n < NET_HDR + NET_FRAME_MIN ||
		    net_finish_csum(u->packet, u->packet + NET_HDR, (uint32_t)n - NET_HDR) < 0)
			continue;
		slirp_input(u->slirp, u->packet + NET_HDR, (int)n - NET_HDR);
	}
}

static void run_timers(struct usernet *u, uint32_t *timeout_ms)
{
	int64_t now = clock_ns(u) / (int64_t)NS_PER_MS;

	for (size_t k = 0; k < ARRAY_SIZE(u->timer); k++) {
		struct timer *t = &u->timer[k];

		if (!t->is_used || t->expire_ms < 0)
			continue;
		if (t->expire_ms > now) {
			*timeout_ms = (uint32_t)MIN((int64_t)*timeout_ms, t->expire_ms - now);
			continue;
		}
		t->expire_ms = -1;
		slirp_handle_timer(u->slirp, t->id, t->cb_opaque);
		*timeout_ms = 0;
	}
}

static void loop(struct usernet *u)
{
	while (!u->is_over) {
		uint32_t timeout_ms = 60000;
		int r;

		u->nr_poll = 0;
		add_poll(SOCKET, SLIRP_POLL_IN, u);
		slirp_pollfds_fill(u->slirp, &timeout_ms, add_poll, u);
		run_timers(u, &timeout_ms);
		r = poll(u->poll, (nfds_t)u->nr_poll, (int)timeout_ms);
		slirp_pollfds_poll(u->slirp, r < 0, get_revents, u);
		if (r > 0 && u->poll[0].revents)
			take_packets(u);
		send_message(u);
	}
}

/* --- options --------------------------------------------------------------------------------------------------- */

static int parse_address(struct str s, struct in_addr *ret, struct err *err)
{
	char text[ADDRESS];

	if (!s.n) {
		ret->s_addr = INADDR_ANY;
		return 0;
	}
	snprintf(text, sizeof(text), "%.*s", (int)MIN(s.n, sizeof(text) - 1), s.p);
	if (inet_pton(AF_INET, text, ret) != 1)
		return err_set(err, -EINVAL, "'%s' is no IPv4 address", text);
	return 0;
}

/* "ADDRESS:PORT"; the address may be missing. */
static int parse_end(struct str s, struct in_addr *addr, uint16_t *port, struct err *err)
{
	struct str first;
	uint64_t n;
	int r;

	str_cut(&s, ':', &first);
	if (!s.p)
		return err_set(err, -EINVAL, "'%.*s' has no port: ADDRESS:PORT, or :PORT",
			       (int)MIN(first.n, (size_t)40), first.p);
	r = parse_address(first, addr, err);
	if (r == 0)
		r = str_parse_u64(s, 1, 65535, &n, err);
	if (r == 0)
		*port = (uint16_t)n;
	return r;
}

/* "tcp:HOST:PORT-GUEST:PORT" */
static int parse_forward(struct usernet *u, struct str s, struct err *err)
{
	struct forward *f = &u->forward[u->nr_forwards];
	struct str proto, host;
	int r;

	if (u->nr_forwards == FORWARDS_MAX)
		return err_set(err, -E2BIG, "more than %d forwards", FORWARDS_MAX);
	str_cut(&s, ':', &proto);
	if (!str_eq(proto, STR("tcp")) && !str_eq(proto, STR("udp")))
		return err_set(err, -EINVAL, "hostfwd=%.*s: tcp:ADDRESS:PORT-ADDRESS:PORT, or udp",
			       (int)MIN(proto.n, (size_t)40), proto.p);
	f->is_udp = proto.p[0] == 'u';
	str_cut(&s, '-', &host);
	r = parse_end(host, &f->host, &f->host_port, err);
	if (r == 0)
		r = parse_end(s, &f->guest, &f->guest_port, err);
	u->nr_forwards += r == 0;
	return r;
}

static int parse_net(struct usernet *u, struct str s, struct err *err)
{
	struct str addr;
	uint64_t bits;
	int r;

	str_cut(&s, '/', &addr);
	r = parse_address(addr, &u->net, err);
	if (r == 0)
		r = str_parse_u64(s, 8, 28, &bits, err);
	if (r < 0)
		return err_wrap(err, r, "net=ADDRESS/BITS");
	u->mask.s_addr = htonl(~UINT32_C(0) << (32 - bits));
	u->net.s_addr &= u->mask.s_addr;
	return 0;
}

static int parse(struct usernet *u, int argc, char **argv, struct err *err)
{
	u->net.s_addr = htonl(0x0a000200);
	u->mask.s_addr = htonl(0xffffff00);
	snprintf(u->hostname, sizeof(u->hostname), "atoll");
	for (int k = 1; k < argc; k++) {
		struct str key, value = str_of(argv[k]);
		int r = 0;

		str_cut(&value, '=', &key);
		if (str_eq(key, STR("hostfwd")))
			r = parse_forward(u, value, err);
		else if (str_eq(key, STR("net")))
			r = parse_net(u, value, err);
		else if (str_eq(key, STR("hostname")) && value.n && value.n < sizeof(u->hostname))
			snprintf(u->hostname, sizeof(u->hostname), "%.*s", STR_ARG(value));
		else if (str_eq(key, STR("restrict")) && !value.p)
			u->is_restricted = true;
		else
			r = err_set(err, -EINVAL,
				    "'%.60s' is none of hostfwd=, net=, hostname=, restrict, mac=, "
				    "queues=, pcap=, packed",
				    argv[k]);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct in_addr in_net(const struct usernet *u, uint32_t host)
{
	return (struct in_addr){ .s_addr = u->net.s_addr | htonl(host) };
}

static int start(struct usernet *u, struct err *err)
{
	static const SlirpCb callbacks = {
		.send_packet = send_packet,
		.guest_error = guest_error,
		.clock_get_ns = clock_ns,
		.timer_free = timer_free,
		.timer_mod = timer_mod,
		.register_poll_fd = register_fd,
		.unregister_poll_fd = register_fd,
		.notify = notify,
		.timer_new_opaque = timer_new,
	};
	SlirpConfig cfg = {
		.version = 4,
		.restricted = u->is_restricted,
		.in_enabled = true,
		.vnetwork = u->net,
		.vnetmask = u->mask,
		.vhost = in_net(u, 2),
		.vdhcp_start = in_net(u, 15 & ~ntohl(u->mask.s_addr)),
		.vnameserver = in_net(u, 3),
		.vhostname = u->hostname,
		.in6_enabled = true,
		.vprefix_len = 64,
	};

	inet_pton(AF_INET6, "fec0::", &cfg.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &cfg.vhost6);
	inet_pton(AF_INET6, "fec0::3", &cfg.vnameserver6);
	u->slirp = slirp_new(&cfg, &callbacks, u);
	if (!u->slirp)
		return err_set(err, -EINVAL, "libslirp does not start");
	for (unsigned int k = 0; k < u->nr_forwards; k++) {
		const struct forward *f = &u->forward[k];
		struct in_addr guest = f->guest.s_addr ? f->guest : cfg.vdhcp_start;

		if (slirp_add_hostfwd(u->slirp, f->is_udp, f->host, f->host_port, guest,
				      f->guest_port) < 0)
			return err_set_errno(err, "hostfwd: %s port %u of this host",
					     f->is_udp ? "UDP" : "TCP", f->host_port);
	}
	return 0;
}

/* Where the file is that says which name servers the host has; negative: nowhere. */
static int resolver_folder(void)
{
	_cleanup_(mem_freep) char *file = realpath("/etc/resolv.conf", NULL);
	char *slash = file ? strrchr(file, '/') : NULL;
	int fd = -EBADF;

	if (!slash)
		return -EBADF;
	*slash = 0;
	return fd_open(file, O_PATH | O_DIRECTORY, &fd, NULL) < 0 ? -EBADF : fd;
}

static int confine(bool must_hold, struct err *err)
{
	_cleanup_(fd_closep) int folder = resolver_folder();
	const struct sandbox_keep keep = { .folder_fd = folder, .network = true };

	return sandbox_helper("atoll-usernet", "usernet", &keep, must_hold, err);
}

int main(int argc, char **argv)
{
	bool must_hold = argc > 1 && !strcmp(argv[1], SANDBOX_MUST_HOLD);
	struct usernet *u = mem_new(sizeof(*u));
	struct err err = ERR_INIT;
	const char *text;
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = parse(u, argc - must_hold, argv + must_hold, &err);
	if (r == 0)
		r = start(u, &err);
	if (r == 0)
		r = confine(must_hold, &err);
	/* One packet says how it went; see the header of vm_nets.c. */
	text = r < 0 ? err_text(&err) : "";
	if (send(SOCKET, text, strlen(text) + 1, MSG_NOSIGNAL) < 0) {
		fprintf(stderr, "atoll-usernet: run by 'atoll run --net user', not by hand\n");
		return 2;
	}
	if (r == 0)
		loop(u);
	if (u->slirp)
		slirp_cleanup(u->slirp);
	free(u);
	return r < 0;
}
