/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The binary structures of VMDK images: header of sparse extents, markers of streams.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/vmdk/vmdk_priv.h"

enum {
	HEAD_VERSION = 4,
	HEAD_FLAGS = 8,
	HEAD_CAPACITY = 12,
	HEAD_GRAIN = 20,
	HEAD_DESCRIPTOR_OFF = 28,
	HEAD_DESCRIPTOR_SIZE = 36,
	HEAD_NR_GTES = 44,
	HEAD_RGD_OFF = 48,
	HEAD_GD_OFF = 56,
	HEAD_OVERHEAD = 64,
	HEAD_UNCLEAN = 72,
	HEAD_NEWLINES = 73,
	HEAD_COMPRESSION = 77,
	COMPRESSION_DEFLATE = 1,
	MAX_GTES = 4096,
	MIN_GTES = 16,
};

bool vmdk_is_sparse(const uint8_t *p, size_t n)
{
	return n >= 4 && (!memcmp(p, "KDMV", 4) || !memcmp(p, "COWD", 4));
}

uint64_t vmdk_nr_tables(const struct vmdk_header *h)
{
	uint64_t span = h->grain * h->nr_gtes;

	return (h->capacity + span - 1) / span;
}

static int check_places(const struct vmdk_header *h, struct err *err)
{
	const uint64_t places[] = { h->descriptor_off, h->descriptor_sectors, h->rgd_off,
				    h->overhead };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i] > VMDK_MAX_SECTORS)
			return err_set(err, -EILSEQ,
				       "VMDK header: sector %llu is beyond every file",
				       (unsigned long long)places[i]);
	if (h->gd_off != VMDK_GD_AT_END && h->gd_off > VMDK_MAX_SECTORS)
		return err_set(err, -EILSEQ, "VMDK header: sector %llu is beyond every file",
			       (unsigned long long)h->gd_off);
	if (h->descriptor_sectors > VMDK_DESCRIPTOR_MAX / VMDK_SECTOR)
		return err_set(err, -EOPNOTSUPP,
			       "VMDK descriptor of %llu sectors; at most %d make sense",
			       (unsigned long long)h->descriptor_sectors,
			       VMDK_DESCRIPTOR_MAX / VMDK_SECTOR);
	return 0;
}

int vmdk_header_parse(const uint8_t *p, struct vmdk_header *ret, struct err *err)
{
	struct vmdk_header h = {
		.version = get_le32(p + HEAD_VERSION),
		.flags = get_le32(p + HEAD_FLAGS),
		.capacity = get_le64(p + HEAD_CAPACITY),
		.grain = get_le64(p + HEAD_GRAIN),
		.descriptor_off = get_le64(p + HEAD_DESCRIPTOR_OFF),
		.descriptor_sectors = get_le64(p + HEAD_DESCRIPTOR_SIZE),
		.nr_gtes = get_le32(p + HEAD_NR_GTES),
		.rgd_off = get_le64(p + HEAD_RGD_OFF),
		.gd_off = get_le64(p + HEAD_GD_OFF),
		.overhead = get_le64(p + HEAD_OVERHEAD),
		.is_unclean = p[HEAD_UNCLEAN],
	};
	int r;

	if (!memcmp(p, "COWD", 4))
		return err_set(err, -EOPNOTSUPP,
			       "VMDK extent in the COWD format of old ESX servers");
	if (memcmp(p, "KDMV", 4))
		return err_set(err, -EILSEQ, "VMDK extent has no signature");
	if (h.version < 1 || h.version > 3)
		return err_set(err, -EOPNOTSUPP, "VMDK extent version %u is unknown, 1 to 3 are",
			       h.version);
	if (h.flags & VMDK_F_NEWLINES && memcmp(p + HEAD_NEWLINES, "\n \r\n", 4))
		return err_set(err, -EILSEQ,
			       "VMDK extent was damaged by a transfer as text: its line ends changed");
	if (h.flags & VMDK_F_COMPRESSED && get_le16(p + HEAD_COMPRESSION) != COMPRESSION_DEFLATE)
		return err_set(err, -EOPNOTSUPP, "VMDK compression method %u is unknown",
			       get_le16(p + HEAD_COMPRESSION));
	if (!is_pow2(h.grain) || h.grain < VMDK_GRAIN_MIN || h.grain > VMDK_GRAIN_MAX)
		return err_set(err, -EILSEQ,
			       "VMDK grain size of %llu sectors is not a power of two from %d to %d",
			       (unsigned long long)h.grain, VMDK_GRAIN_MIN, VMDK_GRAIN_MAX);
	if (!is_pow2(h.nr_gtes) || h.nr_gtes < MIN_GTES || h.nr_gtes > MAX_GTES)
		return err_set(err, -EILSEQ,
			       "VMDK grain tables of %u entries: not a power of two from %d to %d",
			       h.nr_gtes, MIN_GTES, MAX_GTES);
	if (!h.capacity || h.capacity > VMDK_MAX_SECTORS)
		return err_set(err, -EILSEQ, "VMDK extent of %llu sectors",
			       (unsigned long long)h.capacity);
	if (vmdk_nr_tables(&h) > VMDK_MAX_TABLES)
		return err_set(err, -EOPNOTSUPP,
			       "VMDK extent with %llu grain tables; at most %llu make sense",
			       (unsigned long long)vmdk_nr_tables(&h),
			       (unsigned long long)VMDK_MAX_TABLES);
	r = check_places(&h, err);
	if (r < 0)
		return r;
	*ret = h;
	return 0;
}

void vmdk_header_put(const struct vmdk_header *h, uint8_t *p)
{
	memset(p, 0, VMDK_HEADER_SIZE);
	memcpy(p, "KDMV", 4);
	put_le32(p + HEAD_VERSION, h->version);
	put_le32(p + HEAD_FLAGS, h->flags);
	put_le64(p + HEAD_CAPACITY, h->capacity);
	put_le64(p + HEAD_GRAIN, h->grain);
	put_le64(p + HEAD_DESCRIPTOR_OFF, h->descriptor_off);
	put_le64(p + HEAD_DESCRIPTOR_SIZE, h->descriptor_sectors);
	put_le32(p + HEAD_NR_GTES, h->nr_gtes);
	put_le64(p + HEAD_RGD_OFF, h->rgd_off);
	put_le64(p + HEAD_GD_OFF, h->gd_off);
	put_le64(p + HEAD_OVERHEAD, h->overhead);
	p[HEAD_UNCLEAN] = h->is_unclean;
	memcpy(p + HEAD_NEWLINES, "\n \r\n", 4);
	put_le16(p + HEAD_COMPRESSION, h->flags & VMDK_F_COMPRESSED ? COMPRESSION_DEFLATE : 0);
}

int vmdk_marker_parse(const uint8_t *p, uint64_t grain, struct vmdk_marker *ret, struct err *err)
{
	struct vmdk_marker m = { .value = get_le64(p), .size = get_le32(p + 8) };
	uint32_t type = get_le32(p + 12);

	if (m.size) {
		if (m.size > 2 * grain || m.value > VMDK_MAX_SECTORS)
			return err_set(err, -EILSEQ,
				       "VMDK stream: grain at sector %llu of %u bytes",
				       (unsigned long long)m.value, m.size);
	} else {
		if (type > VMDK_MARK_FOOTER || m.value > VMDK_MAX_SECTORS)
			return err_set(err, -EILSEQ, "VMDK stream: marker of unknown type %u",
				       type);
		m.type = (enum vmdk_marker_type)type;
	}
	*ret = m;
	return 0;
}

void vmdk_marker_put(const struct vmdk_marker *m, uint8_t *p)
{
	put_le64(p, m->value);
	put_le32(p + 8, m->size);
	put_le32(p + 12, m->size ? 0 : m->type);
}
