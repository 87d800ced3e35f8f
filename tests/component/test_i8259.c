/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "bench.h"

static int setup(void **state)
{
	static struct bench b;

	*state = &b;
	return bench_init(&b, 0);
}

static int teardown(void **state)
{
	bench_done(*state);
	return 0;
}

/* The customary initialisation: vectors 0x20 and 0x28. */
static void init_pair(struct bench *b, uint8_t icw4)
{
	outb(b, 0x20, 0x11);
	outb(b, 0x21, 0x20);
	outb(b, 0x21, 0x04);
	outb(b, 0x21, icw4);
	outb(b, 0xa0, 0x11);
	outb(b, 0xa1, 0x28);
	outb(b, 0xa1, 0x02);
	outb(b, 0xa1, icw4);
}

static void set(struct bench *b, unsigned int irq, bool level)
{
	i8259_set_irq(&b->pic, irq, level);
}

static void test_masks(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	outb(b, 0x21, 0xa5);
	outb(b, 0xa1, 0x5a);
	assert_int_equal(inb(b, 0x21), 0xa5);
	assert_int_equal(inb(b, 0xa1), 0x5a);
	set(b, 0, true); /* masked */
	assert_false(b->intr);
	outb(b, 0x21, 0xa4);
	assert_true(b->intr);
	outb(b, 0x21, 0xff);
	assert_false(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x27); /* went away: spurious */
	outb(b, 0x20, 0x0b);
	assert_int_equal(inb(b, 0x20), 0); /* and nothing is in service */
}

static void test_priorities(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	set(b, 4, true);
	set(b, 1, true);
	assert_true(b->intr);
	outb(b, 0x20, 0x0a);
	assert_int_equal(inb(b, 0x20), 0x12);
	assert_int_equal(i8259_ack(&b->pic), 0x21);
	assert_false(b->intr); /* 4 waits for the end of 1 */
	set(b, 0, true);
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x20);
	outb(b, 0x20, 0x0b);
	assert_int_equal(inb(b, 0x20), 0x03);
	outb(b, 0x20, 0x20);
	assert_int_equal(inb(b, 0x20), 0x02);
	outb(b, 0x20, 0x61); /* specific */
	assert_int_equal(inb(b, 0x20), 0x00);
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x24);
	outb(b, 0x20, 0x20);
	/* Lines are still high, but these are edges. */
	assert_false(b->intr);
}

static void test_cascade(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	set(b, 14, true);
	set(b, 8, true);
	assert_int_equal(i8259_ack(&b->pic), 0x28);
	assert_false(b->intr);
	outb(b, 0xa0, 0x20);
	assert_false(b->intr); /* the master still serves input 2 */
	outb(b, 0x20, 0x20);
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x2e);
	outb(b, 0xa0, 0x20);
	outb(b, 0x20, 0x20);
	assert_false(b->intr);
	set(b, 2, true); /* cannot be driven from outside */
	set(b, 99, true);
	assert_false(b->intr);

	/* The slave's request disappears between the master's acknowledge and its own. */
	set(b, 8, false);
	set(b, 8, true);
	b->pic.chip[1].irr = 0;
	assert_int_equal(i8259_ack(&b->pic), 0x2f);
	outb(b, 0xa0, 0x0b);
	assert_int_equal(inb(b, 0xa0), 0);
	outb(b, 0x20, 0x0b);
	assert_int_equal(inb(b, 0x20), 4); /* as software must know: EOI for the master only */
}

static void test_auto_eoi_and_rotation(void **state)
{
	struct bench *b = *state;

	init_pair(b, 3);
	set(b, 3, true);
	set(b, 12, true);
	set(b, 9, true);
	assert_int_equal(i8259_ack(&b->pic), 0x29);
	assert_true(b->intr); /* nothing stays in service, so the slave asks again */
	assert_int_equal(i8259_ack(&b->pic), 0x2c);
	assert_int_equal(i8259_ack(&b->pic), 0x23);
	assert_false(b->intr);

	init_pair(b, 1);
	set(b, 3, false);
	outb(b, 0x20, 0xc4); /* lowest is 4: the order is 5 6 7 0 1 2 3 4 */
	set(b, 0, true);
	set(b, 6, true);
	assert_int_equal(i8259_ack(&b->pic), 0x26);
	outb(b, 0x20, 0xa0); /* rotate on non-specific EOI: lowest is 6 */
	assert_int_equal(b->pic.chip[0].lowest_priority, 6);
	assert_int_equal(i8259_ack(&b->pic), 0x20);
	outb(b, 0x20, 0xe0); /* rotate on specific EOI */
	assert_int_equal(b->pic.chip[0].lowest_priority, 0);
}

static void test_level(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	outb(b, 0x4d0, 0xff);
	outb(b, 0x4d1, 0xff);
	assert_int_equal(inb(b, 0x4d0), 0xf8);
	assert_int_equal(inb(b, 0x4d1), 0xde);
	set(b, 5, true);
	assert_int_equal(i8259_ack(&b->pic), 0x25);
	outb(b, 0x20, 0x20);
	assert_true(b->intr); /* still there */
	set(b, 5, false);
	assert_false(b->intr);
	set(b, 11, true);
	assert_true(b->intr);
	set(b, 11, false);
	assert_int_equal(i8259_ack(&b->pic), 0x27);
	outb(b, 0x4d0, 0);
	outb(b, 0x4d1, 0);
}

static void test_special_modes(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	set(b, 3, true);
	assert_int_equal(i8259_ack(&b->pic), 0x23);
	set(b, 6, true);
	assert_false(b->intr);
	outb(b, 0x20, 0x68); /* special mask mode */
	outb(b, 0x21, 0x08);
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x26);
	outb(b, 0x20, 0x20); /* ends 6: 3 is masked */
	outb(b, 0x20, 0x0b);
	assert_int_equal(inb(b, 0x20), 0x08);
	outb(b, 0x20, 0x48); /* off */
	outb(b, 0x21, 0);

	init_pair(b, 0x11); /* special fully nested */
	set(b, 15, true);
	assert_int_equal(i8259_ack(&b->pic), 0x2f);
	set(b, 9, true);
	assert_true(b->intr); /* passes although input 2 is in service */
	assert_int_equal(i8259_ack(&b->pic), 0x29);
}

static void test_poll(void **state)
{
	struct bench *b = *state;

	init_pair(b, 1);
	outb(b, 0x20, 0x0c);
	assert_int_equal(inb(b, 0x20), 0);
	set(b, 4, true);
	outb(b, 0x20, 0x0c);
	assert_int_equal(inb(b, 0x20), 0x84);
	outb(b, 0x20, 0x0b);
	assert_int_equal(inb(b, 0x20), 0x10);
}

static void test_reset_state(void **state)
{
	struct bench *b = *state;

	i8259_reset(&b->pic);
	set(b, 11, true);
	set(b, 11, false); /* a pulse is enough */
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 0x73); /* as firmware sets the pair up */
	i8259_set_output(&b->pic, bench_intr, b);
	assert_false(b->intr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cascade, setup, teardown),
		cmocka_unit_test_setup_teardown(test_auto_eoi_and_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_special_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_state, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
