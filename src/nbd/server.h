/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_NBD_SERVER_H
#define ATOLL_NBD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/err.h"
#include "disk/disk.h"

/*
 * What a client may ask about each part of an export: "base:allocation" is always there, an export may have more
 * (dirty bitmaps).
 */
struct nbd_context {
	const char *name; /* "namespace:leaf" */
	/*
	 * The state of the beginning of a range: *ret_len bytes (0 < *ret_len <= @len) have the same *ret_flags.
	 * Returns 0 or negative errno. Thread: any client's.
	 */
	int (*status)(void *arg, uint64_t off, uint64_t len, uint32_t *ret_flags,
		      uint64_t *ret_len);
	void *arg;
};

enum { NBD_CONTEXTS_MAX = 8 }; /* base:allocation included */

/* A disk under a name. The disk takes requests (disk_async_start()) and lives longer than the server. */
struct nbd_export {
	struct disk *disk;
	const char *name; /* up to 4096 bytes; "" is what a client gets who names none */
	bool read_only;
	const struct nbd_context *contexts; /* beside base:allocation */
	size_t nr_contexts;		    /* < NBD_CONTEXTS_MAX */
};

/* How clients prove who they are, and we to them. All NULL: no TLS. */
struct nbd_tls_opts {
	const char *
		certificates; /* folder with server-cert.pem, server-key.pem, and ca-cert.pem for verify_peer */
	const char *psk;  /* file of USER:HEXKEY lines */
	bool verify_peer; /* clients need a certificate that ca-cert.pem signed */
};

struct nbd_server_opts {
	struct nbd_export export;
	const char *listen; /* "tcp:ADDRESS:PORT" (port 0: any; [ADDRESS] for IPv6), "unix:PATH" */
	struct nbd_tls_opts tls;
	unsigned max_clients; /* 1 to 1000; more wait until one goes */
	struct clock *clock;
};

struct nbd_server;

/*
 * nbd_server_new - read keys, listen.
 *
 * @opts:  what it points to lives as long as the server
 * Returns 0; -EINVAL (address, certificates, key file), -EADDRINUSE and others of bind(2). @ret: nbd_server_free().
 * Thread: owner.
 */
_nodiscard_ int nbd_server_new(const struct nbd_server_opts *opts, struct nbd_server **ret,
			       struct err *err);

/* nbd_server_uri - how clients name it: "nbd://127.0.0.1:10809/disk". Valid as long as the server. Thread: any. */
const char *nbd_server_uri(const struct nbd_server *s);

/*
 * nbd_server_run - serve clients until @stop_fd becomes readable; then what is in flight is finished and answered
 * as far as clients take it at once. Returns 0 or negative errno. Thread: owner.
 */
_nodiscard_ int nbd_server_run(struct nbd_server *s, int stop_fd, struct err *err);

/* nbd_server_free - stop listening; NULL is accepted. Not while it runs. Thread: owner. */
void nbd_server_free(struct nbd_server *s);

#endif
