/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that comes out of a snapshot is told so by an interrupt, and its kernel reseeds its random numbers: not in the handler,
 * but in a thread that its scheduler runs some milliseconds later (measured: 6 to 35, because all this code is cold).
 * Programs that ask for random numbers meanwhile get the same ones in each copy. So no vCPU executes an instruction of user
 * mode until that thread is done: until a vCPU has read the new identifier, and after that wants to go back to user mode or
 * to sleep. A vCPU in user mode sleeps as if it were halted; interrupts wake it, and its scheduler runs what waits.
 *
 * Rejected: holding whole vCPUs but the one that gets the interrupt, which does not hold the programs of that one; a longer
 * time instead of a sign, which is too short on a host that is busy and too long on others. What a program had begun to ask for when
 * the machine was saved it gets in each copy.
 */
#include "cpu/hold.h"

#include "base/attr.h"
#include "cpu/cpu_priv.h"

/* Longer than any kernel takes that has the driver, which is known when this begins. */
#define LIMIT_NS (5 * NS_PER_S)

static void end(void *arg)
{
	struct cpu_group *grp = arg;

	if (!atomic_exchange(&grp->hold.is_on, false))
		return;
	for (unsigned int k = 0; k < grp->nr; k++)
		cpu_wake(grp->cpu[k], CPU_PEND_EVENT);
}

void hold_init(struct cpu_group *grp)
{
	timerq_timer_init(grp->timers, &grp->hold.end, end, grp);
}

void hold_done(struct cpu_group *grp)
{
	timerq_timer_done(grp->timers, &grp->hold.end);
}

void cpu_group_hold_user(struct cpu_group *grp, uint64_t gpa)
{
	grp->hold.gpa = gpa;
	atomic_store(&grp->hold.seen_by, -1);
	atomic_store(&grp->hold.is_on, true);
	timerq_arm(grp->timers, &grp->hold.end, clock_now(grp->clock) + LIMIT_NS);
}

static bool has_looked(const struct cpu *c)
{
	return atomic_load(&c->grp->hold.is_on) &&
	       atomic_load(&c->grp->hold.seen_by) == (int)c->index;
}

void hold_idle(struct cpu *c)
{
	if (unlikely(has_looked(c)))
		end(c->grp);
}

bool hold_keeps(struct cpu *c)
{
	if (likely(!atomic_load_explicit(&c->grp->hold.is_on, memory_order_relaxed)) ||
	    c->engine == &kvm_engine || cpu_state_cpl(&c->st) != 3)
		return false;
	hold_idle(c);
	return atomic_load(&c->grp->hold.is_on);
}

void hold_read(struct cpu *c, uint64_t gpa)
{
	struct cpu_hold *h = &c->grp->hold;

	if (unlikely(atomic_load_explicit(&h->is_on, memory_order_relaxed)) &&
	    (gpa & ~GUEST_PAGE_MASK) == h->gpa)
		atomic_store(&h->seen_by, (int)c->index);
}
