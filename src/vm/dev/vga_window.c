/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legacy window: how a byte at 0xa0000-0xbffff reaches four planes of 64 KiB. In chained modes the low address
 * bits choose the plane; otherwise a read fills a latch from all planes, and a write goes through a little
 * arithmetic unit of masks, rotation and the latch.
 *
 * Source: IBM VGA Technical Reference, graphics controller.
 */
#include "base/bytes.h"
#include "vm/dev/vga_priv.h"

/* The four low bits of @v, each widened to a byte. */
static uint32_t spread(uint8_t v)
{
	return (v & 1 ? 0xffu : 0) | (v & 2 ? 0xff00u : 0) | (v & 4 ? 0xff0000u : 0) |
	       (v & 8 ? 0xff000000u : 0);
}

static uint32_t repeat(uint8_t v)
{
	return v * UINT32_C(0x01010101);
}

static bool is_linear(const struct vga *v)
{
	return (v->dispi[DISPI_ENABLE] & DISPI_ON) && v->dispi[DISPI_BPP] >= 8;
}

/* The window's part that is on now: where it begins, and its length. Returns whether @off is in it. */
static bool decode(const struct vga *v, uint32_t *off)
{
	static const struct {
		uint32_t base, len;
	} map[4] = { { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };
	unsigned int k = is_linear(v) ? 1 : v->gr[GR_MISC] >> 2 & 3;

	if (*off < map[k].base || *off - map[k].base >= map[k].len)
		return false;
	*off -= map[k].base;
	return true;
}

/* In linear modes the window shows 64 KiB of the memory. */
static uint8_t *bank_byte(struct vga *v, uint32_t off)
{
	uint64_t at = (uint64_t)v->dispi[DISPI_BANK] * DISPI_BANK_SIZE + off;

	return at < VGA_MEMORY ? &v->vram[at] : NULL;
}

static bool is_chain4(const struct vga *v)
{
	return v->seq[SEQ_MEMORY] & MEMORY_CHAIN4;
}

static bool is_odd_even(const struct vga *v)
{
	return v->gr[GR_MODE] & MODE_ODD_EVEN;
}

/* Text: even addresses are plane 0, odd ones plane 1. Returns the byte in video memory, and its plane. */
static uint32_t odd_even(const struct vga *v, uint32_t off, unsigned int *ret_plane)
{
	*ret_plane = (v->gr[GR_READ_PLANE] & 2) | (off & 1);
	return (off & ~1u) << 1 | *ret_plane;
}

/* Four bytes at the same address of the planes, in 16-color linear modes with a bank. */
static uint8_t *planes(struct vga *v, uint32_t off)
{
	uint64_t at = off;

	if (v->dispi[DISPI_ENABLE] & DISPI_ON)
		at += (uint64_t)v->dispi[DISPI_BANK] * DISPI_BANK_SIZE;
	at *= 4;
	return at + 4 <= VGA_MEMORY ? &v->vram[at] : NULL;
}

uint8_t vga_window_read(struct vga *v, uint32_t off)
{
	unsigned int plane;
	uint32_t diff;
	uint8_t *p;

	if (!decode(v, &off))
		return 0xff;
	if (is_linear(v)) {
		p = bank_byte(v, off);
		return p ? *p : 0xff;
	}
	if (is_chain4(v))
		return v->vram[off];
	if (is_odd_even(v))
		return v->vram[odd_even(v, off, &plane)];
	p = planes(v, off);
	if (!p)
		return 0xff;
	v->latch = get_le32(p);
	if (!(v->gr[GR_MODE] & MODE_READ1))
		return p[v->gr[GR_READ_PLANE] & 3];
	/* Bits where the planes that count have the color to compare with. */
	diff = (v->latch ^ spread(v->gr[GR_COMPARE])) & spread(v->gr[GR_DONT_CARE]);
	diff |= diff >> 16;
	diff |= diff >> 8;
	return (uint8_t)~diff;
}

static uint8_t rotated(const struct vga *v, uint8_t value)
{
	unsigned int n = v->gr[GR_ROTATE] & 7;

	return (uint8_t)(value >> n | value << (8 - n));
}

/* What the arithmetic unit makes of a byte for the four planes. */
static uint32_t compute(const struct vga *v, uint8_t value)
{
	uint32_t out, mask = repeat(v->gr[GR_BIT_MASK]), set;

	switch (v->gr[GR_MODE] & 3) {
	case 0:
		set = spread(v->gr[GR_ENABLE_SET]);
		out = (repeat(rotated(v, value)) & ~set) | (spread(v->gr[GR_SET_RESET]) & set);
		break;
	case 1:
		return v->latch;
	case 2:
		out = spread(value);
		break;
	default:
		mask &= repeat(rotated(v, value));
		out = spread(v->gr[GR_SET_RESET]);
	}
	switch (v->gr[GR_ROTATE] >> 3 & 3) {
	case 1:
		out &= v->latch;
		break;
	case 2:
		out |= v->latch;
		break;
	case 3:
		out ^= v->latch;
		break;
	default:
		break;
	}
	return (out & mask) | (v->latch & ~mask);
}

void vga_window_write(struct vga *v, uint32_t off, uint8_t value)
{
	uint8_t enabled = v->seq[SEQ_PLANE_MASK];
	unsigned int plane;
	uint32_t mask;
	uint8_t *p;

	if (!decode(v, &off))
		return;
	if (is_linear(v)) {
		p = bank_byte(v, off);
		if (p)
			*p = value;
	} else if (is_chain4(v)) {
		if (enabled & 1 << (off & 3))
			v->vram[off] = value;
	} else if (is_odd_even(v)) {
		off = odd_even(v, off, &plane);
		if (enabled & 1 << plane)
			v->vram[off] = value;
	} else {
		p = planes(v, off);
		mask = spread(enabled);
		if (p)
			put_le32(p, (compute(v, value) & mask) | (get_le32(p) & ~mask));
	}
}
