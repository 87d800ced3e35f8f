/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_NBD_LIBRARY_PRIV_H
#define ATOLL_DISK_NBD_LIBRARY_PRIV_H

#include <libnbd.h>

#include "base/err.h"

/* The functions of libnbd that we use, by their names without "nbd_". */
#define NBD_FUNCTIONS(X)                                                                           \
	X(create)                                                                                  \
	X(close)                                                                                   \
	X(get_error)                                                                               \
	X(get_errno)                                                                               \
	X(set_uri_allow_local_file)                                                                \
	X(set_uri_allow_transports)                                                                \
	X(add_meta_context)                                                                        \
	X(aio_connect_uri)                                                                         \
	X(aio_connect_socket)                                                                      \
	X(get_export_name)                                                                         \
	X(set_export_name)                                                                         \
	X(get_tls)                                                                                 \
	X(aio_is_connecting)                                                                       \
	X(aio_is_ready)                                                                            \
	X(aio_is_dead)                                                                             \
	X(aio_is_closed)                                                                           \
	X(aio_get_fd)                                                                              \
	X(aio_get_direction)                                                                       \
	X(aio_notify_read)                                                                         \
	X(aio_notify_write)                                                                        \
	X(aio_pread)                                                                               \
	X(aio_pwrite)                                                                              \
	X(aio_zero)                                                                                \
	X(aio_flush)                                                                               \
	X(aio_block_status)                                                                        \
	X(aio_disconnect)                                                                          \
	X(poll)                                                                                    \
	X(get_size)                                                                                \
	X(get_block_size)                                                                          \
	X(is_read_only)                                                                            \
	X(can_flush)                                                                               \
	X(can_zero)                                                                                \
	X(can_meta_context)

#define MEMBER_(name) __typeof__(nbd_##name) *name;
struct nbd_library {
	NBD_FUNCTIONS(MEMBER_)
};
#undef MEMBER_

/* Filled by nbd_library_load(); afterwards read only. Returns 0 or -ENOENT. Thread: any. */
extern struct nbd_library nbd_lib;
_nodiscard_ int nbd_library_load(struct err *err);

#endif
