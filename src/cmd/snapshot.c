/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll vm snapshot`: saving is asked of the machine, by its control socket; the rest is about files and needs none. The
 * machine gets an open file without a name and fills it; the name is given here, when it is whole.
 */
#include "cmd/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "cmd/snapshot_bases.h"
#include "cmd/snapshot_disks.h"
#include "disk/disk.h"
#include "sys/fd.h"
#include "vm/snapshot/file.h"

static int complain(const struct cmd_call *call, const struct err *err)
{
	fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(err));
	return 1;
}

/* --- save ---------------------------------------------------------------------------------------- */

/* Ask the machine, and wait until it has written all files. */
static int fill(struct control_client *c, const struct snapshot_file *f,
		const struct saved_base *base, struct saved_disks *disks, struct json **ret,
		struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf request = { 0 };
	_cleanup_(json_freep) struct json *told = NULL;
	int fds[IPC_FDS_MAX] = { f->fd };
	int r = control_ask(c, "{\"do\":\"disks\"}", &told, err);

	if (r == 0)
		r = saved_disks_open(disks, json_get(told, "ok"), f->path, err);
	if (r < 0)
		return r;
	strbuf_adds(&request, "{\"do\":\"snapshot\",\"what\":\"save\"");
	if (base->snap.fd >= 0) {
		char ref[SNAPSHOT_REF_TEXT];

		snapshot_ref_text(&base->snap.self, ref);
		strbuf_addf(&request, ",\"base\":\"%s\",\"base_name\":", ref);
		strbuf_add_json(&request, str_of(base->name));
	}
	saved_disks_ask(disks, &request, fds + 1);
	strbuf_addc(&request, '}');
	r = control_ask_fds(c, strbuf_cstr(&request), fds, 1 + disks->nr, ret, err);
	return r < 0 ? r : saved_disks_wait(disks, c, err);
}

/* Nothing that is there is lost by giving the new one its name. */
static int may_name(const struct snapshot *old, const struct saved_base *base, struct err *err)
{
	int r = saved_base_stays(base, err);

	if (r == 0 && old->fd >= 0 && base->snap.fd >= 0 &&
	    snapshot_ref_same(&old->self, &base->snap.self))
		r = err_set(err, -EINVAL, "'%s' cannot be based on itself: take another name",
			    old->path);
	return r == 0 && old->fd >= 0 ? snapshot_unused(old, err) : r;
}

static void tell(const struct cmd_call *call, const char *file, const struct json *ok,
		 unsigned int nr_disks)
{
	const struct snapshot_opts *o = call->opts;
	uint64_t pages = control_number(ok, "pages"), stopped_ns = control_number(ok, "stopped_ns");

	if (o->json) {
		printf("{\"bytes\":%" PRIu64 ",\"disks\":%u,\"stopped_ns\":%" PRIu64 "}\n",
		       pages * 4096, nr_disks, stopped_ns);
		return;
	}
	printf("%" PRIu64 " MiB of memory in '%s'", pages >> 8, file);
	if (o->base)
		printf(" that '%s' has not", o->base);
	if (nr_disks)
		printf(", and %u disks beside it", nr_disks);
	printf("; the guest stood still for %.1f ms\n", (double)stopped_ns / 1e6);
}

static int save(const struct cmd_call *call, struct err *err)
{
	const struct snapshot_opts *o = call->opts;
	_cleanup_(snapshot_file_done) struct snapshot_file f = { .dir_fd = -EBADF, .fd = -EBADF };
	_cleanup_(saved_disks_done) struct saved_disks disks = { .nr = 0 };
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	_cleanup_(snapshot_close) struct snapshot old = { .fd = -EBADF };
	struct saved_base base = { .snap = { .fd = -EBADF } };
	const char *file = call->args[call->nr_args - 1];
	int r;

	if (call->nr_args < 2 || call->nr_args > 3)
		return err_set(err, -EINVAL, "save [MACHINE] FILE");
	r = control_open(call->nr_args > 2 ? call->args[1] : NULL, &c, err);
	if (r == 0)
		ignore_result(snapshot_open(file, &old, NULL)); /* or there is none */
	if (r == 0 && o->base)
		r = saved_base_open(&base, o->base, file, err);
	if (r == 0)
		r = may_name(&old, &base, err);
	if (r == 0)
		r = snapshot_file_open(&f, file, err);
	if (r == 0)
		r = fill(&c, &f, &base, &disks, &answer, err);
	if (r == 0)
		r = may_name(&old, &base, err);
	if (r == 0)
		r = saved_disks_name(&disks, err);
	if (r == 0)
		r = snapshot_file_name(&f, err);
	snapshot_close(&base.snap);
	if (r < 0)
		return r;
	snapshot_tidy(file, &old);
	tell(call, file, json_get(answer, "ok"), disks.nr);
	return 0;
}

/* --- files --------------------------------------------------------------------------------------- */

static int disk_json(void *arg, const struct snapshot_disk *d, struct err *err)
{
	struct strbuf *out = arg;

	strbuf_addf(out, "%s{\"bus\":\"%s\",\"disk\":%" PRIu64 ",\"file\":",
		    out->p[out->n - 1] == '[' ? "" : ",", disk_bus_name(d->bus), d->n);
	strbuf_add_json(out, str_of(d->file));
	strbuf_addc(out, '}');
	return 0;
}

static int disk_line(void *arg, const struct snapshot_disk *d, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };

	control_plain(&name, d->file);
	printf("%*s%sdisk %" PRIu64 ": %s\n", 48, "", disk_bus_label(d->bus), d->n,
	       strbuf_cstr(&name));
	return 0;
}

static void show_json(struct snapshot *s, uint64_t bytes, bool is_first, bool has_bases)
{
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct snapshot_section *options = snapshot_find(s, "options");

	strbuf_adds(&out, is_first ? "[{\"file\":" : ",{\"file\":");
	strbuf_add_json(&out, str_of(s->path));
	strbuf_addf(&out,
		    ",\"created_ns\":%" PRIu64 ",\"memory_bytes\":%" PRIu64
		    ",\"host_bytes\":%" PRIu64 ",\"options\":",
		    s->created_ns, s->memory_bytes, bytes);
	if (options)
		strbuf_add(&out, options->data.p, options->data.n);
	else
		strbuf_adds(&out, "null");
	strbuf_adds(&out, ",\"disks\":[");
	ignore_result(snapshot_each_disk(s, disk_json, &out, NULL));
	strbuf_adds(&out, "],\"base\":");
	if (s->has_base)
		strbuf_add_json(&out, str_of(s->base_name));
	else
		strbuf_adds(&out, "null");
	strbuf_addf(&out, ",\"has_bases\":%s}", has_bases ? "true" : "false");
	fputs(strbuf_cstr(&out), stdout);
}

static void base_line(const struct snapshot *s, bool has_bases)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };

	control_plain(&name, s->base_name);
	printf("%*sbased on %s%s\n", 48, "", strbuf_cstr(&name),
	       has_bases ? "" : ", which is missing, or without its own base");
}

static void show(const struct cmd_call *call, struct snapshot *s, unsigned int nr)
{
	const struct snapshot_opts *o = call->opts;
	time_t when = (time_t)(s->created_ns / NS_PER_S);
	struct stat st = { 0 };
	struct tm tm;
	bool has_bases = snapshot_open_bases(s, NULL) == 0;
	char date[32] = "?";

	ignore_result(fstat(s->fd, &st)); /* then it shows nothing */
	if (o->json) {
		show_json(s, (uint64_t)st.st_blocks * 512, nr == 0, has_bases);
		return;
	}
	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	if (!nr)
		printf("%-20s %12s %12s  %s\n", "made", "memory MiB", "on disk MiB", "file");
	printf("%-20s %12" PRIu64 " %12" PRIu64 "  %s\n", date, s->memory_bytes >> 20,
	       ((uint64_t)st.st_blocks * 512) >> 20, s->path);
	if (s->has_base)
		base_line(s, has_bases);
	ignore_result(snapshot_each_disk(s, disk_line, NULL, NULL));
}

/* Every snapshot of the present folder; what is none is passed over. */
static unsigned int list_folder(const struct cmd_call *call)
{
	struct dirent **names = NULL;
	int n = scandir(".", &names, NULL, alphasort);
	unsigned int nr = 0;

	for (int i = 0; i < n; i++) {
		struct snapshot s = { .fd = -EBADF };
		struct stat st;

		/* Not what waits for somebody when it is opened. */
		if (stat(names[i]->d_name, &st) == 0 && S_ISREG(st.st_mode) &&
		    snapshot_open(names[i]->d_name, &s, NULL) == 0)
			show(call, &s, nr++);
		snapshot_close(&s);
		free(names[i]);
	}
	free(names);
	return nr;
}

static int list(const struct cmd_call *call, struct err *err)
{
	const struct snapshot_opts *o = call->opts;
	unsigned int nr = 0;
	int r = 0;

	if (call->nr_args == 1)
		nr = list_folder(call);
	for (size_t i = 1; r == 0 && i < call->nr_args; i++) {
		struct snapshot s = { .fd = -EBADF };

		r = snapshot_open(call->args[i], &s, err);
		if (r == 0)
			show(call, &s, nr++);
		snapshot_close(&s);
	}
	if (o->json)
		printf(nr ? "]\n" : "[]\n");
	return r;
}

/* A disk beside a snapshot: it is there, and an image. */
static int check_disk(void *arg, const struct snapshot_disk *beside, struct err *err)
{
	const struct disk_open_opts o = { .format = "qcow2" };
	struct disk *d;
	int r = disk_open(beside->path, &o, &d, err);

	if (r == 0)
		disk_close(d, NULL);
	return r < 0 ? err_wrap(err, r, "%sdisk %" PRIu64, disk_bus_label(beside->bus), beside->n)
		     : 0;
}

static int check(struct snapshot *s, struct err *err)
{
	int r = snapshot_open_bases(s, err);

	if (r < 0)
		return r;
	for (const struct snapshot *at = s; at; at = at->base) {
		r = snapshot_check_memory(at, NULL, err);
		if (r < 0)
			return err_wrap(err, r, "snapshot '%s'", at->path);
	}
	r = snapshot_each_disk(s, check_disk, NULL, err);
	return r < 0 ? err_wrap(err, r, "snapshot '%s'", s->path) : 0;
}

/* First what makes the disks belong to something, so that there is never half a snapshot. */
static int rm(struct snapshot *s, struct err *err)
{
	int r = snapshot_unused(s, err);

	if (r < 0)
		return r;
	if (unlink(s->path) < 0)
		return err_set_errno(err, "delete '%s'", s->path);
	snapshot_tidy(s->path, s);
	return 0;
}

static int each(const struct cmd_call *call, int (*fn)(struct snapshot *s, struct err *err),
		struct err *err)
{
	int r = 0;

	if (call->nr_args < 2)
		return err_set(err, -EINVAL, "%s FILE...", call->args[0]);
	for (size_t i = 1; r == 0 && i < call->nr_args; i++) {
		struct snapshot s = { .fd = -EBADF };

		r = snapshot_open(call->args[i], &s, err);
		if (r == 0)
			r = fn(&s, err);
		snapshot_close(&s);
	}
	return r;
}

/* In whatever order: what others are based on waits until they have gone. */
static int rm_all(const struct cmd_call *call, struct err *err)
{
	_cleanup_(mem_freep) bool *is_gone = mem_new_n(call->nr_args, sizeof(*is_gone));
	size_t left = call->nr_args - 1, before = left + 1;

	if (!left)
		return err_set(err, -EINVAL, "rm FILE...");
	while (left && left < before) {
		before = left;
		for (size_t i = 1; i < call->nr_args; i++) {
			struct snapshot s = { .fd = -EBADF };
			int r = is_gone[i] ? -EBUSY : snapshot_open(call->args[i], &s, err);

			if (r == 0)
				r = rm(&s, err);
			snapshot_close(&s);
			if (r < 0 && r != -EBUSY)
				return r;
			left -= r == 0;
			is_gone[i] = is_gone[i] || r == 0;
		}
	}
	return left ? -EBUSY : 0;
}

int cmd_vm_snapshot_exec(const struct cmd_call *call)
{
	const char *verb = call->args[0];
	struct err err = ERR_INIT;
	int r;

	if (((const struct snapshot_opts *)call->opts)->base && strcmp(verb, "save") != 0)
		r = err_set(&err, -EINVAL, "--base is for save");
	else if (!strcmp(verb, "save"))
		r = save(call, &err);
	else if (!strcmp(verb, "list"))
		r = list(call, &err);
	else if (!strcmp(verb, "check"))
		r = each(call, check, &err);
	else if (!strcmp(verb, "rm"))
		r = rm_all(call, &err);
	else
		r = err_set(&err, -EINVAL, "'%.40s' is none of save, list, check, rm", verb);
	return r < 0 ? complain(call, &err) : 0;
}
