/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Structures of VHD, VHDX and VDI files, and the small things under them: known values, what is refused and why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/crc32c.h"
#include "disk/guid_priv.h"
#include "disk/nbd/place_priv.h"
#include "disk/utf16_priv.h"
#include "disk/vdi/vdi_priv.h"
#include "disk/vhd/vhd_priv.h"
#include "disk/vhdx/vhdx_priv.h"
#include "unit.h"

static void says(const struct err *err, int code, const char *word)
{
	assert_int_equal(err->code, code);
	if (!strstr(err->text, word))
		fail_msg("'%s' does not say '%s'", err->text, word);
}

/* RFC 3720, B.4 */
static void test_crc32c(void **state)
{
	uint8_t p[32] = { 0 };

	assert_int_equal(crc32c(0, p, 32), 0x8a9136aa);
	memset(p, 0xff, 32);
	assert_int_equal(crc32c(0, p, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		p[i] = i;
	assert_int_equal(crc32c(0, p, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, p, 5), p + 5, 27), 0x46dd794e);
}

static void test_guid(void **state)
{
	static const struct guid bat =
		GUID(0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
	char text[GUID_TEXT_LEN + 1];
	struct guid g, h;

	guid_text(&bat, true, text);
	assert_string_equal(text, "2dc27766-f623-4200-9d64-115e9bfd4a08");
	assert_int_equal(guid_parse(STR("{2DC27766-F623-4200-9D64-115E9BFD4A08}"), true, &g), 0);
	assert_true(guid_eq(&g, &bat));
	assert_int_equal(guid_parse(str_of(text), false, &h), 0);
	assert_int_equal(h.b[0], 0x2d);
	assert_int_equal(guid_parse(STR("2dc27766-f623-4200-9d64-115e9bfd4a0"), true, &g), -EINVAL);
	assert_int_equal(guid_parse(STR("2dc27766-f623-4200-9d64+115e9bfd4a08"), true, &g),
			 -EINVAL);
	assert_int_equal(guid_parse(STR("2dc27766-f623-4200-9d64-115e9bfd4a0g"), true, &g),
			 -EINVAL);
	assert_int_equal(guid_new(&g, NULL), 0);
	assert_int_equal(guid_new(&h, NULL), 0);
	assert_false(guid_eq(&g, &h));
	assert_false(guid_is_zero(&g));
}

static void test_utf16(void **state)
{
	static const uint8_t odd[] = { 0x00, 0xd8, 'a', 0, 0x00, 0xdc, 'b' };
	_cleanup_(strbuf_done) struct strbuf raw = { 0 };
	_cleanup_(strbuf_done) struct strbuf text = { 0 };

	for (int big = 0; big < 2; big++) {
		strbuf_reset(&raw);
		strbuf_reset(&text);
		utf16_put(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), big, &raw);
		assert_int_equal(raw.n, 10);
		utf16_get((const uint8_t *)raw.p, raw.n, big, &text);
		assert_string_equal(text.p, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	}
	strbuf_reset(&text);
	utf16_get(odd, sizeof(odd), false, &text);
	assert_string_equal(text.p, "\xef\xbf\xbd"
				    "a"
				    "\xef\xbf\xbd");
	strbuf_reset(&raw);
	utf16_put(STR("\xff\xc3\xe2\x82\xed\xa0\x80"), true, &raw);
	for (size_t i = 0; i < raw.n; i += 2)
		assert_int_equal(get_be16(raw.p + i), 0xfffd);
}

/* Geometries that Virtual PC gives disks of these sizes. */
static void test_vhd_geometry(void **state)
{
	static const struct {
		uint64_t sectors;
		struct vhd_chs chs;
	} known[] = {
		{ 68, { 1, 4, 17 } },
		{ 65536, { 963, 4, 17 } },
		{ 2097152, { 2080, 16, 63 } },
		{ 65535 * 16 * 63, { 16191, 16, 255 } },
		{ UINT64_C(65535) * 16 * 255 + 1, { 65535, 16, 255 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct vhd_chs chs = vhd_chs_of(known[i].sectors);

		assert_int_equal(chs.cylinders, known[i].chs.cylinders);
		assert_int_equal(chs.heads, known[i].chs.heads);
		assert_int_equal(chs.sectors, known[i].chs.sectors);
		assert_true(vhd_chs_sectors(chs) <= known[i].sectors);
	}
}

static void test_vhd_footer(void **state)
{
	struct vhd_footer f = {
		.data_off = 512,
		.creator = "win ",
		.host_os = "Wi2k",
		.current_size = 1 << 30,
		.chs = { 2080, 16, 63 },
		.type = VHD_DYNAMIC,
	};
	struct vhd_footer got;
	struct err err = ERR_INIT;
	uint8_t p[VHD_FOOTER_SIZE];

	vhd_footer_put(&f, p);
	assert_int_equal(vhd_footer_parse(p, sizeof(p), &got, &err), 0);
	assert_int_equal(vhd_size(&got), 1 << 30);
	memcpy(got.creator, "vpc ", 4);
	assert_int_equal(vhd_size(&got), 2080 * 16 * 63 * 512);
	got.chs = (struct vhd_chs){ 65535, 16, 255 };
	assert_int_equal(vhd_size(&got), 1 << 30);
	p[100] ^= 1;
	assert_int_equal(vhd_footer_parse(p, sizeof(p), &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "checksum");
	f.type = (enum vhd_type)5;
	vhd_footer_put(&f, p);
	assert_int_equal(vhd_footer_parse(p, sizeof(p), &got, &err), -EOPNOTSUPP);
	says(&err, -EOPNOTSUPP, "type 5");
	f.type = VHD_FIXED;
	f.current_size = VHD_MAX_SIZE + 512;
	vhd_footer_put(&f, p);
	assert_int_equal(vhd_footer_parse(p, sizeof(p), &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "2040 GiB");
}

static void test_vhd_header(void **state)
{
	static struct vhd_header h, got;
	struct err err = ERR_INIT;
	uint8_t p[VHD_HEADER_SIZE];

	h = (struct vhd_header){
		.table_off = 1536,
		.nr_entries = 5,
		.block_size = 2 << 20,
		.parent_name = "p\xc3\xa4.vhd",
		.locators = { { VHD_LOCATOR_W2RU, 20, 4096 } },
	};
	vhd_header_put(&h, p);
	assert_int_equal(vhd_header_parse(p, 10 << 20, &got, &err), 0);
	assert_string_equal(got.parent_name, h.parent_name);
	assert_int_equal(got.locators[0].length, 20);
	assert_int_equal(got.locators[0].off, 4096);
	assert_int_equal(vhd_header_parse(p, (10 << 20) + 512, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "needs 6");
	h.block_size = 3 << 20;
	vhd_header_put(&h, p);
	assert_int_equal(vhd_header_parse(p, 512, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "power of two");
	h.block_size = 2 << 20;
	h.table_off = 1000;
	vhd_header_put(&h, p);
	assert_int_equal(vhd_header_parse(p, 512, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "not a sector");
	assert_int_equal(vhd_bitmap_size(2 << 20), 512);
	assert_int_equal(vhd_bitmap_size(4096), 512);
	assert_int_equal(vhd_bitmap_size(4 << 20), 1024);
}

static void test_vhdx_header(void **state)
{
	struct vhdx_header h = { .seq = 7, .version = 1, .log_length = 1 << 20, .log_off = 1 << 20 };
	struct vhdx_header got;
	struct err err = ERR_INIT;
	uint8_t p[VHDX_HEADER_SIZE];

	vhdx_header_put(&h, p);
	assert_int_equal(vhdx_header_parse(p, &got, &err), 0);
	assert_int_equal(vhdx_header_check(&got, &err), 0);
	assert_int_equal(got.seq, 7);
	p[4000] = 1;
	assert_int_equal(vhdx_header_parse(p, &got, &err), -EILSEQ);
	h.log_off += 4096;
	assert_int_equal(vhdx_header_check(&h, &err), -EILSEQ);
	h.version = 2;
	assert_int_equal(vhdx_header_check(&h, &err), -EOPNOTSUPP);
}

static void test_vhdx_regions(void **state)
{
	struct vhdx_regions r = { 3 << 20, 2 << 20, 1 << 20, 1 << 20 }, got;
	uint8_t *p = mem_new(VHDX_REGIONS_SIZE);
	struct err err = ERR_INIT;

	vhdx_regions_put(&r, p);
	assert_int_equal(vhdx_regions_parse(p, &got, &err), 0);
	assert_memory_equal(&got, &r, sizeof(r));
	/* A third region that nobody knows: required or not. */
	put_le32(p + 8, 3);
	p[16 + 64] = 0xaa;
	for (uint8_t required = 0; required < 2; required++) {
		p[16 + 64 + 28] = required;
		put_le32(p + 4, 0);
		put_le32(p + 4, crc32c(0, p, VHDX_REGIONS_SIZE));
		assert_int_equal(vhdx_regions_parse(p, &got, &err), required ? -EOPNOTSUPP : 0);
	}
	says(&err, -EOPNOTSUPP, "000000aa-0000");
	r.bat_off = r.metadata_off;
	vhdx_regions_put(&r, p);
	assert_int_equal(vhdx_regions_parse(p, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "overlap");
	free(p);
}

static void test_vhdx_metadata(void **state)
{
	struct vhdx_metadata m = {
		.block_size = 2 << 20,
		.size = UINT64_C(9) << 30,
		.logical_sector = 512,
		.physical_sector = 4096,
		.has_parent = true,
	};
	struct vhdx_locator l = { .relative_path = "..\\p.vhdx" }, back = { 0 };
	_cleanup_(strbuf_done) struct strbuf item = { 0 };
	struct vhdx_metadata got;
	struct vhdx_shape s;
	struct err err = ERR_INIT;
	uint8_t *p = mem_new(1 << 20);

	vhdx_locator_put(&l, &item);
	vhdx_metadata_put(&m, p, 1 << 20, (const uint8_t *)item.p, item.n);
	assert_int_equal(vhdx_metadata_parse(p, 1 << 20, &got, &err), 0);
	assert_memory_equal(&got, &m, sizeof(m));
	assert_int_equal(vhdx_locator_parse(p + got.locator_off, got.locator_length, &back, &err),
			 0);
	assert_string_equal(back.relative_path, "..\\p.vhdx");
	vhdx_locator_done(&back);

	/* 2048 blocks to a bitmap; 4608 blocks, three bitmaps. */
	s = vhdx_shape_of(&got);
	assert_int_equal(s.chunk_ratio, 2048);
	assert_int_equal(s.nr_blocks, 4608);
	assert_int_equal(s.nr_entries, 3 * 2049);
	assert_int_equal(vhdx_bat_index(&s, 2047), 2047);
	assert_int_equal(vhdx_bat_bitmap_index(&s, 0), 2048);
	assert_int_equal(vhdx_bat_index(&s, 2048), 2049);
	got.has_parent = false;
	assert_int_equal(vhdx_shape_of(&got).nr_entries, 4608 + 2);

	put_le32(p + 32 + 24, 0);
	p[32] ^= 1; /* file parameters: now unknown, not required */
	assert_int_equal(vhdx_metadata_parse(p, 1 << 20, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "'file parameters' is missing");
	put_le32(p + 32 + 24, 4);
	assert_int_equal(vhdx_metadata_parse(p, 1 << 20, &got, &err), -EOPNOTSUPP);
	free(p);
}

enum { RING = 32 * VHDX_SECTOR };

static uint32_t put_entry(uint8_t *ring, uint32_t pos, uint32_t tail, uint64_t seq,
			  const struct guid *id, uint32_t nr, uint8_t value)
{
	uint8_t page[VHDX_SECTOR], *p = mem_new(vhdx_log_entry_size(nr));
	struct vhdx_log_page pages[3];
	struct vhdx_log_entry e = { .tail = tail, .seq = seq, .flushed_size = 1, .last_size = 2 };

	memset(page, value, sizeof(page));
	for (uint32_t i = 0; i < nr; i++)
		pages[i] = (struct vhdx_log_page){ (uint64_t)i * VHDX_SECTOR, page };
	vhdx_log_entry_put(&e, id, pages, nr, p);
	for (uint32_t i = 0; i < e.length; i++)
		ring[(pos + i) % RING] = p[i];
	free(p);
	return (pos + e.length) % RING;
}

static int keep(void *arg, uint64_t off, uint64_t len, const uint8_t *data)
{
	memcpy((uint8_t *)arg + off, data, len);
	return 0;
}

static void test_vhdx_log(void **state)
{
	static const struct guid id = { { 1 } }, old = { { 2 } };
	uint8_t *ring = mem_new(RING), *disk = mem_new(3 * VHDX_SECTOR);
	struct vhdx_log_active a;
	struct err err = ERR_INIT;
	uint32_t pos;

	assert_int_equal(vhdx_log_find(ring, RING, &id, &a, &err), -EILSEQ);
	/* An older sequence, one of another log, and the active one, which wraps around the end. */
	put_entry(ring, 8 * VHDX_SECTOR, 8 * VHDX_SECTOR, 100, &old, 3, 9);
	pos = put_entry(ring, 16 * VHDX_SECTOR, 16 * VHDX_SECTOR, 3, &id, 1, 1);
	put_entry(ring, pos, pos, 4, &id, 1, 2);
	pos = put_entry(ring, 29 * VHDX_SECTOR, 29 * VHDX_SECTOR, 7, &id, 1, 3);
	pos = put_entry(ring, pos, 29 * VHDX_SECTOR, 8, &id, 3, 4);
	assert_int_equal(pos, 3 * VHDX_SECTOR);
	assert_int_equal(vhdx_log_find(ring, RING, &id, &a, &err), 0);
	assert_int_equal(a.tail, 29 * VHDX_SECTOR);
	assert_int_equal(a.nr_entries, 2);
	assert_int_equal(a.seq, 8);
	assert_int_equal(a.last_size, 2);
	assert_int_equal(vhdx_log_replay(ring, RING, &id, &a, keep, disk, &err), 0);
	assert_int_equal(disk[0], 4);
	assert_int_equal(disk[3 * VHDX_SECTOR - 1], 4);

	/* The last entry is torn: the one before counts. */
	ring[2 * VHDX_SECTOR + 100] ^= 1;
	assert_int_equal(vhdx_log_find(ring, RING, &id, &a, &err), 0);
	assert_int_equal(a.seq, 7);
	assert_int_equal(a.nr_entries, 1);
	ring[2 * VHDX_SECTOR + 100] ^= 1;
	/* Its tail is gone: the older sequence counts. */
	ring[29 * VHDX_SECTOR] = 0;
	assert_int_equal(vhdx_log_find(ring, RING, &id, &a, &err), 0);
	assert_int_equal(a.seq, 4);
	free(ring);
	free(disk);
}

static void test_vdi_header(void **state)
{
	struct vdi_header h = {
		.type = VDI_DYNAMIC,
		.map_off = 512,
		.data_off = 1 << 20,
		.size = 10 << 20,
		.block_size = 1 << 20,
		.nr_blocks = 10,
	};
	struct vdi_header got;
	struct err err = ERR_INIT;
	uint8_t p[VDI_HEADER_SIZE];

	vdi_header_put(&h, p);
	assert_int_equal(vdi_header_parse(p, &got, &err), 0);
	assert_int_equal(got.size, h.size);
	h.nr_blocks = 9;
	vdi_header_put(&h, p);
	assert_int_equal(vdi_header_parse(p, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "does not fit");
	h.nr_blocks = 1 << 20;
	vdi_header_put(&h, p);
	assert_int_equal(vdi_header_parse(p, &got, &err), -EILSEQ);
	says(&err, -EILSEQ, "no room");
	h.type = VDI_DIFFERENCING;
	vdi_header_put(&h, p);
	assert_int_equal(vdi_header_parse(p, &got, &err), -EOPNOTSUPP);
}

/* The socket's path in a URI. */
static void test_nbd_socket(void **state)
{
	static const struct {
		const char *uri, *path; /* NULL: there is none */
	} cases[] = {
		{ "nbd+unix:///x?socket=/a/b", "/a/b" },
		{ "nbd+unix:///x?socket=in%20ner", "in ner" },
		{ "nbd+unix:///?tls-psk-file=/k&socket=%2Fs", "/s" },
		{ "nbd+unix:///?a=1;socket=s;b=2", "s" },
		{ "nbd+unix:///?socket=s#part", "s" },
		{ "nbd+unix:///?socket=100%", "100%" },
		{ "nbd+unix:///?socket=%4", "%4" },
		{ "nbd+unix:///?socket=%zz", "%zz" },
		{ "nbd+unix:///?socket=12345678", NULL }, /* does not fit */
		{ "nbd+unix:///?socket=a%00b", NULL },
		{ "nbd+unix:///?socket=", NULL },
		{ "nbd+unix:///?mysocket=s", NULL },
		{ "nbd+unix:///socket=s", NULL },
		{ "nbd+unix:///?", NULL },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		char path[8];
		bool is_there = nbd_place_socket(cases[k].uri, path, sizeof(path));

		assert_int_equal(is_there, cases[k].path != NULL);
		if (is_there)
			assert_string_equal(path, cases[k].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),	      cmocka_unit_test(test_guid),
		cmocka_unit_test(test_utf16),	      cmocka_unit_test(test_vhd_geometry),
		cmocka_unit_test(test_vhd_footer),    cmocka_unit_test(test_vhd_header),
		cmocka_unit_test(test_vhdx_header),   cmocka_unit_test(test_vhdx_regions),
		cmocka_unit_test(test_vhdx_metadata), cmocka_unit_test(test_vhdx_log),
		cmocka_unit_test(test_vdi_header),    cmocka_unit_test(test_nbd_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
