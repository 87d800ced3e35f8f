/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes in JSON: three of them as four characters. Decoding is strict (padding where it belongs and nowhere else), so
 * that there is one text for each content.
 */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct strbuf *out, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (; n; b += 3) {
		size_t part = MIN(n, (size_t)3);
		uint32_t v = (uint32_t)b[0] << 16 | (part > 1 ? (uint32_t)b[1] << 8 : 0) |
			     (part > 2 ? b[2] : 0);
		char c[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63],
			      part > 1 ? alphabet[v >> 6 & 63] : '=',
			      part > 2 ? alphabet[v & 63] : '=' };

		strbuf_add(out, c, sizeof(c));
		n -= part;
	}
}

int base64_decode(struct strbuf *out, struct str text)
{
	if (text.n % 4)
		return -EINVAL;
	for (size_t at = 0; at < text.n; at += 4) {
		unsigned int pad = 0;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			char c = text.p[at + k];
			const char *found = c ? strchr(alphabet, c) : NULL;

			/* Padding: one or two, at the very end. */
			if (c == '=' && at + 4 == text.n && k >= 2)
				pad++;
			else if (!found || pad)
				return -EINVAL;
			v = v << 6 | (found ? (uint32_t)(found - alphabet) : 0);
		}
		const char bytes[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };

		strbuf_add(out, bytes, 3 - pad);
	}
	return 0;
}
