// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An instruction that lies in two pages is a block of its own. The block is found by the first page, like any other; of
 * the second it checks, each time, that it is mapped where it was (the execute tag of the TLB), and that nothing decoded has
 * been written there since (the generation of its record). Otherwise the interpreter executes the instruction.
 *
 * The branch that closes a loop may lie so, too: then it is part of the loop's block, which checks the mapping when it is
 * entered, and the bytes each time around. Otherwise the variant without shared checks runs, which ends before the branch.
 */
#include "cpu/dbt/translate.h"
#include "cpu/interp/vcpu_sys.h"

bool cross_begin(struct tctx *t)
{
	uint64_t next = (t->c->st.rip | GUEST_PAGE_MASK) + 1;
	const struct tlb_entry *e;
	struct tlb_set *set;
	unsigned int k;

	if (!t->is_64)
		next = (uint32_t)next;
	k = tlb_index(next);
	e = &t->c->sys->tlb_fetch[k];
	set = (struct tlb_set *)(void *)t->c->sys->tlb_fetch;
	if (e->x != next)
		return false;
	t->page2 = (const uint8_t *)e->page;
	t->record2 = code_page_get(t->c->grp->code, t->page2);
	t->generation2 = code_page_cover(t->c, t->record2, 0, CODE_PIECE, set->back[k].flags);
	memcpy(t->bytes + GUEST_PAGE_SIZE, t->page2, INSN_MAX_LEN);
	t->end = GUEST_PAGE_SIZE + INSN_MAX_LEN;
	t->crosses = true;
	return true;
}

/* jcc, of 2 bytes or of 6: known by what is in the first page */
static bool may_be_jcc(const uint8_t *p, unsigned int n)
{
	return p[0] >> 4 == 7 || (p[0] == 0x0f && (n == 1 || p[1] >> 4 == 8));
}

bool cross_loop(struct tctx *t, unsigned int off)
{
	struct dinsn d;

	if (t->crosses || !t->nr || (t->b.key & DBT_KEY_ALONE) ||
	    !may_be_jcc(t->bytes + off, GUEST_PAGE_SIZE - off) || !cross_begin(t))
		return false;
	if (t_decode(t, off, &d) && d.cls == DCLS_JCC &&
	    (int32_t)off + d.len + (int32_t)d.imm == (int32_t)t->b.off)
		return true;
	t->crosses = false;
	t->end = GUEST_PAGE_SIZE;
	return false;
}

static void cold_alone(struct tctx *t, struct tcold *x)
{
	(void)x;
	t_goto_alone(t, t->b.off);
}

static void jne_otherwise(struct tctx *t)
{
	if (t->nr > 1)
		t_jcc_cold(t, 5, t_cold(t, cold_alone));
	else
		t_jcc_exit(t, 5, DBT_EXIT_INTERP);
}

void cross_check_bytes(struct tctx *t)
{
	struct emit *e = &t->e;

	if (!t->crosses)
		return;
	e_movi64(e, H_S2, (uintptr_t)&t->record2->generation);
	E(e, 0x41, 0x81, 0x3a); /* cmpl $generation,(%r10) */
	e32(e, t->generation2);
	jne_otherwise(t);
}

void cross_check(struct tctx *t)
{
	struct emit *e = &t->e;

	if (!t->crosses)
		return;
	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.pbase));
	e_rex(e, t->is_64, H_S1, 0, H_S1); /* lea 4096(%r9),%r9 */
	e8(e, 0x8d);
	e_mem(e, H_S1, H_S1, GUEST_PAGE_SIZE);
	t_tlb_lookup(t, offsetof(struct tlb_entry, x));
	E(e, 0x4d, 0x85, 0xc9); /* test %r9,%r9 */
	jne_otherwise(t);
	e_movi64(e, H_S1, (uintptr_t)t->page2);
	e_rex(e, 1, H_S1, 0, H_S2); /* cmp PAGE(%r10),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_S2, offsetof(struct tlb_entry, page));
	jne_otherwise(t);
	cross_check_bytes(t);
}
