/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_EVENTS_H
#define CPU_INTERP_EVENTS_H

#include "cpu/interp/vcpu.h"

/*
 * Exceptions, interrupts and debug traps as the run loop sees them. The loop is
 *
 *	setjmp(c->fault_jmp);			// a fault comes back here, recorded in st.ev
 *	for (;;) {
 *		if (unlikely(atomic_load_explicit(&c->hot.pending, memory_order_relaxed) | c->hot.due))
 *			if (!event_deliver_pending(c, &exit, err))
 *				return exit;	// before: exclusive_leave() of cpu/exclusive.h
 *		find or decode the block at st.rip; may raise
 *		if (unlikely(c->hot.due & DUE_STEP)) {
 *			event_step_begin(c);
 *			execute one instruction;
 *			event_step_end(c);
 *		} else
 *			execute the block;
 *		c->cur = NULL;			// no instruction: a fault has nothing to take back
 *	}
 *
 * Decoding and everything else that may raise outside a handler runs with c->cur == NULL. cpu_raise()
 * takes c->cur->len back from st.rip, records the exception in st.ev, sets DUE_EVENT and jumps.
 */
enum event_due {
	DUE_EVENT =
		1 << 0, /* an exception or trap is recorded in st.ev, or a debugger wants the CPU */
	DUE_STEP =
		1 << 1, /* instructions run one at a time: TF, RF, shadows, breakpoints, debugger */
	DUE_CHECK = 1 << 2, /* IF or a shadow changed: a waiting interrupt may be taken now */
};

/*
 * interp_sys_init, interp_sys_done - make and free c->sys (TLB, delivery state); the engine's init and
 * done call them. Returns 0 or -ENOMEM. interp_sys_loaded: c->st or c->debug was replaced.
 */
_nodiscard_ int interp_sys_init(struct cpu *c, struct err *err);
void interp_sys_done(struct cpu *c);
void interp_sys_loaded(struct cpu *c);

/*
 * event_deliver_pending - do everything that comes before the next instruction: recorded exceptions and
 * traps, INIT, SIPI, NMI, interrupts, instruction breakpoints, flushes, stops, sleeping in HLT.
 *
 * Faults met during delivery jump to c->fault_jmp like any others. Flushing decoded blocks for
 * CPU_PEND_FLUSH goes through c->engine->flush().
 * Returns true to run the instruction at st.rip; false to leave cpu_run() with *@ret_exit (@err set for
 * CPU_EXIT_SHUTDOWN). Thread: the vCPU's own.
 */
_nodiscard_ bool event_deliver_pending(struct cpu *c, enum cpu_exit *ret_exit, struct err *err);

/* event_inject - enter the handler of an external interrupt that the APIC or the 8259s have given already. Faults jump to
 * c->fault_jmp. Thread: the vCPU's own. */
void event_inject(struct cpu *c, unsigned int vector);

/* event_step_begin, event_step_end - around the one instruction executed while DUE_STEP is set. */
void event_step_begin(struct cpu *c);
void event_step_end(struct cpu *c);

/* How an instruction came to an interrupt vector: decides privilege checks, EXT bit and flags. */
enum soft_int_kind {
	SOFT_INT_N, /* INT n: gate DPL is checked; VME redirection; IOPL in V86 mode */
	SOFT_INT_3, /* INT3, INTO: gate DPL is checked */
	SOFT_INT_1, /* INT1 (F1): no DPL check, counts as external */
};

/*
 * cpu_soft_int - the rest of INT n, INT3, INTO, INT1: enter the handler of @vector.
 *
 * Called by a handler (c->cur set, st.rip already the next instruction). Raises #GP and others as faults
 * of the instruction. Leaves the block.
 */
void cpu_soft_int(struct cpu *c, unsigned int vector, enum soft_int_kind kind);

/*
 * What other handlers tell us.
 *
 * event_sti: STI (or another instruction with its shadow) has just set IF. event_mov_ss: MOV SS or POP SS
 * was executed. event_halt: HLT; the loop sleeps in event_deliver_pending(). event_if_set: IF became set
 * without a shadow (POPF, IRET; cpu_set_rflags does it). All leave the block where it matters.
 */
void event_sti(struct cpu *c);
void event_mov_ss(struct cpu *c);
void event_halt(struct cpu *c);
/* event_mp_state - set st.ev.mp_state, which others read under apic_lock. Thread: the vCPU's own. */
void event_mp_state(struct cpu *c, enum cpu_mp_state state);
void event_if_set(struct cpu *c);

/* event_tf_now - single-step of this instruction goes by TF at its end, not at its start (SYSCALL, SYSRET). */
void event_tf_now(struct cpu *c);
/* event_rf_loaded - this instruction loaded RF on purpose (IRET, task switch): it is not cleared after it. */
void event_rf_loaded(struct cpu *c);
/* event_debug_regs_written - DR0-DR3, DR7 or CR4.DE changed. */
void event_debug_regs_written(struct cpu *c);
/* event_raise_db - raise a fault-like #DB (general detect): @dr6 bits are set in DR6. */
_Noreturn void event_raise_db(struct cpu *c, uint64_t dr6);
/* event_trap_db - a #DB trap after this instruction (task switch with the T bit). */
void event_trap_db(struct cpu *c, uint64_t dr6);

/* event_recompute - derive DUE_STEP after RFLAGS.TF/RF, a shadow, DR7 or the debugger's wishes changed. */
void event_recompute(struct cpu *c);

/* event_trap_pending - did a data or I/O breakpoint match in this instruction? Handlers of repeated
 * string instructions stop after the iteration (with st.rip on the instruction) when it is true, and
 * when c->hot.pending is not 0. */
bool event_trap_pending(const struct cpu *c);

/* event_rep_interrupted - a repeated string instruction stops between two iterations: its instruction
 * breakpoint must not match again when it goes on (RFLAGS.RF; SDM volume 3, 17.3.1.1). */
void event_rep_interrupted(struct cpu *c);

/*
 * Binders of mnemonics that the privileged half shares with other files. MOV, PUSH, POP with a segment,
 * control or debug register operand; CALL, JMP, RET with a far target. They return -EINVAL for #UD.
 * The binder of the mnemonic calls them when sys_is_*() says so.
 */
bool sys_is_seg_op(const struct dec *d); /* an operand is a segment, control or debug register */
bool sys_is_far(const struct dec *d);	 /* CALL, JMP, RET: far */
_nodiscard_ int sys_bind_mov(const struct dec *d, struct insn *i);
_nodiscard_ int sys_bind_push(const struct dec *d, struct insn *i);
_nodiscard_ int sys_bind_pop(const struct dec *d, struct insn *i);
_nodiscard_ int sys_bind_far(const struct dec *d, struct insn *i);

/*
 * mem_fetch - host address of the instruction byte at @lin.
 *
 * Checks execute permission at the current CPL; raises #PF, or #GP(0) for a non-canonical address.
 * @ret_gpa: guest-physical address of the byte. @ret_flags: the page's flags byte (physmem.h), or NULL
 * when it is not RAM. Returns NULL for code outside RAM and ROM: use mem_fetch_byte().
 */
const uint8_t *mem_fetch(struct cpu *c, uint64_t lin, uint64_t *ret_gpa,
			 _Atomic uint8_t **ret_flags);

/* mem_fetch_byte - one instruction byte from anywhere, MMIO included; raises as mem_fetch() does. */
uint8_t mem_fetch_byte(struct cpu *c, uint64_t lin);

#endif
