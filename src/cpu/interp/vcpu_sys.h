/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_VCPU_SYS_H
#define CPU_INTERP_VCPU_SYS_H

#include "cpu/interp/events.h"
#include "cpu/interp/vcpu.h"
#include "cpu/mmu.h"

/*
 * Inside the privileged half of the interpreter: the software TLB, event delivery, segments.
 */

/* --- software TLB (tlb.c, mem.c) ---------------------------------------------------------------- */

enum { TLB_NR_CTX = 8 };

/* The translations of one PCID. */
struct tlb_ctx {
	struct tlb_set set[MMU_NR_PRIV];
	uint64_t last_use;
	uint16_t pcid;
};

/* Pages that other vCPUs want this one to write no more without looking at their flags. */
enum { TLB_MAX_UNWRITE = 32 };
struct tlb_unwrite {
	unsigned int nr;
	bool all; /* more than fit */
	const uint8_t *host[TLB_MAX_UNWRITE];
};

/* How the event being delivered counts when another fault comes: SDM volume 3, table 6-4. */
enum exc_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE, EXC_DOUBLE };

struct interp_sys {
	struct tlb_ctx *ctx;		 /* current */
	struct tlb_ctx *all[TLB_NR_CTX]; /* NULL: not yet needed */
	uint64_t ctx_clock;
	struct tlb_entry *tlb_fetch;	     /* table for instruction fetches */
	const struct physmem_region *region; /* where the last miss was; NULL: none yet */

	/*
	 * Write tags and page flags (tlb.c, code.c), for engines that do not look at the flags after a store. For
	 * each page of RAM the slots that may hold write tags of it; written by this vCPU, read by others under
	 * the code map's lock, under which the array is also replaced.
	 */
	_Atomic uint32_t *wrote;
	uintptr_t wrote_base; /* host address of the first page */
	uint64_t wrote_pages;
	struct tlb_unwrite unwrite; /* under the code map's lock */

	/* The translation engine's; each may be NULL. On the vCPU's thread. */
	/* after tlb_select(): another table, privilege or address space may be current */
	void (*tlb_selected)(struct cpu *c);
	/* Translations of executed pages were taken away (not by mere replacement): in @set, NULL for all sets;
	 * @all, or the page at @lin. */
	void (*exec_gone)(struct cpu *c, struct tlb_set *set, uint64_t lin, bool all);
	/* the set goes away: free set->jump */
	void (*set_freed)(struct tlb_set *set);

	uint8_t priv, priv_sys; /* enum mmu_priv: of data accesses; of implicit ones */
	bool align_check;	/* CR0.AM, AC and CPL 3: hot.tlb is the empty table */
	bool watch;		/* data breakpoints (guest's or debugger's) exist */
	bool in_exclusive;
	uint32_t code_breaks; /* guest's enabled instruction breakpoints, bit n for DRn */
	uint32_t data_breaks; /* data breakpoints, bit n for DRn */
	uint32_t io_breaks;

	/* Delivery. */
	bool delivering;       /* a hardware event or exception is being delivered */
	uint8_t deliver_class; /* enum exc_class of it */
	bool ext;	       /* EXT bit of error codes raised now */
	uint64_t trap_dr6;     /* #DB conditions met by the present instruction */
	bool debug_hit;	       /* debugger's watchpoint or step: leave after this one */
	bool debug_skip;       /* the debugger has seen the breakpoint at debug_rip */
	uint64_t debug_rip;
	bool step_tf, step_rf, rf_loaded;
	bool stepping;	   /* between event_step_begin() and event_step_end() */
	bool intr_waiting; /* an interrupt or NMI waits for IF, a shadow or IRET */
	bool nmi_waiting;
};

/* tlb_select - choose tables after CPL, CR0.AM, CR4.SMAP or RFLAGS.AC changed. */
void tlb_select(struct cpu *c);
/* tlb_load_cr3 - the address space is now @pcid; @keep: what is cached for it stays valid. */
void tlb_load_cr3(struct cpu *c, unsigned int pcid, bool keep);
/* tlb_flush_pcid - forget non-global translations of one PCID, or (@has_lin) of one address of it. */
void tlb_flush_pcid(struct cpu *c, unsigned int pcid, bool has_lin, uint64_t lin);
/* tlb_flush_nonglobal_all - forget non-global translations of every PCID. */
void tlb_flush_nonglobal_all(struct cpu *c);
/* tlb_insert - remember a translation that allowed @access. @may_write: RAM, not ROM; @may_data: no watchpoint. */
void tlb_insert(struct cpu *c, enum mmu_priv priv, uint64_t lin, enum mmu_access access,
		const struct mmu_page *page, uint8_t *host, _Atomic uint8_t *flags, bool may_write,
		bool may_data);
/*
 * tlb_held_write - the slot holds the page at @lin for reading: is it writable, and only its flags keep it from
 * having a write tag?
 *
 * Gives it the tag when the flags are gone. Thread: the vCPU's own.
 */
bool tlb_held_write(struct cpu *c, struct tlb_set *t, uint64_t lin);
/*
 * tlb_unwrite, tlb_unwrite_all - take the write tags of the page at @host away, or all.
 *
 * Later writes look at the flags. Thread: the vCPU's own, under the code map's lock.
 */
void tlb_unwrite(struct cpu *c, const uint8_t *host);
void tlb_unwrite_all(struct cpu *c);
/* tlb_wrote - may this vCPU have write tags of the page at @host? Thread: any, under the code map's lock. */
bool tlb_wrote(const struct cpu *c, const uint8_t *host);
_nodiscard_ int tlb_init(struct cpu *c);
void tlb_done(struct cpu *c);

/* mem_ld, mem_st - by linear address with a stated privilege; @how as in enum mem_how. */
uint64_t mem_ld(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how,
		enum mmu_priv priv);
void mem_st(struct cpu *c, uint64_t lin, unsigned int size, uint64_t value, unsigned int how,
	    enum mmu_priv priv);
/* mem_io_ld, mem_io_st - by guest-physical address, of what is not RAM: the local APIC and devices, in pieces that stay in
 * aligned 8-byte words. @size: 1 to 8. */
uint64_t mem_io_ld(struct cpu *c, uint64_t gpa, unsigned int size);
void mem_io_st(struct cpu *c, uint64_t gpa, unsigned int size, uint64_t value);
/* mem_check - raise what accessing the range with a privilege would raise. @how: MEM_RMW = write. */
void mem_check(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how, enum mmu_priv priv);
/* mem_or8_sys - atomically set bits of a byte of a descriptor table. */
void mem_or8_sys(struct cpu *c, uint64_t lin, uint8_t set);

/* Implicit supervisor accesses: descriptor tables, IDT, TSS. */
static inline uint64_t sys_ld(struct cpu *c, uint64_t lin, unsigned int size)
{
	return mem_ld(c, lin, size, MEM_SYS, c->sys->priv_sys);
}
static inline void sys_st(struct cpu *c, uint64_t lin, unsigned int size, uint64_t v)
{
	mem_st(c, lin, size, v, MEM_SYS, c->sys->priv_sys);
}

/* watch_update - after DR7, DR0-3 or c->debug changed. */
void watch_update(struct cpu *c);
/* watch_access - an access happened: record breakpoints that match. */
void watch_access(struct cpu *c, uint64_t lin, unsigned int len, bool is_write);
/* watch_covers - may a breakpoint match in this page? Then the TLB must not have it. */
bool watch_covers(const struct cpu *c, uint64_t lin);
/* watch_io - port access: record I/O breakpoints. */
void watch_io(struct cpu *c, uint16_t port, unsigned int size);
/* watch_exec - DR6 bits of guest instruction breakpoints at a linear address. */
uint64_t watch_exec(const struct cpu *c, uint64_t lin);

/* --- descriptors and segments (seg.c) ------------------------------------------------------------- */

enum sys_type { /* types of system descriptors: SDM volume 3, table 3-2 */
		SYS_TSS16 = 1,
		SYS_LDT = 2,
		SYS_TSS16_BUSY = 3,
		SYS_CALL16 = 4,
		SYS_TASK_GATE = 5,
		SYS_INT16 = 6,
		SYS_TRAP16 = 7,
		SYS_TSS = 9,
		SYS_TSS_BUSY = 11,
		SYS_CALL = 12,
		SYS_INT = 14,
		SYS_TRAP = 15,
};

struct desc {
	uint64_t lo, hi; /* hi: second half of 16-byte descriptors, when read */
	uint64_t lin;	 /* where it is */
	uint16_t attr;	 /* enum cpu_seg_attr */
};

/* desc_* - what a descriptor's attributes say. */
static inline unsigned int desc_dpl(const struct desc *d)
{
	return (d->attr & SEG_DPL) >> SEG_DPL_SHIFT;
}
/* as above */
static inline bool desc_is_code(const struct desc *d)
{
	return (d->attr & (SEG_S | SEG_TYPE_CODE)) == (SEG_S | SEG_TYPE_CODE);
}
/* as above */
static inline bool desc_is_conforming(const struct desc *d)
{
	return d->attr & SEG_TYPE_DOWN;
}
/* as above */
static inline bool desc_is_writable_data(const struct desc *d)
{
	return (d->attr & (SEG_S | SEG_TYPE_CODE | SEG_TYPE_WR)) == (SEG_S | SEG_TYPE_WR);
}

/* desc_read - the descriptor that a non-null selector names; false when it lies beyond its table. */
_nodiscard_ bool desc_read(struct cpu *c, uint16_t sel, struct desc *ret);
/* desc_read_sys - the same for system descriptors: 16 bytes in long mode. Raises #GP(@sel) when it is
 * beyond the table or its upper half is not what it must be. */
void desc_read_sys(struct cpu *c, uint16_t sel, struct desc *ret);
/* desc_to_seg - what loading the descriptor puts into the hidden part of a segment register. */
struct cpu_seg desc_to_seg(const struct desc *d, uint16_t sel);
/* desc_set_accessed - set the accessed bit in memory and in @d, when it is not. */
void desc_set_accessed(struct cpu *c, struct desc *d);
/* seg_null - a register loaded with a null selector. */
struct cpu_seg seg_null(uint16_t sel, unsigned int dpl);
/* seg_load - MOV, POP, LDS...: load a data or stack segment register, with all checks and faults. */
void seg_load(struct cpu *c, unsigned int reg, uint16_t sel);
/* seg_load_real - real and V86 mode: base = selector * 16. */
void seg_load_real(struct cpu *c, unsigned int reg, uint16_t sel);
/* seg_drop_inner - returning outward: data segments that @new_cpl may not use become null. */
void seg_drop_inner(struct cpu *c, unsigned int new_cpl);

/* --- stack frames (stack.c) ------------------------------------------------------------------------ */

/* A stack to push a frame on or to take one from. */
struct stk {
	struct cpu_seg ss;
	uint64_t sp, mask; /* mask: 0xffff, 0xffffffff or all ones */
	bool is_64;	   /* flat, canonical check instead of limits */
	bool is_real;	   /* real or V86 mode: only the limit counts */
	enum mmu_priv priv;
	uint16_t err_sel; /* selector in the error code of #SS: 0, or that of a new stack */
};
/* stk_cur - the present stack. */
struct stk stk_cur(struct cpu *c);
/* stk_push - push @n values of @size bytes, val[0] first. All are checked before any is written. */
void stk_push(struct cpu *c, struct stk *s, const uint64_t *val, unsigned int n, unsigned int size);
/* stk_probe - raise what pushing @n values of @size bytes would raise. */
void stk_probe(struct cpu *c, const struct stk *s, unsigned int n, unsigned int size);
/* stk_priv - how explicit accesses of privilege @level reach memory. */
enum mmu_priv stk_priv(const struct cpu *c, unsigned int level);
/* stk_pop - read @n values from the top; moves s->sp only. The last one is read first, as AMD's processors do (Zen 4,
 * measured with RETF and IRET): CR2 tells. */
void stk_pop(struct cpu *c, struct stk *s, uint64_t *val, unsigned int n, unsigned int size);
/* stk_sp_set - write s->sp back to rsp as its width says. */
void stk_sp_set(struct cpu *c, const struct stk *s);
/* tss_stack - SS:SP for privilege level @level from the TSS (not long mode), checked. Raises #TS, #SS. */
void tss_stack(struct cpu *c, unsigned int level, struct stk *ret);
/* tss_stack64 - RSPn (@ist 0) or ISTn from a 64-bit TSS. */
uint64_t tss_stack64(struct cpu *c, unsigned int level, unsigned int ist);

/* cr_bind_mov - MOV to and from control and debug registers (cr.c). */
_nodiscard_ int cr_bind_mov(const struct dec *d, struct insn *i);

/* --- far transfers (far.c, iret.c) ------------------------------------------------------------------ */

/* Where a far return goes: what far_return_commit() puts into the registers. */
struct far_return {
	struct cpu_seg cs, ss;	 /* ss: when has_ss */
	uint64_t rip, rsp, mask; /* mask: width of the present stack pointer, without has_ss */
	bool has_ss;
};

/* far_return_cs - read and check a popped code selector; far_return_ss - a popped stack selector. */
void far_return_cs(struct cpu *c, uint16_t sel, struct desc *ret);
struct cpu_seg far_return_ss(struct cpu *c, uint16_t sel, unsigned int level, bool to_64);
void far_return_commit(struct cpu *c, const struct far_return *f);
/* cs_check_target - #GP(0) when @rip is not inside the code segment (64-bit: not canonical). */
void cs_check_target(struct cpu *c, const struct cpu_seg *cs, uint64_t rip);

/* --- task switches (task.c) ------------------------------------------------------------------------ */

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_GATE };
/*
 * task_switch - hardware task switch to the TSS that @sel names.
 *
 * @reason: TASK_GATE is an interrupt or exception through a task gate; @has_error: push @error on the
 * new stack. Faults before the new state is loaded are the old task's, later ones the new one's.
 */
void task_switch(struct cpu *c, uint16_t sel, enum task_reason reason, bool has_error,
		 uint32_t error);

/* --- events (events.c, exc.c, deliver.c) ------------------------------------------------------------ */

enum event_kind { EVENT_EXTERNAL, EVENT_EXCEPTION, EVENT_SOFT, EVENT_SOFT_EXC };
/* exc_class_of - how an exception counts for double faults. */
enum exc_class exc_class_of(unsigned int vector);
/* deliver - enter the handler of a vector through IVT or IDT; the return address is st.rip. */
void deliver(struct cpu *c, unsigned int vector, enum event_kind kind, bool has_error,
	     uint32_t error);
/* deliver_v86_redirected - INT n in V86 mode sent to the program's own handler (VME). */
void deliver_v86_redirected(struct cpu *c, unsigned int vector);
/* io_check - raise #GP(0) when IOPL and the TSS's bitmap do not allow the ports. */
void io_check(struct cpu *c, uint16_t port, unsigned int size);

#endif
