// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's run loop.
 *
 *	dbt_run            faults come back here by longjmp; registers are in st already
 *	  loop             events, single steps, modes that are the interpreter's
 *	    run_translated enter code, find or translate what comes next, link
 *
 * While translated code runs, and in what it calls and comes back to, the guest's vector registers may be in the host's
 * (hot.fpu_live): this file is compiled for general registers only, and dbt_fpu_save() comes before everything
 * that is not.
 *
 * Code memory is used again when no vCPU can reach it any more: see `epoch`. A vCPU counts as outside while it handles
 * events, because it may sleep there; it holds no translation then, and empties its tables when it comes back to
 * find that an epoch has begun.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cpu/dbt/cache.h"
#include "cpu/dbt/signals.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"
#include "cpu/mmu.h"

static bool is_wanted(const struct cpu *c)
{
	return atomic_load_explicit(&c->hot.pending, memory_order_relaxed) | c->hot.due;
}

/* --- epochs --------------------------------------------------------------------------------------- */

static void outside(struct dbt_cpu *dc)
{
	atomic_store_explicit(&dc->epoch, UINT64_MAX, memory_order_release);
}

static void inside(struct cpu *c, struct dbt_cpu *dc)
{
	struct dbt *d = dc->dbt;
	uint64_t epoch;

	/* Whoever raises it sees this one here, or this one sees it raised. */
	do {
		epoch = atomic_load(&d->epoch);
		atomic_store(&dc->epoch, epoch);
	} while (atomic_load(&d->epoch) != epoch);
	if (dc->clean == epoch)
		return;
	dc->clean = epoch;
	dbt_fpu_save(c);
	jumps_drop_all(c);
	ret_stack_reset(c, RET_BOTH);
}

/* --- finding code --------------------------------------------------------------------------------- */

static struct tblock *make(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key)
{
	struct dbt *d = c->grp->dbt;
	unsigned int off = (uintptr_t)host & GUEST_PAGE_MASK;
	struct tblock *b;

	dbt_fpu_save(c);
	cpu_at(c, CPU_AT_TRANSLATOR);
	dbt_lock(d);
	b = tblock_find(d, host - off, off, key);
	if (!b)
		b = revive(c, host, flags, key);
	if (!b)
		b = translate(c, host, flags, key);
	dbt_unlock(d);
	cpu_at(c, CPU_AT_MONITOR);
	return b;
}

/* The block at st.rip. NULL: its first instruction is the interpreter's. Raises what fetching raises. */
static struct tblock *find_block(struct cpu *c, uint8_t key)
{
	uint64_t gpa, lin = c->st.rip;
	unsigned int off = lin & GUEST_PAGE_MASK;
	_Atomic uint8_t *flags;
	const uint8_t *host = mem_fetch(c, lin, &gpa, &flags);
	struct tblock *b;

	if (!host)
		return NULL;
	b = tblock_find(c->grp->dbt, host - off, off, key);
	return likely(b) ? b : make(c, host, flags, key);
}

static const uint8_t *find_code(struct cpu *c)
{
	struct tblock *b = find_block(c, c->hot.key);

	if (b)
		jumps_add(c, c->st.rip, b->code);
	return b ? b->code : NULL;
}

static const uint8_t *look_up(struct cpu *c)
{
	const struct jump_slot *s = jumps_slot(dbt_cpu(c)->jumps, c->st.rip);

	if (likely(s->lin == c->st.rip))
		return s->code;
	return find_code(c);
}

static const uint8_t *find_link(struct cpu *c)
{
	struct dbt *d = c->grp->dbt;
	struct tlink *l = (struct tlink *)(void *)code_rw(d->blocks, c->hot.link);
	struct tblock *b;
	uint8_t variant;

	/* Constant; but nothing has ordered its making before this thread's reading. */
	dbt_lock(d);
	variant = l->variant;
	dbt_unlock(d);
	b = find_block(c, c->hot.key | variant);
	if (!b)
		return NULL;
	dbt_lock(d);
	tlink_set(d, l, b);
	dbt_unlock(d);
	return b->code;
}

/* --- running -------------------------------------------------------------------------------------- */

static void one_by_interp(struct cpu *c)
{
	dbt_fpu_save(c);
	interp_step(c);
	if (c->mode != CPU_MODE_64)
		c->st.rip = (uint32_t)c->st.rip;
}

/* st is complete again. An indirect branch's target that is not canonical is the branch's own fault: the interpreter will
 * raise it. Returns the exit word, perhaps another one. */
static uint32_t come_out(struct cpu *c, uint32_t word)
{
	dbt_place(c, word);
	if (likely((word & 15) != DBT_EXIT_MISS || !c->hot.exit || mmu_is_canonical(c, c->st.rip)))
		return word;
	dbt_place(c, c->hot.exit);
	return c->hot.exit;
}

/* Let those run who are still in evicted code: with more vCPUs than processors, one may have been preempted there. Meanwhile
 * this one counts as outside, or two that wait would wait for each other. */
static void wait_for_room(struct cpu *c, struct dbt_cpu *dc)
{
	dc->starved = false;
	dbt_fpu_save(c);
	outside(dc);
	sched_yield();
}

/* Where to go on; NULL: by the interpreter, for one instruction; or starved. */
static const uint8_t *after_exit(struct cpu *c, uint32_t word)
{
	switch (word & 15) {
	case DBT_EXIT_LINK:
		c->stats.dbt_exits_link++;
		return find_link(c);
	case DBT_EXIT_INTERP:
		c->stats.dbt_exits_interp++;
		return NULL;
	case DBT_EXIT_MISS:
		c->stats.dbt_exits_next++;
		return find_code(c);
	case DBT_EXIT_STALE:
		c->stats.dbt_exits_stale++;
		jumps_remove(c, c->st.rip);
		return look_up(c);
	default:
		c->stats.dbt_exits_next++;
		return look_up(c);
	}
}

/* Not inlined: next to setjmp() the compiler would keep everything in memory. */
static _noinline_ void run_translated(struct cpu *c)
{
	const struct dbt *d = c->grp->dbt;
	struct dbt_cpu *dc = dbt_cpu(c);
	const uint8_t *code = look_up(c);

	for (;;) {
		uint32_t word;

		if (!code) {
			if (dc->starved) {
				wait_for_room(c, dc);
				return;
			}
			one_by_interp(c);
			if (unlikely(is_wanted(c) || !c->hot.key))
				return;
			code = look_up(c);
			continue;
		}
		dbt_flags_take(c);
		c->hot.pbase = c->st.rip & ~GUEST_PAGE_MASK;
		cpu_at(c, CPU_AT_CODE);
		word = d->tramp.enter(c, code);
#if DBT_SANITIZED
		/* The sanitizers' own code knows nothing of our registers. */
		dbt_fpu_save(c);
#endif
		cpu_at(c, CPU_AT_MONITOR);
		word = come_out(c, word);
		if (unlikely(is_wanted(c) || !c->hot.key)) {
			/* It may be in the shadow of the one before it. */
			if ((word & 15) == DBT_EXIT_INTERP)
				one_by_interp(c);
			c->stats.dbt_exits_poll++;
			return;
		}
		code = after_exit(c, word);
	}
}

uint32_t dbt_handler(struct cpu *c, const struct insn *i, uint32_t word)
{
	uint64_t start;

	cpu_at(c, CPU_AT_HELPER);
	dbt_fpu_save(c);
	dbt_place(c, word);
	start = c->st.rip;
	c->st.rip += i->len;
	c->hot.exit = 0;
	c->cur = i;
	c->end = i + (word & DBT_MORE ? 2 : 1);
	i->fn(c, i);
	c->cur = NULL;
	c->stats.dbt_handlers++;
	if (c->mode != CPU_MODE_64)
		c->st.rip = (uint32_t)c->st.rip;
	/* Interrupts wait for the poll of the next block; a repeated string instruction that was interrupted is
	 * executed again. */
	if (c->hot.due || !c->hot.key || (!c->end && !(word & DBT_ENDS)) || c->st.rip == start)
		return DBT_EXIT_NEXT | DBT_AT_RIP;
	dbt_flags_take(c);
	cpu_at(c, CPU_AT_CODE);
	return 0;
}

static _noinline_ enum cpu_exit loop(struct cpu *c, struct err *err)
{
	struct dbt_cpu *dc = dbt_cpu(c);
	enum cpu_exit exit;

	for (;;) {
		if (is_wanted(c)) {
			dbt_fpu_save(c);
			outside(dc);
			if (!event_deliver_pending(c, &exit, err))
				return exit;
		}
		if (unlikely(atomic_load_explicit(&dc->epoch, memory_order_relaxed) !=
			     atomic_load_explicit(&dc->dbt->epoch, memory_order_relaxed)))
			inside(c, dc);
		if (c->hot.due & DUE_STEP) {
			dbt_fpu_save(c);
			event_step_begin(c);
			interp_step(c);
			event_step_end(c);
		} else if (c->grp->trace) {
			one_by_interp(c);
		} else if (!c->hot.key) {
			dbt_fpu_save(c);
			interp_run_blocks(c);
		} else {
			run_translated(c);
		}
	}
}

static void after_fault(struct cpu *c)
{
	if (atomic_load_explicit(&c->place, memory_order_relaxed) == CPU_AT_HELPER)
		c->stats.dbt_faults++;
	cpu_at(c, CPU_AT_MONITOR);
	interp_account_fault(c);
}

static enum cpu_exit dbt_run(struct cpu *c, struct err *err)
{
	enum cpu_exit exit;

	if (dbt_signals_thread(err) < 0)
		return CPU_EXIT_ERROR;
	exclusive_enter(c);
	if (setjmp(c->fault_jmp))
		after_fault(c);
	exit = loop(c, err);
	dbt_fpu_save(c);
	outside(dbt_cpu(c));
	exclusive_leave(c);
	return exit;
}

/* --- the engine ----------------------------------------------------------------------------------- */

static void code_gone(struct cpu_group *grp, const uint8_t *page, uint64_t pieces)
{
	dbt_page_written(grp->dbt, page, pieces);
}

static void group_done(struct cpu_group *grp)
{
	struct dbt *d = grp->dbt;

	grp->code_gone = NULL;
	dbt_signals_remove(d);
	translate_free(d);
	blocks_free(d);
	dtable_free(d->table);
	free(d);
	grp->dbt = NULL;
}

static int group_init(struct cpu_group *grp, struct err *err)
{
	struct dbt *d = mem_new(sizeof(*d));
	int r;

	d->grp = grp;
	grp->dbt = d;
	atomic_init(&d->epoch, 1);
	d->count = grp->count_blocks;
	d->table = dtable_new(&grp->cpuid);
	r = dbt_signals_start(err);
	if (r == 0)
		r = blocks_new(d, grp->code_cache_bytes, err);
	if (r == 0) {
		r = dbt_signals_add(d, d->blocks->rx, d->blocks->size);
		if (r < 0)
			r = err_set(err, r, "no memory for the translation engine");
	}
	if (r < 0)
		group_done(grp);
	else
		grp->code_gone = code_gone;
	return r;
}

static int dbt_init(struct cpu *c, struct err *err)
{
	struct cpu_group *grp = c->grp;
	struct dbt_cpu *dc;
	int r = interp_engine.init(c, err);

	if (r == 0 && !grp->dbt)
		r = group_init(grp, err);
	if (r < 0)
		return r;
	dc = mem_new(sizeof(*dc));
	dc->c = c;
	dc->dbt = grp->dbt;
	atomic_init(&dc->epoch, UINT64_MAX);
	c->engine_data = dc;
	grp->dbt->users++;
	r = ret_stack_init(dc, err);
	if (r < 0)
		return r;
	c->hot.self = c;
	c->sys->tlb_selected = dbt_tlb_selected;
	c->sys->exec_gone = dbt_exec_gone;
	c->sys->set_freed = dbt_set_freed;
	return 0;
}

static void dbt_done(struct cpu *c)
{
	struct dbt_cpu *dc = dbt_cpu(c);
	struct dbt *d = c->grp->dbt;

	interp_engine.done(c);
	if (!dc)
		return;
	ret_stack_done(dc);
	free(dc);
	c->engine_data = NULL;
	c->hot.key = 0;
	c->hot.jump = NULL;
	if (--d->users == 0)
		group_done(c->grp);
}

static void dbt_flush(struct cpu *c)
{
	interp_engine.flush(c);
	dbt_drop_all(c->grp->dbt);
}

static void dbt_state_loaded(struct cpu *c)
{
	c->hot.fpu_live = 0;
	jumps_drop_all(c);
	ret_stack_reset(c, RET_BOTH);
	interp_engine.state_loaded(c);
}

const struct cpu_engine dbt_engine = {
	.name = "dbt",
	.init = dbt_init,
	.done = dbt_done,
	.run = dbt_run,
	.flush = dbt_flush,
	.state_loaded = dbt_state_loaded,
};
