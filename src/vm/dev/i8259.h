/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_I8259_H
#define VM_DEV_I8259_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The PC's pair of 8259A interrupt controllers (Intel 231468): master at 0x20, slave at 0xa0 on the
 * master's input 2, edge/level registers at 0x4d0 (as in PIIX and ICH). The output goes to the CPUs'
 * LINT0 and to I/O APIC users of ExtINT.
 */
struct i8259_chip {
	uint8_t irr, imr, isr;
	uint8_t elcr, elcr_mask; /* level-triggered inputs; which of them can be */
	uint8_t lines;		 /* input levels */
	uint8_t vector_base;
	uint8_t lowest_priority; /* input with the lowest priority: 7 unless rotated */
	uint8_t init_step;	 /* 0: ready; else the ICW expected next (2 to 4) */
	bool needs_icw4, single;
	bool auto_eoi, rotate_on_aeoi;
	bool special_mask, special_fully_nested;
	bool read_isr, poll;
	bool is_slave;
};

struct i8259 {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range[3];
	struct i8259_chip chip[2];
	bool output;
	void (*intr)(void *arg, bool level);
	void *intr_arg;
};

/*
 * i8259_init - the pair at its ports.
 *
 * @intr: level of the INTR pin, called on changes with the controller's lock held; cpu_group_extint.
 * It must not call back. May be NULL, and be set later by i8259_set_output().
 * Uses of @board: pio. Returns 0, or what bus_add() says.
 */
_nodiscard_ int i8259_init(struct i8259 *p, const struct board *board,
			   void (*intr)(void *arg, bool level), void *arg, struct err *err);
void i8259_done(struct i8259 *p);
/* i8259_reset - as PC firmware leaves the pair: vectors 8 and 0x70, nothing masked. */
void i8259_reset(struct i8259 *p);

/* i8259_set_output - connect the INTR pin; tells the present level at once. Before the CPUs run. */
void i8259_set_output(struct i8259 *p, void (*intr)(void *arg, bool level), void *arg);

/* i8259_set_irq - level of input @irq (0 to 15; 2 is the cascade and ignored). Thread: any. */
void i8259_set_irq(struct i8259 *p, unsigned int irq, bool level);

/*
 * i8259_ack - the CPU's interrupt acknowledge cycle.
 *
 * Returns the vector; that of input 7 when the request went away (spurious). Thread: any.
 */
uint8_t i8259_ack(struct i8259 *p);

/* i8259_state - what a snapshot keeps of it. */
extern const struct state_desc i8259_state;

#endif
