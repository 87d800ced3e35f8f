/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flash chip: commands and arguments in any order, at any place. */
#include "fuzz_dev.h"
#include "vm/dev/pflash.h"

enum { SIZE = 4 * PFLASH_BLOCK };
#define BASE UINT64_C(0xffc00000)

static const struct fuzz_window windows[] = {
	{ BASE, SIZE, true },
	{ BASE, 0x40, true },
	{ BASE + SIZE - 8, 16, true },
};

static void event(void *arg, unsigned int what)
{
	if (what & 0x100)
		pflash_reset(arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t flash[SIZE];
	struct fuzz_input in = { data, n };
	struct pflash f;
	struct bench b;

	fuzz_must(bench_init(&b, 0) == 0);
	fuzz_must(pflash_init(&f, &b.board, BASE, flash, SIZE, -1, NULL) == 0);
	fuzz_steps(&in, &b, windows, ARRAY_SIZE(windows), event, &f);
	pflash_done(&f);
	bench_done(&b);
	return 0;
}
