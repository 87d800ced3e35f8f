/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Screenshots. zlib does the compression and the checksums; what PNG adds is a page of chunks, for which another
 * library would be more code than it saves. Each line is coded as its difference from the line above: screens are
 * mostly flat.
 */
#include "display/png.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"

enum { FILTER_UP = 2, BYTES = 3, COLOR_RGB = 2 };

static void add_chunk(struct strbuf *out, const char *type, const uint8_t *data, size_t n)
{
	uint8_t word[4];
	uLong crc = crc32(0, (const Bytef *)type, 4);

	put_be32(word, (uint32_t)n);
	strbuf_add(out, word, 4);
	strbuf_add(out, type, 4);
	if (n) {
		strbuf_add(out, data, n);
		crc = crc32(crc, data, (uInt)n);
	}
	put_be32(word, (uint32_t)crc);
	strbuf_add(out, word, 4);
}

static uint8_t channel(uint32_t pixel, unsigned int k)
{
	return (uint8_t)(pixel >> (16 - 8 * k));
}

/* All lines, filtered. */
static void filter(const struct surface *s, uint8_t *to)
{
	for (unsigned int y = 0; y < s->height; y++) {
		const uint32_t *line = s->pixels + (size_t)y * s->width;

		*to++ = FILTER_UP;
		for (unsigned int x = 0; x < s->width; x++)
			for (unsigned int k = 0; k < BYTES; k++) {
				uint8_t above = y ? channel(line[(ptrdiff_t)x - s->width], k) : 0;

				*to++ = (uint8_t)(channel(line[x], k) - above);
			}
	}
}

int png_write(const struct surface *s, struct strbuf *out)
{
	size_t raw = ((size_t)s->width * BYTES + 1) * s->height;
	uLongf packed = compressBound(raw);
	uint8_t header[13] = { 0 }, *lines, *data;
	int r = -ENOMEM;

	if (!raw || !s->pixels)
		return -EINVAL;
	lines = malloc(raw);
	data = malloc(packed);
	if (lines && data) {
		filter(s, lines);
		r = compress2(data, &packed, lines, raw, Z_BEST_SPEED) == Z_OK ? 0 : -ENOMEM;
	}
	if (r == 0) {
		put_be32(header, s->width);
		put_be32(header + 4, s->height);
		header[8] = 8;
		header[9] = COLOR_RGB;
		strbuf_add(out, "\x89PNG\r\n\x1a\n", 8);
		add_chunk(out, "IHDR", header, sizeof(header));
		add_chunk(out, "IDAT", data, packed);
		add_chunk(out, "IEND", NULL, 0);
	}
	free(lines);
	free(data);
	return r;
}
