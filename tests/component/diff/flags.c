/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which status flags of a fault's frame must be right. A translation engine that finds that a flag is overwritten
 * before anything reads it does not compute it; at a fault in between, the frame then holds an older value.
 * This is the most that such an engine may do: per flag, is there a way on from the fault that reads it first?
 */
#include <string.h>

#include "gen.h"

struct walk {
	const uint8_t *code;
	unsigned int len;
	const ZydisDecoder *decoder;
	uint64_t flag;
	bool visited[DIFF_MAX_LOOK];
};

/* Written whatever the operands are? A count may be zero. */
static bool writes(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op, uint64_t flag)
{
	const ZydisAccessedFlags *f = zi->cpu_flags;

	switch (zi->mnemonic) { /* these clear what they do not set, which Zydis does not say */
	case ZYDIS_MNEMONIC_VTESTPS:
	case ZYDIS_MNEMONIC_VTESTPD:
	case ZYDIS_MNEMONIC_VPTEST:
	case ZYDIS_MNEMONIC_PTEST:
		return true;
	default:
		break;
	}
	if (!f || !((f->modified | f->set_0 | f->set_1 | f->undefined) & flag))
		return false;
	if (zi->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE))
		return false;
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD: {
		const ZydisDecodedOperand *count = &op[zi->operand_count_visible - 1];
		uint64_t n = count->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? count->imm.value.u : 0;

		return n & (zi->operand_width == 64 ? 63 : 31);
	}
	default:
		return true;
	}
}

static bool reaches_reader(struct walk *w, unsigned int off)
{
	for (;;) {
		ZydisDecodedInstruction zi;
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		int64_t to;

		if (off >= w->len || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(w->decoder, w->code + off,
									  w->len - off, &zi, op)))
			return true;
		if (w->visited[off])
			return false;
		w->visited[off] = true;
		if (zi.cpu_flags && (zi.cpu_flags->tested & w->flag) &&
		    zi.meta.category != ZYDIS_CATEGORY_STRINGOP) /* they test their own results */
			return true;
		if (zi.meta.category == ZYDIS_CATEGORY_INTERRUPT ||
		    zi.meta.category == ZYDIS_CATEGORY_SYSCALL)
			return true;
		if (zi.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE) {
			if (writes(&zi, op, w->flag))
				return false;
			off += zi.length;
			continue;
		}
		if (op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !op[0].imm.is_relative)
			return true;
		to = (int64_t)off + zi.length + op[0].imm.value.s;
		if (to < 0 || to >= (int64_t)w->len)
			return true;
		if (zi.meta.category == ZYDIS_CATEGORY_COND_BR &&
		    reaches_reader(w, off + zi.length))
			return true;
		off = (unsigned int)to;
	}
}

uint64_t flags_live(bool is32, const uint8_t *code, unsigned int len, unsigned int off)
{
	static _Thread_local struct walk w;
	uint64_t live = 0;

	w.code = code;
	w.len = len;
	w.decoder = &gen_decoder[is32];
	for (w.flag = 1; w.flag <= RFLAGS_OF; w.flag <<= 1) {
		memset(w.visited, 0, sizeof(w.visited));
		if ((w.flag & RFLAGS_STATUS) && reaches_reader(&w, off))
			live |= w.flag;
	}
	return live;
}
