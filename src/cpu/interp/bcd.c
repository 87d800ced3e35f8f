// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decimal adjustments: DAA, DAS, AAA, AAS, AAM, AAD. The host cannot execute them in 64-bit mode, so they
 * are written out. Source: AMD APM volume 3; undefined flags as measured on Zen 3 in compatibility mode.
 */
#include "cpu/interp/hostalu.h"

static uint8_t al(const struct cpu *c)
{
	return (uint8_t)c->st.gpr[CPU_RAX];
}

static uint8_t ah(const struct cpu *c)
{
	return (uint8_t)(c->st.gpr[CPU_RAX] >> 8);
}

/* SF, ZF and PF of a byte. */
static uint64_t szp(uint8_t v)
{
	return (v & 0x80) | (v ? 0 : RFLAGS_ZF) | (__builtin_parity(v) ? 0 : RFLAGS_PF);
}

static void status_put(struct cpu *c, uint64_t flags)
{
	c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) | flags;
}

/* Overflow of the byte operation that made @to of @from. */
static uint64_t overflow8(uint8_t from, uint8_t to, uint8_t operand, bool is_sub)
{
	unsigned int of = is_sub ? (from ^ operand) & (from ^ to) : (to ^ from) & (to ^ operand);

	return of & 0x80 ? RFLAGS_OF : 0;
}

static void da(struct cpu *c, bool is_sub)
{
	uint64_t of = 0;
	uint8_t old = al(c), v = old, sign = is_sub ? 0xff : 1;
	bool cf = c->st.rflags & RFLAGS_CF, af = c->st.rflags & RFLAGS_AF, new_cf = false;

	if ((old & 0xf) > 9 || af) {
		v = (uint8_t)(v + sign * 6);
		of |= overflow8(old, v, 6, is_sub);
		af = true;
		new_cf = is_sub ? cf || old < 6 : cf || old > 0xf9;
	}
	if (old > 0x99 || cf) {
		uint8_t before = v;

		v = (uint8_t)(v + sign * 0x60);
		of |= overflow8(before, v, 0x60, is_sub);
		new_cf = true;
	}
	wr8(c, CPU_RAX * 8, v);
	status_put(c, szp(v) | of | (new_cf ? RFLAGS_CF : 0) | (af ? RFLAGS_AF : 0));
}

static void daa(struct cpu *c, const struct insn *i)
{
	da(c, false);
}

static void das(struct cpu *c, const struct insn *i)
{
	da(c, true);
}

static void aa(struct cpu *c, bool is_sub)
{
	bool adjust = (al(c) & 0xf) > 9 || (c->st.rflags & RFLAGS_AF);
	uint16_t old = (uint16_t)c->st.gpr[CPU_RAX], ax = old;
	uint64_t flags = adjust ? RFLAGS_CF | RFLAGS_AF : 0;
	unsigned int of = 0;

	if (adjust) {
		ax = (uint16_t)(is_sub ? old - 0x106 : old + 0x106);
		of = is_sub ? (old ^ 0x106) & (old ^ ax) : (ax ^ old) & (ax ^ 0x106);
	}
	wr16(c, CPU_RAX * 8, ax & 0xff0f);
	/* The others are those of the 16-bit addition or subtraction, before AL is cut. */
	flags |= (ax & 0x8000 ? RFLAGS_SF : 0) | (ax ? 0 : RFLAGS_ZF) |
		 (of & 0x8000 ? RFLAGS_OF : 0);
	status_put(c, flags | (__builtin_parity(ax & 0xff) ? 0 : RFLAGS_PF));
}

static void aaa(struct cpu *c, const struct insn *i)
{
	aa(c, false);
}

static void aas(struct cpu *c, const struct insn *i)
{
	aa(c, true);
}

static void aam(struct cpu *c, const struct insn *i)
{
	uint8_t base = (uint8_t)i->imm, v = al(c);

	if (!base)
		cpu_raise(c, VEC_DE);
	wr16(c, CPU_RAX * 8, (uint16_t)((v / base) << 8 | v % base));
	status_put(c, szp(al(c)));
}

static void aad(struct cpu *c, const struct insn *i)
{
	uint8_t a = al(c), b = (uint8_t)(ah(c) * (uint8_t)i->imm), v = (uint8_t)(a + b);

	/* The flags of adding the two bytes. */
	wr16(c, CPU_RAX * 8, v);
	status_put(c, szp(v) | (v < a ? RFLAGS_CF : 0) | ((a ^ b ^ v) & RFLAGS_AF) |
			      overflow8(a, v, b, false));
}

#define SIMPLE(fn_name)                                                                            \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                             \
	{                                                                                          \
		i->fn = fn_name;                                                                   \
		return 0;                                                                          \
	}
SIMPLE(daa)
SIMPLE(das)
SIMPLE(aaa)
SIMPLE(aas)
SIMPLE(aam)
SIMPLE(aad)

const struct interp_op interp_ops_bcd[] = {
	{ ZYDIS_MNEMONIC_DAA, bind_daa },
	{ ZYDIS_MNEMONIC_DAS, bind_das },
	{ ZYDIS_MNEMONIC_AAA, bind_aaa },
	{ ZYDIS_MNEMONIC_AAS, bind_aas },
	{ ZYDIS_MNEMONIC_AAM, bind_aam },
	{ ZYDIS_MNEMONIC_AAD, bind_aad },
	{ 0, NULL },
};
