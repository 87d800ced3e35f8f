/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 (Multiboot Specification version 0.6.96): test kernels and hobby systems.
 *
 * A header with a magic number stands in the first 8 KiB of the file. The image is either ELF32 or, when
 * flag bit 16 is set, described by five addresses in that header. The kernel starts in 32-bit protected
 * mode with EBX pointing to an information structure; the initrd becomes its only module.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vm/boot/boot_priv.h"

enum {
	SEARCH_BYTES = 8192,
	HEADER_MIN = 12,
	HEADER_ADDRESSES = 32,
	FLAG_UNKNOWN =
		0xfff8, /* demands we know nothing of; bits 0 to 2 are alignment, memory, video */
	FLAG_ADDRESSES = 1 << 16,
};

#define HEADER_MAGIC UINT32_C(0x1badb002)
#define LOADER_MAGIC UINT32_C(0x2badb002)

/* Information structure (section 3.3) with what follows it in our block. */
enum {
	INFO_FLAGS = 0,
	INFO_MEM_LOWER = 4,
	INFO_MEM_UPPER = 8,
	INFO_CMDLINE = 16,
	INFO_MODS_COUNT = 20,
	INFO_MODS_ADDR = 24,
	INFO_MMAP_LENGTH = 44,
	INFO_MMAP_ADDR = 48,
	INFO_LOADER_NAME = 64,
	F_MEMORY = 1 << 0,
	F_CMDLINE = 1 << 2,
	F_MODULES = 1 << 3,
	F_MMAP = 1 << 6,
	F_LOADER_NAME = 1 << 9,
	MMAP_ENTRY_SIZE = 24,
	OFF_MODULE = 128,
	OFF_NAME = 144,
	OFF_MMAP = 160,
	OFF_CMDLINE = OFF_MMAP + MMAP_ENTRY_SIZE * BOOT_MAX_MEM,
	MAX_CMDLINE = 65535,
};

static bool find_header(const uint8_t *p, uint64_t len, uint64_t *ret_off)
{
	uint64_t end = MIN(len, (uint64_t)SEARCH_BYTES);

	for (uint64_t off = 0; range_ok(off, HEADER_MIN, end); off += 4) {
		uint32_t magic = get_le32(p + off);

		if (magic == HEADER_MAGIC &&
		    (uint32_t)(magic + get_le32(p + off + 4) + get_le32(p + off + 8)) == 0) {
			*ret_off = off;
			return true;
		}
	}
	return false;
}

bool multiboot_is(const uint8_t *p, uint64_t len)
{
	uint64_t off;

	return find_header(p, len, &off);
}

/* The image as its header's addresses describe it ("a.out kludge", section 3.1.3). */
static int plan_by_addresses(const struct boot_input *in, uint64_t hdr_off, struct boot_plan *plan,
			     struct err *err)
{
	const uint8_t *h = in->kernel + hdr_off;
	uint64_t header_addr, load, load_end, bss_end, skip;
	struct boot_segment seg;

	if (!range_ok(hdr_off, HEADER_ADDRESSES, in->kernel_len))
		return err_set(err, -ENOEXEC, "multiboot header cut off");
	header_addr = get_le32(h + 12);
	load = get_le32(h + 16);
	load_end = get_le32(h + 20);
	bss_end = get_le32(h + 24);
	plan->entry.rip = get_le32(h + 28);

	skip = header_addr - load; /* bytes of the image before its header */
	if (header_addr < load || skip > hdr_off)
		return err_set(
			err, -ENOEXEC,
			"multiboot header at 0x%llx cannot be at address 0x%llx of an image loaded at 0x%llx",
			(unsigned long long)hdr_off, (unsigned long long)header_addr,
			(unsigned long long)load);
	seg = (struct boot_segment){ .gpa = load,
				     .data = in->kernel + (hdr_off - skip),
				     .file_len = in->kernel_len - (hdr_off - skip) };
	if (load_end) {
		if (load_end < load || load_end - load > seg.file_len)
			return err_set(err, -ENOEXEC,
				       "multiboot load end 0x%llx does not fit the file; is it cut off?",
				       (unsigned long long)load_end);
		seg.file_len = load_end - load;
	}
	seg.mem_len = seg.file_len;
	if (bss_end) {
		if (bss_end < load + seg.file_len)
			return err_set(err, -ENOEXEC, "multiboot bss ends inside of the image");
		seg.mem_len = bss_end - load;
	}
	return plan_add(plan, in, &seg, "the multiboot image", err);
}

static int plan_image(const struct boot_input *in, uint64_t hdr_off, uint32_t flags,
		      struct boot_plan *plan, struct err *err)
{
	struct elf elf;
	int r;

	if (flags & FLAG_ADDRESSES)
		return plan_by_addresses(in, hdr_off, plan, err);
	if (!elf_is(in->kernel, in->kernel_len))
		return err_set(err, -ENOEXEC,
			       "multiboot image is neither ELF nor does its header hold addresses");
	r = elf_open(in->kernel, in->kernel_len, &elf, err);
	if (r < 0)
		return r;
	if (elf.is_64)
		return err_set(err, -ENOEXEC,
			       "multiboot 1 loads 32-bit ELF only; convert it (objcopy -O elf32-i386)");
	plan->entry.rip = elf.entry;
	return elf_plan_segments(&elf, plan, in, err);
}

static void fill_memory(uint8_t *p, const struct boot_input *in)
{
	uint64_t upper = 0;

	for (unsigned int i = 0; i < in->nr_mem; i++) {
		uint8_t *e = p + OFF_MMAP + i * MMAP_ENTRY_SIZE;

		put_le32(e, MMAP_ENTRY_SIZE - 4); /* the size does not count itself */
		put_le64(e + 4, in->mem[i].gpa);
		put_le64(e + 12, in->mem[i].size);
		put_le32(e + 20, in->mem[i].type);
		if (in->mem[i].type == BOOT_MEM_RAM && in->mem[i].gpa == BOOT_MIB)
			upper = in->mem[i].size;
	}
	put_le32(p + INFO_MEM_LOWER, 639);
	put_le32(p + INFO_MEM_UPPER, (uint32_t)(upper / 1024));
}

int multiboot_plan(const struct boot_input *in, struct boot_plan *plan, struct err *err)
{
	static const char loader[] = "Atoll";
	uint64_t name_len = strlen(in->kernel_name), args_len = strlen(in->cmdline);
	uint64_t off = 0, gpa, mod_gpa;
	uint32_t flags, info_flags = F_MEMORY | F_CMDLINE | F_MMAP | F_LOADER_NAME;
	uint8_t *p;
	int r;

	plan->kind = BOOT_MULTIBOOT;
	if (!find_header(in->kernel, in->kernel_len, &off))
		return err_set(err, -ENOEXEC, "no multiboot header");
	flags = get_le32(in->kernel + off + 4);
	if (flags & FLAG_UNKNOWN)
		return err_set(err, -EOPNOTSUPP,
			       "the multiboot header demands features 0x%x that are not known",
			       flags & FLAG_UNKNOWN);
	r = plan_image(in, off, flags, plan, err);
	if (r < 0)
		return r;
	if (name_len + args_len > MAX_CMDLINE)
		return err_set(err, -E2BIG, "the command line has %llu bytes; at most %d fit",
			       (unsigned long long)args_len, MAX_CMDLINE);
	r = plan_gdt(plan, in, err);
	if (r < 0)
		return r;
	r = plan_block(plan, in, OFF_CMDLINE + name_len + 1 + args_len + 1,
		       "the multiboot information", &p, &gpa, err);
	if (r < 0)
		return r;

	fill_memory(p, in);
	put_le32(p + INFO_MMAP_LENGTH, MMAP_ENTRY_SIZE * in->nr_mem);
	put_le32(p + INFO_MMAP_ADDR, (uint32_t)gpa + OFF_MMAP);
	put_le32(p + INFO_LOADER_NAME, (uint32_t)gpa + OFF_NAME);
	memcpy(p + OFF_NAME, loader, sizeof(loader));
	/* The first word is the image itself, as with every multiboot loader. */
	put_le32(p + INFO_CMDLINE, (uint32_t)gpa + OFF_CMDLINE);
	memcpy(p + OFF_CMDLINE, in->kernel_name, name_len);
	p[OFF_CMDLINE + name_len] = args_len ? ' ' : 0;
	memcpy(p + OFF_CMDLINE + name_len + 1, in->cmdline, args_len + 1);
	if (in->initrd_len) {
		r = plan_initrd(plan, in, BOOT_4GIB, &mod_gpa, err);
		if (r < 0)
			return r;
		put_le32(p + INFO_MODS_COUNT, 1);
		put_le32(p + INFO_MODS_ADDR, (uint32_t)gpa + OFF_MODULE);
		put_le32(p + OFF_MODULE, (uint32_t)mod_gpa);
		put_le32(p + OFF_MODULE + 4, (uint32_t)(mod_gpa + in->initrd_len));
		put_le32(p + OFF_MODULE + 8, (uint32_t)gpa + OFF_CMDLINE);
		info_flags |= F_MODULES;
	}
	put_le32(p + INFO_FLAGS, info_flags);
	plan->entry.rax = LOADER_MAGIC;
	plan->entry.rbx = gpa;
	return 0;
}
