/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network device. Packets go between the driver's chains and one descriptor, one system call each, with their
 * header: what the other end can finish (a checksum, segments of a large packet) nobody does before.
 *
 *	tx chain --header copied--> sendmsg() --no room--> kept in n->out, until the descriptor is writable
 *	descriptor readable --> n->message --cut--> n->packet --filter--> chains --none--> waits there, and nothing more
 *	is read
 *
 * So neither side's haste becomes memory of ours: at most one message waits in each direction, the rest is in the
 * host's socket or the driver's ring. A received packet is copied once, because only its length tells how many of the
 * driver's buffers it takes.
 *
 * What the driver did not say it can finish is finished here (a checksum) or dropped (a large packet of another
 * guest's, for a driver without segmentation offload).
 */
#include "vm/virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

/* clang-format off */
enum {
	ID_NET = 1, QUEUE_SIZE = 256,

	/* Features (5.1.3). */
	F_CSUM = 0, F_GUEST_CSUM = 1, F_CTRL_OFFLOADS = 2, F_MAC = 5,
	F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8, F_GUEST_ECN = 9,
	F_HOST_TSO4 = 11, F_HOST_TSO6 = 12, F_HOST_ECN = 13,
	F_MRG_RXBUF = 15, F_STATUS = 16, F_CTRL_VQ = 17, F_CTRL_RX = 18, F_CTRL_VLAN = 19,
	F_CTRL_RX_EXTRA = 20, F_MQ = 22, F_CTRL_MAC = 23,

	/* Configuration space (5.1.4). */
	C_MAC = 0, C_STATUS = 6, C_MAX_PAIRS = 8, C_LEN = 10,
	STATUS_LINK_UP = 1,

	/* Control commands (5.1.6.5). */
	CMD_RX = 0, CMD_MAC = 1, CMD_VLAN = 2, CMD_MQ = 4, CMD_OFFLOADS = 5,
	RX_PROMISC = 0, RX_ALLMULTI = 1, RX_ALLUNI = 2, RX_NOMULTI = 3, RX_NOUNI = 4, RX_NOBCAST = 5,
	MAC_TABLE = 0, MAC_ADDR = 1,
	VLAN_ADD = 0, VLAN_DEL = 1,
	ACK_OK = 0, ACK_ERR = 1,

	ETHERTYPE_VLAN = 0x8100, ETHERTYPE_IP = 0x0800, ETHERTYPE_IPV6 = 0x86dd,
	PACKETS_AT_ONCE = 128,
};
/* clang-format on */

/* What the driver can take unfinished. */
#define GUEST_OFFLOADS                                                                             \
	(UINT64_C(1) << F_GUEST_CSUM | UINT64_C(1) << F_GUEST_TSO4 | UINT64_C(1) << F_GUEST_TSO6 | \
	 UINT64_C(1) << F_GUEST_ECN)

static struct virtio_net *net_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_net, dev);
}

static unsigned int control_queue(const struct virtio_net *n)
{
	return virtio_has(&n->dev, F_MQ) ? 2 * n->nr_pairs : 2;
}

static void set_link(struct virtio_net *n, bool is_up)
{
	if (n->is_up == is_up)
		return;
	n->is_up = is_up;
	put_le16(n->dev.config + C_STATUS, is_up ? STATUS_LINK_UP : 0);
	virtio_config_changed(&n->dev);
}

/* The other end has gone, and does not come back. */
static void peer_gone(struct virtio_net *n)
{
	io_watch_del(n->dev.io, &n->watch);
	set_link(n, false);
}

/* --- sending ------------------------------------------------------------------------------------------------- */

/* What the driver may ask for; the rest of the header is the other end's to check. */
static void clean_header(const struct virtio_net *n, uint8_t *hdr)
{
	if (!virtio_has(&n->dev, F_CSUM)) {
		memset(hdr, 0, NET_HDR);
		return;
	}
	hdr[NET_H_FLAGS] &= NET_NEEDS_CSUM;
	put_le16(hdr + NET_H_BUFFERS, 0);
}

/* Returns false when there is no room now. */
static bool send_chain(struct virtio_net *n, const struct virtq_chain *c)
{
	struct iovec *v = n->iov;
	uint8_t hdr[NET_HDR];
	unsigned int nr;
	ssize_t done;

	if (c->out_bytes < NET_HDR + NET_FRAME_MIN || c->out_bytes > NET_PACKET_MAX ||
	    n->watch.fd < 0 || !n->is_up) {
		n->nr_dropped_out++;
		return true;
	}
	(void)chain_read(c, 0, hdr, NET_HDR);
	clean_header(n, hdr);
	nr = chain_slice(c->iov, c->nr_out, NET_HDR, c->out_bytes - NET_HDR, v + 1);
	v[0] = (struct iovec){ hdr, NET_HDR };
	if (n->end.is_tap) {
		done = writev(n->end.fd, v, (int)nr + 1);
	} else {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = nr + 1 };

		done = sendmsg(n->end.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (done < 0 && errno == EAGAIN)
		return false;
	if (done < 0)
		n->nr_dropped_out++;
	else
		net_captured(&n->end, v + 1, nr);
	if (done < 0 && (errno == EPIPE || errno == ECONNRESET))
		peer_gone(n);
	return true;
}

static void run_tx(struct virtio_net *n, struct virtq *q)
{
	struct virtio_dev *d = &n->dev;
	unsigned int count = 0;
	bool any = false;

	if (n->out.q)
		io_watch_set(d->io, &n->watch, n->watch.events | EPOLLOUT);
	while (!n->out.q && virtio_pop(d, q, &n->out, &count)) {
		if (!send_chain(n, &n->out)) {
			io_watch_set(n->dev.io, &n->watch, n->watch.events | EPOLLOUT);
			break;
		}
		virtio_push(d, &n->out, 0);
		any = true;
	}
	if (any)
		virtio_signal(d, q);
}

/* The other end has room again. */
static void resume_tx(struct virtio_net *n)
{
	struct virtq *q = n->out.q;

	if (q) {
		if (!send_chain(n, &n->out))
			return;
		virtio_push(&n->dev, &n->out, 0);
		virtio_signal(&n->dev, q);
	}
	io_watch_set(n->dev.io, &n->watch, n->watch.events & ~(uint32_t)EPOLLOUT);
	for (unsigned int k = 0; k < n->nr_pairs; k++)
		virtio_again(&n->dev, 2 * k + 1);
}

/* --- receiving ------------------------------------------------------------------------------------------------- */

static bool is_known(const struct virtio_net *n, const uint8_t *mac)
{
	for (unsigned int k = 0; k < n->nr_macs; k++)
		if (!memcmp(n->macs[k], mac, 6))
			return true;
	return false;
}

static bool is_wanted(const struct virtio_net *n, const uint8_t *frame, uint32_t len)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (virtio_has(&n->dev, F_CTRL_VLAN) && len >= 16 &&
	    get_be16(frame + 12) == ETHERTYPE_VLAN) {
		unsigned int id = get_be16(frame + 14) & 0xfff;

		if (!(n->vlans[id / 8] >> (id & 7) & 1))
			return false;
	}
	if (n->promisc)
		return true;
	if (!memcmp(frame, broadcast, 6))
		return !n->nobcast;
	if (frame[0] & 1)
		return !n->nomulti && (n->allmulti || is_known(n, frame));
	return !n->nouni && (n->alluni || !memcmp(frame, n->mac, 6) || is_known(n, frame));
}

/* One connection's packets come to one queue: addresses and ports, the same for both directions. */
static unsigned int pair_of(const struct virtio_net *n, const uint8_t *frame, uint32_t len)
{
	uint32_t h = 0;

	if (n->active_pairs < 2)
		return 0;
	if (len >= 38 && get_be16(frame + 12) == ETHERTYPE_IP) {
		h = get_be32(frame + 26) ^ get_be32(frame + 30);
		/* Ports follow a header without options, in a packet that is no later fragment. */
		if (frame[14] == 0x45 && !(get_be16(frame + 20) & 0x1fff))
			h ^= (uint32_t)get_be16(frame + 34) ^ get_be16(frame + 36);
	} else if (len >= 58 && get_be16(frame + 12) == ETHERTYPE_IPV6) {
		for (unsigned int k = 22; k < 54; k += 4)
			h ^= get_be32(frame + k);
		h ^= (uint32_t)get_be16(frame + 54) ^ get_be16(frame + 56);
	}
	h *= 0x9e3779b1;
	return (h >> 16) % n->active_pairs;
}

/* Makes the header one that the driver understands. Returns false for a packet that cannot be. */
static bool fit_header(struct virtio_net *n)
{
	uint8_t *hdr = n->packet;
	uint8_t type = hdr[NET_H_GSO_TYPE] & 0x7f;
	static const unsigned int need[] = { [1] = NET_TSO4, [4] = NET_TSO6 };

	if (type != NET_GSO_NONE &&
	    (type >= ARRAY_SIZE(need) || !need[type] || !(n->offloads & need[type])))
		return false;
	if (n->offloads & NET_CSUM)
		return true;
	if (net_finish_csum(hdr, n->packet + NET_HDR, n->packet_len - NET_HDR) < 0)
		return false;
	hdr[NET_H_FLAGS] = 0;
	return true;
}

/* Returns whether the packet is done with, delivered or not; false: no buffers. */
static bool deliver(struct virtio_net *n)
{
	struct virtio_dev *d = &n->dev;
	struct virtq *q = &d->q[2 * pair_of(n, n->packet + NET_HDR, n->packet_len - NET_HDR)];
	unsigned int nr = 0, count = 0;
	uint64_t room = 0;
	uint32_t off = 0, len[VIRTIO_NET_MERGE];
	bool merges = virtio_has(d, F_MRG_RXBUF);

	while (room < n->packet_len && nr < (merges ? VIRTIO_NET_MERGE : 1)) {
		if (!virtio_pop(d, q, &n->in[nr], &count))
			break;
		room += n->in[nr++].in_bytes;
	}
	if (room < n->packet_len) {
		bool too_small = nr == (merges ? VIRTIO_NET_MERGE : 1);

		while (nr)
			virtq_unpop(q, &n->in[--nr]);
		n->nr_dropped_in += too_small;
		return too_small || !virtio_is_running(d);
	}
	put_le16(n->packet + NET_H_BUFFERS, (uint16_t)nr);
	for (unsigned int k = 0; k < nr; k++) {
		len[k] = MIN(n->in[k].in_bytes, n->packet_len - off);
		(void)chain_write(&n->in[k], 0, n->packet + off, len[k]);
		off += len[k];
	}
	/* A driver that sees the first takes all of them; what is not there yet it would call lost. */
	virtio_push_all(d, n->in, len, nr);
	virtio_signal(d, q);
	return true;
}

/* A message may hold several packets. Returns false when there is none now. */
static bool next_message(struct virtio_net *n)
{
	ssize_t len = read(n->end.fd, n->message, NET_PACKET_MAX);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len <= 0) {
		peer_gone(n);
		return false;
	}
	n->rest = 0;
	n->rest_end = (uint32_t)len;
	return true;
}

/* Cuts the next packet out of the message. A length that cannot be ends the message. */
static void cut_packet(struct virtio_net *n)
{
	uint32_t left = n->rest_end - n->rest, len = 0;

	n->packet = n->message + n->rest;
	if (left >= NET_HDR && !n->end.is_tap)
		len = get_le16(n->packet + NET_H_NEXT);
	n->packet_len = len && len < left ? len : left;
	n->rest += n->packet_len;
}

/* The next packet that the driver wants. Returns false when there is none now. */
static bool next_packet(struct virtio_net *n)
{
	struct iovec v;

	if (n->rest == n->rest_end && !next_message(n))
		return false;
	cut_packet(n);
	if (n->packet_len < NET_HDR + NET_FRAME_MIN || !n->is_up ||
	    !is_wanted(n, n->packet + NET_HDR, n->packet_len - NET_HDR)) {
		n->packet_len = 0;
		return true;
	}
	v = (struct iovec){ n->packet + NET_HDR, n->packet_len - NET_HDR };
	net_captured(&n->end, &v, 1);
	if (!fit_header(n)) {
		n->nr_dropped_in++;
		n->packet_len = 0;
	}
	return true;
}

static void run_rx(struct virtio_net *n)
{
	for (unsigned int k = 0; k < PACKETS_AT_ONCE && n->watch.fd >= 0; k++) {
		if (!n->packet_len && !next_packet(n))
			break;
		if (n->packet_len && !deliver(n)) {
			/* Until the driver gives buffers. */
			io_watch_set(n->dev.io, &n->watch, n->watch.events & ~(uint32_t)EPOLLIN);
			return;
		}
		n->packet_len = 0;
	}
	if (n->rest < n->rest_end)
		virtio_again(&n->dev, 0); /* the descriptor does not tell about these */
	if (n->watch.fd >= 0)
		io_watch_set(n->dev.io, &n->watch, n->watch.events | EPOLLIN);
}

/* --- control --------------------------------------------------------------------------------------------------- */

static bool set_rx_mode(struct virtio_net *n, uint8_t cmd, bool on)
{
	bool *const modes[] = {
		[RX_PROMISC] = &n->promisc, [RX_ALLMULTI] = &n->allmulti, [RX_ALLUNI] = &n->alluni,
		[RX_NOMULTI] = &n->nomulti, [RX_NOUNI] = &n->nouni,	  [RX_NOBCAST] = &n->nobcast
	};

	if (cmd >= ARRAY_SIZE(modes) ||
	    (cmd > RX_ALLMULTI && !virtio_has(&n->dev, F_CTRL_RX_EXTRA)))
		return false;
	*modes[cmd] = on;
	return true;
}

/* Two lists, each a number and its addresses; more than there is room for is answered by taking all. */
static bool set_mac_table(struct virtio_net *n, const struct virtq_chain *c)
{
	uint32_t off = 2;

	n->nr_macs = 0;
	n->alluni = n->allmulti = false;
	for (unsigned int list = 0; list < 2; list++) {
		uint8_t number[4];
		uint32_t entries;

		if (chain_read(c, off, number, 4) != 4)
			return false;
		off += 4;
		entries = get_le32(number);
		if (entries > (c->out_bytes - off) / 6)
			return false;
		if (entries > VIRTIO_NET_MACS - n->nr_macs) {
			*(list ? &n->allmulti : &n->alluni) = true;
		} else {
			(void)chain_read(c, off, n->macs[n->nr_macs], 6 * entries);
			n->nr_macs += entries;
		}
		off += 6 * entries;
	}
	return true;
}

static bool set_offloads(struct virtio_net *n, uint64_t bits)
{
	if (bits & ~(GUEST_OFFLOADS & n->dev.accepted))
		return false;
	n->offloads = (bits >> F_GUEST_CSUM & 1 ? NET_CSUM : 0) |
		      (bits >> F_GUEST_TSO4 & 1 ? NET_TSO4 : 0) |
		      (bits >> F_GUEST_TSO6 & 1 ? NET_TSO6 : 0) |
		      (bits >> F_GUEST_ECN & 1 ? NET_ECN : 0);
	net_set_offloads(&n->end, n->offloads);
	return true;
}

static bool obey(struct virtio_net *n, const struct virtq_chain *c)
{
	uint8_t m[10] = { 0 };
	uint32_t len = chain_read(c, 0, m, sizeof(m));
	uint16_t value = get_le16(m + 2);

	if (len < 3)
		return false;
	switch (m[0]) {
	case CMD_RX:
		return virtio_has(&n->dev, F_CTRL_RX) && set_rx_mode(n, m[1], m[2]);
	case CMD_MAC:
		if (m[1] == MAC_ADDR && virtio_has(&n->dev, F_CTRL_MAC) && len >= 8) {
			memcpy(n->mac, m + 2, 6);
			memcpy(n->dev.config + C_MAC, m + 2, 6);
			return true;
		}
		return m[1] == MAC_TABLE && virtio_has(&n->dev, F_CTRL_RX) && set_mac_table(n, c);
	case CMD_VLAN:
		if (!virtio_has(&n->dev, F_CTRL_VLAN) || m[1] > VLAN_DEL || len < 4 ||
		    value > 0xfff)
			return false;
		if (m[1] == VLAN_ADD)
			n->vlans[value / 8] |= (uint8_t)(1 << (value & 7));
		else
			n->vlans[value / 8] &= (uint8_t) ~(1 << (value & 7));
		return true;
	case CMD_MQ:
		if (!virtio_has(&n->dev, F_MQ) || m[1] || len < 4 || !value || value > n->nr_pairs)
			return false;
		n->active_pairs = value;
		return true;
	case CMD_OFFLOADS:
		return virtio_has(&n->dev, F_CTRL_OFFLOADS) && !m[1] && len >= 10 &&
		       set_offloads(n, get_le64(m + 2));
	default:
		return false;
	}
}

static void run_control(struct virtio_net *n, struct virtq *q)
{
	unsigned int count = 0;

	while (virtio_pop(&n->dev, q, &n->control, &count)) {
		uint8_t ack = obey(n, &n->control) ? ACK_OK : ACK_ERR;

		virtio_push(&n->dev, &n->control, chain_write(&n->control, 0, &ack, 1));
	}
	virtio_signal(&n->dev, q);
}

/* --- the device ------------------------------------------------------------------------------------------------ */

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_net *n = net_of(d);
	unsigned int control = control_queue(n);
	bool has_control = virtio_has(d, F_CTRL_VQ);
	bool rx = false;

	if (!virtio_is_running(d))
		return;
	if (has_control && (kicked >> control & 1))
		run_control(n, &d->q[control]);
	for (unsigned int k = 0; k < n->nr_pairs; k++) {
		if (has_control && 2 * k == control)
			break;
		rx = rx || (kicked >> 2 * k & 1);
		if (kicked >> (2 * k + 1) & 1)
			run_tx(n, &d->q[2 * k + 1]);
	}
	if (rx)
		run_rx(n);
}

static void on_ready(void *arg, uint32_t events)
{
	struct virtio_net *n = arg;

	mutex_guard(&n->dev.lock);
	/* Told also when nobody asks; what is still to be read comes first. */
	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN)) {
		peer_gone(n);
		return;
	}
	if (!virtio_is_running(&n->dev) || !virtio_may_access(&n->dev)) {
		io_watch_set(n->dev.io, &n->watch, 0);
		return;
	}
	if (events & EPOLLOUT)
		resume_tx(n);
	if (events & EPOLLIN)
		run_rx(n);
}

static void reset_filters(struct virtio_net *n)
{
	n->promisc = true; /* a driver that wants less says so */
	n->allmulti = n->nomulti = n->nouni = n->nobcast = n->alluni = false;
	n->nr_macs = 0;
	n->active_pairs = 1;
	memset(n->vlans, 0, sizeof(n->vlans));
}

static void started(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	reset_filters(n);
	(void)set_offloads(n, d->accepted & GUEST_OFFLOADS);
}

static void reset(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	io_watch_set(n->dev.io, &n->watch, 0);
	n->packet_len = 0;
	n->rest = n->rest_end = 0;
	memcpy(n->mac, n->own_mac, 6);
	memcpy(d->config + C_MAC, n->own_mac, 6);
	if (n->out.q)
		virtio_abandon(d, &n->out);
}

/* Offloads depend on each other (5.1.3.1). */
static bool accepts(const struct virtio_dev *d, uint64_t f)
{
	bool host_gso = f >> F_HOST_TSO4 & 1 || f >> F_HOST_TSO6 & 1 || f >> F_HOST_ECN & 1;
	bool guest_gso = f >> F_GUEST_TSO4 & 1 || f >> F_GUEST_TSO6 & 1 || f >> F_GUEST_ECN & 1;
	bool control = f >> F_CTRL_RX & 1 || f >> F_CTRL_VLAN & 1 || f >> F_MQ & 1 ||
		       f >> F_CTRL_MAC & 1 || f >> F_CTRL_RX_EXTRA & 1;

	return (!host_gso || (f >> F_CSUM & 1)) && (!guest_gso || (f >> F_GUEST_CSUM & 1)) &&
	       (!control || (f >> F_CTRL_VQ & 1));
}

static void settle(struct virtio_dev *d)
{
	virtio_unpop(d, &net_of(d)->out);
}

/* The driver goes on with the address that it has read; who reads it again finds this device's. */
static void restored(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	n->packet_len = 0;
	n->active_pairs = MIN(n->active_pairs, n->nr_pairs);
	memcpy(d->config + C_MAC, n->own_mac, 6);
	put_le16(d->config + C_STATUS, n->is_up ? STATUS_LINK_UP : 0);
	put_le16(d->config + C_MAX_PAIRS, (uint16_t)n->nr_pairs);
	net_set_offloads(&n->end, n->offloads);
}

static const struct state_field fields[] = {
	STATE_RANGE(struct virtio_net, active_pairs, 1, VIRTIO_NET_PAIRS),
	STATE_BOOL(struct virtio_net, promisc),
	STATE_BOOL(struct virtio_net, allmulti),
	STATE_BOOL(struct virtio_net, nomulti),
	STATE_BOOL(struct virtio_net, nouni),
	STATE_BOOL(struct virtio_net, nobcast),
	STATE_BOOL(struct virtio_net, alluni),
	STATE_BYTES(struct virtio_net, mac),
	STATE_BYTES(struct virtio_net, macs),
	STATE_MAX(struct virtio_net, nr_macs, VIRTIO_NET_MACS),
	STATE_BYTES(struct virtio_net, vlans),
	STATE_MAX(struct virtio_net, offloads, NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN),
};

static const struct state_desc net_state = {
	.name = "net",
	.version = 1,
	STATE_LOCK(struct virtio_net, dev.lock),
	STATE_TABLE(struct virtio_net, fields),
};

static const struct virtio_ops net_ops = { .name = "virtio-net",
					   .id = ID_NET,
					   .run = run,
					   .started = started,
					   .reset = reset,
					   .settle = settle,
					   .restored = restored,
					   .state = &net_state,
					   .accepts = accepts };

static uint64_t features_of(const struct virtio_net_config *cfg)
{
	unsigned int takes = cfg->end.takes;
	uint64_t f = UINT64_C(1) << F_MAC | UINT64_C(1) << F_MRG_RXBUF | UINT64_C(1) << F_STATUS |
		     UINT64_C(1) << F_CTRL_VQ | UINT64_C(1) << F_CTRL_RX |
		     UINT64_C(1) << F_CTRL_VLAN | UINT64_C(1) << F_CTRL_RX_EXTRA |
		     UINT64_C(1) << F_CTRL_MAC | GUEST_OFFLOADS | UINT64_C(1) << F_CTRL_OFFLOADS;

	f |= takes & NET_CSUM ? UINT64_C(1) << F_CSUM : 0;
	f |= takes & NET_TSO4 ? UINT64_C(1) << F_HOST_TSO4 : 0;
	f |= takes & NET_TSO6 ? UINT64_C(1) << F_HOST_TSO6 : 0;
	f |= takes & NET_ECN ? UINT64_C(1) << F_HOST_ECN : 0;
	if (cfg->nr_pairs > 1)
		f |= UINT64_C(1) << F_MQ;
	if (cfg->packed)
		f |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	return f;
}

int virtio_net_init(struct virtio_net *n, const struct virtio_net_config *cfg,
		    const struct physmem *mem, struct iothread *io, struct err *err)
{
	int r;

	memset(n, 0, sizeof(*n));
	virtio_init(&n->dev, &net_ops, mem, io, 2 * cfg->nr_pairs + 1, QUEUE_SIZE,
		    features_of(cfg));
	n->end = cfg->end;
	n->nr_pairs = cfg->nr_pairs;
	n->message = mem_new(NET_PACKET_MAX);
	n->in = mem_new_n(VIRTIO_NET_MERGE, sizeof(*n->in));
	n->is_up = true;
	memcpy(n->own_mac, cfg->mac, 6);
	memcpy(n->mac, cfg->mac, 6);
	memcpy(n->dev.config + C_MAC, cfg->mac, 6);
	put_le16(n->dev.config + C_STATUS, STATUS_LINK_UP);
	put_le16(n->dev.config + C_MAX_PAIRS, (uint16_t)cfg->nr_pairs);
	n->dev.config_len = C_LEN;
	reset_filters(n);
	n->watch = (struct io_watch){ .fd = n->end.fd, .fn = on_ready, .arg = n };
	r = io_watch_add(io, &n->watch, 0, err);
	if (r < 0)
		virtio_net_done(n);
	return r;
}

void virtio_net_done(struct virtio_net *n)
{
	if (!n->message)
		return;
	/* The machine may go on without the device. */
	iothread_pause(n->dev.io);
	io_watch_del(n->dev.io, &n->watch);
	iothread_resume(n->dev.io);
	virtio_done(&n->dev);
	free(take_ptr(&n->message));
	free(take_ptr(&n->in));
}

void virtio_net_set_link(struct virtio_net *n, bool is_up)
{
	mutex_guard(&n->dev.lock);
	set_link(n, is_up);
}
