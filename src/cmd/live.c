/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll live`: the disks of a running machine, by its control socket (vm/control.h). The machine's process can open
 * nothing, so files are opened here and handed over (live_files.c). Long work is the machine's; who waits for it here asks how far
 * it is, and may stop waiting without harm.
 */
#include "cmd/live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "cmd/live_files.h"
#include "cmd/progress.h"
#include "sys/fd.h"
#include "vm/disk_bus.h"

enum { POLL_MS = 200 };

/* Which disk the user means: its bus and number there. */
struct which {
	const char *bus;
	uint64_t number;
};

static int which_disk(const struct cmd_call *call, struct which *ret, struct err *err)
{
	struct str text = str_of(control_operand(call, 0));
	int r;

	ret->bus = disk_bus_name(DISK_BUS_VIRTIO);
	for (unsigned int bus = DISK_BUS_VIRTIO + 1; bus < DISK_NR_BUSES; bus++) {
		struct str name = str_of(disk_bus_name((enum disk_bus)bus));

		if (!str_starts(text, name))
			continue;
		ret->bus = name.p;
		text = (struct str){ text.p + name.n, text.n - name.n };
		break;
	}
	r = str_parse_u64(text, 0, 255, &ret->number, err);
	return r < 0 ? err_wrap(err, r, "number of the disk ('atoll live disks' shows them)") : 0;
}

/* The disk among those that the machine tells of; NULL: it has none such. */
static const struct json *find_disk(const struct json *answer, const struct which *w)
{
	const struct json *d;

	for (size_t i = 0; (d = json_at(json_get(answer, "ok"), i)); i++)
		if (!strcmp(control_word(d, "bus"), w->bus) &&
		    control_number(d, "disk") == w->number)
			return d;
	return NULL;
}

static int begin(const struct cmd_call *call, const char *what, struct strbuf *out, struct err *err)
{
	struct which w;
	int r = which_disk(call, &w, err);

	if (r < 0)
		return r;
	strbuf_addf(out, "{\"do\":\"disk\",\"bus\":\"%s\",\"disk\":%" PRIu64 ",\"what\":\"%s\"",
		    w.bus, w.number, what);
	return 0;
}

static int ask(const struct cmd_call *call, struct strbuf *request, const struct live_files *files,
	       struct err *err)
{
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	int r = control_dial(call, &c, err);

	strbuf_addc(request, '}');
	return r < 0 ? r
		     : control_ask_fds(&c, strbuf_cstr(request), files->fd, files->nr, &answer,
				       err);
}

/* One request of which @r says whether it could be put together. */
static int finish(const struct cmd_call *call, struct strbuf *request, int r, struct err *err)
{
	const struct live_files none = { .nr = 0 };

	if (r == 0)
		r = ask(call, request, &none, err);
	return r < 0 ? control_complain(call, r, err) : 0;
}

/* --- what they are ---------------------------------------------------------------------------- */

static void add_limits(struct strbuf *out, const struct json *l)
{
	static const char *const names[] = {
		"iops", "iops-rd", "iops-wr", "bps", "bps-rd", "bps-wr"
	};
	bool first = true;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!control_number(l, names[i]))
			continue;
		strbuf_addf(out, "%s%s=%" PRIu64, first ? "  limits: " : ",", names[i],
			    control_number(l, names[i]));
		first = false;
	}
	if (!first)
		strbuf_addf(out, ", %" PRIu64 " requests wait\n", control_number(l, "waiting"));
}

static void add_bitmaps(struct strbuf *out, const struct json *all)
{
	const struct json *b;

	for (size_t i = 0; (b = json_at(all, i)); i++) {
		bool old = false;

		ignore_result(
			json_bool(json_get(b, "out_of_date"), &old)); /* missing means false */
		strbuf_adds(out, "  bitmap ");
		control_plain(out, control_word(b, "name"));
		strbuf_adds(out, ": ");
		if (old)
			strbuf_adds(out, "out of date\n");
		else
			strbuf_addf(out, "%" PRIu64 " bytes changed\n",
				    control_number(b, "dirty_bytes"));
	}
}

static void add_disk(struct strbuf *out, const struct json *d)
{
	const struct json *job = json_get(d, "job"), *image;
	const char *bus = control_word(d, "bus");
	bool readonly = false;

	ignore_result(json_bool(json_get(d, "readonly"), &readonly)); /* missing means false */
	strbuf_addf(out, "disk %s%" PRIu64 ": %" PRIu64 " bytes%s\n",
		    strcmp(bus, disk_bus_name(DISK_BUS_VIRTIO)) ? bus : "",
		    control_number(d, "disk"), control_number(d, "size"),
		    readonly ? ", read only" : "");
	for (size_t i = 0; (image = json_at(json_get(d, "chain"), i)); i++)
		strbuf_addf(out, "  %s%s (%s)\n", i ? "on " : "", control_word(image, "file"),
			    control_word(image, "format"));
	add_bitmaps(out, json_get(d, "bitmaps"));
	add_limits(out, json_get(d, "limits"));
	if (control_number(d, "full"))
		strbuf_addf(out, "  no space on the host: %" PRIu64 " requests wait\n",
			    control_number(d, "full"));
	if (json_str(json_get(job, "kind"))) {
		strbuf_addf(out, "  %s: %s, %" PRIu64 " of %" PRIu64 " bytes\n",
			    control_word(job, "kind"), control_word(job, "state"),
			    control_number(job, "done"), control_number(job, "total"));
		if (json_str(json_get(job, "error")))
			strbuf_addf(out, "  %s\n", control_word(job, "error"));
	}
}

int cmd_live_disks_exec(const struct cmd_call *call)
{
	const struct live_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct err err = ERR_INIT;
	int r = control_dial(call, &c, &err);

	if (r == 0)
		r = control_show_list(&c, "{\"do\":\"disks\"}", o->json, add_disk, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* --- changes ---------------------------------------------------------------------------------- */

/* The disk that a request is about, as the machine tells it; NULL when it has none of that number. */
static int look(const struct cmd_call *call, struct json **ret_disks, const struct json **ret_disk,
		struct err *err)
{
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct which w;
	int r = which_disk(call, &w, err);

	if (r == 0)
		r = control_dial(call, &c, err);
	if (r == 0)
		r = control_ask(&c, "{\"do\":\"disks\"}", ret_disks, err);
	if (r == 0)
		*ret_disk = find_disk(*ret_disks, &w);
	return r;
}

int cmd_live_snapshot_exec(const struct cmd_call *call)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(json_freep) struct json *disks = NULL;
	_cleanup_(live_files_close) struct live_files files = { .nr = 0 };
	const struct json *disk = NULL;
	const char *path = control_operand(call, 1);
	struct err err = ERR_INIT;
	int r = begin(call, "snapshot", &request, &err);

	if (r == 0)
		r = look(call, &disks, &disk, &err);
	if (r == 0)
		r = live_open_overlay(disk, path, &files, &request, &err);
	if (r == 0) {
		r = ask(call, &request, &files, &err);
		if (r == -EREMOTEIO) /* it is not in use */
			unlink(path);
	}
	return r < 0 ? control_complain(call, r, &err) : 0;
}

/* Until the job of a disk has ended. Returns 0 when it is done. */
static int wait_for(const struct cmd_call *call, bool progress, struct err *err)
{
	const struct timespec nap = { .tv_nsec = POLL_MS * 1000000 };
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct progress bar;
	const char *state;
	struct which w;
	int r = which_disk(call, &w, err);

	if (r == 0)
		r = control_dial(call, &c, err);
	progress_begin(&bar, progress);
	while (r == 0) {
		_cleanup_(json_freep) struct json *answer = NULL;
		const struct json *job;

		r = control_ask(&c, "{\"do\":\"disks\"}", &answer, err);
		if (r < 0)
			break;
		job = json_get(find_disk(answer, &w), "job");
		state = control_word(job, "state");
		progress_show(&bar, control_number(job, "done"), control_number(job, "total"),
			      NULL);
		if (!strcmp(state, "done"))
			break;
		if (!strcmp(state, "failed"))
			r = err_set(err, -EIO, "%s", control_word(job, "error"));
		else if (strcmp(state, "running") != 0)
			r = err_set(err, -ECANCELED, "%s by somebody", state);
		else
			nanosleep(&nap, NULL);
	}
	progress_end(&bar);
	return r;
}

static int job(const struct cmd_call *call, const char *what, bool is_commit)
{
	const struct live_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(json_freep) struct json *disks = NULL;
	_cleanup_(live_files_close) struct live_files files = { .nr = 0 };
	const struct json *disk = NULL;
	struct err err = ERR_INIT;
	int r = begin(call, what, &request, &err);

	if (r == 0)
		r = look(call, &disks, &disk, &err);
	if (r == 0)
		r = live_open_images(disk, is_commit, o->top, o->base, &files, &request, &err);
	if (r == 0 && o->speed)
		strbuf_addf(&request, ",\"bps\":%" PRIu64, o->speed);
	if (r == 0)
		r = ask(call, &request, &files, &err);
	if (r < 0)
		return control_complain(call, r, &err);
	if (o->background)
		return 0;
	r = wait_for(call, o->progress, &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

int cmd_live_commit_exec(const struct cmd_call *call)
{
	return job(call, "commit", true);
}

int cmd_live_stream_exec(const struct cmd_call *call)
{
	return job(call, "stream", false);
}

/* A request that says nothing but the disk. */
static int simple(const struct cmd_call *call, const char *what)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	struct err err = ERR_INIT;

	return finish(call, &request, begin(call, what, &request, &err), &err);
}

int cmd_live_backup_exec(const struct cmd_call *call)
{
	const struct live_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(json_freep) struct json *disks = NULL;
	_cleanup_(live_files_close) struct live_files files = { .nr = 0 };
	const struct json *disk = NULL;
	const char *path = control_operand(call, 1);
	bool made = false;
	struct err err = ERR_INIT;
	int r = begin(call, "backup", &request, &err);

	if (r == 0)
		r = look(call, &disks, &disk, &err);
	if (r == 0)
		r = live_open_target(disk, &o->backup, path, &files, &made, &request, &err);
	if (r == 0 && o->speed)
		strbuf_addf(&request, ",\"bps\":%" PRIu64, o->speed);
	if (r == 0)
		r = ask(call, &request, &files, &err);
	if (r == 0 && !o->background)
		r = wait_for(call, o->progress, &err);
	/* A part of a backup looks like one. Who is not answered any more does not know that it is a part. */
	if (r < 0 && made && r != -ECONNRESET)
		unlink(path);
	return r < 0 ? control_complain(call, r, &err) : 0;
}

int cmd_live_cancel_exec(const struct cmd_call *call)
{
	return simple(call, "cancel");
}

int cmd_live_speed_exec(const struct cmd_call *call)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	struct err err = ERR_INIT;
	uint64_t bps = 0;
	int r = begin(call, "speed", &request, &err);

	if (r == 0)
		r = str_parse_size(str_of(control_operand(call, 1)), 0, UINT64_C(1) << 50, &bps,
				   &err);
	strbuf_addf(&request, ",\"bps\":%" PRIu64, bps);
	return finish(call, &request, r, &err);
}

int cmd_live_limit_exec(const struct cmd_call *call)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	struct err err = ERR_INIT;
	int r = begin(call, "limit", &request, &err);

	strbuf_adds(&request, ",\"limits\":");
	strbuf_add_json(&request, str_of(control_operand(call, 1)));
	return finish(call, &request, r, &err);
}

int cmd_live_resize_exec(const struct cmd_call *call)
{
	const struct live_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	struct err err = ERR_INIT;
	uint64_t size = 0;
	int r = begin(call, "resize", &request, &err);

	if (r == 0)
		r = str_parse_size(str_of(control_operand(call, 1)), 512, UINT64_C(1) << 62, &size,
				   &err);
	strbuf_addf(&request, ",\"size\":%" PRIu64 ",\"shrink\":%s", size,
		    o->shrink ? "true" : "false");
	return finish(call, &request, r, &err);
}

int cmd_live_retry_exec(const struct cmd_call *call)
{
	return simple(call, "retry");
}
