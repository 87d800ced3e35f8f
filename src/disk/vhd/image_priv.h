/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VHD_IMAGE_PRIV_H
#define ATOLL_DISK_VHD_IMAGE_PRIV_H

#include "disk/format_priv.h"
#include "disk/tables_priv.h"
#include "disk/vhd/vhd_priv.h"

/* One open VHD image: what its driver's files share. Under the image's lock. */
struct vhd {
	struct image *img;
	struct vhd_footer footer;
	struct vhd_header header; /* not of a fixed image */
	uint32_t bitmap_bytes;	  /* in front of each block */

	struct tables bat;    /* pages of VHD_SECTOR */
	struct tables bitmap; /* a page a block */
	struct space space;   /* of blocks with their bitmaps */
	bool is_space_known;
	bool need_footer; /* the end of the file has none, or an old one */
};

enum {
	VHD_ENTRIES_IN_PAGE = VHD_SECTOR / 4,
	VHD_ALIGN = 4096,
	VHD_TABLE_ROOM = 60 << 10, /* kept free for a table to grow */
};

static inline struct vhd *vhd_of(struct image *img)
{
	return img->priv;
}

static inline bool vhd_is_diff(const struct vhd *v)
{
	return v->footer.type == VHD_DIFFERENCING;
}

/* --- image.c --- */

/* Where a block with its bitmap is, bytes; 0: nowhere. -EILSEQ: where no block can be. */
_nodiscard_ int vhd_bat_get(struct vhd *v, uint64_t block, bool is_cached, uint64_t *ret_place);
/* Changes the table in memory. @place 0: nowhere. */
_nodiscard_ int vhd_bat_set(struct vhd *v, uint64_t block, uint64_t place);
uint64_t vhd_nr_blocks(const struct vhd *v);

/* --- write.c --- */

int vhd_first_write(struct image *img);
int vhd_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret);
int vhd_link(struct image *img, struct alloc *a);
void vhd_unalloc(struct image *img, struct alloc *a);
int vhd_zero(struct image *img, uint64_t off, uint64_t len, bool unmap);
int vhd_discard(struct image *img, uint64_t off, uint64_t len);
int vhd_flush(struct image *img);
int vhd_finish(struct image *img);
int vhd_resize(struct image *img, uint64_t size, struct err *err);
int vhd_check(struct image *img, struct disk_check *check, struct err *err);

/* --- create.c --- */

extern const struct disk_option_info vhd_options[];
int vhd_create(struct disk_file *file, const struct disk_create_opts *opts, struct err *err);

#endif
