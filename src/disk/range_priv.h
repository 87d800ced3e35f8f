/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_RANGE_PRIV_H
#define ATOLL_DISK_RANGE_PRIV_H

#include <pthread.h>

#include "disk/disk.h"

/*
 * Which ranges of the disk are in use. Shared holds overlap each other (reads, writes in place), an
 * exclusive one overlaps none (allocation, copy on write, zeroing, discard, the whole disk for a
 * snapshot). So no place in a file is given up while an I/O to it is in flight.
 */
struct ranges {
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct list holds; /* in the order of asking; waiting ones, too */
	unsigned nr_exclusive, nr_waiting;
};

void ranges_init(struct ranges *rs);
void ranges_done(struct ranges *rs);
/* Take without waiting; false: it is in use. */
bool range_try(struct ranges *rs, struct disk_hold *h, uint64_t off, uint64_t len, bool exclusive);
/* Take, first come first served. */
void range_take(struct ranges *rs, struct disk_hold *h, uint64_t off, uint64_t len, bool exclusive);
void range_release(struct ranges *rs, struct disk_hold *h);

#endif
