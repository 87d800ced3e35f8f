/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a machine in its snapshot: a JSON array of words as of a command line. They are read by the same table as a
 * command line, because that is what they are; so a snapshot can make its machine open any file that its user can open, as a
 * script could, and is not for strangers' (docs/threat-model.md).
 */
#include "cmd/vm_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/commands.h"
#include "disk/disk.h"
#include "json/json.h"
#include "sys/fd.h"

enum { WORDS_MAX = 1024, MODEL_MAX = 8192 };

/* What a machine writes to one of its disks. */
struct vm_overlay {
	struct vm_overlay *next;
	enum disk_bus bus;
	uint64_t n; /* of the disk, among those of its bus */
	int fd;
	char *word; /* its --disk */
};

/* What belongs to one run. */
static bool is_passing(const char *name)
{
	static const char *const names[] = { "name",	      "engine", "gdb",	      "log",
					     "stats",	      "count",	"stats-json", "perf-map",
					     "engine-switch", "restore" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static bool is_run_option(const char *name)
{
	for (const struct opt *o = cmd_run.opts; o->name; o++)
		if (!strcmp(o->name, name))
			return true;
	return false;
}

static void add_option(void *arg, const struct opt *opt, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf word = { 0 };
	struct strbuf *out = arg;

	if (is_passing(opt->name) || !is_run_option(opt->name))
		return;
	strbuf_addf(&word, "--%s%s%s", opt->name, text ? "=" : "", text ? text : "");
	strbuf_adds(out, out->n > 1 ? "," : "");
	strbuf_add_json(out, strbuf_str(&word));
}

static void add_word(struct vm_restore *r, const char *word)
{
	r->words = mem_renew(r->words, r->nr_words + 2, sizeof(*r->words));
	r->words[r->nr_words++] = (char *)(uintptr_t)word; /* nobody writes to it */
	r->words[r->nr_words] = NULL;
}

/* --- disks --------------------------------------------------------------------------------------- */

static int open_overlay(struct vm_overlay *o, const char *path, struct err *err)
{
	const char *folder = getenv("TMPDIR");
	_cleanup_(mem_freep) char *below = realpath(path, NULL);
	struct disk_create_opts create = { .backing = below, .backing_format = "qcow2" };
	char self[32];

	if (!below)
		return err_set_errno(err, "'%s'", path);
	if (!folder || !*folder)
		folder = "/var/tmp";
	o->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (o->fd < 0)
		return err_set_errno(err, "make a file in '%s'", folder);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", o->fd);
	return disk_create(self, "qcow2", &create, err);
}

static int add_overlay(void *arg, const struct snapshot_disk *d, struct err *err)
{
	struct vm_restore *r = arg;
	struct vm_overlay *o = mem_new(sizeof(*o));
	int e;

	o->n = d->n;
	o->bus = d->bus;
	o->fd = -EBADF;
	o->next = r->overlays;
	r->overlays = o;
	e = open_overlay(o, d->path, err);
	return e < 0 ? err_wrap(err, e, "%sdisk %" PRIu64, disk_bus_label(d->bus), d->n) : 0;
}

static enum disk_bus bus_of_word(const char *word)
{
	struct str rest = str_of(word), part;
	enum disk_bus bus = DISK_BUS_VIRTIO;

	while (str_cut(&rest, ',', &part)) {
		char name[16] = "";

		if (str_starts(part, STR("if=")))
			snprintf(name, sizeof(name), "%.*s", (int)(part.n - 3), part.p + 3);
		ignore_result(disk_bus_parse(name, &bus)); /* or it is another word */
	}
	return bus;
}

/* The option of a disk of the machine that was saved, for the new one; @nr: how many there were of each bus. */
static const char *disk_word(struct vm_restore *r, uint64_t *nr, const char *word)
{
	enum disk_bus bus = bus_of_word(word);
	uint64_t n = nr[bus]++;
	_cleanup_(strbuf_done) struct strbuf to = { 0 };
	struct str rest = str_of(word), part;
	struct vm_overlay *o = r->overlays;

	while (o && (o->n != n || o->bus != bus))
		o = o->next;
	if (!o)
		return word;
	strbuf_addf(&to, "--disk=/proc/self/fd/%d,format=qcow2", o->fd);
	str_cut(&rest, ',', &part);
	while (str_cut(&rest, ',', &part))
		if (!str_starts(part, STR("format=")) && !str_eq(part, STR("no-backing")))
			strbuf_addf(&to, ",%.*s", STR_ARG(part));
	free(o->word);
	return o->word = mem_strdup(strbuf_cstr(&to));
}

/*
 * The CPU model in all its features, since what "host" means differs from engine to engine, and from host to host. Files of
 * earlier versions have none.
 */
static int add_model(struct vm_restore *r, const struct cmd_call *call, struct err *err)
{
	const struct snapshot_section *s = snapshot_find(&r->snap, "cpu model");
	_cleanup_(strbuf_done) struct strbuf word = { 0 };

	if (!s || cmd_given(call, "cpu") || cmd_given(call, "hyperv"))
		return 0;
	if (s->version != 1 || s->data.n > MODEL_MAX || memchr(s->data.p, 0, s->data.n))
		return err_set(err, -EILSEQ, "snapshot '%s': its CPU model makes no sense",
			       r->snap.path);
	strbuf_addf(&word, "--cpu=%.*s", STR_ARG(s->data));
	r->model = mem_strdup(strbuf_cstr(&word));
	add_word(r, r->model);
	return 0;
}

/* Words of the snapshot, but for options that are given anew. */
static int add_saved(struct vm_restore *r, const struct cmd_call *call, struct err *err)
{
	uint64_t nr_disks[DISK_NR_BUSES] = { 0 };

	for (size_t i = 0; json_at(r->saved, i) && i < WORDS_MAX; i++) {
		const char *word = json_str(json_at(r->saved, i));
		char name[64] = "";

		if (!word || strncmp(word, "--", 2) != 0)
			return err_set(err, -EILSEQ, "snapshot '%s': its options are none",
				       r->snap.path);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
		if (!is_run_option(name) || is_passing(name))
			return err_set(err, -EILSEQ,
				       "snapshot '%s': its option '--%s' does not exist",
				       r->snap.path, name);
		if (cmd_given(call, name) || (r->model && !strcmp(name, "cpu")))
			continue;
		if (!strcmp(name, "disk"))
			word = disk_word(r, nr_disks, word);
		add_word(r, word);
	}
	return 0;
}

static int open_snapshot(struct vm_restore *r, const struct cmd_call *call, const char *path,
			 struct err *err)
{
	const struct snapshot_section *s;
	bool help;
	int e = snapshot_open(path, &r->snap, err);

	if (e == 0)
		e = snapshot_open_bases(&r->snap, err);
	if (e < 0)
		return e;
	s = snapshot_find(&r->snap, "options");
	if (!s || s->version != 1)
		return err_set(err, -EILSEQ, "snapshot '%s' does not say what machine it is of",
			       path);
	e = json_parse(s->data, &r->saved, err);
	if (e < 0)
		return err_set(err, -EILSEQ, "snapshot '%s': its options cannot be read", path);
	add_word(r, call->argv[0]);
	if (!cmd_given(call, "disk"))
		e = snapshot_each_disk(&r->snap, add_overlay, r, err);
	if (e < 0)
		return e;
	e = add_model(r, call, err);
	if (e == 0)
		e = add_saved(r, call, err);
	for (size_t i = 1; e == 0 && call->argv[i]; i++)
		add_word(r, call->argv[i]);
	if (e == 0)
		e = cmd_parse(call->cmd, r->words, &r->parsed, &help, err);
	return e < 0 ? err_wrap(err, e, "options of snapshot '%s'", path) : 0;
}

int vm_restore_open(struct vm_restore *r, const struct cmd_call *call, struct err *err)
{
	const struct run_opts *o = call->opts; /* of a trace, too: they come first */
	int e = 0;

	*r = (struct vm_restore){ .snap = { .fd = -EBADF } };
	r->call = o->restore ? &r->parsed : call;
	if (o->restore)
		e = open_snapshot(r, call, o->restore, err);
	if (e < 0)
		return e;
	strbuf_addc(&r->options, '[');
	cmd_each_given(r->call, add_option, &r->options);
	strbuf_addc(&r->options, ']');
	return 0;
}

void vm_restore_done(struct vm_restore *r)
{
	cmd_call_done(&r->parsed);
	snapshot_close(&r->snap);
	strbuf_done(&r->options);
	json_free(take_ptr(&r->saved));
	free(take_ptr(&r->words));
	free(take_ptr(&r->model));
	while (r->overlays) {
		struct vm_overlay *o = r->overlays;

		r->overlays = o->next;
		fd_closep(&o->fd);
		free(o->word);
		free(o);
	}
}
