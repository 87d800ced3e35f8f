/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legacy registers: five groups behind index and data ports, and the palette. Nothing here draws; a picture is
 * made from the registers when somebody looks (vga_picture.c). Only the retrace bits move, with the clock, because
 * software waits for both of their values.
 *
 * Source: IBM VGA Technical Reference; FreeVGA's description of the ports.
 */
#include "base/clock.h"
#include "vm/dev/vga_priv.h"

/* From port 0x3b0. */
enum {
	MONO_CRTC = 0x04, /* index, data at the next */
	MONO_STATUS = 0x0a,
	ATTR = 0x10,
	ATTR_READ = 0x11,
	MISC_WRITE = 0x12, /* read: input status 0 */
	SEQ = 0x14,
	SEQ_DATA = 0x15,
	PEL_MASK = 0x16,
	DAC_READ = 0x17, /* read: state */
	DAC_WRITE = 0x18,
	DAC_DATA = 0x19,
	FEATURE_READ = 0x1a,
	MISC_READ = 0x1c,
	GR = 0x1e,
	GR_DATA = 0x1f,
	COLOR_CRTC = 0x24,
	COLOR_STATUS = 0x2a,

	MISC_COLOR = 1,
	STATUS_BLANK = 1,
	STATUS_RETRACE = 8,
	ATTR_PALETTE_ON = 0x20,
};

#define FRAME_NS   (NS_PER_S / 60)
#define LINE_NS	   (FRAME_NS / 525)
#define RETRACE_NS (FRAME_NS / 20)

static uint8_t status1(const struct vga *v)
{
	uint64_t t = clock_now(v->clock) % FRAME_NS;

	if (t < RETRACE_NS)
		return STATUS_RETRACE | STATUS_BLANK;
	return t % LINE_NS < LINE_NS / 5 ? STATUS_BLANK : 0;
}

static uint8_t dac_read(struct vga *v)
{
	uint8_t value = v->dac[v->dac_read][v->dac_part];

	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_read++;
	}
	return value;
}

static void dac_write(struct vga *v, uint8_t value)
{
	/* A color takes effect when it is complete; nobody looks in between. */
	if (!(v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC))
		value &= 63;
	v->dac[v->dac_write][v->dac_part] = value;
	if (++v->dac_part == 3) {
		v->dac_part = 0;
		v->dac_write++;
	}
}

/* Registers of the group that does not answer now, monochrome or color, do not exist. */
static unsigned int crtc_port(const struct vga *v, unsigned int off)
{
	unsigned int base = v->misc & MISC_COLOR ? COLOR_CRTC : MONO_CRTC;

	return off - base;
}

uint8_t vga_port_read(struct vga *v, unsigned int off)
{
	switch (off) {
	case ATTR:
		return v->attr_index;
	case ATTR_READ:
		return v->attr[v->attr_index & 31];
	case MISC_WRITE:
		return 0x10; /* a monitor is there */
	case SEQ:
		return v->seq_index;
	case SEQ_DATA:
		return v->seq[v->seq_index & 7];
	case PEL_MASK:
		return v->pel_mask;
	case DAC_READ:
		return v->dac_is_read ? 3 : 0;
	case DAC_WRITE:
		return v->dac_write;
	case DAC_DATA:
		return dac_read(v);
	case FEATURE_READ:
		return v->feature;
	case MISC_READ:
		return v->misc;
	case GR:
		return v->gr_index;
	case GR_DATA:
		return v->gr[v->gr_index & 15];
	default:
		break;
	}
	switch (crtc_port(v, off)) {
	case 0:
		return v->crtc_index;
	case 1:
		return v->crtc[v->crtc_index & 31];
	case COLOR_STATUS - COLOR_CRTC:
		v->attr_data = false;
		return status1(v);
	default:
		return 0xff;
	}
}

static void attr_write(struct vga *v, uint8_t value)
{
	unsigned int index = v->attr_index & 31;

	if (!v->attr_data)
		v->attr_index = value & (ATTR_PALETTE_ON | 31);
	else
		v->attr[index] = index < ATTR_MODE ? value & 63 : value;
	v->attr_data = !v->attr_data;
}

static void crtc_write(struct vga *v, uint8_t value)
{
	unsigned int index = v->crtc_index & 31;

	if ((v->crtc[CRTC_VSYNC_END] & CRTC_PROTECT) && index <= CRTC_OVERFLOW) {
		/* But for one bit of the line compare register. */
		if (index == CRTC_OVERFLOW)
			v->crtc[index] = (uint8_t)((v->crtc[index] & ~0x10) | (value & 0x10));
		return;
	}
	v->crtc[index] = value;
}

void vga_port_write(struct vga *v, unsigned int off, uint8_t value)
{
	switch (off) {
	case ATTR:
		attr_write(v, value);
		return;
	case MISC_WRITE:
		v->misc = value & 0xef;
		return;
	case SEQ:
		v->seq_index = value & 7;
		return;
	case SEQ_DATA:
		v->seq[v->seq_index] = value;
		return;
	case PEL_MASK:
		v->pel_mask = value;
		return;
	case DAC_READ:
		v->dac_read = value;
		v->dac_part = 0;
		v->dac_is_read = true;
		return;
	case DAC_WRITE:
		v->dac_write = value;
		v->dac_part = 0;
		v->dac_is_read = false;
		return;
	case DAC_DATA:
		dac_write(v, value);
		return;
	case GR:
		v->gr_index = value & 15;
		return;
	case GR_DATA:
		v->gr[v->gr_index] = value;
		return;
	default:
		break;
	}
	switch (crtc_port(v, off)) {
	case 0:
		v->crtc_index = value & 31;
		break;
	case 1:
		crtc_write(v, value);
		break;
	case COLOR_STATUS - COLOR_CRTC:
		v->feature = value & 0x0f;
		break;
	default:
		break;
	}
}
