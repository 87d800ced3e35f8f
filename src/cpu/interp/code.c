// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which pieces of guest memory have been decoded, for all vCPUs of a machine.
 *
 * Who decodes sets the piece's bit and the page's PAGE_F_CODE, and reads the bytes afterwards. Who writes
 * stores, and looks at the flag and then at the bits afterwards. One of the two sees the other: for the
 * bits because both sides have a full fence in between; for the flag, which writers read without a
 * fence because every store does it, because setting it ends in a membarrier on all running threads.
 *
 * The generation is one a page, not one a piece: blocks keep a copy of their bytes, so those of a stale
 * page that have not changed cost a comparison, not a decoding.
 *
 * Translated code stores by a write tag of its vCPU's TLB and does not look afterwards. So, with a translation engine,
 * a page with flags must have no write tag:
 *
 *  - The vCPU that sets the flag takes its own tags of the page away at once, so a program that writes its own code
 *    is followed exactly.
 *  - The tables of other vCPUs are theirs. Those that may have tags of the page (tlb_wrote(); a vCPU notes the page
 *    first and looks at the flags second, before it makes a tag) get the page onto a list and CPU_PEND_WRITES, and
 *    take the tags away at their next block boundary, or before they execute the translation.
 *  - Until then such a vCPU may store into the page unseen. The one that translates does not wait for it: to see
 *    the store of another processor late is what the architecture allows. But it must be seen in the end, and by
 *    who serializes after he has learnt of it. So the bytes of pieces as they were before they were decoded are kept
 *    (struct unseen) and compared with what is there: when all vCPUs that ran have passed a boundary, and meanwhile
 *    whenever a vCPU serializes. What differs counts as written then. (A byte that such stores change and change
 *    back, with the decoding right in between, would escape.)
 *
 * Records go from many pages to no store: PAGE_F_CODE stays when the last piece is hit, because the same bytes are
 * likely to be executed again; the next store that hits no piece takes it off. And when many stores to a page have
 * hit nothing (it was freed and is data now, or holds both), its pieces are given up, each time after twice as many.
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cpu/exclusive.h"
#include "cpu/interp/block.h"
#include "cpu/interp/vcpu_sys.h"

enum {
	MAP_BITS = 14,
	MAP_SIZE = 1 << MAP_BITS,
	BESIDE_FIRST = 256,
	BESIDE_LAST = 1 << 30,
	RECHECK_NS = 1000 * 1000,
};

/* A page whose flag was set while vCPUs that may have write tags of it were running. */
struct unseen {
	struct code_page *page; /* NULL: all pages; only waited for (code_flagged) */
	uint64_t wait;		/* vCPUs that have not passed a block boundary since */
	uint64_t pieces;	/* pieces whose bytes are kept */
	struct unseen *next;
	uint8_t bytes[GUEST_PAGE_SIZE];
};

struct code_map {
	pthread_mutex_t lock;  /* guards changes of records and insertion of new ones */
	pthread_cond_t passed; /* an element of `unseen` waits for fewer */
	struct unseen *unseen;
	_Atomic bool has_unseen; /* read without the lock */
	_Atomic(struct code_page *) bucket[MAP_SIZE];
};

struct code_map *code_map_new(void)
{
	struct code_map *map = mem_new(sizeof(*map));

	pthread_mutex_init(&map->lock, NULL);
	pthread_cond_init(&map->passed, NULL);
	/* Without the system call a store on another vCPU could miss a flag; kernels since 4.14 have it. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
		abort();
	return map;
}

void code_map_free(struct code_map *map)
{
	if (!map)
		return;
	for (unsigned int k = 0; k < MAP_SIZE; k++) {
		struct code_page *next;

		for (struct code_page *p = map->bucket[k]; p; p = next) {
			next = p->next;
			free(p);
		}
	}
	for (struct unseen *u = map->unseen, *next; u; u = next) {
		next = u->next;
		free(u);
	}
	pthread_cond_destroy(&map->passed);
	pthread_mutex_destroy(&map->lock);
	free(map);
}

void code_map_lock(struct code_map *map)
{
	pthread_mutex_lock(&map->lock);
}

void code_map_unlock(struct code_map *map)
{
	pthread_mutex_unlock(&map->lock);
}

static const uint8_t *page_of(const uint8_t *host)
{
	return host - ((uintptr_t)host & GUEST_PAGE_MASK);
}

static _Atomic(struct code_page *) *bucket_of(struct code_map *map, const uint8_t *host)
{
	uint64_t n = (uint64_t)(uintptr_t)host >> GUEST_PAGE_SHIFT;

	return &map->bucket[(n * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - MAP_BITS)];
}

static struct code_page *page_find(struct code_map *map, const uint8_t *host)
{
	struct code_page *p = atomic_load_explicit(bucket_of(map, host), memory_order_acquire);

	while (p && p->host != host)
		p = p->next;
	return p;
}

struct code_page *code_page_get(struct code_map *map, const uint8_t *host)
{
	const uint8_t *start = page_of(host);
	struct code_page *p = page_find(map, start);

	if (p)
		return p;
	pthread_mutex_lock(&map->lock);
	p = page_find(map, start);
	if (!p) {
		_Atomic(struct code_page *) *bucket = bucket_of(map, start);

		p = mem_new(sizeof(*p));
		p->host = start;
		p->beside_max = BESIDE_FIRST;
		p->next = *bucket;
		atomic_store_explicit(bucket, p, memory_order_release);
	}
	pthread_mutex_unlock(&map->lock);
	return p;
}

/* Bits of the pieces that [off, off + len) of a page touches. */
static uint64_t pieces_of(unsigned int off, unsigned int len)
{
	unsigned int first = off >> CODE_PIECE_SHIFT, last = (off + len - 1) >> CODE_PIECE_SHIFT;

	return (~UINT64_C(0) << first) & (~UINT64_C(0) >> (63 - last));
}

/* --- write tags (with a translation engine) --------------------------------------------------------- */

/* Take away what other vCPUs asked for. Locked. */
static void tags_drop_own(struct cpu *c)
{
	struct tlb_unwrite *u = &c->sys->unwrite;

	if (u->all)
		tlb_unwrite_all(c);
	else
		for (unsigned int k = 0; k < u->nr; k++)
			tlb_unwrite(c, u->host[k]);
	u->all = false;
	u->nr = 0;
}

/* Ask a vCPU. Locked. */
static void tags_ask(struct cpu *c, const uint8_t *host)
{
	struct tlb_unwrite *u = &c->sys->unwrite;

	if (!host || u->nr == TLB_MAX_UNWRITE)
		u->all = true;
	else
		u->host[u->nr++] = host;
	atomic_fetch_or(&c->hot.pending, CPU_PEND_WRITES);
}

/* Wait for vCPUs to pass a boundary. Locked. */
static struct unseen *unseen_add(struct code_map *map, struct code_page *page, uint64_t wait)
{
	struct unseen *u = page ? page->unseen : NULL;

	if (!u) {
		u = mem_new(sizeof(*u));
		u->page = page;
		u->next = map->unseen;
		map->unseen = u;
		atomic_store(&map->has_unseen, true);
		if (page)
			page->unseen = u;
	}
	u->wait |= wait;
	return u;
}

/* PAGE_F_CODE was set; nobody must have a write tag. Locked. */
static void tags_drop(struct cpu *c, struct code_page *page)
{
	const struct cpu_group *grp = c->grp;
	uint64_t asked = 0;

	tlb_unwrite(c, page->host);
	for (unsigned int k = 0; k < grp->nr; k++) {
		struct cpu *other = grp->cpu[k];

		if (other == c || !other || !other->sys || !tlb_wrote(other, page->host))
			continue;
		tags_ask(other, page->host);
		asked |= UINT64_C(1) << k;
	}
	/* Who is not running looks at its pending bits before it stores. */
	if (asked)
		asked &= exclusive_inside(grp);
	if (asked)
		unseen_add(grp->code, page, asked);
}

/* Pieces are going to be decoded. Locked. */
static void unseen_keep(struct unseen *u, uint64_t pieces)
{
	const uint8_t *host = u->page->host;

	for (uint64_t b = pieces; b; b &= b - 1) {
		unsigned int at = (unsigned int)__builtin_ctzll(b) * CODE_PIECE;

		__builtin_memcpy(u->bytes + at, host + at, CODE_PIECE);
	}
	u->pieces |= pieces;
}

static bool piece_is_same(const uint8_t *a, const uint8_t *b)
{
	for (unsigned int k = 0; k < CODE_PIECE; k += 8) {
		uint64_t va, vb;

		__builtin_memcpy(&va, a + k, sizeof(va));
		__builtin_memcpy(&vb, b + k, sizeof(vb));
		if (va != vb)
			return false;
	}
	return true;
}

/* Pieces that are not what they were when they were decoded; their bits are gone then. Locked. */
static uint64_t unseen_hit(const struct unseen *u)
{
	uint64_t hit = 0;

	for (uint64_t b = u->pieces & atomic_load(&u->page->pieces); b; b &= b - 1) {
		unsigned int n = (unsigned int)__builtin_ctzll(b), at = n * CODE_PIECE;

		if (!piece_is_same(u->bytes + at, u->page->host + at))
			hit |= UINT64_C(1) << n;
	}
	if (hit) {
		atomic_fetch_and(&u->page->pieces, ~hit);
		atomic_fetch_add(&u->page->generation, 1);
	}
	return hit;
}

static void unseen_remove(struct code_map *map, struct unseen **p)
{
	*p = (*p)->next;
	if (!map->unseen)
		atomic_store(&map->has_unseen, false);
}

/* An element that waits for nobody who runs; taken off the list. Locked. */
static struct unseen *unseen_ready(struct cpu_group *grp)
{
	uint64_t inside = exclusive_inside(grp);

	for (struct unseen **p = &grp->code->unseen; *p; p = &(*p)->next) {
		struct unseen *u = *p;

		if (!u->page || (u->wait & inside))
			continue;
		unseen_remove(grp->code, p);
		u->page->unseen = NULL;
		return u;
	}
	return NULL;
}

void code_sync(struct cpu *c)
{
	struct cpu_group *grp = c->grp;
	struct code_map *map = grp->code;
	struct unseen *u;

	atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_WRITES);
	pthread_mutex_lock(&map->lock);
	tags_drop_own(c);
	for (u = map->unseen; u; u = u->next)
		u->wait &= ~(UINT64_C(1) << c->index);
	pthread_cond_broadcast(&map->passed);
	while ((u = unseen_ready(grp))) {
		uint64_t hit = unseen_hit(u);

		pthread_mutex_unlock(&map->lock);
		if (hit && grp->code_gone)
			grp->code_gone(grp, u->page->host, hit);
		free(u);
		pthread_mutex_lock(&map->lock);
	}
	pthread_mutex_unlock(&map->lock);
}

void code_serialize(struct cpu *c)
{
	struct cpu_group *grp = c->grp;
	struct code_map *map = grp->code;
	const uint8_t *host = NULL;
	uint64_t hit;

	if (likely(!atomic_load_explicit(&map->has_unseen, memory_order_relaxed)))
		return;
	do {
		hit = 0;
		pthread_mutex_lock(&map->lock);
		for (const struct unseen *u = map->unseen; u && !hit; u = u->next) {
			hit = u->page ? unseen_hit(u) : 0;
			host = hit ? u->page->host : NULL;
		}
		pthread_mutex_unlock(&map->lock);
		if (!hit)
			return;
		if (grp->code_gone)
			grp->code_gone(grp, host, hit);
		interp_leave(c);
	} while (hit);
}

void code_flagged(struct cpu_group *grp)
{
	struct code_map *map = grp->code;
	struct unseen *u, **p;

	if (!map || !grp->dbt)
		return;
	pthread_mutex_lock(&map->lock);
	u = unseen_add(map, NULL, 0);
	for (unsigned int k = 0; k < grp->nr; k++) {
		if (!grp->cpu[k] || !grp->cpu[k]->sys)
			continue;
		tags_ask(grp->cpu[k], NULL);
		u->wait |= UINT64_C(1) << k;
	}
	/* vCPUs that stop running do not say so: look again now and then. */
	while (u->wait & exclusive_inside(grp)) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += RECHECK_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&map->passed, &map->lock, &until);
	}
	for (p = &map->unseen; *p != u; p = &(*p)->next)
		;
	unseen_remove(map, p);
	pthread_mutex_unlock(&map->lock);
	free(u);
}

/* --- covering and writing --------------------------------------------------------------------------- */

uint32_t code_page_cover(struct cpu *c, struct code_page *page, unsigned int off, unsigned int len,
			 _Atomic uint8_t *flags)
{
	struct code_map *map = c->grp->code;
	uint64_t pieces = pieces_of(off, len);
	uint32_t generation =
		atomic_load(&page->generation); /* before the bits: see page_written() */
	bool is_covered;

	if (!flags)
		return generation;
	is_covered = (atomic_load(&page->pieces) & pieces) == pieces;
	/* Another vCPU may have set them just now and asked us for our tags. */
	if (is_covered && likely(!(atomic_load(&c->hot.pending) & CPU_PEND_WRITES)))
		return generation;
	pthread_mutex_lock(&map->lock);
	if (is_covered) {
		tags_drop_own(c); /* the request stays pending: others wait for a boundary */
		pthread_mutex_unlock(&map->lock);
		return generation;
	}
	generation = atomic_load(&page->generation);
	/* The bits come last: another vCPU that finds them set relies on the flag being visible. */
	if (!(atomic_fetch_or(flags, PAGE_F_CODE) & PAGE_F_CODE)) {
		if (c->grp->dbt)
			tags_drop(c, page);
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	}
	if (page->unseen)
		unseen_keep(page->unseen, pieces);
	atomic_fetch_or(&page->pieces, pieces);
	pthread_mutex_unlock(&map->lock);
	return generation;
}

/* The pieces are to be decoded anew. Returns those that had been. Locked. */
static uint64_t pieces_drop(struct code_page *p, uint64_t pieces)
{
	uint64_t hit = atomic_fetch_and(&p->pieces, ~pieces) & pieces;

	/* After the bits: who reads the new generation finds the bits gone. */
	if (hit)
		atomic_fetch_add(&p->generation, 1);
	return hit;
}

/* A store hit the page, but no piece (with a translation engine). Returns pieces that are given up. Locked. */
static uint64_t page_beside(struct code_page *p, _Atomic uint8_t *flags)
{
	uint64_t hit = 0;

	if (atomic_load(&p->pieces) && atomic_fetch_add(&p->beside, 1) >= p->beside_max) {
		hit = pieces_drop(p, ~UINT64_C(0));
		atomic_store(&p->beside, 0);
		if (p->beside_max < BESIDE_LAST)
			p->beside_max *= 2;
	}
	if (!atomic_load(&p->pieces))
		atomic_fetch_and(flags, (uint8_t)~PAGE_F_CODE);
	return hit;
}

/* Returns whether decoded bytes were hit. */
static bool page_written(struct cpu_group *grp, const uint8_t *host, unsigned int len,
			 _Atomic uint8_t *flags)
{
	struct code_map *map = grp->code;
	struct code_page *p = page_find(map, page_of(host));
	uint64_t pieces = pieces_of((uintptr_t)host & GUEST_PAGE_MASK, len), hit;

	/* An exchange, not a load: the store of our caller is before the look. */
	if (p && !(atomic_fetch_or(&p->pieces, 0) & pieces) && !grp->dbt)
		return false;
	pthread_mutex_lock(&map->lock);
	p = p ? p : page_find(map, page_of(host));
	if (!p) { /* a flag that an engine before us has left */
		hit = 0;
		atomic_fetch_and(flags, (uint8_t)~PAGE_F_CODE);
	} else if (!(atomic_load(&p->pieces) & pieces)) {
		hit = grp->dbt ? page_beside(p, flags) : 0;
	} else if (grp->dbt) {
		hit = pieces_drop(p, pieces);
	} else {
		hit = pieces_drop(p, ~UINT64_C(0));
		atomic_fetch_and(flags, (uint8_t)~PAGE_F_CODE);
	}
	pthread_mutex_unlock(&map->lock);
	if (hit && grp->code_gone)
		grp->code_gone(grp, p->host, hit);
	return hit;
}

static bool range_written(struct cpu_group *grp, const struct physmem_region *r, uint64_t off,
			  uint64_t len)
{
	bool is_hit = false;

	if (!grp->code) /* between two engines */
		return false;
	while (len) {
		uint64_t n = MIN(len, GUEST_PAGE_SIZE - (off & GUEST_PAGE_MASK));

		is_hit |= page_written(grp, r->hva + off, (unsigned int)n,
				       &r->page_flags[off >> GUEST_PAGE_SHIFT]);
		off += n;
		len -= n;
	}
	return is_hit;
}

void code_written(struct cpu *c, const struct physmem_region *r, uint64_t off, unsigned int len)
{
	if (!range_written(c->grp, r, off, len))
		return;
	c->stats.blocks_invalidated++;
	interp_leave(c);
}

void code_written_group(struct cpu_group *grp, const struct physmem_region *r, uint64_t off,
			uint64_t len)
{
	range_written(grp, r, off, len);
}
