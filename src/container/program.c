/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last steps of a process before it is the container's program: where it works, what is its environment, which file PATH
 * means, its terminal. Everything but standard streams and what --preserve-fds names is closed by execve(2), whatever it is
 * and wherever it came from.
 */
#include "container/program_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"

int terminal_send(int socket_fd, int fd, const char *name, struct err *err)
{
	struct iovec iov = { .iov_base = (char *)(uintptr_t)name, .iov_len = strlen(name) };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(socket_fd, &msg, MSG_NOSIGNAL) < 0
		       ? err_set_errno(err, "send the terminal to the console socket")
		       : 0;
}

int terminal_receive(int socket_fd, struct err *err)
{
	char name[64];
	struct iovec iov = { .iov_base = name, .iov_len = sizeof(name) };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return err_set_errno(err, "receive the terminal");
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return err_set(err, -EPROTO, "receive the terminal");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int terminal_make(struct ct_init *in, struct err *err)
{
	const struct ct_process *p = in->process;
	const struct winsize size = { .ws_row = p->rows, .ws_col = p->columns };
	_cleanup_(fd_closep) int master = -EBADF, place = -EBADF, slave = -EBADF;
	char name[32];
	int r = path_open_in(in->root_fd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, &master, err);
	int unlocked = 0;
	unsigned int number;

	if (r < 0)
		return err_wrap(err, r, "process.terminal: needs devpts at /dev/pts");
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
		return err_set_errno(err, "process.terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_set_errno(err, "process.terminal");
	if (p->rows && ioctl(slave, TIOCSWINSZ, &size) < 0)
		return err_set_errno(err, "process.consoleSize");
	if (fchown(slave, p->uid, (gid_t)-1) < 0)
		return err_set_errno(err, "owner of the terminal");
	if (!in->joins) {
		r = place_make(in->root_fd, "/dev/console", false, &place, err);
		if (r == 0)
			r = bind_fd(slave, place, false, 0, err);
		if (r < 0)
			return err_wrap(err, r, "/dev/console");
	}
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	r = terminal_send(in->console_fd, master, name, err);
	if (r == 0)
		in->terminal_fd = fd_take(&slave);
	return r;
}

static const char *get_env(const struct ct_process *p, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = p->env.n; i-- > 0;)
		if (strncmp(p->env.v[i], name, n) == 0 && p->env.v[i][n] == '=')
			return p->env.v[i] + n + 1;
	return NULL;
}

/* The home of a user by the container's passwd file, which is somebody else's: read as text, nothing more. */
static char *home_of(uint32_t uid)
{
	_cleanup_(mem_freep) void *text = NULL;
	struct str rest, line, field;
	size_t n;

	if (file_read("/etc/passwd", 1 << 20, &text, &n, NULL) < 0)
		return mem_strdup("/");
	rest = (struct str){ text, n };
	while (str_cut(&rest, '\n', &line)) {
		uint64_t v;

		for (int i = 0; i < 3; i++)
			if (!str_cut(&line, ':', &field))
				break;
		if (str_parse_u64(field, 0, UINT32_MAX, &v, NULL) < 0 || v != uid)
			continue;
		for (int i = 3; i < 6; i++)
			if (!str_cut(&line, ':', &field))
				field = STR("");
		if (field.n && !memchr(field.p, 0, field.n)) {
			char *home = mem_new(field.n + 1);

			memcpy(home, field.p, field.n);
			return home;
		}
	}
	return mem_strdup("/");
}

static void make_env(const struct ct_process *p, struct program *program)
{
	program->env = mem_new_n(p->env.n + 2, sizeof(*program->env));
	for (size_t i = 0; i < p->env.n; i++)
		program->env[i] = (char *)(uintptr_t)p->env.v[i];
	if (!get_env(p, "HOME")) {
		_cleanup_(mem_freep) char *home = home_of(p->uid);
		_cleanup_(strbuf_done) struct strbuf text = { 0 };

		strbuf_addf(&text, "HOME=%s", home);
		program->env[p->env.n] = strbuf_take(&text);
	}
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111;
}

static int find(const struct ct_process *p, struct program *program, struct err *err)
{
	const char *name = p->args.v[0], *path = get_env(p, "PATH");
	struct str rest = str_of(path ? path
				      : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
					"/sbin:/bin"),
		   folder;

	if (strchr(name, '/')) {
		struct stat st;

		if (stat(name, &st) < 0)
			return err_set_errno(err, "process.args: '%.120s'", name);
		if (!is_program(name))
			return err_set(err, -EACCES, "process.args: '%.120s' is no program", name);
		program->path = mem_strdup(name);
		return 0;
	}
	while (str_cut(&rest, ':', &folder)) {
		_cleanup_(strbuf_done) struct strbuf full = { 0 };

		strbuf_addf(&full, "%.*s%s%s", STR_ARG(folder), folder.n ? "/" : "./", name);
		if (is_program(strbuf_cstr(&full))) {
			program->path = strbuf_take(&full);
			return 0;
		}
	}
	/* In these words engines look for it, to end with 127. */
	return err_set(err, -ENOENT, "process.args: '%.120s': executable file not found in $PATH",
		       name);
}

static int use_terminal(int fd, struct err *err)
{
	for (int i = 0; i <= 2; i++)
		if (dup2(fd, i) < 0)
			return err_set_errno(err, "standard streams");
	return ioctl(0, TIOCSCTTY, 0) < 0 ? err_set_errno(err, "controlling terminal") : 0;
}

/* A folder that is not below the root was reached by a descriptor that should not be here. */
static int enter_cwd(const struct ct_process *p, struct err *err)
{
	_cleanup_(mem_freep) char *path = mem_new(PATH_MAX);

	if (chdir(p->cwd) < 0)
		return err_set_errno(err, "process.cwd: '%.120s'", p->cwd);
	/* The system call: the library's goes up folder by folder instead. */
	if (syscall(SYS_getcwd, path, PATH_MAX) < 0 || path[0] != '/')
		return err_set(err, -EACCES, "process.cwd: '%.120s' is outside of the container",
			       p->cwd);
	return 0;
}

int program_prepare(const struct ct_process *p, int terminal_fd, bool makes_cwd,
		    struct program *ret, struct err *err)
{
	int r = terminal_fd >= 0 ? use_terminal(terminal_fd, err) : 0;

	if (r < 0)
		return r;
	/* Engines expect a folder that is missing to be made. */
	if (makes_cwd && chdir(p->cwd) < 0 && errno == ENOENT) {
		_cleanup_(fd_closep) int root = -EBADF, fd = -EBADF;

		r = fd_open("/", O_PATH | O_DIRECTORY, &root, err);
		if (r == 0)
			r = place_make(root, p->cwd, true, &fd, err);
		if (r < 0)
			return err_wrap(err, r, "process.cwd");
	}
	make_env(p, ret);
	/* Perhaps only the user may enter it: once more, in program_start(). */
	if (access(p->cwd, X_OK) < 0 && errno == EACCES)
		return 0;
	r = enter_cwd(p, err);
	return r < 0 ? r : find(p, ret, err);
}

int program_start(const struct ct_process *p, struct program *program,
		  const struct ct_filter *filter, unsigned int preserve_fds, struct err *err)
{
	sigset_t none;
	int r;

	umask(p->has_umask ? p->umask : 022);
	/* Ignored signals stay ignored over execve(2): none is. */
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (syscall(SYS_close_range, 3 + preserve_fds, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
		return err_set_errno(err, "close descriptors");
	r = rights_drop(p, filter, err);
	if (r < 0)
		return r;
	r = enter_cwd(p, err);
	if (r < 0)
		return r;
	if (!program->path)
		r = find(p, program, err);
	if (r == 0 && p->no_new_privileges)
		r = filter_install(filter, err);
	if (r < 0)
		return r;
	execve(program->path, (char *const *)(uintptr_t)p->args.v, program->env);
	return err_set_errno(err, "process.args: execute '%.120s'", program->path);
}
