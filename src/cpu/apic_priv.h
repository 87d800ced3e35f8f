/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_APIC_PRIV_H
#define CPU_APIC_PRIV_H

#include "cpu/apic.h"

/* What the files of the local APIC share. Register numbers are MMIO offsets shifted right by 4, which
 * are x2APIC MSR numbers minus 0x800 (SDM volume 3, tables 11-1 and 11-6). */
enum apic_reg {
	APIC_REG_ID = 0x02,
	APIC_REG_VERSION = 0x03,
	APIC_REG_TPR = 0x08,
	APIC_REG_APR = 0x09,
	APIC_REG_PPR = 0x0a,
	APIC_REG_EOI = 0x0b,
	APIC_REG_RRD = 0x0c,
	APIC_REG_LDR = 0x0d,
	APIC_REG_DFR = 0x0e,
	APIC_REG_SVR = 0x0f,
	APIC_REG_ISR = 0x10,
	APIC_REG_TMR = 0x18,
	APIC_REG_IRR = 0x20,
	APIC_REG_ESR = 0x28,
	APIC_REG_ICR = 0x30,
	APIC_REG_ICR2 = 0x31,
	APIC_REG_LVT_TIMER = 0x32,
	APIC_REG_LVT_THERMAL = 0x33,
	APIC_REG_LVT_PERF = 0x34,
	APIC_REG_LVT_LINT0 = 0x35,
	APIC_REG_LVT_LINT1 = 0x36,
	APIC_REG_LVT_ERROR = 0x37,
	APIC_REG_TIMER_INITIAL = 0x38,
	APIC_REG_TIMER_CURRENT = 0x39,
	APIC_REG_TIMER_DIVIDE = 0x3e,
	APIC_REG_SELF_IPI = 0x3f,
};

enum apic_bits {
	APIC_SVR_ENABLE = 1 << 8,
	APIC_SVR_NO_EOI_BROADCAST = 1 << 12,
	APIC_LVT_MASKED = 1 << 16,
	APIC_LVT_MODE_SHIFT = 8, /* delivery mode in LVT and ICR */
	APIC_LVT_TIMER_MODE = 3 << 17,
	APIC_LVT_TIMER_ONESHOT = 0,
	APIC_LVT_TIMER_PERIODIC = 1 << 17,
	APIC_LVT_TIMER_DEADLINE = 2 << 17,
	APIC_ESR_SEND_ILLEGAL = 1 << 5,
	APIC_ESR_RECV_ILLEGAL = 1 << 6,
	APIC_ESR_ILLEGAL_REG = 1 << 7,
	APIC_FIRST_VECTOR = 16, /* lower ones cannot be sent or received */
};

static inline bool apic_is_x2(const struct cpu_apic_state *a)
{
	return a->base & APIC_BASE_X2APIC;
}

/* apic_highest - highest bit set in a 256-bit register, or -1. */
int apic_highest(const uint32_t reg[8]);
/* apic_ppr - processor priority. Under the lock. */
uint8_t apic_ppr(const struct cpu_apic_state *a);
/* apic_error_locked - log bits in the ESR, and raise the error interrupt. Under the lock. Returns
 * whether the vCPU must be woken with CPU_PEND_INTR. */
_nodiscard_ bool apic_error_locked(struct cpu *c, uint32_t esr_bits);
/* apic_fixed_locked - a fixed interrupt arrives. Under the lock. Returns whether to wake the vCPU. */
_nodiscard_ bool apic_fixed_locked(struct cpu *c, uint8_t vector, bool level);
/* apic_lvt_locked - raise a local interrupt by its LVT entry. Under the lock. Returns pending bits. */
_nodiscard_ uint32_t apic_lvt_locked(struct cpu *c, uint32_t lvt);
/* apic_send_icr - send what the ICR says. Not under the lock. */
void apic_send_icr(struct cpu *c, uint64_t icr);

/* The timer. All under the lock; those that return bool say whether the vCPU must be woken. */
bool apic_timer_sync(struct cpu *c);
void apic_timer_rearm(struct cpu *c);
bool apic_timer_set_initial(struct cpu *c, uint32_t count);
bool apic_timer_set_divide(struct cpu *c, uint32_t value);
bool apic_timer_set_lvt(struct cpu *c, uint32_t lvt);
bool apic_timer_set_deadline(struct cpu *c, uint64_t tsc);
void apic_timer_resume(struct cpu *c, uint32_t current); /* the count stands there; 0: it is over */
uint32_t apic_timer_current(const struct cpu *c);
void apic_timer_fired(void *arg); /* not under the lock: timerq's callback */

#endif
