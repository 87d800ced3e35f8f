// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The wires between devices and interrupt controllers. Both controllers see ISA interrupts, as on a PC:
 * which of them counts is the guest's choice, made by masks and by LINT0.
 *
 * Devices that share an interrupt are wired together with an "or": each source has a bit, so that one
 * of them going down does not take the level away from the others.
 */
#include "vm/irq.h"

#include <stddef.h>

#include "vm/dev/i8259.h"
#include "vm/dev/ioapic.h"
#include "vm/irq_router.h"
#include "vm/snapshot/state.h"

enum { GSI_TIMER = 0, GSI_CASCADE = 2, NR_ISA = 16 };

struct irq_line irq_router_line(struct irq_router *r, unsigned int gsi, enum irq_source source)
{
	return (struct irq_line){ .router = gsi < IRQ_NR_GSI ? r : NULL,
				  .gsi = gsi,
				  .source = source };
}

void irq_router_reset(struct irq_router *r)
{
	for (unsigned int gsi = 0; gsi < IRQ_NR_GSI; gsi++)
		atomic_store(&r->raised[gsi], 0);
}

static void deliver(struct irq_router *r, unsigned int gsi, bool level)
{
	if (r->pic && gsi < NR_ISA)
		i8259_set_irq(r->pic, gsi, level);
	if (r->ioapic)
		ioapic_set_irq(r->ioapic, gsi == GSI_TIMER ? 2 : gsi, level);
}

void irq_set(const struct irq_line *line, bool level)
{
	struct irq_router *r = line->router;
	unsigned int bit = 1u << line->source;
	bool out;

	if (!r || line->gsi == GSI_CASCADE)
		return;
	if (level)
		atomic_fetch_or(&r->raised[line->gsi], bit);
	else
		atomic_fetch_and(&r->raised[line->gsi], ~bit);
	/* Another source may change its mind between our look and the delivery, and deliver first: so
	 * look again until what was delivered last is what holds. */
	do {
		out = atomic_load(&r->raised[line->gsi]) != 0;
		deliver(r, line->gsi, out);
	} while ((atomic_load(&r->raised[line->gsi]) != 0) != out);
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ARRAY(struct irq_router, raised, (1u << IRQ_NR_SOURCES) - 1),
};

const struct state_desc irq_router_state = {
	.name = "irq",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct irq_router, fields),
};
