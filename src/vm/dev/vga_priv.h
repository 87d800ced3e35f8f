/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_VGA_PRIV_H
#define VM_DEV_VGA_PRIV_H

#include "vm/dev/vga.h"

/* Registers, by their names in the IBM VGA manual; bits where we act on them. */
enum {
	SEQ_CLOCKING = 1,
	SEQ_PLANE_MASK = 2,
	SEQ_FONT = 3,
	SEQ_MEMORY = 4,
	CLOCKING_8DOT = 0x01,
	CLOCKING_OFF = 0x20,
	MEMORY_CHAIN4 = 0x08,

	GR_SET_RESET = 0,
	GR_ENABLE_SET = 1,
	GR_COMPARE = 2,
	GR_ROTATE = 3,
	GR_READ_PLANE = 4,
	GR_MODE = 5,
	GR_MISC = 6,
	GR_DONT_CARE = 7,
	GR_BIT_MASK = 8,
	MODE_READ1 = 0x08,
	MODE_ODD_EVEN = 0x10,
	MODE_CGA4 = 0x20,
	MODE_256 = 0x40,
	GR_MISC_GRAPHICS = 0x01,

	CRTC_HDISP_END = 0x01,
	CRTC_OVERFLOW = 0x07,
	CRTC_MAX_SCAN = 0x09,
	CRTC_CURSOR_START = 0x0a,
	CRTC_CURSOR_END = 0x0b,
	CRTC_START_HIGH = 0x0c,
	CRTC_START_LOW = 0x0d,
	CRTC_CURSOR_HIGH = 0x0e,
	CRTC_CURSOR_LOW = 0x0f,
	CRTC_VSYNC_END = 0x11,
	CRTC_VDISP_END = 0x12,
	CRTC_OFFSET = 0x13,
	CRTC_PROTECT = 0x80,

	ATTR_MODE = 0x10,
	ATTR_PLANES = 0x12,
	ATTR_COLOR_SELECT = 0x14,
	ATTR_MODE_BLINK = 0x08,
	ATTR_MODE_P54S = 0x80,

	DISPI_ID = 0,
	DISPI_XRES = 1,
	DISPI_YRES = 2,
	DISPI_BPP = 3,
	DISPI_ENABLE = 4,
	DISPI_BANK = 5,
	DISPI_VIRT_WIDTH = 6,
	DISPI_VIRT_HEIGHT = 7,
	DISPI_X_OFFSET = 8,
	DISPI_Y_OFFSET = 9,
	DISPI_MEMORY_64K = 10,
	DISPI_ON = 0x01,
	DISPI_GETCAPS = 0x02,
	DISPI_8BIT_DAC = 0x20,
	DISPI_NOCLEAR = 0x80,
	DISPI_BANK_SIZE = 64 << 10,

	VGA_WINDOW = 0x20000, /* bytes at 0xa0000 */
};

/* vga_dispi_read, vga_dispi_write - the linear modes' registers. Under the lock. */
uint16_t vga_dispi_read(const struct vga *v, unsigned int index);
void vga_dispi_write(struct vga *v, unsigned int index, uint16_t value);

/* vga_dispi_stride - bytes from line to line in a linear mode. Under the lock. */
size_t vga_dispi_stride(const struct vga *v);

/* vga_window_read, vga_window_write - a byte of the legacy window, @off from 0xa0000. Under the lock. */
uint8_t vga_window_read(struct vga *v, uint32_t off);
void vga_window_write(struct vga *v, uint32_t off, uint8_t value);

/* vga_port_read, vga_port_write - a byte at port 0x3b0 + @off, below 0x30. Under the lock. */
uint8_t vga_port_read(struct vga *v, unsigned int off);
void vga_port_write(struct vga *v, unsigned int off, uint8_t value);

/* vga_make_edid - fill v->edid. */
void vga_make_edid(struct vga *v);

#endif
