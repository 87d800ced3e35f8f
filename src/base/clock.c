/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks, real and fake, and the frequency of the TSC. The kernel knows the frequency but tells it
 * to nobody without perf or KVM, and CPUID leaf 15h is empty on most machines and wrong on some
 * virtual ones, so it is measured.
 *
 * A measurement is two pairs (TSC, CLOCK_MONOTONIC_RAW). Each pair is read several times and the
 * one with the shortest TSC distance around the system call is kept: if we lost the CPU in between,
 * the distance is long and the pair is thrown away. A pair is then good to some 20 ns; over 3 ms
 * that is below 20 ppm. RAW, because NTP slews the other clock and a guest expects the TSC's own
 * rate.
 */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts); /* cannot fail for these ids and a valid pointer */
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t real_now(struct clock *c)
{
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t real_wall(struct clock *c)
{
	return read_clock(CLOCK_REALTIME);
}

struct clock *clock_real(void)
{
	static struct clock real = { .now_ns = real_now, .wall_ns = real_wall };

	return &real;
}

static uint64_t fake_now(struct clock *c)
{
	return atomic_load(&container_of(c, struct clock_fake, clock)->mono_ns);
}

static uint64_t fake_wall(struct clock *c)
{
	return atomic_load(&container_of(c, struct clock_fake, clock)->real_ns);
}

void clock_fake_init(struct clock_fake *c, uint64_t mono_ns, uint64_t wall_ns)
{
	c->clock = (struct clock){ .now_ns = fake_now, .wall_ns = fake_wall };
	atomic_init(&c->mono_ns, mono_ns);
	atomic_init(&c->real_ns, wall_ns);
}

void clock_fake_advance(struct clock_fake *c, uint64_t ns)
{
	atomic_fetch_add(&c->real_ns, ns);
	atomic_fetch_add(&c->mono_ns, ns);
}

static uint64_t shifted_now(struct clock *c)
{
	return read_clock(CLOCK_MONOTONIC) +
	       atomic_load_explicit(&container_of(c, struct clock_shifted, clock)->shift_ns,
				    memory_order_relaxed);
}

void clock_shifted_init(struct clock_shifted *c)
{
	c->clock = (struct clock){ .now_ns = shifted_now, .wall_ns = real_wall };
	atomic_init(&c->shift_ns, 0);
}

void clock_shifted_set(struct clock_shifted *c, uint64_t now_ns)
{
	atomic_store(&c->shift_ns, now_ns - read_clock(CLOCK_MONOTONIC));
}

struct tsc_pair {
	uint64_t tsc, ns;
	uint64_t width; /* TSC ticks around the reading of ns */
};

static struct tsc_pair read_pair(void)
{
	struct tsc_pair best = { .width = UINT64_MAX };

	for (int i = 0; i < 16; i++) {
		uint64_t before = clock_tsc();
		uint64_t ns = read_clock(CLOCK_MONOTONIC_RAW);
		uint64_t width = clock_tsc() - before;

		if (width < best.width)
			best = (struct tsc_pair){ before + width / 2, ns, width };
	}
	return best;
}

/* kHz over one window of about 1 ms; *ret_width tells how far to trust it. */
static uint64_t measure_window(uint64_t *ret_width)
{
	struct tsc_pair a = read_pair(), b;

	do {
		b = read_pair();
	} while (b.ns - a.ns < NS_PER_MS);

	*ret_width = a.width + b.width;
	return (uint64_t)((unsigned __int128)(b.tsc - a.tsc) * NS_PER_MS / (b.ns - a.ns));
}

static _Atomic uint64_t known_khz;

void clock_tsc_khz_known(uint64_t khz)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong(&known_khz, &none, khz);
}

uint64_t clock_tsc_khz(void)
{
	uint64_t khz = atomic_load(&known_khz), best_width = UINT64_MAX, none = 0;

	if (khz)
		return khz;
	for (int i = 0; i < 3; i++) {
		uint64_t width, k = measure_window(&width);

		if (width < best_width) {
			best_width = width;
			khz = k;
		}
	}
	if (!khz)
		khz = 1;
	/* Whoever stores first decides: everybody must work with the same number. */
	if (!atomic_compare_exchange_strong(&known_khz, &none, khz))
		khz = none;
	return khz;
}
