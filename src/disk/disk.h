/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_DISK_H
#define ATOLL_DISK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "sys/uring.h"

/*
 * A disk: an array of bytes, kept in an image file of some format and perhaps in a chain of backing
 * files below it. README.md of this folder says how it works inside.
 *
 * All offsets and lengths are bytes and need no alignment. Functions are safe to call from any
 * number of threads at once, except disk_close(), which must be the last.
 */
struct disk;
struct disk_file;

enum disk_flag {
	DISK_RDWR = 1 << 0,	  /* else the image is opened for reading only */
	DISK_DIRECT = 1 << 1,	  /* cache "none": past the host's page cache (O_DIRECT) */
	DISK_NO_FLUSH = 1 << 2,	  /* cache "unsafe": flushes do nothing; for images being built */
	DISK_PROBE = 1 << 3,	  /* guess the format when none is given: only for tools */
	DISK_NO_BACKING = 1 << 4, /* refuse an image that has a backing file */
	DISK_TOP_ONLY =
		1 << 5,	       /* do not open the backing file: what is not in the top reads zero */
	DISK_NO_LOCK = 1 << 6, /* look at an image that somebody else may be writing */
	DISK_UNMAP = 1 << 7,   /* a discard gives space back to the host */
	DISK_WAIT_SPACE =
		1 << 9,	      /* a submitted request that finds no space on the host waits for it */
	DISK_REPAIR = 1 << 8, /* open an image that is marked corrupt or dirty as it is, for
				   * disk_check() */
};

/*
 * Told of each change of an image's files before it is made; for tests that cut a run short. May be
 * called by several threads at once.
 */
enum disk_event { DISK_EVENT_WRITE, DISK_EVENT_ZERO, DISK_EVENT_TRUNCATE, DISK_EVENT_SYNC };

struct disk_observer {
	/*
	 * @path:  of the file
	 * @off, @len:  range; for a truncation the new size is @off
	 * @iov:   of a write, else NULL
	 * Returns 0, or a negative errno that the change then fails with, undone.
	 */
	int (*event)(struct disk_observer *o, enum disk_event event, const char *path, uint64_t off,
		     uint64_t len, const struct iovec *iov, unsigned nr_iov);
};

struct disk_open_opts {
	unsigned flags;		    /* of enum disk_flag */
	const char *format;	    /* "raw", "qcow2" ...; NULL: probe, when DISK_PROBE is set */
	const char *backing_format; /* of the first backing file, where the image does not say */
	const char *snapshot;	    /* id or name of an internal snapshot to look at; or NULL */
	uint64_t cache_bytes;	    /* limit on the tables held in memory; 0: 32 MiB */
	struct disk_observer *observer; /* or NULL; lives longer than the disk */
	struct clock *clock;   /* what limits go by; NULL: the host's. Lives longer than the disk */
	uint64_t reconnect_ns; /* how long a request waits for a server that was lost; 0: not */
	struct disk_files *
		files; /* other files of the image are in this list; NULL: they are opened by path. Not kept */
};

/*
 * The files of an image besides its own: backing files, and parts in the image's folder. For a process that can open
 * nothing (sys/sandbox): disk_files_note() where they can be opened, disk_open_fd() with them where not.
 */
enum { DISK_FILES_MAX = 15 };
struct disk_files {
	bool is_noting;	     /* they are opened by path, and a copy is put into the list */
	unsigned part_flags; /* of enum disk_flag: how the top image's parts are opened then */
	unsigned nr;
	char *path[DISK_FILES_MAX];
	int fd[DISK_FILES_MAX]; /* negative: taken */
};

/*
 * disk_files_note - open what disk_open_fd() of an image would open.
 *
 * @fd:    the image's; stays the caller's
 * @path:  whole, and the same as for the disk_open_fd() that is to have the files
 * @o:     of that
 * @ret:   disk_files_done(); empty after a failure
 * Returns 0; -E2BIG (more than DISK_FILES_MAX); -EOPNOTSUPP (one of them is at a server); as disk_open(). Thread: any.
 */
_nodiscard_ int disk_files_note(int fd, const char *path, const struct disk_open_opts *o,
				struct disk_files *ret, struct err *err);

/* disk_files_add - one more; @fd is the list's from now on, also on failure. Returns 0; -E2BIG. Thread: owner. */
_nodiscard_ int disk_files_add(struct disk_files *files, const char *path, int fd, struct err *err);

/* disk_files_done - close what was not taken; none are left. Thread: owner. */
void disk_files_done(struct disk_files *files);

/*
 * disk_open - open an image and its backing files.
 *
 * Backing files are opened for reading. A relative name of a backing file is taken relative to the
 * folder of the image that names it.
 *
 * @path:  a file, or where an NBD server has one: nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, the
 *         same with nbds for TLS
 * @opts:  not kept, but for what it points to where it says so
 * @ret:   closed by disk_close()
 * Returns 0; -EBUSY (somebody else has it open in a way that excludes ours), -EINVAL (format
 * missing, or not a thing that can be a disk), -EILSEQ (not an image of the format, or damaged),
 * -EOPNOTSUPP (a feature we do not have), -ELOOP (backing files in a circle), -ENOENT and others of
 * open(2).
 * Thread: any.
 */
_nodiscard_ int disk_open(const char *path, const struct disk_open_opts *opts, struct disk **ret,
			  struct err *err);

/*
 * disk_open_fd - disk_open() of an open file.
 *
 * @fd:    regular file or block device, opened as the flags want it; taken over also on failure
 * @path:  what to call it, and the place that relative names start from
 * Returns as disk_open(). Thread: any.
 */
_nodiscard_ int disk_open_fd(int fd, const char *path, const struct disk_open_opts *opts,
			     struct disk **ret, struct err *err);

/*
 * disk_close - write what is still in memory, end the disk's threads, close its files.
 *
 * @disk:  NULL is accepted; gone afterwards also on failure. No request is in flight (disk_drain()).
 * Returns 0 or the negative errno of the last flush. Thread: the last user.
 */
int disk_close(struct disk *disk, struct err *err);

/* disk_closep - for _cleanup_: disk_close() on a path that reports another error. Thread: owner. */
void disk_closep(struct disk **disk);

/* disk_size - bytes of the disk as the guest sees it; a multiple of 512. Thread: any. */
uint64_t disk_size(struct disk *disk);
/* disk_strerror - as strerror() of the errno @r (negative) that reading or writing returned; -EILSEQ is a damaged image. Thread: any;
 * the text may be overwritten by the next call. */
const char *disk_strerror(int r);

/* disk_flags - the flags it was opened with. Thread: any. */
unsigned disk_flags(struct disk *disk);

/*
 * disk_cluster - what the top image allocates at once, bytes, a power of two >= 512; writes and
 * discards in multiples of it are cheapest. Thread: any.
 */
uint32_t disk_cluster(struct disk *disk);

/* --- where bytes live ----------------------------------------------------------------------- */

enum disk_kind {
	DISK_HOLE,   /* in no image of the chain; reads zero */
	DISK_ZERO,   /* recorded as zero; reads zero */
	DISK_DATA,   /* in a file, as they are */
	DISK_PACKED, /* in a file, compressed or otherwise not as they are */
};

struct disk_extent {
	enum disk_kind kind;
	unsigned depth; /* 0: top image, 1: its backing file ... */
	uint64_t off, len;
	const char *path;  /* of the file, for DISK_DATA; belongs to the disk */
	uint64_t host_off; /* in that file, for DISK_DATA */
};

/*
 * disk_map - find where guest bytes live.
 *
 * Looks at [off, off + len) in the top image and its backing chain. Does no data I/O.
 *
 * @len:  > 0
 * @ret:  first extent only: ret->off = @off, 0 < ret->len <= @len
 * Returns 0; -ERANGE (past the end), -EIO and others of read(2) (tables), -EILSEQ (corrupt).
 * Thread: any.
 */
_nodiscard_ int disk_map(struct disk *disk, uint64_t off, uint64_t len, struct disk_extent *ret);

/* --- reading and writing, waiting for it ------------------------------------------------------ */

/*
 * disk_readv, disk_writev - move bytes between memory and the disk.
 *
 * @iov:  memory whose lengths sum up to what is moved; not changed
 * Returns 0; -ERANGE (past the end), -EROFS, -ENOSPC, -EIO, -EILSEQ (image corrupt), others of
 * read(2) and write(2). After a failed write, each of its bytes is old or new.
 * Thread: any. A write is in the image when it returns, and on the medium after disk_flush().
 */
_nodiscard_ int disk_readv(struct disk *disk, uint64_t off, const struct iovec *iov,
			   unsigned nr_iov);
_nodiscard_ int disk_writev(struct disk *disk, uint64_t off, const struct iovec *iov,
			    unsigned nr_iov);

/* disk_read, disk_write - disk_readv() and disk_writev() with one piece of memory. Thread: any. */
_nodiscard_ int disk_read(struct disk *disk, uint64_t off, void *buf, size_t len);
_nodiscard_ int disk_write(struct disk *disk, uint64_t off, const void *buf, size_t len);

/*
 * disk_zero - make bytes read zero, without storing zeros where the format can say so.
 *
 * @unmap:  space may be given back to the host
 * Returns as disk_writev(). Thread: any.
 */
_nodiscard_ int disk_zero(struct disk *disk, uint64_t off, uint64_t len, bool unmap);

/*
 * disk_discard - bytes are not needed any more. Whole clusters of the range read zero afterwards
 * when the image could drop them, and keep their content when it could not or when DISK_UNMAP is
 * not set. Returns as disk_writev(). Thread: any.
 */
_nodiscard_ int disk_discard(struct disk *disk, uint64_t off, uint64_t len);

/*
 * disk_flush - everything written by requests that were completed before is on the medium when it
 * returns 0. Returns 0 or negative errno. Thread: any.
 */
_nodiscard_ int disk_flush(struct disk *disk);

/*
 * disk_pack - compress one cluster as the top image wants it. Touches nothing of the disk, so that many
 * threads can do it at once.
 *
 * @buf:  disk_cluster() bytes
 * @out:  memory of disk_pack_max() bytes
 * @ret_bytes:  what was put there; 0: it does not get smaller and is to be written as it is
 * Returns 0; -EOPNOTSUPP (the format has no compression), -ENOMEM. Thread: any.
 */
_nodiscard_ int disk_pack(struct disk *disk, const void *buf, void *out, size_t *ret_bytes);

/*
 * disk_pack_max - what disk_pack() may put out, bytes: of a cluster that does not get smaller, too, where
 * disk_must_pack() says that nothing else can be written to this image. Thread: any.
 */
uint32_t disk_pack_max(struct disk *disk);
bool disk_must_pack(struct disk *disk);

/*
 * disk_write_packed - write one cluster that disk_pack() made, for images that are being filled.
 *
 * @off:  multiple of disk_cluster(); nothing was written to this cluster before
 * Returns 0; -EEXIST (there is something already); else as disk_writev(). Thread: any.
 */
_nodiscard_ int disk_write_packed(struct disk *disk, uint64_t off, const void *packed,
				  size_t bytes);

/*
 * disk_fast_zero_unit - what disk_zero() does without writing zeros, whatever the host is asked for: whole multiples of
 * this (bytes, a power of two; the end of the disk counts as one). 0: nothing, or it cannot be told beforehand. Thread: any.
 */
uint32_t disk_fast_zero_unit(struct disk *disk);

/* --- without waiting -------------------------------------------------------------------------- */

enum disk_op { DISK_OP_READ, DISK_OP_WRITE, DISK_OP_FLUSH, DISK_OP_DISCARD, DISK_OP_ZERO };

enum disk_request_flag {
	DISK_FUA = 1 << 0, /* a write, zero or discard that is on the medium when it is done */
	DISK_MAY_UNMAP = 1 << 1, /* DISK_OP_ZERO: space may be given back */
};

/* A range that is in use; the disk's own. */
struct disk_hold {
	struct list link;
	uint64_t off, len;
	bool is_exclusive;
};

/*
 * One request. The memory of it and what it points to belongs to the disk from disk_submit() until
 * done() is called, and to the submitter again inside done(), which may free it or submit it again.
 */
struct disk_request {
	enum disk_op op;
	unsigned flags;		 /* of enum disk_request_flag */
	uint64_t off;		 /* not for a flush */
	uint64_t len;		 /* of a zero or discard; else the sum of iov */
	const struct iovec *iov; /* of a read or write; not changed */
	unsigned nr_iov;
	/*
	 * @status:  0, or as disk_readv() and disk_writev() return
	 * Called exactly once, on any thread: also on the submitter's before disk_submit() returns.
	 * No lock of the disk is held; must not wait for other requests.
	 */
	void (*done)(struct disk_request *req, int status);
	void *arg; /* the submitter's */

	struct disk_request_priv { /* the disk's */
		struct list link;
		struct disk *disk;
		struct disk_file *file;
		uint64_t host_off, bytes;
		bool has_stalled; /* it had to wait for space */
		struct disk_hold hold;
		struct uring_op op;
	} priv;
};

/*
 * disk_async_start - get ready for disk_submit().
 *
 * @nr_workers:  threads for what cannot be done without waiting (allocation, decompression, tables
 *               that are not in memory), 1 to 64
 * Returns 0; -EALREADY; -EAGAIN (no threads). The threads end with disk_close(). Thread: any.
 */
_nodiscard_ int disk_async_start(struct disk *disk, unsigned nr_workers, struct err *err);

/*
 * disk_submit - start a request.
 *
 * Requests that overlap and were not completed are done in any order, each whole. Errors are told by
 * done(). disk_async_start() was called. Thread: any; does not wait for the disk.
 */
void disk_submit(struct disk *disk, struct disk_request *req);

/*
 * disk_hurry - requests that wait for their limits begin now, and those that wait for space fail, because somebody waits
 * for them: until none is in flight. Thread: any.
 */
void disk_hurry(struct disk *disk);

/*
 * disk_on_full - be told when requests begin to wait for space (DISK_WAIT_SPACE), and when there is some again. @fn: on
 * any thread. Before the first request; disk_async_start() was called. disk_retry - there may be space: try now.
 * disk_nr_stalled - how many requests wait for it. Thread: any.
 */
void disk_on_full(struct disk *disk, void (*fn)(void *arg, bool is_full), void *arg);
void disk_retry(struct disk *disk);
unsigned disk_nr_stalled(struct disk *disk);

/*
 * disk_drain - disk_hurry(), and wait until no request is in flight. Others must not go on submitting. Not
 * from done(). Thread: any.
 */
void disk_drain(struct disk *disk);

/*
 * Limits on what is submitted, 0 meaning none: operations and bytes a second, of reads, of writes (discards and
 * zeroing, too) and of both. Flushes are not limited, and a discard counts no bytes.
 */
struct disk_limits {
	uint64_t iops, iops_rd, iops_wr;
	uint64_t bps, bps_rd, bps_wr;
	uint64_t burst_ns; /* what was not used in so much time may be used at once; 0: 100 ms */
};

/*
 * disk_limits_parse - set one limit by its name: iops, iops-rd, iops-wr, bps, bps-rd, bps-wr (units: 10M), burst (a
 * time: 5s). disk_limits_parse_list - "iops=100,bps=10M".
 *
 * Return 0; -EINVAL, -ERANGE; -ENOENT (no such name; a list gives -EINVAL). Thread: any.
 */
_nodiscard_ int disk_limits_parse(struct disk_limits *l, struct str key, struct str value,
				  struct err *err);
_nodiscard_ int disk_limits_parse_list(struct disk_limits *l, struct str text, struct err *err);

/*
 * disk_set_limits - limit what is submitted from now on, and what waits already. What was used before is
 * forgotten. Returns 0; -EINVAL (disk_async_start() was not called). disk_get_limits - what is set, and how many
 * requests wait. Thread: any.
 */
_nodiscard_ int disk_set_limits(struct disk *disk, const struct disk_limits *limits,
				struct err *err);
void disk_get_limits(struct disk *disk, struct disk_limits *ret, unsigned *ret_waiting);

/* --- two disks -------------------------------------------------------------------------------- */

struct disk_copy_opts {
	unsigned nr_threads; /* 0: one */
	bool packed;	     /* compressed clusters, as far as they get smaller */
	bool dst_is_zero;    /* the target was just created: zeros need not be written */
	/* Called by any thread, one at a time; or NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * disk_copy - the content of one disk to another, which is at least as large; what it has more becomes
 * zero. Zeros of the source take no space in the target.
 *
 * Returns 0; -ENOSPC (the target is smaller), -EOPNOTSUPP (no compression), and others of disk_readv() and
 * disk_writev(). The target is not flushed. Thread: any; nobody else writes to either.
 */
_nodiscard_ int disk_copy(struct disk *src, struct disk *dst, const struct disk_copy_opts *opts,
			  struct err *err);

/*
 * disk_compare - whether two disks have the same content; behind the end of the shorter one the other must
 * be zero.
 *
 * @opts:  threads and progress
 * @ret_differs:  offset of the first byte that differs; UINT64_MAX: none
 * Returns 0, or a negative errno of reading. Thread: any; nobody writes to either.
 */
_nodiscard_ int disk_compare(struct disk *a, struct disk *b, const struct disk_copy_opts *opts,
			     uint64_t *ret_differs, struct err *err);

/* --- images as a whole ------------------------------------------------------------------------ */

struct disk_option {
	const char *name, *value;
};

struct disk_create_opts {
	uint64_t size;		    /* bytes; with a backing file 0 means: its size */
	const char *backing;	    /* stored as given, so relative to the new image; or NULL */
	const char *backing_format; /* required with a backing file */
	const struct disk_option *options; /* of the format: disk_format_options() */
	size_t nr_options;
	struct disk_observer *observer; /* or NULL */
};

/*
 * disk_create - make a new image, empty or on top of a backing file.
 *
 * A file that is there is replaced, unless it is open elsewhere.
 * Returns 0; -EINVAL (option unknown or out of range, with what is right), -EOPNOTSUPP, -EBUSY, and
 * others of open(2) and write(2). Thread: any.
 */
_nodiscard_ int disk_create(const char *path, const char *format,
			    const struct disk_create_opts *opts, struct err *err);

/* One option of disk_create(). */
struct disk_option_info {
	const char *name;
	const char *help; /* with the values taken; NULL ends a table */
};

/*
 * disk_format_name - the name of format number @i, NULL past the last. disk_format_options - the
 * options its images can be created with, ended by a NULL name; NULL: no such format, or it cannot
 * create. Thread: any.
 */
const char *disk_format_name(size_t i);
const struct disk_option_info *disk_format_options(const char *format);

/* disk_format_of_name - the format that the end of a file's name promises (".qcow2"), NULL when it does not. Thread: any. */
const char *disk_format_of_name(const char *path);

/*
 * disk_servers - what finds NBD servers of a disk's images again when they are lost.
 *
 * Addresses of servers are told to the process outside of a sandbox while it listens (sys/sandbox/outside.h); where it
 * runs, a lost server is connected to by it, at the address where it was first. One that wants TLS is not: its keys are files.
 * Thread: any.
 */
enum disk_servers {
	DISK_NO_SERVERS,
	DISK_SERVERS_BESIDE, /* the process outside; or nobody looks for them */
	DISK_SERVERS_SOUGHT, /* the thread that uses the disk, by name, with files and the network of the host */
};
enum disk_servers disk_servers(struct disk *disk);

/* disk_is_served - whether a name is not a file's but that of a disk at an NBD server. Thread: any. */
_pure_ bool disk_is_served(const char *name);

/*
 * disk_probe - what format an image has, by what stands in it.
 *
 * A guest that owns a raw disk can write the beginnings of any format into it: an answer may be used
 * only where the user of a tool named the file, never for a disk that is given to a machine, and the
 * answer "raw" only means that nothing else was recognized.
 *
 * @ret_format:  static
 * Returns 0 or negative errno of reading the file. Thread: any.
 */
_nodiscard_ int disk_probe(const char *path, const char **ret_format, struct err *err);

#define DISK_DETAIL_MAX 120

/* A property that only some formats have; for people and JSON. */
struct disk_detail {
	const char *key; /* static, words joined by '-' */
	enum { DISK_DETAIL_STR, DISK_DETAIL_U64, DISK_DETAIL_BOOL } type;
	uint64_t num;
	char str[DISK_DETAIL_MAX];
};

struct disk_snapshot {
	char id[64], name[256];
	uint64_t wall_ns;     /* when it was made, since 1970 */
	uint64_t vm_clock_ns; /* how long the machine had run */
	uint64_t vm_state_bytes;
	uint64_t disk_bytes;
};

#define DISK_DETAILS_MAX 24

struct disk_info {
	char *path;
	const char *format;  /* static */
	uint64_t size;	     /* bytes for the guest */
	uint64_t file_bytes; /* length of the files */
	uint64_t host_bytes; /* what they take on the host's disk */
	uint32_t cluster;    /* 0: none */
	bool is_dirty, is_corrupt, is_encrypted;
	char *backing, *backing_format; /* as stored; NULL: none */
	char *backing_path;		/* as it was resolved; NULL: none, or not opened */
	struct disk_detail details[DISK_DETAILS_MAX];
	size_t nr_details;
	struct disk_snapshot *snapshots; /* disk_info_done() */
	size_t nr_snapshots;
};

/*
 * disk_info - what an image of the chain says about itself.
 *
 * @depth:  0: the top image, 1: its backing file ...
 * @ret:    disk_info_done()
 * Returns 0; -ENOENT (the chain is shorter); others of stat(2). Thread: any.
 */
_nodiscard_ int disk_info(struct disk *disk, unsigned depth, struct disk_info *ret,
			  struct err *err);

/* disk_info_done - free what disk_info() made. Thread: owner. */
void disk_info_done(struct disk_info *info);

struct disk_check {
	/* in */
	bool fix_leaks, fix_errors;
	void (*report)(void *arg, const char *text); /* each finding in words; or NULL */
	void *arg;
	/* out */
	uint64_t errors, leaks; /* found; of these fixed: */
	uint64_t errors_fixed, leaks_fixed;
	uint64_t clusters, allocated, packed, fragmented; /* of the guest's clusters */
	uint64_t file_end;				  /* first byte that nothing uses */
};

/*
 * disk_check - test the tables of the top image, and repair them when asked to.
 *
 * Returns 0 when the check could be done, whatever it found; -EOPNOTSUPP (nothing to check in this
 * format); -EROFS (repair of an image opened for reading). Thread: any, no request in flight.
 */
_nodiscard_ int disk_check(struct disk *disk, struct disk_check *check, struct err *err);

/*
 * disk_resize - make the disk larger or smaller. New bytes read zero.
 *
 * @size:    bytes, rounded up to a multiple of 512
 * @shrink:  allow to lose what is behind the new end
 * Returns 0; -EINVAL, -EOPNOTSUPP, -EROFS, -ENOSPC ... Thread: any; no request past the new end is
 * in flight.
 */
_nodiscard_ int disk_resize(struct disk *disk, uint64_t size, bool shrink, struct err *err);

/*
 * Internal snapshots of the top image. disk_snapshot_create: keep the present content as @name.
 * disk_snapshot_apply: go back to it (id or name). disk_snapshot_delete: forget it.
 *
 * Return 0; -EOPNOTSUPP (not in this format), -ENOENT, -EEXIST (name taken), -EROFS, -ENOSPC ...
 * Thread: any; requests of others wait meanwhile. Afterwards what was done is on the medium.
 */
_nodiscard_ int disk_snapshot_create(struct disk *disk, const char *name, uint64_t wall_ns,
				     struct err *err);
_nodiscard_ int disk_snapshot_apply(struct disk *disk, const char *name, struct err *err);
_nodiscard_ int disk_snapshot_delete(struct disk *disk, const char *name, struct err *err);

/* --- bitmaps: what has changed since a backup --------------------------------------------------- */

#define DISK_BITMAP_NAME_MAX 1023

/* A persistent bitmap of the top image. */
struct disk_bitmap {
	char name[DISK_BITMAP_NAME_MAX + 1];
	uint64_t granularity; /* bytes of disk a bit */
	uint64_t dirty_bytes; /* in marked parts; 0 when it is out of date */
	bool is_enabled;      /* it follows writes */
	bool is_out_of_date; /* somebody wrote and did not keep it, or crashed: only to be removed */
};

enum disk_bitmap_op {
	DISK_BITMAP_ADD, /* empty */
	DISK_BITMAP_REMOVE,
	DISK_BITMAP_CLEAR,   /* nothing has changed */
	DISK_BITMAP_ENABLE,  /* follow writes from now on */
	DISK_BITMAP_DISABLE, /* stay as it is */
	DISK_BITMAP_MERGE,   /* mark what another one has marked */
};

struct disk_bitmap_change {
	enum disk_bitmap_op op;
	const char *name;     /* 1 to 1023 bytes */
	const char *from;     /* MERGE */
	uint64_t granularity; /* ADD: a power of two from 512 to 2 GiB; 0: 64 KiB */
	bool is_disabled;     /* ADD */
};

/*
 * disk_bitmaps - those of the top image.
 *
 * @ret: free(); NULL when there are none
 * Returns 0 (also for a format without bitmaps); -EILSEQ, -EIO ... Thread: any.
 */
_nodiscard_ int disk_bitmaps(struct disk *disk, struct disk_bitmap **ret, size_t *ret_n,
			     struct err *err);

/* disk_bitmaps_json - appended: an array of objects with name, granularity, enabled, out_of_date, dirty_bytes. Thread: any. */
void disk_bitmaps_json(const struct disk_bitmap *b, size_t n, struct strbuf *out);

/*
 * disk_bitmap_change - do it, and on the medium.
 *
 * Returns 0; -EOPNOTSUPP (the format has none), -ENOENT, -EEXIST, -EINVAL, -ESTALE (out of date), -EBUSY (a job is
 * running), -EROFS, -ENOSPC ... and nothing has changed. Thread: any; requests of others wait for a moment.
 */
_nodiscard_ int disk_bitmap_change(struct disk *disk, const struct disk_bitmap_change *c,
				   struct err *err);

/*
 * disk_bitmap_look - whether the beginning of a range is marked: the first *ret_len bytes are alike, at most @len.
 * Returns 0; -ERANGE, -ENOENT, -ESTALE (out of date). Thread: any.
 */
_nodiscard_ int disk_bitmap_look(struct disk *disk, const char *name, uint64_t off, uint64_t len,
				 bool *ret_marked, uint64_t *ret_len, struct err *err);

/* --- a graph that changes while the disk is in use --------------------------------------------- */

/*
 * For a process that can open nothing (sys/sandbox): files that somebody else opened, to change the graph with. Each is
 * taken for the image that it is (device and inode), whatever it is called.
 */
struct disk_handed {
	const int *fd; /* stay the caller's; those of images that will be written are open for that */
	unsigned nr;
	const char *
		name; /* what the image that is made, or changed, calls the one below it; NULL: nothing is below */
};

/*
 * disk_name_below - what an image is to call the one that it lies on.
 *
 * @img_path:  of the upper image; it need not be there yet
 * @below:     path of the lower one
 * Appends its file's name when both are in one folder (they can then be moved together), else its whole path. Returns 0,
 * negative errno of realpath(3). Thread: any.
 */
_nodiscard_ int disk_name_below(const char *img_path, const char *below, struct strbuf *out,
				struct err *err);

/*
 * disk_snapshot_external - keep the present content in the image that it is in, and go on in a new one on top of it.
 *
 * @path:     of the new image (qcow2); nothing may be there. It names the present top image by its file's name when both
 *            are in one folder, else by its whole path.
 * @options:  of disk_create()
 * @handed:   NULL: made and opened by path. fd[0] is the new image, of disk_create() with the disk's size and the present
 *            top as backing file, open for writing, on the medium with its folder; among the others is that top
 * Returns 0, and the disk is @path from then on; -EEXIST, -EROFS, -EBUSY (a job is running), -ENOSPC ... and the disk
 * is what it was. Thread: any; requests of others wait for a moment.
 */
_nodiscard_ int disk_snapshot_external(struct disk *disk, const char *path,
				       const struct disk_option *options, size_t nr_options,
				       const struct disk_handed *handed, struct err *err);

enum disk_job_kind {
	DISK_JOB_COMMIT, /* images into one below them; they leave the chain */
	DISK_JOB_STREAM, /* what is below the top image into it; images leave the chain */
	DISK_JOB_BACKUP, /* what the disk holds at the beginning, or what has changed, to another disk */
};
enum disk_job_state {
	DISK_JOB_NONE,
	DISK_JOB_RUNNING,
	DISK_JOB_DONE,
	DISK_JOB_CANCELLED,
	DISK_JOB_FAILED,
};

struct disk_job_opts {
	enum disk_job_kind kind;
	const char *top; /* commit: file of the topmost image to merge; NULL: the disk's top */
	const char *
		base; /* file of the image to merge into (NULL: the one below @top), or to keep below a stream
			   * (NULL: none) */
	uint64_t bps; /* bytes a second to copy at most; 0: no limit */
	/*
	 * Of a backup: where to, at least as large, used by nobody else. The job's, which closes it, unless it could not be
	 * started. An increment that goes to an image on top of an earlier backup needs DISK_TOP_ONLY.
	 */
	struct disk *target;
	/*
	 * Of a backup: this bitmap follows what changes from its beginning on, once the backup is on the medium; it is made
	 * when there is none. NULL: none.
	 */
	const char *bitmap;
	bool is_increment; /* of a backup: only what the bitmap has marked */
	/*
	 * NULL: files are opened by path. Else @top and @base are paths as disk_info() tells them, and there are: the base;
	 * of a commit for writing, and so the image above @top when that is not the disk's top.
	 */
	const struct disk_handed *handed;
};

struct disk_job_status {
	enum disk_job_kind kind; /* nothing, when the state is DISK_JOB_NONE */
	enum disk_job_state state;
	uint64_t done,
		total; /* bytes looked at; the total grows with what the guest changes meanwhile */
	uint64_t bps;
	char error[240]; /* of DISK_JOB_FAILED */
};

/*
 * disk_job_start - begin long work on the graph; requests go on meanwhile.
 *
 * After a commit of the top image, the disk is the image that was merged into; the former top is empty, shows what is
 * below it, and is not open any more. What a crash leaves is said in src/disk/job_commit.c. A backup shows the disk of one
 * moment: when this returns, it has been.
 *
 * Returns 0; -EBUSY (one is running), -EINVAL, -ENOENT (no such image), -EOPNOTSUPP (the format cannot), -EROFS.
 * Thread: any.
 */
_nodiscard_ int disk_job_start(struct disk *disk, const struct disk_job_opts *opts,
			       struct err *err);

/* disk_job_status - of the job that runs or ran last. Thread: any. */
void disk_job_status(struct disk *disk, struct disk_job_status *ret);

/* disk_job_cancel - the disk stays as it is; the state says when the job has ended. disk_job_set_speed - bytes a second,
 * 0: no limit. Return 0; -ESRCH (none is running). Thread: any. */
_nodiscard_ int disk_job_cancel(struct disk *disk, struct err *err);
_nodiscard_ int disk_job_set_speed(struct disk *disk, uint64_t bps, struct err *err);

/*
 * disk_job_wait - until the job has ended, or a time of CLOCK_MONOTONIC (UINT64_MAX: for ever).
 *
 * Returns 0; -ETIMEDOUT, with the status also; -ESRCH (there was none). Thread: the one that starts jobs.
 */
int disk_job_wait(struct disk *disk, uint64_t deadline_ns, struct disk_job_status *ret);

/* disk_job_kind_name, disk_job_state_name - words for people and JSON. Thread: any. */
const char *disk_job_kind_name(enum disk_job_kind kind);
const char *disk_job_state_name(enum disk_job_state state);

#endif
