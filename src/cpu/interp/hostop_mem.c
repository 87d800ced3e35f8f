/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector instructions that are not "load operands, compute, store": masked moves and gathers touch memory
 * element by element and fault only for elements that are asked for; non-temporal stores must become
 * ordinary ones, because the host would order them only at a fence that the guest runs and we need not.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/interp/fpu.h"

static uint8_t *xmm(struct cpu *c, unsigned int n)
{
	return c->st.fpu.xmm[n & 15];
}

/* A whole vector register, both halves. */
static void vec_get(const struct cpu *c, unsigned int n, uint8_t v[32])
{
	memcpy(v, c->st.fpu.xmm[n & 15], 16);
	memcpy(v + 16, c->st.fpu.ymm_hi[n & 15], 16);
}

static void vec_set(struct cpu *c, unsigned int n, const uint8_t v[32])
{
	memcpy(c->st.fpu.xmm[n & 15], v, 16);
	memcpy(c->st.fpu.ymm_hi[n & 15], v + 16, 16);
}

/* --- non-temporal stores: dst = register number, opsize = bytes ------------------------------------- */

static void nt_store(struct cpu *c, const struct insn *i, const uint8_t *value, bool aligned)
{
	uint64_t lin, ea = insn_ea(c, i);
	unsigned int how = i->flags & INSN_SS;
	void *host;

	if (aligned)
		hostop_aligned(c, i, ea, i->opsize);
	lin = seg_lin(c, i->seg, ea, i->opsize, true);
	mem_align(c, lin, i->opsize, MIN(i->opsize, 16), how);
	host = mem_host(c, lin, i->opsize, how | MEM_RMW);
	if (host) {
		memcpy(host, value, i->opsize);
		mem_host_wrote(c, lin, host, i->opsize);
	} else {
		st_bytes(c, lin, value, i->opsize, how);
	}
}

static void do_movnt_sse(struct cpu *c, const struct insn *i)
{
	hostop_check_sse(c);
	nt_store(c, i, xmm(c, i->dst), i->opsize == 16); /* MOVNTSS and MOVNTSD: any alignment */
}

static void do_movnt_avx(struct cpu *c, const struct insn *i)
{
	uint8_t v[32];

	hostop_check_avx(c);
	vec_get(c, i->dst, v);
	nt_store(c, i, v, true);
}

static void do_movntq(struct cpu *c, const struct insn *i)
{
	unsigned int top = c->st.fpu.fsw >> FSW_TOP_SHIFT & 7;

	hostop_check_mmx(c);
	nt_store(c, i, c->st.fpu.st[(i->dst - top) & 7], false);
	hostop_mmx_enter(&c->st.fpu);
}

/* --- MASKMOVQ, MASKMOVDQU: dst, src = register numbers ----------------------------------------------- */

static void masked_bytes(struct cpu *c, const struct insn *i, const uint8_t *value,
			 const uint8_t *mask, unsigned int n)
{
	uint64_t ea = c->st.r[CPU_RDI], lin[2] = { 0 };

	ea = i->asize == 8 ? ea : i->asize == 4 ? (uint32_t)ea : (uint16_t)ea;
	/* Eight bytes at a time are checked, whatever the mask says, before anything is written. */
	for (unsigned int k = 0; k < n / 8; k++) {
		lin[k] = seg_lin(c, i->seg, ea + 8 * k, 8, true);
		mem_align(c, lin[k], 8, 8, 0);
		mem_probe(c, lin[k], 8, MEM_RMW);
	}
	for (unsigned int k = 0; k < n; k++)
		if (mask[k] & 0x80)
			st8(c, lin[k / 8] + k % 8, value[k], 0);
}

static void do_maskmovdqu(struct cpu *c, const struct insn *i)
{
	hostop_check_sse(c);
	masked_bytes(c, i, xmm(c, i->dst), xmm(c, i->src), 16);
}

static void do_vmaskmovdqu(struct cpu *c, const struct insn *i)
{
	hostop_check_avx(c);
	masked_bytes(c, i, xmm(c, i->dst), xmm(c, i->src), 16);
}

static void do_maskmovq(struct cpu *c, const struct insn *i)
{
	hostop_check_mmx(c);
	hostop_mmx_enter(&c->st.fpu); /* also when memory faults, as AMD's processors do */
	masked_bytes(c, i, c->st.fpu.st[i->dst & 7], c->st.fpu.st[i->src & 7], 8);
}

/* --- VMASKMOV, VPMASKMOV: dst = data, src = mask, opsize = vector bytes, imm = element bytes ---------- */

static bool element_wanted(const uint8_t *mask, unsigned int off, unsigned int elem)
{
	return mask[off + elem - 1] & 0x80;
}

/* Each element is an access of its own; none of them is checked for alignment. */
static uint64_t element_lin(struct cpu *c, const struct insn *i, unsigned int off,
			    unsigned int elem, bool write)
{
	uint64_t ea = insn_ea(c, i) + off;

	if (i->asize != 8)
		ea = i->asize == 4 ? (uint32_t)ea : (uint16_t)ea;
	return seg_lin(c, i->seg, ea, elem, write);
}

static void do_vmaskmov_load(struct cpu *c, const struct insn *i)
{
	unsigned int elem = (unsigned int)i->imm, how = i->flags & INSN_SS;
	uint8_t mask[32], v[32] = { 0 };
	uint64_t lin;

	hostop_check_avx(c);
	vec_get(c, i->src, mask);
	for (unsigned int k = 0; k < i->opsize; k += elem) {
		if (!element_wanted(mask, k, elem))
			continue;
		lin = element_lin(c, i, k, elem, false);
		ld_bytes(c, lin, v + k, elem, how);
	}
	vec_set(c, i->dst, v);
}

static void do_vmaskmov_store(struct cpu *c, const struct insn *i)
{
	unsigned int elem = (unsigned int)i->imm, how = i->flags & INSN_SS;
	uint8_t mask[32], v[32];
	uint64_t lin;

	hostop_check_avx(c);
	vec_get(c, i->src, mask);
	vec_get(c, i->dst, v);
	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int k = 0; k < i->opsize; k += elem) {
			if (!element_wanted(mask, k, elem))
				continue;
			lin = element_lin(c, i, k, elem, true);
			if (pass == 0)
				mem_probe(c, lin, elem, how | MEM_RMW);
			else
				st_bytes(c, lin, v + k, elem, how);
		}
	}
}

/* --- gathers: dst, src = data and mask, index = vector register, imm = element bytes | index bytes << 8
 * | number of elements << 16 -------------------------------------------------------------------------- */

static void do_gather(struct cpu *c, const struct insn *i)
{
	unsigned int elem = i->imm & 0xff, isize = i->imm >> 8 & 0xff, n = i->imm >> 16 & 0xff;
	unsigned int how = i->flags & INSN_SS, bytes = elem * n;
	uint8_t index[32], v[32], mask[32];

	hostop_check_avx(c);
	vec_get(c, i->index, index);
	vec_get(c, i->dst, v);
	vec_get(c, i->src, mask);
	/* Elements not gathered because of a fault keep their mask: a fault leaves what is done so far. */
	for (unsigned int k = 0; k < n; k++) {
		int64_t off = isize == 8 ? (int64_t)get_le64(index + 8 * k)
					 : (int64_t)(int32_t)get_le32(index + 4 * k);
		uint64_t ea =
			c->st.r[i->base] + ((uint64_t)off << i->scale) + (uint64_t)(int64_t)i->disp;

		if (element_wanted(mask, k * elem, elem)) {
			if (i->asize != 8)
				ea = (uint32_t)ea;
			ld_bytes(c, seg_lin(c, i->seg, ea, elem, false), v + k * elem, elem, how);
			memcpy(xmm(c, i->dst), v, 16);
			memcpy(c->st.fpu.ymm_hi[i->dst & 15], v + 16, 16);
		}
		memset(mask + k * elem, 0, elem);
		vec_set(c, i->src, mask);
	}
	memset(v + bytes, 0, 32 - bytes);
	vec_set(c, i->dst, v);
	memset(mask, 0, sizeof(mask));
	vec_set(c, i->src, mask);
}

/* --- VZEROUPPER, VZEROALL ---------------------------------------------------------------------------- */

static unsigned int nr_vectors(const struct cpu *c)
{
	return c->mode == CPU_MODE_64 ? 16 : 8;
}

static void do_vzeroupper(struct cpu *c, const struct insn *i)
{
	hostop_check_avx(c);
	memset(c->st.fpu.ymm_hi, 0, 16 * nr_vectors(c));
}

static void do_vzeroall(struct cpu *c, const struct insn *i)
{
	hostop_check_avx(c);
	memset(c->st.fpu.xmm, 0, 16 * nr_vectors(c));
	memset(c->st.fpu.ymm_hi, 0, 16 * nr_vectors(c));
}

/* --- binding ----------------------------------------------------------------------------------------- */

static uint16_t reg_operand(const struct dec *d, unsigned int k)
{
	return (uint16_t)hostop_reg_number(d->op[k].reg.value);
}

static interp_fn *bind_gather(const struct dec *d, struct insn *i)
{
	const ZydisDecodedOperandMem *m = &d->op[1].mem;
	unsigned int elem, isize, n;

	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_VGATHERDPS:
	case ZYDIS_MNEMONIC_VPGATHERDD:
		elem = 4, isize = 4;
		break;
	case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPGATHERQD:
		elem = 4, isize = 8;
		break;
	case ZYDIS_MNEMONIC_VGATHERDPD:
	case ZYDIS_MNEMONIC_VPGATHERDQ:
		elem = 8, isize = 4;
		break;
	default:
		elem = 8, isize = 8;
	}
	n = (d->zi.raw.vex.L ? 32 : 16) / MAX(elem, isize);
	i->dst = reg_operand(d, 0);
	i->src = reg_operand(d, 2);
	i->index = (uint8_t)hostop_reg_number(m->index);
	if (i->dst == i->src || i->dst == i->index || i->src == i->index)
		return NULL;
	i->scale = (uint8_t)__builtin_ctz(m->scale ? m->scale : 1);
	i->imm = elem | isize << 8 | n << 16;
	return do_gather;
}

interp_fn *hostop_special(const struct dec *d, struct insn *i)
{
	if (d->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    d->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return NULL;
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_VZEROUPPER:
		return do_vzeroupper;
	case ZYDIS_MNEMONIC_VZEROALL:
		return do_vzeroall;
	case ZYDIS_MNEMONIC_MOVNTQ:
	case ZYDIS_MNEMONIC_MOVNTSS:
	case ZYDIS_MNEMONIC_MOVNTSD:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
		i->dst = reg_operand(d, 1);
		i->opsize = (uint8_t)(d->op[0].size / 8);
		if (d->zi.mnemonic == ZYDIS_MNEMONIC_MOVNTQ)
			return do_movntq;
		return d->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? do_movnt_avx
									: do_movnt_sse;
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		i->dst = reg_operand(d, 0);
		i->src = reg_operand(d, 1);
		/* The memory operand is hidden: the segment is DS or an override. */
		for (unsigned int k = 0; k < d->zi.operand_count; k++)
			if (d->op[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
				i->seg = hostop_segment(d, d->op[k].mem.segment);
		return d->zi.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ     ? do_maskmovq
		       : d->zi.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ? do_maskmovdqu
								     : do_vmaskmovdqu;
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ: {
		bool store = d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

		i->dst = reg_operand(d, store ? 2 : 0);
		i->src = reg_operand(d, 1);
		i->opsize = d->zi.raw.vex.L ? 32 : 16;
		i->imm = d->zi.mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS ||
					 d->zi.mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD
				 ? 4
				 : 8;
		return store ? do_vmaskmov_store : do_vmaskmov_load;
	}
	case ZYDIS_MNEMONIC_VGATHERDPS:
	case ZYDIS_MNEMONIC_VGATHERDPD:
	case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VGATHERQPD:
	case ZYDIS_MNEMONIC_VPGATHERDD:
	case ZYDIS_MNEMONIC_VPGATHERDQ:
	case ZYDIS_MNEMONIC_VPGATHERQD:
	case ZYDIS_MNEMONIC_VPGATHERQQ:
		return bind_gather(d, i);
	default:
		return NULL;
	}
}

uint8_t hostop_segment(const struct dec *d, ZydisRegister seg)
{
	unsigned int n = (unsigned int)ZydisRegisterGetId(seg);

	return d->mode == CPU_MODE_64 && n < CPU_FS ? SEG_FLAT : (uint8_t)n;
}
