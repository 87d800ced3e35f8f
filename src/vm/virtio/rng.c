/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entropy device. The host's generator never runs dry, so there is nothing to ration but time: a request is
 * answered with at most a page, which is all that drivers ask for, so that one of 4 GiB does not keep the I/O
 * thread busy. A driver must handle a short answer (5.4.6.1).
 */
#include "vm/virtio/rng.h"

#include <sys/random.h>

#include "base/attr.h"

enum { ID_ENTROPY = 4, QUEUE_SIZE = 64, ANSWER_MAX = 4096 };

static uint32_t fill(const struct virtq_chain *c)
{
	uint32_t done = 0;

	for (unsigned int k = 0; k < c->nr_in && done < ANSWER_MAX; k++) {
		size_t n = MIN(c->in[k].iov_len, (size_t)(ANSWER_MAX - done));
		ssize_t got = getrandom(c->in[k].iov_base, n, 0);

		if (got < 0)
			break;
		done += (uint32_t)got;
		if ((size_t)got < n)
			break;
	}
	return done;
}

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_rng *r = container_of(d, struct virtio_rng, dev);
	struct virtq *q = &d->q[0];
	unsigned int n = 0;

	while (virtio_pop(d, q, &r->chain, &n))
		virtio_push(d, &r->chain, fill(&r->chain));
	virtio_signal(d, q);
}

static void reset(struct virtio_dev *d)
{
	/* A chain is pushed as soon as it was popped. */
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng", .id = ID_ENTROPY, .run = run, .reset = reset
};

void virtio_rng_init(struct virtio_rng *r, const struct physmem *mem, struct iothread *io)
{
	*r = (struct virtio_rng){ 0 };
	virtio_init(&r->dev, &rng_ops, mem, io, 1, QUEUE_SIZE, 0);
}

void virtio_rng_done(struct virtio_rng *r)
{
	virtio_done(&r->dev);
}
