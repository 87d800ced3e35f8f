// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The HPET. The main counter is the time since it was started; a comparator is armed for the counter
 * value of its next match (target), kept in 64 bits also when the comparator has 32, so that the match
 * after next is always known.
 *
 * A comparator set to a value that the counter has just passed fires at once instead of after the
 * counter's next turn: the guest computed it as "now and a little", and was slowed by its exits.
 * Late periodic matches are merged, and very short periods stretched.
 *
 * Source: IA-PC HPET specification 1.0a; interrupt routing as in ICH9 (I/O APIC pins 20 to 23).
 */
#include "vm/dev/hpet.h"

#include <errno.h>

#include "base/checked.h"
#include "base/clock.h"
#include "vm/dev/i8254.h"
#include "vm/dev/rtc.h"
#include "vm/snapshot/state.h"

enum {
	RANGE_LEN = 0x400,
	REG_CAP = 0x000,
	REG_CONFIG = 0x010,
	REG_ISR = 0x020,
	REG_COUNTER = 0x0f0,
	REG_TIMER = 0x100,
	TIMER_STRIDE = 0x20,
	TIMER_CONFIG = 0x00,
	TIMER_CMP = 0x08,
	TIMER_FSB = 0x10,

	CONFIG_ENABLE = 1,
	CONFIG_LEGACY = 2,

	TN_LEVEL = 1 << 1,
	TN_INT_ENABLE = 1 << 2,
	TN_PERIODIC = 1 << 3,
	TN_PERIODIC_CAP = 1 << 4,
	TN_64BIT_CAP = 1 << 5,
	TN_VALUE_SET = 1 << 6,
	TN_32BIT = 1 << 8,
	TN_ROUTE_SHIFT = 9,
	TN_FSB_ENABLE = 1 << 14,
	TN_FSB_CAP = 1 << 15,
	TN_WRITABLE = 0x7f4e,

	GSI_TIMER0 = 0, /* in legacy replacement mode */
	GSI_TIMER1 = 8,
};

#define CAPABILITIES (HPET_PERIOD_FS << 32 | 0x8086a001 | (HPET_TIMERS - 1) << 8)
#define TN_CAPS	     (UINT64_C(0x00f00000) << 32 | TN_PERIODIC_CAP | TN_64BIT_CAP | TN_FSB_CAP)
#define NS_PER_TICK  UINT64_C(10)
#define MIN_PERIOD   (UINT64_C(20000) / NS_PER_TICK)
#define TURN_32	     (UINT64_C(1) << 32)

static bool is_enabled(const struct hpet *h)
{
	return h->config & CONFIG_ENABLE;
}

static uint64_t counter(const struct hpet *h)
{
	if (!is_enabled(h))
		return h->offset;
	return h->offset + (clock_now(h->clock) - h->start_ns) / NS_PER_TICK;
}

/* --- interrupts --- */

static unsigned int gsi_of(const struct hpet_timer *t)
{
	if ((t->hpet->config & CONFIG_LEGACY) && t->index < 2)
		return t->index ? GSI_TIMER1 : GSI_TIMER0;
	return t->config >> TN_ROUTE_SHIFT & 31;
}

/* May this timer be wired to @gsi at all? What the guest writes may be anything. */
static bool may_route(const struct hpet_timer *t, unsigned int gsi)
{
	if ((t->hpet->config & CONFIG_LEGACY) && t->index < 2)
		return true;
	return TN_CAPS >> 32 >> gsi & 1;
}

/* Several timers may share a pin. */
static void drive(struct hpet *h, unsigned int gsi)
{
	struct irq_line line = irq_router_line(h->irqs, gsi, IRQ_FROM_HPET);
	bool level = false;

	for (unsigned int k = 0; k < HPET_TIMERS; k++)
		level = level || (h->t[k].line && h->t[k].line_gsi == gsi);
	irq_set(&line, level);
}

static void set_line(struct hpet_timer *t, bool level)
{
	unsigned int gsi = gsi_of(t);

	if (t->line && (!level || t->line_gsi != gsi)) {
		t->line = false;
		drive(t->hpet, t->line_gsi);
	}
	if (level && may_route(t, gsi)) {
		t->line = true;
		t->line_gsi = (uint8_t)gsi;
		drive(t->hpet, gsi);
	}
}

static void interrupt(struct hpet_timer *t)
{
	struct hpet *h = t->hpet;

	if (t->config & TN_LEVEL)
		h->isr |= UINT64_C(1) << t->index;
	if (!(t->config & TN_INT_ENABLE))
		return;
	if (t->config & TN_FSB_ENABLE) {
		if (h->msi)
			h->msi(h->msi_arg, t->fsb >> 32, (uint32_t)t->fsb);
		return;
	}
	set_line(t, true);
	if (!(t->config & TN_LEVEL))
		set_line(t, false);
}

/* --- matches --- */

static bool is_32bit(const struct hpet_timer *t)
{
	return t->config & TN_32BIT;
}

static bool is_periodic(const struct hpet_timer *t)
{
	return t->config & TN_PERIODIC;
}

static void arm_timer(struct hpet_timer *t)
{
	struct hpet *h = t->hpet;
	uint64_t at = UINT64_MAX;

	if (!is_enabled(h) || !t->armed || !mul_ok(t->target - h->offset, NS_PER_TICK, &at) ||
	    !add_ok(at, h->start_ns, &at))
		at = UINT64_MAX; /* off, or centuries away */
	timerq_arm(h->timers, &t->timer, at);
}

/* The comparator, the mode or the counter changed: when is the next match? */
static void aim(struct hpet_timer *t)
{
	uint64_t now = counter(t->hpet);
	int64_t ahead = is_32bit(t) ? (int32_t)(uint32_t)(t->cmp - now) : (int64_t)(t->cmp - now);

	t->armed = is_enabled(t->hpet);
	t->target = ahead > 0 ? now + (uint64_t)ahead : now;
	arm_timer(t);
}

/* A match happened at t->target: what comes after it? */
static void next_match(struct hpet_timer *t, uint64_t now)
{
	uint64_t period = is_32bit(t) ? (uint32_t)t->period : t->period, n;

	if (is_periodic(t) && period) {
		n = (now - t->target) / period + 1;
		if (!mul_ok(n, period, &n) || !add_ok(t->target, n, &t->target)) {
			t->armed = false;
			return;
		}
		t->cmp += n;
		if (is_32bit(t))
			t->cmp = (uint32_t)t->cmp;
		if (t->target - now < MIN_PERIOD && period < MIN_PERIOD)
			t->target = now + MIN_PERIOD;
	} else if (is_32bit(t)) {
		t->armed = add_ok(t->target, TURN_32, &t->target);
	} else {
		t->armed = false;
	}
}

static void fired(void *arg)
{
	struct hpet_timer *t = arg;
	struct hpet *h = t->hpet;
	uint64_t now;

	mutex_guard(&h->lock);
	now = counter(h);
	if (!is_enabled(h) || !t->armed || now < t->target)
		return; /* set anew while the callback was on its way */
	next_match(t, now);
	interrupt(t);
	arm_timer(t);
}

/* --- registers --- */

static uint64_t timer_read(const struct hpet_timer *t, uint64_t reg)
{
	switch (reg) {
	case TIMER_CONFIG:
		return t->config | TN_CAPS;
	case TIMER_CMP:
		return t->cmp;
	case TIMER_FSB:
		return t->fsb;
	default:
		return 0;
	}
}

static void write_timer_config(struct hpet_timer *t, uint64_t value)
{
	uint64_t old = t->config;

	t->config = value & TN_WRITABLE;
	if (is_32bit(t)) {
		t->cmp = (uint32_t)t->cmp;
		t->period = (uint32_t)t->period;
	}
	if (!(t->config & TN_LEVEL) || !(t->config & TN_INT_ENABLE))
		set_line(t, false);
	else if (t->hpet->isr >> t->index & 1)
		set_line(t, true);
	if ((old ^ t->config) & (TN_32BIT | TN_PERIODIC) ||
	    ((t->config & ~old) & TN_INT_ENABLE && !t->armed))
		aim(t);
}

/* @is_last: no half of a 64-bit value is still to come. */
static void write_cmp(struct hpet_timer *t, uint64_t value, bool is_last)
{
	if (is_32bit(t))
		value = (uint32_t)value;
	if (!is_periodic(t) || (t->config & TN_VALUE_SET))
		t->cmp = value;
	if (is_periodic(t))
		t->period = value;
	if (!is_periodic(t) || (t->config & TN_VALUE_SET))
		aim(t);
	if (is_last)
		t->config &= ~(uint64_t)TN_VALUE_SET;
}

static void write_config(struct hpet *h, uint64_t value)
{
	uint64_t old = h->config, now;
	bool legacy = value & CONFIG_LEGACY;

	now = counter(h);
	if ((old ^ value) & CONFIG_LEGACY) {
		for (unsigned int k = 0; k < 2; k++)
			set_line(&h->t[k], false);
		if (h->pit)
			i8254_disable_irq(h->pit, legacy);
		if (h->rtc)
			rtc_disable_irq(h->rtc, legacy);
	}
	h->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	if (!((old ^ value) & CONFIG_ENABLE))
		return;
	h->offset = now;
	h->start_ns = clock_now(h->clock);
	for (unsigned int k = 0; k < HPET_TIMERS; k++) {
		h->t[k].armed = false;
		if (is_enabled(h) && (h->t[k].config & TN_INT_ENABLE))
			aim(&h->t[k]);
		else
			arm_timer(&h->t[k]);
	}
}

static void write_isr(struct hpet *h, uint64_t value)
{
	h->isr &= ~value;
	for (unsigned int k = 0; k < HPET_TIMERS; k++)
		if (value >> k & 1)
			set_line(&h->t[k], false);
}

static uint64_t reg_read(const struct hpet *h, uint64_t reg)
{
	uint64_t n = (reg - REG_TIMER) / TIMER_STRIDE;

	switch (reg) {
	case REG_CAP:
		return CAPABILITIES;
	case REG_CONFIG:
		return h->config;
	case REG_ISR:
		return h->isr;
	case REG_COUNTER:
		return counter(h);
	default:
		if (reg < REG_TIMER || n >= HPET_TIMERS)
			return 0;
		return timer_read(&h->t[n], reg % TIMER_STRIDE);
	}
}

/* Puts @size bytes of @value at byte @at of a register. */
static uint64_t merge(uint64_t reg, unsigned int at, unsigned int size, uint64_t value)
{
	uint64_t mask = size >= 8 ? UINT64_MAX : ((UINT64_C(1) << (8 * size)) - 1) << (8 * at);

	return (reg & ~mask) | (value << (8 * at) & mask);
}

static uint64_t hpet_read(void *arg, uint64_t off, unsigned int size)
{
	struct hpet *h = arg;

	mutex_guard(&h->lock);
	return reg_read(h, off & ~UINT64_C(7)) >> (8 * (off & 7));
}

static void hpet_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct hpet *h = arg;
	uint64_t reg = off & ~UINT64_C(7), n = (reg - REG_TIMER) / TIMER_STRIDE;
	unsigned int at = off & 7;
	struct hpet_timer *t;

	mutex_guard(&h->lock);
	switch (reg) {
	case REG_CONFIG:
		write_config(h, merge(h->config, at, size, value));
		return;
	case REG_ISR:
		write_isr(h, merge(0, at, size, value));
		return;
	case REG_COUNTER:
		if (!is_enabled(h)) /* only a halted counter may be written */
			h->offset = merge(h->offset, at, size, value);
		return;
	default:
		break;
	}
	if (reg < REG_TIMER || n >= HPET_TIMERS)
		return;
	t = &h->t[n];
	switch (reg % TIMER_STRIDE) {
	case TIMER_CONFIG:
		write_timer_config(t, merge(t->config, at, size, value));
		break;
	case TIMER_CMP:
		/* In periodic mode the halves of the period come in two writes, too. */
		write_cmp(t, merge(is_periodic(t) ? t->period : t->cmp, at, size, value),
			  is_32bit(t) || at + size == 8);
		break;
	case TIMER_FSB:
		t->fsb = merge(t->fsb, at, size, value);
		break;
	default:
		break;
	}
}

void hpet_reset(struct hpet *h)
{
	mutex_guard(&h->lock);
	write_config(h, 0);
	h->isr = 0;
	h->offset = 0;
	for (unsigned int k = 0; k < HPET_TIMERS; k++) {
		struct hpet_timer *t = &h->t[k];

		set_line(t, false);
		t->config = t->period = t->fsb = 0;
		t->cmp = UINT64_MAX;
		t->armed = false;
		arm_timer(t);
	}
}

int hpet_init(struct hpet *h, const struct board *board, struct i8254 *pit, struct rtc *rtc,
	      struct err *err)
{
	int r;

	*h = (struct hpet){
		.mmio = board->mmio,
		.range = { .name = "hpet",
			   .base = HPET_BASE,
			   .len = RANGE_LEN,
			   .read = hpet_read,
			   .write = hpet_write,
			   .arg = h },
		.irqs = board->irqs,
		.clock = board->clock,
		.timers = board->timers,
		.msi = board->msi,
		.msi_arg = board->msi_arg,
		.pit = pit,
		.rtc = rtc,
	};
	mutex_init(&h->lock);
	for (unsigned int k = 0; k < HPET_TIMERS; k++) {
		h->t[k].hpet = h;
		h->t[k].index = k;
		timerq_timer_init(h->timers, &h->t[k].timer, fired, &h->t[k]);
	}
	hpet_reset(h);
	r = bus_add(h->mmio, &h->range, err);
	if (r < 0)
		hpet_done(h);
	return r;
}

void hpet_done(struct hpet *h)
{
	if (!h->mmio)
		return;
	bus_del(h->mmio, &h->range);
	for (unsigned int k = 0; k < HPET_TIMERS; k++)
		timerq_timer_done(h->timers, &h->t[k].timer);
	pthread_mutex_destroy(&h->lock);
	h->mmio = NULL;
}

void hpet_set_msi(struct hpet *h, void (*msi)(void *arg, uint64_t addr, uint32_t data), void *arg)
{
	mutex_guard(&h->lock);
	h->msi = msi;
	h->msi_arg = arg;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field timer_fields[] = {
	STATE_MAX(struct hpet_timer, config, TN_WRITABLE),
	STATE_ANY(struct hpet_timer, cmp),
	STATE_ANY(struct hpet_timer, period),
	STATE_ANY(struct hpet_timer, fsb),
	STATE_ANY(struct hpet_timer, target),
	STATE_BOOL(struct hpet_timer, armed),
	STATE_BOOL(struct hpet_timer, line),
	STATE_MAX(struct hpet_timer, line_gsi, IRQ_NR_GSI - 1),
};

static const struct state_desc timer_state = {
	.name = "timer",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct hpet_timer, timer_fields),
};

static const struct state_field fields[] = {
	STATE_MAX(struct hpet, config, CONFIG_ENABLE | CONFIG_LEGACY),
	STATE_MAX(struct hpet, isr, (1u << HPET_TIMERS) - 1),
	STATE_ANY(struct hpet, offset),
	STATE_TIME_PAST(struct hpet, start_ns),
	STATE_STRUCT(struct hpet, t, &timer_state),
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct hpet *h = next;

	for (unsigned int k = 0; k < HPET_TIMERS; k++)
		if (h->t[k].config & ~(uint64_t)TN_WRITABLE)
			return err_set(err, -EINVAL, "timer %u: reserved bits are set", k);
	return 0;
}

static void loaded(void *obj)
{
	struct hpet *h = obj;

	mutex_guard(&h->lock);
	for (unsigned int k = 0; k < HPET_TIMERS; k++)
		arm_timer(&h->t[k]);
}

const struct state_desc hpet_state = {
	.name = "hpet",
	.version = 1,
	STATE_LOCK(struct hpet, lock),
	STATE_TABLE(struct hpet, fields),
	.check = check,
	.loaded = loaded,
};
