/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running programs. The program may be a threaded one, so between fork and exec only what is
 * async-signal-safe is called: everything is prepared before. What goes wrong in the child comes back over a
 * pipe that a successful exec closes. Not posix_spawn(): it cannot tie the child's life to ours.
 */
#include "sys/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/fd.h"

enum { KEEP_MAX = 16, FIRST_KEPT = 3 };

extern char **environ;

/* What the child needs, made ready before the fork. */
struct plan {
	char *path; /* of the program */
	char **env;
	int from[FIRST_KEPT + KEEP_MAX]; /* descriptors above all the numbers they shall have */
	unsigned int nr;
};

static void plan_done(struct plan *p)
{
	for (unsigned int k = 0; k < p->nr; k++)
		fd_closep(&p->from[k]);
	free(p->path);
	free(p->env);
}

static int find_program(const char *name, char **ret, struct err *err)
{
	const char *path = getenv("PATH");
	struct str rest = str_of(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"), dir;
	struct strbuf b = { 0 };

	if (strchr(name, '/')) {
		*ret = mem_strdup(name);
		return 0;
	}
	while (str_cut(&rest, ':', &dir)) {
		strbuf_reset(&b);
		strbuf_addf(&b, "%.*s/%s", STR_ARG(dir), name);
		if (dir.n && access(strbuf_cstr(&b), X_OK) == 0) {
			*ret = strbuf_take(&b);
			return 0;
		}
	}
	strbuf_done(&b);
	return err_set(err, -ENOENT, "no program '%s' in PATH", name);
}

static bool is_in(const char *const *list, const char *var)
{
	size_t n = (size_t)(strchrnul(var, '=') - var);

	for (; list && *list; list++)
		if (strncmp(*list, var, n) == 0 && (*list)[n] == '=')
			return true;
	return false;
}

/* Ours, except for what is given anew. */
static char **join_env(const char *const *more)
{
	size_t nr_more = 0, nr = 0, n = 0;
	char **env;

	while (more && more[nr_more])
		nr_more++;
	while (environ && environ[nr])
		nr++;
	env = mem_new_n(nr + nr_more + 1, sizeof(*env));
	for (size_t k = 0; k < nr; k++)
		if (!is_in(more, environ[k]))
			env[n++] = environ[k];
	for (size_t k = 0; k < nr_more; k++)
		env[n++] = (char *)(uintptr_t)more[k];
	return env;
}

/* Copies above the numbers that will be assigned, so that no dup2() overwrites one that is still needed. */
static int add_fd(struct plan *p, int fd, struct err *err)
{
	_cleanup_(fd_closep) int null = -EBADF;
	int copy;

	if (fd < 0) {
		int r = fd_open("/dev/null", O_RDWR, &null, err);

		if (r < 0)
			return r;
		fd = null;
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_KEPT + KEEP_MAX);
	if (copy < 0)
		return err_set_errno(err, "descriptor %d for a program", fd);
	p->from[p->nr++] = copy;
	return 0;
}

static int plan_make(const struct child_opts *o, struct plan *p, struct err *err)
{
	int r = find_program(o->argv[0], &p->path, err);

	p->env = join_env(o->env);
	if (r == 0)
		r = add_fd(p, o->in, err);
	if (r == 0)
		r = add_fd(p, o->out, err);
	if (r == 0)
		r = add_fd(p, o->err, err);
	for (size_t k = 0; r == 0 && k < o->nr_keep; k++)
		r = add_fd(p, o->keep[k], err);
	return r;
}

/* In the child. */
static _noreturn_ void become(const struct child_opts *o, const struct plan *p, pid_t parent,
			      int report)
{
	sigset_t none;
	int e;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (o->flags & CHILD_OWN_GROUP)
		setpgid(0, 0);
	if (o->flags & CHILD_DIES_WITH_US) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(128 + SIGKILL);
	}
	for (unsigned int k = 0; k < p->nr; k++)
		if (dup2(p->from[k], (int)k) < 0)
			goto failed;
	/* All that we open is close-on-exec already; what was inherited may not be. */
	syscall(SYS_close_range, p->nr, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */);
	execve(p->path, (char *const *)(uintptr_t)o->argv, p->env);
failed:
	e = errno;
	while (write(report, &e, sizeof(e)) < 0 && errno == EINTR)
		;
	_exit(127);
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int start(const struct child_opts *o, const struct plan *p, struct child *ret,
		 struct err *err)
{
	pid_t parent = getpid(), pid;
	int pipe_fd[2], e = 0, fd;
	ssize_t n;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return err_set_errno(err, "pipe");
	pid = fork();
	if (pid == 0)
		become(o, p, parent, pipe_fd[1]);
	close(pipe_fd[1]);
	if (pid < 0) {
		close(pipe_fd[0]);
		return err_set_errno(err, "start '%s'", o->argv[0]);
	}
	n = fd_read_full(pipe_fd[0], &e, sizeof(e));
	close(pipe_fd[0]);
	if (n != 0) {
		reap(pid);
		errno = n == sizeof(e) ? e : EIO;
		return err_set_errno(err, "start '%s'", p->path);
	}
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) {
		int r = err_set_errno(err, "pidfd of '%s'", o->argv[0]);

		kill(pid, SIGKILL);
		reap(pid);
		return r;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	*ret = (struct child){ .pid = pid, .fd = fd };
	return 0;
}

int child_start(const struct child_opts *opts, struct child *ret, struct err *err)
{
	struct plan p = { 0 };
	int r;

	if (opts->nr_keep > KEEP_MAX)
		return err_set(err, -EINVAL, "more than %d descriptors for a program", KEEP_MAX);
	r = plan_make(opts, &p, err);
	if (r == 0)
		r = start(opts, &p, ret, err);
	plan_done(&p);
	return r;
}

int child_wait(struct child *child, int *ret_status)
{
	int status;

	if (!child->pid)
		return -ECHILD;
	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	child->pid = 0;
	fd_closep(&child->fd);
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

void child_kill(const struct child *child, int sig)
{
	if (child->pid)
		syscall(SYS_pidfd_send_signal, child->fd, sig, NULL, 0);
}

void child_done(struct child *child)
{
	int keep = errno;

	if (child->pid) {
		child_kill(child, SIGKILL);
		reap(child->pid);
		child->pid = 0;
	}
	fd_closep(&child->fd);
	errno = keep;
}

int child_beside_us(const char *name, char *ret, size_t size, struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);
	size_t len = strlen(name) + 1;
	char *slash;

	if (n < 0)
		return err_set_errno(err, "/proc/self/exe");
	if ((size_t)n == size - 1) /* cut, perhaps */
		return err_set(err, -ENAMETOOLONG, "path of this program");
	ret[n] = 0;
	slash = strrchr(ret, '/');
	if (!slash || (size_t)(slash + 1 - ret) + len > size)
		return err_set(err, -ENAMETOOLONG, "path of this program");
	memcpy(slash + 1, name, len);
	return 0;
}
