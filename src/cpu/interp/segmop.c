// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions on segment registers and descriptors that do not transfer control: loads and stores of
 * selectors, LDS and its like, the questions LAR, LSL, VERR, VERW, ARPL, and LDTR and TR.
 * Sources: Intel SDM volume 2; AMD APM volume 3.
 */
#include <errno.h>

#include "cpu/interp/vcpu_sys.h"

/* --- selectors in and out ----------------------------------------------------------------------- */

/* insn.imm holds the segment register's number. */
static uint16_t sel_operand(struct cpu *c, const struct insn *i)
{
	if (i->flags & INSN_MEM)
		return ld16(c, insn_lin(c, i, 2, false), i->flags & INSN_SS);
	return (uint16_t)reg_get(c, i->dst, 2);
}

/* A 16-bit value to memory, or to a register of the operand's size with zeros above. */
static void store16(struct cpu *c, const struct insn *i, uint16_t v)
{
	if (i->flags & INSN_MEM)
		st16(c, insn_lin(c, i, 2, true), v, i->flags & INSN_SS);
	else
		reg_set(c, i->dst, i->opsize, v);
}

static void mov_to_seg(struct cpu *c, const struct insn *i)
{
	seg_load(c, (unsigned int)i->imm, sel_operand(c, i));
	if (i->imm == CPU_SS)
		event_mov_ss(c);
}

static void mov_from_seg(struct cpu *c, const struct insn *i)
{
	store16(c, i, c->st.seg[i->imm].sel);
}

static void push_seg(struct cpu *c, const struct insn *i)
{
	cpu_push(c, c->st.seg[i->imm].sel, i->opsize);
}

static void pop_seg(struct cpu *c, const struct insn *i)
{
	struct stk stk = stk_cur(c);
	uint64_t sel;

	stk_pop(c, &stk, &sel, 1, i->opsize);
	seg_load(c, (unsigned int)i->imm, (uint16_t)sel);
	stk_sp_set(c, &stk);
	if (i->imm == CPU_SS)
		event_mov_ss(c);
}

static bool is_seg_reg(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value >= ZYDIS_REGISTER_ES &&
	       op->reg.value <= ZYDIS_REGISTER_GS;
}

static bool is_cr_or_dr(const ZydisDecodedOperand *op)
{
	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	return ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_CONTROL ||
	       ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_DEBUG;
}

bool sys_is_seg_op(const struct dec *d)
{
	for (unsigned int k = 0; k < d->zi.operand_count_visible; k++)
		if (is_seg_reg(&d->op[k]) || is_cr_or_dr(&d->op[k]))
			return true;
	return false;
}

static uint64_t seg_number(const ZydisDecodedOperand *op)
{
	return (uint64_t)(op->reg.value - ZYDIS_REGISTER_ES);
}

int sys_bind_mov(const struct dec *d, struct insn *i)
{
	if (is_cr_or_dr(&d->op[0]) || is_cr_or_dr(&d->op[1]))
		return cr_bind_mov(d, i);
	if (is_seg_reg(&d->op[0])) {
		i->imm = seg_number(&d->op[0]);
		if (i->imm == CPU_CS)
			return -EINVAL;
		i->fn = mov_to_seg;
		return 0;
	}
	i->imm = seg_number(&d->op[1]);
	i->fn = mov_from_seg;
	return 0;
}

int sys_bind_push(const struct dec *d, struct insn *i)
{
	i->imm = seg_number(&d->op[0]);
	i->fn = push_seg;
	return 0;
}

int sys_bind_pop(const struct dec *d, struct insn *i)
{
	i->imm = seg_number(&d->op[0]);
	i->fn = pop_seg;
	return 0;
}

/* LDS, LES, LFS, LGS, LSS: a far pointer into a register pair. */
static void load_far(struct cpu *c, const struct insn *i)
{
	uint64_t lin = insn_lin(c, i, i->opsize + 2u, false);
	uint64_t off = ld_size(c, lin, i->opsize, i->flags & INSN_SS);
	uint16_t sel = ld16(c, lin + i->opsize, i->flags & INSN_SS);

	seg_load(c, (unsigned int)i->imm, sel);
	reg_set(c, i->dst, i->opsize, off);
}

static int bind_load_far(const struct dec *d, struct insn *i)
{
	if (!(i->flags & INSN_MEM))
		return -EINVAL;
	i->fn = load_far;
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_LDS:
		i->imm = CPU_DS;
		return 0;
	case ZYDIS_MNEMONIC_LES:
		i->imm = CPU_ES;
		return 0;
	case ZYDIS_MNEMONIC_LFS:
		i->imm = CPU_FS;
		return 0;
	case ZYDIS_MNEMONIC_LGS:
		i->imm = CPU_GS;
		return 0;
	default:
		i->imm = CPU_SS;
		return 0;
	}
}

/* --- questions about descriptors ------------------------------------------------------------------ */

static void set_zf(struct cpu *c, bool on)
{
	c->st.rflags = on ? c->st.rflags | RFLAGS_ZF : c->st.rflags & ~(uint64_t)RFLAGS_ZF;
}

static void need_protected(struct cpu *c)
{
	if (!c->protected_mode)
		cpu_raise(c, VEC_UD);
}

/* The descriptor of a selector that the present code could use; false: it could not. */
static bool desc_visible(struct cpu *c, uint16_t sel, struct desc *ret)
{
	if (!(sel & 0xfffc) || !desc_read(c, sel, ret))
		return false;
	if (desc_is_code(ret) && desc_is_conforming(ret))
		return true;
	return cpl(c) <= desc_dpl(ret) && (sel & 3u) <= desc_dpl(ret);
}

static bool type_in(const struct desc *d, uint32_t set)
{
	return set >> (d->attr & SEG_TYPE) & 1;
}

static void lar(struct cpu *c, const struct insn *i)
{
	static const uint32_t legacy = 1u << SYS_TSS16 | 1u << SYS_LDT | 1u << SYS_TSS16_BUSY |
				       1u << SYS_CALL16 | 1u << SYS_TASK_GATE | 1u << SYS_TSS |
				       1u << SYS_TSS_BUSY | 1u << SYS_CALL;
	static const uint32_t in_long = 1u << SYS_LDT | 1u << SYS_TSS | 1u << SYS_TSS_BUSY |
					1u << SYS_CALL;
	uint16_t sel;
	struct desc d;
	bool ok;

	need_protected(c);
	sel = i->flags & INSN_MEM ? sel_operand(c, i) : (uint16_t)reg_get(c, i->src, 2);
	ok = desc_visible(c, sel, &d) &&
	     ((d.attr & SEG_S) || type_in(&d, c->long_mode ? in_long : legacy));
	if (ok)
		reg_set(c, i->dst, i->opsize, d.lo >> 32 & 0xffff00);
	set_zf(c, ok);
}

static void lsl(struct cpu *c, const struct insn *i)
{
	static const uint32_t legacy = 1u << SYS_TSS16 | 1u << SYS_LDT | 1u << SYS_TSS16_BUSY |
				       1u << SYS_TSS | 1u << SYS_TSS_BUSY;
	static const uint32_t in_long = 1u << SYS_LDT | 1u << SYS_TSS | 1u << SYS_TSS_BUSY;
	uint16_t sel;
	struct desc d;
	bool ok;

	need_protected(c);
	sel = i->flags & INSN_MEM ? sel_operand(c, i) : (uint16_t)reg_get(c, i->src, 2);
	ok = desc_visible(c, sel, &d) &&
	     ((d.attr & SEG_S) || type_in(&d, c->long_mode ? in_long : legacy));
	if (ok)
		reg_set(c, i->dst, i->opsize, desc_to_seg(&d, sel).limit);
	set_zf(c, ok);
}

static void verr(struct cpu *c, const struct insn *i)
{
	uint16_t sel;
	struct desc d;

	need_protected(c);
	sel = sel_operand(c, i);
	set_zf(c, desc_visible(c, sel, &d) && (d.attr & SEG_S) &&
			  (!desc_is_code(&d) || (d.attr & SEG_TYPE_WR)));
}

static void verw(struct cpu *c, const struct insn *i)
{
	uint16_t sel;
	struct desc d;

	need_protected(c);
	sel = sel_operand(c, i);
	set_zf(c, desc_visible(c, sel, &d) && desc_is_writable_data(&d));
}

static void arpl(struct cpu *c, const struct insn *i)
{
	bool is_mem = i->flags & INSN_MEM;
	uint64_t lin = 0;
	uint16_t dst, src;

	need_protected(c);
	if (is_mem)
		lin = insn_lin(c, i, 2, false);
	/* Memory that need not change need not be writable. */
	dst = is_mem ? ld16(c, lin, i->flags & INSN_SS) : (uint16_t)reg_get(c, i->dst, 2);
	/* dst is the first general register: the source, when the destination is memory. */
	src = (uint16_t)reg_get(c, is_mem ? i->dst : i->src, 2);
	if ((dst & 3) < (src & 3)) {
		dst = (uint16_t)((dst & ~3u) | (src & 3u));
		if (is_mem)
			st16(c, insn_lin(c, i, 2, true), dst, i->flags & INSN_SS);
		else
			reg_set(c, i->dst, 2, dst);
		set_zf(c, true);
	} else {
		set_zf(c, false);
	}
}

/* --- LDTR and TR ---------------------------------------------------------------------------------- */

static void need_umip_off(struct cpu *c)
{
	need_protected(c);
	if (cpl(c) && (c->st.cr4 & CR4_UMIP))
		cpu_raise_err(c, VEC_GP, 0);
}

static void sldt(struct cpu *c, const struct insn *i)
{
	need_umip_off(c);
	store16(c, i, c->st.ldtr.sel);
}

static void str(struct cpu *c, const struct insn *i)
{
	need_umip_off(c);
	store16(c, i, c->st.tr.sel);
}

/* A system descriptor of the GDT for LLDT or LTR. */
static void read_for_load(struct cpu *c, uint16_t sel, uint32_t types, struct desc *ret)
{
	uint32_t err = sel & 0xfffc;

	if (sel & 4)
		cpu_raise_err(c, VEC_GP, err);
	desc_read_sys(c, sel, ret);
	if ((ret->attr & SEG_S) || !type_in(ret, types))
		cpu_raise_err(c, VEC_GP, err);
	if (!(ret->attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	if (!mmu_is_canonical_base(c, desc_to_seg(ret, sel).base))
		cpu_raise_err(c, VEC_GP, err);
}

static void need_cpl0(struct cpu *c)
{
	need_protected(c);
	if (cpl(c))
		cpu_raise_err(c, VEC_GP, 0);
}

static void lldt(struct cpu *c, const struct insn *i)
{
	uint16_t sel;
	struct desc d;

	need_cpl0(c);
	sel = sel_operand(c, i);
	if (!(sel & 0xfffc)) {
		c->st.ldtr = seg_null(sel, 0);
		return;
	}
	read_for_load(c, sel, 1u << SYS_LDT, &d);
	c->st.ldtr = desc_to_seg(&d, sel);
}

static void ltr(struct cpu *c, const struct insn *i)
{
	uint16_t sel;
	struct desc d;

	need_cpl0(c);
	sel = sel_operand(c, i);
	if (!(sel & 0xfffc))
		cpu_raise_err(c, VEC_GP, 0);
	read_for_load(c, sel, c->long_mode ? 1u << SYS_TSS : 1u << SYS_TSS | 1u << SYS_TSS16, &d);
	mem_or8_sys(c, d.lin + 5, SEG_TYPE_WR); /* available becomes busy */
	d.attr |= SEG_TYPE_WR;
	c->st.tr = desc_to_seg(&d, sel);
}

#define BIND(name)                                                                                 \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		i->fn = name;                                                                      \
		return 0;                                                                          \
	}
BIND(lar)
BIND(lsl)
BIND(verr)
BIND(verw)
BIND(arpl)
BIND(sldt)
BIND(str)
BIND(lldt)
BIND(ltr)

const struct interp_op interp_ops_seg[] = {
	{ ZYDIS_MNEMONIC_LDS, bind_load_far },
	{ ZYDIS_MNEMONIC_LES, bind_load_far },
	{ ZYDIS_MNEMONIC_LFS, bind_load_far },
	{ ZYDIS_MNEMONIC_LGS, bind_load_far },
	{ ZYDIS_MNEMONIC_LSS, bind_load_far },
	{ ZYDIS_MNEMONIC_LAR, bind_lar },
	{ ZYDIS_MNEMONIC_LSL, bind_lsl },
	{ ZYDIS_MNEMONIC_VERR, bind_verr },
	{ ZYDIS_MNEMONIC_VERW, bind_verw },
	{ ZYDIS_MNEMONIC_ARPL, bind_arpl },
	{ ZYDIS_MNEMONIC_SLDT, bind_sldt },
	{ ZYDIS_MNEMONIC_STR, bind_str },
	{ ZYDIS_MNEMONIC_LLDT, bind_lldt },
	{ ZYDIS_MNEMONIC_LTR, bind_ltr },
	{ 0, NULL },
};
