// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers of KVM's interface: which there are, and whose they are. One that belongs to a feature is there only
 * when the guest's CPUID has that feature, so that what a guest was not told of cannot be used by accident.
 */
#include <errno.h>

#include "cpu/pv/hv_priv.h"

enum { POLL_HOST = 1 };

/* The feature that a register belongs to. Returns false when there is no such register. */
static bool feature_of(uint32_t index, enum cpu_feature *ret)
{
	switch (index) {
	case PV_MSR_WALL_CLOCK:
	case PV_MSR_SYSTEM_TIME:
		*ret = CPUID_KVM_CLOCK_OLD;
		return true;
	case PV_MSR_WALL_CLOCK_NEW:
	case PV_MSR_SYSTEM_TIME_NEW:
		*ret = CPUID_KVM_CLOCK;
		return true;
	case PV_MSR_STEAL_TIME:
		*ret = CPUID_KVM_STEAL_TIME;
		return true;
	case PV_MSR_EOI:
		*ret = CPUID_KVM_EOI;
		return true;
	case PV_MSR_POLL_CONTROL:
		*ret = CPUID_KVM_POLL_CONTROL;
		return true;
	default:
		return hv_msr_feature(index, ret);
	}
}

static bool is_hyperv(uint32_t index)
{
	return index >= PV_MSR_HV_FIRST && index <= PV_MSR_HV_LAST;
}

static bool has(const struct cpu *c, uint32_t index)
{
	enum cpu_feature f;

	return feature_of(index, &f) && cpuid_has(&c->grp->cpuid, f);
}

int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	const struct cpu_state *s = &c->st;

	if (!has(c, index))
		return -EINVAL;
	if (is_hyperv(index))
		return hv_msr_read(c, index, ret);
	switch (index) {
	case PV_MSR_WALL_CLOCK:
	case PV_MSR_WALL_CLOCK_NEW:
		*ret = s->pv_wall_clock;
		return 0;
	case PV_MSR_SYSTEM_TIME:
	case PV_MSR_SYSTEM_TIME_NEW:
		*ret = s->pv_system_time;
		return 0;
	case PV_MSR_STEAL_TIME:
		*ret = s->pv_steal_time;
		return 0;
	case PV_MSR_EOI:
		*ret = s->pv_eoi;
		return 0;
	default:
		*ret = s->pv_poll_off ? 0 : POLL_HOST;
		return 0;
	}
}

/* Whether a halted vCPU's thread stays awake for a while, in case that it is needed soon (cpu_sleep()). */
static int poll_write(struct cpu *c, uint64_t value)
{
	if (value & ~(uint64_t)POLL_HOST)
		return -EINVAL;
	c->st.pv_poll_off = !(value & POLL_HOST);
	return 0;
}

int pv_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
	if (!has(c, index))
		return -EINVAL;
	if (is_hyperv(index))
		return hv_msr_write(c, index, value);
	switch (index) {
	case PV_MSR_WALL_CLOCK:
	case PV_MSR_WALL_CLOCK_NEW:
		pv_wall_clock_write(c, value);
		return 0;
	case PV_MSR_SYSTEM_TIME:
	case PV_MSR_SYSTEM_TIME_NEW:
		pv_system_time_write(c, value);
		return 0;
	case PV_MSR_STEAL_TIME:
		return pv_steal_write(c, value);
	case PV_MSR_EOI:
		return pv_eoi_write(c, value);
	default:
		return poll_write(c, value);
	}
}
