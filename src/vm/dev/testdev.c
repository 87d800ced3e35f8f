// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The test device of kvm-unit-tests (QEMU's pc-testdev, described there in x86/README and seen in the
 * tests' sources). Each piece exists to make some path of a monitor happen: port I/O of each size, an
 * emulated memory access, an interrupt line that the guest itself moves. "Flush" drops host mappings of
 * a page in a monitor that has them; an engine that walks the guest's tables has nothing to drop.
 */
#include "vm/dev/testdev.h"

#include "base/bytes.h"
#include "sys/thread.h"

enum { PORT_ECHO = 0xe0, PORT_FLUSH = 0xe4, PORT_ECHO_BYTE = 0xe8, PORT_LINES = 0x2000 };

static uint64_t echo_read(void *arg, uint64_t off, unsigned int size)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	return get_le(t->reg + off, size);
}

static void echo_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	put_le(t->reg + off, value, size);
}

static uint64_t echo_byte_read(void *arg, uint64_t off, unsigned int size)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	return t->byte_reg;
}

static void echo_byte_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	t->byte_reg = (uint8_t)value;
}

static void lines_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct testdev *t = arg;
	struct irq_line line = irq_router_line(t->irqs, (unsigned int)off, IRQ_FROM_TEST);

	irq_set(&line, value != 0);
}

static uint64_t window_read(void *arg, uint64_t off, unsigned int size)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	return get_le(t->mem + off, size);
}

static void window_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct testdev *t = arg;

	mutex_guard(&t->lock);
	put_le(t->mem + off, value, size);
}

void testdev_reset(struct testdev *t)
{
	mutex_guard(&t->lock);
	memset(t->reg, 0, sizeof(t->reg));
	t->byte_reg = 0;
	memset(t->mem, 0, sizeof(t->mem));
}

int testdev_init(struct testdev *t, const struct board *board, struct err *err)
{
	int r;

	memset(t, 0, sizeof(*t));
	t->pio = board->pio;
	t->mmio = board->mmio;
	t->irqs = board->irqs;
	t->echo = (struct bus_range){ .name = "testdev",
				      .base = PORT_ECHO,
				      .len = 4,
				      .read = echo_read,
				      .write = echo_write,
				      .arg = t };
	t->flush = (struct bus_range){ .name = "testdev-flush", .base = PORT_FLUSH, .len = 4 };
	t->echo_byte = (struct bus_range){ .name = "testdev",
					   .base = PORT_ECHO_BYTE,
					   .len = 4,
					   .read = echo_byte_read,
					   .write = echo_byte_write,
					   .arg = t,
					   .max_size = 1 };
	t->lines = (struct bus_range){ .name = "testdev-irq",
				       .base = PORT_LINES,
				       .len = IRQ_NR_GSI + 3, /* a 32-bit write to the last line */
				       .write = lines_write,
				       .arg = t };
	t->window = (struct bus_range){ .name = "testdev-mem",
					.base = TESTDEV_MMIO_BASE,
					.len = TESTDEV_MMIO_SIZE,
					.read = window_read,
					.write = window_write,
					.arg = t };
	mutex_init(&t->lock);
	r = bus_add(t->pio, &t->echo, err);
	if (r == 0)
		r = bus_add(t->pio, &t->flush, err);
	if (r == 0)
		r = bus_add(t->pio, &t->echo_byte, err);
	if (r == 0)
		r = bus_add(t->pio, &t->lines, err);
	if (r == 0)
		r = bus_add(t->mmio, &t->window, err);
	if (r < 0)
		testdev_done(t);
	return r;
}

void testdev_done(struct testdev *t)
{
	if (!t->pio)
		return;
	bus_del(t->pio, &t->echo);
	bus_del(t->pio, &t->flush);
	bus_del(t->pio, &t->echo_byte);
	bus_del(t->pio, &t->lines);
	bus_del(t->mmio, &t->window);
	pthread_mutex_destroy(&t->lock);
	t->pio = NULL;
}
