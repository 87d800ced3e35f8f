/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rewriting a guest instruction so that the host may run it.
 *
 * The opcode, its mandatory prefix, VEX.L/W/pp and the immediate stay; ModRM, SIB, displacement, REX and
 * the register fields of VEX are made anew with fixed registers. What comes out is decoded again and must
 * be the same instruction with operands of the same kinds and sizes, in 64-bit mode, with [rsi] as its only
 * memory operand and with no register that the stub would not know of. So whatever a guest writes, the host
 * runs only what this file has understood.
 *
 * An operand size that comes from the mode (66 means 32 bits in 16-bit code; REX.W and VEX.W are ignored
 * outside of 64-bit code) is found by trying: the candidate that decodes to the same operands is right.
 *
 *	role		general	MMX, XMM, YMM
 *	ModRM.reg	r8	1
 *	ModRM.rm	r9	2
 *	VEX.vvvv	r10	3
 *	imm8[7:4]	-	4
 *	implicit	rax, rcx, rdx	0
 */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "cpu/interp/hostop.h"

enum { SLOT_REG, SLOT_RM, SLOT_VVVV, SLOT_IS4 };

static ZydisDecoder decoder64;
static bool sha_unaligned; /* the host's SHA instructions take unaligned operands */
static pthread_once_t decoder_once = PTHREAD_ONCE_INIT;

static void decoder_start(void)
{
	unsigned int a, b = 0, c = 0, d = 0;

	ZydisDecoderInit(&decoder64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	/* "AuthenticAMD" and its offspring; found by the differential tests */
	__get_cpuid(0, &a, &b, &c, &d);
	sha_unaligned = c == 0x444d4163 || c == 0x656e6975;
}

/* Instruction sets that consist of computation only. */
static bool isa_may_run(unsigned int isa)
{
	switch (isa) {
	case ZYDIS_ISA_SET_ADOX_ADCX:
	case ZYDIS_ISA_SET_AES:
	case ZYDIS_ISA_SET_AVX:
	case ZYDIS_ISA_SET_AVX2:
	case ZYDIS_ISA_SET_AVXAES:
	case ZYDIS_ISA_SET_BMI1:
	case ZYDIS_ISA_SET_BMI2:
	case ZYDIS_ISA_SET_F16C:
	case ZYDIS_ISA_SET_FCMOV:
	case ZYDIS_ISA_SET_FMA:
	case ZYDIS_ISA_SET_LZCNT:
	case ZYDIS_ISA_SET_PCLMULQDQ:
	case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_POPCNT:
	case ZYDIS_ISA_SET_PPRO:
	case ZYDIS_ISA_SET_SHA:
	case ZYDIS_ISA_SET_SSE:
	case ZYDIS_ISA_SET_SSE2:
	case ZYDIS_ISA_SET_SSE2MMX:
	case ZYDIS_ISA_SET_SSE3:
	case ZYDIS_ISA_SET_SSE3X87:
	case ZYDIS_ISA_SET_SSE4:
	case ZYDIS_ISA_SET_SSE42:
	case ZYDIS_ISA_SET_SSE4A:
	case ZYDIS_ISA_SET_SSSE3:
	case ZYDIS_ISA_SET_SSSE3MMX:
	case ZYDIS_ISA_SET_VAES:
	case ZYDIS_ISA_SET_VPCLMULQDQ:
	case ZYDIS_ISA_SET_X87:
		return true;
	default:
		return false;
	}
}

static bool is_x87(const ZydisDecodedInstruction *zi)
{
	return zi->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && zi->opcode >= 0xd8 &&
	       zi->opcode <= 0xdf;
}

unsigned int hostop_reg_number(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return reg - ZYDIS_REGISTER_AH;
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL)
		return reg - ZYDIS_REGISTER_SPL + 4;
	if (reg >= ZYDIS_REGISTER_R8B && reg <= ZYDIS_REGISTER_R15B)
		return reg - ZYDIS_REGISTER_R8B + 8;
	return (unsigned int)ZydisRegisterGetId(reg) & 15;
}

static int role_of(const ZydisDecodedOperand *op)
{
	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		return SLOT_REG;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		return SLOT_RM;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		return SLOT_VVVV;
	case ZYDIS_OPERAND_ENCODING_IS4:
		return SLOT_IS4;
	default:
		return -EINVAL;
	}
}

static int class_of(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return HOSTOP_R64;
	case ZYDIS_REGCLASS_MMX:
		return HOSTOP_MM;
	case ZYDIS_REGCLASS_XMM:
		return HOSTOP_XMM;
	case ZYDIS_REGCLASS_YMM:
		return HOSTOP_YMM;
	default:
		return -EINVAL;
	}
}

/* Kind of the operand in each role, as the original has it. */
struct roles {
	int class[HOSTOP_SLOTS]; /* -1: not a register operand */
};

static void find_roles(const struct dec *d, struct roles *ret)
{
	for (unsigned int k = 0; k < HOSTOP_SLOTS; k++)
		ret->class[k] = -1;
	for (unsigned int k = 0; k < d->zi.operand_count_visible; k++) {
		int role = role_of(&d->op[k]);

		if (d->op[k].type == ZYDIS_OPERAND_TYPE_REGISTER && role >= 0)
			ret->class[role] = class_of(d->op[k].reg.value);
	}
}

/* ModRM and what follows it; @rm_reg, @reg: field values for register operands. */
static void emit_tail(const struct dec *d, const struct roles *roles, struct hostop_plan *p)
{
	const ZydisDecodedInstruction *zi = &d->zi;

	p->bytes[p->len++] = zi->opcode;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		unsigned int reg = zi->raw.modrm.reg, rm = zi->raw.modrm.rm;

		if (roles->class[SLOT_REG] >= 0)
			reg = roles->class[SLOT_REG] == HOSTOP_R64 ? 0 : 1;
		if (zi->raw.modrm.mod != 3)
			rm = 6;
		else if (roles->class[SLOT_RM] >= 0)
			rm = roles->class[SLOT_RM] == HOSTOP_R64 ? 1 : 2;
		p->bytes[p->len++] = (uint8_t)((zi->raw.modrm.mod == 3 ? 0xc0 : 0) | reg << 3 | rm);
	}
	for (unsigned int k = 0; k < 2; k++) {
		unsigned int n = zi->raw.imm[k].size / 8;

		for (unsigned int b = 0; b < n; b++)
			p->bytes[p->len++] = d->bytes[zi->raw.imm[k].offset + b];
	}
	if (roles->class[SLOT_IS4] >= 0)
		p->bytes[p->len - 1] = (uint8_t)(4 << 4 | (p->bytes[p->len - 1] & 0xf));
	/* EXTRQ and INSERTQ look at six bits of each immediate: fewer stubs. */
	if (zi->raw.imm[1].size) {
		p->bytes[p->len - 1] &= 0x3f;
		p->bytes[p->len - 2] &= 0x3f;
	}
}

static void emit_legacy(const struct dec *d, const struct roles *roles, bool osize, bool w,
			struct hostop_plan *p)
{
	const ZydisDecodedInstruction *zi = &d->zi;
	unsigned int rex = w ? 8 : 0;
	uint8_t mandatory = 0;

	for (unsigned int k = 0; k < zi->raw.prefix_count; k++)
		if (zi->raw.prefixes[k].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			mandatory = zi->raw.prefixes[k].value;
	p->len = 0;
	if (osize || mandatory == 0x66)
		p->bytes[p->len++] = 0x66;
	if (mandatory && mandatory != 0x66)
		p->bytes[p->len++] = mandatory;
	if (roles->class[SLOT_REG] == HOSTOP_R64)
		rex |= 4;
	if (roles->class[SLOT_RM] == HOSTOP_R64)
		rex |= 1;
	if (rex)
		p->bytes[p->len++] = (uint8_t)(0x40 | rex);
	if (zi->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		p->bytes[p->len++] = 0x0f;
	if (zi->opcode_map == ZYDIS_OPCODE_MAP_0F38)
		p->bytes[p->len++] = 0x38;
	if (zi->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
		p->bytes[p->len++] = 0x3a;
	emit_tail(d, roles, p);
}

static void emit_vex(const struct dec *d, const struct roles *roles, bool w, struct hostop_plan *p)
{
	const ZydisDecodedInstruction *zi = &d->zi;
	unsigned int r = roles->class[SLOT_REG] == HOSTOP_R64,
		     b = roles->class[SLOT_RM] == HOSTOP_R64;
	unsigned int v = 0;

	if (roles->class[SLOT_VVVV] >= 0)
		v = roles->class[SLOT_VVVV] == HOSTOP_R64 ? 10 : 3;
	p->len = 0;
	p->bytes[p->len++] = 0xc4;
	p->bytes[p->len++] = (uint8_t)((r ? 0 : 0x80) | 0x40 | (b ? 0 : 0x20) | zi->opcode_map);
	p->bytes[p->len++] =
		(uint8_t)((w ? 0x80 : 0) | (~v & 15) << 3 | zi->raw.vex.L << 2 | zi->raw.vex.pp);
	emit_tail(d, roles, p);
}

static bool same_operands(const struct dec *a, const struct dec *b)
{
	if (a->zi.mnemonic != b->zi.mnemonic ||
	    a->zi.operand_count_visible != b->zi.operand_count_visible)
		return false;
	for (unsigned int k = 0; k < a->zi.operand_count_visible; k++) {
		const ZydisDecodedOperand *x = &a->op[k], *y = &b->op[k];

		if (x->type != y->type || x->size != y->size || x->actions != y->actions)
			return false;
		if (x->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (ZydisRegisterGetClass(x->reg.value) != ZydisRegisterGetClass(y->reg.value) ||
		     x->visibility != y->visibility || x->encoding != y->encoding))
			return false;
	}
	return true;
}

static bool decodes_to_same(const struct dec *d, const struct hostop_plan *p, struct dec *n)
{
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder64, p->bytes, p->len, &n->zi, n->op)))
		return false;
	return n->zi.length == p->len && same_operands(d, n);
}

static bool rewrite(const struct dec *d, struct hostop_plan *p, struct dec *n)
{
	const ZydisDecodedInstruction *zi = &d->zi;
	struct roles roles;
	bool osize = false;

	find_roles(d, &roles);
	n->bytes = p->bytes;
	n->mode = CPU_MODE_64;
	n->c = d->c;
	if (is_x87(zi)) {
		p->bytes[0] = zi->opcode;
		p->bytes[1] = zi->raw.modrm.mod == 3
				      ? (uint8_t)(0xc0 | zi->raw.modrm.reg << 3 | zi->raw.modrm.rm)
				      : (uint8_t)(zi->raw.modrm.reg << 3 | 6);
		p->len = 2;
		return decodes_to_same(d, p, n);
	}
	for (unsigned int k = 0; k < zi->raw.prefix_count; k++)
		if (zi->raw.prefixes[k].value == 0x66 &&
		    zi->raw.prefixes[k].type == ZYDIS_PREFIX_TYPE_EFFECTIVE)
			osize = true;
	for (unsigned int try = 0; try < 4; try++) {
		/* Outside of 64-bit mode W is ignored where it would mean the width of a general register. */
		bool vex_w = d->mode == CPU_MODE_64 && zi->raw.vex.W;

		if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
			emit_vex(d, &roles, vex_w ^ (try & 1), p);
		else
			emit_legacy(d, &roles, osize ^ (try >> 1 & 1),
				    (zi->raw.rex.W != 0) ^ (try & 1), p);
		if (decodes_to_same(d, p, n))
			return true;
	}
	return false;
}

/* One operand of the rewritten instruction; @orig: of the guest's, when explicit. */
static int add_register(const ZydisDecodedOperand *op, const ZydisDecodedOperand *orig,
			struct hostop_plan *p, uint16_t slots[HOSTOP_SLOTS])
{
	ZydisRegister reg = op->reg.value;
	int class = class_of(reg), role = role_of(op);
	struct hostop_use *u = &p->use[p->nr_uses];
	unsigned int n;

	if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_FLAGS)
		return 0;
	if (p->unit == HOSTOP_X87) /* everything is loaded and stored */
		return class >= 0 ? -EINVAL : 0;
	if (class < 0 || p->nr_uses == HOSTOP_MAX_USES)
		return -EINVAL;
	*u = (struct hostop_use){ .class = (uint8_t) class,
				  .load = op->actions & ZYDIS_OPERAND_ACTION_MASK_READ,
				  .store = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE };
	/* Without VEX what an instruction does not write stays, also of a register it "writes". */
	if (!p->vex || class == HOSTOP_R64)
		u->load = true;
	n = hostop_reg_number(orig ? orig->reg.value : reg);
	if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
		static const uint8_t gpr[HOSTOP_SLOTS] = { 8, 9, 10, 0 };

		if (role < 0 || !orig)
			return -EINVAL;
		u->slot = (uint8_t)role;
		u->host = class == HOSTOP_R64 ? gpr[role] : (uint8_t)(role + 1);
	} else {
		if (n > 2 || (class != HOSTOP_R64 && n != 0))
			return -EINVAL;
		u->slot = HOSTOP_SLOTS;
		u->host = (uint8_t)n;
	}
	switch (class) {
	case HOSTOP_R64:
		n *= 8;
		if (orig && orig->reg.value >= ZYDIS_REGISTER_AH &&
		    orig->reg.value <= ZYDIS_REGISTER_BH)
			n++;
		break;
	case HOSTOP_MM:
		n = (unsigned int)offsetof(struct cpu_state, fpu.st) + 16 * (n & 7);
		p->unit = HOSTOP_MMX;
		p->writes_mm |= u->store;
		break;
	default:
		n = (unsigned int)offsetof(struct cpu_state, fpu.xmm) + 16 * n;
		p->uses_xmm = true;
		if (p->unit == HOSTOP_GPR || p->unit == HOSTOP_VEX_GPR)
			p->unit = p->vex ? HOSTOP_AVX : HOSTOP_SSE;
	}
	if (u->slot < HOSTOP_SLOTS)
		slots[u->slot] = (uint16_t)n;
	else
		u->fixed = (uint16_t)n;
	p->nr_uses++;
	return 0;
}

/* Legacy encodings align what is 16 bytes long but for a few instructions, VEX ones only what is called so. */
static uint8_t required_alignment(const ZydisDecodedInstruction *zi, unsigned int size)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return 0;
	default:
		if (zi->meta.isa_set == ZYDIS_ISA_SET_SHA && sha_unaligned)
			return 0;
		if (size < 16 || (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
				  zi->meta.exception_class != ZYDIS_EXCEPTION_CLASS_AVX1))
			return 0;
		return (uint8_t)size;
	}
}

static int add_memory(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op,
		      struct hostop_plan *p)
{
	if (op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || p->has_mem ||
	    op->mem.type != ZYDIS_MEMOP_TYPE_MEM || op->mem.base != ZYDIS_REGISTER_RSI ||
	    op->mem.index != ZYDIS_REGISTER_NONE || op->mem.disp.value != 0 || op->size < 8 ||
	    op->size > 256)
		return -EINVAL;
	p->has_mem = true;
	p->mem_size = op->size / 8;
	p->mem_read = op->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	p->mem_write = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	p->align = required_alignment(zi, p->mem_size);
	p->ac_align = p->mem_size == 10 ? 8 : (uint8_t)MIN(p->mem_size, 16);
	return 0;
}

/* They have no exception class, and need SSE also when no XMM register is named. */
static bool is_mmx_conversion(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_CVTPI2PS || m == ZYDIS_MNEMONIC_CVTPS2PI ||
	       m == ZYDIS_MNEMONIC_CVTTPS2PI || m == ZYDIS_MNEMONIC_CVTPI2PD ||
	       m == ZYDIS_MNEMONIC_CVTPD2PI || m == ZYDIS_MNEMONIC_CVTTPD2PI;
}

/* Zydis 4.0 does not list MXCSR; the exception classes tell what raises SIMD exceptions, and nothing else
 * depends on rounding and denormal modes. */
static bool uses_mxcsr(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_SSE2:
	case ZYDIS_EXCEPTION_CLASS_SSE3:
	case ZYDIS_EXCEPTION_CLASS_AVX2:
	case ZYDIS_EXCEPTION_CLASS_AVX3:
	case ZYDIS_EXCEPTION_CLASS_AVX11:
		return true;
	default:
		return is_mmx_conversion(zi->mnemonic);
	}
}

int hostop_encode(const struct dec *d, struct hostop_plan *p, uint16_t slots[HOSTOP_SLOTS])
{
	uint32_t defined;
	struct dec n;

	/* W is not ignored where the wide form does not exist. */
	if (d->mode != CPU_MODE_64 && d->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
	    d->zi.raw.vex.W &&
	    (d->zi.mnemonic == ZYDIS_MNEMONIC_VPINSRD || d->zi.mnemonic == ZYDIS_MNEMONIC_VPEXTRD))
		return -EINVAL;
	if ((d->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	     d->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) ||
	    !isa_may_run(d->zi.meta.isa_set) ||
	    (d->zi.meta.isa_set == ZYDIS_ISA_SET_PPRO && !is_x87(&d->zi)))
		return -EINVAL;
	pthread_once(&decoder_once, decoder_start);
	memset(p, 0, sizeof(*p));
	memset(slots, 0, HOSTOP_SLOTS * sizeof(slots[0]));
	if (!rewrite(d, p, &n))
		return -EINVAL;

	p->vex = n.zi.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	p->unit = is_x87(&n.zi) ? HOSTOP_X87 : p->vex ? HOSTOP_VEX_GPR : HOSTOP_GPR;
	for (unsigned int k = 0; k < n.zi.operand_count; k++) {
		const ZydisDecodedOperand *op = &n.op[k];
		const ZydisDecodedOperand *orig = k < n.zi.operand_count_visible ? &d->op[k] : NULL;
		int r = 0;

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
			r = add_register(op, orig, p, slots);
		else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
			r = add_memory(&n.zi, op, p);
		else if (op->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
			r = -EINVAL;
		if (r < 0)
			return r;
	}
	p->uses_mxcsr = uses_mxcsr(&n.zi);
	/* A conversion from memory to a general register names no vector register. */
	if (p->uses_mxcsr && (p->unit == HOSTOP_GPR || p->unit == HOSTOP_VEX_GPR))
		p->unit = p->vex ? HOSTOP_AVX : HOSTOP_SSE;
	p->uses_xmm |= is_mmx_conversion(n.zi.mnemonic);
	if (n.zi.cpu_flags) {
		p->flags_in = n.zi.cpu_flags->tested & RFLAGS_STATUS;
		defined =
			(n.zi.cpu_flags->modified | n.zi.cpu_flags->set_0 | n.zi.cpu_flags->set_1) &
			RFLAGS_STATUS;
		p->flags_out = defined | (n.zi.cpu_flags->undefined & RFLAGS_STATUS);
		/* The stub returns all of them: those that stay, or may stay, must have been there before. */
		if (p->flags_out && defined != RFLAGS_STATUS)
			p->flags_in |= RFLAGS_STATUS;
	}
	return 0;
}
