/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The display adapter: ports, windows and linear modes in any order, and a look at the screen now and then. */
#include "fuzz_dev.h"
#include "vm/dev/vga.h"

static const struct fuzz_window windows[] = {
	{ 0x3b0, 0x30, false },	     { 0x3c0, 0x10, false },	 { 0x1ce, 4, false },
	{ 0xa0000, 0x10000, true },  { 0xb0000, 0x10004, true }, { 0xd0000000, 0x10000, true },
	{ 0xc8000000, 0x520, true }, { 0xd0fffff8, 0x10, true },
};

struct world {
	struct bench b;
	struct pci_bus pci;
	struct vga vga;
	struct surface s;
};

/* A small linear mode, which bytes at random do not find. */
static void linear(struct world *w, unsigned int what)
{
	static const uint8_t depths[] = { 4, 8, 15, 16, 24, 32 };
	const uint16_t value[] = {
		[1] = 8 * (1 + (what & 15)),
		[2] = 1 + (what >> 4 & 15),
		[3] = depths[(what >> 8) % sizeof(depths)],
	};

	for (unsigned int k = 1; k <= 3; k++) {
		bus_write(w->b.pio, 0x1ce, 2, k);
		bus_write(w->b.pio, 0x1cf, 2, value[k]);
	}
	bus_write(w->b.pio, 0x1ce, 2, 4);
	bus_write(w->b.pio, 0x1cf, 2, 0x41);
}

static void event(void *arg, unsigned int what)
{
	struct strbuf text = { 0 };
	struct world *w = arg;
	struct picture p;

	if (what >> 12 == 5)
		linear(w, what);
	if (what == 0xffff) {
		vga_reset(&w->vga);
		return;
	}
	vga_picture(&w->vga, &p);
	/* Large ones take long and show nothing new. */
	if ((uint64_t)p.width * p.height <= 1 << 18)
		picture_draw(&p, &w->s);
	picture_text(&p, &text);
	strbuf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t vram[VGA_MEMORY];
	static struct world w;
	struct fuzz_input in = { data, n };
	static bool is_ready;

	if (!is_ready) {
		fuzz_must(bench_init(&w.b, 0) == 0);
		fuzz_must(pci_init(&w.pci, &w.b.board, NULL) == 0);
		fuzz_must(vga_init(&w.vga, &w.b.board, &w.pci, vram, NULL, NULL) == 0);
		pci_config_write(&w.pci, VGA_DEVFN, 0x10, 4, 0xd0000000);
		pci_config_write(&w.pci, VGA_DEVFN, 0x18, 4, 0xc8000000);
		pci_config_write(&w.pci, VGA_DEVFN, 4, 2, 3);
		is_ready = true;
	}
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	event(&w, 0);
	/* Registers as after power-on; clearing all memory each time would be most of the run. */
	memset(&w.vga.seq_index, 0, offsetof(struct vga, edid) - offsetof(struct vga, seq_index));
	w.vga.misc = 0;
	w.vga.pel_mask = 0xff;
	return 0;
}
