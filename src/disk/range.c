/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Range locks. A list in order of arrival and a scan of it: requests in flight are tens, rarely
 * hundreds, and the usual case (no exclusive hold anywhere) scans nothing. A tree of intervals was
 * rejected for that. Order of arrival keeps an exclusive hold from starving under a stream of shared ones.
 */
#include "disk/range_priv.h"

#include "base/checked.h"
#include "sys/thread.h"

void ranges_init(struct ranges *rs)
{
	mutex_init(&rs->lock);
	cond_init(&rs->released);
	list_init(&rs->holds);
	rs->nr_exclusive = rs->nr_waiting = 0;
}

void ranges_done(struct ranges *rs)
{
	pthread_cond_destroy(&rs->released);
	pthread_mutex_destroy(&rs->lock);
}

/* Whether a hold before @h in the list excludes it. */
static bool is_blocked(const struct ranges *rs, const struct disk_hold *h)
{
	const struct disk_hold *other;

	if (!h->is_exclusive && !rs->nr_exclusive)
		return false;
	list_for_each(other, &rs->holds, link) {
		if (other == h)
			return false;
		if ((h->is_exclusive || other->is_exclusive) &&
		    range_overlap(h->off, h->len, other->off, other->len))
			return true;
	}
	return false;
}

static void add(struct ranges *rs, struct disk_hold *h)
{
	list_push(&rs->holds, &h->link);
	rs->nr_exclusive += h->is_exclusive;
}

bool range_try(struct ranges *rs, struct disk_hold *h, uint64_t off, uint64_t len, bool exclusive)
{
	mutex_guard(&rs->lock);

	*h = (struct disk_hold){ .off = off, .len = len, .is_exclusive = exclusive };
	if (is_blocked(rs, h))
		return false;
	add(rs, h);
	return true;
}

void range_take(struct ranges *rs, struct disk_hold *h, uint64_t off, uint64_t len, bool exclusive)
{
	mutex_guard(&rs->lock);

	*h = (struct disk_hold){ .off = off, .len = len, .is_exclusive = exclusive };
	add(rs, h);
	while (is_blocked(rs, h)) {
		rs->nr_waiting++;
		cond_wait(&rs->released, &rs->lock);
		rs->nr_waiting--;
	}
}

void range_release(struct ranges *rs, struct disk_hold *h)
{
	mutex_guard(&rs->lock);

	list_del(&h->link);
	rs->nr_exclusive -= h->is_exclusive;
	if (rs->nr_waiting)
		pthread_cond_broadcast(&rs->released);
}
