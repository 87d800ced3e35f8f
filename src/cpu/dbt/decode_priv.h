/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_DECODE_PRIV_H
#define CPU_DBT_DECODE_PRIV_H

#include "cpu/dbt/decode.h"

/*
 * What the decoder's tables consist of: one struct opdesc for an opcode with its mandatory prefix, ModRM
 * extension and so on. Tables are dense arrays, so that decoding is one load for most instructions and two
 * for groups.
 */

/* Instruction sets as the guest is offered them: bits of dtable.isa. */
enum disa {
	DISA_BASE,
	DISA_X87,
	DISA_CMOV,
	DISA_FCMOV,
	DISA_LONG,
	DISA_LAHF,
	DISA_CX16,
	DISA_MOVBE,
	DISA_POPCNT,
	DISA_LZCNT,
	DISA_BMI1,
	DISA_BMI2,
	DISA_ADX,
	DISA_PREFETCHW,
	DISA_MMX,
	DISA_SSE,
	DISA_SSE_PREFETCH,
	DISA_SSE2,
	DISA_SSE2MMX,
	DISA_SSE3,
	DISA_SSE3X87,
	DISA_SSSE3,
	DISA_SSSE3MMX,
	DISA_SSE4,
	DISA_SSE42,
	DISA_AES,
	DISA_PCLMUL,
	DISA_SHA,
	DISA_AVX,
	DISA_AVX2,
	DISA_FMA,
	DISA_F16C,
	DISA_AVXAES,
	DISA_VAES,
	DISA_VPCLMUL,
	DISA_NR,
};

/* Operand size. */
enum dosz {
	DOSZ_V,	  /* 4; 2 with 66, 8 with REX.W */
	DOSZ_B,	  /* 1 */
	DOSZ_Y,	  /* 4; 8 with REX.W */
	DOSZ_D64, /* stack operations: 8 in 64-bit code, else 4; 2 with 66 */
	DOSZ_F64, /* near branches: 8 in 64-bit code, else 4; with 66 not known here */
	NR_DOSZ,
};

enum dimm {
	DIMM_NONE,
	DIMM_B,	       /* one byte */
	DIMM_B_REG,    /* one byte, bits 7-4 name a vector register */
	DIMM_W,	       /* two bytes, unsigned */
	DIMM_Z,	       /* 2 with 66, else 4 */
	DIMM_V,	       /* the operand size */
	DIMM_LONG_REL, /* 4 */
	NR_DIMM,
};

/* Size of the memory operand: bytes, or one of these. */
enum {
	DMEM_OP = 0x80, /* the operand size */
	DMEM_VL,	/* 16, with VEX.L 32 */
	DMEM_VL2,	/* half, quarter, eighth of it */
	DMEM_VL4,
	DMEM_VL8,
	DMEM_DUP, /* 8, with VEX.L 32 */
};

enum dbits {
	DB_MODRM = 1 << 0,
	DB_NO_MEM = 1 << 1,
	DB_NO_REG = 1 << 2,
	DB_OPREG = 1 << 3,	/* the register is in the opcode byte */
	DB_LOCK = 1 << 4,	/* LOCK is allowed with a memory operand */
	DB_ALIGN = 1 << 5,	/* memory operand must be aligned to its size */
	DB_ALIGN_SHA = 1 << 6,	/* the same, but not on hosts where SHA takes anything */
	DB_MXCSR = 1 << 7,	/* depends on MXCSR, may raise #XM */
	DB_TRAP = 1 << 8,	/* may raise another exception of the host's unit */
	DB_REP_OK = 1 << 9,	/* F2 and F3 mean nothing here */
	DB_REP = 1 << 10,	/* F3 is REP */
	DB_REPNE = 1 << 11,	/* F2 is REPNE */
	DB_NO_66 = 1 << 12,	/* not known here with 66 */
	DB_MANDATORY = 1 << 13, /* the prefix that chose this row is part of the opcode */
	DB_L0 = 1 << 14,	/* VEX.L must be 0 */
	DB_L1 = 1 << 15,
	DB_W0 = 1 << 16, /* VEX.W must be 0 */
	DB_W1 = 1 << 17,
	DB_ONLY64 = 1 << 18,	/* not in 32-bit code */
	DB_RM8 = 1 << 19,	/* ModRM.rm is a byte register although the operand size is not 1 */
	DB_COUNT_IMM = 1 << 20, /* shift: writes no flags when the masked count is 0 */
	DB_COUNT_CL = 1 << 21,	/* shift: may write no flags */
	DB_KEEP_OLD = 1 << 22,	/* the destination ModRM.reg may also stay as it was */
	DB_EIGHT = 1 << 23,	/* MMX and x87 registers: REX.R and REX.B mean nothing for them */
	DB_STRING = 1 << 24,	/* memory operands that no ModRM byte names */
	/* Rows that need another look. */
	DB_RARE = DB_RM8 | DB_COUNT_IMM | DB_COUNT_CL | DB_KEEP_OLD | DB_EIGHT,
};

struct opdesc {
	uint8_t cls;	       /* enum dcls, or enum dsplit */
	uint8_t isa, isa_l1;   /* enum disa; isa_l1: with VEX.L = 1, when not 0 */
	uint8_t osz, imm, mem; /* enum dosz, enum dimm, DMEM_* */
	uint8_t access;	       /* enum drole of the memory operand */
	uint8_t rm, reg, vvvv; /* enum drole */
	uint8_t fl_r, fl_w;
	uint8_t fl_u; /* of fl_w: manuals say undefined, AMD's processors leave them as they were */
	union {
		uint16_t impl_r; /* rax to rdi */
		uint16_t sub;	 /* of a split: first row in dsub[] */
	};
	uint16_t impl_w;
	uint32_t bits;
};

/* Rows that only choose among others. */
enum dsplit {
	DSPLIT = 0x80,
	DSPLIT_REG = DSPLIT, /* by ModRM.reg */
	DSPLIT_MOD,	     /* memory, register */
	DSPLIT_MOD_REG,	     /* memory by reg, register by reg */
	DSPLIT_RM,	     /* by ModRM.rm without REX.B */
	DSPLIT_W,	     /* by REX.W or VEX.W */
};

/* Mandatory prefix as a row number; the order is that of VEX.pp. */
enum { DPP_NONE, DPP_66, DPP_F3, DPP_F2, NR_DPP };

extern const struct opdesc dmap0[256];
extern const struct opdesc dmaps[3][NR_DPP][256]; /* 0F, 0F 38, 0F 3A */
extern const struct opdesc dvex[3][NR_DPP][256];
extern const struct opdesc dsub[];
extern const struct opdesc dinc_dec; /* FF /0, /1 */

struct dtable {
	uint64_t isa; /* bit n: enum disa */
	bool sha_unaligned;
};

#endif
