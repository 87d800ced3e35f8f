/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The timers of a machine are few (one a vCPU and a handful of devices) but are armed very often: a
 * guest in periodic-tick or deadline mode reprograms its APIC timer thousands of times a second. So
 * arming allocates nothing, makes no system call unless the new deadline is before the one the
 * thread sleeps towards, and the heap's array is sized when a timer is made known.
 *
 * One thread and a condition variable instead of one timerfd a timer: reprogramming a timerfd is a
 * system call each time, and expiries would have to be read. The thread sets its timer slack to
 * 1 ns; the default of 50 us would be added to every tick of the guest.
 *
 *   not armed --arm--> armed --deadline--> running --fn returns--> not armed (or armed by fn)
 *       ^-------- disarm/cancel --'
 */
#include "sys/timerq.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "base/metric.h"

static void heap_set(struct timerq *q, size_t i, struct timerq_timer *t)
{
	q->heap[i] = t;
	t->heap_index = i + 1;
}

/* Moves the timer towards the root from the free place i. */
static void heap_up(struct timerq *q, size_t i, struct timerq_timer *t)
{
	while (i > 0 && q->heap[(i - 1) / 2]->deadline_ns > t->deadline_ns) {
		heap_set(q, i, q->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_set(q, i, t);
}

/* Moves the timer towards the leaves from the free place i. */
static void heap_down(struct timerq *q, size_t i, struct timerq_timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= q->nr_armed)
			break;
		if (child + 1 < q->nr_armed &&
		    q->heap[child + 1]->deadline_ns < q->heap[child]->deadline_ns)
			child++;
		if (q->heap[child]->deadline_ns >= t->deadline_ns)
			break;
		heap_set(q, i, q->heap[child]);
		i = child;
	}
	heap_set(q, i, t);
}

static void heap_remove(struct timerq *q, struct timerq_timer *t)
{
	size_t i = t->heap_index - 1;
	struct timerq_timer *last;

	t->heap_index = 0;
	last = q->heap[--q->nr_armed];
	if (last == t)
		return;
	if (last->deadline_ns < t->deadline_ns)
		heap_up(q, i, last);
	else
		heap_down(q, i, last);
}

static uint64_t first_deadline(const struct timerq *q)
{
	return q->nr_armed ? q->heap[0]->deadline_ns : UINT64_MAX;
}

void timerq_init(struct timerq *q, struct clock *clock)
{
	*q = (struct timerq){ .clock = clock };
	mutex_init(&q->lock);
	cond_init(&q->wake);
	cond_init(&q->idle);
}

/* Runs the callbacks that are due. The lock is held on entry and exit, not during callbacks. */
static void run_due(struct timerq *q)
{
	while (!q->stop && !q->pauses && q->nr_armed) {
		struct timerq_timer *t = q->heap[0];
		uint64_t now = clock_now(q->clock);

		if (t->deadline_ns > now)
			return;
		heap_remove(q, t);
		q->running = t;
		q->runner = pthread_self();
		metric_inc(METRIC_timer_fired);
		metric_add(METRIC_timer_late_us, (now - t->deadline_ns) / NS_PER_US);
		mutex_unlock(&q->lock);
		t->fn(t->arg);
		mutex_lock(&q->lock);
		/* From here on t may be gone: its callback may have freed it. */
		q->running = NULL;
		pthread_cond_broadcast(&q->idle);
	}
}

/* The host's time at that of our clock, which may have been set. */
static uint64_t host_time(const struct timerq *q, uint64_t ns)
{
	uint64_t now = clock_now(q->clock);

	if (q->clock == clock_real() || ns == UINT64_MAX)
		return ns;
	return clock_now(clock_real()) + (ns > now ? ns - now : 0);
}

static void queue_main(void *arg)
{
	struct timerq *q = arg;

	/* Without it timers are only less exact. */
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	mutex_lock(&q->lock);
	while (!q->stop) {
		run_due(q);
		if (q->stop)
			break;
		/* Paused: whoever resumes wakes us, and nobody else need. */
		q->sleeping_until_ns = q->pauses ? 0 : first_deadline(q);
		/* Woken or timed out: either way the heap is looked at again. */
		(void)cond_wait_until(&q->wake, &q->lock,
				      q->pauses ? UINT64_MAX : host_time(q, q->sleeping_until_ns));
		q->sleeping_until_ns = 0;
	}
	mutex_unlock(&q->lock);
}

int timerq_start(struct timerq *q, struct err *err)
{
	return thread_start(&q->thread, "timers", queue_main, q, err);
}

void timerq_done(struct timerq *q)
{
	if (!q->clock)
		return;
	mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_signal(&q->wake);
	mutex_unlock(&q->lock);
	thread_join(&q->thread);
	pthread_cond_destroy(&q->idle);
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	free(q->heap);
	*q = (struct timerq){ 0 };
}

void timerq_timer_init(struct timerq *q, struct timerq_timer *t, void (*fn)(void *arg), void *arg)
{
	mutex_guard(&q->lock);
	*t = (struct timerq_timer){ .fn = fn, .arg = arg };
	q->nr_timers++;
	q->heap = mem_renew(q->heap, q->nr_timers, sizeof(*q->heap));
}

void timerq_timer_done(struct timerq *q, struct timerq_timer *t)
{
	if (!t->fn)
		return;
	timerq_cancel(q, t);
	mutex_guard(&q->lock);
	q->nr_timers--;
	*t = (struct timerq_timer){ 0 };
}

void timerq_arm(struct timerq *q, struct timerq_timer *t, uint64_t deadline_ns)
{
	mutex_guard(&q->lock);
	assert(t->fn);
	if (t->heap_index)
		heap_remove(q, t);
	if (deadline_ns == UINT64_MAX)
		return;
	t->deadline_ns = deadline_ns;
	heap_up(q, q->nr_armed++, t);
	if (deadline_ns < q->sleeping_until_ns) {
		/* One wake-up is enough until the thread sleeps again. */
		q->sleeping_until_ns = 0;
		pthread_cond_signal(&q->wake);
	}
}

void timerq_disarm(struct timerq *q, struct timerq_timer *t)
{
	timerq_arm(q, t, UINT64_MAX);
}

void timerq_cancel(struct timerq *q, struct timerq_timer *t)
{
	mutex_guard(&q->lock);
	if (t->heap_index)
		heap_remove(q, t);
	while (q->running == t && !pthread_equal(q->runner, pthread_self()))
		cond_wait(&q->idle, &q->lock);
	/* The callback that was waited for may have armed it once more. */
	if (t->heap_index)
		heap_remove(q, t);
}

bool timerq_armed(struct timerq *q, struct timerq_timer *t)
{
	mutex_guard(&q->lock);
	return t->heap_index != 0;
}

uint64_t timerq_run_due(struct timerq *q)
{
	mutex_guard(&q->lock);
	run_due(q);
	return first_deadline(q);
}

void timerq_pause(struct timerq *q)
{
	mutex_guard(&q->lock);
	q->pauses++;
	while (q->running)
		cond_wait(&q->idle, &q->lock);
}

void timerq_resume(struct timerq *q)
{
	mutex_guard(&q->lock);
	if (!--q->pauses)
		pthread_cond_signal(&q->wake);
}
