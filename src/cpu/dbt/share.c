// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One check for several accesses.
 *
 * Accesses of a block off the same registers, whose values in between changed by known constants only (fields of a
 * structure, a stack frame, pushes and pops), lie at known distances from each other. The first one checks the
 * span of all of them and keeps the host address of its beginning; the others need no check. When the span is not within
 * one page, or the TLB does not have it, the block is left for a variant of the rest of it in which every access
 * is checked by itself (DBT_KEY_ALONE): all faults happen there, in their order.
 *
 * Between the check and the last access no C code runs but the slow path of other accesses, which takes no
 * translation away that the guest could rely on being gone: invalidations happen between blocks.
 */
#include "cpu/dbt/translate.h"

enum { MAX_SPAN = 256, MAX_SPAN_RIP = 64, NR_GROUPS = 32 };

struct key {
	uint8_t base, index, scale;
	uint16_t base_version, index_version;
	uint16_t handlers; /* C code, or code that came from elsewhere, has run in between */
};

struct group {
	struct key key;
	int32_t lo, hi; /* relative to the version's start */
	uint8_t nr, first, last;
	bool write, dropped;
	int8_t slot;
};

struct plan {
	uint16_t version[16];
	int32_t moved[16]; /* since the version began */
	struct group group[NR_GROUPS];
	unsigned int nr, handlers;
	int8_t of[TB_MAX_INSNS][2];  /* group of the memory operand, of the stack access */
	int32_t at[TB_MAX_INSNS][2]; /* where in it */
};

static void kill_regs(struct plan *p, unsigned int set)
{
	for (; set; set &= set - 1) {
		unsigned int r = (unsigned int)__builtin_ctz(set);

		p->version[r]++;
		p->moved[r] = 0;
	}
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale &&
	       a->base_version == b->base_version && a->index_version == b->index_version &&
	       a->handlers == b->handlers;
}

static void note(struct plan *p, unsigned int insn, unsigned int which, struct key k, int32_t at,
		 unsigned int size, bool write)
{
	int32_t max = k.base == DREG_RIP ? MAX_SPAN_RIP : MAX_SPAN;
	struct group *g = NULL;

	/* An access that belongs to no group may move the stream of its registers (loops.c) to another page, so no
	 * group goes on behind it. */
	k.handlers = (uint16_t)p->handlers;
	for (unsigned int n = p->nr; n-- > 0;) {
		if (!same_key(&p->group[n].key, &k))
			continue;
		g = &p->group[n];
		if (MAX(g->hi, at + (int32_t)size) - MIN(g->lo, at) > max)
			g = NULL;
		break;
	}
	if (!g) {
		if (p->nr == NR_GROUPS) {
			p->handlers++;
			return;
		}
		g = &p->group[p->nr++];
		*g = (struct group){ .key = k, .lo = at, .hi = at, .first = (uint8_t)insn };
	}
	g->lo = MIN(g->lo, at);
	g->hi = MAX(g->hi, at + (int32_t)size);
	g->last = (uint8_t)insn;
	g->write |= write;
	g->nr++;
	p->of[insn][which] = (int8_t)(g - p->group);
	p->at[insn][which] = at;
}

static void mem_operand(struct tctx *t, struct plan *p, unsigned int n)
{
	const struct tinsn *i = &t->insn[n];
	const struct dinsn *d = &i->d;
	struct key k = { .base = d->base, .index = d->index, .scale = d->scale };
	int64_t at = d->disp;

	if (d->seg != DSEG_FLAT || d->asize != (t->is_64 ? 8 : 4) || !d->mem_size)
		return;
	if (d->mem_size > 64 || d->disp != (int32_t)((uint32_t)d->disp << 1) >> 1) {
		p->handlers++;
		return;
	}
	if (d->base == DREG_RIP)
		at += i->off + i->len;
	if (d->base < DREG_NONE) {
		k.base_version = p->version[d->base];
		at += p->moved[d->base];
	}
	if (d->index < DREG_NONE) {
		k.index_version = p->version[d->index];
		at += p->moved[d->index] * (INT64_C(1) << d->scale);
	}
	if (at != (int32_t)at) {
		p->handlers++;
		return;
	}
	note(p, n, 0, k, (int32_t)at, d->mem_size, d->mem_access & DROLE_W);
}

static void stack_operand(struct plan *p, unsigned int n, unsigned int base, int32_t disp,
			  unsigned int size, bool write)
{
	struct key k = { .base = (uint8_t)base,
			 .index = DREG_NONE,
			 .base_version = p->version[base] };

	note(p, n, 1, k, p->moved[base] + disp, size, write);
}

static void move(struct plan *p, unsigned int reg, int64_t by)
{
	int64_t m = p->moved[reg] + by;

	if (m > INT16_MAX || m < INT16_MIN)
		kill_regs(p, 1u << reg);
	else
		p->moved[reg] = (int32_t)m;
}

/* add, sub, inc, dec, lea of a register by a constant: returns whether it is one of these. */
static bool constant_step(struct tctx *t, const struct dinsn *d, unsigned int *reg, int64_t *by)
{
	if (d->opsize != (t->is_64 ? 8 : 4) || d->map || d->vex)
		return false;
	*reg = d->rm;
	if (d->cls == DCLS_LEA) {
		*reg = d->reg;
		*by = d->disp;
		return d->base == d->reg && d->index == DREG_NONE && d->asize == d->opsize;
	}
	if (d->cls != DCLS_ALU || d->has_mem || !d->has_modrm)
		return false;
	*by = d->imm;
	switch (d->op) {
	case 0x81:
	case 0x83:
		if ((d->reg & 7) == 5)
			*by = -d->imm;
		return (d->reg & 7) == 0 || (d->reg & 7) == 5;
	case 0xff:
		*by = (d->reg & 7) == 0 ? 1 : -1;
		return (d->reg & 7) < 2;
	default:
		return false;
	}
}

static void written_regs(struct plan *p, const struct dinsn *d)
{
	unsigned int set = d->impl_w;

	if ((d->reg_role & DROLE_W) && !(d->reg_role & ~(unsigned int)DROLE_RW))
		set |= 1u << (d->reg_high ? d->reg - 4u : d->reg);
	if (!d->has_mem && (d->rm_role & DROLE_W) && !(d->rm_role & ~(unsigned int)DROLE_RW))
		set |= 1u << (d->rm_high ? d->rm - 4u : d->rm);
	if ((d->vvvv_role & DROLE_W) && !(d->vvvv_role & ~(unsigned int)DROLE_RW))
		set |= 1u << d->vvvv;
	kill_regs(p, set);
}

static void walk(struct tctx *t, struct plan *p)
{
	int32_t word = t->is_64 ? 8 : 4;

	for (unsigned int n = 0; n < t->nr; n++) {
		const struct dinsn *d = &t->insn[n].d;
		unsigned int reg;
		int64_t by;

		p->of[n][0] = p->of[n][1] = -1;
		if (t->insn[n].label)
			p->handlers++;
		if (d->cls == DCLS_OTHER || d->cls == DCLS_STRING || d->cls == DCLS_XLAT) {
			p->handlers++;
			continue;
		}
		if (d->has_mem && d->cls != DCLS_LEA && d->cls != DCLS_NOP && d->cls != DCLS_POP)
			mem_operand(t, p, n);
		switch (d->cls) {
		case DCLS_PUSH:
			if (d->opsize == word) {
				stack_operand(p, n, CPU_RSP, -word, (unsigned int)word, true);
				move(p, CPU_RSP, -word);
				break;
			}
			p->handlers++;
			break;
		case DCLS_POP:
			if (d->opsize != word || d->has_mem) {
				p->handlers++;
				break;
			}
			stack_operand(p, n, CPU_RSP, 0, (unsigned int)word, false);
			move(p, CPU_RSP, word);
			kill_regs(p, 1u << d->rm);
			break;
		case DCLS_LEAVE:
			/* In a loop the others may have a stream, and keep nothing in the slot. */
			if (d->opsize == word && !t->insn[0].loop)
				stack_operand(p, n, CPU_RBP, 0, (unsigned int)word, false);
			kill_regs(p, 1u << CPU_RSP | 1u << CPU_RBP);
			break;
		case DCLS_CALL:
		case DCLS_CALL_IND:
			stack_operand(p, n, CPU_RSP, -word, (unsigned int)word, true);
			break;
		case DCLS_RET:
			stack_operand(p, n, CPU_RSP, 0, (unsigned int)word, false);
			break;
		default:
			if (constant_step(t, d, &reg, &by))
				move(p, reg, by);
			else
				written_regs(p, d);
		}
	}
}

/* Groups that are worth it get one of the places for host addresses, as long as they are in use. */
static void assign(struct tctx *t, struct plan *p)
{
	int8_t until[SHARE_SLOTS];

	memset(until, -1, sizeof(until));
	for (unsigned int n = 0; n < t->nr; n++) {
		for (unsigned int w = 0; w < 2; w++) {
			struct group *g = p->of[n][w] < 0 ? NULL : &p->group[p->of[n][w]];

			if (!g || g->first != n || g->slot >= 0 || g->dropped)
				continue;
			g->slot = -1;
			for (int8_t s = 0; s < SHARE_SLOTS && g->nr > 1 && g->slot < 0; s++) {
				if (until[s] >= (int8_t)n)
					continue;
				until[s] = (int8_t)g->last;
				g->slot = s;
			}
			g->dropped = g->slot < 0;
		}
	}
}

/* Stores only: a copy of what has just been stored in other pieces makes the processor wait. */
static void clear(struct tshare *s, int32_t from)
{
	s->slot = s->stream = -1;
	s->first = s->write = false;
	s->span = 0;
	s->at = 0;
	s->from = from;
}

void share_plan(struct tctx *t)
{
	static _Thread_local struct plan p;

	for (unsigned int n = 0; n < t->nr; n++) {
		clear(&t->insn[n].share[0], t->insn[n].d.disp);
		clear(&t->insn[n].share[1], t->insn[n].d.disp);
	}
	if (t->b.key & DBT_KEY_ALONE)
		return;
	p.nr = p.handlers = 0;
	memset(p.version, 0, sizeof(p.version));
	memset(p.moved, 0, sizeof(p.moved));
	walk(t, &p);
	for (unsigned int k = 0; k < p.nr; k++)
		p.group[k].slot = -1;
	assign(t, &p);
	for (unsigned int n = 0; n < t->nr; n++) {
		for (unsigned int w = 0; w < 2; w++) {
			const struct group *g = p.of[n][w] < 0 ? NULL : &p.group[p.of[n][w]];

			if (!g || g->dropped)
				continue;
			t->insn[n].share[w] = (struct tshare){
				.slot = g->slot,
				.stream = -1,
				.first = g->first == n && (w == 0 || p.of[n][0] != p.of[n][1]),
				.write = g->write,
				.at = p.at[n][w] - g->lo,
				.from = g->lo,
				.span = (uint16_t)(g->hi - g->lo),
			};
		}
	}
}

int32_t share_disp(int slot)
{
	static const int32_t near[] = { CPU_DISP(hot.spill[2]), CPU_DISP(hot.spill[3]),
					CPU_DISP(hot.spill[4]) };

	return slot < 3 ? near[slot] : CPU_DISP(share[0]) + 8 * (slot - 3);
}
