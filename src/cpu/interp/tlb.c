// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The software TLB: three tables a PCID (user, supervisor, supervisor with SMAP), because the same page
 * grants each of them something else, and a privilege change then only swaps a pointer. A few recent
 * PCIDs keep their tables; without CR4.PCIDE there is one. Global pages are filled into each context
 * anew, which costs a walk and saves a tag compare on every access.
 *
 * Bitmaps beside the tables say which slots are in use, so that a flush costs what was used, and which
 * are parts of large pages, so that INVLPG finds all parts of one. Small filters say what INVLPG need not
 * care for: addresses where there was no large page, and pages that were never executed; most are both.
 *
 * Translated code stores without a look at the page's flags. So, when there is a translation engine, a page with
 * flags has no write tag in any table (the slot remembers that it is `held` back), and for each page of RAM the
 * vCPU notes in which slots it may have write tags of it: two (the kernel's alias and the user's), or "many". See
 * code.c for how vCPUs agree.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

static _Atomic uint8_t no_flags;
uint8_t stk_nobody[GUEST_PAGE_SIZE];

/* While alignment is checked every access takes the slow path: a table in which nothing is found. */
static struct tlb_set empty_set;
static pthread_once_t empty_once = PTHREAD_ONCE_INIT;

/* The host page and its flags stay: nobody looks at them without a tag that matches. */
static void entry_clear(struct tlb_set *t, unsigned int k)
{
	t->e[k].r = t->e[k].w = t->e[k].x = tlb_none(k);
}

static void set_init(struct tlb_set *t)
{
	for (unsigned int k = 0; k < TLB_SIZE; k++) {
		entry_clear(t, k);
		t->back[k].flags = &no_flags;
	}
}

static void empty_make(void)
{
	set_init(&empty_set);
}

static struct tlb_ctx *ctx_new(unsigned int pcid)
{
	struct tlb_ctx *x =
		mmap(NULL, sizeof(*x), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (x == MAP_FAILED)
		abort();
	x->pcid = (uint16_t)pcid;
	for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
		set_init(&x->set[p]);
	return x;
}

int tlb_init(struct cpu *c)
{
	pthread_once(&empty_once, empty_make);
	c->sys->all[0] = c->sys->ctx = ctx_new(0);
	c->hot.tlb = c->sys->tlb_fetch = c->sys->ctx->set[MMU_SUPER].e;
	stk_forget(c);
	return 0;
}

void tlb_done(struct cpu *c)
{
	struct interp_sys *s = c->sys;

	for (unsigned int k = 0; k < TLB_NR_CTX && s->all[k]; k++) {
		for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
			if (s->set_freed)
				s->set_freed(&s->all[k]->set[p]);
		munmap(s->all[k], sizeof(*s->all[k]));
	}
	if (s->wrote)
		munmap((void *)s->wrote, s->wrote_pages * sizeof(s->wrote[0]));
}

void tlb_select(struct cpu *c)
{
	struct interp_sys *s = c->sys;
	bool smap = c->st.cr4 & CR4_SMAP, ac = c->st.rflags & RFLAGS_AC;
	bool is_user = cpl(c) == 3;

	s->priv_sys = smap ? MMU_SUPER_SMAP : MMU_SUPER;
	s->priv = is_user ? MMU_USER : smap && !ac ? MMU_SUPER_SMAP : MMU_SUPER;
	s->align_check = is_user && ac && (c->st.cr0 & CR0_AM);
	s->tlb_fetch = s->ctx->set[s->priv].e;
	c->hot.tlb = s->align_check ? empty_set.e : s->tlb_fetch;
	stk_forget(c);
	if (s->tlb_selected)
		s->tlb_selected(c);
	if (is_user && unlikely(atomic_load_explicit(&c->grp->hold.is_on, memory_order_relaxed)))
		c->hot.due |= DUE_CHECK; /* it may have to wait */
}

/* --- write tags ----------------------------------------------------------------------------------- */

/* An element of `wrote`: two slot numbers, each with a bit that says it is one, and "in other slots, too". */
enum { WROTE_BITS = 13, WROTE_SLOT = 1 << 12, WROTE_MANY = 1 << 26 };

/* Cover all RAM there is now. Returns whether @host is covered. */
static bool wrote_map(struct cpu *c, uintptr_t host)
{
	const struct physmem *m = c->grp->mem;
	struct interp_sys *s = c->sys;
	uintptr_t first = UINTPTR_MAX, end = 0;
	_Atomic uint32_t *p;
	uint64_t pages;

	for (unsigned int k = 0; k < m->nr + m->nr_windows; k++) {
		if (m->region[k].is_rom || !m->region[k].size)
			continue;
		first = MIN(first, (uintptr_t)m->region[k].hva);
		end = MAX(end, (uintptr_t)m->region[k].hva + m->region[k].size);
	}
	if (host < first || host >= end)
		return false;
	pages = (end - first) >> GUEST_PAGE_SHIFT;
	p = mmap(NULL, pages * sizeof(*p), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	code_map_lock(c->grp->code);
	if (s->wrote) {
		tlb_unwrite_all(c);
		munmap((void *)s->wrote, s->wrote_pages * sizeof(*p));
	}
	s->wrote = p;
	s->wrote_base = first;
	s->wrote_pages = pages;
	code_map_unlock(c->grp->code);
	return true;
}

static _Atomic uint32_t *wrote_of(const struct cpu *c, uintptr_t host)
{
	const struct interp_sys *s = c->sys;
	uint64_t n = (host - s->wrote_base) >> GUEST_PAGE_SHIFT;

	return likely(n < s->wrote_pages) ? &s->wrote[n] : NULL;
}

/*
 * Slot @k is going to have a write tag of a page that has no flags. Returns false when it must not.
 *
 * Whoever sets a flag does so first and looks here second; we note first and look at the flags second. So either
 * we see the flag, or it sees the note and asks us to take the tag away.
 */
static bool wrote_note(struct cpu *c, unsigned int k, uintptr_t host, const _Atomic uint8_t *flags)
{
	_Atomic uint32_t *p = wrote_of(c, host);
	uint32_t slot = k | WROTE_SLOT, old, new;

	if (unlikely(!p)) {
		if (!wrote_map(c, host))
			return false;
		p = wrote_of(c, host);
	}
	old = atomic_load_explicit(p, memory_order_relaxed);
	if ((old & (WROTE_SLOT | (TLB_SIZE - 1))) == slot ||
	    (old >> WROTE_BITS & (WROTE_SLOT | (TLB_SIZE - 1))) == slot || (old & WROTE_MANY))
		return true;
	new = !(old & WROTE_SLOT)		  ? old | slot
	      : !(old >> WROTE_BITS & WROTE_SLOT) ? old | slot << WROTE_BITS
						  : old | WROTE_MANY;
	atomic_exchange(p, new);
	return !atomic_load(flags);
}

/* May the slot have a write tag, as far as the page's flags are concerned? */
static bool may_tag(struct cpu *c, unsigned int k, uintptr_t host, const _Atomic uint8_t *flags)
{
	if (!c->grp->dbt)
		return true;
	if (atomic_load_explicit(flags, memory_order_relaxed))
		return false;
	return wrote_note(c, k, host, flags);
}

static void slot_unwrite(struct tlb_set *t, unsigned int k)
{
	t->e[k].w = tlb_none(k);
	t->word[k / 64].held |= UINT64_C(1) << (k & 63);
}

/* @host 0: of all pages. */
static void unwrite_everywhere(struct cpu *c, uintptr_t host)
{
	for (unsigned int n = 0; n < TLB_NR_CTX * MMU_NR_PRIV; n++) {
		struct tlb_ctx *x = c->sys->all[n / MMU_NR_PRIV];
		struct tlb_set *t;

		if (!x)
			break;
		t = &x->set[n % MMU_NR_PRIV];
		for (uint64_t ws = t->words; ws; ws &= ws - 1) {
			unsigned int w = (unsigned int)__builtin_ctzll(ws);

			for (uint64_t b = t->word[w].used; b; b &= b - 1) {
				unsigned int k = w * 64 + (unsigned int)__builtin_ctzll(b);

				if (!tlb_is_none(t->e[k].w) && (!host || t->e[k].page == host))
					slot_unwrite(t, k);
			}
		}
	}
}

static void unwrite_slot_everywhere(struct cpu *c, unsigned int k, uintptr_t host)
{
	for (unsigned int n = 0; n < TLB_NR_CTX && c->sys->all[n]; n++)
		for (unsigned int p = 0; p < MMU_NR_PRIV; p++) {
			struct tlb_set *t = &c->sys->all[n]->set[p];

			if (t->e[k].page == host && !tlb_is_none(t->e[k].w))
				slot_unwrite(t, k);
		}
}

void tlb_unwrite(struct cpu *c, const uint8_t *host)
{
	_Atomic uint32_t *p = wrote_of(c, (uintptr_t)host);
	uint32_t old = p ? atomic_load_explicit(p, memory_order_relaxed) : 0;

	if (!old)
		return;
	stk_forget(c);
	if (old & WROTE_MANY) {
		unwrite_everywhere(c, (uintptr_t)host);
	} else {
		unwrite_slot_everywhere(c, old & (TLB_SIZE - 1), (uintptr_t)host);
		if (old >> WROTE_BITS)
			unwrite_slot_everywhere(c, old >> WROTE_BITS & (TLB_SIZE - 1),
						(uintptr_t)host);
	}
	atomic_store_explicit(p, 0, memory_order_relaxed);
}

/* The notes stay: they may say too much. */
void tlb_unwrite_all(struct cpu *c)
{
	stk_forget(c);
	unwrite_everywhere(c, 0);
}

bool tlb_wrote(const struct cpu *c, const uint8_t *host)
{
	_Atomic uint32_t *p = wrote_of(c, (uintptr_t)host);

	return p && atomic_load(p);
}

bool tlb_held_write(struct cpu *c, struct tlb_set *t, uint64_t lin)
{
	unsigned int k = tlb_index(lin);
	uint64_t bit = UINT64_C(1) << (k & 63);
	struct tlb_entry *e = &t->e[k];

	if (!(t->word[k / 64].held & bit) || e->r != (lin & ~GUEST_PAGE_MASK))
		return false;
	if (may_tag(c, k, e->page, t->back[k].flags)) {
		e->w = e->r;
		t->word[k / 64].held &= ~bit;
	}
	return true;
}

/* --- forgetting ------------------------------------------------------------------------------------- */

static unsigned int page_hash(uint64_t lin)
{
	return tlb_index(lin);
}

static bool bit_get(const uint64_t *bits, unsigned int n)
{
	return bits[n / 64] >> (n & 63) & 1;
}

static void bit_set(uint64_t *bits, unsigned int n)
{
	bits[n / 64] |= UINT64_C(1) << (n & 63);
}

static unsigned int big_number(uint64_t lin)
{
	return (unsigned int)(lin >> 21) & (TLB_SIZE - 1);
}

static unsigned int giant_number(uint64_t lin)
{
	return (unsigned int)(lin >> 30) & 255;
}

static void exec_gone(struct cpu *c, struct tlb_set *t, uint64_t lin, bool all)
{
	if (c->sys->exec_gone)
		c->sys->exec_gone(c, t, lin, all);
}

static void slot_clear(struct tlb_set *t, unsigned int k)
{
	uint64_t bit = UINT64_C(1) << (k & 63);
	struct tlb_word *w = &t->word[k / 64];

	entry_clear(t, k);
	w->used &= ~bit;
	w->global &= ~bit;
	w->large &= ~bit;
	w->held &= ~bit;
	if (!w->used)
		t->words &= ~(UINT64_C(1) << (k / 64));
}

static void filters_clear(struct tlb_set *t)
{
	for (unsigned int w = 0; w < TLB_WORDS; w++)
		t->exec[w] = t->exec_big[w] = t->big[0][w] = t->big[1][w] = 0;
	for (unsigned int w = 0; w < ARRAY_SIZE(t->giant); w++)
		t->giant[w] = 0;
	t->exec_local = t->exec_global = t->exec_giant = false;
}

static void set_flush(struct cpu *c, struct tlb_set *t, bool with_global)
{
	for (uint64_t ws = t->words; ws; ws &= ws - 1) {
		unsigned int n = (unsigned int)__builtin_ctzll(ws);
		struct tlb_word *w = &t->word[n];
		uint64_t gone = with_global ? w->used : w->used & ~w->global;

		for (uint64_t b = gone; b; b &= b - 1)
			entry_clear(t, n * 64 + (unsigned int)__builtin_ctzll(b));
		w->used &= ~gone;
		w->global &= ~gone;
		w->large &= ~gone;
		w->held &= ~gone;
		if (!w->used)
			t->words &= ~(UINT64_C(1) << n);
	}
	if (with_global || t->exec_local) {
		if (t->exec_local || t->exec_global)
			exec_gone(c, t, 0, true);
		t->exec_local = false;
		/* What is left has to be found in the filters. */
		if (!t->words)
			filters_clear(t);
	}
}

static void ctx_flush(struct cpu *c, struct tlb_ctx *x, bool with_global)
{
	for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
		set_flush(c, &x->set[p], with_global);
}

/* Parts of large pages that hold @lin. The whole large page counts: INVLPG may name any address of it. */
static void flush_parts(struct tlb_set *t, uint64_t lin, bool only_global)
{
	for (uint64_t ws = t->words; ws; ws &= ws - 1) {
		unsigned int n = (unsigned int)__builtin_ctzll(ws);
		const struct tlb_word *w = &t->word[n];

		for (uint64_t b = w->large & (only_global ? w->global : UINT64_MAX); b;
		     b &= b - 1) {
			unsigned int k = n * 64 + (unsigned int)__builtin_ctzll(b);
			uint64_t at = tlb_is_none(t->e[k].r) ? t->e[k].x : t->e[k].r;

			if ((at ^ lin) >> (t->back[k].gpa_shift & GUEST_PAGE_MASK) == 0)
				slot_clear(t, k);
		}
	}
}

/* A tag may be the page's read tag or, when it cannot be read, its execute tag; who may write may read. */
static void set_flush_page(struct cpu *c, struct tlb_set *t, uint64_t lin, bool only_global)
{
	unsigned int k = tlb_index(lin);
	uint64_t tag = lin & ~GUEST_PAGE_MASK;

	if ((t->e[k].r == tag || t->e[k].x == tag) &&
	    (!only_global || (t->word[k / 64].global >> (k & 63) & 1)))
		slot_clear(t, k);
	if (unlikely(bit_get(t->big[lin >> 63], big_number(lin)) ||
		     bit_get(t->giant, giant_number(lin))))
		flush_parts(t, lin, only_global);
	if (!t->exec_global && (only_global || !t->exec_local))
		return;
	/* Of a large page any part may have been executed, also one that has been replaced since. */
	if (unlikely(bit_get(t->exec_big, big_number(lin)) || t->exec_giant))
		exec_gone(c, t, 0, true);
	else if (bit_get(t->exec, page_hash(lin)))
		exec_gone(c, t, lin, false);
}

void tlb_flush_all(struct cpu *c)
{
	interp_leave(c);
	c->stats.tlb_flushes++;
	stk_forget(c);
	for (unsigned int k = 0; k < TLB_NR_CTX && c->sys->all[k]; k++)
		ctx_flush(c, c->sys->all[k], true);
}

void tlb_flush_nonglobal_all(struct cpu *c)
{
	interp_leave(c);
	c->stats.tlb_flushes++;
	stk_forget(c);
	for (unsigned int k = 0; k < TLB_NR_CTX && c->sys->all[k]; k++)
		ctx_flush(c, c->sys->all[k], false);
}

void tlb_flush_page(struct cpu *c, uint64_t lin)
{
	interp_leave(c);
	c->stats.tlb_flushes_page++;
	stk_forget(c);
	for (unsigned int k = 0; k < TLB_NR_CTX && c->sys->all[k]; k++) {
		struct tlb_ctx *x = c->sys->all[k];

		for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
			set_flush_page(c, &x->set[p], lin, x != c->sys->ctx);
	}
}

static struct tlb_ctx *ctx_find(struct cpu *c, unsigned int pcid)
{
	for (unsigned int k = 0; k < TLB_NR_CTX && c->sys->all[k]; k++)
		if (c->sys->all[k]->pcid == pcid)
			return c->sys->all[k];
	return NULL;
}

void tlb_flush_pcid(struct cpu *c, unsigned int pcid, bool has_lin, uint64_t lin)
{
	struct tlb_ctx *x = ctx_find(c, pcid);

	interp_leave(c);
	stk_forget(c);
	if (!x)
		return;
	if (!has_lin) {
		c->stats.tlb_flushes++;
		ctx_flush(c, x, false);
		return;
	}
	c->stats.tlb_flushes_page++;
	for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
		set_flush_page(c, &x->set[p], lin, false);
}

void tlb_load_cr3(struct cpu *c, unsigned int pcid, bool keep)
{
	struct interp_sys *s = c->sys;
	struct tlb_ctx *x = s->ctx->pcid == pcid ? s->ctx : ctx_find(c, pcid);

	if (!x) {
		unsigned int oldest = 0;

		for (unsigned int k = 0; k < TLB_NR_CTX; k++) {
			if (!s->all[k]) {
				oldest = k;
				s->all[k] = ctx_new(pcid);
				break;
			}
			if (s->all[k]->last_use < s->all[oldest]->last_use)
				oldest = k;
		}
		x = s->all[oldest];
		if (x->pcid != pcid)
			ctx_flush(c, x, false); /* global pages are the same everywhere */
		x->pcid = (uint16_t)pcid;
	} else if (!keep) {
		c->stats.tlb_flushes++;
		c->stats.tlb_flushes_cr3++;
		ctx_flush(c, x, false);
	}
	x->last_use = ++s->ctx_clock;
	s->ctx = x;
	tlb_select(c);
	interp_leave(c);
}

/* --- filling ---------------------------------------------------------------------------------------- */

/* A page of 4 MiB is two units. */
static _noinline_ void large_note(struct tlb_set *t, uint64_t lin, unsigned int shift, bool is_exec)
{
	unsigned int n = big_number(lin);
	uint64_t *big = t->big[lin >> 63];

	if (shift >= 30) {
		bit_set(t->giant, giant_number(lin));
		t->exec_giant |= is_exec;
		return;
	}
	bit_set(big, n);
	if (shift > 21)
		bit_set(big, n ^ 1);
	if (!is_exec)
		return;
	bit_set(t->exec_big, n);
	if (shift > 21)
		bit_set(t->exec_big, n ^ 1);
}

static void exec_note(struct tlb_set *t, uint64_t lin, bool is_global)
{
	bit_set(t->exec, page_hash(lin));
	if (is_global)
		t->exec_global = true;
	else
		t->exec_local = true;
}

void tlb_insert(struct cpu *c, enum mmu_priv priv, uint64_t lin, enum mmu_access access,
		const struct mmu_page *page, uint8_t *host, _Atomic uint8_t *flags, bool may_write,
		bool may_data)
{
	struct tlb_set *t = &c->sys->ctx->set[priv];
	unsigned int k = tlb_index(lin);
	uint64_t bit = UINT64_C(1) << (k & 63), tag = lin & ~GUEST_PAGE_MASK;
	bool write = page->w && may_data && may_write, held;
	struct tlb_word *w = &t->word[k / 64];
	struct tlb_entry *e = &t->e[k];
	uint64_t none = tlb_none(k), x = none;

	e->page = (uintptr_t)host - (lin & GUEST_PAGE_MASK);
	held = write && !may_tag(c, k, e->page, flags);
	e->r = page->r && may_data ? tag : none;
	e->w = write && !held ? tag : none;
	/* Only what is executed has an execute tag, so that the filter knows. */
	if (access == MMU_EXEC || (page->x && e->x == tag)) {
		exec_note(t, lin, page->global);
		x = tag;
	}
	e->x = x;
	t->back[k].flags = flags;
	t->back[k].gpa_shift = (page->gpa & ~GUEST_PAGE_MASK) | page->shift;
	w->used |= bit;
	w->global = page->global ? w->global | bit : w->global & ~bit;
	w->held = held ? w->held | bit : w->held & ~bit;
	if (page->shift > GUEST_PAGE_SHIFT) {
		w->large |= bit;
		large_note(t, lin, page->shift, x == tag);
	} else {
		w->large &= ~bit;
	}
	t->words |= UINT64_C(1) << (k / 64);
}
