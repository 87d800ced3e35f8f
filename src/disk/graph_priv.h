/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_GRAPH_PRIV_H
#define ATOLL_DISK_GRAPH_PRIV_H

#include "disk/format_priv.h"
#include "disk/range_priv.h"

/* An open disk: a chain of images, and what is done with it now. */
struct disk {
	struct image *top;
	unsigned flags;
	struct ranges ranges;
	bool observed;	     /* somebody watches the files */
	struct clock *clock; /* of limits and other waiting */
	struct async *async; /* NULL: disk_async_start() was not called */
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

/* The straight-line parts, for whoever holds the range. */
_nodiscard_ int graph_read(struct image *top, uint64_t off, struct iov_iter *it, uint64_t len);

/* All of the range is data of the top image that may be overwritten in place; *ret is the first extent. */
_nodiscard_ int graph_is_in_place(struct image *top, uint64_t off, uint64_t len, unsigned flags,
				  struct where_at *ret, bool *ret_in_place);

/* first_write(), once. */
_nodiscard_ int image_touch(struct image *img);

/* The end of async, from disk_close(). async_timers: what a test with a clock of its own runs. */
void async_stop(struct async *a);
struct timerq *async_timers(struct disk *disk);

/* A request done by waiting, any operation. */
_nodiscard_ int request_run(struct disk *disk, const struct disk_request *req);

#endif
