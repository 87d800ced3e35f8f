/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests without waiting. A device submits on a vCPU's thread, where waiting for the disk would stop the
 * guest; what has to wait is given to a few workers, who do it by the plain code of io.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "disk/graph_priv.h"
#include "sys/thread.h"

#define WORKERS_MAX 64

struct async {
	struct disk *disk;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct list queue;
	unsigned nr_in_flight; /* submitted and not done */
	bool is_ending;
	unsigned nr_workers;
	struct thread workers[WORKERS_MAX];
};

static void finish(struct async *a, struct disk_request *req, int status)
{
	req->done(req, status);
	mutex_lock(&a->lock);
	if (!--a->nr_in_flight)
		pthread_cond_broadcast(&a->idle);
	mutex_unlock(&a->lock);
}

static void worker(void *arg)
{
	struct async *a = arg;

	mutex_lock(&a->lock);
	for (;;) {
		struct list *l = list_pop(&a->queue);
		struct disk_request *req;

		if (!l && a->is_ending)
			break;
		if (!l) {
			cond_wait(&a->work, &a->lock);
			continue;
		}
		mutex_unlock(&a->lock);
		req = list_entry(l, struct disk_request, priv.link);
		finish(a, req, request_run(a->disk, req));
		mutex_lock(&a->lock);
	}
	mutex_unlock(&a->lock);
}

void async_stop(struct async *a)
{
	if (!a)
		return;
	mutex_lock(&a->lock);
	assert(!a->nr_in_flight);
	a->is_ending = true;
	pthread_cond_broadcast(&a->work);
	mutex_unlock(&a->lock);
	for (unsigned i = 0; i < a->nr_workers; i++)
		thread_join(&a->workers[i]);
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int disk_async_start(struct disk *disk, unsigned nr_workers, struct err *err)
{
	struct async *a;
	int r = 0;

	if (disk->async)
		return err_set(err, -EALREADY, "the disk takes requests already");
	a = mem_new(sizeof(*a));
	a->disk = disk;
	mutex_init(&a->lock);
	cond_init(&a->work);
	cond_init(&a->idle);
	list_init(&a->queue);
	nr_workers = MIN(MAX(nr_workers, 1U), (unsigned)WORKERS_MAX);
	while (r == 0 && a->nr_workers < nr_workers) {
		r = thread_start(&a->workers[a->nr_workers], "disk", worker, a, err);
		a->nr_workers += r == 0;
	}
	if (r < 0) {
		async_stop(a);
		return r;
	}
	disk->async = a;
	return 0;
}

void disk_submit(struct disk *disk, struct disk_request *req)
{
	struct async *a = disk->async;

	mutex_guard(&a->lock);
	a->nr_in_flight++;
	list_push(&a->queue, &req->priv.link);
	pthread_cond_signal(&a->work);
}

void disk_drain(struct disk *disk)
{
	struct async *a = disk->async;

	if (!a)
		return;
	mutex_guard(&a->lock);
	while (a->nr_in_flight)
		cond_wait(&a->idle, &a->lock);
}
