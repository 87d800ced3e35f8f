/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_VNC_TLS_H
#define ATOLL_DISPLAY_VNC_TLS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * TLS in front of a VNC server that has none: viewers speak VeNCrypt to a thread of ours, which passes what is inside on to
 * the server by a socket pair each.
 */
struct vnc_tls;

struct vnc_tls_config {
	struct in_addr address;
	uint16_t port; /* 0: the first free one from 5900 on */
	const char *
		certificates; /* folder with server-cert.pem and server-key.pem; NULL: anonymous TLS */
	bool has_password;    /* the server asks for it, inside of TLS */
	/* A viewer for the server; the socket is the callee's. Called on the thread of TLS. */
	void (*viewer)(void *arg, int fd);
	void *arg;
};

/*
 * vnc_tls_new - listen and serve on a thread of its own.
 *
 * Returns 0; -EADDRINUSE; -EINVAL (certificates); -ENOENT (the TLS library is not installed); -EAGAIN. @ret:
 * vnc_tls_free(). Thread: owner.
 */
_nodiscard_ int vnc_tls_new(const struct vnc_tls_config *cfg, struct vnc_tls **ret,
			    struct err *err);

/* vnc_tls_free - end connections and the thread. NULL is fine. Thread: owner. */
void vnc_tls_free(struct vnc_tls *t);

/* vnc_tls_port - where it listens. */
unsigned int vnc_tls_port(const struct vnc_tls *t);

#endif
