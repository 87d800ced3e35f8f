/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UTF-8 by hand: the C library's functions know it only in a locale that has it.
 */
#include "base/utf8.h"

uint32_t utf8_next(struct str s, size_t *ret_n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = (uint8_t)s.p[0];
	size_t need = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = need == 1 ? first : need ? first & (0xffu >> (need + 1)) : 0;

	*ret_n = 1;
	if (!need || need > s.n || first > 0xf4)
		return UTF8_REPLACEMENT;
	for (size_t i = 1; i < need; i++) {
		if (((uint8_t)s.p[i] & 0xc0) != 0x80)
			return UTF8_REPLACEMENT;
		c = c << 6 | ((uint8_t)s.p[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return UTF8_REPLACEMENT;
	*ret_n = need;
	return c;
}

void utf8_add(struct strbuf *b, uint32_t c)
{
	if (c < 0x80) {
		strbuf_addc(b, (char)c);
		return;
	}
	if (c < 0x800) {
		strbuf_addc(b, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			strbuf_addc(b, (char)(0xe0 | c >> 12));
		} else {
			strbuf_addc(b, (char)(0xf0 | c >> 18));
			strbuf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		strbuf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	strbuf_addc(b, (char)(0x80 | (c & 0x3f)));
}
