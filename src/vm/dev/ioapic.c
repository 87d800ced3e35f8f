// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The I/O APIC. A pin's redirection entry turns a line into a message. An edge is sent at once, or lost
 * when its entry is masked; a level is sent when nothing of it is on its way (remote IRR clear), and
 * again after the CPU's end of interrupt while the line is still raised.
 *
 * The lock is held while a message is delivered. That is safe because local APICs report an end of
 * interrupt without holding their own lock, and keeps a pin's messages in order.
 */
#include "vm/dev/ioapic.h"

#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	OFF_SELECT = 0x00,
	OFF_WINDOW = 0x10,
	OFF_EOI = 0x40,
	REG_ID = 0,
	REG_VERSION = 1,
	REG_ARBITRATION = 2,
	REG_REDIR = 0x10,
	VERSION = 0x20 | (IOAPIC_PINS - 1) << 16,
	ID_MASK = 0x0f,
	RANGE_LEN = 0x1000,

	REDIR_DELIVERY_SHIFT = 8,
	REDIR_LOGICAL = 1 << 11,
	REDIR_LOW_ACTIVE = 1 << 13,
	REDIR_REMOTE_IRR = 1 << 14,
	REDIR_LEVEL = 1 << 15,
	REDIR_MASKED = 1 << 16,
	REDIR_READ_ONLY = 1 << 12 | REDIR_REMOTE_IRR,
	DELIVERY_EXTINT = 7,
};

#define REDIR_LOW_WRITABLE (UINT64_C(0x1ffff) & ~(uint64_t)REDIR_READ_ONLY)
/* The destination, and below it what only a remapped interrupt's index uses. */
#define REDIR_HIGH_WRITABLE (UINT64_C(0xffff) << 48)
#define MSI_ADDRESS	    UINT64_C(0xfee00000)

static void send(struct ioapic *io, unsigned int pin)
{
	uint64_t e = io->redir[pin];
	unsigned int delivery = e >> REDIR_DELIVERY_SHIFT & 7;
	uint64_t addr = MSI_ADDRESS | (e >> 48) << 4 | (e & REDIR_LOGICAL ? 4 : 0);
	uint32_t data = (uint32_t)e & 0x7ff;

	/* ExtINT asks the CPU to run an acknowledge cycle; the 8259s tell it so by LINT0 already. */
	if (delivery == DELIVERY_EXTINT)
		return;
	if (e & REDIR_LEVEL)
		data |= 1 << 15 | 1 << 14;
	if (io->msi)
		io->msi(io->msi_arg, addr, data);
}

/* Sends what the pin has to say now. */
static void service(struct ioapic *io, unsigned int pin)
{
	uint64_t *e = &io->redir[pin];
	uint32_t bit = UINT32_C(1) << pin;

	if (!(io->irr & bit) || (*e & REDIR_MASKED))
		return;
	if (*e & REDIR_LEVEL) {
		if (*e & REDIR_REMOTE_IRR)
			return;
		*e |= REDIR_REMOTE_IRR;
	} else {
		io->irr &= ~bit;
	}
	send(io, pin);
}

/* Polarity is not looked at: devices here say "raised", whatever voltage the tables promise for it. */
static bool is_active(const struct ioapic *io, unsigned int pin)
{
	return (io->lines >> pin & 1) != 0;
}

static void line_changed(struct ioapic *io, unsigned int pin, bool was_active)
{
	uint32_t bit = UINT32_C(1) << pin;
	bool active = is_active(io, pin);

	if (io->redir[pin] & REDIR_LEVEL) {
		io->irr = active ? io->irr | bit : io->irr & ~bit;
	} else if (active && !was_active) {
		/* The part does not remember edges of a masked pin. */
		if (io->redir[pin] & REDIR_MASKED)
			return;
		io->irr |= bit;
	}
	service(io, pin);
}

void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level)
{
	uint32_t bit;
	bool was;

	if (pin >= IOAPIC_PINS)
		return;
	bit = UINT32_C(1) << pin;
	mutex_guard(&io->lock);
	was = is_active(io, pin);
	io->lines = level ? io->lines | bit : io->lines & ~bit;
	line_changed(io, pin, was);
}

static void eoi_locked(struct ioapic *io, uint8_t vector)
{
	for (unsigned int pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *e = &io->redir[pin];

		if ((uint8_t)*e != vector || !(*e & REDIR_LEVEL))
			continue;
		*e &= ~(uint64_t)REDIR_REMOTE_IRR;
		service(io, pin);
	}
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	mutex_guard(&io->lock);
	eoi_locked(io, vector);
}

static void redir_write(struct ioapic *io, unsigned int pin, bool high, uint32_t value)
{
	uint64_t *e = &io->redir[pin];
	uint32_t bit = UINT32_C(1) << pin;
	bool was_level = *e & REDIR_LEVEL;

	if (high)
		*e = (*e & ~REDIR_HIGH_WRITABLE) | ((uint64_t)value << 32 & REDIR_HIGH_WRITABLE);
	else
		*e = (*e & ~REDIR_LOW_WRITABLE) | (value & REDIR_LOW_WRITABLE);
	if (!(*e & REDIR_LEVEL)) {
		/* Remote IRR means nothing for edges; changing the mode is how old drivers clear it. */
		*e &= ~(uint64_t)REDIR_REMOTE_IRR;
		if (was_level)
			io->irr &= ~bit;
	} else {
		io->irr = is_active(io, pin) ? io->irr | bit : io->irr & ~bit;
	}
	service(io, pin);
}

static uint32_t window_read(const struct ioapic *io)
{
	unsigned int n = io->select - REG_REDIR;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION: /* loaded with the id whenever that is written */
		return (uint32_t)io->id << 24;
	case REG_VERSION:
		return VERSION;
	default:
		if (io->select < REG_REDIR || n >= 2 * IOAPIC_PINS)
			return 0;
		return (uint32_t)(io->redir[n / 2] >> (n & 1 ? 32 : 0));
	}
}

static void window_write(struct ioapic *io, uint32_t value)
{
	unsigned int n = io->select - REG_REDIR;

	if (io->select == REG_ID)
		io->id = value >> 24 & ID_MASK;
	else if (io->select >= REG_REDIR && n < 2 * IOAPIC_PINS)
		redir_write(io, n / 2, n & 1, value);
}

static uint64_t ioapic_read(void *arg, uint64_t off, unsigned int size)
{
	struct ioapic *io = arg;
	uint32_t value = 0;

	mutex_guard(&io->lock);
	switch (off & ~UINT64_C(3)) {
	case OFF_SELECT:
		value = io->select;
		break;
	case OFF_WINDOW:
		value = window_read(io);
		break;
	default:
		break;
	}
	return value >> (8 * (off & 3));
}

static void ioapic_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct ioapic *io = arg;

	mutex_guard(&io->lock);
	switch (off) {
	case OFF_SELECT:
		io->select = (uint8_t)value;
		break;
	case OFF_WINDOW:
		window_write(io, (uint32_t)value);
		break;
	case OFF_EOI:
		eoi_locked(io, (uint8_t)value);
		break;
	default:
		break;
	}
}

void ioapic_reset(struct ioapic *io)
{
	mutex_guard(&io->lock);
	io->select = io->id = 0;
	io->irr = 0;
	for (unsigned int pin = 0; pin < IOAPIC_PINS; pin++)
		io->redir[pin] = REDIR_MASKED;
}

int ioapic_init(struct ioapic *io, const struct board *board, struct err *err)
{
	int r;

	*io = (struct ioapic){
		.mmio = board->mmio,
		.range = { .name = "ioapic",
			   .base = IOAPIC_BASE,
			   .len = RANGE_LEN,
			   .read = ioapic_read,
			   .write = ioapic_write,
			   .arg = io,
			   .max_size = 4 },
		.msi = board->msi,
		.msi_arg = board->msi_arg,
	};
	mutex_init(&io->lock);
	ioapic_reset(io);
	r = bus_add(io->mmio, &io->range, err);
	if (r < 0)
		ioapic_done(io);
	return r;
}

void ioapic_done(struct ioapic *io)
{
	if (!io->mmio)
		return;
	bus_del(io->mmio, &io->range);
	pthread_mutex_destroy(&io->lock);
	io->mmio = NULL;
}

void ioapic_set_msi(struct ioapic *io, void (*msi)(void *arg, uint64_t addr, uint32_t data),
		    void *arg)
{
	mutex_guard(&io->lock);
	io->msi = msi;
	io->msi_arg = arg;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ANY(struct ioapic, select),
	STATE_ANY(struct ioapic, id),
	STATE_MAX(struct ioapic, lines, (1u << IOAPIC_PINS) - 1),
	STATE_MAX(struct ioapic, irr, (1u << IOAPIC_PINS) - 1),
	STATE_ARRAY(struct ioapic, redir, UINT64_MAX),
};

const struct state_desc ioapic_state = {
	.name = "ioapic",
	.version = 1,
	STATE_LOCK(struct ioapic, lock),
	STATE_TABLE(struct ioapic, fields),
};
