/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware finds: its image, its variables' file, and through fw_cfg the tables, which are linked here as
 * firmware would do it and then followed from the root pointer.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "bench.h"
#include "vm/dev/debugcon.h"
#include "vm/firmware/firmware.h"
#include "vm/firmware/smbios.h"

#define MIB (UINT64_C(1) << 20)

struct fixture {
	struct bench b;
	struct fw_cfg fw;
	char dir[32], code[64], vars[64], mine[64];
};

static void put_file(const char *path, size_t n, uint8_t byte)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (size_t k = 0; k < n; k++)
		fputc(byte, f);
	fclose(f);
}

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 4 * MIB);

	*state = &f;
	snprintf(f.dir, sizeof(f.dir), "/tmp/firmware-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.code, sizeof(f.code), "%s/X_CODE.fd", f.dir);
	snprintf(f.vars, sizeof(f.vars), "%s/X_VARS.fd", f.dir);
	snprintf(f.mine, sizeof(f.mine), "%s/mine", f.dir);
	put_file(f.code, 256 << 10, 0x11);
	put_file(f.vars, 8192, 0x22);
	return r ? r : fw_cfg_init(&f.fw, &f.b.board, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->code);
	unlink(f->vars);
	unlink(f->mine);
	rmdir(f->dir);
	fw_cfg_done(&f->fw);
	bench_done(&f->b);
	return 0;
}

static void test_images(void **state)
{
	struct fixture *f = *state;
	struct firmware fw, second;
	uint8_t byte;

	assert_int_equal(firmware_load(f->code, NULL, &fw, NULL), 0);
	assert_int_equal(fw.rom_len, 256 << 10);
	assert_int_equal(fw.vars_len, 8192);
	assert_int_equal(firmware_vars_gpa(&fw), 0xfffbe000);
	assert_int_equal(firmware_map(&fw, &f->b.memory, NULL), 0);
	assert_int_equal(firmware_shadow(&fw, &f->b.memory.phys, NULL), 0);
	assert_int_equal(physmem_read(&f->b.memory.phys, 0xfffffff0, &byte, 1), 0);
	assert_int_equal(byte, 0x11);
	assert_int_equal(physmem_write(&f->b.memory.phys, 0xfffffff0, &byte, 1), -EFAULT);
	assert_int_equal(physmem_read(&f->b.memory.phys, 0xe0000, &byte, 1), 0);
	assert_int_equal(byte, 0x11);
	assert_int_equal(physmem_read(&f->b.memory.phys, 0xdffff, &byte, 1), 0);
	assert_int_equal(byte, 0);
	firmware_done(&fw);
	firmware_done(&fw);

	/* Its own file is made from the template, locked, and found again. */
	assert_int_equal(firmware_load(f->code, f->mine, &fw, NULL), 0);
	assert_int_equal(firmware_load(f->code, f->mine, &second, NULL), -EBUSY);
	assert_int_equal(pwrite(fw.vars_fd, "!", 1, 100), 1);
	firmware_done(&fw);
	assert_int_equal(firmware_load(f->code, f->mine, &fw, NULL), 0);
	assert_int_equal(fw.vars[100], '!');
	assert_int_equal(fw.vars[101], 0x22);
	firmware_done(&fw);
	put_file(f->mine, 8191, 1);
	assert_int_equal(firmware_load(f->code, f->mine, &fw, NULL), -EINVAL);
	put_file(f->vars, 8191, 1);
	assert_int_equal(firmware_load(f->code, NULL, &fw, NULL), -EINVAL);
	put_file(f->code, 4097, 1);
	assert_int_equal(firmware_load(f->code, NULL, &fw, NULL), -EINVAL);
	assert_int_equal(firmware_load("/nonexistent/bios", NULL, &fw, NULL), -ENOENT);
	unlink(f->vars);
	put_file(f->code, 4096, 1);
	assert_int_equal(firmware_load(f->code, f->mine, &fw, NULL), -ENOENT);
	assert_int_equal(firmware_load(f->code, NULL, &fw, NULL), 0);
	assert_null(fw.vars);
	firmware_done(&fw);
	assert_int_equal(firmware_load(f->mine, f->code, &fw, NULL), -EINVAL);
}

/* The contents of a file of fw_cfg. */
static uint8_t *file(struct fixture *f, const char *name, size_t *ret_len)
{
	for (unsigned int k = 0; k < f->fw.nr_files; k++) {
		if (strcmp(f->fw.names[k], name) != 0)
			continue;
		*ret_len = f->fw.item[FW_CFG_FILE_FIRST + k].len;
		return f->fw.item[FW_CFG_FILE_FIRST + k].data;
	}
	fail_msg("no file '%s'", name);
	return NULL;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* Links as firmware does: tables at @tables_at, the root pointer anywhere. */
static void link_tables(struct fixture *f, uint64_t tables_at)
{
	size_t len, n, end;
	uint8_t *script = file(f, "etc/table-loader", &len), *dest;
	unsigned int allocated = 0;

	assert_int_equal(len % 128, 0);
	for (uint8_t *c = script; c < script + len; c += 128) {
		const char *name = (char *)c + 4;

		dest = file(f, name, &n);
		switch (get_le32(c)) {
		case 1:
			allocated++;
			assert_true(get_le32(c + 60) >= 16);
			break;
		case 2:
			assert_string_equal((char *)c + 60, "etc/acpi/tables");
			end = get_le32(c + 116) + c[120];
			assert_true(end <= n);
			put_le(dest + get_le32(c + 116),
			       get_le(dest + get_le32(c + 116), c[120]) + tables_at, c[120]);
			break;
		case 3:
			assert_true(get_le32(c + 64) + get_le32(c + 68) <= n);
			assert_int_equal(dest[get_le32(c + 60)], 0);
			dest[get_le32(c + 60)] =
				(uint8_t)-sum(dest + get_le32(c + 64), get_le32(c + 68));
			break;
		default:
			fail_msg("command %u", get_le32(c));
		}
	}
	assert_int_equal(allocated, 2);
}

static void test_tables(void **state)
{
	struct fixture *f = *state;
	const uint64_t at = 0x7ff00000;
	const struct acpi_config acpi = { .nr_cpus = 3, .serial_mask = 1 };
	const struct firmware_info info = { .name = "m", .acpi = &acpi, .memory = &f->b.memory };
	const uint8_t *rsdp, *tables, *xsdt, *t;
	size_t rsdp_len, len, nr;

	assert_int_equal(firmware_fill(&f->fw, &info, NULL), 0);
	link_tables(f, at);
	rsdp = file(f, "etc/acpi/rsdp", &rsdp_len);
	tables = file(f, "etc/acpi/tables", &len);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_memory_equal(tables + (get_le32(rsdp + 16) - at), "RSDT", 4);
	xsdt = tables + (get_le64(rsdp + 24) - at);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(sum(xsdt, get_le32(xsdt + 4)), 0);
	nr = (get_le32(xsdt + 4) - 36) / 8;
	assert_int_equal(nr, 5);
	for (size_t k = 0; k < nr; k++) {
		t = tables + (get_le64(xsdt + 36 + 8 * k) - at);
		assert_int_equal(sum(t, get_le32(t + 4)), 0);
	}
	t = tables + (get_le64(xsdt + 36) - at);
	assert_memory_equal(t, "FACP", 4);
	assert_memory_equal(tables + (get_le64(t + 140) - at), "DSDT", 4);
	assert_memory_equal(tables + (get_le32(t + 36) - at), "FACS", 4);
}

static void test_smbios(void **state)
{
	struct fixture *f = *state;
	const struct smbios_config cfg = {
		.name = "box", .nr_cpus = 2, .memory_bytes = 40960 * MIB, .low_end = 2816 * MIB
	};
	struct strbuf anchor = { 0 }, tables = { 0 };
	unsigned int nr = 0, nr_of[128] = { 0 };
	const uint8_t *p, *end;

	(void)f;
	smbios_build(&cfg, &anchor, &tables);
	assert_int_equal(anchor.n, 31);
	assert_int_equal(sum((uint8_t *)anchor.p, 31), 0);
	assert_int_equal(sum((uint8_t *)anchor.p + 16, 15), 0);
	assert_int_equal(get_le16(anchor.p + 22), tables.n);
	end = (uint8_t *)tables.p + tables.n;
	for (p = (uint8_t *)tables.p; p < end; nr++) {
		const uint8_t *s = p + p[1];

		nr_of[p[0]]++;
		if (p[0] == 17)
			assert_int_equal(get_le32(p + 0x1c), 40960);
		while (s[0] || s[1])
			s++;
		p = s + 2;
	}
	assert_ptr_equal(p, end);
	assert_int_equal(get_le16(anchor.p + 28), nr);
	assert_int_equal(nr_of[4], 2);
	assert_int_equal(nr_of[19], 2);
	assert_int_equal(nr_of[1] + nr_of[3] + nr_of[16] + nr_of[32] + nr_of[127], 5);
	strbuf_done(&anchor);
	strbuf_done(&tables);
}

/* A bzImage that has no more than its header. */
static void test_kernel(void **state)
{
	struct fixture *f = *state;
	const struct acpi_config acpi = { .nr_cpus = 1 };
	uint8_t kernel[4096] = { 0 }, initrd[100] = { 7 };
	struct firmware_info info = { .acpi = &acpi,
				      .is_uefi = true,
				      .memory = &f->b.memory,
				      .kernel = kernel,
				      .kernel_len = sizeof(kernel),
				      .initrd = initrd,
				      .initrd_len = sizeof(initrd) };
	const struct fw_cfg_item *it = f->fw.item;

	assert_int_equal(firmware_fill(&f->fw, &info, NULL), -ENOEXEC);
	memcpy(kernel + 0x202, "HdrS", 4);
	kernel[0x1f1] = 1;
	fw_cfg_done(&f->fw);
	assert_int_equal(fw_cfg_init(&f->fw, &f->b.board, NULL), 0);
	assert_int_equal(firmware_fill(&f->fw, &info, NULL), 0);
	assert_int_equal(get_le32(it[FW_CFG_SETUP_SIZE].data), 1024);
	assert_int_equal(get_le32(it[FW_CFG_KERNEL_SIZE].data), 3072);
	assert_int_equal(it[FW_CFG_KERNEL_DATA].len, 3072);
	assert_int_equal(it[FW_CFG_INITRD_DATA].data[0], 7);
	assert_int_equal(get_le32(it[FW_CFG_INITRD_SIZE].data), 100);
	assert_true(get_le32(it[FW_CFG_INITRD_ADDR].data) + 100 < 4 * MIB);
	assert_int_equal(it[FW_CFG_SETUP_DATA].data[0x210], 0xb0);
	kernel[0x1f1] = 8; /* the setup part is all there is */
	fw_cfg_done(&f->fw);
	assert_int_equal(fw_cfg_init(&f->fw, &f->b.board, NULL), 0);
	assert_int_equal(firmware_fill(&f->fw, &info, NULL), -ENOEXEC);
}

struct sink {
	struct chardev cd;
	char text[16];
	size_t n;
};

static ssize_t sink_write(struct chardev *cd, const void *buf, size_t n)
{
	struct sink *s = container_of(cd, struct sink, cd);

	if (s->n + n > sizeof(s->text))
		return -EAGAIN;
	memcpy(s->text + s->n, buf, n);
	s->n += n;
	return (ssize_t)n;
}

static void test_debugcon(void **state)
{
	static const struct chardev_ops ops = { .write = sink_write };
	struct fixture *f = *state;
	struct sink sink = { .cd = { .ops = &ops } };
	struct debugcon d, second;

	assert_int_equal(debugcon_init(&d, &f->b.board, &sink.cd, NULL), 0);
	assert_int_equal(debugcon_init(&second, &f->b.board, &sink.cd, NULL), -EEXIST);
	assert_int_equal(inb(&f->b, 0x402), 0xe9);
	for (int k = 0; k < 20; k++)
		outb(&f->b, 0x402, (uint8_t)('a' + k));
	assert_int_equal(sink.n, 16);
	assert_memory_equal(sink.text, "abcd", 4);
	debugcon_done(&d);
	debugcon_done(&d);
	assert_int_equal(inb(&f->b, 0x402), 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_images, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smbios, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_debugcon, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
