/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of up to some dozens of instructions, for what a translation engine does between instructions: flags
 * that are live or dead, branches that are linked, loops that run warm, calls and returns, registers that
 * have no home in the host, accesses that fault in the middle.
 *
 * So that they run long enough, some registers have a role: counters of loops are written by nothing else; pointers
 * into the data and small indices seldom. Branches are made here and go to where they should; every loop
 * counts down. Half of the other instructions are the common ones in all their forms, the rest comes from the
 * table of everything.
 */
#include <string.h>

#include "base/bytes.h"
#include "gen_seq.h"

static void raw(struct seq *s, unsigned int a)
{
	uint8_t b = (uint8_t)a;

	seq_put(s, &b, 1);
}

/* --- flow of control ---------------------------------------------------------------------------------------- */

static void body(struct seq *s, int n);

/* A branch over what comes next; returns the place to patch. */
struct jump {
	unsigned int at; /* of the displacement */
	bool wide;
};

static struct jump jump_begin(struct seq *s, unsigned int short_op, bool wide)
{
	if (wide && short_op == 0xeb) {
		raw(s, 0xe9);
	} else if (wide) {
		raw(s, 0x0f);
		raw(s, short_op + 0x10);
	} else {
		raw(s, short_op);
	}
	seq_put(s, (const uint8_t[4]){ 0 }, wide ? 4 : 1);
	s->k->nr_insns++;
	s->k->mnemonics[s->k->nr_insns - 1] = ZYDIS_MNEMONIC_JMP;
	s->k->isa[s->k->nr_insns - 1] = ZYDIS_ISA_SET_I86;
	s->budget--;
	return (struct jump){ s->k->len - (wide ? 4 : 1), wide };
}

static void jump_to(struct seq *s, struct jump j, unsigned int to)
{
	int32_t d = (int32_t)to - (int32_t)(j.at + (j.wide ? 4 : 1));

	if (s->overflow)
		return;
	if (!j.wide && d != (int8_t)d) {
		s->overflow = true;
		return;
	}
	if (j.wide)
		put_le32(s->k->code + j.at, (uint32_t)d);
	else
		s->k->code[j.at] = (uint8_t)d;
}

static void skip_over(struct seq *s)
{
	/* jcc, or jrcxz and the loops forward */
	unsigned int op = seq_one_in(s, 8) ? 0xe0 + seq_below(s, 4) : 0x70 + seq_below(s, 16);
	struct jump j;

	if (op >= 0xe0 && op != 0xe3 && (s->k->counters & 1 << CPU_RCX))
		op = 0xe3;
	j = jump_begin(s, op, op < 0xe0 && seq_one_in(s, 2));
	body(s, 1 + (int)seq_below(s, 4));
	jump_to(s, j, s->k->len);
}

/* if, else */
static void branches(struct seq *s)
{
	struct jump j = jump_begin(s, 0x70 + seq_below(s, 16), true), end;

	body(s, 1 + (int)seq_below(s, 3));
	end = jump_begin(s, 0xeb, true);
	jump_to(s, j, s->k->len);
	body(s, 1 + (int)seq_below(s, 3));
	jump_to(s, end, s->k->len);
}

static void count_down(struct seq *s, unsigned int reg)
{
	uint8_t b[4];
	unsigned int n = 0;

	switch (seq_below(s, 3)) {
	case 0: /* dec */
		if (reg >= 8)
			b[n++] = 0x41;
		b[n++] = 0xff;
		b[n++] = (uint8_t)(0xc8 | (reg & 7));
		break;
	case 1: /* sub $1 */
		if (reg >= 8)
			b[n++] = 0x41;
		b[n++] = 0x83;
		b[n++] = (uint8_t)(0xe8 | (reg & 7));
		b[n++] = 1;
		break;
	default: /* add $-1 */
		if (reg >= 8)
			b[n++] = 0x41;
		b[n++] = 0x83;
		b[n++] = (uint8_t)(0xc0 | (reg & 7));
		b[n++] = 0xff;
	}
	seq_put(s, b, n);
	s->k->nr_insns++;
	s->k->mnemonics[s->k->nr_insns - 1] = ZYDIS_MNEMONIC_DEC;
	s->k->isa[s->k->nr_insns - 1] = ZYDIS_ISA_SET_I86;
}

/* A loop that counts a register down; the outermost one takes its count from the initial state. */
static void loop(struct seq *s, int n, bool outer)
{
	unsigned int reg = s->counter[s->counters_used++], top;
	struct jump j;

	if (!outer) {
		uint8_t b[6];
		unsigned int m = 0;

		if (reg >= 8)
			b[m++] = 0x41;
		b[m++] = (uint8_t)(0xb8 | (reg & 7));
		put_le32(b + m, 1 + seq_below(s, 5));
		seq_put(s, b, m + 4);
		s->k->nr_insns++;
		s->k->mnemonics[s->k->nr_insns - 1] = ZYDIS_MNEMONIC_MOV;
		s->k->isa[s->k->nr_insns - 1] = ZYDIS_ISA_SET_I86;
	}
	top = s->k->len;
	body(s, n);
	if (reg == CPU_RCX && s->k->len - top < 100 && seq_one_in(s, 2)) {
		jump_to(s, jump_begin(s, 0xe2, false), top);
	} else {
		count_down(s, reg);
		/* nz; g and the like follow from it for small counts */
		j = jump_begin(s, seq_one_in(s, 2) ? 0x75 : 0x7f, true);
		jump_to(s, j, top);
	}
	s->counters_used--;
}

/* A function behind a jump, called once or twice. */
static void call(struct seq *s)
{
	struct jump j = jump_begin(s, 0xeb, true);
	unsigned int f = s->k->len, times = 1 + seq_below(s, 2);

	body(s, (int)seq_below(s, 4));
	if (seq_one_in(s, 6)) { /* ret n: unbalanced, like the callee-pops of others */
		seq_put(s, (const uint8_t[]){ 0xc2, 0, 0 }, 3);
		s->k->code[s->k->len - 2] = seq_one_in(s, 2) ? 0 : 8;
	} else {
		if (seq_one_in(s, 4))
			raw(s, 0xf3);
		raw(s, 0xc3);
	}
	s->k->nr_insns++;
	s->k->mnemonics[s->k->nr_insns - 1] = ZYDIS_MNEMONIC_RET;
	s->k->isa[s->k->nr_insns - 1] = ZYDIS_ISA_SET_I86;
	jump_to(s, j, s->k->len);
	while (times-- > 0) {
		if (seq_one_in(s, 3)) { /* by register */
			unsigned int reg = seq_any_reg(s);
			uint8_t b[3] = { 0x41, 0xff, (uint8_t)(0xd0 | (reg & 7)) };

			if (reg == CPU_RSP || !seq_set_reg(s, reg, (uint32_t)s->k->rip + f))
				continue;
			(void)seq_emit(s, reg < 8 ? b + 1 : b, reg < 8 ? 2 : 3, true);
		} else {
			seq_put(s, (const uint8_t[]){ 0xe8, 0, 0, 0, 0 }, 5);
			jump_to(s, (struct jump){ s->k->len - 4, true }, f);
			s->k->nr_insns++;
			s->k->mnemonics[s->k->nr_insns - 1] = ZYDIS_MNEMONIC_CALL;
			s->k->isa[s->k->nr_insns - 1] = ZYDIS_ISA_SET_I86;
		}
		body(s, (int)seq_below(s, 2));
	}
}

/* To an address in a register, in memory by way of the stack, or by a RET without its CALL. */
static void indirect(struct seq *s)
{
	unsigned int reg = seq_any_reg(s);
	uint8_t b[6] = { 0x68 };
	unsigned int n = 0, to, at = s->k->len;

	if (seq_one_in(s, 2)) { /* push imm32; ret */
		to = (unsigned int)s->k->rip + at + 6;
		put_le32(b + 1, to);
		(void)seq_emit(s, b, 5, true);
		(void)seq_emit(s, (const uint8_t[]){ 0xc3 }, 1, true);
		return;
	}
	if (reg == CPU_RSP || (s->k->counters >> reg & 1))
		return;
	to = (unsigned int)s->k->rip + at + (reg >= 8 ? 6 : 5) + (reg >= 8 ? 3 : 2);
	(void)seq_set_reg(s, reg, to);
	if (reg >= 8)
		b[n++] = 0x41;
	b[n++] = 0xff;
	b[n++] = (uint8_t)(0xe0 | (reg & 7));
	(void)seq_emit(s, b, n, true);
}

static void body(struct seq *s, int n)
{
	s->depth++;
	for (unsigned int try = 0; n > 0 && try < 200 && !s->overflow && s->budget > 0; try++) {
		unsigned int pick = seq_below(s, 32);
		int before = s->budget;

		if (s->depth > 4)
			pick = 10 + seq_below(s, 22);
		if (pick < 3)
			skip_over(s);
		else if (pick == 3)
			branches(s);
		else if (pick == 4 && s->counters_used < s->nr_counters)
			loop(s, 1 + (int)seq_below(s, 5), false);
		else if (pick == 5 || pick == 6)
			call(s);
		else if (pick == 7)
			indirect(s);
		else if (pick == 8)
			seq_string_op(s);
		else if (pick == 9 && seq_one_in(s, 2))
			(void)seq_control_word(s);
		else if (pick == 10 && s->o->smc)
			(void)seq_patch_itself(s);
		else if (pick == 11 && s->o->io && seq_one_in(s, 2))
			(void)seq_port_io(s);
		else if (pick < 22)
			(void)seq_common(s);
		else
			(void)seq_from_table(s);
		n -= before - s->budget;
	}
	s->depth--;
}

/* --- registers ---------------------------------------------------------------------------------------------- */

static unsigned int free_reg(struct seq *s)
{
	for (;;) {
		unsigned int n = seq_below(s, s->nr_regs);
		uint16_t taken = s->k->counters | s->k->pointers | s->k->smalls | 1 << CPU_RSP;

		if (!(taken >> n & 1))
			return n;
	}
}

static void roles(struct seq *s)
{
	struct diff_case *k = s->k;

	k->counters = k->pointers = k->smalls = 0;
	s->nr_counters = k->is32 ? 2 : 3;
	for (unsigned int n = 0; n < s->nr_counters; n++) {
		s->counter[n] = (uint8_t)free_reg(s);
		k->counters |= (uint16_t)(1u << s->counter[n]);
	}
	for (unsigned int n = 0; n < 3; n++) {
		s->pointer[n] = k->is32 && n ? s->pointer[0] : (uint8_t)free_reg(s);
		k->pointers |= (uint16_t)(1u << s->pointer[n]);
	}
	s->small = (uint8_t)free_reg(s);
	k->smalls |= (uint16_t)(1u << s->small);
}

static void registers(struct rng *r, struct diff_case *k)
{
	unsigned int runs = rng_one_in(r, 4) ? 1 : 2 + rng_below(r, 6);

	gen_registers(r, k);
	if (k->runs)
		runs = k->runs;
	k->rflags &= ~(uint64_t)(RFLAGS_AC | RFLAGS_TF);
	if (!rng_one_in(r, 8))
		k->rflags &= ~(uint64_t)RFLAGS_DF;
	for (unsigned int n = 0; n < 16; n++) {
		if (k->counters >> n & 1)
			k->gpr[n] = runs;
		else if (k->pointers >> n & 1)
			k->gpr[n] = rng_one_in(r, 5) ? gen_pointer(r, 8)
						     : DIFF_DATA + 0x200 + rng_below(r, 0x1c00);
		else if (k->smalls >> n & 1)
			k->gpr[n] = rng_below(r, 64);
	}
	if (!rng_one_in(r, 16))
		k->gpr[CPU_RSP] = DIFF_DATA + 0x800 + rng_below(r, 0x1000 / 8) * 8;
	if (k->is32)
		for (unsigned int n = 0; n < 16; n++)
			k->gpr[n] = (uint32_t)k->gpr[n];
}

void gen_round(unsigned int round, struct diff_case *k)
{
	struct rng r = { k->seed ^ k->number * UINT64_C(0xd1342543de82ef95) ^
			 (uint64_t)round * UINT64_C(0x94d049bb133111eb) };

	if (round > 0)
		registers(&r, k);
}

bool gen_seq(struct rng *r, const struct gen_options *o, struct diff_case *k)
{
	struct seq s = { .r = r, .o = o, .k = k, .nr_regs = k->is32 ? 8 : 16 };
	int n = 1 + (int)rng_below(r, 24);

	/* Some programs cross the page. */
	if (rng_one_in(r, 6))
		k->rip = DIFF_CODE + o->code_off + 0x1000 - rng_below(r, 120);
	s.budget = 70;
	roles(&s);
	registers(r, k);
	if (rng_one_in(r, 4))
		body(&s, n);
	else
		loop(&s, n, true);
	k->decoded = true;
	return !s.overflow && k->nr_insns > 0;
}
