/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fixed-layout ACPI tables and their chain: RSDP -> XSDT (and RSDT for old readers) -> the rest.
 *
 * Everything is written into one growing block at known offsets, so that addresses are base + offset and
 * no linking step is needed. The tables that are pointed to come first.
 */
#include <assert.h>
#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "vm/acpi/acpi.h"
#include "vm/dev/acpi_pm.h"
#include "vm/dev/hpet.h"
#include "vm/dev/ioapic.h"
#include "vm/dev/pci.h"

#define LAPIC_BASE UINT32_C(0xfee00000)

enum {
	RSDP_SIZE = 36,
	HEADER_SIZE = 36,
	FACS_SIZE = 64,
	FADT_SIZE = 276,
	FADT_REVISION = 6,
	GAS_IO = 1,
	OEM_REVISION = 1,
};

/* FADT fields (ACPI 6.4, table 5.9). */
enum {
	FADT_FIRMWARE_CTRL = 36,
	FADT_DSDT = 40,
	FADT_SCI_INT = 46,
	FADT_SMI_CMD = 48,
	FADT_ACPI_ENABLE = 52,
	FADT_ACPI_DISABLE = 53,
	FADT_PM1A_EVT_BLK = 56,
	FADT_PM1A_CNT_BLK = 64,
	FADT_PM_TMR_BLK = 76,
	FADT_GPE0_BLK = 80,
	FADT_PM1_EVT_LEN = 88,
	FADT_PM1_CNT_LEN = 89,
	FADT_PM_TMR_LEN = 91,
	FADT_GPE0_BLK_LEN = 92,
	FADT_P_LVL2_LAT = 96,
	FADT_P_LVL3_LAT = 98,
	FADT_CENTURY = 108,
	FADT_IAPC_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_X_DSDT = 140,
	FADT_X_PM1A_EVT_BLK = 148,
	FADT_X_PM1A_CNT_BLK = 172,
	FADT_X_PM_TMR_BLK = 208,
	FADT_X_GPE0_BLK = 220,

	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
	BOOT_NO_VGA = 1 << 2,

	FLAG_WBINVD = 1 << 0,
	FLAG_PROC_C1 = 1 << 2,
	FLAG_NO_SLEEP_BUTTON = 1 << 5,
	FLAG_RESET_REG_SUP = 1 << 10,

	NO_LATENCY = 0xfff, /* C2 and C3 are not supported */
	RTC_CENTURY = 0x32,
};

static uint8_t *at(struct acpi_tables *t, enum acpi_table which)
{
	return (uint8_t *)t->blob.p + t->off[which];
}

static void add_zeros(struct strbuf *b, size_t n)
{
	static const uint8_t zeros[64];

	while (n) {
		size_t part = MIN(n, sizeof(zeros));

		strbuf_add(b, zeros, part);
		n -= part;
	}
}

/* Begin a table at the next multiple of @align with @len zero bytes. */
static void table_begin(struct acpi_tables *t, enum acpi_table which, size_t align, size_t len)
{
	add_zeros(&t->blob, -t->blob.n & (align - 1));
	t->off[which] = t->blob.n;
	t->len[which] = len;
	add_zeros(&t->blob, len);
}

/* Fill the common header of what was appended since table_begin(), and its checksum. */
static void table_end(struct acpi_tables *t, enum acpi_table which, const char *sig, uint8_t rev)
{
	uint8_t *p = at(t, which);

	t->len[which] = t->blob.n - t->off[which];
	memcpy(p, sig, 4);
	put_le32(p + 4, (uint32_t)t->len[which]);
	p[8] = rev;
	memcpy(p + 10, "ATOLL ", 6);
	memcpy(p + 16, "ATOLLPC ", 8);
	put_le32(p + 24, OEM_REVISION);
	memcpy(p + 28, "ATOL", 4);
	put_le32(p + 32, 1);
	p[9] = 0;
	p[9] = byte_sum_complement(p, t->len[which]);
}

static void put_gas_io(uint8_t *p, uint64_t port, unsigned int bytes)
{
	p[0] = GAS_IO;
	p[1] = (uint8_t)MIN(bytes * 8, 255u);
	p[2] = 0;
	p[3] = bytes == 1 ? 1 : bytes == 2 ? 2 : bytes == 4 ? 3 : 1; /* access size */
	put_le64(p + 4, port);
}

static void build_facs(struct acpi_tables *t)
{
	uint8_t *p;

	table_begin(t, ACPI_FACS, 64, FACS_SIZE);
	p = at(t, ACPI_FACS);
	memcpy(p, "FACS", 4);
	put_le32(p + 4, FACS_SIZE);
	p[32] = 2; /* version */
}

static void build_fadt(struct acpi_tables *t, const struct acpi_config *cfg)
{
	uint32_t base = cfg->base;
	uint32_t dsdt = base + (uint32_t)t->off[ACPI_DSDT];
	uint8_t *p;

	table_begin(t, ACPI_FADT, 16, FADT_SIZE);
	p = at(t, ACPI_FADT);
	put_le32(p + FADT_FIRMWARE_CTRL, base + (uint32_t)t->off[ACPI_FACS]);
	put_le32(p + FADT_DSDT, dsdt);
	put_le64(p + FADT_X_DSDT, dsdt);
	put_le16(p + FADT_SCI_INT, ACPI_SCI_GSI);
	put_le32(p + FADT_SMI_CMD, ACPI_SMI_CMD);
	p[FADT_ACPI_ENABLE] = ACPI_SMI_ENABLE;
	p[FADT_ACPI_DISABLE] = ACPI_SMI_DISABLE;
	put_le32(p + FADT_PM1A_EVT_BLK, ACPI_PM1_EVT);
	put_le32(p + FADT_PM1A_CNT_BLK, ACPI_PM1_CNT);
	put_le32(p + FADT_PM_TMR_BLK, ACPI_PM_TMR);
	put_le32(p + FADT_GPE0_BLK, ACPI_GPE0);
	p[FADT_PM1_EVT_LEN] = 4;
	p[FADT_PM1_CNT_LEN] = 2;
	p[FADT_PM_TMR_LEN] = 4;
	p[FADT_GPE0_BLK_LEN] = ACPI_GPE0_LEN;
	put_le16(p + FADT_P_LVL2_LAT, NO_LATENCY);
	put_le16(p + FADT_P_LVL3_LAT, NO_LATENCY);
	p[FADT_CENTURY] = RTC_CENTURY;
	put_le16(p + FADT_IAPC_BOOT_ARCH, BOOT_LEGACY_DEVICES | (cfg->is_mini ? 0 : BOOT_8042) |
						  (cfg->has_vga ? 0 : BOOT_NO_VGA));
	put_le32(p + FADT_FLAGS,
		 FLAG_WBINVD | FLAG_PROC_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_RESET_REG_SUP);
	put_gas_io(p + FADT_RESET_REG, cfg->is_mini ? ACPI_PM_RESET : ACPI_RESET_PORT, 1);
	p[FADT_RESET_VALUE] = ACPI_RESET_VALUE;
	put_gas_io(p + FADT_X_PM1A_EVT_BLK, ACPI_PM1_EVT, 4);
	put_gas_io(p + FADT_X_PM1A_CNT_BLK, ACPI_PM1_CNT, 2);
	put_gas_io(p + FADT_X_PM_TMR_BLK, ACPI_PM_TMR, 4);
	put_gas_io(p + FADT_X_GPE0_BLK, ACPI_GPE0, ACPI_GPE0_LEN);
	table_end(t, ACPI_FADT, "FACP", FADT_REVISION);
}

static void build_dsdt(struct acpi_tables *t, const struct acpi_config *cfg)
{
	table_begin(t, ACPI_DSDT, 16, HEADER_SIZE);
	acpi_build_dsdt(cfg, &t->blob);
	table_end(t, ACPI_DSDT, "DSDT", 2);
}

static void build_madt(struct acpi_tables *t, const struct acpi_config *cfg)
{
	struct strbuf *b = &t->blob;
	uint8_t *p;

	table_begin(t, ACPI_MADT, 16, HEADER_SIZE + 8);
	p = at(t, ACPI_MADT);
	put_le32(p + 36, LAPIC_BASE);
	put_le32(p + 40, 1); /* there is an 8259 pair, too */

	/* Those that may come later are not enabled, but can be brought online. */
	for (unsigned int i = 0; i < MAX(cfg->nr_cpus, cfg->max_cpus); i++) {
		const uint8_t lapic[8] = { 0, 8, (uint8_t)i, (uint8_t)i, i < cfg->nr_cpus ? 1 : 2 };

		strbuf_add(b, lapic, sizeof(lapic));
	}
	uint8_t ioapic[12] = { 1, 12, 0 };

	put_le32(ioapic + 4, (uint32_t)IOAPIC_BASE);
	strbuf_add(b, ioapic, sizeof(ioapic));

	/* ISA IRQ 0 arrives at pin 2; the SCI is level-triggered, active high. */
	const uint8_t timer[10] = { 2, 10, 0, 0, 2 };
	const uint8_t sci[10] = { 2, 10, 0, ACPI_SCI_GSI, ACPI_SCI_GSI, 0, 0, 0, 0x0d, 0 };
	const uint8_t nmi[6] = { 4, 6, 0xff, 0, 0, 1 };

	strbuf_add(b, timer, sizeof(timer));
	strbuf_add(b, sci, sizeof(sci));
	strbuf_add(b, nmi, sizeof(nmi));
	table_end(t, ACPI_MADT, "APIC", 4);
}

static void build_hpet(struct acpi_tables *t)
{
	uint8_t *p;

	table_begin(t, ACPI_HPET, 16, HEADER_SIZE + 20);
	p = at(t, ACPI_HPET);
	/* Vendor, legacy replacement, 64-bit counter, comparators less one, revision. */
	put_le32(p + 36, UINT32_C(0x8086) << 16 | 1u << 15 | 1u << 13 | (HPET_TIMERS - 1) << 8 | 1);
	p[40] = 0; /* system memory */
	p[41] = 64;
	put_le64(p + 44, HPET_BASE);
	table_end(t, ACPI_HPET, "HPET", 1);
}

static void build_mcfg(struct acpi_tables *t)
{
	uint8_t *p;

	table_begin(t, ACPI_MCFG, 16, HEADER_SIZE + 24);
	p = at(t, ACPI_MCFG);
	put_le64(p + 44, PCI_ECAM_BASE);
	p[54] = 0;
	p[55] = PCI_ECAM_SIZE / (UINT64_C(1) << 20) - 1; /* last bus: 1 MiB each */
	table_end(t, ACPI_MCFG, "MCFG", 1);
}

static void build_waet(struct acpi_tables *t)
{
	uint8_t *p;

	table_begin(t, ACPI_WAET, 16, HEADER_SIZE + 4);
	p = at(t, ACPI_WAET);
	put_le32(p + 36, 2); /* the PM timer needs no repeated reads */
	table_end(t, ACPI_WAET, "WAET", 1);
}

/* RSDT and XSDT list the same tables by 4-byte and 8-byte addresses. */
static void build_root(struct acpi_tables *t, enum acpi_table which, const char *sig,
		       unsigned int width, uint32_t base)
{
	static const enum acpi_table listed[] = { ACPI_FADT, ACPI_MADT, ACPI_HPET, ACPI_MCFG,
						  ACPI_WAET };
	uint8_t address[8];

	table_begin(t, which, 16, HEADER_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(listed); i++) {
		if (!t->len[listed[i]])
			continue;
		put_le64(address, base + t->off[listed[i]]);
		strbuf_add(&t->blob, address, width);
	}
	table_end(t, which, sig, 1);
}

static void fill_rsdp(struct acpi_tables *t, uint32_t base)
{
	uint8_t *p = at(t, ACPI_RSDP);

	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "ATOLL ", 6);
	p[15] = 2;
	put_le32(p + 16, base + (uint32_t)t->off[ACPI_RSDT]);
	put_le32(p + 20, RSDP_SIZE);
	put_le64(p + 24, base + t->off[ACPI_XSDT]);
	p[8] = byte_sum_complement(p, 20);
	p[32] = byte_sum_complement(p, RSDP_SIZE);
}

void acpi_build(const struct acpi_config *cfg, struct acpi_tables *ret)
{
	assert(cfg->nr_cpus >= 1 && cfg->nr_cpus <= 255 && cfg->base % 64 == 0);
	*ret = (struct acpi_tables){ 0 };
	table_begin(ret, ACPI_RSDP, 16, RSDP_SIZE);
	build_facs(ret);
	build_dsdt(ret, cfg);
	build_fadt(ret, cfg);
	build_madt(ret, cfg);
	if (!cfg->is_mini) {
		build_hpet(ret);
		build_mcfg(ret);
	}
	build_waet(ret);
	build_root(ret, ACPI_RSDT, "RSDT", 4, cfg->base);
	build_root(ret, ACPI_XSDT, "XSDT", 8, cfg->base);
	fill_rsdp(ret, cfg->base);
}

void acpi_tables_done(struct acpi_tables *t)
{
	strbuf_done(&t->blob);
}
