/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_TABLES_PRIV_H
#define ATOLL_DISK_TABLES_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/file_priv.h"

/*
 * The table of a format that maps blocks through one array (VHD, VHDX, VMDK, VDI), held in memory page by
 * page: read when somebody asks, changed in memory, written by a flush, dropped when there are too many.
 * A page is what the format likes to read and write at once. All under the image's lock.
 */
struct tables {
	struct disk_file *file;
	uint32_t page_bytes;
	uint64_t nr_pages;
	/*
	 * Where a page stands in the file. *ret_off UINT64_MAX: nowhere, it reads as zeros and is never
	 * changed. Returns 0 or negative errno.
	 */
	int (*locate)(void *arg, uint64_t page, uint64_t *ret_off);
	/* Told of a page that was read, to change it. NULL: as it is. */
	void (*loaded)(void *arg, uint64_t off, uint8_t *data, uint32_t n);
	void *arg;

	/* filled by tables_init() */
	uint8_t **page;	 /* NULL: not in memory */
	uint8_t *state;	 /* enum in tables.c */
	uint64_t *dirty; /* numbers of changed pages */
	uint32_t nr_dirty, cap_dirty;
	uint64_t nr_in, max_in, hand;
};

/*
 * tables_init - get ready. @cache_bytes: how much may stay in memory. Returns 0 or -ENOMEM.
 * tables_done - forget all; accepts a zeroed struct.
 */
_nodiscard_ int tables_init(struct tables *t, uint64_t cache_bytes);
void tables_done(struct tables *t);

/*
 * tables_get - a page, valid until the next call for the same table.
 *
 * @is_cached:  only what is in memory: else -EAGAIN
 * Returns 0 or negative errno.
 */
_nodiscard_ int tables_get(struct tables *t, uint64_t page, bool is_cached, uint8_t **ret);

/* tables_dirty - the page, which is in memory, was changed. */
void tables_dirty(struct tables *t, uint64_t page);

/* tables_is_full - so much was changed that it should be written before more is. */
bool tables_is_full(const struct tables *t);

/* tables_sort - bring `dirty` into ascending order. */
void tables_sort(struct tables *t);

/* tables_clean - the first @n of `dirty` were written. */
void tables_clean(struct tables *t, uint32_t n);

/* tables_write - write what was changed to its place, in ascending order. */
_nodiscard_ int tables_write(struct tables *t);

/* tables_grow - room for more pages, which are read when asked for. Returns 0 or -ENOMEM. */
_nodiscard_ int tables_grow(struct tables *t, uint64_t nr_pages);

/*
 * Room in an image file for blocks of one size: at the end, or where a block was given up. A place that
 * is given up may be used again only when the table that does not point to it any more is on the medium.
 */
struct space {
	struct disk_file *file;
	uint64_t unit; /* bytes of a block */
	uint64_t end;  /* first byte behind all blocks */
	struct places {
		uint64_t *v;
		size_t n, cap;
	} freed, ready;
};

void space_done(struct space *s);

/* space_take - a place that reads zero. */
uint64_t space_take(struct space *s);

/* space_give - a place that nothing will point to after the next flush. */
void space_give(struct space *s, uint64_t off);

/* space_flushed - the tables are on the medium: places given up become free. */
void space_flushed(struct space *s);

/* space_trim - free places at the end are no places any more. Returns whether `end` changed. */
bool space_trim(struct space *s);

#endif
