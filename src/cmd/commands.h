/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_COMMANDS_H
#define ATOLL_CMD_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/table.h"

/*
 * The subcommands of `atoll` and the options of each, as data. Who carries one out is bound in the
 * program's main file: `atoll` describes the options of `run` without linking the machine.
 */

/* Options of `atoll run` and of `atoll-vm`, which it becomes. Texts belong to argv. */
struct run_opts {
	const char *kernel; /* path or NULL */
	const char *initrd; /* path or NULL */
	const char *append; /* kernel command line, "" when none is given */
	uint64_t memory_bytes;
	uint64_t nr_cpus;	/* 1 to 64 */
	uint64_t max_cpus;	/* 0: as many */
	unsigned board;		/* enum machine_board */
	unsigned engine;	/* index in the choices of --engine: enum cpu_engine_kind */
	const char *cpu;	/* model and changes: "host", "v2,+x2apic,-pcid" */
	unsigned hyperv;	/* index in the choices of --hyperv: 1 is on */
	struct opt_list serial; /* one each port from COM1 on; empty: stdio on COM1 */
	struct opt_list disk;
	struct opt_list net;
	struct opt_list console;
	struct opt_list share;
	const char *vsock;	/* or NULL */
	const char *cloud_init; /* path or NULL; atoll-vm does not take it: see run_seed.h */
	unsigned rng;		/* index in the choices of --rng: 1 is on */
	unsigned balloon;	/* index in the choices of --balloon: off, on, strict, auto */
	uint64_t host_reserve_bytes;
	unsigned merge; /* index in the choices of --merge: 1 is on */
	unsigned watchdog; /* index in the choices of --watchdog: 0 is off, else 1 + enum machine_action */
	unsigned on_panic; /* enum machine_action */
	bool debug_exit;
	bool no_reboot;
	bool stats;
	bool stats_json;
	uint64_t gdb_port;  /* 0: none */
	unsigned log_level; /* enum log_level */
	const char *name;   /* or NULL */
	struct opt_list cdrom;
	const char *display; /* none, vga, vnc=ADDRESS:PORT */
	unsigned pointer;    /* index in the choices of --pointer: 0 is tablet */
	unsigned clipboard;  /* index in the choices of --clipboard: 1 is on */
	const char *vnc_password_file, *vnc_tls;	     /* or NULL */
	const char *firmware, *firmware_vars, *firmware_log; /* or NULL */
	bool count;
	uint64_t code_cache_bytes;
	bool perf_map;
	uint64_t engine_switch_ns; /* 0: never */
	const char *restore;	   /* path or NULL */
	unsigned sandbox;	   /* index in the choices of --sandbox: 1: require */
};

/* run_can_boot - whether there is something to start a machine with. Disks alone are started by SeaBIOS. Thread: any. */
static inline bool run_can_boot(const struct run_opts *o)
{
	return o->kernel || o->firmware || o->disk.n || o->restore;
}

/* Options of `atoll trace`: those of a run, and what is shown. */
struct trace_opts {
	struct run_opts run; /* first: options of `run` are found at the same place */
	uint64_t top;
	const char *address; /* or NULL */
	bool json;
	uint64_t for_ns;
};

struct stats_opts {
	bool json, watch, count;
	uint64_t interval_ns;
};

struct ps_opts {
	bool json;
};

struct stop_opts {
	bool force, json;
	uint64_t timeout_ns;
};

struct cpus_opts {
	bool json;
};

struct doctor_opts {
	bool json;
};

struct attach_opts {
	const char *disk, *net; /* or NULL */
	bool json;
};

struct detach_opts {
	bool json;
	uint64_t timeout_ns;
};

struct devices_opts {
	bool json;
};

struct top_opts {
	bool json, once;
	uint64_t interval_ns;
};

struct power_opts {
	bool json;
};

struct console_opts {
	uint64_t port; /* COM1 is 1 */
};

struct balloon_opts {
	bool json;
};

struct screenshot_opts {
	bool text;
};

/* What `atoll disk ...` share: how an image is opened. */
struct disk_image_opts {
	const char *format, *backing_format; /* or NULL */
	bool json, force_share, direct;
};

struct disk_info_opts {
	struct disk_image_opts image; /* first in all of these */
	bool backing_chain;
	const char *snapshot;
};

struct disk_create_cmd_opts {
	struct disk_image_opts image;
	struct opt_list options;
	const char *backing;
};

struct disk_convert_opts {
	struct disk_image_opts image;
	const char *out_format;
	struct opt_list options;
	bool compress, progress, no_create;
	const char *snapshot;
	uint64_t threads;
};

struct disk_check_opts {
	struct disk_image_opts image;
	unsigned repair;
};

struct disk_resize_opts {
	struct disk_image_opts image;
	bool shrink;
};

struct disk_bitmap_cmd_opts {
	struct disk_image_opts image;
	uint64_t granularity;
	bool disabled;
};

/* Where a backup goes, and how much of it. */
struct backup_opts {
	const char *format;		/* of the target */
	const char *bitmap;		/* or NULL */
	const char *onto, *onto_format; /* the backup below an increment; or NULL */
	bool update;
};

struct disk_backup_cmd_opts {
	struct disk_image_opts image;
	struct backup_opts backup;
	bool progress;
};

struct disk_job_cmd_opts {
	struct disk_image_opts image;
	const char *base;
	bool progress;
};

struct disk_compare_opts {
	struct disk_image_opts image;
	const char *second_format;
	bool progress;
	uint64_t threads;
};

struct disk_serve_opts {
	struct disk_image_opts image;
	const char *listen, *name;
	const char *snapshot, *tls_certificates, *tls_psk; /* or NULL */
	bool read_only, tls_verify_peer;
	uint64_t max_clients, reconnect_ns;
	unsigned sandbox; /* as of struct run_opts */
};

/* What `atoll live ...` share. */
struct live_opts {
	bool json, shrink, background, progress;
	const char *top, *base; /* or NULL */
	uint64_t speed;		/* bytes a second; 0: no limit */
	struct backup_opts backup;
};

struct snapshot_opts {
	bool json;
	const char *base; /* or NULL */
};

struct image_build_opts {
	uint64_t size_bytes;
	const char *format, *release, *mirror, *date; /* or NULL */
	struct opt_list package;
	bool progress;
};

extern const struct cmd cmd_cpus, cmd_stop, cmd_reset, cmd_pause, cmd_resume;
extern const struct cmd cmd_attach, cmd_detach, cmd_devices;
extern const struct cmd cmd_image_build, cmd_vm_snapshot;
extern const struct cmd cmd_doctor, cmd_top;
extern const struct cmd cmd_live_backup, cmd_live_disks, cmd_live_snapshot, cmd_live_commit,
	cmd_live_stream, cmd_live_cancel, cmd_live_speed, cmd_live_limit, cmd_live_resize,
	cmd_live_retry;
extern const struct cmd cmd_run, cmd_trace, cmd_stats, cmd_ps, cmd_console, cmd_screenshot,
	cmd_balloon;
extern const struct cmd cmd_disk_info, cmd_disk_create, cmd_disk_convert, cmd_disk_check,
	cmd_disk_resize, cmd_disk_snapshot, cmd_disk_compare, cmd_disk_map, cmd_disk_commit,
	cmd_disk_stream, cmd_disk_serve, cmd_disk_bitmap, cmd_disk_backup;

#endif
