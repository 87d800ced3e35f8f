/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come and go. All that can ever be there are made at the start, threads included, and those that are not plugged
 * in stay parked: nothing that counts or walks vCPUs has to know. One that is parked hears no INIT or SIPI, and what was sent
 * to it is forgotten when it is plugged in, so firmware that wakes "everybody" wakes those that are there.
 *
 *	absent (parked) --machine_set_cpus()--> there, waits for SIPI --the guest's _EJ0--> absent
 */
#include <errno.h>

#include "vm/machine_priv.h"

unsigned int machine_nr_cpus(struct machine *m, unsigned int *ret_max)
{
	*ret_max = m->nr_cpus;
	return (unsigned int)__builtin_popcountll(acpi_plug_present(&m->hot_cpus));
}

/* Every vCPU is parked, so this one is. */
static void plug(struct machine *m, unsigned int cpu)
{
	cpu_group_power_on(m->cpus, cpu);
	mutex_lock(&m->lock);
	m->vcpu[cpu].is_absent = false;
	mutex_unlock(&m->lock);
	acpi_plug_in(&m->hot_cpus, cpu);
}

int machine_set_cpus(struct machine *m, unsigned int n, struct err *err)
{
	uint64_t present;

	if (n < 1 || n > m->nr_cpus)
		return err_set(err, -ERANGE,
			       "%u vCPUs: from 1 to %u are possible (--max-cpus, when it is started)",
			       n, m->nr_cpus);
	machine_pause(m);
	mutex_lock(&m->control);
	present = acpi_plug_present(&m->hot_cpus);
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		bool is_there = present >> i & 1;

		if (i < n && !is_there)
			plug(m, i);
		else if (i >= n && is_there)
			acpi_plug_ask(&m->hot_cpus, i);
	}
	acpi_pm_gpe(&m->pm, ACPI_PLUG_CPUS_GPE);
	mutex_unlock(&m->control);
	machine_resume(m);
	return 0;
}

static void ejected(void *arg, unsigned int cpu)
{
	struct machine *m = arg;

	/* More bits than there are vCPUs are not set by us. */
	if (cpu >= m->nr_cpus)
		return;
	mutex_lock(&m->lock);
	m->vcpu[cpu].is_absent = true;
	mutex_unlock(&m->lock);
	cpu_kick(m->vcpu[cpu].cpu);
}

int machine_cpus_init(struct machine *m, struct err *err)
{
	const struct acpi_plug_config cfg = {
		.name = "acpi-cpus",
		.base = ACPI_PLUG_CPUS_BASE,
		.present = UINT64_MAX >> (64 - m->first_cpus),
		.fixed = 1,
		.ejected = ejected,
		.arg = m,
	};

	return acpi_plug_init(&m->hot_cpus, &m->board, &cfg, err);
}

void machine_cpus_at_power_on(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		m->vcpu[i].is_absent = i >= m->first_cpus;
}
