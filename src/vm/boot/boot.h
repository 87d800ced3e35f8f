/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_BOOT_BOOT_H
#define VM_BOOT_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "cpu/physmem.h"
#include "cpu/state.h"

/*
 * Starting a kernel without firmware. Two steps, so that everything that reads a hostile file is a pure
 * function of bytes: boot_plan_make() decides what goes where and with which registers the CPU starts;
 * boot_plan_place() copies it into guest RAM. The same plan serves again after every guest reset.
 */
enum boot_kind {
	BOOT_BZIMAGE,	/* Linux x86 boot protocol, 32-bit or 64-bit entry */
	BOOT_PVH,	/* ELF with a PVH note: x86/HVM direct boot ABI */
	BOOT_MULTIBOOT, /* multiboot 1 header, ELF32 or raw image */
};

/* Types of the E820 memory map, which all three protocols share. */
enum boot_mem_type {
	BOOT_MEM_RAM = 1,
	BOOT_MEM_RESERVED = 2,
	BOOT_MEM_ACPI = 3,
	BOOT_MEM_NVS = 4,
};

struct boot_mem {
	uint64_t gpa, size; /* bytes; gpa + size does not wrap */
	enum boot_mem_type type;
};

enum { BOOT_MAX_MEM = 16, BOOT_MAX_SEGMENTS = 48 };

/* Everything the plan depends on. All of it stays the caller's; the plan points into kernel and initrd. */
struct boot_input {
	const char *kernel_name; /* as given by the user: multiboot's first word, messages */
	const uint8_t *kernel;
	uint64_t kernel_len;
	const uint8_t *initrd; /* NULL: none */
	uint64_t initrd_len;
	const char *cmdline; /* not NULL */
	const struct boot_mem
		*mem;	     /* sorted, not overlapping; the RAM the guest may use, and the rest */
	unsigned int nr_mem; /* at most BOOT_MAX_MEM */
	uint64_t rsdp_gpa;   /* 0: no ACPI */
};

/* A piece of guest RAM. Bytes between file_len and mem_len are left as they are: RAM starts as zeros. */
struct boot_segment {
	uint64_t gpa;
	const uint8_t *data;
	uint64_t file_len, mem_len; /* file_len <= mem_len */
};

/* How the first CPU starts. */
struct boot_entry {
	uint64_t rip;
	bool is_long; /* long mode with identity paging; else 32-bit protected mode, paging off */
	uint64_t gdt_gpa; /* BOOT_GDT_SIZE bytes */
	uint64_t pgd_gpa; /* page tables when is_long */
	uint64_t rax, rbx, rsi;
};

struct boot_plan {
	enum boot_kind kind;
	unsigned int nr_segments;
	struct boot_segment segment[BOOT_MAX_SEGMENTS];
	struct boot_entry entry;
	uint8_t *blocks[8]; /* what we made ourselves; segments point into them */
	unsigned int nr_blocks;
};

/*
 * boot_plan_make - decide how a kernel starts.
 *
 * Looks only at the bytes of @in; every number of the file is checked.
 *
 * @ret: boot_plan_done(); written only on success; valid as long as kernel and initrd of @in are
 * Returns 0; -ENOEXEC (not a kernel we know, or a broken one), -E2BIG (command line too long), -ENOMEM
 * (guest RAM is too small; the story says how much would do), -EOPNOTSUPP (asks for what is not offered).
 * Thread: any.
 */
_nodiscard_ int boot_plan_make(const struct boot_input *in, struct boot_plan *ret, struct err *err);

/* boot_plan_done - free what the plan owns. A zeroed plan and a second call are fine. Thread: owner. */
void boot_plan_done(struct boot_plan *plan);

/*
 * boot_plan_place - copy a plan into guest RAM.
 *
 * @mem: RAM as described by boot_input.mem, zeroed
 * Returns 0, or -EFAULT where a segment is outside of RAM (the caller's map was wrong). Thread: any, no
 * vCPU running.
 */
_nodiscard_ int boot_plan_place(const struct boot_plan *plan, const struct physmem *mem,
				struct err *err);

/*
 * boot_plan_cpu - turn the reset state of the first CPU into the one the kernel starts with.
 *
 * Sources: Linux Documentation/x86/boot.rst (32-bit and 64-bit boot protocol); Xen docs/misc/pvh;
 * Multiboot Specification 0.6.96, 3.2. Thread: any.
 */
void boot_plan_cpu(const struct boot_plan *plan, struct cpu_state *state);

#endif
