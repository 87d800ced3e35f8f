/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll disk commit` and `stream`: the jobs that a running machine's disks have, on an image that nobody uses. They
 * are the same code, so what an interruption leaves is the same, too: the image shows the disk at each moment.
 */
#include <errno.h>

#include "base/clock.h"
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
