/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of a disk's top image, for users: what there are, changes, and what is marked. Which formats have them, and how
 * they are kept, is theirs to know.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "disk/graph_priv.h"
#include "sys/thread.h"

int disk_bitmaps(struct disk *disk, struct disk_bitmap **ret, size_t *ret_n, struct err *err)
{
	struct image *top;
	int r = 0;

	*ret = NULL;
	*ret_n = 0;
	pthread_rwlock_rdlock(&disk->graph);
	top = disk->top;
	mutex_lock(&top->lock);
	if (top->fmt->bitmap_list)
		r = top->fmt->bitmap_list(top, ret, ret_n, err);
	mutex_unlock(&top->lock);
	pthread_rwlock_unlock(&disk->graph);
	return r;
}

void disk_bitmaps_json(const struct disk_bitmap *b, size_t n, struct strbuf *out)
{
	strbuf_addc(out, '[');
	for (size_t i = 0; i < n; i++) {
		strbuf_adds(out, i ? ",{\"name\":" : "{\"name\":");
		strbuf_add_json(out, str_of(b[i].name));
		strbuf_addf(out,
			    ",\"granularity\":%" PRIu64
			    ",\"enabled\":%s,\"out_of_date\":%s,\"dirty_bytes\":%" PRIu64 "}",
			    b[i].granularity, b[i].is_enabled ? "true" : "false",
			    b[i].is_out_of_date ? "true" : "false", b[i].dirty_bytes);
	}
	strbuf_addc(out, ']');
}

int disk_bitmap_change(struct disk *disk, const struct disk_bitmap_change *c, struct err *err)
{
	const struct bitmap_change change = { .user = *c };
	struct disk_hold hold;
	int r = admin_begin(disk, err);

	if (r < 0)
		return r;
	graph_stop(disk, &hold);
	r = bitmap_change(disk, &change, err);
	graph_go_on(disk, &hold);
	admin_end(disk);
	return r;
}

int bitmap_change(struct disk *disk, const struct bitmap_change *c, struct err *err)
{
	struct image *top = disk->top;
	int r;

	if (!top->fmt->bitmap_change)
		return err_set(err, -EOPNOTSUPP, "format %s has no bitmaps", top->fmt->name);
	r = image_touch(top);
	if (r < 0)
		return err_set(err, r, "write to '%s': %s", top->path, strerror(-r));
	mutex_lock(&top->lock);
	r = top->fmt->bitmap_change(top, c, err);
	mutex_unlock(&top->lock);
	return r;
}

int bitmap_bits(struct disk *disk, const char *name, struct dirty **ret, struct err *err)
{
	struct image *top = disk->top;
	int r;

	if (!top->fmt->bitmap_bits)
		return err_set(err, -ENOENT, "format %s has no bitmaps", top->fmt->name);
	mutex_lock(&top->lock);
	r = top->fmt->bitmap_bits(top, name, ret, err);
	mutex_unlock(&top->lock);
	return r;
}

int disk_bitmap_look(struct disk *disk, const char *name, uint64_t off, uint64_t len,
		     bool *ret_marked, uint64_t *ret_len, struct err *err)
{
	struct disk_hold hold;
	struct dirty *bits;
	uint64_t at, n;
	int r;

	if (!len || !range_ok(off, len, disk_size(disk)))
		return err_set(err, -ERANGE, "behind the end of the disk");
	range_take(&disk->ranges, &hold, off, len, false);
	r = bitmap_bits(disk, name, &bits, err);
	if (r == 0) {
		bool any = dirty_next(bits, off, len, &at, &n);

		*ret_marked = any && at <= off;
		*ret_len = MIN(len, !any ? len : *ret_marked ? at + n - off : at - off);
	}
	range_release(&disk->ranges, &hold);
	return r;
}
