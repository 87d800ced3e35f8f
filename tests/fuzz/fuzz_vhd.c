/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The structures of VHD and VDI files: the first byte says which; checksums are made right. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "disk/vdi/vdi_priv.h"
#include "disk/vhd/vhd_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void put_sum(uint8_t *p, size_t n, size_t field)
{
	uint32_t sum = 0;

	put_be32(p + field, 0);
	for (size_t i = 0; i < n; i++)
		sum += p[i];
	put_be32(p + field, ~sum);
}

static void footer(const uint8_t *data, size_t n)
{
	uint8_t p[VHD_FOOTER_SIZE] = { 0 };
	size_t size = n & 1 ? VHD_FOOTER_SIZE : VHD_OLD_FOOTER_SIZE;
	struct err err = ERR_INIT;
	struct vhd_footer f;

	memcpy(p, data, n < size ? n : size);
	memcpy(p, "conectix", 8);
	if (n < VHD_FOOTER_SIZE)
		put_sum(p, size, 64);
	if (vhd_footer_parse(p, size, &f, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	assert(vhd_size(&f) && vhd_size(&f) <= VHD_MAX_SIZE);
	vhd_footer_put(&f, p);
	assert(!vhd_footer_parse(p, VHD_FOOTER_SIZE, &f, &err));
	assert(vhd_chs_sectors(vhd_chs_of(vhd_size(&f) / VHD_SECTOR)) <= vhd_size(&f) / VHD_SECTOR);
}

static void header(const uint8_t *data, size_t n)
{
	uint8_t *p = calloc(1, VHD_HEADER_SIZE);
	struct vhd_header *h = calloc(1, sizeof(*h));
	struct err err = ERR_INIT;

	memcpy(p, data, n < VHD_HEADER_SIZE ? n : VHD_HEADER_SIZE);
	memcpy(p, "cxsparse", 8);
	put_sum(p, VHD_HEADER_SIZE, 36);
	if (!vhd_header_parse(p, UINT64_C(100) << 20, h, &err)) {
		assert((uint64_t)h->nr_entries * h->block_size >= UINT64_C(100) << 20);
		vhd_header_put(h, p);
		assert(!vhd_header_parse(p, UINT64_C(100) << 20, h, &err));
	} else {
		assert(err.text[0]);
	}
	free(h);
	free(p);
}

static void locator(const uint8_t *data, size_t n)
{
	uint8_t *p = malloc(n + 1);
	struct strbuf text = { 0 };

	memcpy(p, data, n);
	p = realloc(p, n ? n : 1);
	vhd_locator_text(n % 3 ? VHD_LOCATOR_W2RU : VHD_LOCATOR_MACX, p, n, &text);
	assert(text.n <= n * 3 / 2);
	strbuf_done(&text);
	free(p);
}

static void vdi(const uint8_t *data, size_t n)
{
	uint8_t p[VDI_HEADER_SIZE] = { 0 };
	struct err err = ERR_INIT;
	struct vdi_header h;

	memcpy(p, data, n < sizeof(p) ? n : sizeof(p));
	put_le32(p + 64, 0xbeda107f);
	put_le32(p + 68, 0x00010001 + (p[68] & 0x80));
	if (vdi_header_parse(p, &h, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	assert(h.size <= (uint64_t)h.nr_blocks * h.block_size);
	vdi_header_put(&h, p);
	assert(!vdi_header_parse(p, &h, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const parts[])(const uint8_t *, size_t) = { footer, header, locator, vdi };

	if (n)
		parts[data[0] % 4](data + 1, n - 1);
	return 0;
}
