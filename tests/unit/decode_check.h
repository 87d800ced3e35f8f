/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_DECODE_CHECK_H
#define TESTS_UNIT_DECODE_CHECK_H

/*
 * Does the translator's decoder say the same as Zydis? For the unit test and the fuzz target. What decode()
 * does not know is never wrong.
 */
#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/dbt/decode.h"
#include "cpu/state.h"

struct decode_check {
	const struct cpu_cpuid *cpuid;
	struct dtable *table;
	ZydisDecoder decoder[2]; /* [is_64] */
	bool sha_unaligned;
	/* the case at hand */
	const uint8_t *bytes;
	bool is_64;
	struct dinsn d;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const char *why; /* what is wrong */
	char text[200];
};

static inline void decode_check_init(struct decode_check *k, const struct cpu_cpuid *cpuid)
{
	unsigned int a, b = 0, c = 0, d0 = 0;

	memset(k, 0, sizeof(*k));
	k->cpuid = cpuid;
	k->table = dtable_new(cpuid);
	__get_cpuid(0, &a, &b, &c, &d0);
	k->sha_unaligned = c == 0x444d4163 || c == 0x656e6975;
	ZydisDecoderInit(&k->decoder[0], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&k->decoder[1], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	/* As the interpreter's decoder is set up. */
	for (unsigned int m = 0; m < 2; m++) {
		ZydisDecoder *d = &k->decoder[m];

		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_LZCNT,
				       cpuid_has_isa(cpuid, ZYDIS_ISA_SET_LZCNT));
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_TZCNT,
				       cpuid_has_isa(cpuid, ZYDIS_ISA_SET_BMI1));
	}
}

static inline void decode_check_done(struct decode_check *k)
{
	dtable_free(k->table);
}

/* --- Zydis' registers ------------------------------------------------------------------------------ */

struct zreg {
	unsigned int
		role; /* DROLE_R: general, or DROLE_VEC, DROLE_MM, DROLE_ST; DROLE_NONE: none of these */
	unsigned int n, size;
	bool is_high;
};

static struct zreg zreg(ZydisRegister r)
{
	struct zreg z = { .n = (unsigned int)ZydisRegisterGetId(r),
			  .size = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, r) / 8 };

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		z.role = DROLE_R;
		z.is_high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
		if (z.is_high)
			z.n = r - ZYDIS_REGISTER_AH + 4;
		else if (r >= ZYDIS_REGISTER_SPL)
			z.n = r - ZYDIS_REGISTER_SPL + 4;
		else
			z.n = r - ZYDIS_REGISTER_AL;
		break;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		z.role = DROLE_R;
		break;
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
		z.role = DROLE_VEC;
		break;
	case ZYDIS_REGCLASS_MMX:
		z.role = DROLE_MM;
		break;
	case ZYDIS_REGCLASS_X87:
		z.role = DROLE_ST;
		break;
	default:
		z.role = DROLE_NONE;
	}
	return z;
}

static unsigned int zaccess(const ZydisDecodedOperand *op)
{
	return (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? DROLE_R : 0) |
	       (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? DROLE_W : 0);
}

/* What decode() calls this operand: of a general register, with old bits that stay as something read. */
static unsigned int zrole(const struct decode_check *k, const ZydisDecodedOperand *op)
{
	struct zreg z = zreg(op->reg.value);
	unsigned int access = zaccess(op);

	if (z.role != DROLE_R)
		return z.role;
	if ((access & DROLE_W) && z.size < 4)
		access = DROLE_RW;
	/* Zydis forgets that XLAT reads its index. */
	if (k->d.cls == DCLS_XLAT && z.n == CPU_RAX)
		access = DROLE_RW;
	/* They may leave their destination alone. */
	if (k->zi.mnemonic == ZYDIS_MNEMONIC_BSF || k->zi.mnemonic == ZYDIS_MNEMONIC_BSR ||
	    k->zi.meta.category == ZYDIS_CATEGORY_CMOV)
		if (access & DROLE_W)
			access = DROLE_RW;
	return access;
}

/* --- comparisons ------------------------------------------------------------------------------------ */

#define WANT(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			k->why = #cond;                                                            \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static unsigned int zflags(uint32_t f)
{
	return (f & ZYDIS_CPUFLAG_CF ? DF_CF : 0) | (f & ZYDIS_CPUFLAG_PF ? DF_PF : 0) |
	       (f & ZYDIS_CPUFLAG_AF ? DF_AF : 0) | (f & ZYDIS_CPUFLAG_ZF ? DF_ZF : 0) |
	       (f & ZYDIS_CPUFLAG_SF ? DF_SF : 0) | (f & ZYDIS_CPUFLAG_OF ? DF_OF : 0);
}

static bool is_shift(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return true;
	default:
		return false;
	}
}

static bool check_flags(struct decode_check *k)
{
	const ZydisAccessedFlags *f = k->zi.cpu_flags;
	unsigned int r = 0, w = 0, u = 0, count;

	if (f) {
		r = zflags(f->tested);
		w = zflags(f->modified | f->set_0 | f->set_1 | f->undefined);
	}
	/* Zydis forgets that they clear the others. */
	if (k->zi.mnemonic == ZYDIS_MNEMONIC_VPTEST || k->zi.mnemonic == ZYDIS_MNEMONIC_VTESTPS ||
	    k->zi.mnemonic == ZYDIS_MNEMONIC_VTESTPD)
		w = DF_ALL;
	if (is_shift(k->zi.mnemonic)) {
		const ZydisDecodedOperand *c = &k->op[k->zi.operand_count_visible - 1];

		count = k->zi.operand_width == 64 ? 63 : 31;
		if (c->type == ZYDIS_OPERAND_TYPE_REGISTER || !(c->imm.value.u & count))
			u = w;
	}
	if (k->d.cls == DCLS_STRING && (k->d.pfx & (DPFX_F2 | DPFX_F3))) {
		u = w;
		r = 0; /* ZF is looked at after each comparison, not before the first */
	}
	/* What the manuals leave undefined may be as it was. */
	if (f && (k->d.fl_u & ~u & ~zflags(f->undefined)) == 0)
		u |= k->d.fl_u;
	WANT(k->d.fl_r == r);
	WANT(k->d.fl_w == w);
	WANT(k->d.fl_u == u);
	return true;
}

/* As in the interpreter's required_alignment(). */
static unsigned int zalign(const struct decode_check *k, unsigned int size)
{
	switch (k->zi.mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return 0;
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return 16;
	default:
		if (k->zi.meta.isa_set == ZYDIS_ISA_SET_SHA && k->sha_unaligned)
			return 0;
		return size < 16 || (k->d.vex &&
				     k->zi.meta.exception_class != ZYDIS_EXCEPTION_CLASS_AVX1)
			       ? 0
			       : size;
	}
}

static bool check_memory(struct decode_check *k, const ZydisDecodedOperand *op)
{
	const struct dinsn *d = &k->d;
	const ZydisDecodedOperandMem *m = &op->mem;
	bool is_sib_no_base = (k->zi.attributes & ZYDIS_ATTRIB_HAS_SIB) &&
			      k->zi.raw.modrm.mod == 0 && (k->zi.raw.sib.base & 7) == 5;
	unsigned int seg = DSEG_FLAT;

	WANT(d->has_mem);
	WANT(m->type == ZYDIS_MEMOP_TYPE_MEM || m->type == ZYDIS_MEMOP_TYPE_AGEN);
	if (m->base == ZYDIS_REGISTER_NONE || is_sib_no_base)
		WANT(d->base == DREG_NONE);
	else if (m->base == ZYDIS_REGISTER_RIP)
		WANT(d->base == DREG_RIP);
	else
		WANT(d->base == zreg(m->base).n && zreg(m->base).size == d->asize);
	if (m->index == ZYDIS_REGISTER_NONE)
		WANT(d->index == DREG_NONE);
	else
		WANT(d->index == zreg(m->index).n && zreg(m->index).size == d->asize &&
		     m->scale == 1 << d->scale);
	WANT(d->disp == (int32_t)m->disp.value ||
	     (is_sib_no_base && d->disp == k->zi.raw.disp.value));
	if (m->type == ZYDIS_MEMOP_TYPE_AGEN || d->cls == DCLS_NOP) {
		WANT(d->mem_size == 0 && d->mem_access == DROLE_NONE && d->mem_align == 0);
		WANT(d->seg == DSEG_FLAT && !d->uses_ss);
		return true;
	}
	if (m->segment == ZYDIS_REGISTER_FS)
		seg = CPU_FS;
	else if (m->segment == ZYDIS_REGISTER_GS)
		seg = CPU_GS;
	WANT(d->seg == seg);
	WANT(d->uses_ss == (m->segment == ZYDIS_REGISTER_SS));
	WANT(d->mem_size * 8 == op->size);
	WANT(d->mem_access == zaccess(op));
	WANT(d->mem_align == zalign(k, d->mem_size));
	return true;
}

/* Of string instructions and XLAT, which the operand fields do not describe but for size and segment. */
static bool check_hidden_memory(struct decode_check *k, const ZydisDecodedOperand *op)
{
	const struct dinsn *d = &k->d;
	unsigned int seg = op->mem.segment == ZYDIS_REGISTER_FS	  ? CPU_FS
			   : op->mem.segment == ZYDIS_REGISTER_GS ? CPU_GS
								  : DSEG_FLAT;

	WANT(!d->has_mem);
	WANT(d->mem_size * 8 == op->size);
	WANT((d->mem_access & zaccess(op)) == zaccess(op));
	WANT(zreg(op->mem.base).size == d->asize);
	if (op->mem.base != ZYDIS_REGISTER_RDI && op->mem.base != ZYDIS_REGISTER_EDI)
		WANT(d->seg == seg);
	return true;
}

static bool is_stack_class(unsigned int cls)
{
	return cls == DCLS_PUSH || cls == DCLS_POP || cls == DCLS_CALL || cls == DCLS_CALL_IND ||
	       cls == DCLS_RET || cls == DCLS_LEAVE;
}

/* Moves with an absolute address: rax is implied there, an operand of the encoding that describes them. */
static bool is_moffs(const struct decode_check *k)
{
	return k->zi.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (k->zi.opcode & 0xfc) == 0xa0;
}

static bool check_operands(struct decode_check *k)
{
	const struct dinsn *d = &k->d;
	unsigned int reg = 0, rm = 0, vvvv = 0, impl_r = 0, impl_w = 0, role;
	bool has_mem = false, has_imm = false;

	for (unsigned int n = 0; n < k->zi.operand_count; n++) {
		const ZydisDecodedOperand *op = &k->op[n];
		struct zreg z;

		switch (op->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
			    is_stack_class(d->cls))
				continue;
			if (d->cls == DCLS_STRING || d->cls == DCLS_XLAT) {
				if (!check_hidden_memory(k, op))
					return false;
				/* Zydis does not list all of them as operands. */
				impl_r |= 1u << zreg(op->mem.base).n;
				if (d->cls == DCLS_STRING)
					impl_w |= 1u << zreg(op->mem.base).n;
				continue;
			}
			has_mem = true;
			if (!check_memory(k, op))
				return false;
			continue;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			/* The 1 of D0 and D1 is not there. */
			if (op->encoding == ZYDIS_OPERAND_ENCODING_NONE) {
				continue;
			} else if (d->imm_size) {
				uint64_t mask = d->imm_size == 8
							? UINT64_MAX
							: (UINT64_C(1) << d->imm_size * 8) - 1;

				WANT(!(((uint64_t)d->imm ^ op->imm.value.u) & mask));
				if (op->imm.is_signed || op->imm.is_relative)
					WANT(d->imm == op->imm.value.s);
				has_imm = true;
				continue;
			}
			WANT(!"an immediate");
			continue;
		default:
			WANT(!"kind of operand");
		}
		z = zreg(op->reg.value);
		role = zrole(k, op);
		if (z.role == DROLE_NONE) {
			ZydisRegister r = op->reg.value;

			/* Flags, rip, x87 control registers are not for roles. */
			WANT(op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN ||
			     ZydisRegisterGetClass(r) != ZYDIS_REGCLASS_SEGMENT);
			continue;
		}
		if (z.role == DROLE_R && d->opsize &&
		    op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			WANT(d->cls != DCLS_ALU || z.size == d->opsize ||
			     op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG ||
			     k->zi.mnemonic == ZYDIS_MNEMONIC_CRC32);
		switch (op->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG:
			reg = role;
			WANT(d->reg == z.n);
			WANT(d->reg_high == z.is_high);
			break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		case ZYDIS_OPERAND_ENCODING_OPCODE:
			if (op->encoding == ZYDIS_OPERAND_ENCODING_OPCODE && d->cls == DCLS_NOP)
				break;
			rm = role;
			WANT(d->rm == z.n);
			WANT(d->rm_high == z.is_high);
			break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD:
			vvvv = role;
			WANT(d->vvvv == z.n);
			break;
		case ZYDIS_OPERAND_ENCODING_IS4:
			WANT(((uint8_t)d->imm >> 4) == z.n && z.role == DROLE_VEC);
			has_imm = true;
			break;
		case ZYDIS_OPERAND_ENCODING_NONE:
			if (is_moffs(k)) {
				reg = role;
				WANT(d->reg == z.n);
				break;
			}
			if (z.role != DROLE_R || (is_stack_class(d->cls) && z.n == CPU_RSP) ||
			    d->cls == DCLS_NOP)
				break;
			if (role & DROLE_R)
				impl_r |= 1u << (z.is_high ? z.n - 4 : z.n);
			if (role & DROLE_W)
				impl_w |= 1u << (z.is_high ? z.n - 4 : z.n);
			break;
		default:
			WANT(!"encoding of an operand");
		}
	}
	if (d->cls == DCLS_NOP) {
		WANT(!d->reg_role && !d->rm_role && !d->impl_r && !d->impl_w);
		return true;
	}
	WANT(d->has_mem == has_mem);
	WANT((d->imm_size != 0) == has_imm);
	WANT(d->reg_role == reg);
	WANT(d->rm_role == rm);
	WANT(d->vvvv_role == vvvv);
	WANT(d->impl_r == impl_r);
	WANT(d->impl_w == impl_w);
	return true;
}

static bool is_mxcsr(const struct decode_check *k)
{
	switch (k->zi.mnemonic) {
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_STMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_VSTMXCSR:
		return true;
	default:
		return false;
	}
}

/* Does it depend on MXCSR? Zydis 4.0 does not list it; see the interpreter's uses_mxcsr(). */
static bool is_float(const struct decode_check *k)
{
	switch (k->zi.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_SSE2:
	case ZYDIS_EXCEPTION_CLASS_SSE3:
	case ZYDIS_EXCEPTION_CLASS_AVX2:
	case ZYDIS_EXCEPTION_CLASS_AVX3:
	case ZYDIS_EXCEPTION_CLASS_AVX11:
		return true;
	default:
		break;
	}
	switch (k->zi.mnemonic) {
	case ZYDIS_MNEMONIC_CVTPI2PS:
	case ZYDIS_MNEMONIC_CVTPS2PI:
	case ZYDIS_MNEMONIC_CVTTPS2PI:
	case ZYDIS_MNEMONIC_CVTPI2PD:
	case ZYDIS_MNEMONIC_CVTPD2PI:
	case ZYDIS_MNEMONIC_CVTTPD2PI:
		return true;
	default:
		return false;
	}
}

/* Does it have an operand that is a register of this kind? */
static bool names(const struct decode_check *k, unsigned int role)
{
	for (unsigned int n = 0; n < k->zi.operand_count; n++)
		if (k->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    zreg(k->op[n].reg.value).role == role)
			return true;
	return false;
}

static bool check_class(struct decode_check *k)
{
	const struct dinsn *d = &k->d;
	ZydisMnemonic m = k->zi.mnemonic;
	ZydisInstructionCategory cat = k->zi.meta.category;
	bool is_nop = m == ZYDIS_MNEMONIC_PREFETCHWT1 || cat == ZYDIS_CATEGORY_NOP ||
		      cat == ZYDIS_CATEGORY_WIDENOP || cat == ZYDIS_CATEGORY_PREFETCH ||
		      (m == ZYDIS_MNEMONIC_XCHG && d->map == 0 && d->op == 0x90 && d->rm == 0);

	WANT((d->cls == DCLS_NOP) == is_nop);
	WANT((d->cls == DCLS_LEA) == (m == ZYDIS_MNEMONIC_LEA));
	WANT((d->cls == DCLS_DIV) == (m == ZYDIS_MNEMONIC_DIV || m == ZYDIS_MNEMONIC_IDIV));
	WANT((d->cls == DCLS_PUSH) == (m == ZYDIS_MNEMONIC_PUSH));
	WANT((d->cls == DCLS_POP) == (m == ZYDIS_MNEMONIC_POP));
	WANT((d->cls == DCLS_LEAVE) == (m == ZYDIS_MNEMONIC_LEAVE));
	WANT((d->cls == DCLS_RET) == (m == ZYDIS_MNEMONIC_RET));
	WANT((d->cls == DCLS_XLAT) == (m == ZYDIS_MNEMONIC_XLAT));
	WANT((d->cls == DCLS_LOOP) ==
	     (m == ZYDIS_MNEMONIC_LOOP || m == ZYDIS_MNEMONIC_LOOPE || m == ZYDIS_MNEMONIC_LOOPNE));
	WANT((d->cls == DCLS_JRCXZ) == (m == ZYDIS_MNEMONIC_JRCXZ || m == ZYDIS_MNEMONIC_JECXZ));
	WANT((d->cls == DCLS_JCC) ==
	     (cat == ZYDIS_CATEGORY_COND_BR && d->cls != DCLS_LOOP && d->cls != DCLS_JRCXZ));
	WANT((d->cls == DCLS_JMP || d->cls == DCLS_JMP_IND) == (m == ZYDIS_MNEMONIC_JMP));
	WANT((d->cls == DCLS_CALL || d->cls == DCLS_CALL_IND) == (m == ZYDIS_MNEMONIC_CALL));
	WANT((d->cls == DCLS_STRING) == (cat == ZYDIS_CATEGORY_STRINGOP));
	WANT((d->cls == DCLS_FLAG) == (cat == ZYDIS_CATEGORY_FLAGOP));
	WANT(k->zi.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR);
	WANT((d->cls == DCLS_X87) ==
	     (m == ZYDIS_MNEMONIC_FWAIT || (k->zi.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
					    k->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
					    (k->zi.opcode & 0xf8) == 0xd8)));
	WANT((d->cls == DCLS_MMX) == (m == ZYDIS_MNEMONIC_EMMS || names(k, DROLE_MM)));
	if (d->cls != DCLS_MMX)
		WANT((d->cls == DCLS_VEC) == (m == ZYDIS_MNEMONIC_VZEROUPPER ||
					      m == ZYDIS_MNEMONIC_VZEROALL || names(k, DROLE_VEC) ||
					      is_float(k) || is_mxcsr(k)));
	if (d->cls >= DCLS_PUSH && d->cls <= DCLS_RET)
		WANT(d->opsize * 8 == k->zi.operand_width);
	return true;
}

/* --- encoding it again -------------------------------------------------------------------------------- */

/* From the fields alone (and the immediate's bytes), for 64-bit code: what the translator does. */
static unsigned int encode(const struct decode_check *k, uint8_t *b)
{
	const struct dinsn *d = &k->d;
	unsigned int n = 0, rex = d->rex & 8, opreg = !d->has_modrm && d->rm_role;

	if (d->has_mem) {
		if (d->index != DREG_NONE)
			rex |= d->index >> 2 & 2;
		if (d->base < DREG_NONE)
			rex |= d->base >> 3;
	} else {
		rex |= d->rm >> 3;
	}
	rex |= d->reg >> 1 & 4;
	if (d->seg != DSEG_FLAT)
		b[n++] = d->seg == CPU_FS ? 0x64 : 0x65;
	if (d->has_mem && d->asize == 4)
		b[n++] = 0x67;
	if (d->vex) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)((~rex << 5 & 0xe0) | d->map);
		b[n++] = (uint8_t)((rex << 4 & 0x80) | (~d->vvvv & 15) << 3 | d->vex_l << 2 |
				   (d->pfx & DPFX_66   ? 1
				    : d->pfx & DPFX_F3 ? 2
				    : d->pfx & DPFX_F2 ? 3
						       : 0));
	} else {
		if (d->pfx & DPFX_LOCK)
			b[n++] = 0xf0;
		if (d->pfx & DPFX_66)
			b[n++] = 0x66;
		if (d->pfx & (DPFX_F2 | DPFX_F3))
			b[n++] = d->pfx & DPFX_F2 ? 0xf2 : 0xf3;
		if (rex || d->has_rex)
			b[n++] = (uint8_t)(0x40 | rex);
		if (d->map)
			b[n++] = 0x0f;
		if (d->map > 1)
			b[n++] = d->map == 2 ? 0x38 : 0x3a;
	}
	b[n++] = opreg ? (uint8_t)((d->op & ~7) | (d->rm & 7)) : d->op;
	if (d->has_modrm && !d->has_mem) {
		b[n++] = (uint8_t)(0xc0 | (d->reg & 7) << 3 | (d->rm & 7));
	} else if (d->has_modrm) {
		b[n++] = (uint8_t)((d->base < DREG_NONE ? 0x80 : 0) | (d->reg & 7) << 3 |
				   (d->base == DREG_RIP ? 5 : 4));
		if (d->base != DREG_RIP)
			b[n++] = (uint8_t)(d->scale << 6 |
					   (d->index == DREG_NONE ? 4 : d->index & 7) << 3 |
					   (d->base == DREG_NONE ? 5 : d->base & 7));
		put_le32(b + n, (uint32_t)d->disp);
		n += 4;
	}
	memcpy(b + n, k->bytes + d->len - d->imm_size, d->imm_size);
	return n + d->imm_size;
}

static bool same_reg(const struct decode_check *k, ZydisRegister x, ZydisRegister y)
{
	struct zreg a = zreg(x), b = zreg(y);

	if (x == y)
		return true;
	/* Addresses are wider there. */
	return !k->is_64 && a.role == DROLE_R && b.role == DROLE_R && a.n == b.n;
}

static bool check_again(struct decode_check *k)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t b[32];
	unsigned int n;

	switch (k->d.cls) {
	case DCLS_ALU:
	case DCLS_DIV:
	case DCLS_VEC:
	case DCLS_MMX:
	case DCLS_X87:
		break;
	default:
		return true;
	}
	n = encode(k, b);
	WANT(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&k->decoder[1], b, n, &zi, op)));
	WANT(zi.length == n);
	WANT(zi.mnemonic == k->zi.mnemonic);
	WANT(zi.operand_count_visible == k->zi.operand_count_visible);
	WANT(!!(zi.attributes & ZYDIS_ATTRIB_HAS_LOCK) ==
	     !!(k->zi.attributes & ZYDIS_ATTRIB_HAS_LOCK));
	for (unsigned int i = 0; i < zi.operand_count_visible; i++) {
		const ZydisDecodedOperand *x = &op[i], *y = &k->op[i];

		WANT(x->type == y->type);
		WANT(x->size == y->size);
		WANT(x->actions == y->actions);
		if (x->type == ZYDIS_OPERAND_TYPE_REGISTER)
			WANT(x->reg.value == y->reg.value);
		if (x->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			WANT(x->imm.value.u == y->imm.value.u);
		if (x->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			WANT(same_reg(k, x->mem.base, y->mem.base) || k->d.base == DREG_NONE);
			WANT(same_reg(k, x->mem.index, y->mem.index));
			WANT(x->mem.scale == y->mem.scale || x->mem.index == ZYDIS_REGISTER_NONE);
		}
	}
	return true;
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static bool check_traps(struct decode_check *k)
{
	ZydisMnemonic m = k->zi.mnemonic;
	bool mxcsr = is_float(k), trap;

	switch (k->d.cls) {
	case DCLS_DIV:
	case DCLS_MMX:
		trap = true;
		break;
	case DCLS_X87:
		trap = m != ZYDIS_MNEMONIC_FNINIT && m != ZYDIS_MNEMONIC_FNCLEX &&
		       m != ZYDIS_MNEMONIC_FNSTCW && m != ZYDIS_MNEMONIC_FNSTSW;
		break;
	default:
		trap = mxcsr;
	}
	WANT(k->d.reads_mxcsr == mxcsr);
	WANT(k->d.may_trap == trap);
	return true;
}

static bool check_encoding(struct decode_check *k)
{
	const struct dinsn *d = &k->d;
	bool is_re_described = !k->is_64 && k->zi.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
			       ((k->zi.opcode & 0xf0) == 0x40 || is_moffs(k));

	WANT(d->len == k->zi.length);
	WANT(d->asize * 8 == k->zi.address_width);
	WANT(k->bytes[d->op_at] == k->zi.opcode);
	WANT(d->vex == (k->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX));
	WANT(k->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || d->vex);
	if (is_re_described)
		return true;
	WANT(d->op == k->zi.opcode);
	WANT(d->map == k->zi.opcode_map);
	WANT(d->has_modrm == !!(k->zi.attributes & ZYDIS_ATTRIB_HAS_MODRM));
	WANT(d->has_rex == !!(k->zi.attributes & ZYDIS_ATTRIB_HAS_REX));
	if (d->has_modrm) {
		WANT(d->modrm_at == k->zi.raw.modrm.offset);
		WANT(d->mod == k->zi.raw.modrm.mod);
		WANT((d->reg & 7) == k->zi.raw.modrm.reg);
		WANT((d->rm & 7) == k->zi.raw.modrm.rm);
	}
	if (d->vex)
		WANT(d->vex_l == k->zi.raw.vex.L);
	return true;
}

/*
 * Returns true when decode() does not know the bytes, or says what Zydis says; else false with k->why and
 * k->text. @ret_known: did decode() know them?
 */
static bool decode_check(struct decode_check *k, const uint8_t *bytes, unsigned int n, bool is_64,
			 bool *ret_known)
{
	char hex[64] = "";
	bool ok;

	k->bytes = bytes;
	k->is_64 = is_64;
	*ret_known = decode(k->table, bytes, n, is_64, &k->d);
	if (!*ret_known)
		return true;
	k->why = "valid";
	k->zi.mnemonic = 0;
	ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&k->decoder[is_64], bytes, n, &k->zi, k->op));
	if (ok && !cpuid_has_isa(k->cpuid, k->zi.meta.isa_set)) {
		k->why = "offered";
		ok = false;
	}
	ok = ok && check_encoding(k) && check_class(k) && check_operands(k) && check_flags(k) &&
	     check_traps(k) && check_again(k);
	if (ok)
		return true;
	for (unsigned int i = 0; i < n && i < 15; i++)
		snprintf(hex + i * 3, 4, "%02x ", bytes[i]);
	snprintf(k->text, sizeof(k->text), "%u-bit %s(%s): %s", is_64 ? 64 : 32, hex,
		 ZydisMnemonicGetString(k->zi.mnemonic), k->why);
	return false;
}

#endif
