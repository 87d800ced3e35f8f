// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hyper-V's registers: which there are, and those that need no file of their own: who the guest is, where its hypercall page
 * is (TLFS 3.13), where reference time is told, the vCPU's number, frequencies, and short ways to the APIC (TLFS 10.2).
 *
 * Three registers are the whole machine's. They stand in the state of vCPU 0, so that snapshots and changes of the engine
 * carry them as they do everything else.
 *
 * Pages that Hyper-V lays over guest memory are written into guest memory here, as KVM does it: a guest gives a page of
 * its own for it.
 */
#include <errno.h>
#include <string.h>

#include "cpu/apic_priv.h"
#include "cpu/msr.h"
#include "cpu/pv/hv_priv.h"
#include "sys/thread.h"

enum { HYPERCALL_LOCKED = 2 };

bool hv_msr_feature(uint32_t index, enum cpu_feature *ret)
{
	switch (index) {
	case HV_MSR_GUEST_OS_ID:
	case HV_MSR_HYPERCALL:
	case HV_MSR_VP_ASSIST_PAGE: /* guests take it for granted */
		*ret = CPUID_HYPERV;
		return true;
	case HV_MSR_VP_INDEX:
		*ret = CPUID_HV_VPINDEX;
		return true;
	case HV_MSR_TIME_REF_COUNT:
		*ret = CPUID_HV_TIME;
		return true;
	case HV_MSR_REFERENCE_TSC:
		*ret = CPUID_HV_REFERENCE_TSC;
		return true;
	case HV_MSR_TSC_FREQUENCY:
	case HV_MSR_APIC_FREQUENCY:
		*ret = CPUID_HV_FREQUENCIES;
		return true;
	case HV_MSR_EOI:
	case HV_MSR_ICR:
	case HV_MSR_TPR:
		*ret = CPUID_HV_APIC;
		return true;
	case HV_MSR_SCONTROL ... HV_MSR_EOM:
	case HV_MSR_SINT0 ... HV_MSR_SINT15:
		*ret = CPUID_HV_SYNIC;
		return true;
	case HV_MSR_STIMER0_CONFIG ... HV_MSR_STIMER3_COUNT:
		*ret = CPUID_HV_STIMER;
		return true;
	default:
		return false;
	}
}

void hv_raise(struct cpu *c, uint8_t vector)
{
	/* The APIC may be the engine's own: by a message, as devices do. */
	(void)cpu_group_msi(c->grp, APIC_BASE_DEFAULT | (uint64_t)(c->index & 0xff) << 12, vector);
}

/* --- the whole machine's --------------------------------------------------------------------------- */

static uint64_t get(struct cpu *c, const uint64_t *slot)
{
	mutex_guard(&hv_owner(c)->apic_lock);
	return *slot;
}

static void put(struct cpu *c, uint64_t *slot, uint64_t value)
{
	mutex_guard(&hv_owner(c)->apic_lock);
	__atomic_store_n(slot, value, __ATOMIC_RELAXED);
}

static int os_id_write(struct cpu *c, uint64_t value)
{
	struct cpu_hv_state *hv = &hv_owner(c)->st.hv;

	put(c, &hv->guest_os_id, value);
	if (!value)
		put(c, &hv->hypercall, get(c, &hv->hypercall) & ~(uint64_t)HV_PAGE_ENABLE);
	return 0;
}

/* VMMCALL; RET. Bytes behind it are never executed. */
static int hypercall_write(struct cpu *c, uint64_t value)
{
	static const uint8_t code[] = { 0x0f, 0x01, 0xd9, 0xc3 };
	struct cpu_hv_state *hv = &hv_owner(c)->st.hv;
	struct pv_place p;

	if (!get(c, &hv->guest_os_id) || (get(c, &hv->hypercall) & HYPERCALL_LOCKED))
		return 0; /* without effect */
	if (value & HV_PAGE_ENABLE) {
		if (!pv_place_find(c->grp, value & HV_PAGE_ADDRESS, GUEST_PAGE_SIZE, &p))
			return -EINVAL;
		memcpy(pv_place_hva(&p, 0), code, sizeof(code));
		pv_place_wrote(c->grp, &p, 0, sizeof(code));
	}
	put(c, &hv->hypercall, value);
	return 0;
}

static int reference_tsc_write(struct cpu *c, uint64_t value)
{
	put(c, &hv_owner(c)->st.hv.reference_tsc, value);
	hv_tsc_page_write(c);
	return 0;
}

/* --- the APIC -------------------------------------------------------------------------------------- */

enum { REG_BYTES = 16 }; /* of the APIC's page, to each register */

static bool is_x2(const struct cpu *c)
{
	return c->st.apic.base & APIC_BASE_X2APIC;
}

static int apic_write(struct cpu *c, uint32_t reg, uint64_t value)
{
	if (is_x2(c))
		return apic_msr_write(c, MSR_X2APIC_FIRST + reg, value);
	if (reg == APIC_REG_ICR)
		apic_mmio_write(c, APIC_REG_ICR2 * REG_BYTES, 4, value >> 32);
	apic_mmio_write(c, reg * REG_BYTES, 4, (uint32_t)value);
	return 0;
}

static int apic_read(struct cpu *c, uint32_t reg, uint64_t *ret)
{
	if (is_x2(c))
		return apic_msr_read(c, MSR_X2APIC_FIRST + reg, ret);
	*ret = apic_mmio_read(c, reg * REG_BYTES, 4);
	if (reg == APIC_REG_ICR)
		*ret |= apic_mmio_read(c, APIC_REG_ICR2 * REG_BYTES, 4) << 32;
	return 0;
}

/* The page's first bit is where ends of interrupts are told: PV EOI by another name. */
static int assist_write(struct cpu *c, uint64_t value)
{
	uint64_t gpa = value & HV_PAGE_ADDRESS;
	struct pv_place p;

	if (value & HV_PAGE_ENABLE) {
		if (!pv_place_find(c->grp, gpa, GUEST_PAGE_SIZE, &p))
			return -EINVAL;
		atomic_store((_Atomic uint32_t *)pv_place_hva(&p, 0), 0);
		pv_place_wrote(c->grp, &p, 0, 4);
	}
	c->st.hv.assist = value;
	if (!cpuid_has(&c->grp->cpuid, CPUID_HV_APIC))
		return 0;
	return pv_eoi_write(c, value & HV_PAGE_ENABLE ? gpa | HV_PAGE_ENABLE : 0);
}

/* --- all ------------------------------------------------------------------------------------------- */

int hv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	const struct cpu_hv_state *hv = &hv_owner(c)->st.hv;

	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		*ret = get(c, &hv->guest_os_id);
		return 0;
	case HV_MSR_HYPERCALL:
		*ret = get(c, &hv->hypercall);
		return 0;
	case HV_MSR_VP_INDEX:
		*ret = c->index;
		return 0;
	case HV_MSR_TIME_REF_COUNT:
		*ret = hv_now(c);
		return 0;
	case HV_MSR_REFERENCE_TSC:
		*ret = get(c, &hv->reference_tsc);
		return 0;
	case HV_MSR_TSC_FREQUENCY:
		*ret = c->grp->tsc_khz * 1000;
		return 0;
	case HV_MSR_APIC_FREQUENCY:
		*ret = APIC_TIMER_HZ;
		return 0;
	case HV_MSR_ICR:
		return apic_read(c, APIC_REG_ICR, ret);
	case HV_MSR_TPR:
		return apic_read(c, APIC_REG_TPR, ret);
	case HV_MSR_VP_ASSIST_PAGE:
		*ret = c->st.hv.assist;
		return 0;
	case HV_MSR_STIMER0_CONFIG ... HV_MSR_STIMER3_COUNT:
		return hv_timer_read(c, index, ret);
	default:
		return hv_synic_read(c, index, ret);
	}
}

int hv_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		return os_id_write(c, value);
	case HV_MSR_HYPERCALL:
		return hypercall_write(c, value);
	case HV_MSR_REFERENCE_TSC:
		return reference_tsc_write(c, value);
	case HV_MSR_EOI:
		return apic_write(c, APIC_REG_EOI, 0);
	case HV_MSR_ICR:
		return apic_write(c, APIC_REG_ICR, value);
	case HV_MSR_TPR:
		return apic_write(c, APIC_REG_TPR, value & 0xff);
	case HV_MSR_VP_ASSIST_PAGE:
		return assist_write(c, value);
	case HV_MSR_STIMER0_CONFIG ... HV_MSR_STIMER3_COUNT:
		return hv_timer_write(c, index, value);
	default:
		return hv_synic_write(c, index, value);
	}
}

/* --- a vCPU's life --------------------------------------------------------------------------------- */

void pv_init(struct cpu *c)
{
	if (cpuid_has(&c->grp->cpuid, CPUID_HV_STIMER))
		hv_timers_init(c);
}

void pv_done(struct cpu *c)
{
	hv_timers_done(c);
}

void pv_state_loaded(struct cpu *c)
{
	hv_synic_loaded(c);
	if (cpuid_has(&c->grp->cpuid, CPUID_HV_STIMER))
		hv_timers_loaded(c);
}
