/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_BENCH_H
#define ATOLL_TESTS_COMPONENT_BENCH_H

#include <string.h>

#include "base/clock.h"
#include "sys/timerq.h"
#include "vm/board.h"
#include "vm/dev/i8259.h"
#include "vm/dev/ioapic.h"
#include "vm/memory.h"

/*
 * A board without a guest: real buses, interrupt controllers and timers, a clock that stands still, and
 * recorders at the edges. Every I/O APIC pin is set to send vector 0x40 + pin for each edge, so that
 * bench.edges[pin] counts them; levels are in bench.ioapic.lines.
 */
enum { BENCH_VECTOR = 0x40, BENCH_WALL_S = 1700000000 };

struct bench {
	struct clock_fake clock;
	struct timerq timers;
	struct bus *pio, *mmio;
	struct irq_router irqs;
	struct i8259 pic;
	struct ioapic ioapic;
	struct memory memory;
	struct machine_events events;
	struct board board;

	unsigned int edges[IOAPIC_PINS];
	unsigned int nr_msi;
	uint64_t msi_addr;
	uint32_t msi_data;
	bool intr; /* the 8259s' output */
	unsigned int nr_requests, nr_told[GUEST_NR_EVENTS];
	enum machine_end request;
	uint32_t request_value;
};

static inline void bench_msi(void *arg, uint64_t addr, uint32_t data)
{
	struct bench *b = arg;
	unsigned int pin = (data & 0xff) - BENCH_VECTOR;

	b->nr_msi++;
	b->msi_addr = addr;
	b->msi_data = data;
	if (pin < IOAPIC_PINS)
		b->edges[pin]++;
}

static inline void bench_intr(void *arg, bool level)
{
	struct bench *b = arg;

	b->intr = level;
}

static inline void bench_request(void *arg, enum machine_end what, uint32_t value)
{
	struct bench *b = arg;

	b->nr_requests++;
	b->request = what;
	b->request_value = value;
}

static inline void bench_told(void *arg, enum guest_event what)
{
	struct bench *b = arg;

	b->nr_told[what]++;
}

static inline void bench_ioapic_write(struct bench *b, uint8_t reg, uint32_t value)
{
	bus_write(b->mmio, IOAPIC_BASE, 4, reg);
	bus_write(b->mmio, IOAPIC_BASE + 0x10, 4, value);
}

static inline uint32_t bench_ioapic_read(struct bench *b, uint8_t reg)
{
	bus_write(b->mmio, IOAPIC_BASE, 4, reg);
	return (uint32_t)bus_read(b->mmio, IOAPIC_BASE + 0x10, 4);
}

/* Returns 0 or what failed; bench_done() undoes it. */
static inline int bench_init(struct bench *b, uint64_t ram_bytes)
{
	int r = 0;

	memset(b, 0, sizeof(*b));
	clock_fake_init(&b->clock, NS_PER_S, (uint64_t)BENCH_WALL_S * NS_PER_S);
	timerq_init(&b->timers, &b->clock.clock);
	b->pio = bus_new("ports");
	b->mmio = bus_new("memory");
	b->memory.fd = -1;
	if (ram_bytes)
		r = memory_init(&b->memory, ram_bytes, NULL);
	b->irqs = (struct irq_router){ .pic = &b->pic, .ioapic = &b->ioapic };
	b->events = (struct machine_events){ .request = bench_request,
					     .guest_event = bench_told,
					     .arg = b };
	b->board = (struct board){
		.pio = b->pio,
		.mmio = b->mmio,
		.irqs = &b->irqs,
		.timers = &b->timers,
		.clock = &b->clock.clock,
		.mem = ram_bytes ? &b->memory.phys : NULL,
		.events = &b->events,
		.msi = bench_msi,
		.msi_arg = b,
	};
	if (r == 0)
		r = i8259_init(&b->pic, &b->board, bench_intr, b, NULL);
	if (r == 0)
		r = ioapic_init(&b->ioapic, &b->board, NULL);
	for (uint8_t pin = 0; r == 0 && pin < IOAPIC_PINS; pin++)
		bench_ioapic_write(b, (uint8_t)(0x10 + 2 * pin), (uint32_t)BENCH_VECTOR + pin);
	return r;
}

static inline void bench_done(struct bench *b)
{
	ioapic_done(&b->ioapic);
	i8259_done(&b->pic);
	memory_done(&b->memory);
	bus_free(b->pio);
	bus_free(b->mmio);
	timerq_done(&b->timers);
}

/* Lets time pass, stopping wherever a timer is due. */
static inline void bench_pass(struct bench *b, uint64_t ns)
{
	uint64_t end = clock_now(&b->clock.clock) + ns, next;

	for (;;) {
		next = timerq_run_due(&b->timers);
		if (next >= end)
			break;
		clock_fake_advance(&b->clock, next - clock_now(&b->clock.clock));
	}
	clock_fake_advance(&b->clock, end - clock_now(&b->clock.clock));
	timerq_run_due(&b->timers);
}

static inline bool bench_line(const struct bench *b, unsigned int pin)
{
	return b->ioapic.lines >> pin & 1;
}

static inline uint8_t inb(struct bench *b, uint16_t port)
{
	return (uint8_t)bus_read(b->pio, port, 1);
}

static inline uint32_t inl(struct bench *b, uint16_t port)
{
	return (uint32_t)bus_read(b->pio, port, 4);
}

static inline void outb(struct bench *b, uint16_t port, uint8_t value)
{
	bus_write(b->pio, port, 1, value);
}

static inline void outl(struct bench *b, uint16_t port, uint32_t value)
{
	bus_write(b->pio, port, 4, value);
}

#endif
