/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single instructions of the programs that gen_seq.c makes: the common ones in all their forms, with operands that
 * mostly reach the data; and any other from the table.
 */
#include <string.h>

#include "base/bytes.h"
#include "gen_seq.h"

/* --- emitting ---------------------------------------------------------------------------------------- */

void seq_put(struct seq *s, const uint8_t *p, unsigned int n)
{
	struct diff_case *k = s->k;

	if (k->len + n > sizeof(k->code) || k->nr_insns >= DIFF_MAX_INSNS - 1) {
		s->overflow = true;
		return;
	}
	memcpy(k->code + k->len, p, n);
	k->len += n;
}

static int gpr_of(ZydisMachineMode mode, ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(mode, reg);

	switch (ZydisRegisterGetClass(whole)) {
	case ZYDIS_REGCLASS_GPR64:
	case ZYDIS_REGCLASS_GPR32:
		return ZydisRegisterGetId(whole);
	default:
		return -1;
	}
}

/* May the program contain this? @ours: made here, and known to do what it should. */
static bool acceptable(struct seq *s, const ZydisDecodedInstruction *zi,
		       const ZydisDecodedOperand *op, bool ours)
{
	ZydisMachineMode mode = s->k->is32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
					   : ZYDIS_MACHINE_MODE_LONG_64;

	if ((skip_reason(zi, op, s->o->cpl0) && !(ours && s->o->io)) ||
	    (s->o->offers && !s->o->offers(zi->meta.isa_set)))
		return false;
	switch (zi->mnemonic) {
	/* The engine keeps no x87 pointers, and which parts of the state are in use is its own affair. */
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
		return false;
	/* What they load must be made for them: control_word(). */
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
		if (!ours)
			return false;
		break;
	default:
		break;
	}
	if (!ours && zi->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		return false;
	if ((zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) && !(ours && s->o->io) &&
	    !seq_one_in(s, 32))
		return false;
	for (unsigned int k = 0; k < zi->operand_count; k++) {
		int reg = op[k].type == ZYDIS_OPERAND_TYPE_REGISTER ? gpr_of(mode, op[k].reg.value)
								    : -1;

		if (op[k].type == ZYDIS_OPERAND_TYPE_MEMORY && !ours) {
			int base = gpr_of(mode, op[k].mem.base);

			if (base >= 0 && base != CPU_RSP && !(s->k->pointers >> base & 1) &&
			    !seq_one_in(s, 48))
				return false;
		}
		/* String operations move their pointers. */
		if (zi->meta.category == ZYDIS_CATEGORY_STRINGOP &&
		    op[k].type == ZYDIS_OPERAND_TYPE_MEMORY) {
			reg = gpr_of(mode, op[k].mem.base);
			if (reg >= 0 && (s->k->counters >> reg & 1))
				return false;
			continue;
		}
		if (reg < 0 || !(op[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (s->k->counters >> reg & 1)
			return false;
		if (reg == CPU_RSP && (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM) &&
		    !seq_one_in(s, 24))
			return false;
		if (((s->k->pointers | s->k->smalls) >> reg & 1) && !seq_one_in(s, 40))
			return false;
	}
	return true;
}

bool seq_emit(struct seq *s, const uint8_t *p, unsigned int n, bool ours)
{
	struct diff_case *k = s->k;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&gen_decoder[k->is32], p, n, &zi, op)) ||
	    (ours && zi.length != n) || !acceptable(s, &zi, op, ours))
		return false;
	k->mnemonics[k->nr_insns] = (uint16_t)zi.mnemonic;
	k->isa[k->nr_insns] = (uint16_t)zi.meta.isa_set;
	seq_put(s, p, zi.length);
	if (ours && zi.raw.imm[0].size && !zi.raw.imm[0].is_relative && !zi.raw.imm[1].size &&
	    !zi.raw.disp.size && k->nr_imms < DIFF_MAX_IMMS)
		k->imm[k->nr_imms++] = (uint16_t)(k->len - zi.length + zi.raw.imm[0].offset);
	k->nr_insns++;
	s->budget--;
	return true;
}

/* --- instructions of the common kinds ------------------------------------------------------------------- */

/* Bytes of one instruction being put together. */
struct ib {
	uint8_t p[24];
	unsigned int n;
};

static void ib8(struct ib *b, unsigned int v)
{
	b->p[b->n++] = (uint8_t)v;
}

static void ib_le(struct ib *b, uint64_t v, unsigned int size)
{
	for (unsigned int k = 0; k < size; k++)
		ib8(b, (unsigned int)(v >> (8 * k)) & 0xff);
}

/* Registers without a home of their own in the host are the more interesting ones. */
unsigned int seq_any_reg(struct seq *s)
{
	if (s->nr_regs == 16 && seq_one_in(s, 3))
		return CPU_R8 + seq_below(s, 4);
	return seq_below(s, s->nr_regs);
}

enum { RM_REG = 1, RM_MEM = 2, RM_ANY = 3 };

/* ModRM operand: filled by rm_pick(), placed by ib_modrm(). */
struct rm {
	bool mem, rip, abs, addr32;
	unsigned int reg; /* when not mem */
	unsigned int base, index, scale;
	int32_t disp;
	uint32_t target; /* rip */
	uint8_t seg;	 /* prefix byte, or 0 */
};

enum { NO_REG = 16 };

static int32_t displacement(struct seq *s)
{
	switch (seq_below(s, 8)) {
	case 0:
		return 0;
	case 1:
		return (int32_t)seq_below(s, 0x1000) - 0x800;
	case 2:
		return (int32_t)seq_below(s, 256) - 128;
	case 3:
		return seq_one_in(s, 4) ? (int32_t)seq_below(s, 0x6000) - 0x3000 : 0;
	default:
		return (int32_t)(seq_below(s, 32) * 8) - 128;
	}
}

static uint32_t data_target(struct seq *s)
{
	if (s->o->io && seq_one_in(s, 24))
		return DIFF_MMIO + seq_below(s, 64);
	if (seq_one_in(s, 16))
		return (uint32_t)gen_pointer(s->r, 8);
	return DIFF_DATA + seq_below(s, DIFF_RW_SIZE - 64);
}

static void rm_pick(struct seq *s, unsigned int kinds, struct rm *m)
{
	memset(m, 0, sizeof(*m));
	m->base = m->index = NO_REG;
	m->mem = kinds == RM_MEM || (kinds == RM_ANY && seq_one_in(s, 2));
	m->reg = seq_any_reg(s);
	if (!m->mem)
		return;
	m->addr32 = !s->k->is32 && seq_one_in(s, 24);
	switch (seq_one_in(s, 4) ? seq_below(s, 8) : 1 + seq_below(s, 15)) {
	case 0: /* the code itself, readable only */
		if (!seq_one_in(s, 4))
			goto pointer;
		m->rip = true;
		m->target = (uint32_t)s->k->rip + seq_below(s, 256);
		break;
	case 1:
	case 2:
		m->rip = true;
		m->target = data_target(s);
		break;
	case 3:
		m->abs = true;
		m->disp = (int32_t)data_target(s);
		break;
	case 4: /* [index * scale + disp32] */
		m->index = s->small;
		m->scale = seq_below(s, 4);
		m->disp = (int32_t)data_target(s);
		break;
	case 5:
		m->base = CPU_RSP;
		m->disp = (int32_t)(seq_below(s, 16) * 8) - 32;
		break;
	case 6:					      /* FS, GS: their bases point into the data */
		if (s->k->is32 && !seq_one_in(s, 24)) /* null selectors: #GP */
			goto pointer;
		m->seg = seq_one_in(s, 2) ? 0x64 : 0x65;
		m->base = s->small;
		m->disp = (int32_t)seq_below(s, 256);
		break;
	case 7:
		if (!seq_one_in(s, 3))
			goto pointer;
		m->base = seq_any_reg(s);
		m->disp = displacement(s);
		break;
	case 8:
	case 9:
	case 10:
		m->base = s->pointer[seq_below(s, 3)];
		m->index = seq_one_in(s, 24)  ? seq_any_reg(s)
			   : seq_one_in(s, 2) ? s->small
					      : s->counter[0];
		m->scale = seq_below(s, 4);
		m->disp = displacement(s);
		break;
	default:
pointer:
		m->base = s->pointer[seq_below(s, 3)];
		m->disp = displacement(s);
	}
	if (m->index == CPU_RSP)
		m->index = NO_REG;
}

/* ModRM, SIB, displacement; @after: bytes of immediate that follow. */
static void ib_modrm(struct seq *s, struct ib *b, unsigned int reg, const struct rm *m,
		     unsigned int after)
{
	bool is32 = s->k->is32;
	unsigned int r3 = (reg & 7) << 3, mod;

	if (!m->mem) {
		ib8(b, 0xc0 | r3 | (m->reg & 7));
		return;
	}
	if (m->rip && !is32) {
		uint64_t next = s->k->rip + s->k->len + b->n + 5 + after;

		ib8(b, r3 | 5);
		ib_le(b, m->target - next, 4);
		return;
	}
	if (m->abs || m->rip) {
		uint32_t to = m->rip ? m->target : (uint32_t)m->disp;

		if (is32) {
			ib8(b, r3 | 5);
		} else {
			ib8(b, r3 | 4);
			ib8(b, 0x25);
		}
		ib_le(b, to, 4);
		return;
	}
	if (m->base == NO_REG) {
		ib8(b, r3 | 4);
		ib8(b, m->scale << 6 | (m->index & 7) << 3 | 5);
		ib_le(b, (uint32_t)m->disp, 4);
		return;
	}
	mod = m->disp == 0 && (m->base & 7) != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
	if (m->index != NO_REG || (m->base & 7) == 4) {
		ib8(b, mod << 6 | r3 | 4);
		ib8(b,
		    m->scale << 6 | (m->index == NO_REG ? 4 : m->index & 7) << 3 | (m->base & 7));
	} else {
		ib8(b, mod << 6 | r3 | (m->base & 7));
	}
	ib_le(b, (uint32_t)m->disp, mod == 0 ? 0 : mod == 1 ? 1 : 4);
}

/*
 * One instruction: prefixes, opcode, ModRM, immediate. @size: 1, 2, 4, 8 bytes (with its prefixes; the opcode is
 * already the right one). @reg: register or opcode extension.
 */
struct form {
	uint8_t prefix; /* F2, F3, F0 or 0 */
	uint8_t op[3];	/* opcode with its escapes */
	uint8_t nr_op;
	unsigned int size, reg;
	bool reg_is_byte, reg_is_ext; /* what ModRM.reg is; else a register of @size */
	unsigned int imm_size;
	uint64_t imm;
};

static bool emit_form(struct seq *s, const struct form *f, const struct rm *m)
{
	struct ib b = { .n = 0 };
	unsigned int rex = 0;

	if (m->seg)
		ib8(&b, m->seg);
	if (f->size == 2)
		ib8(&b, 0x66);
	if (m->addr32)
		ib8(&b, 0x67);
	if (f->prefix)
		ib8(&b, f->prefix);
	if (!s->k->is32) {
		rex |= f->size == 8 ? 8 : 0;
		rex |= !f->reg_is_ext && f->reg >= 8 ? 4 : 0;
		if (m->mem) {
			rex |= m->index != NO_REG && m->index >= 8 ? 2 : 0;
			rex |= m->base != NO_REG && m->base >= 8 ? 1 : 0;
		} else {
			rex |= m->reg >= 8 ? 1 : 0;
		}
		if (rex || seq_one_in(s, 12) || (f->size == 1 && seq_one_in(s, 3)))
			ib8(&b, 0x40 | rex);
	}
	for (unsigned int k = 0; k < f->nr_op; k++)
		ib8(&b, f->op[k]);
	ib_modrm(s, &b, f->reg, m, f->imm_size);
	ib_le(&b, f->imm, f->imm_size);
	return seq_emit(s, b.p, b.n, true);
}

static unsigned int any_size(struct seq *s)
{
	static const uint8_t sizes[] = { 1, 2, 4, 4, 4, 8, 8, 8 };

	return sizes[seq_below(s, s->k->is32 ? 5 : 8)];
}

/* op r/m, r | op r, r/m: the low bit of the opcode says that it is no byte. */
static bool rm_reg(struct seq *s, unsigned int op, unsigned int prefix, unsigned int kinds)
{
	struct form f = { .prefix = (uint8_t)prefix, .size = any_size(s), .reg = seq_any_reg(s) };
	struct rm m;

	if (op & 0x0f00)
		f.op[f.nr_op++] = 0x0f;
	f.op[f.nr_op++] = (uint8_t)(op | (f.size > 1));
	rm_pick(s, kinds, &m);
	return emit_form(s, &f, &m);
}

/* The same with an operand of at least 16 bits; @imm_size bytes of immediate. */
static bool rm_wide(struct seq *s, unsigned int op, unsigned int prefix, unsigned int kinds,
		    int ext, unsigned int imm_size)
{
	struct form f = { .prefix = (uint8_t)prefix,
			  .size = any_size(s),
			  .reg = ext >= 0 ? (unsigned int)ext : seq_any_reg(s),
			  .reg_is_ext = ext >= 0,
			  .imm_size = imm_size,
			  .imm = gen_integer(s->r) };
	struct rm m;

	if (f.size == 1)
		f.size = 4;
	if (op & 0x0f00)
		f.op[f.nr_op++] = 0x0f;
	f.op[f.nr_op++] = (uint8_t)op;
	if (imm_size == 4 && f.size == 2)
		f.imm_size = 2;
	rm_pick(s, kinds, &m);
	return emit_form(s, &f, &m);
}

static bool group_imm(struct seq *s, unsigned int op8, unsigned int opw, unsigned int ext)
{
	struct form f = { .size = any_size(s), .reg = ext, .reg_is_ext = true, .nr_op = 1 };
	struct rm m;
	bool small = opw == 0x81 && seq_one_in(s, 2);

	f.op[0] = (uint8_t)(f.size == 1 ? op8 : small ? 0x83 : opw);
	f.imm_size = f.size == 1 || small ? 1 : f.size == 2 ? 2 : 4;
	f.imm = gen_integer(s->r);
	rm_pick(s, RM_ANY, &m);
	return emit_form(s, &f, &m);
}

static bool group(struct seq *s, unsigned int op, unsigned int ext, unsigned int imm_size,
		  unsigned int prefix, unsigned int kinds)
{
	struct form f = { .size = any_size(s),
			  .prefix = (uint8_t)prefix,
			  .reg = ext,
			  .reg_is_ext = true,
			  .nr_op = 1,
			  .imm_size = imm_size,
			  .imm = seq_one_in(s, 4) ? rng_next(s->r) : seq_below(s, 34) };
	struct rm m;

	f.op[0] = (uint8_t)(op | (f.size > 1));
	rm_pick(s, kinds, &m);
	return emit_form(s, &f, &m);
}

static bool plain(struct seq *s, const uint8_t *list, unsigned int n)
{
	uint8_t b[3];
	unsigned int k = 0;

	if (seq_one_in(s, 4))
		b[k++] = 0x66;
	else if (!s->k->is32 && seq_one_in(s, 3))
		b[k++] = 0x48;
	b[k++] = list[seq_below(s, n)];
	return seq_emit(s, b, k, true);
}

static bool mov_imm(struct seq *s)
{
	struct ib b = { .n = 0 };
	unsigned int reg = seq_any_reg(s), size = s->k->is32 ? 4 : seq_one_in(s, 2) ? 8 : 4;

	if (!s->k->is32 && (reg >= 8 || size == 8))
		ib8(&b, 0x40 | (size == 8 ? 8 : 0) | reg >> 3);
	ib8(&b, 0xb8 | (reg & 7));
	ib_le(&b, gen_integer(s->r), size);
	return seq_emit(s, b.p, b.n, true);
}

bool seq_set_reg(struct seq *s, unsigned int reg, uint32_t value)
{
	uint8_t b[6];
	unsigned int n = 0;

	if (reg >= 8)
		b[n++] = 0x41;
	b[n++] = (uint8_t)(0xb8 | (reg & 7));
	put_le32(b + n, value);
	if (s->k->counters >> reg & 1)
		return false;
	seq_put(s, b, n + 4);
	return true;
}

static void raw(struct seq *s, unsigned int a)
{
	uint8_t b = (uint8_t)a;

	seq_put(s, &b, 1);
}

/* String operations on the data, forward and backward. */
bool seq_string_op(struct seq *s)
{
	static const uint8_t ops[] = { 0xa4, 0xa4, 0xaa, 0xaa, 0xac, 0xae, 0xa6 };
	bool down = seq_one_in(s, 3);
	unsigned int op = ops[seq_below(s, sizeof(ops))] | seq_below(s, 2), n = 0;
	uint8_t b[4];

	if (!seq_one_in(s, 6)) {
		(void)seq_set_reg(s, CPU_RSI, data_target(s));
		(void)seq_set_reg(s, CPU_RDI, data_target(s));
	}
	if (!seq_one_in(s, 8))
		(void)seq_set_reg(s, CPU_RCX,
				  seq_one_in(s, 8) ? seq_below(s, 2000) : seq_below(s, 80));
	if (down)
		raw(s, 0xfd);
	if (!seq_one_in(s, 3))
		b[n++] = seq_one_in(s, 4) ? 0xf2 : 0xf3;
	if ((op & 1) && seq_one_in(s, 4))
		b[n++] = 0x66;
	else if ((op & 1) && !s->k->is32 && seq_one_in(s, 2))
		b[n++] = 0x48;
	b[n++] = (uint8_t)op;
	(void)seq_emit(s, b, n, true);
	if (down && !seq_one_in(s, 16))
		raw(s, 0xfc);
	return true;
}

/* Rounding modes, masks, denormals: a word is stored and loaded. */
bool seq_control_word(struct seq *s)
{
	uint32_t at = DIFF_DATA + seq_below(s, DIFF_RW_SIZE - 4), v;
	bool x87 = seq_one_in(s, 3);
	struct ib b = { .n = 0 };
	static const uint8_t ldmxcsr[] = { 0x0f, 0xae, 0x14, 0x25 }, fldcw[] = { 0xd9, 0x2c, 0x25 };
	const uint8_t *load = x87 ? fldcw : ldmxcsr;
	unsigned int n = x87 ? sizeof(fldcw) : sizeof(ldmxcsr);

	v = x87 ? 0x7f | (rng_next(s->r) & 0xf00) : 0x1f80 | (rng_next(s->r) & 0xe07f);
	if (seq_one_in(s, 12))
		v ^= x87 ? 1u << seq_below(s, 6) : 0x80u << seq_below(s, 6);
	ib8(&b, 0xc7); /* mov $v, at */
	ib8(&b, s->k->is32 ? 0x05 : 0x04);
	if (!s->k->is32)
		ib8(&b, 0x25);
	ib_le(&b, at, 4);
	ib_le(&b, v, 4);
	seq_put(s, b.p, b.n);
	b.n = 0;
	for (unsigned int k = 0; k < n - s->k->is32; k++)
		ib8(&b, load[k]);
	if (s->k->is32) /* no SIB: [disp32] is mode 5 there */
		b.p[b.n - 1] |= 1;
	ib_le(&b, at, 4);
	return seq_emit(s, b.p, b.n, true);
}

static bool lock_op(struct seq *s)
{
	static const uint16_t rmw[] = { 0x00, 0x08, 0x10,  0x18,  0x20,	 0x28,
					0x30, 0x86, 0xfc0, 0xfc0, 0xfb0, 0xfb0 };
	unsigned int prefix = seq_one_in(s, 3) ? 0 : 0xf0;

	switch (seq_below(s, 5)) {
	case 0:
		return rm_wide(s, 0xfab + 8 * seq_below(s, 3), prefix, RM_MEM, -1, 0);
	case 1:
		return rm_wide(s, 0xfba, prefix, RM_MEM, 5 + (int)seq_below(s, 3), 1);
	case 2: /* CMPXCHG8B and 16B */
		return rm_wide(s, 0xfc7, prefix, RM_MEM, 1, 0);
	case 3:
		return group(s, 0xfe, seq_below(s, 2), 0, prefix, RM_MEM);
	default:
		return rm_reg(s, rmw[seq_below(s, sizeof(rmw) / sizeof(rmw[0]))], prefix, RM_MEM);
	}
}

static bool stack_op(struct seq *s)
{
	uint8_t b[6] = { 0x68 };
	unsigned int reg = seq_any_reg(s), n = 0;
	struct form f = { .size = 4, .reg = 6, .reg_is_ext = true, .nr_op = 1, .op = { 0xff } };
	struct rm m;

	switch (seq_below(s, 8)) {
	case 0:
		put_le32(b + 1, (uint32_t)gen_integer(s->r));
		return seq_emit(s, b, 5, true);
	case 1:
		return seq_emit(s, (const uint8_t[]){ 0x6a, (uint8_t)rng_next(s->r) }, 2, true);
	case 2:
		rm_pick(s, RM_MEM, &m);
		return emit_form(s, &f, &m);
	case 3:
		f.op[0] = 0x8f;
		f.reg = 0;
		rm_pick(s, RM_MEM, &m);
		return emit_form(s, &f, &m);
	case 4:
		return seq_one_in(s, 4) && seq_emit(s, (const uint8_t[]){ 0x9c }, 1, true);
	case 5:
		if (seq_one_in(s, 6))
			return seq_emit(s, (const uint8_t[]){ 0xc9 }, 1, true);
		__attribute__((fallthrough));
	default:
		if (seq_one_in(s, 12))
			b[n++] = 0x66;
		if (reg >= 8)
			b[n++] = 0x41;
		b[n++] = (uint8_t)((seq_one_in(s, 2) ? 0x50 : 0x58) | (reg & 7));
		return seq_emit(s, b, n, true);
	}
}

static bool flag_op(struct seq *s)
{
	static const uint8_t ops[] = { 0xf8, 0xf9, 0xf5, 0x9e, 0x9f };
	uint8_t b = ops[seq_below(s, sizeof(ops))];

	return seq_emit(s, &b, 1, true);
}

static bool bit_op(struct seq *s)
{
	switch (seq_below(s, 6)) {
	case 0:
		return rm_wide(s, 0xfa3 + 8 * seq_below(s, 4), 0, RM_REG, -1, 0);
	case 1:
		return rm_wide(s, 0xfba, 0, RM_ANY, 4 + (int)seq_below(s, 4), 1);
	case 2:
		return rm_wide(s, 0xfbc + seq_below(s, 2), seq_one_in(s, 2) ? 0xf3 : 0, RM_ANY, -1,
			       0);
	case 3:
		return rm_wide(s, 0xfb8, 0xf3, RM_ANY, -1, 0);
	case 4:
		return rm_wide(s, 0xfa4 + 8 * seq_below(s, 2), 0, RM_ANY, -1, 1);
	default:
		return rm_wide(s, 0xfa5 + 8 * seq_below(s, 2), 0, RM_ANY, -1, 0);
	}
}

bool seq_common(struct seq *s)
{
	static const uint8_t converts[] = { 0x98, 0x99 };

	switch (seq_below(s, 22)) {
	case 0:
	case 1:
	case 2:
		return rm_reg(s, 8 * seq_below(s, 8) + 2 * seq_below(s, 2), 0, RM_ANY);
	case 3: /* chains of carries */
		return rm_reg(s, (seq_one_in(s, 2) ? 0x10 : 0x18) + 2 * seq_below(s, 2), 0, RM_ANY);
	case 4:
	case 5:
		return group_imm(s, 0x80, 0x81, seq_below(s, 8));
	case 6:
	case 7:
	case 8:
		return rm_reg(s, 0x88 + 2 * seq_below(s, 2), 0, RM_ANY);
	case 9:
		return group_imm(s, 0xc6, 0xc7, 0);
	case 10:
		return mov_imm(s);
	case 11: /* MOVZX, MOVSX, MOVSXD */
		return seq_one_in(s, 4) && !s->k->is32
			       ? rm_wide(s, 0x63, 0, RM_ANY, -1, 0)
			       : rm_wide(s, 0xfb6 + seq_below(s, 2) + 8 * seq_below(s, 2), 0,
					 RM_ANY, -1, 0);
	case 12:
		return rm_wide(s, 0x8d, 0, RM_MEM, -1, 0);
	case 13:
		return rm_reg(s, seq_one_in(s, 3) ? 0x86 : 0x84, 0, RM_ANY);
	case 14: /* INC, DEC; NOT, NEG, MUL, IMUL; seldom DIV, IDIV */
		return seq_one_in(s, 2)
			       ? group(s, 0xfe, seq_below(s, 2), 0, 0, RM_ANY)
			       : group(s, 0xf6,
				       seq_one_in(s, 8) ? 6 + seq_below(s, 2) : 2 + seq_below(s, 4),
				       0, 0, RM_ANY);
	case 15:
		return seq_one_in(s, 2) ? group(s, 0xc0, seq_below(s, 8), 1, 0, RM_ANY)
					: group(s, 0xd0 + 2 * seq_below(s, 2), seq_below(s, 8), 0,
						0, RM_ANY);
	case 16:
		return seq_one_in(s, 2) ? rm_wide(s, 0xf40 + seq_below(s, 16), 0, RM_ANY, -1, 0)
					: rm_wide(s, 0xf90 + seq_below(s, 16), 0, RM_ANY, 0, 0);
	case 17:
		return bit_op(s);
	case 18:
		return seq_one_in(s, 2) ? rm_wide(s, 0xfaf, 0, RM_ANY, -1, 0)
					: rm_wide(s, 0x6b, 0, RM_ANY, -1, 1);
	case 19:
		return seq_one_in(s, 2) ? plain(s, converts, 2) : flag_op(s);
	case 20:
		return lock_op(s);
	default:
		return stack_op(s);
	}
}

/*
 * The program changes itself: an immediate byte, one before or the one of the next instruction, by an absolute
 * address or by a register.
 */
bool seq_patch_itself(struct seq *s)
{
	struct diff_case *k = s->k;
	bool next = !k->nr_imms || seq_one_in(s, 3);
	uint8_t b[16], reg = (uint8_t)seq_any_reg(s);
	unsigned int n = 0, at;

	if (reg == CPU_RSP || ((k->counters | k->pointers | k->smalls) >> reg & 1))
		return false;
	/* movb $imm8, (at): 7 bytes, or 8 with a SIB byte; then mov $imm32, reg */
	n = k->is32 ? 7 : 8;
	at = next ? k->len + n + (reg >= 8 ? 2 : 1) : k->imm[seq_below(s, k->nr_imms)];
	b[0] = 0xc6;
	b[1] = k->is32 ? 5 : 4;
	b[2] = 0x25;
	put_le32(b + n - 5, (uint32_t)k->rip + at);
	b[n - 1] = (uint8_t)rng_next(s->r);
	if (!seq_emit(s, b, n, true))
		return false;
	return !next || seq_set_reg(s, reg, (uint32_t)rng_next(s->r));
}

/* Ports and a page of a device, from what the test says. */
bool seq_port_io(struct seq *s)
{
	uint8_t b[3];
	unsigned int n = 0;

	if (seq_one_in(s, 4))
		b[n++] = 0x66;
	b[n++] = (uint8_t)(0xe4 | seq_below(s, 4));
	b[n++] = (uint8_t)(0x10 + seq_below(s, 8));
	return seq_emit(s, b, n, true);
}

bool seq_from_table(struct seq *s)
{
	uint8_t buf[48];
	unsigned int n = gen_any(s->r, s->k->is32, buf);

	return !gen_has_syscall(buf, n) && seq_emit(s, buf, n, false);
}
