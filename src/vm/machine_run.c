/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running: one thread a vCPU, and the main loop that decides.
 *
 * Devices and vCPUs only record what they want (`request`) and wake the main loop by an eventfd, since they
 * ask from under their locks; the main loop parks the vCPUs and resets or ends the machine. The first wish
 * wins, so a guest that writes "power off" and then crashes has powered off. An owner's stop is separate,
 * and stronger.
 *
 *	vCPU:  run guest <-> parked     (a request, machine.pauses, vcpu.is_held, vcpu.is_dead)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vm/machine_priv.h"

/* A guest that triple-faults again and again right after its start would do so for ever. */
enum { FAULT_LOOP = 3 };
#define FAULT_SOON_NS (10 * NS_PER_S)

static void wake_main(struct machine *m)
{
	const uint64_t one = 1;

	ignore_result(write(m->wake_fd, &one, sizeof(one))); /* a full counter wakes as well */
}

void machine_kick(struct machine *m)
{
	for (unsigned int i = 0; m->vcpu && i < m->nr_cpus; i++)
		cpu_kick(m->vcpu[i].cpu);
	wake_main(m);
}

void machine_ask(struct machine *m, enum machine_end what, uint32_t value)
{
	uint64_t none = 0;

	/* A guest that asked to end does not execute another instruction if we can help it. */
	if (atomic_compare_exchange_strong(&m->request, &none, ((uint64_t)what + 1) << 32 | value))
		machine_kick(m);
}

void machine_ask_windows(struct machine *m)
{
	atomic_store(&m->move_windows, true);
	machine_kick(m);
}

void machine_told(struct machine *m, enum guest_event what)
{
	enum machine_action action = what == GUEST_WATCHDOG   ? m->on_watchdog
				     : what == GUEST_PANICKED ? m->on_panic
							      : MACHINE_ACTION_NONE;
	bool first = atomic_fetch_add(&m->nr_guest_events[what], 1) == 0;

	if (first)
		log_warn("vm.guest", kv_str("event", what == GUEST_WATCHDOG   ? "watchdog"
						     : what == GUEST_PANICKED ? "panic"
									      : "crash-kernel"));
	switch (action) {
	case MACHINE_ACTION_NONE:
		break;
	case MACHINE_ACTION_RESET:
		machine_ask(m, MACHINE_RESET, 0);
		break;
	case MACHINE_ACTION_POWEROFF:
		machine_ask(m, what == GUEST_WATCHDOG ? MACHINE_WATCHDOG : MACHINE_PANICKED, 0);
		break;
	case MACHINE_ACTION_PAUSE:
		atomic_store(&m->want_pause, true);
		wake_main(m);
		break;
	}
}

void machine_stop(struct machine *m)
{
	atomic_store(&m->stop, true);
	wake_main(m);
}

static bool must_park(const struct vcpu *v)
{
	return v->m->pauses || v->is_held || v->is_absent || v->is_dead ||
	       atomic_load(&v->m->request) || atomic_load(&v->m->move_windows) ||
	       atomic_load(&v->m->ejected);
}

/* The guest ran into a wall; under machine.lock. */
static void vcpu_failed(struct vcpu *v, enum machine_end what, const struct err *err)
{
	if (!v->m->failure.code)
		v->m->failure = *err;
	v->is_dead = true;
	machine_ask(v->m, what, 0);
}

static void vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct machine *m = v->m;
	struct err err;

	mutex_lock(&m->lock);
	while (!m->is_ending) {
		enum cpu_exit why;

		if (must_park(v)) {
			/* Once: two parked vCPUs that woke each other would never sleep. */
			if (!v->is_parked)
				pthread_cond_broadcast(&m->changed);
			v->is_parked = true;
			cond_wait(&m->changed, &m->lock);
			continue;
		}
		v->is_parked = false;
		mutex_unlock(&m->lock);
		err = ERR_INIT;
		why = cpu_run(v->cpu, &err);
		mutex_lock(&m->lock);
		switch (why) {
		case CPU_EXIT_KICKED:
			break;
		case CPU_EXIT_SHUTDOWN:
			vcpu_failed(v, MACHINE_TRIPLE_FAULT, &err);
			break;
		case CPU_EXIT_ERROR:
			vcpu_failed(v, MACHINE_FAILED, &err);
			break;
		case CPU_EXIT_DEBUG:
			v->is_held = true;
			if (m->gdb)
				gdb_stopped(m->gdb, cpu_index(v->cpu));
			break;
		}
	}
	v->is_parked = true;
	pthread_cond_broadcast(&m->changed);
	mutex_unlock(&m->lock);
}

void machine_pause(struct machine *m)
{
	mutex_lock(&m->lock);
	m->pauses++;
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		cpu_kick(m->vcpu[i].cpu);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		while (!m->vcpu[i].is_parked)
			cond_wait(&m->changed, &m->lock);
	mutex_unlock(&m->lock);
}

void machine_resume(struct machine *m)
{
	mutex_lock(&m->lock);
	m->pauses--;
	pthread_cond_broadcast(&m->changed);
	mutex_unlock(&m->lock);
}

void machine_stand_still(struct machine *m)
{
	machine_pause(m);
	mutex_lock(&m->control);
	iothread_pause(&m->virtio.io);
	if (m->has_ahci)
		ata_pause(&m->ahci.worker);
	if (m->has_ide)
		ata_pause(&m->ide.worker);
}

void machine_go_on(struct machine *m)
{
	if (m->has_ide)
		ata_resume(&m->ide.worker);
	if (m->has_ahci)
		ata_resume(&m->ahci.worker);
	iothread_resume(&m->virtio.io);
	mutex_unlock(&m->control);
	machine_resume(m);
}

int machine_set_paused(struct machine *m, bool on, struct err *err)
{
	bool was;

	/* The main loop and those outside may want it at the same time: one after the other, flag and vCPUs. */
	mutex_guard(&m->pausing);
	mutex_lock(&m->lock);
	was = m->is_paused;
	m->is_paused = on;
	mutex_unlock(&m->lock);
	if (was == on)
		return err_set(err, -EALREADY, on ? "it is paused already" : "it is not paused");
	if (on)
		machine_pause(m);
	else
		machine_resume(m);
	return 0;
}

static bool is_paused(struct machine *m)
{
	mutex_guard(&m->lock);
	return m->is_paused;
}

const char *machine_state(struct machine *m)
{
	return is_paused(m) ? "paused" : "running";
}

int machine_power_button(struct machine *m, struct err *err)
{
	if (is_paused(m))
		return err_set(err, -EBUSY,
			       "it is paused and does not notice its power button: resume it first");
	acpi_pm_power_button(&m->pm);
	return 0;
}

int machine_start(struct machine *m, struct err *err)
{
	int r;

	m->is_started = true;
	m->cpu_ns_before = machine_cpu_ns();
	m->started_ns = clock_now(clock_real());
	r = timerq_start(&m->timers, err);
	if (r == 0)
		r = machine_virtio_start(&m->virtio, err);
	if (r == 0 && m->has_ahci)
		r = ata_start(&m->ahci.worker, err);
	if (r == 0 && m->has_ide)
		r = ata_start(&m->ide.worker, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		struct vcpu *v = &m->vcpu[i];

		snprintf(v->name, sizeof(v->name), "cpu%u", i);
		r = thread_start(&v->thread, v->name, vcpu_thread, v, err);
		if (r < 0)
			return err_wrap(err, r, "vCPU %u", i);
	}
	return 0;
}

void machine_stop_threads(struct machine *m)
{
	if (!m->is_started)
		return;
	m->is_started = false;
	mutex_lock(&m->lock);
	m->is_ending = true;
	pthread_cond_broadcast(&m->changed);
	mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		cpu_kick(m->vcpu[i].cpu);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		thread_join(&m->vcpu[i].thread);
	machine_virtio_stop(&m->virtio);
	if (m->has_ahci)
		ata_stop(&m->ahci.worker);
	if (m->has_ide)
		ata_stop(&m->ide.worker);
}

/* Start the guest again, as its reset button would. */
static int reboot(struct machine *m, struct err *err)
{
	int r;

	machine_pause(m);
	/* Wishes from before the reset are void. */
	atomic_store(&m->request, 0);
	machine_plug_take_out(m, true);
	mutex_lock(&m->control);
	r = machine_reset(m, err);
	mutex_unlock(&m->control);
	mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		m->vcpu[i].is_dead = false;
	machine_cpus_at_power_on(m);
	m->failure = ERR_INIT;
	mutex_unlock(&m->lock);
	m->nr_resets++;
	machine_resume(m);
	return r;
}

/* What is said of a triple fault: the engine's story, or at least its name. */
static void tell_failure(struct machine *m, const char *what, struct err *err)
{
	mutex_lock(&m->lock);
	if (err)
		*err = m->failure;
	mutex_unlock(&m->lock);
	if (err && !err->text[0])
		err_set(err, -EFAULT, "%s", what);
	else if (err)
		err_wrap(err, -EFAULT, "%s", what);
}

/* How long the main loop may sleep, for poll(): until the engine is to be changed. */
static int patience_ms(const struct machine *m, uint64_t switch_at_ns)
{
	uint64_t now = clock_now(clock_real());

	if (!m->engine_switch_ns)
		return -1;
	return now >= switch_at_ns ? 0 : (int)((switch_at_ns - now) / NS_PER_MS) + 1;
}

/* The physical memory map as the guest has set it. */
static void move_windows(struct machine *m)
{
	machine_pause(m);
	mutex_lock(&m->control);
	/* The flag first: who asks from now on is served by the next round. */
	atomic_store(&m->move_windows, false);
	memory_move_windows(&m->memory);
	cpu_group_flush(m->cpus);
	mutex_unlock(&m->control);
	machine_resume(m);
}

/* Sleep until there is something to decide. Returns 0 when it is time to change the engine. */
static uint64_t next_request(struct machine *m)
{
	struct pollfd p = { .fd = m->wake_fd, .events = POLLIN };
	uint64_t switch_at_ns = clock_now(clock_real()) + m->engine_switch_ns;
	uint64_t count, request;

	for (;;) {
		if (atomic_load(&m->stop))
			return ((uint64_t)MACHINE_STOPPED + 1) << 32;
		request = atomic_load(&m->request);
		if (request)
			return request;
		if (atomic_exchange(&m->want_pause, false))
			ignore_result(machine_set_paused(m, true, NULL)); /* as it may be already */
		if (atomic_load(&m->move_windows)) {
			move_windows(m);
			continue;
		}
		if (atomic_load(&m->ejected)) {
			machine_plug_take_out(m, false);
			continue;
		}
		/* EINTR: a signal handler may have called machine_stop(); look again. */
		if (poll(&p, 1, patience_ms(m, switch_at_ns)) > 0)
			ignore_result(read(m->wake_fd, &count, sizeof(count)));
		else if (m->engine_switch_ns && clock_now(clock_real()) >= switch_at_ns)
			return 0;
	}
}

int machine_set_engine(struct machine *m, enum cpu_engine_kind kind, struct err *err)
{
	int r;

	/* Nobody writes guest memory while there is no engine to be told. */
	machine_stand_still(m);
	r = cpu_group_set_engine(m->cpus, kind, err);
	memory_attach_engine(&m->memory);
	machine_go_on(m);
	return r;
}

int machine_count_blocks(struct machine *m, bool on, struct err *err)
{
	mutex_guard(&m->control);
	return cpu_group_count_blocks(m->cpus, on, err);
}

int machine_trace(struct machine *m, const struct cpu_hot_query *query, struct strbuf *out,
		  struct err *err)
{
	mutex_guard(&m->control);
	return cpu_group_hot_blocks(m->cpus, query, out, err);
}

static int change_engine(struct machine *m, struct err *err)
{
	const char *now = cpu_group_engine(m->cpus);
	enum cpu_engine_kind next = CPU_ENGINE_DBT;

	if (!strcmp(now, "dbt"))
		next = m->began_on_kvm ? CPU_ENGINE_KVM : CPU_ENGINE_INTERP;
	else if (!strcmp(now, "kvm"))
		next = CPU_ENGINE_INTERP;
	return machine_set_engine(m, next, err);
}

static enum machine_end main_loop(struct machine *m, int *ret_status, struct err *err)
{
	uint64_t last_start_ns = clock_now(clock_real());
	unsigned int faults = 0;

	for (;;) {
		uint64_t request = next_request(m);
		enum machine_end what = (enum machine_end)((request >> 32) - 1);

		*ret_status = 1;
		if (!request) {
			if (change_engine(m, err) < 0)
				return MACHINE_FAILED;
			continue;
		}
		switch (what) {
		case MACHINE_POWEROFF:
			*ret_status = 0;
			return what;
		case MACHINE_DEBUG_EXIT:
			*ret_status = (int)((request << 1 | 1) & 0xff);
			return what;
		case MACHINE_STOPPED:
			return what;
		case MACHINE_WATCHDOG:
			err_set(err, -ETIMEDOUT, "the guest's watchdog expired");
			return what;
		case MACHINE_PANICKED:
			err_set(err, -EFAULT, "the guest panicked");
			return what;
		case MACHINE_FAILED:
			tell_failure(m, "the CPU engine cannot go on", err);
			return what;
		case MACHINE_TRIPLE_FAULT:
			faults = clock_now(clock_real()) - last_start_ns < FAULT_SOON_NS
					 ? faults + 1
					 : 1;
			if (m->no_reboot || faults >= FAULT_LOOP) {
				tell_failure(m, "triple fault in the guest", err);
				return what;
			}
			break;
		case MACHINE_RESET:
			faults = 0;
			if (m->no_reboot) {
				*ret_status = 0;
				return what;
			}
			break;
		}
		if (reboot(m, err) < 0)
			return MACHINE_FAILED;
		last_start_ns = clock_now(clock_real());
	}
}

enum machine_end machine_run(struct machine *m, int *ret_status, struct err *err)
{
	enum machine_end end = MACHINE_FAILED;

	*ret_status = 1;
	if (m->is_started || machine_start(m, err) == 0)
		end = main_loop(m, ret_status, err);
	machine_stop_threads(m);
	if (m->gdb) {
		gdb_ended(m->gdb, *ret_status);
		gdb_free(m->gdb);
		m->gdb = NULL;
	}
	timerq_cancel(&m->timers, &m->sampler);
	m->cpu_ns = machine_cpu_ns() - m->cpu_ns_before;
	m->ended_ns = clock_now(clock_real());
	return end;
}
