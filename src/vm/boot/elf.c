/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading ELF executables: header, program headers, notes. Only what a loader needs, and nothing is
 * believed: each table and each segment is checked against the length of the file before it is read.
 * Section headers are never looked at, since stripped kernels have none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vm/boot/boot_priv.h"

enum {
	EI_CLASS = 4,
	EI_DATA = 5,
	CLASS_32 = 1,
	CLASS_64 = 2,
	DATA_LSB = 1,
	ET_EXEC = 2,
	ET_DYN = 3,
	EM_386 = 3,
	EM_X86_64 = 62,
	EHDR32_SIZE = 52,
	EHDR64_SIZE = 64,
	PHDR32_SIZE = 32,
	PHDR64_SIZE = 56,
	MAX_PHNUM = 64,
};

bool elf_is(const uint8_t *p, uint64_t len)
{
	return len >= 4 && !memcmp(p, "\177ELF", 4);
}

int elf_open(const uint8_t *p, uint64_t len, struct elf *ret, struct err *err)
{
	struct elf elf = { .p = p, .len = len };
	unsigned int type, machine, version, min_phdr;

	if (len < EHDR32_SIZE)
		return err_set(err, -ENOEXEC, "ELF header cut off: the file has %llu bytes",
			       (unsigned long long)len);
	if (p[EI_CLASS] != CLASS_32 && p[EI_CLASS] != CLASS_64)
		return err_set(err, -ENOEXEC, "ELF class %u is neither 32-bit nor 64-bit",
			       p[EI_CLASS]);
	if (p[EI_DATA] != DATA_LSB)
		return err_set(err, -ENOEXEC, "ELF file is not little-endian");
	elf.is_64 = p[EI_CLASS] == CLASS_64;
	if (elf.is_64 && len < EHDR64_SIZE)
		return err_set(err, -ENOEXEC, "ELF header cut off: the file has %llu bytes",
			       (unsigned long long)len);

	type = get_le16(p + 16);
	machine = get_le16(p + 18);
	version = get_le32(p + 20);
	if (machine != EM_386 && machine != EM_X86_64)
		return err_set(err, -ENOEXEC, "ELF file is for machine %u, not for x86", machine);
	if (version != 1)
		return err_set(err, -ENOEXEC, "ELF version %u is unknown", version);
	if (type != ET_EXEC && type != ET_DYN)
		return err_set(err, -ENOEXEC, "ELF type %u is not an executable", type);

	if (elf.is_64) {
		elf.entry = get_le64(p + 24);
		elf.phoff = get_le64(p + 32);
		elf.phentsize = get_le16(p + 54);
		elf.phnum = get_le16(p + 56);
		min_phdr = PHDR64_SIZE;
	} else {
		elf.entry = get_le32(p + 24);
		elf.phoff = get_le32(p + 28);
		elf.phentsize = get_le16(p + 42);
		elf.phnum = get_le16(p + 44);
		min_phdr = PHDR32_SIZE;
	}
	if (!elf.phnum)
		return err_set(err, -ENOEXEC, "ELF file has no program headers");
	if (elf.phnum > MAX_PHNUM)
		return err_set(err, -ENOEXEC,
			       "ELF file has %u program headers; at most %d make sense", elf.phnum,
			       MAX_PHNUM);
	if (elf.phentsize < min_phdr)
		return err_set(err, -ENOEXEC, "ELF program headers have %u bytes instead of %u",
			       elf.phentsize, min_phdr);
	if (!range_ok(elf.phoff, (uint64_t)elf.phnum * elf.phentsize, len))
		return err_set(err, -ENOEXEC,
			       "ELF program headers at 0x%llx lie past the end of the file",
			       (unsigned long long)elf.phoff);
	*ret = elf;
	return 0;
}

int elf_phdr_at(const struct elf *elf, unsigned int i, struct elf_phdr *ret, struct err *err)
{
	const uint8_t *p = elf->p + elf->phoff + (uint64_t)i * elf->phentsize;
	struct elf_phdr h;

	if (elf->is_64)
		h = (struct elf_phdr){
			.type = get_le32(p),
			.offset = get_le64(p + 8),
			.vaddr = get_le64(p + 16),
			.paddr = get_le64(p + 24),
			.filesz = get_le64(p + 32),
			.memsz = get_le64(p + 40),
			.align = get_le64(p + 48),
		};
	else
		h = (struct elf_phdr){
			.type = get_le32(p),
			.offset = get_le32(p + 4),
			.vaddr = get_le32(p + 8),
			.paddr = get_le32(p + 12),
			.filesz = get_le32(p + 16),
			.memsz = get_le32(p + 20),
			.align = get_le32(p + 28),
		};
	if ((h.type == ELF_PT_LOAD || h.type == ELF_PT_NOTE) &&
	    !range_ok(h.offset, h.filesz, elf->len))
		return err_set(
			err, -ENOEXEC,
			"ELF segment %u: 0x%llx bytes at 0x%llx lie past the end of the file (0x%llx); is it cut off?",
			i, (unsigned long long)h.filesz, (unsigned long long)h.offset,
			(unsigned long long)elf->len);
	*ret = h;
	return 0;
}

int elf_plan_segments(const struct elf *elf, struct boot_plan *plan, const struct boot_input *in,
		      struct err *err)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < elf->phnum; i++) {
		struct elf_phdr h;
		struct boot_segment seg;
		char what[32];
		int r;

		r = elf_phdr_at(elf, i, &h, err);
		if (r < 0)
			return r;
		if (h.type != ELF_PT_LOAD)
			continue;
		snprintf(what, sizeof(what), "ELF segment %u", i);
		if (h.filesz > h.memsz)
			return err_set(err, -ENOEXEC, "%s is larger in the file than in memory",
				       what);
		seg = (struct boot_segment){ .gpa = h.paddr,
					     .data = elf->p + h.offset,
					     .file_len = h.filesz,
					     .mem_len = h.memsz };
		r = plan_add(plan, in, &seg, what, err);
		if (r < 0)
			return r;
		nr++;
	}
	if (!nr)
		return err_set(err, -ENOEXEC, "ELF file has nothing to load");
	return 0;
}

/* One note segment: records of namesz, descsz, type, name, desc; the last two padded to 4 bytes. */
static int find_note(const uint8_t *p, uint64_t len, const char *name, uint32_t type,
		     const uint8_t **ret_desc, uint32_t *ret_len)
{
	uint64_t off = 0, name_len = strlen(name) + 1;

	while (range_ok(off, 12, len)) {
		uint64_t namesz = get_le32(p + off), descsz = get_le32(p + off + 4);
		uint64_t name_off = off + 12, desc_off = name_off + align_up(namesz, 4);

		if (!range_ok(name_off, namesz, len) || !range_ok(desc_off, descsz, len))
			return -ENOEXEC;
		if (get_le32(p + off + 8) == type && namesz == name_len &&
		    !memcmp(p + name_off, name, name_len)) {
			*ret_desc = p + desc_off;
			*ret_len = (uint32_t)descsz;
			return 1;
		}
		off = desc_off + align_up(descsz, 4);
	}
	return 0;
}

int elf_note(const struct elf *elf, const char *name, uint32_t type, const uint8_t **ret_desc,
	     uint32_t *ret_len, struct err *err)
{
	for (unsigned int i = 0; i < elf->phnum; i++) {
		struct elf_phdr h;
		int r;

		r = elf_phdr_at(elf, i, &h, err);
		if (r < 0)
			return r;
		if (h.type != ELF_PT_NOTE)
			continue;
		r = find_note(elf->p + h.offset, h.filesz, name, type, ret_desc, ret_len);
		if (r < 0)
			return err_set(err, r, "ELF segment %u: a note reaches past its segment",
				       i);
		if (r)
			return r;
	}
	return 0;
}
