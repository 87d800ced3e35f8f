// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hyper-V's synthetic timers (TLFS 12.5): four a vCPU, in reference time, once at a time or again and again, which interrupt
 * the vCPU directly or post a message.
 *
 *	         count or config written, enabled       reference time >= due
 *	stopped --------------------------------> due ------------------------> once: stopped, not enabled
 *	                                                                  ---> periodic: due moves on by the count
 *	                              a message that finds its slot taken waits in `expired` until EOM
 *
 * As with the APIC's timer, the machine's timer queue wakes us, perhaps late, and its callback looks again whether it
 * is time. Late periods are merged into one, short ones are stretched: a guest must not keep the timer thread busy.
 * Everything under apic_lock; interrupts are raised after it was released.
 */
#include <errno.h>

#include "base/clock.h"
#include "cpu/pv/hv_priv.h"
#include "sys/thread.h"

enum {
	CONFIG_ENABLE = 1 << 0,
	CONFIG_PERIODIC = 1 << 1,
	CONFIG_AUTO_ENABLE = 1 << 3,
	CONFIG_VECTOR_SHIFT = 4,
	CONFIG_DIRECT = 1 << 12,
	CONFIG_SINT_SHIFT = 16,
	CONFIG_VALID = 0xf1fff,
};
enum { MIN_PERIOD_TICKS = 200, NO_VECTOR = 0 };
#define FAR_TICKS (UINT64_C(1) << 50)

static unsigned int sint_of(const struct cpu_hv_timer *t)
{
	return t->config >> CONFIG_SINT_SHIFT & (CPU_HV_SINTS - 1);
}

static uint64_t period(const struct cpu_hv_timer *t)
{
	return MAX(t->count, (uint64_t)MIN_PERIOD_TICKS);
}

/* Let the queue wake us when it is due. */
static void arm(struct cpu *c, unsigned int k)
{
	const struct cpu_hv_timer *t = &c->st.hv.timer[k];
	struct timerq_timer *host = &c->pv.hv_timer[k].timer;
	uint64_t now = hv_now(c), ticks;

	if (!t->due) {
		timerq_disarm(c->grp->timers, host);
		return;
	}
	ticks = t->due > now ? MIN(t->due - now, FAR_TICKS) : 0;
	/* One more tick keeps us from looking too early. */
	timerq_arm(c->grp->timers, host,
		   clock_now(c->grp->clock) + (ticks ? ticks + 1 : 0) * HV_TICK_NS);
}

/* The interrupt of an expiry, or NO_VECTOR. */
static uint8_t tell(struct cpu *c, unsigned int k)
{
	struct cpu_hv_timer *t = &c->st.hv.timer[k];
	int r;

	if (t->config & CONFIG_DIRECT) {
		t->expired = 0;
		return (uint8_t)(t->config >> CONFIG_VECTOR_SHIFT);
	}
	r = hv_synic_post_locked(c, sint_of(t), k, t->expired);
	if (r == HV_SLOT_BUSY)
		return NO_VECTOR;
	t->expired = 0;
	return (uint8_t)r;
}

/* Do what is due; returns the vector to raise, or NO_VECTOR. */
static uint8_t look(struct cpu *c, unsigned int k)
{
	struct cpu_hv_timer *t = &c->st.hv.timer[k];
	uint64_t now = hv_now(c);

	if (!t->due || now < t->due)
		return NO_VECTOR;
	t->expired = t->due;
	if (t->config & CONFIG_PERIODIC) {
		t->due = now + period(t) - (now - t->due) % period(t);
	} else {
		t->due = 0;
		t->config &= ~(uint64_t)CONFIG_ENABLE;
	}
	return tell(c, k);
}

/* It was written to: begin anew. */
static uint8_t restart(struct cpu *c, unsigned int k)
{
	struct cpu_hv_timer *t = &c->st.hv.timer[k];
	uint8_t vector;

	t->due = t->expired = 0;
	if ((t->config & CONFIG_ENABLE) && t->count)
		t->due = t->config & CONFIG_PERIODIC ? hv_now(c) + period(t) : t->count;
	vector = look(c, k);
	arm(c, k);
	return vector;
}

static void fired(void *arg)
{
	struct pv_hv_timer *host = arg;
	struct cpu *c = host->c;
	unsigned int k = (unsigned int)(host - c->pv.hv_timer);
	uint8_t vector;

	mutex_lock(&c->apic_lock);
	vector = look(c, k);
	arm(c, k);
	mutex_unlock(&c->apic_lock);
	if (vector != NO_VECTOR)
		hv_raise(c, vector);
}

void hv_timers_init(struct cpu *c)
{
	for (unsigned int k = 0; k < CPU_HV_TIMERS; k++) {
		c->pv.hv_timer[k].c = c;
		timerq_timer_init(c->grp->timers, &c->pv.hv_timer[k].timer, fired,
				  &c->pv.hv_timer[k]);
	}
}

void hv_timers_done(struct cpu *c)
{
	for (unsigned int k = 0; k < CPU_HV_TIMERS; k++)
		timerq_timer_done(c->grp->timers, &c->pv.hv_timer[k].timer);
}

void hv_timers_loaded(struct cpu *c)
{
	mutex_guard(&c->apic_lock);
	for (unsigned int k = 0; k < CPU_HV_TIMERS; k++)
		arm(c, k);
}

void hv_timers_retry(struct cpu *c)
{
	for (unsigned int k = 0; k < CPU_HV_TIMERS; k++) {
		uint8_t vector = NO_VECTOR;

		mutex_lock(&c->apic_lock);
		if (c->st.hv.timer[k].expired)
			vector = tell(c, k);
		mutex_unlock(&c->apic_lock);
		if (vector != NO_VECTOR)
			hv_raise(c, vector);
	}
}

int hv_timer_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	const struct cpu_hv_timer *t = &c->st.hv.timer[(index - HV_MSR_STIMER0_CONFIG) / 2];

	mutex_guard(&c->apic_lock);
	*ret = (index - HV_MSR_STIMER0_CONFIG) & 1 ? t->count : t->config;
	return 0;
}

static int config_check(const struct cpu *c, uint64_t value)
{
	if (value & ~(uint64_t)CONFIG_VALID)
		return -EINVAL;
	if ((value & CONFIG_DIRECT) && !cpuid_has(&c->grp->cpuid, CPUID_HV_STIMER_DIRECT))
		return -EINVAL;
	return 0;
}

int hv_timer_write(struct cpu *c, uint32_t index, uint64_t value)
{
	unsigned int k = (index - HV_MSR_STIMER0_CONFIG) / 2;
	struct cpu_hv_timer *t = &c->st.hv.timer[k];
	bool is_count = (index - HV_MSR_STIMER0_CONFIG) & 1;
	uint8_t vector;

	if (!is_count && config_check(c, value) < 0)
		return -EINVAL;
	mutex_lock(&c->apic_lock);
	if (is_count) {
		t->count = value;
		if (!value)
			t->config &= ~(uint64_t)CONFIG_ENABLE;
		else if (t->config & CONFIG_AUTO_ENABLE)
			t->config |= CONFIG_ENABLE;
	} else {
		t->config = value;
		/* Source 0 is nobody's. */
		if (!(value & CONFIG_DIRECT) && !sint_of(t))
			t->config &= ~(uint64_t)CONFIG_ENABLE;
	}
	vector = restart(c, k);
	mutex_unlock(&c->apic_lock);
	if (vector != NO_VECTOR)
		hv_raise(c, vector);
	return 0;
}
