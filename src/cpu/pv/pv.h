/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_PV_PV_H
#define CPU_PV_PV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "cpu/state.h"
#include "sys/timerq.h"

/*
 * What a guest that knows it is one can ask for: KVM's paravirtual interface, or Hyper-V's. Guests find it by CPUID leaves
 * from 0x40000000 on and use it through MSRs, hypercalls and structures in their own memory. README.md has the map.
 * Source: Linux, Documentation/virt/kvm/x86/msr.rst, cpuid.rst and hypercalls.rst; Microsoft, Hypervisor Top Level
 * Functional Specification.
 */
struct cpu;

enum pv_msr {
	PV_MSR_WALL_CLOCK = 0x11,
	PV_MSR_SYSTEM_TIME = 0x12,
	PV_MSR_FIRST = 0x4b564d00,
	PV_MSR_WALL_CLOCK_NEW = 0x4b564d00,
	PV_MSR_SYSTEM_TIME_NEW = 0x4b564d01,
	PV_MSR_STEAL_TIME = 0x4b564d03,
	PV_MSR_EOI = 0x4b564d04,
	PV_MSR_POLL_CONTROL = 0x4b564d05,
	PV_MSR_LAST = 0x4b564dff,
	PV_MSR_HV_FIRST = 0x40000000, /* Hyper-V's: hv_priv.h */
	PV_MSR_HV_LAST = 0x400001ff,
};

/* What wakes us for a timer of Hyper-V's. */
struct pv_hv_timer {
	struct timerq_timer timer;
	struct cpu *c;
};

/* What a vCPU has for its paravirtual interfaces beside its state: of this run of this program. */
struct pv_cpu {
	uint64_t slept_ns;	  /* that its thread slept because the guest had halted */
	uint64_t steal_base_ns;	  /* what has been told of the time that it did not run */
	uint64_t steal_looked_ns; /* guest time when that was looked at last */
	uint32_t auto_eoi[8]; /* vectors whose interrupts end when they begin; under apic_lock */
	struct pv_hv_timer hv_timer[CPU_HV_TIMERS];
};

/* pv_init - before the first cpu_reset(); pv_done() undoes it. pv_state_loaded - c->st was replaced: what follows from it.
 * Thread: the vCPU's own, or any while it does not run. */
void pv_init(struct cpu *c);
void pv_done(struct cpu *c);
void pv_state_loaded(struct cpu *c);

/* pv_owns_msr - is this one of the registers of pv_msr_read() and pv_msr_write()? Thread: any. */
static inline bool pv_owns_msr(uint32_t index)
{
	return index == PV_MSR_WALL_CLOCK || index == PV_MSR_SYSTEM_TIME ||
	       (index >= PV_MSR_FIRST && index <= PV_MSR_LAST) ||
	       (index >= PV_MSR_HV_FIRST && index <= PV_MSR_HV_LAST);
}

/*
 * pv_msr_read, pv_msr_write - access to a register of those.
 *
 * A write may fill a structure of the guest's; an address that is not RAM is ignored, as KVM does.
 * Returns 0, or -EINVAL (#GP): not one of these MSRs, its CPUID does not have it, or reserved bits set. Thread: the
 * vCPU's own.
 */
_nodiscard_ int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret);
_nodiscard_ int pv_msr_write(struct cpu *c, uint32_t index, uint64_t value);

/*
 * pv_hypercall - a hypercall of KVM's interface.
 *
 * @nr, @arg: RAX; RBX, RCX, RDX, RSI, of which outside of 64-bit mode only the lower halves count
 * Returns what goes to RAX: 0 or more, or one of Linux's errors, negative. Thread: the vCPU's own.
 */
int64_t pv_hypercall(struct cpu *c, uint64_t nr, const uint64_t arg[4]);

/*
 * pv_hv_hypercall - a hypercall of Hyper-V's interface, at CPL 0, from and to the registers of c->st.
 *
 * Returns false when the guest has not switched hypercalls on (#UD). Thread: the vCPU's own.
 */
_nodiscard_ bool pv_hv_hypercall(struct cpu *c);

/* pv_tsc_changed - the guest moved its TSC: its time structures are written anew. Thread: the vCPU's own. */
void pv_tsc_changed(struct cpu *c);

/*
 * PV EOI: a bit in the guest's memory says "clearing me ends the interrupt in service".
 *
 * pv_eoi_offer: set the bit; false: the guest has not asked for it. pv_eoi_take_back: clear it; returns true when the
 * guest had cleared it before, that is, has ended the interrupt; only after an offer that was not taken back yet.
 * Thread: the vCPU's own, or any while it does not run.
 */
_nodiscard_ bool pv_eoi_offer(struct cpu *c);
_nodiscard_ bool pv_eoi_take_back(struct cpu *c);

/*
 * Steal time: the guest is told how long its vCPU was kept from running, and whether it runs now.
 *
 * pv_runs: cpu_run() begins; what was before was nobody's theft. pv_tell_steal: an interrupt is about to be taken, after
 * which guests look; does little when it was called within the last millisecond. pv_sleeps: the guest has halted, and the
 * thread is about to sleep. pv_awake: it does not any more; returns true when another vCPU has left a wish that the TLB be
 * flushed (the caller does). Thread: the vCPU's own.
 */
void pv_runs(struct cpu *c);
void pv_tell_steal(struct cpu *c);
void pv_sleeps(struct cpu *c);
_nodiscard_ bool pv_awake(struct cpu *c);

#endif
