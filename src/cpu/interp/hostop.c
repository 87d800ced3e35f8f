/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers that run an instruction on the host's unit: what may fault is checked first, in the order of the
 * architecture (not available, pending x87 exception, alignment, memory), then the stub is called. A
 * memory operand that has no host address (MMIO, two pages) goes through a bounce buffer.
 */
#include <errno.h>
#include <string.h>

#include "cpu/interp/fpu.h"
#include "cpu/interp/hostop.h"

void hostop_check_sse(struct cpu *c)
{
	if (unlikely((c->st.cr0 & CR0_EM) || !(c->st.cr4 & CR4_OSFXSR)))
		cpu_raise(c, VEC_UD);
	if (unlikely(c->st.cr0 & CR0_TS))
		cpu_raise(c, VEC_NM);
}

void hostop_check_avx(struct cpu *c)
{
	if (unlikely(!c->protected_mode || !(c->st.cr4 & CR4_OSXSAVE) || (c->st.xcr0 & 6) != 6))
		cpu_raise(c, VEC_UD);
	if (unlikely(c->st.cr0 & CR0_TS))
		cpu_raise(c, VEC_NM);
}

/* A pending unmasked x87 exception is #MF with CR0.NE. Without, FERR# would go to the 8259 as IRQ 13; there
 * is no such wire here, which is as if IGNNE# were held: the instruction runs. */
static void check_pending(struct cpu *c)
{
	if (unlikely(c->st.fpu.fsw & FSW_ES) && (c->st.cr0 & CR0_NE))
		cpu_raise(c, VEC_MF);
}

void hostop_check_mmx(struct cpu *c)
{
	if (unlikely(c->st.cr0 & CR0_EM))
		cpu_raise(c, VEC_UD);
	if (unlikely(c->st.cr0 & CR0_TS))
		cpu_raise(c, VEC_NM);
	check_pending(c);
}

void hostop_check_x87(struct cpu *c)
{
	if (unlikely(c->st.cr0 & (CR0_EM | CR0_TS)))
		cpu_raise(c, VEC_NM);
	check_pending(c);
}

void hostop_mmx_enter(struct cpu_fpu *f)
{
	fpu_set_top(f, 0);
	f->ftw = 0xff;
}

static inline __attribute__((always_inline)) void check_unit(struct cpu *c,
							     const struct hostop_plan *p,
							     unsigned int unit)
{
	switch (unit) {
	case HOSTOP_VEX_GPR:
		if (unlikely(!c->protected_mode))
			cpu_raise(c, VEC_UD);
		break;
	case HOSTOP_SSE:
		hostop_check_sse(c);
		break;
	case HOSTOP_AVX:
		hostop_check_avx(c);
		break;
	case HOSTOP_MMX:
		if (p->uses_xmm)
			hostop_check_sse(c);
		hostop_check_mmx(c);
		break;
	case HOSTOP_X87:
		hostop_check_x87(c);
		break;
	default:
		break;
	}
}

/* The host raised a SIMD exception for the guest; MXCSR already tells which. */
_Noreturn static _cold_ void simd_exception(struct cpu *c)
{
	cpu_raise(c, c->st.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
}

static inline __attribute__((always_inline)) void call(struct cpu *c, const struct insn *i,
						       const struct hostop *h, unsigned int unit,
						       void *mem)
{
	struct cpu_fpu *f = &c->st.fpu;
	uint64_t r;

	if (unit == HOSTOP_MMX) {
		hostop_mmx_enter(f);
		r = h->entry(&c->st, mem, i);
		/* The conversions, which alone may raise, have left x87 state by then. */
		if (unlikely(r == HOSTOP_ABORTED))
			simd_exception(c);
		if (h->plan.writes_mm)
			fpu_mmx_written(f, i->imm, h);
	} else {
		r = h->entry(&c->st, mem, i);
		if (unlikely(r == HOSTOP_ABORTED))
			simd_exception(c);
	}
	if (h->plan.flags_out)
		c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) | (r & RFLAGS_STATUS);
}

static _noinline_ void call_bounced(struct cpu *c, const struct insn *i, const struct hostop *h,
				    unsigned int unit, uint64_t lin)
{
	const struct hostop_plan *p = &h->plan;
	uint8_t bounce[32] __attribute__((aligned(32))) = { 0 };
	unsigned int how = i->flags & INSN_SS;

	mem_align(c, lin, p->mem_size, p->ac_align, how);
	if (p->mem_write)
		mem_probe(c, lin, p->mem_size, how | MEM_RMW);
	if (p->mem_read)
		ld_bytes(c, lin, bounce, p->mem_size, how);
	call(c, i, h, unit, bounce);
	if (p->mem_write)
		st_bytes(c, lin, bounce, p->mem_size, how);
}

static inline __attribute__((always_inline)) void exec(struct cpu *c, const struct insn *i,
						       unsigned int unit, bool has_mem)
{
	const struct hostop *h = i->aux;
	const struct hostop_plan *p = &h->plan;
	const struct tlb_entry *e;
	uint64_t lin, ea;
	void *host;

	check_unit(c, p, unit);
	if (!has_mem) {
		call(c, i, h, unit, NULL);
		return;
	}
	ea = insn_ea(c, i);
	if (p->align)
		hostop_aligned(c, i, ea, p->align);
	lin = seg_lin(c, i->seg, ea, p->mem_size, p->mem_write);
	e = tlb_slot(c->hot.tlb, lin);
	if (likely((p->mem_write ? e->w : e->r) == ((lin + p->mem_size - 1) & ~GUEST_PAGE_MASK)))
		host = tlb_host(e, lin);
	else
		host = mem_host(c, lin, p->mem_size,
				(i->flags & INSN_SS) | (p->mem_write ? MEM_RMW : 0));
	if (unlikely(!host)) {
		call_bounced(c, i, h, unit, lin);
		return;
	}
	call(c, i, h, unit, host);
	if (p->mem_write)
		mem_host_wrote(c, lin, host, p->mem_size);
}

#define HANDLERS(name, unit)                                                                       \
	static void name##_reg(struct cpu *c, const struct insn *i)                                \
	{                                                                                          \
		exec(c, i, unit, false);                                                           \
	}                                                                                          \
	static void name##_mem(struct cpu *c, const struct insn *i)                                \
	{                                                                                          \
		exec(c, i, unit, true);                                                            \
	}
HANDLERS(gpr, HOSTOP_GPR)
HANDLERS(vex_gpr, HOSTOP_VEX_GPR)
HANDLERS(sse, HOSTOP_SSE)
HANDLERS(avx, HOSTOP_AVX)
HANDLERS(mmx, HOSTOP_MMX)

static interp_fn *const handlers[][2] = {
	[HOSTOP_GPR] = { gpr_reg, gpr_mem }, [HOSTOP_VEX_GPR] = { vex_gpr_reg, vex_gpr_mem },
	[HOSTOP_SSE] = { sse_reg, sse_mem }, [HOSTOP_AVX] = { avx_reg, avx_mem },
	[HOSTOP_MMX] = { mmx_reg, mmx_mem }, [HOSTOP_X87] = { fpu_x87_reg, fpu_x87_mem },
};

int hostop_bind(const struct dec *d, struct insn *i)
{
	struct hostop_plan plan;
	uint16_t slots[HOSTOP_SLOTS];
	const struct hostop *h;
	interp_fn *fn = hostop_special(d, i);
	int r;

	if (fn) {
		i->fn = fn;
		return 0;
	}
	r = hostop_encode(d, &plan, slots);
	if (r == 0)
		r = hostop_stub(&plan, &h);
	if (r < 0)
		return -EINVAL;
	i->fn = handlers[plan.unit][plan.has_mem];
	i->aux = h;
	if (plan.unit == HOSTOP_X87)
		/* FOP: the low bits of the opcode and ModRM as the guest wrote them */
		i->imm = (d->zi.opcode & 7u) << 8 | d->bytes[d->zi.raw.modrm.offset];
	else
		i->imm = slots[0] | (uint64_t)slots[1] << 16 | (uint64_t)slots[2] << 32 |
			 (uint64_t)slots[3] << 48;
	return 0;
}
