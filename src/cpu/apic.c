// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC's registers. xAPIC (memory) and x2APIC (MSR) are two doors to the same numbered
 * registers; each door checks what it must (an MSR access raises #GP where a memory access sets a bit in
 * the error status register), then both meet in reg_read() and reg_write().
 *
 * One mutex a vCPU guards everything, instead of lock-free bitmaps: delivery takes a few tens of ns
 * beside the microseconds of the exits that cause it, and priorities, error status and trigger modes
 * always fit together. The one lock-free reader is apic_has_interrupt(), which engines ask each time
 * RFLAGS.IF is set: it looks at the request register and takes the lock only when that is not empty.
 *
 * A guest that uses KVM's PV EOI ends an interrupt by clearing a bit in its memory when nothing depends on the end:
 * the vector is edge-triggered, the only one in service, and no other one waits. apic_pv_sync() learns of it before
 * the in-service register is used: when an interrupt waits, or a register is read or written.
 *
 * An end of interrupt of a level-triggered vector goes to the I/O APICs after the lock is released,
 * because they may deliver to this APIC again at once.
 */
#include "cpu/apic.h"

#include <errno.h>
#include <string.h>

#include "cpu/apic_priv.h"
#include "cpu/pv/pv.h"
#include "sys/thread.h"

enum {
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC = 0x800,
	MSR_X2APIC_LAST = 0x8ff,

	VERSION = 0x14 | 5 << 16 | 1 << 24, /* six LVT entries; can suppress EOI broadcasts */
	RESET_SVR = 0xff,
	RESET_LINT0_BSP = APIC_DM_EXTINT << APIC_LVT_MODE_SHIFT,

	SVR_WRITABLE = 0x13ff,
	LVT_READ_ONLY = 1 << 12 | 1 << 14, /* delivery status, remote IRR */
	DIVIDE_WRITABLE = 0xb,
};

#define ICR_X2_RESERVED UINT64_C(0xfff32000)
#define ICR_WRITABLE	UINT64_C(0xccfff)
#define DFR_FIXED	UINT32_C(0x0fffffff)

int apic_highest(const uint32_t reg[8])
{
	for (int k = 7; k >= 0; k--)
		if (reg[k])
			return k * 32 + 31 - __builtin_clz(reg[k]);
	return -1;
}

/* Stores are atomic because apic_has_interrupt() reads without the lock. */
static void bit_put(uint32_t reg[8], uint8_t n, bool on)
{
	uint32_t bit = UINT32_C(1) << (n & 31), old = reg[n >> 5];

	__atomic_store_n(&reg[n >> 5], on ? old | bit : old & ~bit, __ATOMIC_RELAXED);
}

static bool bit_get(const uint32_t reg[8], uint8_t n)
{
	return reg[n >> 5] >> (n & 31) & 1;
}

uint8_t apic_ppr(const struct cpu_apic_state *a)
{
	int isr = apic_highest(a->isr);
	uint8_t in_service = isr < 0 ? 0 : (uint8_t)(isr & 0xf0);

	return (a->tpr & 0xf0) >= in_service ? (uint8_t)a->tpr : in_service;
}

/* The vector that may interrupt now, or -1. */
static int deliverable(const struct cpu_apic_state *a)
{
	int irr;

	if (!(a->base & APIC_BASE_ENABLE))
		return -1;
	irr = apic_highest(a->irr);
	return irr >= 0 && irr >> 4 > apic_ppr(a) >> 4 ? irr : -1;
}

/* Does the 8259s' INTR pin reach the core? Without an APIC, LINT0 is the INTR pin. */
static bool extint_passes(const struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;

	if (!c->st.ev.extint)
		return false;
	if (!(a->base & APIC_BASE_ENABLE))
		return true;
	return !(a->lvt_lint0 & APIC_LVT_MASKED) &&
	       (a->lvt_lint0 >> APIC_LVT_MODE_SHIFT & 7) == APIC_DM_EXTINT;
}

bool apic_has_interrupt(struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;
	uint32_t any = 0;
	bool extint;

	if (atomic_load_explicit(&c->grp->apic_away, memory_order_relaxed))
		return false;
	for (int k = 0; k < 8; k++)
		any |= __atomic_load_n(&a->irr[k], __ATOMIC_RELAXED);
	extint = __atomic_load_n(&c->st.ev.extint, __ATOMIC_RELAXED);
	if (!any && !extint)
		return false;
	apic_pv_sync(c);
	mutex_guard(&c->apic_lock);
	return extint_passes(c) || deliverable(a) >= 0;
}

void apic_pv_sync(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;
	int vector;

	if (likely(!c->st.pv_eoi_offered))
		return;
	c->st.pv_eoi_offered = false;
	if (!pv_eoi_take_back(c))
		return;
	c->stats.pv_eois++;
	mutex_lock(&c->apic_lock);
	vector = apic_highest(a->isr);
	if (vector >= 0)
		bit_put(a->isr, (uint8_t)vector, false);
	mutex_unlock(&c->apic_lock);
}

/* Does the end of this interrupt change nothing but its own bit? Under the lock. */
static bool ends_quietly(const struct cpu_apic_state *a, uint8_t vector)
{
	uint32_t waiting = 0;
	int in_service = 0;

	for (unsigned int k = 0; k < 8; k++) {
		waiting |= a->irr[k];
		in_service += __builtin_popcount(a->isr[k]);
	}
	return !waiting && in_service == 1 && !bit_get(a->tmr, vector);
}

int apic_accept(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool extint, quiet = false;
	int vector = -1;

	mutex_lock(&c->apic_lock);
	extint = extint_passes(c);
	if (!extint) {
		vector = deliverable(a);
		if (vector >= 0) {
			bit_put(a->irr, (uint8_t)vector, false);
			bit_put(a->isr, (uint8_t)vector, true);
			quiet = ends_quietly(a, (uint8_t)vector);
			if (bit_get(c->pv.auto_eoi, (uint8_t)vector)) {
				bit_put(a->isr, (uint8_t)vector, false);
				quiet = false;
			}
		}
	}
	mutex_unlock(&c->apic_lock);
	/* An interrupt that arrives from here on makes the vCPU look, which takes the offer back. */
	if (quiet)
		c->st.pv_eoi_offered = pv_eoi_offer(c);
	return extint ? c->grp->ops->extint_ack(c->grp->arg) : vector;
}

bool apic_error_locked(struct cpu *c, uint32_t esr_bits)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint8_t vector = (uint8_t)a->lvt_error;

	a->esr_shadow |= esr_bits;
	/* An error entry with an illegal vector cannot report itself. */
	if ((a->lvt_error & APIC_LVT_MASKED) || vector < APIC_FIRST_VECTOR)
		return false;
	return apic_fixed_locked(c, vector, false);
}

bool apic_fixed_locked(struct cpu *c, uint8_t vector, bool level)
{
	struct cpu_apic_state *a = &c->st.apic;

	if (!(a->base & APIC_BASE_ENABLE) || !(a->svr & APIC_SVR_ENABLE))
		return false;
	if (vector < APIC_FIRST_VECTOR)
		return apic_error_locked(c, APIC_ESR_RECV_ILLEGAL);
	bit_put(a->tmr, vector, level);
	bit_put(a->irr, vector, true);
	return true;
}

uint32_t apic_lvt_locked(struct cpu *c, uint32_t lvt)
{
	struct cpu_events *ev = &c->st.ev;

	if (lvt & APIC_LVT_MASKED)
		return 0;
	switch (lvt >> APIC_LVT_MODE_SHIFT & 7) {
	case APIC_DM_FIXED:
		return apic_fixed_locked(c, (uint8_t)lvt, false) ? CPU_PEND_INTR : 0;
	case APIC_DM_SMI:
		ev->smi_pending = true;
		return CPU_PEND_EVENT;
	case APIC_DM_NMI:
		/* One running and one behind it; before the first has begun, two. */
		if (ev->nmi_pending < (ev->nmi_masked ? 1 : 2))
			ev->nmi_pending++;
		return CPU_PEND_EVENT;
	case APIC_DM_INIT:
		ev->init_pending = true;
		return CPU_PEND_EVENT;
	default: /* ExtINT is a level, not an event; the others are reserved */
		return 0;
	}
}

void apic_set_irq(struct cpu *c, uint8_t vector, bool level)
{
	bool wake;

	mutex_lock(&c->apic_lock);
	wake = apic_fixed_locked(c, vector, level);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
}

void apic_nmi(struct cpu *c)
{
	mutex_lock(&c->apic_lock);
	ignore_result(apic_lvt_locked(c, APIC_DM_NMI << APIC_LVT_MODE_SHIFT));
	mutex_unlock(&c->apic_lock);
	cpu_wake(c, CPU_PEND_EVENT);
}

static void eoi(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool broadcast = false;
	int vector;

	mutex_lock(&c->apic_lock);
	vector = apic_highest(a->isr);
	if (vector >= 0) {
		bit_put(a->isr, (uint8_t)vector, false);
		broadcast = bit_get(a->tmr, (uint8_t)vector) &&
			    !(a->svr & APIC_SVR_NO_EOI_BROADCAST);
	}
	mutex_unlock(&c->apic_lock);
	if (broadcast)
		c->grp->ops->eoi(c->grp->arg, (uint8_t)vector);
	cpu_wake(c, CPU_PEND_INTR); /* the priority fell */
}

uint64_t apic_get_cr8(struct cpu *c)
{
	return c->st.apic.tpr >> 4;
}

static void set_tpr(struct cpu *c, uint8_t tpr)
{
	bool lower;

	mutex_lock(&c->apic_lock);
	lower = tpr < c->st.apic.tpr;
	c->st.apic.tpr = tpr;
	mutex_unlock(&c->apic_lock);
	if (lower)
		cpu_wake(c, CPU_PEND_INTR);
}

void apic_set_cr8(struct cpu *c, uint64_t value)
{
	set_tpr(c, (uint8_t)(value << 4));
}

/* Which bits of an LVT entry the guest may write; 0: there is no such entry. */
static uint32_t lvt_writable(const struct cpu *c, unsigned int reg)
{
	switch (reg) {
	case APIC_REG_LVT_TIMER:
		return 0x300ff | (cpuid_has(&c->grp->cpuid, CPUID_TSC_DEADLINE) ? 1 << 18 : 0);
	case APIC_REG_LVT_THERMAL:
	case APIC_REG_LVT_PERF:
		return 0x107ff;
	case APIC_REG_LVT_LINT0:
	case APIC_REG_LVT_LINT1:
		return 0x1a7ff;
	case APIC_REG_LVT_ERROR:
		return 0x100ff;
	default:
		return 0;
	}
}

static uint32_t *lvt_entry(struct cpu_apic_state *a, unsigned int reg)
{
	switch (reg) {
	case APIC_REG_LVT_TIMER:
		return &a->lvt_timer;
	case APIC_REG_LVT_THERMAL:
		return &a->lvt_thermal;
	case APIC_REG_LVT_PERF:
		return &a->lvt_perf;
	case APIC_REG_LVT_LINT0:
		return &a->lvt_lint0;
	case APIC_REG_LVT_LINT1:
		return &a->lvt_lint1;
	default:
		return &a->lvt_error;
	}
}

static void lvt_write(struct cpu *c, unsigned int reg, uint32_t value)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint32_t *entry = lvt_entry(a, reg);
	bool wake = false;

	mutex_lock(&c->apic_lock);
	value &= lvt_writable(c, reg);
	if (!(a->svr & APIC_SVR_ENABLE))
		value |= APIC_LVT_MASKED;
	if (reg == APIC_REG_LVT_TIMER)
		wake = apic_timer_set_lvt(c, value);
	else
		*entry = value;
	/* LINT0 may let the 8259s through now. */
	wake = wake || (reg == APIC_REG_LVT_LINT0 && extint_passes(c));
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
}

static void svr_write(struct cpu *c, uint32_t value)
{
	struct cpu_apic_state *a = &c->st.apic;

	mutex_guard(&c->apic_lock);
	a->svr = value & SVR_WRITABLE;
	if (a->svr & APIC_SVR_ENABLE)
		return;
	a->lvt_timer |= APIC_LVT_MASKED;
	a->lvt_thermal |= APIC_LVT_MASKED;
	a->lvt_perf |= APIC_LVT_MASKED;
	a->lvt_lint0 |= APIC_LVT_MASKED;
	a->lvt_lint1 |= APIC_LVT_MASKED;
	a->lvt_error |= APIC_LVT_MASKED;
}

static uint32_t x2_ldr(uint32_t id)
{
	return (id >> 4) << 16 | UINT32_C(1) << (id & 15);
}

/* Reads a register that exists in both modes. Returns false when @reg is none. */
static bool reg_read(struct cpu *c, unsigned int reg, uint64_t *ret)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool wake = false;

	apic_pv_sync(c);
	mutex_lock(&c->apic_lock);
	switch (reg) {
	case APIC_REG_ID:
		*ret = apic_is_x2(a) ? a->id : a->id << 24;
		break;
	case APIC_REG_VERSION:
		*ret = VERSION;
		break;
	case APIC_REG_TPR:
		*ret = a->tpr;
		break;
	case APIC_REG_PPR:
		*ret = apic_ppr(a);
		break;
	case APIC_REG_LDR:
		*ret = apic_is_x2(a) ? x2_ldr(a->id) : a->ldr;
		break;
	case APIC_REG_SVR:
		*ret = a->svr;
		break;
	case APIC_REG_ISR ... APIC_REG_ISR + 7:
		*ret = a->isr[reg - APIC_REG_ISR];
		break;
	case APIC_REG_TMR ... APIC_REG_TMR + 7:
		*ret = a->tmr[reg - APIC_REG_TMR];
		break;
	case APIC_REG_IRR ... APIC_REG_IRR + 7:
		*ret = a->irr[reg - APIC_REG_IRR];
		break;
	case APIC_REG_ESR:
		*ret = a->esr;
		break;
	case APIC_REG_ICR:
		*ret = apic_is_x2(a) ? a->icr : (uint32_t)a->icr;
		break;
	case APIC_REG_LVT_TIMER ... APIC_REG_LVT_ERROR:
		*ret = *lvt_entry(a, reg);
		break;
	case APIC_REG_TIMER_INITIAL:
		*ret = a->timer_initial;
		break;
	case APIC_REG_TIMER_CURRENT:
		wake = apic_timer_sync(c);
		*ret = apic_timer_current(c);
		break;
	case APIC_REG_TIMER_DIVIDE:
		*ret = a->timer_divide;
		break;
	default:
		mutex_unlock(&c->apic_lock);
		return false;
	}
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
	return true;
}

/* Writes a register that exists in both modes and whose reserved bits are dealt with. */
static bool reg_write(struct cpu *c, unsigned int reg, uint32_t value)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool wake = false;

	apic_pv_sync(c);
	switch (reg) {
	case APIC_REG_TPR:
		set_tpr(c, (uint8_t)value);
		return true;
	case APIC_REG_EOI:
		eoi(c);
		return true;
	case APIC_REG_SVR:
		svr_write(c, value);
		return true;
	case APIC_REG_LVT_TIMER ... APIC_REG_LVT_ERROR:
		lvt_write(c, reg, value);
		return true;
	case APIC_REG_ESR:
		mutex_lock(&c->apic_lock);
		a->esr = a->esr_shadow;
		a->esr_shadow = 0;
		break;
	case APIC_REG_TIMER_INITIAL:
		mutex_lock(&c->apic_lock);
		wake = apic_timer_set_initial(c, value);
		break;
	case APIC_REG_TIMER_DIVIDE:
		mutex_lock(&c->apic_lock);
		wake = apic_timer_set_divide(c, value & DIVIDE_WRITABLE);
		break;
	default:
		return false;
	}
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
	return true;
}

static void illegal_register(struct cpu *c)
{
	bool wake;

	mutex_lock(&c->apic_lock);
	wake = apic_error_locked(c, APIC_ESR_ILLEGAL_REG);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
}

uint64_t apic_mmio_read(struct cpu *c, uint32_t off, unsigned int size)
{
	unsigned int reg = (off & 0xfff) >> 4, byte = off & 15;
	uint64_t value = 0;

	c->stats.apic_access++;
	if (byte >= 4)
		return 0;
	switch (reg) {
	case APIC_REG_APR: /* arbitration and remote read: gone since the Pentium 4, but not errors */
	case APIC_REG_RRD:
	case APIC_REG_EOI: /* write-only */
		break;
	case APIC_REG_DFR:
		value = c->st.apic.dfr;
		break;
	case APIC_REG_ICR2:
		value = c->st.apic.icr >> 32;
		break;
	default:
		if (!reg_read(c, reg, &value))
			illegal_register(c);
	}
	value = (uint32_t)value >> (8 * byte);
	return size < 4 ? value & ((UINT64_C(1) << (8 * size)) - 1) : value;
}

void apic_mmio_write(struct cpu *c, uint32_t off, unsigned int size, uint64_t value64)
{
	struct cpu_apic_state *a = &c->st.apic;
	unsigned int reg = (off & 0xfff) >> 4;
	uint32_t value = (uint32_t)value64;

	c->stats.apic_access++;
	if ((off & 15) || size < 4)
		return;
	switch (reg) {
	case APIC_REG_ID:
		mutex_lock(&c->apic_lock);
		a->id = value >> 24;
		break;
	case APIC_REG_LDR:
		mutex_lock(&c->apic_lock);
		a->ldr = value & 0xff000000;
		break;
	case APIC_REG_DFR:
		mutex_lock(&c->apic_lock);
		a->dfr = value | DFR_FIXED;
		break;
	case APIC_REG_ICR2:
		mutex_lock(&c->apic_lock);
		a->icr = (a->icr & UINT32_MAX) | (uint64_t)(value & 0xff000000) << 32;
		break;
	case APIC_REG_ICR:
		mutex_lock(&c->apic_lock);
		a->icr = (a->icr & ~(uint64_t)UINT32_MAX) | (value & ICR_WRITABLE);
		mutex_unlock(&c->apic_lock);
		apic_send_icr(c, a->icr);
		return;
	case APIC_REG_VERSION: /* read-only registers swallow writes */
	case APIC_REG_APR:
	case APIC_REG_PPR:
	case APIC_REG_RRD:
	case APIC_REG_ISR ... APIC_REG_IRR + 7:
	case APIC_REG_TIMER_CURRENT:
		return;
	default:
		if (!reg_write(c, reg, value))
			illegal_register(c);
		return;
	}
	mutex_unlock(&c->apic_lock);
}

/* Everything but the base and the id, as after power-on. Under the lock. */
static void reset_registers(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint64_t base = a->base;
	uint32_t id = a->id;

	memset(a, 0, sizeof(*a));
	a->base = base;
	a->id = id;
	a->dfr = UINT32_MAX;
	a->svr = RESET_SVR;
	a->lvt_timer = a->lvt_thermal = a->lvt_perf = APIC_LVT_MASKED;
	a->lvt_lint1 = a->lvt_error = a->lvt_cmci = APIC_LVT_MASKED;
	a->lvt_lint0 = base & APIC_BASE_BSP ? RESET_LINT0_BSP : APIC_LVT_MASKED;
	a->timer_start_ns = APIC_TIMER_STOPPED;
	apic_timer_rearm(c);
}

void apic_reset(struct cpu *c, bool is_init)
{
	struct cpu_apic_state *a = &c->st.apic;

	mutex_guard(&c->apic_lock);
	if (!is_init) {
		a->base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE |
			  (c->index == 0 ? APIC_BASE_BSP : 0);
		a->id = c->index;
	}
	reset_registers(c);
}

/* SDM volume 3, figure 11-27: from x2APIC only to disabled, from disabled only to xAPIC. */
static int base_write(struct cpu *c, uint64_t value)
{
	struct cpu_apic_state *a = &c->st.apic;
	const uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
	uint64_t old = a->base, reserved = 0x2ff | ~UINT64_C(0) << c->grp->cpuid.phys_bits;
	uint8_t tpr;

	if (!cpuid_has(&c->grp->cpuid, CPUID_X2APIC))
		reserved |= APIC_BASE_X2APIC;
	if ((value & reserved) || (value & mode) == APIC_BASE_X2APIC)
		return -EINVAL;
	if ((old & APIC_BASE_X2APIC) && (value & mode) == APIC_BASE_ENABLE)
		return -EINVAL;
	if (!(old & APIC_BASE_ENABLE) && (value & APIC_BASE_X2APIC))
		return -EINVAL;

	apic_pv_sync(c);
	mutex_lock(&c->apic_lock);
	a->base = value;
	if ((old & APIC_BASE_ENABLE) && !(value & APIC_BASE_ENABLE)) {
		tpr = (uint8_t)a->tpr; /* CR8 goes on working */
		a->id = c->index;
		reset_registers(c);
		a->tpr = tpr;
	}
	if (!(old & APIC_BASE_X2APIC) && (value & APIC_BASE_X2APIC)) {
		a->id = c->index;
		a->icr &= UINT32_MAX;
	}
	mutex_unlock(&c->apic_lock);
	cpu_wake(c, CPU_PEND_INTR);
	return 0;
}

static int deadline_write(struct cpu *c, uint64_t value)
{
	bool wake;

	if (!cpuid_has(&c->grp->cpuid, CPUID_TSC_DEADLINE))
		return -EINVAL;
	mutex_lock(&c->apic_lock);
	wake = apic_timer_set_deadline(c, value);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
	return 0;
}

int apic_msr_read(struct cpu *c, uint32_t msr, uint64_t *ret)
{
	const struct cpu_apic_state *a = &c->st.apic;

	if (msr == MSR_APIC_BASE) {
		*ret = a->base;
		return 0;
	}
	if (msr == MSR_TSC_DEADLINE) {
		if (!cpuid_has(&c->grp->cpuid, CPUID_TSC_DEADLINE))
			return -EINVAL;
		mutex_guard(&c->apic_lock);
		*ret = a->tsc_deadline;
		return 0;
	}
	if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !apic_is_x2(a))
		return -EINVAL;
	c->stats.apic_access++;
	return reg_read(c, msr - MSR_X2APIC, ret) ? 0 : -EINVAL;
}

/* Whether an x2APIC register takes this value; bits 63-32 are 0 unless it is the ICR. */
static bool x2_value_ok(const struct cpu *c, unsigned int reg, uint64_t value)
{
	if (reg != APIC_REG_ICR && value >> 32)
		return false;
	switch (reg) {
	case APIC_REG_TPR:
	case APIC_REG_SELF_IPI:
		return !(value & ~UINT64_C(0xff));
	case APIC_REG_EOI:
	case APIC_REG_ESR:
		return value == 0;
	case APIC_REG_SVR:
		return !(value & ~(uint64_t)SVR_WRITABLE);
	case APIC_REG_ICR:
		return !(value & ICR_X2_RESERVED);
	case APIC_REG_LVT_TIMER ... APIC_REG_LVT_ERROR:
		return !(value & ~(uint64_t)(lvt_writable(c, reg) | LVT_READ_ONLY));
	case APIC_REG_TIMER_DIVIDE:
		return !(value & ~(uint64_t)DIVIDE_WRITABLE);
	default:
		return true;
	}
}

int apic_msr_write(struct cpu *c, uint32_t msr, uint64_t value)
{
	struct cpu_apic_state *a = &c->st.apic;
	unsigned int reg = msr - MSR_X2APIC;

	if (msr == MSR_APIC_BASE)
		return base_write(c, value);
	if (msr == MSR_TSC_DEADLINE)
		return deadline_write(c, value);
	if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !apic_is_x2(a) ||
	    !x2_value_ok(c, reg, value))
		return -EINVAL;
	c->stats.apic_access++;
	switch (reg) {
	case APIC_REG_ICR:
		mutex_lock(&c->apic_lock);
		a->icr = (value & ~(uint64_t)UINT32_MAX) | (value & ICR_WRITABLE);
		mutex_unlock(&c->apic_lock);
		apic_send_icr(c, a->icr);
		return 0;
	case APIC_REG_SELF_IPI:
		apic_send_icr(c, UINT64_C(1) << 18 | value);
		return 0;
	default:
		return reg_write(c, reg, (uint32_t)value) ? 0 : -EINVAL;
	}
}
