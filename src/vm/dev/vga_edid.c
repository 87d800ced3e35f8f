/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the monitor says about itself: a digital one, with the preferred mode and the usual others.
 *
 * Source: VESA E-EDID standard, release A revision 2 (EDID 1.4), 3.1 to 3.10.
 */
#include <string.h>

#include "base/bytes.h"
#include "vm/dev/vga_priv.h"

enum {
	EDID_VENDOR = 8, /* three letters of five bits */
	EDID_VERSION = 18,
	EDID_INPUT = 20,
	EDID_GAMMA = 23,
	EDID_FEATURES = 24,
	EDID_COLORS = 25,
	EDID_ESTABLISHED = 35,
	EDID_STANDARD = 38,
	EDID_DETAILED = 54,
	DETAILED_SIZE = 18,
	EDID_CHECKSUM = 127,
};

static uint16_t letters(const char *s)
{
	return (uint16_t)((s[0] - '@') << 10 | (s[1] - '@') << 5 | (s[2] - '@'));
}

/* The preferred mode at 60 Hz with reduced blanking, as CVT has it. */
static void detailed(uint8_t *p, unsigned int width, unsigned int height)
{
	const unsigned int hblank = 160, hfront = 48, hsync = 32, vblank = 23, vfront = 3,
			   vsync = 6;
	unsigned int clock_10khz = (width + hblank) * (height + vblank) * 60 / 10000;

	put_le16(p, (uint16_t)clock_10khz);
	p[2] = (uint8_t)width;
	p[3] = hblank;
	p[4] = (uint8_t)(width >> 8 << 4);
	p[5] = (uint8_t)height;
	p[6] = vblank;
	p[7] = (uint8_t)(height >> 8 << 4);
	p[8] = hfront;
	p[9] = hsync;
	p[10] = (uint8_t)(vfront << 4 | vsync);
	p[17] = 0x1a; /* digital, separate sync, horizontal positive */
}

static void text(uint8_t *p, uint8_t tag, const char *s)
{
	p[3] = tag;
	memset(p + 5, ' ', 13);
	memcpy(p + 5, s, strlen(s));
	p[5 + strlen(s)] = '\n';
}

void vga_make_edid(struct vga *v)
{
	static const uint8_t magic[8] = { 0, 255, 255, 255, 255, 255, 255, 0 };
	/* sRGB. */
	static const uint8_t colors[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c,
					    0x99, 0x26, 0x0f, 0x50, 0x54 };
	/* Width / 8 - 31, then aspect ratio and 60 Hz: 1920x1080, 1600x1200, 1280x1024, 1024x768, 800x600. */
	static const uint8_t standard[10] = { 209, 0xc0, 169, 0x40, 129, 0x80, 97, 0x40, 69, 0x40 };
	uint8_t *e = v->edid;

	memset(e, 0, VGA_EDID_SIZE);
	memcpy(e, magic, sizeof(magic));
	put_be16(e + EDID_VENDOR, letters("ATL"));
	put_le16(e + EDID_VENDOR + 2, 1);
	e[16] = 1;
	e[17] = 2024 - 1990;
	e[EDID_VERSION] = 1;
	e[EDID_VERSION + 1] = 4;
	e[EDID_INPUT] = 0xa5; /* digital, 8 bits a color, DisplayPort */
	e[EDID_GAMMA] = 120;
	e[EDID_FEATURES] = 0x06; /* sRGB, the first timing is the native one */
	memcpy(e + EDID_COLORS, colors, sizeof(colors));
	e[EDID_ESTABLISHED] = 0x21;	/* 640x480, 800x600 at 60 Hz */
	e[EDID_ESTABLISHED + 1] = 0x08; /* 1024x768 at 60 Hz */
	memset(e + EDID_STANDARD, 1, 16);
	memcpy(e + EDID_STANDARD, standard, sizeof(standard));
	detailed(e + EDID_DETAILED, VGA_PREFERRED_WIDTH, VGA_PREFERRED_HEIGHT);
	text(e + EDID_DETAILED + DETAILED_SIZE, 0xfc, "Atoll");
	text(e + EDID_DETAILED + 2 * DETAILED_SIZE, 0xff, "0");
	e[EDID_DETAILED + 3 * DETAILED_SIZE + 3] = 0x10; /* unused */
	e[EDID_CHECKSUM] = byte_sum_complement(e, EDID_CHECKSUM);
}
