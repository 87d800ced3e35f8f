/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pair of 8259s: its ports, its input lines and acknowledge cycles in any order. */
#include "fuzz_dev.h"

static const struct fuzz_window windows[] = {
	{ 0x20, 2, false },
	{ 0xa0, 2, false },
	{ 0x4d0, 3, false },
};

struct world {
	struct bench b;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		(void)i8259_ack(&w->b.pic);
	else
		i8259_set_irq(&w->b.pic, what & 31, what & 32);
	/* What the CPUs were told last is what the chips say now. */
	fuzz_must(w->b.intr == w->b.pic.output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	i8259_reset(&w.b.pic);
	bench_done(&w.b);
	return 0;
}
