/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as a debugger's target. Holding is a flag of each vCPU beside the machine's own pauses, so a
 * reset that comes while the debugger thinks does not let anything run. @control keeps a reset and the
 * debugger's accesses to stopped vCPUs apart.
 */
#include "sys/thread.h"
#include "vm/machine_priv.h"

static void target_halt(void *arg)
{
	struct machine *m = arg;

	mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		m->vcpu[i].is_held = true;
		cpu_kick(m->vcpu[i].cpu);
	}
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		while (!m->vcpu[i].is_parked)
			cond_wait(&m->changed, &m->lock);
	mutex_unlock(&m->lock);
}

static void target_resume(void *arg, const enum gdb_action *action,
			  const struct cpu_debug_break *breaks, unsigned int nr_breaks)
{
	struct machine *m = arg;
	struct cpu_debug debug = { .nr_breaks = nr_breaks };

	for (unsigned int i = 0; i < nr_breaks; i++)
		debug.breaks[i] = breaks[i];
	mutex_guard(&m->control);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		debug.single_step = action[i] == GDB_STEP;
		cpu_set_debug(m->vcpu[i].cpu, &debug);
	}
	mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		m->vcpu[i].is_held = action[i] == GDB_STAY;
	pthread_cond_broadcast(&m->changed);
	mutex_unlock(&m->lock);
}

static void target_kill(void *arg)
{
	machine_stop(arg);
}

static void target_get_state(void *arg, unsigned int cpu, struct cpu_state *ret)
{
	struct machine *m = arg;

	mutex_guard(&m->control);
	cpu_get_state(m->vcpu[cpu].cpu, ret);
}

static int target_set_state(void *arg, unsigned int cpu, const struct cpu_state *state)
{
	struct machine *m = arg;
	int r = cpu_state_check(state, NULL);

	if (r < 0)
		return r;
	mutex_guard(&m->control);
	cpu_set_state(m->vcpu[cpu].cpu, state);
	return 0;
}

static int target_read(void *arg, unsigned int cpu, uint64_t lin, void *buf, uint64_t len)
{
	struct machine *m = arg;

	mutex_guard(&m->control);
	return cpu_debug_read(m->vcpu[cpu].cpu, lin, buf, len);
}

static int target_write(void *arg, unsigned int cpu, uint64_t lin, const void *buf, uint64_t len)
{
	struct machine *m = arg;

	mutex_guard(&m->control);
	return cpu_debug_write(m->vcpu[cpu].cpu, lin, buf, len);
}

int machine_gdb_start(struct machine *m, struct err *err)
{
	const struct gdb_target target = {
		.nr_cpus = m->nr_cpus,
		.arg = m,
		.halt = target_halt,
		.resume = target_resume,
		.kill = target_kill,
		.get_state = target_get_state,
		.set_state = target_set_state,
		.read = target_read,
		.write = target_write,
	};

	/* Not running yet, and not before a debugger comes and says so. */
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		m->vcpu[i].is_held = true;
		m->vcpu[i].is_parked = true;
	}
	return gdb_new(m->gdb_port, &target, &m->gdb, err);
}
