/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of it, in the order in which one part does not take away what the next one needs.
 *
 * What a host does not offer is reported, not fatal: of several locks, those that are there should be locked. Who
 * would rather have no machine than a half locked one looks at the report.
 */
#include "sys/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/sandbox/sandbox_priv.h"

static const char *const names[SANDBOX_NR_PARTS] = {
	[SANDBOX_NAMESPACES] = "namespaces",
	[SANDBOX_ROOT] = "empty root",
	[SANDBOX_LANDLOCK] = "Landlock",
	[SANDBOX_CAPABILITIES] = "no capabilities",
};

const char *sandbox_part_name(enum sandbox_part part)
{
	return names[part];
}

int sandbox_enter(struct sandbox_report *ret, struct err *err)
{
	const struct rlimit none = { 0, 0 };
	int r;

	*ret = (struct sandbox_report){ 0 };
	/* A core file would be the guest's memory on the host's disk. */
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_set_errno(err, "limit of core files");
	r = sandbox_no_new_privileges(err);
	if (r < 0)
		return r;
	r = sandbox_namespaces(&ret->part[SANDBOX_NAMESPACES]);
	if (r == 0)
		r = sandbox_empty_root(&ret->part[SANDBOX_ROOT]);
	else
		err_set(&ret->part[SANDBOX_ROOT], r, "it needs namespaces");
	ignore_result(sandbox_landlock(&ret->part[SANDBOX_LANDLOCK]));		    /* reported */
	ignore_result(sandbox_drop_capabilities(&ret->part[SANDBOX_CAPABILITIES])); /* as well */
	return 0;
}

int sandbox_try(struct sandbox_report *ret, struct err *err)
{
	int pipe_fd[2], r = 0;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return err_set_errno(err, "pipe");
	pid = fork();
	if (pid == 0) {
		r = sandbox_enter(ret, err);
		_exit(r < 0 || fd_write_full(pipe_fd[1], ret, sizeof(*ret)) < 0);
	}
	close(pipe_fd[1]);
	if (pid < 0)
		r = err_set_errno(err, "fork");
	else if (fd_read_full(pipe_fd[0], ret, sizeof(*ret)) != sizeof(*ret))
		r = err_set(err, -EIO, "the child that tried it has died");
	close(pipe_fd[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
