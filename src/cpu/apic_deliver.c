// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages between local APICs, and from I/O APICs and devices to them: who is meant, and what arrives.
 *
 * Every APIC of the group is asked whether the message is for it, also in physical mode, where an index
 * by id would do most of the time: a guest may give several APICs one id, and then all of them take it.
 * With 64 vCPUs that is about a microsecond. Each APIC is locked for itself, so a broadcast is not
 * atomic; neither is it on a bus.
 */
#include <errno.h>

#include "cpu/apic_priv.h"
#include "sys/thread.h"

enum { MSI_BASE_SHIFT = 20, MSI_BASE = 0xfee };

enum icr_shorthand { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };

static bool matches_logical(const struct cpu_apic_state *a, uint32_t dest)
{
	uint32_t ldr = a->ldr >> 24;

	if (apic_is_x2(a))
		return dest >> 16 == a->id >> 4 && (dest & UINT32_C(1) << (a->id & 15)) != 0;
	if (dest > 0xff)
		return false;
	if (a->dfr >> 28 == 0xf)
		return (dest & ldr) != 0;
	return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf) != 0;
}

/* Under the lock. An APIC that is switched off hears nothing. */
static bool matches(const struct cpu_apic_state *a, const struct apic_msg *m)
{
	if (!(a->base & APIC_BASE_ENABLE))
		return false;
	if (m->dest == (m->dest_wide ? UINT32_MAX : 0xff))
		return true;
	return m->logical ? matches_logical(a, m->dest) : a->id == m->dest;
}

static bool takes_fixed(const struct cpu_apic_state *a)
{
	return a->svr & APIC_SVR_ENABLE;
}

/* Under the lock. Returns the pending bits to wake the vCPU with. */
static uint32_t arrive_locked(struct cpu *c, const struct apic_msg *m)
{
	struct cpu_events *ev = &c->st.ev;

	switch (m->delivery) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		return apic_fixed_locked(c, m->vector, m->level) ? CPU_PEND_INTR : 0;
	case APIC_DM_STARTUP:
		/* A processor that does not wait for it ignores it: the second of the customary two. */
		if (!ev->init_pending && ev->mp_state != CPU_MP_WAIT_SIPI)
			return 0;
		ev->sipi_pending = true;
		ev->sipi_vector = m->vector;
		return CPU_PEND_EVENT;
	default:
		return apic_lvt_locked(c, (uint32_t)m->delivery << APIC_LVT_MODE_SHIFT);
	}
}

static bool arrive(struct cpu *c, const struct apic_msg *m)
{
	bool fixed = m->delivery == APIC_DM_FIXED || m->delivery == APIC_DM_LOWEST;
	uint32_t wake;
	bool took;

	mutex_lock(&c->apic_lock);
	took = !fixed || takes_fixed(&c->st.apic);
	wake = arrive_locked(c, m);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, wake);
	return took;
}

/*
 * The APIC that gets a lowest-priority message: of those that can take it, one whose processor priority
 * class is lowest; among equals the vector decides, which spreads devices over CPUs and keeps each on one.
 */
static struct cpu *choose_lowest(struct cpu_group *grp, const struct apic_msg *m)
{
	struct cpu *best[64];
	unsigned int n = 0, best_class = 16;

	for (unsigned int k = 0; k < grp->nr; k++) {
		struct cpu *c = grp->cpu[k];
		unsigned int class;
		bool can;

		mutex_lock(&c->apic_lock);
		can = matches(&c->st.apic, m) && takes_fixed(&c->st.apic);
		class = apic_ppr(&c->st.apic) >> 4;
		mutex_unlock(&c->apic_lock);
		if (!can || class > best_class)
			continue;
		if (class < best_class)
			n = 0;
		best_class = class;
		best[n++ % 64] = c;
	}
	return n ? best[m->vector % n] : NULL;
}

int apic_deliver(struct cpu_group *grp, const struct apic_msg *m)
{
	struct cpu *lowest;
	int n = 0;

	if (m->delivery == APIC_DM_LOWEST) {
		lowest = choose_lowest(grp, m);
		return lowest && arrive(lowest, m);
	}
	for (unsigned int k = 0; k < grp->nr; k++) {
		struct cpu *c = grp->cpu[k];
		bool mine;

		mutex_lock(&c->apic_lock);
		mine = matches(&c->st.apic, m);
		mutex_unlock(&c->apic_lock);
		if (mine && arrive(c, m))
			n++;
	}
	return n;
}

static int msi_to_ours(struct cpu_group *grp, uint64_t addr, uint32_t data)
{
	struct apic_msg m = {
		.dest = addr >> 12 & 0xff,
		.logical = addr >> 2 & 1,
		.delivery = data >> 8 & 7,
		.level = data >> 15 & 1,
		.vector = (uint8_t)data,
	};

	if (m.delivery == APIC_DM_FIXED && m.logical && (addr >> 3 & 1)) /* redirection hint */
		m.delivery = APIC_DM_LOWEST;
	return apic_deliver(grp, &m);
}

static void nmi_to_ours(struct cpu_group *grp)
{
	for (unsigned int k = 0; k < grp->nr; k++) {
		struct cpu *c = grp->cpu[k];
		uint32_t wake;

		mutex_lock(&c->apic_lock);
		wake = apic_lvt_locked(c, c->st.apic.lvt_lint1);
		mutex_unlock(&c->apic_lock);
		if (wake)
			cpu_wake(c, wake);
	}
}

int cpu_group_msi(struct cpu_group *grp, uint64_t addr, uint32_t data)
{
	unsigned int delivery = data >> 8 & 7;
	int n;

	if (addr >> MSI_BASE_SHIFT != MSI_BASE || delivery == APIC_DM_STARTUP || delivery == 3)
		return 0;
	pthread_rwlock_rdlock(&grp->msg_lock);
	n = atomic_load(&grp->apic_away) ? atomic_load(&grp->engine)->msi(grp, addr, data)
					 : msi_to_ours(grp, addr, data);
	pthread_rwlock_unlock(&grp->msg_lock);
	return n;
}

void cpu_group_nmi(struct cpu_group *grp)
{
	pthread_rwlock_rdlock(&grp->msg_lock);
	if (atomic_load(&grp->apic_away))
		atomic_load(&grp->engine)->nmi(grp);
	else
		nmi_to_ours(grp);
	pthread_rwlock_unlock(&grp->msg_lock);
}

static void send_illegal(struct cpu *c)
{
	bool wake;

	mutex_lock(&c->apic_lock);
	wake = apic_error_locked(c, APIC_ESR_SEND_ILLEGAL);
	mutex_unlock(&c->apic_lock);
	if (wake)
		cpu_wake(c, CPU_PEND_INTR);
}

void apic_send_icr(struct cpu *c, uint64_t icr)
{
	struct apic_msg m = {
		.dest_wide = apic_is_x2(&c->st.apic),
		.logical = icr >> 11 & 1,
		.delivery = icr >> 8 & 7,
		.vector = (uint8_t)icr,
	};
	bool fixed = m.delivery == APIC_DM_FIXED || m.delivery == APIC_DM_LOWEST;
	unsigned int shorthand = icr >> 18 & 3;
	bool assert_level = icr >> 14 & 1, level = icr >> 15 & 1;

	c->stats.ipis++;
	m.dest = (uint32_t)(icr >> 32);
	if (!m.dest_wide)
		m.dest >>= 24;
	/* "INIT level de-assert" synchronised arbitration ids, and does nothing since the Pentium 4. */
	if (m.delivery == APIC_DM_INIT && level && !assert_level)
		return;
	if (m.delivery == 3 || m.delivery == APIC_DM_EXTINT)
		return;
	if (fixed && m.vector < APIC_FIRST_VECTOR) {
		send_illegal(c);
		return;
	}
	switch (shorthand) {
	case TO_DEST:
		(void)apic_deliver(c->grp, &m); /* a message to nobody is lost */
		return;
	case TO_SELF:
		if (m.delivery != APIC_DM_INIT && m.delivery != APIC_DM_STARTUP)
			(void)arrive(c, &m);
		return;
	default:
		break;
	}
	for (unsigned int k = 0; k < c->grp->nr; k++) {
		struct cpu *to = c->grp->cpu[k];
		bool on;

		if (to == c && shorthand == TO_OTHERS)
			continue;
		mutex_lock(&to->apic_lock);
		on = to->st.apic.base & APIC_BASE_ENABLE;
		mutex_unlock(&to->apic_lock);
		if (on)
			(void)arrive(to, &m); /* nobody waits for an answer */
	}
}
