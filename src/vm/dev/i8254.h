/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_I8254_H
#define VM_DEV_I8254_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The 8254 interval timer (Intel 231164) at 0x40-0x43 and the PC's port 0x61: counter 0 drives IRQ 0,
 * counter 2 the speaker, with its gate at port 61h bit 0 and its output readable at bit 5. Counters are
 * computed from the time, not counted; only counter 0 has a timer, for its interrupt.
 */
#define I8254_HZ UINT64_C(1193182)

struct i8254_counter {
	uint8_t mode, access; /* access: 1 low, 2 high, 3 low then high byte */
	bool bcd, gate;
	bool null_count;	    /* written but not yet loaded */
	bool loaded;		    /* a count was written since the control word */
	bool armed;		    /* modes 1, 5: a gate edge came since */
	bool write_high, read_high; /* which byte comes next with access 3 */
	uint8_t write_low;
	uint32_t count;	       /* reload value, 1 to 0x10000 (BCD: 10000) */
	uint64_t start_ns;     /* when it was loaded, or went on after a pause */
	uint64_t paused_ticks; /* ticks done before that */
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct i8254 {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range, port61;
	struct irq_line irq;
	struct clock *clock;
	struct timerq *timers;
	struct timerq_timer timer; /* next edge of counter 0's output */
	struct i8254_counter ch[3];
	bool speaker;
	bool irq_disabled; /* the HPET took over IRQ 0 */
	uint64_t next_ns;  /* when the timer is armed for; UINT64_MAX: not */
	uint64_t last_ns;  /* last interrupt */
};

/* i8254_init - the timer at its ports, counter 0 on GSI 0. Uses of @board: pio, irqs, timers, clock.
 * Returns 0, or what bus_add() says. */
_nodiscard_ int i8254_init(struct i8254 *p, const struct board *board, struct err *err);
void i8254_done(struct i8254 *p);
void i8254_reset(struct i8254 *p);

/* i8254_disable_irq - cut counter 0 off its interrupt line (HPET legacy replacement). Thread: any. */
void i8254_disable_irq(struct i8254 *p, bool disable);

/* i8254_state - what a snapshot keeps of it. */
extern const struct state_desc i8254_state;

#endif
