/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock: a second lock, which holds where user namespaces are denied, and behind a descriptor of a folder that was
 * forgotten. Everything that the host's version knows is forbidden, with no rule that allows something, or with one, for
 * the folder that a helper serves; what is open already stays open.
 *
 * The kernel's interface is small and its header may be older than the kernel, so the numbers stand here. Source:
 * Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"
#include "sys/sandbox/sandbox_priv.h"

enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1, VERSION_REFER = 2 };

/* Of files and folders; the others of versions[] make sense for folders only. */
enum { FS_EXECUTE = 1 << 0, FS_READ_FILE = 1 << 2, FS_READ_DIR = 1 << 3 };

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

/* Source: struct landlock_path_beneath_attr, which is packed. */
static int allow_beneath(int ruleset, const struct sandbox_keep *keep, uint64_t fs, struct err *err)
{
	uint8_t rule[12];

	put_le64(rule, keep->may_write ? fs & ~(uint64_t)FS_EXECUTE : FS_READ_FILE | FS_READ_DIR);
	put_le32(rule + 8, (uint32_t)keep->folder_fd);
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, rule, 0) < 0)
		return err_set_errno(err, "Landlock's rule for a folder");
	return 0;
}

int sandbox_landlock(const struct sandbox_keep *keep, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int version = sandbox_landlock_version(), r = 0;
	struct ruleset rules = { 0 };
	size_t size = 0;

	if (version < 0)
		return err_set(err, version, "Landlock is not there");
	if (keep && keep->may_write && version < VERSION_REFER)
		return err_set(err, -EOPNOTSUPP,
			       "Landlock is of version 1, which allows no renaming between folders");
	for (int v = 0; v < version && v < (int)ARRAY_SIZE(versions); v++) {
		rules.handled_access_fs |= versions[v].fs;
		rules.handled_access_net |= versions[v].net;
		rules.scoped |= versions[v].scoped;
		size = versions[v].size;
	}
	if (keep && keep->network)
		rules.handled_access_net = 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return err_set_errno(err, "Landlock's rules");
	if (keep && keep->folder_fd >= 0)
		r = allow_beneath(fd, keep, rules.handled_access_fs, err);
	if (r < 0)
		return r;
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return err_set_errno(err, "Landlock");
	return 0;
}
