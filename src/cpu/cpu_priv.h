/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_CPU_PRIV_H
#define CPU_CPU_PRIV_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/hold.h"
#include "cpu/pv/pv.h"
#include "sys/timerq.h"

/*
 * What all engines share behind cpu.h. Ownership: everything in struct cpu belongs to the thread that
 * runs the vCPU, except what is marked "any" (atomics) or "lock" (apic_lock).
 */

/* Bits of cpu->pending: somebody wants something. Set by any thread, polled at block boundaries. */
enum cpu_pending {
	CPU_PEND_KICK = 1 << 0,	 /* leave cpu_run() with CPU_EXIT_KICKED */
	CPU_PEND_INTR = 1 << 1,	 /* look whether the APIC or the 8259 has an interrupt */
	CPU_PEND_EVENT = 1 << 2, /* st.ev: INIT, SIPI, NMI or SMI became pending */
	CPU_PEND_FLUSH = 1 << 3, /* forget translations and decodings */
	CPU_PEND_STOP = 1 << 4,	 /* another vCPU needs everybody to stand still (exclusive.c) */
	CPU_PEND_EPOCH = 1 << 5, /* dbt: forget where code is, its memory will be used again */
	CPU_PEND_WRITES =
		1 << 6, /* take write tags out of the TLB (code_sync() of interp/block.h) */
};

struct cpuid_limit;

struct cpu_engine {
	const char *name;
	/* Make what belongs to the group, and say which CPU features its guest may have; NULL: there is nothing to
	 * make, and every feature may be. @grp is as it was when it fails. */
	int (*admit)(struct cpu_group *grp, struct cpuid_limit *ret, struct err *err);
	void (*release)(struct cpu_group *grp); /* after done() of every vCPU; what admit() made */
	/*
	 * For an engine that may have local APICs of its own; NULL: it has not. adopt: after state_loaded() of every vCPU;
	 * sets grp->apic_away when it has. leave: before done(); st.apic is the truth again. Both under msg_lock, for
	 * writing, and return 0 or negative. save: make a copy of it in st. msi, nmi: while apic_away, under msg_lock.
	 */
	int (*adopt)(struct cpu_group *grp, struct err *err);
	int (*leave)(struct cpu_group *grp, struct err *err);
	void (*save)(struct cpu *c);
	int (*msi)(struct cpu_group *grp, uint64_t addr, uint32_t data);
	void (*nmi)(struct cpu_group *grp);
	int (*init)(struct cpu *c,
		    struct err *err); /* what it leaves behind when it fails is done()'s */
	void (*done)(struct cpu *c);
	enum cpu_exit (*run)(struct cpu *c, struct err *err);
	void (*flush)(struct cpu *c);	      /* on the vCPU's thread */
	void (*state_loaded)(struct cpu *c);  /* c->st was replaced: derive everything again */
	void (*debug_changed)(struct cpu *c); /* c->debug was; NULL: as if c->st was, too */
};
extern const struct cpu_engine interp_engine, dbt_engine, kvm_engine;

/* Where code runs decides how bytes decode. */
enum cpu_mode {
	CPU_MODE_16,
	CPU_MODE_32,
	CPU_MODE_64
}; /* default operand and address size of CS */

struct tlb_entry;
struct insn;
struct interp_sys;
struct code_map;
struct dbt;
struct kvm_vm;
struct block_cache;

/*
 * What translated code (dbt/) touches all the time: right before struct cpu_state, so that one register reaches both
 * with one-byte displacements. Owned by the vCPU's thread except `pending`.
 */
struct cpu_hot {
	_Atomic uint32_t pending; /* any: enum cpu_pending */
	uint32_t due; /* enum event_due of interp/events.h: what the run loop must look at */
	struct tlb_entry *tlb; /* table for data accesses at the present CPL, SMAP and AC */
	uint64_t pbase;	       /* linear address of the guest page being executed */
	uint64_t stk_tag;      /* linear address of a writable page of the stack, or STK_NONE */
	uint64_t stk_page;     /* its host address */
	void *jump;	       /* jump table of the present address space and privilege */
	uint64_t spill[5];
	void *c_rsp;	/* C's stack pointer while translated code runs */
	void *ret_rsp;	/* return stack's pointer while C runs */
	uint16_t flags; /* status flags: seto in the low byte, lahf in the high one */
	uint8_t fpu_live; /* enum dbt_fpu of dbt/run.h: which of the host's registers hold the guest's */
	uint8_t key;	  /* enum dbt_key; 0: this mode is the interpreter's */
	uint32_t exit;
	void *link;
	struct cpu *self;
};

enum { CPU_SHARE = 5, CPU_STREAMS = 8, CPU_STREAM_SETS = 8 };

/* A page that a loop of translated code touches: linear address, and what to add for the host address (dbt/loops.c). */
struct cpu_stream {
	uint64_t tag, delta;
};

struct cpu {
	struct cpu_hot hot;
	struct cpu_state st;

	uint64_t share[CPU_SHARE]; /* translated code: host addresses of spans that have been checked */
	uint64_t stream_owner
		[CPU_STREAM_SETS]; /* number of the block that a set is used by; 0: nobody */
	struct cpu_stream stream[CPU_STREAM_SETS][CPU_STREAMS];

	/* --- hot fields of the interpreter --- */
	const struct insn *cur; /* instruction being executed */
	const struct insn *end; /* end of the block being executed; NULL = leave after this one */
	uint8_t seg_ok
		[CPU_NR_SEGS]; /* SEG_OK_*: flat segments that need no limit check; not in 64-bit mode */
	uint8_t mode;	       /* enum cpu_mode of CS */
	bool protected_mode; /* CR0.PE and not V86 */
	bool long_mode;	     /* EFER.LMA */
	uint32_t nr_pauses;  /* PAUSEs executed */

	struct cpu_group *grp;
	unsigned int index;
	const struct cpu_engine *engine;
	void *engine_data;	    /* dbt's or kvm's */
	struct block_cache *blocks; /* the interpreter's */
	struct interp_sys *sys;	    /* interpreter: TLB, event delivery (interp/vcpu_sys.h) */
	struct cpu_stats stats;
	struct cpu_debug debug;

	uint64_t tramp[2];     /* dbt: registers kept by the trampolines */
	_Atomic uint8_t place; /* enum cpu_place; any may read */

	jmp_buf fault_jmp; /* target of cpu_raise() while the engine runs */

	pthread_mutex_t apic_lock; /* guards st.apic and the flags of st.ev that others set */
	_Atomic uint32_t sleeping; /* any: 1 while the vCPU's thread waits in cpu_sleep() */
	_Atomic int32_t kvm_tid;   /* any: the vCPU's thread while it may be in KVM_RUN; else 0 */
	uint64_t wait_awake_ns; /* at the next sleep: so long it is waited for without sleeping */
	struct timerq_timer apic_timer;
	struct pv_cpu pv;
};

_Static_assert(offsetof(struct cpu, st) == 128, "one-byte displacements reach both");

struct cpu_group {
	unsigned int nr;
	struct cpu **cpu;
	struct physmem *mem;
	struct timerq *timers;
	struct clock *clock;
	const struct cpu_machine_ops *ops;
	void *arg;
	struct cpu_cpuid cpuid; /* what the guest is told, and what #UD is raised for */
	uint64_t tsc_khz;
	uint64_t start_ns;	   /* host clock when guest time was 0 */
	uint64_t start_tsc;	   /* host TSC at that moment */
	pthread_rwlock_t msg_lock; /* who sends interrupt messages reads; for apic_away */
	_Atomic bool
		apic_away; /* local APICs are the engine's own, st.apic is a copy; no vCPU runs when it changes */
	enum cpu_apic_place apic_place;
	bool trace;
	uint64_t code_cache_bytes;		   /* dbt: 4 MiB to 2 GiB */
	bool count_blocks, perf_map;		   /* dbt, as in cpu_group_config */
	_Atomic(const struct cpu_engine *) engine; /* of all vCPUs */
	struct cpu_stats stats; /* of events that are no single vCPU's: written under the dbt lock */
	struct exclusive *exclusive; /* stop-the-world for page-crossing locked accesses */
	struct code_map *code;	     /* which guest pages have been decoded (interp/block.h) */
	struct dbt *dbt;	     /* translation engine: its code cache (dbt/run.h) */
	struct kvm_vm *kvm;	     /* the host's virtual machine (kvm/kvm_priv.h) */
	struct cpu_hold hold;
	/* pieces of a page of which something was decoded were written (interp/code.c); NULL: nobody asks */
	void (*code_gone)(struct cpu_group *grp, const uint8_t *page, uint64_t pieces);
};

/* cpu_at - this vCPU's thread goes on elsewhere. Thread: the vCPU's own. */
static inline void cpu_at(struct cpu *c, enum cpu_place place)
{
	atomic_store_explicit(&c->place, (uint8_t)place, memory_order_relaxed);
}

/* Fetches a vCPU's thread out of KVM_RUN. Ignored by default, so that a late one harms nobody. */
enum { CPU_KICK_SIGNAL = SIGURG };

/*
 * cpu_wake - set pending bits (enum cpu_pending), and wake the vCPU when it sleeps or is in the kernel.
 *
 * Takes no lock. Thread: any; async-signal-safe.
 */
void cpu_wake(struct cpu *c, uint32_t pending_bits);

/*
 * cpu_sleep - wait until a pending bit is set; returns at once when one is.
 *
 * Whoever waits clears CPU_PEND_INTR and CPU_PEND_EVENT first and looks for events second, so nothing
 * that arrives in between is missed. Thread: the vCPU's own.
 */
void cpu_sleep(struct cpu *c);

/* cpu_reset - power-on state (@is_init: INIT, which keeps the FPU, MSRs and the APIC id). Thread: the
 * vCPU's own, or any while it does not run. */
void cpu_reset(struct cpu *c, bool is_init);

/* cpu_group_tsc - the TSC of a vCPU whose guest has not moved it. Thread: any. */
uint64_t cpu_group_tsc(const struct cpu_group *grp);

/* cpu_read_tsc - the guest's TSC now, with TSC_OFFSET and TSC_ADJUST applied. */
uint64_t cpu_read_tsc(const struct cpu *c);

#endif
