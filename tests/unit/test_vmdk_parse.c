/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors and headers of VMDK images: what is taken, what is refused and why. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "disk/vmdk/vmdk_priv.h"
#include "unit.h"

#define HEAD                                                                                       \
	"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"x\"\n"

static void refused(const char *text, int code, const char *word)
{
	struct vmdk_descriptor d = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(vmdk_descriptor_parse(str_of(text), &d, &err), code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
	vmdk_descriptor_done(&d);
}

static void test_descriptor(void **state)
{
	static const char text[] =
		"# Disk DescriptorFile\r\nversion=1\r\nencoding=\"UTF-8\"\r\n"
		"CID=12ab\r\nparentCID=0000beef\r\ncreateType=\"custom\"\r\n"
		"parentFileNameHint=\"/vms/a b.vmdk\"\r\n\r\n# Extent description\r\n"
		"RW 4192256 SPARSE \"disk-s001.vmdk\"\r\n"
		"RDONLY 100\tFLAT \"sub/my disk.vmdk\" 63\r\nNOACCESS 5 ZERO\r\n"
		"\r\nddb.adapterType = \"lsilogic\"\r\nddb.unknown = \"=\"\r\n";
	struct vmdk_descriptor d = { 0 };
	struct err err = ERR_INIT;

	assert_true(vmdk_is_descriptor((const uint8_t *)text, sizeof(text) - 1));
	assert_int_equal(vmdk_descriptor_parse(str_of(text), &d, &err), 0);
	assert_int_equal(d.cid, 0x12ab);
	assert_int_equal(d.parent_cid, 0xbeef);
	assert_string_equal(d.create_type, "custom");
	assert_string_equal(d.parent_hint, "/vms/a b.vmdk");
	assert_string_equal(d.adapter, "lsilogic");
	assert_int_equal(d.nr_extents, 3);
	assert_int_equal(d.sectors, 4192256 + 105);
	assert_true(d.extents[0].is_writable);
	assert_string_equal(d.extents[1].name, "sub/my disk.vmdk");
	assert_false(d.extents[1].is_writable);
	assert_int_equal(d.extents[1].off, 63);
	assert_int_equal(d.extents[2].kind, VMDK_EXTENT_ZERO);
	assert_true(d.extents[2].no_access);
	vmdk_descriptor_done(&d);
}

/* A descriptor must not make us open files elsewhere. */
static void test_names(void **state)
{
	refused(HEAD "RW 1 FLAT \"/etc/shadow\" 0\n", -EILSEQ, "folder of the image");
	refused(HEAD "RW 1 FLAT \"../x\" 0\n", -EILSEQ, "folder of the image");
	refused(HEAD "RW 1 FLAT \"a/../../x\" 0\n", -EILSEQ, "folder of the image");
	refused(HEAD "RW 1 FLAT \"a/..\" 0\n", -EILSEQ, "folder of the image");
	refused(HEAD "RW 1 FLAT \"\" 0\n", -EILSEQ, "folder of the image");
	refused(HEAD "RW 1 FLAT \"a\tb\" 0\n", -EILSEQ, "folder of the image");
}

static void test_refused(void **state)
{
	refused(HEAD "RW 1 FLAT x 0\n", -EILSEQ, "quotes");
	refused(HEAD "RW 1 FLAT \"x 0\n", -EILSEQ, "not closed");
	refused(HEAD "RW 0 FLAT \"x\" 0\n", -EILSEQ, "line 6");
	refused(HEAD "RW 1 FLAT \"x\" -1\n", -EILSEQ, "offset");
	refused(HEAD "RW 1 VMFSRDM \"x\"\n", -EOPNOTSUPP, "ESX");
	refused(HEAD "RW 1 WHAT \"x\"\n", -EILSEQ, "unknown kind");
	refused(HEAD "RW 1099511627776 ZERO\nRW 1 ZERO\n", -EOPNOTSUPP, "512 TiB");
	refused(HEAD, -EILSEQ, "without extents");
	refused("version=1\nRW 1 ZERO\n", -EILSEQ, "createType");
	refused("version=9\n", -EOPNOTSUPP, "version");
	refused("CID=1\n", -EILSEQ, "without a version");
	refused("CID=123456789\n", -EILSEQ, "hexadecimal");
	refused("CID=xyz\n", -EILSEQ, "hexadecimal");
	refused("version=1\nparentCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", -EILSEQ, "parent");
	assert_false(vmdk_is_descriptor((const uint8_t *)"#!/bin/sh\nversion", 17));
}

static void test_change(void **state)
{
	static const char text[] = "# x\r\ncid = 1\r\nRW 5  FLAT \"a\" 0\r\nCID=2\r\nend";
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	assert_true(vmdk_descriptor_set(str_of(text), "CID", "89abcdef", &out));
	assert_string_equal(out.p, "# x\r\nCID=89abcdef\r\nRW 5  FLAT \"a\" 0\r\nCID=2\r\nend");
	assert_false(vmdk_descriptor_set(str_of(text), "parentCID", "1", &out));
	strbuf_reset(&out);
	assert_true(vmdk_descriptor_set_sectors(str_of(text), 77, &out));
	assert_non_null(strstr(out.p, "RW 77 FLAT \"a\" 0"));
	strbuf_reset(&out);
	assert_false(vmdk_descriptor_set_sectors(STR("RW 1 ZERO\nRW 1 ZERO\n"), 77, &out));
}

static void test_header(void **state)
{
	struct vmdk_header h = {
		.version = 1,
		.flags = VMDK_F_NEWLINES | VMDK_F_REDUNDANT,
		.capacity = 20480,
		.grain = 128,
		.nr_gtes = 512,
		.gd_off = 26,
		.rgd_off = 21,
	};
	struct vmdk_header got;
	struct err err = ERR_INIT;
	uint8_t p[VMDK_HEADER_SIZE], again[VMDK_HEADER_SIZE];

	vmdk_header_put(&h, p);
	assert_int_equal(vmdk_header_parse(p, &got, &err), 0);
	vmdk_header_put(&got, again);
	assert_memory_equal(again, p, sizeof(p));
	assert_int_equal(got.capacity, h.capacity);
	assert_int_equal(got.gd_off, h.gd_off);
	assert_int_equal(vmdk_nr_tables(&got), 1);
	p[75] = '\n'; /* as a transfer by FTP in text mode does */
	assert_int_equal(vmdk_header_parse(p, &got, &err), -EILSEQ);
	assert_non_null(strstr(err.text, "line ends"));
	h.grain = 100;
	vmdk_header_put(&h, p);
	assert_int_equal(vmdk_header_parse(p, &got, &err), -EILSEQ);
	h.grain = 8;
	h.capacity = VMDK_MAX_SECTORS;
	vmdk_header_put(&h, p);
	assert_int_equal(vmdk_header_parse(p, &got, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "grain tables"));
	memcpy(p, "COWD", 4);
	assert_int_equal(vmdk_header_parse(p, &got, &err), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptor), cmocka_unit_test(test_names),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_change),
		cmocka_unit_test(test_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
