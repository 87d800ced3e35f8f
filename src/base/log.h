/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_LOG_H
#define ATOLL_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/err.h"

/*
 * A log line is the name of an event and typed fields:
 *
 *	log_info("vm.start", kv_str("vm", id), kv_u64("us", t));
 *
 * On a terminal it is text for people, elsewhere one JSON object a line. Each call site may write
 * 10 lines a second; what is over is counted and reported with the site's next line, so that a
 * guest cannot fill a disk. Only the top of the program and event loops log: a library function
 * returns its error.
 */
enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
};

enum kv_type {
	KV_END,
	KV_STR,
	KV_U64,
	KV_I64,
	KV_HEX,
	KV_BOOL,
};

struct kv {
	enum kv_type type;
	const char *key; /* [a-z0-9_]+ */
	union {
		const char *s;
		uint64_t u;
		int64_t i;
	};
};

/* kv_str - a text field; NULL shows as "". The text is read during the call only. Thread: any. */
static inline struct kv kv_str(const char *key, const char *s)
{
	return (struct kv){ .type = KV_STR, .key = key, .s = s };
}

/* kv_u64 - an unsigned number. Thread: any. */
static inline struct kv kv_u64(const char *key, uint64_t u)
{
	return (struct kv){ .type = KV_U64, .key = key, .u = u };
}

/* kv_i64 - a signed number. Thread: any. */
static inline struct kv kv_i64(const char *key, int64_t i)
{
	return (struct kv){ .type = KV_I64, .key = key, .i = i };
}

/* kv_hex - an unsigned number shown as 0x...; a string in JSON, which has no hexadecimal. Thread:
 * any. */
static inline struct kv kv_hex(const char *key, uint64_t u)
{
	return (struct kv){ .type = KV_HEX, .key = key, .u = u };
}

/* kv_bool - true or false. Thread: any. */
static inline struct kv kv_bool(const char *key, bool b)
{
	return (struct kv){ .type = KV_BOOL, .key = key, .u = b };
}

/* kv_err - the sentence of an error. Thread: any. */
static inline struct kv kv_err(const char *key, const struct err *err)
{
	return kv_str(key, err_text(err));
}

/* What a call site remembers for its rate limit; static, zero-initialised. */
struct log_site {
	_Atomic uint64_t window_start_ns;
	_Atomic uint32_t in_window;
	_Atomic uint32_t suppressed;
};

extern _Atomic int log_max_level;

/*
 * log_write - write one line; use log_error() to log_debug().
 *
 * @site:    the call site's state
 * @event:   "subject.event", static
 * @fields:  ended by a field of type KV_END
 * Keeps errno. Thread: any; lines do not mix.
 */
void log_write(struct log_site *site, enum log_level level, const char *event,
	       const struct kv *fields);

#define log_at_(level, event, ...)                                                                 \
	do {                                                                                       \
		static struct log_site log_site_;                                                  \
                                                                                                   \
		if ((int)(level) <= atomic_load_explicit(&log_max_level, memory_order_relaxed))    \
			log_write(&log_site_, (level), (event),                                    \
				  (const struct kv[]){ __VA_ARGS__ __VA_OPT__(, ){ KV_END } });    \
	} while (0)

#define log_error(event, ...) log_at_(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at_(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_at_(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_at_(LOG_DEBUG, event, __VA_ARGS__)

enum log_format {
	LOG_AUTO, /* text when the descriptor is a terminal, else JSON */
	LOG_TEXT,
	LOG_JSON,
};

/*
 * log_setup - where lines go and which.
 *
 * Without a call: standard error, LOG_AUTO, up to LOG_INFO, the host's clock.
 *
 * @fd:     stays the caller's and open as long as anything logs
 * @clock:  lives as long; NULL for the host's
 * Thread: the first one, before others start.
 */
void log_setup(int fd, enum log_format format, enum log_level max, struct clock *clock);

/* log_level_parse - "error", "warn", "info" or "debug". Returns 0 or -EINVAL. Thread: any. */
_nodiscard_ int log_level_parse(const char *name, enum log_level *ret, struct err *err);

#endif
