/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network device with a socket as its cable, by a driver in virtio_driver.h. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio_driver.h"
#include "vm/net/net.h"
#include "vm/virtio/net.h"
#include "vm/virtio/pci.h"

/* clang-format off */
enum {
	RX = 0, TX = 1, CONTROL = 2,
	F_CSUM = 1 << 0, F_GUEST_CSUM = 1 << 1, F_OFFLOADS = 1 << 2, F_GUEST_TSO4 = 1 << 7,
	F_HOST_TSO4 = 1 << 11, F_MRG = 1 << 15, F_STATUS = 1 << 16, F_CTRL = 1 << 17,
	F_CTRL_RX = 1 << 18, F_VLAN = 1 << 19, F_MQ = 1 << 22, F_CTRL_MAC = 1 << 23,
	BUF = VD_DATA, CMD = VD_DATA + 0x20000, ACK = VD_DATA + 0x21000,
};
/* clang-format on */

static const uint8_t our_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

struct fixture {
	struct vd v;
	struct virtio_net net;
	struct virtio_pci pci;
	struct net_end ours, theirs;
	uint8_t packet[NET_PACKET_MAX];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_net_config cfg = { .nr_pairs = 2, .packed = true };
	int r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0 || net_pair(&f->ours, &f->theirs, NULL) < 0)
		return -1;
	cfg.end = f->ours;
	memcpy(cfg.mac, our_mac, 6);
	r = virtio_net_init(&f->net, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);
	if (r == 0)
		r = virtio_pci_init(&f->pci, &f->net.dev, &f->v.b.board, &f->v.pci, VD_DEVFN,
				    0x020000, NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_net_done(&f->net);
	net_end_close(&f->ours);
	net_end_close(&f->theirs);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

/* A packet of the other end: header and frame of @len bytes, to @mac. */
static void arrives(struct fixture *f, const uint8_t *mac, unsigned int len)
{
	memcpy(f->packet + NET_HDR, mac, 6);
	assert_int_equal(write(f->theirs.fd, f->packet, NET_HDR + len), NET_HDR + len);
	vd_run(&f->v);
}

static bool got(struct fixture *f, unsigned int queue)
{
	uint32_t len;
	uint16_t id;

	return vd_used(&f->v, queue, &id, &len);
}

static void buffers(struct fixture *f, unsigned int n, uint32_t len)
{
	for (unsigned int k = 0; k < n; k++)
		vd_add(&f->v, RX, &(struct vd_piece){ BUF + k * 0x800, len, true }, 1, false);
	vd_kick(&f->v, RX);
}

static uint8_t command(struct fixture *f, uint8_t class, uint8_t cmd, const void *data,
		       unsigned int n)
{
	struct vd_piece p[2] = { { CMD, 2 + n, false }, { ACK, 1, true } };
	uint8_t *c = vd_ram(&f->v, CMD);

	c[0] = class;
	c[1] = cmd;
	memcpy(c + 2, data, n);
	*(uint8_t *)vd_ram(&f->v, ACK) = 0xff;
	assert_int_equal(vd_do(&f->v, CONTROL, p, 2), 1);
	return *(uint8_t *)vd_ram(&f->v, ACK);
}

static void test_send(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p[2] = { { BUF, NET_HDR + 10, false }, { BUF + 100, 50, false } };
	uint8_t *h = vd_ram(v, BUF);
	ssize_t n;

	for (unsigned int round = 0; round < 3; round++) {
		assert_true(vd_start(v,
				     round == 2 ? F_CSUM | VD_F_PACKED
				     : round	? F_CSUM
						: 0,
				     2, 16));
		memset(h, 0, 256);
		h[0] = 3;
		put_le16(h + 6, 20);
		memset(h + NET_HDR, 'a', 10);
		memset(vd_ram(v, BUF + 100), 'b', 50);
		assert_int_equal(vd_do(v, TX, p, 2), 0);
		n = read(f->theirs.fd, f->packet, sizeof(f->packet));
		assert_int_equal(n, NET_HDR + 60);
		/* What was not negotiated is not asked for. */
		assert_int_equal(f->packet[0], round ? 1 : 0);
		assert_int_equal(get_le16(f->packet + 6), round ? 20 : 0);
		assert_int_equal(f->packet[NET_HDR], 'a');
		assert_int_equal(f->packet[NET_HDR + 10], 'b');
	}
	/* Too short, and too long: gone, and the chain is back. */
	p[0].len = 20;
	assert_int_equal(vd_do(v, TX, p, 1), 0);
	p[0].len = 200000;
	assert_int_equal(vd_do(v, TX, p, 1), 0);
	assert_int_equal(read(f->theirs.fd, f->packet, sizeof(f->packet)), -1);
	assert_int_equal(f->net.nr_dropped_out, 2);
}

/* The cable is full: the packet waits, and so does the queue. */
static void test_blocked(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { BUF, NET_HDR + 60000, false };
	unsigned int sent = 0, back = 0, read_back = 0;

	assert_true(vd_start(v, 0, 2, 64));
	for (; sent < 60; sent++)
		vd_add(v, TX, &p, 1, false);
	vd_kick(v, TX);
	while (got(f, TX))
		back++;
	assert_true(back < sent);
	while (read_back < sent) {
		ssize_t n = read(f->theirs.fd, f->packet, sizeof(f->packet));

		if (n < 0)
			vd_run(v);
		else
			read_back++;
		assert_true(n == NET_HDR + 60000 || errno == EAGAIN);
	}
	vd_run(v);
	while (got(f, TX))
		back++;
	assert_int_equal(back, sent);
	/* And once more, with a reset in between. */
	for (unsigned int k = 0; k < 60; k++)
		vd_add(v, TX, &p, 1, false);
	vd_kick(v, TX);
	vd_set_status(v, 0);
	assert_int_equal(vd_status(v), 0);
	vd_run(v);
}

/* No bus master: packets wait in the socket, and one that was under way goes on later. */
static void test_master(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { BUF, NET_HDR + 60000, false };
	unsigned int back = 0, nr_read = 0;
	void *before;

	assert_true(vd_start(v, 0, 2, 64));
	for (unsigned int k = 0; k < 60; k++)
		vd_add(v, TX, &p, 1, false);
	vd_add(v, RX, &(struct vd_piece){ BUF + 0x20000, 1600, true }, 1, false);
	vd_kick(v, TX); /* the cable is full then */
	while (got(f, TX))
		back++;
	vd_set_master(v, false);
	before = vd_picture(v);
	assert_non_null(before);
	/* There is room, and something came. */
	while (read(f->theirs.fd, f->packet, sizeof(f->packet)) > 0)
		nr_read++;
	memset(f->packet, 0, NET_HDR);
	arrives(f, our_mac, 100);
	vd_kick(v, RX);
	assert_true(vd_is_as_in(v, before));
	assert_true(read(f->theirs.fd, f->packet, sizeof(f->packet)) < 0);
	free(before);
	vd_set_master(v, true);
	vd_run(v);
	assert_true(got(f, RX));
	for (unsigned int idle = 0; nr_read < 60 && idle < 1000; idle++) {
		while (read(f->theirs.fd, f->packet, sizeof(f->packet)) > 0)
			nr_read++;
		vd_run(v);
	}
	assert_int_equal(nr_read, 60);
	while (got(f, TX))
		back++;
	assert_int_equal(back, 60);
}

static void test_receive(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint32_t len;
	uint16_t id;

	assert_true(vd_start(v, 0, 2, 16));
	for (unsigned int k = 0; k < 6; k++)
		assert_int_equal(vd_in(v, v->config + k, 1), our_mac[k]);
	/* It waits for buffers. */
	memset(f->packet, 0, NET_HDR);
	memset(f->packet + NET_HDR, 'x', 100);
	arrives(f, our_mac, 100);
	assert_false(got(f, RX));
	buffers(f, 1, 1600);
	assert_true(vd_used(v, RX, &id, &len));
	assert_int_equal(len, NET_HDR + 100);
	assert_int_equal(get_le16((uint8_t *)vd_ram(v, BUF) + 10), 1);
	assert_int_equal(((uint8_t *)vd_ram(v, BUF))[NET_HDR + 99], 'x');
	/* Larger than the buffer: dropped, the buffer stays. */
	buffers(f, 1, 64);
	arrives(f, our_mac, 100);
	assert_false(got(f, RX));
	arrives(f, our_mac, 40);
	assert_true(got(f, RX));
	/* Merged buffers. */
	assert_true(vd_start(v, F_MRG, 2, 16));
	buffers(f, 3, 100);
	memset(f->packet + NET_HDR, 'y', 400);
	arrives(f, our_mac, 300);
	assert_false(got(f, RX));
	vd_add(v, RX, &(struct vd_piece){ BUF + 0x4000, 100, true }, 1, false);
	vd_kick(v, RX);
	for (unsigned int k = 0; k < 4; k++) {
		assert_true(vd_used(v, RX, &id, &len));
		assert_int_equal(len, k == 3 ? 12 : 100);
	}
	assert_int_equal(get_le16((uint8_t *)vd_ram(v, BUF) + 10), 4);
	assert_false(got(f, RX));
}

/* --- a packet in several buffers: the driver sees all of them, or none --- */

enum { MERGED = 4, MERGED_RING = 256 };

struct watcher {
	struct vd *v;
	_Atomic bool stop;
	bool sees_part;
};

static bool slot_is_used(struct vd *v, unsigned int slot)
{
	const uint16_t *flags = vd_ram(v, v->q[RX].desc + 16 * (uint64_t)slot + 14);

	return (__atomic_load_n(flags, __ATOMIC_ACQUIRE) & 0x8080) == 0x8080;
}

/* Looks at the used ring all the time, as a driver that polls. */
static void *watch_split(void *arg)
{
	struct watcher *w = arg;
	const uint16_t *idx = vd_ram(w->v, w->v->q[RX].used + 2);

	while (!w->stop)
		w->sees_part |= __atomic_load_n(idx, __ATOMIC_ACQUIRE) % MERGED != 0;
	return NULL;
}

static void *watch_packed(void *arg)
{
	struct watcher *w = arg;
	unsigned int first = 0;

	while (!w->stop && first < MERGED_RING) {
		if (!slot_is_used(w->v, first))
			continue;
		for (unsigned int k = 1; k < MERGED; k++)
			w->sees_part |= !slot_is_used(w->v, first + k);
		first += MERGED;
	}
	return NULL;
}

static void fill_watched(struct fixture *f, uint64_t features, void *(*watch)(void *))
{
	struct vd *v = &f->v;
	struct watcher w = { .v = v };
	pthread_t t;

	assert_true(vd_start(v, F_MRG | features, 2, MERGED_RING));
	buffers(f, MERGED_RING, 100);
	assert_int_equal(pthread_create(&t, NULL, watch, &w), 0);
	for (unsigned int k = 0; k < MERGED_RING / MERGED; k++)
		arrives(f, our_mac, 300);
	w.stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	for (unsigned int k = 0; k < MERGED_RING; k++)
		assert_true(got(f, RX));
	assert_false(w.sees_part);
}

static void test_merged_at_once(void **state)
{
	for (unsigned int k = 0; k < 20; k++) {
		fill_watched(*state, 0, watch_split);
		fill_watched(*state, VD_F_PACKED, watch_packed);
	}
}

/* Puts a packet behind others into a message: its frame has @len bytes 'fill'; @next as in its header. */
static unsigned int append(struct fixture *f, unsigned int at, const uint8_t *mac, uint8_t fill,
			   unsigned int len, uint16_t next)
{
	uint8_t *p = f->packet + at;

	memset(p, 0, NET_HDR);
	put_le16(p + NET_H_NEXT, next);
	memset(p + NET_HDR, fill, len);
	memcpy(p + NET_HDR, mac, 6);
	return at + NET_HDR + len;
}

static void sent(struct fixture *f, unsigned int n)
{
	assert_int_equal(write(f->theirs.fd, f->packet, n), n);
	vd_run(&f->v);
}

/* Several packets in one message: each arrives by itself, in order, also when buffers come late. */
static void test_message(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	const uint8_t *h = vd_ram(v, BUF);
	unsigned int n = 0;
	uint32_t len;
	uint16_t id;

	assert_true(vd_start(v, 0, 2, 16));
	buffers(f, 2, 1600);
	n = append(f, n, our_mac, 'a', 60, NET_HDR + 60);
	n = append(f, n, our_mac, 'b', 200, NET_HDR + 200);
	n = append(f, n, our_mac, 'c', 100, 0);
	sent(f, n);
	for (unsigned int k = 0; k < 3; k++) {
		static const unsigned int bytes[] = { 60, 200, 100 };

		if (k == 2) {
			assert_false(got(f, RX));
			buffers(f, 1, 1600);
		}
		assert_true(vd_used(v, RX, &id, &len));
		assert_int_equal(len, NET_HDR + bytes[k]);
		assert_int_equal(get_le16(h + (k == 1 ? 0x800 : 0) + NET_H_BUFFERS), 1);
		assert_int_equal(h[(k == 1 ? 0x800 : 0) + NET_HDR + 6], 'a' + k);
	}
	/* More than are looked at in one turn; too short to be packets. */
	buffers(f, 1, 1600);
	n = 0;
	for (unsigned int k = 0; k < 500; k++)
		n = append(f, n, our_mac, 'o', 13, NET_HDR + 13);
	sent(f, append(f, n, our_mac, 'd', 80, 0));
	assert_true(vd_used(v, RX, &id, &len));
	assert_int_equal(len, NET_HDR + 80);
	/* A length that goes beyond the end is none. */
	buffers(f, 2, 1600);
	n = append(f, 0, our_mac, 'e', 60, 5000);
	sent(f, append(f, n, our_mac, 'f', 60, 0));
	assert_true(vd_used(v, RX, &id, &len));
	assert_int_equal(len, 2 * (NET_HDR + 60));
	assert_false(got(f, RX));
	/* A reset forgets what waits. */
	n = append(f, 0, our_mac, 'i', 60, NET_HDR + 60);
	sent(f, append(f, n, our_mac, 'j', 60, 0));
	assert_true(vd_start(v, 0, 2, 16));
	buffers(f, 2, 1600);
	assert_false(got(f, RX));
}

static void test_checksum(void **state)
{
	/* A UDP header of 8 bytes at 34, whose checksum field holds the pseudo header's sum 0x1234. */
	static const uint8_t udp[] = {
		0x00, 0x35, 0x00, 0x36, 0x00, 0x0b, 0x12, 0x34, 'a', 'b', 'c'
	};
	struct fixture *f = *state;
	struct vd *v = &f->v;
	const uint8_t *h = vd_ram(v, BUF);
	uint8_t *frame = f->packet + NET_HDR;
	uint32_t sum = 0;

	for (unsigned int guest = 0; guest < 2; guest++) {
		assert_true(vd_start(v, guest ? F_GUEST_CSUM : 0, 2, 16));
		buffers(f, 1, 1600);
		memset(f->packet, 0, 100);
		f->packet[0] = 1;
		put_le16(f->packet + 6, 34);
		put_le16(f->packet + 8, 6);
		memcpy(frame + 34, udp, sizeof(udp));
		arrives(f, our_mac, 34 + sizeof(udp));
		assert_true(got(f, RX));
		assert_int_equal(h[0], guest);
		if (guest)
			assert_int_equal(get_be16(h + NET_HDR + 40), 0x1234);
	}
	assert_true(vd_start(v, 0, 2, 16));
	buffers(f, 1, 1600);
	arrives(f, our_mac, 34 + sizeof(udp));
	assert_true(got(f, RX));
	/* Data, the new checksum, and the pseudo header's sum make all ones. */
	for (unsigned int k = 34; k < 45; k++)
		sum += (uint32_t)h[NET_HDR + k] << (k & 1 ? 0 : 8);
	sum += 0x1234;
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* A place outside of the frame, and a large packet for a driver without segmentation offload. */
	buffers(f, 1, 1600);
	put_le16(f->packet + 6, 5000);
	arrives(f, our_mac, 60);
	assert_false(got(f, RX));
	memset(f->packet, 0, NET_HDR);
	f->packet[1] = 1;
	arrives(f, our_mac, 60);
	assert_false(got(f, RX));
	assert_int_equal(f->net.nr_dropped_in, 2);
}

static void test_filter(void **state)
{
	static const uint8_t other[6] = { 0x52, 0x54, 0, 9, 9, 9 },
			     multi[6] = { 1, 0, 0x5e, 0, 0, 1 },
			     all[6] = { 255, 255, 255, 255, 255, 255 };
	struct fixture *f = *state;
	uint8_t table[20] = { 1, 0, 0, 0, 0x52, 0x54, 0, 9, 9, 9, 0, 0, 0, 0 };

	assert_true(vd_start(&f->v, F_CTRL | F_CTRL_RX | F_CTRL_MAC | F_VLAN, 3, 64));
	buffers(f, 16, 1600);
	memset(f->packet, 0, 100);
	arrives(f, other, 60);
	assert_true(got(f, RX)); /* promiscuous until told */
	assert_int_equal(command(f, 0, 0, "\0", 1), 0);
	arrives(f, other, 60);
	arrives(f, multi, 60);
	assert_false(got(f, RX));
	arrives(f, our_mac, 60);
	assert_true(got(f, RX));
	arrives(f, all, 60);
	assert_true(got(f, RX));
	assert_int_equal(command(f, 0, 1, "\1", 1), 0);
	arrives(f, multi, 60);
	assert_true(got(f, RX));
	assert_int_equal(command(f, 1, 0, table, 14), 0);
	arrives(f, other, 60);
	assert_true(got(f, RX));
	arrives(f, multi, 60);
	assert_false(got(f, RX));
	/* Another address. */
	assert_int_equal(command(f, 1, 1, multi, 6), 0);
	arrives(f, our_mac, 60);
	assert_false(got(f, RX));
	/* VLANs. */
	put_be16(f->packet + NET_HDR + 12, 0x8100);
	put_be16(f->packet + NET_HDR + 14, 0x2005);
	arrives(f, other, 60);
	assert_false(got(f, RX));
	assert_int_equal(command(f, 2, 0, "\x05\x00", 2), 0);
	arrives(f, other, 60);
	assert_true(got(f, RX));
	assert_int_equal(command(f, 2, 1, "\x05\x00", 2), 0);
	arrives(f, other, 60);
	assert_false(got(f, RX));
	/* What makes no sense. */
	assert_int_equal(command(f, 2, 0, "\x00\x10", 2), 1);
	assert_int_equal(command(f, 0, 9, "\1", 1), 1);
	assert_int_equal(command(f, 77, 0, "\1", 1), 1);
	assert_int_equal(command(f, 4, 0, "\1\0", 2), 1);
	put_le32(table, UINT32_MAX);
	assert_int_equal(command(f, 1, 0, table, 14), 1);
	put_le32(table, 2);
	assert_int_equal(command(f, 1, 0, table, 14), 1);
	assert_int_equal(command(f, 1, 0, table, 3), 1);
	assert_int_equal(vd_status(&f->v) & VD_S_NEEDS_RESET, 0);
}

static void test_pairs(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	unsigned int second = 0;

	assert_int_equal(vd_in(v, v->config + 8, 2), 2);
	assert_true(vd_start(v, F_CTRL | F_MQ | F_MRG, 5, 64));
	for (unsigned int k = 0; k < 32; k++) {
		vd_add(v, 0, &(struct vd_piece){ BUF, 1600, true }, 1, false);
		vd_add(v, 2, &(struct vd_piece){ BUF, 1600, true }, 1, false);
	}
	vd_kick(v, 0);
	/* The control queue is behind the pairs. */
	{
		struct vd_piece p[2] = { { CMD, 4, false }, { ACK, 1, true } };

		memcpy(vd_ram(v, CMD), "\4\0\2\0", 4);
		assert_int_equal(vd_do(v, 4, p, 2), 1);
		assert_int_equal(*(uint8_t *)vd_ram(v, ACK), 0);
	}
	memset(f->packet, 0, 100);
	put_be16(f->packet + NET_HDR + 12, 0x0800);
	f->packet[NET_HDR + 14] = 0x45;
	for (unsigned int k = 0; k < 32; k++) {
		put_be16(f->packet + NET_HDR + 34, (uint16_t)(1000 + k));
		arrives(f, our_mac, 60);
	}
	while (got(f, 2))
		second++;
	assert_true(second > 4 && second < 28);
}

static void test_link(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { BUF, NET_HDR + 60, false };
	unsigned int irqs;

	assert_true(vd_start(v, F_STATUS, 2, 16));
	assert_int_equal(vd_in(v, v->config + 6, 2), 1);
	irqs = v->nr_queue_msi[2];
	virtio_net_set_link(&f->net, false);
	assert_int_equal(vd_in(v, v->config + 6, 2), 0);
	assert_int_equal(v->nr_queue_msi[2], irqs + 1);
	assert_int_equal(vd_do(v, TX, &p, 1), 0);
	assert_int_equal(read(f->theirs.fd, f->packet, 100), -1);
	virtio_net_set_link(&f->net, true);
	assert_int_equal(vd_do(v, TX, &p, 1), 0);
	assert_true(read(f->theirs.fd, f->packet, 100) > 0);
	/* The other machine ends. */
	net_end_close(&f->theirs);
	vd_run(v);
	assert_int_equal(vd_do(v, TX, &p, 1), 0);
	vd_run(v);
	assert_int_equal(vd_in(v, v->config + 6, 2), 0);
	assert_int_equal(vd_do(v, TX, &p, 1), 0);
}

static void test_capture(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/test-virtio-net-XXXXXX";
	uint8_t file[200];
	int fd = mkstemp(path);
	struct vd_piece p = { BUF, NET_HDR + 60, false };

	assert_true(fd >= 0);
	assert_int_equal(net_capture(&f->net.end, path, NULL), 0);
	assert_true(vd_start(&f->v, 0, 2, 16));
	memset(vd_ram(&f->v, BUF), 'q', 100);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	assert_int_equal(read(fd, file, sizeof(file)), 24 + 16 + 60);
	assert_int_equal(get_le32(file), 0xa1b23c4d);
	assert_int_equal(get_le32(file + 24 + 8), 60);
	assert_int_equal(file[24 + 16], 'q');
	close(fd);
	unlink(path);
	f->ours.pcap_fd = f->net.end.pcap_fd;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merged_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_capture, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio-net", tests, NULL, NULL);
}
