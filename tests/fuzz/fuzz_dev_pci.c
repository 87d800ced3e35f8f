/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI host with a device whose BARs the input moves about, over each other and over the rest. */
#include "fuzz_dev.h"
#include "vm/dev/pci.h"

enum { DEVFN = 3 << 3 };

static const struct fuzz_window windows[] = {
	{ 0xcf8, 8, false },
	{ PCI_ECAM_BASE, 0x1000, true },
	{ PCI_ECAM_BASE + (DEVFN << 12), 0x1000, true },
	{ PCI_ECAM_BASE + (DEVFN << 12), 0x40, true },
	{ PCI_ECAM_BASE + (0xf8 << 12), 0x80, true },
	{ PCI_ECAM_BASE + PCI_ECAM_SIZE - 0x1000, 0x1008, true },
	{ 0x0, 0x10000, false },
	{ PCI_MMIO32_BASE, 0x10000, true },
};

struct world {
	struct bench b;
	struct pci_bus pci;
	struct pci_dev dev;
};

static uint64_t bar_read(void *arg, uint64_t off, unsigned int size)
{
	return off;
}

static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	if (what & 0x8000)
		pci_reset(&w->pci);
	else
		pci_dev_set_intx(&w->dev, what & 1);
	for (unsigned int k = 0; k < PCI_NR_PIRQ; k++)
		fuzz_must(w->pci.pirq_count[k] <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct bus_range range = { .name = "bar", .read = bar_read };
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(pci_init(&w.pci, &w.b.board, NULL) == 0);
	pci_dev_setup(&w.dev, "test", 0x1af4, 0x1000, 0x020000, 1);
	pci_dev_set_pin(&w.dev, 1);
	fuzz_must(pci_dev_add_bar(&w.dev, 0, PCI_BAR_IO, false, 32, &range) == 0);
	fuzz_must(pci_dev_add_bar(&w.dev, 1, PCI_BAR_MEM32, false, 0x1000, &range) == 0);
	fuzz_must(pci_dev_add_bar(&w.dev, 2, PCI_BAR_MEM64, true, 0x4000, &range) == 0);
	fuzz_must(pci_dev_add_cap(&w.dev, 9, 16) > 0);
	fuzz_must(pci_dev_plug(&w.pci, &w.dev, DEVFN, NULL) == 0);
	fuzz_must(pci_assign_bars(&w.pci, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	pci_dev_unplug(&w.dev);
	fuzz_must(!w.pci.pirq_count[3]);
	pci_done(&w.pci);
	bench_done(&w.b);
	return 0;
}
