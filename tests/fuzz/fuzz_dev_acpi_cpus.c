/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sets of CPUs behind hot plug, while CPUs come and are asked for. */
#include "fuzz_dev.h"
#include "vm/dev/acpi_cpus.h"

static const struct fuzz_window windows[] = {
	{ ACPI_CPUS_BASE, ACPI_CPUS_LEN + 4, false },
	{ ACPI_CPUS_BASE + ACPI_CPUS_EJECT, 8, false },
};

struct world {
	struct bench b;
	struct acpi_cpus c;
	uint64_t there;
};

static void ejected(void *arg, unsigned int cpu)
{
	struct world *w = arg;

	/* Only one that is there, and not the first. */
	fuzz_must(cpu > 0 && cpu < 64 && (w->there >> cpu & 1));
	w->there &= ~(UINT64_C(1) << cpu);
}

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;
	unsigned int cpu = what & 63;

	if (what & 0x8000) {
		acpi_cpus_ask(&w->c, cpu);
	} else if (what & 0x4000) {
		acpi_cpus_reset(&w->c);
		w->there = 5;
	} else {
		acpi_cpus_plug(&w->c, cpu);
		w->there |= UINT64_C(1) << cpu;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	w.there = 5;
	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(acpi_cpus_init(&w.c, &w.b.board, 5, ejected, &w, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	fuzz_must(acpi_cpus_present(&w.c) == w.there && (w.c.remove & ~w.there) == 0);
	acpi_cpus_done(&w.c);
	bench_done(&w.b);
	return 0;
}
