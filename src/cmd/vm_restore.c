/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a machine in its snapshot: a JSON array of words as of a command line. They are read by the same table as a
 * command line, because that is what they are; so a snapshot can make its machine open any file that its user can open, as a
 * script could, and is not for strangers' (docs/threat-model.md).
 */
#include "cmd/vm_restore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/commands.h"
#include "json/json.h"

enum { WORDS_MAX = 1024 };

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

/* Words of the snapshot, but for options that are given anew. */
static int add_saved(struct vm_restore *r, const struct cmd_call *call, struct err *err)
{
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
		if (!cmd_given(call, name))
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
}
