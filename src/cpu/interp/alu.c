// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT: a handler for each operand size and form,
 * because these are half of what guests execute. Locked forms are in atomic.c.
 */
#include <errno.h>

#include "cpu/interp/atomic.h"
#include "cpu/interp/hostalu.h"

HOST_BIN(add, "")
HOST_BIN(or, "")
HOST_BIN(adc, CARRY_IN)
HOST_BIN(sbb, CARRY_IN)
HOST_BIN(and, "")
HOST_BIN(sub, "")
HOST_BIN(xor, "")
HOST_BIN(cmp, "")
HOST_BIN(test, "")
HOST_UN(inc, CARRY_IN)
HOST_UN(dec, CARRY_IN)
HOST_UN(neg, "")

enum form { FORM_RR, FORM_RM, FORM_MR, FORM_RI, FORM_MI, NR_FORMS };

/* a = a op b for one operand size; the flags change after the store, which may raise. */
#define BIN_FORM_R(name, bits, form, b_value)                                                      \
	static void name##bits##_##form(struct cpu *c, const struct insn *i)                       \
	{                                                                                          \
		uint##bits##_t b = (uint##bits##_t)(b_value);                                      \
		uint32_t ax;                                                                       \
                                                                                                   \
		wr##bits(c, i->dst, host_##name##bits(rd##bits(c, i->dst), b, c->st.rflags, &ax)); \
		flags_put(c, ax);                                                                  \
	}
#define BIN_FORM_M(name, bits, form, b_value)                                                      \
	static void name##bits##_##form(struct cpu *c, const struct insn *i)                       \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                        \
		uint##bits##_t b = (uint##bits##_t)(b_value);                                      \
		uint32_t ax;                                                                       \
                                                                                                   \
		st##bits(c, lin, host_##name##bits(a, b, c->st.rflags, &ax), insn_how(i));         \
		flags_put(c, ax);                                                                  \
	}
/* Only the flags of a op b. */
#define CMP_FORM(name, bits, form, a_value, b_value)                                               \
	static void name##bits##_##form(struct cpu *c, const struct insn *i)                       \
	{                                                                                          \
		uint##bits##_t a = (a_value), b = (uint##bits##_t)(b_value);                       \
		uint32_t ax;                                                                       \
                                                                                                   \
		host_##name##bits(a, b, c->st.rflags, &ax);                                        \
		flags_put(c, ax);                                                                  \
	}

#define BIN_SIZE(name, bits)                                                                       \
	BIN_FORM_R(name, bits, rr, rd##bits(c, i->src))                                            \
	BIN_FORM_R(name, bits, rm, ldm##bits(c, i))                                                \
	BIN_FORM_M(name, bits, mr, rd##bits(c, i->dst))                                            \
	BIN_FORM_R(name, bits, ri, i->imm)                                                         \
	BIN_FORM_M(name, bits, mi, i->imm)
#define CMP_SIZE(name, bits)                                                                       \
	CMP_FORM(name, bits, rr, rd##bits(c, i->dst), rd##bits(c, i->src))                         \
	CMP_FORM(name, bits, rm, rd##bits(c, i->dst), ldm##bits(c, i))                             \
	CMP_FORM(name, bits, mr, ldm##bits(c, i), rd##bits(c, i->dst))                             \
	CMP_FORM(name, bits, ri, rd##bits(c, i->dst), i->imm)                                      \
	CMP_FORM(name, bits, mi, ldm##bits(c, i), i->imm)

#define FORM_ROW(name, form)                                                                       \
	{                                                                                          \
		name##8_##form, name##16_##form, name##32_##form, name##64_##form                  \
	}
#define BIN_TABLE(name)                                                                            \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[NR_FORMS][4] = {                                       \
			[FORM_RR] = FORM_ROW(name, rr), [FORM_RM] = FORM_ROW(name, rm),            \
			[FORM_MR] = FORM_ROW(name, mr), [FORM_RI] = FORM_ROW(name, ri),            \
			[FORM_MI] = FORM_ROW(name, mi),                                            \
		};                                                                                 \
		return bind_form(d, i, fns);                                                       \
	}

static int bind_form(const struct dec *d, struct insn *i, interp_fn *const fns[NR_FORMS][4])
{
	ZydisOperandType a = d->op[0].type, b = d->op[1].type;
	enum form form;

	if (i->flags & INSN_LOCK)
		return atomic_bind_alu(d, i);
	if (a == ZYDIS_OPERAND_TYPE_MEMORY)
		form = b == ZYDIS_OPERAND_TYPE_IMMEDIATE ? FORM_MI : FORM_MR;
	else
		form = b == ZYDIS_OPERAND_TYPE_IMMEDIATE ? FORM_RI
		       : b == ZYDIS_OPERAND_TYPE_MEMORY	 ? FORM_RM
							 : FORM_RR;
	i->fn = fns[form][size_index(i->opsize)];
	return 0;
}

#define BIN(name)                                                                                  \
	BIN_SIZE(name, 8)                                                                          \
	BIN_SIZE(name, 16)                                                                         \
	BIN_SIZE(name, 32)                                                                         \
	BIN_SIZE(name, 64)                                                                         \
	BIN_TABLE(name)
#define CMP(name)                                                                                  \
	CMP_SIZE(name, 8)                                                                          \
	CMP_SIZE(name, 16)                                                                         \
	CMP_SIZE(name, 32)                                                                         \
	CMP_SIZE(name, 64)                                                                         \
	BIN_TABLE(name)

BIN(add)
BIN(or)
BIN(adc)
BIN(sbb)
BIN(and)
BIN(sub)
BIN(xor)
CMP(cmp)
CMP(test)

/* --- one operand -------------------------------------------------------------------------------- */

#define UN_SIZE(name, bits)                                                                        \
	static void name##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		wr##bits(c, i->dst, host_##name##bits(rd##bits(c, i->dst), c->st.rflags, &ax));    \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                        \
		uint32_t ax;                                                                       \
                                                                                                   \
		st##bits(c, lin, host_##name##bits(a, c->st.rflags, &ax), insn_how(i));            \
		flags_put(c, ax);                                                                  \
	}
#define NOT_SIZE(name, bits)                                                                       \
	static void name##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		wr##bits(c, i->dst, (uint##bits##_t) ~rd##bits(c, i->dst));                        \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                        \
                                                                                                   \
		st##bits(c, lin, (uint##bits##_t) ~a, insn_how(i));                                \
	}
#define UN(name, SIZE)                                                                             \
	SIZE(name, 8)                                                                              \
	SIZE(name, 16)                                                                             \
	SIZE(name, 32)                                                                             \
	SIZE(name, 64)                                                                             \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[2][4] = { FORM_ROW(name, r), FORM_ROW(name, m) };      \
                                                                                                   \
		if (i->flags & INSN_LOCK)                                                          \
			return atomic_bind_alu(d, i);                                              \
		i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize)];                    \
		return 0;                                                                          \
	}

UN(inc, UN_SIZE)
UN(dec, UN_SIZE)
UN(neg, UN_SIZE)
UN(not, NOT_SIZE)

const struct interp_op interp_ops_alu[] = {
	{ ZYDIS_MNEMONIC_ADD, bind_add },   { ZYDIS_MNEMONIC_OR, bind_or },
	{ ZYDIS_MNEMONIC_ADC, bind_adc },   { ZYDIS_MNEMONIC_SBB, bind_sbb },
	{ ZYDIS_MNEMONIC_AND, bind_and },   { ZYDIS_MNEMONIC_SUB, bind_sub },
	{ ZYDIS_MNEMONIC_XOR, bind_xor },   { ZYDIS_MNEMONIC_CMP, bind_cmp },
	{ ZYDIS_MNEMONIC_TEST, bind_test }, { ZYDIS_MNEMONIC_INC, bind_inc },
	{ ZYDIS_MNEMONIC_DEC, bind_dec },   { ZYDIS_MNEMONIC_NEG, bind_neg },
	{ ZYDIS_MNEMONIC_NOT, bind_not },   { 0, NULL },
};
