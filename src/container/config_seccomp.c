/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The member "linux.seccomp" of a config.json. Names of system calls, architectures and flags stay text: seccomp.c asks
 * libseccomp what they are.
 */
#include <errno.h>
#include <string.h>

#include "container/reader_priv.h"

/* In the order of enum ct_seccomp_do; SCMP_ACT_KILL is the old name of the first. */
static const char *const action_names[] = {
	"SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
	"SCMP_ACT_TRACE",	"SCMP_ACT_ALLOW",	 "SCMP_ACT_LOG",  NULL,
};

const char *seccomp_action_word(size_t i)
{
	return i < ARRAY_SIZE(action_names) ? action_names[i] : NULL;
}

static void read_action(struct reader *rd, const struct json *j, const char *key,
			const char *number, struct ct_seccomp_action *action)
{
	uint32_t n = EPERM; /* as the specification says */
	const char *name;

	rd_need(rd, j, key, &name);
	if (strcmp(name, "SCMP_ACT_KILL") == 0)
		name = action_names[CT_SECCOMP_KILL_THREAD];
	if (strcmp(name, "SCMP_ACT_NOTIFY") == 0)
		rd_fail(rd, -EOPNOTSUPP, key, "SCMP_ACT_NOTIFY is not supported yet");
	action->what = (enum ct_seccomp_do)rd_word(rd, key, name, action_names);
	if (rd_u32(rd, j, number, 4095, &n) && action->what != CT_SECCOMP_ERRNO &&
	    action->what != CT_SECCOMP_TRACE)
		rd_fail(rd, -EINVAL, number, "makes no sense with %s", name);
	action->number = (uint16_t)n;
}

static void read_arg(struct reader *rd, const struct json *j, void *element)
{
	struct ct_seccomp_arg *arg = element;

	rd_need(rd, j, "op", &arg->op);
	if (!rd_u32(rd, j, "index", 5, &arg->index) || !rd_u64(rd, j, "value", &arg->value))
		rd_fail(rd, -EINVAL, NULL, "index and value are needed");
	rd_u64(rd, j, "valueTwo", &arg->value_two);
}

static void read_rule(struct reader *rd, const struct json *j, void *element)
{
	struct ct_seccomp_rule *rule = element;

	rd_strs(rd, j, "names", &rule->names);
	if (!rule->names.n)
		rd_fail(rd, -EINVAL, "names", "is missing or empty");
	read_action(rd, j, "action", "errnoRet", &rule->action);
	rd_list(rd, j, "args", sizeof(*rule->args), read_arg, &rule->args, &rule->nr_args);
}

void rd_seccomp(struct reader *rd, const struct json *j, struct ct_seccomp *s)
{
	const char *listener = NULL;

	read_action(rd, j, "defaultAction", "defaultErrnoRet", &s->by_default);
	rd_strs(rd, j, "architectures", &s->architectures);
	rd_strs(rd, j, "flags", &s->flags);
	rd_str(rd, j, "listenerPath", &listener);
	if (listener && listener[0])
		rd_fail(rd, -EOPNOTSUPP, "listenerPath", "is not supported yet");
	rd_list(rd, j, "syscalls", sizeof(*s->rules), read_rule, &s->rules, &s->nr_rules);
}
