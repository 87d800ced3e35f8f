/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_PICTURE_H
#define ATOLL_DISPLAY_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/*
 * What a display adapter shows, described by the adapter and drawn by us: pure functions of this struct and of video
 * memory, which a guest may be changing meanwhile (a picture then shows some of both).
 *
 * Video memory of VGA modes is kept with its four planes interleaved: byte n of plane p is at 4 * n + p.
 */
enum picture_kind {
	PICTURE_BLANK,
	PICTURE_TEXT,	/* cells of character (plane 0) and attribute (plane 1), fonts in plane 2 */
	PICTURE_PLANAR, /* 16 colours, a bit of each plane a pixel */
	PICTURE_INDEX8, /* 256 colours, a byte a pixel */
	PICTURE_RGB,	/* linear; depth says how */
};

enum { PICTURE_MAX_SIDE = 8192, PICTURE_FONT_SIZE = 8192 };

struct picture {
	enum picture_kind kind;
	unsigned int width, height; /* pixels, at most PICTURE_MAX_SIDE; 0 only when blank */
	const uint8_t *vram;
	size_t vram_size;
	size_t start, stride;	  /* bytes of the first line, and from line to line */
	unsigned int depth;	  /* PICTURE_RGB: 15, 16, 24 or 32 bits a pixel */
	uint32_t palette[256];	  /* 0xrrggbb */
	unsigned int cell_width;  /* PICTURE_TEXT: 8 or 9 */
	unsigned int cell_height; /* 1 to 32 */
	size_t font[2];		  /* byte of plane 2 where each font begins, [1]: attribute bit 3 */
	bool has_blink;		  /* attribute bit 7 is not the background's */
	int cursor;		  /* cell's byte in video memory; negative: none */
	unsigned int cursor_first, cursor_last; /* its lines */
};

/* An image of width * height pixels 0x00rrggbb, top left first. Zeroed is empty. */
struct surface {
	unsigned int width, height;
	uint32_t *pixels;
};

/*
 * picture_draw - draw into a surface, whose size follows the picture's. What lies outside of video memory is black.
 *
 * @s: surface_done(). Returns whether its size has changed. Thread: owner of @s.
 */
bool picture_draw(const struct picture *p, struct surface *s);
void surface_done(struct surface *s);

/* picture_text - append the characters of a text mode as UTF-8, a line each without trailing spaces; nothing for
 * other modes. Thread: any. */
void picture_text(const struct picture *p, struct strbuf *out);

#endif
