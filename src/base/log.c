/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line is built in one buffer and written with one write(2), so that lines of threads and
 * processes that share a file do not mix, and no lock is held around I/O. A line that cannot be
 * written is lost: logging never makes the program fail or wait beyond that write.
 *
 * The rate limit is a window of one second a call site, kept with relaxed atomics. Two threads may
 * both open a new window; then a few lines more are written, which is harmless.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "base/metric.h"
#include "base/str.h"

#define SITE_LINES_PER_WINDOW 10
#define SITE_WINDOW_NS	      NS_PER_S

_Atomic int log_max_level = LOG_INFO;

static int log_fd = STDERR_FILENO;
static enum log_format log_format = LOG_AUTO;
static struct clock *log_clock;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_setup(int fd, enum log_format format, enum log_level max, struct clock *clock)
{
	log_fd = fd;
	log_format = format;
	log_clock = clock;
	atomic_store(&log_max_level, (int)max);
}

int log_level_parse(const char *name, enum log_level *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (str_eq(str_of(name), str_of(level_names[i]))) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "log level '%s' is none of error, warn, info, debug", name);
}

/* Whether the site may write now; *ret_missed is what it dropped since its last line. */
static bool site_admit(struct log_site *site, uint64_t now, uint32_t *ret_missed)
{
	uint64_t start = atomic_load_explicit(&site->window_start_ns, memory_order_relaxed);

	if (start == 0 || now - start >= SITE_WINDOW_NS) {
		atomic_store_explicit(&site->window_start_ns, now ? now : 1, memory_order_relaxed);
		atomic_store_explicit(&site->in_window, 0, memory_order_relaxed);
	}
	if (atomic_fetch_add_explicit(&site->in_window, 1, memory_order_relaxed) >=
	    SITE_LINES_PER_WINDOW) {
		atomic_fetch_add_explicit(&site->suppressed, 1, memory_order_relaxed);
		metric_inc(METRIC_log_suppressed);
		return false;
	}
	*ret_missed = atomic_exchange_explicit(&site->suppressed, 0, memory_order_relaxed);
	return true;
}

/* 2023-06-10T12:00:00.123456Z (RFC 3339). */
static void add_timestamp(struct strbuf *b, uint64_t wall_ns)
{
	time_t s = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	if (!gmtime_r(&s, &tm))
		tm = (struct tm){ .tm_mday = 1 };
	strbuf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		    (unsigned)(wall_ns % NS_PER_S / NS_PER_US));
}

/* Text that a guest or a client chose must not move the reader's cursor. */
static void add_plain(struct strbuf *b, const char *s)
{
	struct str rest = str_of(s);
	bool quote = rest.n == 0;

	for (size_t i = 0; i < rest.n; i++)
		if ((unsigned char)rest.p[i] <= ' ' || rest.p[i] == '"' || rest.p[i] == 0x7f)
			quote = true;
	if (quote)
		strbuf_add_json(b, rest);
	else
		strbuf_adds(b, s);
}

static void add_value(struct strbuf *b, const struct kv *f, bool json)
{
	switch (f->type) {
	case KV_STR:
		if (json)
			strbuf_add_json(b, str_of(f->s));
		else
			add_plain(b, f->s ? f->s : "");
		break;
	case KV_U64:
		strbuf_addf(b, "%" PRIu64, f->u);
		break;
	case KV_I64:
		strbuf_addf(b, "%" PRId64, f->i);
		break;
	case KV_HEX:
		strbuf_addf(b, json ? "\"0x%" PRIx64 "\"" : "0x%" PRIx64, f->u);
		break;
	case KV_BOOL:
		strbuf_adds(b, f->u ? "true" : "false");
		break;
	case KV_END:
		break;
	}
}

static void add_field(struct strbuf *b, const struct kv *f, bool json)
{
	if (json) {
		strbuf_addc(b, ',');
		strbuf_add_json(b, str_of(f->key));
		strbuf_addc(b, ':');
	} else {
		strbuf_addf(b, " %s=", f->key);
	}
	add_value(b, f, json);
}

void log_write(struct log_site *site, enum log_level level, const char *event,
	       const struct kv *fields)
{
	_cleanup_(strbuf_done) struct strbuf b = { 0 };
	struct clock *clock = log_clock ? log_clock : clock_real();
	uint32_t missed = 0;
	int saved = errno;
	bool json;

	/* Debugging is asked for by somebody who wants to see everything. */
	if (level < LOG_DEBUG && !site_admit(site, clock_now(clock), &missed))
		return;
	json = log_format == LOG_JSON || (log_format == LOG_AUTO && !isatty(log_fd));
	if (json) {
		strbuf_adds(&b, "{\"time\":\"");
		add_timestamp(&b, clock_wall(clock));
		strbuf_addf(&b, "\",\"level\":\"%s\",\"event\":", level_names[level]);
		strbuf_add_json(&b, str_of(event));
	} else {
		strbuf_addf(&b, "%s: %s", level_names[level], event);
	}
	for (; fields->type != KV_END; fields++)
		add_field(&b, fields, json);
	if (missed)
		add_field(&b, &(struct kv){ .type = KV_U64, .key = "suppressed", .u = missed },
			  json);
	strbuf_adds(&b, json ? "}\n" : "\n");
	if (write(log_fd, b.p, b.n) >= 0)
		metric_inc(METRIC_log_lines);
	errno = saved;
}
