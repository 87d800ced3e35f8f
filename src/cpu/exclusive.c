// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stop-the-world for the rare locked access that the host CPU cannot do in one piece.
 *
 * `in` counts vCPUs that may touch guest memory. The one that wants the world for itself sets `owner`,
 * tells the others through CPU_PEND_STOP, and waits until it is the only one in. Another one that wants
 * the same at that moment steps out while it waits (it is between two accesses and has changed
 * nothing), so two cannot wait for each other. The common case, entering and leaving cpu_run(), is one
 * uncontended lock.
 */
#include "cpu/exclusive.h"

#include <stdlib.h>

#include "base/mem.h"

struct exclusive {
	struct cpu_group *grp;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int in;
	_Atomic uint64_t inside; /* between exclusive_enter() and exclusive_leave(); a bit each */
	struct cpu *owner;
};

struct exclusive *exclusive_new(struct cpu_group *grp)
{
	struct exclusive *x = mem_new(sizeof(*x));

	x->grp = grp;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->changed, NULL);
	return x;
}

void exclusive_free(struct exclusive *x)
{
	if (!x)
		return;
	pthread_cond_destroy(&x->changed);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static void enter_locked(struct exclusive *x)
{
	while (x->owner)
		pthread_cond_wait(&x->changed, &x->lock);
	x->in++;
}

static void leave_locked(struct exclusive *x)
{
	x->in--;
	pthread_cond_broadcast(&x->changed);
}

void exclusive_enter(struct cpu *c)
{
	struct exclusive *x = c->grp->exclusive;

	pthread_mutex_lock(&x->lock);
	enter_locked(x);
	pthread_mutex_unlock(&x->lock);
	atomic_fetch_or(&x->inside, UINT64_C(1) << c->index);
}

void exclusive_leave(struct cpu *c)
{
	struct exclusive *x = c->grp->exclusive;

	atomic_fetch_and(&x->inside, ~(UINT64_C(1) << c->index));
	pthread_mutex_lock(&x->lock);
	leave_locked(x);
	pthread_mutex_unlock(&x->lock);
}

void exclusive_yield(struct cpu *c)
{
	struct exclusive *x = c->grp->exclusive;

	pthread_mutex_lock(&x->lock);
	atomic_fetch_and(&c->hot.pending, ~(uint32_t)CPU_PEND_STOP);
	if (x->owner && x->owner != c) {
		leave_locked(x);
		enter_locked(x);
	}
	pthread_mutex_unlock(&x->lock);
}

void exclusive_begin(struct cpu *c)
{
	struct exclusive *x = c->grp->exclusive;

	pthread_mutex_lock(&x->lock);
	if (x->owner) {
		leave_locked(x);
		enter_locked(x);
	}
	x->owner = c;
	for (unsigned int k = 0; k < x->grp->nr; k++)
		if (x->grp->cpu[k] && x->grp->cpu[k] != c)
			cpu_wake(x->grp->cpu[k], CPU_PEND_STOP);
	while (x->in > 1)
		pthread_cond_wait(&x->changed, &x->lock);
	pthread_mutex_unlock(&x->lock);
}

void exclusive_end(struct cpu *c)
{
	struct exclusive *x = c->grp->exclusive;

	pthread_mutex_lock(&x->lock);
	x->owner = NULL;
	pthread_cond_broadcast(&x->changed);
	pthread_mutex_unlock(&x->lock);
}

uint64_t exclusive_inside(const struct cpu_group *grp)
{
	return atomic_load(&grp->exclusive->inside);
}
