/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of `atoll-rt` for containers that exist: each opens the container's state, asks container/ for one thing, and
 * prints what came of it in runc's format.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/rt.h"
#include "container/container.h"
#include "sys/fd.h"

static int open_it(const struct cmd_call *call, struct ct_state **ret, struct err *err)
{
	const struct rt_globals *g = call->globals;

	return ct_open(g->root, call->args[0], ret, err);
}

static int print(const struct strbuf *text)
{
	return fd_write_full(STDOUT_FILENO, strbuf_cstr(text), text->n) < 0 ? 1 : 0;
}

int rt_start_exec(const struct cmd_call *call)
{
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	struct err err = ERR_INIT;
	int r = open_it(call, &s, &err);

	if (r == 0)
		r = ct_start(s, &warnings, &err);
	rt_warn(call, &warnings);
	return r < 0 ? rt_complain(call, &err) : 0;
}

int rt_state_exec(const struct cmd_call *call)
{
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct err err = ERR_INIT;

	if (open_it(call, &s, &err) < 0)
		return rt_complain(call, &err);
	ct_state_json(s, &out);
	return print(&out);
}

static int signal_of(const char *text, int *ret, struct err *err)
{
	uint64_t n;

	if (str_parse_u64(str_of(text), 0, NSIG - 1, &n, NULL) == 0) {
		*ret = (int)n;
		return 0;
	}
	if (str_starts(str_of(text), STR("SIG")))
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcmp(name, text) == 0) {
			*ret = i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "'%.40s' is no signal; TERM, SIGKILL, 15 are", text);
}

int rt_kill_exec(const struct cmd_call *call)
{
	const struct rt_kill_opts *o = call->opts;
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct err err = ERR_INIT;
	int signal = SIGTERM, r = 0;

	if (call->nr_args > 1)
		r = signal_of(call->args[1], &signal, &err);
	if (r == 0)
		r = open_it(call, &s, &err);
	if (r == 0)
		r = ct_kill(s, signal, o->all, &err);
	return r < 0 ? rt_complain(call, &err) : 0;
}

int rt_delete_exec(const struct cmd_call *call)
{
	const struct rt_delete_opts *o = call->opts;
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	struct err err = ERR_INIT;
	int r = open_it(call, &s, &err);

	if (r == -ENOENT && o->force)
		return 0; /* as runc: what is not there is deleted */
	if (r == 0)
		r = ct_delete(s, o->force, &warnings, &err);
	rt_warn(call, &warnings);
	return r < 0 ? rt_complain(call, &err) : 0;
}

struct listing {
	const char *root;
	const struct rt_list_opts *o;
	struct strbuf out;
	size_t n;
};

static void list_one(void *arg, const char *id)
{
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct listing *l = arg;

	if (ct_open(l->root, id, &s, NULL) < 0)
		return; /* removed meanwhile */
	l->n++;
	if (l->o->quiet) {
		strbuf_addf(&l->out, "%s\n", id);
	} else if (l->o->format) {
		strbuf_adds(&l->out, l->n > 1 ? ", " : "");
		ct_state_json(s, &l->out);
		l->out.p[--l->out.n] = 0; /* its newline */
	} else {
		size_t start = l->out.n;

		strbuf_adds(&l->out, id);
		strbuf_pad(&l->out, start, 24);
		strbuf_addf(&l->out, "%d", ct_pid(s));
		strbuf_pad(&l->out, start, 34);
		strbuf_adds(&l->out, ct_status_name(ct_status(s)));
		strbuf_pad(&l->out, start, 44);
		strbuf_addf(&l->out, "%s  %s\n", ct_made_at(s), ct_bundle(s));
	}
}

int rt_list_exec(const struct cmd_call *call)
{
	const struct rt_globals *g = call->globals;
	struct listing l = { .root = g->root, .o = call->opts };
	struct err err = ERR_INIT;
	int r;

	if (l.o->format && !l.o->quiet)
		strbuf_adds(&l.out, "[");
	else if (!l.o->quiet)
		strbuf_adds(&l.out,
			    "ID                      PID       STATUS    CREATED                  "
			    "       BUNDLE\n");
	r = ct_each(g->root, list_one, &l, &err);
	if (l.o->format && !l.o->quiet)
		strbuf_adds(&l.out, "]\n");
	r = r < 0 ? rt_complain(call, &err) : print(&l.out);
	strbuf_done(&l.out);
	return r;
}

struct pids {
	bool is_json;
	struct strbuf out;
	size_t n;
};

static void add_pid(void *arg, pid_t pid)
{
	_cleanup_(mem_freep) void *text = NULL;
	struct pids *pids = arg;
	char path[40];
	size_t n = 0;

	if (pids->is_json) {
		strbuf_addf(&pids->out, "%s%d", pids->n++ ? "," : "", pid);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	ignore_result(file_read(path, 4096, &text, &n, NULL)); /* it may have ended */
	strbuf_addf(&pids->out, "%-10d", pid);
	for (size_t i = 0; i < n; i++) {
		char c = ((char *)text)[i];

		if (c || i + 1 < n)
			strbuf_addc(&pids->out, c >= ' ' && c < 127 ? c : c ? '?' : ' ');
	}
	strbuf_addc(&pids->out, '\n');
}

int rt_ps_exec(const struct cmd_call *call)
{
	const struct rt_list_opts *o = call->opts;
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct pids pids = { .is_json = o->format };
	struct err err = ERR_INIT;
	int r = open_it(call, &s, &err);

	strbuf_adds(&pids.out, o->format ? "[" : "PID       COMMAND\n");
	if (r == 0)
		r = ct_pids(s, add_pid, &pids, &err);
	if (o->format)
		strbuf_adds(&pids.out, "]\n");
	r = r < 0 ? rt_complain(call, &err) : print(&pids.out);
	strbuf_done(&pids.out);
	return r;
}

static int freeze(const struct cmd_call *call, bool on)
{
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct err err = ERR_INIT;
	int r = open_it(call, &s, &err);

	if (r == 0)
		r = ct_freeze(s, on, &err);
	return r < 0 ? rt_complain(call, &err) : 0;
}

int rt_pause_exec(const struct cmd_call *call)
{
	return freeze(call, true);
}

int rt_resume_exec(const struct cmd_call *call)
{
	return freeze(call, false);
}
