// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Structures that a guest has in its memory for both sides. The guest chooses the address, and may choose any: a
 * structure counts only when all of it is RAM of one region, which its alignment makes a matter of course for a
 * guest that means it well. Nothing is kept of what was found but the address itself.
 */
#include "base/checked.h"
#include "cpu/pv/pv_priv.h"

bool pv_place_find(const struct cpu_group *grp, uint64_t gpa, uint64_t len, struct pv_place *ret)
{
	const struct physmem_region *r = physmem_find(grp->mem, gpa);

	if (!r || r->is_rom || !range_ok(gpa - r->gpa, len, r->size))
		return false;
	*ret = (struct pv_place){ r, gpa - r->gpa };
	return true;
}
