/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_STATS_H
#define VM_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "cpu/cpu.h"

/*
 * What a machine did, in numbers, while it runs and at its end. Rates are the difference between two looks, so
 * whoever asks repeatedly keeps the previous one.
 */
struct machine;

/* The counters of all vCPUs together, in the order of cpu/stats.def. */
enum {
#define CPU_STAT(name, help) STAT_##name,
#include "cpu/stats.def"
#undef CPU_STAT
	NR_STATS,
};

struct stats_totals {
	uint64_t now_ns; /* host time of this look; 0: there was none */
	uint64_t counter[NR_STATS];
	uint64_t insns, sensitive, privileged; /* executed, by all means */
	bool insns_complete;		       /* false: translated code does not count its own */
	struct cpu_code_stats code;
	uint64_t samples[CPU_NR_PLACES];
	uint64_t host_ns, guest_ns, cpu_ns;
};

/*
 * machine_stats - append what happened since the machine was started.
 *
 * @before:  NULL, or the previous look: text then has a column of rates; becomes this look
 * @json:    one JSON object and a line feed; else text for people
 * Thread: any, while nobody frees the machine.
 */
void machine_stats(struct machine *m, struct stats_totals *before, bool json, struct strbuf *out);

/*
 * machine_sample - from now on, look a thousand times a second where the vCPUs' threads are.
 *
 * Without it the statistics do not say how time divides. A second call does nothing. Thread: any.
 */
void machine_sample(struct machine *m);

#endif
