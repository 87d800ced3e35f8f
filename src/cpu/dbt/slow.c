// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slow memory accesses of translated code. The guest's vector registers stay in the host's meanwhile, so everything that
 * is reached from here is compiled for general registers only; what is not (a write hook, say) comes after a
 * dbt_fpu_save(), and then the registers are loaded again at the end.
 */
#include "cpu/dbt/run.h"
#include "cpu/interp/vcpu_sys.h"

static void fpu_again(struct cpu *c, unsigned int was)
{
	if (likely(c->hot.fpu_live == was))
		return;
	if (was & DBT_FPU_X87)
		dbt_fpu_load_x87(c);
	else
		dbt_fpu_load(c);
}

/* The stack's own entry: only a page that can be written without a look. */
static bool fill_stack(struct cpu *c, uint64_t lin)
{
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);
	uint64_t tag = lin & ~GUEST_PAGE_MASK;

	if (e->w != tag)
		return false;
	c->hot.stk_tag = tag;
	c->hot.stk_page = e->page;
	return true;
}

uint32_t dbt_slow_mem(struct cpu *c, uint64_t lin, uint32_t info)
{
	unsigned int was_live = c->hot.fpu_live;
	bool served;

	/* Before they look at the operand's page waiting instructions raise #MF, others #GP when it is misaligned. */
	if (unlikely(dbt_fpu_pending(c)) ||
	    ((info & DBT_ALIGNED) && (lin & ((1u << (info & 15)) - 1))))
		return 1;
	cpu_at(c, CPU_AT_HELPER);
	c->cur = NULL;
	dbt_place(c, info & ~DBT_ALIGNED);
#if DBT_SANITIZED
	/* The sanitizers' own code knows nothing of our registers. */
	dbt_fpu_save(c);
#endif
	served = mem_fill(c, lin, 1u << (info & 15),
			  (info & DBT_WRITE ? MEM_RMW : 0) | (info & DBT_SS ? MEM_SS : 0));
	if (served && (info & DBT_STACK))
		served = fill_stack(c, lin);
	if (served)
		c->stats.dbt_slow_mem++;
	else
		c->stats.dbt_slow_interp++;
	fpu_again(c, was_live);
	cpu_at(c, CPU_AT_CODE);
	return !served;
}

/* The first access of the span is done with whatever that raises; is the whole of it in one page that the TLB has now? */
uint32_t dbt_slow_span(struct cpu *c, uint64_t lin, uint32_t info)
{
	uint32_t word = (uint32_t)c->hot.spill[1], at = word & 0xffff, size = word >> 16 & 0x3fff;
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);
	uint64_t first = lin + at;
	uint64_t tag;

	if (dbt_slow_mem(c, c->mode == CPU_MODE_64 ? first : (uint32_t)first, info))
		return 1;
	tag = info & DBT_STACK ? c->hot.stk_tag : word >> 30 & 1 ? e->w : e->r;
	return (lin ^ tag) > GUEST_PAGE_SIZE - size;
}

/* Only the table for data is another one: code and return addresses stay. What may be written to the stack's page with
 * SMAP may be written without. */
static void set_ac(struct cpu *c, bool on)
{
	struct interp_sys *s = c->sys;

	if (!(c->st.rflags & RFLAGS_AC) == !on)
		return;
	c->st.rflags ^= RFLAGS_AC;
	if (!(c->st.cr4 & CR4_SMAP))
		return;
	s->priv = on ? MMU_SUPER : MMU_SUPER_SMAP;
	s->tlb_fetch = c->hot.tlb = s->ctx->set[s->priv].e;
	if (!on)
		stk_forget(c);
}

void dbt_stac(struct cpu *c)
{
	set_ac(c, true);
}

void dbt_clac(struct cpu *c)
{
	set_ac(c, false);
}
