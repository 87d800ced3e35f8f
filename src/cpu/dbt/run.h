/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_RUN_H
#define CPU_DBT_RUN_H

#include "cpu/dbt/blocks.h"
#include "cpu/dbt/decode.h"
#include "cpu/dbt/inspect.h"

/*
 * Between C and translated code: entering, leaving, the slow path of memory accesses, the return stack and the
 * jump tables.
 */

/* cpu->hot.fpu_live: what the host's registers hold of the guest's. X87 never without VEC. */
enum dbt_fpu {
	DBT_FPU_VEC = 1, /* vector registers and MXCSR */
	DBT_FPU_X87 = 2, /* x87 and MMX registers, control, status, tags */
};

/* Why translated code came back; low 4 bits of the exit word, which comes in r10d to tramp.exit. */
enum dbt_exit {
	DBT_EXIT_NEXT, /* go on at the instruction named (or at st.rip with DBT_AT_RIP): look it up */
	DBT_EXIT_LINK,	 /* the same, and hot.link (struct tlink *) wants to lead there */
	DBT_EXIT_INTERP, /* the interpreter executes the instruction named; then go on */
	DBT_EXIT_POLL,	 /* hot.pending or hot.due is set; the instruction named has not begun */
	DBT_EXIT_STALE, /* the block was dead; hot.pbase is right, the offset comes in the exit word */
	DBT_EXIT_MISS, /* an indirect branch, st.rip is its target, not found; hot.exit names the branch, or is 0 */
};

/*
 * The exit word, and the info word of a slow memory access:
 *	bits 0-3   enum dbt_exit (exit); log2 of the size, 0 to 5 (access)
 *	bits 4-15  offset of the guest instruction in its page (hot.pbase + offset = linear address)
 *	bit 16     status flags are in hot.flags (else they are dead, st.rflags keeps old ones)
 *	bit 17     access: is a write (a read-modify-write too)
 *	           handler: the next instruction is executed right behind it, without a look at hot.pending in between
 *	bit 18     access: relative to the stack segment (#SS)
 *	           handler: the block ends with it; it goes on wherever st.rip then is
 *	bit 19     exit: st.rip is already right (32-bit code: it is zero-extended); offset means nothing
 *	bit 20     access: may refill the stack entry
 *	bit 21     access: misaligned is #GP
 *	bits 21-31 exit: offset beyond the page, as a signed count of pages added to hot.pbase first
 */
#define DBT_FLAGS_MEM (1u << 16)
#define DBT_WRITE     (1u << 17)
#define DBT_MORE      (1u << 17)
#define DBT_ENDS      (1u << 18)
#define DBT_SS	      (1u << 18)
#define DBT_AT_RIP    (1u << 19)
#define DBT_STACK     (1u << 20)
#define DBT_ALIGNED   (1u << 21)
#define SPAN_WORD(at, span, write)                                                                 \
	((uint32_t)(at) | (uint32_t)(span) << 16 | ((write) ? 1u << 30 : 0))
#define DBT_WORD(kind, off) ((uint32_t)(kind) | (uint32_t)(off) << 4)

/* One entry of a jump table. lin: linear address; jumps_none(): empty. */
struct jump_slot {
	uint64_t lin;
	const uint8_t *code; /* M-entry */
};
enum { JUMPS_BITS = 11, NR_JUMPS = 1 << JUMPS_BITS };
/* The lin of an empty slot @k: another slot's, so whatever address a guest jumps to, it does not match. */
static inline uint64_t jumps_none(unsigned int k)
{
	return ~(uint64_t)k << 3;
}
/* index = lin >> 3 & (NR_JUMPS - 1); in code the byte offset: lea (r9,r9), and $0x7ff0 */

/* Addresses of the trampolines in the code memory; made with it. Registers at entry as in translated code. */
struct dbt_tramp {
	/* enter(c, code): C calls it; returns the exit word. Loads registers from c->st, rsp from hot.ret_rsp. */
	uint32_t (*enter)(struct cpu *c, const uint8_t *code);
	const uint8_t *exit; /* jmp here with r10d = exit word: back to C */
	/* jmp here with r10 = executable address of a struct tlink: back to C with its exit word; link_r9: with r9 =
	 * linear address of the target, which becomes st.rip */
	const uint8_t *link, *link_r9;
	/* call here with r9 = linear address, r10d = info word. Returns to the caller (which retries the check)
	 * with all guest registers as they were, r9 = the linear address, r10 and host flags spoiled; or does not
	 * return. */
	const uint8_t *mem_slow;
	/* call here with r10 = struct insn (in tblock.handlers), r9d = exit word of this instruction: full call of an
	 * interpreter handler with complete st. Returns when the block can go on: status flags then in hot.flags. */
	const uint8_t *handler;
	/* jmp here with r9 = linear address of the target, hot.flags valid or dead (flags always in memory): poll,
	 * jump table, or exit. Sets hot.pbase. A miss keeps hot.exit (the branch's own exit word, for #GP). */
	const uint8_t *indirect;
	/* jmp here from a RET that did not match: r9 = target. Empties the return stack, then as indirect. */
	const uint8_t *ret_miss;
	/* call here with r9 = linear address of a stack access that missed hot.stk_tag, r10d = info word: looks into the
	 * TLB's w entry, refills hot.stk_*; else as mem_slow. Contract as mem_slow. */
	const uint8_t *stk_slow;
	/* call here with r9 = linear address of a span that several accesses share, r10d = info word of the first of them,
	 * hot.spill[1] = SPAN_WORD. Returns as mem_slow does, with ZF to try again; without: each access must be checked
	 * by itself. */
	const uint8_t *span_slow;
	/* call here when a bit of fpu_live is missing: loads vector state (DBT_FPU_VEC), or vector and x87 state
	 * (both bits). Spoils r9, r10, host flags. */
	const uint8_t *fpu_load, *fpu_load_x87;
	/* call here with r10 = void (*)(struct cpu *), compiled for general registers only, that does not need or change
	 * the guest's registers and does not raise. Spoils r9, r10, host flags. */
	const uint8_t *call_c;
};

/* What a call pushes. */
struct ret_entry {
	const uint8_t *code;
	uint64_t lin; /* what the guest's return address must be */
};

/* An empty stack points RET_STACK_TOP behind its lowest byte, at entries for an address at which no instruction ends.
 * It is canonical, so that a return there can be looked up like any other. */
#define RET_LIN_EMPTY UINT64_MAX
enum { RET_STACK_SIZE = 256 << 10, RET_STACK_TOP = RET_STACK_SIZE - 64 };
enum { RET_USER, RET_SUPER, RET_BOTH };

/* The jump table of one address space and privilege (struct tlb_set.jump of the user's and the supervisor's set). */
struct jumps {
	struct jump_slot slot[NR_JUMPS];
	uint16_t used[NR_JUMPS]; /* slots that are not empty */
	unsigned int nr_used;
	uint64_t pages[4]; /* by hash: which pages the slots may be of */
	uint8_t key;	   /* the translations are of this kind */
};

/* One vCPU's own part. */
struct dbt_cpu {
	struct cpu *c;
	struct dbt *dbt;
	uint8_t *ret_stack[2]; /* user, supervisor: lowest usable byte; a guard page below each */
	void *ret_saved[2];    /* hot.ret_rsp of the one that is not current */
	uint8_t ret_key[2];    /* hot.key of what is on them */
	unsigned int ret_current;
	const void *ctx;     /* struct tlb_ctx of which the return stacks are */
	bool super_low;	     /* supervisor code has run in the lower half of the address space */
	struct jumps *jumps; /* where hot.jump points */
	_Atomic uint64_t
		epoch;	/* last one passed; UINT64_MAX while outside of cpu_run(), or in events.c */
	uint64_t clean; /* the epoch in which the tables were last emptied */
	bool starved;	/* no room for a translation: somebody has yet to leave evicted code */
};

/* The group's: hangs on cpu_group.dbt. */
struct dbt {
	struct cpu_group *grp;
	unsigned int users; /* vCPUs that have been set up */
	struct dtable *table;
	struct dbt_tramp tramp;
	struct blocks *blocks;	 /* blocks.c's own */
	_Atomic uint64_t epoch;	 /* raised whenever code memory is going to be used again */
	struct tctx *tctx;	 /* the translator's working memory; used under the lock */
	uint32_t stream_ids;	 /* blocks that use streams are numbered */
	_Atomic bool count;	 /* new blocks count their executions: for `atoll trace` */
	struct tally_sum buried; /* what dead blocks had counted; under the lock */
};

/* dbt_cpu - what the engine keeps of a vCPU. */
static inline struct dbt_cpu *dbt_cpu(const struct cpu *c)
{
	return c->engine_data;
}

/* dbt_key - what decides how code translates now; 0: this mode is the interpreter's (16-bit, segments that are
 * not flat, alignment checks in force). Derived after every mode change; kept in hot.key. */
uint8_t dbt_key(const struct cpu *c);

/* translate - make a block of variant @key for the code at @host (@flags: its page's flags byte, NULL for ROM), whose linear
 * address is st.rip's. Locked. NULL: execute one instruction by the interpreter, or starved. */
struct tblock *translate(struct cpu *c, const uint8_t *host, _Atomic uint8_t *flags, uint8_t key);

/* translate_free - free the translator's working memory. */
void translate_free(struct dbt *d);

/* tramp_make - emit the trampolines. */
struct emit;
void tramp_make(struct emit *e, struct dbt_tramp *ret);

/* --- what must be forgotten when (retstack.c) ------------------------------------------------------- */

/* ret_stack_init, ret_stack_done - make and free a vCPU's two return stacks. Returns 0 or -ENOMEM. */
_nodiscard_ int ret_stack_init(struct dbt_cpu *dc, struct err *err);
void ret_stack_done(struct dbt_cpu *dc);

/* ret_stack_reset - forget expected returns. @which: RET_USER, RET_SUPER, RET_BOTH. */
void ret_stack_reset(struct cpu *c, unsigned int which);

/* jumps_add - remember where code for @lin is, in the table in force. jumps_remove - it is not there any more.
 * jumps_drop_all - empty the tables of all address spaces. */
void jumps_add(struct cpu *c, uint64_t lin, const uint8_t *code);
void jumps_remove(struct cpu *c, uint64_t lin);
void jumps_drop_all(struct cpu *c);

/* jumps_slot - where the entry of an address is, if there is one. */
static inline const struct jump_slot *jumps_slot(const struct jumps *j, uint64_t lin)
{
	return &j->slot[lin >> 3 & (NR_JUMPS - 1)];
}

/* dbt_tlb_selected, dbt_exec_gone, dbt_set_freed - for the hooks of struct interp_sys of these names. */
struct tlb_set;
void dbt_tlb_selected(struct cpu *c);
void dbt_exec_gone(struct cpu *c, struct tlb_set *set, uint64_t lin, bool all);
void dbt_set_freed(struct tlb_set *set);

/* --- C behind the trampolines ---------------------------------------------------------------------- */

/* dbt_slow_mem - serve a miss; compiled, with all that it calls, for general registers only. Returns 0 to try again, 1
 * to let the interpreter execute the instruction; or raises. */
uint32_t dbt_slow_mem(struct cpu *c, uint64_t lin, uint32_t info);
uint32_t dbt_slow_span(struct cpu *c, uint64_t lin, uint32_t info);

/* dbt_handler - execute an instruction by the interpreter's handler. @word: exit word that names the instruction. Returns
 * 0 to go on behind it, or an exit word; or raises. */
uint32_t dbt_handler(struct cpu *c, const struct insn *i, uint32_t word);

/*
 * dbt_fpu_save - put what is live of vector and x87 state into st.fpu and clear fpu_live; gives MXCSR and x87 the
 * values that C code expects. Does nothing when fpu_live is 0.
 *
 * dbt_fpu_load, dbt_fpu_load_x87 - the reverse: vector state; vector and x87 state. All three are
 * general-regs-only besides what they are about. The exception pointers of the x87 unit are the guest's in
 * st.fpu: the host's own addresses never get there. Without a pending exception they stay as
 * they were loaded, whatever has run since.
 */
void dbt_fpu_save(struct cpu *c);
/* dbt_fpu_pending - is an unmasked x87 exception pending in the host's registers? Those come before faults of an
 * instruction's memory operand. */
bool dbt_fpu_pending(const struct cpu *c);
void dbt_fpu_load(struct cpu *c);
void dbt_fpu_load_x87(struct cpu *c);

/* dbt_flags_sync - put hot.flags into st.rflags. dbt_flags_take - the reverse. */
static inline void dbt_flags_sync(struct cpu *c)
{
	uint16_t f = c->hot.flags;

	c->st.rflags = (c->st.rflags & ~(uint64_t)RFLAGS_STATUS) |
		       ((f >> 8) & (RFLAGS_STATUS & 0xff)) | ((f & 1u) ? RFLAGS_OF : 0);
}

/* dbt_stac, dbt_clac - STAC and CLAC at CPL 0. By way of tramp.call_c. */
void dbt_stac(struct cpu *c);
void dbt_clac(struct cpu *c);

/* dbt_place - st.rip and the status flags of st.rflags as an exit word says. */
static inline void dbt_place(struct cpu *c, uint32_t word)
{
	if (!(word & DBT_AT_RIP)) {
		int64_t pages = (int32_t)word >> 21;
		uint64_t lin = c->hot.pbase + (uint64_t)(pages * 4096) + (word >> 4 & 0xfff);

		c->st.rip = c->mode == CPU_MODE_64 ? lin : (uint32_t)lin;
	}
	if (word & DBT_FLAGS_MEM)
		dbt_flags_sync(c);
}

/* dbt_flags_take - status flags go from rflags to where translated code has them (SETO, LAHF). */
static inline void dbt_flags_take(struct cpu *c)
{
	c->hot.flags = (uint16_t)((c->st.rflags & 0xff) << 8 | (c->st.rflags & RFLAGS_OF ? 1 : 0));
}

#endif
