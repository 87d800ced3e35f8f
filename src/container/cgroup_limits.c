/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits as the files of cgroups, v1 and v2: a table says which member of the configuration is which file, and how its number is
 * written there. Rules for devices are written to v1; v2 wants a BPF program for them, which is not there yet, so that without
 * v1's controller a container that could make device nodes is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/cgroup_priv.h"
#include "sys/fd.h"

/* Whether the hierarchy has a controller: one of its list; for v2 the file itself tells. */
static bool has(const char *controllers, const char *name)
{
	struct str rest = str_of(controllers), word;

	while (str_cut(&rest, ',', &word))
		if (str_eq(word, str_of(name)))
			return true;
	return false;
}

/* Writes one limit where it belongs. @file2: NULL: v2 has no such thing. */
static int write_limit(const struct cgroups *cg, const char *controller, const char *file1,
		       const char *text1, const char *file2, const char *text2, struct err *err)
{
	int r = -ENOENT;

	for (size_t i = 0; i < cg->n; i++) {
		if (!cg->dir[i].is_v2 && file1 && has(cg->dir[i].controllers, controller))
			r = cgroup_write(cg->dir[i].path, file1, text1);
		else if (cg->dir[i].is_v2 && file2)
			r = cgroup_write(cg->dir[i].path, file2, text2);
		else
			continue;
		if (r != -ENOENT)
			break;
	}
	if (r == -ENOENT)
		return err_set(err, -EOPNOTSUPP, "linux.resources: the host has no cgroup with %s",
			       file1 ? file1 : file2);
	return r < 0 ? err_set(err, r, "linux.resources: write '%.40s' to %s: %s", text1,
			       file1 ? file1 : file2, strerrordesc_np(-r))
		     : 0;
}

/* v1's 2 to 262144 as v2's 1 to 10000. */
static int64_t weight_of(int64_t shares)
{
	shares = MAX(MIN(shares, (int64_t)262144), (int64_t)2);
	return 1 + (shares - 2) * 9999 / 262142;
}

/* A number, or v2's word for none. */
static const char *amount(char text[32], int64_t n, bool is_v2)
{
	if (n < 0 && is_v2)
		snprintf(text, 32, "max");
	else
		snprintf(text, 32, "%lld", (long long)n);
	return text;
}

static int limit(const struct cgroups *cg, const struct ct_limit *l, const char *controller,
		 const char *file1, const char *file2, struct err *err)
{
	char text1[32], text2[32];

	if (!l->is_given)
		return 0;
	return write_limit(cg, controller, file1, amount(text1, l->value, false), file2,
			   amount(text2, l->value, true), err);
}

static int limit_memory(const struct cgroups *cg, const struct ct_resources *res, struct err *err)
{
	/* v1 counts memory and swap together, v2 swap alone. */
	int64_t swap = res->memory_swap.value;
	char text1[32], text2[32];
	int r;

	if (swap > 0 && res->memory.is_given && res->memory.value > 0)
		swap -= res->memory.value;
	if (res->memory_swap.is_given && swap < -1)
		return err_set(err, -EINVAL,
			       "linux.resources.memory.swap: is below the limit of memory");
	r = limit(cg, &res->memory, "memory", "memory.limit_in_bytes", "memory.max", err);
	/* v1's limit of memory cannot be above that of both together: raised, the latter goes first. */
	if ((r == 0 || r == -EINVAL) && res->memory_swap.is_given) {
		bool is_raised = r == -EINVAL;

		r = write_limit(cg, "memory", "memory.memsw.limit_in_bytes",
				amount(text1, res->memory_swap.value, false), "memory.swap.max",
				amount(text2, swap, true), err);
		if (r == 0 && is_raised)
			r = limit(cg, &res->memory, "memory", "memory.limit_in_bytes", "memory.max",
				  err);
	}
	if (r == 0)
		r = limit(cg, &res->memory_reservation, "memory", "memory.soft_limit_in_bytes",
			  "memory.low", err);
	if (r == 0)
		r = limit(cg, &res->swappiness, "memory", "memory.swappiness", NULL, err);
	if (r == 0 && res->no_oom_killer)
		r = write_limit(cg, "memory", "memory.oom_control", "1", NULL, NULL, err);
	return r;
}

static int limit_cpu(const struct cgroups *cg, const struct ct_resources *res, struct err *err)
{
	const struct ct_limit weight = { res->cpu_shares.is_given,
					 weight_of(res->cpu_shares.value) };
	char quota[32], text[80];
	int r = 0;

	if (res->cpu_shares.is_given) {
		char shares[32], text2[32];

		r = write_limit(cg, "cpu", "cpu.shares",
				amount(shares, res->cpu_shares.value, false), "cpu.weight",
				amount(text2, weight.value, true), err);
	}
	if (r == 0)
		r = limit(cg, &res->cpu_period, "cpu", "cpu.cfs_period_us", NULL, err);
	if (r == -EOPNOTSUPP)
		r = 0; /* of v2: below, with the quota */
	if (r == 0 && (res->cpu_quota.is_given || res->cpu_period.is_given)) {
		int64_t q = res->cpu_quota.is_given && res->cpu_quota.value > 0
				    ? res->cpu_quota.value
				    : -1;

		snprintf(text, sizeof(text), "%s %lld", amount(quota, q, true),
			 res->cpu_period.is_given ? (long long)res->cpu_period.value : 100000LL);
		amount(quota, q, false);
		r = write_limit(cg, "cpu", "cpu.cfs_quota_us", quota, "cpu.max", text, err);
	}
	if (r == 0)
		r = limit(cg, &res->cpu_burst, "cpu", "cpu.cfs_burst_us", "cpu.max.burst", err);
	if (r == 0)
		r = limit(cg, &res->cpu_idle, "cpu", "cpu.idle", "cpu.idle", err);
	if (r == 0)
		r = limit(cg, &res->cpu_rt_period, "cpu", "cpu.rt_period_us", NULL, err);
	if (r == 0)
		r = limit(cg, &res->cpu_rt_runtime, "cpu", "cpu.rt_runtime_us", NULL, err);
	if (r == 0 && res->cpus && res->cpus[0])
		r = write_limit(cg, "cpuset", "cpuset.cpus", res->cpus, "cpuset.cpus", res->cpus,
				err);
	if (r == 0 && res->mems && res->mems[0])
		r = write_limit(cg, "cpuset", "cpuset.mems", res->mems, "cpuset.mems", res->mems,
				err);
	return r;
}

static void add_number(struct strbuf *b, int64_t n)
{
	if (n < 0)
		strbuf_addc(b, '*');
	else
		strbuf_addf(b, "%lld", (long long)n);
}

/* Where rules are written: devices.deny and devices.allow. */
struct rule_files {
	int fd[2];
};

static int apply_rule(const struct rule_files *files, const struct ct_device_rule *rule,
		      struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf text = { 0 };

	if (rule->type == 'a') {
		strbuf_addc(&text, 'a');
	} else {
		strbuf_addf(&text, "%c ", rule->type);
		add_number(&text, rule->major);
		strbuf_addc(&text, ':');
		add_number(&text, rule->minor);
		strbuf_addf(&text, " %s", rule->access);
	}
	return write(files->fd[rule->is_allowed], text.p, text.n) < 0
		       ? err_set_errno(err, "linux.resources.devices: write '%s'",
				       strbuf_cstr(&text))
		       : 0;
}

/* What every container may use, whatever the rules say. Source: config-linux.md, "Default Devices"; consoles. */
static const struct ct_device_rule always[] = {
	{ true, 'c', -1, -1, "m" },    { true, 'b', -1, -1, "m" }, { true, 'c', 1, 3, "rwm" },
	{ true, 'c', 1, 5, "rwm" },    { true, 'c', 1, 7, "rwm" }, { true, 'c', 1, 8, "rwm" },
	{ true, 'c', 1, 9, "rwm" },    { true, 'c', 5, 0, "rwm" }, { true, 'c', 5, 2, "rwm" },
	{ true, 'c', 136, -1, "rwm" },
};

static int apply_rules(const struct rule_files *files, const struct ct_resources *res,
		       struct err *err)
{
	static const struct ct_device_rule nothing = { false, 'a', -1, -1, "rwm" };
	int r = apply_rule(files, &nothing, err);

	for (size_t i = 0; r == 0 && i < res->nr_devices; i++)
		/* A second "nothing" behind the first changes nothing. */
		if (i || res->devices[i].is_allowed || res->devices[i].type != 'a')
			r = apply_rule(files, &res->devices[i], err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(always); i++)
		r = apply_rule(files, &always[i], err);
	return r;
}

static int limit_devices(const struct cgroups *cg, const struct ct_resources *res, struct err *err)
{
	static const char *const names[] = { "devices.deny", "devices.allow" };

	for (size_t i = 0; i < cg->n; i++) {
		_cleanup_(fd_closep) int folder = -EBADF, deny = -EBADF, allow = -EBADF;
		int r;

		if (cg->dir[i].is_v2 || !has(cg->dir[i].controllers, "devices"))
			continue;
		r = fd_open(cg->dir[i].path, O_PATH | O_DIRECTORY, &folder, err);
		if (r < 0)
			return r;
		deny = openat(folder, names[0], O_WRONLY | O_CLOEXEC);
		allow = openat(folder, names[1], O_WRONLY | O_CLOEXEC);
		if (deny < 0 || allow < 0)
			return err_set_errno(err, "linux.resources.devices");
		return apply_rules(&(struct rule_files){ { deny, allow } }, res, err);
	}
	return err_set(err, -EOPNOTSUPP, "linux.resources: the host has no cgroup with %s",
		       names[1]);
}

int cgroups_limit(const struct cgroups *cg, const struct ct_resources *res, struct err *err)
{
	int r = limit_memory(cg, res, err);

	if (r == 0)
		r = limit_cpu(cg, res, err);
	if (r == 0 && res->pids.is_given) {
		const struct ct_limit pids = { true, res->pids.value > 0 ? res->pids.value : -1 };
		char text[32];

		amount(text, pids.value, true);
		r = write_limit(cg, "pids", "pids.max", text, "pids.max", text, err);
	}
	for (size_t i = 0; r == 0 && i < res->unified.n; i++)
		r = write_limit(cg, "", NULL, res->unified.v[i].value, res->unified.v[i].key,
				res->unified.v[i].value, err);
	return r;
}

int cgroups_limit_devices(const struct cgroups *cg, const struct ct_resources *res,
			  bool is_rootless, struct strbuf *warnings, struct err *err)
{
	int r = limit_devices(cg, res, err);

	if (r == -EOPNOTSUPP && is_rootless) {
		/* Nobody in there can make a device node, and those that are bound are the host's choice. */
		strbuf_adds(warnings, "linux.resources.devices: not in a user namespace\n");
		return 0;
	}
	return r;
}
