/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_HOSTOP_H
#define CPU_INTERP_HOSTOP_H

#include "cpu/interp/vcpu.h"

/*
 * Running a guest's vector, floating-point and bit-manipulation instructions on the host's own unit.
 *
 * hostop_enc.c rewrites the instruction's own bytes so that they name fixed host registers and, for a
 * memory operand, [rsi]. hostop_stub.c wraps them into a small function that loads these registers from
 * struct cpu_state and stores them back, and keeps one such function for each rewritten encoding.
 * hostop.c checks what may fault, finds the memory and calls it.
 *
 * Because guest register numbers are not part of the rewritten bytes (the stub reads them from struct
 * insn), the number of stubs is bounded by the instruction set: see HOSTOP_AREA_SIZE.
 */
enum hostop_unit {
	HOSTOP_GPR,	/* legacy encoding, general registers only */
	HOSTOP_VEX_GPR, /* VEX encoding, general registers only (BMI) */
	HOSTOP_SSE,
	HOSTOP_AVX,
	HOSTOP_MMX, /* MMX registers, perhaps with XMM registers */
	HOSTOP_X87,
};

enum { HOSTOP_BYTES_MAX = 15, HOSTOP_MAX_USES = 8, HOSTOP_SLOTS = 4 };

enum hostop_class { HOSTOP_R64, HOSTOP_MM, HOSTOP_XMM, HOSTOP_YMM };

/* One register that the stub has to load before and/or store after. */
struct hostop_use {
	uint8_t class; /* enum hostop_class */
	uint8_t host;  /* host register number */
	uint8_t slot; /* which of the offsets in struct insn names the guest's; HOSTOP_SLOTS: fixed */
	uint16_t fixed; /* offset in struct cpu_state, when slot is HOSTOP_SLOTS */
	bool load, store;
};

/* All that is needed to make a stub. Depends on nothing but bytes[]. */
struct hostop_plan {
	uint8_t bytes[HOSTOP_BYTES_MAX];
	uint8_t len;
	uint8_t unit;	  /* enum hostop_unit */
	uint8_t align;	  /* required alignment of the memory operand (#GP); 0 = none */
	uint8_t ac_align; /* its natural alignment, for #AC */
	bool has_mem, mem_read, mem_write;
	bool vex, uses_xmm, uses_mxcsr, writes_mm;
	uint16_t mem_size;	      /* bytes */
	uint32_t flags_in, flags_out; /* of RFLAGS_STATUS */
	unsigned int nr_uses;
	struct hostop_use use[HOSTOP_MAX_USES];
};

/* What the stub returns when the host raised a SIMD floating-point exception: nothing was changed but
 * st->fpu.mxcsr. Otherwise RFLAGS when flags_out is not 0. */
#define HOSTOP_ABORTED UINT64_MAX

struct hostop {
	uint64_t (*entry)(struct cpu_state *st, void *mem, const struct insn *i);
	struct hostop *next; /* of the same hash */
	struct hostop_plan plan;
};

/*
 * Stubs lie in one area that never moves and is never reused, so that no vCPU can run freed code. About 4,200
 * rewritten encodings exist, and 9 MB hold them with every value of their immediate bytes: a unit test counts.
 * The area is address space only until it is used. Should it be full all the same, an instruction without a
 * stub is #UD.
 */
#define HOSTOP_AREA_SIZE (UINT64_C(64) << 20)
enum { HOSTOP_STUB_MAX = 256 };

/*
 * hostop_encode - rewrite an instruction for the host.
 *
 * @slots: byte offsets in struct cpu_state of the guest registers named by the operands ModRM.reg,
 *         ModRM.rm, VEX.vvvv and imm8[7:4]; unused ones 0
 * Returns 0; -EINVAL when this instruction is not one that may run on the host. Thread: any.
 */
_nodiscard_ int hostop_encode(const struct dec *d, struct hostop_plan *ret,
			      uint16_t slots[HOSTOP_SLOTS]);

/*
 * hostop_stub - the function for a plan, made on first use.
 *
 * Returns 0; -ENOSPC (area full), -ENOMEM, or what mapping the area failed with. @ret lives as long as the
 * process. Thread: any.
 */
_nodiscard_ int hostop_stub(const struct hostop_plan *plan, const struct hostop **ret);

/* hostop_stub_bytes - bytes of stubs made so far, of HOSTOP_AREA_SIZE. Thread: any. */
uint64_t hostop_stub_bytes(void);

/* hostop_special - the function for an instruction that needs more than a stub (masked moves, gathers,
 * non-temporal stores, vzeroupper ...), or NULL. Fills what it needs in @i. */
interp_fn *hostop_special(const struct dec *d, struct insn *i);

/* Raise #GP(0) unless the operand at @ea is aligned; before its limit and pages are looked at. */
static inline void hostop_aligned(struct cpu *c, const struct insn *i, uint64_t ea,
				  unsigned int align)
{
	uint64_t base = i->seg == SEG_FLAT ? 0 : c->st.seg[i->seg].base;

	if (unlikely((ea + base) & (align - 1)))
		cpu_raise_err(c, VEC_GP, 0);
}

/* Raise #UD, #NM, #MF as the architecture orders them for a unit. */
void hostop_check_sse(struct cpu *c);
void hostop_check_avx(struct cpu *c);
void hostop_check_mmx(struct cpu *c);
void hostop_check_x87(struct cpu *c); /* of a waiting x87 instruction */

/* MMX registers alias the x87 registers in their physical order: put st[] into it (TOP = 0). */
void hostop_mmx_enter(struct cpu_fpu *f);

/* hostop_segment - insn.seg for a segment register of Zydis. */
uint8_t hostop_segment(const struct dec *d, ZydisRegister seg);

/* Number of the general register (0 to 15), vector register or x87 stack element. */
unsigned int hostop_reg_number(ZydisRegister reg);

#endif
