/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_H
#define VM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cpu/cpu.h"

/*
 * One virtual machine: memory, buses, devices, vCPUs and their threads. Built from plain configuration,
 * run by machine_run(), ended by the guest (power-off, debug exit), by machine_stop(), or by a failure.
 */
struct machine;
struct chardev;	 /* vm/chardev.h: where a serial port's bytes go */
struct snapshot; /* vm/snapshot/file.h */
struct snapshot_ref;

enum machine_end {
	MACHINE_POWEROFF,     /* ACPI S5 */
	MACHINE_DEBUG_EXIT,   /* isa-debug-exit: status is (value << 1) | 1 */
	MACHINE_RESET,	      /* only with no_reboot: the guest asked for a reset */
	MACHINE_STOPPED,      /* machine_stop() */
	MACHINE_TRIPLE_FAULT, /* only with no_reboot or when it happens in a loop */
	MACHINE_FAILED,	      /* err tells */
	MACHINE_WATCHDOG,     /* the guest's watchdog expired, and that is to end the machine */
	MACHINE_PANICKED,     /* the guest panicked, and that is to end the machine */
};

/* What is done when the guest's watchdog expires, or when it says that it has panicked. */
enum machine_action {
	MACHINE_ACTION_NONE, /* counted, and left to the guest */
	MACHINE_ACTION_RESET,
	MACHINE_ACTION_POWEROFF,
	MACHINE_ACTION_PAUSE,
};

/*
 * How the owner of what is behind a device learns that the machine has no more use for it: after a detach, or at the
 * machine's end. @fn may be NULL; it asks the machine for nothing. Thread: that of machine_run() and machine_free(), or the
 * control socket's.
 */
struct machine_release {
	void (*fn)(void *owner);
	void *owner;
};

/* One disk, as a virtio block device; the guest names them in this order. */
struct disk;
struct disk_files;
struct machine_disk {
	struct disk *disk; /* the caller's until its release; disk_async_start() was called */
	struct machine_release release;
	const char *serial;	/* up to 20 bytes, or NULL */
	unsigned int nr_queues; /* 1 to 16 */
	bool packed;		/* offer packed rings */
};

/* One port of the virtio console device. */
enum { MACHINE_CONSOLES = 8 };
struct machine_console {
	struct chardev *cd; /* the caller's */
	const char
		*name; /* NULL: a console (hvc0 ...); else a channel of this name, up to 63 bytes */
};

/* One drive of the SATA or the IDE controller, which is there when there is one. */
enum { MACHINE_SATA = 6, MACHINE_IDE = 4 };
struct machine_drive {
	struct disk *disk; /* the caller's; NULL: none at this place */
	const char *serial;
	bool is_cd, is_readonly;
};

/* A host's folder, served by another process; the guest mounts it by its tag. */
enum { MACHINE_SHARES = 8 };
struct machine_share {
	int fd;		 /* stream socket to that process, the caller's */
	const char *tag; /* 1 to 36 bytes */
};

/* Streams between programs of guest and host: see vm/virtio/vsock.h. */
struct machine_vsock {
	uint64_t cid;	  /* 0: no such device */
	const char *path; /* or NULL */
	int listen_fd;	  /* the caller's, or negative */
};

/* A memory balloon; an automatic one is blown up by how much memory the host has left: vm/balloon_policy.h. */
enum machine_balloon_kind {
	MACHINE_NO_BALLOON,
	MACHINE_BALLOON,
	MACHINE_STRICT_BALLOON,
	MACHINE_AUTO_BALLOON
};

/* One network device. */
struct net_end; /* vm/net/net.h */
struct machine_net {
	const struct net_end *end; /* copied; its descriptors are the caller's until its release */
	struct machine_release release;
	uint8_t mac[6];
	unsigned int nr_pairs; /* 1 to 8 */
	bool packed;
};

/* What stands around the CPUs. */
enum machine_board {
	MACHINE_Q35, /* a PC */
	MACHINE_MINI, /* no PCI, and of a PC what a kernel started directly needs: virtio devices by MMIO */
};

struct machine_config {
	enum machine_board board;
	const char *
		kernel; /* path of a bzImage, ELF vmlinux (PVH) or multiboot image; NULL: firmware boots from disks */
	const char *firmware; /* "seabios", "ovmf" or a path; NULL: the kernel is started directly */
	const char *firmware_vars; /* file that keeps UEFI's variables; NULL: they are lost */
	bool vga;		   /* a display adapter */
	const char *vnc;	   /* "ADDRESS:PORT" for viewers of it; NULL: none */
	bool tablet; /* a pointer that is where that of viewers is, for guests with a driver */
	bool clipboard; /* viewers' and that of a guest with SPICE's agent; takes one of the consoles */
	const char *vnc_password; /* NULL: none */
	const char *vnc_tls;	  /* as of struct vnc_config */
	struct chardev
		*firmware_log; /* takes what firmware writes to port 0x402; NULL: no such port */
	const char *initrd;    /* path or NULL */
	const char *cmdline;   /* NULL = "" */
	uint64_t memory_bytes; /* page multiple, at least 2 MiB */
	unsigned int nr_cpus;
	unsigned int max_cpus; /* so many can be plugged in while it runs; 0: no more than nr_cpus */
	enum cpu_engine_kind engine;
	const char *cpu_model, *cpu_features; /* see cpu_group_config */
	struct chardev *serial[4];	      /* owned by the caller; NULL = port absent */
	const struct machine_disk *disks;
	unsigned int nr_disks;
	struct machine_drive sata[MACHINE_SATA], ide[MACHINE_IDE];
	const struct machine_net *nets;
	unsigned int nr_nets;
	/* Open a disk that is attached while the machine runs; NULL: none is. @fd: its file, taken over, or negative;
	 * @files: what else it consists of. Thread: the control socket's. */
	int (*open_disk)(void *arg, const char *spec, int *fd, struct disk_files *files,
			 struct machine_disk *ret, struct err *err);
	void *open_arg;
	struct machine_console consoles[MACHINE_CONSOLES];
	unsigned int nr_consoles;
	struct machine_vsock vsock;
	struct machine_share shares[MACHINE_SHARES];
	unsigned int nr_shares;
	bool rng; /* a source of random numbers */
	enum machine_balloon_kind balloon;
	uint64_t host_reserve_bytes; /* what shall stay available of the host's memory; 0: a tenth */
	bool merge;		     /* equal pages: memory_merge() */
	bool watchdog;		     /* a watchdog timer */
	enum machine_action on_watchdog, on_panic;
	bool debug_exit;	   /* isa-debug-exit at port 0xf4 and the kvm-unit-tests devices */
	bool no_reboot;		   /* a reset ends the machine instead of restarting it */
	uint16_t gdb_port;	   /* 0 = none; the machine then starts stopped, waiting for gdb */
	int control_fd;		   /* listening socket for control.h, the caller's; 0: none */
	const char *name;	   /* what the machine is called there */
	uint64_t code_cache_bytes; /* dbt; 0 = the default */
	bool count_blocks, perf_map; /* dbt: see cpu_group_config */
	bool sample;		     /* look where time goes from the start on */
	struct snapshot *
		restore; /* go on from this one, the caller's until machine_new() returns; NULL: from power-on */
	const char *options; /* what a snapshot tells about how the machine was made; NULL: "" */
	uint64_t engine_switch_ns; /* test: change the engine so often; 0: never */
};

/*
 * machine_new - build a machine and load its kernel.
 *
 * Returns 0, or a negative errno with the story (which file, which field, what would be right).
 * @ret: machine_free(). Nothing of @cfg is kept but the chardevs.
 */
_nodiscard_ int machine_new(const struct machine_config *cfg, struct machine **ret,
			    struct err *err);
void machine_free(struct machine *m);

/*
 * machine_start - start the threads. machine_run() does it where it was not done before: by whoever confines the
 * process, with threads that are held (sys/thread.h).
 *
 * Returns 0; -EAGAIN: machine_free() is next. Thread: owner.
 */
_nodiscard_ int machine_start(struct machine *m, struct err *err);

/*
 * machine_run - start the threads, if that was not done, and wait until the machine ends.
 *
 * @ret_status: the process exit status that belongs to the end (0 power-off, debug-exit value, 1 failure).
 */
enum machine_end machine_run(struct machine *m, int *ret_status, struct err *err);

/* machine_stop - end the machine as if it were switched off. Thread: any; async-signal-safe. */
void machine_stop(struct machine *m);

/*
 * machine_set_cpus - plug vCPUs in, or ask the guest to give some back, until there are @n.
 *
 * Those that come are there at once, and the guest takes them when it has time; those that go, go when the guest lets them.
 * A reset gives the number of the start again.
 * Returns 0; -ERANGE: not from 1 to what can be plugged in. Thread: any but a vCPU's.
 */
_nodiscard_ int machine_set_cpus(struct machine *m, unsigned int n, struct err *err);

/* machine_nr_cpus - vCPUs that are there now; @ret_max: as many as can be. Thread: any. */
unsigned int machine_nr_cpus(struct machine *m, unsigned int *ret_max);

/*
 * machine_power_button - press the power button: the guest is asked to shut down.
 *
 * Returns 0; -EBUSY: it is paused, and would not notice. Thread: any.
 */
_nodiscard_ int machine_power_button(struct machine *m, struct err *err);

/*
 * machine_set_paused - let no vCPU execute anything until it is told otherwise; also a reset of it does not.
 *
 * The guest's clocks go on meanwhile, because they are the host's.
 * Returns 0; -EALREADY. Thread: any but a vCPU's.
 */
_nodiscard_ int machine_set_paused(struct machine *m, bool on, struct err *err);

/* machine_state - "running" or "paused". Thread: any. */
const char *machine_state(struct machine *m);

/*
 * machine_set_engine - go on with another engine, wherever the guest is.
 *
 * Returns 0; -EOPNOTSUPP (not available; nothing has changed); others: the machine cannot go on. Thread: owner,
 * not a vCPU's.
 */
_nodiscard_ int machine_set_engine(struct machine *m, enum cpu_engine_kind kind, struct err *err);

/* machine_count_blocks, machine_trace - cpu_group_count_blocks(), cpu_group_hot_blocks() for a machine that may be
 * running. Thread: any but a vCPU's. */
_nodiscard_ int machine_count_blocks(struct machine *m, bool on, struct err *err);
_nodiscard_ int machine_trace(struct machine *m, const struct cpu_hot_query *query,
			      struct strbuf *out, struct err *err);

/*
 * machine_screen_text, machine_screenshot - what the display shows: the characters of a text mode as UTF-8, a line each;
 * a PNG file in base64. Appended.
 *
 * Returns 0; -ENODEV (no display); -ENODATA (no text mode); -ENOMEM. Thread: any.
 */
_nodiscard_ int machine_screen_text(struct machine *m, struct strbuf *out, struct err *err);
_nodiscard_ int machine_screenshot(struct machine *m, struct strbuf *out, struct err *err);

/*
 * machine_balloon - ask the guest to keep only @keep_bytes of its memory (NULL: only look; MACHINE_BALLOON_BY_HOST: as
 * the host's memory demands), and append what is known of the balloon, for people or as a JSON object. The guest tells its
 * figures anew meanwhile.
 *
 * Returns 0; -ENODEV (no balloon); -ERANGE. Thread: any.
 */
#define MACHINE_BALLOON_BY_HOST UINT64_MAX
_nodiscard_ int machine_balloon(struct machine *m, const uint64_t *keep_bytes, bool is_text,
				struct strbuf *out, struct err *err);

/* Where a machine is saved to: open files, the caller's, and what those of disks will be called beside the snapshot. */
struct machine_save {
	int fd;
	const int *
		disk_fd; /* a qcow2 image for each disk that is written to, of its size and empty, */
	const char *const *disk_name; /* in the order of their numbers */
	unsigned int nr_disks;
	const struct snapshot_ref *base; /* save what has changed since that save; NULL: all; */
	const char *base_name;		 /* its file, beside the new one */
};

/*
 * machine_snapshot_save - write the machine to files while it runs, as it is at the end of that, when the guest stands still
 * for a moment. Its disks are still being copied, as they were in that moment, by a backup job each, when this returns.
 *
 * @out:   a JSON object is appended: what was written, and how long the guest stood still
 * Returns 0, and the file of the snapshot is on the medium (see vm/snapshot/README.md); -EOPNOTSUPP, -EBUSY (a device cannot
 * be saved, or not now: which); -ESTALE (it is not known what has changed since the base); -EINVAL (the files are not those that the machine needs); -ENOSPC and others of write(2).
 * Nothing has changed then. Thread: any but a vCPU's.
 */
_nodiscard_ int machine_snapshot_save(struct machine *m, const struct machine_save *to,
				      struct strbuf *out, struct err *err);

/* machine_print_stats - exits and events by kind, for --stats; as JSON when @json. */
void machine_print_stats(struct machine *m, int fd, bool json);

#endif
