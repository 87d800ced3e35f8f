// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fast system calls and the bases that go with them. SYSCALL and SYSRET as AMD processors have them:
 * also in compatibility and legacy mode, and without Intel's check of RCX. SYSENTER and SYSEXIT in long
 * mode exist on Intel processors only: #UD.
 * Sources: AMD APM volume 3 (SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS); Intel SDM volume 2.
 *
 * Single-step after SYSCALL and SYSRET goes by the TF that they leave, not by the one they found.
 */
#include "cpu/interp/vcpu_sys.h"

enum { SEL_RPL = 3 };

static struct cpu_seg flat_code(uint16_t sel, unsigned int dpl, bool is_64)
{
	return (struct cpu_seg){
		.limit = UINT32_MAX,
		.sel = sel,
		.attr = (uint16_t)(SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_WR | SEG_TYPE_ACCESSED |
				   SEG_G | dpl << SEG_DPL_SHIFT | (is_64 ? SEG_L : SEG_DB))
	};
}

static struct cpu_seg flat_stack(uint16_t sel, unsigned int dpl)
{
	return (struct cpu_seg){ .limit = UINT32_MAX,
				 .sel = sel,
				 .attr = (uint16_t)(SEG_P | SEG_S | SEG_TYPE_WR |
						    SEG_TYPE_ACCESSED | SEG_G | SEG_DB |
						    dpl << SEG_DPL_SHIFT) };
}

static void go(struct cpu *c, uint16_t cs, uint16_t ss, unsigned int level, bool is_64,
	       uint64_t rip)
{
	c->st.seg[CPU_CS] = flat_code(cs, level, is_64);
	c->st.seg[CPU_SS] = flat_stack(ss, level);
	c->st.rip = is_64 ? rip : (uint32_t)rip;
	interp_mode_changed(c);
}

static void syscall_insn(struct cpu *c, const struct insn *i)
{
	uint16_t cs = (uint16_t)(c->st.star >> 32 & 0xfffc);

	if (!(c->st.efer & EFER_SCE) || !c->protected_mode)
		cpu_raise(c, VEC_UD);
	c->stats.soft_ints++;
	if (c->long_mode) {
		uint64_t target = c->mode == CPU_MODE_64 ? c->st.lstar : c->st.cstar;

		c->st.gpr[CPU_RCX] = c->st.rip;
		c->st.gpr[CPU_R11] = c->st.rflags & ~(uint64_t)RFLAGS_RF;
		c->st.rflags &= ~(c->st.sfmask | RFLAGS_RF);
		c->st.rflags |= RFLAGS_FIXED1;
		go(c, cs, (uint16_t)(cs + 8), 0, true, target);
	} else {
		c->st.gpr[CPU_RCX] = (uint32_t)c->st.rip;
		c->st.rflags &= ~(uint64_t)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
		go(c, cs, (uint16_t)(cs + 8), 0, false, (uint32_t)c->st.star);
	}
	event_tf_now(c);
}

static void sysret_insn(struct cpu *c, const struct insn *i)
{
	const uint64_t mask = RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL |
			      RFLAGS_NT | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID;
	uint16_t base = (uint16_t)(c->st.star >> 48);
	uint16_t ss = (uint16_t)((base + 8) | SEL_RPL);

	if (!(c->st.efer & EFER_SCE) || !c->protected_mode)
		cpu_raise(c, VEC_UD);
	if (cpl(c))
		cpu_raise_err(c, VEC_GP, 0);
	if (c->long_mode)
		c->st.rflags = (c->st.gpr[CPU_R11] & mask) | RFLAGS_FIXED1;
	else
		c->st.rflags |= RFLAGS_IF;
	if (i->opsize == 8)
		go(c, (uint16_t)((base + 16) | SEL_RPL), ss, 3, true, c->st.gpr[CPU_RCX]);
	else
		go(c, base | SEL_RPL, ss, 3, false, c->st.gpr[CPU_RCX]);
	event_tf_now(c);
	if (c->st.rflags & RFLAGS_IF)
		event_if_set(c);
}

static void sysenter(struct cpu *c, const struct insn *i)
{
	uint16_t cs = (uint16_t)(c->st.sysenter_cs & 0xfffc);

	if (c->long_mode)
		cpu_raise(c, VEC_UD);
	if (!(c->st.cr0 & CR0_PE) || !cs)
		cpu_raise_err(c, VEC_GP, 0);
	c->stats.soft_ints++;
	c->st.rflags &= ~(uint64_t)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
	c->st.gpr[CPU_RSP] = (uint32_t)c->st.sysenter_esp;
	go(c, cs, (uint16_t)(cs + 8), 0, false, c->st.sysenter_eip);
	event_recompute(c);
}

static void sysexit(struct cpu *c, const struct insn *i)
{
	uint16_t base = (uint16_t)(c->st.sysenter_cs & 0xfffc);

	if (c->long_mode)
		cpu_raise(c, VEC_UD);
	if (!(c->st.cr0 & CR0_PE) || cpl(c) || !base)
		cpu_raise_err(c, VEC_GP, 0);
	c->st.gpr[CPU_RSP] = (uint32_t)c->st.gpr[CPU_RCX];
	go(c, (uint16_t)((base + 16) | SEL_RPL), (uint16_t)((base + 24) | SEL_RPL), 3, false,
	   c->st.gpr[CPU_RDX]);
}

static void swapgs(struct cpu *c, const struct insn *i)
{
	uint64_t base = c->st.seg[CPU_GS].base;

	if (cpl(c))
		cpu_raise_err(c, VEC_GP, 0);
	c->st.seg[CPU_GS].base = c->st.kernel_gs_base;
	c->st.kernel_gs_base = base;
}

/* RDFSBASE and its like: insn.imm holds the segment register's number. */
static void rd_base(struct cpu *c, const struct insn *i)
{
	if (!(c->st.cr4 & CR4_FSGSBASE))
		cpu_raise(c, VEC_UD);
	reg_set(c, i->dst, i->opsize, c->st.seg[i->imm].base);
}

static void wr_base(struct cpu *c, const struct insn *i)
{
	uint64_t base = reg_get(c, i->dst, i->opsize);

	if (!(c->st.cr4 & CR4_FSGSBASE))
		cpu_raise(c, VEC_UD);
	if (!mmu_is_canonical_base(c, base))
		cpu_raise_err(c, VEC_GP, 0);
	c->st.seg[i->imm].base = base;
}

static int bind_base(const struct dec *d, struct insn *i)
{
	ZydisMnemonic m = d->zi.mnemonic;

	i->opsize = d->zi.raw.rex.W ? 8 : 4; /* 66 has no meaning */
	i->imm = m == ZYDIS_MNEMONIC_RDFSBASE || m == ZYDIS_MNEMONIC_WRFSBASE ? CPU_FS : CPU_GS;
	i->fn = m == ZYDIS_MNEMONIC_RDFSBASE || m == ZYDIS_MNEMONIC_RDGSBASE ? rd_base : wr_base;
	return 0;
}

static int bind_plain(const struct dec *d, struct insn *i)
{
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
		i->fn = syscall_insn;
		return 0;
	case ZYDIS_MNEMONIC_SYSRET:
		i->opsize = d->zi.raw.rex.W ? 8 : 4;
		i->fn = sysret_insn;
		return 0;
	case ZYDIS_MNEMONIC_SYSENTER:
		i->fn = sysenter;
		return 0;
	case ZYDIS_MNEMONIC_SYSEXIT:
		i->fn = sysexit;
		return 0;
	default:
		i->fn = swapgs;
		return 0;
	}
}

const struct interp_op interp_ops_syscall[] = {
	{ ZYDIS_MNEMONIC_SYSCALL, bind_plain },	 { ZYDIS_MNEMONIC_SYSRET, bind_plain },
	{ ZYDIS_MNEMONIC_SYSENTER, bind_plain }, { ZYDIS_MNEMONIC_SYSEXIT, bind_plain },
	{ ZYDIS_MNEMONIC_SWAPGS, bind_plain },	 { ZYDIS_MNEMONIC_RDFSBASE, bind_base },
	{ ZYDIS_MNEMONIC_RDGSBASE, bind_base },	 { ZYDIS_MNEMONIC_WRFSBASE, bind_base },
	{ ZYDIS_MNEMONIC_WRGSBASE, bind_base },	 { 0, NULL },
};
