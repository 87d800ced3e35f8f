/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A user namespace, and with it a network without devices, System V objects, a host name and a view of mounts of our
 * own, whose root is an empty folder. No privilege is needed where the host lets its users make user namespaces.
 *
 * The root is exchanged by pivot_root(2) rather than chroot(2): after the old one is unmounted there is no path that
 * leads to it, and no capability that leads back. The user keeps its number in the new namespace, so that peers of
 * sockets are recognized as before. No PID namespace: only a child would be in it, and that would have to carry the
 * terminal, signals and the exit status of the process that people see; who may send signals is the system call filter's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/clock.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox_priv.h"

static int write_file(const char *path, const char *text, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	int r = fd_open(path, O_WRONLY, &fd, err);

	if (r == 0)
		r = fd_write_full(fd, text, strlen(text));
	return r < 0 ? err_wrap(err, r, "write '%s' into '%s'", text, path) : 0;
}

/* Ourselves and nobody else. */
static int map_user(uid_t uid, gid_t gid, struct err *err)
{
	char map[64];
	int r = write_file("/proc/self/setgroups", "deny", err);

	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (r == 0)
		r = write_file("/proc/self/uid_map", map, err);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return r < 0 ? r : write_file("/proc/self/gid_map", map, err);
}

static bool has_other_threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) == 0 && st.st_nlink > 3; /* ".", "..", and this one */
}

/* Only a process of one thread can have a user namespace made. One that was joined says so before it has left the process. */
static int unshare_alone(int flags)
{
	const struct timespec nap = { .tv_nsec = NS_PER_MS };
	enum { NAPS = 2000 };
	int r = unshare(flags);

	for (unsigned int k = 0; r < 0 && errno == EINVAL && k < NAPS && has_other_threads(); k++) {
		nanosleep(&nap, NULL);
		r = unshare(flags);
	}
	return r;
}

int sandbox_namespaces(struct err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare_alone(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			  CLONE_NEWCGROUP) < 0)
		return err_set_errno(err, "make a user namespace");
	return map_user(uid, gid, err);
}

int sandbox_empty_root(struct err *err)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	/* Any folder would do that is there everywhere. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("atoll", "/proc", "tmpfs", flags, "size=4k,nr_inodes=1,mode=500") < 0 ||
	    chdir("/proc") < 0)
		return err_set_errno(err, "mount an empty folder");
	/* Onto itself: the old root then lies on top of the new one, and goes. */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
	    chdir("/") < 0 ||
	    mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0)
		return err_set_errno(err, "make an empty folder the root");
	return 0;
}
