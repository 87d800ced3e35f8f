/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_MMU_H
#define CPU_MMU_H

#include "cpu/cpu_priv.h"

/*
 * Linear to guest-physical addresses: the page tables as every engine sees them. No cache here.
 * Sources: Intel SDM volume 3, chapter 4; AMD APM volume 2, chapter 5 (what an AMD CPU reserves).
 */
enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

/* Who accesses: also the index of the software TLB's tables. */
enum mmu_priv {
	MMU_USER,
	MMU_SUPER,     /* supervisor, user pages allowed: SMAP off, or RFLAGS.AC */
	MMU_SUPER_SMAP /* supervisor while SMAP is active; implicit accesses with CR4.SMAP */
};
enum { MMU_NR_PRIV = 3 };

/* Page-fault error code. */
enum mmu_pf { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

struct mmu_page {
	uint64_t gpa;	/* of the byte asked for */
	uint32_t error; /* page-fault error code when the walk fails */
	uint8_t shift;	/* log2 of the size of the mapping: 12, 21, 22 or 30; 12 without paging */
	bool r, w,
		x; /* allowed to this privilege without another walk; w only once the page is dirty */
	bool global;
};

/*
 * mmu_walk - translate, check rights, set accessed and dirty bits.
 *
 * The bits are set atomically and only when the access is allowed. Tables outside RAM read as all ones.
 * @lin: linear address; canonical (the caller has checked), upper half 0 outside long mode
 * Returns 0, or -EFAULT with @ret->error set. Thread: the vCPU's own.
 */
_nodiscard_ int mmu_walk(struct cpu *c, uint64_t lin, enum mmu_access access, enum mmu_priv priv,
			 struct mmu_page *ret);

/*
 * mmu_probe - translate for a debugger: no rights checked, nothing changed.
 *
 * Returns 0, or -EFAULT when nothing is mapped. Thread: the vCPU's own, or any while it stands still.
 */
_nodiscard_ int mmu_probe(struct cpu *c, uint64_t lin, struct mmu_page *ret);

/* mmu_pdptes_load - read the four PAE entries that CR3 value @cr3 names into @ret. Returns 0, or -EINVAL
 * (#GP): a reserved bit is set in a present one. Source: SDM volume 3, 4.4.1. */
_nodiscard_ int mmu_pdptes_load(struct cpu *c, uint64_t cr3, uint64_t ret[4]);

/* mmu_is_canonical - is the address one that paging can translate? True outside long mode. */
static inline bool mmu_is_canonical(const struct cpu *c, uint64_t lin)
{
	unsigned int unused = c->st.cr4 & CR4_LA57 ? 7 : 16;

	return !c->long_mode || (uint64_t)((int64_t)(lin << unused) >> unused) == lin;
}

/* mmu_is_canonical_base - may a base register or an MSR hold the address? Goes by what the processor can
 * do, not by the present paging mode (kvm-unit-tests la57 has the cases). */
static inline bool mmu_is_canonical_base(const struct cpu *c, uint64_t lin)
{
	unsigned int unused = cpuid_has(&c->grp->cpuid, CPUID_LA57) ? 7 : 16;

	return (uint64_t)((int64_t)(lin << unused) >> unused) == lin;
}

#endif
