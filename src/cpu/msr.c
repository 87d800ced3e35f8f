// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers that Linux from 6.1 on, the BSDs and the public CPU test suites touch on an AMD processor
 * of family 0x19. Memory types (MTRR, PAT) are kept and checked, and have no effect: all guest RAM is
 * write-back. Configuration registers of the real chip read as its documented reset values and swallow
 * writes where software is known to write them; everything else is #GP, so that software sees at once
 * that it is not there.
 */
#include "cpu/msr.h"

#include <errno.h>

#include "cpu/apic.h"
#include "cpu/cpu_priv.h"
#include "cpu/mmu.h"
#include "cpu/pv/pv.h"

#define MTRR_CAP	  UINT64_C(0x508) /* 8 variable ranges, fixed ranges, write-combining */
#define MICROCODE_LEVEL	  UINT64_C(0x0a0011d5)
#define DE_CFG_LFENCE	  UINT64_C(2) /* LFENCE is dispatch serialising */
#define VM_CR_SVM_LOCKED  UINT64_C(0x18)
#define HWCR_WRITABLE	  UINT64_C(0x01040148) /* IGNNE, TLB caching, FFDIS, MCA status write, TSC */
#define DEBUGCTL_WRITABLE UINT64_C(0x3f)

static bool is_apic(uint32_t index)
{
	return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
	       (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

/* --- memory types ---------------------------------------------------------------------------------- */

static bool is_mtrr_type(uint64_t type)
{
	return type <= 6 && type != 2 && type != 3;
}

static bool is_pat_type(uint64_t type)
{
	return type <= 7 && type != 2 && type != 3;
}

static bool all_bytes(uint64_t value, bool (*is_ok)(uint64_t))
{
	for (unsigned int k = 0; k < 64; k += 8)
		if (!is_ok(value >> k & 0xff))
			return false;
	return true;
}

static uint64_t *mtrr_slot(struct cpu_state *s, uint32_t index)
{
	if (index >= MSR_MTRR_VAR && index < MSR_MTRR_VAR + 2 * CPU_MTRR_VAR)
		return &s->mtrr_var[(index - MSR_MTRR_VAR) / 2][index & 1];
	if (index == MSR_MTRR_FIX64K)
		return &s->mtrr_fixed[0];
	if (index == MSR_MTRR_FIX16K || index == MSR_MTRR_FIX16K + 1)
		return &s->mtrr_fixed[1 + index - MSR_MTRR_FIX16K];
	if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8)
		return &s->mtrr_fixed[3 + index - MSR_MTRR_FIX4K];
	return NULL;
}

static int mtrr_write(struct cpu *c, uint32_t index, uint64_t *slot, uint64_t value)
{
	uint64_t beyond = ~((UINT64_C(1) << c->grp->cpuid.phys_bits) - 1);

	if (index >= MSR_MTRR_FIX64K) {
		if (!all_bytes(value, is_mtrr_type))
			return -EINVAL;
	} else if (index & 1) { /* mask: bit 11 is the valid bit */
		if (value & (beyond | 0x7ff))
			return -EINVAL;
	} else if ((value & (beyond | 0xf00)) || !is_mtrr_type(value & 0xff)) {
		return -EINVAL;
	}
	*slot = value;
	return 0;
}

/* --- time ------------------------------------------------------------------------------------------ */

static void tsc_move(struct cpu *c, uint64_t delta)
{
	c->st.tsc_offset += delta;
	apic_tsc_changed(c);
	pv_tsc_changed(c);
}

/* --- EFER ------------------------------------------------------------------------------------------ */

static int efer_write(struct cpu *c, uint64_t value)
{
	uint64_t old = c->st.efer;

	if (value & ~c->grp->cpuid.efer_allowed)
		return -EINVAL;
	if (((value ^ old) & EFER_LME) && (c->st.cr0 & CR0_PG))
		return -EINVAL;
	c->st.efer = (value & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
	return MSR_CHANGED_EFER;
}

/* --- the instructions ------------------------------------------------------------------------------ */

int msr_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	struct cpu_state *s = &c->st;
	const uint64_t *slot;

	if (is_apic(index))
		return apic_msr_read(c, index, ret);
	if (pv_owns_msr(index))
		return pv_msr_read(c, index, ret);

	*ret = 0;
	switch (index) {
	case MSR_TSC:
		*ret = cpu_read_tsc(c);
		return 0;
	case MSR_TSC_ADJUST:
		*ret = s->tsc_adjust;
		return cpuid_has(&c->grp->cpuid, CPUID_TSC_ADJUST) ? 0 : -EINVAL;
	case MSR_MICROCODE_LEVEL:
		*ret = MICROCODE_LEVEL;
		return 0;
	case MSR_MTRR_CAP:
		*ret = MTRR_CAP;
		return 0;
	case MSR_SYSENTER_CS:
		*ret = s->sysenter_cs;
		return 0;
	case MSR_SYSENTER_ESP:
		*ret = s->sysenter_esp;
		return 0;
	case MSR_SYSENTER_EIP:
		*ret = s->sysenter_eip;
		return 0;
	case MSR_MCG_STATUS:
		*ret = s->mcg_status;
		return 0;
	case MSR_MISC_ENABLE:
		*ret = s->misc_enable;
		return 0;
	case MSR_DEBUGCTL:
		*ret = s->debugctl;
		return 0;
	case MSR_PAT:
		*ret = s->pat;
		return 0;
	case MSR_MTRR_DEF_TYPE:
		*ret = s->mtrr_def_type;
		return 0;
	case MSR_EFER:
		*ret = s->efer;
		return 0;
	case MSR_STAR:
		*ret = s->star;
		return 0;
	case MSR_LSTAR:
		*ret = s->lstar;
		return 0;
	case MSR_CSTAR:
		*ret = s->cstar;
		return 0;
	case MSR_SFMASK:
		*ret = s->sfmask;
		return 0;
	case MSR_FS_BASE:
		*ret = s->seg[CPU_FS].base;
		return 0;
	case MSR_GS_BASE:
		*ret = s->seg[CPU_GS].base;
		return 0;
	case MSR_KERNEL_GS_BASE:
		*ret = s->kernel_gs_base;
		return 0;
	case MSR_TSC_AUX:
		*ret = s->tsc_aux;
		return cpuid_has(&c->grp->cpuid, CPUID_RDTSCP) ? 0 : -EINVAL;
	case MSR_PKRS:
		*ret = s->pkrs;
		return cpuid_has(&c->grp->cpuid, CPUID_PKS) ? 0 : -EINVAL;
	case MSR_HWCR:
		*ret = s->hwcr;
		return 0;
	case MSR_VM_CR:
		*ret = VM_CR_SVM_LOCKED;
		return 0;
	case MSR_DE_CFG:
		*ret = DE_CFG_LFENCE;
		return 0;
	case MSR_MCG_CAP: /* no banks */
	case MSR_LAST_BRANCH_FROM ... MSR_LAST_EXC_TO:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3: /* they exist on every AMD CPU; ours do not count */
	case MSR_SYSCFG:
	case MSR_TOP_MEM:
	case MSR_TOP_MEM2:
	case MSR_NB_CFG:
	case MSR_INT_PENDING:
	case MSR_MMIO_CONF:
	case MSR_LS_CFG:
	case MSR_BU_CFG2:
		return 0;
	default:
		slot = mtrr_slot(s, index);
		if (!slot)
			return -EINVAL;
		*ret = *slot;
		return 0;
	}
}

static int canonical_write(struct cpu *c, uint64_t *slot, uint64_t value, int ret)
{
	if (!mmu_is_canonical_base(c, value))
		return -EINVAL;
	*slot = value;
	return ret;
}

static int masked_write(uint64_t *slot, uint64_t value, uint64_t writable)
{
	if (value & ~writable)
		return -EINVAL;
	*slot = value;
	return 0;
}

int msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
	struct cpu_state *s = &c->st;
	uint64_t delta, *slot;

	if (is_apic(index))
		return apic_msr_write(c, index, value);
	if (pv_owns_msr(index))
		return pv_msr_write(c, index, value);

	switch (index) {
	case MSR_TSC:
		delta = value - cpu_read_tsc(c);
		s->tsc_adjust += delta;
		tsc_move(c, delta);
		return 0;
	case MSR_TSC_ADJUST:
		if (!cpuid_has(&c->grp->cpuid, CPUID_TSC_ADJUST))
			return -EINVAL;
		delta = value - s->tsc_adjust;
		s->tsc_adjust = value;
		tsc_move(c, delta);
		return 0;
	case MSR_SYSENTER_CS:
		s->sysenter_cs = value;
		return 0;
	case MSR_SYSENTER_ESP:
		return canonical_write(c, &s->sysenter_esp, value, 0);
	case MSR_SYSENTER_EIP:
		return canonical_write(c, &s->sysenter_eip, value, 0);
	case MSR_MCG_STATUS:
		return masked_write(&s->mcg_status, value, 0);
	case MSR_MISC_ENABLE:
		s->misc_enable = value;
		return 0;
	case MSR_DEBUGCTL:
		return masked_write(&s->debugctl, value, DEBUGCTL_WRITABLE);
	case MSR_PAT:
		if (!all_bytes(value, is_pat_type))
			return -EINVAL;
		s->pat = value;
		return 0;
	case MSR_MTRR_DEF_TYPE:
		if ((value & ~UINT64_C(0xcff)) || !is_mtrr_type(value & 0xff))
			return -EINVAL;
		s->mtrr_def_type = value;
		return 0;
	case MSR_EFER:
		return efer_write(c, value);
	case MSR_STAR:
		s->star = value;
		return 0;
	case MSR_LSTAR:
		return canonical_write(c, &s->lstar, value, 0);
	case MSR_CSTAR:
		return canonical_write(c, &s->cstar, value, 0);
	case MSR_SFMASK:
		s->sfmask = (uint32_t)value;
		return 0;
	case MSR_FS_BASE:
		return canonical_write(c, &s->seg[CPU_FS].base, value, MSR_CHANGED_SEG_BASE);
	case MSR_GS_BASE:
		return canonical_write(c, &s->seg[CPU_GS].base, value, MSR_CHANGED_SEG_BASE);
	case MSR_KERNEL_GS_BASE:
		return canonical_write(c, &s->kernel_gs_base, value, 0);
	case MSR_TSC_AUX:
		if (!cpuid_has(&c->grp->cpuid, CPUID_RDTSCP))
			return -EINVAL;
		return masked_write(&s->tsc_aux, value, UINT32_MAX);
	case MSR_PKRS:
		if (!cpuid_has(&c->grp->cpuid, CPUID_PKS) || value >> 32)
			return -EINVAL;
		s->pkrs = (uint32_t)value;
		return MSR_CHANGED_KEYS;
	case MSR_HWCR:
		return masked_write(&s->hwcr, value, HWCR_WRITABLE);
	case MSR_MICROCODE_WRITE:
	case MSR_MICROCODE_LEVEL:
	case MSR_PATCH_LOADER:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_SYSCFG:
	case MSR_TOP_MEM:
	case MSR_TOP_MEM2:
	case MSR_NB_CFG:
	case MSR_INT_PENDING:
	case MSR_MMIO_CONF:
	case MSR_LS_CFG:
	case MSR_DE_CFG:
	case MSR_BU_CFG2:
		return 0;
	default:
		slot = mtrr_slot(s, index);
		return slot ? mtrr_write(c, index, slot, value) : -EINVAL;
	}
}
