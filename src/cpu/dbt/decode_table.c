// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The decoder's tables. Rows are written as macros that say what the manuals' opcode maps say: operands,
 * flags, prefixes; a row that is missing is an instruction that the translator leaves to the interpreter.
 * Flags that the manuals call undefined count as written: what the host leaves there is right.
 *
 * Sources: AMD APM volume 3 and Intel SDM volume 2, instruction reference and appendix A (opcode maps).
 */
#include "cpu/dbt/decode_priv.h"

#define R  DROLE_R
#define W  DROLE_W
#define RW DROLE_RW

#define RAX 0x01
#define RCX 0x02
#define RDX 0x04
#define RBX 0x08
#define RBP 0x20
#define RSI 0x40
#define RDI 0x80

#define CF     DF_CF
#define PF     DF_PF
#define AF     DF_AF
#define ZF     DF_ZF
#define SF     DF_SF
#define OF     DF_OF
#define ALL    DF_ALL
#define NOT_CF (DF_ALL & ~DF_CF)
#define NOT_ZF (DF_ALL & ~DF_ZF)
#define NOT_CO (DF_ALL & ~(DF_CF | DF_OF))
#define NOT_CZ (DF_ALL & ~(DF_CF | DF_ZF))

/* op Eb,Gb; Ev,Gv; Gb,Eb; Gv,Ev; AL,Ib; rAX,Iz */
#define ALU(op, to, lock, r)                                                                       \
	[op] = { DCLS_ALU, .osz = DOSZ_B, .mem = DMEM_OP, .access = to,		  .rm = to,        \
		 .reg = R, .fl_r = r,	  .fl_w = ALL,	  .bits = DB_MODRM | lock },               \
	[op + 1] = { DCLS_ALU, .mem = DMEM_OP, .access = to, .rm = to,                             \
		     .reg = R, .fl_r = r,      .fl_w = ALL,  .bits = DB_MODRM | lock },            \
	[op + 2] = { DCLS_ALU,	.osz = DOSZ_B, .mem = DMEM_OP, .access = R,	.rm = R,           \
		     .reg = to, .fl_r = r,     .fl_w = ALL,    .bits = DB_MODRM },                 \
	[op + 3] = { DCLS_ALU,	.mem = DMEM_OP, .access = R, .rm = R,                              \
		     .reg = to, .fl_r = r,	.fl_w = ALL, .bits = DB_MODRM },                   \
	[op + 4] = { DCLS_ALU,                                                                     \
		     .osz = DOSZ_B,                                                                \
		     .imm = DIMM_B,                                                                \
		     .fl_r = r,                                                                    \
		     .fl_w = ALL,                                                                  \
		     .impl_r = RAX,                                                                \
		     .impl_w = (to & W) ? RAX : 0 },                                               \
	[op + 5] = { DCLS_ALU,	  .imm = DIMM_Z, .fl_r = r,                                        \
		     .fl_w = ALL, .impl_r = RAX, .impl_w = (to & W) ? RAX : 0 }

/* ModRM.rm alone, of any access, with what else there is in ... */
#define RM(size, to, r, w, ...)                                                                    \
	{                                                                                          \
		DCLS_ALU, .osz = DOSZ_##size, .mem = DMEM_OP, .access = to, .rm = to, .fl_r = r,   \
			  .fl_w = w, __VA_ARGS__                                                   \
	}
#define RM_LOCK(size, to, r, w, ...) RM(size, to, r, w, .bits = DB_MODRM | DB_LOCK, __VA_ARGS__)
#define RM_ONLY(size, to, r, w, ...) RM(size, to, r, w, .bits = DB_MODRM, __VA_ARGS__)

/* Rows for the eight meanings of ModRM.reg of the immediate group. */
#define IMM_GROUP(size, i)                                                                         \
	RM_LOCK(size, RW, 0, ALL, .imm = i), RM_LOCK(size, RW, 0, ALL, .imm = i),                  \
		RM_LOCK(size, RW, CF, ALL, .imm = i), RM_LOCK(size, RW, CF, ALL, .imm = i),        \
		RM_LOCK(size, RW, 0, ALL, .imm = i), RM_LOCK(size, RW, 0, ALL, .imm = i),          \
		RM_LOCK(size, RW, 0, ALL, .imm = i), RM_ONLY(size, R, 0, ALL, .imm = i)

#define SHIFT(size, r, w, b, ...) RM(size, RW, r, w, .bits = DB_MODRM | (b), __VA_ARGS__)
#define SHIFT_GROUP(size, b, ...)                                                                  \
	SHIFT(size, 0, CF | OF, b, __VA_ARGS__), SHIFT(size, 0, CF | OF, b, __VA_ARGS__),          \
		SHIFT(size, CF, CF | OF, b, __VA_ARGS__),                                          \
		SHIFT(size, CF, CF | OF, b, __VA_ARGS__), SHIFT(size, 0, ALL, b, __VA_ARGS__),     \
		SHIFT(size, 0, ALL, b, __VA_ARGS__), SHIFT(size, 0, ALL, b, __VA_ARGS__),          \
		SHIFT(size, 0, ALL, b, __VA_ARGS__)

#define SPLIT(how, at)                                                                             \
	{                                                                                          \
		.cls = DSPLIT_##how, .sub = SUB_##at, .bits = DB_MODRM                             \
	}

#define EIGHT(m, op)                                                                               \
	m(op), m(op + 1), m(op + 2), m(op + 3), m(op + 4), m(op + 5), m(op + 6), m(op + 7)
/* The sixteen conditions in the order of their encoding, and which flags they look at. */
#define SIXTEEN(m, op)                                                                             \
	m(op, OF), m(op + 1, OF), m(op + 2, CF), m(op + 3, CF), m(op + 4, ZF), m(op + 5, ZF),      \
		m(op + 6, CF | ZF), m(op + 7, CF | ZF), m(op + 8, SF), m(op + 9, SF),              \
		m(op + 10, PF), m(op + 11, PF), m(op + 12, SF | OF), m(op + 13, SF | OF),          \
		m(op + 14, ZF | SF | OF), m(op + 15, ZF | SF | OF)

/* clang-format off */
enum {
	SUB_NONE,
	SUB_80,
	SUB_81 = SUB_80 + 8,
	SUB_83 = SUB_81 + 8,
	SUB_C0 = SUB_83 + 8,
	SUB_C1 = SUB_C0 + 8,
	SUB_D0 = SUB_C1 + 8,
	SUB_D1 = SUB_D0 + 8,
	SUB_D2 = SUB_D1 + 8,
	SUB_D3 = SUB_D2 + 8,
	SUB_F6 = SUB_D3 + 8,
	SUB_F7 = SUB_F6 + 8,
	SUB_FE = SUB_F7 + 8,
	SUB_FF = SUB_FE + 8,
	SUB_8F = SUB_FF + 8,
	SUB_C6 = SUB_8F + 8,
	SUB_C7 = SUB_C6 + 8,
	SUB_0FBA = SUB_C7 + 8,
	SUB_0FC7 = SUB_0FBA + 8,
	SUB_0FC7_1 = SUB_0FC7 + 8,
	SUB_0FAE = SUB_0FC7_1 + 2,
	SUB_0F71 = SUB_0FAE + 16,
	SUB_0F72 = SUB_0F71 + 16,
	SUB_0F73 = SUB_0F72 + 16,
	SUB_660F71 = SUB_0F73 + 16,
	SUB_660F72 = SUB_660F71 + 16,
	SUB_660F73 = SUB_660F72 + 16,
	SUB_V71 = SUB_660F73 + 16,
	SUB_V72 = SUB_V71 + 16,
	SUB_V73 = SUB_V72 + 16,
	SUB_VAE = SUB_V73 + 16,
	SUB_VMOVSS_LD = SUB_VAE + 16,
	SUB_VMOVSD_LD = SUB_VMOVSS_LD + 2,
	SUB_VMOVSS_ST = SUB_VMOVSD_LD + 2,
	SUB_VMOVSD_ST = SUB_VMOVSS_ST + 2,
	SUB_VBROADCASTSS = SUB_VMOVSD_ST + 2,
	SUB_VBROADCASTSD = SUB_VBROADCASTSS + 2,
	SUB_BLS = SUB_VBROADCASTSD + 2,
	SUB_D8 = SUB_BLS + 8,
	SUB_D9 = SUB_D8 + 16,
	SUB_DA = SUB_D9 + 16,
	SUB_DB = SUB_DA + 16,
	SUB_DC = SUB_DB + 16,
	SUB_DD = SUB_DC + 16,
	SUB_DE = SUB_DD + 16,
	SUB_DF = SUB_DE + 16,
	SUB_D9_2 = SUB_DF + 16,
	SUB_D9_4 = SUB_D9_2 + 8,
	SUB_D9_5 = SUB_D9_4 + 8,
	SUB_DA_5 = SUB_D9_5 + 8,
	SUB_DB_4 = SUB_DA_5 + 8,
	SUB_DE_3 = SUB_DB_4 + 8,
	SUB_DF_4 = SUB_DE_3 + 8,
	SUB_END = SUB_DF_4 + 8,
};

/* --- one-byte opcodes ------------------------------------------------------------------------------ */

#define PUSH_REG(op) [op] = { DCLS_PUSH, .osz = DOSZ_D64, .rm = R, .bits = DB_OPREG }
#define POP_REG(op) [op] = { DCLS_POP, .osz = DOSZ_D64, .rm = W, .bits = DB_OPREG }
#define XCHG_RAX(op) [op] = { DCLS_ALU, .rm = RW, .impl_r = RAX, .impl_w = RAX, .bits = DB_OPREG }
#define MOV_IMM8(op) [op] = { DCLS_ALU, .osz = DOSZ_B, .imm = DIMM_B, .rm = W, .bits = DB_OPREG }
#define MOV_IMM(op) [op] = { DCLS_ALU, .imm = DIMM_V, .rm = W, .bits = DB_OPREG }
#define JCC_SHORT(op, r) \
	[op] = { DCLS_JCC, .osz = DOSZ_F64, .imm = DIMM_B, .fl_r = r, .bits = DB_REP_OK }
#define STRING(op, size, a, r, w, f, b) \
	[op] = { DCLS_STRING, .osz = size, .mem = DMEM_OP, .access = a, .impl_r = r, .impl_w = w, \
		 .fl_w = f, .bits = DB_STRING | DB_REP | (b) }

const struct opdesc dmap0[256] = {
	ALU(0x00, RW, DB_LOCK, 0),
	ALU(0x08, RW, DB_LOCK, 0),
	ALU(0x10, RW, DB_LOCK, CF),
	ALU(0x18, RW, DB_LOCK, CF),
	ALU(0x20, RW, DB_LOCK, 0),
	ALU(0x28, RW, DB_LOCK, 0),
	ALU(0x30, RW, DB_LOCK, 0),
	ALU(0x38, R, 0, 0),
	/* 40-4F: inc and dec of 32-bit code, see decode.c */
	EIGHT(PUSH_REG, 0x50),
	EIGHT(POP_REG, 0x58),
	[0x63] = { DCLS_ALU, .mem = 4, .access = R, .rm = R, .reg = W, .isa = DISA_LONG,
		   .bits = DB_MODRM | DB_ONLY64 },
	[0x68] = { DCLS_PUSH, .osz = DOSZ_D64, .imm = DIMM_Z },
	[0x69] = { DCLS_ALU, .imm = DIMM_Z, .mem = DMEM_OP, .access = R, .rm = R, .reg = W,
		   .fl_w = ALL, .fl_u = NOT_CO, .bits = DB_MODRM },
	[0x6a] = { DCLS_PUSH, .osz = DOSZ_D64, .imm = DIMM_B },
	[0x6b] = { DCLS_ALU, .imm = DIMM_B, .mem = DMEM_OP, .access = R, .rm = R, .reg = W,
		   .fl_w = ALL, .fl_u = NOT_CO, .bits = DB_MODRM },
	SIXTEEN(JCC_SHORT, 0x70),
	[0x80] = SPLIT(REG, 80),
	[0x81] = SPLIT(REG, 81),
	[0x83] = SPLIT(REG, 83),
	[0x84] = RM_ONLY(B, R, 0, ALL, .reg = R),
	[0x85] = RM_ONLY(V, R, 0, ALL, .reg = R),
	[0x86] = RM_LOCK(B, RW, 0, 0, .reg = RW),
	[0x87] = RM_LOCK(V, RW, 0, 0, .reg = RW),
	[0x88] = RM_ONLY(B, W, 0, 0, .reg = R),
	[0x89] = RM_ONLY(V, W, 0, 0, .reg = R),
	[0x8a] = RM_ONLY(B, R, 0, 0, .reg = W),
	[0x8b] = RM_ONLY(V, R, 0, 0, .reg = W),
	[0x8d] = { DCLS_LEA, .reg = W, .bits = DB_MODRM | DB_NO_REG },
	[0x8f] = SPLIT(REG, 8F),
	[0x90] = { DCLS_NOP, .bits = DB_OPREG }, /* with REX.B as those below */
	XCHG_RAX(0x91), XCHG_RAX(0x92), XCHG_RAX(0x93), XCHG_RAX(0x94), XCHG_RAX(0x95), XCHG_RAX(0x96),
	XCHG_RAX(0x97),
	[0x98] = { DCLS_ALU, .impl_r = RAX, .impl_w = RAX },
	[0x99] = { DCLS_ALU, .impl_r = RAX, .impl_w = RDX },
	[0x9b] = { DCLS_X87, .isa = DISA_X87, .bits = DB_TRAP },
	[0x9e] = { DCLS_FLAG, .isa = DISA_LAHF, .osz = DOSZ_B, .impl_r = RAX, .fl_w = ALL & ~OF },
	[0x9f] = { DCLS_FLAG, .isa = DISA_LAHF, .osz = DOSZ_B, .impl_w = RAX, .fl_r = ALL & ~OF },
	STRING(0xa4, DOSZ_B, RW, RSI | RDI, RSI | RDI, 0, 0),
	STRING(0xa5, DOSZ_V, RW, RSI | RDI, RSI | RDI, 0, 0),
	STRING(0xa6, DOSZ_B, R, RSI | RDI, RSI | RDI, ALL, DB_REPNE),
	STRING(0xa7, DOSZ_V, R, RSI | RDI, RSI | RDI, ALL, DB_REPNE),
	[0xa8] = { DCLS_ALU, .osz = DOSZ_B, .imm = DIMM_B, .impl_r = RAX, .fl_w = ALL },
	[0xa9] = { DCLS_ALU, .imm = DIMM_Z, .impl_r = RAX, .fl_w = ALL },
	STRING(0xaa, DOSZ_B, W, RAX | RDI, RDI, 0, 0),
	STRING(0xab, DOSZ_V, W, RAX | RDI, RDI, 0, 0),
	STRING(0xac, DOSZ_B, R, RSI, RAX | RSI, 0, 0),
	STRING(0xad, DOSZ_V, R, RSI, RAX | RSI, 0, 0),
	STRING(0xae, DOSZ_B, R, RAX | RDI, RDI, ALL, DB_REPNE),
	STRING(0xaf, DOSZ_V, R, RAX | RDI, RDI, ALL, DB_REPNE),
	EIGHT(MOV_IMM8, 0xb0),
	EIGHT(MOV_IMM, 0xb8),
	[0xc0] = SPLIT(REG, C0),
	[0xc1] = SPLIT(REG, C1),
	[0xc2] = { DCLS_RET, .osz = DOSZ_F64, .imm = DIMM_W, .bits = DB_REP_OK },
	[0xc3] = { DCLS_RET, .osz = DOSZ_F64, .bits = DB_REP_OK },
	[0xc6] = SPLIT(REG, C6),
	[0xc7] = SPLIT(REG, C7),
	[0xc9] = { DCLS_LEAVE, .osz = DOSZ_F64, .impl_r = RBP, .impl_w = RBP },
	[0xd0] = SPLIT(REG, D0),
	[0xd1] = SPLIT(REG, D1),
	[0xd2] = SPLIT(REG, D2),
	[0xd3] = SPLIT(REG, D3),
	[0xd7] = { DCLS_XLAT, .osz = DOSZ_B, .mem = 1, .access = R, .impl_r = RAX | RBX, .impl_w = RAX,
		   .bits = DB_STRING },
	[0xd8] = SPLIT(MOD_REG, D8), [0xd9] = SPLIT(MOD_REG, D9), [0xda] = SPLIT(MOD_REG, DA),
	[0xdb] = SPLIT(MOD_REG, DB), [0xdc] = SPLIT(MOD_REG, DC), [0xdd] = SPLIT(MOD_REG, DD),
	[0xde] = SPLIT(MOD_REG, DE), [0xdf] = SPLIT(MOD_REG, DF),
	[0xe0] = { DCLS_LOOP, .osz = DOSZ_F64, .imm = DIMM_B, .impl_r = RCX, .impl_w = RCX, .fl_r = ZF },
	[0xe1] = { DCLS_LOOP, .osz = DOSZ_F64, .imm = DIMM_B, .impl_r = RCX, .impl_w = RCX, .fl_r = ZF },
	[0xe2] = { DCLS_LOOP, .osz = DOSZ_F64, .imm = DIMM_B, .impl_r = RCX, .impl_w = RCX },
	[0xe3] = { DCLS_JRCXZ, .osz = DOSZ_F64, .imm = DIMM_B, .impl_r = RCX },
	[0xe8] = { DCLS_CALL, .osz = DOSZ_F64, .imm = DIMM_LONG_REL, .bits = DB_REP_OK },
	[0xe9] = { DCLS_JMP, .osz = DOSZ_F64, .imm = DIMM_LONG_REL, .bits = DB_REP_OK },
	[0xeb] = { DCLS_JMP, .osz = DOSZ_F64, .imm = DIMM_B, .bits = DB_REP_OK },
	[0xf5] = { DCLS_FLAG, .osz = DOSZ_B, .fl_r = CF, .fl_w = CF },
	[0xf6] = SPLIT(REG, F6),
	[0xf7] = SPLIT(REG, F7),
	[0xf8] = { DCLS_FLAG, .osz = DOSZ_B, .fl_w = CF },
	[0xf9] = { DCLS_FLAG, .osz = DOSZ_B, .fl_w = CF },
	[0xfe] = SPLIT(REG, FE),
	[0xff] = SPLIT(REG, FF),
};

/* --- 0F: rows without a mandatory prefix (66 is the operand size) and with one ---------------------- */

#define BOTH(op, ...) [0][DPP_NONE][op] = __VA_ARGS__, [0][DPP_66][op] = __VA_ARGS__
#define ANY(op, ...) BOTH(op, __VA_ARGS__), [0][DPP_F3][op] = __VA_ARGS__, [0][DPP_F2][op] = __VA_ARGS__
#define CMOV(op, r) BOTH(op, { DCLS_ALU, .isa = DISA_CMOV, .mem = DMEM_OP, .access = R, .rm = R, \
			       .reg = W, .fl_r = r, .bits = DB_MODRM | DB_KEEP_OLD })
#define SETCC(op, r) BOTH(op, { DCLS_ALU, .osz = DOSZ_B, .mem = DMEM_OP, .access = W, .rm = W, \
				.fl_r = r, .bits = DB_MODRM })
#define JCC_NEAR(op, r) ANY(op, { DCLS_JCC, .osz = DOSZ_F64, .imm = DIMM_LONG_REL, .fl_r = r, \
				  .bits = DB_REP_OK })
#define BSWAP(op) [0][DPP_NONE][op] = { DCLS_ALU, .rm = RW, .bits = DB_OPREG }
#define NOP_RM(op, set) ANY(op, { DCLS_NOP, .isa = DISA_##set, .bits = DB_MODRM | DB_REP_OK })
#define BIT_REG(op, to) BOTH(op, { DCLS_ALU, .rm = to, .reg = R, .fl_w = NOT_ZF, \
				   .fl_u = NOT_CZ, \
				   .bits = DB_MODRM | DB_NO_MEM })
#define MOVX(op, from, b) BOTH(op, { DCLS_ALU, .mem = from, .access = R, .rm = R, .reg = W, \
				     .bits = DB_MODRM | (b) })
#define SCAN(pp, op, set, kept, b) [0][pp][op] = { DCLS_ALU, .isa = DISA_##set, .mem = DMEM_OP, .access = R, \
					   .rm = R, .reg = W, .fl_w = ALL, .fl_u = kept, \
					   .bits = DB_MODRM | (b) }
#define SHIFT2(op, i, r, b) BOTH(op, { DCLS_ALU, .imm = i, .mem = DMEM_OP, .access = RW, .rm = RW, \
				       .reg = R, .impl_r = r, .fl_w = ALL, .bits = DB_MODRM | (b) })
#define MOVBE(pp, op, how, to, from) [1][pp][op] = { DCLS_ALU, .isa = DISA_MOVBE, .mem = DMEM_OP, \
	.access = how, .reg = to | from, .bits = DB_MODRM | DB_NO_REG }
#define ADX(pp, flag) [1][pp][0xf6] = { DCLS_ALU, .isa = DISA_ADX, .osz = DOSZ_Y, .mem = DMEM_OP, \
	.access = R, .rm = R, .reg = RW, .fl_r = flag, .fl_w = flag, .bits = DB_MODRM | DB_MANDATORY }

/* The lines of opcodes_sse.def. */
#define VEC DROLE_VEC
#define MM DROLE_MM
#define NO_MEM DB_NO_MEM
#define NO_REG DB_NO_REG
#define ALIGN DB_ALIGN
#define ALIGN_SHA DB_ALIGN_SHA
#define MXCSR DB_MXCSR
#define L0 DB_L0
#define L1 DB_L1
#define W0 DB_W0
#define W1 DB_W1
#define PP_NONE 0
#define PP_66 DB_MANDATORY
#define PP_F3 DB_MANDATORY
#define PP_F2 DB_MANDATORY
#define LEGACY(cls, m, pp, op, set, a, b, i, size, how, traits, ...) \
	[m - 1][DPP_##pp][op] = { cls, .isa = DISA_##set, .osz = DOSZ_Y, .imm = DIMM_##i, .mem = size, \
				  .access = how, .reg = a, .rm = b, .bits = DB_MODRM | PP_##pp | (traits), \
				  __VA_ARGS__ },
#define X(...) LEGACY(DCLS_VEC, __VA_ARGS__, )
#define XF(m, pp, op, set, a, b, i, size, how, traits, r, w, f) \
	LEGACY(DCLS_VEC, m, pp, op, set, a, b, i, size, how, traits, .impl_r = r, .impl_w = w, .fl_w = f)
#define M(m, pp, op, set, a, b, i, size, how, traits) \
	LEGACY(DCLS_MMX, m, pp, op, set, a, b, i, size, how, (traits) | DB_TRAP | DB_EIGHT, )

const struct opdesc dmaps[3][NR_DPP][256] = {
	ANY(0x0d, { DCLS_NOP, .isa = DISA_PREFETCHW, .bits = DB_MODRM | DB_REP_OK | DB_NO_REG }),
	NOP_RM(0x18, SSE_PREFETCH),
	NOP_RM(0x19, BASE), NOP_RM(0x1a, BASE), NOP_RM(0x1b, BASE), NOP_RM(0x1c, BASE),
	NOP_RM(0x1d, BASE), NOP_RM(0x1e, BASE), NOP_RM(0x1f, BASE),
	SIXTEEN(CMOV, 0x40),
	SIXTEEN(JCC_NEAR, 0x80),
	SIXTEEN(SETCC, 0x90),
	BIT_REG(0xa3, R),
	SHIFT2(0xa4, DIMM_B, 0, DB_COUNT_IMM),
	SHIFT2(0xa5, DIMM_NONE, RCX, DB_COUNT_CL),
	BIT_REG(0xab, RW),
	SHIFT2(0xac, DIMM_B, 0, DB_COUNT_IMM),
	SHIFT2(0xad, DIMM_NONE, RCX, DB_COUNT_CL),
	[0][DPP_NONE][0xae] = SPLIT(MOD_REG, 0FAE),
	BOTH(0xaf, { DCLS_ALU, .mem = DMEM_OP, .access = R, .rm = R, .reg = RW, .fl_w = ALL, .fl_u = NOT_CO,
		     .bits = DB_MODRM }),
	BOTH(0xb0, RM_LOCK(B, RW, 0, ALL, .reg = R, .impl_r = RAX, .impl_w = RAX)),
	BOTH(0xb1, RM_LOCK(V, RW, 0, ALL, .reg = R, .impl_r = RAX, .impl_w = RAX)),
	BIT_REG(0xb3, RW),
	MOVX(0xb6, 1, DB_RM8),
	MOVX(0xb7, 2, 0),
	SCAN(DPP_F3, 0xb8, POPCNT, 0, DB_MANDATORY),
	BOTH(0xba, SPLIT(REG, 0FBA)),
	BIT_REG(0xbb, RW),
	SCAN(DPP_NONE, 0xbc, BASE, NOT_ZF, DB_KEEP_OLD),
	SCAN(DPP_66, 0xbc, BASE, NOT_ZF, DB_KEEP_OLD),
	SCAN(DPP_F3, 0xbc, BMI1, NOT_CZ, DB_MANDATORY),
	SCAN(DPP_NONE, 0xbd, BASE, NOT_ZF, DB_KEEP_OLD),
	SCAN(DPP_66, 0xbd, BASE, NOT_ZF, DB_KEEP_OLD),
	SCAN(DPP_F3, 0xbd, LZCNT, NOT_CZ, DB_MANDATORY),
	MOVX(0xbe, 1, DB_RM8),
	MOVX(0xbf, 2, 0),
	BOTH(0xc0, RM_LOCK(B, RW, 0, ALL, .reg = RW)),
	BOTH(0xc1, RM_LOCK(V, RW, 0, ALL, .reg = RW)),
	[0][DPP_NONE][0xc3] = { DCLS_ALU, .isa = DISA_SSE2, .osz = DOSZ_Y, .mem = DMEM_OP, .access = W,
			     .reg = R, .bits = DB_MODRM | DB_NO_REG },
	[0][DPP_NONE][0xc7] = SPLIT(REG, 0FC7),
	EIGHT(BSWAP, 0xc8),
	MOVBE(DPP_NONE, 0xf0, R, W, 0),
	MOVBE(DPP_66, 0xf0, R, W, 0),
	MOVBE(DPP_NONE, 0xf1, W, 0, R),
	MOVBE(DPP_66, 0xf1, W, 0, R),
	[1][DPP_F2][0xf0] = { DCLS_ALU, .isa = DISA_SSE42, .osz = DOSZ_Y, .mem = 1, .access = R,
			      .rm = R, .reg = RW, .bits = DB_MODRM | DB_RM8 | DB_MANDATORY },
	[1][DPP_F2][0xf1] = { DCLS_ALU, .isa = DISA_SSE42, .mem = DMEM_OP, .access = R, .rm = R,
			      .reg = RW, .bits = DB_MODRM | DB_MANDATORY },
	ADX(DPP_66, CF),
	ADX(DPP_F3, OF),
	[0][DPP_NONE][0x71] = SPLIT(MOD_REG, 0F71), [0][DPP_66][0x71] = SPLIT(MOD_REG, 660F71),
	[0][DPP_NONE][0x72] = SPLIT(MOD_REG, 0F72), [0][DPP_66][0x72] = SPLIT(MOD_REG, 660F72),
	[0][DPP_NONE][0x73] = SPLIT(MOD_REG, 0F73), [0][DPP_66][0x73] = SPLIT(MOD_REG, 660F73),
	[0][DPP_NONE][0x77] = { DCLS_MMX, .isa = DISA_MMX, .bits = DB_TRAP },
#include "cpu/dbt/opcodes_sse.def"
};

/* --- VEX -------------------------------------------------------------------------------------------- */

#define SET_AVX DISA_AVX
#define SET_AVX2 DISA_AVX2
#define SET_AVX_AVX2 DISA_AVX, .isa_l1 = DISA_AVX2
#define SET_FMA DISA_FMA
#define SET_F16C DISA_F16C
#define SET_AVXAES DISA_AVXAES
#define SET_AVXAES_VAES DISA_AVXAES, .isa_l1 = DISA_VAES
#define SET_AVX_VPCLMUL DISA_AVX, .isa_l1 = DISA_VPCLMUL
#define SET_BMI1 DISA_BMI1
#define SET_BMI2 DISA_BMI2
#define VROW(cls, set, a, v, b, i, size, how, traits, ...) \
	{ cls, .isa = SET_##set, .osz = DOSZ_Y, .imm = DIMM_##i, .mem = size, .access = how, .reg = a, \
	  .vvvv = v, .rm = b, .bits = DB_MODRM | (traits), __VA_ARGS__ }
#define VEX(cls, m, pp, op, ...) [m - 1][DPP_##pp][op] = VROW(cls, __VA_ARGS__),
#define V(...) VEX(DCLS_VEC, __VA_ARGS__, )
#define B(...) VEX(DCLS_ALU, __VA_ARGS__, )
#define VF(m, pp, op, set, a, v, b, i, size, how, traits, r, w, f) \
	VEX(DCLS_VEC, m, pp, op, set, a, v, b, i, size, how, traits, .impl_r = r, .impl_w = w, .fl_w = f)
#define BF(m, pp, op, set, a, v, b, i, size, how, traits, r, w, f) \
	VEX(DCLS_ALU, m, pp, op, set, a, v, b, i, size, how, traits, .impl_r = r, .impl_w = w, .fl_w = f)
/* vmovss, vmovsd: two operands with memory, three without */
#define MOVS(pp, op, at) [0][DPP_##pp][op] = SPLIT(MOD, at)

const struct opdesc dvex[3][NR_DPP][256] = {
	MOVS(F3, 0x10, VMOVSS_LD), MOVS(F2, 0x10, VMOVSD_LD),
	MOVS(F3, 0x11, VMOVSS_ST), MOVS(F2, 0x11, VMOVSD_ST),
	[0][DPP_66][0x71] = SPLIT(MOD_REG, V71),
	[0][DPP_66][0x72] = SPLIT(MOD_REG, V72),
	[0][DPP_66][0x73] = SPLIT(MOD_REG, V73),
	[0][DPP_NONE][0x77] = { DCLS_VEC, .isa = DISA_AVX }, /* vzeroupper, vzeroall */
	[0][DPP_NONE][0xae] = SPLIT(MOD_REG, VAE),
	[1][DPP_66][0x18] = SPLIT(MOD, VBROADCASTSS),
	[1][DPP_66][0x19] = SPLIT(MOD, VBROADCASTSD),
	[1][DPP_NONE][0xf3] = SPLIT(REG, BLS),
#include "cpu/dbt/opcodes_vex.def"
	VEX(DCLS_ALU, 2, F2, 0xf6, BMI2, W, W, R, NONE, DMEM_OP, R, L0, .impl_r = RDX)
};

/* --- groups ----------------------------------------------------------------------------------------- */

#define BIT_IMM(to, b) RM(V, to, 0, NOT_ZF, .fl_u = NOT_CZ, .imm = DIMM_B, .bits = DB_MODRM | (b))
#define MUL(size, w) RM_ONLY(size, R, 0, ALL, .fl_u = NOT_CO, .impl_r = RAX, .impl_w = w)
#define DIV(size, io) { DCLS_DIV, .osz = DOSZ_##size, .mem = DMEM_OP, .access = R, .rm = R, .fl_w = ALL, \
			.fl_u = ALL & ~AF, .impl_r = io, .impl_w = io, .bits = DB_MODRM | DB_TRAP }

/* ldmxcsr, stmxcsr */
#define CONTROL(set, how) VROW(DCLS_VEC, set, 0, 0, 0, NONE, 4, how, DB_NO_REG | DB_L0, )
#define SET_SSE DISA_SSE
#define FENCE(set) { DCLS_ALU, .isa = DISA_##set, .bits = DB_MODRM }
/* Shifts of vectors by an immediate, of the operand in ModRM.rm. */
#define SHIFT_MM { DCLS_MMX, .isa = DISA_MMX, .osz = DOSZ_Y, .imm = DIMM_B, .rm = MM, \
		   .bits = DB_MODRM | DB_TRAP | DB_EIGHT }
#define SHIFT_XMM { DCLS_VEC, .isa = DISA_SSE2, .osz = DOSZ_Y, .imm = DIMM_B, .rm = VEC, \
		    .bits = DB_MODRM | DB_MANDATORY }
#define SHIFT_VEX VROW(DCLS_VEC, AVX_AVX2, 0, VEC, VEC, B, 0, 0, 0, )
#define BLS VROW(DCLS_ALU, BMI1, 0, W, R, NONE, DMEM_OP, R, L0, .fl_w = ALL)

/* x87: memory operands; ST(0) and ST(i); ST(0) alone */
#define F_MEM(size, how) { DCLS_X87, .isa = DISA_X87, .osz = DOSZ_Y, .mem = size, .access = how, \
			   .bits = DB_MODRM | DB_TRAP | DB_NO_66 }
#define F_TTP(size) { DCLS_X87, .isa = DISA_SSE3X87, .osz = DOSZ_Y, .mem = size, .access = W, \
		      .bits = DB_MODRM | DB_TRAP | DB_NO_66 }
#define F_CONTROL(b, ...) { DCLS_X87, .isa = DISA_X87, .osz = DOSZ_Y, .bits = DB_MODRM | DB_NO_66 | (b), \
			    __VA_ARGS__ }
#define X87_REG (DB_MODRM | DB_TRAP | DB_NO_66 | DB_EIGHT)
#define F_ST { DCLS_X87, .isa = DISA_X87, .osz = DOSZ_Y, .rm = DROLE_ST, .bits = X87_REG }
#define F_CMOV(r) { DCLS_X87, .isa = DISA_FCMOV, .osz = DOSZ_Y, .rm = DROLE_ST, .fl_r = r, \
		    .bits = X87_REG }
#define F_COMI { DCLS_X87, .isa = DISA_X87, .osz = DOSZ_Y, .rm = DROLE_ST, .fl_w = ALL, \
		 .bits = X87_REG }
#define F_ST0 { DCLS_X87, .isa = DISA_X87, .osz = DOSZ_Y, .bits = DB_MODRM | DB_TRAP | DB_NO_66 }
#define NONE_HERE { 0 }
#define F_ARITH(row) row, row, row, row, row, row, row, row

const struct opdesc dsub[] = {
	[SUB_80] = IMM_GROUP(B, DIMM_B),
	[SUB_81] = IMM_GROUP(V, DIMM_Z),
	[SUB_83] = IMM_GROUP(V, DIMM_B),
	[SUB_C0] = SHIFT_GROUP(B, DB_COUNT_IMM, .imm = DIMM_B),
	[SUB_C1] = SHIFT_GROUP(V, DB_COUNT_IMM, .imm = DIMM_B),
	[SUB_D0] = SHIFT_GROUP(B, 0, .imm = DIMM_NONE),
	[SUB_D1] = SHIFT_GROUP(V, 0, .imm = DIMM_NONE),
	[SUB_D2] = SHIFT_GROUP(B, DB_COUNT_CL, .impl_r = RCX),
	[SUB_D3] = SHIFT_GROUP(V, DB_COUNT_CL, .impl_r = RCX),
	[SUB_F6] = RM_ONLY(B, R, 0, ALL, .imm = DIMM_B),
	RM_ONLY(B, R, 0, ALL, .imm = DIMM_B),
	RM_LOCK(B, RW, 0, 0),
	RM_LOCK(B, RW, 0, ALL),
	MUL(B, RAX), MUL(B, RAX), DIV(B, RAX), DIV(B, RAX),
	[SUB_F7] = RM_ONLY(V, R, 0, ALL, .imm = DIMM_Z),
	RM_ONLY(V, R, 0, ALL, .imm = DIMM_Z),
	RM_LOCK(V, RW, 0, 0),
	RM_LOCK(V, RW, 0, ALL),
	MUL(V, RAX | RDX), MUL(V, RAX | RDX), DIV(V, RAX | RDX), DIV(V, RAX | RDX),
	[SUB_FE] = RM_LOCK(B, RW, 0, NOT_CF),
	RM_LOCK(B, RW, 0, NOT_CF),
	[SUB_FF] = RM_LOCK(V, RW, 0, NOT_CF),
	RM_LOCK(V, RW, 0, NOT_CF),
	{ DCLS_CALL_IND, .osz = DOSZ_F64, .mem = DMEM_OP, .access = R, .rm = R, .bits = DB_MODRM | DB_REP_OK },
	[SUB_FF + 4] = { DCLS_JMP_IND, .osz = DOSZ_F64, .mem = DMEM_OP, .access = R, .rm = R,
			 .bits = DB_MODRM | DB_REP_OK },
	[SUB_FF + 6] = { DCLS_PUSH, .osz = DOSZ_D64, .mem = DMEM_OP, .access = R, .rm = R, .bits = DB_MODRM },
	[SUB_8F] = { DCLS_POP, .osz = DOSZ_D64, .mem = DMEM_OP, .access = W, .rm = W, .bits = DB_MODRM },
	[SUB_C6] = RM_ONLY(B, W, 0, 0, .imm = DIMM_B),
	[SUB_C7] = RM_ONLY(V, W, 0, 0, .imm = DIMM_Z),
	[SUB_0FBA + 4] = BIT_IMM(R, 0),
	BIT_IMM(RW, DB_LOCK), BIT_IMM(RW, DB_LOCK), BIT_IMM(RW, DB_LOCK),
	[SUB_0FC7 + 1] = SPLIT(W, 0FC7_1),
	[SUB_0FC7_1] = { DCLS_ALU, .mem = 8, .access = RW, .fl_w = ZF, .impl_r = RAX | RDX | RBX | RCX,
			 .impl_w = RAX | RDX, .bits = DB_MODRM | DB_NO_REG | DB_LOCK },
	{ DCLS_ALU, .isa = DISA_CX16, .mem = 16, .access = RW, .fl_w = ZF,
	  .impl_r = RAX | RDX | RBX | RCX, .impl_w = RAX | RDX,
	  .bits = DB_MODRM | DB_NO_REG | DB_LOCK | DB_ALIGN | DB_ONLY64 },
	[SUB_0FAE + 2] = CONTROL(SSE, R), CONTROL(SSE, W),
	[SUB_0FAE + 8 + 5] = FENCE(SSE2), FENCE(SSE2), FENCE(SSE),
	[SUB_VAE + 2] = CONTROL(AVX, R), CONTROL(AVX, W),
	[SUB_0F71 + 8 + 2] = SHIFT_MM, [SUB_0F71 + 8 + 4] = SHIFT_MM, [SUB_0F71 + 8 + 6] = SHIFT_MM,
	[SUB_0F72 + 8 + 2] = SHIFT_MM, [SUB_0F72 + 8 + 4] = SHIFT_MM, [SUB_0F72 + 8 + 6] = SHIFT_MM,
	[SUB_0F73 + 8 + 2] = SHIFT_MM, [SUB_0F73 + 8 + 6] = SHIFT_MM,
	[SUB_660F71 + 8 + 2] = SHIFT_XMM, [SUB_660F71 + 8 + 4] = SHIFT_XMM, [SUB_660F71 + 8 + 6] = SHIFT_XMM,
	[SUB_660F72 + 8 + 2] = SHIFT_XMM, [SUB_660F72 + 8 + 4] = SHIFT_XMM, [SUB_660F72 + 8 + 6] = SHIFT_XMM,
	[SUB_660F73 + 8 + 2] = SHIFT_XMM, SHIFT_XMM, [SUB_660F73 + 8 + 6] = SHIFT_XMM, SHIFT_XMM,
	[SUB_V71 + 8 + 2] = SHIFT_VEX, [SUB_V71 + 8 + 4] = SHIFT_VEX, [SUB_V71 + 8 + 6] = SHIFT_VEX,
	[SUB_V72 + 8 + 2] = SHIFT_VEX, [SUB_V72 + 8 + 4] = SHIFT_VEX, [SUB_V72 + 8 + 6] = SHIFT_VEX,
	[SUB_V73 + 8 + 2] = SHIFT_VEX, SHIFT_VEX, [SUB_V73 + 8 + 6] = SHIFT_VEX, SHIFT_VEX,
	[SUB_VMOVSS_LD] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 4, R, 0, ),
	VROW(DCLS_VEC, AVX, VEC, VEC, VEC, NONE, 0, 0, 0, ),
	[SUB_VMOVSD_LD] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 8, R, 0, ),
	VROW(DCLS_VEC, AVX, VEC, VEC, VEC, NONE, 0, 0, 0, ),
	[SUB_VMOVSS_ST] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 4, W, 0, ),
	VROW(DCLS_VEC, AVX, VEC, VEC, VEC, NONE, 0, 0, 0, ),
	[SUB_VMOVSD_ST] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 8, W, 0, ),
	VROW(DCLS_VEC, AVX, VEC, VEC, VEC, NONE, 0, 0, 0, ),
	[SUB_VBROADCASTSS] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 4, R, W0, ),
	VROW(DCLS_VEC, AVX2, VEC, 0, VEC, NONE, 0, 0, W0, ),
	[SUB_VBROADCASTSD] = VROW(DCLS_VEC, AVX, VEC, 0, 0, NONE, 8, R, W0 | L1, ),
	VROW(DCLS_VEC, AVX2, VEC, 0, VEC, NONE, 0, 0, W0 | L1, ),
	[SUB_BLS + 1] = BLS, BLS, BLS,

	[SUB_D8] = F_ARITH(F_MEM(4, R)), F_ARITH(F_ST),
	[SUB_D9] = F_MEM(4, R), NONE_HERE, F_MEM(4, W), F_MEM(4, W), NONE_HERE,
	F_CONTROL(DB_TRAP, .mem = 2, .access = R), /* fldcw */
	NONE_HERE, F_CONTROL(0, .mem = 2, .access = W),
	F_ST, F_ST, SPLIT(RM, D9_2), NONE_HERE, SPLIT(RM, D9_4), SPLIT(RM, D9_5), F_ST0, F_ST0,
	[SUB_DA] = F_ARITH(F_MEM(4, R)),
	F_CMOV(CF), F_CMOV(ZF), F_CMOV(CF | ZF), F_CMOV(PF), NONE_HERE, SPLIT(RM, DA_5),
	[SUB_DB] = F_MEM(4, R), F_TTP(4), F_MEM(4, W), F_MEM(4, W), NONE_HERE, F_MEM(10, R),
	NONE_HERE, F_MEM(10, W),
	F_CMOV(CF), F_CMOV(ZF), F_CMOV(CF | ZF), F_CMOV(PF), SPLIT(RM, DB_4), F_COMI, F_COMI,
	[SUB_DC] = F_ARITH(F_MEM(8, R)), F_ARITH(F_ST),
	[SUB_DD] = F_MEM(8, R), F_TTP(8), F_MEM(8, W), F_MEM(8, W), NONE_HERE, NONE_HERE, NONE_HERE,
	F_CONTROL(0, .mem = 2, .access = W),
	F_ST, F_ST, F_ST, F_ST, F_ST, F_ST,
	[SUB_DE] = F_ARITH(F_MEM(2, R)), F_ST, F_ST, F_ST, SPLIT(RM, DE_3), F_ST, F_ST, F_ST, F_ST,
	[SUB_DF] = F_MEM(2, R), F_TTP(2), F_MEM(2, W), F_MEM(2, W), NONE_HERE, F_MEM(8, R),
	NONE_HERE, F_MEM(8, W),
	F_ST, F_ST, F_ST, F_ST, SPLIT(RM, DF_4), F_COMI, F_COMI,
	[SUB_D9_2] = F_ST0, /* fnop */
	[SUB_D9_4] = F_ST0, F_ST0, [SUB_D9_4 + 4] = F_ST0, F_ST0,
	[SUB_D9_5] = F_ST0, F_ST0, F_ST0, F_ST0, F_ST0, F_ST0, F_ST0,
	[SUB_DA_5 + 1] = F_ST0,
	[SUB_DB_4 + 2] = F_CONTROL(0), F_CONTROL(0), /* fnclex, fninit */
	[SUB_DE_3 + 1] = F_ST0,
	[SUB_DF_4] = F_CONTROL(0, .impl_r = RAX, .impl_w = RAX), /* fnstsw %ax */
	[SUB_END] = { 0 },
};

const struct opdesc dinc_dec = RM_ONLY(V, RW, 0, NOT_CF);
/* clang-format on */
