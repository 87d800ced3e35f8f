/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tablet, whose pointer goes where the input says, and what its driver asks it. */
#include "fuzz_virtio.h"
#include "vm/virtio/input.h"

static void event(void *arg, unsigned int what)
{
	const struct virtio_input_frame f = { .x = (uint16_t)(what & 0x7fff),
					      .y = (uint16_t)(what >> 1 & 0x7fff),
					      .buttons = (uint8_t)(what >> 4 & 15),
					      .wheel = what & 8 ? INT32_MAX : (int)(what & 3) - 1 };

	(void)virtio_input_point(arg, &f);
}

/* A question about what it is, and a few buffers. */
static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	struct vd_piece p = { VD_DATA, 8, true };

	vd_out(&w->v, w->v.config, 2, fuzz_take(in, 2));
	(void)vd_in(&w->v, w->v.config + (fuzz_take(in, 1) & 0x8f), 4);
	if (!w->v.q[0].size)
		return;
	for (unsigned int n = (unsigned int)fuzz_take(in, 1) & 15; n; n--)
		vd_add(&w->v, 0, &p, 1, false);
	vd_notify(&w->v, 0);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct fuzz_virtio w;
	static struct virtio_input tablet;
	struct fuzz_input in = { data, n };

	fuzz_virtio_init(&w);
	virtio_input_init(&tablet, &w.v.b.memory.phys, &w.v.io);
	w.dev = &tablet.dev;
	w.event = event;
	w.request = request;
	w.arg = &tablet;
	fuzz_virtio_run(&w, &in);
	virtio_input_done(&tablet);
	fuzz_virtio_done(&w);
	return 0;
}
