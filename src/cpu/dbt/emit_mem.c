// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory operands: the address, and the check that turns a linear address into a host one.
 *
 *	lea ADDRESS,%r9; rorx $7,%r9,%r10; xor %r9,%r10; shr $7,%r10; and $0x1ffe0,%r10d; add hot.tlb,%r10
 *	xor TAG(%r10),%r9; cmp $4096-size,%r9; ja cold; mov PAGE(%r10),%r10	-> operand (%r10,%r9)
 *
 * One comparison covers the tag and an access that leaves its page. Accesses relative to the stack pointer compare
 * with one entry that is kept for the stack first: no index to compute.
 */
#include "cpu/dbt/translate.h"

unsigned int t_reg_in(struct tctx *t, unsigned int n, unsigned int scratch)
{
	unsigned int h = t_guest_reg(t, n);

	if (h != DREG_NONE)
		return h;
	e_load64(&t->e, scratch, H_CPU, GPR_DISP(n));
	return scratch;
}

/* add hot-or-state field, 64 or 32 bits */
static void e_add_field(struct emit *e, bool wide, unsigned int to, int32_t disp)
{
	e_rex(e, wide, to, 0, H_CPU);
	e8(e, 0x03);
	e_mem(e, to, H_CPU, disp);
}

void t_ea(struct tctx *t, const struct dinsn *d, unsigned int to)
{
	struct emit *e = &t->e;
	bool wide = d->asize == 8;
	unsigned int base = DREG_NONE, index = DREG_NONE;

	if (d->base == DREG_RIP) {
		int32_t disp = (int32_t)(t_next_off(t) + (uint32_t)d->disp);

		e_load64(e, to, H_CPU, CPU_DISP(hot.pbase));
		e_lea(e, wide, to, to, DREG_NONE, 0, disp);
		return;
	}
	if (d->index != DREG_NONE)
		index = t_reg_in(t, d->index, H_S2);
	if (d->base != DREG_NONE)
		base = t_reg_in(t, d->base, to);
	if (index == DREG_NONE && base != DREG_NONE && d->disp == 0) {
		if (base == to && wide)
			return;
		if (wide)
			e_mov64(e, to, base);
		else
			e_mov32(e, to, base);
		return;
	}
	if (index == DREG_NONE && base == DREG_NONE) {
		if (d->disp >= 0 || !wide) {
			e_movi32(e, to, (uint32_t)d->disp);
		} else {
			e_rex(e, 1, 0, 0, to);
			e8(e, 0xc7);
			e8(e, 0xc0 | (to & 7));
			e32(e, (uint32_t)d->disp);
		}
		return;
	}
	e_lea(e, wide, to, base, index, d->scale, d->disp);
}

void t_cmp_canonical(struct tctx *t)
{
	struct emit *e = &t->e;

	e_mov64(e, H_S2, H_S1);
	E(e, 0x49, 0xc1, 0xfa, 47); /* sar $47,%r10 */
	E(e, 0x49, 0xff, 0xc2);	    /* inc %r10 */
	E(e, 0x49, 0x83, 0xfa, 1);  /* cmp $1,%r10 */
}

void t_canonical(struct tctx *t)
{
	t_cmp_canonical(t);
	t_jcc_exit(t, 7, DBT_EXIT_INTERP);
}

/* Segments FS and GS: the offset must be canonical, too; a constant is. */
static void add_segment(struct tctx *t, const struct dinsn *d)
{
	if (t->is_64 && d->asize == 8 && (d->base < DREG_NONE || d->index < DREG_NONE))
		t_canonical(t);
	e_add_field(&t->e, t->is_64, H_S1,
		    CPU_DISP(st.seg[0].base) + (int32_t)sizeof(struct cpu_seg) * d->seg);
}

static void cmp_ja(struct tctx *t, unsigned int reg, unsigned int size, struct tcold *x)
{
	struct emit *e = &t->e;

	E(e, 0x49, 0x81, 0xf8 | (reg & 7)); /* cmp $4096-size,%reg */
	e32(e, (uint32_t)(GUEST_PAGE_SIZE - size));
	t_jcc_cold(t, 7, x);
}

static uint32_t info_word(const struct tctx *t, unsigned int size, bool write, bool ss)
{
	unsigned int log = 0;

	while ((1u << log) < size)
		log++;
	return DBT_WORD(log, t_cur(t)->off) | DBT_FLAGS_MEM | (write ? DBT_WRITE : 0) |
	       (ss ? DBT_SS : 0) | (t_cur(t)->d.mem_align ? DBT_ALIGNED : 0);
}

static void call_slow(struct tctx *t, uint32_t word, const uint8_t *tramp)
{
	map_leave(t);
	e_movi32(&t->e, H_S2, word);
	e_call(&t->e, tramp);
	map_enter(t);
}

/* a: offset of the tag in the entry. Undo the xor, let C fill the TLB, try again. */
static void cold_miss(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	e_rex(e, 1, H_S1, 0, H_S2); /* xor TAG(%r10),%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, H_S2, x->a);
	call_slow(t, x->word, t->d->tramp.mem_slow);
	e_jmp(e, x->again);
}

/* The same when two more registers are free. Here tmp = address xor tag, r9 = offset in the page. */
static void cold_chase(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	e_mov64(e, H_S1, t->tmp_reg);
	e_rex(e, 1, H_S1, H_S2, t->tlb_reg); /* xor TAG(tlb,%r10),%r9 */
	e8(e, 0x33);
	e_sib(e, H_S1, t->tlb_reg, H_S2, 0, x->a);
	call_slow(t, x->word, t->d->tramp.mem_slow);
	e_jmp(e, x->again);
}

/* rorx $by,%r9,to */
static void rorx_r9(struct emit *e, unsigned int to, unsigned int by)
{
	E(e, 0xc4, to >= 8 ? 0x43 : 0xc3, 0xfb, 0xf0, 0xc0 | (to & 7) << 3 | (H_S1 & 7), by);
}

/* r9 = linear address: operand (%r10,%r9). Both halves of the hash at once, no address of an entry, and the offset does not
 * wait for the tag. */
static void check_chase(struct tctx *t, unsigned int size, struct tcold *x)
{
	struct emit *e = &t->e;
	unsigned int tmp = t->tmp_reg;

	x->emit = cold_chase;
	t_tally_mem(t);
	rorx_r9(e, H_S2, GUEST_PAGE_SHIFT - TLB_ENTRY_SHIFT);
	rorx_r9(e, tmp, GUEST_PAGE_SHIFT - TLB_ENTRY_SHIFT + TLB_HASH);
	e_rex(e, 1, H_S2, 0, tmp); /* xor tmp,%r10 */
	E(e, 0x33, 0xc0 | (H_S2 & 7) << 3 | (tmp & 7));
	E(e, 0x41, 0x81, 0xe2); /* and $mask,%r10d */
	e32(e, (TLB_SIZE - 1) << TLB_ENTRY_SHIFT);
	e_mov64(e, tmp, H_S1);
	e_rex(e, 1, tmp, H_S2, t->tlb_reg); /* xor TAG(tlb,%r10),tmp */
	e8(e, 0x33);
	e_sib(e, tmp, t->tlb_reg, H_S2, 0, x->a);
	E(e, 0x41, 0x81, 0xe1); /* and $0xfff,%r9d */
	e32(e, GUEST_PAGE_MASK);
	e_rex(e, 1, 0, 0, tmp); /* cmp $4096-size,tmp */
	E(e, 0x81, 0xf8 | (tmp & 7));
	e32(e, (uint32_t)(GUEST_PAGE_SIZE - size));
	t_jcc_cold(t, 7, x);
	e_rex(e, 1, H_S2, H_S2, t->tlb_reg); /* mov PAGE(tlb,%r10),%r10 */
	e8(e, 0x8b);
	e_sib(e, H_S2, t->tlb_reg, H_S2, 0, offsetof(struct tlb_entry, page));
}

static void cold_stack(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;

	e_rex(e, 1, H_S1, 0, H_CPU); /* xor hot.stk_tag,%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, H_CPU, CPU_DISP(hot.stk_tag));
	call_slow(t, x->word | DBT_STACK, t->d->tramp.stk_slow);
	e_jmp(e, x->again);
}

static void check_stack(struct tctx *t, unsigned int size, bool write)
{
	struct tcold *x = t_cold(t, cold_stack);
	struct emit *e = &t->e;

	x->again = e_rx(e);
	x->word = info_word(t, size, write, true);
	e_rex(e, 1, H_S1, 0, H_CPU); /* xor hot.stk_tag,%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, H_CPU, CPU_DISP(hot.stk_tag));
	cmp_ja(t, H_S1, size, x);
	e_load64(e, H_S2, H_CPU, CPU_DISP(hot.stk_page));
}

/* --- shared checks ------------------------------------------------------------------------------- */

void t_tlb_slot(struct tctx *t)
{
	struct emit *e = &t->e;

	if (__builtin_cpu_supports("bmi2")) {
		rorx_r9(e, H_S2, TLB_HASH);
	} else {
		e_mov64(e, H_S2, H_S1);
		E(e, 0x49, 0xc1, 0xea, TLB_HASH); /* shr $7,%r10 */
	}
	e_rex(e, 1, H_S2, 0, H_S1); /* xor %r9,%r10: bits 12 and up are the slot now */
	E(e, 0x33, 0xc0 | (H_S2 & 7) << 3 | (H_S1 & 7));
	E(e, 0x49, 0xc1, 0xea, GUEST_PAGE_SHIFT - TLB_ENTRY_SHIFT); /* shr $7,%r10 */
	E(e, 0x41, 0x81, 0xe2);					    /* and $mask,%r10d */
	e32(e, (TLB_SIZE - 1) << TLB_ENTRY_SHIFT);
	e_add_field(e, true, H_S2, CPU_DISP(hot.tlb));
}

void t_tlb_lookup(struct tctx *t, uint8_t tag)
{
	struct emit *e = &t->e;

	t_tally_mem(t);
	t_tlb_slot(t);
	e_rex(e, 1, H_S1, 0, H_S2); /* xor TAG(%r10),%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, H_S2, tag);
}

/* r9 = linear address of a span that the TLB did not have. When it cannot be had, the rest of the block goes on with checks
 * for each access. */
static void span_slow(struct tctx *t, const struct tcold *x)
{
	bool mapped = t->mapped;
	struct emit *e = &t->e;
	uint8_t *retry;

	e_rex(e, 1, 0, 0, H_CPU); /* movq $word,hot.spill[1] */
	e8(e, 0xc7);
	e_mem(e, 0, H_CPU, CPU_DISP(hot.spill[1]));
	e32(e, x->span);
	map_leave(t);
	e_movi32(e, H_S2, x->word);
	e_call(e, t->d->tramp.span_slow);
	E(e, 0x0f, 0x84); /* je retry */
	retry = e->p;
	e32(e, 0);
	t->mapped = false;
	t_goto_alone(t, t_cur(t)->off);
	if (!e->overflow) {
		uint32_t rel = (uint32_t)(e->p - (retry + 4));

		memcpy(retry, &rel, sizeof(rel));
	}
	t->mapped = mapped;
	map_enter(t);
	e_jmp(e, x->again);
}

/* a: offset of the tag in the entry, or the stack's */
static void cold_span(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;
	bool stack = x->word & DBT_STACK;

	e_rex(e, 1, H_S1, 0, stack ? H_CPU : H_S2); /* xor TAG,%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, stack ? H_CPU : H_S2, stack ? CPU_DISP(hot.stk_tag) : x->a);
	span_slow(t, x);
}

/* r9 = linear address of the span's beginning; afterwards its host address, kept in the slot. */
static void check_span(struct tctx *t, const struct tshare *s, unsigned int size, bool write,
		       bool ss, bool stack)
{
	struct tcold *x = t_cold(t, cold_span);
	struct emit *e = &t->e;

	x->again = e_rx(e);
	x->a = s->write ? offsetof(struct tlb_entry, w) : offsetof(struct tlb_entry, r);
	x->word = info_word(t, size, write, ss) | (stack ? DBT_STACK : 0);
	x->span = SPAN_WORD(s->at, s->span, s->write);
	if (stack) {
		e_rex(e, 1, H_S1, 0, H_CPU); /* xor hot.stk_tag,%r9 */
		e8(e, 0x33);
		e_mem(e, H_S1, H_CPU, CPU_DISP(hot.stk_tag));
		cmp_ja(t, H_S1, s->span, x);
		e_add_field(e, true, H_S1, CPU_DISP(hot.stk_page));
	} else {
		t_tlb_lookup(t, x->a);
		cmp_ja(t, H_S1, s->span, x);
		e_rex(e, 1, H_S1, 0, H_S2); /* add PAGE(%r10),%r9 */
		e8(e, 0x03);
		e_mem(e, H_S1, H_S2, offsetof(struct tlb_entry, page));
	}
	e_store64(e, H_CPU, share_disp(s->slot), H_S1);
}

/* Those of which it has been made sure. */
bool t_starts_with_s1(const struct dinsn *d)
{
	switch (d->cls) {
	case DCLS_NOP:
	case DCLS_ALU:
	case DCLS_JCC:
	case DCLS_CALL:
	case DCLS_RET:
		return true;
	case DCLS_VEC:
		return d->map != 1 || d->op != 0xae; /* LDMXCSR, STMXCSR */
	case DCLS_PUSH:
	case DCLS_POP:
		return !d->has_mem;
	default:
		return false;
	}
}

bool t_keeps_s1(const struct tctx *t, const struct dinsn *d)
{
	return t_starts_with_s1(d) && d->cls != DCLS_CALL && d->cls != DCLS_RET && !d->reg_high &&
	       !d->rm_high && !t_in_memory(t, d->reg_role, d->reg) &&
	       (d->has_mem || !t_in_memory(t, d->rm_role, d->rm)) &&
	       !t_in_memory(t, d->vvvv_role, d->vvvv);
}

static void shared_result(struct tctx *t, const struct tshare *s, struct hostmem *ret)
{
	if (!s->first && t->slot_in_s1 != s->slot)
		e_load64(&t->e, H_S1, H_CPU, share_disp(s->slot));
	t->slot_in_s1 = s->slot;
	*ret = (struct hostmem){ .base = H_S1, .index = DREG_NONE, .disp = s->at };
}

void t_stack(struct tctx *t, unsigned int base, int32_t disp, unsigned int size, bool write,
	     struct hostmem *ret)
{
	const struct tshare *s = &t_cur(t)->share[1];
	struct emit *e = &t->e;

	if (s->slot < 0 || s->first) {
		int32_t from = s->slot < 0 ? disp : disp - s->at;

		t_flags_spill(t);
		if (from == 0 && t->is_64)
			e_mov64(e, H_S1, base);
		else
			e_lea(e, t->is_64, H_S1, base, DREG_NONE, 0, from);
	}
	if (s->slot >= 0) {
		if (s->first)
			check_span(t, s, size, write, true, true);
		shared_result(t, s, ret);
		return;
	}
	t->slot_in_s1 = -1;
	check_stack(t, size, write);
	*ret = (struct hostmem){ .base = H_S2, .index = H_S1 };
}

void t_mov_mem(struct tctx *t, unsigned int op, unsigned int reg, const struct hostmem *m)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, reg, m->index == DREG_NONE ? 0 : m->index, m->base);
	e8(e, op);
	e_sib(e, reg, m->base, m->index, 0, m->disp);
	if (op == 0x8b && reg == H_S1)
		t->slot_in_s1 = -1;
}

void t_movi_mem(struct tctx *t, uint32_t v, const struct hostmem *m)
{
	struct emit *e = &t->e;

	e_rex(e, t->is_64, 0, m->index == DREG_NONE ? 0 : m->index, m->base);
	e8(e, 0xc7);
	e_sib(e, 0, m->base, m->index, 0, m->disp);
	e32(e, v);
}

/* --- streams ------------------------------------------------------------------------------------- */

/* The address that a stream's check looks at: of the access, or where its span begins. */
static void stream_ea(struct tctx *t, const struct tcold *x, unsigned int to)
{
	struct dinsn from = t_cur(t)->d;

	if (x->is_span)
		from.disp -= (int32_t)(x->span & 0xffff);
	t_ea(t, &from, to);
}

/*
 * r10 = address xor the stream's tag, and it does not fit. The page is another one: look for it in the TLB, and go on
 * behind the check, for which r9 = the address again when ea_in_s1. a: the stream. A span that is not within one page is
 * left to checks for each access.
 */
static void cold_stream(struct tctx *t, struct tcold *x)
{
	const struct tstream *s = &t->stream[x->a];
	uint8_t tag = s->write ? offsetof(struct tlb_entry, w) : offsetof(struct tlb_entry, r);
	struct emit *e = &t->e;
	uint8_t *miss;

	e_rex(e, 1, H_S2, 0, H_CPU); /* xor tag,%r10 */
	e8(e, 0x33);
	e_mem(e, H_S2, H_CPU, stream_tag(t, x->a));
	e_mov64(e, H_S1, H_S2);
	t_tlb_lookup(t, tag);
	E(e, 0x49, 0x81, 0xf9); /* cmp $4096-size,%r9 */
	e32(e, (uint32_t)(GUEST_PAGE_SIZE - x->size));
	E(e, 0x77, 0); /* ja miss */
	miss = e->p;
	e_load64(e, H_S1, H_S2, tag);
	e_load64(e, H_S2, H_S2, offsetof(struct tlb_entry, page));
	e_store64(e, H_CPU, stream_tag(t, x->a), H_S1);
	e_rex(e, 1, H_S1, 0, H_S2); /* sub %r9,%r10 */
	E(e, 0x29, 0xc0 | (H_S1 & 7) << 3 | (H_S2 & 7));
	e_store64(e, H_CPU, stream_delta(t, x->a), H_S2);
	if (s->host != DREG_NONE)
		e_mov64(e, s->host, H_S2);
	if (x->ea_in_s1)
		stream_ea(t, x, H_S1);
	e_jmp(e, x->hit);
	if (!e->overflow)
		miss[-1] = (uint8_t)(e->p - miss);
	e_rex(e, 1, H_S1, 0, H_S2); /* xor TAG(%r10),%r9 */
	e8(e, 0x33);
	e_mem(e, H_S1, H_S2, tag);
	if (x->is_span) {
		span_slow(t, x);
		return;
	}
	call_slow(t, x->word, t->d->tramp.mem_slow);
	e_jmp(e, x->again);
}

static void check_stream(struct tctx *t, const struct dinsn *d, const struct tshare *s,
			 unsigned int size, bool write, bool ea_in_s1)
{
	struct tcold *x = t_cold(t, cold_stream);
	struct emit *e = &t->e;

	x->again = e_rx(e);
	x->a = (uint8_t)s->stream;
	x->is_span = s->slot >= 0;
	x->ea_in_s1 = ea_in_s1;
	x->size = x->is_span ? s->span : (uint16_t)size;
	x->word = info_word(t, size, write, d->uses_ss);
	x->span = SPAN_WORD(s->at, s->span, s->write);
	if (ea_in_s1) {
		stream_ea(t, x, H_S1);
		e_mov64(e, H_S2, H_S1);
	} else {
		stream_ea(t, x, H_S2);
	}
	e_rex(e, 1, H_S2, 0, H_CPU); /* xor tag,%r10 */
	e8(e, 0x33);
	e_mem(e, H_S2, H_CPU, stream_tag(t, (unsigned int)s->stream));
	cmp_ja(t, H_S2, x->size, x);
	x->hit = e_rx(e);
}

/* The address is a register's and a constant: it need not be computed for the access. */
static bool is_simple(const struct tctx *t, const struct dinsn *d)
{
	return t->is_64 && d->index == DREG_NONE && d->base < DREG_NONE &&
	       t_guest_reg(t, d->base) != DREG_NONE;
}

static void t_mem_stream(struct tctx *t, const struct dinsn *d, unsigned int size,
			 unsigned int access, struct hostmem *ret)
{
	const struct tshare *s = &t_cur(t)->share[0];
	const struct tstream *st = &t->stream[s->stream];
	bool check = s->slot < 0 || s->first, simple = is_simple(t, d);
	int32_t delta = stream_delta(t, (unsigned int)s->stream);
	struct emit *e = &t->e;

	t->slot_in_s1 = -1;
	if (check || (!simple && st->host == DREG_NONE))
		t_flags_spill(t);
	if (check)
		check_stream(t, d, s, size, access & DROLE_W, !simple);
	if (simple) {
		*ret = (struct hostmem){ (uint8_t)t_guest_reg(t, d->base), st->host, d->disp };
		if (st->host == DREG_NONE) {
			e_load64(e, H_S1, H_CPU, delta);
			ret->index = H_S1;
		}
		return;
	}
	*ret = (struct hostmem){ H_S1, st->host, 0 };
	if (!check)
		t_ea(t, d, H_S1);
	else if (s->slot >= 0)
		ret->disp = s->at;
	if (st->host == DREG_NONE)
		e_add_field(e, true, H_S1, delta);
}

/* --- shared, not in a loop ------------------------------------------------------------------------ */

static bool t_mem_shared(struct tctx *t, const struct dinsn *d, unsigned int size,
			 unsigned int access, struct hostmem *ret)
{
	const struct tshare *s = &t_cur(t)->share[0];
	struct dinsn from;

	if (s->slot < 0)
		return false;
	if (s->first) {
		t_flags_spill(t);
		from = *d;
		from.disp -= s->at;
		t_ea(t, &from, H_S1);
		check_span(t, s, size, access & DROLE_W, d->uses_ss,
			   d->base == CPU_RSP && d->index == DREG_NONE);
	}
	shared_result(t, s, ret);
	return true;
}

/* --- one access ---------------------------------------------------------------------------------- */

void t_mem(struct tctx *t, const struct dinsn *d, unsigned int size, unsigned int access,
	   struct hostmem *ret)
{
	bool write = access & DROLE_W;
	uint8_t tag = write ? offsetof(struct tlb_entry, w) : offsetof(struct tlb_entry, r);
	struct emit *e = &t->e;
	struct tcold *x;

	if (t_cur(t)->share[0].stream >= 0) {
		t_mem_stream(t, d, size, access, ret);
		return;
	}
	if (t_mem_shared(t, d, size, access, ret))
		return;
	t->slot_in_s1 = -1;
	t_flags_spill(t);
	*ret = (struct hostmem){ .base = H_S2, .index = H_S1 };
	t_ea(t, d, H_S1);
	if (d->base == CPU_RSP && d->index == DREG_NONE && d->seg == DSEG_FLAT) {
		check_stack(t, size, write);
		return;
	}
	if (d->seg != DSEG_FLAT)
		add_segment(t, d);
	x = t_cold(t, cold_miss);
	x->again = e_rx(e);
	x->a = tag;
	x->word = info_word(t, size, write, d->uses_ss);
	if (t->mapped && t->tlb_reg != DREG_NONE) {
		check_chase(t, size, x);
		return;
	}
	t_tlb_lookup(t, tag);
	cmp_ja(t, H_S1, size, x);
	e_load64(e, H_S2, H_S2, offsetof(struct tlb_entry, page));
}

void t_mem_merge(struct tctx *t, struct hostmem *m)
{
	if (m->index == DREG_NONE && !m->disp)
		return;
	t->slot_in_s1 = -1;
	e_lea(&t->e, true, H_S1, m->base, m->index, 0, m->disp);
	*m = (struct hostmem){ .base = H_S1, .index = DREG_NONE };
}
