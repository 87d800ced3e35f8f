/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_EVENTS_H
#define VM_EVENTS_H

#include <stdint.h>

#include "vm/machine.h"

/* What a guest tells of itself, and the machine's owner may want to act on. */
enum guest_event {
	GUEST_WATCHDOG,	    /* it has not fed its watchdog */
	GUEST_PANICKED,	    /* its kernel panicked */
	GUEST_CRASH_KERNEL, /* its kernel panicked, and another one takes over */
	GUEST_NR_EVENTS,
};

/*
 * What a device asks of the whole machine: power off, reset, end with a status. The machine's main loop
 * decides; the callback only records the wish and wakes it, so a device may call it with its mutex held.
 * @value: MACHINE_DEBUG_EXIT: the value the guest wrote; otherwise 0.
 * Thread: any.
 */
struct machine_events {
	void (*request)(void *arg, enum machine_end what, uint32_t value);
	/* A window of memory (vm/memory.h) is to be moved; no vCPU executes much more before it is done. May be
	 * NULL. As request. */
	void (*windows_moved)(void *arg);
	/* May be NULL. As request. */
	void (*guest_event)(void *arg, enum guest_event what);
	void *arg;
};

/* machine_request - tell the machine; without a listener the wish is dropped. */
static inline void machine_request(const struct machine_events *ev, enum machine_end what,
				   uint32_t value)
{
	if (ev && ev->request)
		ev->request(ev->arg, what, value);
}

/* machine_guest_event - tell the machine what the guest has told. */
static inline void machine_guest_event(const struct machine_events *ev, enum guest_event what)
{
	if (ev && ev->guest_event)
		ev->guest_event(ev->arg, what);
}

/* machine_windows_moved - tell the machine that the guest has moved a window. */
static inline void machine_windows_moved(const struct machine_events *ev)
{
	if (ev && ev->windows_moved)
		ev->windows_moved(ev->arg);
}

#endif
