/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine did, in numbers: the counters of the vCPUs with their explanations, the accesses to every
 * device, and how fast it went. Text for people, one JSON object for programs.
 *
 * How time divides between translated code, helpers and the rest is sampled: reading the clock at each change
 * of place would cost more than many of the visits. The period is not a divisor of the guest's own ticks.
 */
#include "vm/stats.h"

#include <string.h>
#include <time.h>

#include "sys/fd.h"
#include "vm/machine_priv.h"

#define SAMPLE_NS (UINT64_C(997) * NS_PER_US)

static const struct {
	const char *name, *help;
} counters[] = {
#define CPU_STAT(name, help) { #name, help },
#include "cpu/stats.def"
#undef CPU_STAT
};

static const struct {
	const char *name, *help;
} places[CPU_NR_PLACES] = {
	[CPU_AT_MONITOR] = { "monitor", "events, devices, interpreter" },
	[CPU_AT_CODE] = { "code", "translated code" },
	[CPU_AT_HELPER] = { "helper", "helpers that translated code called" },
	[CPU_AT_TRANSLATOR] = { "translator", "translator" },
	[CPU_AT_SLEEP] = { "sleep", "asleep in HLT" },
};

/* --- collecting ---------------------------------------------------------------------------------- */

static void take_sample(void *arg)
{
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->nr_cpus; i++)
		atomic_fetch_add_explicit(&m->samples[cpu_place(m->vcpu[i].cpu)], 1,
					  memory_order_relaxed);
	timerq_arm(&m->timers, &m->sampler, clock_now(m->clock) + SAMPLE_NS);
}

void machine_sampler_init(struct machine *m)
{
	timerq_timer_init(&m->timers, &m->sampler, take_sample, m);
}

void machine_sample(struct machine *m)
{
	if (!atomic_exchange(&m->is_sampled, true))
		timerq_arm(&m->timers, &m->sampler, clock_now(m->clock) + SAMPLE_NS);
}

/* The vCPUs count without locks: a value may be a moment old, which is what was asked for. */
__attribute__((__no_sanitize__("thread"))) static uint64_t read_counter(const struct cpu_stats *st,
									size_t i)
{
	return ((const volatile uint64_t *)(const void *)st)[i];
}

static void add_counters(struct stats_totals *t, const struct cpu_stats *st)
{
	_Static_assert(sizeof(struct cpu_stats) == NR_STATS * sizeof(uint64_t),
		       "only counters, in the order of the table");
	for (size_t i = 0; i < NR_STATS; i++)
		t->counter[i] += read_counter(st, i);
}

uint64_t machine_cpu_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void collect(struct machine *m, struct stats_totals *t)
{
	uint64_t ended_ns = atomic_load(&m->ended_ns), started_ns = atomic_load(&m->started_ns);

	memset(t, 0, sizeof(*t));
	t->now_ns = clock_now(clock_real());
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		add_counters(t, cpu_stats(m->vcpu[i].cpu));
	add_counters(t, cpu_group_stats(m->cpus));
	/* The engine is not replaced between these two. */
	mutex_lock(&m->control);
	cpu_group_code_stats(m->cpus, &t->code);
	mutex_unlock(&m->control);
	/* What translations had counted goes with their engine. */
	t->insns_complete = !t->counter[STAT_dbt_blocks] ||
			    (t->code.is_counting && !m->engine_switch_ns);
	t->insns = t->counter[STAT_insns] + t->code.insns;
	t->sensitive = t->counter[STAT_insns_sensitive] + t->code.insns_sensitive;
	t->privileged = t->counter[STAT_insns_privileged] + t->code.insns_privileged;
	for (unsigned int k = 0; k < CPU_NR_PLACES; k++)
		t->samples[k] = atomic_load_explicit(&m->samples[k], memory_order_relaxed);
	if (started_ns)
		t->host_ns = (ended_ns ? ended_ns : t->now_ns) - started_ns;
	t->guest_ns = cpu_group_now(m->cpus);
	t->cpu_ns = ended_ns ? m->cpu_ns : machine_cpu_ns() - m->cpu_ns_before;
}

/* Millions of instructions a second of processor time. */
static double mips(const struct stats_totals *t)
{
	return (double)t->insns * 1000.0 / (double)(t->cpu_ns ? t->cpu_ns : 1);
}

/* --- text ---------------------------------------------------------------------------------------- */

/* 1234567 as "1,234,567", right-aligned. */
static void add_number(struct strbuf *b, uint64_t v, int width)
{
	char text[32];
	size_t at = sizeof(text) - 1;
	unsigned int digits = 0;

	text[at] = 0;
	do {
		if (digits && digits % 3 == 0)
			text[--at] = ',';
		text[--at] = (char)('0' + v % 10);
		v /= 10;
		digits++;
	} while (v);
	strbuf_addf(b, "%*s", width, text + at);
}

/* Two looks, the earlier one NULL when there is none. */
struct looks {
	const struct stats_totals *now, *before;
	struct strbuf *out;
};

static void add_line(const struct looks *l, uint64_t now, uint64_t before, const char *help)
{
	add_number(l->out, now, 18);
	if (l->before) {
		uint64_t ns = l->now->now_ns - l->before->now_ns;

		add_number(l->out, (uint64_t)((double)(now - before) * 1e9 / (double)(ns ? ns : 1)),
			   16);
		strbuf_adds(l->out, "/s");
	}
	strbuf_addf(l->out, "  %s\n", help);
}

static uint64_t accesses(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add_range_text(const struct bus_range *r, void *arg)
{
	uint64_t reads = accesses(&r->nr_reads), writes = accesses(&r->nr_writes);
	struct strbuf *b = arg;

	if (!reads && !writes)
		return;
	strbuf_addf(b, "  %-16s 0x%08llx", r->name, (unsigned long long)r->base);
	add_number(b, reads, 16);
	add_number(b, writes, 16);
	strbuf_addc(b, '\n');
}

static uint64_t samples_between(const struct looks *l, unsigned int place)
{
	return l->now->samples[place] - (l->before ? l->before->samples[place] : 0);
}

static void add_places(const struct looks *l)
{
	uint64_t sum = 0;

	for (unsigned int k = 0; k < CPU_NR_PLACES; k++)
		sum += samples_between(l, k);
	if (!sum)
		return;
	strbuf_adds(l->out, "\ntime of the vCPUs' threads\n");
	for (unsigned int k = 0; k < CPU_NR_PLACES; k++)
		if (samples_between(l, k))
			strbuf_addf(l->out, "%16.1f %%  %s\n",
				    100.0 * (double)samples_between(l, k) / (double)sum,
				    places[k].help);
}

static void add_code(const struct looks *l)
{
	const struct cpu_code_stats *code = &l->now->code;
	const uint64_t *n = l->now->counter;
	uint64_t misses = n[STAT_tlb_misses_read] + n[STAT_tlb_misses_write];

	if (!code->cache_bytes)
		return;
	strbuf_adds(l->out, "\ncode cache\n");
	add_number(l->out, code->nr_blocks, 18);
	strbuf_adds(l->out, "  blocks\n");
	add_number(l->out, code->used_bytes, 18);
	strbuf_addf(l->out, "  bytes, of %llu\n", (unsigned long long)code->cache_bytes);
	if (n[STAT_dbt_guest_bytes])
		strbuf_addf(l->out, "%18.2f  bytes of host code for a byte of the guest's\n",
			    (double)n[STAT_dbt_host_bytes] / (double)n[STAT_dbt_guest_bytes]);
	if (code->is_counting && code->accesses > misses) {
		add_number(l->out, code->accesses - misses, 18);
		strbuf_addf(l->out, "  TLB hits, of %llu look-ups\n",
			    (unsigned long long)code->accesses);
	}
}

static void add_classes(const struct looks *l)
{
	const struct stats_totals *t = l->now, *was = l->before ? l->before : l->now;

	strbuf_addf(l->out, "\ninstructions by class%s\n",
		    t->insns_complete ? ""
				      : "; those of translated code are counted with --count only");
	add_line(l, t->insns - t->sensitive - t->privileged,
		 was->insns - was->sensitive - was->privileged,
		 "innocuous: would run unchanged on the host");
	add_line(l, t->sensitive, was->sensitive,
		 "sensitive, not privileged: behave differently without a trap");
	add_line(l, t->privileged, was->privileged, "privileged: trap outside of ring 0");
}

static void add_text(struct machine *m, const struct looks *l)
{
	const struct stats_totals *t = l->now;
	struct strbuf *b = l->out;

	strbuf_addf(b, "\natoll: %.3f s, of which %.3f s of processor time",
		    (double)t->host_ns / 1e9, (double)t->cpu_ns / 1e9);
	if (t->insns_complete)
		strbuf_addf(b, "; %.1f million instructions a second", mips(t));
	strbuf_addf(b, "\nengine %s, vCPUs %u, resets %llu\n", cpu_group_engine(m->cpus),
		    m->nr_cpus, (unsigned long long)atomic_load(&m->nr_resets));
	add_places(l);
	add_code(l);
	add_classes(l);
	strbuf_adds(b, "\nevents\n");
	for (size_t i = 0; i < NR_STATS; i++)
		if (t->counter[i])
			add_line(l, t->counter[i], l->before ? l->before->counter[i] : 0,
				 counters[i].help);
	strbuf_adds(b, "\nport I/O by device                      reads          writes\n");
	bus_each(m->pio, add_range_text, b);
	strbuf_adds(b, "\nmemory-mapped I/O by device             reads          writes\n");
	bus_each(m->mmio, add_range_text, b);
	mutex_lock(&m->control);
	machine_virtio_stats(&m->virtio, false, b);
	mutex_unlock(&m->control);
}

/* --- JSON ---------------------------------------------------------------------------------------- */

static void add_range_json(const struct bus_range *r, void *arg)
{
	uint64_t reads = accesses(&r->nr_reads), writes = accesses(&r->nr_writes);
	struct strbuf *b = arg;

	if (!reads && !writes)
		return;
	if (b->p[b->n - 1] != '[')
		strbuf_addc(b, ',');
	strbuf_adds(b, "{\"name\":");
	strbuf_add_json(b, str_of(r->name));
	strbuf_addf(b, ",\"base\":%llu,\"len\":%llu,\"reads\":%llu,\"writes\":%llu}",
		    (unsigned long long)r->base, (unsigned long long)r->len,
		    (unsigned long long)reads, (unsigned long long)writes);
}

static void add_code_json(const struct stats_totals *t, struct strbuf *b)
{
	const struct cpu_code_stats *code = &t->code;

	strbuf_adds(b, "\"samples\":{");
	for (unsigned int k = 0; k < CPU_NR_PLACES; k++)
		strbuf_addf(b, "%s\"%s\":%llu", k ? "," : "", places[k].name,
			    (unsigned long long)t->samples[k]);
	strbuf_adds(b, "},");
	if (!code->cache_bytes)
		return;
	strbuf_addf(b, "\"code_cache\":{\"bytes\":%llu,\"used\":%llu,\"blocks\":%llu",
		    (unsigned long long)code->cache_bytes, (unsigned long long)code->used_bytes,
		    (unsigned long long)code->nr_blocks);
	if (code->is_counting)
		strbuf_addf(b, ",\"insns\":%llu,\"tlb_lookups\":%llu",
			    (unsigned long long)code->insns, (unsigned long long)code->accesses);
	strbuf_adds(b, "},");
}

static void add_json(struct machine *m, const struct stats_totals *t, struct strbuf *b)
{
	strbuf_addf(b, "{\"host_ns\":%llu,\"guest_ns\":%llu,\"cpu_ns\":%llu,",
		    (unsigned long long)t->host_ns, (unsigned long long)t->guest_ns,
		    (unsigned long long)t->cpu_ns);
	if (t->insns_complete)
		strbuf_addf(b, "\"mips\":%.3f,", mips(t));
	strbuf_addf(b, "\"engine\":\"%s\",\"vcpus\":%u,\"resets\":%llu,", cpu_group_engine(m->cpus),
		    m->nr_cpus, (unsigned long long)atomic_load(&m->nr_resets));
	add_code_json(t, b);
	strbuf_addf(b, "\"insns_innocuous\":%llu,\"cpu\":{",
		    (unsigned long long)(t->insns - t->sensitive - t->privileged));
	for (size_t i = 0; i < NR_STATS; i++)
		strbuf_addf(b, "%s\"%s\":%llu", i ? "," : "", counters[i].name,
			    (unsigned long long)t->counter[i]);
	strbuf_adds(b, "},\"pio\":[");
	bus_each(m->pio, add_range_json, b);
	strbuf_adds(b, "],\"mmio\":[");
	bus_each(m->mmio, add_range_json, b);
	strbuf_adds(b, "],\"virtio\":[");
	mutex_lock(&m->control);
	machine_virtio_stats(&m->virtio, true, b);
	mutex_unlock(&m->control);
	strbuf_adds(b, "]}\n");
}

void machine_stats(struct machine *m, struct stats_totals *before, bool json, struct strbuf *out)
{
	struct stats_totals now;

	collect(m, &now);
	if (json) {
		add_json(m, &now, out);
	} else {
		struct looks looks = { &now, before && before->now_ns ? before : NULL, out };

		add_text(m, &looks);
	}
	if (before)
		*before = now;
}

void machine_print_stats(struct machine *m, int fd, bool json)
{
	_cleanup_(strbuf_done) struct strbuf b = { 0 };

	machine_stats(m, NULL, json, &b);
	/* Nobody can be told that telling failed. */
	ignore_result(fd_write_full(fd, b.p, b.n));
}
