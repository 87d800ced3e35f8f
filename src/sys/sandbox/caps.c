/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capabilities: none, or those few that a helper works with, and no way to get one. By the system calls themselves: clearing
 * bits needs no library.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/sandbox/sandbox_priv.h"

int sandbox_no_new_privileges(struct err *err)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? err_set_errno(err, "no_new_privs") : 0;
}

int sandbox_drop_capabilities(uint64_t keep, struct err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	/* The bounding set needs a capability; who has none cannot get any past no_new_privs. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EPERM)
			return err_set_errno(err, "drop capability %lu", cap);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return err_set_errno(err, "drop ambient capabilities");
	if (syscall(SYS_capget, &head, caps) < 0)
		return err_set_errno(err, "look at capabilities");
	for (unsigned int k = 0; k < _LINUX_CAPABILITY_U32S_3; k++) {
		caps[k].permitted &= (uint32_t)(keep >> (32 * k));
		caps[k].effective = caps[k].permitted;
		caps[k].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, caps) < 0)
		return err_set_errno(err, "drop capabilities");
	return 0;
}
