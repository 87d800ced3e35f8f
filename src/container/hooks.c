/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hooks: programs of the host's administrator around a container's life, with its state on standard input. One that fails ends
 * what was being done, and its exit status is the error.
 * Source: OCI runtime specification 1.1, config.md, "POSIX-platform Hooks".
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "sys/child.h"
#include "sys/fd.h"

/* The hook's standard input is a file, not a pipe: one that does not read it cannot block us. */
static int state_file(struct str state, struct err *err)
{
	_cleanup_(fd_closep) int fd = memfd_create("state", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_full(fd, state.p, state.n);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "state for a hook") : fd_take(&fd);
}

static _noreturn_ void become(const struct ct_hook *hook, int in)
{
	static const char *const no_env[] = { NULL };
	const char *const only_path[] = { hook->path, NULL };
	const char *const *argv = hook->args.n ? hook->args.v : only_path;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) >= 0)
		execve(hook->path, (char *const *)(uintptr_t)argv,
		       (char *const *)(uintptr_t)(hook->env.n ? hook->env.v : no_env));
	fprintf(stderr, "%s: %s\n", hook->path, strerrordesc_np(errno));
	_exit(127);
}

static int run_one(const struct ct_hook *hook, struct str state, struct err *err)
{
	_cleanup_(child_done) struct child child = CHILD_INIT;
	_cleanup_(fd_closep) int in = state_file(state, err);
	int status = 0, r;
	pid_t pid;

	if (in < 0)
		return in;
	pid = fork();
	if (pid < 0)
		return err_set_errno(err, "fork");
	if (pid == 0)
		become(hook, in);
	child.pid = pid;
	child.fd = (int)syscall(SYS_pidfd_open, child.pid, 0); /* close-on-exec, as they all are */
	if (child.fd < 0)
		return err_set_errno(err, "pidfd");
	if (hook->timeout_s) {
		struct pollfd p = { .fd = child.fd, .events = POLLIN };

		do
			r = poll(&p, 1, (int)MIN(hook->timeout_s, (int64_t)2000000) * 1000);
		while (r < 0 && errno == EINTR);
		if (r == 0)
			return err_set(err, -ETIMEDOUT, "took longer than %lld s",
				       (long long)hook->timeout_s);
	}
	r = child_wait(&child, &status);
	if (r < 0)
		return err_set(err, r, "wait for it");
	return status ? err_set(err, -EIO, "exit status %d", status) : 0;
}

int hooks_run(const struct ct_hooks *hooks, const char *name, struct str state, struct err *err)
{
	for (size_t i = 0; i < hooks->n; i++) {
		int r = run_one(&hooks->v[i], state, err);

		if (r < 0)
			return err_wrap(err, r, "hooks.%s[%zu] (%.80s)", name, i, hooks->v[i].path);
	}
	return 0;
}
