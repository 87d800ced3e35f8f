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

int json_parse(struct str text, struct json **ret, struct err *err)
{
	json_error_t e;
	json_t *j = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		return err_set(err, -EINVAL, "JSON: byte %d: %.160s", e.position, e.text);
	*ret = (struct json *)(void *)j;
	return 0;
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

bool json_bool(const struct json *j, bool *ret)
{
	if (!json_is_boolean(in(j)))
		return false;
	*ret = json_boolean_value(in(j));
	return true;
}
