/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making a container, as its parent. The state is written before anything exists that would have to be found again (cgroups,
 * then init), so that a runtime that is killed at any point leaves what `delete --force` removes; init dies with us until it
 * is ready.
 *
 * Most containers are one clone3(2) away. A user or pid namespace that exists already, and a time namespace, can only be
 * entered before the process that is to live in it is made: an intermediate process does that, and makes init our child, not
 * its own (CLONE_PARENT).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "container/program_priv.h"
#include "container/state_priv.h"
#include "sys/fd.h"

struct making {
	const struct ct_create *o;
	struct ct_state *state;
	struct ct_init init;
	int sync_fd;	 /* ours */
	int terminal_fd; /* socket on which we get the terminal ourselves; negative: none */
	pid_t pid;
};

static pid_t clone_with(uint64_t flags)
{
	/* A sibling has our own signal. */
	const struct clone_args args = { .flags = flags,
					 .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Namespaces that a clone makes. Cgroup is init's own affair. */
static uint64_t clone_flags(const struct ct_config *c)
{
	static const uint64_t flags[CT_NR_NS] = {
		[CT_NS_USER] = CLONE_NEWUSER,	[CT_NS_PID] = CLONE_NEWPID,
		[CT_NS_NETWORK] = CLONE_NEWNET, [CT_NS_IPC] = CLONE_NEWIPC,
		[CT_NS_UTS] = CLONE_NEWUTS,	[CT_NS_MOUNT] = CLONE_NEWNS,
	};
	uint64_t all = 0;

	for (size_t i = 0; i < CT_NR_NS; i++)
		if (c->ns[i].is_wanted && !c->ns[i].path)
			all |= flags[i];
	return all;
}

static int write_map(pid_t pid, const char *file, const struct ct_id_maps *maps, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	char path[40];
	int r;

	for (size_t i = 0; i < maps->n; i++)
		strbuf_addf(&text, "%u %u %u\n", maps->v[i].container_id, maps->v[i].host_id,
			    maps->v[i].size);
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	r = write_text(path, strbuf_cstr(&text));
	return r < 0 ? err_set(err, r, "linux.%sMappings: %s", file[0] == 'u' ? "uid" : "gid",
			       strerrordesc_np(-r))
		     : 0;
}

static int map_ids(const struct ct_config *c, pid_t pid, struct err *err)
{
	char path[40];
	int r;

	if (!c->uid_maps.n)
		return 0;
	if (geteuid() != 0) {
		/* Who maps only their own group must not let it be left. */
		snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
		r = write_text(path, "deny");
		if (r < 0)
			return err_set(err, r, "%s: %s", path, strerrordesc_np(-r));
	}
	r = write_map(pid, "uid_map", &c->uid_maps, err);
	return r < 0 ? r : write_map(pid, "gid_map", &c->gid_maps, err);
}

static int write_offsets(const struct ct_config *c, struct err *err)
{
	char text[160];
	int r;

	snprintf(text, sizeof(text), "monotonic %lld %lld\nboottime %lld %lld\n",
		 (long long)c->monotonic_s, (long long)c->monotonic_ns, (long long)c->boottime_s,
		 (long long)c->boottime_ns);
	/* The change of ids took our own files in /proc away; no container sees this process. */
	prctl(PR_SET_DUMPABLE, 1);
	r = write_text("/proc/self/timens_offsets", text);
	prctl(PR_SET_DUMPABLE, 0);
	return r < 0 ? err_set(err, r, "linux.timeOffsets: %s", strerrordesc_np(-r)) : 0;
}

/* The intermediate process: enters, and makes init. */
static int enter(struct making *m, uint64_t flags, struct err *err)
{
	const struct ct_config *c = m->init.config;
	char text[PACKET_MAX];
	pid_t pid;

	fd_closep(&m->init.parents_fd[0]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (packet_next(m->init.sync_fd, text) != PACKET_GO)
		return err_set(err, -ECANCELED, "the runtime is gone");
	if (m->init.ns_fd[CT_NS_USER] >= 0 && setns(m->init.ns_fd[CT_NS_USER], CLONE_NEWUSER) < 0)
		return err_set_errno(err, "linux.namespaces: join the user namespace");
	if (c->ns[CT_NS_USER].is_wanted && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return err_set_errno(err, "become root of the user namespace");
	if (m->init.ns_fd[CT_NS_PID] >= 0 && setns(m->init.ns_fd[CT_NS_PID], CLONE_NEWPID) < 0)
		return err_set_errno(err, "linux.namespaces: join the pid namespace");
	if (m->init.ns_fd[CT_NS_TIME] >= 0 && setns(m->init.ns_fd[CT_NS_TIME], CLONE_NEWTIME) < 0)
		return err_set_errno(err, "linux.namespaces: join the time namespace");
	if (c->ns[CT_NS_TIME].is_wanted && m->init.ns_fd[CT_NS_TIME] < 0) {
		int r = unshare(CLONE_NEWTIME) < 0 ? err_set_errno(err, "new time namespace") : 0;

		if (r == 0 && c->has_time_offsets)
			r = write_offsets(c, err);
		if (r < 0)
			return r;
	}
	pid = clone_with(flags | CLONE_PARENT);
	if (pid == 0)
		init_main(&m->init);
	if (pid < 0)
		return err_set_errno(err, "new namespaces");
	snprintf(text, sizeof(text), "%d", pid);
	return packet_send(m->init.sync_fd, PACKET_PID, text);
}

static _noreturn_ void enter_main(struct making *m, uint64_t flags)
{
	struct err err = ERR_INIT;
	int r = enter(m, flags, &err);

	if (r < 0)
		ignore_result(packet_send(m->init.sync_fd, PACKET_ERROR, err_text(&err)));
	_exit(r < 0);
}

static int spawn_between(struct making *m, uint64_t flags, struct err *err)
{
	uint64_t first = flags & CLONE_NEWUSER, pid = 0;
	pid_t between = clone_with(first);
	char text[PACKET_MAX];
	int r;

	if (between == 0)
		enter_main(m, flags & ~first);
	if (between < 0)
		return err_set_errno(err, "new namespaces");
	r = map_ids(m->init.config, between, err);
	if (r == 0)
		r = packet_send(m->sync_fd, PACKET_GO, "");
	if (r == 0) {
		int kind = packet_next(m->sync_fd, text);

		if (kind != PACKET_PID)
			r = err_set(err, -EIO, "%s", kind == PACKET_ERROR ? text : "no init");
		else
			r = str_parse_u64(str_of(text), 1, INT32_MAX, &pid, err);
	}
	if (r < 0)
		kill(between, SIGKILL);
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	m->pid = (pid_t)pid;
	return r;
}

static int spawn(struct making *m, struct err *err)
{
	const struct ct_config *c = m->init.config;
	uint64_t flags = clone_flags(c);

	if (c->ns[CT_NS_USER].path || c->ns[CT_NS_PID].path || c->ns[CT_NS_TIME].is_wanted)
		return spawn_between(m, flags, err);
	m->pid = clone_with(flags);
	if (m->pid == 0)
		init_main(&m->init);
	return m->pid < 0 ? err_set_errno(err, "new namespaces") : map_ids(c, m->pid, err);
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

static int runtime_hooks(struct making *m, struct err *err)
{
	const struct ct_config *c = m->init.config;
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	int r;

	state_text(m->state, CT_CREATING, &text);
	r = hooks_run(&c->hooks[CT_HOOK_PRESTART], "prestart", strbuf_str(&text), err);
	if (r == 0)
		r = hooks_run(&c->hooks[CT_HOOK_CREATE_RUNTIME], "createRuntime", strbuf_str(&text),
			      err);
	return r < 0 ? r : packet_send(m->sync_fd, PACKET_GO, "");
}

/* What init says, until it says that it is ready. */
static int follow(struct making *m, struct strbuf *warnings, struct err *err)
{
	char text[PACKET_MAX];
	int r = 0;

	while (r == 0) {
		int kind = packet_next(m->sync_fd, text);

		switch (kind) {
		case PACKET_READY:
			return 0;
		case PACKET_PLACED:
			r = runtime_hooks(m, err);
			break;
		case PACKET_WARNING:
			strbuf_addf(warnings, "%s\n", text);
			break;
		case PACKET_ERROR:
			return err_set(err, -EIO, "%s", text);
		default:
			return err_set(err, -EIO, "the container's first process has ended early");
		}
	}
	return r;
}

static int write_pid_file(const struct making *m, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf beside = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	char text[16];
	int r;

	if (!m->o->pid_file)
		return 0;
	snprintf(text, sizeof(text), "%d", m->pid);
	strbuf_addf(&beside, "%s.new", m->o->pid_file);
	r = fd_open(strbuf_cstr(&beside), O_WRONLY | O_CREAT | O_TRUNC, &fd, err);
	if (r < 0)
		return err_wrap(err, r, "--pid-file");
	r = fd_write_full(fd, text, strlen(text));
	if (r == 0 && rename(strbuf_cstr(&beside), m->o->pid_file) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "--pid-file: %s", strerrordesc_np(-r)) : 0;
}

/* In the order in which a killed runtime's work can be found again. */
static int make(struct making *m, struct strbuf *warnings, struct err *err)
{
	const struct ct_config *c = m->init.config;
	struct ct_state *s = m->state;
	char text[16];
	int r = cgroups_find(c->cgroups_path, m->o->id, &s->cgroups, err);

	if (r == 0) {
		r = cgroups_check(&s->cgroups, err);
		if (r < 0)
			cgroups_done(&s->cgroups); /* they are not ours to remove */
	}
	if (r == 0)
		r = state_write(s, err);
	if (r == 0)
		r = cgroups_make(&s->cgroups, &c->resources, c->ns[CT_NS_USER].is_wanted, warnings,
				 err);
	m->init.cgroups = &s->cgroups;
	if (r == 0)
		r = spawn(m, err);
	if (r == 0) {
		s->pid = m->pid;
		s->pid_start = process_start(m->pid);
		r = state_write(s, err);
	}
	if (r == 0)
		r = cgroups_join(&s->cgroups, m->pid, err);
	if (r < 0)
		return r;
	set_oom_score(&c->process, m->pid, warnings);
	snprintf(text, sizeof(text), "%d", m->pid);
	/* Our copy: when init dies, its end is the last one, and we are told. */
	fd_closep(&m->init.sync_fd);
	r = packet_send(m->sync_fd, PACKET_GO, text);
	if (r < 0)
		return err_set(err, r, "the container's first process has ended early");
	r = follow(m, warnings, err);
	return r < 0 ? r : write_pid_file(m, err);
}

/* `run`: the program is started, and tells by closing the socket that it was. */
static int start_now(struct making *m, struct strbuf *warnings, struct err *err)
{
	const struct ct_config *c = m->init.config;
	_cleanup_(strbuf_done) struct strbuf state = { 0 };
	char text[PACKET_MAX];
	int r = packet_send(m->sync_fd, PACKET_GO, ""), kind;

	if (r < 0)
		return err_set(err, r, "the container's first process has ended early");
	kind = packet_next(m->sync_fd, text);
	if (kind == PACKET_ERROR)
		return err_set(err, -EIO, "%s", text);
	if (!c->hooks[CT_HOOK_POSTSTART].n)
		return 0;
	state_text(m->state, CT_RUNNING, &state);
	return hooks_run(&c->hooks[CT_HOOK_POSTSTART], "poststart", strbuf_str(&state), err);
}

static int open_namespaces(struct making *m, struct err *err)
{
	for (size_t i = 0; i < CT_NR_NS; i++) {
		const struct ct_ns *ns = &m->init.config->ns[i];
		int r = ns->path ? fd_open(ns->path, O_RDONLY, &m->init.ns_fd[i], err) : 0;

		if (r < 0)
			return err_wrap(err, r, "linux.namespaces");
	}
	return 0;
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
	bool has_terminal = m->init.config->process.has_terminal;
	int fd[2];

	if (has_terminal && m->o->console_socket)
		return connect_console(m->o->console_socket, &m->init.console_fd, err);
	if (m->o->console_socket)
		return err_set(err, -EINVAL,
			       "--console-socket is for a container with process.terminal");
	if (!has_terminal)
		return 0;
	if (m->o->needs_console)
		return err_set(err, -EINVAL,
			       "process.terminal needs --console-socket when nobody stays");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return err_set_errno(err, "socket for the terminal");
	m->terminal_fd = fd[0];
	m->init.console_fd = fd[1];
	return 0;
}

static int prepare(struct making *m, struct err *err)
{
	int fd[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return err_set_errno(err, "socket to the container's first process");
	m->sync_fd = fd[0];
	m->init.parents_fd[0] = fd[0];
	m->init.parents_fd[1] = m->state->dir_fd;
	m->init.parents_fd[2] = m->state->root_fd;
	m->init.sync_fd = fd[1];
	r = open_namespaces(m, err);
	if (r == 0)
		r = open_console(m, err);
	if (r == 0 && m->init.config->seccomp.is_wanted)
		r = filter_build(&m->init.config->seccomp, &m->init.filter, err);
	if (r == 0 && m->o->waits_for_start)
		r = m->init.start_fd = state_listen(m->state, err);
	return r < 0 ? r : 0;
}

static void close_all(struct making *m)
{
	for (size_t i = 0; i < CT_NR_NS; i++)
		fd_closep(&m->init.ns_fd[i]);
	fd_closep(&m->init.sync_fd);
	fd_closep(&m->init.start_fd);
	fd_closep(&m->init.console_fd);
	fd_closep(&m->sync_fd);
	fd_closep(&m->terminal_fd);
	free(m->init.filter.code);
}

/* Nothing stays of what could not be made. */
static void undo(struct making *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	ignore_result(cgroups_remove(&m->state->cgroups, NULL)); /* the first error is told */
	ignore_result(state_remove(m->state, NULL));
}

/* The configuration is kept: what the bundle's file says later is of no concern to this container. */
static int load(const struct ct_create *o, char **ret_bundle, void **ret_text, size_t *ret_n,
		struct ct_config **ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	char *bundle = realpath(o->bundle, NULL);
	int r;

	if (!bundle)
		return err_set_errno(err, "bundle '%.160s'", o->bundle);
	*ret_bundle = bundle;
	strbuf_addf(&path, "%s/config.json", bundle);
	r = file_read(strbuf_cstr(&path), CT_CONFIG_MAX, ret_text, ret_n, err);
	if (r < 0)
		return r;
	r = ct_config_parse((struct str){ *ret_text, *ret_n }, ret, err);
	if (r < 0)
		return err_wrap(err, r, "config.json");
	if (!(*ret)->has_process)
		return err_set(err, -EINVAL, "config.json: \"process\" is missing");
	return 0;
}

static int keep_config(const struct ct_state *s, const void *text, size_t n, struct err *err)
{
	_cleanup_(fd_closep) int fd =
		openat(s->dir_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, text, n);

	return r < 0 ? err_set(err, r, "keep the configuration: %s", strerrordesc_np(-r)) : 0;
}

static char *time_text(void)
{
	struct timespec now;
	char text[32], whole[48];
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
		return mem_strdup("");
	snprintf(whole, sizeof(whole), "%s.%09ldZ", text, now.tv_nsec);
	return mem_strdup(whole);
}

int ct_create(const struct ct_create *o, struct ct_created *ret, struct strbuf *warnings,
	      struct err *err)
{
	_cleanup_(ct_closep) struct ct_state *state = NULL;
	_cleanup_(mem_freep) char *bundle = NULL;
	_cleanup_(mem_freep) void *text = NULL;
	struct ct_config *config = NULL;
	struct making m = { .o = o,
			    .sync_fd = -EBADF,
			    .terminal_fd = -EBADF,
			    .init = { .create = o,
				      .sync_fd = -EBADF,
				      .start_fd = -EBADF,
				      .console_fd = -EBADF,
				      .root_fd = -EBADF,
				      .terminal_fd = -EBADF } };
	size_t n;
	int r = load(o, &bundle, &text, &n, &config, err);

	for (size_t i = 0; i < CT_NR_NS; i++)
		m.init.ns_fd[i] = -EBADF;
	if (r == 0)
		r = state_new(o->root, o->id, &state, err);
	if (r < 0) {
		ct_config_free(config);
		return r;
	}
	strbuf_adds(warnings, strbuf_cstr(&config->warnings));
	m.state = state;
	m.init.config = state->config = config;
	m.init.bundle = bundle;
	state->bundle = mem_strdup(bundle);
	state->made_at = time_text();
	r = keep_config(state, text, n, err);
	if (r == 0)
		r = prepare(&m, err);
	if (r == 0)
		r = make(&m, warnings, err);
	if (r == 0 && !o->waits_for_start)
		r = start_now(&m, warnings, err);
	if (r == 0 && m.terminal_fd >= 0) {
		r = terminal_receive(m.terminal_fd, err);
		ret->console_fd = r;
	} else {
		ret->console_fd = -EBADF;
	}
	ret->pid = m.pid;
	if (r < 0)
		undo(&m);
	close_all(&m);
	return r < 0 ? r : 0;
}
