// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Vector and x87 instructions: the host's own, with the guest's registers in the host's. What is left to do is
 * general-register operands that live in memory, memory operands, and what means something else in 64-bit code than
 * in the guest's 32-bit code.
 *
 * A block looks once whether the guest's registers are there (hot.fpu_live), at its entry when it can, because
 * there no status flags are in the way. An exception that the guest has not masked is a signal (signals.c), and so
 * is an operand that must be aligned and is not: the program counters of instructions that may raise one are
 * recorded, and cost nothing else.
 *
 * Non-temporal stores stay what they are: whoever reads the data on another thread has been told by way of a locked
 * instruction or a fence.
 */
#include "cpu/dbt/translate.h"

/* --- availability ----------------------------------------------------------------------------------- */

static unsigned int unit(const struct dinsn *d)
{
	return d->cls == DCLS_VEC ? DBT_FPU_VEC : DBT_FPU_VEC | DBT_FPU_X87;
}

static bool has_vec_operand(const struct dinsn *d)
{
	return (d->reg_role | d->rm_role | d->vvvv_role) & DROLE_VEC;
}

/* Which bits of the key must be set for an instruction to run without a look at control registers. */
static unsigned int needed_key(const struct dinsn *d)
{
	if (d->cls == DCLS_VEC)
		return d->vex ? DBT_KEY_AVX : DBT_KEY_SSE;
	if (d->cls == DCLS_MMX && has_vec_operand(d))
		return DBT_KEY_X87 | DBT_KEY_SSE;
	return DBT_KEY_X87;
}

static bool is_available(const struct tctx *t, const struct dinsn *d)
{
	unsigned int need = needed_key(d);

	return (t->b.key & need) == need;
}

static void cold_load(struct tctx *t, struct tcold *x)
{
	e_call(&t->e, x->a & DBT_FPU_X87 ? t->d->tramp.fpu_load_x87 : t->d->tramp.fpu_load);
	e_jmp(&t->e, x->again);
}

/* testb $bit,hot.fpu_live; jz cold */
static void make_ready(struct tctx *t, unsigned int want)
{
	struct emit *e = &t->e;
	struct tcold *x;

	if ((t->fpu_ready & want) == want)
		return;
	t_flags_spill(t);
	E(e, 0x41, 0xf6);
	e_mem(e, 0, H_CPU, CPU_DISP(hot.fpu_live));
	e8(e, want & DBT_FPU_X87 ? DBT_FPU_X87 : DBT_FPU_VEC);
	x = t_cold(t, cold_load);
	x->a = (uint8_t)want;
	t_jcc_cold(t, 4, x);
	x->again = e_rx(e);
	t->fpu_ready = (uint8_t)want;
	t->slot_in_s1 = -1;
}

void vec_block_begin(struct tctx *t)
{
	unsigned int want = 0;

	for (unsigned int k = 0; k < t->nr; k++) {
		const struct dinsn *d = &t->insn[k].d;

		if (d->cls == DCLS_VEC || d->cls == DCLS_MMX || d->cls == DCLS_X87) {
			if (!is_available(t, d))
				break;
			want |= unit(d);
		} else if (d->cls == DCLS_OTHER) {
			break;
		}
	}
	if (want)
		make_ready(t, want);
}

/* --- operands --------------------------------------------------------------------------------------- */

static bool is_gpr(unsigned int role)
{
	return (role & DROLE_RW) && !(role & (DROLE_VEC | DROLE_MM | DROLE_ST));
}

/* A general register: where it is on the host; @scratch when it lives in memory. */
static unsigned int gpr_at(struct tctx *t, unsigned int role, unsigned int n, unsigned int scratch)
{
	unsigned int h = t_guest_reg(t, n);

	if (h != DREG_NONE)
		return h;
	if (role & DROLE_R)
		e_load64(&t->e, scratch, H_CPU, GPR_DISP(n));
	return scratch;
}

/* Results are 32 or 64 bits wide: the whole register is written. */
static void gpr_store(struct tctx *t, unsigned int role, unsigned int n, unsigned int at)
{
	if ((role & DROLE_W) && t_guest_reg(t, n) == DREG_NONE)
		e_store64(&t->e, H_CPU, GPR_DISP(n), at);
}

static void copy(struct tctx *t, const struct dinsn *d)
{
	bool reg_gpr = is_gpr(d->reg_role), rm_gpr = !d->has_mem && is_gpr(d->rm_role);
	unsigned int reg = d->reg, rm = d->rm;
	struct hostmem m, *pm = NULL;

	if (d->has_mem) {
		t_mem(t, d, d->mem_size, d->mem_access, &m);
		pm = &m;
		if (reg_gpr && t_guest_reg(t, reg) == DREG_NONE && t_uses_s2(&m))
			t_mem_merge(t, &m);
	}
	t->s2_busy = d->has_mem && t_uses_s2(&m);
	t_flags_before(t, d);
	t->s2_busy = false;
	if (reg_gpr)
		reg = gpr_at(t, d->reg_role, d->reg, H_S2);
	else if (d->reg_role & DROLE_MM)
		reg &= 7;
	if (rm_gpr)
		rm = gpr_at(t, d->rm_role, d->rm, H_S1);
	else if (d->rm_role & (DROLE_MM | DROLE_ST))
		rm &= 7;
	if (d->may_trap || d->reads_mxcsr || d->mem_align || d->cls != DCLS_VEC)
		t_pc(t);
	if (d->has_modrm)
		t_reencode(t, d, reg, rm, d->vvvv, pm);
	else if (d->map == 1) /* EMMS */
		E(&t->e, 0x0f, d->op);
	else /* FWAIT */
		e8(&t->e, d->op);
	if (reg_gpr)
		gpr_store(t, d->reg_role, d->reg, reg);
	if (rm_gpr)
		gpr_store(t, d->rm_role, d->rm, rm);
	t_flags_after(t, d);
}

/* --- MXCSR ------------------------------------------------------------------------------------------ */

/* The value is checked where the guest cannot change it any more. */
static void ldmxcsr(struct tctx *t, const struct dinsn *d)
{
	struct emit *e = &t->e;
	struct hostmem m;

	t_flags_spill(t); /* an operand that needs no check leaves them in the host's flags */
	t_mem(t, d, 4, DROLE_R, &m);
	t_mem_merge(t, &m);
	e_rex(e, 0, H_S1, 0, m.base); /* mov (%r9),%r9d */
	e8(e, 0x8b);
	e_mem(e, H_S1, m.base, 0);
	E(e, 0x41, 0xf7, 0xc1); /* test $0xffff0000,%r9d */
	e32(e, 0xffff0000);
	t_jcc_exit(t, 5, DBT_EXIT_INTERP);
	e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
	E(e, 0x41, 0x0f, 0xae);
	e_mem(e, 2, H_CPU, CPU_DISP(hot.spill[0]));
}

static void stmxcsr(struct tctx *t, const struct dinsn *d)
{
	struct emit *e = &t->e;
	struct hostmem m;

	t_mem(t, d, 4, DROLE_W, &m);
	t_mem_merge(t, &m);
	E(e, 0x41, 0x0f, 0xae); /* stmxcsr (%r9) */
	e_mem(e, 3, m.base, 0);
}

/* --- 32-bit code ------------------------------------------------------------------------------------ */

/* Eight registers exist, and the others keep their contents: vmovaps or vpxor of each with itself. */
static void vzero_32(struct tctx *t, const struct dinsn *d)
{
	for (unsigned int n = 0; n < 8; n++) {
		if (d->vex_l) /* vpxor %xmmN,%xmmN,%xmmN */
			E(&t->e, 0xc5, (uint8_t)(0x81 | (~n & 15) << 3), 0xef,
			  (uint8_t)(0xc0 | n << 3 | n));
		else /* vmovaps %xmmN,%xmmN */
			E(&t->e, 0xc5, 0xf8, 0x28, (uint8_t)(0xc0 | n << 3 | n));
	}
}

/* VPINSRD, VPEXTRD: they become VPINSRQ and VPEXTRQ with W in 64-bit code, and do not exist in 32-bit code. */
static bool is_wide_element(const struct dinsn *d)
{
	return d->map == 3 && (d->op == 0x16 || d->op == 0x22) && (d->rex & 8);
}

/* Fields that 32-bit code leaves without effect: the width of general registers, the top bit of a register number. */
static void legacy_fields(const struct dinsn *d, struct dinsn *ret)
{
	*ret = *d;
	if (d->vex && (is_gpr(d->reg_role) || is_gpr(d->rm_role)))
		ret->rex &= (uint8_t)~8u;
	ret->vvvv &= 7;
	if (d->vex && d->map == 3 && d->op >= 0x4a && d->op <= 0x4c)
		ret->imm &= 0x7f;
}

/* ----------------------------------------------------------------------------------------------------- */

bool emit_vec(struct tctx *t, const struct dinsn *d)
{
	bool is_mxcsr = d->cls == DCLS_VEC && d->map == 1 && d->op == 0xae;
	struct dinsn legacy;

	if (!is_available(t, d) || (is_mxcsr && (!d->has_mem || (d->reg & 6) != 2)))
		return false;
	if (!t->is_64) {
		if (d->vex && is_wide_element(d))
			return false;
		legacy_fields(d, &legacy);
		d = &legacy;
	}
	make_ready(t, unit(d));
	if (is_mxcsr) {
		if (d->reg & 1)
			stmxcsr(t, d);
		else
			ldmxcsr(t, d);
		t_flags_after(t, d);
	} else if (d->vex && d->map == 1 && d->op == 0x77) {
		if (t->is_64)
			t_reencode(t, d, 0, d->op & 7, 0, NULL);
		else
			vzero_32(t, d);
		t_flags_after(t, d);
	} else {
		copy(t, d);
	}
	return true;
}
