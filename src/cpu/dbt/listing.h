/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_LISTING_H
#define CPU_DBT_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "cpu/dbt/inspect.h"

/* A translation as it is shown: copies, so that the block may die meanwhile. */
struct hot_block {
	uint64_t lin; /* linear address when it was translated */
	bool is_64, has_tally;
	unsigned int nr_insns;
	uint64_t insns_executed;
	uint8_t *guest, *host;
	size_t guest_len, host_len;
	uint64_t host_addr;
	uint64_t passed[TALLY_INSNS];			  /* with has_tally: of each instruction */
	uint16_t mark[TALLY_INSNS + 1], off[TALLY_INSNS]; /* as in struct tally */
};

struct listing_sum {
	uint64_t insns, nr_blocks; /* of all blocks */
	bool is_counting;
};

enum { LISTING_MAX = 16 << 20 };

/*
 * listing_add - append a listing of @n blocks, or JSON.
 *
 * Text has two columns: a guest instruction, with the number of its executions and 'S' for sensitive, 'P' for privileged,
 * and the host instructions that stand for it. Code out of line (TLB misses, exits) is not shown, only its size
 * is. Ends early when @out gets longer than LISTING_MAX. Thread: any.
 */
void listing_add(const struct hot_block *hot, size_t n, const struct listing_sum *sum, bool json,
		 struct strbuf *out);

#endif
