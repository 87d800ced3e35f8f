/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_DISK_JOB_PRIV_H
#define ATOLL_DISK_JOB_PRIV_H

#include "disk/graph_priv.h"
#include "disk/throttle_priv.h"
#include "sys/thread.h"

/*
 * Long work on the graph. While one is running, nothing else changes the graph or an image as a whole, so that
 * `upper` and `base` are safe to use on the job's thread.
 */
struct job {
	struct disk *disk;
	struct disk_job_opts opts;
	struct disk_handed handed; /* ours, when there are: opts.handed */
	struct image *upper;	   /* the topmost image that is merged, or filled */
	struct image *base;    /* what it is merged into; of a stream: what stays below, or NULL */
	uint32_t align;	       /* the largest cluster of the chain */
	struct backup *backup; /* that has begun; until its thread runs */
	struct thread thread;
	_Atomic bool cancel;
	pthread_mutex_t lock; /* guards the rest; innermost */
	pthread_cond_t changed;
	struct disk_job_status status;
	struct buckets speed;
};

bool job_is_running(struct job *j);
bool job_is_cancelled(struct job *j);
/* How much is held and copied at once: whole clusters of each image. */
uint64_t job_piece(struct job *j);
/* Memory to copy through, aligned for O_DIRECT; free(). Returns 0 or -ENOMEM with the story. */
_nodiscard_ int job_buffer(uint64_t bytes, uint8_t **ret, struct err *err);
/* A range exclusively, rounded out to clusters of every image; range_release(). */
void job_hold(struct job *j, struct disk_hold *hold, uint64_t off, uint64_t len);
/* So much was looked at; there is so much more to do than was known. */
void job_progress(struct job *j, uint64_t done, uint64_t more);
/* So much was copied: wait as long as the speed limit says, or until the job is cancelled. Nothing is held. */
void job_pace(struct job *j, uint64_t bytes);
/* The story of an error while copying. */
int job_fail(struct err *err, int r, const char *what, uint64_t off);

/* Can it be done? Under admin. */
_nodiscard_ int job_commit_check(struct job *j, struct err *err);
_nodiscard_ int job_stream_check(struct job *j, struct err *err);
_nodiscard_ int job_backup_check(struct job *j, struct err *err);
/* The moment that the backup is of, on the thread of who asks for it; and if then no thread can be had, nothing was. */
_nodiscard_ int job_backup_begin(struct job *j, struct err *err);
void job_backup_undo(struct job *j);
/* Do it. Return 0; -ECANCELED; else with the story. */
_nodiscard_ int job_commit(struct job *j, struct err *err);
_nodiscard_ int job_stream(struct job *j, struct err *err);
_nodiscard_ int job_backup(struct job *j, struct err *err);
/* The graph stands still: `above` names @base (NULL: none) as its backing file, on the medium and here. What was between
 * them is closed. */
_nodiscard_ int job_cut_out(struct job *j, struct image *above, struct image *base,
			    struct err *err);

#endif
