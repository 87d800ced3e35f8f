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
#include "cmd/commands.h"
#include "cmd/control_client.h"
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
static int fill(struct control_client *c, const struct snapshot_file *f, struct saved_disks *disks,
		struct json **ret, struct err *err)
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
	saved_disks_ask(disks, &request, fds + 1);
	strbuf_addc(&request, '}');
	r = control_ask_fds(c, strbuf_cstr(&request), fds, 1 + disks->nr, ret, err);
	return r < 0 ? r : saved_disks_wait(disks, c, err);
}

static int save(const struct cmd_call *call, struct err *err)
{
	const struct snapshot_opts *o = call->opts;
	_cleanup_(snapshot_file_done) struct snapshot_file f = { .dir_fd = -EBADF, .fd = -EBADF };
	_cleanup_(saved_disks_done) struct saved_disks disks = { .nr = 0 };
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(json_freep) struct json *answer = NULL;
	_cleanup_(snapshot_close) struct snapshot old = { .fd = -EBADF };
	const char *file = call->args[call->nr_args - 1];
	const struct json *ok;
	double stopped_ms;
	int r;

	if (call->nr_args < 2 || call->nr_args > 3)
		return err_set(err, -EINVAL, "save [MACHINE] FILE");
	r = control_open(call->nr_args > 2 ? call->args[1] : NULL, &c, err);
	if (r == 0)
		ignore_result(snapshot_open(file, &old, NULL)); /* or there is none */
	if (r == 0)
		r = snapshot_file_open(&f, file, err);
	if (r == 0)
		r = fill(&c, &f, &disks, &answer, err);
	if (r == 0)
		r = saved_disks_name(&disks, err);
	if (r == 0)
		r = snapshot_file_name(&f, err);
	if (r < 0)
		return r;
	snapshot_tidy(file, &old);
	ok = json_get(answer, "ok");
	stopped_ms = (double)control_number(ok, "stopped_ns") / 1e6;
	if (o->json)
		printf("{\"bytes\":%" PRIu64 ",\"disks\":%u,\"stopped_ns\":%" PRIu64 "}\n",
		       control_number(ok, "pages") * 4096, disks.nr,
		       control_number(ok, "stopped_ns"));
	else if (disks.nr)
		printf("%" PRIu64 " MiB of memory in '%s', and %u disks beside it; the guest stood "
		       "still for %.1f ms\n",
		       control_number(ok, "pages") >> 8, file, disks.nr, stopped_ms);
	else
		printf("%" PRIu64 " MiB of memory in '%s'; the guest stood still for %.1f ms\n",
		       control_number(ok, "pages") >> 8, file, stopped_ms);
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

static void show_json(struct snapshot *s, uint64_t bytes, bool is_first)
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
	strbuf_addc(&out, ']');
	strbuf_addc(&out, '}');
	fputs(strbuf_cstr(&out), stdout);
}

static void show(const struct cmd_call *call, struct snapshot *s, unsigned int nr)
{
	const struct snapshot_opts *o = call->opts;
	time_t when = (time_t)(s->created_ns / NS_PER_S);
	struct stat st = { 0 };
	struct tm tm;
	char date[32] = "?";

	ignore_result(fstat(s->fd, &st)); /* then it shows nothing */
	if (o->json) {
		show_json(s, (uint64_t)st.st_blocks * 512, nr == 0);
		return;
	}
	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	if (!nr)
		printf("%-20s %12s %12s  %s\n", "made", "memory MiB", "on disk MiB", "file");
	printf("%-20s %12" PRIu64 " %12" PRIu64 "  %s\n", date, s->memory_bytes >> 20,
	       ((uint64_t)st.st_blocks * 512) >> 20, s->path);
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
	int r = snapshot_check_memory(s, NULL, err);

	if (r == 0)
		r = snapshot_each_disk(s, check_disk, NULL, err);
	return r < 0 ? err_wrap(err, r, "snapshot '%s'", s->path) : 0;
}

/* First what makes the disks belong to something, so that there is never half a snapshot. */
static int rm(struct snapshot *s, struct err *err)
{
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

int cmd_vm_snapshot_exec(const struct cmd_call *call)
{
	const char *verb = call->args[0];
	struct err err = ERR_INIT;
	int r;

	if (!strcmp(verb, "save"))
		r = save(call, &err);
	else if (!strcmp(verb, "list"))
		r = list(call, &err);
	else if (!strcmp(verb, "check") || !strcmp(verb, "rm"))
		r = each(call, !strcmp(verb, "rm") ? rm : check, &err);
	else
		r = err_set(&err, -EINVAL, "'%.40s' is none of save, list, check, rm", verb);
	return r < 0 ? complain(call, &err) : 0;
}
