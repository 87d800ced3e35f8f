/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SYS_SANDBOX_PRIV_H
#define SYS_SANDBOX_PRIV_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/sandbox/sandbox.h"

/* The parts of sandbox_enter(), in the order in which they are called. All: a process with one thread. */

/* sandbox_no_new_privileges - exec gives nothing any more; what comes below needs it. Thread: the only one. */
_nodiscard_ int sandbox_no_new_privileges(struct err *err);

/* sandbox_namespaces - own user, mount, network, IPC, host name and cgroup namespaces. Thread: the only one. */
_nodiscard_ int sandbox_namespaces(struct err *err);

/* sandbox_empty_root - a root without a file, after sandbox_namespaces(). Thread: the only one. */
_nodiscard_ int sandbox_empty_root(struct err *err);

/* sandbox_landlock - no path may be opened, made or removed any more, but what a helper keeps (or NULL). Thread: the only
 * one. */
_nodiscard_ int sandbox_landlock(const struct sandbox_keep *keep, struct err *err);

/* sandbox_drop_capabilities - all sets empty but for those of a mask (1 << CAP_CHOWN ...). Thread: the only one. */
_nodiscard_ int sandbox_drop_capabilities(uint64_t keep, struct err *err);

#endif
