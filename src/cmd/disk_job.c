/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll disk commit`, `stream` and `backup`: the jobs that a running machine's disks have, on an image that nobody uses. They
 * are the same code, so what an interruption leaves is the same, too: the image shows the disk at each moment.
 */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/backup_target.h"
#include "cmd/disk.h"
#include "cmd/progress.h"

static int wait_for(struct disk *disk, bool progress, struct err *err)
{
	struct disk_job_status st;
	struct progress bar;
	int r;

	progress_begin(&bar, progress);
	do {
		r = disk_job_wait(disk, clock_now(clock_real()) + 200 * NS_PER_MS, &st);
		progress_show(&bar, st.done, st.total, NULL);
	} while (r == -ETIMEDOUT);
	progress_end(&bar);
	if (r == 0 && st.state != DISK_JOB_DONE)
		r = err_set(err, -EIO, "%s", st.error);
	return r;
}

static int run(const struct cmd_call *call, enum disk_job_kind kind)
{
	const struct disk_job_cmd_opts *o = call->opts;
	const struct disk_job_opts job = { .kind = kind, .base = o->base };
	struct disk *disk = NULL;
	struct err err = ERR_INIT;
	int r = disk_open_image(call->args[0], &o->image, DISK_RDWR | DISK_UNMAP, NULL, &disk,
				&err);

	if (r == 0)
		r = disk_job_start(disk, &job, &err);
	if (r == 0)
		r = wait_for(disk, o->progress, &err);
	return disk_close_changed(call, disk, r, &err);
}

int cmd_disk_commit_exec(const struct cmd_call *call)
{
	return run(call, DISK_JOB_COMMIT);
}

int cmd_disk_stream_exec(const struct cmd_call *call)
{
	return run(call, DISK_JOB_STREAM);
}

/* --- backup ------------------------------------------------------------------------------------ */

static int back_up(struct disk *disk, const struct disk_backup_cmd_opts *o, const char *path,
		   struct err *err)
{
	const struct disk_open_opts open = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_TOP_ONLY,
		.format = o->backup.format,
	};
	struct disk_job_opts job = {
		.kind = DISK_JOB_BACKUP,
		.bitmap = o->backup.bitmap,
		.is_increment = o->backup.update || o->backup.onto,
	};
	int r = disk_open(path, &open, &job.target, err);

	if (r < 0)
		return r;
	r = disk_job_start(disk, &job, err);
	if (r < 0)
		disk_close(job.target, NULL);
	return r < 0 ? r : wait_for(disk, o->progress, err);
}

int cmd_disk_backup_exec(const struct cmd_call *call)
{
	const struct disk_backup_cmd_opts *o = call->opts;
	const char *path = call->args[1];
	struct disk *disk = NULL;
	bool made = false;
	struct err err = ERR_INIT;
	int r = disk_open_image(call->args[0], &o->image, o->backup.bitmap ? DISK_RDWR : 0, NULL,
				&disk, &err);

	if (r == 0)
		r = backup_target_make(&o->backup, path, disk_size(disk), &made, &err);
	if (r == 0)
		r = back_up(disk, o, path, &err);
	if (r < 0 && made)
		unlink(path); /* a part of a backup looks like one */
	return disk_close_changed(call, disk, r, &err);
}
