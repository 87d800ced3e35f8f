/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISPLAY_POINTER_H
#define ATOLL_DISPLAY_POINTER_H

#include <stdbool.h>
#include <stdint.h>

/* What a mouse would have done for a viewer's pointer to be where it is. */
struct pointer {
	bool is_known; /* where it was */
	int x, y;
	uint8_t mask;
};

/* Buttons of a viewer's pointer (RFB, PointerEvent). */
enum {
	POINTER_LEFT = 0x01,
	POINTER_MIDDLE = 0x02,
	POINTER_RIGHT = 0x04,
	POINTER_WHEEL_UP = 0x08,
	POINTER_WHEEL_DOWN = 0x10,
	POINTER_BACK = 0x80,
};

struct pointer_move {
	int dx, dy, dz; /* right, down, wheel towards the user */
	bool left, middle, right, back;
};

/*
 * pointer_follow - from a place and buttons to a movement.
 *
 * At an edge of the screen the movement goes on beyond it: a guest that accelerates its mouse has its pointer elsewhere, and
 * at an edge both are in the same place again.
 *
 * @p:              zeroed before the first
 * @x, @y:          may lie outside the screen; is taken as its nearest place
 * @width, @height: of the screen, at least 1
 */
struct pointer_move pointer_follow(struct pointer *p, int x, int y, uint8_t mask,
				   unsigned int width, unsigned int height);

#endif
