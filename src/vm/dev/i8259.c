// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pair of 8259A interrupt controllers. A chip's state is the data sheet's: request, mask and
 * in-service registers and the priority rotation; from it follows whether the chip raises its INT pin.
 * The slave's INT pin is the master's input 2, so every change is followed by update(), which carries
 * it through both chips to the CPU.
 *
 * An edge-triggered input latches its request on the rising edge. On the real part the line must stay
 * high until the acknowledge; here the request stays, so that devices may pulse their line and no tick
 * is lost. A request that is gone all the same (masked, a level that fell) gives the spurious vector 7.
 * The cascade is a plain level: the slave's wish is computed, not latched.
 */
#include "vm/dev/i8259.h"

#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	CASCADE = 2,
	SPURIOUS = 7,
	PORT_MASTER = 0x20,
	PORT_SLAVE = 0xa0,
	PORT_ELCR = 0x4d0,
	ELCR_MASK_MASTER = 0xf8,    /* timer, keyboard and cascade are edges for ever */
	ELCR_MASK_SLAVE = 0xde,	    /* so are RTC and coprocessor */
	BIOS_VECTORS_MASTER = 0x08, /* what firmware programs; real-mode guests rely on it */
	BIOS_VECTORS_SLAVE = 0x70,
	ICW1_INIT = 0x10,
	ICW1_NEED_ICW4 = 0x01,
	ICW1_SINGLE = 0x02,
	ICW4_AUTO_EOI = 0x02,
	ICW4_SFNM = 0x10,
	OCW3_SELECT = 0x08,
};

/* Distance of an input from the highest priority: 0 (first) to 7; 8 for no input at all. */
static unsigned int priority_of(const struct i8259_chip *c, uint8_t inputs)
{
	unsigned int p;

	for (p = 0; p < 8; p++)
		if (inputs & 1 << ((c->lowest_priority + 1 + p) & 7))
			break;
	return p;
}

static unsigned int input_at(const struct i8259_chip *c, unsigned int priority)
{
	return (c->lowest_priority + 1 + priority) & 7;
}

/* The input that the chip wants served, or -1. */
static int wanted(const struct i8259_chip *c)
{
	unsigned int req = priority_of(c, c->irr & (uint8_t)~c->imr);
	uint8_t serving = c->isr;

	if (req == 8)
		return -1;
	/* Special mask mode: masked inputs do not block others. In special fully nested mode the
	 * slave's own further requests pass while one of it is served. */
	if (c->special_mask)
		serving &= (uint8_t)~c->imr;
	if (c->special_fully_nested && !c->is_slave)
		serving &= (uint8_t) ~(1 << CASCADE);
	return req < priority_of(c, serving) ? (int)input_at(c, req) : -1;
}

static void set_line(struct i8259_chip *c, unsigned int input, bool level)
{
	uint8_t bit = (uint8_t)(1 << input);

	if (level) {
		if ((c->elcr & bit) || !(c->lines & bit))
			c->irr |= bit;
		c->lines |= bit;
	} else {
		if (c->elcr & bit)
			c->irr &= (uint8_t)~bit;
		c->lines &= (uint8_t)~bit;
	}
}

static void update(struct i8259 *p)
{
	struct i8259_chip *master = &p->chip[0];
	bool out;

	if (wanted(&p->chip[1]) >= 0)
		master->irr |= 1 << CASCADE;
	else
		master->irr &= (uint8_t) ~(1 << CASCADE);
	out = wanted(master) >= 0;
	if (out == p->output)
		return;
	p->output = out;
	if (p->intr)
		p->intr(p->intr_arg, out);
}

void i8259_set_irq(struct i8259 *p, unsigned int irq, bool level)
{
	if (irq >= 16 || irq == CASCADE)
		return;
	mutex_guard(&p->lock);
	set_line(&p->chip[irq >> 3], irq & 7, level);
	update(p);
}

/* One chip's part of the acknowledge: the input that is served from now on; 7 when there is none. */
static unsigned int acknowledge(struct i8259_chip *c)
{
	int input = wanted(c);

	if (input < 0)
		return SPURIOUS;
	if (!(c->elcr & 1 << input))
		c->irr &= (uint8_t) ~(1 << input);
	if (!c->auto_eoi)
		c->isr |= (uint8_t)(1 << input);
	else if (c->rotate_on_aeoi)
		c->lowest_priority = (uint8_t)input;
	return (unsigned int)input;
}

uint8_t i8259_ack(struct i8259 *p)
{
	struct i8259_chip *master = &p->chip[0], *slave = &p->chip[1];
	unsigned int input;
	uint8_t vector;

	mutex_guard(&p->lock);
	input = acknowledge(master);
	vector = (uint8_t)(master->vector_base + input);
	if (input == CASCADE)
		vector = (uint8_t)(slave->vector_base + acknowledge(slave));
	update(p);
	return vector;
}

static void chip_init(struct i8259_chip *c, uint8_t icw1)
{
	c->imr = c->isr = 0;
	c->irr = c->lines & c->elcr; /* edges are forgotten, levels are still there */
	c->lowest_priority = 7;
	c->special_mask = c->special_fully_nested = false;
	c->auto_eoi = c->rotate_on_aeoi = false;
	c->read_isr = c->poll = false;
	c->single = icw1 & ICW1_SINGLE;
	c->needs_icw4 = icw1 & ICW1_NEED_ICW4;
	c->init_step = 2;
}

static void end_of_interrupt(struct i8259_chip *c, unsigned int input, bool rotate)
{
	c->isr &= (uint8_t) ~(1 << input);
	if (rotate)
		c->lowest_priority = (uint8_t)input;
}

/* OCW2: end of interrupt and rotation. */
static void write_ocw2(struct i8259_chip *c, uint8_t value)
{
	uint8_t isr = c->isr;
	unsigned int highest;

	if (c->special_mask) /* masked inputs are not what a non-specific EOI means */
		isr &= (uint8_t)~c->imr;
	highest = priority_of(c, isr);
	switch (value >> 5) {
	case 0: /* rotate in automatic EOI mode: off */
		c->rotate_on_aeoi = false;
		break;
	case 4:
		c->rotate_on_aeoi = true;
		break;
	case 1: /* non-specific EOI */
	case 5:
		if (highest < 8)
			end_of_interrupt(c, input_at(c, highest), value >> 5 == 5);
		break;
	case 3: /* specific EOI */
	case 7:
		end_of_interrupt(c, value & 7, value >> 5 == 7);
		break;
	case 6: /* set priority */
		c->lowest_priority = value & 7;
		break;
	default: /* 2: no operation */
		break;
	}
}

static void write_ocw3(struct i8259_chip *c, uint8_t value)
{
	if (value & 0x40)
		c->special_mask = value & 0x20;
	if (value & 0x04)
		c->poll = true;
	else if (value & 0x02)
		c->read_isr = value & 0x01;
}

static void write_command(struct i8259_chip *c, uint8_t value)
{
	if (value & ICW1_INIT)
		chip_init(c, value);
	else if (value & OCW3_SELECT)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
}

static void write_data(struct i8259_chip *c, uint8_t value)
{
	switch (c->init_step) {
	case 2:
		c->vector_base = value & 0xf8;
		c->init_step = c->single ? (c->needs_icw4 ? 4 : 0) : 3;
		break;
	case 3: /* how the chips are cascaded; the board has one way */
		c->init_step = c->needs_icw4 ? 4 : 0;
		break;
	case 4:
		c->special_fully_nested = value & ICW4_SFNM;
		c->auto_eoi = value & ICW4_AUTO_EOI;
		c->init_step = 0;
		break;
	default:
		c->imr = value;
	}
}

/* A read after the poll command takes the interrupt like an acknowledge. */
static uint8_t poll(struct i8259_chip *c)
{
	c->poll = false;
	if (wanted(c) < 0)
		return 0;
	return (uint8_t)(0x80 | acknowledge(c));
}

static uint64_t chip_read(struct i8259 *p, struct i8259_chip *c, uint64_t off)
{
	uint8_t value;

	mutex_guard(&p->lock);
	if (c->poll)
		value = poll(c);
	else if (off == 1)
		value = c->imr;
	else
		value = c->read_isr ? c->isr : c->irr;
	update(p);
	return value;
}

static void chip_write(struct i8259 *p, struct i8259_chip *c, uint64_t off, uint64_t value)
{
	mutex_guard(&p->lock);
	if (off == 0)
		write_command(c, (uint8_t)value);
	else
		write_data(c, (uint8_t)value);
	update(p);
}

static uint64_t master_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8259 *p = arg;

	return chip_read(p, &p->chip[0], off);
}

static uint64_t slave_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8259 *p = arg;

	return chip_read(p, &p->chip[1], off);
}

static void master_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8259 *p = arg;

	chip_write(p, &p->chip[0], off, value);
}

static void slave_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8259 *p = arg;

	chip_write(p, &p->chip[1], off, value);
}

static uint64_t elcr_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8259 *p = arg;

	mutex_guard(&p->lock);
	return p->chip[off & 1].elcr;
}

static void elcr_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8259 *p = arg;
	struct i8259_chip *c = &p->chip[off & 1];

	mutex_guard(&p->lock);
	c->elcr = (uint8_t)value & c->elcr_mask;
	c->irr |= c->lines & c->elcr;
	update(p);
}

void i8259_reset(struct i8259 *p)
{
	mutex_guard(&p->lock);
	for (int k = 0; k < 2; k++) {
		struct i8259_chip *c = &p->chip[k];
		uint8_t lines = c->lines;

		*c = (struct i8259_chip){ .lines = lines,
					  .is_slave = k == 1,
					  .lowest_priority = 7,
					  .elcr_mask = k ? ELCR_MASK_SLAVE : ELCR_MASK_MASTER,
					  .vector_base = k ? BIOS_VECTORS_SLAVE
							   : BIOS_VECTORS_MASTER };
	}
	update(p);
}

int i8259_init(struct i8259 *p, const struct board *board, void (*intr)(void *arg, bool level),
	       void *arg, struct err *err)
{
	int r;

	*p = (struct i8259){
		.pio = board->pio,
		.range = {
			{.name = "pic", .base = PORT_MASTER, .len = 2, .read = master_read,
				.write = master_write, .arg = p, .max_size = 1},
			{.name = "pic", .base = PORT_SLAVE, .len = 2, .read = slave_read,
				.write = slave_write, .arg = p, .max_size = 1},
			{.name = "pic-elcr", .base = PORT_ELCR, .len = 2, .read = elcr_read,
				.write = elcr_write, .arg = p, .max_size = 1},
		},
		.intr = intr,
		.intr_arg = arg,
	};
	mutex_init(&p->lock);
	i8259_reset(p);
	for (int k = 0; k < 3; k++) {
		r = bus_add(p->pio, &p->range[k], err);
		if (r < 0) {
			i8259_done(p);
			return r;
		}
	}
	return 0;
}

void i8259_done(struct i8259 *p)
{
	if (!p->pio)
		return;
	for (int k = 0; k < 3; k++)
		bus_del(p->pio, &p->range[k]);
	pthread_mutex_destroy(&p->lock);
	p->pio = NULL;
}

void i8259_set_output(struct i8259 *p, void (*intr)(void *arg, bool level), void *arg)
{
	mutex_guard(&p->lock);
	p->intr = intr;
	p->intr_arg = arg;
	if (intr)
		intr(arg, p->output);
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field chip_fields[] = {
	STATE_ANY(struct i8259_chip, irr),
	STATE_ANY(struct i8259_chip, imr),
	STATE_ANY(struct i8259_chip, isr),
	STATE_ANY(struct i8259_chip, elcr),
	STATE_ANY(struct i8259_chip, lines),
	STATE_ANY(struct i8259_chip, vector_base),
	STATE_MAX(struct i8259_chip, lowest_priority, 7),
	STATE_MAX(struct i8259_chip, init_step, 4),
	STATE_BOOL(struct i8259_chip, needs_icw4),
	STATE_BOOL(struct i8259_chip, single),
	STATE_BOOL(struct i8259_chip, auto_eoi),
	STATE_BOOL(struct i8259_chip, rotate_on_aeoi),
	STATE_BOOL(struct i8259_chip, special_mask),
	STATE_BOOL(struct i8259_chip, special_fully_nested),
	STATE_BOOL(struct i8259_chip, read_isr),
	STATE_BOOL(struct i8259_chip, poll),
};

static const struct state_desc chip_state = {
	.name = "chip",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct i8259_chip, chip_fields),
};

/* The output is told to the CPUs again: what they think of it is in their own state. */
static const struct state_field fields[] = {
	STATE_STRUCT(struct i8259, chip, &chip_state),
	STATE_BOOL(struct i8259, output),
};

const struct state_desc i8259_state = {
	.name = "i8259",
	.version = 1,
	STATE_LOCK(struct i8259, lock),
	STATE_TABLE(struct i8259, fields),
};
