/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VMDK_VMDK_PRIV_H
#define ATOLL_DISK_VMDK_VMDK_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/*
 * The structures of VMDK images as bytes and text and as plain structs. Nothing here does I/O;
 * everything that is read is checked. Numbers are little-endian; what is called sectors counts 512
 * bytes. Source of all: VMware, "Virtual Disk Format 5.0", 2011.
 */

enum {
	VMDK_SECTOR = 512,
	VMDK_HEADER_SIZE = 512,
	VMDK_DESCRIPTOR_MAX = 2 << 20, /* bytes of text */
	VMDK_EXTENTS_MAX = 4096,
	VMDK_GRAIN_MIN = 8,	/* sectors */
	VMDK_GRAIN_MAX = 32768, /* 16 MiB */
	VMDK_GTES = 512,	/* entries of a grain table that we make */
};

#define VMDK_MAX_SECTORS (UINT64_C(1) << 40)
#define VMDK_MAX_TABLES                                                                            \
	(UINT64_C(1) << 22)	  /* grain tables of an extent: 128 TiB in 64 KiB grains */
#define VMDK_GD_AT_END UINT64_MAX /* gd_off: the footer knows */
#define VMDK_NO_PARENT UINT32_MAX /* parent_cid */
#define VMDK_GTE_ZERO  1	  /* a grain that reads zero, with VMDK_F_ZERO_GRAINS */

/* --- descriptor --- */

enum vmdk_extent_kind { VMDK_EXTENT_FLAT, VMDK_EXTENT_SPARSE, VMDK_EXTENT_ZERO };

struct vmdk_extent {
	enum vmdk_extent_kind kind;
	bool is_writable, no_access;
	uint64_t sectors;
	char *name;   /* a file in the folder of the descriptor or below; NULL: zeros */
	uint64_t off; /* of a flat extent in its file, sectors */
};

struct vmdk_descriptor {
	uint32_t version, cid, parent_cid;
	char *create_type;
	char *parent_hint; /* NULL: none */
	char *adapter;	   /* NULL: not said */
	struct vmdk_extent *extents;
	size_t nr_extents;
	uint64_t sectors; /* of all extents */
};

/* vmdk_is_descriptor - whether text begins as a descriptor does, comments before it allowed.
 * Thread: any. */
_pure_ bool vmdk_is_descriptor(const uint8_t *p, size_t n);

/*
 * vmdk_descriptor_parse - the text that says what an image consists of.
 *
 * Names of extents that are absolute or lead upwards are refused: an image must not make us open files
 * elsewhere.
 *
 * @text:  may be followed by zero bytes, which are ignored
 * @ret:   vmdk_descriptor_done(), also after an error
 * Returns 0; -EILSEQ (syntax, with the line), -EOPNOTSUPP (extents of a kind that only ESX can
 * read). Thread: any.
 */
_nodiscard_ int vmdk_descriptor_parse(struct str text, struct vmdk_descriptor *ret,
				      struct err *err);

/* vmdk_descriptor_done - free what it holds. Thread: owner. */
void vmdk_descriptor_done(struct vmdk_descriptor *d);

/* vmdk_descriptor_put - the text of a new image. @hwversion: of the virtual machine. Thread: owner of
 * @ret. */
void vmdk_descriptor_put(const struct vmdk_descriptor *d, const char *hwversion,
			 struct strbuf *ret);

/*
 * vmdk_descriptor_set - replace the value of a line `key=...`, keep all else as it stands.
 *
 * @value:  as it is to stand there, with quotes where the key has them
 * @ret:    the new text, appended
 * Returns false when there is no such line. Thread: owner of @ret.
 */
bool vmdk_descriptor_set(struct str text, const char *key, const char *value, struct strbuf *ret);

/* vmdk_descriptor_set_sectors - replace the size in the only extent line. As vmdk_descriptor_set(). */
bool vmdk_descriptor_set_sectors(struct str text, uint64_t sectors, struct strbuf *ret);

/* --- sparse extents --- */

enum vmdk_flag {
	VMDK_F_NEWLINES = 1 << 0,
	VMDK_F_REDUNDANT = 1 << 1, /* rgd_off is in use */
	VMDK_F_ZERO_GRAINS = 1 << 2,
	VMDK_F_COMPRESSED = 1 << 16,
	VMDK_F_MARKERS = 1 << 17,
};

struct vmdk_header {
	uint32_t version;
	uint32_t flags;
	uint64_t capacity;			     /* sectors */
	uint64_t grain;				     /* sectors, power of two */
	uint64_t descriptor_off, descriptor_sectors; /* sectors; 0: the descriptor is elsewhere */
	uint32_t nr_gtes;			     /* entries of a grain table, power of two */
	uint64_t rgd_off, gd_off;		     /* sectors */
	uint64_t overhead;			     /* sectors */
	bool is_unclean;
};

/* vmdk_is_sparse - whether a file begins as a sparse extent does; @n: bytes at hand. Thread: any. */
_pure_ bool vmdk_is_sparse(const uint8_t *p, size_t n);

/*
 * vmdk_header_parse - the header of a sparse extent, or the footer of a stream.
 *
 * @p:  VMDK_HEADER_SIZE bytes
 * Returns 0; -EILSEQ, -EOPNOTSUPP (version, compression). Thread: any.
 */
_nodiscard_ int vmdk_header_parse(const uint8_t *p, struct vmdk_header *ret, struct err *err);

/* vmdk_header_put - VMDK_HEADER_SIZE bytes. Thread: any. */
void vmdk_header_put(const struct vmdk_header *h, uint8_t *p);

/* vmdk_nr_tables - how many grain tables an extent has, which is the length of its grain directory.
 * Thread: any. */
uint64_t vmdk_nr_tables(const struct vmdk_header *h);

/* --- markers of streams --- */

enum vmdk_marker_type {
	VMDK_MARK_EOS = 0,
	VMDK_MARK_GT = 1,
	VMDK_MARK_GD = 2,
	VMDK_MARK_FOOTER = 3
};

struct vmdk_marker {
	uint64_t value; /* first sector of a grain; else sectors that follow */
	uint32_t size;	/* bytes of compressed data of a grain; 0: not a grain */
	enum vmdk_marker_type type;
};

enum {
	VMDK_MARKER_SIZE = 16,
	VMDK_GRAIN_HEADER = 12, /* compressed data begins behind value and size */
};

/*
 * vmdk_marker_parse - what stands at the beginning of a sector of a stream.
 *
 * @p:      VMDK_MARKER_SIZE bytes
 * @grain:  bytes of a grain: compressed it has at most twice as much
 * Returns 0; -EILSEQ. Thread: any.
 */
_nodiscard_ int vmdk_marker_parse(const uint8_t *p, uint64_t grain, struct vmdk_marker *ret,
				  struct err *err);

/* vmdk_marker_put - VMDK_MARKER_SIZE bytes, of which a grain uses VMDK_GRAIN_HEADER. Thread: any. */
void vmdk_marker_put(const struct vmdk_marker *m, uint8_t *p);

#endif
