// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Locked instructions: LOCK-prefixed ALU and bit operations, XCHG with memory, XADD, CMPXCHG, CMPXCHG8B and
 * 16B. On guest RAM they are the host's own locked instruction. What the host cannot reach in one piece
 * (page-crossing, MMIO, a watched address) is done in steps while all other vCPUs stand still.
 *
 * XADD and CMPXCHG without LOCK are done as if it were there, which nobody can tell from luck.
 */
#include "cpu/interp/atomic.h"

#include <errno.h>

#include "cpu/interp/bit.h"

HOST_BIN(add, "")
HOST_BIN(or, "")
HOST_BIN(adc, CARRY_IN)
HOST_BIN(sbb, CARRY_IN)
HOST_BIN(and, "")
HOST_BIN(sub, "")
HOST_BIN(xor, "")
HOST_BIN(cmp, "")
HOST_UN(inc, CARRY_IN)
HOST_UN(dec, CARRY_IN)
HOST_UN(neg, "")

/* Second operand of a locked instruction: register i->dst, or an immediate when i->aux is set. */
#define OPERAND_B(bits) (i->aux ? (uint##bits##_t)i->imm : rd##bits(c, i->dst))
static const char is_imm_mark[1];

/* --- a op= b ------------------------------------------------------------------------------------ */

#define LOCKED_BIN_SIZE(name, pre, sfx, bits)                                                       \
	static void lock_##name##bits(struct cpu *c, const struct insn *i)                          \
	{                                                                                           \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                      \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                        \
		uint##bits##_t b = OPERAND_B(bits);                                                 \
		uint32_t ax = 0;                                                                    \
                                                                                                    \
		if (likely(p != NULL)) {                                                            \
			__asm__ volatile(pre "lock " #name sfx " %[b], (%[p])\n\t" FLAGS_OUT        \
					 : "+&a"(ax)                                                \
					 : [p] "r"(p), [b] "r"(b), [rf] "r"((uint32_t)c->st.rflags) \
					 : "cc", "memory");                                         \
			mem_host_wrote(c, lin, p, bits / 8);                                        \
		} else {                                                                            \
			uint##bits##_t a;                                                           \
                                                                                                    \
			mem_exclusive_begin(c);                                                     \
			a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                                \
			a = host_##name##bits(a, b, c->st.rflags, &ax);                             \
			st##bits(c, lin, a, insn_how(i));                                           \
			mem_exclusive_end(c);                                                       \
		}                                                                                   \
		flags_put(c, ax);                                                                   \
	}
#define LOCKED_BIN(name, pre)                                                                      \
	LOCKED_BIN_SIZE(name, pre, "b", 8)                                                         \
	LOCKED_BIN_SIZE(name, pre, "w", 16)                                                        \
	LOCKED_BIN_SIZE(name, pre, "l", 32)                                                        \
	LOCKED_BIN_SIZE(name, pre, "q", 64)
LOCKED_BIN(add, "")
LOCKED_BIN(or, "")
LOCKED_BIN(adc, CARRY_IN)
LOCKED_BIN(sbb, CARRY_IN)
LOCKED_BIN(and, "")
LOCKED_BIN(sub, "")
LOCKED_BIN(xor, "")

#define LOCKED_UN_SIZE(name, pre, sfx, bits)                                                       \
	static void lock_##name##bits(struct cpu *c, const struct insn *i)                         \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
		uint32_t ax = 0;                                                                   \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile(pre "lock " #name sfx " (%[p])\n\t" FLAGS_OUT             \
					 : "+&a"(ax)                                               \
					 : [p] "r"(p), [rf] "r"((uint32_t)c->st.rflags)            \
					 : "cc", "memory");                                        \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
		} else {                                                                           \
			uint##bits##_t a;                                                          \
                                                                                                   \
			mem_exclusive_begin(c);                                                    \
			a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                               \
			st##bits(c, lin, host_##name##bits(a, c->st.rflags, &ax), insn_how(i));    \
			mem_exclusive_end(c);                                                      \
		}                                                                                  \
		flags_put(c, ax);                                                                  \
	}
#define LOCKED_UN(name, pre)                                                                       \
	LOCKED_UN_SIZE(name, pre, "b", 8)                                                          \
	LOCKED_UN_SIZE(name, pre, "w", 16)                                                         \
	LOCKED_UN_SIZE(name, pre, "l", 32)                                                         \
	LOCKED_UN_SIZE(name, pre, "q", 64)
LOCKED_UN(inc, CARRY_IN)
LOCKED_UN(dec, CARRY_IN)
LOCKED_UN(neg, "")

/* NOT and XCHG: no flags. */
#define LOCKED_PLAIN_SIZE(sfx, bits)                                                               \
	static void lock_not##bits(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile("lock not" sfx " (%[p])" : : [p] "r"(p) : "memory");      \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
			return;                                                                    \
		}                                                                                  \
		mem_exclusive_begin(c);                                                            \
		st##bits(c, lin, (uint##bits##_t) ~ld##bits(c, lin, insn_how(i) | MEM_RMW),        \
			 insn_how(i));                                                             \
		mem_exclusive_end(c);                                                              \
	}                                                                                          \
	static void lock_xchg##bits(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
		uint##bits##_t v = rd##bits(c, i->dst), old = v;                                   \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile("xchg" sfx " %[v], (%[p])"                                \
					 : [v] "+r"(old)                                           \
					 : [p] "r"(p)                                              \
					 : "memory");                                              \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
		} else {                                                                           \
			mem_exclusive_begin(c);                                                    \
			old = ld##bits(c, lin, insn_how(i) | MEM_RMW);                             \
			st##bits(c, lin, v, insn_how(i));                                          \
			mem_exclusive_end(c);                                                      \
		}                                                                                  \
		wr##bits(c, i->dst, old);                                                          \
	}
LOCKED_PLAIN_SIZE("b", 8)
LOCKED_PLAIN_SIZE("w", 16)
LOCKED_PLAIN_SIZE("l", 32)
LOCKED_PLAIN_SIZE("q", 64)

#define LOCK_ROW(name)                                                                             \
	{                                                                                          \
		lock_##name##8, lock_##name##16, lock_##name##32, lock_##name##64                  \
	}

int atomic_bind_alu(const struct dec *d, struct insn *i)
{
	static const struct {
		ZydisMnemonic mnemonic;
		interp_fn *fns[4];
	} ops[] = {
		{ ZYDIS_MNEMONIC_ADD, LOCK_ROW(add) },	{ ZYDIS_MNEMONIC_OR, LOCK_ROW(or) },
		{ ZYDIS_MNEMONIC_ADC, LOCK_ROW(adc) },	{ ZYDIS_MNEMONIC_SBB, LOCK_ROW(sbb) },
		{ ZYDIS_MNEMONIC_AND, LOCK_ROW(and) },	{ ZYDIS_MNEMONIC_SUB, LOCK_ROW(sub) },
		{ ZYDIS_MNEMONIC_XOR, LOCK_ROW(xor) },	{ ZYDIS_MNEMONIC_INC, LOCK_ROW(inc) },
		{ ZYDIS_MNEMONIC_DEC, LOCK_ROW(dec) },	{ ZYDIS_MNEMONIC_NEG, LOCK_ROW(neg) },
		{ ZYDIS_MNEMONIC_NOT, LOCK_ROW(not ) }, { ZYDIS_MNEMONIC_XCHG, LOCK_ROW(xchg) },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(ops); k++) {
		if (ops[k].mnemonic != d->zi.mnemonic)
			continue;
		i->fn = ops[k].fns[size_index(i->opsize)];
		if (d->zi.operand_count_visible > 1 &&
		    d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			i->aux = is_imm_mark;
		return 0;
	}
	return -EINVAL;
}

/* --- bits --------------------------------------------------------------------------------------- */

#define LOCKED_BT_SIZE(name, sfx, bits, op)                                                        \
	static void lock_##name##bits(struct cpu *c, const struct insn *i)                         \
	{                                                                                          \
		uint64_t ea = i->aux ? insn_ea(c, i) : bit_string_ea(c, i);                        \
		uint64_t lin = seg_lin(c, i->seg, ea, bits / 8, true);                             \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
		uint##bits##_t n = OPERAND_B(bits) & (bits - 1), a;                                \
		uint32_t ax = flags_ax(c->st.rflags);                                              \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile(FLAGS_IN "lock " #name sfx " %[n], (%[p])\n\t" FLAGS_OUT  \
					 : "+&a"(ax)                                               \
					 : [p] "r"(p), [n] "r"(n)                                  \
					 : "cc", "memory");                                        \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
			flags_put(c, ax);                                                          \
			return;                                                                    \
		}                                                                                  \
		mem_exclusive_begin(c);                                                            \
		a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                                       \
		st##bits(c, lin, (uint##bits##_t)(op), insn_how(i));                               \
		mem_exclusive_end(c);                                                              \
		c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_CF) | (a >> n & 1);               \
	}
#define LOCKED_BT(name, op)                                                                        \
	LOCKED_BT_SIZE(name, "w", 16, op)                                                          \
	LOCKED_BT_SIZE(name, "l", 32, op)                                                          \
	LOCKED_BT_SIZE(name, "q", 64, op)
LOCKED_BT(bts, a | UINT64_C(1) << n)
LOCKED_BT(btr, a & ~(UINT64_C(1) << n))
LOCKED_BT(btc, a ^ UINT64_C(1) << n)

int atomic_bind_bit(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[3][3] = {
		{ lock_bts16, lock_bts32, lock_bts64 },
		{ lock_btr16, lock_btr32, lock_btr64 },
		{ lock_btc16, lock_btc32, lock_btc64 },
	};
	unsigned int kind = d->zi.mnemonic == ZYDIS_MNEMONIC_BTS   ? 0
			    : d->zi.mnemonic == ZYDIS_MNEMONIC_BTR ? 1
								   : 2;

	if (d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		i->aux = is_imm_mark;
	i->fn = fns[kind][size_index(i->opsize) - 1];
	return 0;
}

/* --- XADD --------------------------------------------------------------------------------------- */

#define XADD_SIZE(sfx, bits)                                                                       \
	static void xadd##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint##bits##_t a = rd##bits(c, i->dst), b = rd##bits(c, i->src);                   \
		uint32_t ax;                                                                       \
                                                                                                   \
		wr##bits(c, i->src, a);                                                            \
		wr##bits(c, i->dst,                                                                \
			 host_add##bits(a, b, 0, &ax)); /* wins when both are the same */          \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void xadd##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
		uint##bits##_t v = rd##bits(c, i->dst), old = v;                                   \
		uint32_t ax = 0;                                                                   \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile("lock xadd" sfx " %[v], (%[p])\n\t" FLAGS_OUT             \
					 : [v] "+&r"(old), "+&a"(ax)                               \
					 : [p] "r"(p)                                              \
					 : "cc", "memory");                                        \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
		} else {                                                                           \
			mem_exclusive_begin(c);                                                    \
			old = ld##bits(c, lin, insn_how(i) | MEM_RMW);                             \
			st##bits(c, lin, host_add##bits(old, v, 0, &ax), insn_how(i));             \
			mem_exclusive_end(c);                                                      \
		}                                                                                  \
		wr##bits(c, i->dst, old);                                                          \
		flags_put(c, ax);                                                                  \
	}
XADD_SIZE("b", 8)
XADD_SIZE("w", 16)
XADD_SIZE("l", 32)
XADD_SIZE("q", 64)

#define ROW(name, form)                                                                            \
	{                                                                                          \
		name##8_##form, name##16_##form, name##32_##form, name##64_##form                  \
	}

static int bind_xadd(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[2][4] = { ROW(xadd, r), ROW(xadd, m) };

	i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize)];
	return 0;
}

/* --- CMPXCHG ------------------------------------------------------------------------------------ */

/*
 * 64 bits of rax go through the host, which knows what becomes of the upper half, and so does the register
 * form's destination. The flags are fetched with rax out of the way, in @f.
 */
#define FLAGS_OUT_F "\n\txchgq %[f], %%rax\n\t" FLAGS_OUT "\n\txchgq %[f], %%rax"

#define CMPXCHG_SIZE(sfx, mod, bits)                                                               \
	static void cmpxchg##bits##_r(struct cpu *c, const struct insn *i)                         \
	{                                                                                          \
		uint64_t rax = rd64(c, CPU_RAX * 8), f = 0, to;                                    \
		uint##bits##_t b = rd##bits(c, i->src);                                            \
                                                                                                   \
		/* A register like AH is not at a whole slot: use its bits alone. */               \
		to = bits == 8 ? rd8(c, i->dst) : rd64(c, i->dst & ~7u);                           \
		__asm__("cmpxchg" sfx " %[b], %" mod "[to]" FLAGS_OUT_F                            \
			: [to] "+&r"(to), "+&a"(rax), [f] "+&r"(f)                                 \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		wr64(c, CPU_RAX * 8, rax);                                                         \
		if (bits == 8) {                                                                   \
			if (f >> 8 & RFLAGS_ZF)                                                    \
				wr8(c, i->dst, (uint8_t)to);                                       \
		} else if ((i->dst & ~7u) != CPU_RAX * 8 || (f >> 8 & RFLAGS_ZF)) {                \
			wr64(c, i->dst & ~7u, to);                                                 \
		}                                                                                  \
		flags_put(c, (uint32_t)f);                                                         \
	}                                                                                          \
	static void cmpxchg##bits##_m(struct cpu *c, const struct insn *i)                         \
	{                                                                                          \
		uint64_t lin = insn_lin(c, i, bits / 8, true);                                     \
		void *p = mem_host(c, lin, bits / 8, insn_how(i) | MEM_RMW);                       \
		uint64_t rax = rd64(c, CPU_RAX * 8), f = 0;                                        \
		uint##bits##_t b = rd##bits(c, i->dst);                                            \
                                                                                                   \
		if (likely(p != NULL)) {                                                           \
			__asm__ volatile("lock cmpxchg" sfx " %[b], (%[p])" FLAGS_OUT_F            \
					 : "+&a"(rax), [f] "+&r"(f)                                \
					 : [p] "r"(p), [b] "r"(b)                                  \
					 : "cc", "memory");                                        \
			mem_host_wrote(c, lin, p, bits / 8);                                       \
			wr64(c, CPU_RAX * 8, rax);                                                 \
			flags_put(c, (uint32_t)f);                                                 \
		} else {                                                                           \
			uint##bits##_t a;                                                          \
			uint32_t ax;                                                               \
                                                                                                   \
			mem_exclusive_begin(c);                                                    \
			a = ld##bits(c, lin, insn_how(i) | MEM_RMW);                               \
			host_cmp##bits((uint##bits##_t)rax, a, 0, &ax);                            \
			st##bits(c, lin, (uint##bits##_t)rax == a ? b : a, insn_how(i));           \
			mem_exclusive_end(c);                                                      \
			if ((uint##bits##_t)rax != a)                                              \
				wr##bits(c, CPU_RAX * 8, a);                                       \
			flags_put(c, ax);                                                          \
		}                                                                                  \
	}
CMPXCHG_SIZE("b", "b", 8)
CMPXCHG_SIZE("w", "w", 16)
CMPXCHG_SIZE("l", "k", 32)
CMPXCHG_SIZE("q", "q", 64)

static int bind_cmpxchg(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[2][4] = { ROW(cmpxchg, r), ROW(cmpxchg, m) };

	i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize)];
	return 0;
}

/* --- CMPXCHG8B, CMPXCHG16B ---------------------------------------------------------------------- */

static void zf_set(struct cpu *c, bool is_set)
{
	c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_ZF) | (is_set ? RFLAGS_ZF : 0);
}

static void cmpxchg8b(struct cpu *c, const struct insn *i)
{
	uint64_t lin = insn_lin(c, i, 8, true);
	void *p = mem_host(c, lin, 8, insn_how(i) | MEM_RMW);
	uint64_t a = c->st.gpr[CPU_RAX], d = c->st.gpr[CPU_RDX], m, old;
	bool equal;

	if (p) {
		__asm__ volatile("lock cmpxchg8b (%[p])"
				 : "+a"(a), "+d"(d), "=@ccz"(equal)
				 : [p] "r"(p), "b"(c->st.gpr[CPU_RBX]), "c"(c->st.gpr[CPU_RCX])
				 : "memory");
		mem_host_wrote(c, lin, p, 8);
		c->st.gpr[CPU_RAX] = a;
		c->st.gpr[CPU_RDX] = d;
		zf_set(c, equal);
		return;
	}
	mem_exclusive_begin(c);
	old = (uint32_t)a | d << 32;
	m = ld64(c, lin, insn_how(i) | MEM_RMW);
	equal = m == old;
	st64(c, lin, equal ? (uint32_t)c->st.gpr[CPU_RBX] | c->st.gpr[CPU_RCX] << 32 : m,
	     insn_how(i));
	mem_exclusive_end(c);
	if (!equal) {
		c->st.gpr[CPU_RAX] = (uint32_t)m;
		c->st.gpr[CPU_RDX] = m >> 32;
	}
	zf_set(c, equal);
}

static void cmpxchg16b(struct cpu *c, const struct insn *i)
{
	uint64_t lin = insn_lin(c, i, 16, true), a = c->st.gpr[CPU_RAX], d = c->st.gpr[CPU_RDX],
		 m[2];
	bool equal;
	void *p;

	if (lin & 15)
		cpu_raise_err(c, VEC_GP, 0);
	p = mem_host(c, lin, 16, insn_how(i) | MEM_RMW);
	if (p) {
		__asm__ volatile("lock cmpxchg16b (%[p])"
				 : "+a"(a), "+d"(d), "=@ccz"(equal)
				 : [p] "r"(p), "b"(c->st.gpr[CPU_RBX]), "c"(c->st.gpr[CPU_RCX])
				 : "memory");
		mem_host_wrote(c, lin, p, 16);
		c->st.gpr[CPU_RAX] = a;
		c->st.gpr[CPU_RDX] = d;
		zf_set(c, equal);
		return;
	}
	mem_exclusive_begin(c);
	ld_bytes(c, lin, m, 16, insn_how(i) | MEM_RMW);
	equal = m[0] == a && m[1] == d;
	if (equal) {
		uint64_t v[2] = { c->st.gpr[CPU_RBX], c->st.gpr[CPU_RCX] };

		st_bytes(c, lin, v, 16, insn_how(i));
	} else {
		st_bytes(c, lin, m, 16, insn_how(i));
		c->st.gpr[CPU_RAX] = m[0];
		c->st.gpr[CPU_RDX] = m[1];
	}
	mem_exclusive_end(c);
	zf_set(c, equal);
}

static int bind_cmpxchg8b(const struct dec *d, struct insn *i)
{
	i->fn = cmpxchg8b;
	return 0;
}

static int bind_cmpxchg16b(const struct dec *d, struct insn *i)
{
	i->fn = cmpxchg16b;
	return 0;
}

const struct interp_op interp_ops_atomic[] = {
	{ ZYDIS_MNEMONIC_XADD, bind_xadd },
	{ ZYDIS_MNEMONIC_CMPXCHG, bind_cmpxchg },
	{ ZYDIS_MNEMONIC_CMPXCHG8B, bind_cmpxchg8b },
	{ ZYDIS_MNEMONIC_CMPXCHG16B, bind_cmpxchg16b },
	{ 0, NULL },
};
