// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What happens between two instructions, in the order that the architecture gives it: traps of the last
 * instruction, NMI, external interrupts, breakpoints on the next instruction; and sleeping in HLT.
 *
 * Interrupts are looked for when somebody says so (c->hot.pending). When one is there but IF or a shadow
 * forbids it, `intr_waiting` remembers, and whatever lifts the ban sets DUE_CHECK. So code that runs with
 * interrupts off pays nothing, and STI costs a test.
 * Source: Intel SDM volume 3, 6.9 (priority among concurrent events), 6.8 (shadows), 18.3 (debug).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cpu/apic.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/fpu.h"
#include "cpu/interp/vcpu_sys.h"
#include "cpu/pv/pv.h"

#define DR6_B  UINT64_C(0xf)
#define DR6_BS (UINT64_C(1) << 14)
#define DR7_GD (UINT64_C(1) << 13)

int interp_sys_init(struct cpu *c, struct err *err)
{
	c->sys = mem_new(sizeof(*c->sys));
	if (tlb_init(c) < 0)
		return err_set(err, -ENOMEM, "no memory for the TLB");
	return 0;
}

void interp_sys_done(struct cpu *c)
{
	if (!c->sys)
		return;
	tlb_done(c);
	free(c->sys);
	c->sys = NULL;
}

void interp_sys_loaded(struct cpu *c)
{
	struct interp_sys *s = c->sys;

	s->delivering = s->ext = false;
	s->trap_dr6 = 0;
	s->debug_hit = false;
	s->intr_waiting = s->nmi_waiting = true;
	c->cur = NULL;
	fpu_update_es(&c->st.fpu); /* a state from outside may contradict itself */
	c->stats.tlb_flushes_state++;
	tlb_flush_all(c);
	tlb_load_cr3(c, c->st.cr4 & CR4_PCIDE ? c->st.cr3 & 0xfff : 0, false);
	interp_mode_changed(c);
	watch_update(c);
	c->hot.due |= DUE_EVENT | DUE_CHECK;
}

void event_mp_state(struct cpu *c, enum cpu_mp_state state)
{
	if (c->st.ev.mp_state == state)
		return;
	pthread_mutex_lock(&c->apic_lock);
	c->st.ev.mp_state = (uint8_t)state;
	pthread_mutex_unlock(&c->apic_lock);
}

void event_recompute(struct cpu *c)
{
	const struct cpu_events *ev = &c->st.ev;
	bool step = (c->st.rflags & (RFLAGS_TF | RFLAGS_RF)) || ev->sti_shadow ||
		    ev->movss_shadow || c->sys->code_breaks || c->debug.single_step;

	for (unsigned int k = 0; k < c->debug.nr_breaks && !step; k++)
		step = c->debug.breaks[k].exec;
	c->hot.due = step ? c->hot.due | DUE_STEP : c->hot.due & ~(uint32_t)DUE_STEP;
	interp_leave(c);
}

void event_debug_regs_written(struct cpu *c)
{
	watch_update(c);
}

void event_if_set(struct cpu *c)
{
	if (c->sys->intr_waiting) {
		c->hot.due |= DUE_CHECK;
		interp_leave(c);
	}
}

/*
 * A shadow matters only when an event could be taken in it. Events are looked for at the ends of blocks,
 * so inside a block the next instruction runs undisturbed anyway.
 */
static bool shadow_matters(const struct cpu *c)
{
	return (c->hot.due & DUE_STEP) || c->sys->intr_waiting || c->sys->nmi_waiting || !c->cur ||
	       !c->end || c->cur + 1 >= c->end;
}

void event_sti(struct cpu *c)
{
	if (!shadow_matters(c))
		return;
	c->st.ev.sti_shadow = true;
	c->hot.due |= DUE_CHECK;
	event_recompute(c);
}

void event_mov_ss(struct cpu *c)
{
	if (!shadow_matters(c) && !c->sys->watch)
		return;
	c->st.ev.movss_shadow = true;
	c->hot.due |= DUE_CHECK;
	event_recompute(c);
}

void event_halt(struct cpu *c)
{
	event_mp_state(c, CPU_MP_HALTED);
	c->hot.due |= DUE_EVENT;
	interp_leave(c);
}

void event_tf_now(struct cpu *c)
{
	c->sys->step_tf = c->st.rflags & RFLAGS_TF;
	event_recompute(c);
	/* Not in step mode before: the loop will not look at the end of this instruction. */
	if (c->sys->step_tf && !c->sys->stepping)
		event_trap_db(c, DR6_BS);
}

void event_rf_loaded(struct cpu *c)
{
	c->sys->rf_loaded = true;
}

/* A #DB to be delivered before the next instruction. */
static void record_db(struct cpu *c, uint64_t dr6)
{
	struct cpu_events *ev = &c->st.ev;

	ev->exc_pending = true;
	ev->exc_vector = VEC_DB;
	ev->exc_has_error = false;
	ev->exc_error = 0;
	ev->exc_dr6 = dr6;
	c->hot.due |= DUE_EVENT;
}

void event_trap_db(struct cpu *c, uint64_t dr6)
{
	c->sys->trap_dr6 |= dr6;
	c->hot.due |= DUE_EVENT;
	interp_leave(c);
}

void event_raise_db(struct cpu *c, uint64_t dr6)
{
	if (c->cur)
		c->st.rip -= c->cur->len;
	c->cur = NULL;
	c->sys->trap_dr6 = 0;
	record_db(c, dr6);
	longjmp(c->fault_jmp, 1);
}

void event_step_begin(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	struct interp_sys *s = c->sys;

	s->stepping = true;
	s->step_tf = c->st.rflags & RFLAGS_TF;
	s->step_rf = c->st.rflags & RFLAGS_RF;
	s->rf_loaded = false;
	ev->sti_shadow = ev->movss_shadow = false;
}

void event_step_end(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	struct interp_sys *s = c->sys;

	s->stepping = false;
	if (s->step_rf && !s->rf_loaded)
		c->st.rflags &= ~(uint64_t)RFLAGS_RF;
	if (s->step_tf && !ev->movss_shadow)
		s->trap_dr6 |= DR6_BS;
	if (s->trap_dr6 && !ev->movss_shadow) {
		record_db(c, s->trap_dr6);
		s->trap_dr6 = 0;
	}
	if (c->debug.single_step) {
		s->debug_hit = true;
		c->hot.due |= DUE_EVENT;
	}
	event_recompute(c);
	if (s->intr_waiting || s->nmi_waiting)
		c->hot.due |= DUE_CHECK;
}

void event_rep_interrupted(struct cpu *c)
{
	if (!c->sys->code_breaks)
		return;
	c->st.rflags |= RFLAGS_RF;
	c->sys->rf_loaded = true; /* it outlives this step */
}

void cpu_set_rflags(struct cpu *c, uint64_t value, uint64_t mask)
{
	uint64_t old = c->st.rflags, now = (old & ~mask) | (value & mask) | RFLAGS_FIXED1;
	uint64_t changed = old ^ now;

	c->st.rflags = now;
	if (likely(!(changed & (RFLAGS_IF | RFLAGS_TF | RFLAGS_RF | RFLAGS_AC | RFLAGS_VM))))
		return;
	if (changed & RFLAGS_VM)
		interp_mode_changed(c);
	else if (changed & RFLAGS_AC)
		tlb_select(c);
	if (changed & (RFLAGS_TF | RFLAGS_RF))
		event_recompute(c);
	if (changed & now & RFLAGS_IF)
		event_if_set(c);
}

/* What an exception does beside entering its handler; returns whether it is a fault, which sets RF in
 * the flags it pushes (not so a #DB: the handler decides whether to meet the breakpoint again). */
static bool exception_begins(struct cpu *c, unsigned int vector, uint64_t dr6)
{
	switch (vector) {
	case VEC_DE:
		c->stats.exc_de++;
		return true;
	case VEC_DB:
		c->stats.exc_db++;
		c->st.dr6 = (c->st.dr6 & ~DR6_B) | dr6;
		c->st.dr7 &= ~DR7_GD;
		return false;
	case VEC_UD:
		c->stats.exc_ud++;
		return true;
	case VEC_NM:
		c->stats.exc_nm++;
		return true;
	case VEC_GP:
		c->stats.exc_gp++;
		return true;
	case VEC_PF:
		c->stats.exc_pf++;
		return true;
	default:
		c->stats.exc_other++;
		return vector != VEC_DF && vector != VEC_MC;
	}
}

static void delivered(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;

	c->sys->delivering = c->sys->ext = false;
	ev->sti_shadow = ev->movss_shadow = false;
	event_mp_state(c, CPU_MP_RUNNING);
	if (c->debug.single_step) {
		c->sys->debug_hit = true;
		c->hot.due |= DUE_EVENT;
	}
	event_recompute(c);
}

static void deliver_exception(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	unsigned int vector = ev->exc_vector;

	ev->exc_pending = false;
	if (exception_begins(c, vector, ev->exc_dr6))
		c->st.rflags |= RFLAGS_RF;
	c->sys->delivering = true;
	c->sys->deliver_class = (uint8_t)exc_class_of(vector);
	c->sys->ext = true;
	deliver(c, vector, EVENT_EXCEPTION, ev->exc_has_error, ev->exc_error);
	delivered(c);
}

static void deliver_interrupt(struct cpu *c, unsigned int vector)
{
	code_serialize(c); /* it may tell of new code */
	c->sys->delivering = true;
	c->sys->deliver_class = EXC_BENIGN;
	c->sys->ext = true;
	event_mp_state(c, CPU_MP_RUNNING);
	deliver(c, vector, EVENT_EXTERNAL, false, 0);
	delivered(c);
}

void event_inject(struct cpu *c, unsigned int vector)
{
	deliver_interrupt(c, vector);
}

/* May INT n in V86 mode go to the program's own handler? Raises #GP. SDM volume 3, 20.3. */
static bool v86_redirects(struct cpu *c, unsigned int vector)
{
	bool iopl3 = (c->st.rflags & RFLAGS_IOPL) == RFLAGS_IOPL;

	if (c->st.cr4 & CR4_VME) {
		uint64_t map, byte;

		if (c->st.tr.limit < 103)
			cpu_raise_err(c, VEC_GP, 0);
		map = sys_ld(c, c->st.tr.base + 102, 2);
		byte = map - 32 + vector / 8;
		if (map < 32 || byte > c->st.tr.limit)
			cpu_raise_err(c, VEC_GP, 0);
		if (!(sys_ld(c, c->st.tr.base + byte, 1) >> (vector % 8) & 1))
			return true;
	}
	if (!iopl3)
		cpu_raise_err(c, VEC_GP, 0);
	return false;
}

void cpu_soft_int(struct cpu *c, unsigned int vector, enum soft_int_kind kind)
{
	struct interp_sys *s = c->sys;

	if (kind == SOFT_INT_3 && vector == VEC_BP)
		c->stats.exc_bp++;
	else
		c->stats.soft_ints++;
	s->ext = kind == SOFT_INT_1;
	if (kind == SOFT_INT_N && (c->st.rflags & RFLAGS_VM) && v86_redirects(c, vector)) {
		deliver_v86_redirected(c, vector);
		interp_mode_changed(c);
	} else {
		deliver(c, vector,
			kind == SOFT_INT_N   ? EVENT_SOFT
			: kind == SOFT_INT_3 ? EVENT_SOFT_EXC
					     : EVENT_EXCEPTION,
			false, 0);
	}
	s->ext = false;
	s->step_tf = false; /* the handler starts with TF clear and is not stepped into */
	if (kind == SOFT_INT_1) {
		/* A breakpoint that MOV SS held back is reported by this #DB. */
		if (s->trap_dr6)
			c->st.dr6 = (c->st.dr6 & ~DR6_B) | s->trap_dr6;
		c->st.dr7 &= ~DR7_GD;
		s->trap_dr6 = 0;
	}
	event_recompute(c);
}

/* INIT and SIPI. Returns true when the CPU was reset or started. */
static bool take_init_sipi(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	bool has_init, has_sipi;
	uint8_t vector;

	pthread_mutex_lock(&c->apic_lock);
	has_init = ev->init_pending;
	has_sipi = !has_init && ev->sipi_pending && ev->mp_state == CPU_MP_WAIT_SIPI;
	vector = ev->sipi_vector;
	if (!has_init)
		ev->sipi_pending = false;
	ev->smi_pending = false; /* there is no SMM */
	pthread_mutex_unlock(&c->apic_lock);
	if (has_init) {
		cpu_reset(c, true);
		c->engine->state_loaded(c);
		cpu_wake(c, CPU_PEND_EVENT); /* a SIPI may be waiting behind it */
	} else if (has_sipi) {
		c->st.seg[CPU_CS].sel = (uint16_t)(vector << 8);
		c->st.seg[CPU_CS].base = (uint64_t)vector << 12;
		c->st.rip = 0;
		event_mp_state(c, CPU_MP_RUNNING);
		interp_mode_changed(c);
	}
	return has_init || has_sipi;
}

static bool take_nmi(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	bool taken = false;

	if (ev->nmi_masked || ev->sti_shadow || ev->movss_shadow ||
	    ev->mp_state == CPU_MP_WAIT_SIPI)
		return false;
	pthread_mutex_lock(&c->apic_lock);
	if (ev->nmi_pending) {
		ev->nmi_pending--;
		ev->nmi_masked = true;
		taken = true;
	}
	c->sys->nmi_waiting = ev->nmi_pending;
	pthread_mutex_unlock(&c->apic_lock);
	if (taken) {
		c->stats.nmis++;
		deliver_interrupt(c, VEC_NMI);
	}
	return taken;
}

static bool take_interrupt(struct cpu *c)
{
	struct cpu_events *ev = &c->st.ev;
	int vector;

	if (!(c->st.rflags & RFLAGS_IF) || ev->sti_shadow || ev->movss_shadow ||
	    ev->mp_state == CPU_MP_WAIT_SIPI)
		return false;
	if (!apic_has_interrupt(c)) {
		c->sys->intr_waiting = false;
		return false;
	}
	vector = apic_accept(c);
	if (vector < 0)
		return true; /* gone meanwhile: look again */
	c->stats.interrupts++;
	pv_tell_steal(c);
	deliver_interrupt(c, (unsigned int)vector);
	return true;
}

/* Breakpoints on the next instruction. Returns true when the guest's debug handler must run first. */
static bool code_breakpoint(struct cpu *c, bool *ret_stop)
{
	struct interp_sys *s = c->sys;
	uint64_t lin = c->mode == CPU_MODE_64 ? c->st.rip
					      : (uint32_t)(c->st.seg[CPU_CS].base + c->st.rip);

	for (unsigned int k = 0; k < c->debug.nr_breaks; k++) {
		if (!c->debug.breaks[k].exec || c->debug.breaks[k].addr != lin)
			continue;
		if (s->debug_skip && s->debug_rip == lin)
			break;
		s->debug_skip = true;
		s->debug_rip = lin;
		*ret_stop = true;
		return false;
	}
	s->debug_skip = false;
	/* AMD: the shadow of MOV SS does not hold back instruction breakpoints. */
	if (s->code_breaks && !(c->st.rflags & RFLAGS_RF)) {
		uint64_t dr6 = watch_exec(c, lin);

		if (dr6) {
			/* With what MOV SS held back: both are told at once. */
			record_db(c, dr6 | s->trap_dr6);
			s->trap_dr6 = 0;
			return true;
		}
	}
	return false;
}

/* Requests of other threads that have nothing to do with the guest. Returns false to leave cpu_run(). */
static bool serve_requests(struct cpu *c, uint32_t pending)
{
	if (pending & CPU_PEND_STOP)
		exclusive_yield(c);
	if (pending & CPU_PEND_WRITES)
		code_sync(c);
	if (pending & CPU_PEND_EPOCH) /* the run loop sees the new epoch by itself */
		atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_EPOCH);
	if (pending & CPU_PEND_FLUSH) {
		atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_FLUSH);
		c->stats.tlb_flushes_state++;
		tlb_flush_all(c);
		c->engine->flush(c);
	}
	if (pending & CPU_PEND_KICK) {
		atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_KICK);
		return false;
	}
	return true;
}

static void sleep_outside(struct cpu *c)
{
	pv_sleeps(c);
	exclusive_leave(c);
	cpu_sleep(c);
	exclusive_enter(c);
	if (pv_awake(c)) {
		c->stats.tlb_flushes_pv++;
		tlb_flush_all(c);
	}
}

bool event_deliver_pending(struct cpu *c, enum cpu_exit *ret_exit, struct err *err)
{
	struct cpu_events *ev = &c->st.ev;
	struct interp_sys *s = c->sys;

	c->cur = NULL;
	for (;;) {
		uint32_t pending = atomic_load(&c->hot.pending);
		bool stop = false;

		c->hot.due &= DUE_STEP;
		if (s->trap_dr6 && !ev->movss_shadow) {
			record_db(c, s->trap_dr6);
			s->trap_dr6 = 0;
		}
		if (s->debug_hit) {
			s->debug_hit = false;
			c->hot.due |= DUE_EVENT;
			*ret_exit = CPU_EXIT_DEBUG;
			return false;
		}
		if (pending && !serve_requests(c, pending)) {
			c->hot.due |= DUE_EVENT | DUE_CHECK;
			*ret_exit = CPU_EXIT_KICKED;
			return false;
		}
		if (pending & (CPU_PEND_INTR | CPU_PEND_EVENT)) {
			atomic_fetch_and(&c->hot.pending,
					 ~(pending & (CPU_PEND_INTR | CPU_PEND_EVENT)));
			s->intr_waiting |= pending & CPU_PEND_INTR;
			s->nmi_waiting |= pending & CPU_PEND_EVENT;
			if ((pending & CPU_PEND_EVENT) && take_init_sipi(c))
				continue;
		}
		if (ev->mp_state == CPU_MP_SHUTDOWN) {
			*ret_exit = CPU_EXIT_SHUTDOWN;
			err_set(err, -EFAULT, "vCPU %u: triple fault at 0x%llx", c->index,
				(unsigned long long)c->st.rip);
			c->hot.due |= DUE_EVENT;
			return false;
		}
		if (ev->exc_pending) {
			deliver_exception(c);
			continue;
		}
		if ((s->nmi_waiting && take_nmi(c)) || (s->intr_waiting && take_interrupt(c)))
			continue;
		if (ev->mp_state != CPU_MP_RUNNING) {
			hold_idle(c);
			sleep_outside(c);
			continue;
		}
		if (unlikely(hold_keeps(c))) {
			sleep_outside(c);
			continue;
		}
		if ((c->hot.due & DUE_STEP) && code_breakpoint(c, &stop))
			continue;
		if (stop) {
			*ret_exit = CPU_EXIT_DEBUG;
			return false;
		}
		c->hot.due &= DUE_STEP;
		return true;
	}
}
