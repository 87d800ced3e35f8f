/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_VSOCK_H
#define ATOLL_CMD_VM_VSOCK_H

#include "base/attr.h"
#include "base/err.h"
#include "vm/machine.h"

/* The host's side of a machine's --vsock. */
struct vm_vsock {
	char path[96]; /* "": none */
	int fd;	       /* listens there; negative: none */
};

/*
 * vm_vsock_open - listen where "cid=N[,path=PATH]" says; NULL: nothing is done.
 *
 * @v:   { .fd = -EBADF }; vm_vsock_close() also after a failure
 * @ret: points into @v
 * Returns 0; -EINVAL; those of bind(2): a socket whose program is gone is replaced, any other file is not. Thread: the
 * first.
 */
_nodiscard_ int vm_vsock_open(struct vm_vsock *v, const char *spec, struct machine_vsock *ret,
			      struct err *err);
void vm_vsock_close(struct vm_vsock *v);

#endif
