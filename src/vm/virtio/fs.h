/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_FS_H
#define VM_VIRTIO_FS_H

#include "vm/virtio/virtio.h"

/*
 * A file system device (virtio 1.2, 5.11): FUSE messages between the guest and a process that serves a folder, at the other
 * end of a stream socket.
 */
enum {
	VIRTIO_FS_TAG = 36,			   /* bytes of a name */
	VIRTIO_FS_SLOTS = 64,			   /* messages under way */
	VIRTIO_FS_MESSAGE = (1 << 20) + (8 << 10), /* bytes of one, either way */
};

struct virtio_fs_slot {
	struct virtq_chain chain; /* in flight while chain.q is set */
	uint64_t unique;	  /* ours */
	uint8_t guest_unique[8];  /* the guest's, as it came */
};

struct virtio_fs {
	struct virtio_dev dev;
	struct io_watch watch; /* of the socket */
	uint64_t epoch;	       /* counts resets: answers to messages of before are thrown away */
	struct virtio_fs_slot slot[VIRTIO_FS_SLOTS];

	/* The message that is being sent: none while tx_sent == tx_n. */
	uint8_t *tx;
	size_t tx_n, tx_sent;

	/* The answer that is being received: its header, then its rest into @rx_slot, or to nobody. */
	uint8_t head[16];
	size_t head_n;
	struct virtio_fs_slot *rx_slot;
	uint32_t rx_off, rx_left;
	bool rx_too_long; /* the guest has less room */
	struct iovec iov[VIRTQ_MAX_IOV];
};

struct virtio_fs_config {
	int fd;		 /* stream socket, the caller's; does not block */
	const char *tag; /* 1 to 36 bytes */
};

/* virtio_fs_init - Returns 0 or negative. virtio_fs_done() after its transport's end. */
_nodiscard_ int virtio_fs_init(struct virtio_fs *f, const struct virtio_fs_config *cfg,
			       const struct physmem *mem, struct iothread *io, struct err *err);
void virtio_fs_done(struct virtio_fs *f);

#endif
