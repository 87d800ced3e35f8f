/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a port and the protocol (agent.c). Answers to what the guest wrote cannot go back at once, because the port is locked
 * then; they wait until a task of the I/O thread asks for them, as much at a time as the port takes:
 *
 *	guest --chardev_write()--> agent_heard() --> copied()
 *	clipboard_offer() --> agent_offer() --task--> agent_say() --receive()--> guest
 */
#include "vm/clipboard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sys/thread.h"

static struct clipboard *clipboard_of(struct chardev *cd)
{
	return container_of(cd, struct clipboard, cd);
}

static void tell_lost(struct clipboard *c)
{
	if (c->agent.nr_lost == c->nr_lost)
		return;
	c->nr_lost = c->agent.nr_lost;
	log_warn("vm.clipboard", kv_str("why", "the guest's agent sends what is no message"));
}

static ssize_t clipboard_write(struct chardev *cd, const void *buf, size_t n)
{
	struct clipboard *c = clipboard_of(cd);
	_cleanup_(mem_freep) char *text = NULL;
	size_t text_n;
	bool has_say;

	mutex_lock(&c->lock);
	agent_heard(&c->agent, buf, n);
	tell_lost(c);
	text = agent_take(&c->agent, &text_n);
	has_say = agent_has_say(&c->agent);
	mutex_unlock(&c->lock);
	if (text && c->copied)
		c->copied(c->arg, (struct str){ text, text_n });
	if (has_say)
		io_task_queue(c->io, &c->task);
	return (ssize_t)n;
}

static void clipboard_can_receive_again(struct chardev *cd)
{
	struct clipboard *c = clipboard_of(cd);

	io_task_queue(c->io, &c->task);
}

static void clipboard_opened(struct chardev *cd, bool is_open)
{
	struct clipboard *c = clipboard_of(cd);

	mutex_lock(&c->lock);
	agent_opened(&c->agent, is_open);
	c->held_n = 0;
	c->nr_opens++;
	mutex_unlock(&c->lock);
	if (is_open)
		io_task_queue(c->io, &c->task);
}

/* The next bytes into @buf; returns how many. */
static size_t next_bytes(struct clipboard *c, uint8_t *buf, uint64_t *ret_opens)
{
	mutex_guard(&c->lock);
	if (!c->held_n)
		c->held_n = agent_say(&c->agent, c->held, sizeof(c->held));
	memcpy(buf, c->held, c->held_n);
	*ret_opens = c->nr_opens;
	return c->held_n;
}

static void bytes_taken(struct clipboard *c, size_t n, uint64_t opens)
{
	mutex_guard(&c->lock);
	if (opens != c->nr_opens)
		return;
	c->held_n -= n;
	memmove(c->held, c->held + n, c->held_n);
}

static void run(void *arg)
{
	struct clipboard *c = arg;
	uint8_t buf[CLIPBOARD_HELD];
	uint64_t opens;
	size_t n, taken;

	do {
		n = next_bytes(c, buf, &opens);
		taken = n && c->cd.receive ? c->cd.receive(c->cd.port_arg, buf, n) : 0;
		bytes_taken(c, taken, opens);
	} while (taken && taken == n);
}

static const struct chardev_ops clipboard_ops = {
	.write = clipboard_write,
	.can_receive_again = clipboard_can_receive_again,
	.opened = clipboard_opened,
};

void clipboard_init(struct clipboard *c, struct iothread *io)
{
	memset(c, 0, sizeof(*c));
	c->cd.ops = &clipboard_ops;
	c->io = io;
	io_task_init(&c->task, run, c);
	mutex_init(&c->lock);
}

void clipboard_done(struct clipboard *c)
{
	io_task_cancel(c->io, &c->task);
	agent_done(&c->agent);
	pthread_mutex_destroy(&c->lock);
}

void clipboard_set_copied(struct clipboard *c, void (*fn)(void *arg, struct str text), void *arg)
{
	c->copied = fn;
	c->arg = arg;
}

void clipboard_offer(struct clipboard *c, struct str text)
{
	int r;

	mutex_lock(&c->lock);
	r = agent_offer(&c->agent, text);
	mutex_unlock(&c->lock);
	if (r < 0)
		log_info("vm.clipboard", kv_str("why", "a viewer's text is too long"));
	else
		io_task_queue(c->io, &c->task);
}
