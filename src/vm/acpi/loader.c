/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables for firmware to place. It allocates memory where it likes, so the tables are made as if they stood at
 * address 0: every address in them is an offset within the file, and the script names each such field to have the
 * file's address added, and each checksum to be computed after that.
 *
 * The tables are the ones that acpi_build() makes, so that a kernel sees the same with firmware and without. Only the
 * root pointer is a file of its own: it must be below 1 MiB, where the others need not be.
 */
#include <string.h>

#include "base/bytes.h"
#include "vm/acpi/acpi.h"

enum {
	RSDP_SIZE = 36,
	RSDP_V1_SIZE = 20,
	RSDP_V1_SUM = 8,
	RSDP_SUM = 32,
	RSDP_RSDT = 16,
	RSDP_XSDT = 24,
	HEADER_SIZE = 36,
	HEADER_SUM = 9,
	FADT_FIRMWARE_CTRL = 36,
	FADT_DSDT = 40,
	FADT_X_DSDT = 140,
};

/* A command: number (4 bytes), then its arguments; always so long. */
enum {
	COMMAND_SIZE = 128,
	NAME_SIZE = 56,
	CMD_ALLOCATE = 1,
	CMD_ADD_POINTER = 2,
	CMD_ADD_CHECKSUM = 3,
	ZONE_HIGH = 1,
	ZONE_FSEG = 2,
};

static void put_name(uint8_t *p, const char *name)
{
	memcpy(p, name, strnlen(name, NAME_SIZE - 1));
}

static void allocate(struct strbuf *script, const char *file, uint32_t align, uint8_t zone)
{
	uint8_t c[COMMAND_SIZE] = { CMD_ALLOCATE };

	put_name(c + 4, file);
	put_le32(c + 60, align);
	c[64] = zone;
	strbuf_add(script, c, sizeof(c));
}

/* The @size bytes at @off of @dest get the address of the tables added. */
static void add_pointer(struct strbuf *script, const char *dest, size_t off, uint8_t size)
{
	uint8_t c[COMMAND_SIZE] = { CMD_ADD_POINTER };

	put_name(c + 4, dest);
	put_name(c + 60, ACPI_FILE_TABLES);
	put_le32(c + 116, (uint32_t)off);
	c[120] = size;
	strbuf_add(script, c, sizeof(c));
}

/* @sum is the place of the checksum of [start, start + len); it must hold 0 until then. */
static void add_checksum(struct strbuf *script, struct strbuf *data, const char *file, size_t sum,
			 size_t start, size_t len)
{
	uint8_t c[COMMAND_SIZE] = { CMD_ADD_CHECKSUM };

	data->p[sum] = 0;
	put_name(c + 4, file);
	put_le32(c + 60, (uint32_t)sum);
	put_le32(c + 64, (uint32_t)start);
	put_le32(c + 68, (uint32_t)len);
	strbuf_add(script, c, sizeof(c));
}

static void table_checksum(struct acpi_files *f, const struct acpi_tables *t, enum acpi_table which)
{
	add_checksum(&f->script, &f->tables, ACPI_FILE_TABLES, t->off[which] + HEADER_SUM,
		     t->off[which], t->len[which]);
}

/* A root table is a list of addresses. */
static void link_root(struct acpi_files *f, const struct acpi_tables *t, enum acpi_table which,
		      uint8_t width)
{
	for (size_t at = HEADER_SIZE; at < t->len[which]; at += width)
		add_pointer(&f->script, ACPI_FILE_TABLES, t->off[which] + at, width);
	table_checksum(f, t, which);
}

void acpi_build_files(const struct acpi_config *cfg, struct acpi_files *ret)
{
	struct acpi_config from_0 = *cfg;
	struct acpi_tables t;
	struct strbuf *s = &ret->script;
	size_t fadt;

	from_0.base = 0;
	acpi_build(&from_0, &t);
	fadt = t.off[ACPI_FADT];
	*ret = (struct acpi_files){ .tables = t.blob };
	strbuf_add(&ret->rsdp, t.blob.p, RSDP_SIZE);
	/* Two root pointers would be one too many. */
	memset(ret->tables.p, 0, RSDP_SIZE);

	allocate(s, ACPI_FILE_RSDP, 16, ZONE_FSEG);
	allocate(s, ACPI_FILE_TABLES, 64, ZONE_HIGH);
	add_pointer(s, ACPI_FILE_TABLES, fadt + FADT_FIRMWARE_CTRL, 4);
	add_pointer(s, ACPI_FILE_TABLES, fadt + FADT_DSDT, 4);
	add_pointer(s, ACPI_FILE_TABLES, fadt + FADT_X_DSDT, 8);
	table_checksum(ret, &t, ACPI_FADT);
	link_root(ret, &t, ACPI_RSDT, 4);
	link_root(ret, &t, ACPI_XSDT, 8);
	add_pointer(s, ACPI_FILE_RSDP, RSDP_RSDT, 4);
	add_pointer(s, ACPI_FILE_RSDP, RSDP_XSDT, 8);
	add_checksum(s, &ret->rsdp, ACPI_FILE_RSDP, RSDP_V1_SUM, 0, RSDP_V1_SIZE);
	add_checksum(s, &ret->rsdp, ACPI_FILE_RSDP, RSDP_SUM, 0, RSDP_SIZE);
}

void acpi_files_done(struct acpi_files *f)
{
	strbuf_done(&f->rsdp);
	strbuf_done(&f->tables);
	strbuf_done(&f->script);
}
