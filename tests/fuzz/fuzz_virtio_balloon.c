/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The balloon: lists of page numbers, reported pages, statistics, and a host that asks in between. */
#include "fuzz_virtio.h"
#include "vm/virtio/balloon.h"

static void event(void *arg, unsigned int what)
{
	struct virtio_balloon_info info;

	if (what & 1)
		virtio_balloon_set(arg, (uint64_t)(what >> 1) << 12);
	else
		virtio_balloon_info(arg, &info);
}

static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	unsigned int n = (unsigned int)fuzz_take(in, 1) % w->nr_queues;
	unsigned int nr = (unsigned int)fuzz_take(in, 1) % 64;
	struct vd_piece p = { VD_DATA, 4 * nr, n > 2 };

	for (unsigned int k = 0; k < nr; k++)
		put_le32((uint8_t *)vd_ram(&w->v, VD_DATA + 4 * (uint64_t)k),
			 (uint32_t)fuzz_take(in, 2) << (k & 8));
	if (n > 2)
		p = (struct vd_piece){ fuzz_take(in, 2) << 8, nr << 10, true };
	if (!w->v.q[n].size)
		return;
	vd_add(&w->v, n, &p, 1, false);
	vd_notify(&w->v, n);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct virtio_balloon b;
	static struct fuzz_virtio w;
	struct fuzz_input in = { data, n };

	fuzz_virtio_init(&w);
	virtio_balloon_init(&b, n & 1, &w.v.b.memory.phys, &w.v.io);
	w.dev = &b.dev;
	w.event = event;
	w.request = request;
	w.arg = &b;
	fuzz_virtio_run(&w, &in);
	virtio_balloon_done(&b);
	fuzz_virtio_done(&w);
	return 0;
}
