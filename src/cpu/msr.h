/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_MSR_H
#define CPU_MSR_H

#include <stdint.h>

#include "base/attr.h"

/*
 * Model-specific registers, the same for every engine. Registers that the guest's CPU does not have
 * answer -EINVAL, which is #GP(0). Sources: AMD APM volume 2, appendix A; Intel SDM volume 4.
 */
struct cpu;

enum msr {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b,
	MSR_MICROCODE_WRITE = 0x79,
	MSR_MICROCODE_LEVEL = 0x8b,
	MSR_MTRR_CAP = 0xfe,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_LAST_BRANCH_FROM = 0x1db,
	MSR_LAST_EXC_TO = 0x1de,
	MSR_MTRR_VAR = 0x200,
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258,
	MSR_MTRR_FIX4K = 0x268,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_PKRS = 0x6e1,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x8ff,
};
#define MSR_EFER	   UINT32_C(0xc0000080)
#define MSR_STAR	   UINT32_C(0xc0000081)
#define MSR_LSTAR	   UINT32_C(0xc0000082)
#define MSR_CSTAR	   UINT32_C(0xc0000083)
#define MSR_SFMASK	   UINT32_C(0xc0000084)
#define MSR_FS_BASE	   UINT32_C(0xc0000100)
#define MSR_GS_BASE	   UINT32_C(0xc0000101)
#define MSR_KERNEL_GS_BASE UINT32_C(0xc0000102)
#define MSR_TSC_AUX	   UINT32_C(0xc0000103)
#define MSR_K7_EVNTSEL0	   UINT32_C(0xc0010000)
#define MSR_K7_PERFCTR3	   UINT32_C(0xc0010007)
#define MSR_SYSCFG	   UINT32_C(0xc0010010)
#define MSR_HWCR	   UINT32_C(0xc0010015)
#define MSR_TOP_MEM	   UINT32_C(0xc001001a)
#define MSR_TOP_MEM2	   UINT32_C(0xc001001d)
#define MSR_NB_CFG	   UINT32_C(0xc001001f)
#define MSR_PATCH_LOADER   UINT32_C(0xc0010020)
#define MSR_INT_PENDING	   UINT32_C(0xc0010055)
#define MSR_MMIO_CONF	   UINT32_C(0xc0010058)
#define MSR_VM_CR	   UINT32_C(0xc0010114)
#define MSR_LS_CFG	   UINT32_C(0xc0011020)
#define MSR_DE_CFG	   UINT32_C(0xc0011029)
#define MSR_BU_CFG2	   UINT32_C(0xc001102a)

/* What a successful write asks of the engine. */
enum { MSR_OK = 0, MSR_CHANGED_EFER = 1, MSR_CHANGED_SEG_BASE = 2, MSR_CHANGED_KEYS = 3 };

/*
 * msr_read - RDMSR.
 *
 * Returns 0, or -EINVAL (#GP). Thread: the vCPU's own.
 */
_nodiscard_ int msr_read(struct cpu *c, uint32_t index, uint64_t *ret);

/*
 * msr_write - WRMSR.
 *
 * Returns -EINVAL (#GP), or 0; MSR_CHANGED_EFER: modes or page rights may have changed, so the engine
 * derives its state anew and flushes; MSR_CHANGED_KEYS: page rights may have changed, so it flushes;
 * MSR_CHANGED_SEG_BASE: FS or GS base changed. Thread: the vCPU's own.
 */
_nodiscard_ int msr_write(struct cpu *c, uint32_t index, uint64_t value);

#endif
