/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_BALLOON_POLICY_H
#define VM_BALLOON_POLICY_H

#include <stdint.h>

/*
 * How much a machine's balloon shall hold, by what host and guest have left. Each machine decides for itself, again and
 * again, by the same rule; no machine knows of the others. Sans I/O.
 */

/* What there is at one moment; in bytes. */
struct balloon_view {
	uint64_t host_total,
		host_available; /* of /proc/meminfo: MemAvailable, what can be had without swapping */
	uint64_t host_reserve;	  /* so much shall be available */
	uint64_t guest_total;	  /* the machine's memory */
	uint64_t guest_available; /* by its statistics: the same as of the host */
	uint64_t target, held;	  /* what the balloon shall hold, and does */
};

/*
 * balloon_policy - the balloon's next target; whole pages.
 *
 * - A guest that has less than half of its reserve (an eighth of its memory, at least 64 MiB) gets back what is missing.
 * - When the host has less than its reserve, guests give of what they have beyond theirs, each its share: what the host
 *   lacks times the guest's part of the host's memory.
 * - When the host has half as much again as its reserve, they get it back in the same way.
 * - In between, and while a guest is still giving what it was asked for, nothing changes.
 *
 * Thread: any.
 */
uint64_t balloon_policy(const struct balloon_view *v);

#endif
