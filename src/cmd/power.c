/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stop, reset, pause and resume of a running machine.
 *
 * A machine has ended when its process has: until then its disks are not closed. So we wait for the process, by a
 * descriptor of it that was opened before it was asked to end; where it has no number here (another PID namespace), for
 * the end of our connection.
 */
#include "cmd/power.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "sys/fd.h"
#include "sys/ipc.h"

enum { STILL_RUNNING = 2 };

static int print_state(const struct json *info, const char *state, const bool *forced,
		       struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	strbuf_adds(&out, "{\"name\":");
	strbuf_add_json(&out, str_of(control_word(json_get(info, "ok"), "name")));
	strbuf_addf(&out, ",\"state\":\"%s\"", state);
	if (forced)
		strbuf_addf(&out, ",\"forced\":%s", *forced ? "true" : "false");
	strbuf_adds(&out, "}\n");
	return control_print(strbuf_str(&out), err);
}

/* @ret: the answer, NULL: nobody wants it */
static int press(struct control_client *c, const char *what, struct json **ret, struct err *err)
{
	_cleanup_(json_freep) struct json *answer = NULL;
	char request[64];
	int r;

	snprintf(request, sizeof(request), "{\"do\":\"power\",\"what\":\"%s\"}", what);
	r = control_ask(c, request, &answer, err);
	if (r == 0 && ret)
		*ret = take_ptr(&answer);
	return r;
}

/* Returns whether it has ended within the time. */
static bool wait_end(const struct control_client *c, int pid_fd, uint64_t timeout_ns)
{
	struct clock *clock = clock_real();
	uint64_t now = clock_now(clock), end = now + timeout_ns;

	for (; now < end; now = clock_now(clock)) {
		struct pollfd p = { .fd = pid_fd >= 0 ? pid_fd : c->fd, .events = POLLIN };
		uint64_t ms = (end - now) / NS_PER_MS + 1;

		if (poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms) > 0)
			return true;
	}
	return false;
}

static int stop(const struct cmd_call *call, struct control_client *c, const struct json *info,
		struct err *err)
{
	const struct stop_opts *o = call->opts;
	int pid = ipc_peer_pid(c->fd);
	_cleanup_(fd_closep) int pid_fd = pid > 0 ? pidfd_open(pid, 0) : -EBADF;
	bool forced = o->force && !cmd_given(call, "timeout"), ended = false;
	int r = 0;

	if (!forced) {
		r = press(c, "button", NULL, err);
		ended = r == 0 && wait_end(c, pid_fd, o->timeout_ns);
		forced = !ended && o->force;
	}
	if (forced) {
		if (err)
			*err = ERR_INIT;
		r = press(c, "off", NULL, err);
		/* It may have ended by itself in this moment. */
		ended = (r == 0 || r == -ECONNRESET) && wait_end(c, pid_fd, o->timeout_ns);
		r = ended ? 0 : r;
	}
	if (r < 0)
		return r;
	if (!ended) {
		err_set(err, -ETIMEDOUT, "it is still running after %llu s%s",
			(unsigned long long)(o->timeout_ns / NS_PER_S),
			forced ? "" : "; --force switches it off");
		return STILL_RUNNING;
	}
	return o->json ? print_state(info, "off", &forced, err) : 0;
}

/* Reach the machine that the command names, and ask what it is when that is to be told. */
static int reach(const struct cmd_call *call, bool wants_info, struct control_client *c,
		 struct json **ret_info, struct err *err)
{
	int r = control_dial(call, c, err);

	return r < 0 || !wants_info ? r : control_ask(c, "{\"do\":\"info\"}", ret_info, err);
}

int cmd_stop_exec(const struct cmd_call *call)
{
	const struct stop_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *info = NULL;
	struct err err = ERR_INIT;
	int r = reach(call, o->json, &c, &info, &err);

	if (r == 0)
		r = stop(call, &c, info, &err);
	return r ? control_complain(call, r, &err) : 0;
}

static int press_and_tell(const struct cmd_call *call, const char *what)
{
	const struct power_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *info = NULL, *answer = NULL;
	struct err err = ERR_INIT;
	int r = reach(call, o->json, &c, &info, &err);

	if (r == 0)
		r = press(&c, what, &answer, &err);
	if (r == 0 && o->json)
		r = print_state(info, control_word(json_get(answer, "ok"), "state"), NULL, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

int cmd_reset_exec(const struct cmd_call *call)
{
	return press_and_tell(call, "reset");
}

int cmd_pause_exec(const struct cmd_call *call)
{
	return press_and_tell(call, "pause");
}

int cmd_resume_exec(const struct cmd_call *call)
{
	return press_and_tell(call, "resume");
}

static int show_cpus(const struct json *ok, bool json, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	strbuf_addf(&out, json ? "{\"vcpus\":%llu,\"vcpus_max\":%llu}\n" : "%llu of %llu\n",
		    (unsigned long long)control_number(ok, "vcpus"),
		    (unsigned long long)control_number(ok, "vcpus_max"));
	return control_print(strbuf_str(&out), err);
}

int cmd_cpus_exec(const struct cmd_call *call)
{
	const struct cpus_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	char request[64] = "{\"do\":\"cpus\"}";
	struct err err = ERR_INIT;
	uint64_t n = 0;
	int r = 0;

	if (call->nr_args > 1) {
		r = str_parse_u64(str_of(call->args[1]), 1, 64, &n, &err);
		snprintf(request, sizeof(request), "{\"do\":\"cpus\",\"n\":%llu}",
			 (unsigned long long)n);
	}
	if (r == 0)
		r = control_open(call->nr_args ? call->args[0] : NULL, &c, &err);
	if (r == 0)
		r = control_ask(&c, request, &answer, &err);
	if (r == 0)
		r = show_cpus(json_get(answer, "ok"), o->json, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}
