/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images: does every entry of the block table make sense, is every place used once, and is there room
 * in the file that nothing uses (what a crash leaves of blocks that were not in the table yet)?
 *
 * Places are multiples of 1 MiB, so one bit for each MiB of the file says what is in use.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/vhdx/image_priv.h"

#define MAP_LIMIT (UINT64_C(1) << 27) /* bytes: 1 PiB of file */

struct checking {
	struct vhdx *v;
	struct disk_check *c;
	uint8_t *used;
	uint64_t nr; /* MiB of the file */
	uint64_t last_place;
};

/* Whether all of a range was free; it is in use afterwards. */
static bool take(struct checking *k, uint64_t off, uint64_t len)
{
	bool was_free = true;

	for (uint64_t i = off / VHDX_MIB; i < (off + len) / VHDX_MIB && i < k->nr; i++) {
		uint8_t mask = (uint8_t)(1 << (i % 8));

		was_free &= !(k->used[i / 8] & mask);
		k->used[i / 8] |= mask;
	}
	return was_free;
}

/* What is wrong with an entry; NULL: nothing. */
static const char *fault_of(struct checking *k, uint64_t entry, uint64_t len, bool is_bitmap)
{
	uint64_t state = entry & VHDX_BAT_STATE, place = entry & VHDX_BAT_OFFSET;

	if (state == 4 || state == 5 || (is_bitmap && state != 0 && state != VHDX_PRESENT))
		return "has an undefined state";
	if (state == VHDX_PARTIAL && !k->v->meta.has_parent)
		return "is partly the parent's, and there is none";
	if (state < VHDX_PRESENT)
		return NULL;
	if (!range_ok(place, len, k->nr * VHDX_MIB))
		return "lies behind the end of the file";
	if (!take(k, place, len))
		return "shares its place with something else";
	return NULL;
}

static int check_entry(struct checking *k, uint64_t index, uint64_t len, const char *what,
		       uint64_t nr)
{
	bool is_bitmap = len == VHDX_BITMAP_BLOCK && what[0] == 's';
	const char *fault;
	uint64_t entry;
	int r = vhdx_bat_get(k->v, index, false, &entry);

	if (r < 0)
		return r;
	fault = fault_of(k, entry, len, is_bitmap);
	if (!fault) {
		if (!is_bitmap && (entry & VHDX_BAT_STATE) >= VHDX_PRESENT) {
			uint64_t place = entry & VHDX_BAT_OFFSET;

			k->c->allocated++;
			k->c->fragmented += k->last_place && place != k->last_place + len;
			k->last_place = place;
		}
		return 0;
	}
	/* The block is given up: what it held is not known. */
	if (k->c->fix_errors)
		r = vhdx_bat_set(k->v, index, VHDX_NOT_PRESENT);
	check_error(k->c, k->c->fix_errors && !r, "%s %" PRIu64 " (entry 0x%" PRIx64 ") %s", what,
		    nr, entry, fault);
	return r;
}

static bool is_used(const struct checking *k, uint64_t mib)
{
	return k->used[mib / 8] >> (mib % 8) & 1;
}

/* Whether something is stored in a MiB of the file that nothing uses. */
static int is_leak(const struct checking *k, uint64_t mib, bool *ret)
{
	uint64_t off = mib * VHDX_MIB, len;
	bool is_hole;
	int r = disk_file_hole(k->v->img->file, off, VHDX_MIB, &is_hole, &len);

	*ret = !r && (!is_hole || len < VHDX_MIB) &&
	       off + (is_hole ? len : 0) < disk_file_size(k->v->img->file);
	return r;
}

static int check_leaks(struct checking *k)
{
	struct disk_file *f = k->v->img->file;
	uint64_t end = k->nr, leaked = 0;
	bool fix = k->c->fix_leaks;
	int r = 0;

	while (end && !is_used(k, end - 1))
		end--;
	for (uint64_t i = 0; i < k->nr && !r; i++) {
		bool leak;

		if (is_used(k, i))
			continue;
		r = is_leak(k, i, &leak);
		leaked += leak;
		/* The place stays, its space is given back. */
		if (fix && leak && i < end && !r)
			r = disk_file_zero(f, i * VHDX_MIB, VHDX_MIB, true);
	}
	k->c->file_end = end * VHDX_MIB;
	if (fix && !r && end < k->nr) {
		r = disk_file_truncate(f, end * VHDX_MIB);
		k->v->space.end = end * VHDX_MIB;
	}
	if (leaked)
		check_leak(k->c, fix && !r, leaked,
			   "%" PRIu64 " MiB of the file hold data of no block", leaked);
	return r;
}

/* What is no block's: the header section, the log, tables. */
static int map_init(struct checking *k)
{
	struct vhdx *v = k->v;
	int r;

	k->nr = (disk_file_size(v->img->file) + VHDX_MIB - 1) / VHDX_MIB;
	r = mem_try(&k->used, k->nr / 8 + 1, MAP_LIMIT);
	if (r < 0)
		return r;
	take(k, 0, VHDX_MIB);
	take(k, v->head.log_off, v->head.log_length);
	return 0;
}

int vhdx_find_free(struct vhdx *v)
{
	struct checking k = { .v = v };
	uint64_t run = 0, unit = v->meta.block_size / VHDX_MIB;
	int r = map_init(&k);

	take(&k, v->regions.metadata_off, v->regions.metadata_length);
	take(&k, v->regions.bat_off, v->regions.bat_length);
	for (uint64_t i = 0; i < v->shape.nr_entries && !r; i++) {
		bool is_bitmap = i % (v->shape.chunk_ratio + UINT64_C(1)) == v->shape.chunk_ratio;
		uint64_t entry;

		r = vhdx_bat_get(v, i, false, &entry);
		if (!r && (entry & VHDX_BAT_STATE) >= VHDX_PRESENT)
			take(&k, entry & VHDX_BAT_OFFSET,
			     is_bitmap ? VHDX_BITMAP_BLOCK : v->meta.block_size);
	}
	for (uint64_t i = 0; i < k.nr && !r; i++) {
		run = is_used(&k, i) ? 0 : run + 1;
		if (run == unit) {
			space_give(&v->space, (i + 1 - unit) * VHDX_MIB);
			run = 0;
		}
	}
	free(k.used);
	return r;
}

int vhdx_check(struct image *img, struct disk_check *c, struct err *err)
{
	struct vhdx *v = vhdx_of(img);
	struct checking k = { .v = v, .c = c };
	bool was_open = v->is_log_open, fix = c->fix_errors || c->fix_leaks;
	int r = 0;

	if (fix)
		r = vhdx_begin(v);
	if (!r && v->is_log_open)
		r = vhdx_commit(v, NULL);
	if (!r)
		r = map_init(&k);
	if (r < 0)
		return err_set(err, r, "check: %s", strerror(-r));
	if (!take(&k, v->regions.metadata_off, v->regions.metadata_length))
		check_error(c, false, "the metadata region overlaps the log");
	if (!take(&k, v->regions.bat_off, v->regions.bat_length))
		check_error(c, false, "the block table overlaps the log");
	c->clusters = v->shape.nr_blocks;
	for (uint64_t i = 0; i < v->shape.nr_blocks && !r; i++)
		r = check_entry(&k, vhdx_bat_index(&v->shape, i), v->meta.block_size, "block", i);
	for (uint64_t i = 0; i < v->shape.nr_bitmaps && !r; i++)
		if (vhdx_bat_bitmap_index(&v->shape, i) < v->shape.nr_entries)
			r = check_entry(&k, vhdx_bat_bitmap_index(&v->shape, i), VHDX_BITMAP_BLOCK,
					"sector bitmap", i);
	/* The file may become shorter only while no entry of the log tells its length. */
	if (!r && fix)
		r = vhdx_log_close(v);
	if (!r)
		r = check_leaks(&k);
	if (!r && fix && was_open)
		r = vhdx_begin(v);
	free(k.used);
	return r < 0 ? err_set(err, r, "check: %s", strerror(-r)) : 0;
}
