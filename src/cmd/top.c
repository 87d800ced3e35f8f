/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll top`: what the running machines cost the host. What a machine is, it tells itself; what it costs, the host's
 * kernel tells of its process: CPU time, and memory as a share of what is really there (PSS: a page that three processes
 * have counts a third in each), so that the sum over all machines is what they take together.
 */
#include "cmd/top.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "sys/fd.h"
#include "sys/ipc.h"
#include "sys/proc.h"

enum { SMALL_FILE = 1 << 16 };

struct cost {
	int pid;
	uint64_t cpu_ns; /* since the process began */
	uint64_t real, shared,
		merged; /* bytes: PSS; what others have, too; of that, merged by KSM */
};

struct look {
	struct json **info; /* answers of the machines */
	struct cost *cost;
	size_t n;
	uint64_t at_ns;
};

static void look_done(struct look *l)
{
	for (size_t i = 0; i < l->n; i++)
		json_free(l->info[i]);
	free(l->info);
	free(l->cost);
	*l = (struct look){ 0 };
}

/* --- what the host's kernel tells ---------------------------------------------------------------- */

/* A small file of /proc/PID; "" when the process is gone, or not ours to look at. The caller's to free. */
static char *proc_text(int pid, const char *name)
{
	void *text = NULL;
	char path[64];
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return file_read(path, SMALL_FILE, &text, &n, NULL) == 0 ? text : mem_strdup("");
}

static uint64_t cpu_time(int pid)
{
	_cleanup_(mem_freep) char *text = proc_text(pid, "stat");
	const char *at = strrchr(text, ')'); /* the name in front may hold anything */
	uint64_t user = 0, kernel = 0;

	/* Fields 14 and 15 of proc(5); the third one follows the name. */
	for (int field = 2; at && field < 14; field++)
		at = strchr(at + 1, ' ');
	if (at) {
		char *end;

		user = strtoull(at, &end, 10);
		kernel = strtoull(end, NULL, 10);
	}
	return (user + kernel) * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

static struct cost cost_of(int pid)
{
	_cleanup_(mem_freep) char *maps = proc_text(pid, "smaps_rollup");
	_cleanup_(mem_freep) char *merged = proc_text(pid, "ksm_merging_pages");

	return (struct cost){
		.pid = pid,
		.cpu_ns = cpu_time(pid),
		.real = proc_kib(maps, "Pss:"),
		.shared = proc_kib(maps, "Shared_Clean:") + proc_kib(maps, "Shared_Dirty:"),
		.merged = strtoull(merged, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE),
	};
}

/* --- a look at all of them ----------------------------------------------------------------------- */

static void look_at(void *arg, const char *name)
{
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct json *answer = NULL;
	struct look *l = arg;

	/* One that has just ended, or hangs, is not a reason to be silent about the others. */
	if (control_open(name, &c, NULL) < 0 ||
	    control_ask(&c, "{\"do\":\"info\"}", &answer, NULL) < 0)
		return;
	l->info = mem_renew(l->info, l->n + 1, sizeof(*l->info));
	l->cost = mem_renew(l->cost, l->n + 1, sizeof(*l->cost));
	l->info[l->n] = answer;
	l->cost[l->n++] = cost_of(ipc_peer_pid(c.fd));
}

/* Thousandths of a CPU: between two looks, or since its start. */
static uint64_t cpu_share(const struct look *l, size_t i, const struct look *before)
{
	uint64_t up_ns = control_number(json_get(l->info[i], "ok"), "up_ns");
	const struct cost *now = &l->cost[i];

	for (size_t k = 0; k < before->n; k++)
		if (before->cost[k].pid == now->pid && l->at_ns > before->at_ns &&
		    now->cpu_ns >= before->cost[k].cpu_ns)
			return (now->cpu_ns - before->cost[k].cpu_ns) * 1000 /
			       (l->at_ns - before->at_ns);
	return up_ns ? now->cpu_ns * 1000 / up_ns : 0;
}

static struct cost sum_of(const struct look *l)
{
	struct cost sum = { 0 };

	for (size_t i = 0; i < l->n; i++) {
		sum.real += l->cost[i].real;
		sum.shared += l->cost[i].shared;
		sum.merged += l->cost[i].merged;
	}
	return sum;
}

static void add_text(const struct look *l, const struct look *before, struct strbuf *out)
{
	struct cost sum = sum_of(l);

	strbuf_adds(out, "NAME                      PID ENGINE   CPUS   CPU%   MEMORY     REAL   "
			 "SHARED   MERGED  STATE\n");
	for (size_t i = 0; i < l->n; i++) {
		const struct json *j = json_get(l->info[i], "ok");
		const struct cost *c = &l->cost[i];
		uint64_t share = cpu_share(l, i, before);
		size_t start = out->n;

		control_plain(out, control_word(j, "name"));
		strbuf_pad(out, start, 20);
		strbuf_addf(out, " %8d ", c->pid);
		control_plain(out, control_word(j, "engine"));
		strbuf_pad(out, start, 38);
		strbuf_addf(out, "%4" PRIu64 " %4" PRIu64 ".%" PRIu64, control_number(j, "vcpus"),
			    share / 10, share % 10);
		strbuf_addf(out, " %7" PRIu64 "M %7" PRIu64 "M %7" PRIu64 "M %7" PRIu64 "M  ",
			    control_number(j, "memory_bytes") >> 20, c->real >> 20, c->shared >> 20,
			    c->merged >> 20);
		control_plain(out, control_word(j, "state"));
		strbuf_addc(out, '\n');
	}
	strbuf_addf(out, "%zu machine%s: %" PRIu64 "M real, %" PRIu64 "M merged\n", l->n,
		    l->n == 1 ? "" : "s", sum.real >> 20, sum.merged >> 20);
}

static void add_bytes(const struct cost *c, struct strbuf *out)
{
	strbuf_addf(out,
		    "\"real_bytes\":%" PRIu64 ",\"shared_bytes\":%" PRIu64
		    ",\"merged_bytes\":%" PRIu64,
		    c->real, c->shared, c->merged);
}

static void add_json(const struct look *l, const struct look *before, struct strbuf *out)
{
	struct cost sum = sum_of(l);

	strbuf_adds(out, "{\"machines\":[");
	for (size_t i = 0; i < l->n; i++) {
		const struct json *j = json_get(l->info[i], "ok");

		strbuf_adds(out, i ? ",{\"name\":" : "{\"name\":");
		strbuf_add_json(out, str_of(control_word(j, "name")));
		strbuf_addf(out, ",\"pid\":%d,\"engine\":", l->cost[i].pid);
		strbuf_add_json(out, str_of(control_word(j, "engine")));
		strbuf_adds(out, ",\"state\":");
		strbuf_add_json(out, str_of(control_word(j, "state")));
		strbuf_addf(out,
			    ",\"vcpus\":%" PRIu64 ",\"memory_bytes\":%" PRIu64 ",\"up_ns\":%" PRIu64
			    ",\"cpu_ns\":%" PRIu64 ",\"cpu_permille\":%" PRIu64 ",",
			    control_number(j, "vcpus"), control_number(j, "memory_bytes"),
			    control_number(j, "up_ns"), l->cost[i].cpu_ns, cpu_share(l, i, before));
		add_bytes(&l->cost[i], out);
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "],");
	add_bytes(&sum, out);
	strbuf_adds(out, "}\n");
}

static int show(const struct top_opts *o, const struct look *now, const struct look *before)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };

	if (!o->once && !o->json && isatty(STDOUT_FILENO))
		strbuf_adds(&out, "\033[H\033[J");
	if (o->json)
		add_json(now, before, &out);
	else
		add_text(now, before, &out);
	return fd_write_full(STDOUT_FILENO, out.p, out.n);
}

int cmd_top_exec(const struct cmd_call *call)
{
	const struct top_opts *o = call->opts;
	const struct timespec pause = { (time_t)(o->interval_ns / NS_PER_S),
					(long)(o->interval_ns % NS_PER_S) };
	_cleanup_(look_done) struct look before = { 0 }, now = { 0 };
	struct err err = ERR_INIT;
	int r;

	for (;;) {
		now.at_ns = clock_now(clock_real());
		r = control_each(look_at, &now, &err);
		if (r == 0) {
			r = show(o, &now, &before);
			if (r < 0)
				err_set(&err, r, "standard output: %s", strerror(-r));
		}
		if (r < 0 || o->once)
			break;
		look_done(&before);
		before = now;
		now = (struct look){ 0 };
		nanosleep(&pause, NULL); /* a signal that does not end us ends the pause */
	}
	if (r < 0)
		fprintf(stderr, "atoll top: %s\n", err_text(&err));
	return r < 0 ? 1 : 0;
}
