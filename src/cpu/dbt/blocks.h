/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_BLOCKS_H
#define CPU_DBT_BLOCKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "cpu/cpu_priv.h"

/*
 * The code cache of one group: translated blocks, the memory they lie in, how they are found, linked and
 * taken away. Shared by all vCPUs. Code memory is mapped twice (writable; executable), so that nothing
 * is ever both; addresses named code, site, stub are executable ones.
 *
 * A block is known by (host address of its guest page, offset, key). What it depends on is a set of 64-byte
 * pieces of that page (its own bytes and those looked at for flag liveness).
 *
 * States of a block: alive (in the hash; may be linked) -> dead (written, or evicted: out of the hash, every
 * link to it patched back to its stub, the first 5 bytes of its entries a jump to the trampoline `exit_stale`) ->
 * memory reused, once every vCPU has passed exit_epoch (it has been in C since, with its return stack and
 * jump tables emptied).
 */

/* What decides how bytes translate, besides the bytes. */
enum dbt_key {
	DBT_KEY_64 = 1,	 /* 64-bit code; else flat 32-bit code */
	DBT_KEY_SSE = 2, /* CR0.EM, TS clear, CR4.OSFXSR set: SSE instructions run without a look */
	DBT_KEY_AVX = 4, /* the same and CR4.OSXSAVE, XCR0 has SSE and AVX */
	DBT_KEY_X87 = 8, /* CR0.EM, TS clear, CR0.NE set */
	DBT_KEY_FS = 16, /* 32-bit: FS is readable, writable, without a limit (always so in 64) */
	DBT_KEY_GS = 128,   /* the same of GS */
	DBT_KEY_ALONE = 64, /* no shared checks: for where those fail (share.c) */
	DBT_KEY_SS32 =
		32, /* 32-bit: flat stack of 32 bits (always set when 32-bit code is translated) */
};

enum tlink_kind {
	TLINK_NEAR, /* to an offset of the same page, rel32 of a jmp or jcc: enters at fcode */
	TLINK_BACK, /* the same, backward: enters at code, which polls */
	TLINK_CROSS, /* to another page: rel32 of a jmp behind a check of the mapping, plus the cell it checks */
};

/* One way out of a block that can be patched to lead to another block. Lies with the block's code. */
struct tlink {
	/* TLINK_CROSS: host address of the target's page, which the code compares with; 0 matches nothing. Once
	 * set it never changes to another page. The first member: code names it by the record's address. */
	_Atomic uint64_t cell;
	/* Distances from this record, which lies in the same memory. */
	int32_t site;  /* of the rel32 field; 4-aligned */
	int32_t stub;  /* where it leads while not linked: cold code that exits with this link */
	uint32_t word; /* the exit word then */
	/* Offsets in the code memory; 0: none. */
	uint32_t from, to; /* blocks; to: 0 while not linked */
	uint32_t next_in;  /* link to the same target */
	uint32_t at_in;	   /* of the field that names this one in that list */
	uint8_t kind;
	uint8_t variant; /* bits of the target's key beside the present key: 0 or DBT_KEY_ALONE */
};

/* Host code that may raise a signal for the guest: which instruction it belongs to. */
#define TPC_HOST_FLAGS 0x8000u /* the guest's status flags are in the host's */
#define TPC_OFF	       0xfffu
struct tpc {
	uint16_t code; /* offset of the host instruction from tblock.code */
	uint16_t off;  /* offset of the guest instruction in its page, and TPC_HOST_FLAGS */
	uint16_t stub; /* where to go on, offset from tblock.code; 0: at the exit, nothing is to be done */
};

struct insn;
struct tblock {
	const uint8_t *page; /* host address of the guest page */
	uint16_t off, len;   /* of the guest bytes translated */
	uint64_t lin;	     /* linear address where it was when it was translated */
	uint8_t key;
	_Atomic bool dead;
	bool loops; /* jumps backward inside: does not pass its entry each time around */
	uint16_t nr_insns, nr_sensitive, nr_privileged;
	uint16_t nr_links, nr_pcs, nr_handlers;
	uint64_t pieces;
	uint8_t *code, *fcode; /* entries: M (any predecessor, polls), F (forward, same page) */
	uint8_t *stale; /* cold code that exits with DBT_EXIT_STALE: where the entries of a dead block jump to */
	uint32_t code_size;    /* hot and cold part together */
	struct tlink *links;   /* nr_links */
	struct tpc *pcs;       /* nr_pcs, sorted by code */
	struct insn *handlers; /* nr_handlers: for inline calls of the interpreter's handlers */
	struct tally *tally;   /* executions and more (inspect.h), when counting is on; else NULL */
	uint32_t in; /* links that lead here: offset of the first one in the code memory; 0: none */
	_Atomic(struct tblock *) next_hash, next_age; /* next_age: of the same part of the memory */
	struct tblock *next_page, **at_page; /* at_page: what points to this one in that list */
};

/* The bytes being emitted; see emit.h. */
struct dbt;

/* Space for one translation: hot and cold code, and records. Filled under the lock. */
struct tspace {
	uint8_t *rw,
		*rx;   /* where code goes: the same memory, writable and executable; 16-aligned */
	uint32_t room; /* bytes */
};
enum { TSPACE_ROOM = 64 << 10 }; /* a translation never needs more */

/* dbt_lock, dbt_unlock - everything below that says "locked". Never held while guest faults can be raised. */
void dbt_lock(struct dbt *d);
void dbt_unlock(struct dbt *d);

/* tspace_get - room for a translation. Evicts old blocks when there is none; may find nothing as long as other vCPUs
 * have not passed an epoch: returns -EAGAIN (execute by the interpreter meanwhile). Locked. */
_nodiscard_ int tspace_get(struct dbt *d, struct tspace *ret);

/* tblock_commit - keep @used bytes of the space; copies *@b and its pcs into the group's memory (links and handlers lie
 * in the space), and puts it into the hash and into its page's list. Returns the block. Locked. */
struct tblock *tblock_commit(struct dbt *d, const struct tblock *b, uint32_t used);

/* tblock_find - an alive block; NULL: none. Lock-free for the reader. */
struct tblock *tblock_find(struct dbt *d, const uint8_t *page, unsigned int off, uint8_t key);

/* tlink_set - let a link lead to a block (both alive, checked here). Locked. */
void tlink_set(struct dbt *d, struct tlink *l, struct tblock *to);

/* dbt_page_written - the pieces of a page were written: its blocks that depend on them die. Thread: any; takes
 * the lock. */
void dbt_page_written(struct dbt *d, const uint8_t *page, uint64_t pieces);

/* dbt_drop_all - forget everything (memory map changed, CPU_PEND_FLUSH). Takes the lock. */
void dbt_drop_all(struct dbt *d);

/* dbt_blocks_each - all alive blocks, the oldest first within their part of the memory. Locked. */
void dbt_blocks_each(struct dbt *d, void (*fn)(const struct tblock *b, void *arg), void *arg);

/* dbt_pc_find - the block and the entry that a host program counter in the code memory has; for signals of a thread that
 * runs there. NULL: no instruction with an entry begins there. Async-signal-safe, lock-free. */
const struct tblock *dbt_pc_find(struct dbt *d, const uint8_t *pc, const struct tpc **ret);

#endif
