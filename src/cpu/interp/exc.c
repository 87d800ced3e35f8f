// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Raising faults. cpu_raise() takes the instruction back, records the exception in st.ev and jumps to
 * the run loop, which delivers it (events.c). A fault met while an earlier event is being delivered is
 * combined with it here: into a double fault, or into shutdown.
 * Source: Intel SDM volume 3, 6.13 (error code), 6.15 and tables 6-4, 6-5 (double fault).
 */
#include "cpu/dbt/run.h"
#include "cpu/interp/vcpu_sys.h"

enum exc_class exc_class_of(unsigned int vector)
{
	switch (vector) {
	case VEC_DE:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
		return EXC_CONTRIBUTORY;
	case VEC_PF:
		return EXC_PAGE;
	case VEC_DF:
		return EXC_DOUBLE;
	default:
		return EXC_BENIGN;
	}
}

static void record(struct cpu *c, unsigned int vector, bool has_error, uint32_t error)
{
	struct cpu_events *ev = &c->st.ev;
	struct interp_sys *s = c->sys;
	enum exc_class now = exc_class_of(vector), before = s->deliver_class;

	if (s->ext && now == EXC_CONTRIBUTORY)
		error |= 1;
	if (s->delivering && (now == EXC_CONTRIBUTORY || now == EXC_PAGE)) {
		if (before == EXC_DOUBLE) {
			event_mp_state(c, CPU_MP_SHUTDOWN);
			ev->exc_pending = false;
			c->hot.due |= DUE_EVENT;
			return;
		}
		if (before == EXC_PAGE || (before == EXC_CONTRIBUTORY && now == EXC_CONTRIBUTORY)) {
			vector = VEC_DF;
			has_error = true;
			error = 0;
		}
	}
	ev->exc_pending = true;
	ev->exc_vector = (uint8_t)vector;
	ev->exc_has_error = has_error;
	ev->exc_error = error;
	ev->exc_dr6 = 0;
	c->hot.due |= DUE_EVENT;
}

static _Noreturn void raise_fault(struct cpu *c, unsigned int vector, bool has_error,
				  uint32_t error)
{
	struct interp_sys *s = c->sys;

	mem_exclusive_end(c);
	if (c->cur) {
		c->st.rip -= c->cur->len;
		c->cur = NULL;
	}
	s->trap_dr6 = 0; /* the instruction will be executed again, and match again */
	s->debug_hit = false;
	record(c, vector, has_error, error);
	s->delivering = false;
	s->ext = false;
	s->stepping = false;
	dbt_fpu_save(
		c); /* longjmp() may use vector registers; a fault in translated code comes with the guest's in them */
	longjmp(c->fault_jmp, 1);
}

void cpu_raise(struct cpu *c, unsigned int vector)
{
	raise_fault(c, vector, false, 0);
}

void cpu_raise_err(struct cpu *c, unsigned int vector, uint32_t error)
{
	raise_fault(c, vector, true, error);
}

void cpu_raise_pf(struct cpu *c, uint64_t lin, uint32_t error)
{
	c->st.cr2 = lin;
	raise_fault(c, VEC_PF, true, error);
}
