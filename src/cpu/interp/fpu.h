/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_FPU_H
#define CPU_INTERP_FPU_H

#include <string.h>

#include "cpu/interp/hostop.h"

/*
 * x87 status and control, and the state-saving instructions, in C; arithmetic is run by hostop.
 * Sources: Intel SDM volume 1, chapters 8, 10, 13; AMD APM volume 1, chapter 6, volume 2, 11.
 */
enum fpu_fsw {
	FSW_EXC = 0x3f, /* IE DE ZE OE UE PE */
	FSW_SF = 1 << 6,
	FSW_ES = 1 << 7,
	FSW_B = 1 << 15,
	FSW_TOP_SHIFT = 11,
	FSW_TOP = 7 << FSW_TOP_SHIFT,
};
enum { FCW_INIT = 0x37f, MXCSR_INIT = 0x1f80, MXCSR_MASK = 0xffff };

/* After an instruction that wrote MMX register(s): exponent and sign of the aliased x87 register are ones. */
static inline void fpu_mmx_written(struct cpu_fpu *f, uint64_t slots, const struct hostop *h)
{
	for (unsigned int k = 0; k < h->plan.nr_uses; k++) {
		const struct hostop_use *u = &h->plan.use[k];
		unsigned int off = (unsigned int)(slots >> (16 * u->slot)) & 0xffff;

		if (u->class == HOSTOP_MM && u->store)
			memset((uint8_t *)f + off - offsetof(struct cpu_state, fpu) + 8, 0xff, 2);
	}
}

/* Waiting x87 instructions that are run by a stub; imm is the FOP value. */
void fpu_x87_reg(struct cpu *c, const struct insn *i);
void fpu_x87_mem(struct cpu *c, const struct insn *i);

/* fpu_tag_word - the full 16-bit tag word, which is not stored: empty, zero, special or valid by content. */
uint16_t fpu_tag_word(const struct cpu_fpu *f);

/* fpu_update_es - ES and B as the flags and the masks say. */
void fpu_update_es(struct cpu_fpu *f);

/* fpu_set_top - the physical registers stay, so that st[], which begins at the top, is rotated. */
void fpu_set_top(struct cpu_fpu *f, unsigned int top);

/* fpu_init - FNINIT: control, status, tags and pointers; the registers keep their contents. */
void fpu_init(struct cpu_fpu *f);

/* fpu_bind_x87, fpu_bind_save - choose the handler of a decoded x87, or a state-saving, instruction. */
int fpu_bind_x87(const struct dec *d, struct insn *i);
int fpu_bind_save(const struct dec *d, struct insn *i);

#endif
