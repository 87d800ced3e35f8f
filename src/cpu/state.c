// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Architectural state as a whole: the power-on values, taking it out and putting it in, and the check
 * that a state from outside (a snapshot, a migration peer, a debugger) is one that a CPU can be in.
 * Power-on values: Intel SDM volume 3, table 9-1.
 */
#include "cpu/state.h"

#include <errno.h>
#include <string.h>

#include "cpu/apic.h"
#include "cpu/cpu_priv.h"
#include "cpu/pv/pv.h"

enum { RESET_FCW = 0x40, INIT_MXCSR = 0x1f80, CPUID_SIGNATURE_LEAF = 1 };
#define RESET_PAT		UINT64_C(0x0007040600070406)
#define RESET_DR6		UINT64_C(0xffff0ff0)
#define RESET_DR7		UINT64_C(0x400)
#define MISC_ENABLE_FAST_STRING UINT64_C(1)
#define HWCR_TSC_FREQ_SEL	(UINT64_C(1) << 24) /* AMD: the TSC counts at P0 frequency; reads as 1 */

static const struct cpu_seg reset_data = {
	.limit = 0xffff, .attr = SEG_P | SEG_S | SEG_TYPE_WR | SEG_TYPE_ACCESSED
};
static const struct cpu_seg reset_code = { .base = 0xffff0000,
					   .limit = 0xffff,
					   .sel = 0xf000,
					   .attr = SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_WR |
						   SEG_TYPE_ACCESSED };

static void reset_fpu(struct cpu_fpu *f)
{
	memset(f, 0, sizeof(*f));
	f->fcw = RESET_FCW;
	f->ftw = 0xff; /* every register is tagged as holding +0.0 */
	f->mxcsr = INIT_MXCSR;
	f->mxcsr_mask = 0xffff;
}

void cpu_reset(struct cpu *c, bool is_init)
{
	struct cpu_state *s = &c->st;
	struct cpu_state old;
	uint32_t signature[4];

	pthread_mutex_lock(&c->apic_lock); /* others may be delivering interrupts to us */
	old = *s;
	memset(s, 0, sizeof(*s));
	if (is_init) { /* INIT keeps these: SDM table 9-1, column INIT */
		s->fpu = old.fpu;
		s->xcr0 = old.xcr0;
		s->pkru = old.pkru;
		s->pat = old.pat;
		s->tsc_aux = old.tsc_aux;
		s->tsc_offset = old.tsc_offset;
		s->tsc_adjust = old.tsc_adjust;
		s->misc_enable = old.misc_enable;
		s->mtrr_def_type = old.mtrr_def_type;
		memcpy(s->mtrr_fixed, old.mtrr_fixed, sizeof(s->mtrr_fixed));
		memcpy(s->mtrr_var, old.mtrr_var, sizeof(s->mtrr_var));
		s->star = old.star;
		s->lstar = old.lstar;
		s->cstar = old.cstar;
		s->sfmask = old.sfmask;
		s->kernel_gs_base = old.kernel_gs_base;
		s->sysenter_cs = old.sysenter_cs;
		s->sysenter_esp = old.sysenter_esp;
		s->sysenter_eip = old.sysenter_eip;
		s->hwcr = old.hwcr;
		s->pv_wall_clock = old.pv_wall_clock;
		s->pv_system_time = old.pv_system_time;
		s->pv_poll_off = old.pv_poll_off;
		s->hv.guest_os_id = old.hv.guest_os_id;
		s->hv.hypercall = old.hv.hypercall;
		s->hv.reference_tsc = old.hv.reference_tsc;
		s->smbase = old.smbase;
		s->apic = old.apic;
		s->ev.extint = old.ev.extint;
		s->ev.sipi_pending = old.ev.sipi_pending;
		s->ev.sipi_vector = old.ev.sipi_vector;
	} else {
		reset_fpu(&s->fpu);
		s->xcr0 = 1;
		s->pat = RESET_PAT;
		s->misc_enable = MISC_ENABLE_FAST_STRING;
		s->hwcr = HWCR_TSC_FREQ_SEL;
		s->smbase = 0x30000;
	}
	s->cr0 = CR0_ET | (is_init ? old.cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	s->rip = 0xfff0;
	s->rflags = RFLAGS_FIXED1;
	for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
		s->seg[k] = reset_data;
	s->seg[CPU_CS] = reset_code;
	s->gdtr.limit = s->idtr.limit = 0xffff;
	s->ldtr = (struct cpu_seg){ .limit = 0xffff, .attr = SEG_P | 2 };
	s->tr = (struct cpu_seg){ .limit = 0xffff, .attr = SEG_P | 11 };
	cpuid_get(&c->grp->cpuid, CPUID_SIGNATURE_LEAF, 0, signature);
	s->gpr[CPU_RDX] = signature[0];
	s->dr6 = RESET_DR6;
	s->dr7 = RESET_DR7;
	s->ev.mp_state = c->index == 0 ? CPU_MP_RUNNING : CPU_MP_WAIT_SIPI;
	pthread_mutex_unlock(&c->apic_lock);
	apic_reset(c, is_init);
	pv_state_loaded(c);
	if (is_init)
		pv_tsc_changed(c);
}

void cpu_get_state(struct cpu *c, struct cpu_state *ret)
{
	if (c->engine->save)
		c->engine->save(c);
	apic_pv_sync(c); /* nobody else need know what was offered to the guest */
	pthread_mutex_lock(&c->apic_lock);
	*ret = c->st;
	pthread_mutex_unlock(&c->apic_lock);
}

void cpu_set_state(struct cpu *c, const struct cpu_state *state)
{
	pthread_mutex_lock(&c->apic_lock);
	c->st = *state;
	c->st.zero = 0;
	pthread_mutex_unlock(&c->apic_lock);
	apic_state_loaded(c);
	pv_state_loaded(c);
	c->engine->state_loaded(c);
	cpu_wake(c, CPU_PEND_INTR | CPU_PEND_EVENT);
}

static bool is_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

int cpu_state_check(const struct cpu_state *s, struct err *err)
{
	bool paging = s->cr0 & CR0_PG, lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;
	bool is_64 = lma && (s->seg[CPU_CS].attr & SEG_L);

	if (s->cr0 >> 32)
		return err_set(err, -EINVAL, "CR0 0x%llx: the upper half must be 0",
			       (unsigned long long)s->cr0);
	if (paging && !(s->cr0 & CR0_PE))
		return err_set(err, -EINVAL, "CR0 has PG without PE");
	if ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD))
		return err_set(err, -EINVAL, "CR0 has NW without CD");
	if (lma != (lme && paging))
		return err_set(err, -EINVAL, "EFER.LMA must equal EFER.LME and CR0.PG");
	if (lma && !(s->cr4 & CR4_PAE))
		return err_set(err, -EINVAL, "long mode without CR4.PAE");
	if ((s->cr4 & CR4_PCIDE) && !lma)
		return err_set(err, -EINVAL, "CR4.PCIDE outside long mode");
	if (is_64 && (s->seg[CPU_CS].attr & SEG_DB))
		return err_set(err, -EINVAL, "CS has both L and D");
	if (is_64 && (s->rflags & RFLAGS_VM))
		return err_set(err, -EINVAL, "RFLAGS.VM in long mode");
	if (is_64 ? !is_canonical(s->rip) : s->rip >> 32 != 0)
		return err_set(err, -EINVAL, "RIP 0x%llx is not an address of its mode",
			       (unsigned long long)s->rip);
	if (!is_canonical(s->seg[CPU_FS].base) || !is_canonical(s->seg[CPU_GS].base) ||
	    !is_canonical(s->gdtr.base) || !is_canonical(s->idtr.base) ||
	    !is_canonical(s->tr.base) || !is_canonical(s->ldtr.base))
		return err_set(err, -EINVAL, "a segment or table base is not canonical");
	if ((s->rflags & (RFLAGS_FIXED1 | 1 << 3 | 1 << 5 | 1 << 15)) != RFLAGS_FIXED1 ||
	    s->rflags >> 22)
		return err_set(err, -EINVAL, "RFLAGS 0x%llx has reserved bits wrong",
			       (unsigned long long)s->rflags);
	if (!(s->xcr0 & 1) || (s->xcr0 & ~(uint64_t)(XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU)) ||
	    (s->xcr0 & (XCR0_SSE | XCR0_AVX)) == XCR0_AVX)
		return err_set(err, -EINVAL, "XCR0 0x%llx is not a supported set of features",
			       (unsigned long long)s->xcr0);
	if (s->fpu.mxcsr & ~UINT32_C(0xffff))
		return err_set(err, -EINVAL, "MXCSR 0x%x has reserved bits", s->fpu.mxcsr);
	if (s->fpu.xcomp_bv || (s->fpu.xstate_bv & ~s->xcr0))
		return err_set(err, -EINVAL,
			       "the FPU image is compacted or has features beyond XCR0");
	if (s->pv_eoi & 2)
		return err_set(err, -EINVAL, "the PV EOI register has a reserved bit");
	if (s->pv_steal_time & 0x3e)
		return err_set(err, -EINVAL, "the steal time register has a reserved bit");
	if (s->ev.mp_state > CPU_MP_SHUTDOWN)
		return err_set(err, -EINVAL, "multiprocessor state %u is unknown", s->ev.mp_state);
	if (s->ev.exc_pending && s->ev.exc_vector > 31)
		return err_set(err, -EINVAL, "pending exception %u: from 0 to 31",
			       s->ev.exc_vector);
	return 0;
}

int cpu_fits(const struct cpu *c, const struct cpu_state *s, struct err *err)
{
	const struct cpu_cpuid *id = &c->grp->cpuid;

	if (s->cr4 & ~id->cr4_allowed)
		return err_set(err, -EINVAL, "CR4 0x%llx uses features that the CPU model lacks",
			       (unsigned long long)s->cr4);
	if (s->efer & ~id->efer_allowed)
		return err_set(err, -EINVAL, "EFER 0x%llx uses features that the CPU model lacks",
			       (unsigned long long)s->efer);
	if (s->xcr0 & ~id->xcr0_allowed)
		return err_set(err, -EINVAL, "XCR0 0x%llx uses features that the CPU model lacks",
			       (unsigned long long)s->xcr0);
	return 0;
}
