/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who the container's program is: limits, user, capabilities, filter. The order is what the kernel's rules leave: the bounding
 * set while there is CAP_SETPCAP, the user with capabilities kept, then exactly the sets that were asked for; a filter without
 * no_new_privs needs CAP_SYS_ADMIN and comes before they go.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/container_priv.h"

int rights_limit(const struct ct_process *p, struct strbuf *warnings, struct err *err)
{
	for (size_t i = 0; i < p->nr_rlimits; i++) {
		const struct ct_rlimit *limit = &p->rlimits[i];
		struct rlimit l = { .rlim_cur = limit->soft, .rlim_max = limit->hard }, now;
		__rlimit_resource_t resource = (__rlimit_resource_t)limit->resource;

		if (setrlimit(resource, &l) == 0)
			continue;
		if (errno != EPERM || getrlimit(resource, &now) < 0)
			return err_set_errno(err, "process.rlimits[%zu]", i);
		/* As far as the host lets us raise it. */
		l.rlim_max = MIN(l.rlim_max, now.rlim_max);
		l.rlim_cur = MIN(l.rlim_cur, l.rlim_max);
		if (setrlimit(resource, &l) < 0)
			return err_set_errno(err, "process.rlimits[%zu]", i);
		strbuf_addf(warnings,
			    "process.rlimits[%zu]: the host does not let us raise it above %llu\n",
			    i, (unsigned long long)now.rlim_max);
	}
	return 0;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		if (keep >> cap & 1 || prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		/* Behind the last one that this kernel knows. */
		if (errno == EINVAL)
			break;
		return err_set_errno(err, "drop capability %lu", cap);
	}
	return 0;
}

/* Bits that this process cannot have any more (the host's own bounding set) are left out. */
static int set_caps(const struct ct_caps *want, struct err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (syscall(SYS_capget, &head, data) < 0)
		return err_set_errno(err, "look at capabilities");
	for (unsigned int k = 0; k < _LINUX_CAPABILITY_U32S_3; k++) {
		uint32_t has = data[k].permitted;

		data[k].permitted = (uint32_t)(want->permitted >> (32 * k)) & has;
		data[k].effective = (uint32_t)(want->effective >> (32 * k)) & has;
		data[k].inheritable = (uint32_t)(want->inheritable >> (32 * k)) & has;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return err_set_errno(err, "process.capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_set_errno(err, "clear ambient capabilities");
	/* One that is not permitted and inheritable cannot be: runtimes agree to pass over it. */
	for (unsigned long cap = 0; cap < 64; cap++)
		if (want->ambient >> cap & 1)
			ignore_result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
	return 0;
}

static int set_user(const struct ct_process *p, struct err *err)
{
	/* Standard streams that are nobody's else are the user's: /dev/stdout can be opened again. */
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;

		if (p->uid && fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode) && st.st_uid == 0)
			ignore_result(fchown(fd, p->uid, (gid_t)-1)); /* a convenience */
	}
	if (setgroups(p->nr_groups, p->groups) < 0 && !(errno == EPERM && !p->nr_groups))
		return err_set_errno(err, "process.user.additionalGids");
	if (setresgid(p->gid, p->gid, p->gid) < 0)
		return err_set_errno(err, "process.user.gid");
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		return err_set_errno(err, "process.user.uid");
	return 0;
}

int rights_drop(const struct ct_process *p, const struct ct_filter *filter, struct err *err)
{
	int r = 0;

	if (!p->no_new_privileges)
		r = filter_install(filter, err);
	if (r == 0)
		r = drop_bounding(p->caps.bounding, err);
	if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = err_set_errno(err, "keep capabilities");
	if (r == 0)
		r = set_user(p, err);
	if (r == 0)
		r = set_caps(&p->caps, err);
	if (r == 0 && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		r = err_set_errno(err, "keep capabilities no longer");
	if (r == 0 && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_set_errno(err, "process.noNewPrivileges");
	return r;
}
