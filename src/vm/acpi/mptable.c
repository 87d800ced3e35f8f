/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the MultiProcessor Specification 1.4, for kernels that run without ACPI ("acpi=off"): the
 * processors, the I/O APIC and how ISA and PCI interrupts reach it. It says the same as the MADT and the
 * DSDT's _PRT.
 */
#include <string.h>

#include "base/bytes.h"
#include "vm/acpi/acpi.h"
#include "vm/dev/acpi_pm.h"
#include "vm/dev/ioapic.h"
#include "vm/dev/pci.h"

enum {
	POINTER_SIZE = 16,
	HEADER_SIZE = 44,
	ENTRY_CPU = 0,
	ENTRY_BUS = 1,
	ENTRY_IOAPIC = 2,
	ENTRY_IOINT = 3,
	ENTRY_LOCALINT = 4,
	CPU_ENABLED = 1,
	CPU_BSP = 2,
	APIC_VERSION = 0x14,
	BUS_PCI = 0,
	BUS_ISA = 1,
	INT_VECTORED = 0,
	INT_NMI = 1,
	INT_EXTINT = 3,
	CONFORMS = 0,
	LEVEL_HIGH = 0xd,
	LEVEL_LOW = 0xf,
	ALL_APICS = 0xff,
	PCI_SLOTS = 32,
};

static void add_cpu(struct strbuf *b, unsigned int i)
{
	uint8_t e[20] = { ENTRY_CPU, (uint8_t)i, APIC_VERSION,
			  i ? CPU_ENABLED : CPU_ENABLED | CPU_BSP };

	put_le32(e + 4, 0x600); /* family 6; kernels look at CPUID instead */
	put_le32(e + 8, 0x201); /* FPU, APIC */
	strbuf_add(b, e, sizeof(e));
}

static void add_bus(struct strbuf *b, uint8_t id, const char *type)
{
	uint8_t e[8] = { ENTRY_BUS, id };

	memcpy(e + 2, type, 6);
	strbuf_add(b, e, sizeof(e));
}

static void add_interrupt(struct strbuf *b, uint8_t entry, uint8_t type, uint8_t flags, uint8_t bus,
			  unsigned int irq, uint8_t apic, unsigned int pin)
{
	const uint8_t e[8] = { entry, type, flags, 0, bus, (uint8_t)irq, apic, (uint8_t)pin };

	strbuf_add(b, e, sizeof(e));
}

void mptable_build(const struct acpi_config *cfg, struct strbuf *out)
{
	/* Ids of CPUs and I/O APICs share a number space here. */
	const uint8_t ioapic_id = (uint8_t)MAX(cfg->nr_cpus, cfg->max_cpus);
	uint8_t ioapic[8] = { ENTRY_IOAPIC, ioapic_id, 0x20, 1 };
	uint8_t ptr[POINTER_SIZE] = "_MP_", hdr[HEADER_SIZE] = "PCMP";
	struct strbuf b = { 0 };
	unsigned int nr = cfg->nr_cpus + 3;

	for (unsigned int i = 0; i < cfg->nr_cpus; i++)
		add_cpu(&b, i);
	add_bus(&b, BUS_PCI, "PCI   ");
	add_bus(&b, BUS_ISA, "ISA   ");
	put_le32(ioapic + 4, (uint32_t)IOAPIC_BASE);
	strbuf_add(&b, ioapic, sizeof(ioapic));

	for (unsigned int irq = 0; irq < 16; irq++) {
		if (irq == 2)
			continue; /* the cascade */
		add_interrupt(&b, ENTRY_IOINT, INT_VECTORED,
			      irq == ACPI_SCI_GSI ? LEVEL_HIGH : CONFORMS, BUS_ISA, irq, ioapic_id,
			      irq ? irq : 2);
		nr++;
	}
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
		for (unsigned int pin = 0; pin < 4; pin++) {
			add_interrupt(&b, ENTRY_IOINT, INT_VECTORED, LEVEL_LOW, BUS_PCI,
				      slot << 2 | pin, ioapic_id,
				      PCI_PIRQ_GSI + pci_pirq(slot, pin));
			nr++;
		}
	}
	add_interrupt(&b, ENTRY_LOCALINT, INT_EXTINT, CONFORMS, BUS_ISA, 0, ALL_APICS, 0);
	add_interrupt(&b, ENTRY_LOCALINT, INT_NMI, CONFORMS, BUS_ISA, 0, ALL_APICS, 1);
	nr += 2;

	put_le16(hdr + 4, (uint16_t)(HEADER_SIZE + b.n));
	hdr[6] = 4; /* specification 1.4 */
	memcpy(hdr + 8, "ATOLL   ", 8);
	memcpy(hdr + 16, "ATOLL PC    ", 12);
	put_le16(hdr + 34, (uint16_t)nr);
	put_le32(hdr + 36, UINT32_C(0xfee00000));
	hdr[7] = (uint8_t)(byte_sum_complement(hdr, HEADER_SIZE) +
			   byte_sum_complement((uint8_t *)b.p, b.n));

	put_le32(ptr + 4, cfg->base + POINTER_SIZE);
	ptr[8] = 1; /* paragraphs */
	ptr[9] = 4;
	ptr[10] = byte_sum_complement(ptr, POINTER_SIZE);

	strbuf_add(out, ptr, sizeof(ptr));
	strbuf_add(out, hdr, sizeof(hdr));
	strbuf_add(out, b.p, b.n);
	strbuf_done(&b);
}
