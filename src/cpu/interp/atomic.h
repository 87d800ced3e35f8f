/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_ATOMIC_H
#define CPU_INTERP_ATOMIC_H

#include "cpu/interp/vcpu.h"

/* Binders of instructions with a LOCK prefix, for the files that bind the plain forms. -EINVAL for #UD. */
_nodiscard_ int atomic_bind_alu(const struct dec *d, struct insn *i);
_nodiscard_ int atomic_bind_bit(const struct dec *d, struct insn *i);

#endif
