/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_PV_HV_PRIV_H
#define CPU_PV_HV_PRIV_H

#include "cpu/pv/pv_priv.h"

/*
 * Hyper-V's interface, as far as guests use it without its bus. Source: Microsoft, Hypervisor Top Level Functional
 * Specification ("TLFS") 6.0b; chapters by subject are named in the files.
 */
enum hv_msr {
	HV_MSR_GUEST_OS_ID = 0x40000000,
	HV_MSR_HYPERCALL = 0x40000001,
	HV_MSR_VP_INDEX = 0x40000002,
	HV_MSR_TIME_REF_COUNT = 0x40000020,
	HV_MSR_REFERENCE_TSC = 0x40000021,
	HV_MSR_TSC_FREQUENCY = 0x40000022,
	HV_MSR_APIC_FREQUENCY = 0x40000023,
	HV_MSR_EOI = 0x40000070,
	HV_MSR_ICR = 0x40000071,
	HV_MSR_TPR = 0x40000072,
	HV_MSR_VP_ASSIST_PAGE = 0x40000073,
	HV_MSR_SCONTROL = 0x40000080,
	HV_MSR_SVERSION = 0x40000081,
	HV_MSR_SIEFP = 0x40000082,
	HV_MSR_SIMP = 0x40000083,
	HV_MSR_EOM = 0x40000084,
	HV_MSR_SINT0 = 0x40000090,
	HV_MSR_SINT15 = 0x4000009f,
	HV_MSR_STIMER0_CONFIG = 0x400000b0,
	HV_MSR_STIMER3_COUNT = 0x400000b7,
};

/* Registers that hold the address of a page have this shape; bits 1 to 11 are kept. */
enum { HV_PAGE_ENABLE = 1 };
#define HV_PAGE_ADDRESS (~GUEST_PAGE_MASK)

enum { HV_TICK_NS = 100 }; /* of reference time */

/* hv_owner - the vCPU whose state has the registers of the whole machine; its apic_lock guards them. Thread: any. */
static inline struct cpu *hv_owner(const struct cpu *c)
{
	return c->grp->cpu[0];
}

/* hv_now - reference time: ticks of HV_TICK_NS, of the TSC as it would be if no guest had moved it. Thread: any. */
uint64_t hv_now(const struct cpu *c);

/* hv_tsc_page_write - fill the page that the guest computes reference time by, if it has named one. Thread: any. */
void hv_tsc_page_write(const struct cpu *c);

/* hv_raise - interrupt this vCPU. Not under a lock. Thread: any. */
void hv_raise(struct cpu *c, uint8_t vector);

/*
 * hv_synic_read, hv_synic_write, hv_timer_read, hv_timer_write - registers of the synthetic interrupt controller and of the
 * timers, as pv_msr_read() and pv_msr_write().
 */
_nodiscard_ int hv_synic_read(struct cpu *c, uint32_t index, uint64_t *ret);
_nodiscard_ int hv_synic_write(struct cpu *c, uint32_t index, uint64_t value);
_nodiscard_ int hv_timer_read(struct cpu *c, uint32_t index, uint64_t *ret);
_nodiscard_ int hv_timer_write(struct cpu *c, uint32_t index, uint64_t value);

/* What hv_synic_post_locked() returns beside a vector. */
enum { HV_POSTED = 0, HV_SLOT_BUSY = -1 };

/*
 * hv_synic_post_locked - a message that a timer has expired, into the slot of its interrupt source. Under the lock.
 *
 * @expired: reference time. Returns the vector to raise; HV_POSTED: no interrupt is to be raised (or there is nowhere to post to);
 * HV_SLOT_BUSY: the guest has not taken the last message yet, and will write to EOM when it has.
 */
int hv_synic_post_locked(struct cpu *c, unsigned int sint, uint32_t timer, uint64_t expired);

/* hv_synic_loaded - st.hv was replaced: what follows from it. Thread: the vCPU's own, or any while it does not run. */
void hv_synic_loaded(struct cpu *c);

/* hv_timers_retry - slots may be free: post what waits. Thread: the vCPU's own. */
void hv_timers_retry(struct cpu *c);

/* hv_timers_init, hv_timers_done - the host's timers behind a vCPU's. hv_timers_loaded: st.hv was replaced. */
void hv_timers_init(struct cpu *c);
void hv_timers_done(struct cpu *c);
void hv_timers_loaded(struct cpu *c);

/* hv_msr_feature - what one of enum hv_msr belongs to. Returns false when there is no such register. Thread: any. */
bool hv_msr_feature(uint32_t index, enum cpu_feature *ret);

/* hv_msr_read, hv_msr_write - one that the guest's CPUID has, as pv_msr_read() and pv_msr_write(). */
_nodiscard_ int hv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret);
_nodiscard_ int hv_msr_write(struct cpu *c, uint32_t index, uint64_t value);

#endif
