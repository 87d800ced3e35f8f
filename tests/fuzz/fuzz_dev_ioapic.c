/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O APIC: its window, its lines and ends of interrupt in any order. */
#include "fuzz_dev.h"

static const struct fuzz_window windows[] = {
	{ IOAPIC_BASE, 0x50, true },
	{ IOAPIC_BASE, 1, true },
	{ IOAPIC_BASE + 0x10, 4, true },
};

struct world {
	struct bench b;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		ioapic_eoi(&w->b.ioapic, (uint8_t)what);
	else
		ioapic_set_irq(&w->b.ioapic, what & 31, what & 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	ioapic_reset(&w.b.ioapic);
	bench_done(&w.b);
	return 0;
}
