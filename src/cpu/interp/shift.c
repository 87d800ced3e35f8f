// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shifts and rotates, done by the host with the guest's flags loaded before: a count of 0 leaves them, RCL
 * and RCR read them, and the undefined ones come out as the host has them.
 */
#include <errno.h>

#include "cpu/interp/hostalu.h"

/* The host masks the count as the guest's CPU does; it is the same instruction. */
#define HOST_SHIFT(name, sfx, bits)                                                                \
	static inline uint##bits##_t host_##name##bits(uint##bits##_t a, uint8_t count,            \
						       uint64_t rflags, uint32_t *ret_ax)          \
	{                                                                                          \
		uint32_t ax = flags_ax(rflags);                                                    \
                                                                                                   \
		__asm__(FLAGS_IN #name sfx " %%cl, %[a]\n\t" FLAGS_OUT                             \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		*ret_ax = ax;                                                                      \
		return a;                                                                          \
	}

#define SHIFT_FORMS(name, bits, form, count)                                                       \
	static void name##bits##_r_##form(struct cpu *c, const struct insn *i)                     \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		wr##bits(c, i->dst,                                                                \
			 host_##name##bits(rd##bits(c, i->dst), (count), c->st.rflags, &ax));      \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_m_##form(struct cpu *c, const struct insn *i)                     \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                        \
		uint32_t ax;                                                                       \
                                                                                                   \
		st##bits(c, lin, host_##name##bits(a, (count), c->st.rflags, &ax), insn_how(i));   \
		flags_put(c, ax);                                                                  \
	}
#define SHIFT_SIZE(name, sfx, bits)                                                                \
	HOST_SHIFT(name, sfx, bits)                                                                \
	SHIFT_FORMS(name, bits, i, (uint8_t)i->imm)                                                \
	SHIFT_FORMS(name, bits, c, rd8(c, CPU_RCX * 8))

#define SHIFT_ROW(name, form)                                                                      \
	{                                                                                          \
		name##8_##form, name##16_##form, name##32_##form, name##64_##form                  \
	}
#define SHIFT(name)                                                                                \
	SHIFT_SIZE(name, "b", 8)                                                                   \
	SHIFT_SIZE(name, "w", 16)                                                                  \
	SHIFT_SIZE(name, "l", 32)                                                                  \
	SHIFT_SIZE(name, "q", 64)                                                                  \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		/* By count (immediate, CL) and operand (register, memory). */                     \
		static interp_fn *const fns[2][2][4] = {                                           \
			{ SHIFT_ROW(name, r_i), SHIFT_ROW(name, m_i) },                            \
			{ SHIFT_ROW(name, r_c), SHIFT_ROW(name, m_c) },                            \
		};                                                                                 \
		bool by_cl = d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;                         \
                                                                                                   \
		i->fn = fns[by_cl][(i->flags & INSN_MEM) != 0][size_index(i->opsize)];             \
		return 0;                                                                          \
	}

SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

/* --- double shifts ------------------------------------------------------------------------------ */

#define HOST_DOUBLE(name, sfx, bits)                                                               \
	static inline uint##bits##_t host_##name##bits(uint##bits##_t a, uint##bits##_t b,         \
						       uint8_t count, uint64_t rflags,             \
						       uint32_t *ret_ax)                           \
	{                                                                                          \
		uint32_t ax = flags_ax(rflags);                                                    \
                                                                                                   \
		__asm__(FLAGS_IN #name sfx " %%cl, %[b], %[a]\n\t" FLAGS_OUT                       \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [b] "r"(b), "c"(count)                                                   \
			: "cc");                                                                   \
		*ret_ax = ax;                                                                      \
		return a;                                                                          \
	}
/* In the memory form the only register operand is dst. */
#define DOUBLE_FORMS(name, bits, form, count)                                                      \
	static void name##bits##_r_##form(struct cpu *c, const struct insn *i)                     \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		wr##bits(c, i->dst,                                                                \
			 host_##name##bits(rd##bits(c, i->dst), rd##bits(c, i->src), (count),      \
					   c->st.rflags, &ax));                                    \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_m_##form(struct cpu *c, const struct insn *i)                     \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                        \
		uint32_t ax;                                                                       \
                                                                                                   \
		a = host_##name##bits(a, rd##bits(c, i->dst), (count), c->st.rflags, &ax);         \
		st##bits(c, lin, a, insn_how(i));                                                  \
		flags_put(c, ax);                                                                  \
	}
#define DOUBLE_SIZE(name, sfx, bits)                                                               \
	HOST_DOUBLE(name, sfx, bits)                                                               \
	DOUBLE_FORMS(name, bits, i, (uint8_t)i->imm)                                               \
	DOUBLE_FORMS(name, bits, c, rd8(c, CPU_RCX * 8))
#define DOUBLE_ROW(name, form)                                                                     \
	{                                                                                          \
		name##16_##form, name##32_##form, name##64_##form                                  \
	}
#define DOUBLE(name)                                                                               \
	DOUBLE_SIZE(name, "w", 16)                                                                 \
	DOUBLE_SIZE(name, "l", 32)                                                                 \
	DOUBLE_SIZE(name, "q", 64)                                                                 \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[2][2][3] = {                                           \
			{ DOUBLE_ROW(name, r_i), DOUBLE_ROW(name, m_i) },                          \
			{ DOUBLE_ROW(name, r_c), DOUBLE_ROW(name, m_c) },                          \
		};                                                                                 \
		bool by_cl = d->op[2].type == ZYDIS_OPERAND_TYPE_REGISTER;                         \
                                                                                                   \
		i->fn = fns[by_cl][(i->flags & INSN_MEM) != 0][size_index(i->opsize) - 1];         \
		return 0;                                                                          \
	}

DOUBLE(shld)
DOUBLE(shrd)

const struct interp_op interp_ops_shift[] = {
	{ ZYDIS_MNEMONIC_ROL, bind_rol },   { ZYDIS_MNEMONIC_ROR, bind_ror },
	{ ZYDIS_MNEMONIC_RCL, bind_rcl },   { ZYDIS_MNEMONIC_RCR, bind_rcr },
	{ ZYDIS_MNEMONIC_SHL, bind_shl },   { ZYDIS_MNEMONIC_SHR, bind_shr },
	{ ZYDIS_MNEMONIC_SAR, bind_sar },   { ZYDIS_MNEMONIC_SHLD, bind_shld },
	{ ZYDIS_MNEMONIC_SHRD, bind_shrd }, { 0, NULL },
};
