// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The run loop.
 *
 *	interp_run           events and sleeping; faults come back here by longjmp
 *	  interp_run_blocks  block after block, until somebody wants something
 *	    execute          handler after handler, until the block ends
 *
 * From one block to the next there are three ways, from fast to slow: within a page (the same bytes are
 * behind the same linear page for as long as no instruction left its block) a block remembers the two that
 * came after it; to another page a small table by linear address, checked against the TLB's execute
 * entry; and block_find(). Pending bits are polled once a block.
 */
#include <errno.h>

#include "base/mem.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/events.h"

/* Count what has been executed of a block, also when a fault cut it short. */
static void account(struct cpu *c, const struct block *b, uint64_t nr)
{
	c->stats.insns += nr;
	if (unlikely(b->nr_privileged | b->nr_sensitive)) {
		c->stats.insns_sensitive += b->nr_sensitive;
		c->stats.insns_privileged += b->nr_privileged;
	}
}

/* Returns false when the block was left: mapping, mode or code may be others now. */
static inline bool execute(struct cpu *c, const struct block *b)
{
	const struct insn *i = b->insn;

	c->end = i + b->nr;
	do {
		c->cur = i;
		c->st.rip += i->len;
		i->fn(c, i);
	} while (++i < c->end);
	if (likely(c->end)) {
		account(c, b, b->nr);
		return true;
	}
	account(c, b, (uint64_t)(i - b->insn));
	return false;
}

static inline bool is_usable(const struct cpu *c, const struct block *b, const uint8_t *host)
{
	return b->host == host && block_fresh(b) && block_in_limit(c, b);
}

/* The next block is in the page of @b, which is still mapped where it was, and the mode is the same. */
static inline struct block *next_in_page(struct cpu *c, struct block *b, uint64_t lin)
{
	struct block_cache *x = c->blocks;
	const uint8_t *page = b->host - ((uintptr_t)b->host & GUEST_PAGE_MASK);
	const uint8_t *host = page + (lin & GUEST_PAGE_MASK);
	uint64_t epoch = x->epoch;
	struct block *n;

	for (unsigned int k = 0; k < 2; k++)
		if (b->succ[k] && likely(is_usable(c, b->succ[k], host)))
			return b->succ[k];
	n = block_find(c);
	if (x->epoch == epoch && n != x->scratch && !n->crosses && n->host == host) {
		unsigned int k = b->succ[0] && block_fresh(b->succ[0]);

		b->succ[k] = n;
	}
	return n;
}

static inline struct block *next_anywhere(struct cpu *c, uint64_t lin)
{
	struct block_cache *x = c->blocks;
	const struct jump_entry *j = jump_slot(x, lin);
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);

	if (likely(j->lin == lin && j->block && e->x == (lin & ~GUEST_PAGE_MASK) &&
		   j->block->mode == block_mode(c) && is_usable(c, j->block, tlb_host(e, lin))))
		return j->block;
	return block_find(c);
}

/* Not inlined: next to setjmp() the compiler would keep everything in memory. */
_noinline_ void interp_run_blocks(struct cpu *c)
{
	struct block_cache *x = c->blocks;
	struct block *b = next_anywhere(c, block_lin(c));

	for (;;) {
		uint64_t page = block_lin(c) & ~GUEST_PAGE_MASK, lin;
		bool stayed;

		x->running = b;
		x->running_rip = c->st.rip;
		stayed = execute(c, b);
		x->running = NULL;
		c->cur = NULL;
		if (unlikely(atomic_load_explicit(&c->hot.pending, memory_order_relaxed) |
			     c->hot.due))
			return;
		if (c->mode != CPU_MODE_64)
			c->st.rip = (uint32_t)c->st.rip;
		if (unlikely(c->hot.key))
			return;
		lin = block_lin(c);
		if (likely(stayed && (lin & ~GUEST_PAGE_MASK) == page && b != x->scratch))
			b = next_in_page(c, b, lin);
		else
			b = next_anywhere(c, lin);
	}
}

void interp_step(struct cpu *c)
{
	struct block *b = block_find_one(c);
	const struct insn *i = b->insn;

	if (c->grp->trace)
		trace_insn(c, b);
	c->cur = i;
	c->end = i + 1;
	c->st.rip += i->len;
	i->fn(c, i);
	c->stats.insns++;
	c->cur = NULL;
}

/* A handler raised, and st.rip is back at its instruction: count what came before it. */
void interp_account_fault(struct cpu *c)
{
	struct block_cache *x = c->blocks;
	const struct block *b = x->running;
	uint64_t rip = x->running_rip, nr = 0;

	c->cur = NULL;
	if (!b)
		return;
	while (nr < b->nr && rip != c->st.rip)
		rip += b->insn[nr++].len;
	account(c, b, nr);
	x->running = NULL;
}

static enum cpu_exit interp_run(struct cpu *c, struct err *err)
{
	enum cpu_exit exit;

	exclusive_enter(c);
	if (setjmp(c->fault_jmp))
		interp_account_fault(c);
	for (;;) {
		if (atomic_load_explicit(&c->hot.pending, memory_order_relaxed) | c->hot.due)
			if (!event_deliver_pending(c, &exit, err))
				break;
		if (c->hot.due & DUE_STEP) {
			event_step_begin(c);
			interp_step(c);
			event_step_end(c);
		} else if (c->grp->trace) {
			interp_step(c);
		} else {
			interp_run_blocks(c);
		}
	}
	exclusive_leave(c);
	return exit;
}

/* --- the engine --------------------------------------------------------------------------------- */

static void group_written(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
			  uint8_t flags)
{
	if (flags & PAGE_F_CODE)
		code_written_group(arg, r, off, len);
}

static void group_flagged(void *arg)
{
	code_flagged(arg);
}

static int interp_init(struct cpu *c, struct err *err)
{
	struct cpu_group *grp = c->grp;
	int r;

	if (!grp->code) {
		grp->code = code_map_new();
		grp->mem->written = group_written;
		grp->mem->written_arg = grp;
		grp->mem->flagged = group_flagged;
		grp->mem->flagged_arg = grp;
	}
	r = hostop_start(err);
	if (r < 0)
		return r;
	r = block_cache_init(c, err);
	if (r < 0)
		return r;
	return interp_sys_init(c, err);
}

static void interp_done(struct cpu *c)
{
	interp_sys_done(c);
	block_cache_done(c);
	if (c->index == 0) {
		code_map_free(c->grp->code);
		c->grp->code = NULL;
	}
}

static void interp_flush(struct cpu *c)
{
	block_cache_drop(c);
	tlb_flush_all(c);
}

const struct cpu_engine interp_engine = {
	.name = "interp",
	.init = interp_init,
	.done = interp_done,
	.run = interp_run,
	.flush = interp_flush,
	.state_loaded = interp_sys_loaded,
};
