/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CLIPBOARD_H
#define VM_CLIPBOARD_H

#include <pthread.h>

#include "base/str.h"
#include "vm/agent.h"
#include "vm/chardev.h"
#include "vm/iothread.h"

/*
 * The clipboard of a guest that has SPICE's agent: a back end for a port of the virtio console, on the I/O thread, between the
 * agent's protocol and who shows the guest's screen.
 */
enum { CLIPBOARD_HELD = 2048 };

struct clipboard {
	struct chardev cd; /* first: the port knows this */
	struct iothread *io;
	struct io_task task;
	void (*copied)(void *arg, struct str text);
	void *arg;

	pthread_mutex_t lock; /* guards all below; after the port's mutex */
	struct agent agent;
	uint8_t held[CLIPBOARD_HELD]; /* said, and not taken by the port yet */
	size_t held_n;
	uint64_t nr_opens; /* bytes for another opener than the present one are dropped */
	uint64_t nr_lost;  /* of the agent's, that were logged */
};

/* clipboard_init - @io lives longer. clipboard_done - no port has it any more, and @io runs nothing. Thread: owner. */
void clipboard_init(struct clipboard *c, struct iothread *io);
void clipboard_done(struct clipboard *c);

/* clipboard_set_copied - be told what the guest copies, as plain text of display/cut_text.h: on the I/O thread, with the port's
 * mutex held. Before the machine runs. */
void clipboard_set_copied(struct clipboard *c, void (*fn)(void *arg, struct str text), void *arg);

/* clipboard_offer - what somebody outside has copied, as plain text; over AGENT_TEXT_MAX bytes it is not passed on. Thread: any. */
void clipboard_offer(struct clipboard *c, struct str text);

#endif
