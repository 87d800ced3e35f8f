/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_CACHE_H
#define CPU_DBT_CACHE_H

#include "cpu/dbt/run.h"
#include "cpu/interp/block.h"

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
enum { HASH_BITS_DBT = 18, PAGES_BITS = 14 };

enum part_state { PART_FREE, PART_CURRENT, PART_FULL, PART_DRAINING };

struct part {
	enum part_state state;
	uint32_t low, high; /* free space, as offsets in the part */
	uint64_t since;	    /* full: when it was begun; draining: the epoch to be passed */
	_Atomic(struct tblock *)
		first; /* blocks in the order of their addresses; the dead ones, too */
	struct tblock *last;
};

/* A place where a block died by being written, and what was made there afterwards (revive.c). */
enum { REVIVE_BITS = 6, REVIVE_PIECES = 2 };
struct revive {
	const uint8_t *page;
	uint16_t off;
	uint8_t key;
	struct tblock *b; /* NULL: cannot be used again, or nothing was made */
	uint64_t entry;	  /* first bytes of its code */
	uint8_t *site;	  /* of the constant: writable address, and offset in the guest's page */
	uint16_t imm_off;
	uint8_t bytes[REVIVE_PIECES][CODE_PIECE]; /* of its pieces */
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
	struct revive revive[1 << REVIVE_BITS];
};

/* blocks_new - make d->blocks with @size bytes of code memory, and the trampolines. Returns 0, or what mmap() failed
 * with. blocks_free - nobody runs any more; accepts a d->blocks that is NULL. */
_nodiscard_ int blocks_new(struct dbt *d, uint64_t size, struct err *err);
void blocks_free(struct dbt *d);

/* block_kill - an alive block dies. block_unlink_out - none of its links leads to another block any more. Locked. */
void block_kill(struct dbt *d, struct tblock *b);
void block_unlink_out(struct dbt *d, struct tblock *b);

/* block_revive - a dead block, whose memory has not been evicted, is alive again; @entry: the first bytes of its code. Locked. */
void block_revive(struct dbt *d, struct tblock *b, uint64_t entry);

/* revive_slot - where a place stands in the table, if it does: revive_is(). */
static inline struct revive *revive_slot(struct blocks *x, const uint8_t *page, unsigned int off)
{
	uint64_t n = (uint64_t)(uintptr_t)page + off;

	return &x->revive[(n * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - REVIVE_BITS)];
}

/* as above */
static inline bool revive_is(const struct revive *v, const uint8_t *page, unsigned int off,
			     uint8_t key)
{
	return v->page == page && v->off == off && v->key == key;
}

/* revive - use a dead block again for the code at @host, with what has changed since; arguments as of translate().
 * NULL: there is none. Locked. */
struct tblock *revive(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key);

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
