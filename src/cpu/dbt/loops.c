// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks that jump back to their own beginning. What is worth preparing before a loop begins:
 *
 * Registers. Guest registers that live in memory move into host registers whose guest register the block does not use, or
 * uses so little that it can be in memory meanwhile.
 * At every way out of the block, and around calls of C, all is back in its canonical place.
 *
 * Pointers that the loop loads have no stream; but their way to the TLB, which the next load may have to wait for, is made
 * shorter by two registers: the TLB's address and one more for the computation.
 *
 * Streams. An access of a loop mostly stays in the page that it touched the time before. A stream remembers that page
 * and its host address, one for each combination of address registers: the check is a comparison with it, and the
 * host address needs no load that depends on the guest's address. Streams live in struct cpu, a few sets of them for
 * all blocks. They are forgotten together with the stack's page (stk_forget), so that coming back to a loop finds
 * them as they were left.
 */
#include "cpu/dbt/translate.h"

enum { FAR_SHIFT = 11, SWAP_GAIN = 3 };

/* How many instructions use each general register, which the block uses at all, and which of these instructions use without
 * naming them. */
static unsigned int count_uses(const struct tctx *t, unsigned int uses[16],
			       unsigned int *ret_unnamed)
{
	unsigned int all = 0;

	*ret_unnamed = 0;
	memset(uses, 0, 16 * sizeof(uses[0]));
	for (unsigned int n = 0; n < t->nr; n++) {
		const struct dinsn *d = &t->insn[n].d;
		unsigned int set = d->impl_r | d->impl_w;

		if (d->cls == DCLS_LEAVE)
			set |= 1u << CPU_RBP;
		if (d->cls == DCLS_JRCXZ || d->cls == DCLS_LOOP)
			set |= 1u << CPU_RCX;
		if (d->cls == DCLS_FLAG)
			set |= 1u << CPU_RAX;
		*ret_unnamed |= set;
		if ((d->reg_role & DROLE_RW) && !(d->reg_role & ~(unsigned int)DROLE_RW))
			set |= 1u << (d->reg_high ? d->reg - 4u : d->reg);
		if (!d->has_mem && (d->rm_role & DROLE_RW) &&
		    !(d->rm_role & ~(unsigned int)DROLE_RW))
			set |= 1u << (d->rm_high ? d->rm - 4u : d->rm);
		if ((d->vvvv_role & DROLE_RW) && !(d->vvvv_role & ~(unsigned int)DROLE_RW))
			set |= 1u << d->vvvv;
		if (d->has_mem && d->base < DREG_NONE)
			set |= 1u << d->base;
		if (d->has_mem && d->index < DREG_NONE)
			set |= 1u << d->index;
		all |= set;
		for (; set; set &= set - 1)
			uses[__builtin_ctz(set)]++;
	}
	return all;
}

/* Nothing in it needs all registers in their places, or calls C on purpose. */
static bool can_move(const struct tctx *t)
{
	for (unsigned int n = 0; n < t->nr; n++) {
		switch (t->insn[n].d.cls) {
		case DCLS_OTHER:
		case DCLS_STRING:
		case DCLS_XLAT:
		case DCLS_CALL:
		case DCLS_CALL_IND:
		case DCLS_JMP_IND:
		case DCLS_RET:
			return false;
		default:
			break;
		}
	}
	return true;
}

static unsigned int take_host(unsigned int *used)
{
	static const uint8_t order[] = { H_R15, H_R14, H_R13, H_R12, H_RBX, H_RBP,
					 H_RSI, H_RDI, H_RDX, H_RCX, H_RAX };

	for (unsigned int k = 0; k < ARRAY_SIZE(order); k++) {
		if (*used >> order[k] & 1)
			continue;
		*used |= 1u << order[k];
		return order[k];
	}
	return DREG_NONE;
}

/* A register that is used so much less that it may live in memory instead of one with @uses uses. */
static unsigned int swap_host(const unsigned int uses[16], unsigned int unnamed,
			      unsigned int min_uses)
{
	static const uint8_t order[] = { CPU_RSI, CPU_RDI, CPU_RBP, CPU_R12,
					 CPU_R13, CPU_R14, CPU_R15 };
	unsigned int best = DREG_NONE;

	for (unsigned int k = 0; k < ARRAY_SIZE(order); k++)
		if (!(unnamed >> order[k] & 1) && uses[order[k]] + SWAP_GAIN <= min_uses &&
		    (best == DREG_NONE || uses[order[k]] < uses[best]))
			best = order[k];
	return best;
}

/* Registers that shorten the way from an address to its TLB entry, where the next address may wait for it. */
static void plan_chase(struct tctx *t, unsigned int *used)
{
	unsigned int tlb = take_host(used), tmp = take_host(used);

	if (tlb == DREG_NONE || tmp == DREG_NONE || !__builtin_cpu_supports("bmi2"))
		return;
	t->tlb_reg = (uint8_t)tlb;
	t->tmp_reg = (uint8_t)tmp;
	t->moved[t->nr_moved++] = (struct tmoved){ DREG_NONE, (uint8_t)tlb };
	t->moved[t->nr_moved++] = (struct tmoved){ DREG_NONE, (uint8_t)tmp };
}

static void plan_registers(struct tctx *t)
{
	unsigned int uses[16], unnamed, used = count_uses(t, uses, &unnamed);

	for (;;) {
		unsigned int best = CPU_R8, host;

		for (unsigned int g = CPU_R9; g <= CPU_R11; g++)
			if (uses[g] > uses[best])
				best = g;
		if (uses[best] < 2)
			break;
		host = take_host(&used);
		if (host == DREG_NONE) {
			host = swap_host(uses, unnamed, uses[best]);
			if (host == DREG_NONE)
				return;
			t->map[host] = DREG_NONE;
		}
		unnamed |= 1u << host; /* taken */
		uses[best] = 0;
		t->map[best] = (uint8_t)host;
		t->moved[t->nr_moved++] = (struct tmoved){ (uint8_t)best, (uint8_t)host };
	}
	if (t->chases)
		plan_chase(t, &used);
	for (unsigned int s = 0; s < t->nr_streams; s++) {
		unsigned int host = take_host(&used);

		if (host == DREG_NONE)
			return;
		t->stream[s].host = (uint8_t)host;
		t->moved[t->nr_moved++] = (struct tmoved){ DREG_NONE, (uint8_t)host };
	}
}

static bool same_stream(const struct tstream *a, const struct tstream *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale &&
	       a->write == b->write && a->disp == b->disp;
}

/* General registers that a load in the loop makes: whatever they point to is in another page each time. Bytes and words
 * as well are numbers of elements of small tables. */
static unsigned int loaded_regs(const struct tctx *t)
{
	unsigned int set = 0;

	for (unsigned int n = 0; n < t->nr; n++) {
		const struct dinsn *d = &t->insn[n].d;

		if (d->cls == DCLS_ALU && d->has_mem && !d->vex && d->map == 0 &&
		    (d->op == 0x8b || d->op == 0x63) && d->opsize >= 4)
			set |= 1u << d->reg;
	}
	return set;
}

static void plan_stream(struct tctx *t, struct tinsn *i, unsigned int loaded)
{
	const struct dinsn *d = &i->d;
	struct tshare *s = &i->share[0];
	struct tstream x = { .base = d->base,
			     .index = d->index,
			     .scale = d->scale,
			     .write = s->slot < 0 ? (d->mem_access & DROLE_W) != 0 : s->write,
			     .host = DREG_NONE };

	if (!d->has_mem || !d->mem_size || d->cls == DCLS_LEA || d->cls == DCLS_NOP ||
	    d->cls == DCLS_POP || d->seg != DSEG_FLAT || d->asize != (t->is_64 ? 8 : 4) ||
	    d->base == DREG_RIP || (d->base == CPU_RSP && d->index == DREG_NONE))
		return;
	if ((d->base < DREG_NONE && (loaded >> d->base & 1)) ||
	    (d->index < DREG_NONE && (loaded >> d->index & 1))) {
		t->chases |= s->slot < 0;
		return;
	}
	/* All accesses of a span must have the same stream: that of its beginning. Far from each other means other pages. */
	x.disp = s->from;
	if (d->base != DREG_NONE || d->index != DREG_NONE)
		x.disp >>= FAR_SHIFT;
	for (unsigned int k = 0; k < t->nr_streams; k++)
		if (same_stream(&t->stream[k], &x))
			s->stream = (int8_t)k;
	if (s->stream >= 0 || t->nr_streams == CPU_STREAMS)
		return;
	s->stream = (int8_t)t->nr_streams;
	t->stream[t->nr_streams++] = x;
}

void loop_plan(struct tctx *t)
{
	unsigned int loaded;

	t->nr_moved = t->nr_streams = 0;
	t->mapped = t->prepared = t->chases = false;
	t->tlb_reg = t->tmp_reg = DREG_NONE;
	for (unsigned int g = 0; g < 16; g++)
		t->map[g] = g == CPU_RSP		  ? H_GSP
			    : g >= CPU_R8 && g <= CPU_R11 ? DREG_NONE
							  : (uint8_t)g;
	if (!t->insn[0].loop || t->has_handlers)
		return;
	loaded = loaded_regs(t);
	for (unsigned int n = 0; n < t->nr; n++)
		plan_stream(t, &t->insn[n], loaded);
	if (can_move(t))
		plan_registers(t);
	t->prepared = t->nr_streams || t->nr_moved;
	t->stream_set = (t->b.off >> 2 ^ t->b.off >> 5) & (CPU_STREAM_SETS - 1);
}

int32_t stream_tag(const struct tctx *t, unsigned int s)
{
	return CPU_DISP(stream[0][0].tag) +
	       (int32_t)((t->stream_set * CPU_STREAMS + s) * sizeof(struct cpu_stream));
}

int32_t stream_delta(const struct tctx *t, unsigned int s)
{
	return stream_tag(t, s) + (int32_t)offsetof(struct cpu_stream, delta);
}

void map_leave(struct tctx *t)
{
	for (unsigned int k = 0; t->mapped && k < t->nr_moved; k++) {
		const struct tmoved *m = &t->moved[k];

		if (m->guest != DREG_NONE)
			e_store64(&t->e, H_CPU, GPR_DISP(m->guest), m->host);
		e_load64(&t->e, m->host, H_CPU, GPR_DISP(m->host));
	}
}

/* Host registers that take part are those of guest registers with the same number. */
static void map_load(struct tctx *t)
{
	for (unsigned int k = 0; k < t->nr_moved; k++)
		if (t->moved[k].guest != DREG_NONE)
			e_load64(&t->e, t->moved[k].host, H_CPU, GPR_DISP(t->moved[k].guest));
	if (t->tlb_reg != DREG_NONE)
		e_load64(&t->e, t->tlb_reg, H_CPU, CPU_DISP(hot.tlb));
	for (unsigned int s = 0; s < t->nr_streams; s++)
		if (t->stream[s].host != DREG_NONE)
			e_load64(&t->e, t->stream[s].host, H_CPU, stream_delta(t, s));
}

void map_enter(struct tctx *t)
{
	for (unsigned int k = 0; t->mapped && k < t->nr_moved; k++)
		e_store64(&t->e, H_CPU, GPR_DISP(t->moved[k].host), t->moved[k].host);
	if (t->mapped)
		map_load(t);
}

/* The set belongs to another block, or was forgotten: streams that match nothing. */
static void cold_streams(struct tctx *t, struct tcold *x)
{
	struct emit *e = &t->e;
	uint64_t none = STK_NONE & ~GUEST_PAGE_MASK;

	e_movi64(e, H_S1, none);
	e_movi64(e, H_S2, (uint64_t)(uintptr_t)stk_nobody - none);
	for (unsigned int s = 0; s < t->nr_streams; s++) {
		e_store64(e, H_CPU, stream_tag(t, s), H_S1);
		e_store64(e, H_CPU, stream_delta(t, s), H_S2);
	}
	e_rex(e, 1, 0, 0, H_CPU); /* movq $id,owner */
	e8(e, 0xc7);
	e_mem(e, 0, H_CPU, CPU_DISP(stream_owner[0]) + 8 * (int32_t)t->stream_set);
	e32(e, x->word);
	e_jmp(e, x->again);
}

void loop_enter(struct tctx *t)
{
	struct emit *e = &t->e;

	if (!t->prepared)
		return;
	if (t->nr_streams) {
		struct tcold *x = t_cold(t, cold_streams);

		x->word = ++t->d->stream_ids & INT32_MAX;
		e_rex(e, 1, 0, 0, H_CPU); /* cmpq $id,owner */
		e8(e, 0x81);
		e_mem(e, 7, H_CPU, CPU_DISP(stream_owner[0]) + 8 * (int32_t)t->stream_set);
		e32(e, x->word);
		t_jcc_cold(t, 5, x);
		x->again = e_rx(e);
	}
	t->mapped = true;
	map_enter(t);
}
