// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control and debug registers, XCR0, and the instructions that invalidate translations. Every rule that
 * ends in #GP is checked before the first register changes. A change of what paging depends on flushes
 * the whole TLB: that is never wrong, and such changes are rare.
 *
 * Sources: Intel SDM volume 3, 2.5 (control registers), 4.4.1 (PDPTEs), 4.10.4 (invalidation), 9.8.5
 * (entering IA-32e mode), 17.2 (debug registers); AMD APM volume 2, chapter 3.
 */
#include <errno.h>

#include "cpu/apic.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

#define CR0_KNOWN                                                                                  \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)
/* What decides how accesses are checked, and how code is translated. */
#define CR0_MODE (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_PG)
#define CR4_PAGES                                                                                  \
	(CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_PKE |      \
	 CR4_PKS)
/* Changes that make the processor read the PDPTEs again. */
#define CR0_PDPTE    (CR0_CD | CR0_NW | CR0_PG)
#define CR4_PDPTE    (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR3_NO_FLUSH (UINT64_C(1) << 63)
#define CR3_PCID     UINT64_C(0xfff)

#define DR6_FIXED1   UINT64_C(0xffff0ff0)
#define DR6_WRITABLE UINT64_C(0xe00f)
#define DR6_BD	     (UINT64_C(1) << 13)
#define DR7_FIXED1   UINT64_C(0x400)
#define DR7_WRITABLE UINT64_C(0xffff23ff)
#define DR7_GD	     (UINT64_C(1) << 13)

static _Noreturn void raise_gp(struct cpu *c)
{
	cpu_raise_err(c, VEC_GP, 0);
}

static void need_cpl0(struct cpu *c)
{
	if (cpl(c))
		raise_gp(c);
}

/* PAE paging outside of long mode keeps its four top entries in the CPU. */
static void load_pdptes(struct cpu *c, uint64_t cr3)
{
	uint64_t pdpte[4];

	if (mmu_pdptes_load(c, cr3, pdpte) < 0)
		raise_gp(c);
	for (unsigned int k = 0; k < 4; k++)
		c->st.pdpte[k] = pdpte[k];
}

/* --- CR0 ---------------------------------------------------------------------------------------- */

static void cr0_check(struct cpu *c, uint64_t v)
{
	bool was_paging = c->st.cr0 & CR0_PG, is_paging = v & CR0_PG;

	if (v >> 32 || (is_paging && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
		raise_gp(c);
	if (was_paging && !is_paging && (c->mode == CPU_MODE_64 || (c->st.cr4 & CR4_PCIDE)))
		raise_gp(c);
	if (!was_paging && is_paging && (c->st.efer & EFER_LME) &&
	    (!(c->st.cr4 & CR4_PAE) || (c->st.seg[CPU_CS].attr & SEG_L)))
		raise_gp(c);
}

static void cr0_write(struct cpu *c, uint64_t v)
{
	uint64_t old = c->st.cr0, changed;

	cr0_check(c, v);
	v = (v & CR0_KNOWN) | CR0_ET;
	changed = v ^ old;
	if ((v & CR0_PG) && (c->st.cr4 & CR4_PAE) && !(c->st.efer & EFER_LME) &&
	    (changed & CR0_PDPTE))
		load_pdptes(c, c->st.cr3);

	c->st.cr0 = v;
	if (changed & CR0_PG) {
		bool is_long = (v & CR0_PG) && (c->st.efer & EFER_LME);

		c->st.efer = is_long ? c->st.efer | EFER_LMA : c->st.efer & ~(uint64_t)EFER_LMA;
	}
	if (changed & (CR0_PE | CR0_PG | CR0_WP)) {
		c->stats.tlb_flushes_mode++;
		tlb_flush_all(c);
	}
	if (changed & CR0_MODE)
		interp_mode_changed(c);
}

static void clts(struct cpu *c, const struct insn *i)
{
	need_cpl0(c);
	c->st.cr0 &= ~(uint64_t)CR0_TS;
	interp_mode_changed(c);
}

/* PE can be set this way, not cleared. */
static void lmsw(struct cpu *c, const struct insn *i)
{
	uint64_t v;

	need_cpl0(c);
	if (i->flags & INSN_MEM)
		v = ld16(c, insn_lin(c, i, 2, false), i->flags & INSN_SS);
	else
		v = reg_get(c, i->dst, 2);
	c->stats.cr_write++;
	cr0_write(c, (c->st.cr0 & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS)) |
			     (v & (CR0_PE | CR0_MP | CR0_EM | CR0_TS)));
}

static void smsw(struct cpu *c, const struct insn *i)
{
	if (cpl(c) && (c->st.cr4 & CR4_UMIP))
		raise_gp(c);
	if (i->flags & INSN_MEM)
		st16(c, insn_lin(c, i, 2, true), (uint16_t)c->st.cr0, i->flags & INSN_SS);
	else
		reg_set(c, i->dst, i->opsize, c->st.cr0);
}

/* --- CR3, CR4, CR8 ------------------------------------------------------------------------------ */

static void cr3_write(struct cpu *c, uint64_t v)
{
	bool has_pcid = c->st.cr4 & CR4_PCIDE, keep = has_pcid && (v & CR3_NO_FLUSH);

	if (has_pcid)
		v &= ~CR3_NO_FLUSH;
	if (c->long_mode && v >> c->grp->cpuid.phys_bits)
		raise_gp(c);
	if (!c->long_mode) {
		v = (uint32_t)v;
		if ((c->st.cr0 & CR0_PG) && (c->st.cr4 & CR4_PAE))
			load_pdptes(c, v);
	}
	c->st.cr3 = v;
	tlb_load_cr3(c, has_pcid ? v & CR3_PCID : 0, keep);
}

static void cr4_write(struct cpu *c, uint64_t v)
{
	uint64_t old = c->st.cr4, changed = v ^ old;

	if (v & ~c->grp->cpuid.cr4_allowed)
		raise_gp(c);
	if (c->long_mode && (!(v & CR4_PAE) || (changed & CR4_LA57)))
		raise_gp(c);
	if ((changed & v & CR4_PCIDE) && (!c->long_mode || (c->st.cr3 & CR3_PCID)))
		raise_gp(c);
	if ((c->st.cr0 & CR0_PG) && !c->long_mode && (v & CR4_PAE) && (changed & CR4_PDPTE))
		load_pdptes(c, c->st.cr3);

	c->st.cr4 = v;
	if (changed & CR4_PAGES) {
		c->stats.tlb_flushes_mode++;
		tlb_flush_all(c);
	}
	if (changed & old & CR4_PCIDE)
		tlb_load_cr3(c, 0, false);
	if (changed & CR4_DE)
		event_debug_regs_written(c);
	interp_mode_changed(c);
}

static void cr8_write(struct cpu *c, uint64_t v)
{
	if (v & ~UINT64_C(0xf))
		raise_gp(c);
	apic_set_cr8(c, v);
	/* A lower priority may let an interrupt in, and guests expect it at once. */
	if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed))
		interp_leave(c);
}

/* insn.imm holds the register's number. */
static void mov_to_cr(struct cpu *c, const struct insn *i)
{
	uint64_t v = reg_get(c, i->dst, i->opsize);

	need_cpl0(c);
	code_serialize(c);
	c->stats.cr_write++;
	switch (i->imm) {
	case 0:
		cr0_write(c, v);
		return;
	case 2:
		c->st.cr2 = v;
		return;
	case 3:
		cr3_write(c, v);
		return;
	case 4:
		cr4_write(c, v);
		return;
	default:
		cr8_write(c, v);
	}
}

static void mov_from_cr(struct cpu *c, const struct insn *i)
{
	uint64_t v;

	need_cpl0(c);
	switch (i->imm) {
	case 0:
		v = c->st.cr0;
		break;
	case 2:
		v = c->st.cr2;
		break;
	case 3:
		v = c->st.cr3;
		break;
	case 4:
		v = c->st.cr4;
		break;
	default:
		v = apic_get_cr8(c);
	}
	reg_set(c, i->dst, i->opsize, v);
}

/* --- debug registers ---------------------------------------------------------------------------- */

/* Which register a number names: 4 and 5 are other names of 6 and 7 unless CR4.DE. */
static unsigned int dr_check(struct cpu *c, unsigned int n)
{
	need_cpl0(c);
	if (n == 4 || n == 5) {
		if (c->st.cr4 & CR4_DE)
			cpu_raise(c, VEC_UD);
		n += 2;
	}
	if (c->st.dr7 & DR7_GD)
		event_raise_db(c, DR6_BD);
	return n;
}

static void mov_to_dr(struct cpu *c, const struct insn *i)
{
	uint64_t v = reg_get(c, i->dst, i->opsize);
	unsigned int n = dr_check(c, (unsigned int)i->imm);

	if (n >= 6 && v >> 32)
		raise_gp(c);
	if (n == 6) {
		c->st.dr6 = (v & DR6_WRITABLE) | DR6_FIXED1;
	} else if (n == 7) {
		v = (v & DR7_WRITABLE) | DR7_FIXED1;
		if (v == c->st.dr7)
			return;
		c->st.dr7 = v;
		event_debug_regs_written(c);
	} else {
		c->st.dr[n] = v;
		if (c->st.dr7 >> (n * 2) & 3)
			event_debug_regs_written(c);
	}
}

static void mov_from_dr(struct cpu *c, const struct insn *i)
{
	unsigned int n = dr_check(c, (unsigned int)i->imm);

	reg_set(c, i->dst, i->opsize, n == 6 ? c->st.dr6 : n == 7 ? c->st.dr7 : c->st.dr[n]);
}

int cr_bind_mov(const struct dec *d, struct insn *i)
{
	bool is_write = d->zi.opcode & 2; /* 0F 20 to 0F 23 */
	bool is_dr = d->zi.opcode & 1;
	const ZydisDecodedOperand *op = &d->op[is_write ? 0 : 1];

	i->opsize = d->mode == CPU_MODE_64 ? 8 : 4;
	i->imm = (uint64_t)(op->reg.value - (is_dr ? ZYDIS_REGISTER_DR0 : ZYDIS_REGISTER_CR0));
	if (is_dr) {
		if (i->imm > 7)
			return -EINVAL;
		i->fn = is_write ? mov_to_dr : mov_from_dr;
		return 0;
	}
	if (i->imm != 0 && i->imm != 2 && i->imm != 3 && i->imm != 4 && i->imm != 8)
		return -EINVAL;
	i->fn = is_write ? mov_to_cr : mov_from_cr;
	return 0;
}

/* --- XCR0 --------------------------------------------------------------------------------------- */

static void need_osxsave(struct cpu *c)
{
	if (!(c->st.cr4 & CR4_OSXSAVE))
		cpu_raise(c, VEC_UD);
}

static void xgetbv(struct cpu *c, const struct insn *i)
{
	need_osxsave(c);
	if ((uint32_t)c->st.gpr[CPU_RCX])
		raise_gp(c);
	c->st.gpr[CPU_RAX] = (uint32_t)c->st.xcr0;
	c->st.gpr[CPU_RDX] = c->st.xcr0 >> 32;
}

static void xsetbv(struct cpu *c, const struct insn *i)
{
	uint64_t v = (uint32_t)c->st.gpr[CPU_RAX] | c->st.gpr[CPU_RDX] << 32;

	need_osxsave(c);
	need_cpl0(c);
	if ((uint32_t)c->st.gpr[CPU_RCX] || (v & ~c->grp->cpuid.xcr0_allowed) || !(v & XCR0_X87) ||
	    (v & (XCR0_SSE | XCR0_AVX)) == XCR0_AVX)
		raise_gp(c);
	c->st.xcr0 = v;
	interp_mode_changed(c);
}

/* --- translations ------------------------------------------------------------------------------- */

/* The segment's limit does not count, and an address that cannot be translated is nothing to forget. */
static void invlpg(struct cpu *c, const struct insn *i)
{
	uint64_t lin = insn_ea(c, i);

	need_cpl0(c);
	if (i->seg != SEG_FLAT)
		lin += c->st.seg[i->seg].base;
	if (c->mode != CPU_MODE_64)
		lin = (uint32_t)lin;
	tlb_flush_page(c, lin);
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NON_GLOBAL };

static void invpcid(struct cpu *c, const struct insn *i)
{
	uint64_t type = reg_get(c, i->dst, c->mode == CPU_MODE_64 ? 8 : 4), desc[2];

	need_cpl0(c);
	ld_bytes(c, insn_lin(c, i, sizeof(desc), false), desc, sizeof(desc), i->flags & INSN_SS);
	if (type > INVPCID_ALL_NON_GLOBAL || desc[0] >> 12)
		raise_gp(c);
	if (type <= INVPCID_CONTEXT && desc[0] && !(c->st.cr4 & CR4_PCIDE))
		raise_gp(c);
	if (type == INVPCID_ADDRESS && !mmu_is_canonical_base(c, desc[1]))
		raise_gp(c);
	c->stats.tlb_flushes_invpcid += type != INVPCID_ADDRESS;
	switch ((enum invpcid_type)type) {
	case INVPCID_ADDRESS:
	case INVPCID_CONTEXT:
		tlb_flush_pcid(c, (unsigned int)desc[0], type == INVPCID_ADDRESS, desc[1]);
		return;
	case INVPCID_ALL:
		tlb_flush_all(c);
		return;
	case INVPCID_ALL_NON_GLOBAL:
		tlb_flush_nonglobal_all(c);
	}
}

/* --- RFLAGS.AC, which opens user pages to supervisor code ---------------------------------------- */

static void set_ac(struct cpu *c, bool on)
{
	if (cpl(c))
		cpu_raise(c, VEC_UD);
	c->st.rflags = on ? c->st.rflags | RFLAGS_AC : c->st.rflags & ~(uint64_t)RFLAGS_AC;
	tlb_select(c);
}

static void clac(struct cpu *c, const struct insn *i)
{
	set_ac(c, false);
}

static void stac(struct cpu *c, const struct insn *i)
{
	set_ac(c, true);
}

#define BIND(name)                                                                                 \
	static int bind_##name(const struct dec *d, struct insn *i)                                \
	{                                                                                          \
		i->fn = name;                                                                      \
		return 0;                                                                          \
	}
BIND(clts)
BIND(lmsw)
BIND(xgetbv)
BIND(xsetbv)
BIND(invpcid)
BIND(clac)
BIND(stac)

static int bind_smsw(const struct dec *d, struct insn *i)
{
	i->opsize = d->zi.raw.rex.W ? 8 : i->opsize;
	i->fn = smsw;
	return 0;
}

static int bind_invlpg(const struct dec *d, struct insn *i)
{
	i->fn = invlpg;
	return i->flags & INSN_MEM ? 0 : -EINVAL;
}

const struct interp_op interp_ops_cr[] = {
	{ ZYDIS_MNEMONIC_CLTS, bind_clts },	  { ZYDIS_MNEMONIC_LMSW, bind_lmsw },
	{ ZYDIS_MNEMONIC_XGETBV, bind_xgetbv },	  { ZYDIS_MNEMONIC_XSETBV, bind_xsetbv },
	{ ZYDIS_MNEMONIC_INVPCID, bind_invpcid }, { ZYDIS_MNEMONIC_CLAC, bind_clac },
	{ ZYDIS_MNEMONIC_STAC, bind_stac },	  { ZYDIS_MNEMONIC_SMSW, bind_smsw },
	{ ZYDIS_MNEMONIC_INVLPG, bind_invlpg },	  { 0, NULL },
};
