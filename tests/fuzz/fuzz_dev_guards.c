/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The watchdog timer and the panic register: registers in any order, time passes, resets in between. */
#include "fuzz_dev.h"
#include "vm/dev/i6300esb.h"
#include "vm/dev/pvpanic.h"

enum { DOG = 0xd0000000, PANIC = 0xd0001000 };

static const struct fuzz_window windows[] = {
	{ DOG, 0x14, true },
	{ DOG + 0xc, 2, true },
	{ PANIC, 4, true },
};

struct world {
	struct bench b;
	struct pci_bus pci;
	struct i6300esb dog;
	struct pvpanic panic;
};

/* Configuration space, or a feeding as drivers do it. */
static void event(void *arg, unsigned int what)
{
	struct world *w = arg;

	switch (what >> 12) {
	case 0:
		i6300esb_reset(&w->dog);
		break;
	case 1:
		bus_write(w->b.mmio, DOG + 0xc, 2, 0x80);
		bus_write(w->b.mmio, DOG + 0xc, 2, 0x86);
		bus_write(w->b.mmio, DOG + (what & 4), 4, what & 0xff);
		break;
	case 2:
		bus_write(w->b.mmio, DOG + 0xc, 2, 0x80);
		bus_write(w->b.mmio, DOG + 0xc, 2, 0x86);
		bus_write(w->b.mmio, DOG + 0xc, 2, what & 0x300);
		break;
	case 3:
		pci_config_write(&w->pci, I6300ESB_DEVFN, 0x68, 1, what & 0xff);
		break;
	case 4:
		pci_config_write(&w->pci, I6300ESB_DEVFN, 0x60, 2, what & 0xff);
		break;
	default:
		pci_config_write(&w->pci, I6300ESB_DEVFN, (uint16_t)(0x60 + (what & 0xf)), 1,
				 what >> 4 & 0xff);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(pci_init(&w.pci, &w.b.board, NULL) == 0);
	fuzz_must(i6300esb_init(&w.dog, &w.b.board, &w.pci, NULL) == 0);
	fuzz_must(pvpanic_init(&w.panic, &w.b.board, &w.pci, NULL) == 0);
	pci_config_write(&w.pci, I6300ESB_DEVFN, 0x10, 4, DOG);
	pci_config_write(&w.pci, I6300ESB_DEVFN, 4, 2, 2);
	pci_config_write(&w.pci, PVPANIC_DEVFN, 0x10, 4, PANIC);
	pci_config_write(&w.pci, PVPANIC_DEVFN, 4, 2, 2);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	fuzz_must(w.dog.stage <= 2);
	pvpanic_done(&w.panic);
	i6300esb_done(&w.dog);
	pci_done(&w.pci);
	bench_done(&w.b);
	return 0;
}
