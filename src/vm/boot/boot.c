/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which kernel is this, and how does its first instruction run?
 *
 * A plan is made from bytes alone and only then copied into the guest. So a truncated or hostile file is
 * refused before anything was written, the whole of the parsing can be fuzzed without a machine, and a
 * guest reset repeats the copy without the files having to be there any more. Real firmware was rejected
 * for this path: it would cost a second of interpreted 16-bit code before the kernel's first instruction.
 */
#include "vm/boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "vm/boot/boot_priv.h"

/* Compressed kernels are common enough to deserve their own answer. */
static const char *compressor_of(const uint8_t *p, uint64_t len)
{
	static const struct {
		uint8_t magic[4];
		unsigned int n;
		const char *tool;
	} tools[] = {
		{ { 0x1f, 0x8b }, 2, "gunzip" },
		{ { 0xfd, '7', 'z', 'X' }, 4, "unxz" },
		{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, "unzstd" },
		{ { 'B', 'Z', 'h' }, 3, "bunzip2" },
		{ { 0x04, 0x22, 0x4d, 0x18 }, 4, "unlz4" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (len >= tools[i].n && !memcmp(p, tools[i].magic, tools[i].n))
			return tools[i].tool;
	return NULL;
}

static int refuse_unknown(const struct boot_input *in, struct err *err)
{
	const char *tool = compressor_of(in->kernel, in->kernel_len);
	char hex[3 * 8 + 1] = "";

	if (tool)
		return err_set(err, -ENOEXEC,
			       "the file is compressed; give a bzImage, or unpack it first (%s)",
			       tool);
	if (!in->kernel_len)
		return err_set(err, -ENOEXEC, "the file is empty");
	for (unsigned int i = 0; i < 8 && i < in->kernel_len; i++)
		snprintf(hex + 3 * i, 4, " %02x", in->kernel[i]);
	return err_set(err, -ENOEXEC,
		       "neither bzImage nor ELF nor multiboot; the first bytes are%s", hex);
}

int boot_plan_make(const struct boot_input *in, struct boot_plan *ret, struct err *err)
{
	struct boot_plan plan = { 0 };
	int r;

	/* The order matters: a multiboot image may be ELF, and an EFI-stub bzImage starts as "MZ". */
	if (multiboot_is(in->kernel, in->kernel_len))
		r = multiboot_plan(in, &plan, err);
	else if (elf_is(in->kernel, in->kernel_len))
		r = pvh_plan(in, &plan, err);
	else if (bzimage_is(in->kernel, in->kernel_len))
		r = bzimage_plan(in, &plan, err);
	else
		r = refuse_unknown(in, err);
	if (r < 0) {
		boot_plan_done(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}

void boot_plan_done(struct boot_plan *plan)
{
	for (unsigned int i = 0; i < plan->nr_blocks; i++)
		free(plan->blocks[i]);
	plan->nr_blocks = 0;
	plan->nr_segments = 0;
}

int boot_plan_place(const struct boot_plan *plan, const struct physmem *mem, struct err *err)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct boot_segment *s = &plan->segment[i];

		if (s->file_len && physmem_write(mem, s->gpa, s->data, s->file_len) < 0)
			return err_set(err, -EFAULT,
				       "no RAM at 0x%llx for %llu bytes of the kernel",
				       (unsigned long long)s->gpa, (unsigned long long)s->file_len);
	}
	return 0;
}

static struct cpu_seg flat_segment(uint16_t sel, uint16_t attr)
{
	return (struct cpu_seg){ .sel = sel, .limit = UINT32_MAX, .attr = attr };
}

void boot_plan_cpu(const struct boot_plan *plan, struct cpu_state *s)
{
	const struct boot_entry *e = &plan->entry;
	const uint16_t data = SEG_TYPE_WR | SEG_TYPE_ACCESSED | SEG_S | SEG_P | SEG_DB | SEG_G;
	const uint16_t code = SEG_TYPE_CODE | SEG_TYPE_WR | SEG_TYPE_ACCESSED | SEG_S | SEG_P |
			      SEG_G;

	memset(s->gpr, 0, sizeof(s->gpr));
	s->rip = e->rip;
	s->gpr[CPU_RAX] = e->rax;
	s->gpr[CPU_RBX] = e->rbx;
	s->gpr[CPU_RSI] = e->rsi;
	s->rflags = RFLAGS_FIXED1;

	for (unsigned int i = 0; i < CPU_NR_SEGS; i++)
		s->seg[i] = flat_segment(BOOT_DS, data);
	s->seg[CPU_CS] = flat_segment(BOOT_CS, code | (e->is_long ? SEG_L : SEG_DB));
	s->ldtr = (struct cpu_seg){ 0 };
	/* A busy 32-bit (in long mode: 64-bit) TSS, as the PVH ABI demands. */
	s->tr = (struct cpu_seg){ .sel = BOOT_TSS, .limit = 0x67, .attr = 0xb | SEG_P };
	s->gdtr = (struct cpu_dtable){ .base = e->gdt_gpa, .limit = BOOT_GDT_SIZE - 1 };
	s->idtr = (struct cpu_dtable){ 0 };

	s->cr0 = CR0_PE | CR0_ET;
	s->cr2 = 0;
	s->cr3 = 0;
	s->cr4 = 0;
	s->efer = 0;
	if (e->is_long) {
		s->cr0 |= CR0_PG;
		s->cr3 = e->pgd_gpa;
		s->cr4 = CR4_PAE;
		s->efer = EFER_LME | EFER_LMA;
	}
}
