/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_X87_POINTERS_H
#define CPU_DBT_X87_POINTERS_H

#include "cpu/cpu_priv.h"

/* What the x87 unit remembers of the last instruction that was not a control instruction. */
struct x87_pointers {
	uint64_t fip, fdp;
	uint16_t fop, fcs, fds;
};

/*
 * x87_pointers_fix - after FXSAVE into st.fpu with an exception pending: replace the host's addresses.
 *
 * @old: what st.fpu held before, which is the guest's own
 * An address that belongs to no guest code or data that can be found becomes 0. Thread: the vCPU's own.
 */
void x87_pointers_fix(struct cpu *c, const struct x87_pointers *old);

#endif
