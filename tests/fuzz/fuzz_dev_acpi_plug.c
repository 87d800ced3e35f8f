/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sets behind hot plug, while CPUs come and are asked for. */
#include "fuzz_dev.h"
#include "vm/dev/acpi_plug.h"

static const struct fuzz_window windows[] = {
	{ ACPI_PLUG_CPUS_BASE, ACPI_PLUG_LEN + 4, false },
	{ ACPI_PLUG_CPUS_BASE + ACPI_PLUG_EJECT, 8, false },
};

struct world {
	struct bench b;
	struct acpi_plug c;
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
		acpi_plug_ask(&w->c, cpu);
	} else if (what & 0x4000) {
		acpi_plug_reset(&w->c, 5);
		w->there = 5;
	} else {
		acpi_plug_in(&w->c, cpu);
		w->there |= UINT64_C(1) << cpu;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };
	const struct acpi_plug_config cfg = { .name = "plug",
					      .base = ACPI_PLUG_CPUS_BASE,
					      .present = 5,
					      .fixed = 1,
					      .ejected = ejected,
					      .arg = &w };

	w.there = 5;
	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(acpi_plug_init(&w.c, &w.b.board, &cfg, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	fuzz_must(acpi_plug_present(&w.c) == w.there && (w.c.remove & ~w.there) == 0);
	acpi_plug_done(&w.c);
	bench_done(&w.b);
	return 0;
}
