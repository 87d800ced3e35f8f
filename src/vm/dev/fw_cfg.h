/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_FW_CFG_H
#define VM_DEV_FW_CFG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The firmware configuration device (QEMU docs/specs/fw_cfg): numbered items and a directory of named
 * files, read byte by byte at ports 0x510 (selector) and 0x511 (data), or by DMA at 0x514.
 */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_NB_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_KERNEL_CMDLINE = 0x09,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_ARCH_LOCAL = 0x8000,
	FW_CFG_ACPI_TABLES = 0x8000,
	FW_CFG_SMBIOS_ENTRIES = 0x8001,
	FW_CFG_IRQ0_OVERRIDE = 0x8002,
	FW_CFG_E820_TABLE = 0x8003,
};

enum { FW_CFG_MAX_FILES = 64, FW_CFG_MAX_ITEMS = FW_CFG_FILE_FIRST + FW_CFG_MAX_FILES };
#define FW_CFG_MAX_BYTES (UINT64_C(1) << 30) /* of one item */

struct fw_cfg_item {
	uint8_t *data; /* owned */
	uint32_t len;
};

struct fw_cfg {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range;
	struct physmem *mem;
	uint16_t key;
	uint32_t off;
	uint64_t dma_addr;
	struct fw_cfg_item item[FW_CFG_MAX_ITEMS], local[FW_CFG_FILE_FIRST];
	unsigned int nr_files;
	char names[FW_CFG_MAX_FILES][56]; /* sorted; file k is item FW_CFG_FILE_FIRST + k */
};

/* fw_cfg_init - the device at ports 0x510-0x51b. Uses of @board: pio, mem. Returns 0, or what bus_add()
 * says. */
_nodiscard_ int fw_cfg_init(struct fw_cfg *f, const struct board *board, struct err *err);
void fw_cfg_done(struct fw_cfg *f);
void fw_cfg_reset(struct fw_cfg *f);

/*
 * fw_cfg_add - set item @key (below FW_CFG_FILE_FIRST, or FW_CFG_ARCH_LOCAL plus as much) to a copy of
 * @data; replaces what was there. Before the machine runs.
 *
 * Returns 0; -EINVAL (key), -E2BIG (over FW_CFG_MAX_BYTES), -ENOMEM.
 */
_nodiscard_ int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint64_t len);
/* The same for little-endian numbers. */
_nodiscard_ int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value);
_nodiscard_ int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value);
_nodiscard_ int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value);

/*
 * fw_cfg_add_file - put a copy of @data under a name ("etc/e820", at most 55 bytes) into the directory.
 *
 * Before the machine runs: numbers are given in the order of names.
 * Returns 0; -EINVAL (name), -EEXIST, -ENOSPC (FW_CFG_MAX_FILES), -E2BIG, -ENOMEM.
 */
_nodiscard_ int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint64_t len);

/* fw_cfg_state - what a snapshot keeps of it. */
extern const struct state_desc fw_cfg_state;

#endif
