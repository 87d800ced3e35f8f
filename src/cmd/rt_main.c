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
#include "sys/fd.h"

/* A line of the file that container engines read to tell their users what went wrong. */
static void append_log(const struct rt_globals *g, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf line = { 0 };
	_cleanup_(fd_closep) int fd = -EBADF;
	time_t now = time(NULL);
	char stamp[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		ignore_result(strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm));
	if (g->log_format) {
		strbuf_adds(&line, "{\"level\":\"error\",\"msg\":");
		strbuf_add_json(&line, str_of(text));
		strbuf_addf(&line, ",\"time\":\"%s\"}\n", stamp);
	} else {
		strbuf_addf(&line, "%s error: %s\n", stamp, text);
	}
	if (fd_open(g->log, O_WRONLY | O_CREAT | O_APPEND, &fd, NULL) == 0)
		ignore_result(fd_write_full(fd, line.p, line.n)); /* it is on stderr, too */
}

int rt_complain(const struct cmd_call *call, const struct err *err)
{
	const struct rt_globals *g = call->globals;

	fprintf(stderr, "atoll-rt %s: %s\n", call->cmd->name, err_text(err));
	if (g->log)
		append_log(g, err_text(err));
	return 1;
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
	{ &rt_cmd_spec, spec_exec },
};

int main(int argc, char **argv)
{
	static const struct cmd_program program = {
		.name = "atoll-rt",
		.summary = "Run containers as the OCI runtime specification describes them",
		.cmds = commands,
		.nr_cmds = ARRAY_SIZE(commands),
		.globals = &rt_globals,
	};

	return cmd_main(&program, argc, argv);
}
