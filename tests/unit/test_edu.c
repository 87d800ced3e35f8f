// SPDX-License-Identifier: GPL-2.0-or-later
/* The edu device: registers, factorial, DMA, interrupts by pin and by message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "base/bytes.h"
#include "cpu/physmem.h"
#include "vm/bus.h"
#include "vm/dev/edu.h"
#include "vm/dev/ioapic.h"
#include "vm/dev/vtd.h"

/* clang-format off */
enum {
	MEM_SIZE = 1 << 20,
	DEVFN = 4 << 3,
	COMMAND = 4, BAR = 0x10, CAPABILITIES = 0x34, LINE = 0x3c,
	ID = 0x00, ALIVE = 0x04, FACTORIAL = 0x08, STATUS = 0x20, IRQ_STATUS = 0x24, RAISE = 0x60,
	ACK = 0x64, SRC = 0x80, DST = 0x88, COUNT = 0x90, CMD = 0x98, BUFFER = 0x40000,
};
/* clang-format on */

struct fixture {
	uint8_t *ram;
	_Atomic uint8_t flags[MEM_SIZE / GUEST_PAGE_SIZE];
	struct physmem mem;
	struct bus *pio, *mmio;
	struct irq_router irqs;
	struct ioapic ioapic;
	struct pci_bus pci;
	struct vtd vtd;
	struct edu edu;
	uint64_t base;
	unsigned int nr_messages;
	uint64_t addr;
	uint32_t data;
};

static void take_message(void *arg, uint64_t addr, uint32_t data)
{
	struct fixture *f = arg;

	f->nr_messages++;
	f->addr = addr;
	f->data = data;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct board board;

	assert_non_null(f);
	f->ram = calloc(1, MEM_SIZE);
	assert_non_null(f->ram);
	f->mem.nr = 1;
	f->mem.region[0] =
		(struct physmem_region){ .size = MEM_SIZE, .hva = f->ram, .page_flags = f->flags };
	f->pio = bus_new("pio");
	f->mmio = bus_new("mmio");
	f->irqs.ioapic = &f->ioapic;
	board = (struct board){ .pio = f->pio,
				.mmio = f->mmio,
				.irqs = &f->irqs,
				.mem = &f->mem,
				.msi = take_message,
				.msi_arg = f };
	assert_int_equal(ioapic_init(&f->ioapic, &board, NULL), 0);
	assert_int_equal(pci_init(&f->pci, &board, NULL), 0);
	assert_int_equal(vtd_init(&f->vtd, &board, NULL), 0);
	assert_int_equal(edu_init(&f->edu, &f->pci, DEVFN, &f->vtd, NULL), 0);
	assert_int_equal(pci_assign_bars(&f->pci, NULL), 0);
	f->base = pci_config_read(&f->pci, DEVFN, BAR, 4) & ~UINT32_C(15);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	edu_done(&f->edu);
	vtd_done(&f->vtd);
	pci_done(&f->pci);
	ioapic_done(&f->ioapic);
	bus_free(f->pio);
	bus_free(f->mmio);
	free(f->ram);
	free(f);
	return 0;
}

static void out(struct fixture *f, unsigned int reg, unsigned int size, uint64_t v)
{
	bus_write(f->mmio, f->base + reg, size, v);
}

static uint64_t in(struct fixture *f, unsigned int reg, unsigned int size)
{
	return bus_read(f->mmio, f->base + reg, size);
}

static void test_registers(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pci_config_read(&f->pci, DEVFN, 0, 4), 0x11e81234);
	assert_int_equal(in(f, ID, 4), 0x010000ed);
	out(f, ALIVE, 4, 0x12345678);
	assert_int_equal(in(f, ALIVE, 4), 0xedcba987);
	out(f, FACTORIAL, 4, 5);
	assert_int_equal(in(f, FACTORIAL, 4), 120);
	out(f, FACTORIAL, 4, 0);
	assert_int_equal(in(f, FACTORIAL, 4), 1);
	out(f, FACTORIAL, 4, 33);
	assert_int_equal(in(f, FACTORIAL, 4), 0x80000000);
	out(f, FACTORIAL, 4, 0xffffffff);
	assert_int_equal(in(f, FACTORIAL, 4), 0);
	out(f, STATUS, 4, 0xffffffff);
	assert_int_equal(in(f, STATUS, 4), 0x80);
	/* Narrow, odd and too wide accesses are refused. */
	out(f, ALIVE, 2, 0);
	out(f, ALIVE - 4, 8, 0);
	assert_int_equal(in(f, ALIVE, 4), 0xedcba987);
	assert_int_equal(in(f, ALIVE, 1), 0xff);
	/* Halves of wide registers. */
	out(f, SRC, 8, 0x1122334455667788);
	out(f, SRC + 4, 4, 0xaabbccdd);
	out(f, SRC, 4, 0x99);
	assert_int_equal(in(f, SRC, 8), 0xaabbccdd00000099);
	assert_int_equal(in(f, SRC + 4, 4), 0xaabbccdd);
}

static void dma(struct fixture *f, uint64_t src, uint64_t dst, uint64_t count, uint32_t cmd)
{
	out(f, SRC, 8, src);
	out(f, DST, 8, dst);
	out(f, COUNT, 8, count);
	out(f, CMD, 4, cmd);
	assert_int_equal(in(f, CMD, 4) & 1, 0);
}

static void test_dma(void **state)
{
	struct fixture *f = *state;

	memcpy(f->ram + 0x1000, "some bytes", 10);
	dma(f, 0x1000, BUFFER + 100, 10, 1);
	dma(f, BUFFER + 105, 0x2000, 5, 3);
	assert_memory_equal(f->ram + 0x2000, "bytes", 6);
	/* Outside of the buffer, nothing moves. */
	dma(f, BUFFER + 4095, 0x3000, 2, 3);
	dma(f, BUFFER - 1, 0x3000, 2, 3);
	dma(f, BUFFER, 0x3000, UINT64_MAX, 3);
	assert_int_equal(get_le64(f->ram + 0x3000), 0);
	/* Nor when it is no bus master. */
	pci_config_write(&f->pci, DEVFN, PCI_COMMAND, 2, 2);
	dma(f, BUFFER + 100, 0x3000, 8, 3);
	assert_int_equal(get_le64(f->ram + 0x3000), 0);
	pci_config_write(&f->pci, DEVFN, PCI_COMMAND, 2, 6);
	/* Beyond RAM: harmless; an interrupt tells the end all the same. */
	dma(f, 0xfffff000, BUFFER, 4096, 5);
	assert_int_equal(in(f, IRQ_STATUS, 4), 0x100);
}

static void test_pin(void **state)
{
	struct fixture *f = *state;
	uint8_t line = (uint8_t)pci_config_read(&f->pci, DEVFN, LINE, 1);

	assert_in_range(line, 16, 19);
	bus_write(f->mmio, IOAPIC_BASE, 4, 0x10u + 2u * line);
	bus_write(f->mmio, IOAPIC_BASE + 0x10, 4, 0x41);
	out(f, RAISE, 4, 2);
	assert_int_equal(f->nr_messages, 1);
	assert_int_equal(f->data, 0x41);
	assert_int_equal(in(f, IRQ_STATUS, 4), 2);
	/* The line is up already, so there is no new edge until it was acknowledged. */
	out(f, RAISE, 4, 4);
	assert_int_equal(f->nr_messages, 1);
	out(f, ACK, 4, 6);
	assert_int_equal(in(f, IRQ_STATUS, 4), 0);
	out(f, STATUS, 4, 0x80);
	out(f, FACTORIAL, 4, 3);
	assert_int_equal(f->nr_messages, 2);
	assert_int_equal(in(f, IRQ_STATUS, 4), 1);
}

static void test_message(void **state)
{
	struct fixture *f = *state;
	uint8_t cap = (uint8_t)pci_config_read(&f->pci, DEVFN, CAPABILITIES, 1);

	assert_int_equal(pci_config_read(&f->pci, DEVFN, cap, 1), 5);
	pci_config_write(&f->pci, DEVFN, cap + 4, 4, 0xfee02000);
	pci_config_write(&f->pci, DEVFN, cap + 12, 2, 0x55);
	pci_config_write(&f->pci, DEVFN, cap + 2, 2, 1);
	out(f, RAISE, 4, 1);
	assert_int_equal(f->nr_messages, 1);
	assert_int_equal(f->addr, 0xfee02000);
	assert_int_equal(f->data, 0x55);
	pci_config_write(&f->pci, DEVFN, PCI_COMMAND, 2, 2);
	out(f, RAISE, 4, 1);
	assert_int_equal(f->nr_messages, 1);
	pci_config_write(&f->pci, DEVFN, PCI_COMMAND, 2, 6);
	out(f, ACK, 4, 1);
	assert_int_equal(f->nr_messages, 1);
	edu_reset(&f->edu);
	assert_int_equal(pci_config_read(&f->pci, DEVFN, cap + 2, 2) & 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_message, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
