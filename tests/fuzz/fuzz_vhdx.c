/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The structures of VHDX files: the first byte says which; checksums are made right, or else nothing would get
 * behind them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/crc32c.h"
#include "disk/vhdx/vhdx_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A copy of exactly @size bytes, filled up with zeros. */
static uint8_t *copy_of(const uint8_t *data, size_t n, size_t size)
{
	uint8_t *p = calloc(1, size ? size : 1);

	memcpy(p, data, n < size ? n : size);
	return p;
}

static void put_crc(uint8_t *p, size_t n)
{
	put_le32(p + 4, 0);
	put_le32(p + 4, crc32c(0, p, n));
}

static void header(const uint8_t *data, size_t n)
{
	uint8_t *p = copy_of(data, n, VHDX_HEADER_SIZE), *again = calloc(1, VHDX_HEADER_SIZE);
	struct strbuf creator = { 0 };
	struct err err = ERR_INIT;
	struct vhdx_header h;

	/* The identifier in front of it, too. */
	vhdx_identifier_creator(p, &creator);
	vhdx_identifier_put(again, strbuf_cstr(&creator));
	assert(vhdx_is(again, VHDX_HEADER_SIZE));
	strbuf_done(&creator);
	if (n != 3)
		memcpy(p, "head", 4);
	put_crc(p, VHDX_HEADER_SIZE);
	if (!vhdx_header_parse(p, &h, &err)) {
		vhdx_header_put(&h, again);
		assert(!vhdx_header_parse(again, &h, &err));
		if (vhdx_header_check(&h, &err) < 0)
			assert(err.text[0]);
	}
	free(again);
	free(p);
}

static void regions(const uint8_t *data, size_t n)
{
	uint8_t *p = copy_of(data, n, VHDX_REGIONS_SIZE);
	struct err err = ERR_INIT;
	struct vhdx_regions r;

	memcpy(p, "regi", 4);
	put_crc(p, VHDX_REGIONS_SIZE);
	if (!vhdx_regions_parse(p, &r, &err)) {
		vhdx_regions_put(&r, p);
		assert(!vhdx_regions_parse(p, &r, &err));
	} else {
		assert(err.text[0]);
	}
	free(p);
}

static void locator(const uint8_t *data, size_t n)
{
	uint8_t *p = copy_of(data, n, n);
	struct strbuf again = { 0 };
	struct err err = ERR_INIT;
	struct vhdx_locator l = { 0 };

	if (!vhdx_locator_parse(p, n, &l, &err))
		vhdx_locator_put(&l, &again);
	else
		assert(err.text[0]);
	strbuf_done(&again);
	vhdx_locator_done(&l);
	free(p);
}

/* The table in front, the items at its end. */
static void metadata(const uint8_t *data, size_t n)
{
	size_t items = n / 2, size = VHDX_METADATA_TABLE_SIZE + items;
	uint8_t *p = copy_of(data, n - items, size);
	struct err err = ERR_INIT;
	struct vhdx_metadata m;

	memcpy(p + VHDX_METADATA_TABLE_SIZE, data + n - items, items);
	memcpy(p, "metadata", 8);
	if (!vhdx_metadata_parse(p, size, &m, &err)) {
		struct vhdx_shape s = vhdx_shape_of(&m);

		assert(s.nr_blocks && s.chunk_ratio && s.nr_entries >= s.nr_blocks);
		assert(vhdx_bat_index(&s, s.nr_blocks - 1) < s.nr_entries);
		if (m.has_parent) {
			struct vhdx_locator l = { 0 };

			if (vhdx_locator_parse(p + m.locator_off, m.locator_length, &l, &err) < 0)
				assert(err.text[0]);
			vhdx_locator_done(&l);
		}
		free(p);
		p = calloc(1, 1 << 20);
		vhdx_metadata_put(&m, p, 1 << 20, data, m.has_parent ? MAX(items, (size_t)1) : 0);
		assert(!vhdx_metadata_parse(p, 1 << 20, &m, &err));
		assert(vhdx_shape_of(&m).nr_entries == s.nr_entries);
	} else {
		assert(err.text[0]);
	}
	free(p);
}

static int apply(void *arg, uint64_t off, uint64_t len, const uint8_t *data)
{
	uint64_t *sum = arg;

	assert(off % VHDX_SECTOR == 0 && len % VHDX_SECTOR == 0);
	for (uint64_t i = 0; data && i < len; i++)
		*sum += data[i];
	return 0;
}

/*
 * A log of some sectors. Each input byte pair of the first bytes says what a sector is to be, so that
 * sequences come about: the rest of the input goes to the sectors in turn.
 */
static void journal(const uint8_t *data, size_t n)
{
	static const struct guid id = { { 1 } };
	uint32_t sectors = n ? 1 + data[0] % 12 : 1, size = sectors * VHDX_SECTOR;
	uint8_t *p = calloc(1, size);
	struct vhdx_log_active active;
	struct err err = ERR_INIT;
	uint64_t sum = 0;

	for (size_t i = 1, at = 0; i < n; i++, at++)
		p[at % sectors * VHDX_SECTOR + at / sectors % VHDX_SECTOR] = data[i];
	for (uint32_t s = sectors; s--;) {
		uint8_t *e = p + s * VHDX_SECTOR;
		uint32_t length = get_le32(e + 8) % 8 * VHDX_SECTOR;

		if (e[0] == 'd') {
			memcpy(e, "data", 4);
			continue;
		}
		memcpy(e, "loge", 4);
		memcpy(e + 32, id.b, 16);
		put_le32(e + 8, length);
		put_le32(e + 12, get_le32(e + 12) % (sectors + 1) * VHDX_SECTOR);
		for (uint32_t d = 0; d < 4; d++) {
			uint8_t *desc = e + 64 + d * 32;

			memcpy(desc, desc[0] & 1 ? "zero" : "desc", 4);
			put_le64(desc + 16, get_le64(desc + 16) & ~UINT64_C(0xfff));
			put_le64(desc + 24, get_le64(e + 16));
		}
		if (length && length <= size - s * VHDX_SECTOR)
			put_crc(e, length);
	}
	if (!vhdx_log_find(p, size, &id, &active, &err)) {
		assert(active.nr_entries);
		if (vhdx_log_replay(p, size, &id, &active, apply, &sum, &err) < 0)
			assert(err.text[0]);
	} else {
		assert(err.text[0]);
	}
	free(p);
}

/* What we write ourselves is found again, wherever in the ring it is. */
static void own_journal(const uint8_t *data, size_t n)
{
	static const struct guid id = { { 2 } };
	uint8_t *page = calloc(1, VHDX_SECTOR);
	const uint32_t size = 16 * VHDX_SECTOR;
	uint32_t pos = n ? data[0] % 16 * VHDX_SECTOR : 0;
	uint8_t *ring = calloc(1, size);
	struct vhdx_log_active active;
	uint64_t seq = 1, sum = 0;

	for (size_t i = 1; i < n && i < 40; i++, seq++) {
		uint32_t nr = data[i] % 4, length = vhdx_log_entry_size(nr);
		struct vhdx_log_page pages[4];
		struct vhdx_log_entry e = { .tail = pos, .seq = seq };
		uint8_t *p = calloc(1, length);

		memset(page, data[i], VHDX_SECTOR);
		for (uint32_t k = 0; k < nr; k++)
			pages[k] = (struct vhdx_log_page){ k * VHDX_SECTOR, page };
		vhdx_log_entry_put(&e, &id, pages, nr, p);
		for (uint32_t b = 0; b < length; b++)
			ring[(pos + b) % size] = p[b];
		free(p);
		assert(!vhdx_log_find(ring, size, &id, &active, NULL));
		assert(active.seq == seq && active.tail == pos && active.nr_entries == 1);
		assert(!vhdx_log_replay(ring, size, &id, &active, apply, &sum, NULL));
		assert(sum == (uint64_t)nr * VHDX_SECTOR * data[i]);
		sum = 0;
		pos = (pos + length) % size;
	}
	free(ring);
	free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const parts[])(const uint8_t *, size_t) = { header,   regions, locator,
								  metadata, journal, own_journal };

	if (n)
		parts[data[0] % ARRAY_SIZE(parts)](data + 1, n - 1);
	return 0;
}
