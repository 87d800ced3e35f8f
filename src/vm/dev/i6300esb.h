/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_I6300ESB_H
#define VM_DEV_I6300ESB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/timerq.h"
#include "vm/board.h"
#include "vm/dev/pci.h"

struct state_desc; /* vm/snapshot/state.h */

/* The watchdog of Intel's 6300ESB (PCI 8086:25ab): two timers, one after the other; when the second has run out, the
 * machine is told GUEST_WATCHDOG. Its interrupt between the two is not wired to anything. */
enum { I6300ESB_DEVFN = 0x1d << 3 };

struct i6300esb {
	struct pci_dev pci;   /* first */
	pthread_mutex_t lock; /* taken under the bus lock, too: no PCI function is called with it */
	struct clock *clock;
	struct timerq *timers;
	const struct machine_events *events;
	struct timerq_timer timer;
	uint32_t preload[2]; /* 20 bits */
	uint16_t setup;	     /* configuration register 0x60 */
	uint8_t control;     /* configuration register 0x68 */
	unsigned int unlock; /* how many of the two words before a write were heard */
	unsigned int stage;  /* which timer runs; 0: none */
	uint64_t deadline_ns;
	bool is_interrupting, has_expired;
};

/* i6300esb_init - in its slot, not running. Uses of @board: timers, clock, events. Returns 0; what pci_dev_plug() says. */
_nodiscard_ int i6300esb_init(struct i6300esb *w, const struct board *board, struct pci_bus *pci,
			      struct err *err);
void i6300esb_done(struct i6300esb *w);
/* i6300esb_reset - as after power-on: stopped and not locked. What it has said of itself (has_expired) stays. */
void i6300esb_reset(struct i6300esb *w);

/* i6300esb_state - what a snapshot keeps of it. */
extern const struct state_desc i6300esb_state;

#endif
