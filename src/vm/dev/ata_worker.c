/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that carries commands of drives out.
 *
 *	a command in the registers --> take() --> run() --> finish(): the registers as after the command
 *	                                             └─ a reset meanwhile (epoch): the result is dropped
 *
 * A vCPU never waits for a disk. Requests go to it as those of virtio disks do (disk_submit()), so limits hold, and a write
 * for which the host has no space waits. The worker waits with it; data is in its buffer meanwhile, so a pause does not.
 * A reset hurries the disk.
 *
 * One command at a time for all drives: these controllers are for installers, CD images and systems without virtio.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "vm/dev/ata_priv.h"

/* --- the disk ---------------------------------------------------------------------------------- */

struct transfer {
	struct disk_request req;
	struct ata_worker *worker;
	bool is_done;
	int status;
};

static void transferred(struct disk_request *req, int status)
{
	struct transfer *t = container_of(req, struct transfer, req);
	struct ata_worker *w = t->worker;

	mutex_guard(&w->move_lock);
	t->status = status;
	t->is_done = true;
	pthread_cond_signal(&w->moved);
}

bool ata_is_dropped(const struct ata_command *c)
{
	return c->worker->stop || c->drive->epoch != c->epoch;
}

int ata_move(struct ata_command *c, enum disk_op op, uint64_t off, uint64_t len)
{
	struct ata_worker *w = c->worker;
	struct iovec iov = { w->buffer, len };
	struct transfer t = { .worker = w,
			      .req = { .op = op,
				       .off = off,
				       .len = len,
				       .iov = &iov,
				       .nr_iov = op == DISK_OP_READ || op == DISK_OP_WRITE,
				       .done = transferred } };
	bool is_over;

	/* Under the lock: who hurries the disk afterwards finds the request there. */
	mutex_lock(&w->lock);
	if (ata_is_dropped(c)) {
		mutex_unlock(&w->lock);
		return -ECANCELED;
	}
	w->is_moving = true;
	disk_submit(c->drive->disk, &t.req);
	pthread_cond_broadcast(&w->idle);
	mutex_unlock(&w->lock);

	mutex_lock(&w->move_lock);
	while (!t.is_done)
		cond_wait(&w->moved, &w->move_lock);
	mutex_unlock(&w->move_lock);

	mutex_lock(&w->lock);
	while (w->pauses && !w->is_settling && !ata_is_dropped(c))
		cond_wait(&w->work, &w->lock);
	w->is_moving = false;
	is_over = ata_is_dropped(c);
	mutex_unlock(&w->lock);
	return is_over ? -ECANCELED : t.status;
}

/* What a disk makes wait for its limits, or for space, does not any more. */
static void hurry(struct ata_worker *w)
{
	for (unsigned int k = 0; k < w->nr_drives; k++)
		if (w->drive[k]->disk)
			disk_hurry(w->drive[k]->disk);
}

/* --- commands ---------------------------------------------------------------------------------- */

/* The next one, if one waits and may be begun. Under the lock. */
static struct ata_command *take(struct ata_worker *w)
{
	struct ata_command *c = w->pauses ? NULL : w->ops->take(w);

	if (!c)
		return NULL;
	c->worker = w;
	c->epoch = c->drive->epoch;
	w->is_working = true;
	return c;
}

static void carry_out(struct ata_worker *w, struct ata_command *c)
{
	int r = w->ops->run(c);

	mutex_guard(&w->lock);
	w->ops->finish(c, r, c->drive->epoch != c->epoch);
	w->is_working = false;
	pthread_cond_broadcast(&w->idle);
}

unsigned int ata_work(struct ata_worker *w)
{
	struct ata_command *c;

	for (unsigned int n = 0;; n++) {
		mutex_lock(&w->lock);
		c = take(w);
		mutex_unlock(&w->lock);
		if (!c)
			return n;
		carry_out(w, c);
	}
}

static void worker(void *arg)
{
	struct ata_worker *w = arg;

	for (;;) {
		struct ata_command *c = NULL;

		mutex_lock(&w->lock);
		while (!w->stop && !(c = take(w)))
			cond_wait(&w->work, &w->lock);
		mutex_unlock(&w->lock);
		if (!c)
			return;
		carry_out(w, c);
	}
}

int ata_start(struct ata_worker *w, struct err *err)
{
	int r = thread_start(&w->thread, "ata", worker, w, err);

	w->has_thread = r == 0;
	return r;
}

void ata_stop(struct ata_worker *w)
{
	if (!w->has_thread)
		return;
	mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->work);
	hurry(w);
	mutex_unlock(&w->lock);
	thread_join(&w->thread);
	w->has_thread = w->stop = false;
}

void ata_pause(struct ata_worker *w)
{
	mutex_guard(&w->lock);
	w->pauses++;
	while (w->is_working && !w->is_moving)
		cond_wait(&w->idle, &w->lock);
}

void ata_settle(struct ata_worker *w)
{
	mutex_guard(&w->lock);
	w->is_settling = true;
	pthread_cond_broadcast(&w->work);
	hurry(w);
	while (w->is_working)
		cond_wait(&w->idle, &w->lock);
	w->is_settling = false;
}

void ata_resume(struct ata_worker *w)
{
	mutex_guard(&w->lock);
	w->pauses--;
	pthread_cond_broadcast(&w->work);
}

/* --- drives ------------------------------------------------------------------------------------ */

void ata_drive_plug(struct ata_drive *d, struct disk *disk, bool is_cd, bool is_readonly,
		    const char *serial)
{
	d->disk = disk;
	d->has_drive = true;
	d->is_cd = is_cd;
	d->is_readonly = is_readonly || is_cd;
	snprintf(d->serial, sizeof(d->serial), "%.20s", serial);
}

void ata_power_on(struct ata_worker *w)
{
	pthread_cond_broadcast(&w->work);
	hurry(w);
	while (w->is_working)
		cond_wait(&w->idle, &w->lock);
	for (unsigned int k = 0; k < w->nr_drives; k++) {
		struct ata_drive *d = w->drive[k];

		memset(d->sense, 0, sizeof(d->sense));
		d->medium_changed = d->is_cd;
	}
}

void ata_worker_add(struct ata_worker *w, struct ata_drive *d)
{
	assert(w->nr_drives < ATA_DRIVES);
	w->drive[w->nr_drives++] = d;
}

void ata_worker_init(struct ata_worker *w, const struct ata_worker_ops *ops)
{
	*w = (struct ata_worker){ .ops = ops, .buffer = mem_new(ATA_BUFFER) };
	mutex_init(&w->lock);
	cond_init(&w->work);
	cond_init(&w->idle);
	mutex_init(&w->move_lock);
	cond_init(&w->moved);
}

void ata_worker_done(struct ata_worker *w)
{
	if (!w->buffer)
		return;
	free(take_ptr(&w->buffer));
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->moved);
	pthread_mutex_destroy(&w->move_lock);
	pthread_mutex_destroy(&w->lock);
}
