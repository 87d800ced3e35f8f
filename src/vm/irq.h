/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_IRQ_H
#define VM_IRQ_H

#include <stdbool.h>

/*
 * An interrupt line as a device sees it: a level on a global system interrupt (GSI 0-23; ISA IRQs are
 * GSIs of the same number). The router hands a level to the 8259 pair (0-15) and to the I/O APIC
 * (with ISA IRQ 0 also arriving at I/O APIC pin 2, as the MADT says). Setting a level twice is harmless.
 * Several sources may drive one interrupt: it is raised as long as any of them raises it.
 * Thread: any; called with the device's own mutex held, so the controllers never call back into devices.
 */
struct irq_router;

/* Who drives an interrupt; what one source's users agree on among themselves is theirs. */
enum irq_source {
	IRQ_FROM_ISA, /* the ISA device to which the interrupt belongs */
	IRQ_FROM_HPET,
	IRQ_FROM_SCI,
	IRQ_FROM_TEST,
	IRQ_FROM_COM3, /* COM3 and COM4 share the interrupts of COM1 and COM2 */
	IRQ_FROM_PIRQ, /* PCI at the I/O APIC, and by the ISA bridge's routes */
	IRQ_NR_SOURCES,
};

struct irq_line {
	struct irq_router *router; /* NULL: not connected */
	unsigned int gsi;
	unsigned int source; /* enum irq_source */
};

/* irq_set - what this source wants the line to be. */
void irq_set(const struct irq_line *line, bool level);

#endif
