/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_ERR_H
#define ATOLL_BASE_ERR_H

#include "base/attr.h"

/*
 * An error with its story. The number travels as the return value (negative errno); the sentence
 * travels in a `struct err` that the caller owns, usually on its stack: nothing is allocated,
 * nothing is freed, carrying it cannot fail.
 *
 *	int r = fd_open(path, O_RDWR, &fd, err);
 *	if (r < 0)
 *		return err_wrap(err, r, "disk '%s'", path);
 *
 * Set once where the error is found, wrapped on the way up with what was being attempted, logged
 * once at the top.
 */

#define ERR_TEXT_MAX 240

struct err {
	int code;		 /* negative errno; 0: no error */
	const char *reason;	 /* machine word for API clients, static storage; NULL: none */
	char text[ERR_TEXT_MAX]; /* one sentence, no full stop, always terminated */
};

#define ERR_INIT                                                                                   \
	(struct err)                                                                               \
	{                                                                                          \
		0                                                                                  \
	}

/*
 * err_set - record an error where it is found.
 *
 * Replaces what was there. Text that does not fit is cut and ends in "...".
 *
 * @err:   may be NULL
 * @code:  negative errno
 * Returns @code, for `return err_set(...)`. Keeps errno.
 * Thread: any.
 */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4) _cold_;

/*
 * err_set_errno - err_set() with -errno, the text followed by ": " and the system's words for it.
 *
 * Returns -errno as it was at the call (-EIO where errno is 0). Thread: any.
 */
int err_set_errno(struct err *err, const char *fmt, ...) _printf_(2, 3) _cold_;

/*
 * err_wrap - put what was being attempted in front of the story.
 *
 * The text becomes "<new>: <old>"; with no old text, "<new>: <words for the code>". The reason
 * stays.
 *
 * @err:   may be NULL
 * @code:  the negative errno that is passed on
 * Returns @code. Thread: any.
 */
int err_wrap(struct err *err, int code, const char *fmt, ...) _printf_(3, 4) _cold_;

/*
 * err_reason - add the machine-readable word ("QuotaExceeded") to an error.
 *
 * @reason:  static storage
 * Returns err->code, 0 when @err is NULL. Thread: any.
 */
int err_reason(struct err *err, const char *reason);

/*
 * err_text - the sentence to show, never NULL and never empty.
 *
 * @err:  may be NULL
 * Returns a pointer into @err or to static storage. Thread: any.
 */
const char *err_text(const struct err *err);

#endif
