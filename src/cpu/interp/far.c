// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Far transfers: CALL, JMP and RET to another code segment, through call gates, and to tasks. All reads
 * and checks come first, then the pushes, then the registers.
 * Source: Intel SDM volume 2, pseudo-code of CALL, JMP, RET; volume 3, 5.8 (gates in long mode).
 */
#include <errno.h>

#include "cpu/interp/vcpu_sys.h"

enum { SEL_RPL = 3 };

static uint64_t size_mask(unsigned int size)
{
	return size == 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

void cs_check_target(struct cpu *c, const struct cpu_seg *cs, uint64_t rip)
{
	if (c->long_mode && (cs->attr & SEG_L)) {
		if (!mmu_is_canonical(c, rip))
			cpu_raise_err(c, VEC_GP, 0);
	} else if (rip > cs->limit) {
		cpu_raise_err(c, VEC_GP, 0);
	}
}

/* --- real and V86 mode ---------------------------------------------------------------------------- */

static void branch_real(struct cpu *c, uint16_t sel, uint64_t rip, unsigned int size, bool is_call)
{
	uint64_t frame[] = { c->st.seg[CPU_CS].sel, c->st.rip };
	struct stk stk = stk_cur(c);

	if (rip > c->st.seg[CPU_CS].limit)
		cpu_raise_err(c, VEC_GP, 0);
	if (is_call) {
		stk_push(c, &stk, frame, 2, size);
		stk_sp_set(c, &stk);
	}
	seg_load_real(c, CPU_CS, sel);
	c->st.rip = rip;
	interp_mode_changed(c);
}

/* --- code segments -------------------------------------------------------------------------------- */

static void set_cs(struct cpu *c, const struct cpu_seg *cs, unsigned int level, uint64_t rip)
{
	c->st.seg[CPU_CS] = *cs;
	c->st.seg[CPU_CS].sel = (uint16_t)((cs->sel & ~3u) | level);
	c->st.rip = rip;
}

static void check_code(struct cpu *c, const struct desc *d, uint32_t err)
{
	if (!(d->attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	if (c->long_mode && (d->attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		cpu_raise_err(c, VEC_GP, err);
}

static void branch_code(struct cpu *c, struct desc *d, uint16_t sel, uint64_t rip,
			unsigned int size, bool is_call)
{
	unsigned int level = cpl(c), rpl = sel & SEL_RPL;
	uint64_t frame[] = { c->st.seg[CPU_CS].sel, c->st.rip };
	uint32_t err = sel & 0xfffc;
	struct stk stk = stk_cur(c);
	struct cpu_seg cs;

	if (desc_is_conforming(d) ? desc_dpl(d) > level : rpl > level || desc_dpl(d) != level)
		cpu_raise_err(c, VEC_GP, err);
	check_code(c, d, err);
	cs = desc_to_seg(d, sel);
	rip &= size_mask(size);
	if (!(c->long_mode && (cs.attr & SEG_L)))
		rip = (uint32_t)rip;
	if (is_call)
		stk_probe(c, &stk, 2, size); /* before the target's check */
	cs_check_target(c, &cs, rip);
	desc_set_accessed(c, d);
	cs.attr = d->attr;
	if (is_call) {
		stk_push(c, &stk, frame, 2, size);
		stk_sp_set(c, &stk);
	}
	set_cs(c, &cs, level, rip);
	interp_mode_changed(c);
}

/* --- call gates ----------------------------------------------------------------------------------- */

/* To a more privileged level by a 16- or 32-bit gate: a new stack, and parameters copied to it. */
static void gate_inward(struct cpu *c, const struct desc *gate, unsigned int level,
			unsigned int size)
{
	unsigned int nr_params = gate->lo >> 32 & 0x1f, n = 0;
	uint64_t frame[2 + 31 + 2], params[31];
	struct stk old = stk_cur(c), stk;

	tss_stack(c, level, &stk);
	stk_pop(c, &old, params, nr_params, size);
	frame[n++] = c->st.seg[CPU_SS].sel;
	frame[n++] = c->st.gpr[CPU_RSP];
	while (nr_params)
		frame[n++] = params[--nr_params];
	frame[n++] = c->st.seg[CPU_CS].sel;
	frame[n++] = c->st.rip;
	stk_push(c, &stk, frame, n, size);
	c->st.seg[CPU_SS] = stk.ss;
	stk_sp_set(c, &stk);
}

static void gate_inward_long(struct cpu *c, unsigned int level)
{
	uint64_t frame[] = { c->st.seg[CPU_SS].sel, c->st.gpr[CPU_RSP], c->st.seg[CPU_CS].sel,
			     c->st.rip };
	struct stk stk = { .is_64 = true, .mask = UINT64_MAX, .priv = stk_priv(c, level) };

	stk.sp = tss_stack64(c, level, 0);
	stk_push(c, &stk, frame, 4, 8);
	c->st.seg[CPU_SS] = seg_null((uint16_t)level, level);
	c->st.gpr[CPU_RSP] = stk.sp;
}

static void branch_gate(struct cpu *c, const struct desc *gate, uint16_t gate_sel, bool is_call)
{
	unsigned int level = cpl(c), new_level = level, size;
	uint32_t gate_err = gate_sel & 0xfffc, err;
	uint16_t sel = (uint16_t)(gate->lo >> 16);
	uint64_t rip = (gate->lo & 0xffff) | (gate->lo >> 32 & 0xffff0000) | gate->hi << 32;
	struct cpu_seg cs;
	struct desc d;

	if (desc_dpl(gate) < level || desc_dpl(gate) < (gate_sel & 3u))
		cpu_raise_err(c, VEC_GP, gate_err);
	if (!(gate->attr & SEG_P))
		cpu_raise_err(c, VEC_NP, gate_err);
	err = sel & 0xfffc;
	if (!err)
		cpu_raise_err(c, VEC_GP, 0);
	if (!desc_read(c, sel, &d) || !desc_is_code(&d) || desc_dpl(&d) > level)
		cpu_raise_err(c, VEC_GP, err);
	if (c->long_mode && (d.attr & (SEG_L | SEG_DB)) != SEG_L)
		cpu_raise_err(c, VEC_GP, err);
	if (!is_call && !desc_is_conforming(&d) && desc_dpl(&d) != level)
		cpu_raise_err(c, VEC_GP, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	if ((gate->attr & SEG_TYPE) == SYS_CALL16)
		rip &= 0xffff;
	size = c->long_mode ? 8 : (gate->attr & SEG_TYPE) == SYS_CALL ? 4 : 2;
	cs = desc_to_seg(&d, sel);
	cs_check_target(c, &cs, rip);
	desc_set_accessed(c, &d);
	cs.attr = d.attr;
	if (is_call && !desc_is_conforming(&d) && desc_dpl(&d) < level) {
		new_level = desc_dpl(&d);
		if (c->long_mode)
			gate_inward_long(c, new_level);
		else
			gate_inward(c, gate, new_level, size);
	} else if (is_call) {
		uint64_t frame[] = { c->st.seg[CPU_CS].sel, c->st.rip };
		struct stk stk = stk_cur(c);

		stk_push(c, &stk, frame, 2, size);
		stk_sp_set(c, &stk);
	}
	set_cs(c, &cs, new_level, rip);
	interp_mode_changed(c);
}

/* A TSS, or a task gate that names one. */
static void branch_task(struct cpu *c, const struct desc *d, uint16_t sel, bool is_call)
{
	if (desc_dpl(d) < cpl(c) || desc_dpl(d) < (sel & 3u))
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	if ((d->attr & SEG_TYPE) == SYS_TASK_GATE) {
		if (!(d->attr & SEG_P))
			cpu_raise_err(c, VEC_NP, sel & 0xfffc);
		sel = (uint16_t)(d->lo >> 16);
	}
	task_switch(c, sel, is_call ? TASK_CALL : TASK_JMP, false, 0);
}

static void branch_protected(struct cpu *c, uint16_t sel, uint64_t rip, unsigned int size,
			     bool is_call)
{
	uint32_t err = sel & 0xfffc;
	struct desc d;

	if (!err)
		cpu_raise_err(c, VEC_GP, 0);
	desc_read_sys(c, sel, &d);
	if (desc_is_code(&d)) {
		branch_code(c, &d, sel, rip, size, is_call);
		return;
	}
	if (d.attr & SEG_S)
		cpu_raise_err(c, VEC_GP, err);
	switch (d.attr & SEG_TYPE) {
	case SYS_CALL:
		branch_gate(c, &d, sel, is_call);
		return;
	case SYS_CALL16:
		if (c->long_mode)
			break;
		branch_gate(c, &d, sel, is_call);
		return;
	case SYS_TSS16:
	case SYS_TSS:
	case SYS_TASK_GATE:
		if (c->long_mode)
			break;
		branch_task(c, &d, sel, is_call);
		return;
	default:
		break;
	}
	cpu_raise_err(c, VEC_GP, err);
}

static void branch(struct cpu *c, uint16_t sel, uint64_t rip, unsigned int size, bool is_call)
{
	if (c->protected_mode)
		branch_protected(c, sel, rip, size, is_call);
	else
		branch_real(c, sel, rip, size, is_call);
}

/* Direct: insn.imm holds offset and, above it, the selector. */
static void jmp_direct(struct cpu *c, const struct insn *i)
{
	branch(c, (uint16_t)(i->imm >> 32), (uint32_t)i->imm, i->opsize, false);
}

static void call_direct(struct cpu *c, const struct insn *i)
{
	branch(c, (uint16_t)(i->imm >> 32), (uint32_t)i->imm, i->opsize, true);
}

static void branch_mem(struct cpu *c, const struct insn *i, bool is_call)
{
	uint64_t lin = insn_lin(c, i, i->opsize + 2u, false);
	uint64_t rip = ld_size(c, lin, i->opsize, i->flags & INSN_SS);
	uint16_t sel = ld16(c, lin + i->opsize, i->flags & INSN_SS);

	branch(c, sel, rip, i->opsize, is_call);
}

static void jmp_mem(struct cpu *c, const struct insn *i)
{
	branch_mem(c, i, false);
}

static void call_mem(struct cpu *c, const struct insn *i)
{
	branch_mem(c, i, true);
}

/* --- returns -------------------------------------------------------------------------------------- */

void far_return_cs(struct cpu *c, uint16_t sel, struct desc *ret)
{
	unsigned int rpl = sel & SEL_RPL;
	uint32_t err = sel & 0xfffc;

	if (!err)
		cpu_raise_err(c, VEC_GP, 0);
	if (!desc_read(c, sel, ret) || !desc_is_code(ret) || rpl < cpl(c) ||
	    (desc_is_conforming(ret) ? desc_dpl(ret) > rpl : desc_dpl(ret) != rpl))
		cpu_raise_err(c, VEC_GP, err);
	check_code(c, ret, err);
}

struct cpu_seg far_return_ss(struct cpu *c, uint16_t sel, unsigned int level, bool to_64)
{
	uint32_t err = sel & 0xfffc;
	struct desc d;

	if (!err) {
		if (!to_64 || level == 3)
			cpu_raise_err(c, VEC_GP, 0);
		return seg_null(sel, level);
	}
	if (!desc_read(c, sel, &d) || (sel & 3u) != level || !desc_is_writable_data(&d) ||
	    desc_dpl(&d) != level)
		cpu_raise_err(c, VEC_GP, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_SS, err);
	desc_set_accessed(c, &d);
	return desc_to_seg(&d, sel);
}

void far_return_commit(struct cpu *c, const struct far_return *f)
{
	unsigned int old = cpl(c);
	struct stk stk = { .sp = f->rsp };

	set_cs(c, &f->cs, f->cs.sel & 3u, f->rip);
	if (f->has_ss) {
		c->st.seg[CPU_SS] = f->ss;
		stk.mask = c->long_mode && (f->cs.attr & SEG_L) ? UINT64_MAX
			   : f->ss.attr & SEG_DB		? UINT32_MAX
								: 0xffff;
	} else {
		stk.mask = f->mask;
	}
	stk_sp_set(c, &stk);
	if ((f->cs.sel & 3u) > old)
		seg_drop_inner(c, f->cs.sel & 3u);
}

static void ret_real(struct cpu *c, const struct insn *i)
{
	struct stk stk = stk_cur(c);
	uint64_t v[2];

	stk_pop(c, &stk, v, 2, i->opsize);
	if (v[0] > c->st.seg[CPU_CS].limit)
		cpu_raise_err(c, VEC_GP, 0);
	stk.sp += i->imm;
	stk_sp_set(c, &stk);
	seg_load_real(c, CPU_CS, (uint16_t)v[1]);
	c->st.rip = v[0];
	interp_mode_changed(c);
}

static void ret_far(struct cpu *c, const struct insn *i)
{
	struct far_return f = { 0 };
	struct stk stk = stk_cur(c);
	uint64_t v[2], outer[2];
	struct desc d;

	if (!c->protected_mode) {
		ret_real(c, i);
		return;
	}
	stk_pop(c, &stk, v, 2, i->opsize);
	far_return_cs(c, (uint16_t)v[1], &d);
	f.cs = desc_to_seg(&d, (uint16_t)v[1]);
	f.rip = v[0];
	f.mask = stk.mask;
	stk.sp = (stk.sp + i->imm) & stk.mask;
	f.rsp = stk.sp;
	if ((v[1] & 3) > cpl(c)) {
		stk_pop(c, &stk, outer, 2, i->opsize);
		f.has_ss = true;
		f.ss = far_return_ss(c, (uint16_t)outer[1], v[1] & 3,
				     c->long_mode && (d.attr & SEG_L));
		f.rsp = outer[0] + i->imm;
	}
	cs_check_target(c, &f.cs, f.rip);
	desc_set_accessed(c, &d);
	f.cs.attr = d.attr;
	far_return_commit(c, &f);
	interp_mode_changed(c);
}

/* --- binding -------------------------------------------------------------------------------------- */

bool sys_is_far(const struct dec *d)
{
	return d->zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

int sys_bind_far(const struct dec *d, struct insn *i)
{
	bool is_call = d->zi.mnemonic == ZYDIS_MNEMONIC_CALL;

	if (d->zi.mnemonic == ZYDIS_MNEMONIC_RET) {
		i->fn = ret_far;
		return 0;
	}
	if (d->op[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
		i->imm = (uint64_t)d->op[0].ptr.segment << 32 | d->op[0].ptr.offset;
		i->fn = is_call ? call_direct : jmp_direct;
		return 0;
	}
	if (!(i->flags & INSN_MEM))
		return -EINVAL;
	i->fn = is_call ? call_mem : jmp_mem;
	return 0;
}
