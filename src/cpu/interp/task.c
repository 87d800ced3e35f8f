// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware task switches, in three steps:
 *
 *	1. find the new TSS, check it, and see that everything that will be written can be written; a
 *	   fault up to here is the old task's, and nothing has changed
 *	2. save the old task, take the registers of the new one, its selectors without their descriptors,
 *	   and its address space
 *	3. load LDTR and the segments; a fault here is the new task's, with its EIP and its stack
 *
 * Source: Intel SDM volume 3, chapter 7 (task management; table 7-1 has the exceptions).
 */
#include "cpu/interp/vcpu_sys.h"

enum { NR_GPRS = 8 };
#define DR6_BT	      (UINT64_C(1) << 15)
#define DR7_LOCAL     UINT64_C(0x155) /* L0 to L3, LE */
#define TSS_TRAP_FLAG 1
#define TASK_FLAGS                                                                                 \
	(RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | \
	 RFLAGS_VM | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)

/* Where things are in the two kinds of TSS; 0: not there. */
struct tss_layout {
	uint8_t width, seg_stride, nr_segs, min_limit;
	uint8_t cr3, ip, flags, gprs, segs, ldt, trap;
};

static const struct tss_layout tss16 = { .width = 2,
					 .seg_stride = 2,
					 .nr_segs = 4,
					 .min_limit = 0x2b,
					 .ip = 0x0e,
					 .flags = 0x10,
					 .gprs = 0x12,
					 .segs = 0x22,
					 .ldt = 0x2a };
static const struct tss_layout tss32 = { .width = 4,
					 .seg_stride = 4,
					 .nr_segs = 6,
					 .min_limit = 0x67,
					 .cr3 = 0x1c,
					 .ip = 0x20,
					 .flags = 0x24,
					 .gprs = 0x28,
					 .segs = 0x48,
					 .ldt = 0x60,
					 .trap = 0x64 };

/* The order of the selectors in a TSS is that of enum cpu_segreg. */
struct task {
	uint64_t cr3, rip, rflags, gpr[NR_GPRS];
	uint16_t seg[CPU_NR_SEGS], ldt;
	bool trap;
};

static const struct tss_layout *layout_of(uint16_t attr)
{
	return (attr & SEG_TYPE) >= SYS_TSS ? &tss32 : &tss16;
}

static bool is_tss(const struct desc *d, bool is_busy)
{
	unsigned int type = d->attr & SEG_TYPE;

	if (d->attr & SEG_S)
		return false;
	return is_busy ? type == SYS_TSS_BUSY || type == SYS_TSS16_BUSY
		       : type == SYS_TSS || type == SYS_TSS16;
}

/* --- step 1: the new TSS -------------------------------------------------------------------------- */

static void find_new(struct cpu *c, uint16_t sel, enum task_reason reason, struct desc *ret)
{
	bool is_iret = reason == TASK_IRET;
	unsigned int vector = is_iret ? VEC_TS : VEC_GP;
	uint32_t err = sel & 0xfffc;

	if (!err || (sel & 4) || !desc_read(c, sel, ret) || !is_tss(ret, is_iret))
		cpu_raise_err(c, vector, err);
	if (!(ret->attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	if (desc_to_seg(ret, sel).limit < layout_of(ret->attr)->min_limit)
		cpu_raise_err(c, VEC_TS, err);
}

static void probe(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how)
{
	mem_check(c, (uint32_t)lin, len, how | MEM_SYS, c->sys->priv_sys);
}

/* Every page that the switch touches is there and may be written. */
static void probe_all(struct cpu *c, const struct desc *old, const struct desc *new, uint64_t base,
		      enum task_reason reason)
{
	const struct tss_layout *from = layout_of(c->st.tr.attr), *to = layout_of(new->attr);
	unsigned int saved_end = from->segs + from->nr_segs * from->seg_stride;

	probe(c, c->st.tr.base + from->ip, saved_end - from->ip, MEM_RMW);
	probe(c, base, to->min_limit + 1u, 0);
	if (reason == TASK_CALL || reason == TASK_GATE)
		probe(c, base, 2, MEM_RMW); /* the back link */
	if (reason == TASK_JMP || reason == TASK_IRET)
		probe(c, old->lin + 5, 1, MEM_RMW);
	if (reason != TASK_IRET)
		probe(c, new->lin + 5, 1, MEM_RMW);
}

/* --- step 2: out with the old, in with the new ---------------------------------------------------- */

static void save_old(struct cpu *c, enum task_reason reason)
{
	const struct tss_layout *t = layout_of(c->st.tr.attr);
	uint64_t base = c->st.tr.base, rflags = c->st.rflags;

	if (reason != TASK_GATE)
		rflags &= ~(uint64_t)RFLAGS_RF; /* set for a fault only */
	if (reason == TASK_IRET)
		rflags &= ~(uint64_t)RFLAGS_NT;
	sys_st(c, base + t->ip, t->width, c->st.rip);
	sys_st(c, base + t->flags, t->width, rflags);
	for (unsigned int k = 0; k < NR_GPRS; k++)
		sys_st(c, base + t->gprs + k * t->width, t->width, c->st.gpr[k]);
	for (unsigned int k = 0; k < t->nr_segs; k++)
		sys_st(c, base + t->segs + k * t->seg_stride, 2, c->st.seg[k].sel);
}

static void load_new(struct cpu *c, const struct tss_layout *t, uint64_t base, struct task *ret)
{
	*ret = (struct task){ .cr3 = c->st.cr3 };
	if (t->cr3)
		ret->cr3 = sys_ld(c, base + t->cr3, 4);
	ret->rip = sys_ld(c, base + t->ip, t->width);
	ret->rflags = sys_ld(c, base + t->flags, t->width);
	for (unsigned int k = 0; k < NR_GPRS; k++)
		ret->gpr[k] = sys_ld(c, base + t->gprs + k * t->width, t->width);
	for (unsigned int k = 0; k < t->nr_segs; k++)
		ret->seg[k] = (uint16_t)sys_ld(c, base + t->segs + k * t->seg_stride, 2);
	ret->ldt = (uint16_t)sys_ld(c, base + t->ldt, 2);
	ret->trap = t->trap && (sys_ld(c, base + t->trap, 2) & TSS_TRAP_FLAG);
}

/* Returns false when PAE paging cannot use the new address space: #GP(0) of the new task. */
static bool switch_cr3(struct cpu *c, uint64_t cr3)
{
	bool ok = true;

	if (!(c->st.cr0 & CR0_PG))
		return true;
	if (c->st.cr4 & CR4_PAE) {
		uint64_t pdpte[4];

		ok = mmu_pdptes_load(c, cr3, pdpte) == 0;
		for (unsigned int k = 0; ok && k < 4; k++)
			c->st.pdpte[k] = pdpte[k];
	}
	if (ok)
		c->st.cr3 = cr3;
	tlb_load_cr3(c, 0, false);
	return ok;
}

static void take_registers(struct cpu *c, const struct task *t, bool is_nested)
{
	unsigned int level = t->seg[CPU_CS] & 3u;
	bool had_local = c->st.dr7 & DR7_LOCAL;

	c->st.rip = t->rip;
	c->st.rflags = (t->rflags & TASK_FLAGS) | RFLAGS_FIXED1;
	if (is_nested)
		c->st.rflags |= RFLAGS_NT;
	for (unsigned int k = 0; k < NR_GPRS; k++)
		c->st.gpr[k] = t->gpr[k];
	c->st.cr0 |= CR0_TS;
	c->st.dr7 &= ~DR7_LOCAL;
	if (had_local)
		event_debug_regs_written(c);
	if (c->st.rflags & RFLAGS_VM) {
		for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
			seg_load_real(c, k, t->seg[k]);
	} else {
		for (unsigned int k = 0; k < CPU_NR_SEGS; k++)
			c->st.seg[k] = seg_null(t->seg[k], level);
	}
	c->st.ldtr = seg_null(t->ldt, 0);
}

/* --- step 3: descriptors of the new task ---------------------------------------------------------- */

static void load_ldtr(struct cpu *c)
{
	uint16_t sel = c->st.ldtr.sel;
	struct desc d;

	if (!(sel & 0xfffc))
		return;
	if ((sel & 4) || !desc_read(c, sel, &d) || (d.attr & (SEG_S | SEG_TYPE)) != SYS_LDT ||
	    !(d.attr & SEG_P))
		cpu_raise_err(c, VEC_TS, sel & 0xfffc);
	c->st.ldtr = desc_to_seg(&d, sel);
}

static void load_cs(struct cpu *c)
{
	uint16_t sel = c->st.seg[CPU_CS].sel;
	unsigned int rpl = sel & 3u;
	uint32_t err = sel & 0xfffc;
	struct desc d;

	if (!err || !desc_read(c, sel, &d) || !desc_is_code(&d) ||
	    (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl))
		cpu_raise_err(c, VEC_TS, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	desc_set_accessed(c, &d);
	c->st.seg[CPU_CS] = desc_to_seg(&d, sel);
}

static void load_ss(struct cpu *c)
{
	uint16_t sel = c->st.seg[CPU_SS].sel;
	unsigned int level = cpl(c);
	uint32_t err = sel & 0xfffc;
	struct desc d;

	if (!err || !desc_read(c, sel, &d) || (sel & 3u) != level || !desc_is_writable_data(&d) ||
	    desc_dpl(&d) != level)
		cpu_raise_err(c, VEC_TS, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_SS, err);
	desc_set_accessed(c, &d);
	c->st.seg[CPU_SS] = desc_to_seg(&d, sel);
}

static void load_data(struct cpu *c, unsigned int reg)
{
	uint16_t sel = c->st.seg[reg].sel;
	uint32_t err = sel & 0xfffc;
	struct desc d;

	if (!err)
		return;
	if (!desc_read(c, sel, &d) || !(d.attr & SEG_S) ||
	    (desc_is_code(&d) && !(d.attr & SEG_TYPE_WR)))
		cpu_raise_err(c, VEC_TS, err);
	if (!(desc_is_code(&d) && desc_is_conforming(&d)) &&
	    ((sel & 3u) > desc_dpl(&d) || cpl(c) > desc_dpl(&d)))
		cpu_raise_err(c, VEC_TS, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
	desc_set_accessed(c, &d);
	c->st.seg[reg] = desc_to_seg(&d, sel);
}

static void load_segments(struct cpu *c)
{
	load_ldtr(c);
	if (!(c->st.rflags & RFLAGS_VM)) {
		load_cs(c);
		load_ss(c);
		load_data(c, CPU_ES);
		load_data(c, CPU_DS);
		load_data(c, CPU_FS);
		load_data(c, CPU_GS);
	}
	interp_mode_changed(c);
}

void task_switch(struct cpu *c, uint16_t sel, enum task_reason reason, bool has_error,
		 uint32_t error)
{
	bool is_nested = reason == TASK_CALL || reason == TASK_GATE, cr3_ok;
	uint16_t old_sel = c->st.tr.sel;
	const struct tss_layout *layout;
	struct desc old, new;
	struct task task;
	uint64_t base;

	find_new(c, sel, reason, &new);
	if (!desc_read(c, old_sel, &old))
		cpu_raise_err(c, VEC_TS, old_sel & 0xfffc);
	base = desc_to_seg(&new, sel).base;
	layout = layout_of(new.attr);
	probe_all(c, &old, &new, base, reason);

	save_old(c, reason);
	load_new(c, layout, base, &task);
	if (!is_nested)
		sys_st(c, old.lin + 5, 1, sys_ld(c, old.lin + 5, 1) & ~(uint64_t)SEG_TYPE_WR);
	else
		sys_st(c, base, 2, old_sel);
	if (reason != TASK_IRET)
		mem_or8_sys(c, new.lin + 5, SEG_TYPE_WR); /* available becomes busy */
	c->st.tr = desc_to_seg(&new, sel);
	c->st.tr.attr |= SEG_TYPE_WR;
	take_registers(c, &task, is_nested);
	cr3_ok = switch_cr3(c, task.cr3);
	interp_mode_changed(c);
	event_rf_loaded(c);
	event_recompute(c);

	/* From here on faults are the new task's: st.rip is where it goes on. */
	c->cur = NULL;
	if (!cr3_ok)
		cpu_raise_err(c, VEC_GP, 0);
	load_segments(c);
	cs_check_target(c, &c->st.seg[CPU_CS], c->st.rip);
	if (has_error) {
		uint64_t value = error;
		struct stk stk = stk_cur(c);

		stk_push(c, &stk, &value, 1, layout->width);
		stk_sp_set(c, &stk);
	}
	if (task.trap)
		event_trap_db(c, DR6_BT);
	if (c->st.rflags & RFLAGS_IF)
		event_if_set(c);
}
