/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UTF-16 in images of Microsoft's formats (names of parents) to and from UTF-8. By hand rather than by
 * iconv(), which needs the locale's tables at run time and, for UTF-16, its own decision about byte
 * order marks. What cannot be converted becomes U+FFFD: such a name is then simply not found.
 */
#include "disk/utf16_priv.h"

#include "base/bytes.h"

#define REPLACEMENT 0xfffdu

static void utf8_add(struct strbuf *b, uint32_t c)
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

void utf16_get(const uint8_t *p, size_t n, bool big, struct strbuf *ret)
{
	for (size_t i = 0; i + 2 <= n; i += 2) {
		uint32_t c = big ? get_be16(p + i) : get_le16(p + i);

		if (!c)
			return;
		if (c >= 0xd800 && c < 0xe000) {
			uint32_t low = 0;

			if (c < 0xdc00 && i + 4 <= n)
				low = big ? get_be16(p + i + 2) : get_le16(p + i + 2);
			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			} else {
				c = REPLACEMENT;
			}
		}
		utf8_add(ret, c);
	}
}

/* The next character and how many bytes it took. */
static uint32_t utf8_next(struct str s, size_t *ret_n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = (uint8_t)s.p[0];
	size_t need = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = need == 1 ? first : need ? first & (0xffu >> (need + 1)) : 0;

	*ret_n = 1;
	if (!need || need > s.n || first > 0xf4)
		return REPLACEMENT;
	for (size_t i = 1; i < need; i++) {
		if (((uint8_t)s.p[i] & 0xc0) != 0x80)
			return REPLACEMENT;
		c = c << 6 | ((uint8_t)s.p[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return REPLACEMENT;
	*ret_n = need;
	return c;
}

static void unit_add(struct strbuf *b, uint16_t unit, bool big)
{
	uint8_t raw[2];

	if (big)
		put_be16(raw, unit);
	else
		put_le16(raw, unit);
	strbuf_add(b, raw, sizeof(raw));
}

void utf16_put(struct str text, bool big, struct strbuf *ret)
{
	size_t n;

	for (; text.n; text = str_skip(text, n)) {
		uint32_t c = utf8_next(text, &n);

		if (c >= 0x10000) {
			unit_add(ret, (uint16_t)(0xd800 + ((c - 0x10000) >> 10)), big);
			unit_add(ret, (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff)), big);
		} else {
			unit_add(ret, (uint16_t)c, big);
		}
	}
}
