/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock: a second lock, which holds where user namespaces are denied, and behind a descriptor of a folder that was
 * forgotten. Everything that the host's version knows is forbidden, with no rule that allows something; what is open
 * already stays open.
 *
 * The kernel's interface is small and its header may be older than the kernel, so the numbers stand here. Source:
 * Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"
#include "sys/sandbox/sandbox_priv.h"

enum { CREATE_RULESET_VERSION = 1 };

/* Of landlock_create_ruleset(2); older kernels take a shorter one. */
struct ruleset {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

/* What each version can forbid besides what the one before it can. */
static const struct {
	uint64_t fs, net, scoped;
	size_t size; /* of struct ruleset, bytes */
} versions[] = {
	{ .fs = (1 << 13) - 1, .size = 8 }, /* execute ... make symbolic link */
	{ .fs = 1 << 13, .size = 8 },	    /* refer */
	{ .fs = 1 << 14, .size = 8 },	    /* truncate by path */
	{ .net = 3, .size = 16 },	    /* TCP: bind, connect */
	{ .fs = 1 << 15, .size = 16 },	    /* ioctl of devices that are opened from now on */
	{ .scoped = 1, .size = 24 }, /* abstract unix sockets; not signals: children get theirs */
};

int sandbox_landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	return v < 0 ? -errno : (int)v;
}

int sandbox_landlock(struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int version = sandbox_landlock_version();
	struct ruleset rules = { 0 };
	size_t size = 0;

	if (version < 0)
		return err_set(err, version, "Landlock is not there");
	for (int v = 0; v < version && v < (int)ARRAY_SIZE(versions); v++) {
		rules.handled_access_fs |= versions[v].fs;
		rules.handled_access_net |= versions[v].net;
		rules.scoped |= versions[v].scoped;
		size = versions[v].size;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return err_set_errno(err, "Landlock's rules");
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return err_set_errno(err, "Landlock");
	return 0;
}
