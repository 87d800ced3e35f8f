/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_PV_H
#define CPU_PV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/*
 * KVM's paravirtual interface: the clock, and ends of interrupts by memory (PV EOI). Guests find it by CPUID leaves
 * 0x40000000 and 0x40000001 and use it through MSRs. Source: Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst.
 */
struct cpu;

enum pv_msr {
	PV_MSR_WALL_CLOCK = 0x11,
	PV_MSR_SYSTEM_TIME = 0x12,
	PV_MSR_WALL_CLOCK_NEW = 0x4b564d00,
	PV_MSR_SYSTEM_TIME_NEW = 0x4b564d01,
	PV_MSR_EOI = 0x4b564d04,
};

/* CPUID 0x40000001 EAX: what pv.c offers. */
enum pv_feature {
	PV_FEATURE_CLOCKSOURCE = 1 << 0,
	PV_FEATURE_NOP_IO_DELAY = 1 << 1,
	PV_FEATURE_CLOCKSOURCE2 = 1 << 3,
	PV_FEATURE_EOI = 1 << 6,
	PV_FEATURE_CLOCKSOURCE_STABLE = 1 << 24,
	PV_FEATURES = PV_FEATURE_CLOCKSOURCE | PV_FEATURE_NOP_IO_DELAY | PV_FEATURE_CLOCKSOURCE2 |
		      PV_FEATURE_EOI | PV_FEATURE_CLOCKSOURCE_STABLE,
};

/*
 * pv_msr_read, pv_msr_write - access to one of enum pv_msr.
 *
 * A write may fill the guest's time structure; an address that is not RAM is ignored, as KVM does.
 * Returns 0, or -EINVAL (#GP): not one of these MSRs, or reserved bits set. Thread: the vCPU's own.
 */
_nodiscard_ int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret);
_nodiscard_ int pv_msr_write(struct cpu *c, uint32_t index, uint64_t value);

/* pv_tsc_changed - the guest moved its TSC: its time structure is written anew. Thread: the vCPU's own. */
void pv_tsc_changed(struct cpu *c);

/*
 * PV EOI: a bit in the guest's memory says "clearing me ends the interrupt in service".
 *
 * pv_eoi_offer: set the bit; false: the guest has not asked for it. pv_eoi_take_back: clear it; returns true when the
 * guest had cleared it before, that is, has ended the interrupt; only after an offer that was not taken back yet.
 * Touch general registers only. Thread: the vCPU's own, or any while it does not run.
 */
_nodiscard_ bool pv_eoi_offer(struct cpu *c);
_nodiscard_ bool pv_eoi_take_back(struct cpu *c);

#endif
