/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine did, in numbers: the counters of the vCPUs with their explanations, the accesses to every
 * device, and how fast it went. Text for people, one JSON object for programs.
 */
#include <string.h>

#include "base/str.h"
#include "sys/fd.h"
#include "vm/machine_priv.h"

static const struct {
	const char *name, *help;
	size_t offset;
} counters[] = {
#define CPU_STAT(name, help) { #name, help, offsetof(struct cpu_stats, name) },
#include "cpu/stats.def"
#undef CPU_STAT
};

struct totals {
	uint64_t counter[ARRAY_SIZE(counters)];
	uint64_t insns, sensitive, privileged;
	uint64_t host_ns, guest_ns, cpu_ns;
	double mips; /* of the time that vCPUs were not asleep */
};

static void sum_up(struct machine *m, struct totals *t)
{
	uint64_t busy_ns;

	memset(t, 0, sizeof(*t));
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		const struct cpu_stats *st = cpu_stats(m->vcpu[i].cpu);
		const uint8_t *base = (const uint8_t *)st;

		for (size_t k = 0; k < ARRAY_SIZE(counters); k++) {
			uint64_t v;

			memcpy(&v, base + counters[k].offset, sizeof(v));
			t->counter[k] += v;
		}
		t->insns += st->insns;
		t->sensitive += st->insns_sensitive;
		t->privileged += st->insns_privileged;
	}
	t->host_ns = m->ended_ns - m->started_ns;
	t->guest_ns = cpu_group_now(m->cpus);
	t->cpu_ns = m->cpu_ns;
	busy_ns = t->cpu_ns ? t->cpu_ns : 1;
	t->mips = (double)t->insns * 1000.0 / (double)busy_ns;
}

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

static void add_range_text(const struct bus_range *r, void *arg)
{
	struct strbuf *b = arg;

	if (!r->nr_reads && !r->nr_writes)
		return;
	strbuf_addf(b, "  %-16s 0x%08llx", r->name, (unsigned long long)r->base);
	add_number(b, r->nr_reads, 16);
	add_number(b, r->nr_writes, 16);
	strbuf_addc(b, '\n');
}

static void add_text(struct machine *m, const struct totals *t, struct strbuf *b)
{
	strbuf_addf(b,
		    "\natoll: %.3f s, of which %.3f s of processor time; %.1f million instructions a second\n",
		    (double)t->host_ns / 1e9, (double)t->cpu_ns / 1e9, t->mips);
	strbuf_addf(b, "vCPUs %u, resets %llu\n\ninstructions by class\n", m->nr_cpus,
		    (unsigned long long)m->nr_resets);
	add_number(b, t->insns - t->sensitive - t->privileged, 18);
	strbuf_adds(b, "  innocuous: would run unchanged on the host\n");
	add_number(b, t->sensitive, 18);
	strbuf_adds(b, "  sensitive, not privileged: behave differently without a trap\n");
	add_number(b, t->privileged, 18);
	strbuf_adds(b, "  privileged: trap outside of ring 0\n\nevents\n");
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		if (!t->counter[i])
			continue;
		add_number(b, t->counter[i], 18);
		strbuf_addf(b, "  %s\n", counters[i].help);
	}
	strbuf_adds(b, "\nport I/O by device                      reads          writes\n");
	bus_each(m->pio, add_range_text, b);
	strbuf_adds(b, "\nmemory-mapped I/O by device             reads          writes\n");
	bus_each(m->mmio, add_range_text, b);
}

static void add_range_json(const struct bus_range *r, void *arg)
{
	struct strbuf *b = arg;

	if (!r->nr_reads && !r->nr_writes)
		return;
	if (b->p[b->n - 1] != '[')
		strbuf_addc(b, ',');
	strbuf_adds(b, "{\"name\":");
	strbuf_add_json(b, str_of(r->name));
	strbuf_addf(b, ",\"base\":%llu,\"len\":%llu,\"reads\":%llu,\"writes\":%llu}",
		    (unsigned long long)r->base, (unsigned long long)r->len,
		    (unsigned long long)r->nr_reads, (unsigned long long)r->nr_writes);
}

static void add_json(struct machine *m, const struct totals *t, struct strbuf *b)
{
	strbuf_addf(b, "{\"host_ns\":%llu,\"guest_ns\":%llu,\"cpu_ns\":%llu,\"mips\":%.3f,",
		    (unsigned long long)t->host_ns, (unsigned long long)t->guest_ns,
		    (unsigned long long)t->cpu_ns, t->mips);
	strbuf_addf(b, "\"vcpus\":%u,\"resets\":%llu,\"insns_innocuous\":%llu,\"cpu\":{",
		    m->nr_cpus, (unsigned long long)m->nr_resets,
		    (unsigned long long)(t->insns - t->sensitive - t->privileged));
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		strbuf_addf(b, "%s\"%s\":%llu", i ? "," : "", counters[i].name,
			    (unsigned long long)t->counter[i]);
	strbuf_adds(b, "},\"pio\":[");
	bus_each(m->pio, add_range_json, b);
	strbuf_adds(b, "],\"mmio\":[");
	bus_each(m->mmio, add_range_json, b);
	strbuf_adds(b, "]}\n");
}

void machine_print_stats(struct machine *m, int fd, bool json)
{
	struct strbuf b = { 0 };
	struct totals t;

	sum_up(m, &t);
	if (json)
		add_json(m, &t, &b);
	else
		add_text(m, &t, &b);
	/* Nobody can be told that telling failed. */
	ignore_result(fd_write_full(fd, b.p, b.n));
	strbuf_done(&b);
}
