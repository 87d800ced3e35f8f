/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A config.json of a container, or the process of one: whatever it says, the structs keep what they promise, and a refusal
 * says where and why.
 */
#include <assert.h>
#include <string.h>

#include "container/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t length(const struct ct_strs *s)
{
	size_t sum = 0;

	assert(!s->n || !s->v[s->n]);
	for (size_t i = 0; i < s->n; i++)
		sum += strlen(s->v[i]);
	return sum;
}

static void check_process(const struct ct_process *p)
{
	assert(p->args.n && length(&p->args) && p->cwd[0] == '/');
	(void)length(&p->env);
	assert(!(p->caps.effective & ~p->caps.permitted));
	for (size_t i = 0; i < p->nr_rlimits; i++)
		assert(p->rlimits[i].soft <= p->rlimits[i].hard);
	for (size_t i = 0; i < p->nr_groups; i++)
		assert(p->groups[i] != UINT32_MAX);
}

static void check_maps(const struct ct_id_maps *m)
{
	for (size_t i = 0; i < m->n; i++)
		assert(m->v[i].size && (uint64_t)m->v[i].host_id + m->v[i].size <= UINT32_MAX);
}

static void check(const struct ct_config *c)
{
	assert(c->rootfs[0] && c->version[0] && c->ns[CT_NS_MOUNT].is_wanted);
	check_maps(&c->uid_maps);
	check_maps(&c->gid_maps);
	for (size_t i = 0; i < c->nr_mounts; i++) {
		assert(c->mounts[i].destination[0] && c->mounts[i].data);
		assert(c->mounts[i].is_bind ? c->mounts[i].source[0] : c->mounts[i].type[0]);
		assert(!(c->mounts[i].set & c->mounts[i].clear & 7));
	}
	for (size_t i = 0; i < c->nr_devices; i++)
		assert(c->devices[i].path[0] == '/' && c->devices[i].type);
	for (size_t i = 0; i < CT_NR_HOOKS; i++)
		for (size_t k = 0; k < c->hooks[i].n; k++)
			assert(c->hooks[i].v[k].path[0] == '/');
	for (size_t i = 0; i < c->sysctl.n; i++)
		assert(!strstr(c->sysctl.v[i].key, ".."));
	for (size_t i = 0; i < c->resources.nr_devices; i++)
		assert(strchr("abc", c->resources.devices[i].type));
	for (size_t i = 0; i < c->seccomp.nr_rules; i++)
		assert(length(&c->seccomp.rules[i].names) || c->seccomp.rules[i].names.n);
	(void)length(&c->masked);
	(void)length(&c->readonly);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct str text = { (const char *)data, n };
	struct ct_config *c = NULL;
	struct err err = ERR_INIT;

	if (ct_config_parse(text, &c, &err) == 0) {
		check(c);
		if (c->has_process)
			check_process(&c->process);
	} else {
		assert(!c && err.text[0]);
	}
	ct_config_free(c);
	c = NULL;
	if (ct_process_parse(text, &c, NULL) == 0)
		check_process(&c->process);
	ct_config_free(c);
	c = NULL;
	if (ct_resources_parse(text, &c, NULL) == 0)
		for (size_t i = 0; i < c->resources.nr_devices; i++)
			assert(strchr("abc", c->resources.devices[i].type));
	ct_config_free(c);
	return 0;
}
