/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_NETS_H
#define ATOLL_CMD_VM_NETS_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "sys/child.h"
#include "vm/machine.h"
#include "vm/net/net.h"

/* The network devices of a machine, from its options; user-mode networks are programs of their own. */
enum { VM_NETS_MAX = 8 };

struct vm_net {
	struct machine_net net; /* released to us, which closes it */
	struct net_end end;
	struct child helper;
};

struct vm_nets {
	struct vm_net one[VM_NETS_MAX];
	struct machine_net net[VM_NETS_MAX]; /* of @one */
	unsigned int nr;
	bool must_hold;	 /* helpers do not start where their confinement does not hold */
	bool outlive_us; /* helpers do; they end when the last end of their socket is closed */
};

/*
 * vm_nets_open - open what --net names (see its help).
 *
 * Returns 0, or a negative errno with the story. vm_nets_close() in both cases. Thread: owner, the one that lives as
 * long as the machine: helpers end with it.
 */
_nodiscard_ int vm_nets_open(struct vm_nets *v, const struct opt_list *specs, struct err *err);

/* vm_nets_hand_over - close the ends here, which somebody else has by now; helpers that outlive us go on. Thread: owner. */
void vm_nets_hand_over(struct vm_nets *v);

/* vm_nets_close - close the ends, end the helpers. Thread: owner, after the machine's end. */
void vm_nets_close(struct vm_nets *v);

#endif
