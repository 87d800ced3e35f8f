/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_DIFF_GEN_SEQ_H
#define TESTS_DIFF_GEN_SEQ_H

#include "gen.h"

/* A program that is being made: flow of control in gen_seq.c, instructions in gen_insn.c. */
struct seq {
	struct rng *r;
	const struct gen_options *o;
	struct diff_case *k;
	unsigned int nr_regs;
	unsigned int nr_counters, counters_used;
	uint8_t counter[3], pointer[3], small;
	unsigned int depth;
	int budget; /* instructions still to be made */
	bool overflow;
};

static inline unsigned int seq_below(struct seq *s, unsigned int n)
{
	return rng_below(s->r, n);
}

static inline bool seq_one_in(struct seq *s, unsigned int n)
{
	return rng_one_in(s->r, n);
}

/* Bytes; one instruction (@ours: made here, and known to do what it should; false: not accepted). */
void seq_put(struct seq *s, const uint8_t *p, unsigned int n);
bool seq_emit(struct seq *s, const uint8_t *p, unsigned int n, bool ours);
unsigned int seq_any_reg(struct seq *s);
bool seq_set_reg(struct seq *s, unsigned int reg, uint32_t value);

/* Instructions by kind; false: none was made. */
bool seq_common(struct seq *s);
bool seq_string_op(struct seq *s);
bool seq_control_word(struct seq *s);
bool seq_patch_itself(struct seq *s);
bool seq_port_io(struct seq *s);
bool seq_from_table(struct seq *s);

#endif
