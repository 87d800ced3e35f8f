/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Linux x86 boot protocol (Linux Documentation/x86/boot.rst), from version 2.02 on.
 *
 * A bzImage is a 16-bit setup part, whose header describes the kernel, and a protected-mode part, which
 * we load where the kernel prefers to run. The setup code is never executed: what it would ask the BIOS
 * for (memory map, RSDP) we write into the zero page. A 64-bit kernel is entered at +0x200 in long mode
 * over identity page tables, which saves the interpreter the mode switches; older and 32-bit ones at +0
 * in protected mode.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vm/boot/boot_priv.h"

/* Offsets in the file and in the zero page alike ("The Real-Mode Kernel Header"). */
enum {
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x200,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_MAX = 0x290, /* the zero page has other fields from here on */

	LOADED_HIGH = 1,
	XLF_KERNEL_64 = 1,
	XLF_ABOVE_4G = 2,
	LOADER_UNDEFINED = 0xff,
	VID_MODE_NORMAL = 0xffff,
};

/* Zero page (Documentation/x86/zero-page.rst). */
enum {
	ZP_ACPI_RSDP = 0x070,
	ZP_EXT_RAMDISK_IMAGE = 0x0c0,
	ZP_EXT_RAMDISK_SIZE = 0x0c4,
	ZP_E820_ENTRIES = 0x1e8,
	ZP_E820_TABLE = 0x2d0,
	ZP_SIZE = 4096,
	E820_ENTRY_SIZE = 20,
	SECTOR = 512,
	ENTRY_64_OFFSET = 0x200,
	CMDLINE_LIMIT = 65535,
};

#define HDRS_MAGIC UINT32_C(0x53726448) /* "HdrS" */

/* The setup header with the defaults of the protocol versions that did not have a field yet. */
struct setup {
	unsigned int version;
	uint64_t hdr_end;     /* of the header, in the file */
	uint64_t payload_off; /* of the protected-mode part, in the file */
	uint64_t initrd_max;  /* one past the last byte an initrd may use */
	uint64_t pref_address, init_size;
	uint64_t cmdline_max; /* bytes without the terminator */
	bool is_64, above_4g;
};

bool bzimage_is(const uint8_t *p, uint64_t len)
{
	return len >= HDR_MAGIC + 4 && get_le32(p + HDR_MAGIC) == HDRS_MAGIC;
}

static int read_setup(const uint8_t *p, uint64_t len, struct setup *s, struct err *err)
{
	unsigned int sects, xlf;

	if (len < HDR_END_MAX)
		return err_set(err, -ENOEXEC, "bzImage cut off: the file has %llu bytes",
			       (unsigned long long)len);
	if (get_le16(p + HDR_BOOT_FLAG) != 0xaa55)
		return err_set(err, -ENOEXEC, "bzImage without the boot flag 0xaa55 at 0x1fe");
	s->version = get_le16(p + HDR_VERSION);
	if (s->version < 0x202)
		return err_set(err, -EOPNOTSUPP,
			       "boot protocol %u.%02u is too old; 2.02 or later is needed",
			       s->version >> 8, s->version & 0xff);
	if (!(p[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(err, -EOPNOTSUPP, "this is a zImage; only bzImage can be loaded");

	sects = p[HDR_SETUP_SECTS] ? p[HDR_SETUP_SECTS] : 4;
	s->payload_off = (uint64_t)(sects + 1) * SECTOR;
	if (s->payload_off >= len)
		return err_set(err, -ENOEXEC,
			       "bzImage cut off: the setup part alone has %llu bytes, the file %llu",
			       (unsigned long long)s->payload_off, (unsigned long long)len);
	if (s->version >= 0x204 &&
	    (uint64_t)get_le32(p + HDR_SYSSIZE) * 16 > len - s->payload_off + 15)
		return err_set(
			err, -ENOEXEC,
			"bzImage cut off: the kernel has %llu bytes by its header, the file holds %llu",
			(unsigned long long)get_le32(p + HDR_SYSSIZE) * 16,
			(unsigned long long)(len - s->payload_off));
	s->hdr_end = MIN(0x202 + (uint64_t)p[HDR_JUMP + 1], (uint64_t)HDR_END_MAX);

	s->initrd_max = 0x38000000;
	s->cmdline_max = 255;
	s->pref_address = BOOT_MIB;
	if (s->version >= 0x203)
		s->initrd_max = (uint64_t)get_le32(p + HDR_INITRD_ADDR_MAX) + 1;
	if (s->version >= 0x206)
		s->cmdline_max = MIN(get_le32(p + HDR_CMDLINE_SIZE), (uint32_t)CMDLINE_LIMIT);
	if (s->version >= 0x20a) {
		s->pref_address = get_le64(p + HDR_PREF_ADDRESS);
		s->init_size = get_le32(p + HDR_INIT_SIZE);
	}
	if (s->version >= 0x20c) {
		xlf = get_le16(p + HDR_XLOADFLAGS);
		s->is_64 = xlf & XLF_KERNEL_64;
		s->above_4g = xlf & XLF_ABOVE_4G;
	}
	if (s->pref_address >= BOOT_4GIB || s->pref_address < BOOT_MIB)
		return err_set(err, -ENOEXEC,
			       "bzImage prefers address 0x%llx, which is not between 1 MiB and 4 GiB",
			       (unsigned long long)s->pref_address);
	return 0;
}

/* Identity mapping of the first 4 GiB in 2 MiB pages: one PML4, one PDPT, four page directories. */
static int plan_identity_map(struct boot_plan *plan, const struct boot_input *in, struct err *err)
{
	const uint64_t table = 0x3, large = 0x83; /* present, writable; page size */
	uint8_t *p;
	uint64_t gpa;
	int r = plan_block(plan, in, 6 * GUEST_PAGE_SIZE, "the page tables", &p, &gpa, err);

	if (r < 0)
		return r;
	put_le64(p, (gpa + GUEST_PAGE_SIZE) | table);
	for (unsigned int i = 0; i < 4; i++)
		put_le64(p + GUEST_PAGE_SIZE + 8 * i, (gpa + (2 + i) * GUEST_PAGE_SIZE) | table);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put_le64(p + 2 * GUEST_PAGE_SIZE + 8 * i, (i << 21) | large);
	plan->entry.pgd_gpa = gpa;
	return 0;
}

static void fill_memory_map(uint8_t *zp, const struct boot_input *in)
{
	zp[ZP_E820_ENTRIES] = (uint8_t)in->nr_mem;
	for (unsigned int i = 0; i < in->nr_mem; i++) {
		uint8_t *e = zp + ZP_E820_TABLE + i * E820_ENTRY_SIZE;

		put_le64(e, in->mem[i].gpa);
		put_le64(e + 8, in->mem[i].size);
		put_le32(e + 16, in->mem[i].type);
	}
}

static int place_initrd(struct boot_plan *plan, const struct boot_input *in, const struct setup *s,
			uint8_t *zp, struct err *err)
{
	uint64_t max = s->above_4g ? UINT64_MAX : s->initrd_max, gpa;
	int r;

	/* Below 4 GiB where possible: nothing has to be mapped specially there. */
	if (plan_find(plan, in, in->initrd_len, GUEST_PAGE_SIZE, BOOT_MIB, BOOT_4GIB, true, &gpa))
		max = MIN(max, BOOT_4GIB);
	r = plan_initrd(plan, in, max, &gpa, err);
	if (r < 0)
		return r;
	put_le32(zp + HDR_RAMDISK_IMAGE, (uint32_t)gpa);
	put_le32(zp + HDR_RAMDISK_SIZE, (uint32_t)in->initrd_len);
	if (s->version >= 0x20c) {
		put_le32(zp + ZP_EXT_RAMDISK_IMAGE, (uint32_t)(gpa >> 32));
		put_le32(zp + ZP_EXT_RAMDISK_SIZE, (uint32_t)(in->initrd_len >> 32));
	}
	return 0;
}

int bzimage_plan(const struct boot_input *in, struct boot_plan *plan, struct err *err)
{
	uint64_t cmdline_len = strlen(in->cmdline), cmdline_gpa;
	struct boot_segment seg;
	uint8_t *zp, *cmdline;
	struct setup s = { 0 };
	int r;

	plan->kind = BOOT_BZIMAGE;
	r = read_setup(in->kernel, in->kernel_len, &s, err);
	if (r < 0)
		return r;
	if (cmdline_len > s.cmdline_max)
		return err_set(err, -E2BIG,
			       "the command line has %llu bytes; this kernel takes at most %llu",
			       (unsigned long long)cmdline_len, (unsigned long long)s.cmdline_max);

	/* The kernel unpacks itself over init_size bytes from where it is loaded. */
	seg = (struct boot_segment){ .gpa = s.pref_address,
				     .data = in->kernel + s.payload_off,
				     .file_len = in->kernel_len - s.payload_off };
	seg.mem_len = MAX(seg.file_len, s.init_size);
	r = plan_add(plan, in, &seg, "the kernel", err);
	if (r < 0)
		return r;
	if (s.is_64 && seg.file_len <= ENTRY_64_OFFSET)
		return err_set(err, -ENOEXEC, "bzImage cut off before its 64-bit entry");
	plan->entry.is_long = s.is_64;

	r = plan_gdt(plan, in, err);
	if (r < 0)
		return r;
	r = plan_block(plan, in, ZP_SIZE, "the zero page", &zp, &plan->entry.rsi, err);
	if (r < 0)
		return r;
	r = plan_block(plan, in, cmdline_len + 1, "the command line", &cmdline, &cmdline_gpa, err);
	if (r < 0)
		return r;
	if (s.is_64) {
		r = plan_identity_map(plan, in, err);
		if (r < 0)
			return r;
	}

	memcpy(zp + HDR_START, in->kernel + HDR_START, s.hdr_end - HDR_START);
	memcpy(cmdline, in->cmdline, cmdline_len + 1);
	zp[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put_le16(zp + HDR_VID_MODE, VID_MODE_NORMAL);
	put_le32(zp + HDR_CODE32_START, (uint32_t)seg.gpa);
	put_le32(zp + HDR_CMD_LINE_PTR, (uint32_t)cmdline_gpa);
	put_le64(zp + ZP_ACPI_RSDP, in->rsdp_gpa);
	fill_memory_map(zp, in);
	if (in->initrd_len) {
		r = place_initrd(plan, in, &s, zp, err);
		if (r < 0)
			return r;
	}
	plan->entry.rip = seg.gpa + (s.is_64 ? ENTRY_64_OFFSET : 0);
	return 0;
}
