/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_DIFF_H
#define TESTS_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "cpu/cpu.h"

/*
 * The differential tester: one instruction (or a few) is run on the host CPU and by an engine, from the same
 * state, on the same memory at the same addresses; whatever is visible afterwards must be equal.
 *
 *	gen.c		what to run: bytes, registers, memory, all from (seed, number of the case)
 *	gen_seq.c	programs of up to some dozens of instructions, with branches, loops and calls
 *	native.c	runs it on the host, in this process, between two jumps; signals tell the exception
 *	guest.c		runs it in a flat long-mode guest at CPL 3 or 0, through cpu.h only
 *	compare.c	looks for differences; knows what may differ and why
 *	flags.c		which status flags matter at a point of a program
 *	skip.c		instructions that are not compared, and why
 *
 * Memory, at the same linear addresses on both sides (all below 2 GiB, for 32-bit code):
 */
enum {
	DIFF_CODE = 0x10000000, /* readable and executable; around it nothing */
	DIFF_CODE_SIZE = 0x2000,
	DIFF_DATA = 0x20000000, /* writable, not executable */
	DIFF_RW_SIZE = 0x2000,
	DIFF_RO =
		DIFF_DATA + DIFF_RW_SIZE, /* a read-only page, then a hole, then a writable page */
	DIFF_HOLE = DIFF_RO + 0x1000,
	DIFF_RW2 = DIFF_HOLE + 0x1000,
	DIFF_DATA_SIZE = 0x4000,	/* of content: RW, RW, RO, RW2 */
	DIFF_MMIO = DIFF_DATA + 0x8000, /* a device, where the test's machine has one */
	DIFF_CS64 = 0x33,
	DIFF_CS32 = 0x23,
	DIFF_DS = 0x2b,
	DIFF_MAX_CODE = 640,
	DIFF_MAX_LOOK = 2 * 4096, /* what flags_live() can be asked about */
	DIFF_MAX_INSNS = 96,
	DIFF_MAX_PATCHES = 4,
	DIFF_MAX_IMMS = 32,
	DIFF_ROUNDS = 4, /* states that a sequence is run from */
};

struct diff_patch {
	uint32_t off; /* into the data content */
	uint32_t len;
	uint8_t bytes[80];
};

struct diff_case {
	uint64_t seed, number;
	bool is32;
	uint8_t code[DIFF_MAX_CODE];
	unsigned int len;
	uint64_t rip;
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t fs_base, gs_base;
	struct cpu_fpu fpu;
	unsigned int nr_patches;
	struct diff_patch patch[DIFF_MAX_PATCHES];
	/* What the generator thinks the first instruction is; 0 when it does not decode. */
	ZydisDecodedInstruction zi;
	bool decoded;
	unsigned int nr_insns;
	uint16_t mnemonics[DIFF_MAX_INSNS], isa[DIFF_MAX_INSNS]; /* ZydisISASet */
	/* Sequences: registers that hold pointers into the data, small numbers, loop counters. */
	uint16_t pointers, smalls, counters;
	unsigned int nr_imms; /* offsets of immediate bytes that may be changed */
	uint16_t imm[DIFF_MAX_IMMS];
	uint32_t runs; /* of the outermost loop; 0: some */
};

struct gen_options {
	int mode;	   /* 64, 32, or 0: any */
	const char *only;  /* the first instruction's mnemonic contains this; or NULL */
	bool single;	   /* one instruction a case */
	bool seq;	   /* gen_seq.c's programs */
	bool cpl0;	   /* nothing whose effect depends on the privilege level */
	bool smc;	   /* sequences change themselves: their pages must be writable */
	bool io;	   /* sequences use ports 0x10 to 0x17 and the device at DIFF_MMIO */
	uint32_t code_off; /* added to where the code lies: whole pages */
	bool (*offers)(unsigned int isa); /* sequences contain nothing else; NULL: anything */
};

enum { DIFF_VEC_TIMEOUT = 0x100, DIFF_VEC_OTHER = 0x101 };

struct diff_result {
	unsigned int vector;
	uint32_t error;
	uint64_t cr2;
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint16_t cs, ss;
	uint64_t fs_base, gs_base;
	struct cpu_fpu fpu;
};

/* Generator. */
void gen_start(void);		  /* makes the table of encodings; once */
unsigned int gen_encodings(void); /* how many */
bool gen_covers(bool is32, unsigned int mnemonic, unsigned int *isa);
void gen_data(uint64_t seed, uint64_t block,
	      uint8_t data[DIFF_DATA_SIZE]); /* initial memory content */
void gen_case(uint64_t seed, uint64_t number, const struct gen_options *o, struct diff_case *ret);
/* Another state for the program of a sequence; @round below DIFF_ROUNDS, 0: what gen_case() gave. */
void gen_round(unsigned int round, struct diff_case *k);
enum { DIFF_DATA_EVERY = 4096 }; /* cases that share initial memory */

/* Host. The aliases are writable views of what the instruction sees. */
struct native {
	uint8_t *code, *data;
};
bool native_usable(void); /* can cases be run on this host? */
int native_start(struct native *n);
extern void (*native_alarm)(void); /* called every half second outside of native_run() */
void native_run(const struct diff_case *k, struct diff_result *ret);

/* Engine. */
struct guest;
struct guest_options {
	enum cpu_engine_kind engine;
	bool cpl0;
};
struct guest *guest_new(const struct guest_options *o, const char **why);
uint8_t *guest_code(struct guest *g); /* alias of the code pages */
uint8_t *guest_data(struct guest *g);
void guest_code_changed(struct guest *g);
void guest_run(struct guest *g, const struct diff_case *k, struct diff_result *ret);
bool guest_offers(unsigned int isa);

/* Comparison: writes what differs into @text; false when there is a difference. @flags: status flags that must
 * be equal. */
struct compare_options {
	uint64_t flags;
	bool cpl0;
};
bool compare(const struct diff_case *k, const struct diff_result *host,
	     const struct diff_result *guest, const uint8_t *host_data, const uint8_t *guest_data,
	     const struct compare_options *o, char *text, size_t size);
/* Status flags that are read before they are overwritten on some way on from offset @off of a program. */
uint64_t flags_live(bool is32, const uint8_t *code, unsigned int len, unsigned int off);
extern const char *const diff_gpr_names[16];
void describe(const struct diff_case *k, char *text, size_t size);

/* Why an instruction is not compared, or NULL. */
const char *skip_reason(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op,
			bool cpl0);
const char *skip_mnemonic_reason(unsigned int mnemonic);

#endif
