/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One shard a thread, kept in a list. A shared atomic counter would cost a locked instruction and a
 * cache line that travels between vCPUs on each event; here counting is a load, an add and a store,
 * and the rare reader pays by summing. When a thread ends, its numbers move into `ended` and the
 * shard is freed.
 */
#include "base/metric.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

_Thread_local struct metric_shard *metric_mine;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric_shard *shards; /* under lock */
static struct metric_shard ended;   /* under lock */
static pthread_key_t exit_key;

static const struct {
	const char *name, *unit, *help;
} table[] = {
#define METRIC(name, unit, help) { #name, unit, help },
#include "base/metrics.def"
#undef METRIC
};

static void shard_end(void *arg)
{
	struct metric_shard *s = arg, **at;

	pthread_mutex_lock(&lock);
	for (at = &shards; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	for (size_t i = 0; i < METRIC_NR; i++)
		atomic_fetch_add(&ended.v[i], atomic_load(&s->v[i]));
	pthread_mutex_unlock(&lock);
	metric_mine = NULL;
	free(s);
}

static void make_key(void)
{
	if (pthread_key_create(&exit_key, shard_end) != 0)
		abort();
}

struct metric_shard *metric_shard_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct metric_shard *s = mem_new(sizeof(*s));

	pthread_once(&once, make_key);
	pthread_setspecific(exit_key, s);
	pthread_mutex_lock(&lock);
	s->next = shards;
	shards = s;
	pthread_mutex_unlock(&lock);
	metric_mine = s;
	return s;
}

uint64_t metric_read(enum metric m)
{
	uint64_t sum;

	pthread_mutex_lock(&lock);
	sum = atomic_load(&ended.v[m]);
	for (struct metric_shard *s = shards; s; s = s->next)
		sum += atomic_load_explicit(&s->v[m], memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return sum;
}

const char *metric_name(enum metric m)
{
	return table[m].name;
}

const char *metric_help(enum metric m)
{
	return table[m].help;
}

const char *metric_unit(enum metric m)
{
	return table[m].unit;
}

void metric_prometheus(struct strbuf *out)
{
	for (unsigned i = 0; i < METRIC_NR; i++) {
		strbuf_addf(out, "# HELP atoll_%s_total %s (%s)\n", table[i].name, table[i].help,
			    table[i].unit);
		strbuf_addf(out, "# TYPE atoll_%s_total counter\n", table[i].name);
		strbuf_addf(out, "atoll_%s_total %llu\n", table[i].name,
			    (unsigned long long)metric_read((enum metric)i));
	}
}
