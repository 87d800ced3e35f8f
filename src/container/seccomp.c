/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A profile as a filter of the kernel. libseccomp knows numbers and architectures; the parent lets it build the program, and the
 * container's first process only installs it, so that nothing of the library runs in there.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "container/container_priv.h"
#include "container/reader_priv.h"
#include "sys/fd.h"

static const struct {
	const char *name;
	enum scmp_compare op;
} ops[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct {
	const char *name;
	unsigned int flag;
} flags[] = {
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* there is one thread */
};

const char *seccomp_op_word(size_t i)
{
	return i < ARRAY_SIZE(ops) ? ops[i].name : NULL;
}

const char *seccomp_flag_word(size_t i)
{
	return i < ARRAY_SIZE(flags) ? flags[i].name : NULL;
}

static uint32_t action_of(const struct ct_seccomp_action *a)
{
	switch (a->what) {
	case CT_SECCOMP_KILL_THREAD:
		return SCMP_ACT_KILL_THREAD;
	case CT_SECCOMP_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case CT_SECCOMP_TRAP:
		return SCMP_ACT_TRAP;
	case CT_SECCOMP_ERRNO:
		return SCMP_ACT_ERRNO(a->number);
	case CT_SECCOMP_TRACE:
		return SCMP_ACT_TRACE(a->number);
	case CT_SECCOMP_LOG:
		return SCMP_ACT_LOG;
	case CT_SECCOMP_ALLOW:
		break;
	}
	return SCMP_ACT_ALLOW;
}

static int compare_of(const char *op, enum scmp_compare *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, op) == 0) {
			*ret = ops[i].op;
			return 0;
		}
	return err_set(err, -EINVAL, "'%.40s' is no comparison", op);
}

/* "SCMP_ARCH_X86_64" is "x86_64" to libseccomp. */
static int add_architecture(scmp_filter_ctx ctx, const char *name, struct err *err)
{
	char lower[32] = "";
	uint32_t arch;
	int r;

	if (str_starts(str_of(name), STR("SCMP_ARCH_")) && strlen(name) < 10 + sizeof(lower))
		for (size_t i = 0; name[10 + i]; i++)
			lower[i] = (char)(name[10 + i] |
					  (name[10 + i] >= 'A' && name[10 + i] <= 'Z' ? 0x20 : 0));
	arch = seccomp_arch_resolve_name(lower);
	if (!arch)
		return err_set(err, -EINVAL, "architectures: '%.40s' is unknown", name);
	r = seccomp_arch_add(ctx, arch);
	return r < 0 && r != -EEXIST ? err_set(err, r, "architectures: '%.40s'", name) : 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct ct_seccomp *s,
		    const struct ct_seccomp_rule *rule, struct err *err)
{
	struct scmp_arg_cmp args[6];
	uint32_t action = action_of(&rule->action);

	if (action == action_of(&s->by_default))
		return 0; /* libseccomp refuses what says nothing */
	if (rule->nr_args > ARRAY_SIZE(args))
		return err_set(err, -EINVAL, "%s: more than 6 arguments", rule->names.v[0]);
	for (size_t i = 0; i < rule->nr_args; i++) {
		int r = compare_of(rule->args[i].op, &args[i].op, err);

		if (r < 0)
			return r;
		args[i].arg = rule->args[i].index;
		args[i].datum_a = rule->args[i].value;
		args[i].datum_b = rule->args[i].value_two;
	}
	for (size_t i = 0; i < rule->names.n; i++) {
		int nr = seccomp_syscall_resolve_name(rule->names.v[i]), r;

		if (nr == __NR_SCMP_ERROR)
			continue; /* of another kernel or architecture */
		r = seccomp_rule_add_array(ctx, action, nr, (unsigned int)rule->nr_args, args);
		if (r < 0 && r != -EEXIST)
			return err_set(err, r, "%.60s: %s", rule->names.v[i], strerrordesc_np(-r));
	}
	return 0;
}

static int read_flags(const struct ct_seccomp *s, unsigned int *ret, struct err *err)
{
	*ret = 0;
	for (size_t i = 0; i < s->flags.n; i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(flags) && strcmp(flags[k].name, s->flags.v[i]) != 0)
			k++;
		if (k == ARRAY_SIZE(flags))
			return err_set(err, -EOPNOTSUPP, "flags: '%.60s' is not supported",
				       s->flags.v[i]);
		*ret |= flags[k].flag;
	}
	return 0;
}

/* libseccomp writes programs to files only. */
static int export(scmp_filter_ctx ctx, struct ct_filter *ret, struct err *err)
{
	_cleanup_(fd_closep) int fd = memfd_create("seccomp", MFD_CLOEXEC);
	_cleanup_(mem_freep) void *code = NULL;
	size_t n;
	int r;

	if (fd < 0)
		return err_set_errno(err, "memory for the filter");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_set(err, r, "build the filter: %s", strerrordesc_np(-r));
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_set_errno(err, "read the filter");
	r = file_read_fd(fd, "the filter", BPF_MAXINSNS * sizeof(struct sock_filter), &code, &n,
			 err);
	if (r < 0)
		return r;
	ret->nr = (unsigned short)(n / sizeof(struct sock_filter));
	ret->code = take_ptr(&code);
	return 0;
}

int filter_build(const struct ct_seccomp *s, struct ct_filter *ret, struct err *err)
{
	struct ct_filter f = { 0 };
	scmp_filter_ctx ctx;
	int r = read_flags(s, &f.flags, err);

	if (r < 0)
		return err_wrap(err, r, "linux.seccomp");
	ctx = seccomp_init(action_of(&s->by_default));
	if (!ctx)
		return err_set(err, -EINVAL, "linux.seccomp: defaultAction");
	for (size_t i = 0; r == 0 && i < s->architectures.n; i++)
		r = add_architecture(ctx, s->architectures.v[i], err);
	for (size_t i = 0; r == 0 && i < s->nr_rules; i++) {
		r = add_rule(ctx, s, &s->rules[i], err);
		if (r < 0)
			err_wrap(err, r, "syscalls[%zu]", i);
	}
	if (r == 0)
		r = export(ctx, &f, err);
	seccomp_release(ctx);
	if (r < 0)
		return err_wrap(err, r, "linux.seccomp");
	*ret = f;
	return 0;
}

int filter_install(const struct ct_filter *f, struct err *err)
{
	const struct sock_fprog program = { .len = f->nr, .filter = f->code };

	if (f->nr && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &program) < 0)
		return err_set_errno(err, "linux.seccomp: install the filter");
	return 0;
}
