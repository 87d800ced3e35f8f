/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_DEBUGCON_H
#define VM_DEV_DEBUGCON_H

#include <pthread.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"
#include "vm/chardev.h"

/*
 * The debug console: firmware writes its log to port 0x402, a byte at a time. Reading gives 0xe9, which says that
 * somebody listens (the convention of Bochs and QEMU's isa-debugcon).
 */
struct debugcon {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range;
	struct chardev *out; /* the caller's */
};

/* debugcon_init - the port. @out: takes the bytes; what it has no room for is lost. Uses of @board: pio. Returns 0,
 * or what bus_add() says. */
_nodiscard_ int debugcon_init(struct debugcon *d, const struct board *board, struct chardev *out,
			      struct err *err);
void debugcon_done(struct debugcon *d);

#endif
