/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_EMIT_H
#define CPU_DBT_EMIT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu/cpu_priv.h"

/*
 * Writing host instructions. An emitter fills memory through its writable address and knows the executable
 * one, for relative jumps. Never writes beyond `end`: it stops and sets `overflow` (the translation is then given
 * up). Registers are host numbers.
 */
struct emit {
	uint8_t *p; /* next byte, writable address */
	uint8_t *end;
	ptrdiff_t to_rx; /* executable address - writable address */
	bool overflow;
};

/* Host registers by role in translated code. */
enum host_reg {
	H_RAX,
	H_RCX,
	H_RDX,
	H_RBX,
	H_RSP,
	H_RBP,
	H_RSI,
	H_RDI,
	H_R8,
	H_R9,
	H_R10,
	H_R11,
	H_R12,
	H_R13,
	H_R14,
	H_R15,
	H_GSP = H_R8,  /* the guest's rsp */
	H_S1 = H_R9,   /* scratch: effective address, then offset in the page */
	H_S2 = H_R10,  /* scratch: TLB entry, then host address of the page */
	H_CPU = H_R11, /* &cpu->st: see hot_disp() */
};

/* e_rx - the address at which the next byte will run. */
static inline uint8_t *e_rx(const struct emit *e)
{
	return e->p + e->to_rx;
}

/* e_bytes, e8, e32, e64 - append bytes, or numbers in little-endian order; e->overflow when there is no room. */
static inline void e_bytes(struct emit *e, const void *b, unsigned int n)
{
	if ((size_t)(e->end - e->p) < n) {
		e->overflow = true;
		return;
	}
	memcpy(e->p, b, n);
	e->p += n;
}

/* as above */
static inline void e8(struct emit *e, unsigned int v)
{
	uint8_t b = (uint8_t)v;

	e_bytes(e, &b, 1);
}

/* as above */
static inline void e32(struct emit *e, uint32_t v)
{
	e_bytes(e, &v, 4);
}

/* as above */
static inline void e64(struct emit *e, uint64_t v)
{
	e_bytes(e, &v, 8);
}

#define E(e, ...)                                                                                  \
	do {                                                                                       \
		const uint8_t e_[] = { __VA_ARGS__ };                                              \
		e_bytes(e, e_, sizeof(e_));                                                        \
	} while (0)

/* Displacements from H_CPU of fields of struct cpu. */
#define CPU_DISP(field) ((int32_t)offsetof(struct cpu, field) - (int32_t)offsetof(struct cpu, st))
#define GPR_DISP(n)	((int32_t)(n)*8)

enum { E_NONE = 16 }; /* no register; the value of DREG_NONE */

/* ModRM, SIB and displacement of [base + disp]; @reg: the ModRM.reg field (low 3 bits used). */
static inline void e_mem(struct emit *e, unsigned int reg, unsigned int base, int32_t disp)
{
	unsigned int b = base & 7, r = (reg & 7) << 3;
	unsigned int mod = disp == 0 && b != 5 ? 0 : disp >= -128 && disp <= 127 ? 0x40 : 0x80;

	e8(e, mod | r | b);
	if (b == 4)
		e8(e, 0x24);
	if (mod == 0x40)
		e8(e, (uint8_t)disp);
	else if (mod == 0x80)
		e32(e, (uint32_t)disp);
}

/* ModRM, SIB and displacement of [base + index << scale + disp], base or index perhaps none (E_NONE). */
static inline void e_sib(struct emit *e, unsigned int reg, unsigned int base, unsigned int index,
			 unsigned int scale, int32_t disp)
{
	unsigned int mod, r = (reg & 7) << 3;

	if (index == E_NONE && base != E_NONE) {
		e_mem(e, reg, base, disp);
		return;
	}
	if (base == E_NONE) {
		e8(e, r | 4);
		e8(e, scale << 6 | (index == E_NONE ? 4 : index & 7) << 3 | 5);
		e32(e, (uint32_t)disp);
		return;
	}
	mod = disp == 0 && (base & 7) != 5 ? 0 : disp >= -128 && disp <= 127 ? 0x40 : 0x80;
	e8(e, mod | r | 4);
	e8(e, scale << 6 | (index & 7) << 3 | (base & 7));
	if (mod == 0x40)
		e8(e, (uint8_t)disp);
	else if (mod == 0x80)
		e32(e, (uint32_t)disp);
}

/* REX for (w, reg, index, base); always emitted. */
static inline void e_rex(struct emit *e, unsigned int w, unsigned int reg, unsigned int index,
			 unsigned int base)
{
	e8(e, 0x40 | w << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3);
}

/* mov between a 64-bit register and [base + disp] */
static inline void e_load64(struct emit *e, unsigned int reg, unsigned int base, int32_t disp)
{
	e_rex(e, 1, reg, 0, base);
	e8(e, 0x8b);
	e_mem(e, reg, base, disp);
}

/* mov %reg,disp(%base) */
static inline void e_store64(struct emit *e, unsigned int base, int32_t disp, unsigned int reg)
{
	e_rex(e, 1, reg, 0, base);
	e8(e, 0x89);
	e_mem(e, reg, base, disp);
}

/* mov, 64 and 32 bits */
static inline void e_mov64(struct emit *e, unsigned int to, unsigned int from)
{
	e_rex(e, 1, from, 0, to);
	e8(e, 0x89);
	e8(e, 0xc0 | (from & 7) << 3 | (to & 7));
}

/* as above */
static inline void e_mov32(struct emit *e, unsigned int to, unsigned int from)
{
	e_rex(e, 0, from, 0, to);
	e8(e, 0x89);
	e8(e, 0xc0 | (from & 7) << 3 | (to & 7));
}

/* mov $imm32 (zero-extended) */
static inline void e_movi32(struct emit *e, unsigned int to, uint32_t v)
{
	if (to >= 8)
		e8(e, 0x41);
	e8(e, 0xb8 | (to & 7));
	e32(e, v);
}

/* mov $imm64 */
static inline void e_movi64(struct emit *e, unsigned int to, uint64_t v)
{
	e_rex(e, 1, 0, 0, to);
	e8(e, 0xb8 | (to & 7));
	e64(e, v);
}

/* jmp, call, jcc rel32 to an executable address */
static inline void e_rel32(struct emit *e, const uint8_t *to)
{
	e32(e, (uint32_t)(to - (e_rx(e) + 4)));
}

/* to an executable address within 2 GiB */
static inline void e_jmp(struct emit *e, const uint8_t *to)
{
	e8(e, 0xe9);
	e_rel32(e, to);
}

/* as above */
static inline void e_call(struct emit *e, const uint8_t *to)
{
	e8(e, 0xe8);
	e_rel32(e, to);
}

/* as above; @cc: the low 4 bits of the opcode */
static inline void e_jcc(struct emit *e, unsigned int cc, const uint8_t *to)
{
	E(e, 0x0f, (uint8_t)(0x80 | cc));
	e_rel32(e, to);
}

#endif
