/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A watchdog that Linux, Windows and the BSDs have a driver for, without a chipset around it: the iTCO of this board's
 * own south bridge would need its reset logic and configuration space behind SMM as well.
 *
 *	stopped --enable--> stage 1 --preload 1 passes--> stage 2 --preload 2 passes--> expired, stopped
 *	                       ^                             │
 *	                       └──────────reload─────────────┘      free running: stage 1 again and again
 *
 * A write to the timers counts only after the words 0x80 and 0x86, so that a guest that has lost its way does not feed it.
 * What the machine does when it expires is its owner's choice; see machine_run.c.
 *
 * Source: Intel 6300ESB I/O Controller Hub datasheet, chapter on the watchdog timer.
 */
#include "vm/dev/i6300esb.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	INTEL = 0x8086,
	DEVICE_WATCHDOG = 0x25ab,
	CLASS_SYSTEM_OTHER = 0x088000,
	BAR_SIZE = 16,

	CONFIG_SETUP = 0x60,
	SETUP_NO_OUTPUT = 1 << 5,
	SETUP_FAST = 1 << 2, /* about a microsecond a tick instead of a millisecond */
	SETUP_WRITABLE = 0x27,
	CONFIG_CONTROL = 0x68,
	CONTROL_LOCKED = 1 << 0,
	CONTROL_ENABLED = 1 << 1,
	CONTROL_FREE_RUNNING = 1 << 2,
	CONTROL_WRITABLE = CONTROL_LOCKED | CONTROL_ENABLED | CONTROL_FREE_RUNNING,

	REG_TIMER1 = 0x00,
	REG_TIMER2 = 0x04,
	REG_INTERRUPT = 0x08,
	REG_RELOAD = 0x0c,
	RELOAD = 1 << 8,
	RELOAD_EXPIRED = 1 << 9,
	UNLOCK_1 = 0x80,
	UNLOCK_2 = 0x86,
	PRELOAD_MASK = 0xfffff,
	PCI_CLOCK_HZ = 33000000,
};

static void start_stage(struct i6300esb *w, unsigned int stage)
{
	unsigned int shift = w->setup & SETUP_FAST ? 5 : 15;
	uint64_t ns = mul_div_u64((uint64_t)w->preload[stage - 1] << shift, NS_PER_S, PCI_CLOCK_HZ);

	w->stage = stage;
	/* A guest that sets it to nothing cannot keep the timer thread busy. */
	w->deadline_ns = clock_now(w->clock) + MAX(ns, NS_PER_MS);
	timerq_arm(w->timers, &w->timer, w->deadline_ns);
}

static void stop(struct i6300esb *w)
{
	w->stage = 0;
	timerq_disarm(w->timers, &w->timer);
}

static void fired(void *arg)
{
	struct i6300esb *w = arg;

	mutex_guard(&w->lock);
	if (!w->stage || clock_now(w->clock) < w->deadline_ns)
		return;
	if (w->stage == 1) {
		w->is_interrupting = true;
		start_stage(w, w->control & CONTROL_FREE_RUNNING ? 1 : 2);
		return;
	}
	stop(w);
	w->has_expired = true;
	if (!(w->setup & SETUP_NO_OUTPUT))
		machine_guest_event(w->events, GUEST_WATCHDOG);
}

static uint64_t bar_read(void *arg, uint64_t off, unsigned int size)
{
	struct i6300esb *w = arg;
	uint32_t v = 0;

	mutex_guard(&w->lock);
	switch (off & ~UINT64_C(3)) {
	case REG_TIMER1:
	case REG_TIMER2:
		v = w->preload[off / 4];
		break;
	case REG_INTERRUPT:
		v = w->is_interrupting;
		break;
	case REG_RELOAD:
		v = w->has_expired ? RELOAD_EXPIRED : 0;
		break;
	default:
		break;
	}
	return v >> (8 * (off & 3));
}

static void bar_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct i6300esb *w = arg;
	bool is_open;

	mutex_guard(&w->lock);
	if (off == REG_RELOAD && value == UNLOCK_1) {
		w->unlock = 1;
		return;
	}
	if (off == REG_RELOAD && value == UNLOCK_2 && w->unlock == 1) {
		w->unlock = 2;
		return;
	}
	is_open = w->unlock == 2;
	w->unlock = 0;
	if (off == REG_INTERRUPT) {
		w->is_interrupting = w->is_interrupting && !(value & 1);
		return;
	}
	if (!is_open)
		return;
	if ((off == REG_TIMER1 || off == REG_TIMER2) && size == 4) {
		w->preload[off / 4] = value & PRELOAD_MASK;
	} else if (off == REG_RELOAD) {
		if (value & RELOAD_EXPIRED)
			w->has_expired = false;
		if ((value & RELOAD) && (w->control & CONTROL_ENABLED))
			start_stage(w, 1);
	}
}

static void config_written(struct pci_dev *d, uint16_t off, unsigned int size)
{
	struct i6300esb *w = (struct i6300esb *)d;
	uint8_t old, now;

	mutex_guard(&w->lock);
	old = w->control;
	if (old & CONTROL_LOCKED) { /* until the next reset */
		d->config[CONFIG_CONTROL] = old;
		put_le16(d->config + CONFIG_SETUP, w->setup);
		return;
	}
	w->setup = get_le16(d->config + CONFIG_SETUP);
	w->control = now = d->config[CONFIG_CONTROL];
	if ((now & CONTROL_ENABLED) && !(old & CONTROL_ENABLED))
		start_stage(w, 1);
	else if (!(now & CONTROL_ENABLED))
		stop(w);
}

void i6300esb_reset(struct i6300esb *w)
{
	mutex_guard(&w->lock);
	stop(w);
	w->preload[0] = w->preload[1] = PRELOAD_MASK;
	w->setup = 0;
	w->control = 0;
	w->unlock = 0;
	w->is_interrupting = false;
	put_le16(w->pci.config + CONFIG_SETUP, 0);
	w->pci.config[CONFIG_CONTROL] = 0;
}

int i6300esb_init(struct i6300esb *w, const struct board *board, struct pci_bus *pci,
		  struct err *err)
{
	const struct bus_range range = {
		.name = "i6300esb", .read = bar_read, .write = bar_write, .arg = w, .max_size = 4
	};
	int r;

	*w = (struct i6300esb){ .clock = board->clock,
				.timers = board->timers,
				.events = board->events };
	mutex_init(&w->lock);
	timerq_timer_init(w->timers, &w->timer, fired, w);
	pci_dev_setup(&w->pci, "i6300esb", INTEL, DEVICE_WATCHDOG, CLASS_SYSTEM_OTHER, 0);
	w->pci.config_written = config_written;
	put_le16(w->pci.wmask + CONFIG_SETUP, SETUP_WRITABLE);
	w->pci.wmask[CONFIG_CONTROL] = CONTROL_WRITABLE;
	i6300esb_reset(w);
	r = pci_dev_add_bar(&w->pci, 0, PCI_BAR_MEM32, false, BAR_SIZE, &range);
	if (r == 0)
		r = pci_dev_plug(pci, &w->pci, I6300ESB_DEVFN, err);
	if (r < 0)
		i6300esb_done(w);
	return r;
}

void i6300esb_done(struct i6300esb *w)
{
	if (!w->timers)
		return;
	pci_dev_unplug(&w->pci);
	timerq_timer_done(w->timers, &w->timer);
	pthread_mutex_destroy(&w->lock);
	w->timers = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ARRAY(struct i6300esb, preload, PRELOAD_MASK),
	STATE_ANY(struct i6300esb, setup),
	STATE_ANY(struct i6300esb, control),
	STATE_MAX(struct i6300esb, unlock, 2),
	STATE_MAX(struct i6300esb, stage, 2),
	STATE_ANY(struct i6300esb, deadline_ns),
	STATE_BOOL(struct i6300esb, is_interrupting),
	STATE_BOOL(struct i6300esb, has_expired),
};

/* A locked watchdog puts these into its configuration space, which has no such bits. */
static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct i6300esb *n = next;

	if (n->setup & ~SETUP_WRITABLE || n->control & ~CONTROL_WRITABLE)
		return err_set(err, -EINVAL, "registers 0x%x, 0x%x have bits that do not exist",
			       n->setup, n->control);
	return 0;
}

static void loaded(void *obj)
{
	struct i6300esb *w = obj;

	mutex_guard(&w->lock);
	timerq_arm(w->timers, &w->timer, w->stage ? w->deadline_ns : UINT64_MAX);
}

const struct state_desc i6300esb_state = {
	.name = "watchdog",
	.version = 1,
	STATE_LOCK(struct i6300esb, lock),
	STATE_TABLE(struct i6300esb, fields),
	.check = check,
	.loaded = loaded,
};
