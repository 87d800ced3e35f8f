// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exception pointers of the x87 unit, from the host's addresses back to the guest's.
 *
 * The program counter leads to the block and the guest instruction; a page knows nothing of the linear address it
 * was executed at, so the TLB is searched for it. The same for the operand. That is slow (some microseconds) and
 * happens only when an unmasked exception is pending while the state is saved. A data page that has left the TLB
 * since is not found: its pointer reads as 0.
 */
#include "cpu/dbt/run.h"
#include "cpu/dbt/x87_pointers.h"
#include "cpu/interp/sys_priv.h"

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

/* The opcode field and the segment of the instruction at @off of a page. */
static uint16_t parse(const uint8_t *page, unsigned int off, bool is_64, unsigned int *ret_seg)
{
	unsigned int op, modrm;

	for (; off < GUEST_PAGE_SIZE - 2; off++) {
		uint8_t b = page[off];

		if (b == 0x64 || b == 0x65)
			*ret_seg = b == 0x64 ? CPU_FS : CPU_GS;
		else if ((b & 0xe7) == 0x26)
			*ret_seg = b >> 3 & 3;
		else if (b != 0x66 && b != 0x67 && b != 0xf2 && b != 0xf3 &&
			 !(is_64 && (b & 0xf0) == 0x40))
			break;
	}
	op = page[off];
	modrm = page[off + 1];
	return (uint16_t)((op & 7) << 8 | modrm);
}

void x87_pointers_fix(struct cpu *c, const struct x87_pointers *old)
{
	struct cpu_fpu *f = &c->st.fpu;
	unsigned int seg = CPU_DS;
	const struct tpc *pc;
	const struct tblock *b;
	uint64_t lin;

	/* No x87 instruction since the state was loaded. */
	if (f->fip == old->fip) {
		f->fdp = old->fdp;
		f->fop = old->fop;
		f->fcs = old->fcs;
		f->fds = old->fds;
		return;
	}
	b = dbt_pc_find(dbt_cpu(c)->dbt, (const uint8_t *)(uintptr_t)f->fip, &pc);
	f->fip = 0;
	f->fop = 0;
	f->fcs = c->st.seg[CPU_CS].sel;
	if (b) {
		f->fop = parse(b->page, pc->off & TPC_OFF, b->key & DBT_KEY_64, &seg);
		f->fip = code_page(c, b) + (pc->off & TPC_OFF);
	}
	if (f->fdp == old->fdp) {
		f->fds = old->fds;
		return;
	}
	lin = find_page(c->sys->tlb_fetch, f->fdp & ~GUEST_PAGE_MASK, false);
	f->fds = lin == NOT_FOUND ? 0 : c->st.seg[seg].sel;
	f->fdp = lin == NOT_FOUND ? 0 : lin + (f->fdp & GUEST_PAGE_MASK);
	if (f->fdp && seg >= CPU_FS)
		f->fdp -= c->st.seg[seg].base;
}
