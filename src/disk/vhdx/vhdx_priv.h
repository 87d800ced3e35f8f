/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VHDX_VHDX_PRIV_H
#define ATOLL_DISK_VHDX_VHDX_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "disk/guid_priv.h"

/*
 * The structures of a VHDX file as bytes and as plain structs. Nothing here does I/O; everything
 * that is read is checked. Numbers are little-endian, offsets count from the start of the file
 * unless said otherwise. Source of all: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format".
 */

#define VHDX_KIB UINT64_C(1024)
#define VHDX_MIB (UINT64_C(1024) * VHDX_KIB)
#define VHDX_GIB (UINT64_C(1024) * VHDX_MIB)
#define VHDX_TIB (UINT64_C(1024) * VHDX_GIB)

#define VHDX_MAX_SIZE (64 * VHDX_TIB)

enum {
	VHDX_HEADER_SIZE = 4096,
	VHDX_HEADER1_OFF = 64 << 10,
	VHDX_HEADER2_OFF = 128 << 10,
	VHDX_REGIONS_SIZE = 64 << 10,
	VHDX_REGIONS1_OFF = 192 << 10,
	VHDX_REGIONS2_OFF = 256 << 10,
	VHDX_METADATA_TABLE_SIZE = 64 << 10,
	VHDX_ITEM_MAX = 1 << 20,      /* bytes of one metadata item */
	VHDX_METADATA_MAX = 64 << 20, /* bytes of the region that we are ready to take in */
	VHDX_LOG_MAX = 64 << 20,      /* bytes of the log that we are ready to take in */
	VHDX_SECTOR = 4096,	      /* of the log */
	VHDX_DATA_IN_SECTOR = 4084,
	VHDX_DESCRIPTOR_SIZE = 32,
	VHDX_LOG_HEADER_SIZE = 64,
	VHDX_BITMAP_BLOCK = 1 << 20, /* bytes of a sector bitmap block */
};

/* --- header section (2.2) --- */

/* vhdx_is - whether a file begins as a VHDX file does; @n: bytes at hand. Thread: any. */
_pure_ bool vhdx_is(const uint8_t *p, size_t n);

/* vhdx_identifier_put - the file identifier, 4096 bytes, with who made the file. Thread: any. */
void vhdx_identifier_put(uint8_t *p, const char *creator);

/* vhdx_identifier_creator - who made the file; @p: 520 bytes or more. Thread: any. */
void vhdx_identifier_creator(const uint8_t *p, struct strbuf *ret);

struct vhdx_header {
	uint64_t seq;
	struct guid file_write, data_write, log;
	uint16_t log_version, version;
	uint32_t log_length;
	uint64_t log_off;
};

/*
 * vhdx_header_parse - one of the two headers.
 *
 * @p:  VHDX_HEADER_SIZE bytes
 * Returns 0 or -EILSEQ (signature, checksum): then the other one counts. Thread: any.
 */
_nodiscard_ int vhdx_header_parse(const uint8_t *p, struct vhdx_header *ret, struct err *err);

/*
 * vhdx_header_check - whether a current header describes a file that we can use.
 *
 * Returns 0; -EOPNOTSUPP (version), -EILSEQ (log place). Thread: any.
 */
_nodiscard_ int vhdx_header_check(const struct vhdx_header *h, struct err *err);

/* vhdx_header_put - VHDX_HEADER_SIZE bytes with their checksum. Thread: any. */
void vhdx_header_put(const struct vhdx_header *h, uint8_t *p);

struct vhdx_regions {
	uint64_t bat_off, metadata_off;
	uint32_t bat_length, metadata_length;
};

/*
 * vhdx_regions_parse - one of the two region tables.
 *
 * @p:  VHDX_REGIONS_SIZE bytes
 * Returns 0; -EILSEQ (damaged, so that the other copy counts), -EOPNOTSUPP (a region that we do not
 * know and may not ignore). Thread: any.
 */
_nodiscard_ int vhdx_regions_parse(const uint8_t *p, struct vhdx_regions *ret, struct err *err);

/* vhdx_regions_put - VHDX_REGIONS_SIZE bytes with their checksum. Thread: any. */
void vhdx_regions_put(const struct vhdx_regions *r, uint8_t *p);

/* --- metadata region (2.6) --- */

struct vhdx_metadata {
	uint32_t block_size; /* bytes, power of two, 1 to 256 MiB */
	bool is_fixed;	     /* "leave block allocated" */
	bool has_parent;
	uint64_t size; /* of the disk, bytes */
	uint32_t logical_sector, physical_sector;
	struct guid disk_id;
	uint32_t size_off;		      /* where the size stands in the region */
	uint32_t locator_off, locator_length; /* where the parent locator stands; 0: none */
};

/*
 * vhdx_metadata_parse - table and known items of the metadata region.
 *
 * @p, @n:  the region
 * Returns 0; -EILSEQ, -EOPNOTSUPP (a required item that we do not know). Thread: any.
 */
_nodiscard_ int vhdx_metadata_parse(const uint8_t *p, size_t n, struct vhdx_metadata *ret,
				    struct err *err);

/*
 * vhdx_metadata_put - table and items.
 *
 * @p:           zeroed region of @n bytes, @n >= 128 KiB + @n_locator
 * @locator:     parent locator item, only with m->has_parent
 * Fills in size_off, locator_off and locator_length of @m. Thread: any.
 */
void vhdx_metadata_put(struct vhdx_metadata *m, uint8_t *p, size_t n, const uint8_t *locator,
		       size_t n_locator);

/* What a differencing image says about its parent; text is UTF-8. Zeroed is empty. */
struct vhdx_locator {
	bool has_linkage, has_linkage2;
	struct guid linkage, linkage2; /* the parent's DataWriteGuid */
	char *relative_path, *volume_path, *absolute_path;
};

/*
 * vhdx_locator_parse - the parent locator item.
 *
 * @ret:  vhdx_locator_done(), also after an error
 * Returns 0; -EILSEQ, -EOPNOTSUPP (a parent that is not a VHDX file). Thread: any.
 */
_nodiscard_ int vhdx_locator_parse(const uint8_t *p, size_t n, struct vhdx_locator *ret,
				   struct err *err);

/* vhdx_locator_put - the item; @ret: appended to. Thread: owner of @ret. */
void vhdx_locator_put(const struct vhdx_locator *l, struct strbuf *ret);

/* vhdx_locator_done - free the names. Thread: owner. */
void vhdx_locator_done(struct vhdx_locator *l);

/* --- block allocation table (2.5) --- */

enum vhdx_state {
	VHDX_NOT_PRESENT = 0, /* in the parent, or undefined: zero */
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_PRESENT = 6,
	VHDX_PARTIAL = 7, /* the sector bitmap tells which sectors */
};

#define VHDX_BAT_STATE	UINT64_C(7)
#define VHDX_BAT_OFFSET (~UINT64_C(0) << 20) /* bytes: the field counts MiB from bit 20 */

/* The shape of the table of a disk. */
struct vhdx_shape {
	uint32_t block_size;
	uint32_t chunk_ratio; /* payload blocks described by one sector bitmap block */
	uint64_t nr_blocks, nr_bitmaps;
	uint64_t nr_entries;
};

/* vhdx_shape_of - from checked metadata. Thread: any. */
struct vhdx_shape vhdx_shape_of(const struct vhdx_metadata *m);

/* vhdx_bat_index - where the entry of a payload block stands. Thread: any. */
static inline uint64_t vhdx_bat_index(const struct vhdx_shape *s, uint64_t block)
{
	return block + block / s->chunk_ratio;
}

/* vhdx_bat_bitmap_index - where the entry of a sector bitmap block stands. Thread: any. */
static inline uint64_t vhdx_bat_bitmap_index(const struct vhdx_shape *s, uint64_t chunk)
{
	return chunk * (s->chunk_ratio + UINT64_C(1)) + s->chunk_ratio;
}

/* --- log (2.3) --- */

struct vhdx_log_entry {
	uint32_t pos;	 /* in the log, bytes */
	uint32_t length; /* bytes, multiple of VHDX_SECTOR */
	uint32_t tail;	 /* position of the oldest entry that replay needs */
	uint32_t nr_descriptors;
	uint64_t seq;
	uint64_t flushed_size; /* the file is known to have this size on the medium */
	uint64_t last_size;    /* and needs this one */
};

/*
 * vhdx_log_entry_parse - the entry at a place of the log, all of it checked.
 *
 * @log, @n:   the whole log, a ring; @n a multiple of VHDX_SECTOR
 * @pos:       multiple of VHDX_SECTOR, < @n
 * @log_guid:  of the header
 * Returns 0; -ENOENT (no valid entry there), -ENOMEM. Thread: any.
 */
_nodiscard_ int vhdx_log_entry_parse(const uint8_t *log, uint32_t n, uint32_t pos,
				     const struct guid *log_guid, struct vhdx_log_entry *ret);

struct vhdx_log_active {
	uint32_t tail;	     /* where replay starts; entries follow each other */
	uint32_t nr_entries; /* 0: nothing to replay */
	uint64_t seq;	     /* of the last entry */
	uint64_t flushed_size, last_size;
};

/*
 * vhdx_log_find - the active sequence of a log.
 *
 * Arguments as vhdx_log_entry_parse(). Returns 0; -EILSEQ (no valid sequence: the header said that
 * there is one), -ENOMEM. Thread: any.
 */
_nodiscard_ int vhdx_log_find(const uint8_t *log, uint32_t n, const struct guid *log_guid,
			      struct vhdx_log_active *ret, struct err *err);

/*
 * vhdx_log_replay - call @apply for each change that the active sequence holds, in order.
 *
 * @apply:  @data VHDX_SECTOR bytes, or NULL for @len zeros; @off and @len are multiples of
 *          VHDX_SECTOR. A negative return ends the replay.
 * Returns 0; -EILSEQ, -ENOMEM, or what @apply returned. Thread: any.
 */
_nodiscard_ int vhdx_log_replay(const uint8_t *log, uint32_t n, const struct guid *log_guid,
				const struct vhdx_log_active *active,
				int (*apply)(void *arg, uint64_t off, uint64_t len,
					     const uint8_t *data),
				void *arg, struct err *err);

/* One 4096-byte page that changes. */
struct vhdx_log_page {
	uint64_t off; /* multiple of VHDX_SECTOR */
	const uint8_t *data;
};

/* vhdx_log_entry_size - bytes of an entry with this many pages. Thread: any. */
uint32_t vhdx_log_entry_size(uint32_t nr_pages);

/*
 * vhdx_log_entry_put - an entry that replaces pages.
 *
 * @p:  zeroed, vhdx_log_entry_size(@nr_pages) bytes
 * @e:  tail, seq, flushed_size and last_size; the rest is filled in
 * Thread: any.
 */
void vhdx_log_entry_put(struct vhdx_log_entry *e, const struct guid *log_guid,
			const struct vhdx_log_page *pages, uint32_t nr_pages, uint8_t *p);

#endif
