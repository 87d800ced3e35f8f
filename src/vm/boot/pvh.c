/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF kernels by the PVH entry: the "x86/HVM direct boot ABI" that Xen defined and Linux, the BSDs and
 * unikernels offer. The kernel says in an ELF note where its 32-bit entry is; it gets one structure
 * (hvm_start_info version 1) with the memory map, the command line, the initrd and the RSDP, so nothing
 * about the PC needs to be discovered.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "vm/boot/boot_priv.h"

/* Source: Xen public headers, arch-x86/hvm/start_info.h and elfnote.h. */
enum {
	XEN_ELFNOTE_PHYS32_ENTRY = 18,
	START_MAGIC = 0x336ec578,
	START_VERSION = 4,
	START_NR_MODULES = 12,
	START_MODLIST = 16,
	START_CMDLINE = 24,
	START_RSDP = 32,
	START_MEMMAP = 40,
	START_MEMMAP_ENTRIES = 48,
	MOD_PADDR = 0,
	MOD_SIZE_FIELD = 8,
	MEMMAP_ENTRY_SIZE = 24,
	/* Our block: the structure, one module, the map, then the command line. */
	OFF_MODULE = 64,
	OFF_MEMMAP = 128,
	OFF_CMDLINE = OFF_MEMMAP + MEMMAP_ENTRY_SIZE * BOOT_MAX_MEM,
	MAX_CMDLINE = 65535,
};

static int find_entry(const struct elf *elf, uint64_t *ret, struct err *err)
{
	const uint8_t *desc;
	uint32_t len;
	int r = elf_note(elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &desc, &len, err);

	if (r < 0)
		return r;
	if (!r)
		return err_set(
			err, -ENOEXEC,
			"the ELF file has no PVH entry note (Linux: CONFIG_PVH) and no multiboot header; give the bzImage instead");
	if (len != 4 && len != 8)
		return err_set(err, -ENOEXEC, "the PVH entry note has %u bytes instead of 4 or 8",
			       len);
	*ret = get_le(desc, len);
	return 0;
}

static bool is_loaded(const struct boot_plan *plan, uint64_t gpa)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++)
		if (gpa - plan->segment[i].gpa < plan->segment[i].file_len)
			return true;
	return false;
}

int pvh_plan(const struct boot_input *in, struct boot_plan *plan, struct err *err)
{
	uint64_t cmdline_len = strlen(in->cmdline), gpa, initrd_gpa, entry = 0;
	struct elf elf;
	uint8_t *p;
	int r;

	plan->kind = BOOT_PVH;
	r = elf_open(in->kernel, in->kernel_len, &elf, err);
	if (r < 0)
		return r;
	r = find_entry(&elf, &entry, err);
	if (r < 0)
		return r;
	r = elf_plan_segments(&elf, plan, in, err);
	if (r < 0)
		return r;
	if (!is_loaded(plan, entry) || entry > UINT32_MAX)
		return err_set(err, -ENOEXEC, "the PVH entry 0x%llx is not in a loaded segment",
			       (unsigned long long)entry);
	if (cmdline_len > MAX_CMDLINE)
		return err_set(err, -E2BIG, "the command line has %llu bytes; at most %d fit",
			       (unsigned long long)cmdline_len, MAX_CMDLINE);
	r = plan_gdt(plan, in, err);
	if (r < 0)
		return r;
	r = plan_block(plan, in, OFF_CMDLINE + cmdline_len + 1, "the start information", &p, &gpa,
		       err);
	if (r < 0)
		return r;

	put_le32(p, START_MAGIC);
	put_le32(p + START_VERSION, 1);
	put_le64(p + START_CMDLINE, gpa + OFF_CMDLINE);
	put_le64(p + START_RSDP, in->rsdp_gpa);
	put_le64(p + START_MEMMAP, gpa + OFF_MEMMAP);
	put_le32(p + START_MEMMAP_ENTRIES, in->nr_mem);
	for (unsigned int i = 0; i < in->nr_mem; i++) {
		uint8_t *e = p + OFF_MEMMAP + i * MEMMAP_ENTRY_SIZE;

		put_le64(e, in->mem[i].gpa);
		put_le64(e + 8, in->mem[i].size);
		put_le32(e + 16, in->mem[i].type);
	}
	memcpy(p + OFF_CMDLINE, in->cmdline, cmdline_len + 1);
	if (in->initrd_len) {
		r = plan_initrd(plan, in, BOOT_4GIB, &initrd_gpa, err);
		if (r < 0)
			return r;
		put_le32(p + START_NR_MODULES, 1);
		put_le64(p + START_MODLIST, gpa + OFF_MODULE);
		put_le64(p + OFF_MODULE + MOD_PADDR, initrd_gpa);
		put_le64(p + OFF_MODULE + MOD_SIZE_FIELD, in->initrd_len);
	}
	plan->entry.rip = entry;
	plan->entry.rbx = gpa;
	return 0;
}
