/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The adapter on its buses: PCI device, legacy ranges, and the registers of linear modes.
 *
 * A linear mode is on while its enable bit is; the legacy registers keep what they hold and do not count meanwhile.
 * Geometry is checked when it is written, so that a mode never reaches beyond the memory: sizes that do not fit are
 * cut, as the adapter that this follows does.
 *
 * Sources: Bochs, "VBE display API"; QEMU docs/specs/standard-vga; VESA E-EDID 1.4.
 */
#include "vm/dev/vga.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/dev/vga_priv.h"
#include "vm/snapshot/state.h"

enum {
	VENDOR = 0x1234,
	DEVICE = 0x1111,
	CLASS_VGA = 0x030000,
	REVISION = 2,
	SUBSYSTEM_VENDOR = 0x1af4,
	SUBSYSTEM = 0x1100,

	PORTS = 0x3b0,
	NR_PORTS = 0x30,
	DISPI_PORTS = 0x1ce,
	NR_DISPI_PORTS = 4,

	REGISTERS_SIZE = 4096,
	OFF_VGA = 0x400, /* ports 0x3c0 to 0x3df */
	OFF_VGA_END = 0x420,
	OFF_DISPI = 0x500,

	DISPI_ID0 = 0xb0c0,
	DISPI_ID5 = 0xb0c5,
	MAX_XRES = 8192,
	MAX_YRES = 8192,
	MAX_BPP = 32,
};

#define WINDOW_BASE UINT64_C(0xa0000)

/* --- linear modes --- */

static size_t bytes_of(const struct vga *v, size_t pixels)
{
	unsigned int bpp = v->dispi[DISPI_BPP];

	return bpp == 4 ? pixels / 2 : pixels * ((bpp + 7) / 8);
}

size_t vga_dispi_stride(const struct vga *v)
{
	return bytes_of(v, v->dispi[DISPI_VIRT_WIDTH]);
}

/* Every register within what the memory and the others allow. */
static void fix_geometry(struct vga *v)
{
	uint16_t *d = v->dispi;
	size_t stride, rows;

	if (d[DISPI_BPP] != 4 && d[DISPI_BPP] != 8 && d[DISPI_BPP] != 15 && d[DISPI_BPP] != 16 &&
	    d[DISPI_BPP] != 24 && d[DISPI_BPP] != 32)
		d[DISPI_BPP] = 8;
	d[DISPI_XRES] = MIN(MAX(d[DISPI_XRES] & ~7, 8), MAX_XRES);
	d[DISPI_VIRT_WIDTH] = MIN(MAX(d[DISPI_VIRT_WIDTH] & ~7, d[DISPI_XRES]), 2 * MAX_XRES);
	stride = vga_dispi_stride(v);
	rows = MIN(VGA_MEMORY / stride, (size_t)UINT16_MAX);
	d[DISPI_YRES] =
		(uint16_t)MIN(MAX((size_t)d[DISPI_YRES], (size_t)1), MIN(rows, (size_t)MAX_YRES));
	d[DISPI_VIRT_HEIGHT] = (uint16_t)rows;
	d[DISPI_X_OFFSET] = MIN(d[DISPI_X_OFFSET], d[DISPI_VIRT_WIDTH] - d[DISPI_XRES]);
	d[DISPI_Y_OFFSET] = MIN(d[DISPI_Y_OFFSET], d[DISPI_VIRT_HEIGHT] - d[DISPI_YRES]);
}

static void write_enable(struct vga *v, uint16_t value)
{
	uint16_t *d = v->dispi;

	if ((value & DISPI_ON) && !(d[DISPI_ENABLE] & DISPI_ON)) {
		d[DISPI_VIRT_WIDTH] = 0; /* as wide as what is shown */
		d[DISPI_X_OFFSET] = d[DISPI_Y_OFFSET] = 0;
		fix_geometry(v);
		if (!(value & DISPI_NOCLEAR))
			memset(v->vram, 0, d[DISPI_YRES] * vga_dispi_stride(v));
	}
	d[DISPI_BANK] = 0;
	d[DISPI_ENABLE] = value;
}

void vga_dispi_write(struct vga *v, unsigned int index, uint16_t value)
{
	bool is_on = v->dispi[DISPI_ENABLE] & DISPI_ON;

	switch (index) {
	case DISPI_ID:
		if (value >= DISPI_ID0 && value <= DISPI_ID5)
			v->dispi[DISPI_ID] = value;
		return;
	case DISPI_ENABLE:
		write_enable(v, value);
		return;
	case DISPI_BANK:
		v->dispi[index] = value & (VGA_MEMORY / DISPI_BANK_SIZE - 1);
		return;
	case DISPI_XRES:
	case DISPI_YRES:
	case DISPI_BPP:
		if (is_on) /* a mode is set while it is off */
			return;
		break;
	case DISPI_VIRT_WIDTH:
	case DISPI_X_OFFSET:
	case DISPI_Y_OFFSET:
		break;
	default:
		return;
	}
	v->dispi[index] = value;
	if (is_on)
		fix_geometry(v);
}

uint16_t vga_dispi_read(const struct vga *v, unsigned int index)
{
	if (index == DISPI_MEMORY_64K)
		return VGA_MEMORY >> 16;
	if (v->dispi[DISPI_ENABLE] & DISPI_GETCAPS) {
		if (index == DISPI_XRES)
			return MAX_XRES;
		if (index == DISPI_YRES)
			return MAX_YRES;
		if (index == DISPI_BPP)
			return MAX_BPP;
	}
	return index < VGA_NR_DISPI ? v->dispi[index] : 0;
}

static uint64_t dispi_port_read(void *arg, uint64_t off, unsigned int size)
{
	struct vga *v = arg;

	if (size != 2)
		return UINT64_MAX;
	mutex_guard(&v->lock);
	return off ? vga_dispi_read(v, v->dispi_index) : v->dispi_index;
}

static void dispi_port_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vga *v = arg;

	if (size != 2)
		return;
	mutex_guard(&v->lock);
	if (off)
		vga_dispi_write(v, v->dispi_index, (uint16_t)value);
	else
		v->dispi_index = (uint16_t)value;
}

/* --- ranges --- */

static uint64_t port_read(void *arg, uint64_t off, unsigned int size)
{
	struct vga *v = arg;

	mutex_guard(&v->lock);
	return vga_port_read(v, (unsigned int)off);
}

static void port_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vga *v = arg;

	mutex_guard(&v->lock);
	vga_port_write(v, (unsigned int)off, (uint8_t)value);
}

static uint64_t window_read(void *arg, uint64_t off, unsigned int size)
{
	struct vga *v = arg;
	uint64_t value = 0;

	mutex_guard(&v->lock);
	for (unsigned int k = 0; k < size; k++)
		value |= (uint64_t)vga_window_read(v, (uint32_t)off + k) << (8 * k);
	return value;
}

static void window_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vga *v = arg;

	mutex_guard(&v->lock);
	for (unsigned int k = 0; k < size; k++)
		vga_window_write(v, (uint32_t)off + k, (uint8_t)(value >> (8 * k)));
}

/* The frame buffer, where CPUs do not see it as memory. */
static uint64_t vram_read(void *arg, uint64_t off, unsigned int size)
{
	const struct vga *v = arg;

	return get_le(v->vram + off, size);
}

static void vram_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vga *v = arg;

	put_le(v->vram + off, value, size);
}

static uint64_t registers_read(void *arg, uint64_t off, unsigned int size)
{
	struct vga *v = arg;
	uint64_t value = 0;

	mutex_guard(&v->lock);
	if (range_ok(off, size, VGA_EDID_SIZE))
		return get_le(v->edid + off, size);
	if (off >= OFF_DISPI && off < OFF_DISPI + 2 * VGA_NR_DISPI)
		return vga_dispi_read(v, (unsigned int)(off - OFF_DISPI) / 2);
	for (unsigned int k = 0; k < size; k++, off++)
		if (off >= OFF_VGA && off < OFF_VGA_END)
			value |= (uint64_t)vga_port_read(v, (unsigned int)(off - OFF_VGA + 0x10))
				 << (8 * k);
	return value;
}

static void registers_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct vga *v = arg;

	mutex_guard(&v->lock);
	if (off >= OFF_DISPI && off < OFF_DISPI + 2 * VGA_NR_DISPI) {
		if (size == 2)
			vga_dispi_write(v, (unsigned int)(off - OFF_DISPI) / 2, (uint16_t)value);
		return;
	}
	for (unsigned int k = 0; k < size; k++, off++)
		if (off >= OFF_VGA && off < OFF_VGA_END)
			vga_port_write(v, (unsigned int)(off - OFF_VGA + 0x10),
				       (uint8_t)(value >> (8 * k)));
}

/* --- the whole --- */

void vga_reset(struct vga *v)
{
	mutex_guard(&v->lock);
	memset(v->vram, 0, VGA_MEMORY);
	memset(v->seq, 0, sizeof(v->seq));
	memset(v->gr, 0, sizeof(v->gr));
	memset(v->crtc, 0, sizeof(v->crtc));
	memset(v->attr, 0, sizeof(v->attr));
	memset(v->dac, 0, sizeof(v->dac));
	memset(v->dispi, 0, sizeof(v->dispi));
	v->misc = v->feature = 0;
	v->seq_index = v->gr_index = v->crtc_index = v->attr_index = 0;
	v->attr_data = v->dac_is_read = false;
	v->pel_mask = 0xff;
	v->dac_read = v->dac_write = v->dac_part = 0;
	v->latch = 0;
	v->dispi_index = 0;
	v->dispi[DISPI_ID] = DISPI_ID5;
}

static int plug(struct vga *v, struct pci_bus *pci, struct memory_window *window, struct err *err)
{
	const struct bus_range frame = {
		.name = "vga-memory", .read = vram_read, .write = vram_write, .arg = v
	};
	const struct bus_range registers = { .name = "vga-registers",
					     .read = registers_read,
					     .write = registers_write,
					     .arg = v,
					     .max_size = 4 };
	int r;

	pci_dev_setup(&v->pci, "vga", VENDOR, DEVICE, CLASS_VGA, REVISION);
	pci_dev_set_subsystem(&v->pci, SUBSYSTEM_VENDOR, SUBSYSTEM);
	r = pci_dev_add_bar(&v->pci, 0, PCI_BAR_MEM32, true, VGA_MEMORY, &frame);
	if (r == 0)
		r = pci_dev_add_bar(&v->pci, 2, PCI_BAR_MEM32, false, REGISTERS_SIZE, &registers);
	if (r < 0)
		return r;
	v->pci.bar[0].window = window;
	return pci_dev_plug(pci, &v->pci, VGA_DEVFN, err);
}

int vga_init(struct vga *v, const struct board *board, struct pci_bus *pci, uint8_t *vram,
	     struct memory_window *window, struct err *err)
{
	int r;

	memset(v, 0, sizeof(*v));
	v->pio = board->pio;
	v->mmio = board->mmio;
	v->clock = board->clock;
	v->vram = vram;
	v->ports = (struct bus_range){ .name = "vga",
				       .base = PORTS,
				       .len = NR_PORTS,
				       .read = port_read,
				       .write = port_write,
				       .arg = v,
				       .max_size = 1 };
	v->dispi_ports = (struct bus_range){ .name = "vga-dispi",
					     .base = DISPI_PORTS,
					     .len = NR_DISPI_PORTS,
					     .read = dispi_port_read,
					     .write = dispi_port_write,
					     .arg = v,
					     .max_size = 2 };
	v->window = (struct bus_range){ .name = "vga-window",
					.base = WINDOW_BASE,
					.len = VGA_WINDOW,
					.read = window_read,
					.write = window_write,
					.arg = v };
	mutex_init(&v->lock);
	vga_reset(v);
	vga_make_edid(v);
	r = bus_add(v->pio, &v->ports, err);
	if (r == 0)
		r = bus_add(v->pio, &v->dispi_ports, err);
	if (r == 0)
		r = bus_add(v->mmio, &v->window, err);
	if (r == 0)
		r = plug(v, pci, window, err);
	if (r < 0)
		vga_done(v);
	return r;
}

void vga_done(struct vga *v)
{
	if (!v->pio)
		return;
	pci_dev_unplug(&v->pci);
	bus_del(v->pio, &v->ports);
	bus_del(v->pio, &v->dispi_ports);
	bus_del(v->mmio, &v->window);
	pthread_mutex_destroy(&v->lock);
	v->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ANY(struct vga, misc),	       STATE_ANY(struct vga, feature),
	STATE_MAX(struct vga, seq_index, 7),   STATE_BYTES(struct vga, seq),
	STATE_MAX(struct vga, gr_index, 15),   STATE_BYTES(struct vga, gr),
	STATE_MAX(struct vga, crtc_index, 31), STATE_BYTES(struct vga, crtc),
	STATE_ANY(struct vga, attr_index),     STATE_BYTES(struct vga, attr),
	STATE_BOOL(struct vga, attr_data),     STATE_ANY(struct vga, pel_mask),
	STATE_ANY(struct vga, dac_read),       STATE_ANY(struct vga, dac_write),
	STATE_MAX(struct vga, dac_part, 2),    STATE_BOOL(struct vga, dac_is_read),
	STATE_BYTES(struct vga, dac),	       STATE_ANY(struct vga, latch),
	STATE_ANY(struct vga, dispi_index),    STATE_ARRAY(struct vga, dispi, UINT16_MAX),
};

static void loaded(void *obj)
{
	struct vga *v = obj;

	mutex_guard(&v->lock);
	v->dispi[DISPI_BANK] &= VGA_MEMORY / DISPI_BANK_SIZE - 1;
	if (v->dispi[DISPI_ENABLE] & DISPI_ON)
		fix_geometry(v);
}

/* Its memory is saved as the machine's. */
const struct state_desc vga_state = {
	.name = "vga",
	.version = 1,
	STATE_LOCK(struct vga, lock),
	STATE_TABLE(struct vga, fields),
	.loaded = loaded,
};
