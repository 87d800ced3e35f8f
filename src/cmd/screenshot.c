/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's screen, as a picture or as text. The machine draws it; here it only becomes a file. */
#include "cmd/screenshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "cmd/commands.h"
#include "cmd/control_client.h"
#include "sys/fd.h"

static int save(const char *path, struct str data, struct err *err)
{
	_cleanup_(fd_closep) int opened = -EBADF;
	int fd = STDOUT_FILENO, r = 0;

	if (strcmp(path, "-") != 0) {
		r = fd_open(path, O_WRONLY | O_CREAT | O_TRUNC, &opened, err);
		fd = opened;
	}
	if (r < 0)
		return r;
	r = fd_write_full(fd, data.p, data.n);
	return r < 0 ? err_set(err, r, "write '%s': %s", path, strerror(-r)) : 0;
}

int cmd_screenshot_exec(const struct cmd_call *call)
{
	const struct screenshot_opts *o = call->opts;
	_cleanup_(control_close) struct control_client c = { .fd = -EBADF };
	_cleanup_(strbuf_done) struct strbuf png = { 0 };
	_cleanup_(json_freep) struct json *answer = NULL;
	const char *machine = call->nr_args > 1 ? call->args[0] : NULL, *text = NULL;
	const char *path = call->args[call->nr_args - 1];
	struct err err = ERR_INIT;
	int r;

	r = control_open(machine, &c, &err);
	if (r == 0)
		r = control_ask(&c,
				o->text ? "{\"do\":\"screen\",\"text\":true}"
					: "{\"do\":\"screen\"}",
				&answer, &err);
	if (r == 0)
		text = json_str(json_get(answer, "ok"));
	if (r == 0 && (!text || (!o->text && base64_decode(&png, str_of(text)) < 0)))
		r = err_set(&err, -EIO, "the machine's answer is no screen");
	if (r == 0)
		r = save(path, o->text ? str_of(text) : strbuf_str(&png), &err);
	return r < 0 ? control_complain(call, r, &err) : 0;
}
