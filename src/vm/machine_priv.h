/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_PRIV_H
#define VM_MACHINE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "sys/thread.h"
#include "sys/timerq.h"
#include "display/pointer.h"
#include "display/vnc.h"
#include "vm/board.h"
#include "vm/boot/boot.h"
#include "vm/control.h"
#include "vm/dev/acpi_plug.h"
#include "vm/dev/acpi_pm.h"
#include "vm/dev/ahci.h"
#include "vm/dev/debug_exit.h"
#include "vm/dev/debugcon.h"
#include "vm/dev/edu.h"
#include "vm/dev/fw_cfg.h"
#include "vm/dev/hpet.h"
#include "vm/dev/ide.h"
#include "vm/dev/i6300esb.h"
#include "vm/dev/i8042.h"
#include "vm/dev/i8254.h"
#include "vm/dev/i8259.h"
#include "vm/dev/ioapic.h"
#include "vm/dev/pci.h"
#include "vm/dev/pflash.h"
#include "vm/dev/pvpanic.h"
#include "vm/dev/rtc.h"
#include "vm/dev/serial16550.h"
#include "vm/dev/testdev.h"
#include "vm/dev/vga.h"
#include "vm/dev/vmgenid.h"
#include "vm/dev/vtd.h"
#include "vm/disk_bus.h"
#include "vm/firmware/firmware.h"
#include "vm/gdb.h"
#include "vm/machine.h"
#include "vm/machine_virtio.h"
#include "vm/memory.h"
#include "vm/snapshot/file.h"
#include "vm/snapshot/track.h"

/* Guest-physical places of what stands in for the BIOS. */
#define MACHINE_EBDA	UINT64_C(0x9fc00)
#define MACHINE_ACPI	UINT64_C(0xe0000) /* tables, found by searching on 16-byte boundaries */
#define MACHINE_MPTABLE UINT64_C(0xf0000)

enum { MACHINE_SERIALS = 4, MACHINE_BOOT_ID = 37 };

/*
 * One vCPU's thread. It runs guest code, or is parked, which it tells by @is_parked; what it should do it
 * learns from the machine's and its own flags, all under machine.lock.
 */
struct vcpu {
	struct machine *m;
	struct cpu *cpu;
	struct thread thread;
	char name[16];
	bool is_parked;
	bool is_held;	/* by the debugger: parked until it says so */
	bool is_absent; /* not plugged in: parked */
	bool is_dead;	/* triple fault: parked until the machine is reset */
};

/* Which parts of the board are there, in the order of making; the end goes backwards. */
enum machine_part {
	PART_NONE,
	PART_MEMORY,
	PART_PIC,
	PART_IOAPIC,
	PART_PIT,
	PART_RTC,
	PART_HPET,
	PART_PM,
	PART_GENERATION,
	PART_HOT_CPUS,
	PART_I8042,
	PART_PCI,
	PART_FW_CFG,
	PART_VGA,
	PART_AHCI,
	PART_IDE,
	PART_WATCHDOG,
	PART_PVPANIC,
	PART_FIRMWARE,
	PART_DEBUG_EXIT,
	PART_TESTDEV,
	PART_VIRTIO,
	PART_HOT_SLOTS,
	PART_ALL,
};

/*
 * A file that the machine is started from. The open file stays for the next reset; its contents are in memory only while
 * the machine is being started, or when the file cannot be read twice (a pipe).
 */
struct machine_image {
	char *path; /* NULL: none */
	int fd;
	void *data;
	size_t len;
};

/* The policy's hand: a timer that looks at host and guest. */
struct balloon_driver {
	struct timerq_timer timer;
	_Atomic bool is_on;
	int meminfo_fd;		/* /proc/meminfo; negative: not open */
	uint64_t host_reserve;	/* bytes; 0: a tenth of the host's memory */
	uint64_t nr_stats_seen; /* the guest's, at the last look; the timer's */
};

struct machine {
	/* Configuration, copied. */
	unsigned int nr_cpus, first_cpus; /* all that can be; those at power-on */
	bool debug_exit, no_reboot, count_blocks, is_mini;
	uint16_t gdb_port;
	uint64_t memory_bytes, engine_switch_ns;
	struct snapshot_track track;	  /* what the guest has written since its last saves */
	char *cmdline, *options;	  /* options: for snapshots, as is: */
	uint8_t boot_id[MACHINE_BOOT_ID]; /* of the host: a line of text */
	char *folder; /* that relative paths begin in: where the process was started */

	struct machine_image kernel, initrd;
	bool has_firmware;
	struct firmware firmware;
	struct boot_plan plan;
	struct boot_mem map[BOOT_MAX_MEM];
	unsigned int nr_map;

	/* The board. */
	struct memory memory;
	struct bus *pio, *mmio;
	struct irq_router irqs;
	struct timerq timers;
	struct clock_shifted
		time; /* the guest's: the host's, but for a machine that comes out of a snapshot */
	struct clock *clock; /* its */
	struct machine_events events;
	struct board board;
	struct i8259 pic;
	struct ioapic ioapic;
	struct i8254 pit;
	struct rtc rtc;
	struct hpet hpet;
	struct acpi_pm pm;
	struct vmgenid generation;
	struct acpi_plug hot_cpus, hot_slots;
	struct i8042 kbd;
	struct pci_bus pci;
	struct machine_virtio virtio;
	struct vga vga;
	bool has_vga;
	struct ahci ahci;
	bool began_on_kvm; /* for engine_switch_ns: kvm has its turns, too */
	bool has_ahci;
	struct ide ide;
	bool has_ide;
	struct i6300esb watchdog;
	bool has_watchdog;
	struct pvpanic pvpanic;
	enum machine_action on_watchdog, on_panic;
	struct fw_cfg fw_cfg;
	struct pflash vars; /* with firmware that has variables */
	struct debugcon debugcon;
	bool has_debugcon;
	struct debug_exit debug_exit_dev;
	struct testdev testdev; /* this and the next two: only with debug_exit */
	struct vtd vtd;
	struct edu edu;
	struct serial16550 serial[MACHINE_SERIALS];
	bool has_serial[MACHINE_SERIALS];
	struct chardev *serial_end[MACHINE_SERIALS]; /* the other end; the caller's. NULL: no port */
	enum machine_part parts;		     /* the last one that was made */

	/* vCPUs. */
	struct cpu_group *cpus;
	struct vcpu *vcpu;
	pthread_mutex_t
		pausing;      /* held while is_paused and the vCPUs change together; before @lock */
	pthread_mutex_t lock; /* guards the flags below and those of the vCPUs */
	pthread_cond_t changed;
	unsigned int pauses; /* > 0: every vCPU is to park */
	bool is_paused;	     /* by its owner; is one of @pauses */
	bool is_ending;
	/* A reset, a debugger's accesses, a change of the engine and looks at it, one at a time; before @lock. */
	pthread_mutex_t control;
	struct err failure; /* the first CPU_EXIT_ERROR or triple fault; under lock */

	/* The main loop: a wish of the guest or of the owner, and an eventfd that wakes it. */
	_Atomic uint64_t
		request; /* 0: none; else enum machine_end + 1 in the high half, value below */
	_Atomic bool stop;
	_Atomic bool want_pause; /* as machine_set_paused() by the guest's doing */
	_Atomic uint64_t nr_guest_events[GUEST_NR_EVENTS];
	_Atomic bool move_windows; /* vCPUs park until it is done */
	_Atomic uint64_t
		ejected; /* PCI slots whose devices the guest let go; vCPUs park until they are gone */
	int wake_fd;
	_Atomic uint64_t started_ns,
		ended_ns; /* host time of machine_start() and of the end; 0: not yet */
	bool is_started;  /* its threads are; the owner's */
	_Atomic uint64_t cpu_ns_before; /* processor time of the process before it */
	_Atomic uint64_t cpu_ns;	/* and during it; valid when ended_ns is set */
	_Atomic uint64_t nr_resets;

	/* Where the vCPUs' threads are, looked at by a timer. */
	struct timerq_timer sampler;
	_Atomic bool is_sampled;
	_Atomic uint64_t samples[CPU_NR_PLACES];

	struct balloon_driver balloon; /* what blows it up by itself */

	int (*open_disk)(void *arg, const char *spec, int *fd, struct disk_files *files,
			 struct machine_disk *ret, struct err *err);
	void *open_arg;

	struct gdb *gdb;
	struct control *control_socket;
	struct vnc *vnc;
	struct pointer pointer; /* of its viewers; on its thread */
};

/* machine_firmware_new - load firmware when it is asked for; the first part of its making. Returns 0 or negative. */
_nodiscard_ int machine_firmware_new(struct machine *m, const struct machine_config *cfg,
				     struct err *err);
/* machine_firmware_init, machine_firmware_done - the part of the board that holds it. */
_nodiscard_ int machine_firmware_init(struct machine *m, const struct machine_config *cfg,
				      struct err *err);
void machine_firmware_done(struct machine *m);
/* machine_firmware_fill - tell it about the finished board. Returns 0 or negative. */
_nodiscard_ int machine_firmware_fill(struct machine *m, const char *name, struct err *err);

/* machine_acpi_config - what the board's tables say. */
void machine_acpi_config(const struct machine *m, struct acpi_config *ret);

/* machine_load - read the kernel and initrd, unless they are in memory, and plan how they start. Returns 0 or negative. */
_nodiscard_ int machine_load(struct machine *m, struct err *err);

/* machine_image_read - an image's contents into memory, unless they are there. Returns 0 or negative. */
_nodiscard_ int machine_image_read(struct machine *m, struct machine_image *image, const char *what,
				   struct err *err);

/* machine_image_open - open its file, to be read at the next reset; that says so when it could not be. */
void machine_image_open(struct machine_image *image);

/* machine_image_done - free what an image holds. */
void machine_image_done(struct machine_image *image);

/* machine_boot - tables, kernel and first CPU as they are at power-on; RAM is zero, no vCPU runs. */
_nodiscard_ int machine_boot(struct machine *m, struct err *err);

/* machine_snapshot_prepare - @snap fits the machine as configured: its memory, vCPUs, TSC. Before vCPUs are made; @ret_tsc_khz
 * is what they are to have. Returns 0 or negative. */
_nodiscard_ int machine_snapshot_prepare(struct machine *m, struct snapshot *snap,
					 uint64_t *ret_tsc_khz, struct err *err);

/* machine_snapshot_load - the machine is as the snapshot says. Returns 0; negative, and nothing has changed. No vCPU, I/O
 * thread or timer runs. */
_nodiscard_ int machine_snapshot_load(struct machine *m, struct snapshot *snap, struct err *err);

/* machine_reset - everything as at power-on; every vCPU is parked. */
_nodiscard_ int machine_reset(struct machine *m, struct err *err);

/* machine_ask - record a wish and wake the main loop; the first one wins. Thread: any. */
void machine_ask(struct machine *m, enum machine_end what, uint32_t value);

/* machine_ask_windows - a window is to be moved. Thread: any. */
void machine_ask_windows(struct machine *m);

/* machine_told - what the guest has told is counted, and acted on as configured. Thread: any. */
void machine_told(struct machine *m, enum guest_event what);

/* machine_cpus_init - the registers by which vCPUs come and go. Returns 0, or what acpi_plug_init() says. */
_nodiscard_ int machine_cpus_init(struct machine *m, struct err *err);

/* machine_cpus_at_power_on - those that are there then, and no others. Every vCPU is parked, under m->lock. */
void machine_cpus_at_power_on(struct machine *m);

/* machine_has_part - is it on this machine's board, or could be? */
bool machine_has_part(const struct machine *m, enum machine_part part);

/* machine_plug_init - the registers by which devices in slots come and go; the devices of the start are there. Returns 0, or
 * what acpi_plug_init() says. */
_nodiscard_ int machine_plug_init(struct machine *m, struct err *err);

/* machine_plug_take_out - take out what the guest let go of. At a reset also what it was asked for: nobody in it uses that
 * any more. Parks the vCPUs. Thread: the main loop's. */
void machine_plug_take_out(struct machine *m, bool is_reset);

/* machine_kick - let all vCPUs look whether they are to park, and the main loop what there is to do. Thread: any. */
void machine_kick(struct machine *m);

/* machine_stop_threads - end what machine_start() began; nothing when it did not. Thread: owner. */
void machine_stop_threads(struct machine *m);

/* machine_vnc_start - serve viewers of the display, if the configuration asks for it. Returns 0 or negative. */
_nodiscard_ int machine_vnc_start(struct machine *m, const struct machine_config *cfg,
				  struct err *err);

/* machine_pause, machine_resume - park every vCPU and wait until they are; nests. Not from a vCPU thread. */
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);

/* machine_stand_still - machine_pause(), and no device's thread does anything either; holds @control. machine_go_on - the
 * end of that. Thread: one at a time, none of the machine's own. */
void machine_stand_still(struct machine *m);
void machine_go_on(struct machine *m);

/*
 * machine_balloon_init - nothing is done yet. machine_balloon_open - be ready to look at the host's memory, which a
 * confined process cannot open any more, and begin if the balloon is automatic: when @cfg has a balloon. machine_balloon_done -
 * the end; no callback runs any more. Thread: owner.
 */
void machine_balloon_init(struct machine *m);
_nodiscard_ int machine_balloon_open(struct machine *m, const struct machine_config *cfg,
				     struct err *err);
void machine_balloon_done(struct machine *m);
/* machine_balloon_by_host - let the host's memory decide what the balloon holds, or leave it as it is. Thread: any. */
void machine_balloon_by_host(struct machine *m, bool on);

/* machine_disk_find - a disk that is not a CD-ROM drive's medium; NULL: there is none. @n: of its bus, at most MACHINE_VIRTIO_MAX.
 * Under m->control: it is not taken out meanwhile. */
struct disk *machine_disk_find(const struct machine *m, enum disk_bus bus, unsigned int n);

/* machine_sampler_init - prepare machine_sample(); the sampler is ended with timerq_timer_done(). */
void machine_sampler_init(struct machine *m);

/* machine_cpu_ns - processor time of this process. */
uint64_t machine_cpu_ns(void);

/* machine_gdb_start - listen for a debugger, with every vCPU held until it comes. */
_nodiscard_ int machine_gdb_start(struct machine *m, struct err *err);

#endif
