// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keyboard controller, a keyboard that somebody may type on from outside, and the port of a mouse (ps2_mouse.c).
 * Guests ask it three things: what is connected (reset and identify it: the answers below), open A20 (it is), and reset
 * the machine (pulse output line 0, or port 92h bit 0).
 *
 * Bytes for the guest wait in one queue, marked as the keyboard's or the mouse's; a guest that asks faster than it
 * reads loses the newest. Keys and movements wait before it, and enter one at a time when it is empty, so that they
 * are whole.
 *
 * Commands: IBM PS/2 Hardware Interface Technical Reference, keyboard controller and keyboard sections.
 */
#include "vm/dev/i8042.h"

#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum { PORT_DATA = 0x60, PORT_CMD = 0x64, PORT_92 = 0x92, KBD_GSI = 1, AUX_GSI = 12 };

enum {
	STATUS_OUT_FULL = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_CMD = 0x08,
	STATUS_UNLOCKED = 0x10,
	STATUS_AUX = 0x20,

	CTR_KBD_IRQ = 0x01,
	CTR_AUX_IRQ = 0x02,
	CTR_SYSTEM = 0x04,
	CTR_KBD_OFF = 0x10,
	CTR_AUX_OFF = 0x20,
	CTR_TRANSLATE = 0x40,

	CMD_READ_RAM = 0x20,  /* to 0x3f; 0x20 is the command byte */
	CMD_WRITE_RAM = 0x60, /* to 0x7f */
	CMD_AUX_DISABLE = 0xa7,
	CMD_AUX_ENABLE = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KBD_TEST = 0xab,
	CMD_KBD_DISABLE = 0xad,
	CMD_KBD_ENABLE = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_LOOP_KBD = 0xd2,
	CMD_LOOP_AUX = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_READ_TEST = 0xe0,
	CMD_PULSE = 0xf0, /* to 0xff: bits that are 0 pulse low; bit 0 is the reset line */

	KBD_ACK = 0xfa,
	KBD_RESEND = 0xfe,
	KBD_SELF_TEST_OK = 0xaa,

	OUT_RESET_N = 0x01,
	OUT_A20 = 0x02,
	OUT_RESET = OUT_RESET_N | OUT_A20 | 0xcc,
	P92_RESET = 0x01,
	P92_A20 = 0x02,
};

static void update_irq(struct i8042 *k)
{
	bool is_aux = k->n && k->queue[k->head].aux;

	irq_set(&k->kbd_irq, k->n && !is_aux && (k->ctr & CTR_KBD_IRQ));
	irq_set(&k->aux_irq, is_aux && (k->ctr & CTR_AUX_IRQ));
}

static void give(struct i8042 *k, uint8_t byte, bool aux)
{
	unsigned int at = (k->head + k->n) % I8042_QUEUE;

	if (k->n == I8042_QUEUE)
		return;
	k->queue[at].byte = byte;
	k->queue[at].aux = aux;
	k->n++;
}

/* Scan code set 2, by the code of set 1. */
static const uint8_t set2[] = {
	0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55,
	0x66, 0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b,
	0x5a, 0x14, 0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e,
	0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c,
	0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77,
	0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69, 0x72, 0x7a, 0x70, 0x71,
	0x84, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f,
};

/* The keyboard speaks set 2, which the controller translates unless it is told not to. */
static void give_key(struct i8042 *k, const struct i8042_key *key)
{
	bool translate = (k->ctr & CTR_TRANSLATE) && k->scancode_set == 2;

	if (key->extended)
		give(k, 0xe0, false);
	if (translate || k->scancode_set == 1) {
		give(k, key->is_down ? key->code : key->code | 0x80, false);
	} else {
		if (!key->is_down)
			give(k, 0xf0, false);
		give(k, set2[key->code], false);
	}
}

static void next_key(struct i8042 *k)
{
	if (!k->keys_n || (k->ctr & CTR_KBD_OFF))
		return;
	give_key(k, &k->keys[k->keys_head]);
	k->keys_head = (k->keys_head + 1) % I8042_KEYS;
	k->keys_n--;
}

static void next_packet(struct i8042 *k)
{
	uint8_t packet[PS2_PACKET_MAX];
	unsigned int n = k->ctr & CTR_AUX_OFF ? 0 : ps2_mouse_packet(&k->mouse, packet);

	for (unsigned int i = 0; i < n; i++)
		give(k, packet[i], true);
}

/*
 * Somebody who pastes types faster than any guest reads, and a mouse moves faster: what is next is sent when all that was
 * sent before has been taken, of both in turns.
 */
static void next(struct i8042 *k)
{
	if (k->n)
		return;
	if (k->is_mouses_turn)
		next_packet(k);
	if (!k->n)
		next_key(k);
	if (!k->n)
		next_packet(k);
	k->is_mouses_turn = k->n && !k->queue[k->head].aux;
}

static void mouse_write(struct i8042 *k, uint8_t byte)
{
	uint8_t reply[PS2_REPLY_MAX];
	unsigned int n = ps2_mouse_write(&k->mouse, byte, reply);

	k->ctr &= (uint8_t)~CTR_AUX_OFF; /* sending to the mouse switches its clock on */
	for (unsigned int i = 0; i < n; i++)
		give(k, reply[i], true);
}

static void kbd_defaults(struct i8042 *k)
{
	k->keys_n = 0;
	k->scanning = true;
	k->scancode_set = 2;
	k->kbd_cmd = 0;
}

/* A byte for the keyboard that is not the parameter of an earlier one. */
static void kbd_command(struct i8042 *k, uint8_t byte)
{
	switch (byte) {
	case 0xee: /* echo */
		give(k, 0xee, false);
		return;
	case 0xed: /* indicators */
	case 0xf0: /* scan code set */
	case 0xf3: /* typematic rate */
		k->kbd_cmd = byte;
		break;
	case 0xf2: /* identify */
		give(k, KBD_ACK, false);
		give(k, 0xab, false);
		give(k, k->ctr & CTR_TRANSLATE ? 0x41 : 0x83, false);
		return;
	case 0xf4:
		k->scanning = true;
		break;
	case 0xf5:
		kbd_defaults(k);
		k->scanning = false;
		break;
	case 0xf6:
		kbd_defaults(k);
		break;
	case 0xf7 ... 0xfd: /* key types of scan code set 3: no keys */
		break;
	case 0xff: /* reset */
		kbd_defaults(k);
		give(k, KBD_ACK, false);
		give(k, KBD_SELF_TEST_OK, false);
		return;
	default:
		give(k, KBD_RESEND, false);
		return;
	}
	give(k, KBD_ACK, false);
}

static void kbd_write(struct i8042 *k, uint8_t byte)
{
	uint8_t command = k->kbd_cmd;

	k->ctr &= (uint8_t)~CTR_KBD_OFF; /* sending to the keyboard switches its clock on */
	if (!command || byte >= 0xed) {
		kbd_command(k, byte);
		return;
	}
	k->kbd_cmd = 0;
	give(k, KBD_ACK, false);
	if (command != 0xf0)
		return;
	if (byte == 0)
		give(k, k->scancode_set, false);
	else if (byte <= 3)
		k->scancode_set = byte;
}

static void reset_machine(struct i8042 *k)
{
	machine_request(k->events, MACHINE_RESET, 0);
}

static void write_output(struct i8042 *k, uint8_t value)
{
	k->outport = value | OUT_A20;
	if (!(value & OUT_RESET_N))
		reset_machine(k);
}

static void controller_command(struct i8042 *k, uint8_t cmd)
{
	switch (cmd) {
	case CMD_READ_RAM:
		give(k, k->ctr, false);
		break;
	case CMD_READ_RAM + 1 ... CMD_READ_RAM + 31:
		give(k, k->ram[cmd & 31], false);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + 31:
	case CMD_WRITE_OUTPUT:
	case CMD_LOOP_KBD:
	case CMD_LOOP_AUX:
	case CMD_WRITE_AUX:
		k->pending_cmd = cmd;
		break;
	case CMD_AUX_DISABLE:
		k->ctr |= CTR_AUX_OFF;
		break;
	case CMD_AUX_ENABLE:
		k->ctr &= (uint8_t)~CTR_AUX_OFF;
		break;
	case CMD_AUX_TEST: /* 0: no error on its lines */
	case CMD_KBD_TEST:
		give(k, 0, false);
		break;
	case CMD_SELF_TEST:
		k->status |= STATUS_SYSTEM;
		give(k, 0x55, false);
		break;
	case CMD_KBD_DISABLE:
		k->ctr |= CTR_KBD_OFF;
		break;
	case CMD_KBD_ENABLE:
		k->ctr &= (uint8_t)~CTR_KBD_OFF;
		break;
	case CMD_READ_INPUT:
		give(k, 0x80, false); /* keyboard not locked */
		break;
	case CMD_READ_OUTPUT:
		give(k, k->outport, false);
		break;
	case CMD_READ_TEST:
		give(k, 0, false);
		break;
	case CMD_PULSE ... 0xff:
		if (!(cmd & 1))
			reset_machine(k);
		break;
	default: /* A20 on and off, and what only other makers' controllers know */
		break;
	}
}

static void controller_data(struct i8042 *k, uint8_t cmd, uint8_t value)
{
	switch (cmd) {
	case CMD_WRITE_RAM:
		k->ctr = value;
		k->status = (uint8_t)((k->status & ~STATUS_SYSTEM) |
				      (value & CTR_SYSTEM ? STATUS_SYSTEM : 0));
		break;
	case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + 31:
		k->ram[cmd & 31] = value;
		break;
	case CMD_WRITE_OUTPUT:
		write_output(k, value);
		break;
	case CMD_LOOP_KBD:
		give(k, value, false);
		break;
	case CMD_LOOP_AUX:
		give(k, value, true);
		break;
	case CMD_WRITE_AUX:
		mouse_write(k, value);
		break;
	default: /* the commands that wait for data are those above */
		break;
	}
}

static uint64_t data_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8042 *k = arg;

	mutex_guard(&k->lock);
	if (k->n) {
		k->last = k->queue[k->head].byte;
		k->head = (k->head + 1) % I8042_QUEUE;
		k->n--;
		next(k);
		/* Each byte is an interrupt of its own: let the lines fall in between. */
		irq_set(&k->kbd_irq, false);
		irq_set(&k->aux_irq, false);
		update_irq(k);
	}
	return k->last;
}

static void data_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8042 *k = arg;
	uint8_t cmd;

	mutex_guard(&k->lock);
	cmd = k->pending_cmd;
	k->pending_cmd = 0;
	k->status &= (uint8_t)~STATUS_CMD;
	if (cmd)
		controller_data(k, cmd, (uint8_t)value);
	else
		kbd_write(k, (uint8_t)value);
	next(k);
	update_irq(k);
}

static uint64_t status_read(void *arg, uint64_t off, unsigned int size)
{
	struct i8042 *k = arg;
	uint8_t value;

	mutex_guard(&k->lock);
	value = k->status | STATUS_UNLOCKED;
	if (k->n)
		value |= STATUS_OUT_FULL | (k->queue[k->head].aux ? STATUS_AUX : 0);
	return value;
}

static void command_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8042 *k = arg;

	mutex_guard(&k->lock);
	k->pending_cmd = 0;
	k->status |= STATUS_CMD;
	controller_command(k, (uint8_t)value);
	next(k); /* one of them may have been switched on */
	update_irq(k);
}

static uint64_t port92_read(void *arg, uint64_t off, unsigned int size)
{
	return P92_A20;
}

static void port92_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i8042 *k = arg;

	if (value & P92_RESET)
		reset_machine(k);
}

void i8042_key(struct i8042 *k, uint8_t code, bool extended, bool is_down)
{
	mutex_guard(&k->lock);
	if (!k->scanning || code >= ARRAY_SIZE(set2) || !code || k->keys_n == I8042_KEYS)
		return;
	k->keys[(k->keys_head + k->keys_n++) % I8042_KEYS] =
		(struct i8042_key){ code, extended, is_down };
	next(k);
	update_irq(k);
}

void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, uint8_t buttons)
{
	mutex_guard(&k->lock);
	ps2_mouse_move(&k->mouse, dx, dy, dz, buttons);
	next(k);
	update_irq(k);
}

void i8042_reset(struct i8042 *k)
{
	mutex_guard(&k->lock);
	k->status = STATUS_SYSTEM;
	k->ctr = CTR_KBD_IRQ | CTR_SYSTEM | CTR_TRANSLATE; /* as firmware leaves it */
	k->outport = (uint8_t)OUT_RESET;
	k->pending_cmd = 0;
	k->head = k->n = 0;
	k->keys_head = k->keys_n = 0;
	k->last = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(k->ram); i++)
		k->ram[i] = 0;
	kbd_defaults(k);
	ps2_mouse_reset(&k->mouse);
	k->is_mouses_turn = false;
	update_irq(k);
}

int i8042_init(struct i8042 *k, const struct board *board, struct err *err)
{
	int r;

	*k = (struct i8042){
		.pio = board->pio,
		.data = { .name = "i8042",
			  .base = PORT_DATA,
			  .len = 1,
			  .read = data_read,
			  .write = data_write,
			  .arg = k,
			  .max_size = 1 },
		.cmd = { .name = "i8042",
			 .base = PORT_CMD,
			 .len = 1,
			 .read = status_read,
			 .write = command_write,
			 .arg = k,
			 .max_size = 1 },
		.port92 = { .name = "port92",
			    .base = PORT_92,
			    .len = 1,
			    .read = port92_read,
			    .write = port92_write,
			    .arg = k,
			    .max_size = 1 },
		.kbd_irq = irq_router_line(board->irqs, KBD_GSI, IRQ_FROM_ISA),
		.aux_irq = irq_router_line(board->irqs, AUX_GSI, IRQ_FROM_ISA),
		.events = board->events,
	};
	mutex_init(&k->lock);
	i8042_reset(k);
	r = bus_add(k->pio, &k->data, err);
	if (r == 0)
		r = bus_add(k->pio, &k->cmd, err);
	if (r == 0)
		r = bus_add(k->pio, &k->port92, err);
	if (r < 0)
		i8042_done(k);
	return r;
}

void i8042_done(struct i8042 *k)
{
	if (!k->pio)
		return;
	bus_del(k->pio, &k->data);
	bus_del(k->pio, &k->cmd);
	bus_del(k->pio, &k->port92);
	pthread_mutex_destroy(&k->lock);
	k->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field byte_fields[] = {
	STATE_ANY(struct i8042_byte, byte),
	STATE_BOOL(struct i8042_byte, aux),
};

static const struct state_desc byte_state = {
	.name = "byte",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct i8042_byte, byte_fields),
};

static const struct state_field key_fields[] = {
	STATE_MAX(struct i8042_key, code, ARRAY_SIZE(set2) - 1),
	STATE_BOOL(struct i8042_key, extended),
	STATE_BOOL(struct i8042_key, is_down),
};

static const struct state_desc key_state = {
	.name = "key",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct i8042_key, key_fields),
};

static const struct state_field fields[] = {
	STATE_ANY(struct i8042, status),
	STATE_ANY(struct i8042, ctr),
	STATE_ANY(struct i8042, outport),
	STATE_ANY(struct i8042, pending_cmd),
	STATE_ANY(struct i8042, kbd_cmd),
	STATE_BOOL(struct i8042, scanning),
	STATE_MAX(struct i8042, scancode_set, 3),
	STATE_BYTES(struct i8042, ram),
	STATE_STRUCT(struct i8042, queue, &byte_state),
	STATE_MAX(struct i8042, head, I8042_QUEUE - 1),
	STATE_MAX(struct i8042, n, I8042_QUEUE),
	STATE_STRUCT(struct i8042, keys, &key_state),
	STATE_MAX(struct i8042, keys_head, I8042_KEYS - 1),
	STATE_MAX(struct i8042, keys_n, I8042_KEYS),
	STATE_STRUCT(struct i8042, mouse, &ps2_mouse_state),
	STATE_BOOL(struct i8042, is_mouses_turn),
	STATE_ANY(struct i8042, last),
};

static void loaded(void *obj)
{
	struct i8042 *k = obj;

	mutex_guard(&k->lock);
	update_irq(k);
}

const struct state_desc i8042_state = {
	.name = "i8042",
	.version = 1,
	STATE_LOCK(struct i8042, lock),
	STATE_TABLE(struct i8042, fields),
	.loaded = loaded,
};
