/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The member "process" of a config.json: who runs, with which rights. Names of capabilities are the kernel's header's,
 * lower numbers first; libcap-ng was not taken for a table of names.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>

#include "container/reader_priv.h"

/* Names by number, as in linux/capability.h. */
static const char *const cap_names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};
_Static_assert(ARRAY_SIZE(cap_names) == CAP_LAST_CAP + 1, "a name for each");

const char *cap_word(size_t i)
{
	return i < ARRAY_SIZE(cap_names) ? cap_names[i] : NULL;
}

int ct_cap_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(cap_names); i++)
		if (strcmp(cap_names[i], name) == 0)
			return (int)i;
	return -1;
}

static void read_cap_set(struct reader *rd, const struct json *j, const char *key, uint64_t *ret)
{
	struct ct_strs names = { 0 };

	rd_strs(rd, j, key, &names);
	for (size_t i = 0; rd->r == 0 && i < names.n; i++) {
		int cap = ct_cap_by_name(names.v[i]);

		if (cap < 0)
			strbuf_addf(rd->warnings, "capability '%.60s' is unknown\n", names.v[i]);
		else
			*ret |= UINT64_C(1) << cap;
	}
}

static void read_caps(struct reader *rd, const struct json *j, struct ct_process *p)
{
	const struct json *caps = rd_object(rd, j, "capabilities");
	size_t mark = rd_enter(rd, "capabilities");

	p->has_caps = caps != NULL;
	read_cap_set(rd, caps, "bounding", &p->caps.bounding);
	read_cap_set(rd, caps, "effective", &p->caps.effective);
	read_cap_set(rd, caps, "inheritable", &p->caps.inheritable);
	read_cap_set(rd, caps, "permitted", &p->caps.permitted);
	read_cap_set(rd, caps, "ambient", &p->caps.ambient);
	if (p->caps.effective & ~p->caps.permitted)
		rd_fail(rd, -EINVAL, "effective", "has what \"permitted\" has not");
	rd_leave(rd, mark);
}

static void read_rlimit(struct reader *rd, const struct json *j, void *element)
{
	static const char *const names[] = {
		"RLIMIT_AS",
		"RLIMIT_CORE",
		"RLIMIT_CPU",
		"RLIMIT_DATA",
		"RLIMIT_FSIZE",
		"RLIMIT_LOCKS",
		"RLIMIT_MEMLOCK",
		"RLIMIT_MSGQUEUE",
		"RLIMIT_NICE",
		"RLIMIT_NOFILE",
		"RLIMIT_NPROC",
		"RLIMIT_RSS",
		"RLIMIT_RTPRIO",
		"RLIMIT_RTTIME",
		"RLIMIT_SIGPENDING",
		"RLIMIT_STACK",
		NULL,
	};
	static const int resources[] = {
		RLIMIT_AS,     RLIMIT_CORE,   RLIMIT_CPU,	 RLIMIT_DATA,
		RLIMIT_FSIZE,  RLIMIT_LOCKS,  RLIMIT_MEMLOCK,	 RLIMIT_MSGQUEUE,
		RLIMIT_NICE,   RLIMIT_NOFILE, RLIMIT_NPROC,	 RLIMIT_RSS,
		RLIMIT_RTPRIO, RLIMIT_RTTIME, RLIMIT_SIGPENDING, RLIMIT_STACK,
	};
	struct ct_rlimit *limit = element;
	const char *type;

	rd_need(rd, j, "type", &type);
	limit->resource = resources[rd_word(rd, "type", type, names)];
	if (!rd_u64(rd, j, "hard", &limit->hard) || !rd_u64(rd, j, "soft", &limit->soft))
		rd_fail(rd, -EINVAL, NULL, "\"soft\" and \"hard\" are needed");
	else if (limit->soft > limit->hard)
		rd_fail(rd, -EINVAL, "soft", "is above \"hard\"");
}

static void check_rlimits(struct reader *rd, const struct ct_process *p)
{
	for (size_t i = 0; rd->r == 0 && i < p->nr_rlimits; i++)
		for (size_t k = 0; k < i; k++)
			if (p->rlimits[i].resource == p->rlimits[k].resource) {
				rd_fail(rd, -EINVAL, "rlimits", "one type stands there twice");
				return;
			}
}

static void read_user(struct reader *rd, const struct json *j, struct ct_process *p)
{
	const struct json *user = rd_object(rd, j, "user"), *groups;
	size_t mark = rd_enter(rd, "user");
	int64_t v;

	rd_u32(rd, user, "uid", UINT32_MAX - 1, &p->uid);
	rd_u32(rd, user, "gid", UINT32_MAX - 1, &p->gid);
	p->has_umask = rd_i64(rd, user, "umask", 0, 0777, &v);
	if (p->has_umask)
		p->umask = (mode_t)v;
	groups = rd_array(rd, user, "additionalGids");
	if (json_count(groups) > 65536) /* NGROUPS_MAX */
		rd_fail(rd, -E2BIG, "additionalGids", "more than 65536 groups");
	else if (json_count(groups))
		p->groups = arena_new(rd->arena, json_count(groups) * sizeof(*p->groups));
	for (size_t i = 0; rd->r == 0 && i < json_count(groups); i++) {
		if (!json_i64_wide(json_at(groups, i), &v) || v < 0 || v >= UINT32_MAX)
			rd_fail(rd, -EINVAL, "additionalGids", "element %zu is not a group id", i);
		p->groups[p->nr_groups++] = (uint32_t)v;
	}
	rd_leave(rd, mark);
}

/* What would silently not be done. */
static void refuse(struct reader *rd, const struct json *j)
{
	static const char *const members[] = { "apparmorProfile", "selinuxLabel", "ioPriority",
					       "scheduler", "execCPUAffinity" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct json *v = json_get(j, members[i]);

		if (json_kind(v) != JSON_IS_NONE && !(json_str(v) && !json_str(v)[0]))
			rd_fail(rd, -EOPNOTSUPP, members[i], "is not supported yet");
	}
}

void rd_process(struct reader *rd, const struct json *j, struct ct_process *p)
{
	const struct json *size;
	uint32_t v;
	int64_t score;

	rd_bool(rd, j, "terminal", &p->has_terminal);
	size = p->has_terminal ? rd_object(rd, j, "consoleSize") : NULL;
	if (rd_u32(rd, size, "height", UINT16_MAX, &v))
		p->rows = (uint16_t)v;
	if (rd_u32(rd, size, "width", UINT16_MAX, &v))
		p->columns = (uint16_t)v;
	read_user(rd, j, p);
	rd_strs(rd, j, "args", &p->args);
	if (!p->args.n || !p->args.v[0] || !p->args.v[0][0])
		rd_fail(rd, -EINVAL, "args", "the program to run is missing");
	rd_strs(rd, j, "env", &p->env);
	rd_need(rd, j, "cwd", &p->cwd);
	if (p->cwd[0] != '/')
		rd_fail(rd, -EINVAL, "cwd", "'%.80s' is not absolute", p->cwd);
	read_caps(rd, j, p);
	rd_list(rd, j, "rlimits", sizeof(*p->rlimits), read_rlimit, &p->rlimits, &p->nr_rlimits);
	check_rlimits(rd, p);
	rd_bool(rd, j, "noNewPrivileges", &p->no_new_privileges);
	p->has_oom_score_adj = rd_i64(rd, j, "oomScoreAdj", -1000, 1000, &score);
	if (p->has_oom_score_adj)
		p->oom_score_adj = (int)score;
	refuse(rd, j);
}
