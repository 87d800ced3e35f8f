/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything visible must be equal. The exceptions, each with its reason:
 *
 * - The present bit of a page fault behind the last user page: Linux reports it always set.
 * - #UD or a page fault of the fetch, when an undefined instruction runs into a missing page: how many bytes
 *   it has is not defined.
 * - x87 pointers in sequences, when they are of an instruction before the one that made the exception pending, or
 *   FLDCW may have done that: the translation engine keeps none without a pending exception.
 * - x87 pointers in FXSAVE images: AMD writes them only while an exception is pending.
 * - MXCSR_MASK in memory: the host has the misaligned-SSE mode, which is not offered.
 * - The user bit of page faults, when the guest runs at CPL 0.
 * - Status flags at a fault that no way on from there reads before it overwrites them: the translation engine
 *   does not keep them. A program cannot tell, unless it looks at itself from outside.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "gen.h"

void say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (t->n >= t->cap)
		return;
	va_start(ap, fmt);
	r = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
	if (r > 0)
		t->n += (size_t)r;
}

const char *const diff_gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					 "r8",	"r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

static void say_bytes(struct text *t, const uint8_t *p, unsigned int n)
{
	while (n-- > 0)
		say(t, "%02x", p[n]);
}

static void diff_u64(struct text *t, const char *name, uint64_t in, uint64_t host, uint64_t guest)
{
	if (host != guest)
		say(t, "#   %-8s in %016llx host %016llx engine %016llx\n", name,
		    (unsigned long long)in, (unsigned long long)host, (unsigned long long)guest);
}

static void diff_vec(struct text *t, const char *name, unsigned int n, const uint8_t *in,
		     const uint8_t *host, const uint8_t *guest, unsigned int len)
{
	if (!memcmp(host, guest, len))
		return;
	say(t, "#   %s%u in ", name, n);
	say_bytes(t, in, len);
	say(t, " host ");
	say_bytes(t, host, len);
	say(t, " engine ");
	say_bytes(t, guest, len);
	say(t, "\n");
}

static bool loads_control_word(const struct diff_case *k)
{
	for (unsigned int n = 0; k->nr_insns > 1 && n < k->nr_insns; n++)
		if (k->mnemonics[n] == ZYDIS_MNEMONIC_FLDCW)
			return true;
	return false;
}

/* Is the operand that of another instruction than @fip's? */
static bool is_older_operand(const struct diff_case *k, uint64_t fip)
{
	uint64_t at = fip - k->rip;

	if (k->nr_insns < 2 || at >= k->len)
		return k->nr_insns > 1;
	while (at + 1 < k->len && (k->code[at] & 0xf8) != 0xd8)
		at++;
	return at + 1 >= k->len || k->code[at + 1] >= 0xc0;
}

static void diff_pointers(struct text *t, const struct diff_case *k, const struct cpu_fpu *in,
			  const struct cpu_fpu *h, const struct cpu_fpu *g)
{
	if (!(h->fsw & g->fsw & 0x80) || loads_control_word(k))
		return;
	diff_u64(t, "fop", in->fop, h->fop, g->fop);
	diff_u64(t, "fip", in->fip, h->fip, g->fip);
	if (!is_older_operand(k, h->fip))
		diff_u64(t, "fdp", in->fdp, h->fdp, g->fdp);
}

static void diff_fpu(struct text *t, const struct cpu_fpu *in, const struct cpu_fpu *h,
		     const struct cpu_fpu *g)
{
	diff_u64(t, "fcw", in->fcw, h->fcw, g->fcw);
	diff_u64(t, "fsw", in->fsw, h->fsw, g->fsw);
	diff_u64(t, "ftw", in->ftw, h->ftw, g->ftw);
	diff_u64(t, "mxcsr", in->mxcsr, h->mxcsr, g->mxcsr);
	for (unsigned int k = 0; k < 8; k++)
		diff_vec(t, "st", k, in->st[k], h->st[k], g->st[k], 10);
	for (unsigned int k = 0; k < 16; k++) {
		diff_vec(t, "xmm", k, in->xmm[k], h->xmm[k], g->xmm[k], 16);
		diff_vec(t, "ymm_hi", k, in->ymm_hi[k], h->ymm_hi[k], g->ymm_hi[k], 16);
	}
}

/* MXCSR_MASK in an image that FXSAVE and its like stored: the host's has the misaligned-SSE mode, which is not offered.
 * Another store of the program may have gone over part of it. */
static bool is_mxcsr_mask(unsigned int off, uint32_t host, uint32_t engine)
{
	return (off & 15) == 12 && (host ^ engine) == 0x20000 && (host & 0x20000);
}

static void diff_memory(struct text *t, const uint8_t *h, const uint8_t *g)
{
	unsigned int shown = 0;

	if (!memcmp(h, g, DIFF_DATA_SIZE))
		return;
	for (unsigned int off = 0; off < DIFF_DATA_SIZE; off += 4) {
		uint32_t a = get_le32(h + off), b = get_le32(g + off);

		if (a == b || is_mxcsr_mask(off, a, b))
			continue;
		if (shown++ < 12)
			say(t, "#   memory %x host %08x engine %08x\n",
			    off < DIFF_HOLE - DIFF_DATA ? DIFF_DATA + off
							: DIFF_DATA + off + 0x1000,
			    a, b);
	}
	if (shown > 12)
		say(t, "#   ... and %u words more\n", shown - 12);
}

static bool has_error(unsigned int v)
{
	return (v >= 10 && v <= 14) || v == 17;
}

bool compare(const struct diff_case *k, const struct diff_result *h, const struct diff_result *g,
	     const uint8_t *host_data, const uint8_t *guest_data, const struct compare_options *o,
	     char *text, size_t size)
{
	struct text t = { text, 0, size };
	uint64_t ignored = RFLAGS_STATUS & ~o->flags;
	uint32_t error_mask = h->vector == 14 && h->cr2 >= UINT64_C(0x7ffffffff000) ? ~1u : ~0u;

	if (o->cpl0 && h->vector == 14)
		error_mask &= ~4u;

	text[0] = 0;
	if ((h->vector == 14 && g->vector == 6 && h->cr2 == DIFF_CODE + DIFF_CODE_SIZE) ||
	    (h->vector == 6 && g->vector == 14 && g->cr2 == DIFF_CODE + DIFF_CODE_SIZE))
		return true;
	diff_u64(&t, "vector", 0, h->vector, g->vector);
	if (h->vector == g->vector && has_error(h->vector)) {
		diff_u64(&t, "error", 0, h->error & error_mask, g->error & error_mask);
		if (h->vector == 14)
			diff_u64(&t, "cr2", 0, h->cr2, g->cr2);
	}
	if (h->vector != g->vector && (h->vector == 14 || g->vector == 14))
		diff_u64(&t, "cr2", 0, h->vector == 14 ? h->cr2 : 0, g->vector == 14 ? g->cr2 : 0);
	diff_u64(&t, "rip", k->rip, h->rip, g->rip);
	diff_u64(&t, "rflags", k->rflags, h->rflags | ignored, g->rflags | ignored);
	diff_u64(&t, "cs", 0, h->cs, g->cs);
	diff_u64(&t, "ss", DIFF_DS, h->ss, g->ss);
	diff_u64(&t, "fs_base", k->fs_base, h->fs_base, g->fs_base);
	diff_u64(&t, "gs_base", k->gs_base, h->gs_base, g->gs_base);
	for (unsigned int n = 0; n < 16; n++)
		diff_u64(&t, diff_gpr_names[n], k->gpr[n], h->gpr[n], g->gpr[n]);
	diff_fpu(&t, &k->fpu, &h->fpu, &g->fpu);
	diff_pointers(&t, k, &k->fpu, &h->fpu, &g->fpu);
	diff_memory(&t, host_data, guest_data);
	return t.n == 0;
}

void describe(const struct diff_case *k, char *text, size_t size)
{
	struct text t = { text, 0, size };
	const ZydisDecoder *decoder = &gen_decoder[k->is32];
	ZydisFormatter formatter;
	unsigned int off = 0;

	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	say(&t, "# seed %#llx case %llu, %d-bit, at %llx:", (unsigned long long)k->seed,
	    (unsigned long long)k->number, k->is32 ? 32 : 64, (unsigned long long)k->rip);
	for (unsigned int n = 0; n < k->len; n++)
		say(&t, " %02x", k->code[n]);
	say(&t, "\n");
	while (off < k->len) {
		ZydisDecodedInstruction zi;
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		char line[128];

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, k->code + off, k->len - off, &zi,
							 op))) {
			say(&t, "#   (bad)\n");
			break;
		}
		ZydisFormatterFormatInstruction(&formatter, &zi, op, zi.operand_count_visible, line,
						sizeof(line), k->rip + off, NULL);
		say(&t, "#   %s\n", line);
		off += zi.length;
	}
}
