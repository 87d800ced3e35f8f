/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "bench.h"
#include "vm/dev/i8042.h"

struct fixture {
	struct bench b;
	struct i8042 kbd;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	return r ? r : i8042_init(&f.kbd, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	i8042_done(&f->kbd);
	i8042_done(&f->kbd);
	bench_done(&f->b);
	return 0;
}

static uint8_t ask(struct bench *b, uint8_t cmd)
{
	outb(b, 0x64, cmd);
	assert_int_equal(inb(b, 0x64) & 1, 1);
	return inb(b, 0x60);
}

static void test_controller(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_int_equal(inb(b, 0x64), 0x14);
	assert_int_equal(ask(b, 0xaa), 0x55);
	assert_int_equal(ask(b, 0xab), 0);
	assert_int_equal(ask(b, 0xa9), 0);
	assert_int_equal(ask(b, 0x20), 0x45);
	outb(b, 0x64, 0x60);
	outb(b, 0x60, 0x34);
	assert_int_equal(ask(b, 0x20), 0x34);
	outb(b, 0x64, 0xad);
	outb(b, 0x64, 0xa7);
	assert_int_equal(ask(b, 0x20), 0x34);
	outb(b, 0x64, 0xae);
	outb(b, 0x64, 0xa8);
	assert_int_equal(ask(b, 0x20), 0x04);
	outb(b, 0x64, 0x65);
	outb(b, 0x60, 0x99);
	assert_int_equal(ask(b, 0x25), 0x99);
	assert_int_equal(ask(b, 0xc0), 0x80);
	assert_int_equal(ask(b, 0xe0), 0);
	/* Loops: the byte comes back, marked with its port. */
	outb(b, 0x64, 0xd3);
	outb(b, 0x60, 0x5a);
	assert_int_equal(inb(b, 0x64) & 0x21, 0x21);
	assert_int_equal(inb(b, 0x60), 0x5a);
	outb(b, 0x64, 0xd2);
	outb(b, 0x60, 0xa5);
	assert_int_equal(inb(b, 0x64) & 0x21, 0x01);
	assert_int_equal(inb(b, 0x60), 0xa5);
	assert_int_equal(inb(b, 0x60), 0xa5); /* nothing new */
	assert_int_equal(f->b.nr_requests, 0);
}

static void test_keyboard(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, 0x60, 0xff);
	assert_true(bench_line(b, 1));
	assert_int_equal(inb(b, 0x60), 0xfa);
	assert_int_equal(b->edges[1], 2); /* each byte is an interrupt */
	assert_int_equal(inb(b, 0x60), 0xaa);
	assert_false(bench_line(b, 1));
	outb(b, 0x60, 0xf2);
	assert_int_equal(inb(b, 0x60), 0xfa);
	assert_int_equal(inb(b, 0x60), 0xab);
	assert_int_equal(inb(b, 0x60), 0x41);
	outb(b, 0x60, 0xed);
	assert_int_equal(inb(b, 0x60), 0xfa);
	outb(b, 0x60, 0x07);
	assert_int_equal(inb(b, 0x60), 0xfa);
	outb(b, 0x60, 0xf0);
	outb(b, 0x60, 0x00);
	assert_int_equal(inb(b, 0x60), 0xfa);
	assert_int_equal(inb(b, 0x60), 0xfa);
	assert_int_equal(inb(b, 0x60), 2);
	outb(b, 0x60, 0xf0);
	outb(b, 0x60, 0x01);
	assert_int_equal(f->kbd.scancode_set, 1);
	outb(b, 0x60, 0xf6);
	outb(b, 0x60, 0xf5);
	outb(b, 0x60, 0xf4);
	outb(b, 0x60, 0xf9);
	outb(b, 0x60, 0xee);
	outb(b, 0x60, 0x00); /* no command: please again */
	for (int k = 0; k < 6; k++)
		(void)inb(b, 0x60);
	assert_int_equal(inb(b, 0x60), 0xee);
	assert_int_equal(inb(b, 0x60), 0xfe);
	/* A flood loses bytes, nothing more. */
	for (int k = 0; k < 100; k++)
		outb(b, 0x60, 0xf2);
	assert_int_equal(f->kbd.n, I8042_QUEUE);
	i8042_reset(&f->kbd);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	/* No interrupt when it is off. */
	outb(b, 0x64, 0x60);
	outb(b, 0x60, 0x00);
	outb(b, 0x60, 0xee);
	assert_false(bench_line(b, 1));
}

static void test_reset_lines(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, 0x64, 0xff);
	assert_int_equal(b->nr_requests, 0);
	outb(b, 0x64, 0xfe);
	assert_int_equal(b->nr_requests, 1);
	assert_int_equal(b->request, MACHINE_RESET);
	assert_int_equal(ask(b, 0xd0) & 3, 3);
	outb(b, 0x64, 0xd1);
	outb(b, 0x60, 0xdd); /* A20 cannot be closed */
	assert_int_equal(ask(b, 0xd0), 0xdf);
	assert_int_equal(b->nr_requests, 1);
	outb(b, 0x64, 0xd1);
	outb(b, 0x60, 0xde);
	assert_int_equal(b->nr_requests, 2);
	assert_int_equal(inb(b, 0x92), 2);
	outb(b, 0x92, 0);
	assert_int_equal(b->nr_requests, 2);
	outb(b, 0x92, 3);
	assert_int_equal(b->nr_requests, 3);
}

/* Keys from outside: translated, and as the keyboard says them. */
static void test_typing(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	i8042_key(&f->kbd, 0x1e, false, true);
	i8042_key(&f->kbd, 0x48, true, false);
	assert_int_equal(inb(b, 0x64) & 0x21, 1);
	assert_int_equal(inb(b, 0x60), 0x1e);
	assert_int_equal(inb(b, 0x60), 0xe0);
	assert_int_equal(inb(b, 0x60), 0xc8);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	outb(b, 0x64, 0x60);
	outb(b, 0x60, 0x05); /* no translation */
	i8042_key(&f->kbd, 0x1e, false, true);
	i8042_key(&f->kbd, 0x1e, false, false);
	assert_int_equal(inb(b, 0x60), 0x1c);
	assert_int_equal(inb(b, 0x60), 0xf0);
	assert_int_equal(inb(b, 0x60), 0x1c);
	/* No such key; switched off: it comes when the keyboard may speak again. */
	i8042_key(&f->kbd, 0, false, true);
	i8042_key(&f->kbd, 0x7f, false, true);
	outb(b, 0x64, 0xad);
	i8042_key(&f->kbd, 0x1e, false, true);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	outb(b, 0x64, 0xae);
	assert_int_equal(inb(b, 0x60), 0x1c);
	/* Far more than the guest reads: one is on its way, 256 wait, each whole; the others are lost. */
	for (int k = 0; k < 1000; k++)
		i8042_key(&f->kbd, 0x1e, true, false);
	for (int k = 0; k < 3 * 257; k++)
		assert_int_equal(inb(b, 0x60), k % 3 == 0 ? 0xe0 : k % 3 == 1 ? 0xf0 : 0x1c);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	/* Not those of before a reset of the keyboard. */
	i8042_key(&f->kbd, 0x1e, false, true);
	i8042_key(&f->kbd, 0x1e, false, true);
	outb(b, 0x60, 0xf5);
	assert_int_equal(inb(b, 0x60), 0x1c);
	assert_int_equal(inb(b, 0x60), 0xfa);
	i8042_key(&f->kbd, 0x1e, false, true);
	assert_int_equal(inb(b, 0x64) & 1, 0);
}

/* A command for the mouse and its answer, every byte marked as the mouse's. */
static void mouse(struct bench *b, uint8_t byte, const char *answer, size_t n)
{
	outb(b, 0x64, 0xd4);
	outb(b, 0x60, byte);
	for (size_t k = 0; k < n; k++) {
		assert_int_equal(inb(b, 0x64) & 0x21, 0x21);
		assert_int_equal(inb(b, 0x60), (uint8_t)answer[k]);
	}
	assert_int_equal(inb(b, 0x64) & 1, 0);
}

static void expect(struct bench *b, const char *packet, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		assert_int_equal(inb(b, 0x64) & 0x21, 0x21);
		assert_int_equal(inb(b, 0x60), (uint8_t)packet[k]);
	}
}

static void set_rate(struct bench *b, uint8_t rate)
{
	mouse(b, 0xf3, "\xfa", 1);
	mouse(b, rate, "\xfa", 1);
}

/* What a driver does to find a mouse, and each kind of mouse that it finds. */
static void test_mouse_commands(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	mouse(b, 0xff, "\xfa\xaa\x00", 3);
	mouse(b, 0xf2, "\xfa\x00", 2);
	mouse(b, 0xe9, "\xfa\x00\x02\x64", 4);
	mouse(b, 0xe8, "\xfa", 1);
	mouse(b, 3, "\xfa", 1);
	mouse(b, 0xe8, "\xfa", 1);
	mouse(b, 9, "\xfe", 1);
	mouse(b, 0xe7, "\xfa", 1);
	mouse(b, 0xf4, "\xfa", 1);
	i8042_mouse(&f->kbd, 0, 0, 0, PS2_LEFT | PS2_RIGHT | PS2_MIDDLE);
	expect(b, "\x0f\x00\x00", 3);
	mouse(b, 0xe9, "\xfa\x37\x03\x64", 4);
	mouse(b, 0xe6, "\xfa", 1);
	mouse(b, 0xf6, "\xfa", 1);
	mouse(b, 0x01, "\xfe", 1);
	/* Wrapped, it says what it hears. */
	mouse(b, 0xee, "\xfa", 1);
	mouse(b, 0xf2, "\xf2", 1);
	mouse(b, 0xec, "\xfa", 1);
	/* A wheel, only after the whole knock; five buttons only after a wheel. */
	set_rate(b, 200);
	set_rate(b, 200);
	set_rate(b, 80);
	mouse(b, 0xf2, "\xfa\x00", 2);
	set_rate(b, 200);
	set_rate(b, 100);
	set_rate(b, 80);
	mouse(b, 0xf2, "\xfa\x03", 2);
	set_rate(b, 200);
	set_rate(b, 200);
	set_rate(b, 80);
	mouse(b, 0xf2, "\xfa\x04", 2);
	mouse(b, 0xff, "\xfa\xaa\x00", 3);
}

static void test_mouse_packets(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	/* Silent until it is asked to speak, also later. */
	i8042_mouse(&f->kbd, 5, 5, 0, 0);
	outb(b, 0x64, 0x60);
	outb(b, 0x60, 0x47);
	mouse(b, 0xf4, "\xfa", 1);
	assert_false(bench_line(b, 12));
	b->edges[12] = 0;
	/* Right and up: up is positive there. */
	i8042_mouse(&f->kbd, 10, -5, 0, 0);
	assert_true(bench_line(b, 12));
	assert_false(bench_line(b, 1));
	expect(b, "\x08\x0a\x05", 3);
	assert_int_equal(b->edges[12], 3);
	assert_false(bench_line(b, 12));
	/* Nothing new, nothing sent. */
	i8042_mouse(&f->kbd, 0, 0, 0, 0);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	/* What comes while a packet waits adds up; a click does not get lost in it. */
	i8042_mouse(&f->kbd, 1, 0, 0, 0);
	i8042_mouse(&f->kbd, -100, 100, 0, 0);
	i8042_mouse(&f->kbd, -200, 200, 0, 0);
	i8042_mouse(&f->kbd, 0, 0, 0, PS2_LEFT);
	i8042_mouse(&f->kbd, 7, 0, 0, PS2_LEFT);
	i8042_mouse(&f->kbd, 0, 0, 0, 0);
	expect(b, "\x08\x01\x00", 3);
	expect(b, "\x38\x01\x01", 3); /* -255, -255 */
	expect(b, "\x38\xd3\xd3", 3); /* -45, -45 */
	expect(b, "\x09\x00\x00", 3);
	expect(b, "\x09\x07\x00", 3);
	expect(b, "\x08\x00\x00", 3);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	/* Keys and movements take turns, and none is cut in two. */
	i8042_mouse(&f->kbd, 1, 0, 0, 0);
	i8042_key(&f->kbd, 0x48, true, true);
	i8042_mouse(&f->kbd, 2, 0, 0, PS2_LEFT);
	i8042_key(&f->kbd, 0x48, true, false);
	expect(b, "\x08\x01\x00", 3);
	assert_int_equal(inb(b, 0x60), 0xe0);
	assert_int_equal(inb(b, 0x60), 0x48);
	expect(b, "\x09\x02\x00", 3);
	assert_int_equal(inb(b, 0x60), 0xe0);
	assert_int_equal(inb(b, 0x60), 0xc8);
	/* Its port off and on: it waits. */
	i8042_mouse(&f->kbd, 0, 0, 0, 0);
	expect(b, "\x08\x00\x00", 3);
	outb(b, 0x64, 0xa7);
	i8042_mouse(&f->kbd, 3, 0, 0, 0);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	outb(b, 0x64, 0xa8);
	expect(b, "\x08\x03\x00", 3);
	/* Asked instead of telling. */
	mouse(b, 0xf0, "\xfa", 1);
	i8042_mouse(&f->kbd, 4, 0, 0, 0);
	assert_int_equal(inb(b, 0x64) & 1, 0);
	mouse(b, 0xeb, "\xfa\x08\x04\x00", 4);
	mouse(b, 0xeb, "\xfa\x08\x00\x00", 4);
	mouse(b, 0xea, "\xfa", 1);
	/* A guest that never reads. */
	for (int k = 0; k < 1000; k++)
		i8042_mouse(&f->kbd, INT32_MAX, INT32_MIN, k, (uint8_t)k);
	assert_int_equal(f->kbd.mouse.n, PS2_MOVES);
	i8042_reset(&f->kbd);
	assert_int_equal(inb(b, 0x64) & 1, 0);
}

static void test_mouse_wheel(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	set_rate(b, 200);
	set_rate(b, 100);
	set_rate(b, 80);
	mouse(b, 0xf4, "\xfa", 1);
	i8042_mouse(&f->kbd, 0, 0, -1, 0);
	expect(b, "\x08\x00\x00\xff", 4);
	i8042_mouse(&f->kbd, 0, 0, 0, PS2_SIDE);
	expect(b, "\x08\x00\x00\x00", 4);
	set_rate(b, 200);
	set_rate(b, 200);
	set_rate(b, 80);
	i8042_mouse(&f->kbd, 0, 0, 9, PS2_EXTRA | PS2_LEFT);
	expect(b, "\x09\x00\x00\x27", 4);
	expect(b, "\x09\x00\x00\x22", 4);
	i8042_mouse(&f->kbd, 0, 0, -1, PS2_SIDE);
	expect(b, "\x08\x00\x00\x1f", 4);
	assert_int_equal(inb(b, 0x64) & 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_controller, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keyboard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_typing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mouse_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mouse_packets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mouse_wheel, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
