/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thin layer over pthreads: names for threads, signals blocked (the main thread takes them, so a
 * handler never runs with a device's mutex held), and no return codes where a failure can only mean
 * that we broke a rule.
 *
 * What an instruction of the thread itself causes is not blocked: it cannot wait, so the kernel ends the
 * process, past every handler. An engine lives by its SIGFPE, the terminal is given back by the others.
 */
#include "sys/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"

static void (*on_begin)(const char *name);

void thread_on_begin(void (*fn)(const char *name))
{
	on_begin = fn;
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	pthread_setname_np(pthread_self(), t->name);
	if (on_begin)
		on_begin(t->name);
	t->fn(t->arg);
	return NULL;
}

/* Touched by the only thread there is. */
static struct {
	bool on;
	struct thread *first, **end;
} hold;

static int begin(struct thread *t, struct err *err)
{
	static const int own[] = { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
	sigset_t blocked, old;
	int e;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&blocked, own[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	e = pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e) {
		const char *name = t->name;

		t->name = NULL;
		errno = e;
		return err_set_errno(err, "start thread '%s'", name);
	}
	return 0;
}

int thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
		 struct err *err)
{
	*t = (struct thread){ .name = name, .fn = fn, .arg = arg, .is_held = hold.on };
	if (!hold.on)
		return begin(t, err);
	*hold.end = t;
	hold.end = &t->next;
	return 0;
}

void thread_hold(void)
{
	hold.on = true;
	hold.first = NULL;
	hold.end = &hold.first;
}

int thread_release(struct err *err)
{
	int r = 0;

	hold.on = false;
	while (r == 0 && hold.first) {
		struct thread *t = hold.first;

		hold.first = t->next;
		t->is_held = false;
		r = begin(t, err);
	}
	return r;
}

/* It ends before it began. */
static void forget(struct thread *t)
{
	struct thread **at = &hold.first;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	if (hold.on && !t->next)
		hold.end = at;
	t->name = NULL;
}

void thread_join(struct thread *t)
{
	int e;

	if (!t->name)
		return;
	if (t->is_held) {
		forget(t);
		return;
	}
	e = pthread_join(t->id, NULL);
	assert(e == 0);
	t->name = NULL;
}

void mutex_init(pthread_mutex_t *m)
{
	int e = pthread_mutex_init(m, NULL);

	assert(e == 0);
}

void mutex_lock(pthread_mutex_t *m)
{
	int e = pthread_mutex_lock(m);

	assert(e == 0);
}

void mutex_unlock(pthread_mutex_t *m)
{
	int e = pthread_mutex_unlock(m);

	assert(e == 0);
}

void mutex_unlockp(pthread_mutex_t **m)
{
	mutex_unlock(*m);
}

void cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int e;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	e = pthread_cond_init(c, &attr);
	assert(e == 0);
	pthread_condattr_destroy(&attr);
}

void cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	int e = pthread_cond_wait(c, m);

	assert(e == 0);
}

int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(deadline_ns / NS_PER_S),
		.tv_nsec = (long)(deadline_ns % NS_PER_S),
	};
	int e;

	if (deadline_ns == UINT64_MAX) {
		cond_wait(c, m);
		return 0;
	}
	e = pthread_cond_timedwait(c, m, &ts);
	assert(e == 0 || e == ETIMEDOUT);
	return -e;
}
