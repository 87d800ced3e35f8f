// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The debug console: one byte a write, no status, no interrupts. Bytes that do not fit are lost rather
 * than kept, since nobody could tell the guest to wait.
 */
#include "vm/dev/debugcon.h"

#include "vm/chardev.h"

enum { PRESENT = 0xe9 };

static uint64_t con_read(void *arg, uint64_t off, unsigned int size)
{
	return PRESENT;
}

static void con_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct debugcon *d = arg;
	uint8_t byte = (uint8_t)value;

	if (d->cd && chardev_write(d->cd, &byte, 1) < 0)
		return; /* lost: see above */
}

int debugcon_init(struct debugcon *d, const struct board *board, uint16_t port, struct chardev *cd,
		  struct err *err)
{
	*d = (struct debugcon){
		.pio = board->pio,
		.range = { .name = "debugcon",
			   .base = port,
			   .len = 1,
			   .read = con_read,
			   .write = con_write,
			   .arg = d,
			   .max_size = 1 },
		.cd = cd,
	};
	return bus_add(d->pio, &d->range, err);
}

void debugcon_done(struct debugcon *d)
{
	bus_del(d->pio, &d->range);
	d->pio = NULL;
}
