// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translations for people and programs to read: the guest's instructions, and beside each the host's that stand
 * for it. Which belong together is told by the marks that the translator left; a block without marks is shown
 * with the guest's column only.
 */
#include "cpu/dbt/listing.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdio.h>

#include "cpu/interp/insn_class.h"

enum { GUEST_COLUMN = 76 };

static const struct {
	char sign;
	const char *name;
} classes[] = {
	[INSN_INNOCUOUS] = { ' ', "innocuous" },
	[INSN_SENSITIVE] = { 'S', "sensitive" },
	[INSN_PRIVILEGED] = { 'P', "privileged" },
};

/* Reads code instruction by instruction. */
struct reader {
	ZydisDecoder decoder;
	ZydisFormatter formatter;
	const uint8_t *code;
	size_t at, end;
	uint64_t addr; /* of code[0] */
	/* The last one read. */
	char text[160];
	enum insn_class class;
	size_t from, len;
};

static void reader_init(struct reader *r, bool is_64, const uint8_t *code, size_t len,
			uint64_t addr)
{
	ZydisDecoderInit(&r->decoder,
			 is_64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
			 is_64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	ZydisFormatterInit(&r->formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterSetProperty(&r->formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
	r->code = code;
	r->at = 0;
	r->end = len;
	r->addr = addr;
}

static bool reader_next(struct reader *r)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;

	if (r->at >= r->end)
		return false;
	r->from = r->at;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&r->decoder, r->code + r->at, r->end - r->at, &zi,
						 op))) {
		snprintf(r->text, sizeof(r->text), "(undefined) %02x", r->code[r->at]);
		r->class = INSN_INNOCUOUS;
		r->len = 1;
	} else {
		if (!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&r->formatter, &zi, op,
								  zi.operand_count_visible, r->text,
								  sizeof(r->text), r->addr + r->at,
								  NULL)))
			snprintf(r->text, sizeof(r->text), "(too long)");
		r->class = insn_class_of(&zi);
		r->len = zi.length;
	}
	r->at += r->len;
	return true;
}

/* The guest's instruction number @k; a block may leave out what it jumps over. */
static bool guest_next(struct reader *r, const struct hot_block *h, unsigned int k)
{
	if (h->has_tally && k < h->nr_insns)
		r->at = h->off[k];
	return k < h->nr_insns && reader_next(r);
}

/* Bytes of the code that is executed when nothing unusual happens. */
static size_t hot_bytes(const struct hot_block *h)
{
	size_t n = h->has_tally ? h->mark[h->nr_insns] : h->host_len;

	return n < h->host_len ? n : h->host_len;
}

static double ratio(size_t a, size_t b)
{
	return (double)a / (double)(b ? b : 1);
}

/* --- text ----------------------------------------------------------------------------------------- */

/* What stands for the instruction, from the column on, a line each. */
static void add_host(struct strbuf *out, struct reader *host, size_t end, size_t line_start)
{
	bool any = false;

	host->end = end;
	while (reader_next(host)) {
		if (any)
			line_start = out->n;
		strbuf_pad(out, line_start, GUEST_COLUMN);
		strbuf_addf(out, "| %s\n", host->text);
		any = true;
	}
	if (!any)
		strbuf_addc(out, '\n');
}

static void add_head(struct strbuf *out, const struct hot_block *h, size_t rank,
		     const struct listing_sum *sum)
{
	size_t hot = hot_bytes(h);

	strbuf_addf(out, "\n#%zu  0x%016" PRIx64, rank, h->lin);
	if (h->has_tally)
		strbuf_addf(out, "  %" PRIu64 " times, %.2f %% of the instructions", h->passed[0],
			    100.0 * (double)h->insns_executed /
				    (double)(sum->insns ? sum->insns : 1));
	strbuf_addf(out, "\n    %u instructions, %zu bytes -> %zu (%.1fx)", h->nr_insns,
		    h->guest_len, hot, ratio(hot, h->guest_len));
	if (h->host_len > hot)
		strbuf_addf(out, " and %zu out of line", h->host_len - hot);
	strbuf_addc(out, '\n');
}

static void add_block(struct strbuf *out, const struct hot_block *h)
{
	struct reader guest, host;

	reader_init(&guest, h->is_64, h->guest, h->guest_len, h->lin);
	reader_init(&host, true, h->host, 0, h->host_addr);
	if (h->has_tally && h->mark[0]) {
		size_t start = out->n;

		strbuf_adds(out, "        (entry)");
		add_host(out, &host, h->mark[0], start);
	}
	for (unsigned int k = 0; guest_next(&guest, h, k); k++) {
		size_t start = out->n, end = h->has_tally ? h->mark[k + 1] : 0;

		if (h->has_tally)
			strbuf_addf(out, "%14" PRIu64, h->passed[k]);
		strbuf_addf(out, " %c %08" PRIx64 "  %s", classes[guest.class].sign,
			    h->lin + guest.from, guest.text);
		add_host(out, &host, end < h->host_len ? end : h->host_len, start);
	}
}

static void add_text(const struct hot_block *hot, size_t n, const struct listing_sum *sum,
		     struct strbuf *out)
{
	strbuf_addf(out, "%" PRIu64 " blocks are translated", sum->nr_blocks);
	if (sum->is_counting)
		strbuf_addf(out, "; %" PRIu64 " instructions were executed in translated code",
			    sum->insns);
	strbuf_adds(out, ".\nP: privileged, S: sensitive but not privileged.\n");
	for (size_t k = 0; k < n; k++) {
		if (out->n > LISTING_MAX) {
			strbuf_addf(out, "\n... and %zu more\n", n - k);
			return;
		}
		add_head(out, &hot[k], k + 1, sum);
		add_block(out, &hot[k]);
	}
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void add_text_json(struct strbuf *out, const char *s)
{
	strbuf_add_json(out, str_of(s));
}

static void add_insn_json(struct strbuf *out, const struct hot_block *h, unsigned int k,
			  const struct reader *guest, struct reader *host)
{
	bool any = false;

	strbuf_addf(out,
		    "%s{\"address\":\"0x%" PRIx64 "\",\"class\":\"%s\",\"text\":", k ? "," : "",
		    h->lin + guest->from, classes[guest->class].name);
	add_text_json(out, guest->text);
	if (h->has_tally) {
		strbuf_addf(out, ",\"executed\":%" PRIu64 ",\"host\":[", h->passed[k]);
		host->end = h->mark[k + 1] < h->host_len ? h->mark[k + 1] : h->host_len;
		while (reader_next(host)) {
			if (any)
				strbuf_addc(out, ',');
			add_text_json(out, host->text);
			any = true;
		}
		strbuf_addc(out, ']');
	}
	strbuf_addc(out, '}');
}

static void add_block_json(struct strbuf *out, const struct hot_block *h)
{
	struct reader guest, host;

	reader_init(&guest, h->is_64, h->guest, h->guest_len, h->lin);
	reader_init(&host, true, h->host, 0, h->host_addr);
	strbuf_addf(out,
		    "{\"address\":\"0x%" PRIx64 "\",\"guest_bytes\":%zu,\"host_bytes\":%zu,"
		    "\"cold_bytes\":%zu",
		    h->lin, h->guest_len, hot_bytes(h), h->host_len - hot_bytes(h));
	if (h->has_tally) {
		strbuf_addf(out, ",\"executed\":%" PRIu64 ",\"insns_executed\":%" PRIu64,
			    h->passed[0], h->insns_executed);
		host.at = h->mark[0];
	}
	strbuf_adds(out, ",\"insns\":[");
	for (unsigned int k = 0; guest_next(&guest, h, k); k++)
		add_insn_json(out, h, k, &guest, &host);
	strbuf_adds(out, "]}");
}

static void add_json(const struct hot_block *hot, size_t n, const struct listing_sum *sum,
		     struct strbuf *out)
{
	size_t k;

	strbuf_addf(out, "{\"nr_blocks\":%" PRIu64 ",\"insns_executed\":%" PRIu64 ",\"blocks\":[",
		    sum->nr_blocks, sum->insns);
	for (k = 0; k < n && out->n <= LISTING_MAX; k++) {
		if (k)
			strbuf_addc(out, ',');
		add_block_json(out, &hot[k]);
	}
	strbuf_addf(out, "],\"nr_left_out\":%zu}\n", n - k);
}

void listing_add(const struct hot_block *hot, size_t n, const struct listing_sum *sum, bool json,
		 struct strbuf *out)
{
	if (json)
		add_json(hot, n, sum, out);
	else
		add_text(hot, n, sum, out);
}
