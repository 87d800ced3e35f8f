/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that panics says so: what it writes last is a bit in this register. Reading tells which events may be written.
 * The one for "a crash kernel takes over" is counted apart, since such a guest goes on by itself and is not to be ended.
 * The PCI form, because it needs no ACPI device and no port of its own.
 *
 * Source: QEMU docs/specs/pvpanic.
 */
#include "vm/dev/pvpanic.h"

enum {
	REDHAT = 0x1b36,
	DEVICE_PVPANIC = 0x0011,
	CLASS_SYSTEM_OTHER = 0x088000,
	BAR_SIZE = 16,
	PANICKED = 1 << 0,
	CRASH_KERNEL = 1 << 1,
};

static uint64_t bar_read(void *arg, uint64_t off, unsigned int size)
{
	return off == 0 ? PANICKED | CRASH_KERNEL : 0;
}

static void bar_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct pvpanic *p = arg;

	if (off != 0)
		return;
	if (value & PANICKED)
		machine_guest_event(p->events, GUEST_PANICKED);
	if (value & CRASH_KERNEL)
		machine_guest_event(p->events, GUEST_CRASH_KERNEL);
}

int pvpanic_init(struct pvpanic *p, const struct board *board, struct pci_bus *pci, struct err *err)
{
	const struct bus_range range = {
		.name = "pvpanic", .read = bar_read, .write = bar_write, .arg = p, .max_size = 4
	};
	int r;

	*p = (struct pvpanic){ .events = board->events };
	pci_dev_setup(&p->pci, "pvpanic", REDHAT, DEVICE_PVPANIC, CLASS_SYSTEM_OTHER, 1);
	r = pci_dev_add_bar(&p->pci, 0, PCI_BAR_MEM32, false, BAR_SIZE, &range);
	return r < 0 ? r : pci_dev_plug(pci, &p->pci, PVPANIC_DEVFN, err);
}

void pvpanic_done(struct pvpanic *p)
{
	pci_dev_unplug(&p->pci);
}
