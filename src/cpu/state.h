/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_STATE_H
#define CPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The full architectural state of one x86-64 CPU: one struct for all engines, for snapshots, migration
 * and differential tests. Plain data, no pointers. Sources: Intel SDM volume 3, AMD APM volume 2.
 */
/* clang-format off */
enum cpu_gpr {
	CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSP, CPU_RBP, CPU_RSI, CPU_RDI,
	CPU_R8, CPU_R9, CPU_R10, CPU_R11, CPU_R12, CPU_R13, CPU_R14, CPU_R15,
	CPU_SLOT_RIP,  /* rip lives behind the general registers, so that an operand can name it */
	CPU_SLOT_ZERO, /* always 0: "no base", "no index" */
	CPU_NR_SLOTS,
};
/* clang-format on */

enum cpu_segreg { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_NR_SEGS };

/* attr: descriptor bits 40-47 in bits 0-7, descriptor bits 52-55 in bits 8-11 (as in AMD's VMCB). */
enum cpu_seg_attr {
	SEG_TYPE = 0xf,
	SEG_TYPE_ACCESSED = 1,
	SEG_TYPE_WR = 2,   /* data: writable; code: readable */
	SEG_TYPE_DOWN = 4, /* data: expand down; code: conforming */
	SEG_TYPE_CODE = 8,
	SEG_S = 1 << 4, /* code or data, not a system descriptor */
	SEG_DPL = 3 << 5,
	SEG_DPL_SHIFT = 5,
	SEG_P = 1 << 7,
	SEG_AVL = 1 << 8,
	SEG_L = 1 << 9,
	SEG_DB = 1 << 10,
	SEG_G = 1 << 11,
};

struct cpu_seg {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity applied; for expand-down the lower bound */
	uint16_t sel;
	uint16_t attr; /* enum cpu_seg_attr; SEG_P clear = unusable (null selector) */
};

struct cpu_dtable {
	uint64_t base;
	uint16_t limit;
};

/* clang-format off */
enum cpu_rflags {
	RFLAGS_CF = 1 << 0, RFLAGS_FIXED1 = 1 << 1, RFLAGS_PF = 1 << 2, RFLAGS_AF = 1 << 4,
	RFLAGS_ZF = 1 << 6, RFLAGS_SF = 1 << 7, RFLAGS_TF = 1 << 8, RFLAGS_IF = 1 << 9,
	RFLAGS_DF = 1 << 10, RFLAGS_OF = 1 << 11, RFLAGS_IOPL = 3 << 12, RFLAGS_NT = 1 << 14,
	RFLAGS_RF = 1 << 16, RFLAGS_VM = 1 << 17, RFLAGS_AC = 1 << 18, RFLAGS_VIF = 1 << 19,
	RFLAGS_VIP = 1 << 20, RFLAGS_ID = 1 << 21,
	RFLAGS_STATUS = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF,
};
/* clang-format on */

/* clang-format off */
enum cpu_cr0 {
	CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_EM = 1 << 2, CR0_TS = 1 << 3, CR0_ET = 1 << 4,
	CR0_NE = 1 << 5, CR0_WP = 1 << 16, CR0_AM = 1 << 18, CR0_NW = 1 << 29, CR0_CD = 1 << 30,
};
/* clang-format on */
#define CR0_PG (UINT64_C(1) << 31)

/* clang-format off */
enum cpu_cr4 {
	CR4_VME = 1 << 0, CR4_PVI = 1 << 1, CR4_TSD = 1 << 2, CR4_DE = 1 << 3, CR4_PSE = 1 << 4,
	CR4_PAE = 1 << 5, CR4_MCE = 1 << 6, CR4_PGE = 1 << 7, CR4_PCE = 1 << 8,
	CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10, CR4_UMIP = 1 << 11, CR4_LA57 = 1 << 12,
	CR4_FSGSBASE = 1 << 16, CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18, CR4_SMEP = 1 << 20,
	CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22,
	CR4_PKS = 1 << 24,
};
/* clang-format on */

/* clang-format off */
enum cpu_efer {
	EFER_SCE = 1 << 0, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11,
	EFER_SVME = 1 << 12, EFER_FFXSR = 1 << 14, EFER_AUTOIBRS = 1 << 21,
};
/* clang-format on */

/* x87, SSE and AVX in the standard (not compacted) XSAVE layout: SDM volume 1, 13.4. */
struct cpu_fpu {
	uint16_t fcw, fsw;
	uint8_t ftw; /* abridged: bit n set = physical register n is not empty */
	uint8_t pad0;
	uint16_t fop;
	uint64_t fip, fdp; /* the 64-bit image; in 32-bit formats offset and selector */
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16]; /* ST(0) first; MMX registers alias the low 8 bytes (by stack position) */
	uint8_t xmm[16][16];
	uint16_t fcs, fds; /* selectors of fip and fdp: not part of the 64-bit image */
	uint8_t reserved[92];
	uint64_t xstate_bv, xcomp_bv;
	uint8_t header_reserved[48];
	uint8_t ymm_hi[16][16];
} __attribute__((aligned(64)));

enum cpu_xcr0 { XCR0_X87 = 1, XCR0_SSE = 2, XCR0_AVX = 4, XCR0_PKRU = 1 << 9 };

enum cpu_mp_state {
	CPU_MP_RUNNING,
	CPU_MP_HALTED,	  /* in HLT: any enabled interrupt, NMI, INIT wakes it */
	CPU_MP_WAIT_SIPI, /* an application processor after reset or INIT */
	CPU_MP_SHUTDOWN,  /* triple fault; only INIT or reset leave it */
};

/* Events that are recognised but not yet delivered, and what blocks them. */
struct cpu_events {
	uint8_t mp_state;    /* enum cpu_mp_state */
	uint8_t sipi_vector; /* when sipi_pending */
	bool init_pending, sipi_pending;
	uint8_t nmi_pending; /* 0 to 2: delivery takes one; 2 only while none is being served */
	bool nmi_masked;     /* from an NMI's delivery to the next IRET */
	bool smi_pending;
	bool sti_shadow, movss_shadow; /* interrupts wait for one more instruction */
	bool exc_pending; /* an exception raised by the last instruction is still to be delivered */
	bool exc_has_error;
	uint8_t exc_vector;
	uint32_t exc_error;
	uint64_t exc_dr6; /* #DB: bits to set in DR6 */
	bool extint;	  /* level of the 8259's INTR line at this CPU's LINT0 */
};

/* Local APIC registers: SDM volume 3, chapter 11. Reserved bits are kept 0. */
struct cpu_apic_state {
	uint64_t base; /* IA32_APIC_BASE: address, enable, x2APIC, BSP */
	uint32_t id;   /* xAPIC id in bits 31-24 form is made on reading; here the plain id */
	uint32_t tpr, ldr, dfr, svr, esr, esr_shadow;
	uint32_t isr[8], tmr[8], irr[8];
	uint64_t icr;
	uint32_t lvt_cmci, lvt_timer, lvt_thermal, lvt_perf, lvt_lint0, lvt_lint1, lvt_error;
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start_ns; /* guest time (see cpu_group) when the current count was started;
				    UINT64_MAX: the count-down has ended */
	uint64_t tsc_deadline;	 /* guest TSC; 0 = disarmed */
};

/* A timer of Hyper-V's; times are reference time, in ticks of 100 ns. */
struct cpu_hv_timer {
	uint64_t config, count;
	uint64_t due;	  /* 0: it does not run */
	uint64_t expired; /* a message of this expiry waits for its slot; 0: none */
};

enum { CPU_HV_SINTS = 16, CPU_HV_TIMERS = 4 };

/* What Hyper-V's interface keeps (pv/hv_*.c). */
struct cpu_hv_state {
	uint64_t guest_os_id, hypercall, reference_tsc; /* of the whole machine: those of vCPU 0 */
	uint64_t assist, scontrol, siefp, simp;
	uint64_t sint[CPU_HV_SINTS]; /* with the mask bit inverted, so that 0 is what it is after reset */
	struct cpu_hv_timer timer[CPU_HV_TIMERS];
};

enum { CPU_MTRR_VAR = 8 };

struct cpu_state {
	/* r[] names the general registers, rip and the zero slot by number (enum cpu_gpr). */
	union {
		struct {
			uint64_t gpr[16];
			uint64_t rip;
			uint64_t zero;
		};
		uint64_t r[CPU_NR_SLOTS];
	};
	uint64_t rflags;
	struct cpu_seg seg[CPU_NR_SEGS];
	struct cpu_seg ldtr, tr;
	struct cpu_dtable gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4; /* CR8 is apic.tpr >> 4 */
	uint64_t pdpte[4];	     /* PAE paging: loaded with CR3 */
	uint64_t dr[4], dr6, dr7;
	uint64_t xcr0;
	uint32_t pkru, pkrs; /* protection-key rights of user and supervisor pages */

	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, tsc_offset, tsc_adjust, misc_enable;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[CPU_MTRR_VAR][2];
	uint64_t mcg_status, debugctl, hwcr;
	uint64_t pv_wall_clock, pv_system_time;
	uint64_t pv_eoi; /* where ends of interrupts are told by memory, and bit 0: enabled */
	bool pv_eoi_offered; /* the interrupt in service may end so; the APIC does not know yet whether it has */
	uint64_t pv_steal_time; /* where lost time is told, and bit 0: enabled */
	bool pv_poll_off;	/* the guest waits itself for a while before it halts */
	uint64_t smbase;

	struct cpu_fpu fpu;
	struct cpu_events ev;
	struct cpu_apic_state apic;
	struct cpu_hv_state hv;
};

/* Current privilege level: the DPL of SS (SDM volume 3, 5.5); 0 in real mode, 3 in V86 mode. */
static inline unsigned int cpu_state_cpl(const struct cpu_state *s)
{
	return (s->seg[CPU_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
}

#endif
