/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_I8042_H
#define VM_DEV_I8042_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"
#include "vm/dev/ps2_mouse.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * The keyboard controller (Intel 8042 as in the IBM AT) at ports 0x60 and 0x64 with an AT keyboard, a
 * mouse, and port 0x92. Keys come from i8042_key(), movements from i8042_mouse(), if there is a viewer; guests also reset
 * the machine by command 0xfe. A20 is always on.
 */
enum { I8042_QUEUE = 16, I8042_KEYS = 256 };

struct i8042 {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range data, cmd, port92;
	struct irq_line kbd_irq, aux_irq;
	const struct machine_events *events;
	uint8_t status, ctr; /* status register; controller command byte */
	uint8_t outport;
	uint8_t pending_cmd; /* controller command that waits for its data byte; 0: none */
	uint8_t kbd_cmd;     /* keyboard command that waits for its data byte; 0: none */
	bool scanning;
	uint8_t scancode_set;
	uint8_t ram[32];
	struct i8042_byte {
		uint8_t byte;
		bool aux;
	} queue[I8042_QUEUE];
	unsigned int head, n;
	struct i8042_key {
		uint8_t code;
		bool extended, is_down;
	} keys[I8042_KEYS]; /* typed, and not in the queue yet */
	unsigned int keys_head, keys_n;
	struct ps2_mouse mouse;
	bool is_mouses_turn;
	uint8_t last; /* what port 0x60 shows when nothing waits */
};

/* i8042_init - the controller at its ports, keyboard on GSI 1, mouse on GSI 12. Uses of @board: pio, irqs, events.
 * Returns 0, or what bus_add() says. */
_nodiscard_ int i8042_init(struct i8042 *k, const struct board *board, struct err *err);
void i8042_done(struct i8042 *k);
void i8042_reset(struct i8042 *k);

/*
 * i8042_key - a key goes down or up.
 *
 * The keyboard sends a key when the guest has read everything before it, and holds 256 of them for it.
 *
 * @code: of scan code set 1 (0x01 to 0x7f); @extended: with the prefix e0. Lost when nobody scans, or behind more keys than
 * that. Thread: any.
 */
void i8042_key(struct i8042 *k, uint8_t code, bool extended, bool is_down);

/* i8042_mouse - ps2_mouse_move(). Thread: any. */
void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, uint8_t buttons);

/* i8042_state - what a snapshot keeps of it. */
extern const struct state_desc i8042_state;

#endif
