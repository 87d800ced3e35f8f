// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which of the decoder's instruction sets a guest is offered. The sets are those by which the interpreter decides
 * #UD, so that both engines agree on what exists.
 */
#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cpu/dbt/decode_priv.h"

static const uint8_t isa_sets[DISA_NR] = {
	[DISA_BASE] = ZYDIS_ISA_SET_I86,
	[DISA_X87] = ZYDIS_ISA_SET_X87,
	[DISA_CMOV] = ZYDIS_ISA_SET_CMOV,
	[DISA_FCMOV] = ZYDIS_ISA_SET_FCMOV,
	[DISA_LONG] = ZYDIS_ISA_SET_LONGMODE,
	[DISA_LAHF] = ZYDIS_ISA_SET_LAHF,
	[DISA_CX16] = ZYDIS_ISA_SET_CMPXCHG16B,
	[DISA_MOVBE] = ZYDIS_ISA_SET_MOVBE,
	[DISA_POPCNT] = ZYDIS_ISA_SET_POPCNT,
	[DISA_LZCNT] = ZYDIS_ISA_SET_LZCNT,
	[DISA_BMI1] = ZYDIS_ISA_SET_BMI1,
	[DISA_BMI2] = ZYDIS_ISA_SET_BMI2,
	[DISA_ADX] = ZYDIS_ISA_SET_ADOX_ADCX,
	[DISA_PREFETCHW] = ZYDIS_ISA_SET_PREFETCHWT1,
	[DISA_MMX] = ZYDIS_ISA_SET_PENTIUMMMX,
	[DISA_SSE] = ZYDIS_ISA_SET_SSE,
	[DISA_SSE_PREFETCH] = ZYDIS_ISA_SET_SSE_PREFETCH,
	[DISA_SSE2] = ZYDIS_ISA_SET_SSE2,
	[DISA_SSE2MMX] = ZYDIS_ISA_SET_SSE2MMX,
	[DISA_SSE3] = ZYDIS_ISA_SET_SSE3,
	[DISA_SSE3X87] = ZYDIS_ISA_SET_SSE3X87,
	[DISA_SSSE3] = ZYDIS_ISA_SET_SSSE3,
	[DISA_SSSE3MMX] = ZYDIS_ISA_SET_SSSE3MMX,
	[DISA_SSE4] = ZYDIS_ISA_SET_SSE4,
	[DISA_SSE42] = ZYDIS_ISA_SET_SSE42,
	[DISA_AES] = ZYDIS_ISA_SET_AES,
	[DISA_PCLMUL] = ZYDIS_ISA_SET_PCLMULQDQ,
	[DISA_SHA] = ZYDIS_ISA_SET_SHA,
	[DISA_AVX] = ZYDIS_ISA_SET_AVX,
	[DISA_AVX2] = ZYDIS_ISA_SET_AVX2,
	[DISA_FMA] = ZYDIS_ISA_SET_FMA,
	[DISA_F16C] = ZYDIS_ISA_SET_F16C,
	[DISA_AVXAES] = ZYDIS_ISA_SET_AVXAES,
	[DISA_VAES] = ZYDIS_ISA_SET_VAES,
	[DISA_VPCLMUL] = ZYDIS_ISA_SET_VPCLMULQDQ,
};

struct dtable *dtable_new(const struct cpu_cpuid *cpuid)
{
	unsigned int a, b = 0, c = 0, d = 0;
	struct dtable *t = mem_new(sizeof(*t));

	for (unsigned int k = 0; k < DISA_NR; k++)
		if (cpuid_has_isa(cpuid, isa_sets[k]))
			t->isa |= UINT64_C(1) << k;
	/* "AuthenticAMD" and its offspring, as in the interpreter */
	__get_cpuid(0, &a, &b, &c, &d);
	t->sha_unaligned = c == 0x444d4163 || c == 0x656e6975;
	return t;
}

void dtable_free(struct dtable *t)
{
	free(t);
}
