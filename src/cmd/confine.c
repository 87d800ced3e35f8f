/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a process that a stranger talks to gives its rights up (sys/sandbox): between the last thing that is opened and the
 * first thread, while no byte of the guest's has been executed, or no client has been heard.
 */
#include "cmd/confine.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "json/json.h"
#include "sys/sandbox/outside.h"
#include "sys/sandbox/seccomp.h"
#include "sys/sandbox/sandbox.h"
#include "sys/thread.h"

void confine_prepare(void)
{
	sandbox_prepare();
	json_init();
}

int confine_begin(struct err *err)
{
	thread_hold();
	return outside_start(err);
}

/* Why the host's files and network must stay in reach, or NULL. */
static const char *keeps_files(const struct confine_opts *o)
{
	if (o->servers == DISK_SERVERS_SOUGHT)
		return "a disk is at a server that wants TLS, which is to be found again when the "
		       "connection is lost (reconnect=0s does without)";
#ifdef IS_SANITIZED
	return "this is a sanitizer's build, which reads /proc when it reports";
#else
	return NULL;
#endif
}

static enum seccomp_servers servers_of(enum disk_servers servers)
{
	switch (servers) {
	case DISK_NO_SERVERS:
		return SECCOMP_NO_SERVERS;
	case DISK_SERVERS_BESIDE:
		return SECCOMP_SERVERS_BESIDE;
	case DISK_SERVERS_SOUGHT:
		break;
	}
	return SECCOMP_SERVERS_SOUGHT;
}

static void add_missing(const struct sandbox_report *report, struct strbuf *out)
{
	for (unsigned int k = 0; k < SANDBOX_NR_PARTS; k++)
		if (report->part[k].code)
			strbuf_addf(out, "%s%s (%s)", out->n ? "; " : "",
				    sandbox_part_name((enum sandbox_part)k),
				    err_text(&report->part[k]));
}

static void tell_missing(const char *event, const char *what)
{
#ifdef IS_SANITIZED
	log_debug(event, kv_str("missing", what)); /* no news to who runs such a build */
#else
	log_warn(event, kv_str("missing", what));
#endif
}

int confine(const struct confine_opts *o, struct err *err)
{
	const struct sandbox_opts sandbox = { .keeps_files = keeps_files(o) };
	_cleanup_(strbuf_done) struct strbuf missing = { 0 };
	struct err no_filters = ERR_INIT;
	struct sandbox_report report;
	int r;

	outside_seal();
	r = sandbox_enter(&sandbox, &report, err);
	if (r < 0)
		return err_wrap(err, r, "confinement");
	r = seccomp_begin(o->program,
			  sandbox.keeps_files ? SECCOMP_SERVERS_SOUGHT : servers_of(o->servers),
			  &no_filters);
	add_missing(&report, &missing);
	if (r < 0)
		strbuf_addf(&missing, "%s%s", missing.n ? "; " : "", err_text(&no_filters));
	if (missing.n && o->must_hold)
		return err_set(err, -EPERM,
			       "--sandbox require: missing are %s; 'atoll doctor' says more",
			       strbuf_cstr(&missing));
	if (missing.n)
		tell_missing(o->event, strbuf_cstr(&missing));
	r = thread_release(err);
#ifndef IS_SANITIZED /* its check for leaks, at the end of the main thread, traces the process from another one */
	/* Only now: a thread has the filter of the one that began it, too. */
	if (r == 0)
		seccomp_enter(o->kind);
#endif
	return r;
}
