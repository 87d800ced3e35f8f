/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not compared, and why. Everything else that the CPU model offers must be.
 */
#include <stddef.h>

#include "diff.h"

static const struct {
	uint16_t mnemonic;
	const char *reason;
} table[] = {
#define SKIP(m, why)                                                                               \
	{                                                                                          \
		ZYDIS_MNEMONIC_##m, why                                                            \
	}
	SKIP(SYSCALL, "enters the host's kernel"),
	SKIP(SYSENTER, "enters the host's kernel"),
	SKIP(SYSRET, "privileged; differs in nothing but #GP"),
	SKIP(CPUID, "answers are the model's, not the host's"),
	SKIP(RDTSC, "time"),
	SKIP(RDTSCP, "time, and the host's number of the CPU"),
	SKIP(RDPID, "the host's number of the CPU"),
	SKIP(RDPRU, "time"),
	SKIP(RDPMC, "counts"),
	SKIP(RDRAND, "random"),
	SKIP(RDSEED, "random"),
	SKIP(XGETBV, "the host's XCR0"),
	SKIP(SGDT, "Linux answers it with constants (UMIP)"),
	SKIP(SIDT, "Linux answers it with constants (UMIP)"),
	SKIP(SLDT, "Linux answers it with constants (UMIP)"),
	SKIP(STR, "Linux answers it with constants (UMIP)"),
	SKIP(SMSW, "Linux answers it with constants (UMIP)"),
	SKIP(LAR, "reads the host's descriptor tables"),
	SKIP(LSL, "reads the host's descriptor tables"),
	SKIP(VERR, "reads the host's descriptor tables"),
	SKIP(VERW, "reads the host's descriptor tables"),
	SKIP(LDS, "loads from the host's descriptor tables"),
	SKIP(LES, "loads from the host's descriptor tables"),
	SKIP(LFS, "loads from the host's descriptor tables"),
	SKIP(LGS, "loads from the host's descriptor tables"),
	SKIP(LSS, "loads from the host's descriptor tables"),
	SKIP(IRET, "loads from the host's descriptor tables"),
	SKIP(IRETD, "loads from the host's descriptor tables"),
	SKIP(IRETQ, "loads from the host's descriptor tables"),
	SKIP(VMCALL, "calls the host's hypervisor"),
	SKIP(VMMCALL, "calls the host's hypervisor"),
	SKIP(VMRUN, "whether the host's kernel has enabled SVM"),
	SKIP(VMLOAD, "whether the host's kernel has enabled SVM"),
	SKIP(VMSAVE, "whether the host's kernel has enabled SVM"),
	SKIP(STGI, "whether the host's kernel has enabled SVM"),
	SKIP(CLGI, "whether the host's kernel has enabled SVM"),
	SKIP(SKINIT, "whether the host's kernel has enabled SVM"),
	SKIP(INVLPGA, "whether the host's kernel has enabled SVM"),
	SKIP(INT1, "the host's hypervisor may report the address of the instruction itself"),
	SKIP(SYSEXIT, "AMD: #UD in long mode; the host's hypervisor may emulate it"),
	SKIP(MWAIT, "may sleep"),
	SKIP(MWAITX, "may sleep"),
	SKIP(UMWAIT, "may sleep"),
	SKIP(TPAUSE, "may sleep"),
	SKIP(CLZERO, "not offered"),
	SKIP(XSAVES, "privileged, and not offered"),
	SKIP(XSAVES64, "privileged, and not offered"),
	SKIP(XRSTORS, "privileged, and not offered"),
	SKIP(XRSTORS64, "privileged, and not offered"),
};

const char *skip_mnemonic_reason(unsigned int mnemonic)
{
	for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++)
		if (table[k].mnemonic == mnemonic)
			return table[k].reason;
	return NULL;
}

static bool is_branch(const ZydisDecodedInstruction *zi)
{
	return zi->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
}

/* At CPL 3 on the host, and at CPL 0 in the guest. */
static bool differs_by_level(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op)
{
	if (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return true;
	for (unsigned int k = 0; k < zi->operand_count; k++)
		if (op[k].type == ZYDIS_OPERAND_TYPE_REGISTER && !is_branch(zi) &&
		    (op[k].reg.value == ZYDIS_REGISTER_CS || op[k].reg.value == ZYDIS_REGISTER_SS))
			return true;
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
	case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_INT:
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
	case ZYDIS_MNEMONIC_STAC:
	case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_MONITOR:
	case ZYDIS_MNEMONIC_MONITORX:
	case ZYDIS_MNEMONIC_INVLPG:
	case ZYDIS_MNEMONIC_INVPCID:
	case ZYDIS_MNEMONIC_INVLPGB:
	case ZYDIS_MNEMONIC_TLBSYNC:
	case ZYDIS_MNEMONIC_SWAPGS:
	case ZYDIS_MNEMONIC_LGDT:
	case ZYDIS_MNEMONIC_LIDT:
	case ZYDIS_MNEMONIC_LLDT:
	case ZYDIS_MNEMONIC_LTR:
		return true;
	default:
		return false;
	}
}

const char *skip_reason(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op, bool cpl0)
{
	const char *why = skip_mnemonic_reason(zi->mnemonic);

	if (why)
		return why;
	if (cpl0 && differs_by_level(zi, op))
		return "differs by privilege level";
	if (zi->mnemonic == ZYDIS_MNEMONIC_INT && op[0].imm.value.u == 0x80)
		return "enters the host's kernel";
	if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return "loads from the host's descriptor tables";
	for (unsigned int k = 0; k < zi->operand_count_visible; k++)
		if (op[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(op[k].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
		    (op[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return "loads from the host's descriptor tables";
	return NULL;
}
