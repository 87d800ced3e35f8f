/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <stdbool.h>

#include "bench.h"
#include "vm/dev/acpi_pm.h"

struct fixture {
	struct bench b;
	struct acpi_pm pm;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	return r ? r : acpi_pm_init(&f.pm, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	acpi_pm_done(&f->pm);
	acpi_pm_done(&f->pm);
	bench_done(&f->b);
	return 0;
}

static uint16_t inw(struct bench *b, uint16_t port)
{
	return (uint16_t)bus_read(b->pio, port, 2);
}

static void outw(struct bench *b, uint16_t port, uint16_t value)
{
	bus_write(b->pio, port, 2, value);
}

static void enable_acpi(struct bench *b)
{
	outb(b, ACPI_SMI_CMD, ACPI_SMI_ENABLE);
	assert_int_equal(inw(b, ACPI_PM1_CNT) & 1, 1);
}

static void test_timer(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	uint32_t t0 = inl(b, ACPI_PM_TMR), t1;

	bench_pass(b, NS_PER_S);
	t1 = inl(b, ACPI_PM_TMR);
	assert_in_range(t1 - t0, ACPI_PM_TMR_HZ - 1, ACPI_PM_TMR_HZ + 1);
	bench_pass(b, 4 * NS_PER_S); /* turns over at 24 bits */
	assert_int_equal(inl(b, ACPI_PM_TMR) >> 24, 0);
	assert_int_equal(inl(b, ACPI_PM_TMR), 5 * ACPI_PM_TMR_HZ - (1 << 24));
	assert_int_equal(inb(b, ACPI_PM_TMR + 2), inl(b, ACPI_PM_TMR) >> 16);
	outl(b, ACPI_PM_TMR, 0); /* read-only */
	assert_int_equal(inl(b, ACPI_PM_TMR), 5 * ACPI_PM_TMR_HZ - (1 << 24));

	/* Its status comes without anybody waiting, its interrupt when enabled. */
	assert_int_equal(inw(b, ACPI_PM1_EVT), 1);
	outw(b, ACPI_PM1_EVT, 1);
	assert_int_equal(inw(b, ACPI_PM1_EVT), 0);
	enable_acpi(b);
	outw(b, ACPI_PM1_EVT + 2, 1);
	assert_false(bench_line(b, ACPI_SCI_GSI));
	bench_pass(b, 2344 * NS_PER_MS);
	assert_true(bench_line(b, ACPI_SCI_GSI));
	outw(b, ACPI_PM1_EVT, 1);
	assert_false(bench_line(b, ACPI_SCI_GSI));
	bench_pass(b, 2344 * NS_PER_MS);
	assert_true(bench_line(b, ACPI_SCI_GSI));
	acpi_pm_reset(&f->pm);
	assert_false(bench_line(b, ACPI_SCI_GSI));
	assert_int_equal(inw(b, ACPI_PM1_EVT), 0);
}

static void test_power(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outw(b, ACPI_PM1_EVT + 2, 0xffff);
	assert_int_equal(inw(b, ACPI_PM1_EVT + 2), 0x721);
	acpi_pm_power_button(&f->pm);
	assert_int_equal(inw(b, ACPI_PM1_EVT), 0x100);
	assert_false(bench_line(b, ACPI_SCI_GSI)); /* ACPI is not on */
	enable_acpi(b);
	assert_true(bench_line(b, ACPI_SCI_GSI));
	outb(b, ACPI_PM1_EVT + 1, 1); /* by bytes, too */
	assert_false(bench_line(b, ACPI_SCI_GSI));
	outb(b, ACPI_SMI_CMD, ACPI_SMI_DISABLE);
	assert_int_equal(inw(b, ACPI_PM1_CNT), 0);
	outb(b, ACPI_SMI_CMD + 1, 0x42);
	assert_int_equal(inb(b, ACPI_SMI_CMD + 1), 0x42);
	assert_int_equal(inb(b, ACPI_SMI_CMD), ACPI_SMI_DISABLE);

	outw(b, ACPI_PM1_CNT, 1 << 13 | 5 << 10); /* a state that does not exist */
	assert_int_equal(b->nr_requests, 0);
	assert_int_equal(inw(b, ACPI_PM1_CNT), 5 << 10);
	outw(b, ACPI_PM1_CNT, ACPI_SLP_TYP_S5 << 10);
	assert_int_equal(b->nr_requests, 0);
	outw(b, ACPI_PM1_CNT, 1 << 13 | ACPI_SLP_TYP_S5 << 10);
	assert_int_equal(b->nr_requests, 1);
	assert_int_equal(b->request, MACHINE_POWEROFF);
}

static void test_gpe(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	enable_acpi(b);
	acpi_pm_gpe(&f->pm, 9);
	acpi_pm_gpe(&f->pm, 64);
	assert_int_equal(inl(b, ACPI_GPE0), 0x200);
	assert_false(bench_line(b, ACPI_SCI_GSI));
	outb(b, ACPI_GPE0 + 9, 0x02);
	assert_true(bench_line(b, ACPI_SCI_GSI));
	outb(b, ACPI_GPE0 + 1, 0x02);
	assert_false(bench_line(b, ACPI_SCI_GSI));
	assert_int_equal(inl(b, ACPI_GPE0), 0);
	outl(b, ACPI_PM_BASE + 0x30, 0x12345678);
	assert_int_equal(inl(b, ACPI_PM_BASE + 0x30), 0x12345678);
	outl(b, ACPI_PM_BASE + 0x34, 0xffffffff);
	assert_int_equal(inl(b, ACPI_PM_BASE + 0x34), 0);
	assert_int_equal(inl(b, ACPI_PM_BASE + 0x7c), 0);
	outl(b, ACPI_PM_BASE + 0x7c, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gpe, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
