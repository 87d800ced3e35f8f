// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stacks other than the present one, and frames of several values: interrupts, gates, returns between
 * privilege levels. A frame is checked as a whole before its first value is written, because a fault in
 * the middle must leave nothing behind.
 */
#include "cpu/interp/vcpu_sys.h"

struct stk stk_cur(struct cpu *c)
{
	struct stk s = { .ss = c->st.seg[CPU_SS], .sp = c->st.gpr[CPU_RSP], .priv = c->sys->priv };

	s.is_real = !c->protected_mode;
	s.is_64 = c->mode == CPU_MODE_64;
	s.mask = s.is_64 ? UINT64_MAX : s.ss.attr & SEG_DB ? UINT32_MAX : 0xffff;
	s.sp &= s.mask;
	return s;
}

/* Linear address of a value, after the segment's checks. */
static uint64_t stk_lin(struct cpu *c, const struct stk *s, uint64_t sp, unsigned int size,
			bool write)
{
	uint64_t last = sp + size - 1;
	bool ok;

	if (s->is_64)
		return sp;
	if (!s->is_real && (!(s->ss.attr & SEG_P) || (write && !(s->ss.attr & SEG_TYPE_WR))))
		cpu_raise_err(c, VEC_SS, s->err_sel);
	if (!s->is_real && (s->ss.attr & SEG_TYPE_DOWN))
		ok = sp > s->ss.limit && last <= (s->ss.attr & SEG_DB ? UINT32_MAX : 0xffff);
	else
		ok = last <= s->ss.limit;
	if (!ok)
		cpu_raise_err(c, VEC_SS, s->err_sel);
	return (uint32_t)(s->ss.base + sp);
}

void stk_probe(struct cpu *c, const struct stk *s, unsigned int n, unsigned int size)
{
	uint64_t sp = s->sp;

	for (unsigned int k = 0; k < n; k++) {
		sp = (sp - size) & s->mask;
		mem_check(c, stk_lin(c, s, sp, size, true), size, MEM_RMW | MEM_SS, s->priv);
	}
}

enum mmu_priv stk_priv(const struct cpu *c, unsigned int level)
{
	if (level == 3)
		return MMU_USER;
	return (c->st.cr4 & CR4_SMAP) && !(c->st.rflags & RFLAGS_AC) ? MMU_SUPER_SMAP : MMU_SUPER;
}

void stk_push(struct cpu *c, struct stk *s, const uint64_t *val, unsigned int n, unsigned int size)
{
	uint64_t sp = s->sp;

	stk_probe(c, s, n, size);
	for (unsigned int k = 0; k < n; k++) {
		sp = (sp - size) & s->mask;
		mem_st(c, stk_lin(c, s, sp, size, true), size, val[k], MEM_SS, s->priv);
	}
	s->sp = sp;
}

void stk_pop(struct cpu *c, struct stk *s, uint64_t *val, unsigned int n, unsigned int size)
{
	for (unsigned int k = n; k-- > 0;) {
		uint64_t sp = (s->sp + (uint64_t)k * size) & s->mask;

		val[k] = mem_ld(c, stk_lin(c, s, sp, size, false), size, MEM_SS, s->priv);
	}
	s->sp = (s->sp + (uint64_t)n * size) & s->mask;
}

void stk_sp_set(struct cpu *c, const struct stk *s)
{
	uint64_t *rsp = &c->st.gpr[CPU_RSP];

	if (s->mask == UINT32_MAX)
		*rsp = (uint32_t)s->sp;
	else
		*rsp = (*rsp & ~s->mask) | (s->sp & s->mask);
}

static uint64_t tss_ld(struct cpu *c, uint32_t off, unsigned int size)
{
	if ((uint64_t)off + size - 1 > c->st.tr.limit)
		cpu_raise_err(c, VEC_TS, c->st.tr.sel & 0xfffc);
	return sys_ld(c, c->st.tr.base + off, size);
}

void tss_stack(struct cpu *c, unsigned int level, struct stk *ret)
{
	bool is_32 = (c->st.tr.attr & SEG_TYPE) >= SYS_TSS;
	uint64_t sp = is_32 ? tss_ld(c, 4 + level * 8, 4) : tss_ld(c, 2 + level * 4, 2);
	uint16_t sel =
		(uint16_t)(is_32 ? tss_ld(c, 8 + level * 8, 2) : tss_ld(c, 4 + level * 4, 2));
	uint16_t err = sel & 0xfffc;
	struct desc d;

	if (!err || !desc_read(c, sel, &d) || (sel & 3) != level || desc_dpl(&d) != level ||
	    !desc_is_writable_data(&d))
		cpu_raise_err(c, VEC_TS, err);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_SS, err);
	desc_set_accessed(c, &d);
	*ret = (struct stk){ .ss = desc_to_seg(&d, sel),
			     .err_sel = err,
			     .mask = d.attr & SEG_DB ? UINT32_MAX : 0xffff,
			     .priv = stk_priv(c, level) };
	ret->sp = sp & ret->mask;
}

uint64_t tss_stack64(struct cpu *c, unsigned int level, unsigned int ist)
{
	return tss_ld(c, ist ? 0x24 + (ist - 1) * 8 : 4 + level * 8, 8);
}
