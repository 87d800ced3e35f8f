/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * What the guest's CPUID says: a table built once from a named model and feature changes, cut down to
 * what the engines emulate and the host can do. Engines raise #UD for instructions outside of it.
 */
struct cpu;

enum cpu_feature {
#define CPUID_FEATURE(symbol, name, leaf, subleaf, reg, bit, model, source) CPUID_##symbol,
#include "cpu/cpuid_features.def"
#undef CPUID_FEATURE
	CPUID_NR_FEATURES,
};

enum { CPUID_MAX_LEAVES = 64 };

/* The standard XSAVE area as CPUID describes it, in bytes: the header, the upper halves of ymm0-ymm15, PKRU where AMD's
 * processors have it, its end. */
enum {
	XSAVE_HEADER = 512,
	XSAVE_YMM = 576,
	XSAVE_YMM_SIZE = 256,
	XSAVE_PKRU = XSAVE_YMM + XSAVE_YMM_SIZE,
	XSAVE_PKRU_SIZE = 8
};

struct cpuid_leaf {
	uint32_t leaf, subleaf;
	bool has_subleaf; /* answers only its subleaf; the other kind ignores ECX */
	uint32_t reg[4];  /* EAX, EBX, ECX, EDX */
};

struct cpu_cpuid {
	unsigned int nr;
	struct cpuid_leaf leaf[CPUID_MAX_LEAVES];
	uint64_t features[(CPUID_NR_FEATURES + 63) / 64];
	uint8_t phys_bits;
	/* Bits that a guest may set; others are #GP. */
	uint64_t cr4_allowed, efer_allowed, xcr0_allowed;
};

/* cpuid_has - does the guest see this feature? Thread: any. */
static inline bool cpuid_has(const struct cpu_cpuid *id, enum cpu_feature f)
{
	return id->features[f / 64] >> (f % 64) & 1;
}

/* Where a feature stands in CPUID; reg: 0 to 3 for EAX to EDX. */
struct cpuid_place {
	uint32_t leaf, subleaf;
	uint8_t reg, bit;
};

/* cpuid_place - where it is. Thread: any. */
struct cpuid_place cpuid_place(enum cpu_feature f);

/* What a guest's CPU may have at most. */
struct cpuid_limit {
	const char *who; /* sets it, for messages */
	uint64_t features[(CPUID_NR_FEATURES + 63) / 64];
	uint8_t phys_bits;
};

/* cpuid_fits - is the table within a limit? Returns 0; -EOPNOTSUPP: the story names what is too much. Thread: any. */
_nodiscard_ int cpuid_fits(const struct cpu_cpuid *id, const struct cpuid_limit *limit,
			   struct err *err);

/*
 * cpuid_build - make the table.
 *
 * @model:     "baseline", "v2", "v3" or "host" (v3 and what else this host can run)
 * @features:  "+name,-name,phys-bits=N" with names of cpuid_features.def, or NULL
 * @tsc_khz:   told in the timing leaves
 * @limit:     what goes beyond it is left out, or refused when it was asked for by name; NULL: none
 * Returns 0, or -EINVAL with what is unknown and what would be right; -EOPNOTSUPP when the host lacks
 * what the model needs. Thread: any.
 */
_nodiscard_ int cpuid_build(struct cpu_cpuid *ret, const char *model, const char *features,
			    unsigned int nr_cpus, uint64_t tsc_khz, const struct cpuid_limit *limit,
			    struct err *err);

/* cpuid_text - append what makes cpuid_build() build the same features again on any engine: "baseline,+name,-name,phys-bits=N".
 * Thread: any. */
void cpuid_text(const struct cpu_cpuid *id, struct strbuf *out);

/*
 * cpuid_get - answer CPUID from the table, without what depends on a vCPU's present state.
 *
 * @ret: EAX, EBX, ECX, EDX. A leaf above the highest is answered as the highest basic leaf's range is on
 * AMD processors: with zeros. Thread: any.
 */
void cpuid_get(const struct cpu_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t ret[4]);

/*
 * cpuid_exec - answer CPUID as an instruction of vCPU @c: with its APIC id, CR4.OSXSAVE, the size of the
 * enabled XSAVE area. Thread: the vCPU's own.
 */
void cpuid_exec(const struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t ret[4]);

/* cpuid_has_isa - may the guest execute instructions of this Zydis ISA set (ZydisISASet)? Thread: any. */
bool cpuid_has_isa(const struct cpu_cpuid *id, unsigned int isa_set);

#endif
