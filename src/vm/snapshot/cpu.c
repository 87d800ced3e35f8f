/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU as a table. The struct is the same for every engine (cpu/state.h), so this is what makes a snapshot of one engine
 * start on another. Whether values fit together is cpu_state_check()'s to say, as for states from anywhere else.
 */
#include "vm/snapshot/cpu.h"

#include "cpu/cpu.h"
#include "vm/snapshot/state.h"

enum { SEG_ATTR = 0xfff };

static const struct state_field seg_fields[] = {
	STATE_ANY(struct cpu_seg, base),
	STATE_ANY(struct cpu_seg, limit),
	STATE_ANY(struct cpu_seg, sel),
	STATE_MAX(struct cpu_seg, attr, SEG_ATTR),
};

static const struct state_desc seg_state = {
	.name = "segment",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_seg, seg_fields),
};

static const struct state_field dtable_fields[] = {
	STATE_ANY(struct cpu_dtable, base),
	STATE_ANY(struct cpu_dtable, limit),
};

static const struct state_desc dtable_state = {
	.name = "descriptor table",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_dtable, dtable_fields),
};

static const struct state_field fpu_fields[] = {
	STATE_ANY(struct cpu_fpu, fcw),	      STATE_ANY(struct cpu_fpu, fsw),
	STATE_ANY(struct cpu_fpu, ftw),	      STATE_ANY(struct cpu_fpu, fop),
	STATE_ANY(struct cpu_fpu, fip),	      STATE_ANY(struct cpu_fpu, fdp),
	STATE_ANY(struct cpu_fpu, mxcsr),     STATE_ANY(struct cpu_fpu, mxcsr_mask),
	STATE_BYTES(struct cpu_fpu, st),      STATE_BYTES(struct cpu_fpu, xmm),
	STATE_ANY(struct cpu_fpu, fcs),	      STATE_ANY(struct cpu_fpu, fds),
	STATE_ANY(struct cpu_fpu, xstate_bv), STATE_ANY(struct cpu_fpu, xcomp_bv),
	STATE_BYTES(struct cpu_fpu, ymm_hi),
};

static const struct state_desc fpu_state = {
	.name = "fpu",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_fpu, fpu_fields),
};

static const struct state_field event_fields[] = {
	STATE_MAX(struct cpu_events, mp_state, CPU_MP_SHUTDOWN),
	STATE_ANY(struct cpu_events, sipi_vector),
	STATE_BOOL(struct cpu_events, init_pending),
	STATE_BOOL(struct cpu_events, sipi_pending),
	STATE_MAX(struct cpu_events, nmi_pending, 2),
	STATE_BOOL(struct cpu_events, nmi_masked),
	STATE_BOOL(struct cpu_events, smi_pending),
	STATE_BOOL(struct cpu_events, sti_shadow),
	STATE_BOOL(struct cpu_events, movss_shadow),
	STATE_BOOL(struct cpu_events, exc_pending),
	STATE_BOOL(struct cpu_events, exc_has_error),
	STATE_ANY(struct cpu_events, exc_vector),
	STATE_ANY(struct cpu_events, exc_error),
	STATE_ANY(struct cpu_events, exc_dr6),
	STATE_BOOL(struct cpu_events, extint),
};

static const struct state_desc event_state = {
	.name = "events",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_events, event_fields),
};

static const struct state_field apic_fields[] = {
	STATE_ANY(struct cpu_apic_state, base),
	STATE_ANY(struct cpu_apic_state, id),
	STATE_MAX(struct cpu_apic_state, tpr, 0xff),
	STATE_ANY(struct cpu_apic_state, ldr),
	STATE_ANY(struct cpu_apic_state, dfr),
	STATE_ANY(struct cpu_apic_state, svr),
	STATE_ANY(struct cpu_apic_state, esr),
	STATE_ANY(struct cpu_apic_state, esr_shadow),
	STATE_ARRAY(struct cpu_apic_state, isr, UINT32_MAX),
	STATE_ARRAY(struct cpu_apic_state, tmr, UINT32_MAX),
	STATE_ARRAY(struct cpu_apic_state, irr, UINT32_MAX),
	STATE_ANY(struct cpu_apic_state, icr),
	STATE_ANY(struct cpu_apic_state, lvt_cmci),
	STATE_ANY(struct cpu_apic_state, lvt_timer),
	STATE_ANY(struct cpu_apic_state, lvt_thermal),
	STATE_ANY(struct cpu_apic_state, lvt_perf),
	STATE_ANY(struct cpu_apic_state, lvt_lint0),
	STATE_ANY(struct cpu_apic_state, lvt_lint1),
	STATE_ANY(struct cpu_apic_state, lvt_error),
	STATE_ANY(struct cpu_apic_state, timer_initial),
	STATE_MAX(struct cpu_apic_state, timer_divide, 0xb),
	STATE_ANY(struct cpu_apic_state, timer_start_ns),
	STATE_ANY(struct cpu_apic_state, tsc_deadline),
};

static const struct state_desc apic_state = {
	.name = "apic",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_apic_state, apic_fields),
};

static const struct state_field hv_timer_fields[] = {
	STATE_ANY(struct cpu_hv_timer, config),
	STATE_ANY(struct cpu_hv_timer, count),
	STATE_ANY(struct cpu_hv_timer, due),
	STATE_ANY(struct cpu_hv_timer, expired),
};

static const struct state_desc hv_timer_state = {
	.name = "hyperv timer",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_hv_timer, hv_timer_fields),
};

static const struct state_field hv_fields[] = {
	STATE_ANY(struct cpu_hv_state, guest_os_id),
	STATE_ANY(struct cpu_hv_state, hypercall),
	STATE_ANY(struct cpu_hv_state, reference_tsc),
	STATE_ANY(struct cpu_hv_state, assist),
	STATE_ANY(struct cpu_hv_state, scontrol),
	STATE_ANY(struct cpu_hv_state, siefp),
	STATE_ANY(struct cpu_hv_state, simp),
	STATE_ARRAY(struct cpu_hv_state, sint, UINT64_MAX),
	STATE_STRUCT(struct cpu_hv_state, timer, &hv_timer_state),
};

static const struct state_desc hv_state = {
	.name = "hyperv",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_hv_state, hv_fields),
};

static const struct state_field fields[] = {
	STATE_ARRAY(struct cpu_state, gpr, UINT64_MAX),
	STATE_ANY(struct cpu_state, rip),
	STATE_ANY(struct cpu_state, rflags),
	STATE_STRUCT(struct cpu_state, seg, &seg_state),
	STATE_STRUCT(struct cpu_state, ldtr, &seg_state),
	STATE_STRUCT(struct cpu_state, tr, &seg_state),
	STATE_STRUCT(struct cpu_state, gdtr, &dtable_state),
	STATE_STRUCT(struct cpu_state, idtr, &dtable_state),
	STATE_ANY(struct cpu_state, cr0),
	STATE_ANY(struct cpu_state, cr2),
	STATE_ANY(struct cpu_state, cr3),
	STATE_ANY(struct cpu_state, cr4),
	STATE_ARRAY(struct cpu_state, pdpte, UINT64_MAX),
	STATE_ARRAY(struct cpu_state, dr, UINT64_MAX),
	STATE_ANY(struct cpu_state, dr6),
	STATE_ANY(struct cpu_state, dr7),
	STATE_ANY(struct cpu_state, xcr0),
	STATE_ANY(struct cpu_state, pkru),
	STATE_ANY(struct cpu_state, pkrs),
	STATE_ANY(struct cpu_state, efer),
	STATE_ANY(struct cpu_state, star),
	STATE_ANY(struct cpu_state, lstar),
	STATE_ANY(struct cpu_state, cstar),
	STATE_ANY(struct cpu_state, sfmask),
	STATE_ANY(struct cpu_state, kernel_gs_base),
	STATE_ANY(struct cpu_state, sysenter_cs),
	STATE_ANY(struct cpu_state, sysenter_esp),
	STATE_ANY(struct cpu_state, sysenter_eip),
	STATE_ANY(struct cpu_state, pat),
	STATE_ANY(struct cpu_state, tsc_aux),
	STATE_ANY(struct cpu_state, tsc_offset),
	STATE_ANY(struct cpu_state, tsc_adjust),
	STATE_ANY(struct cpu_state, misc_enable),
	STATE_ANY(struct cpu_state, mtrr_def_type),
	STATE_ARRAY(struct cpu_state, mtrr_fixed, UINT64_MAX),
	STATE_WORDS(struct cpu_state, mtrr_var),
	STATE_ANY(struct cpu_state, mcg_status),
	STATE_ANY(struct cpu_state, debugctl),
	STATE_ANY(struct cpu_state, hwcr),
	STATE_ANY(struct cpu_state, pv_wall_clock),
	STATE_ANY(struct cpu_state, pv_system_time),
	STATE_ANY(struct cpu_state, pv_eoi),
	STATE_ANY(struct cpu_state, smbase),
	STATE_STRUCT(struct cpu_state, fpu, &fpu_state),
	STATE_STRUCT(struct cpu_state, ev, &event_state),
	STATE_STRUCT(struct cpu_state, apic, &apic_state),
	STATE_SINCE(2, struct cpu_state, pv_steal_time, UINT64_MAX),
	STATE_SINCE(2, struct cpu_state, pv_poll_off, 1),
	STATE_STRUCT_SINCE(3, struct cpu_state, hv, &hv_state),
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	return cpu_state_check(next, err);
}

const struct state_desc cpu_state_desc = {
	.name = "cpu",
	.version = 3,
	STATE_NO_LOCK,
	STATE_TABLE(struct cpu_state, fields),
	.check = check,
};
