/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process of a container in the foreground: it is our child, signals are handed on to it, its terminal is the caller's, its
 * exit status ours.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/rt.h"
#include "container/container.h"
#include "sys/fd.h"
#include "sys/term.h"

int front_begin(struct front *f, bool is_subreaper, struct err *err)
{
	sigset_t all;

	/* What is a fault of ours ends us; all others are the container's. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigprocmask(SIG_BLOCK, &all, NULL);
	f->signal_fd = signalfd(-1, &all, SFD_CLOEXEC);
	if (f->signal_fd < 0)
		return err_set_errno(err, "signalfd");
	if (is_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_set_errno(err, "subreaper");
	return 0;
}

static void copy_size(const struct front *f)
{
	struct winsize size;

	if (f->console_fd >= 0 && ioctl(0, TIOCGWINSZ, &size) == 0)
		ioctl(f->console_fd, TIOCSWINSZ, &size);
}

/* Returns false when the container has ended. */
static bool take_signal(struct front *f)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (fd_read_full(f->signal_fd, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo == SIGWINCH && f->console_fd >= 0) {
		copy_size(f);
		return true;
	}
	if (info.ssi_signo != SIGCHLD) {
		kill(f->pid, (int)info.ssi_signo);
		return true;
	}
	/* Others are children of the container that it left to us. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == f->pid) {
			f->status = status;
			return false;
		}
	return true;
}

/* Copies what is there; false at the end. */
static bool copy(int from, int to)
{
	char buf[2048];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n > 0 && fd_write_full(to, buf, (size_t)n) == 0;
}

int front_stay(struct front *f, const struct ct_created *made)
{
	f->pid = made->pid;
	f->console_fd = made->console_fd;
	f->is_stdin_open = true;
	copy_size(f);
	if (f->console_fd >= 0 && isatty(0))
		ignore_result(term_raw(0, NULL)); /* as it is, then */
	for (;;) {
		struct pollfd p[3] = {
			{ .fd = f->signal_fd, .events = POLLIN },
			{ .fd = f->console_fd, .events = POLLIN },
			{ .fd = f->console_fd >= 0 && f->is_stdin_open ? 0 : -1, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents && !copy(f->console_fd, 1))
			fd_closep(&f->console_fd);
		if (p[2].revents && f->console_fd >= 0 && !copy(0, f->console_fd))
			f->is_stdin_open = false;
		if (p[0].revents && !take_signal(f))
			break;
	}
	/* What it has written last. */
	while (f->console_fd >= 0 && fd_nonblock(f->console_fd, 1) == 0) {
		struct pollfd p = { .fd = f->console_fd, .events = POLLIN };

		if (poll(&p, 1, 0) <= 0 || !copy(f->console_fd, 1))
			break;
	}
	fd_closep(&f->console_fd);
	term_restore();
	return WIFSIGNALED(f->status) ? 128 + WTERMSIG(f->status) : WEXITSTATUS(f->status);
}
