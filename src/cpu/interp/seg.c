// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Segments: descriptors from the tables into the hidden parts of segment registers, and the checks on
 * every access through a segment that is not flat. Sources: Intel SDM volume 3, chapters 3 and 5; AMD
 * APM volume 2, chapter 4 (a null selector clears base and limit, as CPUID 0x80000021 says).
 */
#include "cpu/mmu.h"
#include "cpu/interp/vcpu_sys.h"

enum { SEL_TI = 4, SEL_RPL = 3 };

static uint16_t attr_of(uint64_t lo)
{
	return (uint16_t)((lo >> 40 & 0xff) | (lo >> 52 & 0xf) << 8);
}

bool desc_read(struct cpu *c, uint16_t sel, struct desc *ret)
{
	uint64_t base = c->st.gdtr.base;
	uint32_t limit = c->st.gdtr.limit, off = sel & 0xfff8;

	if (sel & SEL_TI) {
		if (!(c->st.ldtr.attr & SEG_P))
			return false;
		base = c->st.ldtr.base;
		limit = c->st.ldtr.limit;
	}
	if (off + 7 > limit)
		return false;
	ret->lin = base + off;
	ret->lo = sys_ld(c, ret->lin, 8);
	ret->hi = 0;
	ret->attr = attr_of(ret->lo);
	return true;
}

void desc_read_sys(struct cpu *c, uint16_t sel, struct desc *ret)
{
	uint32_t limit = sel & SEL_TI ? c->st.ldtr.limit : c->st.gdtr.limit;

	if (!desc_read(c, sel, ret))
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	if (!c->long_mode || (ret->attr & SEG_S))
		return;
	if ((sel & 0xfff8u) + 15 > limit)
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	ret->hi = sys_ld(c, ret->lin + 8, 8);
	if (ret->hi >> 40 & 0x1f) /* the second half must not look like a descriptor */
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
}

struct cpu_seg desc_to_seg(const struct desc *d, uint16_t sel)
{
	uint32_t limit = (uint32_t)((d->lo & 0xffff) | (d->lo >> 32 & 0xf0000));
	uint64_t base = (d->lo >> 16 & 0xffffff) | (d->lo >> 32 & 0xff000000);

	if (d->attr & SEG_G)
		limit = limit << 12 | 0xfff;
	return (struct cpu_seg){
		.base = base | d->hi << 32, .limit = limit, .sel = sel, .attr = d->attr
	};
}

void desc_set_accessed(struct cpu *c, struct desc *d)
{
	if (d->attr & SEG_TYPE_ACCESSED)
		return;
	mem_or8_sys(c, d->lin + 5, SEG_TYPE_ACCESSED);
	d->attr |= SEG_TYPE_ACCESSED;
}

struct cpu_seg seg_null(uint16_t sel, unsigned int dpl)
{
	return (struct cpu_seg){ .sel = sel, .attr = (uint16_t)(dpl << SEG_DPL_SHIFT) };
}

void seg_load_real(struct cpu *c, unsigned int reg, uint16_t sel)
{
	struct cpu_seg *s = &c->st.seg[reg];

	s->sel = sel;
	s->base = (uint64_t)sel << 4;
	if (c->st.rflags & RFLAGS_VM) {
		s->limit = 0xffff;
		s->attr = SEG_P | SEG_S | SEG_DPL | SEG_TYPE_WR | SEG_TYPE_ACCESSED;
	} else {
		/* Limit and default size stay what they were: "unreal" mode lives on that. */
		s->attr = (uint16_t)((s->attr & (SEG_DB | SEG_G)) | SEG_P | SEG_S | SEG_TYPE_WR |
				     SEG_TYPE_ACCESSED);
	}
}

static void load_ss(struct cpu *c, uint16_t sel)
{
	unsigned int rpl = sel & SEL_RPL, level = cpl(c);
	struct desc d;

	if (!(sel & 0xfffc)) {
		if (c->mode != CPU_MODE_64 || level == 3 || rpl != level)
			cpu_raise_err(c, VEC_GP, 0);
		c->st.seg[CPU_SS] = seg_null(sel, level);
		return;
	}
	if (!desc_read(c, sel, &d) || rpl != level || !desc_is_writable_data(&d) ||
	    desc_dpl(&d) != level)
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_SS, sel & 0xfffc);
	desc_set_accessed(c, &d);
	c->st.seg[CPU_SS] = desc_to_seg(&d, sel);
}

static void load_data(struct cpu *c, unsigned int reg, uint16_t sel)
{
	unsigned int rpl = sel & SEL_RPL;
	struct desc d;

	if (!(sel & 0xfffc)) {
		c->st.seg[reg] = seg_null(sel, 0);
		return;
	}
	if (!desc_read(c, sel, &d) || !(d.attr & SEG_S) ||
	    (desc_is_code(&d) && !(d.attr & SEG_TYPE_WR)))
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	if (!(desc_is_code(&d) && desc_is_conforming(&d)) &&
	    (rpl > desc_dpl(&d) || cpl(c) > desc_dpl(&d)))
		cpu_raise_err(c, VEC_GP, sel & 0xfffc);
	if (!(d.attr & SEG_P))
		cpu_raise_err(c, VEC_NP, sel & 0xfffc);
	desc_set_accessed(c, &d);
	c->st.seg[reg] = desc_to_seg(&d, sel);
}

void seg_load(struct cpu *c, unsigned int reg, uint16_t sel)
{
	if (!c->protected_mode)
		seg_load_real(c, reg, sel);
	else if (reg == CPU_SS)
		load_ss(c, sel);
	else
		load_data(c, reg, sel);
	interp_mode_changed(c);
}

void seg_drop_inner(struct cpu *c, unsigned int new_cpl)
{
	static const uint8_t regs[] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };

	for (unsigned int k = 0; k < ARRAY_SIZE(regs); k++) {
		struct cpu_seg *s = &c->st.seg[regs[k]];
		unsigned int dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT;
		bool conforming = (s->attr & SEG_TYPE_CODE) && (s->attr & SEG_TYPE_DOWN);

		/* Null selectors lose their RPL; 64-bit code goes on using FS and GS by their bases. */
		if (!(s->attr & SEG_P) || (dpl < new_cpl && !conforming)) {
			uint64_t base = s->base;

			*s = seg_null(0, 0);
			s->base = base;
		}
	}
}

/* Which segments need no check outside 64-bit mode. */
static uint8_t seg_ok_of(const struct cpu *c, const struct cpu_seg *s)
{
	uint8_t ok = 0;

	if (s->limit != UINT32_MAX)
		return 0;
	if (!c->protected_mode)
		return SEG_OK_R | SEG_OK_W;
	if (!(s->attr & SEG_P) || !(s->attr & SEG_S))
		return 0;
	if (s->attr & SEG_TYPE_CODE)
		return s->attr & SEG_TYPE_WR ? SEG_OK_R : 0;
	if (s->attr & SEG_TYPE_DOWN)
		return 0;
	ok = SEG_OK_R;
	return s->attr & SEG_TYPE_WR ? ok | SEG_OK_W : ok;
}

void interp_mode_changed(struct cpu *c)
{
	const struct cpu_seg *cs = &c->st.seg[CPU_CS];

	c->long_mode = c->st.efer & EFER_LMA;
	c->protected_mode = (c->st.cr0 & CR0_PE) && !(c->st.rflags & RFLAGS_VM);
	if (c->long_mode && (cs->attr & SEG_L))
		c->mode = CPU_MODE_64;
	else
		c->mode = cs->attr & SEG_DB ? CPU_MODE_32 : CPU_MODE_16;
	for (unsigned int k = 0; k < CPU_NR_SEGS && c->mode != CPU_MODE_64; k++)
		c->seg_ok[k] = seg_ok_of(c, &c->st.seg[k]);
	tlb_select(c);
	interp_leave(c);
}

/* Is [off, off + size) inside the segment? */
static bool limit_ok(const struct cpu_seg *s, bool protected_mode, uint64_t off, unsigned int size)
{
	uint64_t last = off + size - 1;

	if (protected_mode && !(s->attr & SEG_TYPE_CODE) && (s->attr & SEG_TYPE_DOWN))
		return off > s->limit && last <= (s->attr & SEG_DB ? UINT32_MAX : 0xffff);
	return last <= s->limit;
}

void seg_check_canonical(struct cpu *c, uint64_t off)
{
	if (!mmu_is_canonical(c, off))
		cpu_raise_err(c, VEC_GP, 0);
}

uint64_t seg_check(struct cpu *c, unsigned int seg, uint64_t off, unsigned int size, bool write)
{
	const struct cpu_seg *s = &c->st.seg[seg];
	unsigned int vector = seg == CPU_SS ? VEC_SS : VEC_GP;

	if (c->protected_mode) {
		if (!(s->attr & SEG_P))
			cpu_raise_err(c, vector, 0);
		if (write ? (s->attr & SEG_TYPE_CODE) || !(s->attr & SEG_TYPE_WR)
			  : (s->attr & (SEG_TYPE_CODE | SEG_TYPE_WR)) == SEG_TYPE_CODE)
			cpu_raise_err(c, VEC_GP, 0);
	}
	if (unlikely(!limit_ok(s, c->protected_mode, off, size)))
		cpu_raise_err(c, vector, 0);
	return (uint32_t)(off + s->base);
}
