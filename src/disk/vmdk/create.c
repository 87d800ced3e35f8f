/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New VMDK images: a descriptor, and extents in the same file or beside it, named after it. Sparse extents get all
 * their grain tables at once, as VMware makes them, so that nothing but grains is added later; streams get theirs at
 * the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/vmdk/image_priv.h"

enum {
	TEXT_SECTORS = 20,
	GRAIN_DEFAULT = 128,
	/* 2 GiB less what old file systems cannot have, in whole grains */
	SPLIT_SECTORS = (2 << 20) * 2 - 128,
};

const struct disk_option_info vmdk_options[] = {
	{ "subformat", "monolithicSparse (default), monolithicFlat, twoGbMaxExtentSparse, "
		       "twoGbMaxExtentFlat, streamOptimized (filled by a conversion)" },
	{ "adapter_type", "ide (default), lsilogic, buslogic, legacyESX" },
	{ "hwversion", "of the virtual machine (default: 4)" },
	{ "zeroed_grain", "on: zeros are recorded in the tables; off (default)" },
	{ 0 },
};

struct layout {
	const char *name;
	bool is_split, is_flat, is_stream;
};

static const struct layout layouts[] = {
	{ "monolithicSparse" },
	{ "monolithicFlat", .is_flat = true },
	{ "twoGbMaxExtentSparse", .is_split = true },
	{ "twoGbMaxExtentFlat", .is_split = true, .is_flat = true },
	{ "streamOptimized", .is_stream = true },
};

/* --- one sparse extent ------------------------------------------------------------------------ */

static void plan_sparse(struct vmdk_header *h, uint64_t sectors, bool is_stream, bool has_zero,
			bool has_text)
{
	uint64_t gd_sectors, gt_sectors, at = 1;

	*h = (struct vmdk_header){
		.version = is_stream  ? 3
			   : has_zero ? 2
				      : 1,
		.flags = VMDK_F_NEWLINES | (has_zero ? VMDK_F_ZERO_GRAINS : 0) |
			 (is_stream ? VMDK_F_COMPRESSED | VMDK_F_MARKERS : VMDK_F_REDUNDANT),
		.capacity = sectors,
		.grain = GRAIN_DEFAULT,
		.nr_gtes = VMDK_GTES,
	};
	if (has_text) {
		h->descriptor_off = at;
		h->descriptor_sectors = TEXT_SECTORS;
		at += TEXT_SECTORS;
	}
	gd_sectors = (vmdk_nr_tables(h) * 4 + VMDK_SECTOR - 1) / VMDK_SECTOR;
	gt_sectors = vmdk_nr_tables(h) * (VMDK_GTES * 4 / VMDK_SECTOR);
	if (is_stream) {
		h->gd_off = VMDK_GD_AT_END;
	} else {
		h->rgd_off = at;
		h->gd_off = at + gd_sectors + gt_sectors;
		at = h->gd_off + gd_sectors + gt_sectors;
	}
	h->overhead = align_up(at, h->grain);
}

/* A directory whose tables follow it; they are all zeros. */
static int put_directory(struct disk_file *f, const struct vmdk_header *h, uint64_t sector)
{
	_cleanup_(mem_freep) uint8_t *gd = NULL;
	uint64_t n = vmdk_nr_tables(h), first = sector + (n * 4 + VMDK_SECTOR - 1) / VMDK_SECTOR;
	int r = mem_try(&gd, n * 4, VMDK_MAX_TABLES * 4);

	if (first + n * (VMDK_GTES * 4 / VMDK_SECTOR) > UINT32_MAX)
		r = -EFBIG;
	for (uint64_t i = 0; i < n && !r; i++)
		put_le32(gd + 4 * i, (uint32_t)(first + i * (VMDK_GTES * 4 / VMDK_SECTOR)));
	return r ? r : disk_file_write(f, sector * VMDK_SECTOR, gd, n * 4);
}

static int create_sparse(struct disk_file *f, const struct vmdk_header *h,
			 const struct strbuf *text)
{
	uint8_t raw[VMDK_HEADER_SIZE];
	int r = disk_file_truncate(f, h->overhead * VMDK_SECTOR);

	vmdk_header_put(h, raw);
	if (!r)
		r = disk_file_write(f, 0, raw, sizeof(raw));
	if (!r && text)
		r = disk_file_write(f, VMDK_SECTOR, text->p, text->n);
	if (!r && h->gd_off != VMDK_GD_AT_END) {
		r = put_directory(f, h, h->rgd_off);
		if (!r)
			r = put_directory(f, h, h->gd_off);
	} else if (!r) {
		struct vmdk_part p = {
			.file = f,
			.header = *h,
			.gt = { .nr_pages = vmdk_nr_tables(h) },
			.space = { .end = h->overhead * VMDK_SECTOR },
		};

		r = vmdk_stream_end(&p);
	}
	return r;
}

/* --- the whole -------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "disk.vmdk" gives "disk-s001.vmdk", "disk-flat.vmdk". */
static char *part_name(const struct disk_file *file, const struct layout *l, size_t i)
{
	struct strbuf name = { 0 };
	const char *base = base_name(file->path);
	struct str stem = str_of(base);

	if (!l->is_split && !l->is_flat)
		return mem_strdup(base);
	if (str_ends(stem, STR(".vmdk")))
		stem.n -= 5;
	strbuf_add(&name, stem.p, stem.n);
	if (l->is_split)
		strbuf_addf(&name, "-%c%03zu.vmdk", l->is_flat ? 'f' : 's', i + 1);
	else
		strbuf_adds(&name, "-flat.vmdk");
	return strbuf_take(&name);
}

static void plan_parts(const struct disk_file *file, const struct layout *l, uint64_t sectors,
		       struct vmdk_descriptor *d)
{
	uint64_t most = l->is_split ? SPLIT_SECTORS : sectors;

	d->nr_extents = (size_t)((sectors + most - 1) / most);
	d->extents = mem_new_n(d->nr_extents, sizeof(*d->extents));
	d->sectors = sectors;
	for (size_t i = 0; i < d->nr_extents; i++) {
		d->extents[i] = (struct vmdk_extent){
			.kind = l->is_flat ? VMDK_EXTENT_FLAT : VMDK_EXTENT_SPARSE,
			.is_writable = true,
			.sectors = MIN(most, sectors - i * most),
			.name = part_name(file, l, i),
		};
	}
}

static int create_parts(const struct disk_file *file, const struct layout *l, bool has_zero,
			const struct vmdk_descriptor *d, struct err *err)
{
	for (size_t i = 0; i < d->nr_extents; i++) {
		const struct vmdk_extent *e = &d->extents[i];
		_cleanup_(disk_file_closep) struct disk_file *f = NULL;
		struct vmdk_header h;
		int r = disk_file_open_beside(file, e->name, DISK_RDWR, BESIDE_REPLACE, &f, err);

		if (r < 0)
			return err_wrap(err, r, "extent '%s'", e->name);
		if (l->is_flat) {
			r = disk_file_truncate(f, e->sectors * VMDK_SECTOR);
		} else {
			plan_sparse(&h, e->sectors, false, has_zero, false);
			r = create_sparse(f, &h, NULL);
		}
		if (r < 0)
			return err_set(err, r, "extent '%s': %s", e->name, strerror(-r));
	}
	return 0;
}

static int ask_parent(const struct disk_file *file, const struct disk_create_opts *o,
		      struct vmdk_descriptor *d, struct err *err)
{
	char cid[DISK_DETAIL_MAX];
	int r;

	if (strcmp(o->backing_format, "vmdk"))
		return err_set(err, -EINVAL, "the parent of a VMDK image must be one, too");
	if (strpbrk(o->backing, "\"\n\r"))
		return err_set(err, -EINVAL,
			       "the name of the backing file cannot be stored: it has quotes");
	r = create_ask_parent(file, o, "vmdk", "cid", cid, NULL, err);
	if (r < 0)
		return r;
	if (cid[0])
		d->parent_cid = (uint32_t)strtoul(cid, NULL, 16);
	d->parent_hint = mem_strdup(o->backing);
	return 0;
}

static int take_options(const struct disk_create_opts *o, const struct layout **ret, bool *has_zero,
			struct vmdk_descriptor *d, struct err *err)
{
	static const char *const adapters[] = { "ide", "lsilogic", "buslogic", "legacyESX" };
	const char *subformat = create_option(o, "subformat");
	const char *adapter = create_option(o, "adapter_type");
	const char *zero = create_option(o, "zeroed_grain");
	size_t i = 0;

	*ret = &layouts[0];
	if (subformat) {
		while (i < ARRAY_SIZE(layouts) && strcmp(layouts[i].name, subformat))
			i++;
		if (i == ARRAY_SIZE(layouts))
			return err_set(err, -EINVAL,
				       "subformat '%.40s' is none of monolithicSparse, "
				       "monolithicFlat, twoGbMaxExtentSparse, "
				       "twoGbMaxExtentFlat, streamOptimized",
				       subformat);
		*ret = &layouts[i];
	}
	if (adapter) {
		for (i = 0; i < ARRAY_SIZE(adapters) && strcmp(adapters[i], adapter);)
			i++;
		if (i == ARRAY_SIZE(adapters))
			return err_set(err, -EINVAL,
				       "adapter_type '%.40s' is none of ide, lsilogic, "
				       "buslogic, legacyESX",
				       adapter);
		d->adapter = mem_strdup(adapter);
	}
	if (zero && str_parse_bool(str_of(zero), has_zero, err) < 0)
		return err_wrap(err, -EINVAL, "option zeroed_grain");
	if (o->backing && ((*ret)->is_flat || (*ret)->is_stream))
		return err_set(err, -EINVAL, "a VMDK image of subformat %s has no backing file",
			       (*ret)->name);
	if (!o->size || o->size / VMDK_SECTOR > VMDK_MAX_SECTORS)
		return err_set(err, -EINVAL, "a VMDK disk has 512 bytes to 512 TiB");
	return 0;
}

static bool is_version(const char *s)
{
	return s[0] && strspn(s, "0123456789") == strlen(s) && strlen(s) < 4;
}

static int put_image(struct disk_file *file, const struct disk_create_opts *o,
		     struct vmdk_descriptor *d, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	const char *hwversion = create_option(o, "hwversion");
	const struct layout *l;
	struct vmdk_header h;
	bool has_zero = false;
	int r = take_options(o, &l, &has_zero, d, err);

	if (!r && hwversion && !is_version(hwversion))
		r = err_set(err, -EINVAL, "hwversion '%.40s' is no number", hwversion);
	if (!r && strpbrk(base_name(file->path), "\"\n\r"))
		r = err_set(err, -EINVAL, "the file's name cannot be stored: it has quotes");
	if (!r && o->backing)
		r = ask_parent(file, o, d, err);
	if (r < 0)
		return r;
	d->create_type = mem_strdup(l->name);
	plan_parts(file, l, o->size / VMDK_SECTOR, d);
	if (d->nr_extents > VMDK_EXTENTS_MAX)
		return err_set(err, -EINVAL, "the disk would need more than %d extents",
			       VMDK_EXTENTS_MAX);
	vmdk_descriptor_put(d, hwversion ? hwversion : "4", &text);
	if (l->is_split || l->is_flat) {
		r = create_parts(file, l, has_zero, d, err);
		if (r < 0)
			return r;
		r = disk_file_write(file, 0, text.p, text.n);
	} else {
		if (text.n > TEXT_SECTORS * VMDK_SECTOR)
			return err_set(err, -ENAMETOOLONG, "the names do not fit the descriptor");
		plan_sparse(&h, d->sectors, l->is_stream, has_zero, true);
		r = create_sparse(file, &h, &text);
	}
	return r < 0 ? err_set(err, r, "write a new image: %s", strerror(-r)) : 0;
}

int vmdk_create(struct disk_file *file, const struct disk_create_opts *o, struct err *err)
{
	struct vmdk_descriptor d = { .parent_cid = VMDK_NO_PARENT };
	int r;

	if (getrandom(&d.cid, sizeof(d.cid), 0) != (ssize_t)sizeof(d.cid))
		return err_set_errno(err, "random numbers for an identifier");
	d.cid &= ~UINT32_C(1); /* never the word for "none" */
	r = put_image(file, o, &d, err);
	vmdk_descriptor_done(&d);
	return r;
}
