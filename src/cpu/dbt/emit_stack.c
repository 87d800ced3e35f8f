// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PUSH, POP, LEAVE. The guest's stack pointer is in r8; it moves only when the access is known to be possible.
 */
#include "cpu/dbt/translate.h"

/* lea n(%r8),%r8 - does not touch flags */
static void move_sp(struct tctx *t, int32_t n)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, H_GSP, 0, H_GSP);
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_GSP, n);
}

/* mov between the stack's operand, [r10 + r9], and a register */
static void stack_mov(struct tctx *t, unsigned int op, unsigned int reg)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, reg, H_S1, H_S2);
	e8(e, op);
	e8(e, (reg & 7) << 3 | 4);
	e8(e, (H_S1 & 7) << 3 | (H_S2 & 7));
}

static bool push(struct tctx *t, const struct dinsn *d, unsigned int size)
{
	unsigned int reg;
	struct emit *e = &t->e;
	struct hostmem m;

	t_flags_spill(t);
	if (d->has_mem) {
		t_mem(t, d, size, DROLE_R, 0, &m);
		stack_mov(t, 0x8b, H_S1);
		e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
		t_stack(t, H_GSP, -(int32_t)size, size, true);
		t_mem_merge(t, &m);
		e_load64(e, H_S2, H_CPU, CPU_DISP(hot.spill[0]));
		e_rex(e, t->is_64, H_S2, 0, H_S1);
		e8(e, 0x89);
		e_mem(e, H_S2, H_S1, 0);
	} else if (!(d->rm_role & DROLE_R)) {
		t_stack(t, H_GSP, -(int32_t)size, size, true);
		e_rex(e, t->is_64, 0, H_S1, H_S2); /* movq $imm32,(%r10,%r9) */
		E(e, 0xc7, 4, (H_S1 & 7) << 3 | (H_S2 & 7));
		e32(e, (uint32_t)d->imm);
	} else if ((reg = t_guest_reg(d->rm)) != DREG_NONE) {
		t_stack(t, H_GSP, -(int32_t)size, size, true);
		stack_mov(t, 0x89, reg);
	} else {
		m = (struct hostmem){ .base = H_S2, .index = H_S1 };
		t_stack(t, H_GSP, -(int32_t)size, size, true);
		t_mem_merge(t, &m);
		e_load64(e, H_S2, H_CPU, GPR_DISP(d->rm));
		e_store64(e, H_S1, 0, H_S2);
	}
	move_sp(t, -(int32_t)size);
	return true;
}

static bool pop(struct tctx *t, const struct dinsn *d, unsigned int size)
{
	unsigned int reg = t_guest_reg(d->rm);

	if (d->has_mem)
		return false;
	t_flags_spill(t);
	t_stack(t, H_GSP, 0, size, false);
	if (reg == H_GSP) { /* the value popped wins */
		stack_mov(t, 0x8b, H_GSP);
		return true;
	}
	stack_mov(t, 0x8b, reg == DREG_NONE ? H_S1 : reg);
	if (reg == DREG_NONE)
		e_store64(&t->e, H_CPU, GPR_DISP(d->rm), H_S1);
	move_sp(t, (int32_t)size);
	return true;
}

static bool leave(struct tctx *t, unsigned int size)
{
	struct emit *e = &t->e;

	t_flags_spill(t);
	t_stack(t, H_RBP, 0, size, false);
	e_rex(e, t->is_64, H_GSP, 0, H_RBP); /* lea size(%rbp),%r8 */
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_RBP, (int32_t)size);
	stack_mov(t, 0x8b, H_RBP);
	return true;
}

bool emit_stack(struct tctx *t, const struct dinsn *d)
{
	unsigned int size = t->is_64 ? 8 : 4;

	if (d->opsize != size)
		return false;
	switch (d->cls) {
	case DCLS_PUSH:
		return push(t, d, size);
	case DCLS_POP:
		return pop(t, d, size);
	default:
		return leave(t, size);
	}
}
