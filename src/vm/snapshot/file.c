/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the file of a snapshot. The header says where the parts are and has their checksums, and one of its own; parts
 * have to follow each other without gaps up to the end of the file, so that a file that was cut off or has been appended to
 * is found out at once. Memory is not read here: it is mapped, and checked by whoever has the time
 * (snapshot_check_memory()).
 */
#include "vm/snapshot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "cpu/physmem.h"
#include "sys/fd.h"
#include "vm/snapshot/file_priv.h"

#define MEMORY_LIMIT (UINT64_C(1) << 40)

static int damaged(struct err *err, const char *what)
{
	return err_set(err, -EILSEQ, "%s", what);
}

int snapshot_parse_header(const uint8_t *p, uint64_t file_bytes, struct snapshot *s,
			  struct err *err)
{
	static const uint8_t zeros[SNAPSHOT_HEADER];
	uint32_t version = get_le32(p + H_VERSION);
	uint32_t header_end = version == SNAPSHOT_VERSION_BASE ? H_END_BASE : H_END;
	uint64_t end;

	if (memcmp(p + H_MAGIC, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC)) != 0)
		return damaged(err, "it is not a snapshot of a machine");
	if (version != SNAPSHOT_VERSION && version != SNAPSHOT_VERSION_BASE)
		return err_set(err, -EOPNOTSUPP,
			       "it has format version %u; this program reads versions %d and %d",
			       version, SNAPSHOT_VERSION, SNAPSHOT_VERSION_BASE);
	if (crc32c(0, p, H_SUM) != get_le32(p + H_SUM))
		return damaged(err, "its header is damaged: the checksum is wrong");
	if (memcmp(p + header_end, zeros, H_SUM - header_end) != 0)
		return damaged(err, "its header has something where nothing is defined");
	memcpy(s->self.id, p + H_ID, SNAPSHOT_ID);
	s->self.sum = get_le32(p + H_SUM);
	s->has_base = version == SNAPSHOT_VERSION_BASE;
	memcpy(s->base_ref.id, p + H_BASE_ID, SNAPSHOT_ID);
	s->base_ref.sum = get_le32(p + H_BASE_SUM);
	s->created_ns = get_le64(p + H_CREATED);
	s->memory_bytes = get_le64(p + H_MEMORY_BYTES);
	s->sums_off = get_le64(p + H_SUMS_OFF);
	s->sections_off = get_le64(p + H_SECTIONS_OFF);
	s->sections_bytes = get_le64(p + H_SECTIONS_BYTES);
	s->sums_sum = get_le32(p + H_SUMS_SUM);
	s->sections_sum = get_le32(p + H_SECTIONS_SUM);
	if (!s->memory_bytes || s->memory_bytes % GUEST_PAGE_SIZE || s->memory_bytes > MEMORY_LIMIT)
		return damaged(err, "its header names an impossible size of the memory");
	if (s->sums_off != SNAPSHOT_HEADER + s->memory_bytes ||
	    s->sections_off != s->sums_off + s->memory_bytes / GUEST_PAGE_SIZE * SUM_BYTES ||
	    s->sections_bytes > SNAPSHOT_SECTIONS_BYTES)
		return damaged(err, "the parts that its header names do not follow each other");
	if (!add_ok(s->sections_off, s->sections_bytes, &end) || end != file_bytes)
		return err_set(err, -EILSEQ, "it has %llu bytes, and should have %llu",
			       (unsigned long long)file_bytes, (unsigned long long)end);
	return 0;
}

static bool name_ok(const uint8_t *p)
{
	size_t n = strnlen((const char *)p, SNAPSHOT_NAME);

	if (!n || n == SNAPSHOT_NAME)
		return false;
	for (size_t i = 0; i < SNAPSHOT_NAME; i++)
		if (i < n ? p[i] < ' ' || p[i] > '~' : p[i] != 0)
			return false;
	return true;
}

int snapshot_parse_sections(const uint8_t *p, uint64_t n, struct snapshot *s, struct err *err)
{
	uint64_t off = 0;

	if (crc32c(0, p, n) != s->sections_sum)
		return damaged(err, "its sections are damaged: the checksum is wrong");
	s->section = mem_new_n(SNAPSHOT_SECTIONS, sizeof(*s->section));
	s->nr = 0;
	while (off < n) {
		struct snapshot_section *e = &s->section[s->nr];
		uint64_t len;

		if (s->nr == SNAPSHOT_SECTIONS || n - off < S_HEADER || !name_ok(p + off + S_NAME))
			return damaged(err, "its sections make no sense");
		len = get_le32(p + off + S_BYTES);
		if (get_le16(p + off + S_ZERO) || align_up(len, 8) > n - off - S_HEADER)
			return damaged(err, "a section is longer than the file");
		memcpy(e->name, p + off + S_NAME, SNAPSHOT_NAME);
		e->version = get_le16(p + off + S_VERSION);
		e->data = (struct str){ (const char *)p + off + S_HEADER, len };
		e->is_used = false;
		s->nr++;
		off += S_HEADER + align_up(len, 8);
	}
	return 0;
}

/* Ours, and nobody else's to write to: memory that is mapped from it changes when it is written to. */
static int check_owner(int fd, uint64_t *ret_bytes, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set_errno(err, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "it is not a regular file");
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & S_IWOTH))
		return err_set(err, -EACCES,
			       "it belongs to another user, or anybody may write to it: who can change it "
			       "can change what runs here (copy it, or chmod o-w)");
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int read_parts(struct snapshot *s, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *header = mem_new(SNAPSHOT_HEADER);
	uint64_t bytes = 0;
	ssize_t n;
	int r = check_owner(s->fd, &bytes, err);

	if (r < 0)
		return r;
	n = fd_pread_full(s->fd, header, SNAPSHOT_HEADER, 0);
	if (n < 0)
		return err_set(err, (int)n, "read: %s", strerror((int)-n));
	if (n != SNAPSHOT_HEADER)
		return damaged(err, "it is too short for a snapshot");
	r = snapshot_parse_header(header, bytes, s, err);
	if (r < 0)
		return r;
	r = mem_try(&s->text, MAX(s->sections_bytes, UINT64_C(1)), SNAPSHOT_SECTIONS_BYTES);
	if (r < 0)
		return err_set(err, r, "no memory for its sections");
	n = fd_pread_full(s->fd, s->text, s->sections_bytes, s->sections_off);
	if (n != (ssize_t)s->sections_bytes)
		return err_set(err, n < 0 ? (int)n : -EILSEQ, "its sections cannot be read");
	r = snapshot_parse_sections(s->text, s->sections_bytes, s, err);
	return r == 0 && s->has_base ? snapshot_parse_base(s, err) : r;
}

int snapshot_open(const char *path, struct snapshot *ret, struct err *err)
{
	struct snapshot s = { .fd = -EBADF };
	int r = fd_open(path, O_RDONLY, &s.fd, err);

	if (r < 0)
		return r;
	s.path = mem_strdup(path);
	r = read_parts(&s, err);
	if (r < 0) {
		err_wrap(err, r, "snapshot '%s'", path);
		snapshot_close(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void snapshot_close(struct snapshot *s)
{
	fd_closep(&s->fd);
	free(take_ptr(&s->path));
	free(take_ptr(&s->text));
	free(take_ptr(&s->section));
	free(take_ptr(&s->base_name));
	free(take_ptr(&s->extent));
	s->nr = s->nr_extents = 0;
	if (s->base)
		snapshot_close(s->base); /* as deep as snapshot_open_bases() goes */
	free(take_ptr(&s->base));
}

struct snapshot_section *snapshot_find(struct snapshot *s, const char *name)
{
	for (unsigned int i = 0; i < s->nr; i++)
		if (!s->section[i].is_used && !strcmp(s->section[i].name, name)) {
			s->section[i].is_used = true;
			return &s->section[i];
		}
	return NULL;
}

/* --- memory ------------------------------------------------------------------------------------- */

bool snapshot_is_zero(const uint8_t *page)
{
	const uint64_t *p = (const uint64_t *)(const void *)page;

	for (unsigned int i = 0; i < GUEST_PAGE_SIZE / 8; i += 8)
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] |
		    p[i + 7])
			return false;
	return true;
}

uint32_t snapshot_page_sum(const uint8_t *page)
{
	uint32_t sum = crc32c(0, page, GUEST_PAGE_SIZE);

	return sum ? sum : 1; /* 0 means that the page is zeros */
}

enum { CHUNK = 256 }; /* pages that are read at once */

/* Pages [first, first + nr), whose sums are at @sums. */
static int check_chunk(const struct snapshot *s, uint64_t first, uint64_t nr, const uint8_t *sums,
		       uint8_t *buf, struct err *err)
{
	bool any = false;
	ssize_t n;

	for (uint64_t k = 0; k < nr; k++)
		any = any || get_le32(sums + k * SUM_BYTES);
	/* Holes are left alone: reading them would give them memory in the page cache. */
	if (!any && lseek(s->fd, (off_t)(SNAPSHOT_HEADER + first * GUEST_PAGE_SIZE), SEEK_DATA) >=
			    (off_t)(SNAPSHOT_HEADER + (first + nr) * GUEST_PAGE_SIZE))
		return 0;
	n = fd_pread_full(s->fd, buf, nr * GUEST_PAGE_SIZE,
			  SNAPSHOT_HEADER + first * GUEST_PAGE_SIZE);
	if (n != (ssize_t)(nr * GUEST_PAGE_SIZE))
		return err_set(err, n < 0 ? (int)n : -EILSEQ, "its memory cannot be read");
	for (uint64_t k = 0; k < nr; k++) {
		const uint8_t *page = buf + k * GUEST_PAGE_SIZE;
		uint32_t sum = get_le32(sums + k * SUM_BYTES);

		if (sum ? snapshot_page_sum(page) != sum : !snapshot_is_zero(page))
			return err_set(err, -EILSEQ,
				       "its memory is damaged: page %llu has not the contents that "
				       "were saved",
				       (unsigned long long)(first + k));
	}
	return 0;
}

int snapshot_check_memory(const struct snapshot *s, const _Atomic bool *stop, struct err *err)
{
	uint64_t pages = s->memory_bytes / GUEST_PAGE_SIZE;
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	uint8_t sums[CHUNK * SUM_BYTES];
	uint32_t sum = 0;
	int r = 0;

	buf = aligned_alloc(64, (size_t)CHUNK * GUEST_PAGE_SIZE);
	if (!buf)
		return err_set(err, -ENOMEM, "no memory");
	for (uint64_t first = 0; r == 0 && first < pages; first += CHUNK) {
		uint64_t nr = MIN((uint64_t)CHUNK, pages - first);
		ssize_t n =
			fd_pread_full(s->fd, sums, nr * SUM_BYTES, s->sums_off + first * SUM_BYTES);

		if (stop && atomic_load_explicit(stop, memory_order_relaxed))
			return -ECANCELED;
		if (n != (ssize_t)(nr * SUM_BYTES))
			return err_set(err, n < 0 ? (int)n : -EILSEQ,
				       "its checksums cannot be read");
		sum = crc32c(sum, sums, (size_t)n);
		r = check_chunk(s, first, nr, sums, buf, err);
	}
	if (r == 0 && sum != s->sums_sum)
		r = damaged(err, "the checksums of its memory are damaged themselves");
	return r;
}
