// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * isa-debug-exit: a test guest's only way to say "passed" or "failed" to whoever started the machine.
 * What the value becomes as a process status is the machine's affair.
 */
#include "vm/dev/debug_exit.h"

enum { PORT = 0xf4, LEN = 4 };

static uint64_t exit_read(void *arg, uint64_t off, unsigned int size)
{
	return 0;
}

static void exit_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct debug_exit *d = arg;

	machine_request(d->events, MACHINE_DEBUG_EXIT, (uint32_t)value);
}

int debug_exit_init(struct debug_exit *d, const struct board *board, struct err *err)
{
	*d = (struct debug_exit){
		.pio = board->pio,
		.range = { .name = "debug-exit",
			   .base = PORT,
			   .len = LEN,
			   .read = exit_read,
			   .write = exit_write,
			   .arg = d },
		.events = board->events,
	};
	return bus_add(d->pio, &d->range, err);
}

void debug_exit_done(struct debug_exit *d)
{
	bus_del(d->pio, &d->range);
	d->pio = NULL;
}
