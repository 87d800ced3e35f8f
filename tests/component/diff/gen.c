/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to run. At the start Zydis is asked about every combination of prefix, map, opcode and ModRM; what it
 * knows becomes a table of encodings, grouped by mnemonic, so that a rare instruction is tested as often as
 * MOV. A case takes a mnemonic, one of its encodings, and makes the rest at random: registers, addressing,
 * superfluous prefixes, immediates. One case in sixteen is random bytes instead.
 */
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "gen.h"

struct encodings gen_table[2];
ZydisDecoder gen_decoder[2];

/* --- the table --------------------------------------------------------------------------------------- */

struct builder {
	struct encodings *t;
	unsigned int cap;
	const ZydisDecoder *decoder;
	bool is32;
};

static bool same_encoding(const struct encoding *a, const struct encoding *b)
{
	return a->mnemonic == b->mnemonic && a->len == b->len &&
	       !memcmp(a->bytes, b->bytes, a->len) && a->is_mem == b->is_mem &&
	       (!a->fixed_reg || ((a->modrm ^ b->modrm) & 0x38) == 0) &&
	       (!a->fixed_rm || ((a->modrm ^ b->modrm) & 7) == 0);
}

static void add(struct builder *b, const uint8_t *bytes, unsigned int len, bool vex, uint8_t modrm)
{
	uint8_t buf[32] = { 0 };
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct encoding e = { .len = (uint8_t)len, .modrm = modrm, .vex = vex };

	memcpy(buf, bytes, len);
	buf[len] = modrm;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(b->decoder, buf, 15, &zi, op)))
		return;
	if (zi.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    zi.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return;
	/* A prefix that did nothing, or an escape byte that was an instruction of its own. */
	if (zi.raw.modrm.offset ? zi.raw.modrm.offset != len : zi.length < len)
		return;
	e.mnemonic = (uint16_t)zi.mnemonic;
	e.isa = (uint16_t)zi.meta.isa_set;
	memcpy(e.bytes, bytes, len);
	e.has_modrm = zi.attributes & ZYDIS_ATTRIB_HAS_MODRM;
	e.is_mem = e.has_modrm && zi.raw.modrm.mod != 3;
	e.fixed_reg = e.fixed_rm = e.has_modrm;
	for (unsigned int k = 0; k < zi.operand_count; k++) {
		if (op[k].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			e.fixed_reg = false;
		if (op[k].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			e.fixed_rm = false;
	}
	if (!e.has_modrm && modrm != 0)
		return;
	/* The last ones are enough: opcodes are swept with ModRM innermost. */
	for (unsigned int k = b->t->nr; k > 0 && k + 200 > b->t->nr; k--)
		if (same_encoding(&b->t->e[k - 1], &e))
			return;
	if (b->t->nr == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 4096;
		b->t->e = realloc(b->t->e, b->cap * sizeof(e));
		if (!b->t->e)
			abort();
	}
	b->t->e[b->t->nr++] = e;
}

static void sweep_modrm(struct builder *b, const uint8_t *bytes, unsigned int len, bool vex)
{
	for (unsigned int reg = 0; reg < 8; reg++)
		add(b, bytes, len, vex, (uint8_t)(reg << 3));
	for (unsigned int m = 0xc0; m < 0x100; m++)
		add(b, bytes, len, vex, (uint8_t)m);
}

static void sweep(struct builder *b)
{
	static const uint8_t prefixes[] = { 0, 0x66, 0xf2, 0xf3 };
	static const uint8_t escapes[][3] = {
		{ 0 }, { 1, 0x0f }, { 2, 0x0f, 0x38 }, { 2, 0x0f, 0x3a }
	};
	uint8_t bytes[8];

	for (unsigned int map = 0; map < 4; map++)
		for (unsigned int opcode = 0; opcode < 256; opcode++)
			for (unsigned int p = 0; p < 5; p++)
				for (unsigned int w = 0; w < (b->is32 ? 1 : 2); w++) {
					unsigned int n = 0;

					if (p == 4) /* CRC32 and others with an operand size */
						bytes[n++] = 0x66;
					if (p)
						bytes[n++] = p == 4 ? 0xf2 : prefixes[p];
					if (w)
						bytes[n++] = 0x48;
					memcpy(bytes + n, escapes[map] + 1, escapes[map][0]);
					n += escapes[map][0];
					bytes[n++] = (uint8_t)opcode;
					if (n <= 5)
						sweep_modrm(b, bytes, n, false);
				}
	for (unsigned int map = 1; map <= 3; map++)
		for (unsigned int opcode = 0; opcode < 256; opcode++)
			for (unsigned int wlp = 0; wlp < 16; wlp++) {
				uint8_t w = (uint8_t)((wlp & 8) << 4), lp = wlp & 7;

				/* vvvv: a register where there is one, else it must be all ones */
				for (unsigned int v = 0; v < 2; v++) {
					bytes[0] = 0xc4;
					bytes[1] = (uint8_t)(0xe0 | map);
					bytes[2] = (uint8_t)(w | (v ? 0x78 : 0x70) | lp);
					bytes[3] = (uint8_t)opcode;
					sweep_modrm(b, bytes, 4, true);
				}
			}
}

static int by_mnemonic(const void *pa, const void *pb)
{
	const struct encoding *a = pa, *b = pb;

	if (a->mnemonic != b->mnemonic)
		return a->mnemonic < b->mnemonic ? -1 : 1;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->modrm != b->modrm)
		return a->modrm < b->modrm ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static bool is_amd(void)
{
	unsigned int a, b = 0, c = 0, d = 0;

	__get_cpuid(0, &a, &b, &c, &d);
	return c == 0x444d4163 || c == 0x656e6975;
}

void gen_start(void)
{
	ZydisDecoderInit(&gen_decoder[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderInit(&gen_decoder[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	for (unsigned int m = 0; m < 2; m++) {
		/* The host decides: AMD's cut a branch target to 16 bits. */
		ZydisDecoderEnableMode(&gen_decoder[m], ZYDIS_DECODER_MODE_AMD_BRANCHES, is_amd());
		ZydisDecoderEnableMode(&gen_decoder[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&gen_decoder[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&gen_decoder[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
	for (unsigned int m = 0; m < 2; m++) {
		struct encodings *t = &gen_table[m];
		struct builder b = { .t = t, .decoder = &gen_decoder[m], .is32 = m };

		sweep(&b);
		qsort(t->e, t->nr, sizeof(t->e[0]), by_mnemonic);
		t->group = calloc(t->nr + 1, sizeof(t->group[0]));
		if (!t->group)
			abort();
		for (unsigned int k = 0; k < t->nr; k++)
			if (k == 0 || t->e[k].mnemonic != t->e[k - 1].mnemonic)
				t->group[t->nr_groups++] = k;
		t->group[t->nr_groups] = t->nr;
	}
}

unsigned int gen_encodings(void)
{
	return gen_table[0].nr + gen_table[1].nr;
}

bool gen_covers(bool is32, unsigned int mnemonic, unsigned int *isa)
{
	const struct encodings *t = &gen_table[is32];

	for (unsigned int g = 0; g < t->nr_groups; g++) {
		if (t->e[t->group[g]].mnemonic == mnemonic) {
			*isa = t->e[t->group[g]].isa;
			return true;
		}
	}
	return false;
}

/* --- bytes ------------------------------------------------------------------------------------------- */

static unsigned int put_address(struct rng *r, bool is32, uint8_t *p, unsigned int reg)
{
	unsigned int mod = rng_below(r, 3), rm = rng_below(r, 8), n = 0;
	uint32_t disp = rng_one_in(r, 8) ? (uint32_t)gen_integer(r) : rng_below(r, 256) - 128;

	p[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
	if (rm == 4)
		p[n++] = (uint8_t)rng_next(r);
	if (mod == 1) {
		p[n++] = (uint8_t)disp;
	} else { /* too long when there is no displacement: what follows is immediate or unused */
		put_le32(p + n, mod == 0 ? (uint32_t)DIFF_DATA + rng_below(r, 0x3000) : disp);
		if (mod == 2 || (mod == 0 && (rm == 5 || (rm == 4 && (p[1] & 7) == 5))))
			n += 4;
	}
	(void)is32;
	return n;
}

static unsigned int put_encoding(struct rng *r, bool is32, const struct encoding *e, uint8_t *p)
{
	static const uint8_t extra[] = { 0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36,
					 0x3e, 0x26, 0x64, 0x65, 0xf0 };
	unsigned int n = 0, from = 0, reg = e->modrm >> 3 & 7, rm = e->modrm & 7;

	if (rng_one_in(r, 8))
		p[n++] = extra[rng_below(r, sizeof(extra))];
	if (rng_one_in(r, 32))
		p[n++] = extra[rng_below(r, sizeof(extra))];
	if (rng_one_in(r, 16))
		p[n++] = 0x67;
	if (e->vex) {
		/* R, X, B; then vvvv where the encoding was found with one */
		memcpy(p + n, e->bytes, e->len);
		if (!is32)
			p[n + 1] ^= (uint8_t)(rng_next(r) & 0xe0);
		else if (!e->is_mem || rng_one_in(r, 2))
			p[n + 1] ^= 0x20 & (uint8_t)rng_next(r);
		if ((e->bytes[2] & 0x78) != 0x78)
			p[n + 2] = (uint8_t)((p[n + 2] & ~0x78) | (rng_next(r) & 0x78) |
					     (is32 ? 0x40 : 0));
		/* the two-byte form where it can be */
		if ((p[n + 1] & 0x7f) == 0x61 && !(p[n + 2] & 0x80) && rng_one_in(r, 2)) {
			p[n] = 0xc5;
			p[n + 1] = (uint8_t)((p[n + 1] & 0x80) | p[n + 2]);
			p[n + 2] = p[n + 3];
			n--;
		}
		n += e->len;
	} else {
		while (from < e->len &&
		       (e->bytes[from] == 0x66 || e->bytes[from] == 0xf2 ||
			e->bytes[from] == 0xf3) &&
		       from + 1 < e->len)
			p[n++] = e->bytes[from++];
		if (!is32 && from + 1 < e->len && e->bytes[from] == 0x48)
			p[n++] = (uint8_t)(e->bytes[from++] |
					   (rng_one_in(r, 2) ? rng_below(r, 8) : 0));
		else if (!is32 && rng_one_in(r, 3))
			p[n++] = (uint8_t)(0x40 | rng_below(r, 16));
		memcpy(p + n, e->bytes + from, e->len - from);
		n += e->len - from;
	}
	if (e->has_modrm) {
		if (!e->fixed_reg)
			reg = rng_below(r, 8);
		if (!e->fixed_rm)
			rm = rng_below(r, 8);
		if (e->is_mem)
			n += put_address(r, is32, p + n, reg);
		else
			p[n++] = (uint8_t)(0xc0 | reg << 3 | rm);
	}
	for (unsigned int k = 0; k < 8; k++)
		p[n + k] = (uint8_t)rng_next(r);
	if (rng_one_in(r, 2)) /* small immediates and displacements */
		memset(p + n + 1, (p[n] & 0x80) && rng_one_in(r, 2) ? 0xff : 0, 7);
	return n + 8;
}

/* 0F 01 FE and FF with a prefix: what AMD's memory encryption makes of them depends on the host. */
static bool is_unknown_to_zydis(const uint8_t *p, unsigned int n)
{
	for (unsigned int k = 0; k + 2 < n; k++)
		if (p[k] == 0x0f && p[k + 1] == 0x01 && p[k + 2] >= 0xfe)
			return true;
	return false;
}

/* Enter the kernel by accident: never, also not in the middle of other bytes. */
bool gen_has_syscall(const uint8_t *p, unsigned int n)
{
	for (unsigned int k = 0; k + 1 < n; k++)
		if ((p[k] == 0x0f && (p[k + 1] == 0x05 || p[k + 1] == 0x34)) ||
		    (p[k] == 0xcd && p[k + 1] == 0x80))
			return true;
	return false;
}

/* A relative branch back into the instruction would run for ever. */
static bool branches_back(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op)
{
	for (unsigned int k = 0; k < zi->operand_count_visible; k++)
		if (op[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && op[k].imm.is_relative &&
		    op[k].imm.value.s < 0 && op[k].imm.value.s >= -64)
			return true;
	return false;
}

static const struct encoding *pick(struct rng *r, bool is32, const char *only)
{
	const struct encodings *t = &gen_table[is32];

	for (unsigned int try = 0; try < 200000; try++) {
		unsigned int g = rng_below(r, t->nr_groups);
		unsigned int n = t->group[g + 1] - t->group[g];
		const struct encoding *e = &t->e[t->group[g] + rng_below(r, n)];

		if (only ? strstr(ZydisMnemonicGetString(e->mnemonic), only) != NULL
			 : !skip_mnemonic_reason(e->mnemonic))
			return e;
	}
	return &t->e[0];
}

static bool one_insn(struct rng *r, struct diff_case *k, const char *only, bool cpl0)
{
	uint8_t buf[48];
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	unsigned int n;
	bool ok;

	if (!only && rng_one_in(r, 16)) {
		for (n = 0; n < 15; n++)
			buf[n] = (uint8_t)rng_next(r);
		if (rng_one_in(r, 2))
			buf[0] = rng_one_in(r, 2) ? 0x0f : (uint8_t)(0xc4 | rng_below(r, 2));
	} else {
		n = put_encoding(r, k->is32, pick(r, k->is32, only), buf);
		if (n > 15)
			n = 15;
	}
	ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&gen_decoder[k->is32], buf, n, &zi, op));
	if (ok) {
		if (skip_reason(&zi, op, cpl0) || branches_back(&zi, op))
			return false;
		n = zi.length;
	} else if (only || k->nr_insns || is_unknown_to_zydis(buf, n)) {
		return false;
	}
	if (gen_has_syscall(buf, n))
		return false;
	memcpy(k->code + k->len, buf, n);
	if (k->nr_insns == 0) {
		k->decoded = ok;
		if (ok) {
			k->zi = zi;
			gen_operands(r, k, op);
			memcpy(buf, k->code, n); /* an absolute address may have been put in */
		}
	}
	if (ok) {
		k->mnemonics[k->nr_insns] = (uint16_t)zi.mnemonic;
		k->isa[k->nr_insns] = (uint16_t)zi.meta.isa_set;
	}
	k->len += n;
	k->nr_insns++;
	return true;
}

unsigned int gen_any(struct rng *r, bool is32, uint8_t buf[48])
{
	unsigned int n = put_encoding(r, is32, pick(r, is32, NULL), buf);

	return n > 15 ? 15 : n;
}

/* Has the last instruction stored MXCSR_MASK, which is not the host's (compare.c)? Nothing may load it afterwards. */
static bool stored_mask(const struct diff_case *k)
{
	switch (k->nr_insns ? k->mnemonics[k->nr_insns - 1] : 0) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
		return true;
	default:
		return false;
	}
}

void gen_case(uint64_t seed, uint64_t number, const struct gen_options *o, struct diff_case *k)
{
	struct rng r = { seed ^ number * UINT64_C(0xd1342543de82ef95) };

	rng_next(&r);
	for (;;) {
		unsigned int want = !o->single && rng_one_in(&r, 8) ? 2 + rng_below(&r, 2) : 1;
		bool ok = true;

		memset(k, 0, sizeof(*k));
		k->seed = seed;
		k->number = number;
		k->is32 = o->mode ? o->mode == 32 : rng_one_in(&r, 4);
		/* Mostly in the middle; sometimes the bytes run into the end of the mapped code. */
		k->rip = DIFF_CODE + 0x800 + rng_below(&r, 64);
		if (rng_one_in(&r, 16))
			k->rip = DIFF_CODE + 0x1000 - rng_below(&r, 16);
		k->rip += o->code_off;
		gen_registers(&r, k);
		if (o->seq) {
			if (gen_seq(&r, o, k) && !gen_has_syscall(k->code, k->len))
				return;
			continue;
		}
		for (unsigned int j = 0; j < want && ok && !stored_mask(k); j++)
			ok = one_insn(&r, k, j ? NULL : o->only, o->cpl0);
		if (!ok)
			continue;
		if (o->cpl0) /* no alignment checks there */
			k->rflags &= ~(uint64_t)RFLAGS_AC;
		if (rng_one_in(&r, 64))
			k->rip = o->code_off + DIFF_CODE + DIFF_CODE_SIZE - 1 - rng_below(&r, 15);
		if (!gen_has_syscall(k->code, k->len))
			return;
	}
}
