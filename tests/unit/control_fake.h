/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_CONTROL_FAKE_H
#define ATOLL_TESTS_CONTROL_FAKE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static inline void devices(void *arg, struct strbuf *out)
{
	strbuf_adds(out, "[{\"name\":\"disk0\"}]");
}

/* Takes what came, and tells what it was; -EEXIST for a file "there". */
static inline int attach(void *arg, const struct attach_request_spec *request, struct ipc_fds *fds,
			 struct strbuf *out, struct err *err)
{
	if (request->disk) {
		if (!strcmp(request->disk, "there"))
			return err_set(err, -EEXIST, "there already");
		strbuf_adds(out, "{\"disk\":");
		strbuf_add_json(out, str_of(request->disk));
		for (unsigned int k = 0; k < request->nr_paths; k++) {
			strbuf_adds(out, k ? "," : ",\"files\":[");
			strbuf_add_json(out, str_of(request->path[k]));
			close(ipc_fds_take(fds, k + 1));
		}
		strbuf_adds(out, request->nr_paths ? "]}" : "}");
		return 0;
	}
	for (unsigned int k = 0; k < 1u + request->has_pcap; k++)
		close(ipc_fds_take(fds, k));
	strbuf_addf(out, "{\"mac\":%d,\"queues\":%u,\"words\":\"%s%s\"}", request->mac[5],
		    request->nr_pairs, request->packed ? "packed " : "",
		    request->is_tap ? "tap" : "");
	return 0;
}

static inline int detach(void *arg, const char *name, struct err *err)
{
	return strcmp(name, "disk0") ? err_set(err, -ENODEV, "no '%s'", name) : 0;
}

static inline int snapshot(void *arg, const struct machine_save *to, struct strbuf *out,
			   struct err *err)
{
	strbuf_addf(out, "{\"pages\":%u}", to->nr_disks);
	for (unsigned int i = 0; i < to->nr_disks; i++)
		if (to->disk_fd[i] < 0 || !*to->disk_name[i])
			abort();
	return 0;
}

#endif
