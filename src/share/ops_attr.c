/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a file besides its bytes. The guest's kernel decides who may do what (the driver asks for it), so that
 * its users and groups count; here the host's kernel decides once more what this process may do.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/str.h"
#include "share/share_priv.h"

/* --- attributes -------------------------------------------------------------------------------------------------- */

void fill_attr(const struct share *s, const struct stat *st, struct fuse_attr *ret)
{
	const struct share_config *c = &s->cfg;

	*ret = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = c->has_owner && st->st_uid == s->own_uid ? c->uid : st->st_uid,
		.gid = c->has_owner && st->st_gid == s->own_gid ? c->gid : st->st_gid,
		.rdev = (uint32_t)(minor(st->st_rdev) & 0xff) |
			(uint32_t)(major(st->st_rdev) << 8) |
			(uint32_t)((minor(st->st_rdev) & ~0xffu) << 12),
		.blksize = (uint32_t)st->st_blksize,
	};
}

static int64_t give_attr(struct request *q, int fd)
{
	struct fuse_attr_out a = { .attr_valid = SHARE_TTL_S };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	fill_attr(q->s, &st, &a.attr);
	return give(q, &a, sizeof(a));
}

int64_t op_getattr(struct request *q)
{
	return give_attr(q, q->fd);
}

void drop_suid(int fd, const struct stat *st)
{
	char path[SHARE_PATH];
	mode_t drop = S_ISUID | (st->st_mode & S_IXGRP ? S_ISGID : 0);

	if (!S_ISREG(st->st_mode) || !(st->st_mode & drop))
		return;
	fd_path(fd, path);
	ignore_result(chmod(path, st->st_mode & 07777 & ~drop)); /* see the header */
}

static int set_owner(struct request *q, const struct fuse_setattr_in *in)
{
	const struct share *s = q->s;
	const struct share_config *c = &s->cfg;
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (!(in->valid & (FATTR_UID | FATTR_GID)))
		return 0;
	if (c->has_owner && uid == c->uid)
		uid = s->own_uid;
	if (c->has_owner && gid == c->gid)
		gid = s->own_gid;
	return fchownat(q->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int set_size(struct request *q, const struct fuse_setattr_in *in)
{
	struct handle *h = in->valid & FATTR_FH ? handle_of(q->s, in->fh, false) : NULL;
	struct stat st;
	int fd, r;

	if (!(in->valid & FATTR_SIZE))
		return 0;
	if (in->size > INT64_MAX)
		return -EFBIG;
	if (h && ftruncate(h->fd, (off_t)in->size) == 0) {
		r = 0;
	} else {
		fd = node_reopen(q->s, q->fd, O_WRONLY);
		if (fd < 0)
			return fd == -ENXIO ? -EINVAL : fd;
		r = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
		close(fd);
	}
	if (r == 0 && (in->valid & FATTR_KILL_SUIDGID) && fstat(q->fd, &st) == 0)
		drop_suid(q->fd, &st);
	return r;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t s, uint32_t ns)
{
	struct timespec t = { .tv_sec = (time_t)s, .tv_nsec = ns };

	if (valid & now)
		t.tv_nsec = UTIME_NOW;
	else if (!(valid & set))
		t.tv_nsec = UTIME_OMIT;
	return t;
}

static int set_times(struct request *q, const struct fuse_setattr_in *in)
{
	const struct timespec t[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};
	const uint32_t any = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW;

	if (!(in->valid & any))
		return 0;
	if (in->atimensec > 999999999 || in->mtimensec > 999999999)
		return -EINVAL;
	return utimensat(q->fd, "", t, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Owner before mode: changing the owner takes set-user-ID bits away. Times last: changing the size sets them. */
int64_t op_setattr(struct request *q)
{
	struct fuse_setattr_in in;
	char path[SHARE_PATH];
	int r = take(q, &in, sizeof(in));

	if (r == 0)
		r = set_owner(q, &in);
	if (r == 0 && (in.valid & FATTR_MODE)) {
		fd_path(q->fd, path);
		r = chmod(path, in.mode & 07777) < 0 ? -errno : 0;
	}
	if (r == 0)
		r = set_size(q, &in);
	if (r == 0)
		r = set_times(q, &in);
	return r < 0 ? r : give_attr(q, q->fd);
}

int64_t op_readlink(struct request *q)
{
	ssize_t n = readlinkat(q->fd, "", (char *)q->out, PATH_MAX);

	return n < 0 ? (errno == ENOENT ? -EINVAL : -errno) : n;
}

int64_t op_statfs(struct request *q)
{
	struct fuse_statfs_out out = { 0 };
	struct statvfs v;

	if (fstatvfs(q->fd, &v) < 0)
		return -errno;
	out.st.blocks = v.f_blocks;
	out.st.bfree = v.f_bfree;
	out.st.bavail = v.f_bavail;
	out.st.files = v.f_files;
	out.st.ffree = v.f_ffree;
	out.st.bsize = (uint32_t)v.f_bsize;
	out.st.namelen = (uint32_t)v.f_namemax;
	out.st.frsize = (uint32_t)v.f_frsize;
	return give(q, &out, sizeof(out));
}

/* --- extended attributes --------------------------------------------------------------------------------------------- */

static int take_attr_name(struct request *q, const char **ret)
{
	int r = take_text(q, XATTR_NAME_MAX, ret);

	if (r < 0)
		return r == -ENAMETOOLONG ? -ERANGE : r;
	return str_starts(str_of(*ret), STR("user.")) ? 0 : -EOPNOTSUPP;
}

int64_t op_setxattr(struct request *q)
{
	char path[SHARE_PATH];
	struct fuse_setxattr_in in;
	const char *name;
	/* The old, shorter kind of message: the longer one must be asked for (FUSE_SETXATTR_EXT). */
	int r = take(q, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);

	if (r == 0)
		r = take_attr_name(q, &name);
	if (r < 0)
		return r;
	if (in.size > q->n || in.size > XATTR_SIZE_MAX ||
	    (in.flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return -EINVAL;
	fd_path(q->fd, path);
	return setxattr(path, name, q->arg, in.size, (int)in.flags) < 0 ? -errno : 0;
}

/* What a question without room for an answer is answered by. */
static int64_t give_size(struct request *q, ssize_t n)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)n };

	return give(q, &out, sizeof(out));
}

int64_t op_getxattr(struct request *q)
{
	struct fuse_getxattr_in in;
	char path[SHARE_PATH];
	const char *name;
	ssize_t n;
	int r = take(q, &in, sizeof(in));

	if (r == 0)
		r = take_attr_name(q, &name);
	if (r < 0)
		return r;
	fd_path(q->fd, path);
	n = getxattr(path, name, in.size ? q->out : NULL, MIN(in.size, (uint32_t)XATTR_SIZE_MAX));
	if (n < 0)
		return -errno;
	return in.size ? n : give_size(q, n);
}

int64_t op_listxattr(struct request *q)
{
	char path[SHARE_PATH], *all = (char *)q->out;
	struct fuse_getxattr_in in;
	size_t kept = 0;
	ssize_t n;
	int r = take(q, &in, sizeof(in));

	if (r < 0)
		return r;
	fd_path(q->fd, path);
	n = listxattr(path, all, XATTR_LIST_MAX);
	if (n < 0)
		return -errno;
	for (size_t at = 0, len; at < (size_t)n; at += len) {
		len = strnlen(all + at, (size_t)n - at) + 1;
		if (!str_starts(str_of(all + at), STR("user.")))
			continue;
		memmove(all + kept, all + at, len);
		kept += len;
	}
	if (!in.size)
		return give_size(q, (ssize_t)kept);
	return kept > in.size ? -ERANGE : (int64_t)kept;
}

int64_t op_removexattr(struct request *q)
{
	char path[SHARE_PATH];
	const char *name;
	int r = take_attr_name(q, &name);

	if (r < 0)
		return r;
	fd_path(q->fd, path);
	return removexattr(path, name) < 0 ? -errno : 0;
}
