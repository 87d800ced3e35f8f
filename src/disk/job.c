/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: work on the graph that takes long and goes on beside requests, on a thread of its own, one at a time a disk.
 *
 * A job goes through the disk piece by piece. A piece is held exclusively while it is copied: requests for just that
 * piece wait some milliseconds, all others do not notice; so nothing has to be said about requests that change what is
 * being copied. What they change afterwards is marked (dirty.c) and copied again. At the end everything is held
 * for a moment, the rest copied and the graph changed.
 *
 *	running ──> done
 *	   ├──────> cancelled	by disk_job_cancel() or disk_close()
 *	   └──────> failed	with words
 *
 * What the images hold at each moment, so at each crash, is said in job_commit.c and job_stream.c.
 *
 * The speed limit is a bucket of throttle.c, over what is copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/job_priv.h"
#include "sys/fd.h"
#include "sys/thread.h"

#define PIECE	  (1U << 20)
#define BUF_ALIGN 4096

int admin_begin(struct disk *disk, struct err *err)
{
	enum disk_job_kind kind;

	mutex_lock(&disk->admin);
	if (!disk->job || !job_is_running(disk->job))
		return 0;
	kind = disk->job->opts.kind;
	mutex_unlock(&disk->admin);
	return err_set(err, -EBUSY,
		       "a %s is going on at this disk: wait for it, or cancel it first",
		       disk_job_kind_name(kind));
}

void admin_end(struct disk *disk)
{
	mutex_unlock(&disk->admin);
}

const char *disk_job_kind_name(enum disk_job_kind kind)
{
	static const char *const names[] = {
		[DISK_JOB_COMMIT] = "commit",
		[DISK_JOB_STREAM] = "stream",
		[DISK_JOB_BACKUP] = "backup",
	};

	return names[kind];
}

const char *disk_job_state_name(enum disk_job_state state)
{
	static const char *const names[] = {
		[DISK_JOB_NONE] = "none",     [DISK_JOB_RUNNING] = "running",
		[DISK_JOB_DONE] = "done",     [DISK_JOB_CANCELLED] = "cancelled",
		[DISK_JOB_FAILED] = "failed",
	};

	return names[state];
}

/* --- for the jobs ----------------------------------------------------------------------------- */

bool job_is_running(struct job *j)
{
	mutex_guard(&j->lock);

	return j->status.state == DISK_JOB_RUNNING;
}

bool job_is_cancelled(struct job *j)
{
	return atomic_load(&j->cancel);
}

uint64_t job_piece(struct job *j)
{
	j->align = 1;
	for (const struct image *img = j->disk->top; img; img = img->below)
		j->align = MAX(j->align, img->cluster);
	return MAX((uint64_t)PIECE, (uint64_t)j->align);
}

int job_buffer(uint64_t bytes, uint8_t **ret, struct err *err)
{
	void *buf;

	if (posix_memalign(&buf, BUF_ALIGN, bytes))
		return err_set(err, -ENOMEM, "no memory");
	*ret = buf;
	return 0;
}

void job_hold(struct job *j, struct disk_hold *hold, uint64_t off, uint64_t len)
{
	uint64_t from = align_down(off, j->align), to = align_up(off + len, j->align);

	range_take(&j->disk->ranges, hold, from, to - from, true);
}

void job_progress(struct job *j, uint64_t done, uint64_t more)
{
	mutex_guard(&j->lock);

	j->status.done += done;
	j->status.total += more;
}

void job_pace(struct job *j, uint64_t bytes)
{
	mutex_guard(&j->lock);

	buckets_charge(&j->speed, true, bytes, clock_now(j->disk->clock));
	for (;;) {
		uint64_t now = clock_now(j->disk->clock);
		uint64_t when = buckets_when(&j->speed, true, now);

		if (when <= now || atomic_load(&j->cancel))
			return;
		/* A test's clock is moved by hand, and then it asks again. */
		if (j->disk->clock == clock_real())
			cond_wait_until(&j->changed, &j->lock, when);
		else
			cond_wait(&j->changed, &j->lock);
	}
}

int job_fail(struct err *err, int r, const char *what, uint64_t off)
{
	return err_set(err, r, "%s at %llu: %s", what, (unsigned long long)off, disk_strerror(r));
}

/* --- life ------------------------------------------------------------------------------------- */

static void drop_handed(struct job *j)
{
	for (unsigned k = 0; k < j->handed.nr; k++) {
		int fd = j->handed.fd[k];

		fd_closep(&fd);
	}
	free((void *)(uintptr_t)j->handed.fd);
	free((void *)(uintptr_t)j->handed.name);
	j->handed = (struct disk_handed){ 0 };
	j->opts.handed = NULL;
}

/* Copies of the caller's, which live as long as the work. */
static int keep_handed(struct job *j, const struct disk_handed *h, struct err *err)
{
	int *copies;

	if (!h)
		return 0;
	copies = mem_new_n(h->nr + 1, sizeof(*copies));
	j->handed.fd = copies;
	j->handed.name = h->name ? mem_strdup(h->name) : NULL;
	j->opts.handed = &j->handed;
	for (; j->handed.nr < h->nr; j->handed.nr++) {
		copies[j->handed.nr] = fcntl(h->fd[j->handed.nr], F_DUPFD_CLOEXEC, 0);
		if (copies[j->handed.nr] < 0)
			return err_set_errno(err, "a file that was handed over");
	}
	return 0;
}

static const struct {
	int (*check)(struct job *j, struct err *err);
	int (*run)(struct job *j, struct err *err);
	int (*begin)(struct job *j, struct err *err); /* NULL: run() does */
} kinds[] = {
	[DISK_JOB_COMMIT] = { job_commit_check, job_commit, NULL },
	[DISK_JOB_STREAM] = { job_stream_check, job_stream, NULL },
	[DISK_JOB_BACKUP] = { job_backup_check, job_backup, job_backup_begin },
};

static void work(void *arg)
{
	struct job *j = arg;
	struct err err = ERR_INIT;
	int r = kinds[j->opts.kind].run(j, &err);

	mutex_lock(&j->lock);
	drop_handed(j);
	if (r == 0) {
		j->status.state = DISK_JOB_DONE;
		j->status.done = j->status.total;
	} else if (r == -ECANCELED) {
		j->status.state = DISK_JOB_CANCELLED;
	} else {
		j->status.state = DISK_JOB_FAILED;
		snprintf(j->status.error, sizeof(j->status.error), "%s", err_text(&err));
	}
	pthread_cond_broadcast(&j->changed);
	mutex_unlock(&j->lock);
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	thread_join(&j->thread);
	drop_handed(j);
	job_backup_undo(j);
	free((void *)(uintptr_t)j->opts.bitmap);
	pthread_cond_destroy(&j->changed);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

void job_stop(struct job *j)
{
	if (!j)
		return;
	atomic_store(&j->cancel, true);
	mutex_lock(&j->lock);
	pthread_cond_broadcast(&j->changed);
	mutex_unlock(&j->lock);
	job_free(j);
}

static void set_speed(struct job *j, uint64_t bps)
{
	const struct disk_limits l = { .bps = bps };

	buckets_init(&j->speed, &l);
	j->status.bps = bps;
}

/* The image of the chain that a file is. @by_name: only as disk_info() tells it. */
static int find_image(struct disk *disk, const char *path, bool by_name, struct image **ret,
		      struct err *err)
{
	struct stat st;

	for (struct image *img = disk->top; img; img = img->below) {
		if (!strcmp(img->path, path)) {
			*ret = img;
			return 0;
		}
	}
	if (by_name)
		return err_set(err, -ENOENT, "'%s' is no image of this disk", path);
	if (stat(path, &st) < 0)
		return err_set_errno(err, "'%s'", path);
	for (struct image *img = disk->top; img; img = img->below) {
		if (img->file->dev == st.st_dev && img->file->ino == st.st_ino) {
			*ret = img;
			return 0;
		}
	}
	return err_set(err, -ENOENT, "'%s' is no image of this disk", path);
}

static int find_images(struct job *j, struct err *err)
{
	const struct disk_job_opts *o = &j->opts;
	int r = 0;

	if (o->top && o->kind == DISK_JOB_COMMIT)
		r = find_image(j->disk, o->top, o->handed, &j->upper, err);
	else if (o->top)
		r = err_set(err, -EINVAL, "a stream goes into the top image");
	if (r < 0)
		return r;
	if (!j->upper->below)
		return err_set(err, -EINVAL, "'%s' has no backing file", j->upper->path);
	if (o->kind == DISK_JOB_COMMIT)
		j->base = j->upper->below;
	if (o->base)
		r = find_image(j->disk, o->base, o->handed, &j->base, err);
	if (r < 0)
		return r;
	for (struct image *img = j->upper->below; img && o->base; img = img->below)
		if (img == j->base)
			return 0;
	return o->base ? err_set(err, -EINVAL, "'%s' is not below '%s'", o->base, j->upper->path)
		       : 0;
}

static int check(struct job *j, struct err *err)
{
	int r = 0;

	if (j->opts.kind != DISK_JOB_BACKUP)
		r = find_images(j, err);
	if (r == 0 && j->opts.kind != DISK_JOB_BACKUP && !(j->disk->flags & DISK_RDWR))
		r = err_set(err, -EROFS, "the disk is open for reading");
	return r < 0 ? r : kinds[j->opts.kind].check(j, err);
}

int disk_job_start(struct disk *disk, const struct disk_job_opts *o, struct err *err)
{
	struct job *j;
	int r = admin_begin(disk, err);

	if (r < 0)
		return r;
	j = mem_new(sizeof(*j));
	mutex_init(&j->lock);
	cond_init(&j->changed);
	j->disk = disk;
	j->upper = disk->top;
	j->opts = *o;
	j->opts.bitmap = o->bitmap ? mem_strdup(o->bitmap) : NULL;
	j->status.kind = o->kind;
	j->status.state = DISK_JOB_RUNNING;
	set_speed(j, o->bps);
	r = keep_handed(j, o->handed, err);
	if (r == 0)
		r = check(j, err);
	j->opts.top = j->opts.base = NULL; /* the caller's */
	/* A backup says itself how much it is. */
	j->status.total = o->kind == DISK_JOB_BACKUP ? 0 : j->upper->size;
	if (r == 0 && kinds[o->kind].begin)
		r = kinds[o->kind].begin(j, err);
	if (r == 0)
		r = thread_start(&j->thread, "disk-job", work, j, err);
	if (r == 0) {
		job_free(disk->job);
		disk->job = j;
	} else {
		job_free(j);
	}
	admin_end(disk);
	return r;
}

void disk_job_status(struct disk *disk, struct disk_job_status *ret)
{
	*ret = (struct disk_job_status){ .state = DISK_JOB_NONE };
	mutex_guard(&disk->admin);
	if (disk->job) {
		mutex_guard(&disk->job->lock);
		*ret = disk->job->status;
	}
}

/* Under `admin`: the job that goes on; NULL, with the story, when there is none. */
static struct job *running_job(struct disk *disk, struct err *err)
{
	if (disk->job && job_is_running(disk->job))
		return disk->job;
	err_set(err, -ESRCH, "no job is going on at this disk");
	return NULL;
}

/* Tell the job that goes on; @bps: NULL to end it. */
static int tell_job(struct disk *disk, const uint64_t *bps, struct err *err)
{
	struct job *j;

	mutex_guard(&disk->admin);
	j = running_job(disk, err);
	if (!j)
		return -ESRCH;
	mutex_guard(&j->lock);
	if (bps)
		set_speed(j, *bps);
	else
		atomic_store(&j->cancel, true);
	pthread_cond_broadcast(&j->changed);
	return 0;
}

int disk_job_cancel(struct disk *disk, struct err *err)
{
	return tell_job(disk, NULL, err);
}

int disk_job_set_speed(struct disk *disk, uint64_t bps, struct err *err)
{
	return tell_job(disk, &bps, err);
}

int disk_job_wait(struct disk *disk, uint64_t deadline_ns, struct disk_job_status *ret)
{
	struct job *j;
	int r = 0;

	/* Nobody takes it away meanwhile: the caller is the only one who starts and closes. */
	mutex_lock(&disk->admin);
	j = disk->job;
	mutex_unlock(&disk->admin);
	if (!j)
		return -ESRCH;
	mutex_guard(&j->lock);
	while (r == 0 && j->status.state == DISK_JOB_RUNNING)
		r = cond_wait_until(&j->changed, &j->lock, deadline_ns);
	*ret = j->status;
	return r;
}
