// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MUL, IMUL, DIV, IDIV on the host's multiplier. A quotient that does not fit is found out before the host
 * divides, because there it would be a signal.
 */
#include <errno.h>

#include "cpu/interp/hostalu.h"

/* --- MUL, IMUL with one operand: rdx:rax = rax * v ---------------------------------------------- */

/*
 * Products and flags. The host's flags are taken from the same instruction on the same operands: AX is
 * needed for the product, so flags go in and out through a second register.
 */
#define HOST_MUL(name, op, bits)                                                                   \
	static inline void host_##name##bits(uint##bits##_t *a, uint##bits##_t *d,                 \
					     uint##bits##_t v, uint32_t *ax)                       \
	{                                                                                          \
		uint64_t lo = *a, hi = 0, f = *ax;                                                 \
                                                                                                   \
		__asm__("xchgq %[f], %%rax\n\t" FLAGS_IN "xchgq %[f], %%rax\n\t" op " %[v]\n\t"    \
			"xchgq %[f], %%rax\n\t" FLAGS_OUT "\n\txchgq %[f], %%rax"                  \
			: "+&a"(lo), "+&d"(hi), [f] "+&r"(f)                                       \
			: [v] "r"(v)                                                               \
			: "cc");                                                                   \
		*ax = (uint32_t)f & 0xffff;                                                        \
		*a = (uint##bits##_t)lo;                                                           \
		*d = (uint##bits##_t)(bits == 8 ? lo >> 8 : hi);                                   \
	}
#define MUL_SIZE(name, op, bits)                                                                   \
	HOST_MUL(name, op, bits)                                                                   \
	static void name##bits##_v(struct cpu *c, uint##bits##_t v)                                \
	{                                                                                          \
		uint##bits##_t a = rd##bits(c, CPU_RAX * 8), d;                                    \
		uint32_t ax = flags_ax(c->st.rflags);                                              \
                                                                                                   \
		host_##name##bits(&a, &d, v, &ax);                                                 \
		wr##bits(c, CPU_RAX * 8, a);                                                       \
		wr##bits(c, bits == 8 ? CPU_RAX * 8 + 1 : CPU_RDX * 8, d);                         \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void name##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits##_v(c, rd##bits(c, i->dst));                                            \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits##_v(c, ldm##bits(c, i));                                                \
	}
MUL_SIZE(mul, "mulb", 8)
MUL_SIZE(mul, "mulw", 16)
MUL_SIZE(mul, "mull", 32)
MUL_SIZE(mul, "mulq", 64)
MUL_SIZE(imul, "imulb", 8)
MUL_SIZE(imul, "imulw", 16)
MUL_SIZE(imul, "imull", 32)
MUL_SIZE(imul, "imulq", 64)

#define ROW(name, form)                                                                            \
	{                                                                                          \
		name##8_##form, name##16_##form, name##32_##form, name##64_##form                  \
	}

static int bind_mul(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[2][4] = { ROW(mul, r), ROW(mul, m) };

	i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize)];
	return 0;
}

/* --- IMUL with two and three operands ----------------------------------------------------------- */

#define IMUL2_SIZE(sfx, bits)                                                                      \
	static inline void imul2_##bits(struct cpu *c, const struct insn *i, uint##bits##_t a,     \
					uint##bits##_t b)                                          \
	{                                                                                          \
		uint32_t ax = flags_ax(c->st.rflags);                                              \
                                                                                                   \
		__asm__(FLAGS_IN "imul" sfx " %[b], %[a]\n\t" FLAGS_OUT                            \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		wr##bits(c, i->dst, a);                                                            \
		flags_put(c, ax);                                                                  \
	}                                                                                          \
	static void imul2_##bits##_r(struct cpu *c, const struct insn *i)                          \
	{                                                                                          \
		imul2_##bits(c, i, rd##bits(c, i->dst), rd##bits(c, i->src));                      \
	}                                                                                          \
	static void imul2_##bits##_m(struct cpu *c, const struct insn *i)                          \
	{                                                                                          \
		imul2_##bits(c, i, rd##bits(c, i->dst), ldm##bits(c, i));                          \
	}                                                                                          \
	static void imul3_##bits##_r(struct cpu *c, const struct insn *i)                          \
	{                                                                                          \
		imul2_##bits(c, i, rd##bits(c, i->src), (uint##bits##_t)i->imm);                   \
	}                                                                                          \
	static void imul3_##bits##_m(struct cpu *c, const struct insn *i)                          \
	{                                                                                          \
		imul2_##bits(c, i, ldm##bits(c, i), (uint##bits##_t)i->imm);                       \
	}
IMUL2_SIZE("w", 16)
IMUL2_SIZE("l", 32)
IMUL2_SIZE("q", 64)

#define IMUL_ROW(n, form)                                                                          \
	{                                                                                          \
		imul##n##_16_##form, imul##n##_32_##form, imul##n##_64_##form                      \
	}

static int bind_imul(const struct dec *d, struct insn *i)
{
	static interp_fn *const one[2][4] = { ROW(imul, r), ROW(imul, m) };
	static interp_fn *const more[2][2][3] = { { IMUL_ROW(2, r), IMUL_ROW(2, m) },
						  { IMUL_ROW(3, r), IMUL_ROW(3, m) } };
	bool is_mem = i->flags & INSN_MEM;

	if (d->zi.operand_count_visible == 1)
		i->fn = one[is_mem][size_index(i->opsize)];
	else
		i->fn = more[d->zi.operand_count_visible == 3][is_mem][size_index(i->opsize) - 1];
	return 0;
}

/* --- DIV, IDIV ---------------------------------------------------------------------------------- */

/* Does hi:lo / v fit @bits? All of them zero-extended. */
static bool div_fits(uint64_t hi, uint64_t v)
{
	return hi < v; /* false for v = 0 */
}

/* The same for signed values of 64 bits or fewer, sign-extended: by magnitudes. */
static bool idiv_fits(__int128 n, int64_t v, unsigned int bits)
{
	unsigned __int128 mag = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
	uint64_t vmag = v < 0 ? -(uint64_t)v : (uint64_t)v;
	uint64_t most = (UINT64_C(1) << (bits - 1)) - ((n < 0) == (v < 0));

	/* |n| / |v| <= most without dividing; the product has at most 127 bits. */
	return v != 0 && mag < ((unsigned __int128)most + 1) * vmag;
}

/* Quotient and remainder by the host, which leaves some flags and changes others. */
#define HOST_DIV(name, op, bits)                                                                   \
	static inline void host_##name##bits(uint64_t *lo, uint64_t *hi, uint##bits##_t v,         \
					     uint32_t *ax)                                         \
	{                                                                                          \
		uint64_t a = *lo, d = *hi, f = *ax;                                                \
                                                                                                   \
		__asm__("xchgq %[f], %%rax\n\t" FLAGS_IN "xchgq %[f], %%rax\n\t" op " %[v]\n\t"    \
			"xchgq %[f], %%rax\n\t" FLAGS_OUT "\n\txchgq %[f], %%rax"                  \
			: "+&a"(a), "+&d"(d), [f] "+&r"(f)                                         \
			: [v] "r"(v)                                                               \
			: "cc");                                                                   \
		*ax = (uint32_t)f & 0xffff;                                                        \
		*lo = a;                                                                           \
		*hi = d;                                                                           \
	}
HOST_DIV(div, "divb", 8)
HOST_DIV(div, "divw", 16)
HOST_DIV(div, "divl", 32)
HOST_DIV(div, "divq", 64)
HOST_DIV(idiv, "idivb", 8)
HOST_DIV(idiv, "idivw", 16)
HOST_DIV(idiv, "idivl", 32)
HOST_DIV(idiv, "idivq", 64)

/* 8 bits: AX / v, quotient in AL, remainder in AH. */
static void div8_v(struct cpu *c, uint8_t v)
{
	uint64_t lo = rd16(c, CPU_RAX * 8), hi = 0;
	uint32_t ax = flags_ax(c->st.rflags);

	if (!div_fits(lo >> 8, v))
		cpu_raise(c, VEC_DE);
	host_div8(&lo, &hi, v, &ax);
	wr16(c, CPU_RAX * 8, (uint16_t)lo);
	flags_put(c, ax);
}

static void idiv8_v(struct cpu *c, uint8_t v)
{
	uint64_t lo = rd16(c, CPU_RAX * 8), hi = 0;
	uint32_t ax = flags_ax(c->st.rflags);

	if (!idiv_fits((int16_t)lo, (int8_t)v, 8))
		cpu_raise(c, VEC_DE);
	host_idiv8(&lo, &hi, v, &ax);
	wr16(c, CPU_RAX * 8, (uint16_t)lo);
	flags_put(c, ax);
}

#define DIV_V(name, bits, fits)                                                                    \
	static void name##bits##_v(struct cpu *c, uint##bits##_t v)                                \
	{                                                                                          \
		uint64_t lo = rd##bits(c, CPU_RAX * 8), hi = rd##bits(c, CPU_RDX * 8);             \
		uint32_t ax = flags_ax(c->st.rflags);                                              \
                                                                                                   \
		if (!(fits))                                                                       \
			cpu_raise(c, VEC_DE);                                                      \
		host_##name##bits(&lo, &hi, v, &ax);                                               \
		wr##bits(c, CPU_RAX * 8, (uint##bits##_t)lo);                                      \
		wr##bits(c, CPU_RDX * 8, (uint##bits##_t)hi);                                      \
		flags_put(c, ax);                                                                  \
	}
DIV_V(div, 16, div_fits(hi, v))
DIV_V(div, 32, div_fits(hi, v))
DIV_V(div, 64, div_fits(hi, v))
DIV_V(idiv, 16, idiv_fits((int32_t)(hi << 16 | lo), (int16_t)v, 16))
DIV_V(idiv, 32, idiv_fits((int64_t)(hi << 32 | lo), (int32_t)v, 32))
DIV_V(idiv, 64, idiv_fits((__int128)((unsigned __int128)hi << 64 | lo), (int64_t)v, 64))

#define DIV_FORMS(name, bits)                                                                      \
	static void name##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits##_v(c, rd##bits(c, i->dst));                                            \
	}                                                                                          \
	static void name##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		name##bits##_v(c, ldm##bits(c, i));                                                \
	}
#define DIV(name)                                                                                  \
	DIV_FORMS(name, 8)                                                                         \
	DIV_FORMS(name, 16)                                                                        \
	DIV_FORMS(name, 32)                                                                        \
	DIV_FORMS(name, 64)                                                                        \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		static interp_fn *const fns[2][4] = { ROW(name, r), ROW(name, m) };                \
                                                                                                   \
		i->fn = fns[(i->flags & INSN_MEM) != 0][size_index(i->opsize)];                    \
		return 0;                                                                          \
	}
DIV(div)
DIV(idiv)

const struct interp_op interp_ops_muldiv[] = {
	{ ZYDIS_MNEMONIC_MUL, bind_mul },
	{ ZYDIS_MNEMONIC_IMUL, bind_imul },
	{ ZYDIS_MNEMONIC_DIV, bind_div },
	{ ZYDIS_MNEMONIC_IDIV, bind_idiv },
	{ 0, NULL },
};
