/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One more process in a container. It is found by a descriptor of init (pidfd), all of whose namespaces are entered at once: a
 * process that took init's number over is never met, and one that dies meanwhile is an error. What the process is before it is
 * its program goes the way of init (init.c, program.c): it cannot be looked into, and has no descriptor of the host.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/container_priv.h"
#include "container/spawn_priv.h"
#include "container/state_priv.h"
#include "sys/fd.h"

void ct_close_inherited(unsigned int preserve)
{
	/* Kernels without it have none of what we need either: that is told later. */
	ignore_result(syscall(SYS_close_range, 3 + preserve, ~0u, 0));
}

const struct ct_process *ct_program(const struct ct_state *s)
{
	return s->config && s->config->has_process ? &s->config->process : NULL;
}

/* Those of init that are not ours: one's own user namespace cannot be joined. */
static int foreign_namespaces(pid_t pid)
{
	static const struct {
		const char *name;
		int flag;
	} kinds[] = {
		{ "user", CLONE_NEWUSER }, { "pid", CLONE_NEWPID },	  { "net", CLONE_NEWNET },
		{ "ipc", CLONE_NEWIPC },   { "uts", CLONE_NEWUTS },	  { "mnt", CLONE_NEWNS },
		{ "time", CLONE_NEWTIME }, { "cgroup", CLONE_NEWCGROUP },
	};
	int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct stat ours, theirs;
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i].name);
		if (stat(path, &ours) < 0)
			continue; /* a kernel without them */
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i].name);
		if (stat(path, &theirs) < 0 || theirs.st_ino != ours.st_ino)
			flags |= kinds[i].flag;
	}
	return flags;
}

static int check_status(const struct ct_state *s, const struct ct_exec *o, struct err *err)
{
	enum ct_status status = ct_status(s);

	if (status == CT_RUNNING || status == CT_CREATED ||
	    (status == CT_PAUSED && o->ignores_pause))
		return 0;
	return err_set(err, -EINVAL, "container '%s' is %s%s", s->id, ct_status_name(status),
		       status == CT_PAUSED ? "; --ignore-paused waits for it" : "");
}

static int exec_in(struct making *m, const struct ct_state *s, struct strbuf *warnings,
		   struct err *err)
{
	_cleanup_(fd_closep) int pidfd = -EBADF;
	int r = making_prepare(m, err);

	m->init.parents_fd[1] = s->dir_fd;
	m->init.parents_fd[2] = s->root_fd;
	if (r == 0) {
		pidfd = state_open_init(s);
		if (pidfd < 0)
			r = err_set(err, -ESRCH, "container '%s' is not running", s->id);
	}
	if (r == 0)
		r = cgroups_open(&s->cgroups, &m->init.doors, err);
	if (r == 0)
		r = spawn_beside(m, pidfd, foreign_namespaces(s->pid), err);
	if (r == 0)
		r = making_follow(m, NULL, NULL, warnings, err);
	if (r == 0)
		r = pid_file_write(m->init.wiring->pid_file, m->pid, err);
	return r < 0 ? r : making_start(m, err);
}

int ct_exec(struct ct_state *s, const struct ct_exec *o, struct ct_created *ret,
	    struct strbuf *warnings, struct err *err)
{
	int r = check_status(s, o, err), console_fd = -EBADF;
	struct ct_process process = *o->process;
	const struct ct_process *own = ct_program(s);
	struct making m;

	if (r < 0)
		return r;
	if (!own)
		return err_set(err, -EINVAL, "the configuration of container '%s' is lost", s->id);
	/* As in runc, one that does not say is as likely to be killed as the container's own. */
	if (!process.has_oom_score_adj) {
		process.has_oom_score_adj = own->has_oom_score_adj;
		process.oom_score_adj = own->oom_score_adj;
	}
	making_begin(&m);
	m.init.id = s->id;
	m.init.config = s->config;
	m.init.process = &process;
	m.init.wiring = &o->wiring;
	m.init.bundle = s->bundle;
	m.init.cgroups = &s->cgroups;
	m.init.joins = true;
	r = exec_in(&m, s, warnings, err);
	if (r == 0)
		r = making_console(&m, &console_fd, err);
	if (r < 0)
		making_kill(&m);
	else
		*ret = (struct ct_created){ .pid = m.pid, .console_fd = console_fd };
	making_end(&m);
	return r;
}
