// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Steal time: how long a vCPU was ready and did not run. A guest that knows charges no process with it, and its
 * scheduler weighs its CPUs by it.
 *
 * What was not run is real time less the processor time of the vCPU's thread, less what it slept in HLT. Neither needs
 * a file of the host's, which a confined machine could not open (the kernel's own account of waiting, run_delay, is in
 * /proc). So what is counted as well is the time that a device kept the thread: the guest's CPU stood still then, too.
 * Counting is done where guests look next: when they take an interrupt.
 *
 * The structure has a byte that says whether the vCPU runs. Here "it does not" means that it sleeps in HLT; when the
 * host's scheduler takes the processor away, nobody tells us. The byte is worth having for that alone: a guest that
 * changes a mapping leaves a wish in it, instead of an interrupt that wakes the vCPU, and the TLB is flushed when that
 * runs again. Others write to the byte by compare and exchange, so every access here is atomic.
 *
 * On KVM the register is the kernel's, which knows more. While such a vCPU is at home the byte says that it runs, and a
 * wish stays for the kernel, whose TLB it means.
 */
#include <errno.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/pv/pv_priv.h"

enum { STEAL_ENABLE = 1, STEAL_RESERVED = 0x3e, STEAL_SIZE = 64 };
enum { OFF_STEAL = 0, OFF_VERSION = 8, OFF_PREEMPTED = 16 };
enum { PREEMPTED = 1 << 0, FLUSH_TLB = 1 << 1 };

static bool find(const struct cpu *c, struct pv_place *ret)
{
	uint64_t msr = c->st.pv_steal_time;

	return (msr & STEAL_ENABLE) &&
	       pv_place_find(c->grp, msr & ~(uint64_t)(STEAL_SIZE - 1), STEAL_SIZE, ret);
}

static _Atomic uint8_t *preempted(const struct pv_place *p)
{
	return pv_place_hva(p, OFF_PREEMPTED);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ns since some moment that this vCPU neither ran nor had nothing to do. */
static uint64_t not_run(const struct cpu *c)
{
	return cpu_group_now(c->grp) - c->pv.slept_ns - thread_cpu_ns();
}

static void add(const struct cpu *c, const struct pv_place *p, uint64_t ns)
{
	_Atomic uint64_t *steal = pv_place_hva(p, OFF_STEAL);
	_Atomic uint32_t *version = pv_place_hva(p, OFF_VERSION);
	uint32_t v = atomic_load_explicit(version, memory_order_relaxed) | 1;

	/* Only this thread writes; the guest reads again when the version was odd or has changed. */
	atomic_store_explicit(version, v, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(steal, atomic_load_explicit(steal, memory_order_relaxed) + ns,
			      memory_order_relaxed);
	atomic_store_explicit(version, v + 1, memory_order_release);
	pv_place_wrote(c->grp, p, 0, OFF_VERSION + 4);
}

int pv_steal_write(struct cpu *c, uint64_t value)
{
	struct pv_place p;

	if (value & STEAL_RESERVED)
		return -EINVAL;
	c->st.pv_steal_time = value;
	if (!find(c, &p))
		return 0;
	atomic_store(preempted(&p), 0);
	pv_place_wrote(c->grp, &p, OFF_PREEMPTED, 1);
	pv_runs(c);
	return 0;
}

void pv_runs(struct cpu *c)
{
	if (c->st.pv_steal_time & STEAL_ENABLE)
		c->pv.steal_base_ns = not_run(c);
}

void pv_tell_steal(struct cpu *c)
{
	uint64_t now;
	struct pv_place p;
	int64_t lost;

	if (!(c->st.pv_steal_time & STEAL_ENABLE) || c->grp->kvm)
		return;
	now = cpu_group_now(c->grp);
	if (now - c->pv.steal_looked_ns < NS_PER_MS)
		return;
	c->pv.steal_looked_ns = now;
	/* The clocks are not read at one moment: what is too much now is made up for the next time. */
	lost = (int64_t)(not_run(c) - c->pv.steal_base_ns);
	if (lost <= 0 || !find(c, &p))
		return;
	c->pv.steal_base_ns += (uint64_t)lost;
	c->stats.pv_steal_ns += (uint64_t)lost;
	add(c, &p, (uint64_t)lost);
}

void pv_sleeps(struct cpu *c)
{
	struct pv_place p;

	if (!find(c, &p))
		return;
	atomic_store(preempted(&p), PREEMPTED);
	pv_place_wrote(c->grp, &p, OFF_PREEMPTED, 1);
}

bool pv_awake(struct cpu *c)
{
	struct pv_place p;
	uint8_t old;

	if (!find(c, &p))
		return false;
	old = atomic_fetch_and(preempted(&p),
			       (uint8_t) ~(PREEMPTED | (c->grp->kvm ? 0 : FLUSH_TLB)));
	pv_place_wrote(c->grp, &p, OFF_PREEMPTED, 1);
	return old & FLUSH_TLB;
}
