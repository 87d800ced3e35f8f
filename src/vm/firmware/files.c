/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware is told through fw_cfg. The names and formats are QEMU's, which SeaBIOS and OVMF know.
 *
 * A kernel given together with firmware is handed over in pieces, as the boot protocol divides it: the setup part, the
 * rest, the initrd, the command line. OVMF starts it by its EFI stub. SeaBIOS does not know about kernels; a small
 * option ROM does (linuxboot_dma, from QEMU's package), to which a file in the directory points.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/fd.h"
#include "vm/firmware/firmware.h"
#include "vm/firmware/smbios.h"

enum {
	E820_ENTRY = 20,
	SLEEP_STATES = 6,
	SLEEP_SUPPORTED = 128, /* for state n at byte n */

	/* Linux, Documentation/x86/boot.rst, "The real-mode kernel header". */
	SETUP_SECTS = 0x1f1,
	SETUP_MAGIC = 0x202,
	SETUP_LOADER = 0x210,
	SETUP_LOADFLAGS = 0x211,
	SETUP_RAMDISK = 0x218,
	SETUP_RAMDISK_SIZE = 0x21c,
	SETUP_HEAP_END = 0x224,
	SETUP_CMDLINE = 0x228,
	SETUP_MIN = 0x268,
	LOADER_QEMU = 0xb0,
	FLAG_CAN_USE_HEAP = 0x80,
	SECTOR = 512,
	SETUP_SECTS_OLD = 4,

	/* Where the option ROM puts the pieces. */
	ADDR_SETUP = 0x10000,
	ADDR_CMDLINE = 0x20000,
	ADDR_KERNEL = 0x100000,
};

#define LINUXBOOT_ROM  "/usr/share/qemu/linuxboot_dma.bin"
#define LINUXBOOT_FILE "genroms/linuxboot_dma.bin"
#define LINUXBOOT_PATH "/rom@genroms/linuxboot_dma.bin\n"
#define VGABIOS_ROM    "/usr/share/seabios/vgabios-stdvga.bin"
#define VGABIOS_FILE   "pci1234,1111.rom"
#define INITRD_TOP     UINT64_C(0x37ffffff) /* what old kernels can reach */

static int add_e820(struct fw_cfg *f, const struct memory *mem)
{
	uint8_t e[2 * E820_ENTRY] = { 0 };

	put_le64(e + 8, mem->low_end);
	put_le32(e + 16, BOOT_MEM_RAM);
	put_le64(e + E820_ENTRY, MEMORY_HIGH_BASE);
	put_le64(e + E820_ENTRY + 8, mem->high_end - MEMORY_HIGH_BASE);
	put_le32(e + E820_ENTRY + 16, BOOT_MEM_RAM);
	return fw_cfg_add_file(f, "etc/e820", e,
			       mem->high_end > MEMORY_HIGH_BASE ? sizeof(e) : E820_ENTRY);
}

static int add_acpi(struct fw_cfg *f, const struct acpi_config *cfg)
{
	struct acpi_files files;
	int r;

	acpi_build_files(cfg, &files);
	r = fw_cfg_add_file(f, ACPI_FILE_RSDP, files.rsdp.p, files.rsdp.n);
	if (r == 0)
		r = fw_cfg_add_file(f, ACPI_FILE_TABLES, files.tables.p, files.tables.n);
	if (r == 0)
		r = fw_cfg_add_file(f, ACPI_FILE_LOADER, files.script.p, files.script.n);
	acpi_files_done(&files);
	return r;
}

static int add_smbios(struct fw_cfg *f, const struct firmware_info *info)
{
	_cleanup_(strbuf_done) struct strbuf anchor = { 0 }, tables = { 0 };
	const struct smbios_config cfg = {
		.name = info->name ? info->name : "",
		.nr_cpus = info->acpi->nr_cpus,
		.memory_bytes = info->memory->ram_bytes,
		.low_end = info->memory->low_end,
	};
	int r;

	smbios_build(&cfg, &anchor, &tables);
	r = fw_cfg_add_file(f, SMBIOS_FILE_ANCHOR, anchor.p, anchor.n);
	return r < 0 ? r : fw_cfg_add_file(f, SMBIOS_FILE_TABLES, tables.p, tables.n);
}

static int add_settings(struct fw_cfg *f, const char *bootorder)
{
	uint8_t states[SLEEP_STATES] = { SLEEP_SUPPORTED, 0, 0, 1, 2, SLEEP_SUPPORTED };
	int r = fw_cfg_add_file(f, "etc/system-states", states, sizeof(states));

	if (r == 0)
		r = fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, 0); /* nobody is asked, no waiting */
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1);
	if (r == 0 && bootorder)
		r = fw_cfg_add_file(f, "bootorder", bootorder, strlen(bootorder) + 1);
	return r;
}

static uint64_t initrd_address(const struct firmware_info *info)
{
	uint64_t top = MIN(info->memory->low_end - 1, INITRD_TOP) - (UINT64_C(1) << 20);

	return info->initrd_len < top ? align_down(top - info->initrd_len, 4096) : 0;
}

/* The setup part as a boot loader fills it in. */
static int add_setup(struct fw_cfg *f, const struct firmware_info *info, size_t len)
{
	uint8_t *setup = malloc(len);
	int r;

	if (!setup)
		return -ENOMEM;
	memcpy(setup, info->kernel, len);
	setup[SETUP_LOADER] = LOADER_QEMU;
	setup[SETUP_LOADFLAGS] |= FLAG_CAN_USE_HEAP;
	put_le16(setup + SETUP_HEAP_END, ADDR_CMDLINE - ADDR_SETUP - 0x200);
	put_le32(setup + SETUP_CMDLINE, ADDR_CMDLINE);
	put_le32(setup + SETUP_RAMDISK, (uint32_t)initrd_address(info));
	put_le32(setup + SETUP_RAMDISK_SIZE, (uint32_t)info->initrd_len);
	r = fw_cfg_add(f, FW_CFG_SETUP_DATA, setup, len);
	free(setup);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_SETUP_ADDR, ADDR_SETUP);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_SETUP_SIZE, (uint32_t)len);
	return r;
}

static int add_initrd(struct fw_cfg *f, const struct firmware_info *info)
{
	int r;

	if (!info->initrd_len)
		return 0;
	r = fw_cfg_add(f, FW_CFG_INITRD_DATA, info->initrd, info->initrd_len);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_INITRD_SIZE, (uint32_t)info->initrd_len);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_INITRD_ADDR, (uint32_t)initrd_address(info));
	return r;
}

/* The adapter's BIOS, by the name under which SeaBIOS looks for the ROM of a PCI device. */
static int add_vgabios(struct fw_cfg *f, struct err *err)
{
	void *rom;
	size_t len;
	int r = file_read(VGABIOS_ROM, 64 << 10, &rom, &len, err);

	if (r < 0)
		return err_wrap(err, r, "display adapter (Debian package seabios)");
	r = fw_cfg_add_file(f, VGABIOS_FILE, rom, len);
	free(rom);
	return r;
}

static int add_linuxboot(struct fw_cfg *f, struct err *err)
{
	void *rom;
	size_t len;
	int r = file_read(LINUXBOOT_ROM, 64 << 10, &rom, &len, err);

	if (r < 0)
		return err_wrap(err, r, "a kernel for SeaBIOS (Debian package qemu-system-data)");
	r = fw_cfg_add_file(f, LINUXBOOT_FILE, rom, len);
	free(rom);
	return r;
}

static int add_kernel(struct fw_cfg *f, const struct firmware_info *info, struct err *err)
{
	const uint8_t *k = info->kernel;
	size_t sects, setup;
	int r;

	if (info->kernel_len < SETUP_MIN || memcmp(k + SETUP_MAGIC, "HdrS", 4) != 0)
		return err_set(err, -ENOEXEC, "firmware starts only a Linux bzImage");
	sects = k[SETUP_SECTS] ? k[SETUP_SECTS] : SETUP_SECTS_OLD;
	setup = (sects + 1) * SECTOR;
	if (setup >= info->kernel_len)
		return err_set(err, -ENOEXEC, "the kernel ends in its setup part");
	r = add_setup(f, info, setup);
	if (r == 0)
		r = fw_cfg_add(f, FW_CFG_KERNEL_DATA, k + setup, info->kernel_len - setup);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, (uint32_t)(info->kernel_len - setup));
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_KERNEL_ADDR, ADDR_KERNEL);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, ADDR_CMDLINE);
	if (r == 0)
		r = add_initrd(f, info);
	return r < 0 || info->is_uefi ? r : add_linuxboot(f, err);
}

int firmware_fill(struct fw_cfg *f, const struct firmware_info *info, struct err *err)
{
	const char *order = info->kernel && !info->is_uefi ? LINUXBOOT_PATH : info->bootorder;
	int r;

	r = add_e820(f, info->memory);
	if (r == 0)
		r = add_acpi(f, info->acpi);
	if (r == 0)
		r = add_smbios(f, info);
	if (r == 0)
		r = add_settings(f, order);
	if (r < 0)
		return err_set(err, r, "tables for firmware: %s", strerror(-r));
	if (info->has_vga && !info->is_uefi)
		r = add_vgabios(f, err);
	if (r < 0 || !info->kernel)
		return r;
	r = add_kernel(f, info, err);
	return r < 0 ? err_wrap(err, r, "kernel for firmware") : 0;
}
