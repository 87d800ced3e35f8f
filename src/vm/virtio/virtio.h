/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_VIRTIO_H
#define VM_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/iothread.h"
#include "vm/virtio/queue.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * A virtio device without its transport: status, features, queues, configuration space (OASIS virtio 1.2, 2.1 to
 * 2.5 and 3.1). A device embeds struct virtio_dev and fills struct virtio_ops; a transport (pci.h, mmio.h) turns
 * register accesses into the functions below, and interrupts into those of the bus.
 *
 * Threads: registers are served on vCPUs' threads, work is done by ops->run() on the I/O thread; both under
 * @lock. A notification takes no lock: it marks the queue and wakes the I/O thread.
 *
 * Locks: @lock comes before those of the transport and of interrupt controllers.
 */
struct virtio_dev;

enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

enum {
	VIRTIO_CONFIG_MAX = 128, /* bytes of configuration space */
	VIRTIO_MAX_QUEUES = 64,
	VIRTIO_BATCH = 256,    /* chains of a queue that are served before others have their turn */
	VIRTIO_BATCH_HERE = 4, /* the same on the thread of a vCPU, which has other work */
};

/* Offered by every device. */
#define VIRTIO_COMMON_FEATURES                                                                     \
	(UINT64_C(1) << VIRTIO_F_INDIRECT_DESC | UINT64_C(1) << VIRTIO_F_EVENT_IDX |               \
	 UINT64_C(1) << VIRTIO_F_VERSION_1)

struct virtio_ops {
	const char *name; /* "virtio-blk" */
	uint16_t id;	  /* device type (5) */
	bool is_quick; /* a few chains take less than waking a thread: run() is called on vCPU threads, too */
	/* Queues of mask @kicked may have something; 0 while the driver does not run the device. Also called when
	 * the device queued its task for something else; not while the bus denies access to memory, which every queue is
	 * looked at after. I/O thread, or somebody in its place (iothread_enter()). */
	void (*run)(struct virtio_dev *d, uint64_t kicked);
	/* The driver is ready (DRIVER_OK was set). vCPU thread. May be NULL. */
	void (*started)(struct virtio_dev *d);
	/* Give back (virtio_abandon()) each chain whose memory nobody is using, and forget the driver's settings.
	 * Chains that are in use are given back when they are not any more. */
	void (*reset)(struct virtio_dev *d);
	/* The driver wrote [off, off + n) of d->config, which has the new bytes; only what config_wmask allows
	 * has changed. May be NULL. */
	void (*config_written)(struct virtio_dev *d, unsigned int off, unsigned int n);
	/* No vCPU and no I/O thread runs, and the machine is being saved: finish what is in flight, as far as the driver's memory may
	 * be accessed, or put it back into its ring (virtio_unpop()), from where it is taken again. May be NULL. */
	void (*settle)(struct virtio_dev *d);
	/* What a snapshot keeps of the device around the virtio_dev, which is its first member; NULL: nothing. */
	const struct state_desc *state;
	const char *unsaved; /* why it cannot be saved; NULL: it can */
	/* Driver and device are as a snapshot says, the configuration space, too: say anew in it what is this device's own to
	 * say. No vCPU and no I/O thread runs. May be NULL. */
	void (*restored)(struct virtio_dev *d);
	/* Does the device work with these features? NULL: with all that it offers. */
	bool (*accepts)(const struct virtio_dev *d, uint64_t features);
};

struct virtio_transport {
	/* Tell the driver: a queue's vector, or VIRTQ_NO_VECTOR for a change of the configuration. */
	void (*queue_interrupt)(void *arg, const struct virtq *q);
	void (*config_interrupt)(void *arg);
	/* The device was reset: forget vectors and pending interrupts. */
	void (*reset)(void *arg);
	/* Whether the guest lets the device access its memory, when the bus has a say in it; NULL: always. Changes are told by
	 * virtio_master_changed(). */
	const _Atomic bool *is_master;
	void *arg;
};

struct virtio_dev {
	const struct virtio_ops *ops;
	const char *name; /* for people; "virtio-blk" */
	const struct virtio_transport *transport;
	struct iothread *io;
	struct io_task task;
	_Atomic uint64_t kicked; /* queues that were notified */

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t idle;  /* a reset is done */
	unsigned int batch;   /* looks into a queue before others have their turn */
	uint64_t features;    /* offered */
	uint64_t accepted;
	uint32_t features_sel, accepted_sel;
	uint8_t status;
	uint8_t generation; /* of the configuration space */
	bool is_resetting;  /* until no chain is in flight */
	uint8_t config[VIRTIO_CONFIG_MAX], config_wmask[VIRTIO_CONFIG_MAX];
	unsigned int config_len;
	unsigned int nr_queues;
	struct virtq *q;

	uint64_t nr_chains, nr_bytes_in, nr_bytes_out; /* from and to the driver's memory */
	uint64_t nr_interrupts, nr_broken;
	_Atomic uint64_t nr_kicks;
};

/*
 * virtio_init - a device with @nr_queues queues of at most @queue_size descriptors each.
 *
 * @features: of the device's type; the common ones are added
 * @mem, @io: live longer
 * The device then fills config, config_len and config_wmask. virtio_done() ends it.
 */
void virtio_init(struct virtio_dev *d, const struct virtio_ops *ops, const struct physmem *mem,
		 struct iothread *io, unsigned int nr_queues, uint16_t queue_size,
		 uint64_t features);
/* virtio_done - no transport any more, nothing in flight, the I/O thread does not run the device. */
void virtio_done(struct virtio_dev *d);
/* virtio_reset_wait - reset, and wait until nothing is in flight. Not on the I/O thread. */
void virtio_reset_wait(struct virtio_dev *d);

/* --- for transports; each takes the lock ------------------------------------------------------------------- */

/* virtio_soon - let ops->run() look, here and now when the device is quick and the I/O thread sleeps, else there.
 * With no lock held that the device takes. Thread: any. */
void virtio_soon(struct virtio_dev *d);
/* virtio_kick - the driver notified queue @n; numbers that do not exist are ignored.
 * As virtio_soon(). */
void virtio_kick(struct virtio_dev *d, unsigned int n);

/*
 * virtio_master_changed - transport->is_master may have changed. When the device has lost its right, no callback of it
 * accesses the driver's memory after the call; what a disk or a server is at work with may still arrive there. When it has got
 * it, every queue is looked at. With no lock held that the device takes. Thread: any.
 */
void virtio_master_changed(struct virtio_dev *d);

/* virtio_status, virtio_set_status - the status register. Writing 0 resets; the status is 0 once that is done. */
uint8_t virtio_status(struct virtio_dev *d);
void virtio_set_status(struct virtio_dev *d, uint8_t status);

/* The feature registers: 32 bits of what is offered, or accepted, by number. */
enum virtio_reg {
	VIRTIO_REG_FEATURES_SEL,
	VIRTIO_REG_FEATURES,
	VIRTIO_REG_ACCEPTED_SEL,
	VIRTIO_REG_ACCEPTED,
	VIRTIO_REG_GENERATION,
};
uint32_t virtio_reg_read(struct virtio_dev *d, enum virtio_reg reg);
void virtio_reg_write(struct virtio_dev *d, enum virtio_reg reg, uint32_t value);

/* Registers of queue @n; a queue that does not exist reads as 0. Writes to one that is enabled are ignored, but
 * for the vector; an address has two halves. */
enum virtio_queue_reg {
	VIRTIO_QUEUE_MAX_SIZE,
	VIRTIO_QUEUE_SIZE,
	VIRTIO_QUEUE_VECTOR,
	VIRTIO_QUEUE_ENABLE,
	VIRTIO_QUEUE_DESC,
	VIRTIO_QUEUE_DESC_HIGH,
	VIRTIO_QUEUE_DRIVER,
	VIRTIO_QUEUE_DRIVER_HIGH,
	VIRTIO_QUEUE_DEVICE,
	VIRTIO_QUEUE_DEVICE_HIGH,
};
uint32_t virtio_queue_read(struct virtio_dev *d, unsigned int n, enum virtio_queue_reg reg);
void virtio_queue_write(struct virtio_dev *d, unsigned int n, enum virtio_queue_reg reg,
			uint32_t value);

/* virtio_config_read, virtio_config_write - @size 1, 2, 4, 8 bytes of configuration space at @off; outside of it
 * reads give zeros and writes nothing. */
uint64_t virtio_config_read(struct virtio_dev *d, uint64_t off, unsigned int size);
void virtio_config_write(struct virtio_dev *d, uint64_t off, unsigned int size, uint64_t value);

/* --- for devices; under the lock ----------------------------------------------------------------------------- */

/* virtio_has - whether the driver accepted feature bit @bit. */
static inline bool virtio_has(const struct virtio_dev *d, unsigned int bit)
{
	return d->accepted >> bit & 1;
}

/* virtio_is_running - whether the driver runs the device. */
static inline bool virtio_is_running(const struct virtio_dev *d)
{
	return (d->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK &&
	       !d->is_resetting;
}

/* virtio_may_access - whether the bus lets the device access the driver's memory. Nothing but ops->run() need ask: that is
 * not called meanwhile, but for a reset, whose chains are given back without a touch. */
static inline bool virtio_may_access(const struct virtio_dev *d)
{
	return !d->transport || !d->transport->is_master ||
	       atomic_load_explicit(d->transport->is_master, memory_order_relaxed);
}

/*
 * virtio_pop - take the next chain, or see to it that the driver notifies us of it.
 *
 * @n: counts the calls of one round, from 0: after VIRTIO_BATCH of them the device has its turn again later
 * A bad ring is virtio_fail(). Returns whether there is a chain.
 */
_nodiscard_ bool virtio_pop(struct virtio_dev *d, struct virtq *q, struct virtq_chain *c,
			    unsigned int *n);
/* virtio_push - virtq_push() of one chain, or virtq_abandon() during a reset. The driver is told by virtio_signal(). */
void virtio_push(struct virtio_dev *d, struct virtq_chain *c, uint32_t written);
/* virtio_push_all - virtio_push() of @nr chains of one queue that belong together: the driver sees all or none. */
void virtio_push_all(struct virtio_dev *d, struct virtq_chain *c, const uint32_t *written,
		     unsigned int nr);
/* virtio_abandon - virtq_abandon(). */
void virtio_abandon(struct virtio_dev *d, struct virtq_chain *c);
/* virtio_signal - interrupt the driver for what was pushed to @q, if it wants that. */
void virtio_signal(struct virtio_dev *d, struct virtq *q);
/* virtio_again - let run() be called again for queue @n: a batch was done, and there may be more. */
void virtio_again(struct virtio_dev *d, unsigned int n);
/* virtio_config_changed - the device changed its configuration space. */
void virtio_config_changed(struct virtio_dev *d);
/* virtio_fail - the driver broke the rules: the device stops and asks for a reset; counted, and logged at most ten
 * times a second. */
void virtio_fail(struct virtio_dev *d, const char *why);

/* virtio_unpop - put the chain that was popped last from its queue back, if it is in flight. */
void virtio_unpop(struct virtio_dev *d, struct virtq_chain *c);

/*
 * virtio_settle - nothing is in flight afterwards, as the state of a snapshot wants it. No vCPU and no I/O thread runs.
 *
 * Returns 0; -EBUSY, -EOPNOTSUPP: why it cannot be saved now, or at all. virtio_unsettle - go on: every queue is looked at.
 */
_nodiscard_ int virtio_settle(struct virtio_dev *d, struct err *err);
void virtio_unsettle(struct virtio_dev *d);

/* virtio_print_stats - append what the device did, as text or as a JSON object. Thread: any. */
void virtio_print_stats(struct virtio_dev *d, bool json, struct strbuf *out);

/* virtio_dev_state - what a snapshot keeps of it. */
extern const struct state_desc virtio_dev_state;

#endif
