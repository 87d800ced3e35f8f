/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_VMGENID_H
#define VM_DEV_VMGENID_H

#include "base/attr.h"
#include "base/err.h"

/*
 * The identity of a machine's life: 128 random bits in read-only memory, other ones in each process that runs a machine. A guest
 * that finds others than before knows that it was copied, and that what it thinks is secret may not be: Linux mixes them into
 * its random numbers. Source: "Virtual Machine Generation ID", Microsoft 2012; ADDR names the place, and a notification 0x80
 * says that it has changed.
 */
#define VMGENID_BASE UINT64_C(0xfec20000) /* between the I/O APIC and the HPET */
enum { VMGENID_SIZE = 16, VMGENID_GPE = 3 };

struct memory;

/* vmgenid_init - a new identity at its place. Returns 0, or what memory_add_rom() says. Before the machine runs. */
_nodiscard_ int vmgenid_init(struct memory *m, struct err *err);

#endif
