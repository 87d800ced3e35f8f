/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parent's side of a process that is made for a container: the packets that it and the process exchange, the socket on
 * which its terminal goes away, its number in a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "container/program_priv.h"
#include "container/spawn_priv.h"
#include "sys/fd.h"

void making_begin(struct making *m)
{
	*m = (struct making){
		.sync_fd = -EBADF,
		.terminal_fd = -EBADF,
		.init = { .sync_fd = -EBADF,
			  .start_fd = -EBADF,
			  .console_fd = -EBADF,
			  .root_fd = -EBADF,
			  .terminal_fd = -EBADF,
			  .parents_fd = { -EBADF, -EBADF, -EBADF } },
	};
	for (size_t i = 0; i < CT_NR_NS; i++)
		m->init.ns_fd[i] = -EBADF;
	cgroup_doors_init(&m->init.doors);
}

static int connect_console(const char *path, int *ret, struct err *err)
{
	_cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(err, -ENAMETOOLONG, "--console-socket: at most %zu characters",
			       sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return err_set_errno(err, "--console-socket '%.100s'", path);
	*ret = fd_take(&fd);
	return 0;
}

static int open_console(struct making *m, struct err *err)
{
	const struct ct_wiring *w = m->init.wiring;
	bool has_terminal = m->init.process->has_terminal;
	int fd[2];

	if (has_terminal && w->console_socket)
		return connect_console(w->console_socket, &m->init.console_fd, err);
	if (w->console_socket)
		return err_set(err, -EINVAL,
			       "--console-socket is for a container with process.terminal");
	if (!has_terminal)
		return 0;
	if (w->needs_console)
		return err_set(err, -EINVAL,
			       "process.terminal needs --console-socket when nobody stays");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return err_set_errno(err, "socket for the terminal");
	m->terminal_fd = fd[0];
	m->init.console_fd = fd[1];
	return 0;
}

int making_prepare(struct making *m, struct err *err)
{
	const struct ct_seccomp *seccomp = &m->init.config->seccomp;
	int fd[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return err_set_errno(err, "socket to the container's process");
	m->sync_fd = fd[0];
	m->init.parents_fd[0] = fd[0];
	m->init.sync_fd = fd[1];
	r = open_console(m, err);
	if (r == 0 && seccomp->is_wanted)
		r = filter_build(seccomp, &m->init.filter, err);
	return r;
}

static int ended_early(struct err *err)
{
	return err_set(err, -EIO, "the container's process has ended early");
}

static void set_oom_score(const struct ct_process *p, pid_t pid, struct strbuf *warnings)
{
	char path[40], text[16];
	int r;

	if (!p->has_oom_score_adj)
		return;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	snprintf(text, sizeof(text), "%d", p->oom_score_adj);
	r = write_text(path, text);
	if (r < 0)
		strbuf_addf(warnings, "process.oomScoreAdj: %s\n", strerrordesc_np(-r));
}

int making_follow(struct making *m, int (*placed)(struct making *m, void *arg, struct err *err),
		  void *arg, struct strbuf *warnings, struct err *err)
{
	char text[PACKET_MAX];
	int r = 0;

	set_oom_score(m->init.process, m->pid, warnings);
	snprintf(text, sizeof(text), "%d", m->pid);
	/* Our copy: when the process dies, its end is the last one, and we are told. */
	fd_closep(&m->init.sync_fd);
	/* One that has ended already may have said why. */
	ignore_result(packet_send(m->sync_fd, PACKET_GO, text));
	while (r == 0) {
		switch (packet_next(m->sync_fd, text)) {
		case PACKET_READY:
			return 0;
		case PACKET_PLACED:
			r = placed ? placed(m, arg, err) : 0;
			if (r == 0 && packet_send(m->sync_fd, PACKET_GO, "") < 0)
				r = ended_early(err);
			break;
		case PACKET_WARNING:
			strbuf_addf(warnings, "%s\n", text);
			break;
		case PACKET_ERROR:
			return err_set(err, -EIO, "%s", text);
		default:
			return ended_early(err);
		}
	}
	return r;
}

/* Its program's start closes the socket; what goes wrong is told before. */
int making_start(struct making *m, struct err *err)
{
	char text[PACKET_MAX];

	if (packet_send(m->sync_fd, PACKET_GO, "") < 0)
		return ended_early(err);
	return packet_next(m->sync_fd, text) == PACKET_ERROR ? err_set(err, -EIO, "%s", text) : 0;
}

int making_console(struct making *m, int *ret, struct err *err)
{
	int fd = m->terminal_fd >= 0 ? terminal_receive(m->terminal_fd, err) : -EBADF;

	*ret = fd;
	return m->terminal_fd >= 0 && fd < 0 ? fd : 0;
}

void making_kill(const struct making *m)
{
	if (m->pid <= 0)
		return;
	kill(m->pid, SIGKILL);
	while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void making_end(struct making *m)
{
	for (size_t i = 0; i < CT_NR_NS; i++)
		fd_closep(&m->init.ns_fd[i]);
	cgroup_doors_close(&m->init.doors);
	fd_closep(&m->init.sync_fd);
	fd_closep(&m->init.start_fd);
	fd_closep(&m->init.console_fd);
	fd_closep(&m->sync_fd);
	fd_closep(&m->terminal_fd);
	free(m->init.filter.code);
}

int pid_file_write(const char *path, pid_t pid, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf beside = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	char text[16];
	int r;

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%d", pid);
	strbuf_addf(&beside, "%s.new", path);
	r = fd_open(strbuf_cstr(&beside), O_WRONLY | O_CREAT | O_TRUNC, &fd, err);
	if (r < 0)
		return err_wrap(err, r, "--pid-file");
	r = fd_write_full(fd, text, strlen(text));
	if (r == 0 && rename(strbuf_cstr(&beside), path) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "--pid-file: %s", strerrordesc_np(-r)) : 0;
}
