/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Identifiers of images: compared, made up, read and written as text in either byte order.
 */
#include "disk/guid_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Which byte stands at each pair of hexadecimal digits. */
static const uint8_t order_mixed[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
static const uint8_t order_plain[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

bool guid_eq(const struct guid *a, const struct guid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

bool guid_is_zero(const struct guid *g)
{
	static const struct guid zero;

	return guid_eq(g, &zero);
}

int guid_new(struct guid *ret, struct err *err)
{
	struct guid g;

	if (getrandom(g.b, sizeof(g.b), 0) != (ssize_t)sizeof(g.b))
		return err_set_errno(err, "random numbers for an identifier");
	/* The version stands in the high nibble of text byte 6: one of these two, by byte order. */
	g.b[6] = (uint8_t)((g.b[6] & 0x0f) | 0x40);
	g.b[7] = (uint8_t)((g.b[7] & 0x0f) | 0x40);
	g.b[8] = (uint8_t)((g.b[8] & 0x3f) | 0x80);
	*ret = g;
	return 0;
}

static bool dash_before(unsigned int i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void guid_text(const struct guid *g, bool mixed, char text[GUID_TEXT_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *order = mixed ? order_mixed : order_plain;

	for (unsigned int i = 0; i < 16; i++) {
		if (dash_before(i))
			*text++ = '-';
		*text++ = hex[g->b[order[i]] >> 4];
		*text++ = hex[g->b[order[i]] & 15];
	}
	*text = 0;
}

int guid_parse(struct str text, bool mixed, struct guid *ret)
{
	const uint8_t *order = mixed ? order_mixed : order_plain;
	struct guid g;
	size_t at = 0;

	if (text.n == GUID_TEXT_LEN + 2 && text.p[0] == '{' && text.p[text.n - 1] == '}')
		text = (struct str){ text.p + 1, GUID_TEXT_LEN };
	if (text.n != GUID_TEXT_LEN)
		return -EINVAL;
	for (unsigned int i = 0; i < 16; i++) {
		int high, low;

		if (dash_before(i) && text.p[at++] != '-')
			return -EINVAL;
		high = str_hex_digit(text.p[at++]);
		low = str_hex_digit(text.p[at++]);
		if (high < 0 || low < 0)
			return -EINVAL;
		g.b[order[i]] = (uint8_t)(high << 4 | low);
	}
	*ret = g;
	return 0;
}
