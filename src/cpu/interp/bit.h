/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_BIT_H
#define CPU_INTERP_BIT_H

#include "cpu/interp/hostalu.h"

/* Effective address of the word that holds bit number (register i->dst) of the bit string at the memory
 * operand. The number is signed. Source: AMD APM volume 3, BT. */
static inline uint64_t bit_string_ea(struct cpu *c, const struct insn *i)
{
	int64_t n = (int64_t)sext(reg_get(c, i->dst, i->opsize), i->opsize);
	int64_t words = n >> (3 + size_index(i->opsize));

	return zext(insn_ea(c, i) + (uint64_t)words * i->opsize, i->asize);
}

#endif
