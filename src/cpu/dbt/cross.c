// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An instruction that lies in two pages is a block of its own. The block is found by the first page, like any other; of
 * the second it checks, each time, that it is mapped where it was (the execute tag of the TLB), and that nothing decoded has
 * been written there since (the generation of its record). Otherwise the interpreter executes the instruction.
 */
#include "cpu/dbt/translate.h"
#include "cpu/interp/vcpu_sys.h"

enum { PIECE = 64 };

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
	t->generation2 = code_page_cover(t->c, t->record2, 0, PIECE, set->back[k].flags);
	memcpy(t->bytes + GUEST_PAGE_SIZE, t->page2, INSN_MAX_LEN);
	t->end = GUEST_PAGE_SIZE + INSN_MAX_LEN;
	t->crosses = true;
	return true;
}

static void cold_interp(struct tctx *t, struct tcold *x)
{
	t_exit(t, x->word);
}

static void movabs(struct emit *e, unsigned int reg, uint64_t v)
{
	e_rex(e, 1, 0, 0, reg);
	e8(e, 0xb8 | (reg & 7));
	e64(e, v);
}

void cross_check(struct tctx *t)
{
	struct emit *e = &t->e;
	struct tcold *x;

	if (!t->crosses)
		return;
	e_load64(e, H_S1, H_CPU, CPU_DISP(hot.pbase));
	e_rex(e, t->is_64, H_S1, 0, H_S1); /* lea 4096(%r9),%r9 */
	e8(e, 0x8d);
	e_mem(e, H_S1, H_S1, GUEST_PAGE_SIZE);
	t_tlb_lookup(t, offsetof(struct tlb_entry, x));
	E(e, 0x4d, 0x85, 0xc9); /* test %r9,%r9 */
	x = t_cold(t, cold_interp);
	x->word = t_word(t, DBT_EXIT_INTERP);
	t_jcc_cold(t, 5, x);
	movabs(e, H_S1, (uintptr_t)t->page2);
	e_rex(e, 1, H_S1, 0, H_S2); /* cmp PAGE(%r10),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_S2, offsetof(struct tlb_entry, page));
	x = t_cold(t, cold_interp);
	x->word = t_word(t, DBT_EXIT_INTERP);
	t_jcc_cold(t, 5, x);
	movabs(e, H_S2, (uintptr_t)&t->record2->generation);
	E(e, 0x41, 0x81, 0x3a); /* cmpl $generation,(%r10) */
	e32(e, t->generation2);
	x = t_cold(t, cold_interp);
	x->word = t_word(t, DBT_EXIT_INTERP);
	t_jcc_cold(t, 5, x);
}
