/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One file of an image on the host. Formats and the data path see bytes at offsets; what the host makes
 * of it stays here: short transfers, the end of the file, alignment with O_DIRECT, holes, locks.
 *
 * Locks are those that QEMU takes (bytes 100 + n for a permission n that is used, 200 + n for one that
 * others must not use), as open file description locks: so an image that one of the two programs writes
 * cannot be opened by the other. A file system without locks goes without.
 *
 * With O_DIRECT, requests that are aligned go straight; others through aligned memory, and a write of a
 * part of a block reads the rest of it first, one at a time (rmw). A second descriptor without O_DIRECT was
 * rejected: a page that is dirty in the cache wins over what was written past it.
 */
#include "disk/file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "disk/nbd/client.h"
#include "sys/fd.h"
#include "sys/thread.h"

#define IOV_CHUNK    64
#define DIRECT_ALIGN 4096
#define BOUNCE_MAX   (1U << 20)
#define SERVED_PIECE 65536 /* larger pieces are requests of their own */

/* --- locks ------------------------------------------------------------------------------------ */

enum { USED = 100, UNSHARED = 200, P_READ = 0, P_WRITE = 1, P_RESIZE = 3, P_COUNT = 5 };

static int lock_range(int fd, short type, off_t from, off_t n)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = n };

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : 0;
}

/* Whether somebody else has locked the byte in any way. */
static bool is_locked(int fd, off_t at)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static int take_locks(const struct disk_file *f, struct err *err)
{
	int r;

	if (f->is_writable) {
		r = lock_range(f->fd, F_WRLCK, USED, P_COUNT);
		if (r == 0)
			r = lock_range(f->fd, F_WRLCK, UNSHARED, P_COUNT);
		if (r < 0)
			return err_set(err, r, "'%s' is in use by another process", f->path);
		return 0;
	}
	r = lock_range(f->fd, F_RDLCK, USED + P_READ, 1);
	if (r == 0)
		r = lock_range(f->fd, F_RDLCK, UNSHARED + P_WRITE, 1);
	if (r == 0)
		r = lock_range(f->fd, F_RDLCK, UNSHARED + P_RESIZE, 1);
	if (r < 0 || is_locked(f->fd, USED + P_WRITE))
		return err_set(err, -EBUSY, "'%s' is being written by another process", f->path);
	return 0;
}

void disk_file_unlock(struct disk_file *f)
{
	ignore_result(lock_range(f->fd, F_UNLCK, USED, P_COUNT)); /* giving up cannot fail */
	ignore_result(lock_range(f->fd, F_UNLCK, UNSHARED, P_COUNT));
}

void disk_file_lock_shared(struct disk_file *f)
{
	/* What we hold exclusively becomes shared without a moment in between; what readers do not need is given
	 * up. From nothing, somebody may have been quicker: that is found out by who writes next. */
	ignore_result(lock_range(f->fd, F_RDLCK, USED + P_READ, 1));
	ignore_result(lock_range(f->fd, F_RDLCK, UNSHARED + P_WRITE, 1));
	ignore_result(lock_range(f->fd, F_RDLCK, UNSHARED + P_RESIZE, 1));
	ignore_result(lock_range(f->fd, F_UNLCK, USED + P_WRITE, P_COUNT - P_WRITE));
	ignore_result(lock_range(f->fd, F_UNLCK, UNSHARED + P_READ, 1));
	ignore_result(lock_range(f->fd, F_UNLCK, UNSHARED + P_WRITE + 1, 1));
	ignore_result(lock_range(f->fd, F_UNLCK, UNSHARED + P_RESIZE + 1, P_COUNT - P_RESIZE - 1));
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static struct disk_file *alloc_file(int fd, const char *path, unsigned flags,
				    struct disk_observer *observer)
{
	struct disk_file *f = mem_new(sizeof(*f));

	mutex_init(&f->rmw);
	f->fd = fd;
	f->path = mem_strdup(path);
	f->is_writable = flags & DISK_RDWR;
	f->no_flush = flags & DISK_NO_FLUSH;
	f->observer = observer;
	return f;
}

int disk_file_new(int fd, const char *path, unsigned flags, struct disk_observer *observer,
		  struct disk_file **ret, struct err *err)
{
	struct disk_file *f = alloc_file(fd, path, flags, observer);
	uint64_t size = 0;
	struct stat st;
	int r = 0;

	f->align = flags & DISK_DIRECT ? DIRECT_ALIGN : 1;
	if (fstat(fd, &st) < 0)
		r = err_set_errno(err, "'%s'", path);
	if (r == 0)
		r = fd_size(fd, &size, err);
	/* It was only for the open: io_uring would take it at its word. */
	if (r == 0 && fd_nonblock(fd, 0) < 0)
		r = err_set_errno(err, "'%s'", path);
	if (r == 0 && !(flags & DISK_NO_LOCK))
		r = take_locks(f, err);
	if (r < 0) {
		disk_file_close(f);
		return r;
	}
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->is_block = S_ISBLK(st.st_mode);
	f->is_memory = is_memory(fd);
	f->is_sparse = !f->is_block && (uint64_t)st.st_blocks * 512 < size / 10 * 9;
	atomic_store(&f->size, size);
	*ret = f;
	return 0;
}

static int open_flags(unsigned flags)
{
	/* A fifo or a terminal in the place of an image must not make us wait. */
	return (flags & DISK_RDWR ? O_RDWR : O_RDONLY) | (flags & DISK_DIRECT ? O_DIRECT : 0) |
	       O_NONBLOCK | O_NOCTTY;
}

int disk_file_open(const char *path, unsigned flags, struct disk_observer *observer,
		   struct disk_file **ret, struct err *err)
{
	int fd = -EBADF;
	int r = fd_open(path, open_flags(flags), &fd, err);

	return r < 0 ? r : disk_file_new(fd, path, flags, observer, ret, err);
}

static int open_served(const char *uri, const struct disk_open_opts *o, unsigned flags,
		       bool from_image, struct disk_file **ret, struct err *err)
{
	static _Atomic uint64_t count; /* each is another file: whose it is cannot be told */
	struct nbd_client_opts client = {
		.write = flags & DISK_RDWR,
		.from_image = from_image,
		.reconnect_ns = o->reconnect_ns,
	};
	struct disk_file *f = alloc_file(-EBADF, uri, flags, o->observer);
	uint64_t size;
	int r;

	f->is_block = true;
	f->is_sparse = true;
	f->ino = atomic_fetch_add(&count, 1) + 1;
	r = nbd_client_open(uri, &client, &f->nbd, &size, &f->align, err);
	if (r < 0) {
		disk_file_close(f);
		return r;
	}
	atomic_store(&f->size, size);
	*ret = f;
	return 0;
}

/* A copy for the list; the original is closed when that fails. */
static int note(struct disk_files *files, const char *path, int *fd, struct err *err)
{
	int copy = fcntl(*fd, F_DUPFD_CLOEXEC, 0);
	int r = copy < 0 ? err_set_errno(err, "'%s'", path)
			 : disk_files_add(files, path, copy, err);

	if (r < 0)
		fd_closep(fd);
	return r;
}

int disk_file_open_any(const char *name, const struct disk_open_opts *o, unsigned flags,
		       bool from_image, struct disk_file **ret, struct err *err)
{
	int fd = -EBADF, r;

	if (nbd_is_uri(name) && o->files)
		return err_set(err, -EOPNOTSUPP, "'%.100s': a running machine reaches no servers",
			       name);
	if (nbd_is_uri(name))
		return open_served(name, o, flags, from_image, ret, err);
	if (o->files && !o->files->is_noting)
		r = disk_files_take(o->files, name, &fd, err);
	else
		r = fd_open(name, open_flags(flags), &fd, err);
	if (r == 0 && o->files && o->files->is_noting) {
		o->files->part_flags = 0; /* what comes now belongs to files that are only read */
		r = note(o->files, name, &fd, err);
	}
	return r < 0 ? r : disk_file_new(fd, name, flags, o->observer, ret, err);
}

int disk_file_find(const struct disk_file *f, const int *fd, unsigned nr)
{
	for (unsigned k = 0; k < nr; k++) {
		struct stat st;

		if (fstat(fd[k], &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
			return (int)k;
	}
	return -ESTALE;
}

/* A copy of one that was handed over, with the flags that it would have been opened with. */
static int copy_handed(const struct disk_file *f, unsigned flags, const struct disk_handed *handed,
		       int *ret_fd, struct err *err)
{
	int k = disk_file_find(f, handed->fd, handed->nr), mode, fd;

	if (k < 0)
		return err_set(err, k, "'%s' was not handed over, or is another file by now",
			       f->path);
	mode = fcntl(handed->fd[k], F_GETFL);
	if (flags & DISK_RDWR && (mode & O_ACCMODE) != O_RDWR)
		return err_set(err, -EACCES, "'%s' was handed over for reading", f->path);
	fd = fcntl(handed->fd[k], F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, "'%s'", f->path);
	if (flags & DISK_DIRECT && fcntl(fd, F_SETFL, mode | O_DIRECT) < 0) {
		int r = err_set_errno(err, "'%s' without the host's cache", f->path);

		fd_closep(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int disk_file_reopen(const struct disk_file *f, unsigned flags, const struct disk_handed *handed,
		     struct disk_observer *observer, struct disk_file **ret, struct err *err)
{
	char self[40];
	int fd = -EBADF, r;

	if (f->nbd)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' is served, and cannot change between being read and written",
			       f->path);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	r = handed ? copy_handed(f, flags, handed, &fd, err)
		   : fd_open(self, open_flags(flags), &fd, err);
	if (r < 0)
		return err_wrap(err, r, "open '%s' again", f->path);
	return disk_file_new(fd, f->path, flags, observer, ret, err);
}

int disk_file_create(const char *path, struct disk_observer *observer, struct disk_file **ret,
		     struct err *err)
{
	struct disk_file *f = NULL;
	int fd = -EBADF, r;

	if (nbd_is_uri(path))
		return err_set(err, -EOPNOTSUPP,
			       "'%.100s' is a disk that is there already; it can only be filled "
			       "(convert --no-create)",
			       path);
	r = fd_open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY, &fd, err);

	if (r == 0)
		r = disk_file_new(fd, path, DISK_RDWR, observer, &f, err);
	/* Emptied only once the lock is ours. */
	if (r == 0 && !f->is_block) {
		r = disk_file_truncate(f, 0);
		if (r < 0)
			err_set(err, r, "empty '%s': %s", path, strerror(-r));
	}
	if (r < 0)
		disk_file_close(f);
	else
		*ret = f;
	return r;
}

static int open_in_folder(const char *folder, const char *name, unsigned flags, enum beside how,
			  int *ret_fd, struct err *err)
{
	_cleanup_(fd_closep) int dir = -EBADF;
	int r = fd_open(folder, O_PATH | O_DIRECTORY, &dir, err);

	if (r < 0)
		return r;
	return path_open_in(dir, name,
			    open_flags(flags) | (how == BESIDE_OPEN ? 0 : O_CREAT) |
				    (how == BESIDE_NEW ? O_EXCL : 0),
			    how == BESIDE_OPEN ? 0 : 0666, ret_fd, err);
}

int disk_file_open_beside(const struct disk_file *main, const char *name, unsigned flags,
			  enum beside how, struct disk_file **ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 }, folder = { 0 };
	const char *slash = strrchr(main->path, '/');
	struct disk_files *files = main->files;
	int fd = -EBADF, r;

	if (main->nbd)
		return err_set(err, -EOPNOTSUPP,
			       "'%.100s' consists of several files, of which one is served",
			       main->path);

	if (slash)
		strbuf_add(&folder, main->path, (size_t)(slash - main->path + 1));
	else
		strbuf_adds(&folder, "./");
	strbuf_addf(&path, "%s%s", strbuf_cstr(&folder), name);
	if (files && !files->is_noting)
		r = disk_files_take(files, strbuf_cstr(&path), &fd, err);
	else
		r = open_in_folder(strbuf_cstr(&folder), name,
				   flags | (files ? files->part_flags : 0), how, &fd, err);
	if (r == 0 && files && files->is_noting)
		r = note(files, strbuf_cstr(&path), &fd, err);
	if (r < 0)
		return r;
	r = disk_file_new(fd, strbuf_cstr(&path), flags, main->observer, ret, err);
	/* Emptied only once the lock is ours. */
	if (r == 0 && how == BESIDE_REPLACE) {
		r = disk_file_truncate(*ret, 0);
		if (r < 0) {
			err_set(err, r, "empty '%s': %s", strbuf_cstr(&path), strerror(-r));
			disk_file_closep(ret);
		}
	}
	return r;
}

void disk_file_close(struct disk_file *f)
{
	if (!f)
		return;
	fd_closep(&f->fd);
	nbd_client_close(f->nbd);
	free(f->path);
	free(f);
}

void disk_file_closep(struct disk_file **f)
{
	disk_file_close(*f);
	*f = NULL;
}

/* --- transfers -------------------------------------------------------------------------------- */

static int observe(struct disk_file *f, enum disk_event event, uint64_t off, uint64_t len,
		   const struct iovec *iov, unsigned nr)
{
	if (likely(!f->observer))
		return 0;
	return f->observer->event(f->observer, event, f->path, off, len, iov, nr);
}

/* The file may have become longer. */
void disk_file_grew(struct disk_file *f, uint64_t end)
{
	uint64_t size = disk_file_size(f);

	while (size < end && !atomic_compare_exchange_weak(&f->size, &size, end))
		;
}

static int offset_ok(uint64_t off, uint64_t len)
{
	return range_ok(off, len, INT64_MAX) ? 0 : -EFBIG;
}

/* Server's requests have one piece of memory each: several go by way of another. */
static int served_move(struct disk_file *f, bool write, uint64_t off, struct iov_iter *it,
		       uint64_t len)
{
	_cleanup_(mem_freep) void *buf = NULL;
	int r = 0;

	while (len && r == 0) {
		uint64_t left = disk_file_size(f) - MIN(off, disk_file_size(f)), n;
		struct iovec part;

		iov_slice(it, len, &part, 1, &n);
		if (n < len && n < SERVED_PIECE && !buf)
			buf = malloc(BOUNCE_MAX);
		if (n < len && n < SERVED_PIECE && !buf)
			return -ENOMEM;
		if (n < len && n < SERVED_PIECE)
			part = (struct iovec){ buf, n = MIN(len, (uint64_t)BOUNCE_MAX) };
		/* Behind the end it reads zero. */
		if (!write && left < n)
			memset(part.iov_base, 0, n);
		if (write && left < n)
			return -ENOSPC;
		if (write && part.iov_base == buf)
			iov_copy_from(it, buf, n);
		r = write ? nbd_client_write(f->nbd, off, part.iov_base, n)
			  : nbd_client_read(f->nbd, off, part.iov_base, MIN(n, left));
		if (r == 0 && !write && part.iov_base == buf)
			iov_copy_to(it, buf, n);
		else if (part.iov_base != buf)
			iov_advance(it, n);
		off += n;
		len -= n;
	}
	return r;
}

static int plain_readv(struct disk_file *f, uint64_t off, struct iov_iter *it, uint64_t len)
{
	struct iovec part[IOV_CHUNK];

	if (f->nbd)
		return served_move(f, false, off, it, len);
	while (len) {
		uint64_t n;
		unsigned nr = iov_slice(it, len, part, ARRAY_SIZE(part), &n);
		ssize_t got = preadv(f->fd, part, (int)nr, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0) {
			iov_fill_zero(it, len);
			return 0;
		}
		iov_advance(it, (uint64_t)got);
		off += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

static int plain_writev(struct disk_file *f, uint64_t off, struct iov_iter *it, uint64_t len)
{
	struct iovec part[IOV_CHUNK];

	while (len) {
		uint64_t n;
		unsigned nr = iov_slice(it, len, part, ARRAY_SIZE(part), &n);
		ssize_t put;
		int r = observe(f, DISK_EVENT_WRITE, off, n, part, nr);

		if (r < 0)
			return r;
		if (f->nbd)
			return served_move(f, true, off, it, len);
		do
			put = pwritev(f->fd, part, (int)nr, (off_t)off);
		while (put < 0 && errno == EINTR);
		if (put < 0)
			return -errno;
		if (put == 0)
			return -ENOSPC;
		iov_advance(it, (uint64_t)put);
		off += (uint64_t)put;
		len -= (uint64_t)put;
		disk_file_grew(f, off);
	}
	return 0;
}

bool disk_file_is_aligned(const struct disk_file *f, uint64_t off, const struct iov_iter *it,
			  uint64_t len)
{
	struct iovec part[IOV_CHUNK];
	uint64_t n;
	unsigned nr;

	if (likely(f->align == 1))
		return true;
	nr = iov_slice(it, len, part, ARRAY_SIZE(part), &n);
	if (n < len || (off | len) & (f->align - 1))
		return false;
	for (unsigned i = 0; i < nr; i++)
		if (((uintptr_t)part[i].iov_base | part[i].iov_len) & (f->align - 1))
			return false;
	return true;
}

/* Through aligned memory, a piece at a time. */
static int bounce(struct disk_file *f, bool write, uint64_t off, struct iov_iter *it, uint64_t len)
{
	_cleanup_(mem_freep) void *buf = NULL;
	size_t cap = MIN(align_up(len, f->align) + f->align, (uint64_t)BOUNCE_MAX);
	int r = 0;

	if (posix_memalign(&buf, f->align, cap))
		return -ENOMEM;
	while (len && r == 0) {
		uint64_t from = align_down(off, f->align);
		uint64_t n = MIN(len, from + cap - off);
		uint64_t span = align_up(off + n, f->align) - from;
		bool partial = write && (from != off || span != n);
		struct iovec whole = { buf, span };
		struct iov_iter b = iov_iter(&whole, 1);

		if (write)
			mutex_lock(&f->rmw);
		if (!write || partial)
			r = plain_readv(f, from, &b, span);
		if (r == 0 && !write) {
			iov_copy_to(it, (char *)buf + (off - from), n);
		} else if (r == 0) {
			iov_copy_from(it, (char *)buf + (off - from), n);
			b = iov_iter(&whole, 1);
			r = plain_writev(f, from, &b, span);
		}
		if (write)
			mutex_unlock(&f->rmw);
		off += n;
		len -= n;
	}
	return r;
}

int disk_file_readv(struct disk_file *f, uint64_t off, struct iov_iter *it, uint64_t len)
{
	int r = offset_ok(off, len);

	if (r < 0)
		return r;
	return disk_file_is_aligned(f, off, it, len) ? plain_readv(f, off, it, len)
						     : bounce(f, false, off, it, len);
}

int disk_file_writev(struct disk_file *f, uint64_t off, struct iov_iter *it, uint64_t len)
{
	int r = offset_ok(off, len);

	if (r == 0 && !f->is_writable)
		r = -EROFS;
	if (r < 0)
		return r;
	return disk_file_is_aligned(f, off, it, len) ? plain_writev(f, off, it, len)
						     : bounce(f, true, off, it, len);
}

int disk_file_read(struct disk_file *f, uint64_t off, void *buf, size_t n)
{
	struct iovec iov = { buf, n };
	struct iov_iter it = iov_iter(&iov, 1);

	return disk_file_readv(f, off, &it, n);
}

int disk_file_write(struct disk_file *f, uint64_t off, const void *buf, size_t n)
{
	struct iovec iov = { (void *)buf, n };
	struct iov_iter it = iov_iter(&iov, 1);

	return disk_file_writev(f, off, &it, n);
}

/* --- space ------------------------------------------------------------------------------------ */

static int do_fallocate(struct disk_file *f, int mode, uint64_t off, uint64_t len)
{
	int r;

	if (f->nbd)
		return mode ? nbd_client_zero(f->nbd, off, len, mode & FALLOC_FL_PUNCH_HOLE)
			    : -EOPNOTSUPP;
	do
		r = fallocate(f->fd, mode, (off_t)off, (off_t)len);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	/* What a block device says to what it cannot do. */
	return errno == ENODEV || errno == ENOSYS || errno == EINVAL ? -EOPNOTSUPP : -errno;
}

int disk_file_fill_zero(struct disk_file *f, uint64_t off, uint64_t len)
{
	_cleanup_(mem_freep) void *zeros = NULL;
	size_t chunk = MIN(align_up(len, DIRECT_ALIGN), (uint64_t)BOUNCE_MAX);
	int r = 0;

	if (posix_memalign(&zeros, DIRECT_ALIGN, chunk))
		return -ENOMEM;
	memset(zeros, 0, chunk);
	while (len && r == 0) {
		size_t n = MIN(len, (uint64_t)chunk);

		r = disk_file_write(f, off, zeros, n);
		off += n;
		len -= n;
	}
	return r;
}

int disk_file_zero(struct disk_file *f, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t size = disk_file_size(f);
	int r = offset_ok(off, len);

	if (r == 0 && !f->is_writable)
		r = -EROFS;
	if (r < 0 || !len)
		return r;
	r = observe(f, DISK_EVENT_ZERO, off, len, NULL, 0);
	if (r < 0)
		return r;
	r = -EOPNOTSUPP;
	if (unmap && off + len <= size)
		r = do_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	/* Past the end this makes the file longer; a truncate could cut off what another thread
	 * has just written behind us. */
	if (r == -EOPNOTSUPP)
		r = do_fallocate(f, FALLOC_FL_ZERO_RANGE, off, len);
	if (r == 0)
		disk_file_grew(f, off + len);
	return r == -EOPNOTSUPP ? disk_file_fill_zero(f, off, len) : r;
}

/*
 * To try it would change the file, which others may be making longer: the list of those that have both ways
 * (memory file systems have only holes).
 */
bool disk_file_zeroes_fast(const struct disk_file *f)
{
	struct statfs fs;

	if (f->is_block || fstatfs(f->fd, &fs) < 0)
		return false;
	return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
	       fs.f_type == BTRFS_SUPER_MAGIC;
}

int disk_file_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
	int r = offset_ok(off, len);

	if (r == 0 && !f->is_writable)
		r = -EROFS;
	if (r == 0)
		r = observe(f, DISK_EVENT_ZERO, off, len, NULL, 0);
	return r < 0 || !len
		       ? r
		       : do_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

int disk_file_reserve(struct disk_file *f, uint64_t off, uint64_t len)
{
	int r = offset_ok(off, len);

	if (r == 0)
		r = observe(f, DISK_EVENT_TRUNCATE, MAX(off + len, disk_file_size(f)), 0, NULL, 0);
	if (r == 0 && len)
		r = do_fallocate(f, 0, off, len);
	if (r == 0)
		disk_file_grew(f, off + len);
	return r;
}

int disk_file_truncate(struct disk_file *f, uint64_t size)
{
	int r = offset_ok(size, 0);

	if (r == 0 && !f->is_writable)
		r = -EROFS;
	if (r == 0 && f->is_block)
		return size <= disk_file_size(f) ? 0 : -ENOSPC;
	if (r == 0)
		r = observe(f, DISK_EVENT_TRUNCATE, size, 0, NULL, 0);
	if (r < 0)
		return r;
	if (ftruncate(f->fd, (off_t)size) < 0)
		return -errno;
	atomic_store(&f->size, size);
	return 0;
}

int disk_file_sync(struct disk_file *f)
{
	int r;

	if (!f->is_writable)
		return 0;
	r = observe(f, DISK_EVENT_SYNC, 0, 0, NULL, 0);
	if (r < 0 || f->no_flush)
		return r;
	if (f->nbd)
		return nbd_client_flush(f->nbd);
	if (fdatasync(f->fd) == 0)
		return 0;
	/* Bytes that were taken before found no room, and are gone: nobody must think that trying again helps. */
	return errno == ENOSPC || errno == EDQUOT ? -EIO : -errno;
}

static int served_hole(struct disk_file *f, uint64_t off, uint64_t len, bool *ret_hole,
		       uint64_t *ret_len)
{
	uint64_t size = disk_file_size(f);

	if (off < size)
		return nbd_client_hole(f->nbd, off, MIN(len, size - off), ret_hole, ret_len);
	*ret_hole = true;
	return 0;
}

int disk_file_host_bytes(struct disk_file *f, uint64_t *ret_bytes)
{
	struct stat st;

	*ret_bytes = 0;
	if (f->nbd)
		return 0;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

int disk_file_hole(struct disk_file *f, uint64_t off, uint64_t len, bool *ret_hole,
		   uint64_t *ret_len)
{
	off_t data, hole;

	*ret_hole = false;
	*ret_len = len;
	if (!f->is_block && off >= disk_file_size(f)) {
		*ret_hole = true;
		return 0;
	}
	if (f->nbd)
		return served_hole(f, off, len, ret_hole, ret_len);
	data = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (data < 0) {
		/* No data from here to the end; or a file that cannot tell. */
		*ret_hole = errno == ENXIO;
		return 0;
	}
	if ((uint64_t)data > off) {
		*ret_hole = true;
		*ret_len = MIN(len, (uint64_t)data - off);
		return 0;
	}
	hole = lseek(f->fd, (off_t)off, SEEK_HOLE);
	if (hole > 0 && (uint64_t)hole > off)
		*ret_len = MIN(len, (uint64_t)hole - off);
	return 0;
}
