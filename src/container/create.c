/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making a container, as its parent. The state is written before anything exists that would have to be found again (cgroups,
 * then init), so that a runtime that is killed at any point leaves what `delete --force` removes; init dies with us until it
 * is ready. How it is born: spawn.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "container/spawn_priv.h"
#include "container/state_priv.h"
#include "sys/fd.h"

struct creation {
	const struct ct_create *o;
	struct ct_state *state;
	struct making m;
};

static int runtime_hooks(struct making *m, void *arg, struct err *err)
{
	const struct creation *cr = arg;
	const struct ct_hooks *hooks = m->init.config->hooks;
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	int r;

	state_text(cr->state, CT_CREATING, &text);
	r = hooks_run(&hooks[CT_HOOK_PRESTART], "prestart", strbuf_str(&text), err);
	return r < 0 ? r
		     : hooks_run(&hooks[CT_HOOK_CREATE_RUNTIME], "createRuntime", strbuf_str(&text),
				 err);
}

/* In the order in which a killed runtime's work can be found again. */
static int make(struct creation *cr, struct strbuf *warnings, struct err *err)
{
	struct making *m = &cr->m;
	const struct ct_config *c = m->init.config;
	struct ct_state *s = cr->state;
	int r = cgroups_find(c->cgroups_path, cr->o->id, &s->cgroups, err);

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
	if (r == 0)
		r = cgroups_open(&s->cgroups, &m->init.doors, err);
	if (r == 0)
		r = spawn(m, err);
	if (r == 0) {
		s->pid = m->pid;
		s->pid_start = process_start(m->pid);
		r = state_write(s, err);
	}
	if (r == 0)
		r = making_follow(m, runtime_hooks, cr, warnings, err);
	return r < 0 ? r : pid_file_write(cr->o->wiring.pid_file, m->pid, err);
}

/* `run`: the program is started. */
static int start_now(struct creation *cr, struct err *err)
{
	const struct ct_hooks *hooks = &cr->m.init.config->hooks[CT_HOOK_POSTSTART];
	_cleanup_(strbuf_done) struct strbuf state = { 0 };
	int r = making_start(&cr->m, err);

	if (r < 0 || !hooks->n)
		return r;
	state_text(cr->state, CT_RUNNING, &state);
	return hooks_run(hooks, "poststart", strbuf_str(&state), err);
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

static int prepare(struct creation *cr, struct err *err)
{
	struct making *m = &cr->m;
	int r = making_prepare(m, err);

	m->init.parents_fd[1] = cr->state->dir_fd;
	m->init.parents_fd[2] = cr->state->root_fd;
	if (r == 0)
		r = open_namespaces(m, err);
	if (r == 0 && cr->o->waits_for_start)
		r = m->init.start_fd = state_listen(cr->state, err);
	return r < 0 ? r : 0;
}

/* Nothing stays of what could not be made. */
static void undo(const struct creation *cr)
{
	making_kill(&cr->m);
	ignore_result(cgroups_remove(&cr->state->cgroups, NULL)); /* the first error is told */
	ignore_result(state_remove(cr->state, NULL));
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
	struct creation cr = { .o = o };
	int console_fd = -EBADF, r;
	size_t n;

	making_begin(&cr.m);
	r = load(o, &bundle, &text, &n, &config, err);
	if (r == 0)
		r = state_new(o->root, o->id, &state, err);
	if (r < 0) {
		ct_config_free(config);
		return r;
	}
	strbuf_adds(warnings, strbuf_cstr(&config->warnings));
	cr.state = state;
	state->config = config;
	state->bundle = mem_strdup(bundle);
	state->made_at = time_text();
	cr.m.init.id = o->id;
	cr.m.init.config = config;
	cr.m.init.process = &config->process;
	cr.m.init.wiring = &o->wiring;
	cr.m.init.bundle = bundle;
	cr.m.init.cgroups = &state->cgroups;
	cr.m.init.no_pivot = o->no_pivot;
	cr.m.init.no_new_keyring = o->no_new_keyring;
	r = keep_config(state, text, n, err);
	if (r == 0)
		r = prepare(&cr, err);
	if (r == 0)
		r = make(&cr, warnings, err);
	if (r == 0 && !o->waits_for_start)
		r = start_now(&cr, err);
	if (r == 0)
		r = making_console(&cr.m, &console_fd, err);
	if (r < 0)
		undo(&cr);
	else
		*ret = (struct ct_created){ .pid = cr.m.pid, .console_fd = console_fd };
	making_end(&cr.m);
	return r;
}
