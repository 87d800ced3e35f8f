/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_INSPECT_H
#define CPU_DBT_INSPECT_H

#include <stdatomic.h>
#include <stdint.h>

#include "cpu/dbt/blocks.h"

/*
 * Looking at translations: how often they were executed, and which host code belongs to which guest instruction.
 * Costs nothing unless it was asked for when the block was made.
 */
enum { TALLY_INSNS = 64 };

/* What a block that counts has beside its code, in the code space, writable. */
struct tally {
	_Atomic uint64_t count; /* executions */
	uint16_t nr_mem; /* look-ups in the TLB by one execution, if it goes to the block's end */
	/* Where the code of each instruction begins, from tblock.code; one more: where the hot code ends. */
	uint16_t mark[TALLY_INSNS + 1];
};

/* Executions of translated code, summed up. */
struct tally_sum {
	uint64_t insns, sensitive, privileged, accesses;
};

/* inspect_bury - a block that counted dies: what it counted is kept in d->buried. Locked. */
void inspect_bury(struct dbt *d, const struct tblock *b);

/*
 * perf_map_add - tell perf(1) about a translation: a line of /tmp/perf-PID.map.
 *
 * The file is made at the first call; when that fails, nothing is written, and one line is logged. Locked.
 * Source: Linux, tools/perf/Documentation/jit-interface.txt.
 */
void perf_map_add(const struct tblock *b);

#endif
