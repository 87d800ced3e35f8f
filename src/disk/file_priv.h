/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_FILE_PRIV_H
#define ATOLL_DISK_FILE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/str.h"
#include "disk/disk.h"

/*
 * One file of an image on the host. Reads past the end give zeros; short transfers and EINTR are dealt
 * with; with O_DIRECT, what is not aligned takes a detour through aligned memory. All functions
 * may be called by several threads at once.
 */
struct nbd_client;

struct disk_file {
	int fd;			/* -EBADF: of a server */
	struct nbd_client *nbd; /* that server, or NULL */
	char *path;
	bool is_writable, no_flush;
	bool is_block;	/* has the length that it has: a block device, or a server's */
	bool is_sparse; /* had holes worth looking for when it was opened */
	bool is_memory; /* on a file system that has no medium to wait for */
	uint32_t align; /* of offsets, lengths and memory; 1: any */
	_Atomic uint64_t size;
	uint64_t dev, ino;
	struct disk_observer *observer;
	struct disk_files *files; /* where its parts come from while the image is opened, or NULL */
	pthread_mutex_t rmw;	  /* held while a part of an aligned block is changed */
};

/* A place in a list of pieces of memory. */
struct iov_iter {
	const struct iovec *iov;
	unsigned nr;
	size_t skip; /* bytes of iov[0] that are behind us */
};

/* An iterator at the start of a list; over one piece. The piece must outlive it. */
struct iov_iter iov_iter(const struct iovec *iov, unsigned nr);
/* Bytes left. */
uint64_t iov_bytes(const struct iov_iter *it);
/* Up to @max pieces that make up the next @len bytes. Returns their number; *ret_len: what they hold. */
unsigned iov_slice(const struct iov_iter *it, uint64_t len, struct iovec *out, unsigned max,
		   uint64_t *ret_len);
void iov_advance(struct iov_iter *it, uint64_t len);
/* These move on. */
void iov_fill_zero(struct iov_iter *it, uint64_t len);
void iov_copy_to(struct iov_iter *it, const void *from, uint64_t len); /* memory -> pieces */
void iov_copy_from(struct iov_iter *it, void *to, uint64_t len);       /* pieces -> memory */

/*
 * @flags: DISK_RDWR, DISK_DIRECT, DISK_NO_LOCK, DISK_NO_FLUSH. disk_file_new() takes the descriptor
 * over, also on failure. disk_file_create() makes an empty file, or empties one that nobody has open.
 */
_nodiscard_ int disk_file_open(const char *path, unsigned flags, struct disk_observer *observer,
			       struct disk_file **ret, struct err *err);
_nodiscard_ int disk_file_new(int fd, const char *path, unsigned flags,
			      struct disk_observer *observer, struct disk_file **ret,
			      struct err *err);
_nodiscard_ int disk_file_create(const char *path, struct disk_observer *observer,
				 struct disk_file **ret, struct err *err);
/* The same file among open descriptors: the place, or -ESTALE. */
_nodiscard_ int disk_file_find(const struct disk_file *f, const int *fd, unsigned nr);
/* The same file once more, with other flags. The locks of the two exclude each other as those of strangers do.
 * @handed: NULL: opened here; else it is among them. */
_nodiscard_ int disk_file_reopen(const struct disk_file *f, unsigned flags,
				 const struct disk_handed *handed, struct disk_observer *observer,
				 struct disk_file **ret, struct err *err);
/* No lock any more; that of a reader, whatever it was before. */
void disk_file_unlock(struct disk_file *f);
void disk_file_lock_shared(struct disk_file *f);
/*
 * A file in the folder of another: for extents and data files that an image names. The name comes
 * from outside: symbolic links and ".." that would leave the folder stay inside it. @flags as above.
 */
enum beside {
	BESIDE_OPEN,	/* it is there */
	BESIDE_NEW,	/* it must not be there */
	BESIDE_REPLACE, /* it becomes empty, unless somebody has it open */
};
_nodiscard_ int disk_file_open_beside(const struct disk_file *main, const char *name,
				      unsigned flags, enum beside how, struct disk_file **ret,
				      struct err *err);
/*
 * The file of a name as disk_open() takes it: a path, or a URI of an NBD server, which an image names
 * (@from_image) with fewer rights than a user. @flags as above, not o->flags.
 */
_nodiscard_ int disk_file_open_any(const char *name, const struct disk_open_opts *o, unsigned flags,
				   bool from_image, struct disk_file **ret, struct err *err);
/* One of a list; the caller's. Returns 0; -EACCES. */
_nodiscard_ int disk_files_take(struct disk_files *files, const char *path, int *ret_fd,
				struct err *err);
void disk_file_close(struct disk_file *f);
void disk_file_closep(struct disk_file **f);

_nodiscard_ int disk_file_read(struct disk_file *f, uint64_t off, void *buf, size_t n);
_nodiscard_ int disk_file_write(struct disk_file *f, uint64_t off, const void *buf, size_t n);
/* The next @len bytes of the iterator, which moves on. */
_nodiscard_ int disk_file_readv(struct disk_file *f, uint64_t off, struct iov_iter *it,
				uint64_t len);
_nodiscard_ int disk_file_writev(struct disk_file *f, uint64_t off, struct iov_iter *it,
				 uint64_t len);
/* Zeros; @unmap: space may be given back. Never fails for lack of support: writes zeros then. */
_nodiscard_ int disk_file_zero(struct disk_file *f, uint64_t off, uint64_t len, bool unmap);
/* Whether disk_file_zero() needs no writing, as far as is known of the file system. */
bool disk_file_zeroes_fast(const struct disk_file *f);
/* Zeros by writing them. */
_nodiscard_ int disk_file_fill_zero(struct disk_file *f, uint64_t off, uint64_t len);
/* Give space back; the range then reads zero. -EOPNOTSUPP. */
_nodiscard_ int disk_file_punch(struct disk_file *f, uint64_t off, uint64_t len);
/* Make sure there is space; what is new reads zero. */
_nodiscard_ int disk_file_reserve(struct disk_file *f, uint64_t off, uint64_t len);
_nodiscard_ int disk_file_truncate(struct disk_file *f, uint64_t size);
_nodiscard_ int disk_file_sync(struct disk_file *f);
/* Space that it takes on this host; 0 for a server's. */
_nodiscard_ int disk_file_host_bytes(struct disk_file *f, uint64_t *ret_bytes);
/* Where data ends or begins: bytes from @off that are all hole (*ret_hole) or all data, at most @len. */
_nodiscard_ int disk_file_hole(struct disk_file *f, uint64_t off, uint64_t len, bool *ret_hole,
			       uint64_t *ret_len);

/* Whether O_DIRECT, if it is used, takes this as it is. */
bool disk_file_is_aligned(const struct disk_file *f, uint64_t off, const struct iov_iter *it,
			  uint64_t len);
/* Somebody wrote up to @end by other means. */
void disk_file_grew(struct disk_file *f, uint64_t end);

static inline uint64_t disk_file_size(struct disk_file *f)
{
	return atomic_load_explicit(&f->size, memory_order_relaxed);
}

#endif
