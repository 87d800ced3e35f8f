/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_SECCOMP_H
#define ATOLL_SYS_SECCOMP_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

struct sock_filter;

/*
 * System call filters (seccomp), one a kind of thread: calls.def says which calls, kinds.def which kinds. A call that is
 * not allowed ends the process with exit status 128 + SIGSYS, after a line on standard error that names the call and the thread.
 */
enum { SECCOMP_LENGTH_MAX = 480, SECCOMP_STATUS = 159 };

/* How threads that use disks come to NBD servers. */
enum seccomp_servers {
	SECCOMP_NO_SERVERS,
	SECCOMP_SERVERS_BESIDE, /* the process outside connects (outside_reach()) */
	SECCOMP_SERVERS_SOUGHT, /* they do it, and may open files for reading */
};

/*
 * seccomp_begin - each thread that begins from now on has the filter of its kind.
 *
 * @program:  named in the message; static
 * Returns 0; -ENOSYS, -EINVAL (the kernel has no filters). Thread: the only one, with no_new_privs.
 */
_nodiscard_ int seccomp_begin(const char *program, enum seccomp_servers servers, struct err *err);

/* seccomp_enter - the calling thread has the filter of a kind from now on, in addition to those it has; nothing before
 * seccomp_begin(). @name: of a thread. Ends the process when the kernel refuses. Thread: any. */
void seccomp_enter(const char *name);

/*
 * seccomp_compile - a kind's filter as the kernel takes it.
 *
 * @name:  of a thread; an unknown one gives the smallest set
 * @ret:   SECCOMP_LENGTH_MAX instructions
 * Returns how many. Thread: any.
 */
size_t seccomp_compile(const char *name, enum seccomp_servers servers, struct sock_filter *ret);

#endif
