/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_FUZZ_DEV_H
#define ATOLL_TESTS_FUZZ_DEV_H

/*
 * A device driven by bytes. The input is a list of steps; the first byte of each says what it is:
 *
 *	0rrsswww  an access: r = 0 read, 1 write, 2 read, 3 device's own event; s = log2 of the size;
 *	          w = which window. Then a 16-bit offset, and for a write the value.
 *	1xxxxxxx  time passes: x / 8 doublings of a microsecond, times (x % 8) + 1; steps of the first
 *	          16 sizes run every timer in between, larger ones are the sleep of a loaded host.
 *
 * Offsets are taken modulo the window, which may reach a little beyond the device.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../component/bench.h"
#include "base/bytes.h"

struct fuzz_window {
	uint64_t base, len;
	bool is_mmio;
};

struct fuzz_input {
	const uint8_t *p;
	size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned int bytes)
{
	uint64_t v = get_le(in->p, (unsigned int)MIN((size_t)bytes, in->n));

	in->p += MIN((size_t)bytes, in->n);
	in->n -= MIN((size_t)bytes, in->n);
	return v;
}

static inline void fuzz_pass(struct bench *b, uint8_t x)
{
	uint64_t ns = (NS_PER_US << (x >> 3)) * ((x & 7u) + 1);

	if (x >> 3 < 15) {
		bench_pass(b, ns);
	} else {
		clock_fake_advance(&b->clock, ns << (x >> 1 & 7));
		timerq_run_due(&b->timers);
	}
}

/* @event: may be NULL; gets the offset's bytes as its argument. */
static inline void fuzz_steps(struct fuzz_input *in, struct bench *b, const struct fuzz_window *w,
			      size_t nr_windows, void (*event)(void *arg, unsigned int what),
			      void *arg)
{
	/* Long inputs only repeat what short ones do. */
	for (unsigned int steps = 0; in->n && steps < 2000; steps++) {
		uint8_t op = (uint8_t)fuzz_take(in, 1);
		unsigned int kind = op >> 5 & 3, size = 1u << (op >> 3 & 3);
		const struct fuzz_window *win = &w[(op & 7) % nr_windows];
		uint64_t addr;
		uint16_t off;

		if (op & 0x80) {
			fuzz_pass(b, op & 0x7f);
			continue;
		}
		off = (uint16_t)fuzz_take(in, 2);
		addr = win->base + off % win->len;
		if (!win->is_mmio)
			size = MIN(size, 4u);
		if (kind == 3) {
			if (event)
				event(arg, off);
		} else if (kind == 1) {
			bus_write(win->is_mmio ? b->mmio : b->pio, addr, size, fuzz_take(in, size));
		} else {
			(void)bus_read(win->is_mmio ? b->mmio : b->pio, addr, size);
		}
	}
}

/* Our own mistake, not the guest's. */
static inline void fuzz_must(bool ok)
{
	if (!ok)
		abort();
}

#endif
