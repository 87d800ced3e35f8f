/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_FAKE_CPU_H
#define ATOLL_TESTS_COMPONENT_FAKE_CPU_H

/*
 * Local APICs without an engine: this file stands in for the rest of a CPU. Guest time is the fake
 * clock's, and the TSC runs at 1 GHz from it. Included by one file of a program, since it defines what
 * cpu/group.c would.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cpu/apic.h"
#include "sys/timerq.h"

enum { NR_CPUS = 4 };

struct apics {
	struct clock_fake clock;
	struct timerq timers;
	struct cpu_group grp;
	struct cpu *cpu[NR_CPUS];
	unsigned int nr_eoi, nr_acks;
	uint8_t last_eoi;
};

void cpu_wake(struct cpu *c, uint32_t pending_bits)
{
	atomic_fetch_or(&c->hot.pending, pending_bits);
}

uint64_t cpu_group_now(const struct cpu_group *grp)
{
	return clock_now(grp->clock) - grp->start_ns;
}

uint64_t cpu_group_tsc(const struct cpu_group *grp)
{
	return cpu_group_now(grp);
}

uint64_t cpu_read_tsc(const struct cpu *c)
{
	return cpu_group_tsc(c->grp) + c->st.tsc_offset;
}

static uint8_t extint_ack(void *arg)
{
	struct apics *f = arg;

	f->nr_acks++;
	return 0x33;
}

static void machine_eoi(void *arg, uint8_t vector)
{
	struct apics *f = arg;

	f->nr_eoi++;
	f->last_eoi = vector;
}

static const struct cpu_machine_ops ops = { .extint_ack = extint_ack, .eoi = machine_eoi };

static void give_features(struct cpu_cpuid *id)
{
	memset(id, 0xff, sizeof(*id));
	id->phys_bits = 40;
}

static inline int apics_init(struct apics *f)
{
	memset(f, 0, sizeof(*f));
	clock_fake_init(&f->clock, NS_PER_S, 0);
	timerq_init(&f->timers, &f->clock.clock);
	f->grp.nr = NR_CPUS;
	f->grp.cpu = f->cpu;
	f->grp.timers = &f->timers;
	f->grp.clock = &f->clock.clock;
	f->grp.start_ns = NS_PER_S / 2;
	f->grp.tsc_khz = 1000000;
	f->grp.ops = &ops;
	f->grp.arg = f;
	give_features(&f->grp.cpuid);
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		struct cpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);

		if (!c)
			return -1;
		memset(c, 0, sizeof(*c));
		c->grp = &f->grp;
		c->index = k;
		mutex_init(&c->apic_lock);
		f->cpu[k] = c;
		apic_init(c);
		apic_reset(c, false);
		c->st.ev.mp_state = k ? CPU_MP_WAIT_SIPI : CPU_MP_RUNNING;
	}
	return 0;
}

static inline void apics_done(struct apics *f)
{
	for (unsigned int k = 0; k < NR_CPUS; k++) {
		apic_done(f->cpu[k]);
		free(f->cpu[k]);
	}
	timerq_done(&f->timers);
}

#endif
