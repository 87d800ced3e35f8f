// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moving and converting data: MOV, MOVZX, MOVSX, MOVSXD, CMOVcc, SETcc, LEA, XCHG between registers, BSWAP,
 * MOVBE, MOVNTI, XLAT, sign extensions of the accumulator, single flags, NOPs.
 */
#include <errno.h>
#include <sched.h>

#include "cpu/interp/atomic.h"
#include "cpu/interp/events.h"
#include "cpu/interp/hostalu.h"

uint64_t reg_get(const struct cpu *c, unsigned int off, unsigned int size)
{
	uint64_t v = 0;

	__builtin_memcpy(&v, (const uint8_t *)c->st.r + off, size);
	return v;
}

void reg_set(struct cpu *c, unsigned int off, unsigned int size, uint64_t v)
{
	switch (size) {
	case 1:
		wr8(c, off, (uint8_t)v);
		break;
	case 2:
		wr16(c, off, (uint16_t)v);
		break;
	case 4:
		wr32(c, off, (uint32_t)v);
		break;
	default:
		wr64(c, off, v);
		break;
	}
}

/* --- MOV ---------------------------------------------------------------------------------------- */

enum form { FORM_RR, FORM_RM, FORM_MR, FORM_RI, FORM_MI, FORM_LOAD_ABS, FORM_STORE_ABS, NR_FORMS };

#define MOV_SIZE(bits)                                                                             \
	static void mov##bits##_rr(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		wr##bits(c, i->dst, rd##bits(c, i->src));                                          \
	}                                                                                          \
	static void mov##bits##_rm(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		wr##bits(c, i->dst, ldm##bits(c, i));                                              \
	}                                                                                          \
	static void mov##bits##_mr(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		stm##bits(c, i, rd##bits(c, i->dst));                                              \
	}                                                                                          \
	static void mov##bits##_ri(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		wr##bits(c, i->dst, (uint##bits##_t)i->imm);                                       \
	}                                                                                          \
	static void mov##bits##_mi(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		stm##bits(c, i, (uint##bits##_t)i->imm);                                           \
	}                                                                                          \
	/* The address is an immediate of 64 bits: opcodes A0 to A3 in 64-bit mode. */             \
	static void mov##bits##_load_abs(struct cpu *c, const struct insn *i)                      \
	{                                                                                          \
		uint64_t lin = seg_lin(c, i->seg, i->imm, bits / 8, false);                        \
                                                                                                   \
		wr##bits(c, CPU_RAX * 8, ld##bits(c, lin, 0));                                     \
	}                                                                                          \
	static void mov##bits##_store_abs(struct cpu *c, const struct insn *i)                     \
	{                                                                                          \
		uint64_t lin = seg_lin(c, i->seg, i->imm, bits / 8, true);                         \
                                                                                                   \
		st##bits(c, lin, rd##bits(c, CPU_RAX * 8), 0);                                     \
	}
MOV_SIZE(8)
MOV_SIZE(16)
MOV_SIZE(32)
MOV_SIZE(64)

#define MOV_ROW(form)                                                                              \
	{                                                                                          \
		mov8_##form, mov16_##form, mov32_##form, mov64_##form                              \
	}

static int bind_mov(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[NR_FORMS][4] = {
		[FORM_RR] = MOV_ROW(rr),
		[FORM_RM] = MOV_ROW(rm),
		[FORM_MR] = MOV_ROW(mr),
		[FORM_RI] = MOV_ROW(ri),
		[FORM_MI] = MOV_ROW(mi),
		[FORM_LOAD_ABS] = MOV_ROW(load_abs),
		[FORM_STORE_ABS] = MOV_ROW(store_abs),
	};
	ZydisOperandType a = d->op[0].type, b = d->op[1].type;
	enum form form;

	if (sys_is_seg_op(d))
		return sys_bind_mov(d, i);
	if (d->zi.raw.disp.size == 64)
		form = a == ZYDIS_OPERAND_TYPE_MEMORY ? FORM_STORE_ABS : FORM_LOAD_ABS;
	else if (a == ZYDIS_OPERAND_TYPE_MEMORY)
		form = b == ZYDIS_OPERAND_TYPE_IMMEDIATE ? FORM_MI : FORM_MR;
	else
		form = b == ZYDIS_OPERAND_TYPE_IMMEDIATE ? FORM_RI
		       : b == ZYDIS_OPERAND_TYPE_MEMORY	 ? FORM_RM
							 : FORM_RR;
	i->fn = fns[form][size_index(i->opsize)];
	return 0;
}

static int bind_movnti(const struct dec *d, struct insn *i)
{
	i->fn = i->opsize == 8 ? mov64_mr : mov32_mr;
	return 0;
}

/* --- extensions --------------------------------------------------------------------------------- */

#define EXT(name, to, from, type)                                                                  \
	static void name##_r(struct cpu *c, const struct insn *i)                                  \
	{                                                                                          \
		wr##to(c, i->dst, (uint##to##_t)(type)rd##from(c, i->src));                        \
	}                                                                                          \
	static void name##_m(struct cpu *c, const struct insn *i)                                  \
	{                                                                                          \
		wr##to(c, i->dst, (uint##to##_t)(type)ldm##from(c, i));                            \
	}
EXT(movzx16_8, 16, 8, uint8_t)
EXT(movzx32_8, 32, 8, uint8_t)
EXT(movzx64_8, 64, 8, uint8_t)
EXT(movzx16_16, 16, 16, uint16_t)
EXT(movzx32_16, 32, 16, uint16_t)
EXT(movzx64_16, 64, 16, uint16_t)
EXT(movsx16_8, 16, 8, int8_t)
EXT(movsx32_8, 32, 8, int8_t)
EXT(movsx64_8, 64, 8, int8_t)
EXT(movsx16_16, 16, 16, int16_t)
EXT(movsx32_16, 32, 16, int16_t)
EXT(movsx64_16, 64, 16, int16_t)
EXT(movsx64_32, 64, 32, int32_t)

#define EXT_ROW(to, from)                                                                          \
	{                                                                                          \
		to##_##from##_r, to##_##from##_m                                                   \
	}

/* By signedness, operand size (2, 4, 8), source size (1, 2), and whether it is memory. */
static interp_fn *const ext_fns[2][3][2][2] = {
	{
		{ EXT_ROW(movzx16, 8), EXT_ROW(movzx16, 16) },
		{ EXT_ROW(movzx32, 8), EXT_ROW(movzx32, 16) },
		{ EXT_ROW(movzx64, 8), EXT_ROW(movzx64, 16) },
	},
	{
		{ EXT_ROW(movsx16, 8), EXT_ROW(movsx16, 16) },
		{ EXT_ROW(movsx32, 8), EXT_ROW(movsx32, 16) },
		{ EXT_ROW(movsx64, 8), EXT_ROW(movsx64, 16) },
	},
};

static int bind_ext(const struct dec *d, struct insn *i)
{
	bool is_signed = d->zi.mnemonic == ZYDIS_MNEMONIC_MOVSX;

	i->fn = ext_fns[is_signed][size_index(i->opsize) - 1][d->op[1].size == 16]
		       [(i->flags & INSN_MEM) != 0];
	return 0;
}

/* Four bytes are read though two are kept. */
static void movsxd16_m(struct cpu *c, const struct insn *i)
{
	wr16(c, i->dst, (uint16_t)ldm32(c, i));
}

static int bind_movsxd(const struct dec *d, struct insn *i)
{
	bool is_mem = i->flags & INSN_MEM;

	if (i->opsize == 8)
		i->fn = is_mem ? movsx64_32_m : movsx64_32_r;
	else if (i->opsize == 4)
		i->fn = is_mem ? mov32_rm : mov32_rr;
	else
		i->fn = is_mem ? movsxd16_m : mov16_rr;
	return 0;
}

/* --- conditions --------------------------------------------------------------------------------- */

/* The memory operand is read whatever the condition, and a 32-bit register cleared above. */
#define CMOV_SIZE(bits)                                                                            \
	static void cmov##bits##_r(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		bool holds = cond_holds(c->st.rflags, (unsigned int)i->imm);                       \
                                                                                                   \
		wr##bits(c, i->dst, rd##bits(c, holds ? i->src : i->dst));                         \
	}                                                                                          \
	static void cmov##bits##_m(struct cpu *c, const struct insn *i)                            \
	{                                                                                          \
		uint##bits##_t v = ldm##bits(c, i);                                                \
                                                                                                   \
		wr##bits(c, i->dst,                                                                \
			 cond_holds(c->st.rflags, (unsigned int)i->imm) ? v                        \
									: rd##bits(c, i->dst));    \
	}
CMOV_SIZE(16)
CMOV_SIZE(32)
CMOV_SIZE(64)

static int bind_cmov(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[3][2] = { { cmov16_r, cmov16_m },
					      { cmov32_r, cmov32_m },
					      { cmov64_r, cmov64_m } };

	i->imm = d->zi.opcode & 0xf;
	i->fn = fns[size_index(i->opsize) - 1][(i->flags & INSN_MEM) != 0];
	return 0;
}

static void set_r(struct cpu *c, const struct insn *i)
{
	wr8(c, i->dst, cond_holds(c->st.rflags, (unsigned int)i->imm));
}

static void set_m(struct cpu *c, const struct insn *i)
{
	stm8(c, i, cond_holds(c->st.rflags, (unsigned int)i->imm));
}

static int bind_set(const struct dec *d, struct insn *i)
{
	i->imm = d->zi.opcode & 0xf;
	i->fn = i->flags & INSN_MEM ? set_m : set_r;
	return 0;
}

/* --- LEA, XCHG, BSWAP, MOVBE, XLAT -------------------------------------------------------------- */

static void lea16(struct cpu *c, const struct insn *i)
{
	wr16(c, i->dst, (uint16_t)insn_ea(c, i));
}

static void lea32(struct cpu *c, const struct insn *i)
{
	wr32(c, i->dst, (uint32_t)insn_ea(c, i));
}

static void lea64(struct cpu *c, const struct insn *i)
{
	wr64(c, i->dst, insn_ea(c, i));
}

static int bind_lea(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[3] = { lea16, lea32, lea64 };

	i->fn = fns[size_index(i->opsize) - 1];
	return 0;
}

#define XCHG_SIZE(bits)                                                                            \
	static void xchg##bits##_rr(struct cpu *c, const struct insn *i)                           \
	{                                                                                          \
		uint##bits##_t a = rd##bits(c, i->dst), b = rd##bits(c, i->src);                   \
                                                                                                   \
		wr##bits(c, i->dst, b);                                                            \
		wr##bits(c, i->src, a);                                                            \
	}
XCHG_SIZE(8)
XCHG_SIZE(16)
XCHG_SIZE(32)
XCHG_SIZE(64)

static int bind_xchg(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[4] = { xchg8_rr, xchg16_rr, xchg32_rr, xchg64_rr };

	if (i->flags & INSN_MEM)
		return atomic_bind_alu(d, i);
	i->fn = fns[size_index(i->opsize)];
	return 0;
}

/* Undefined for 16 bits: what the host makes of it. */
static void bswap16(struct cpu *c, const struct insn *i)
{
	uint64_t v = rd64(c, i->dst);

	__asm__(".byte 0x66, 0x0f, 0xc8" : "+a"(v));
	wr64(c, i->dst, v);
}

static void bswap32(struct cpu *c, const struct insn *i)
{
	wr32(c, i->dst, __builtin_bswap32(rd32(c, i->dst)));
}

static void bswap64(struct cpu *c, const struct insn *i)
{
	wr64(c, i->dst, __builtin_bswap64(rd64(c, i->dst)));
}

static int bind_bswap(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[3] = { bswap16, bswap32, bswap64 };

	i->fn = fns[size_index(i->opsize) - 1];
	return 0;
}

#define MOVBE_SIZE(bits)                                                                           \
	static void movbe##bits##_load(struct cpu *c, const struct insn *i)                        \
	{                                                                                          \
		wr##bits(c, i->dst, __builtin_bswap##bits(ldm##bits(c, i)));                       \
	}                                                                                          \
	static void movbe##bits##_store(struct cpu *c, const struct insn *i)                       \
	{                                                                                          \
		stm##bits(c, i, __builtin_bswap##bits(rd##bits(c, i->dst)));                       \
	}
MOVBE_SIZE(16)
MOVBE_SIZE(32)
MOVBE_SIZE(64)

static int bind_movbe(const struct dec *d, struct insn *i)
{
	static interp_fn *const fns[3][2] = { { movbe16_load, movbe16_store },
					      { movbe32_load, movbe32_store },
					      { movbe64_load, movbe64_store } };

	i->fn = fns[size_index(i->opsize) - 1][d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY];
	return 0;
}

static void xlat(struct cpu *c, const struct insn *i)
{
	uint64_t off = zext(c->st.gpr[CPU_RBX] + (uint8_t)c->st.gpr[CPU_RAX], i->asize);

	wr8(c, CPU_RAX * 8, ld8(c, seg_lin(c, i->seg, off, 1, false), insn_how(i)));
}

static int bind_xlat(const struct dec *d, struct insn *i)
{
	i->seg = dec_segment(d, d->op[0].mem.segment);
	if (i->seg == CPU_SS)
		i->flags |= INSN_SS;
	i->fn = xlat;
	return 0;
}

/* --- the accumulator and its sign --------------------------------------------------------------- */

static void cbw(struct cpu *c, const struct insn *i)
{
	wr16(c, CPU_RAX * 8, (uint16_t)(int8_t)c->st.gpr[CPU_RAX]);
}

static void cwde(struct cpu *c, const struct insn *i)
{
	wr32(c, CPU_RAX * 8, (uint32_t)(int16_t)c->st.gpr[CPU_RAX]);
}

static void cdqe(struct cpu *c, const struct insn *i)
{
	wr64(c, CPU_RAX * 8, (uint64_t)(int32_t)c->st.gpr[CPU_RAX]);
}

static void cwd(struct cpu *c, const struct insn *i)
{
	wr16(c, CPU_RDX * 8, (int16_t)c->st.gpr[CPU_RAX] < 0 ? 0xffff : 0);
}

static void cdq(struct cpu *c, const struct insn *i)
{
	wr32(c, CPU_RDX * 8, (int32_t)c->st.gpr[CPU_RAX] < 0 ? UINT32_MAX : 0);
}

static void cqo(struct cpu *c, const struct insn *i)
{
	wr64(c, CPU_RDX * 8, (int64_t)c->st.gpr[CPU_RAX] < 0 ? UINT64_MAX : 0);
}

/* --- single flags ------------------------------------------------------------------------------- */

static void lahf(struct cpu *c, const struct insn *i)
{
	wr8(c, CPU_RAX * 8 + 1, (uint8_t)((c->st.rflags & 0xd5) | RFLAGS_FIXED1));
}

static void sahf(struct cpu *c, const struct insn *i)
{
	c->st.rflags = (c->st.rflags & ~UINT64_C(0xd5)) | (rd8(c, CPU_RAX * 8 + 1) & 0xd5);
}

static void salc(struct cpu *c, const struct insn *i)
{
	wr8(c, CPU_RAX * 8, c->st.rflags & RFLAGS_CF ? 0xff : 0);
}

static void clc(struct cpu *c, const struct insn *i)
{
	c->st.rflags &= ~(uint64_t)RFLAGS_CF;
}

static void stc(struct cpu *c, const struct insn *i)
{
	c->st.rflags |= RFLAGS_CF;
}

static void cmc(struct cpu *c, const struct insn *i)
{
	c->st.rflags ^= RFLAGS_CF;
}

static void cld(struct cpu *c, const struct insn *i)
{
	c->st.rflags &= ~(uint64_t)RFLAGS_DF;
}

static void std(struct cpu *c, const struct insn *i)
{
	c->st.rflags |= RFLAGS_DF;
}

/* --- nothing ------------------------------------------------------------------------------------ */

static void nop(struct cpu *c, const struct insn *i)
{
}

static void mfence(struct cpu *c, const struct insn *i)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/* CLFLUSH and its kin check their operand as a load of one byte does; there is no cache to write back. */
static void clflush(struct cpu *c, const struct insn *i)
{
	ldm8(c, i);
}

#define SIMPLE(fn_name)                                                                            \
	static int bind_##fn_name(const struct dec *d, struct insn *i)                             \
	{                                                                                          \
		i->fn = fn_name;                                                                   \
		return 0;                                                                          \
	}
SIMPLE(cbw)
SIMPLE(cwde)
SIMPLE(cdqe)
SIMPLE(cwd)
SIMPLE(cdq)
SIMPLE(cqo)
SIMPLE(lahf)
SIMPLE(sahf)
SIMPLE(salc)
SIMPLE(clc)
SIMPLE(stc)
SIMPLE(cmc)
SIMPLE(cld)
SIMPLE(std)
SIMPLE(mfence)
SIMPLE(clflush)

/* 0F 0D, the AMD prefetches, has no register form. */
static int bind_nop(const struct dec *d, struct insn *i)
{
	if (d->zi.opcode_map == ZYDIS_OPCODE_MAP_0F && d->zi.opcode == 0x0d &&
	    d->zi.raw.modrm.mod == 3)
		return -EINVAL;
	i->fn = nop;
	return 0;
}

enum { PAUSES_PER_YIELD = 32 }; /* about as long as a yield takes */

/* A vCPU that spins waits for another one, which may need this host CPU to get there. */
static void pause_insn(struct cpu *c, const struct insn *i)
{
	if (++c->nr_pauses % PAUSES_PER_YIELD == 0 && c->grp->nr > 1)
		sched_yield();
}

static void pause_xchg(struct cpu *c, const struct insn *i)
{
	uint64_t v = reg_get(c, CPU_RAX * 8, i->opsize);

	reg_set(c, CPU_RAX * 8, i->opsize, reg_get(c, CPU_R8 * 8, i->opsize));
	reg_set(c, CPU_R8 * 8, i->opsize, v);
}

/* F3 90 with REX.B is XCHG of rax and r8 with a prefix; Zydis says PAUSE. */
static int bind_pause(const struct dec *d, struct insn *i)
{
	i->fn = pause_insn;
	if (d->mode == CPU_MODE_64 && d->zi.raw.rex.B) {
		i->fn = pause_xchg;
		i->opsize = d->zi.raw.rex.W ? 8 : 4;
		for (unsigned int k = 0; k < d->zi.raw.prefix_count; k++)
			if (d->zi.raw.prefixes[k].value == 0x66 && !d->zi.raw.rex.W)
				i->opsize = 2;
	}
	return 0;
}

#define OP(mnemonic, bind)                                                                         \
	{                                                                                          \
		ZYDIS_MNEMONIC_##mnemonic, bind                                                    \
	}
/* clang-format off */
const struct interp_op interp_ops_mov[] = {
	OP(MOV, bind_mov), OP(MOVNTI, bind_movnti), OP(MOVZX, bind_ext), OP(MOVSX, bind_ext),
	OP(MOVSXD, bind_movsxd), OP(LEA, bind_lea), OP(XCHG, bind_xchg), OP(BSWAP, bind_bswap),
	OP(MOVBE, bind_movbe), OP(XLAT, bind_xlat),
	OP(CMOVO, bind_cmov), OP(CMOVNO, bind_cmov), OP(CMOVB, bind_cmov), OP(CMOVNB, bind_cmov),
	OP(CMOVZ, bind_cmov), OP(CMOVNZ, bind_cmov), OP(CMOVBE, bind_cmov), OP(CMOVNBE, bind_cmov),
	OP(CMOVS, bind_cmov), OP(CMOVNS, bind_cmov), OP(CMOVP, bind_cmov), OP(CMOVNP, bind_cmov),
	OP(CMOVL, bind_cmov), OP(CMOVNL, bind_cmov), OP(CMOVLE, bind_cmov), OP(CMOVNLE, bind_cmov),
	OP(SETO, bind_set), OP(SETNO, bind_set), OP(SETB, bind_set), OP(SETNB, bind_set),
	OP(SETZ, bind_set), OP(SETNZ, bind_set), OP(SETBE, bind_set), OP(SETNBE, bind_set),
	OP(SETS, bind_set), OP(SETNS, bind_set), OP(SETP, bind_set), OP(SETNP, bind_set),
	OP(SETL, bind_set), OP(SETNL, bind_set), OP(SETLE, bind_set), OP(SETNLE, bind_set),
	OP(CBW, bind_cbw), OP(CWDE, bind_cwde), OP(CDQE, bind_cdqe),
	OP(CWD, bind_cwd), OP(CDQ, bind_cdq), OP(CQO, bind_cqo),
	OP(LAHF, bind_lahf), OP(SAHF, bind_sahf), OP(SALC, bind_salc),
	OP(CLC, bind_clc), OP(STC, bind_stc), OP(CMC, bind_cmc), OP(CLD, bind_cld), OP(STD, bind_std),
	OP(NOP, bind_nop), OP(PAUSE, bind_pause), OP(PREFETCH, bind_nop), OP(PREFETCHW, bind_nop),
	OP(PREFETCHNTA, bind_nop), OP(PREFETCHT0, bind_nop), OP(PREFETCHT1, bind_nop),
	OP(PREFETCHT2, bind_nop), OP(PREFETCHWT1, bind_nop), OP(ENDBR32, bind_nop), OP(ENDBR64, bind_nop),
	OP(LFENCE, bind_nop), OP(SFENCE, bind_nop), OP(MFENCE, bind_mfence),
	OP(CLFLUSH, bind_clflush), OP(CLFLUSHOPT, bind_clflush), OP(CLWB, bind_clflush),
	{ 0, NULL },
};
/* clang-format on */
