/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the file of a snapshot: to a descriptor, because a machine can open nothing. Its name is name.c's subject. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "cpu/physmem.h"
#include "sys/fd.h"
#include "vm/snapshot/file_priv.h"

/* Bytes that are written before the kernel is told to begin. */
enum { WRITE_BACK = 4 << 20 };

int snapshot_begin(struct snapshot_writer *w, int fd, uint64_t memory_bytes, struct err *err)
{
	uint64_t bytes = 0;
	int r;

	*w = (struct snapshot_writer){ .fd = fd, .memory_bytes = memory_bytes };
	r = fd_size(fd, &bytes, err);
	if (r == 0 && bytes)
		r = err_set(err, -EINVAL, "the file for a snapshot is not empty");
	if (r == 0)
		r = mem_try(&w->sums, memory_bytes / GUEST_PAGE_SIZE * SUM_BYTES, SIZE_MAX);
	if (r == 0 && ftruncate(w->fd, (off_t)(SNAPSHOT_HEADER + memory_bytes)) < 0)
		r = err_set_errno(err, "make the file as large as the memory");
	return r;
}

void snapshot_writer_done(struct snapshot_writer *w)
{
	free(take_ptr(&w->sums));
	free(take_ptr(&w->base_name));
	free(take_ptr(&w->here));
	strbuf_done(&w->sections);
}

int snapshot_begin_on(struct snapshot_writer *w, const struct snapshot_ref *base, const char *name,
		      struct err *err)
{
	uint64_t words = (w->memory_bytes / GUEST_PAGE_SIZE + 63) / 64;
	int r = mem_try(&w->here, words * sizeof(*w->here), SIZE_MAX);

	if (r < 0)
		return err_set(err, r, "no memory for the list of a snapshot's pages");
	w->base = *base;
	w->base_name = mem_strdup(name);
	return 0;
}

void snapshot_mark(struct snapshot_writer *w, uint64_t off, uint64_t len)
{
	for (uint64_t page = off / GUEST_PAGE_SIZE; page < (off + len) / GUEST_PAGE_SIZE; page++)
		w->here[page / 64] |= UINT64_C(1) << (page % 64);
}

/* --- sections ------------------------------------------------------------------------------------ */

static void end_section(struct snapshot_writer *w)
{
	struct strbuf *b = &w->sections;

	if (!b->n)
		return;
	put_le32((uint8_t *)b->p + w->section_at + S_BYTES,
		 (uint32_t)(b->n - w->section_at - S_HEADER));
	while (b->n % 8)
		strbuf_addc(b, 0);
}

struct strbuf *snapshot_add(struct snapshot_writer *w, const char *name, uint16_t version)
{
	uint8_t head[S_HEADER] = { 0 };

	end_section(w);
	snprintf((char *)head + S_NAME, SNAPSHOT_NAME, "%s", name);
	put_le16(head + S_VERSION, version);
	w->section_at = w->sections.n;
	strbuf_add(&w->sections, head, sizeof(head));
	return &w->sections;
}

/* --- memory -------------------------------------------------------------------------------------- */

/* Pages of the file that wait for the medium begin their way there: the whole would take long at the end. */
static void write_back(struct snapshot_writer *w, uint64_t len)
{
	w->unsent += len;
	if (w->unsent < WRITE_BACK)
		return;
	w->unsent = 0;
	ignore_result(sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE)); /* the end waits */
}

static int write_pages(struct snapshot_writer *w, uint64_t off, const uint8_t *p, uint64_t len,
		       struct err *err)
{
	int r = fd_pwrite_full(w->fd, p, len, SNAPSHOT_HEADER + off);

	if (r < 0)
		return err_set(err, r, "write the snapshot: %s", strerror(-r));
	write_back(w, len);
	return 0;
}

/*
 * Runs of pages are written as they are, from the guest's memory. Zeros are written only over something else, and are not
 * taken from the memory, where the guest may put data after we looked: such a page would be in the file and count as
 * zeros, and if it became zeros again, nobody would write them.
 */
int snapshot_add_memory(struct snapshot_writer *w, uint64_t off, const uint8_t *p, uint64_t len,
			struct err *err)
{
	static const uint8_t zeros[GUEST_PAGE_SIZE];
	uint64_t run = 0;
	int r = 0;

	if (w->here)
		snapshot_mark(w, off, len);
	for (uint64_t at = 0; r == 0 && at <= len; at += GUEST_PAGE_SIZE) {
		uint8_t *sum = w->sums + (off + at) / GUEST_PAGE_SIZE * SUM_BYTES;

		if (at < len && !snapshot_is_zero(p + at)) {
			put_le32(sum, snapshot_page_sum(p + at));
			run += GUEST_PAGE_SIZE;
			continue;
		}
		if (run)
			r = write_pages(w, off + at - run, p + at - run, run, err);
		run = 0;
		if (r == 0 && at < len && get_le32(sum)) {
			put_le32(sum, 0);
			r = write_pages(w, off + at, zeros, GUEST_PAGE_SIZE, err);
		}
	}
	return r;
}

uint64_t snapshot_pages(const struct snapshot_writer *w)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < w->memory_bytes / GUEST_PAGE_SIZE; page++)
		n += get_le32(w->sums + page * SUM_BYTES) != 0;
	return n;
}

/* --- the end ------------------------------------------------------------------------------------- */

static void make_header(const struct snapshot_writer *w, uint64_t sums_bytes, uint8_t *h)
{
	uint64_t sums_off = SNAPSHOT_HEADER + w->memory_bytes;

	memset(h, 0, SNAPSHOT_HEADER);
	memcpy(h + H_MAGIC, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC));
	put_le32(h + H_VERSION, w->base_name ? SNAPSHOT_VERSION_BASE : SNAPSHOT_VERSION);
	if (w->base_name) {
		memcpy(h + H_BASE_ID, w->base.id, SNAPSHOT_ID);
		put_le32(h + H_BASE_SUM, w->base.sum);
	}
	if (getrandom(h + H_ID, SNAPSHOT_ID, 0) != SNAPSHOT_ID)
		abort(); /* so few bytes are there as soon as the host has started */
	put_le64(h + H_CREATED, clock_wall(clock_real()));
	put_le64(h + H_MEMORY_BYTES, w->memory_bytes);
	put_le64(h + H_SUMS_OFF, sums_off);
	put_le64(h + H_SECTIONS_OFF, sums_off + sums_bytes);
	put_le64(h + H_SECTIONS_BYTES, w->sections.n);
	put_le32(h + H_SUMS_SUM, crc32c(0, w->sums, sums_bytes));
	put_le32(h + H_SECTIONS_SUM, crc32c(0, w->sections.p, w->sections.n));
	put_le32(h + H_SUM, crc32c(0, h, H_SUM));
}

/* What it is based on, and which pages it has. */
static int add_base(struct snapshot_writer *w, struct err *err)
{
	uint64_t pages = w->memory_bytes / GUEST_PAGE_SIZE;
	unsigned int nr = 0;
	struct strbuf *out;

	strbuf_adds(snapshot_add(w, "base", 1), w->base_name);
	out = snapshot_add(w, "pages", 1);
	for (uint64_t first = 0, end; first < pages; first = end + 1) {
		uint8_t extent[EXTENT_BYTES];

		for (end = first; end < pages && (w->here[end / 64] >> (end % 64) & 1); end++)
			;
		if (end == first)
			continue;
		put_le32(extent, (uint32_t)first);
		put_le32(extent + 4, (uint32_t)(end - first));
		strbuf_add(out, extent, EXTENT_BYTES);
		nr++;
	}
	return nr > SNAPSHOT_EXTENTS ? err_set(err, -E2BIG, "its pages are in %u runs", nr) : 0;
}

int snapshot_end(struct snapshot_writer *w, struct err *err)
{
	uint64_t sums_bytes = w->memory_bytes / GUEST_PAGE_SIZE * SUM_BYTES;
	uint64_t at = SNAPSHOT_HEADER + w->memory_bytes;
	_cleanup_(mem_freep) uint8_t *header = mem_new(SNAPSHOT_HEADER);
	int r = w->base_name ? add_base(w, err) : 0;

	if (r < 0)
		return r;
	end_section(w);
	if (w->sections.n > SNAPSHOT_SECTIONS_BYTES)
		return err_set(err, -E2BIG, "the machine's state is larger than a snapshot holds");
	make_header(w, sums_bytes, header);
	r = fd_pwrite_full(w->fd, w->sums, sums_bytes, at);
	if (r == 0)
		r = fd_pwrite_full(w->fd, w->sections.p, w->sections.n, at + sums_bytes);
	if (r == 0)
		r = fd_pwrite_full(w->fd, header, SNAPSHOT_HEADER, 0);
	if (r < 0)
		return err_set(err, r, "write the snapshot: %s", strerror(-r));
	if (fdatasync(w->fd) < 0)
		return err_set_errno(err, "sync the snapshot");
	memcpy(w->self.id, header + H_ID, SNAPSHOT_ID);
	w->self.sum = get_le32(header + H_SUM);
	return 0;
}
