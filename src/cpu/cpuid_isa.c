// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which CPUID feature an instruction belongs to, by Zydis' ISA sets. A set that is not named here is one
 * that no engine offers. The table is the reason why an instruction that the host has, but the guest was
 * not told of, is #UD in the guest.
 */
#include <Zydis/Zydis.h>

#include "cpu/cpuid.h"

enum { ALWAYS = 0xff, NEVER = 0 }; /* else a feature number plus 1 */

#define ISA(set, feature) [ZYDIS_ISA_SET_##set] = (uint8_t)(CPUID_##feature + 1)
#define ISA_ALWAYS(set)	  [ZYDIS_ISA_SET_##set] = ALWAYS

static const uint8_t needs[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
	ISA_ALWAYS(I86),
	ISA_ALWAYS(I186),
	ISA_ALWAYS(I286REAL),
	ISA_ALWAYS(I286PROTECTED),
	ISA_ALWAYS(I386),
	ISA_ALWAYS(I486),
	ISA_ALWAYS(I486REAL),
	ISA_ALWAYS(PENTIUMREAL),
	ISA_ALWAYS(PPRO),
	ISA_ALWAYS(FAT_NOP),
	ISA_ALWAYS(PREFETCH_NOP),
	ISA_ALWAYS(PAUSE),
	ISA_ALWAYS(X87),
	ISA_ALWAYS(RDPMC), /* exists everywhere; raises #GP for every counter we do not have */
	/* Hints that older processors execute as no-operations. */
	ISA_ALWAYS(CET),
	ISA_ALWAYS(CLDEMOTE),
	ISA_ALWAYS(MPX),
	/* VMMCALL and VMCALL; the rest of these sets is refused where it is bound. */
	ISA_ALWAYS(VTX),
	ISA_ALWAYS(SVM),
	ISA(AMD, SYSCALL),
	ISA(LONGMODE, LM),
	ISA(CMOV, CMOV),
	ISA(FCMOV, CMOV),
	ISA(CLFSH, CLFLUSH),
	ISA(CLFLUSHOPT, CLFLUSHOPT),
	ISA(CLWB, CLWB),
	ISA(CMPXCHG16B, CX16),
	ISA(FXSAVE, FXSR),
	ISA(FXSAVE64, FXSR),
	ISA(INVPCID, INVPCID),
	ISA(LAHF, LAHF_LM),
	ISA(MOVBE, MOVBE),
	ISA(POPCNT, POPCNT),
	ISA(LZCNT, LZCNT),
	ISA(BMI1, BMI1),
	ISA(BMI2, BMI2),
	ISA(ADOX_ADCX, ADX),
	ISA(RDRAND, RDRAND),
	ISA(RDSEED, RDSEED),
	ISA(RDTSCP, RDTSCP),
	ISA(RDPID, RDPID),
	ISA(RDWRFSGS, FSGSBASE),
	ISA(SMAP, SMAP),
	ISA(PREFETCHWT1, PREFETCHW),
	ISA(PENTIUMMMX, MMX),
	ISA(SSE, SSE),
	ISA(SSEMXCSR, SSE),
	ISA(SSE_PREFETCH, SSE),
	ISA(SSE2, SSE2),
	ISA(SSE2MMX, SSE2),
	ISA(SSE3, SSE3),
	ISA(SSE3X87, SSE3),
	ISA(SSSE3, SSSE3),
	ISA(SSSE3MMX, SSSE3),
	ISA(SSE4, SSE41),
	ISA(SSE42, SSE42),
	ISA(AES, AES),
	ISA(PCLMULQDQ, PCLMULQDQ),
	ISA(SHA, SHA),
	ISA(XSAVE, XSAVE),
	ISA(XSAVEOPT, XSAVEOPT),
	ISA(XSAVEC, XSAVEC),
	ISA(AVX, AVX),
	ISA(AVX2, AVX2),
	ISA(AVX2GATHER, AVX2),
	ISA(FMA, FMA),
	ISA(F16C, F16C),
	ISA(PKU, PKU),
};

/* AVX forms of AES and PCLMULQDQ need both. */
static bool has_both(const struct cpu_cpuid *id, enum cpu_feature a, enum cpu_feature b)
{
	return cpuid_has(id, a) && cpuid_has(id, b);
}

bool cpuid_has_isa(const struct cpu_cpuid *id, unsigned int isa_set)
{
	if (isa_set > ZYDIS_ISA_SET_MAX_VALUE)
		return false;
	if (isa_set == ZYDIS_ISA_SET_AVXAES)
		return has_both(id, CPUID_AVX, CPUID_AES);
	if (needs[isa_set] == ALWAYS || needs[isa_set] == NEVER)
		return needs[isa_set] == ALWAYS;
	return cpuid_has(id, (enum cpu_feature)(needs[isa_set] - 1));
}
