/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of VHDX files: a ring of 4 KiB sectors, through which every change of the tables goes, so that
 * a crash leaves the tables either as they were or as they were to become. Entries are found by looking
 * (nothing says where the newest is): the active sequence is the valid run of entries with the highest
 * sequence number. The ring is taken into memory as a whole, since it has 1 MiB as a rule; an entry is
 * made flat before it is read, since it may wrap around the end of the ring.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/crc32c.h"
#include "disk/vhdx/vhdx_priv.h"

enum {
	/* entry header (2.3.1.1) */
	LOG_CHECKSUM = 4,
	LOG_LENGTH = 8,
	LOG_TAIL = 12,
	LOG_SEQ = 16,
	LOG_COUNT = 24,
	LOG_GUID = 32,
	LOG_FLUSHED = 48,
	LOG_LAST = 56,
	/* descriptors (2.3.1.2, 2.3.1.3) */
	DESC_TRAILING = 4, /* last 4 bytes of the page */
	DESC_LEADING = 8,  /* first 8 bytes of the page, or length of the zeros */
	DESC_OFF = 16,
	DESC_SEQ = 24,
	/* data sector (2.3.1.4) */
	DATA_SEQ_HIGH = 4,
	DATA_BYTES = 8,
	DATA_SEQ_LOW = 4092,
};

static uint32_t descriptors_size(uint32_t count)
{
	return (uint32_t)align_up(VHDX_LOG_HEADER_SIZE + (uint64_t)count * VHDX_DESCRIPTOR_SIZE,
				  VHDX_SECTOR);
}

/* A part of the ring as one piece: in place, or in *copy where it wraps. */
static int flat(const uint8_t *log, uint32_t n, uint32_t pos, uint32_t length, uint8_t **copy,
		const uint8_t **ret)
{
	int r;

	if (length <= n - pos) {
		*ret = log + pos;
		return 0;
	}
	r = mem_try(copy, length, VHDX_LOG_MAX);
	if (r < 0)
		return r;
	memcpy(*copy, log + pos, n - pos);
	memcpy(*copy + (n - pos), log, length - (n - pos));
	*ret = *copy;
	return 0;
}

/* Descriptors and data sectors agree with the header. */
static bool body_is_valid(const uint8_t *p, const struct vhdx_log_entry *e)
{
	uint64_t nr_data = 0, area = descriptors_size(e->nr_descriptors);

	for (uint32_t i = 0; i < e->nr_descriptors; i++) {
		const uint8_t *d = p + VHDX_LOG_HEADER_SIZE + (size_t)i * VHDX_DESCRIPTOR_SIZE;
		uint64_t off = get_le64(d + DESC_OFF), end;

		if (get_le64(d + DESC_SEQ) != e->seq || off % VHDX_SECTOR)
			return false;
		if (!memcmp(d, "desc", 4)) {
			nr_data++;
			if (!add_ok(off, VHDX_SECTOR, &end) || end > INT64_MAX)
				return false;
		} else if (!memcmp(d, "zero", 4)) {
			uint64_t length = get_le64(d + DESC_LEADING);

			if (length % VHDX_SECTOR || !add_ok(off, length, &end) || end > INT64_MAX)
				return false;
		} else {
			return false;
		}
	}
	if (area + nr_data * VHDX_SECTOR != e->length)
		return false;
	for (uint64_t i = 0; i < nr_data; i++) {
		const uint8_t *s = p + area + i * VHDX_SECTOR;

		if (memcmp(s, "data", 4) || get_le32(s + DATA_SEQ_HIGH) != e->seq >> 32 ||
		    get_le32(s + DATA_SEQ_LOW) != (uint32_t)e->seq)
			return false;
	}
	return true;
}

int vhdx_log_entry_parse(const uint8_t *log, uint32_t n, uint32_t pos, const struct guid *log_guid,
			 struct vhdx_log_entry *ret)
{
	static const uint8_t zero[4];
	_cleanup_(mem_freep) uint8_t *copy = NULL;
	const uint8_t *p = log + pos;
	struct vhdx_log_entry e = { .pos = pos };
	uint32_t crc;
	int r;

	if (memcmp(p, "loge", 4) || memcmp(p + LOG_GUID, log_guid->b, 16))
		return -ENOENT;
	e.length = get_le32(p + LOG_LENGTH);
	e.tail = get_le32(p + LOG_TAIL);
	e.seq = get_le64(p + LOG_SEQ);
	e.nr_descriptors = get_le32(p + LOG_COUNT);
	e.flushed_size = get_le64(p + LOG_FLUSHED);
	e.last_size = get_le64(p + LOG_LAST);
	if (!e.length || e.length % VHDX_SECTOR || e.length > n || e.tail % VHDX_SECTOR ||
	    e.tail >= n || !e.seq || e.nr_descriptors > e.length / VHDX_DESCRIPTOR_SIZE ||
	    descriptors_size(e.nr_descriptors) > e.length || e.flushed_size > INT64_MAX ||
	    e.last_size > INT64_MAX)
		return -ENOENT;
	r = flat(log, n, pos, e.length, &copy, &p);
	if (r < 0)
		return r;
	crc = crc32c(0, p, LOG_CHECKSUM);
	crc = crc32c(crc, zero, sizeof(zero));
	crc = crc32c(crc, p + LOG_CHECKSUM + 4, e.length - LOG_CHECKSUM - 4);
	if (crc != get_le32(p + LOG_CHECKSUM) || !body_is_valid(p, &e))
		return -ENOENT;
	*ret = e;
	return 0;
}

/*
 * The run of entries that begins at @start: how long it is, and whether it is a sequence, that is, the
 * last entry's tail is one of them.
 */
struct run {
	uint32_t length; /* bytes; 0: no entry at all */
	bool is_valid;
	struct vhdx_log_active active;
};

static int run_at(const uint8_t *log, uint32_t n, uint32_t start, const struct guid *log_guid,
		  struct run *ret)
{
	struct vhdx_log_entry e = { 0 }, next;
	struct run run = { 0 };
	uint32_t pos = start;
	int r;

	for (;;) {
		r = vhdx_log_entry_parse(log, n, pos, log_guid, &next);
		if (r == -ENOENT)
			break;
		if (r < 0)
			return r;
		if (run.length && next.seq != e.seq + 1)
			break;
		if (next.length > n - run.length)
			break;
		e = next;
		run.length += e.length;
		pos = (uint32_t)(((uint64_t)pos + e.length) % n);
		if (run.length == n)
			break;
	}
	/* Entries from the tail on are what is active. */
	for (uint32_t at = 0; at < run.length && !run.is_valid;) {
		uint32_t p = (uint32_t)(((uint64_t)start + at) % n);

		/* It was whole a moment ago: the length can be trusted. */
		if (p == e.tail) {
			run.is_valid = true;
			run.active = (struct vhdx_log_active){
				.tail = p,
				.seq = e.seq,
				.flushed_size = e.flushed_size,
				.last_size = e.last_size,
				.nr_entries = (uint32_t)(e.seq - get_le64(log + p + LOG_SEQ) + 1),
			};
		}
		at += get_le32(log + p + LOG_LENGTH);
	}
	*ret = run;
	return 0;
}

int vhdx_log_find(const uint8_t *log, uint32_t n, const struct guid *log_guid,
		  struct vhdx_log_active *ret, struct err *err)
{
	struct vhdx_log_active best = { 0 };

	for (uint64_t at = 0; at < n;) {
		struct run run;
		int r = run_at(log, n, (uint32_t)at, log_guid, &run);

		if (r < 0)
			return err_wrap(err, r, "VHDX log");
		if (run.is_valid && run.active.seq > best.seq)
			best = run.active;
		/* A later start in the same run ends in the same entry: no better. */
		at += run.length ? run.length : VHDX_SECTOR;
	}
	if (!best.nr_entries)
		return err_set(
			err, -EILSEQ,
			"VHDX log holds no valid sequence, although the header says that it does");
	*ret = best;
	return 0;
}

/* @page: room for one. */
static int replay_entry(const uint8_t *p, const struct vhdx_log_entry *e, uint8_t *page,
			int (*apply)(void *arg, uint64_t off, uint64_t len, const uint8_t *data),
			void *arg)
{
	const uint8_t *sector = p + descriptors_size(e->nr_descriptors);
	int r = 0;

	for (uint32_t i = 0; i < e->nr_descriptors && r >= 0; i++) {
		const uint8_t *d = p + VHDX_LOG_HEADER_SIZE + (size_t)i * VHDX_DESCRIPTOR_SIZE;
		uint64_t off = get_le64(d + DESC_OFF);

		if (!memcmp(d, "zero", 4)) {
			r = apply(arg, off, get_le64(d + DESC_LEADING), NULL);
			continue;
		}
		memcpy(page, d + DESC_LEADING, 8);
		memcpy(page + 8, sector + DATA_BYTES, VHDX_DATA_IN_SECTOR);
		memcpy(page + VHDX_SECTOR - 4, d + DESC_TRAILING, 4);
		sector += VHDX_SECTOR;
		r = apply(arg, off, VHDX_SECTOR, page);
	}
	return r < 0 ? r : 0;
}

int vhdx_log_replay(const uint8_t *log, uint32_t n, const struct guid *log_guid,
		    const struct vhdx_log_active *active,
		    int (*apply)(void *arg, uint64_t off, uint64_t len, const uint8_t *data),
		    void *arg, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *page = mem_new(VHDX_SECTOR);
	uint32_t pos = active->tail;

	for (uint32_t i = 0; i < active->nr_entries; i++) {
		_cleanup_(mem_freep) uint8_t *copy = NULL;
		struct vhdx_log_entry e;
		const uint8_t *p;
		int r;

		r = vhdx_log_entry_parse(log, n, pos, log_guid, &e);
		if (r == -ENOENT)
			return err_set(err, -EILSEQ, "VHDX log entry at %u is damaged", pos);
		if (!r)
			r = flat(log, n, pos, e.length, &copy, &p);
		if (!r)
			r = replay_entry(p, &e, page, apply, arg);
		if (r < 0)
			return err_wrap(err, r, "replay of VHDX log entry %llu",
					(unsigned long long)e.seq);
		pos = (uint32_t)(((uint64_t)pos + e.length) % n);
	}
	return 0;
}

uint32_t vhdx_log_entry_size(uint32_t nr_pages)
{
	return descriptors_size(nr_pages) + nr_pages * VHDX_SECTOR;
}

void vhdx_log_entry_put(struct vhdx_log_entry *e, const struct guid *log_guid,
			const struct vhdx_log_page *pages, uint32_t nr_pages, uint8_t *p)
{
	e->nr_descriptors = nr_pages;
	e->length = vhdx_log_entry_size(nr_pages);
	memcpy(p, "loge", 4);
	put_le32(p + LOG_LENGTH, e->length);
	put_le32(p + LOG_TAIL, e->tail);
	put_le64(p + LOG_SEQ, e->seq);
	put_le32(p + LOG_COUNT, nr_pages);
	memcpy(p + LOG_GUID, log_guid->b, 16);
	put_le64(p + LOG_FLUSHED, e->flushed_size);
	put_le64(p + LOG_LAST, e->last_size);
	for (uint32_t i = 0; i < nr_pages; i++) {
		uint8_t *d = p + VHDX_LOG_HEADER_SIZE + (size_t)i * VHDX_DESCRIPTOR_SIZE;
		uint8_t *s = p + descriptors_size(nr_pages) + (size_t)i * VHDX_SECTOR;

		memcpy(d, "desc", 4);
		memcpy(d + DESC_TRAILING, pages[i].data + VHDX_SECTOR - 4, 4);
		memcpy(d + DESC_LEADING, pages[i].data, 8);
		put_le64(d + DESC_OFF, pages[i].off);
		put_le64(d + DESC_SEQ, e->seq);
		memcpy(s, "data", 4);
		put_le32(s + DATA_SEQ_HIGH, (uint32_t)(e->seq >> 32));
		memcpy(s + DATA_BYTES, pages[i].data + 8, VHDX_DATA_IN_SECTOR);
		put_le32(s + DATA_SEQ_LOW, (uint32_t)e->seq);
	}
	put_le32(p + LOG_CHECKSUM, crc32c(0, p, e->length));
}
