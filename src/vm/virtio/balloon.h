/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_BALLOON_H
#define VM_VIRTIO_BALLOON_H

#include "vm/virtio/virtio.h"

/*
 * A memory balloon (virtio 1.2, 5.5): the guest gives pages back to the host, because it was asked to (the target),
 * or because they are free anyway (page reporting); and tells how much memory it uses.
 */
enum { VIRTIO_BALLOON_STATS = 16, VIRTIO_BALLOON_AVAILABLE = 6 /* by tag */ };

struct virtio_balloon {
	struct virtio_dev dev;
	const struct physmem *mem;
	struct virtq_chain chain; /* for what is answered at once */

	/* A list of pages that is being worked through; in flight while list.q is set. */
	struct virtq_chain list;
	uint32_t list_off;

	/* The driver's buffer for statistics, kept until somebody wants to know; in flight while stats.q is set. */
	struct virtq_chain stats;
	bool stats_wanted;
	uint64_t stats_value[VIRTIO_BALLOON_STATS]; /* by tag */
	uint32_t stats_known;			    /* a bit for each tag */
	uint64_t nr_stats;			    /* how often they came */

	uint64_t released_bytes; /* by inflating and by reporting, all together */
	uint64_t reported_bytes; /* of these, by reporting */
};

/* What the balloon knows, for people. */
struct virtio_balloon_info {
	bool is_running; /* the guest has a driver */
	uint64_t target_bytes, actual_bytes;
	uint64_t released_bytes, reported_bytes;
	uint64_t nr_stats, stats_value[VIRTIO_BALLOON_STATS];
	uint32_t stats_known;
};

/* virtio_balloon_init - an empty balloon. @strict: the guest shall not deflate it by itself when its memory runs out.
 * virtio_balloon_done() after its transport's end. */
void virtio_balloon_init(struct virtio_balloon *b, bool strict, const struct physmem *mem,
			 struct iothread *io);
void virtio_balloon_done(struct virtio_balloon *b);

/* virtio_balloon_set - how much the balloon shall hold; whole pages, up to 16 TiB less one. Thread: any. */
void virtio_balloon_set(struct virtio_balloon *b, uint64_t bytes);

/* virtio_balloon_info - what is known, and let the guest tell its statistics anew: *ret has what it told before, and
 * nr_stats grows when they come. Thread: any. */
void virtio_balloon_info(struct virtio_balloon *b, struct virtio_balloon_info *ret);

/* virtio_balloon_stat_name - what a statistic is called, or NULL. Thread: any. */
const char *virtio_balloon_stat_name(unsigned int tag);

#endif
