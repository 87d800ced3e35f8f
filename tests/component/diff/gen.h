/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_DIFF_GEN_H
#define TESTS_DIFF_GEN_H

#include "diff.h"
#include "rng.h"

/* One encoding that Zydis knows: prefix, opcode, and what ModRM must be. */
struct encoding {
	uint16_t mnemonic;
	uint16_t isa;
	uint8_t bytes[5]; /* legacy: mandatory or size prefix, REX.W, escape, opcode; VEX: C4 .. opcode */
	uint8_t len;
	uint8_t modrm; /* an example */
	bool has_modrm, vex;
	bool fixed_reg; /* ModRM.reg is part of the opcode */
	bool fixed_rm;	/* ModRM.rm too */
	bool is_mem;
	uint8_t imm_size;
};

struct encodings {
	unsigned int nr;
	struct encoding *e; /* sorted by mnemonic */
	unsigned int nr_groups;
	unsigned int *group; /* first encoding of each mnemonic; one more at the end */
};
extern struct encodings gen_table[2]; /* 64-bit, 32-bit */
extern ZydisDecoder gen_decoder[2];

/* Bytes of some instruction of the table, up to 15 and maybe some too many. */
unsigned int gen_any(struct rng *r, bool is32, uint8_t buf[48]);
/* Would these bytes, entered anywhere, call the host's kernel? */
bool gen_has_syscall(const uint8_t *p, unsigned int n);
/* A program, and its registers; false when it became too long. */
bool gen_seq(struct rng *r, const struct gen_options *o, struct diff_case *k);

/* Values worth testing. */
uint64_t gen_integer(struct rng *r);
uint64_t gen_pointer(struct rng *r, unsigned int size);
void gen_floats(struct rng *r, uint8_t *buf, unsigned int len);
void gen_registers(struct rng *r, struct diff_case *k);
/* Make the operands of the decoded instruction reach the test's memory, and put there what it wants. */
void gen_operands(struct rng *r, struct diff_case *k, const ZydisDecodedOperand *op);

/* A text that grows up to @cap bytes; the rest is lost. */
struct text {
	char *p;
	size_t n, cap;
};
void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
