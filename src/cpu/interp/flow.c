// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Near control transfer: JMP, CALL, RET, Jcc, LOOPcc, JrCXZ, and the software interrupts. Far transfer is
 * in far.c. Targets are checked before anything is pushed or popped.
 *
 * 64-bit code with 64-bit operands has handlers of its own; everything else goes through cpu_jump_near().
 */
#include <errno.h>

#include "cpu/interp/events.h"
#include "cpu/interp/hostalu.h"
#include "cpu/mmu.h"

/* Is @target outside of what a near branch may reach? */
static bool is_bad_target(const struct cpu *c, uint64_t target)
{
	if (c->mode == CPU_MODE_64)
		return !mmu_is_canonical(c, target);
	return target > c->st.seg[CPU_CS].limit;
}

void cpu_jump_near(struct cpu *c, uint64_t target, unsigned int opsize)
{
	target = zext(target, opsize);
	if (is_bad_target(c, target))
		cpu_raise_err(c, VEC_GP, 0);
	c->st.rip = target;
}

/* The same for 64-bit code; addresses of 48 bits are canonical under 5-level paging too. */
static inline void jump64(struct cpu *c, uint64_t target)
{
	if (unlikely((uint64_t)((int64_t)(target << 16) >> 16) != target) &&
	    !mmu_is_canonical(c, target))
		cpu_raise_err(c, VEC_GP, 0);
	c->st.rip = target;
}

/* --- JMP, CALL, RET ----------------------------------------------------------------------------- */

static void jmp64_rel(struct cpu *c, const struct insn *i)
{
	jump64(c, c->st.rip + i->imm);
}

static void jmp64_r(struct cpu *c, const struct insn *i)
{
	jump64(c, rd64(c, i->dst));
}

static void jmp64_m(struct cpu *c, const struct insn *i)
{
	jump64(c, ldm64(c, i));
}

/* @next: the return address. The target is known to be good before the push, rip changes after it. */
static inline void call64(struct cpu *c, uint64_t target)
{
	uint64_t next = c->st.rip, sp = c->st.gpr[CPU_RSP] - 8;

	if (unlikely((uint64_t)((int64_t)(target << 16) >> 16) != target) &&
	    !mmu_is_canonical(c, target)) {
		mem_align(c, sp, 8, 8, MEM_SS); /* faults of the push come first */
		mem_probe(c, sp, 8, MEM_SS | MEM_RMW);
		cpu_raise_err(c, VEC_GP, 0);
	}
	st64(c, sp, next, MEM_SS);
	c->st.gpr[CPU_RSP] = sp;
	c->st.rip = target;
}

static void call64_rel(struct cpu *c, const struct insn *i)
{
	call64(c, c->st.rip + i->imm);
}

static void call64_r(struct cpu *c, const struct insn *i)
{
	call64(c, rd64(c, i->dst));
}

static void call64_m(struct cpu *c, const struct insn *i)
{
	call64(c, ldm64(c, i));
}

static void ret64(struct cpu *c, const struct insn *i)
{
	uint64_t sp = c->st.gpr[CPU_RSP];

	jump64(c, ld64(c, sp, MEM_SS));
	c->st.gpr[CPU_RSP] = sp + 8 + i->imm;
}

static void jmp_rel(struct cpu *c, const struct insn *i)
{
	cpu_jump_near(c, c->st.rip + i->imm, i->opsize);
}

static uint64_t target_operand(struct cpu *c, const struct insn *i)
{
	if (i->flags & INSN_MEM)
		return ld_size(c, insn_lin(c, i, i->opsize, false), i->opsize, insn_how(i));
	return reg_get(c, i->dst, i->opsize);
}

static void jmp_ind(struct cpu *c, const struct insn *i)
{
	cpu_jump_near(c, target_operand(c, i), i->opsize);
}

static void call_near(struct cpu *c, uint64_t target, unsigned int opsize)
{
	target = zext(target, opsize);
	if (is_bad_target(c, target))
		cpu_raise_err(c, VEC_GP, 0);
	cpu_push(c, c->st.rip, opsize);
	c->st.rip = target;
}

static void call_rel(struct cpu *c, const struct insn *i)
{
	call_near(c, c->st.rip + i->imm, i->opsize);
}

static void call_ind(struct cpu *c, const struct insn *i)
{
	call_near(c, target_operand(c, i), i->opsize);
}

static void ret(struct cpu *c, const struct insn *i)
{
	uint64_t old = c->st.gpr[CPU_RSP], mask = cpu_stack_mask(c);
	uint64_t target = zext(cpu_pop(c, i->opsize), i->opsize), sp = c->st.gpr[CPU_RSP];

	c->st.gpr[CPU_RSP] = old;
	cpu_jump_near(c, target, i->opsize);
	sp = (sp & ~mask) | ((sp + i->imm) & mask);
	c->st.gpr[CPU_RSP] = sp;
}

/* AMD: an operand-size prefix makes a branch address 16 bits wide, also in 64-bit mode. Zydis knows that of
 * some of them only. */
static void narrow_branch(const struct dec *d, struct insn *i)
{
	if (d->mode != CPU_MODE_64 || d->zi.raw.rex.W)
		return;
	for (unsigned int k = 0; k < d->zi.raw.prefix_count; k++)
		if (d->zi.raw.prefixes[k].value == 0x66)
			i->opsize = 2;
}

static int bind_jmp(const struct dec *d, struct insn *i)
{
	if (sys_is_far(d))
		return sys_bind_far(d, i);
	narrow_branch(d, i);
	if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		i->fn = i->opsize == 8 ? jmp64_rel : jmp_rel;
	else if (i->flags & INSN_MEM)
		i->fn = i->opsize == 8 ? jmp64_m : jmp_ind;
	else
		i->fn = i->opsize == 8 ? jmp64_r : jmp_ind;
	return 0;
}

static int bind_call(const struct dec *d, struct insn *i)
{
	if (sys_is_far(d))
		return sys_bind_far(d, i);
	narrow_branch(d, i);
	if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		i->fn = i->opsize == 8 ? call64_rel : call_rel;
	else if (i->flags & INSN_MEM)
		i->fn = i->opsize == 8 ? call64_m : call_ind;
	else
		i->fn = i->opsize == 8 ? call64_r : call_ind;
	return 0;
}

static int bind_ret(const struct dec *d, struct insn *i)
{
	if (sys_is_far(d))
		return sys_bind_far(d, i);
	narrow_branch(d, i);
	i->fn = i->opsize == 8 ? ret64 : ret;
	return 0;
}

/* --- conditional jumps -------------------------------------------------------------------------- */

#define F(flag) ((c->st.rflags & RFLAGS_##flag) != 0)
#define JCC(cc, condition)                                                                         \
	static void jcc64_##cc(struct cpu *c, const struct insn *i)                                \
	{                                                                                          \
		if (condition)                                                                     \
			jump64(c, c->st.rip + i->imm);                                             \
	}                                                                                          \
	static void jcc_##cc(struct cpu *c, const struct insn *i)                                  \
	{                                                                                          \
		if (condition)                                                                     \
			cpu_jump_near(c, c->st.rip + i->imm, i->opsize);                           \
	}
JCC(o, F(OF))
JCC(no, !F(OF))
JCC(b, F(CF))
JCC(nb, !F(CF))
JCC(z, F(ZF))
JCC(nz, !F(ZF))
JCC(be, (c->st.rflags & (RFLAGS_CF | RFLAGS_ZF)) != 0)
JCC(nbe, (c->st.rflags & (RFLAGS_CF | RFLAGS_ZF)) == 0)
JCC(s, F(SF))
JCC(ns, !F(SF))
JCC(p, F(PF))
JCC(np, !F(PF))
JCC(l, F(SF) != F(OF))
JCC(nl, F(SF) == F(OF))
JCC(le, F(ZF) || F(SF) != F(OF))
JCC(nle, !F(ZF) && F(SF) == F(OF))

static int bind_jcc(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[16][2] = {
		{ jcc_o, jcc64_o },	{ jcc_no, jcc64_no },	{ jcc_b, jcc64_b },
		{ jcc_nb, jcc64_nb },	{ jcc_z, jcc64_z },	{ jcc_nz, jcc64_nz },
		{ jcc_be, jcc64_be },	{ jcc_nbe, jcc64_nbe }, { jcc_s, jcc64_s },
		{ jcc_ns, jcc64_ns },	{ jcc_p, jcc64_p },	{ jcc_np, jcc64_np },
		{ jcc_l, jcc64_l },	{ jcc_nl, jcc64_nl },	{ jcc_le, jcc64_le },
		{ jcc_nle, jcc64_nle },
	};

	narrow_branch(d, i);
	i->fn = fns[d->zi.opcode & 0xf][i->opsize == 8];
	return 0;
}

/* --- counting in rcx: the address size says how wide -------------------------------------------- */

static void jrcxz(struct cpu *c, const struct insn *i)
{
	if (!reg_get(c, CPU_RCX * 8, i->asize))
		cpu_jump_near(c, c->st.rip + i->imm, i->opsize);
}

static void loop_if(struct cpu *c, const struct insn *i, bool condition)
{
	uint64_t n = zext(c->st.gpr[CPU_RCX] - 1, i->asize);

	if (n && condition)
		cpu_jump_near(c, c->st.rip + i->imm, i->opsize);
	reg_set(c, CPU_RCX * 8, i->asize, n);
}

static void loop(struct cpu *c, const struct insn *i)
{
	loop_if(c, i, true);
}

static void loope(struct cpu *c, const struct insn *i)
{
	loop_if(c, i, F(ZF));
}

static void loopne(struct cpu *c, const struct insn *i)
{
	loop_if(c, i, !F(ZF));
}

/* --- software interrupts ------------------------------------------------------------------------ */

static void int_n(struct cpu *c, const struct insn *i)
{
	cpu_soft_int(c, (uint8_t)i->imm, SOFT_INT_N);
}

static void int3(struct cpu *c, const struct insn *i)
{
	cpu_soft_int(c, VEC_BP, SOFT_INT_3);
}

static void int1(struct cpu *c, const struct insn *i)
{
	cpu_soft_int(c, VEC_DB, SOFT_INT_1);
}

static void into(struct cpu *c, const struct insn *i)
{
	if (F(OF))
		cpu_soft_int(c, VEC_OF, SOFT_INT_3);
}

static void bound(struct cpu *c, const struct insn *i)
{
	unsigned int size = i->opsize;
	uint64_t ea = insn_ea(c, i), lin = seg_lin(c, i->seg, ea, size, false);
	int64_t low = (int64_t)sext(ld_size(c, lin, size, insn_how(i)), size), high;
	int64_t v = (int64_t)sext(reg_get(c, i->dst, size), size);

	lin = seg_lin(c, i->seg, ea + size, size, false);
	high = (int64_t)sext(ld_size(c, lin, size, insn_how(i)), size);
	if (v < low || v > high)
		cpu_raise(c, VEC_BR);
}

#define SIMPLE(fn_name)                                                                            \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                             \
	{                                                                                          \
		i->fn = fn_name;                                                                   \
		return 0;                                                                          \
	}
#define NARROW(fn_name)                                                                            \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                             \
	{                                                                                          \
		narrow_branch(d, i);                                                               \
		i->fn = fn_name;                                                                   \
		return 0;                                                                          \
	}
NARROW(jrcxz)
NARROW(loop)

/* A repeat prefix, the last of them, decides about the condition, not the opcode; as the hardware does. */
static int bind_loop_if(const struct dec *d, struct insn *i)
{
	bool equal = d->zi.mnemonic == ZYDIS_MNEMONIC_LOOPE;

	narrow_branch(d, i);
	if (i->flags & (INSN_REP | INSN_REPNE))
		equal = i->flags & INSN_REP;
	i->fn = equal ? loope : loopne;
	return 0;
}
SIMPLE(int_n)
SIMPLE(int3)
SIMPLE(int1)
SIMPLE(into)
SIMPLE(bound)

#define OP(mnemonic, bind)                                                                         \
	{                                                                                          \
		ZYDIS_MNEMONIC_##mnemonic, bind                                                    \
	}
/* clang-format off */
const struct interp_op interp_ops_flow[] = {
	OP(JMP, bind_jmp), OP(CALL, bind_call), OP(RET, bind_ret),
	OP(JO, bind_jcc), OP(JNO, bind_jcc), OP(JB, bind_jcc), OP(JNB, bind_jcc),
	OP(JZ, bind_jcc), OP(JNZ, bind_jcc), OP(JBE, bind_jcc), OP(JNBE, bind_jcc),
	OP(JS, bind_jcc), OP(JNS, bind_jcc), OP(JP, bind_jcc), OP(JNP, bind_jcc),
	OP(JL, bind_jcc), OP(JNL, bind_jcc), OP(JLE, bind_jcc), OP(JNLE, bind_jcc),
	OP(JCXZ, bind_jrcxz), OP(JECXZ, bind_jrcxz), OP(JRCXZ, bind_jrcxz),
	OP(LOOP, bind_loop), OP(LOOPE, bind_loop_if), OP(LOOPNE, bind_loop_if),
	OP(INT, bind_int_n), OP(INT3, bind_int3), OP(INT1, bind_int1), OP(INTO, bind_into),
	OP(BOUND, bind_bound),
	{ 0, NULL },
};
/* clang-format on */
