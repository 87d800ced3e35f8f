/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_FORMAT_PRIV_H
#define ATOLL_DISK_FORMAT_PRIV_H

#include <pthread.h>

#include "base/str.h"
#include "disk/disk.h"
#include "disk/file_priv.h"

/*
 * What a format implements. A driver knows one image: where bytes are, how to make room, how to keep
 * its tables. It moves no guest data, knows nothing of backing files (it says "not here"), of other
 * threads (each call but unpack() and pack() holds image->lock) and of requests. Its calls wait for
 * the disk as plain code does.
 *
 * A write to a place that is not DATA with in_place set goes
 *
 *	alloc() -> the generic layer writes all of [a->off, a->off + a->len) to a->file at
 *	a->host_off: new bytes, around them old ones (from this image or its backing) -> link()
 *
 * or, when writing failed, unalloc(). The lock is not held between these; the generic layer keeps
 * [a->off, a->off + a->len), rounded out to image->cluster, from being read or changed meanwhile.
 * What alloc() gives out is nobody else's until link() or unalloc().
 */
struct image;

/* Answer of map() for the beginning of a range. */
enum where {
	WHERE_BELOW,  /* not in this image: ask the backing file; zeros when there is none */
	WHERE_ZERO,   /* reads zero */
	WHERE_DATA,   /* bytes in `file` at `host_off` */
	WHERE_PACKED, /* unpack() makes bytes of it */
};

struct where_at {
	enum where where;
	bool in_place; /* DATA: may be overwritten where it is */
	bool is_flat;  /* DATA: where the file has a hole, the disk is zero */
	uint64_t off, len;
	struct disk_file *file;
	uint64_t host_off;
	uint64_t packed; /* PACKED: the driver's own word for unpack(); the extent is one whole unit
			  * [unit_off, unit_off + unit_len), of which this is a part */
	uint64_t unit_off;
	uint32_t unit_len;
};

enum map_flag {
	MAP_CACHED = 1 << 0, /* only what is in memory: else -EAGAIN, nothing is read */
};

struct alloc {
	uint64_t off, len; /* guest range that must be filled; holds the first byte asked for */
	struct disk_file *file;
	uint64_t host_off;
	bool is_zeroed;	  /* the place reads zero already */
	uint64_t priv[4]; /* the driver's */
};

struct dirty;

/* A change of one bitmap. */
struct bitmap_change {
	struct disk_bitmap_change user;
	/* Not NULL, and then `user` says a name only: the bitmap has these bits from now on, and follows writes. It is
	 * made when there is none. */
	const struct dirty *restart;
};

struct format {
	const char *name;
	const char *alias; /* another name that people know it by; NULL: none */
	const char *long_name;
	const struct disk_option_info *options; /* of create(); NULL: it cannot create */

	/*
	 * Whether the file is of this format. @head: its first @n bytes (up to 2048); @tail: its last
	 * 512. Sans I/O.
	 */
	bool (*probe)(const uint8_t *head, size_t n, const uint8_t *tail, size_t n_tail);

	/*
	 * Read the header; fill image->size, cluster, backing, backing_format. priv is set as soon as
	 * there is something for close() to free.
	 */
	int (*open)(struct image *img, struct err *err);
	/* Free what open() made; also after open() failed half way. Nothing is written any more. */
	void (*close)(struct image *img);

	/*
	 * The backing file was opened: is it the one that this image was made for? -EILSEQ, -EINVAL, with
	 * the story. NULL: any is. @below is read only; no lock is held or needed.
	 */
	int (*check_below)(struct image *img, struct image *below, struct err *err);

	/*
	 * First extent of [off, off + len), which lies inside the disk. ret->off = off, 0 < ret->len
	 * <= len. As long as is cheap to say.
	 */
	int (*map)(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		   struct where_at *ret);

	/* PACKED only. The whole unit into @buf of unit_len bytes. No lock is held. */
	int (*unpack)(struct image *img, const struct where_at *at, void *buf);

	/* --- of an image that can be written; NULL: read only --- */

	/*
	 * The image is the top of a disk that is going to be written: put a struct dirty for each bitmap that the image
	 * keeps on the list. They are the image's, until finish() or close(). NULL: it keeps none.
	 */
	int (*track)(struct image *img, struct list *trackers, struct err *err);

	/*
	 * Bitmaps by name; NULL: it has none. bitmap_list: free(). bitmap_change: of a tracked image that was touched; what
	 * it did is on the medium, or nothing has changed. bitmap_bits: -ENOENT; -ESTALE (out of date); the image's own.
	 */
	int (*bitmap_list)(struct image *img, struct disk_bitmap **ret, size_t *ret_n,
			   struct err *err);
	int (*bitmap_change)(struct image *img, const struct bitmap_change *c, struct err *err);
	int (*bitmap_bits)(struct image *img, const char *name, struct dirty **ret,
			   struct err *err);

	/* Called once before the first change of anything, data included. May be NULL. */
	int (*first_write)(struct image *img);

	/*
	 * Room for a write to [off, off + len), for the beginning of it. The range is not DATA in
	 * place. -EAGAIN: what is there changed, map again.
	 */
	int (*alloc)(struct image *img, uint64_t off, uint64_t len, struct alloc *ret);
	int (*link)(struct image *img, struct alloc *a);
	void (*unalloc)(struct image *img, struct alloc *a);

	/*
	 * Make [off, off + len), a multiple of image->zero_unit (or up to the end of the disk), read
	 * zero, without a backing file showing through. -EOPNOTSUPP: zeros are written instead. NULL:
	 * that, always.
	 */
	int (*zero)(struct image *img, uint64_t off, uint64_t len, bool unmap);
	/* As zero(), but it may also do nothing. NULL: nothing. */
	int (*discard)(struct image *img, uint64_t off, uint64_t len);

	/* All that was written is on the medium, tables included. */
	int (*flush)(struct image *img);

	/*
	 * Called once after the last flush, when first_write() was: leave the image as one that is not in
	 * use (marks, logs, what only a complete image has). May be NULL.
	 */
	int (*finish)(struct image *img);

	/* image->size becomes @size, a multiple of 512. What is new reads zero. */
	int (*resize)(struct image *img, uint64_t size, struct err *err);

	/*
	 * Another backing file, on the medium when it returns; NULL: none. What the image has itself was flushed.
	 * Updates image->backing. NULL: the format cannot.
	 */
	int (*set_backing)(struct image *img, const char *name, const char *format,
			   struct err *err);
	/* Forget all that the image has itself, on the medium when it returns: the backing file shows through
	 * everywhere. In any order and part by part. There is one when set_backing() is. */
	int (*empty)(struct image *img);

	/* Compression of whole clusters. No lock is held for pack(). Both may be NULL. */
	int (*pack)(struct image *img, const void *buf, void *out, size_t *ret_bytes);
	int (*write_packed)(struct image *img, uint64_t off, const void *packed, size_t bytes);

	/* Write an empty image into an empty file. */
	int (*create)(struct disk_file *file, const struct disk_create_opts *opts, struct err *err);

	/* Details, flags and snapshots of a disk_info; may be NULL. */
	int (*info)(struct image *img, struct disk_info *info, struct err *err);
	int (*check)(struct image *img, struct disk_check *check, struct err *err);

	int (*snapshot_create)(struct image *img, const char *name, uint64_t wall_ns,
			       struct err *err);
	int (*snapshot_apply)(struct image *img, const char *name, struct err *err);
	int (*snapshot_delete)(struct image *img, const char *name, struct err *err);
};

/* One open image. */
struct image {
	const struct format *fmt;
	struct disk_file *file;
	unsigned flags;	      /* enum disk_flag; DISK_RDWR only where it may be changed */
	const char *snapshot; /* to look at, during open(); or NULL */
	uint64_t cache_bytes;

	/* filled by open() */
	uint64_t size;	      /* bytes, a multiple of 512; afterwards under the lock */
	uint32_t cluster;     /* unit of allocation, power of two >= 512 */
	uint32_t zero_unit;   /* of zero() and discard(); 0: = cluster */
	uint32_t pack_max;    /* what pack() may put out; 0: = cluster, which it must fit */
	bool has_slow_zero;   /* zero() may say -EOPNOTSUPP */
	bool must_pack;	      /* alloc() refuses: the image is filled by write_packed() */
	char *backing;	      /* as stored; mem_strdup or so; NULL: none */
	char *backing_format; /* our name of it; NULL: not stored */
	void *priv;

	/* the generic layer's */
	pthread_mutex_t lock;
	char *path;
	struct image *below;	 /* its backing file */
	_Atomic bool is_written; /* first_write() was called */
	struct guard
		*guard; /* who is asked before a change; NULL: nobody. Changed when all is held */
};

/* formats.c: all formats, ended by NULL; raw is the first. */
extern const struct format *const disk_formats[];
const struct format *format_find(const char *name);
/* The names, for error texts: "raw, qcow2". */
void format_names(struct strbuf *out);

extern const struct format format_raw;
extern const struct format format_qcow2;
extern const struct format format_vhd;
extern const struct format format_vhdx;
extern const struct format format_vdi;
extern const struct format format_vmdk;

/* For create(): the value of an option, NULL when it is not given. */
const char *create_option(const struct disk_create_opts *opts, const char *name);
/* A name that stands in the image at @from, or will, as a path from here: it is relative to the image's folder. -EOPNOTSUPP: it
 * is none of a file. */
_nodiscard_ int path_from_image(const char *from, const char *name, struct strbuf *out,
				struct err *err);
/*
 * For create() of a differencing image: one detail that the parent, which must have @format, tells in its disk_info().
 * *ret is "" when it does not; *ret_size, which may be NULL, is the parent's.
 */
_nodiscard_ int create_ask_parent(const struct disk_file *file, const struct disk_create_opts *o,
				  const char *format, const char *key, char ret[DISK_DETAIL_MAX],
				  uint64_t *ret_size, struct err *err);
/* Each given option has to be in the table. */
int create_check_options(const struct disk_create_opts *opts, const struct disk_option_info *table,
			 struct err *err);

/* For info(). */
void detail_str(struct disk_info *info, const char *key, const char *fmt, ...) _printf_(3, 4);
void detail_u64(struct disk_info *info, const char *key, uint64_t v);
void detail_bool(struct disk_info *info, const char *key, bool v);

/* For check(): count one finding and report it. */
void check_error(struct disk_check *c, bool is_fixed, const char *fmt, ...) _printf_(3, 4);
void check_leak(struct disk_check *c, bool is_fixed, uint64_t n, const char *fmt, ...)
	_printf_(4, 5);

#endif
