/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done with a container that exists: start, signals, stopping all of it, removing it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/cgroup_priv.h"
#include "container/state_priv.h"
#include "sys/fd.h"

int ct_start(struct ct_state *s, struct strbuf *warnings, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf state = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	const char go = PACKET_GO;
	char text[PACKET_MAX] = "";
	ssize_t n;
	int r = state_lock(s, err);

	if (r < 0)
		return r;
	fd = ct_pid(s) ? state_connect(s) : -ESRCH;
	if (fd < 0)
		return err_set(err, -EINVAL, "container '%s' is %s, not created", s->id,
			       ct_status_name(ct_status(s)));
	r = fd_write_full(fd, &go, 1);
	if (r < 0)
		return err_set(err, r, "start container '%s'", s->id);
	/* Its program's start closes the socket; what goes wrong is told before. */
	n = fd_read_full(fd, text, sizeof(text) - 1);
	if (n > 0)
		return err_set(err, -EIO, "%s", text);
	if (n < 0)
		return err_set(err, (int)n, "start container '%s'", s->id);
	if (!s->config || !s->config->hooks[CT_HOOK_POSTSTART].n)
		return 0;
	state_text(s, CT_RUNNING, &state);
	return hooks_run(&s->config->hooks[CT_HOOK_POSTSTART], "poststart", strbuf_str(&state),
			 err);
}

int state_open_init(const struct ct_state *s)
{
	_cleanup_(fd_closep) int fd = s->pid ? (int)syscall(SYS_pidfd_open, s->pid, 0) : -EBADF;

	return fd >= 0 && ct_pid(s) ? fd_take(&fd) : -ESRCH;
}

static void kill_one(void *arg, pid_t pid)
{
	kill(pid, *(int *)arg);
}

int ct_kill(const struct ct_state *s, int signal, bool all, struct err *err)
{
	_cleanup_(fd_closep) int fd = state_open_init(s);

	if (all && cgroups_each_pid(&s->cgroups, kill_one, &signal) > 0)
		return 0;
	if (fd < 0)
		return err_set(err, -ESRCH, "container '%s' is not running", s->id);
	if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0)
		return err_set_errno(err, "signal %d for container '%s'", signal, s->id);
	return 0;
}

int ct_pids(const struct ct_state *s, void (*fn)(void *arg, pid_t pid), void *arg, struct err *err)
{
	int r = cgroups_each_pid(&s->cgroups, fn, arg);

	return r < 0 ? err_set(err, r, "container '%s' has no cgroup to tell", s->id) : 0;
}

int ct_freeze(const struct ct_state *s, bool on, struct err *err)
{
	enum ct_status status = ct_status(s);
	int r;

	if (on ? status != CT_RUNNING && status != CT_CREATED : status != CT_PAUSED)
		return err_set(err, -EINVAL, "container '%s' is %s", s->id, ct_status_name(status));
	r = cgroups_freeze(&s->cgroups, on);
	return r < 0 ? err_set(err, r, "stop the processes of container '%s': %s", s->id,
			       strerrordesc_np(-r))
		     : 0;
}

int ct_update(const struct ct_state *s, const struct ct_resources *limits, struct err *err)
{
	int r = state_lock(s, err);

	if (r < 0)
		return r;
	if (!ct_pid(s))
		return err_set(err, -EINVAL, "container '%s' is %s", s->id,
			       ct_status_name(ct_status(s)));
	return cgroups_limit(&s->cgroups, limits, err);
}

/* Waits until init has ended; it is not always our child. */
static int end(const struct ct_state *s, struct err *err)
{
	struct pollfd p = { .fd = state_open_init(s), .events = POLLIN };

	if (p.fd < 0)
		return 0;
	ignore_result(cgroups_freeze(&s->cgroups, false)); /* what is stopped does not die */
	if (syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH) {
		close(p.fd);
		return err_set_errno(err, "kill container '%s'", s->id);
	}
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	close(p.fd);
	return 0;
}

int ct_delete(struct ct_state *s, bool force, struct strbuf *warnings, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf state = { 0 };
	enum ct_status status = ct_status(s);
	struct err hook = ERR_INIT;
	int r;

	if (!force && status != CT_STOPPED)
		return err_set(err, -EBUSY, "container '%s' is %s; --force ends it", s->id,
			       ct_status_name(status));
	r = force ? end(s, err) : state_lock(s, err);
	if (r == 0)
		r = cgroups_remove(&s->cgroups, err);
	if (r == 0)
		r = state_remove(s, err);
	if (r < 0 || !s->config || !s->config->hooks[CT_HOOK_POSTSTOP].n)
		return r;
	/* It is gone, whatever they say. */
	state_text(s, CT_STOPPED, &state);
	if (hooks_run(&s->config->hooks[CT_HOOK_POSTSTOP], "poststop", strbuf_str(&state), &hook) <
	    0)
		strbuf_addf(warnings, "%s\n", err_text(&hook));
	return 0;
}
