/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware: registers of any size, time, buttons and events. */
#include "fuzz_dev.h"
#include "vm/dev/acpi_pm.h"

static const struct fuzz_window windows[] = {
	{ ACPI_PM_BASE, ACPI_PM_LEN + 2, false },
	{ ACPI_PM_BASE, 12, false },
	{ ACPI_GPE0, 24, false },
	{ ACPI_SMI_CMD, 2, false },
};

struct world {
	struct bench b;
	struct acpi_pm pm;
};

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		acpi_pm_power_button(&w->pm);
	else
		acpi_pm_gpe(&w->pm, what & 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(acpi_pm_init(&w.pm, &w.b.board, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	acpi_pm_reset(&w.pm);
	acpi_pm_done(&w.pm);
	bench_done(&w.b);
	return 0;
}
