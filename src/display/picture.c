/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From video memory to pixels. Every byte is read through vram_at(), so a picture whose geometry does not fit its
 * memory, as a guest may set it, is black there and nothing worse.
 *
 * Pictures are drawn whole. Tracking what the guest wrote was rejected: a screen is a few MiB, drawing and comparing
 * it costs about a millisecond and only while somebody looks, where tracking would cost every write of the guest.
 */
#include "display/picture.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

enum { ATTR_BLINK = 0x80, PLANES = 4 };

static uint8_t vram_at(const struct picture *p, size_t off)
{
	return off < p->vram_size ? p->vram[off] : 0;
}

/* --- text --- */

struct cell {
	uint8_t c, attr;
	bool has_cursor;
};

static struct cell cell_at(const struct picture *p, unsigned int col, unsigned int row)
{
	size_t off = p->start + row * p->stride + (size_t)col * PLANES;

	return (struct cell){ vram_at(p, off), vram_at(p, off + 1),
			      p->cursor >= 0 && (size_t)p->cursor == off };
}

/* Column 9 is empty, except that line drawing characters go on. */
static bool ninth(uint8_t c, uint8_t bits)
{
	return c >= 0xc0 && c <= 0xdf && (bits & 1);
}

static void draw_cell(const struct picture *p, struct cell cell, uint32_t *to, size_t pitch)
{
	size_t font = p->font[cell.attr >> 3 & 1] + (size_t)cell.c * 32;
	uint8_t back = cell.attr >> 4 & (p->has_blink ? 7 : 15);
	uint32_t fg = p->palette[cell.attr & 15], bg = p->palette[back];

	for (unsigned int y = 0; y < p->cell_height; y++, to += pitch) {
		uint8_t bits = vram_at(p, (font + y) * PLANES + 2);

		if (cell.has_cursor && y >= p->cursor_first && y <= p->cursor_last)
			bits = 0xff;
		for (unsigned int x = 0; x < 8; x++)
			to[x] = bits & 0x80 >> x ? fg : bg;
		if (p->cell_width == 9)
			to[8] = ninth(cell.c, bits) ? fg : bg;
	}
}

static void draw_text(const struct picture *p, struct surface *s)
{
	unsigned int cols = p->width / p->cell_width, rows = p->height / p->cell_height;

	for (unsigned int row = 0; row < rows; row++)
		for (unsigned int col = 0; col < cols; col++)
			draw_cell(p, cell_at(p, col, row),
				  s->pixels + (size_t)row * p->cell_height * s->width +
					  (size_t)col * p->cell_width,
				  s->width);
}

/* Code page 437, what an adapter's own font has above ASCII and below. */
static const char *const cp437_low[32] = {
	" ", "☺", "☻", "♥", "♦", "♣", "♠", "•", "◘", "○", "◙", "♂", "♀", "♪", "♫", "☼",
	"►", "◄", "↕", "‼", "¶", "§", "▬", "↨", "↑", "↓", "→", "←", "∟", "↔", "▲", "▼",
};
static const char *const cp437_high[128] = {
	"Ç", "ü", "é", "â", "ä", "à", "å", "ç", "ê", "ë", "è", "ï", "î", "ì", "Ä", "Å",
	"É", "æ", "Æ", "ô", "ö", "ò", "û", "ù", "ÿ", "Ö", "Ü", "¢", "£", "¥", "₧", "ƒ",
	"á", "í", "ó", "ú", "ñ", "Ñ", "ª", "º", "¿", "⌐", "¬", "½", "¼", "¡", "«", "»",
	"░", "▒", "▓", "│", "┤", "╡", "╢", "╖", "╕", "╣", "║", "╗", "╝", "╜", "╛", "┐",
	"└", "┴", "┬", "├", "─", "┼", "╞", "╟", "╚", "╔", "╩", "╦", "╠", "═", "╬", "╧",
	"╨", "╤", "╥", "╙", "╘", "╒", "╓", "╫", "╪", "┘", "┌", "█", "▄", "▌", "▐", "▀",
	"α", "ß", "Γ", "π", "Σ", "σ", "µ", "τ", "Φ", "Θ", "Ω", "δ", "∞", "φ", "ε", "∩",
	"≡", "±", "≥", "≤", "⌠", "⌡", "÷", "≈", "°", "∙", "·", "√", "ⁿ", "²", "■", " ",
};

void picture_text(const struct picture *p, struct strbuf *out)
{
	unsigned int cols, rows;

	if (p->kind != PICTURE_TEXT)
		return;
	cols = p->width / p->cell_width;
	rows = p->height / p->cell_height;
	for (unsigned int row = 0; row < rows; row++) {
		unsigned int end = cols;

		while (end && strchr(" ", cell_at(p, end - 1, row).c))
			end--; /* spaces and zeros */
		for (unsigned int col = 0; col < end; col++) {
			uint8_t c = cell_at(p, col, row).c;

			if (c < 32)
				strbuf_adds(out, cp437_low[c]);
			else if (c >= 128)
				strbuf_adds(out, cp437_high[c - 128]);
			else
				strbuf_addc(out, (char)c);
		}
		strbuf_addc(out, '\n');
	}
}

/* --- graphics --- */

static void draw_planar_line(const struct picture *p, size_t off, uint32_t *to)
{
	for (unsigned int x = 0; x < p->width; x++) {
		unsigned int bit = 7 - (x & 7), index = 0;

		for (unsigned int k = 0; k < PLANES; k++)
			index |= (vram_at(p, off + (x >> 3) * PLANES + k) >> bit & 1u) << k;
		to[x] = p->palette[index];
	}
}

static uint32_t widen(unsigned int v, unsigned int bits)
{
	return v * 255 / ((1u << bits) - 1);
}

static uint32_t rgb16(uint16_t v, unsigned int green_bits)
{
	unsigned int green = v >> 5 & ((1u << green_bits) - 1), red = v >> (5 + green_bits) & 31;

	return widen(red, 5) << 16 | widen(green, green_bits) << 8 | widen(v & 31, 5);
}

static void draw_rgb_line(const struct picture *p, const uint8_t *from, uint32_t *to)
{
	for (unsigned int x = 0; x < p->width; x++) {
		switch (p->depth) {
		case 15:
			to[x] = rgb16(get_le16(from + 2 * (size_t)x), 5);
			break;
		case 16:
			to[x] = rgb16(get_le16(from + 2 * (size_t)x), 6);
			break;
		case 24:
			to[x] = (uint32_t)get_le(from + 3 * (size_t)x, 3);
			break;
		default:
			to[x] = get_le32(from + 4 * (size_t)x) & 0xffffff;
		}
	}
}

static void draw_line(const struct picture *p, unsigned int y, uint32_t *to)
{
	size_t off = p->start + y * p->stride, n = (size_t)p->width * ((p->depth + 7) / 8);

	if (p->kind == PICTURE_PLANAR) {
		draw_planar_line(p, off, to);
	} else if (p->kind == PICTURE_INDEX8) {
		for (unsigned int x = 0; x < p->width; x++)
			to[x] = p->palette[vram_at(p, off + x)];
	} else if (off <= p->vram_size && n <= p->vram_size - off) {
		draw_rgb_line(p, p->vram + off, to);
	} else {
		memset(to, 0, p->width * sizeof(*to));
	}
}

/* A surface of the picture's size. Returns whether that is a new one. */
static bool fit(const struct picture *p, struct surface *s)
{
	if (s->pixels && s->width == p->width && s->height == p->height)
		return false;
	free(s->pixels);
	*s = (struct surface){ .width = p->width, .height = p->height };
	s->pixels = mem_new_n((size_t)p->width * p->height, sizeof(*s->pixels));
	return true;
}

/* What blank screens are drawn as. */
static const struct picture blank = { .width = 640, .height = 400 };

bool picture_draw(const struct picture *p, struct surface *s)
{
	bool is_blank = p->kind == PICTURE_BLANK || !p->width || !p->height ||
			p->width > PICTURE_MAX_SIDE || p->height > PICTURE_MAX_SIDE;
	bool changed = fit(is_blank ? &blank : p, s);

	if (is_blank || p->kind == PICTURE_TEXT)
		memset(s->pixels, 0, (size_t)s->width * s->height * sizeof(*s->pixels));
	if (is_blank)
		return changed;
	if (p->kind == PICTURE_TEXT)
		draw_text(p, s);
	for (unsigned int y = 0; p->kind != PICTURE_TEXT && y < p->height; y++)
		draw_line(p, y, s->pixels + (size_t)y * s->width);
	return changed;
}

void surface_done(struct surface *s)
{
	free(s->pixels);
	*s = (struct surface){ 0 };
}
