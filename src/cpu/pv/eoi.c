// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of an interrupt by memory: where it would have no consequence at once, the guest clears a bit instead of
 * writing to its APIC, which finds out when it next needs to know (apic.c). The bit belongs to one vCPU: both sides
 * access it on that vCPU's thread.
 */
#include <errno.h>

#include "cpu/apic.h"
#include "cpu/pv/pv_priv.h"

enum { EOI_ENABLE = 1, EOI_RESERVED = 2, EOI_BIT = 1 };

int pv_eoi_write(struct cpu *c, uint64_t value)
{
	if (value & EOI_RESERVED)
		return -EINVAL;
	apic_pv_sync(c);
	c->st.pv_eoi = value;
	return 0;
}

/* The guest's byte. Returns false: not asked for, or not in RAM. */
static bool find(const struct cpu *c, struct pv_place *ret)
{
	return (c->st.pv_eoi & EOI_ENABLE) &&
	       pv_place_find(c->grp, c->st.pv_eoi & ~UINT64_C(3), 1, ret);
}

bool pv_eoi_offer(struct cpu *c)
{
	struct pv_place p;

	if (!find(c, &p))
		return false;
	atomic_fetch_or_explicit((_Atomic uint8_t *)pv_place_hva(&p, 0), EOI_BIT,
				 memory_order_relaxed);
	pv_place_wrote(c->grp, &p, 0, 1);
	return true;
}

bool pv_eoi_take_back(struct cpu *c)
{
	struct pv_place p;
	uint8_t old;

	if (!find(c, &p))
		return false;
	old = atomic_fetch_and_explicit((_Atomic uint8_t *)pv_place_hva(&p, 0), (uint8_t)~EOI_BIT,
					memory_order_relaxed);
	if (!(old & EOI_BIT))
		return true;
	pv_place_wrote(c->grp, &p, 0, 1);
	return false;
}
