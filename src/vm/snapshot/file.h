/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_FILE_H
#define VM_SNAPSHOT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/disk_bus.h"

/*
 * The file of a snapshot: a header, guest memory as it is, a checksum for each of its pages, and named sections. README.md
 * has the layout. Who reads it believes nothing of it but what was checked.
 */
enum {
	SNAPSHOT_VERSION = 1,
	SNAPSHOT_VERSION_BASE = 2, /* of one that has a base */
	SNAPSHOT_HEADER = 4096,	   /* bytes; the memory follows */
	SNAPSHOT_NAME = 40,	   /* of a section, with its end */
	SNAPSHOT_ID = 16,
	SNAPSHOT_SECTIONS = 4096,
	SNAPSHOT_CHAIN = 8,	 /* files that a machine's memory may be in */
	SNAPSHOT_EXTENTS = 4096, /* runs of pages of a file that has a base */
};
#define SNAPSHOT_SECTIONS_BYTES (UINT64_C(64) << 20) /* at most, all together */

struct snapshot_section {
	char name[SNAPSHOT_NAME];
	uint16_t version;
	struct str data;
	bool is_used; /* the reader's */
};

/* Which file it is: its identifier, and its header's checksum, in which those of its parts are. */
struct snapshot_ref {
	uint8_t id[SNAPSHOT_ID];
	uint32_t sum;
};
enum { SNAPSHOT_REF_TEXT = 2 * SNAPSHOT_ID + 8 + 1 }; /* hexadecimal, with its end */

/* A run of pages. */
struct snapshot_extent {
	uint32_t page, nr;
};

/* A file that was opened. */
struct snapshot {
	int fd;
	char *path;
	struct snapshot_ref self;
	bool has_base; /* the pages outside of the extents are another file's: */
	struct snapshot_ref base_ref;
	char *base_name;		/* of the same folder */
	struct snapshot *base;		/* that file, after snapshot_open_bases() */
	struct snapshot_extent *extent; /* ascending */
	unsigned int nr_extents;
	uint64_t created_ns; /* since 1970 */
	uint64_t memory_bytes;
	uint64_t sums_off, sections_off, sections_bytes;
	uint32_t sums_sum, sections_sum;
	uint8_t *text; /* what the sections point into */
	struct snapshot_section *section;
	unsigned int nr;
};

/*
 * snapshot_open - open a file and check all of it but the memory.
 *
 * A file that others can write to is refused: what runs from it could be changed at any time.
 * Returns 0; -EILSEQ (no snapshot, or damaged: what is wrong), -EOPNOTSUPP (another version), -EACCES, and others of
 * open(2) and read(2). @ret: snapshot_close(). Thread: any.
 */
_nodiscard_ int snapshot_open(const char *path, struct snapshot *ret, struct err *err);

/*
 * snapshot_open_bases - open the file on which this one is based, and that one's, until one has all pages itself.
 *
 * Returns 0; -ENOENT (it is not there), -ESTALE (there is another one under its name), -ELOOP (more than SNAPSHOT_CHAIN),
 * and those of snapshot_open(). Thread: owner.
 */
_nodiscard_ int snapshot_open_bases(struct snapshot *s, struct err *err);

/* snapshot_ref_same - are they of one file? snapshot_ref_text, snapshot_ref_parse - one as hexadecimal digits, and back:
 * 0 or -EINVAL. Thread: any. */
bool snapshot_ref_same(const struct snapshot_ref *a, const struct snapshot_ref *b);
void snapshot_ref_text(const struct snapshot_ref *ref, char *ret);
_nodiscard_ int snapshot_ref_parse(const char *text, struct snapshot_ref *ret);

/* snapshot_close - a zeroed one is left alone if its fd is negative. Its base is closed, too. Thread: owner. */
void snapshot_close(struct snapshot *s);

/* snapshot_parse_header, snapshot_parse_sections - the parts of snapshot_open() without files: SNAPSHOT_HEADER bytes
 * @p of a file of @file_bytes; the sections' @n bytes @p, which @s goes on to point into. */
_nodiscard_ int snapshot_parse_header(const uint8_t *p, uint64_t file_bytes, struct snapshot *s,
				      struct err *err);
_nodiscard_ int snapshot_parse_sections(const uint8_t *p, uint64_t n, struct snapshot *s,
					struct err *err);
/* snapshot_parse_base - what the sections of a file that has a base say of it. Returns 0, -EILSEQ. */
_nodiscard_ int snapshot_parse_base(struct snapshot *s, struct err *err);

/* snapshot_find - the first section of that name that is not used yet, and mark it; NULL. Thread: owner. */
struct snapshot_section *snapshot_find(struct snapshot *s, const char *name);

/*
 * snapshot_check_memory - compare every page of the memory with its checksum.
 *
 * @stop:  looked at now and then; ends it with -ECANCELED. May be NULL.
 * Returns 0; -EILSEQ with the page; others of read(2). Thread: any.
 */
_nodiscard_ int snapshot_check_memory(const struct snapshot *s, const _Atomic bool *stop,
				      struct err *err);

/* A disk beside a snapshot. */
struct snapshot_disk {
	enum disk_bus bus;
	uint64_t n; /* of its bus, in the order of the machine's options */
	const char *path;
	const char *file; /* the same without its folder */
};

/*
 * snapshot_each_disk - call fn(arg, disk, err) for each disk beside a snapshot, until it returns other than 0.
 *
 * Returns that; -EILSEQ (what it says of disks makes no sense). Thread: any.
 */
_nodiscard_ int snapshot_each_disk(struct snapshot *s,
				   int (*fn)(void *arg, const struct snapshot_disk *d,
					     struct err *err),
				   void *arg, struct err *err);

/* A file that is being written. Whoever opened it gives it its name when it is whole (snapshot_file_name()). */
struct snapshot_writer {
	int fd; /* the caller's */
	uint64_t memory_bytes;
	uint8_t *sums;
	struct strbuf sections;
	size_t section_at;	  /* of the header of the one being written */
	uint64_t unsent;	  /* bytes that were written lately */
	struct snapshot_ref self; /* after snapshot_end() */

	/* Of one with a base: */
	struct snapshot_ref base;
	char *base_name; /* NULL: none */
	uint64_t *here;	 /* the pages that are in this file; one bit each */
};

/*
 * snapshot_begin - write to an empty file, from its begin on.
 *
 * Returns 0; -EINVAL (no such file), -ENOMEM, -EFBIG and others of ftruncate(2). snapshot_writer_done() in any case. Thread:
 * any.
 */
_nodiscard_ int snapshot_begin(struct snapshot_writer *w, int fd, uint64_t memory_bytes,
			       struct err *err);
void snapshot_writer_done(struct snapshot_writer *w);

/*
 * snapshot_begin_on - the file has only pages that differ from those of another file, which is beside it under that name.
 *
 * Pages are this file's when they were added, or marked by snapshot_mark(); they may have SNAPSHOT_EXTENTS runs at most.
 * After snapshot_begin(), before anything is added. Returns 0, -ENOMEM. Thread: owner.
 */
_nodiscard_ int snapshot_begin_on(struct snapshot_writer *w, const struct snapshot_ref *base,
				  const char *name, struct err *err);

/* snapshot_mark - these pages are this file's, zeros unless they are added; @off, @len: bytes. Thread: owner. */
void snapshot_mark(struct snapshot_writer *w, uint64_t off, uint64_t len);

/* snapshot_add - begin a section; its data are appended to what is returned until the next call. Thread: owner. */
struct strbuf *snapshot_add(struct snapshot_writer *w, const char *name, uint16_t version);

/*
 * snapshot_add_memory - the pages of [off, off + len) of the memory, which are at @p; those that are zeros take no space, and
 * so do those that are never added. Whole pages, in any order, and again when they have changed. Returns 0, -ENOSPC and
 * others of write(2). Thread: owner.
 */
_nodiscard_ int snapshot_add_memory(struct snapshot_writer *w, uint64_t off, const uint8_t *p,
				    uint64_t len, struct err *err);

/* snapshot_pages - how many pages of the memory are not zeros. Thread: owner. */
uint64_t snapshot_pages(const struct snapshot_writer *w);

/* snapshot_end - the file is whole, and on the medium. Returns 0, or negative, and it is of no use. Thread: owner. */
_nodiscard_ int snapshot_end(struct snapshot_writer *w, struct err *err);

/* A file that has no name yet, so that nothing is left of it when its process ends. */
struct snapshot_file {
	int dir_fd, fd; /* negative: none */
	char *path, *name;
};

/*
 * snapshot_file_open - a new file for a snapshot that is to be at @path. snapshot_file_name - give it that name, in the place of
 * one that is there, on the medium.
 *
 * Return 0, or what open(2), link(2) and rename(2) say. snapshot_file_done() in any case: one without its name is gone.
 * Thread: owner.
 */
_nodiscard_ int snapshot_file_open(struct snapshot_file *f, const char *path, struct err *err);
_nodiscard_ int snapshot_file_name(struct snapshot_file *f, struct err *err);
void snapshot_file_done(struct snapshot_file *f);

#endif
