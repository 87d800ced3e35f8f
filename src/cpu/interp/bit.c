// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bits: BT, BTS, BTR, BTC, BSF, BSR, LZCNT, TZCNT, POPCNT, on the host with the guest's flags loaded before,
 * because each of them leaves some flags alone or undefined.
 *
 * With a bit offset from a register a memory operand is a bit string: the offset is signed and reaches
 * beyond the operand.
 */
#include <errno.h>

#include "cpu/interp/atomic.h"
#include "cpu/interp/bit.h"

/* --- BT, BTS, BTR, BTC -------------------------------------------------------------------------- */

#define HOST_BT(name, sfx, bits)                                                                   \
	static inline uint##bits##_t host_##name##bits(uint##bits##_t a, uint##bits##_t n,         \
						       uint64_t rflags, uint32_t *ret_ax)          \
	{                                                                                          \
		uint32_t ax = flags_ax(rflags);                                                    \
                                                                                                   \
		__asm__(FLAGS_IN #name sfx " %[n], %[a]\n\t" FLAGS_OUT                             \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [n] "r"(n)                                                               \
			: "cc");                                                                   \
		*ret_ax = ax;                                                                      \
		return a;                                                                          \
	}

/* BT only reads: @writes is false for it. */
#define BT_SIZE(name, sfx, bits, writes)                                                           \
	HOST_BT(name, sfx, bits)                                                                   \
	static void name##bits##_r(struct cpu *c, const struct insn *i, uint##bits##_t n)          \
	{                                                                                          \
		uint32_t ax;                                                                       \
		uint##bits##_t a = host_##name##bits(rd##bits(c, i->dst), n, c->st.rflags, &ax);   \
                                                                                                   \
		if (writes)                                                                        \
			wr##bits(c, i->dst, a);                                                    \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i, uint64_t ea,               \
				   uint##bits##_t n)                                               \
	{                                                                                          \
		uint64_t lin = seg_lin(c, i->seg, ea, bits / 8, writes);                           \
		uint##bits##_t a = ld##bits(c, lin, insn_how(i) | (writes ? MEM_RMW : 0));         \
		uint32_t ax;                                                                       \
                                                                                                   \
		a = host_##name##bits(a, n, c->st.rflags, &ax);                                    \
		if (writes)                                                                        \
			st##bits(c, lin, a, insn_how(i));                                          \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_rr(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		name##bits##_r(c, i, rd##bits(c, i->src));                                         \
	}                                                                                          \
	static void name##bits##_ri(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		name##bits##_r(c, i, (uint##bits##_t)i->imm);                                      \
	}                                                                                          \
	static void name##bits##_mr(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		name##bits##_m(c, i, bit_string_ea(c, i), rd##bits(c, i->dst));                    \
	}                                                                                          \
	static void name##bits##_mi(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		name##bits##_m(c, i, insn_ea(c, i), (uint##bits##_t)i->imm);                       \
	}

#define BT_ROW(name, form)                                                                         \
	{                                                                                          \
		name##16_##form, name##32_##form, name##64_##form                                  \
	}
#define BT(name, writes)                                                                           \
	BT_SIZE(name, "w", 16, writes)                                                             \
	BT_SIZE(name, "l", 32, writes)                                                             \
	BT_SIZE(name, "q", 64, writes)                                                             \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[2][2][3] = { { BT_ROW(name, rr), BT_ROW(name, ri) },   \
							 { BT_ROW(name, mr), BT_ROW(name, mi) } }; \
		bool is_imm = d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;                       \
                                                                                                   \
		if (i->flags & INSN_LOCK)                                                          \
			return atomic_bind_bit(d, i);                                              \
		i->fn = fns[(i->flags & INSN_MEM) != 0][is_imm][size_index(i->opsize) - 1];        \
		return 0;                                                                          \
	}
BT(bt, false)
BT(bts, true)
BT(btr, true)
BT(btc, true)

/* --- searching and counting --------------------------------------------------------------------- */

/* The destination goes in as well: BSF and BSR of 0 leave it as it is, 64 bits of it as the host does. */
#define SCAN_SIZE(name, op, mod, bits)                                                             \
	static inline void name##bits(struct cpu *c, const struct insn *i, uint##bits##_t v)       \
	{                                                                                          \
		uint64_t to = rd64(c, i->dst);                                                     \
		uint32_t ax = flags_ax(c->st.rflags);                                              \
                                                                                                   \
		__asm__(FLAGS_IN op " %[v], %" mod "[to]\n\t" FLAGS_OUT                            \
			: [to] "+&r"(to), "+&a"(ax)                                                \
			: [v] "r"(v)                                                               \
			: "cc");                                                                   \
		wr64(c, i->dst, to);                                                               \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits(c, i, rd##bits(c, i->src));                                             \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits(c, i, ldm##bits(c, i));                                                 \
	}
#define SCAN(name)                                                                                 \
	SCAN_SIZE(name, #name "w", "w", 16)                                                        \
	SCAN_SIZE(name, #name "l", "k", 32)                                                        \
	SCAN_SIZE(name, #name "q", "q", 64)                                                        \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[2][3] = { BT_ROW(name, r), BT_ROW(name, m) };          \
                                                                                                   \
		i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize) - 1];                \
		return 0;                                                                          \
	}
SCAN(bsf)
SCAN(bsr)
SCAN(tzcnt)
SCAN(lzcnt)
SCAN(popcnt)

const struct interp_op interp_ops_bit[] = {
	{ ZYDIS_MNEMONIC_BT, bind_bt },		{ ZYDIS_MNEMONIC_BTS, bind_bts },
	{ ZYDIS_MNEMONIC_BTR, bind_btr },	{ ZYDIS_MNEMONIC_BTC, bind_btc },
	{ ZYDIS_MNEMONIC_BSF, bind_bsf },	{ ZYDIS_MNEMONIC_BSR, bind_bsr },
	{ ZYDIS_MNEMONIC_TZCNT, bind_tzcnt },	{ ZYDIS_MNEMONIC_LZCNT, bind_lzcnt },
	{ ZYDIS_MNEMONIC_POPCNT, bind_popcnt }, { 0, NULL },
};
