/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware's debug console. It is there only when somebody wants to read it: firmware that finds the port silent
 * saves itself an exit for every character.
 */
#include "vm/dev/debugcon.h"

#include "sys/thread.h"

enum { PORT = 0x402, PRESENT = 0xe9 };

static uint64_t debugcon_read(void *arg, uint64_t off, unsigned int size)
{
	return PRESENT;
}

static void debugcon_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct debugcon *d = arg;
	uint8_t byte = (uint8_t)value;

	mutex_guard(&d->lock);
	ignore_result(chardev_write(d->out, &byte, 1)); /* nobody waits for a log */
}

int debugcon_init(struct debugcon *d, const struct board *board, struct chardev *out,
		  struct err *err)
{
	int r;

	*d = (struct debugcon){
		.pio = board->pio,
		.range = { .name = "debugcon",
			   .base = PORT,
			   .len = 1,
			   .read = debugcon_read,
			   .write = debugcon_write,
			   .arg = d,
			   .max_size = 1 },
		.out = out,
	};
	mutex_init(&d->lock);
	r = bus_add(d->pio, &d->range, err);
	if (r < 0)
		debugcon_done(d);
	return r;
}

void debugcon_done(struct debugcon *d)
{
	if (!d->pio)
		return;
	bus_del(d->pio, &d->range);
	pthread_mutex_destroy(&d->lock);
	d->pio = NULL;
}
