/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_RNG_H
#define VM_VIRTIO_RNG_H

#include "vm/virtio/virtio.h"

/* An entropy device (virtio 1.2, 5.4): fills buffers from the host's random numbers. */
struct virtio_rng {
	struct virtio_dev dev;
	struct virtq_chain chain;
};

/* virtio_rng_init - @mem and @io live longer; virtio_rng_done() after its transport's end. */
void virtio_rng_init(struct virtio_rng *r, const struct physmem *mem, struct iothread *io);
void virtio_rng_done(struct virtio_rng *r);

#endif
