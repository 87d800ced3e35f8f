/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VDI_VDI_PRIV_H
#define ATOLL_DISK_VDI_VDI_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/guid_priv.h"

/*
 * The header of VirtualBox disk images as bytes and as a plain struct. Nothing here does I/O; what is
 * read is checked. Numbers are little-endian. Source: VirtualBox, VDICore.h (VDIPREHEADER,
 * VDIHEADER1PLUS).
 */

enum {
	VDI_HEADER_SIZE = 512, /* what is read and written of it */
	/* size, size of blocks, and how many there are and are allocated: what a writer changes */
	VDI_COUNTS_OFF = 368,
	VDI_COUNTS_SIZE = 24,
	VDI_BLOCK_MIN = 4096,
	VDI_BLOCK_MAX = 64 << 20,
};

#define VDI_MAX_BLOCKS (UINT32_C(1) << 26)

/* Entries of the block map; else the number of the block in the file. */
#define VDI_FREE UINT32_MAX	  /* not there: zero, or the parent's */
#define VDI_ZERO (UINT32_MAX - 1) /* zero */

enum vdi_type { VDI_DYNAMIC = 1, VDI_STATIC = 2, VDI_UNDO = 3, VDI_DIFFERENCING = 4 };

struct vdi_header {
	uint32_t version; /* 0x00010001 */
	enum vdi_type type;
	char description[257];
	uint32_t map_off, data_off; /* bytes */
	uint64_t size;		    /* of the disk, bytes */
	uint32_t block_size;	    /* bytes */
	uint32_t nr_blocks, nr_allocated;
	struct guid uuid, snapshot_uuid, parent_uuid; /* Microsoft's byte order */
};

/* vdi_is - whether a file begins as a VDI file does; @n: bytes at hand. Thread: any. */
_pure_ bool vdi_is(const uint8_t *p, size_t n);

/*
 * vdi_header_parse - the header.
 *
 * @p:  VDI_HEADER_SIZE bytes
 * Returns 0; -EILSEQ, -EOPNOTSUPP (version, type). Thread: any.
 */
_nodiscard_ int vdi_header_parse(const uint8_t *p, struct vdi_header *ret, struct err *err);

/* vdi_header_put - VDI_HEADER_SIZE bytes. Thread: any. */
void vdi_header_put(const struct vdi_header *h, uint8_t *p);

#endif
