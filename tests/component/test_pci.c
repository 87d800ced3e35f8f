/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "bench.h"
#include "vm/dev/pci.h"

enum { DEVFN = 3 << 3 };

struct fixture {
	struct bench b;
	struct pci_bus pci;
	struct pci_dev dev;
	unsigned int nr_written;
	uint16_t written_off;
};

static uint64_t bar_read(void *arg, uint64_t off, unsigned int size)
{
	return 0x1000 + off;
}

static void config_written(struct pci_dev *d, uint16_t off, unsigned int size)
{
	struct fixture *f = container_of(d, struct fixture, dev);

	f->nr_written++;
	f->written_off = off;
}

static int setup(void **state)
{
	static struct fixture f;
	static const struct bus_range range = { .name = "bar", .read = bar_read };
	int r = bench_init(&f.b, 0);

	*state = &f;
	f.nr_written = 0;
	if (r == 0)
		r = pci_init(&f.pci, &f.b.board, NULL);
	pci_dev_setup(&f.dev, "test", 0x1af4, 0x1000, 0x020000, 1);
	pci_dev_set_subsystem(&f.dev, 0x1af4, 1);
	pci_dev_set_pin(&f.dev, 1);
	f.dev.config_written = config_written;
	if (r == 0)
		r = pci_dev_add_bar(&f.dev, 0, PCI_BAR_IO, false, 30, &range);
	if (r == 0)
		r = pci_dev_add_bar(&f.dev, 1, PCI_BAR_MEM32, false, 0x1000, &range);
	if (r == 0)
		r = pci_dev_add_bar(&f.dev, 2, PCI_BAR_MEM64, true, 0x4000, &range);
	return r ? r : pci_dev_plug(&f.pci, &f.dev, DEVFN, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pci_dev_unplug(&f->dev);
	pci_dev_unplug(&f->dev);
	pci_done(&f->pci);
	pci_done(&f->pci);
	bench_done(&f->b);
	return 0;
}

static uint32_t cfg(struct bench *b, unsigned int devfn, unsigned int off)
{
	outl(b, 0xcf8, 1u << 31 | devfn << 8 | (off & 0xfc));
	return inl(b, 0xcfc);
}

static void cfg_write(struct bench *b, unsigned int devfn, unsigned int off, uint32_t value)
{
	outl(b, 0xcf8, 1u << 31 | devfn << 8 | (off & 0xfc));
	outl(b, 0xcfc, value);
}

static void test_access(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	assert_int_equal(cfg(b, 0, 0), 0x29c08086);
	assert_int_equal(cfg(b, 0, 8), 0x06000000);
	assert_int_equal(cfg(b, 0xf8, 0), 0x29188086);
	assert_int_equal(cfg(b, 0xf8, 0x40), 0x601);
	assert_int_equal(cfg(b, 0, 0x60), 0xb0000001);
	assert_int_equal(cfg(b, DEVFN, 0), 0x10001af4);
	assert_int_equal(cfg(b, 0x08, 0), UINT32_MAX);
	outl(b, 0xcf8, 1u << 31 | 1 << 16); /* another bus */
	assert_int_equal(inl(b, 0xcfc), UINT32_MAX);
	outl(b, 0xcf8, 0); /* not enabled */
	assert_int_equal(inl(b, 0xcfc), UINT32_MAX);
	outl(b, 0xcfc, 0);
	outl(b, 0xcf8, 1u << 31 | 3);
	assert_int_equal(inl(b, 0xcf8), 1u << 31 | 3); /* a byte's number is let through */
	assert_int_equal(inb(b, 0xcfc), 0x29);
	assert_int_equal(bus_read(b->pio, 0xcfe, 2), 0x29c0);
	assert_int_equal(inb(b, 0xcf8), 0xff);
	/* The same registers by memory. */
	assert_int_equal(bus_read(b->mmio, PCI_ECAM_BASE + (DEVFN << 12), 4), 0x10001af4);
	assert_int_equal(bus_read(b->mmio, PCI_ECAM_BASE + (DEVFN << 12) + 2, 2), 0x1000);
	assert_true(bus_read(b->mmio, PCI_ECAM_BASE, 8) == 0x29c08086);
	assert_int_equal(bus_read(b->mmio, PCI_ECAM_BASE + PCI_ECAM_SIZE - 4, 4), UINT32_MAX);
	assert_int_equal(bus_read(b->mmio, PCI_ECAM_BASE + 0xffe, 4), UINT32_MAX);
	bus_write(b->mmio, PCI_ECAM_BASE + (DEVFN << 12) + 0x3c, 1, 11);
	assert_int_equal(cfg(b, DEVFN, 0x3c), 0x10b);
	assert_int_equal(f->written_off, 0x3c);
	/* Identity is read-only. */
	cfg_write(b, DEVFN, 0, 0);
	cfg_write(b, DEVFN, 8, 0);
	assert_int_equal(cfg(b, DEVFN, 0), 0x10001af4);
	assert_int_equal(cfg(b, DEVFN, 8), 0x02000001);
	assert_int_equal(pci_config_read(&f->pci, DEVFN, 4094, 4), UINT32_MAX);
	assert_int_equal(pci_config_read(&f->pci, DEVFN, 0, 3), UINT32_MAX);
}

static void test_bars(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	static const struct bus_range range = { .name = "bar", .read = bar_read };
	struct bus_range blocker = { .name = "other", .base = 0xd0000800, .len = 16 };

	cfg_write(b, DEVFN, 0x10, UINT32_MAX);
	cfg_write(b, DEVFN, 0x14, UINT32_MAX);
	cfg_write(b, DEVFN, 0x18, UINT32_MAX);
	cfg_write(b, DEVFN, 0x1c, UINT32_MAX);
	cfg_write(b, DEVFN, 0x20, UINT32_MAX);
	assert_int_equal(cfg(b, DEVFN, 0x10), 0xffffffe1);
	assert_int_equal(cfg(b, DEVFN, 0x14), 0xfffff000);
	assert_int_equal(cfg(b, DEVFN, 0x18), 0xffffc00c);
	assert_int_equal(cfg(b, DEVFN, 0x1c), UINT32_MAX);
	assert_int_equal(cfg(b, DEVFN, 0x20), 0);

	cfg_write(b, DEVFN, 0x10, 0xc100);
	cfg_write(b, DEVFN, 0x14, 0xd0000000);
	cfg_write(b, DEVFN, 0x18, 0);
	cfg_write(b, DEVFN, 0x1c, 8);
	assert_int_equal(inl(b, 0xc104), UINT32_MAX);
	cfg_write(b, DEVFN, 4, 3);
	assert_int_equal(inl(b, 0xc104), 0x1004);
	assert_int_equal(bus_read(b->mmio, 0xd0000ffc, 4), 0x1ffc);
	assert_int_equal(bus_read(b->mmio, UINT64_C(0x800000010), 4), 0x1010);
	cfg_write(b, DEVFN, 0x10, 0xc200);
	assert_int_equal(inl(b, 0xc104), UINT32_MAX);
	assert_int_equal(inl(b, 0xc204), 0x1004);
	cfg_write(b, DEVFN, 4, 1);
	assert_int_equal(bus_read(b->mmio, 0xd0000ffc, 4), UINT32_MAX);
	/* Where something else is, a BAR waits until it is moved away. */
	assert_int_equal(bus_add(b->mmio, &blocker, NULL), 0);
	cfg_write(b, DEVFN, 4, 3);
	assert_int_equal(bus_read(b->mmio, 0xd0000000, 4), UINT32_MAX);
	cfg_write(b, DEVFN, 0x14, 0xd0010000);
	assert_int_equal(bus_read(b->mmio, 0xd0010000, 4), 0x1000);
	cfg_write(b, DEVFN, 0x10, 0xfffff001); /* beyond the ports */
	assert_int_equal(inl(b, 0xf001), UINT32_MAX);
	pci_reset(&f->pci);
	assert_int_equal(cfg(b, DEVFN, 0x14), 0);
	assert_int_equal(bus_read(b->mmio, 0xd0010000, 4), UINT32_MAX);
	bus_del(b->mmio, &blocker);

	assert_int_equal(pci_assign_bars(&f->pci, NULL), 0);
	assert_int_equal(cfg(b, DEVFN, 4) & 7, 7);
	assert_int_equal(cfg(b, DEVFN, 0x10) & ~3u, PCI_IO_BASE);
	assert_int_equal(inl(b, PCI_IO_BASE), 0x1000);
	assert_int_equal(bus_read(b->mmio, PCI_MMIO32_BASE, 4), 0x1000);

	assert_int_equal(pci_dev_add_bar(&f->dev, 3, PCI_BAR_IO, false, 4, &range), -EINVAL);
	assert_int_equal(pci_dev_add_bar(&f->dev, 5, PCI_BAR_MEM64, false, 16, &range), -EINVAL);
	assert_int_equal(pci_dev_add_bar(&f->dev, 4, PCI_BAR_IO, false, 512, &range), -EINVAL);
	assert_int_equal(pci_dev_add_bar(&f->dev, 4, PCI_BAR_MEM32, false, 0, &range), -EINVAL);
	assert_int_equal(pci_dev_add_bar(&f->dev, 4, PCI_BAR_NONE, false, 16, &range), -EINVAL);
}

static void test_intx(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	const unsigned int gsi = PCI_PIRQ_GSI + 3; /* slot 3, INTA */

	pci_dev_set_intx(&f->dev, true);
	assert_true(bench_line(b, gsi));
	assert_int_equal(cfg(b, DEVFN, 4) >> 16 & 8, 8);
	cfg_write(b, DEVFN, 4, 1 << 10);
	assert_false(bench_line(b, gsi));
	assert_int_equal(cfg(b, DEVFN, 4) >> 16 & 8, 8);
	cfg_write(b, DEVFN, 4, 0);
	assert_true(bench_line(b, gsi));
	/* To the 8259s, by the bridge's route. */
	assert_false(bench_line(b, 11));
	cfg_write(b, 0xf8, 0x60, 0x0b808080);
	assert_true(bench_line(b, 11));
	cfg_write(b, 0xf8, 0x60, 0x0a808080);
	assert_false(bench_line(b, 11));
	assert_true(bench_line(b, 10));
	pci_dev_set_intx(&f->dev, false);
	assert_false(bench_line(b, 10));
	assert_false(bench_line(b, gsi));
	pci_dev_set_intx(&f->dev, true);
	cfg_write(b, 0xf8, 0x60, 0x80808080);
	assert_false(bench_line(b, 10));
	pci_dev_unplug(&f->dev);
	assert_false(bench_line(b, gsi));
	pci_dev_set_intx(&f->dev, true); /* not plugged: nothing */
	assert_false(bench_line(b, gsi));
}

static void test_plug(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;
	static struct pci_dev other;
	struct err err = ERR_INIT;
	int first, second;

	pci_dev_setup(&other, "other", 1, 2, 0, 0);
	assert_int_equal(pci_dev_plug(&f->pci, &other, DEVFN, &err), -EEXIST);
	assert_non_null(strstr(err.text, "test"));
	assert_int_equal(pci_dev_plug(&f->pci, &other, DEVFN | 1, NULL), 0);
	assert_int_equal(cfg(b, DEVFN, 0x0c) >> 16 & 0x80, 0x80);
	first = pci_dev_add_cap(&other, 9, 15);
	second = pci_dev_add_cap(&other, 0x11, 12);
	assert_int_equal(first, 0x40);
	assert_int_equal(second, 0x50);
	assert_int_equal(cfg(b, DEVFN | 1, 0x34), 0x40);
	assert_int_equal(cfg(b, DEVFN | 1, 0x40), 0x5009);
	assert_int_equal(cfg(b, DEVFN | 1, 0x50), 0x0011);
	assert_int_equal(cfg(b, DEVFN | 1, 4) >> 20, 1);
	assert_int_equal(pci_dev_add_cap(&other, 9, 1), -ENOSPC);
	assert_int_equal(pci_dev_add_cap(&other, 9, 200), -ENOSPC);
	pci_dev_unplug(&other);
	assert_int_equal(cfg(b, DEVFN | 1, 0), UINT32_MAX);
}

static void test_reset_register(void **state)
{
	struct fixture *f = *state;
	struct bench *b = &f->b;

	outb(b, 0xcf9, 0x02);
	assert_int_equal(b->nr_requests, 0);
	assert_int_equal(inb(b, 0xcf9), 2);
	outb(b, 0xcf9, 0x06);
	assert_int_equal(b->nr_requests, 1);
	assert_int_equal(b->request, MACHINE_RESET);
	outl(b, 0xcf8, 0x80000600); /* an address, no reset */
	assert_int_equal(b->nr_requests, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plug, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_register, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
