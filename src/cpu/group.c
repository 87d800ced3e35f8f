// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vCPUs of one machine: making them, waking them, and time. Everything here is the same for every
 * engine; what runs guest code is behind struct cpu_engine.
 *
 * Wake-ups are one atomic word and a futex, so that they may come from any thread, from under any lock
 * and from a signal handler. A sleeper publishes `sleeping` before it looks at `pending`, a waker sets
 * `pending` before it looks at `sleeping`; one of the two always sees the other.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "cpu/apic.h"
#include "cpu/cpu_priv.h"
#include "cpu/dbt/inspect.h"
#include "cpu/exclusive.h"
#include "cpu/kvm/kvm.h"

enum { MAX_CPUS = 64 };
#define WAIT_AWAKE_MIN_NS  10000
#define WAIT_AWAKE_MAX_NS  200000
#define CODE_CACHE_DEFAULT (UINT64_C(64) << 20)
#define CODE_CACHE_MIN	   (UINT64_C(4) << 20)
#define CODE_CACHE_MAX	   (UINT64_C(2) << 30)

static int engine_pick(enum cpu_engine_kind kind, const struct cpu_engine **ret, struct err *err)
{
	switch (kind) {
	case CPU_ENGINE_INTERP:
		*ret = &interp_engine;
		return 0;
	case CPU_ENGINE_AUTO:
		*ret = kvm_is_whole() ? &kvm_engine : &dbt_engine;
		return 0;
	case CPU_ENGINE_DBT:
		*ret = &dbt_engine;
		return 0;
	case CPU_ENGINE_KVM:
		*ret = &kvm_engine;
		return 0;
	}
	return err_set(err, -EINVAL, "unknown engine number %d", (int)kind);
}

static void cpu_free(struct cpu *c)
{
	if (!c)
		return;
	apic_done(c);
	pv_done(c);
	c->engine->done(c);
	pthread_mutex_destroy(&c->apic_lock);
	free(c);
}

static int cpu_new(struct cpu_group *grp, unsigned int index, const struct cpu_engine *engine,
		   struct err *err)
{
	struct cpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", index);
	__builtin_memset(c, 0, sizeof(*c));
	c->grp = grp;
	c->index = index;
	c->engine = engine;
	pthread_mutex_init(&c->apic_lock, NULL);
	apic_init(c);
	pv_init(c);
	grp->cpu[index] = c; /* from here on cpu_group_free() takes care of it */
	cpu_reset(c, false);
	r = engine->init(c, err);
	if (r < 0)
		return err_wrap(err, r, "vCPU %u", index);
	engine->state_loaded(c);
	return 0;
}

static int adopt(struct cpu_group *grp, const struct cpu_engine *engine, struct err *err)
{
	int r;

	if (!engine->adopt)
		return 0;
	pthread_rwlock_wrlock(&grp->msg_lock);
	r = engine->adopt(grp, err);
	pthread_rwlock_unlock(&grp->msg_lock);
	return r;
}

int cpu_group_new(const struct cpu_group_config *cfg, struct cpu_group **ret, struct err *err)
{
	const struct cpu_engine *engine = NULL;
	struct cpuid_limit limit = { 0 };
	struct cpu_group *grp;
	int r;

	if (cfg->nr_cpus < 1 || cfg->nr_cpus > MAX_CPUS)
		return err_set(err, -EINVAL, "%u vCPUs: from 1 to %d are possible", cfg->nr_cpus,
			       MAX_CPUS);
	if (cfg->code_cache_bytes &&
	    (cfg->code_cache_bytes < CODE_CACHE_MIN || cfg->code_cache_bytes > CODE_CACHE_MAX))
		return err_set(err, -EINVAL, "a code cache has from 4 MiB to 2 GiB");
	r = engine_pick(cfg->engine, &engine, err);
	if (r < 0)
		return r;

	grp = mem_new(sizeof(*grp));
	grp->nr = cfg->nr_cpus;
	grp->cpu = mem_new_n(cfg->nr_cpus, sizeof(struct cpu *));
	grp->mem = cfg->mem;
	grp->timers = cfg->timers;
	grp->clock = cfg->clock;
	grp->ops = cfg->ops;
	grp->arg = cfg->arg;
	pthread_rwlock_init(&grp->msg_lock, NULL);
	hold_init(grp);
	grp->apic_place = cfg->apic;
	grp->trace = cfg->trace;
	grp->code_cache_bytes = cfg->code_cache_bytes ? cfg->code_cache_bytes : CODE_CACHE_DEFAULT;
	grp->count_blocks = cfg->count_blocks;
	grp->perf_map = cfg->perf_map;
	if (cfg->perf_map)
		perf_map_open();
	atomic_store(&grp->engine, engine);
	grp->tsc_khz = cfg->tsc_khz ? cfg->tsc_khz : clock_tsc_khz();
	grp->start_ns = clock_now(cfg->clock);
	grp->start_tsc = clock_tsc();
	grp->exclusive = exclusive_new(grp);
	r = engine->admit ? engine->admit(grp, &limit, err) : 0;
	if (r == 0)
		r = cpuid_build(&grp->cpuid, cfg->model ? cfg->model : "host", cfg->features,
				cfg->nr_cpus, grp->tsc_khz, engine->admit ? &limit : NULL, err);
	for (unsigned int k = 0; r == 0 && k < grp->nr; k++)
		r = cpu_new(grp, k, engine, err);
	if (r == 0)
		r = adopt(grp, engine, err);
	if (r < 0) {
		cpu_group_free(grp);
		return r;
	}
	*ret = grp;
	return 0;
}

/* May the engine take a group whose guest has seen its CPU's features? */
static int admit_running(struct cpu_group *grp, const struct cpu_engine *engine, struct err *err)
{
	struct cpuid_limit limit = { 0 };
	int r;

	if (!engine->admit)
		return 0;
	r = engine->admit(grp, &limit, err);
	if (r < 0)
		return r;
	r = cpuid_fits(&grp->cpuid, &limit, err);
	if (r < 0 && engine->release)
		engine->release(grp);
	return r;
}

int cpu_group_set_engine(struct cpu_group *grp, enum cpu_engine_kind kind, struct err *err)
{
	const struct cpu_engine *engine = NULL, *old = atomic_load(&grp->engine);
	int r = engine_pick(kind, &engine, err);

	if (r < 0 || engine == old)
		return r;
	r = admit_running(grp, engine, err);
	if (r < 0)
		return r;
	if (old->leave) {
		pthread_rwlock_wrlock(&grp->msg_lock);
		r = old->leave(grp, err);
		pthread_rwlock_unlock(&grp->msg_lock);
	}
	for (unsigned int k = 0; k < grp->nr; k++)
		old->done(grp->cpu[k]);
	if (old->release)
		old->release(grp);
	atomic_store(&grp->engine, engine);
	for (unsigned int k = 0; r == 0 && k < grp->nr; k++) {
		struct cpu *c = grp->cpu[k];

		c->engine = engine;
		r = engine->init(c, err);
		if (r < 0)
			return err_wrap(err, r, "vCPU %u: engine '%s'", k, engine->name);
		engine->state_loaded(c);
	}
	return r == 0 ? adopt(grp, engine, err) : r;
}

const char *cpu_group_engine(const struct cpu_group *grp)
{
	return atomic_load(&grp->engine)->name;
}

void cpu_group_free(struct cpu_group *grp)
{
	if (!grp)
		return;
	for (unsigned int k = 0; k < grp->nr; k++)
		cpu_free(grp->cpu[k]);
	if (atomic_load(&grp->engine)->release)
		atomic_load(&grp->engine)->release(grp);
	exclusive_free(grp->exclusive);
	pthread_rwlock_destroy(&grp->msg_lock);
	hold_done(grp);
	free(grp->cpu);
	free(grp);
}

struct cpu *cpu_group_cpu(struct cpu_group *grp, unsigned int index)
{
	return grp->cpu[index];
}

void cpu_group_power_on(struct cpu_group *grp, unsigned int index)
{
	cpu_reset(grp->cpu[index], false);
	grp->cpu[index]->engine->state_loaded(grp->cpu[index]);
}

void cpu_group_reset(struct cpu_group *grp)
{
	for (unsigned int k = 0; k < grp->nr; k++)
		cpu_group_power_on(grp, k);
}

void cpu_group_flush(struct cpu_group *grp)
{
	for (unsigned int k = 0; k < grp->nr; k++)
		cpu_wake(grp->cpu[k], CPU_PEND_FLUSH);
}

uint64_t cpu_group_now(const struct cpu_group *grp)
{
	return clock_now(grp->clock) - grp->start_ns;
}

void cpu_group_get_time(const struct cpu_group *grp, struct cpu_group_time *ret)
{
	*ret = (struct cpu_group_time){ .now_ns = cpu_group_now(grp),
					.tsc = cpu_group_tsc(grp),
					.tsc_khz = grp->tsc_khz };
}

void cpu_group_set_time(struct cpu_group *grp, const struct cpu_group_time *time)
{
	grp->start_ns = clock_now(grp->clock) - time->now_ns;
	grp->start_tsc = clock_tsc() - time->tsc;
}

uint32_t cpu_group_model_sum(const struct cpu_group *grp)
{
	const struct cpu_cpuid *id = &grp->cpuid;
	uint32_t sum = 0;

	for (unsigned int k = 0; k < id->nr; k++) {
		const struct cpuid_leaf *l = &id->leaf[k];

		sum = crc32c(sum, &l->leaf, sizeof(l->leaf));
		sum = crc32c(sum, &l->subleaf, sizeof(l->subleaf));
		sum = crc32c(sum, l->reg, sizeof(l->reg));
	}
	return sum;
}

void cpu_group_model_text(const struct cpu_group *grp, struct strbuf *out)
{
	cpuid_text(&grp->cpuid, out);
}

uint64_t cpu_group_tsc(const struct cpu_group *grp)
{
	return clock_tsc() - grp->start_tsc;
}

uint64_t cpu_read_tsc(const struct cpu *c)
{
	return cpu_group_tsc(c->grp) + c->st.tsc_offset;
}

void cpu_group_extint(struct cpu_group *grp, bool level)
{
	for (unsigned int k = 0; k < grp->nr; k++) {
		struct cpu *c = grp->cpu[k];

		pthread_mutex_lock(&c->apic_lock);
		/* apic_has_interrupt() looks without the lock. */
		__atomic_store_n(&c->st.ev.extint, level, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&c->apic_lock);
		if (level)
			cpu_wake(c, CPU_PEND_INTR);
	}
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void cpu_wake(struct cpu *c, uint32_t pending_bits)
{
	uint32_t old = atomic_fetch_or(&c->hot.pending, pending_bits);
	int32_t tid;

	if (atomic_load(&c->sleeping))
		futex(&c->hot.pending, FUTEX_WAKE, 1);
	tid = atomic_load(&c->kvm_tid);
	/* Who set the bits before has sent it, or is about to. */
	if (tid && (pending_bits & ~old))
		syscall(SYS_tgkill, getpid(), tid, CPU_KICK_SIGNAL);
}

/* Whether there was something to do before @until. Others that want this processor have it first. */
static bool wait_awake(struct cpu *c, uint64_t until)
{
	while (!atomic_load(&c->hot.pending)) {
		if (clock_now(c->grp->clock) >= until)
			return false;
		sched_yield();
	}
	return true;
}

/*
 * Going to sleep and being woken takes longer than a disk or a network peer in memory needs to answer. So a vCPU whose
 * last sleep was short stays awake for a while: longer each time that it was too short, not at all after a long sleep.
 */
static uint64_t next_wait(uint64_t wait_ns, uint64_t slept_ns)
{
	if (slept_ns > WAIT_AWAKE_MAX_NS)
		return 0;
	if (slept_ns <= wait_ns)
		return wait_ns;
	return MIN(MAX(2 * wait_ns, (uint64_t)WAIT_AWAKE_MIN_NS), (uint64_t)WAIT_AWAKE_MAX_NS);
}

void cpu_sleep(struct cpu *c)
{
	uint64_t began = clock_now(c->grp->clock),
		 wait_ns = c->st.pv_poll_off ? 0 : c->wait_awake_ns;
	uint64_t slept, asleep = began;
	bool is_done = false;

	cpu_at(c, CPU_AT_SLEEP);
	if (wait_ns) {
		is_done = wait_awake(c, began + wait_ns);
		asleep = clock_now(c->grp->clock);
	}
	if (!is_done) {
		atomic_store(&c->sleeping, 1);
		while (!atomic_load(&c->hot.pending))
			futex(&c->hot.pending, FUTEX_WAIT, 0);
		atomic_store(&c->sleeping, 0);
	}
	cpu_at(c, CPU_AT_MONITOR);
	slept = clock_now(c->grp->clock) - began;
	c->pv.slept_ns += slept - (asleep - began);
	c->wait_awake_ns = next_wait(c->wait_awake_ns, slept);
	c->stats.halts++;
	c->stats.halt_ns += slept;
}

void cpu_kick(struct cpu *c)
{
	cpu_wake(c, CPU_PEND_KICK);
}

enum cpu_exit cpu_run(struct cpu *c, struct err *err)
{
	pv_runs(c);
	return c->engine->run(c, err);
}

unsigned int cpu_index(const struct cpu *c)
{
	return c->index;
}

const struct cpu_stats *cpu_stats(const struct cpu *c)
{
	return &c->stats;
}

const struct cpu_stats *cpu_group_stats(const struct cpu_group *grp)
{
	return &grp->stats;
}

enum cpu_place cpu_place(const struct cpu *c)
{
	return (enum cpu_place)atomic_load_explicit(&c->place, memory_order_relaxed);
}

void cpu_set_debug(struct cpu *c, const struct cpu_debug *debug)
{
	c->debug = *debug;
	if (c->engine->debug_changed)
		c->engine->debug_changed(c);
	else
		c->engine->state_loaded(c);
}
