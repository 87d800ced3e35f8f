/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a PS/2 mouse answers and sends.
 *
 * It is apart from the controller because it is a small state machine of its own: commands, a knock of three sampling
 * rates that turns it into one with a wheel (200, 100, 80) and then into one with five buttons (200, 200, 80), and
 * movements that become packets. A packet holds 9 bits a direction and 4 or 8 of the wheel; what is more goes into the
 * next one. The sampling rate is remembered and not kept: a packet is sent as soon as the one before it was read, so that
 * no timer runs and nothing arrives late.
 *
 * Absolute positions cannot be told by this protocol; machine_screen.c makes movements of them.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, mouse; Microsoft, "IntelliMouse" and "IntelliMouse Explorer"
 * protocols as drivers know them.
 */
#include "vm/dev/ps2_mouse.h"

#include "base/attr.h"
#include "vm/snapshot/state.h"

enum {
	ACK = 0xfa,
	RESEND = 0xfe,
	SELF_TEST_OK = 0xaa,

	CMD_SCALING_1 = 0xe6,
	CMD_SCALING_2 = 0xe7,
	CMD_RESOLUTION = 0xe8,
	CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea,
	CMD_READ = 0xeb,
	CMD_UNWRAP = 0xec,
	CMD_WRAP = 0xee,
	CMD_REMOTE = 0xf0,
	CMD_ID = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_RESET = 0xff,

	ID_PLAIN = 0,
	ID_WHEEL = 3,
	ID_EXPLORER = 4,

	STATUS_REMOTE = 0x40,
	STATUS_ENABLED = 0x20,
	STATUS_DOUBLED = 0x10,

	PACKET_ONE = 0x08,
	PACKET_X_SIGN = 0x10,
	PACKET_Y_SIGN = 0x20,

	DISTANCE_MAX = 1 << 20, /* that waits: more than any screen */
};

static void defaults(struct ps2_mouse *m)
{
	m->is_reporting = m->is_remote = m->is_wrapped = m->is_doubled = false;
	m->rate = 100;
	m->resolution = 2;
	m->command = 0;
	m->knock[0] = m->knock[1] = 0;
	m->n = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
	defaults(m);
	m->id = ID_PLAIN;
	m->head = 0;
	m->buttons = m->told = 0;
}

static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
	if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80)
		m->id = m->id == ID_PLAIN ? ID_WHEEL : m->id;
	else if (m->knock[0] == 200 && m->knock[1] == 200 && rate == 80 && m->id == ID_WHEEL)
		m->id = ID_EXPLORER;
	m->knock[0] = m->knock[1];
	m->knock[1] = rate;
	m->rate = rate;
}

static int within(int v, int low, int high)
{
	return MIN(MAX(v, low), high);
}

/* One packet of the oldest movement, or of none; up is positive on the wire. */
static unsigned int make_packet(struct ps2_mouse *m, uint8_t *ret)
{
	struct ps2_move none = { .buttons = m->told }, *v = m->n ? &m->moves[m->head] : &none;
	int wheel_min = m->id == ID_WHEEL ? -127 : -8, wheel_max = m->id == ID_WHEEL ? 127 : 7;
	int x = within(v->dx, -255, 255), y = within(-v->dy, -255, 255);
	int z = within(v->dz, wheel_min, wheel_max);

	m->told = v->buttons;
	ret[0] = (uint8_t)(PACKET_ONE | (v->buttons & 7) | (x < 0 ? PACKET_X_SIGN : 0) |
			   (y < 0 ? PACKET_Y_SIGN : 0));
	ret[1] = (uint8_t)x;
	ret[2] = (uint8_t)y;
	ret[3] = (uint8_t)(m->id == ID_EXPLORER ? (z & 15) | (v->buttons & 0x18) << 1 : z);
	v->dx -= x;
	v->dy += y;
	v->dz = m->id == ID_PLAIN ? 0 : v->dz - z;
	if (m->n && !v->dx && !v->dy && !v->dz) {
		m->head = (m->head + 1) % PS2_MOVES;
		m->n--;
	}
	return m->id == ID_PLAIN ? 3 : 4;
}

static unsigned int status(const struct ps2_mouse *m, uint8_t *reply)
{
	unsigned int b = m->buttons;

	reply[0] = ACK;
	/* Here the right button is the lowest bit. */
	reply[1] = (uint8_t)((m->is_remote ? STATUS_REMOTE : 0) |
			     (m->is_reporting ? STATUS_ENABLED : 0) |
			     (m->is_doubled ? STATUS_DOUBLED : 0) | (b & PS2_LEFT ? 4 : 0) |
			     (b & PS2_MIDDLE ? 2 : 0) | (b & PS2_RIGHT ? 1 : 0));
	reply[2] = m->resolution;
	reply[3] = m->rate;
	return 4;
}

static unsigned int command(struct ps2_mouse *m, uint8_t byte, uint8_t *reply)
{
	reply[0] = ACK;
	switch (byte) {
	case CMD_SCALING_1:
	case CMD_SCALING_2:
		m->is_doubled = byte == CMD_SCALING_2;
		return 1;
	case CMD_RESOLUTION:
	case CMD_RATE:
		m->command = byte;
		return 1;
	case CMD_STATUS:
		return status(m, reply);
	case CMD_STREAM:
	case CMD_REMOTE:
		m->is_remote = byte == CMD_REMOTE;
		m->n = 0;
		return 1;
	case CMD_READ:
		return 1 + make_packet(m, reply + 1);
	case CMD_UNWRAP:
		return 1;
	case CMD_WRAP:
		m->is_wrapped = true;
		m->n = 0;
		return 1;
	case CMD_ID:
		reply[1] = m->id;
		return 2;
	case CMD_ENABLE:
	case CMD_DISABLE:
		m->is_reporting = byte == CMD_ENABLE;
		m->n = 0;
		m->told = m->buttons;
		return 1;
	case CMD_DEFAULTS:
		defaults(m);
		return 1;
	case CMD_RESET:
		ps2_mouse_reset(m);
		reply[1] = SELF_TEST_OK;
		reply[2] = m->id;
		return 3;
	default:
		reply[0] = RESEND;
		return 1;
	}
}

unsigned int ps2_mouse_write(struct ps2_mouse *m, uint8_t byte, uint8_t *reply)
{
	uint8_t waiting = m->command;

	if (m->is_wrapped && byte != CMD_RESET && byte != CMD_UNWRAP) {
		reply[0] = byte;
		return 1;
	}
	m->is_wrapped = false;
	m->command = 0;
	if (!waiting || byte >= CMD_SCALING_1)
		return command(m, byte, reply);
	reply[0] = ACK;
	if (waiting == CMD_RATE)
		set_rate(m, byte);
	else if (byte <= 3)
		m->resolution = byte;
	else
		reply[0] = RESEND;
	return 1;
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons)
{
	struct ps2_move *last = m->n ? &m->moves[(m->head + m->n - 1) % PS2_MOVES] : NULL;
	bool is_click;

	buttons &= PS2_BUTTONS;
	is_click = buttons != m->buttons;
	m->buttons = buttons;
	if (m->is_wrapped || (!m->is_reporting && !m->is_remote))
		return;
	if (!is_click && !dx && !dy && !dz)
		return;
	/* Into the movement before it, if that is all it was, or when there is no room. */
	if (!last || (m->n < PS2_MOVES && (is_click || last->is_click))) {
		last = &m->moves[(m->head + m->n++) % PS2_MOVES];
		*last = (struct ps2_move){ .is_click = is_click };
	}
	last->buttons = m->buttons;
	last->dx = within(last->dx + within(dx, -DISTANCE_MAX, DISTANCE_MAX), -DISTANCE_MAX,
			  DISTANCE_MAX);
	last->dy = within(last->dy + within(dy, -DISTANCE_MAX, DISTANCE_MAX), -DISTANCE_MAX,
			  DISTANCE_MAX);
	last->dz = within(last->dz + within(dz, -DISTANCE_MAX, DISTANCE_MAX), -DISTANCE_MAX,
			  DISTANCE_MAX);
}

unsigned int ps2_mouse_packet(struct ps2_mouse *m, uint8_t *ret)
{
	if (!m->is_reporting || m->is_remote || m->is_wrapped || !m->n)
		return 0;
	return make_packet(m, ret);
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field move_fields[] = {
	STATE_SIGNED(struct ps2_move, dx, -2 * DISTANCE_MAX, 2 * DISTANCE_MAX),
	STATE_SIGNED(struct ps2_move, dy, -2 * DISTANCE_MAX, 2 * DISTANCE_MAX),
	STATE_SIGNED(struct ps2_move, dz, -2 * DISTANCE_MAX, 2 * DISTANCE_MAX),
	STATE_MAX(struct ps2_move, buttons, PS2_BUTTONS),
	STATE_BOOL(struct ps2_move, is_click),
};

static const struct state_desc move_state = {
	.name = "move",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct ps2_move, move_fields),
};

static const struct state_field fields[] = {
	STATE_BOOL(struct ps2_mouse, is_reporting),
	STATE_BOOL(struct ps2_mouse, is_remote),
	STATE_BOOL(struct ps2_mouse, is_wrapped),
	STATE_BOOL(struct ps2_mouse, is_doubled),
	STATE_ANY(struct ps2_mouse, rate),
	STATE_ANY(struct ps2_mouse, resolution),
	STATE_MAX(struct ps2_mouse, id, ID_EXPLORER),
	STATE_BYTES(struct ps2_mouse, knock),
	STATE_ANY(struct ps2_mouse, command),
	STATE_MAX(struct ps2_mouse, buttons, PS2_BUTTONS),
	STATE_MAX(struct ps2_mouse, told, PS2_BUTTONS),
	STATE_STRUCT(struct ps2_mouse, moves, &move_state),
	STATE_MAX(struct ps2_mouse, head, PS2_MOVES - 1),
	STATE_MAX(struct ps2_mouse, n, PS2_MOVES),
};

const struct state_desc ps2_mouse_state = {
	.name = "ps2-mouse",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct ps2_mouse, fields),
};
