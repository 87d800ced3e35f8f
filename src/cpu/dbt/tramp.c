// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trampolines between C and translated code, written into the code memory so that relative jumps reach them.
 *
 * C runs on the thread's own stack: its pointer is kept in hot.c_rsp, 16-aligned, while rsp is the return stack's.
 * A trampoline that calls C takes its return address off the return stack and puts it back afterwards: C may empty or
 * exchange that stack. Nothing is ever pushed on it here: its guard page is hit only by instructions that can simply be
 * executed again on an empty stack (signals.c).
 */
#include <string.h>

#include "cpu/dbt/emit.h"
#include "cpu/dbt/run.h"
#include "cpu/interp/vcpu.h"

#define KEPT_RAX CPU_DISP(tramp[0])
#define KEPT_LIN CPU_DISP(tramp[1])

/* Guest registers that live in host registers, and which. C keeps those from rbx on. */
static const struct {
	uint8_t guest, host;
} kept[] = {
	{ CPU_RAX, H_RAX }, { CPU_RCX, H_RCX }, { CPU_RDX, H_RDX }, { CPU_RSI, H_RSI },
	{ CPU_RDI, H_RDI }, { CPU_RSP, H_GSP }, { CPU_RBX, H_RBX }, { CPU_RBP, H_RBP },
	{ CPU_R12, H_R12 }, { CPU_R13, H_R13 }, { CPU_R14, H_R14 }, { CPU_R15, H_R15 },
};
enum { NR_KEPT = ARRAY_SIZE(kept), NR_SPOILED = 6 };

static void store_regs(struct emit *e)
{
	for (unsigned int k = 0; k < NR_KEPT; k++)
		e_store64(e, H_CPU, GPR_DISP(kept[k].guest), kept[k].host);
}

static void load_regs(struct emit *e, unsigned int nr)
{
	for (unsigned int k = 0; k < nr; k++)
		e_load64(e, kept[k].host, H_CPU, GPR_DISP(kept[k].guest));
}

static void push(struct emit *e, unsigned int reg)
{
	if (reg >= 8)
		e8(e, 0x41);
	e8(e, 0x50 | (reg & 7));
}

static void pop(struct emit *e, unsigned int reg)
{
	if (reg >= 8)
		e8(e, 0x41);
	e8(e, 0x58 | (reg & 7));
}

/* lea -128(%r11),%rdi; mov $fn,%rax; call *%rax */
static void call_c(struct emit *e, const void *fn)
{
	E(e, 0x49, 0x8d, 0x7b, 0x80);
	E(e, 0x48, 0xb8);
	e64(e, (uintptr_t)fn);
	E(e, 0xff, 0xd0);
}

/* The standard leaves conversions of function pointers open; POSIX does not. */
static const void *address_of(const void *fn_ptr)
{
	const void *p;

	memcpy(&p, fn_ptr, sizeof(p));
	return p;
}

/* cond jump, 8 bits, to be patched by here() */
static uint8_t *jcc8(struct emit *e, unsigned int cc)
{
	E(e, (uint8_t)(0x70 | cc), 0);
	return e->p;
}

static void here(struct emit *e, uint8_t *from)
{
	if (!e->overflow)
		from[-1] = (uint8_t)(e->p - from);
}

static const uint8_t *begin(struct emit *e)
{
	while ((uintptr_t)e->p & 15 && !e->overflow)
		e8(e, 0xcc);
	return e_rx(e);
}

static const uint8_t c_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

static void make_enter(struct emit *e, struct dbt_tramp *t)
{
	const uint8_t *at = begin(e);

	memcpy(&t->enter, &at, sizeof(t->enter));
	for (unsigned int k = 0; k < ARRAY_SIZE(c_saved); k++)
		push(e, c_saved[k]);
	E(e, 0x48, 0x83, 0xec, 0x08);			/* sub $8,%rsp */
	E(e, 0x4c, 0x8d, 0x9f, 0x80, 0x00, 0x00, 0x00); /* lea 128(%rdi),%r11 */
	e_store64(e, H_CPU, CPU_DISP(hot.c_rsp), H_RSP);
	e_mov64(e, H_S2, H_RSI);
	load_regs(e, NR_KEPT);
	e_load64(e, H_RSP, H_CPU, CPU_DISP(hot.ret_rsp));
	E(e, 0x41, 0xff, 0xe2); /* jmp *%r10 */
}

/* Returns the address of what comes after registers and stacks have been taken care of. */
static const uint8_t *make_exit(struct emit *e, struct dbt_tramp *t)
{
	const uint8_t *leave;

	t->exit = begin(e);
	store_regs(e);
	e_store64(e, H_CPU, CPU_DISP(hot.ret_rsp), H_RSP);
	e_load64(e, H_RSP, H_CPU, CPU_DISP(hot.c_rsp));
	leave = e_rx(e);
	e_mov32(e, H_RAX, H_S2);
	E(e, 0x48, 0x83, 0xc4, 0x08); /* add $8,%rsp */
	for (unsigned int k = ARRAY_SIZE(c_saved); k-- > 0;)
		pop(e, c_saved[k]);
	e8(e, 0xc3);
	return leave;
}

/* All guest registers to st; C's stack; rax = the return address, which is no longer on the return stack. */
static void to_c(struct emit *e)
{
	store_regs(e);
	E(e, 0x48, 0x8b, 0x04, 0x24);	    /* mov (%rsp),%rax */
	E(e, 0x48, 0x8d, 0x4c, 0x24, 0x08); /* lea 8(%rsp),%rcx */
	e_store64(e, H_CPU, CPU_DISP(hot.ret_rsp), H_RCX);
	e_load64(e, H_RSP, H_CPU, CPU_DISP(hot.c_rsp));
}

/* The return stack, with the return address in r10 on it, and the first @nr registers. */
static void from_c(struct emit *e, unsigned int nr)
{
	e_load64(e, H_RSP, H_CPU, CPU_DISP(hot.ret_rsp));
	E(e, 0x48, 0x8d, 0x64, 0x24, 0xf8); /* lea -8(%rsp),%rsp */
	E(e, 0x4c, 0x89, 0x14, 0x24);	    /* mov %r10,(%rsp) */
	load_regs(e, nr);
	e8(e, 0xc3);
}

/* eax = fn(c, r9, r10d), what it says in ZF, too; rdx = r10. On C's stack until from_c() or a jump to an exit. */
static void ask_slow(struct emit *e, uint32_t (*fn)(struct cpu *, uint64_t, uint32_t))
{
	to_c(e);
	push(e, H_RAX);
	push(e, H_S1);
	push(e, H_S2);
	push(e, H_CPU);
	e_mov64(e, H_RSI, H_S1);
	e_mov32(e, H_RDX, H_S2);
	call_c(e, address_of(&fn));
	pop(e, H_CPU);
	pop(e, H_RDX);
	pop(e, H_S1);
	pop(e, H_S2);
	E(e, 0x85, 0xc0); /* test %eax,%eax */
}

static void make_mem_slow(struct emit *e, struct dbt_tramp *t, const uint8_t *leave)
{
	uint8_t *not_served;

	t->mem_slow = begin(e);
	ask_slow(e, dbt_slow_mem);
	not_served = jcc8(e, 5);
	from_c(e, NR_SPOILED);
	here(e, not_served);
	e_mov32(e, H_S2, H_RDX);
	E(e, 0x41, 0x81, 0xe2); /* and $imm32,%r10d */
	e32(e, 0xfff0 | DBT_FLAGS_MEM);
	E(e, 0x41, 0x83, 0xca, DBT_EXIT_INTERP); /* or $imm8,%r10d */
	e_jmp(e, leave);
}

/* rax = the TLB's entry of r9; flags are spoiled. */
static void slot_in_rax(struct emit *e)
{
	e_mov64(e, H_RAX, H_S1);
	E(e, 0x48, 0xc1, 0xe8, TLB_HASH);			    /* shr $7,%rax */
	E(e, 0x4c, 0x31, 0xc8);					    /* xor %r9,%rax */
	E(e, 0x48, 0xc1, 0xe8, GUEST_PAGE_SHIFT - TLB_ENTRY_SHIFT); /* shr $7,%rax */
	e8(e, 0x25);						    /* and $mask,%eax */
	e32(e, (TLB_SIZE - 1) << TLB_ENTRY_SHIFT);
	e_rex(e, 1, H_RAX, 0, H_CPU); /* add hot.tlb,%rax */
	e8(e, 0x03);
	e_mem(e, H_RAX, H_CPU, CPU_DISP(hot.tlb));
}

static void load_kept(struct emit *e)
{
	e_load64(e, H_S1, H_CPU, KEPT_LIN);
	e_load64(e, H_RAX, H_CPU, KEPT_RAX);
}

/* rax = the entry of the page r9: take it for the stack's. Returns the jump for when it may not be written without a look. */
static uint8_t *refill_stack(struct emit *e)
{
	uint8_t *miss;

	e_rex(e, 1, H_S1, 0, H_RAX); /* cmp w(%rax),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_RAX, offsetof(struct tlb_entry, w));
	miss = jcc8(e, 5);
	e_store64(e, H_CPU, CPU_DISP(hot.stk_tag), H_S1);
	e_load64(e, H_S1, H_RAX, offsetof(struct tlb_entry, page));
	e_store64(e, H_CPU, CPU_DISP(hot.stk_page), H_S1);
	return miss;
}

static void page_of_r9(struct emit *e)
{
	E(e, 0x49, 0x81, 0xe1); /* and $~0xfff,%r9 */
	e32(e, (uint32_t)~GUEST_PAGE_MASK);
}

/* A span in two pages cannot be had; the stack's page may be in the TLB; else C. */
static void make_span_slow(struct emit *e, struct dbt_tramp *t)
{
	uint8_t *leaves, *other, *miss;

	t->span_slow = begin(e);
	e_store64(e, H_CPU, KEPT_RAX, H_RAX);
	e_store64(e, H_CPU, KEPT_LIN, H_S1);
	E(e, 0x41, 0x0f, 0xb7); /* movzwl spill[1]+2,%eax: the size, and a bit */
	e_mem(e, H_RAX, H_CPU, CPU_DISP(hot.spill[1]) + 2);
	e8(e, 0x25); /* and $0x3fff,%eax */
	e32(e, 0x3fff);
	E(e, 0x41, 0x81, 0xe1); /* and $0xfff,%r9d */
	e32(e, GUEST_PAGE_MASK);
	E(e, 0x44, 0x01, 0xc8); /* add %r9d,%eax */
	e8(e, 0x3d);		/* cmp $4096,%eax */
	e32(e, GUEST_PAGE_SIZE);
	e_load64(e, H_S1, H_CPU, KEPT_LIN);
	leaves = jcc8(e, 7);
	E(e, 0x41, 0xf7, 0xc2); /* test $DBT_STACK,%r10d */
	e32(e, DBT_STACK);
	other = jcc8(e, 4);
	slot_in_rax(e);
	page_of_r9(e);
	miss = refill_stack(e); /* the last comparison has set ZF */
	load_kept(e);
	e8(e, 0xc3);
	here(e, leaves); /* ZF is clear */
	load_kept(e);
	e8(e, 0xc3);
	here(e, other);
	here(e, miss);
	load_kept(e);
	ask_slow(e, dbt_slow_span);
	from_c(e, NR_SPOILED);
}

static void make_stk_slow(struct emit *e, struct dbt_tramp *t)
{
	uint8_t *same, *miss;

	t->stk_slow = begin(e);
	e_store64(e, H_CPU, KEPT_RAX, H_RAX);
	e_store64(e, H_CPU, KEPT_LIN, H_S1);
	slot_in_rax(e);
	page_of_r9(e);
	e_rex(e, 1, H_S1, 0,
	      H_CPU); /* cmp hot.stk_tag,%r9: it is that page, but the access leaves it */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_CPU, CPU_DISP(hot.stk_tag));
	same = jcc8(e, 4);
	miss = refill_stack(e);
	load_kept(e);
	e8(e, 0xc3);
	here(e, same);
	here(e, miss);
	load_kept(e);
	e_jmp(e, t->mem_slow);
}

static void make_handler(struct emit *e, struct dbt_tramp *t, const uint8_t *leave)
{
	uint32_t (*fn)(struct cpu *, const struct insn *, uint32_t) = dbt_handler;
	uint8_t *left;

	t->handler = begin(e);
	to_c(e);
	push(e, H_RAX);
	push(e, H_CPU);
	e_mov64(e, H_RSI, H_S2);
	e_mov32(e, H_RDX, H_S1);
	call_c(e, address_of(&fn));
	pop(e, H_CPU);
	pop(e, H_S2);
	E(e, 0x85, 0xc0); /* test %eax,%eax */
	left = jcc8(e, 5);
	from_c(e, NR_KEPT);
	here(e, left);
	e_mov32(e, H_S2, H_RAX);
	e_jmp(e, leave);
}

/* fn(c), with what C spoils kept on C's stack. @fn NULL: in r10. */
static const uint8_t *make_call(struct emit *e, void (*fn)(struct cpu *))
{
	const uint8_t *at = begin(e);

	e_mov64(e, H_S1, H_RSP);
	e_load64(e, H_RSP, H_CPU, CPU_DISP(hot.c_rsp));
	push(e, H_S1);
	for (unsigned int k = 0; k < NR_SPOILED; k++)
		push(e, kept[k].host);
	push(e, H_CPU);
	if (fn)
		call_c(e, address_of(&fn));
	else
		E(e, 0x49, 0x8d, 0x7b, 0x80, 0x41, 0xff,
		  0xd2); /* lea -128(%r11),%rdi; call *%r10 */
	pop(e, H_CPU);
	for (unsigned int k = NR_SPOILED; k-- > 0;)
		pop(e, kept[k].host);
	pop(e, H_S1);
	e_mov64(e, H_RSP, H_S1);
	e8(e, 0xc3);
	return at;
}

static void make_indirect(struct emit *e, struct dbt_tramp *t)
{
	uint8_t *miss;

	/* Stacks are aligned to their size. */
	t->ret_miss = begin(e);
	E(e, 0x48, 0x81, 0xcc); /* or $size-1,%rsp */
	e32(e, RET_STACK_SIZE - 1);
	E(e, 0x48, 0x83, 0xe4, 0xc0); /* and $-64,%rsp */

	t->indirect = e_rx(e);
	E(e, 0x47, 0x8d, 0x14, 0x09); /* lea (%r9,%r9),%r10d */
	E(e, 0x41, 0x81, 0xe2);	      /* and $mask,%r10d */
	e32(e, (NR_JUMPS - 1) * sizeof(struct jump_slot));
	e_rex(e, 1, H_S2, 0, H_CPU); /* add hot.jump,%r10 */
	e8(e, 0x03);
	e_mem(e, H_S2, H_CPU, CPU_DISP(hot.jump));
	e_rex(e, 1, H_S1, 0, H_S2); /* cmp (%r10),%r9 */
	e8(e, 0x3b);
	e_mem(e, H_S1, H_S2, offsetof(struct jump_slot, lin));
	miss = jcc8(e, 5);
	E(e, 0x49, 0x81, 0xe1); /* and $~0xfff,%r9 */
	e32(e, (uint32_t)~GUEST_PAGE_MASK);
	e_store64(e, H_CPU, CPU_DISP(hot.pbase), H_S1);
	E(e, 0x41, 0xff); /* jmp *code(%r10) */
	e_mem(e, 4, H_S2, offsetof(struct jump_slot, code));
	here(e, miss);
	e_store64(e, H_CPU, CPU_DISP(st.rip), H_S1);
	e_movi32(e, H_S2, DBT_EXIT_MISS | DBT_AT_RIP | DBT_FLAGS_MEM);
	e_jmp(e, t->exit);
}

static void make_link(struct emit *e, struct dbt_tramp *t)
{
	t->link_r9 = begin(e);
	e_store64(e, H_CPU, CPU_DISP(st.rip), H_S1);
	t->link = e_rx(e);
	e_store64(e, H_CPU, CPU_DISP(hot.link), H_S2);
	e_rex(e, 0, H_S2, 0, H_S2); /* mov word(%r10),%r10d */
	e8(e, 0x8b);
	e_mem(e, H_S2, H_S2, offsetof(struct tlink, word));
	e_jmp(e, t->exit);
}

void tramp_make(struct emit *e, struct dbt_tramp *ret)
{
	const uint8_t *leave;

	make_enter(e, ret);
	leave = make_exit(e, ret);
	make_mem_slow(e, ret, leave);
	make_span_slow(e, ret);
	make_stk_slow(e, ret);
	make_handler(e, ret, leave);
	ret->fpu_load = make_call(e, dbt_fpu_load);
	ret->fpu_load_x87 = make_call(e, dbt_fpu_load_x87);
	ret->call_c = make_call(e, NULL);
	make_indirect(e, ret);
	make_link(e, ret);
}
