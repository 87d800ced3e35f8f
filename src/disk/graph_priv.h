/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_GRAPH_PRIV_H
#define ATOLL_DISK_GRAPH_PRIV_H

#include "base/clock.h"
#include "disk/format_priv.h"
#include "disk/range_priv.h"

/*
 * An open disk: a chain of images, and what is done with it now.
 *
 * Who reads `top`, or `below` of an image, holds a range of the disk or `graph` for reading; who changes one of them
 * holds all of the disk exclusively, and then `graph` for writing. Locks in this order: admin, a range, graph,
 * image->lock.
 */
struct disk {
	struct image *top;
	_Atomic uint64_t size;	  /* of the top image */
	_Atomic uint32_t cluster; /* of the top image */
	unsigned flags;
	struct ranges ranges;
	pthread_rwlock_t graph;
	pthread_mutex_t
		admin;	 /* held by what changes an image or the graph as a whole, one at a time */
	struct job *job; /* under admin; NULL: there was none */
	struct list trackers; /* of struct dirty; read under a range, changed under all of it */
	struct disk_observer *observer;
	uint64_t cache_bytes; /* for images that are opened later */
	struct clock *clock;  /* of limits and other waiting */
	struct async *async;  /* NULL: disk_async_start() was not called */
};

/* One extent of the merged chain: which image answers, and what it says. */
struct merged {
	struct image *img; /* NULL: nobody has it */
	unsigned depth;
	struct where_at at; /* WHERE_BELOW when img is NULL */
};

/* Thread: any; the caller holds the range. @flags: enum map_flag. */
_nodiscard_ int graph_map(struct image *top, uint64_t off, uint64_t len, unsigned flags,
			  struct merged *ret);

/* graph_map() that looks for holes where data may be one. */
_nodiscard_ int graph_map_holes(struct image *top, uint64_t off, uint64_t len, struct merged *ret);

/* The same of the images above @stop, which is one of the chain or NULL. */
_nodiscard_ int graph_map_above(struct image *top, const struct image *stop, uint64_t off,
				uint64_t len, unsigned flags, struct merged *ret);

/*
 * The straight-line parts, for whoever holds the range. graph_write, graph_zero: into this image, with old content
 * from it and what is below it; the range is held exclusively, rounded out to the image's clusters.
 */
_nodiscard_ int graph_read(struct image *top, uint64_t off, struct iov_iter *it, uint64_t len);
_nodiscard_ int graph_write(struct image *img, uint64_t off, struct iov_iter *it, uint64_t len);
_nodiscard_ int graph_zero(struct image *img, uint64_t off, uint64_t len, bool unmap);

/* All of the range is data of the top image that may be overwritten in place, and nobody guards it; *ret is the first
 * extent. */
_nodiscard_ int graph_is_in_place(struct image *top, uint64_t off, uint64_t len, unsigned flags,
				  struct where_at *ret, bool *ret_in_place);

/* first_write(), once. */
_nodiscard_ int image_touch(struct image *img);
/* What was written to the image is on the medium, tables too. Takes image->lock. */
_nodiscard_ int image_flush(struct image *img, struct err *err);
/* image_flush(), and nothing in the image says that it is in use; image_touch() begins anew. Nobody else uses it. */
_nodiscard_ int image_leave(struct image *img, struct err *err);

/* --- dirty.c: which parts of a disk have changed ------------------------------------------------ */

/* A bit for each grain. Marked by any thread that holds a range there; the rest by who holds all of it. */
struct dirty {
	struct list link; /* in disk->trackers */
	unsigned grain_bits;
	uint64_t size, nr_bits;
	_Atomic uint64_t *words;
};

/* dirty_new - nothing is marked. @grain_bits: 9 to 31. Returns 0; -ENOMEM, -E2BIG (too many bits). */
_nodiscard_ int dirty_new(uint64_t size, unsigned grain_bits, struct dirty **ret);
void dirty_free(struct dirty *d);
/* Each grain that the range touches. The part behind the end is ignored. */
void dirty_mark(struct dirty *d, uint64_t off, uint64_t len);
/* Each grain that begins in the range. */
void dirty_clear(struct dirty *d, uint64_t off, uint64_t len);
/* The first run of marked grains at or behind @from, cut at @max bytes. False: there is none. */
bool dirty_next(const struct dirty *d, uint64_t from, uint64_t max, uint64_t *ret_off,
		uint64_t *ret_len);
/* Whether a grain that the range touches is. */
bool dirty_is_marked(const struct dirty *d, uint64_t off, uint64_t len);
uint64_t dirty_bytes(const struct dirty *d);

/*
 * Who wants what parts of the top image hold before they change. before() is called for marked ones by whoever holds the
 * range exclusively, and no lock; it may wait, and leaves none of them marked unless it has given up.
 */
struct guard {
	struct dirty *todo;
	void (*before)(struct guard *g, uint64_t off, uint64_t len);
};

/* A range is about to change: tell who keeps track. The caller holds it, and no lock of an image. */
static inline void graph_changing(struct disk *disk, uint64_t off, uint64_t len)
{
	struct dirty *d;

	if (disk->top->guard)
		disk->top->guard->before(disk->top->guard, off, len);
	list_for_each(d, &disk->trackers, link)
		dirty_mark(d, off, len);
}

/* --- graph.c, graph_change.c: images of a disk -------------------------------------------------- */

/* An image of one file, without what is below it; @file is taken over also on failure. */
_nodiscard_ int image_open(struct disk_file *file, const struct disk_open_opts *o,
			   const char *format, unsigned flags, struct image **ret, struct err *err);
/* Not what is below it. NULL is fine. */
void image_close(struct image *img);

/* Everything stands still: all of the disk is held, and the graph. Thread: any that holds `admin`. */
void graph_stop(struct disk *disk, struct disk_hold *hold);
void graph_go_on(struct disk *disk, struct disk_hold *hold);
/* The graph stands still: the top image is another one. */
void graph_set_top(struct disk *disk, struct image *top);
/* The graph stands still: open the image at *at once more, to be written, in place of the one there. */
_nodiscard_ int graph_promote(struct disk *disk, struct image **at,
			      const struct disk_handed *handed, struct err *err);
/* The graph stands still: write what is in memory; from now on the image is only read. */
_nodiscard_ int graph_demote(struct disk *disk, struct image *img, struct err *err);
/* How an image at a path, which may be in another folder, names the file of @to. @handed: NULL, or says so. */
_nodiscard_ int graph_name_of(const char *img_path, struct image *to,
			      const struct disk_handed *handed, struct strbuf *out,
			      struct err *err);

/* Another size; what is new reads zero. The graph stands still. */
_nodiscard_ int image_resize(struct image *img, uint64_t size, bool shrink, struct err *err);

/* bitmap.c: disk_bitmap_change() while the graph stands still. The bits of a valid bitmap, valid while it is not changed. */
_nodiscard_ int bitmap_change(struct disk *disk, const struct bitmap_change *c, struct err *err);
_nodiscard_ int bitmap_bits(struct disk *disk, const char *name, struct dirty **ret,
			    struct err *err);

/* admin is locked, and no job runs: else -EBUSY, and it is not locked. Unlock with admin_end(). */
_nodiscard_ int admin_begin(struct disk *disk, struct err *err);
void admin_end(struct disk *disk);

/* The end of a job, if there is one, from disk_close(): it is cancelled. */
void job_stop(struct job *job);

/* The end of async, from disk_close(). async_timers: what a test with a clock of its own runs. */
void async_stop(struct async *a);
struct timerq *async_timers(struct disk *disk);

/* A request done by waiting, any operation. */
_nodiscard_ int request_run(struct disk *disk, const struct disk_request *req);

#endif
