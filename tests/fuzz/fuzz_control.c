/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of the control socket: bytes in pieces (the first byte of each says how many follow), to a made-up machine.
 * Every line gets one answer, which is one line.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../unit/control_fake.h"
#include "json/json.h"
#include "vm/control_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void info(void *arg, struct strbuf *out)
{
	strbuf_adds(out, "{}");
}

static void stats(void *arg, struct stats_totals *before, bool json, struct strbuf *out)
{
	before->now_ns++;
	strbuf_adds(out, json ? "{\"a\":1}\n" : "a \"\\\xff\n");
}

static bool counting;

static int count(void *arg, bool on, struct err *err)
{
	static unsigned int nr;

	assert(on != counting);
	if (on && ++nr % 4 == 0)
		return err_set(err, -EOPNOTSUPP, "'%s'", "\x01");
	counting = on;
	return 0;
}

static int trace(void *arg, const struct cpu_hot_query *query, struct strbuf *out, struct err *err)
{
	assert(query->top >= 1 && query->top <= CPU_HOT_MAX);
	strbuf_adds(out, query->json ? "[]" : "");
	return 0;
}

static void disks(void *arg, struct strbuf *out)
{
	strbuf_adds(out, "[]");
}

static int disk(void *arg, const struct disk_request_spec *request, struct err *err)
{
	assert(request->ask <= DISK_ASK_RETRY);
	assert(request->ask != DISK_ASK_SNAPSHOT || request->file);
	assert(request->ask != DISK_ASK_LIMIT || request->limits);
	return request->disk ? err_set(err, -ENODEV, "none") : 0;
}

static int console(void *arg, unsigned int port, struct err *err)
{
	return port == 0 ? 0 : err_set(err, -ENODEV, "no port %u", port);
}

static const struct control_ops ops = { .info = info,
					.stats = stats,
					.count = count,
					.trace = trace,
					.screen = screen,
					.balloon = balloon,
					.power = power,
					.disks = disks,
					.disk = disk,
					.cpus = cpus,
					.devices = devices,
					.attach = attach,
					.detach = detach,
					.snapshot = snapshot,
					.console = console };

static void check_answer(struct strbuf *out)
{
	struct json *j = NULL;

	assert(out->n && memchr(out->p, '\n', out->n) == out->p + out->n - 1);
	if (json_parse(strbuf_str(out), &j, NULL) < 0)
		__builtin_trap();
	assert(!json_get(j, "ok") != !json_get(j, "error"));
	json_free(j);
	strbuf_reset(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct control_session s;
	int r = 0;

	control_session_init(&s, &ops, NULL);
	while (n && r >= 0) {
		size_t len = MIN((size_t)data[0], n - 1);

		len = MIN(len, sizeof(s.in) - s.in_n);
		memcpy(s.in + s.in_n, data + 1, len);
		s.in_n += len;
		/* Now and then, descriptors come with them. */
		for (unsigned int k = len & 3; k > 1 && s.fds.nr < IPC_FDS_MAX; k--)
			s.fds.fd[s.fds.nr++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		data += len + 1;
		n -= len + 1;
		while ((r = control_session_serve(&s)) > 0)
			check_answer(&s.out);
	}
	control_session_done(&s);
	assert(!counting);
	return 0;
}
