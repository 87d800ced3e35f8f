/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_VIRTIO_H
#define VM_MACHINE_VIRTIO_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/clipboard.h"
#include "vm/iothread.h"
#include "vm/machine.h"
#include "vm/virtio/mmio.h"
#include "vm/virtio/pci.h"

/*
 * The virtio devices of a machine, each in a PCI slot of its own from MACHINE_VIRTIO_SLOT on, and the thread that does their
 * work; on a board without PCI, the slots are windows. Disks and network devices have numbers of their own from 0 on, and may come and go; the lowest free slot and number
 * are taken, so those of the start are in the order in which they were made.
 *
 * Devices come and go under machine.control; who looks at them while the machine runs holds it.
 */
enum { MACHINE_VIRTIO_SLOT = 8, MACHINE_VIRTIO_MAX = 22 };
#define MACHINE_VIRTIO_SLOTS                                                                       \
	(((UINT32_C(1) << MACHINE_VIRTIO_MAX) - 1) << MACHINE_VIRTIO_SLOT) /* as a mask */

enum machine_unit_kind { UNIT_FIXED, UNIT_DISK, UNIT_NET };

struct machine_unit {
	struct virtio_dev *dev;
	struct virtio_pci pci;	 /* its transport on a board with PCI */
	struct virtio_mmio mmio; /* and without */
	char name[24];		 /* "virtio-blk 0" */
	enum machine_unit_kind kind;
	unsigned int number, slot;
	bool is_asked; /* the guest is to let it go */
	bool is_late;  /* attached while the machine ran */
	void *device;  /* of @done's type; freed after it */
	void (*done)(void *device);
	struct machine_release
		release; /* of what is behind the device; not for those that are fixed */
};

struct machine_virtio {
	const struct board *board;
	struct pci_bus *bus; /* NULL: a board without PCI */
	struct iothread io;
	struct machine_unit *unit[MACHINE_VIRTIO_MAX]; /* by slot; NULL: none there */
	struct virtio_balloon *balloon;		       /* a unit's, or NULL */
	struct virtio_input *tablet;		       /* a unit's, or NULL */
	struct clipboard *clipboard;		       /* behind a port of the console, or NULL */
	struct virtio_blk *disk[MACHINE_VIRTIO_MAX];   /* units', by number; NULL: none */
	bool is_made;
};

/* machine_virtio_init - make what @cfg names. Returns 0, or negative; machine_virtio_done() undoes it. */
_nodiscard_ int machine_virtio_init(struct machine_virtio *v, const struct board *board,
				    struct pci_bus *bus, const struct machine_config *cfg,
				    struct err *err);
void machine_virtio_done(struct machine_virtio *v);

/*
 * machine_virtio_add_disk, machine_virtio_add_net - one more device.
 *
 * @ret: stays ours; NULL: not wanted. Returns 0; -ENOSPC (no free slot); as virtio_net_init(). Then what is behind the
 * device stays the caller's, and is not released.
 */
_nodiscard_ int machine_virtio_add_disk(struct machine_virtio *v, const struct machine_disk *disk,
					struct machine_unit **ret, struct err *err);
_nodiscard_ int machine_virtio_add_net(struct machine_virtio *v, const struct machine_net *net,
				       struct machine_unit **ret, struct err *err);

/*
 * machine_virtio_remove - take a disk or network device off the board, when what is in flight is done. Its queues may run
 * until then; no vCPU does.
 *
 * Returns by what its back end is to be released.
 */
_nodiscard_ struct machine_release machine_virtio_remove(struct machine_virtio *v,
							 struct machine_unit *u);

/* machine_release - tell the owner. Thread: as of struct machine_release. */
static inline void machine_release(const struct machine_release *r)
{
	if (r->fn)
		r->fn(r->owner);
}

/* machine_virtio_slots - the slots that have a device, as a mask. machine_virtio_fixed - those whose device cannot go. */
uint32_t machine_virtio_slots(const struct machine_virtio *v);
uint32_t machine_virtio_fixed(const struct machine_virtio *v);

/* machine_virtio_start - the I/O thread begins to work. Returns 0; -EAGAIN. machine_virtio_stop - it ends; no vCPU
 * runs any more. */
_nodiscard_ int machine_virtio_start(struct machine_virtio *v, struct err *err);
void machine_virtio_stop(struct machine_virtio *v);

/* machine_virtio_reset - all devices as after power-on; waits for requests in flight. No vCPU runs. */
void machine_virtio_reset(struct machine_virtio *v);

/* machine_virtio_stats - append a table, or the elements of a JSON array. Thread: any. */
void machine_virtio_stats(struct machine_virtio *v, bool json, struct strbuf *out);

#endif
