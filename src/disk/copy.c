/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving whole disks: copying one to another of any format, and comparing two.
 *
 * A few threads take the next piece each. A piece is what the source's map says is alike, so holes cost one
 * question, however long they are. Reading, looking for zeros, compressing and writing of different pieces go
 * on at the same time. Compressed clusters are written in order: they share clusters of the file with their
 * neighbours, and some formats can only be written from front to back. Others land where the threads' turns
 * put them, within a few pieces of the order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "sys/thread.h"

#define PIECE	    (2U << 20)
#define THREADS_MAX 64
#define ZERO_GRAIN  4096

struct job {
	struct disk *src, *dst;
	uint64_t size; /* of the source, or what both have */
	bool packed, dst_is_zero, compare;
	uint64_t piece;
	uint64_t other_bytes; /* what is compressed or compared with it */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;

	pthread_mutex_t lock;
	pthread_cond_t turn;
	struct disk_extent src_map, dst_map; /* the last answers of their maps */
	uint64_t next;			     /* offset of the next piece */
	uint64_t ticket;		     /* number of the next piece to be taken */
	uint64_t served;		     /* pieces that were written, with packed */
	uint64_t done;
	int r; /* first failure */
	uint64_t failed_at;
	bool differs;
};

/* Whether bytes are all zero; n > 0. */
static bool is_zero(const uint8_t *p, size_t n)
{
	size_t head = MIN(n, (size_t)16);

	for (size_t i = 0; i < head; i++)
		if (p[i])
			return false;
	return n <= 16 || memcmp(p, p + 16, n - 16) == 0;
}

static bool reads_zero(const struct disk_extent *e)
{
	return e->kind == DISK_ZERO || e->kind == DISK_HOLE;
}

/*
 * What stands at an offset, and how much of it. An answer is used until it ends: a file that has to look
 * for its holes page by page is asked once.
 */
static int look(struct disk *d, struct disk_extent *map, uint64_t off, uint64_t end,
		uint64_t *ret_len)
{
	if (off < map->off || off >= map->off + map->len) {
		int r = disk_map(d, off, end - off, map);

		if (r < 0)
			return r;
	}
	*ret_len = map->off + map->len - off;
	return 0;
}

/* The next piece: [*off, *off + *len), all of it zero or not. Holds the lock. */
static int next_piece(struct job *j, uint64_t *off, uint64_t *len, bool *zero)
{
	int r;

	*off = j->next;
	r = look(j->src, &j->src_map, *off, j->size, len);
	if (r < 0)
		return r;
	*zero = reads_zero(&j->src_map);
	if (j->compare) {
		uint64_t other;

		r = look(j->dst, &j->dst_map, *off, j->size, &other);
		if (r < 0)
			return r;
		*len = MIN(*len, other);
		*zero = *zero && reads_zero(&j->dst_map);
	}
	if (*zero && !j->packed)
		return 0;
	/* Up to a boundary, so that nobody else writes to the same cluster. */
	if (!*zero || *len < j->piece) {
		uint64_t end = align_down(*off, j->piece) + j->piece;

		*len = MIN(end, j->size) - *off;
		*zero = false;
	} else {
		*len = MIN(align_down(*off + *len, j->piece), j->size) - *off;
	}
	return 0;
}

/* --- copying ---------------------------------------------------------------------------------- */

static int write_zero(struct job *j, uint64_t off, uint64_t len)
{
	return j->dst_is_zero || !len ? 0 : disk_zero(j->dst, off, len, true);
}

/* Runs of data and zeros, told apart at @grain bytes. */
static int write_plain(struct job *j, uint64_t off, const uint8_t *p, uint64_t len)
{
	uint64_t at = 0;
	int r = 0;

	while (at < len && r == 0) {
		uint64_t grain = ZERO_GRAIN - ((off + at) & (ZERO_GRAIN - 1)), end;
		bool zero;

		end = at + MIN(grain, len - at);
		zero = is_zero(p + at, end - at);
		while (end < len) {
			uint64_t n = MIN((uint64_t)ZERO_GRAIN, len - end);

			if (is_zero(p + end, n) != zero)
				break;
			end += n;
		}
		r = zero ? write_zero(j, off + at, end - at)
			 : disk_write(j->dst, off + at, p + at, end - at);
		at = end;
	}
	return r;
}

struct packed_cluster {
	uint8_t *p;
	size_t n;
	bool zero;
};

/* One compressed cluster a turn; compression before it, writing in it. */
static int write_clusters(struct job *j, uint64_t off, uint8_t *p, uint64_t len, uint64_t ticket,
			  uint8_t *out)
{
	uint32_t cluster = disk_cluster(j->dst);
	uint64_t n = (len + cluster - 1) / cluster;
	_cleanup_(mem_freep) struct packed_cluster *all =
		mem_new_n(MAX(n, UINT64_C(1)), sizeof(*all));
	int r = 0;

	memset(p + len, 0, n * cluster - len);
	for (uint64_t i = 0; i < n && r == 0; i++) {
		all[i].p = out + i * disk_pack_max(j->dst);
		all[i].zero = is_zero(p + i * cluster, cluster);
		if (!all[i].zero)
			r = disk_pack(j->dst, p + i * cluster, all[i].p, &all[i].n);
	}
	mutex_lock(&j->lock);
	while (j->served != ticket && j->r == 0)
		cond_wait(&j->turn, &j->lock);
	r = r < 0 ? r : j->r;
	mutex_unlock(&j->lock);
	for (uint64_t i = 0; i < n && r == 0; i++) {
		uint64_t at = off + i * cluster;

		if (all[i].zero)
			r = write_zero(j, at, MIN((uint64_t)cluster, off + len - at));
		else if (all[i].n)
			r = disk_write_packed(j->dst, at, all[i].p, all[i].n);
		else
			r = disk_write(j->dst, at, p + i * cluster,
				       MIN((uint64_t)cluster, off + len - at));
	}
	return r;
}

static void end_turn(struct job *j)
{
	mutex_lock(&j->lock);
	j->served++;
	pthread_cond_broadcast(&j->turn);
	mutex_unlock(&j->lock);
}

static int copy_piece(struct job *j, uint64_t off, uint64_t len, bool zero, uint64_t ticket,
		      uint8_t *buf, uint8_t *out)
{
	int r = 0;

	if (zero && !j->packed)
		return write_zero(j, off, len);
	if (zero) {
		mutex_lock(&j->lock);
		while (j->served != ticket && j->r == 0)
			cond_wait(&j->turn, &j->lock);
		r = j->r;
		mutex_unlock(&j->lock);
		return r < 0 ? r : write_zero(j, off, len);
	}
	r = disk_read(j->src, off, buf, len);
	if (r < 0)
		return r;
	return j->packed ? write_clusters(j, off, buf, len, ticket, out)
			 : write_plain(j, off, buf, len);
}

/* --- comparing -------------------------------------------------------------------------------- */

static int compare_piece(struct job *j, uint64_t off, uint64_t len, bool zero, uint8_t *a,
			 uint8_t *b, uint64_t *ret_differs)
{
	int r;

	*ret_differs = UINT64_MAX;
	if (zero)
		return 0;
	r = disk_read(j->src, off, a, len);
	if (r == 0)
		r = disk_read(j->dst, off, b, len);
	if (r < 0 || memcmp(a, b, len) == 0)
		return r;
	for (uint64_t i = 0; i < len; i++) {
		if (a[i] != b[i]) {
			*ret_differs = off + i;
			break;
		}
	}
	return 0;
}

/* --- threads ---------------------------------------------------------------------------------- */

static void fail(struct job *j, int r, uint64_t at)
{
	if (j->r == 0) {
		j->r = r;
		j->failed_at = at;
	}
	pthread_cond_broadcast(&j->turn);
}

static void work(void *arg)
{
	struct job *j = arg;
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	_cleanup_(mem_freep) uint8_t *other = NULL;
	int r = 0;

	/* Aligned, for files that are read or written past the cache. */
	if (posix_memalign((void **)&buf, 4096, j->piece) ||
	    posix_memalign((void **)&other, 4096, j->other_bytes))
		r = -ENOMEM;
	mutex_lock(&j->lock);
	if (r < 0)
		fail(j, r, j->next);
	while (j->r == 0 && j->next < j->size) {
		uint64_t off, len, ticket, differs = UINT64_MAX;
		bool zero;

		r = next_piece(j, &off, &len, &zero);
		if (r < 0) {
			fail(j, r, off);
			break;
		}
		j->next = off + len;
		ticket = j->ticket++;
		mutex_unlock(&j->lock);
		if (j->compare)
			r = compare_piece(j, off, len, zero, buf, other, &differs);
		else
			r = copy_piece(j, off, len, zero, ticket, buf, other);
		if (j->packed && r == 0)
			end_turn(j);
		mutex_lock(&j->lock);
		j->done += len;
		if (r < 0)
			fail(j, r, off);
		if (differs != UINT64_MAX) {
			/* Pieces before it may still be looked at by others. */
			j->failed_at = j->differs ? MIN(j->failed_at, differs) : differs;
			j->differs = true;
			j->next = j->size;
		}
		if (j->progress)
			j->progress(j->arg, j->done, j->size);
	}
	mutex_unlock(&j->lock);
}

static int run(struct job *j, unsigned nr_threads, struct err *err)
{
	struct thread *threads;
	unsigned n = 0;
	int r = 0;

	nr_threads = MIN(MAX(nr_threads, 1U), (unsigned)THREADS_MAX);
	threads = mem_new_n(nr_threads, sizeof(*threads));
	mutex_init(&j->lock);
	cond_init(&j->turn);
	/* The last one is this thread. */
	while (r == 0 && n < nr_threads - 1) {
		r = thread_start(&threads[n], "disk-copy", work, j, err);
		n += r == 0;
	}
	if (r == 0) {
		work(j);
	} else {
		mutex_lock(&j->lock);
		fail(j, r, 0);
		mutex_unlock(&j->lock);
	}
	for (unsigned i = 0; i < n; i++)
		thread_join(&threads[i]);
	free(threads);
	pthread_cond_destroy(&j->turn);
	pthread_mutex_destroy(&j->lock);
	return j->r;
}

int disk_copy(struct disk *src, struct disk *dst, const struct disk_copy_opts *o, struct err *err)
{
	struct job j = {
		.src = src,
		.dst = dst,
		.size = disk_size(src),
		.packed = o->packed || disk_must_pack(dst),
		.dst_is_zero = o->dst_is_zero,
		.progress = o->progress,
		.arg = o->arg,
	};
	int r;

	if (disk_size(dst) < j.size)
		return err_set(err, -ENOSPC, "the target has only %" PRIu64 " of %" PRIu64 " bytes",
			       disk_size(dst), j.size);
	/* Clusters are compressed as a whole; else those of some formats are larger than memory should be (VHDX:
	 * 256 MiB), and who writes the next part of one writes in place. */
	j.piece = j.packed ? MAX((uint64_t)PIECE, (uint64_t)disk_cluster(dst)) : PIECE;
	j.other_bytes = j.packed ? j.piece / disk_cluster(dst) * disk_pack_max(dst) : 1;
	r = run(&j, o->nr_threads, err);
	if (r == -EOPNOTSUPP && o->packed)
		return err_set(err, r, "the target's format has no compression");
	if (r < 0)
		return err_set(err, r, "copy at %" PRIu64 ": %s", j.failed_at, disk_strerror(r));
	/* What the target has behind the source's end reads zero. */
	if (!o->dst_is_zero && disk_size(dst) > j.size) {
		r = disk_zero(dst, j.size, disk_size(dst) - j.size, true);
		if (r < 0)
			return err_set(err, r, "write zeros behind the end: %s", disk_strerror(r));
	}
	return 0;
}

/* The part that only one of the two has must be zero. */
static int compare_rest(struct disk *longer, uint64_t from, uint64_t *ret_differs)
{
	_cleanup_(mem_freep) uint8_t *buf = mem_new(PIECE);
	uint64_t size = disk_size(longer);
	int r = 0;

	while (from < size && r == 0) {
		struct disk_extent e;
		uint64_t n;

		r = disk_map(longer, from, size - from, &e);
		if (r < 0)
			return r;
		n = reads_zero(&e) ? e.len : MIN(e.len, (uint64_t)PIECE);
		if (!reads_zero(&e)) {
			r = disk_read(longer, from, buf, n);
			for (uint64_t i = 0; r == 0 && i < n && !is_zero(buf, n); i++) {
				if (buf[i]) {
					*ret_differs = from + i;
					return 0;
				}
			}
		}
		from += n;
	}
	return r;
}

int disk_compare(struct disk *a, struct disk *b, const struct disk_copy_opts *o,
		 uint64_t *ret_differs, struct err *err)
{
	uint64_t a_size = disk_size(a), b_size = disk_size(b);
	struct job j = {
		.src = a,
		.dst = b,
		.size = MIN(a_size, b_size),
		.compare = true,
		.piece = PIECE,
		.other_bytes = PIECE,
		.progress = o->progress,
		.arg = o->arg,
	};
	int r = run(&j, o->nr_threads, err);

	*ret_differs = j.differs ? j.failed_at : UINT64_MAX;
	if (r == 0 && !j.differs && a_size != b_size)
		r = compare_rest(a_size > b_size ? a : b, j.size, ret_differs);
	return r < 0 ? err_set(err, r, "compare at %" PRIu64 ": %s", j.failed_at, disk_strerror(r))
		     : 0;
}
