/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be asked of machines that are running. Texts for people are made by the machine, so that they say the same
 * as its own at its end.
 */
#include "cmd/machines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "cmd/run.h"

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	nanosleep(&t, NULL); /* a signal that does not end us ends the pause */
}

/* Until the connection ends. */
static int count_on(struct control_client *c, struct err *err)
{
	_cleanup_(json_freep) struct json *answer = NULL;

	return control_ask(c, "{\"do\":\"count\",\"on\":true}", &answer, err);
}

int cmd_stats_exec(const struct cmd_call *call)
{
	const struct stats_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	const char *request = o->json ? "{\"do\":\"stats\"}" : "{\"do\":\"stats\",\"text\":true}";
	const char *clear = o->watch && isatty(STDOUT_FILENO) ? "\033[H\033[J" : "";
	struct err err = ERR_INIT;
	int r = control_open(call->nr_args ? call->args[0] : NULL, &c, &err);

	if (r == 0 && o->count)
		r = count_on(&c, &err);
	while (r == 0) {
		r = control_show(&c, request, o->json, clear, &err);
		if (!o->watch)
			break;
		if (r == 0)
			sleep_ns(o->interval_ns);
	}
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* --- ps ------------------------------------------------------------------------------------------- */

struct listing {
	struct strbuf out;
	bool json;
};

static void add_machine(struct strbuf *out, const struct json *j)
{
	uint64_t up_s = control_number(j, "up_ns") / NS_PER_S;
	size_t start = out->n;

	control_plain(out, control_word(j, "name"));
	strbuf_pad(out, start, 20);
	strbuf_addf(out, " %8" PRIu64 " ", control_number(j, "pid"));
	control_plain(out, control_word(j, "engine"));
	strbuf_pad(out, start, 38);
	strbuf_addf(out, "%4" PRIu64 " %7" PRIu64 "M %5" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "  ",
		    control_number(j, "vcpus"), control_number(j, "memory_bytes") >> 20,
		    up_s / 3600, up_s / 60 % 60, up_s % 60);
	strbuf_addf(out, "%-8.8s ", control_word(j, "state"));
	control_plain(out, control_word(j, "kernel"));
	strbuf_addc(out, '\n');
}

static void list_one(void *arg, const char *name)
{
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	static const char request[] = "{\"do\":\"info\"}";
	struct listing *l = arg;

	/* One that has just ended, or hangs, is not a reason to be silent about the others. */
	if (control_open(name, &c, NULL) < 0)
		return;
	if (l->json) {
		if (control_ask_raw(&c, request, &l->out, NULL) == 0)
			strbuf_addc(&l->out, '\n');
	} else if (control_ask(&c, request, &answer, NULL) == 0) {
		add_machine(&l->out, json_get(answer, "ok"));
	}
}

int cmd_ps_exec(const struct cmd_call *call)
{
	const struct ps_opts *o = call->opts;
	struct listing l = { .json = o->json };
	struct err err = ERR_INIT;
	int r;

	if (!o->json)
		strbuf_adds(
			&l.out,
			"NAME                      PID ENGINE   CPUS   MEMORY       TIME  STATE    KERNEL\n");
	r = control_each(list_one, &l, &err);
	if (r == 0)
		r = control_print(strbuf_str(&l.out), &err);
	strbuf_done(&l.out);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* --- trace ---------------------------------------------------------------------------------------- */

static int trace_running(const struct cmd_call *call, struct err *err)
{
	const struct trace_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	int r = control_open(call->args[0], &c, err);

	if (r == 0)
		r = count_on(&c, err);
	if (r < 0)
		return r;
	sleep_ns(o->for_ns);
	strbuf_addf(&request, "{\"do\":\"trace\",\"top\":%" PRIu64 ",\"text\":%s", o->top,
		    o->json ? "false" : "true");
	if (o->address) {
		strbuf_adds(&request, ",\"address\":");
		strbuf_add_json(&request, str_of(o->address));
	}
	strbuf_addc(&request, '}');
	return control_show(&c, strbuf_cstr(&request), o->json, "", err);
}

int cmd_trace_exec(const struct cmd_call *call)
{
	const struct trace_opts *o = call->opts;
	struct err err = ERR_INIT;
	int r;

	if (!call->nr_args && !run_can_boot(&o->run))
		r = err_set(&err, -EINVAL,
			    "--kernel FILE or --disk IMAGE is missing, or the name of a running "
			    "machine");
	else if (call->nr_args && run_can_boot(&o->run))
		r = err_set(&err, -EINVAL,
			    "either what a machine is started with or the name of a running one");
	else if (call->nr_args)
		r = trace_running(call, &err);
	else
		return cmd_run_exec(call);
	return r < 0 ? control_complain(call, r, &err) : 0;
}
