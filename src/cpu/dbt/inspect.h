/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_INSPECT_H
#define CPU_DBT_INSPECT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/dbt/blocks.h"

/*
 * Looking at translations: how often they were executed, and which host code belongs to which guest instruction.
 * Costs nothing unless it was asked for when the block was made.
 */
enum { TALLY_INSNS = 96 };

/*
 * What a block that counts has beside its code, in the code space, writable. A block may be left at each conditional
 * branch in it, and jump inside itself, so each stretch of instructions without either counts for itself. The count of
 * entries is exact; the others are made without a lock, because the guest's flags may be live there, and several
 * vCPUs may lose some.
 */
struct tally {
	/* Of each instruction. mark: where its code begins, from tblock.code, and behind the last one: where the hot
	 * code ends. off: where it is itself, from tblock.off; there may be gaps, which the block jumps over.
	 * stretch: index in passed[]. mem: look-ups in the TLB. */
	uint16_t mark[TALLY_INSNS + 1], off[TALLY_INSNS];
	uint8_t len[TALLY_INSNS], stretch[TALLY_INSNS], mem[TALLY_INSNS];
	_Atomic uint64_t passed[]; /* executions; 0: entries of the block */
};

/* tally_size - bytes for a block that has @nr stretches. Thread: any. */
static inline size_t tally_size(unsigned int nr)
{
	return (sizeof(struct tally) + nr * sizeof(uint64_t) + 63) & ~(size_t)63;
}

/* Executions of translated code, summed up. */
struct tally_sum {
	uint64_t insns, sensitive, privileged, accesses;
};

/* tally_passed - how often an instruction of the block was executed. Thread: any, while the block is there. */
static inline uint64_t tally_passed(const struct tally *y, unsigned int insn)
{
	return atomic_load_explicit(&y->passed[y->stretch[insn]], memory_order_relaxed);
}

/* tally_executed - instructions executed in a block that counts. Thread: as tally_passed(). */
uint64_t tally_executed(const struct tblock *b);

/* tally_sum_add - add what a block has counted to @sum; nothing when it does not count. Locked. */
void tally_sum_add(const struct tblock *b, struct tally_sum *sum);

/* inspect_bury - a block that counted dies: what it counted is kept in d->buried. Locked. */
void inspect_bury(struct dbt *d, const struct tblock *b);

/* perf_map_open - make /tmp/perf-PID.map, once; when that fails, one line is logged. Thread: while files can be opened. */
void perf_map_open(void);

/*
 * perf_map_add - tell perf(1) about a translation: a line of that file, if there is one. Locked.
 *
 * Source: Linux, tools/perf/Documentation/jit-interface.txt.
 */
void perf_map_add(const struct tblock *b);

#endif
