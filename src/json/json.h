/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_JSON_JSON_H
#define ATOLL_JSON_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * One JSON value (RFC 8259) that was read. Everything that a look-up returns belongs to the value it was
 * found in. The functions take NULL for a value, which stands for "not there", so look-ups can be nested.
 */
struct json;

/* json_init - what the library would do at its first use, reading random numbers from a file, is done now: for a process that
 * cannot open one later (sys/sandbox). Thread: the only one. */
void json_init(void);

/*
 * json_parse - read a text: one object or array, nothing behind it.
 *
 * @text:  bytes, UTF-8; the caller has limited their number
 * @ret:   json_free()
 * Returns 0; -EINVAL with what is wrong and where (also for a key that stands twice in an object, nesting
 * beyond 2048, integers beyond 63 bits, and NUL characters). Thread: any.
 */
_nodiscard_ int json_parse(struct str text, struct json **ret, struct err *err);

/*
 * json_parse_wide - json_parse() for texts of Go programs, which write numbers up to 2^64 - 1 ("no limit").
 *
 * Where there is one beyond 63 bits, all numbers of the text are only known to 53 bits: read them by json_u64_wide() and
 * json_i64_wide(), which know what they cannot tell. Returns as json_parse(). Thread: any.
 */
_nodiscard_ int json_parse_wide(struct str text, struct json **ret, struct err *err);

/* json_free - free a value from json_parse(); NULL is accepted. json_freep: for _cleanup_(). Thread: owner. */
void json_free(struct json *j);
void json_freep(struct json **j);

/* json_get - the value of a key; NULL: no such key, or not an object. Thread: any. */
const struct json *json_get(const struct json *j, const char *key);

/* json_at - element @i of an array; NULL: there is none, or not an array. Thread: any. */
const struct json *json_at(const struct json *j, size_t i);

/* json_str - the text, never with a NUL inside; NULL: not a string. Thread: any. */
const char *json_str(const struct json *j);

/* json_u64 - an integer that is not negative. Returns false, @ret as it was, when it is something else. Thread:
 * any. */
bool json_u64(const struct json *j, uint64_t *ret);

/*
 * json_u64_wide - a whole number from 0 to 2^64 - 1 of json_parse_wide(), also written as 2e3. One next to 2^64 is 2^64 - 1.
 *
 * Returns false, @ret as it was, when it is something else or not known exactly. Thread: any.
 */
bool json_u64_wide(const struct json *j, uint64_t *ret);

/* json_i64_wide - as json_u64_wide(), for numbers that may be negative and fit 63 bits. Thread: any. */
bool json_i64_wide(const struct json *j, int64_t *ret);

/* json_bool - true or false. Returns false, @ret as it was, when it is something else. Thread: any. */
bool json_bool(const struct json *j, bool *ret);

enum json_kind {
	JSON_IS_NONE, /* not there, or null */
	JSON_IS_OBJECT,
	JSON_IS_ARRAY,
	JSON_IS_STRING,
	JSON_IS_NUMBER,
	JSON_IS_BOOLEAN,
};

/* json_kind - what a value is. Thread: any. */
enum json_kind json_kind(const struct json *j);

/* json_count - elements of an array or members of an object; 0: something else. Thread: any. */
size_t json_count(const struct json *j);

/*
 * json_next - walk over the members of an object, in the order of the text.
 *
 * @key:  NULL at the start, then what the call before returned
 * @ret:  the member's value
 * Returns its key; NULL: that was the last, or not an object. Thread: any.
 */
const char *json_next(const struct json *j, const char *key, const struct json **ret);

#endif
