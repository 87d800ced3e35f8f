/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VHD_VHD_PRIV_H
#define ATOLL_DISK_VHD_VHD_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "disk/guid_priv.h"

/*
 * The structures of a VHD file as bytes and as plain structs. Nothing here does I/O; everything that is
 * read is checked. Numbers are big-endian. Source of all: Microsoft, "Virtual Hard Disk Image Format
 * Specification", version 1.0, 2006.
 */

enum {
	VHD_SECTOR = 512,
	VHD_FOOTER_SIZE = 512,
	VHD_OLD_FOOTER_SIZE = 511, /* of images made before Virtual PC 2004 */
	VHD_HEADER_SIZE = 1024,
	VHD_NR_LOCATORS = 8,
	VHD_LOCATOR_MAX = 64 << 10, /* bytes of a parent's name */
	VHD_BLOCK_MIN = 4096,
	VHD_BLOCK_MAX = 256 << 20,
};

#define VHD_MAX_SIZE	(UINT64_C(2040) << 30)
#define VHD_MAX_ENTRIES (UINT64_C(1) << 24)
#define VHD_UNUSED	UINT32_MAX
#define VHD_EPOCH	UINT64_C(946684800) /* 2000-01-01, seconds after 1970 */

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_chs {
	uint16_t cylinders;
	uint8_t heads, sectors;
};

struct vhd_footer {
	uint64_t data_off;  /* of the dynamic header */
	uint32_t timestamp; /* seconds after VHD_EPOCH */
	char creator[5];    /* program, terminated; may hold other bytes than letters */
	uint32_t creator_version;
	char host_os[5];
	uint64_t original_size, current_size; /* bytes */
	struct vhd_chs chs;
	enum vhd_type type;
	struct guid uuid; /* bytes in text order */
	bool is_saved;	  /* a virtual machine was saved with this disk */
};

/* vhd_is - whether 512 bytes, of which @n are at hand, begin as a footer does. Thread: any. */
_pure_ bool vhd_is(const uint8_t *p, size_t n);

/*
 * vhd_footer_parse - the footer or its copy.
 *
 * @p, @n:  VHD_FOOTER_SIZE or VHD_OLD_FOOTER_SIZE bytes
 * Returns 0; -EILSEQ (damaged), -EOPNOTSUPP (version, type). Thread: any.
 */
_nodiscard_ int vhd_footer_parse(const uint8_t *p, size_t n, struct vhd_footer *ret,
				 struct err *err);

/* vhd_footer_put - VHD_FOOTER_SIZE bytes with their checksum. Thread: any. */
void vhd_footer_put(const struct vhd_footer *f, uint8_t *p);

/*
 * vhd_size - bytes of the disk. The specification has two sizes, and programs differ in which one they
 * show to the guest: those by which the geometry decides are told by their names.
 * Thread: any.
 */
_pure_ uint64_t vhd_size(const struct vhd_footer *f);

/* vhd_chs_of - the geometry for a number of sectors, by the rule of the specification's appendix;
 * covers at most that many sectors. Thread: any. */
_const_ struct vhd_chs vhd_chs_of(uint64_t nr_sectors);

/* vhd_chs_sectors - how many sectors a geometry has. Thread: any. */
uint64_t vhd_chs_sectors(struct vhd_chs chs);

struct vhd_locator {
	uint32_t code;	 /* VHD_LOCATOR_...; 0: unused */
	uint32_t length; /* bytes of the name */
	uint64_t off;	 /* where it stands in the file */
};

#define VHD_LOCATOR_W2RU 0x57327275u /* relative path, UTF-16 little-endian */
#define VHD_LOCATOR_W2KU 0x57326b75u /* absolute path, UTF-16 little-endian */
#define VHD_LOCATOR_MACX 0x4d616358u /* file URL, UTF-8 */

struct vhd_header {
	uint64_t table_off;
	uint32_t nr_entries;
	uint32_t block_size; /* bytes of data in a block */
	struct guid parent_uuid;
	uint32_t parent_timestamp;
	char parent_name[512 * 3 / 2 + 1]; /* UTF-8 */
	struct vhd_locator locators[VHD_NR_LOCATORS];
};

/*
 * vhd_header_parse - the header of a dynamic or differencing disk.
 *
 * @p:     VHD_HEADER_SIZE bytes
 * @size:  of the disk, bytes: the table must be large enough for it
 * Returns 0; -EILSEQ, -EOPNOTSUPP (version). Thread: any.
 */
_nodiscard_ int vhd_header_parse(const uint8_t *p, uint64_t size, struct vhd_header *ret,
				 struct err *err);

/* vhd_header_put - VHD_HEADER_SIZE bytes with their checksum; the name is cut to what fits. Thread:
 * any. */
void vhd_header_put(const struct vhd_header *h, uint8_t *p);

/* vhd_locator_text - a parent locator's name as UTF-8, with slashes. @ret: appended to. Thread: owner
 * of @ret. */
void vhd_locator_text(uint32_t code, const uint8_t *p, size_t n, struct strbuf *ret);

/* vhd_bitmap_size - bytes that the sector bitmap in front of a block takes. Thread: any. */
static inline uint32_t vhd_bitmap_size(uint32_t block_size)
{
	uint32_t bytes = (block_size / VHD_SECTOR + 7) / 8;

	return (bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}

#endif
