/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FXSAVE, FXRSTOR, the XSAVE family and MXCSR.
 *
 * struct cpu_fpu is the standard XSAVE image, so most of it is copying; what is not: 32-bit pointer formats,
 * eight vector registers outside of 64-bit mode, exception pointers that are stored only while an x87
 * exception is pending (as AMD's FPU does), and which component is in its initial state. That is decided by
 * content, as AMD's hardware does for vector registers. Components: 0 x87, 1 SSE, 2 AVX.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/interp/fpu.h"
#include "cpu/mmu.h"

enum { X87 = 1, SSE = 2, AVX = 4 };
enum {
	OFF_MXCSR = 24,
	OFF_ST = 32,
	OFF_XMM = 160,
};
#define XCOMP_COMPACT (UINT64_C(1) << 63)

/* @n: a multiple of 8. No early end: what is asked about is a few lines that are mostly not zero, or all are. */
static inline bool is_zero(const void *p, unsigned int n)
{
	const uint8_t *b = p;
	uint64_t any = 0;

	for (unsigned int k = 0; k < n; k += 8)
		any |= get_le64(b + k);
	return any == 0;
}

static unsigned int nr_vectors(const struct cpu *c)
{
	return c->mode == CPU_MODE_64 ? 16 : 8;
}

static void check_nm_all(struct cpu *c)
{
	if (unlikely(c->st.cr0 & (CR0_EM | CR0_TS)))
		cpu_raise(c, VEC_NM);
}

/* Bytes 0 to 23 of the image. @wide: REX.W, 64-bit pointers without selectors. */
static void x87_head(const struct cpu_fpu *f, bool wide, uint8_t b[24])
{
	bool pending = f->fsw & FSW_ES;

	memset(b, 0, 24);
	put_le16(b, f->fcw);
	put_le16(b + 2, f->fsw);
	b[4] = f->ftw;
	if (!pending)
		return;
	put_le16(b + 6, f->fop);
	put_le64(b + 8, wide ? f->fip : (uint32_t)f->fip | (uint64_t)f->fcs << 32);
	put_le64(b + 16, wide ? f->fdp : (uint32_t)f->fdp | (uint64_t)f->fds << 32);
}

static void x87_load(struct cpu_fpu *f, bool wide, const uint8_t *image)
{
	f->fcw = (get_le16(image) & 0x1f7f) | 0x40;
	f->fsw = get_le16(image + 2);
	f->ftw = image[4];
	f->fop = get_le16(image + 6) & 0x7ff;
	f->fip = get_le64(image + 8);
	f->fdp = get_le64(image + 16);
	if (!wide) {
		f->fcs = (uint16_t)(f->fip >> 32);
		f->fds = (uint16_t)(f->fdp >> 32);
		f->fip = (uint32_t)f->fip;
		f->fdp = (uint32_t)f->fdp;
	} else { /* the hardware has 48 bits */
		f->fip = (uint64_t)((int64_t)(f->fip << 16) >> 16);
		f->fdp = (uint64_t)((int64_t)(f->fdp << 16) >> 16);
		f->fcs = f->fds = 0;
	}
	for (unsigned int k = 0; k < 8; k++) {
		memset(f->st[k], 0, 16);
		memcpy(f->st[k], image + OFF_ST + 16 * k, 10);
	}
	fpu_update_es(f);
}

/* The registers as FXSAVE writes them: the unused bytes of each are zero. */
static void x87_registers(const struct cpu_fpu *f, uint8_t b[128])
{
	memset(b, 0, 128);
	for (unsigned int k = 0; k < 8; k++)
		memcpy(b + 16 * k, f->st[k], 10);
}

/*
 * Linear address of an area. Before its limit and its pages are checked as a whole, the hardware looks at
 * alignment and at both ends, FXSAVE and FXRSTOR at the last byte first, XSAVE and XRSTOR at the first byte;
 * the offset of the last one wraps at the address size. This decides what fault is told.
 */
static uint64_t aligned_operand(struct cpu *c, const struct insn *i, unsigned int size,
				unsigned int align, bool write)
{
	unsigned int how = (i->flags & INSN_SS) | (write ? MEM_RMW : 0);
	uint64_t base = i->seg == SEG_FLAT ? 0 : c->st.seg[i->seg].base, ea = insn_ea(c, i);
	uint64_t mask = i->asize == 8 ? UINT64_MAX : i->asize == 4 ? UINT32_MAX : UINT16_MAX;
	uint64_t first = seg_lin(c, i->seg, ea, align == 16 ? 4 : 1, false),
		 last = ((ea + size - 1) & mask) + base;

	if (c->mode != CPU_MODE_64)
		last = (uint32_t)last;
	if (align == 16) {
		mem_align(c, first, 4, 4, how);
		if (unlikely(!mmu_is_canonical(c, first)))
			cpu_raise_err(c, i->flags & INSN_SS ? VEC_SS : VEC_GP, 0);
	}
	hostop_aligned(c, i, ea, align);
	first = seg_lin(c, i->seg, ea, 1, write);
	if (align == 16)
		mem_probe(c, last, 1, how);
	mem_probe(c, first, 1, how);
	mem_probe(c, last, 1, how);
	return seg_lin(c, i->seg, ea, size, write);
}

/*
 * Host address of an area that is in the TLB, aligned and within one page, where nothing can fault; else NULL. Guest
 * kernels save and restore state at each switch between tasks, nearly always in such an area.
 */
static uint8_t *area_host(struct cpu *c, const struct insn *i, unsigned int size,
			  unsigned int align, bool write)
{
	uint64_t lin = insn_ea(c, i);
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);

	if (c->mode != CPU_MODE_64 || i->seg != SEG_FLAT || (lin & (align - 1)) ||
	    (write ? e->w : e->r) != ((lin + size - 1) & ~GUEST_PAGE_MASK))
		return NULL;
	return tlb_host(e, lin);
}

static inline void fxsave_image(const struct cpu_fpu *f, bool wide, unsigned int nvec, uint8_t *b)
{
	x87_head(f, wide, b);
	put_le32(b + OFF_MXCSR, f->mxcsr);
	put_le32(b + OFF_MXCSR + 4, MXCSR_MASK);
	x87_registers(f, b + OFF_ST);
	memcpy(b + OFF_XMM, f->xmm, 16 * nvec);
}

static _noinline_ void fxsave_slow(struct cpu *c, const struct insn *i)
{
	unsigned int size = OFF_XMM + 16 * nr_vectors(c);
	uint64_t lin = aligned_operand(c, i, 512, 16, true);
	uint8_t b[416];

	fxsave_image(&c->st.fpu, i->opsize == 8, nr_vectors(c), b);
	mem_probe(c, lin, 512, (i->flags & INSN_SS) | MEM_RMW);
	st_bytes(c, lin, b, size, i->flags & INSN_SS);
}

static void do_fxsave(struct cpu *c, const struct insn *i)
{
	uint8_t *host;

	check_nm_all(c);
	host = area_host(c, i, 512, 16, true);
	if (unlikely(!host)) {
		fxsave_slow(c, i);
		return;
	}
	fxsave_image(&c->st.fpu, i->opsize == 8, 16, host);
	mem_host_wrote(c, insn_ea(c, i), host, 512);
}

static inline void fxrstor_image(struct cpu *c, const struct insn *i, const uint8_t *b)
{
	uint32_t mxcsr = get_le32(b + OFF_MXCSR);
	struct cpu_fpu *f = &c->st.fpu;

	if (mxcsr & ~(uint32_t)MXCSR_MASK)
		cpu_raise_err(c, VEC_GP, 0);
	x87_load(f, i->opsize == 8, b);
	f->mxcsr = mxcsr;
	memcpy(f->xmm, b + OFF_XMM, 16 * nr_vectors(c));
}

static _noinline_ void fxrstor_slow(struct cpu *c, const struct insn *i)
{
	uint8_t b[512];

	ld_bytes(c, aligned_operand(c, i, 512, 16, false), b, 512, i->flags & INSN_SS);
	fxrstor_image(c, i, b);
}

static void do_fxrstor(struct cpu *c, const struct insn *i)
{
	const uint8_t *host;

	check_nm_all(c);
	host = area_host(c, i, 512, 16, false);
	if (likely(host))
		fxrstor_image(c, i, host);
	else
		fxrstor_slow(c, i);
}

/* --- XSAVE ------------------------------------------------------------------------------------------ */

/* Which components are not in their initial state. */
static uint64_t in_use(const struct cpu_fpu *f)
{
	uint64_t used = 0;

	if (f->fcw != FCW_INIT || f->fsw || f->ftw || !is_zero(f->st, sizeof(f->st)))
		used |= X87;
	if (!is_zero(f->xmm, sizeof(f->xmm)))
		used |= SSE;
	if (!is_zero(f->ymm_hi, sizeof(f->ymm_hi)))
		used |= AVX;
	return used;
}

static void check_xsave(struct cpu *c)
{
	if (!(c->st.cr4 & CR4_OSXSAVE))
		cpu_raise(c, VEC_UD);
	if (c->st.cr0 & CR0_TS)
		cpu_raise(c, VEC_NM);
}

static uint64_t requested(const struct cpu *c)
{
	return (c->st.gpr[CPU_RAX] & 0xffffffff) | c->st.gpr[CPU_RDX] << 32;
}

/* Compacted areas hold only the components of XCOMP_BV, one behind the other. */
static unsigned int pkru_offset(uint64_t xcomp)
{
	return (xcomp & XCOMP_COMPACT) && !(xcomp & AVX) ? XSAVE_YMM : XSAVE_PKRU;
}

enum save_kind { SAVE_ALL, SAVE_OPT, SAVE_COMPACT };

/* What is to be written where. */
struct xarea {
	enum save_kind kind;
	bool wide;
	unsigned int nvec;
	uint64_t mask, used, write; /* components */
};

static bool writes_mxcsr(const struct xarea *x)
{
	return x->kind == SAVE_COMPACT ? x->write & SSE : x->mask & (SSE | AVX);
}

/* Everything at once into an area of host memory where nothing can fault. Without PKRU. */
static inline void save_host(const struct cpu_fpu *f, const struct xarea *x, uint8_t *b)
{
	uint64_t bv = 0;

	if (x->write & X87) {
		x87_head(f, x->wide, b);
		x87_registers(f, b + OFF_ST);
	}
	if (writes_mxcsr(x)) {
		put_le32(b + OFF_MXCSR, f->mxcsr);
		put_le32(b + OFF_MXCSR + 4, MXCSR_MASK);
	}
	if (x->write & SSE)
		memcpy(b + OFF_XMM, f->xmm, sizeof(f->xmm));
	if (x->write & AVX)
		memcpy(b + XSAVE_YMM, f->ymm_hi, sizeof(f->ymm_hi));
	if (x->kind == SAVE_COMPACT)
		put_le64(b + XSAVE_HEADER + 8, XCOMP_COMPACT | x->mask);
	else
		bv = get_le64(b + XSAVE_HEADER) & ~x->mask;
	put_le64(b + XSAVE_HEADER, bv | x->used);
}

/* Everything is checked before anything is written; XSAVE touches only the components asked for. */
static _noinline_ void save_slow(struct cpu *c, const struct insn *i, const struct xarea *x)
{
	const struct cpu_fpu *f = &c->st.fpu;
	unsigned int how = i->flags & INSN_SS;
	uint64_t lin, pkru_at, bv = 0;
	uint8_t head[24], regs[128], mx[8], header[64];

	lin = aligned_operand(c, i, x->mask & AVX ? XSAVE_YMM + XSAVE_YMM_SIZE : XSAVE_YMM, 64,
			      true);
	mem_probe(c, lin, XSAVE_YMM, how | MEM_RMW);
	if (x->write & AVX)
		mem_probe(c, lin + XSAVE_YMM, 16 * x->nvec, how | MEM_RMW);
	pkru_at = lin + pkru_offset(x->kind == SAVE_COMPACT ? XCOMP_COMPACT | x->mask : 0);
	if (x->write & XCR0_PKRU)
		mem_probe(c, pkru_at, 8, how | MEM_RMW);
	if (x->kind != SAVE_COMPACT)
		bv = ld64(c, lin + XSAVE_HEADER, how);
	if (x->write & X87) {
		x87_head(f, x->wide, head);
		x87_registers(f, regs);
		st_bytes(c, lin, head, sizeof(head), how);
		st_bytes(c, lin + OFF_ST, regs, sizeof(regs), how);
	}
	if (writes_mxcsr(x)) {
		put_le32(mx, f->mxcsr);
		put_le32(mx + 4, MXCSR_MASK);
		st_bytes(c, lin + OFF_MXCSR, mx, sizeof(mx), how);
	}
	if (x->write & SSE)
		st_bytes(c, lin + OFF_XMM, f->xmm, 16 * x->nvec, how);
	if (x->write & AVX)
		st_bytes(c, lin + XSAVE_YMM, f->ymm_hi, 16 * x->nvec, how);
	if (x->write & XCR0_PKRU)
		st64(c, pkru_at, c->st.pkru, how);
	if (x->kind == SAVE_COMPACT) {
		memset(header, 0, sizeof(header));
		put_le64(header, x->used);
		put_le64(header + 8, XCOMP_COMPACT | x->mask);
		st_bytes(c, lin + XSAVE_HEADER, header, 16, how);
	} else {
		st64(c, lin + XSAVE_HEADER, (bv & ~x->mask) | x->used, how);
	}
}

static void save(struct cpu *c, const struct insn *i, enum save_kind kind)
{
	const struct cpu_fpu *f = &c->st.fpu;
	struct xarea x = { .kind = kind, .wide = i->opsize == 8, .nvec = nr_vectors(c) };
	unsigned int size;
	uint8_t *host;

	check_xsave(c);
	x.mask = requested(c) & c->st.xcr0;
	x.used = (in_use(f) | (c->st.pkru ? XCR0_PKRU : 0)) & x.mask;
	if (kind == SAVE_COMPACT && (x.mask & SSE) && f->mxcsr != MXCSR_INIT)
		x.used |= SSE;
	x.write = kind == SAVE_ALL ? x.mask : x.used;
	size = x.mask & AVX ? XSAVE_YMM + XSAVE_YMM_SIZE : XSAVE_YMM;
	host = x.write & XCR0_PKRU ? NULL : area_host(c, i, size, 64, true);
	if (likely(host)) {
		save_host(f, &x, host);
		mem_host_wrote(c, insn_ea(c, i), host, size);
	} else {
		save_slow(c, i, &x);
	}
}

static void do_xsave(struct cpu *c, const struct insn *i)
{
	save(c, i, SAVE_ALL);
}

static void do_xsaveopt(struct cpu *c, const struct insn *i)
{
	save(c, i, SAVE_OPT);
}

static void do_xsavec(struct cpu *c, const struct insn *i)
{
	save(c, i, SAVE_COMPACT);
}

/* An image that is being loaded. */
struct ximage {
	const uint8_t *
		b; /* up to the end of the header; may be guest memory, which changes while we look */
	const uint8_t *ymm;
	uint64_t bv, comp; /* the header's, read once */
	uint32_t pkru;
};

/* SDM volume 1, 13.8.1 and 13.8.2: what makes XRSTOR raise #GP. */
static inline bool header_ok(const struct cpu *c, const struct ximage *x)
{
	if (x->comp & XCOMP_COMPACT) {
		if ((x->comp & ~XCOMP_COMPACT & ~c->st.xcr0) || (x->bv & ~x->comp))
			return false;
		return is_zero(x->b + XSAVE_HEADER + 16, 48);
	}
	return x->comp == 0 && !(x->bv & ~c->st.xcr0) && is_zero(x->b + XSAVE_HEADER + 16, 8);
}

static inline void header_read(struct cpu *c, struct ximage *x)
{
	x->bv = get_le64(x->b + XSAVE_HEADER);
	x->comp = get_le64(x->b + XSAVE_HEADER + 8);
	if (!header_ok(c, x))
		cpu_raise_err(c, VEC_GP, 0);
}

/* @from NULL: the initial state */
static inline void vectors_load(uint8_t to[16][16], const uint8_t *from, unsigned int nvec)
{
	if (!from)
		memset(to, 0, 16 * nvec);
	else if (likely(nvec == 16))
		memcpy(to, from, 256);
	else
		memcpy(to, from, 128);
}

static inline void load(struct cpu *c, const struct insn *i, uint64_t mask, const struct ximage *x)
{
	bool compact = x->comp & XCOMP_COMPACT;
	struct cpu_fpu *f = &c->st.fpu;
	unsigned int nvec = nr_vectors(c);
	uint64_t bv = x->bv;
	uint32_t mxcsr = MXCSR_INIT;

	if (!compact || (bv & SSE))
		mxcsr = get_le32(x->b + OFF_MXCSR);
	if (compact ? mask & SSE : mask & (SSE | AVX)) {
		if (mxcsr & ~(uint32_t)MXCSR_MASK)
			cpu_raise_err(c, VEC_GP, 0);
		f->mxcsr = mxcsr;
	}
	if (mask & X87) {
		if (bv & X87) {
			x87_load(f, i->opsize == 8, x->b);
		} else {
			fpu_init(f);
			memset(f->st, 0, sizeof(f->st));
		}
	}
	if (mask & SSE)
		vectors_load(f->xmm, bv & SSE ? x->b + OFF_XMM : NULL, nvec);
	if (mask & AVX)
		vectors_load(f->ymm_hi, bv & AVX ? x->ymm : NULL, nvec);
	if ((mask & XCR0_PKRU) && c->st.pkru != x->pkru) {
		c->st.pkru = x->pkru;
		c->stats.tlb_flushes_mode++;
		tlb_flush_all(c);
		interp_leave(c);
	}
}

static _noinline_ void xrstor_slow(struct cpu *c, const struct insn *i, uint64_t mask)
{
	unsigned int how = i->flags & INSN_SS;
	uint8_t b[XSAVE_YMM], ymm[256];
	struct ximage x = { .b = b, .ymm = ymm };
	uint64_t lin;

	lin = aligned_operand(c, i, XSAVE_YMM, 64, false);
	ld_bytes(c, lin, b, sizeof(b), how);
	header_read(c, &x);
	if (mask & AVX)
		aligned_operand(c, i, XSAVE_YMM + XSAVE_YMM_SIZE, 64, false);
	if (mask & x.bv & AVX)
		ld_bytes(c, lin + XSAVE_YMM, ymm, 16 * nr_vectors(c), how);
	if (mask & x.bv & XCR0_PKRU)
		x.pkru = ld32(c, lin + pkru_offset(x.comp), how);
	load(c, i, mask, &x);
}

static void do_xrstor(struct cpu *c, const struct insn *i)
{
	struct ximage x;
	uint64_t mask;

	check_xsave(c);
	mask = requested(c) & c->st.xcr0;
	x.b = mask & XCR0_PKRU ? NULL : area_host(c, i, XSAVE_YMM + XSAVE_YMM_SIZE, 64, false);
	if (unlikely(!x.b)) {
		xrstor_slow(c, i, mask);
		return;
	}
	x.ymm = x.b + XSAVE_YMM;
	x.pkru = 0;
	header_read(c, &x);
	load(c, i, mask, &x);
}

/* --- MXCSR ------------------------------------------------------------------------------------------ */

static void load_mxcsr(struct cpu *c, const struct insn *i)
{
	uint32_t v = ld32(c, insn_lin(c, i, 4, false), i->flags & INSN_SS);

	if (v & ~(uint32_t)MXCSR_MASK)
		cpu_raise_err(c, VEC_GP, 0);
	c->st.fpu.mxcsr = v;
}

static void do_ldmxcsr(struct cpu *c, const struct insn *i)
{
	hostop_check_sse(c);
	load_mxcsr(c, i);
}

static void do_vldmxcsr(struct cpu *c, const struct insn *i)
{
	hostop_check_avx(c);
	load_mxcsr(c, i);
}

static void do_stmxcsr(struct cpu *c, const struct insn *i)
{
	hostop_check_sse(c);
	st32(c, insn_lin(c, i, 4, true), c->st.fpu.mxcsr, i->flags & INSN_SS);
}

static void do_vstmxcsr(struct cpu *c, const struct insn *i)
{
	hostop_check_avx(c);
	st32(c, insn_lin(c, i, 4, true), c->st.fpu.mxcsr, i->flags & INSN_SS);
}

int fpu_bind_save(const struct dec *d, struct insn *i)
{
	static const struct {
		uint16_t mnemonic;
		bool wide;
		interp_fn *fn;
	} table[] = {
		{ ZYDIS_MNEMONIC_FXSAVE, false, do_fxsave },
		{ ZYDIS_MNEMONIC_FXSAVE64, true, do_fxsave },
		{ ZYDIS_MNEMONIC_FXRSTOR, false, do_fxrstor },
		{ ZYDIS_MNEMONIC_FXRSTOR64, true, do_fxrstor },
		{ ZYDIS_MNEMONIC_XSAVE, false, do_xsave },
		{ ZYDIS_MNEMONIC_XSAVE64, true, do_xsave },
		{ ZYDIS_MNEMONIC_XSAVEOPT, false, do_xsaveopt },
		{ ZYDIS_MNEMONIC_XSAVEOPT64, true, do_xsaveopt },
		{ ZYDIS_MNEMONIC_XSAVEC, false, do_xsavec },
		{ ZYDIS_MNEMONIC_XSAVEC64, true, do_xsavec },
		{ ZYDIS_MNEMONIC_XRSTOR, false, do_xrstor },
		{ ZYDIS_MNEMONIC_XRSTOR64, true, do_xrstor },
		{ ZYDIS_MNEMONIC_LDMXCSR, false, do_ldmxcsr },
		{ ZYDIS_MNEMONIC_VLDMXCSR, false, do_vldmxcsr },
		{ ZYDIS_MNEMONIC_STMXCSR, false, do_stmxcsr },
		{ ZYDIS_MNEMONIC_VSTMXCSR, false, do_vstmxcsr },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(table); k++) {
		if (table[k].mnemonic != d->zi.mnemonic)
			continue;
		i->fn = table[k].fn;
		i->opsize = table[k].wide ? 8 : 4;
		return 0;
	}
	return -EINVAL;
}

const struct interp_op interp_ops_fpu[] = {
	{ ZYDIS_MNEMONIC_FNINIT, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FNCLEX, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FWAIT, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FENI8087_NOP, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FDISI8087_NOP, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FSETPM287_NOP, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FLDCW, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FNSTCW, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FNSTSW, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FNSTENV, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FLDENV, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FNSAVE, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FRSTOR, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_EMMS, fpu_bind_x87 },
	{ ZYDIS_MNEMONIC_FXSAVE, fpu_bind_save },
	{ ZYDIS_MNEMONIC_FXSAVE64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_FXRSTOR, fpu_bind_save },
	{ ZYDIS_MNEMONIC_FXRSTOR64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVE, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVE64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVEOPT, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVEOPT64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVEC, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XSAVEC64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XRSTOR, fpu_bind_save },
	{ ZYDIS_MNEMONIC_XRSTOR64, fpu_bind_save },
	{ ZYDIS_MNEMONIC_LDMXCSR, fpu_bind_save },
	{ ZYDIS_MNEMONIC_VLDMXCSR, fpu_bind_save },
	{ ZYDIS_MNEMONIC_STMXCSR, fpu_bind_save },
	{ ZYDIS_MNEMONIC_VSTMXCSR, fpu_bind_save },
	{ 0, NULL },
};
