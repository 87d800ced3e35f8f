/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mounts of a configuration, in its order, each below the new root by descriptor: a bind is a clone of the source's mount
 * with its attributes set before anybody sees it; a new file system is mounted on /proc/self/fd/N, because mount(2) takes
 * options of any length, which fsconfig(2) does not (an overlay of many layers).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/container_priv.h"
#include "sys/fd.h"

static int set_all(int fd, const struct ct_mount *m, struct err *err)
{
	struct mount_attr attr = { .attr_set = m->set, .attr_clr = m->clear };
	struct mount_attr below = { .attr_set = m->set_all, .attr_clr = m->clear_all };

	if ((attr.attr_set | attr.attr_clr) &&
	    mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_set_errno(err, "attributes");
	if ((below.attr_set | below.attr_clr) &&
	    mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &below, sizeof(below)) < 0)
		return err_set_errno(err, "attributes");
	return 0;
}

static int set_propagation(int fd, const struct ct_mount *m, struct err *err)
{
	struct mount_attr attr = { .propagation = m->propagation & ~(unsigned long)MS_REC };

	if (m->propagation &&
	    mount_setattr(fd, "", AT_EMPTY_PATH | (m->propagation & MS_REC ? AT_RECURSIVE : 0),
			  &attr, sizeof(attr)) < 0)
		return err_set_errno(err, "propagation");
	return 0;
}

static int mount_bind(struct ct_init *in, const struct ct_mount *m, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf source = { 0 };
	_cleanup_(fd_closep) int tree = -EBADF, place = -EBADF;
	struct stat st;
	int r;

	if (m->source[0] != '/')
		strbuf_addf(&source, "%s/", in->bundle);
	strbuf_adds(&source, m->source);
	tree = open_tree(AT_FDCWD, strbuf_cstr(&source),
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				 (m->is_recursive ? AT_RECURSIVE : 0));
	if (tree < 0 || fstat(tree, &st) < 0)
		return err_set_errno(err, "source '%.120s'", strbuf_cstr(&source));
	r = set_all(tree, m, err);
	if (r == 0)
		r = set_propagation(tree, m, err);
	if (r == 0)
		r = place_make(in->root_fd, m->destination, S_ISDIR(st.st_mode), &place, err);
	if (r == 0 &&
	    move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = err_set_errno(err, "mount");
	return r;
}

/* A folder, where the container shall see what is mounted at it; /proc and /sys not by a link, through which masked paths could
 * miss them. */
static int open_place(struct ct_init *in, const struct ct_mount *m, int *ret, struct err *err)
{
	int r = place_make(in->root_fd, m->destination, true, ret, err);

	if (r == 0 && (strcmp(m->type, "proc") == 0 || strcmp(m->type, "sysfs") == 0)) {
		fd_closep(ret);
		r = place_open_plain(in->root_fd, m->destination, ret);
		if (r < 0)
			err_set(err, r, "a link on the way to the folder");
	}
	return r;
}

static int mount_new(struct ct_init *in, const struct ct_mount *m, struct err *err)
{
	_cleanup_(fd_closep) int place = -EBADF, done = -EBADF;
	/* What is copied into it needs it writable. */
	bool gets_readonly = m->copies_up && m->flags & MS_RDONLY;
	const struct ct_mount readonly = { .set = MOUNT_ATTR_RDONLY };
	int r = open_place(in, m, &place, err);

	if (r < 0)
		return r;
	if (mount(m->source ? m->source : m->type, proc_fd(place).path, m->type,
		  (unsigned long)m->flags & ~(gets_readonly ? MS_RDONLY : 0UL),
		  m->data[0] ? m->data : NULL) < 0)
		return err_set_errno(err, "mount");
	if (!m->propagation && !m->copies_up)
		return 0;
	r = place_open(in->root_fd, m->destination, &done);
	if (r < 0)
		return err_set(err, r, "find the mount again");
	if (m->copies_up)
		r = copy_up(place, done, err);
	if (r == 0 && gets_readonly)
		r = set_all(done, &readonly, err);
	return r < 0 ? r : set_propagation(done, m, err);
}

/* The container's own part of each hierarchy, under the name of its controllers. */
static int mount_cgroup(struct ct_init *in, const struct ct_mount *m, struct err *err)
{
	const struct cgroups *cg = in->cgroups;
	struct ct_mount part = *m;
	bool is_single = cg->n == 1 && cg->dir[0].is_v2;
	int r = 0;

	if (!cg->n)
		return err_set(err, -EOPNOTSUPP, "the container has no cgroups");
	part.is_recursive = true;
	if (!is_single) {
		part.type = "tmpfs";
		part.source = "tmpfs";
		part.data = "mode=755";
		part.flags &= ~(uint64_t)MS_RDONLY; /* until its folders are made */
		r = mount_new(in, &part, err);
	}
	for (size_t i = 0; r == 0 && i < cg->n; i++) {
		_cleanup_(strbuf_done) struct strbuf path = { 0 };

		strbuf_adds(&path, m->destination);
		if (!is_single)
			strbuf_addf(&path, "/%s",
				    cg->dir[i].is_v2 ? "unified" : cg->dir[i].controllers);
		part.destination = strbuf_cstr(&path);
		part.source = cg->dir[i].path;
		r = mount_bind(in, &part, err);
	}
	if (r == 0 && !is_single && m->flags & MS_RDONLY) {
		_cleanup_(fd_closep) int fd = -EBADF;
		const struct ct_mount readonly = { .set = MOUNT_ATTR_RDONLY };

		r = place_open(in->root_fd, m->destination, &fd);
		if (r == 0)
			r = set_all(fd, &readonly, err);
	}
	return r;
}

int mounts_make(struct ct_init *in, struct err *err)
{
	const struct ct_config *c = in->config;

	for (size_t i = 0; i < c->nr_mounts; i++) {
		const struct ct_mount *m = &c->mounts[i];
		int r;

		if (m->is_bind)
			r = mount_bind(in, m, err);
		else if (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0)
			r = mount_cgroup(in, m, err);
		else
			r = mount_new(in, m, err);
		if (r < 0)
			return err_wrap(err, r, "mounts[%zu] (%.80s)", i, m->destination);
	}
	return 0;
}
