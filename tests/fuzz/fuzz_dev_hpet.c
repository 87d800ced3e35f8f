/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HPET beside the timers whose interrupts it takes over. */
#include "fuzz_dev.h"
#include "vm/dev/hpet.h"
#include "vm/dev/i8254.h"
#include "vm/dev/rtc.h"

static const struct fuzz_window windows[] = {
	{ HPET_BASE, 0x160, true },
	{ HPET_BASE + 0x100, 0x60, true },
	{ HPET_BASE + 0x10, 0x18, true },
	{ HPET_BASE, 0x408, true },
	{ 0x40, 4, false },
};

struct world {
	struct bench b;
	struct i8254 pit;
	struct rtc rtc;
	struct hpet hpet;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(i8254_init(&w.pit, &w.b.board, NULL) == 0);
	fuzz_must(rtc_init(&w.rtc, &w.b.board, NULL) == 0);
	fuzz_must(hpet_init(&w.hpet, &w.b.board, &w.pit, &w.rtc, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), NULL, NULL);
	hpet_reset(&w.hpet);
	/* After a reset no line of ours is up. */
	fuzz_must(!(w.b.ioapic.lines & 0xf00000));
	hpet_done(&w.hpet);
	rtc_done(&w.rtc);
	i8254_done(&w.pit);
	bench_done(&w.b);
	return 0;
}
