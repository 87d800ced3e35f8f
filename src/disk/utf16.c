/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UTF-16 in images of Microsoft's formats (names of parents) to and from UTF-8. By hand rather than by
 * iconv(), which needs the locale's tables at run time and, for UTF-16, its own decision about byte
 * order marks. What cannot be converted becomes U+FFFD: such a name is then simply not found.
 */
#include "disk/utf16_priv.h"

#include "base/bytes.h"
#include "base/utf8.h"

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
				c = UTF8_REPLACEMENT;
			}
		}
		utf8_add(ret, c);
	}
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
