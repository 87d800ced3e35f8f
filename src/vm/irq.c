// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The wires between devices and interrupt controllers. Both controllers see ISA interrupts, as on a PC:
 * which of them counts is the guest's choice, made by masks and by LINT0.
 */
#include "vm/irq.h"

#include <stddef.h>

#include "vm/dev/i8259.h"
#include "vm/dev/ioapic.h"
#include "vm/irq_router.h"

enum { GSI_TIMER = 0, GSI_CASCADE = 2, NR_ISA = 16 };

struct irq_line irq_router_line(struct irq_router *r, unsigned int gsi)
{
	return (struct irq_line){ .router = gsi < IRQ_NR_GSI ? r : NULL, .gsi = gsi };
}

void irq_set(const struct irq_line *line, bool level)
{
	struct irq_router *r = line->router;
	unsigned int pin = line->gsi == GSI_TIMER ? 2 : line->gsi;

	if (!r || line->gsi == GSI_CASCADE)
		return;
	if (r->pic && line->gsi < NR_ISA)
		i8259_set_irq(r->pic, line->gsi, level);
	if (r->ioapic)
		ioapic_set_irq(r->ioapic, pin, level);
}
