/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's screen, for those who look from outside: drawn when somebody asks, on the asking thread, from a
 * description that the adapter gives under its mutex.
 */
#include <errno.h>

#include "base/base64.h"
#include "display/keys.h"
#include "display/png.h"
#include "vm/machine_priv.h"
#include "vm/virtio/input.h"

int machine_screen_text(struct machine *m, struct strbuf *out, struct err *err)
{
	struct picture p;

	if (!m->has_vga)
		return err_set(err, -ENODEV, "the machine has no display (--display)");
	vga_picture(&m->vga, &p);
	if (p.kind != PICTURE_TEXT)
		return err_set(err, -ENODATA, "the screen is not in a text mode (%ux%u pixels)",
			       p.width, p.height);
	picture_text(&p, out);
	return 0;
}

int machine_screenshot(struct machine *m, struct strbuf *out, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf png = { 0 };
	_cleanup_(surface_done) struct surface s = { 0 };
	struct picture p;
	int r;

	if (!m->has_vga)
		return err_set(err, -ENODEV, "the machine has no display (--display)");
	vga_picture(&m->vga, &p);
	picture_draw(&p, &s);
	r = png_write(&s, &png);
	if (r < 0)
		return err_set(err, r, "screenshot: no memory");
	base64_encode(out, png.p, png.n);
	return 0;
}

static void draw(void *arg, struct surface *s)
{
	struct machine *m = arg;
	struct picture p;

	vga_picture(&m->vga, &p);
	picture_draw(&p, s);
}

static void key(void *arg, uint32_t keysym, bool is_down)
{
	struct machine *m = arg;
	bool extended;
	uint8_t code = keys_scancode(keysym, &extended);

	if (code)
		i8042_key(&m->kbd, code, extended, is_down);
}

/* A place of the screen as the tablet says it. */
static uint16_t place(int at, unsigned int size)
{
	return size > 1 ? (uint16_t)((unsigned int)at * VIRTIO_INPUT_LAST / (size - 1)) : 0;
}

/* The tablet, while a driver runs it; else the mouse. */
static void pointer(void *arg, int x, int y, uint8_t mask, unsigned int width, unsigned int height)
{
	struct machine *m = arg;
	struct pointer_move v = pointer_follow(&m->pointer, x, y, mask, width, height);
	const struct virtio_input_frame f = {
		.x = place(m->pointer.x, width),
		.y = place(m->pointer.y, height),
		.buttons = (uint8_t)((v.left ? VIRTIO_INPUT_LEFT : 0) |
				     (v.right ? VIRTIO_INPUT_RIGHT : 0) |
				     (v.middle ? VIRTIO_INPUT_MIDDLE : 0) |
				     (v.back ? VIRTIO_INPUT_SIDE : 0)),
		.wheel = -v.dz,
	};

	if (m->virtio.tablet && virtio_input_point(m->virtio.tablet, &f))
		return;
	i8042_mouse(&m->kbd, v.dx, v.dy, v.dz,
		    (uint8_t)((v.left ? PS2_LEFT : 0) | (v.middle ? PS2_MIDDLE : 0) |
			      (v.right ? PS2_RIGHT : 0) | (v.back ? PS2_SIDE : 0)));
}

/* What viewers copy is the guest's to paste, */
static void cut(void *arg, struct str text)
{
	struct machine *m = arg;

	clipboard_offer(m->virtio.clipboard, text);
}

/* and the other way round. */
static void copied(void *arg, struct str text)
{
	struct machine *m = arg;

	vnc_cut(m->vnc, text);
}

int machine_vnc_start(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	static const struct vnc_ops ops = { .draw = draw, .key = key, .pointer = pointer };
	static const struct vnc_ops with_clipboard = {
		.draw = draw, .key = key, .pointer = pointer, .cut = cut
	};
	const struct vnc_config vnc = {
		.address = cfg->vnc,
		.name = cfg->name && *cfg->name ? cfg->name : "Atoll",
		.password = cfg->vnc_password,
		.tls = cfg->vnc_tls,
		.ops = cfg->clipboard ? &with_clipboard : &ops,
		.arg = m,
	};

	int r;

	if (!cfg->vnc && cfg->clipboard)
		return err_set(err, -EINVAL, "a clipboard without VNC");
	if (!cfg->vnc)
		return 0;
	if (!m->has_vga)
		return err_set(err, -EINVAL, "VNC without a display adapter");
	r = vnc_new(&vnc, &m->vnc, err);
	if (r == 0 && cfg->clipboard)
		clipboard_set_copied(m->virtio.clipboard, copied, m);
	return r;
}
