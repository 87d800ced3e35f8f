// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interval timer. A counter that runs is a time and a reload value; its count and its output at any
 * moment follow from the clock ticks since then. Six modes (8254 data sheet):
 *
 *	0  output low, high when the count ends          3  square wave, reloads
 *	1  as 0, begins at the gate's edge               4  one low tick when the count ends
 *	2  one low tick in each period, reloads          5  as 4, begins at the gate's edge
 *
 * Only counter 0 has somebody who listens to its output (IRQ 0), so only it has a timer, armed for the
 * next rising edge. Rising edges that the host slept through are merged. The interrupt line is pulsed at
 * each edge; what the output is in between only a read-back tells.
 *
 * A counter with a gate that is low stands still: the ticks done so far are kept in paused_ticks.
 */
#include "vm/dev/i8254.h"

#include "base/checked.h"
#include "base/clock.h"
#include "vm/snapshot/state.h"

enum {
	PORT_BASE = 0x40,
	PORT_61 = 0x61,
	REG_CONTROL = 3,
	ACCESS_LOW = 1,
	ACCESS_HIGH = 2,
	ACCESS_BOTH = 3,
	P61_GATE2 = 1,
	P61_SPEAKER = 2,
	P61_REFRESH = 16,
	P61_OUT2 = 32,
	STATUS_OUT = 128,
	STATUS_NULL = 64,
};

/* A faster periodic interrupt would only keep the host's timer thread busy. */
#define MIN_PERIOD_NS UINT64_C(20000)
#define REFRESH_NS    UINT64_C(15085) /* the memory refresh bit toggles that often */

static uint64_t ns_to_ticks(uint64_t ns)
{
	return mul_div_u64(ns, I8254_HZ, NS_PER_S);
}

/* The first nanosecond at which @ticks have passed. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	return mul_div_u64(ticks, NS_PER_S, I8254_HZ) + 1;
}

static bool reloads(const struct i8254_counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Modes in which a low gate stops counting. In the others its edge starts it. */
static bool gate_stops(const struct i8254_counter *c)
{
	return c->mode == 0 || reloads(c) || c->mode == 4;
}

static bool is_running(const struct i8254_counter *c)
{
	return c->loaded && (gate_stops(c) ? c->gate : c->armed);
}

/* Ticks since the count was loaded. */
static uint64_t elapsed(const struct i8254_counter *c, uint64_t now)
{
	if (!is_running(c) || now < c->start_ns)
		return c->paused_ticks;
	return c->paused_ticks + ns_to_ticks(now - c->start_ns);
}

static uint32_t range_of(const struct i8254_counter *c)
{
	return c->bcd ? 10000 : 0x10000;
}

static uint16_t to_bcd(uint32_t v)
{
	return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint32_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

/* What a read of the counting element shows. */
static uint16_t current_count(const struct i8254_counter *c, uint64_t now)
{
	uint64_t t = elapsed(c, now);
	uint32_t v;

	if (!c->loaded)
		v = 0;
	else if (c->mode == 3)
		v = c->count - (uint32_t)(2 * t % c->count);
	else if (c->mode == 2)
		v = c->count - (uint32_t)(t % c->count);
	else /* counts on below zero */
		v = (uint32_t)((c->count + range_of(c) - t % range_of(c)) % range_of(c));
	v %= range_of(c);
	return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static bool output(const struct i8254_counter *c, uint64_t now)
{
	uint64_t t = elapsed(c, now);

	switch (c->mode) {
	case 0:
		return c->loaded && t >= c->count;
	case 1:
		return !c->armed || t >= c->count;
	case 2:
		return !is_running(c) || t % c->count != c->count - 1;
	case 3:
		return !is_running(c) || t % c->count < (c->count + 1) / 2;
	default:
		return !is_running(c) || t != c->count;
	}
}

/* Ticks since the load at which the output rises next after @t; UINT64_MAX: never. */
static uint64_t next_rise(const struct i8254_counter *c, uint64_t t)
{
	if (!is_running(c))
		return UINT64_MAX;
	if (reloads(c))
		return (t / c->count + 1) * c->count;
	if (c->mode >= 4)
		return t <= c->count ? (uint64_t)c->count + 1 : UINT64_MAX;
	return t < c->count ? c->count : UINT64_MAX;
}

static void rearm(struct i8254 *p)
{
	struct i8254_counter *c = &p->ch[0];
	uint64_t now = clock_now(p->clock), rise, at;

	rise = p->irq_disabled ? UINT64_MAX : next_rise(c, elapsed(c, now));
	if (rise == UINT64_MAX) {
		p->next_ns = UINT64_MAX;
	} else {
		at = c->start_ns + ticks_to_ns(rise - c->paused_ticks);
		p->next_ns = reloads(c) ? MAX(at, p->last_ns + MIN_PERIOD_NS) : at;
	}
	timerq_arm(p->timers, &p->timer, p->next_ns);
}

static void pulse_irq(struct i8254 *p)
{
	irq_set(&p->irq, true);
	irq_set(&p->irq, false);
}

static void fired(void *arg)
{
	struct i8254 *p = arg;
	uint64_t now = clock_now(p->clock);

	mutex_guard(&p->lock);
	if (now < p->next_ns)
		return; /* programmed anew while the callback was on its way */
	p->last_ns = now;
	pulse_irq(p);
	rearm(p);
}

/* The count register was written completely. */
static void load(struct i8254 *p, unsigned int n, uint16_t value)
{
	struct i8254_counter *c = &p->ch[n];
	uint64_t now = clock_now(p->clock);
	uint32_t count = c->bcd ? from_bcd(value) : value;
	uint32_t least = reloads(c) ? 2 : 1; /* 1 is illegal in modes 2 and 3 */

	if (!count)
		count = range_of(c);
	count = MAX(count, least);
	if (reloads(c) && c->loaded && is_running(c)) {
		/* Takes effect at the end of the present period. The phase is kept. */
		uint64_t t = elapsed(c, now), done = t - t % c->count;

		c->start_ns += ticks_to_ns(done) - 1;
		c->paused_ticks = 0;
		if (count <= t - done)
			c->start_ns = now;
	} else if (gate_stops(c)) {
		c->start_ns = now;
		c->paused_ticks = 0;
	}
	c->count = count;
	c->loaded = true;
	c->null_count = false;
	if (n == 0)
		rearm(p);
}

static void write_count(struct i8254 *p, unsigned int n, uint8_t value)
{
	struct i8254_counter *c = &p->ch[n];

	switch (c->access) {
	case ACCESS_LOW:
		load(p, n, value);
		break;
	case ACCESS_HIGH:
		load(p, n, (uint16_t)(value << 8));
		break;
	default:
		if (c->write_high) {
			c->write_high = false;
			load(p, n, (uint16_t)(value << 8 | c->write_low));
			break;
		}
		c->write_low = value;
		c->write_high = true;
		if (c->mode == 0) { /* the first byte stops the count */
			c->loaded = false;
			if (n == 0)
				rearm(p);
		}
	}
}

static void latch_count(struct i8254_counter *c, uint64_t now)
{
	if (c->count_latched)
		return;
	c->latch = current_count(c, now);
	c->count_latched = true;
}

static void latch_status(struct i8254_counter *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status =
		(uint8_t)((output(c, now) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) |
			  c->access << 4 | c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void read_back(struct i8254 *p, uint8_t command, uint64_t now)
{
	for (unsigned int n = 0; n < 3; n++) {
		if (!(command & 2 << n))
			continue;
		if (!(command & 0x20))
			latch_count(&p->ch[n], now);
		if (!(command & 0x10))
			latch_status(&p->ch[n], now);
	}
}

static void write_control(struct i8254 *p, uint8_t value)
{
	uint64_t now = clock_now(p->clock);
	unsigned int n = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
	struct i8254_counter *c;

	if (n == 3) {
		read_back(p, value, now);
		return;
	}
	c = &p->ch[n];
	if (access == 0) {
		latch_count(c, now);
		return;
	}
	*c = (struct i8254_counter){
		.mode = (uint8_t)(mode > 5 ? mode & 3 : mode), /* 6 and 7 are 2 and 3 */
		.access = (uint8_t)access,
		.bcd = value & 1,
		.gate = c->gate,
		.null_count = true,
		.count = 0x10000,
	};
	if (n == 0)
		rearm(p);
}

static uint8_t read_count(struct i8254 *p, unsigned int n)
{
	struct i8254_counter *c = &p->ch[n];
	uint16_t v;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : current_count(c, clock_now(p->clock));
	high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
	if (c->access == ACCESS_BOTH)
		c->read_high = !c->read_high;
	if (c->access != ACCESS_BOTH || high)
		c->count_latched = false;
	return (uint8_t)(high ? v >> 8 : v);
}

static void set_gate(struct i8254_counter *c, bool gate, uint64_t now)
{
	bool rise = gate && !c->gate;

	if (gate == c->gate)
		return;
	if (!gate && gate_stops(c)) {
		c->paused_ticks = elapsed(c, now);
		if (reloads(c))
			c->paused_ticks = 0; /* the edge that follows begins a new period */
	}
	c->gate = gate;
	if (!rise)
		return;
	c->start_ns = now;
	if (!gate_stops(c)) {
		c->armed = c->loaded;
		c->paused_ticks = 0;
	}
}

static uint64_t pit_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8254 *p = arg;

	mutex_guard(&p->lock);
	return off == REG_CONTROL ? 0xff : read_count(p, (unsigned int)off);
}

static void pit_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8254 *p = arg;

	mutex_guard(&p->lock);
	if (off == REG_CONTROL)
		write_control(p, (uint8_t)value);
	else
		write_count(p, (unsigned int)off, (uint8_t)value);
}

static uint64_t port61_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8254 *p = arg;
	uint64_t now;

	mutex_guard(&p->lock);
	now = clock_now(p->clock);
	return (p->ch[2].gate ? P61_GATE2 : 0) | (p->speaker ? P61_SPEAKER : 0) |
	       (now / REFRESH_NS & 1 ? P61_REFRESH : 0) | (output(&p->ch[2], now) ? P61_OUT2 : 0);
}

static void port61_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8254 *p = arg;

	mutex_guard(&p->lock);
	p->speaker = value & P61_SPEAKER;
	set_gate(&p->ch[2], value & P61_GATE2, clock_now(p->clock));
}

void i8254_disable_irq(struct i8254 *p, bool disable)
{
	mutex_guard(&p->lock);
	p->irq_disabled = disable;
	rearm(p);
}

void i8254_reset(struct i8254 *p)
{
	mutex_guard(&p->lock);
	for (unsigned int n = 0; n < 3; n++)
		p->ch[n] = (struct i8254_counter){
			.mode = 3, .access = ACCESS_BOTH, .gate = n != 2, .count = 0x10000
		};
	p->speaker = false;
	p->irq_disabled = false;
	rearm(p);
}

int i8254_init(struct i8254 *p, const struct board *board, struct err *err)
{
	int r;

	*p = (struct i8254){
		.pio = board->pio,
		.range = { .name = "pit",
			   .base = PORT_BASE,
			   .len = 4,
			   .read = pit_read,
			   .write = pit_write,
			   .arg = p,
			   .max_size = 1 },
		.port61 = { .name = "port61",
			    .base = PORT_61,
			    .len = 1,
			    .read = port61_read,
			    .write = port61_write,
			    .arg = p,
			    .max_size = 1 },
		.irq = irq_router_line(board->irqs, 0, IRQ_FROM_ISA),
		.clock = board->clock,
		.timers = board->timers,
	};
	mutex_init(&p->lock);
	timerq_timer_init(p->timers, &p->timer, fired, p);
	i8254_reset(p);
	r = bus_add(p->pio, &p->range, err);
	if (r == 0)
		r = bus_add(p->pio, &p->port61, err);
	if (r < 0)
		i8254_done(p);
	return r;
}

void i8254_done(struct i8254 *p)
{
	if (!p->pio)
		return;
	bus_del(p->pio, &p->range);
	bus_del(p->pio, &p->port61);
	timerq_timer_done(p->timers, &p->timer);
	pthread_mutex_destroy(&p->lock);
	p->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

enum { TICKS_BITS = 48 }; /* seven years */

static const struct state_field counter_fields[] = {
	STATE_MAX(struct i8254_counter, mode, 5),
	STATE_RANGE(struct i8254_counter, access, ACCESS_LOW, ACCESS_BOTH),
	STATE_BOOL(struct i8254_counter, bcd),
	STATE_BOOL(struct i8254_counter, gate),
	STATE_BOOL(struct i8254_counter, null_count),
	STATE_BOOL(struct i8254_counter, loaded),
	STATE_BOOL(struct i8254_counter, armed),
	STATE_BOOL(struct i8254_counter, write_high),
	STATE_BOOL(struct i8254_counter, read_high),
	STATE_ANY(struct i8254_counter, write_low),
	STATE_RANGE(struct i8254_counter, count, 1, 0x10000),
	STATE_TIME_PAST(struct i8254_counter, start_ns),
	STATE_MAX(struct i8254_counter, paused_ticks, UINT64_C(1) << TICKS_BITS),
	STATE_BOOL(struct i8254_counter, count_latched),
	STATE_BOOL(struct i8254_counter, status_latched),
	STATE_ANY(struct i8254_counter, latch),
	STATE_ANY(struct i8254_counter, status),
};

static const struct state_desc counter_state = {
	.name = "counter",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct i8254_counter, counter_fields),
};

static const struct state_field fields[] = {
	STATE_STRUCT(struct i8254, ch, &counter_state),
	STATE_BOOL(struct i8254, speaker),
	STATE_BOOL(struct i8254, irq_disabled),
	STATE_TIME_PAST(struct i8254, last_ns),
};

static void loaded(void *obj)
{
	struct i8254 *p = obj;

	mutex_guard(&p->lock);
	rearm(p);
}

const struct state_desc i8254_state = {
	.name = "i8254",
	.version = 1,
	STATE_LOCK(struct i8254, lock),
	STATE_TABLE(struct i8254, fields),
	.loaded = loaded,
};
