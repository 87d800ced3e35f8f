/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why shares: n machines see the same lack at the same time. If each gave all of it, the host would have n times too
 * much, and a moment later they would all take it back. By shares, machines that are as large as the host together give
 * it once; twice as large, twice, which the distance between the two bounds takes up. A step is at least a 64th of the
 * machine's memory, so that the last bit comes to its end.
 */
#include "vm/balloon_policy.h"

#include <errno.h>

#include "base/attr.h"

enum { PAGE = 4096, PART_KEPT = 8, PART_STEP = 64 };
#define KEPT_MIN (UINT64_C(64) << 20)

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* This machine's share of @bytes of the host's. */
static uint64_t share_of(const struct balloon_view *v, uint64_t bytes)
{
	double part = (double)v->guest_total / (double)MAX(v->host_total, v->guest_total);

	return MAX((uint64_t)((double)bytes * part), v->guest_total / PART_STEP);
}

uint64_t balloon_policy(const struct balloon_view *v)
{
	uint64_t kept = MAX(v->guest_total / PART_KEPT, KEPT_MIN);
	uint64_t high = v->host_reserve + v->host_reserve / 2;
	uint64_t target = v->target;

	if (v->guest_available < kept / 2)
		target = less(MIN(target, v->held), kept - v->guest_available);
	else if (v->host_available < v->host_reserve && v->held >= target)
		target += MIN(share_of(v, v->host_reserve - v->host_available),
			      less(v->guest_available, kept));
	else if (v->host_available > high)
		target = less(target, share_of(v, v->host_available - high));
	return MIN(target, less(v->guest_total, kept)) & ~(uint64_t)(PAGE - 1);
}
