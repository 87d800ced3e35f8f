/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The forms of a clipboard's text: ClientCutText and ServerCutText are Latin-1 with LF (RFC 6143, 7.5.6 and 7.6.4), the
 * extended clipboard is UTF-8 with CR LF and a zero byte at its end (rfbproto, "Extended Clipboard Pseudo-Encoding"), a guest's agent
 * says which ends of lines it wants.
 */
#include "display/cut_text.h"

#include "base/utf8.h"

static bool is_crlf(struct str s)
{
	return s.n > 1 && s.p[0] == '\r' && s.p[1] == '\n';
}

void cut_text_plain(struct str text, struct strbuf *ret)
{
	size_t n;

	for (; text.n && *text.p; text = str_skip(text, n)) {
		uint32_t c = utf8_next(text, &n);

		if (!is_crlf(text))
			utf8_add(ret, c);
	}
}

void cut_text_from_latin1(struct str text, struct strbuf *ret)
{
	for (; text.n && *text.p; text = str_skip(text, 1))
		if (!is_crlf(text))
			utf8_add(ret, (uint8_t)*text.p);
}

void cut_text_to_latin1(struct str plain, struct strbuf *ret)
{
	size_t n;

	for (; plain.n; plain = str_skip(plain, n)) {
		uint32_t c = utf8_next(plain, &n);

		strbuf_addc(ret, c < 0x100 ? (char)c : '?');
	}
}

void cut_text_crlf(struct str plain, struct strbuf *ret)
{
	for (size_t k = 0; k < plain.n; k++) {
		if (plain.p[k] == '\n')
			strbuf_addc(ret, '\r');
		strbuf_addc(ret, plain.p[k]);
	}
}
