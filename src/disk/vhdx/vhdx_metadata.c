/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metadata region of VHDX files: a table of items, each found by its identifier; what the items say
 * (sizes, where the parent is); and the shape of the block allocation table that follows from it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "disk/utf16_priv.h"
#include "disk/vhdx/vhdx_priv.h"

enum {
	TABLE_COUNT = 10,
	TABLE_ENTRIES = 32,
	TABLE_ENTRY_SIZE = 32,
	TABLE_MAX_ENTRIES = 2047,
	ENTRY_IS_USER = 1 << 0,
	ENTRY_IS_DISK = 1 << 1, /* of the virtual disk rather than of the file */
	ENTRY_IS_REQUIRED = 1 << 2,
	/* file parameters */
	PARAM_FIXED = 1 << 0,
	PARAM_HAS_PARENT = 1 << 1,
	/* parent locator */
	LOCATOR_COUNT = 18,
	LOCATOR_ENTRIES = 20,
	LOCATOR_ENTRY_SIZE = 12,
	LOCATOR_MAX_ENTRIES = 64,
};

enum item {
	ITEM_FILE_PARAMETERS,
	ITEM_DISK_SIZE,
	ITEM_DISK_ID,
	ITEM_LOGICAL_SECTOR,
	ITEM_PHYSICAL_SECTOR,
	ITEM_PARENT_LOCATOR,
};

static const struct {
	struct guid id;
	const char *name;
	uint32_t length; /* 0: any */
	uint32_t flags;
} items[] = {
	[ITEM_FILE_PARAMETERS] = { GUID(0xcaa16737, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa,
					0x44, 0xe7, 0x6b),
				   "file parameters", 8, ENTRY_IS_REQUIRED },
	[ITEM_DISK_SIZE] = { GUID(0x2fa54224, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b,
				  0xf4, 0xb8),
			     "virtual disk size", 8, ENTRY_IS_REQUIRED | ENTRY_IS_DISK },
	[ITEM_DISK_ID] = { GUID(0xbeca12ab, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00,
				0xc7, 0x46),
			   "virtual disk id", 16, ENTRY_IS_REQUIRED | ENTRY_IS_DISK },
	[ITEM_LOGICAL_SECTOR] = { GUID(0x8141bf1d, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8,
				       0xfa, 0xab, 0x5f),
				  "logical sector size", 4, ENTRY_IS_REQUIRED | ENTRY_IS_DISK },
	[ITEM_PHYSICAL_SECTOR] = { GUID(0xcda348c7, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52,
					0x51, 0xc5, 0x56),
				   "physical sector size", 4, ENTRY_IS_REQUIRED | ENTRY_IS_DISK },
	[ITEM_PARENT_LOCATOR] = { GUID(0xa8d35f2d, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48,
				       0x34, 0xab, 0x0c),
				  "parent locator", 0, ENTRY_IS_REQUIRED },
};

/* The one kind of parent that is defined: another VHDX file (2.6.2.6.3). */
static const struct guid locator_vhdx =
	GUID(0xb04aefb7, 0xd19e, 0x4a81, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13);

struct place {
	const uint8_t *p;
	uint32_t off, length; /* off 0: not there */
};

static int find_items(const uint8_t *p, size_t n, struct place *found, struct err *err)
{
	unsigned int count;

	if (n < VHDX_METADATA_TABLE_SIZE)
		return err_set(err, -EILSEQ, "VHDX metadata region is cut off");
	if (memcmp(p, "metadata", 8))
		return err_set(err, -EILSEQ, "VHDX metadata table has no signature");
	count = get_le16(p + TABLE_COUNT);
	if (count > TABLE_MAX_ENTRIES)
		return err_set(err, -EILSEQ, "VHDX metadata table has %u entries; at most %d fit",
			       count, TABLE_MAX_ENTRIES);
	for (unsigned int i = 0; i < count; i++) {
		const uint8_t *e = p + TABLE_ENTRIES + i * TABLE_ENTRY_SIZE;
		uint32_t off = get_le32(e + 16), length = get_le32(e + 20);
		uint32_t flags = get_le32(e + 24);
		char text[GUID_TEXT_LEN + 1];
		struct guid id;
		size_t k = 0;

		memcpy(id.b, e, 16);
		guid_text(&id, true, text);
		if (length && (off < VHDX_METADATA_TABLE_SIZE || length > VHDX_ITEM_MAX ||
			       !range_ok(off, length, n)))
			return err_set(err, -EILSEQ,
				       "VHDX metadata item %s: %u bytes at %u of a region of %zu",
				       text, length, off, n);
		while (k < ARRAY_SIZE(items) && !guid_eq(&id, &items[k].id))
			k++;
		if (flags & ENTRY_IS_USER || k == ARRAY_SIZE(items)) {
			if (flags & ENTRY_IS_REQUIRED)
				return err_set(err, -EOPNOTSUPP,
					       "VHDX file needs metadata item %s, which is unknown",
					       text);
			continue;
		}
		if (found[k].off)
			return err_set(err, -EILSEQ, "VHDX metadata item '%s' stands there twice",
				       items[k].name);
		if (!length || (items[k].length && length < items[k].length))
			return err_set(err, -EILSEQ,
				       "VHDX metadata item '%s' has %u bytes instead of %u",
				       items[k].name, length, items[k].length);
		found[k] = (struct place){ p + off, off, length };
	}
	for (size_t k = 0; k < ARRAY_SIZE(items); k++)
		if (!found[k].off && k != ITEM_PARENT_LOCATOR)
			return err_set(err, -EILSEQ, "VHDX metadata item '%s' is missing",
				       items[k].name);
	return 0;
}

int vhdx_metadata_parse(const uint8_t *p, size_t n, struct vhdx_metadata *ret, struct err *err)
{
	struct place found[ARRAY_SIZE(items)] = { 0 };
	struct vhdx_metadata m = { 0 };
	uint32_t flags;
	int r;

	r = find_items(p, n, found, err);
	if (r < 0)
		return r;
	m.block_size = get_le32(found[ITEM_FILE_PARAMETERS].p);
	flags = get_le32(found[ITEM_FILE_PARAMETERS].p + 4);
	m.is_fixed = flags & PARAM_FIXED;
	m.has_parent = flags & PARAM_HAS_PARENT;
	m.size = get_le64(found[ITEM_DISK_SIZE].p);
	m.size_off = found[ITEM_DISK_SIZE].off;
	memcpy(m.disk_id.b, found[ITEM_DISK_ID].p, 16);
	m.logical_sector = get_le32(found[ITEM_LOGICAL_SECTOR].p);
	m.physical_sector = get_le32(found[ITEM_PHYSICAL_SECTOR].p);
	m.locator_off = found[ITEM_PARENT_LOCATOR].off;
	m.locator_length = found[ITEM_PARENT_LOCATOR].length;

	if (!is_pow2(m.block_size) || m.block_size < VHDX_MIB || m.block_size > 256 * VHDX_MIB)
		return err_set(err, -EILSEQ,
			       "VHDX block size of %u bytes is not a power of two from 1 to 256 MiB",
			       m.block_size);
	if (m.logical_sector != 512 && m.logical_sector != 4096)
		return err_set(err, -EILSEQ, "VHDX logical sector size %u is neither 512 nor 4096",
			       m.logical_sector);
	if (m.physical_sector != 512 && m.physical_sector != 4096)
		return err_set(err, -EILSEQ, "VHDX physical sector size %u is neither 512 nor 4096",
			       m.physical_sector);
	if (!m.size || m.size % m.logical_sector || m.size > VHDX_MAX_SIZE)
		return err_set(err, -EILSEQ,
			       "VHDX disk size of %llu bytes is not a multiple of %u up to 64 TiB",
			       (unsigned long long)m.size, m.logical_sector);
	if (m.size_off % 8)
		return err_set(err, -EILSEQ, "VHDX disk size stands at odd place %u", m.size_off);
	if (m.has_parent && !m.locator_off)
		return err_set(err, -EILSEQ, "VHDX file has a parent and does not say which");
	*ret = m;
	return 0;
}

void vhdx_metadata_put(struct vhdx_metadata *m, uint8_t *p, size_t n, const uint8_t *locator,
		       size_t n_locator)
{
	uint32_t at = VHDX_METADATA_TABLE_SIZE;
	unsigned int count = 0;

	memcpy(p, "metadata", 8);
	for (size_t k = 0; k < ARRAY_SIZE(items); k++) {
		uint8_t *e = p + TABLE_ENTRIES + count * TABLE_ENTRY_SIZE;
		uint32_t length = items[k].length ? items[k].length : (uint32_t)n_locator;

		if (k == ITEM_PARENT_LOCATOR && !m->has_parent)
			continue;
		if (!range_ok(at, length, n))
			abort();
		memcpy(e, items[k].id.b, 16);
		put_le32(e + 16, at);
		put_le32(e + 20, length);
		put_le32(e + 24, items[k].flags);
		switch ((enum item)k) {
		case ITEM_FILE_PARAMETERS:
			put_le32(p + at, m->block_size);
			put_le32(p + at + 4, (m->is_fixed ? PARAM_FIXED : 0) |
						     (m->has_parent ? PARAM_HAS_PARENT : 0));
			break;
		case ITEM_DISK_SIZE:
			put_le64(p + at, m->size);
			m->size_off = at;
			break;
		case ITEM_DISK_ID:
			memcpy(p + at, m->disk_id.b, 16);
			break;
		case ITEM_LOGICAL_SECTOR:
			put_le32(p + at, m->logical_sector);
			break;
		case ITEM_PHYSICAL_SECTOR:
			put_le32(p + at, m->physical_sector);
			break;
		case ITEM_PARENT_LOCATOR:
			memcpy(p + at, locator, n_locator);
			m->locator_off = at;
			m->locator_length = length;
			break;
		}
		at = (uint32_t)align_up(at + length, 16);
		count++;
	}
	put_le16(p + TABLE_COUNT, (uint16_t)count);
}

struct vhdx_shape vhdx_shape_of(const struct vhdx_metadata *m)
{
	struct vhdx_shape s = { .block_size = m->block_size };

	s.chunk_ratio = (uint32_t)((UINT64_C(1) << 23) * m->logical_sector / m->block_size);
	s.nr_blocks = (m->size + m->block_size - 1) / m->block_size;
	s.nr_bitmaps = (s.nr_blocks + s.chunk_ratio - 1) / s.chunk_ratio;
	if (m->has_parent)
		s.nr_entries = s.nr_bitmaps * (s.chunk_ratio + UINT64_C(1));
	else
		s.nr_entries = s.nr_blocks + (s.nr_blocks - 1) / s.chunk_ratio;
	return s;
}

void vhdx_locator_done(struct vhdx_locator *l)
{
	mem_freep(&l->relative_path);
	mem_freep(&l->volume_path);
	mem_freep(&l->absolute_path);
	*l = (struct vhdx_locator){ 0 };
}

static int locator_string(const uint8_t *p, size_t n, uint32_t off, uint32_t length,
			  struct strbuf *ret, struct err *err)
{
	if (!off || !length || !range_ok(off, length, n))
		return err_set(err, -EILSEQ, "VHDX parent locator: text of %u bytes at %u of %zu",
			       length, off, n);
	utf16_get(p + off, length, false, ret);
	return 0;
}

static int locator_take(struct vhdx_locator *l, struct str key, struct strbuf *value,
			struct err *err)
{
	char **text = NULL;

	if (str_eq(key, STR("parent_linkage"))) {
		if (guid_parse(strbuf_str(value), true, &l->linkage) < 0)
			return err_set(err, -EILSEQ, "VHDX parent_linkage '%.80s' is no identifier",
				       strbuf_cstr(value));
		l->has_linkage = true;
	} else if (str_eq(key, STR("parent_linkage2"))) {
		l->has_linkage2 = !guid_parse(strbuf_str(value), true, &l->linkage2);
	} else if (str_eq(key, STR("relative_path"))) {
		text = &l->relative_path;
	} else if (str_eq(key, STR("volume_path"))) {
		text = &l->volume_path;
	} else if (str_eq(key, STR("absolute_win32_path"))) {
		text = &l->absolute_path;
	}
	if (text) {
		free(*text);
		*text = strbuf_take(value);
	}
	return 0;
}

int vhdx_locator_parse(const uint8_t *p, size_t n, struct vhdx_locator *ret, struct err *err)
{
	struct guid type;
	unsigned int count;

	if (n < LOCATOR_ENTRIES)
		return err_set(err, -EILSEQ, "VHDX parent locator is cut off");
	memcpy(type.b, p, 16);
	if (!guid_eq(&type, &locator_vhdx))
		return err_set(err, -EOPNOTSUPP, "VHDX parent is not another VHDX file");
	count = get_le16(p + LOCATOR_COUNT);
	if (count > LOCATOR_MAX_ENTRIES ||
	    !range_ok(LOCATOR_ENTRIES, count * LOCATOR_ENTRY_SIZE, n))
		return err_set(err, -EILSEQ, "VHDX parent locator with %u keys does not fit",
			       count);
	for (unsigned int i = 0; i < count; i++) {
		const uint8_t *e = p + LOCATOR_ENTRIES + i * LOCATOR_ENTRY_SIZE;
		_cleanup_(strbuf_done) struct strbuf key = { 0 };
		_cleanup_(strbuf_done) struct strbuf value = { 0 };
		int r;

		r = locator_string(p, n, get_le32(e), get_le16(e + 8), &key, err);
		if (!r)
			r = locator_string(p, n, get_le32(e + 4), get_le16(e + 10), &value, err);
		if (!r)
			r = locator_take(ret, strbuf_str(&key), &value, err);
		if (r < 0)
			return r;
	}
	if (!ret->has_linkage)
		return err_set(err, -EILSEQ, "VHDX parent locator has no parent_linkage");
	if (!ret->relative_path && !ret->volume_path && !ret->absolute_path)
		return err_set(err, -EILSEQ, "VHDX parent locator has no path");
	return 0;
}

void vhdx_locator_put(const struct vhdx_locator *l, struct strbuf *ret)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	char linkage[GUID_TEXT_LEN + 3] = "{";
	const struct {
		const char *key, *value;
	} rows[] = {
		{ "parent_linkage", linkage },
		{ "relative_path", l->relative_path },
		{ "volume_path", l->volume_path },
		{ "absolute_win32_path", l->absolute_path },
	};
	uint8_t head[LOCATOR_ENTRIES] = { 0 };
	unsigned int count = 0;
	uint32_t at;

	guid_text(&l->linkage, true, linkage + 1);
	memcpy(linkage + 1 + GUID_TEXT_LEN, "}", 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		count += rows[i].value != NULL;
	memcpy(head, locator_vhdx.b, 16);
	put_le16(head + LOCATOR_COUNT, (uint16_t)count);
	strbuf_add(ret, head, sizeof(head));
	at = LOCATOR_ENTRIES + count * LOCATOR_ENTRY_SIZE;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t e[LOCATOR_ENTRY_SIZE];
		size_t start = text.n, middle;

		if (!rows[i].value)
			continue;
		utf16_put(str_of(rows[i].key), false, &text);
		middle = text.n;
		utf16_put(str_of(rows[i].value), false, &text);
		put_le32(e, at + (uint32_t)start);
		put_le32(e + 4, at + (uint32_t)middle);
		put_le16(e + 8, (uint16_t)(middle - start));
		put_le16(e + 10, (uint16_t)(text.n - middle));
		strbuf_add(ret, e, sizeof(e));
	}
	strbuf_add(ret, strbuf_cstr(&text), text.n);
}
