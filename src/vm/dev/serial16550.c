// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A 16550A UART. Everything a driver can see follows the data sheet; the line itself has no speed:
 * a byte written leaves at once, so polling guests never wait, and a byte from outside arrives when the
 * receive FIFO has room. Only the receive time-out needs the clock.
 *
 * When the chardev takes no more (-EAGAIN), bytes stay in the transmit FIFO, THRE stays off, and the
 * guest waits, as it would for a slow line. The chardev calls us when it has room again.
 *
 * Register numbers and bits: PC16550D data sheet, table 1. The interrupt output is gated by OUT2, as on
 * every PC.
 */
#include "vm/dev/serial16550.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "vm/chardev.h"
#include "vm/snapshot/state.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, NR_REGS };

enum {
	IER_RX = 1,
	IER_THRE = 2,
	IER_LINE = 4,
	IER_MODEM = 8,
	IER_ALL = 15,
	IIR_MODEM = 0x0,
	IIR_NONE = 0x1,
	IIR_THRE = 0x2,
	IIR_RX = 0x4,
	IIR_LINE = 0x6,
	IIR_TIMEOUT = 0xc,
	IIR_FIFOS = 0xc0,
	FCR_ENABLE = 1,
	FCR_CLEAR_RX = 2,
	FCR_CLEAR_TX = 4,
	FCR_KEPT = 0xc9,
	LCR_DLAB = 0x80,
	MCR_DTR = 1,
	MCR_RTS = 2,
	MCR_OUT1 = 4,
	MCR_OUT2 = 8,
	MCR_LOOP = 16,
	MCR_ALL = 31,
	LSR_DR = 1,
	LSR_OE = 2,
	LSR_ERRORS = 0x1e,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	MSR_DCTS = 1,
	MSR_DDSR = 2,
	MSR_TERI = 4,
	MSR_DDCD = 8,
	MSR_CTS = 16,
	MSR_DSR = 32,
	MSR_RI = 64,
	MSR_DCD = 128,
	RESET_DIVISOR = 12,
};

#define UART_HZ UINT64_C(1843200)

static bool has_fifos(const struct serial16550 *s)
{
	return s->fcr & FCR_ENABLE;
}

static unsigned int fifo_room(const struct serial16550 *s, const struct serial_fifo *f)
{
	unsigned int max = has_fifos(s) ? SERIAL_FIFO : 1;

	return f->n < max ? max - f->n : 0;
}

static void fifo_push(struct serial_fifo *f, uint8_t byte)
{
	f->buf[(f->head + f->n++) % SERIAL_FIFO] = byte;
}

static uint8_t fifo_pop(struct serial_fifo *f)
{
	uint8_t byte = f->buf[f->head];

	f->head = (f->head + 1) % SERIAL_FIFO;
	f->n--;
	return byte;
}

static unsigned int rx_trigger(const struct serial16550 *s)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return has_fifos(s) ? level[s->fcr >> 6] : 1;
}

static uint8_t interrupt_id(const struct serial16550 *s)
{
	if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->rx.n >= rx_trigger(s))
		return IIR_RX;
	if ((s->ier & IER_RX) && s->timeout_pending)
		return IIR_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MODEM) && s->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct serial16550 *s)
{
	/* In loopback OUT2 is disconnected from its pin, which is then inactive. */
	bool gate = (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(&s->irq, gate && interrupt_id(s) != IIR_NONE);
}

/* Four characters at the programmed rate. */
static uint64_t timeout_length_ns(const struct serial16550 *s)
{
	unsigned int bits = 2 + 5 + (s->lcr & 3) + (s->lcr >> 2 & 1) + (s->lcr >> 3 & 1);
	uint64_t divisor = s->divisor ? s->divisor : 1;

	return 4 * bits * 16 * divisor * NS_PER_S / UART_HZ;
}

/* The receive FIFO was filled or read: the time-out begins anew, or ends. */
static void restart_timeout(struct serial16550 *s)
{
	s->timeout_pending = false;
	if (!has_fifos(s) || !s->rx.n) {
		s->timeout_ns = 0;
		timerq_disarm(s->timers, &s->rx_timer);
		return;
	}
	s->timeout_ns = clock_now(s->clock) + timeout_length_ns(s);
	timerq_arm(s->timers, &s->rx_timer, s->timeout_ns);
}

static void rx_timed_out(void *arg)
{
	struct serial16550 *s = arg;

	mutex_guard(&s->lock);
	if (!s->timeout_ns || clock_now(s->clock) < s->timeout_ns)
		return; /* restarted or stopped while the callback was on its way */
	s->timeout_ns = 0;
	s->timeout_pending = true;
	update_irq(s);
}

/* A full FIFO loses the newest byte; the data sheet calls it an overrun. */
static void receive_byte(struct serial16550 *s, uint8_t byte)
{
	if (fifo_room(s, &s->rx))
		fifo_push(&s->rx, byte);
	else
		s->lsr |= LSR_OE;
	restart_timeout(s);
}

static size_t receive(void *arg, const uint8_t *buf, size_t n)
{
	struct serial16550 *s = arg;
	size_t took = 0;

	mutex_guard(&s->lock);
	if (!(s->mcr & MCR_LOOP))
		for (; took < n && fifo_room(s, &s->rx); took++)
			receive_byte(s, buf[took]);
	s->rx_refused = s->rx_refused || took < n;
	update_irq(s);
	return took;
}

/* Offers the transmit FIFO to the outside; what is not taken stays. */
static void transmit(struct serial16550 *s)
{
	while (s->tx.n) {
		unsigned int run = SERIAL_FIFO - s->tx.head;
		ssize_t n = s->tx.n < run ? s->tx.n : run;

		if (s->cd)
			n = chardev_write(s->cd, &s->tx.buf[s->tx.head], (size_t)n);
		if (n == -EAGAIN || n == 0)
			return;
		if (n < 0) /* nobody listens any more: the bytes go nowhere, as on an open line */
			n = s->tx.n;
		s->tx.head = (s->tx.head + (unsigned int)n) % SERIAL_FIFO;
		s->tx.n -= (unsigned int)n;
	}
	s->thre_pending = true;
}

static void writable(void *arg)
{
	struct serial16550 *s = arg;

	mutex_guard(&s->lock);
	if (s->tx.n)
		transmit(s);
	update_irq(s);
}

static void write_data(struct serial16550 *s, uint8_t byte)
{
	s->thre_pending = false;
	if (s->mcr & MCR_LOOP) {
		receive_byte(s, byte);
		s->thre_pending = true;
		return;
	}
	if (fifo_room(s, &s->tx))
		fifo_push(&s->tx, byte);
	transmit(s);
}

static void offer_room(struct serial16550 *s)
{
	if (!s->rx_refused || s->rx.n || (s->mcr & MCR_LOOP))
		return;
	s->rx_refused = false;
	if (s->cd)
		chardev_can_receive_again(s->cd);
}

static uint8_t read_data(struct serial16550 *s)
{
	uint8_t byte = 0;

	if (s->rx.n) {
		byte = fifo_pop(&s->rx);
		restart_timeout(s);
		offer_room(s);
	}
	return byte;
}

/* The upper half of MSR: a terminal that is there, or in loopback our own outputs. */
static uint8_t modem_inputs(const struct serial16550 *s)
{
	if (!(s->mcr & MCR_LOOP))
		return s->cd ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial16550 *s, uint8_t value)
{
	uint8_t before = modem_inputs(s), changed;

	s->mcr = value & MCR_ALL;
	changed = before ^ modem_inputs(s);
	if (changed & MSR_CTS)
		s->msr_delta |= MSR_DCTS;
	if (changed & MSR_DSR)
		s->msr_delta |= MSR_DDSR;
	if (changed & before & MSR_RI)
		s->msr_delta |= MSR_TERI;
	if (changed & MSR_DCD)
		s->msr_delta |= MSR_DDCD;
	offer_room(s);
}

static void write_ier(struct serial16550 *s, uint8_t value)
{
	/* Enabling it while the transmitter is empty raises the interrupt. */
	if ((value & IER_THRE) && !(s->ier & IER_THRE) && !s->tx.n)
		s->thre_pending = true;
	s->ier = value & IER_ALL;
}

static void write_fcr(struct serial16550 *s, uint8_t value)
{
	if ((value ^ s->fcr) & FCR_ENABLE)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	s->fcr = value & FCR_KEPT;
	if (!(value & FCR_ENABLE))
		s->fcr = 0; /* the other bits only count together with it */
	if (value & FCR_CLEAR_RX) {
		s->rx = (struct serial_fifo){ 0 };
		restart_timeout(s);
		offer_room(s);
	}
	if ((value & FCR_CLEAR_TX) && s->tx.n) {
		s->tx = (struct serial_fifo){ 0 };
		s->thre_pending = true;
	}
}

static uint64_t serial_read(void *arg, uint64_t off, unsigned int size)
{
	struct serial16550 *s = arg;
	bool dlab;
	uint8_t value = 0;

	mutex_guard(&s->lock);
	dlab = s->lcr & LCR_DLAB;
	switch (off) {
	case REG_DATA:
		value = dlab ? (uint8_t)s->divisor : read_data(s);
		break;
	case REG_IER:
		value = dlab ? (uint8_t)(s->divisor >> 8) : s->ier;
		break;
	case REG_IIR_FCR:
		value = interrupt_id(s);
		if (value == IIR_THRE)
			s->thre_pending = false;
		value |= has_fifos(s) ? IIR_FIFOS : 0;
		break;
	case REG_LCR:
		value = s->lcr;
		break;
	case REG_MCR:
		value = s->mcr;
		break;
	case REG_LSR:
		value = s->lsr | (s->rx.n ? LSR_DR : 0) | (s->tx.n ? 0 : LSR_THRE | LSR_TEMT);
		s->lsr = 0;
		break;
	case REG_MSR:
		value = modem_inputs(s) | s->msr_delta;
		s->msr_delta = 0;
		break;
	default:
		value = s->scr;
	}
	update_irq(s);
	return value;
}

static void serial_write(void *arg, uint64_t off, unsigned int size, uint64_t value64)
{
	struct serial16550 *s = arg;
	uint8_t value = (uint8_t)value64;
	bool dlab;

	mutex_guard(&s->lock);
	dlab = s->lcr & LCR_DLAB;
	switch (off) {
	case REG_DATA:
		if (dlab)
			s->divisor = (s->divisor & 0xff00) | value;
		else
			write_data(s, value);
		break;
	case REG_IER:
		if (dlab)
			s->divisor = (uint16_t)((s->divisor & 0xff) | value << 8);
		else
			write_ier(s, value);
		break;
	case REG_IIR_FCR:
		write_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		write_mcr(s, value);
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default: /* LSR and MSR are read-only in normal use */
		break;
	}
	update_irq(s);
}

void serial16550_reset(struct serial16550 *s)
{
	mutex_guard(&s->lock);
	s->divisor = RESET_DIVISOR;
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->lsr = s->msr_delta = 0;
	s->rx = s->tx = (struct serial_fifo){ 0 };
	s->thre_pending = false;
	restart_timeout(s);
	update_irq(s);
	offer_room(s);
}

int serial16550_init(struct serial16550 *s, const struct board *board, uint16_t base,
		     unsigned int gsi, struct chardev *cd, struct err *err)
{
	int r;

	*s = (struct serial16550){
		.range = { .name = "serial",
			   .base = base,
			   .len = NR_REGS,
			   .read = serial_read,
			   .write = serial_write,
			   .arg = s,
			   .max_size = 1 },
		.irq = irq_router_line(board->irqs, gsi,
				       base == 0x3e8 || base == 0x2e8 ? IRQ_FROM_COM3
								      : IRQ_FROM_ISA),
		.clock = board->clock,
		.timers = board->timers,
	};
	mutex_init(&s->lock);
	timerq_timer_init(s->timers, &s->rx_timer, rx_timed_out, s);
	serial16550_reset(s);
	r = bus_add(board->pio, &s->range, err);
	if (r < 0) {
		serial16550_done(s);
		return r;
	}
	s->pio = board->pio;
	s->cd = cd;
	if (cd) {
		chardev_set_receiver(cd, receive, s);
		chardev_set_writable(cd, writable);
	}
	return 0;
}

void serial16550_done(struct serial16550 *s)
{
	if (!s->timers)
		return;
	if (s->cd) {
		chardev_set_receiver(s->cd, NULL, NULL);
		chardev_set_writable(s->cd, NULL);
	}
	bus_del(s->pio, &s->range);
	timerq_timer_done(s->timers, &s->rx_timer);
	pthread_mutex_destroy(&s->lock);
	*s = (struct serial16550){ 0 };
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fifo_fields[] = {
	STATE_BYTES(struct serial_fifo, buf),
	STATE_MAX(struct serial_fifo, head, SERIAL_FIFO - 1),
	STATE_MAX(struct serial_fifo, n, SERIAL_FIFO),
};

static const struct state_desc fifo_state = {
	.name = "fifo",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct serial_fifo, fifo_fields),
};

static const struct state_field fields[] = {
	STATE_ANY(struct serial16550, divisor),
	STATE_MAX(struct serial16550, ier, IER_ALL),
	STATE_ANY(struct serial16550, fcr),
	STATE_ANY(struct serial16550, lcr),
	STATE_MAX(struct serial16550, mcr, MCR_ALL),
	STATE_ANY(struct serial16550, scr),
	STATE_MAX(struct serial16550, lsr, LSR_ERRORS),
	STATE_MAX(struct serial16550, msr_delta, 15),
	STATE_STRUCT(struct serial16550, rx, &fifo_state),
	STATE_STRUCT(struct serial16550, tx, &fifo_state),
	STATE_BOOL(struct serial16550, thre_pending),
	STATE_BOOL(struct serial16550, timeout_pending),
	STATE_ANY(struct serial16550, timeout_ns),
};

/* The other end is another one, or had no say: offer it what waits, and take what it has. */
static void loaded(void *obj)
{
	struct serial16550 *s = obj;

	mutex_guard(&s->lock);
	timerq_arm(s->timers, &s->rx_timer, s->timeout_ns ? s->timeout_ns : UINT64_MAX);
	if (s->tx.n)
		transmit(s);
	offer_room(s);
	update_irq(s);
}

const struct state_desc serial16550_state = {
	.name = "serial",
	.version = 1,
	STATE_LOCK(struct serial16550, lock),
	STATE_TABLE(struct serial16550, fields),
	.loaded = loaded,
};
