/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll doctor`: what this host can do, what is missing, what that costs and what to do about it. Findings are the
 * table of doctor_findings.c; here they are only shown.
 */
#include "cmd/doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "cmd/commands.h"
#include "sys/fd.h"

enum { NAME_COLUMN = 9, TEXT_COLUMN = 21 };

static const char *const state_words[] = { "ok", "partly", "missing" };

static void add_text(const struct doctor_finding *f, enum doctor_state state,
		     const struct strbuf *detail, struct strbuf *out)
{
	size_t start = out->n;

	strbuf_adds(out, state_words[state]);
	strbuf_pad(out, start, NAME_COLUMN);
	strbuf_adds(out, f->name);
	strbuf_pad(out, start, TEXT_COLUMN);
	strbuf_addf(out, "%s: %s\n", f->what, strbuf_cstr(detail));
	if (state == DOCTOR_OK)
		return;
	if (f->cost)
		strbuf_addf(out, "%*scosts: %s\n", TEXT_COLUMN, "", f->cost);
	if (f->next)
		strbuf_addf(out, "%*snext:  %s\n", TEXT_COLUMN, "", f->next);
}

static void add_member(struct strbuf *out, const char *key, const char *value)
{
	strbuf_addf(out, ",\"%s\":", key);
	if (value)
		strbuf_add_json(out, str_of(value));
	else
		strbuf_adds(out, "null");
}

static void add_json(const struct doctor_finding *f, enum doctor_state state,
		     const struct strbuf *detail, struct strbuf *out)
{
	strbuf_addf(out, "{\"name\":\"%s\",\"state\":\"%s\"", f->name, state_words[state]);
	add_member(out, "what", f->what);
	add_member(out, "detail", strbuf_cstr(detail));
	add_member(out, "cost", state == DOCTOR_OK ? NULL : f->cost);
	add_member(out, "next", state == DOCTOR_OK ? NULL : f->next);
	strbuf_adds(out, "}\n");
}

int cmd_doctor_exec(const struct cmd_call *call)
{
	const struct doctor_opts *o = call->opts;
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	int r;

	for (const struct doctor_finding *f = doctor_findings; f->name; f++) {
		_cleanup_(strbuf_done) struct strbuf detail = { 0 };
		enum doctor_state state = f->look(&detail);

		if (o->json)
			add_json(f, state, &detail, &out);
		else
			add_text(f, state, &detail, &out);
	}
	r = fd_write_full(STDOUT_FILENO, out.p, out.n);
	if (r < 0)
		fprintf(stderr, "atoll doctor: standard output: %s\n", strerror(-r));
	return r < 0 ? 1 : 0;
}
