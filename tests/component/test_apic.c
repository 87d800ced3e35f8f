/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "fake_cpu.h"

#include "cpu/pv/pv.h"

enum {
	ID = 0x20,
	VERSION = 0x30,
	TPR = 0x80,
	APR = 0x90,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ISR = 0x100,
	TMR = 0x180,
	IRR = 0x200,
	ESR = 0x280,
	ICR = 0x300,
	ICR2 = 0x310,
	LVTT = 0x320,
	LVT0 = 0x350,
	LVT1 = 0x360,
	LVTERR = 0x370,
	TMICT = 0x380,
	TMCCT = 0x390,
	TDCR = 0x3e0,
	SELF = 0x3f0,
	MASKED = 1 << 16,
	PERIODIC = 1 << 17,
	DEADLINE = 2 << 17,
	MSR_BASE = 0x1b,
	MSR_DEADLINE = 0x6e0,
};

static int setup(void **state)
{
	static struct apics f;

	*state = &f;
	return apics_init(&f);
}

static int teardown(void **state)
{
	apics_done(*state);
	return 0;
}

static uint32_t rd(struct cpu *c, uint32_t off)
{
	return (uint32_t)apic_mmio_read(c, off, 4);
}

static void wr(struct cpu *c, uint32_t off, uint32_t value)
{
	apic_mmio_write(c, off, 4, value);
}

static bool bit(struct cpu *c, uint32_t reg, unsigned int vector)
{
	return rd(c, reg + vector / 32 * 16) >> (vector & 31) & 1;
}

static void enable_all(struct apics *f)
{
	for (unsigned int k = 0; k < NR_CPUS; k++)
		wr(f->cpu[k], SVR, 0x1ff);
}

static void enable_x2(struct cpu *c)
{
	uint64_t v;

	assert_int_equal(apic_msr_read(c, MSR_BASE, &v), 0);
	assert_int_equal(apic_msr_write(c, MSR_BASE, v | APIC_BASE_X2APIC), 0);
}

static int msr(struct cpu *c, uint32_t off, uint64_t value)
{
	return apic_msr_write(c, 0x800 + (off >> 4), value);
}

static void pass(struct apics *f, uint64_t ns)
{
	uint64_t end = clock_now(&f->clock.clock) + ns, next;

	while ((next = timerq_run_due(&f->timers)) < end)
		clock_fake_advance(&f->clock, next - clock_now(&f->clock.clock));
	clock_fake_advance(&f->clock, end - clock_now(&f->clock.clock));
	timerq_run_due(&f->timers);
}

static void test_reset(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	assert_true(c->st.apic.base == 0xfee00900);
	assert_true(f->cpu[1]->st.apic.base == 0xfee00800);
	assert_int_equal(rd(c, ID), 0);
	assert_int_equal(rd(f->cpu[3], ID), 3 << 24);
	assert_int_equal(rd(c, VERSION) & 0xff, 0x14);
	assert_int_equal(rd(c, SVR), 0xff);
	assert_int_equal(rd(c, DFR), UINT32_MAX);
	assert_int_equal(rd(c, LVT0), 0x700);
	assert_int_equal(rd(f->cpu[1], LVT0), MASKED);
	assert_int_equal(rd(c, LVTT), MASKED);
	assert_true(apic_page_hit(c, 0xfee00fff));
	assert_false(apic_page_hit(c, 0xfee01000));
	/* Software-disabled: entries stay masked. */
	wr(c, LVTT, 0x40);
	assert_int_equal(rd(c, LVTT), MASKED | 0x40);
	wr(c, SVR, 0x1ff);
	wr(c, LVTT, 0x40);
	assert_int_equal(rd(c, LVTT), 0x40);
	wr(c, SVR, 0xff);
	assert_int_equal(rd(c, LVTT), MASKED | 0x40);
}

static void test_priorities(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	apic_set_irq(c, 0x31, false);
	assert_false(apic_has_interrupt(c)); /* disabled: dropped */
	enable_all(f);
	atomic_store(&c->hot.pending, 0);
	apic_set_irq(c, 0x31, false);
	apic_set_irq(c, 0x35, false);
	apic_set_irq(c, 0x52, false);
	assert_true(atomic_load(&c->hot.pending) & CPU_PEND_INTR);
	assert_true(bit(c, IRR, 0x31));
	apic_set_cr8(c, 5);
	assert_int_equal(rd(c, TPR), 0x50);
	assert_false(apic_has_interrupt(c));
	assert_int_equal(apic_accept(c), -1);
	atomic_store(&c->hot.pending, 0);
	apic_set_cr8(c, 4);
	assert_int_equal(apic_get_cr8(c), 4);
	assert_true(atomic_load(&c->hot.pending) & CPU_PEND_INTR);
	assert_int_equal(apic_accept(c), 0x52);
	assert_true(bit(c, ISR, 0x52));
	assert_false(bit(c, IRR, 0x52));
	assert_int_equal(rd(c, PPR), 0x50);
	apic_set_cr8(c, 0);
	assert_false(apic_has_interrupt(c)); /* 0x35 waits */
	wr(c, EOI, 0);
	assert_int_equal(rd(c, PPR), 0);
	assert_int_equal(apic_accept(c), 0x35);
	assert_false(apic_has_interrupt(c)); /* the same class */
	wr(c, EOI, 0);
	assert_int_equal(apic_accept(c), 0x31);
	wr(c, EOI, 0);
	wr(c, EOI, 0); /* nothing in service: harmless */
	assert_int_equal(f->nr_eoi, 0);
}

static void test_level_eoi(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	apic_set_irq(c, 0x79, true);
	assert_true(bit(c, TMR, 0x79));
	assert_int_equal(apic_accept(c), 0x79);
	wr(c, EOI, 0);
	assert_int_equal(f->nr_eoi, 1);
	assert_int_equal(f->last_eoi, 0x79);
	/* Suppressed broadcast. */
	wr(c, SVR, 0x11ff);
	apic_set_irq(c, 0x79, true);
	assert_int_equal(apic_accept(c), 0x79);
	wr(c, EOI, 0);
	assert_int_equal(f->nr_eoi, 1);
	apic_set_irq(c, 0x79, false);
	assert_false(bit(c, TMR, 0x79));
}

static void test_extint(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	c->st.ev.extint = true;
	f->cpu[1]->st.ev.extint = true;
	assert_true(apic_has_interrupt(c)); /* LINT0 of the BSP, also while software-disabled */
	assert_false(apic_has_interrupt(f->cpu[1]));
	assert_int_equal(apic_accept(c), 0x33);
	assert_int_equal(f->nr_acks, 1);
	enable_all(f);
	wr(c, LVT0, 0x10700);
	assert_false(apic_has_interrupt(c));
	wr(c, LVT0, 0x700);
	assert_true(apic_has_interrupt(c));
	wr(c, LVT0, 0x30); /* fixed: not ours */
	assert_false(apic_has_interrupt(c));
	assert_int_equal(apic_msr_write(c, MSR_BASE, APIC_BASE_DEFAULT | APIC_BASE_BSP), 0);
	assert_true(apic_has_interrupt(c)); /* without an APIC the pin is the core's */
}

static void test_base(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[1];
	const uint64_t base = APIC_BASE_DEFAULT, en = APIC_BASE_ENABLE, x2 = APIC_BASE_X2APIC;
	uint64_t v;

	wr(c, SVR, 0x1ff);
	wr(c, ID, 9u << 24);
	apic_set_cr8(c, 3);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base | x2), -EINVAL);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base | en | 1), -EINVAL);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base | en | UINT64_C(1) << 40), -EINVAL);
	assert_int_equal(apic_msr_read(c, 0x802, &v), -EINVAL); /* not in x2APIC mode */

	assert_int_equal(apic_msr_write(c, MSR_BASE, base | en | x2), 0);
	assert_false(apic_page_hit(c, base));
	assert_int_equal(apic_msr_read(c, 0x802, &v), 0);
	assert_true(v == 1); /* the initial id again */
	assert_int_equal(apic_msr_read(c, 0x80d, &v), 0);
	assert_true(v == 2);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base | en), -EINVAL);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base), 0);
	assert_int_equal(apic_get_cr8(c), 3);
	apic_set_cr8(c, 12);
	assert_int_equal(apic_get_cr8(c), 12);
	assert_int_equal(apic_msr_write(c, MSR_BASE, base | en | x2), -EINVAL);
	assert_int_equal(apic_msr_write(c, MSR_BASE, UINT64_C(0xfed40000) | en), 0);
	assert_true(apic_page_hit(c, 0xfed40030));
	assert_int_equal(rd(c, TPR), 0xc0);
	assert_int_equal(rd(c, SVR), 0xff); /* as after power-on */
	assert_int_equal(rd(c, ID), 1u << 24);
}

static void test_x2_values(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];
	static const uint16_t writable[] = { TPR,   EOI,  SVR,	ESR,	ICR,   LVTT, 0x330,
					     0x340, LVT0, LVT1, LVTERR, TMICT, TDCR, SELF };
	static const uint16_t readable[] = { ID,   VERSION, TPR,   PPR,	  LDR,	 SVR,
					     ESR,  ICR,	    LVTT,  0x330, 0x340, LVT0,
					     LVT1, LVTERR,  TMICT, TMCCT, TDCR };
	uint64_t v;

	enable_all(f);
	enable_x2(c);
	for (uint32_t off = 0; off < 0x1000; off += 16) {
		bool w = false, r = off >= ISR && off < ESR;

		for (size_t k = 0; k < ARRAY_SIZE(writable); k++)
			w = w || writable[k] == off;
		for (size_t k = 0; k < ARRAY_SIZE(readable); k++)
			r = r || readable[k] == off;
		assert_int_equal(apic_msr_read(c, 0x800 + off / 16, &v), r ? 0 : -EINVAL);
		if (off == ICR)
			continue;
		assert_int_equal(msr(c, off, 0), w ? 0 : -EINVAL);
		assert_int_equal(msr(c, off, UINT64_C(1) << 32), -EINVAL);
	}
	assert_int_equal(msr(c, SELF, 0x100), -EINVAL);
	assert_int_equal(msr(c, TPR, 0x100), -EINVAL);
	assert_int_equal(msr(c, EOI, 1), -EINVAL);
	assert_int_equal(msr(c, ESR, 1), -EINVAL);
	assert_int_equal(msr(c, ICR, 1 << 20), -EINVAL);
	assert_int_equal(msr(c, LVTERR, 1 << 8), -EINVAL);
	assert_int_equal(msr(c, SVR, 0x1ff), 0);
	assert_int_equal(msr(c, SELF, 0xf1), 0);
	assert_int_equal(apic_accept(c), 0xf1);
	assert_int_equal(msr(c, ICR, (UINT64_C(1) << 32) | 0x41), 0);
	assert_int_equal(apic_msr_read(c, 0x830, &v), 0);
	assert_true(v == ((UINT64_C(1) << 32) | 0x41));
	assert_true(bit(f->cpu[1], IRR, 0x41));
}

static void icr(struct cpu *c, uint32_t dest, uint32_t low)
{
	wr(c, ICR2, dest << 24);
	wr(c, ICR, low);
}

/* Which CPUs have the vector requested, as a bit mask; forgets it. */
static unsigned int who(struct apics *f, unsigned int vector)
{
	unsigned int mask = 0;

	for (unsigned int k = 0; k < NR_CPUS; k++) {
		uint32_t *word = &f->cpu[k]->st.apic.irr[vector / 32];

		mask |= (*word >> (vector & 31) & 1) << k;
		*word &= ~(UINT32_C(1) << (vector & 31));
	}
	return mask;
}

static void test_destinations(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	icr(c, 2, 0x41);
	assert_int_equal(who(f, 0x41), 0x4);
	icr(c, 9, 0x41);
	assert_int_equal(who(f, 0x41), 0);
	icr(c, 0xff, 0x41);
	assert_int_equal(who(f, 0x41), 0xf);
	icr(c, 0, 0x41 | 1 << 18);
	assert_int_equal(who(f, 0x41), 0x1);
	icr(c, 0, 0x41 | 2 << 18);
	assert_int_equal(who(f, 0x41), 0xf);
	icr(c, 0, 0x41 | 3 << 18);
	assert_int_equal(who(f, 0x41), 0xe);
	/* Two APICs with one id. */
	wr(f->cpu[3], ID, 2u << 24);
	icr(c, 2, 0x41);
	assert_int_equal(who(f, 0x41), 0xc);
	/* Flat logical. */
	for (unsigned int k = 0; k < NR_CPUS; k++)
		wr(f->cpu[k], LDR, 1u << (24 + k));
	icr(c, 0x0b, 0x41 | 1 << 11);
	assert_int_equal(who(f, 0x41), 0xb);
	/* Cluster. */
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		wr(f->cpu[k], DFR, 0x0fffffff);
		wr(f->cpu[k], LDR, (k / 2u << 28) | (1u << (k % 2u + 24)));
	}
	icr(c, 0x13, 0x41 | 1 << 11);
	assert_int_equal(who(f, 0x41), 0xc);
	icr(c, 0x02, 0x41 | 1 << 11);
	assert_int_equal(who(f, 0x41), 0x2);
	/* Software-disabled APICs take no fixed interrupts. */
	wr(f->cpu[1], SVR, 0xff);
	icr(c, 0xff, 0x41);
	assert_int_equal(who(f, 0x41), 0xd);
	assert_int_equal(c->stats.ipis, 11);
}

static void test_x2_destinations(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	for (unsigned int k = 0; k < NR_CPUS; k++)
		enable_x2(f->cpu[k]);
	assert_int_equal(msr(c, ICR, UINT64_C(0xffffffff) << 32 | 0x41), 0);
	assert_int_equal(who(f, 0x41), 0xf);
	assert_int_equal(msr(c, ICR, UINT64_C(0xff) << 32 | 0x41), 0);
	assert_int_equal(who(f, 0x41), 0);
	assert_int_equal(msr(c, ICR, UINT64_C(0xd) << 32 | 1 << 11 | 0x41), 0);
	assert_int_equal(who(f, 0x41), 0xd);
	assert_int_equal(msr(c, ICR, UINT64_C(0x1000d) << 32 | 1 << 11 | 0x41), 0);
	assert_int_equal(who(f, 0x41), 0);
	/* Messages of devices have 8 bits. */
	assert_int_equal(cpu_group_msi(&f->grp, 0xfee0d004, 0x86), 3);
	assert_int_equal(who(f, 0x86), 0xd);
	assert_int_equal(cpu_group_msi(&f->grp, 0xfeeff000, 0x86), 4);
	assert_int_equal(who(f, 0x86), 0xf);
	assert_int_equal(cpu_group_msi(&f->grp, 0xfee01000, 0x86 | 1 << 15 | 1 << 14), 1);
	assert_true(f->cpu[1]->st.apic.tmr[4] >> 6 & 1);
	assert_int_equal(who(f, 0x86), 0x2);
	assert_int_equal(cpu_group_msi(&f->grp, 0xfed01000, 0x86), 0);
	assert_int_equal(cpu_group_msi(&f->grp, 0xfee01000, 0x686), 0); /* no SIPI from devices */
}

static void test_lowest_priority(void **state)
{
	struct apics *f = *state;
	unsigned int seen = 0;

	enable_all(f);
	apic_set_cr8(f->cpu[0], 2);
	apic_set_cr8(f->cpu[2], 2);
	wr(f->cpu[3], SVR, 0xff);
	for (unsigned int v = 0x60; v < 0x70; v++) {
		unsigned int w;

		assert_int_equal(cpu_group_msi(&f->grp, 0xfeeff000, 1 << 8 | v), 1);
		w = who(f, v);
		assert_int_equal(w & (w - 1), 0);
		seen |= w;
	}
	assert_int_equal(seen, 0x2);
	apic_set_cr8(f->cpu[0], 0);
	for (unsigned int v = 0x60; v < 0x70; v++) {
		assert_int_equal(cpu_group_msi(&f->grp, 0xfeeff00c, v), 1); /* by the hint */
		seen |= who(f, v);
	}
	assert_int_equal(seen, 0x3);
	for (unsigned int k = 0; k < NR_CPUS; k++)
		wr(f->cpu[k], SVR, 0xff);
	assert_int_equal(cpu_group_msi(&f->grp, 0xfeeff000, 1 << 8 | 0x60), 0);
}

static void test_events(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0], *ap = f->cpu[1];

	/* INIT and start-up reach software-disabled APICs. */
	icr(c, 1, 0x4500); /* INIT, assert */
	assert_true(ap->st.ev.init_pending);
	assert_true(atomic_load(&ap->hot.pending) & CPU_PEND_EVENT);
	ap->st.ev.init_pending = false;
	icr(c, 1, 0x8500); /* level de-assert does nothing */
	assert_false(ap->st.ev.init_pending);
	icr(c, 1, 0x4699);
	assert_true(ap->st.ev.sipi_pending);
	assert_int_equal(ap->st.ev.sipi_vector, 0x99);
	ap->st.ev.sipi_pending = false;
	ap->st.ev.mp_state = CPU_MP_RUNNING;
	icr(c, 1, 0x4698); /* the second one */
	assert_false(ap->st.ev.sipi_pending);

	/* NMIs: two before the first is served, one behind it afterwards. */
	for (int k = 0; k < 3; k++)
		icr(c, 1, 0x4400);
	assert_int_equal(ap->st.ev.nmi_pending, 2);
	ap->st.ev.nmi_pending = 0;
	ap->st.ev.nmi_masked = true;
	for (int k = 0; k < 3; k++)
		apic_nmi(ap);
	assert_int_equal(ap->st.ev.nmi_pending, 1);
	icr(c, 1, 0x4200);
	assert_true(ap->st.ev.smi_pending);
	icr(c, 0, 0x4500 | 3 << 18);
	assert_false(c->st.ev.init_pending);
	assert_true(f->cpu[3]->st.ev.init_pending);
	icr(c, 0, 0x4500 | 1 << 18); /* INIT to oneself is not a thing */
	assert_false(c->st.ev.init_pending);
	icr(c, 0, 0x300); /* reserved */

	/* The NMI button is LINT1's. */
	cpu_group_nmi(&f->grp);
	assert_int_equal(c->st.ev.nmi_pending, 0);
	enable_all(f);
	wr(c, LVT1, 0x400);
	cpu_group_nmi(&f->grp);
	assert_int_equal(c->st.ev.nmi_pending, 1);
	/* A switched-off APIC hears nothing. */
	assert_int_equal(apic_msr_write(f->cpu[2], MSR_BASE, APIC_BASE_DEFAULT), 0);
	icr(c, 2, 0x4500);
	icr(c, 0, 0x4400 | 3 << 18);
	assert_int_equal(f->cpu[2]->st.ev.nmi_pending, 0);
}

static void test_errors(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	wr(c, LVTERR, 0xfe);
	(void)rd(c, 0x40);
	assert_int_equal(rd(c, ESR), 0); /* shown after a write */
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0x80);
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0);
	assert_int_equal(apic_accept(c), 0xfe);
	wr(c, EOI, 0);
	icr(c, 1, 0x0f);
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0x20);
	apic_set_irq(c, 3, false);
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0x40);
	wr(c, LVTERR, 2); /* an error that cannot be told */
	wr(c, SELF, 1);
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0x80);
	/* Read-only registers and odd accesses are no errors. */
	wr(c, VERSION, 1);
	wr(c, ISR, 1);
	apic_mmio_write(c, TPR, 1, 0x20);
	apic_mmio_write(c, TPR + 4, 4, 0x20);
	assert_int_equal(rd(c, TPR), 0);
	assert_int_equal(apic_mmio_read(c, VERSION + 2, 1), 5);
	assert_int_equal(apic_mmio_read(c, VERSION + 4, 4), 0);
	wr(c, ESR, 0);
	assert_int_equal(rd(c, ESR), 0);
}

#define TICK_NS (NS_PER_S / APIC_TIMER_HZ)

static void ticks(struct apics *f, uint64_t n)
{
	pass(f, n * TICK_NS);
}

static void test_one_shot(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	wr(c, TDCR, 0xb);
	wr(c, LVTT, 0xee);
	wr(c, TMICT, 1000);
	assert_int_equal(rd(c, TMCCT), 1000);
	ticks(f, 400);
	assert_int_equal(rd(c, TMCCT), 600);
	assert_false(apic_has_interrupt(c));
	ticks(f, 599);
	assert_false(apic_has_interrupt(c));
	ticks(f, 1);
	assert_int_equal(apic_accept(c), 0xee);
	wr(c, EOI, 0);
	assert_int_equal(rd(c, TMCCT), 0);
	assert_int_equal(rd(c, TMICT), 1000);
	ticks(f, 10000);
	assert_false(apic_has_interrupt(c));
	/* Finished, then periodic: stays at 0. */
	wr(c, LVTT, PERIODIC | 0xee);
	assert_int_equal(rd(c, TMCCT), 0);
	/* Divided by 16; the divider may change on the way. */
	wr(c, LVTT, 0xee);
	wr(c, TDCR, 3);
	wr(c, TMICT, 100);
	ticks(f, 800);
	assert_int_equal(rd(c, TMCCT), 50);
	wr(c, TDCR, 0xb);
	assert_int_equal(rd(c, TMCCT), 50);
	ticks(f, 50);
	assert_int_equal(apic_accept(c), 0xee);
	wr(c, EOI, 0);
	/* Stopped by 0, silent when masked. */
	wr(c, TMICT, 100);
	wr(c, TMICT, 0);
	ticks(f, 1000);
	wr(c, LVTT, MASKED | 0xee);
	wr(c, TMICT, 100);
	ticks(f, 1000);
	assert_int_equal(rd(c, TMCCT), 0);
	assert_false(apic_has_interrupt(c));
	assert_int_equal(c->stats.apic_timer, 2);
	/* A count that reads 0 has its interrupt, however late the timer thread is. */
	wr(c, LVTT, 0xee);
	wr(c, TMICT, 100);
	clock_fake_advance(&f->clock, 100 * TICK_NS);
	assert_int_equal(rd(c, TMCCT), 0);
	assert_true(apic_has_interrupt(c));
}

static void test_periodic(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];

	enable_all(f);
	wr(c, TDCR, 0xb);
	wr(c, LVTT, PERIODIC | 0xee);
	wr(c, TMICT, 100000);
	for (int k = 0; k < 5; k++) {
		ticks(f, 100000);
		assert_int_equal(apic_accept(c), 0xee);
		wr(c, EOI, 0);
	}
	ticks(f, 30000);
	assert_int_equal(rd(c, TMCCT), 70000);
	/* To one-shot: goes on from there. */
	wr(c, LVTT, 0xee);
	assert_int_equal(rd(c, TMCCT), 70000);
	ticks(f, 70000);
	assert_int_equal(rd(c, TMCCT), 0);
	assert_int_equal(apic_accept(c), 0xee);
	wr(c, EOI, 0);
	/* From one-shot in the middle to periodic. */
	wr(c, TMICT, 100000);
	ticks(f, 60000);
	wr(c, LVTT, PERIODIC | 0xee);
	assert_int_equal(rd(c, TMCCT), 40000);
	ticks(f, 50000);
	assert_int_equal(rd(c, TMCCT), 90000);
	/* Very short periods do not spin the timer thread: the clock moves on between runs. */
	wr(c, TMICT, 1);
	c->stats.apic_timer = 0;
	pass(f, NS_PER_MS);
	assert_in_range(c->stats.apic_timer, 1, 60);
	/* After a long sleep there is one interrupt. */
	wr(c, TMICT, 100000);
	wr(c, EOI, 0);
	c->stats.apic_timer = 0;
	clock_fake_advance(&f->clock, NS_PER_S);
	timerq_run_due(&f->timers);
	assert_int_equal(c->stats.apic_timer, 1);
}

static void test_deadline(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];
	uint64_t v;

	enable_all(f);
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, 12345), 0);
	assert_int_equal(apic_msr_read(c, MSR_DEADLINE, &v), 0);
	assert_true(v == 0); /* ignored in other modes */
	wr(c, LVTT, DEADLINE | 0xef);
	wr(c, TMICT, 1000);
	assert_int_equal(rd(c, TMICT), 0);
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, cpu_read_tsc(c)), 0);
	assert_int_equal(apic_accept(c), 0xef); /* at once */
	wr(c, EOI, 0);
	assert_int_equal(apic_msr_read(c, MSR_DEADLINE, &v), 0);
	assert_true(v == 0);
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, cpu_read_tsc(c) + 5000), 0);
	pass(f, 4999);
	assert_false(apic_has_interrupt(c));
	pass(f, 2);
	assert_int_equal(apic_accept(c), 0xef);
	wr(c, EOI, 0);
	/* The TSC moves under it. */
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, cpu_read_tsc(c) + 5000), 0);
	c->st.tsc_offset = 4000;
	apic_tsc_changed(c);
	pass(f, 1001);
	assert_int_equal(apic_accept(c), 0xef);
	wr(c, EOI, 0);
	/* Cancelled; far away; mode changed. */
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, cpu_read_tsc(c) + 5000), 0);
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, 0), 0);
	pass(f, 10000);
	assert_int_equal(apic_msr_write(c, MSR_DEADLINE, UINT64_MAX), 0);
	pass(f, 10000);
	wr(c, LVTT, 0xef);
	assert_int_equal(apic_msr_read(c, MSR_DEADLINE, &v), 0);
	assert_true(v == 0);
	assert_false(apic_has_interrupt(c));
	/* INIT stops everything. */
	wr(c, TMICT, 1000);
	apic_reset(c, true);
	ticks(f, 10000);
	assert_int_equal(rd(c, TMICT), 0);
	assert_false(apic_has_interrupt(c));
	/* A state that comes from elsewhere goes on counting. */
	wr(c, SVR, 0x1ff);
	c->st.apic.lvt_timer = 0xef;
	c->st.apic.timer_initial = 1000;
	c->st.apic.timer_divide = 0xb;
	c->st.apic.timer_start_ns = cpu_group_now(&f->grp) - 500 * TICK_NS;
	apic_state_loaded(c);
	ticks(f, 500);
	assert_int_equal(apic_accept(c), 0xef);
}

/* --- ends of interrupts by memory ------------------------------------------------------------------ */

enum { PV_GPA = 0x5000, PV_AT = 0x234 };
static uint8_t pv_page[GUEST_PAGE_SIZE];
static _Atomic uint8_t pv_flags[1];
static unsigned int pv_written;

static void on_written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
		       uint8_t flags)
{
	assert_int_equal(off, PV_AT);
	pv_written++;
}

static void pv_memory(struct apics *f)
{
	static struct physmem mem;

	mem = (struct physmem){
		.nr = 1,
		.region = { { .gpa = PV_GPA,
			      .size = GUEST_PAGE_SIZE,
			      .hva = pv_page,
			      .page_flags = pv_flags } },
		.written = on_written,
	};
	memset(pv_page, 0, sizeof(pv_page));
	pv_flags[0] = PAGE_F_LOG;
	pv_written = 0;
	f->grp.mem = &mem;
}

static void take(struct cpu *c, uint8_t vector)
{
	assert_true(apic_has_interrupt(c));
	assert_int_equal(apic_accept(c), vector);
}

static void test_pv_eoi(void **state)
{
	struct apics *f = *state;
	struct cpu *c = f->cpu[0];
	uint8_t *bit0 = &pv_page[PV_AT];
	uint64_t v;

	pv_memory(f);
	enable_all(f);
	/* Not asked for: nothing is offered. */
	apic_set_irq(c, 0x41, false);
	take(c, 0x41);
	assert_int_equal(*bit0, 0);
	wr(c, EOI, 0);
	assert_int_equal(pv_msr_write(c, PV_MSR_EOI, (PV_GPA + PV_AT) | 3), -EINVAL);
	assert_int_equal(pv_msr_write(c, PV_MSR_EOI, (PV_GPA + PV_AT) | 1), 0);
	assert_int_equal(pv_msr_read(c, PV_MSR_EOI, &v), 0);
	assert_int_equal(v, (PV_GPA + PV_AT) | 1);

	/* The guest ends it by memory; the next interrupt, of the same priority, finds out. */
	*bit0 = 0x80;
	apic_set_irq(c, 0x41, false);
	take(c, 0x41);
	assert_int_equal(*bit0, 0x81);
	assert_int_equal(pv_written, 1);
	*bit0 = 0x80;
	apic_set_irq(c, 0x42, false);
	take(c, 0x42);
	assert_int_equal(c->stats.pv_eois, 1);
	assert_int_equal(f->nr_eoi, 0);

	/* One that comes before the end: the offer is taken back, and the guest's own EOI is heard. */
	assert_int_equal(*bit0, 0x81);
	apic_set_irq(c, 0x43, false);
	assert_false(apic_has_interrupt(c));
	assert_int_equal(*bit0, 0x80);
	atomic_store(&c->hot.pending, 0);
	wr(c, EOI, 0);
	assert_true(atomic_load(&c->hot.pending) & CPU_PEND_INTR);
	take(c, 0x43);
	assert_int_equal(c->stats.pv_eois, 1);

	/* Nested: with two in service only real ends count. */
	assert_int_equal(*bit0, 0x81);
	apic_set_irq(c, 0x93, false);
	take(c, 0x93);
	assert_int_equal(*bit0, 0x80);
	wr(c, EOI, 0);
	assert_true(bit(c, ISR, 0x43));
	assert_false(bit(c, ISR, 0x93));
	wr(c, EOI, 0);
	assert_false(bit(c, ISR, 0x43));

	/* A level-triggered one is never offered: the I/O APIC must hear of its end. */
	apic_set_irq(c, 0x51, true);
	take(c, 0x51);
	assert_int_equal(*bit0, 0x80);
	wr(c, EOI, 0);
	assert_int_equal(f->last_eoi, 0x51);
	/* Neither is one behind which another waits. */
	apic_set_irq(c, 0x61, false);
	apic_set_irq(c, 0x62, false);
	take(c, 0x62);
	assert_int_equal(*bit0, 0x80);
	wr(c, EOI, 0);
	take(c, 0x61);
	assert_int_equal(*bit0, 0x81);

	/* A look at the in-service register, and a look at the whole state, are exact. */
	assert_true(bit(c, ISR, 0x61));
	assert_int_equal(*bit0, 0x80); /* taken back */
	wr(c, EOI, 0);
	apic_set_irq(c, 0x61, false);
	take(c, 0x61);
	*bit0 = 0x80;
	assert_false(bit(c, ISR, 0x61));
	assert_int_equal(c->stats.pv_eois, 2);

	/* Switched off while one is offered; an address that is not RAM. */
	apic_set_irq(c, 0x61, false);
	take(c, 0x61);
	assert_int_equal(pv_msr_write(c, PV_MSR_EOI, 0), 0);
	assert_int_equal(*bit0, 0x80);
	assert_true(bit(c, ISR, 0x61));
	wr(c, EOI, 0);
	assert_int_equal(pv_msr_write(c, PV_MSR_EOI, 0x100000001), 0);
	apic_set_irq(c, 0x61, false);
	take(c, 0x61);
	assert_false(c->st.pv_eoi_offered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level_eoi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_base, setup, teardown),
		cmocka_unit_test_setup_teardown(test_x2_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destinations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_x2_destinations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lowest_priority, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_shot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_periodic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pv_eoi, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
