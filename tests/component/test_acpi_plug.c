/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sets behind hot plug, as ACPI methods and hostile guests use them. */
#include "unit.h"

#include "bench.h"
#include "vm/dev/acpi_plug.h"

enum { PRESENT = 0xaf00, INSERTED = 0xaf08, REMOVE = 0xaf10, EJECT = 0xaf18 };

static struct bench b;
static struct acpi_plug c;
static uint64_t gone;

static void ejected(void *arg, unsigned int cpu)
{
	assert_ptr_equal(arg, &b);
	assert_false(gone & UINT64_C(1) << cpu);
	gone |= UINT64_C(1) << cpu;
}

static int setup(void **state)
{
	const struct acpi_plug_config cfg = { .name = "plug",
					      .base = ACPI_PLUG_CPUS_BASE,
					      .present = 3,
					      .fixed = 1,
					      .ejected = ejected,
					      .arg = &b };
	int r = bench_init(&b, 0);

	gone = 0;
	return r ? r : acpi_plug_init(&c, &b.board, &cfg, NULL);
}

static int teardown(void **state)
{
	acpi_plug_done(&c);
	acpi_plug_done(&c);
	bench_done(&b);
	return 0;
}

static void test_plug(void **state)
{
	assert_int_equal(bus_read(b.pio, PRESENT, 4), 3);
	assert_int_equal(bus_read(b.pio, INSERTED, 4), 0);
	acpi_plug_in(&c, 2);
	acpi_plug_in(&c, 63);
	assert_int_equal(bus_read(b.pio, PRESENT, 1), 7);
	assert_int_equal(bus_read(b.pio, PRESENT + 7, 1), 0x80);
	assert_int_equal(bus_read(b.pio, INSERTED, 1), 4);
	/* What was seen is not told again; the others are. */
	bus_write(b.pio, INSERTED, 1, 4);
	assert_int_equal(bus_read(b.pio, INSERTED, 1), 0);
	assert_int_equal(bus_read(b.pio, INSERTED + 4, 4), 0x80000000);
	acpi_plug_reset(&c, 3);
	assert_int_equal(acpi_plug_present(&c), 3);
	assert_int_equal(bus_read(b.pio, INSERTED + 4, 4), 0);
}

static void test_give_back(void **state)
{
	acpi_plug_ask(&c, 1);
	acpi_plug_ask(&c, 0); /* never */
	acpi_plug_ask(&c, 9); /* not there */
	assert_int_equal(bus_read(b.pio, REMOVE, 4), 2);
	bus_write(b.pio, REMOVE, 1, 2);
	assert_int_equal(bus_read(b.pio, REMOVE, 4), 0);
	assert_int_equal(acpi_plug_present(&c), 3); /* until it lets go */
	bus_write(b.pio, EJECT, 1, 2);
	assert_int_equal(gone, 2);
	assert_int_equal(acpi_plug_present(&c), 1);
	/* CPU 0, those that are gone, those that never were: nothing. */
	bus_write(b.pio, EJECT, 4, 0xffffffff);
	bus_write(b.pio, EJECT + 4, 4, 0xffffffff);
	bus_write(b.pio, PRESENT, 4, 0xffffffff);
	assert_int_equal(gone, 2);
	assert_int_equal(acpi_plug_present(&c), 1);
	/* It can come again. */
	acpi_plug_in(&c, 1);
	assert_int_equal(acpi_plug_present(&c), 3);
	assert_int_equal(bus_read(b.pio, EJECT, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plug, setup, teardown),
		cmocka_unit_test_setup_teardown(test_give_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
