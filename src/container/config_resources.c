/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The member "linux.resources" of a config.json. Limits that would not be set are refused: a container that was thought to be
 * limited is worse than one that does not start.
 */
#include <errno.h>
#include <string.h>

#include "container/reader_priv.h"

static void read_limit(struct reader *rd, const struct json *j, const char *key,
		       struct ct_limit *limit)
{
	limit->is_given = rd_i64(rd, j, key, -1, INT64_MAX, &limit->value);
}

/* -1 and null: all of them. */
static void read_number(struct reader *rd, const struct json *j, const char *key, int64_t *ret)
{
	*ret = -1;
	if (!rd_i64(rd, j, key, -1, UINT32_MAX, ret))
		*ret = -1;
}

static void read_rule(struct reader *rd, const struct json *j, void *element)
{
	struct ct_device_rule *rule = element;
	const char *type = "a";

	rd_bool(rd, j, "allow", &rule->is_allowed);
	rd_str(rd, j, "type", &type);
	rule->type = type[0] ? type[0] : 'a';
	if (rule->type == 'u')
		rule->type = 'c';
	if (!strchr("abc", rule->type) || (type[0] && type[1]))
		rd_fail(rd, -EINVAL, "type", "'%.20s' is none of a, b, c", type);
	read_number(rd, j, "major", &rule->major);
	read_number(rd, j, "minor", &rule->minor);
	rule->access = "rwm";
	rd_str(rd, j, "access", &rule->access);
	if (!rule->access[0])
		rule->access = "rwm";
	if (strspn(rule->access, "rwm") != strlen(rule->access) || strlen(rule->access) > 3)
		rd_fail(rd, -EINVAL, "access", "'%.20s' is not made of r, w and m", rule->access);
}

static void read_memory(struct reader *rd, const struct json *j, struct ct_resources *res)
{
	const struct json *memory = rd_object(rd, j, "memory");
	size_t mark = rd_enter(rd, "memory");

	read_limit(rd, memory, "limit", &res->memory);
	read_limit(rd, memory, "reservation", &res->memory_reservation);
	read_limit(rd, memory, "swap", &res->memory_swap);
	read_limit(rd, memory, "swappiness", &res->swappiness);
	rd_bool(rd, memory, "disableOOMKiller", &res->no_oom_killer);
	if (res->swappiness.is_given && (res->swappiness.value < 0 || res->swappiness.value > 100))
		rd_fail(rd, -EINVAL, "swappiness", "is not from 0 to 100");
	/* "kernel", "kernelTCP" and "useHierarchy" are obsolete: kernels have ignored them for years. */
	rd_leave(rd, mark);
}

static void read_cpu(struct reader *rd, const struct json *j, struct ct_resources *res)
{
	const struct json *cpu = rd_object(rd, j, "cpu");
	size_t mark = rd_enter(rd, "cpu");

	read_limit(rd, cpu, "shares", &res->cpu_shares);
	read_limit(rd, cpu, "quota", &res->cpu_quota);
	read_limit(rd, cpu, "period", &res->cpu_period);
	read_limit(rd, cpu, "burst", &res->cpu_burst);
	read_limit(rd, cpu, "realtimeRuntime", &res->cpu_rt_runtime);
	read_limit(rd, cpu, "realtimePeriod", &res->cpu_rt_period);
	read_limit(rd, cpu, "idle", &res->cpu_idle);
	rd_str(rd, cpu, "cpus", &res->cpus);
	rd_str(rd, cpu, "mems", &res->mems);
	rd_leave(rd, mark);
}

void rd_resources(struct reader *rd, const struct json *j, struct ct_resources *res)
{
	static const char *const missing[] = { "blockIO", "hugepageLimits", "network", "rdma" };
	const struct json *pids;
	size_t mark;

	rd_list(rd, j, "devices", sizeof(*res->devices), read_rule, &res->devices,
		&res->nr_devices);
	read_memory(rd, j, res);
	read_cpu(rd, j, res);
	pids = rd_object(rd, j, "pids");
	mark = rd_enter(rd, "pids");
	read_limit(rd, pids, "limit", &res->pids);
	rd_leave(rd, mark);
	rd_pairs(rd, j, "unified", &res->unified);
	for (size_t i = 0; rd->r == 0 && i < res->unified.n; i++)
		if (strchr(res->unified.v[i].key, '/') || !strchr(res->unified.v[i].key, '.'))
			rd_fail(rd, -EINVAL, "unified", "'%.60s' is no file of a controller",
				res->unified.v[i].key);
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
		if (json_count(json_get(j, missing[i])))
			rd_fail(rd, -EOPNOTSUPP, missing[i], "is not supported yet");
}
