// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Local APICs in the kernel ("split" interrupt controller: the 8259s and the I/O APIC stay ours).
 *
 * Where the processor executes guests, an APIC that the kernel has takes messages, timers and ends of interrupts without
 * leaving it. Then st.apic is only a copy, from the moment that the engine adopts the group until another one takes
 * over; whoever wants to look (cpu_get_state) has it fetched first, and a state that was put in from outside goes to the
 * kernel at once. INIT, SIPI and HLT are the kernel's then, too.
 *
 * A message is one system call (KVM_SIGNAL_MSI), as a write to an irqfd would be, and the devices are in this process: so
 * there are no irqfds. The kernel tells us ends of level-triggered interrupts only of vectors that it has in a table of
 * routes; that table learns from the messages themselves, so the I/O APIC need not know.
 *
 * The kernel's APICs have no debugger and no interpreter that takes interrupts beside them: with one, or with a KVM
 * that has only some modes, ours are used (kvm_lapic_wanted).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "cpu/apic_priv.h"
#include "cpu/interp/events.h"
#include "cpu/kvm/kvm_priv.h"
#include "cpu/msr.h"
#include "cpu/pv/pv.h"
#include "sys/thread.h"

/* Linux 6.11: how long a step of the timer is. Not in older headers. */
#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237
#endif

enum { MSI_LEVEL = 1 << 15, MSI_MODE_SHIFT = 8, REG_BYTES = 16 };
#define MSI_ADDRESS   UINT64_C(0xfee00000)
#define TIMER_STEP_NS (UINT64_C(1000000000) / APIC_TIMER_HZ)

bool kvm_lapic_wanted(const struct kvm_host *h, enum cpu_apic_place place)
{
	const uint64_t api = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	int x2;

	if (place == CPU_APIC_OURS || (place == CPU_APIC_AUTO && !h->is_whole))
		return false;
	x2 = kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X2APIC_API);
	return kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_SPLIT_IRQCHIP) > 0 &&
	       kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X86_APIC_BUS_CYCLES_NS) > 0 &&
	       kvm_ioctl(h->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0 &&
	       x2 > 0 && ((uint64_t)x2 & api) == api;
}

int kvm_lapic_enable(struct kvm_vm *vm, struct err *err)
{
	int r = kvm_enable(vm->fd, KVM_CAP_SPLIT_IRQCHIP, KVM_NR_ROUTES, "local APICs", err);

	if (r == 0)
		r = kvm_enable(vm->fd, KVM_CAP_X2APIC_API,
			       KVM_X2APIC_API_USE_32BIT_IDS |
				       KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
			       "x2APIC", err);
	if (r == 0)
		r = kvm_enable(vm->fd, KVM_CAP_X86_APIC_BUS_CYCLES_NS, TIMER_STEP_NS,
			       "the APICs' clock", err);
	return r;
}

/* --- messages -------------------------------------------------------------------------------------- */

/* Ends of this level-triggered interrupt are to be told. */
static void learn(struct kvm_vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_irq_routing *t;

	mutex_guard(&vm->lock);
	for (unsigned int k = 0; k < KVM_NR_ROUTES; k++)
		if (vm->route[k].addr == addr && vm->route[k].data == data)
			return;
	vm->route[vm->next_route++ % KVM_NR_ROUTES] = (struct kvm_route){ addr, data };
	t = mem_new(sizeof(*t) + KVM_NR_ROUTES * sizeof(t->entries[0]));
	for (unsigned int k = 0; k < KVM_NR_ROUTES; k++) {
		struct kvm_irq_routing_entry *e = &t->entries[t->nr];

		if (!vm->route[k].addr)
			continue;
		e->gsi = k;
		e->type = KVM_IRQ_ROUTING_MSI;
		e->u.msi.address_lo = (uint32_t)vm->route[k].addr;
		e->u.msi.address_hi = (uint32_t)(vm->route[k].addr >> 32);
		e->u.msi.data = vm->route[k].data;
		t->nr++;
	}
	/* If it fails, ends are not told, and the device is stuck as behind a broken wire. */
	ignore_result(kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, t));
	free(t);
}

static int send(struct kvm_vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)addr,
			       .address_hi = (uint32_t)(addr >> 32),
			       .data = data };
	int r;

	if (data & MSI_LEVEL)
		learn(vm, addr, data);
	r = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	return r > 0 ? r : 0;
}

int kvm_lapic_msi(struct cpu_group *grp, uint64_t addr, uint32_t data)
{
	return send(grp->kvm, addr, data);
}

void kvm_lapic_nmi(struct cpu_group *grp)
{
	for (unsigned int n = 0; n < grp->nr; n++) {
		atomic_store(&kvm_cpu(grp->cpu[n])->lint1, true);
		cpu_wake(grp->cpu[n], CPU_PEND_INTR);
	}
}

int kvm_lapic_lint1(struct kvm_cpu *k, struct err *err)
{
	uint32_t lvt;
	int r = kvm_ioctl(k->fd, KVM_GET_LAPIC, &k->lapic);

	if (r < 0)
		return err_set(err, r, "KVM: get the APIC: %s", strerror(-r));
	lvt = get_le32((uint8_t *)k->lapic.regs + APIC_REG_LVT_LINT1 * REG_BYTES);
	if ((lvt & APIC_LVT_MASKED) || (lvt >> APIC_LVT_MODE_SHIFT & 7) != APIC_DM_NMI)
		return 0;
	r = kvm_ioctl(k->fd, KVM_NMI, NULL);
	return r < 0 ? err_set(err, r, "KVM: NMI: %s", strerror(-r)) : 0;
}

/* --- registers ------------------------------------------------------------------------------------- */

static const struct {
	uint8_t reg;
	uint16_t offset;
} same[] = {
#define SAME(reg, field)                                                                           \
	{                                                                                          \
		APIC_REG_##reg, offsetof(struct cpu_apic_state, field)                             \
	}
	SAME(TPR, tpr),
	SAME(LDR, ldr),
	SAME(DFR, dfr),
	SAME(SVR, svr),
	SAME(ESR, esr),
	SAME(LVT_TIMER, lvt_timer),
	SAME(LVT_THERMAL, lvt_thermal),
	SAME(LVT_PERF, lvt_perf),
	SAME(LVT_LINT0, lvt_lint0),
	SAME(LVT_LINT1, lvt_lint1),
	SAME(LVT_ERROR, lvt_error),
	SAME(TIMER_INITIAL, timer_initial),
	SAME(TIMER_DIVIDE, timer_divide),
#undef SAME
};

static uint32_t *field(struct cpu_apic_state *a, unsigned int n)
{
	return (uint32_t *)(void *)((uint8_t *)a + same[n].offset);
}

static uint8_t *reg(struct kvm_cpu *k, unsigned int n)
{
	return (uint8_t *)k->lapic.regs + n * REG_BYTES;
}

static void fill_registers(struct kvm_cpu *k)
{
	struct cpu *c = k->c;
	struct cpu_apic_state *a = &c->st.apic;

	memset(&k->lapic, 0, sizeof(k->lapic));
	for (unsigned int n = 0; n < ARRAY_SIZE(same); n++)
		put_le32(reg(k, same[n].reg), *field(a, n));
	put_le32(reg(k, APIC_REG_ID), apic_is_x2(a) ? a->id : a->id << 24);
	for (unsigned int n = 0; n < 8; n++) {
		put_le32(reg(k, APIC_REG_ISR + n), a->isr[n]);
		put_le32(reg(k, APIC_REG_TMR + n), a->tmr[n]);
		put_le32(reg(k, APIC_REG_IRR + n), a->irr[n]);
	}
	put_le32(reg(k, APIC_REG_ICR), (uint32_t)a->icr);
	put_le32(reg(k, APIC_REG_ICR2), (uint32_t)(a->icr >> 32));
	put_le32(reg(k, APIC_REG_TIMER_CURRENT), apic_timer_current(c));
	/* A count-down that is over would end once more. */
	if (a->timer_start_ns == APIC_TIMER_STOPPED)
		put_le32(reg(k, APIC_REG_TIMER_INITIAL), 0);
}

static void read_registers(struct kvm_cpu *k)
{
	struct cpu *c = k->c;
	struct cpu_apic_state *a = &c->st.apic;

	for (unsigned int n = 0; n < ARRAY_SIZE(same); n++)
		*field(a, n) = get_le32(reg(k, same[n].reg));
	a->id = get_le32(reg(k, APIC_REG_ID)) >> (apic_is_x2(a) ? 0 : 24);
	for (unsigned int n = 0; n < 8; n++) {
		a->isr[n] = get_le32(reg(k, APIC_REG_ISR + n));
		a->tmr[n] = get_le32(reg(k, APIC_REG_TMR + n));
		a->irr[n] = get_le32(reg(k, APIC_REG_IRR + n));
	}
	a->icr = get_le32(reg(k, APIC_REG_ICR)) | (uint64_t)get_le32(reg(k, APIC_REG_ICR2)) << 32;
	apic_timer_resume(c, get_le32(reg(k, APIC_REG_TIMER_CURRENT)));
}

/* One MSR into or out of the kernel, by @request. */
static int msr_io(struct kvm_cpu *k, unsigned long request, uint32_t index, uint64_t *value)
{
	_Alignas(struct kvm_msrs)
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = { 0 };
	struct kvm_msrs *m = (struct kvm_msrs *)(void *)room;
	int r;

	m->nmsrs = 1;
	m->entries[0] = (struct kvm_msr_entry){ .index = index, .data = *value };
	r = kvm_ioctl(k->fd, request, m);
	*value = m->entries[0].data;
	return r == 1 ? 0 : r < 0 ? r : -EINVAL;
}

static int msr_put(struct kvm_cpu *k, uint32_t index, uint64_t value)
{
	return msr_io(k, KVM_SET_MSRS, index, &value);
}

/* --- whether it runs ------------------------------------------------------------------------------- */

/* INIT and SIPI on their way arrive as messages. */
static int mp_put(struct kvm_cpu *k)
{
	static const uint32_t states[] = { [CPU_MP_RUNNING] = KVM_MP_STATE_RUNNABLE,
					   [CPU_MP_HALTED] = KVM_MP_STATE_HALTED,
					   [CPU_MP_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
					   [CPU_MP_SHUTDOWN] = KVM_MP_STATE_RUNNABLE };
	struct cpu_events *ev = &k->c->st.ev;
	struct kvm_mp_state s = { .mp_state = states[ev->mp_state & 3] };
	uint64_t addr = MSI_ADDRESS | (uint64_t)(k->c->st.apic.id & 0xff) << 12;
	int r = kvm_ioctl(k->fd, KVM_SET_MP_STATE, &s);

	if (r == 0 && ev->init_pending)
		(void)send(k->vm, addr, APIC_DM_INIT << MSI_MODE_SHIFT);
	if (r == 0 && ev->sipi_pending)
		(void)send(k->vm, addr,
			   APIC_DM_STARTUP << MSI_MODE_SHIFT | (uint32_t)ev->sipi_vector);
	ev->init_pending = ev->sipi_pending = false;
	return r;
}

static int mp_get(struct kvm_cpu *k)
{
	struct cpu_events *ev = &k->c->st.ev;
	struct kvm_vcpu_events e;
	struct kvm_mp_state s;
	int r = kvm_ioctl(k->fd, KVM_GET_MP_STATE, &s);

	if (r == 0)
		r = kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &e);
	if (r < 0)
		return r;
	if (ev->mp_state == CPU_MP_SHUTDOWN)
		return 0;
	ev->sipi_pending = s.mp_state == KVM_MP_STATE_SIPI_RECEIVED;
	ev->sipi_vector = (uint8_t)e.sipi_vector;
	ev->mp_state = s.mp_state == KVM_MP_STATE_RUNNABLE ? CPU_MP_RUNNING
		       : s.mp_state == KVM_MP_STATE_HALTED ? CPU_MP_HALTED
							   : CPU_MP_WAIT_SIPI;
	return 0;
}

/* Interrupts that are in service or wait, and whose ends somebody wants to know. */
static void learn_pending(struct kvm_cpu *k)
{
	const struct cpu_apic_state *a = &k->c->st.apic;

	for (unsigned int n = 0; n < 8; n++)
		for (uint32_t b = (a->isr[n] | a->irr[n]) & a->tmr[n]; b; b &= b - 1)
			learn(k->vm, MSI_ADDRESS | (uint64_t)(a->id & 0xff) << 12,
			      MSI_LEVEL | (n * 32 + (uint32_t)__builtin_ctz(b)));
}

int kvm_lapic_put(struct kvm_cpu *k, struct err *err)
{
	struct cpu *c = k->c;
	int r;

	apic_pv_sync(c);
	mutex_guard(&c->apic_lock);
	learn_pending(k);
	r = msr_put(k, MSR_APIC_BASE, c->st.apic.base);
	if (r == 0) {
		fill_registers(k);
		r = kvm_ioctl(k->fd, KVM_SET_LAPIC, &k->lapic);
	}
	if (r == 0)
		r = kvm_tsc_put(k, err);
	if (r == 0)
		r = msr_put(k, MSR_TSC_DEADLINE, c->st.apic.tsc_deadline);
	if (r == 0)
		r = msr_put(k, PV_MSR_EOI, c->st.pv_eoi);
	if (r == 0 && cpuid_has(&c->grp->cpuid, CPUID_KVM_POLL_CONTROL))
		r = msr_put(k, PV_MSR_POLL_CONTROL, !c->st.pv_poll_off);
	if (r == 0)
		r = mp_put(k);
	return r < 0 ? err_set(err, r, "KVM: set the APIC: %s", strerror(-r)) : 0;
}

int kvm_lapic_get(struct kvm_cpu *k, struct err *err)
{
	struct cpu *c = k->c;
	uint64_t poll = 1;
	int r;

	mutex_guard(&c->apic_lock);
	r = msr_io(k, KVM_GET_MSRS, MSR_APIC_BASE, &c->st.apic.base);
	if (r == 0)
		r = kvm_ioctl(k->fd, KVM_GET_LAPIC, &k->lapic);
	if (r == 0) {
		read_registers(k);
		r = msr_io(k, KVM_GET_MSRS, MSR_TSC_DEADLINE, &c->st.apic.tsc_deadline);
	}
	if (r == 0)
		r = msr_io(k, KVM_GET_MSRS, PV_MSR_EOI, &c->st.pv_eoi);
	if (r == 0 && cpuid_has(&c->grp->cpuid, CPUID_KVM_POLL_CONTROL)) {
		r = msr_io(k, KVM_GET_MSRS, PV_MSR_POLL_CONTROL, &poll);
		c->st.pv_poll_off = !(poll & 1);
	}
	if (r == 0)
		r = mp_get(k);
	return r < 0 ? err_set(err, r, "KVM: get the APIC: %s", strerror(-r)) : 0;
}
