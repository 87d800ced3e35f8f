/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_BLK_H
#define VM_VIRTIO_BLK_H

#include "base/list.h"
#include "disk/disk.h"
#include "vm/virtio/virtio.h"

/*
 * A block device (virtio 1.2, 5.2) over a disk: several queues, flush, discard, write zeroes, a serial number, a
 * write cache that the driver may switch off, and a size that may change.
 */
enum { VIRTIO_BLK_SERIAL = 20, VIRTIO_BLK_REQUESTS = 256 };

struct virtio_blk_request;

struct virtio_blk {
	struct virtio_dev dev;
	struct disk *disk;
	bool is_readonly;
	char serial[VIRTIO_BLK_SERIAL];
	struct virtio_blk_request *requests; /* room for VIRTIO_BLK_REQUESTS */
	unsigned int nr_used;		     /* how many were ever needed: the rest costs nothing */
	struct list free;
	uint64_t starved; /* queues that have chains for which there was no request */

	pthread_mutex_t done_lock; /* guards the next; innermost */
	struct list done;	   /* requests that the disk has completed */
	_Atomic uint64_t nr_errors;
};

struct virtio_blk_config {
	struct disk *disk;	/* the caller's, lives longer; disk_async_start() was called */
	const char *serial;	/* NULL or up to 20 bytes; the rest is not shown */
	unsigned int nr_queues; /* 1 to 16 */
	bool packed;		/* offer packed rings */
};

/* virtio_blk_init - writable if the disk was opened so. virtio_blk_done() after its transport's end, with nothing in
 * flight. */
void virtio_blk_init(struct virtio_blk *b, const struct virtio_blk_config *cfg,
		     const struct physmem *mem, struct iothread *io);
void virtio_blk_done(struct virtio_blk *b);

/* virtio_blk_resized - the disk has another size now: tell the driver. Thread: any but one that holds the device's
 * lock. */
void virtio_blk_resized(struct virtio_blk *b);

#endif
