/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interval timer and port 61h, with time passing in between. */
#include "fuzz_dev.h"
#include "vm/dev/i8254.h"

static const struct fuzz_window windows[] = {
	{ 0x40, 4, false },
	{ 0x61, 1, false },
	{ 0x43, 1, false },
	{ 0x40, 1, false },
};

struct world {
	struct bench b;
	struct i8254 pit;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	i8254_disable_irq(&w->pit, what & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(i8254_init(&w.pit, &w.b.board, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	i8254_reset(&w.pit);
	i8254_done(&w.pit);
	bench_done(&w.b);
	return 0;
}
