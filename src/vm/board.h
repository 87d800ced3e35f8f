/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_BOARD_H
#define VM_BOARD_H

#include "vm/bus.h"
#include "vm/events.h"
#include "vm/irq_router.h"

/*
 * What a device finds around it when it is put on the board. A device's x_init() copies the pointers it
 * needs; all of them outlive it. A test fills only what the device under test uses.
 */
struct clock;
struct physmem;
struct timerq;

struct board {
	struct bus *pio, *mmio;
	struct irq_router *irqs;
	struct timerq *timers;
	struct clock *clock;
	struct physmem *mem;
	const struct machine_events *events;
	/* Sends an interrupt message (cpu_group_msi); NULL: messages are lost. */
	void (*msi)(void *arg, uint64_t addr, uint32_t data);
	void *msi_arg;
};

#endif
