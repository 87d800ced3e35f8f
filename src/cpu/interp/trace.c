// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One line an instruction on standard error, for debugging the engine: vCPU, address, bytes, text.
 */
#include <stdio.h>

#include "cpu/interp/block.h"

void trace_insn(struct cpu *c, const struct block *b)
{
	ZydisMachineMode machine = c->mode == CPU_MODE_64   ? ZYDIS_MACHINE_MODE_LONG_64
				   : c->mode == CPU_MODE_32 ? ZYDIS_MACHINE_MODE_LEGACY_32
				   : c->protected_mode	    ? ZYDIS_MACHINE_MODE_LEGACY_16
							    : ZYDIS_MACHINE_MODE_REAL_16;
	ZydisDisassembledInstruction dis;
	char hex[2 * INSN_MAX_LEN + 1] = "";
	unsigned int len = MIN(b->insn[0].len, b->len);

	for (unsigned int k = 0; k < len; k++)
		snprintf(hex + 2 * k, 3, "%02x", b->bytes[k]);
	if (!ZYAN_SUCCESS(ZydisDisassembleIntel(machine, c->st.rip, b->bytes, b->len, &dis)))
		snprintf(dis.text, sizeof(dis.text), "(undefined)");
	fprintf(stderr, "%u %04x:%016llx %-24s %-40s ax=%llx sp=%llx fl=%llx\n", c->index,
		c->st.seg[CPU_CS].sel, (unsigned long long)c->st.rip, hex, dis.text,
		(unsigned long long)c->st.gpr[CPU_RAX], (unsigned long long)c->st.gpr[CPU_RSP],
		(unsigned long long)c->st.rflags);
}
