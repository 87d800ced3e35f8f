/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_IRQ_H
#define VM_IRQ_H

#include <stdbool.h>

/*
 * An interrupt line as a device sees it: a level on a global system interrupt (GSI 0-23; ISA IRQs are
 * GSIs of the same number). The router hands a level to the 8259 pair (0-15) and to the I/O APIC
 * (with ISA IRQ 0 also arriving at I/O APIC pin 2, as the MADT says). Setting a level twice is harmless.
 * Thread: any; called with the device's own mutex held, so the controllers never call back into devices.
 */
struct irq_router;
struct irq_line {
	struct irq_router *router; /* NULL: not connected */
	unsigned int gsi;
};
void irq_set(const struct irq_line *line, bool level);

#endif
