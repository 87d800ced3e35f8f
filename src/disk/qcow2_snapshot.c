/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots of a qcow2 image: copies of the L1 table. What both reach is counted twice, and an
 * entry whose cluster is counted more than once loses the mark that allows writing in place.
 *
 * Each change is made beside what is in force, then one write of the header switches over: counts first,
 * then tables, a barrier, the header, a barrier, and only then what is not needed any more is given
 * back. A crash leaves leaks, and marks that are too careful or not yet cleared, which check finds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/mem.h"
#include "disk/qcow2_priv.h"

/* --- the table -------------------------------------------------------------------------------- */

static int read_one(struct qcow2 *q, uint64_t off, struct q2_snapshot *s, size_t *ret_used,
		    struct err *err)
{
	_cleanup_(mem_freep) uint8_t *p = NULL;
	size_t n = 256;

	for (int i = 0; i < 3; i++) {
		int r;

		free(p);
		p = mem_new(n); /* at most 40 + 1024 + 2 * 65535 bytes */
		r = disk_file_read(q->file, off, p, n);
		if (r < 0)
			return err_set(err, r, "read the snapshot table: %s", strerror(-r));
		r = q2_snapshot_parse(p, n, s, ret_used, err);
		if (r != -EAGAIN)
			return r;
		n = *ret_used;
	}
	return -EILSEQ;
}

int q2_snapshots_read(struct qcow2 *q, struct err *err)
{
	uint64_t at = q->h.snapshots_off;
	size_t used;
	int r;

	if (!q->h.nr_snapshots)
		return 0;
	if (at > disk_file_size(q->file))
		return err_set(err, -EILSEQ, "the snapshot table lies behind the end of the file");
	q->snapshots = mem_new_n(q->h.nr_snapshots, sizeof(*q->snapshots));
	for (uint32_t i = 0; i < q->h.nr_snapshots; i++) {
		struct q2_snapshot *s = &q->snapshots[i];

		r = read_one(q, at, s, &used, err);
		if (r < 0)
			return r;
		if (s->l1_size && (!s->l1_off || q2_l2_offset_ok(q, s->l1_off) < 0))
			return err_set(err, -EILSEQ, "L1 table of snapshot %u out of range", i);
		at += used;
		if (at - q->h.snapshots_off > Q2_SNAP_TABLE_MAX)
			return err_set(err, -EILSEQ, "the snapshot table is too large");
	}
	q->snapshots_bytes = at - q->h.snapshots_off;
	return 0;
}

void q2_snapshots_done(struct qcow2 *q)
{
	for (uint32_t i = 0; q->snapshots && i < q->h.nr_snapshots; i++)
		q2_snapshot_done(&q->snapshots[i]);
	free(q->snapshots);
	q->snapshots = NULL;
}

struct q2_snapshot *q2_snapshot_find(struct qcow2 *q, const char *name)
{
	for (uint32_t i = 0; i < q->h.nr_snapshots; i++)
		if (strcmp(q->snapshots[i].id, name) == 0)
			return &q->snapshots[i];
	for (uint32_t i = 0; i < q->h.nr_snapshots; i++)
		if (strcmp(q->snapshots[i].name, name) == 0)
			return &q->snapshots[i];
	return NULL;
}

static void put_snapshot(struct strbuf *out, const struct q2_snapshot *s)
{
	uint8_t p[64] = { 0 };
	uint32_t extra = MAX(s->extra_len, 24U);
	size_t id = strlen(s->id), name = strlen(s->name);

	put_be64(p, s->l1_off);
	put_be32(p + 8, s->l1_size);
	put_be16(p + 12, (uint16_t)id);
	put_be16(p + 14, (uint16_t)name);
	put_be32(p + 16, s->sec);
	put_be32(p + 20, s->nsec);
	put_be64(p + 24, s->vm_clock_ns);
	put_be32(p + 32, s->vm_state_bytes > UINT32_MAX ? 0 : (uint32_t)s->vm_state_bytes);
	put_be32(p + 36, extra);
	put_be64(p + 40, s->vm_state_bytes);
	put_be64(p + 48, s->disk_bytes);
	put_be64(p + 56, s->extra_len >= 24 ? s->icount : UINT64_MAX);
	strbuf_add(out, p, sizeof(p));
	if (extra > 24)
		strbuf_add(out, s->extra, extra - 24);
	strbuf_add(out, s->id, id);
	strbuf_add(out, s->name, name);
	while (out->n & 7)
		strbuf_addc(out, 0);
}

/*
 * Switch to a table with the snapshots [0, n) but @skip, of @all. q->snapshots is not touched.
 */
static int write_table(struct qcow2 *q, const struct q2_snapshot *all, uint32_t n, uint32_t skip,
		       struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf table = { 0 };
	uint64_t old_off = q->h.snapshots_off, old_n = q2_clusters(q, q->snapshots_bytes);
	uint64_t off = 0, got;
	uint32_t count = 0;
	int r = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (i == skip)
			continue;
		put_snapshot(&table, &all[i]);
		count++;
	}
	if (table.n > Q2_SNAP_TABLE_MAX || count > Q2_SNAPSHOTS_MAX)
		return err_set(err, -EFBIG, "too many snapshots");
	if (table.n) {
		r = q2_alloc(q, q2_clusters(q, table.n), true, &off, &got);
		if (r == 0)
			r = disk_file_write(q->file, off, table.p, table.n);
	}
	if (r == 0)
		r = q2_flush(q, true);
	if (r < 0)
		return err_set(err, r, "write the snapshot table: %s", strerror(-r));
	q->h.snapshots_off = off;
	q->h.nr_snapshots = count;
	q->snapshots_bytes = table.n;
	r = q2_header_write(q, Q2_H_NR_SNAPSHOTS, Q2_V2_HEADER);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r < 0) {
		q->is_corrupt = true; /* which table is in force is not known */
		return err_set(err, r, "write the header: %s", strerror(-r));
	}
	if (old_n)
		q2_free_later(q, old_off, old_n);
	return 0;
}

/* --- counts ----------------------------------------------------------------------------------- */

static int count_entry(struct qcow2 *q, uint64_t entry, int delta)
{
	uint64_t first, n;

	if (entry & Q2_COMPRESSED) {
		q2_packed_clusters(q, entry, &first, &n);
		return q2_refcount_add(q, first, n, delta);
	}
	if (!(entry & Q2_OFFSET))
		return 0;
	if (q2_l2_offset_ok(q, entry & Q2_OFFSET) < 0)
		return q2_corrupt(q);
	return q2_refcount_add(q, (entry & Q2_OFFSET) >> q->cluster_bits, 1, delta);
}

/*
 * Count everything that an L1 table reaches once more or once less. *steps: in, how many counts to change
 * at most; out, how many were.
 */
static int count_all(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, int delta,
		     uint64_t *steps)
{
	uint64_t limit = *steps;
	int r = 0;

	*steps = 0;
	for (uint32_t i = 0; i < l1_size; i++) {
		uint64_t off = l1[i] & Q2_OFFSET;
		struct q2_table *t;

		if (!off)
			continue;
		if (q2_l2_offset_ok(q, off) < 0)
			return q2_corrupt(q);
		r = q2_cache_get(q, &q->l2, off, 0, &t);
		for (uint64_t k = 0; r == 0 && k < UINT64_C(1) << q->l2_bits; k++) {
			if (*steps == limit)
				return 0;
			r = count_entry(q, q2_entry(q, t->p, k), delta);
			*steps += r == 0;
		}
		if (r < 0 || *steps == limit)
			return r;
		/* The table itself last: it must not go away while it is read. */
		r = q2_refcount_add(q, off >> q->cluster_bits, 1, delta);
		if (r < 0)
			return r;
		++*steps;
	}
	return 0;
}

/* Marks of the active tables: in place exactly where the count is 1. */
static int mark_copied(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->h.l1_size; i++) {
		uint64_t off = q->l1[i] & Q2_OFFSET, v, marked;
		struct q2_table *t;
		int r;

		if (!off)
			continue;
		r = q2_refcount_get(q, off >> q->cluster_bits, &v);
		if (r == 0)
			r = q2_cache_get(q, &q->l2, off, 0, &t);
		if (r < 0)
			return r;
		marked = off | (v == 1 ? Q2_COPIED : 0);
		if (q->l1[i] != marked) {
			q->l1[i] = marked;
			q->l1_dirty_from = MIN(q->l1_dirty_from, i);
			q->l1_dirty_to = MAX(q->l1_dirty_to, i + 1);
		}
		for (uint64_t k = 0; k < UINT64_C(1) << q->l2_bits; k++) {
			uint64_t entry = q2_entry(q, t->p, k);

			if (entry & Q2_COMPRESSED || !(entry & Q2_OFFSET))
				continue;
			r = q2_refcount_get(q, (entry & Q2_OFFSET) >> q->cluster_bits, &v);
			if (r < 0)
				return r;
			marked = (entry & ~Q2_COPIED) | (v == 1 ? Q2_COPIED : 0);
			if (marked == entry)
				continue;
			put_be64(t->p + k * q->l2_entry, marked);
			q2_table_dirty(&q->l2, t, (uint32_t)k * q->l2_entry, 8);
		}
	}
	return 0;
}

/* --- the three operations ----------------------------------------------------------------------- */

static int can_change(struct qcow2 *q, struct err *err)
{
	if (q->is_corrupt)
		return err_set(err, -EIO, "the image is corrupt");
	if (q->data != q->file)
		return err_set(err, -EOPNOTSUPP,
			       "an image with an external data file cannot have snapshots");
	if (q->refcount_max < 2)
		return err_set(err, -EOPNOTSUPP,
			       "reference counts of one bit leave no room for snapshots");
	return 0;
}

static char *new_id(const struct qcow2 *q)
{
	uint64_t id = 0, v;
	char text[24];

	for (uint32_t i = 0; i < q->h.nr_snapshots; i++)
		if (str_parse_u64(str_of(q->snapshots[i].id), 0, UINT64_MAX - 1, &v, NULL) == 0)
			id = MAX(id, v);
	snprintf(text, sizeof(text), "%" PRIu64, id + 1);
	return mem_strdup(text);
}

/* Everything that the active table reaches, counted once more; undone when it does not fit. */
static int count_up(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, struct err *err)
{
	uint64_t steps = UINT64_MAX;
	int r = count_all(q, l1, l1_size, 1, &steps);

	if (r < 0) {
		ignore_result(count_all(q, l1, l1_size, -1, &steps)); /* else leaks */
		if (r == -ERANGE)
			return err_set(err, r,
				       "the reference counts of the image are too narrow for another "
				       "snapshot");
		return err_set(err, r, "count references: %s", strerror(-r));
	}
	r = q2_flush(q, true);
	return r < 0 ? err_set(err, r, "write reference counts: %s", strerror(-r)) : 0;
}

static int copy_l1(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, uint64_t *ret_off,
		   struct err *err)
{
	_cleanup_(mem_freep) uint64_t *copy = NULL;
	uint64_t n = q2_clusters(q, (uint64_t)l1_size * 8), words = n << (q->cluster_bits - 3), got;
	int r;

	*ret_off = 0;
	if (!n)
		return 0;
	copy = mem_new_n(words, 8);
	for (uint32_t i = 0; i < l1_size; i++)
		copy[i] = l1[i] & ~Q2_COPIED;
	r = q2_alloc(q, n, true, ret_off, &got);
	if (r == 0)
		r = q2_words_write(q->file, *ret_off, copy, words);
	return r < 0 ? err_set(err, r, "write a copy of the L1 table: %s", strerror(-r)) : 0;
}

int q2_snapshot_create(struct image *img, const char *name, uint64_t wall_ns, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) struct q2_snapshot *all = NULL;
	uint32_t n = q->h.nr_snapshots;
	struct q2_snapshot *s;
	int r = can_change(q, err);

	if (r < 0)
		return r;
	if (!name[0] || strlen(name) > 255)
		return err_set(err, -EINVAL, "the name of a snapshot has 1 to 255 bytes");
	if (q2_snapshot_find(q, name))
		return err_set(err, -EEXIST, "there is a snapshot '%.60s' already", name);
	r = q2_flush(q, true);
	if (r < 0)
		return err_set(err, r, "write tables: %s", strerror(-r));
	all = mem_new_n((size_t)n + 1, sizeof(*all));
	if (n)
		memcpy(all, q->snapshots, n * sizeof(*all));
	s = &all[n];
	*s = (struct q2_snapshot){
		.l1_size = q->h.l1_size,
		.disk_bytes = img->size,
		.sec = (uint32_t)(wall_ns / NS_PER_S),
		.nsec = (uint32_t)(wall_ns % NS_PER_S),
		.id = new_id(q),
		.name = mem_strdup(name),
	};
	r = count_up(q, q->l1, q->h.l1_size, err);
	if (r == 0)
		r = copy_l1(q, q->l1, q->h.l1_size, &s->l1_off, err);
	if (r == 0) {
		r = mark_copied(q);
		if (r < 0)
			err_set(err, r, "mark shared clusters: %s", strerror(-r));
	}
	if (r == 0)
		r = write_table(q, all, n + 1, UINT32_MAX, err);
	if (r < 0) {
		q2_snapshot_done(s);
		return r;
	}
	free(q->snapshots);
	q->snapshots = take_ptr(&all);
	return 0;
}

int q2_snapshot_delete(struct image *img, const char *name, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) uint64_t *l1 = NULL;
	uint32_t n = q->h.nr_snapshots, at;
	uint64_t steps = UINT64_MAX;
	struct q2_snapshot *s;
	int r = can_change(q, err);

	if (r < 0)
		return r;
	s = q2_snapshot_find(q, name);
	if (!s)
		return err_set(err, -ENOENT, "there is no snapshot '%.60s'", name);
	at = (uint32_t)(s - q->snapshots);
	r = mem_try(&l1, MAX((size_t)s->l1_size * 8, (size_t)8), Q2_L1_BYTES_MAX);
	if (r == 0)
		r = q2_words_read(q->file, s->l1_off, l1, s->l1_size);
	if (r < 0)
		return err_set(err, r, "read the snapshot's L1 table: %s", strerror(-r));
	r = write_table(q, q->snapshots, n, at, err);
	if (r < 0)
		return r;
	/* Nothing on the medium names it any more. */
	r = count_all(q, l1, s->l1_size, -1, &steps);
	if (r == 0 && s->l1_size)
		r = q2_refcount_add(q, s->l1_off >> q->cluster_bits,
				    q2_clusters(q, (uint64_t)s->l1_size * 8), -1);
	if (r == 0)
		r = mark_copied(q);
	q2_snapshot_done(s);
	memmove(s, s + 1, (n - at - 1) * sizeof(*s));
	return r < 0 ? err_set(err, r, "count references: %s", strerror(-r)) : 0;
}

/* The header, and what we hold, to another L1 table and size. */
static int switch_l1(struct qcow2 *q, uint64_t *l1, uint32_t l1_size, uint64_t off, uint64_t size,
		     struct err *err)
{
	int r;

	q->h.size = size;
	q->h.l1_size = l1_size;
	q->h.l1_off = off;
	q->l1 = l1;
	q->img->size = align_up(size, 512);
	r = q2_header_write(q, Q2_H_SIZE, Q2_H_RT_OFF);
	if (r == 0)
		r = disk_file_sync(q->file);
	if (r < 0) {
		q->is_corrupt = true; /* which table is in force is not known */
		return err_set(err, r, "write the header: %s", strerror(-r));
	}
	return 0;
}

int q2_snapshot_apply(struct image *img, const char *name, struct err *err)
{
	struct qcow2 *q = img->priv;
	_cleanup_(mem_freep) uint64_t *l1 = NULL, *old = NULL;
	uint64_t size, off, old_off = q->h.l1_off, steps = UINT64_MAX, n;
	uint32_t old_size = q->h.l1_size;
	const struct q2_snapshot *s;
	int r = can_change(q, err);

	if (r < 0)
		return r;
	s = q2_snapshot_find(q, name);
	if (!s)
		return err_set(err, -ENOENT, "there is no snapshot '%.60s'", name);
	size = s->disk_bytes ? s->disk_bytes : q->h.size;
	if (size != q->h.size && q->h.nr_bitmaps)
		return err_set(err, -EOPNOTSUPP, "an image with bitmaps cannot change its size");
	n = MAX((uint64_t)s->l1_size, q2_l1_entries(q, size));
	r = mem_try(&l1, MAX(n * 8, (size_t)8), Q2_L1_BYTES_MAX);
	if (r == 0)
		r = q2_words_read(q->file, s->l1_off, l1, s->l1_size);
	if (r == 0)
		r = q2_flush(q, true);
	if (r < 0)
		return err_set(err, r, "read the snapshot's L1 table: %s", strerror(-r));
	for (uint64_t i = 0; i < n; i++)
		l1[i] &= ~Q2_COPIED;
	r = count_up(q, l1, (uint32_t)n, err);
	if (r == 0)
		r = copy_l1(q, l1, (uint32_t)n, &off, err);
	if (r == 0) {
		r = q2_flush(q, true);
		if (r < 0)
			err_set(err, r, "write tables: %s", strerror(-r));
	}
	if (r < 0)
		return r;
	old = q->l1;
	r = switch_l1(q, take_ptr(&l1), (uint32_t)n, off, size, err);
	if (r < 0)
		return r;
	r = count_all(q, old, old_size, -1, &steps);
	if (r == 0 && old_size)
		r = q2_refcount_add(q, old_off >> q->cluster_bits,
				    q2_clusters(q, (uint64_t)old_size * 8), -1);
	if (r == 0)
		r = mark_copied(q);
	return r < 0 ? err_set(err, r, "count references: %s", strerror(-r)) : 0;
}
