/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_TRANSLATE_H
#define CPU_DBT_TRANSLATE_H

#include "cpu/dbt/emit.h"
#include "cpu/dbt/run.h"

/*
 * Inside the translator. A translation is made in one pass over decoded instructions: translate.c decodes up to the
 * end of the block, flags.c finds which status flags are live where, and the emitters write code instruction by
 * instruction. Code that is rarely run (slow paths, exits) is collected and written behind the hot code.
 */
enum { TB_MAX_INSNS = 64 };

/* Where the guest's status flags are while code is emitted. */
struct tctx;
struct tcold;

enum tflags {
	TF_MEM,	 /* in hot.flags, or dead */
	TF_HOST, /* in the host's flags, live */
};

/* A piece of cold code to be written later. */
struct tcold {
	void (*emit)(struct tctx *t, struct tcold *x);
	uint8_t *site;	/* executable address of a rel32 to point to the cold code; NULL: none */
	uint8_t *again; /* executable address to go back to */
	uint32_t word, kind;
	void *arg;
};

/* How a translated instruction names its memory operand: [base + index*1 + 0] in host registers. */
struct hostmem {
	uint8_t base, index; /* index DREG_NONE: none */
};

struct tctx {
	struct emit e; /* hot code */
	struct cpu *c;
	struct dbt *d;
	struct tblock b; /* being made */
	bool is_64;

	struct dinsn insn[TB_MAX_INSNS];
	uint8_t live[TB_MAX_INSNS + 1]; /* status flags live BEFORE instruction n (enum dflags) */
	unsigned int nr, cur;
	uint32_t off;	/* offset in the page of the current instruction */
	uint8_t flags;	/* enum tflags, before what is emitted next */
	bool fpu_ready; /* this block has made sure that fpu_live is 1 */

	struct tcold cold[512];
	unsigned int nr_cold;
	struct tlink links[8];
	struct tpc pcs[TB_MAX_INSNS];
	const uint8_t *bytes; /* copy of the guest's page from b.off on */
};

/* t_flags_spill - before code that spoils the host's flags: when live flags are in the host's flags, put them into
 * hot.flags. Afterwards flags == TF_MEM. */
void t_flags_spill(struct tctx *t);
/* t_flags_fill - the current instruction reads flags: get them into the host's flags. */
void t_flags_fill(struct tctx *t);

/*
 * t_mem - emit address computation and check of the current instruction's memory operand.
 *
 * Spills flags. @size bytes, @access (DROLE_*), @align (0 or a power of two): all that can fault has been dealt with
 * afterwards, and the operand is at *@ret (r9, r10; r10 alone free after t_mem_merge()).
 */
void t_mem(struct tctx *t, const struct dinsn *d, unsigned int size, unsigned int access,
	   unsigned int align, struct hostmem *ret);
/* t_mem_merge - make the operand [r9], so that r10 is free. Does not touch flags. */
void t_mem_merge(struct tctx *t, struct hostmem *m);

/*
 * t_reencode - emit the instruction with other registers.
 *
 * @reg, @rm, @vvvv: host numbers (for operands that are registers); @m: NULL or the host memory operand. Prefixes
 * (but segment and address size), opcode and immediate are the guest's.
 */
void t_reencode(struct tctx *t, const struct dinsn *d, unsigned int reg, unsigned int rm,
		unsigned int vvvv, const struct hostmem *m);

/* t_guest_reg - the host register that stands for guest register @n, or DREG_NONE when it lives in memory. */
static inline unsigned int t_guest_reg(unsigned int n)
{
	if (n == CPU_RSP)
		return H_GSP;
	return n >= CPU_R8 && n <= CPU_R11 ? 16u : n;
}

/* t_pc - what is emitted next may raise a host signal for the current instruction. */
void t_pc(struct tctx *t);

/* t_handler - inline call of the interpreter's handler for the current instruction (emit_misc.c). */
bool t_handler(struct tctx *t);

/* Emitters by class. They return false when they cannot (then the caller falls back to t_handler()). */
bool emit_alu(struct tctx *t, const struct dinsn *d); /* DCLS_ALU, DCLS_DIV, DCLS_LEA, DCLS_FLAG: emit_alu.c */
bool emit_stack(struct tctx *t, const struct dinsn *d); /* PUSH, POP, LEAVE: emit_stack.c */
bool emit_flow(struct tctx *t, const struct dinsn *d);	/* branches; ends the block: emit_flow.c */
bool emit_vec(struct tctx *t, const struct dinsn *d);	/* DCLS_VEC, DCLS_MMX, DCLS_X87: emit_vec.c */
bool emit_string(struct tctx *t, const struct dinsn *d); /* DCLS_STRING, DCLS_XLAT: emit_string.c */

#endif
