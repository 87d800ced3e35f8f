// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * IRET in all its forms: real mode, V86 mode (plain and with virtual interrupt flag), back to V86 mode,
 * to the same or an outer level, to a nested task, and in long mode, where it always pops SS:RSP.
 * Source: Intel SDM volume 2, pseudo-code of IRET.
 */
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

#define FLAGS_16 (RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT)
#define FLAGS_32 (FLAGS_16 | RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)

static void flags_loaded(struct cpu *c)
{
	event_rf_loaded(c);
	event_recompute(c);
	if (c->st.rflags & RFLAGS_IF)
		event_if_set(c);
	if (c->sys->nmi_waiting)
		c->hot.due |= DUE_CHECK;
}

static void set_flags(struct cpu *c, uint64_t value, uint64_t mask)
{
	c->st.rflags = (c->st.rflags & ~mask) | (value & mask) | RFLAGS_FIXED1;
}

static void iret_real(struct cpu *c, const struct insn *i)
{
	uint64_t mask = i->opsize == 2 ? FLAGS_16 : FLAGS_32, v[3];
	struct stk stk = stk_cur(c);

	stk_pop(c, &stk, v, 3, i->opsize);
	if (v[0] > c->st.seg[CPU_CS].limit)
		cpu_raise_err(c, VEC_GP, 0);
	if (c->st.rflags & RFLAGS_VM)
		mask &= ~(uint64_t)RFLAGS_IOPL;
	stk_sp_set(c, &stk);
	seg_load_real(c, CPU_CS, (uint16_t)v[1]);
	c->st.rip = v[0];
	set_flags(c, v[2], mask);
	interp_mode_changed(c);
	flags_loaded(c);
}

/* V86 mode with IOPL below 3: only with VME, 16 bits wide, and on the virtual interrupt flag. */
static void iret_vme(struct cpu *c, const struct insn *i)
{
	struct stk stk = stk_cur(c);
	uint64_t v[3];

	if (!(c->st.cr4 & CR4_VME) || i->opsize != 2)
		cpu_raise_err(c, VEC_GP, 0);
	stk_pop(c, &stk, v, 3, 2);
	if ((v[2] & RFLAGS_TF) || ((v[2] & RFLAGS_IF) && (c->st.rflags & RFLAGS_VIP)))
		cpu_raise_err(c, VEC_GP, 0);
	stk_sp_set(c, &stk);
	seg_load_real(c, CPU_CS, (uint16_t)v[1]);
	c->st.rip = v[0];
	set_flags(c, v[2] | (v[2] & RFLAGS_IF ? RFLAGS_VIF : 0),
		  (FLAGS_16 & ~(uint64_t)(RFLAGS_IF | RFLAGS_IOPL)) | RFLAGS_VIF);
	interp_mode_changed(c);
	flags_loaded(c);
}

static void iret_to_v86(struct cpu *c, struct stk *stk, uint64_t rip, uint16_t cs, uint64_t flags)
{
	static const uint8_t regs[] = { CPU_SS, CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	uint64_t v[6];

	stk_pop(c, stk, v, 6, 4);
	set_flags(c, flags, FLAGS_32 | RFLAGS_VM | RFLAGS_VIF | RFLAGS_VIP);
	c->st.rip = rip & 0xffff;
	c->st.gpr[CPU_RSP] = v[0];
	seg_load_real(c, CPU_CS, cs);
	for (unsigned int k = 0; k < 5; k++)
		seg_load_real(c, regs[k], (uint16_t)v[k + 1]);
	interp_mode_changed(c);
	flags_loaded(c);
}

static uint64_t flags_mask(const struct cpu *c, unsigned int size)
{
	unsigned int iopl = (c->st.rflags & RFLAGS_IOPL) >> 12;
	uint64_t mask = FLAGS_16 & ~(uint64_t)(RFLAGS_IF | RFLAGS_IOPL);

	if (size > 2)
		mask |= RFLAGS_RF | RFLAGS_AC | RFLAGS_ID;
	if (cpl(c) <= iopl)
		mask |= RFLAGS_IF;
	if (cpl(c) == 0)
		mask |= RFLAGS_IOPL | (size > 2 ? RFLAGS_VIF | RFLAGS_VIP : 0);
	return mask;
}

static void iret_protected(struct cpu *c, const struct insn *i)
{
	struct far_return f = { 0 };
	struct stk stk = stk_cur(c);
	uint64_t v[3], outer[2], mask;
	struct desc d;

	stk_pop(c, &stk, v, 3, i->opsize);
	/* In 64-bit mode all five are there, and read before any of them is looked at (measured). */
	f.has_ss = c->mode == CPU_MODE_64;
	if (f.has_ss)
		stk_pop(c, &stk, outer, 2, i->opsize);
	if (!c->long_mode && i->opsize == 4 && (v[2] & RFLAGS_VM) && cpl(c) == 0) {
		iret_to_v86(c, &stk, v[0], (uint16_t)v[1], v[2]);
		return;
	}
	far_return_cs(c, (uint16_t)v[1], &d);
	f.cs = desc_to_seg(&d, (uint16_t)v[1]);
	f.rip = v[0];
	f.rsp = stk.sp;
	f.mask = stk.mask;
	if (!f.has_ss && (v[1] & 3) > cpl(c)) {
		stk_pop(c, &stk, outer, 2, i->opsize);
		f.has_ss = true;
	}
	if (f.has_ss) {
		f.ss = far_return_ss(c, (uint16_t)outer[1], v[1] & 3,
				     c->long_mode && (d.attr & SEG_L));
		f.rsp = outer[0];
	}
	cs_check_target(c, &f.cs, f.rip);
	desc_set_accessed(c, &d);
	f.cs.attr = d.attr;
	mask = flags_mask(c, i->opsize);
	far_return_commit(c, &f);
	set_flags(c, v[2], mask);
	interp_mode_changed(c);
	flags_loaded(c);
}

static void iret(struct cpu *c, const struct insn *i)
{
	code_serialize(c);
	/* NMIs are let in again even when this instruction faults. */
	c->st.ev.nmi_masked = false;
	if (!c->protected_mode) {
		if ((c->st.rflags & RFLAGS_VM) && (c->st.rflags & RFLAGS_IOPL) != RFLAGS_IOPL)
			iret_vme(c, i);
		else
			iret_real(c, i);
	} else if (c->st.rflags & RFLAGS_NT) {
		if (c->long_mode)
			cpu_raise_err(c, VEC_GP, 0);
		task_switch(c, (uint16_t)sys_ld(c, c->st.tr.base, 2), TASK_IRET, false, 0);
	} else {
		iret_protected(c, i);
	}
}

static int bind_iret(const struct dec *d, struct insn *i)
{
	i->fn = iret;
	i->opsize = d->zi.mnemonic == ZYDIS_MNEMONIC_IRET    ? 2
		    : d->zi.mnemonic == ZYDIS_MNEMONIC_IRETD ? 4
							     : 8;
	return 0;
}

const struct interp_op interp_ops_far[] = {
	{ ZYDIS_MNEMONIC_IRET, bind_iret },
	{ ZYDIS_MNEMONIC_IRETD, bind_iret },
	{ ZYDIS_MNEMONIC_IRETQ, bind_iret },
	{ 0, NULL },
};
