/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_TIMERQ_H
#define ATOLL_SYS_TIMERQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/err.h"
#include "sys/thread.h"

/*
 * Timers of devices: one thread sleeps until the earliest deadline and runs the callbacks.
 *
 * A callback runs on the queue's thread, without the queue's lock, so it may arm and cancel any
 * timer, its own included, and take a device's mutex. It runs at most once for each time it was
 * armed. It may run late (a loaded host), never early.
 *
 * A device that arms a timer with its mutex held, and whose callback takes that mutex, must use
 * timerq_disarm() there, not timerq_cancel(), which would wait for a callback that waits for the
 * mutex; the callback then checks under the mutex whether its expiry still holds. timerq_cancel() is
 * for the end of the device.
 */
struct timerq_timer {
	void (*fn)(void *arg);
	void *arg;
	uint64_t deadline_ns; /* valid while armed; under the queue's lock */
	size_t heap_index;    /* 0: not armed, else position + 1; under the queue's lock */
};

struct timerq {
	struct clock *clock;
	pthread_mutex_t lock;
	pthread_cond_t wake;	      /* the first deadline came closer, or stop */
	pthread_cond_t idle;	      /* a callback ended */
	struct timerq_timer **heap;   /* min-heap by deadline, under lock */
	size_t nr_armed, nr_timers;   /* under lock; the heap has room for nr_timers */
	struct timerq_timer *running; /* whose callback runs, under lock */
	pthread_t runner;	      /* the thread that runs it; valid while running is set */
	uint64_t sleeping_until_ns;   /* 0: awake; under lock */
	bool stop;		      /* under lock */
	unsigned int pauses;	      /* > 0: no callback begins; under lock */
	struct thread thread;
};

/*
 * timerq_init - an empty queue, not running yet.
 *
 * @q:      caller's memory, ended by timerq_done()
 * @clock:  lives as long; deadlines are its clock_now()
 * Thread: owner.
 */
void timerq_init(struct timerq *q, struct clock *clock);

/*
 * timerq_start - start the thread. Only with a clock that goes as fast as the host's: a fake one is moved by hand
 * and followed by timerq_run_due(). Returns 0; -EAGAIN. Thread: owner.
 */
_nodiscard_ int timerq_start(struct timerq *q, struct err *err);

/* timerq_done - stop the thread and free; waits for a running callback. Timers that are still armed
 * do not fire. A second call does nothing. Thread: owner, not a callback. */
void timerq_done(struct timerq *q);

/*
 * timerq_timer_init - make a timer known to the queue.
 *
 * Reserves room, so that arming never allocates. A timer is in one queue for its life.
 *
 * @t:       caller's memory; must be ended by timerq_timer_done()
 * @fn,@arg: the callback
 * Thread: any.
 */
void timerq_timer_init(struct timerq *q, struct timerq_timer *t, void (*fn)(void *arg), void *arg);

/* timerq_timer_done - timerq_cancel() and give the room back. A zeroed timer is left alone. Thread:
 * as timerq_cancel(). */
void timerq_timer_done(struct timerq *q, struct timerq_timer *t);

/*
 * timerq_arm - let the callback run at a time; replaces the earlier deadline when armed.
 *
 * @deadline_ns:  of the queue's clock; in the past: as soon as possible; UINT64_MAX: disarm
 * Thread: any. Allocates nothing, does not wait for callbacks.
 */
void timerq_arm(struct timerq *q, struct timerq_timer *t, uint64_t deadline_ns);

/* timerq_disarm - forget the deadline; the callback may be running now or be about to. Thread: any.
 */
void timerq_disarm(struct timerq *q, struct timerq_timer *t);

/*
 * timerq_cancel - forget the deadline and wait until the callback is not running, unless called
 * from that callback. Thread: any that holds no lock which the callback takes.
 */
void timerq_cancel(struct timerq *q, struct timerq_timer *t);

/* timerq_armed - whether a deadline is set. Thread: any; may be out of date on return. */
bool timerq_armed(struct timerq *q, struct timerq_timer *t);

/*
 * timerq_pause - no callback runs from the return on, until timerq_resume(). Timers may be armed meanwhile, and the clock
 * may be set. Nests. Thread: any but a callback, holding no lock that a callback takes.
 */
void timerq_pause(struct timerq *q);
void timerq_resume(struct timerq *q);

/*
 * timerq_run_due - run what is due on the calling thread; for tests and for loops that have their
 * own thread. Runs timers that callbacks arm in the past, too.
 *
 * Returns the next deadline, UINT64_MAX when nothing is armed. Thread: one at a time, and not while
 * the queue's thread runs.
 */
uint64_t timerq_run_due(struct timerq *q);

#endif
