/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_VHDX_IMAGE_PRIV_H
#define ATOLL_DISK_VHDX_IMAGE_PRIV_H

#include "disk/format_priv.h"
#include "disk/tables_priv.h"
#include "disk/vhdx/vhdx_priv.h"

/* One open VHDX image: what its driver's files share. Under the image's lock. */

/* A change that the log holds and that was not made in the file, since it is open for reading. */
struct vhdx_patch {
	uint64_t off, len;
	uint8_t *data; /* NULL: zeros */
};

struct vhdx {
	struct image *img;
	struct vhdx_header head;
	unsigned int current; /* which of the two headers it is */
	struct vhdx_regions regions;
	struct vhdx_metadata meta;
	struct vhdx_shape shape;
	struct vhdx_locator locator; /* with meta.has_parent */

	struct tables bat;    /* pages of VHDX_SECTOR */
	struct tables bitmap; /* of all sector bitmap blocks, one behind the other; with a parent */
	struct space space;

	struct vhdx_patch *patches; /* in the order of the log */
	size_t nr_patches;

	bool is_log_open; /* the header names our log */
	uint32_t log_pos;
	uint64_t log_seq;
	uint8_t *log_buf; /* an entry being made */
};

enum { VHDX_PAGES_MAX = 120 }; /* of an entry, so that two always fit the smallest log */

static inline struct vhdx *vhdx_of(struct image *img)
{
	return img->priv;
}

/* --- image.c --- */

_nodiscard_ int vhdx_bat_get(struct vhdx *v, uint64_t index, bool is_cached, uint64_t *ret);
/* Changes the table in memory. */
_nodiscard_ int vhdx_bat_set(struct vhdx *v, uint64_t index, uint64_t entry);

/* --- journal.c --- */

/* The changes of a log into the file, or into v->patches; the header's log is closed then. */
_nodiscard_ int vhdx_recover(struct vhdx *v, struct err *err);
/* v->head into the older header, and then into the other, each with a new sequence number. */
_nodiscard_ int vhdx_header_write(struct vhdx *v);
/* Open the log, mark the image as changed; nothing when that was done. */
_nodiscard_ int vhdx_begin(struct vhdx *v);
/*
 * All changed pages of the tables, and @extra if not NULL, are on the medium when it returns 0, in one step
 * as far as they fit one entry.
 */
_nodiscard_ int vhdx_commit(struct vhdx *v, const struct vhdx_log_page *extra);
/* Close the log: the file is as if it was never written, and may become shorter. */
_nodiscard_ int vhdx_log_close(struct vhdx *v);
_nodiscard_ int vhdx_finish(struct image *img);

/* --- write.c --- */

int vhdx_first_write(struct image *img);
int vhdx_flush(struct image *img);
int vhdx_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret);
int vhdx_link(struct image *img, struct alloc *a);
void vhdx_unalloc(struct image *img, struct alloc *a);
int vhdx_zero(struct image *img, uint64_t off, uint64_t len, bool unmap);
int vhdx_discard(struct image *img, uint64_t off, uint64_t len);
int vhdx_resize(struct image *img, uint64_t size, struct err *err);

/* --- create.c, check.c --- */

extern const struct disk_option_info vhdx_options[];
int vhdx_create(struct disk_file *file, const struct disk_create_opts *opts, struct err *err);
/* Places that no block has are given to v->space. */
_nodiscard_ int vhdx_find_free(struct vhdx *v);
int vhdx_check(struct image *img, struct disk_check *check, struct err *err);

#endif
