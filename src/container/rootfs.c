/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root file system: a private copy of the host's mounts, in it a copy of the bundle's root as a mount of its own, on which
 * everything else is mounted; at the end it becomes "/", and the host's mounts go. Mounts are made by descriptors
 * (open_tree(2), move_mount(2)): a name that somebody exchanges meanwhile is never looked at again.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/container_priv.h"
#include "sys/fd.h"

int bind_fd(int source_fd, int place_fd, bool recursive, uint64_t set, struct err *err)
{
	unsigned int all = recursive ? AT_RECURSIVE : 0;
	struct mount_attr attr = { .attr_set = set };
	_cleanup_(fd_closep) int tree =
		open_tree(source_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | all);

	if (tree < 0)
		return err_set_errno(err, "copy of a mount");
	if (set && mount_setattr(tree, "", AT_EMPTY_PATH | all, &attr, sizeof(attr)) < 0)
		return err_set_errno(err, "attributes of a mount");
	if (move_mount(tree, "", place_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_set_errno(err, "mount a copy");
	return 0;
}

int rootfs_begin(struct ct_init *in, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	_cleanup_(fd_closep) int folder = -EBADF;
	int r;

	/* Nothing of what is mounted from here on gets back to the host. */
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_set_errno(err, "keep the container's mounts from the host");
	if (in->config->rootfs[0] != '/')
		strbuf_addf(&path, "%s/", in->bundle);
	strbuf_adds(&path, in->config->rootfs);
	r = fd_open(strbuf_cstr(&path), O_PATH | O_DIRECTORY, &folder, err);
	if (r < 0)
		return err_wrap(err, r, "root.path");
	in->root_fd = open_tree(folder, "",
				AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (in->root_fd < 0)
		return err_set_errno(err, "root.path: copy of the mount of '%.120s'",
				     strbuf_cstr(&path));
	if (move_mount(in->root_fd, "", folder, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_set_errno(err, "root.path: mount '%.120s'", strbuf_cstr(&path));
	return 0;
}

static int pivot(struct err *err)
{
	/* Both in one place: the old root lies on top of the new one, and is taken off. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_set_errno(err, "pivot_root (a root on a ramdisk needs --no-pivot)");
	if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 || umount2(".", MNT_DETACH) < 0)
		return err_set_errno(err, "take the host's mounts away");
	return 0;
}

/* For roots that cannot be exchanged. The host's mounts stay beneath, out of reach without CAP_SYS_ADMIN. */
static int move_root(struct err *err)
{
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		return err_set_errno(err, "move the root file system to /");
	return 0;
}

int rootfs_enter(struct ct_init *in, struct err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	unsigned long propagation = in->config->root_propagation;
	int r;

	if (fchdir(in->root_fd) < 0)
		return err_set_errno(err, "enter the root file system");
	r = in->no_pivot ? move_root(err) : pivot(err);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return err_set_errno(err, "enter /");
	if (in->config->is_root_readonly &&
	    mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0)
		return err_set_errno(err, "root.readonly");
	if (propagation && mount(NULL, "/", NULL, propagation, NULL) < 0)
		return err_set_errno(err, "linux.rootfsPropagation");
	fd_closep(&in->root_fd);
	return 0;
}

static int hide(struct ct_init *in, const char *path, struct err *err)
{
	_cleanup_(fd_closep) int place = -EBADF, null = -EBADF;
	int r = place_open(in->root_fd, path, &place);
	struct stat st;

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_set(err, r, "linux.maskedPaths: '%.120s': %s", path,
			       strerrordesc_np(-r));
	if (fstat(place, &st) < 0)
		return err_set_errno(err, "linux.maskedPaths: '%.120s'", path);
	if (S_ISDIR(st.st_mode)) {
		if (mount("tmpfs", proc_fd(place).path, "tmpfs", MS_RDONLY,
			  "nr_blocks=1,nr_inodes=1") < 0)
			return err_set_errno(err, "linux.maskedPaths: '%.120s'", path);
		return 0;
	}
	r = fd_open("/dev/null", O_PATH, &null, err);
	if (r == 0)
		r = bind_fd(null, place, false, 0, err);
	return r < 0 ? err_wrap(err, r, "linux.maskedPaths: '%.120s'", path) : 0;
}

static int protect(struct ct_init *in, const char *path, struct err *err)
{
	_cleanup_(fd_closep) int place = -EBADF;
	int r = place_open(in->root_fd, path, &place);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		err_set(err, r, "%s", strerrordesc_np(-r));
	else
		r = bind_fd(place, place, true, MOUNT_ATTR_RDONLY, err);
	return r < 0 ? err_wrap(err, r, "linux.readonlyPaths: '%.120s'", path) : 0;
}

int paths_hide(struct ct_init *in, struct err *err)
{
	const struct ct_config *c = in->config;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->readonly.n; i++)
		r = protect(in, c->readonly.v[i], err);
	for (size_t i = 0; r == 0 && i < c->masked.n; i++)
		r = hide(in, c->masked.v[i], err);
	return r;
}
