// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From bytes to struct insn. Zydis says what the bytes mean; here its operands become what handlers
 * want (offsets into the register file, an address recipe, an immediate), and the mnemonic's bind function
 * chooses the handler. Undefined bytes become an instruction too, one whose handler raises #UD, so that
 * the run loop knows one kind of thing and the fault comes in its order.
 *
 * The guest is told that it runs on an AMD CPU, so branches with an operand-size prefix in 64-bit mode
 * are 16 bits wide (AMD APM volume 3, section 1.2.4), and what Intel added to the space of NOPs (MPX, CET)
 * stays NOPs.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "cpu/interp/block.h"

enum { NR_MNEMONICS = ZYDIS_MNEMONIC_MAX_VALUE + 1 };

static int (*binders[NR_MNEMONICS])(const struct dec *d, struct insn *i);
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* --- decoders ----------------------------------------------------------------------------------- */

enum { DEC_REAL16, DEC_LEGACY16, DEC_LEGACY32, DEC_LONG64, NR_DECODERS };

/* By [kind][LZCNT offered][TZCNT offered]: without them their encodings are BSR and BSF. */
static ZydisDecoder decoders[NR_DECODERS][2][2];

static void decoders_make(void)
{
	static const struct {
		ZydisMachineMode machine;
		ZydisStackWidth stack;
	} kinds[NR_DECODERS] = {
		[DEC_REAL16] = { ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16 },
		[DEC_LEGACY16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
		[DEC_LEGACY32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		[DEC_LONG64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	};

	for (unsigned int k = 0; k < NR_DECODERS * 4; k++) {
		ZydisDecoder *d = &decoders[k / 4][k >> 1 & 1][k & 1];

		ZydisDecoderInit(d, kinds[k / 4].machine, kinds[k / 4].stack);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_LZCNT, k >> 1 & 1);
		ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_TZCNT, k & 1);
	}
}

static const ZydisDecoder *decoder_of(const struct cpu *c)
{
	unsigned int kind = c->mode == CPU_MODE_64   ? DEC_LONG64
			    : c->mode == CPU_MODE_32 ? DEC_LEGACY32
			    : c->protected_mode	     ? DEC_LEGACY16
						     : DEC_REAL16;

	return &decoders[kind][cpuid_has_isa(&c->grp->cpuid, ZYDIS_ISA_SET_LZCNT)]
			[cpuid_has_isa(&c->grp->cpuid, ZYDIS_ISA_SET_BMI1)];
}

/* --- table of mnemonics ------------------------------------------------------------------------- */

static void table_make(void)
{
	static const struct interp_op *const tables[] = {
		interp_ops_alu,	    interp_ops_mov,    interp_ops_flow, interp_ops_string,
		interp_ops_bit,	    interp_ops_atomic, interp_ops_bcd,	interp_ops_stack,
		interp_ops_shift,   interp_ops_muldiv, interp_ops_seg,	interp_ops_far,
		interp_ops_syscall, interp_ops_cr,     interp_ops_msr,	interp_ops_io,
		interp_ops_sysmisc, interp_ops_fpu,
	};

	decoders_make();
	for (unsigned int t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct interp_op *op = tables[t]; op->mnemonic; op++)
			binders[op->mnemonic] = op->bind;
}

void dec_init(void)
{
	pthread_once(&once, table_make);
}

/* --- operands ----------------------------------------------------------------------------------- */

/* Byte offset in st.r[] of a general register of any width; -1 for other registers. */
static int reg_offset(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
		return (reg - ZYDIS_REGISTER_AL) * 8;
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return (reg - ZYDIS_REGISTER_AH) * 8 + 1;
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
		return (reg - ZYDIS_REGISTER_SPL + CPU_RSP) * 8;
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
		return (reg - ZYDIS_REGISTER_AX) * 8;
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return (reg - ZYDIS_REGISTER_EAX) * 8;
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return (reg - ZYDIS_REGISTER_RAX) * 8;
	return -1;
}

static uint8_t addr_slot(ZydisRegister reg)
{
	int off = reg_offset(reg);

	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return CPU_SLOT_RIP;
	return off >= 0 ? (uint8_t)(off / 8) : CPU_SLOT_ZERO;
}

uint8_t dec_segment(const struct dec *d, ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_FS:
		return CPU_FS;
	case ZYDIS_REGISTER_GS:
		return CPU_GS;
	default:
		break;
	}
	if (d->mode == CPU_MODE_64)
		return SEG_FLAT;
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return CPU_ES;
	case ZYDIS_REGISTER_CS:
		return CPU_CS;
	case ZYDIS_REGISTER_SS:
		return CPU_SS;
	default:
		return CPU_DS;
	}
}

static void fill_mem(const struct dec *d, const ZydisDecodedOperand *op, struct insn *i)
{
	i->flags |= INSN_MEM;
	i->seg = dec_segment(d, op->mem.segment);
	if (op->mem.segment == ZYDIS_REGISTER_SS)
		i->flags |= INSN_SS;
	i->base = addr_slot(op->mem.base);
	i->index = addr_slot(op->mem.index);
	i->scale = op->mem.scale ? (uint8_t)__builtin_ctz(op->mem.scale) : 0;
	if (d->zi.raw.disp.size == 64) {
		i->imm = (uint64_t)op->mem.disp.value;
	} else if ((d->zi.attributes & ZYDIS_ATTRIB_HAS_SIB) && d->zi.raw.modrm.mod == 0 &&
		   (d->zi.raw.sib.base & 7) == 5) {
		/* No base, whatever REX.B says; Zydis 4.0 names R13 with 32-bit addresses. */
		i->base = CPU_SLOT_ZERO;
		i->disp = (int32_t)d->zi.raw.disp.value;
	} else
		i->disp = (int32_t)op->mem.disp.value;
}

static void fill_operands(const struct dec *d, struct insn *i)
{
	unsigned int nr_regs = 0;
	bool has_imm = false;

	for (unsigned int k = 0; k < d->zi.operand_count_visible; k++) {
		const ZydisDecodedOperand *op = &d->op[k];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			int off = reg_offset(op->reg.value);

			if (off >= 0 && nr_regs == 0)
				i->dst = (uint16_t)off;
			else if (off >= 0 && nr_regs == 1)
				i->src = (uint16_t)off;
			nr_regs += off >= 0;
		} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && !(i->flags & INSN_MEM)) {
			fill_mem(d, op, i);
		} else if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !has_imm) {
			i->imm = op->imm.value.u;
			has_imm = true;
		}
	}
}

static void fill_prefixes(const struct dec *d, struct insn *i)
{
	if (d->zi.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		i->flags |= INSN_LOCK;
	if (d->zi.attributes & ZYDIS_ATTRIB_HAS_REX)
		i->flags |= INSN_REX;
	/* The last one counts (AMD APM volume 3, 1.2.6). */
	for (unsigned int k = 0; k < d->zi.raw.prefix_count; k++) {
		uint8_t p = d->zi.raw.prefixes[k].value;

		if (p == 0xf2 || p == 0xf3) {
			i->flags &= (uint8_t) ~(INSN_REP | INSN_REPNE);
			i->flags |= p == 0xf3 ? INSN_REP : INSN_REPNE;
		}
	}
}

/* --- instructions ------------------------------------------------------------------------------- */

static void raise_ud(struct cpu *c, const struct insn *i)
{
	cpu_raise(c, VEC_UD);
}

static void raise_gp(struct cpu *c, const struct insn *i)
{
	cpu_raise_err(c, VEC_GP, 0);
}

static enum dec_result fault_insn(struct dec *d, struct insn *i, interp_fn *fn)
{
	memset(i, 0, sizeof(*i));
	i->fn = fn;
	i->len = 1;
	d->zi.length = 0;
	return DEC_END;
}

static bool ends_block(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
		return true;
	default:
		return zi->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
	}
}

static bool is_legacy_prefix(uint8_t b)
{
	return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) ||
	       b == 0xf0 || b == 0xf2 || b == 0xf3;
}

/*
 * LOCK MOV to and from CR0 means CR8 on AMD processors, so that 32-bit code can reach it (AMD APM volume 3,
 * MOV CRn). Zydis refuses the prefix: decode without it, and put in the other register.
 */
static ZyanStatus decode_cr8(const struct cpu *c, struct dec *d, const uint8_t *bytes,
			     unsigned int n)
{
	uint8_t rest[INSN_MAX_LEN];
	unsigned int from = 0, to = 0;
	bool is_cr0 = false;
	ZyanStatus st;

	if (!cpuid_has(&c->grp->cpuid, CPUID_CR8_LEGACY))
		return ZYDIS_STATUS_ILLEGAL_LOCK;
	for (; from < n && is_legacy_prefix(bytes[from]); from++)
		if (bytes[from] != 0xf0)
			rest[to++] = bytes[from];
	memcpy(rest + to, bytes + from, n - from);
	st = ZydisDecoderDecodeFull(decoder_of(c), rest, to + n - from, &d->zi, d->op);
	if (!ZYAN_SUCCESS(st) || d->zi.mnemonic != ZYDIS_MNEMONIC_MOV)
		return ZYDIS_STATUS_ILLEGAL_LOCK;
	for (unsigned int k = 0; k < 2; k++) {
		if (d->op[k].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    d->op[k].reg.value != ZYDIS_REGISTER_CR0)
			continue;
		d->op[k].reg.value = ZYDIS_REGISTER_CR8;
		is_cr0 = true;
	}
	d->zi.length = (ZyanU8)(d->zi.length + from - to);
	return is_cr0 ? st : ZYDIS_STATUS_ILLEGAL_LOCK;
}

enum dec_result dec_insn(const struct cpu *c, struct dec *d, const uint8_t *bytes, unsigned int n,
			 struct insn *i)
{
	ZyanStatus st = ZydisDecoderDecodeFull(decoder_of(c), bytes, n, &d->zi, d->op);
	int r;

	if (unlikely(st == ZYDIS_STATUS_ILLEGAL_LOCK))
		st = decode_cr8(c, d, bytes, n);

	if (st == ZYDIS_STATUS_NO_MORE_DATA && n < INSN_MAX_LEN)
		return DEC_MORE;
	if (st == ZYDIS_STATUS_NO_MORE_DATA || st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return fault_insn(d, i, raise_gp);
	if (!ZYAN_SUCCESS(st) || !cpuid_has_isa(&c->grp->cpuid, d->zi.meta.isa_set))
		return fault_insn(d, i, raise_ud);

	d->bytes = bytes;
	d->mode = c->mode;
	d->c = c;
	memset(i, 0, sizeof(*i));
	i->len = d->zi.length;
	i->opsize = d->zi.operand_width / 8;
	i->asize = d->zi.address_width / 8;
	i->seg = SEG_FLAT;
	i->base = i->index = CPU_SLOT_ZERO;
	fill_prefixes(d, i);
	fill_operands(d, i);
	r = binders[d->zi.mnemonic] ? binders[d->zi.mnemonic](d, i) : hostop_bind(d, i);
	if (r < 0)
		return fault_insn(d, i, raise_ud);
	return ends_block(&d->zi) ? DEC_END : DEC_OK;
}
