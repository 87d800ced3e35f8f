// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Into a handler: through the real-mode vector table, or a gate of the IDT in its 16-, 32- and 64-bit
 * forms. Everything is read and checked first, then the frame is pushed, then registers change, so a
 * fault in between leaves the interrupted context as it was.
 * Sources: Intel SDM volume 3, chapter 6, and the pseudo-code of INT n in volume 2.
 *
 * Error codes of faults met here get their EXT bit from sys->ext (exc.c).
 */
#include "cpu/interp/vcpu_sys.h"

enum { ERR_IDT = 2 };

static uint64_t idt_ld(struct cpu *c, unsigned int vector, unsigned int entry_size,
		       uint64_t *ret_hi)
{
	uint64_t lin = c->st.idtr.base + vector * entry_size;

	if (vector * entry_size + entry_size - 1 > c->st.idtr.limit)
		cpu_raise_err(c, VEC_GP, vector * 8 + ERR_IDT);
	if (entry_size == 16)
		*ret_hi = sys_ld(c, lin + 8, 8);
	return sys_ld(c, lin, entry_size == 4 ? 4 : 8);
}

static void deliver_real(struct cpu *c, unsigned int vector)
{
	uint64_t ivt = idt_ld(c, vector, 4, NULL);
	uint64_t frame[] = { c->st.rflags, c->st.seg[CPU_CS].sel, c->st.rip };
	struct stk stk = stk_cur(c);

	stk_push(c, &stk, frame, 3, 2);
	stk_sp_set(c, &stk);
	c->st.rflags &= ~(uint64_t)(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
	seg_load_real(c, CPU_CS, (uint16_t)(ivt >> 16));
	c->st.rip = ivt & 0xffff;
}

void deliver_v86_redirected(struct cpu *c, unsigned int vector)
{
	uint32_t ivt = (uint32_t)sys_ld(c, vector * 4, 4);
	uint64_t flags = c->st.rflags, frame[3];
	struct stk stk = stk_cur(c);

	if ((flags & RFLAGS_IOPL) != RFLAGS_IOPL) {
		flags = (flags & ~(uint64_t)RFLAGS_IF) | RFLAGS_IOPL |
			(flags & RFLAGS_VIF ? RFLAGS_IF : 0);
		c->st.rflags &= ~(uint64_t)(RFLAGS_VIF | RFLAGS_TF | RFLAGS_NT);
	} else {
		c->st.rflags &= ~(uint64_t)(RFLAGS_IF | RFLAGS_TF | RFLAGS_NT);
	}
	frame[0] = flags;
	frame[1] = c->st.seg[CPU_CS].sel;
	frame[2] = c->st.rip;
	stk_push(c, &stk, frame, 3, 2);
	stk_sp_set(c, &stk);
	seg_load_real(c, CPU_CS, (uint16_t)(ivt >> 16));
	c->st.rip = ivt & 0xffff;
}

struct gate {
	uint16_t sel;
	uint64_t rip;
	unsigned int type, dpl, ist;
	bool present, is_32;
};

static struct gate gate_of(uint64_t lo, uint64_t hi, bool is_long)
{
	struct gate g = { .sel = (uint16_t)(lo >> 16),
			  .type = lo >> 40 & 0x1f,
			  .dpl = lo >> 45 & 3,
			  .present = lo >> 47 & 1 };

	g.rip = (lo & 0xffff) | (lo >> 32 & 0xffff0000);
	g.is_32 = (g.type & ~1u) == SYS_INT;
	if (is_long) {
		g.rip |= hi << 32;
		g.ist = lo >> 32 & 7;
	} else if (!g.is_32) {
		g.rip &= 0xffff;
	}
	return g;
}

static void gate_check(struct cpu *c, const struct gate *g, unsigned int vector,
		       enum event_kind kind)
{
	uint32_t err = vector * 8 + ERR_IDT;
	bool ok = (g->type & ~1u) == SYS_INT;

	if (!c->long_mode)
		ok = ok || (g->type & ~1u) == SYS_INT16 || g->type == SYS_TASK_GATE;
	if (!ok)
		cpu_raise_err(c, VEC_GP, err);
	if (kind >= EVENT_SOFT && g->dpl < cpl(c))
		cpu_raise_err(c, VEC_GP, err);
	if (!g->present)
		cpu_raise_err(c, VEC_NP, err);
}

/* The handler's code segment, checked against the present privilege. */
static void handler_cs(struct cpu *c, const struct gate *g, struct desc *ret)
{
	uint32_t err = g->sel & 0xfffc;

	if (!err)
		cpu_raise_err(c, VEC_GP, 0);
	if (!desc_read(c, g->sel, ret) || !desc_is_code(ret) || desc_dpl(ret) > cpl(c))
		cpu_raise_err(c, VEC_GP, err);
	if (c->long_mode && (ret->attr & (SEG_L | SEG_DB)) != SEG_L)
		cpu_raise_err(c, VEC_GP, err);
	if (!(ret->attr & SEG_P))
		cpu_raise_err(c, VEC_NP, err);
}

static void enter(struct cpu *c, const struct gate *g, const struct cpu_seg *cs, unsigned int level)
{
	uint64_t off = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;

	if (!(g->type & 1)) /* an interrupt gate, not a trap gate */
		off |= RFLAGS_IF;
	c->st.rflags &= ~off;
	c->st.seg[CPU_CS] = *cs;
	c->st.seg[CPU_CS].sel = (uint16_t)((cs->sel & ~3u) | level);
	c->st.rip = g->rip;
}

static void deliver_long(struct cpu *c, unsigned int vector, enum event_kind kind, bool has_error,
			 uint32_t error)
{
	uint64_t hi = 0, lo = idt_ld(c, vector, 16, &hi);
	struct gate g = gate_of(lo, hi, true);
	unsigned int level = cpl(c), new_level;
	struct stk stk = { .is_64 = true, .mask = UINT64_MAX };
	uint64_t frame[6] = { c->st.seg[CPU_SS].sel, c->st.gpr[CPU_RSP], c->st.rflags,
			      c->st.seg[CPU_CS].sel, c->st.rip,		 error };
	struct cpu_seg cs;
	struct desc d;

	gate_check(c, &g, vector, kind);
	handler_cs(c, &g, &d);
	new_level = desc_is_conforming(&d) ? level : desc_dpl(&d);
	cs = desc_to_seg(&d, g.sel);
	if (g.ist || new_level < level)
		stk.sp = tss_stack64(c, new_level, g.ist);
	else
		stk.sp = c->st.gpr[CPU_RSP];
	stk.sp &= ~UINT64_C(15);
	stk.priv = stk_priv(c, new_level);
	desc_set_accessed(c, &d);
	cs.attr = d.attr;
	if (!mmu_is_canonical(c, g.rip))
		cpu_raise_err(c, VEC_GP, 0);
	stk_push(c, &stk, frame, has_error ? 6 : 5, 8);
	if (new_level < level)
		c->st.seg[CPU_SS] = seg_null((uint16_t)new_level, new_level);
	c->st.gpr[CPU_RSP] = stk.sp;
	enter(c, &g, &cs, new_level);
}

/* V86 mode leaves its segments on the inner stack, and they become null. */
static unsigned int push_v86_segs(struct cpu *c, uint64_t *frame)
{
	static const uint8_t regs[] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };

	for (unsigned int k = 0; k < 4; k++)
		frame[k] = c->st.seg[regs[k]].sel;
	return 4;
}

static void deliver_protected(struct cpu *c, unsigned int vector, enum event_kind kind,
			      bool has_error, uint32_t error)
{
	struct gate g = gate_of(idt_ld(c, vector, 8, NULL), 0, false);
	unsigned int level = cpl(c), new_level, n = 0, size;
	bool is_v86 = c->st.rflags & RFLAGS_VM;
	uint64_t frame[10];
	struct cpu_seg cs;
	struct stk stk;
	struct desc d;

	gate_check(c, &g, vector, kind);
	if (g.type == SYS_TASK_GATE) {
		task_switch(c, g.sel, TASK_GATE, has_error, error);
		return;
	}
	handler_cs(c, &g, &d);
	new_level = desc_is_conforming(&d) ? level : desc_dpl(&d);
	if (is_v86 && new_level != 0)
		cpu_raise_err(c, VEC_GP, g.sel & 0xfffc);
	size = g.is_32 ? 4 : 2;
	if (new_level < level) {
		tss_stack(c, new_level, &stk);
		if (is_v86)
			n = push_v86_segs(c, frame);
		frame[n++] = c->st.seg[CPU_SS].sel;
		frame[n++] = c->st.gpr[CPU_RSP];
	} else {
		stk = stk_cur(c);
	}
	frame[n++] = c->st.rflags;
	frame[n++] = c->st.seg[CPU_CS].sel;
	frame[n++] = c->st.rip;
	if (has_error)
		frame[n++] = error;
	desc_set_accessed(c, &d);
	cs = desc_to_seg(&d, g.sel);
	stk_push(c, &stk, frame, n, size);
	if (g.rip > cs.limit)
		cpu_raise_err(c, VEC_GP, 0);
	if (new_level < level) {
		c->st.seg[CPU_SS] = stk.ss;
		if (is_v86) {
			c->st.seg[CPU_ES] = c->st.seg[CPU_DS] = seg_null(0, 0);
			c->st.seg[CPU_FS] = c->st.seg[CPU_GS] = seg_null(0, 0);
		}
	}
	stk_sp_set(c, &stk);
	enter(c, &g, &cs, new_level);
}

void deliver(struct cpu *c, unsigned int vector, enum event_kind kind, bool has_error,
	     uint32_t error)
{
	if (!(c->st.cr0 & CR0_PE))
		deliver_real(c, vector);
	else if (c->long_mode)
		deliver_long(c, vector, kind, has_error, error);
	else
		deliver_protected(c, vector, kind, has_error, error);
	interp_mode_changed(c);
}
