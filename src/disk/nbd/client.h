/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_NBD_CLIENT_H
#define ATOLL_DISK_NBD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "disk/disk.h"

/*
 * A file that an NBD server has. What disk_file does with a descriptor, it does with this when the name is a URI. All
 * functions but open and close may be called by several threads at once; they wait.
 */
struct nbd_client;

struct nbd_client_opts {
	bool write;
	bool from_image;       /* the name stands in an image: it may not name files of the host */
	uint64_t reconnect_ns; /* how long a lost connection is tried again; 0: never */
};

/* nbd_is_uri - "nbd://...", "nbds://...", "nbd+unix://..." or "nbds+unix://..." Thread: any. */
_pure_ bool nbd_is_uri(const char *name);

/*
 * nbd_client_open - connect, for up to 10 s.
 *
 * @ret_size:   bytes
 * @ret_align:  what offsets and lengths have to be multiples of, a power of two up to 64 KiB
 * Returns 0; -ENOENT (the library is not installed), -EROFS, -ETIMEDOUT and others of connect(2); -EPROTO (a server that
 * we do not understand). @ret: nbd_client_close(). Thread: any.
 */
_nodiscard_ int nbd_client_open(const char *uri, const struct nbd_client_opts *o,
				struct nbd_client **ret, uint64_t *ret_size, uint32_t *ret_align,
				struct err *err);

/* nbd_client_servers - how a lost server is found again. Thread: any. */
enum disk_servers nbd_client_servers(const struct nbd_client *c);

/* nbd_client_close - say goodbye; NULL is accepted. Thread: the last user. */
void nbd_client_close(struct nbd_client *c);

/*
 * nbd_client_read, nbd_client_write - move bytes inside the size, aligned.
 *
 * Returns 0; -ENOTCONN (the server is gone), -ESTALE (another disk is in its place), -EIO, -ENOSPC, -EROFS and what else the
 * server says. Thread: any.
 */
_nodiscard_ int nbd_client_read(struct nbd_client *c, uint64_t off, void *buf, size_t n);
_nodiscard_ int nbd_client_write(struct nbd_client *c, uint64_t off, const void *buf, size_t n);

/*
 * nbd_client_zero - make bytes read zero.
 *
 * @unmap:  the server may give the space back
 * Returns as nbd_client_write(); -EOPNOTSUPP (the server cannot, or the range is not aligned). Thread: any.
 */
_nodiscard_ int nbd_client_zero(struct nbd_client *c, uint64_t off, uint64_t len, bool unmap);

/*
 * nbd_client_flush - what was written is on the server's medium.
 *
 * Returns as nbd_client_write(); -EIO also once when the connection was lost before a flush covered what had been written: whether
 * that is still there nobody can tell. Thread: any.
 */
_nodiscard_ int nbd_client_flush(struct nbd_client *c);

/*
 * nbd_client_hole - where data ends or begins: from @off, *ret_len bytes, at most @len, are all zero (*ret_hole) or perhaps
 * not. A server that does not tell has data everywhere. Returns as nbd_client_read(). Thread: any.
 */
_nodiscard_ int nbd_client_hole(struct nbd_client *c, uint64_t off, uint64_t len, bool *ret_hole,
				uint64_t *ret_len);

#endif
