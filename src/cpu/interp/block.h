/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_BLOCK_H
#define CPU_INTERP_BLOCK_H

#include "cpu/interp/vcpu.h"

/*
 * Decoded blocks, and the guest pages their bytes came from.
 *
 * A block is a run of instructions within one page, known by the host address of its first byte and by
 * what decides how bytes decode (block_mode). Host addresses are as good as guest-physical ones: a byte of
 * RAM or ROM has one while the region table stands, and whoever changes the table drops every block.
 *
 * Each vCPU has its own blocks. What must be shared is which pieces of guest memory have been decoded:
 * a code_page per page, with a bit per 64-byte piece and a generation. A write to a piece whose bit is
 * set raises the generation, which makes every block of the page stale, whoever holds it.
 */
struct physmem_region;
struct unseen;

enum { CODE_PIECE_SHIFT = 6, CODE_PIECE = 1 << CODE_PIECE_SHIFT }; /* bytes */

struct code_page {
	const uint8_t *host; /* first byte of the page */
	_Atomic uint64_t pieces;
	_Atomic uint32_t generation;
	_Atomic uint32_t
		beside; /* stores to the page that hit no piece; and how many are too many */
	uint32_t beside_max;
	uint64_t heads; /* pieces in which translations may begin; under the translator's lock */
	struct unseen *unseen; /* stores that may not have been seen (code.c); under the map's lock */
	struct code_page *next;
};

/* code_map_new, code_map_free - the records of one group; NULL may be freed. Aborts without memory. */
struct code_map;
_nodiscard_ struct code_map *code_map_new(void);
void code_map_free(struct code_map *map);

/* code_map_lock, code_map_unlock - guards what the map's vCPUs know of each other's write tags. Comes after the
 * translation engine's lock. Thread: any. */
void code_map_lock(struct code_map *map);
void code_map_unlock(struct code_map *map);

/*
 * code_page_get - the record of the page that holds the guest byte at @host; made when new.
 *
 * It lives as long as the map. Thread: any.
 */
struct code_page *code_page_get(struct code_map *map, const uint8_t *host);

/*
 * code_page_cover - bytes [off, off + len) of the page are going to be decoded.
 *
 * Must come before they are read. @flags: the page's flags byte (physmem.h), NULL for memory that cannot be
 * written. Returns the generation they belong to. With a translation engine no TLB of this vCPU has a write tag
 * of the page afterwards; its lock must be held until the translation can be found by grp->code_gone().
 * Thread: the vCPU's own.
 */
uint32_t code_page_cover(struct cpu *c, struct code_page *page, unsigned int off, unsigned int len,
			 _Atomic uint8_t *flags);

/*
 * code_written - a page with PAGE_F_CODE was written: drop decodings of what was hit.
 *
 * Called after the store. @off: in the region; @len > 0. code_written() also ends the running block of the
 * vCPU that did the store. May call grp->code_gone(). Thread: the vCPU's own; code_written_group: any (device
 * DMA).
 */
void code_written(struct cpu *c, const struct physmem_region *r, uint64_t off, unsigned int len);
void code_written_group(struct cpu_group *grp, const struct physmem_region *r, uint64_t off,
			uint64_t len);

/* code_sync - answer CPU_PEND_WRITES. May call grp->code_gone(). Thread: the vCPU's own, between two blocks. */
void code_sync(struct cpu *c);

/* code_serialize - a serializing instruction, or an interrupt: from now on no decoding is older than what this vCPU can
 * see in memory. Costs a load. May call grp->code_gone(). Thread: the vCPU's own. */
void code_serialize(struct cpu *c);

/*
 * code_flagged - flags of any pages were set by somebody who is no vCPU: writers must look at them from now on.
 *
 * Returns when no vCPU will store any more by what it knew before. Waits for running vCPUs to come to the end of
 * their block, so the caller must hold nothing that a device needs. Thread: any but a vCPU's.
 */
void code_flagged(struct cpu_group *grp);

/* --- blocks ------------------------------------------------------------------------------------- */

enum { BLOCK_MAX_INSNS = 64, INSN_MAX_LEN = 15, BLOCK_ONE = 8 };

struct block {
	const uint8_t *host; /* first byte */
	struct code_page *page;
	uint32_t generation;
	uint8_t mode; /* block_mode(), and perhaps BLOCK_ONE */
	uint8_t nr;   /* instructions */
	uint8_t nr_sensitive, nr_privileged;
	uint16_t len;	       /* bytes */
	bool crosses;	       /* its only instruction ends in the next page */
	struct block *next;    /* in the hash chain */
	struct block *succ[2]; /* blocks of the same page that came after this one */

	/* Second page, when it crosses. */
	const uint8_t *host2;
	struct code_page *page2;
	uint32_t generation2;

	uint8_t *bytes; /* what was decoded: to see whether a write changed it */
	struct insn insn[];
};

enum { JUMP_BITS = 12, JUMP_SIZE = 1 << JUMP_BITS, HASH_BITS = 15, HASH_SIZE = 1 << HASH_BITS };

struct jump_entry {
	uint64_t lin;
	struct block *block;
};

/* The blocks of one vCPU. */
struct block_cache {
	const struct block *running; /* for the statistics when a fault cuts it short; NULL: none */
	uint64_t running_rip;	     /* where it began */
	uint64_t epoch; /* counts block_cache_drop(): pointers to blocks are from one */
	struct jump_entry jump[JUMP_SIZE];
	struct block *hash[HASH_SIZE];
	uint8_t *arena;
	size_t arena_used;
	struct block *scratch; /* the block of code that cannot be kept */
	struct dec dec;
};

/* block_cache_init, block_cache_done - the cache of one vCPU. Returns 0 or -ENOMEM. Thread: its own. */
_nodiscard_ int block_cache_init(struct cpu *c, struct err *err);
void block_cache_done(struct cpu *c);

/* block_cache_drop - forget every block. None may be running. Thread: the vCPU's own. */
void block_cache_drop(struct cpu *c);

/*
 * block_find - the block at st.rip, decoded now if need be.
 *
 * Raises what fetching the first instruction raises; c->cur must be NULL. The result is good for one
 * execution; the next call may reuse its memory. Thread: the vCPU's own.
 */
struct block *block_find(struct cpu *c);

/* block_find_one - the same for one instruction only: decodes no more than that. */
struct block *block_find_one(struct cpu *c);

/*
 * interp_run_blocks - execute block after block until c->hot.pending or c->hot.due is set, or hot.key: the mode is now
 * one that the translation engine does.
 *
 * interp_step - execute the instruction at st.rip. interp_account_fault - a fault has come to the run loop: it may
 * have cut a block short. Faults jump to c->fault_jmp. Thread: the vCPU's own.
 */
void interp_run_blocks(struct cpu *c);
void interp_step(struct cpu *c);
void interp_account_fault(struct cpu *c);

/* block_lin - linear address of the next instruction. */
static inline uint64_t block_lin(const struct cpu *c)
{
	if (likely(c->mode == CPU_MODE_64))
		return c->st.rip;
	return (uint32_t)(c->st.seg[CPU_CS].base + c->st.rip);
}

/* jump_slot - where the table in front of the hash keeps a linear address. */
static inline struct jump_entry *jump_slot(struct block_cache *x, uint64_t lin)
{
	return &x->jump[(lin ^ (lin >> JUMP_BITS)) & (JUMP_SIZE - 1)];
}

/* block_mode - what decides how bytes decode, as a small number. */
static inline uint8_t block_mode(const struct cpu *c)
{
	return (uint8_t)(c->mode | (c->protected_mode ? 0 : 4));
}

/* block_fresh - have the block's bytes not been written since they were decoded? */
static inline bool block_fresh(const struct block *b)
{
	return atomic_load_explicit(&b->page->generation, memory_order_relaxed) == b->generation;
}

/* block_in_limit - does the whole block lie within CS? Always in 64-bit mode. */
static inline bool block_in_limit(const struct cpu *c, const struct block *b)
{
	return c->mode == CPU_MODE_64 || c->st.rip + b->len - 1 <= c->st.seg[CPU_CS].limit;
}

/* --- decoding (dec.c) --------------------------------------------------------------------------- */

enum dec_result {
	DEC_OK,
	DEC_END,  /* a branch: the block ends with it */
	DEC_MORE, /* the bytes end within the instruction */
};

/*
 * dec_insn - decode one instruction into *@i.
 *
 * @bytes, @n: what there is, 1 to 15 bytes; they may end within the instruction.
 * What is undefined, not in the guest's CPUID or too long becomes an instruction that raises #UD or #GP.
 * d->zi tells about it afterwards (length 0 for those). Thread: any, one for one @d.
 */
enum dec_result dec_insn(const struct cpu *c, struct dec *d, const uint8_t *bytes, unsigned int n,
			 struct insn *i);

/* dec_init - prepare what all vCPUs share: the table of mnemonics. Thread: any. */
void dec_init(void);

/* trace_insn - write the instruction at st.rip to standard error. Thread: the vCPU's own. */
void trace_insn(struct cpu *c, const struct block *b);

#endif
