/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors live in a fixed buffer, not on the heap: an error path that allocates can itself fail, and
 * every caller would have to free. 240 bytes hold a sentence and a path; when wrapping does not
 * fit, the front (what the user asked for) is kept and the tail is cut, since the code still says
 * what went wrong at the bottom.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(char *text, int len)
{
	if (len >= ERR_TEXT_MAX)
		memcpy(text + ERR_TEXT_MAX - 4, "...", 4);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		err->code = code;
		err->reason = NULL;
		va_start(ap, fmt);
		mark_cut(err->text, vsnprintf(err->text, sizeof(err->text), fmt, ap));
		va_end(ap);
	}
	errno = saved;
	return code;
}

int err_set_errno(struct err *err, const char *fmt, ...)
{
	int code = errno ? -errno : -EIO;
	char head[ERR_TEXT_MAX];
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	mark_cut(head, vsnprintf(head, sizeof(head), fmt, ap));
	va_end(ap);
	return err_set(err, code, "%s: %s", head, strerrordesc_np(-code) ?: "unknown error");
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
	char head[ERR_TEXT_MAX], tail[ERR_TEXT_MAX];
	int saved = errno;
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	mark_cut(head, vsnprintf(head, sizeof(head), fmt, ap));
	va_end(ap);
	if (err->code && err->text[0])
		memcpy(tail, err->text, sizeof(tail));
	else
		snprintf(tail, sizeof(tail), "%s", strerrordesc_np(-code) ?: "unknown error");
	err->code = code;
	mark_cut(err->text, snprintf(err->text, sizeof(err->text), "%s: %s", head, tail));
	errno = saved;
	return code;
}

int err_reason(struct err *err, const char *reason)
{
	if (!err)
		return 0;
	err->reason = reason;
	return err->code;
}

const char *err_text(const struct err *err)
{
	if (!err || !err->code)
		return "no error";
	if (err->text[0])
		return err->text;
	return strerrordesc_np(-err->code) ?: "unknown error";
}
