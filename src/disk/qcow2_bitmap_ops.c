/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of a qcow2 image by name: what there are, and changes that a user asks for.
 *
 * A change makes what is new beside what is there, stores it, and only then gives up the old; so one that fails, for
 * lack of space or for a disk's error, has changed nothing in memory, and nothing that is found in the file. The disk
 * stands still meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/graph_priv.h"
#include "disk/qcow2_priv.h"

enum { GRANULARITY_DEFAULT = 16, ENTRY_BYTES = 24 };

static struct q2_kept *find(struct qcow2 *q, const char *name)
{
	for (uint32_t i = 0; i < q->nr_kept; i++)
		if (str_eq(q->kept[i].b.name, str_of(name)))
			return &q->kept[i];
	return NULL;
}

int q2_bitmap_list(struct image *img, struct disk_bitmap **ret, size_t *ret_n, struct err *err)
{
	struct qcow2 *q = img->priv;
	struct disk_bitmap *all;
	int r = q2_bitmaps_load(img, err);

	*ret = NULL;
	*ret_n = 0;
	if (r < 0 || !q->nr_kept)
		return r;
	all = mem_new_n(q->nr_kept, sizeof(*all));
	for (uint32_t i = 0; i < q->nr_kept; i++) {
		const struct q2_kept *k = &q->kept[i];

		snprintf(all[i].name, sizeof(all[i].name), "%.*s", STR_ARG(k->b.name));
		all[i].granularity = UINT64_C(1) << k->b.granularity_bits;
		all[i].is_enabled = k->b.flags & Q2_BITMAP_AUTO;
		all[i].is_out_of_date = !k->bits;
		all[i].dirty_bytes = k->bits ? MIN(dirty_bytes(k->bits), img->size) : 0;
	}
	*ret = all;
	*ret_n = q->nr_kept;
	return 0;
}

static int no_such(const struct image *img, const char *name, struct err *err)
{
	return err_set(err, -ENOENT, "'%s' has no bitmap '%.100s'", img->path, name);
}

static int out_of_date(const char *name, struct err *err)
{
	return err_set(err, -ESTALE,
		       "bitmap '%.100s' is out of date: the disk was written, or a machine crashed, "
		       "without keeping it; remove it, and begin with a full backup",
		       name);
}

int q2_bitmap_bits(struct image *img, const char *name, struct dirty **ret, struct err *err)
{
	struct qcow2 *q = img->priv;
	int r = q2_bitmaps_load(img, err);
	struct q2_kept *k = r == 0 ? find(q, name) : NULL;

	if (r < 0)
		return r;
	if (!k)
		return no_such(img, name, err);
	if (!k->bits)
		return out_of_date(name, err);
	*ret = k->bits;
	return 0;
}

/* --- changes ---------------------------------------------------------------------------------- */

static void copy_bits(struct dirty *to, const struct dirty *from)
{
	uint64_t off = 0, len;

	for (; dirty_next(from, off, UINT64_MAX, &off, &len); off += len)
		dirty_mark(to, off, len);
}

/* New bits in the place of the old ones, stored; or everything as it was. */
static int replace(struct image *img, struct q2_kept *k, struct dirty *bits, uint32_t flags)
{
	struct qcow2 *q = img->priv;
	uint32_t old_flags = k->b.flags;
	struct dirty *old = k->bits;
	size_t i = (size_t)(k - q->kept);
	int r;

	k->bits = bits;
	k->b.flags = flags;
	k->is_changed = true;
	r = q2_bitmaps_store(q, false);
	k = &q->kept[i]; /* none has gone */
	if (r < 0) {
		k->bits = old;
		k->b.flags = old_flags;
		k->is_changed = false;
		dirty_free(bits);
		return r;
	}
	dirty_free(old);
	if (flags & Q2_BITMAP_AUTO)
		list_push(q->trackers, &bits->link);
	return 0;
}

/* An entry without a table. */
static struct q2_kept *new_entry(struct qcow2 *q, const char *name, unsigned granularity_bits)
{
	_cleanup_(mem_freep) uint8_t *entry = NULL;
	size_t n = strlen(name), bytes = (size_t)align_up(ENTRY_BYTES + n, 8);
	struct q2_kept *k;

	entry = mem_new(bytes);
	entry[16] = Q2_BITMAP_DIRTY;
	entry[17] = (uint8_t)granularity_bits;
	put_be16(entry + 18, (uint16_t)n);
	memcpy(entry + ENTRY_BYTES, name, n);
	k = q2_kept_add(q, entry, bytes);
	k->b.type = Q2_BITMAP_DIRTY;
	k->b.granularity_bits = (uint8_t)granularity_bits;
	k->b.name = (struct str){ (char *)k->entry + ENTRY_BYTES, n };
	return k;
}

/* @from: what it begins with; NULL: nothing. */
static int add(struct image *img, const char *name, unsigned granularity_bits, bool follows,
	       const struct dirty *from, struct err *err)
{
	struct qcow2 *q = img->priv;
	struct dirty *bits = NULL;
	struct q2_kept *k;
	int r;

	if (q->nr_kept == Q2_BITMAPS_MAX ||
	    (q->nr_kept + 1) * (uint64_t)(ENTRY_BYTES + Q2_BITMAP_NAME_MAX + 1) > Q2_BITMAP_DIR_MAX)
		return err_set(err, -E2BIG, "the image has too many bitmaps already");
	r = dirty_new(img->size, granularity_bits, &bits);
	if (r < 0)
		return err_set(err, r, "a bitmap of that granularity is too large for this disk");
	if (from)
		copy_bits(bits, from);
	k = new_entry(q, name, granularity_bits);
	r = replace(img, k, bits, follows ? Q2_BITMAP_AUTO : 0);
	if (r < 0)
		free(q->kept[--q->nr_kept].entry);
	return r;
}

static int add_by_user(struct image *img, const struct disk_bitmap_change *c, struct err *err)
{
	uint64_t granularity = c->granularity ? c->granularity : UINT64_C(1) << GRANULARITY_DEFAULT;

	if (find(img->priv, c->name))
		return err_set(err, -EEXIST, "'%s' has a bitmap '%.100s' already", img->path,
			       c->name);
	if (granularity & (granularity - 1) || granularity < UINT64_C(1) << Q2_GRANULARITY_MIN ||
	    granularity > UINT64_C(1) << Q2_GRANULARITY_MAX)
		return err_set(err, -EINVAL, "a granularity is a power of two from 512 to 2G");
	return add(img, c->name, (unsigned)__builtin_ctzll(granularity), !c->is_disabled, NULL,
		   err);
}

static int remove_one(struct image *img, struct q2_kept *k)
{
	size_t i = (size_t)(k - ((struct qcow2 *)img->priv)->kept);
	int r;

	k->is_gone = true;
	r = q2_bitmaps_store(img->priv, false);
	if (r < 0)
		((struct qcow2 *)img->priv)->kept[i].is_gone = false;
	return r;
}

/* Other bits: those of @from, and its own when @keep says so. */
static int other_bits(struct image *img, struct q2_kept *k, const struct dirty *from, bool keep,
		      uint32_t flags, struct err *err)
{
	struct dirty *bits;
	int r = dirty_new(img->size, k->b.granularity_bits, &bits);

	if (r < 0)
		return err_set(err, r, "no memory for a bitmap");
	if (keep)
		copy_bits(bits, k->bits);
	if (from)
		copy_bits(bits, from);
	return replace(img, k, bits, flags);
}

/* Begins anew, whatever was there. */
static int restart(struct image *img, const struct bitmap_change *c, struct err *err)
{
	struct q2_kept *k = find(img->priv, c->user.name);
	int r;

	if (!k)
		return add(img, c->user.name, c->restart->grain_bits, true, c->restart, err);
	if (k->bits)
		return other_bits(img, k, c->restart, false, Q2_BITMAP_AUTO, err);
	/* Of one that is out of date, not even the entry is worth keeping. */
	r = remove_one(img, k);
	return r < 0 ? r : add(img, c->user.name, c->restart->grain_bits, true, c->restart, err);
}

static int change(struct image *img, struct q2_kept *k, const struct disk_bitmap_change *c,
		  struct err *err)
{
	struct dirty *from;
	int r;

	if (c->op != DISK_BITMAP_REMOVE && !k->bits)
		return out_of_date(c->name, err);
	switch (c->op) {
	case DISK_BITMAP_ADD:
		break;
	case DISK_BITMAP_REMOVE:
		return remove_one(img, k);
	case DISK_BITMAP_CLEAR:
		return other_bits(img, k, NULL, false, k->b.flags, err);
	case DISK_BITMAP_ENABLE:
		return other_bits(img, k, NULL, true, k->b.flags | Q2_BITMAP_AUTO, err);
	case DISK_BITMAP_DISABLE:
		return other_bits(img, k, NULL, true, k->b.flags & ~(uint32_t)Q2_BITMAP_AUTO, err);
	case DISK_BITMAP_MERGE:
		r = q2_bitmap_bits(img, c->from, &from, err);
		return r < 0 ? r : other_bits(img, k, from, true, k->b.flags, err);
	}
	return -EINVAL;
}

int q2_bitmap_change(struct image *img, const struct bitmap_change *c, struct err *err)
{
	struct err story = ERR_INIT;
	struct qcow2 *q = img->priv;
	struct q2_kept *k;
	size_t n = strlen(c->user.name);
	int r;

	if (!q->trackers)
		return err_set(err, -EIO, "'%s' is damaged; repair it first", img->path);
	if (!n || n > Q2_BITMAP_NAME_MAX)
		return err_set(err, -EINVAL, "the name of a bitmap has 1 to %d bytes",
			       Q2_BITMAP_NAME_MAX);
	k = find(q, c->user.name);
	if (c->restart)
		r = restart(img, c, &story);
	else if (c->user.op == DISK_BITMAP_ADD)
		r = add_by_user(img, &c->user, &story);
	else if (!k)
		r = no_such(img, c->user.name, &story);
	else
		r = change(img, k, &c->user, &story);
	if (r == 0)
		return 0;
	if (story.code)
		return err_set(err, r, "%s", story.text);
	if (r == -EOPNOTSUPP)
		return err_set(err, r,
			       "'%s' cannot have bitmaps: it has version 2 (compat=0.10), or no room in "
			       "its header",
			       img->path);
	return err_set(err, r, "write bitmaps of '%s': %s", img->path, strerror(-r));
}
