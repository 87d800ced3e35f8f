/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_DECODE_H
#define CPU_DBT_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "cpu/cpuid.h"

/*
 * The translator's own decoder: table-driven, for the instructions that are translated rather than handed
 * to the interpreter's handlers. It knows what re-encoding needs: where the operands are, which registers
 * and flags are read and written. Opcodes that only 32-bit code has (INC and DEC 40-4F, MOV A0-A3) are described as the
 * ones with ModRM that do the same. What it does not know is DCLS_OTHER without a length: the interpreter's decoder
 * (Zydis) then says what it is.
 */

/* Status flags as a set: what lahf and seto give. */
enum dflags { DF_CF = 1, DF_PF = 2, DF_AF = 4, DF_ZF = 8, DF_SF = 16, DF_OF = 32, DF_ALL = 63 };

enum dcls {
	DCLS_OTHER, /* not known here; every other field is meaningless */
	DCLS_NOP,   /* no effect at all: NOP, multi-byte NOP, PREFETCHx, ENDBR, PAUSE is OTHER */
	/* Re-encoded with host registers and copied; operands by the roles below; implicit registers (rax, rdx,
	 * rcx, rbx) are read and written by the host instruction itself. */
	DCLS_ALU, /* general registers only: mov, add, imul, shl, setcc, cmov, bsf, BMI, cmpxchg, ... */
	DCLS_DIV, /* the same, may raise #DE: div, idiv */
	/* SSE to AVX2, AES, SHA, PCLMUL, F16C, FMA: may name general registers too; ldmxcsr, stmxcsr; vzeroupper,
	 * vzeroall without operands */
	DCLS_VEC,
	DCLS_MMX, /* MMX registers (also conversions between MMX and XMM) */
	DCLS_X87, /* x87 computations, loads and stores, control words; not environment and state images */
	/* Emitted by rules of their own. */
	DCLS_LEA,
	DCLS_PUSH, /* register (rm or opcode register in .rm), immediate, or memory */
	DCLS_POP,  /* register or memory */
	DCLS_LEAVE,
	DCLS_JCC,     /* target: imm; condition: op & 15 */
	DCLS_JMP,     /* target: imm */
	DCLS_CALL,    /* target: imm */
	DCLS_JMP_IND, /* rm register or memory */
	DCLS_CALL_IND,
	DCLS_RET,    /* imm: bytes released */
	DCLS_JRCXZ,  /* E3: condition rcx/ecx (asize) == 0; target imm */
	DCLS_LOOP,   /* E0 loopne, E1 loope, E2 loop; target imm */
	DCLS_STRING, /* movs stos lods scas cmps, with or without REP: op, opsize, pfx */
	DCLS_FLAG,   /* clc stc cmc (reads and writes CF), lahf, sahf: by op */
	DCLS_XLAT,
};

/* What an explicit operand is. */
enum drole {
	DROLE_NONE,
	DROLE_R = 1, /* general register or memory: read */
	DROLE_W = 2, /* written (32 bits: upper half cleared) */
	/* Also where old bits may stay: 8 and 16 bits, conditional moves, scans of 0. */
	DROLE_RW = 3,
	DROLE_VEC = 4, /* xmm/ymm register, read or written: number stays */
	DROLE_MM = 8,
	DROLE_ST = 16,
};

enum dpfx { DPFX_66 = 1, DPFX_F2 = 2, DPFX_F3 = 4, DPFX_LOCK = 8, DPFX_67 = 16 };

enum { DREG_NONE = 16, DREG_RIP = 17, DSEG_FLAT = 0xff };

struct dinsn {
	uint8_t len; /* bytes; 1 to 15 */
	uint8_t cls; /* enum dcls */
	uint8_t map; /* 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A */
	uint8_t op;  /* opcode byte */
	/* enum dpfx: those that mean something (VEX: the implied one). 66 is not there with REX.W or byte
	 * operands, nor F2 and F3 with branches. */
	uint8_t pfx;
	uint8_t rex;  /* W 8, R 4, X 2, B 1 (VEX: as if it were REX; W of VEX.W) */
	bool has_rex; /* a REX prefix is there: byte registers 4-7 are spl..dil */
	bool vex;
	uint8_t vvvv, vex_l;
	bool has_modrm, has_mem;
	/* reg, rm with their REX bits; rm also for registers in the opcode byte */
	uint8_t mod, reg, rm;
	/* Memory operand. */
	/* 0 to 15, DREG_NONE, base also DREG_RIP (disp is then from the NEXT instruction); scale is a shift */
	uint8_t base, index, scale;
	uint8_t seg;   /* DSEG_FLAT, or enum cpu_segreg when its base must be added (FS, GS) */
	uint8_t asize; /* address size in bytes */
	int32_t disp;
	uint8_t mem_size;   /* bytes accessed; 0: address only (lea, nop) */
	uint8_t mem_align;  /* #GP unless aligned (legacy SSE, movaps); 0: none */
	uint8_t mem_access; /* DROLE_R, DROLE_W, DROLE_RW */
	bool uses_ss;	    /* memory operand relative to rsp or rbp: faults are #SS */
	uint8_t imm_size;   /* bytes at the end of the instruction; 0 to 8 */
	int64_t imm;	/* sign-extended; branch displacement relative to the next instruction */
	uint8_t opsize; /* 1, 2, 4, 8 */
	/* Registers. Roles of ModRM.reg, ModRM.rm (when it is a register) and VEX.vvvv; DROLE_NONE also where the
	 * field is part of the opcode. */
	uint8_t reg_role, rm_role, vvvv_role;
	bool reg_high, rm_high; /* is ah, ch, dh, bh: number - 4 is the whole register */
	/* implicit general registers, bit n for number n (not rsp of stack ops) */
	uint16_t impl_r, impl_w;
	/* Status flags read; written (undefined ones too); not certainly written (shifts by cl or by a count of 0,
	 * repeated comparisons: fl_w holds them, fl_u too). */
	uint8_t fl_r, fl_w, fl_u;
	bool may_trap;		  /* may raise #XM, #MF or #DE on the host */
	bool reads_mxcsr;	  /* arithmetic, conversions, comparisons that depend on MXCSR */
	uint32_t op_at, modrm_at; /* offsets of the opcode byte and the ModRM byte in the bytes */
};

/* What the guest is offered, compiled into the tables' terms. One a group; made once. */
struct dtable;
_nodiscard_ struct dtable *dtable_new(const struct cpu_cpuid *cpuid);
void dtable_free(struct dtable *t);

/*
 * decode - one instruction.
 *
 * @bytes, @n: what there is up to the end of the page, n >= 1
 * @is_64: 64-bit code, else 32-bit (16-bit code is never translated)
 * Returns true with @ret filled; false when it is not known here, not offered to the guest, goes on beyond @n,
 * or its encoding is invalid in any way (then only the interpreter's decoder says what happens). Reads no byte
 * beyond @n. Thread: any.
 */
_nodiscard_ bool decode(const struct dtable *t, const uint8_t *bytes, unsigned int n, bool is_64,
			struct dinsn *ret);

#endif
