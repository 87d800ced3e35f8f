/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room in guest RAM.
 *
 * The guest chooses some addresses (its segments), we choose the others (tables, command line, initrd).
 * Everything goes through one list of planned pieces, so that no two can overlap and no hostile header
 * can make us write over our own tables. With a few dozen pieces a quadratic search is the simplest thing
 * that is obviously right.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "vm/boot/boot_priv.h"

uint64_t plan_top_of_ram(const struct boot_input *in, uint64_t limit)
{
	uint64_t top = 0;

	for (unsigned int i = 0; i < in->nr_mem; i++) {
		const struct boot_mem *m = &in->mem[i];

		if (m->type == BOOT_MEM_RAM && m->gpa < limit)
			top = MAX(top, MIN(m->gpa + m->size, limit));
	}
	return top;
}

static bool is_ram(const struct boot_input *in, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < in->nr_mem; i++) {
		const struct boot_mem *m = &in->mem[i];

		if (m->type == BOOT_MEM_RAM && gpa >= m->gpa &&
		    range_ok(gpa - m->gpa, len, m->size))
			return true;
	}
	return false;
}

static const struct boot_segment *overlapping(const struct boot_plan *plan, uint64_t gpa,
					      uint64_t len)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct boot_segment *s = &plan->segment[i];

		if (range_overlap(gpa, len, s->gpa, s->mem_len))
			return s;
	}
	return NULL;
}

/* Memory sizes that people type: whole multiples of 64 MiB. */
static unsigned long long suggest_mib(uint64_t end)
{
	uint64_t step = 64 * BOOT_MIB;

	return align_up(MIN(end, UINT64_MAX / 2), step) / BOOT_MIB;
}

int plan_add(struct boot_plan *plan, const struct boot_input *in, const struct boot_segment *seg,
	     const char *what, struct err *err)
{
	const struct boot_segment *other;
	uint64_t end;

	if (seg->file_len > seg->mem_len || !add_ok(seg->gpa, seg->mem_len, &end))
		return err_set(err, -ENOEXEC, "%s has an impossible size", what);
	if (!seg->mem_len)
		return 0;
	if (plan->nr_segments == ARRAY_SIZE(plan->segment))
		return err_set(err, -E2BIG, "more than %zu pieces to load",
			       ARRAY_SIZE(plan->segment));
	if (!is_ram(in, seg->gpa, seg->mem_len)) {
		uint64_t top = plan_top_of_ram(in, UINT64_MAX);

		if (end > top && end <= (UINT64_C(0xb0000000)))
			return err_set(
				err, -ENOMEM,
				"%s needs RAM up to %llu MiB, and the guest has %llu MiB; give at least --memory %lluM",
				what, (unsigned long long)(align_up(end, BOOT_MIB) / BOOT_MIB),
				(unsigned long long)(top / BOOT_MIB), suggest_mib(end));
		return err_set(err, -ENOEXEC, "%s wants 0x%llx to 0x%llx, which is not RAM", what,
			       (unsigned long long)seg->gpa, (unsigned long long)end);
	}
	other = overlapping(plan, seg->gpa, seg->mem_len);
	if (other)
		return err_set(err, -ENOEXEC, "%s at 0x%llx overlaps what is loaded at 0x%llx",
			       what, (unsigned long long)seg->gpa, (unsigned long long)other->gpa);
	plan->segment[plan->nr_segments++] = *seg;
	return 0;
}

/* The next place to try below or above a piece that is in the way; false when there is none. */
static bool step_past(const struct boot_segment *s, uint64_t len, uint64_t align, bool from_top,
		      uint64_t *gpa)
{
	if (from_top) {
		if (s->gpa < len)
			return false;
		*gpa = align_down(s->gpa - len, align);
		return true;
	}
	return align_up_ok(s->gpa + s->mem_len, align, gpa);
}

bool plan_find(const struct boot_plan *plan, const struct boot_input *in, uint64_t len,
	       uint64_t align, uint64_t min, uint64_t max, bool from_top, uint64_t *ret_gpa)
{
	for (unsigned int k = 0; k < in->nr_mem; k++) {
		const struct boot_mem *m = &in->mem[from_top ? in->nr_mem - 1 - k : k];
		const struct boot_segment *s;
		uint64_t lo = MAX(m->gpa, min), hi = MIN(m->gpa + m->size, max), gpa;

		if (m->type != BOOT_MEM_RAM || hi <= lo || hi - lo < len)
			continue;
		if (from_top)
			gpa = align_down(hi - len, align);
		else if (!align_up_ok(lo, align, &gpa))
			continue;
		while (gpa >= lo && range_ok(gpa, len, hi)) {
			s = overlapping(plan, gpa, len);
			if (!s) {
				*ret_gpa = gpa;
				return true;
			}
			if (!step_past(s, len, align, from_top, &gpa))
				break;
		}
	}
	return false;
}

int plan_block(struct boot_plan *plan, const struct boot_input *in, uint64_t len, const char *what,
	       uint8_t **ret, uint64_t *ret_gpa, struct err *err)
{
	struct boot_segment seg = { .file_len = len, .mem_len = len };
	uint8_t *p;
	int r;

	assert(plan->nr_blocks < ARRAY_SIZE(plan->blocks)); /* a loader makes a handful */
	if (!plan_find(plan, in, len, GUEST_PAGE_SIZE, BOOT_LOW_MIN, BOOT_LOW_MAX, false,
		       &seg.gpa) &&
	    !plan_find(plan, in, len, GUEST_PAGE_SIZE, BOOT_MIB, BOOT_4GIB, true, &seg.gpa))
		return err_set(err, -ENOMEM,
			       "no room in guest RAM for %s (%llu KiB); give more --memory", what,
			       (unsigned long long)(len / 1024));
	r = mem_try(&p, len, BOOT_MIB);
	if (r < 0)
		return err_set(err, r, "%s", what);
	plan->blocks[plan->nr_blocks++] = p;
	seg.data = p;
	r = plan_add(plan, in, &seg, what, err);
	if (r < 0)
		return r;
	*ret = p;
	*ret_gpa = seg.gpa;
	return 0;
}

int plan_gdt(struct boot_plan *plan, const struct boot_input *in, struct err *err)
{
	uint8_t *gdt;
	int r = plan_block(plan, in, BOOT_GDT_SIZE, "the descriptor table", &gdt,
			   &plan->entry.gdt_gpa, err);

	if (r < 0)
		return r;
	put_le64(gdt + BOOT_CS,
		 plan->entry.is_long ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff));
	put_le64(gdt + BOOT_DS, UINT64_C(0x00cf93000000ffff));
	put_le64(gdt + BOOT_TSS, UINT64_C(0x00008b0000000067));
	return 0;
}

int plan_initrd(struct boot_plan *plan, const struct boot_input *in, uint64_t max,
		uint64_t *ret_gpa, struct err *err)
{
	struct boot_segment seg = { .data = in->initrd,
				    .file_len = in->initrd_len,
				    .mem_len = in->initrd_len };
	uint64_t kernel_end = BOOT_MIB, need;

	if (plan_find(plan, in, in->initrd_len, GUEST_PAGE_SIZE, BOOT_MIB, max, true, &seg.gpa)) {
		*ret_gpa = seg.gpa;
		return plan_add(plan, in, &seg, "the initrd", err);
	}
	for (unsigned int i = 0; i < plan->nr_segments; i++)
		kernel_end = MAX(kernel_end, plan->segment[i].gpa + plan->segment[i].mem_len);
	/* Unpacked it needs its own size again at the least. */
	if (!mul_ok(in->initrd_len, (uint64_t)2, &need) || !add_ok(need, kernel_end, &need) ||
	    kernel_end + in->initrd_len > max)
		return err_set(err, -E2BIG,
			       "the initrd has %llu MiB, and this kernel takes at most %llu MiB",
			       (unsigned long long)(in->initrd_len / BOOT_MIB),
			       (unsigned long long)((max > kernel_end ? max - kernel_end : 0) /
						    BOOT_MIB));
	return err_set(
		err, -ENOMEM,
		"the initrd (%llu MiB) does not fit into %llu MiB of guest RAM beside the kernel; give at least --memory %lluM",
		(unsigned long long)(in->initrd_len / BOOT_MIB),
		(unsigned long long)(plan_top_of_ram(in, UINT64_MAX) / BOOT_MIB),
		suggest_mib(need + 32 * BOOT_MIB));
}
