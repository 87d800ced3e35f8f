/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * What the guest's CPUID says: a table built once from a named model and feature changes, cut down to
 * what the engine and the host can do. Engines raise #UD for instructions outside of it.
 */
enum { CPUID_MAX_LEAVES = 96 };
struct cpuid_leaf {
	uint32_t leaf, subleaf;
	bool has_subleaf;
	uint32_t eax, ebx, ecx, edx;
};
struct cpu_cpuid {
	unsigned int nr;
	struct cpuid_leaf leaf[CPUID_MAX_LEAVES];
	uint32_t max_basic, max_hyper, max_extended;
	uint8_t phys_bits;
	/* Decoded once for hot checks. */
	uint64_t cr4_allowed, efer_allowed, xcr0_allowed;
	bool has_x2apic, has_tsc_deadline, has_pcid, has_xsave, has_1g_pages, has_nx, has_smap, has_rdtscp;
};

/*
 * cpuid_build - make the table.
 *
 * @model: "baseline", "v2", "v3" or "host"; @features: "+name,-name" or NULL.
 * @tsc_khz: told in the timing leaves.
 * Returns 0, or -EINVAL with what is unknown and what would be right.
 */
_nodiscard_ int cpuid_build(struct cpu_cpuid *ret, const char *model, const char *features,
			    unsigned int nr_cpus, uint64_t tsc_khz, struct err *err);

/* cpuid_get - answer CPUID(leaf, subleaf) from the table; APIC ids, OSXSAVE and the like are the caller's. */
void cpuid_get(const struct cpu_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t ret[4]);

/* cpuid_has_isa - may the guest execute instructions of this Zydis ISA set (ZydisISASet)? */
bool cpuid_has_isa(const struct cpu_cpuid *id, unsigned int isa_set);

#endif
