/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_HPET_H
#define VM_DEV_HPET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * High precision event timers (IA-PC HPET specification 1.0a) at 0xfed00000: a 64-bit counter of 100 MHz
 * and three comparators, each able to be periodic and to send messages.
 */
#define HPET_BASE      UINT64_C(0xfed00000)
#define HPET_PERIOD_FS UINT64_C(10000000) /* 10 ns */
enum { HPET_TIMERS = 3 };

struct i8254;
struct rtc;
struct hpet;

struct hpet_timer {
	struct hpet *hpet;
	unsigned int index;
	struct timerq_timer timer;
	uint64_t config, cmp, period, fsb;
	uint64_t target; /* main counter value of the next match, not wrapped to 32 bits */
	bool armed;
	bool line; /* level on the interrupt line */
	uint8_t line_gsi;
};

struct hpet {
	pthread_mutex_t lock;
	struct bus *mmio;
	struct bus_range range;
	struct irq_router *irqs;
	struct clock *clock;
	struct timerq *timers;
	void (*msi)(void *arg, uint64_t addr, uint32_t data);
	void *msi_arg;
	struct i8254 *pit; /* lose their interrupts in legacy replacement mode; may be NULL */
	struct rtc *rtc;
	uint64_t config, isr;
	uint64_t offset;   /* counter value when it was last stopped or written */
	uint64_t start_ns; /* when it was started from there */
	struct hpet_timer t[HPET_TIMERS];
};

/* hpet_init - the block at HPET_BASE. Uses of @board: mmio, irqs, timers, clock, msi. Returns 0, or
 * what bus_add() says. */
_nodiscard_ int hpet_init(struct hpet *h, const struct board *board, struct i8254 *pit,
			  struct rtc *rtc, struct err *err);
void hpet_done(struct hpet *h);
void hpet_reset(struct hpet *h);

/* hpet_set_msi - connect the message output. Before the CPUs run. */
void hpet_set_msi(struct hpet *h, void (*msi)(void *arg, uint64_t addr, uint32_t data), void *arg);

/* hpet_state - what a snapshot keeps of it. */
extern const struct state_desc hpet_state;

#endif
