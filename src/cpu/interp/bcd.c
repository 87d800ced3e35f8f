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

static void da(struct cpu *c, bool is_sub)
{
	uint8_t old = al(c), v = old, sign = is_sub ? 0xff : 1;
	bool cf = c->st.rflags & RFLAGS_CF, af = c->st.rflags & RFLAGS_AF, new_cf = false;

	if ((old & 0xf) > 9 || af) {
		v = (uint8_t)(v + sign * 6);
		af = true;
		new_cf = is_sub ? cf || old < 6 : cf || old > 0xf9;
	}
	if (old > 0x99 || cf) {
		v = (uint8_t)(v + sign * 0x60);
		new_cf = true;
	}
	wr8(c, CPU_RAX * 8, v);
	status_put(c, szp(v) | (new_cf ? RFLAGS_CF : 0) | (af ? RFLAGS_AF : 0));
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
	uint16_t ax = (uint16_t)c->st.gpr[CPU_RAX];

	if (adjust)
		ax = (uint16_t)(is_sub ? ax - 0x106 : ax + 0x106);
	ax &= 0xff0f;
	wr16(c, CPU_RAX * 8, ax);
	status_put(c, szp((uint8_t)ax) | (adjust ? RFLAGS_CF | RFLAGS_AF : 0));
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
	uint8_t v = (uint8_t)(al(c) + ah(c) * (uint8_t)i->imm);

	wr16(c, CPU_RAX * 8, v);
	status_put(c, szp(v));
}

#define SIMPLE(fn_name)                                                                             \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                               \
	{                                                                                            \
		i->fn = fn_name;                                                                     \
		return 0;                                                                            \
	}
SIMPLE(daa)
SIMPLE(das)
SIMPLE(aaa)
SIMPLE(aas)
SIMPLE(aam)
SIMPLE(aad)

const struct interp_op interp_ops_bcd[] = {
	{ ZYDIS_MNEMONIC_DAA, bind_daa }, { ZYDIS_MNEMONIC_DAS, bind_das },
	{ ZYDIS_MNEMONIC_AAA, bind_aaa }, { ZYDIS_MNEMONIC_AAS, bind_aas },
	{ ZYDIS_MNEMONIC_AAM, bind_aam }, { ZYDIS_MNEMONIC_AAD, bind_aad },
	{ 0, NULL },
};
