/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_IRQ_ROUTER_H
#define VM_IRQ_ROUTER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vm/irq.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * Wires global system interrupts to the interrupt controllers: GSI 0-15 to the 8259 pair, and GSI 0-23
 * to the I/O APIC, where GSI 0 arrives at pin 2 (the interrupt source override that the MADT tells).
 * GSI 2 is the cascade and reaches nobody. Takes no lock: the controllers have their own.
 */
struct i8259;
struct ioapic;

enum { IRQ_NR_GSI = 24 };

struct irq_router {
	struct i8259 *pic;			 /* NULL: none */
	struct ioapic *ioapic;			 /* NULL: none */
	_Atomic unsigned int raised[IRQ_NR_GSI]; /* by whom: one bit an enum irq_source */
};

/* irq_router_line - the line of @gsi (0 to 23) as @source drives it, of a router that outlives its users. */
struct irq_line irq_router_line(struct irq_router *r, unsigned int gsi, enum irq_source source);

/* irq_router_reset - nobody raises anything; after the devices were reset, before the controllers are. */
void irq_router_reset(struct irq_router *r);

/* irq_router_state - what a snapshot keeps of it. */
extern const struct state_desc irq_router_state;

#endif
