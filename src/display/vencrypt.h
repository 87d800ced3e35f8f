/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_VENCRYPT_H
#define ATOLL_DISPLAY_VENCRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What is said between a viewer and its server around TLS, without sockets: before it, to the viewer (RFB 3.8 with the
 * security type VeNCrypt 0.2); after it, to the server behind us, which speaks plain RFB and is asked for no security, or for
 * its password.
 */
enum vencrypt_state {
	VENCRYPT_VERSION,
	VENCRYPT_TYPE,
	VENCRYPT_SUBVERSION,
	VENCRYPT_SUBTYPE,
	VENCRYPT_TLS, /* the viewer's next byte is TLS's */
	VENCRYPT_SERVER_VERSION,
	VENCRYPT_SERVER_COUNT,
	VENCRYPT_SERVER_TYPES,
	VENCRYPT_OPEN,	 /* what the two say passes through */
	VENCRYPT_FAILED, /* when @out is sent, the connection ends */
};

enum { VENCRYPT_IN_MAX = 255, VENCRYPT_OUT_MAX = 32 };

struct vencrypt {
	enum vencrypt_state state;
	uint32_t subtype; /* the one that is offered */
	bool has_password;
	uint8_t in[VENCRYPT_IN_MAX], nr_types;
	size_t in_n;
	uint8_t out[VENCRYPT_OUT_MAX]; /* to the viewer before TLS, to the server after it */
	size_t out_n;
};

/* vencrypt_init - a new viewer. @has_certificate: else TLS is anonymous. Thread: owner. */
void vencrypt_init(struct vencrypt *v, bool has_certificate, bool has_password);

/* vencrypt_wants - how many bytes the present state still needs, at most VENCRYPT_IN_MAX; 0: none. Thread: owner. */
size_t vencrypt_wants(const struct vencrypt *v);

/*
 * vencrypt_feed - bytes of the viewer (before TLS) or of the server (after it).
 *
 * What is to be sent in answer is appended to @v->out; the caller sends it and sets out_n to 0 before it feeds more.
 * @n: at most vencrypt_wants(). Thread: owner.
 */
void vencrypt_feed(struct vencrypt *v, const void *p, size_t n);

/* vencrypt_secured - TLS is up: the server's turn. Thread: owner. */
void vencrypt_secured(struct vencrypt *v);

#endif
