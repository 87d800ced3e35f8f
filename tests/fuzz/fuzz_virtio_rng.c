/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio transport and queues, with the simplest device behind them. */
#include "fuzz_virtio.h"
#include "vm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct fuzz_virtio w;
	static struct virtio_rng rng;
	struct fuzz_input in = { data, n };

	fuzz_virtio_init(&w);
	virtio_rng_init(&rng, &w.v.b.memory.phys, &w.v.io);
	w.dev = &rng.dev;
	fuzz_virtio_run(&w, &in);
	virtio_rng_done(&rng);
	fuzz_virtio_done(&w);
	return 0;
}
