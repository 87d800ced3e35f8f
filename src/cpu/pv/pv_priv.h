/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_PV_PV_PRIV_H
#define CPU_PV_PV_PRIV_H

#include "cpu/apic.h"
#include "cpu/cpu_priv.h"
#include "cpu/pv/pv.h"

/* A place in guest RAM that guest and monitor both use while the guest runs. */
struct pv_place {
	const struct physmem_region *region;
	uint64_t off;
};

/*
 * pv_place_find - where [gpa, gpa + len) is.
 *
 * Addresses come from the guest and are looked up at each use: the map may have changed.
 * Returns false when it is not RAM of one region. Thread: any.
 */
_nodiscard_ bool pv_place_find(const struct cpu_group *grp, uint64_t gpa, uint64_t len,
			       struct pv_place *ret);

/* pv_place_hva - the host address of byte @at of a place that was found with more than @at bytes. Thread: any. */
static inline void *pv_place_hva(const struct pv_place *p, uint64_t at)
{
	return p->region->hva + p->off + at;
}

/* pv_place_wrote - tell engines and the dirty log that [at, at + len) was written. Thread: any. */
static inline void pv_place_wrote(const struct cpu_group *grp, const struct pv_place *p,
				  uint64_t at, uint64_t len)
{
	physmem_wrote(grp->mem, p->region, p->off + at, len);
}

/*
 * pv_send_ipis - send @msg, whose destination is filled in here, to the APICs @first + n for each bit n of @map.
 *
 * Returns how many took it. Thread: the vCPU's own.
 */
int64_t pv_send_ipis(struct cpu *c, uint64_t map, uint64_t first, struct apic_msg msg);

/* The registers by subject: a write, as pv_msr_write(), of one that the guest's CPUID has. Thread: the vCPU's own. */
void pv_wall_clock_write(struct cpu *c, uint64_t value);
void pv_system_time_write(struct cpu *c, uint64_t value);
_nodiscard_ int pv_eoi_write(struct cpu *c, uint64_t value);
_nodiscard_ int pv_steal_write(struct cpu *c, uint64_t value);

#endif
