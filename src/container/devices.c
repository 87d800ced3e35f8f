/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device nodes: those that every container has, and those of the configuration. In a user namespace nobody may make one, so the
 * host's is bound there.
 * Source: OCI runtime specification 1.1, config-linux.md, "Default Devices" and "Dev symbolic links".
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "sys/fd.h"

static const struct ct_device defaults[] = {
	{ .path = "/dev/null", .type = S_IFCHR, .mode = 0666, .major = 1, .minor = 3 },
	{ .path = "/dev/zero", .type = S_IFCHR, .mode = 0666, .major = 1, .minor = 5 },
	{ .path = "/dev/full", .type = S_IFCHR, .mode = 0666, .major = 1, .minor = 7 },
	{ .path = "/dev/random", .type = S_IFCHR, .mode = 0666, .major = 1, .minor = 8 },
	{ .path = "/dev/urandom", .type = S_IFCHR, .mode = 0666, .major = 1, .minor = 9 },
	{ .path = "/dev/tty", .type = S_IFCHR, .mode = 0666, .major = 5, .minor = 0 },
};

static const struct {
	const char *target, *path;
} links[] = {
	{ "/proc/self/fd", "/dev/fd" },	      { "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
	{ "pts/ptmx", "/dev/ptmx" },
};

static int bind_device(struct ct_init *in, const struct ct_device *d, struct err *err)
{
	_cleanup_(fd_closep) int source = -EBADF, place = -EBADF;
	int r = fd_open(d->path, O_PATH, &source, err);

	if (r == 0)
		r = place_make(in->root_fd, d->path, false, &place, err);
	return r < 0 ? r : bind_fd(source, place, false, 0, err);
}

/* The folder that a path's last part belongs to; *ret_name points into @path. */
static int open_folder(struct ct_init *in, char *path, int *ret, const char **ret_name,
		       struct err *err)
{
	char *slash = strrchr(path, '/');

	*slash = 0;
	*ret_name = slash + 1;
	return place_make(in->root_fd, path[0] ? path : "/", true, ret, err);
}

static int make_device(struct ct_init *in, const struct ct_device *d, struct err *err)
{
	_cleanup_(mem_freep) char *path = mem_strdup(d->path);
	_cleanup_(fd_closep) int folder = -EBADF;
	const char *name;
	int r;

	if (in->config->ns[CT_NS_USER].is_wanted)
		return bind_device(in, d, err);
	r = open_folder(in, path, &folder, &name, err);
	if (r < 0)
		return r;
	if (mknodat(folder, name, d->type | d->mode, makedev(d->major, d->minor)) < 0) {
		if (errno == EPERM)
			return bind_device(in, d, err);
		/* A default one that the image or the configuration brings is left as it is. */
		return errno == EEXIST ? 0 : err_set_errno(err, "mknod");
	}
	if ((d->uid || d->gid) && fchownat(folder, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set_errno(err, "owner");
	return 0;
}

static int make_link(struct ct_init *in, const char *target, const char *at, struct err *err)
{
	_cleanup_(mem_freep) char *path = mem_strdup(at);
	_cleanup_(fd_closep) int folder = -EBADF;
	const char *name;
	int r = open_folder(in, path, &folder, &name, err);

	if (r == 0 && symlinkat(target, folder, name) < 0 && errno != EEXIST)
		r = err_set_errno(err, "'%s'", at);
	return r;
}

/* Whether the configuration gives the container a /dev to fill; else the host's is bound there, or the image's is meant. */
static bool has_dev(const struct ct_config *c)
{
	for (size_t i = 0; i < c->nr_mounts; i++)
		if (strcmp(c->mounts[i].destination, "/dev") == 0 && c->mounts[i].is_bind)
			return false;
	return true;
}

int devices_make(struct ct_init *in, struct err *err)
{
	const struct ct_config *c = in->config;
	int r = 0;

	if (!has_dev(c))
		return 0;
	for (size_t i = 0; r == 0 && i < c->nr_devices; i++) {
		r = make_device(in, &c->devices[i], err);
		if (r < 0)
			err_wrap(err, r, "linux.devices[%zu] (%.80s)", i, c->devices[i].path);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(defaults); i++) {
		r = make_device(in, &defaults[i], err);
		if (r < 0)
			err_wrap(err, r, "%s", defaults[i].path);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++)
		r = make_link(in, links[i].target, links[i].path, err);
	return r;
}
