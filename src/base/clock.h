/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_CLOCK_H
#define ATOLL_BASE_CLOCK_H

#include <stdint.h>

#include "base/attr.h"

/*
 * Time is an argument. What needs the time takes a `struct clock *`, so that a test moves it by hand
 * and never sleeps.
 */

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct clock {
	/* Nanoseconds that never go back (CLOCK_MONOTONIC). Any thread. */
	uint64_t (*now_ns)(struct clock *c);
	/* Nanoseconds since 1970-01-01 UTC; may jump. Any thread. */
	uint64_t (*wall_ns)(struct clock *c);
};

/* clock_now - monotonic nanoseconds of a clock. Thread: any. */
static inline uint64_t clock_now(struct clock *c)
{
	return c->now_ns(c);
}

/* clock_wall - nanoseconds since 1970 UTC of a clock. Thread: any. */
static inline uint64_t clock_wall(struct clock *c)
{
	return c->wall_ns(c);
}

/* clock_real - the host's clock: CLOCK_MONOTONIC and CLOCK_REALTIME. Never NULL, static. Thread:
 * any. */
struct clock *clock_real(void);

/*
 * A clock that stands still until it is told to move. Both times advance together.
 */
struct clock_fake {
	struct clock clock; /* first: this is what is handed out */
	_Atomic uint64_t mono_ns, real_ns;
};

/*
 * clock_fake_init - a fake clock at the given times.
 *
 * @c:  caller's memory, needs no end; use &c->clock
 * Thread: owner; afterwards any.
 */
void clock_fake_init(struct clock_fake *c, uint64_t mono_ns, uint64_t wall_ns);

/* clock_fake_advance - let ns nanoseconds pass. Thread: any. */
void clock_fake_advance(struct clock_fake *c, uint64_t ns);

/* The host's clock, set to another time: a machine that goes on after a pause in a file has it. */
struct clock_shifted {
	struct clock clock;	   /* first: this is what is handed out */
	_Atomic uint64_t shift_ns; /* what is added to CLOCK_MONOTONIC, modulo 2^64 */
};

/*
 * clock_shifted_init - the host's clock. clock_shifted_set: from now on it says @now_ns, and goes on from there.
 *
 * @c:  caller's memory, needs no end; use &c->clock
 * Thread: owner; setting: any, but who waits for a time of it must be told.
 */
void clock_shifted_init(struct clock_shifted *c);
void clock_shifted_set(struct clock_shifted *c, uint64_t now_ns);

/*
 * clock_tsc_khz - frequency of the host's time-stamp counter.
 *
 * The first call measures it against CLOCK_MONOTONIC_RAW for about 3 ms and may be repeated by a
 * few threads at once; later calls return the same number. Good to about 20 ppm on a quiet host;
 * on a loaded one the best of several windows is taken.
 *
 * Returns kHz, > 0. Thread: any.
 */
uint64_t clock_tsc_khz(void);

/*
 * clock_tsc_khz_known - take a frequency that was measured on this host since it was started, instead of measuring.
 *
 * Without effect after clock_tsc_khz() was called. Thread: any.
 */
void clock_tsc_khz_known(uint64_t khz);

/* clock_tsc - the host's time-stamp counter now, not ordered against other instructions. Thread:
 * any. */
static inline uint64_t clock_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
