/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit: what the images from `upper` down to the one above `base` hold goes into `base`, and they leave the
 * graph. When `upper` is the top of the disk, `base` becomes the top.
 *
 *	1. `base` is opened for writing, and made as large as `upper`.
 *	2. Each extent of the images above it is copied into it; with the top among them, what changes meanwhile again.
 *	3. All held: the rest copied; `base` on the medium.
 *	4. The image above `upper` names `base` as its backing file. Of the top, instead: it names `base`, and is
 *	   emptied, tables on the medium.
 *	5. The images are taken out of the graph and closed.
 *
 * At each moment the disk's top image, opened by its name, shows what the guest wrote and flushed:
 * up to step 4 `base` has changed only where an image above it has something, which hides it (discarded clusters of an
 * overlay are recorded as zero, they do not let anything show through). After step 3 `base` says the same as what
 * hides it, so that it does not matter which of the two answers: an overlay may be emptied bit by bit, and its
 * header may change to a shorter chain. After step 5 new writes go to `base`, above which an empty image shows
 * through: both names are right from then on. A job that is cancelled or fails leaves what a crash before step 3
 * leaves.
 *
 * `base` may be used by nobody else than this chain; whoever else has it as backing file sees it change.
 *
 * The alternative, marks that say where `base` is the newer one (writes go there from the start), would need the marks
 * to be on the medium before each write.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/job_priv.h"
#include "sys/thread.h"

/* So often the whole disk is gone through before it is held for what is left, however much that is. */
enum { PASSES_MAX = 8 };
/* What may be copied while everything is held. */
#define REST_MAX (8U << 20)

static bool is_active(const struct job *j)
{
	return j->upper == j->disk->top;
}

static struct image *above(struct job *j, const struct image *img)
{
	struct image *at = j->disk->top;

	while (at && at->below != img)
		at = at->below;
	return at;
}

int job_commit_check(struct job *j, struct err *err)
{
	struct image *changes = is_active(j) ? j->upper : above(j, j->upper);

	if (j->upper->must_pack || j->base->must_pack)
		return err_set(err, -EOPNOTSUPP, "'%s' can only be filled", j->base->path);
	/* What other formats say about their parent would not hold any more once it is written. */
	for (const struct image *img = changes; img != j->base; img = img->below)
		if (!img->fmt->set_backing)
			return err_set(err, -EOPNOTSUPP,
				       "'%s' has format %s, and only images of format qcow2 can be "
				       "merged into their backing file",
				       img->path, img->fmt->name);
	if (!j->base->fmt->flush)
		return err_set(err, -EOPNOTSUPP, "images of format %s can only be read",
			       j->base->fmt->name);
	if (j->base->size > j->upper->size)
		return err_set(err, -EINVAL,
			       "'%s' is larger than '%s': make the upper one as large first",
			       j->base->path, j->upper->path);
	return 0;
}

/* Data of the images above the base, in memory, to the base. */
static int copy_data(struct job *j, uint64_t off, uint64_t len, uint8_t *buf)
{
	struct iovec iov = { buf, len };
	struct iov_iter it = iov_iter(&iov, 1);
	int r = graph_read(j->upper, off, &it, len);

	it = iov_iter(&iov, 1);
	return r < 0 ? r : graph_write(j->base, off, &it, len);
}

/* One piece, held exclusively. *ret_copied: bytes that were moved. */
static int copy_piece(struct job *j, uint64_t off, uint64_t len, uint8_t *buf,
		      struct dirty *tracker, uint64_t *ret_copied)
{
	uint64_t end = off + len;
	bool unmap = j->disk->flags & DISK_UNMAP;
	int r = 0;

	*ret_copied = 0;
	if (tracker)
		dirty_clear(tracker, off, len);
	for (uint64_t at = off; at < end && r == 0;) {
		struct merged m;

		r = graph_map_above(j->upper, j->base, at, end - at, 0, &m);
		if (r < 0)
			break;
		switch (m.at.where) {
		case WHERE_BELOW:
			break;
		case WHERE_ZERO:
			r = graph_zero(j->base, at, m.at.len, unmap);
			break;
		case WHERE_DATA:
		case WHERE_PACKED:
			r = copy_data(j, at, m.at.len, buf);
			*ret_copied += m.at.len;
			break;
		}
		at += m.at.len;
	}
	if (r < 0 && tracker)
		dirty_mark(tracker, off, len);
	return r;
}

static int copy_held(struct job *j, uint64_t off, uint64_t len, uint8_t *buf, struct dirty *tracker,
		     struct err *err)
{
	struct disk_hold hold;
	uint64_t copied;
	int r;

	if (job_is_cancelled(j))
		return -ECANCELED;
	job_hold(j, &hold, off, len);
	r = copy_piece(j, off, len, buf, tracker, &copied);
	range_release(&j->disk->ranges, &hold);
	if (r < 0)
		return job_fail(err, r, "copy", off);
	job_progress(j, len, 0);
	job_pace(j, copied);
	return 0;
}

static int copy_all(struct job *j, uint64_t piece, uint8_t *buf, struct dirty *tracker,
		    struct err *err)
{
	uint64_t size = j->upper->size, off, len;
	int r = 0;

	for (off = 0; off < size && r == 0; off += piece)
		r = copy_held(j, off, MIN(piece, size - off), buf, tracker, err);
	for (int pass = 1; r == 0 && tracker && pass < PASSES_MAX; pass++) {
		uint64_t left = dirty_bytes(tracker);

		if (left <= REST_MAX)
			break;
		job_progress(j, 0, left);
		for (off = 0; r == 0 && dirty_next(tracker, off, piece, &off, &len); off += len)
			r = copy_held(j, off, len, buf, tracker, err);
	}
	return r;
}

/* Everything is held. */
static int copy_rest(struct job *j, uint64_t piece, uint8_t *buf, struct dirty *tracker,
		     struct err *err)
{
	uint64_t off = 0, len, copied;
	int r = 0;

	for (; r == 0 && dirty_next(tracker, off, piece, &off, &len); off += len)
		r = copy_piece(j, off, len, buf, tracker, &copied);
	return r < 0 ? job_fail(err, r, "copy", off) : 0;
}

static int begin(struct job *j, struct dirty *tracker, struct err *err)
{
	struct image *upon = above(j, j->base);
	struct disk_hold hold;
	int r;

	graph_stop(j->disk, &hold);
	r = graph_promote(j->disk, &upon->below, j->opts.handed, err);
	if (r == 0) {
		j->base = upon->below;
		r = image_touch(j->base);
		if (r < 0)
			err_set(err, r, "write to '%s': %s", j->base->path, disk_strerror(r));
	}
	if (r == 0 && j->base->size < j->upper->size)
		r = image_resize(j->base, j->upper->size, false, err);
	if (tracker)
		list_push(&j->disk->trackers, &tracker->link);
	graph_go_on(j->disk, &hold);
	return r;
}

/* Steps 4 and 5 with the top among the images. */
static int pivot(struct job *j, struct err *err)
{
	struct image *old = j->upper;
	int r = image_touch(old);

	if (r < 0)
		return err_set(err, r, "write to '%s': %s", old->path, disk_strerror(r));
	if (old->below != j->base)
		r = job_cut_out(j, old, j->base, err);
	if (r == 0) {
		mutex_lock(&old->lock);
		r = old->fmt->empty(old);
		mutex_unlock(&old->lock);
		if (r < 0)
			err_set(err, r, "empty '%s': %s", old->path, disk_strerror(r));
	}
	if (r < 0)
		return r;
	/* Whatever else is not written of it does not matter: it says that all is below. */
	ignore_result(graph_demote(j->disk, old, NULL));
	graph_set_top(j->disk, j->base);
	image_close(old);
	return 0;
}

static int finish(struct job *j, uint64_t piece, uint8_t *buf, struct dirty *tracker, int r,
		  struct err *err)
{
	struct disk_hold hold;

	graph_stop(j->disk, &hold);
	if (r == 0 && job_is_cancelled(j))
		r = -ECANCELED;
	if (r == 0 && tracker)
		r = copy_rest(j, piece, buf, tracker, err);
	if (tracker)
		list_del(&tracker->link);
	if (r == 0)
		r = image_flush(j->base, err);
	if (r == 0 && is_active(j))
		r = pivot(j, err);
	else if (r == 0)
		r = job_cut_out(j, above(j, j->upper), j->base, err);
	/* Only read from now on. Should it not be possible to leave it in order: after a success all that counts is
	 * on the medium, after a failure it is hidden. */
	if (j->base != j->disk->top)
		ignore_result(graph_demote(j->disk, j->base, NULL));
	graph_go_on(j->disk, &hold);
	return r;
}

int job_commit(struct job *j, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	uint64_t piece = job_piece(j);
	struct dirty *tracker = NULL;
	unsigned bits = 16;
	int r;

	/* A grain is no larger than a piece, and there are not too many. */
	while (bits < 20 && j->upper->size >> bits > UINT64_C(1) << 24)
		bits++;
	r = job_buffer(piece, &buf, err);
	if (r < 0)
		return r;
	r = is_active(j) ? dirty_new(j->upper->size, bits, &tracker) : 0;
	if (r < 0)
		return err_set(err, r, "no memory to note what changes meanwhile");
	r = begin(j, tracker, err);
	if (r == 0)
		r = copy_all(j, piece, buf, tracker, err);
	r = finish(j, piece, buf, tracker, r, err);
	dirty_free(tracker);
	return r;
}
