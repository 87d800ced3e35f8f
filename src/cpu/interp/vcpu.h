/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPU_INTERP_VCPU_H
#define CPU_INTERP_VCPU_H

#include <Zydis/Zydis.h>

#include "base/attr.h"
#include "cpu/cpu_priv.h"

/*
 * Inside the interpreter.
 *
 * Bytes are decoded once (Zydis) into blocks of struct insn: a handler and its operands, ready to use.
 * Blocks are keyed by (physical address, mode) and dropped when their bytes are written. The run loop is
 *
 *	c->end = block end;
 *	do {
 *		c->cur = i; c->st.rip += i->len; i->fn(c, i);
 *	} while (++i < c->end);
 *
 * so while a handler runs, st.rip is already the NEXT instruction; a fault subtracts c->cur->len again.
 * A handler must raise every fault before it changes architectural state (unless the architecture says
 * otherwise). A branch is the last instruction of its block. A handler after which the rest of the block
 * may be wrong (mode, privilege, mapping, interrupt flag, own code written) calls interp_leave().
 */
typedef void interp_fn(struct cpu *c, const struct insn *i);

enum { SEG_FLAT = 0xff }; /* insn.seg: no base to add and no limit (64-bit mode, not FS or GS) */

enum insn_flag {
	INSN_SS = 1 << 0, /* memory operand is relative to the stack segment: faults are #SS */
	INSN_LOCK = 1 << 1,
	INSN_REP = 1 << 2,   /* F3 */
	INSN_REPNE = 1 << 3, /* F2 */
	INSN_REX = 1 << 4,
	INSN_MEM = 1 << 5, /* has a memory operand (base, index, disp, seg are valid) */
};

struct insn {
	interp_fn *fn;
	uint8_t len;	/* bytes of the instruction */
	uint8_t opsize; /* operand size in bytes: 1, 2, 4, 8 (vectors: of the memory operand) */
	uint8_t asize;	/* address size in bytes: 2, 4, 8 */
	uint8_t flags;	/* enum insn_flag */
	uint8_t seg;	/* enum cpu_segreg or SEG_FLAT */
	uint8_t base, index; /* slots of st.r[]; CPU_SLOT_RIP, CPU_SLOT_ZERO allowed */
	uint8_t scale;	     /* shift: 0 to 3 */
	uint16_t dst; /* byte offset in st.r[] of the first register operand (ah = 1, cl = 8, ...) */
	uint16_t src; /* byte offset in st.r[] of the second register operand */
	int32_t disp;
	uint64_t imm; /* immediate (sign-extended to 64 bits), branch displacement or 64-bit address */
	const void *aux; /* handler's own (a host stub, a table) */
};

/* A decoded instruction on its way to a handler. */
struct dec {
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const uint8_t *bytes; /* zi.length of them */
	enum cpu_mode mode;
	const struct cpu *c;
};

/*
 * Each file of handlers exports one table: mnemonic -> bind function, which chooses the handler (i->fn)
 * and fills what dec.c has not filled already. bind returns 0, or -EINVAL for #UD. dec.c fills len,
 * opsize (zi.operand_width / 8), asize, flags, the memory operand, dst (first explicit GPR operand), src (second),
 * imm (first immediate).
 */
struct interp_op {
	uint16_t mnemonic; /* ZydisMnemonic */
	int (*bind)(const struct dec *d, struct insn *i);
};
extern const struct interp_op interp_ops_alu[], interp_ops_mov[], interp_ops_flow[],
	interp_ops_string[], interp_ops_bit[], interp_ops_atomic[], interp_ops_bcd[],
	interp_ops_stack[], interp_ops_shift[], interp_ops_muldiv[]; /* end with mnemonic 0 */
/* Segment of a memory operand as decoded: FS and GS, in legacy modes all; else SEG_FLAT. */
uint8_t dec_segment(const struct dec *d, ZydisRegister reg);
extern const struct interp_op interp_ops_seg[], interp_ops_far[], interp_ops_syscall[],
	interp_ops_cr[], interp_ops_msr[], interp_ops_io[], interp_ops_sysmisc[];
extern const struct interp_op interp_ops_fpu[]; /* x87 and vector special cases */
/* Every other x87, MMX, SSE, AVX, AES, SHA, PCLMUL, BMI, ADX instruction: run on the host's own unit. */
int hostop_bind(const struct dec *d, struct insn *i);
/* Map the stubs' memory and take SIGFPE; once a process, before a vCPU thread loses its rights. Returns 0 or
 * what failed. */
int hostop_start(struct err *err);

/* --- faults ------------------------------------------------------------------------------------- */

/* clang-format off */
enum cpu_vector {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
	VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16,
	VEC_AC = 17, VEC_MC = 18, VEC_XM = 19,
};
/* clang-format on */

/* Leave the handler at once: the instruction has not happened; st.rip is put back; the loop delivers. */
_Noreturn void cpu_raise(struct cpu *c, unsigned int vector); /* without error code */
_Noreturn void cpu_raise_err(struct cpu *c, unsigned int vector,
			     uint32_t error);				  /* with error code */
_Noreturn void cpu_raise_pf(struct cpu *c, uint64_t lin, uint32_t error); /* sets CR2 */

/* After this instruction, go back to the loop's top (and decode or look up anew). */
static inline void interp_leave(struct cpu *c)
{
	c->end = NULL;
}

/* --- memory ------------------------------------------------------------------------------------- */

/*
 * One entry a page; tags are the page's linear address, or tlb_none(). Access kinds are separate tags. Translated
 * code knows this layout, too: 32 bytes, so that a slot is found by a shift and a mask. It takes a tag for a match
 * when no bit above the low 12 differs from the address, so an empty tag differs from all addresses of its slot there.
 * Only empty tags are odd.
 */
enum { TLB_BITS = 12, TLB_HASH = 7, TLB_SIZE = 1 << TLB_BITS, TLB_WORDS = TLB_SIZE / 64 };
static inline uint64_t tlb_none(unsigned int slot)
{
	return (uint64_t)(slot == 0) << GUEST_PAGE_SHIFT | 1;
}
static inline bool tlb_is_none(uint64_t tag)
{
	return tag & 1;
}

struct tlb_entry {
	uint64_t r, w, x;
	uintptr_t page; /* host address of the page; meaningless when no tag is set */
};
enum { TLB_ENTRY_SHIFT = 5 };
_Static_assert(sizeof(struct tlb_entry) == 1 << TLB_ENTRY_SHIFT,
	       "translated code scales by a shift");

/* What only slow paths need to know of a slot. */
struct tlb_back {
	_Atomic uint8_t *flags; /* the page's physmem flags byte; never NULL */
	uint64_t gpa_shift; /* address of the page; in the low 12 bits log2 of the size of its mapping */
};

/* 64 slots, a bit each. held: a write is allowed, but without a w tag because of the page's flags. */
struct tlb_word {
	uint64_t used, global, large, held;
};

/* The entries of one address space and privilege; hot.tlb points to the entries of one. */
struct tlb_set {
	_Alignas(64) struct tlb_entry e[TLB_SIZE];
	struct tlb_back back[TLB_SIZE];
	struct tlb_word word[TLB_WORDS];
	uint64_t words; /* words with a bit in `used` */

	/* Conservative filters: what may have been here since all went, by hashed number. */
	uint64_t exec[TLB_WORDS];     /* pages that were executed */
	uint64_t exec_big[TLB_WORDS]; /* units of 2 MiB with executed parts of large pages */
	uint64_t big[2]
		    [TLB_WORDS]; /* units of 2 MiB of large pages; lower and upper half of the addresses */
	uint64_t giant[4];	      /* units of 1 GiB of larger pages */
	bool exec_local, exec_global; /* executed pages that are not global; that are */
	bool exec_giant;	      /* executed parts of pages of 1 GiB */

	void *jump; /* the translation engine's, see interp_sys.set_freed */
};

/*
 * stk_forget - hot.stk_tag and hot.stk_page say that no page of the stack is known; nor those of loops.
 *
 * There is no tag that matches no address: this one does match accesses in one page that is not canonical. They
 * go to a page that belongs to nobody then, instead of raising #SS.
 */
#define STK_NONE UINT64_C(0x6b43a9b5c3d71001)
extern uint8_t stk_nobody[GUEST_PAGE_SIZE];
static inline void stk_forget(struct cpu *c)
{
	c->hot.stk_tag = STK_NONE;
	c->hot.stk_page = (uintptr_t)stk_nobody;
	for (unsigned int k = 0; k < CPU_STREAM_SETS; k++)
		c->stream_owner[k] = 0;
}

/*
 * tlb_index - slot of an address. Hashed: arrays as far from each other as the TLB reaches are common, and arrays that
 * are a page more apart. So a step as large as the TLB's reach changes no low bit of the slot.
 */
static inline unsigned int tlb_index(uint64_t lin)
{
	return (lin >> GUEST_PAGE_SHIFT ^ lin >> (GUEST_PAGE_SHIFT + TLB_HASH)) & (TLB_SIZE - 1);
}

/* tlb_slot - the entry that an address has in a table, of whatever page it is now. */
static inline struct tlb_entry *tlb_slot(struct tlb_entry *tlb, uint64_t lin)
{
	return &tlb[tlb_index(lin)];
}

/* Host address of a byte of the page that the entry is for. */
static inline uint8_t *tlb_host(const struct tlb_entry *e, uint64_t lin)
{
	return (uint8_t *)(e->page + (lin & GUEST_PAGE_MASK));
}

/* The flags of the page at @lin, which the table at hot.tlb holds or held last in its slot. */
static inline uint8_t tlb_flags(const struct tlb_entry *tlb, uint64_t lin)
{
	const struct tlb_set *t = (const struct tlb_set *)(const void *)tlb;

	return atomic_load_explicit(t->back[tlb_index(lin)].flags, memory_order_relaxed);
}

enum mem_how {
	MEM_SS = 1,  /* a non-canonical address is #SS(0), not #GP(0); same value as INSN_SS */
	MEM_SYS = 2, /* implicit supervisor access: descriptor tables, TSS, IDT, whatever the CPL */
	MEM_RMW = 4, /* a read that will be followed by a write: check write permission */
};

/* Slow paths (mem.c): walk, A/D bits, page crossing, MMIO, watchpoints, code pages. May not return. */
uint64_t mem_ld_slow(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how);
void mem_st_slow(struct cpu *c, uint64_t lin, unsigned int size, uint64_t value, unsigned int how);
/* A byte of a page with flags was stored (lin still hits the TLB). */
void mem_stored_flagged(struct cpu *c, uint8_t *host, unsigned int size);

/* Loads and stores by linear address at the current CPL. They return, or raise and do not return. */
#define MEM_DEFINE(bits)                                                                           \
	static inline uint##bits##_t ld##bits(struct cpu *c, uint64_t lin, unsigned int how)       \
	{                                                                                          \
		const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);                             \
		uint##bits##_t v;                                                                  \
                                                                                                   \
		if (unlikely(e->r != ((lin + bits / 8 - 1) & ~GUEST_PAGE_MASK)))                   \
			return (uint##bits##_t)mem_ld_slow(c, lin, bits / 8, how);                 \
		__builtin_memcpy(&v, tlb_host(e, lin), sizeof(v));                                 \
		return v;                                                                          \
	}                                                                                          \
	static inline void st##bits(struct cpu *c, uint64_t lin, uint##bits##_t v,                 \
				    unsigned int how)                                              \
	{                                                                                          \
		const struct tlb_entry *e = tlb_slot(c->hot.tlb, lin);                             \
                                                                                                   \
		if (unlikely(e->w != ((lin + bits / 8 - 1) & ~GUEST_PAGE_MASK))) {                 \
			mem_st_slow(c, lin, bits / 8, v, how);                                     \
			return;                                                                    \
		}                                                                                  \
		__builtin_memcpy(tlb_host(e, lin), &v, sizeof(v));                                 \
		atomic_signal_fence(memory_order_seq_cst); /* store first, then look */            \
		if (unlikely(tlb_flags(c->hot.tlb, lin)))                                          \
			mem_stored_flagged(c, tlb_host(e, lin), bits / 8);                         \
	}
MEM_DEFINE(8)
MEM_DEFINE(16)
MEM_DEFINE(32)
MEM_DEFINE(64)

/* By operand size: 1, 2, 4 or 8. */
uint64_t ld_size(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how);
void st_size(struct cpu *c, uint64_t lin, unsigned int size, uint64_t v, unsigned int how);

/* Any length up to 4096; may cross a page (both pages are checked before anything is read or written). */
void ld_bytes(struct cpu *c, uint64_t lin, void *buf, unsigned int len, unsigned int how);
void st_bytes(struct cpu *c, uint64_t lin, const void *buf, unsigned int len, unsigned int how);
/*
 * mem_fill - put the page of a data access at the current CPL into the table at hot.tlb.
 *
 * For translated code whose inline check failed. Raises what the access raises. @how: MEM_RMW for a write.
 * Returns true when the check will succeed now; false when only ld and st can do the access (MMIO, two pages, alignment
 * checks, watchpoint, a write to a page with flags). Touches no vector register. Thread: the vCPU's own.
 */
_nodiscard_ bool mem_fill(struct cpu *c, uint64_t lin, unsigned int size, unsigned int how);
/* Raise what a write (MEM_RMW in @how) or read of the range would raise; change nothing but A/D bits. */
void mem_probe(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how);

/* Raise #AC when alignment is checked and @lin is not a multiple of @align (a power of two). ld8() to st64()
 * do this by themselves for their size; ld_bytes(), st_bytes(), mem_probe() and mem_host() do not. */
void mem_align(struct cpu *c, uint64_t lin, unsigned int len, unsigned int align, unsigned int how);

/*
 * mem_host - host address of guest bytes for a direct access of the host CPU (atomics, vector operands).
 *
 * Checks permission (a write too with MEM_RMW) and raises faults. Returns NULL when there is no such
 * address: MMIO, page crossing, a watchpoint; then use ld/st, for locked operations between
 * mem_exclusive_begin() and mem_exclusive_end(). After a store through the address call mem_host_wrote().
 */
void *mem_host(struct cpu *c, uint64_t lin, unsigned int len, unsigned int how);
static inline void mem_host_wrote(struct cpu *c, uint64_t lin, void *host, unsigned int len)
{
	atomic_signal_fence(memory_order_seq_cst); /* store first, then look */
	if (unlikely(tlb_flags(c->hot.tlb, lin)))
		mem_stored_flagged(c, host, len);
}

/* All other vCPUs of the group stand still at a block boundary in between. Faults end it by themselves. */
void mem_exclusive_begin(struct cpu *c);
void mem_exclusive_end(struct cpu *c);

/* --- addresses ---------------------------------------------------------------------------------- */

enum {
	SEG_OK_R = 1,
	SEG_OK_W = 2
}; /* cpu->seg_ok[]: readable / writable, limit 4 GiB, not expand-down */

/* Limit and rights of [off, off + size) in a segment, outside 64-bit mode: raises #GP or #SS, or returns
 * the linear address. @write: the access is a write. */
uint64_t seg_check(struct cpu *c, unsigned int seg, uint64_t off, unsigned int size, bool write);

/* #GP(0) unless an offset in FS or GS is canonical by itself, as AMD's processors want it. */
void seg_check_canonical(struct cpu *c, uint64_t off);

/* seg:off to linear for any mode; FS and GS bases in 64-bit mode, limits elsewhere. */
static inline uint64_t seg_lin(struct cpu *c, unsigned int seg, uint64_t off, unsigned int size,
			       bool write)
{
	if (seg == SEG_FLAT)
		return off;
	if (c->mode == CPU_MODE_64) {
		if (seg < CPU_FS)
			return off;
		if (unlikely((uint64_t)((int64_t)(off << 16) >> 16) != off))
			seg_check_canonical(c, off);
		return off + c->st.seg[seg].base;
	}
	if (likely((c->seg_ok[seg] & (write ? SEG_OK_W : SEG_OK_R)) &&
		   off + size - 1 <= UINT32_MAX))
		return (uint32_t)(off + c->st.seg[seg].base);
	return seg_check(c, seg, off, size, write);
}

/* Effective address (offset in its segment) of the memory operand. */
static inline uint64_t insn_ea(const struct cpu *c, const struct insn *i)
{
	uint64_t a =
		c->st.r[i->base] + (c->st.r[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

	if (likely(i->asize == 8))
		return a;
	return i->asize == 4 ? (uint32_t)a : (uint16_t)a;
}

/* Linear address of the memory operand. */
static inline uint64_t insn_lin(struct cpu *c, const struct insn *i, unsigned int size, bool write)
{
	return seg_lin(c, i->seg, insn_ea(c, i), size, write);
}

/* Stack accesses: width of the stack pointer by mode and SS.B. push/pop helpers for all modes. Size is the
 * operand size in bytes. pop does not move rsp before its load succeeded. */
void cpu_push(struct cpu *c, uint64_t value, unsigned int size);
uint64_t cpu_pop(struct cpu *c, unsigned int size);
uint64_t cpu_stack_mask(const struct cpu *c); /* 0xffff, 0xffffffff or all ones */

/* Registers by byte offset. 32-bit writes clear the upper half. */
static inline uint8_t *reg_ptr(struct cpu *c, unsigned int off)
{
	return (uint8_t *)c->st.r + off;
}
uint64_t reg_get(const struct cpu *c, unsigned int off, unsigned int size);
void reg_set(struct cpu *c, unsigned int off, unsigned int size, uint64_t v);

/* Near control transfer: rip = target truncated to the operand size, checked (canonical, CS limit): #GP(0). */
void cpu_jump_near(struct cpu *c, uint64_t target, unsigned int opsize);

/* --- privileged half (owned by the files of the same names) ---------------------------------------- */

/* Derive mode, seg_ok, hot.tlb, ... after CS, SS, CR0, CR4, EFER, RFLAGS.VM/AC or CPL changed. */
void interp_mode_changed(struct cpu *c);
void tlb_flush_all(struct cpu *c); /* with global pages */
void tlb_flush_page(struct cpu *c, uint64_t lin);

/* RFLAGS as POPF/IRET write it: bits in @mask come from @value; leaves the block when IF, TF, AC, VM change. */
void cpu_set_rflags(struct cpu *c, uint64_t value, uint64_t mask);

/* #UD / #GP guards */
static inline unsigned int cpl(const struct cpu *c)
{
	return cpu_state_cpl(&c->st);
}

#endif
