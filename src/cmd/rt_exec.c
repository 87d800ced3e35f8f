/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll-rt exec`: which process it is to be, from a file, or from the container's own process and options.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cmd/rt.h"
#include "container/config.h"
#include "container/container.h"
#include "sys/fd.h"

/* A process, and what it consists of that is neither the container's nor the command line's. */
struct wanted {
	struct ct_process process;
	struct ct_config *file;
	const char **args, **env;
	uint32_t *groups;
};

static void wanted_done(struct wanted *w)
{
	ct_config_free(w->file);
	free(w->args);
	free(w->env);
	free(w->groups);
}

/* @a and @b behind each other, with a NULL at the end. */
static const char **append(const char *const *a, size_t nr_a, const char *const *b, size_t nr_b)
{
	const char **all = mem_new_n(nr_a + nr_b + 1, sizeof(*all));

	for (size_t i = 0; i < nr_a; i++)
		all[i] = a[i];
	for (size_t i = 0; i < nr_b; i++)
		all[nr_a + i] = b[i];
	return all;
}

static int read_file(struct wanted *w, const char *path, struct err *err)
{
	_cleanup_(mem_freep) void *text = NULL;
	size_t n;
	int r = file_read(path, CT_CONFIG_MAX, &text, &n, err);

	if (r == 0)
		r = ct_process_parse((struct str){ text, n }, &w->file, err);
	if (r == 0)
		w->process = w->file->process;
	return r < 0 ? err_wrap(err, r, "--process") : 0;
}

static int read_id(struct str text, const char *option, uint32_t *ret, struct err *err)
{
	uint64_t id;
	int r = str_parse_u64(text, 0, UINT32_MAX - 1, &id, err);

	if (r < 0)
		return err_wrap(err, r, "%s", option);
	*ret = (uint32_t)id;
	return 0;
}

static int take_user(const struct rt_exec_opts *o, struct wanted *w, struct err *err)
{
	struct ct_process *p = &w->process;
	int r = 0;

	if (o->user) {
		struct str rest = str_of(o->user), uid;

		str_cut(&rest, ':', &uid);
		p->gid = 0;
		r = read_id(uid, "--user", &p->uid, err);
		if (r == 0 && rest.n)
			r = read_id(rest, "--user", &p->gid, err);
	}
	if (r < 0 || !o->groups.n)
		return r;
	w->groups = mem_new_n(p->nr_groups + o->groups.n, sizeof(*w->groups));
	for (size_t i = 0; i < p->nr_groups; i++)
		w->groups[i] = p->groups[i];
	for (size_t i = 0; r == 0 && i < o->groups.n; i++)
		r = read_id(str_of(o->groups.v[i]), "--additional-gids",
			    &w->groups[p->nr_groups + i], err);
	p->groups = w->groups;
	p->nr_groups += o->groups.n;
	return r;
}

static int take_caps(const struct rt_exec_opts *o, struct ct_caps *caps, struct err *err)
{
	for (size_t i = 0; i < o->caps.n; i++) {
		int cap = ct_cap_by_name(o->caps.v[i]);
		uint64_t bit;

		if (cap < 0)
			return err_set(err, -EINVAL, "--cap: '%.40s' is unknown", o->caps.v[i]);
		bit = UINT64_C(1) << cap;
		caps->bounding |= bit;
		caps->permitted |= bit;
		caps->effective |= bit;
	}
	return 0;
}

static int take_options(const struct cmd_call *call, const struct ct_process *own, struct wanted *w,
			struct err *err)
{
	const struct rt_exec_opts *o = call->opts;
	struct ct_process *p = &w->process;
	int r;

	if (!own)
		return err_set(err, -EINVAL, "the container's configuration is lost");
	if (call->nr_args < 2)
		return err_set(err, -EINVAL,
			       "which program? A word behind the container's name, "
			       "or --process");
	*p = *own;
	w->args = append(call->args + 1, call->nr_args - 1, NULL, 0);
	p->args = (struct ct_strs){ w->args, call->nr_args - 1 };
	w->env = append(own->env.v, own->env.n, o->env.v, o->env.n);
	p->env = (struct ct_strs){ w->env, own->env.n + o->env.n };
	if (o->cwd && o->cwd[0] != '/')
		return err_set(err, -EINVAL, "--cwd: '%.80s' is not absolute", o->cwd);
	if (o->cwd)
		p->cwd = o->cwd;
	if (o->no_new_privs)
		p->no_new_privileges = true;
	p->has_terminal |= o->tty;
	r = take_user(o, w, err);
	return r < 0 ? r : take_caps(o, &p->caps, err);
}

static int run(const struct cmd_call *call, struct ct_state *s, struct front *f,
	       struct ct_created *ret, struct strbuf *warnings, struct err *err)
{
	const struct rt_exec_opts *o = call->opts;
	struct wanted w = { 0 };
	const struct ct_exec exec = {
		.process = &w.process,
		.wiring = { .pid_file = o->pid_file,
			    .console_socket = o->console_socket,
			    .preserve_fds = (unsigned int)o->preserve_fds,
			    .needs_console = o->detach },
		.ignores_pause = o->ignore_paused,
	};
	int r = o->process ? read_file(&w, o->process, err)
			   : take_options(call, ct_program(s), &w, err);

	if (r == 0 && !o->detach)
		r = front_begin(f, false, err);
	if (r == 0)
		r = ct_exec(s, &exec, ret, warnings, err);
	wanted_done(&w);
	return r;
}

int rt_exec_exec(const struct cmd_call *call)
{
	const struct rt_exec_opts *o = call->opts;
	const struct rt_globals *g = call->globals;
	_cleanup_(strbuf_done) struct strbuf warnings = { 0 };
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct front f = { .signal_fd = -EBADF };
	struct ct_created made;
	struct err err = ERR_INIT;
	int r;

	ct_close_inherited((unsigned int)o->preserve_fds);
	r = ct_open(g->root, call->args[0], &s, &err);
	if (r == 0)
		r = run(call, s, &f, &made, &warnings, &err);
	rt_warn(call, &warnings);
	if (r < 0) {
		/* Not 1, which its program could say. */
		ignore_result(rt_complain(call, &err));
		return 255;
	}
	return o->detach ? 0 : front_stay(&f, &made);
}
