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

static void push(struct tctx *t, const struct dinsn *d, unsigned int size)
{
	struct emit *e = &t->e;
	struct hostmem m;

	if (d->has_mem) {
		t_mem(t, d, size, DROLE_R, &m);
		t_mov_mem(t, 0x8b, H_S1, &m);
		e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
		t_stack(t, H_GSP, -(int32_t)size, size, true, &m);
		if (t_uses_s2(&m))
			t_mem_merge(t, &m);
		e_load64(e, H_S2, H_CPU, CPU_DISP(hot.spill[0]));
		t_mov_mem(t, 0x89, H_S2, &m);
	} else if (!(d->rm_role & DROLE_R)) {
		t_stack(t, H_GSP, -(int32_t)size, size, true, &m);
		t_movi_mem(t, (uint32_t)d->imm, &m);
	} else {
		t_stack(t, H_GSP, -(int32_t)size, size, true, &m);
		if (t_guest_reg(t, d->rm) == DREG_NONE && t_uses_s2(&m))
			t_mem_merge(t, &m);
		t_mov_mem(t, 0x89, t_reg_in(t, d->rm, H_S2), &m);
	}
	move_sp(t, -(int32_t)size);
}

static void pop(struct tctx *t, const struct dinsn *d, unsigned int size)
{
	unsigned int reg = t_guest_reg(t, d->rm);
	struct hostmem m;

	t_stack(t, H_GSP, 0, size, false, &m);
	if (reg == H_GSP) { /* the value popped wins */
		t_mov_mem(t, 0x8b, H_GSP, &m);
		return;
	}
	t_mov_mem(t, 0x8b, reg == DREG_NONE ? H_S1 : reg, &m);
	if (reg == DREG_NONE)
		e_store64(&t->e, H_CPU, GPR_DISP(d->rm), H_S1);
	move_sp(t, (int32_t)size);
}

static void leave(struct tctx *t, unsigned int size)
{
	struct emit *e = &t->e;
	struct hostmem m;

	t_stack(t, H_RBP, 0, size, false, &m);
	e_rex(e, t->is_64, H_GSP, 0, H_RBP); /* lea size(%rbp),%r8 */
	e8(e, 0x8d);
	e_mem(e, H_GSP, H_RBP, (int32_t)size);
	t_mov_mem(t, 0x8b, H_RBP, &m);
}

bool emit_stack(struct tctx *t, const struct dinsn *d)
{
	unsigned int size = t->is_64 ? 8 : 4;

	if (d->opsize != size || (d->cls == DCLS_POP && d->has_mem))
		return false;
	if (d->cls == DCLS_PUSH)
		push(t, d, size);
	else if (d->cls == DCLS_POP)
		pop(t, d, size);
	else
		leave(t, size);
	return true;
}
