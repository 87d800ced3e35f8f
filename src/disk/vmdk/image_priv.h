/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VMDK_IMAGE_PRIV_H
#define ATOLL_DISK_VMDK_IMAGE_PRIV_H

#include "disk/format_priv.h"
#include "disk/tables_priv.h"
#include "disk/vmdk/vmdk_priv.h"

/* One open VMDK image: what its driver's files share. Under the image's lock. */

struct vmdk_part {
	enum vmdk_extent_kind kind;
	uint64_t start, bytes;	/* of the disk */
	struct disk_file *file; /* of the image itself, or own; NULL: zeros */
	bool is_own;
	uint64_t flat_off; /* bytes */

	/* of a sparse one */
	struct vmdk_header header;
	bool is_stream; /* tables stand behind the data, and are written when the image is done */
	bool is_stream_open;
	uint32_t *gd, *rgd; /* sectors of the grain tables, and of their copies; rgd may be NULL */
	bool is_gd_dirty;
	struct tables gt; /* a page a grain table */
	struct space space;
};

struct vmdk {
	struct image *img;
	struct vmdk_descriptor desc;
	uint64_t text_off;  /* of the descriptor in img->file, bytes */
	uint32_t text_room; /* bytes it may take there; 0: it is all of the file */
	struct vmdk_part *parts;
	size_t nr_parts;
	bool is_misaligned; /* parts begin within a grain: only reading */
};

static inline struct vmdk *vmdk_of(struct image *img)
{
	return img->priv;
}

static inline uint64_t vmdk_grain_bytes(const struct vmdk_part *p)
{
	return p->header.grain * VMDK_SECTOR;
}

/* --- image.c --- */

struct vmdk_part *vmdk_part_at(struct vmdk *v, uint64_t off);
_nodiscard_ int vmdk_gte_get(struct vmdk_part *p, uint64_t grain, bool is_cached, uint32_t *ret);
int vmdk_unpack(struct image *img, const struct where_at *at, void *buf);

/* --- write.c --- */

/* Changes the table in memory. */
_nodiscard_ int vmdk_gte_set(struct vmdk_part *p, uint64_t grain, uint32_t gte);
int vmdk_first_write(struct image *img);
int vmdk_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret);
int vmdk_link(struct image *img, struct alloc *a);
void vmdk_unalloc(struct image *img, struct alloc *a);
int vmdk_zero(struct image *img, uint64_t off, uint64_t len, bool unmap);
int vmdk_discard(struct image *img, uint64_t off, uint64_t len);
int vmdk_flush(struct image *img);
int vmdk_finish(struct image *img);
int vmdk_resize(struct image *img, uint64_t size, struct err *err);
int vmdk_check(struct image *img, struct disk_check *check, struct err *err);

/* --- stream.c --- */

int vmdk_pack(struct image *img, const void *buf, void *out, size_t *ret_bytes);
int vmdk_write_packed(struct image *img, uint64_t off, const void *packed, size_t bytes);
/* The tables behind the data, and the footer. */
_nodiscard_ int vmdk_stream_end(struct vmdk_part *p);

/* --- create.c --- */

extern const struct disk_option_info vmdk_options[];
int vmdk_create(struct disk_file *file, const struct disk_create_opts *opts, struct err *err);

#endif
