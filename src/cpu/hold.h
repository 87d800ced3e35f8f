/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_HOLD_H
#define CPU_HOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sys/timerq.h"

/*
 * User mode of a machine that is a copy stands still until its kernel has looked at a certain address and done what follows from
 * that (cpu_group_hold_user()). Part of struct cpu_group.
 */
struct cpu_hold {
	_Atomic bool is_on;
	_Atomic int seen_by; /* the vCPU that has looked; negative: none yet */
	uint64_t gpa;	     /* the page */
	struct timerq_timer end;
};

struct cpu;
struct cpu_group;

/* hold_init, hold_done - of a group with its timers; no vCPU runs. */
void hold_init(struct cpu_group *grp);
void hold_done(struct cpu_group *grp);

/* hold_keeps - may the vCPU not execute its next instruction? One that has looked, and is back in user mode, ends it for all.
 * hold_idle - it is going to sleep: one that has looked ends it. hold_read - it has read a word that is not memory.
 * Thread: the vCPU's own. */
bool hold_keeps(struct cpu *c);
void hold_idle(struct cpu *c);
void hold_read(struct cpu *c, uint64_t gpa);

#endif
