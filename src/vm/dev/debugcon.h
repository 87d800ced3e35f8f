/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_DEBUGCON_H
#define VM_DEV_DEBUGCON_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

/*
 * A port whose written bytes are shown: firmware logs to 0x402, boot code to 0xe9. Reading gives the
 * value by which guests recognise it. Has no state of its own.
 */
struct chardev;

struct debugcon {
	struct bus *pio;
	struct bus_range range;
	struct chardev *cd;
};

/* debugcon_init - the console at @port; @cd outlives it. Bytes that @cd does not take at once are lost.
 * Uses of @board: pio. Returns 0, or what bus_add() says. */
_nodiscard_ int debugcon_init(struct debugcon *d, const struct board *board, uint16_t port,
			      struct chardev *cd, struct err *err);
void debugcon_done(struct debugcon *d);

#endif
