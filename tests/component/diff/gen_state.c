/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values: integers near the edges of their widths, floating-point numbers of every class, pointers near the
 * edges of pages; and operands that reach the test's memory with contents that the instruction accepts.
 */
#include <string.h>

#include "base/bytes.h"
#include "gen.h"

uint64_t gen_integer(struct rng *r)
{
	static const uint64_t edges[] = {
		0,
		1,
		2,
		0x7f,
		0x80,
		0xff,
		0x7fff,
		0x8000,
		0xffff,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x100000000,
		0x7fffffffffffffff,
		0x8000000000000000,
		UINT64_MAX,
		UINT64_MAX - 1,
		0xffffffff80000000,
		0x00007fffffffffff,
		0x0000800000000000,
		0xffff7fffffffffff,
		0xffff800000000000,
		0x5555555555555555,
		0x4000000000000000,
	};

	switch (rng_below(r, 6)) {
	case 0:
		return edges[rng_below(r, sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return rng_below(r, 70);
	case 2:
		return 0 - (uint64_t)rng_below(r, 70);
	case 3:
		return rng_next(r) >> rng_below(r, 64);
	default:
		return rng_next(r);
	}
}

/* A place for an operand of @size bytes. */
uint64_t gen_pointer(struct rng *r, unsigned int size)
{
	static const uint32_t edges[] = { DIFF_DATA, DIFF_DATA + 0x1000, DIFF_RO,
					  DIFF_HOLE, DIFF_RW2,		 DIFF_RW2 + 0x1000 };
	uint32_t align = size ? size : 16;

	switch (rng_below(r, 16)) {
	case 0: /* across or near an edge */
	case 1:
		return edges[rng_below(r, 6)] - rng_below(r, 2 * align + 1);
	case 2:
		return edges[rng_below(r, 6)] + rng_below(r, align);
	case 3:
		return DIFF_RO + rng_below(r, 0x1000);
	case 4:
		return rng_one_in(r, 4) ? gen_integer(r) : DIFF_HOLE + rng_below(r, 0x1000);
	case 5:
	case 6:
		return DIFF_DATA + rng_below(r, DIFF_RW_SIZE);
	default:
		return DIFF_DATA + (rng_below(r, DIFF_RW_SIZE - 1024) & ~63u);
	}
}

static uint32_t gen_f32(struct rng *r)
{
	static const uint32_t edges[] = {
		0,	    0x80000000, 1,	    0x80000001, 0x007fffff, 0x00800000,
		0x80800000, 0x3f800000, 0xbf800000, 0x7f7fffff, 0xff7fffff, 0x7f800000,
		0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x4f000000,
		0xcf000000, 0x5f000000, 0x3f000000, 0x40490fdb, 0x4effffff,
	};

	if (rng_one_in(r, 2))
		return edges[rng_below(r, sizeof(edges) / sizeof(edges[0]))];
	return (uint32_t)rng_next(r);
}

static uint64_t gen_f64(struct rng *r)
{
	static const uint64_t edges[] = {
		0,
		0x8000000000000000,
		1,
		0x800fffffffffffff,
		0x0010000000000000,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x7fefffffffffffff,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0xfff8000000000000,
		0x7ff0000000000001,
		0xfff7ffffffffffff,
		0x41e0000000000000,
		0x43e0000000000000,
		0xc3e0000000000000,
		0x3fe0000000000000,
		0x400921fb54442d18,
		0x36a0000000000000,
		0x380fffffffffffff,
		0x47efffffffffffff,
	};

	if (rng_one_in(r, 2))
		return edges[rng_below(r, sizeof(edges) / sizeof(edges[0]))];
	return rng_next(r);
}

static void gen_f80(struct rng *r, uint8_t b[10])
{
	static const uint16_t exps[] = { 0,	 1,	 0x3fff, 0x7ffe, 0x7fff,
					 0x3ffe, 0x4000, 0x403e, 0x3f80 };
	uint64_t m = rng_one_in(r, 2) ? UINT64_C(1) << 63 : rng_next(r);
	uint16_t e = rng_one_in(r, 2) ? exps[rng_below(r, 9)]
				      : (uint16_t)(0x3fff + rng_below(r, 128) - 64);

	if (rng_one_in(r, 6))
		m = rng_one_in(r, 2) ? 0 : rng_next(r);
	else if (!rng_one_in(r, 8))
		m |= e ? UINT64_C(1) << 63 : 0;
	if (rng_one_in(r, 8))
		m = rng_one_in(r, 2) ? UINT64_C(0xc000000000000000) : UINT64_C(0x8000000000000001);
	put_le64(b, m);
	put_le16(b + 8, (uint16_t)(e | (rng_next(r) & 0x8000)));
}

void gen_floats(struct rng *r, uint8_t *buf, unsigned int len)
{
	unsigned int kind = rng_below(r, 4);

	for (unsigned int k = 0; k + 8 <= len; k += 8) {
		if (rng_one_in(r, 8))
			kind = rng_below(r, 4);
		switch (kind) {
		case 0:
			put_le32(buf + k, gen_f32(r));
			put_le32(buf + k + 4, gen_f32(r));
			break;
		case 1:
			put_le64(buf + k, gen_f64(r));
			break;
		case 2:
			put_le64(buf + k, gen_integer(r));
			break;
		default:
			put_le64(buf + k, rng_next(r));
		}
	}
}

void gen_data(uint64_t seed, uint64_t block, uint8_t data[DIFF_DATA_SIZE])
{
	struct rng r = { seed ^ ~block * UINT64_C(0x9fb21c651e98df25) };

	gen_floats(&r, data, DIFF_DATA_SIZE);
	for (unsigned int k = 0; k < DIFF_DATA_SIZE; k += 160)
		gen_f80(&r, data + k);
}

static void gen_fpu(struct rng *r, struct cpu_fpu *f)
{
	unsigned int top = rng_one_in(r, 2) ? 0 : rng_below(r, 8);

	f->mxcsr = 0x1f80;
	if (rng_one_in(r, 2))
		f->mxcsr |= rng_next(r) & 0xe07f; /* rounding, FTZ, DAZ, flags */
	if (rng_one_in(r, 8))
		f->mxcsr &= ~(uint32_t)(rng_next(r) & 0x1f80);
	f->mxcsr_mask = 0xffff;
	f->fcw = 0x37f;
	if (rng_one_in(r, 2))
		f->fcw = (uint16_t)(0x7f | (rng_next(r) & 0x1f00));
	if (rng_one_in(r, 8))
		f->fcw &= (uint16_t)(0xffc0 | rng_next(r));
	f->fcw = (f->fcw & 0x1f7f) | 0x40;
	f->fsw = (uint16_t)((rng_next(r) & 0x4700) | top << 11);
	if (rng_one_in(r, 4))
		f->fsw |= rng_next(r) & 0x7f;
	if (!rng_one_in(r, 16)) /* mostly nothing pending */
		f->fsw &= (uint16_t) ~(~f->fcw & 0x3f);
	if (f->fsw & ~f->fcw & 0x3f)
		f->fsw |= 0x8080;
	f->ftw = rng_one_in(r, 3) ? (uint8_t)rng_next(r) : rng_one_in(r, 2) ? 0xff : 0x7e;
	f->fop = rng_next(r) & 0x7ff;
	f->fip = DIFF_CODE + rng_below(r, 0x1000);
	f->fdp = DIFF_DATA + rng_below(r, 0x1000);
	f->fcs = f->fds = 0;
	for (unsigned int k = 0; k < 8; k++)
		gen_f80(r, f->st[k]);
	gen_floats(r, f->xmm[0], sizeof(f->xmm));
	gen_floats(r, f->ymm_hi[0], sizeof(f->ymm_hi));
}

/* Vector registers in their initial state, for XSAVE. Only where nothing runs before it: a register that was
 * written, be it with zero, counts as used in a way that is not defined. */
static void gen_initial_state(struct rng *r, struct cpu_fpu *f)
{
	if (rng_one_in(r, 3))
		memset(f->xmm, 0, sizeof(f->xmm));
	if (rng_one_in(r, 3))
		memset(f->ymm_hi, 0, sizeof(f->ymm_hi));
}

void gen_registers(struct rng *r, struct diff_case *k)
{
	for (unsigned int n = 0; n < 16; n++)
		k->gpr[n] = rng_one_in(r, 3) ? gen_pointer(r, 1u << rng_below(r, 6))
					     : gen_integer(r);
	k->gpr[CPU_RSP] = gen_pointer(r, 8);
	if (!rng_one_in(r, 4)) {
		k->gpr[CPU_RSI] = gen_pointer(r, 8);
		k->gpr[CPU_RDI] = gen_pointer(r, 8);
	}
	if (!rng_one_in(r, 4))
		k->gpr[CPU_RCX] = rng_below(r, 40);
	k->rflags = RFLAGS_FIXED1 | RFLAGS_IF | (rng_next(r) & RFLAGS_STATUS);
	if (rng_one_in(r, 3))
		k->rflags |= RFLAGS_DF;
	if (rng_one_in(r, 16))
		k->rflags |= RFLAGS_AC;
	if (rng_one_in(r, 16))
		k->rflags |= RFLAGS_ID;
	if (rng_one_in(r, 64))
		k->rflags |= RFLAGS_TF;
	k->fs_base = DIFF_DATA + (rng_below(r, 0x1000) & ~15u);
	k->gs_base = DIFF_DATA + (rng_below(r, 0x1000) & ~15u);
	gen_fpu(r, &k->fpu);
	if (k->is32)
		for (unsigned int n = 0; n < 16; n++)
			k->gpr[n] = (uint32_t)k->gpr[n];
}

/* --- operands ---------------------------------------------------------------------------------------- */

static int gpr_number(ZydisRegister reg, unsigned int *bits)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR64:
		*bits = 64;
		break;
	case ZYDIS_REGCLASS_GPR32:
		*bits = 32;
		break;
	case ZYDIS_REGCLASS_GPR16:
		*bits = 16;
		break;
	default:
		return -1;
	}
	return ZydisRegisterGetId(reg);
}

static void patch(struct diff_case *k, uint64_t lin, const void *bytes, uint32_t len)
{
	struct diff_patch *p;
	uint64_t off = lin - DIFF_DATA;

	if (off >= DIFF_RO + 0x1000 - DIFF_DATA || off + len > DIFF_RO + 0x1000 - DIFF_DATA ||
	    k->nr_patches == DIFF_MAX_PATCHES)
		return;
	p = &k->patch[k->nr_patches++];
	p->off = (uint32_t)off;
	p->len = len;
	memcpy(p->bytes, bytes, len);
}

/* Contents that a state-loading instruction does not refuse, most of the time. */
static void wanted_contents(struct rng *r, struct diff_case *k, uint64_t lin)
{
	uint8_t b[80] = { 0 };
	uint32_t mxcsr = (uint32_t)rng_next(r) & (rng_one_in(r, 8) ? 0xfffdffff : 0xffff);

	switch (k->zi.mnemonic) {
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
		put_le32(b, mxcsr);
		patch(k, lin, b, 4);
		break;
	case ZYDIS_MNEMONIC_FLDCW:
		put_le16(b, (uint16_t)(rng_next(r) | (rng_one_in(r, 4) ? 0 : 0x3f)));
		patch(k, lin, b, 2);
		break;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		put_le32(b, mxcsr);
		patch(k, lin + 24, b, 4);
		break;
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
		put_le32(b, mxcsr);
		patch(k, lin + 24, b, 4);
		put_le32(b, 0);
		b[0] = (uint8_t)rng_below(r, rng_one_in(r, 16) ? 16 : 8);
		if (rng_one_in(r, 16))
			b[rng_below(r, 64)] ^= (uint8_t)(1 << rng_below(r, 8));
		patch(k, lin + 512, b, 64);
		gen_initial_state(r, &k->fpu);
		if (!rng_one_in(r, 8)) {
			k->gpr[CPU_RAX] = rng_below(r, 8);
			k->gpr[CPU_RDX] = 0;
		}
		break;
	default:
		break;
	}
}

void gen_operands(struct rng *r, struct diff_case *k, const ZydisDecodedOperand *op)
{
	for (unsigned int n = 0; n < k->zi.operand_count; n++) {
		const ZydisDecodedOperandMem *m = &op[n].mem;
		unsigned int bits = 64, ibits = 64, size = op[n].size / 8;
		uint64_t target, index = 0, base;
		int b, x;

		if (op[n].type != ZYDIS_OPERAND_TYPE_MEMORY || rng_one_in(r, 16))
			continue;
		target = gen_pointer(r, size);
		if (size >= 512 && !rng_one_in(r, 8))
			target = DIFF_DATA + (rng_below(r, 0x1f00) & ~63u);
		b = gpr_number(m->base, &bits);
		x = gpr_number(m->index, &ibits);
		if (op[n].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
		    (b != CPU_RDI && b != CPU_RSI && b != CPU_RBX))
			continue;
		if (x >= 0 && x != b && rng_one_in(r, 2))
			k->gpr[x] = rng_below(r, 64) - 32;
		if (x >= 0)
			index = k->gpr[x];
		base = target - index * m->scale -
		       (m->disp.has_displacement ? (uint64_t)m->disp.value : 0);
		if (m->segment == ZYDIS_REGISTER_FS)
			base -= k->fs_base;
		if (m->segment == ZYDIS_REGISTER_GS)
			base -= k->gs_base;
		if (b >= 0 && b != x && bits >= 32)
			k->gpr[b] = k->is32 ? (uint32_t)base : base;
		else if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP)
			put_le32(k->code + k->zi.raw.disp.offset,
				 (uint32_t)(target - (k->rip + k->zi.length)));
		else if (m->base == ZYDIS_REGISTER_NONE && m->index == ZYDIS_REGISTER_NONE &&
			 k->zi.raw.disp.size == 32)
			put_le32(k->code + k->zi.raw.disp.offset, (uint32_t)target);
		/* A gather's index: mostly small. */
		if (ZydisRegisterGetClass(m->index) == ZYDIS_REGCLASS_XMM ||
		    ZydisRegisterGetClass(m->index) == ZYDIS_REGCLASS_YMM) {
			unsigned int v = (unsigned int)ZydisRegisterGetId(m->index) & 15;
			bool wide = k->zi.mnemonic == ZYDIS_MNEMONIC_VGATHERQPS ||
				    k->zi.mnemonic == ZYDIS_MNEMONIC_VGATHERQPD ||
				    k->zi.mnemonic == ZYDIS_MNEMONIC_VPGATHERQD ||
				    k->zi.mnemonic == ZYDIS_MNEMONIC_VPGATHERQQ;

			for (unsigned int e = 0; e < 8; e++) {
				uint8_t *p = e < 4 ? k->fpu.xmm[v] + 4 * e
						   : k->fpu.ymm_hi[v] + 4 * (e - 4);
				uint32_t small =
					rng_below(r, rng_one_in(r, 16) ? 0x4000 : 256) - 64;

				put_le32(p, wide && (e & 1)
						    ? (get_le32(p - 4) >> 31 ? UINT32_MAX : 0)
						    : small);
			}
		}
		wanted_contents(r, k, target);
	}
}
