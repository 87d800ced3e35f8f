// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The blocks of one vCPU: found by host address and mode in a hash, and by linear address in a small table
 * in front of it. Memory is one arena; when it is full everything is dropped and decoding begins anew,
 * which costs a fraction of a second once in hundreds of thousands of instructions and needs no bookkeeping.
 *
 * A linear address found in the table in front still has to be where it was: the TLB's execute entry says
 * so. The linear-to-physical mapping may change only by an instruction that leaves its block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/interp/block.h"
#include "cpu/interp/events.h"
#include "cpu/interp/insn_class.h"

#define ARENA_SIZE (UINT64_C(48) << 20)

enum { SCRATCH_SIZE = sizeof(struct block) + BLOCK_MAX_INSNS * sizeof(struct insn) };

int block_cache_init(struct cpu *c, struct err *err)
{
	struct block_cache *x = mem_new(sizeof(*x));

	dec_init();
	x->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (x->arena == MAP_FAILED) {
		free(x);
		return err_set_errno(err, "memory for decoded instructions");
	}
	x->scratch = mem_new(SCRATCH_SIZE + BLOCK_MAX_INSNS * INSN_MAX_LEN);
	c->blocks = x;
	block_cache_drop(c);
	return 0;
}

void block_cache_done(struct cpu *c)
{
	struct block_cache *x = c->blocks;

	if (!x)
		return;
	munmap(x->arena, ARENA_SIZE);
	free(x->scratch);
	free(x);
	c->blocks = NULL;
}

void block_cache_drop(struct cpu *c)
{
	struct block_cache *x = c->blocks;

	memset(x->hash, 0, sizeof(x->hash));
	for (unsigned int k = 0; k < JUMP_SIZE; k++)
		x->jump[k] = (struct jump_entry){ 0 };
	x->arena_used = 0;
	x->running = NULL;
	x->epoch++;
}

/* --- decoding a block --------------------------------------------------------------------------- */

static void count_class(struct block *b, const ZydisDecodedInstruction *zi)
{
	if (!zi->length)
		return;
	switch (insn_class_of(zi)) {
	case INSN_PRIVILEGED:
		b->nr_privileged++;
		break;
	case INSN_SENSITIVE:
		b->nr_sensitive++;
		break;
	case INSN_INNOCUOUS:
		break;
	}
}

/* Bytes from st.rip to the end of CS, at most @want; 0: outside. */
static unsigned int cs_left(const struct cpu *c, unsigned int want)
{
	uint64_t limit = c->st.seg[CPU_CS].limit;

	if (c->mode == CPU_MODE_64)
		return want;
	return c->st.rip > limit ? 0 : (unsigned int)MIN(want, limit - c->st.rip + 1);
}

/*
 * Decode the instruction at st.rip from single bytes: it may end in the next page, outside of memory, or
 * at the end of CS. Faults of the bytes behind the first come only when they are needed.
 */
static void decode_slowly(struct cpu *c, struct block *b)
{
	struct block_cache *x = c->blocks;
	uint8_t buf[INSN_MAX_LEN];
	enum dec_result r = DEC_MORE;
	unsigned int n = 0;

	while (r == DEC_MORE) {
		if (cs_left(c, n + 1) <= n)
			cpu_raise_err(c, VEC_GP, 0);
		buf[n] = mem_fetch_byte(c, c->mode == CPU_MODE_64 ? c->st.rip + n
								  : (uint32_t)(block_lin(c) + n));
		r = dec_insn(c, &x->dec, buf, ++n, &b->insn[0]);
	}
	memcpy(b->bytes, buf, n);
	b->nr = 1;
	b->len = (uint16_t)n;
	b->nr_sensitive = b->nr_privileged = 0;
	count_class(b, &x->dec.zi);
}

/* Decode what follows @host in its page, at most @max instructions. Returns false when the first instruction goes
 * beyond the page. */
static bool decode_page(struct cpu *c, struct block *b, const uint8_t *host, _Atomic uint8_t *flags,
			unsigned int left, unsigned int max)
{
	struct block_cache *x = c->blocks;
	unsigned int at = 0, off = (uintptr_t)host & GUEST_PAGE_MASK;
	enum dec_result r = DEC_OK;

	b->nr = b->nr_sensitive = b->nr_privileged = 0;
	b->page = code_page_get(c->grp->code, host);
	while (r == DEC_OK && b->nr < max && at < left) {
		uint8_t buf[INSN_MAX_LEN + 1];
		unsigned int n = MIN(left - at, (unsigned int)INSN_MAX_LEN);
		uint32_t generation = code_page_cover(c, b->page, off + at, n, flags);

		if (at == 0)
			b->generation = generation;
		memcpy(buf, host + at, n); /* other vCPUs may be writing it */
		r = dec_insn(c, &x->dec, buf, n, &b->insn[b->nr]);
		if (r == DEC_MORE)
			break;
		count_class(b, &x->dec.zi);
		/* A faulting instruction has a nominal length; what it was decoded from is what counts. */
		n = x->dec.zi.length ? x->dec.zi.length : n;
		memcpy(b->bytes + at, buf, n);
		at += n;
		b->nr++;
	}
	b->len = (uint16_t)at;
	return b->nr > 0;
}

/* --- keeping blocks ----------------------------------------------------------------------------- */

static struct block **hash_slot(struct block_cache *x, const uint8_t *host, uint8_t mode)
{
	uint64_t n = (uint64_t)(uintptr_t)host * UINT64_C(0x9e3779b97f4a7c15);

	return &x->hash[(n >> (64 - HASH_BITS)) ^ mode];
}

/* Move the finished block from the scratch memory to the arena. */
static struct block *keep(struct cpu *c, const struct block *b)
{
	struct block_cache *x = c->blocks;
	size_t insns = sizeof(*b) + b->nr * sizeof(struct insn);
	size_t size = (insns + b->len + 15) & ~(size_t)15;
	struct block **slot, *kept;

	if (x->arena_used + size > ARENA_SIZE)
		block_cache_drop(c);
	kept = (struct block *)(void *)(x->arena + x->arena_used);
	x->arena_used += size;
	memcpy(kept, b, insns);
	kept->bytes = (uint8_t *)kept + insns;
	memcpy(kept->bytes, b->bytes, b->len);
	kept->succ[0] = kept->succ[1] = NULL;
	slot = hash_slot(x, kept->host, kept->mode);
	kept->next = *slot;
	*slot = kept;
	c->stats.blocks_decoded++;
	return kept;
}

static void unlink_block(struct block_cache *x, struct block *b)
{
	struct block **p = hash_slot(x, b->host, b->mode);

	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
}

/*
 * The page of a stale block was written. When the block's own bytes are as they were it is good again,
 * with the page's present generation.
 */
static bool revive(struct cpu *c, struct block *b, _Atomic uint8_t *flags)
{
	uint32_t generation =
		code_page_cover(c, b->page, (uintptr_t)b->host & GUEST_PAGE_MASK, b->len, flags);

	if (memcmp(b->bytes, b->host, b->len) != 0)
		return false;
	b->generation = generation;
	return true;
}

/* Where the bytes behind the page end of a crossing block are now. NULL: outside of memory. */
static const uint8_t *second_page(struct cpu *c, _Atomic uint8_t **ret_flags)
{
	uint64_t lin = (block_lin(c) | GUEST_PAGE_MASK) + 1, gpa;

	if (c->mode != CPU_MODE_64)
		lin = (uint32_t)lin;
	return mem_fetch(c, lin, &gpa, ret_flags);
}

static bool crossing_fresh(struct cpu *c, const struct block *b)
{
	_Atomic uint8_t *flags;

	return second_page(c, &flags) == b->host2 &&
	       atomic_load_explicit(&b->page2->generation, memory_order_relaxed) == b->generation2;
}

static struct block *lookup(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags,
			    uint8_t mode)
{
	struct block_cache *x = c->blocks;
	struct block *b = *hash_slot(x, host, mode);

	while (b && (b->host != host || b->mode != mode))
		b = b->next;
	if (!b || !block_in_limit(c, b))
		return NULL;
	if (likely(!b->crosses ? block_fresh(b) || revive(c, b, flags)
			       : block_fresh(b) && crossing_fresh(c, b)))
		return b;
	unlink_block(x, b);
	return NULL;
}

/* An instruction that ends in the next page: kept with the generations of both. */
static struct block *decode_crossing(struct cpu *c, struct block *b, _Atomic uint8_t *flags)
{
	unsigned int first =
		(unsigned int)(GUEST_PAGE_SIZE - ((uintptr_t)b->host & GUEST_PAGE_MASK));
	_Atomic uint8_t *flags2 = NULL;

	/* The first decoding only finds how far the instruction goes, and raises what fetching raises. */
	decode_slowly(c, b);
	if (b->len <= first)
		return b;
	b->host2 = second_page(c, &flags2);
	if (!b->host2)
		return b;
	b->page2 = code_page_get(c->grp->code, b->host2);
	b->generation =
		code_page_cover(c, b->page, (uintptr_t)b->host & GUEST_PAGE_MASK, first, flags);
	b->generation2 = code_page_cover(c, b->page2, 0, b->len - first, flags2);
	b->crosses = true;
	decode_slowly(c, b);
	return b->len > first ? keep(c, b) : b;
}

static struct block *find(struct cpu *c, uint8_t mode)
{
	struct block_cache *x = c->blocks;
	struct block *b = x->scratch;
	_Atomic uint8_t *flags;
	const uint8_t *host;
	unsigned int left;
	uint64_t gpa, lin;

	if (c->mode != CPU_MODE_64) {
		c->st.rip = (uint32_t)c->st.rip;
		if (c->st.rip > c->st.seg[CPU_CS].limit)
			cpu_raise_err(c, VEC_GP, 0);
	}
	lin = block_lin(c);
	host = mem_fetch(c, lin, &gpa, &flags);
	if (host) {
		struct block *known = lookup(c, host, flags, mode);

		if (known) {
			if (!known->crosses)
				*jump_slot(x, lin) = (struct jump_entry){ lin, known };
			return known;
		}
	}

	memset(b, 0, sizeof(*b));
	b->bytes = (uint8_t *)b + SCRATCH_SIZE;
	b->host = host;
	b->mode = mode;
	if (!host) {
		decode_slowly(c, b);
		return b;
	}
	left = cs_left(c, (unsigned int)(GUEST_PAGE_SIZE - (lin & GUEST_PAGE_MASK)));
	if (!decode_page(c, b, host, flags, left, mode & BLOCK_ONE ? 1 : BLOCK_MAX_INSNS))
		return decode_crossing(c, b, flags);
	b = keep(c, b);
	*jump_slot(x, lin) = (struct jump_entry){ lin, b };
	return b;
}

struct block *block_find(struct cpu *c)
{
	return find(c, block_mode(c));
}

struct block *block_find_one(struct cpu *c)
{
	struct block_cache *x = c->blocks;
	uint8_t mode = block_mode(c) | BLOCK_ONE;
	uint64_t lin = block_lin(c);
	const struct jump_entry *j = jump_slot(x, lin);
	const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);

	if (likely(j->lin == lin && j->block && e->x == (lin & ~GUEST_PAGE_MASK) &&
		   j->block->mode == mode && j->block->host == tlb_host(e, lin) &&
		   block_fresh(j->block) && block_in_limit(c, j->block)))
		return j->block;
	return find(c, mode);
}
