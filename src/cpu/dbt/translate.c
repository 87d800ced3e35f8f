// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From guest code to a block of host code. The bytes are announced (code_page_cover) before they are read, so that
 * whoever writes them later finds the block; they are read from a copy, because other vCPUs may be writing.
 *
 * What decode() knows is emitted here; for everything else the block calls the interpreter's handler. An instruction that
 * goes on into the next page is a block of its own, mostly (cross.c).
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cpu/dbt/translate.h"
#include "cpu/interp/insn_class.h"

enum { MIN_INSNS = 8 }; /* of a block that ends where another one begins */
enum { MAX_GAP = 32 };	/* bytes between parts of a block: padding */

void translate_free(struct dbt *d)
{
	free(d->tctx);
	d->tctx = NULL;
}

void t_need(struct tctx *t, unsigned int off, unsigned int n)
{
	unsigned int end = MIN(off + n, (unsigned int)GUEST_PAGE_SIZE);

	for (unsigned int p = off >> CODE_PIECE_SHIFT; p << CODE_PIECE_SHIFT < end; p++) {
		if (t->have >> p & 1)
			continue;
		code_page_cover(t->c, t->page_record, p << CODE_PIECE_SHIFT, CODE_PIECE,
				t->page_flags);
		memcpy(t->bytes + (p << CODE_PIECE_SHIFT), t->b.page + (p << CODE_PIECE_SHIFT),
		       CODE_PIECE);
		t->have |= UINT64_C(1) << p;
	}
}

/* What is relative to the instruction becomes relative to its page, in 32 bits: not if it is that far away. */
static bool is_far(const struct dinsn *d)
{
	const int32_t most = INT32_MAX - 2 * (int32_t)GUEST_PAGE_SIZE;

	if (d->has_mem && d->base == DREG_RIP && d->disp > most)
		return true;
	return (d->cls == DCLS_JMP || d->cls == DCLS_JCC || d->cls == DCLS_CALL) && d->imm > most;
}

bool t_decode(struct tctx *t, unsigned int off, struct dinsn *ret)
{
	t_need(t, off, INSN_MAX_LEN);
	return decode(t->d->table, t->bytes + off, t->end - off, t->is_64, ret) && !is_far(ret);
}

/* Bind the interpreter's handler. Returns false when the instruction goes on in the next page. */
static bool bind_handler(struct tctx *t, struct tinsn *i)
{
	unsigned int left = t->end - i->off;
	enum dec_result r;

	r = dec_insn(t->c, &t->dec, t->bytes + i->off, MIN(left, (unsigned int)INSN_MAX_LEN),
		     &i->insn);
	if (r == DEC_MORE)
		return false;
	i->class = t->dec.zi.length ? (uint8_t)insn_class_of(&t->dec.zi) : INSN_INNOCUOUS;
	i->d.cls = DCLS_OTHER;
	i->len = i->insn.len;
	i->ends = r == DEC_END;
	return true;
}

bool t_bind_handler(struct tctx *t)
{
	struct tinsn *i = &t->insn[t->cur];
	struct dinsn keep = i->d;
	bool ends = i->ends, ok = bind_handler(t, i);

	i->d = keep;
	i->ends = ends;
	return ok;
}

static bool ends_block(unsigned int cls)
{
	switch (cls) {
	case DCLS_JMP:
	case DCLS_CALL:
	case DCLS_JMP_IND:
	case DCLS_CALL_IND:
	case DCLS_RET:
		return true;
	default:
		return false;
	}
}

/* LOOPE and LOOPNE need a flag and a count together: rare enough to be left to the interpreter. */
static bool is_emitted(const struct tctx *t, const struct dinsn *d)
{
	if (d->has_mem && ((d->seg == CPU_FS && !(t->b.key & DBT_KEY_FS)) ||
			   (d->seg == CPU_GS && !(t->b.key & DBT_KEY_GS))))
		return false;
	return d->cls != DCLS_OTHER && !(d->cls == DCLS_LOOP && d->op != 0xe2);
}

static bool has_target(const struct dinsn *d)
{
	return d->cls == DCLS_JCC || d->cls == DCLS_JMP || d->cls == DCLS_JRCXZ ||
	       d->cls == DCLS_LOOP;
}

static int32_t target_of(const struct tinsn *i)
{
	return (int32_t)i->off + i->len + (int32_t)i->d.imm;
}

/* Code goes on at @off, but not from the instruction before: the next place not far behind that a branch of the block
 * leads to. Returns 0 when there is none. */
static unsigned int next_target(const struct tctx *t, unsigned int off)
{
	int32_t best = (int32_t)MIN(off + MAX_GAP, (unsigned int)GUEST_PAGE_SIZE - 1) + 1;
	int32_t end = best;

	for (unsigned int k = 0; k < t->nr; k++) {
		const struct tinsn *i = &t->insn[k];

		if (has_target(&i->d) && target_of(i) >= (int32_t)off && target_of(i) < best)
			best = target_of(i);
	}
	return best == end ? 0 : (unsigned int)best;
}

/* Straight code that has been translated already, as part of what follows, is not translated again. */
static void cut_at_block(struct tctx *t)
{
	for (unsigned int k = MIN_INSNS; k < t->nr; k++) {
		if (!(t->page_record->heads >> (t->insn[k].off >> CODE_PIECE_SHIFT) & 1) ||
		    t->insn[k - 1].ends ||
		    !tblock_find(t->d, t->b.page, t->insn[k].off,
				 t->b.key & (uint8_t)~DBT_KEY_ALONE))
			continue;
		t->nr = k;
		return;
	}
}

static void find_labels(struct tctx *t)
{
	unsigned int last = 0;

	for (unsigned int k = 0; k < t->nr; k++) {
		int to = -1;

		if (has_target(&t->insn[k].d))
			to = t_jump_inside(t, k, target_of(&t->insn[k]));

		if (to < 0)
			continue;
		t->insn[to].label = true;
		if (to == 0) {
			t->insn[0].loop = true;
			last = k;
		}
	}
	/* A loop is a block of its own: what comes behind it needs nothing of what is prepared for it. */
	if (t->insn[0].loop && last + 1 < t->nr) {
		t->nr = last + 1;
		t->insn[t->nr].off = (uint16_t)(t->insn[last].off + t->insn[last].len);
	} else if (!t->insn[0].loop) {
		cut_at_block(t);
	}
}

static void decode_block(struct tctx *t)
{
	unsigned int off = t->b.off;

	t->nr = 0;
	while (t->nr < TB_MAX_INSNS && off < GUEST_PAGE_SIZE) {
		struct tinsn *i = &t->insn[t->nr];

		i->off = (uint16_t)off;
		i->class = INSN_INNOCUOUS;
		i->label = i->loop = false;
		i->at = NULL;
		if ((t_decode(t, off, &i->d) || (cross_loop(t, off) && t_decode(t, off, &i->d))) &&
		    is_emitted(t, &i->d)) {
			i->len = i->d.len;
			i->ends = ends_block(i->d.cls);
		} else if (!bind_handler(t, i)) {
			break;
		}
		off += i->len;
		t->index[i->off] = (uint8_t)++t->nr;
		if (!i->ends)
			continue;
		off = next_target(t, off);
		if (!off)
			break;
	}
	t->insn[t->nr].off = (uint16_t)off;
	find_labels(t);
}

/* Ways out of the block: one for each branch that leaves it, two of a call, one where it was cut. */
static unsigned int count_links(const struct tctx *t)
{
	unsigned int n = !t->insn[t->nr - 1].ends + (t->crosses ? CROSS_LINKS : 0);

	for (unsigned int k = 0; k < t->nr; k++) {
		const struct tinsn *i = &t->insn[k];

		if (has_target(&i->d))
			n += t_jump_inside(t, k, target_of(i)) < 0;
		n += i->d.cls == DCLS_CALL ? 2 : i->d.cls == DCLS_CALL_IND;
		for (unsigned int w = 0; w < 2; w++)
			n += i->share[w].slot >= 0 && i->share[w].first;
	}
	return n;
}

static bool emit_insn(struct tctx *t, const struct dinsn *d)
{
	switch (d->cls) {
	case DCLS_NOP:
		return true;
	case DCLS_ALU:
	case DCLS_DIV:
	case DCLS_LEA:
	case DCLS_FLAG:
		return emit_alu(t, d);
	case DCLS_PUSH:
	case DCLS_POP:
	case DCLS_LEAVE:
		return emit_stack(t, d);
	case DCLS_VEC:
	case DCLS_MMX:
	case DCLS_X87:
		return emit_vec(t, d);
	case DCLS_STRING:
		return emit_string(t, d);
	case DCLS_JCC:
	case DCLS_JMP:
	case DCLS_CALL:
	case DCLS_JMP_IND:
	case DCLS_CALL_IND:
	case DCLS_RET:
	case DCLS_JRCXZ:
	case DCLS_LOOP:
		emit_flow(t, d);
		return true;
	case DCLS_OTHER:
		return emit_sys(t);
	default:
		return false;
	}
}

/* cmpq $0,hot.pending (and hot.due): 5 bytes; jne to an exit */
static void emit_poll(struct tctx *t)
{
	struct emit *e = &t->e;

	E(e, 0x49, 0x83);
	e_mem(e, 7, H_CPU, CPU_DISP(hot.pending));
	e8(e, 0);
	t_jcc_exit(t, 5, DBT_EXIT_POLL);
}

/* An invalidation replaces the first instruction, of 5 bytes, by a jump. A loop that is prepared for polls when it begins. */
static void emit_entry(struct tctx *t)
{
	t->b.code = (uint8_t *)(uintptr_t)e_rx(&t->e);
	if (t->prepared)
		E(&t->e, 0x0f, 0x1f, 0x44, 0x00, 0x00); /* nopl 0(%rax,%rax) */
	else
		emit_poll(t);
	t->b.fcode = (uint8_t *)(uintptr_t)e_rx(&t->e);
	t_tally_entry(t);
}

/* Control comes from elsewhere too: flags are in memory, and what the code before made sure of is unknown. */
static void emit_label(struct tctx *t, struct tinsn *i)
{
	if (t->cur && !t->insn[t->cur - 1].ends)
		t_flags_spill(t);
	t->flags = TF_MEM;
	if (t->has_handlers)
		t->fpu_ready = 0;
	if (!t->cur && !t->prepared) {
		i->at = t->b.code;
		return;
	}
	i->at = e_rx(&t->e);
	if (i->loop) {
		t->b.loops = true;
		emit_poll(t);
		cross_check_bytes(t);
	}
}

static void fix_jumps(struct tctx *t)
{
	for (unsigned int k = 0; k < t->nr_fix && !t->e.overflow; k++) {
		const struct tfix *f = &t->fix[k];
		uint32_t rel = (uint32_t)(t->insn[f->insn].at - (f->site + t->e.to_rx + 4));

		memcpy(f->site, &rel, sizeof(rel));
	}
}

/* An instruction that turns out to be the interpreter's after all changes what others could rely on (shared checks, what
 * is prepared for a loop): then the block is planned and emitted again. */
static void emit_body(struct tctx *t)
{
	t->slot_in_s1 = -1;
	for (t->cur = 0; t->cur < t->nr; t->cur++) {
		struct tinsn *i = &t->insn[t->cur];

		if (i->label)
			emit_label(t, i);
		t_tally_insn(t);
		if (i->label || t->d->count || !t_starts_with_s1(&i->d))
			t->slot_in_s1 = -1;
		if (emit_insn(t, &i->d)) {
			if ((i->d.op & 0xf8) == 0xb8)
				t_revive_imm(t);
			if (!t_keeps_s1(t, &i->d))
				t->slot_in_s1 = -1;
			continue;
		}
		if (i->d.cls != DCLS_OTHER) {
			t->again = bind_handler(t, i);
			t->e.overflow = !t->again;
			return;
		}
		t_handler(t);
		t->slot_in_s1 = -1;
	}
	t->cur = t->nr - 1;
	if (!t->insn[t->cur].ends) {
		t_flags_spill(t);
		t_goto(t, t->insn[t->nr].off);
	}
	fix_jumps(t);
	t->cur = t->nr;
	t_tally_end(t);
}

/* Let a rel32 lead to what is emitted next. */
static void cold_point(struct tctx *t, uint8_t *site)
{
	uint32_t rel = site ? (uint32_t)(e_rx(&t->e) - (site + t->e.to_rx + 4)) : 0;

	if (site)
		memcpy(site, &rel, sizeof(rel));
}

static void emit_cold(struct tctx *t)
{
	for (unsigned int k = 0; k < t->nr_cold && !t->e.overflow; k++) {
		struct tcold *x = &t->cold[k];

		t->cur = x->cur;
		t->mapped = x->mapped;
		cold_point(t, x->site);
		cold_point(t, x->site2);
		x->emit(t, x);
	}
}

static bool begin(struct tctx *t, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key)
{
	t->b = (struct tblock){ .page = host - ((uintptr_t)host & GUEST_PAGE_MASK),
				.off = (uint16_t)((uintptr_t)host & GUEST_PAGE_MASK),
				.key = key,
				.lin = t->c->st.rip };
	t->is_64 = t->b.key & DBT_KEY_64;
	t->page_flags = flags;
	t->page_record = code_page_get(t->c->grp->code, host);
	/* Blocks of pieces that were written are dead. */
	t->page_record->heads &= atomic_load(&t->page_record->pieces);
	t->have = 0;
	t->end = GUEST_PAGE_SIZE;
	t->crosses = false;
	decode_block(t);
	if (!t->nr && cross_begin(t)) {
		decode_block(t);
		if (t->nr)
			t->insn[0].label = t->insn[0].loop = false;
	}
	return t->nr > 0;
}

static void find_handlers(struct tctx *t)
{
	t->has_handlers = false;
	for (unsigned int k = 0; k < t->nr; k++)
		t->has_handlers |= t->insn[k].d.cls == DCLS_OTHER ||
				   t->insn[k].d.cls == DCLS_STRING;
	for (unsigned int k = 0; k < t->nr; k++)
		t->insn[k].at = NULL;
}

/* Decide how the decoded instructions are emitted, and begin. */
static void plan(struct tctx *t, const struct tspace *s)
{
	size_t records;

	find_handlers(t);
	flags_find_live(t);
	share_plan(t);
	loop_plan(t);

	t->max_links = count_links(t);
	records = (t->max_links + !t->max_links) * sizeof(struct tlink);
	t->links = (struct tlink *)(void *)s->rw;
	t->nr_links = 0;
	records = (records + 15) & ~(size_t)15;
	if (t->d->count)
		records += t_tally_make(t, s->rw + records);
	t->e = (struct emit){ .p = s->rw + records,
			      .end = s->rw + s->room,
			      .to_rx = s->rx - s->rw };
	t->nr_cold = t->nr_fix = 0;
	t->flags = TF_MEM;
	t->s2_busy = false;
	t->fpu_ready = 0;
	t->cur = 0;
	t->again = false;
	t->imm_site = NULL;
	t->b.nr_pcs = 0;
	t->b.loops = false;
}

static void count(struct tctx *t, uint32_t used)
{
	struct cpu_stats *st = &t->c->stats;

	for (unsigned int k = 0; k < t->nr; k++) {
		t->b.nr_sensitive += t->insn[k].class == INSN_SENSITIVE;
		t->b.nr_privileged += t->insn[k].class == INSN_PRIVILEGED;
	}
	st->dbt_blocks++;
	st->dbt_insns += t->nr;
	st->dbt_insns_sensitive += t->b.nr_sensitive;
	st->dbt_insns_privileged += t->b.nr_privileged;
	st->dbt_guest_bytes += t->b.len;
	st->dbt_host_bytes += used;
}

struct tblock *translate(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key)
{
	struct dbt *d = c->grp->dbt;
	struct tblock *b;
	struct tspace s;
	struct tctx *t;
	uint32_t used;

	if (!d->tctx)
		d->tctx = mem_new(sizeof(*t));
	t = d->tctx;
	t->c = c;
	t->d = d;
	if (tspace_get(d, &s) < 0) {
		dbt_cpu(c)->starved = true;
		return NULL;
	}
	if (!begin(t, host, flags, key))
		return NULL;
	do {
		plan(t, &s);
		emit_entry(t);
		cross_check(t);
		vec_block_begin(t);
		loop_enter(t);
		emit_body(t);
	} while (t->again);
	emit_cold(t);
	t->b.stale = (uint8_t *)(uintptr_t)e_rx(&t->e);
	t->cur = 0;
	t->mapped = false;
	t_exit(t, t_word(t, DBT_EXIT_STALE));
	if (t->e.overflow)
		return NULL;
	used = (uint32_t)(t->e.p - s.rw);
	t->b.len = (uint16_t)(t->insn[t->nr - 1].off + t->insn[t->nr - 1].len - t->b.off);
	t->b.nr_insns = (uint16_t)t->nr;
	t->b.pieces = t->have;
	t->b.links = t->links;
	t->b.nr_links = (uint16_t)t->nr_links;
	t->b.pcs = t->pcs;
	t->b.code_size = (uint32_t)(e_rx(&t->e) - t->b.code);
	count(t, used);
	b = tblock_commit(d, &t->b, used);
	t->page_record->heads |= UINT64_C(1) << (b->off >> CODE_PIECE_SHIFT);
	revive_note(t, b);
	if (c->grp->perf_map)
		perf_map_add(b);
	return b;
}
