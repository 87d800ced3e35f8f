// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Re-encoding: an instruction of the guest becomes one of the host, with the same opcode, prefixes and immediate, and
 * other registers. Guest registers that live in memory are used from there where the instruction allows a memory
 * operand, else they pass through a scratch register.
 */
#include "cpu/dbt/translate.h"

static void put_imm(struct tctx *t, const struct dinsn *d)
{
	uint64_t v = (uint64_t)d->imm;

	e_bytes(&t->e, &v, d->imm_size);
}

static void put_operands(struct tctx *t, const struct dinsn *d, unsigned int reg, unsigned int rm,
			 const struct hostmem *m)
{
	struct emit *e = &t->e;

	if (!d->has_modrm)
		return;
	if (!m) {
		e8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
	} else if (m->index == DREG_NONE) {
		e_mem(e, reg, m->base, m->disp);
	} else {
		e_sib(e, reg, m->base, m->index, 0, m->disp);
	}
}

static void put_vex(struct tctx *t, const struct dinsn *d, unsigned int reg, unsigned int vvvv,
		    unsigned int x, unsigned int b)
{
	static const uint8_t pp[] = { [0] = 0, [DPFX_66] = 1, [DPFX_F3] = 2, [DPFX_F2] = 3 };
	struct emit *e = &t->e;

	e8(e, 0xc4);
	e8(e, (~reg >> 3 & 1) << 7 | (~x & 1) << 6 | (~b & 1) << 5 | d->map);
	e8(e, (d->rex >> 3 & 1u) << 7 | (~vvvv & 15) << 3 | (unsigned int)d->vex_l << 2 |
		      pp[d->pfx & (DPFX_66 | DPFX_F2 | DPFX_F3)]);
}

/* Is a register in the opcode byte: XCHG, MOV of an immediate, BSWAP? Accumulator forms have none. */
static bool names_register(const struct dinsn *d)
{
	return !d->has_modrm && (d->map == 1 || (d->op >= 0x40 && d->op < 0x60) ||
				 (d->op & 0xf8) == 0x90 || (d->op & 0xf0) == 0xb0);
}

void t_reencode(struct tctx *t, const struct dinsn *d, unsigned int reg, unsigned int rm,
		unsigned int vvvv, const struct hostmem *m)
{
	unsigned int x = m && m->index != DREG_NONE ? m->index >> 3 : 0;
	unsigned int b = m ? m->base >> 3 : rm >> 3;
	struct emit *e = &t->e;

	if (d->vex) {
		put_vex(t, d, reg, vvvv, x, b);
		e8(e, d->op);
	} else {
		unsigned int rex = (d->rex & 8u) | (reg >> 3) << 2 | x << 1 | b;

		if (d->pfx & DPFX_LOCK)
			e8(e, 0xf0);
		if (d->pfx & DPFX_66)
			e8(e, 0x66);
		if (d->pfx & DPFX_F2)
			e8(e, 0xf2);
		if (d->pfx & DPFX_F3)
			e8(e, 0xf3);
		if (rex || d->has_rex)
			e8(e, 0x40 | rex);
		if (d->map)
			e8(e, 0x0f);
		if (d->map >= 2)
			e8(e, d->map == 2 ? 0x38 : 0x3a);
		e8(e, names_register(d) ? (d->op & ~7u) | (rm & 7) : d->op);
	}
	put_operands(t, d, reg, rm, m);
	put_imm(t, d);
}

/* --- operands that live in memory ---------------------------------------------------------------- */

/* May the register operand ModRM.rm be replaced with its place in the state? */
static bool rm_as_memory(const struct dinsn *d)
{
	if (d->vex)
		return d->rm_role == DROLE_R && d->opsize >= 4; /* BMI */
	if (!d->has_modrm)
		return false;
	if ((d->rm_role & DROLE_W) && d->opsize == 4)
		return false; /* the upper half must become 0 */
	if (d->map == 0)
		return d->op != 0x86 && d->op != 0x87 && d->op != 0x8d; /* XCHG would lock */
	if (d->map != 1)
		return false;
	switch (d->op) {
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb: /* bit strings in memory */
	case 0xc0:
	case 0xc1:
	case 0xb0:
	case 0xb1:
		return false;
	default:
		return (d->op >= 0x40 && d->op <= 0x4f) || (d->op >= 0x90 && d->op <= 0x9f) ||
		       d->op == 0xaf || d->op == 0xb6 || d->op == 0xb7 || d->op == 0xbe ||
		       d->op == 0xbf;
	}
}

struct places {
	unsigned int reg, rm, vvvv;
	bool st_reg, st_rm, st_vvvv; /* to be stored back */
	unsigned int nr_free;
	bool whole; /* a register that is only written is written as a whole */
	uint8_t free[2];
};

/*
 * As many as may_place() has allowed. A result may go to r9 although the operand's address is in it: that has been
 * used by then.
 */
static void place(struct tctx *t, struct places *p, unsigned int role, unsigned int n,
		  unsigned int *at, bool *store)
{
	if (t_guest_reg(t, n) != DREG_NONE) {
		*at = t_guest_reg(t, n);
		return;
	}
	*at = p->nr_free ? p->free[--p->nr_free] : H_S1;
	if (!p->whole || (role & DROLE_R))
		e_load64(&t->e, *at, H_CPU, GPR_DISP(n));
	*store = role & DROLE_W;
}

static unsigned int nr_in_memory(const struct tctx *t, const struct dinsn *d)
{
	unsigned int nr = 0;

	nr += t_in_memory(t, d->reg_role, d->reg);
	nr += !d->has_mem && t_in_memory(t, d->rm_role, d->rm) &&
	      !(d->reg_role && d->rm == d->reg && t_in_memory(t, d->reg_role, d->reg));
	nr += t_in_memory(t, d->vvvv_role, d->vvvv);
	return nr;
}

static bool only_written(const struct tctx *t, unsigned int role, unsigned int n)
{
	return role == DROLE_W && t_in_memory(t, role, n);
}

/* Are there scratch registers for all operands that live in memory? */
static bool may_place(const struct tctx *t, const struct dinsn *d)
{
	unsigned int nr = nr_in_memory(t, d), room = d->has_mem ? 1 : 2;

	if (d->vex)
		room += d->has_mem ? only_written(t, d->reg_role, d->reg) ||
					     only_written(t, d->vvvv_role, d->vvvv)
				   : t_in_memory(t, d->rm_role, d->rm) && rm_as_memory(d);
	return nr <= room;
}

/* A byte register like ah and a REX prefix do not go together: the address goes through rsi. */
static void high_byte_mem(struct tctx *t, const struct dinsn *d, struct hostmem *m)
{
	struct hostmem in_rsi = { .base = H_RSI, .index = DREG_NONE };
	struct emit *e = &t->e;

	t_mem_merge(t, m);
	e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_RSI);
	e_mov64(e, H_RSI, H_S1);
	t_reencode(t, d, d->reg, d->rm, 0, &in_rsi);
	e_load64(e, H_RSI, H_CPU, CPU_DISP(hot.spill[0]));
}

static bool has_high_byte(const struct dinsn *d)
{
	return d->reg_high || d->rm_high;
}

/* Is a target that is only written written as a whole, always? Known of the common ones. */
static bool writes_whole(const struct dinsn *d)
{
	if (d->vex)
		return true;
	if (d->opsize < 4 || d->map > 1)
		return false;
	if (d->map == 1)
		return d->op == 0xb6 || d->op == 0xb7 || d->op == 0xbe || d->op == 0xbf;
	return d->op == 0x89 || d->op == 0x8b || d->op == 0xc7 || (d->op & 0xf8) == 0xb8 ||
	       d->op == 0x63 || d->op == 0x69 || d->op == 0x6b;
}

static void generic(struct tctx *t, const struct dinsn *d)
{
	struct hostmem m = { .index = DREG_NONE }, *pm = NULL;
	struct places p = { .nr_free = 2, .free = { H_S2, H_S1 } };
	bool same = !d->has_mem && (d->reg_role & DROLE_RW) && (d->rm_role & DROLE_RW) &&
		    d->reg == d->rm && t_in_memory(t, d->reg_role, d->reg);

	if (d->has_mem) {
		t_mem(t, d, d->mem_size, d->mem_access, &m);
		pm = &m;
		if ((nr_in_memory(t, d) && t_uses_s2(&m)) || has_high_byte(d))
			t_mem_merge(t, &m);
		p.nr_free = 1;
	}
	t->s2_busy = d->has_mem && t_uses_s2(&m);
	t_flags_before(t, d);
	t->s2_busy = false;
	if (has_high_byte(d)) {
		if (d->cls == DCLS_DIV)
			t_pc(t);
		if (pm)
			high_byte_mem(t, d, pm);
		else
			t_reencode(t, d,
				   d->reg_high || !d->reg_role ? d->reg : t_guest_reg(t, d->reg),
				   d->rm_high || !d->rm_role ? d->rm : t_guest_reg(t, d->rm), 0,
				   NULL);
		return;
	}
	p.reg = d->reg;
	p.rm = d->rm;
	p.vvvv = d->vvvv;
	p.st_reg = p.st_rm = p.st_vvvv = false;
	p.whole = writes_whole(d) && !same;
	/* What is read first: r9 is left for what is not. */
	if (d->vvvv_role & DROLE_R)
		place(t, &p, d->vvvv_role, d->vvvv, &p.vvvv, &p.st_vvvv);
	if (d->reg_role & DROLE_RW)
		place(t, &p, d->reg_role, d->reg, &p.reg, &p.st_reg);
	if (!d->has_mem && (d->rm_role & DROLE_RW)) {
		if (same) {
			p.rm = p.reg;
			p.st_reg |= (d->rm_role & DROLE_W) != 0;
		} else if (t_in_memory(t, d->rm_role, d->rm) && rm_as_memory(d)) {
			m = (struct hostmem){ H_CPU, DREG_NONE, GPR_DISP(d->rm) };
			pm = &m;
		} else {
			place(t, &p, d->rm_role, d->rm, &p.rm, &p.st_rm);
		}
	}
	if (d->vvvv_role == DROLE_W)
		place(t, &p, d->vvvv_role, d->vvvv, &p.vvvv, &p.st_vvvv);
	if (d->cls == DCLS_DIV || d->mem_align)
		t_pc(t);
	t_reencode(t, d, p.reg, p.rm, p.vvvv, pm);
	if (p.st_vvvv)
		e_store64(&t->e, H_CPU, GPR_DISP(d->vvvv), p.vvvv);
	if (p.st_rm)
		e_store64(&t->e, H_CPU, GPR_DISP(d->rm), p.rm);
	if (p.st_reg)
		e_store64(&t->e, H_CPU, GPR_DISP(d->reg), p.reg);
}

static void emit_lea(struct tctx *t, const struct dinsn *d)
{
	unsigned int to = t_guest_reg(t, d->reg);
	struct emit *e = &t->e;

	/* A 16-bit result leaves the rest of the register alone. */
	if (to == DREG_NONE || d->opsize != 8 || d->asize != 8) {
		unsigned int dst = to == DREG_NONE ? H_S2 : to;

		t_ea(t, d, H_S1);
		if (d->opsize == 8) {
			e_mov64(e, dst, H_S1);
		} else if (d->opsize == 4) {
			e_mov32(e, dst, H_S1);
		} else {
			if (to == DREG_NONE)
				e_load64(e, dst, H_CPU, GPR_DISP(d->reg));
			e8(e, 0x66);
			e_mov32(e, dst, H_S1);
		}
		if (to == DREG_NONE)
			e_store64(e, H_CPU, GPR_DISP(d->reg), dst);
		return;
	}
	/* Registers that live in memory need a scratch register that is not the target. */
	if ((d->base < DREG_NONE && t_guest_reg(t, d->base) == DREG_NONE) ||
	    (d->index < DREG_NONE && t_guest_reg(t, d->index) == DREG_NONE) ||
	    d->base == DREG_RIP) {
		t_ea(t, d, H_S1);
		e_mov64(e, to, H_S1);
		return;
	}
	t_ea(t, d, to);
}

bool emit_alu(struct tctx *t, const struct dinsn *d)
{
	if (d->cls == DCLS_LEA) {
		emit_lea(t, d);
		return true;
	}
	/* Fences, CBW and the like: nothing to rename. */
	if (d->cls == DCLS_FLAG) {
		t_flags_before(t, d);
		e8(&t->e, d->op);
		t_flags_after(t, d);
		return true;
	}
	if (!may_place(t, d))
		return false;
	if (has_high_byte(d)) {
		/* The other register must not need a REX prefix on the host. */
		unsigned int other = d->reg_high ? d->rm : d->reg;
		unsigned int role = d->reg_high ? d->rm_role : d->reg_role;
		bool is_other = !(d->reg_high && d->rm_high) && !(d->reg_high && d->has_mem);

		if (is_other && (role & DROLE_RW) && (t_guest_reg(t, other) >= 8 || d->has_rex))
			return false;
	}
	generic(t, d);
	t_flags_after(t, d);
	return true;
}
