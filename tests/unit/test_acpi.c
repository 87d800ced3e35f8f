/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI and MP tables: their chain and checksums, AML lengths at the edges of the encoding, and the
 * judgement of the reference compiler, which takes every table apart and puts it together again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vm/acpi/acpi.h"
#include "vm/acpi/aml.h"
#include "vm/dev/acpi_pm.h"

static uint8_t sum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t s = 0;

	for (size_t i = 0; i < n; i++)
		s = (uint8_t)(s + b[i]);
	return s;
}

#define HOT_SLOTS UINT32_C(0x3fffff00)

static const struct acpi_config config = { .nr_cpus = 4, .serial_mask = 3, .base = 0xe0000 };

static void test_chain(void **state)
{
	struct acpi_tables t;
	const uint8_t *b, *xsdt, *fadt;

	acpi_build(&config, &t);
	b = (const uint8_t *)t.blob.p;
	assert_memory_equal(b, "RSD PTR ", 8);
	assert_int_equal(sum(b, 20), 0);
	assert_int_equal(sum(b, 36), 0);
	xsdt = b + (get_le64(b + 24) - config.base);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_memory_equal(b + (get_le32(b + 16) - config.base), "RSDT", 4);
	fadt = b + (get_le64(xsdt + 36) - config.base);
	assert_memory_equal(fadt, "FACP", 4);
	assert_memory_equal(b + (get_le32(fadt + 36) - config.base), "FACS", 4);
	assert_int_equal((get_le32(fadt + 36) & 63), 0);
	assert_memory_equal(b + (get_le64(fadt + 140) - config.base), "DSDT", 4);
	assert_int_equal(get_le32(fadt + 56), ACPI_PM1_EVT);
	for (int i = ACPI_DSDT; i < ACPI_NR_TABLES; i++) {
		assert_int_equal(get_le32(b + t.off[i] + 4), t.len[i]);
		assert_int_equal(sum(b + t.off[i], t.len[i]), 0);
	}
	assert_true(t.blob.n < 0x10000);
	acpi_tables_done(&t);
}

static void test_most_cpus(void **state)
{
	struct acpi_config cfg = config;
	struct strbuf mp = { 0 };
	struct acpi_tables t;

	cfg.nr_cpus = 64;
	acpi_build(&cfg, &t);
	assert_true(t.blob.n < 0x10000);
	acpi_tables_done(&t);
	cfg.base = 0xf0000;
	mptable_build(&cfg, &mp);
	assert_true(mp.n < 0x10000);
	assert_memory_equal(mp.p, "_MP_", 4);
	assert_int_equal(sum(mp.p, 16), 0);
	assert_int_equal(get_le32(mp.p + 4), 0xf0010);
	assert_memory_equal(mp.p + 16, "PCMP", 4);
	assert_int_equal(sum(mp.p + 16, get_le16(mp.p + 20)), 0);
	assert_int_equal(get_le16(mp.p + 20) + 16u, mp.n);
	strbuf_done(&mp);
}

/* A package length counts itself: 63, 4095 and 1048575 are the largest of their forms. */
static void test_aml_lengths(void **state)
{
	for (size_t n = 40; n < 4200; n++) {
		struct aml a = { 0 };
		const uint8_t *p;
		size_t len, bytes;

		aml_scope(&a, "\\X");
		for (size_t i = 0; i < n; i++)
			aml_int(&a, 0);
		aml_close(&a);
		p = (const uint8_t *)a.out.p + 1;
		bytes = p[0] >> 6;
		len = bytes ? (p[0] & 0xfu) | (size_t)get_le(p + 1, (unsigned int)bytes) << 4
			    : p[0];
		assert_int_equal(len, a.out.n - 1);
		assert_int_equal(bytes, len <= 63 ? 0 : len <= 4095 ? 1 : 2);
		aml_done(&a);
	}
}

static void test_aml_terms(void **state)
{
	static const uint8_t want[] = { 0x08, '_',  'H',  'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08,
					0x08, '\\', 0x2e, '_', 'S', 'B',  '_',	'X',  '_',  '_',
					'_',  0x0e, 0,	  0,   0,   0,	  1,	0,    0,    0 };
	struct aml a = { 0 };

	aml_name_eisaid(&a, "_HID", "PNP0A08");
	aml_name_int(&a, "\\_SB.X", UINT64_C(1) << 32);
	assert_int_equal(a.out.n, sizeof(want));
	assert_memory_equal(a.out.p, want, sizeof(want));
	aml_done(&a);
}

static void write_file(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static void shell(const char *dir, const char *name, const char *cmd)
{
	char line[512];

	snprintf(line, sizeof(line), "cd %s && %s", dir, cmd);
	if (system(line) != 0) {
		snprintf(line, sizeof(line), "cat %s/log >&2", dir);
		ignore_result(system(line));
		fail_msg("%s: %s", name, cmd);
	}
}

/* Possible CPUs: in the MADT, those of the start enabled, the others not yet; an event and methods in the DSDT. Slots whose devices come and
 * go have theirs. */
static void test_hot_plug(void **state)
{
	struct acpi_config cfg = config;
	struct acpi_tables t, without;
	const uint8_t *madt;

	cfg.nr_cpus = 2;
	acpi_build(&cfg, &without);
	cfg.max_cpus = 64;
	cfg.hot_slots = HOT_SLOTS;
	acpi_build(&cfg, &t);
	assert_true(t.blob.n < 0x10000);
	madt = (const uint8_t *)t.blob.p + t.off[ACPI_MADT] + 44;
	for (unsigned int k = 0; k < 64; k++) {
		assert_int_equal(madt[8 * k + 3], k);
		assert_int_equal(get_le32(madt + 8 * k + 4), k < 2 ? 1 : 2);
	}
	assert_non_null(memmem(t.blob.p, t.blob.n, "_E02", 4));
	assert_non_null(memmem(t.blob.p, t.blob.n, "E03F", 4));
	assert_non_null(memmem(t.blob.p, t.blob.n, "_E01", 4));
	assert_non_null(memmem(t.blob.p, t.blob.n, "S01D", 4));
	assert_null(memmem(t.blob.p, t.blob.n, "S01E", 4));
	assert_non_null(memmem(without.blob.p, without.blob.n, "VM_Gen_Counter", 15));
	assert_non_null(memmem(without.blob.p, without.blob.n, "_E03", 4));
	assert_null(memmem(without.blob.p, without.blob.n, "_E02", 4));
	assert_null(memmem(without.blob.p, without.blob.n, "_E01", 4));
	acpi_tables_done(&t);
	acpi_tables_done(&without);
}

/* iasl takes each table apart, and compiles what it read to the same bytes again. */
static void compile_again(const struct acpi_config *cfg)
{
	static const char *const names[ACPI_NR_TABLES] = {
		[ACPI_DSDT] = "dsdt", [ACPI_FADT] = "facp", [ACPI_MADT] = "apic",
		[ACPI_HPET] = "hpet", [ACPI_MCFG] = "mcfg", [ACPI_WAET] = "waet",
		[ACPI_FACS] = "facs", [ACPI_XSDT] = "xsdt", [ACPI_RSDT] = "rsdt",
	};
	char dir[] = "/tmp/test_acpi_XXXXXX", cmd[256], path[128];
	struct acpi_tables t;

	if (system("iasl -v >/dev/null 2>&1") != 0) {
		print_message("no iasl (package acpica-tools)\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	acpi_build(cfg, &t);
	for (int i = 0; i < ACPI_NR_TABLES; i++) {
		if (!t.len[i])
			continue;
		if (!names[i])
			continue;
		snprintf(path, sizeof(path), "%s/%s.dat", dir, names[i]);
		write_file(path, t.blob.p + t.off[i], t.len[i]);
		snprintf(cmd, sizeof(cmd), "iasl -d %s.dat >log 2>&1", names[i]);
		shell(dir, names[i], cmd);
		snprintf(cmd, sizeof(cmd),
			 "! grep -iE 'error|invalid|unknown|checksum.*incorrect' log");
		shell(dir, names[i], cmd);
		snprintf(cmd, sizeof(cmd),
			 "iasl -p again-%s %s.dsl >log 2>&1 && ! grep -E '[1-9][0-9]* (Errors|Warnings)' log",
			 names[i], names[i]);
		shell(dir, names[i], cmd);
		/* Behind the headers, which name their compiler. */
		snprintf(cmd, sizeof(cmd), "cmp -i 36 %s.dat again-%s.aml >log 2>&1", names[i],
			 names[i]);
		shell(dir, names[i], cmd);
	}
	acpi_tables_done(&t);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ignore_result(system(cmd));
}

static void test_reference_compiler(void **state)
{
	compile_again(&config);
}

/* With more CPUs than one byte of a length counts. */
static void test_reference_compiler_hot_plug(void **state)
{
	struct acpi_config cfg = config;

	cfg.max_cpus = 64;
	cfg.hot_slots = HOT_SLOTS;
	compile_again(&cfg);
}

/* The mini board: windows in the place of PCI, and no table of what is not there. */
static void test_mini(void **state)
{
	struct acpi_config cfg = config;
	struct acpi_tables t;
	const uint8_t *b, *fadt;

	cfg.is_mini = true;
	cfg.nr_virtio_mmio = 16;
	acpi_build(&cfg, &t);
	b = (const uint8_t *)t.blob.p;
	assert_int_equal(t.len[ACPI_HPET], 0);
	assert_int_equal(t.len[ACPI_MCFG], 0);
	assert_int_equal(t.len[ACPI_XSDT], 36 + 3 * 8);
	assert_non_null(memmem(b, t.blob.n, "LNRO0005", 8));
	assert_non_null(memmem(b, t.blob.n, "VM0F", 4));
	assert_null(memmem(b, t.blob.n, "PCI0", 4));
	fadt = b + t.off[ACPI_FADT];
	assert_int_equal(get_le64(fadt + 116 + 4), ACPI_PM_RESET);
	acpi_tables_done(&t);
	compile_again(&cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_most_cpus),
		cmocka_unit_test(test_mini),
		cmocka_unit_test(test_aml_lengths),
		cmocka_unit_test(test_aml_terms),
		cmocka_unit_test(test_hot_plug),
		cmocka_unit_test(test_reference_compiler),
		cmocka_unit_test(test_reference_compiler_hot_plug),
	};

	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
