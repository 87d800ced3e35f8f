/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page walks over hostile tables: the input is the paging registers, then the memory that holds the tables.
 * Whatever they say, a walk ends, answers within the guest's physical addresses, and what it allows
 * "without another walk" is what another walk allows.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/mmu.h"

enum { RAM_SIZE = 16 * 4096, HEAD = 24, NR_WALKS = 8, PHYS_BITS = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct cpu *cpu;
static struct cpu_group group;
static struct physmem mem;
static uint8_t *ram;

static void setup(void)
{
	ram = aligned_alloc(4096, RAM_SIZE);
	cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);
	memset(cpu, 0, sizeof(*cpu));
	cpu->grp = &group;
	group.mem = &mem;
	group.cpuid.phys_bits = PHYS_BITS;
	mem.nr = 1;
	mem.region[0] = (struct physmem_region){ .size = RAM_SIZE,
						 .hva = ram,
						 .page_flags = calloc(RAM_SIZE / 4096, 1) };
}

static void walk(uint64_t lin, enum mmu_access access, enum mmu_priv priv)
{
	struct mmu_page page, again;

	if (!cpu->long_mode)
		lin = (uint32_t)lin;
	else if (!mmu_is_canonical(cpu, lin))
		return;
	if (mmu_walk(cpu, lin, access, priv, &page) < 0) {
		assert(!(page.error & ~0x3fu));
		return;
	}
	assert(page.gpa >> PHYS_BITS == 0);
	assert(access == MMU_READ ? page.r : access == MMU_WRITE ? page.w : page.x);
	assert(mmu_probe(cpu, lin, &again) == 0);
	/* Accessed bits that the walk set may lie in the tables themselves and change the mapping. */
	if (again.gpa != page.gpa)
		return;
	for (unsigned int a = 0; a < 3; a++)
		if (a == MMU_READ ? page.r : a == MMU_WRITE ? page.w : page.x)
			if (mmu_walk(cpu, lin, a, priv, &again) == 0)
				assert(again.gpa >> PHYS_BITS == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t byte;

	if (n < HEAD)
		return 0;
	if (!ram)
		setup();
	/* Each page gets the same bytes, so that every table has entries. */
	memset(ram, 0, RAM_SIZE);
	n = n - HEAD < 4096 ? n - HEAD : 4096;
	for (size_t off = 0; off < RAM_SIZE; off += 4096)
		memcpy(ram + off, data + HEAD, n);
	cpu->st.cr0 = CR0_PE | CR0_PG | (data[0] & 1 ? CR0_WP : 0);
	cpu->st.cr3 = get_le16(data + 2) & 0xf000;
	cpu->st.cr4 = get_le32(data + 4) &
		      (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PKE);
	cpu->st.efer = data[0] & 2 ? EFER_NXE : 0;
	cpu->st.pkru = get_le32(data + 8);
	cpu->long_mode = (data[0] & 4) && (cpu->st.cr4 & CR4_PAE);
	if (cpu->long_mode) {
		cpu->st.efer |= EFER_LME | EFER_LMA;
		cpu->st.cr4 |= data[0] & 8 ? CR4_LA57 : 0;
	} else if (cpu->st.cr4 & CR4_PAE) {
		if (mmu_pdptes_load(cpu, get_le32(data + 12), cpu->st.pdpte) < 0)
			return 0;
	}
	for (unsigned int k = 0; k < NR_WALKS; k++) {
		byte = data[16 + k];
		walk(get_le64(ram + k * 8) ^ (uint64_t)byte << 12, byte % 3, byte / 3 % 3);
	}
	return 0;
}
