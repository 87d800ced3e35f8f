/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_FD_H
#define ATOLL_SYS_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * File descriptors. A variable that owns one is declared `_cleanup_(fd_closep) int fd = -EBADF` and
 * handed over with fd_take(); -EBADF rather than -1, so that a closed one used by mistake shows up
 * in strace as what it is.
 */

/* fd_closep - for _cleanup_: closes *fd unless negative, keeps errno, leaves -EBADF. Thread: any. */
void fd_closep(int *fd);

/* fd_take - hand a descriptor over: its number, while the variable becomes -EBADF. Thread: any. */
int fd_take(int *fd);

/*
 * fd_open - open a file by a path that the user of the program gave.
 *
 * @flags:   as open(2); O_CLOEXEC is added; a new file gets mode 0666 less the umask
 * @ret_fd:  owned by the caller; written only on success
 * Returns 0 or negative errno. Thread: any.
 */
_nodiscard_ int fd_open(const char *path, int flags, int *ret_fd, struct err *err);

/*
 * path_open_in - open a path that came from outside, inside a folder.
 *
 * Symbolic links and ".." are resolved as if the folder were the root: nothing outside of it can be
 * reached (openat2, RESOLVE_IN_ROOT; magic links are refused).
 *
 * @root_fd:  a folder, O_PATH is enough
 * @flags:    as open(2); O_CLOEXEC is added
 * @mode:     for O_CREAT, else 0
 * Returns 0 or negative errno. Thread: any. Needs Linux 5.6.
 */
_nodiscard_ int path_open_in(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
			     struct err *err);

/*
 * fd_read_full - read exactly n bytes unless the file ends.
 *
 * Returns bytes read, less than @n only at the end of the file; negative errno. Waits (poll) when a
 * non-blocking descriptor has nothing. Thread: any.
 */
_nodiscard_ ssize_t fd_read_full(int fd, void *buf, size_t n);

/* fd_pread_full - fd_read_full() at an offset in bytes; does not move the file position. Thread:
 * any. */
_nodiscard_ ssize_t fd_pread_full(int fd, void *buf, size_t n, uint64_t off);

/*
 * fd_write_full - write all n bytes.
 *
 * Returns 0 or negative errno; some bytes may have been written then. Waits (poll) when a
 * non-blocking descriptor is full. Thread: any.
 */
_nodiscard_ int fd_write_full(int fd, const void *buf, size_t n);

/* fd_pwrite_full - fd_write_full() at an offset in bytes. Thread: any. */
_nodiscard_ int fd_pwrite_full(int fd, const void *buf, size_t n, uint64_t off);

/* fd_size - bytes of a regular file or block device. Returns 0 or negative errno. Thread: any. */
_nodiscard_ int fd_size(int fd, uint64_t *ret_bytes, struct err *err);

/* fd_nonblock - switch O_NONBLOCK on or off. Returns 0 or negative errno. Thread: any. */
_nodiscard_ int fd_nonblock(int fd, int on);

/*
 * file_read - a whole file in memory.
 *
 * @limit:      bytes; a larger file is refused with -EFBIG
 * @ret:        owned by the caller, free(); has a zero byte behind the end
 * @ret_bytes:  without that byte
 * Returns 0 or negative errno. Thread: any.
 */
_nodiscard_ int file_read(const char *path, size_t limit, void **ret, size_t *ret_bytes,
			  struct err *err);

/* file_read_fd - the same from where an open file stands to its end; @path names it in errors. */
_nodiscard_ int file_read_fd(int fd, const char *path, size_t limit, void **ret, size_t *ret_bytes,
			     struct err *err);

#endif
