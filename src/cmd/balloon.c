/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's balloon. The guest is asked for its figures by asking the machine once, and answers when it has time;
 * so we look again, for a second at most, until there are newer ones.
 */
#include "cmd/balloon.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"

enum { LOOKS = 20, LOOK_MS = 50 };

static int updates(struct control_client *c, const char *request, uint64_t *ret, bool *ret_driver,
		   struct err *err)
{
	_cleanup_(json_freep) struct json *answer = NULL;
	const struct json *ok;
	int r = control_ask(c, request, &answer, err);

	if (r < 0)
		return r;
	ok = json_get(answer, "ok");
	if (!json_u64(json_get(ok, "stats_updates"), ret) ||
	    !json_bool(json_get(ok, "driver"), ret_driver))
		return err_set(err, -EIO, "the machine's answer says nothing of a balloon");
	return 0;
}

/* @change: more of the request, or "" */
static int ask(struct control_client *c, const char *change, struct err *err)
{
	const struct timespec pause = { 0, LOOK_MS * (long)NS_PER_MS };
	_cleanup_(strbuf_done) struct strbuf first = { 0 };
	uint64_t before = 0, now = 0;
	bool has_driver = false;
	int r;

	strbuf_addf(&first, "{\"do\":\"balloon\"%s}", change);
	r = updates(c, strbuf_cstr(&first), &before, &has_driver, err);
	now = before;
	for (unsigned int k = 0; r == 0 && has_driver && now == before && k < LOOKS; k++) {
		nanosleep(&pause, NULL);
		r = updates(c, "{\"do\":\"balloon\"}", &now, &has_driver, err);
	}
	return r;
}

static int parse_change(const char *word, struct strbuf *ret, struct err *err)
{
	uint64_t keep;
	int r;

	if (strcmp(word, "auto") == 0) {
		strbuf_adds(ret, ",\"auto\":true");
		return 0;
	}
	r = str_parse_size(str_of(word), UINT64_C(2) << 20, UINT64_C(512) << 30, &keep, err);
	if (r < 0)
		return err_wrap(err, r, "'%s' is neither a size nor auto", word);
	strbuf_addf(ret, ",\"bytes\":%" PRIu64, keep);
	return 0;
}

int cmd_balloon_exec(const struct cmd_call *call)
{
	const struct balloon_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	struct err err = ERR_INIT;
	_cleanup_(strbuf_done) struct strbuf change = { 0 };
	int r = call->nr_args == 2 ? parse_change(call->args[1], &change, &err) : 0;

	if (r == 0)
		r = control_open(call->nr_args ? call->args[0] : NULL, &c, &err);
	if (r == 0)
		r = ask(&c, strbuf_cstr(&change), &err);
	if (r == 0)
		r = control_show(&c,
				 o->json ? "{\"do\":\"balloon\"}"
					 : "{\"do\":\"balloon\",\"text\":true}",
				 o->json, "", &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}
