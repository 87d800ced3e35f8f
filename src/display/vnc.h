/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_VNC_H
#define ATOLL_DISPLAY_VNC_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "display/picture.h"

/*
 * A screen for VNC viewers (RFB 3.8), by libvncserver, which is loaded when the first server is made: a machine without
 * one does not pay for its libraries.
 */
struct vnc;

/* What is shown, who types and points. Called on the server's thread. */
struct vnc_ops {
	/* Draw the screen; called only while somebody looks. */
	void (*draw)(void *arg, struct surface *s);
	void (*key)(void *arg, uint32_t keysym, bool is_down);
	/* A pointer at a place of a screen of this size, with buttons as in pointer.h. */
	void (*pointer)(void *arg, int x, int y, uint8_t mask, unsigned int width,
			unsigned int height);
	/* A viewer has something in its clipboard, as plain text of cut_text.h. NULL: viewers' are not wanted. */
	void (*cut)(void *arg, struct str text);
};

struct vnc_config {
	const char *address;  /* "127.0.0.1:5901"; port 0: any */
	const char *name;     /* what viewers show */
	const char *password; /* up to 8 characters count; NULL: none */
	/* NULL: no TLS; "anon": TLS without certificates, against listeners only; else a folder with server-cert.pem and
	 * server-key.pem. With TLS, viewers must use it (VeNCrypt). */
	const char *tls;
	const struct vnc_ops *ops;
	void *arg;
};

/*
 * vnc_new - listen and serve on a thread of its own.
 *
 * Returns 0; -EINVAL (address, certificates); -EADDRINUSE; -ENOENT (a library is not installed); -EAGAIN. @ret: vnc_free(). Thread:
 * owner. One at a time in a process.
 */
_nodiscard_ int vnc_new(const struct vnc_config *cfg, struct vnc **ret, struct err *err);

/* vnc_free - end connections and the thread. NULL is fine. Thread: owner. */
void vnc_free(struct vnc *v);

/*
 * vnc_cut - put a text, plain as of cut_text.h, into the clipboards of all viewers that are there. Over CUT_TEXT_MAX bytes it is
 * dropped. Thread: any.
 */
void vnc_cut(struct vnc *v, struct str text);

/* vnc_port - where it listens. */
unsigned int vnc_port(const struct vnc *v);

#endif
