/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock: CMOS registers, time passing and jumping. */
#include "fuzz_dev.h"
#include "vm/dev/rtc.h"

static const struct fuzz_window windows[] = {
	{ 0x70, 2, false },
	{ 0x70, 1, false },
	{ 0x71, 1, false },
};

struct world {
	struct bench b;
	struct rtc rtc;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		rtc_disable_irq(&w->rtc, what & 1);
	else /* the host sets its clock, back and forth */
		atomic_store(&w->b.clock.real_ns, (uint64_t)what << 47);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(rtc_init(&w.rtc, &w.b.board, NULL) == 0);
	rtc_set_memory(&w.rtc, (uint64_t)n << 20, (uint64_t)n << 30);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	rtc_reset(&w.rtc);
	rtc_done(&w.rtc);
	bench_done(&w.b);
	return 0;
}
