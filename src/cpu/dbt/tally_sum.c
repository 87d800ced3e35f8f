// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Summing up what blocks have counted. Apart from the rest, because a block may die, and be summed up, while vector
 * registers hold the guest's values.
 */
#include "cpu/dbt/inspect.h"
#include "cpu/dbt/run.h"

uint64_t tally_executed(const struct tblock *b)
{
	uint64_t n = 0;

	for (unsigned int k = 0; k < b->nr_insns; k++)
		n += tally_passed(b->tally, k);
	return n;
}

void tally_sum_add(const struct tblock *b, struct tally_sum *sum)
{
	uint64_t times;

	if (!b->tally)
		return;
	times = tally_passed(b->tally, 0);
	sum->insns += tally_executed(b);
	/* They end their block, mostly; those in the middle of one that is left before them are few. */
	sum->sensitive += times * b->nr_sensitive;
	sum->privileged += times * b->nr_privileged;
	for (unsigned int k = 0; k < b->nr_insns; k++)
		sum->accesses += tally_passed(b->tally, k) * b->tally->mem[k];
}

void inspect_bury(struct dbt *d, const struct tblock *b)
{
	tally_sum_add(b, &d->buried);
}
