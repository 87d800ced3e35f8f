/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_HOSTALU_H
#define CPU_INTERP_HOSTALU_H

#include "cpu/interp/vcpu.h"

/*
 * Integer instructions done by the host's ALU, flags included: a handler executes the guest's instruction
 * on the operand values and takes the flags that come out, so that the undefined ones too are what this
 * host does. Flags travel in AX: AH as LAHF and SAHF have it, AL = OF. Neither POPF (18 ns) nor PUSHF (which
 * would write into the red zone) is used.
 */

/* Between rflags and the form in AX. */
static inline uint32_t flags_ax(uint64_t rflags)
{
	return ((uint32_t)rflags & 0xff) << 8 | ((uint32_t)rflags >> 11 & 1);
}

/* The status flags out of the form in AX. */
static inline void flags_put(struct cpu *c, uint32_t ax)
{
	c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) | ((ax >> 8) & 0xff) |
		       (ax & 0xff) << 11;
}

#define FLAGS_OUT "seto %%al\n\tlahf"		 /* after the instruction; AX = flags */
#define FLAGS_IN  "addb $0x7f, %%al\n\tsahf\n\t" /* before it: AX = flags_ax() */
#define CARRY_IN  "btl $0, %k[rf]\n\t"

/* --- registers by byte offset ------------------------------------------------------------------- */

#define REG_DEFINE(bits, stored)                                                                   \
	static inline uint##bits##_t rd##bits(struct cpu *c, unsigned int off)                     \
	{                                                                                          \
		return *(uint##bits##_t *)(void *)reg_ptr(c, off);                                 \
	}                                                                                          \
	static inline void wr##bits(struct cpu *c, unsigned int off, uint##bits##_t v)             \
	{                                                                                          \
		*(stored *)(void *)reg_ptr(c, off) = v;                                            \
	}
REG_DEFINE(8, uint8_t)
REG_DEFINE(16, uint16_t)
REG_DEFINE(32, uint64_t) /* a 32-bit result clears the upper half */
REG_DEFINE(64, uint64_t)

/* How faults of the memory operand are to be reported (enum mem_how). */
static inline unsigned int insn_how(const struct insn *i)
{
	return i->flags & INSN_SS;
}

/* Memory operand of 8, 16, 32 or 64 bits: read, read in order to write, write. */
#define OPMEM_DEFINE(bits)                                                                         \
	static inline uint##bits##_t ldm##bits(struct cpu *c, const struct insn *i)                \
	{                                                                                          \
		return ld##bits(c, insn_lin(c, i, bits / 8, false), insn_how(i));                  \
	}                                                                                          \
	static inline void stm##bits(struct cpu *c, const struct insn *i, uint##bits##_t v)        \
	{                                                                                          \
		st##bits(c, insn_lin(c, i, bits / 8, true), v, insn_how(i));                       \
	}
OPMEM_DEFINE(8)
OPMEM_DEFINE(16)
OPMEM_DEFINE(32)
OPMEM_DEFINE(64)

/* --- two operands ------------------------------------------------------------------------------- */

/* host_NAMEbits(a, b, rflags, &ax): a op b. CARRY_IN as @pre for those that read CF. */
#define HOST_BIN_SIZE(name, pre, op, bits)                                                         \
	static inline uint##bits##_t host_##name##bits(uint##bits##_t a, uint##bits##_t b,         \
						       uint64_t rflags, uint32_t *ret_ax)          \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
                                                                                                   \
		__asm__(pre op " %[b], %[a]\n\t" FLAGS_OUT                                         \
			: [a] "+r"(a), "+&a"(ax)                                                   \
			: [b] "r"(b), [rf] "r"((uint32_t)rflags)                                   \
			: "cc");                                                                   \
		*ret_ax = ax;                                                                      \
		return a;                                                                          \
	}
#define HOST_BIN(name, pre)                                                                        \
	HOST_BIN_SIZE(name, pre, #name "b", 8)                                                     \
	HOST_BIN_SIZE(name, pre, #name "w", 16)                                                    \
	HOST_BIN_SIZE(name, pre, #name "l", 32)                                                    \
	HOST_BIN_SIZE(name, pre, #name "q", 64)

/* host_NAMEbits(a, rflags, &ax): op a; @pre CARRY_IN for those that keep CF. */
#define HOST_UN_SIZE(name, pre, op, bits)                                                          \
	static inline uint##bits##_t host_##name##bits(uint##bits##_t a, uint64_t rflags,          \
						       uint32_t *ret_ax)                           \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
                                                                                                   \
		__asm__(pre op " %[a]\n\t" FLAGS_OUT                                               \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [rf] "r"((uint32_t)rflags)                                               \
			: "cc");                                                                   \
		*ret_ax = ax;                                                                      \
		return a;                                                                          \
	}
#define HOST_UN(name, pre)                                                                         \
	HOST_UN_SIZE(name, pre, #name "b", 8)                                                      \
	HOST_UN_SIZE(name, pre, #name "w", 16)                                                     \
	HOST_UN_SIZE(name, pre, #name "l", 32)                                                     \
	HOST_UN_SIZE(name, pre, #name "q", 64)

/* --- conditions --------------------------------------------------------------------------------- */

/* The condition in the low four bits of a Jcc, SETcc or CMOVcc opcode. */
static inline bool cond_holds(uint64_t rflags, unsigned int cc)
{
	static const uint8_t mask[8] = {
		0x08,	   RFLAGS_CF, RFLAGS_ZF, RFLAGS_CF | RFLAGS_ZF,
		RFLAGS_SF, RFLAGS_PF, 0x20,	 RFLAGS_ZF | 0x20,
	};
	/* The two bits that are always 0 in the low byte stand for OF and for SF != OF. */
	uint32_t of = (uint32_t)rflags >> 11 & 1, sf = (uint32_t)rflags >> 7 & 1;
	uint32_t f = ((uint32_t)rflags & 0xd7) | of << 3 | (sf ^ of) << 5;

	return (bool)((f & mask[cc >> 1 & 7]) != 0) ^ (cc & 1);
}

/* Index of an operand size in tables of handlers: 1, 2, 4, 8 bytes. */
static inline unsigned int size_index(unsigned int size)
{
	return (unsigned int)__builtin_ctz(size);
}

/* Low @size bytes of a value, zero-extended and sign-extended. */
static inline uint64_t zext(uint64_t v, unsigned int size)
{
	return size == 8 ? v : v & ((UINT64_C(1) << (size * 8)) - 1);
}

/* The same, sign-extended. */
static inline uint64_t sext(uint64_t v, unsigned int size)
{
	unsigned int up = 64 - size * 8;

	return (uint64_t)((int64_t)(v << up) >> up);
}

#endif
