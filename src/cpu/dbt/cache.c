// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The memory of the code cache: the same pages mapped writable and mapped executable, filled part by part. When the last
 * free part is begun, the oldest quarter is evicted at once, so that it has drained by the time that it is needed.
 *
 * Nobody is stopped for it. A vCPU may be running in evicted code, have return addresses to it on its return
 * stacks, or have it in its jump tables; so the epoch is raised, every vCPU is asked to come out and to empty
 * those, and the memory is used again when all have. Those outside of cpu_run(), or asleep, count as having done so.
 */
#include "cpu/dbt/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/dbt/emit.h"

/* Records of one block, at most: the block itself and its entries for signals. */
enum { RECORDS_ROOM = 4096 };

void dbt_lock(struct dbt *d)
{
	pthread_mutex_lock(&d->blocks->lock);
}

void dbt_unlock(struct dbt *d)
{
	pthread_mutex_unlock(&d->blocks->lock);
}

/* --- making it ------------------------------------------------------------------------------------ */

/* Shared and anonymous: perf(1) looks names of translations up for such memory, not for a memfd's. */
static int memory_map(struct blocks *x, size_t size)
{
	void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *rx;

	if (rw == MAP_FAILED)
		return -errno;
	x->rw = rw;
	x->size = size;
	rx = mremap(rw, 0, size, MREMAP_MAYMOVE); /* the same pages once more */
	if (rx == MAP_FAILED)
		return -errno;
	x->rx = rx;
	return mprotect(rx, size, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static void part_begin(struct blocks *x, unsigned int n)
{
	struct part *p = &x->part[n];

	p->state = PART_CURRENT;
	p->low = 0;
	p->high = x->part_size;
	p->since = x->nr_begun++;
	atomic_store_explicit(&p->first, NULL, memory_order_relaxed);
	p->last = NULL;
	x->current = n;
}

int blocks_new(struct dbt *d, uint64_t size, struct err *err)
{
	struct blocks *x = mem_new(sizeof(*x));
	struct emit e;
	int r;

	d->blocks = x;
	pthread_mutex_init(&x->lock, NULL);
	x->part_size = (uint32_t)(size / CACHE_PARTS) & ~(uint32_t)GUEST_PAGE_MASK;
	r = memory_map(x, (size_t)x->part_size * CACHE_PARTS + TRAMP_SIZE);
	if (r < 0)
		return err_set(err, r, "memory for translated code: %s", strerror(-r));
	e = (struct emit){ .p = x->rw, .end = x->rw + TRAMP_SIZE, .to_rx = x->rx - x->rw };
	tramp_make(&e, &d->tramp);
	if (e.overflow)
		return err_set(err, -ENOSPC, "memory for trampolines");
	part_begin(x, 0);
	return 0;
}

void blocks_free(struct dbt *d)
{
	struct blocks *x = d->blocks;

	if (!x)
		return;
	if (x->rw)
		munmap(x->rw, x->size);
	if (x->rx)
		munmap(x->rx, x->size);
	pthread_mutex_destroy(&x->lock);
	free(x);
	d->blocks = NULL;
}

/* --- epochs --------------------------------------------------------------------------------------- */

/* The oldest epoch that a vCPU has not left behind. */
static uint64_t epoch_passed(const struct dbt *d)
{
	uint64_t min = UINT64_MAX;

	for (unsigned int k = 0; k < d->grp->nr; k++) {
		const struct cpu *c = d->grp->cpu[k];
		const struct dbt_cpu *dc = c ? dbt_cpu(c) : NULL;
		uint64_t e = dc ? atomic_load(&dc->epoch) : UINT64_MAX;

		min = MIN(min, e);
	}
	return min;
}

/* What has been dead from now on is gone from all tables when all have passed. Returns the new epoch. */
static uint64_t epoch_raise(struct dbt *d)
{
	uint64_t epoch = atomic_fetch_add(&d->epoch, 1) + 1;

	for (unsigned int k = 0; k < d->grp->nr; k++) {
		struct cpu *c = d->grp->cpu[k];
		const struct dbt_cpu *dc = c ? dbt_cpu(c) : NULL;

		/* No wake-up: who sleeps is outside. */
		if (dc && atomic_load(&dc->epoch) < epoch)
			atomic_fetch_or(&c->hot.pending, CPU_PEND_EPOCH);
	}
	return epoch;
}

static void reclaim(struct dbt *d)
{
	struct blocks *x = d->blocks;
	uint64_t passed = epoch_passed(d);

	for (unsigned int k = 0; k < CACHE_PARTS; k++)
		if (x->part[k].state == PART_DRAINING && x->part[k].since <= passed)
			x->part[k].state = PART_FREE;
}

/* --- eviction ------------------------------------------------------------------------------------- */

static unsigned int count_state(const struct blocks *x, enum part_state state)
{
	unsigned int n = 0;

	for (unsigned int k = 0; k < CACHE_PARTS; k++)
		n += x->part[k].state == state;
	return n;
}

static int find_state(const struct blocks *x, enum part_state state)
{
	int best = -1;

	for (int k = 0; k < CACHE_PARTS; k++)
		if (x->part[k].state == state &&
		    (best < 0 || x->part[k].since < x->part[best].since))
			best = k;
	return best;
}

/* Returns how many alive blocks died. */
static uint64_t part_kill(struct dbt *d, struct part *p)
{
	uint64_t n = 0;

	for (struct tblock *b = p->first; b; b = b->next_age) {
		if (!b->dead) {
			block_kill(d, b);
			n++;
		}
	}
	return n;
}

/* Dead blocks are not used again. */
static void revive_forget(struct blocks *x)
{
	for (unsigned int k = 0; k < 1 << REVIVE_BITS; k++)
		x->revive[k].b = NULL;
}

static void part_drain(struct dbt *d, struct part *p)
{
	revive_forget(d->blocks);
	for (struct tblock *b = p->first; b; b = b->next_age)
		block_unlink_out(d, b);
	p->state = PART_DRAINING;
	p->since = UINT64_MAX;
}

static void drain_all_begun(struct dbt *d)
{
	struct blocks *x = d->blocks;
	uint64_t epoch = epoch_raise(d);

	for (unsigned int k = 0; k < CACHE_PARTS; k++)
		if (x->part[k].state == PART_DRAINING && x->part[k].since == UINT64_MAX)
			x->part[k].since = epoch;
}

static void evict_oldest(struct dbt *d)
{
	struct blocks *x = d->blocks;

	for (unsigned int k = 0; k < CACHE_PARTS / 4; k++) {
		int n = find_state(x, PART_FULL);

		if (n < 0)
			break;
		d->grp->stats.dbt_evictions += part_kill(d, &x->part[n]);
		part_drain(d, &x->part[n]);
	}
	drain_all_begun(d);
}

int tspace_get(struct dbt *d, struct tspace *ret)
{
	struct blocks *x = d->blocks;
	struct part *p = &x->part[x->current];
	size_t at;

	if (p->high - p->low < TSPACE_ROOM + RECORDS_ROOM) {
		int n;

		reclaim(d);
		n = find_state(x, PART_FREE);
		if (n < 0) {
			if (!count_state(x, PART_DRAINING))
				evict_oldest(d);
			return -EAGAIN;
		}
		p->state = PART_FULL;
		part_begin(x, (unsigned int)n);
		p = &x->part[n];
		if (!count_state(x, PART_FREE) && !count_state(x, PART_DRAINING))
			evict_oldest(d);
	}
	at = TRAMP_SIZE + (size_t)x->part_size * x->current + p->low;
	*ret = (struct tspace){ .rw = x->rw + at, .rx = x->rx + at, .room = TSPACE_ROOM };
	return 0;
}

void dbt_drop_all(struct dbt *d)
{
	struct blocks *x = d->blocks;

	dbt_lock(d);
	revive_forget(d->blocks);
	for (unsigned int k = 0; k < CACHE_PARTS; k++) {
		struct part *p = &x->part[k];

		if (p->state != PART_CURRENT && p->state != PART_FULL)
			continue;
		d->grp->stats.dbt_evictions += part_kill(d, p);
		if (p->state == PART_FULL)
			part_drain(d, p);
	}
	drain_all_begun(d);
	dbt_unlock(d);
}
