/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_METRIC_H
#define ATOLL_BASE_METRIC_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * Counters that only grow. They are declared in one table, metrics.def, and counted per thread
 * without any locked instruction, so that one may stand on a hot path.
 */
enum metric {
#define METRIC(name, unit, help) METRIC_##name,
#include "base/metrics.def"
#undef METRIC
	METRIC_NR
};

/* One thread's counters. Written by its thread, read by anybody. */
struct metric_shard {
	_Atomic uint64_t v[METRIC_NR];
	struct metric_shard *next;
};

extern _Thread_local struct metric_shard *metric_mine;

/* metric_shard_new - the calling thread's counters, made on first use; for metric_add(). Thread:
 * any. */
struct metric_shard *metric_shard_new(void);

/* metric_add - count n more. Thread: any. Allocates once a thread. */
static inline void metric_add(enum metric m, uint64_t n)
{
	struct metric_shard *s = metric_mine;

	if (unlikely(!s))
		s = metric_shard_new();
	/* Only this thread writes, so load and store need not be one operation. */
	atomic_store_explicit(&s->v[m], atomic_load_explicit(&s->v[m], memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* metric_inc - count one more. Thread: any. */
static inline void metric_inc(enum metric m)
{
	metric_add(m, 1);
}

/* metric_read - the sum over all threads, those that ended included. Thread: any. */
uint64_t metric_read(enum metric m);

/* metric_name - the name as in metrics.def. Thread: any. */
const char *metric_name(enum metric m);

/* metric_help - the help text as in metrics.def. Thread: any. */
const char *metric_help(enum metric m);

/* metric_unit - the unit as in metrics.def. Thread: any. */
const char *metric_unit(enum metric m);

/*
 * metric_prometheus - all counters in the Prometheus text format, version 0.0.4.
 *
 * @out:  appended to
 * Thread: any.
 */
void metric_prometheus(struct strbuf *out);

#endif
