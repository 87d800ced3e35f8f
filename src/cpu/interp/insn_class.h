/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_INSN_CLASS_H
#define CPU_INTERP_INSN_CLASS_H

#include <Zydis/Zydis.h>

#include "base/attr.h"

/*
 * What an instruction is to a machine monitor, as Popek and Goldberg divide them: privileged ones trap outside of
 * ring 0; sensitive ones show or change what the monitor keeps from the guest without trapping, which is why an x86
 * without hardware virtualization must be translated; all others are innocuous.
 */
enum insn_class { INSN_INNOCUOUS, INSN_SENSITIVE, INSN_PRIVILEGED };

/* insn_class_of - the class of a decoded instruction. Thread: any. */
_pure_ enum insn_class insn_class_of(const ZydisDecodedInstruction *zi);

#endif
