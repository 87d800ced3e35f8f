/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_PS2_MOUSE_H
#define VM_DEV_PS2_MOUSE_H

#include <stdbool.h>
#include <stdint.h>

struct state_desc; /* vm/snapshot/state.h */

/*
 * A PS/2 mouse with a wheel and five buttons: Microsoft's IntelliMouse and its Explorer, which a driver finds by their
 * knock. Bytes in, bytes out; who moves it and who reads it take care of locks and of the wire (i8042).
 */
enum { PS2_MOVES = 64, PS2_REPLY_MAX = 5, PS2_PACKET_MAX = 4 };

/* Buttons, as a set. */
enum {
	PS2_LEFT = 0x01,
	PS2_RIGHT = 0x02,
	PS2_MIDDLE = 0x04,
	PS2_SIDE = 0x08,
	PS2_EXTRA = 0x10,
	PS2_BUTTONS = 0x1f,
};

struct ps2_mouse {
	bool is_reporting, is_remote, is_wrapped, is_doubled;
	uint8_t rate, resolution, id;
	uint8_t knock[2]; /* the rates set before the last one */
	uint8_t command;  /* that waits for its parameter; 0: none */
	uint8_t buttons;  /* as they are */
	uint8_t told;	  /* as the last packet said */
	struct ps2_move {
		int dx, dy, dz; /* right, down, towards the user */
		uint8_t buttons;
		bool is_click; /* something was pressed or let go here */
	} moves[PS2_MOVES];    /* that wait for a packet, or for the rest of theirs */
	unsigned int head, n;
};

/* ps2_mouse_reset - as after power-on: silent, a mouse of three buttons until it hears the knock. */
void ps2_mouse_reset(struct ps2_mouse *m);

/*
 * ps2_mouse_write - a byte for the mouse.
 *
 * @reply: PS2_REPLY_MAX bytes, what it answers
 * Returns how many those are.
 */
unsigned int ps2_mouse_write(struct ps2_mouse *m, uint8_t byte, uint8_t *reply);

/*
 * ps2_mouse_move - it is moved and its buttons are now these.
 *
 * Movements add up while they wait, but none with a click before it: a guest that reads slowly loses no distance, and no
 * click before PS2_MOVES entries wait, and finds each where it was made. What happens while it is silent is not told later.
 *
 * @dx, @dy, @dz: counts to the right, down, and of the wheel towards the user
 */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons);

/*
 * ps2_mouse_packet - the next packet that it sends by itself.
 *
 * @ret: PS2_PACKET_MAX bytes
 * Returns their number, 0: there is nothing to tell.
 */
unsigned int ps2_mouse_packet(struct ps2_mouse *m, uint8_t *ret);

/* ps2_mouse_state - what a snapshot keeps of it. */
extern const struct state_desc ps2_mouse_state;

#endif
