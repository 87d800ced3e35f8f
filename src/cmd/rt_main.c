/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `atoll-rt` program: an OCI runtime with the command line of runc. It is static and links neither TLS nor a loop, because
 * it starts with every container.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/rt.h"
#include "container/config.h"
#include "container/container.h"
#include "sys/fd.h"

/* A line of the file that container engines read to tell their users what went wrong. */
static void append_log(const struct rt_globals *g, const char *level, struct str text)
{
	_cleanup_(strbuf_done) struct strbuf line = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	time_t now = time(NULL);
	char stamp[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		ignore_result(strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm));
	if (g->log_format) {
		strbuf_addf(&line, "{\"level\":\"%s\",\"msg\":", level);
		strbuf_add_json(&line, text);
		strbuf_addf(&line, ",\"time\":\"%s\"}\n", stamp);
	} else {
		strbuf_addf(&line, "%s %s: %.*s\n", stamp, level, STR_ARG(text));
	}
	if (fd_open(g->log, O_WRONLY | O_CREAT | O_APPEND, &fd, NULL) == 0)
		ignore_result(fd_write_full(fd, line.p, line.n)); /* nobody else to tell */
}

int rt_complain(const struct cmd_call *call, const struct err *err)
{
	const struct rt_globals *g = call->globals;

	fprintf(stderr, "atoll-rt %s: %s\n", call->cmd->name, err_text(err));
	if (g->log)
		append_log(g, "error", str_of(err_text(err)));
	return 1;
}

void rt_warn(const struct cmd_call *call, const struct strbuf *lines)
{
	const struct rt_globals *g = call->globals;
	struct str rest = strbuf_str(lines), line;

	while (g->log && str_cut(&rest, '\n', &line))
		if (line.n)
			append_log(g, "warning", line);
}

static int spec_exec(const struct cmd_call *call)
{
	const struct rt_spec_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	struct err err = ERR_INIT;
	int r;

	strbuf_addf(&path, "%s/config.json", o->bundle);
	r = fd_open(strbuf_cstr(&path), O_WRONLY | O_CREAT | O_EXCL, &fd, &err);
	if (r == 0)
		r = fd_write_full(fd, ct_spec().p, ct_spec().n);
	if (r < 0 && !err.code)
		err_set(&err, r, "write '%s'", strbuf_cstr(&path));
	return r < 0 ? rt_complain(call, &err) : 0;
}

static const struct cmd_binding commands[] = {
	{ &rt_cmd_run, rt_run_exec },
	{ &rt_cmd_create, rt_create_exec },
	{ &rt_cmd_exec, rt_exec_exec },
	{ &rt_cmd_start, rt_start_exec },
	{ &rt_cmd_state, rt_state_exec },
	{ &rt_cmd_kill, rt_kill_exec },
	{ &rt_cmd_delete, rt_delete_exec },
	{ &rt_cmd_list, rt_list_exec },
	{ &rt_cmd_ps, rt_ps_exec },
	{ &rt_cmd_pause, rt_pause_exec },
	{ &rt_cmd_resume, rt_resume_exec },
	{ &rt_cmd_update, rt_update_exec },
	{ &rt_cmd_features, rt_features_exec },
	{ &rt_cmd_spec, spec_exec },
	{ &rt_cmd_checkpoint, rt_absent_exec },
	{ &rt_cmd_restore, rt_absent_exec },
};

/* Whether it may be a command whose processes become a container's: a word of it says so, wherever it stands. */
static bool makes_processes(char **argv)
{
	for (; *argv; argv++)
		if (strcmp(*argv, "create") == 0 || strcmp(*argv, "run") == 0 ||
		    strcmp(*argv, "exec") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct cmd_program program = {
		.name = "atoll-rt",
		.summary = "Run containers as the OCI runtime specification describes them",
		.cmds = commands,
		.nr_cmds = ARRAY_SIZE(commands),
		.globals = &rt_globals,
	};

	struct err err = ERR_INIT;

	/* Before anything of a container can see this process. */
	if (makes_processes(argv) && ct_exe_protect(argv, &err) < 0) {
		fprintf(stderr, "atoll-rt: %s\n", err_text(&err));
		return 1;
	}
	return cmd_main(&program, argc, argv);
}
