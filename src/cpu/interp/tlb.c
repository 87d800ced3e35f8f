// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The software TLB: three tables a PCID (user, supervisor, supervisor with SMAP), because the same page
 * grants each of them something else, and a privilege change then only swaps a pointer. A few recent
 * PCIDs keep their tables; without CR4.PCIDE there is one. Global pages are filled into each context
 * anew, which costs a walk and saves a tag compare on every access.
 *
 * Bitmaps beside the tables say which slots are in use, so that a flush costs what was used, and which
 * are parts of large pages, so that INVLPG finds all parts of one.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/interp/sys_priv.h"

static _Atomic uint8_t no_flags;

/* While alignment is checked every access takes the slow path: a table in which nothing is found. */
static struct tlb_set empty_set;
static pthread_once_t empty_once = PTHREAD_ONCE_INIT;

/* The page and its flags stay: nobody looks at them without a tag that matches. */
static void entry_clear(struct tlb_entry *e)
{
	e->r = e->w = e->x = TLB_NONE;
}

static void set_init(struct tlb_set *t)
{
	t->large_min[0] = t->large_min[1] = UINT64_MAX;
	for (unsigned int k = 0; k < TLB_SIZE; k++) {
		entry_clear(&t->e[k]);
		t->flags[k] = &no_flags;
	}
}

static void empty_make(void)
{
	set_init(&empty_set);
}

static struct tlb_ctx *ctx_new(unsigned int pcid)
{
	struct tlb_ctx *x = mmap(NULL, sizeof(*x), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

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
	return 0;
}

void tlb_done(struct cpu *c)
{
	for (unsigned int k = 0; k < TLB_NR_CTX; k++)
		if (c->sys->all[k])
			munmap(c->sys->all[k], sizeof(*c->sys->all[k]));
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
}

static void slot_clear(struct tlb_set *t, unsigned int k)
{
	uint64_t bit = UINT64_C(1) << (k & 63);

	entry_clear(&t->e[k]);
	t->used[k / 64] &= ~bit;
	t->global[k / 64] &= ~bit;
	t->large[k / 64] &= ~bit;
}

static void set_flush(struct tlb_set *t, bool with_global)
{
	uint64_t left = 0;

	for (unsigned int w = 0; w < TLB_WORDS; w++) {
		uint64_t gone = with_global ? t->used[w] : t->used[w] & ~t->global[w];

		for (uint64_t b = gone; b; b &= b - 1)
			entry_clear(&t->e[w * 64 + (unsigned int)__builtin_ctzll(b)]);
		t->used[w] &= ~gone;
		t->global[w] &= ~gone;
		t->large[w] &= ~gone;
		left |= t->large[w];
	}
	if (!left) {
		t->large_min[0] = t->large_min[1] = UINT64_MAX;
		t->large_max[0] = t->large_max[1] = 0;
	}
}

static void ctx_flush(struct tlb_ctx *x, bool with_global)
{
	for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
		set_flush(&x->set[p], with_global);
}

static uint64_t entry_page(const struct tlb_entry *e)
{
	return e->r != TLB_NONE ? e->r : e->w != TLB_NONE ? e->w : e->x;
}

static void set_flush_page(struct tlb_set *t, uint64_t lin, bool only_global)
{
	unsigned int k = tlb_index(lin);

	if (entry_page(&t->e[k]) == (lin & ~GUEST_PAGE_MASK) &&
	    (!only_global || (t->global[k / 64] >> (k & 63) & 1)))
		slot_clear(t, k);
	if (lin < t->large_min[lin >> 63] || lin > t->large_max[lin >> 63])
		return;
	for (unsigned int w = 0; w < TLB_WORDS; w++) {
		uint64_t parts = t->large[w] & (only_global ? t->global[w] : UINT64_MAX);

		for (; parts; parts &= parts - 1) {
			k = w * 64 + (unsigned int)__builtin_ctzll(parts);
			if ((entry_page(&t->e[k]) ^ lin) >> t->shift[k] == 0)
				slot_clear(t, k);
		}
	}
}

void tlb_flush_all(struct cpu *c)
{
	interp_leave(c);
	c->stats.tlb_flushes++;
	for (unsigned int k = 0; k < TLB_NR_CTX; k++)
		if (c->sys->all[k])
			ctx_flush(c->sys->all[k], true);
}

void tlb_flush_nonglobal_all(struct cpu *c)
{
	interp_leave(c);
	c->stats.tlb_flushes++;
	for (unsigned int k = 0; k < TLB_NR_CTX; k++)
		if (c->sys->all[k])
			ctx_flush(c->sys->all[k], false);
}

void tlb_flush_page(struct cpu *c, uint64_t lin)
{
	interp_leave(c);
	c->stats.tlb_flushes_page++;
	for (unsigned int k = 0; k < TLB_NR_CTX; k++) {
		struct tlb_ctx *x = c->sys->all[k];

		for (unsigned int p = 0; x && p < MMU_NR_PRIV; p++)
			set_flush_page(&x->set[p], lin, x != c->sys->ctx);
	}
}

static struct tlb_ctx *ctx_find(struct cpu *c, unsigned int pcid)
{
	for (unsigned int k = 0; k < TLB_NR_CTX; k++)
		if (c->sys->all[k] && c->sys->all[k]->pcid == pcid)
			return c->sys->all[k];
	return NULL;
}

void tlb_flush_pcid(struct cpu *c, unsigned int pcid, bool has_lin, uint64_t lin)
{
	struct tlb_ctx *x = ctx_find(c, pcid);

	interp_leave(c);
	if (!x)
		return;
	if (!has_lin) {
		c->stats.tlb_flushes++;
		ctx_flush(x, false);
		return;
	}
	c->stats.tlb_flushes_page++;
	for (unsigned int p = 0; p < MMU_NR_PRIV; p++)
		set_flush_page(&x->set[p], lin, false);
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
			ctx_flush(x, false); /* global pages are the same in every address space */
		x->pcid = (uint16_t)pcid;
	} else if (!keep) {
		c->stats.tlb_flushes++;
		ctx_flush(x, false);
	}
	x->last_use = ++s->ctx_clock;
	s->ctx = x;
	tlb_select(c);
	interp_leave(c);
}

/* The whole large page counts: INVLPG may name any address of it. */
static void large_note(struct tlb_set *t, uint64_t lin, unsigned int shift)
{
	uint64_t first = lin >> shift << shift, last = first | ((UINT64_C(1) << shift) - 1);
	unsigned int half = lin >> 63;

	t->large_min[half] = MIN(t->large_min[half], first);
	t->large_max[half] = MAX(t->large_max[half], last);
}

void tlb_insert(struct cpu *c, enum mmu_priv priv, uint64_t lin, const struct mmu_page *page,
		uint8_t *host, _Atomic uint8_t *flags, bool may_write, bool may_data)
{
	struct tlb_set *t = &c->sys->ctx->set[priv];
	unsigned int k = tlb_index(lin);
	uint64_t bit = UINT64_C(1) << (k & 63), tag = lin & ~GUEST_PAGE_MASK;
	struct tlb_entry *e = &t->e[k];

	e->r = page->r && may_data ? tag : TLB_NONE;
	e->w = page->w && may_data && may_write ? tag : TLB_NONE;
	e->x = page->x ? tag : TLB_NONE;
	e->page = (uintptr_t)host - (lin & GUEST_PAGE_MASK);
	t->flags[k] = flags;
	t->gpa[k] = page->gpa & ~GUEST_PAGE_MASK;
	t->shift[k] = page->shift;
	if (page->shift > GUEST_PAGE_SHIFT)
		large_note(t, lin, page->shift);
	t->used[k / 64] |= bit;
	t->global[k / 64] = page->global ? t->global[k / 64] | bit : t->global[k / 64] & ~bit;
	t->large[k / 64] = page->shift > GUEST_PAGE_SHIFT ? t->large[k / 64] | bit
							  : t->large[k / 64] & ~bit;
}
