/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_BOOT_H
#define FUZZ_BOOT_H

/*
 * What the fuzz targets of the kernel loaders share: the first bytes of an input choose the machine around
 * the kernel; a plan, if there is one, must be sound.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vm/boot/boot.h"

enum { FUZZ_BOOT_HEAD = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void fuzz_boot_check(const struct boot_input *in, const struct boot_plan *plan)
{
	struct cpu_state *st = calloc(1, sizeof(*st) + 64);

	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct boot_segment *s = &plan->segment[i];
		bool is_ram = false;

		assert(s->file_len <= s->mem_len && s->mem_len > 0);
		for (unsigned int k = 0; k < in->nr_mem; k++)
			is_ram |= in->mem[k].type == BOOT_MEM_RAM && s->gpa >= in->mem[k].gpa &&
				  s->gpa - in->mem[k].gpa <= in->mem[k].size &&
				  s->mem_len <= in->mem[k].size - (s->gpa - in->mem[k].gpa);
		assert(is_ram);
		for (unsigned int k = 0; k < i; k++)
			assert(s->gpa >= plan->segment[k].gpa + plan->segment[k].mem_len ||
			       plan->segment[k].gpa >= s->gpa + s->mem_len);
		/* Every byte can be read; the initrd is only a length here. */
		if (s->data != in->initrd)
			for (uint64_t b = 0; b < s->file_len; b++)
				*(volatile const uint8_t *)(s->data + b);
	}
	boot_plan_cpu(plan, (struct cpu_state *)(((uintptr_t)st + 63) & ~(uintptr_t)63));
	free(st);
}

/* @fix: change the kernel's bytes so that the right loader gets them. */
static inline void fuzz_boot(const uint8_t *data, size_t n, void (*fix)(uint8_t *p, size_t n))
{
	static const uint8_t initrd[1];
	static char cmdline[4096];
	struct boot_mem mem[] = {
		{ 0, 0x9fc00, BOOT_MEM_RAM },
		{ 0x9fc00, 0x400, BOOT_MEM_RESERVED },
		{ 0xe0000, 0x20000, BOOT_MEM_RESERVED },
		{ 0x100000, 0, BOOT_MEM_RAM },
		{ UINT64_C(1) << 32, UINT64_C(1) << 30, BOOT_MEM_RAM },
	};
	struct boot_plan plan = { 0 };
	struct err err = ERR_INIT;
	struct boot_input in;
	uint8_t *kernel;

	if (n < FUZZ_BOOT_HEAD)
		return;
	mem[3].size = (uint64_t)(1 + data[0]) << 20;
	memset(cmdline, 'c', sizeof(cmdline));
	cmdline[data[1] * 16] = 0;
	/* A copy of exactly its size: reading past the end is seen. */
	kernel = malloc(n - FUZZ_BOOT_HEAD + 1);
	memcpy(kernel, data + FUZZ_BOOT_HEAD, n - FUZZ_BOOT_HEAD);
	kernel = realloc(kernel, n - FUZZ_BOOT_HEAD ? n - FUZZ_BOOT_HEAD : 1);
	if (!(data[3] & 1))
		fix(kernel, n - FUZZ_BOOT_HEAD);
	in = (struct boot_input){
		.kernel_name = "k",
		.kernel = kernel,
		.kernel_len = n - FUZZ_BOOT_HEAD,
		.initrd = data[2] ? initrd : NULL,
		.initrd_len = (uint64_t)data[2] << (data[3] >> 3),
		.cmdline = cmdline,
		.mem = mem,
		.nr_mem = data[3] & 2 ? 5 : 4,
		.rsdp_gpa = 0xe0000,
	};
	if (boot_plan_make(&in, &plan, &err) == 0) {
		fuzz_boot_check(&in, &plan);
		boot_plan_done(&plan);
	} else {
		assert(err.code < 0 && err.text[0]);
	}
	free(kernel);
}

#endif
