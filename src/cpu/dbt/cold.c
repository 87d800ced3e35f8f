// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What emitters share: cold code, host program counters that may trap, and the call of an interpreter's handler.
 */
#include "cpu/dbt/translate.h"

struct tcold *t_cold(struct tctx *t, void (*emit)(struct tctx *t, struct tcold *x))
{
	struct tcold *x;

	if (t->nr_cold == TB_MAX_COLD) {
		t->e.overflow = true;
		t->nr_cold--;
	}
	x = &t->cold[t->nr_cold++];
	*x = (struct tcold){ .emit = emit, .cur = (uint16_t)t->cur, .mapped = t->mapped };
	return x;
}

void t_jcc_cold(struct tctx *t, unsigned int cc, struct tcold *x)
{
	E(&t->e, 0x0f, (uint8_t)(0x80 | cc));
	x->site = t->e.p;
	e32(&t->e, 0);
}

static void cold_exit(struct tctx *t, struct tcold *x)
{
	t_exit(t, x->word);
}

void t_jcc_exit(struct tctx *t, unsigned int cc, unsigned int kind)
{
	struct tcold *x = t_cold(t, cold_exit);

	x->word = t_word(t, kind);
	t_jcc_cold(t, cc, x);
}

/* Where a signal goes on when registers are not in their places. a: which of the counters */
static void cold_trap(struct tctx *t, struct tcold *x)
{
	t->pcs[x->a].stub = (uint16_t)(e_rx(&t->e) - t->b.code);
	t_exit(t, t_word(t, DBT_EXIT_INTERP));
}

void t_pc(struct tctx *t)
{
	struct tpc *p = &t->pcs[t->b.nr_pcs];

	*p = (struct tpc){ .code = (uint16_t)(e_rx(&t->e) - t->b.code), .off = t_cur(t)->off };
	if (t->flags == TF_HOST)
		p->off |= TPC_HOST_FLAGS;
	if (t->mapped)
		t_cold(t, cold_trap)->a = (uint8_t)t->b.nr_pcs;
	t->b.nr_pcs++;
}

/* The handler's operands, as data between the cold code. */
static void cold_insn(struct tctx *t, struct tcold *x)
{
	static const uint8_t zero[8];
	unsigned int pad = (unsigned int)(-(uintptr_t)e_rx(&t->e) & 7);
	uint32_t rel;

	e_bytes(&t->e, zero, pad);
	rel = (uint32_t)(e_rx(&t->e) - (x->site + t->e.to_rx + 4));
	memcpy(x->site, &rel, sizeof(rel));
	e_bytes(&t->e, &t->insn[x->cur].insn, sizeof(struct insn));
}

void t_handler(struct tctx *t)
{
	struct tcold *x = t_cold(t, cold_insn);
	struct emit *e = &t->e;

	t_flags_spill(t);
	map_leave(t);
	E(e, 0x4c, 0x8d, 0x15); /* lea insn(%rip),%r10 */
	x->site = e->p;
	e32(e, 0);
	e_movi32(e, H_S1,
		 t_word(t, DBT_EXIT_NEXT) | (t_cur(t)->ends	   ? DBT_ENDS
					     : t->cur + 1 == t->nr ? 0
								   : DBT_MORE));
	e_call(e, t->d->tramp.handler);
	map_enter(t);
	t->fpu_ready = 0;
	if (!t_cur(t)->ends)
		return;
	e_load64(e, H_S1, H_CPU, CPU_DISP(st.rip));
	e_jmp(e, t->d->tramp.indirect);
}
