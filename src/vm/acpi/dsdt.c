/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine in ACPI's name space: what no other table says. One PCI Express host with its windows and
 * interrupt wiring, the ISA devices behind its bridge, the processors, and the sleep state that switches
 * the power off. Interrupts of PCI slots are given as global numbers; there are no link devices, because
 * the wiring is fixed.
 */
#include <stdio.h>

#include "base/attr.h"
#include "vm/acpi/acpi.h"
#include "vm/acpi/aml.h"
#include "vm/dev/acpi_plug.h"
#include "vm/dev/acpi_pm.h"
#include "vm/dev/hpet.h"
#include "vm/dev/pci.h"
#include "vm/dev/vmgenid.h"
#include "vm/virtio/mmio.h"

enum { PCI_SLOTS = 32, PCI_PINS = 4, PCI_LPC_ADR = PCI_DEVFN_LPC >> 3 << 16 };

static void add_sleep_states(struct aml *a)
{
	aml_name(a, "_S5");
	aml_package(a, 4);
	aml_int(a, ACPI_SLP_TYP_S5);
	aml_int(a, ACPI_SLP_TYP_S5);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_close(a);
}

/* How a device is given back: by its bit of a set. */
static void add_eject(struct aml *a, char set, unsigned int i)
{
	aml_method(a, "_EJ0", 1);
	aml_store_int(a, 1, aml_numbered(set, i).name);
	aml_close(a);
}

/* A CPU that may come and go: is it there, its entry of the MADT, and how it is given back. */
static void add_hot_plug(struct aml *a, unsigned int i)
{
	const uint8_t lapic[8] = { 0, 8, (uint8_t)i, (uint8_t)i, 1 };

	aml_method(a, "_STA", 0);
	aml_if(a, aml_numbered('P', i).name);
	aml_return_int(a, 0xf);
	aml_close(a);
	aml_return_int(a, 0);
	aml_close(a);
	aml_name(a, "_MAT");
	aml_buffer(a, lapic, sizeof(lapic));
	if (!i)
		return;
	add_eject(a, 'E', i);
}

static void add_processors(struct aml *a, const struct acpi_config *cfg)
{
	unsigned int max = MAX(cfg->nr_cpus, cfg->max_cpus);

	if (max > cfg->nr_cpus) {
		aml_io_region(a, "CPUR", ACPI_PLUG_CPUS_BASE, ACPI_PLUG_LEN);
		aml_bits(a, "CPUR", ACPI_PLUG_PRESENT, 'P', max);
		aml_bits(a, "CPUR", ACPI_PLUG_INSERTED, 'I', max);
		aml_bits(a, "CPUR", ACPI_PLUG_REMOVE, 'R', max);
		aml_bits(a, "CPUR", ACPI_PLUG_EJECT, 'E', max);
	}
	for (unsigned int i = 0; i < max; i++) {
		aml_device(a, aml_numbered('C', i).name);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
		if (max > cfg->nr_cpus)
			add_hot_plug(a, i);
		aml_close(a);
	}
}

/* Opens what is done at a general-purpose event; two to be closed. */
static void open_event(struct aml *a, unsigned int gpe)
{
	char name[5];

	aml_scope(a, "_GPE");
	snprintf(name, sizeof(name), "_E%02X", gpe & 0xff);
	aml_method(a, name, 0);
}

/*
 * What is new is told to the OS, and what it is asked to give back, each once: of @mask, the bits of sets @inserted and
 * @remove, whose devices are in @scope and called @device and three digits.
 */
static void add_plug_event(struct aml *a, unsigned int gpe, uint64_t mask, char inserted,
			   char remove, const char *scope, char device)
{
	const struct {
		char letter;
		uint8_t notice;
	} sets[] = { { inserted, 1 }, { remove, 3 } };
	char bit[16], path[24];

	open_event(a, gpe);
	for (; mask; mask &= mask - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(mask);

		snprintf(path, sizeof(path), "%s.%s", scope, aml_numbered(device, i).name);
		for (unsigned int k = 0; k < ARRAY_SIZE(sets); k++) {
			snprintf(bit, sizeof(bit), "\\_SB.%s",
				 aml_numbered(sets[k].letter, i).name);
			aml_if(a, bit);
			aml_store_int(a, 1, bit);
			aml_notify(a, path, sets[k].notice);
			aml_close(a);
		}
	}
	aml_close(a);
	aml_close(a);
}

/* Sets of bits by which slots are told of, before the slots that use them. */
static void add_slot_sets(struct aml *a, uint32_t slots)
{
	unsigned int nr = slots ? 32 - (unsigned int)__builtin_clz(slots) : 0;

	if (!nr)
		return;
	aml_io_region(a, "SLTR", ACPI_PLUG_SLOTS_BASE, ACPI_PLUG_LEN);
	aml_bits(a, "SLTR", ACPI_PLUG_INSERTED, 'U', nr);
	aml_bits(a, "SLTR", ACPI_PLUG_REMOVE, 'V', nr);
	aml_bits(a, "SLTR", ACPI_PLUG_EJECT, 'W', nr);
}

/* A slot whose device may come and go. No _STA: whether something is there, configuration space tells. */
static void add_slots(struct aml *a, uint32_t slots)
{
	for (; slots; slots &= slots - 1) {
		unsigned int slot = (unsigned int)__builtin_ctz(slots);

		aml_device(a, aml_numbered('S', slot).name);
		aml_name_int(a, "_ADR", (uint64_t)slot << 16);
		aml_name_int(a, "_SUN", slot);
		add_eject(a, 'W', slot);
		aml_close(a);
	}
}

/* The wiring of pci_pirq(); the package's source 0 means "a global number". */
static void add_interrupt_routing(struct aml *a)
{
	aml_name(a, "_PRT");
	aml_package(a, (PCI_SLOTS - 1) * PCI_PINS);
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
		for (unsigned int pin = 0; pin < PCI_PINS; pin++) {
			aml_package(a, 4);
			aml_int(a, (uint64_t)slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, PCI_PIRQ_GSI + pci_pirq(slot, pin));
			aml_close(a);
		}
	}
	aml_close(a);
}

static void add_isa_devices(struct aml *a, const struct acpi_config *cfg, struct strbuf *crs)
{
	static const struct {
		const char *name;
		uint16_t port;
		unsigned int irq;
	} com[] = { { "COM1", 0x3f8, 4 },
		    { "COM2", 0x2f8, 3 },
		    { "COM3", 0x3e8, 4 },
		    { "COM4", 0x2e8, 3 } };

	for (unsigned int i = 0; i < ARRAY_SIZE(com); i++) {
		if (!(cfg->serial_mask & 1u << i))
			continue;
		aml_device(a, com[i].name);
		aml_name_eisaid(a, "_HID", "PNP0501");
		aml_name_int(a, "_UID", i + 1);
		crs_io(crs, com[i].port, 8);
		crs_irq(crs, com[i].irq);
		aml_crs(a, crs);
		aml_close(a);
	}

	aml_device(a, "RTC");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	crs_io(crs, 0x70, 2);
	crs_irq(crs, 8);
	aml_crs(a, crs);
	aml_close(a);

	if (cfg->is_mini)
		return;
	aml_device(a, "PS2K");
	aml_name_eisaid(a, "_HID", "PNP0303");
	crs_io(crs, 0x60, 1);
	crs_io(crs, 0x64, 1);
	crs_irq(crs, 1);
	aml_crs(a, crs);
	aml_close(a);

	aml_device(a, "PS2M");
	aml_name_eisaid(a, "_HID", "PNP0F13");
	crs_irq(crs, 12);
	aml_crs(a, crs);
	aml_close(a);
}

static void add_pci_host(struct aml *a, const struct acpi_config *cfg, struct strbuf *crs)
{
	aml_device(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	crs_bus_range(crs, 0, 0xff);
	crs_io(crs, 0xcf8, 8);
	crs_io_window(crs, 0, 0xcf7);
	crs_io_window(crs, 0xd00, 0xffff);
	crs_mem32_window(crs, 0xa0000, 0xbffff);
	crs_mem32_window(crs, PCI_MMIO32_BASE, PCI_MMIO32_END - 1);
	if (cfg->mmio64_last)
		crs_mem64_window(crs, cfg->mmio64_base, cfg->mmio64_last);
	aml_crs(a, crs);
	add_interrupt_routing(a);

	aml_device(a, "LPC");
	aml_name_int(a, "_ADR", PCI_LPC_ADR);
	add_isa_devices(a, cfg, crs);
	aml_close(a);
	add_slots(a, cfg->hot_slots);

	aml_close(a);
}

/* Addresses that belong to the board itself, so that nothing else is put there. */
static void add_motherboard(struct aml *a, const struct acpi_config *cfg, struct strbuf *crs)
{
	aml_device(a, "MBRD");
	aml_name_eisaid(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 1);
	if (!cfg->is_mini)
		crs_mem32_fixed(crs, PCI_ECAM_BASE, PCI_ECAM_SIZE);
	crs_io(crs, ACPI_PM_BASE, ACPI_PM_LEN);
	crs_io(crs, ACPI_SMI_CMD, 2);
	aml_crs(a, crs);
	aml_close(a);

	if (cfg->is_mini)
		return;
	aml_device(a, "HPET");
	aml_name_eisaid(a, "_HID", "PNP0103");
	aml_name_int(a, "_UID", 0);
	crs_mem32_fixed(crs, HPET_BASE, 0x400);
	aml_crs(a, crs);
	aml_close(a);
}

/* The place of an identity, and what is told when it is another one. */
static void add_generation(struct aml *a)
{
	aml_device(a, "VGEN");
	aml_name_string(a, "_HID", "ATOL0001");
	aml_name(a, "_CID");
	aml_package(a, 2);
	aml_string(a, "VM_Gen_Counter"); /* Microsoft's */
	aml_string(a, "VM_GEN_COUNTER"); /* Linux' */
	aml_close(a);
	aml_name_string(a, "_DDN", "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_package(a, 2);
	aml_int(a, (uint32_t)VMGENID_BASE);
	aml_int(a, VMGENID_BASE >> 32);
	aml_close(a);
	aml_close(a);
}

static void add_generation_event(struct aml *a)
{
	open_event(a, VMGENID_GPE);
	aml_notify(a, "\\_SB.VGEN", 0x80);
	aml_close(a);
	aml_close(a);
}

/* The mini board: the ISA devices without a bridge, and virtio devices at their windows. */
static void add_mini(struct aml *a, const struct acpi_config *cfg, struct strbuf *crs)
{
	add_isa_devices(a, cfg, crs);
	for (unsigned int n = 0; n < cfg->nr_virtio_mmio; n++) {
		char name[5];

		snprintf(name, sizeof(name), "VM%02X", n & 0xff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "LNRO0005");
		aml_name_int(a, "_UID", n);
		aml_name_int(a, "_CCA", 1);
		crs_mem32_fixed(crs, (uint32_t)(VIRTIO_MMIO_BASE + n * VIRTIO_MMIO_STEP),
				VIRTIO_MMIO_LEN);
		crs_gsi(crs, virtio_mmio_gsi(n));
		aml_crs(a, crs);
		aml_close(a);
	}
}

void acpi_build_dsdt(const struct acpi_config *cfg, struct strbuf *out)
{
	struct aml a = { 0 };
	struct strbuf crs = { 0 };

	add_sleep_states(&a);
	aml_scope(&a, "_SB");
	add_motherboard(&a, cfg, &crs);
	add_slot_sets(&a, cfg->hot_slots);
	if (cfg->is_mini)
		add_mini(&a, cfg, &crs);
	else
		add_pci_host(&a, cfg, &crs);
	add_processors(&a, cfg);
	add_generation(&a);
	aml_close(&a);
	add_generation_event(&a);
	if (cfg->max_cpus > cfg->nr_cpus)
		add_plug_event(&a, ACPI_PLUG_CPUS_GPE,
			       UINT64_MAX >> (64 - cfg->max_cpus) & ~UINT64_C(1), 'I', 'R', "\\_SB",
			       'C');
	if (cfg->hot_slots)
		add_plug_event(&a, ACPI_PLUG_SLOTS_GPE, cfg->hot_slots, 'U', 'V', "\\_SB.PCI0",
			       'S');

	strbuf_add(out, a.out.p, a.out.n);
	strbuf_done(&crs);
	aml_done(&a);
}
