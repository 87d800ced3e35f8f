/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_POWER_CUT_H
#define ATOLL_TESTS_POWER_CUT_H

/*
 * Images as a power cut leaves them. All changes of an image's files are recorded, with the syncs between them.
 * A cut image is made of a prefix of the record: everything before its last sync, and of what came after any
 * part. Writes of more than a sector may be torn at a sector.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "unit.h"

struct cut_event {
	enum disk_event event;
	uint64_t off, len;
	uint8_t *data;
};

/* What the guest did: a sector's content between two flushes is one of several. */
struct cut_write {
	uint64_t off, len;
	uint8_t value;
};

struct power_cut {
	struct disk_observer observer;
	struct cut_event *events;
	size_t nr, cap;
	uint8_t *start; /* the file before */
	uint64_t start_size;
	struct cut_write *writes;
	size_t nr_writes;
	struct {
		uint64_t at;
		size_t nr_writes;
		uint8_t *model;
	} marks[32];
	size_t nr_marks;
	uint64_t size;
};

#define POWER_CUT_INIT                                                                             \
	{                                                                                          \
		.observer = { power_cut_event }                                                    \
	}

static inline int power_cut_event(struct disk_observer *o, enum disk_event event, const char *path,
				  uint64_t off, uint64_t len, const struct iovec *iov,
				  unsigned nr_iov)
{
	struct power_cut *c = container_of(o, struct power_cut, observer);
	struct cut_event *e;
	uint8_t *p;

	if (c->nr == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 256;
		c->events = mem_renew(c->events, c->cap, sizeof(*c->events));
	}
	e = &c->events[c->nr++];
	*e = (struct cut_event){ .event = event, .off = off, .len = len };
	if (event != DISK_EVENT_WRITE)
		return 0;
	p = e->data = malloc(len + 1);
	for (uint64_t done = 0; done < len && nr_iov; iov++, nr_iov--) {
		uint64_t n = MIN(iov->iov_len, len - done);

		memcpy(p + done, iov->iov_base, n);
		done += n;
	}
	return 0;
}

static inline uint8_t *power_cut_read(const char *path, uint64_t *ret_size)
{
	FILE *f = fopen(path, "r");
	uint8_t *p;

	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*ret_size = (uint64_t)ftell(f);
	rewind(f);
	p = malloc(*ret_size + 1);
	assert_int_equal(fread(p, 1, *ret_size, f), *ret_size);
	fclose(f);
	return p;
}

static inline void power_cut_mark(struct power_cut *c, const uint8_t *model, uint64_t size)
{
	assert_true(c->nr_marks < ARRAY_SIZE(c->marks));
	c->size = size;
	c->marks[c->nr_marks].at = c->nr;
	c->marks[c->nr_marks].nr_writes = c->nr_writes;
	c->marks[c->nr_marks].model = malloc(size);
	memcpy(c->marks[c->nr_marks++].model, model, size);
}

static inline void power_cut_begin(struct power_cut *c, const char *path)
{
	c->start = power_cut_read(path, &c->start_size);
}

/* The guest has written. */
static inline void power_cut_wrote(struct power_cut *c, uint64_t off, uint64_t len, uint8_t value)
{
	c->writes = mem_renew(c->writes, c->nr_writes + 1, sizeof(*c->writes));
	c->writes[c->nr_writes++] = (struct cut_write){ off, len, value };
}

static inline void power_cut_end(struct power_cut *c)
{
	for (size_t i = 0; i < c->nr; i++)
		free(c->events[i].data);
	for (size_t i = 0; i < c->nr_marks; i++)
		free(c->marks[i].model);
	free(c->events);
	free(c->writes);
	free(c->start);
}

static inline void power_cut_apply(uint8_t **file, uint64_t *size, const struct cut_event *e,
				   uint64_t from, uint64_t to)
{
	uint64_t end = e->event == DISK_EVENT_TRUNCATE ? e->off : e->off + to;

	if (e->event == DISK_EVENT_SYNC)
		return;
	if (end > *size || e->event == DISK_EVENT_TRUNCATE) {
		*file = mem_renew(*file, end + 1, 1);
		if (end > *size)
			memset(*file + *size, 0, end - *size);
		*size = end;
	}
	if (e->event == DISK_EVENT_WRITE)
		memcpy(*file + e->off + from, e->data + from, to - from);
	else if (e->event == DISK_EVENT_ZERO)
		memset(*file + e->off + from, 0, to - from);
}

/* The image after a cut somewhere, @choice says where, in file @path. Returns how much was recorded. */
static inline uint64_t power_cut_make(struct power_cut *c, uint64_t choice, const char *path)
{
	uint64_t cut = choice % (c->nr + 1), synced = 0, size = c->start_size;
	uint8_t *file = malloc(size + 1);
	FILE *f;

	memcpy(file, c->start, size);
	for (uint64_t i = 0; i < cut; i++)
		if (c->events[i].event == DISK_EVENT_SYNC)
			synced = i;
	for (uint64_t i = 0; i < cut; i++) {
		const struct cut_event *e = &c->events[i];
		uint64_t to = e->len, from = 0;

		choice = choice * UINT64_C(6364136223846793005) + 99;
		if (i > synced && e->event != DISK_EVENT_TRUNCATE) {
			switch (choice >> 61) {
			case 0:
			case 1:
				continue; /* lost */
			case 2:
				to = e->len / 1024 * 512; /* its first half got there */
				break;
			case 3:
				from = e->len / 1024 * 512; /* its second half */
				break;
			}
		}
		power_cut_apply(&file, &size, e, from, to);
	}
	f = fopen(path, "w");
	assert_int_equal(fwrite(file, 1, size, f), size);
	fclose(f);
	free(file);
	return cut;
}

/* What was flushed before the cut is there, or what was written over it since. */
static inline void power_cut_check(struct power_cut *c, uint64_t cut, struct disk *d)
{
	uint8_t *buf = mem_new(c->size), *want = mem_new(c->size);
	size_t from = 0;

	for (size_t i = 0; i < c->nr_marks && c->marks[i].at <= cut; i++) {
		memcpy(want, c->marks[i].model, c->size);
		from = c->marks[i].nr_writes;
	}
	assert_int_equal(disk_read(d, 0, buf, c->size), 0);
	for (uint64_t s = 0; s < c->size; s += 512) {
		bool ok = !memcmp(buf + s, want + s, 512);

		for (size_t i = from; i < c->nr_writes && !ok; i++) {
			const struct cut_write *w = &c->writes[i];

			if (s >= w->off && s < w->off + w->len)
				ok = buf[s] == w->value && !memcmp(buf + s, buf + s + 1, 511);
		}
		if (!ok)
			fail_msg("cut at %llu of %zu: sector %llu holds %02x, flushed was %02x",
				 (unsigned long long)cut, c->nr, (unsigned long long)s / 512,
				 buf[s], want[s]);
	}
	free(buf);
	free(want);
}

static inline void power_cut_check_sound(const char *path, const char *format)
{
	const struct disk_open_opts o = { .format = format };
	struct disk_check check = { 0 };
	struct err err = ERR_INIT;
	struct disk *d = NULL;

	if (disk_open(path, &o, &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	if (disk_check(d, &check, &err) < 0 && err.code != -EOPNOTSUPP)
		fail_msg("%s", err_text(&err));
	assert_int_equal(check.errors, 0);
	disk_closep(&d);
}

#endif
