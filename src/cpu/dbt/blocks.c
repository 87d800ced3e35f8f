// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translated blocks: finding them, linking them, and taking them away when their bytes were written.
 *
 * Readers of the hash take no lock. A block that dies leaves its chain but keeps its own pointer into it, and its
 * memory stays until every vCPU has been in the run loop since, where it holds no block.
 *
 * A dead block may still be entered by way of a jump table: its first instruction, 5 bytes and 8-aligned, is
 * replaced by a jump to its exit in one store. Links to it are led back to their stubs, likewise one aligned store each.
 * Its own links out stay as they are: whoever is still in it, or returns to it, goes on as the old bytes said, as
 * a processor may that has fetched them already.
 */
#include "cpu/dbt/blocks.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/dbt/cache.h"
#include "cpu/dbt/inspect.h"

static _Atomic(struct tblock *) *hash_slot(struct blocks *x, const uint8_t *page, unsigned int off,
					   uint8_t key)
{
	uint64_t n = (uint64_t)(uintptr_t)page + off;

	return &x->hash[((n * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - HASH_BITS_DBT)) ^ key];
}

static struct tblock **page_slot(struct blocks *x, const uint8_t *page)
{
	uint64_t n = (uint64_t)(uintptr_t)page >> GUEST_PAGE_SHIFT;

	return &x->page[(n * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - PAGES_BITS)];
}

struct tblock *tblock_find(struct dbt *d, const uint8_t *page, unsigned int off, uint8_t key)
{
	struct tblock *b =
		atomic_load_explicit(hash_slot(d->blocks, page, off, key), memory_order_acquire);

	while (b && (b->page != page || b->off != off || b->key != key ||
		     atomic_load_explicit(&b->dead, memory_order_relaxed)))
		b = atomic_load_explicit(&b->next_hash, memory_order_acquire);
	return b;
}

/* --- keeping -------------------------------------------------------------------------------------- */

/* From the top of the current part; tspace_get() has seen to it that there is room. */
static void *records_get(struct blocks *x, size_t size)
{
	struct part *p = &x->part[x->current];

	p->high -= (uint32_t)((size + 15) & ~(size_t)15);
	assert(p->high >= p->low);
	return x->rw + TRAMP_SIZE + (size_t)x->part_size * x->current + p->high;
}

/* Into its page's list and the hash. */
static void enter(struct blocks *x, struct tblock *b)
{
	_Atomic(struct tblock *) *slot = hash_slot(x, b->page, b->off, b->key);
	struct tblock **page = page_slot(x, b->page);

	b->next_page = *page;
	b->at_page = page;
	if (*page)
		(*page)->at_page = &b->next_page;
	*page = b;
	atomic_store_explicit(&b->next_hash, atomic_load_explicit(slot, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(slot, b, memory_order_release);
}

static void insert(struct blocks *x, struct tblock *b)
{
	struct part *p = &x->part[x->current];

	atomic_store_explicit(&b->next_age, NULL, memory_order_relaxed);
	atomic_store_explicit(p->last ? &p->last->next_age : &p->first, b, memory_order_release);
	p->last = b;
	enter(x, b);
}

struct tblock *tblock_commit(struct dbt *d, const struct tblock *from, uint32_t used)
{
	struct blocks *x = d->blocks;
	struct part *p = &x->part[x->current];
	struct tblock *b;

	assert(((uintptr_t)from->code & 7) == 0 && used <= TSPACE_ROOM);
	p->low += (used + 15) & ~(uint32_t)15;
	b = records_get(x, sizeof(*b));
	memcpy(b, from, sizeof(*b));
	atomic_init(&b->dead, false);
	b->in = 0;
	if (b->nr_pcs) {
		b->pcs = records_get(x, b->nr_pcs * sizeof(struct tpc));
		memcpy(b->pcs, from->pcs, b->nr_pcs * sizeof(struct tpc));
	}
	for (unsigned int k = 0; k < b->nr_links; k++) {
		struct tlink *l = &b->links[k];

		assert((((uintptr_t)l + (uintptr_t)(intptr_t)l->site) & 3) == 0);
		l->from = (uint32_t)((uint8_t *)b - x->rw);
		l->to = 0;
	}
	insert(x, b);
	return b;
}

/* --- links ---------------------------------------------------------------------------------------- */

/* The memory's first bytes are the trampolines', so no record has offset 0. */
static uint32_t offset_of(const struct blocks *x, const void *record)
{
	return (uint32_t)((const uint8_t *)record - x->rw);
}

static void *at_offset(const struct blocks *x, uint32_t offset)
{
	return x->rw + offset;
}

static void link_point(struct tlink *l, const uint8_t *to_rw)
{
	uint8_t *site = (uint8_t *)l + l->site;

	atomic_store_explicit((_Atomic int32_t *)(void *)site, (int32_t)(to_rw - (site + 4)),
			      memory_order_release);
}

static void link_remove(struct blocks *x, struct tlink *l)
{
	link_point(l, (uint8_t *)l + l->stub);
	*(uint32_t *)at_offset(x, l->at_in) = l->next_in;
	if (l->next_in)
		((struct tlink *)at_offset(x, l->next_in))->at_in = l->at_in;
	l->to = 0;
}

void tlink_set(struct dbt *d, struct tlink *l, struct tblock *to)
{
	struct blocks *x = d->blocks;
	struct tblock *from = at_offset(x, l->from);

	if (from->dead || to->dead || l->to == offset_of(x, to) ||
	    ((from->key & ~(unsigned int)DBT_KEY_ALONE) | l->variant) != to->key)
		return;
	if (l->kind == TLINK_CROSS) {
		uint64_t page = atomic_load_explicit(&l->cell, memory_order_relaxed);

		if (page && page != (uintptr_t)to->page)
			return;
	} else if (to->page != from->page) {
		return; /* the page was mapped elsewhere between the exit and now */
	}
	if (l->to)
		link_remove(x, l);
	l->to = offset_of(x, to);
	l->next_in = to->in;
	l->at_in = offset_of(x, &to->in);
	if (to->in)
		((struct tlink *)at_offset(x, to->in))->at_in = offset_of(x, &l->next_in);
	to->in = offset_of(x, l);
	link_point(l, code_rw(x, l->kind == TLINK_NEAR ? to->fcode : to->code));
	if (l->kind == TLINK_CROSS)
		atomic_store_explicit(&l->cell, (uintptr_t)to->page, memory_order_release);
	d->grp->stats.dbt_links++;
}

void block_unlink_out(struct dbt *d, struct tblock *b)
{
	for (unsigned int k = 0; k < b->nr_links; k++)
		if (b->links[k].to)
			link_remove(d->blocks, &b->links[k]);
}

/* --- dying ---------------------------------------------------------------------------------------- */

/* The first 5 bytes become a jump; the rest of the word stays what it is. */
static void entry_close(struct blocks *x, const struct tblock *b)
{
	_Atomic uint64_t *entry = (_Atomic uint64_t *)(void *)code_rw(x, b->code);
	uint64_t v = atomic_load_explicit(entry, memory_order_relaxed);
	uint32_t rel = (uint32_t)(b->stale - (b->code + 5));

	v = (v & (~UINT64_C(0) << 40)) | (uint64_t)rel << 8 | 0xe9;
	atomic_store_explicit(entry, v, memory_order_release);
}

static void unhash(struct blocks *x, struct tblock *b)
{
	_Atomic(struct tblock *) *at = hash_slot(x, b->page, b->off, b->key);
	struct tblock *n;

	while ((n = atomic_load_explicit(at, memory_order_relaxed)) != b)
		at = &n->next_hash;
	atomic_store_explicit(at, atomic_load_explicit(&b->next_hash, memory_order_relaxed),
			      memory_order_release);
	*b->at_page = b->next_page;
	if (b->next_page)
		b->next_page->at_page = b->at_page;
}

void block_kill(struct dbt *d, struct tblock *b)
{
	struct blocks *x = d->blocks;

	inspect_bury(d, b);
	unhash(x, b);
	while (b->in)
		link_remove(x, at_offset(x, b->in));
	entry_close(x, b);
	atomic_store_explicit(&b->dead, true, memory_order_release);
	/* A vCPU may go round in it without passing its entry. */
	for (unsigned int k = 0; b->loops && k < d->grp->nr; k++)
		if (d->grp->cpu[k])
			cpu_wake(d->grp->cpu[k], CPU_PEND_EPOCH);
}

void block_revive(struct dbt *d, struct tblock *b, uint64_t entry)
{
	struct blocks *x = d->blocks;

	atomic_store_explicit((_Atomic uint64_t *)(void *)code_rw(x, b->code), entry,
			      memory_order_release);
	atomic_store_explicit(&b->dead, false, memory_order_release);
	enter(x, b);
	d->grp->stats.dbt_blocks++;
}

/* What is made next at the place may be written once more. */
static void written_again(struct blocks *x, const struct tblock *b)
{
	struct revive *v = revive_slot(x, b->page, b->off);

	if (revive_is(v, b->page, b->off, b->key))
		return;
	v->page = b->page;
	v->off = b->off;
	v->key = b->key;
	v->b = NULL;
}

void dbt_page_written(struct dbt *d, const uint8_t *page, uint64_t pieces)
{
	struct tblock *next;

	dbt_lock(d);
	for (struct tblock *b = *page_slot(d->blocks, page); b; b = next) {
		next = b->next_page;
		if (b->page != page || !(b->pieces & pieces))
			continue;
		block_kill(d, b);
		written_again(d->blocks, b);
		d->grp->stats.dbt_smc++;
	}
	dbt_unlock(d);
}

/* --- looking at all of them ------------------------------------------------------------------------ */

void dbt_blocks_each(struct dbt *d, void (*fn)(const struct tblock *b, void *arg), void *arg)
{
	for (unsigned int k = 0; k < CACHE_PARTS; k++) {
		const struct part *p = &d->blocks->part[k];

		if (p->state != PART_CURRENT && p->state != PART_FULL)
			continue;
		for (struct tblock *b = p->first; b; b = b->next_age)
			if (!b->dead)
				fn(b, arg);
	}
}

static const struct tpc *pc_entry(const struct tblock *b, const uint8_t *pc)
{
	unsigned int low = 0, high = b->nr_pcs, at = (unsigned int)(pc - b->code);

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (b->pcs[mid].code == at)
			return &b->pcs[mid];
		if (b->pcs[mid].code < at)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct tblock *dbt_pc_find(struct dbt *d, const uint8_t *pc, const struct tpc **ret)
{
	struct blocks *x = d->blocks;
	const struct tblock *b;

	if ((size_t)(pc - x->rx) >= x->size || pc - x->rx < TRAMP_SIZE)
		return NULL;
	/* The caller runs in that part, so it does not become another one meanwhile. */
	b = atomic_load_explicit(&part_of(x, pc)->first, memory_order_acquire);
	while (b && (size_t)(pc - b->code) >= b->code_size)
		b = atomic_load_explicit(&b->next_age, memory_order_acquire);
	*ret = b ? pc_entry(b, pc) : NULL;
	return *ret ? b : NULL;
}
