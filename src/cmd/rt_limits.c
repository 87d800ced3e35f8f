/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll-rt update`, its options as data and what it does; and `features`.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/rt.h"
#include "container/config.h"
#include "container/container.h"
#include "sys/fd.h"

static const struct opt update_options[] = {
	{
		.name = "resources",
		.letter = 'r',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Limits as \"linux.resources\" of a config.json, '-': standard input; the options below are not looked at",
		OPT_AT(struct rt_update_opts, resources),
	},
	{
		.name = "cpu-period",
		.type = OPT_STR,
		.arg = "US",
		.help = "Microseconds in which the quota of CPU time is counted",
		OPT_AT(struct rt_update_opts, cpu_period),
	},
	{
		.name = "cpu-quota",
		.type = OPT_STR,
		.arg = "US",
		.help = "Microseconds of CPU time a period; -1: no limit",
		OPT_AT(struct rt_update_opts, cpu_quota),
	},
	{
		.name = "cpu-burst",
		.type = OPT_STR,
		.arg = "US",
		.help = "Microseconds that may be saved up beyond the quota",
		OPT_AT(struct rt_update_opts, cpu_burst),
	},
	{
		.name = "cpu-share",
		.type = OPT_STR,
		.arg = "N",
		.help = "Share of CPU time when it is scarce; a container that does not say has 1024",
		OPT_AT(struct rt_update_opts, cpu_share),
	},
	{
		.name = "cpu-rt-period",
		.type = OPT_STR,
		.arg = "US",
		.help = "Microseconds in which real-time CPU time is counted",
		OPT_AT(struct rt_update_opts, cpu_rt_period),
	},
	{
		.name = "cpu-rt-runtime",
		.type = OPT_STR,
		.arg = "US",
		.help = "Microseconds of real-time CPU time a period",
		OPT_AT(struct rt_update_opts, cpu_rt_runtime),
	},
	{
		.name = "cpu-idle",
		.type = OPT_STR,
		.arg = "0|1",
		.help = "1: only what nobody else wants",
		OPT_AT(struct rt_update_opts, cpu_idle),
	},
	{
		.name = "cpuset-cpus",
		.type = OPT_STR,
		.arg = "LIST",
		.help = "CPUs it may use: 0-2,5",
		OPT_AT(struct rt_update_opts, cpuset_cpus),
	},
	{
		.name = "cpuset-mems",
		.type = OPT_STR,
		.arg = "LIST",
		.help = "Memory nodes it may use",
		OPT_AT(struct rt_update_opts, cpuset_mems),
	},
	{
		.name = "memory",
		.type = OPT_STR,
		.arg = "BYTES",
		.help = "Memory; -1: no limit",
		OPT_AT(struct rt_update_opts, memory),
	},
	{
		.name = "memory-reservation",
		.type = OPT_STR,
		.arg = "BYTES",
		.help = "What is left to it when memory is scarce",
		OPT_AT(struct rt_update_opts, memory_reservation),
	},
	{
		.name = "memory-swap",
		.type = OPT_STR,
		.arg = "BYTES",
		.help = "Memory and swap together; -1: no limit",
		OPT_AT(struct rt_update_opts, memory_swap),
	},
	{
		.name = "pids-limit",
		.type = OPT_STR,
		.arg = "N",
		.help = "Processes and threads; -1: no limit",
		OPT_AT(struct rt_update_opts, pids_limit),
	},
	{ 0 },
};

const struct cmd rt_cmd_update = {
	.name = "update",
	.summary = "Change the limits of a container",
	.description = "What is not given stays. Bytes may be followed by K, M or G.",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
	.opts = update_options,
	.opts_size = sizeof(struct rt_update_opts),
	.examples = "atoll-rt update --memory 64M --pids-limit 100 web1",
};

const struct cmd rt_cmd_features = {
	.name = "features",
	.summary = "Show what this runtime can do, as JSON",
	.args_max = 0,
};

/* What the parser checks for a file is checked for options, too: they become the same text. */
struct builder {
	struct strbuf out;
	bool is_bytes_ok;
	int r;
	struct err *err;
};

static void add_key(struct builder *b, const char *key)
{
	char last = b->out.n ? b->out.p[b->out.n - 1] : '{';

	strbuf_addf(&b->out, "%s\"%s\": ", last == '{' ? "" : ", ", key);
}

static void add_number(struct builder *b, const char *option, const char *key, const char *text,
		       bool is_bytes)
{
	uint64_t bytes = 0;
	int64_t n = 0;
	int r;

	if (!text || b->r < 0)
		return;
	r = str_parse_i64(str_of(text), -1, INT64_MAX, &n, is_bytes ? NULL : b->err);
	if (r < 0 && is_bytes) {
		r = str_parse_size(str_of(text), 0, INT64_MAX, &bytes, b->err);
		n = (int64_t)bytes;
	}
	if (r < 0) {
		b->r = err_wrap(b->err, r, "--%s", option);
		return;
	}
	add_key(b, key);
	strbuf_addf(&b->out, "%lld", (long long)n);
}

static void add_text(struct builder *b, const char *key, const char *text)
{
	if (!text)
		return;
	add_key(b, key);
	strbuf_add_json(&b->out, str_of(text));
}

static int options_as_text(const struct rt_update_opts *o, struct strbuf *ret, struct err *err)
{
	struct builder b = { .err = err };

	strbuf_adds(&b.out, "{\"cpu\": {");
	add_number(&b, "cpu-period", "period", o->cpu_period, false);
	add_number(&b, "cpu-quota", "quota", o->cpu_quota, false);
	add_number(&b, "cpu-burst", "burst", o->cpu_burst, false);
	add_number(&b, "cpu-share", "shares", o->cpu_share, false);
	add_number(&b, "cpu-rt-period", "realtimePeriod", o->cpu_rt_period, false);
	add_number(&b, "cpu-rt-runtime", "realtimeRuntime", o->cpu_rt_runtime, false);
	add_number(&b, "cpu-idle", "idle", o->cpu_idle, false);
	add_text(&b, "cpus", o->cpuset_cpus);
	add_text(&b, "mems", o->cpuset_mems);
	strbuf_adds(&b.out, "}, \"memory\": {");
	add_number(&b, "memory", "limit", o->memory, true);
	add_number(&b, "memory-reservation", "reservation", o->memory_reservation, true);
	add_number(&b, "memory-swap", "swap", o->memory_swap, true);
	strbuf_adds(&b.out, "}, \"pids\": {");
	add_number(&b, "pids-limit", "limit", o->pids_limit, false);
	strbuf_adds(&b.out, "}}");
	*ret = b.out;
	return b.r;
}

static int limits_of(const struct rt_update_opts *o, struct ct_config **ret, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	_cleanup_(mem_freep) void *file = NULL;
	size_t n;
	int r;

	if (!o->resources) {
		r = options_as_text(o, &text, err);
		return r < 0 ? r : ct_resources_parse(strbuf_str(&text), ret, err);
	}
	if (strcmp(o->resources, "-") == 0)
		r = file_read_fd(STDIN_FILENO, "standard input", CT_CONFIG_MAX, &file, &n, err);
	else
		r = file_read(o->resources, CT_CONFIG_MAX, &file, &n, err);
	if (r == 0)
		r = ct_resources_parse((struct str){ file, n }, ret, err);
	return r < 0 ? err_wrap(err, r, "--resources") : 0;
}

int rt_update_exec(const struct cmd_call *call)
{
	const struct rt_globals *g = call->globals;
	_cleanup_(ct_config_freep) struct ct_config *c = NULL;
	_cleanup_(ct_closep) struct ct_state *s = NULL;
	struct err err = ERR_INIT;
	int r = ct_open(g->root, call->args[0], &s, &err);

	if (r == 0)
		r = limits_of(call->opts, &c, &err);
	if (r == 0)
		r = ct_update(s, &c->resources, &err);
	return r < 0 ? rt_complain(call, &err) : 0;
}

const struct cmd rt_cmd_checkpoint = {
	.name = "checkpoint",
	.summary = "Not there yet: save a container as it runs",
	.args = "ID",
	.args_max = SIZE_MAX,
	.stops_at_args = true,
};

const struct cmd rt_cmd_restore = {
	.name = "restore",
	.summary = "Not there yet: go on with a container that was saved",
	.args = "ID",
	.args_max = SIZE_MAX,
	.stops_at_args = true,
};

int rt_absent_exec(const struct cmd_call *call)
{
	struct err err = ERR_INIT;

	err_set(&err, -EOPNOTSUPP, "is not there yet");
	return rt_complain(call, &err);
}

int rt_features_exec(const struct cmd_call *call)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	ct_features(&out);
	return fd_write_full(STDOUT_FILENO, out.p, out.n) < 0 ? 1 : 0;
}
