/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The structures of VHD files: footer, header of dynamic disks, geometry. What is hard about this format is
 * not in its specification: the size of a disk is there twice, in bytes and as a geometry that can only
 * come near, and which of the two counts depends on who made the image (vhd_size()).
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/utf16_priv.h"
#include "disk/vhd/vhd_priv.h"

enum {
	FOOT_FEATURES = 8,
	FOOT_VERSION = 12,
	FOOT_DATA_OFF = 16,
	FOOT_TIMESTAMP = 24,
	FOOT_CREATOR = 28,
	FOOT_CREATOR_VERSION = 32,
	FOOT_HOST_OS = 36,
	FOOT_ORIGINAL_SIZE = 40,
	FOOT_CURRENT_SIZE = 48,
	FOOT_CYLINDERS = 56,
	FOOT_HEADS = 58,
	FOOT_SECTORS = 59,
	FOOT_TYPE = 60,
	FOOT_CHECKSUM = 64,
	FOOT_UUID = 68,
	FOOT_SAVED = 84,

	HEAD_DATA_OFF = 8,
	HEAD_TABLE_OFF = 16,
	HEAD_VERSION = 24,
	HEAD_NR_ENTRIES = 28,
	HEAD_BLOCK_SIZE = 32,
	HEAD_CHECKSUM = 36,
	HEAD_PARENT_UUID = 40,
	HEAD_PARENT_TIME = 56,
	HEAD_PARENT_NAME = 64,
	HEAD_PARENT_NAME_SIZE = 512,
	HEAD_LOCATORS = 576,
	HEAD_LOCATOR_SIZE = 24,

	FEATURES_RESERVED = 2, /* always set */
	VERSION_1_0 = 0x00010000,

	MAX_CYLINDERS = 65535,
	MAX_HEADS = 16,
	MAX_SECTORS = 255,
};

#define MAX_CHS_SECTORS (UINT64_C(65535) * 16 * 255)

/* Ones' complement of the sum of all bytes but those of the checksum. */
static uint32_t checksum(const uint8_t *p, size_t n, size_t field)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (i < field || i >= field + 4)
			sum += p[i];
	return ~sum;
}

bool vhd_is(const uint8_t *p, size_t n)
{
	return n >= 8 && !memcmp(p, "conectix", 8);
}

int vhd_footer_parse(const uint8_t *p, size_t n, struct vhd_footer *ret, struct err *err)
{
	struct vhd_footer f = { 0 };
	uint32_t version, type;

	if (n < VHD_OLD_FOOTER_SIZE || !vhd_is(p, n))
		return err_set(err, -EILSEQ, "VHD footer has no signature");
	if (get_be32(p + FOOT_CHECKSUM) != checksum(p, n, FOOT_CHECKSUM))
		return err_set(err, -EILSEQ, "VHD footer has a wrong checksum");
	version = get_be32(p + FOOT_VERSION);
	if (version >> 16 != VERSION_1_0 >> 16)
		return err_set(err, -EOPNOTSUPP, "VHD version %u.%u is unknown, only 1.0 is",
			       version >> 16, version & 0xffff);
	type = get_be32(p + FOOT_TYPE);
	if (type != VHD_FIXED && type != VHD_DYNAMIC && type != VHD_DIFFERENCING)
		return err_set(err, -EOPNOTSUPP,
			       "VHD type %u is neither fixed, dynamic nor differencing", type);
	f.type = (enum vhd_type)type;
	f.data_off = get_be64(p + FOOT_DATA_OFF);
	f.timestamp = get_be32(p + FOOT_TIMESTAMP);
	memcpy(f.creator, p + FOOT_CREATOR, 4);
	f.creator_version = get_be32(p + FOOT_CREATOR_VERSION);
	memcpy(f.host_os, p + FOOT_HOST_OS, 4);
	f.original_size = get_be64(p + FOOT_ORIGINAL_SIZE);
	f.current_size = get_be64(p + FOOT_CURRENT_SIZE);
	f.chs.cylinders = get_be16(p + FOOT_CYLINDERS);
	f.chs.heads = p[FOOT_HEADS];
	f.chs.sectors = p[FOOT_SECTORS];
	memcpy(f.uuid.b, p + FOOT_UUID, 16);
	f.is_saved = p[FOOT_SAVED];
	if (!vhd_size(&f) || vhd_size(&f) > VHD_MAX_SIZE || vhd_size(&f) % VHD_SECTOR)
		return err_set(err, -EILSEQ,
			       "VHD disk size of %llu bytes is not a multiple of 512 up to 2040 GiB",
			       (unsigned long long)vhd_size(&f));
	*ret = f;
	return 0;
}

void vhd_footer_put(const struct vhd_footer *f, uint8_t *p)
{
	memset(p, 0, VHD_FOOTER_SIZE);
	memcpy(p, "conectix", 8);
	put_be32(p + FOOT_FEATURES, FEATURES_RESERVED);
	put_be32(p + FOOT_VERSION, VERSION_1_0);
	put_be64(p + FOOT_DATA_OFF, f->data_off);
	put_be32(p + FOOT_TIMESTAMP, f->timestamp);
	memcpy(p + FOOT_CREATOR, f->creator, 4);
	put_be32(p + FOOT_CREATOR_VERSION, f->creator_version);
	memcpy(p + FOOT_HOST_OS, f->host_os, 4);
	put_be64(p + FOOT_ORIGINAL_SIZE, f->original_size);
	put_be64(p + FOOT_CURRENT_SIZE, f->current_size);
	put_be16(p + FOOT_CYLINDERS, f->chs.cylinders);
	p[FOOT_HEADS] = f->chs.heads;
	p[FOOT_SECTORS] = f->chs.sectors;
	put_be32(p + FOOT_TYPE, f->type);
	memcpy(p + FOOT_UUID, f->uuid.b, 16);
	p[FOOT_SAVED] = f->is_saved;
	put_be32(p + FOOT_CHECKSUM, checksum(p, VHD_FOOTER_SIZE, FOOT_CHECKSUM));
}

uint64_t vhd_chs_sectors(struct vhd_chs chs)
{
	return (uint64_t)chs.cylinders * chs.heads * chs.sectors;
}

uint64_t vhd_size(const struct vhd_footer *f)
{
	/* Virtual PC, Virtual Server and QEMU without force_size show what the geometry says. */
	static const char by_chs[][5] = { "vpc ", "vs  ", "qemu" };
	uint64_t sectors = vhd_chs_sectors(f->chs);

	/* The largest geometry stands for everything that is larger than it. */
	if (!sectors || sectors >= MAX_CHS_SECTORS)
		return f->current_size;
	for (size_t i = 0; i < ARRAY_SIZE(by_chs); i++)
		if (!memcmp(f->creator, by_chs[i], 4))
			return sectors * VHD_SECTOR;
	return f->current_size;
}

struct vhd_chs vhd_chs_of(uint64_t nr_sectors)
{
	uint32_t total = (uint32_t)MIN(nr_sectors, MAX_CHS_SECTORS);
	uint32_t sectors, heads, tracks;

	if (total >= MAX_CYLINDERS * MAX_HEADS * 63) {
		sectors = MAX_SECTORS;
		heads = MAX_HEADS;
	} else {
		sectors = 17;
		tracks = total / sectors;
		heads = MAX((tracks + 1023) / 1024, 4u);
		if (tracks >= heads * 1024 || heads > MAX_HEADS) {
			sectors = 31;
			heads = MAX_HEADS;
			tracks = total / sectors;
		}
		if (tracks >= heads * 1024) {
			sectors = 63;
			heads = MAX_HEADS;
		}
	}
	tracks = total / sectors;
	return (struct vhd_chs){
		.cylinders = (uint16_t)(tracks / heads),
		.heads = (uint8_t)heads,
		.sectors = (uint8_t)sectors,
	};
}

static int locator_parse(const uint8_t *e, struct vhd_locator *ret, struct err *err)
{
	uint32_t length = get_be32(e + 8);
	uint64_t off = get_be64(e + 16);

	*ret = (struct vhd_locator){ .code = get_be32(e), .length = length, .off = off };
	if (ret->code && (length > VHD_LOCATOR_MAX || off > INT64_MAX))
		return err_set(err, -EILSEQ, "VHD parent locator of %u bytes at 0x%llx", length,
			       (unsigned long long)off);
	return 0;
}

int vhd_header_parse(const uint8_t *p, uint64_t size, struct vhd_header *ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct vhd_header h = { 0 };
	uint64_t need;
	int r;

	if (memcmp(p, "cxsparse", 8))
		return err_set(err, -EILSEQ, "VHD header has no signature");
	if (get_be32(p + HEAD_CHECKSUM) != checksum(p, VHD_HEADER_SIZE, HEAD_CHECKSUM))
		return err_set(err, -EILSEQ, "VHD header has a wrong checksum");
	if (get_be32(p + HEAD_VERSION) >> 16 != VERSION_1_0 >> 16)
		return err_set(err, -EOPNOTSUPP, "VHD header version 0x%x is unknown",
			       get_be32(p + HEAD_VERSION));
	h.table_off = get_be64(p + HEAD_TABLE_OFF);
	h.nr_entries = get_be32(p + HEAD_NR_ENTRIES);
	h.block_size = get_be32(p + HEAD_BLOCK_SIZE);
	if (!is_pow2(h.block_size) || h.block_size < VHD_BLOCK_MIN || h.block_size > VHD_BLOCK_MAX)
		return err_set(err, -EILSEQ,
			       "VHD block size of %u bytes is not a power of two from 4 KiB to 256 MiB",
			       h.block_size);
	need = (size + h.block_size - 1) / h.block_size;
	if (h.nr_entries < need)
		return err_set(err, -EILSEQ, "VHD table has %u entries, the disk needs %llu",
			       h.nr_entries, (unsigned long long)need);
	if (need > VHD_MAX_ENTRIES)
		return err_set(err, -EOPNOTSUPP,
			       "VHD table needs %llu entries; at most %llu make sense",
			       (unsigned long long)need, (unsigned long long)VHD_MAX_ENTRIES);
	if (h.table_off % VHD_SECTOR || h.table_off < VHD_FOOTER_SIZE ||
	    h.table_off > INT64_MAX / 2)
		return err_set(err, -EILSEQ, "VHD table at 0x%llx, which is not a sector",
			       (unsigned long long)h.table_off);
	memcpy(h.parent_uuid.b, p + HEAD_PARENT_UUID, 16);
	h.parent_timestamp = get_be32(p + HEAD_PARENT_TIME);
	utf16_get(p + HEAD_PARENT_NAME, HEAD_PARENT_NAME_SIZE, true, &name);
	memcpy(h.parent_name, strbuf_cstr(&name), MIN(name.n, sizeof(h.parent_name) - 1));
	for (unsigned int i = 0; i < VHD_NR_LOCATORS; i++) {
		r = locator_parse(p + HEAD_LOCATORS + i * HEAD_LOCATOR_SIZE, &h.locators[i], err);
		if (r < 0)
			return r;
	}
	*ret = h;
	return 0;
}

void vhd_header_put(const struct vhd_header *h, uint8_t *p)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };

	memset(p, 0, VHD_HEADER_SIZE);
	memcpy(p, "cxsparse", 8);
	put_be64(p + HEAD_DATA_OFF, UINT64_MAX);
	put_be64(p + HEAD_TABLE_OFF, h->table_off);
	put_be32(p + HEAD_VERSION, VERSION_1_0);
	put_be32(p + HEAD_NR_ENTRIES, h->nr_entries);
	put_be32(p + HEAD_BLOCK_SIZE, h->block_size);
	memcpy(p + HEAD_PARENT_UUID, h->parent_uuid.b, 16);
	put_be32(p + HEAD_PARENT_TIME, h->parent_timestamp);
	utf16_put(str_of(h->parent_name), true, &name);
	memcpy(p + HEAD_PARENT_NAME, strbuf_cstr(&name),
	       MIN(name.n, (size_t)HEAD_PARENT_NAME_SIZE - 2));
	for (unsigned int i = 0; i < VHD_NR_LOCATORS; i++) {
		uint8_t *e = p + HEAD_LOCATORS + i * HEAD_LOCATOR_SIZE;
		const struct vhd_locator *l = &h->locators[i];

		if (!l->code)
			continue;
		put_be32(e, l->code);
		/* The space, in sectors says the text of the specification; its authors write bytes. */
		put_be32(e + 4, (uint32_t)align_up(l->length, VHD_SECTOR));
		put_be32(e + 8, l->length);
		put_be64(e + 16, l->off);
	}
	put_be32(p + HEAD_CHECKSUM, checksum(p, VHD_HEADER_SIZE, HEAD_CHECKSUM));
}

void vhd_locator_text(uint32_t code, const uint8_t *p, size_t n, struct strbuf *ret)
{
	size_t start = ret->n;

	if (code == VHD_LOCATOR_MACX) {
		strbuf_add(ret, p, strnlen((const char *)p, n));
		return;
	}
	utf16_get(p, n, false, ret);
	for (size_t i = start; i < ret->n; i++)
		if (ret->p[i] == '\\')
			ret->p[i] = '/';
}
