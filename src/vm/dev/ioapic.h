/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_IOAPIC_H
#define VM_DEV_IOAPIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The I/O APIC (Intel 82093AA data sheet; EOI register of version 0x20) with 24 pins at 0xfec00000.
 * A pin's interrupt leaves as a message, so that what the CPUs see does not depend on the controller.
 */
#define IOAPIC_BASE UINT64_C(0xfec00000)
enum { IOAPIC_PINS = 24 };

struct ioapic {
	pthread_mutex_t lock;
	struct bus *mmio;
	struct bus_range range;
	uint8_t select, id;
	uint32_t lines; /* input levels */
	uint32_t irr;	/* per pin: a level that is there, an edge not yet sent */
	uint64_t redir[IOAPIC_PINS];
	void (*msi)(void *arg, uint64_t addr, uint32_t data);
	void *msi_arg;
};

/* ioapic_init - the controller at IOAPIC_BASE. Uses of @board: mmio, msi. Returns 0, or what bus_add()
 * says. board->msi is called with the controller's lock held and must not call back. */
_nodiscard_ int ioapic_init(struct ioapic *io, const struct board *board, struct err *err);
void ioapic_done(struct ioapic *io);
void ioapic_reset(struct ioapic *io);

/* ioapic_set_msi - connect the output (the CPUs are made after the board). Before the CPUs run. */
void ioapic_set_msi(struct ioapic *io, void (*msi)(void *arg, uint64_t addr, uint32_t data),
		    void *arg);

/* ioapic_set_irq - level of input @pin (below IOAPIC_PINS). Thread: any. */
void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level);

/* ioapic_eoi - a CPU completed the level-triggered @vector: deliver again what is still raised.
 * Thread: any; the CPU holds no lock. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/* ioapic_state - what a snapshot keeps of it. */
extern const struct state_desc ioapic_state;

#endif
