/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream: what the top image does not have, and the images between it and `base` do, is copied into it; then it
 * names `base` as its backing file, or none, and they leave the graph.
 *
 * A piece that is copied says the same as what it hides, so at each moment of the copying, and after a crash, the
 * chain shows the disk. The header changes when all of the top image is on the medium. Images below are only read:
 * others may use them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/job_priv.h"
#include "sys/thread.h"

int job_stream_check(struct job *j, struct err *err)
{
	if (!j->upper->fmt->set_backing)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' has format %s, and only images of format qcow2 can be filled "
			       "from their backing file",
			       j->upper->path, j->upper->fmt->name);
	return 0;
}

static int copy_extent(struct job *j, const struct merged *m, uint64_t at, uint64_t len,
		       uint8_t *buf, uint64_t *copied)
{
	struct iovec iov = { buf, len };
	struct iov_iter it = iov_iter(&iov, 1);
	int r;

	if (m->at.where == WHERE_BELOW)
		return 0;
	if (m->at.where == WHERE_ZERO) /* without a base, nothing reads zero as well */
		return j->base ? graph_zero(j->upper, at, len, false) : 0;
	*copied += len;
	r = graph_read(j->upper->below, at, &it, len);
	if (r < 0 || (!j->base && bytes_are(buf, len, 0)))
		return r;
	it = iov_iter(&iov, 1);
	return graph_write(j->upper, at, &it, len);
}

/* Held exclusively. */
static int copy_piece(struct job *j, uint64_t off, uint64_t len, uint8_t *buf, uint64_t *copied)
{
	struct image *top = j->upper;
	uint64_t end = off + len;
	int r = image_touch(top);

	for (uint64_t at = off; at < end && r == 0;) {
		struct merged m;

		r = graph_map_above(top, top->below, at, end - at, 0, &m);
		if (r == 0 && m.at.where == WHERE_BELOW) {
			r = graph_map_above(top->below, j->base, at, m.at.len, 0, &m);
			if (r == 0)
				r = copy_extent(j, &m, at, m.at.len, buf, copied);
		}
		at += m.at.len;
	}
	return r;
}

static int finish(struct job *j, struct err *err)
{
	struct image *top = j->upper;
	struct disk_hold hold;
	int r;

	graph_stop(j->disk, &hold);
	r = image_flush(top, err);
	if (r == 0)
		r = job_cut_out(j, top, j->base, err);
	graph_go_on(j->disk, &hold);
	return r;
}

int job_stream(struct job *j, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	uint64_t piece = job_piece(j), size = j->upper->size, len;
	int r = job_buffer(piece, &buf, err);

	for (uint64_t off = 0; off < size && r == 0; off += len) {
		struct disk_hold hold;
		uint64_t copied = 0;

		len = MIN(piece, size - off);
		if (job_is_cancelled(j))
			return -ECANCELED;
		job_hold(j, &hold, off, len);
		r = copy_piece(j, off, len, buf, &copied);
		range_release(&j->disk->ranges, &hold);
		if (r < 0)
			return job_fail(err, r, "copy", off);
		job_progress(j, len, 0);
		job_pace(j, copied);
	}
	return finish(j, err);
}

/* --- the end of both jobs --------------------------------------------------------------------- */

int job_cut_out(struct job *j, struct image *above, struct image *base, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct image **at = &j->disk->top, *out;
	const char *format = NULL;
	bool was_read_only = !(above->flags & DISK_RDWR);
	int r = 0;

	while (*at != above)
		at = &(*at)->below;
	if (base) {
		format = base->fmt->alias ? base->fmt->alias : base->fmt->name;
		r = graph_name_of(above->path, base, j->opts.handed, &name, err);
	}
	if (r == 0 && was_read_only)
		r = graph_promote(j->disk, at, j->opts.handed, err);
	if (r < 0)
		return r;
	above = *at;
	r = image_touch(above);
	if (r < 0) {
		err_set(err, r, "write to '%s': %s", above->path, disk_strerror(r));
	} else {
		mutex_lock(&above->lock);
		r = above->fmt->set_backing(above, base ? strbuf_cstr(&name) : NULL, format, err);
		mutex_unlock(&above->lock);
	}
	if (r == 0) {
		out = above->below;
		above->below = base;
		while (out != base) {
			struct image *below = out->below;

			image_close(out);
			out = below;
		}
	}
	/* Its header is on the medium, or was not changed. */
	if (was_read_only)
		ignore_result(graph_demote(j->disk, above, NULL));
	return r;
}
