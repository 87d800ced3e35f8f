/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_VGA_H
#define VM_DEV_VGA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "display/picture.h"
#include "vm/board.h"
#include "vm/dev/pci.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A VGA adapter with the linear modes of Bochs (DISPI), as QEMU's "stdvga": PCI 1234:1111, memory at BAR 0, registers
 * and EDID at BAR 2, the legacy ports 0x3b0-0x3df and 0x1ce-0x1d1, the legacy window 0xa0000-0xbffff.
 *
 * Its memory is the machine's (struct memory_window), so that a CPU writes to the linear frame buffer as to RAM.
 */
#define VGA_MEMORY (UINT64_C(16) << 20)
enum {
	VGA_DEVFN = 1 << 3,
	VGA_NR_DISPI = 11,
	VGA_EDID_SIZE = 128,
	VGA_PREFERRED_WIDTH = 1280,
	VGA_PREFERRED_HEIGHT = 800,
};

struct vga {
	struct pci_dev pci; /* first */
	pthread_mutex_t lock;
	struct bus *pio, *mmio;
	struct bus_range ports, dispi_ports, window;
	struct clock *clock;
	uint8_t *vram;

	uint8_t misc, feature;
	uint8_t seq_index, seq[8];
	uint8_t gr_index, gr[16];
	uint8_t crtc_index, crtc[32];
	uint8_t attr_index, attr[32];
	bool attr_data; /* the next write to 0x3c0 is data */
	uint8_t pel_mask, dac_read, dac_write, dac_part;
	bool dac_is_read;
	uint8_t dac[256][3];
	uint32_t latch; /* a byte of each plane */
	uint16_t dispi_index, dispi[VGA_NR_DISPI];
	uint8_t edid[VGA_EDID_SIZE];
};

/*
 * vga_init - the adapter in its slot.
 *
 * @vram: VGA_MEMORY bytes; @window: the same as the CPUs see it, or NULL (every access is then an exit)
 * Uses of @board: pio, mmio, clock. Returns 0; what pci_dev_plug() and bus_add() say.
 */
struct memory_window;
_nodiscard_ int vga_init(struct vga *v, const struct board *board, struct pci_bus *pci,
			 uint8_t *vram, struct memory_window *window, struct err *err);
void vga_done(struct vga *v);
void vga_reset(struct vga *v);

/* vga_picture - what is shown now. Valid as long as the adapter; its memory may change. Thread: any. */
void vga_picture(struct vga *v, struct picture *ret);

/* vga_state - what a snapshot keeps of it. */
extern const struct state_desc vga_state;

#endif
