/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on operations and bytes a second: token buckets, and the requests that wait for tokens.
 *
 *	disk_submit() ── all buckets have room, and nobody of the row waits ──> charged, started
 *	     │ else
 *	     '──> row of reads or of writes ── timer: room again ──> charged, started; the rows take turns
 *
 * A request may begin as soon as there is any room, and then costs what it costs, so that one that is larger than a
 * bucket comes to its turn and makes the next one wait longer. Two rows, because a read must not wait for a limit on
 * writes; in turns, because a limit on both would else let one of them starve. A bucket is one number, the time at
 * which it will be empty (virtual scheduling, as ATM's generic cell rate algorithm): nothing has to be filled up as
 * time goes by. A cost is rounded up to a nanosecond, which matters from 1 GB/s of single sectors on, and there by
 * two parts in a thousand.
 *
 * A reset of a machine waits for requests in flight, but not for their limits (disk_hurry()): they count, and what
 * comes after them waits longer.
 */
#include "disk/throttle_priv.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "disk/file_priv.h"
#include "sys/thread.h"

#define BURST_DEFAULT (100 * NS_PER_MS)
#define RATE_MAX      UINT64_C(1000000000000000) /* 10^15: more is no limit */
#define COST_MAX      (NS_PER_S * 3600 * 24)	 /* of one request, whatever its size */

/* --- limits ----------------------------------------------------------------------------------- */

int disk_limits_parse(struct disk_limits *l, struct str key, struct str value, struct err *err)
{
	const struct {
		const char *name;
		bool is_bytes;
		uint64_t *to;
	} limits[] = {
		{ "iops", false, &l->iops },	   { "iops-rd", false, &l->iops_rd },
		{ "iops-wr", false, &l->iops_wr }, { "bps", true, &l->bps },
		{ "bps-rd", true, &l->bps_rd },	   { "bps-wr", true, &l->bps_wr },
	};

	if (str_eq(key, STR("burst"))) {
		int r = str_parse_ns(value, NS_PER_MS, NS_PER_S * 3600, &l->burst_ns, err);

		return r < 0 ? err_wrap(err, r, "burst") : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int r;

		if (!str_eq(key, str_of(limits[i].name)))
			continue;
		if (limits[i].is_bytes)
			r = str_parse_size(value, 0, RATE_MAX, limits[i].to, err);
		else
			r = str_parse_u64(value, 0, RATE_MAX, limits[i].to, err);
		return r < 0 ? err_wrap(err, r, "%s", limits[i].name) : 0;
	}
	return err_set(err, -ENOENT,
		       "'%.*s' is none of iops, iops-rd, iops-wr, bps, bps-rd, bps-wr, burst",
		       (int)MIN(key.n, (size_t)40), key.p);
}

int disk_limits_parse_list(struct disk_limits *l, struct str text, struct err *err)
{
	struct str part, key;
	int r = 0;

	while (r == 0 && str_cut(&text, ',', &part)) {
		struct str value = part;

		if (!memchr(part.p, '=', part.n))
			return err_set(err, -EINVAL,
				       "limit '%.*s' has no value: iops=100, bps=10M ...",
				       (int)MIN(part.n, (size_t)40), part.p);
		str_cut(&value, '=', &key);
		r = disk_limits_parse(l, key, value, err);
	}
	return r == -ENOENT ? -EINVAL : r;
}

/* --- buckets ---------------------------------------------------------------------------------- */

void buckets_init(struct buckets *b, const struct disk_limits *limits)
{
	*b = (struct buckets){ .limits = *limits };
	if (!b->limits.burst_ns)
		b->limits.burst_ns = BURST_DEFAULT;
}

/* Rate and cost of one operation in a bucket; false: this bucket is not asked. */
static bool look(const struct buckets *b, unsigned i, bool is_write, uint64_t bytes,
		 uint64_t *ret_rate, uint64_t *ret_cost)
{
	const struct disk_limits *l = &b->limits;
	const uint64_t rates[T_BUCKETS] = {
		[T_OPS] = l->iops,  [T_OPS_RD] = l->iops_rd,  [T_OPS_WR] = l->iops_wr,
		[T_BYTES] = l->bps, [T_BYTES_RD] = l->bps_rd, [T_BYTES_WR] = l->bps_wr,
	};

	if (!rates[i] || ((i == T_OPS_RD || i == T_BYTES_RD) && is_write) ||
	    ((i == T_OPS_WR || i == T_BYTES_WR) && !is_write))
		return false;
	*ret_rate = rates[i];
	*ret_cost = i >= T_BYTES ? bytes : 1;
	return true;
}

uint64_t buckets_when(const struct buckets *b, bool is_write, uint64_t now_ns)
{
	uint64_t when = now_ns, rate, cost;

	for (unsigned i = 0; i < T_BUCKETS; i++)
		if (look(b, i, is_write, 0, &rate, &cost) &&
		    b->empty_ns[i] > now_ns + b->limits.burst_ns)
			when = MAX(when, b->empty_ns[i] - b->limits.burst_ns);
	return when;
}

void buckets_charge(struct buckets *b, bool is_write, uint64_t bytes, uint64_t now_ns)
{
	uint64_t rate, cost;

	for (unsigned i = 0; i < T_BUCKETS; i++) {
		unsigned __int128 ns;

		if (!look(b, i, is_write, bytes, &rate, &cost))
			continue;
		ns = ((unsigned __int128)cost * NS_PER_S + rate - 1) / rate;
		b->empty_ns[i] =
			MAX(b->empty_ns[i], now_ns) + (ns < COST_MAX ? (uint64_t)ns : COST_MAX);
	}
}

/* --- requests --------------------------------------------------------------------------------- */

static bool is_write_of(const struct disk_request *req)
{
	return req->op != DISK_OP_READ;
}

/* A discard moves nothing. */
static uint64_t bytes_of(const struct disk_request *req)
{
	struct iov_iter it;

	if (req->op == DISK_OP_ZERO)
		return req->len;
	if (req->op != DISK_OP_READ && req->op != DISK_OP_WRITE)
		return 0;
	it = iov_iter(req->iov, req->nr_iov);
	return iov_bytes(&it);
}

/* What may begin now goes to @ready; for the rest the timer is set. Holds the lock. */
static void collect(struct throttle *t, struct list *ready)
{
	for (;;) {
		uint64_t now = clock_now(t->timers->clock), first = UINT64_MAX;
		bool found = false;

		for (unsigned k = 0; k < 2 && !found; k++) {
			unsigned row = (t->turn + k) % 2;
			struct disk_request *req =
				list_first(&t->waiting[row], struct disk_request, priv.link);
			uint64_t when;

			if (!req)
				continue;
			when = t->is_limited ? buckets_when(&t->buckets, row, now) : now;
			if (when > now) {
				first = MIN(first, when);
				continue;
			}
			list_del(&req->priv.link);
			buckets_charge(&t->buckets, row, bytes_of(req), now);
			list_push(ready, &req->priv.link);
			t->nr_waiting--;
			t->turn = !row;
			found = true;
		}
		if (!found) {
			timerq_arm(t->timers, &t->timer, first);
			return;
		}
	}
}

static void start_all(struct throttle *t, struct list *ready)
{
	struct list *l;

	while ((l = list_pop(ready)))
		t->start(t->arg, list_entry(l, struct disk_request, priv.link));
}

static void run(struct throttle *t)
{
	struct list ready;

	list_init(&ready);
	mutex_lock(&t->lock);
	collect(t, &ready);
	mutex_unlock(&t->lock);
	start_all(t, &ready);
}

static void on_time(void *arg)
{
	run(arg);
}

void throttle_init(struct throttle *t, struct timerq *timers,
		   void (*start)(void *arg, struct disk_request *req), void *arg)
{
	*t = (struct throttle){ .timers = timers, .start = start, .arg = arg };
	mutex_init(&t->lock);
	list_init(&t->waiting[0]);
	list_init(&t->waiting[1]);
	timerq_timer_init(timers, &t->timer, on_time, t);
}

void throttle_done(struct throttle *t)
{
	timerq_timer_done(t->timers, &t->timer);
	pthread_mutex_destroy(&t->lock);
}

void throttle_set(struct throttle *t, const struct disk_limits *l)
{
	mutex_lock(&t->lock);
	t->is_limited = l->iops || l->iops_rd || l->iops_wr || l->bps || l->bps_rd || l->bps_wr;
	buckets_init(&t->buckets, l);
	mutex_unlock(&t->lock);
	run(t);
}

void throttle_get(struct throttle *t, struct disk_limits *ret, unsigned *ret_waiting)
{
	mutex_guard(&t->lock);

	*ret = t->buckets.limits;
	*ret_waiting = t->nr_waiting;
}

bool throttle_admit(struct throttle *t, struct disk_request *req)
{
	unsigned row = is_write_of(req);
	bool is_first;
	uint64_t now;

	if (req->op == DISK_OP_FLUSH || !atomic_load(&t->is_limited))
		return true;
	mutex_guard(&t->lock);
	if (!t->is_limited)
		return true;
	now = clock_now(t->timers->clock);
	is_first = list_empty(&t->waiting[row]);
	if (is_first && buckets_when(&t->buckets, row, now) <= now) {
		buckets_charge(&t->buckets, row, bytes_of(req), now);
		return true;
	}
	list_push(&t->waiting[row], &req->priv.link);
	t->nr_waiting++;
	/* The timer finds out how long it has to wait. */
	if (is_first)
		timerq_arm(t->timers, &t->timer, now);
	return false;
}

void throttle_release(struct throttle *t)
{
	struct list ready, *l;
	uint64_t now;

	list_init(&ready);
	mutex_lock(&t->lock);
	now = clock_now(t->timers->clock);
	for (unsigned row = 0; row < 2; row++)
		while ((l = list_pop(&t->waiting[row]))) {
			buckets_charge(&t->buckets, row,
				       bytes_of(list_entry(l, struct disk_request, priv.link)),
				       now);
			list_push(&ready, l);
		}
	t->nr_waiting = 0;
	timerq_disarm(t->timers, &t->timer);
	mutex_unlock(&t->lock);
	start_all(t, &ready);
}
