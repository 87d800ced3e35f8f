/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of JSON objects by type. A schema compiler was not taken: the specification's schema says little of what a runtime
 * must refuse (overlapping ids, names of another container's namespace), so that code would stand beside it anyway.
 */
#include "container/reader_priv.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

/* Elements of one array; far more than any real file has. */
#define LIST_MAX 65536

void rd_fail(struct reader *rd, int code, const char *key, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	const char *at = strbuf_cstr(&rd->at);
	va_list ap;

	if (rd->r < 0)
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	rd->r = err_set(rd->err, code, "%s%s%s: %s", at, *at && key ? "." : "", key ? key : "",
			strbuf_cstr(&text));
}

size_t rd_enter(struct reader *rd, const char *key)
{
	size_t mark = rd->at.n;

	strbuf_addf(&rd->at, "%s%s", mark ? "." : "", key);
	return mark;
}

void rd_leave(struct reader *rd, size_t mark)
{
	rd->at.n = mark;
	if (rd->at.p)
		rd->at.p[mark] = 0;
}

static const struct json *get(struct reader *rd, const struct json *j, const char *key,
			      enum json_kind kind, const char *name)
{
	const struct json *v = json_get(j, key);

	if (rd->r < 0 || json_kind(v) == JSON_IS_NONE)
		return NULL;
	if (json_kind(v) == kind)
		return v;
	rd_fail(rd, -EINVAL, key, "%s is expected", name);
	return NULL;
}

const struct json *rd_object(struct reader *rd, const struct json *j, const char *key)
{
	return get(rd, j, key, JSON_IS_OBJECT, "an object");
}

const struct json *rd_array(struct reader *rd, const struct json *j, const char *key)
{
	return get(rd, j, key, JSON_IS_ARRAY, "an array");
}

void rd_str(struct reader *rd, const struct json *j, const char *key, const char **ret)
{
	const struct json *v = get(rd, j, key, JSON_IS_STRING, "a string");

	if (v)
		*ret = json_str(v);
}

void rd_need(struct reader *rd, const struct json *j, const char *key, const char **ret)
{
	*ret = "";
	rd_str(rd, j, key, ret);
	if (!**ret)
		rd_fail(rd, -EINVAL, key, "is missing or empty");
}

void rd_bool(struct reader *rd, const struct json *j, const char *key, bool *ret)
{
	const struct json *v = get(rd, j, key, JSON_IS_BOOLEAN, "true or false");

	if (v)
		ignore_result(json_bool(v, ret)); /* it is one */
}

bool rd_i64(struct reader *rd, const struct json *j, const char *key, int64_t min, int64_t max,
	    int64_t *ret)
{
	const struct json *v = get(rd, j, key, JSON_IS_NUMBER, "a number");
	int64_t n;

	if (!v)
		return false;
	if (!json_i64_wide(v, &n) || n < min || n > max) {
		rd_fail(rd, -EINVAL, key, "a whole number from %lld to %lld is expected",
			(long long)min, (long long)max);
		return false;
	}
	*ret = n;
	return true;
}

bool rd_u64(struct reader *rd, const struct json *j, const char *key, uint64_t *ret)
{
	const struct json *v = get(rd, j, key, JSON_IS_NUMBER, "a number");

	if (!v)
		return false;
	if (!json_u64_wide(v, ret)) {
		rd_fail(rd, -EINVAL, key, "a whole number from 0 to 2^64-1 is expected");
		return false;
	}
	return true;
}

bool rd_u32(struct reader *rd, const struct json *j, const char *key, uint32_t max, uint32_t *ret)
{
	int64_t n;

	if (!rd_i64(rd, j, key, 0, max, &n))
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* Room for an array; false: none is needed, or it cannot be had. */
static bool room(struct reader *rd, const char *key, size_t n, size_t size, void *ret)
{
	size_t bytes;
	int r;

	if (rd->r < 0 || !n)
		return false;
	if (n > LIST_MAX || !mul_ok(n, size, &bytes)) {
		rd_fail(rd, -E2BIG, key, "more than %d elements", LIST_MAX);
		return false;
	}
	r = arena_try(rd->arena, ret, bytes);
	if (r < 0)
		rd_fail(rd, r, key, "too large");
	return r == 0;
}

void rd_strs(struct reader *rd, const struct json *j, const char *key, struct ct_strs *ret)
{
	const struct json *list = rd_array(rd, j, key);
	size_t n = json_count(list);
	const char **v = NULL;

	if (!room(rd, key, n ? n + 1 : 0, sizeof(*v), &v))
		return;
	for (size_t i = 0; i < n; i++) {
		v[i] = json_str(json_at(list, i));
		if (!v[i])
			rd_fail(rd, -EINVAL, key, "element %zu: a string is expected", i);
	}
	*ret = (struct ct_strs){ v, n };
}

void rd_pairs(struct reader *rd, const struct json *j, const char *key, struct ct_pairs *ret)
{
	const struct json *object = rd_object(rd, j, key), *v = NULL;
	size_t n = json_count(object), i = 0;

	if (!room(rd, key, n, sizeof(*ret->v), &ret->v))
		return;
	for (const char *name = NULL; (name = json_next(object, name, &v)); i++) {
		ret->v[i] = (struct ct_pair){ name, json_str(v) };
		if (!ret->v[i].value)
			rd_fail(rd, -EINVAL, key, "'%.80s': a string is expected", name);
	}
	ret->n = n;
}

void rd_list(struct reader *rd, const struct json *j, const char *key, size_t size,
	     void (*fn)(struct reader *rd, const struct json *j, void *element), void *ret,
	     size_t *ret_n)
{
	const struct json *list = rd_array(rd, j, key);
	size_t n = json_count(list);
	char *elements;

	if (!room(rd, key, n, size, &elements))
		return;
	for (size_t i = 0; i < n; i++) {
		size_t mark = rd_enter(rd, key);

		strbuf_addf(&rd->at, "[%zu]", i);
		if (json_kind(json_at(list, i)) != JSON_IS_OBJECT)
			rd_fail(rd, -EINVAL, NULL, "an object is expected");
		else if (rd->r == 0)
			fn(rd, json_at(list, i), elements + i * size);
		rd_leave(rd, mark);
	}
	*(void **)ret = elements;
	*ret_n = n;
}

size_t rd_word(struct reader *rd, const char *key, const char *text, const char *const *words)
{
	_cleanup_(strbuf_done) struct strbuf all = { 0 };
	size_t i;

	for (i = 0; words[i]; i++) {
		if (strcmp(words[i], text) == 0)
			return i;
		strbuf_addf(&all, "%s%s", i ? ", " : "", words[i]);
	}
	rd_fail(rd, -EINVAL, key, "'%.60s' is none of %s", text, strbuf_cstr(&all));
	return 0;
}
