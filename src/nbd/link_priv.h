/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_NBD_LINK_PRIV_H
#define ATOLL_NBD_LINK_PRIV_H

#include <sys/types.h>
#include <sys/uio.h>

#include "nbd/server.h"

/* Keys of a server, and one client's socket: plain, and with TLS from nbd_link_handshake() on. */
struct nbd_keys;
struct nbd_link;

/* *ret is NULL when no TLS is wanted. Returns 0 or -EINVAL. nbd_keys_free() accepts NULL. */
_nodiscard_ int nbd_keys_new(const struct nbd_tls_opts *o, struct nbd_keys **ret, struct err *err);
void nbd_keys_free(struct nbd_keys *keys);

/* @fd: non-blocking, taken over. */
struct nbd_link *nbd_link_new(int fd);
void nbd_link_free(struct nbd_link *l);

/*
 * One step of the TLS handshake. Returns 0 when it is done; -EAGAIN (poll for *ret_events first); -EPROTO and others
 * when it failed.
 */
_nodiscard_ int nbd_link_handshake(struct nbd_link *l, const struct nbd_keys *keys,
				   short *ret_events, struct err *err);

/* Bytes moved; 0 from recv: the other side has ended; -EAGAIN and other errors. */
_nodiscard_ ssize_t nbd_link_recv(struct nbd_link *l, void *p, size_t n);
/* With -EAGAIN the same bytes have to be offered again. */
_nodiscard_ ssize_t nbd_link_send(struct nbd_link *l, const struct iovec *iov, unsigned nr);

#endif
