// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The paravirtual clock: guest time as a linear function of the TSC, handed to the guest in a small
 * structure in its own memory. The guest's TSC runs at one rate for ever, so the structure is written
 * when the guest registers it and when the guest moves its TSC, and is marked stable across vCPUs.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "cpu/pv/hv_priv.h"

enum { SYSTEM_TIME_ENABLE = 1, TIME_INFO_SIZE = 32, WALL_CLOCK_SIZE = 12, FLAG_TSC_STABLE = 1 };

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

void pv_wall_clock_write(struct cpu *c, uint64_t value)
{
	c->st.pv_wall_clock = value;
	write_wall_clock(c);
}

void pv_system_time_write(struct cpu *c, uint64_t value)
{
	c->st.pv_system_time = value;
	pv_tsc_changed(c);
}

void pv_tsc_changed(struct cpu *c)
{
	if (c->st.pv_system_time & SYSTEM_TIME_ENABLE)
		write_system_time(c);
	hv_tsc_page_write(c);
}
