/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A viewer says where its pointer is, a mouse only how far it went. The difference of two places is the movement; what
 * that cannot know is where the guest's pointer is, since the guest may accelerate it or put it elsewhere. Both meet at
 * the edges. A wheel is two buttons there, each press a step.
 */
#include "display/pointer.h"

#include "base/attr.h"

static int towards_edge(int d, int at, int last)
{
	if (at <= 0)
		return d - last;
	return at >= last ? d + last : d;
}

struct pointer_move pointer_follow(struct pointer *p, int x, int y, uint8_t mask,
				   unsigned int width, unsigned int height)
{
	int last_x = (int)width - 1, last_y = (int)height - 1;
	uint8_t pressed = mask & (uint8_t)~p->mask;
	struct pointer_move m;

	x = MIN(MAX(x, 0), last_x);
	y = MIN(MAX(y, 0), last_y);
	m = (struct pointer_move){
		.dx = towards_edge(p->is_known ? x - p->x : 0, x, last_x),
		.dy = towards_edge(p->is_known ? y - p->y : 0, y, last_y),
		.dz = !!(pressed & POINTER_WHEEL_DOWN) - !!(pressed & POINTER_WHEEL_UP),
		.left = mask & POINTER_LEFT,
		.middle = mask & POINTER_MIDDLE,
		.right = mask & POINTER_RIGHT,
		.back = mask & POINTER_BACK,
	};
	*p = (struct pointer){ .is_known = true, .x = x, .y = y, .mask = mask };
	return m;
}
