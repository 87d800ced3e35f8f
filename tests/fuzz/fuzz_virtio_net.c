/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network device: what the guest does, and packets that a hostile other end sends. */
#include <unistd.h>

#include "fuzz_virtio.h"
#include "vm/virtio/net.h"

struct world {
	struct virtio_net net;
	struct net_end theirs;
	struct fuzz_input *in;
};

static void event(void *arg, unsigned int what)
{
	static uint8_t packet[NET_PACKET_MAX];
	struct world *t = arg;
	size_t n = what >> 2 & 0xfff;

	if ((what & 3) == 3) {
		virtio_net_set_link(&t->net, what & 4);
		return;
	}
	if ((what & 3) == 2) {
		while (read(t->theirs.fd, packet, sizeof(packet)) > 0)
			;
		return;
	}
	memset(packet, (int)n & 1, 64);
	for (unsigned int k = 0; k < 16; k++)
		packet[k] = (uint8_t)fuzz_take(t->in, 1);
	put_be16(packet + 24, what & 0x4000 ? 0x0800 : what & 0x8000 ? 0x86dd : 0x8100);
	packet[26] = 0x45;
	ignore_result(write(t->theirs.fd, packet, n));
}

static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	static const uint8_t classes[] = { 0, 1, 2, 4, 5, 1, 0, 3 };
	struct vd_piece p[2] = { { VD_DATA, 2, false }, { VD_DATA + 0x100, 1, true } };
	uint8_t *c = vd_ram(&w->v, VD_DATA);
	unsigned int q = w->nr_queues > 4 ? 4 : 2;

	c[0] = classes[fuzz_take(in, 1) & 7];
	c[1] = (uint8_t)fuzz_take(in, 1) & 7;
	p[0].len = 2 + ((uint32_t)fuzz_take(in, 1) & 31);
	for (unsigned int k = 2; k < p[0].len; k++)
		c[k] = (uint8_t)fuzz_take(in, 1);
	if (w->nr_queues <= q || !w->v.q[q].size)
		return;
	vd_add(&w->v, q, p, 2, false);
	vd_notify(&w->v, q);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct fuzz_virtio w;
	static struct world t;
	struct fuzz_input in = { data, n };
	struct virtio_net_config cfg = { .mac = { 2 }, .nr_pairs = 2, .packed = true };

	fuzz_virtio_init(&w);
	t.in = &in;
	fuzz_must(net_pair(&cfg.end, &t.theirs, NULL) == 0);
	if (fuzz_take(&in, 1) & 1)
		fuzz_must(net_capture(&cfg.end, "/dev/null", NULL) == 0);
	fuzz_must(virtio_net_init(&t.net, &cfg, &w.v.b.memory.phys, &w.v.io, NULL) == 0);
	w.dev = &t.net.dev;
	w.event = event;
	w.request = request;
	w.arg = &t;
	fuzz_virtio_run(&w, &in);
	cfg.end.pcap_fd = t.net.end.pcap_fd;
	virtio_net_done(&t.net);
	net_end_close(&cfg.end);
	net_end_close(&t.theirs);
	fuzz_virtio_done(&w);
	return 0;
}
