/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_DEBUG_EXIT_H
#define VM_DEV_DEBUG_EXIT_H

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

/*
 * The way for a test guest to end its machine with a result: a write to port 0xf4 (1, 2 or 4 bytes) asks
 * for MACHINE_DEBUG_EXIT with the value written. Reads give 0. Has no state, so no lock.
 */
struct debug_exit {
	struct bus *pio;
	struct bus_range range;
	const struct machine_events *events;
};

/* debug_exit_init - the port. Uses of @board: pio, events. Returns 0, or what bus_add() says. */
_nodiscard_ int debug_exit_init(struct debug_exit *d, const struct board *board, struct err *err);
void debug_exit_done(struct debug_exit *d);

#endif
