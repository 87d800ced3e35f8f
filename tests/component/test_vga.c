/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The display adapter without a guest: registers as drivers use them, and what is then on the screen. */
#include "unit.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/bytes.h"
#include "bench.h"
#include "display/png.h"
#include "vm/dev/vga.h"

enum { BAR0 = 0xd0000000, BAR2 = 0xc8000000 };

struct fixture {
	struct bench b;
	struct pci_bus pci;
	struct vga vga;
	uint8_t *vram;
	struct memory_window *window;
	struct picture p;
	struct surface s;
};

static int setup(void **state)
{
	static struct fixture f;
	int r = bench_init(&f.b, 2 << 20);

	*state = &f;
	if (r == 0)
		r = pci_init(&f.pci, &f.b.board, NULL);
	if (r == 0)
		r = memory_add_window(&f.b.memory, VGA_MEMORY, &f.window, NULL);
	f.vram = f.window->hva;
	if (r == 0)
		r = vga_init(&f.vga, &f.b.board, &f.pci, f.vram, f.window, NULL);
	pci_config_write(&f.pci, VGA_DEVFN, 0x10, 4, BAR0);
	pci_config_write(&f.pci, VGA_DEVFN, 0x18, 4, BAR2);
	pci_config_write(&f.pci, VGA_DEVFN, 4, 2, 3);
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	surface_done(&f->s);
	vga_done(&f->vga);
	vga_done(&f->vga);
	pci_done(&f->pci);
	bench_done(&f->b);
	return 0;
}

static void indexed(struct fixture *f, uint16_t port, uint8_t index, uint8_t value)
{
	bus_write(f->b.pio, port, 2, (uint64_t)value << 8 | index);
	outb(&f->b, port, index);
	assert_int_equal(inb(&f->b, (uint16_t)(port + 1)), value);
}

static void attribute(struct fixture *f, uint8_t index, uint8_t value)
{
	inb(&f->b, 0x3da);
	outb(&f->b, 0x3c0, index);
	outb(&f->b, 0x3c0, value);
}

static void dac(struct fixture *f, uint8_t index, uint8_t r, uint8_t g, uint8_t blue)
{
	outb(&f->b, 0x3c8, index);
	outb(&f->b, 0x3c9, r);
	outb(&f->b, 0x3c9, g);
	outb(&f->b, 0x3c9, blue);
}

static void draw(struct fixture *f)
{
	vga_picture(&f->vga, &f->p);
	picture_draw(&f->p, &f->s);
}

static uint32_t pixel(const struct fixture *f, unsigned int x, unsigned int y)
{
	return f->s.pixels[y * f->s.width + x];
}

/* Registers that all modes below have. */
static void common(struct fixture *f, uint8_t columns, unsigned int height)
{
	outb(&f->b, 0x3c2, 0x67);
	indexed(f, 0x3d4, 0x11, 0);
	indexed(f, 0x3d4, 0x01, (uint8_t)(columns - 1));
	indexed(f, 0x3d4, 0x07, (uint8_t)((height - 1) >> 8 << 1));
	indexed(f, 0x3d4, 0x12, (uint8_t)(height - 1));
	indexed(f, 0x3d4, 0x13, columns / 2);
	for (uint8_t k = 0; k < 16; k++)
		attribute(f, k, k);
	attribute(f, 0x12, 15);
	outb(&f->b, 0x3c6, 0xff);
	for (uint8_t k = 0; k < 16; k++)
		dac(f, k, k, 0, (uint8_t)(63 - k));
	inb(&f->b, 0x3da);
	outb(&f->b, 0x3c0, 0x20);
}

static void text_mode(struct fixture *f)
{
	common(f, 80, 400);
	indexed(f, 0x3c4, 1, 1);
	indexed(f, 0x3c4, 2, 3);
	indexed(f, 0x3c4, 4, 2);
	indexed(f, 0x3ce, 5, 0x10);
	indexed(f, 0x3ce, 6, 0x0e);
	indexed(f, 0x3d4, 9, 15);
	indexed(f, 0x3d4, 0x0a, 0x0e);
	indexed(f, 0x3d4, 0x0b, 0x0f);
	indexed(f, 0x3d4, 0x0f, 81);
}

/* A character's shape: the font is loaded as drivers do, into plane 2. */
static void load_font(struct fixture *f)
{
	indexed(f, 0x3c4, 2, 4);
	indexed(f, 0x3c4, 4, 6);
	indexed(f, 0x3ce, 5, 0);
	indexed(f, 0x3ce, 6, 0x04);
	indexed(f, 0x3ce, 8, 0xff);
	for (unsigned int k = 0; k < 16; k++)
		bus_write(f->b.mmio, 0xa0000 + 'A' * 32 + k, 1, k == 3 ? 0x81 : 0);
}

static void test_text(void **state)
{
	struct fixture *f = *state;
	struct strbuf text = { 0 };

	load_font(f);
	text_mode(f);
	bus_write(f->b.mmio, 0xb8000, 4, 0x1f42074f); /* "O" 07, "B" 1f */
	bus_write(f->b.mmio, 0xb8000 + 160, 2, 0x2441);
	bus_write(f->b.mmio, 0xb8000 + 162, 1, 0xdb);
	assert_int_equal(bus_read(f->b.mmio, 0xb8000, 2), 0x074f);
	assert_int_equal(bus_read(f->b.mmio, 0xa0000, 1), 0xff); /* not there now */
	draw(f);
	assert_int_equal(f->p.kind, PICTURE_TEXT);
	assert_int_equal(f->s.width, 640);
	assert_int_equal(f->s.height, 400);
	/* "A" in color 4 on 2, its line 3. */
	assert_int_equal(pixel(f, 0, 19), 0x1000ef);
	assert_int_equal(pixel(f, 1, 19), 0x0800f7);
	assert_int_equal(pixel(f, 7, 19), 0x1000ef);
	assert_int_equal(pixel(f, 0, 20), 0x0800f7);
	assert_int_equal(pixel(f, 8, 30), 0x0000ff); /* the cursor, in color 0 */
	picture_text(&f->p, &text);
	assert_memory_equal(strbuf_cstr(&text), "OB\nA█\n\n", 9);
	strbuf_done(&text);
}

static void test_planar(void **state)
{
	struct fixture *f = *state;

	common(f, 80, 480);
	indexed(f, 0x3c4, 1, 1);
	indexed(f, 0x3c4, 2, 15);
	indexed(f, 0x3c4, 4, 6);
	indexed(f, 0x3ce, 5, 2); /* write mode 2: a color */
	indexed(f, 0x3ce, 6, 5);
	indexed(f, 0x3ce, 8, 0x40);
	bus_write(f->b.mmio, 0xa0000, 1, 5);
	draw(f);
	assert_int_equal(f->p.kind, PICTURE_PLANAR);
	assert_int_equal(f->s.height, 480);
	assert_int_equal(pixel(f, 0, 0), 0x0000ff);
	assert_int_equal(pixel(f, 1, 0), 0x1400eb);
	/* Read mode 1 finds it; mode 0 gives one plane; mode 1 writes the latch elsewhere. */
	indexed(f, 0x3ce, 5, 0x08);
	indexed(f, 0x3ce, 2, 5);
	indexed(f, 0x3ce, 7, 15);
	assert_int_equal(bus_read(f->b.mmio, 0xa0000, 1), 0x40);
	indexed(f, 0x3ce, 5, 1);
	indexed(f, 0x3ce, 4, 2);
	assert_int_equal(bus_read(f->b.mmio, 0xa0000, 1), 0x40);
	bus_write(f->b.mmio, 0xa0000 + 80, 1, 0);
	/* Write mode 0 with set/reset and XOR, then mode 3. */
	indexed(f, 0x3ce, 5, 0);
	indexed(f, 0x3ce, 8, 0xff);
	indexed(f, 0x3ce, 1, 15);
	indexed(f, 0x3ce, 0, 15);
	indexed(f, 0x3ce, 3, 0x18);
	bus_read(f->b.mmio, 0xa0000 + 80, 1);
	bus_write(f->b.mmio, 0xa0000 + 80, 1, 0);
	indexed(f, 0x3ce, 3, 0);
	indexed(f, 0x3ce, 5, 3);
	indexed(f, 0x3ce, 0, 3);
	bus_read(f->b.mmio, 0xa0000 + 160, 1);
	bus_write(f->b.mmio, 0xa0000 + 160, 1, 0x80);
	draw(f);
	assert_int_equal(pixel(f, 0, 1), 0x3c00c3);
	assert_int_equal(pixel(f, 1, 1), 0x2800d7);
	assert_int_equal(pixel(f, 0, 2), 0x0c00f3);
	assert_int_equal(pixel(f, 1, 2), 0x0000ff);
}

static void test_mode13(void **state)
{
	struct fixture *f = *state;

	common(f, 80, 400);
	indexed(f, 0x3c4, 2, 15);
	indexed(f, 0x3c4, 4, 0x0e);
	indexed(f, 0x3ce, 5, 0x40);
	indexed(f, 0x3ce, 6, 5);
	indexed(f, 0x3d4, 9, 0x41);
	dac(f, 200, 63, 63, 0);
	bus_write(f->b.mmio, 0xa0000 + 320 + 7, 1, 200);
	draw(f);
	assert_int_equal(f->p.kind, PICTURE_INDEX8);
	assert_int_equal(f->s.width, 320);
	assert_int_equal(f->s.height, 200);
	assert_int_equal(pixel(f, 7, 1), 0xffff00);
	outb(&f->b, 0x3c7, 200);
	assert_int_equal(inb(&f->b, 0x3c9), 63);
	inb(&f->b, 0x3c9);
	assert_int_equal(inb(&f->b, 0x3c9), 0);
	assert_int_equal(inb(&f->b, 0x3c9), 0); /* the next color */
}

static void dispi(struct fixture *f, uint16_t index, uint16_t value)
{
	bus_write(f->b.pio, 0x1ce, 2, index);
	bus_write(f->b.pio, 0x1cf, 2, value);
}

static uint16_t dispi_get(struct fixture *f, uint16_t index)
{
	bus_write(f->b.pio, 0x1ce, 2, index);
	return (uint16_t)bus_read(f->b.pio, 0x1d0, 2);
}

static void test_linear(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dispi_get(f, 0), 0xb0c5);
	assert_int_equal(dispi_get(f, 10), 256);
	bus_write(f->b.mmio, BAR0, 4, 0x12345678);
	dispi(f, 1, 1024);
	dispi(f, 2, 768);
	dispi(f, 3, 32);
	dispi(f, 4, 0x41);
	assert_int_equal(bus_read(f->b.mmio, BAR0, 4), 0); /* cleared */
	bus_write(f->b.mmio, BAR0 + 4096 + 8, 8, UINT64_C(0x0000ff0000abcdef));
	draw(f);
	assert_int_equal(f->s.width, 1024);
	assert_int_equal(f->s.height, 768);
	assert_int_equal(pixel(f, 2, 1), 0xabcdef);
	assert_int_equal(pixel(f, 3, 1), 0x00ff00);
	/* Panning, and the window at 0xa0000 with a bank. */
	dispi(f, 9, 1);
	draw(f);
	assert_int_equal(pixel(f, 2, 0), 0xabcdef);
	dispi(f, 5, 1);
	bus_write(f->b.mmio, 0xa0000, 4, 0x00777777);
	assert_int_equal(bus_read(f->b.mmio, BAR0 + 0x10000, 4), 0x777777);
	assert_int_equal(bus_read(f->b.mmio, 0xa0000, 4), 0x777777);
	/* Through the registers at BAR 2: 640x480, 16 bits. */
	bus_write(f->b.mmio, BAR2 + 0x508, 2, 0);
	bus_write(f->b.mmio, BAR2 + 0x502, 2, 640);
	bus_write(f->b.mmio, BAR2 + 0x504, 2, 480);
	bus_write(f->b.mmio, BAR2 + 0x506, 2, 16);
	bus_write(f->b.mmio, BAR2 + 0x508, 2, 0xc1);
	bus_write(f->b.mmio, BAR0, 4, 0x001f07e0);
	draw(f);
	assert_int_equal(f->s.width, 640);
	assert_int_equal(pixel(f, 0, 0), 0x00ff00);
	assert_int_equal(pixel(f, 1, 0), 0x0000ff);
	/* What does not fit is cut; capabilities. */
	dispi(f, 4, 0);
	dispi(f, 1, 60000);
	dispi(f, 2, 60000);
	dispi(f, 3, 77);
	dispi(f, 4, 0x81);
	assert_int_equal(dispi_get(f, 1), 8192);
	assert_int_equal(dispi_get(f, 2), 2048);
	assert_int_equal(dispi_get(f, 3), 8);
	draw(f);
	assert_int_equal(f->s.width, 8192);
	dispi(f, 4, 2);
	assert_int_equal(dispi_get(f, 3), 32);
	vga_reset(&f->vga);
	draw(f);
	assert_int_equal(f->p.kind, PICTURE_BLANK);
}

/* CPUs see the frame buffer as memory, where the guest put it, once the machine has moved the window. */
static void test_window(void **state)
{
	struct fixture *f = *state;
	struct physmem *mem = &f->b.memory.phys;

	assert_int_equal(atomic_load(&f->window->wanted), BAR0);
	assert_null(physmem_find_window(mem, BAR0));
	memory_move_windows(&f->b.memory);
	assert_ptr_equal(physmem_find_window(mem, BAR0 + 5)->hva, f->vram);
	assert_null(physmem_find(mem, BAR0)); /* no DMA */
	pci_config_write(&f->pci, VGA_DEVFN, 0x10, 4, 0xe0000000);
	memory_move_windows(&f->b.memory);
	assert_null(physmem_find_window(mem, BAR0));
	assert_non_null(physmem_find_window(mem, 0xe0000000 + VGA_MEMORY - 1));
	pci_config_write(&f->pci, VGA_DEVFN, 4, 2, 0);
	memory_move_windows(&f->b.memory);
	assert_null(physmem_find_window(mem, 0xe0000000));
	/* Over RAM: RAM wins. */
	atomic_store(&f->window->wanted, 0x1000);
	memory_move_windows(&f->b.memory);
	assert_null(physmem_find_window(mem, 0x1000));
}

static void test_edid(void **state)
{
	struct fixture *f = *state;
	uint8_t e[128], sum = 0;

	for (unsigned int k = 0; k < 128; k++) {
		e[k] = (uint8_t)bus_read(f->b.mmio, BAR2 + k, 1);
		sum = (uint8_t)(sum + e[k]);
	}
	assert_int_equal(sum, 0);
	assert_int_equal(get_le64(e), UINT64_C(0x00ffffffffffff00));
	assert_int_equal(e[54 + 2] | (e[54 + 4] & 0xf0) << 4, 1280);
	assert_int_equal(e[54 + 5] | (e[54 + 7] & 0xf0) << 4, 800);
}

/* The retrace bit comes and goes. */
static void test_retrace(void **state)
{
	struct fixture *f = *state;
	unsigned int seen = 0;

	outb(&f->b, 0x3c2, 0x67);
	for (int k = 0; k < 100; k++) {
		seen |= inb(&f->b, 0x3da) & 8 ? 1 : 2;
		bench_pass(&f->b, NS_PER_MS);
	}
	assert_int_equal(seen, 3);
	assert_int_equal(inb(&f->b, 0x3ba), 0xff); /* a color adapter now */
}

/* A picture is the same after PNG and back. */
static void test_png(void **state)
{
	uint32_t pixels[6] = { 0xff0000, 0x00ff00, 0x0000ff, 0x123456, 0x000000, 0xffffff };
	const struct surface s = { .width = 3, .height = 2, .pixels = pixels };
	struct strbuf png = { 0 };
	uint8_t raw[2 * 10];
	uLongf n = sizeof(raw);
	const uint8_t *p;

	(void)state;
	assert_int_equal(png_write(&s, &png), 0);
	p = (uint8_t *)png.p;
	assert_memory_equal(p, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\3\0\0\0\2\10\2\0\0\0", 29);
	assert_int_equal(get_be32(p + 29), crc32(0, p + 12, 17));
	assert_memory_equal(p + 37, "IDAT", 4);
	assert_int_equal(uncompress(raw, &n, p + 41, get_be32(p + 33)), Z_OK);
	assert_int_equal(n, sizeof(raw));
	assert_memory_equal(raw, "\2\xff\0\0\0\xff\0\0\0\xff\2", 11);
	for (unsigned int k = 0; k < 9; k++)
		assert_int_equal((uint8_t)(raw[1 + k] + raw[11 + k]),
				 pixels[3 + k / 3] >> (16 - 8 * (k % 3)) & 255);
	assert_memory_equal(png.p + png.n - 8, "IEND\xae\x42\x60\x82", 8);
	strbuf_done(&png);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_planar, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mode13, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retrace, setup, teardown),
		cmocka_unit_test(test_png),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
