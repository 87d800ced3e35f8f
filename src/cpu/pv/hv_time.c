// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hyper-V's reference time (TLFS chapter 12): ticks of 100 ns, by a register or by the TSC and a page with scale and
 * offset. Both are the same function of the TSC here, rounding included, so a timer that was set by the one never looks
 * early to the other; the host's monotonic clock, which is disciplined, would drift from the page.
 *
 * The page holds for all vCPUs. When the guest has moved the TSC of one, it does not any more, and says so: a sequence
 * number of 0 sends the guest to the register.
 */
#include "cpu/pv/hv_priv.h"

enum { OFF_SEQUENCE = 0, OFF_SCALE = 8, OFF_OFFSET = 16, TSC_PAGE_USED = 24 };
#define TICKS_PER_S UINT64_C(10000000)

/* Ticks are (TSC * scale) >> 64. */
static uint64_t scale(const struct cpu_group *grp)
{
	return (uint64_t)(((unsigned __int128)TICKS_PER_S << 64) / (grp->tsc_khz * 1000));
}

uint64_t hv_now(const struct cpu *c)
{
	return (uint64_t)((unsigned __int128)cpu_group_tsc(c->grp) * scale(c->grp) >> 64);
}

static bool is_common(const struct cpu_group *grp)
{
	for (unsigned int k = 0; k < grp->nr; k++)
		if (__atomic_load_n(&grp->cpu[k]->st.tsc_offset, __ATOMIC_RELAXED))
			return false;
	return true;
}

void hv_tsc_page_write(const struct cpu *c)
{
	uint64_t msr = __atomic_load_n(&hv_owner(c)->st.hv.reference_tsc, __ATOMIC_RELAXED);
	_Atomic uint64_t *to_scale, *to_offset;
	_Atomic uint32_t *sequence;
	struct pv_place p;
	uint32_t next;

	if (!(msr & HV_PAGE_ENABLE) ||
	    !pv_place_find(c->grp, msr & HV_PAGE_ADDRESS, TSC_PAGE_USED, &p))
		return;
	sequence = pv_place_hva(&p, OFF_SEQUENCE);
	to_scale = pv_place_hva(&p, OFF_SCALE);
	to_offset = pv_place_hva(&p, OFF_OFFSET);
	next = atomic_load(sequence) + 1;
	atomic_store(sequence, 0);
	atomic_store(to_scale, scale(c->grp));
	atomic_store(to_offset, 0);
	if (is_common(c->grp))
		atomic_store(sequence, next && next != UINT32_MAX ? next : 1);
	pv_place_wrote(c->grp, &p, 0, TSC_PAGE_USED);
}
