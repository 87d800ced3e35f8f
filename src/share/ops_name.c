/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names: what makes, finds, moves and removes them. All is done in the descriptor of a folder with a single
 * component.
 *
 * What the guest makes belongs to whom it says when this process is root's: made as root's own without any rights for
 * others that the guest did not name, then handed over; bits that handing over takes away come last. A process that
 * took the user's identity meanwhile would be checked against that user's groups on this host, which are not the
 * guest's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "share/share_priv.h"
#include "sys/fd.h"

/* --- helpers ----------------------------------------------------------------------------------------------------- */

void fill_entry(const struct share *s, const struct node *n, const struct stat *st,
		struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){ .nodeid = node_id(n),
					.entry_valid = SHARE_TTL_S,
					.attr_valid = SHARE_TTL_S };
	fill_attr(s, st, &ret->attr);
}

static int64_t give_entry(struct request *q, const char *name)
{
	struct fuse_entry_out e;
	struct node *n;
	struct stat st;
	int r = node_look_up(q->s, q->node, q->fd, name, &n, &st);

	if (r < 0)
		return r;
	fill_entry(q->s, n, &st, &e);
	return give(q, &e, sizeof(e));
}

/* What was just made as @name becomes the caller's. A folder that hands its group down does so. */
static int hand_over(const struct request *q, const char *name, mode_t mode)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct stat folder, st;
	char path[SHARE_PATH];
	gid_t gid = q->h.gid;

	if (!q->s->is_root && !(mode & (S_ISUID | S_ISGID | S_ISVTX)))
		return 0;
	fd = openat(q->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || fstat(q->fd, &folder) < 0)
		return -errno;
	if (folder.st_mode & S_ISGID)
		gid = (gid_t)-1;
	if (q->s->is_root &&
	    fchownat(fd, "", q->h.uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* What the folder gave it (its set-group-ID bit), and what was asked for. */
	mode = (mode & 07000) | (st.st_mode & 07777);
	if (S_ISLNK(st.st_mode) || !(mode & 07000))
		return 0;
	fd_path(fd, path);
	return chmod(path, mode) < 0 ? -errno : 0;
}

/* --- looking up and making --------------------------------------------------------------------------------------- */

int64_t op_lookup(struct request *q)
{
	const char *name;
	int r = take_name(q, &name);

	return r < 0 ? r : give_entry(q, name);
}

static int64_t made(struct request *q, const char *name, mode_t mode, int r)
{
	if (r < 0)
		return -errno;
	r = hand_over(q, name, mode);
	return r < 0 ? r : give_entry(q, name);
}

int64_t op_mknod(struct request *q)
{
	struct fuse_mknod_in in;
	const char *name;
	mode_t type;
	int r = take(q, &in, sizeof(in));

	if (r == 0)
		r = take_name(q, &name);
	if (r < 0)
		return r;
	type = in.mode & S_IFMT;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM;
	return made(q, name, in.mode & 07777, mknodat(q->fd, name, type | (in.mode & 0777), 0));
}

int64_t op_mkdir(struct request *q)
{
	struct fuse_mkdir_in in;
	const char *name;
	int r = take(q, &in, sizeof(in));

	if (r == 0)
		r = take_name(q, &name);
	if (r < 0)
		return r;
	return made(q, name, in.mode & 01777, mkdirat(q->fd, name, in.mode & 0777));
}

int64_t op_symlink(struct request *q)
{
	const char *name, *target;
	int r = take_name(q, &name);

	if (r == 0)
		r = take_text(q, PATH_MAX - 1, &target);
	if (r < 0)
		return r;
	return made(q, name, 0, symlinkat(target, q->fd, name));
}

int64_t op_link(struct request *q)
{
	char path[SHARE_PATH];
	struct fuse_link_in in;
	struct node *old;
	const char *name;
	int fd, r = take(q, &in, sizeof(in));

	if (r == 0)
		r = take_name(q, &name);
	if (r == 0)
		r = node_of(q->s, in.oldnodeid, &old, &fd);
	if (r < 0)
		return r;
	if (S_ISDIR(old->type))
		return -EPERM;
	fd_path(fd, path);
	if (linkat(AT_FDCWD, path, q->fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return give_entry(q, name);
}

/* The file that is there already is opened as if by a look-up, so that it is a file and no pipe. */
static int create(struct request *q, const char *name, const struct fuse_create_in *in)
{
	int flags = open_flags(in->flags), fd, r;

	if (flags < 0)
		return flags;
	fd = openat(q->fd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    in->mode & 0777);
	if (fd >= 0) {
		r = hand_over(q, name, in->mode & 07777);
		if (r == 0)
			return fd;
		close(fd);
		return r;
	}
	if (errno != EEXIST || (in->flags & O_EXCL))
		return -errno;
	r = openat(q->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (r < 0)
		return -errno;
	fd = node_reopen(q->s, r, flags);
	close(r);
	return fd;
}

int64_t op_create(struct request *q)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { 0 };
	struct fuse_create_in in;
	struct node *n;
	struct stat st;
	const char *name;
	int64_t fh;
	int fd, r = take(q, &in, sizeof(in));

	if (r == 0)
		r = take_name(q, &name);
	if (r < 0)
		return r;
	fd = create(q, name, &in);
	if (fd < 0)
		return fd;
	r = node_look_up(q->s, q->node, q->fd, name, &n, &st);
	if (r < 0) {
		close(fd);
		return r;
	}
	fh = handle_add(q->s, fd, false);
	if (fh < 0) {
		node_forget(q->s, node_id(n), 1);
		return fh;
	}
	fill_entry(q->s, n, &st, &out.entry);
	out.open.fh = (uint64_t)fh;
	return give(q, &out, sizeof(out));
}

/* --- removing and moving ------------------------------------------------------------------------------------------- */

static int64_t remove_name(struct request *q, int flags)
{
	const char *name;
	struct node *n;
	int r = take_name(q, &name);

	if (r < 0)
		return r;
	n = node_losing_name(q->s, q->node, q->fd, name);
	if (unlinkat(q->fd, name, flags) < 0)
		return -errno;
	if (n)
		n->is_pinned = true;
	return 0;
}

int64_t op_unlink(struct request *q)
{
	return remove_name(q, 0);
}

int64_t op_rmdir(struct request *q)
{
	return remove_name(q, AT_REMOVEDIR);
}

static int64_t rename_to(struct request *q, uint64_t to_id, uint32_t flags)
{
	const char *from, *to;
	struct node *folder, *lost;
	int fd, r = take_name(q, &from);

	if (r == 0)
		r = take_name(q, &to);
	if (r == 0)
		r = node_of(q->s, to_id, &folder, &fd);
	if (r < 0)
		return r;
	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	lost = flags ? NULL : node_losing_name(q->s, folder, fd, to);
	if (renameat2(q->fd, from, fd, to, flags) < 0)
		return -errno;
	if (lost)
		lost->is_pinned = true;
	/* Also where both names were one file's: then it has one yet. */
	node_moved(q->s, folder, fd, to);
	if (flags & RENAME_EXCHANGE)
		node_moved(q->s, q->node, q->fd, from);
	return 0;
}

int64_t op_rename(struct request *q)
{
	struct fuse_rename_in in;
	int r = take(q, &in, sizeof(in));

	return r < 0 ? r : rename_to(q, in.newdir, 0);
}

int64_t op_rename2(struct request *q)
{
	struct fuse_rename2_in in;
	int r = take(q, &in, sizeof(in));

	return r < 0 ? r : rename_to(q, in.newdir, in.flags);
}
