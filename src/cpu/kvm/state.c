// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU's state into the kernel and out of it: struct cpu_state against KVM's structures.
 *
 * What is here is what KVM must have to execute guest code. MSRs that change nothing in that (memory types, machine
 * checks, the paravirtual clock, the APIC's base) KVM does not keep at all: its filter sends them to cpu/msr.c,
 * which answers them alike under every engine, and they stay in cpu->st.
 *
 * Pending events: an exception that was raised is delivered at home before the state goes away, so only NMIs go
 * in. Out come whatever KVM had begun to deliver: exceptions and interrupts, to be delivered at home. A software
 * interrupt is not among them: its instruction was not completed, and is executed again.
 *
 * Sources: Linux, Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "cpu/apic.h"
#include "cpu/interp/vcpu.h"
#include "cpu/kvm/kvm_priv.h"
#include "cpu/msr.h"
#include "cpu/pv/pv.h"
#include "sys/thread.h"

enum { LEGACY_BYTES = 416 };
#define DR6_EVENTS UINT64_C(0xe00f) /* B0-B3, BD, BS, BT */

static int failed(struct err *err, int r, const char *what)
{
	return err_set(err, r, "KVM: %s: %s", what, strerror(-r));
}

/* --- MSRs ----------------------------------------------------------------------------------------- */

/* Registers that KVM keeps beside those that have a place of their own in its structures. */
struct msr_slot {
	uint32_t index;
	enum cpu_feature needs; /* FXSR: always there */
	size_t offset;
};
#define MSR(index, needs, field)                                                                   \
	{                                                                                          \
		index, CPUID_##needs, offsetof(struct cpu_state, field)                            \
	}
static const struct msr_slot kept[] = {
	MSR(MSR_SYSENTER_CS, FXSR, sysenter_cs),
	MSR(MSR_SYSENTER_ESP, FXSR, sysenter_esp),
	MSR(MSR_SYSENTER_EIP, FXSR, sysenter_eip),
	MSR(MSR_PAT, FXSR, pat),
	MSR(MSR_STAR, LM, star),
	MSR(MSR_LSTAR, LM, lstar),
	MSR(MSR_CSTAR, LM, cstar),
	MSR(MSR_SFMASK, LM, sfmask),
	MSR(MSR_KERNEL_GS_BASE, LM, kernel_gs_base),
	MSR(MSR_TSC_AUX, RDTSCP, tsc_aux),
	MSR(PV_MSR_STEAL_TIME, KVM_STEAL_TIME, pv_steal_time),
};
enum { NR_KEPT = ARRAY_SIZE(kept) };

static uint64_t *msr_field(struct cpu_state *s, const struct msr_slot *m)
{
	return (uint64_t *)(void *)((uint8_t *)s + m->offset);
}

bool kvm_msr_is_kernels(const struct kvm_vm *vm, uint32_t index)
{
	if (vm->has_lapic &&
	    (index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE || index == PV_MSR_EOI ||
	     index == PV_MSR_POLL_CONTROL || index >> 8 == MSR_X2APIC_FIRST >> 8))
		return true;
	for (unsigned int k = 0; k < NR_KEPT; k++)
		if (kept[k].index == index)
			return true;
	return index == MSR_TSC || index == MSR_EFER || index == MSR_FS_BASE ||
	       index == MSR_GS_BASE;
}

static void filter_allow(struct kvm_msr_filter_range *r, uint32_t index)
{
	uint32_t n = index - r->base;

	if (n < r->nmsrs)
		r->bitmap[n / 8] |= (uint8_t)(1u << (n % 8));
}

/* A low range, EFER to SFMASK, FS_BASE to TSC_AUX, and single ones; what is outside leaves to us. */
int kvm_msr_filter(struct kvm_vm *vm, struct err *err)
{
	static const uint32_t apic[] = { MSR_APIC_BASE, MSR_TSC_DEADLINE, PV_MSR_EOI,
					 PV_MSR_POLL_CONTROL };
	uint8_t low[128] = { 0 }, syscall[16] = { 0 }, bases[16] = { 0 }, one[1] = { 1 };
	struct kvm_msr_filter f = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges = {
			{ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 1024, .base = 0x100, .bitmap = low },
			{ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 128, .base = MSR_EFER, .bitmap = syscall },
			{ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 128, .base = MSR_FS_BASE, .bitmap = bases },
			/* Moving the TSC is ours, reading it need not leave the guest. */
			{ .flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = MSR_TSC, .bitmap = one },
			{ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 1, .base = PV_MSR_STEAL_TIME, .bitmap = one },
		},
	};
	int r;

	for (unsigned int k = 0; k < 3; k++) {
		for (unsigned int n = 0; n < NR_KEPT; n++)
			filter_allow(&f.ranges[k], kept[n].index);
		filter_allow(&f.ranges[k], MSR_EFER);
		filter_allow(&f.ranges[k], MSR_FS_BASE);
		filter_allow(&f.ranges[k], MSR_GS_BASE);
	}
	for (unsigned int k = 0; vm->has_lapic && k < ARRAY_SIZE(apic); k++)
		f.ranges[5 + k] = (struct kvm_msr_filter_range){ .flags = KVM_MSR_FILTER_READ |
									  KVM_MSR_FILTER_WRITE,
								 .nmsrs = 1,
								 .base = apic[k],
								 .bitmap = one };
	r = kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &f);
	return r < 0 ? failed(err, r, "the MSR filter") : 0;
}

/* Room for the list of all of them. */
struct msr_room {
	_Alignas(struct kvm_msrs)
		uint8_t bytes[sizeof(struct kvm_msrs) + NR_KEPT * sizeof(struct kvm_msr_entry)];
};

static struct kvm_msrs *msrs_list(const struct kvm_cpu *k, struct msr_room *room)
{
	struct kvm_msrs *l = (struct kvm_msrs *)(void *)room->bytes;
	struct cpu *c = k->c;

	memset(room, 0, sizeof(*room));
	for (unsigned int n = 0; n < NR_KEPT; n++) {
		struct kvm_msr_entry *e = &l->entries[l->nmsrs];

		if (!cpuid_has(&c->grp->cpuid, kept[n].needs))
			continue;
		e->index = kept[n].index;
		e->data = *msr_field(&c->st, &kept[n]);
		l->nmsrs++;
	}
	return l;
}

static int msrs_put(struct kvm_cpu *k, struct err *err)
{
	struct msr_room room;
	struct kvm_msrs *l = msrs_list(k, &room);
	int r = kvm_ioctl(k->fd, KVM_SET_MSRS, l);

	if (r < 0)
		return failed(err, r, "set MSRs");
	if ((uint32_t)r < l->nmsrs)
		return err_set(err, -EINVAL, "KVM refuses 0x%llx as MSR 0x%x",
			       (unsigned long long)l->entries[r].data, l->entries[r].index);
	return 0;
}

static int msrs_get(struct kvm_cpu *k, struct err *err)
{
	struct msr_room room;
	struct kvm_msrs *l = msrs_list(k, &room);
	int r = kvm_ioctl(k->fd, KVM_GET_MSRS, l);

	if (r < 0 || (uint32_t)r < l->nmsrs)
		return failed(err, r < 0 ? r : -EIO, "get MSRs");
	for (unsigned int n = 0, at = 0; n < NR_KEPT; n++)
		if (at < l->nmsrs && l->entries[at].index == kept[n].index)
			*msr_field(&k->c->st, &kept[n]) = l->entries[at++].data;
	return 0;
}

int kvm_tsc_put(struct kvm_cpu *k, struct err *err)
{
	const struct cpu *c = k->c;
	uint64_t offset = c->st.tsc_offset - c->grp->start_tsc;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uint64_t)(uintptr_t)&offset };
	int r;

	if (k->tsc_is_set && k->tsc_offset == offset)
		return 0;
	r = kvm_ioctl(k->fd, KVM_SET_DEVICE_ATTR, &attr);
	if (r < 0)
		return failed(err, r, "the TSC's offset");
	k->tsc_is_set = true;
	k->tsc_offset = offset;
	return 0;
}

/* --- general and system registers ------------------------------------------------------------------ */

static void regs_put(const struct cpu_state *s, struct kvm_regs *r)
{
	*r = (struct kvm_regs){
		.rax = s->gpr[CPU_RAX],
		.rbx = s->gpr[CPU_RBX],
		.rcx = s->gpr[CPU_RCX],
		.rdx = s->gpr[CPU_RDX],
		.rsi = s->gpr[CPU_RSI],
		.rdi = s->gpr[CPU_RDI],
		.rsp = s->gpr[CPU_RSP],
		.rbp = s->gpr[CPU_RBP],
		.r8 = s->gpr[CPU_R8],
		.r9 = s->gpr[CPU_R9],
		.r10 = s->gpr[CPU_R10],
		.r11 = s->gpr[CPU_R11],
		.r12 = s->gpr[CPU_R12],
		.r13 = s->gpr[CPU_R13],
		.r14 = s->gpr[CPU_R14],
		.r15 = s->gpr[CPU_R15],
		.rip = s->rip,
		.rflags = s->rflags,
	};
}

static void regs_get(struct cpu_state *s, const struct kvm_regs *r)
{
	s->gpr[CPU_RAX] = r->rax;
	s->gpr[CPU_RBX] = r->rbx;
	s->gpr[CPU_RCX] = r->rcx;
	s->gpr[CPU_RDX] = r->rdx;
	s->gpr[CPU_RSI] = r->rsi;
	s->gpr[CPU_RDI] = r->rdi;
	s->gpr[CPU_RSP] = r->rsp;
	s->gpr[CPU_RBP] = r->rbp;
	s->gpr[CPU_R8] = r->r8;
	s->gpr[CPU_R9] = r->r9;
	s->gpr[CPU_R10] = r->r10;
	s->gpr[CPU_R11] = r->r11;
	s->gpr[CPU_R12] = r->r12;
	s->gpr[CPU_R13] = r->r13;
	s->gpr[CPU_R14] = r->r14;
	s->gpr[CPU_R15] = r->r15;
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static struct kvm_segment seg_put(const struct cpu_seg *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->sel,
		.type = s->attr & SEG_TYPE,
		.present = (s->attr & SEG_P) != 0,
		.dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT,
		.db = (s->attr & SEG_DB) != 0,
		.s = (s->attr & SEG_S) != 0,
		.l = (s->attr & SEG_L) != 0,
		.g = (s->attr & SEG_G) != 0,
		.avl = (s->attr & SEG_AVL) != 0,
		.unusable = !(s->attr & SEG_P),
	};
}

static struct cpu_seg seg_get(const struct kvm_segment *s)
{
	unsigned int attr = (s->type & SEG_TYPE) | (s->dpl & 3u) << SEG_DPL_SHIFT;

	attr |= s->s ? SEG_S : 0;
	attr |= s->present && !s->unusable ? SEG_P : 0;
	attr |= s->avl ? SEG_AVL : 0;
	attr |= s->l ? SEG_L : 0;
	attr |= s->db ? SEG_DB : 0;
	attr |= s->g ? SEG_G : 0;
	return (struct cpu_seg){
		.base = s->base, .limit = s->limit, .sel = s->selector, .attr = (uint16_t)attr
	};
}

static bool has_pdptes(const struct cpu_state *s)
{
	return (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA);
}

static int sregs_put(struct kvm_cpu *k, struct err *err)
{
	const struct cpu_state *s = &k->c->st;
	struct kvm_sregs2 r = {
		.cs = seg_put(&s->seg[CPU_CS]),
		.ds = seg_put(&s->seg[CPU_DS]),
		.es = seg_put(&s->seg[CPU_ES]),
		.fs = seg_put(&s->seg[CPU_FS]),
		.gs = seg_put(&s->seg[CPU_GS]),
		.ss = seg_put(&s->seg[CPU_SS]),
		.tr = seg_put(&s->tr),
		.ldt = seg_put(&s->ldtr),
		.gdt = { .base = s->gdtr.base, .limit = s->gdtr.limit },
		.idt = { .base = s->idtr.base, .limit = s->idtr.limit },
		.cr0 = s->cr0,
		.cr2 = s->cr2,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.cr8 = s->apic.tpr >> 4,
		.efer = s->efer,
		.apic_base = s->apic.base,
		.flags = has_pdptes(s) ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0,
	};
	int n;

	for (unsigned int p = 0; p < 4; p++)
		r.pdptrs[p] = has_pdptes(s) ? s->pdpte[p] : 0;
	n = kvm_ioctl(k->fd, KVM_SET_SREGS2, &r);
	return n < 0 ? failed(err, n, "set system registers") : 0;
}

static int sregs_get(struct kvm_cpu *k, struct err *err)
{
	struct cpu_state *s = &k->c->st;
	struct kvm_sregs2 r;
	int n = kvm_ioctl(k->fd, KVM_GET_SREGS2, &r);

	if (n < 0)
		return failed(err, n, "get system registers");
	s->seg[CPU_CS] = seg_get(&r.cs);
	s->seg[CPU_DS] = seg_get(&r.ds);
	s->seg[CPU_ES] = seg_get(&r.es);
	s->seg[CPU_FS] = seg_get(&r.fs);
	s->seg[CPU_GS] = seg_get(&r.gs);
	s->seg[CPU_SS] = seg_get(&r.ss);
	s->tr = seg_get(&r.tr);
	s->ldtr = seg_get(&r.ldt);
	s->gdtr = (struct cpu_dtable){ r.gdt.base, r.gdt.limit };
	s->idtr = (struct cpu_dtable){ r.idt.base, r.idt.limit };
	s->cr0 = r.cr0;
	s->cr2 = r.cr2;
	s->cr3 = r.cr3;
	s->cr4 = r.cr4;
	s->efer = r.efer;
	if (k->vm->has_lapic) { /* or the next put would undo what the guest has done */
		s->apic.base = r.apic_base;
		s->apic.tpr = (uint32_t)r.cr8 << 4;
	}
	for (unsigned int p = 0; p < 4 && (r.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID); p++)
		s->pdpte[p] = r.pdptrs[p];
	return 0;
}

static int debug_put(struct kvm_cpu *k, struct err *err)
{
	const struct cpu_state *s = &k->c->st;
	struct kvm_debugregs d = { .dr6 = s->dr6, .dr7 = s->dr7 };
	int r;

	memcpy(d.db, s->dr, sizeof(d.db));
	r = kvm_ioctl(k->fd, KVM_SET_DEBUGREGS, &d);
	return r < 0 ? failed(err, r, "set debug registers") : 0;
}

static int debug_get(struct kvm_cpu *k, struct err *err)
{
	struct cpu_state *s = &k->c->st;
	struct kvm_debugregs d;
	int r = kvm_ioctl(k->fd, KVM_GET_DEBUGREGS, &d);

	if (r < 0)
		return failed(err, r, "get debug registers");
	memcpy(s->dr, d.db, sizeof(s->dr));
	s->dr6 = d.dr6;
	s->dr7 = d.dr7;
	return 0;
}

/* --- vector state ---------------------------------------------------------------------------------- */

/* The components that the guest's CPU has. */
static uint64_t components(const struct cpu *c)
{
	return c->grp->cpuid.xcr0_allowed | XCR0_X87 | XCR0_SSE;
}

static int fpu_put(struct kvm_cpu *k, struct err *err)
{
	const struct cpu_state *s = &k->c->st;
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .value = s->xcr0 } } };
	uint8_t *p = (uint8_t *)k->xsave.region;
	int r;

	memset(&k->xsave, 0, sizeof(k->xsave));
	memcpy(p, &s->fpu, LEGACY_BYTES);
	put_le64(p + XSAVE_HEADER, components(k->c));
	memcpy(p + XSAVE_YMM, s->fpu.ymm_hi, sizeof(s->fpu.ymm_hi));
	if (components(k->c) & XCR0_PKRU)
		put_le32(p + XSAVE_PKRU, s->pkru);
	r = kvm_ioctl(k->fd, KVM_SET_XSAVE, &k->xsave);
	if (r < 0)
		return failed(err, r, "set vector state");
	if (!cpuid_has(&k->c->grp->cpuid, CPUID_XSAVE))
		return 0;
	r = kvm_ioctl(k->fd, KVM_SET_XCRS, &xcrs);
	return r < 0 ? failed(err, r, "set XCR0") : 0;
}

static int fpu_get(struct kvm_cpu *k, struct err *err)
{
	struct cpu_state *s = &k->c->st;
	struct kvm_xcrs xcrs = { 0 };
	const uint8_t *p = (const uint8_t *)k->xsave.region;
	uint32_t mask = s->fpu.mxcsr_mask;
	int r = kvm_ioctl(k->fd, KVM_GET_XSAVE, &k->xsave);

	if (r < 0)
		return failed(err, r, "get vector state");
	memcpy(&s->fpu, p, LEGACY_BYTES);
	s->fpu.mxcsr_mask = mask;
	s->fpu.fcs = s->fpu.fds = 0; /* not part of this image */
	if (components(k->c) & XCR0_AVX)
		memcpy(s->fpu.ymm_hi, p + XSAVE_YMM, sizeof(s->fpu.ymm_hi));
	if (components(k->c) & XCR0_PKRU)
		s->pkru = get_le32(p + XSAVE_PKRU);
	if (!cpuid_has(&k->c->grp->cpuid, CPUID_XSAVE))
		return 0;
	r = kvm_ioctl(k->fd, KVM_GET_XCRS, &xcrs);
	if (r < 0)
		return failed(err, r, "get XCR0");
	for (uint32_t n = 0; n < xcrs.nr_xcrs && n < ARRAY_SIZE(xcrs.xcrs); n++)
		if (xcrs.xcrs[n].xcr == 0)
			s->xcr0 = xcrs.xcrs[n].value;
	return 0;
}

/* --- events ---------------------------------------------------------------------------------------- */

static int events_put(struct kvm_cpu *k, struct err *err)
{
	struct cpu_events *ev = &k->c->st.ev;
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
					      KVM_VCPUEVENT_VALID_SHADOW };
	int r;

	mutex_lock(&k->c->apic_lock);
	e.nmi.pending = ev->nmi_pending;
	ev->nmi_pending = 0;
	mutex_unlock(&k->c->apic_lock);
	e.nmi.masked = ev->nmi_masked;
	e.interrupt.shadow = (ev->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
			     (ev->movss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0);
	r = kvm_ioctl(k->fd, KVM_SET_VCPU_EVENTS, &e);
	return r < 0 ? failed(err, r, "set pending events") : 0;
}

static bool is_soft(const struct kvm_vcpu_events *e)
{
	return e->exception.nr == VEC_BP || e->exception.nr == VEC_OF;
}

static int events_get(struct kvm_cpu *k, struct err *err)
{
	struct cpu_state *s = &k->c->st;
	struct cpu_events *ev = &s->ev;
	struct kvm_vcpu_events e;
	int r = kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &e);

	if (r < 0)
		return failed(err, r, "get pending events");
	mutex_lock(&k->c->apic_lock);
	ev->nmi_pending = (uint8_t)MIN(ev->nmi_pending + e.nmi.pending + e.nmi.injected, 2);
	mutex_unlock(&k->c->apic_lock);
	ev->nmi_masked = e.nmi.masked && !e.nmi.injected;
	ev->sti_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
	ev->movss_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	ev->exc_pending = (e.exception.injected || e.exception.pending) && !is_soft(&e) &&
			  e.exception.nr < 32;
	if (ev->exc_pending) {
		ev->exc_vector = e.exception.nr;
		ev->exc_has_error = e.exception.has_error_code;
		ev->exc_error = e.exception.error_code;
		ev->exc_dr6 = s->dr6 & DR6_EVENTS; /* KVM has set them */
	}
	k->injected = e.interrupt.injected && !e.interrupt.soft ? e.interrupt.nr : -1;
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------- */

int kvm_state_put(struct kvm_cpu *k, struct err *err)
{
	struct kvm_regs regs;
	int r = sregs_put(k, err);

	if (r == 0)
		r = fpu_put(k, err);
	if (r == 0)
		r = msrs_put(k, err);
	if (r == 0)
		r = debug_put(k, err);
	if (r < 0)
		return r;
	regs_put(&k->c->st, &regs);
	r = kvm_ioctl(k->fd, KVM_SET_REGS, &regs);
	if (r < 0)
		return failed(err, r, "set registers");
	return events_put(k, err);
}

int kvm_state_get(struct kvm_cpu *k, struct err *err)
{
	struct kvm_regs regs;
	int r = kvm_ioctl(k->fd, KVM_GET_REGS, &regs);

	if (r < 0)
		return failed(err, r, "get registers");
	regs_get(&k->c->st, &regs);
	r = sregs_get(k, err);
	if (r == 0)
		r = fpu_get(k, err);
	if (r == 0)
		r = msrs_get(k, err);
	if (r == 0)
		r = debug_get(k, err);
	return r == 0 ? events_get(k, err) : r;
}

int kvm_cpu_cpuid(struct kvm_cpu *k, struct err *err)
{
	const struct cpu_cpuid *id = &k->c->grp->cpuid;
	_Alignas(struct kvm_cpuid2)
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     CPUID_MAX_LEAVES * sizeof(struct kvm_cpuid_entry2)];
	struct kvm_cpuid2 *all = (struct kvm_cpuid2 *)(void *)room;
	int r;

	memset(room, 0, sizeof(room));
	all->nent = id->nr;

	for (unsigned int n = 0; n < id->nr; n++) {
		const struct cpuid_leaf *l = &id->leaf[n];
		uint32_t reg[4];

		cpuid_exec(k->c, l->leaf, l->subleaf, reg);
		all->entries[n] = (struct kvm_cpuid_entry2){
			.function = l->leaf,
			.index = l->subleaf,
			.flags = l->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = reg[0],
			.ebx = reg[1],
			.ecx = reg[2],
			.edx = reg[3],
		};
	}
	r = kvm_ioctl(k->fd, KVM_SET_CPUID2, all);
	return r < 0 ? failed(err, r, "set CPUID") : 0;
}
