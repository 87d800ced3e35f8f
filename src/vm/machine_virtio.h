/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_VIRTIO_H
#define VM_MACHINE_VIRTIO_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/iothread.h"
#include "vm/machine.h"
#include "vm/virtio/pci.h"

/*
 * The virtio devices of a machine, on PCI slots from MACHINE_VIRTIO_SLOT on in the order in which they were made, and
 * the thread that does their work.
 */
enum { MACHINE_VIRTIO_SLOT = 8, MACHINE_VIRTIO_MAX = 22 };

struct machine_unit {
	struct virtio_pci pci;
	char name[24]; /* "virtio-blk 0" */
	void *device;  /* of @done's type; freed after it */
	void (*done)(void *device);
};

struct machine_virtio {
	struct iothread io;
	struct machine_unit *unit[MACHINE_VIRTIO_MAX];
	unsigned int nr;
	struct virtio_balloon *balloon;		     /* a unit's, or NULL */
	struct virtio_blk *disk[MACHINE_VIRTIO_MAX]; /* units', in the order of the configuration */
	unsigned int nr_disks;
	bool is_made;
};

/* machine_virtio_init - make what @cfg names. Returns 0, or negative; machine_virtio_done() undoes it. */
_nodiscard_ int machine_virtio_init(struct machine_virtio *v, const struct board *board,
				    struct pci_bus *bus, const struct machine_config *cfg,
				    struct err *err);
void machine_virtio_done(struct machine_virtio *v);

/* machine_virtio_start - the I/O thread begins to work. Returns 0; -EAGAIN. machine_virtio_stop - it ends; no vCPU
 * runs any more. */
_nodiscard_ int machine_virtio_start(struct machine_virtio *v, struct err *err);
void machine_virtio_stop(struct machine_virtio *v);

/* machine_virtio_reset - all devices as after power-on; waits for requests in flight. No vCPU runs. */
void machine_virtio_reset(struct machine_virtio *v);

/* machine_virtio_stats - append a table, or the elements of a JSON array. Thread: any. */
void machine_virtio_stats(struct machine_virtio *v, bool json, struct strbuf *out);

#endif
