/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_CONFINE_H
#define ATOLL_CMD_VM_CONFINE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "cmd/vm_disks.h"

/* vm_confine_prepare - first of all: what is open now is not ours (sandbox_prepare()). Thread: the only one. */
void vm_confine_prepare(void);

/* vm_confine_begin - before anything is opened: threads that are started wait for vm_confine(). Returns 0; -EAGAIN and
 * others of fork(2). Thread: the only one. */
_nodiscard_ int vm_confine_begin(struct err *err);

/*
 * vm_confine - everything is open: give the rights up, and let the threads begin.
 *
 * @must_hold:  refuse where the host does not let all of it be given up; else that is told in the log
 * Returns 0; -EPERM (must_hold); as sandbox_enter() and thread_start(). Thread: the only one.
 */
_nodiscard_ int vm_confine(const struct vm_disks *disks, bool must_hold, struct err *err);

#endif
