/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CONTAINER_CGROUP_PRIV_H
#define ATOLL_CONTAINER_CGROUP_PRIV_H

#include "container/container_priv.h"

/* cgroup_write - a text into a file of a cgroup. Returns 0 or negative errno. Thread: any. */
_nodiscard_ int cgroup_write(const char *folder, const char *file, const char *text);

/* cgroups_limit - set what was asked for, in those hierarchies that have the controller. Returns 0; -EOPNOTSUPP (none has it).
 * Thread: any. */
_nodiscard_ int cgroups_limit(const struct cgroups *cg, const struct ct_resources *res,
			      struct err *err);

/* cgroups_limit_devices - the rules for devices, and those that every container has. @is_rootless: the container has a user
 * namespace. Returns as cgroups_limit(). Thread: any. */
_nodiscard_ int cgroups_limit_devices(const struct cgroups *cg, const struct ct_resources *res,
				      bool is_rootless, struct strbuf *warnings, struct err *err);

#endif
