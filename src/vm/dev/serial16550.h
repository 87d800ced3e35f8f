/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_SERIAL16550_H
#define VM_DEV_SERIAL16550_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A 16550A UART (National Semiconductor PC16550D data sheet). Bytes leave as soon as the chardev takes
 * them, not at the line's rate: a guest's console is as fast as the host. The receive time-out interrupt
 * comes four character times of the programmed rate after the last byte.
 */
struct chardev;

enum { SERIAL_FIFO = 16 };

struct serial_fifo {
	uint8_t buf[SERIAL_FIFO];
	unsigned int head, n;
};

struct serial16550 {
	pthread_mutex_t lock; /* guards everything below */
	struct bus *pio;
	struct bus_range range;
	struct irq_line irq;
	struct chardev *cd;
	struct clock *clock;
	struct timerq *timers;
	struct timerq_timer rx_timer; /* receive time-out */

	uint16_t divisor;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t lsr; /* error bits only; data ready and transmitter bits are made on reading */
	uint8_t msr_delta; /* low four bits of MSR */
	struct serial_fifo rx, tx;
	bool thre_pending; /* transmitter-empty interrupt waits to be seen in IIR */
	bool timeout_pending;
	uint64_t timeout_ns; /* when it will be; 0: not waiting */
	bool rx_refused;     /* the chardev was told that there is no room */
};

/*
 * serial16550_init - a UART at eight I/O ports.
 *
 * @base: first port (0x3f8, 0x2f8, 0x3e8, 0x2e8); @gsi: 4 or 3.
 * @cd: where bytes go, outlives the device; NULL: they vanish.
 * Uses of @board: pio, irqs, timers, clock. Returns 0, or what bus_add() says.
 */
_nodiscard_ int serial16550_init(struct serial16550 *s, const struct board *board, uint16_t base,
				 unsigned int gsi, struct chardev *cd, struct err *err);
void serial16550_done(struct serial16550 *s);
/* serial16550_reset - master reset: registers and FIFOs; no vCPU is running. */
void serial16550_reset(struct serial16550 *s);

/* serial16550_state - what a snapshot keeps of it. */
extern const struct state_desc serial16550_state;

#endif
