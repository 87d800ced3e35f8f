// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC's timer. Nothing counts: a count-down is the guest time at which it began and a number
 * of ticks, and the current count is computed when it is read. The machine's timer queue wakes us at the
 * end. Its callback may come late, so whoever looks at the timer first (a read of the count, a change of
 * mode) completes what is due: an expiry is never seen before its interrupt.
 *
 *	             write of initial count            end of the count
 *	stopped  ------------------------------> counting ---> one-shot: stopped
 *	(start_ns = APIC_TIMER_STOPPED)                   ---> periodic: counting, start_ns moved on
 *
 * In TSC-deadline mode the deadline register takes the place of the count, and is cleared at expiry.
 * Late periodic expiries are merged into one, and very short periods are stretched: a guest must not
 * keep the timer thread busy.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "cpu/apic_priv.h"
#include "sys/thread.h"

#define MIN_PERIOD_NS UINT64_C(20000)
#define FAR_NS	      (UINT64_C(1) << 60)
#define TICK_NS	      (NS_PER_S / APIC_TIMER_HZ)

static uint32_t divider(const struct cpu_apic_state *a)
{
	uint32_t v = (a->timer_divide & 3) | (a->timer_divide & 8) >> 1;

	return v == 7 ? 1 : UINT32_C(2) << v;
}

/* How long one step of the count takes. */
static uint64_t step_ns(const struct cpu_apic_state *a)
{
	return divider(a) * TICK_NS;
}

static uint64_t duration_ns(const struct cpu_apic_state *a)
{
	return a->timer_initial * step_ns(a);
}

static uint32_t timer_mode(const struct cpu_apic_state *a)
{
	return a->lvt_timer & APIC_LVT_TIMER_MODE;
}

static bool is_counting(const struct cpu_apic_state *a)
{
	return a->timer_start_ns != APIC_TIMER_STOPPED && a->timer_initial != 0;
}

static bool expire(struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;

	if (a->lvt_timer & APIC_LVT_MASKED)
		return false;
	c->stats.apic_timer++;
	return apic_fixed_locked(c, (uint8_t)a->lvt_timer, false);
}

static bool sync_count(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint64_t now = cpu_group_now(c->grp), period = duration_ns(a);

	if (!is_counting(a) || now < a->timer_start_ns || now - a->timer_start_ns < period)
		return false;
	if (timer_mode(a) == APIC_LVT_TIMER_PERIODIC)
		a->timer_start_ns = now - (now - a->timer_start_ns) % period;
	else
		a->timer_start_ns = APIC_TIMER_STOPPED;
	return expire(c);
}

bool apic_timer_sync(struct cpu *c)
{
	struct cpu_apic_state *a = &c->st.apic;

	switch (timer_mode(a)) {
	case APIC_LVT_TIMER_ONESHOT:
	case APIC_LVT_TIMER_PERIODIC:
		return sync_count(c);
	case APIC_LVT_TIMER_DEADLINE:
		if (!a->tsc_deadline || cpu_read_tsc(c) < a->tsc_deadline)
			return false;
		a->tsc_deadline = 0;
		return expire(c);
	default:
		return false;
	}
}

/* Host time at which something is due; UINT64_MAX: nothing. */
static uint64_t next_deadline(const struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;
	uint64_t at, now, tsc, ticks;

	if (atomic_load(&c->grp->apic_away))
		return UINT64_MAX;
	switch (timer_mode(a)) {
	case APIC_LVT_TIMER_ONESHOT:
	case APIC_LVT_TIMER_PERIODIC:
		if (!is_counting(a) || !add_ok(a->timer_start_ns, duration_ns(a), &at) ||
		    !add_ok(at, c->grp->start_ns, &at))
			return UINT64_MAX;
		if (timer_mode(a) == APIC_LVT_TIMER_PERIODIC && duration_ns(a) < MIN_PERIOD_NS)
			at = MAX(at, clock_now(c->grp->clock) + MIN_PERIOD_NS);
		return at;
	case APIC_LVT_TIMER_DEADLINE:
		if (!a->tsc_deadline)
			return UINT64_MAX;
		now = clock_now(c->grp->clock);
		tsc = cpu_read_tsc(c);
		if (tsc >= a->tsc_deadline)
			return now;
		ticks = a->tsc_deadline - tsc;
		/* The clock queue compares nanoseconds; one more keeps us from looking too early. */
		if (ticks / c->grp->tsc_khz >= FAR_NS / NS_PER_MS)
			return now + FAR_NS;
		return now + mul_div_u64(ticks, NS_PER_MS, c->grp->tsc_khz) + 1;
	default:
		return UINT64_MAX;
	}
}

void apic_timer_rearm(struct cpu *c)
{
	if (c->grp->timers)
		timerq_arm(c->grp->timers, &c->apic_timer, next_deadline(c));
}

void apic_timer_fired(void *arg)
{
	struct cpu *c = arg;
	bool wake;

	mutex_lock(&c->apic_lock);
	wake = apic_timer_sync(c);
	apic_timer_rearm(c);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
}

uint32_t apic_timer_current(const struct cpu *c)
{
	const struct cpu_apic_state *a = &c->st.apic;
	uint64_t elapsed, now = cpu_group_now(c->grp);

	if (timer_mode(a) > APIC_LVT_TIMER_PERIODIC || !is_counting(a) || now < a->timer_start_ns)
		return 0;
	elapsed = (now - a->timer_start_ns) / step_ns(a);
	if (elapsed < a->timer_initial)
		return a->timer_initial - (uint32_t)elapsed;
	if (timer_mode(a) == APIC_LVT_TIMER_ONESHOT)
		return 0;
	return a->timer_initial - (uint32_t)(elapsed % a->timer_initial);
}

bool apic_timer_set_initial(struct cpu *c, uint32_t count)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool wake;

	/* In TSC-deadline mode writes are ignored: SDM volume 3, 11.5.4.1. */
	if (timer_mode(a) == APIC_LVT_TIMER_DEADLINE)
		return false;
	wake = apic_timer_sync(c);
	a->timer_initial = count;
	a->timer_start_ns = count ? cpu_group_now(c->grp) : APIC_TIMER_STOPPED;
	apic_timer_rearm(c);
	return wake;
}

/* Lets the count-down go on from @current with what divider and mode are now. */
static void restart_from(struct cpu *c, uint32_t current)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint64_t now = cpu_group_now(c->grp);
	uint64_t done = (a->timer_initial - current) * step_ns(a);

	if (is_counting(a)) {
		/* Soon after the group was made there may be less guest time than ticks done. */
		a->timer_start_ns = now - MIN(done, now);
	}
	apic_timer_rearm(c);
}

void apic_timer_resume(struct cpu *c, uint32_t current)
{
	struct cpu_apic_state *a = &c->st.apic;

	a->timer_start_ns = current ? 0 : APIC_TIMER_STOPPED;
	restart_from(c, MIN(current, a->timer_initial));
}

bool apic_timer_set_divide(struct cpu *c, uint32_t value)
{
	bool wake = apic_timer_sync(c);
	uint32_t current = apic_timer_current(c);

	c->st.apic.timer_divide = value;
	restart_from(c, current);
	return wake;
}

bool apic_timer_set_lvt(struct cpu *c, uint32_t lvt)
{
	struct cpu_apic_state *a = &c->st.apic;
	uint32_t old_mode = timer_mode(a), new_mode = lvt & APIC_LVT_TIMER_MODE, current;
	bool wake = apic_timer_sync(c);

	current = apic_timer_current(c);
	a->lvt_timer = lvt;
	if (old_mode == new_mode)
		return wake;
	if (old_mode > APIC_LVT_TIMER_PERIODIC || new_mode > APIC_LVT_TIMER_PERIODIC) {
		/* To and from TSC-deadline mode the timer is disarmed. */
		a->timer_initial = 0;
		a->timer_start_ns = APIC_TIMER_STOPPED;
		a->tsc_deadline = 0;
	}
	restart_from(c, current);
	return wake;
}

bool apic_timer_set_deadline(struct cpu *c, uint64_t tsc)
{
	struct cpu_apic_state *a = &c->st.apic;
	bool wake;

	if (timer_mode(a) != APIC_LVT_TIMER_DEADLINE)
		return false;
	a->tsc_deadline = tsc;
	wake = apic_timer_sync(c); /* a deadline in the past expires at once */
	apic_timer_rearm(c);
	return wake;
}

void apic_init(struct cpu *c)
{
	c->st.apic.timer_start_ns = APIC_TIMER_STOPPED;
	if (c->grp->timers)
		timerq_timer_init(c->grp->timers, &c->apic_timer, apic_timer_fired, c);
}

void apic_done(struct cpu *c)
{
	if (c->grp->timers)
		timerq_timer_done(c->grp->timers, &c->apic_timer);
}

void apic_state_loaded(struct cpu *c)
{
	mutex_guard(&c->apic_lock);
	apic_timer_rearm(c);
}

void apic_tsc_changed(struct cpu *c)
{
	apic_state_loaded(c);
}
