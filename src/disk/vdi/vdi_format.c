/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of VirtualBox disk images. One version of it is in use since 2007 (1.1); the older one has
 * another layout and is refused by its name, as are images that need other files (undo, differencing).
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/vdi/vdi_priv.h"

enum {
	VDI_SIGNATURE = 64,
	VDI_VERSION = 68,
	VDI_HEADER_LENGTH = 72,
	VDI_TYPE = 76,
	VDI_DESCRIPTION = 84,
	VDI_DESCRIPTION_SIZE = 256,
	VDI_MAP_OFF = 340,
	VDI_DATA_OFF = 344,
	VDI_SECTOR_SIZE = 360,
	VDI_DISK_SIZE = 368,
	VDI_BLOCK_SIZE = 376,
	VDI_BLOCK_EXTRA = 380,
	VDI_NR_BLOCKS = 384,
	VDI_NR_ALLOCATED = 388,
	VDI_UUID = 392,
	VDI_SNAPSHOT_UUID = 408,
	VDI_PARENT_UUID = 440,
	VDI_LENGTH = 400, /* of the header behind the signature and the version */
	VERSION_1_1 = 0x00010001,
};

#define VDI_MAGIC 0xbeda107fu

static const char vdi_text[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";

bool vdi_is(const uint8_t *p, size_t n)
{
	return n >= VDI_VERSION && get_le32(p + VDI_SIGNATURE) == VDI_MAGIC;
}

int vdi_header_parse(const uint8_t *p, struct vdi_header *ret, struct err *err)
{
	struct vdi_header h = { 0 };
	uint32_t type;

	if (!vdi_is(p, VDI_HEADER_SIZE))
		return err_set(err, -EILSEQ, "VDI header has no signature");
	h.version = get_le32(p + VDI_VERSION);
	if (h.version != VERSION_1_1)
		return err_set(err, -EOPNOTSUPP, "VDI version %u.%u is unknown, only 1.1 is",
			       h.version >> 16, h.version & 0xffff);
	type = get_le32(p + VDI_TYPE);
	if (type == VDI_UNDO || type == VDI_DIFFERENCING)
		return err_set(err, -EOPNOTSUPP,
			       "VDI %s image: it names its parent only by an identifier",
			       type == VDI_UNDO ? "undo" : "differencing");
	if (type != VDI_DYNAMIC && type != VDI_STATIC)
		return err_set(err, -EILSEQ, "VDI type %u is neither dynamic nor static", type);
	h.type = (enum vdi_type)type;
	memcpy(h.description, p + VDI_DESCRIPTION, VDI_DESCRIPTION_SIZE);
	h.map_off = get_le32(p + VDI_MAP_OFF);
	h.data_off = get_le32(p + VDI_DATA_OFF);
	h.size = get_le64(p + VDI_DISK_SIZE);
	h.block_size = get_le32(p + VDI_BLOCK_SIZE);
	h.nr_blocks = get_le32(p + VDI_NR_BLOCKS);
	h.nr_allocated = get_le32(p + VDI_NR_ALLOCATED);
	memcpy(h.uuid.b, p + VDI_UUID, 16);
	memcpy(h.snapshot_uuid.b, p + VDI_SNAPSHOT_UUID, 16);
	memcpy(h.parent_uuid.b, p + VDI_PARENT_UUID, 16);

	if (get_le32(p + VDI_SECTOR_SIZE) != 512)
		return err_set(err, -EOPNOTSUPP, "VDI sector size %u is not 512",
			       get_le32(p + VDI_SECTOR_SIZE));
	if (get_le32(p + VDI_BLOCK_EXTRA))
		return err_set(err, -EOPNOTSUPP,
			       "VDI blocks have %u bytes of extra data, which is unknown",
			       get_le32(p + VDI_BLOCK_EXTRA));
	if (!is_pow2(h.block_size) || h.block_size < VDI_BLOCK_MIN || h.block_size > VDI_BLOCK_MAX)
		return err_set(err, -EILSEQ,
			       "VDI block size of %u bytes is not a power of two from 4 KiB to 64 MiB",
			       h.block_size);
	if (!h.size || h.nr_blocks > VDI_MAX_BLOCKS ||
	    h.size > (uint64_t)h.nr_blocks * h.block_size)
		return err_set(err, -EILSEQ,
			       "VDI disk of %llu bytes does not fit %u blocks of %u bytes",
			       (unsigned long long)h.size, h.nr_blocks, h.block_size);
	if (h.map_off % 512 || h.map_off < 512 || h.data_off % 512 ||
	    !range_ok(h.map_off, (uint64_t)h.nr_blocks * 4, h.data_off))
		return err_set(err, -EILSEQ,
			       "VDI block map at %u and data at %u: no room for %u entries between",
			       h.map_off, h.data_off, h.nr_blocks);
	*ret = h;
	return 0;
}

void vdi_header_put(const struct vdi_header *h, uint8_t *p)
{
	memset(p, 0, VDI_HEADER_SIZE);
	memcpy(p, vdi_text, sizeof(vdi_text) - 1);
	put_le32(p + VDI_SIGNATURE, VDI_MAGIC);
	put_le32(p + VDI_VERSION, VERSION_1_1);
	put_le32(p + VDI_HEADER_LENGTH, VDI_LENGTH);
	put_le32(p + VDI_TYPE, h->type);
	memcpy(p + VDI_DESCRIPTION, h->description, VDI_DESCRIPTION_SIZE);
	put_le32(p + VDI_MAP_OFF, h->map_off);
	put_le32(p + VDI_DATA_OFF, h->data_off);
	put_le32(p + VDI_SECTOR_SIZE, 512);
	put_le64(p + VDI_DISK_SIZE, h->size);
	put_le32(p + VDI_BLOCK_SIZE, h->block_size);
	put_le32(p + VDI_NR_BLOCKS, h->nr_blocks);
	put_le32(p + VDI_NR_ALLOCATED, h->nr_allocated);
	memcpy(p + VDI_UUID, h->uuid.b, 16);
	memcpy(p + VDI_SNAPSHOT_UUID, h->snapshot_uuid.b, 16);
	memcpy(p + VDI_PARENT_UUID, h->parent_uuid.b, 16);
}
