/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "cpu/physmem.h"
#include "cpu/state.h"

/*
 * The only door to the execution engines. A cpu_group is the set of vCPUs of one machine with what they
 * share (physical memory, time, interrupt messages); a cpu is one vCPU with its local APIC. The machine
 * does not know which engine runs.
 *
 * Port and memory-mapped I/O are served by callbacks on the vCPU's own thread (a handoff to another
 * thread would cost 6 to 170 us); cpu_run() returns only for what the machine's main loop decides.
 */
struct cpu;
struct cpu_group;
struct timerq;
struct clock;

enum cpu_engine_kind { CPU_ENGINE_AUTO, CPU_ENGINE_INTERP, CPU_ENGINE_DBT, CPU_ENGINE_KVM };

enum cpu_exit {
	CPU_EXIT_KICKED,   /* cpu_kick() or cpu_pause(): run again, or not */
	CPU_EXIT_SHUTDOWN, /* triple fault */
	CPU_EXIT_DEBUG, /* debugger: breakpoint, watchpoint or single step; rip is the next instruction */
	CPU_EXIT_ERROR, /* the engine cannot go on; struct err says why */
};

/* Where local APICs are, for engines that can choose. */
enum cpu_apic_place {
	CPU_APIC_AUTO,	 /* in the kernel, where it can do all that ours can */
	CPU_APIC_OURS,	 /* what a debugger needs */
	CPU_APIC_KERNEL, /* or the group is not made */
};

/* What a group needs from its machine. All callbacks run on vCPU threads, concurrently. */
struct cpu_machine_ops {
	/* Port I/O; size is 1, 2 or 4. A port nobody answers reads as all ones. */
	uint32_t (*pio_in)(void *arg, uint16_t port, unsigned int size);
	void (*pio_out)(void *arg, uint16_t port, unsigned int size, uint32_t value);
	/* Access to a guest-physical address that is not RAM (or a write to ROM); size is 1, 2, 4 or 8;
	 * never crosses a naturally aligned 8-byte word. Local APIC pages do not get here. */
	uint64_t (*mmio_read)(void *arg, uint64_t gpa, unsigned int size);
	void (*mmio_write)(void *arg, uint64_t gpa, unsigned int size, uint64_t value);
	/* The CPU takes the 8259's interrupt (INTA cycle): returns the vector. */
	uint8_t (*extint_ack)(void *arg);
	/* A level-triggered vector was completed: the I/O APICs look whether their pin is still raised. */
	void (*eoi)(void *arg, uint8_t vector);
};

struct cpu_group_config {
	unsigned int nr_cpus; /* 1 to 64 */
	enum cpu_engine_kind engine;
	const char *model;     /* "baseline", "v2", "v3", "host"; NULL = "host" */
	const char *features;  /* "+x2apic,-pcid", or NULL */
	struct physmem *mem;   /* machine's; outlives the group */
	struct timerq *timers; /* for the APIC timers; outlives the group */
	struct clock *clock;   /* guest time is 0 when the group is made */
	const struct cpu_machine_ops *ops;
	void *arg;
	uint64_t tsc_khz; /* what the guest is told that its TSC counts; 0: what the host's does */
	enum cpu_apic_place apic;  /* kvm */
	bool trace;		   /* log every instruction (slow; for debugging the engine) */
	uint64_t code_cache_bytes; /* dbt: memory for translated code, 4 MiB to 2 GiB; 0 = 64 MiB */
	bool count_blocks;	   /* dbt: every translated block counts its executions */
	bool perf_map;		   /* dbt: tell perf(1) which guest code each translation is of */
};

/* Events by kind; plain counters of one vCPU, read racily by others. */
struct cpu_stats {
#define CPU_STAT(name, help) uint64_t name;
#include "cpu/stats.def"
#undef CPU_STAT
};

/*
 * cpu_group_new - make the vCPUs of a machine, in reset state (BSP running, others waiting for SIPI).
 *
 * Returns 0; -EINVAL (nr_cpus, model or features: the story says which); -EOPNOTSUPP (engine not
 * available); -ENOMEM. @ret is owned by the caller: cpu_group_free().
 */
_nodiscard_ int cpu_group_new(const struct cpu_group_config *cfg, struct cpu_group **ret,
			      struct err *err);

/* cpu_group_free - free a group; no vCPU may be running. NULL is accepted. */
void cpu_group_free(struct cpu_group *grp);

/* cpu_group_cpu - vCPU number @index (below nr_cpus); owned by the group. Thread: any. */
struct cpu *cpu_group_cpu(struct cpu_group *grp, unsigned int index);

/*
 * cpu_group_set_engine - let another engine go on with the group's vCPUs, from the state they are in.
 *
 * No vCPU may be running. Nothing that the guest can see changes. Returns 0, also when it is that engine
 * already; -EOPNOTSUPP (engine not available, or it cannot have this guest's CPU features; nothing has changed);
 * -ENOMEM and others when the new engine cannot be set up: then no vCPU may run any more, only cpu_group_free() is
 * allowed.
 */
_nodiscard_ int cpu_group_set_engine(struct cpu_group *grp, enum cpu_engine_kind kind,
				     struct err *err);

/* cpu_group_engine - name of the engine that runs the vCPUs: "interp", "dbt", "kvm". Thread: any. */
const char *cpu_group_engine(const struct cpu_group *grp);

/* cpu_group_reset - put every vCPU into its power-on state. No vCPU may be running. */
void cpu_group_reset(struct cpu_group *grp);

/* cpu_group_power_on - one vCPU, which does not run, into its power-on state, as if it had just been plugged in. */
void cpu_group_power_on(struct cpu_group *grp, unsigned int index);

/* cpu_group_flush - forget every cached translation and decoding: the physical memory map changed.
 * Thread: any; running vCPUs do it at their next instruction boundary. */
void cpu_group_flush(struct cpu_group *grp);

/* cpu_group_now - guest time: ns of the configured clock since the group was made. Thread: any. */
uint64_t cpu_group_now(const struct cpu_group *grp);

/* How far the guest's time is; taken out and put in with the vCPUs' states. */
struct cpu_group_time {
	uint64_t now_ns;  /* cpu_group_now() */
	uint64_t tsc;	  /* the TSC of a vCPU without offset */
	uint64_t tsc_khz; /* constant */
};

/* cpu_group_get_time, cpu_group_set_time - no vCPU may be running; the configured clock goes on. The frequency is not
 * changed: it was told to the guest. */
void cpu_group_get_time(const struct cpu_group *grp, struct cpu_group_time *ret);
void cpu_group_set_time(struct cpu_group *grp, const struct cpu_group_time *time);

/*
 * cpu_group_hold_user - no vCPU executes an instruction of user mode (CPL 3) until one of them has read the page at @gpa, which is
 * not memory, and after that has come to user mode or to a halt; but no longer than some seconds.
 *
 * The engines that can: not kvm. Interrupts and all else that is kernel mode's go on. No vCPU may be running.
 */
void cpu_group_hold_user(struct cpu_group *grp, uint64_t gpa);

/* cpu_group_model_sum - a checksum of all that CPUID tells the guests of such a group; equal on every engine. Thread: any. */
_pure_ uint32_t cpu_group_model_sum(const struct cpu_group *grp);

/* cpu_group_model_text - append the CPU model as --cpu takes it: a group made of that, on any engine, has the same
 * cpu_group_model_sum() if it has as many vCPUs and the same TSC. Thread: any. */
void cpu_group_model_text(const struct cpu_group *grp, struct strbuf *out);

/*
 * cpu_group_msi - deliver an interrupt message (from an I/O APIC or a PCI device).
 *
 * @addr, @data: as written on the bus (SDM volume 3, 11.11). Messages to nobody are dropped.
 * Returns the number of CPUs that took it. Thread: any.
 */
int cpu_group_msi(struct cpu_group *grp, uint64_t addr, uint32_t data);

/* cpu_group_extint - level of the 8259 pair's INTR output, wired to LINT0 of every CPU. Thread: any. */
void cpu_group_extint(struct cpu_group *grp, bool level);

/* cpu_group_nmi - pulse LINT1 (NMI button) of every CPU. Thread: any. */
void cpu_group_nmi(struct cpu_group *grp);

/*
 * cpu_run - run guest code on the calling thread until there is something for the machine to decide.
 *
 * Sleeps in here while the vCPU is halted or waits for SIPI. One thread at a time for one vCPU.
 * Returns what happened; @err tells the story of CPU_EXIT_ERROR and CPU_EXIT_SHUTDOWN.
 */
enum cpu_exit cpu_run(struct cpu *cpu, struct err *err);

/* cpu_kick - make cpu_run() return CPU_EXIT_KICKED soon, also when it is about to start. Thread: any;
 * async-signal-safe. */
void cpu_kick(struct cpu *cpu);

/* cpu_index - number of the vCPU in its group, which is also its initial APIC id. */
unsigned int cpu_index(const struct cpu *cpu);

/* cpu_get_state, cpu_set_state - full architectural state out and in; the vCPU must not be running.
 * cpu_set_state refuses nothing: callers that take a state from outside use cpu_state_check() first. */
void cpu_get_state(struct cpu *cpu, struct cpu_state *ret);
void cpu_set_state(struct cpu *cpu, const struct cpu_state *state);

/*
 * cpu_state_check - is this a state that an engine can run from?
 *
 * Returns 0, or -EINVAL with the field and the reason in @err.
 */
_nodiscard_ int cpu_state_check(const struct cpu_state *state, struct err *err);

/* cpu_fits - whether this vCPU can have a state that cpu_state_check() has found good: features that it uses are in the model.
 * Returns 0, or -EINVAL with the register. Thread: any. */
_nodiscard_ int cpu_fits(const struct cpu *cpu, const struct cpu_state *state, struct err *err);

/* cpu_stats - the counters of a vCPU. Thread: any; values may be a little old. */
const struct cpu_stats *cpu_stats(const struct cpu *cpu);

/* cpu_group_stats - counters of what belongs to no single vCPU (shared translations); to be added to those of the
 * vCPUs. Thread: any; values may be a little old. */
const struct cpu_stats *cpu_group_stats(const struct cpu_group *grp);

/*
 * Where a vCPU's thread is, for a sampler that asks now and then: how time divides costs one byte store at
 * each change of place.
 */
enum cpu_place {
	CPU_AT_MONITOR,	   /* C: events, devices, the interpreter, looking up blocks */
	CPU_AT_CODE,	   /* translated code */
	CPU_AT_HELPER,	   /* C called from translated code: TLB misses, handlers */
	CPU_AT_TRANSLATOR, /* making a translation, waiting for the lock included */
	CPU_AT_SLEEP,	   /* halted */
	CPU_NR_PLACES,
};

/* cpu_place - where the vCPU's thread is now; between two cpu_run() it counts as the monitor. Thread: any. */
enum cpu_place cpu_place(const struct cpu *cpu);

/* What the translation engine holds and has executed. */
struct cpu_code_stats {
	uint64_t cache_bytes; /* size of the code cache; 0: the engine has none */
	uint64_t used_bytes;  /* of it: translations that are alive */
	uint64_t nr_blocks;   /* alive translations */
	bool is_counting;     /* they count their executions, and the rest is meaningful */
	uint64_t insns, insns_sensitive, insns_privileged; /* executed by translated code */
	uint64_t accesses; /* memory operands that looked into the TLB */
};

/* cpu_group_code_stats - what the translation engine holds; all zero for another engine. Thread: any, while no
 * other one replaces the engine. */
void cpu_group_code_stats(struct cpu_group *grp, struct cpu_code_stats *ret);

/*
 * cpu_group_count_blocks - let translated blocks count their executions, or stop it.
 *
 * Every translation is made anew. Returns 0; -EOPNOTSUPP: the engine translates nothing. Thread: as
 * cpu_group_code_stats().
 */
_nodiscard_ int cpu_group_count_blocks(struct cpu_group *grp, bool on, struct err *err);

/* Which translated blocks to show. */
struct cpu_hot_query {
	unsigned int top; /* at most so many, the most executed instructions first */
	bool has_address; /* only blocks that hold the instruction at this linear address */
	uint64_t address;
	bool json; /* one JSON object instead of text for people */
};
enum { CPU_HOT_MAX = 1000 }; /* for top */

/*
 * cpu_group_hot_blocks - the most executed translations: guest code beside host code, counts, expansion, and
 * which instructions are sensitive or privileged.
 *
 * @out:  appended; a listing beyond 16 MiB is cut, and says so
 * Returns 0; -EOPNOTSUPP: the engine translates nothing. Thread: as cpu_group_code_stats().
 */
_nodiscard_ int cpu_group_hot_blocks(struct cpu_group *grp, const struct cpu_hot_query *query,
				     struct strbuf *out, struct err *err);

/* A debugger's wishes for one vCPU; the guest does not see them. */
enum { CPU_DEBUG_MAX_BREAKS = 64 };
struct cpu_debug_break {
	uint64_t addr; /* linear address */
	uint32_t len;  /* bytes; 1 for execution */
	bool exec, read, write;
};
struct cpu_debug {
	bool single_step;
	unsigned int nr_breaks;
	struct cpu_debug_break breaks[CPU_DEBUG_MAX_BREAKS];
};

/* cpu_set_debug - replace the debugger's wishes; the vCPU must not be running. */
void cpu_set_debug(struct cpu *cpu, const struct cpu_debug *debug);

/*
 * cpu_debug_read, cpu_debug_write - guest memory by linear address, as the debugger of a stopped vCPU
 * sees it: no faults, no accessed bits, protection ignored.
 *
 * Returns 0, or -EFAULT when a page is not mapped or not RAM.
 */
_nodiscard_ int cpu_debug_read(struct cpu *cpu, uint64_t lin, void *buf, uint64_t len);
_nodiscard_ int cpu_debug_write(struct cpu *cpu, uint64_t lin, const void *buf, uint64_t len);

#endif
