/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_BOOT_BOOT_PRIV_H
#define VM_BOOT_BOOT_PRIV_H

#include <stdbool.h>

#include "vm/boot/boot.h"

/*
 * What the loaders share: finding room in guest RAM beside what is planned already, and reading ELF.
 */

enum { BOOT_GDT_SIZE = 40, BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TSS = 0x20 };

#define BOOT_MIB  (UINT64_C(1) << 20)
#define BOOT_4GIB (UINT64_C(1) << 32)

/* Where loaders put their own small tables, in preference: low memory between the BIOS data area and the
 * EBDA, where kernels expect a boot loader's data. */
#define BOOT_LOW_MIN UINT64_C(0x1000)
#define BOOT_LOW_MAX UINT64_C(0x9f000)

/*
 * plan_add - plan a piece of RAM.
 *
 * @what: for the story
 * Returns 0; -ENOMEM (not RAM, the story says how much would do), -ENOEXEC (overlaps another piece),
 * -E2BIG (too many).
 */
_nodiscard_ int plan_add(struct boot_plan *plan, const struct boot_input *in,
			 const struct boot_segment *seg, const char *what, struct err *err);

/*
 * plan_find - room for @len bytes within [min, max), not touching what is planned.
 *
 * @align: power of two, at least 1
 * @from_top: highest place, else the lowest
 * Returns true and the place.
 */
bool plan_find(const struct boot_plan *plan, const struct boot_input *in, uint64_t len,
	       uint64_t align, uint64_t min, uint64_t max, bool from_top, uint64_t *ret_gpa);

/*
 * plan_block - a zeroed table of our own of @len bytes (page aligned in the guest), placed in low memory
 * or, when a kernel lies there, anywhere below 4 GiB.
 *
 * @ret: its bytes, owned by the plan
 */
_nodiscard_ int plan_block(struct boot_plan *plan, const struct boot_input *in, uint64_t len,
			   const char *what, uint8_t **ret, uint64_t *ret_gpa, struct err *err);

/* plan_gdt - plan the descriptor table that boot_plan_cpu() loads. */
_nodiscard_ int plan_gdt(struct boot_plan *plan, const struct boot_input *in, struct err *err);

/*
 * plan_initrd - place the initrd as high as possible below @max.
 *
 * Returns 0 and the place; -ENOMEM with how much memory would do.
 */
_nodiscard_ int plan_initrd(struct boot_plan *plan, const struct boot_input *in, uint64_t max,
			    uint64_t *ret_gpa, struct err *err);

/* plan_top_of_ram - end of the highest RAM below @limit; 0 when there is none. */
uint64_t plan_top_of_ram(const struct boot_input *in, uint64_t limit);

/* An ELF executable for x86, either class. */
struct elf {
	const uint8_t *p;
	uint64_t len;
	bool is_64;
	uint64_t entry, phoff;
	unsigned int phentsize, phnum;
};

struct elf_phdr {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

enum { ELF_PT_LOAD = 1, ELF_PT_NOTE = 4 };

/* elf_is - whether the file says that it is ELF. */
bool elf_is(const uint8_t *p, uint64_t len);

/*
 * elf_open - check the header. Source: System V ABI, chapter 4.
 * Returns 0; -ENOEXEC with what is wrong.
 */
_nodiscard_ int elf_open(const uint8_t *p, uint64_t len, struct elf *ret, struct err *err);

/* elf_phdr_at - program header @i (below phnum); its file range is checked. Returns 0 or -ENOEXEC. */
_nodiscard_ int elf_phdr_at(const struct elf *elf, unsigned int i, struct elf_phdr *ret,
			    struct err *err);

/* elf_plan_segments - plan every PT_LOAD at its physical address. */
_nodiscard_ int elf_plan_segments(const struct elf *elf, struct boot_plan *plan,
				  const struct boot_input *in, struct err *err);

/*
 * elf_note - the descriptor of a note in a PT_NOTE segment.
 *
 * Returns 1 and the bytes; 0 when there is no such note; -ENOEXEC for a broken note segment.
 */
_nodiscard_ int elf_note(const struct elf *elf, const char *name, uint32_t type,
			 const uint8_t **ret_desc, uint32_t *ret_len, struct err *err);

/* The loaders. Each is called when its *_is() said yes, with a zeroed plan. */
bool bzimage_is(const uint8_t *p, uint64_t len);
_nodiscard_ int bzimage_plan(const struct boot_input *in, struct boot_plan *plan, struct err *err);
_nodiscard_ int pvh_plan(const struct boot_input *in, struct boot_plan *plan, struct err *err);
bool multiboot_is(const uint8_t *p, uint64_t len);
_nodiscard_ int multiboot_plan(const struct boot_input *in, struct boot_plan *plan,
			       struct err *err);

#endif
