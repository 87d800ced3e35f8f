/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_CONSOLE_H
#define VM_VIRTIO_CONSOLE_H

#include "vm/chardev.h"
#include "vm/virtio/virtio.h"

/*
 * A console device (virtio 1.2, 5.3) with several ports, each of which leads to a chardev. Port 0 is a console (hvc0);
 * the others are consoles, or plain channels with a name that the guest finds at /dev/virtio-ports.
 */
enum { VIRTIO_CONSOLE_PORTS = 8, VIRTIO_CONSOLE_BUFFER = 4096, VIRTIO_CONSOLE_NAME = 64 };

struct virtio_console;

struct virtio_console_port {
	struct virtio_console *con;
	unsigned int index;
	struct chardev *cd; /* the caller's */
	bool is_console;
	char name[VIRTIO_CONSOLE_NAME]; /* "": none */
	bool is_open;			/* by the guest; port 0 is without several ports */
	bool is_blocked;		/* cd had no room: wait for writable() */

	/* What came from outside and is not in the guest's buffers yet; under in_lock. */
	pthread_mutex_t in_lock; /* innermost */
	uint8_t in[VIRTIO_CONSOLE_BUFFER];
	uint32_t in_first, in_len;
	bool is_refused; /* cd offered more than there was room for */

	/* The chain that is being written out; in flight while out.q is set. */
	struct virtq_chain out;
	uint32_t out_off;
	uint32_t out_skip; /* of the next chain, which was begun before a snapshot was made */
};

struct virtio_console {
	struct virtio_dev dev;
	unsigned int nr_ports;
	struct virtio_console_port port[VIRTIO_CONSOLE_PORTS];
	struct virtq_chain chain; /* for what is answered at once */
	/* Control messages to the guest that wait for a buffer. */
	uint8_t messages[32 + VIRTIO_CONSOLE_PORTS * 4][8 + VIRTIO_CONSOLE_NAME];
	uint8_t message_len[32 + VIRTIO_CONSOLE_PORTS * 4];
	unsigned int nr_messages;
	uint32_t hung; /* ports, as a mask: the guest was told that our end is closed, and has not closed its own */
};

struct virtio_console_config {
	unsigned int nr_ports; /* 1 to VIRTIO_CONSOLE_PORTS */
	struct {
		struct chardev *cd; /* lives longer */
		const char *name;   /* NULL: a console; else a channel; up to 63 bytes */
	} port[VIRTIO_CONSOLE_PORTS];
};

/* virtio_console_init - attaches itself to the chardevs. virtio_console_done() after its transport's end, with the
 * chardevs' thread stopped. */
void virtio_console_init(struct virtio_console *con, const struct virtio_console_config *cfg,
			 const struct physmem *mem, struct iothread *io);
void virtio_console_done(struct virtio_console *con);

#endif
