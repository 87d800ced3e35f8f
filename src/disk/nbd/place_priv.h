/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_NBD_PLACE_PRIV_H
#define DISK_NBD_PLACE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* Where a server is for the process outside of a sandbox (sys/sandbox/outside.h), and what it is asked for there. */
struct nbd_place {
	int server;   /* of outside_reach(); negative: unknown to it */
	char *export; /* free() */
};

/*
 * nbd_place_note - tell the process outside where a server is, if there is such a process and it can be told.
 *
 * @h:    connected
 * @uri:  with which
 * @ret:  .server stays as it was when it cannot
 * Thread: as outside_will_reach().
 */
struct nbd_handle;
void nbd_place_note(struct nbd_handle *h, const char *uri, struct nbd_place *ret);

/* nbd_place_connect - a new connection there. Returns a socket, the caller's; -ETIMEDOUT, others of connect(2). Thread: any;
 * waits until a time of CLOCK_MONOTONIC. */
_nodiscard_ int nbd_place_connect(const struct nbd_place *place, uint64_t deadline_ns,
				  struct err *err);

/* nbd_place_socket - the path of "...?socket=PATH", which is hostile where an image has it. Returns whether there is one that
 * fits, @size bytes with its zero. Thread: any. Source: NBD URI specification, RFC 3986. */
bool nbd_place_socket(const char *uri, char *ret, size_t size);

#endif
