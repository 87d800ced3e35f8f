/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard controller. */
#include "fuzz_dev.h"
#include "vm/dev/i8042.h"

static const struct fuzz_window windows[] = {
	{ 0x60, 1, false },
	{ 0x64, 1, false },
	{ 0x92, 1, false },
	{ 0x60, 5, false },
};

struct world {
	struct bench b;
	struct i8042 kbd;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		i8042_mouse(&w->kbd, (int)(what & 31) - 16, (int)(what >> 5 & 31) * 100, -1,
			    (uint8_t)(what >> 10 & 31));
	else
		i8042_key(&w->kbd, (uint8_t)what, what & 0x100, what & 0x200);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(i8042_init(&w.kbd, &w.b.board, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	fuzz_must(w.kbd.n <= I8042_QUEUE && w.kbd.mouse.n <= PS2_MOVES);
	i8042_reset(&w.kbd);
	i8042_done(&w.kbd);
	bench_done(&w.b);
	return 0;
}
