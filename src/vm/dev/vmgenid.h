/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_VMGENID_H
#define VM_DEV_VMGENID_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/bus.h"

/*
 * The identity of a machine's life: 128 random bits that can only be read, other ones in each process that runs a machine. A guest
 * that finds others than before knows that it was copied, and that what it thinks is secret may not be: Linux mixes them into
 * its random numbers. Source: "Virtual Machine Generation ID", Microsoft 2012; ADDR names the place, and a notification 0x80
 * says that it has changed.
 */
#define VMGENID_BASE UINT64_C(0xfec20000) /* between the I/O APIC and the HPET */
enum { VMGENID_SIZE = 16, VMGENID_GPE = 3 };

struct vmgenid {
	struct bus *mmio;
	struct bus_range range;
	uint8_t id[VMGENID_SIZE];
	_Atomic bool was_read; /* since the reset: there is a driver */
};

/* vmgenid_init - a new identity at its place. Returns 0, or what bus_add() says. vmgenid_reset - nobody has read it.
 * Thread: owner, no vCPU runs. */
_nodiscard_ int vmgenid_init(struct vmgenid *g, struct bus *mmio, struct err *err);
void vmgenid_done(struct vmgenid *g);
void vmgenid_reset(struct vmgenid *g);

#endif
