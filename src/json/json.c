/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jansson's values under our names. Its reference counts stay inside: whoever parsed a text owns the whole
 * of it, and looks into it.
 */
#include "json/json.h"

#include <errno.h>
#include <jansson.h>

static const json_t *in(const struct json *j)
{
	return (const json_t *)(const void *)j;
}

static const struct json *out(const json_t *j)
{
	return (const struct json *)(const void *)j;
}

void json_init(void)
{
	json_object_seed(0);
}

static json_t *load(struct str text, size_t flags, json_error_t *e)
{
	return json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | flags, e);
}

static int loaded(json_t *j, const json_error_t *e, struct json **ret, struct err *err)
{
	if (!j)
		return err_set(err, -EINVAL, "JSON: byte %d: %.160s", e->position, e->text);
	*ret = (struct json *)(void *)j;
	return 0;
}

int json_parse(struct str text, struct json **ret, struct err *err)
{
	json_error_t e;

	return loaded(load(text, 0, &e), &e, ret, err);
}

int json_parse_wide(struct str text, struct json **ret, struct err *err)
{
	json_error_t e;
	json_t *j = load(text, 0, &e);

	if (!j && json_error_code(&e) == json_error_numeric_overflow)
		j = load(text, JSON_DECODE_INT_AS_REAL, &e);
	return loaded(j, &e, ret, err);
}

void json_free(struct json *j)
{
	json_decref((json_t *)(void *)j);
}

void json_freep(struct json **j)
{
	json_free(*j);
	*j = NULL;
}

const struct json *json_get(const struct json *j, const char *key)
{
	return out(json_object_get(in(j), key));
}

const struct json *json_at(const struct json *j, size_t i)
{
	return out(json_array_get(in(j), i));
}

const char *json_str(const struct json *j)
{
	return json_string_value(in(j));
}

bool json_u64(const struct json *j, uint64_t *ret)
{
	if (!json_is_integer(in(j)) || json_integer_value(in(j)) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(in(j));
	return true;
}

/* Beyond this a double stands for several whole numbers. */
#define EXACT (UINT64_C(1) << 53)

bool json_i64_wide(const struct json *j, int64_t *ret)
{
	double d = json_real_value(in(j));

	if (json_is_integer(in(j))) {
		*ret = json_integer_value(in(j));
		return true;
	}
	if (!json_is_real(in(j)) || d <= -(double)EXACT || d >= (double)EXACT ||
	    d != (double)(int64_t)d)
		return false;
	*ret = (int64_t)d;
	return true;
}

bool json_u64_wide(const struct json *j, uint64_t *ret)
{
	int64_t v;

	if (json_is_real(in(j)) && json_real_value(in(j)) == 0x1p64) {
		*ret = UINT64_MAX;
		return true;
	}
	if (!json_i64_wide(j, &v) || v < 0)
		return false;
	*ret = (uint64_t)v;
	return true;
}

bool json_bool(const struct json *j, bool *ret)
{
	if (!json_is_boolean(in(j)))
		return false;
	*ret = json_boolean_value(in(j));
	return true;
}

enum json_kind json_kind(const struct json *j)
{
	if (!j)
		return JSON_IS_NONE;
	switch (json_typeof(in(j))) {
	case JSON_OBJECT:
		return JSON_IS_OBJECT;
	case JSON_ARRAY:
		return JSON_IS_ARRAY;
	case JSON_STRING:
		return JSON_IS_STRING;
	case JSON_INTEGER:
	case JSON_REAL:
		return JSON_IS_NUMBER;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_IS_BOOLEAN;
	case JSON_NULL:
		break;
	}
	return JSON_IS_NONE;
}

size_t json_count(const struct json *j)
{
	return json_is_array(in(j)) ? json_array_size(in(j)) : json_object_size(in(j));
}

const char *json_next(const struct json *j, const char *key, const struct json **ret)
{
	json_t *object =
		(json_t *)(void *)(uintptr_t)j; /* an iterator could change it; ours does not */
	void *at = key ? json_object_iter_next(object, json_object_key_to_iter(key))
		       : json_object_iter(object);

	if (!at)
		return NULL;
	*ret = out(json_object_iter_value(at));
	return json_object_iter_key(at);
}
