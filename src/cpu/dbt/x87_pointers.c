// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exception pointers of the x87 unit, from the host's addresses back to the guest's.
 *
 * The program counter leads to the block and the guest instruction; a page knows nothing of the linear address it
 * was executed at, so the TLB is searched for it. The same for the operand. That is slow (some microseconds) and
 * happens only when an unmasked exception is pending while the state is saved. What cannot be found reads as 0.
 */
#include <string.h>

#include "cpu/dbt/run.h"
#include "cpu/dbt/x87_pointers.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

#define NOT_FOUND UINT64_C(1)

/* The linear address at which a page of host memory is mapped, or NOT_FOUND. Tags of empty entries are odd. */
static uint64_t find_page(const struct tlb_entry *tlb, uintptr_t page, bool code)
{
	for (unsigned int k = 0; k < TLB_SIZE; k++) {
		const struct tlb_entry *e = &tlb[k];
		uint64_t tag = code ? e->x : e->r & 1 ? e->w : e->r;

		if (!(tag & 1) && e->page == page)
			return tag;
	}
	return NOT_FOUND;
}

/* Where the TLB does not know: where the block was when it was translated. */
static uint64_t code_page(const struct cpu *c, const struct tblock *b)
{
	const struct tlb_entry *e = tlb_slot(c->sys->tlb_fetch, c->hot.pbase);
	uint64_t lin;

	if (e->x == c->hot.pbase && e->page == (uintptr_t)b->page)
		return e->x;
	lin = find_page(c->sys->tlb_fetch, (uintptr_t)b->page, true);
	return lin != NOT_FOUND ? lin : b->lin & ~GUEST_PAGE_MASK;
}

static uint64_t address(const struct cpu *c, const struct tblock *b, const struct dinsn *d)
{
	uint64_t ea = (uint64_t)(int64_t)d->disp;

	if (d->base < DREG_NONE)
		ea += c->st.gpr[d->base];
	else if (d->base == DREG_RIP)
		return 0; /* seldom, and the TLB knows nearly always */
	if (d->index < DREG_NONE)
		ea += c->st.gpr[d->index] << d->scale;
	return d->asize == 8 && (b->key & DBT_KEY_64) ? ea : (uint32_t)ea;
}

/* Where the TLB does not know: the instruction's address, as its registers are now, if that can be it. */
static uint64_t data_address(const struct cpu *c, uint64_t host, const struct tblock *b,
			     const struct dinsn *d)
{
	uint64_t seg_base = b && d->seg != DSEG_FLAT ? c->st.seg[d->seg].base : 0;
	uint64_t lin = find_page(c->sys->tlb_fetch, host & ~GUEST_PAGE_MASK, false);
	uint64_t ea = b && d->has_mem ? address(c, b, d) : 0;

	if (lin != NOT_FOUND)
		return lin + (host & GUEST_PAGE_MASK) - seg_base;
	return ((ea + seg_base) ^ host) & GUEST_PAGE_MASK ? 0 : ea;
}

/* The instruction's bytes; it may go on in the next page. Returns how many there are. */
static unsigned int fetch(const struct cpu *c, const struct tblock *b, unsigned int off,
			  uint64_t lin, uint8_t bytes[INSN_MAX_LEN])
{
	unsigned int n = MIN(GUEST_PAGE_SIZE - off, (unsigned int)INSN_MAX_LEN);
	uint64_t next = (b->key & DBT_KEY_64 ? lin : (uint32_t)lin) + n;
	const struct tlb_entry *e = tlb_slot(c->sys->tlb_fetch, next);

	memcpy(bytes, b->page + off, n);
	if (n == INSN_MAX_LEN || e->x != next)
		return n;
	memcpy(bytes + n, (const uint8_t *)e->page, INSN_MAX_LEN - n);
	return INSN_MAX_LEN;
}

void x87_pointers_fix(struct cpu *c, const struct x87_pointers *old)
{
	struct dbt *dbt = dbt_cpu(c)->dbt;
	struct cpu_fpu *f = &c->st.fpu;
	const struct tblock *b;
	const struct tpc *pc;
	uint8_t bytes[INSN_MAX_LEN];
	struct dinsn d;
	unsigned int off;
	uint64_t lin;

	/* No x87 instruction since the state was loaded. */
	if (f->fip == old->fip) {
		f->fdp = old->fdp;
		f->fop = old->fop;
		f->fcs = old->fcs;
		f->fds = old->fds;
		return;
	}
	b = dbt_pc_find(dbt, (const uint8_t *)(uintptr_t)f->fip, &pc);
	off = b ? pc->off & TPC_OFF : 0;
	lin = b ? code_page(c, b) + off : 0;
	if (b && !decode(dbt->table, bytes, fetch(c, b, off, lin, bytes), b->key & DBT_KEY_64, &d))
		b = NULL;
	f->fip = b ? lin : 0;
	f->fop = b ? (uint16_t)((d.op & 7) << 8 | bytes[d.modrm_at]) : 0;
	f->fcs = c->st.seg[CPU_CS].sel;
	if (f->fdp == old->fdp) {
		f->fds = old->fds;
		return;
	}
	f->fdp = data_address(c, f->fdp, b, &d);
	f->fds = c->st.seg[b && d.seg != DSEG_FLAT ? d.seg : CPU_DS].sel;
}
