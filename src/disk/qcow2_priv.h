/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_QCOW2_PRIV_H
#define ATOLL_DISK_QCOW2_PRIV_H

#include "base/bytes.h"
#include "base/list.h"
#include "disk/format_priv.h"

/*
 * qcow2, versions 2 and 3. Source of all numbers: qcow2 specification (QEMU, docs/interop/qcow2). Names
 * and limits of hostile images: the limits are QEMU's, so that what it opens we open.
 */
#define Q2_MAGIC	  0x514649fb
#define Q2_V2_HEADER	  72
#define Q2_V3_HEADER	  104
#define Q2_L1_BYTES_MAX	  (32U << 20)
#define Q2_RT_BYTES_MAX	  (8U << 20)
#define Q2_SNAPSHOTS_MAX  65536
#define Q2_SNAP_TABLE_MAX (64U << 20)
#define Q2_BITMAPS_MAX	  65535
#define Q2_BITMAP_DIR_MAX (64U << 20)
#define Q2_BACKING_MAX	  1023

#define Q2_OFFSET     UINT64_C(0x00fffffffffffe00)
#define Q2_COPIED     (UINT64_C(1) << 63)
#define Q2_COMPRESSED (UINT64_C(1) << 62)
#define Q2_ZERO	      UINT64_C(1)
#define Q2_RT_OFFSET  UINT64_C(0xfffffffffffffe00)

enum q2_incompatible {
	Q2_I_DIRTY = 1 << 0,
	Q2_I_CORRUPT = 1 << 1,
	Q2_I_DATA_FILE = 1 << 2,
	Q2_I_COMPRESSION = 1 << 3,
	Q2_I_EXT_L2 = 1 << 4,
	Q2_I_KNOWN = 31,
};

enum { Q2_C_LAZY = 1 };			      /* compatible */
enum { Q2_A_BITMAPS = 1, Q2_A_RAW_DATA = 2 }; /* autoclear */
enum { Q2_COMPRESSION_ZLIB, Q2_COMPRESSION_ZSTD };

/* Offsets in the header. */
enum {
	Q2_H_VERSION = 4,
	Q2_H_BACKING_OFF = 8,
	Q2_H_BACKING_LEN = 16,
	Q2_H_CLUSTER_BITS = 20,
	Q2_H_SIZE = 24,
	Q2_H_CRYPT = 32,
	Q2_H_L1_SIZE = 36,
	Q2_H_L1_OFF = 40,
	Q2_H_RT_OFF = 48,
	Q2_H_RT_CLUSTERS = 56,
	Q2_H_NR_SNAPSHOTS = 60,
	Q2_H_SNAPSHOTS_OFF = 64,
	Q2_H_INCOMPATIBLE = 72,
	Q2_H_COMPATIBLE = 80,
	Q2_H_AUTOCLEAR = 88,
	Q2_H_REFCOUNT_ORDER = 96,
	Q2_H_HEADER_LEN = 100,
	Q2_H_COMPRESSION = 104,
};

/* Header extensions. */
enum {
	Q2_E_BACKING_FORMAT = (int)0xe2792aca,
	Q2_E_FEATURES = 0x6803f857,
	Q2_E_BITMAPS = 0x23852875,
	Q2_E_LUKS = 0x0537be77,
	Q2_E_DATA_FILE = 0x44415441,
};

struct q2_header {
	uint32_t version, cluster_bits, crypt, l1_size, rt_clusters, nr_snapshots;
	uint64_t size, l1_off, rt_off, snapshots_off;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, header_len, compression;
	uint64_t backing_off;
	uint32_t backing_len;
	char backing[Q2_BACKING_MAX + 1]; /* "" : none */
	char backing_format[64];
	char data_file[Q2_BACKING_MAX + 1];
	uint32_t nr_bitmaps;
	uint64_t bitmap_dir_bytes, bitmap_dir_off;
};

/*
 * The header cluster. @p: the first @n bytes of the file, at least as many as a cluster or the file
 * has. @file_bytes: of the file. Sans I/O. Returns 0; -EILSEQ, -EOPNOTSUPP.
 */
_nodiscard_ int q2_header_parse(const uint8_t *p, size_t n, uint64_t file_bytes,
				struct q2_header *ret, struct err *err);
/* One entry of the snapshot table. */
struct q2_snapshot {
	uint64_t l1_off, disk_bytes, vm_state_bytes, vm_clock_ns;
	uint32_t l1_size, sec, nsec;
	char *id, *name;
	uint8_t *extra;	    /* unknown extra data behind what we know, kept */
	uint32_t extra_len; /* all of the extra data */
	uint64_t icount;
};

/*
 * One entry at @p of at most @n bytes. *ret_used: its length, a multiple of 8. Sans I/O. Returns 0; -EILSEQ;
 * -EAGAIN (more bytes are needed: *ret_used says how many).
 */
_nodiscard_ int q2_snapshot_parse(const uint8_t *p, size_t n, struct q2_snapshot *ret,
				  size_t *ret_used, struct err *err);
void q2_snapshot_done(struct q2_snapshot *s);

struct q2_bitmap {
	uint64_t table_off;
	uint32_t table_size, flags;
	uint8_t type, granularity_bits;
	struct str name; /* points into the directory */
};

enum { Q2_BITMAP_IN_USE = 1, Q2_BITMAP_AUTO = 2, Q2_BITMAP_EXTRA = 4 }; /* flags */
enum { Q2_BITMAP_DIRTY = 1 };						/* type */
enum { Q2_GRANULARITY_MIN = 9, Q2_GRANULARITY_MAX = 31, Q2_BITMAP_NAME_MAX = 1023 };

/* The entry of a bitmap directory at @off of @n bytes. *ret_used: its length. Sans I/O. */
_nodiscard_ int q2_bitmap_parse(const uint8_t *p, size_t n, size_t off, struct q2_bitmap *ret,
				size_t *ret_used, struct err *err);

/* A table of one cluster in memory. */
struct q2_table {
	uint64_t off; /* in the file */
	uint8_t *p;
	uint32_t dirty_from, dirty_to; /* bytes; from >= to: clean */
	bool is_new;		       /* nothing on the medium points to it yet */
	struct list lru;
	struct q2_table *next; /* in its bucket */
};

struct q2_cache {
	uint32_t table_bytes;
	unsigned nr, max;
	struct list lru; /* oldest first */
	unsigned nr_buckets;
	struct q2_table **buckets;
	unsigned nr_dirty;
};

/* Clusters to be given back once the tables that used them are on the medium. */
struct q2_freed {
	uint64_t cluster, n;
};

/* A bitmap of the directory, in memory. */
struct q2_kept {
	uint8_t *entry; /* as it stands in the directory; place, size and flags are those of `b` */
	size_t bytes;
	struct q2_bitmap b; /* name points into entry */
	struct dirty *bits; /* NULL: out of date, or not of a kind that we know */
	bool is_changed;    /* the file has other bits, and no mark that says so */
	bool is_gone;	    /* leaves the directory with the next store */
	uint64_t new_table; /* what a store that is going on wrote; 0: nothing */
	uint32_t new_size;
};

struct qcow2 {
	struct image *img;
	struct disk_file *file; /* = img->file */
	struct disk_file *data; /* where data is: = file, or the external data file */
	struct q2_header h;
	uint32_t cluster_bytes, cluster_bits;
	uint32_t l2_bits;  /* entries of an L2 table: 1 << l2_bits */
	uint32_t l2_entry; /* bytes of an entry: 8 or 16 */
	uint32_t sub_bits; /* of a subcluster; = cluster_bits without extended L2 */
	uint32_t rb_bits;  /* entries of a refcount block: 1 << rb_bits */
	uint64_t refcount_max;
	bool ext_l2, is_corrupt, is_raw_data;

	uint64_t *l1;			     /* host order */
	uint32_t l1_dirty_from, l1_dirty_to; /* entries */
	uint64_t *rt;
	uint32_t rt_size; /* entries */
	uint32_t rt_dirty_from, rt_dirty_to;
	struct q2_cache l2, rb;

	uint64_t free_hint; /* no free cluster below, by number */
	uint64_t pack_off;  /* where the next compressed bytes go; 0: nowhere yet */
	struct q2_freed *freed;
	size_t nr_freed, cap_freed;
	uint64_t bytes_freed;
	bool needs_barrier; /* something was allocated since the last flush */

	struct q2_snapshot *snapshots;
	uint64_t snapshots_bytes; /* of the table */
	struct q2_kept *kept;	  /* all bitmaps, once they were loaded */
	uint32_t nr_kept;
	bool are_bitmaps_loaded;
	struct list *trackers; /* of the disk, where what follows writes is; NULL: not tracked */
};

/* --- qcow2_cache.c ---------------------------------------------------------------------------- */

void q2_cache_init(struct q2_cache *c, uint32_t table_bytes, uint64_t limit_bytes);
void q2_cache_done(struct q2_cache *c);
/*
 * The table at @off. Valid until the next q2_cache_get() of the same cache. @flags: MAP_CACHED or 0.
 * q2_cache_new: not read from the file but zero, dirty as a whole, new.
 */
_nodiscard_ int q2_cache_get(struct qcow2 *q, struct q2_cache *c, uint64_t off, unsigned flags,
			     struct q2_table **ret);
_nodiscard_ int q2_cache_new(struct qcow2 *q, struct q2_cache *c, uint64_t off,
			     struct q2_table **ret);
void q2_table_dirty(struct q2_cache *c, struct q2_table *t, uint32_t at, uint32_t n);
/* Forget a table, because its cluster is given up. */
void q2_cache_drop(struct q2_cache *c, uint64_t off);
/*
 * Everything in memory to the file, in an order that is safe at each point; @final: and on the medium.
 */
_nodiscard_ int q2_flush(struct qcow2 *q, bool final);

/* --- qcow2_refcount.c ------------------------------------------------------------------------- */

_nodiscard_ int q2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret);
/* Add @delta (+1, -1) to each of @n clusters. -ERANGE: it would not fit, or be negative. */
_nodiscard_ int q2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta);
_nodiscard_ int q2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value);
/* Up to @want free clusters in a row, refcount 1 afterwards; exactly so many with @exact. */
_nodiscard_ int q2_alloc(struct qcow2 *q, uint64_t want, bool exact, uint64_t *ret_off,
			 uint64_t *ret_n);
/* Drop one reference to @n clusters once the tables are on the medium. */
void q2_free_later(struct qcow2 *q, uint64_t off, uint64_t n);
_nodiscard_ int q2_apply_freed(struct qcow2 *q);
/* Entry @i of a refcount block. */
uint64_t q2_rb_get(const uint8_t *block, uint32_t order, uint64_t i);
void q2_rb_set(uint8_t *block, uint32_t order, uint64_t i, uint64_t value);

/* --- qcow2_l2.c ------------------------------------------------------------------------------- */

_nodiscard_ int q2_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		       struct where_at *ret);
_nodiscard_ int q2_unpack(struct image *img, const struct where_at *at, void *buf);
_nodiscard_ int q2_l2_offset_ok(const struct qcow2 *q, uint64_t off);
/* Host clusters that a compressed entry touches. */
void q2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *ret_off, uint32_t *ret_bytes);
void q2_packed_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *ret_first,
			uint64_t *ret_n);
/* The image contradicts itself: mark it, so that nobody writes to it. Returns -EILSEQ. */
int q2_corrupt(struct qcow2 *q);

/* Entry @i of an L2 table, and its bitmaps with extended L2 (else 0). */
static inline uint64_t q2_entry(const struct qcow2 *q, const uint8_t *table, uint64_t i)
{
	return get_be64(table + i * q->l2_entry);
}

static inline uint64_t q2_bitmap_of(const struct qcow2 *q, const uint8_t *table, uint64_t i)
{
	return q->ext_l2 ? get_be64(table + i * 16 + 8) : 0;
}

/* --- qcow2_write.c ---------------------------------------------------------------------------- */

_nodiscard_ int q2_write_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret);
_nodiscard_ int q2_write_link(struct image *img, struct alloc *a);
void q2_write_unalloc(struct image *img, struct alloc *a);
_nodiscard_ int q2_zero(struct image *img, uint64_t off, uint64_t len, bool unmap);
_nodiscard_ int q2_discard(struct image *img, uint64_t off, uint64_t len);
_nodiscard_ int q2_pack(struct image *img, const void *buf, void *out, size_t *ret_bytes);
_nodiscard_ int q2_write_packed(struct image *img, uint64_t off, const void *packed, size_t bytes);

/* What an entry that is replaced used is given back later. An L1 entry in memory. */
void q2_drop(struct qcow2 *q, uint64_t entry);
void q2_l1_set(struct qcow2 *q, uint64_t i, uint64_t entry);

/* --- qcow2_bitmap.c --------------------------------------------------------------------------- */

/* All bitmaps of the directory, with bits where they are valid; once. */
_nodiscard_ int q2_bitmaps_load(struct image *img, struct err *err);
_nodiscard_ int q2_track(struct image *img, struct list *trackers, struct err *err);
/* What was loaded is forgotten. */
void q2_untrack(struct qcow2 *q);
/* One more, at the end, without bits; the entry is copied, `b` is the caller's to fill. */
struct q2_kept *q2_kept_add(struct qcow2 *q, const uint8_t *entry, size_t bytes);
/* Before the first write. */
_nodiscard_ int q2_bitmaps_in_use(struct qcow2 *q);
/*
 * What changed to the medium. @final: also what follows writes, which is then not in use any more. -EOPNOTSUPP: the
 * header has no room. After a failure the file is as it was, but for leaks.
 */
_nodiscard_ int q2_bitmaps_store(struct qcow2 *q, bool final);

/* --- qcow2_bitmap_ops.c ------------------------------------------------------------------------ */

_nodiscard_ int q2_bitmap_list(struct image *img, struct disk_bitmap **ret, size_t *ret_n,
			       struct err *err);
_nodiscard_ int q2_bitmap_change(struct image *img, const struct bitmap_change *c, struct err *err);
_nodiscard_ int q2_bitmap_bits(struct image *img, const char *name, struct dirty **ret,
			       struct err *err);

/* --- qcow2_backing.c -------------------------------------------------------------------------- */

_nodiscard_ int q2_set_backing(struct image *img, const char *name, const char *format,
			       struct err *err);
_nodiscard_ int q2_empty(struct image *img);
/* The header names a directory of @nr bitmaps; 0: there are none. On the medium when it returns. -EOPNOTSUPP: no room. */
_nodiscard_ int q2_set_bitmaps(struct qcow2 *q, uint32_t nr, uint64_t dir_bytes, uint64_t dir_off);

/* --- qcow2_create.c --------------------------------------------------------------------------- */

extern const struct disk_option_info q2_options[];
_nodiscard_ int q2_create(struct disk_file *file, const struct disk_create_opts *o,
			  struct err *err);

/* --- qcow2_check.c ---------------------------------------------------------------------------- */

_nodiscard_ int q2_check(struct image *img, struct disk_check *check, struct err *err);

/* --- qcow2_snapshot.c ------------------------------------------------------------------------- */

_nodiscard_ int q2_snapshots_read(struct qcow2 *q, struct err *err);
void q2_snapshots_done(struct qcow2 *q);
_nodiscard_ int q2_snapshot_create(struct image *img, const char *name, uint64_t wall_ns,
				   struct err *err);
_nodiscard_ int q2_snapshot_apply(struct image *img, const char *name, struct err *err);
_nodiscard_ int q2_snapshot_delete(struct image *img, const char *name, struct err *err);
/* By id, else by name; NULL. */
struct q2_snapshot *q2_snapshot_find(struct qcow2 *q, const char *name);

/* --- qcow2.c ---------------------------------------------------------------------------------- */

/* A table of big-endian words to and from memory. */
_nodiscard_ int q2_words_read(struct disk_file *f, uint64_t off, uint64_t *ret, size_t n);
_nodiscard_ int q2_words_write(struct disk_file *f, uint64_t off, const uint64_t *words, size_t n);
/* Bytes [from, to) of the header from q->h. */
_nodiscard_ int q2_header_write(struct qcow2 *q, uint32_t from, uint32_t to);
/* Clusters that @bytes take. */
static inline uint64_t q2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes + q->cluster_bytes - 1) >> q->cluster_bits;
}

/* Entries of an L1 table for @size bytes of disk. */
static inline uint64_t q2_l1_entries(const struct qcow2 *q, uint64_t size)
{
	uint32_t bits = q->cluster_bits + q->l2_bits;

	return (size >> bits) + !!(size & ((UINT64_C(1) << bits) - 1));
}

#endif
