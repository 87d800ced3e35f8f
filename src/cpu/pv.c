// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The paravirtual clock: guest time as a linear function of the TSC, handed to the guest in a small
 * structure in its own memory. The guest's TSC runs at one rate for ever, so the structure is written
 * when the guest registers it and when the guest moves its TSC, and is marked stable across vCPUs.
 *
 * The end of an interrupt by memory: where it would have no consequence at once, the guest clears a bit instead of
 * writing to its APIC, which finds out when it next needs to know (apic.c). The bit belongs to one vCPU: both sides
 * access it on that vCPU's thread.
 */
#include "cpu/pv.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/cpu_priv.h"

enum { SYSTEM_TIME_ENABLE = 1, TIME_INFO_SIZE = 32, WALL_CLOCK_SIZE = 12, FLAG_TSC_STABLE = 1 };
enum { EOI_ENABLE = 1, EOI_RESERVED = 2, EOI_BIT = 1 };

/* ns = ((tsc << shift) * mul) >> 32, with the multiplier normalised to its upper half. */
static void tsc_to_ns_factors(uint64_t khz, uint32_t *ret_mul, int8_t *ret_shift)
{
	uint64_t scaled = UINT64_C(1000000); /* ns in a ms, against ticks in a ms */
	uint64_t base = khz;
	int8_t shift = 0;

	while (base > scaled * 2 || base >> 32) {
		base >>= 1;
		shift--;
	}
	while (base <= scaled) {
		base <<= 1;
		shift++;
	}
	*ret_mul = (uint32_t)((scaled << 32) / base);
	*ret_shift = shift;
}

static uint32_t next_version(const struct cpu *c, uint64_t gpa)
{
	uint8_t old[4];

	if (physmem_read(c->grp->mem, gpa, old, sizeof(old)) < 0)
		return 0;
	return (get_le32(old) | 1) + 1;
}

static void write_system_time(struct cpu *c)
{
	uint64_t gpa = c->st.pv_system_time & ~UINT64_C(3);
	uint8_t info[TIME_INFO_SIZE] = { 0 };
	uint32_t mul;
	int8_t shift;
	uint32_t version = next_version(c, gpa);

	tsc_to_ns_factors(c->grp->tsc_khz, &mul, &shift);
	put_le32(info + 0, version - 1); /* odd: being written */
	put_le64(info + 8, cpu_read_tsc(c));
	put_le64(info + 16, cpu_group_now(c->grp));
	put_le32(info + 24, mul);
	info[28] = (uint8_t)shift;
	info[29] = FLAG_TSC_STABLE;
	if (physmem_write(c->grp->mem, gpa, info, sizeof(info)) < 0)
		return;
	atomic_thread_fence(memory_order_release);
	put_le32(info, version);
	ignore_result(physmem_write(c->grp->mem, gpa, info, 4)); /* was RAM a moment ago */
}

static void write_wall_clock(struct cpu *c)
{
	uint64_t gpa = c->st.pv_wall_clock & ~UINT64_C(3);
	uint64_t boot_ns = clock_wall(c->grp->clock) - cpu_group_now(c->grp);
	uint8_t wall[WALL_CLOCK_SIZE];

	put_le32(wall + 0, next_version(c, gpa));
	put_le32(wall + 4, (uint32_t)(boot_ns / NS_PER_S));
	put_le32(wall + 8, (uint32_t)(boot_ns % NS_PER_S));
	ignore_result(physmem_write(c->grp->mem, gpa, wall, sizeof(wall))); /* not RAM: as on KVM */
}

int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	switch (index) {
	case PV_MSR_WALL_CLOCK:
	case PV_MSR_WALL_CLOCK_NEW:
		*ret = c->st.pv_wall_clock;
		return 0;
	case PV_MSR_SYSTEM_TIME:
	case PV_MSR_SYSTEM_TIME_NEW:
		*ret = c->st.pv_system_time;
		return 0;
	case PV_MSR_EOI:
		*ret = c->st.pv_eoi;
		return 0;
	default:
		return -EINVAL;
	}
}

int pv_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
	switch (index) {
	case PV_MSR_WALL_CLOCK:
	case PV_MSR_WALL_CLOCK_NEW:
		c->st.pv_wall_clock = value;
		write_wall_clock(c);
		return 0;
	case PV_MSR_SYSTEM_TIME:
	case PV_MSR_SYSTEM_TIME_NEW:
		c->st.pv_system_time = value;
		pv_tsc_changed(c);
		return 0;
	case PV_MSR_EOI:
		if (value & EOI_RESERVED)
			return -EINVAL;
		apic_pv_sync(c);
		c->st.pv_eoi = value;
		return 0;
	default:
		return -EINVAL;
	}
}

void pv_tsc_changed(struct cpu *c)
{
	if (c->st.pv_system_time & SYSTEM_TIME_ENABLE)
		write_system_time(c);
}

/* The region of the guest's byte; NULL: not asked for, or not in RAM. */
static const struct physmem_region *eoi_region(const struct cpu *c, uint64_t *ret_off)
{
	uint64_t gpa = c->st.pv_eoi & ~UINT64_C(3);
	const struct physmem_region *r;

	if (!(c->st.pv_eoi & EOI_ENABLE))
		return NULL;
	r = physmem_find(c->grp->mem, gpa);
	if (!r || r->is_rom)
		return NULL;
	*ret_off = gpa - r->gpa;
	return r;
}

static _Atomic uint8_t *eoi_byte(const struct physmem_region *r, uint64_t off)
{
	return (_Atomic uint8_t *)(void *)(r->hva + off);
}

bool pv_eoi_offer(struct cpu *c)
{
	uint64_t off = 0;
	const struct physmem_region *r = eoi_region(c, &off);

	if (!r)
		return false;
	atomic_fetch_or_explicit(eoi_byte(r, off), EOI_BIT, memory_order_relaxed);
	physmem_wrote(c->grp->mem, r, off, 1);
	return true;
}

bool pv_eoi_take_back(struct cpu *c)
{
	uint64_t off = 0;
	const struct physmem_region *r = eoi_region(c, &off);
	uint8_t old;

	if (!r)
		return false;
	old = atomic_fetch_and_explicit(eoi_byte(r, off), (uint8_t)~EOI_BIT, memory_order_relaxed);
	if (!(old & EOI_BIT))
		return true;
	physmem_wrote(c->grp->mem, r, off, 1);
	return false;
}
