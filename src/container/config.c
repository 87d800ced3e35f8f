/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A config.json as structs. Texts are not copied: they stay in the JSON value, which lives as long as the config; arrays are
 * in an arena. So reading costs little, and nothing has to be freed one by one when the tenth mount is wrong.
 */
#include "container/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "container/reader_priv.h"
#include "container/spec_json.h"
#include "json/json.h"

/* Arrays of a text of CT_CONFIG_MAX bytes: an element of 90 bytes takes at least 2 of text. */
#define ARENA_MAX ((size_t)CT_CONFIG_MAX * 64)

static void read_hook(struct reader *rd, const struct json *j, void *element)
{
	struct ct_hook *hook = element;

	rd_need(rd, j, "path", &hook->path);
	if (hook->path[0] != '/')
		rd_fail(rd, -EINVAL, "path", "'%.80s' is not absolute", hook->path);
	rd_strs(rd, j, "args", &hook->args);
	rd_strs(rd, j, "env", &hook->env);
	rd_i64(rd, j, "timeout", 1, 86400 * 365, &hook->timeout_s);
}

static const char *const hook_names[CT_NR_HOOKS] = {
	[CT_HOOK_PRESTART] = "prestart",
	[CT_HOOK_CREATE_RUNTIME] = "createRuntime",
	[CT_HOOK_CREATE_CONTAINER] = "createContainer",
	[CT_HOOK_START_CONTAINER] = "startContainer",
	[CT_HOOK_POSTSTART] = "poststart",
	[CT_HOOK_POSTSTOP] = "poststop",
};

const char *hook_word(size_t i)
{
	return i < CT_NR_HOOKS ? hook_names[i] : NULL;
}

static void read_hooks(struct reader *rd, const struct json *j, struct ct_hooks *hooks)
{
	const struct json *object = rd_object(rd, j, "hooks");
	size_t mark = rd_enter(rd, "hooks");

	for (size_t i = 0; i < CT_NR_HOOKS; i++)
		rd_list(rd, object, hook_names[i], sizeof(*hooks->v), read_hook, &hooks[i].v,
			&hooks[i].n);
	rd_leave(rd, mark);
}

static void read_version(struct reader *rd, const struct json *j, struct ct_config *c)
{
	rd_need(rd, j, "ociVersion", &c->version);
	if (!str_starts(str_of(c->version), STR("1.")))
		rd_fail(rd, -EOPNOTSUPP, "ociVersion", "'%.40s' is not 1.x, which is read here",
			c->version);
}

/* What only one of several members can tell. */
static void check_together(struct reader *rd, const struct ct_config *c)
{
	const struct ct_ns *user = &c->ns[CT_NS_USER], *uts = &c->ns[CT_NS_UTS];
	bool makes_user = user->is_wanted && !user->path;

	if ((c->hostname || c->domainname) && !uts->is_wanted)
		rd_fail(rd, -EINVAL, c->hostname ? "hostname" : "domainname",
			"needs a uts namespace in linux.namespaces");
	if (makes_user && !(c->uid_maps.n && c->gid_maps.n))
		rd_fail(rd, -EINVAL, "linux.uidMappings",
			"a new user namespace needs uidMappings and gidMappings");
	if (!makes_user && (c->uid_maps.n || c->gid_maps.n))
		rd_fail(rd, -EINVAL, "linux.uidMappings",
			"mappings need a new user namespace in linux.namespaces");
	if (c->has_time_offsets && !(c->ns[CT_NS_TIME].is_wanted && !c->ns[CT_NS_TIME].path))
		rd_fail(rd, -EINVAL, "linux.timeOffsets",
			"needs a new time namespace in linux.namespaces");
	if (!c->ns[CT_NS_MOUNT].is_wanted)
		rd_fail(rd, -EOPNOTSUPP, "linux.namespaces",
			"a container without a mount namespace is not supported");
	if (c->ns[CT_NS_MOUNT].path)
		rd_fail(rd, -EOPNOTSUPP, "linux.namespaces",
			"joining another mount namespace is not supported");
}

static void read_config(struct reader *rd, const struct json *j, struct ct_config *c)
{
	const struct json *process = rd_object(rd, j, "process"), *root = rd_object(rd, j, "root");
	const struct json *lnx;
	size_t mark;

	read_version(rd, j, c);
	if (process) {
		mark = rd_enter(rd, "process");
		c->has_process = true;
		rd_process(rd, process, &c->process);
		rd_leave(rd, mark);
	}
	mark = rd_enter(rd, "root");
	rd_need(rd, root, "path", &c->rootfs);
	rd_bool(rd, root, "readonly", &c->is_root_readonly);
	rd_leave(rd, mark);
	rd_str(rd, j, "hostname", &c->hostname);
	rd_str(rd, j, "domainname", &c->domainname);
	rd_list(rd, j, "mounts", sizeof(*c->mounts), rd_mount, &c->mounts, &c->nr_mounts);
	read_hooks(rd, j, c->hooks);
	rd_pairs(rd, j, "annotations", &c->annotations);
	lnx = rd_object(rd, j, "linux");
	mark = rd_enter(rd, "linux");
	rd_linux(rd, lnx, c);
	rd_leave(rd, mark);
	check_together(rd, c);
}

static void read_only_process(struct reader *rd, const struct json *j, struct ct_config *c)
{
	c->has_process = true;
	rd_process(rd, j, &c->process);
}

static int parse(struct str text,
		 void (*fn)(struct reader *rd, const struct json *j, struct ct_config *c),
		 struct ct_config **ret, struct err *err)
{
	_cleanup_(ct_config_freep) struct ct_config *c = mem_new(sizeof(*c));
	struct reader rd = { .arena = &c->arena, .warnings = &c->warnings, .err = err };
	int r;

	if (text.n > CT_CONFIG_MAX)
		return err_set(err, -E2BIG, "%zu bytes; at most %d are read", text.n,
			       CT_CONFIG_MAX);
	r = json_parse_wide(text, &c->text, err);
	if (r < 0)
		return r;
	c->arena.limit_bytes = ARENA_MAX;
	if (json_kind(c->text) != JSON_IS_OBJECT)
		rd_fail(&rd, -EINVAL, NULL, "an object is expected");
	else
		fn(&rd, c->text, c);
	strbuf_done(&rd.at);
	if (rd.r == 0)
		*ret = take_ptr(&c);
	return rd.r;
}

int ct_config_parse(struct str text, struct ct_config **ret, struct err *err)
{
	return parse(text, read_config, ret, err);
}

int ct_process_parse(struct str text, struct ct_config **ret, struct err *err)
{
	return parse(text, read_only_process, ret, err);
}

static void read_only_resources(struct reader *rd, const struct json *j, struct ct_config *c)
{
	rd_resources(rd, j, &c->resources);
}

int ct_resources_parse(struct str text, struct ct_config **ret, struct err *err)
{
	return parse(text, read_only_resources, ret, err);
}

void ct_config_free(struct ct_config *c)
{
	if (!c)
		return;
	json_free(c->text);
	arena_done(&c->arena);
	strbuf_done(&c->warnings);
	free(c);
}

void ct_config_freep(struct ct_config **c)
{
	ct_config_free(*c);
	*c = NULL;
}

struct str ct_spec(void)
{
	return (struct str){ spec_json, sizeof(spec_json) };
}
