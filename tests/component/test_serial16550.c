/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>

#include "bench.h"
#include "vm/chardev.h"
#include "vm/dev/serial16550.h"

enum {
	COM1 = 0x3f8,
	RBR = COM1,
	IER = COM1 + 1,
	IIR = COM1 + 2,
	LCR = COM1 + 3,
	MCR = COM1 + 4,
	LSR = COM1 + 5,
	MSR = COM1 + 6,
	SCR = COM1 + 7
};

struct wire {
	struct chardev cd; /* first */
	char out[256];
	size_t n;
	ssize_t room; /* bytes it takes; negative: this error */
	unsigned int offers;
	bool closed;
};

struct fixture {
	struct bench b;
	struct wire wire;
	struct serial16550 uart;
};

static ssize_t wire_write(struct chardev *cd, const void *buf, size_t n)
{
	struct wire *w = (struct wire *)cd;

	if (w->room < 0)
		return w->room;
	if (!w->room)
		return -EAGAIN;
	n = MIN(n, (size_t)w->room);
	n = MIN(n, sizeof(w->out) - w->n);
	memcpy(w->out + w->n, buf, n);
	w->n += n;
	w->room -= (ssize_t)n;
	return (ssize_t)n;
}

static void wire_again(struct chardev *cd)
{
	((struct wire *)cd)->offers++;
}

static void wire_close(struct chardev *cd)
{
	((struct wire *)cd)->closed = true;
}

static const struct chardev_ops wire_ops = { wire_write, wire_again, wire_close };

static int setup(void **state)
{
	static struct fixture f;
	int r;

	memset(&f, 0, sizeof(f));
	f.wire.cd.ops = &wire_ops;
	f.wire.room = 1000;
	r = bench_init(&f.b, 0);
	*state = &f;
	return r ? r : serial16550_init(&f.uart, &f.b.board, COM1, 4, &f.wire.cd, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serial16550_done(&f->uart);
	serial16550_done(&f->uart);
	bench_done(&f->b);
	return f->wire.cd.receive != NULL;
}

static size_t feed(struct fixture *f, const char *bytes)
{
	return f->wire.cd.receive(f->wire.cd.port_arg, (const uint8_t *)bytes, strlen(bytes));
}

static void test_registers(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, LCR, 0x83);
	outb(b, RBR, 0x34);
	outb(b, IER, 0x12);
	assert_int_equal(inb(b, RBR), 0x34);
	assert_int_equal(inb(b, IER), 0x12);
	outb(b, LCR, 0x03);
	outb(b, IER, 0xff);
	assert_int_equal(inb(b, IER), 0x0f);
	outb(b, SCR, 0xa5);
	assert_int_equal(inb(b, SCR), 0xa5);
	outb(b, MCR, 0xff);
	assert_int_equal(inb(b, MCR), 0x1f);
	outb(b, LSR, 0xff); /* read-only */
	assert_int_equal(inb(b, LSR), 0x60);
	assert_int_equal(inb(b, LCR), 0x03);
	/* A wide access is one of bytes. */
	assert_int_equal(inl(b, LCR) & 0xff, 0x03);
	outb(b, IIR, 0x01);
	assert_int_equal(inb(b, IIR) & 0xc0, 0xc0);
	outb(b, IIR, 0x00);
	assert_int_equal(inb(b, IIR) & 0xc0, 0);
	serial16550_reset(&f->uart);
	assert_int_equal(inb(b, SCR), 0);
	assert_int_equal(inb(b, IIR), 0x01);
	assert_int_equal(inb(b, MSR), 0xb0);
}

static void test_output(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	const char *text = "hello";

	for (const char *p = text; *p; p++) {
		assert_int_equal(inb(b, LSR) & 0x60, 0x60);
		outb(b, RBR, (uint8_t)*p);
	}
	assert_int_equal(f->wire.n, 5);
	assert_memory_equal(f->wire.out, text, 5);
	/* Nobody takes bytes: THRE goes off, FIFO holds what was written. */
	outb(b, IIR, 0x01);
	f->wire.room = 0;
	for (int k = 0; k < 20; k++)
		outb(b, RBR, (uint8_t)('a' + k));
	assert_int_equal(inb(b, LSR) & 0x60, 0);
	outb(b, MCR, 0x08);
	outb(b, IER, 0x02);
	assert_false(bench_line(b, 4));
	f->wire.room = 7;
	f->wire.cd.writable(f->wire.cd.port_arg);
	assert_int_equal(f->wire.n, 12);
	assert_int_equal(inb(b, LSR) & 0x20, 0);
	f->wire.room = 100;
	f->wire.cd.writable(f->wire.cd.port_arg);
	assert_int_equal(f->wire.n, 21); /* 16 of them: the rest was written to a full FIFO */
	assert_memory_equal(f->wire.out + 5, "abcdefghijklmnop", 16);
	assert_true(bench_line(b, 4));
	assert_int_equal(inb(b, IIR), 0xc2);
	assert_false(bench_line(b, 4)); /* reading it takes it back */
	/* A dead line swallows. */
	f->wire.room = -EPIPE;
	outb(b, RBR, 'x');
	assert_int_equal(inb(b, LSR) & 0x60, 0x60);
}

static void test_thre_interrupt(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, MCR, 0x08);
	outb(b, IER, 0x02);
	assert_true(bench_line(b, 4));
	assert_int_equal(inb(b, IIR), 0x02);
	assert_int_equal(inb(b, IIR), 0x01);
	/* Off and on again raises it once more. */
	outb(b, IER, 0);
	outb(b, IER, 2);
	assert_int_equal(inb(b, IIR), 0x02);
	outb(b, RBR, 'x');
	assert_int_equal(inb(b, IIR), 0x02);
	/* OUT2 gates the line. */
	outb(b, RBR, 'x');
	assert_true(bench_line(b, 4));
	outb(b, MCR, 0x00);
	assert_false(bench_line(b, 4));
}

static void test_input(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, MCR, 0x08);
	outb(b, IER, 0x01);
	assert_int_equal(feed(f, "abc"), 1); /* no FIFO */
	assert_true(bench_line(b, 4));
	assert_int_equal(inb(b, IIR), 0x04);
	assert_int_equal(inb(b, LSR) & 1, 1);
	assert_int_equal(inb(b, RBR), 'a');
	assert_int_equal(f->wire.offers, 1);
	assert_false(bench_line(b, 4));
	assert_int_equal(inb(b, RBR), 0);

	outb(b, IIR, 0x81); /* trigger at 8 */
	assert_int_equal(feed(f, "1234567"), 7);
	assert_false(bench_line(b, 4));
	assert_int_equal(feed(f, "8"), 1);
	assert_int_equal(inb(b, IIR), 0xc4);
	assert_int_equal(inb(b, RBR), '1');
	assert_false(bench_line(b, 4));
	/* Four characters of silence at 9600 baud, 7 bits and so on: 4 * 7 / 9600 s. */
	bench_pass(b, 2 * NS_PER_MS);
	assert_false(bench_line(b, 4));
	bench_pass(b, NS_PER_MS);
	assert_true(bench_line(b, 4));
	assert_int_equal(inb(b, IIR), 0xcc);
	assert_int_equal(inb(b, RBR), '2');
	assert_false(bench_line(b, 4));
	bench_pass(b, 5 * NS_PER_MS);
	while (inb(b, LSR) & 1)
		(void)inb(b, RBR);
	assert_false(bench_line(b, 4));
	bench_pass(b, 5 * NS_PER_MS);
	assert_int_equal(inb(b, IIR), 0xc1);

	assert_int_equal(feed(f, "0123456789abcdefXYZ"), 16);
	outb(b, IIR, 0x83); /* clear the receive FIFO */
	assert_int_equal(inb(b, LSR) & 1, 0);
	assert_int_equal(f->wire.offers, 2);
}

static void test_loopback(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, IIR, 0x01);
	outb(b, MCR, 0x10);
	(void)inb(b, MSR);  /* the change to loopback itself */
	outb(b, MCR, 0x1a); /* RTS, OUT2 */
	assert_int_equal(inb(b, MSR), 0x90 | 0x09);
	assert_int_equal(inb(b, MSR), 0x90);
	outb(b, MCR, 0x15); /* DTR, OUT1 */
	assert_int_equal(inb(b, MSR), 0x60 | 0x0b);
	outb(b, MCR, 0x10);
	assert_int_equal(inb(b, MSR), 0x06); /* the ring indicator's trailing edge */
	outb(b, RBR, 0x55);
	assert_int_equal(f->wire.n, 0);
	assert_int_equal(inb(b, RBR), 0x55);
	assert_int_equal(feed(f, "x"), 0); /* the pin is disconnected */
	for (int k = 0; k < 17; k++)
		outb(b, RBR, (uint8_t)k);
	assert_int_equal(inb(b, LSR), 0x63); /* overrun */
	assert_int_equal(inb(b, LSR), 0x61);
	outb(b, IER, 0x04);
	assert_int_equal(inb(b, IIR), 0xc1);
	outb(b, RBR, 0);
	assert_int_equal(inb(b, IIR), 0xc6);
	outb(b, IIR, 0x03);
	outb(b, MCR, 0x00);
	assert_int_equal(f->wire.offers, 1);
	outb(b, IER, 0x08);
	assert_int_equal(inb(b, IIR), 0xc0); /* the modem inputs changed */
}

static void test_without_backend(void **state)
{
	struct fixture *f = *state;
	struct serial16550 other = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(serial16550_init(&other, &f->b.board, COM1, 4, NULL, &err), -EEXIST);
	serial16550_done(&other);
	assert_int_equal(serial16550_init(&other, &f->b.board, 0x2f8, 3, NULL, NULL), 0);
	outb(&f->b, 0x2f8, 'x');
	assert_int_equal(inb(&f->b, 0x2fd), 0x60);
	assert_int_equal(inb(&f->b, 0x2fe), 0);
	serial16550_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thre_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_backend, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
