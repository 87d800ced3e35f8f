/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a container's first process is born: in new namespaces, in its cgroups. Most are one clone3(2) away. A user or pid
 * namespace that exists already, and a time namespace, can only be entered before the process that is to live in it is made:
 * an intermediate process does that, and makes init our child, not its own (CLONE_PARENT).
 *
 * Nobody is moved between cgroups: to move another process the kernel waits until no process of the whole host forks or ends,
 * 10 ms and more. A process is born into one of version 2 (CLONE_INTO_CGROUP), and moves itself, as a single thread, into those
 * of version 1, which needs no waiting. Figures: docs/decisions/0018.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/container_priv.h"
#include "container/spawn_priv.h"
#include "sys/fd.h"

static pid_t clone_with(uint64_t flags)
{
	/* A sibling has our own signal. */
	const struct clone_args args = { .flags = flags,
					 .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* The same, born into a cgroup; false in *ret_joined: it could not be. */
static pid_t clone_into(uint64_t flags, int cgroup_fd, bool *ret_joined)
{
	const struct clone_args args = { .flags = flags | CLONE_INTO_CGROUP,
					 .exit_signal = SIGCHLD,
					 .cgroup = (uint64_t)cgroup_fd };
	pid_t pid = cgroup_fd < 0 ? -1 : (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	*ret_joined = pid >= 0;
	return pid >= 0 ? pid : clone_with(flags);
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

/* Ends the intermediate process. */
static _noreturn_ void between_done(struct making *m, int r, const struct err *err)
{
	if (r < 0)
		ignore_result(packet_send(m->init.sync_fd, PACKET_ERROR, err_text(err)));
	_exit(r < 0);
}

/* What the intermediate process made, and its end. */
static int between_wait(struct making *m, pid_t between, int r, struct err *err)
{
	char text[PACKET_MAX];
	uint64_t pid = 0;

	if (r == 0) {
		int kind = packet_next(m->sync_fd, text);

		if (kind != PACKET_PID)
			r = err_set(err, -EIO, "%s",
				    kind == PACKET_ERROR ? text : "its process has ended early");
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

static int spawn_between(struct making *m, uint64_t flags, struct err *err)
{
	uint64_t first = flags & CLONE_NEWUSER;
	pid_t between = clone_with(first);
	struct err own = ERR_INIT;
	int r;

	if (between == 0)
		between_done(m, enter(m, flags & ~first, &own), &own);
	if (between < 0)
		return err_set_errno(err, "new namespaces");
	r = map_ids(m->init.config, between, err);
	if (r == 0)
		r = packet_send(m->sync_fd, PACKET_GO, "");
	return between_wait(m, between, r, err);
}

/* The intermediate process of one that joins: in the cgroups first, where it and all that it makes count. */
static int enter_beside(struct making *m, int pidfd, int ns, struct err *err)
{
	char text[16];
	pid_t pid;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(m->init.parents_fd); i++)
		fd_closep(&m->init.parents_fd[i]);
	/* Nobody in the container may look into us from here on. */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = cgroups_enter(&m->init.doors, err);
	if (r < 0)
		return r;
	if (ns && setns(pidfd, ns) < 0)
		return err_set_errno(err, "join the container's namespaces");
	close(pidfd);
	if (ns & CLONE_NEWUSER) {
		r = be_root(err);
		prctl(PR_SET_DUMPABLE, 0);
		if (r < 0)
			return r;
	}
	pid = clone_with(CLONE_PARENT);
	if (pid == 0)
		init_main(&m->init);
	if (pid < 0)
		return err_set_errno(err, "new process");
	snprintf(text, sizeof(text), "%d", pid);
	return packet_send(m->init.sync_fd, PACKET_PID, text);
}

int spawn_beside(struct making *m, int pidfd, int ns, struct err *err)
{
	struct err own = ERR_INIT;
	bool has_joined;
	pid_t between = clone_into(0, m->init.doors.v2_fd, &has_joined);
	int r;

	if (between == 0)
		between_done(m, enter_beside(m, pidfd, ns, &own), &own);
	if (between < 0)
		return err_set_errno(err, "new process");
	r = between_wait(m, between, 0, err);
	if (r == 0 && !has_joined)
		r = cgroups_move(m->init.cgroups, m->pid, err);
	return r;
}

int spawn(struct making *m, struct err *err)
{
	const struct ct_config *c = m->init.config;
	uint64_t flags = clone_flags(c);
	bool has_joined = false;
	int r;

	if (c->ns[CT_NS_USER].path || c->ns[CT_NS_PID].path || c->ns[CT_NS_TIME].is_wanted) {
		r = spawn_between(m, flags, err);
	} else {
		m->pid = clone_into(flags, m->init.doors.v2_fd, &has_joined);
		if (m->pid == 0)
			init_main(&m->init);
		r = m->pid < 0 ? err_set_errno(err, "new namespaces") : map_ids(c, m->pid, err);
	}
	if (r == 0 && !has_joined)
		r = cgroups_move(m->init.cgroups, m->pid, err);
	return r;
}
