/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `atoll` program: its subcommands, and who carries each out. */
#include "base/attr.h"
#include "cmd/attach.h"
#include "cmd/balloon.h"
#include "cmd/commands.h"
#include "cmd/console.h"
#include "cmd/disk.h"
#include "cmd/doctor.h"
#include "cmd/image.h"
#include "cmd/live.h"
#include "cmd/machines.h"
#include "cmd/power.h"
#include "cmd/run.h"
#include "cmd/screenshot.h"
#include "cmd/snapshot.h"
#include "cmd/top.h"

static const struct cmd_binding commands[] = {
	{ &cmd_run, cmd_run_exec },
	{ &cmd_ps, cmd_ps_exec },
	{ &cmd_stop, cmd_stop_exec },
	{ &cmd_reset, cmd_reset_exec },
	{ &cmd_pause, cmd_pause_exec },
	{ &cmd_resume, cmd_resume_exec },
	{ &cmd_cpus, cmd_cpus_exec },
	{ &cmd_devices, cmd_devices_exec },
	{ &cmd_attach, cmd_attach_exec },
	{ &cmd_detach, cmd_detach_exec },
	{ &cmd_top, cmd_top_exec },
	{ &cmd_stats, cmd_stats_exec },
	{ &cmd_trace, cmd_trace_exec },
	{ &cmd_console, cmd_console_exec },
	{ &cmd_screenshot, cmd_screenshot_exec },
	{ &cmd_balloon, cmd_balloon_exec },
	{ &cmd_live_disks, cmd_live_disks_exec },
	{ &cmd_live_snapshot, cmd_live_snapshot_exec },
	{ &cmd_live_commit, cmd_live_commit_exec },
	{ &cmd_live_stream, cmd_live_stream_exec },
	{ &cmd_live_backup, cmd_live_backup_exec },
	{ &cmd_live_cancel, cmd_live_cancel_exec },
	{ &cmd_live_speed, cmd_live_speed_exec },
	{ &cmd_live_limit, cmd_live_limit_exec },
	{ &cmd_live_resize, cmd_live_resize_exec },
	{ &cmd_live_retry, cmd_live_retry_exec },
	{ &cmd_disk_info, cmd_disk_info_exec },
	{ &cmd_disk_create, cmd_disk_create_exec },
	{ &cmd_disk_convert, cmd_disk_convert_exec },
	{ &cmd_disk_check, cmd_disk_check_exec },
	{ &cmd_disk_resize, cmd_disk_resize_exec },
	{ &cmd_disk_snapshot, cmd_disk_snapshot_exec },
	{ &cmd_disk_bitmap, cmd_disk_bitmap_exec },
	{ &cmd_disk_backup, cmd_disk_backup_exec },
	{ &cmd_disk_commit, cmd_disk_commit_exec },
	{ &cmd_disk_stream, cmd_disk_stream_exec },
	{ &cmd_disk_compare, cmd_disk_compare_exec },
	{ &cmd_disk_map, cmd_disk_map_exec },
	{ &cmd_disk_serve, cmd_disk_serve_exec },
	{ &cmd_image_build, cmd_image_build_exec },
	{ &cmd_doctor, cmd_doctor_exec },
	{ &cmd_vm_snapshot, cmd_vm_snapshot_exec },
};

int main(int argc, char **argv)
{
	static const struct cmd_program program = {
		.name = "atoll",
		.summary =
			"Turn a Linux machine into a cloud: virtual machines and what belongs to them",
		.cmds = commands,
		.nr_cmds = ARRAY_SIZE(commands),
	};

	return cmd_main(&program, argc, argv);
}
