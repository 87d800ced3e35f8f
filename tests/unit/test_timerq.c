/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timers on a fake clock, without the thread, against a sorted array as the oracle; then the thread
 * on the real clock: it fires, and cancelling waits for a callback that runs.
 */
#include <semaphore.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "sys/timerq.h"
#include "unit.h"

struct probe {
	struct timerq *q;
	struct timerq_timer timer;
	unsigned fired;
	uint64_t rearm_ns; /* 0: once */
	uint64_t deadline; /* the oracle's; UINT64_MAX: not armed */
};

static void fire(void *arg)
{
	struct probe *p = arg;

	p->fired++;
	p->deadline = UINT64_MAX;
	if (p->rearm_ns) {
		p->deadline = p->timer.deadline_ns + p->rearm_ns;
		timerq_arm(p->q, &p->timer, p->deadline);
	}
}

static void test_order(void **state)
{
	struct clock_fake clock;
	struct probe a = { 0 }, b = { 0 };
	struct timerq q;

	clock_fake_init(&clock, 1000, 0);
	timerq_init(&q, &clock.clock);
	a.q = b.q = &q;
	timerq_timer_init(&q, &a.timer, fire, &a);
	timerq_timer_init(&q, &b.timer, fire, &b);
	assert_true(timerq_run_due(&q) == UINT64_MAX);

	timerq_arm(&q, &a.timer, 1500);
	timerq_arm(&q, &b.timer, 1200);
	assert_int_equal(timerq_run_due(&q), 1200);
	assert_true(timerq_armed(&q, &a.timer));
	clock_fake_advance(&clock, 199);
	assert_int_equal(timerq_run_due(&q), 1200);
	assert_int_equal(b.fired, 0);
	clock_fake_advance(&clock, 1);
	assert_int_equal(timerq_run_due(&q), 1500);
	assert_int_equal(b.fired, 1);
	assert_false(timerq_armed(&q, &b.timer));

	/* Arming again replaces; arming for ever disarms. */
	timerq_arm(&q, &a.timer, 1300);
	assert_int_equal(timerq_run_due(&q), 1300);
	timerq_arm(&q, &a.timer, UINT64_MAX);
	assert_true(timerq_run_due(&q) == UINT64_MAX);

	/* A periodic timer catches up, one callback for each period. */
	b.rearm_ns = 100;
	timerq_arm(&q, &b.timer, 1300);
	clock_fake_advance(&clock, 350);
	assert_int_equal(timerq_run_due(&q), 1600);
	assert_int_equal(b.fired, 1 + 3);
	timerq_cancel(&q, &b.timer);
	timerq_timer_done(&q, &a.timer);
	timerq_timer_done(&q, &a.timer);
	timerq_timer_done(&q, &b.timer);
	timerq_done(&q);
	timerq_done(&q);
}

static void test_random(void **state)
{
	enum { NR = 40 };
	struct probe probes[NR] = { 0 };
	struct clock_fake clock;
	struct timerq q;
	uint64_t x = 0;

	if (getrandom(&x, sizeof(x), 0) != (ssize_t)sizeof(x))
		x = 1;
	printf("# seed %#llx\n", (unsigned long long)x);
	x |= 1;
	clock_fake_init(&clock, 1, 0);
	timerq_init(&q, &clock.clock);
	for (int i = 0; i < NR; i++) {
		probes[i].q = &q;
		probes[i].deadline = UINT64_MAX;
		timerq_timer_init(&q, &probes[i].timer, fire, &probes[i]);
	}
	for (int step = 0; step < 5000; step++) {
		struct probe *p;
		uint64_t next = UINT64_MAX;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p = &probes[x % NR];
		if (x >> 60 < 10) {
			p->deadline = clock_now(&clock.clock) + (x >> 32) % 300;
			timerq_arm(&q, &p->timer, p->deadline);
		} else {
			p->deadline = UINT64_MAX;
			timerq_disarm(&q, &p->timer);
		}
		clock_fake_advance(&clock, (x >> 20) % 20);
		next = timerq_run_due(&q);
		for (int i = 0; i < NR; i++) {
			/* Everything due has fired, the rest is armed, and the first is known. */
			assert_true(probes[i].deadline > clock_now(&clock.clock));
			assert_true(probes[i].deadline >= next);
			assert_int_equal(timerq_armed(&q, &probes[i].timer),
					 probes[i].deadline != UINT64_MAX);
		}
	}
	for (int i = 0; i < NR; i++)
		timerq_timer_done(&q, &probes[i].timer);
	timerq_done(&q);
}

struct gate {
	struct timerq *q;
	struct timerq_timer timer;
	sem_t entered, leave;
	_Atomic int left;
};

static void pass_gate(void *arg)
{
	struct gate *g = arg;

	sem_post(&g->entered);
	sem_wait(&g->leave);
	g->left = 1;
}

static void open_gate(void *arg)
{
	sem_post(&((struct gate *)arg)->leave);
}

static void cancel_self(void *arg)
{
	struct gate *g = arg;

	timerq_arm(g->q, &g->timer, 1);
	timerq_cancel(g->q, &g->timer);
	sem_post(&g->entered);
}

static void test_pause(void **state)
{
	struct clock_fake clock;
	struct probe a = { 0 };
	struct timerq q;

	clock_fake_init(&clock, 1000, 0);
	timerq_init(&q, &clock.clock);
	a.q = &q;
	timerq_timer_init(&q, &a.timer, fire, &a);
	timerq_pause(&q);
	timerq_pause(&q);
	timerq_arm(&q, &a.timer, 900);
	timerq_resume(&q);
	timerq_run_due(&q);
	assert_int_equal(a.fired, 0);
	timerq_resume(&q);
	timerq_run_due(&q);
	assert_int_equal(a.fired, 1);
	timerq_timer_done(&q, &a.timer);
	timerq_done(&q);
}

/* A clock that was set: the thread sleeps as long as that one says. */
static void test_shifted(void **state)
{
	struct clock_shifted clock;
	struct gate g = { 0 };
	struct timerq q;
	uint64_t began;

	clock_shifted_init(&clock);
	clock_shifted_set(&clock, UINT64_C(1) << 60);
	timerq_init(&q, &clock.clock);
	g.q = &q;
	sem_init(&g.entered, 0, 0);
	sem_init(&g.leave, 0, 1);
	timerq_timer_init(&q, &g.timer, pass_gate, &g);
	assert_int_equal(timerq_start(&q, NULL), 0);
	began = clock_now(clock_real());
	timerq_arm(&q, &g.timer, (UINT64_C(1) << 60) + NS_PER_S / 10);
	sem_wait(&g.entered);
	assert_true(clock_now(clock_real()) - began >= NS_PER_S / 20);
	/* Paused with the thread asleep, and gone on with what became due. */
	timerq_pause(&q);
	timerq_arm(&q, &g.timer, 1);
	assert_int_equal(sem_trywait(&g.entered), -1);
	sem_post(&g.leave);
	timerq_resume(&q);
	sem_wait(&g.entered);
	timerq_timer_done(&q, &g.timer);
	timerq_done(&q);
}

static void test_thread(void **state)
{
	struct gate g = { 0 };
	struct thread opener;
	struct timerq q;

	timerq_init(&q, clock_real());
	assert_int_equal(timerq_start(&q, NULL), 0);
	g.q = &q;
	sem_init(&g.entered, 0, 0);
	sem_init(&g.leave, 0, 0);
	timerq_timer_init(&q, &g.timer, pass_gate, &g);

	/* The thread sleeps towards a far deadline and must notice the near one. */
	timerq_arm(&q, &g.timer, clock_now(clock_real()) + 3600 * NS_PER_S);
	timerq_arm(&q, &g.timer, clock_now(clock_real()) + NS_PER_MS);
	sem_wait(&g.entered);
	/* The callback runs: cancelling returns only after it has left. */
	assert_int_equal(thread_start(&opener, "open", open_gate, &g, NULL), 0);
	timerq_cancel(&q, &g.timer);
	assert_int_equal(g.left, 1);
	thread_join(&opener);
	timerq_timer_done(&q, &g.timer);

	/* A callback may cancel itself without waiting for itself. */
	timerq_timer_init(&q, &g.timer, cancel_self, &g);
	timerq_arm(&q, &g.timer, 1);
	sem_wait(&g.entered);
	timerq_cancel(&q, &g.timer);
	assert_false(timerq_armed(&q, &g.timer));
	timerq_timer_done(&q, &g.timer);
	timerq_done(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),  cmocka_unit_test(test_random),
		cmocka_unit_test(test_pause),  cmocka_unit_test(test_shifted),
		cmocka_unit_test(test_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
