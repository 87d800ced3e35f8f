// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE, and the helpers for the present stack. In 64-bit mode
 * the stack is flat and its pointer 64 bits wide, which the common forms use.
 */
#include <errno.h>

#include "cpu/interp/events.h"
#include "cpu/interp/hostalu.h"

/* --- helpers for every mode --------------------------------------------------------------------- */

uint64_t cpu_stack_mask(const struct cpu *c)
{
	if (c->mode == CPU_MODE_64)
		return UINT64_MAX;
	return c->st.seg[CPU_SS].attr & SEG_DB ? UINT32_MAX : 0xffff;
}

/* rsp as changed by a stack of this width: a 16-bit stack keeps the upper bits. */
static uint64_t stack_merge(uint64_t rsp, uint64_t sp, uint64_t mask)
{
	return mask == 0xffff ? (rsp & ~mask) | (sp & mask) : sp & mask;
}

static uint64_t stack_lin(struct cpu *c, uint64_t sp, unsigned int size, bool write)
{
	return seg_lin(c, CPU_SS, sp & cpu_stack_mask(c), size, write);
}

static void sp_add(struct cpu *c, uint64_t n)
{
	uint64_t *rsp = &c->st.gpr[CPU_RSP];

	*rsp = stack_merge(*rsp, *rsp + n, cpu_stack_mask(c));
}

void cpu_push(struct cpu *c, uint64_t value, unsigned int size)
{
	st_size(c, stack_lin(c, c->st.gpr[CPU_RSP] - size, size, true), size, value, MEM_SS);
	sp_add(c, 0 - (uint64_t)size);
}

uint64_t cpu_pop(struct cpu *c, unsigned int size)
{
	uint64_t v = ld_size(c, stack_lin(c, c->st.gpr[CPU_RSP], size, false), size, MEM_SS);

	sp_add(c, size);
	return v;
}

/* --- PUSH, POP ---------------------------------------------------------------------------------- */

static inline void push64(struct cpu *c, uint64_t v)
{
	uint64_t sp = c->st.gpr[CPU_RSP] - 8;

	st64(c, sp, v, MEM_SS);
	c->st.gpr[CPU_RSP] = sp;
}

static void push64_r(struct cpu *c, const struct insn *i)
{
	push64(c, rd64(c, i->dst));
}

static void push64_i(struct cpu *c, const struct insn *i)
{
	push64(c, i->imm);
}

static void push64_m(struct cpu *c, const struct insn *i)
{
	push64(c, ldm64(c, i));
}

static void pop64_r(struct cpu *c, const struct insn *i)
{
	uint64_t v = ld64(c, c->st.gpr[CPU_RSP], MEM_SS);

	c->st.gpr[CPU_RSP] += 8;
	wr64(c, i->dst, v); /* POP RSP: the value popped wins */
}

static void push_r(struct cpu *c, const struct insn *i)
{
	cpu_push(c, reg_get(c, i->dst, i->opsize), i->opsize);
}

static void push_i(struct cpu *c, const struct insn *i)
{
	cpu_push(c, i->imm, i->opsize);
}

static void push_m(struct cpu *c, const struct insn *i)
{
	uint64_t v = ld_size(c, insn_lin(c, i, i->opsize, false), i->opsize, insn_how(i));

	cpu_push(c, v, i->opsize);
}

static void pop_r(struct cpu *c, const struct insn *i)
{
	reg_set(c, i->dst, i->opsize, cpu_pop(c, i->opsize));
}

/* The address is computed with the stack pointer that the pop leaves; a fault leaves the old one. */
static void pop_m(struct cpu *c, const struct insn *i)
{
	uint64_t old = c->st.gpr[CPU_RSP], v = cpu_pop(c, i->opsize), ea = insn_ea(c, i);
	uint64_t sp = c->st.gpr[CPU_RSP];

	c->st.gpr[CPU_RSP] = old;
	st_size(c, seg_lin(c, i->seg, ea, i->opsize, true), i->opsize, v, insn_how(i));
	c->st.gpr[CPU_RSP] = sp;
}

static int bind_push(const struct dec *d, struct insn *i)
{
	bool is_long = i->opsize == 8;

	if (sys_is_seg_op(d))
		return sys_bind_push(d, i);
	if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		i->fn = is_long ? push64_i : push_i;
	else if (i->flags & INSN_MEM)
		i->fn = is_long ? push64_m : push_m;
	else
		i->fn = is_long ? push64_r : push_r;
	return 0;
}

static int bind_pop(const struct dec *d, struct insn *i)
{
	if (sys_is_seg_op(d))
		return sys_bind_pop(d, i);
	if (i->flags & INSN_MEM)
		i->fn = pop_m;
	else
		i->fn = i->opsize == 8 ? pop64_r : pop_r;
	return 0;
}

/* --- PUSHA, POPA -------------------------------------------------------------------------------- */

enum { PUSHA_REGS = 8 };

/* Order on the stack: AX first, DI last (at the lowest address). */
static void pusha(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize;
	uint64_t sp = c->st.gpr[CPU_RSP];

	/* A fault leaves what was pushed before it in memory, and the stack pointer where it was. */
	for (unsigned int k = 0; k < PUSHA_REGS; k++)
		st_size(c, stack_lin(c, sp - (k + 1) * size, size, true), size, c->st.gpr[k],
			MEM_SS);
	sp_add(c, 0 - (uint64_t)(PUSHA_REGS * size));
}

static void popa(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize;
	uint64_t sp = c->st.gpr[CPU_RSP];

	/* A fault leaves the registers popped before it, and the stack pointer where it was. */
	for (unsigned int k = 0; k < PUSHA_REGS; k++) {
		unsigned int reg = PUSHA_REGS - 1 - k;
		uint64_t v = ld_size(c, stack_lin(c, sp + k * size, size, false), size, MEM_SS);

		if (reg != CPU_RSP)
			reg_set(c, reg * 8, size, v);
	}
	sp_add(c, PUSHA_REGS * size);
}

/* --- PUSHF, POPF -------------------------------------------------------------------------------- */

enum {
	POPF_BASE = RFLAGS_STATUS | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT,
	POPF_WIDE = RFLAGS_AC | RFLAGS_ID, /* only with 32 or 64 bits */
};

static unsigned int iopl(const struct cpu *c)
{
	return (unsigned int)(c->st.rflags & RFLAGS_IOPL) >> 12;
}

static void pushf(struct cpu *c, const struct insn *i)
{
	uint64_t f = c->st.rflags & ~(uint64_t)(RFLAGS_RF | RFLAGS_VM);

	if (c->st.rflags & RFLAGS_VM && iopl(c) < 3) {
		if (!(c->st.cr4 & CR4_VME) || i->opsize != 2)
			cpu_raise_err(c, VEC_GP, 0);
		/* Virtual-8086 mode extensions: the program sees VIF as IF, and IOPL 3 (APM 2, 8.2). */
		f &= ~(uint64_t)RFLAGS_IF;
		f |= RFLAGS_IOPL | (c->st.rflags & RFLAGS_VIF ? RFLAGS_IF : 0);
	}
	cpu_push(c, f, i->opsize);
}

/* POPF of a V86 program with IOPL < 3 while VME is on: IF means VIF. */
static void popf_vme(struct cpu *c, uint64_t sp, uint64_t v)
{
	bool wants_if = v & RFLAGS_IF;

	if ((v & RFLAGS_TF) || (wants_if && (c->st.rflags & RFLAGS_VIP)))
		cpu_raise_err(c, VEC_GP, 0);
	c->st.gpr[CPU_RSP] = sp;
	v = (v & ~(uint64_t)RFLAGS_VIF) | (wants_if ? RFLAGS_VIF : 0);
	cpu_set_rflags(c, v, POPF_BASE | RFLAGS_VIF);
}

static void popf(struct cpu *c, const struct insn *i)
{
	uint64_t mask = POPF_BASE, old = c->st.gpr[CPU_RSP], sp, v;
	bool is_v86 = c->st.rflags & RFLAGS_VM;
	bool is_vme = is_v86 && iopl(c) < 3;

	if (is_vme && (!(c->st.cr4 & CR4_VME) || i->opsize != 2))
		cpu_raise_err(c, VEC_GP, 0);
	v = cpu_pop(c, i->opsize);
	sp = c->st.gpr[CPU_RSP];
	if (is_vme) {
		c->st.gpr[CPU_RSP] = old;
		popf_vme(c, sp, v);
		return;
	}
	if (i->opsize != 2)
		mask |= POPF_WIDE;
	if (cpl(c) <= iopl(c))
		mask |= RFLAGS_IF;
	if (cpl(c) == 0 && !is_v86)
		mask |= RFLAGS_IOPL;
	cpu_set_rflags(c, v, mask);
}

/* --- ENTER, LEAVE ------------------------------------------------------------------------------- */

static void enter(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize, level = (unsigned int)(uintptr_t)i->aux & 31;
	uint64_t mask = cpu_stack_mask(c), old = c->st.gpr[CPU_RSP], frame, sp;
	uint64_t bp = c->st.gpr[CPU_RBP];

	/* Everything is written before rsp and rbp change, so that a fault leaves them as they were; what
	 * lies below the stack pointer has no meaning. */
	sp = old - size;
	st_size(c, stack_lin(c, sp, size, true), size, bp, MEM_SS);
	frame = sp;
	for (unsigned int k = 1; k < level; k++) {
		uint64_t v;

		bp -= size;
		v = ld_size(c, stack_lin(c, bp, size, false), size, MEM_SS);
		sp -= size;
		st_size(c, stack_lin(c, sp, size, true), size, v, MEM_SS);
	}
	if (level) {
		sp -= size;
		st_size(c, stack_lin(c, sp, size, true), size, frame, MEM_SS);
	}
	sp -= i->imm & 0xffff;
	/* The new top of the stack must be writable, as for a push. */
	mem_align(c, stack_lin(c, sp, size, true), size, size, MEM_SS);
	mem_probe(c, stack_lin(c, sp, size, true), size, MEM_SS | MEM_RMW);
	c->st.gpr[CPU_RSP] = stack_merge(old, sp, mask);
	reg_set(c, CPU_RBP * 8, size, stack_merge(old, frame, mask));
}

static int bind_enter(const struct dec *d, struct insn *i)
{
	i->aux = (const void *)(uintptr_t)d->op[1].imm.value.u;
	i->fn = enter;
	return 0;
}

static void leave(struct cpu *c, const struct insn *i)
{
	uint64_t mask = cpu_stack_mask(c), bp = c->st.gpr[CPU_RBP] & mask;
	uint64_t v = ld_size(c, stack_lin(c, bp, i->opsize, false), i->opsize, MEM_SS);

	c->st.gpr[CPU_RSP] = stack_merge(c->st.gpr[CPU_RSP], bp + i->opsize, mask);
	reg_set(c, CPU_RBP * 8, i->opsize, v);
}

static void leave64(struct cpu *c, const struct insn *i)
{
	uint64_t bp = c->st.gpr[CPU_RBP], v = ld64(c, bp, MEM_SS);

	c->st.gpr[CPU_RSP] = bp + 8;
	c->st.gpr[CPU_RBP] = v;
}

static int bind_leave(const struct dec *d, struct insn *i)
{
	i->fn = i->opsize == 8 ? leave64 : leave;
	return 0;
}

#define SIMPLE(fn_name)                                                                            \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                             \
	{                                                                                          \
		i->fn = fn_name;                                                                   \
		return 0;                                                                          \
	}
SIMPLE(pusha)
SIMPLE(popa)
SIMPLE(pushf)
SIMPLE(popf)

const struct interp_op interp_ops_stack[] = {
	{ ZYDIS_MNEMONIC_PUSH, bind_push },
	{ ZYDIS_MNEMONIC_POP, bind_pop },
	{ ZYDIS_MNEMONIC_PUSHA, bind_pusha },
	{ ZYDIS_MNEMONIC_PUSHAD, bind_pusha },
	{ ZYDIS_MNEMONIC_POPA, bind_popa },
	{ ZYDIS_MNEMONIC_POPAD, bind_popa },
	{ ZYDIS_MNEMONIC_PUSHF, bind_pushf },
	{ ZYDIS_MNEMONIC_PUSHFD, bind_pushf },
	{ ZYDIS_MNEMONIC_PUSHFQ, bind_pushf },
	{ ZYDIS_MNEMONIC_POPF, bind_popf },
	{ ZYDIS_MNEMONIC_POPFD, bind_popf },
	{ ZYDIS_MNEMONIC_POPFQ, bind_popf },
	{ ZYDIS_MNEMONIC_ENTER, bind_enter },
	{ ZYDIS_MNEMONIC_LEAVE, bind_leave },
	{ 0, NULL },
};
