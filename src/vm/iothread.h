/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_IOTHREAD_H
#define VM_IOTHREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/list.h"
#include "sys/thread.h"

/*
 * The thread that does devices' work: it sleeps until a task is queued or a descriptor is ready, and runs
 * their callbacks one after the other. What a guest asks of a device by a cheap register write is done
 * here, and so is everything a device writes into guest memory.
 *
 * Callbacks run with the thread's "work" lock held and no other; they may queue tasks and change watches.
 */
struct iothread {
	pthread_mutex_t work; /* held while callbacks run: iothread_pause() */
	pthread_mutex_t lock; /* guards the list of ready tasks */
	struct list ready;
	int epoll_fd, wake_fd;
	_Atomic bool is_asleep, stop;
	struct thread thread;
	_Atomic uint64_t nr_wakes; /* for tests and statistics */
};

struct io_task {
	struct list link; /* in iothread.ready, under its lock */
	void (*fn)(void *arg);
	void *arg;
};

struct io_watch {
	int fd;		 /* negative: not watched */
	uint32_t events; /* that are asked for now; the iothread's, others read it */
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};

/* iothread_init - not running yet. Returns 0; -EMFILE and the like. Thread: owner. */
_nodiscard_ int iothread_init(struct iothread *io, struct err *err);
/* iothread_start - let the thread run; without it, iothread_run() does the work. Returns 0; -EAGAIN. */
_nodiscard_ int iothread_start(struct iothread *io, struct err *err);
/* iothread_stop - the thread ends after its present callback; harmless when it does not run. iothread_done -
 * the same, and the end of it; no task is queued afterwards. Thread: owner. */
void iothread_stop(struct iothread *io);
void iothread_done(struct iothread *io);

/* iothread_run - do what is ready now, on the calling thread. Returns whether there was anything. Only while
 * the thread does not run. */
bool iothread_run(struct iothread *io);

/* iothread_pause, iothread_resume - no callback runs in between. Not from a callback. */
void iothread_pause(struct iothread *io);
void iothread_resume(struct iothread *io);

/*
 * iothread_enter - be the devices' thread for a moment: true when that one sleeps and nobody else is it. Then no
 * callback runs until iothread_leave(), and the caller may do what a callback does.
 *
 * For what is done sooner than a thread is woken. With no lock held that a callback takes.
 */
bool iothread_enter(struct iothread *io);
void iothread_leave(struct iothread *io);

/* io_task_init - a task in caller's memory. */
void io_task_init(struct io_task *t, void (*fn)(void *arg), void *arg);
/* io_task_queue - let the task's function run soon; once, however often it is queued before that. Thread: any. */
void io_task_queue(struct iothread *io, struct io_task *t);
/* io_task_cancel - it is not queued and does not run any more. Not from a callback, and with no lock held that
 * a callback takes. */
void io_task_cancel(struct iothread *io, struct io_task *t);

/*
 * io_watch_add - call w->fn(events) whenever w->fd is ready for one of @events (EPOLLIN, EPOLLOUT); @w is the
 * caller's. io_watch_set - other events; 0: none for now; no system call when these are asked for already; for one
 * watch one thread at a time. io_watch_del - no more; afterwards the callback does
 * not run, when called from the thread or while it is paused or stopped. Thread: any.
 */
_nodiscard_ int io_watch_add(struct iothread *io, struct io_watch *w, uint32_t events,
			     struct err *err);
void io_watch_set(struct iothread *io, struct io_watch *w, uint32_t events);
void io_watch_del(struct iothread *io, struct io_watch *w);

#endif
