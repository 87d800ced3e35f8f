// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MOVS, STOS and LODS upwards: a load, a store, the index registers moved. REP MOVS and REP STOS upwards within one page of
 * memory on each side run on the host as they are. Whatever is different (DF, a longer count, a page's end, memory that
 * is not in the TLB) is the interpreter's, which copies page by page and stops between two steps when somebody wants
 * the CPU.
 */
#include "cpu/dbt/translate.h"

/* Opcodes, the lowest bit aside. */
enum { MOVS = 0xa4, STOS = 0xaa, LODS = 0xac };

/* The whole instruction by the handler, then back. */
static void cold_handler(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;
	const uint8_t *insn;

	while ((uintptr_t)(e_rx(e) + 5) % _Alignof(struct insn) && !e->overflow)
		e8(e, 0x90);
	e_jmp(e, e_rx(e) + 5 + sizeof(struct insn));
	insn = e_rx(e);
	e_bytes(e, &t->insn[x->cur].insn, sizeof(struct insn));
	if (!e->overflow)
		memcpy(x->site, &(uint32_t){ (uint32_t)(e_rx(e) - (x->site + e->to_rx + 4)) }, 4);
	E(e, 0x4c, 0x8d, 0x15); /* lea insn(%rip),%r10 */
	e_rel32(e, insn);
	e_movi32(e, H_S1, t_word(t, DBT_EXIT_NEXT));
	e_call(e, t->d->tramp.handler);
	e_jmp(e, x->again);
}

/* op $imm32,%reg: cmp 7, and 4 */
static void op_imm(struct emit *e, unsigned int digit, bool wide, unsigned int reg, uint32_t v)
{
	e_rex(e, wide, 0, 0, reg);
	E(e, 0x81, 0xc0 | digit << 3 | (reg & 7));
	e32(e, v);
}

/* r9 = host address of [@reg, + rcx << log), all in one page; else to the handler. */
static void host_range(struct tctx *t, unsigned int reg, unsigned int log, uint8_t tag,
		       struct tcold **fail)
{
	struct emit *e = &t->e;

	if (t->is_64)
		e_mov64(e, H_S1, reg);
	else
		e_mov32(e, H_S1, reg);
	t_tlb_lookup(t, tag);
	op_imm(e, 7, true, H_S1, GUEST_PAGE_SIZE - 1);
	fail[1] = t_cold(t, cold_handler);
	t_jcc_cold(t, 7, fail[1]);
	e_rex(e, 1, H_S1, H_RCX, H_S1); /* lea (%r9,%rcx,size),%r9 */
	E(e, 0x8d, (H_S1 & 7) << 3 | 4, log << 6 | H_RCX << 3 | (H_S1 & 7));
	op_imm(e, 7, true, H_S1, GUEST_PAGE_SIZE);
	fail[0] = t_cold(t, cold_handler);
	t_jcc_cold(t, 7, fail[0]);
	e_mov32(e, H_S1, reg);
	op_imm(e, 4, false, H_S1, GUEST_PAGE_MASK);
	e_rex(e, 1, H_S1, 0, H_S2); /* add PAGE(%r10),%r9 */
	e8(e, 0x03);
	e_mem(e, H_S1, H_S2, offsetof(struct tlb_entry, page));
}

/* lea (%to,%r10,size),%to: an index register moves by what was done */
static void advance(struct tctx *t, unsigned int to, unsigned int from, unsigned int log)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, to, H_S2, from);
	E(e, 0x8d, 0x44 | (to & 7) << 3, log << 6 | (H_S2 & 7) << 3 | (from & 7), 0);
}

/* Only upwards. */
static void check_df(struct tctx *t, struct tcold **fail)
{
	struct emit *e = &t->e;

	t_flags_spill(t);
	E(e, 0x41, 0xf6); /* testb $DF,st.rflags+1 */
	e_mem(e, 0, H_CPU, CPU_DISP(st.rflags) + 1);
	e8(e, RFLAGS_DF >> 8);
	*fail = t_cold(t, cold_handler);
	t_jcc_cold(t, 5, *fail);
}

/* mov between the low @size bytes of a register and memory; @op: the opcode for bytes. */
static void mov_sized(struct tctx *t, unsigned int op, unsigned int reg, const struct hostmem *m,
		      unsigned int size)
{
	struct emit *e = &t->e;

	if (size == 2)
		e8(e, 0x66);
	e_rex(e, size == 8, reg, m->index == DREG_NONE ? 0 : m->index, m->base);
	e8(e, size == 1 ? op : op | 1);
	e_sib(e, reg, m->base, m->index, 0, m->disp);
}

static void emit_one(struct tctx *t, const struct dinsn *d)
{
	unsigned int kind = d->op & ~1u, size = d->opsize;
	struct dinsn src = *d, dst = *d;
	struct emit *e = &t->e;
	struct tcold *fail;
	struct hostmem m;

	src.index = dst.index = DREG_NONE;
	src.disp = dst.disp = 0;
	src.base = CPU_RSI;
	dst.base = CPU_RDI;
	check_df(t, &fail);
	if (kind != STOS) {
		t_mem(t, &src, size, DROLE_R, &m);
		mov_sized(t, 0x8a, kind == LODS ? H_RAX : H_S1, &m, size);
	}
	if (kind == MOVS)
		e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
	if (kind != LODS) {
		t_mem(t, &dst, size, DROLE_W, &m);
		t_mem_merge(t, &m);
		if (kind == MOVS)
			e_load64(e, H_S2, H_CPU, CPU_DISP(hot.spill[0]));
		mov_sized(t, 0x88, kind == MOVS ? H_S2 : H_RAX, &m, size);
		e_lea(e, t->is_64, H_RDI, H_RDI, DREG_NONE, 0, (int32_t)size);
	}
	if (kind != STOS)
		e_lea(e, t->is_64, H_RSI, H_RSI, DREG_NONE, 0, (int32_t)size);
	fail->again = e_rx(e);
}

static void emit_rep(struct tctx *t, const struct dinsn *d)
{
	unsigned int log = (unsigned int)__builtin_ctz(d->opsize), kind = d->op & ~1u;
	struct tcold *fail[6] = { NULL };
	struct emit *e = &t->e;

	check_df(t, &fail[0]);
	/* All 64 bits, which the host's instruction counts with: 32-bit code may have come with any upper half. */
	op_imm(e, 7, true, H_RCX, (uint32_t)GUEST_PAGE_SIZE >> log);
	fail[1] = t_cold(t, cold_handler);
	t_jcc_cold(t, 7, fail[1]);

	host_range(t, H_RDI, log, offsetof(struct tlb_entry, w), &fail[2]);
	if (kind == MOVS) {
		e_store64(e, H_CPU, CPU_DISP(hot.spill[0]), H_S1);
		host_range(t, H_RSI, log, offsetof(struct tlb_entry, r), &fail[4]);
		e_store64(e, H_CPU, CPU_DISP(hot.spill[1]), H_RDI);
		e_load64(e, H_RDI, H_CPU, CPU_DISP(hot.spill[0]));
		e_mov64(e, H_S2, H_RSI);
		e_mov64(e, H_RSI, H_S1);
		e_mov64(e, H_S1, H_S2);
	} else {
		e_store64(e, H_CPU, CPU_DISP(hot.spill[1]), H_RDI);
		e_mov64(e, H_RDI, H_S1);
	}
	e_mov64(e, H_S2, H_RCX);
	e8(e, 0xf3);
	if (d->opsize == 2)
		e8(e, 0x66);
	if (d->opsize == 8)
		e8(e, 0x48);
	e8(e, d->op);
	if (kind == MOVS)
		advance(t, H_RSI, H_S1, log);
	e_load64(e, H_RDI, H_CPU, CPU_DISP(hot.spill[1]));
	advance(t, H_RDI, H_RDI, log);
	for (unsigned int k = 0; k < ARRAY_SIZE(fail); k++)
		if (fail[k])
			fail[k]->again = e_rx(e);
}

bool emit_string(struct tctx *t, const struct dinsn *d)
{
	unsigned int kind = d->op & ~1u;
	bool rep = d->pfx & DPFX_F3;

	if (!(kind == MOVS || kind == STOS || (kind == LODS && !rep)) || (d->pfx & DPFX_F2) ||
	    d->seg != DSEG_FLAT || d->asize != (t->is_64 ? 8 : 4) || !t_bind_handler(t))
		return false;
	if (rep)
		emit_rep(t, d);
	else
		emit_one(t, d);
	t->fpu_ready = 0; /* the handler may have been called */
	return true;
}
