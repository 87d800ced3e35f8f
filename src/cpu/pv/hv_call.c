// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hyper-V's hypercalls (TLFS chapter 3). What is there is what the guest's CPUID recommends, and giving way while
 * somebody spins; every other number is answered as unknown. Input in memory is copied in once.
 */
#include <sched.h>

#include "base/bytes.h"
#include "cpu/apic.h"
#include "cpu/pv/hv_priv.h"
#include "sys/thread.h"

enum { CALL_SPIN_WAIT = 0x08, CALL_SEND_IPI = 0x0b };
enum {
	STATUS_SUCCESS = 0,
	STATUS_INVALID_CODE = 2,
	STATUS_INVALID_INPUT = 3,
	STATUS_INVALID_ALIGNMENT = 4,
};
enum { CONTROL_CODE = 0xffff, CONTROL_FAST = 1 << 16, IPI_INPUT = 16, FIRST_VECTOR = 16 };
/* A variable header, repetitions, and what is reserved: these calls have none. */
#define CONTROL_REST UINT64_C(0xfffffffffffe0000)

struct call {
	uint64_t control;
	uint64_t input, output; /* addresses; fast: 16 bytes of input */
};

static uint64_t send_ipi(struct cpu *c, const struct call *call)
{
	uint64_t vector = call->input, mask = call->output;
	uint8_t in[IPI_INPUT];

	if (!(call->control & CONTROL_FAST)) {
		if (call->input & 7)
			return STATUS_INVALID_ALIGNMENT;
		if (physmem_read(c->grp->mem, call->input, in, sizeof(in)) < 0)
			return STATUS_INVALID_INPUT;
		vector = get_le64(in);
		mask = get_le64(in + 8);
	}
	if (vector < FIRST_VECTOR || vector > UINT8_MAX)
		return STATUS_INVALID_INPUT;
	(void)pv_send_ipis(c, mask, 0,
			   (struct apic_msg){ .delivery = APIC_DM_FIXED,
					      .vector = (uint8_t)vector });
	return STATUS_SUCCESS;
}

static uint64_t serve(struct cpu *c, const struct call *call)
{
	switch (call->control & CONTROL_CODE) {
	case CALL_SPIN_WAIT:
		if (call->control & CONTROL_REST)
			return STATUS_INVALID_INPUT;
		sched_yield();
		return STATUS_SUCCESS;
	case CALL_SEND_IPI:
		if (!cpuid_has(&c->grp->cpuid, CPUID_HV_IPI))
			return STATUS_INVALID_CODE;
		if (call->control & CONTROL_REST)
			return STATUS_INVALID_INPUT;
		return send_ipi(c, call);
	default:
		return STATUS_INVALID_CODE;
	}
}

static bool is_on(const struct cpu *c)
{
	struct cpu *owner = hv_owner(c);

	mutex_guard(&owner->apic_lock);
	return owner->st.hv.guest_os_id && (owner->st.hv.hypercall & HV_PAGE_ENABLE);
}

/* The two halves of a number in registers of 32 bits. */
static uint64_t pair(const struct cpu *c, enum cpu_gpr high, enum cpu_gpr low)
{
	return c->st.gpr[high] << 32 | (uint32_t)c->st.gpr[low];
}

bool pv_hv_hypercall(struct cpu *c)
{
	uint64_t *gpr = c->st.gpr, r;
	bool is_64 = c->mode == CPU_MODE_64;

	if (!(c->st.cr0 & CR0_PE) || !is_on(c))
		return false;
	if (is_64) {
		r = serve(c, &(struct call){ gpr[CPU_RCX], gpr[CPU_RDX], gpr[CPU_R8] });
		gpr[CPU_RAX] = r;
	} else {
		r = serve(c, &(struct call){ pair(c, CPU_RDX, CPU_RAX), pair(c, CPU_RBX, CPU_RCX),
					     pair(c, CPU_RDI, CPU_RSI) });
		gpr[CPU_RAX] = (uint32_t)r;
		gpr[CPU_RDX] = r >> 32;
	}
	return true;
}
