/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel loaders: small images of each kind made by hand, what is planned for them, and that whatever is
 * cut off, changed or absurd is refused with a story.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vm/boot/boot.h"

#define MIB (UINT64_C(1) << 20)

static const struct boot_mem mem_256m[] = {
	{ 0, 0x9fc00, BOOT_MEM_RAM },
	{ 0x9fc00, 0x400, BOOT_MEM_RESERVED },
	{ 0xe0000, 0x20000, BOOT_MEM_RESERVED },
	{ MIB, 255 * MIB, BOOT_MEM_RAM },
};

static struct boot_input input(const uint8_t *p, uint64_t len)
{
	return (struct boot_input){
		.kernel_name = "k",
		.kernel = p,
		.kernel_len = len,
		.cmdline = "console=ttyS0",
		.mem = mem_256m,
		.nr_mem = 4,
		.rsdp_gpa = 0xe0000,
	};
}

static const struct boot_segment *segment_at(const struct boot_plan *plan, uint64_t gpa)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++)
		if (gpa - plan->segment[i].gpa < plan->segment[i].file_len)
			return &plan->segment[i];
	fail_msg("nothing at 0x%llx", (unsigned long long)gpa);
	return NULL;
}

static const uint8_t *planned(const struct boot_plan *plan, uint64_t gpa)
{
	const struct boot_segment *s = segment_at(plan, gpa);

	return s->data + (gpa - s->gpa);
}

/* Refused with @code, and the story mentions @word. */
static void refused(const struct boot_input *in, int code, const char *word)
{
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;

	assert_int_equal(boot_plan_make(in, &plan, &err), code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
	assert_int_equal(plan.nr_segments, 0);
}

/* --- bzImage --- */

enum { BZ_SIZE = 0x600 + 0x2000 };

static void make_bzimage(uint8_t *p, unsigned int version, unsigned int xlf)
{
	memset(p, 0, BZ_SIZE);
	p[0x1f1] = 2; /* setup sectors: code at 0x600 */
	put_le32(p + 0x1f4, 0x2000 / 16);
	put_le16(p + 0x1fe, 0xaa55);
	p[0x200] = 0xeb;
	p[0x201] = 0x6a;
	memcpy(p + 0x202, "HdrS", 4);
	put_le16(p + 0x206, (uint16_t)version);
	p[0x211] = 1;
	put_le32(p + 0x22c, 0x7fffffff);
	put_le32(p + 0x238, 2047);
	put_le16(p + 0x236, (uint16_t)xlf);
	put_le64(p + 0x258, 16 * MIB);
	put_le32(p + 0x260, 32 * MIB);
	memset(p + 0x600, 0x90, 0x2000);
}

static void test_bzimage_64(void **state)
{
	static uint8_t p[BZ_SIZE], initrd[5000] = { 1, 2, 3 };
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;
	const uint8_t *zp, *pgd;

	make_bzimage(p, 0x20f, 3);
	in.initrd = initrd;
	in.initrd_len = sizeof(initrd);
	assert_int_equal(boot_plan_make(&in, &plan, &err), 0);
	assert_int_equal(plan.kind, BOOT_BZIMAGE);
	assert_true(plan.entry.is_long);
	assert_int_equal(plan.entry.rip, 16 * MIB + 0x200);
	assert_int_equal(planned(&plan, plan.entry.rip)[0], 0x90);

	zp = planned(&plan, plan.entry.rsi);
	assert_memory_equal(zp + 0x202, "HdrS", 4);
	assert_int_equal(zp[0x210], 0xff);
	assert_int_equal(zp[0x1e8], 4);
	assert_int_equal(get_le64(zp + 0x2d0 + 3 * 20), MIB);
	assert_int_equal(get_le64(zp + 0x2d0 + 3 * 20 + 8), 255 * MIB);
	assert_int_equal(get_le32(zp + 0x2d0 + 3 * 20 + 16), 1);
	assert_int_equal(get_le64(zp + 0x70), 0xe0000);
	assert_string_equal((const char *)planned(&plan, get_le32(zp + 0x228)), "console=ttyS0");
	/* The initrd lies at the end of RAM, on a page of its own. */
	assert_int_equal(get_le32(zp + 0x218), 256 * MIB - 8192);
	assert_int_equal(get_le32(zp + 0x21c), sizeof(initrd));
	assert_memory_equal(planned(&plan, 256 * MIB - 8192), "\1\2\3", 3);

	/* Identity page tables: the last 2 MiB of the first 4 GiB. */
	pgd = planned(&plan, plan.entry.pgd_gpa);
	pgd = planned(&plan, get_le64(pgd) & ~UINT64_C(0xfff));
	pgd = planned(&plan, get_le64(pgd + 3 * 8) & ~UINT64_C(0xfff));
	assert_int_equal(get_le64(pgd + 511 * 8), 0xffe00083);
	boot_plan_done(&plan);
	boot_plan_done(&plan);
}

static void test_bzimage_32(void **state)
{
	static uint8_t p[BZ_SIZE];
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	struct cpu_state s = { .rflags = 0xffffffff };

	make_bzimage(p, 0x20c, 0);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	assert_false(plan.entry.is_long);
	assert_int_equal(plan.entry.rip, 16 * MIB);
	boot_plan_cpu(&plan, &s);
	assert_int_equal(s.cr0, CR0_PE | CR0_ET);
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.seg[CPU_CS].sel, 0x10);
	assert_true(s.seg[CPU_CS].attr & SEG_DB);
	assert_int_equal(s.seg[CPU_SS].sel, 0x18);
	assert_int_equal(s.gpr[CPU_RSI], plan.entry.rsi);
	boot_plan_done(&plan);

	/* Before 2.10 the kernel runs at 1 MiB. */
	make_bzimage(p, 0x206, 0);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	assert_int_equal(plan.entry.rip, MIB);
	boot_plan_done(&plan);
}

static void test_bzimage_refused(void **state)
{
	static uint8_t p[BZ_SIZE], big[64];
	static char cmdline[3000];
	struct boot_input in = input(p, sizeof(p));

	make_bzimage(p, 0x20f, 3);
	in.kernel_len = BZ_SIZE - 17;
	refused(&in, -ENOEXEC, "cut off");
	in.kernel_len = 0x600;
	refused(&in, -ENOEXEC, "cut off");
	in.kernel_len = 0x210;
	refused(&in, -ENOEXEC, "cut off");
	in = input(p, sizeof(p));
	memset(cmdline, 'x', sizeof(cmdline) - 1);
	in.cmdline = cmdline;
	refused(&in, -E2BIG, "at most 2047");
	in = input(p, sizeof(p));
	in.initrd = big;
	in.initrd_len = 300 * MIB; /* never read: planning only */
	refused(&in, -ENOMEM, "--memory 704M");
	in = input(p, sizeof(p));
	put_le32(p + 0x260, UINT32_MAX);
	refused(&in, -ENOEXEC, "not RAM");
	put_le32(p + 0x260, 512 * MIB);
	refused(&in, -ENOMEM, "--memory 576M");
	make_bzimage(p, 0x20f, 3);
	put_le64(p + 0x258, UINT64_MAX);
	refused(&in, -ENOEXEC, "prefers");
	make_bzimage(p, 0x201, 0);
	refused(&in, -EOPNOTSUPP, "too old");
	make_bzimage(p, 0x20f, 3);
	p[0x211] = 0;
	refused(&in, -EOPNOTSUPP, "zImage");
	put_le16(p + 0x1fe, 0);
	refused(&in, -ENOEXEC, "boot flag");
}

static void test_initrd_limits(void **state)
{
	static uint8_t p[BZ_SIZE], initrd[1];
	static const struct boot_mem mem[] = {
		{ 0, 0x9fc00, BOOT_MEM_RAM },
		{ MIB, 1023 * MIB, BOOT_MEM_RAM },
		{ UINT64_C(1) << 32, 4096 * MIB, BOOT_MEM_RAM },
	};
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	const uint8_t *zp;

	in.mem = mem;
	in.nr_mem = 3;
	in.initrd = initrd;
	in.initrd_len = 100 * MIB;
	make_bzimage(p, 0x20f, 1);
	put_le32(p + 0x22c, 0x37ffffff);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	zp = planned(&plan, plan.entry.rsi);
	assert_int_equal(get_le32(zp + 0x218), 0x38000000 - 100 * MIB);
	boot_plan_done(&plan);

	/* Above 4 GiB only where the kernel says that it can. */
	in.initrd_len = 2000 * MIB;
	refused(&in, -E2BIG, "takes at most");
	make_bzimage(p, 0x20f, 3);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	zp = planned(&plan, plan.entry.rsi);
	assert_int_equal(get_le32(zp + 0xc0), 1);
	boot_plan_done(&plan);
}

/* --- ELF --- */

enum { ELF_SIZE = 0x3000 };

static void make_elf64(uint8_t *p)
{
	uint8_t *h;

	memset(p, 0, ELF_SIZE);
	memcpy(p, "\177ELF\2\1\1", 7);
	put_le16(p + 16, 2);
	put_le16(p + 18, 62);
	put_le32(p + 20, 1);
	put_le64(p + 24, 16 * MIB);
	put_le64(p + 32, 64);
	put_le16(p + 54, 56);
	put_le16(p + 56, 2);
	h = p + 64;
	put_le32(h, 1);
	put_le64(h + 8, 0x1000);
	put_le64(h + 16, UINT64_C(0xffffffff81000000));
	put_le64(h + 24, 16 * MIB);
	put_le64(h + 32, 0x2000);
	put_le64(h + 40, 0x5000);
	h += 56;
	put_le32(h, 4);
	put_le64(h + 8, 0x200);
	put_le64(h + 32, 48);
	/* Another note before ours. */
	put_le32(p + 0x200, 4);
	put_le32(p + 0x204, 4);
	put_le32(p + 0x208, 18);
	memcpy(p + 0x20c, "GNU", 4);
	put_le32(p + 0x214, 4);
	put_le32(p + 0x218, 8);
	put_le32(p + 0x21c, 18);
	memcpy(p + 0x220, "Xen", 4);
	put_le64(p + 0x224, 16 * MIB + 0x850);
}

static void test_pvh(void **state)
{
	static uint8_t p[ELF_SIZE], initrd[100];
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;
	const uint8_t *info, *mod;

	make_elf64(p);
	in.initrd = initrd;
	in.initrd_len = sizeof(initrd);
	assert_int_equal(boot_plan_make(&in, &plan, &err), 0);
	assert_int_equal(plan.kind, BOOT_PVH);
	assert_int_equal(plan.entry.rip, 16 * MIB + 0x850);
	assert_int_equal(segment_at(&plan, 16 * MIB)->mem_len, 0x5000);
	info = planned(&plan, plan.entry.rbx);
	assert_int_equal(get_le32(info), 0x336ec578);
	assert_int_equal(get_le32(info + 4), 1);
	assert_int_equal(get_le64(info + 32), 0xe0000);
	assert_int_equal(get_le32(info + 48), 4);
	assert_int_equal(get_le64(planned(&plan, get_le64(info + 40)) + 24 * 3 + 8), 255 * MIB);
	assert_string_equal((const char *)planned(&plan, get_le64(info + 24)), "console=ttyS0");
	assert_int_equal(get_le32(info + 12), 1);
	mod = planned(&plan, get_le64(info + 16));
	assert_int_equal(get_le64(mod), 256 * MIB - 4096);
	assert_int_equal(get_le64(mod + 8), 100);
	boot_plan_done(&plan);
}

static void test_elf_refused(void **state)
{
	static uint8_t p[ELF_SIZE];
	struct boot_input in = input(p, sizeof(p));

	make_elf64(p);
	put_le32(p + 0x21c, 17);
	refused(&in, -ENOEXEC, "no PVH entry note");
	make_elf64(p);
	put_le32(p + 0x218, 0x7fffffff);
	refused(&in, -ENOEXEC, "a note reaches past");
	make_elf64(p);
	put_le64(p + 0x224, 32 * MIB);
	refused(&in, -ENOEXEC, "not in a loaded segment");
	make_elf64(p);
	put_le64(p + 64 + 32, 0x6000);
	refused(&in, -ENOEXEC, "past the end of the file");
	make_elf64(p);
	put_le64(p + 64 + 32, 0x2000);
	put_le64(p + 64 + 40, 0x1000);
	refused(&in, -ENOEXEC, "larger in the file");
	make_elf64(p);
	put_le64(p + 64 + 40, UINT64_MAX);
	refused(&in, -ENOEXEC, "impossible size");
	make_elf64(p);
	put_le64(p + 64 + 24, 0x9f000);
	refused(&in, -ENOEXEC, "not RAM");
	make_elf64(p);
	memcpy(p + 64 + 56, p + 64, 56);
	put_le16(p + 56, 3);
	memcpy(p + 64 + 112, p + 64, 56);
	put_le32(p + 64, 4);
	put_le64(p + 64 + 8, 0x200);
	put_le64(p + 64 + 32, 48);
	refused(&in, -ENOEXEC, "overlaps");
	make_elf64(p);
	put_le16(p + 18, 183);
	refused(&in, -ENOEXEC, "not for x86");
	make_elf64(p);
	put_le16(p + 56, 0xffff);
	refused(&in, -ENOEXEC, "program headers");
	make_elf64(p);
	put_le64(p + 32, UINT64_MAX - 8);
	refused(&in, -ENOEXEC, "past the end");
	in.kernel_len = 20;
	refused(&in, -ENOEXEC, "cut off");
}

/* --- multiboot --- */

enum { MB_SIZE = 0x2000 };

static void make_multiboot_elf(uint8_t *p)
{
	uint8_t *h;

	memset(p, 0, MB_SIZE);
	memcpy(p, "\177ELF\1\1\1", 7);
	put_le16(p + 16, 2);
	put_le16(p + 18, 3);
	put_le32(p + 20, 1);
	put_le32(p + 24, 4 * MIB + 12);
	put_le32(p + 28, 52);
	put_le16(p + 42, 32);
	put_le16(p + 44, 1);
	h = p + 52;
	put_le32(h, 1);
	put_le32(h + 4, 0x1000);
	put_le32(h + 8, 4 * MIB);
	put_le32(h + 12, 4 * MIB);
	put_le32(h + 16, 0x1000);
	put_le32(h + 20, 0x3000);
	put_le32(p + 0x1000, 0x1badb002);
	put_le32(p + 0x1004, 3);
	put_le32(p + 0x1008, -(0x1badb002u + 3));
}

static void test_multiboot_elf(void **state)
{
	static uint8_t p[MB_SIZE], initrd[10] = "A=1";
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;
	const uint8_t *info, *mod;

	make_multiboot_elf(p);
	in.initrd = initrd;
	in.initrd_len = sizeof(initrd);
	assert_int_equal(boot_plan_make(&in, &plan, &err), 0);
	assert_int_equal(plan.kind, BOOT_MULTIBOOT);
	assert_int_equal(plan.entry.rip, 4 * MIB + 12);
	assert_int_equal(plan.entry.rax, 0x2badb002);
	info = planned(&plan, plan.entry.rbx);
	assert_int_equal(get_le32(info), 1 | 4 | 8 | 64 | 512);
	assert_int_equal(get_le32(info + 4), 639);
	assert_int_equal(get_le32(info + 8), 255 * 1024);
	assert_string_equal((const char *)planned(&plan, get_le32(info + 16)), "k console=ttyS0");
	assert_int_equal(get_le32(info + 44), 4 * 24);
	assert_int_equal(get_le32(planned(&plan, get_le32(info + 48))), 20);
	assert_int_equal(get_le32(info + 20), 1);
	mod = planned(&plan, get_le32(info + 24));
	assert_string_equal((const char *)planned(&plan, get_le32(mod)), "A=1");
	assert_int_equal(get_le32(mod + 4) - get_le32(mod), 10);
	boot_plan_done(&plan);
}

static void make_multiboot_raw(uint8_t *p)
{
	memset(p, 0xcc, MB_SIZE);
	put_le32(p + 0x40, 0x1badb002);
	put_le32(p + 0x44, 1 << 16);
	put_le32(p + 0x48, -(0x1badb002u + (1 << 16)));
	put_le32(p + 0x4c, MIB + 0x40); /* header */
	put_le32(p + 0x50, MIB);	/* load */
	put_le32(p + 0x54, MIB + 0x1000);
	put_le32(p + 0x58, MIB + 0x4000);
	put_le32(p + 0x5c, MIB + 0x80);
}

static void test_multiboot_raw(void **state)
{
	static uint8_t p[MB_SIZE];
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };

	make_multiboot_raw(p);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	assert_int_equal(segment_at(&plan, MIB)->file_len, 0x1000);
	assert_int_equal(segment_at(&plan, MIB)->mem_len, 0x4000);
	assert_int_equal(plan.entry.rip, MIB + 0x80);
	boot_plan_done(&plan);

	put_le32(p + 0x54, 0); /* all of the file */
	put_le32(p + 0x58, 0);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	assert_int_equal(segment_at(&plan, MIB)->mem_len, MB_SIZE);
	boot_plan_done(&plan);
}

static void test_multiboot_refused(void **state)
{
	static uint8_t p[MB_SIZE];
	struct boot_input in = input(p, sizeof(p));

	make_multiboot_raw(p);
	put_le32(p + 0x54, MIB + 0x9000);
	refused(&in, -ENOEXEC, "load end");
	make_multiboot_raw(p);
	put_le32(p + 0x50, MIB + 0x80);
	refused(&in, -ENOEXEC, "cannot be at");
	make_multiboot_raw(p);
	put_le32(p + 0x58, MIB + 1);
	refused(&in, -ENOEXEC, "bss");
	make_multiboot_raw(p);
	in.kernel_len = 0x50;
	refused(&in, -ENOEXEC, "cut off");
	in = input(p, sizeof(p));
	make_multiboot_elf(p);
	put_le32(p + 0x1004, 8);
	put_le32(p + 0x1008, -(0x1badb002u + 8));
	refused(&in, -EOPNOTSUPP, "0x8");
	make_multiboot_elf(p);
	p[4] = 2;
	put_le64(p + 32, 64);
	put_le16(p + 54, 56);
	put_le16(p + 56, 1);
	refused(&in, -ENOEXEC, "32-bit ELF");
	make_multiboot_elf(p);
	p[0] = 0;
	refused(&in, -ENOEXEC, "neither ELF");
}

/* --- all of them --- */

static void test_unknown(void **state)
{
	struct boot_input in = input((const uint8_t *)"\x1f\x8b\x08\x00", 4);

	refused(&in, -ENOEXEC, "gunzip");
	in = input((const uint8_t *)"hello, world", 12);
	refused(&in, -ENOEXEC, "neither bzImage nor ELF nor multiboot; the first bytes are 68 65");
	in = input((const uint8_t *)"", 0);
	refused(&in, -ENOEXEC, "empty");
}

/* Low memory taken by the kernel: our tables go elsewhere. */
static void test_tables_avoid_the_kernel(void **state)
{
	static uint8_t p[MB_SIZE];
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };

	make_multiboot_raw(p);
	put_le32(p + 0x4c, 0x1040);
	put_le32(p + 0x50, 0x1000);
	put_le32(p + 0x54, 0x2000);
	put_le32(p + 0x58, 0x9fc00);
	put_le32(p + 0x5c, 0x1080);
	assert_int_equal(boot_plan_make(&in, &plan, NULL), 0);
	assert_true(plan.entry.rbx >= MIB);
	boot_plan_done(&plan);
}

/* Every prefix, and every byte changed in a few ways: a plan or a story, never a crash. Memory checkers
 * see reads past the end, because each copy has its exact size. */
static void abuse(const uint8_t *p, size_t len, size_t step)
{
	static const uint8_t values[] = { 0x00, 0x7f, 0x80, 0xff };
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;

	for (size_t n = 0; n <= len; n += n < 0x700 ? 1 : step) {
		uint8_t *copy = malloc(n ? n : 1);
		struct boot_input in = input(copy, n);

		memcpy(copy, p, n);
		if (boot_plan_make(&in, &plan, &err) == 0)
			boot_plan_done(&plan);
		else
			assert_true(err.text[0]);
		free(copy);
	}
	for (size_t i = 0; i < len; i += i < 0x400 ? 1 : step) {
		for (size_t v = 0; v < sizeof(values); v++) {
			uint8_t *copy = malloc(len);
			struct boot_input in = input(copy, len);

			memcpy(copy, p, len);
			copy[i] = values[v];
			if (boot_plan_make(&in, &plan, NULL) == 0)
				boot_plan_done(&plan);
			free(copy);
		}
	}
}

static void test_abuse(void **state)
{
	static uint8_t bz[BZ_SIZE], elf[ELF_SIZE], mb[MB_SIZE];

	make_bzimage(bz, 0x20f, 3);
	abuse(bz, sizeof(bz), 61);
	make_elf64(elf);
	abuse(elf, sizeof(elf), 61);
	make_multiboot_elf(mb);
	abuse(mb, sizeof(mb), 61);
	make_multiboot_raw(mb);
	abuse(mb, sizeof(mb), 61);
}

static void test_place(void **state)
{
	static uint8_t p[MB_SIZE];
	static _Atomic uint8_t flags[2 * MIB / 4096];
	struct boot_input in = input(p, sizeof(p));
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;
	uint8_t *ram = calloc(1, 2 * MIB);
	struct physmem mem = {
		.nr = 1,
		.region = { { .gpa = 0, .size = 2 * MIB, .hva = ram, .page_flags = flags } },
	};

	make_multiboot_raw(p);
	assert_int_equal(boot_plan_make(&in, &plan, &err), 0);
	assert_int_equal(boot_plan_place(&plan, &mem, &err), 0);
	assert_memory_equal(ram + MIB, p, 0x1000);
	assert_int_equal(get_le64(ram + plan.entry.gdt_gpa + 0x10), 0x00cf9b000000ffff);
	mem.region[0].size = MIB;
	assert_int_equal(boot_plan_place(&plan, &mem, &err), -EFAULT);
	boot_plan_done(&plan);
	free(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bzimage_64),
		cmocka_unit_test(test_bzimage_32),
		cmocka_unit_test(test_bzimage_refused),
		cmocka_unit_test(test_initrd_limits),
		cmocka_unit_test(test_pvh),
		cmocka_unit_test(test_elf_refused),
		cmocka_unit_test(test_multiboot_elf),
		cmocka_unit_test(test_multiboot_raw),
		cmocka_unit_test(test_multiboot_refused),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_tables_avoid_the_kernel),
		cmocka_unit_test(test_abuse),
		cmocka_unit_test(test_place),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
