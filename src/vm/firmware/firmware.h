/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_FIRMWARE_FIRMWARE_H
#define VM_FIRMWARE_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/acpi/acpi.h"
#include "vm/boot/boot.h"
#include "vm/dev/fw_cfg.h"
#include "vm/memory.h"

/*
 * The firmware of a machine: its code, which ends at 4 GiB and whose last 128 KiB are also below 1 MiB, and for UEFI a
 * flash chip with variables that ends where the code begins.
 */
struct firmware {
	char *path;
	uint8_t *rom; /* the code */
	size_t rom_len;
	uint8_t *vars; /* NULL: none */
	size_t vars_len;
	int vars_fd; /* where changes are kept; negative: nowhere */
};

/*
 * firmware_load - find and read firmware.
 *
 * @what: "seabios" or "ovmf" (as Debian's packages install them), or the path of an image. An image whose name has
 *        CODE in it takes its variables from the file beside it that has VARS instead.
 * @vars: a file that keeps the variables; made from the template when it does not exist. NULL: they are lost.
 * Returns 0; -ENOENT; -EINVAL (size; @vars for firmware without variables); -EBUSY (@vars is another machine's).
 * @ret: firmware_done(). Thread: owner.
 */
_nodiscard_ int firmware_load(const char *what, const char *vars, struct firmware *ret,
			      struct err *err);
/* firmware_done - free; a zeroed one is fine, if its vars_fd is negative. Thread: owner. */
void firmware_done(struct firmware *fw);

/* firmware_map - put the code below 4 GiB. Once, before the machine runs. Returns what memory_add_rom() says. */
_nodiscard_ int firmware_map(const struct firmware *fw, struct memory *mem, struct err *err);

/* firmware_vars_gpa - where the variables' chip begins. */
uint64_t firmware_vars_gpa(const struct firmware *fw);

/* firmware_shadow - copy the end of the code below 1 MiB; at every power-on. Returns 0, or -EFAULT (no RAM there). */
_nodiscard_ int firmware_shadow(const struct firmware *fw, const struct physmem *mem,
				struct err *err);

/* What firmware asks for through fw_cfg. Everything stays the caller's. */
struct firmware_info {
	const char *name; /* of the machine, or NULL */
	const struct acpi_config *acpi;
	bool is_uefi; /* it starts kernels without an option ROM */
	const struct memory *memory;
	bool has_vga;
	const char *bootorder; /* lines of OpenFirmware paths; NULL: firmware's own order */
	const uint8_t *kernel; /* a bzImage to be booted directly, or NULL */
	uint64_t kernel_len;
	const uint8_t *initrd;
	uint64_t initrd_len;
};

/*
 * firmware_fill - add memory map, ACPI and SMBIOS tables, kernel and settings to fw_cfg. The numbers of CPUs, memory
 * and the command line are there already.
 *
 * Returns 0; -ENOMEM; -ENOEXEC (the kernel is no bzImage); -ENOENT (SeaBIOS needs an option ROM to boot a kernel, and
 * it is not installed). Before the machine runs.
 */
_nodiscard_ int firmware_fill(struct fw_cfg *f, const struct firmware_info *info, struct err *err);

#endif
