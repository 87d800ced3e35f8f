// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's hypercalls. Arguments are the guest's: numbers of vCPUs are compared with how many there are, and addresses are
 * written to by the checked copy. A call of a feature that the guest's CPUID does not have is not there.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/pv/pv_priv.h"

enum kvm_hypercall {
	KVM_HC_VAPIC_POLL_IRQ = 1,
	KVM_HC_CLOCK_PAIRING = 9,
	KVM_HC_SEND_IPI = 10,
};
/* Linux's numbers of errors, whatever ours are. */
enum kvm_error { KVM_EFAULT = 14, KVM_EINVAL = 22, KVM_EOPNOTSUPP = 95, KVM_ENOSYS = 1000 };

/* --- interrupts between vCPUs ---------------------------------------------------------------------- */

enum {
	ICR_MODE_SHIFT = 8,
	ICR_MODE_MASK = 7,
	ICR_LOGICAL = 1 << 11,
	ICR_LEVEL = 1 << 15,
	ICR_SHORTHAND = 3 << 18,
};

int64_t pv_send_ipis(struct cpu *c, uint64_t map, uint64_t first, struct apic_msg msg)
{
	int64_t n = 0;

	msg.dest_wide = true;
	for (; map; map &= map - 1) {
		uint64_t dest = first + (unsigned int)__builtin_ctzll(map);

		msg.dest = (uint32_t)dest;
		if (dest >= c->grp->nr) /* all ones would be a broadcast */
			break;
		c->stats.ipis++;
		n += apic_deliver(c->grp, &msg) > 0;
	}
	return n;
}

static int64_t send_ipi(struct cpu *c, const uint64_t arg[4])
{
	uint32_t icr = (uint32_t)arg[3], first = (uint32_t)arg[2];
	struct apic_msg msg = { .level = icr & ICR_LEVEL,
				.delivery = icr >> ICR_MODE_SHIFT & ICR_MODE_MASK,
				.vector = (uint8_t)icr };
	int64_t n;

	if (icr & (ICR_LOGICAL | ICR_SHORTHAND))
		return -KVM_EINVAL;
	n = pv_send_ipis(c, arg[0], first, msg);
	return n +
	       pv_send_ipis(c, arg[1], (uint64_t)first + (c->mode == CPU_MODE_64 ? 64 : 32), msg);
}

/* --- the host's clock ------------------------------------------------------------------------------ */

enum { CLOCK_WALL = 0, PAIRING_SIZE = 64, PAIRING_TRIES = 4 };
enum { OFF_SEC = 0, OFF_NSEC = 8, OFF_TSC = 16 };

/* Wall-clock time and the guest's TSC of one moment: of a few tries the one that was interrupted least. */
static uint64_t read_pair(const struct cpu *c, uint64_t *ret_tsc)
{
	uint64_t best = UINT64_MAX, wall = 0;

	for (unsigned int k = 0; k < PAIRING_TRIES; k++) {
		uint64_t before = cpu_read_tsc(c), now = clock_wall(c->grp->clock);
		uint64_t took = cpu_read_tsc(c) - before;

		if (took >= best)
			continue;
		best = took;
		wall = now;
		*ret_tsc = before + took / 2;
	}
	return wall;
}

static int64_t clock_pairing(struct cpu *c, const uint64_t arg[4])
{
	uint8_t pair[PAIRING_SIZE] = { 0 };
	uint64_t wall, tsc = 0;

	if (arg[1] != CLOCK_WALL)
		return -KVM_EOPNOTSUPP;
	wall = read_pair(c, &tsc);
	put_le64(pair + OFF_SEC, wall / NS_PER_S);
	put_le64(pair + OFF_NSEC, wall % NS_PER_S);
	put_le64(pair + OFF_TSC, tsc);
	return physmem_write(c->grp->mem, arg[0], pair, sizeof(pair)) < 0 ? -KVM_EFAULT : 0;
}

int64_t pv_hypercall(struct cpu *c, uint64_t nr, const uint64_t arg[4])
{
	const struct cpu_cpuid *id = &c->grp->cpuid;

	if (nr == KVM_HC_VAPIC_POLL_IRQ)
		return 0;
	if (nr == KVM_HC_CLOCK_PAIRING && cpuid_has(id, CPUID_KVM_CLOCK))
		return clock_pairing(c, arg);
	if (nr == KVM_HC_SEND_IPI && cpuid_has(id, CPUID_KVM_IPI))
		return send_ipi(c, arg);
	return -KVM_ENOSYS;
}
