/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The data path that waits: map, then move bytes. Every format shares it, so a format is its tables and
 * nothing else.
 *
 * A write takes its range shared and looks whether all of it lies in the top image and may be overwritten;
 * that is the usual case, and such writes run in parallel. Else it takes the range again, exclusively and
 * rounded out to clusters, and works through it: room from the format, old bytes around the new ones (copy
 * on write), then the link. What the range lock buys is said in range_priv.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"
#include "sys/thread.h"

#define FILL_MAX (1U << 20)

const char *disk_strerror(int r)
{
	return r == -EILSEQ ? "the image is damaged; 'atoll disk check' says how" : strerror(-r);
}

/* --- map -------------------------------------------------------------------------------------- */

static int image_map(struct image *img, uint64_t off, uint64_t len, unsigned flags,
		     struct where_at *ret)
{
	int r;

	if (!(flags & MAP_CACHED))
		mutex_lock(&img->lock);
	else if (pthread_mutex_trylock(&img->lock))
		return -EAGAIN; /* somebody may be reading a table */
	if (off >= img->size) {
		/* Behind the end of a backing file that is shorter than what lies on it. */
		*ret = (struct where_at){ .where = WHERE_ZERO, .off = off, .len = len };
		r = 0;
	} else {
		r = img->fmt->map(img, off, MIN(len, img->size - off), flags, ret);
	}
	mutex_unlock(&img->lock);
	return r;
}

int graph_map_above(struct image *top, const struct image *stop, uint64_t off, uint64_t len,
		    unsigned flags, struct merged *ret)
{
	*ret = (struct merged){ .at = { .where = WHERE_BELOW, .off = off, .len = len } };
	for (struct image *img = top; img != stop; img = img->below, ret->depth++) {
		int r = image_map(img, off, ret->at.len, flags, &ret->at);

		if (r < 0)
			return r;
		if (ret->at.where != WHERE_BELOW) {
			ret->img = img;
			return 0;
		}
	}
	ret->depth--;
	return 0;
}

/* Data that was only reserved: tables point to a hole of the file; or a file that is the disk, and has holes where the disk
 * is zero. */
static int look_for_hole(struct where_at *at)
{
	bool hole;
	int r;

	if (at->where != WHERE_DATA || (!at->is_flat && !at->file->is_sparse))
		return 0;
	r = disk_file_hole(at->file, at->host_off, at->len, &hole, &at->len);
	if (r == 0 && hole)
		at->where = WHERE_ZERO;
	return r;
}

int graph_map(struct image *top, uint64_t off, uint64_t len, unsigned flags, struct merged *ret)
{
	return graph_map_above(top, NULL, off, len, flags, ret);
}

int graph_map_holes(struct image *top, uint64_t off, uint64_t len, struct merged *ret)
{
	int r = graph_map(top, off, len, 0, ret);

	return r == 0 && ret->img ? look_for_hole(&ret->at) : r;
}

static int range_in_disk(struct disk *disk, uint64_t off, uint64_t len)
{
	return range_ok(off, len, disk_size(disk)) ? 0 : -ERANGE;
}

int disk_map(struct disk *disk, uint64_t off, uint64_t len, struct disk_extent *ret)
{
	static const enum disk_kind kinds[] = {
		[WHERE_BELOW] = DISK_HOLE,
		[WHERE_ZERO] = DISK_ZERO,
		[WHERE_DATA] = DISK_DATA,
		[WHERE_PACKED] = DISK_PACKED,
	};
	struct disk_hold hold;
	struct merged m;
	int r = range_in_disk(disk, off, len);

	if (r < 0)
		return r;
	range_take(&disk->ranges, &hold, off, len, false);
	r = graph_map_holes(disk->top, off, len, &m);
	range_release(&disk->ranges, &hold);
	if (r < 0)
		return r;
	*ret = (struct disk_extent){
		.kind = kinds[m.at.where],
		.depth = m.depth,
		.off = off,
		.len = m.at.len,
	};
	if (m.at.where == WHERE_DATA) {
		ret->path = m.at.file->path;
		ret->host_off = m.at.host_off;
	}
	return 0;
}

/* --- read ------------------------------------------------------------------------------------- */

static int read_packed(struct image *img, const struct where_at *at, struct iov_iter *it)
{
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	int r;

	buf = malloc(at->unit_len);
	if (!buf)
		return -ENOMEM;
	r = img->fmt->unpack(img, at, buf);
	if (r == 0)
		iov_copy_to(it, buf + (at->off - at->unit_off), at->len);
	return r;
}

int graph_read(struct image *top, uint64_t off, struct iov_iter *it, uint64_t len)
{
	while (len) {
		struct merged m;
		int r = graph_map(top, off, len, 0, &m);

		if (r < 0)
			return r;
		switch (m.at.where) {
		case WHERE_DATA:
			r = disk_file_readv(m.at.file, m.at.host_off, it, m.at.len);
			break;
		case WHERE_PACKED:
			r = read_packed(m.img, &m.at, it);
			break;
		case WHERE_ZERO:
		case WHERE_BELOW:
			iov_fill_zero(it, m.at.len);
			break;
		}
		if (r < 0)
			return r;
		off += m.at.len;
		len -= m.at.len;
	}
	return 0;
}

int disk_readv(struct disk *disk, uint64_t off, const struct iovec *iov, unsigned nr_iov)
{
	struct iov_iter it = iov_iter(iov, nr_iov);
	uint64_t len = iov_bytes(&it);
	struct disk_hold hold;
	int r = range_in_disk(disk, off, len);

	if (r < 0 || !len)
		return r;
	range_take(&disk->ranges, &hold, off, len, false);
	r = graph_read(disk->top, off, &it, len);
	range_release(&disk->ranges, &hold);
	return r;
}

int disk_read(struct disk *disk, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return disk_readv(disk, off, &iov, 1);
}

/* --- write ------------------------------------------------------------------------------------ */

int image_touch(struct image *img)
{
	int r = 0;

	if (!(img->flags & DISK_RDWR))
		return -EROFS;
	if (likely(atomic_load(&img->is_written)))
		return 0;
	mutex_lock(&img->lock);
	if (!img->is_written && img->fmt->first_write)
		r = img->fmt->first_write(img);
	if (r == 0)
		img->is_written = true;
	mutex_unlock(&img->lock);
	return r;
}

int graph_is_in_place(struct image *top, uint64_t off, uint64_t len, unsigned flags,
		      struct where_at *ret, bool *ret_in_place)
{
	struct where_at at;

	*ret_in_place = false;
	if (top->guard && dirty_is_marked(top->guard->todo, off, len))
		return 0;
	for (uint64_t done = 0; done < len; done += at.len) {
		int r = image_map(top, off + done, len - done, flags, &at);

		if (r < 0)
			return r;
		if (!done)
			*ret = at;
		if (at.where != WHERE_DATA || !at.in_place)
			return 0;
	}
	*ret_in_place = true;
	return 0;
}

/* Old content into a new place. */
static int fill(struct image *img, const struct alloc *a, uint64_t off, uint64_t len)
{
	_cleanup_(mem_freep) uint8_t *buf = NULL;
	int r = 0;

	while (len && r == 0) {
		uint64_t n = MIN(len, (uint64_t)FILL_MAX);
		struct merged m = { .at = { .where = WHERE_ZERO, .off = off, .len = n } };
		struct iov_iter it;
		struct iovec iov;

		if (off < img->size)
			r = graph_map(img, off, MIN(n, img->size - off), 0, &m);
		if (r < 0)
			return r;
		n = m.at.len;
		if (m.at.where == WHERE_ZERO || m.at.where == WHERE_BELOW) {
			if (!a->is_zeroed)
				r = disk_file_zero(a->file, a->host_off + (off - a->off), n, false);
		} else {
			if (!buf)
				buf = malloc(FILL_MAX);
			if (!buf)
				return -ENOMEM;
			iov = (struct iovec){ buf, n };
			it = iov_iter(&iov, 1);
			r = graph_read(img, off, &it, n);
			it = iov_iter(&iov, 1);
			if (r == 0)
				r = disk_file_writev(a->file, a->host_off + (off - a->off), &it, n);
		}
		off += n;
		len -= n;
	}
	return r;
}

/* The beginning of a write, into new room. *ret_len: how much. */
static int write_new(struct image *img, uint64_t off, struct iov_iter *it, uint64_t len,
		     uint64_t *ret_len)
{
	uint64_t end, n;
	struct alloc a;
	int r;

	if (!img->fmt->alloc)
		return -EROFS;
	mutex_lock(&img->lock);
	r = img->fmt->alloc(img, off, len, &a);
	mutex_unlock(&img->lock);
	if (r < 0)
		return r;
	end = a.off + a.len;
	n = MIN(len, end - off);
	r = fill(img, &a, a.off, off - a.off);
	if (r == 0)
		r = fill(img, &a, off + n, end - (off + n));
	if (r == 0)
		r = disk_file_writev(a.file, a.host_off + (off - a.off), it, n);
	mutex_lock(&img->lock);
	if (r == 0)
		r = img->fmt->link(img, &a);
	else
		img->fmt->unalloc(img, &a);
	mutex_unlock(&img->lock);
	*ret_len = n;
	return r;
}

int graph_write(struct image *img, uint64_t off, struct iov_iter *it, uint64_t len)
{
	while (len) {
		struct where_at at;
		uint64_t n;
		int r = image_map(img, off, len, 0, &at);

		if (r < 0)
			return r;
		if (at.where == WHERE_DATA && at.in_place) {
			n = at.len;
			r = disk_file_writev(at.file, at.host_off, it, n);
		} else {
			r = write_new(img, off, it, len, &n);
			if (r == -EAGAIN)
				continue;
		}
		if (r < 0)
			return r;
		off += n;
		len -= n;
	}
	return 0;
}

/* The range exclusively, rounded out to clusters: of the top image that is there when it is ours. */
static void take_clusters(struct disk *disk, struct disk_hold *hold, uint64_t off, uint64_t len)
{
	for (;;) {
		uint64_t cluster = disk_cluster(disk);
		uint64_t from = align_down(off, cluster);

		range_take(&disk->ranges, hold, from, align_up(off + len, cluster) - from, true);
		if (likely(cluster == disk->top->cluster))
			return;
		range_release(&disk->ranges, hold); /* the graph changed */
	}
}

static int write_in_place(struct image *img, uint64_t off, struct iov_iter *it, uint64_t len)
{
	while (len) {
		struct where_at at;
		int r = image_map(img, off, len, 0, &at);

		if (r == 0)
			r = disk_file_writev(at.file, at.host_off, it, at.len);
		if (r < 0)
			return r;
		off += at.len;
		len -= at.len;
	}
	return 0;
}

int disk_writev(struct disk *disk, uint64_t off, const struct iovec *iov, unsigned nr_iov)
{
	struct iov_iter it = iov_iter(iov, nr_iov);
	uint64_t len = iov_bytes(&it);
	struct disk_hold hold;
	struct where_at at;
	bool in_place = false;
	int r = range_in_disk(disk, off, len);

	if (r < 0)
		return r;
	range_take(&disk->ranges, &hold, off, MAX(len, UINT64_C(1)), false);
	r = image_touch(disk->top);
	if (r == 0 && len)
		r = graph_is_in_place(disk->top, off, len, 0, &at, &in_place);
	if (in_place) {
		graph_changing(disk, off, len);
		r = write_in_place(disk->top, off, &it, len);
	}
	range_release(&disk->ranges, &hold);
	if (r < 0 || in_place || !len)
		return r;
	take_clusters(disk, &hold, off, len);
	r = image_touch(disk->top);
	if (r == 0) {
		graph_changing(disk, off, len);
		r = graph_write(disk->top, off, &it, len);
	}
	range_release(&disk->ranges, &hold);
	return r;
}

int disk_write(struct disk *disk, uint64_t off, const void *buf, size_t len)
{
	struct iovec iov = { (void *)buf, len };

	return disk_writev(disk, off, &iov, 1);
}

/* --- zero, discard, flush --------------------------------------------------------------------- */

/* Write zeros where there are none, range held exclusively. */
static int zero_by_writing(struct image *img, uint64_t off, uint64_t len)
{
	_cleanup_(mem_freep) uint8_t *zeros = NULL;

	while (len) {
		uint64_t n = MIN(len, (uint64_t)FILL_MAX);
		struct iov_iter it;
		struct merged m;
		struct iovec iov;
		int r = graph_map(img, off, n, 0, &m);

		if (r < 0)
			return r;
		n = m.at.len;
		if (m.at.where == WHERE_DATA && m.at.in_place && !m.depth) {
			r = disk_file_zero(m.at.file, m.at.host_off, n, false);
		} else if (m.at.where == WHERE_DATA || m.at.where == WHERE_PACKED) {
			if (!zeros)
				zeros = calloc(1, FILL_MAX);
			if (!zeros)
				return -ENOMEM;
			iov = (struct iovec){ zeros, n };
			it = iov_iter(&iov, 1);
			r = graph_write(img, off, &it, n);
		}
		if (r < 0)
			return r;
		off += n;
		len -= n;
	}
	return 0;
}

/* The whole units inside a range; the last one of the disk may be short. */
static void whole_units(const struct image *img, uint64_t off, uint64_t len, uint64_t *ret_from,
			uint64_t *ret_to)
{
	uint64_t end = off + len;

	*ret_from = align_up(off, img->zero_unit);
	*ret_to = end == img->size ? end : align_down(end, img->zero_unit);
	if (*ret_to < *ret_from)
		*ret_to = *ret_from = MIN(*ret_from, end);
}

int graph_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t from, to;
	int r = -EOPNOTSUPP;

	whole_units(img, off, len, &from, &to);
	if (img->fmt->zero && to > from) {
		mutex_lock(&img->lock);
		r = img->fmt->zero(img, from, to - from, unmap);
		mutex_unlock(&img->lock);
	}
	if (r == -EOPNOTSUPP)
		to = from = off; /* all of it is head or tail */
	if (r == 0 || r == -EOPNOTSUPP)
		r = zero_by_writing(img, off, from - off);
	if (r == 0)
		r = zero_by_writing(img, to, off + len - to);
	return r;
}

int disk_zero(struct disk *disk, uint64_t off, uint64_t len, bool unmap)
{
	struct disk_hold hold;
	int r = range_in_disk(disk, off, len);

	if (r < 0 || !len)
		return r;
	take_clusters(disk, &hold, off, len);
	r = image_touch(disk->top);
	if (r == 0) {
		graph_changing(disk, off, len);
		r = graph_zero(disk->top, off, len, unmap && disk->flags & DISK_UNMAP);
	}
	range_release(&disk->ranges, &hold);
	return r;
}

uint32_t disk_fast_zero_unit(struct disk *disk)
{
	struct image *top = disk->top;

	if (!(top->flags & DISK_RDWR) || !top->fmt->zero || top->has_slow_zero ||
	    !disk_file_zeroes_fast(top->file))
		return 0;
	return top->zero_unit;
}

int disk_discard(struct disk *disk, uint64_t off, uint64_t len)
{
	struct disk_hold hold;
	struct image *top;
	uint64_t from, to;
	int r = range_in_disk(disk, off, len);

	if (r == 0 && !(disk->flags & DISK_RDWR))
		r = -EROFS;
	if (r < 0 || !len || !(disk->flags & DISK_UNMAP))
		return r;
	take_clusters(disk, &hold, off, len);
	top = disk->top;
	whole_units(top, off, len, &from, &to);
	if (to > from && top->fmt->discard) {
		r = image_touch(top);
		if (r == 0) {
			graph_changing(disk, from, to - from);
			mutex_lock(&top->lock);
			r = top->fmt->discard(top, from, to - from);
			mutex_unlock(&top->lock);
		}
	}
	range_release(&disk->ranges, &hold);
	return r;
}

int image_flush(struct image *img, struct err *err)
{
	int r;

	mutex_lock(&img->lock);
	r = img->is_written ? img->fmt->flush(img) : 0;
	mutex_unlock(&img->lock);
	return r < 0 ? err_set(err, r, "write to '%s': %s", img->path, strerror(-r)) : 0;
}

int disk_flush(struct disk *disk)
{
	int r;

	if (!(disk->flags & DISK_RDWR))
		return 0;
	/* Not a range: requests in flight need not be waited for. */
	pthread_rwlock_rdlock(&disk->graph);
	r = image_flush(disk->top, NULL);
	pthread_rwlock_unlock(&disk->graph);
	return r;
}

/* --- compressed ------------------------------------------------------------------------------- */

int disk_pack(struct disk *disk, const void *buf, void *out, size_t *ret_bytes)
{
	struct image *top = disk->top;

	return top->fmt->pack ? top->fmt->pack(top, buf, out, ret_bytes) : -EOPNOTSUPP;
}

uint32_t disk_pack_max(struct disk *disk)
{
	return disk->top->pack_max ? disk->top->pack_max : disk->top->cluster;
}

bool disk_must_pack(struct disk *disk)
{
	return disk->top->must_pack;
}

int disk_write_packed(struct disk *disk, uint64_t off, const void *packed, size_t bytes)
{
	struct image *top = disk->top;
	struct disk_hold hold;
	int r = range_in_disk(disk, off, 1);

	if (r == 0 && !top->fmt->write_packed)
		r = -EOPNOTSUPP;
	if (r == 0 && off & (top->cluster - 1))
		r = -EINVAL;
	if (r == 0)
		r = image_touch(top);
	if (r < 0)
		return r;
	take_clusters(disk, &hold, off, top->cluster);
	graph_changing(disk, off, MIN((uint64_t)top->cluster, disk_size(disk) - off));
	mutex_lock(&top->lock);
	r = top->fmt->write_packed(top, off, packed, bytes);
	mutex_unlock(&top->lock);
	range_release(&disk->ranges, &hold);
	return r;
}

/* --- one request of any kind ------------------------------------------------------------------ */

int request_run(struct disk *disk, const struct disk_request *req)
{
	int r = -EINVAL;

	switch (req->op) {
	case DISK_OP_READ:
		return disk_readv(disk, req->off, req->iov, req->nr_iov);
	case DISK_OP_FLUSH:
		return disk_flush(disk);
	case DISK_OP_WRITE:
		r = disk_writev(disk, req->off, req->iov, req->nr_iov);
		break;
	case DISK_OP_DISCARD:
		r = disk_discard(disk, req->off, req->len);
		break;
	case DISK_OP_ZERO:
		r = disk_zero(disk, req->off, req->len, req->flags & DISK_MAY_UNMAP);
		break;
	}
	return r == 0 && req->flags & DISK_FUA ? disk_flush(disk) : r;
}
