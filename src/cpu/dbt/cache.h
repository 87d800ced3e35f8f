/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_CACHE_H
#define CPU_DBT_CACHE_H

#include "cpu/dbt/run.h"

/*
 * Inside the code cache: memory (cache.c) and what is known about the blocks in it (blocks.c).
 *
 * Behind one page of trampolines the memory is divided into parts that are filled one after the other: code from
 * the bottom, records of blocks from the top. A part is the unit of eviction:
 *
 *	free -> current -> full -> draining -> free
 *
 * It drains until every vCPU has passed the epoch that began when its blocks died.
 */
enum { CACHE_PARTS = 16, TRAMP_SIZE = 4096 };
enum { HASH_BITS_DBT = 16, PAGES_BITS = 14 };

enum part_state { PART_FREE, PART_CURRENT, PART_FULL, PART_DRAINING };

struct part {
	enum part_state state;
	uint32_t low, high; /* free space, as offsets in the part */
	uint64_t since;	    /* full: when it was begun; draining: the epoch to be passed */
	_Atomic(struct tblock *)
		first; /* blocks in the order of their addresses; the dead ones, too */
	struct tblock *last;
};

struct blocks {
	pthread_mutex_t lock;
	uint8_t *rw, *rx; /* the same memory */
	size_t size;
	uint32_t part_size;
	struct part part[CACHE_PARTS];
	unsigned int current;
	uint64_t nr_begun; /* parts, ever */
	_Atomic(struct tblock *) hash[1 << HASH_BITS_DBT];
	struct tblock *page[1 << PAGES_BITS]; /* by hash of the guest page */
};

/* blocks_new - make d->blocks with @size bytes of code memory, and the trampolines. Returns 0, or what mmap() failed
 * with. blocks_free - nobody runs any more; accepts a d->blocks that is NULL. */
_nodiscard_ int blocks_new(struct dbt *d, uint64_t size, struct err *err);
void blocks_free(struct dbt *d);

/* block_kill - an alive block dies. block_unlink_out - none of its links leads to another block any more. Locked. */
void block_kill(struct dbt *d, struct tblock *b);
void block_unlink_out(struct dbt *d, struct tblock *b);

/* code_rw - where what runs at @rx is written: the cache is mapped twice. */
static inline uint8_t *code_rw(const struct blocks *x, const uint8_t *rx)
{
	return x->rw + (rx - x->rx);
}

/* part_of - the part of the cache that an executable address is in. */
static inline struct part *part_of(struct blocks *x, const uint8_t *rx)
{
	return &x->part[(size_t)(rx - x->rx - TRAMP_SIZE) / x->part_size];
}

#endif
