/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_APIC_H
#define CPU_APIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "cpu/cpu_priv.h"

/*
 * The local APIC of a vCPU, the same for every engine: registers, interrupt acceptance and priorities,
 * the timer, and messages between APICs. Source: Intel SDM volume 3, chapter 11 (x2APIC: 11.12).
 *
 * c->apic_lock guards st.apic and the events in st.ev. No function here may be called with an apic_lock
 * held, and none calls the machine (ops->eoi, ops->extint_ack) with one held. Functions that say "own"
 * run on the vCPU's thread, or on any while it does not run. What becomes deliverable is announced with
 * cpu_wake().
 */
#define APIC_BASE_DEFAULT UINT64_C(0xfee00000)
/* The timer's clock before the divider, as a bus clock of real machines: what CPUID and PV leaves must
 * say. A faster one would only make a guest that reads the count, and is then not run for a while on a
 * loaded host, see it jump further. */
#define APIC_TIMER_HZ UINT64_C(100000000)

enum apic_base_bits {
	APIC_BASE_BSP = 1 << 8,
	APIC_BASE_X2APIC = 1 << 10,
	APIC_BASE_ENABLE = 1 << 11,
};

enum apic_delivery {
	APIC_DM_FIXED = 0,
	APIC_DM_LOWEST = 1,
	APIC_DM_SMI = 2,
	APIC_DM_NMI = 4,
	APIC_DM_INIT = 5,
	APIC_DM_STARTUP = 6,
	APIC_DM_EXTINT = 7,
};

/* Value of timer_start_ns when the count-down has ended or never begun. */
#define APIC_TIMER_STOPPED UINT64_MAX

/* An interrupt message on its way to one or more local APICs. */
struct apic_msg {
	uint32_t dest;
	bool dest_wide; /* @dest has 32 bits (sent in x2APIC mode): broadcast is 0xffffffff, not 0xff */
	bool logical;	  /* destination mode */
	bool level;	  /* trigger mode */
	uint8_t delivery; /* enum apic_delivery */
	uint8_t vector;
};

/* apic_init - prepare a vCPU's APIC (its timer); apic_done() undoes it. Before the first apic_reset(). */
void apic_init(struct cpu *c);
void apic_done(struct cpu *c);

/*
 * apic_reset - the state after power-on, or (@is_init) after INIT, which keeps the base and the id.
 *
 * The BSP's LINT0 takes ExtINT, as firmware leaves it: guests booted without firmware rely on it.
 * Thread: own.
 */
void apic_reset(struct cpu *c, bool is_init);

/* apic_state_loaded - st.apic was replaced: set the timer to it. Thread: own. */
void apic_state_loaded(struct cpu *c);

/* apic_tsc_changed - the guest's TSC jumped or st.tsc_offset changed: the TSC deadline moves. Thread:
 * own. */
void apic_tsc_changed(struct cpu *c);

/* apic_page_hit - is @gpa in this vCPU's APIC page, and is the APIC enabled in xAPIC mode? Thread: own. */
static inline bool apic_page_hit(const struct cpu *c, uint64_t gpa)
{
	uint64_t base = c->st.apic.base;

	return ((gpa ^ base) >> 12) == 0 &&
	       (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE;
}

/*
 * apic_mmio_read, apic_mmio_write - access to the xAPIC's page.
 *
 * @off: byte in the page; @size: 1, 2, 4 or 8. Registers are 32 bits at multiples of 16; the bytes
 * between them read as 0, and only aligned writes of at least 32 bits have an effect. Thread: own.
 */
uint64_t apic_mmio_read(struct cpu *c, uint32_t off, unsigned int size);
void apic_mmio_write(struct cpu *c, uint32_t off, unsigned int size, uint64_t value);

/*
 * apic_msr_read, apic_msr_write - IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0) and the x2APIC's
 * registers (0x800-0x8ff).
 *
 * Returns 0, or -EINVAL where the processor raises #GP(0). Thread: own.
 */
_nodiscard_ int apic_msr_read(struct cpu *c, uint32_t msr, uint64_t *ret);
_nodiscard_ int apic_msr_write(struct cpu *c, uint32_t msr, uint64_t value);

/* apic_get_cr8, apic_set_cr8 - the task priority class; @value: 0 to 15. Thread: own. */
uint64_t apic_get_cr8(struct cpu *c);
void apic_set_cr8(struct cpu *c, uint64_t value);

/*
 * apic_has_interrupt - is there a maskable interrupt that the CPU would take if RFLAGS.IF let it?
 *
 * A vector above the processor priority, or the 8259s' INTR where LINT0 passes it. Costs a few loads
 * when there is none. Thread: own.
 */
bool apic_has_interrupt(struct cpu *c);

/*
 * apic_accept - take the interrupt that apic_has_interrupt() saw (IRR to ISR, or the INTA cycle).
 *
 * Returns the vector, or -1 when it is gone meanwhile. Thread: own.
 */
int apic_accept(struct cpu *c);

/*
 * apic_pv_sync - find out whether the guest has ended the interrupt in service by memory (pv.h), and take the offer
 * back. What depends on the in-service register calls it first; costs a load when there is no offer.
 * Thread: own.
 */
void apic_pv_sync(struct cpu *c);

/* apic_set_irq - a fixed interrupt arrives at this APIC; dropped while it is disabled. Thread: any. */
void apic_set_irq(struct cpu *c, uint8_t vector, bool level);

/* apic_nmi - make an NMI pending. Thread: any. */
void apic_nmi(struct cpu *c);

/*
 * apic_deliver - route a message to the APICs it names.
 *
 * Returns how many took it. Thread: any.
 */
int apic_deliver(struct cpu_group *grp, const struct apic_msg *msg);

#endif
