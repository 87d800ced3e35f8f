/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_CONTROL_FAKE_H
#define ATOLL_TESTS_CONTROL_FAKE_H

#include <errno.h>

#include "vm/control_priv.h"

/* What a machine answers to requests from outside, for tests of the requests: answers that tell what was asked. */

static inline int screen(void *arg, bool is_text, struct strbuf *out, struct err *err)
{
	strbuf_adds(out, is_text ? "A \"line\"\n" : "UE5H");
	return 0;
}

static inline int balloon(void *arg, const uint64_t *keep_bytes, bool is_text, struct strbuf *out,
			  struct err *err)
{
	if (keep_bytes && *keep_bytes > 100)
		return err_set(err, -ERANGE, "too much");
	strbuf_addf(out, is_text ? "keeps %d\n" : "{\"keeps\":%d}\n",
		    keep_bytes ? (int)*keep_bytes : -1);
	return 0;
}

static inline int power(void *arg, enum control_power what, struct strbuf *out, struct err *err)
{
	if (what == CONTROL_RESUME)
		return err_set(err, -EALREADY, "not paused");
	strbuf_addf(out, "{\"state\":\"%d\"}", (int)what);
	return 0;
}

static inline int cpus(void *arg, const uint64_t *n, struct strbuf *out, struct err *err)
{
	if (n && *n > 4)
		return err_set(err, -ERANGE, "too many");
	strbuf_addf(out, "{\"vcpus\":%d}", n ? (int)*n : 1);
	return 0;
}

#endif
