/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "bench.h"

enum { PIN = 14, REDIR = 0x10 + 2 * PIN };

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

static void set(struct bench *b, bool level)
{
	ioapic_set_irq(&b->ioapic, PIN, level);
}

static void test_registers(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bench_ioapic_read(b, 1), 0x00170020);
	bench_ioapic_write(b, 1, 0);
	assert_int_equal(bench_ioapic_read(b, 1), 0x00170020);
	bench_ioapic_write(b, 0, UINT32_MAX);
	assert_int_equal(bench_ioapic_read(b, 0), 0x0f000000);
	assert_int_equal(bench_ioapic_read(b, 2), 0x0f000000);
	bench_ioapic_write(b, 2, 0);
	assert_int_equal(bench_ioapic_read(b, 2), 0x0f000000);
	bench_ioapic_write(b, REDIR, UINT32_MAX);
	assert_int_equal(bench_ioapic_read(b, REDIR), 0x1afff);
	bench_ioapic_write(b, REDIR + 1, UINT32_MAX);
	assert_int_equal(bench_ioapic_read(b, REDIR + 1), 0xffff0000);
	assert_int_equal(bench_ioapic_read(b, 0x40), 0);
	assert_int_equal(bench_ioapic_read(b, 0xff), 0);
	bench_ioapic_write(b, 0xff, 1);
	assert_int_equal(bus_read(b->mmio, IOAPIC_BASE, 4), 0xff);
	assert_int_equal(bus_read(b->mmio, IOAPIC_BASE + 0x20, 4), 0);
	ioapic_reset(&b->ioapic);
	assert_int_equal(bench_ioapic_read(b, REDIR), 0x10000);
	ioapic_set_irq(&b->ioapic, 24, true);
}

static void test_edge(void **state)
{
	struct bench *b = *state;

	bench_ioapic_write(b, REDIR + 1, 0x12u << 24);
	bench_ioapic_write(b, REDIR, 0x76 | 1 << 8 | 1 << 11);
	set(b, true);
	assert_int_equal(b->nr_msi, 1);
	assert_true(b->msi_addr == 0xfee12004);
	assert_int_equal(b->msi_data, 0x176);
	set(b, true);
	assert_int_equal(b->nr_msi, 1);
	set(b, false);
	set(b, true);
	assert_int_equal(b->nr_msi, 2);
	/* An edge while masked is lost. */
	bench_ioapic_write(b, REDIR, 0x10076);
	set(b, false);
	set(b, true);
	bench_ioapic_write(b, REDIR, 0x76);
	assert_int_equal(b->nr_msi, 2);
	/* ExtINT is LINT0's affair. */
	bench_ioapic_write(b, REDIR, 7 << 8);
	set(b, false);
	set(b, true);
	assert_int_equal(b->nr_msi, 2);
}

static void test_level(void **state)
{
	struct bench *b = *state;

	bench_ioapic_write(b, REDIR, 0x8077);
	set(b, true);
	assert_int_equal(b->nr_msi, 1);
	assert_int_equal(b->msi_data, 0xc077);
	assert_int_equal(bench_ioapic_read(b, REDIR), 0xc077); /* remote IRR */
	set(b, false);
	set(b, true);
	assert_int_equal(b->nr_msi, 1); /* on its way */
	ioapic_eoi(&b->ioapic, 0x76);
	assert_int_equal(b->nr_msi, 1);
	ioapic_eoi(&b->ioapic, 0x77);
	assert_int_equal(b->nr_msi, 2); /* still raised */
	set(b, false);
	bus_write(b->mmio, IOAPIC_BASE + 0x40, 4, 0x77); /* the EOI register */
	assert_int_equal(b->nr_msi, 2);
	assert_int_equal(bench_ioapic_read(b, REDIR), 0x8077);

	/* Masked, then unmasked while raised. */
	bench_ioapic_write(b, REDIR, 0x18077);
	set(b, true);
	assert_int_equal(b->nr_msi, 2);
	bench_ioapic_write(b, REDIR, 0x8077);
	assert_int_equal(b->nr_msi, 3);
	/* Changing to edge and back clears a stuck remote IRR. */
	bench_ioapic_write(b, REDIR, 0x10077);
	assert_int_equal(bench_ioapic_read(b, REDIR), 0x10077);
	bench_ioapic_write(b, REDIR, 0x8077);
	assert_int_equal(b->nr_msi, 4);
}

/* Two sources of one interrupt: it falls when the last of them lets go. */
static void test_shared(void **state)
{
	struct bench *b = *state;
	struct irq_line pci = irq_router_line(&b->irqs, 20, IRQ_FROM_PIRQ),
			hpet = irq_router_line(&b->irqs, 20, IRQ_FROM_HPET);

	irq_set(&pci, true);
	irq_set(&hpet, true);
	irq_set(&pci, false);
	assert_true(bench_line(b, 20));
	irq_set(&pci, true);
	irq_set(&hpet, false);
	assert_true(bench_line(b, 20));
	irq_set(&pci, false);
	assert_false(bench_line(b, 20));
}

static void test_router(void **state)
{
	struct bench *b = *state;
	struct irq_line timer = irq_router_line(&b->irqs, 0, IRQ_FROM_ISA),
			pci = irq_router_line(&b->irqs, 20, IRQ_FROM_PIRQ),
			cascade = irq_router_line(&b->irqs, 2, IRQ_FROM_ISA),
			none = irq_router_line(&b->irqs, 24, IRQ_FROM_ISA);

	irq_set(&timer, true);
	assert_int_equal(b->edges[2], 1);
	assert_int_equal(b->edges[0], 0);
	assert_true(b->intr);
	assert_int_equal(i8259_ack(&b->pic), 8);
	irq_set(&pci, true);
	assert_int_equal(b->edges[20], 1);
	irq_set(&timer, false);
	irq_set(&cascade, true);
	irq_set(&none, true);
	assert_int_equal(b->nr_msi, 2);
	ioapic_set_msi(&b->ioapic, NULL, NULL);
	irq_set(&timer, true);
	assert_int_equal(b->nr_msi, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_router, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
