/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK images: making room, dropping grains, flushing, checking. The format has no log; order is all that there is:
 * data, sync, the copies of the grain tables, sync, directories that got new tables. Both copies of a table
 * are written, the redundant one first, so that one of them is whole at any time. The content identifier changes before
 * the first write, so that children see that their parent is not the same any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/vmdk/image_priv.h"

enum { HEAD_UNCLEAN = 72 };

/* What vmdk_link() needs to know: alloc.priv[] */
enum { A_PLACE };

static bool is_plain(const struct vmdk_part *p)
{
	return p->gd && !(p->header.flags & VMDK_F_COMPRESSED);
}

/* --- marks ------------------------------------------------------------------------------------ */

static int set_unclean(struct vmdk *v, bool is_unclean)
{
	uint8_t mark = is_unclean;

	for (size_t i = 0; i < v->nr_parts; i++) {
		struct vmdk_part *p = &v->parts[i];
		int r;

		if (!p->gd || p->is_stream || !p->file->is_writable)
			continue;
		r = disk_file_write(p->file, HEAD_UNCLEAN, &mark, 1);
		if (r < 0)
			return r;
		p->header.is_unclean = is_unclean;
	}
	return 0;
}

/* The descriptor with one line changed. */
static int write_text(struct vmdk *v, const struct strbuf *text, uint64_t old_bytes)
{
	struct disk_file *f = v->img->file;
	_cleanup_(mem_freep) char *padded = NULL;
	uint64_t room = v->text_room ? v->text_room : MAX(text->n, old_bytes);
	int r;

	if (text->n > room)
		return -ENOSPC;
	r = mem_try(&padded, room, VMDK_DESCRIPTOR_MAX);
	if (r < 0)
		return r;
	memcpy(padded, text->p, text->n);
	if (v->text_room)
		return disk_file_write(f, v->text_off, padded, room);
	r = disk_file_write(f, 0, padded, text->n);
	return !r && text->n < old_bytes ? disk_file_truncate(f, text->n) : r;
}

static int read_text(struct vmdk *v, char **ret, size_t *ret_n)
{
	uint64_t n = v->text_room ? v->text_room : disk_file_size(v->img->file);
	int r = mem_try(ret, n + 1, VMDK_DESCRIPTOR_MAX + 1);

	*ret_n = n;
	return r ? r : disk_file_read(v->img->file, v->text_off, *ret, n);
}

static int change_cid(struct vmdk *v)
{
	_cleanup_(strbuf_done) struct strbuf now = { 0 };
	_cleanup_(mem_freep) char *text = NULL;
	uint32_t cid = v->desc.cid;
	char hex[9] = "";
	size_t n;
	int r;

	while (cid == v->desc.cid || cid == VMDK_NO_PARENT)
		if (getrandom(&cid, sizeof(cid), 0) != (ssize_t)sizeof(cid))
			return -errno;
	for (int i = 0; i < 8; i++)
		hex[i] = "0123456789abcdef"[cid >> (28 - 4 * i) & 15];
	r = read_text(v, &text, &n);
	if (r < 0)
		return r;
	if (!vmdk_descriptor_set((struct str){ text, n }, "CID", hex, &now))
		return 0; /* a descriptor without the line has no children that could look */
	r = write_text(v, &now, n);
	if (!r)
		v->desc.cid = cid;
	return r;
}

int vmdk_first_write(struct image *img)
{
	struct vmdk *v = vmdk_of(img);
	int r;

	if (v->is_misaligned)
		return -EOPNOTSUPP;
	r = set_unclean(v, true);
	return r ? r : change_cid(v);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* A place for a grain table that is not there. */
static int place_table(struct vmdk_part *p, uint64_t page)
{
	uint64_t bytes = align_up(p->gt.page_bytes, VMDK_SECTOR);
	uint32_t *const dirs[] = { p->gd, p->rgd };

	if (p->is_stream || p->gd[page])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (!dirs[i])
			continue;
		if (p->space.end / VMDK_SECTOR > UINT32_MAX)
			return -EFBIG;
		dirs[i][page] = (uint32_t)(p->space.end / VMDK_SECTOR);
		p->space.end += align_up(bytes, vmdk_grain_bytes(p));
	}
	p->is_gd_dirty = true;
	return 0;
}

int vmdk_gte_set(struct vmdk_part *p, uint64_t grain, uint32_t gte)
{
	uint64_t page = grain / p->header.nr_gtes;
	uint8_t *data;
	int r = tables_get(&p->gt, page, false, &data);

	if (!r)
		r = place_table(p, page);
	if (r < 0)
		return r;
	put_le32(data + grain % p->header.nr_gtes * 4, gte);
	tables_dirty(&p->gt, page);
	return 0;
}

static int write_directory(struct vmdk_part *p, const uint32_t *gd, uint64_t sector)
{
	_cleanup_(mem_freep) uint8_t *raw = NULL;
	uint64_t n = p->gt.nr_pages;
	int r;

	if (!gd)
		return 0;
	r = mem_try(&raw, n * 4, VMDK_MAX_TABLES * 4);
	for (uint64_t i = 0; i < n && !r; i++)
		put_le32(raw + 4 * i, gd[i]);
	return r ? r : disk_file_write(p->file, sector * VMDK_SECTOR, raw, n * 4);
}

static int write_tables(struct vmdk_part *p)
{
	int r = 0;

	tables_sort(&p->gt);
	for (uint32_t i = 0; p->rgd && i < p->gt.nr_dirty && !r; i++) {
		uint64_t page = p->gt.dirty[i];

		if (p->rgd[page])
			r = disk_file_write(p->file, (uint64_t)p->rgd[page] * VMDK_SECTOR,
					    p->gt.page[page], p->gt.page_bytes);
	}
	if (!r)
		r = tables_write(&p->gt);
	if (!r)
		r = disk_file_sync(p->file);
	if (r < 0 || !p->is_gd_dirty)
		return r;
	r = write_directory(p, p->rgd, p->header.rgd_off);
	if (!r)
		r = write_directory(p, p->gd, p->header.gd_off);
	if (!r)
		r = disk_file_sync(p->file);
	if (!r)
		p->is_gd_dirty = false;
	return r;
}

int vmdk_flush(struct image *img)
{
	struct vmdk *v = vmdk_of(img);
	int r = v->text_room ? 0 : disk_file_sync(img->file);

	for (size_t i = 0; i < v->nr_parts && !r; i++) {
		struct vmdk_part *p = &v->parts[i];

		if (!p->file || !p->file->is_writable)
			continue;
		/* Grains that are in a table are in the file. */
		if (p->gd && disk_file_size(p->file) < p->space.end && p->gt.nr_dirty)
			r = disk_file_truncate(p->file, p->space.end);
		if (!r)
			r = disk_file_sync(p->file);
		if (!r && p->gd && !p->is_stream && p->gt.nr_dirty) {
			r = write_tables(p);
			if (!r)
				space_flushed(&p->space);
		}
	}
	return r;
}

int vmdk_finish(struct image *img)
{
	struct vmdk *v = vmdk_of(img);
	int r = 0;

	for (size_t i = 0; i < v->nr_parts && !r; i++)
		if (v->parts[i].is_stream_open)
			r = vmdk_stream_end(&v->parts[i]);
	if (!r)
		r = set_unclean(v, false);
	for (size_t i = 0; i < v->nr_parts && !r; i++)
		if (v->parts[i].gd)
			r = disk_file_sync(v->parts[i].file);
	return r;
}

/* --- room ------------------------------------------------------------------------------------- */

int vmdk_alloc(struct image *img, uint64_t off, uint64_t len, struct alloc *ret)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_part *p = vmdk_part_at(v, off);
	uint64_t bytes, start, end, place;

	if (!p->file)
		return -EROFS; /* zeros that the descriptor states */
	if (!p->file->is_writable)
		return -EROFS;
	if (!is_plain(p))
		return -EOPNOTSUPP; /* a stream holds what disk_write_packed() put there */
	bytes = vmdk_grain_bytes(p);
	start = p->start + align_down(off - p->start, bytes);
	end = MIN(start + bytes, p->start + p->bytes);
	if (!p->space.ready.n && p->space.end / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	place = space_take(&p->space);
	*ret = (struct alloc){
		.off = off,
		.len = MIN(len, end - off),
		.file = p->file,
		.host_off = place + (off - start),
		.is_zeroed = true,
		.priv = { place },
	};
	if (v->desc.parent_cid != VMDK_NO_PARENT) {
		/* What the parent has around it comes along. */
		ret->off = start;
		ret->len = end - start;
		ret->host_off = place;
	}
	return 0;
}

int vmdk_link(struct image *img, struct alloc *a)
{
	struct vmdk_part *p = vmdk_part_at(vmdk_of(img), a->off);
	int r = vmdk_gte_set(p, (a->off - p->start) / vmdk_grain_bytes(p),
			     (uint32_t)(a->priv[A_PLACE] / VMDK_SECTOR));

	if (r < 0) {
		vmdk_unalloc(img, a);
		return r;
	}
	return tables_is_full(&p->gt) ? vmdk_flush(img) : 0;
}

void vmdk_unalloc(struct image *img, struct alloc *a)
{
	space_give(&vmdk_part_at(vmdk_of(img), a->off)->space, a->priv[A_PLACE]);
}

static int zero_grain(struct vmdk *v, struct vmdk_part *p, uint64_t grain)
{
	bool has_parent = v->desc.parent_cid != VMDK_NO_PARENT;
	bool has_zero = p->header.flags & VMDK_F_ZERO_GRAINS;
	uint32_t gte, to = has_parent ? VMDK_GTE_ZERO : 0;
	int r = vmdk_gte_get(p, grain, false, &gte);

	if (r < 0 || gte == to || (!has_parent && gte == VMDK_GTE_ZERO && has_zero))
		return r;
	if (has_parent && !has_zero)
		return -EOPNOTSUPP;
	r = vmdk_gte_set(p, grain, to);
	if (!r && gte && !(gte == VMDK_GTE_ZERO && has_zero))
		space_give(&p->space, (uint64_t)gte * VMDK_SECTOR);
	return r;
}

static int zero_part(struct vmdk *v, struct vmdk_part *p, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t bytes, first, end;
	uint32_t gte;
	int r = 0;

	if (!p->file)
		return 0;
	if (!p->file->is_writable)
		return -EROFS;
	if (!p->gd)
		return disk_file_zero(p->file, p->flat_off + off, len, unmap);
	bytes = vmdk_grain_bytes(p);
	first = off / bytes;
	end = (off + len + bytes - 1) / bytes;
	for (uint64_t i = first; i < end && !r; i++) {
		if (is_plain(p)) {
			r = zero_grain(v, p, i);
			continue;
		}
		r = vmdk_gte_get(p, i, false, &gte);
		if (!r && gte)
			r = -EOPNOTSUPP;
	}
	return r;
}

int vmdk_zero(struct image *img, uint64_t off, uint64_t len, bool unmap)
{
	struct vmdk *v = vmdk_of(img);
	int r = 0;

	while (len && !r) {
		struct vmdk_part *p = vmdk_part_at(v, off);
		uint64_t n = MIN(len, p->start + p->bytes - off);

		r = zero_part(v, p, off - p->start, n, unmap);
		off += n;
		len -= n;
		if (!r && tables_is_full(&p->gt) && p->gd)
			r = vmdk_flush(img);
	}
	return r;
}

int vmdk_discard(struct image *img, uint64_t off, uint64_t len)
{
	int r = vmdk_zero(img, off, len, true);

	return r == -EOPNOTSUPP ? 0 : r;
}

/* --- size ------------------------------------------------------------------------------------- */

int vmdk_resize(struct image *img, uint64_t size, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf now = { 0 };
	_cleanup_(mem_freep) char *text = NULL;
	struct vmdk *v = vmdk_of(img);
	struct vmdk_part *p = &v->parts[0];
	size_t n;
	int r;

	if (v->nr_parts != 1 || p->gd || !p->is_own || p->flat_off)
		return err_set(
			err, -EOPNOTSUPP,
			"only a VMDK image of one flat extent can change its size; convert others");
	if (!size || size / VMDK_SECTOR > VMDK_MAX_SECTORS)
		return err_set(err, -EINVAL, "a VMDK disk has 512 bytes to 512 TiB");
	r = read_text(v, &text, &n);
	if (!r && !vmdk_descriptor_set_sectors((struct str){ text, n }, size / VMDK_SECTOR, &now))
		r = -EILSEQ;
	/* The file is never shorter than the descriptor says. */
	if (!r && size > img->size)
		r = disk_file_truncate(p->file, size);
	if (!r)
		r = write_text(v, &now, n);
	if (!r && size < img->size)
		r = disk_file_truncate(p->file, size);
	if (r < 0)
		return err_set(err, r, "resize: %s", strerror(-r));
	p->bytes = img->size = size;
	return 0;
}

/* --- check ------------------------------------------------------------------------------------ */

#define USED_LIMIT (UINT64_C(1) << 28) /* bytes: a bit for each sector of 1 TiB */

/* Whether sectors were free; they are in use afterwards. */
static bool take(uint8_t *used, uint64_t first, uint64_t n)
{
	bool was_free = true;

	for (uint64_t i = first; i < first + n; i++) {
		was_free &= !(used[i / 8] >> (i % 8) & 1);
		used[i / 8] |= (uint8_t)(1 << (i % 8));
	}
	return was_free;
}

static int check_grain(struct vmdk_part *p, struct disk_check *c, uint8_t *used, uint64_t sectors,
		       uint64_t grain)
{
	uint64_t n = p->header.flags & VMDK_F_COMPRESSED ? 1 : p->header.grain;
	const char *fault = NULL;
	uint32_t gte = 0;
	int r = vmdk_gte_get(p, grain, false, &gte);

	if (r < 0 && r != -EILSEQ)
		return r;
	if (!r && (!gte || (gte == VMDK_GTE_ZERO && p->header.flags & VMDK_F_ZERO_GRAINS)))
		return 0;
	/* The last grain may end with the disk. */
	if (r < 0 || gte >= sectors)
		fault = "lies behind the end of the file";
	else if (!take(used, gte, MIN(n, sectors - gte)))
		fault = "shares its place with something else";
	c->packed += n == 1 && !fault;
	c->allocated += !fault;
	if (!fault)
		return 0;
	r = c->fix_errors && !p->is_stream ? vmdk_gte_set(p, grain, 0) : 0;
	check_error(c, c->fix_errors && !p->is_stream && !r, "grain %" PRIu64 " (sector %u) %s",
		    grain, gte, fault);
	return r;
}

static int check_copy(struct vmdk_part *p, struct disk_check *c, uint64_t page, uint8_t *copy)
{
	uint8_t *data;
	int r;

	if (!p->rgd || !p->gd[page] || !p->rgd[page])
		return 0;
	r = tables_get(&p->gt, page, false, &data);
	if (!r)
		r = disk_file_read(p->file, (uint64_t)p->rgd[page] * VMDK_SECTOR, copy,
				   p->gt.page_bytes);
	if (r < 0 || !memcmp(data, copy, p->gt.page_bytes))
		return r;
	/* A crash between the two; whoever reads looks at the first. */
	if (c->fix_leaks || c->fix_errors)
		tables_dirty(&p->gt, page);
	check_leak(c, c->fix_leaks || c->fix_errors, 1,
		   "grain table %" PRIu64 " differs from its copy", page);
	return 0;
}

static int check_part(struct vmdk_part *p, struct disk_check *c)
{
	uint64_t sectors = (disk_file_size(p->file) + VMDK_SECTOR - 1) / VMDK_SECTOR;
	uint64_t gt_sectors = align_up(p->gt.page_bytes, VMDK_SECTOR) / VMDK_SECTOR;
	uint64_t grains = (p->bytes + vmdk_grain_bytes(p) - 1) / vmdk_grain_bytes(p);
	uint32_t *const dirs[] = { p->gd, p->rgd };
	_cleanup_(mem_freep) uint8_t *used = NULL;
	_cleanup_(mem_freep) uint8_t *copy = NULL;
	int r = mem_try(&used, sectors / 8 + 1, USED_LIMIT);

	if (!r)
		r = mem_try(&copy, p->gt.page_bytes, 1 << 20);
	if (r < 0)
		return r;
	c->clusters += grains;
	take(used, 0, MIN(UINT64_C(1), sectors));
	for (size_t d = 0; d < ARRAY_SIZE(dirs); d++)
		for (uint64_t i = 0; dirs[d] && i < p->gt.nr_pages; i++) {
			if (!dirs[d][i])
				continue;
			if (!range_ok(dirs[d][i], gt_sectors, sectors))
				check_error(c, false, "grain table %" PRIu64 " lies behind the end",
					    i);
			else if (!take(used, dirs[d][i], gt_sectors))
				check_error(c, false, "grain table %" PRIu64 " shares its place",
					    i);
		}
	for (uint64_t i = 0; i < grains && !r; i++)
		r = check_grain(p, c, used, sectors, i);
	for (uint64_t i = 0; i < p->gt.nr_pages && !r && !p->is_stream; i++)
		r = check_copy(p, c, i, copy);
	for (uint64_t i = sectors; i && !c->file_end; i--)
		if (used[(i - 1) / 8] >> ((i - 1) % 8) & 1)
			c->file_end = i * VMDK_SECTOR;
	return r;
}

int vmdk_check(struct image *img, struct disk_check *c, struct err *err)
{
	struct vmdk *v = vmdk_of(img);
	int r = 0;

	for (size_t i = 0; i < v->nr_parts && !r; i++)
		if (v->parts[i].gd)
			r = check_part(&v->parts[i], c);
	if (!r && (c->fix_errors || c->fix_leaks))
		r = vmdk_flush(img);
	if (!r && c->fix_errors && !img->is_written)
		r = set_unclean(v, false);
	return r < 0 ? err_set(err, r, "check: %s", strerror(-r)) : 0;
}
