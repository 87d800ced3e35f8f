/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program's own file, out of the reach of containers. A process in a container that is about to become its program is still
 * us, and /proc/PID/exe leads to our file on the host: who opens that, and waits until it is executed no more, could write to it
 * and would own the host (CVE-2019-5736). So we are executed once more through a clone of the mount that has our file: read-only,
 * attached nowhere, and gone but for its use once its descriptor is closed, so that nobody can change it. That costs no copy; a
 * user without the right to clone mounts gets a sealed copy in memory instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/container.h"
#include "sys/fd.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static bool is_protected(int exe)
{
	struct statvfs fs;

	return fcntl(exe, F_GET_SEALS) == SEALS ||
	       (fstatvfs(exe, &fs) == 0 && fs.f_flag & ST_RDONLY);
}

static int clone_mount(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int fd = open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		fd_closep(&fd);
	return fd;
}

static int copy(int exe, struct err *err)
{
	_cleanup_(fd_closep) int fd = memfd_create("atoll-rt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t left;
	int r;

	if (fd < 0)
		return err_set_errno(err, "memory for a copy of this program");
	r = fd_size(exe, &left, err);
	while (r == 0 && left > 0) {
		ssize_t n = sendfile(fd, exe, NULL, (size_t)left);

		if (n <= 0)
			return err_set_errno(err, "copy this program");
		left -= (uint64_t)n;
	}
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_set_errno(err, "seal the copy of this program");
	return r < 0 ? r : fd_take(&fd);
}

int ct_exe_protect(char **argv, struct err *err)
{
	_cleanup_(fd_closep) int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_(fd_closep) int fd = -EBADF;

	if (exe < 0)
		return err_set_errno(err, "open /proc/self/exe");
	if (is_protected(exe)) {
		/* Executed by a descriptor, we would be called by its number. */
		ignore_result(prctl(PR_SET_NAME, "atoll-rt"));
		return 0;
	}
	fd = clone_mount();
	if (fd < 0)
		fd = copy(exe, err);
	if (fd < 0)
		return fd;
	execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	return err_set_errno(err, "execute this program once more");
}
