/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_INPUT_H
#define VM_VIRTIO_INPUT_H

#include "vm/virtio/virtio.h"

/*
 * A tablet (virtio 1.2, 5.8): a pointer that says where it is, not how far it went, so that a guest's pointer is where that
 * of who looks at its screen is.
 */
enum { VIRTIO_INPUT_LAST = 0x7fff, VIRTIO_INPUT_FRAMES = 64, VIRTIO_INPUT_EVENTS = 12 };

/* Buttons, as bits. */
enum {
	VIRTIO_INPUT_LEFT = 1 << 0,
	VIRTIO_INPUT_RIGHT = 1 << 1,
	VIRTIO_INPUT_MIDDLE = 1 << 2,
	VIRTIO_INPUT_SIDE = 1 << 3,
	VIRTIO_INPUT_BUTTONS = 4,
};

/* Where the pointer is: 0 to VIRTIO_INPUT_LAST, from the screen's left and upper edge. */
struct virtio_input_frame {
	uint16_t x, y;
	uint8_t buttons;
	int32_t wheel; /* steps away from the user, since the frame before */
};

struct virtio_input {
	struct virtio_dev dev;
	struct virtq_chain chain;
	/* All below under the device's lock. */
	struct virtio_input_frame told; /* what the driver knows; no wheel */
	struct virtio_input_frame frame[VIRTIO_INPUT_FRAMES];
	unsigned int first, nr;		       /* those that wait */
	uint8_t event[VIRTIO_INPUT_EVENTS][8]; /* the rest of the one that is being told */
	unsigned int event_at, nr_events;
};

/* virtio_input_init - @mem and @io live longer; virtio_input_done() after its transport's end. */
void virtio_input_init(struct virtio_input *t, const struct physmem *mem, struct iothread *io);
void virtio_input_done(struct virtio_input *t);

/*
 * virtio_input_point - the pointer is somewhere, with these buttons.
 *
 * Movements that the driver has not taken become one; when it takes nothing for long, so do clicks.
 * Returns false when no driver runs the device: then nobody will hear of it. Thread: any, with no lock held that the device
 * takes.
 */
bool virtio_input_point(struct virtio_input *t, const struct virtio_input_frame *f);

#endif
