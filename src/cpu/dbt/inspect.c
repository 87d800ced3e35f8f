// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the code cache holds, and which of it is hot.
 *
 * A listing is made in two steps: under the lock the hottest blocks are chosen and their code is copied, afterwards
 * it becomes text (listing.c), which takes long. So a running machine's translator waits for some copying only. The guest's
 * bytes are read from its memory: a block is alive only as long as they are what was translated.
 */
#include "cpu/dbt/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/dbt/listing.h"
#include "cpu/dbt/run.h"

/* --- sums ----------------------------------------------------------------------------------------- */

struct sum {
	struct tally_sum tally;
	uint64_t nr_blocks, bytes;
};

static void add_block(const struct tblock *b, void *arg)
{
	struct sum *s = arg;

	s->nr_blocks++;
	s->bytes += b->code_size;
	tally_sum_add(b, &s->tally);
}

static void sum_up(struct dbt *d, struct sum *s)
{
	*s = (struct sum){ .tally = d->buried };
	dbt_blocks_each(d, add_block, s);
}

void cpu_group_code_stats(struct cpu_group *grp, struct cpu_code_stats *ret)
{
	struct dbt *d = grp->dbt;
	struct sum s;

	*ret = (struct cpu_code_stats){ 0 };
	if (!d)
		return;
	dbt_lock(d);
	sum_up(d, &s);
	dbt_unlock(d);
	ret->cache_bytes = grp->code_cache_bytes;
	ret->used_bytes = s.bytes;
	ret->nr_blocks = s.nr_blocks;
	ret->is_counting = atomic_load(&d->count);
	if (!ret->is_counting)
		return;
	ret->insns = s.tally.insns;
	ret->insns_sensitive = s.tally.sensitive;
	ret->insns_privileged = s.tally.privileged;
	ret->accesses = s.tally.accesses;
}

static int no_translations(const struct cpu_group *grp, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "engine '%s' translates nothing; only 'dbt' does",
		       cpu_group_engine(grp));
}

int cpu_group_count_blocks(struct cpu_group *grp, bool on, struct err *err)
{
	if (!grp->dbt)
		return no_translations(grp, err);
	if (atomic_exchange(&grp->dbt->count, on) != on)
		cpu_group_flush(grp);
	return 0;
}

/* --- the hottest ---------------------------------------------------------------------------------- */

struct candidate {
	const struct tblock *b;
	uint64_t insns;
};

struct choice {
	const struct cpu_hot_query *query;
	struct candidate *v;
	size_t n, max;
};

static bool holds(const struct tblock *b, uint64_t off)
{
	if (!b->tally)
		return off < b->len;
	for (unsigned int k = 0; k < b->nr_insns; k++)
		if (off - b->tally->off[k] < b->tally->len[k])
			return true;
	return false;
}

static bool is_wanted(const struct cpu_hot_query *q, const struct tblock *b)
{
	return !q->has_address || holds(b, q->address - b->lin);
}

static void offer(const struct tblock *b, void *arg)
{
	struct choice *c = arg;
	uint64_t insns = b->tally ? tally_executed(b) : 0;

	if (!is_wanted(c->query, b) || (!insns && !c->query->has_address))
		return;
	if (c->n == c->max) {
		c->max = c->max ? c->max * 2 : 1024;
		c->v = mem_renew(c->v, c->max, sizeof(*c->v));
	}
	c->v[c->n++] = (struct candidate){ b, insns };
}

static int hotter_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->insns != y->insns)
		return x->insns < y->insns ? 1 : -1;
	return x->b->lin < y->b->lin ? -1 : x->b->lin > y->b->lin;
}

static void hot_copy(struct hot_block *h, const struct candidate *c)
{
	const struct tblock *b = c->b;

	h->lin = b->lin;
	h->is_64 = b->key & DBT_KEY_64;
	h->nr_insns = b->nr_insns;
	h->insns_executed = c->insns;
	h->guest_len = b->len;
	h->host_len = b->code_size;
	h->host_addr = (uintptr_t)b->code;
	h->guest = mem_new((size_t)b->len + 1);
	h->host = mem_new((size_t)b->code_size + 1);
	memcpy(h->guest, b->page + b->off, b->len);
	memcpy(h->host, b->code, b->code_size);
	if (!b->tally)
		return;
	h->has_tally = true;
	for (unsigned int k = 0; k < b->nr_insns; k++)
		h->passed[k] = tally_passed(b->tally, k);
	memcpy(h->mark, b->tally->mark, sizeof(h->mark));
	memcpy(h->off, b->tally->off, sizeof(h->off));
}

static void hot_free(struct hot_block *h, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		free(h[k].guest);
		free(h[k].host);
	}
	free(h);
}

int cpu_group_hot_blocks(struct cpu_group *grp, const struct cpu_hot_query *query,
			 struct strbuf *out, struct err *err)
{
	struct choice choice = { .query = query };
	struct dbt *d = grp->dbt;
	struct hot_block *hot;
	struct sum sum;
	size_t n;

	if (!d)
		return no_translations(grp, err);
	dbt_lock(d);
	sum_up(d, &sum);
	dbt_blocks_each(d, offer, &choice);
	if (choice.n)
		qsort(choice.v, choice.n, sizeof(*choice.v), hotter_first);
	n = MIN(choice.n, (size_t)query->top);
	hot = mem_new_n(n + 1, sizeof(*hot));
	for (size_t k = 0; k < n; k++)
		hot_copy(&hot[k], &choice.v[k]);
	dbt_unlock(d);
	free(choice.v);
	listing_add(hot, n,
		    &(const struct listing_sum){ .insns = sum.tally.insns,
						 .nr_blocks = sum.nr_blocks,
						 .is_counting = atomic_load(&d->count) },
		    query->json, out);
	hot_free(hot, n);
	return 0;
}
