// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Breakpoints: the guest's in DR0-DR7 and the debugger's in c->debug. Data breakpoints cost nothing
 * while there are none: pages that have some are kept out of the TLB, so that their accesses take the
 * slow path, which comes here. Matches are collected and become one trap after the instruction.
 * Source: Intel SDM volume 3, 18.2 (debug registers).
 */
#include "base/checked.h"
#include "cpu/interp/vcpu_sys.h"

enum { DR7_TYPE_EXEC, DR7_TYPE_WRITE, DR7_TYPE_IO, DR7_TYPE_RW };

static unsigned int dr_type(const struct cpu *c, unsigned int n)
{
	return (unsigned int)(c->st.dr7 >> (16 + n * 4)) & 3;
}

static unsigned int dr_len(const struct cpu *c, unsigned int n)
{
	static const uint8_t len[] = { 1, 2, 8, 4 };

	return len[(c->st.dr7 >> (18 + n * 4)) & 3];
}

static uint64_t dr_start(const struct cpu *c, unsigned int n)
{
	return c->st.dr[n] & ~(uint64_t)(dr_len(c, n) - 1);
}

static bool break_is_data(const struct cpu_debug_break *b)
{
	return (b->read || b->write) && b->len;
}

void watch_update(struct cpu *c)
{
	struct interp_sys *s = c->sys;

	s->code_breaks = s->data_breaks = s->io_breaks = 0;
	for (unsigned int n = 0; n < 4; n++) {
		if (!(c->st.dr7 >> (n * 2) & 3))
			continue;
		switch (dr_type(c, n)) {
		case DR7_TYPE_EXEC:
			s->code_breaks |= 1u << n;
			break;
		case DR7_TYPE_IO:
			if (c->st.cr4 & CR4_DE)
				s->io_breaks |= 1u << n;
			break;
		default:
			s->data_breaks |= 1u << n;
		}
	}
	s->watch = s->data_breaks;
	for (unsigned int k = 0; k < c->debug.nr_breaks; k++)
		s->watch |= break_is_data(&c->debug.breaks[k]);
	tlb_flush_all(c);
	event_recompute(c);
}

bool watch_covers(const struct cpu *c, uint64_t lin)
{
	uint64_t page = lin & ~GUEST_PAGE_MASK;

	for (unsigned int n = 0; n < 4; n++)
		if ((c->sys->data_breaks >> n & 1) &&
		    range_overlap(page, GUEST_PAGE_SIZE, dr_start(c, n), dr_len(c, n)))
			return true;
	for (unsigned int k = 0; k < c->debug.nr_breaks; k++) {
		const struct cpu_debug_break *b = &c->debug.breaks[k];

		if (break_is_data(b) && range_overlap(page, GUEST_PAGE_SIZE, b->addr, b->len))
			return true;
	}
	return false;
}

/* Something matched: the loop looks after this instruction. */
static void trap_after(struct cpu *c)
{
	c->hot.due |= DUE_EVENT;
	interp_leave(c);
}

void watch_access(struct cpu *c, uint64_t lin, unsigned int len, bool is_write)
{
	for (unsigned int n = 0; n < 4; n++) {
		if (!(c->sys->data_breaks >> n & 1) ||
		    (dr_type(c, n) == DR7_TYPE_WRITE && !is_write) ||
		    !range_overlap(lin, len, dr_start(c, n), dr_len(c, n)))
			continue;
		c->sys->trap_dr6 |= UINT64_C(1) << n;
		trap_after(c);
	}
	for (unsigned int k = 0; k < c->debug.nr_breaks; k++) {
		const struct cpu_debug_break *b = &c->debug.breaks[k];

		if (!(is_write ? b->write : b->read) || !range_overlap(lin, len, b->addr, b->len))
			continue;
		c->sys->debug_hit = true;
		trap_after(c);
	}
}

void watch_io(struct cpu *c, uint16_t port, unsigned int size)
{
	for (unsigned int n = 0; n < 4; n++) {
		if (!(c->sys->io_breaks >> n & 1) ||
		    !range_overlap(port, size, dr_start(c, n), dr_len(c, n)))
			continue;
		c->sys->trap_dr6 |= UINT64_C(1) << n;
		trap_after(c);
	}
}

uint64_t watch_exec(const struct cpu *c, uint64_t lin)
{
	uint64_t dr6 = 0;

	for (unsigned int n = 0; n < 4; n++)
		if ((c->sys->code_breaks >> n & 1) && c->st.dr[n] == lin)
			dr6 |= UINT64_C(1) << n;
	return dr6;
}

bool event_trap_pending(const struct cpu *c)
{
	return c->sys->trap_dr6 || c->sys->debug_hit;
}
