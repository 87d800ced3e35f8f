// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real-time clock. Nothing counts seconds: the time registers are made from the host's wall clock
 * plus the guest's offset whenever they are looked at, and flags that an update or a period would have
 * set are found by comparing with the last look. Timers run only while an interrupt of theirs is on.
 *
 * While SET is on, the time registers are plain memory; when it goes off, they become the new time,
 * that is a new offset. Values that are no time (month 77) are taken modulo what there is.
 *
 * Registers: MC146818A data sheet; century in 32h as the FADT says; memory sizes as PC firmware does.
 */
#include "vm/dev/rtc.h"

#include "base/checked.h"
#include "base/clock.h"
#include "vm/snapshot/state.h"

enum { PORT_INDEX = 0x70, RTC_GSI = 8 };

enum {
	REG_SECONDS = 0,
	REG_SECONDS_ALARM = 1,
	REG_MINUTES = 2,
	REG_MINUTES_ALARM = 3,
	REG_HOURS = 4,
	REG_HOURS_ALARM = 5,
	REG_WEEKDAY = 6,
	REG_DAY = 7,
	REG_MONTH = 8,
	REG_YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,
	REG_CENTURY = 0x32,
	A_UIP = 0x80,
	A_RATE = 15,
	A_RESET = 0x26,
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_BINARY = 4,
	B_24H = 2,
	B_RESET = B_24H,
	C_IRQF = 0x80,
	C_PF = 0x40,
	C_AF = 0x20,
	C_UF = 0x10,
	D_VALID = 0x80,
	HOUR_PM = 0x80,
	ALARM_ANY = 0xc0, /* both upper bits: every hour, minute or second matches */
	DAY_S = 86400,
};

#define UIP_NS	     (244 * NS_PER_US) /* the update is announced so long before */
#define NS_PER_S_I64 ((int64_t)NS_PER_S)

struct civil {
	int64_t year;
	unsigned int month, day, hour, minute, second, weekday; /* month, day from 1; Sunday is 1 */
};

/* The proleptic Gregorian calendar, by eras of 400 years that begin in March. */
static struct civil civil_of(int64_t seconds)
{
	int64_t days = seconds / DAY_S, of_day = seconds % DAY_S, era, doe, yoe, doy, mp;
	struct civil c;

	if (of_day < 0) {
		of_day += DAY_S;
		days--;
	}
	c.weekday = (unsigned int)(((days + 4) % 7 + 7) % 7) + 1;
	days += 719468; /* from 0000-03-01 to 1970-01-01 */
	era = (days >= 0 ? days : days - 146096) / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	c.day = (unsigned int)(doy - (153 * mp + 2) / 5 + 1);
	c.month = (unsigned int)(mp < 10 ? mp + 3 : mp - 9);
	c.year = yoe + era * 400 + (c.month <= 2);
	c.hour = (unsigned int)(of_day / 3600);
	c.minute = (unsigned int)(of_day / 60 % 60);
	c.second = (unsigned int)(of_day % 60);
	return c;
}

static int64_t seconds_of(const struct civil *c)
{
	int64_t y = c->year - (c->month <= 2), era = (y >= 0 ? y : y - 399) / 400,
		yoe = y - era * 400;
	int64_t doy = (153 * (c->month > 2 ? c->month - 3 : c->month + 9) + 2) / 5 + c->day - 1;
	int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;

	return days * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

static uint8_t encode(const struct rtc *r, unsigned int v)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned int decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned int hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static unsigned int decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v) % 24;
	return decode(r, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static int64_t guest_ns(const struct rtc *r)
{
	/* Wraps only for clocks set absurdly; the calendar then is just wrong. */
	return (int64_t)(clock_wall(r->clock) + (uint64_t)r->offset_ns);
}

static int64_t second_of_ns(int64_t ns)
{
	return ns / NS_PER_S_I64 - (ns % NS_PER_S_I64 < 0);
}

static unsigned int ns_in_second(int64_t ns)
{
	int64_t part = ns % NS_PER_S_I64;

	return (unsigned int)(part < 0 ? part + NS_PER_S_I64 : part);
}

/* The time into the registers, unless the guest is setting them. */
static void show_time(struct rtc *r)
{
	struct civil c;

	if (r->cmos[REG_B] & B_SET)
		return;
	c = civil_of(second_of_ns(guest_ns(r)));
	r->cmos[REG_SECONDS] = encode(r, c.second);
	r->cmos[REG_MINUTES] = encode(r, c.minute);
	r->cmos[REG_HOURS] = encode_hour(r, c.hour);
	r->cmos[REG_WEEKDAY] = encode(r, c.weekday);
	r->cmos[REG_DAY] = encode(r, c.day);
	r->cmos[REG_MONTH] = encode(r, c.month);
	r->cmos[REG_YEAR] = encode(r, (unsigned int)((c.year % 100 + 100) % 100));
	r->cmos[REG_CENTURY] = encode(r, (unsigned int)((c.year / 100 % 100 + 100) % 100));
}

/* The registers become the time. The part of the second goes on. */
static void take_time(struct rtc *r)
{
	unsigned int month = decode(r, r->cmos[REG_MONTH]), day = decode(r, r->cmos[REG_DAY]);
	struct civil c = {
		.year = (int64_t)decode(r, r->cmos[REG_CENTURY]) % 100 * 100 +
			decode(r, r->cmos[REG_YEAR]) % 100,
		.month = month ? (month - 1) % 12 + 1 : 1,
		.day = day ? (day - 1) % 31 + 1 : 1,
		.hour = decode_hour(r, r->cmos[REG_HOURS]),
		.minute = decode(r, r->cmos[REG_MINUTES]) % 60,
		.second = decode(r, r->cmos[REG_SECONDS]) % 60,
	};
	int64_t seconds = seconds_of(&c), now = guest_ns(r);
	int64_t shift;

	/* Years beyond 2262 do not fit nanoseconds: the clock then stays where it was. */
	if (!mul_ok(seconds - second_of_ns(now), NS_PER_S_I64, &shift) ||
	    !add_ok(r->offset_ns, shift, &shift))
		return;
	r->offset_ns = shift;
	r->last_second = second_of_ns(guest_ns(r));
}

static uint64_t period_ns(const struct rtc *r)
{
	unsigned int rate = r->cmos[REG_A] & A_RATE;

	if (!rate)
		return 0;
	if (rate < 3) /* 1 and 2 are the rates of 8 and 9 */
		rate += 7;
	return (UINT64_C(1) << (rate - 1)) * NS_PER_S / 32768;
}

static bool alarm_field(const struct rtc *r, unsigned int reg, unsigned int value)
{
	uint8_t alarm = r->cmos[reg];

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return true;
	return (reg == REG_HOURS_ALARM ? decode_hour(r, alarm) : decode(r, alarm)) == value;
}

static bool alarm_matches(const struct rtc *r, int64_t second)
{
	unsigned int of_day = (unsigned int)((second % DAY_S + DAY_S) % DAY_S);

	return alarm_field(r, REG_SECONDS_ALARM, of_day % 60) &&
	       alarm_field(r, REG_MINUTES_ALARM, of_day / 60 % 60) &&
	       alarm_field(r, REG_HOURS_ALARM, of_day / 3600);
}

static void update_irq(struct rtc *r)
{
	uint8_t *c = &r->cmos[REG_C];

	if (*c & r->cmos[REG_B] & (C_PF | C_AF | C_UF))
		*c |= C_IRQF;
	else
		*c &= (uint8_t)~C_IRQF;
	irq_set(&r->irq, (*c & C_IRQF) && !r->irq_disabled);
}

/* Sets the flags of what happened since the last look. */
static void catch_up(struct rtc *r)
{
	uint64_t now = clock_now(r->clock), period = period_ns(r);
	int64_t second = second_of_ns(guest_ns(r));

	if (period && now >= r->periodic_next_ns) {
		r->cmos[REG_C] |= C_PF;
		r->periodic_next_ns += ((now - r->periodic_next_ns) / period + 1) * period;
	}
	if (!(r->cmos[REG_B] & B_SET) && second > r->last_second) {
		r->cmos[REG_C] |= C_UF;
		/* An alarm comes once a day at least: more need not be looked at. */
		if (second - r->last_second > DAY_S)
			r->last_second = second - DAY_S;
		while (r->last_second < second && !(r->cmos[REG_C] & C_AF))
			if (alarm_matches(r, ++r->last_second))
				r->cmos[REG_C] |= C_AF;
	}
	r->last_second = second;
	update_irq(r);
}

static void rearm(struct rtc *r)
{
	uint8_t b = r->cmos[REG_B];
	uint64_t now = clock_now(r->clock);
	bool seconds = (b & (B_UIE | B_AIE)) && !(b & B_SET);

	timerq_arm(r->timers, &r->second_timer,
		   seconds ? now + NS_PER_S - ns_in_second(guest_ns(r)) : UINT64_MAX);
	timerq_arm(r->timers, &r->periodic_timer,
		   (b & B_PIE) && period_ns(r) ? r->periodic_next_ns : UINT64_MAX);
}

static void fired(void *arg)
{
	struct rtc *r = arg;

	mutex_guard(&r->lock);
	catch_up(r);
	rearm(r);
}

static void write_b(struct rtc *r, uint8_t value)
{
	bool was_set = r->cmos[REG_B] & B_SET;

	show_time(r); /* with the format as it was: the bytes are the guest's when SET comes on */
	r->cmos[REG_B] = value;
	if (was_set && !(value & B_SET))
		take_time(r);
}

static void write_a(struct rtc *r, uint8_t value)
{
	uint8_t old = r->cmos[REG_A];

	r->cmos[REG_A] = value & (uint8_t)~A_UIP;
	if ((old ^ value) & A_RATE)
		r->periodic_next_ns = clock_now(r->clock) + period_ns(r);
}

static void write_reg(struct rtc *r, uint8_t reg, uint8_t value)
{
	catch_up(r);
	switch (reg) {
	case REG_A:
		write_a(r, value);
		break;
	case REG_B:
		write_b(r, value);
		break;
	case REG_C: /* read-only */
	case REG_D:
		break;
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY ... REG_YEAR:
	case REG_CENTURY:
		show_time(r);
		r->cmos[reg] = value;
		if (!(r->cmos[REG_B] & B_SET))
			take_time(r);
		break;
	default:
		r->cmos[reg] = value;
	}
	update_irq(r);
	rearm(r);
}

static uint8_t read_reg(struct rtc *r, uint8_t reg)
{
	uint8_t value;

	catch_up(r);
	switch (reg) {
	case REG_A:
		value = r->cmos[REG_A];
		if (!(r->cmos[REG_B] & B_SET) && ns_in_second(guest_ns(r)) >= NS_PER_S - UIP_NS)
			value |= A_UIP;
		return value;
	case REG_C:
		value = r->cmos[REG_C];
		r->cmos[REG_C] = 0;
		update_irq(r);
		return value;
	case REG_D:
		return D_VALID;
	default:
		show_time(r);
		return r->cmos[reg];
	}
}

static uint64_t rtc_read(void *arg, uint64_t off, unsigned int size)
{
	struct rtc *r = arg;

	if (off == 0) /* the index cannot be read back */
		return 0xff;
	mutex_guard(&r->lock);
	return read_reg(r, r->index);
}

static void rtc_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct rtc *r = arg;

	mutex_guard(&r->lock);
	if (off == 0)
		r->index = value &
			   (RTC_CMOS_SIZE - 1); /* bit 7 masks NMIs, which do not exist here */
	else
		write_reg(r, r->index, (uint8_t)value);
}

void rtc_disable_irq(struct rtc *r, bool disable)
{
	mutex_guard(&r->lock);
	r->irq_disabled = disable;
	update_irq(r);
}

void rtc_set_cmos(struct rtc *r, uint8_t reg, uint8_t value)
{
	mutex_guard(&r->lock);
	if (reg > REG_D && reg < RTC_CMOS_SIZE)
		r->cmos[reg] = value;
}

void rtc_set_memory(struct rtc *r, uint64_t low_end, uint64_t high_bytes)
{
	const uint64_t base_kb = 640, mib = UINT64_C(1) << 20;
	uint64_t ext_kb = low_end > mib ? MIN((low_end - mib) >> 10, UINT64_C(0xffff)) : 0;
	uint64_t above_16m = low_end > 16 * mib ? MIN((low_end - 16 * mib) >> 16, UINT64_C(0xffff))
						: 0;
	uint64_t high = MIN(high_bytes >> 16, UINT64_C(0xffffff));

	rtc_set_cmos(r, 0x15, (uint8_t)base_kb);
	rtc_set_cmos(r, 0x16, (uint8_t)(base_kb >> 8));
	rtc_set_cmos(r, 0x17, (uint8_t)ext_kb);
	rtc_set_cmos(r, 0x18, (uint8_t)(ext_kb >> 8));
	rtc_set_cmos(r, 0x30, (uint8_t)ext_kb);
	rtc_set_cmos(r, 0x31, (uint8_t)(ext_kb >> 8));
	rtc_set_cmos(r, 0x34, (uint8_t)above_16m);
	rtc_set_cmos(r, 0x35, (uint8_t)(above_16m >> 8));
	rtc_set_cmos(r, 0x5b, (uint8_t)high);
	rtc_set_cmos(r, 0x5c, (uint8_t)(high >> 8));
	rtc_set_cmos(r, 0x5d, (uint8_t)(high >> 16));
}

void rtc_reset(struct rtc *r)
{
	mutex_guard(&r->lock);
	r->index = 0;
	r->irq_disabled = false;
	r->cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE);
	r->cmos[REG_C] = 0;
	update_irq(r);
	rearm(r);
}

int rtc_init(struct rtc *r, const struct board *board, struct err *err)
{
	int rc;

	*r = (struct rtc){
		.pio = board->pio,
		.range = { .name = "rtc",
			   .base = PORT_INDEX,
			   .len = 2,
			   .read = rtc_read,
			   .write = rtc_write,
			   .arg = r,
			   .max_size = 1 },
		.irq = irq_router_line(board->irqs, RTC_GSI, IRQ_FROM_ISA),
		.clock = board->clock,
		.timers = board->timers,
	};
	mutex_init(&r->lock);
	timerq_timer_init(r->timers, &r->second_timer, fired, r);
	timerq_timer_init(r->timers, &r->periodic_timer, fired, r);
	r->cmos[REG_A] = A_RESET;
	r->cmos[REG_B] = B_RESET;
	r->last_second = second_of_ns(guest_ns(r));
	r->periodic_next_ns = clock_now(r->clock) + period_ns(r);
	rtc_reset(r);
	rc = bus_add(r->pio, &r->range, err);
	if (rc < 0)
		rtc_done(r);
	return rc;
}

void rtc_done(struct rtc *r)
{
	if (!r->pio)
		return;
	bus_del(r->pio, &r->range);
	timerq_timer_done(r->timers, &r->second_timer);
	timerq_timer_done(r->timers, &r->periodic_timer);
	pthread_mutex_destroy(&r->lock);
	r->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

/* The wall clock goes on while a snapshot lies in a file: it is the host's, and the offset to it is kept. */
static const struct state_field fields[] = {
	STATE_MAX(struct rtc, index, RTC_CMOS_SIZE - 1),
	STATE_BYTES(struct rtc, cmos),
	STATE_SIGNED(struct rtc, offset_ns, -(INT64_C(1) << 62), INT64_C(1) << 62),
	STATE_SIGNED(struct rtc, last_second, -(INT64_C(1) << 40), INT64_C(1) << 40),
	STATE_ANY(struct rtc, periodic_next_ns),
	STATE_BOOL(struct rtc, irq_disabled),
};

static void loaded(void *obj)
{
	struct rtc *r = obj;

	mutex_guard(&r->lock);
	catch_up(r);
	rearm(r);
}

const struct state_desc rtc_state = {
	.name = "rtc",
	.version = 1,
	STATE_LOCK(struct rtc, lock),
	STATE_TABLE(struct rtc, fields),
	.loaded = loaded,
};
