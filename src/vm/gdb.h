/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_GDB_H
#define VM_GDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "cpu/cpu.h"

/*
 * The gdb remote serial protocol (GDB manual, appendix E) on a local TCP port. One debugger at a time;
 * threads are vCPUs, numbered from 1. What the debugger needs from the machine is struct gdb_target, so
 * that the protocol can be tested and fuzzed without one.
 */
enum gdb_action { GDB_STAY, GDB_CONTINUE, GDB_STEP };

struct gdb_target {
	unsigned int nr_cpus; /* 1 to 64 */
	void *arg;
	/* All of these are called on the debugger's thread. halt() returns when every vCPU stands. */
	void (*halt)(void *arg);
	/* @action: one a vCPU. @breaks: break and watch points, valid during the call. */
	void (*resume)(void *arg, const enum gdb_action *action,
		       const struct cpu_debug_break *breaks, unsigned int nr_breaks);
	/* The machine is to end. */
	void (*kill)(void *arg);
	/* While halted: */
	void (*get_state)(void *arg, unsigned int cpu, struct cpu_state *ret);
	int (*set_state)(void *arg, unsigned int cpu, const struct cpu_state *state);
	int (*read)(void *arg, unsigned int cpu, uint64_t lin, void *buf, uint64_t len);
	int (*write)(void *arg, unsigned int cpu, uint64_t lin, const void *buf, uint64_t len);
};

struct gdb;

/*
 * gdb_new - listen on 127.0.0.1 and serve debuggers on a thread of its own.
 *
 * @port: 0 takes any free one (for tests)
 * @target: copied
 * Returns 0; -EADDRINUSE and the like; -EAGAIN. @ret: gdb_free(). Thread: owner.
 */
_nodiscard_ int gdb_new(uint16_t port, const struct gdb_target *target, struct gdb **ret,
			struct err *err);

/* gdb_free - end the connection and the thread. NULL is fine. Thread: owner. */
void gdb_free(struct gdb *gdb);

/* gdb_port - the port that is listened on. Thread: any. */
uint16_t gdb_port(const struct gdb *gdb);

/* gdb_stopped - a vCPU met a break point, watch point or the end of a step. Thread: any, any lock held. */
void gdb_stopped(struct gdb *gdb, unsigned int cpu);

/* gdb_ended - the machine ended with an exit status; the debugger is told. Thread: any. */
void gdb_ended(struct gdb *gdb, int status);

#endif
