// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two lists are written down once, for the counters of every engine and for listings of code.
 * Source: Robin and Irvine, "Analysis of the Intel Pentium's Ability to Support a Secure Virtual Machine Monitor"
 * (USENIX Security 2000), for the sensitive ones, with what newer processors added.
 */
#include "cpu/interp/insn_class.h"

#include <stdbool.h>

static bool is_sensitive(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_SMSW:
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_XGETBV:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		return true;
	default:
		return false;
	}
}

static bool is_privileged(const ZydisDecodedInstruction *zi)
{
	return (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) ||
	       zi->meta.category == ZYDIS_CATEGORY_IO ||
	       zi->meta.category == ZYDIS_CATEGORY_IOSTRINGOP ||
	       zi->mnemonic == ZYDIS_MNEMONIC_CLI || zi->mnemonic == ZYDIS_MNEMONIC_STI;
}

enum insn_class insn_class_of(const ZydisDecodedInstruction *zi)
{
	if (is_privileged(zi))
		return INSN_PRIVILEGED;
	return is_sensitive(zi->mnemonic) ? INSN_SENSITIVE : INSN_INNOCUOUS;
}
