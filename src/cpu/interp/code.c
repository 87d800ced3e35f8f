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
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "cpu/interp/block.h"

enum { MAP_BITS = 14, MAP_SIZE = 1 << MAP_BITS, PIECE_SHIFT = 6 };

struct code_map {
	pthread_mutex_t lock; /* guards changes of records and insertion of new ones */
	_Atomic(struct code_page *) bucket[MAP_SIZE];
};

struct code_map *code_map_new(void)
{
	struct code_map *map = mem_new(sizeof(*map));

	pthread_mutex_init(&map->lock, NULL);
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
	pthread_mutex_destroy(&map->lock);
	free(map);
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
		p->next = *bucket;
		atomic_store_explicit(bucket, p, memory_order_release);
	}
	pthread_mutex_unlock(&map->lock);
	return p;
}

/* Bits of the pieces that [off, off + len) of a page touches. */
static uint64_t pieces_of(unsigned int off, unsigned int len)
{
	unsigned int first = off >> PIECE_SHIFT, last = (off + len - 1) >> PIECE_SHIFT;

	return (~UINT64_C(0) << first) & (~UINT64_C(0) >> (63 - last));
}

uint32_t code_page_cover(struct cpu *c, struct code_page *page, unsigned int off, unsigned int len,
			 _Atomic uint8_t *flags)
{
	struct code_map *map = c->grp->code;
	uint64_t pieces = pieces_of(off, len);
	uint32_t generation =
		atomic_load(&page->generation); /* before the bits: see page_written() */

	if (!flags || (atomic_load(&page->pieces) & pieces) == pieces)
		return generation;
	pthread_mutex_lock(&map->lock);
	generation = atomic_load(&page->generation);
	/* The bits come last: another vCPU that finds them set relies on the flag being visible. */
	if (!(atomic_fetch_or(flags, PAGE_F_CODE) & PAGE_F_CODE))
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	atomic_fetch_or(&page->pieces, pieces);
	pthread_mutex_unlock(&map->lock);
	return generation;
}

/* Returns whether decoded bytes were hit. */
static bool page_written(struct code_map *map, const uint8_t *host, unsigned int len,
			 _Atomic uint8_t *flags)
{
	struct code_page *p = page_find(map, page_of(host));
	uint64_t pieces = pieces_of((uintptr_t)host & GUEST_PAGE_MASK, len);
	bool is_hit;

	if (!p || !(atomic_load(&p->pieces) & pieces))
		return false;
	pthread_mutex_lock(&map->lock);
	is_hit = atomic_load(&p->pieces) & pieces;
	if (is_hit) {
		atomic_fetch_add(&p->generation, 1);
		atomic_store(&p->pieces, 0);
		atomic_fetch_and(flags, (uint8_t)~PAGE_F_CODE);
	}
	pthread_mutex_unlock(&map->lock);
	return is_hit;
}

static bool range_written(struct cpu_group *grp, const struct physmem_region *r, uint64_t off,
			  uint64_t len)
{
	bool is_hit = false;

	atomic_thread_fence(memory_order_seq_cst); /* the store is before the look at the bits */
	while (len) {
		uint64_t n = MIN(len, GUEST_PAGE_SIZE - (off & GUEST_PAGE_MASK));

		is_hit |= page_written(grp->code, r->hva + off, (unsigned int)n,
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
