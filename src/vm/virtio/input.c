/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tablet. Whoever moves it says where it is and which buttons are down, in whole; what the driver is told is the
 * difference to what it knows. So frames may be dropped without a button that stays down for ever:
 *
 *	virtio_input_point() --> frames that wait --> events of one frame --> chains of the driver, one each
 *	                            '- a movement after a movement: one; no room: into the last one
 *
 * A frame's events may wait in its middle for a chain, but are never dropped: the driver puts them together itself (SYN_REPORT
 * ends them).
 *
 * The configuration space is a question and its answer (5.8.2): writing `select` and `subsel` puts the answer behind
 * them. Codes are those of Linux's evdev.
 *
 * Not here: a keyboard. The PS/2 one is what firmware, boot loaders and every guest know.
 *
 * Source: virtio 1.2, 5.8; Linux, Documentation/input/event-codes.rst (types and codes).
 */
#include "vm/virtio/input.h"

#include <string.h>

#include "base/bytes.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

/* clang-format off */
enum {
	ID_INPUT = 18,
	Q_EVENTS = 0, Q_STATUS = 1, QUEUE_SIZE = 64,
	EVENT_LEN = 8, E_TYPE = 0, E_CODE = 2, E_VALUE = 4,

	/* Configuration space; of the union's 128 bytes the last eight are never used, and read as zeros. */
	C_SELECT = 0, C_SUBSEL = 1, C_SIZE = 2, C_ANSWER = 8, C_LEN = VIRTIO_CONFIG_MAX,
	SELECT_NAME = 0x01, SELECT_IDS = 0x03, SELECT_EVENTS = 0x11, SELECT_ABS = 0x12,

	EV_SYN = 0, EV_KEY = 1, EV_REL = 2, EV_ABS = 3,
	SYN_REPORT = 0, REL_WHEEL = 8, ABS_X = 0, ABS_Y = 1, BTN_LEFT = 0x110,

	BUS_VIRTUAL = 6, VENDOR = 0x1af4, PRODUCT_TABLET = 3, PRODUCT_VERSION = 1,
};
/* clang-format on */

/* By the bits of VIRTIO_INPUT_LEFT ...: left, right, middle and side follow each other in evdev, too. */
_Static_assert(VIRTIO_INPUT_SIDE == 1 << (VIRTIO_INPUT_BUTTONS - 1), "a code for each button");
/* Two places, the buttons, the wheel and the end. */
_Static_assert(2 + VIRTIO_INPUT_BUTTONS + 2 <= VIRTIO_INPUT_EVENTS, "a frame's events have room");

static struct virtio_input *input_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_input, dev);
}

/* --- events ---------------------------------------------------------------------------------------------------- */

static void add_event(struct virtio_input *t, uint16_t type, uint16_t code, uint32_t value)
{
	uint8_t *e = t->event[t->nr_events++];

	put_le16(e + E_TYPE, type);
	put_le16(e + E_CODE, code);
	put_le32(e + E_VALUE, value);
}

/* What is new in a frame, as events. */
static void tell(struct virtio_input *t, const struct virtio_input_frame *f)
{
	t->event_at = t->nr_events = 0;
	if (f->x != t->told.x)
		add_event(t, EV_ABS, ABS_X, f->x);
	if (f->y != t->told.y)
		add_event(t, EV_ABS, ABS_Y, f->y);
	for (unsigned int k = 0; k < VIRTIO_INPUT_BUTTONS; k++)
		if ((f->buttons ^ t->told.buttons) >> k & 1)
			add_event(t, EV_KEY, (uint16_t)(BTN_LEFT + k), f->buttons >> k & 1);
	if (f->wheel)
		add_event(t, EV_REL, REL_WHEEL, (uint32_t)f->wheel);
	if (t->nr_events)
		add_event(t, EV_SYN, SYN_REPORT, 0);
	t->told = *f;
	t->told.wheel = 0;
}

static bool next_event(struct virtio_input *t)
{
	while (t->event_at >= t->nr_events && t->nr) {
		tell(t, &t->frame[t->first]);
		t->first = (t->first + 1) % VIRTIO_INPUT_FRAMES;
		t->nr--;
	}
	return t->event_at < t->nr_events;
}

static void run_events(struct virtio_input *t)
{
	struct virtio_dev *d = &t->dev;
	unsigned int n = 0;
	bool any = false;

	while (next_event(t) && virtio_pop(d, &d->q[Q_EVENTS], &t->chain, &n)) {
		if (t->chain.in_bytes < EVENT_LEN) {
			virtio_abandon(d, &t->chain);
			virtio_fail(d, "a buffer of less than 8 bytes for an event");
			return;
		}
		virtio_push(d, &t->chain,
			    chain_write(&t->chain, 0, t->event[t->event_at++], EVENT_LEN));
		any = true;
	}
	if (any)
		virtio_signal(d, &d->q[Q_EVENTS]);
}

/* Lights and the like, of which there are none. */
static void run_status(struct virtio_input *t)
{
	struct virtio_dev *d = &t->dev;
	unsigned int n = 0;

	while (virtio_pop(d, &d->q[Q_STATUS], &t->chain, &n))
		virtio_push(d, &t->chain, 0);
	virtio_signal(d, &d->q[Q_STATUS]);
}

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_input *t = input_of(d);

	if (!virtio_is_running(d))
		return;
	run_events(t);
	if (kicked >> Q_STATUS & 1)
		run_status(t);
}

static struct virtio_input_frame *waiting(struct virtio_input *t, unsigned int k)
{
	return &t->frame[(t->first + k) % VIRTIO_INPUT_FRAMES];
}

/* Is a frame a movement and nothing else, after another? */
static bool is_movement(const struct virtio_input_frame *f, const struct virtio_input_frame *before)
{
	return f->buttons == before->buttons && !f->wheel;
}

static void add_frame(struct virtio_input *t, const struct virtio_input_frame *f)
{
	struct virtio_input_frame *last = t->nr ? waiting(t, t->nr - 1) : NULL;
	const struct virtio_input_frame *before = t->nr > 1 ? waiting(t, t->nr - 2) : &t->told;
	int32_t wheel;

	/* A button is pressed, and let go of, where that was done. */
	if (!last ||
	    (t->nr < VIRTIO_INPUT_FRAMES && !(is_movement(last, before) && is_movement(f, last)))) {
		*waiting(t, t->nr++) = *f;
		return;
	}
	wheel = last->wheel;
	*last = *f;
	if (__builtin_add_overflow(wheel, f->wheel, &last->wheel))
		last->wheel = wheel;
}

bool virtio_input_point(struct virtio_input *t, const struct virtio_input_frame *f)
{
	mutex_lock(&t->dev.lock);
	if (!virtio_is_running(&t->dev)) {
		mutex_unlock(&t->dev.lock);
		return false;
	}
	add_frame(t, f);
	mutex_unlock(&t->dev.lock);
	virtio_again(&t->dev, Q_EVENTS);
	return true;
}

/* --- configuration --------------------------------------------------------------------------------------------- */

static void set_bit(uint8_t *bits, unsigned int n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

/* The codes that there are of a type, as a bitmap. Returns its length. */
static uint8_t event_codes(uint8_t type, uint8_t *bits)
{
	switch (type) {
	case EV_KEY:
		for (unsigned int k = 0; k < VIRTIO_INPUT_BUTTONS; k++)
			set_bit(bits, BTN_LEFT + k);
		return (BTN_LEFT + VIRTIO_INPUT_BUTTONS + 7) / 8;
	case EV_REL:
		set_bit(bits, REL_WHEEL);
		return REL_WHEEL / 8 + 1;
	case EV_ABS:
		set_bit(bits, ABS_X);
		set_bit(bits, ABS_Y);
		return 1;
	default:
		return 0;
	}
}

/* Returns the length of the answer; 0: there is none. */
static uint8_t answer(uint8_t select, uint8_t subsel, uint8_t *a)
{
	static const char name[] = "Atoll tablet";

	switch (select) {
	case SELECT_NAME:
		memcpy(a, name, sizeof(name) - 1);
		return subsel ? 0 : sizeof(name) - 1;
	case SELECT_IDS:
		put_le16(a, BUS_VIRTUAL);
		put_le16(a + 2, VENDOR);
		put_le16(a + 4, PRODUCT_TABLET);
		put_le16(a + 6, PRODUCT_VERSION);
		return subsel ? 0 : 8;
	case SELECT_EVENTS:
		return event_codes(subsel, a);
	case SELECT_ABS: /* lowest, highest, then fuzz, flat and resolution: none */
		put_le32(a + 4, VIRTIO_INPUT_LAST);
		return subsel == ABS_X || subsel == ABS_Y ? 20 : 0;
	default:
		return 0;
	}
}

static void config_written(struct virtio_dev *d, unsigned int off, unsigned int n)
{
	memset(d->config + C_SIZE, 0, C_LEN - C_SIZE);
	d->config[C_SIZE] = answer(d->config[C_SELECT], d->config[C_SUBSEL], d->config + C_ANSWER);
	if (!d->config[C_SIZE])
		memset(d->config + C_ANSWER, 0, C_LEN - C_ANSWER);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void reset(struct virtio_dev *d)
{
	struct virtio_input *t = input_of(d);

	/* A chain is pushed as soon as it was popped. */
	t->told = (struct virtio_input_frame){ 0 };
	t->first = t->nr = t->event_at = t->nr_events = 0;
	d->config[C_SELECT] = d->config[C_SUBSEL] = 0;
	config_written(d, 0, 0);
}

static void restored(struct virtio_dev *d)
{
	config_written(d, 0, 0);
}

/* Frames that wait are of a viewer that is not there in a restored machine, and its next one makes up for them. */
static const struct state_field fields[] = {
	STATE_ANY(struct virtio_input, told.x),
	STATE_ANY(struct virtio_input, told.y),
	STATE_ANY(struct virtio_input, told.buttons),
	STATE_BYTES(struct virtio_input, event),
	STATE_MAX(struct virtio_input, event_at, VIRTIO_INPUT_EVENTS),
	STATE_MAX(struct virtio_input, nr_events, VIRTIO_INPUT_EVENTS),
};

static const struct state_desc state = {
	.name = "virtio-input",
	.version = 1,
	STATE_LOCK(struct virtio_input, dev.lock),
	STATE_TABLE(struct virtio_input, fields),
};

static const struct virtio_ops input_ops = {
	.name = "virtio-input",
	.id = ID_INPUT,
	.run = run,
	.reset = reset,
	.config_written = config_written,
	.restored = restored,
	.state = &state,
};

void virtio_input_init(struct virtio_input *t, const struct physmem *mem, struct iothread *io)
{
	*t = (struct virtio_input){ 0 };
	virtio_init(&t->dev, &input_ops, mem, io, 2, QUEUE_SIZE, 0);
	t->dev.config_len = C_LEN;
	t->dev.config_wmask[C_SELECT] = t->dev.config_wmask[C_SUBSEL] = 0xff;
}

void virtio_input_done(struct virtio_input *t)
{
	virtio_done(&t->dev);
}
