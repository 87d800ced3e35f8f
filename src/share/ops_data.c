/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files and folders. A folder's listing goes by the host's own cookies, so nothing is kept between two pieces of
 * it: a guest may ask for any place in it, and the host's file system says what is there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "share/share_priv.h"

enum { LIST_BUFFER = 2048, LIST_MAX = 1 << 16 };

/* --- files ------------------------------------------------------------------------------------------------------- */

int open_flags(uint32_t wanted)
{
	uint32_t mode = wanted & O_ACCMODE;

	if (mode != O_RDONLY && mode != O_WRONLY && mode != O_RDWR)
		return -EINVAL;
	return (int)(wanted & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC));
}

static int64_t give_handle(struct request *q, int fd, bool is_folder)
{
	struct fuse_open_out out = { 0 };
	int64_t fh = handle_add(q->s, fd, is_folder);

	if (fh < 0)
		return fh;
	out.fh = (uint64_t)fh;
	return give(q, &out, sizeof(out));
}

int64_t op_open(struct request *q)
{
	struct fuse_open_in in;
	int flags, fd, r = take(q, &in, sizeof(in));

	if (r < 0)
		return r;
	if (S_ISDIR(q->node->type))
		return -EISDIR;
	flags = open_flags(in.flags);
	if (flags < 0)
		return flags;
	if (q->s->cfg.is_readonly && (flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	fd = node_reopen(q->s, q->fd, flags);
	return fd < 0 ? fd : give_handle(q, fd, false);
}

int64_t op_opendir(struct request *q)
{
	int fd;

	if (!S_ISDIR(q->node->type))
		return -ENOTDIR;
	fd = node_reopen(q->s, q->fd, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : give_handle(q, fd, true);
}

int64_t op_release(struct request *q)
{
	struct fuse_release_in in;
	int r = take(q, &in, sizeof(in));

	if (r == 0)
		handle_free(q->s, in.fh);
	return r;
}

int64_t op_read(struct request *q)
{
	struct fuse_read_in in;
	struct handle *h;
	ssize_t n;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, false);
	if (!h || in.size > SHARE_DATA_MAX || in.offset > INT64_MAX)
		return r < 0 ? r : h ? -EINVAL : -EBADF;
	n = pread(h->fd, q->out, in.size, (off_t)in.offset);
	return n < 0 ? -errno : n;
}

int64_t op_write(struct request *q)
{
	struct fuse_write_out out = { 0 };
	struct fuse_write_in in;
	struct handle *h;
	struct stat st;
	ssize_t n;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, false);
	if (!h || in.size != q->n || in.offset > INT64_MAX)
		return r < 0 ? r : h ? -EINVAL : -EBADF;
	n = pwrite(h->fd, q->arg, in.size, (off_t)in.offset);
	if (n < 0)
		return -errno;
	if ((in.write_flags & FUSE_WRITE_KILL_SUIDGID) && fstat(h->fd, &st) == 0)
		drop_suid(h->fd, &st);
	out.size = (uint32_t)n;
	return give(q, &out, sizeof(out));
}

/* Some file systems tell only at the close that there was no room. */
int64_t op_flush(struct request *q)
{
	struct fuse_flush_in in;
	struct handle *h;
	int fd, r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, false);
	if (!h)
		return r < 0 ? r : -EBADF;
	fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 || close(fd) < 0 ? -errno : 0;
}

static int64_t sync_handle(struct request *q, bool is_folder)
{
	struct fuse_fsync_in in;
	struct handle *h;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, is_folder);
	if (!h)
		return r < 0 ? r : -EBADF;
	r = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	return r < 0 ? -errno : 0;
}

int64_t op_fsync(struct request *q)
{
	return sync_handle(q, false);
}

int64_t op_fsyncdir(struct request *q)
{
	return sync_handle(q, true);
}

int64_t op_syncfs(struct request *q)
{
	int fd = node_reopen(q->s, q->fd, O_RDONLY), r;

	if (fd < 0)
		return fd;
	r = syncfs(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int64_t op_fallocate(struct request *q)
{
	struct fuse_fallocate_in in;
	struct handle *h;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, false);
	if (!h || in.offset > INT64_MAX || in.length > INT64_MAX)
		return r < 0 ? r : h ? -EFBIG : -EBADF;
	return fallocate(h->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) < 0 ? -errno : 0;
}

int64_t op_lseek(struct request *q)
{
	struct fuse_lseek_out out;
	struct fuse_lseek_in in;
	struct handle *h;
	off_t at;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, false);
	if (!h || (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) || in.offset > INT64_MAX)
		return r < 0 ? r : h ? -EINVAL : -EBADF;
	at = lseek(h->fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	out.offset = (uint64_t)at;
	return give(q, &out, sizeof(out));
}

int64_t op_copy(struct request *q)
{
	struct fuse_copy_file_range_in in;
	struct fuse_write_out out = { 0 };
	struct handle *from, *to;
	off_t in_off, out_off;
	ssize_t n;
	int r = take(q, &in, sizeof(in));

	from = r < 0 ? NULL : handle_of(q->s, in.fh_in, false);
	to = from ? handle_of(q->s, in.fh_out, false) : NULL;
	if (!to || in.off_in > INT64_MAX || in.off_out > INT64_MAX || in.flags)
		return r < 0 ? r : to ? -EINVAL : -EBADF;
	in_off = (off_t)in.off_in;
	out_off = (off_t)in.off_out;
	/* In pieces, so that others have their turn. */
	n = copy_file_range(from->fd, &in_off, to->fd, &out_off,
			    MIN(in.len, (uint64_t)(64 * SHARE_DATA_MAX)), 0);
	if (n < 0)
		return -errno;
	out.size = (uint32_t)n;
	return give(q, &out, sizeof(out));
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

/* Puts an entry behind @n bytes of the answer. Returns its bytes; 0: no room. */
static size_t put_entry(struct request *q, const struct dirent64 *e, bool plus, size_t n,
			size_t room)
{
	size_t name_len = strlen(e->d_name),
	       head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	size_t len = align_up(head + name_len, sizeof(uint64_t));
	bool is_dots = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	struct fuse_direntplus p = { 0 };
	struct node *node;
	struct stat st;

	if (len > room - n)
		return 0;
	p.dirent = (struct fuse_dirent){ .ino = e->d_ino,
					 .off = (uint64_t)e->d_off,
					 .namelen = (uint32_t)name_len,
					 .type = e->d_type };
	/* An entry that has gone meanwhile is one without a node. */
	if (plus && !is_dots && node_look_up(q->s, q->node, q->fd, e->d_name, &node, &st) == 0)
		fill_entry(q->s, node, &st, &p.entry_out);
	memset(q->out + n, 0, len);
	if (plus)
		memcpy(q->out + n, &p, FUSE_NAME_OFFSET_DIRENTPLUS);
	else
		memcpy(q->out + n, &p.dirent, FUSE_NAME_OFFSET);
	memcpy(q->out + n + head, e->d_name, name_len);
	return len;
}

static int64_t list(struct request *q, bool plus)
{
	_Alignas(struct dirent64) uint8_t buf[LIST_BUFFER];
	struct fuse_read_in in;
	struct handle *h;
	size_t n = 0;
	int r = take(q, &in, sizeof(in));

	h = r < 0 ? NULL : handle_of(q->s, in.fh, true);
	if (!h || !S_ISDIR(q->node->type))
		return r < 0 ? r : -EBADF;
	in.size = MIN(in.size, (uint32_t)LIST_MAX);
	if (in.offset > INT64_MAX || lseek(h->fd, (off_t)in.offset, SEEK_SET) < 0)
		return -EINVAL;
	for (;;) {
		long got = syscall(SYS_getdents64, h->fd, buf, sizeof(buf));

		if (got < 0)
			return n ? (int64_t)n : -errno;
		if (!got)
			return (int64_t)n;
		for (size_t at = 0; at < (size_t)got;) {
			const struct dirent64 *e = (const void *)(buf + at);
			size_t len = put_entry(q, e, plus, n, in.size);

			if (!len)
				return n ? (int64_t)n : -EINVAL;
			n += len;
			at += e->d_reclen;
		}
	}
}

int64_t op_readdir(struct request *q)
{
	return list(q, false);
}

int64_t op_readdirplus(struct request *q)
{
	return list(q, true);
}
