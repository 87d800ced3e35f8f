/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_THREAD_H
#define ATOLL_SYS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Threads, mutexes and condition variables whose misuse is our bug: they abort instead of returning
 * a code that nobody checks. Condition variables wait on CLOCK_MONOTONIC.
 */
struct thread {
	pthread_t id;
	const char *name; /* static; NULL: not running */
	void (*fn)(void *arg);
	void *arg;
	bool is_held;	     /* started, and waits for thread_release() */
	struct thread *next; /* of those */
};

/*
 * thread_hold, thread_release - threads that are started in between begin at the release, in the order in which they
 * were started. A process that gives its rights up (sys/sandbox) must have one thread at that moment, while what
 * serves its descriptors has a thread each.
 *
 * thread_release() returns 0; as thread_start(): the rest is not running. Thread: the only one.
 */
void thread_hold(void);
_nodiscard_ int thread_release(struct err *err);

/* thread_on_begin - threads call fn(name) before anything else from now on. Thread: the only one. */
void thread_on_begin(void (*fn)(const char *name));

/*
 * thread_start - run fn(arg) on a new thread, with all signals blocked but those of its own faults.
 *
 * @t:     caller's memory, stays in place until thread_join()
 * @name:  static, up to 15 characters, shown by ps and gdb
 * Returns 0; -EAGAIN (too many threads). Thread: any.
 */
_nodiscard_ int thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
			     struct err *err);

/* thread_join - wait for the end of a thread; nothing when it was never started or is already
 * joined. Thread: one, not @t itself. */
void thread_join(struct thread *t);

/* mutex_init - a plain mutex. Thread: owner. */
void mutex_init(pthread_mutex_t *m);

/* mutex_lock - lock; aborts on misuse. Thread: any. */
void mutex_lock(pthread_mutex_t *m);

/* mutex_unlock - unlock; aborts on misuse. Thread: the one that locked. */
void mutex_unlock(pthread_mutex_t *m);

/* mutex_unlockp - for mutex_guard(): unlocks *m. Thread: the one that locked. */
void mutex_unlockp(pthread_mutex_t **m);

/* Holds a mutex until the end of the block. */
#define mutex_guard(m)	   mutex_guard_(m, __COUNTER__)
#define mutex_guard_(m, n) mutex_guard__(m, n)
#define mutex_guard__(m, n)                                                                        \
	_cleanup_(mutex_unlockp) _unused_ pthread_mutex_t *guard_##n = mutex_locked_(m)

/* mutex_locked_ - lock and return; part of mutex_guard(). Thread: any. */
static inline pthread_mutex_t *mutex_locked_(pthread_mutex_t *m)
{
	mutex_lock(m);
	return m;
}

/* cond_init - a condition variable on CLOCK_MONOTONIC. Thread: owner. */
void cond_init(pthread_cond_t *c);

/* cond_wait - wait; wakes up for no reason now and then. Thread: holder of @m. */
void cond_wait(pthread_cond_t *c, pthread_mutex_t *m);

/*
 * cond_wait_until - wait until a time.
 *
 * @deadline_ns:  CLOCK_MONOTONIC; UINT64_MAX waits for ever
 * Returns 0, or -ETIMEDOUT when the time is reached. Thread: holder of @m.
 */
int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns);

#endif
