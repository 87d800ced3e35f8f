/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_THROTTLE_PRIV_H
#define ATOLL_DISK_THROTTLE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "disk/disk.h"
#include "sys/timerq.h"

/*
 * Buckets that drain at the rate of a limit. Instead of a level, each has the time at which it will be empty: an
 * operation pushes that time back by what it costs and may begin while it is not further away than a burst lasts.
 */
enum throttle_bucket { T_OPS, T_OPS_RD, T_OPS_WR, T_BYTES, T_BYTES_RD, T_BYTES_WR, T_BUCKETS };

struct buckets {
	struct disk_limits limits;
	uint64_t empty_ns[T_BUCKETS];
};

/* All buckets are empty. */
void buckets_init(struct buckets *b, const struct disk_limits *limits);
/* When an operation may begin: @now_ns, or later. Sans I/O. */
uint64_t buckets_when(const struct buckets *b, bool is_write, uint64_t now_ns);
/* One operation of @bytes began. */
void buckets_charge(struct buckets *b, bool is_write, uint64_t bytes, uint64_t now_ns);

/* Requests that wait for their time, reads and writes in a row of their own each. */
struct throttle {
	pthread_mutex_t lock; /* guards all below; innermost but for the timers' */
	_Atomic bool is_limited;
	struct buckets buckets;
	struct list waiting[2]; /* of disk_request.priv.link; 0: reads, 1: writes */
	unsigned nr_waiting;
	unsigned turn; /* which row goes first */
	struct timerq *timers;
	struct timerq_timer timer;
	void (*start)(void *arg, struct disk_request *req);
	void *arg;
};

/*
 * throttle_init - nothing is limited. @start: called for each request whose time has come, with no lock held, on the
 * timers' thread or that of throttle_set() and throttle_release().
 */
void throttle_init(struct throttle *t, struct timerq *timers,
		   void (*start)(void *arg, struct disk_request *req), void *arg);
/* Nothing waits. */
void throttle_done(struct throttle *t);
void throttle_set(struct throttle *t, const struct disk_limits *limits);
void throttle_get(struct throttle *t, struct disk_limits *ret, unsigned *ret_waiting);
/* May the request begin now? False: it is kept, and started later. */
bool throttle_admit(struct throttle *t, struct disk_request *req);
/* Everything that waits begins now. */
void throttle_release(struct throttle *t);

#endif
