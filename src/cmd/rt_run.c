/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll-rt create` and `run`. A container that runs in the foreground is removed when it has ended.
 */
#include <errno.h>

#include "cmd/rt.h"
#include "container/container.h"

static void describe(const struct cmd_call *call, struct ct_create *ret)
{
	const struct rt_create_opts *o = call->opts;
	const struct rt_globals *g = call->globals;

	ct_close_inherited((unsigned int)o->preserve_fds);
	*ret = (struct ct_create){
		.root = g->root,
		.id = call->args[0],
		.bundle = o->bundle,
		.wiring = { .pid_file = o->pid_file,
			    .console_socket = o->console_socket,
			    .preserve_fds = (unsigned int)o->preserve_fds },
		.no_pivot = o->no_pivot,
		.no_new_keyring = o->no_new_keyring,
	};
}

int rt_create_exec(const struct cmd_call *call)
{
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	struct ct_created made;
	struct err err = ERR_INIT;
	struct ct_create o;
	int r;

	describe(call, &o);
	o.waits_for_start = o.wiring.needs_console = true;
	r = ct_create(&o, &made, &warnings, &err);
	rt_warn(call, &warnings);
	return r < 0 ? rt_complain(call, &err) : 0;
}

static int remove_it(const struct ct_create *o, struct strbuf *warnings, struct err *err)
{
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	int r = ct_open(o->root, o->id, &s, err);

	if (r == -ENOENT)
		return 0; /* somebody else has */
	return r < 0 ? r : ct_delete(s, true, warnings, err);
}

int rt_run_exec(const struct cmd_call *call)
{
	const struct rt_create_opts *opts = call->opts;
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	struct front f = { .signal_fd = -EBADF };
	struct ct_created made;
	struct err err = ERR_INIT;
	struct ct_create o;
	int status, r;

	describe(call, &o);
	o.wiring.needs_console = opts->detach;
	r = opts->detach ? 0 : front_begin(&f, !opts->no_subreaper, &err);
	if (r == 0)
		r = ct_create(&o, &made, &warnings, &err);
	if (r < 0 || opts->detach) {
		rt_warn(call, &warnings);
		return r < 0 ? rt_complain(call, &err) : 0;
	}
	status = front_stay(&f, &made);
	r = opts->keep ? 0 : remove_it(&o, &warnings, &err);
	rt_warn(call, &warnings);
	return r < 0 ? rt_complain(call, &err) : status;
}
