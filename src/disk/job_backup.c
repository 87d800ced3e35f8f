/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup: what the disk holds at one moment, or what has changed since an earlier one, goes to another disk while the first
 * goes on being used.
 *
 *	1. All held, on the thread of who starts the job: what is to be copied is noted (`todo`), and from now on what changes
 *	   (`since`).
 *	2. The job copies from the front. A write to a part that is still to be copied copies that part first.
 *	3. The target is on the medium, and closed.
 *	4. All held: the bitmap becomes `since`, stored. This is the only change of the disk.
 *
 * So the target is the disk of the moment of step 1, and the bitmap says "since then" only once the backup is there:
 * after a failure, a cancel or a crash before step 4 it says "since the one before", which another attempt needs. (A
 * machine that crashes leaves it out of date anyway.) A target that is not complete does not say so; who made it removes it.
 *
 * Between being noted and being copied, a part does not change, nor where it lies: whoever wants to change it comes
 * through before() first. Therefore copying needs no hold of a range but only `lock`, and a writer that holds a range
 * may wait for it. Requests to such parts are a worker's, since graph_is_in_place() denies them; the rest goes on as
 * ever. A target that cannot be written fails the job, not the guest.
 *
 * Rejected: a snapshot below which is merged back afterwards, which writes everything that changes twice; writing new
 * data elsewhere until the copy is done, which makes every backup a change of the graph.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/job_priv.h"
#include "sys/thread.h"

enum { GRAIN_BITS = 16 };
#define BUF_BYTES                                                                                  \
	(2U << 20) /* also the largest cluster of a target that is not copied to as a whole */

struct backup {
	struct guard guard;
	struct job *job;
	struct disk *target;
	struct dirty *since; /* NULL: nobody wants to know */
	pthread_mutex_t
		lock; /* who holds it copies; guards the rest, and what guard.todo has marked */
	uint8_t *buf;
	int r; /* first failure */
	uint64_t failed_at;
};

/* --- copying, under the lock ------------------------------------------------------------------ */

static int write_zero(struct backup *b, uint64_t off, uint64_t len)
{
	int r = 0;

	for (uint64_t end = off + len, n; off < end && r == 0; off += n) {
		struct disk_extent e;

		r = disk_map(b->target, off, end - off, &e);
		if (r < 0)
			return r;
		n = e.len;
		/* Below an increment is another backup, in which something may be. */
		if (e.kind != DISK_ZERO && (e.kind != DISK_HOLE || b->job->opts.is_increment))
			r = disk_zero(b->target, off, n, true);
	}
	return r;
}

/* Bytes in memory, told apart by grains. */
static int write_grains(struct backup *b, uint64_t off, uint64_t len)
{
	uint64_t grain = UINT64_C(1) << GRAIN_BITS, n;
	int r = 0;

	for (uint64_t at = 0; at < len && r == 0; at += n) {
		bool zero = bytes_are(b->buf + at, MIN(grain, len - at), 0);

		n = MIN(grain, len - at);
		while (at + n < len &&
		       bytes_are(b->buf + at + n, MIN(grain, len - at - n), 0) == zero)
			n += MIN(grain, len - at - n);
		r = zero ? write_zero(b, off + at, n)
			 : disk_write(b->target, off + at, b->buf + at, n);
	}
	return r;
}

/* The first that is marked from @from on: one buffer, or as much as is zero. *ret_end: 0 when there is none. */
static int step(struct backup *b, uint64_t from, uint64_t *ret_end, uint64_t *ret_copied)
{
	struct image *top = b->job->upper;
	struct iovec iov = { b->buf, 0 };
	struct iov_iter it;
	struct merged m;
	uint64_t off, len;
	int r;

	*ret_end = *ret_copied = 0;
	if (!dirty_next(b->guard.todo, from, BUF_BYTES, &off, &len))
		return 0;
	r = graph_map_holes(top, off, top->size - off, &m);
	if (r == 0 && (!m.img || m.at.where == WHERE_ZERO) && m.at.len >= len) {
		dirty_next(b->guard.todo, off, m.at.len, &off, &len);
		r = write_zero(b, off, len);
	} else if (r == 0) {
		iov.iov_len = len;
		it = iov_iter(&iov, 1);
		r = graph_read(top, off, &it, len);
		if (r == 0)
			r = write_grains(b, off, len);
		*ret_copied = len;
	}
	if (r < 0) {
		b->failed_at = off;
		return r;
	}
	dirty_clear(b->guard.todo, off, len);
	*ret_end = off + len;
	return 0;
}

/* The guest is about to change something. */
static void before(struct guard *g, uint64_t off, uint64_t len)
{
	struct backup *b = container_of(g, struct backup, guard);
	uint64_t end, copied;

	if (!dirty_is_marked(g->todo, off, len))
		return;
	mutex_guard(&b->lock);
	while (b->r == 0 && dirty_is_marked(g->todo, off, len))
		b->r = step(b, off, &end, &copied);
}

static int copy_all(struct backup *b)
{
	uint64_t at = 0, end, copied;

	for (;;) {
		int r;

		if (job_is_cancelled(b->job))
			return -ECANCELED;
		mutex_lock(&b->lock);
		r = b->r;
		if (r == 0)
			r = b->r = step(b, at, &end, &copied);
		mutex_unlock(&b->lock);
		if (r < 0 || !end)
			return r;
		job_progress(b->job, end - at, 0);
		job_pace(b->job, copied);
		at = end;
	}
}

/* --- beginning and end ------------------------------------------------------------------------- */

/* Whole clusters of the target, which is then never asked for what stood there. */
static unsigned grain_bits(struct disk *target)
{
	return MAX((unsigned)GRAIN_BITS,
		   (unsigned)__builtin_ctz(MIN(disk_cluster(target), BUF_BYTES)));
}

int job_backup_check(struct job *j, struct err *err)
{
	const struct disk_job_opts *o = &j->opts;
	struct dirty *bits;
	int r;

	if (disk_size(o->target) < j->upper->size)
		return err_set(err, -EINVAL, "the target is smaller than the disk");
	if (!(disk_flags(o->target) & DISK_RDWR) || disk_must_pack(o->target))
		return err_set(err, -EROFS, "the target cannot be written");
	if (o->is_increment && disk_cluster(o->target) > BUF_BYTES)
		return err_set(err, -EOPNOTSUPP, "the target has clusters of more than %u bytes",
			       BUF_BYTES);
	if (o->is_increment && !o->bitmap)
		return err_set(err, -EINVAL, "an increment needs a bitmap");
	if (o->bitmap && !(j->disk->flags & DISK_RDWR))
		return err_set(err, -EROFS, "the disk is open for reading, and so is its bitmap");
	if (o->bitmap && !j->upper->fmt->bitmap_change)
		return err_set(err, -EOPNOTSUPP, "'%s' has format %s, which has no bitmaps",
			       j->upper->path, j->upper->fmt->name);
	if (!o->is_increment)
		return 0;
	r = bitmap_bits(j->disk, o->bitmap, &bits, err);
	if (r == 0 && list_empty(&bits->link))
		r = err_set(err, -EINVAL, "bitmap '%.100s' does not follow writes", o->bitmap);
	return r;
}

/* What is to be copied. Everything is held. */
static int note(struct backup *b, struct err *err)
{
	struct job *j = b->job;
	unsigned bits = grain_bits(b->target);
	struct dirty *changed = NULL;
	uint64_t off = 0, len;
	int r = 0;

	if (j->opts.bitmap && bitmap_bits(j->disk, j->opts.bitmap, &changed, err) < 0 &&
	    j->opts.is_increment)
		return -ENOENT;
	while (bits < 21 && j->upper->size >> bits > UINT64_C(1) << 31)
		bits++;
	r = dirty_new(j->upper->size, bits, &b->guard.todo);
	if (r == 0 && j->opts.bitmap)
		r = dirty_new(j->upper->size, changed ? changed->grain_bits : GRAIN_BITS,
			      &b->since);
	if (r < 0)
		return err_set(err, r, "no memory to note what is to be copied");
	if (!j->opts.is_increment)
		dirty_mark(b->guard.todo, 0, j->upper->size);
	else
		for (; dirty_next(changed, off, BUF_BYTES, &off, &len); off += len)
			dirty_mark(b->guard.todo, off, len);
	job_progress(j, 0, j->opts.is_increment ? dirty_bytes(b->guard.todo) : j->upper->size);
	return 0;
}

static int begin(struct backup *b, struct err *err)
{
	struct job *j = b->job;
	struct disk_hold hold;
	int r = job_buffer(BUF_BYTES, &b->buf, err);

	if (r < 0)
		return r;
	graph_stop(j->disk, &hold);
	r = note(b, err);
	if (r == 0) {
		j->upper->guard = &b->guard;
		if (b->since)
			list_push(&j->disk->trackers, &b->since->link);
	}
	graph_go_on(j->disk, &hold);
	return r;
}

static int end_target(struct backup *b, int r, struct err *err)
{
	struct err story = ERR_INIT;
	int closed;

	if (r == 0)
		r = disk_flush(b->target);
	closed = disk_close(b->target, &story);
	if (r == 0 && closed < 0)
		return err_set(err, closed, "target: %s", story.text);
	return r;
}

static int end(struct backup *b, int r, struct err *err)
{
	struct job *j = b->job;
	const struct bitmap_change restart = { .user = { .name = j->opts.bitmap },
					       .restart = b->since };
	struct disk_hold hold;

	graph_stop(j->disk, &hold);
	j->upper->guard = NULL;
	if (b->since)
		list_del(&b->since->link);
	if (r == 0 && j->opts.bitmap) {
		r = bitmap_change(j->disk, &restart, err);
		if (r < 0)
			err_wrap(err, r, "the backup is complete, but not its bitmap");
	}
	graph_go_on(j->disk, &hold);
	return r;
}

static void backup_free(struct backup *b)
{
	dirty_free(b->guard.todo);
	dirty_free(b->since);
	free(b->buf);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

int job_backup_begin(struct job *j, struct err *err)
{
	struct backup *b = mem_new(sizeof(*b));
	int r;

	b->guard.before = before;
	b->job = j;
	b->target = j->opts.target;
	mutex_init(&b->lock);
	r = begin(b, err);
	if (r < 0)
		backup_free(b);
	else
		j->backup = b;
	return r;
}

void job_backup_undo(struct job *j)
{
	struct backup *b = take_ptr(&j->backup);

	if (!b)
		return;
	ignore_result(end(b, -ECANCELED, NULL)); /* so it changes nothing */
	backup_free(b);
}

int job_backup(struct job *j, struct err *err)
{
	struct backup *b = take_ptr(&j->backup);
	int r = copy_all(b);

	j->opts.target = NULL; /* end_target() closes it */
	if (r < 0 && r != -ECANCELED)
		job_fail(err, r, "backup", b->failed_at);
	r = end_target(b, r, err);
	r = end(b, r, err);
	backup_free(b);
	return r;
}
