/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_DBT_TRANSLATE_H
#define CPU_DBT_TRANSLATE_H

#include "cpu/dbt/emit.h"
#include "cpu/dbt/run.h"
#include "cpu/interp/block.h"

/*
 * Inside the translator. translate.c decodes up to the end of the block, flags.c finds which status flags are
 * live where, and the emitters write code instruction by instruction. A block has one entry and several exits: it
 * goes on behind conditional branches, and behind other jumps when a branch of its own leads there; jumps between
 * its instructions stay inside. Code that is rarely run
 * (slow paths, exits) is collected as struct tcold and written behind the hot code.
 */
enum { TB_MAX_INSNS = 96, TB_MAX_COLD = 1024, TB_MAX_LINKS = TB_MAX_INSNS + 4 };

struct tctx;

/* Where the guest's status flags are while code is emitted. */
enum tflags {
	TF_MEM,	 /* in hot.flags, or dead */
	TF_HOST, /* in the host's flags, live */
};

/* A piece of cold code to be written later. */
struct tcold {
	void (*emit)(struct tctx *t, struct tcold *x);
	uint8_t *site,
		*site2; /* writable addresses of rel32 that lead to the cold code; NULL: none */
	const uint8_t *again; /* executable address to go back to */
	const uint8_t *hit;   /* a stream: behind its check */
	uint32_t word;	      /* info or exit word */
	uint8_t a;
	uint16_t size;
	bool is_span, ea_in_s1;
	uint32_t span; /* SPAN_WORD */
	bool mapped;   /* tctx.mapped there */
	uint16_t cur;  /* the instruction it belongs to */
	int32_t target; /* branches: offset of the target from the page's start, perhaps outside of it */
	struct tlink *link;
};

/* A memory operand in host registers: [base + index + disp]. */
struct hostmem {
	uint8_t base, index; /* index DREG_NONE: none */
	int32_t disp;
};

/* An access that shares its check with others (share.c). */
struct tshare {
	int8_t slot; /* where the span's host address is kept; -1: not shared */
	bool first;  /* this one does the check */
	bool write;  /* of the whole span */
	uint16_t span;
	int32_t at;   /* offset in the span */
	int32_t from; /* where the span (or the access alone) begins: the same for all its accesses */
	int8_t stream; /* index in tctx.stream; -1: none (loops.c) */
};

/* Loops (loops.c): accesses by the same registers; a guest register that has another place in the block. */
struct tstream {
	uint8_t base, index, scale;
	bool write;
	uint8_t host; /* register that holds the delta; DREG_NONE: it is in memory */
	int32_t disp; /* roughly; without registers: the address */
};
struct tmoved {
	uint8_t guest, host; /* guest DREG_NONE: the host register is only taken */
};
enum { TB_MAX_MOVED = 4 + CPU_STREAMS + 2 };
enum { SHARE_SLOTS = 3 + CPU_SHARE };

/* A jump inside the block to code that is not written yet. */
struct tfix {
	uint8_t *site; /* writable address of the rel32 */
	uint8_t insn;
};

/* One decoded instruction of the block. */
struct tinsn {
	struct dinsn d;	  /* cls DCLS_OTHER: the interpreter's handler executes it */
	struct insn insn; /* then this one */
	uint16_t off;	  /* in the page */
	uint8_t len;
	bool ends;		/* it does not go on to the next one */
	bool label;		/* another instruction of the block jumps here */
	bool loop;		/* one behind it does */
	const uint8_t *at;	/* a label: its code */
	uint8_t class;		/* enum insn_class; what decode() knows is innocuous */
	struct tshare share[2]; /* of the memory operand; of the implicit access to the stack */
	uint8_t live;		/* status flags live BEFORE it (enum dflags) */
	uint8_t live_taken;	/* a conditional branch: live where it leads */
};

struct tctx {
	struct emit e;
	struct cpu *c;
	struct dbt *d;
	struct tblock b; /* being made */
	bool is_64;

	struct tinsn insn[TB_MAX_INSNS +
			  1]; /* the last one: only `off` and `live`, where the block is cut */
	unsigned int nr, cur;
	uint8_t index[GUEST_PAGE_SIZE]; /* by offset in the page: number of the instruction, plus 1; may be old */
	struct tfix fix[TB_MAX_INSNS];
	unsigned int nr_fix;
	uint8_t map[16]; /* guest register -> host register, or DREG_NONE: it is in memory */
	bool mapped;   /* here the map is in force; else registers are in their canonical places */
	bool prepared; /* the block is a loop with streams or moved registers */
	struct tmoved moved[TB_MAX_MOVED];
	struct tstream stream[CPU_STREAMS];
	unsigned int nr_moved, nr_streams, stream_set;
	uint8_t *imm_site; /* where the constant of a MOV is, writable address; NULL: none (revive.c) */
	uint16_t imm_off; /* and in the guest's page */
	bool chases;	  /* a loop with accesses by registers that it loads */
	uint8_t tlb_reg,
		tmp_reg;   /* while mapped: hot.tlb, and scratch for these; DREG_NONE: none */
	bool again;	   /* an instruction has become the interpreter's: plan anew */
	bool crosses;	   /* the last instruction goes on into the next page (cross.c) */
	bool has_handlers; /* some instructions are the interpreter's */
	uint8_t flags;	   /* enum tflags, before what is emitted next */
	bool s2_busy;	   /* r10 holds something: moving flags must not use it */
	int8_t slot_in_s1; /* r9 is what this slot of shared checks holds; -1: it is something else */
	uint8_t fpu_ready; /* enum dbt_fpu: what this block has made sure of */

	struct tcold cold[TB_MAX_COLD];
	unsigned int nr_cold;
	struct tlink *links; /* in the code space, writable */
	unsigned int nr_links, max_links;
	struct tpc pcs[TB_MAX_INSNS * 2];

	/* The guest's page: pieces that have been announced and copied. */
	_Atomic uint8_t *page_flags;
	struct code_page *page_record;
	uint64_t have;
	uint8_t bytes[GUEST_PAGE_SIZE + 16];
	unsigned int end; /* bytes that may be decoded: a page, or a little of the next one too */
	const uint8_t *page2; /* crosses: host address of the next page, its record and generation */
	struct code_page *record2;
	uint32_t generation2;
	struct dec dec;
};

/*
 * Counting (tally.c); nothing is emitted when the block does not count.
 *
 * t_tally_make: put the decoded block's tally at @p (64-aligned, writable), returns its bytes. t_tally_entry: behind the
 * entry, where flags are in memory. t_tally_insn: the code of the current instruction begins. t_tally_end: the
 * hot code ends. t_tally_mem: the current instruction looks into the TLB.
 */
size_t t_tally_make(struct tctx *t, uint8_t *p);
void t_tally_entry(struct tctx *t);
void t_tally_insn(struct tctx *t);
void t_tally_end(struct tctx *t);
void t_tally_mem(struct tctx *t);

/* t_need - make bytes [off, off + n) of the page available in t->bytes; what is beyond the page is not. */
void t_need(struct tctx *t, unsigned int off, unsigned int n);

/* cross_begin - make the beginning of the next page available, when it is known where that is. cross_check - code that
 * makes sure that it is still the same; nothing when the block does not cross. */
bool cross_begin(struct tctx *t);
void cross_check(struct tctx *t);
/* cross_loop - when the instruction at @off goes on into the next page and is the branch that closes the loop that the
 * block is: make it available. cross_check_bytes - the part of the check that each round needs. */
bool cross_loop(struct tctx *t, unsigned int off);
void cross_check_bytes(struct tctx *t);
enum { CROSS_LINKS = 4 }; /* ways out that the checks of such a loop need */

/* t_decode - decode the instruction at @off; false: not one of decode()'s. */
bool t_decode(struct tctx *t, unsigned int off, struct dinsn *ret);

/* flags_find_live - fill insn[].live. flags_live_at - status flags that code at @off of the page may read. */
void flags_find_live(struct tctx *t);
unsigned int flags_live_at(struct tctx *t, int32_t off, unsigned int depth);

/* t_flags_spill - before code that spoils the host's flags: when live flags are in the host's flags, put them into
 * hot.flags. Spoils r10. t_flags_copy - the same, and the host's flags stay. */
void t_flags_spill(struct tctx *t);
void t_flags_copy(struct tctx *t);
/* t_flags_before - what the instruction reads or leaves alone must be in the host's flags. Spoils r10, unless s2_busy.
 * t_flags_after - it has written them. */
void t_flags_before(struct tctx *t, const struct dinsn *d);
void t_flags_after(struct tctx *t, const struct dinsn *d);

/* t_revive_imm - the current instruction has just been emitted: it may have a constant that can be exchanged. revive_note -
 * a block has been made. Locked. */
void t_revive_imm(struct tctx *t);
void revive_note(struct tctx *t, struct tblock *b);

/* t_cold - a new piece of cold code. Never NULL (the translation is given up when there are too many). */
struct tcold *t_cold(struct tctx *t, void (*emit)(struct tctx *t, struct tcold *x));
/* t_inside - number of the block's instruction at an offset of the page; -1: none. */
static inline int t_inside(const struct tctx *t, int32_t off)
{
	unsigned int n;

	if (off < 0 || off >= (int32_t)GUEST_PAGE_SIZE)
		return -1;
	n = t->index[off];
	return n && n <= t->nr && t->insn[n - 1].off == off ? (int)n - 1 : -1;
}

/* t_jump_inside - the same for a jump from instruction @from: it stays inside when it goes forward, or to the
 * block's beginning. (A loop inside is left to a block of its own, which can prepare for it.) */
static inline int t_jump_inside(const struct tctx *t, unsigned int from, int32_t off)
{
	int to = t_inside(t, off);

	return to > (int)from || to == 0 ? to : -1;
}

/* t_jcc_cold - emit jcc to a piece of cold code. */
void t_jcc_cold(struct tctx *t, unsigned int cc, struct tcold *x);
/* t_jcc_exit - emit jcc to an exit (enum dbt_exit) at the current instruction. */
void t_jcc_exit(struct tctx *t, unsigned int cc, unsigned int kind);

/*
 * t_mem - emit address computation and check of the current instruction's memory operand.
 *
 * Spills flags. @size bytes, @access (DROLE_*): all that can fault has been dealt with afterwards, and the operand is
 * at *@ret (r9, r10; r10 free after t_mem_merge()). One thing is left: an instruction whose operand must be aligned
 * (dinsn.mem_align) faults on the host as it does in the guest, so t_pc() comes before it.
 */
void t_mem(struct tctx *t, const struct dinsn *d, unsigned int size, unsigned int access,
	   struct hostmem *ret);
/* t_uses_s2 - does the operand need r10? */
static inline bool t_uses_s2(const struct hostmem *m)
{
	return m->base == H_S2 || m->index == H_S2;
}
/* t_mem_merge - make the operand [r9], so that r10 is free. Does not touch flags. */
void t_mem_merge(struct tctx *t, struct hostmem *m);
/* slot_in_s1: t_starts_with_s1 - does the instruction look for its memory operand before it uses r9 otherwise?
 * t_keeps_s1 - does r9 stay what the operand has made of it? */
bool t_starts_with_s1(const struct dinsn *d);
bool t_keeps_s1(const struct tctx *t, const struct dinsn *d);
/* t_ea - only the address, into host register @to (may be any but r10 when the index lives in memory). */
void t_ea(struct tctx *t, const struct dinsn *d, unsigned int to);
/* t_cmp_canonical - compare so that `ja` jumps unless r9 is canonical (of 48 bits). Spoils r10.
 * t_canonical - the same, and leave for the interpreter then. */
void t_cmp_canonical(struct tctx *t);
void t_canonical(struct tctx *t);
/* t_stack - the current instruction's implicit access [base + disp, + size) to the stack, @base a host register.
 * Spills flags, when there is something to check. Result as t_mem(). */
void t_stack(struct tctx *t, unsigned int base, int32_t disp, unsigned int size, bool write,
	     struct hostmem *ret);
/* t_mov_mem - mov between a host register and a checked operand; @op 0x8b load, 0x89 store; native width. */
void t_mov_mem(struct tctx *t, unsigned int op, unsigned int reg, const struct hostmem *m);
/* t_movi_mem - store a sign-extended constant. */
void t_movi_mem(struct tctx *t, uint32_t v, const struct hostmem *m);

/* t_tlb_slot - r9 = linear address: r10 = the entry (tlb_index()); r9 stays, flags are spoiled. */
void t_tlb_slot(struct tctx *t);
/* t_tlb_lookup - r9 = linear address: r10 = the entry, r9 ^= its tag (@tag: where in the entry); a result below
 * 4096 is a hit. */
void t_tlb_lookup(struct tctx *t, uint8_t tag);

/* share_plan - find accesses that can share a check; fills insn[].share. share_disp - where slot @slot is. */
void share_plan(struct tctx *t);
int32_t share_disp(int slot);

/*
 * t_reencode - emit the instruction with other registers.
 *
 * @reg, @rm, @vvvv: host numbers (for operands that are registers); @m: NULL or the host memory operand. Prefixes
 * (but segment and address size), opcode and immediate are the guest's.
 */
void t_reencode(struct tctx *t, const struct dinsn *d, unsigned int reg, unsigned int rm,
		unsigned int vvvv, const struct hostmem *m);

/* t_guest_reg - the host register that stands for guest register @n, or DREG_NONE when it lives in memory. */
static inline unsigned int t_guest_reg(const struct tctx *t, unsigned int n)
{
	return t->map[n];
}
/* t_in_memory - is it a general register, in the role of an operand, and lives in memory? */
static inline bool t_in_memory(const struct tctx *t, unsigned int role, unsigned int n)
{
	return (role & DROLE_RW) && !(role & ~(unsigned int)DROLE_RW) &&
	       t_guest_reg(t, n) == DREG_NONE;
}
/* t_reg_in - a host register that holds guest register @n: its own, or @scratch, loaded. */
unsigned int t_reg_in(struct tctx *t, unsigned int n, unsigned int scratch);

/* e_lea - lea disp(base,index,1 << scale),to; DREG_NONE: no such register */
static inline void e_lea(struct emit *e, bool wide, unsigned int to, unsigned int base,
			 unsigned int index, unsigned int scale, int32_t disp)
{
	e_rex(e, wide, to, index == DREG_NONE ? 0 : index, base == DREG_NONE ? 0 : base);
	e8(e, 0x8d);
	e_sib(e, to, base, index, scale, disp);
}

/* t_cur - the instruction that is being emitted. */
static inline const struct tinsn *t_cur(const struct tctx *t)
{
	return &t->insn[t->cur];
}
/* t_live_after - status flags live behind the current instruction. */
static inline unsigned int t_live_after(const struct tctx *t)
{
	return t->insn[t->cur + 1].live;
}
static inline unsigned int t_next_off(const struct tctx *t)
{
	return t->insn[t->cur].off + t->insn[t->cur].len;
}
static inline uint32_t t_word(const struct tctx *t, unsigned int kind)
{
	return DBT_WORD(kind, t_cur(t)->off) | DBT_FLAGS_MEM;
}

/* loop_plan - find what to prepare; fills map, stream and share[].stream. loop_enter - the code before the loop.
 * map_leave, map_enter - put registers into their canonical places, and back; nothing when tctx.mapped is not set. */
void loop_plan(struct tctx *t);
void loop_enter(struct tctx *t);
void map_leave(struct tctx *t);
void map_enter(struct tctx *t);
/* stream_tag, stream_delta - where they are in struct cpu, from H_CPU. */
int32_t stream_tag(const struct tctx *t, unsigned int s);
int32_t stream_delta(const struct tctx *t, unsigned int s);

/* t_pc - what is emitted next may raise a host signal for the current instruction. */
void t_pc(struct tctx *t);

/* t_handler - inline call of the interpreter's handler for the current instruction. */
void t_handler(struct tctx *t);

/* t_bind_handler - also have the interpreter's handler for the current instruction; false: it cannot be. */
bool t_bind_handler(struct tctx *t);

/* t_goto - leave for offset @target of the page (perhaps outside of it) with flags spilled; ends the hot code. */
void t_goto(struct tctx *t, int32_t target);
/* t_goto_alone - the same within the page, to the variant without shared checks. */
void t_goto_alone(struct tctx *t, int32_t target);
void t_exit(struct tctx *t, uint32_t word);

/* Emitters by class. They return false when they cannot, with nothing emitted. */
bool emit_alu(struct tctx *t, const struct dinsn *d);
bool emit_stack(struct tctx *t, const struct dinsn *d);
void emit_flow(struct tctx *t, const struct dinsn *d);
bool emit_vec(struct tctx *t, const struct dinsn *d);
bool emit_string(struct tctx *t, const struct dinsn *d); /* REP MOVS, REP STOS */
bool emit_sys(struct tctx *t);
/* vec_block_begin - at the entry: one look at hot.fpu_live when the block has vector instructions. */
void vec_block_begin(struct tctx *t);

#endif
