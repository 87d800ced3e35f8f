/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the adapter's registers to a picture: which kind of mode, how large, where in memory, which colors. */
#include "sys/thread.h"
#include "vm/dev/vga_priv.h"

enum { TEXT_PLANE_BYTES = 4 };

static uint32_t color(const struct vga *v, uint8_t index)
{
	const uint8_t *c = v->dac[index & v->pel_mask];
	uint32_t rgb = 0;

	for (unsigned int k = 0; k < 3; k++) {
		unsigned int part = c[k];

		if (!(v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC))
			part = (part & 63) << 2 | (part & 63) >> 4;
		rgb = rgb << 8 | part;
	}
	return rgb;
}

/* 16 colors go through the attribute controller's palette first. */
static void palette16(const struct vga *v, struct picture *p)
{
	uint8_t select = v->attr[ATTR_COLOR_SELECT];

	for (unsigned int k = 0; k < 16; k++) {
		uint8_t c = v->attr[k & v->attr[ATTR_PLANES] & 15] & 63;

		if (v->attr[ATTR_MODE] & ATTR_MODE_P54S)
			c = (uint8_t)((c & 15) | (select & 3) << 4);
		p->palette[k] = color(v, (uint8_t)(c | (select & 12) << 4));
	}
}

static void palette256(const struct vga *v, struct picture *p)
{
	for (unsigned int k = 0; k < 256; k++)
		p->palette[k] = color(v, (uint8_t)k);
}

static unsigned int lines(const struct vga *v)
{
	uint8_t over = v->crtc[CRTC_OVERFLOW];

	return (v->crtc[CRTC_VDISP_END] | (over & 2u) << 7 | (over & 0x40u) << 3) + 1;
}

static unsigned int word(const struct vga *v, unsigned int high)
{
	return v->crtc[high] << 8 | v->crtc[high + 1];
}

/* The two fonts' places in plane 2: 8 KiB steps in an order that history made. */
static size_t font_at(uint8_t select)
{
	return ((select & 3u) << 1 | (select & 4u) >> 2) * (size_t)PICTURE_FONT_SIZE;
}

static void text_picture(const struct vga *v, struct picture *p)
{
	uint8_t f = v->seq[SEQ_FONT], start = v->crtc[CRTC_CURSOR_START];

	p->kind = PICTURE_TEXT;
	p->cell_height = (v->crtc[CRTC_MAX_SCAN] & 31) + 1;
	p->cell_width = v->seq[SEQ_CLOCKING] & CLOCKING_8DOT ? 8 : 9;
	p->width = (v->crtc[CRTC_HDISP_END] + 1u) * p->cell_width;
	p->height = lines(v) / p->cell_height * p->cell_height;
	p->stride = (size_t)v->crtc[CRTC_OFFSET] * 2 * TEXT_PLANE_BYTES;
	p->start = (size_t)word(v, CRTC_START_HIGH) * TEXT_PLANE_BYTES;
	p->font[0] = font_at((uint8_t)((f & 3) | (f >> 2 & 4)));
	p->font[1] = font_at((uint8_t)((f >> 2 & 3) | (f >> 3 & 4)));
	p->has_blink = v->attr[ATTR_MODE] & ATTR_MODE_BLINK;
	p->cursor = start & 0x20 ? -1 : (int)(word(v, CRTC_CURSOR_HIGH) * TEXT_PLANE_BYTES);
	p->cursor_first = start & 31;
	p->cursor_last = v->crtc[CRTC_CURSOR_END] & 31;
	palette16(v, p);
}

static void graphics_picture(const struct vga *v, struct picture *p)
{
	bool is_256 = v->gr[GR_MODE] & MODE_256;
	uint8_t scan = v->crtc[CRTC_MAX_SCAN];
	unsigned int repeat = ((scan & 31) + 1u) << (scan >> 7);

	if (v->gr[GR_MODE] & MODE_CGA4)
		return; /* 4 colors in interleaved banks, as before 1987: not drawn */
	p->kind = is_256 ? PICTURE_INDEX8 : PICTURE_PLANAR;
	p->width = (v->crtc[CRTC_HDISP_END] + 1u) * (is_256 ? 4 : 8);
	p->height = lines(v) / repeat;
	p->stride = (size_t)v->crtc[CRTC_OFFSET] * 8;
	p->start = (size_t)word(v, CRTC_START_HIGH) * 4;
	if (is_256)
		palette256(v, p);
	else
		palette16(v, p);
}

static void linear_picture(const struct vga *v, struct picture *p)
{
	unsigned int bpp = v->dispi[DISPI_BPP];
	size_t stride = vga_dispi_stride(v), x = v->dispi[DISPI_X_OFFSET];

	p->width = v->dispi[DISPI_XRES];
	p->height = v->dispi[DISPI_YRES];
	p->stride = stride;
	p->start = v->dispi[DISPI_Y_OFFSET] * stride;
	if (bpp == 4) {
		p->kind = PICTURE_PLANAR;
		p->start += x / 8 * 4;
		palette16(v, p);
	} else if (bpp == 8) {
		p->kind = PICTURE_INDEX8;
		p->start += x;
		palette256(v, p);
	} else {
		p->kind = PICTURE_RGB;
		p->depth = bpp;
		p->start += x * ((bpp + 7) / 8);
	}
}

void vga_picture(struct vga *v, struct picture *ret)
{
	*ret = (struct picture){ .vram = v->vram, .vram_size = VGA_MEMORY, .cursor = -1 };
	mutex_guard(&v->lock);
	if (v->dispi[DISPI_ENABLE] & DISPI_ON)
		linear_picture(v, ret);
	else if (!(v->attr_index & 0x20) || (v->seq[SEQ_CLOCKING] & CLOCKING_OFF))
		return; /* the palette is being loaded, or the screen is off */
	else if (v->gr[GR_MISC] & GR_MISC_GRAPHICS)
		graphics_picture(v, ret);
	else
		text_picture(v, ret);
}
