/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header section of VHDX files: identifier, the two headers that take turns, the two copies of the
 * region table. A structure that is damaged is told apart (-EILSEQ) from one that is sound and asks for
 * something that we do not have (-EOPNOTSUPP), since only in the first case the other copy is tried.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crc32c.h"
#include "disk/utf16_priv.h"
#include "disk/vhdx/vhdx_priv.h"

enum {
	/* header (2.2.2) */
	HEAD_CHECKSUM = 4,
	HEAD_SEQ = 8,
	HEAD_FILE_WRITE = 16,
	HEAD_DATA_WRITE = 32,
	HEAD_LOG = 48,
	HEAD_LOG_VERSION = 64,
	HEAD_VERSION = 66,
	HEAD_LOG_LENGTH = 68,
	HEAD_LOG_OFF = 72,
	/* region table (2.2.3) */
	REGI_CHECKSUM = 4,
	REGI_COUNT = 8,
	REGI_ENTRIES = 16,
	REGI_ENTRY_SIZE = 32,
	REGI_MAX_ENTRIES = 2047,
	IDENTIFIER_CREATOR = 8,
	IDENTIFIER_CREATOR_SIZE = 512,
};

static const struct guid region_bat =
	GUID(0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
static const struct guid region_metadata =
	GUID(0x8b7ca206, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);

/* The checksum of a structure whose own field for it counts as zero. */
static uint32_t checksum(const uint8_t *p, size_t n, size_t field)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, p, field);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, p + field + sizeof(zero), n - field - sizeof(zero));
}

bool vhdx_is(const uint8_t *p, size_t n)
{
	return n >= 8 && !memcmp(p, "vhdxfile", 8);
}

void vhdx_identifier_put(uint8_t *p, const char *creator)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };

	memset(p, 0, VHDX_HEADER_SIZE);
	memcpy(p, "vhdxfile", 8);
	utf16_put(str_of(creator), false, &text);
	memcpy(p + IDENTIFIER_CREATOR, strbuf_cstr(&text),
	       MIN(text.n, (size_t)IDENTIFIER_CREATOR_SIZE - 2));
}

void vhdx_identifier_creator(const uint8_t *p, struct strbuf *ret)
{
	utf16_get(p + IDENTIFIER_CREATOR, IDENTIFIER_CREATOR_SIZE, false, ret);
}

int vhdx_header_parse(const uint8_t *p, struct vhdx_header *ret, struct err *err)
{
	struct vhdx_header h;

	if (memcmp(p, "head", 4))
		return err_set(err, -EILSEQ, "VHDX header has no signature");
	if (get_le32(p + HEAD_CHECKSUM) != checksum(p, VHDX_HEADER_SIZE, HEAD_CHECKSUM))
		return err_set(err, -EILSEQ, "VHDX header has a wrong checksum");
	h.seq = get_le64(p + HEAD_SEQ);
	memcpy(h.file_write.b, p + HEAD_FILE_WRITE, 16);
	memcpy(h.data_write.b, p + HEAD_DATA_WRITE, 16);
	memcpy(h.log.b, p + HEAD_LOG, 16);
	h.log_version = get_le16(p + HEAD_LOG_VERSION);
	h.version = get_le16(p + HEAD_VERSION);
	h.log_length = get_le32(p + HEAD_LOG_LENGTH);
	h.log_off = get_le64(p + HEAD_LOG_OFF);
	*ret = h;
	return 0;
}

int vhdx_header_check(const struct vhdx_header *h, struct err *err)
{
	uint64_t end;

	if (h->version != 1)
		return err_set(err, -EOPNOTSUPP, "VHDX version %u is unknown, only 1 is",
			       h->version);
	if (h->log_version && !guid_is_zero(&h->log))
		return err_set(err, -EOPNOTSUPP, "VHDX log version %u is unknown, only 0 is",
			       h->log_version);
	if (h->log_off % VHDX_MIB || h->log_length % VHDX_MIB || h->log_off < VHDX_MIB ||
	    !add_ok(h->log_off, h->log_length, &end) || end > INT64_MAX)
		return err_set(err, -EILSEQ,
			       "VHDX log of 0x%x bytes at 0x%llx: both must be multiples of 1 MiB, the "
			       "place 1 MiB or more",
			       h->log_length, (unsigned long long)h->log_off);
	if (h->log_length > VHDX_LOG_MAX)
		return err_set(err, -EOPNOTSUPP, "VHDX log of %u bytes; at most %d make sense",
			       h->log_length, VHDX_LOG_MAX);
	return 0;
}

void vhdx_header_put(const struct vhdx_header *h, uint8_t *p)
{
	memset(p, 0, VHDX_HEADER_SIZE);
	memcpy(p, "head", 4);
	put_le64(p + HEAD_SEQ, h->seq);
	memcpy(p + HEAD_FILE_WRITE, h->file_write.b, 16);
	memcpy(p + HEAD_DATA_WRITE, h->data_write.b, 16);
	memcpy(p + HEAD_LOG, h->log.b, 16);
	put_le16(p + HEAD_LOG_VERSION, h->log_version);
	put_le16(p + HEAD_VERSION, h->version);
	put_le32(p + HEAD_LOG_LENGTH, h->log_length);
	put_le64(p + HEAD_LOG_OFF, h->log_off);
	put_le32(p + HEAD_CHECKSUM, checksum(p, VHDX_HEADER_SIZE, HEAD_CHECKSUM));
}

static int region_check(const char *name, uint64_t off, uint32_t length, struct err *err)
{
	uint64_t end;

	if (off % VHDX_MIB || off < VHDX_MIB || length % VHDX_MIB || !length ||
	    !add_ok(off, length, &end) || end > INT64_MAX)
		return err_set(err, -EILSEQ,
			       "VHDX %s region of 0x%x bytes at 0x%llx: both must be multiples of 1 "
			       "MiB, not 0",
			       name, length, (unsigned long long)off);
	return 0;
}

int vhdx_regions_parse(const uint8_t *p, struct vhdx_regions *ret, struct err *err)
{
	struct vhdx_regions regions = { 0 };
	uint32_t count = get_le32(p + REGI_COUNT);
	char text[GUID_TEXT_LEN + 1];

	if (memcmp(p, "regi", 4))
		return err_set(err, -EILSEQ, "VHDX region table has no signature");
	if (get_le32(p + REGI_CHECKSUM) != checksum(p, VHDX_REGIONS_SIZE, REGI_CHECKSUM))
		return err_set(err, -EILSEQ, "VHDX region table has a wrong checksum");
	if (count > REGI_MAX_ENTRIES)
		return err_set(err, -EILSEQ, "VHDX region table has %u entries; at most %d fit",
			       count, REGI_MAX_ENTRIES);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *e = p + REGI_ENTRIES + i * REGI_ENTRY_SIZE;
		uint64_t off = get_le64(e + 16);
		uint32_t length = get_le32(e + 24);
		struct guid id;
		int r;

		memcpy(id.b, e, 16);
		if (guid_eq(&id, &region_bat)) {
			r = region_check("BAT", off, length, err);
			if (!r && regions.bat_off)
				r = err_set(err, -EILSEQ, "VHDX file has two BAT regions");
			regions.bat_off = off;
			regions.bat_length = length;
		} else if (guid_eq(&id, &region_metadata)) {
			r = region_check("metadata", off, length, err);
			if (!r && regions.metadata_off)
				r = err_set(err, -EILSEQ, "VHDX file has two metadata regions");
			regions.metadata_off = off;
			regions.metadata_length = length;
		} else {
			guid_text(&id, true, text);
			r = get_le32(e + 28) & 1
				    ? err_set(err, -EOPNOTSUPP,
					      "VHDX file needs region %s, which is unknown", text)
				    : 0;
		}
		if (r < 0)
			return r;
	}
	if (!regions.bat_off || !regions.metadata_off)
		return err_set(err, -EILSEQ, "VHDX file has no %s region",
			       regions.bat_off ? "metadata" : "BAT");
	if (range_overlap(regions.bat_off, regions.bat_length, regions.metadata_off,
			  regions.metadata_length))
		return err_set(err, -EILSEQ, "VHDX BAT and metadata regions overlap");
	*ret = regions;
	return 0;
}

static void region_put(uint8_t *e, const struct guid *id, uint64_t off, uint32_t length)
{
	memcpy(e, id->b, 16);
	put_le64(e + 16, off);
	put_le32(e + 24, length);
	put_le32(e + 28, 1);
}

void vhdx_regions_put(const struct vhdx_regions *r, uint8_t *p)
{
	memset(p, 0, VHDX_REGIONS_SIZE);
	memcpy(p, "regi", 4);
	put_le32(p + REGI_COUNT, 2);
	region_put(p + REGI_ENTRIES, &region_bat, r->bat_off, r->bat_length);
	region_put(p + REGI_ENTRIES + REGI_ENTRY_SIZE, &region_metadata, r->metadata_off,
		   r->metadata_length);
	put_le32(p + REGI_CHECKSUM, checksum(p, VHDX_REGIONS_SIZE, REGI_CHECKSUM));
}
