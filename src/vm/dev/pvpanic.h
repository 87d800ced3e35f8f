/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_PVPANIC_H
#define VM_DEV_PVPANIC_H

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"
#include "vm/dev/pci.h"

/* A PCI device (1b36:0011) with one register, by which a guest's kernel says that it has panicked. */
enum { PVPANIC_DEVFN = 0x1c << 3 };

struct pvpanic {
	struct pci_dev pci; /* first */
	const struct machine_events *events;
};

/* pvpanic_init - in its slot. Uses of @board: events. Returns 0; what pci_dev_plug() says. */
_nodiscard_ int pvpanic_init(struct pvpanic *p, const struct board *board, struct pci_bus *pci,
			     struct err *err);
void pvpanic_done(struct pvpanic *p);

#endif
