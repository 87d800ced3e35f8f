/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test devices, and the debug exit. */
#include "fuzz_dev.h"
#include "vm/dev/debug_exit.h"
#include "vm/dev/testdev.h"

static const struct fuzz_window windows[] = {
	{ 0xe0, 16, false },
	{ 0x2000, 32, false },
	{ 0xf0, 12, false },
	{ TESTDEV_MMIO_BASE, TESTDEV_MMIO_SIZE, true },
	{ TESTDEV_MMIO_BASE + TESTDEV_MMIO_SIZE - 8, 16, true },
};

struct world {
	struct bench b;
	struct testdev dev;
	struct debug_exit exit;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(testdev_init(&w.dev, &w.b.board, NULL) == 0);
	fuzz_must(debug_exit_init(&w.exit, &w.b.board, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), NULL, NULL);
	testdev_reset(&w.dev);
	debug_exit_done(&w.exit);
	testdev_done(&w.dev);
	bench_done(&w.b);
	return 0;
}
