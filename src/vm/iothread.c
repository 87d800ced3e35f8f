/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices' thread. A vCPU hands work over by putting a task on a list; it pays for a system call only when
 * the thread sleeps, which it says by a flag that it sets before it looks at the list for the last time.
 *
 * A loop of its own rather than a library's: what is needed is a list and epoll, and the lock around the
 * callbacks, by which the rest of the machine knows that no device writes guest memory, would not fit one.
 */
#include "vm/iothread.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sys/fd.h"

enum { EVENTS_AT_ONCE = 32, TASKS_AT_ONCE = 64 };

static void wake(struct iothread *io)
{
	const uint64_t one = 1;

	atomic_fetch_add_explicit(&io->nr_wakes, 1, memory_order_relaxed);
	ignore_result(write(io->wake_fd, &one, sizeof(one))); /* a full counter wakes as well */
}

static bool is_idle(struct iothread *io)
{
	mutex_guard(&io->lock);
	return list_empty(&io->ready);
}

static struct io_task *next_task(struct iothread *io)
{
	struct list *l;

	mutex_guard(&io->lock);
	l = list_pop(&io->ready);
	return l ? list_entry(l, struct io_task, link) : NULL;
}

/* Tasks that are queued meanwhile have their turn after a look at the descriptors. */
static bool run_tasks(struct iothread *io)
{
	unsigned int n;

	for (n = 0; n < TASKS_AT_ONCE; n++) {
		struct io_task *t;

		mutex_guard(&io->work);
		t = next_task(io);
		if (!t)
			break;
		t->fn(t->arg);
	}
	return n > 0;
}

static bool run_watches(struct iothread *io, int timeout_ms)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	uint64_t count;
	int n;

	n = epoll_wait(io->epoll_fd, ev, timeout_ms ? EVENTS_AT_ONCE : 1, timeout_ms);
	atomic_store(&io->is_asleep, false);
	if (n <= 0)
		return false;
	mutex_guard(&io->work);
	/* Once more, under the lock: whoever held it may have taken a watch away. */
	n = epoll_wait(io->epoll_fd, ev, EVENTS_AT_ONCE, 0);
	for (int k = 0; k < n; k++) {
		struct io_watch *w = ev[k].data.ptr;

		if (!w)
			ignore_result(read(io->wake_fd, &count, sizeof(count)));
		else if (w->fd >= 0) /* a callback before this one may have taken it away */
			w->fn(w->arg, ev[k].events);
	}
	return true;
}

static void io_thread(void *arg)
{
	struct iothread *io = arg;

	while (!atomic_load(&io->stop)) {
		if (run_tasks(io)) {
			run_watches(io, 0);
			continue;
		}
		atomic_store(&io->is_asleep, true);
		run_watches(io, is_idle(io) && !atomic_load(&io->stop) ? -1 : 0);
	}
}

bool iothread_run(struct iothread *io)
{
	bool did = run_tasks(io);

	return run_watches(io, 0) || did;
}

int iothread_init(struct iothread *io, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };

	memset(io, 0, sizeof(*io));
	mutex_init(&io->work);
	mutex_init(&io->lock);
	list_init(&io->ready);
	io->wake_fd = -EBADF;
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (io->epoll_fd >= 0)
		io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->wake_fd >= 0 && epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, io->wake_fd, &ev) == 0)
		return 0;
	err_set_errno(err, "the devices' thread");
	iothread_done(io);
	return err ? err->code : -EMFILE;
}

int iothread_start(struct iothread *io, struct err *err)
{
	atomic_store(&io->stop, false);
	return thread_start(&io->thread, "io", io_thread, io, err);
}

void iothread_stop(struct iothread *io)
{
	if (!io->thread.name)
		return;
	atomic_store(&io->stop, true);
	wake(io);
	thread_join(&io->thread);
}

void iothread_done(struct iothread *io)
{
	if (!io->ready.next)
		return;
	iothread_stop(io);
	fd_closep(&io->epoll_fd);
	fd_closep(&io->wake_fd);
	pthread_mutex_destroy(&io->work);
	pthread_mutex_destroy(&io->lock);
	io->ready.next = NULL;
}

void iothread_pause(struct iothread *io)
{
	mutex_lock(&io->work);
}

void iothread_resume(struct iothread *io)
{
	mutex_unlock(&io->work);
}

bool iothread_enter(struct iothread *io)
{
	return atomic_load(&io->is_asleep) && pthread_mutex_trylock(&io->work) == 0;
}

void iothread_leave(struct iothread *io)
{
	mutex_unlock(&io->work);
}

void io_task_init(struct io_task *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct io_task){ .fn = fn, .arg = arg };
	list_init(&t->link);
}

void io_task_queue(struct iothread *io, struct io_task *t)
{
	mutex_lock(&io->lock);
	if (list_empty(&t->link))
		list_push(&io->ready, &t->link);
	mutex_unlock(&io->lock);
	if (atomic_load(&io->is_asleep) && atomic_exchange(&io->is_asleep, false))
		wake(io);
}

void io_task_cancel(struct iothread *io, struct io_task *t)
{
	if (!t->fn)
		return;
	mutex_guard(&io->work);
	mutex_guard(&io->lock);
	list_del(&t->link);
}

int io_watch_add(struct iothread *io, struct io_watch *w, uint32_t events, struct err *err)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return err_set_errno(err, "watch descriptor %d", w->fd);
	w->events = events;
	return 0;
}

void io_watch_set(struct iothread *io, struct io_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->fd < 0 || w->events == events)
		return;
	w->events = events;
	/* Fails only for a descriptor that is not watched. */
	ignore_result(epoll_ctl(io->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev));
}

void io_watch_del(struct iothread *io, struct io_watch *w)
{
	if (w->fd >= 0)
		ignore_result(epoll_ctl(io->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL));
	w->fd = -1;
	w->events = 0;
}
