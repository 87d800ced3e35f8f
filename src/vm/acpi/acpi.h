/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_ACPI_ACPI_H
#define VM_ACPI_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * What the machine tells its guest about itself: ACPI tables, and an MP table for kernels that are told
 * not to use ACPI. Pure functions of a description; the machine copies the bytes into the BIOS area.
 */
struct acpi_config {
	unsigned int nr_cpus;  /* 1 to 64; APIC ids count from 0 */
	unsigned int max_cpus; /* so many can there be, 64 at most; not above nr_cpus: no hot plug */
	unsigned int serial_mask; /* bit n: COMn+1 exists */
	uint32_t hot_slots;	  /* bit n: the device of PCI slot n may come and go */
	uint32_t base; /* guest-physical address of the first byte of the tables; 64-byte aligned */
	uint64_t mmio64_base, mmio64_last; /* window for 64-bit BARs above all RAM; both 0: none */
	bool has_vga;
	bool is_mini;		     /* no PCI, HPET or keyboard controller */
	unsigned int nr_virtio_mmio; /* devices of virtio/mmio.h, in the first windows */
};

/* The tables, one after the other in one block; those of what is not there have no bytes. */
enum acpi_table {
	ACPI_RSDP, /* first, where guests search for it: on a 16-byte boundary of the BIOS area */
	ACPI_FACS,
	ACPI_DSDT,
	ACPI_FADT,
	ACPI_MADT,
	ACPI_HPET,
	ACPI_MCFG,
	ACPI_WAET,
	ACPI_RSDT,
	ACPI_XSDT,
	ACPI_NR_TABLES,
};

struct acpi_tables {
	struct strbuf blob; /* to be placed at config->base */
	size_t off[ACPI_NR_TABLES], len[ACPI_NR_TABLES];
};

/*
 * acpi_build - make the tables.
 *
 * The addresses and interrupt numbers are those of the devices' headers (vm/dev/).
 *
 * @ret: acpi_tables_done(). Source: ACPI 6.4, chapter 5; IA-PC HPET 1.0a, 3.2.4; PCI Firmware 3.2, 4.1.2;
 * Windows ACPI Emulated Devices Table. Thread: any.
 */
void acpi_build(const struct acpi_config *cfg, struct acpi_tables *ret);
void acpi_tables_done(struct acpi_tables *t);

/*
 * The same for firmware that places the tables itself: three files of fw_cfg. @script tells which to load where,
 * which fields are addresses to be added to, and which checksums to compute then.
 */
#define ACPI_FILE_RSDP	 "etc/acpi/rsdp"
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_LOADER "etc/table-loader"

struct acpi_files {
	struct strbuf rsdp, tables, script;
};

/*
 * acpi_build_files - make them; cfg->base is not used.
 *
 * @ret: acpi_files_done(). Source: QEMU docs/specs/acpi_loader (commands ALLOCATE, ADD_POINTER, ADD_CHECKSUM).
 * Thread: any.
 */
void acpi_build_files(const struct acpi_config *cfg, struct acpi_files *ret);
void acpi_files_done(struct acpi_files *f);

/* acpi_build_dsdt - the body of the DSDT (without its header), appended. Thread: any. */
void acpi_build_dsdt(const struct acpi_config *cfg, struct strbuf *out);

/*
 * mptable_build - the floating pointer and the configuration table of the MultiProcessor Specification
 * 1.4, appended; to be placed at cfg->base, on a 16-byte boundary of the BIOS area. Thread: any.
 */
void mptable_build(const struct acpi_config *cfg, struct strbuf *out);

#endif
