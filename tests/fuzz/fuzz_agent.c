/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's agent: a byte chooses what happens, what follows is what it says, what a viewer has copied, or how much the guest
 * reads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "display/cut_text.h"
#include "vm/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What the guest reads is chunks of messages, whatever it says. */
struct listener {
	uint8_t head[AGENT_CHUNK_HEAD];
	uint32_t head_n, left;
};

static void listen_to(struct listener *l, const uint8_t *p, size_t n)
{
	for (; n; n--, p++) {
		if (l->left) {
			l->left--;
			continue;
		}
		l->head[l->head_n++] = *p;
		if (l->head_n < AGENT_CHUNK_HEAD)
			continue;
		l->head_n = 0;
		l->left = get_le32(l->head + 4);
		if (get_le32(l->head) != 1 || !l->left || l->left > 2048)
			abort();
	}
}

/* Plain text is what it says, and survives its other forms. */
static void check_text(const char *p, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf crlf = { 0 }, again = { 0 }, latin1 = { 0 };
	struct str text = { p, n };

	cut_text_crlf(text, &crlf);
	cut_text_plain(strbuf_str(&crlf), &again);
	/* But for a CR of its own before an LF, of which one goes. */
	if (again.n > n || n > AGENT_TEXT_MAX || memchr(p, 0, n))
		abort();
	for (size_t k = 0, len; k < n; k += len)
		if (utf8_next(str_skip(text, k), &len) == UTF8_REPLACEMENT && len == 1)
			abort();
	cut_text_to_latin1(text, &latin1);
	strbuf_reset(&again);
	cut_text_from_latin1(strbuf_str(&latin1), &again);
	if (latin1.n > n)
		abort();
}

static size_t part_of(const uint8_t **data, size_t *n)
{
	size_t part = *n ? MIN((size_t) * *data * 4, *n - 1) : 0;

	if (*n) {
		(*data)++;
		(*n)--;
	}
	return part;
}

static void step(struct agent *a, struct listener *l, const uint8_t **data, size_t *n)
{
	uint8_t what = **data, buf[1024];
	size_t part, said;
	char *text;

	(*data)++;
	(*n)--;
	part = part_of(data, n);
	switch (what % 5) {
	case 0:
	case 1:
		agent_heard(a, *data, part);
		break;
	case 2: {
		_cleanup_(strbuf_done) struct strbuf plain = { 0 };

		cut_text_plain((struct str){ (const char *)*data, part }, &plain);
		if (agent_offer(a, strbuf_str(&plain)) < 0)
			abort();
		break;
	}
	case 3:
		said = agent_say(a, buf, part);
		if (said > part || (said < part && agent_has_say(a)))
			abort();
		listen_to(l, buf, said);
		return; /* it takes no input */
	default:
		agent_opened(a, what & 0x80);
		*l = (struct listener){ 0 };
		return;
	}
	*data += part;
	*n -= part;
	text = agent_take(a, &said);
	if (text)
		check_text(text, said);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct agent a = { 0 };
	struct listener l = { 0 };

	agent_opened(&a, true);
	while (n)
		step(&a, &l, &data, &n);
	agent_done(&a);
	return 0;
}
