/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tells the machine that its guest is in trouble: the watchdog timer and the panic register. */
#include "unit.h"

#include "bench.h"
#include "vm/dev/i6300esb.h"
#include "vm/dev/pvpanic.h"

enum { DOG = 0xd0000000, PANIC = 0xd0001000 };

struct fixture {
	struct bench b;
	struct pci_bus pci;
	struct i6300esb dog;
	struct pvpanic panic;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 0);

	*state = &f;
	if (r == 0)
		r = pci_init(&f.pci, &f.b.board, NULL);
	if (r == 0)
		r = i6300esb_init(&f.dog, &f.b.board, &f.pci, NULL);
	if (r == 0)
		r = pvpanic_init(&f.panic, &f.b.board, &f.pci, NULL);
	pci_config_write(&f.pci, I6300ESB_DEVFN, 0x10, 4, DOG);
	pci_config_write(&f.pci, I6300ESB_DEVFN, 4, 2, 2);
	pci_config_write(&f.pci, PVPANIC_DEVFN, 0x10, 4, PANIC);
	pci_config_write(&f.pci, PVPANIC_DEVFN, 4, 2, 2);
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pvpanic_done(&f->panic);
	i6300esb_done(&f->dog);
	i6300esb_done(&f->dog);
	pci_done(&f->pci);
	bench_done(&f->b);
	return 0;
}

/* A write behind the two words that open the registers for it. */
static void put(struct fixture *f, unsigned int reg, unsigned int size, uint32_t value)
{
	bus_write(f->b.mmio, DOG + 0xc, 2, 0x80);
	bus_write(f->b.mmio, DOG + 0xc, 2, 0x86);
	bus_write(f->b.mmio, DOG + reg, size, value);
}

static void control(struct fixture *f, uint8_t value)
{
	pci_config_write(&f->pci, I6300ESB_DEVFN, 0x68, 1, value);
}

static unsigned int barks(const struct fixture *f)
{
	return f->b.nr_told[GUEST_WATCHDOG];
}

/* As Linux's driver does it: half of the time in each timer, 512 ticks to the half second. */
static void test_watchdog(void **state)
{
	struct fixture *f = *state;

	pci_config_write(&f->pci, I6300ESB_DEVFN, 0x60, 2, 3);
	put(f, 0, 4, 10 << 9);
	put(f, 4, 4, 10 << 9);
	assert_int_equal(bus_read(f->b.mmio, DOG, 4), 10 << 9);
	bench_pass(&f->b, 100 * NS_PER_S); /* not enabled */
	assert_int_equal(barks(f), 0);
	control(f, 2);
	for (int k = 0; k < 5; k++) { /* fed, the last times in its second half */
		bench_pass(&f->b, (k < 2 ? 4 : 9) * NS_PER_S);
		assert_int_equal(bus_read(f->b.mmio, DOG + 8, 4) & 1, k >= 2);
		put(f, 0xc, 2, 0x100);
	}
	bench_pass(&f->b, 10 * NS_PER_S);
	assert_int_equal(barks(f), 0);
	bench_pass(&f->b, 300 * NS_PER_MS);
	assert_int_equal(barks(f), 1);
	bench_pass(&f->b, 100 * NS_PER_S); /* once */
	assert_int_equal(barks(f), 1);
	assert_int_equal(bus_read(f->b.mmio, DOG + 0xc, 2), 0x200);
	i6300esb_reset(&f->dog); /* it remembers across a reset that it has expired */
	assert_int_equal(bus_read(f->b.mmio, DOG + 0xc, 2), 0x200);
	put(f, 0xc, 2, 0x200);
	assert_int_equal(bus_read(f->b.mmio, DOG + 0xc, 2), 0);
	bus_write(f->b.mmio, DOG + 8, 4, 1);
	assert_int_equal(bus_read(f->b.mmio, DOG + 8, 4), 0);
}

static void test_watchdog_locks(void **state)
{
	struct fixture *f = *state;

	/* Without the words a write does nothing, nor with half of them. */
	bus_write(f->b.mmio, DOG, 4, 5);
	bus_write(f->b.mmio, DOG + 0xc, 2, 0x86);
	bus_write(f->b.mmio, DOG, 4, 5);
	assert_int_equal(bus_read(f->b.mmio, DOG, 4), 0xfffff);
	put(f, 0, 4, 1000);
	put(f, 4, 4, 1000);
	bus_write(f->b.mmio, DOG, 4, 5); /* they count for one write */
	assert_int_equal(bus_read(f->b.mmio, DOG, 4), 1000);
	/* Switched off, it is quiet; locked, it cannot be. */
	control(f, 2);
	control(f, 0);
	bench_pass(&f->b, 10 * NS_PER_S);
	assert_int_equal(barks(f), 0);
	control(f, 3);
	control(f, 0);
	pci_config_write(&f->pci, I6300ESB_DEVFN, 0x60, 2, 0x20);
	assert_int_equal(pci_config_read(&f->pci, I6300ESB_DEVFN, 0x68, 1), 3);
	assert_int_equal(pci_config_read(&f->pci, I6300ESB_DEVFN, 0x60, 2), 0);
	bench_pass(&f->b, 10 * NS_PER_S);
	assert_int_equal(barks(f), 1);
	/* Until the next reset. */
	i6300esb_reset(&f->dog);
	control(f, 0);
	assert_int_equal(pci_config_read(&f->pci, I6300ESB_DEVFN, 0x68, 1), 0);
	/* Without an output, and free running: nobody is told. In microseconds, and with nothing. */
	pci_config_write(&f->pci, I6300ESB_DEVFN, 0x60, 2, 0x24);
	control(f, 2);
	bench_pass(&f->b, 10 * NS_PER_S);
	assert_int_equal(bus_read(f->b.mmio, DOG + 0xc, 2), 0x200);
	control(f, 0);
	pci_config_write(&f->pci, I6300ESB_DEVFN, 0x60, 2, 0);
	put(f, 0, 4, 0);
	control(f, 6);
	bench_pass(&f->b, NS_PER_S);
	assert_int_equal(barks(f), 1);
	control(f, 0);
	put(f, 4, 4, 0);
	control(f, 2);
	bench_pass(&f->b, NS_PER_S);
	assert_int_equal(barks(f), 2);
}

static void test_panic(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pci_config_read(&f->pci, PVPANIC_DEVFN, 0, 4), 0x00111b36);
	assert_int_equal(bus_read(f->b.mmio, PANIC, 1), 3);
	bus_write(f->b.mmio, PANIC, 1, 4);
	bus_write(f->b.mmio, PANIC + 1, 1, 1);
	assert_int_equal(f->b.nr_told[GUEST_PANICKED], 0);
	bus_write(f->b.mmio, PANIC, 1, 1);
	bus_write(f->b.mmio, PANIC, 1, 2);
	assert_int_equal(f->b.nr_told[GUEST_PANICKED], 1);
	assert_int_equal(f->b.nr_told[GUEST_CRASH_KERNEL], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_watchdog, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watchdog_locks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_panic, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
